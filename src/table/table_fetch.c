/*-------------------------------------------------------------------------
 *
 * table_fetch.c
 *	  Fetch one row version by its row number.
 *
 * The address and, for rows in the pool, the row itself are copied under the
 * logical block's block lock.  A striped row's columns are read after it is
 * released, since stripes never change.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/subtrans.h"
#include "access/transam.h"
#include "access/xact.h"
#include "storage/predicate.h"
#include "utils/snapmgr.h"

#include "base/vdb_stop_point.h"
#include "table/table.h"
#include "table/table_version.h"

/*
 * Report to SSI that we have read this version.  The rules are those of
 * HeapCheckForSerializableConflictOut: the version's status determines which
 * transaction wrote what we did (or did not) see.
 */
void
vdb_conflict_out(Relation rel, bool visible, VdbVersion *version, Snapshot snapshot)
{
	HeapTupleHeader hdr = &version->hdr;
	TransactionId xid;

	if (!CheckForSerializableConflictOutNeeded(rel, snapshot))
		return;
	switch (vdb_row_satisfies_vacuum(hdr, TransactionXmin))
	{
		case VDB_LIVE:
			if (visible)
				return;
			xid = HeapTupleHeaderGetXmin(hdr);
			break;
		case VDB_RECENTLY_DEAD:
		case VDB_DELETE_IN_PROGRESS:
			xid = visible ? HeapTupleHeaderGetUpdateXid(hdr) : HeapTupleHeaderGetXmin(hdr);
			if (TransactionIdPrecedes(xid, TransactionXmin))
				return;
			break;
		case VDB_INSERT_IN_PROGRESS:
			xid = HeapTupleHeaderGetXmin(hdr);
			break;
		case VDB_DEAD:
			return;
		default:
			elog(ERROR, "unexpected result of a visibility check");
	}
	Assert(TransactionIdIsValid(xid));
	if (TransactionIdEquals(xid, GetTopTransactionIdIfAny()))
		return;
	xid = SubTransGetTopmostTransaction(xid);
	if (TransactionIdPrecedes(xid, TransactionXmin))
		return;
	CheckForSerializableConflictOut(rel, xid, snapshot);
}

/* Make a palloc'd tuple of the copied image of a pool row.  A wide row is completed. */
static HeapTuple
tuple_from_image(Relation rel, const VdbVersion *version, char *image, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	HeapTuple	tuple;

	if (version->wide)
	{
		tuple = vdb_rows_complete_wide(rel, image, version->len);
	}
	else
	{
		tuple = (HeapTuple) palloc(HEAPTUPLESIZE + version->len);
		tuple->t_len = version->len;
		tuple->t_data = (HeapTupleHeader) ((char *) tuple + HEAPTUPLESIZE);
		memcpy(tuple->t_data, image, version->len);
	}
	tuple->t_tableOid = RelationGetRelid(rel);
	MemoryContextSwitchTo(old);
	return tuple;
}

/* What is known of the row that is being fetched. */
typedef struct FetchState
{
	VdbVersion	version;
	bool		found;
	bool		visible;			/* to the snapshot */
	bool		dead;				/* to everyone */
	bool		striped;
	VdbDeltaRecord drec;			/* striped: if has_delta */
	bool		has_delta;
	VdbStripeAddress address;		/* striped */
	VdbSpillAddress spill;			/* striped */
	uint16		meta_flags;			/* striped */
	TransactionId max_xmin;			/* striped */
	union
	{
		char		data[VDB_POOL_BLOCK_BYTES];
		int64		force_align;
	}			image;				/* pool: the copied row */
} FetchState;

/* Return true if the version is known to be dead to everyone. */
static bool
is_surely_dead(Relation rel, HeapTupleHeader hdr)
{
	return vdb_row_is_surely_dead(hdr, GlobalVisTestFor(rel));
}

/* Check and copy a row in the pool.  All of it is done under the block lock. */
static void
fetch_pooled(Relation rel, const VdbTableRef *ref, VdbRowNumber row, Snapshot snapshot,
			 bool want_dead, FetchState *fs)
{
	VdbExtent	extent = fs->version.extent;
	ItemPointerData tid;
	bool		removed;

	fs->found = vdb_rows_version(ref, &extent, vdb_row_lb(row), vdb_row_index(row),
								 &fs->version, &removed);
	if (!fs->found)
		return;
	vdb_row_to_tid(row, &tid);
	fs->visible = vdb_row_visible(&fs->version.hdr, &tid, RelationGetRelid(rel), snapshot);
	if (!fs->visible && want_dead)
		fs->dead = is_surely_dead(rel, &fs->version.hdr);
	vdb_table_hint(ref, &fs->version);
	if (fs->visible)
		vdb_rows_copy(ref, &fs->version, fs->image.data);
}

/* Note a striped row's stripe and copy its delta record.  Only this part needs the block lock. */
static void
note_striped(const VdbTableRef *ref, VdbRowNumber row, FetchState *fs)
{
	const VdbStripeMeta *meta = vdb_map_meta(ref->pool, fs->version.extent.ref);
	bool		deleted;

	fs->has_delta = vdb_overlay_row(ref, &fs->version.extent, vdb_row_index(row),
									&deleted, &fs->drec);
	fs->found = !deleted;
	fs->address = vdb_stripe_address(meta);
	fs->spill = meta->spill;
	fs->meta_flags = meta->flags;
	fs->max_xmin = meta->max_xmin;
}

/*
 * Return the meta's flags, as if the stripe were frozen if the snapshot sees all of its xmins: then
 * they needn't be read.  For SERIALIZABLE they may matter even so.
 */
static uint16
flags_for(Relation rel, const FetchState *fs, Snapshot snapshot)
{
	if (CheckForSerializableConflictOutNeeded(rel, snapshot) ||
		!vdb_version_xmins_visible(fs->meta_flags, fs->max_xmin, snapshot))
		return fs->meta_flags;
	return fs->meta_flags | VDB_STRIPE_FROZEN;
}

/*
 * Check a striped row after unlocking.  Returns its stripe, referenced, or NULL if the stripe has
 * no such row.
 */
static VdbStripe *
check_striped(Relation rel, const VdbTableRef *ref, VdbRowNumber row, Snapshot snapshot,
			  bool want_dead, FetchState *fs)
{
	VdbStripe  *stripe = vdb_stripe_open(rel, fs->address);
	VdbExtent	extent = fs->version.extent;
	int			pos = vdb_stripe_position(stripe, row);
	ItemPointerData tid;

	fs->found = pos >= 0;
	if (!fs->found)
	{
		vdb_stripe_release(stripe);
		return NULL;
	}
	vdb_version_from_stripe(&fs->version, stripe, flags_for(rel, fs, snapshot), row, (uint32) pos);
	fs->version.extent = extent;
	fs->has_delta = vdb_version_complete_delta(rel, &extent, &fs->spill, row, fs->has_delta,
											   &fs->drec);
	if (fs->has_delta)
		vdb_version_apply_delta(&fs->version, &fs->drec);
	vdb_row_to_tid(row, &tid);
	fs->visible = vdb_row_visible(&fs->version.hdr, &tid, RelationGetRelid(rel), snapshot);
	if (!fs->visible && want_dead)
		fs->dead = is_surely_dead(rel, &fs->version.hdr);
	return stripe;
}

/* Put the row into the slot. */
static void
store_result(Relation rel, FetchState *fs, VdbStripe *stripe, TupleTableSlot *slot)
{
	slot->tts_tableOid = RelationGetRelid(rel);
	if (stripe == NULL)
	{
		HeapTuple	tuple;

		ExecClearTuple(slot);
		tuple = tuple_from_image(rel, &fs->version, fs->image.data, slot->tts_mcxt);
		vdb_slot_store_tuple(slot, tuple, fs->version.row);
	}
	else if (VDB_SLOT_IS(slot))
		vdb_slot_store_striped(slot, rel, stripe, fs->version.pos, &fs->version);
	else
		vdb_slot_force_striped(slot, rel, stripe, fs->version.pos, &fs->version);
	slot->tts_tableOid = RelationGetRelid(rel);
}

/* Look up the row's extent, and copy what must be read under the block lock. */
static void
look(Relation rel, const VdbTableRef *ref, VdbRowNumber row, Snapshot snapshot,
	 bool want_dead, FetchState *fs)
{
	VdbLogicalBlock lb = vdb_row_lb(row);

	fs->found = fs->visible = fs->dead = fs->has_delta = false;
	vdb_lock_block(ref, lb, LW_SHARED);
	vdb_map_lookup(ref, lb, &fs->version.extent);
	fs->striped = fs->version.extent.kind == VDB_EXTENT_STRIPE;
	if (fs->version.extent.kind == VDB_EXTENT_SEGMENT)
		fetch_pooled(rel, ref, row, snapshot, want_dead, fs);
	else if (fs->striped)
		note_striped(ref, row, fs);
	vdb_unlock_block(ref, lb);
}

/*
 * Return true if the delta record may have been copied before the commit that made the row visible.
 * Only the inserter can have changed the row before its commit.  It may have deleted the row, which
 * then must never be seen.
 */
static bool
delta_may_be_early(const FetchState *fs, Snapshot snapshot)
{
	if (!fs->striped || !fs->visible || !(fs->meta_flags & VDB_STRIPE_IN_DOUBT))
		return false;
	switch (snapshot->snapshot_type)
	{
		case SNAPSHOT_SELF:
			return true;
		case SNAPSHOT_DIRTY:
			return !TransactionIdIsValid(snapshot->xmin);	/* still running: it does count */
		default:
			return false;
	}
}

/*
 * Look the row up and check it with the snapshot.  Returns its stripe, referenced, if it lies in
 * one.  A striped row is checked after unlocking.  If its delta record may have been copied too
 * early, it is looked up once more, which is enough: xmin has committed by now (or is ours).  See
 * README.md, "The header and the moment".
 */
static VdbStripe *
look_and_check(Relation rel, const VdbTableRef *ref, VdbRowNumber row, Snapshot snapshot,
			   bool want_dead, FetchState *fs)
{
	VdbStripe  *stripe = NULL;

	look(rel, ref, row, snapshot, want_dead, fs);
	VDB_STOP_POINT("table-fetch-looked");
	if (fs->found && fs->striped)
		stripe = check_striped(rel, ref, row, snapshot, want_dead, fs);
	if (!delta_may_be_early(fs, snapshot))
		return stripe;
	vdb_stripe_release(stripe);
	look(rel, ref, row, snapshot, want_dead, fs);
	return fs->found ? check_striped(rel, ref, row, snapshot, want_dead, fs) : NULL;
}

bool
vdb_table_fetch(Relation rel, VdbRowNumber row, Snapshot snapshot, TupleTableSlot *slot,
				bool *all_dead)
{
	VdbTableRef ref;
	VdbStripe  *stripe;
	ItemPointerData tid;
	FetchState	fs;

	if (all_dead)
		*all_dead = false;
	if (snapshot->snapshot_type == SNAPSHOT_DIRTY)
	{
		snapshot->xmin = snapshot->xmax = InvalidTransactionId;
		snapshot->speculativeToken = 0;
	}
	if (row == VDB_ROW_NONE || !vdb_table_open(rel, false, &ref) ||
		vdb_row_lb(row) >= vdb_map_limit(&ref))
	{
		if (all_dead)
			*all_dead = true;
		return false;
	}

	/* before looking: a later writer finds this lock, and an earlier one's change is seen */
	vdb_row_to_tid(row, &tid);
	PredicateLockTID(rel, &tid, snapshot, InvalidTransactionId);

	stripe = look_and_check(rel, &ref, row, snapshot, all_dead != NULL, &fs);
	if (fs.found)
		vdb_conflict_out(rel, fs.visible, &fs.version, snapshot);
	if (fs.visible)
		store_result(rel, &fs, stripe, slot);
	if (stripe != NULL)
		vdb_stripe_release(stripe);
	if (all_dead)
		*all_dead = fs.dead || !fs.found;
	return fs.visible;
}

bool
vdb_table_satisfies(Relation rel, const ItemPointerData *tid, Snapshot snapshot)
{
	VdbTableRef ref;
	VdbVersion	version;
	VdbRowNumber row = vdb_tid_to_row(tid);
	bool		visible;

	if (row == VDB_ROW_NONE || !vdb_table_open(rel, false, &ref))
		return false;
	visible = vdb_table_lock_version(rel, &ref, row, LW_SHARED, &version) &&
		vdb_row_visible(&version.hdr, tid, RelationGetRelid(rel), snapshot);
	vdb_unlock_block(&ref, vdb_row_lb(row));
	return visible;
}

bool
vdb_table_peek(Relation rel, VdbRowNumber row, VdbVersion *version)
{
	VdbTableRef ref;
	bool		found;

	if (row == VDB_ROW_NONE || !vdb_table_open(rel, false, &ref))
		return false;
	found = vdb_table_lock_version(rel, &ref, row, LW_SHARED, version);
	vdb_unlock_block(&ref, vdb_row_lb(row));
	return found;
}

/* Check whether a stripe has the row, and it was not removed.  The block lock is held. */
static bool
striped_present(Relation rel, const VdbTableRef *ref, VdbRowNumber row, const VdbExtent *extent)
{
	VdbDeltaRecord drec;
	VdbStripe  *stripe;
	bool		removed;
	bool		found;

	(void) vdb_overlay_row(ref, extent, vdb_row_index(row), &removed, &drec);
	if (removed)
		return false;
	stripe = vdb_stripe_open(rel, vdb_stripe_address(vdb_map_meta(ref->pool, extent->ref)));
	found = vdb_stripe_position(stripe, row) >= 0;
	vdb_stripe_release(stripe);
	return found;
}

/*
 * The index of a stripe is read under the block lock if it isn't in memory yet: no snapshot that
 * counts for others keeps its pages for VACUUM, and out of the range's migration lock the stripe
 * may be replaced.
 */
bool
vdb_table_present(Relation rel, const VdbTableRef *ref, VdbRowNumber row)
{
	VdbLogicalBlock lb = vdb_row_lb(row);
	VdbExtent	extent;
	VdbVersion	version;
	bool		removed;
	bool		found = false;

	if (row == VDB_ROW_NONE || lb >= vdb_map_limit(ref))
		return false;
	vdb_lock_block(ref, lb, LW_SHARED);
	vdb_map_lookup(ref, lb, &extent);
	if (extent.kind == VDB_EXTENT_SEGMENT)
		found = vdb_rows_version(ref, &extent, lb, vdb_row_index(row), &version, &removed);
	else if (extent.kind == VDB_EXTENT_STRIPE)
		found = striped_present(rel, ref, row, &extent);
	vdb_unlock_block(ref, lb);
	return found;
}
