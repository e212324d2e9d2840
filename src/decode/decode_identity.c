/*-------------------------------------------------------------------------
 *
 * decode_identity.c
 *	  Routines for writing events: which values of an old row the stream has, as with heap.
 *
 * Heap's rules decide two things: which columns identify the old row (ExtractReplicaIdentity), and
 * which values of an updated row heap would not have logged, since they are out of line and not
 * changed.
 *
 * Heap sees the latter in its tuples, which have pointers.  Our rows are flat.  So the old row is
 * toasted once more, without storing anything, following the steps of heap_toast_insert_or_update.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/heaptoast.h"
#include "access/sysattr.h"
#include "access/toast_internals.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "utils/relcache.h"

#include "decode/decode_private.h"
#include "rows/rows.h"

/* ---- what heap would have out of line ---- */

/* The state of toasting one row without storing anything.  Arrays are by column, from 0. */
typedef struct Toasting
{
	Relation	rel;
	TupleDesc	desc;
	Datum	   *values;				/* a copy of the row's array, as far as toasting has come */
	const bool *isnull;
	bool	   *external;			/* the value would be out of line */
	bool	   *tried;				/* the value is compressed, or is not to be compressed */
	bool	   *owned;				/* the value was palloc'd here */
} Toasting;

/* A TOAST pointer's bytes, aligned. */
typedef union ToastPointerImage
{
	struct varlena align;
	char		data[TOAST_POINTER_SIZE];
} ToastPointerImage;

/* See decode_private.h.  Only the pointer's kind and size matter. */
Datum
vdb_pointer_out_of_line(void)
{
	static ToastPointerImage pointer;

	SET_VARTAG_EXTERNAL(pointer.data, VARTAG_ONDISK);
	return PointerGetDatum(&pointer);
}

/* Return the size of the row's data, without its header, as it is toasted so far. */
static Size
data_bytes(const Toasting *toasting)
{
	return heap_compute_data_size(toasting->desc, toasting->values,
								  unconstify(bool *, toasting->isnull));
}

/*
 * Return the column, from 0, of the longest value that is still in line, or -1 if there is none.
 * Storage is MAIN if 'main' is true, else EXTENDED or EXTERNAL.  With 'compressible', values
 * that are compressed or were tried do not count.  Values no longer than an aligned TOAST pointer
 * never count.
 */
static int
longest_value(const Toasting *toasting, bool compressible, bool main)
{
	Size		longest_bytes = MAXALIGN(TOAST_POINTER_SIZE);
	int			longest = -1;

	for (int i = 0; i < toasting->desc->natts; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(toasting->desc, i);
		Pointer		value = DatumGetPointer(toasting->values[i]);

		if (attr->attlen != -1 || toasting->isnull[i] || toasting->external[i] ||
			attr->attstorage == TYPSTORAGE_PLAIN ||
			(attr->attstorage == TYPSTORAGE_MAIN) != main)
			continue;
		if (compressible && (toasting->tried[i] || VARATT_IS_COMPRESSED(value)))
			continue;
		if (VARSIZE_ANY(value) > longest_bytes)
		{
			longest = i;
			longest_bytes = VARSIZE_ANY(value);
		}
	}
	return longest;
}

/* Replace a value, and free the old one if it was palloc'd here. */
static void
replace(Toasting *toasting, int i, Datum value, bool owned)
{
	if (toasting->owned[i])
		pfree(DatumGetPointer(toasting->values[i]));
	toasting->values[i] = value;
	toasting->owned[i] = owned;
}

/* Compress a value if this makes it shorter. */
static void
compress(Toasting *toasting, int i)
{
	Form_pg_attribute attr = TupleDescAttr(toasting->desc, i);
	Datum		compressed;

	CHECK_FOR_INTERRUPTS();
	Assert(!toasting->tried[i]);
	toasting->tried[i] = true;
	compressed = toast_compress_datum(toasting->values[i], attr->attcompression);
	if (DatumGetPointer(compressed) != NULL)
		replace(toasting, i, compressed, true);
}

/* Put a TOAST pointer in a value's place. */
static void
externalize(Toasting *toasting, int i)
{
	Assert(!toasting->external[i] && !toasting->isnull[i]);
	toasting->external[i] = true;
	replace(toasting, i, vdb_pointer_out_of_line(), false);
}

/*
 * Toast the row until its data has at most 'most' bytes, or 'most_main' in the last step.  Steps 1
 * and 2 take values with storage EXTENDED and EXTERNAL; steps 3 and 4 those with MAIN.
 */
static void
toast(Toasting *toasting, Size most, Size most_main)
{
	int			i;

	while (data_bytes(toasting) > most && (i = longest_value(toasting, true, false)) >= 0)
	{
		if (TupleDescAttr(toasting->desc, i)->attstorage == TYPSTORAGE_EXTENDED)
			compress(toasting, i);
		toasting->tried[i] = true;
		if (VARSIZE_ANY(DatumGetPointer(toasting->values[i])) > most)
			externalize(toasting, i);
	}
	while (data_bytes(toasting) > most && (i = longest_value(toasting, false, false)) >= 0)
		externalize(toasting, i);
	while (data_bytes(toasting) > most && (i = longest_value(toasting, true, true)) >= 0)
		compress(toasting, i);
	while (data_bytes(toasting) > most_main && (i = longest_value(toasting, false, true)) >= 0)
		externalize(toasting, i);
}

/*
 * Find the values that heap would have out of line in this row.  The given values are flat, and may
 * be compressed.  Returns a palloc'd array by column, from 0, or NULL if there is no such value.
 */
static bool *
find_external(Relation rel, const Datum *values, const bool *isnull)
{
	TupleDesc	desc = RelationGetDescr(rel);
	int			natts = desc->natts;
	Size		hoff = SizeofHeapTupleHeader;
	Toasting	toasting = {.rel = rel,.desc = desc,.isnull = isnull};

	for (int i = 0; i < natts; i++)
	{
		if (isnull[i])
		{
			hoff += BITMAPLEN(natts);
			break;
		}
	}
	hoff = MAXALIGN(hoff);
	toasting.values = unconstify(Datum *, values);
	if (hoff + data_bytes(&toasting) <= TOAST_TUPLE_THRESHOLD)
		return NULL;

	toasting.values = palloc(natts * sizeof(Datum));
	memcpy(toasting.values, values, natts * sizeof(Datum));
	toasting.external = palloc0(natts * sizeof(bool));
	toasting.tried = palloc0(natts * sizeof(bool));
	toasting.owned = palloc0(natts * sizeof(bool));
	toast(&toasting, RelationGetToastTupleTarget(rel, TOAST_TUPLE_TARGET) - hoff,
		  TOAST_TUPLE_TARGET_MAIN - hoff);
	for (int i = 0; i < natts; i++)
		if (toasting.owned[i])
			pfree(DatumGetPointer(toasting.values[i]));
	pfree(toasting.owned);
	pfree(toasting.tried);
	pfree(toasting.values);
	return toasting.external;
}

/* ---- the key ---- */

/* Return the attribute numbers of the replica identity's columns, or NULL if there are none. */
static Bitmapset *
key_columns(Relation rel)
{
	Bitmapset  *shifted = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_IDENTITY_KEY);
	Bitmapset  *columns = NULL;
	int			member = -1;

	while ((member = bms_next_member(shifted, member)) >= 0)
		columns = bms_add_member(columns, member + FirstLowInvalidHeapAttributeNumber);
	bms_free(shifted);
	return columns;
}

/* Form a palloc'd tuple with these columns of the old row, the others being null. */
static HeapTuple
key_tuple(TupleDesc desc, TupleTableSlot *old, const Bitmapset *columns)
{
	Datum	   *values = palloc(desc->natts * sizeof(Datum));
	bool	   *isnull = palloc(desc->natts * sizeof(bool));
	HeapTuple	tuple;

	Assert(!bms_is_empty(columns));
	for (int i = 0; i < desc->natts; i++)
	{
		isnull[i] = !bms_is_member(i + 1, columns);
		values[i] = isnull[i] ? (Datum) 0 : slot_getattr(old, i + 1, &isnull[i]);
	}
	tuple = heap_form_tuple(desc, values, isnull);
	pfree(values);
	pfree(isnull);
	return tuple;
}

/* Take the whole old row and return true if the replica identity is FULL; else return false. */
static bool
is_full(Relation rel, TupleTableSlot *old, VdbOldRow *row)
{
	if (rel->rd_rel->relreplident != REPLICA_IDENTITY_FULL)
		return false;
	row->tuple = vdb_rows_form(rel, old);
	return true;
}

/* Take the key of the old row.  'columns' becomes part of *row. */
static void
take_key(Relation rel, TupleTableSlot *old, Bitmapset *columns, VdbOldRow *row)
{
	Assert(columns != NULL && row->tuple == NULL);
	row->key = true;
	row->columns = columns;
	row->tuple = key_tuple(RelationGetDescr(rel), old, columns);
}

/* See decode_private.h. */
void
vdb_identity_of_deleted(Relation rel, TupleTableSlot *old, VdbOldRow *row)
{
	Bitmapset  *columns;

	Assert(row->tuple == NULL && row->columns == NULL);
	if (is_full(rel, old, row) || rel->rd_rel->relreplident == REPLICA_IDENTITY_NOTHING)
		return;
	columns = key_columns(rel);
	if (columns != NULL)
		take_key(rel, old, columns, row);
}

/* ---- updates ---- */

/*
 * See decode_private.h.  The key is needed if one of its columns has changed, or if heap would have
 * one of them out of line.
 */
Bitmapset *
vdb_identity_of_updated(Relation rel, TupleTableSlot *old, HeapTuple tuple, VdbOldRow *row)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Bitmapset  *columns = key_columns(rel);
	Bitmapset  *unchanged = NULL;
	bool		need_key = false;
	Datum	   *values = palloc(desc->natts * sizeof(Datum));
	bool	   *isnull = palloc(desc->natts * sizeof(bool));
	bool	   *external;

	Assert(row->tuple == NULL && row->columns == NULL);
	slot_getallattrs(old);
	heap_deform_tuple(tuple, desc, values, isnull);
	external = find_external(rel, old->tts_values, old->tts_isnull);
	for (int i = 0; i < desc->natts; i++)
	{
		bool		in_key = bms_is_member(i + 1, columns);
		bool		is_external = external != NULL && external[i];

		if (!in_key && !is_external)
			continue;
		if (!vdb_rows_same_value(TupleDescAttr(desc, i), old->tts_values[i], old->tts_isnull[i],
								 values[i], isnull[i]))
			need_key |= in_key;
		else if (is_external)
		{
			need_key |= in_key;
			if (!vdb_column_is_assigned(rel, i + 1))
				unchanged = bms_add_member(unchanged, i + 1);
		}
	}
	if (!is_full(rel, old, row) && need_key)
		take_key(rel, old, columns, row);
	else
		bms_free(columns);
	if (external != NULL)
		pfree(external);
	pfree(values);
	pfree(isnull);
	return unchanged;
}
