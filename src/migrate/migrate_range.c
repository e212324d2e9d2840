/*-------------------------------------------------------------------------
 *
 * migrate_range.c
 *	  Move the settled rows of one range of a table into a stripe.
 *
 * Six steps; the map's switch is the one moment at which anything changes:
 *
 * 1. Choose logical blocks: whole segments that nobody appends to any more and
 *	  whose rows are settled, and small stripes of the range worth merging.
 * 2. Build the stripe from their rows, unseen.  Versions dead to everyone are
 *	  dropped; an xmax that still matters becomes a stub.
 * 3. Make stripe, overlay units and meta durable.  Still unseen.
 * 4. Take the row locks of the blocks, exclusive.  Compare the headers with
 *	  what was built; where one changed meanwhile, unlock, rebuild that block's
 *	  unit and try again (the third time under the locks).
 * 5. Switch the entries and free the segments, in one flushed change; unlock.
 * 6. Free what the old entries referred to besides.
 *
 * A crash before 5 leaves space that sweeps find; after 5, the old metas and
 * units, likewise.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/procarray.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/vdb_stop_point.h"
#include "base/vdb_wal.h"
#include "migrate/migrate.h"

/* Rows of one stripe take at most about this much before encoding (one row may be more). */
#define VDB_STRIPE_RAW_BYTES	(48 * 1024 * 1024)
#define VDB_SWITCH_ATTEMPTS		3

/* What a switch may touch besides, so that its change stays within VDB_CHANGE_MAX_BLOCKS. */
#define VDB_SWITCH_METAS		12
#define VDB_SWITCH_GROUPS		12

/* One logical block that moves. */
typedef struct MovingBlock
{
	uint8		index;				/* in the range */
	uint8		kind;				/* where it is now */
	VdbBlock	ref;
	VdbBlock	old_overlay_block;
	uint16		old_overlay_offset;
	uint64		present[4];			/* rows that went into the stripe */
	uint64		gone[4];			/* ... and were reaped since */
	VdbStub    *stubs;
	int			nstubs;
	VdbBlock	overlay_block;		/* built for it */
	uint16		overlay_offset;
	bool		stale;				/* its unit must be built again */
} MovingBlock;

typedef struct Mover
{
	Relation	rel;
	VdbTableRef ref;
	uint32		range;
	int			flags;
	uint32		incarnation;
	TransactionId oldest_xmin;
	TransactionId latest_removed;
	MovingBlock *blocks;
	int			nblocks;
	VdbBlock	segments[VDB_RANGE_LBS];
	int			nsegments;
	uint32		groups[VDB_SWITCH_GROUPS];	/* allocation groups of the segments */
	int			ngroups;
	VdbBlock	metas[VDB_RANGE_LBS];	/* of stripes that are merged */
	int			nmetas;
	int			whole_metas;		/* of which all blocks move */
	bool		unsettled;
	int64		rows_from_scm;
	int64		rows_written;
	int64		merged_rows;		/* rows that the merged stripes were written with */
	int64		dropped;
	Size		raw_bytes;
	VdbStripeBuilt built;
	VdbBlock	meta_block;
	MemoryContext context;
} Mover;

/* ---- 1. choose ---- */

typedef struct BlockFacts
{
	VdbExtent	extent;
	bool		settled;
	uint32		rows;
	uint32		stripe_rows;
} BlockFacts;

/*
 * Is the inserting transaction still in progress?  A version that our own
 * transaction has both inserted and deleted counts as 'delete in progress'.
 */
static bool
insert_in_progress(HeapTupleHeader hdr, VdbDeadness deadness)
{
	if (deadness == VDB_DELETE_IN_PROGRESS)
		return !HeapTupleHeaderXminCommitted(hdr) &&
			TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetRawXmin(hdr));
	return deadness == VDB_INSERT_IN_PROGRESS;
}

static bool
header_settled(const Mover *mover, HeapTupleHeader hdr)
{
	if (HeapTupleHeaderIsSpeculative(hdr))
		return false;			/* its owner will change the header in place */
	if (mover->flags & VDB_MIGRATE_OWN)
		return true;
	return !insert_in_progress(hdr, vdb_row_deadness(hdr, mover->oldest_xmin));
}

/* Are all rows of a segment's block settled?  Row lock held shared. */
static void
look_at_segment(Mover *mover, VdbLogicalBlock lb, BlockFacts *facts)
{
	VdbVersion	version;
	bool		reaped;

	for (int i = 0; i < VDB_LB_ROWS; i++)
	{
		if (!vdb_rows_version(&mover->ref, &facts->extent, lb, (uint8) i, &version, &reaped))
			continue;
		facts->rows++;
		if (!header_settled(mover, &version.hdr))
		{
			facts->settled = false;
			return;
		}
	}
}

static void
look_at_block(Mover *mover, VdbLogicalBlock lb, BlockFacts *facts)
{
	LWLock	   *lock = vdb_row_lock(vdb_row_lock_no(mover->ref.slot, lb));

	memset(facts, 0, sizeof(BlockFacts));
	facts->settled = true;
	LWLockAcquire(lock, LW_SHARED);
	vdb_map_lookup(&mover->ref, lb, &facts->extent);
	if (facts->extent.kind == VDB_EXTENT_SEGMENT)
		look_at_segment(mover, lb, facts);
	else if (facts->extent.kind == VDB_EXTENT_STRIPE)
		facts->stripe_rows = vdb_map_meta(mover->ref.pool, facts->extent.ref)->nrows;
	LWLockRelease(lock);
}

static void
add_block(Mover *mover, uint8 index, const BlockFacts *facts)
{
	MovingBlock *block = &mover->blocks[mover->nblocks++];

	memset(block, 0, sizeof(MovingBlock));
	block->index = index;
	block->kind = facts->extent.kind;
	block->ref = facts->extent.ref;
	block->old_overlay_block = facts->extent.overlay_block;
	block->old_overlay_offset = facts->extent.overlay_offset;
}

/* Would freeing this segment touch one allocation map too many? */
static bool
too_many_groups(Mover *mover, VdbBlock segment)
{
	uint32		group = vdb_scm_group_of(segment);

	for (int i = 0; i < mover->ngroups; i++)
		if (mover->groups[i] == group)
			return false;
	if (mover->ngroups >= VDB_SWITCH_GROUPS)
		return true;
	mover->groups[mover->ngroups++] = group;
	return false;
}

/* All blocks of the segment that begins at 'first', if it may move; returns how many blocks it has. */
static int
choose_segment(Mover *mover, const BlockFacts *facts, int first, int end, uint32 *rows)
{
	VdbLogicalBlock lb = mover->range * VDB_RANGE_LBS + first;
	const VdbSegmentHeader *header;
	int			nlbs;
	bool		may_move = true;

	header = vdb_rows_segment(&mover->ref, facts[first].extent.ref, lb);
	nlbs = Min(header->nslots / VDB_LB_ROWS, end - first);
	if (vdb_rows_segment_open(&mover->ref, facts[first].extent.ref, true))
		return nlbs;
	/* closed now; rows that were appended before that count too */
	for (int i = first; i < first + nlbs; i++)
	{
		BlockFacts	again;

		look_at_block(mover, mover->range * VDB_RANGE_LBS + i, &again);
		may_move = may_move && again.settled;
		*rows += again.rows;
	}
	if (!may_move || too_many_groups(mover, facts[first].extent.ref))
		return nlbs;
	for (int i = first; i < first + nlbs; i++)
		add_block(mover, (uint8) i, &facts[i]);
	mover->segments[mover->nsegments++] = facts[first].extent.ref;
	return nlbs;
}

static bool
known_meta(const Mover *mover, VdbBlock meta)
{
	for (int i = 0; i < mover->nmetas; i++)
		if (mover->metas[i] == meta)
			return true;
	return false;
}

/* Add the blocks of stripes that are small beside what moves anyway. */
static void
choose_stripes(Mover *mover, const BlockFacts *facts, int end, uint32 moving_rows)
{
	VdbBlock	seen[VDB_RANGE_LBS];
	int			nseen = 0;

	for (int i = 0; i < end; i++)
	{
		bool		known = facts[i].extent.kind != VDB_EXTENT_STRIPE;

		for (int k = 0; k < nseen && !known; k++)
			known = seen[k] == facts[i].extent.ref;
		if (!known)
			seen[nseen++] = facts[i].extent.ref;
	}
	for (int i = 0; i < end; i++)
	{
		if (facts[i].extent.kind != VDB_EXTENT_STRIPE)
			continue;
		if (!known_meta(mover, facts[i].extent.ref))
		{
			if (mover->nmetas >= VDB_SWITCH_METAS ||
				!vdb_migrate_merge(facts[i].stripe_rows, moving_rows, (uint32) nseen))
				continue;
			mover->metas[mover->nmetas++] = facts[i].extent.ref;
		}
		add_block(mover, (uint8) i, &facts[i]);
	}
}

static int
compare_blocks(const void *a, const void *b)
{
	return (int) ((const MovingBlock *) a)->index - (int) ((const MovingBlock *) b)->index;
}

static void
choose_blocks(Mover *mover)
{
	VdbLogicalBlock first = mover->range * VDB_RANGE_LBS;
	VdbLogicalBlock limit = vdb_map_limit(&mover->ref);
	int			end = (int) Min(limit - first, VDB_RANGE_LBS);
	BlockFacts *facts;
	uint32		rows = 0;

	if (first >= limit)
		return;
	facts = palloc(sizeof(BlockFacts) * VDB_RANGE_LBS);
	for (int i = 0; i < end; i++)
	{
		CHECK_FOR_INTERRUPTS();
		look_at_block(mover, first + i, &facts[i]);
	}
	for (int i = 0; i < end;)
	{
		if (facts[i].extent.kind == VDB_EXTENT_SEGMENT)
			i += choose_segment(mover, facts, i, end, &rows);
		else
			i++;
	}
	if (mover->nblocks > 0)
		choose_stripes(mover, facts, end, rows);
	qsort(mover->blocks, mover->nblocks, sizeof(MovingBlock), compare_blocks);
	pfree(facts);
}

/* ---- 2. build ---- */

static void
add_stub(Mover *mover, MovingBlock *block, const VdbVersion *version)
{
	if (block->stubs == NULL)
		block->stubs = MemoryContextAlloc(mover->context, sizeof(VdbStub) * VDB_LB_ROWS);
	vdb_version_to_stub(version, mover->incarnation, &block->stubs[block->nstubs++]);
}

static bool
needs_stub(const HeapTupleHeaderData *hdr)
{
	return !(hdr->t_infomask & HEAP_XMAX_INVALID) || (hdr->t_infomask & HEAP_COMBOCID);
}

static void
build_row(Mover *mover, MovingBlock *block, VdbBatch *batch, int i, TupleTableSlot *slot,
		  VdbStripeWriter *writer)
{
	VdbVersion	version;
	HeapTupleHeader hdr = &version.hdr;
	TransactionId xmin;
	uint8		index = batch->index[i];
	Size		bytes;

	vdb_batch_version(batch, i, &version);
	if (batch->deadness[i] == VDB_DEAD)
	{
		vdb_version_raise_removed(hdr, &mover->latest_removed);
		mover->dropped++;
		return;
	}
	if (insert_in_progress(hdr, (VdbDeadness) batch->deadness[i]))
		mover->unsettled = true;
	xmin = HeapTupleHeaderXminFrozen(hdr) ? FrozenTransactionId : HeapTupleHeaderGetRawXmin(hdr);
	vdb_batch_slot(batch, i, slot);
	slot_getallattrs(slot);
	bytes = batch->place == VDB_PLACE_SCM ? batch->tuples[i].t_len : 0;
	vdb_stripe_writer_add(writer, version.row, xmin, HeapTupleHeaderGetRawCommandId(hdr),
						  slot->tts_values, slot->tts_isnull, bytes);
	block->present[index >> 6] |= UINT64CONST(1) << (index & 63);
	mover->raw_bytes += bytes;
	mover->rows_written++;
	if (batch->place == VDB_PLACE_SCM)
		mover->rows_from_scm++;
	if (needs_stub(hdr))
		add_stub(mover, block, &version);
}

/* Stripes all of whose blocks move are gone afterwards: for the table's counters. */
static void
count_whole_metas(Mover *mover)
{
	mover->whole_metas = 0;
	mover->merged_rows = 0;
	for (int m = 0; m < mover->nmetas; m++)
	{
		const VdbStripeMeta *meta = vdb_map_meta(mover->ref.pool, mover->metas[m]);
		int			blocks = 0;

		for (int i = 0; i < mover->nblocks; i++)
			blocks += mover->blocks[i].kind == VDB_EXTENT_STRIPE &&
				mover->blocks[i].ref == mover->metas[m];
		if (blocks < meta->nlbs)
			continue;
		mover->whole_metas++;
		mover->merged_rows += meta->nrows;
	}
}

/* Keep only the first n blocks, and the segments and metas that are wholly among them. */
static void
keep_blocks(Mover *mover, int n)
{
	int			kept = 0;

	for (int s = 0; s < mover->nsegments; s++)
	{
		bool		inside = false;

		for (int i = 0; i < n; i++)
			inside = inside || (mover->blocks[i].kind == VDB_EXTENT_SEGMENT &&
								mover->blocks[i].ref == mover->segments[s]);
		if (inside)
			mover->segments[kept++] = mover->segments[s];
	}
	mover->nsegments = kept;
	mover->nblocks = n;
}

/* May the stripe end before block i, that is, does no segment straddle that place? */
static bool
may_end_before(const Mover *mover, int i)
{
	return mover->blocks[i].kind != VDB_EXTENT_SEGMENT ||
		mover->blocks[i - 1].kind != VDB_EXTENT_SEGMENT ||
		mover->blocks[i].ref != mover->blocks[i - 1].ref;
}

/* Rows of the chosen blocks into a writer; NULL when no row is left. */
static VdbStripeWriter *
build_stripe(Mover *mover)
{
	VdbStripeWriter *writer;
	VdbBatch   *batch = vdb_batch_create(mover->rel);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(mover->rel), &vdb_slot_ops);

	writer = vdb_stripe_writer_begin(mover->rel, mover->range, vdb_map_new_stripe_id(&mover->ref));
	for (int b = 0; b < mover->nblocks; b++)
	{
		MovingBlock *block = &mover->blocks[b];

		if (mover->raw_bytes > VDB_STRIPE_RAW_BYTES && may_end_before(mover, b))
		{
			keep_blocks(mover, b);
			break;
		}
		vdb_stripe_writer_cover(writer, block->index);
		vdb_batch_read(batch, mover->range * VDB_RANGE_LBS + block->index, NULL,
					   mover->oldest_xmin, true);
		for (int i = 0; i < batch->nrows; i++)
		{
			CHECK_FOR_INTERRUPTS();
			build_row(mover, block, batch, i, slot, writer);
		}
		ExecClearTuple(slot);
	}
	ExecDropSingleTupleTableSlot(slot);
	vdb_batch_free(batch);
	return writer;
}

/* ---- 3. durable, unseen ---- */

static bool
build_unit(Mover *mover, MovingBlock *block)
{
	bool		any_gone = (block->gone[0] | block->gone[1] | block->gone[2] | block->gone[3]) != 0;

	block->overlay_block = VDB_BLOCK_NONE;
	block->overlay_offset = 0;
	block->stale = false;
	if (block->nstubs == 0 && !any_gone)
		return true;
	return vdb_overlay_build(&mover->ref, mover->range * VDB_RANGE_LBS + block->index,
							 block->stubs, block->nstubs, block->gone,
							 &block->overlay_block, &block->overlay_offset);
}

static bool
build_units(Mover *mover)
{
	for (int b = 0; b < mover->nblocks; b++)
		if (!build_unit(mover, &mover->blocks[b]))
			return false;
	return true;
}

static bool
finish_stripe(Mover *mover, VdbStripeWriter *writer)
{
	VdbStripeMeta *meta = &mover->built.meta;

	if (mover->rows_written == 0)
	{
		vdb_stripe_writer_abort(writer);
		mover->meta_block = VDB_BLOCK_NONE;
		return true;
	}
	VDB_STOP_POINT("migrate_before_stripe");
	vdb_stripe_writer_finish(writer, &mover->built);
	VDB_STOP_POINT("migrate_after_stripe");
	meta->incarnation = mover->incarnation;
	meta->written_at = GetCurrentTimestamp();
	if (mover->unsettled)
		meta->flags |= VDB_STRIPE_UNSETTLED;
	mover->meta_block = vdb_map_store_meta(&mover->ref, meta, mover->built.zones);
	VDB_STOP_POINT("migrate_after_meta");
	return mover->meta_block != VDB_BLOCK_NONE;
}

/* ---- 4. compare ---- */

#define VDB_XMAX_HINTS	(HEAP_XMAX_COMMITTED | HEAP_XMAX_INVALID)

static const VdbStub *
find_stub(const MovingBlock *block, uint8 index)
{
	for (int i = 0; i < block->nstubs; i++)
		if (block->stubs[i].index == index)
			return &block->stubs[i];
	return NULL;
}

/* Does the stub built for a version still say what its header says now? */
static bool
same_as_built(const VdbStub *built, const VdbVersion *now, uint32 incarnation)
{
	VdbStub		stub;

	if (built == NULL)
		return !needs_stub(&now->hdr);
	if (!needs_stub(&now->hdr))
		return true;			/* its xmax has failed since: the stub will show that too */
	vdb_version_to_stub(now, incarnation, &stub);
	return stub.xmax == built->xmax && stub.cid == built->cid &&
		stub.flags == built->flags && stub.next_lb == built->next_lb &&
		stub.next_index == built->next_index && stub.infomask2 == built->infomask2 &&
		((stub.infomask ^ built->infomask) & ~VDB_XMAX_HINTS) == 0;
}

/*
 * Re-read one block's headers, row lock held exclusive.  If anything changed
 * since it was built, take down what its unit must say.
 */
static void
compare_block(Mover *mover, MovingBlock *block)
{
	VdbVersion	version;
	VdbStub    *stubs = NULL;
	int			nstubs = 0;
	uint64		gone[4] = {0};
	VdbLogicalBlock lb = mover->range * VDB_RANGE_LBS + block->index;

	for (int i = 0; i < VDB_LB_ROWS; i++)
	{
		uint64		mask = UINT64CONST(1) << (i & 63);

		if (!(block->present[i >> 6] & mask))
			continue;
		if (!vdb_table_version(mover->rel, &mover->ref, vdb_row_make(lb, (uint8) i), &version))
		{
			gone[i >> 6] |= mask;
			if (!(block->gone[i >> 6] & mask))
				block->stale = true;
			continue;
		}
		if (!same_as_built(find_stub(block, (uint8) i), &version, mover->incarnation))
			block->stale = true;
		if (needs_stub(&version.hdr))
		{
			if (stubs == NULL)
				stubs = MemoryContextAlloc(mover->context, sizeof(VdbStub) * VDB_LB_ROWS);
			vdb_version_to_stub(&version, mover->incarnation, &stubs[nstubs++]);
		}
	}
	if (!block->stale)
	{
		if (stubs != NULL)
			pfree(stubs);
		return;
	}
	if (block->stubs != NULL)
		pfree(block->stubs);
	block->stubs = stubs;
	block->nstubs = nstubs;
	memcpy(block->gone, gone, sizeof(gone));
}

static bool
compare_all(Mover *mover)
{
	bool		stale = false;

	for (int b = 0; b < mover->nblocks; b++)
	{
		compare_block(mover, &mover->blocks[b]);
		stale = stale || mover->blocks[b].stale;
	}
	return !stale;
}

/* ---- 5. switch ---- */

/* Give back a unit that nobody refers to.  No row or map lock held. */
static void
free_unit(Mover *mover, MovingBlock *block, VdbBlock unit_block, uint16 unit_offset)
{
	if (unit_block != VDB_BLOCK_NONE)
		vdb_overlay_release(&mover->ref, mover->range * VDB_RANGE_LBS + block->index,
							unit_block, unit_offset);
}

/* The units that the entries name now, under their row locks: one may have grown since it was first seen. */
static void
note_old_units(Mover *mover)
{
	for (int b = 0; b < mover->nblocks; b++)
	{
		MovingBlock *block = &mover->blocks[b];
		VdbExtent	extent;

		vdb_map_lookup(&mover->ref, mover->range * VDB_RANGE_LBS + block->index, &extent);
		block->old_overlay_block = extent.overlay_block;
		block->old_overlay_offset = extent.overlay_offset;
	}
}

static void
fill_delta(const Mover *mover, VdbTableDelta *delta)
{
	memset(delta, 0, sizeof(VdbTableDelta));
	delta->dead_rows = mover->dropped;
	delta->rows_migrated = mover->rows_from_scm;
	delta->stripe_bytes = (int64) mover->built.meta.stripe_bytes;
	delta->row_bytes = (int64) mover->raw_bytes;
	delta->flash_rows = mover->rows_written - mover->merged_rows;
	delta->flash_stripes = (mover->meta_block != VDB_BLOCK_NONE ? 1 : 0) - mover->whole_metas;
	delta->last_migration = GetCurrentTimestamp();
}

static void
do_switch(Mover *mover, const uint8 *indexes)
{
	VdbBlock	overlay_blocks[VDB_RANGE_LBS];
	uint16		overlay_offsets[VDB_RANGE_LBS];
	VdbTableDelta delta;
	VdbScmChange *change;

	for (int b = 0; b < mover->nblocks; b++)
	{
		overlay_blocks[b] = mover->blocks[b].overlay_block;
		overlay_offsets[b] = mover->blocks[b].overlay_offset;
	}
	count_whole_metas(mover);
	fill_delta(mover, &delta);
	LWLockAcquire(vdb_map_lock(mover->ref.slot), LW_EXCLUSIVE);
	change = vdb_scm_change_begin(mover->ref.pool, VDB_CHANGE_FLUSH);
	vdb_map_switch(change, &mover->ref, mover->range, indexes, mover->nblocks,
				   mover->meta_block != VDB_BLOCK_NONE ? VDB_EXTENT_STRIPE : VDB_EXTENT_GONE,
				   mover->meta_block, overlay_blocks, overlay_offsets);
	vdb_map_table_count(change, &mover->ref, &delta);
	vdb_scm_change_conflict(change, mover->latest_removed);
	for (int s = 0; s < mover->nsegments; s++)
		vdb_scm_change_free_segment(change, mover->segments[s]);
	vdb_scm_change_end(change);
	LWLockRelease(vdb_map_lock(mover->ref.slot));
}

/* Steps 4 and 5.  False: the pool has no room for an overlay unit; nothing was switched. */
static bool
switch_range(Mover *mover)
{
	uint8		indexes[VDB_RANGE_LBS];

	for (int b = 0; b < mover->nblocks; b++)
		indexes[b] = mover->blocks[b].index;
	for (int attempt = 1;; attempt++)
	{
		bool		built = true;

		/* all WAL up to here goes first, so that the flush under the locks is short */
		XLogFlush(vdb_wal_end());
		VDB_STOP_POINT("migrate_before_switch");
		vdb_map_lock_lbs(&mover->ref, mover->range, indexes, mover->nblocks);
		if (compare_all(mover))
			break;
		if (attempt < VDB_SWITCH_ATTEMPTS)
			vdb_map_unlock_lbs(&mover->ref, mover->range, indexes, mover->nblocks);
		for (int b = 0; b < mover->nblocks && built; b++)
		{
			MovingBlock *block = &mover->blocks[b];
			VdbBlock	old_block = block->overlay_block;
			uint16		old_offset = block->overlay_offset;

			if (!block->stale)
				continue;
			built = build_unit(mover, block);
			/* under the locks it stays for the next run's sweep */
			if (attempt < VDB_SWITCH_ATTEMPTS)
				free_unit(mover, block, old_block, old_offset);
		}
		if (attempt >= VDB_SWITCH_ATTEMPTS)
		{
			if (built)
				break;
			vdb_map_unlock_lbs(&mover->ref, mover->range, indexes, mover->nblocks);
		}
		if (!built)
			return false;
	}
	note_old_units(mover);
	do_switch(mover, indexes);
	vdb_map_unlock_lbs(&mover->ref, mover->range, indexes, mover->nblocks);
	VDB_STOP_POINT("migrate_after_switch");
	return true;
}

/* ---- 6. what is left over ---- */

static void
clean_up(Mover *mover, bool switched)
{
	for (int b = 0; b < mover->nblocks; b++)
	{
		MovingBlock *block = &mover->blocks[b];

		if (switched)
			free_unit(mover, block, block->old_overlay_block, block->old_overlay_offset);
		else
			free_unit(mover, block, block->overlay_block, block->overlay_offset);
	}
	if (!switched)
	{
		if (mover->meta_block != VDB_BLOCK_NONE)
			vdb_map_free_meta(&mover->ref, mover->meta_block);
		return;
	}
	for (int m = 0; m < mover->nmetas; m++)
		(void) vdb_map_free_meta_if_unused(&mover->ref, mover->metas[m]);
	VDB_STOP_POINT("migrate_after_free");
}

static void
count_shared(Mover *mover)
{
	VdbPoolShared *shared = vdb_pool_shared(mover->ref.pool);

	pg_atomic_fetch_add_u64(&shared->counters.rows_migrated, (uint64) mover->rows_from_scm);
	if (mover->meta_block != VDB_BLOCK_NONE)
	{
		pg_atomic_fetch_add_u64(&shared->counters.stripes_written, 1);
		pg_atomic_fetch_add_u64(&shared->counters.stripe_bytes_written,
								mover->built.meta.stripe_bytes);
	}
	if (mover->nsegments > 0)
		ConditionVariableBroadcast(&shared->space_cv);
}

static int64
move_range(Mover *mover, int *freed)
{
	VdbStripeWriter *writer;
	bool		done;

	choose_blocks(mover);
	if (mover->nblocks == 0)
		return 0;
	writer = build_stripe(mover);
	done = finish_stripe(mover, writer) && build_units(mover) && switch_range(mover);
	clean_up(mover, done);
	if (!done)
		return 0;
	count_shared(mover);
	*freed += mover->nsegments;
	return mover->rows_from_scm;
}

int64
vdb_migrate_range(Relation rel, const VdbTableRef *ref, uint32 range, int flags, int *freed)
{
	Mover	   *mover;
	MemoryContext context;
	MemoryContext old;
	int64		moved;

	context = AllocSetContextCreate(CurrentMemoryContext, "vdb migrate range",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	mover = palloc0(sizeof(Mover));
	mover->rel = rel;
	mover->ref = *ref;
	mover->range = range;
	mover->flags = flags;
	mover->context = context;
	mover->blocks = palloc(sizeof(MovingBlock) * VDB_RANGE_LBS);
	mover->incarnation = vdb_incarnation_current(ref->pool);
	mover->oldest_xmin = GetOldestNonRemovableTransactionId(rel);
	mover->latest_removed = InvalidTransactionId;
	moved = move_range(mover, freed);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return moved;
}
