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
 * Complete a striped row's delta record, if the LB has delta records in the stripe's spill.
 * 'spill' was copied from the meta with 'extent'.  Returns whether the row has a delta record.
 */
bool
vdb_version_complete_delta(Relation rel, const VdbExtent *extent, const VdbSpillAddress *spill,
						   VdbRowNumber row, bool has_delta, VdbDeltaRecord *drec)
{
	VdbBlockDeltaImage image;

	if (!extent->spilled || (has_delta && !(drec->infomask & HEAP_XMAX_INVALID)))
		return has_delta;
	vdb_spill_read(rel, spill, vdb_row_lb(row), &image);
	return vdb_spill_row(&image, vdb_row_lb(row), vdb_row_index(row), has_delta, drec);
}

/*
 * Read the header of a striped row, and its xmax if 'with_xmax'.  Returns false if there is no such
 * row, or it was removed.
 */
static bool
striped_version(Relation rel, const VdbTableRef *ref, VdbRowNumber row, bool with_xmax,
				VdbVersion *version)
{
	const VdbStripeMeta *meta = vdb_map_meta(ref->pool, version->extent.ref);
	VdbExtent	extent = version->extent;
	VdbStripe  *stripe;
	VdbDeltaRecord drec;
	bool		deleted;
	bool		has_delta;
	int			pos;

	has_delta = vdb_overlay_row(ref, &extent, vdb_row_index(row), &deleted, &drec);
	if (deleted)
		return false;
	stripe = vdb_stripe_open(rel, vdb_stripe_address(meta));
	pos = vdb_stripe_position(stripe, row);
	if (pos >= 0)
	{
		vdb_version_from_stripe(version, stripe, meta->flags, row, (uint32) pos);
		version->extent = extent;
		if (with_xmax)
			has_delta = vdb_version_complete_delta(rel, &extent, &meta->spill, row, has_delta,
												   &drec);
		if (has_delta)
			vdb_version_apply_delta(version, &drec);
	}
	vdb_stripe_release(stripe);
	return pos >= 0;
}

/* Read a header for vdb_table_version and vdb_table_has_version. */
static bool
read_version(Relation rel, const VdbTableRef *ref, VdbRowNumber row, bool with_xmax,
			 VdbVersion *version)
{
	VdbLogicalBlock lb = vdb_row_lb(row);
	bool		removed;

	Assert(VDB_BLOCK_LOCKED(ref, lb));
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
			return striped_version(rel, ref, row, with_xmax, version);
		default:
			return false;
	}
}

bool
vdb_table_version(Relation rel, const VdbTableRef *ref, VdbRowNumber row, VdbVersion *version)
{
	return read_version(rel, ref, row, true, version);
}

bool
vdb_table_has_version(Relation rel, const VdbTableRef *ref, VdbRowNumber row)
{
	VdbVersion	version;

	return read_version(rel, ref, row, false, &version);
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
