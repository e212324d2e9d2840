/*-------------------------------------------------------------------------
 *
 * scm_alloc.c
 *	  Find and reserve space in the pool.
 *
 * Space is first reserved, by a volatile mark set under the pool's allocation lock.  It becomes
 * used by the logged change that publishes it.  A change that frees space ends with
 * vdb_alloc_release. So the lock is never held while the caller writes WAL, and a crash in between
 * only leaves marks, which the next epoch clears.  Code that reserves space and then fails may
 * give it back.  The reservations that it leaves are given back when the (sub)transaction ends
 * (scm_marks.c).
 *
 * Locks: the pool's allocation lock, which is the last in the order.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "scm/scm_internal.h"
#include "scm/scm_words.h"

#define NO_SEGMENT			PG_UINT32_MAX

/* Function that searches the words of a group (scm_words.h). */
typedef uint32 (*FindInWords) (const uint64 *state, const uint64 *reserved,
							   uint32 from, uint32 to);

/* Return the first segment from 'from' on at which 'find' stops, or NO_SEGMENT. */
static uint32
search_segments(VdbPool *pool, uint32 from, FindInWords find)
{
	uint32		total = pg_atomic_read_u32(&pool->shared->total_segments);

	for (uint32 at = from; at < total;)
	{
		VdbGroupMap *map = vdb_group_map(pool, at);
		uint32		base = at - at % VDB_GROUP_SEGMENTS;
		uint32		limit = Min(VDB_GROUP_SEGMENTS, total - base);
		uint32		found = find(map->state, map->reserved, at - base, limit);

		if (found < limit)
			return base + found;
		at = base + VDB_GROUP_SEGMENTS;
	}
	return NO_SEGMENT;
}

/* Return how many of 'want' segments may be reserved now.  Allocation lock held. */
static uint32
room_for(VdbPool *pool, uint32 want, bool urgent)
{
	uint32		total = vdb_backed_segments(pool->shared);
	uint32		taken = pg_atomic_read_u32(&pool->shared->used_segments);

	if (!urgent)
		taken += vdb_words_kept_back(total);
	return taken < total ? Min(want, total - taken) : 0;
}

/* ---- reserve ---- */

/*
 * Take the allocation lock, after making room to note 'want' units and beginning this run's epoch
 * if need be.
 */
static void
lock_for_reserving(VdbPool *pool, int want)
{
	vdb_reserved_expect(pool, want);
	if (unlikely(!pool->shared->epoch_begun))
		(void) vdb_epoch_current(pool);
	LWLockAcquire(pool->alloc_lock, LW_EXCLUSIVE);
}

/* Return a wholly free segment, and move the hint past it; NO_SEGMENT if there is none. */
static uint32
take_segment(VdbPool *pool)
{
	uint32		no = search_segments(pool, pool->shared->alloc_hint, vdb_words_find_segment);

	pool->shared->alloc_hint = no == NO_SEGMENT ?
		pg_atomic_read_u32(&pool->shared->total_segments) : no + 1;
	return no;
}

/* Reserve up to 'want' segments without growing the pool.  Returns how many. */
static int
reserve_segments(VdbPool *pool, int want, bool urgent, VdbBlock *segments)
{
	uint32		room;
	int			n = 0;

	lock_for_reserving(pool, want);
	room = room_for(pool, want, urgent);
	while (n < room)
	{
		uint32		no = take_segment(pool);

		if (no == NO_SEGMENT)
			break;
		segments[n] = vdb_segment_block(no);
		vdb_alloc_reserve(pool, vdb_pool_space(segments[n++], true));
	}
	vdb_marks_add_used(pool->shared, n);
	LWLockRelease(pool->alloc_lock);
	return n;
}

/* See scm.h. */
int
vdb_scm_reserve_segments(VdbPool *pool, int want, bool urgent, VdbBlock *segments)
{
	int			n;

	Assert(want > 0);
	while ((n = reserve_segments(pool, want, urgent, segments)) == 0 && vdb_scm_make_larger(pool))
		;
	if (InterruptHoldoffCount == 0 && vdb_scm_wants_growth(pool))
		vdb_pool_wake_worker(pool->shared);
	vdb_scm_report_growth(pool);
	return n;
}

/* Reserve a free block in segment 'no', which holds single blocks or is wholly free. */
static VdbBlock
take_block(VdbPool *pool, uint32 no)
{
	VdbGroupMap *map = vdb_group_map(pool, no);
	uint32		index = no % VDB_GROUP_SEGMENTS;
	int			at = vdb_word_free_block(map->state[index], map->reserved[index]);
	VdbPoolSpace space;

	space.block = vdb_segment_block(no) + Max(at, 0);
	space.segment = false;
	vdb_alloc_reserve(pool, space);
	return space.block;
}

/* Reserve a block without growing the pool.  Returns VDB_BLOCK_NONE if there is none. */
static VdbBlock
reserve_block(VdbPool *pool, bool urgent)
{
	VdbPoolShared *shared = pool->shared;
	VdbBlock	block = VDB_BLOCK_NONE;
	uint32		no;

	lock_for_reserving(pool, 1);
	no = search_segments(pool, shared->block_hint, vdb_words_find_room);
	if (no == NO_SEGMENT && room_for(pool, 1, urgent) > 0)
	{
		no = take_segment(pool);
		if (no != NO_SEGMENT)
			vdb_marks_add_used(shared, 1);
	}
	if (no != NO_SEGMENT)
	{
		block = take_block(pool, no);
		shared->block_hint = no;
	}
	LWLockRelease(pool->alloc_lock);
	return block;
}

/* See scm.h. */
VdbBlock
vdb_scm_reserve_block(VdbPool *pool, bool urgent)
{
	VdbBlock	block;

	while ((block = reserve_block(pool, urgent)) == VDB_BLOCK_NONE && vdb_scm_make_larger(pool))
		;
	vdb_scm_report_growth(pool);
	return block;
}
