/*-------------------------------------------------------------------------
 *
 * decode_complete.c
 *	  Routines for reading: complete rows from their parts while their transaction is replayed.
 *
 * Once a decoding context reads a part of a row (decode_private.h), this file's functions stand
 * between the reorder buffer and the output plugin.  They keep parts, complete rows, and hand on
 * all other changes as they are.  This is done here, and not when the record is read, for two
 * reasons: parts can be spilled to disk meanwhile, and the table's columns are known here.
 *
 * Memory is in two contexts below the decoding context's.  Runs of wide rows and the old row live
 * in the first until their row has come.  That row is the next change of the transaction that is
 * not a part.  The completed row lives in the second until the next change.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "decode/decode_private.h"
#include "pages/pages.h"
#include "rows/rows_format.h"

/* The data of a wide row, as far as its pages have come. */
typedef struct Run
{
	dlist_node	node;
	RelFileLocator file;			/* the table's */
	BlockNumber first_page;
	uint32		total;				/* bytes of the run */
	uint32		got;				/* bytes that have come, from the beginning on */
	char	   *data;				/* room for 'total' bytes */
} Run;

/* The state of completing the rows of one decoding context. */
typedef struct Completion
{
	LogicalDecodingContext *ctx;
	ReorderBufferApplyChangeCB apply;	/* the decoding context's own callbacks */
	ReorderBufferStreamChangeCB stream;
	MemoryContext context;			/* for runs and the old row */
	MemoryContext change_context;	/* for the completed row; reset at each change */
	TransactionId xid;				/* top-level transaction that the parts belong to */
	dlist_head	runs;				/* of Run */
	uint32		old_total;			/* bytes of the old row */
	uint32		old_got;			/* bytes that have come */
	char	   *old;				/* VdbEventTuple, then bytes from t_bits on; or NULL */
} Completion;

/* The state for this process's decoding context; NULL until vdb_complete_install sets it. */
static Completion *completion = NULL;

/* Raise the error about a row of which a part has not come; 'what' is a full sentence. */
pg_noreturn static void
part_missing(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("part of a row is missing in WAL"),
			 errdetail_internal("%s", what)));
}

/* Allocate bytes for a row, which may need more than MaxAllocSize. */
static char *
allocate_change(MemoryContext context, Size bytes)
{
	return MemoryContextAllocExtended(context, bytes, MCXT_ALLOC_HUGE);
}

/* Return the bytes behind the header of a marked tuple, *len of them. */
static inline const char *
part_bytes(HeapTuple tuple, Size *len)
{
	*len = tuple->t_len - SizeofHeapTupleHeader;
	return (const char *) tuple->t_data + SizeofHeapTupleHeader;
}

/* ---- parts ---- */

/* Remove a run from the list and free it. */
static void
free_run(Run *run)
{
	Assert(run->got <= run->total);
	dlist_delete(&run->node);
	pfree(run->data);
	pfree(run);
}

/* Free the runs of one table, or all runs if 'file' is NULL. */
static void
free_runs(const RelFileLocator *file)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &completion->runs)
	{
		Run		   *run = dlist_container(Run, node, iter.cur);

		if (file == NULL || RelFileLocatorEquals(run->file, *file))
			free_run(run);
	}
}

/* Free the old row, if there is one. */
static void
free_old(void)
{
	if (completion->old != NULL)
		pfree(completion->old);
	completion->old = NULL;
}

/* Return the run that begins at this page of the table's file, or NULL. */
static Run *
find_run(const RelFileLocator *file, BlockNumber first_page)
{
	dlist_iter	iter;

	dlist_foreach(iter, &completion->runs)
	{
		Run		   *run = dlist_container(Run, node, iter.cur);

		if (run->first_page == first_page && RelFileLocatorEquals(run->file, *file))
			return run;
	}
	return NULL;
}

/* Begin the run of a wide row's first page.  Frees earlier runs whose rows can no longer come. */
static Run *
begin_run(const RelFileLocator *file, const VdbPartPage *part)
{
	Run		   *run = find_run(file, part->first_page);

	if (run != NULL)
		free_run(run);			/* its row was never stored, and its pages became free */
	if (part->first)
		free_runs(file);
	run = MemoryContextAllocZero(completion->context, sizeof(Run));
	run->file = *file;
	run->first_page = part->first_page;
	run->total = part->total;
	run->data = allocate_change(completion->context, part->total);
	dlist_push_tail(&completion->runs, &run->node);
	return run;
}

/* Append a page to its run.  Raises an error unless it is the next page of the run. */
static void
keep_page(const RelFileLocator *file, HeapTuple tuple)
{
	Size		len;
	const char *bytes = part_bytes(tuple, &len);
	VdbPartPage part;
	Run		   *run;
	uint64		at;

	memcpy(&part, bytes, sizeof(part));
	run = part.block == part.first_page ? begin_run(file, &part) : find_run(file, part.first_page);
	at = (uint64) (part.block - part.first_page) * VDB_PAGE_PAYLOAD;
	if (run == NULL || at != run->got || at >= run->total || len != sizeof(part) + VDB_PAGE_PAYLOAD)
		part_missing("A page of a wide row comes out of turn.");
	len = Min(VDB_PAGE_PAYLOAD, run->total - run->got);
	memcpy(run->data + at, bytes + sizeof(part), len);
	run->got += (uint32) len;
}

/* Append a chunk to the old row.  Raises an error if no row was begun, or if it is too long. */
static void
keep_chunk(HeapTuple tuple)
{
	Size		len;
	const char *bytes = part_bytes(tuple, &len);
	VdbPartChunk part;

	memcpy(&part, bytes, sizeof(part));
	len -= sizeof(part);
	if (part.first)
	{
		free_old();
		completion->old = allocate_change(completion->context, part.total);
		completion->old_total = part.total;
		completion->old_got = 0;
	}
	if (completion->old == NULL || len > completion->old_total - completion->old_got)
		part_missing("A chunk of an old row comes out of turn.");
	memcpy(completion->old + completion->old_got, bytes + sizeof(part), len);
	completion->old_got += (uint32) len;
}

/* ---- completing ---- */

/*
 * Make a tuple of 'bytes' bytes, header included, in change_context.  The header is zero; the rest
 * is not set.
 */
static VdbReorderTuple *
make_tuple(Size bytes, HeapTuple *tuple)
{
	Size		head = MAXALIGN(sizeof(VdbReorderTuple));
	VdbReorderTuple *made = (VdbReorderTuple *) allocate_change(completion->change_context,
																head + bytes);

	Assert(bytes >= SizeofHeapTupleHeader);
	memset(made, 0, head + SizeofHeapTupleHeader);
	*tuple = vdb_reorder_heap_tuple(made);
	(*tuple)->t_len = (uint32) bytes;
	(*tuple)->t_data = (HeapTupleHeader) ((char *) made + head);
	ItemPointerSetInvalid(&(*tuple)->t_self);
	(*tuple)->t_tableOid = InvalidOid;
	return made;
}

/* Clear what a header says about transactions and about the row's place. */
static void
keep_header(HeapTupleHeader hdr)
{
	hdr->t_infomask2 &= HEAP_NATTS_MASK;
	hdr->t_infomask &= ~HEAP_XACT_MASK;
	memset(&hdr->t_choice, 0, sizeof(hdr->t_choice));
	ItemPointerSetInvalid(&hdr->t_ctid);
}

/*
 * Make the whole row from a wide row's header and VdbWideRef ('image', of 'bytes' bytes), and from
 * its run, which is freed.
 */
static VdbReorderTuple *
wide_row(const RelFileLocator *file, const char *image, uint32 bytes, HeapTuple *tuple)
{
	Size		hoff = bytes - sizeof(VdbWideRef);
	VdbReorderTuple *made;
	VdbWideRef	ref;
	Run		   *run;

	Assert(hoff >= SizeofHeapTupleHeader && hoff < bytes);
	memcpy(&ref, image + hoff, sizeof(ref));
	run = find_run(file, ref.first_page);
	if (run == NULL || run->got != ref.data_bytes)
		part_missing("A wide row comes without its pages.");
	made = make_tuple(hoff + run->got, tuple);
	memcpy((*tuple)->t_data, image, hoff);
	memcpy((char *) (*tuple)->t_data + hoff, run->data, run->got);
	free_run(run);
	return made;
}

/*
 * Make a tuple like 'whole', with a TOAST pointer in place of the values of 'n' unchanged columns,
 * so that the plugin prints what it prints for heap.
 */
static VdbReorderTuple *
without_unchanged(Relation relation, HeapTuple whole, const uint16 *columns, int n)
{
	TupleDesc	desc = RelationGetDescr(relation);
	Datum	   *values = palloc(desc->natts * sizeof(Datum));
	bool	   *isnull = palloc(desc->natts * sizeof(bool));
	HeapTuple	formed;
	HeapTuple	tuple;
	VdbReorderTuple *made;

	Assert(n > 0);
	heap_deform_tuple(whole, desc, values, isnull);
	for (int i = 0; i < n; i++)
	{
		if (columns[i] > desc->natts || TupleDescAttr(desc, columns[i] - 1)->attlen != -1)
			part_missing("An unchanged value is of a column that the table has not.");
		if (!isnull[columns[i] - 1])
			values[columns[i] - 1] = vdb_pointer_out_of_line();
	}
	formed = heap_form_tuple(desc, values, isnull);
	made = make_tuple(formed->t_len, &tuple);
	memcpy(tuple->t_data, formed->t_data, formed->t_len);
	keep_header(tuple->t_data);
	pfree(formed);
	pfree(values);
	pfree(isnull);
	return made;
}

/* Make the new row that a tuple marked VDB_PART_ROW stands for. */
static VdbReorderTuple *
complete_row(Relation relation, const RelFileLocator *file, HeapTuple packed)
{
	Size		len;
	const char *bytes = part_bytes(packed, &len);
	uint16		columns[MaxHeapAttributeNumber];
	VdbPartRow	part;
	HeapTuple	tuple;
	VdbReorderTuple *made;

	memcpy(&part, bytes, sizeof(part));
	Assert(part.wide || part.nunchanged > 0);
	Assert(len == sizeof(part) + part.nunchanged * sizeof(uint16) + part.bytes);
	memcpy(columns, bytes + sizeof(part), part.nunchanged * sizeof(uint16));
	bytes += sizeof(part) + part.nunchanged * sizeof(uint16);
	if (part.wide)
		made = wide_row(file, bytes, part.bytes, &tuple);
	else
	{
		made = make_tuple(part.bytes, &tuple);
		memcpy(tuple->t_data, bytes, part.bytes);
	}
	keep_header(tuple->t_data);
	if (part.nunchanged > 0)
	{
		VdbReorderTuple *whole = made;

		made = without_unchanged(relation, tuple, columns, part.nunchanged);
		pfree(whole);
	}
	return made;
}

/* Make the old row from its chunks, which are freed. */
static VdbReorderTuple *
complete_old(void)
{
	VdbEventTuple head;
	HeapTuple	tuple;
	VdbReorderTuple *made;
	uint32		bytes;

	if (completion->old == NULL || completion->old_got != completion->old_total ||
		completion->old_total < VDB_EVENT_TUPLE_BYTES)
		part_missing("An old row comes without its chunks.");
	bytes = completion->old_total - VDB_EVENT_TUPLE_BYTES;
	memcpy(&head, completion->old, VDB_EVENT_TUPLE_BYTES);
	made = make_tuple(SizeofHeapTupleHeader + bytes, &tuple);
	tuple->t_data->t_infomask2 = head.infomask2;
	tuple->t_data->t_infomask = head.infomask;
	tuple->t_data->t_hoff = head.hoff;
	memcpy((char *) tuple->t_data + SizeofHeapTupleHeader,
		   completion->old + VDB_EVENT_TUPLE_BYTES, bytes);
	free_old();
	return made;
}

/* ---- between the reorder buffer and the plugin ---- */

/* Return a tuple's mark (VDB_PART_*), or InvalidOid if it has none or there is no tuple. */
static inline Oid
mark_of(VdbReorderTuple *tuple)
{
	return tuple ? vdb_reorder_heap_tuple(tuple)->t_tableOid : InvalidOid;
}

/*
 * Reset change_context.  If this is another transaction than before, free the parts too: they have
 * no row any more, since their transaction was replayed to its end or aborted.
 */
static void
begin_change(ReorderBufferTXN *txn)
{
	Assert(txn->toptxn == NULL);
	MemoryContextReset(completion->change_context);
	if (completion->xid == txn->xid)
		return;
	free_runs(NULL);
	free_old();
	completion->xid = txn->xid;
}

/* Keep the change if it is a part; else complete it and hand it to the plugin's callback. */
static void
apply_completed(ReorderBuffer *rb, ReorderBufferTXN *txn, Relation relation,
				ReorderBufferChange *change,
				ReorderBufferApplyChangeCB plugin)
{
	const RelFileLocator *file = &change->data.tp.rlocator;
	ReorderBufferChange whole = *change;

	Assert(completion != NULL && completion->ctx->reorder == rb);
	begin_change(txn);
	switch (mark_of(change->data.tp.newtuple))
	{
		case VDB_PART_PAGE:
			keep_page(file, vdb_reorder_heap_tuple(change->data.tp.newtuple));
			return;
		case VDB_PART_CHUNK:
			keep_chunk(vdb_reorder_heap_tuple(change->data.tp.newtuple));
			return;
		case VDB_PART_NOTHING:
			return;
		case VDB_PART_ROW:
			whole.data.tp.newtuple =
				complete_row(relation, file, vdb_reorder_heap_tuple(change->data.tp.newtuple));
			break;
		default:
			break;
	}
	if (mark_of(change->data.tp.oldtuple) == VDB_PART_OLD)
		whole.data.tp.oldtuple = complete_old();
	plugin(rb, txn, relation, &whole);
}

/* The reorder buffer's apply_change: complete, then call the decoding context's own. */
static void
apply_change(ReorderBuffer *rb, ReorderBufferTXN *txn, Relation relation,
			 ReorderBufferChange *change)
{
	apply_completed(rb, txn, relation, change, completion->apply);
}

/* The reorder buffer's stream_change: complete, then call the decoding context's own. */
static void
stream_change(ReorderBuffer *rb, ReorderBufferTXN *txn, Relation relation,
			  ReorderBufferChange *change)
{
	apply_completed(rb, txn, relation, change, completion->stream);
}

/* Reset the state when the decoding context, which owns its memory, is reset or deleted. */
static void
forget(void *arg)
{
	completion = NULL;
}

/* See decode_private.h.  Cheap if it was called for this context before. */
void
vdb_complete_install(LogicalDecodingContext *ctx)
{
	MemoryContextCallback *callback;

	if (completion != NULL && completion->ctx == ctx)
		return;
	if (completion != NULL)
		elog(ERROR, "cannot decode with two contexts at once");
	callback = MemoryContextAllocZero(ctx->context, sizeof(MemoryContextCallback));
	completion = MemoryContextAllocZero(ctx->context, sizeof(Completion));
	completion->ctx = ctx;
	completion->context = AllocSetContextCreate(ctx->context, "vdb rows being decoded",
												ALLOCSET_DEFAULT_SIZES);
	completion->change_context = AllocSetContextCreate(completion->context, "vdb decoded row",
													   ALLOCSET_DEFAULT_SIZES);
	dlist_init(&completion->runs);
	Assert(ctx->reorder->apply_change != apply_change);
	completion->apply = ctx->reorder->apply_change;
	completion->stream = ctx->reorder->stream_change;
	ctx->reorder->apply_change = apply_change;
	ctx->reorder->stream_change = stream_change;
	callback->func = forget;
	MemoryContextRegisterResetCallback(ctx->context, callback);
}
