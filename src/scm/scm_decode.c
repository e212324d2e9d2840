/*-------------------------------------------------------------------------
 *
 * scm_decode.c
 *	  WAL records for logical decoding, and the reading of records by it.
 *
 * This file knows where an event stands in a record, and how the spans of a record are read again.
 * The meaning of an event is known to decode/ only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xloginsert.h"
#include "access/xlogreader.h"
#include "replication/decode.h"
#include "replication/logical.h"
#include "replication/reorderbuffer.h"

#include "scm/scm_internal.h"
#include "scm/scm_pack.h"

static VdbDecode decode_record = NULL;

void
vdb_scm_set_decode(VdbDecode decode)
{
	decode_record = decode;
}

/* Decode a record; the resource manager's rm_decode. */
void
vdb_scm_decode(LogicalDecodingContext *ctx, XLogRecordBuffer *buf)
{
	ReorderBufferProcessXid(ctx->reorder, XLogRecGetXid(buf->record), buf->origptr);
	if (decode_record != NULL)
		decode_record(ctx, buf);
}

void
vdb_scm_log_event(const void *head, uint32 head_len, const char *data, uint32 len)
{
	XLogBeginInsert();
	XLogSetRecordFlags(XLOG_INCLUDE_ORIGIN);
	XLogRegisterData(unconstify(char *, (const char *) head), head_len);
	XLogRegisterData(unconstify(char *, data), len);
	(void) XLogInsert(VDB_RMGR_ID, VDB_XLOG_EVENT);
}

/* See scm.h. */
pg_noreturn void
vdb_scm_record_damaged(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("WAL record for logical decoding is damaged"),
			 errdetail_internal("%s", detail)));
}

const char *
vdb_scm_record_event(XLogReaderState *record, uint32 *len)
{
	Size		have = XLogRecGetDataLen(record);
	Size		at = sizeof(VdbChangeRecord);
	VdbChangeRecord head;

	if (have < at)
		vdb_scm_record_damaged("A change's record is too short.");
	memcpy(&head, XLogRecGetData(record), sizeof(head));
	if (head.version != VDB_RECORD_VERSION)
		vdb_scm_record_damaged(psprintf("A change's record has unknown version %u.", head.version));
	if (!(head.flags & VDB_RECORD_EVENT))
		return NULL;
	at += head.nlocks * sizeof(uint16);
	at += (head.flags & VDB_RECORD_CONFLICT) ? sizeof(TransactionId) : 0;
	at += (head.flags & VDB_RECORD_EXTEND) ? sizeof(uint32) : 0;
	if (have <= at)
		vdb_scm_record_damaged("A change's record is too short for its event.");
	*len = (uint32) (have - at);
	return XLogRecGetData(record) + at;
}

/* Call 'visit' for each store among one block's spans.  Stops and returns false once it does. */
static bool
visit_spans(const char *spans, size_t len, VdbVisitStore visit, void *arg)
{
	const char *at = spans;
	VdbSpan		span;

	while (vdb_span_next(&at, spans + len, &span))
	{
		if (VDB_SPAN_PHASE(span.head.address) == VDB_PHASE_STORE && span.bytes != NULL &&
			!visit(arg, span.bytes, span.head.length))
			return false;
	}
	if (at != spans + len)
		vdb_scm_record_damaged("A change's record has malformed spans.");
	return true;
}

void
vdb_scm_record_stores(XLogReaderState *record, VdbVisitStore visit, void *arg)
{
	char		spans[VDB_CHANGE_BLOCK_BYTES];
	int			nblocks = XLogRecMaxBlockId(record) + 1;

	for (int i = 0; i < nblocks; i++)
	{
		Size		packed_len;
		size_t		len;
		char	   *packed = XLogRecGetBlockData(record, i, &packed_len);

		if (packed == NULL ||
			!vdb_spans_unpack(packed, packed_len, spans, sizeof(spans), &len))
			vdb_scm_record_damaged("A change's record has malformed spans.");
		if (!visit_spans(spans, len, visit, arg))
			return;
	}
}
