/*-------------------------------------------------------------------------
 *
 * migrate_range.c
 *	  Move the resolved rows of one range of a table into a stripe.
 *
 * There are seven steps; the map's switch is the one moment at which the move becomes visible:
 *
 * 1. Choose logical blocks (migrate_choose.c): whole closed segments whose rows are resolved,
 *    stripes to be rewritten, and small stripes of the range worth merging.
 * 2. Build the stripe from their rows, not visible yet (migrate_build.c).  Versions dead to
 *    everyone are dropped; an xmax that still matters becomes a delta record.
 * 3. Make stripe, block deltas and meta durable.  They are still not visible.
 * 4. Take the block locks of the blocks, exclusively.  If something was changed under a lock since
 *    step 1, compare its blocks' headers with what was built; where one changed, unlock, rebuild
 *    that block's block delta and try again (the third time under the locks).
 * 5. Switch the entries and free the segments, in one flushed change; unlock.
 * 6. Free what the old entries referred to besides: block deltas, metas, pages.
 * 7. Mark the blocks of a frozen stripe in the visibility map.
 *
 * A crash before step 5 leaves space that sweeps find; a crash after it does so with the old metas,
 * block deltas and pages.  A crash before step 7 leaves blocks whose rows are looked up.  See
 * README.md.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/vdb_stop_point.h"
#include "base/vdb_wal.h"
#include "migrate/migrate_private.h"
#include "pages/pages.h"

#define VDB_SWITCH_ATTEMPTS		3

/* ---- 4. compare ---- */

#define VDB_XMAX_HINTS	(HEAP_XMAX_COMMITTED | HEAP_XMAX_INVALID)

/* Return the delta record built for a row, or NULL. */
static const VdbDeltaRecord *
find_drec(const VdbMovingBlock *block, uint8 index)
{
	for (int i = 0; i < block->ndrecs; i++)
		if (block->drecs[i].index == index)
			return &block->drecs[i];
	return NULL;
}

/* Check whether the delta record built for a version still agrees with its header. */
static bool
same_as_built(const VdbDeltaRecord *built, const VdbVersion *now, uint32 epoch)
{
	VdbDeltaRecord drec;

	if (built == NULL)
		return !vdb_header_needs_delta(&now->hdr);
	if (!vdb_header_needs_delta(&now->hdr))
		return true;			/* its xmax has aborted since: a reader of the delta record will
								 * find that, too */
	vdb_version_to_delta(now, epoch, &drec);
	return drec.xmax == built->xmax && drec.cid == built->cid &&
		drec.flags == built->flags && drec.next_lb == built->next_lb &&
		drec.next_index == built->next_index && drec.infomask2 == built->infomask2 &&
		((drec.infomask ^ built->infomask) & ~VDB_XMAX_HINTS) == 0;
}

/*
 * Re-read one block's headers, with the block lock held exclusively.  If anything changed since
 * they were built, collect the delta records for a new block delta.  Only the pool is read: delta
 * records of a spill are final, and go to the new one.
 */
static void
compare_block(VdbMover *mover, VdbMovingBlock *block)
{
	VdbVersion	version;
	VdbDeltaRecord *drecs = NULL;
	int			ndrecs = 0;
	VdbRowSet	deleted = {0};
	VdbLogicalBlock lb = vdb_mover_lb(mover, block->index);

	Assert(VDB_BLOCK_LOCKED_EXCLUSIVE(&mover->ref, lb));
	for (int i = vdb_rowset_next(block->present, 0); i < VDB_LB_ROWS;
		 i = vdb_rowset_next(block->present, i + 1))
	{
		if (!vdb_table_pool_version(&mover->ref, vdb_row_make(lb, (uint8) i), &version))
		{
			vdb_rowset_add(deleted, i);
			if (!vdb_rowset_has(block->deleted, i))
				block->stale = true;
			continue;
		}
		/* only a lock can come to a final xmax, as a multixact */
		if (vdb_rowset_has(block->final, i) && !(version.hdr.t_infomask & HEAP_XMAX_IS_MULTI))
			continue;
		if (!same_as_built(find_drec(block, (uint8) i), &version, mover->epoch))
			block->stale = true;
		if (vdb_header_needs_delta(&version.hdr))
		{
			if (drecs == NULL)
				drecs = MemoryContextAlloc(mover->context, sizeof(VdbDeltaRecord) * VDB_LB_ROWS);
			vdb_version_to_delta(&version, mover->epoch, &drecs[ndrecs++]);
		}
	}
	if (!block->stale)
	{
		if (drecs != NULL)
			pfree(drecs);
		return;
	}
	if (block->drecs != NULL)
		pfree(block->drecs);
	block->drecs = drecs;
	block->ndrecs = ndrecs;
	Assert(vdb_rowset_within(block->deleted, deleted));
	memcpy(block->deleted, deleted, sizeof(deleted));
}

/*
 * Note how often something was changed under each block lock.  Called before the rows are read, or
 * while the locks that matter are held.
 */
static void
note_row_changes(VdbMover *mover)
{
	for (int i = 0; i < VDB_BLOCK_LOCKS; i++)
		mover->block_changes[i] = pg_atomic_read_u64(&vdb_shared->block_changes[i]);
	pg_memory_barrier();
}

/*
 * Compare the blocks in which something may have changed.  Every change of a row version lists its
 * block lock (redo needs it, too; asserted where changes are made), so under a lock whose count is
 * the same nothing has changed.
 */
static bool
compare_all(VdbMover *mover)
{
	bool		stale = false;

	for (int b = 0; b < mover->nblocks; b++)
	{
		VdbMovingBlock *block = &mover->blocks[b];
		uint32		lock_no = vdb_block_lock_no(mover->ref.slot, vdb_mover_lb(mover, block->index));

		if (pg_atomic_read_u64(&vdb_shared->block_changes[lock_no]) !=
			mover->block_changes[lock_no])
		{
			if (mover->keeps_stripe)
				vdb_mover_compare_overlay(mover, block);
			else
				compare_block(mover, block);
		}
		stale = stale || block->stale;
	}
	note_row_changes(mover);
	return !stale;
}

/* ---- 5. switch ---- */

/* Return the block delta that was built for a block. */
static VdbUnusedDelta
new_delta_of(const VdbMover *mover, const VdbMovingBlock *block)
{
	VdbUnusedDelta delta = {vdb_mover_lb(mover, block->index), block->overlay_block,
	block->overlay_offset};

	return delta;
}

/*
 * Note the block deltas that the entries name now, under their block locks: one may have grown
 * since it was first seen.
 */
static void
note_old_delta(VdbMover *mover)
{
	for (int b = 0; b < mover->nblocks; b++)
	{
		VdbMovingBlock *block = &mover->blocks[b];
		VdbExtent	extent;

		Assert(VDB_BLOCK_LOCKED_EXCLUSIVE(&mover->ref, vdb_mover_lb(mover, block->index)));
		vdb_map_lookup(&mover->ref, vdb_mover_lb(mover, block->index), &extent);
		/* the migration lock has kept it where it was chosen, and its block delta is built */
		Assert(extent.kind == block->kind && extent.ref == block->ref && !block->stale);
		block->old_overlay_block = extent.overlay_block;
		block->old_overlay_offset = extent.overlay_offset;
	}
}

/* Find the stripes that lose their last block. */
static void
find_whole_stripes(VdbMover *mover)
{
	for (int s = 0; s < mover->nstripes; s++)
	{
		VdbMovingStripe *stripe = &mover->stripes[s];
		int			moving = 0;

		for (int b = 0; b < mover->nblocks; b++)
			moving += mover->blocks[b].kind == VDB_EXTENT_STRIPE &&
				mover->blocks[b].ref == stripe->meta;
		Assert(moving <= stripe->blocks);
		stripe->whole = moving == stripe->blocks && !mover->keeps_stripe;
	}
}

/* Fill in the changes of the table's counters. */
static void
fill_delta(const VdbMover *mover, VdbTableDelta *delta)
{
	memset(delta, 0, sizeof(VdbTableDelta));
	delta->dead_rows = mover->dropped;
	delta->rows_migrated = mover->rows_from_pool;
	delta->stripe_bytes = (int64) mover->built.meta.stripe_bytes;
	delta->row_bytes = (int64) mover->scm_bytes;
	delta->striped_rows = mover->rows_written;
	delta->nstripes_in_use = mover->meta_block != VDB_BLOCK_NONE ? 1 : 0;
	for (int s = 0; s < mover->nstripes; s++)
	{
		if (!mover->stripes[s].whole)
			continue;
		delta->nstripes_in_use--;
		delta->striped_rows -= mover->stripes[s].nrows;
	}
	delta->last_migration = GetCurrentTimestamp();
	delta->moved_all = (mover->flags & (VDB_MIGRATE_ELIGIBLE | VDB_MIGRATE_STRIPES)) == 0;
}

/* Make the entries lead to their new places, within the change. */
static void
switch_blocks(VdbMover *mover, VdbScmChange *change, const uint8 *indexes,
			  const VdbBlock *overlay_blocks, const uint16 *overlay_offsets)
{
	VdbTableDelta delta;

	if (mover->keeps_stripe)
	{
		vdb_map_switch_overlay(change, &mover->ref, mover->range, indexes, mover->nblocks,
							   mover->stripes[0].meta, overlay_blocks, overlay_offsets,
							   mover->spilled, &mover->spill);
		return;
	}
	fill_delta(mover, &delta);
	vdb_map_switch(change, &mover->ref, mover->range, indexes, mover->nblocks,
				   mover->meta_block != VDB_BLOCK_NONE ? VDB_EXTENT_STRIPE : VDB_EXTENT_REMOVED,
				   mover->meta_block, overlay_blocks, overlay_offsets, mover->spilled);
	vdb_map_table_count(change, &mover->ref, &delta);
	vdb_scm_change_conflict(change, mover->latest_removed);
}

/*
 * Switch the entries and free the segments, in one flushed change.  The block locks are held
 * exclusively.
 */
static void
do_switch(VdbMover *mover, const uint8 *indexes)
{
	VdbBlock	overlay_blocks[VDB_RANGE_LBS];
	uint16		overlay_offsets[VDB_RANGE_LBS];
	VdbScmChange *change;

	for (int b = 0; b < mover->nblocks; b++)
	{
		overlay_blocks[b] = mover->blocks[b].overlay_block;
		overlay_offsets[b] = mover->blocks[b].overlay_offset;
	}
	find_whole_stripes(mover);
	LWLockAcquire(vdb_map_lock(mover->ref.slot), LW_EXCLUSIVE);
	change = vdb_scm_change_begin(mover->ref.pool, VDB_CHANGE_FLUSH);
	switch_blocks(mover, change, indexes, overlay_blocks, overlay_offsets);
	for (int s = 0; s < mover->nsegments; s++)
		vdb_scm_change_free_segment(change, mover->segments[s]);
	vdb_scm_change_end(change);
	LWLockRelease(vdb_map_lock(mover->ref.slot));
}

/*
 * Do steps 4 and 5.  Returns false if the pool has no room for a block delta; then nothing was
 * switched.
 */
static bool
switch_range(VdbMover *mover)
{
	VdbUnusedDelta unused[VDB_RANGE_LBS];
	uint8		indexes[VDB_RANGE_LBS];
	int			nunused;

	for (int b = 0; b < mover->nblocks; b++)
		indexes[b] = mover->blocks[b].index;
	for (int attempt = 1;; attempt++)
	{
		bool		built = true;

		/* all WAL up to here goes first, so that the flush under the locks is short */
		XLogFlush(vdb_wal_end());
		VDB_STOP_POINT("migrate-before-switch");
		vdb_map_lock_lbs(&mover->ref, mover->range, indexes, mover->nblocks);
		if (compare_all(mover))
			break;
		if (attempt < VDB_SWITCH_ATTEMPTS)
			vdb_map_unlock_lbs(&mover->ref, mover->range, indexes, mover->nblocks);
		nunused = 0;
		for (int b = 0; b < mover->nblocks && built; b++)
		{
			VdbMovingBlock *block = &mover->blocks[b];

			if (!block->stale)
				continue;
			unused[nunused++] = new_delta_of(mover, block);
			built = vdb_mover_build_delta(mover, block);
		}
		/* under the locks they stay for the next run's sweep */
		if (attempt < VDB_SWITCH_ATTEMPTS)
			vdb_overlay_release(&mover->ref, unused, nunused);
		if (attempt >= VDB_SWITCH_ATTEMPTS)
		{
			if (built)
				break;
			vdb_map_unlock_lbs(&mover->ref, mover->range, indexes, mover->nblocks);
		}
		if (!built)
			return false;
	}
	note_old_delta(mover);
	do_switch(mover, indexes);
	vdb_map_unlock_lbs(&mover->ref, mover->range, indexes, mover->nblocks);
	VDB_STOP_POINT("migrate-after-switch");
	return true;
}

/* ---- 6. free what is left over ---- */

/*
 * Free pages that nothing refers to any more: of replaced stripes and of wide rows, or of a new
 * stripe if the switch failed.
 */
static void
free_old_pages(VdbMover *mover, bool switched)
{
	uint64		now = U64FromFullTransactionId(ReadNextFullTransactionId());
	int			most = mover->nwide_runs + 2 * VDB_SWITCH_METAS;
	VdbFreeRun *runs = palloc(most * sizeof(VdbFreeRun));
	int			n = 0;

	for (int i = 0; switched && i < mover->nwide_runs; i++)
		runs[n++] = vdb_free_run(mover->wide_runs[i].first, mover->wide_runs[i].npages, now);
	for (int s = 0; switched && s < mover->nstripes; s++)
		if (mover->stripes[s].whole)
			runs[n++] = vdb_free_run(mover->stripes[s].first_page, mover->stripes[s].npages, now);
	for (int s = 0; switched && s < mover->nstripes; s++)
		if (mover->stripes[s].spill.npages > 0 && (mover->stripes[s].whole || mover->keeps_stripe))
			runs[n++] = vdb_free_run(mover->stripes[s].spill.first_page,
									 mover->stripes[s].spill.npages, now);
	if (!switched && mover->built.meta.npages > 0)
		runs[n++] = vdb_free_run(mover->built.meta.first_page, mover->built.meta.npages, now);
	if (!switched && mover->spill.npages > 0)
		runs[n++] = vdb_free_run(mover->spill.first_page, mover->spill.npages, now);
	Assert(n <= most);
	vdb_map_add_free_pages(&mover->ref, runs, n, vdb_pages_removable, mover->rel);
	pfree(runs);
}

/* Free block deltas, metas and pages: the old ones after a switch, otherwise the new ones. */
static void
clean_up(VdbMover *mover, bool switched)
{
	VdbUnusedDelta deltas[VDB_RANGE_LBS];

	for (int b = 0; b < mover->nblocks; b++)
	{
		const VdbMovingBlock *block = &mover->blocks[b];

		deltas[b] = new_delta_of(mover, block);
		if (switched)
		{
			deltas[b].block = block->old_overlay_block;
			deltas[b].offset = block->old_overlay_offset;
		}
	}
	vdb_overlay_release(&mover->ref, deltas, mover->nblocks);
	if (switched)
	{
		for (int s = 0; s < mover->nstripes; s++)
			(void) vdb_map_free_meta_if_unused(&mover->ref, mover->stripes[s].meta);
	}
	else if (mover->meta_block != VDB_BLOCK_NONE)
		vdb_map_free_meta(&mover->ref, mover->meta_block);
	free_old_pages(mover, switched);
	VDB_STOP_POINT("migrate-after-free");
}

/* ---- 7. the visibility map ---- */

/* Check whether a stripe is the one that this move has written. */
static bool
is_new_stripe(uint32 stripe_id, void *arg)
{
	return stripe_id == ((const VdbMover *) arg)->built.meta.stripe_id;
}

/* Check whether the stripe has a row for every row number of the block. */
static bool
block_full(const VdbMovingBlock *block)
{
	VdbRowSet	rows;

	memcpy(rows, block->present, sizeof(rows));
	vdb_rowset_subtract(rows, block->deleted);
	return vdb_rowset_count(rows) == VDB_LB_ROWS;
}

/*
 * Check whether indexes may have an entry for a row number of the block for which the stripe has no
 * row.
 */
static bool
may_lack(const VdbMovingBlock *block)
{
	return (block->lacking || !vdb_rowset_is_empty(block->deleted)) && !block_full(block);
}

/*
 * Check whether the indexes have been cleaned since the table last lost a row.  The answer holds
 * for rows of our range, as we hold its migration lock.
 */
static bool
indexes_clean(const VdbMover *mover)
{
	bool		clean;

	LWLockAcquire(vdb_map_lock(mover->ref.slot), LW_SHARED);
	clean = vdb_map_table_entry(&mover->ref)->dead_rows == 0;
	LWLockRelease(vdb_map_lock(mover->ref.slot));
	return clean;
}

/*
 * Mark the new stripe's blocks in the visibility map, each by its present state: see
 * pages/README.md.
 */
static void
mark_moved_visible(VdbMover *mover)
{
	Buffer		buffer = InvalidBuffer;
	bool		clean;

	if (mover->meta_block == VDB_BLOCK_NONE ||
		(mover->built.meta.flags & VDB_STRIPE_FROZEN) == 0)
		return;
	Assert(!mover->in_doubt);
	VDB_STOP_POINT("migrate-before-visible");
	clean = indexes_clean(mover);
	for (int b = 0; b < mover->nblocks; b++)
	{
		const VdbMovingBlock *block = &mover->blocks[b];

		CHECK_FOR_INTERRUPTS();
		if (!clean && may_lack(block))
			continue;
		(void) vdb_table_mark_visible(mover->rel, &mover->ref, vdb_mover_lb(mover, block->index),
									  is_new_stripe, mover, &buffer);
	}
	if (BufferIsValid(buffer))
		ReleaseBuffer(buffer);
}

/* ---- the whole move ---- */

/* Update the pool's counters, and wake processes that wait for space. */
static void
count_shared(VdbMover *mover)
{
	VdbPoolShared *shared = vdb_pool_shared(mover->ref.pool);

	pg_atomic_fetch_add_u64(&shared->counters.rows_migrated, (uint64) mover->rows_from_pool);
	if (mover->meta_block != VDB_BLOCK_NONE)
	{
		pg_atomic_fetch_add_u64(&shared->counters.stripes_written, 1);
		pg_atomic_fetch_add_u64(&shared->counters.stripe_bytes_written,
								mover->built.meta.stripe_bytes);
	}
	/* segments, or blocks of metas and block deltas */
	ConditionVariableBroadcast(&shared->space_cv);
}

/* Add to the counts of the caller's result. */
static void
count_result(const VdbMover *mover, VdbMigrateResult *result)
{
	result->rows_moved += mover->rows_from_pool;
	result->rows_dropped += mover->dropped;
	result->segments_freed += mover->nsegments;
	result->spills += mover->keeps_stripe ? 1 : 0;
	for (int s = 0; s < mover->nstripes; s++)
		result->stripes_freed += mover->stripes[s].whole ? 1 : 0;
}

/*
 * Do steps 2 and 3 for a stripe that stays: build its spill and block deltas.  Returns false if the
 * pool has no room.
 */
static bool
build_overlay(VdbMover *mover)
{
	Assert(mover->keeps_stripe && mover->nstripes == 1);
	vdb_mover_write_spill(mover);
	return vdb_mover_build_deltas(mover);
}

/* Do all steps.  Returns whether anything was done. */
static bool
move_range(VdbMover *mover, VdbMigrateResult *result)
{
	bool		done;

	vdb_mover_choose(mover);
	result->stripes_resolved += mover->nresolved;
	if (mover->nblocks == 0)
		return mover->nresolved > 0;
	done = (mover->keeps_stripe ? build_overlay(mover) : vdb_mover_build(mover)) &&
		switch_range(mover);
	clean_up(mover, done);
	if (!done)
		return mover->nresolved > 0;
	count_shared(mover);
	count_result(mover, result);
	mark_moved_visible(mover);
	return true;
}

/* See migrate.h. */
bool
vdb_migrate_range(Relation rel, const VdbTableRef *ref, uint32 range, int flags,
				  VdbMigrateResult *result)
{
	VdbMover   *mover;
	MemoryContext context;
	MemoryContext old;
	bool		done;

	Assert(CheckRelationLockedByMe(rel, AccessShareLock, true));
	/* a subtransaction that fails takes it along */
	context = AllocSetContextCreate(CurTransactionContext, "vdb migrate range",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	mover = palloc0(sizeof(VdbMover));
	mover->rel = rel;
	mover->ref = *ref;
	mover->range = range;
	mover->flags = flags;
	mover->context = context;
	mover->blocks = palloc(sizeof(VdbMovingBlock) * VDB_RANGE_LBS);
	mover->epoch = vdb_epoch_current(ref->pool);
	mover->oldest_xmin = GetOldestNonRemovableTransactionId(rel);
	mover->latest_removed = InvalidTransactionId;
	mover->meta_block = VDB_BLOCK_NONE;
	note_row_changes(mover);
	done = move_range(mover, result);
	if (mover->damaged && !result->damaged)
	{
		result->damaged = true;
		result->damage = mover->damage;
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return done;
}
