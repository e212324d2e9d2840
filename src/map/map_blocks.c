/*-------------------------------------------------------------------------
 *
 * map_blocks.c
 *	  Walk over every block that a table has in the pool, to compare with the allocation map.
 *
 * The tree is walked without the map lock, range by range.  Logical blocks are looked at under
 * their block locks, one at a time, and the table's lists under the map lock.  So nothing that is
 * referred to can be freed while it is looked at, but what moves may be met twice or not at all,
 * and a node of the tree may be given back after it was met.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "map/map_internal.h"

/* State of a walk. */
typedef struct BlockWalk
{
	const VdbTableRef *ref;
	VdbMapBlock report;
	void	   *arg;
	int			nmet;				/* segments and metas met in the current range */
	VdbBlock	met[VDB_RANGE_LBS];
} BlockWalk;

/* Raise an error unless the number is that of a block in the pool. */
static void
check_number(const BlockWalk *walk, VdbBlock block, const char *structure)
{
	if (block == VDB_BLOCK_NONE || block >= vdb_pool_total_blocks(walk->ref->pool))
		vdb_map_damaged(block, structure, "block", vdb_pool_total_blocks(walk->ref->pool), block);
}

/* Report a stripe's meta and its continuations. */
static void
walk_meta(const BlockWalk *walk, VdbBlock block)
{
	const VdbStripeMeta *meta;

	check_number(walk, block, "stripe metadata");
	meta = vdb_map_meta(walk->ref->pool, block);
	walk->report(block, false, walk->arg);
	for (int i = 0; i < meta->ncontinuations; i++)
	{
		check_number(walk, meta->continuations[i], "zone map");
		walk->report(meta->continuations[i], false, walk->arg);
	}
}

/* Return whether the block is met for the first time in this range, and note it. */
static bool
is_new(BlockWalk *walk, VdbBlock block)
{
	for (int i = walk->nmet; i-- > 0;)
		if (walk->met[i] == block)
			return false;
	walk->met[walk->nmet++] = block;
	return true;
}

/* Walk over what the entries of a range refer to. */
static void
walk_range(BlockWalk *walk, uint32 range)
{
	const VdbTableRef *ref = walk->ref;

	walk->nmet = 0;
	for (uint32 i = 0; i < VDB_RANGE_LBS; i++)
	{
		VdbLogicalBlock lb = range * VDB_RANGE_LBS + i;
		VdbExtent	extent;

		vdb_lock_block(ref, lb, LW_SHARED);
		vdb_map_lookup(ref, lb, &extent);
		if (extent.kind == VDB_EXTENT_SEGMENT && is_new(walk, extent.ref))
		{
			check_number(walk, extent.ref, "segment");
			walk->report(extent.ref, true, walk->arg);
		}
		else if (extent.kind == VDB_EXTENT_STRIPE && is_new(walk, extent.ref))
			walk_meta(walk, extent.ref);
		vdb_unlock_block(ref, lb);
	}
}

/*
 * Report the tree's nodes on the way to a range that were not on the way to the one before
 * ('previous', or PG_UINT64_MAX), as far as they are still there.
 */
static void
walk_path(const BlockWalk *walk, uint32 range, uint64 previous)
{
	for (uint32 height = 0; height <= VDB_MAP_MAX_HEIGHT; height++)
	{
		VdbBlock	block;

		if (previous != PG_UINT64_MAX &&
			range / vdb_map_capacity(height) == previous / vdb_map_capacity(height))
			break;
		block = vdb_map_node_block(walk->ref, range, height);
		if (block == VDB_BLOCK_NONE)
			continue;
		check_number(walk, block, "map node");
		walk->report(block, false, walk->arg);
	}
}

/* Walk over the tree, range by range. */
static void
walk_tree(BlockWalk *walk)
{
	uint64		previous = PG_UINT64_MAX;

	for (uint32 range = 0; vdb_map_next_range(walk->ref, &range); range++)
	{
		CHECK_FOR_INTERRUPTS();
		walk_path(walk, range, previous);
		walk_range(walk, range);
		previous = range;
	}
}

/*
 * Walk over metas that no map entry refers to, free page runs, and the overlay's slabs.  The map
 * lock is held shared.
 */
static void
walk_lists(const BlockWalk *walk)
{
	const VdbTableEntry *entry = vdb_map_table_entry(walk->ref);
	VdbPool    *pool = walk->ref->pool;
	uint32		left = vdb_pool_total_blocks(pool);

	for (VdbBlock block = entry->pending_meta; block != VDB_BLOCK_NONE && left > 0; left--)
	{
		walk_meta(walk, block);
		block = vdb_map_meta(pool, block)->pending_next;
	}
	if (entry->free_pages != VDB_BLOCK_NONE)
	{
		check_number(walk, entry->free_pages, "free pages");
		walk->report(entry->free_pages, false, walk->arg);
	}
	for (int list = 0; list < VDB_TABLE_LISTS; list++)
		for (VdbBlock block = entry->lists[list]; block != VDB_BLOCK_NONE && left > 0; left--)
		{
			check_number(walk, block, "slab of block deltas");
			walk->report(block, false, walk->arg);
			block = ((const VdbListedBlock *) vdb_map_body(pool, block))->next;
		}
}

/* See map.h. */
void
vdb_map_blocks(const VdbTableRef *ref, VdbMapBlock report, void *arg)
{
	BlockWalk	walk = {ref, report, arg, 0, {0}};

	vdb_map_check_ref(ref);
	if (!vdb_map_table_reachable(ref->pool, ref->slot))
		vdb_map_damaged(ref->entry_block, "table directory", "bucket", ref->slot, 0);
	walk_tree(&walk);
	LWLockAcquire(vdb_map_lock(ref->slot), LW_SHARED);
	vdb_map_check_ref(ref);
	walk_lists(&walk);
	LWLockRelease(vdb_map_lock(ref->slot));
}
