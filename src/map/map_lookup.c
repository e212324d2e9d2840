/*-------------------------------------------------------------------------
 *
 * map_lookup.c
 *	  From a logical block to the place of its rows.
 *
 * Child pointers and the root are published after what they point to, so readers descend without
 * the map lock.  Nodes are given back while the tree is read (map_range.c).  The change that does
 * so first unlinks them, then counts that in the entry, and only afterwards can their blocks be
 * used again.  So a reader notes the count before it reads the root.  Whatever it has read is right
 * if the count is still the same then; else it begins again.  It follows no pointer before it has
 * checked that.  (The block of a node that was just given back may be read, as the pool does not
 * become shorter while a process uses it.)
 *
 * A node contains its own height; entry.height isn't used here, because it can't be read together
 * with the root.  The map entry at the end is guarded by the block lock of its logical block.
 *
 * Every node is checked before it is used: its magic and version, and that it belongs to this table
 * in this generation.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "map/map_internal.h"

/* ---- reading nodes while some are given back ---- */

/* Begin to read the tree: return the count of freed nodes. */
static inline uint32
begin_reading(const VdbTableRef *ref)
{
	uint32		freed = *(const volatile uint32 *) &vdb_map_table_entry(ref)->nodes_freed;

	pg_read_barrier();
	return freed;
}

/* Return whether nodes were freed since the reading began; then what was read may be wrong. */
static inline bool
nodes_were_freed(const VdbTableRef *ref, uint32 freed)
{
	pg_read_barrier();
	return unlikely(*(const volatile uint32 *) &vdb_map_table_entry(ref)->nodes_freed != freed);
}

/*
 * Return the inner node in a block, or NULL if nodes were freed meanwhile.  'block' and 'height'
 * are as for vdb_map_inner.  Raises an error for damage.
 */
static const VdbInnerNode *
read_inner(const VdbTableRef *ref, uint32 freed, VdbBlock block, uint32 height)
{
	const VdbInnerNode *node;

	if (nodes_were_freed(ref, freed))
		return NULL;
	node = vdb_map_body(ref->pool, block);
	if (vdb_map_head_fits(ref, node, VDB_INNER_MAGIC, VDB_MAP_VERSION) &&
		(height == 0 || node->height == height))
		return node;
	if (nodes_were_freed(ref, freed))
		return NULL;
	return vdb_map_inner(ref, block, height);
}

/*
 * Read the root, and its height (0: a range node, or there is no tree).  Returns false if nodes
 * were freed meanwhile.
 */
static bool
read_root(const VdbTableRef *ref, uint32 freed, VdbBlock *root, uint32 *height)
{
	const VdbInnerNode *node;

	*root = vdb_map_read_pointer(&vdb_map_table_entry(ref)->root);
	*height = 0;
	if (*root == VDB_BLOCK_NONE)
		return true;
	if (nodes_were_freed(ref, freed))
		return false;
	if (vdb_map_is_range(ref->pool, *root))
		return !nodes_were_freed(ref, freed);
	node = read_inner(ref, freed, *root, 0);
	if (node == NULL)
		return false;
	*height = node->height;
	return !nodes_were_freed(ref, freed);
}

/*
 * Find the node of this height that leads to the range, or is its own (height 0).  *found is
 * VDB_BLOCK_NONE if the tree has none.  Returns false if nodes were freed meanwhile.
 */
static bool
descend(const VdbTableRef *ref, uint32 freed, uint32 range, uint32 height, VdbBlock *found)
{
	VdbBlock	block;
	uint32		at;

	*found = VDB_BLOCK_NONE;
	if (!read_root(ref, freed, &block, &at))
		return false;
	if (block == VDB_BLOCK_NONE || range >= vdb_map_capacity(at) || at < height)
		return true;
	for (; at > height && block != VDB_BLOCK_NONE; at--)
	{
		const VdbInnerNode *node = read_inner(ref, freed, block, at);

		if (node == NULL)
			return false;
		block = vdb_map_read_pointer(&node->children[vdb_map_child_index(range, at)]);
	}
	*found = block;
	return !nodes_were_freed(ref, freed);
}

/*
 * Return the block of the tree's node of this height that leads to the range, or is the range's own
 * (height 0); VDB_BLOCK_NONE if there is none.  The node itself isn't checked yet.
 */
VdbBlock
vdb_map_node_block(const VdbTableRef *ref, uint32 range, uint32 height)
{
	VdbBlock	found;

	while (!descend(ref, begin_reading(ref), range, height, &found))
		;
	return found;
}

/*
 * Return the range's node in a block, or NULL if nodes were freed since the reading began.  Raises
 * an error for damage.
 */
static const VdbRangeNode *
read_range(const VdbTableRef *ref, uint32 freed, VdbBlock block, uint32 range)
{
	const VdbRangeNode *node = vdb_map_body(ref->pool, block);

	if (vdb_map_head_fits(ref, node, VDB_RANGE_MAGIC, VDB_MAP_VERSION) && node->range == range)
		return node;
	if (nodes_were_freed(ref, freed))
		return NULL;
	return vdb_map_range(ref, block, range);
}

/*
 * Copy n entries of a range's node, from 'first' on, and return true with the node's block in
 * *node.  Returns false if the range has no node.  Entries whose block lock the caller does not
 * hold may change meanwhile.  Raises an error for damage.
 */
bool
vdb_map_read_entries(const VdbTableRef *ref, uint32 range, int first, int n, VdbMapEntry *entries,
					 VdbBlock *node)
{
	Assert(first >= 0 && n > 0 && first + n <= VDB_RANGE_LBS);
	for (;;)
	{
		uint32		freed = begin_reading(ref);
		const VdbRangeNode *from;

		if (!descend(ref, freed, range, 0, node))
			continue;
		if (*node == VDB_BLOCK_NONE)
			return false;
		from = read_range(ref, freed, *node, range);
		if (from == NULL)
			continue;
		memcpy(entries, &from->entries[first], n * sizeof(VdbMapEntry));
		if (!nodes_were_freed(ref, freed))
			return true;
	}
}

/* ---- look-up ---- */

/* Raise an error if the entry of a logical block, the index-th of its range, can't be right. */
static void
check_map_entry(VdbBlock block, const VdbMapEntry *entry, uint8 index)
{
	if (entry->kind > VDB_EXTENT_REMOVED)
		vdb_map_damaged(block, "map entry", "kind", VDB_EXTENT_REMOVED, entry->kind);
	if (entry->kind == VDB_EXTENT_SEGMENT && entry->first > index)
		vdb_map_damaged(block, "map entry", "first", index, entry->first);
	if ((entry->kind == VDB_EXTENT_SEGMENT || entry->kind == VDB_EXTENT_STRIPE) !=
		(entry->ref != VDB_BLOCK_NONE))
		vdb_map_damaged(block, "map entry", "kind", VDB_EXTENT_NONE, entry->kind);
}

/*
 * Look up the place of a logical block's rows.  The caller holds its block lock, in either mode.  A
 * logical block that was never handed out has VDB_EXTENT_NONE, and so has one whose range has given
 * back its node, as all of its rows are removed.  Raises an error on damage.
 */
void
vdb_map_lookup(const VdbTableRef *ref, VdbLogicalBlock lb, VdbExtent *extent)
{
	uint32		range = vdb_lb_range(lb);
	uint8		index = vdb_lb_index(lb);
	VdbMapEntry entry;
	VdbBlock	block;

	memset(extent, 0, sizeof(VdbExtent));
	extent->lb = lb;
	if (lb >= vdb_map_limit(ref) ||
		!vdb_map_read_entries(ref, range, index, 1, &entry, &block))
		return;
	check_map_entry(block, &entry, index);
	extent->kind = entry.kind;
	extent->ref = entry.ref;
	if (entry.kind == VDB_EXTENT_SEGMENT)
		extent->first_lb = range * VDB_RANGE_LBS + entry.first;
	extent->overlay_block = entry.overlay_block;
	extent->overlay_offset = entry.overlay_offset;
	extent->overlay_epoch = entry.overlay_epoch;
	extent->spilled = (entry.flags & VDB_ENTRY_SPILLED) != 0;
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

/* ---- skipping ---- */

/* A search for the next range. */
typedef struct RangeSearch
{
	const VdbTableRef *ref;
	uint32		freed;				/* count of freed nodes when the search began */
	uint64		from;				/* first range of interest */
	uint64		found;				/* or PG_UINT64_MAX */
} RangeSearch;

/*
 * Find the first range from search->from on below this node, whose own first range is 'base'.
 * Returns false if nodes were freed meanwhile.
 */
static bool
search_below(RangeSearch *search, VdbBlock block, uint32 height, uint64 base)
{
	const VdbInnerNode *node;
	uint64		width;
	uint32		first = 0;

	if (height == 0)
	{
		if (base >= search->from)
			search->found = base;
		return !nodes_were_freed(search->ref, search->freed);
	}
	node = read_inner(search->ref, search->freed, block, height);
	if (node == NULL)
		return false;
	width = vdb_map_capacity(height - 1);
	if (search->from > base)
		first = (uint32) Min((search->from - base) / width, VDB_INNER_FANOUT);
	for (uint32 i = first; i < VDB_INNER_FANOUT && search->found == PG_UINT64_MAX; i++)
	{
		VdbBlock	child = vdb_map_read_pointer(&node->children[i]);

		if (child == VDB_BLOCK_NONE)
			continue;
		if (nodes_were_freed(search->ref, search->freed) ||
			!search_below(search, child, height - 1, base + i * width))
			return false;
	}
	return !nodes_were_freed(search->ref, search->freed);
}

/* Do one search; returns false if nodes were freed meanwhile. */
static bool
search_once(RangeSearch *search)
{
	VdbBlock	root;
	uint32		height;

	search->freed = begin_reading(search->ref);
	search->found = PG_UINT64_MAX;
	if (!read_root(search->ref, search->freed, &root, &height))
		return false;
	return root == VDB_BLOCK_NONE || search_below(search, root, height, 0);
}

/* See map.h. */
bool
vdb_map_next_range(const VdbTableRef *ref, uint32 *range)
{
	VdbLogicalBlock limit = vdb_map_limit(ref);
	RangeSearch search = {ref, 0, *range, 0};

	if ((uint64) *range * VDB_RANGE_LBS >= limit)
		return false;
	if (vdb_map_range_block(ref, *range) != VDB_BLOCK_NONE)
		return true;
	while (!search_once(&search))
		;
	if (search.found > (limit - 1) / VDB_RANGE_LBS)
		return false;
	*range = (uint32) search.found;
	return true;
}

/*
 * Return the index of the first logical block of a range, from 'index' on, that has rows; or
 * VDB_RANGE_LBS.  A block whose entry is of no known kind counts: looking it up raises an error.
 */
static int
next_in_range(const VdbTableRef *ref, uint32 range, int index)
{
	for (;;)
	{
		uint32		freed = begin_reading(ref);
		const VdbRangeNode *node;
		VdbBlock	block;
		int			i;

		if (!descend(ref, freed, range, 0, &block))
			continue;
		if (block == VDB_BLOCK_NONE)
			return VDB_RANGE_LBS;
		node = read_range(ref, freed, block, range);
		for (i = index; node != NULL && i < VDB_RANGE_LBS; i++)
		{
			uint8		kind = *(const volatile uint8 *) &node->entries[i].kind;

			if (kind != VDB_EXTENT_NONE && kind != VDB_EXTENT_REMOVED)
				break;
		}
		if (node != NULL && !nodes_were_freed(ref, freed))
			return i;
	}
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
