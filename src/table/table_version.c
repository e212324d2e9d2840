/*-------------------------------------------------------------------------
 *
 * table_version.c
 *	  Read and change the header of one row version, in the pool or in a stripe.
 *
 * A striped row's header is composed of the stripe's xmin and cmin and the delta record's xmax
 * and related fields.  Code above this file need not know in which of the two places a version
 * is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/proc.h"

#include "table/table.h"
#include "table/table_version.h"

/* The infomask bits that a delta record carries; everything else comes from the stripe. */
#define VDB_DELTA_INFOMASK	(HEAP_XMAX_BITS | HEAP_COMBOCID)
#define VDB_DELTA_INFOMASK2	(HEAP_KEYS_UPDATED)

/*
 * Fill the xmin part of a striped row's header; xmax is invalid.  The xmin of a frozen stripe is
 * not read, since decoding it costs more than the rest of a look-up.
 */
void
vdb_version_from_stripe(VdbVersion *version, VdbStripe *stripe, uint16 meta_flags,
						VdbRowNumber row, uint32 pos)
{
	HeapTupleHeader hdr = &version->hdr;
	CommandId	cmin = FirstCommandId;
	TransactionId xmin = FrozenTransactionId;

	version->xmin_unread = (meta_flags & VDB_STRIPE_FROZEN) != 0;
	if (!version->xmin_unread)
		xmin = vdb_stripe_xmin(stripe, pos, &cmin);
	memset(hdr, 0, sizeof(HeapTupleHeaderData));
	version->row = row;
	version->where = VDB_IN_STRIPE;
	version->has_delta = false;
	version->pos = pos;
	version->len = 0;
	version->wide = false;
	version->block = VDB_BLOCK_NONE;
	version->offset = 0;
	HeapTupleHeaderSetXmin(hdr, xmin);
	HeapTupleHeaderSetXmax(hdr, InvalidTransactionId);
	HeapTupleHeaderSetCmin(hdr, cmin);
	hdr->t_infomask = HEAP_XMAX_INVALID;
	if (!TransactionIdIsNormal(xmin))
		hdr->t_infomask |= HEAP_XMIN_FROZEN;
	else if (!(meta_flags & VDB_STRIPE_IN_DOUBT))
		hdr->t_infomask |= HEAP_XMIN_COMMITTED;
	vdb_row_to_tid(row, &hdr->t_ctid);
	version->seen_infomask = hdr->t_infomask;
}

/*
 * Return true if a header's cid is that of its xmax, or a combo id.  Otherwise it is cmin, which
 * the stripe has.
 */
static inline bool
cid_is_of_xmax(uint16 infomask)
{
	return (infomask & HEAP_COMBOCID) != 0 ||
		(!(infomask & HEAP_XMAX_INVALID) && !HEAP_XMAX_IS_LOCKED_ONLY(infomask));
}

/* Read the xmin and cmin that vdb_version_from_stripe has left out, for system columns. */
void
vdb_version_read_xmin(HeapTupleHeader hdr, VdbStripe *stripe, uint32 pos)
{
	CommandId	cmin;

	HeapTupleHeaderSetXmin(hdr, vdb_stripe_xmin(stripe, pos, &cmin));
	if (!cid_is_of_xmax(hdr->t_infomask))
		hdr->t_choice.t_heap.t_field3.t_cid = cmin;
}

/*
 * Return true if the snapshot is known to see every xmin of a stripe, given the meta's flags and
 * max_xmin.
 */
bool
vdb_version_xmins_visible(uint16 meta_flags, TransactionId max_xmin, Snapshot snapshot)
{
	if (meta_flags & VDB_STRIPE_FROZEN)
		return true;
	if (meta_flags & VDB_STRIPE_IN_DOUBT)
		return false;
	return snapshot != NULL && snapshot->snapshot_type == SNAPSHOT_MVCC &&
		TransactionIdPrecedes(max_xmin, snapshot->xmin);
}

/* Apply a delta record to a version filled from its stripe. */
void
vdb_version_apply_delta(VdbVersion *version, const VdbDeltaRecord *drec)
{
	HeapTupleHeader hdr = &version->hdr;

	version->has_delta = true;
	hdr->t_infomask &= ~VDB_DELTA_INFOMASK;
	hdr->t_infomask |= drec->infomask & VDB_DELTA_INFOMASK;
	hdr->t_infomask2 |= drec->infomask2 & VDB_DELTA_INFOMASK2;
	HeapTupleHeaderSetXmax(hdr, drec->xmax);
	if (cid_is_of_xmax(drec->infomask))
		hdr->t_choice.t_heap.t_field3.t_cid = drec->cid;
	if (drec->flags & VDB_DELTA_MOVED)
		HeapTupleHeaderSetMovedPartitions(hdr);
	else
		vdb_row_to_tid(vdb_row_make(drec->next_lb, drec->next_index), &hdr->t_ctid);
	version->seen_infomask = hdr->t_infomask;
}

/*
 * Check whether a striped row's delta record may be in the stripe's spill: the LB has some there,
 * and what the pool has of the row says nothing.
 */
static inline bool
asks_spill(const VdbExtent *extent, bool has_delta, const VdbDeltaRecord *drec)
{
	return extent->spilled && !(has_delta && !(drec->infomask & HEAP_XMAX_INVALID));
}

/*
 * Complete a striped row's delta record, if the LB has delta records in the stripe's spill.
 * 'spill' was copied from the meta with 'extent'.  Returns whether the row has a delta record.
 */
bool
vdb_version_complete_delta(Relation rel, const VdbExtent *extent, const VdbSpillAddress *spill,
						   VdbRowNumber row, bool has_delta, VdbDeltaRecord *drec)
{
	VdbBlockDeltaImage image;

	if (!asks_spill(extent, has_delta, drec))
		return has_delta;
	vdb_spill_read(rel, spill, vdb_row_lb(row), &image);
	return vdb_spill_row(&image, vdb_row_lb(row), vdb_row_index(row), has_delta, drec);
}

/* ---- headers under a block lock ---- */

/*
 * Find what the row's header needs of flash in memory.  Returns the stripe, referenced, or NULL if
 * something must be loaded: then it is noted.
 */
static VdbStripe *
find_parts(Relation rel, const VdbStripeMeta *meta, const VdbExtent *extent, bool ask_spill,
		   VdbStripeParts *parts)
{
	VdbStripe  *stripe = vdb_stripe_open_cached(rel, vdb_stripe_address(meta));

	if (likely(stripe != NULL) &&
		(!ask_spill || (parts->image != NULL && parts->image_id == meta->spill.id &&
						parts->lb == extent->lb)))
		return stripe;
	if (stripe != NULL)
		vdb_stripe_release(stripe);
	parts->missing = true;
	parts->lb = extent->lb;
	parts->address = vdb_stripe_address(meta);
	parts->spill = meta->spill;
	if (!ask_spill)
		parts->spill.npages = 0;
	return NULL;
}

void
vdb_parts_load(Relation rel, VdbStripeParts *parts)
{
	Assert(parts->missing && InterruptHoldoffCount == 0);
	/* pages of a stripe that is replaced meanwhile are not used again while this xid runs */
	Assert(TransactionIdIsValid(MyProc->xid) || TransactionIdIsValid(MyProc->xmin));
	Assert((MyProc->statusFlags & PROC_IN_VACUUM) == 0);
	vdb_parts_free(parts);
	parts->stripe = vdb_stripe_open(rel, parts->address);
	if (parts->spill.npages > 0)
	{
		parts->image = palloc(sizeof(VdbBlockDeltaImage));
		parts->image_id = parts->spill.id;
		vdb_spill_read(rel, &parts->spill, parts->lb, parts->image);
	}
	parts->missing = false;
}

void
vdb_parts_free(VdbStripeParts *parts)
{
	if (parts->stripe != NULL)
		vdb_stripe_release(parts->stripe);
	if (parts->image != NULL)
		pfree(parts->image);
	parts->stripe = NULL;
	parts->image = NULL;
}

/* Read the header of a striped row.  Returns false if there is no such row, or it was removed. */
static bool
striped_version(Relation rel, const VdbTableRef *ref, VdbRowNumber row, VdbStripeParts *parts,
				VdbVersion *version)
{
	const VdbStripeMeta *meta = vdb_map_meta(ref->pool, version->extent.ref);
	VdbExtent	extent = version->extent;
	uint8		index = vdb_row_index(row);
	VdbStripe  *stripe;
	VdbDeltaRecord drec;
	bool		deleted;
	bool		has_delta;
	bool		ask_spill;
	int			pos;

	has_delta = vdb_overlay_row(ref, &extent, index, &deleted, &drec);
	if (deleted)
		return false;
	ask_spill = asks_spill(&extent, has_delta, &drec);
	stripe = find_parts(rel, meta, &extent, ask_spill, parts);
	if (stripe == NULL)
		return false;
	pos = vdb_stripe_position(stripe, row);
	if (pos >= 0)
	{
		vdb_version_from_stripe(version, stripe, meta->flags, row, (uint32) pos);
		version->extent = extent;
		if (ask_spill)
			has_delta = vdb_spill_row(parts->image, extent.lb, index, has_delta, &drec);
		if (has_delta)
			vdb_version_apply_delta(version, &drec);
	}
	vdb_stripe_release(stripe);
	return pos >= 0;
}

bool
vdb_table_version(Relation rel, const VdbTableRef *ref, VdbRowNumber row, VdbStripeParts *parts,
				  VdbVersion *version)
{
	VdbLogicalBlock lb = vdb_row_lb(row);
	bool		removed;

	Assert(VDB_BLOCK_LOCKED(ref, lb) && !parts->missing);
	if (row == VDB_ROW_NONE || lb >= vdb_map_limit(ref))
		return false;
	vdb_map_lookup(ref, lb, &version->extent);
	switch (version->extent.kind)
	{
		case VDB_EXTENT_SEGMENT:
			{
				VdbExtent	extent = version->extent;

				return vdb_rows_version(ref, &extent, lb, vdb_row_index(row), version, &removed);
			}
		case VDB_EXTENT_STRIPE:
			return striped_version(rel, ref, row, parts, version);
		default:
			return false;
	}
}

bool
vdb_table_lock_version(Relation rel, const VdbTableRef *ref, VdbRowNumber row, LWLockMode mode,
					   VdbVersion *version)
{
	VdbStripeParts parts = {0};
	bool		found;

	for (;;)
	{
		vdb_lock_block(ref, vdb_row_lb(row), mode);
		found = vdb_table_version(rel, ref, row, &parts, version);
		if (!parts.missing)
			break;
		vdb_unlock_block(ref, vdb_row_lb(row));
		vdb_parts_load(rel, &parts);
	}
	vdb_parts_free(&parts);
	return found;
}

bool
vdb_table_pool_version(const VdbTableRef *ref, VdbRowNumber row, VdbVersion *version)
{
	VdbLogicalBlock lb = vdb_row_lb(row);
	VdbExtent	extent;
	VdbDeltaRecord drec;
	bool		has_delta;
	bool		removed;

	Assert(VDB_BLOCK_LOCKED(ref, lb));
	vdb_map_lookup(ref, lb, &extent);
	if (extent.kind == VDB_EXTENT_SEGMENT)
		return vdb_rows_version(ref, &extent, lb, vdb_row_index(row), version, &removed);
	if (extent.kind != VDB_EXTENT_STRIPE)
		return false;
	has_delta = vdb_overlay_row(ref, &extent, vdb_row_index(row), &removed, &drec);
	vdb_version_from_stripe(version, NULL, VDB_STRIPE_FROZEN, row, 0);
	version->extent = extent;
	if (has_delta)
		vdb_version_apply_delta(version, &drec);
	return !removed;
}

bool
vdb_table_prepare_xmax(const VdbTableRef *ref, VdbVersion *version)
{
	if (version->where == VDB_IN_POOL)
		return true;
	/* room is needed even if there is a delta record: it isn't always replaced in place */
	return vdb_overlay_prepare(ref, vdb_row_lb(version->row), &version->extent, 1);
}

/* Make the delta record from which vdb_version_apply_delta restores this header. */
void
vdb_version_to_delta(const VdbVersion *version, uint32 epoch, VdbDeltaRecord *drec)
{
	const HeapTupleHeaderData *hdr = &version->hdr;

	memset(drec, 0, sizeof(VdbDeltaRecord));
	drec->index = vdb_row_index(version->row);
	drec->flags = VDB_DELTA_USED;
	drec->infomask = hdr->t_infomask & VDB_DELTA_INFOMASK;
	drec->infomask2 = hdr->t_infomask2 & VDB_DELTA_INFOMASK2;
	drec->xmax = HeapTupleHeaderGetRawXmax(hdr);
	/* locks of rows with different cmins shall be alike: the overlay keeps them together */
	drec->cid = cid_is_of_xmax(hdr->t_infomask) ?
		hdr->t_choice.t_heap.t_field3.t_cid : FirstCommandId;
	drec->xmax_epoch = epoch;
	drec->next_lb = vdb_row_lb(version->row);
	drec->next_index = drec->index;
	if (HeapTupleHeaderIndicatesMovedPartitions(hdr))
		drec->flags |= VDB_DELTA_MOVED;
	else
	{
		VdbRowNumber next = vdb_tid_to_row(&hdr->t_ctid);

		Assert(next != VDB_ROW_NONE);
		drec->next_lb = vdb_row_lb(next);
		drec->next_index = vdb_row_index(next);
	}
}

void
vdb_table_set_xmax(VdbScmChange *change, const VdbTableRef *ref, const VdbVersion *version,
				   uint32 epoch)
{
	VdbDeltaRecord drec;

	vdb_rows_note_change();
	if (version->where == VDB_IN_POOL)
	{
		vdb_rows_set_xmax(change, ref, version, epoch);
		return;
	}
	vdb_version_to_delta(version, epoch, &drec);
	vdb_overlay_set(change, ref, &version->extent, &drec);
}

void
vdb_table_hint(const VdbTableRef *ref, VdbVersion *version)
{
	uint16		added = version->hdr.t_infomask & ~version->seen_infomask;

	if (added == 0 || RecoveryInProgress())
		return;
	if (version->where == VDB_IN_POOL)
		vdb_rows_hint(ref, version);
	else if (version->has_delta && (added & (HEAP_XMAX_COMMITTED | HEAP_XMAX_INVALID)))
		vdb_overlay_hint(ref, &version->extent, vdb_row_index(version->row),
						 added & (HEAP_XMAX_COMMITTED | HEAP_XMAX_INVALID));
	version->seen_infomask = version->hdr.t_infomask;
}

/*
 * Raise *latest to the newest transaction id that snapshots of a standby must no longer consider
 * running when this dead version is removed.
 */
void
vdb_version_raise_removed(const HeapTupleHeaderData *hdr, TransactionId *latest)
{
	TransactionId xmin = HeapTupleHeaderGetXmin(hdr);

	if (HeapTupleHeaderXminInvalid(hdr))
		return;					/* no snapshot ever saw it */
	if (TransactionIdIsNormal(xmin) && TransactionIdFollows(xmin, *latest))
		*latest = xmin;
	if (!(hdr->t_infomask & HEAP_XMAX_INVALID) &&
		!vdb_row_only_locked(unconstify(HeapTupleHeaderData *, hdr)))
	{
		TransactionId xmax = HeapTupleHeaderGetUpdateXid(unconstify(HeapTupleHeaderData *, hdr));

		if (TransactionIdIsNormal(xmax) && TransactionIdFollows(xmax, *latest))
			*latest = xmax;
	}
}
