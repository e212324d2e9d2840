/*-------------------------------------------------------------------------
 *
 * overlay_slab.c
 *	  Slab blocks: allocating and freeing block deltas.
 *
 * The table's entry has one doubly linked list of slabs for each size class, and one list of full
 * slabs.  The lists are only a means to find slabs: the block delta alone says whether it is free
 * (capacity 0).  All changes to lists are flushed, are made under the table's map lock in exclusive
 * mode, and write every field at most once.
 *
 * Taking a block delta looks at the first slabs of its class.  Slabs found full there are moved to
 * the full list in batches.  When none is left, new ones are formatted with zeros; of the large
 * classes, the faster they are used up, the more at a time.  The block delta itself isn't marked
 * here: the caller's change does that, before the map lock is released.
 *
 * vdb_overlay_reclaim offers freed block deltas again.  Until then a slab may be on the wrong list
 * (full, although it has room), or for ever if a crash comes first.  That wastes room, which
 * vdb_overlay_sweep finds.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/vdb_stop_point.h"
#include "overlay/overlay_internal.h"

/* Number of full slabs looked at and moved at a time, and of slabs formatted at a time. */
#define SLAB_BATCH		8

const VdbBlockDeltaClass vdb_block_delta_classes[VDB_OVERLAY_CLASSES] = {
	{256, 8, 31, 256},
	{512, 18, 15, VDB_OVERLAY_FIRST_DELTA},
	{2048, 81, 3, VDB_OVERLAY_FIRST_DELTA},
	{8128, VDB_OVERLAY_MAX_RECORDS, 1, VDB_OVERLAY_FIRST_DELTA},
};

#define SLAB_FIELD(field) \
	((uint16) (VDB_POOL_BLOCK_HEADER + offsetof(VdbOverlaySlab, field)))

/* Return the byte of the entry's block at which the head of a list stands. */
static inline uint16
list_field(const VdbTableRef *ref, int list)
{
	return ref->entry_offset + offsetof(VdbTableEntry, lists) + list * sizeof(VdbBlock);
}

/* Return whether a block is a slab of this table.  Any block number is allowed. */
bool
vdb_overlay_is_slab(const VdbTableRef *ref, VdbBlock block)
{
	const VdbOverlaySlab *slab;

	if (block == VDB_BLOCK_NONE || block >= vdb_pool_total_blocks(ref->pool))
		return false;
	slab = vdb_overlay_slab_at(ref->pool, block);
	return slab->magic == VDB_OVERLAY_MAGIC && slab->version == VDB_OVERLAY_VERSION &&
		slab->size_class < VDB_OVERLAY_CLASSES &&
		slab->nunits == vdb_block_delta_classes[slab->size_class].deltas &&
		slab->table_slot == ref->slot && slab->table_generation == ref->generation;
}

/* Return the slab in a block.  Raises an error unless the block is a slab of this table. */
const VdbOverlaySlab *
vdb_overlay_slab(const VdbTableRef *ref, VdbBlock block)
{
	const VdbOverlaySlab *slab = vdb_overlay_slab_at(ref->pool, block);

	if (!vdb_overlay_is_slab(ref, block))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("damaged slab of block deltas in pool block %u", block),
				 errdetail("Expected magic %08X of table slot %u generation %u, found %08X of %u generation %u.",
						   VDB_OVERLAY_MAGIC, ref->slot, ref->generation,
						   slab->magic, slab->table_slot, slab->table_generation)));
	return slab;
}

/* Return the smallest class with room for 'ndrecs' delta records. */
int
vdb_overlay_class_for(int ndrecs)
{
	int			c = 0;

	Assert(ndrecs <= VDB_OVERLAY_MAX_RECORDS);
	while (vdb_block_delta_classes[c].capacity < ndrecs)
		c++;
	return c;
}

/* Return the number of the slab's first free block delta other than the one to avoid, or -1. */
static int
find_free_delta(const VdbTableRef *ref, VdbBlock block, VdbBlock avoid_block, uint16 avoid_offset)
{
	const VdbOverlaySlab *slab = vdb_overlay_slab(ref, block);

	for (int i = 0; i < slab->nunits; i++)
	{
		uint16		offset = vdb_block_delta_offset(slab->size_class, i);

		if (vdb_block_delta_at(ref->pool, block, offset)->capacity == 0 &&
			!(block == avoid_block && offset == avoid_offset))
			return i;
	}
	return -1;
}

/* Count the free block deltas of a slab. */
static int
count_free(const VdbTableRef *ref, VdbBlock block)
{
	const VdbOverlaySlab *slab = vdb_overlay_slab(ref, block);
	int			n = 0;

	for (int i = 0; i < slab->nunits; i++)
		if (vdb_block_delta_at(ref->pool, block,
							   vdb_block_delta_offset(slab->size_class, i))->capacity == 0)
			n++;
	return n;
}

/* Add the formatting of a new slab to the change. */
static void
format_slab(VdbScmChange *change, const VdbTableRef *ref, int size_class,
			VdbBlock block, VdbBlock prev, VdbBlock next)
{
	VdbOverlaySlab slab;

	memset(&slab, 0, sizeof(slab));
	slab.magic = VDB_OVERLAY_MAGIC;
	slab.version = VDB_OVERLAY_VERSION;
	slab.size_class = size_class;
	slab.nunits = vdb_block_delta_classes[size_class].deltas;
	slab.table_slot = ref->slot;
	slab.table_generation = ref->generation;
	slab.next = next;
	slab.prev = prev;
	slab.list = size_class;
	vdb_scm_change_use_block(change, block);
	vdb_scm_change_write(change, block, VDB_POOL_BLOCK_HEADER, &slab, sizeof(slab));
	vdb_scm_change_zero(change, block, VDB_OVERLAY_FIRST_DELTA,
						VDB_POOL_BLOCK_BYTES - VDB_OVERLAY_FIRST_DELTA);
}

/*
 * Move the first nfull slabs of the class to the full list, within the change.  Returns the slab
 * behind them, whose prev the caller sets.
 */
static VdbBlock
move_full(VdbScmChange *change, const VdbTableRef *ref, int size_class, int nfull)
{
	const VdbTableEntry *entry = vdb_map_table_entry(ref);
	VdbBlock	first = entry->lists[size_class];
	VdbBlock	old_full = entry->lists[VDB_TABLE_LIST_FULL];
	VdbBlock	block = first;
	VdbBlock	last = VDB_BLOCK_NONE;
	uint32		list = VDB_TABLE_LIST_FULL;

	for (int i = 0; i < nfull; i++)
	{
		vdb_scm_change_write(change, block, SLAB_FIELD(list), &list, sizeof(list));
		last = block;
		block = vdb_overlay_slab(ref, block)->next;
	}
	if (nfull > 0)
	{
		vdb_scm_change_write(change, last, SLAB_FIELD(next), &old_full, sizeof(old_full));
		if (old_full != VDB_BLOCK_NONE)
			vdb_scm_change_write(change, old_full, SLAB_FIELD(prev), &last, sizeof(last));
		vdb_scm_change_write(change, ref->entry_block, list_field(ref, VDB_TABLE_LIST_FULL),
							 &first, sizeof(first));
	}
	return block;
}

/*
 * Move the first nfull slabs to the full list and put the new ones in front of the class, in one
 * flushed change.
 */
static void
change_lists(const VdbTableRef *ref, int size_class, int nfull, const VdbBlock *fresh, int nfresh)
{
	VdbScmChange *change = vdb_scm_change_begin(ref->pool, VDB_CHANGE_FLUSH);
	VdbBlock	rest = move_full(change, ref, size_class, nfull);
	VdbBlock	head = nfresh > 0 ? fresh[0] : rest;
	VdbBlock	before_rest = nfresh > 0 ? fresh[nfresh - 1] : VDB_BLOCK_NONE;

	for (int i = 0; i < nfresh; i++)
		format_slab(change, ref, size_class, fresh[i],
					i > 0 ? fresh[i - 1] : VDB_BLOCK_NONE,
					i + 1 < nfresh ? fresh[i + 1] : rest);
	if (rest != VDB_BLOCK_NONE)
		vdb_scm_change_write(change, rest, SLAB_FIELD(prev), &before_rest, sizeof(before_rest));
	vdb_scm_change_write(change, ref->entry_block, list_field(ref, size_class),
						 &head, sizeof(head));
	vdb_scm_change_end(change);
	VDB_STOP_POINT("overlay-lists-changed");
}

/* Reserve up to 'want' blocks; return how many.  Not inlined into a function with PG_TRY. */
static pg_noinline int
reserve_slabs(VdbPool *pool, int want, VdbBlock *blocks)
{
	int			n = 0;

	Assert(want > 0 && want <= SLAB_BATCH);
	while (n < want && (blocks[n] = vdb_scm_reserve_block(pool, true)) != VDB_BLOCK_NONE)
		n++;
	return n;
}

/*
 * Change the lists as change_lists does, with newly reserved blocks.  Returns false if the pool is
 * full.
 */
static bool
add_slabs(const VdbTableRef *ref, int size_class, int nfull, int want)
{
	VdbBlock	fresh[SLAB_BATCH];
	const int	n = reserve_slabs(ref->pool, want, fresh);

	if (n == 0)
		return false;
	PG_TRY();
	{
		change_lists(ref, size_class, nfull, fresh, n);
	}
	PG_CATCH();
	{
		for (int i = 0; i < n; i++)
			vdb_scm_unreserve_block(ref->pool, fresh[i]);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return true;
}

/*
 * Return the number of slabs to format at a time.  One flush of WAL should yield dozens of block
 * deltas.
 */
static inline int
slabs_to_add(int size_class, int nfull)
{
	return vdb_block_delta_classes[size_class].deltas > SLAB_BATCH ? 1 : Min(1 + 2 * nfull,
																			 SLAB_BATCH);
}

/*
 * Find a free block delta of the class, other than the one at the address to avoid.  The map lock
 * is held exclusive, and the caller keeps it until the block delta is marked.  May flush WAL.
 * Returns false if the pool is full.
 */
bool
vdb_overlay_take(const VdbTableRef *ref, int size_class, VdbBlock avoid_block,
				 uint16 avoid_offset, VdbBlockDeltaAddress *address)
{
	Assert(LWLockHeldByMeInMode(vdb_map_lock(ref->slot), LW_EXCLUSIVE));
	for (;;)
	{
		VdbBlock	block = vdb_map_table_entry(ref)->lists[size_class];
		int			nfull = 0;

		while (block != VDB_BLOCK_NONE && nfull < SLAB_BATCH)
		{
			int			i = find_free_delta(ref, block, avoid_block, avoid_offset);

			if (i >= 0)
			{
				address->block = block;
				address->offset = vdb_block_delta_offset(size_class, i);
				address->size_class = size_class;
				return true;
			}
			block = vdb_overlay_slab(ref, block)->next;
			nfull++;
		}
		if (block != VDB_BLOCK_NONE)
			change_lists(ref, size_class, nfull, NULL, 0);
		else if (!add_slabs(ref, size_class, nfull, slabs_to_add(size_class, nfull)))
			return false;
	}
}

/* ---- reclaiming ---- */

/* Slabs whose links one change writes: so it touches at most 6 + 12 + 4 + 1 + 6 blocks. */
#define RECLAIM_BATCH	6

/* The links of a slab as they will be, once all changes gathered so far are applied. */
typedef struct SlabLinks
{
	VdbBlock	block;
	VdbBlock	next;
	VdbBlock	prev;
	uint32		list;
	bool		dirty;				/* to be written by the next change */
	bool		gone;				/* returned to the pool */
} SlabLinks;

StaticAssertDecl(offsetof(VdbOverlaySlab, prev) == offsetof(VdbOverlaySlab, next) + 4 &&
				 offsetof(VdbOverlaySlab, list) == offsetof(VdbOverlaySlab, next) + 8 &&
				 offsetof(SlabLinks, prev) == offsetof(SlabLinks, next) + 4 &&
				 offsetof(SlabLinks, list) == offsetof(SlabLinks, next) + 8,
				 "links are written as one");

/* The lists of a table as they will be. */
typedef struct SlabLists
{
	const VdbTableRef *ref;
	VdbBlock	heads[VDB_TABLE_LISTS];
	bool		dirty[VDB_TABLE_LISTS];
	SlabLinks  *slabs;				/* those met so far, in no order */
	int			n;
	int			room;
} SlabLists;

/* Return the links of a slab; the pointer is valid until the next call. */
static SlabLinks *
links_of(SlabLists *lists, VdbBlock block)
{
	const VdbOverlaySlab *slab;
	SlabLinks  *links;

	for (int i = 0; i < lists->n; i++)
		if (lists->slabs[i].block == block)
			return &lists->slabs[i];
	slab = vdb_overlay_slab(lists->ref, block);
	if (lists->n == lists->room)
	{
		lists->room *= 2;
		lists->slabs = repalloc(lists->slabs, lists->room * sizeof(SlabLinks));
	}
	links = &lists->slabs[lists->n++];
	memset(links, 0, sizeof(*links));
	links->block = block;
	links->next = slab->next;
	links->prev = slab->prev;
	links->list = slab->list;
	return links;
}

/* Set the head of a list. */
static void
set_head(SlabLists *lists, uint32 list, VdbBlock block)
{
	lists->heads[list] = block;
	lists->dirty[list] = true;
}

/* Set the link of a slab to the one before it or behind it; no slab has none. */
static void
set_link(SlabLists *lists, VdbBlock block, bool next, VdbBlock to)
{
	SlabLinks  *links;

	if (block == VDB_BLOCK_NONE)
		return;
	links = links_of(lists, block);
	if (next)
		links->next = to;
	else
		links->prev = to;
	links->dirty = true;
}

/* Take a slab off its list. */
static void
unlink_slab(SlabLists *lists, VdbBlock block)
{
	SlabLinks	links = *links_of(lists, block);

	Assert(!links.gone && links.list < VDB_TABLE_LISTS);
	if (links.prev == VDB_BLOCK_NONE)
		set_head(lists, links.list, links.next);
	else
		set_link(lists, links.prev, true, links.next);
	set_link(lists, links.next, false, links.prev);
}

/* Move a slab from the full list to the front of its class. */
static void
offer_slab(SlabLists *lists, VdbBlock block, uint32 size_class)
{
	VdbBlock	head = lists->heads[size_class];
	SlabLinks  *links;

	unlink_slab(lists, block);
	set_link(lists, head, false, block);
	links = links_of(lists, block);
	links->next = head;
	links->prev = VDB_BLOCK_NONE;
	links->list = size_class;
	links->dirty = true;
	set_head(lists, size_class, block);
}

/*
 * Take a slab off its list if all of its block deltas are free, and another slab of the class is
 * left to take from; or offer it again if it is on the full list and has room.  Returns whether
 * anything is to be written.
 */
static bool
reclaim_slab(SlabLists *lists, VdbBlock block)
{
	const VdbOverlaySlab *slab;
	SlabLinks	links;
	VdbBlock	head;
	int			nfree;

	if (!vdb_overlay_is_slab(lists->ref, block))
		return false;
	links = *links_of(lists, block);
	if (links.gone)
		return false;
	slab = vdb_overlay_slab(lists->ref, block);
	nfree = count_free(lists->ref, block);
	head = lists->heads[slab->size_class];
	if (nfree == slab->nunits && head != VDB_BLOCK_NONE &&
		(head != block || links.next != VDB_BLOCK_NONE))
	{
		unlink_slab(lists, block);
		links_of(lists, block)->gone = true;
		links_of(lists, block)->dirty = true;
		return true;
	}
	if (nfree == 0 || links.list != VDB_TABLE_LIST_FULL)
		return false;
	offer_slab(lists, block, slab->size_class);
	return true;
}

/*
 * Add a change to the batch that writes what has become different.  The header of a slab that is
 * returned to the pool is cleared, so that stale addresses find no slab.
 */
static void
write_links(VdbScmBatch *batch, SlabLists *lists)
{
	const VdbTableRef *ref = lists->ref;
	VdbScmChange *change = vdb_scm_change_begin(ref->pool, VDB_CHANGE_FLUSH);

	for (int i = 0; i < lists->n; i++)
	{
		SlabLinks  *links = &lists->slabs[i];

		if (links->dirty && links->gone)
		{
			vdb_scm_change_zero(change, links->block, VDB_POOL_BLOCK_HEADER,
								sizeof(VdbOverlaySlab));
			vdb_scm_change_free_block(change, links->block);
		}
		else if (links->dirty)
			vdb_scm_change_write(change, links->block, SLAB_FIELD(next), &links->next,
								 3 * sizeof(uint32));
		links->dirty = false;
	}
	for (int list = 0; list < VDB_TABLE_LISTS; list++)
	{
		if (lists->dirty[list])
			vdb_scm_change_write(change, ref->entry_block, list_field(ref, list),
								 &lists->heads[list], sizeof(VdbBlock));
		lists->dirty[list] = false;
	}
	vdb_scm_batch_add(batch, change);
}

/*
 * Reclaim slabs within a batch.  Each change leaves the lists whole, as the ones before it are
 * redone first.  The map lock is held exclusive.
 */
static void
reclaim_slabs(VdbScmBatch *batch, const VdbTableRef *ref, const VdbBlock *blocks, int nblocks)
{
	SlabLists	lists = {.ref = ref,.room = 64};
	int			n = 0;

	Assert(LWLockHeldByMeInMode(vdb_map_lock(ref->slot), LW_EXCLUSIVE));
	memcpy(lists.heads, vdb_map_table_entry(ref)->lists, sizeof(lists.heads));
	lists.slabs = palloc(lists.room * sizeof(SlabLinks));
	for (int i = 0; i < nblocks; i++)
		if (reclaim_slab(&lists, blocks[i]) && ++n % RECLAIM_BATCH == 0)
			write_links(batch, &lists);
	if (n % RECLAIM_BATCH != 0)
		write_links(batch, &lists);
	pfree(lists.slabs);
}

/* See overlay.h. */
void
vdb_overlay_reclaim(const VdbTableRef *ref, const VdbBlock *blocks, int nblocks)
{
	LWLock	   *lock = vdb_map_lock(ref->slot);
	VdbScmBatch *batch = vdb_scm_batch_begin(ref->pool);

	LWLockAcquire(lock, LW_EXCLUSIVE);
	if (vdb_map_table_valid(ref))
		reclaim_slabs(batch, ref, blocks, nblocks);
	vdb_scm_batch_end(batch);
	LWLockRelease(lock);
}
