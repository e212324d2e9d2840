/*-------------------------------------------------------------------------
 *
 * am_vacuum_block.c
 *	  VACUUM of the logical blocks of a range: dead versions are removed, old ids are frozen.
 *
 * The walk reads each block under its block lock, shared, and notes what is to be done.  At the end
 * of the range all of that is stored with one flush of WAL: see README.md, "A range of VACUUM".
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/multixact.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "commands/vacuum.h"

#include "am/am_vacuum.h"
#include "base/vdb_gate.h"
#include "base/vdb_stop_point.h"
#include "base/vdb_wal.h"

/* Add to the table's count of removed rows.  See am_vacuum.h. */
void
vdb_vacuum_count_dead(VdbVacuum *vs, int64 more)
{
	VdbScmChange *change;
	VdbTableDelta delta = {.dead_rows = more};
	int			flags = 0;

	Assert(!LWLockHeldByMe(vdb_map_lock(vs->ref.slot)));
	(void) vdb_epoch_current(vs->ref.pool);
	if (more < 0)
	{
		/*
		 * The count must not be durable before the cleaning of the indexes is.  Flushing that here
		 * takes no time under the lock.
		 */
		XLogRecPtr	cleaned = vdb_wal_end();

		XLogFlush(cleaned);
		flags = VDB_CHANGE_FLUSH;
	}
	LWLockAcquire(vdb_map_lock(vs->ref.slot), LW_EXCLUSIVE);
	change = vdb_scm_change_begin(vs->ref.pool, flags);
	vdb_map_table_count(change, &vs->ref, &delta);
	vdb_scm_change_end(change);
	LWLockRelease(vdb_map_lock(vs->ref.slot));
}

/* ---- storing what the walk has found ---- */

/*
 * Begin the change of one block.  It is flushed: if its record were lost but the bytes were not, a
 * standby would never get the change.  It could forget why a removed row is dead, and would keep
 * frozen ids that clog and pg_multixact lose.
 */
static VdbScmChange *
begin_block_change(VdbVacuum *vs, VdbLogicalBlock lb, bool structural)
{
	int			flags = vs->ref.logged || structural ? VDB_CHANGE_FLUSH : VDB_CHANGE_UNLOGGED;
	VdbScmChange *change = vdb_scm_change_begin(vs->ref.pool, flags);

	vdb_scm_change_block_lock(change, vdb_block_lock_no(vs->ref.slot, lb));
	return change;
}

/*
 * Add the removals and freezings of a block in the pool to the batch.  The block lock is held
 * exclusive.
 */
static void
gather_pooled(VdbVacuum *vs, VdbScmBatch *batch, const VdbVacuumWork *work, const VdbExtent *extent)
{
	VdbScmChange *change = begin_block_change(vs, work->lb, false);

	Assert(VDB_BLOCK_LOCKED_EXCLUSIVE(&vs->ref, work->lb));
	for (int i = vdb_rowset_next(work->freeze, 0); i < VDB_LB_ROWS;
		 i = vdb_rowset_next(work->freeze, i + 1))
	{
		VdbVersion	version;

		if (!vdb_table_pool_version(&vs->ref, vdb_row_make(work->lb, (uint8) i), &version))
			continue;
		if (vdb_freeze_version(&vs->limits, &version))
		{
			/* a standby's older snapshots must not come to see what is now frozen */
			if (TransactionIdIsNormal(HeapTupleHeaderGetRawXmin(&version.hdr)))
				vdb_scm_change_conflict(change, HeapTupleHeaderGetRawXmin(&version.hdr));
			vdb_rows_set_header(change, &vs->ref, &version);
			vs->frozen++;
		}
		vdb_freeze_note_left(&vs->left, &version);
	}
	vdb_scm_change_conflict(change, work->latest);
	for (int i = vdb_rowset_next(work->dead, 0); i < VDB_LB_ROWS;
		 i = vdb_rowset_next(work->dead, i + 1))
		vdb_rows_remove(change, &vs->ref, extent, work->lb, (uint8) i);
	vs->removed += work->ndead;
	vdb_scm_batch_add(batch, change);
}

/*
 * Compute what becomes of the delta records whose ids are old: those without effect are dropped,
 * the others get a younger xmax, in 'replacing' of VDB_LB_ROWS entries.  Block lock held exclusive.
 */
static void
freeze_drecs(VdbVacuum *vs, const VdbVacuumWork *work, VdbOverlayEdit *edit,
			 VdbDeltaRecord *replacing)
{
	uint32		epoch = vdb_pool_shared(vs->ref.pool)->epoch;

	Assert(vdb_pool_shared(vs->ref.pool)->epoch_begun && edit->nreplacing == 0);
	for (int i = vdb_rowset_next(work->freeze, 0); i < VDB_LB_ROWS;
		 i = vdb_rowset_next(work->freeze, i + 1))
	{
		VdbVersion	version;

		if (!vdb_table_pool_version(&vs->ref, vdb_row_make(work->lb, (uint8) i), &version))
			continue;
		if (!vdb_freeze_version(&vs->limits, &version))
			vdb_freeze_note_left(&vs->left, &version);
		else if (version.hdr.t_infomask & HEAP_XMAX_INVALID)
			vdb_rowset_add(edit->dropped, i);
		else
		{
			vdb_freeze_note_left(&vs->left, &version);
			vdb_version_to_delta(&version, epoch, &replacing[edit->nreplacing++]);
		}
	}
	edit->replacing = replacing;
}

/*
 * Note that the ids of the block's rows to freeze stay for now: the oldest ids left are lowered to
 * theirs.  Block lock held exclusive.
 */
static void
note_not_frozen(VdbVacuum *vs, const VdbVacuumWork *work)
{
	Assert(VDB_BLOCK_LOCKED_EXCLUSIVE(&vs->ref, work->lb));
	for (int i = vdb_rowset_next(work->freeze, 0); i < VDB_LB_ROWS;
		 i = vdb_rowset_next(work->freeze, i + 1))
	{
		VdbVersion	version;

		if (vdb_table_pool_version(&vs->ref, vdb_row_make(work->lb, (uint8) i), &version))
			vdb_freeze_note_left(&vs->left, &version);
	}
}

/* Note likewise that the block's dead rows stay: nothing changes them any more. */
static void
note_not_removed(VdbVacuum *vs, const VdbVacuumWork *work)
{
	if (TransactionIdPrecedes(work->dead_left.xid, vs->left.xid))
		vs->left.xid = work->dead_left.xid;
	if (MultiXactIdPrecedes(work->dead_left.multi, vs->left.multi))
		vs->left.multi = work->dead_left.multi;
	vs->remove_failed = true;
}

/*
 * Prepare the edit of a striped block.  If there is no space for a new block delta, old ids stay;
 * without any block delta the dead rows stay, too.  The next VACUUM will do what is left.  Block
 * lock held exclusive.  Returns false if there is nothing to do now.
 */
static bool
prepare_striped(VdbVacuum *vs, const VdbVacuumWork *work, VdbExtent *extent, VdbOverlayEdit *edit)
{
	if (vdb_overlay_prepare_edit(&vs->ref, extent, edit))
		return true;
	note_not_frozen(vs, work);
	memset(edit->dropped, 0, sizeof(edit->dropped));
	edit->nreplacing = 0;
	if (work->ndead == 0)
		return false;
	if (vdb_overlay_prepare_edit(&vs->ref, extent, edit))
		return true;
	note_not_removed(vs, work);
	return false;
}

/*
 * Add the removals and freezings of a striped block to the batch.  Block lock held exclusive.
 * Returns the slab of the block delta that is freed, or VDB_BLOCK_NONE.
 */
static VdbBlock
gather_striped(VdbVacuum *vs, VdbScmBatch *batch, const VdbVacuumWork *work, VdbExtent *extent)
{
	VdbDeltaRecord replacing[VDB_LB_ROWS];
	VdbOverlayEdit edit = {.nreplacing = 0};
	VdbScmChange *change;

	Assert(VDB_BLOCK_LOCKED_EXCLUSIVE(&vs->ref, work->lb));
	memcpy(edit.removed, work->dead, sizeof(edit.removed));
	freeze_drecs(vs, work, &edit, replacing);
	if (!prepare_striped(vs, work, extent, &edit))
		return VDB_BLOCK_NONE;
	change = begin_block_change(vs, work->lb, edit.old_block != VDB_BLOCK_NONE);
	vdb_scm_change_conflict(change, work->latest);
	vdb_overlay_edit(change, &vs->ref, extent, &edit);
	vdb_scm_batch_add(batch, change);
	vs->removed += work->ndead;
	vs->frozen += edit.nreplacing + vdb_rowset_count(edit.dropped);
	return edit.old_block;
}

/*
 * Add what is to be done in a block to the batch.  The extent is looked up under the exclusive
 * lock, and headers are read again, as a row may have been locked since the walk.  A version that
 * was dead to everyone stays so.  Returns the slab of the block delta that is freed, or
 * VDB_BLOCK_NONE.
 */
static VdbBlock
gather_block(VdbVacuum *vs, VdbScmBatch *batch, const VdbVacuumWork *work)
{
	VdbBlock	slab = VDB_BLOCK_NONE;
	VdbExtent	extent;

	Assert(work->ndead == vdb_rowset_count(work->dead));
	Assert(work->ndead > 0 || !vdb_rowset_is_empty(work->freeze));
	vdb_lock_block(&vs->ref, work->lb, LW_EXCLUSIVE);
	vdb_map_lookup(&vs->ref, work->lb, &extent);
	if (extent.kind == VDB_EXTENT_STRIPE)
		slab = gather_striped(vs, batch, work, &extent);
	else if (extent.kind == VDB_EXTENT_SEGMENT)
		gather_pooled(vs, batch, work, &extent);
	vdb_unlock_block(&vs->ref, work->lb);
	return slab;
}

/* Store what the walk of a range has found.  See am_vacuum.h. */
void
vdb_vacuum_store(VdbVacuum *vs)
{
	VdbScmBatch *batch;
	VdbBlock	slabs[VDB_RANGE_LBS];
	int			nslabs = 0;
	int64		ndead = 0;

	if (vs->nwork == 0)
		return;
	(void) vdb_epoch_current(vs->ref.pool);
	for (int i = 0; i < vs->nwork; i++)
		ndead += vs->work[i].ndead;
	/* count first, so that the next VACUUM cleans the indexes if this one does not get there */
	if (ndead > 0)
		vdb_vacuum_count_dead(vs, ndead);
	VDB_STOP_POINT("vacuum-range-walked");
	Assert(vdb_lb_range(vs->work[0].lb) == vdb_lb_range(vs->work[vs->nwork - 1].lb));
	vdb_gate_close(vs->ref.slot, vdb_lb_range(vs->work[0].lb));
	batch = vdb_scm_batch_begin(vs->ref.pool);
	for (int i = 0; i < vs->nwork; i++)
	{
		VdbBlock	slab = gather_block(vs, batch, &vs->work[i]);

		if (slab != VDB_BLOCK_NONE)
			slabs[nslabs++] = slab;
	}
	VDB_STOP_POINT("vacuum-range-gathered");
	vdb_scm_batch_end(batch);
	vdb_gate_open();
	VDB_STOP_POINT("vacuum-range-stored");
	if (nslabs > 0)
		vdb_overlay_reclaim(&vs->ref, slabs, nslabs);
	vs->nwork = 0;
}

/* ---- stripes ---- */

/*
 * Note a stripe with xmins that had not committed when it was written.  All of them have ended by
 * now.  Once the rows of the aborted ones are removed, the stripe can be frozen, too.
 */
static void
note_in_doubt(VdbVacuum *vs, VdbBlock meta_block)
{
	for (int i = 0; i < vs->nin_doubt; i++)
		if (vs->in_doubt[i] == meta_block)
			return;
	Assert(vs->nin_doubt < VDB_RANGE_LBS);
	vs->in_doubt[vs->nin_doubt++] = meta_block;
}

/* Freeze the range's stripes in doubt, if their dead rows are removed.  See am_vacuum.h. */
void
vdb_vacuum_resolve_stripes(VdbVacuum *vs)
{
	for (int i = 0; i < vs->nin_doubt; i++)
	{
		TransactionId min_xmin = vdb_map_meta(vs->ref.pool, vs->in_doubt[i])->min_xmin;

		if (!vs->remove_failed)
		{
			vdb_map_freeze_stripe(&vs->ref, vs->in_doubt[i]);
			vs->stripes_frozen++;
		}
		else if (TransactionIdIsNormal(min_xmin) && TransactionIdPrecedes(min_xmin, vs->left.xid))
			vs->left.xid = min_xmin;
	}
	vs->nin_doubt = 0;
	vs->remove_failed = false;
}

/* Remember that the walk has met a stripe; 0 stands for none.  No lightweight lock held. */
static void
note_vacuum_stripe(VdbVacuum *vs, uint32 stripe_id)
{
	Assert(vs->nstripes <= vs->max_stripes);
	if (stripe_id == 0 || (vs->nstripes > 0 && vs->stripes[vs->nstripes - 1] == stripe_id))
		return;
	if (vs->nstripes == vs->max_stripes)
	{
		vs->max_stripes = Max(256, vs->max_stripes * 2);
		vs->stripes = vs->stripes == NULL ? palloc(vs->max_stripes * sizeof(uint32)) :
			repalloc_huge(vs->stripes, (Size) vs->max_stripes * sizeof(uint32));
	}
	vs->stripes[vs->nstripes++] = stripe_id;
}

/*
 * Freeze the stripe of the current block if everyone sees its rows.  A stripe is frozen as a
 * whole, without rewriting it.
 */
static void
freeze_stripe(VdbVacuum *vs)
{
	VdbLogicalBlock lb = vs->batch->lb;
	VdbExtent	extent;
	VdbBlock	to_freeze = VDB_BLOCK_NONE;
	uint32		stripe_id = 0;

	vdb_lock_block(&vs->ref, lb, LW_SHARED);
	vdb_map_lookup(&vs->ref, lb, &extent);
	if (extent.kind == VDB_EXTENT_STRIPE)
	{
		const VdbStripeMeta *meta = vdb_map_meta(vs->ref.pool, extent.ref);

		if (meta->stripe_id == vs->last_stripe && meta->first_page == vs->last_stripe_page)
			;					/* seen already */
		else if (!(meta->flags & (VDB_STRIPE_FROZEN | VDB_STRIPE_IN_DOUBT)) &&
				 TransactionIdPrecedes(meta->max_xmin, vs->limits.oldest_xmin))
			to_freeze = extent.ref;
		else if (!(meta->flags & VDB_STRIPE_FROZEN) &&
				 TransactionIdPrecedes(meta->max_xmin, vs->limits.oldest_xmin))
			note_in_doubt(vs, extent.ref);
		else if (!(meta->flags & VDB_STRIPE_FROZEN) && TransactionIdIsNormal(meta->min_xmin) &&
				 TransactionIdPrecedes(meta->min_xmin, vs->left.xid))
			vs->left.xid = meta->min_xmin;
		stripe_id = meta->stripe_id;
		vs->last_stripe = meta->stripe_id;
		vs->last_stripe_page = meta->first_page;
	}
	vdb_unlock_block(&vs->ref, lb);
	if (to_freeze != VDB_BLOCK_NONE)
	{
		/* the migration lock keeps the stripe from being replaced */
		vdb_map_freeze_stripe(&vs->ref, to_freeze);
		vs->stripes_frozen++;
	}
	note_vacuum_stripe(vs, stripe_id);
}

/* Return true if a version has ids to freeze. */
static bool
needs_freezing(VdbVacuum *vs, const VdbVersion *version)
{
	VdbVersion	copy = *version;

	return vdb_freeze_version(&vs->limits, &copy);
}

/* Look at the logical block that the cursor is at.  See am_vacuum.h. */
void
vdb_vacuum_block(VdbVacuum *vs)
{
	VdbVacuumWork *work = &vs->work[vs->nwork];
	bool		freeze = false;
	VdbBatch   *batch = vs->batch;

	vdb_vacuum_delay_point();
	(void) vdb_cursor_read(&vs->cursor);
	Assert(batch->lb == vdb_cursor_lb(&vs->cursor));
	Assert(vs->nwork < VDB_RANGE_LBS);
	memset(work, 0, sizeof(*work));
	work->lb = batch->lb;
	work->dead_left = vs->left;
	if (batch->where == VDB_IN_STRIPE && batch->nrows > 0)
		freeze_stripe(vs);
	for (int i = 0; i < batch->nrows; i++)
	{
		VdbVersion	version;

		if (batch->htsv[i] == VDB_DEAD)
		{
			vdb_batch_version(batch, i, &version);
			vdb_version_raise_removed(&version.hdr, &work->latest);
			if (batch->where == VDB_IN_STRIPE)
				vdb_freeze_note_left(&work->dead_left, &version);
			vdb_rowset_add(work->dead, batch->index[i]);
			work->ndead++;
			continue;
		}
		if (batch->htsv[i] == VDB_RECENTLY_DEAD)
			vs->recently_dead += 1;
		else if (batch->htsv[i] != VDB_INSERT_IN_PROGRESS)
			vs->live += 1;
		if (batch->plain)
			continue;
		vdb_batch_version(batch, i, &version);
		if (!needs_freezing(vs, &version))
		{
			vdb_freeze_note_left(&vs->left, &version);
			continue;
		}
		vdb_rowset_add(work->freeze, batch->index[i]);
		freeze = true;
	}
	if (freeze || work->ndead > 0)
		vs->nwork++;
}
