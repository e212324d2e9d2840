/*-------------------------------------------------------------------------
 *
 * overlay_delta.c
 *	  The delta records of a block delta: which one counts, and where a new one goes.
 *
 * Nothing is stored here.  The caller holds the LB's block lock.
 *
 * The last used delta record that names a row counts for it.  A group delta names several rows of
 * one window of VDB_GROUP_DELTA_ROWS and says the same of all of them.  Most deletes and locks of
 * whole tables need just that.  So every row without a next version gets a group delta, even if it
 * is of that row alone.  If a group delta says the same already, the row is added to it by one bit.
 *
 * That bit may survive the WAL record that was to set it, as any store of a delta record may.  The
 * group delta then names one more row under the xmax for which the bit was set, and that xmax never
 * committed.  This is right, because all rows of a group delta share the status of one (epoch,
 * xid), or of a multixact whose members all end with a crash, or whose records are flushed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "port/pg_bitutils.h"

#include "overlay/overlay_internal.h"

/* Return whether a delta record, used or not, names the row. */
static inline bool
names_row(const VdbDeltaRecord *drec, uint8 index)
{
	if ((drec->flags & VDB_DELTA_USED) == 0)
		return false;
	if ((drec->flags & VDB_DELTA_GROUP) == 0)
		return drec->index == index;
	return index >= drec->index && index - drec->index < VDB_GROUP_DELTA_ROWS &&
		((vdb_group_delta_rows(drec) >> (index - drec->index)) & 1) != 0;
}

/* Return the place behind the block delta's last used delta record: 0 to capacity. */
int
vdb_block_delta_used(const VdbBlockDelta *bdelta)
{
	int			n = bdelta->capacity;

	while (n > 0 && (vdb_block_delta_record(bdelta, n - 1)->flags & VDB_DELTA_USED) == 0)
		n--;
	return n;
}

/* Return the place of the delta record that counts for a row, or -1. */
int
vdb_block_delta_find(const VdbBlockDelta *bdelta, uint8 index)
{
	for (int i = bdelta->capacity - 1; i >= 0; i--)
		if (names_row(vdb_block_delta_record(bdelta, i), index))
			return i;
	return -1;
}

/* ---- the two forms of a delta record ---- */

/*
 * Pack a delta record of one row, as callers see it, to the form that is stored: a group delta
 * unless there is a next version.  The result is marked as used.
 */
VdbDeltaRecord
vdb_delta_record_pack(const VdbDeltaRecord *drec, VdbLogicalBlock lb)
{
	VdbDeltaRecord packed = *drec;
	int			bit = drec->index % VDB_GROUP_DELTA_ROWS;

	Assert((drec->flags & VDB_DELTA_GROUP) == 0);
	packed.flags |= VDB_DELTA_USED;
	if ((drec->flags & VDB_DELTA_MOVED) || drec->next_lb != lb || drec->next_index != drec->index)
		return packed;
	packed.flags |= VDB_DELTA_GROUP;
	packed.index = drec->index - bit;
	packed.next_lb = bit < 32 ? (uint32) 1 << bit : 0;
	packed.next_index = bit < 32 ? 0 : 1 << (bit - 32);
	return packed;
}

/* Unpack a stored delta record for one of its rows. */
VdbDeltaRecord
vdb_delta_record_unpack(const VdbDeltaRecord *stored, VdbLogicalBlock lb, uint8 index)
{
	VdbDeltaRecord drec = *stored;

	if (drec.flags & VDB_DELTA_GROUP)
	{
		drec.flags &= ~VDB_DELTA_GROUP;
		drec.index = index;
		drec.next_index = index;
		drec.next_lb = lb;
	}
	return drec;
}

/* Return whether two group deltas differ at most in their rows. */
static inline bool
same_group_delta(const VdbDeltaRecord *a, const VdbDeltaRecord *b)
{
	return (a->flags & VDB_DELTA_GROUP) != 0 && a->flags == b->flags && a->index == b->index &&
		a->xmax == b->xmax && a->xmax_epoch == b->xmax_epoch &&
		a->cid == b->cid && a->infomask == b->infomask && a->infomask2 == b->infomask2;
}

/* ---- where a new delta record goes ---- */

/*
 * Decide whether the delta record that counts for a row may be overwritten in place.
 *
 * A crash that loses the WAL record may leave the old first word with (part of) the new rest.  That
 * must read as the old delta record, or as one that never happened.  It does where the old one says
 * by itself that its xmax is invalid, and where both are of one transaction, which is lost with the
 * WAL record.  Moreover both must have the same form and name the same rows: a bitmap must not be
 * read as a next version, and no row may lose its delta record.
 */
static bool
may_overwrite(const VdbDeltaRecord *old, const VdbDeltaRecord *new)
{
	if ((old->flags & VDB_DELTA_GROUP) != (new->flags & VDB_DELTA_GROUP) ||
		((old->flags & VDB_DELTA_GROUP) && vdb_group_delta_rows(old) != vdb_group_delta_rows(new)))
		return false;
	if ((old->infomask & HEAP_XMAX_INVALID) != 0)
		return true;
	return ((old->infomask | new->infomask) & HEAP_XMAX_IS_MULTI) == 0 &&
		old->xmax == new->xmax && old->xmax_epoch == new->xmax_epoch;
}

/*
 * Find the place for a row's new delta record, which is packed.  Sets *joins if a group delta
 * stands there to which the row is to be added; then no delta record behind it names the row.
 * Returns -1 if the block delta is full.
 */
int
vdb_block_delta_room_for(const VdbBlockDelta *bdelta, uint8 index, const VdbDeltaRecord *packed,
						 bool *joins)
{
	const int	used = vdb_block_delta_used(bdelta);

	*joins = false;
	for (int i = used - 1; i >= 0; i--)
	{
		const VdbDeltaRecord *drec = vdb_block_delta_record(bdelta, i);

		if (same_group_delta(drec, packed))
		{
			*joins = true;
			return i;
		}
		if (names_row(drec, index))
		{
			if (may_overwrite(drec, packed))
				return i;
			break;
		}
	}
	return used < bdelta->capacity ? used : -1;
}

/* ---- views and images ---- */

/* Enter a row's delta record into the view. */
static inline void
view_row(VdbOverlayView *view, const VdbDeltaRecord *drec, VdbLogicalBlock lb, uint8 index)
{
	int16	   *at = &view->drec_at[index];

	if (vdb_rowset_has(view->deleted, index))
		return;
	if (*at < 0)
		*at = view->ndrecs++;
	view->drecs[*at] = vdb_delta_record_unpack(drec, lb, index);
}

/* Fill the view from a block delta, which may be NULL.  Every xmax is copied unchanged. */
void
vdb_block_delta_view(const VdbBlockDelta *bdelta, VdbLogicalBlock lb, VdbOverlayView *view)
{
	view->ndrecs = 0;
	vdb_rowset_fill(view->deleted, false);
	memset(view->drec_at, -1, sizeof(view->drec_at));
	if (bdelta != NULL)
	{
		memcpy(view->deleted, bdelta->deleted, sizeof(view->deleted));
		for (int i = 0; i < bdelta->capacity; i++)
		{
			const VdbDeltaRecord *drec = vdb_block_delta_record(bdelta, i);

			if ((drec->flags & VDB_DELTA_USED) == 0)
				continue;
			if ((drec->flags & VDB_DELTA_GROUP) == 0)
				view_row(view, drec, lb, drec->index);
			else
				for (uint64 rows = vdb_group_delta_rows(drec); rows != 0; rows &= rows - 1)
					view_row(view, drec, lb, drec->index + pg_rightmost_one_pos64(rows));
		}
	}
	view->any = view->ndrecs > 0 || !vdb_rowset_is_empty(view->deleted);
}

/* Initialize an image without delta records.  It gets its class when it is written. */
void
vdb_image_init(VdbBlockDeltaImage *image, const VdbTableRef *ref, VdbLogicalBlock lb,
			   const VdbRowSet deleted)
{
	memset(image, 0, sizeof(*image));
	image->header.lb = lb;
	image->header.table_slot = ref->slot;
	image->header.table_generation = ref->generation;
	memcpy(image->header.deleted, deleted, sizeof(image->header.deleted));
}

/*
 * Add a row's delta record to an image that doesn't name the row yet.  The row joins a group delta
 * that says the same, or gets a place of its own.  A delta record that says nothing (see
 * vdb_header_needs_delta) is left out.
 */
void
vdb_image_add(VdbBlockDeltaImage *image, int *ndrecs, const VdbDeltaRecord *drec)
{
	VdbDeltaRecord packed = vdb_delta_record_pack(drec, image->header.lb);

	if ((drec->infomask & HEAP_XMAX_INVALID) && !(drec->infomask & HEAP_COMBOCID))
		return;
	if (packed.flags & VDB_DELTA_GROUP)
		for (int i = *ndrecs - 1; i >= 0; i--)
		{
			VdbDeltaRecord *old = vdb_image_record(image, i);

			if (!same_group_delta(old, &packed))
				continue;
			old->next_lb |= packed.next_lb;
			old->next_index |= packed.next_index;
			return;
		}
	Assert(*ndrecs < VDB_LB_ROWS);
	*vdb_image_record(image, (*ndrecs)++) = packed;
}
