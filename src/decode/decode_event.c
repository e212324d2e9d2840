/*-------------------------------------------------------------------------
 *
 * decode_event.c
 *	  Routines for writing events: the bytes that a change's record has for logical decoding.
 *
 * The layout is in decode_format.h.  An event is made before its change begins, since making it
 * allocates memory, reads columns and may write WAL.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"

#include "decode/decode_private.h"

/* ---- bytes ---- */

/* Append a number: one byte, or three if it is not small. */
static void
put_number(StringInfo out, uint32 number)
{
	uint16		wide = (uint16) number;

	Assert(number <= PG_UINT16_MAX);
	if (number < VDB_EVENT_WIDE_NUMBER)
	{
		appendStringInfoCharMacro(out, (char) number);
		return;
	}
	appendStringInfoCharMacro(out, (char) VDB_EVENT_WIDE_NUMBER);
	appendBinaryStringInfo(out, (char *) &wide, sizeof(wide));
}

/* Append a list of numbers, in ascending order.  NULL is the empty list. */
static void
put_list(StringInfo out, const Bitmapset *numbers)
{
	int			member = -1;

	put_number(out, bms_num_members(numbers));
	while ((member = bms_next_member(numbers, member)) >= 0)
		put_number(out, member);
}

/* Write kind and table.  Returns the number of bytes, at most the size of VdbEvent.few. */
static uint32
event_head(Relation rel, uint8 what, char *to)
{
	const RelFileLocator *file = &rel->rd_locator;
	uint32		number = file->relNumber;
	Oid			tablespace = file->spcOid;
	uint32		len = 1 + sizeof(number);

	if (tablespace != MyDatabaseTableSpace)
		what |= VDB_EVENT_TABLESPACE;
	to[0] = (char) what;
	memcpy(to + 1, &number, sizeof(number));
	if (what & VDB_EVENT_TABLESPACE)
	{
		memcpy(to + len, &tablespace, sizeof(tablespace));
		len += sizeof(tablespace);
	}
	return len;
}

/* ---- old rows ---- */

/* Write a VdbEventTuple of VDB_EVENT_TUPLE_BYTES for the tuple's header. */
static void
put_tuple_head(HeapTupleHeader hdr, char *to)
{
	VdbEventTuple head;

	head.infomask2 = hdr->t_infomask2 & HEAP_NATTS_MASK;
	head.infomask = hdr->t_infomask & ~HEAP_XACT_MASK;
	head.hoff = hdr->t_hoff;
	memcpy(to, &head, VDB_EVENT_TUPLE_BYTES);
}

/*
 * Log a long old row in chunks, 'total' bytes in all.  Its event has only this number.  XLogInsert
 * may wait for space in the WAL buffers, so no lock may be held.
 */
static void
log_chunks(Relation rel, HeapTuple tuple, uint32 total)
{
	const char *from = (const char *) tuple->t_data + SizeofHeapTupleHeader;
	const char *end = (const char *) tuple->t_data + tuple->t_len;
	VdbChunkRecord record = {.version = VDB_CHUNK_VERSION,.first = 1,.total = total};
	char		chunk[VDB_CHUNK_BYTES];
	uint32		fill = VDB_EVENT_TUPLE_BYTES;
	uint32		logged PG_USED_FOR_ASSERTS_ONLY = 0;

	Assert(total > VDB_OLD_INLINE);
	record.spc_oid = rel->rd_locator.spcOid;
	record.db_oid = rel->rd_locator.dbOid;
	record.rel_number = rel->rd_locator.relNumber;
	/* a wait for space in the WAL buffers must be interruptible */
	Assert(InterruptHoldoffCount == 0);
	put_tuple_head(tuple->t_data, chunk);
	while (from < end)
	{
		uint32		part = (uint32) Min(end - from, (ptrdiff_t) (VDB_CHUNK_BYTES - fill));

		CHECK_FOR_INTERRUPTS();
		memcpy(chunk + fill, from, part);
		from += part;
		vdb_scm_log_event(&record, sizeof(record), chunk, fill + part);
		logged += fill + part;
		record.first = 0;
		fill = 0;
	}
	Assert(logged == total);
}

/* Append the old row's key as VDB_OLD_KEY has it: data without a tuple header. */
static void
put_key(StringInfo out, const VdbOldRow *row)
{
	HeapTupleHeader hdr = row->tuple->t_data;

	put_number(out, HeapTupleHeaderGetNatts(hdr));
	put_list(out, row->columns);
	appendBinaryStringInfo(out, (char *) hdr + hdr->t_hoff, row->tuple->t_len - hdr->t_hoff);
}

/* Append the old row, or log it in chunks if it is long, and set its form in the first byte. */
static void
put_old(StringInfo out, Relation rel, const VdbOldRow *row)
{
	HeapTuple	tuple = row->tuple;
	uint32		total = VDB_EVENT_TUPLE_BYTES + tuple->t_len - SizeofHeapTupleHeader;
	char		head[VDB_EVENT_TUPLE_BYTES];

	Assert(VDB_EVENT_OLD(out->data[0]) == VDB_OLD_NONE);
	Assert(row->key == (row->columns != NULL));
	if (total > VDB_OLD_INLINE)
	{
		log_chunks(rel, tuple, total);
		out->data[0] |= VDB_OLD_CHUNKS;
		appendBinaryStringInfo(out, (char *) &total, sizeof(total));
		return;
	}
	if (row->key)
	{
		out->data[0] |= VDB_OLD_KEY;
		put_key(out, row);
		return;
	}
	out->data[0] |= VDB_OLD_ROW;
	put_tuple_head(tuple->t_data, head);
	appendBinaryStringInfo(out, head, sizeof(head));
	appendBinaryStringInfo(out, (char *) tuple->t_data + SizeofHeapTupleHeader,
						   tuple->t_len - SizeofHeapTupleHeader);
}

/* ---- events ---- */

/* Make an event of this kind.  Frees the old row's tuple and columns. */
static void
make_event(VdbEvent *event, Relation rel, uint8 what, const Bitmapset *unchanged, VdbOldRow *old)
{
	StringInfoData out;

	Assert(TransactionIdIsValid(GetCurrentTransactionIdIfAny()));
	event->data = NULL;
	event->len = event_head(rel, what, event->few);
	Assert(event->len >= VDB_EVENT_LEAST && event->len <= sizeof(event->few));
	if (unchanged == NULL && old->tuple == NULL)
		return;

	initStringInfo(&out);
	appendBinaryStringInfo(&out, event->few, event->len);
	if (unchanged != NULL)
	{
		out.data[0] |= VDB_EVENT_UNCHANGED;
		put_list(&out, unchanged);
	}
	if (old->tuple != NULL)
	{
		put_old(&out, rel, old);
		heap_freetuple(old->tuple);
		bms_free(old->columns);
	}
	event->data = out.data;
	event->len = out.len;
}

/* See decode.h. */
void
vdb_event_insert(VdbEvent *event, Relation rel, bool speculative)
{
	VdbOldRow	none = {0};

	memset(event, 0, sizeof(VdbEvent));
	if (vdb_decode_wanted(rel))
		make_event(event, rel, speculative ? VDB_EVENT_SPECULATIVE : VDB_EVENT_INSERT, NULL, &none);
}

/* See decode.h. */
void
vdb_event_speculative(VdbEvent *event, Relation rel, bool confirmed)
{
	VdbOldRow	none = {0};

	memset(event, 0, sizeof(VdbEvent));
	if (vdb_decode_wanted(rel))
		make_event(event, rel, confirmed ? VDB_EVENT_CONFIRM : VDB_EVENT_TAKE_BACK, NULL, &none);
}

/* See decode.h. */
void
vdb_event_delete(VdbEvent *event, Relation rel, TupleTableSlot *old)
{
	VdbOldRow	row = {0};

	memset(event, 0, sizeof(VdbEvent));
	if (!vdb_decode_wanted(rel))
		return;
	if (old != NULL)
		vdb_identity_of_deleted(rel, old, &row);
	make_event(event, rel, VDB_EVENT_DELETE, NULL, &row);
}

/* See decode.h. */
void
vdb_event_update(VdbEvent *event, Relation rel, TupleTableSlot *old, HeapTuple tuple)
{
	VdbOldRow	row = {0};
	Bitmapset  *unchanged = NULL;

	memset(event, 0, sizeof(VdbEvent));
	if (!vdb_decode_wanted(rel))
		return;
	if (old != NULL)
		unchanged = vdb_identity_of_updated(rel, old, tuple, &row);
	make_event(event, rel, VDB_EVENT_UPDATE, unchanged, &row);
	bms_free(unchanged);
}

/* See decode.h. */
void
vdb_event_free(VdbEvent *event)
{
	if (event->data != NULL)
		pfree(event->data);
	memset(event, 0, sizeof(VdbEvent));
}
