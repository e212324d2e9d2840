/*-------------------------------------------------------------------------
 *
 * table_slot.c
 *	  Tuple table slots for vdb tables.
 *
 * A slot is a heap tuple slot that can also hold a row of a stripe, of which
 * it decodes the columns that are asked for.  Operations that need the whole
 * tuple (materializing, copying to a heap tuple) turn such a row into a heap
 * tuple first; then core's heap slot operations do the work.
 *
 * A slot that holds a striped row has a reference to its stripe.  Decoded
 * by-reference values are copied to a context of the slot, which is reset when
 * the slot is cleared.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heaptoast.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "executor/tuptable.h"
#include "utils/datum.h"
#include "utils/expandeddatum.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "table/table.h"
#include "table/table_version.h"

/* A slot of a vdb table. */
typedef struct VdbSlot
{
	HeapTupleTableSlot base;
	VdbStripe  *stripe;				/* NULL unless a striped row is held */
	Relation	rel;				/* of the striped row */
	uint32		pos;				/* its position in the stripe */
	HeapTupleHeaderData hdr;		/* of the striped row */
	bool		xmin_unread;		/* hdr lacks xmin and cmin: see read_xmin */
	MemoryContext values;			/* decoded by-reference values; NULL until needed */
} VdbSlot;

static void
vdb_slot_init(TupleTableSlot *slot)
{
	VdbSlot    *vslot = (VdbSlot *) slot;

	TTSOpsHeapTuple.init(slot);
	vslot->stripe = NULL;
	vslot->rel = NULL;
	vslot->values = NULL;
}

/* Let go of a striped row, if the slot holds one. */
static void
slot_drop_stripe(VdbSlot *vslot)
{
	if (vslot->stripe != NULL)
	{
		VdbStripe  *stripe = vslot->stripe;

		vslot->stripe = NULL;
		vdb_stripe_release(stripe);
		if (vslot->values != NULL)
			MemoryContextReset(vslot->values);
	}
}

static void
vdb_slot_release(TupleTableSlot *slot)
{
	VdbSlot    *vslot = (VdbSlot *) slot;

	slot_drop_stripe(vslot);
	if (vslot->values != NULL)
	{
		MemoryContextDelete(vslot->values);
		vslot->values = NULL;
	}
	TTSOpsHeapTuple.release(slot);
}

static void
vdb_slot_clear(TupleTableSlot *slot)
{
	slot_drop_stripe((VdbSlot *) slot);
	TTSOpsHeapTuple.clear(slot);
}

/* Decode the columns of a striped row from tts_nvalid to natts. */
static void
striped_getsomeattrs(VdbSlot *vslot, int natts)
{
	TupleTableSlot *slot = &vslot->base.base;
	TupleDesc	desc = slot->tts_tupleDescriptor;

	for (int i = slot->tts_nvalid; i < natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		vdb_stripe_value(vslot->stripe, vslot->rel, desc, i + 1, vslot->pos,
						 &slot->tts_values[i], &slot->tts_isnull[i]);
		if (!slot->tts_isnull[i] && !att->attbyval)
		{
			MemoryContext old;

			if (vslot->values == NULL)
				vslot->values = AllocSetContextCreate(slot->tts_mcxt, "vdb slot values",
													  ALLOCSET_SMALL_SIZES);
			old = MemoryContextSwitchTo(vslot->values);
			slot->tts_values[i] = datumCopy(slot->tts_values[i], false, att->attlen);
			MemoryContextSwitchTo(old);
		}
	}
	slot->tts_nvalid = natts;
}

static void
vdb_slot_getsomeattrs(TupleTableSlot *slot, int natts)
{
	VdbSlot    *vslot = (VdbSlot *) slot;

	if (vslot->stripe != NULL)
		striped_getsomeattrs(vslot, natts);
	else
		TTSOpsHeapTuple.getsomeattrs(slot, natts);
}

/* Complete the header of a striped row, whose xmin is read only if it is asked for. */
static void
read_xmin(VdbSlot *vslot)
{
	if (vslot->stripe == NULL || !vslot->xmin_unread)
		return;
	vdb_version_read_xmin(&vslot->hdr, vslot->stripe, vslot->pos);
	vslot->xmin_unread = false;
}

static Datum
vdb_slot_getsysattr(TupleTableSlot *slot, int attnum, bool *isnull)
{
	VdbSlot    *vslot = (VdbSlot *) slot;
	HeapTupleData header;

	if (vslot->stripe == NULL)
		return TTSOpsHeapTuple.getsysattr(slot, attnum, isnull);
	if (attnum == MinTransactionIdAttributeNumber || attnum == MinCommandIdAttributeNumber ||
		attnum == MaxCommandIdAttributeNumber)
		read_xmin(vslot);
	header.t_len = sizeof(HeapTupleHeaderData);
	header.t_self = slot->tts_tid;
	header.t_tableOid = slot->tts_tableOid;
	header.t_data = &vslot->hdr;
	return heap_getsysattr(&header, attnum, slot->tts_tupleDescriptor, isnull);
}

static bool vdb_slot_is_current_xact_tuple(TupleTableSlot *slot) pg_attribute_unused();

/* Return true if this transaction made the row.  Only newer servers have this slot operation. */
static bool
vdb_slot_is_current_xact_tuple(TupleTableSlot *slot)
{
	bool		isnull;
	Datum		xmin = vdb_slot_getsysattr(slot, MinTransactionIdAttributeNumber, &isnull);

	return TransactionIdIsCurrentTransactionId(DatumGetTransactionId(xmin));
}

/* Give a tuple the transaction fields of a header made up for a striped row. */
static void
stamp_from_header(HeapTupleHeader dst, const HeapTupleHeaderData *src)
{
	const uint16 mask = HEAP_XACT_MASK;

	dst->t_choice.t_heap = src->t_choice.t_heap;
	dst->t_ctid = src->t_ctid;
	dst->t_infomask = (dst->t_infomask & ~mask) | (src->t_infomask & mask);
	dst->t_infomask2 |= src->t_infomask2 & HEAP_KEYS_UPDATED;
}

/* Form a heap tuple of a striped row, with the header that the slot has. */
static HeapTuple
striped_form(VdbSlot *vslot)
{
	TupleTableSlot *slot = &vslot->base.base;
	int			natts = slot->tts_tupleDescriptor->natts;
	HeapTuple	tuple;

	if (slot->tts_nvalid < natts)
		striped_getsomeattrs(vslot, natts);
	tuple = heap_form_tuple(slot->tts_tupleDescriptor, slot->tts_values, slot->tts_isnull);
	stamp_from_header(tuple->t_data, &vslot->hdr);
	tuple->t_self = slot->tts_tid;
	tuple->t_tableOid = slot->tts_tableOid;
	return tuple;
}

/* Turn a striped row into an owned heap tuple in the slot. */
static void
striped_to_heap(VdbSlot *vslot)
{
	TupleTableSlot *slot = &vslot->base.base;
	MemoryContext old;
	HeapTuple	tuple;

	read_xmin(vslot);
	old = MemoryContextSwitchTo(slot->tts_mcxt);
	tuple = striped_form(vslot);
	MemoryContextSwitchTo(old);
	slot_drop_stripe(vslot);

	vslot->base.tuple = tuple;
	vslot->base.off = 0;
	slot->tts_nvalid = 0;
	slot->tts_flags |= TTS_FLAG_SHOULDFREE;
}

static void
vdb_slot_materialize(TupleTableSlot *slot)
{
	VdbSlot    *vslot = (VdbSlot *) slot;

	if (vslot->stripe != NULL)
		striped_to_heap(vslot);
	else
		TTSOpsHeapTuple.materialize(slot);
}

/* Copy a slot.  Core's function isn't used because it insists on a slot of its own kind. */
static void
vdb_slot_copyslot(TupleTableSlot *dst, TupleTableSlot *src)
{
	VdbSlot    *vslot = (VdbSlot *) dst;
	MemoryContext old;
	HeapTuple	tuple;

	if (VDB_SLOT_IS(src))
		read_xmin((VdbSlot *) src);
	old = MemoryContextSwitchTo(dst->tts_mcxt);
	tuple = ExecCopySlotHeapTuple(src);
	MemoryContextSwitchTo(old);
	tuple->t_self = src->tts_tid;
	vdb_slot_clear(dst);
	vslot->base.tuple = tuple;
	vslot->base.off = 0;
	dst->tts_nvalid = 0;
	dst->tts_flags &= ~TTS_FLAG_EMPTY;
	dst->tts_flags |= TTS_FLAG_SHOULDFREE;
	dst->tts_tid = src->tts_tid;
	dst->tts_tableOid = src->tts_tableOid;
}

static HeapTuple
vdb_slot_get_heap_tuple(TupleTableSlot *slot)
{
	vdb_slot_materialize(slot);
	return TTSOpsHeapTuple.get_heap_tuple(slot);
}

/*
 * Copy the row to a heap tuple.  Aggregates and ANALYZE do so, and don't look at system columns: an
 * xmin that was not read stays so.
 */
static HeapTuple
vdb_slot_copy_heap_tuple(TupleTableSlot *slot)
{
	if (((VdbSlot *) slot)->stripe != NULL)
		return striped_form((VdbSlot *) slot);
	return TTSOpsHeapTuple.copy_heap_tuple(slot);
}

static MinimalTuple
vdb_slot_copy_minimal_tuple(TupleTableSlot *slot VDB_EXTRA_PARAM)
{
	VdbSlot    *vslot = (VdbSlot *) slot;

	if (vslot->stripe != NULL)
	{
		int			natts = slot->tts_tupleDescriptor->natts;

		if (slot->tts_nvalid < natts)
			striped_getsomeattrs(vslot, natts);
		return heap_form_minimal_tuple(slot->tts_tupleDescriptor, slot->tts_values,
									   slot->tts_isnull VDB_EXTRA_ARG);
	}
	return TTSOpsHeapTuple.copy_minimal_tuple(slot VDB_EXTRA_ARG);
}

const TupleTableSlotOps vdb_slot_ops = {
	.base_slot_size = sizeof(VdbSlot),
	.init = vdb_slot_init,
	.release = vdb_slot_release,
	.clear = vdb_slot_clear,
	.getsomeattrs = vdb_slot_getsomeattrs,
	.getsysattr = vdb_slot_getsysattr,
	VDB_IS_CURRENT_XACT_TUPLE(vdb_slot_is_current_xact_tuple)
	.materialize = vdb_slot_materialize,
	.copyslot = vdb_slot_copyslot,
	.get_heap_tuple = vdb_slot_get_heap_tuple,
	.get_minimal_tuple = NULL,
	.copy_heap_tuple = vdb_slot_copy_heap_tuple,
	.copy_minimal_tuple = vdb_slot_copy_minimal_tuple
};

/* Store a heap tuple in a slot of any kind, which owns it or not. */
static void
store_heap_tuple(TupleTableSlot *slot, HeapTuple tuple, VdbRowNumber row, bool owned)
{
	VdbSlot    *vslot = (VdbSlot *) slot;

	vdb_row_to_tid(row, &tuple->t_self);
	if (!VDB_SLOT_IS(slot))
	{
		ItemPointerData tid = tuple->t_self;

		ExecForceStoreHeapTuple(tuple, slot, owned);
		slot->tts_tid = tid;
		return;
	}
	vdb_slot_clear(slot);
	slot->tts_nvalid = 0;
	vslot->base.tuple = tuple;
	vslot->base.off = 0;
	slot->tts_flags &= ~(TTS_FLAG_EMPTY | TTS_FLAG_SHOULDFREE);
	if (owned)
		slot->tts_flags |= TTS_FLAG_SHOULDFREE;
	slot->tts_tid = tuple->t_self;
}

/*
 * Store a tuple that was palloc'd in one piece and now belongs to the slot.
 * The caller allocated it in slot->tts_mcxt or a context that lives as long.
 */
void
vdb_slot_store_tuple(TupleTableSlot *slot, HeapTuple tuple, VdbRowNumber row)
{
	store_heap_tuple(slot, tuple, row, true);
}

void
vdb_slot_refer_to_tuple(TupleTableSlot *slot, HeapTuple tuple, VdbRowNumber row)
{
	store_heap_tuple(slot, tuple, row, false);
}

void
vdb_slot_store_striped(TupleTableSlot *slot, Relation rel, VdbStripe *stripe, uint32 pos,
					   const VdbVersion *version)
{
	VdbSlot    *vslot = (VdbSlot *) slot;

	Assert(VDB_SLOT_IS(slot));
	vdb_slot_clear(slot);
	slot->tts_nvalid = 0;
	slot->tts_flags &= ~(TTS_FLAG_EMPTY | TTS_FLAG_SHOULDFREE);
	vslot->stripe = vdb_stripe_retain(stripe);
	vslot->rel = rel;
	vslot->pos = pos;
	vslot->hdr = version->hdr;
	vslot->xmin_unread = version->xmin_unread;
	vdb_row_to_tid(version->row, &slot->tts_tid);
}

void
vdb_slot_force_striped(TupleTableSlot *slot, Relation rel, VdbStripe *stripe, uint32 pos,
					   const VdbVersion *version)
{
	TupleTableSlot *own = MakeSingleTupleTableSlot(RelationGetDescr(rel), &vdb_slot_ops);
	HeapTuple	tuple;

	own->tts_tableOid = RelationGetRelid(rel);
	vdb_slot_store_striped(own, rel, stripe, pos, version);
	read_xmin((VdbSlot *) own);
	tuple = ExecCopySlotHeapTuple(own);
	ExecDropSingleTupleTableSlot(own);
	ExecForceStoreHeapTuple(tuple, slot, true);
	vdb_row_to_tid(version->row, &slot->tts_tid);
}

/*
 * Return the slot's row as a tuple that can be stored.  If *palloced is set, the
 * caller frees it.  Otherwise it is the slot's own tuple, as insertions have it,
 * and will be stamped in place.
 */
HeapTuple
vdb_slot_form(TupleTableSlot *slot, Relation rel, bool *palloced)
{
	HeapTuple	tuple;

	*palloced = true;
	if (!VDB_SLOT_IS(slot) || !TTS_SHOULDFREE(slot))
		return vdb_rows_form(rel, slot);
	tuple = ((VdbSlot *) slot)->base.tuple;
	if (tuple == NULL || HeapTupleHasExternal(tuple) || tuple->t_len > TOAST_TUPLE_THRESHOLD ||
		HeapTupleHeaderGetNatts(tuple->t_data) != RelationGetDescr(rel)->natts)
		return vdb_rows_form(rel, slot);
	*palloced = false;
	tuple->t_tableOid = RelationGetRelid(rel);
	return tuple;
}

/*
 * Make the slot's system columns show the header that its row has just been
 * stored with (RETURNING xmin, xmax).  Does nothing unless it is a slot of ours
 * that owns a heap tuple.
 */
void
vdb_slot_stamp(TupleTableSlot *slot, const HeapTupleHeaderData *hdr)
{
	VdbSlot    *vslot = (VdbSlot *) slot;

	if (VDB_SLOT_IS(slot) && vslot->stripe == NULL && vslot->base.tuple != NULL &&
		TTS_SHOULDFREE(slot))
	{
		stamp_from_header(vslot->base.tuple->t_data, hdr);
		vslot->base.tuple->t_self = slot->tts_tid;
		vslot->base.tuple->t_tableOid = slot->tts_tableOid;
	}
}
