/*-------------------------------------------------------------------------
 *
 * map_range.c
 *	  Giving back the nodes of ranges that have no rows any more.
 *
 * A row number is never given out again.  So a range all of whose numbers were handed out, and all
 * of whose rows are removed, stays as it is for ever, and its node says no more than that it isn't
 * there: a look-up finds no rows either way.  Index entries may still name its row numbers.  They
 * are found dead, as before.
 *
 * One flushed change unlinks the node, and the nodes above it that have no other child, frees their
 * blocks, and counts this in the table's entry.  A crash leaves either all or nothing of it.  A
 * crash between the removal of the last row and this change leaves a node without rows, which the
 * next migration of the table finds.
 *
 * The map lock, held exclusive, keeps the range's entries as they are: claims and switches need it.
 * Readers hold no lock that is taken here; see map_lookup.c for what they do.  The claim that needs
 * an inner node again makes a new one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/vdb_stop_point.h"
#include "map/map_internal.h"

/* The nodes from the root down to a range's, and where the pointer to each of them stands. */
typedef struct NodePath
{
	uint32		height;				/* of the root */
	VdbBlock	blocks[VDB_MAP_MAX_HEIGHT + 1]; /* by height */
	VdbBlock	link_blocks[VDB_MAP_MAX_HEIGHT + 1];
	uint16		link_offsets[VDB_MAP_MAX_HEIGHT + 1];
} NodePath;

/*
 * Find the path to a range's node.  The map lock is held.  Returns false if there is no such node.
 */
static bool
find_path(const VdbTableRef *ref, uint32 range, NodePath *path)
{
	VdbBlock	link_block = ref->entry_block;
	uint16		link_offset = VDB_TABLE_FIELD(ref, root);
	VdbBlock	block = vdb_map_table_entry(ref)->root;

	if (block == VDB_BLOCK_NONE)
		return false;
	path->height = vdb_map_is_range(ref->pool, block) ? 0 : vdb_map_inner(ref, block, 0)->height;
	if (range >= vdb_map_capacity(path->height))
		return false;
	for (uint32 height = path->height;; height--)
	{
		uint32		child;

		path->blocks[height] = block;
		path->link_blocks[height] = link_block;
		path->link_offsets[height] = link_offset;
		if (height == 0)
			return true;
		child = vdb_map_child_index(range, height);
		link_block = block;
		link_offset = VDB_MAP_CHILD_OFFSET(child);
		block = vdb_map_inner(ref, block, height)->children[child];
		if (block == VDB_BLOCK_NONE)
			return false;
	}
}

/* Return whether no logical block of the range's node has rows.  The map lock is held exclusive. */
static bool
has_no_rows(const VdbTableRef *ref, VdbBlock block, uint32 range)
{
	const VdbRangeNode *node = vdb_map_range(ref, block, range);

	for (int i = 0; i < VDB_RANGE_LBS; i++)
	{
		uint8		kind = *(const volatile uint8 *) &node->entries[i].kind;

		if (kind != VDB_EXTENT_NONE && kind != VDB_EXTENT_REMOVED)
			return false;
	}
	return true;
}

/* Return whether an inner node has only one child. */
static bool
has_one_child(const VdbInnerNode *node)
{
	int			children = 0;

	for (int i = 0; i < VDB_INNER_FANOUT && children < 2; i++)
		children += node->children[i] != VDB_BLOCK_NONE;
	return children == 1;
}

/*
 * Unlink and free the lowest nodes of the path, up to the last one that leads to the range alone.
 */
static void
free_path(const VdbTableRef *ref, const NodePath *path)
{
	VdbBlock	none = VDB_BLOCK_NONE;
	uint32		freed = vdb_map_table_entry(ref)->nodes_freed + 1;
	uint32		top = 0;
	VdbScmChange *change;

	while (top < path->height &&
		   has_one_child(vdb_map_inner(ref, path->blocks[top + 1], top + 1)))
		top++;
	change = vdb_scm_change_begin(ref->pool, VDB_CHANGE_FLUSH);
	vdb_scm_change_publish(change, path->link_blocks[top], path->link_offsets[top],
						   &none, sizeof(none));
	if (top == path->height)
	{
		uint32		height = 0;

		vdb_scm_change_write(change, ref->entry_block, VDB_TABLE_FIELD(ref, height),
							 &height, sizeof(height));
	}
	for (uint32 height = 0; height <= top; height++)
		vdb_scm_change_free_block(change, path->blocks[height]);
	vdb_scm_change_last(change, ref->entry_block, VDB_TABLE_FIELD(ref, nodes_freed),
						&freed, sizeof(freed));
	vdb_scm_change_end(change);
}

/* See map.h. */
bool
vdb_map_free_range(const VdbTableRef *ref, uint32 range)
{
	LWLock	   *lock = vdb_map_lock(ref->slot);
	NodePath	path;
	bool		freed = false;

	(void) vdb_epoch_current(ref->pool);
	LWLockAcquire(lock, LW_EXCLUSIVE);
	vdb_map_check_ref(ref);
	if (vdb_map_limit(ref) / VDB_RANGE_LBS > range && find_path(ref, range, &path) &&
		has_no_rows(ref, path.blocks[0], range))
	{
		Assert((vdb_map_table_entry(ref)->flags & VDB_TABLE_EMPTYING) == 0);
		free_path(ref, &path);
		freed = true;
	}
	LWLockRelease(lock);
	return freed;
}
