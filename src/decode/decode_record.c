/*-------------------------------------------------------------------------
 *
 * decode_record.c
 *	  Routines for reading: make changes in the reorder buffer from the resource manager's records.
 *
 * This is the counterpart of core's decode.c for heap.  It reads the record alone: no catalog, no
 * pool, no page.  A record that is not well-formed raises ERRCODE_DATA_CORRUPTED.
 *
 * A plain row becomes a plain change.  Three others become changes whose tuples are marked
 * (decode_private.h), which decode_complete.c completes later: a page of a wide row, a chunk of an
 * old row, and a row that needs either or that has unchanged values to be left out.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heaptoast.h"
#include "access/xlogreader.h"
#include "miscadmin.h"
#include "replication/decode.h"
#include "replication/snapbuild.h"
#include "storage/bufpage.h"

#include "decode/decode_private.h"
#include "pages/pages_format.h"
#include "rows/rows_format.h"
#include "scm/scm_format.h"

/* The fields of an event.  The pointers are into the record. */
typedef struct ParsedEvent
{
	uint8		what;				/* the event's first byte */
	RelFileLocator file;			/* the table's file */
	uint16		nunchanged;
	uint16		unchanged[MaxHeapAttributeNumber];	/* columns, in the order of the event */
	const char *old;				/* the old row, if there is one */
	const char *end;				/* the end of the event */
} ParsedEvent;

/* ---- parsing an event ---- */

/* Copy 'len' bytes and move *at behind them.  Raises an error if 'end' comes first. */
static void
read_bytes(const char **at, const char *end, void *bytes, size_t len)
{
	if ((size_t) (end - *at) < len)
		vdb_scm_record_damaged("An event is too short.");
	memcpy(bytes, *at, len);
	*at += len;
}

/* Read a number and move *at behind it. */
static uint16
take_number(const char **at, const char *end)
{
	uint8		number;
	uint16		wide;

	Assert(*at <= end);
	read_bytes(at, end, &number, sizeof(number));
	if (number < VDB_EVENT_WIDE_NUMBER)
		return number;
	read_bytes(at, end, &wide, sizeof(wide));
	return wide;
}

/* Read a list of attribute numbers into 'numbers', and return how many there are. */
static uint16
take_list(const char **at, const char *end, uint16 *numbers)
{
	uint16		n = take_number(at, end);

	if (n > MaxHeapAttributeNumber)
		vdb_scm_record_damaged("An event names too many columns.");
	for (int i = 0; i < n; i++)
	{
		numbers[i] = take_number(at, end);
		if (numbers[i] < 1 || numbers[i] > MaxHeapAttributeNumber)
			vdb_scm_record_damaged("An event names a column that no table has.");
	}
	return n;
}

/* Parse an event up to the old row. */
static void
parse_event(const char *at, uint32 len, ParsedEvent *event)
{
	const char *end = at + len;
	uint32		number;

	read_bytes(&at, end, &event->what, sizeof(event->what));
	read_bytes(&at, end, &number, sizeof(number));
	event->file.relNumber = number;
	event->file.dbOid = MyDatabaseId;
	event->file.spcOid = MyDatabaseTableSpace;
	if (event->what & VDB_EVENT_TABLESPACE)
		read_bytes(&at, end, &event->file.spcOid, sizeof(Oid));
	event->nunchanged = 0;
	if (event->what & VDB_EVENT_UNCHANGED)
		event->nunchanged = take_list(&at, end, event->unchanged);
	event->old = at;
	event->end = end;
}

/* ---- tuples in the reorder buffer ---- */

/* Allocate a tuple in the reorder buffer, with 'bytes' bytes from t_bits on. */
static VdbReorderTuple *
new_tuple(ReorderBuffer *rb, Size bytes, HeapTuple *tuple)
{
	VdbReorderTuple *made = vdb_reorder_get_tuple(rb, bytes);

	*tuple = vdb_reorder_heap_tuple(made);
	ItemPointerSetInvalid(&(*tuple)->t_self);
	(*tuple)->t_tableOid = InvalidOid;
	(*tuple)->t_len = (uint32) (SizeofHeapTupleHeader + bytes);
	memset((*tuple)->t_data, 0, SizeofHeapTupleHeader);
	return made;
}

/* Return the bytes from t_bits on. */
static inline char *
event_tuple_bytes(HeapTuple tuple)
{
	return (char *) tuple->t_data + SizeofHeapTupleHeader;
}

/* Set the fields of a header that count in the stream. */
static void
set_header(HeapTupleHeader to, uint16 infomask2, uint16 infomask, uint8 hoff)
{
	to->t_infomask2 = infomask2 & HEAP_NATTS_MASK;
	to->t_infomask = infomask & ~HEAP_XACT_MASK;
	to->t_hoff = hoff;
}

/*
 * Return how many bytes more the reorder buffer counts for heap's row of this length.  Heap has a
 * long row's values out of line, in chunks, and each chunk is a change with a tuple.
 */
static Size
chunk_overhead(Size len)
{
	Size		chunks = (len + TOAST_MAX_CHUNK_SIZE - 1) / TOAST_MAX_CHUNK_SIZE;

	if (len <= TOAST_TUPLE_THRESHOLD)
		return 0;
	return chunks * (sizeof(ReorderBufferChange) + sizeof(HeapTupleData) +
					 MAXALIGN(SizeofHeapTupleHeader) + sizeof(Oid) + sizeof(int32) + VARHDRSZ);
}

/*
 * Make a plain row from its tuple's image.  Zeroes that no reader looks at follow a long row's
 * data, so that it counts as heap's (chunk_overhead).
 */
static VdbReorderTuple *
plain_row(ReorderBuffer *rb, const HeapTupleHeaderData *hdr, const char *image, Size len)
{
	Size		more = chunk_overhead(len);
	HeapTuple	tuple;
	VdbReorderTuple *made;

	Assert(len >= SizeofHeapTupleHeader);
	len -= SizeofHeapTupleHeader;
	made = new_tuple(rb, len + more, &tuple);
	set_header(tuple->t_data, hdr->t_infomask2, hdr->t_infomask, hdr->t_hoff);
	memcpy(event_tuple_bytes(tuple), image + SizeofHeapTupleHeader, len);
	memset(event_tuple_bytes(tuple) + len, 0, more);
	return made;
}

/* Make a marked tuple of a part's struct and of 'len' bytes behind it. */
static VdbReorderTuple *
part_tuple(ReorderBuffer *rb, Oid mark, const void *part, Size part_bytes,
		   const char *bytes, Size len)
{
	HeapTuple	tuple;
	VdbReorderTuple *made = new_tuple(rb, part_bytes + len, &tuple);

	Assert(OidIsValid(mark) && mark <= VDB_PART_NOTHING);
	tuple->t_tableOid = mark;
	if (part_bytes > 0)
		memcpy(event_tuple_bytes(tuple), part, part_bytes);
	if (len > 0)
		memcpy(event_tuple_bytes(tuple) + part_bytes, bytes, len);
	return made;
}

/*
 * Make the new row from its image in a record, 'bytes', which is laid out as in a segment: prefix,
 * tuple, checksum.  A row that is wide or has unchanged values becomes a marked tuple.
 */
static VdbReorderTuple *
new_row(ReorderBuffer *rb, const ParsedEvent *event, const char *bytes, uint16 len)
{
	VdbRowPrefix prefix;
	HeapTupleHeaderData hdr;
	const char *image = bytes + sizeof(prefix);
	uint32		image_len;
	HeapTuple	tuple;
	VdbReorderTuple *made;
	VdbPartRow	part = {0};

	if (len < VDB_ROW_EXTRA_BYTES + SizeofHeapTupleHeader)
		vdb_scm_record_damaged("A row is too short.");
	memcpy(&prefix, bytes, sizeof(prefix));
	memcpy(&hdr, image, SizeofHeapTupleHeader);
	image_len = VDB_ROW_LEN(prefix.len);
	part.wide = (prefix.len & VDB_ROW_WIDE) != 0;
	if (image_len != (uint32) len - VDB_ROW_EXTRA_BYTES || hdr.t_hoff > image_len ||
		(part.wide && image_len != hdr.t_hoff + sizeof(VdbWideRef)))
		vdb_scm_record_damaged("A row's length is wrong.");

	if (!part.wide && event->nunchanged == 0)
		return plain_row(rb, &hdr, image, image_len);
	part.bytes = image_len;
	part.nunchanged = event->nunchanged;
	made = new_tuple(rb, sizeof(part) + event->nunchanged * sizeof(uint16) + image_len, &tuple);
	tuple->t_tableOid = VDB_PART_ROW;
	memcpy(event_tuple_bytes(tuple), &part, sizeof(part));
	memcpy(event_tuple_bytes(tuple) + sizeof(part), event->unchanged,
		   event->nunchanged * sizeof(uint16));
	memcpy(event_tuple_bytes(tuple) + sizeof(part) + event->nunchanged * sizeof(uint16),
		   image, image_len);
	return made;
}

/* Make an old row with the values of the key alone. */
static VdbReorderTuple *
old_key(ReorderBuffer *rb, const char *at, const char *end)
{
	uint16		columns[MaxHeapAttributeNumber];
	uint16		natts = take_number(&at, end);
	uint16		n = take_list(&at, end, columns);
	Size		bits = n < natts ? BITMAPLEN(natts) : 0;
	Size		hoff = MAXALIGN(SizeofHeapTupleHeader + bits);
	HeapTuple	tuple;
	VdbReorderTuple *made;

	if (natts > MaxHeapAttributeNumber)
		vdb_scm_record_damaged("An event's key is of too many columns.");
	Assert(hoff <= PG_UINT8_MAX && at <= end);
	made = new_tuple(rb, hoff - SizeofHeapTupleHeader + (end - at), &tuple);
	set_header(tuple->t_data, natts, HEAP_HASVARWIDTH | (bits > 0 ? HEAP_HASNULL : 0),
			   (uint8) hoff);
	memset(event_tuple_bytes(tuple), 0, hoff - SizeofHeapTupleHeader);
	for (int i = 0; i < n; i++)
	{
		if (columns[i] > natts)
			vdb_scm_record_damaged("An event's key has a column that the row has not.");
		if (bits > 0)
			tuple->t_data->t_bits[(columns[i] - 1) / 8] |= 1 << ((columns[i] - 1) % 8);
	}
	memcpy((char *) tuple->t_data + hoff, at, end - at);
	return made;
}

/* Make the old row of an event, or return NULL if it has none. */
static VdbReorderTuple *
old_row(ReorderBuffer *rb, const ParsedEvent *event)
{
	const char *at = event->old;
	VdbEventTuple head;
	HeapTuple	tuple;
	VdbReorderTuple *made;

	switch (VDB_EVENT_OLD(event->what))
	{
		case VDB_OLD_KEY:
			return old_key(rb, at, event->end);
		case VDB_OLD_ROW:
			read_bytes(&at, event->end, &head, VDB_EVENT_TUPLE_BYTES);
			made = new_tuple(rb, event->end - at, &tuple);
			set_header(tuple->t_data, head.infomask2, head.infomask, head.hoff);
			memcpy(event_tuple_bytes(tuple), at, event->end - at);
			return made;
		case VDB_OLD_CHUNKS:
			return part_tuple(rb, VDB_PART_OLD, NULL, 0, NULL, 0);
		default:
			return NULL;
	}
}

/* ---- changes ---- */

/* Make a change of the table in 'file', without tuples. */
static ReorderBufferChange *
new_change(LogicalDecodingContext *ctx, XLogRecordBuffer *buf, ReorderBufferChangeType action,
		   const RelFileLocator *file)
{
	ReorderBufferChange *change = vdb_reorder_get_change(ctx->reorder);

	Assert(TransactionIdIsValid(XLogRecGetXid(buf->record)));
	change->action = action;
	change->origin_id = XLogRecGetOrigin(buf->record);
	change->data.tp.rlocator = *file;
	change->data.tp.clear_toast_afterwards = true;
	return change;
}

/* Queue a change for the record's transaction.  'part' keeps that from being streamed. */
static inline void
queue(LogicalDecodingContext *ctx, XLogRecordBuffer *buf, ReorderBufferChange *change, bool part)
{
	ReorderBufferQueueChange(ctx->reorder, XLogRecGetXid(buf->record), buf->origptr, change, part);
}

/* The argument of a visit of a record's spans. */
typedef struct Visit
{
	LogicalDecodingContext *ctx;
	XLogRecordBuffer *buf;
	const ParsedEvent *event;
	ReorderBufferChange *inserted;	/* the row before, not queued yet; or NULL */
} Visit;

/*
 * Queue the insertion of the row before, if there is one.  In core's view an insertion ends what
 * its parts have begun, and the transaction may be streamed after it.  So only the 'last' row of a
 * batch does that: the pages of all its wide rows came before the first row.  Long rows count as
 * parts of the batch, too, since heap has the chunks of all its rows first.
 */
static void
queue_inserted(Visit *visit, bool last)
{
	ReorderBufferChange *change = visit->inserted;
	bool		long_row;

	if (change == NULL)
		return;
	long_row = vdb_reorder_heap_tuple(change->data.tp.newtuple)->t_len > TOAST_TUPLE_THRESHOLD;
	change->data.tp.clear_toast_afterwards = last;
	visit->inserted = NULL;
	queue(visit->ctx, visit->buf, change, long_row && !last);
}

/* Make the insertion of one row, and queue the one before.  Goes on with the next span. */
static bool
visit_inserted(void *arg, const char *bytes, uint16 len)
{
	Visit	   *visit = (Visit *) arg;
	bool		speculative = VDB_EVENT_KIND(visit->event->what) == VDB_EVENT_SPECULATIVE;
	ReorderBufferChange *change;

	queue_inserted(visit, false);
	change = new_change(visit->ctx, visit->buf,
						speculative ? REORDER_BUFFER_CHANGE_INTERNAL_SPEC_INSERT :
						REORDER_BUFFER_CHANGE_INSERT, &visit->event->file);
	change->data.tp.newtuple = new_row(visit->ctx->reorder, visit->event, bytes, len);
	visit->inserted = change;
	return true;
}

/* Queue the update of a row. */
static bool
visit_updated(void *arg, const char *bytes, uint16 len)
{
	Visit	   *visit = (Visit *) arg;
	ReorderBufferChange *change = new_change(visit->ctx, visit->buf, REORDER_BUFFER_CHANGE_UPDATE,
											 &visit->event->file);

	change->data.tp.oldtuple = old_row(visit->ctx->reorder, visit->event);
	change->data.tp.newtuple = new_row(visit->ctx->reorder, visit->event, bytes, len);
	queue(visit->ctx, visit->buf, change, false);
	return false;				/* the row is the first span */
}

/*
 * Queue a deletion.  An old row's chunks have kept their transaction from being streamed.  In
 * core's view only an insertion or update ends that, so an insertion marked VDB_PART_NOTHING
 * follows.
 */
static void
decode_delete(LogicalDecodingContext *ctx, XLogRecordBuffer *buf, const ParsedEvent *event)
{
	ReorderBufferChange *change = new_change(ctx, buf, REORDER_BUFFER_CHANGE_DELETE, &event->file);

	change->data.tp.oldtuple = old_row(ctx->reorder, event);
	queue(ctx, buf, change, false);
	if (VDB_EVENT_OLD(event->what) != VDB_OLD_CHUNKS)
		return;
	change = new_change(ctx, buf, REORDER_BUFFER_CHANGE_INSERT, &event->file);
	change->data.tp.newtuple = part_tuple(ctx->reorder, VDB_PART_NOTHING, NULL, 0, NULL, 0);
	queue(ctx, buf, change, false);
}

/* Queue the changes of an event.  Raises an error if its kind is unknown. */
static void
decode_event(LogicalDecodingContext *ctx, XLogRecordBuffer *buf, const char *bytes, uint32 len)
{
	ParsedEvent event;
	Visit		visit = {ctx, buf, &event, NULL};

	parse_event(bytes, len, &event);
	if (event.nunchanged > 0)
		vdb_complete_install(ctx);
	switch (VDB_EVENT_KIND(event.what))
	{
		case VDB_EVENT_INSERT:
		case VDB_EVENT_SPECULATIVE:
			vdb_scm_record_stores(buf->record, visit_inserted, &visit);
			queue_inserted(&visit, (event.what & VDB_EVENT_MORE) == 0);
			break;
		case VDB_EVENT_UPDATE:
			vdb_scm_record_stores(buf->record, visit_updated, &visit);
			break;
		case VDB_EVENT_DELETE:
			decode_delete(ctx, buf, &event);
			break;
		case VDB_EVENT_CONFIRM:
			queue(ctx, buf,
				  new_change(ctx, buf, REORDER_BUFFER_CHANGE_INTERNAL_SPEC_CONFIRM, &event.file),
				  false);
			break;
		case VDB_EVENT_TAKE_BACK:
			queue(ctx, buf,
				  new_change(ctx, buf, REORDER_BUFFER_CHANGE_INTERNAL_SPEC_ABORT, &event.file),
				  false);
			break;
		default:
			vdb_scm_record_damaged("An event is of an unknown kind.");
	}
}

/* ---- parts of rows ---- */

/* Queue a marked tuple as a part of a row, which takes the form of an insertion. */
static void
queue_part(LogicalDecodingContext *ctx, XLogRecordBuffer *buf, const RelFileLocator *file,
		   VdbReorderTuple *tuple)
{
	ReorderBufferChange *change = new_change(ctx, buf, REORDER_BUFFER_CHANGE_INSERT, file);

	Assert(OidIsValid(vdb_reorder_heap_tuple(tuple)->t_tableOid));
	vdb_complete_install(ctx);
	change->data.tp.newtuple = tuple;
	queue(ctx, buf, change, true);
}

/* Queue a page of a wide row, from the record's full-page image. */
static void
decode_page(LogicalDecodingContext *ctx, XLogRecordBuffer *buf, const VdbRunRecord *record)
{
	PGAlignedBlock page;
	RelFileLocator file;
	VdbPartPage part = {0};

	XLogRecGetBlockTag(buf->record, 0, &file, NULL, &part.block);
	if (!XLogRecHasBlockImage(buf->record, 0) || !RestoreBlockImage(buf->record, 0, page.data))
		vdb_scm_record_damaged("A page of a wide row is missing.");
	part.first_page = record->first_page;
	part.total = record->total;
	part.first = record->first != 0;
	queue_part(ctx, buf, &file,
			   part_tuple(ctx->reorder, VDB_PART_PAGE, &part, sizeof(part),
						  page.data + SizeOfPageHeaderData, VDB_PAGE_PAYLOAD));
}

/* Read the head of a chunk's record.  Returns false if it is short or of another version. */
static bool
parse_chunk(XLogReaderState *record, VdbChunkRecord *chunk)
{
	if (XLogRecGetDataLen(record) < sizeof(VdbChunkRecord))
		return false;
	memcpy(chunk, XLogRecGetData(record), sizeof(VdbChunkRecord));
	return chunk->version == VDB_CHUNK_VERSION;
}

/* Queue a chunk of an old row. */
static void
decode_chunk(LogicalDecodingContext *ctx, XLogRecordBuffer *buf, const VdbChunkRecord *chunk)
{
	RelFileLocator file = {chunk->spc_oid, chunk->db_oid, chunk->rel_number};
	VdbPartChunk part = {0};

	part.total = chunk->total;
	part.first = chunk->first != 0;
	queue_part(ctx, buf, &file,
			   part_tuple(ctx->reorder, VDB_PART_CHUNK, &part, sizeof(part),
						  XLogRecGetData(buf->record) + sizeof(VdbChunkRecord),
						  XLogRecGetDataLen(buf->record) - sizeof(VdbChunkRecord)));
}

/* ---- records ---- */

/*
 * Return true if the slot decodes the record, which depends on snapshot, database and origin.  The
 * transaction gets its base snapshot here, as in core's decode.c.
 */
static bool
is_wanted(LogicalDecodingContext *ctx, XLogRecordBuffer *buf, Oid database)
{
	RepOriginId origin = XLogRecGetOrigin(buf->record);

	if (!SnapBuildProcessChange(ctx->snapshot_builder, XLogRecGetXid(buf->record), buf->origptr) ||
		ctx->fast_forward || database != ctx->slot->data.database)
		return false;
	return ctx->callbacks.filter_by_origin_cb == NULL || !filter_by_origin_cb_wrapper(ctx, origin);
}

/* Return the database of the record's first block. */
static Oid
database_of_block(XLogReaderState *record)
{
	RelFileLocator file;

	XLogRecGetBlockTag(record, 0, &file, NULL, NULL);
	return file.dbOid;
}

/*
 * Decode a record of the resource manager.  Skips records without an event, and those that come
 * before there is a snapshot.  The reorder buffer knows of the transaction already.
 */
static void
decode_record(LogicalDecodingContext *ctx, XLogRecordBuffer *buf)
{
	XLogReaderState *record = buf->record;
	VdbRunRecord run;
	VdbChunkRecord chunk;
	const char *event;
	uint32		len;

	if (SnapBuildCurrentState(ctx->snapshot_builder) < SNAPBUILD_FULL_SNAPSHOT)
		return;
	switch (XLogRecGetInfo(record) & ~XLR_INFO_MASK)
	{
		case VDB_XLOG_CHANGE:
		case VDB_XLOG_STRUCTURE:
			event = vdb_scm_record_event(record, &len);
			if (event != NULL && is_wanted(ctx, buf, database_of_block(record)))
				decode_event(ctx, buf, event, len);
			break;
		case VDB_XLOG_PAGE:
			if (vdb_pages_run_record(record, &run) &&
				is_wanted(ctx, buf, database_of_block(record)))
				decode_page(ctx, buf, &run);
			break;
		case VDB_XLOG_EVENT:
			if (!parse_chunk(record, &chunk))
				vdb_scm_record_damaged("A chunk is of an unknown version.");
			if (is_wanted(ctx, buf, chunk.db_oid))
				decode_chunk(ctx, buf, &chunk);
			break;
		default:
			break;
	}
}

/* See decode.h. */
void
vdb_decode_init(void)
{
	vdb_scm_set_decode(decode_record);
	vdb_assigned_init();
}
