/*-------------------------------------------------------------------------
 *
 * rows_tuple.c
 *	  From a slot to the tuple that is stored: flattened, compressed, stamped.
 *
 * There is no TOAST table.  Values that are stored elsewhere (external, indirect, expanded) are
 * fetched, so that a stored row is complete in itself.  A tuple longer than heap would leave alone
 * has its longest values compressed, by the column's storage and compression settings, until it is
 * short enough or there is nothing left to compress.  If it is still too long it goes to pages, as
 * one wide row: see rows_segment.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/heaptoast.h"
#include "access/parallel.h"
#include "access/toast_internals.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "rows/rows_private.h"

/* Longest tuple that a HeapTuple, allocated in one piece with its data, can have. */
#define VDB_TUPLE_MAX_BYTES		((Size) (MaxAllocSize - HEAPTUPLESIZE))

/* Varlena bytes below which a tuple's exact length doesn't matter here. */
#define VDB_SMALL_VARLENA_BYTES 256

/* A tuple that is being formed: the slot's arrays, or copies of them once a value was replaced. */
typedef struct VdbForming
{
	TupleDesc	desc;
	Datum	   *values;
	bool	   *isnull;
	bool	   *replaced;			/* NULL if no value was; else 'values' is our copy */
} VdbForming;

/* Replace one of the slot's values by another, which is palloc'd. */
static void
replace_value(VdbForming *forming, int i, Datum value)
{
	int			natts = forming->desc->natts;

	if (forming->replaced == NULL)
	{
		Datum	   *copy = palloc(sizeof(Datum) * natts);

		memcpy(copy, forming->values, sizeof(Datum) * natts);
		forming->values = copy;
		forming->replaced = palloc0(sizeof(bool) * natts);
	}
	if (forming->replaced[i])
		pfree(DatumGetPointer(forming->values[i]));
	forming->values[i] = value;
	forming->replaced[i] = true;
}

static void
free_replaced(VdbForming *forming)
{
	if (forming->replaced == NULL)
		return;
	for (int i = 0; i < forming->desc->natts; i++)
	{
		if (forming->replaced[i])
			pfree(DatumGetPointer(forming->values[i]));
	}
	pfree(forming->replaced);
	pfree(forming->values);
}

/* Fetch the values that are stored outside of the row.  Returns the bytes of all varlena values. */
static Size
flatten(VdbForming *forming)
{
	Size		bytes = 0;

	for (int i = 0; i < forming->desc->natts; i++)
	{
		struct varlena *value;

		if (forming->isnull[i] || TupleDescAttr(forming->desc, i)->attlen != -1)
			continue;
		value = (struct varlena *) DatumGetPointer(forming->values[i]);
		if (VARATT_IS_EXTERNAL(value))
		{
			value = detoast_external_attr(value);
			replace_value(forming, i, PointerGetDatum(value));
			CHECK_FOR_INTERRUPTS();
		}
		bytes += VARSIZE_ANY(value);
	}
	return bytes;
}

/* Return the length of the tuple that the values would form. */
static Size
tuple_bytes(const VdbForming *forming)
{
	int			natts = forming->desc->natts;
	Size		hoff = SizeofHeapTupleHeader;

	for (int i = 0; i < natts; i++)
	{
		if (forming->isnull[i])
		{
			hoff += BITMAPLEN(natts);
			break;
		}
	}
	return MAXALIGN(hoff) + heap_compute_data_size(forming->desc, forming->values, forming->isnull);
}

/* Return the longest value with this storage that can still be compressed, or -1. */
static int
longest_plain_value(const VdbForming *forming, char storage, const bool *tried)
{
	Size		longest_bytes = MAXALIGN(TOAST_POINTER_SIZE);
	int			longest = -1;

	for (int i = 0; i < forming->desc->natts; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(forming->desc, i);
		struct varlena *value;

		if (forming->isnull[i] || tried[i] || attr->attlen != -1 || attr->attstorage != storage)
			continue;
		value = (struct varlena *) DatumGetPointer(forming->values[i]);
		if (VARATT_IS_COMPRESSED(value) || VARSIZE_ANY(value) <= longest_bytes)
			continue;
		longest = i;
		longest_bytes = VARSIZE_ANY(value);
	}
	return longest;
}

/* Compress values of this storage, longest first, while the tuple is longer than heap's target. */
static void
compress_values(VdbForming *forming, char storage, bool *tried)
{
	while (tuple_bytes(forming) > TOAST_TUPLE_TARGET)
	{
		int			i = longest_plain_value(forming, storage, tried);
		Datum		compressed;

		if (i < 0)
			break;
		CHECK_FOR_INTERRUPTS();
		tried[i] = true;
		compressed = toast_compress_datum(forming->values[i],
										  TupleDescAttr(forming->desc, i)->attcompression);
		if (DatumGetPointer(compressed) != NULL)
			replace_value(forming, i, compressed);
	}
}

/*
 * Compress values if the tuple calls for it.  Raises an error if the tuple is too long to be
 * formed.
 */
static void
shorten(VdbForming *forming)
{
	Size		bytes = tuple_bytes(forming);

	if (bytes > TOAST_TUPLE_THRESHOLD)
	{
		bool	   *tried = palloc0(sizeof(bool) * forming->desc->natts);

		compress_values(forming, TYPSTORAGE_EXTENDED, tried);
		compress_values(forming, TYPSTORAGE_MAIN, tried);
		pfree(tried);
		bytes = tuple_bytes(forming);
	}
	if (bytes > VDB_TUPLE_MAX_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("row is too large: %zu bytes, at most %zu are possible",
						bytes, VDB_TUPLE_MAX_BYTES)));
}

/* See rows.h.  Raises PROGRAM_LIMIT_EXCEEDED, and errors of fetching a value. */
HeapTuple
vdb_rows_form(Relation rel, TupleTableSlot *slot)
{
	VdbForming	forming;
	HeapTuple	tuple;

	slot_getallattrs(slot);
	forming.desc = RelationGetDescr(rel);
	forming.values = slot->tts_values;
	forming.isnull = slot->tts_isnull;
	forming.replaced = NULL;
	Assert(slot->tts_nvalid >= forming.desc->natts);

	if (flatten(&forming) > VDB_SMALL_VARLENA_BYTES)
		shorten(&forming);
	tuple = heap_form_tuple(forming.desc, forming.values, forming.isnull);
	tuple->t_tableOid = RelationGetRelid(rel);
	free_replaced(&forming);

	Assert(!HeapTupleHasExternal(tuple));
	return tuple;
}

/*
 * Make a formed tuple the new row version 'row' of transaction xid.  Of the options,
 * TABLE_INSERT_FROZEN counts.  t_ctid is set to the row itself; inserters with a speculative token
 * set that afterwards.
 */
void
vdb_rows_stamp(HeapTuple tuple, TransactionId xid, CommandId cid, int options, VdbRowNumber row)
{
	HeapTupleHeader hdr = tuple->t_data;

	/* New command ids would not reach the leader. */
	if (IsParallelWorker())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("cannot insert tuples in a parallel worker")));
	Assert(row != VDB_ROW_NONE);

	hdr->t_infomask &= ~HEAP_XACT_MASK;
	hdr->t_infomask2 &= ~HEAP2_XACT_MASK;
	hdr->t_infomask |= HEAP_XMAX_INVALID;
	HeapTupleHeaderSetXmin(hdr, xid);
	if (options & TABLE_INSERT_FROZEN)
		HeapTupleHeaderSetXminFrozen(hdr);
	HeapTupleHeaderSetCmin(hdr, cid);
	HeapTupleHeaderSetXmax(hdr, InvalidTransactionId);
	vdb_row_to_tid(row, &hdr->t_ctid);
	tuple->t_self = hdr->t_ctid;
}

/* See rows.h.  Values that are compressed alike need not be decompressed. */
bool
vdb_rows_same_value(Form_pg_attribute attr, Datum a, bool a_null, Datum b, bool b_null)
{
	if (a_null || b_null)
		return a_null == b_null;
	Assert(!attr->attisdropped);
	if (attr->attlen == -1)
	{
		Size		bytes = VARSIZE_ANY(DatumGetPointer(a));

		if (VARSIZE_ANY(DatumGetPointer(b)) == bytes &&
			memcmp(DatumGetPointer(a), DatumGetPointer(b), bytes) == 0)
			return true;
	}
	return datum_image_eq(a, b, attr->attbyval, attr->attlen);
}
