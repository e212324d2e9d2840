/*-------------------------------------------------------------------------
 *
 * decode_complete.c
 *	  Reading: rows put together while their transaction is replayed.
 *
 * A decoding context whose slot has come to a part of a row (decode_private.h) gets this file's
 * functions between the reorder buffer and the output plugin.  They keep parts, complete rows, and
 * hand on all other changes as they are.  It is done here, and not when the record is read, for two
 * reasons: parts can be spilled to disk meanwhile, and the table's columns are known here.
 *
 * Memory lives in a context of its own, below the decoding context's: runs of wide rows and the old
 * row until their row has come, which is the next change of the transaction but for other parts;
 * what is made of them until the next change.
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

/* A wide row's data, as far as it has come. */
typedef struct Run
{
	dlist_node	node;
	RelFileLocator file;
	BlockNumber first_page;
	uint32		total;
	uint32		got;				/* bytes, from the beginning on */
	char	   *data;
} Run;

typedef struct Completion
{
	LogicalDecodingContext *ctx;
	ReorderBufferApplyChangeCB apply;	/* the decoding context's own */
	ReorderBufferStreamChangeCB stream;
	MemoryContext context;			/* runs, old row */
	MemoryContext change_context;	/* until the next change */
	TransactionId xid;				/* top level, that the parts are of */
	dlist_head	runs;
	uint32		old_total;
	uint32		old_got;
	char	   *old;				/* VdbEventTuple, then bytes from t_bits on; or NULL */
} Completion;

/* Of the decoding contexts of this process; in fact there is one. */
static Completion *completion = NULL;

pg_noreturn static void
part_missing(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("part of a row is missing in WAL"),
			 errdetail_internal("%s", what)));
}

static char *
allocate_change(MemoryContext context, Size bytes)
{
	return MemoryContextAllocExtended(context, bytes, MCXT_ALLOC_HUGE);
}

static inline const char *
part_bytes(HeapTuple tuple, Size *len)
{
	*len = tuple->t_len - SizeofHeapTupleHeader;
	return (const char *) tuple->t_data + SizeofHeapTupleHeader;
}

/* ---- parts ---- */

static void
free_run(Run *run)
{
	dlist_delete(&run->node);
	pfree(run->data);
	pfree(run);
}

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

static void
free_old(void)
{
	if (completion->old != NULL)
		pfree(completion->old);
	completion->old = NULL;
}

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

static Run *
begin_run(const RelFileLocator *file, const VdbPartPage *part)
{
	Run		   *run = find_run(file, part->first_page);

	if (run != NULL)
		free_run(run);				/* its row was never stored, and its pages were free again */
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
 * A tuple for a change, with so many bytes, header included; the header is zero, the rest is not
 * set.
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

static void
keep_header(HeapTupleHeader hdr)
{
	hdr->t_infomask2 &= HEAP_NATTS_MASK;
	hdr->t_infomask &= ~HEAP_XACT_MASK;
	memset(&hdr->t_choice, 0, sizeof(hdr->t_choice));
	ItemPointerSetInvalid(&hdr->t_ctid);
}

/* The whole row of which the record has only header and reference. */
static VdbReorderTuple *
wide_row(const RelFileLocator *file, const char *image, uint32 bytes, HeapTuple *tuple)
{
	Size		hoff = bytes - sizeof(VdbWideRef);
	VdbReorderTuple *made;
	VdbWideRef	ref;
	Run		   *run;

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

static VdbReorderTuple *
without_unchanged(Relation relation, HeapTuple whole, const uint16 *columns, int n)
{
	TupleDesc	desc = RelationGetDescr(relation);
	Datum	   *values = palloc(desc->natts * sizeof(Datum));
	bool	   *isnull = palloc(desc->natts * sizeof(bool));
	HeapTuple	formed;
	HeapTuple	tuple;
	VdbReorderTuple *made;

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

/* The new row that a marked tuple stands for. */
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

static inline Oid
mark_of(VdbReorderTuple *tuple)
{
	return tuple ? vdb_reorder_heap_tuple(tuple)->t_tableOid : InvalidOid;
}

/* Parts of another transaction have no row any more: it was replayed to its end, or aborted. */
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

static void
apply_completed(ReorderBuffer *rb, ReorderBufferTXN *txn, Relation relation,
				ReorderBufferChange *change,
	  ReorderBufferApplyChangeCB plugin)
{
	const RelFileLocator *file = &change->data.tp.rlocator;
	ReorderBufferChange whole = *change;

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

static void
apply_change(ReorderBuffer *rb, ReorderBufferTXN *txn, Relation relation,
			 ReorderBufferChange *change)
{
	apply_completed(rb, txn, relation, change, completion->apply);
}

static void
stream_change(ReorderBuffer *rb, ReorderBufferTXN *txn, Relation relation,
			  ReorderBufferChange *change)
{
	apply_completed(rb, txn, relation, change, completion->stream);
}

static void
forget(void *arg)
{
	completion = NULL;
}

/* From now on rows of this decoding context are completed.  Cheap when it is so already. */
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
