/*-------------------------------------------------------------------------
 *
 * scm_grow.c
 *	  Make the pool larger.
 *
 * Growth waits for the file system, which allocates and syncs the files, and for a flush of WAL.
 * So it happens under no lock for which a process waits.  One process at a time grows a pool,
 * under the pool's growth lock, which is only ever acquired conditionally.  A process that needs
 * space and finds the lock taken sleeps until there is space, or until the growth has ended.
 *
 *	1. Extend the files, really allocating their blocks, and sync them.
 *	2. In a flushed change, format the allocation maps of new groups and raise the header's total.
 *	3. Under the allocation lock, raise the shared slot's total.  From then on the new space can be
 *	   reserved.
 *
 * A crash after step 1 leaves files longer than the header says, which the next growth uses.  A
 * crash after step 2 loses nothing, because the slot is made from the header.
 *
 * The worker grows the pool ahead of need.  A backend grows it when there is no space, unless the
 * backend holds a lightweight lock.  Then the pool counts as full for it, and its caller tries
 * again without locks.  The reserve of the pool is for such callers.  vdb_epoch_current
 * replenishes it before the first lock is taken.
 *
 * Locks: the growth lock; under it, for a moment, the allocation lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "base/vdb_stop_point.h"
#include "scm/scm_internal.h"
#include "scm/scm_words.h"

#define GROW_RETRY_MS		1000	/* between attempts after a lack of space */
#define GROW_WARN_MS		60000	/* between warnings */
#define GROW_WAIT_MS		100		/* one wait for another process's growth */

/* See scm_internal.h. */
void
vdb_alloc_format_groups(VdbScmChange *change, uint32 from, uint32 to)
{
	uint32		first = (from + VDB_GROUP_SEGMENTS - 1) / VDB_GROUP_SEGMENTS;

	for (uint32 no = first * VDB_GROUP_SEGMENTS; no < to; no += VDB_GROUP_SEGMENTS)
		vdb_change_format_map(change, vdb_group_map_block(no));
}

/* ---- failures ---- */

/* A failure to grow that this process has yet to report. */
static struct
{
	int			error;				/* errno; 0: none */
	uint32		segments;			/* size of the pool */
} unreported_failure;

/*
 * Note that extending the files failed for lack of space; errno is set.  A warning is due from time
 * to time.  It must wait until no lock is held, because a client that does not read its messages
 * would make the process hold the lock for long.
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
	unreported_failure.error = error;
	unreported_failure.segments = total;
}

/* See scm.h. */
void
vdb_scm_report_growth(VdbPool *pool)
{
	int			error = unreported_failure.error;

	if (likely(error == 0) || InterruptHoldoffCount > 0)
		return;
	unreported_failure.error = 0;

	errno = error;
	ereport(WARNING,
			(errcode(ERRCODE_DISK_FULL),
			 errmsg("could not extend the pool \"%s\" beyond %u MB: %m",
					pool->path, unreported_failure.segments / VDB_SEGMENTS_PER_MB),
			 errhint("Free space on its file system, or lower vdb.scm_size.")));
}

/* ---- one step ---- */

/* Log that the pool has 'to' segments.  Its files have been extended. */
static void
log_growth(VdbPool *pool, uint32 from, uint32 to)
{
	VdbScmChange *change = vdb_change_open(pool, VDB_CHANGE_FLUSH | VDB_CHANGE_INTERNAL);

	vdb_change_extend(change, vdb_segment_block(to));
	vdb_alloc_format_groups(change, from, to);
	vdb_change_header(change, VDB_PHASE_PUBLISH, offsetof(VdbPoolHeader, total_segments),
					  &to, sizeof(to));
	(void) vdb_scm_change_end(change);
}

/* Return the largest size allowed for the pool, in segments. */
static uint32
size_limit(void)
{
	return vdb_scm_limit_mb() * VDB_SEGMENTS_PER_MB;
}

/* Check whether growth is allowed, and has not failed for lack of space within GROW_RETRY_MS. */
static bool
may_grow(VdbPool *pool)
{
	VdbPoolShared *shared = pool->shared;

	if (vdb_backed_segments(shared) >= size_limit())
		return false;
	return shared->grow_failed_at == 0 ||
		TimestampDifferenceExceeds(shared->grow_failed_at, GetCurrentTimestamp(), GROW_RETRY_MS);
}

/*
 * Extend the files to 'to' segments, or, if that fails, by a small step.  Returns the size
 * reached, in segments, or 0 if there is no space.
 */
static uint32
extend_files(VdbPool *pool, uint32 from, uint32 to)
{
	if (vdb_file_extend(&pool->rnode, vdb_segment_block(to), false))
		return to;
	to = Min(to, from + VDB_POOL_INITIAL_SEGMENTS);
	if (vdb_file_extend(&pool->rnode, vdb_segment_block(to), false))
		return to;
	growth_failed(pool->shared, from);
	return 0;
}

/* Extend the files by one step.  The growth lock is held, and no other. */
static void
extend(VdbPool *pool)
{
	VdbPoolShared *shared = pool->shared;
	uint32		from = pg_atomic_read_u32(&shared->total_segments);
	uint32		to = vdb_words_next_total(from, size_limit());
	uint32		metadata;

	/* the limit may have been lowered since may_grow looked at it */
	if (to <= from || (to = extend_files(pool, from, to)) == 0)
		return;
	Assert(to > from);
	shared->grow_failed_at = 0;
	VDB_STOP_POINT("grow-extended");
	log_growth(pool, from, to);
	VDB_STOP_POINT("grow-logged");
	metadata = (to + VDB_GROUP_SEGMENTS - 1) / VDB_GROUP_SEGMENTS -
		(from + VDB_GROUP_SEGMENTS - 1) / VDB_GROUP_SEGMENTS;
	LWLockAcquire(pool->alloc_lock, LW_EXCLUSIVE);
	pg_atomic_write_u32(&shared->total_segments, to);
	vdb_marks_add_used(shared, metadata);
	LWLockRelease(pool->alloc_lock);
}

/*
 * Grow the pool by one step: give released segments space again, or, if there are none, extend the
 * files.  The growth lock is held, and no other.
 */
static void
grow(VdbPool *pool)
{
	VdbPoolShared *shared = pool->shared;
	uint32		from = vdb_backed_segments(shared);
	uint32		to = vdb_words_next_total(from, size_limit());

	if (pg_atomic_read_u32(&shared->released_segments) == 0)
		extend(pool);
	else if (to > from)
	{
		if (vdb_back_released(pool, to - from))
			shared->grow_failed_at = 0;
		else
			growth_failed(shared, from);
	}
}

/* Check whether at most 'spare' segments of the pool are free. */
static bool
is_short(VdbPoolShared *shared, uint32 spare)
{
	return pg_atomic_read_u32(&shared->used_segments) + spare >= vdb_backed_segments(shared);
}

/*
 * Grow the pool by one step if that is still needed.  Returns false if another process is growing
 * it.
 */
static bool
try_to_grow(VdbPool *pool, uint32 spare)
{
	LWLock	   *lock = &vdb_shared->grow_locks[pool->shared - vdb_shared->pools].lock;

	if (!LWLockConditionalAcquire(lock, LW_EXCLUSIVE))
		return false;
	if (is_short(pool->shared, spare) && may_grow(pool))
		grow(pool);
	LWLockRelease(lock);
	ConditionVariableBroadcast(&pool->shared->space_cv);
	return true;
}

/* ---- when to grow ---- */

/* Return the number of segments that only urgent callers get. */
static uint32
kept_back(VdbPoolShared *shared)
{
	return vdb_words_kept_back(vdb_backed_segments(shared));
}

/*
 * Return the number of free segments at which the worker grows the pool: those kept back, and an
 * eighth of all, which is limited to 8 MB.
 */
static uint32
low_water(VdbPoolShared *shared)
{
	uint32		total = vdb_backed_segments(shared);

	return kept_back(shared) + Min(total / 8, 8 * VDB_SEGMENTS_PER_MB);
}

/* See scm.h. */
bool
vdb_scm_make_larger(VdbPool *pool)
{
	VdbPoolShared *shared = pool->shared;

	if (InterruptHoldoffCount > 0 || !is_short(shared, kept_back(shared)) || !may_grow(pool))
		return false;
	if (!try_to_grow(pool, kept_back(shared)))
	{
		ConditionVariablePrepareToSleep(&shared->space_cv);
		ConditionVariableTimedSleep(&shared->space_cv, GROW_WAIT_MS, PG_WAIT_EXTENSION);
		ConditionVariableCancelSleep();
	}
	CHECK_FOR_INTERRUPTS();
	return true;
}

/*
 * See scm_internal.h.  While rows are being loaded, all space except the reserve is often used.  So
 * this looks at the reserve alone, and leaves half of it to processes that need space while the
 * pool grows.
 */
void
vdb_grow_reserve(VdbPool *pool)
{
	VdbPoolShared *shared = pool->shared;
	uint32		spare = kept_back(shared) / 2;

	if (unlikely(is_short(shared, spare)) && InterruptHoldoffCount == 0 && may_grow(pool))
		(void) try_to_grow(pool, spare);
}

/* See scm.h. */
bool
vdb_scm_wants_growth(VdbPool *pool)
{
	VdbPoolShared *shared = pool->shared;

	return shared->epoch_begun && is_short(shared, low_water(shared)) && may_grow(pool);
}

/* See scm.h. */
void
vdb_scm_grow_ahead(VdbPool *pool)
{
	Assert(InterruptHoldoffCount == 0);
	if (vdb_scm_wants_growth(pool))
		(void) try_to_grow(pool, low_water(pool->shared));
	vdb_scm_report_growth(pool);
}
