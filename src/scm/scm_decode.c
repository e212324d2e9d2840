/*-------------------------------------------------------------------------
 *
 * scm_decode.c
 *	  Logical decoding meets our records.
 *
 * Changes of vdb tables are not decoded: the records say which bytes of the
 * pool change, not which row.  What can be done here is to end the silence: a
 * WARNING for each decoding session that meets such a change of its database,
 * to the server's log and to the client.  Whoever makes a slot or a publication
 * by SQL is told at once (am_publish.c); a walsender's command can't be hooked.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlogreader.h"
#include "replication/decode.h"
#include "replication/logical.h"
#include "replication/reorderbuffer.h"
#include "replication/slot.h"
#include "utils/memutils.h"

#include "scm/scm_internal.h"

/* The session that was warned; reset when its context goes. */
static LogicalDecodingContext *warned = NULL;

static void
forget_session(void *arg)
{
	warned = NULL;
}

/* Is the record a change of rows by a transaction of the slot's database? */
static bool
is_lost_change(LogicalDecodingContext *ctx, XLogReaderState *record)
{
	RelFileLocator rnode;
	ForkNumber	fork;
	BlockNumber block;

	if ((XLogRecGetInfo(record) & ~XLR_INFO_MASK) != VDB_XLOG_CHANGE ||
		!TransactionIdIsValid(XLogRecGetXid(record)) || XLogRecMaxBlockId(record) < 0)
		return false;
	XLogRecGetBlockTag(record, 0, &rnode, &fork, &block);
	return rnode.dbOid == ctx->slot->data.database;
}

static void
warn_session(LogicalDecodingContext *ctx)
{
	MemoryContextCallback *callback = MemoryContextAllocZero(ctx->context, sizeof(*callback));

	callback->func = forget_session;
	MemoryContextRegisterResetCallback(ctx->context, callback);
	warned = ctx;
	ereport(WARNING,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("logical decoding leaves out changes of vdb tables"),
			 errdetail("Replication slot \"%s\" has come to such changes in its database.",
					   NameStr(ctx->slot->data.name)),
			 errhint("Use ALTER TABLE ... SET ACCESS METHOD heap for tables that are to be replicated logically.")));
}

/* The resource manager's rm_decode. */
void
vdb_scm_decode(LogicalDecodingContext *ctx, XLogRecordBuffer *buf)
{
	ReorderBufferProcessXid(ctx->reorder, XLogRecGetXid(buf->record), buf->origptr);
	if (warned != ctx && !ctx->fast_forward && is_lost_change(ctx, buf->record))
		warn_session(ctx);
}
