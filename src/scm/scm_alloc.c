/*-------------------------------------------------------------------------
 *
 * scm_alloc.c
 *	  Space in the pool: reserve, give back, grow, count.
 *
 * Space is reserved first (a volatile mark, under the pool allocation lock)
 * and becomes used by the logged change that publishes it; a change that
 * frees it ends with vdb_alloc_release.  So the lock is never held across
 * the caller's WAL, and a crash in between only leaves marks, which the next
 * incarnation clears.  Who reserves and then fails must give it back; what is
 * forgotten stays lost until then.
 *
 * alloc_hint and block_hint of the shared slot promise that nothing suitable
 * lies below them, so searches start there and need not wrap around.
 * used_segments counts the segments that are not wholly free (in use,
 * reserved, metadata); it changes only under the lock.
 *
 * Growth happens under the lock: the files are extended and synced, then a
 * flushed change formats the new groups' maps and raises the header's total.
 *
 * Locks: the pool allocation lock, the last in the order.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/vdb_guc.h"
#include "base/vdb_stop_point.h"
#include "scm/scm_internal.h"
#include "scm/scm_words.h"

#define GROW_RETRY_MS		1000	/* after a failure for lack of space */
#define GROW_WARN_MS		60000

#define NO_SEGMENT			PG_UINT32_MAX

/* Finds in the words of a group (scm_words.h). */
typedef uint32 (*FindInWords) (const uint64 *state, const uint64 *reserved,
							   uint32 from, uint32 to);

/* Set or clear the volatile mark of a unit.  Lock held, exclusive. */
static void
mark_reserved(VdbPool *pool, VdbUnit unit, bool reserved)
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

static bool
segment_is_free(VdbPool *pool, uint32 segment_no)
{
	VdbGroupMap *map = vdb_group_map(pool, segment_no);
	uint32		index = segment_no % VDB_GROUP_SEGMENTS;

	return vdb_word_is_free(map->state[index], map->reserved[index]);
}

/* First segment from 'from' on for which 'find' stops, or NO_SEGMENT. */
static uint32
find_segment(VdbPool *pool, uint32 from, FindInWords find)
{
	uint32		total = vdb_pool_total_segments(pool);

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

static void
add_used(VdbPoolShared *shared, int delta)
{
	uint32		used = pg_atomic_read_u32(&shared->used_segments) + delta;

	pg_atomic_write_u32(&shared->used_segments, used);
	if (used > pg_atomic_read_u32(&shared->high_water_segments))
		pg_atomic_write_u32(&shared->high_water_segments, used);
}

/* ---- growth ---- */

/* Gather the maps of the groups that begin in segments [from, to). */
void
vdb_alloc_format_groups(VdbScmChange *change, uint32 from, uint32 to)
{
	uint32		first = (from + VDB_GROUP_SEGMENTS - 1) / VDB_GROUP_SEGMENTS;

	for (uint32 no = first * VDB_GROUP_SEGMENTS; no < to; no += VDB_GROUP_SEGMENTS)
		vdb_change_format_map(change, vdb_group_map_block(no));
}

/* A failure of growth that this process has yet to tell of. */
static struct
{
	int			error;				/* errno; 0: none */
	uint32		segments;			/* that the pool has */
} untold_failure;

/*
 * Extension failed for lack of space (errno says).  It is worth a warning now and then, which must
 * wait until no lock is held: a client that doesn't read would hold up all who want it.
 */
static void
growth_failed(VdbPoolShared *shared, uint32 total)
{
	int			error = errno;
	TimestampTz now = GetCurrentTimestamp();

	shared->grow_failed_at = now;
	if (shared->grow_warned_at != 0 &&
		!TimestampDifferenceExceeds(shared->grow_warned_at, now, GROW_WARN_MS))
		return;
	shared->grow_warned_at = now;
	untold_failure.error = error;
	untold_failure.segments = total;
}

/* See scm.h. */
void
vdb_scm_tell_of_growth(VdbPool *pool)
{
	int			error = untold_failure.error;

	if (likely(error == 0) || InterruptHoldoffCount > 0)
		return;
	untold_failure.error = 0;
	errno = error;
	ereport(WARNING,
			(errcode(ERRCODE_DISK_FULL),
			 errmsg("could not extend the pool \"%s\" beyond %u MB: %m",
					pool->path, untold_failure.segments / VDB_SEGMENTS_PER_MB),
			 errhint("Free space on its file system, or lower vdb.scm_size.")));
}

/* Publish that the pool has 'to' segments; its files are that long. */
static void
log_growth(VdbPool *pool, uint32 from, uint32 to)
{
	VdbScmChange *change = vdb_scm_change_begin(pool, VDB_CHANGE_FLUSH | VDB_CHANGE_INTERNAL);

	vdb_change_extend(change, vdb_segment_block(to));
	vdb_alloc_format_groups(change, from, to);
	vdb_change_header(change, VDB_PHASE_PUBLISH, offsetof(VdbPoolHeader, total_segments),
					  &to, sizeof(to));
	(void) vdb_scm_change_end(change);
}

/* Grow by one step; false if the pool is as large as it may or can be. */
static bool
grow(VdbPool *pool)
{
	VdbPoolShared *shared = pool->shared;
	uint32		max = vdb_scm_limit_mb() * VDB_SEGMENTS_PER_MB;
	uint32		from = vdb_pool_total_segments(pool);
	uint32		to = vdb_words_next_total(from, max);
	uint32		metadata;

	if (to <= from)
		return false;
	if (shared->grow_failed_at != 0 &&
		!TimestampDifferenceExceeds(shared->grow_failed_at, GetCurrentTimestamp(),
									GROW_RETRY_MS))
		return false;
	if (!vdb_file_extend(&pool->rnode, vdb_segment_block(to), false))
	{
		to = Min(to, from + VDB_POOL_INITIAL_SEGMENTS);
		if (!vdb_file_extend(&pool->rnode, vdb_segment_block(to), false))
		{
			growth_failed(shared, from);
			return false;
		}
	}
	shared->grow_failed_at = 0;
	VDB_STOP_POINT("grow-extended");
	log_growth(pool, from, to);
	VDB_STOP_POINT("grow-logged");
	pg_atomic_write_u32(&shared->total_segments, to);
	metadata = (to + VDB_GROUP_SEGMENTS - 1) / VDB_GROUP_SEGMENTS -
		(from + VDB_GROUP_SEGMENTS - 1) / VDB_GROUP_SEGMENTS;
	add_used(shared, metadata);
	return true;
}

/* How many of 'want' segments may be given now; grows first.  Lock held. */
static uint32
room_for(VdbPool *pool, uint32 want, bool urgent)
{
	for (;;)
	{
		uint32		total = vdb_pool_total_segments(pool);
		uint32		taken = pg_atomic_read_u32(&pool->shared->used_segments);
		uint32		room;

		if (!urgent)
			taken += vdb_words_kept_back(total);
		room = taken < total ? total - taken : 0;
		if (room >= want)
			return want;
		if (!grow(pool))
			return room;
	}
}

/* ---- reserve ---- */

static void
lock_for_reserving(VdbPool *pool)
{
	if (unlikely(!pool->shared->incarnation_begun))
		(void) vdb_incarnation_current(pool);
	LWLockAcquire(pool->alloc_lock, LW_EXCLUSIVE);
}

/* Reserve one wholly free segment as 'unit' kind; NO_SEGMENT if there is none. */
static uint32
take_segment(VdbPool *pool)
{
	uint32		no = find_segment(pool, pool->shared->alloc_hint, vdb_words_find_segment);

	pool->shared->alloc_hint = no == NO_SEGMENT ? vdb_pool_total_segments(pool) : no + 1;
	return no;
}

int
vdb_scm_reserve_segments(VdbPool *pool, int want, bool urgent, VdbBlock *segments)
{
	uint32		room;
	int			n = 0;

	Assert(want > 0);
	lock_for_reserving(pool);
	room = room_for(pool, want, urgent);
	while (n < room)
	{
		uint32		no = take_segment(pool);
		VdbUnit		unit;

		if (no == NO_SEGMENT)
			break;
		unit.block = vdb_segment_block(no);
		unit.segment = true;
		mark_reserved(pool, unit, true);
		segments[n++] = unit.block;
	}
	add_used(pool->shared, n);
	LWLockRelease(pool->alloc_lock);
	vdb_scm_tell_of_growth(pool);
	return n;
}

/* A free block in segment 'no', which holds single blocks or nothing. */
static VdbBlock
take_block(VdbPool *pool, uint32 no)
{
	VdbGroupMap *map = vdb_group_map(pool, no);
	uint32		index = no % VDB_GROUP_SEGMENTS;
	int			at = vdb_word_free_block(map->state[index], map->reserved[index]);
	VdbUnit		unit;

	unit.block = vdb_segment_block(no) + Max(at, 0);
	unit.segment = false;
	mark_reserved(pool, unit, true);
	return unit.block;
}

VdbBlock
vdb_scm_reserve_block(VdbPool *pool, bool urgent)
{
	VdbPoolShared *shared = pool->shared;
	VdbBlock	block = VDB_BLOCK_NONE;
	uint32		no;

	lock_for_reserving(pool);
	no = find_segment(pool, shared->block_hint, vdb_words_find_room);
	if (no == NO_SEGMENT && room_for(pool, 1, urgent) > 0)
	{
		no = take_segment(pool);
		if (no != NO_SEGMENT)
			add_used(shared, 1);
	}
	if (no != NO_SEGMENT)
	{
		block = take_block(pool, no);
		shared->block_hint = no;
	}
	LWLockRelease(pool->alloc_lock);
	vdb_scm_tell_of_growth(pool);
	return block;
}

/* ---- give back ---- */

/* Clear one unit's mark, its state being free; true if its segment is free now. */
static bool
release_one(VdbPool *pool, VdbUnit unit)
{
	VdbPoolShared *shared = pool->shared;
	uint32		no = unit.block / VDB_SEGMENT_BLOCKS;

	mark_reserved(pool, unit, false);
	if (segment_is_free(pool, no))
	{
		shared->alloc_hint = Min(shared->alloc_hint, no);
		add_used(shared, -1);
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
		mark_reserved(pool, units[i], true);
	LWLockRelease(pool->alloc_lock);
}

/* A change has put these units to use: their reservation is over. */
void
vdb_alloc_settle(VdbPool *pool, const VdbUnit *units, int nunits)
{
	LWLockAcquire(pool->alloc_lock, LW_EXCLUSIVE);
	for (int i = 0; i < nunits; i++)
		mark_reserved(pool, units[i], false);
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

uint32
vdb_scm_group_of(VdbBlock block)
{
	return block / VDB_GROUP_BLOCKS;
}
