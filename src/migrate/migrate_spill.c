/*-------------------------------------------------------------------------
 *
 * migrate_spill.c
 *	  Moving delta records to flash.
 *
 * Delta records of rows that are deleted, or updated, stay until VACUUM may remove the rows.  While
 * an old snapshot keeps VACUUM from that, they are as many as the updates since.  So those that are
 * final go to a spill (overlay_spill.c), in two ways:
 *
 * - When a stripe is written, those of its rows, if they would take much of the pool.
 * - When the pool is full, those of a stripe that stays where it is, together with what its spill
 *   has already.  Steps 2 to 6 are those of any move, but no row is read or written: what counts is
 *   the overlay alone.
 *
 * When VACUUM has removed all rows that a spill has delta records of, the second way drops it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "miscadmin.h"

#include "base/vdb_guc.h"
#include "migrate/migrate_private.h"

/* What a stripe that is written should save of the pool for a spill while there is no pressure. */
#define VDB_SPILL_BYTES_AT_EASE	VDB_SEGMENT_BYTES

/* More bytes than any spill gives back. */
#define VDB_SPILL_NEVER			PG_UINT64_MAX

/* See migrate.h. */
bool
vdb_migrate_pool_pressed(VdbPoolShared *pool)
{
	uint32		limit = vdb_scm_limit_mb() * (1024 * 1024 / VDB_SEGMENT_BYTES);

	return (uint64) pg_atomic_read_u32(&pool->used_segments) * 100 >=
		(uint64) limit * (uint32) vdb_migrate_high_water;
}

/* Check whether a delta record says anything of its row. */
static bool
says_something(const VdbDeltaRecord *drec)
{
	return !(drec->infomask & HEAP_XMAX_INVALID) || (drec->infomask & HEAP_COMBOCID);
}

/* Return the number of delta records that are final and copy them to 'final'. */
static int
copy_final(const VdbMovingBlock *block, VdbDeltaRecord *final)
{
	int			n = 0;

	for (int i = 0; i < block->ndrecs; i++)
		if (vdb_rowset_has(block->final, block->drecs[i].index))
			final[n++] = block->drecs[i];
	return n;
}

/* Return the number of delta records that are not final and copy them to 'rest'. */
static int
copy_rest(const VdbMovingBlock *block, VdbDeltaRecord *rest)
{
	int			n = 0;

	for (int i = 0; i < block->ndrecs; i++)
		if (!vdb_rowset_has(block->final, block->drecs[i].index))
			rest[n++] = block->drecs[i];
	return n;
}

/* ---- the overlay of a stripe that stays ---- */

/* Copy the delta records of a view that say anything to the block. */
static void
keep_drecs(VdbMover *mover, VdbMovingBlock *block, const VdbOverlayView *view)
{
	if (block->drecs != NULL)
		pfree(block->drecs);
	block->drecs = NULL;
	block->ndrecs = 0;
	memcpy(block->deleted, view->deleted, sizeof(block->deleted));
	if (view->ndrecs == 0)
		return;
	block->drecs = MemoryContextAlloc(mover->context, sizeof(VdbDeltaRecord) * VDB_LB_ROWS);
	for (int i = 0; i < view->ndrecs; i++)
		if (says_something(&view->drecs[i]))
			block->drecs[block->ndrecs++] = view->drecs[i];
}

/* Note which of the block's delta records are final. */
static void
find_final(VdbMovingBlock *block)
{
	vdb_rowset_fill(block->final, false);
	for (int i = 0; i < block->ndrecs; i++)
		if (vdb_delta_final(&block->drecs[i]))
			vdb_rowset_add(block->final, block->drecs[i].index);
}

/*
 * Gather the delta records that the block has in the pool.  Returns the bytes there that a spill of
 * the final ones would give back.
 */
static int
gather_pool(VdbMover *mover, VdbMovingBlock *block, VdbOverlayView *view, bool *spilled)
{
	VdbLogicalBlock lb = vdb_mover_lb(mover, block->index);
	VdbDeltaRecord rest[VDB_LB_ROWS];
	VdbExtent	extent;
	int			bytes;

	vdb_lock_block(&mover->ref, lb, LW_SHARED);
	vdb_map_lookup(&mover->ref, lb, &extent);
	Assert(extent.kind == VDB_EXTENT_STRIPE && extent.ref == mover->stripes[0].meta);
	vdb_overlay_read(&mover->ref, &extent, view);
	bytes = vdb_overlay_bytes_now(&mover->ref, &extent);
	vdb_unlock_block(&mover->ref, lb);
	*spilled = extent.spilled;
	vdb_rowset_fill(block->present, true);	/* it isn't asked which rows the stripe has */
	keep_drecs(mover, block, view);
	find_final(block);
	if (vdb_rowset_is_empty(block->final))
		return 0;
	return Max(bytes - vdb_overlay_bytes(lb, rest, copy_rest(block, rest), block->deleted), 0);
}

/*
 * Add the delta records that the block has in the stripe's spill.  Returns the number of those that
 * still count.
 */
static int
gather_spilled(VdbMover *mover, VdbMovingBlock *block, VdbOverlayView *view)
{
	VdbLogicalBlock lb = vdb_mover_lb(mover, block->index);
	VdbBlockDeltaImage image;
	int			before;

	vdb_spill_read(mover->rel, &mover->stripes[0].spill, lb, &image);
	view->ndrecs = 0;
	memcpy(view->deleted, block->deleted, sizeof(view->deleted));
	memset(view->drec_at, -1, sizeof(view->drec_at));
	for (int i = 0; i < block->ndrecs; i++)
	{
		view->drec_at[block->drecs[i].index] = (int16) view->ndrecs;
		view->drecs[view->ndrecs++] = block->drecs[i];
	}
	before = view->ndrecs;
	vdb_spill_view(&image, lb, view);
	keep_drecs(mover, block, view);
	find_final(block);
	return view->ndrecs - before;
}

/* Forget what was gathered of the blocks. */
static void
forget_overlay(VdbMover *mover)
{
	for (int b = 0; b < mover->nblocks; b++)
	{
		if (mover->blocks[b].drecs != NULL)
			pfree(mover->blocks[b].drecs);
		mover->blocks[b].drecs = NULL;
		mover->blocks[b].ndrecs = 0;
	}
}

/*
 * Check whether the spill may be without rows: no snapshot needs its deleted rows any more.
 * Whether VACUUM has removed them all is seen when they are read.
 */
static bool
may_drop_spill(const VdbMover *mover)
{
	const VdbSpillAddress *spill = &mover->stripes[0].spill;

	return (mover->flags & VDB_MIGRATE_STRIPES) != 0 && spill->npages > 0 &&
		TransactionIdPrecedes(spill->newest_xmax, mover->oldest_xmin);
}

/* Return the bytes of the pool that a new spill of the stripe must give back, by the flags. */
static uint64
least_gain(const VdbMover *mover)
{
	if (mover->flags & VDB_MIGRATE_SPILL_ANY)
		return 1;
	if (mover->flags & VDB_MIGRATE_SPILL)
		return vdb_migrate_spill_least((uint64) mover->stripes[0].spill.npages * BLCKSZ);
	return VDB_SPILL_NEVER;
}

/*
 * Fill in the delta records of the chosen blocks, which are those of one stripe: first those in the
 * pool, and if a spill of these is worth it, those of the present spill.  Returns whether it is
 * worth it, or the spill is to be dropped.
 */
bool
vdb_mover_gather_overlay(VdbMover *mover)
{
	VdbOverlayView *view;
	bool		spilled[VDB_RANGE_LBS];
	uint64		gain = 0;
	int			left = 0;
	uint64		least = least_gain(mover);
	bool		worth;

	Assert(mover->nstripes == 1 && mover->nsegments == 0);
	if (least == VDB_SPILL_NEVER && !may_drop_spill(mover))
		return false;
	view = palloc(sizeof(VdbOverlayView));
	for (int b = 0; b < mover->nblocks; b++)
	{
		CHECK_FOR_INTERRUPTS();
		gain += (uint64) gather_pool(mover, &mover->blocks[b], view, &spilled[b]);
	}
	worth = gain >= least;
	if (worth || may_drop_spill(mover))
	{
		for (int b = 0; b < mover->nblocks; b++)
			if (spilled[b])
				left += gather_spilled(mover, &mover->blocks[b], view);
		worth = worth || left == 0;
	}
	if (!worth)
		forget_overlay(mover);
	pfree(view);
	return worth;
}

/* Check whether two delta records of a row say the same, hints apart. */
static bool
same_drec(const VdbDeltaRecord *a, const VdbDeltaRecord *b)
{
	return a->index == b->index && a->xmax == b->xmax && a->xmax_epoch == b->xmax_epoch &&
		a->cid == b->cid && a->flags == b->flags && a->infomask2 == b->infomask2 &&
		a->next_lb == b->next_lb && a->next_index == b->next_index &&
		((a->infomask ^ b->infomask) & ~(HEAP_XMAX_COMMITTED | HEAP_XMAX_INVALID)) == 0;
}

/* Check whether the block has the delta records and removed rows of the view. */
static bool
same_as_gathered(const VdbMovingBlock *block, const VdbOverlayView *view, int ndrecs)
{
	if (block->ndrecs != ndrecs || memcmp(block->deleted, view->deleted, sizeof(VdbRowSet)) != 0)
		return false;
	for (int i = 0; i < block->ndrecs; i++)
	{
		int			at = view->drec_at[block->drecs[i].index];

		if (at < 0 || !same_drec(&block->drecs[i], &view->drecs[at]))
			return false;
	}
	return true;
}

/*
 * Read the block's overlay again, under its block lock, exclusive.  If it differs from what was
 * built, collect the delta records for a new block delta.  A final row may have got a lock since,
 * and been removed; its delta record in the spill is then hidden.
 */
void
vdb_mover_compare_overlay(VdbMover *mover, VdbMovingBlock *block)
{
	VdbLogicalBlock lb = vdb_mover_lb(mover, block->index);
	VdbOverlayView *view = palloc(sizeof(VdbOverlayView));
	VdbExtent	extent;
	int			kept = 0;

	Assert(VDB_BLOCK_LOCKED_EXCLUSIVE(&mover->ref, lb));
	vdb_map_lookup(&mover->ref, lb, &extent);
	vdb_overlay_read(&mover->ref, &extent, view);
	memset(view->drec_at, -1, sizeof(view->drec_at));
	for (int i = 0; i < view->ndrecs; i++)
	{
		const VdbDeltaRecord *drec = &view->drecs[i];

		if (!says_something(drec) || (vdb_rowset_has(block->final, drec->index) &&
									  !(drec->infomask & HEAP_XMAX_IS_MULTI)))
			continue;
		view->drec_at[drec->index] = (int16) kept;
		view->drecs[kept++] = *drec;
	}
	view->ndrecs = kept;
	if (!same_as_gathered(block, view, kept))
	{
		keep_drecs(mover, block, view);
		block->stale = true;
	}
	pfree(view);
}

/* ---- writing ---- */

/*
 * Check whether a new stripe's final delta records should go to a spill.  Those that come from
 * one don't return to the pool.
 */
static bool
worth_writing(const VdbMover *mover)
{
	VdbDeltaRecord rest[VDB_LB_ROWS];
	int			gain = 0;
	int			least = vdb_migrate_pool_pressed(vdb_pool_shared(mover->ref.pool)) ?
		VDB_SPILL_BYTES : VDB_SPILL_BYTES_AT_EASE;

	for (int s = 0; s < mover->nstripes; s++)
		if (mover->stripes[s].spill.npages > 0)
			return true;
	for (int b = 0; b < mover->nblocks && gain < least; b++)
	{
		const VdbMovingBlock *block = &mover->blocks[b];
		VdbLogicalBlock lb = vdb_mover_lb(mover, block->index);

		if (!vdb_rowset_is_empty(block->final))
			gain += vdb_overlay_bytes(lb, block->drecs, block->ndrecs, block->deleted) -
				vdb_overlay_bytes(lb, rest, copy_rest(block, rest), block->deleted);
	}
	return gain >= least;
}

/* Move the block's final delta records to the spill. */
static void
spill_block(VdbMover *mover, VdbMovingBlock *block, VdbSpillWriter *writer)
{
	VdbDeltaRecord drecs[VDB_LB_ROWS];
	int			n = copy_final(block, drecs);

	Assert(n > 0);
	vdb_spill_add(writer, vdb_mover_lb(mover, block->index), drecs, n);
	vdb_rowset_add(mover->spilled, block->index);
	block->ndrecs = copy_rest(block, block->drecs);
}

/*
 * Write the final delta records of all blocks to a spill, and leave the others to the block
 * deltas.  If that isn't worth it, none are final.
 */
void
vdb_mover_write_spill(VdbMover *mover)
{
	VdbSpillWriter *writer = NULL;
	bool		worth = mover->keeps_stripe || worth_writing(mover);

	for (int b = 0; b < mover->nblocks; b++)
	{
		VdbMovingBlock *block = &mover->blocks[b];

		CHECK_FOR_INTERRUPTS();
		if (!worth)
			vdb_rowset_fill(block->final, false);
		if (vdb_rowset_is_empty(block->final))
			continue;
		if (writer == NULL)
			writer = vdb_spill_begin(&mover->ref, mover->range);
		spill_block(mover, block, writer);
	}
	if (writer != NULL)
		vdb_spill_write(writer, mover->rel, &mover->spill);
}
