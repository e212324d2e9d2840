/*-------------------------------------------------------------------------
 *
 * map_blocks.c
 *	  Walk over every block that a table has in the pool, to compare with the allocation map.
 *
 * The tree is walked without the map lock, since it only grows while the table is in use.  Logical
 * blocks are looked at under their block locks, one at a time, and the table's lists under the map
 * lock.  So nothing that is referred to can be freed while it is looked at, but what moves may be
 * met twice or not at all.
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

/* Walk over a range node and what its entries refer to. */
static void
walk_range(BlockWalk *walk, VdbBlock block, uint32 range)
{
	const VdbTableRef *ref = walk->ref;

	walk->report(block, false, walk->arg);
	(void) vdb_map_range(ref, block, range);
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

/* Walk over a node of the tree and everything below it. */
static void
walk_node(BlockWalk *walk, VdbBlock block, uint32 height, uint64 first_range)
{
	const VdbInnerNode *node;

	CHECK_FOR_INTERRUPTS();
	check_number(walk, block, "map node");
	if (height == 0)
	{
		walk_range(walk, block, (uint32) first_range);
		return;
	}
	node = vdb_map_inner(walk->ref, block, height);
	walk->report(block, false, walk->arg);
	for (uint32 i = 0; i < VDB_INNER_FANOUT; i++)
	{
		VdbBlock	child = vdb_map_read_pointer(&node->children[i]);

		if (child != VDB_BLOCK_NONE)
			walk_node(walk, child, height - 1, first_range + i * vdb_map_capacity(height - 1));
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
	VdbBlock	root;
	uint32		height = 0;

	vdb_map_check_ref(ref);
	root = vdb_map_read_pointer(&vdb_map_table_entry(ref)->root);
	if (root != VDB_BLOCK_NONE)
	{
		check_number(&walk, root, "map node");
		if (!vdb_map_is_range(ref->pool, root))
			height = vdb_map_inner(ref, root, 0)->height;
		walk_node(&walk, root, height, 0);
	}
	LWLockAcquire(vdb_map_lock(ref->slot), LW_SHARED);
	vdb_map_check_ref(ref);
	walk_lists(&walk);
	LWLockRelease(vdb_map_lock(ref->slot));
}

/* See map.h. */
void
vdb_map_directory_blocks(VdbPool *pool, VdbMapBlock report, void *arg)
{
	VdbBlock	block = vdb_pool_directory(pool);
	uint32		left = vdb_pool_total_blocks(pool);

	for (; block != VDB_BLOCK_NONE && left > 0; left--)
	{
		const VdbDirectoryBlock *dir;

		CHECK_FOR_INTERRUPTS();
		if (block >= vdb_pool_total_blocks(pool))
			vdb_map_damaged(block, "table directory", "block", vdb_pool_total_blocks(pool), block);
		dir = vdb_map_directory_block(pool, block);
		report(block, false, arg);
		block = vdb_map_read_pointer(&dir->next);
	}
}
