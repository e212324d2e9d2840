/*-------------------------------------------------------------------------
 *
 * scm_marks.c
 *	  The allocation map in place: marks of reservation, counts, hints.
 *
 * A mark is volatile: it is neither logged nor persisted, and the next
 * incarnation clears all of them.  Marks, and the counts and hints of the
 * shared slot, change only under the pool allocation lock.
 *
 * alloc_hint and block_hint of the shared slot promise that nothing suitable
 * lies below them, so searches start there and need not wrap around.
 * used_segments counts the segments that are not wholly free (in use,
 * reserved, metadata).
 *
 * Locks: the pool allocation lock, the last in the order.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "scm/scm_internal.h"
#include "scm/scm_words.h"

/* Set or clear the volatile mark of a unit.  Lock held, exclusive. */
void
vdb_mark_reserved(VdbPool *pool, VdbUnit unit, bool reserved)
{
	uint32		segment_no = unit.block / VDB_SEGMENT_BLOCKS;
	VdbGroupMap *map = vdb_group_map(pool, segment_no);
	volatile uint64 *word = &map->reserved[segment_no % VDB_GROUP_SEGMENTS];

	if (unit.segment)
		*word = reserved ? vdb_word_reserved_segment() : 0;
	else
		((volatile uint8 *) word)[unit.block % VDB_SEGMENT_BLOCKS] =
			reserved ? VDB_RESERVED_BLOCK : VDB_RESERVED_NOT;
}

/* Check whether no block of the segment is in use or reserved. */
static bool
segment_is_free(VdbPool *pool, uint32 segment_no)
{
	VdbGroupMap *map = vdb_group_map(pool, segment_no);
	uint32		index = segment_no % VDB_GROUP_SEGMENTS;

	return vdb_word_is_free(map->state[index], map->reserved[index]);
}

/* Change the number of segments that are not wholly free.  Lock held, exclusive. */
void
vdb_marks_add_used(VdbPoolShared *shared, int delta)
{
	uint32		used = pg_atomic_read_u32(&shared->used_segments) + delta;

	pg_atomic_write_u32(&shared->used_segments, used);
	if (used > pg_atomic_read_u32(&shared->high_water_segments))
		pg_atomic_write_u32(&shared->high_water_segments, used);
}

/* ---- give back ---- */

/* Clear one unit's mark, its state being free; true if its segment is free now. */
static bool
release_one(VdbPool *pool, VdbUnit unit)
{
	VdbPoolShared *shared = pool->shared;
	uint32		no = unit.block / VDB_SEGMENT_BLOCKS;

	vdb_mark_reserved(pool, unit, false);
	if (segment_is_free(pool, no))
	{
		shared->alloc_hint = Min(shared->alloc_hint, no);
		vdb_marks_add_used(shared, -1);
		return true;
	}
	shared->block_hint = Min(shared->block_hint, no);
	return false;
}

/* A change is about to free these units: nobody may take them before it ended. */
void
vdb_alloc_hold(VdbPool *pool, const VdbUnit *units, int nunits)
{
	LWLockAcquire(pool->alloc_lock, LW_EXCLUSIVE);
	for (int i = 0; i < nunits; i++)
		vdb_mark_reserved(pool, units[i], true);
	LWLockRelease(pool->alloc_lock);
}

/* A change has put these units to use: their reservation is over. */
void
vdb_alloc_settle(VdbPool *pool, const VdbUnit *units, int nunits)
{
	LWLockAcquire(pool->alloc_lock, LW_EXCLUSIVE);
	for (int i = 0; i < nunits; i++)
		vdb_mark_reserved(pool, units[i], false);
	LWLockRelease(pool->alloc_lock);
}

/* Units freed by a change, or no longer wanted, can be had again. */
void
vdb_alloc_release(VdbPool *pool, const VdbUnit *units, int nunits)
{
	bool		any = false;

	LWLockAcquire(pool->alloc_lock, LW_EXCLUSIVE);
	for (int i = 0; i < nunits; i++)
		any |= release_one(pool, units[i]);
	LWLockRelease(pool->alloc_lock);
	if (any)
		ConditionVariableBroadcast(&pool->shared->space_cv);
}

void
vdb_scm_unreserve_segment(VdbPool *pool, VdbBlock segment)
{
	VdbUnit		unit = {segment, true};

	vdb_alloc_release(pool, &unit, 1);
}

void
vdb_scm_unreserve_block(VdbPool *pool, VdbBlock block)
{
	VdbUnit		unit = {block, false};

	vdb_alloc_release(pool, &unit, 1);
}

/* See scm.h.  No lock: two bytes, each read once. */
bool
vdb_scm_block_state(VdbPool *pool, VdbBlock block, uint8 *state, uint8 *reserved)
{
	uint32		no = block / VDB_SEGMENT_BLOCKS;
	uint32		index = no % VDB_GROUP_SEGMENTS;
	VdbGroupMap *map = vdb_group_map(pool, no);

	Assert(no < vdb_pool_total_segments(pool));
	*state = ((const volatile uint8 *) &map->state[index])[block % VDB_SEGMENT_BLOCKS];
	*reserved = ((const volatile uint8 *) &map->reserved[index])[block % VDB_SEGMENT_BLOCKS];
	return index != 0;
}

/*
 * Set the slot's counts and hints from the maps, perhaps clearing all marks
 * first.  Caller holds the allocation lock exclusive, or nobody else can use
 * the pool.
 */
void
vdb_alloc_recount(VdbPool *pool, bool clear_reservations)
{
	VdbPoolShared *shared = pool->shared;
	uint32		total = vdb_pool_total_segments(pool);
	uint32		used = 0;

	for (uint32 base = 0; base < total; base += VDB_GROUP_SEGMENTS)
	{
		VdbGroupMap *map = vdb_group_map(pool, base);

		if (clear_reservations)
			memset(map->reserved, 0, sizeof(map->reserved));
		used += vdb_words_count_used(map->state, map->reserved,
									 Min(VDB_GROUP_SEGMENTS, total - base));
	}
	pg_atomic_write_u32(&shared->total_segments, total);
	pg_atomic_write_u32(&shared->used_segments, used);
	pg_atomic_write_u32(&shared->high_water_segments, used);
	shared->alloc_hint = 0;
	shared->block_hint = 0;
	shared->grow_failed_at = 0;
}

/* See scm.h. */
uint32
vdb_scm_group_of(VdbBlock block)
{
	return block / VDB_GROUP_BLOCKS;
}
