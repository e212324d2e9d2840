/*-------------------------------------------------------------------------
 *
 * map_change.c
 *	  Claiming logical blocks, and switching them from one place to another.
 *
 * A claim is one flushed change.  It formats the segments and the nodes that the tree lacks, fills
 * the map entries, then publishes the link to the new nodes and next_lb, in this order.  Readers
 * hold no lock that a claimer takes.  They look at no logical block from next_lb on, so whatever
 * they meet is complete.  Claimers of a table serialize on its map lock.
 *
 * Row numbers rise, so the range to add is always the one after the last.  The tree lacks either
 * nothing, or one chain of nodes down to the new range.  The chain hangs below an existing node, or
 * below a new root that has the old one as its first child; it is the whole tree if that was empty,
 * or is empty again because no range has rows (map_range.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/vdb_stop_point.h"
#include "map/map_internal.h"

/* The nodes that the tree lacks for a range: a chain of heights top .. 0. */
typedef struct NodeChain
{
	int			top;				/* height of the topmost new node; -1: nothing is lacking */
	VdbBlock	old_root;			/* first child of the topmost node, or none */
	VdbBlock	link_block;			/* where the pointer to the topmost node goes */
	uint16		link_offset;
	VdbBlock	range_block;		/* block of the range's node; reserved if top >= 0 */
	VdbBlock	nodes[VDB_MAP_MAX_HEIGHT + 1];	/* reserved; by height */
} NodeChain;

/* A claim being made; the map lock is held exclusive. */
typedef struct Claim
{
	const VdbTableRef *ref;
	int			lbs_per_segment;
	VdbLogicalBlock first_lb;
	uint32		range;
	NodeChain	chain;
	VdbRangeNode image;				/* the range node as it will be stored */
} Claim;

/* Determine the nodes that the tree lacks for a range.  The map lock is held. */
static void
plan_chain(const VdbTableRef *ref, uint32 range, NodeChain *chain)
{
	VdbBlock	block = vdb_map_table_entry(ref)->root;
	uint32		height = 0;

	memset(chain, 0, sizeof(*chain));
	chain->top = -1;
	chain->link_block = ref->entry_block;
	chain->link_offset = VDB_TABLE_FIELD(ref, root);
	if (block != VDB_BLOCK_NONE && !vdb_map_is_range(ref->pool, block))
		height = vdb_map_inner(ref, block, 0)->height;
	if (range >= vdb_map_capacity(height))
	{
		chain->old_root = block;
		chain->top = height + 1;
		while (range >= vdb_map_capacity(chain->top))
			chain->top++;
		/* only an empty tree may skip heights: else the old root would be misplaced */
		if (block != VDB_BLOCK_NONE && chain->top != height + 1)
			vdb_map_damaged(block, "map root", "height", chain->top - 1, height);
		return;
	}
	for (; block != VDB_BLOCK_NONE && height > 0; height--)
	{
		uint32		child = vdb_map_child_index(range, height);

		chain->link_block = block;
		chain->link_offset = VDB_MAP_CHILD_OFFSET(child);
		block = vdb_map_inner(ref, block, height)->children[child];
	}
	if (block == VDB_BLOCK_NONE)
		chain->top = height;
	else
		chain->range_block = block;
}

/* Give back the reserved blocks of the chain. */
static void
unreserve_chain(const VdbTableRef *ref, NodeChain *chain)
{
	for (int h = 0; h <= chain->top; h++)
		if (chain->nodes[h] != VDB_BLOCK_NONE)
			vdb_scm_unreserve_block(ref->pool, chain->nodes[h]);
}

/* Reserve the blocks of the chain.  Returns false if the pool is full; then nothing is reserved. */
static bool
reserve_chain(const VdbTableRef *ref, NodeChain *chain)
{
	Assert(chain->top <= VDB_MAP_MAX_HEIGHT);
	for (int h = 0; h <= chain->top; h++)
	{
		chain->nodes[h] = vdb_scm_reserve_block(ref->pool, true);
		if (chain->nodes[h] == VDB_BLOCK_NONE)
		{
			unreserve_chain(ref, chain);
			return false;
		}
	}
	if (chain->top >= 0)
		chain->range_block = chain->nodes[0];
	return true;
}

/* Write the chain's inner nodes, and mark all of its blocks as used. */
static void
write_chain(VdbScmChange *change, const Claim *claim)
{
	const NodeChain *chain = &claim->chain;
	VdbInnerNode node;

	memset(&node, 0, sizeof(node));
	node.magic = VDB_INNER_MAGIC;
	node.version = VDB_MAP_VERSION;
	node.table_slot = claim->ref->slot;
	node.table_generation = claim->ref->generation;
	for (int h = 0; h <= chain->top; h++)
	{
		uint32		child;

		vdb_scm_change_use_block(change, chain->nodes[h]);
		if (h == 0)
			continue;
		child = vdb_map_child_index(claim->range, h);
		node.height = h;
		if (h == chain->top && chain->old_root != VDB_BLOCK_NONE)
		{
			Assert(child != 0);
			node.children[0] = chain->old_root;
		}
		node.children[child] = chain->nodes[h - 1];
		vdb_scm_change_write(change, chain->nodes[h], VDB_POOL_BLOCK_HEADER,
							 &node, sizeof(node));
		node.children[child] = VDB_BLOCK_NONE;
	}
}

/* Copy the range node, or initialize the image of a new one. */
static void
load_image(Claim *claim)
{
	VdbRangeNode *image = &claim->image;

	if (claim->chain.top < 0)
	{
		*image = *vdb_map_range(claim->ref, claim->chain.range_block, claim->range);
		return;
	}
	memset(image, 0, sizeof(*image));
	image->magic = VDB_RANGE_MAGIC;
	image->version = VDB_MAP_VERSION;
	image->table_slot = claim->ref->slot;
	image->table_generation = claim->ref->generation;
	image->range = claim->range;
}

/*
 * Choose the next logical blocks: those after the last one, or those of the next range if a
 * segment's don't fit into this one.  Raises an error when there are no more.
 */
static void
address_claim(Claim *claim)
{
	VdbLogicalBlock lb = vdb_map_limit(claim->ref);
	int			room = VDB_RANGE_LBS - vdb_lb_index(lb);

	if (room < claim->lbs_per_segment)
		lb += room;
	if (lb + claim->lbs_per_segment > VDB_MAX_LOGICAL_BLOCK)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("table has used up its row numbers"),
				 errhint("Rewrite the table with VACUUM FULL.")));
	claim->first_lb = lb;
	claim->range = vdb_lb_range(lb);
}

/* Fill the map entries of one segment in the image. */
static void
fill_entries(Claim *claim, VdbLogicalBlock first_lb, VdbBlock segment)
{
	uint8		first = vdb_lb_index(first_lb);

	for (int i = 0; i < claim->lbs_per_segment; i++)
	{
		VdbMapEntry *entry = &claim->image.entries[first + i];

		if (entry->kind != VDB_EXTENT_NONE)
			vdb_map_damaged(claim->chain.range_block, "map entry", "kind",
							VDB_EXTENT_NONE, entry->kind);
		memset(entry, 0, sizeof(*entry));
		entry->kind = VDB_EXTENT_SEGMENT;
		entry->first = first;
		entry->ref = segment;
	}
}

/* Store the new part of the image, and publish the link and next_lb. */
static void
publish_claim(VdbScmChange *change, const Claim *claim, int nclaimed)
{
	const NodeChain *chain = &claim->chain;
	int			nlbs = nclaimed * claim->lbs_per_segment;
	VdbLogicalBlock limit = claim->first_lb + nlbs;
	uint8		first = vdb_lb_index(claim->first_lb);

	if (chain->top >= 0)
	{
		vdb_scm_change_write(change, chain->range_block, VDB_POOL_BLOCK_HEADER,
							 &claim->image, sizeof(claim->image));
		vdb_scm_change_publish(change, chain->link_block, chain->link_offset,
							   &chain->nodes[chain->top], sizeof(VdbBlock));
		if (chain->link_block == claim->ref->entry_block)
		{
			uint32		height = chain->top;

			vdb_scm_change_write(change, claim->ref->entry_block,
								 VDB_TABLE_FIELD(claim->ref, height), &height, sizeof(height));
		}
	}
	else
		vdb_scm_change_write(change, chain->range_block, VDB_MAP_ENTRY_OFFSET(first),
							 &claim->image.entries[first], nlbs * sizeof(VdbMapEntry));
	vdb_scm_change_publish(change, claim->ref->entry_block,
						   VDB_TABLE_FIELD(claim->ref, next_lb), &limit, sizeof(limit));
}

/* Build and end the claim's change; return the number of segments in it. */
static int
run_claim(Claim *claim, int nsegments, const VdbBlock *segments, VdbLogicalBlock *first_lbs,
		  VdbFormatSegment format, void *arg)
{
	int			room = VDB_RANGE_LBS - vdb_lb_index(claim->first_lb);
	int			left = Min(room, VDB_MAX_LOGICAL_BLOCK - claim->first_lb);
	int			n = Min(nsegments, left / claim->lbs_per_segment);
	VdbScmChange *change = vdb_scm_change_begin(claim->ref->pool, VDB_CHANGE_FLUSH);
	int			i;

	Assert(n > 0);
	load_image(claim);
	write_chain(change, claim);
	for (i = 0; i < n; i++)
	{
		/* still to come: the segment, its allocation map, range node, link, entry */
		if (i > 0 && vdb_scm_change_nblocks(change) + 5 > VDB_CHANGE_MAX_BLOCKS)
			break;
		first_lbs[i] = claim->first_lb + i * claim->lbs_per_segment;
		vdb_scm_change_use_segment(change, segments[i]);
		format(change, segments[i], first_lbs[i], arg);
		fill_entries(claim, first_lbs[i], segments[i]);
	}
	publish_claim(change, claim, i);
	vdb_scm_change_end(change);
	return i;
}

/* See map.h.  The caller holds no block, map or allocation lock. */
int
vdb_map_claim(const VdbTableRef *ref, int nsegments, int lbs_per_segment,
			  const VdbBlock *segments, VdbLogicalBlock *first_lbs,
			  VdbFormatSegment format, void *arg)
{
	LWLock	   *lock = vdb_map_lock(ref->slot);
	Claim		claim;
	int			claimed = 0;

	Assert(nsegments > 0);
	Assert(lbs_per_segment >= 1 && lbs_per_segment <= 8);
	(void) vdb_epoch_current(ref->pool);
	if (vdb_map_table_entry(ref)->flags & VDB_TABLE_EMPTYING)
		vdb_map_finish_emptying(ref);

	claim.ref = ref;
	claim.lbs_per_segment = lbs_per_segment;
	LWLockAcquire(lock, LW_EXCLUSIVE);
	vdb_map_check_ref(ref);
	address_claim(&claim);
	plan_chain(ref, claim.range, &claim.chain);
	if (reserve_chain(ref, &claim.chain))
	{
		PG_TRY();
		{
			claimed = run_claim(&claim, nsegments, segments, first_lbs, format, arg);
		}
		PG_CATCH();
		{
			unreserve_chain(ref, &claim.chain);
			PG_RE_THROW();
		}
		PG_END_TRY();
	}
	LWLockRelease(lock);
	VDB_STOP_POINT("map-claimed");
	return claimed;
}

/* Return whether one of the entries refers to the meta. */
static bool
meta_is_referred(const VdbMapEntry *entries, VdbBlock meta_block)
{
	for (int i = 0; i < VDB_RANGE_LBS; i++)
		if (entries[i].kind == VDB_EXTENT_STRIPE && entries[i].ref == meta_block)
			return true;
	return false;
}

/* Collect the metas of the listed LBs' old entries to which no new entry refers, each once. */
static int
collect_removed(const VdbMapEntry *old, const VdbMapEntry *new, const uint8 *lb_indexes,
				int nlbs, VdbBlock *removed)
{
	int			n = 0;

	for (int i = 0; i < nlbs; i++)
	{
		const VdbMapEntry *entry = &old[lb_indexes[i]];
		bool		known = false;

		if (entry->kind != VDB_EXTENT_STRIPE || meta_is_referred(new, entry->ref))
			continue;
		for (int j = 0; j < n && !known; j++)
			known = (removed[j] == entry->ref);
		if (!known)
			removed[n++] = entry->ref;
	}
	return n;
}

/* Write the entries that differ, neighbors in one piece. */
static void
write_entries(VdbScmChange *change, VdbBlock block, const VdbMapEntry *entries, const bool *changed)
{
	for (int i = 0; i < VDB_RANGE_LBS;)
	{
		int			end = i;

		while (end < VDB_RANGE_LBS && changed[end])
			end++;
		if (end > i)
			vdb_scm_change_write(change, block, VDB_MAP_ENTRY_OFFSET(i), &entries[i],
								 (end - i) * sizeof(VdbMapEntry));
		i = end + 1;
	}
}

/* Set needed[lock number] for the block locks of these logical blocks. */
static void
collect_locks(const VdbTableRef *ref, uint32 range, const uint8 *lb_indexes, int nlbs,
			  bool needed[VDB_BLOCK_LOCKS])
{
	memset(needed, 0, VDB_BLOCK_LOCKS * sizeof(bool));
	for (int i = 0; i < nlbs; i++)
		needed[vdb_block_lock_no(ref->slot, range * VDB_RANGE_LBS + lb_indexes[i])] = true;
}

/* Return the node of a range that has blocks, and its block. */
static const VdbRangeNode *
switched_node(const VdbTableRef *ref, uint32 range, VdbBlock *block)
{
	*block = vdb_map_range_block(ref, range);
	if (*block == VDB_BLOCK_NONE)
		vdb_map_damaged(ref->entry_block, "map", "range", range, 0);
	return vdb_map_range(ref, *block, range);
}

/*
 * Make the listed entries lead to the meta (or nowhere) and to their block deltas, and add them,
 * and their block locks, to the change.  'entries' are those of the node now, and as they will be.
 */
static void
switch_entries(VdbScmChange *change, const VdbTableRef *ref, uint32 range, VdbBlock block,
			   VdbMapEntry *entries, const uint8 *lb_indexes, int nlbs, VdbBlock meta_block,
			   const VdbBlock *overlay_blocks, const uint16 *overlay_offsets,
			   const VdbRowSet spilled)
{
	bool		changed[VDB_RANGE_LBS] = {false};
	bool		needed[VDB_BLOCK_LOCKS];

	Assert(LWLockHeldByMeInMode(vdb_map_lock(ref->slot), LW_EXCLUSIVE));
	Assert(nlbs > 0 && nlbs <= VDB_RANGE_LBS);
	for (int i = 0; i < nlbs; i++)
	{
		VdbMapEntry *entry = &entries[lb_indexes[i]];

		Assert(VDB_BLOCK_LOCKED_EXCLUSIVE(ref, range * VDB_RANGE_LBS + lb_indexes[i]));
		memset(entry, 0, sizeof(*entry));
		entry->kind = meta_block == VDB_BLOCK_NONE ? VDB_EXTENT_REMOVED : VDB_EXTENT_STRIPE;
		entry->flags = vdb_rowset_has(spilled, lb_indexes[i]) ? VDB_ENTRY_SPILLED : 0;
		entry->ref = meta_block;
		if (overlay_blocks != NULL && overlay_blocks[i] != VDB_BLOCK_NONE)
		{
			entry->overlay_block = overlay_blocks[i];
			entry->overlay_offset = overlay_offsets[i];
			entry->overlay_epoch = (uint16) vdb_pool_shared(ref->pool)->epoch;
		}
		changed[lb_indexes[i]] = true;
	}

	collect_locks(ref, range, lb_indexes, nlbs, needed);
	for (uint32 no = 0; no < VDB_BLOCK_LOCKS; no++)
		if (needed[no])
			vdb_scm_change_block_lock(change, no);
	write_entries(change, block, entries, changed);
}

/* See map.h. */
void
vdb_map_switch(VdbScmChange *change, const VdbTableRef *ref, uint32 range,
			   const uint8 *lb_indexes, int nlbs, uint8 kind, VdbBlock meta_block,
			   const VdbBlock *overlay_blocks, const uint16 *overlay_offsets,
			   const VdbRowSet spilled)
{
	VdbBlock	block;
	const VdbRangeNode *node = switched_node(ref, range, &block);
	VdbMapEntry entries[VDB_RANGE_LBS];
	VdbBlock	removed[VDB_RANGE_LBS];
	int			nremoved;

	Assert(kind == (meta_block == VDB_BLOCK_NONE ? VDB_EXTENT_REMOVED : VDB_EXTENT_STRIPE));
	Assert(kind == VDB_EXTENT_STRIPE || vdb_rowset_is_empty(spilled));
	memcpy(entries, node->entries, sizeof(entries));
	switch_entries(change, ref, range, block, entries, lb_indexes, nlbs, meta_block,
				   overlay_blocks, overlay_offsets, spilled);
	nremoved = collect_removed(node->entries, entries, lb_indexes, nlbs, removed);
	vdb_map_exchange_pending(change, ref, meta_block, removed, nremoved);
}

/* See map.h.  All readers of the meta's spill hold the block lock of an LB that refers to it. */
void
vdb_map_switch_overlay(VdbScmChange *change, const VdbTableRef *ref, uint32 range,
					   const uint8 *lb_indexes, int nlbs, VdbBlock meta_block,
					   const VdbBlock *overlay_blocks, const uint16 *overlay_offsets,
					   const VdbRowSet spilled, const VdbSpillAddress *spill)
{
	VdbBlock	block;
	const VdbRangeNode *node = switched_node(ref, range, &block);
	VdbMapEntry entries[VDB_RANGE_LBS];
	VdbSpillAddress sealed = *spill;
	int			referring = 0;

	memcpy(entries, node->entries, sizeof(entries));
	for (int i = 0; i < VDB_RANGE_LBS; i++)
		referring += entries[i].kind == VDB_EXTENT_STRIPE && entries[i].ref == meta_block ? 1 : 0;
	if (referring != nlbs)
		vdb_map_damaged(meta_block, "stripe metadata", "logical blocks", nlbs, referring);
	for (int i = 0; i < nlbs; i++)
		Assert(entries[lb_indexes[i]].ref == meta_block);
	sealed.crc = vdb_map_spill_crc(vdb_map_meta(ref->pool, meta_block)->stripe_id, &sealed);
	switch_entries(change, ref, range, block, entries, lb_indexes, nlbs, meta_block,
				   overlay_blocks, overlay_offsets, spilled);
	vdb_scm_change_write(change, meta_block, VDB_MAP_OFFSET(VdbStripeMeta, spill), &sealed,
						 sizeof(sealed));
}

/* See map.h.  The address is one aligned 8-byte store. */
void
vdb_map_set_overlay(VdbScmChange *change, const VdbTableRef *ref, const VdbExtent *extent,
					VdbBlock block, uint16 offset)
{
	struct
	{
		VdbBlock	block;
		uint16		offset;
		uint16		epoch;
	}			address = {block, offset, (uint16) vdb_pool_shared(ref->pool)->epoch};

	StaticAssertStmt(sizeof(address) == sizeof(uint64) &&
					 VDB_POOL_BLOCK_HEADER % 8 == 0 &&
					 offsetof(VdbMapEntry, overlay_block) % 8 == 0,
					 "an overlay address is one store");
	Assert(extent->node != VDB_BLOCK_NONE);
	vdb_scm_change_publish(change, extent->node,
						   extent->entry_offset + offsetof(VdbMapEntry, overlay_block),
						   &address, sizeof(address));
}

/*
 * Take all block locks of these logical blocks in exclusive mode, in the order of the locks'
 * numbers.
 */
void
vdb_map_lock_lbs(const VdbTableRef *ref, uint32 range, const uint8 *lb_indexes, int nlbs)
{
	bool		needed[VDB_BLOCK_LOCKS];

	collect_locks(ref, range, lb_indexes, nlbs, needed);
	for (uint32 no = 0; no < VDB_BLOCK_LOCKS; no++)
		if (needed[no])
			LWLockAcquire(vdb_block_lock(no), LW_EXCLUSIVE);
}

/* Release the locks that vdb_map_lock_lbs took. */
void
vdb_map_unlock_lbs(const VdbTableRef *ref, uint32 range, const uint8 *lb_indexes, int nlbs)
{
	bool		needed[VDB_BLOCK_LOCKS];

	collect_locks(ref, range, lb_indexes, nlbs, needed);
	for (uint32 no = VDB_BLOCK_LOCKS; no-- > 0;)
		if (needed[no])
			LWLockRelease(vdb_block_lock(no));
}
