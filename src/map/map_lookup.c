/*-------------------------------------------------------------------------
 *
 * map_lookup.c
 *	  From a logical block to the place of its rows.
 *
 * The radix tree only grows while its table is in use.  Child pointers and the root are published
 * after what they point to, so readers descend without the map lock.  A node contains its own
 * height; entry.height isn't used here, because it can't be read together with the root.  The map
 * entry at the end is guarded by the block lock of its logical block.
 *
 * Every node is checked before it is used: its magic and version, and that it belongs to this table
 * in this generation.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "map/map_internal.h"

/*
 * Return the block of the range's node, or VDB_BLOCK_NONE if the tree has none.  The node itself
 * isn't checked yet.
 */
VdbBlock
vdb_map_range_block(const VdbTableRef *ref, uint32 range)
{
	VdbBlock	block = vdb_map_read_pointer(&vdb_map_table_entry(ref)->root);
	uint32		height;

	if (block == VDB_BLOCK_NONE)
		return VDB_BLOCK_NONE;
	if (vdb_map_is_range(ref->pool, block))
		return range == 0 ? block : VDB_BLOCK_NONE;

	height = vdb_map_inner(ref, block, 0)->height;
	if (range >= vdb_map_capacity(height))
		return VDB_BLOCK_NONE;
	for (; height > 0 && block != VDB_BLOCK_NONE; height--)
	{
		const VdbInnerNode *node = vdb_map_inner(ref, block, height);

		block = vdb_map_read_pointer(&node->children[vdb_map_child_index(range, height)]);
	}
	return block;
}

/*
 * Look up the place of a logical block's rows.  The caller holds its block lock, in either mode.  A
 * logical block that was never handed out has VDB_EXTENT_NONE.  Raises an error on damage.
 */
void
vdb_map_lookup(const VdbTableRef *ref, VdbLogicalBlock lb, VdbExtent *extent)
{
	uint32		range = vdb_lb_range(lb);
	uint8		index = vdb_lb_index(lb);
	const VdbMapEntry *entry;
	VdbBlock	block;

	memset(extent, 0, sizeof(VdbExtent));
	extent->lb = lb;
	if (lb >= vdb_map_limit(ref))
		return;
	block = vdb_map_range_block(ref, range);
	if (block == VDB_BLOCK_NONE)
		return;

	entry = &vdb_map_range(ref, block, range)->entries[index];
	if (entry->kind > VDB_EXTENT_REMOVED)
		vdb_map_damaged(block, "map entry", "kind", VDB_EXTENT_REMOVED, entry->kind);
	if (entry->kind == VDB_EXTENT_SEGMENT && entry->first > index)
		vdb_map_damaged(block, "map entry", "first", index, entry->first);
	if ((entry->kind == VDB_EXTENT_SEGMENT || entry->kind == VDB_EXTENT_STRIPE) !=
		(entry->ref != VDB_BLOCK_NONE))
		vdb_map_damaged(block, "map entry", "kind", VDB_EXTENT_NONE, entry->kind);

	extent->kind = entry->kind;
	extent->ref = entry->ref;
	if (entry->kind == VDB_EXTENT_SEGMENT)
		extent->first_lb = range * VDB_RANGE_LBS + entry->first;
	extent->overlay_block = entry->overlay_block;
	extent->overlay_offset = entry->overlay_offset;
	extent->overlay_epoch = entry->overlay_epoch;
	extent->node = block;
	extent->entry_offset = VDB_MAP_ENTRY_OFFSET(index);
}

/*
 * Return the first logical block that was never handed out.  The caller may hold any lock or none:
 * the limit only rises while the table is in use.
 */
VdbLogicalBlock
vdb_map_limit(const VdbTableRef *ref)
{
	VdbLogicalBlock limit = *(const volatile VdbLogicalBlock *) &vdb_map_table_entry(ref)->next_lb;

	pg_read_barrier();
	return limit;
}

/*
 * Return the first range >= 'from' below this node, or PG_UINT64_MAX.  'base' is the node's first
 * range.
 */
static uint64
next_range_below(const VdbTableRef *ref, VdbBlock block, uint32 height,
				 uint64 base, uint64 from)
{
	const VdbInnerNode *node;
	uint64		width;

	if (height == 0)
		return base >= from ? base : PG_UINT64_MAX;
	node = vdb_map_inner(ref, block, height);
	width = vdb_map_capacity(height - 1);
	for (uint32 i = 0; i < VDB_INNER_FANOUT; i++)
	{
		uint64		first = base + i * width;
		VdbBlock	child = vdb_map_read_pointer(&node->children[i]);
		uint64		found;

		if (child == VDB_BLOCK_NONE || first + width <= from)
			continue;
		found = next_range_below(ref, child, height - 1, first, from);
		if (found != PG_UINT64_MAX)
			return found;
	}
	return PG_UINT64_MAX;
}

/* See map.h. */
bool
vdb_map_next_range(const VdbTableRef *ref, uint32 *range)
{
	VdbLogicalBlock limit = vdb_map_limit(ref);
	VdbBlock	root;
	uint32		height = 0;
	uint64		found;

	if ((uint64) *range * VDB_RANGE_LBS >= limit)
		return false;
	if (vdb_map_range_block(ref, *range) != VDB_BLOCK_NONE)
		return true;
	root = vdb_map_read_pointer(&vdb_map_table_entry(ref)->root);
	if (root == VDB_BLOCK_NONE)
		return false;
	if (!vdb_map_is_range(ref->pool, root))
		height = vdb_map_inner(ref, root, 0)->height;
	found = next_range_below(ref, root, height, 0, *range);
	if (found > (limit - 1) / VDB_RANGE_LBS)
		return false;
	*range = (uint32) found;
	return true;
}

/*
 * Return the index of the first logical block of a range, from 'index' on, that has rows; or
 * VDB_RANGE_LBS.  A block whose entry is of no known kind counts: looking it up raises an error.
 */
static int
next_in_range(const VdbTableRef *ref, uint32 range, int index)
{
	const VdbRangeNode *node = vdb_map_range(ref, vdb_map_range_block(ref, range), range);

	for (; index < VDB_RANGE_LBS; index++)
	{
		uint8		kind = *(const volatile uint8 *) &node->entries[index].kind;

		if (kind != VDB_EXTENT_NONE && kind != VDB_EXTENT_REMOVED)
			break;
	}
	return index;
}

/*
 * See map.h.  Entries are read without their block locks.  This is safe: the kind is one byte, no
 * row is found in a block once its kind is VDB_EXTENT_REMOVED, and blocks below the limit got their
 * entries before the limit rose.
 */
VdbLogicalBlock
vdb_map_next_lb(const VdbTableRef *ref, VdbLogicalBlock lb)
{
	VdbLogicalBlock limit = vdb_map_limit(ref);

	for (uint32 range = vdb_lb_range(lb); vdb_map_next_range(ref, &range); range++)
	{
		int			index = range == vdb_lb_range(lb) ? vdb_lb_index(lb) : 0;

		CHECK_FOR_INTERRUPTS();
		index = next_in_range(ref, range, index);
		if (index < VDB_RANGE_LBS)
			return Min(range * VDB_RANGE_LBS + index, limit);
	}
	return limit;
}
