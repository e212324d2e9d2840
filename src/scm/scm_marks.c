/*-------------------------------------------------------------------------
 *
 * scm_marks.c
 *	  Maintain reservation marks in the allocation maps, and counts and hints about them.
 *
 * A mark is volatile: it is neither logged nor persisted, and the next epoch clears all marks.
 * Marks, and the counts and hints of the shared slot, change only under the pool's allocation lock.
 *
 * alloc_hint and block_hint of the shared slot guarantee that there is no suitable space below
 * them, so searches start there and need not wrap around.  used_segments counts the segments that
 * are not wholly free (in use, reserved, metadata), and row_segments those that are in use as
 * segments: they hold rows, which migration can move.
 *
 * A process remembers the units that it has reserved until a change puts them to use or they are
 * given back.  Units that are left when its (sub)transaction ends are given back then.  So no space
 * is lost if an error occurs between a reservation and its change.
 *
 * Locks: the pool's allocation lock, which is the last in the order.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "utils/memutils.h"

#include "scm/scm_internal.h"
#include "scm/scm_words.h"

#define RESERVED_FIRST		64		/* initial capacity of the list */

/* A unit that this process reserved, and the nesting level of the transaction that did so. */
typedef struct ReservedUnit
{
	VdbPoolSpace space;
	int			level;
} ReservedUnit;

/* Units that this process has reserved and neither used nor given back, all of one pool. */
static VdbPool *reserved_pool = NULL;
static ReservedUnit *reserved_units = NULL;
static int	nreserved = 0;
static int	reserved_capacity = 0;

/* ---- what this process has reserved ---- */

/* See scm_internal.h. */
void
vdb_reserved_expect(VdbPool *pool, int more)
{
	int			want = nreserved + more;

	Assert(nreserved == 0 || reserved_pool == pool);
	reserved_pool = pool;
	if (want <= reserved_capacity)
		return;
	want = Max(want, Max(RESERVED_FIRST, 2 * reserved_capacity));
	reserved_units = reserved_units == NULL ?
		MemoryContextAlloc(TopMemoryContext, want * sizeof(ReservedUnit)) :
		repalloc(reserved_units, want * sizeof(ReservedUnit));
	reserved_capacity = want;
}

/* Note a reservation, for which vdb_reserved_expect has made room. */
static void
reserved_add(VdbPoolSpace space)
{
	Assert(nreserved < reserved_capacity);
	reserved_units[nreserved].space = space;
	reserved_units[nreserved].level = GetCurrentTransactionNestLevel();
	nreserved++;
}

/* Remove a unit from the list.  Returns false if this process does not have it reserved. */
static bool
reserved_remove(VdbPoolSpace space)
{
	for (int i = nreserved - 1; i >= 0; i--)
	{
		if (reserved_units[i].space.block != space.block ||
			reserved_units[i].space.segment != space.segment)
			continue;
		reserved_units[i] = reserved_units[--nreserved];
		return true;
	}
	return false;
}

/* See scm_internal.h. */
void
vdb_reserved_forget(const VdbPool *pool)
{
	if (reserved_pool != pool)
		return;
	reserved_pool = NULL;
	nreserved = 0;
}

static void unreserve(VdbPool *pool, VdbPoolSpace space);

/* Give back all units reserved at nesting level 'level' or deeper.  No lock is held. */
static void
reserved_give_back(int level)
{
	for (int i = nreserved - 1; i >= 0; i--)
	{
		if (reserved_units[i].level >= level)
			unreserve(reserved_pool, reserved_units[i].space);
	}
}

/* Give back all units when the transaction has ended or is prepared.  Transaction callback. */
static void
reserved_transaction_ended(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PARALLEL_PRE_COMMIT ||
		event == XACT_EVENT_PRE_PREPARE)
		return;
	reserved_give_back(0);
	Assert(nreserved == 0);
}

/*
 * Give back an aborted subtransaction's units, or pass a committed one's on to its parent.
 * Subtransaction callback.
 */
static void
reserved_subtransaction_ended(SubXactEvent event, SubTransactionId mine, SubTransactionId parent,
							  void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (event == SUBXACT_EVENT_ABORT_SUB)
		reserved_give_back(level);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (int i = 0; i < nreserved; i++)
			reserved_units[i].level = Min(reserved_units[i].level, level - 1);
	}
}

/* See scm_internal.h. */
void
vdb_marks_init(void)
{
	RegisterXactCallback(reserved_transaction_ended, NULL);
	RegisterSubXactCallback(reserved_subtransaction_ended, NULL);
}

/* ---- marks ---- */

/* Set or clear the mark of a unit.  Allocation lock held, exclusive. */
static void
mark_reserved(VdbPool *pool, VdbPoolSpace space, bool reserved)
{
	uint32		segment_no = space.block / VDB_SEGMENT_BLOCKS;
	VdbGroupMap *map = vdb_group_map(pool, segment_no);
	volatile uint64 *word = &map->reserved[segment_no % VDB_GROUP_SEGMENTS];

	if (space.segment)
		*word = reserved ? vdb_word_reserved_segment() : 0;
	else
		((volatile uint8 *) word)[space.block % VDB_SEGMENT_BLOCKS] =
			reserved ? VDB_RESERVED_BLOCK : VDB_RESERVED_NOT;
}

/* Check whether no block of a segment is in use or reserved. */
static bool
segment_is_free(VdbPool *pool, uint32 segment_no)
{
	VdbGroupMap *map = vdb_group_map(pool, segment_no);
	uint32		index = segment_no % VDB_GROUP_SEGMENTS;

	return vdb_word_is_free(map->state[index], map->reserved[index]);
}

/* See scm_internal.h. */
void
vdb_marks_add_used(VdbPoolShared *shared, int delta)
{
	uint32		used = pg_atomic_read_u32(&shared->used_segments) + delta;

	pg_atomic_write_u32(&shared->used_segments, used);
	if (used > pg_atomic_read_u32(&shared->high_water_segments))
		pg_atomic_write_u32(&shared->high_water_segments, used);
	shared->peak_segments = Max(shared->peak_segments, used);
}

/* Return how many of the units are segments. */
static uint32
count_segments(const VdbPoolSpace *spaces, int nspaces)
{
	uint32		n = 0;

	for (int i = 0; i < nspaces; i++)
		n += spaces[i].segment ? 1 : 0;
	return n;
}

/* ---- give back ---- */

/* Clear the mark of a unit whose state is free.  Returns true if its segment is wholly free now. */
static bool
release_one(VdbPool *pool, VdbPoolSpace space)
{
	VdbPoolShared *shared = pool->shared;
	uint32		no = space.block / VDB_SEGMENT_BLOCKS;

	mark_reserved(pool, space, false);
	if (segment_is_free(pool, no))
	{
		shared->alloc_hint = Min(shared->alloc_hint, no);
		vdb_marks_add_used(shared, -1);
		return true;
	}
	shared->block_hint = Min(shared->block_hint, no);
	return false;
}

/* See scm_internal.h. */
void
vdb_alloc_hold(VdbPool *pool, const VdbPoolSpace *spaces, int nspaces)
{
	LWLockAcquire(pool->alloc_lock, LW_EXCLUSIVE);
	for (int i = 0; i < nspaces; i++)
		mark_reserved(pool, spaces[i], true);
	LWLockRelease(pool->alloc_lock);
}

/* See scm_internal.h.  The mark is for other processes, the list for this one. */
void
vdb_alloc_reserve(VdbPool *pool, VdbPoolSpace space)
{
	Assert(LWLockHeldByMeInMode(pool->alloc_lock, LW_EXCLUSIVE));
	mark_reserved(pool, space, true);
	reserved_add(space);
}

/* See scm_internal.h. */
void
vdb_alloc_finish(VdbPool *pool, const VdbPoolSpace *spaces, int nspaces)
{
	LWLockAcquire(pool->alloc_lock, LW_EXCLUSIVE);
	for (int i = 0; i < nspaces; i++)
		mark_reserved(pool, spaces[i], false);
	pg_atomic_fetch_add_u32(&pool->shared->row_segments, count_segments(spaces, nspaces));
	LWLockRelease(pool->alloc_lock);
	for (int i = 0; i < nspaces; i++)
		(void) reserved_remove(spaces[i]);
}

/*
 * Make units available, of which row_segments were segments in use.  Wakes those that wait for
 * space if a segment is wholly free now.
 */
static void
make_available(VdbPool *pool, const VdbPoolSpace *spaces, int nspaces, uint32 row_segments)
{
	bool		any = false;

	LWLockAcquire(pool->alloc_lock, LW_EXCLUSIVE);
	for (int i = 0; i < nspaces; i++)
		any |= release_one(pool, spaces[i]);
	Assert(pg_atomic_read_u32(&pool->shared->row_segments) >= row_segments);
	pg_atomic_fetch_sub_u32(&pool->shared->row_segments, (int32) row_segments);
	LWLockRelease(pool->alloc_lock);
	if (any)
		ConditionVariableBroadcast(&pool->shared->space_cv);
}

/* See scm_internal.h. */
void
vdb_alloc_release(VdbPool *pool, const VdbPoolSpace *spaces, int nspaces)
{
	make_available(pool, spaces, nspaces, count_segments(spaces, nspaces));
}

/*
 * Give back one unit if this process still has it reserved.  It may not, because a change may have
 * put the unit to use before the error that the caller is handling.
 */
static void
unreserve(VdbPool *pool, VdbPoolSpace space)
{
	if (reserved_remove(space))
		make_available(pool, &space, 1, 0);
}

/* See scm.h. */
void
vdb_scm_unreserve_segment(VdbPool *pool, VdbBlock segment)
{
	unreserve(pool, vdb_pool_space(segment, true));
}

/* See scm.h. */
void
vdb_scm_unreserve_block(VdbPool *pool, VdbBlock block)
{
	unreserve(pool, vdb_pool_space(block, false));
}

/* See scm_internal.h.  They count as used meanwhile, but not towards the peak. */
int
vdb_alloc_take_spare(VdbPool *pool, uint32 from, uint32 to, int most, VdbPoolSpace *spaces)
{
	VdbPoolShared *shared = pool->shared;
	int			n = 0;

	vdb_reserved_expect(pool, most);
	LWLockAcquire(pool->alloc_lock, LW_EXCLUSIVE);
	for (uint32 no = to; no > from && n < most; no--)
	{
		if (!segment_is_free(pool, no - 1))
			continue;
		spaces[n] = vdb_pool_space(vdb_segment_block(no - 1), true);
		vdb_alloc_reserve(pool, spaces[n++]);
	}
	pg_atomic_fetch_add_u32(&shared->used_segments, n);
	LWLockRelease(pool->alloc_lock);
	return n;
}

/* See scm_internal.h. */
void
vdb_alloc_released(VdbPool *pool, const VdbPoolSpace *spaces, int n)
{
	LWLockAcquire(pool->alloc_lock, LW_EXCLUSIVE);
	for (int i = 0; i < n; i++)
		mark_reserved(pool, spaces[i], false);
	pg_atomic_fetch_sub_u32(&pool->shared->used_segments, n);
	pg_atomic_fetch_add_u32(&pool->shared->released_segments, n);
	LWLockRelease(pool->alloc_lock);
	for (int i = 0; i < n; i++)
		(void) reserved_remove(spaces[i]);
}

/* See scm_internal.h. */
void
vdb_alloc_backed(VdbPool *pool, const VdbPoolSpace *spaces, int n)
{
	VdbPoolShared *shared = pool->shared;

	LWLockAcquire(pool->alloc_lock, LW_EXCLUSIVE);
	for (int i = 0; i < n; i++)
	{
		mark_reserved(pool, spaces[i], false);
		shared->alloc_hint = Min(shared->alloc_hint, spaces[i].block / VDB_SEGMENT_BLOCKS);
	}
	pg_atomic_fetch_sub_u32(&shared->released_segments, n);
	LWLockRelease(pool->alloc_lock);
}

/* See scm.h.  This needs no lock, because it reads two bytes, each once. */
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

/* See scm_internal.h. */
void
vdb_marks_note_holes(VdbPool *pool)
{
	bool		holes = !RecoveryInProgress() &&
		pg_atomic_read_u32(&pool->shared->released_segments) > 0;

	pg_atomic_write_u64(&pool->shared->punch_after, holes ? GetXLogInsertRecPtr() : 0);
}

/* See scm_internal.h. */
void
vdb_alloc_recount(VdbPool *pool, bool clear_reservations)
{
	VdbPoolShared *shared = pool->shared;
	uint32		total = vdb_pool_total_segments(pool);
	uint32		used = 0;
	uint32		rows = 0;
	uint32		released = 0;

	for (uint32 base = 0; base < total; base += VDB_GROUP_SEGMENTS)
	{
		VdbGroupMap *map = vdb_group_map(pool, base);

		if (clear_reservations)
			memset(map->reserved, 0, sizeof(map->reserved));
		used += vdb_words_count_used(map->state, map->reserved,
									 Min(VDB_GROUP_SEGMENTS, total - base));
		released += vdb_words_count_released(map->state, Min(VDB_GROUP_SEGMENTS, total - base));
		/* the first segment of a group is its metadata */
		rows += vdb_words_count_segments(map->state + 1, Min(VDB_GROUP_SEGMENTS, total - base) - 1);
	}
	pg_atomic_write_u32(&shared->total_segments, total);
	pg_atomic_write_u32(&shared->used_segments, used);
	pg_atomic_write_u32(&shared->row_segments, rows);
	pg_atomic_write_u32(&shared->released_segments, released);
	pg_atomic_write_u32(&shared->high_water_segments, used);
	shared->alloc_hint = 0;
	shared->block_hint = 0;
	shared->grow_failed_at = 0;
	shared->no_holes = false;
	shared->peak_segments = used;
	shared->last_peak_segments = used;
	pg_atomic_write_u64(&shared->period_began, 0);
	vdb_marks_note_holes(pool);
}

/* See scm.h. */
uint32
vdb_scm_group_of(VdbBlock block)
{
	return block / VDB_GROUP_BLOCKS;
}
