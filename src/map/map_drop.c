/*-------------------------------------------------------------------------
 *
 * map_drop.c
 *	  Emptying and dropping a table: everything it has is returned to the pool.
 *
 * 1. One flushed change marks the entry: VDB_TABLE_EMPTYING, next_lb 0, and the next generation.
 *    From then on no row can be reached.
 * 2. Steps follow, each one flushed change.  They free pending metas, overlay slabs, the list of
 *    free pages, then the tree from its right end, leaves first.  A step frees what it unlinks in
 *    the same change.  So a crash between two steps leaves nothing that is free and can still be
 *    found, and nothing that can't be found and isn't free.
 * 3. One flushed change clears the mark (reset) or the whole entry (drop).
 *
 * Any process that meets a marked entry (the next drop or reset, or a claim) continues with 2.
 * Steps hold the map lock exclusive and start from the entry, so two processes may even run them at
 * the same time.  The nodes of a marked table still bear the previous generation.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "base/vdb_stop_point.h"
#include "map/map_directory.h"

/* Place of the pointer to a node: in the entry (for the root) or in the parent. */
typedef struct NodeLink
{
	VdbBlock	block;
	uint16		offset;
} NodeLink;

/* Return the reference under which the nodes of a marked table were written. */
static VdbTableRef
ref_before(const VdbTableRef *ref)
{
	VdbTableRef old = *ref;

	old.generation--;
	return old;
}

static inline bool
is_emptying(const VdbTableRef *ref)
{
	return (vdb_map_table_entry(ref)->flags & VDB_TABLE_EMPTYING) != 0;
}

/* Unlink a node and free its block, within the change. */
static void
free_node(VdbScmChange *change, const NodeLink *link, VdbBlock block)
{
	VdbBlock	none = VDB_BLOCK_NONE;

	vdb_scm_change_publish(change, link->block, link->offset, &none, sizeof(none));
	vdb_scm_change_free_block(change, block);
}

/*
 * Free the list's first slabs, as many as fit a change.  Their contents don't matter; only their
 * links are read.  Returns false if the list is empty.
 */
static bool
free_slabs_step(const VdbTableRef *ref, int list)
{
	VdbBlock	block = vdb_map_table_entry(ref)->lists[list];
	VdbScmChange *change;
	int			freed = 0;

	if (block == VDB_BLOCK_NONE)
		return false;
	change = vdb_scm_change_begin(ref->pool, VDB_CHANGE_FLUSH);
	while (block != VDB_BLOCK_NONE && freed < VDB_MAP_FREE_BATCH &&
		   vdb_scm_change_nblocks(change) < VDB_MAP_CHANGE_BLOCKS)
	{
		const VdbListedBlock *slab = vdb_map_body(ref->pool, block);

		/* magic and version are those of the slabs' owner */
		(void) vdb_map_check_head(ref, block, slab->magic, slab->version, "slab of block deltas");
		vdb_scm_change_free_block(change, block);
		block = slab->next;
		freed++;
	}
	vdb_scm_change_publish(change, ref->entry_block,
						   VDB_TABLE_FIELD(ref, lists) + list * sizeof(VdbBlock),
						   &block, sizeof(block));
	vdb_scm_change_end(change);
	return true;
}

/*
 * Free (part of) the stripe meta that the node's entry points to.  The change that frees the last
 * block also clears all entries that refer to the meta.
 */
static void
free_stripe_entry(const VdbTableRef *ref, VdbBlock block, VdbRangeNode *copy, int index)
{
	VdbBlock	meta_block = copy->entries[index].ref;
	const VdbStripeMeta *meta = vdb_map_meta(ref->pool, meta_block);
	VdbScmChange *change = vdb_scm_change_begin(ref->pool, VDB_CHANGE_FLUSH);

	if (vdb_map_free_meta_blocks(change, meta_block, meta))
	{
		for (int i = 0; i < VDB_RANGE_LBS; i++)
			if (copy->entries[i].kind == VDB_EXTENT_STRIPE &&
				copy->entries[i].ref == meta_block)
				memset(&copy->entries[i], 0, sizeof(VdbMapEntry));
		vdb_scm_change_write(change, block, VDB_MAP_OFFSET(VdbRangeNode, entries),
							 copy->entries, sizeof(copy->entries));
	}
	vdb_scm_change_end(change);
}

/* Clear all entries of the segment that entry 'index' belongs to, and return the segment. */
static VdbBlock
clear_segment_entries(VdbRangeNode *copy, int index)
{
	VdbBlock	segment = copy->entries[index].ref;

	for (int i = index; i < VDB_RANGE_LBS; i++)
		if (copy->entries[i].kind == VDB_EXTENT_SEGMENT && copy->entries[i].ref == segment)
			memset(&copy->entries[i], 0, sizeof(VdbMapEntry));
	return segment;
}

/*
 * Free the node's segments, as many as fit a change.  The change that frees the last of them also
 * frees the node.
 */
static void
free_segments_step(const VdbTableRef *ref, const NodeLink *link, VdbBlock block,
				   VdbRangeNode *copy)
{
	VdbScmChange *change = vdb_scm_change_begin(ref->pool, VDB_CHANGE_FLUSH);
	int			freed = 0;
	int			i;

	for (i = 0; i < VDB_RANGE_LBS; i++)
	{
		if (copy->entries[i].kind != VDB_EXTENT_SEGMENT)
			continue;
		if (freed == VDB_MAP_FREE_BATCH ||
			vdb_scm_change_nblocks(change) >= VDB_MAP_CHANGE_BLOCKS)
			break;
		vdb_scm_change_free_segment(change, clear_segment_entries(copy, i));
		freed++;
	}
	if (i == VDB_RANGE_LBS)
		free_node(change, link, block);
	else
		vdb_scm_change_write(change, block, VDB_MAP_OFFSET(VdbRangeNode, entries),
							 copy->entries, sizeof(copy->entries));
	vdb_scm_change_end(change);
}

/* Do one step at a range node: free a stripe meta, or a batch of segments, or the node. */
static void
range_step(const VdbTableRef *ref, const NodeLink *link, VdbBlock block)
{
	const VdbRangeNode *node = vdb_map_body(ref->pool, block);
	VdbRangeNode copy;

	copy = *vdb_map_range(ref, block, node->range);
	for (int i = 0; i < VDB_RANGE_LBS; i++)
	{
		if (copy.entries[i].kind != VDB_EXTENT_STRIPE)
			continue;
		free_stripe_entry(ref, block, &copy, i);
		return;
	}
	free_segments_step(ref, link, block, &copy);
}

/* Do one step in the tree, at its right-most node.  Returns false if there is no tree. */
static bool
tree_step(const VdbTableRef *ref)
{
	NodeLink	link = {ref->entry_block, VDB_TABLE_FIELD(ref, root)};
	VdbBlock	block = vdb_map_table_entry(ref)->root;

	if (block == VDB_BLOCK_NONE)
		return false;
	while (!vdb_map_is_range(ref->pool, block))
	{
		const VdbInnerNode *node = vdb_map_inner(ref, block, 0);
		int			i = VDB_INNER_FANOUT - 1;

		while (i >= 0 && node->children[i] == VDB_BLOCK_NONE)
			i--;
		if (i < 0)
		{
			VdbScmChange *change = vdb_scm_change_begin(ref->pool, VDB_CHANGE_FLUSH);

			free_node(change, &link, block);
			vdb_scm_change_end(change);
			return true;
		}
		link.block = block;
		link.offset = VDB_MAP_CHILD_OFFSET(i);
		block = node->children[i];
	}
	range_step(ref, &link, block);
	return true;
}

/* Free the block of free page runs.  Returns false if there is none. */
static bool
free_pages_step(const VdbTableRef *ref)
{
	VdbBlock	block = vdb_map_table_entry(ref)->free_pages;
	NodeLink	link = {ref->entry_block, VDB_TABLE_FIELD(ref, free_pages)};
	VdbScmChange *change;

	if (block == VDB_BLOCK_NONE)
		return false;
	change = vdb_scm_change_begin(ref->pool, VDB_CHANGE_FLUSH);
	free_node(change, &link, block);
	vdb_scm_change_end(change);
	return true;
}

/* Do one step of emptying.  The map lock is held exclusive.  Returns false if nothing is left. */
static bool
empty_step(const VdbTableRef *ref)
{
	VdbTableRef old = ref_before(ref);
	VdbBlock	pending = vdb_map_table_entry(ref)->pending_meta;

	if (pending != VDB_BLOCK_NONE)
	{
		(void) vdb_map_free_pending_step(&old, pending);
		return true;
	}
	for (int list = 0; list < VDB_TABLE_LISTS; list++)
		if (free_slabs_step(&old, list))
			return true;
	if (free_pages_step(&old))
		return true;
	return tree_step(&old);
}

/*
 * Mark the entry (see the head of this file); *ref gets the new generation.  Returns false if the
 * reference is no longer valid, because another process empties or drops the table.
 */
static bool
begin_emptying(VdbTableRef *ref)
{
	LWLock	   *lock = vdb_map_lock(ref->slot);

	LWLockAcquire(lock, LW_EXCLUSIVE);
	if (!vdb_map_table_valid(ref))
	{
		LWLockRelease(lock);
		return false;
	}
	if (!is_emptying(ref))
	{
		uint32		flags = vdb_map_table_entry(ref)->flags | VDB_TABLE_EMPTYING;
		uint32		generation = ref->generation + 1;
		VdbLogicalBlock none = 0;
		VdbScmChange *change = vdb_scm_change_begin(ref->pool, VDB_CHANGE_FLUSH);

		vdb_scm_change_write(change, ref->entry_block, ref->entry_offset,
							 &flags, sizeof(flags));
		vdb_scm_change_write(change, ref->entry_block, VDB_TABLE_FIELD(ref, generation),
							 &generation, sizeof(generation));
		vdb_scm_change_write(change, ref->entry_block, VDB_TABLE_FIELD(ref, next_lb),
							 &none, sizeof(none));
		vdb_scm_change_end(change);
		ref->generation = generation;
	}
	LWLockRelease(lock);
	VDB_STOP_POINT("map-emptying-begun");
	return true;
}

/* Run the steps until nothing is left.  The mark stays.  Returns false as begin_emptying does. */
static bool
empty_all(const VdbTableRef *ref)
{
	LWLock	   *lock = vdb_map_lock(ref->slot);
	bool		valid = true;
	bool		more = true;

	while (more)
	{
		CHECK_FOR_INTERRUPTS();
		LWLockAcquire(lock, LW_EXCLUSIVE);
		valid = vdb_map_table_valid(ref);
		more = valid && is_emptying(ref) && empty_step(ref);
		LWLockRelease(lock);
		VDB_STOP_POINT("map-emptying-step");
	}
	return valid;
}

/*
 * Finish emptying a table, which this process or a failed one has begun.  Afterwards the entry is
 * that of an empty table.  The caller holds no map or block lock.
 */
void
vdb_map_finish_emptying(const VdbTableRef *ref)
{
	LWLock	   *lock = vdb_map_lock(ref->slot);
	uint32		epoch = vdb_epoch_current(ref->pool);

	(void) empty_all(ref);
	LWLockAcquire(lock, LW_EXCLUSIVE);
	vdb_map_check_ref(ref);
	if (is_emptying(ref))
	{
		VdbTableEntry entry = *vdb_map_table_entry(ref);
		VdbScmChange *change = vdb_scm_change_begin(ref->pool, VDB_CHANGE_FLUSH);

		Assert(entry.root == VDB_BLOCK_NONE && entry.next_lb == 0);
		entry.flags &= ~VDB_TABLE_EMPTYING;
		entry.valid_epoch = epoch;
		entry.height = 0;
		entry.dead_rows = entry.striped_rows = entry.nstripes_in_use = 0;
		vdb_scm_change_write(change, ref->entry_block,
							 VDB_TABLE_FIELD(ref, valid_epoch), &entry.valid_epoch,
							 offsetof(VdbTableEntry, nodes_freed) -
							 offsetof(VdbTableEntry, valid_epoch));
		vdb_scm_change_publish(change, ref->entry_block, ref->entry_offset,
							   &entry.flags, sizeof(entry.flags));
		vdb_scm_change_end(change);
	}
	LWLockRelease(lock);
}

/*
 * Empty the table and keep its entry; see map.h.  No other process uses the table.  Makes bounded,
 * flushed changes.  An error or a crash leaves a marked entry without rows, and the next process
 * that meets it finishes the work.
 */
void
vdb_map_table_reset(VdbTableRef *ref)
{
	(void) vdb_epoch_current(ref->pool);
	if (!begin_emptying(ref))
		vdb_map_check_ref(ref);
	vdb_map_finish_emptying(ref);
}

/* Free everything that an entry has, then the entry. */
static void
free_entry(VdbTableRef own)
{
	VdbTableEntry entry;
	VdbScmChange *change;

	if (!begin_emptying(&own) || !empty_all(&own))
		return;

	LWLockAcquire(vdb_map_directory_lock(), LW_EXCLUSIVE);
	if (!vdb_map_table_valid(&own))
	{
		LWLockRelease(vdb_map_directory_lock());
		return;
	}
	memset(&entry, 0, sizeof(entry));
	entry.generation = own.generation + 1;
	change = vdb_scm_change_begin(own.pool, VDB_CHANGE_FLUSH);
	vdb_directory_free(change, own.pool, own.slot);
	vdb_scm_change_publish(change, own.entry_block, own.entry_offset,
						   &entry.flags, sizeof(entry.flags));
	vdb_scm_change_write(change, own.entry_block, VDB_TABLE_FIELD(&own, generation),
						 &entry.generation,
						 offsetof(VdbTableEntry, next_entry) - offsetof(VdbTableEntry, generation));
	vdb_scm_change_end(change);
	LWLockRelease(vdb_map_directory_lock());
}

/*
 * Drop a table; see map.h.  Makes bounded, flushed changes.  After an error or a crash the entry is
 * still there and marked: drop it again.  Several processes may do this at the same time (when they
 * collect what core has dropped); all but one of them return early.
 *
 * A table with an alias has moved: it stays, and takes over the alias's key.  Then only the alias
 * is freed.  If a crash comes between the two, both have the same key, and both lead to the table.
 */
void
vdb_map_table_drop(const VdbTableRef *ref)
{
	VdbTableRef alias;

	(void) vdb_epoch_current(ref->pool);
	switch (vdb_map_hand_over(ref, &alias))
	{
		case VDB_DROP_LEFT:
			break;
		case VDB_DROP_HANDED:
			free_entry(alias);
			break;
		case VDB_DROP_FREE:
			free_entry(*ref);
			break;
	}
}

/* The most entries that one key may have: a table's, and its alias that is just being dropped. */
#define KEY_ENTRIES			8

/* Collect the entries with exactly this key, or only aliases.  Returns their number. */
static int
find_exactly(VdbPool *pool, const VdbTableKey *key, bool only_aliases, VdbTableRef *refs)
{
	VdbDirectorySearch search = {.searches = 0};
	int			n;

	do
	{
		const VdbTableEntry *entry;
		VdbTableKey at;
		VdbBlock	block;
		uint32		slot;
		bool		past_end;

		n = 0;
		vdb_directory_begin(pool, key, &search);
		while (n < KEY_ENTRIES && (entry = vdb_directory_next(&search, &slot, &block)) != NULL)
			if ((!only_aliases || (entry->flags & VDB_TABLE_ALIAS) != 0) &&
				vdb_map_table_by_slot(pool, slot, &refs[n], &at, &past_end) &&
				at.relnode == key->relnode && at.spc == key->spc && at.backend == key->backend)
				n++;
	} while (vdb_directory_changed(&search));
	return n;
}

/* Drop the entries with exactly this key, or only aliases.  Returns whether there was one. */
static bool
drop_exactly(VdbPool *pool, const VdbTableKey *key, bool only_aliases)
{
	VdbTableRef refs[KEY_ENTRIES];
	int			n = find_exactly(pool, key, only_aliases, refs);

	for (int i = 0; i < n; i++)
		vdb_map_table_drop(&refs[i]);
	return n > 0;
}

/* See map.h. */
bool
vdb_map_table_drop_key(VdbPool *pool, const VdbTableKey *key)
{
	return drop_exactly(pool, key, false);
}

/* See map.h. */
bool
vdb_map_table_drop_alias(VdbPool *pool, const VdbTableKey *key)
{
	return drop_exactly(pool, key, true);
}
