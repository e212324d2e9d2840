/*-------------------------------------------------------------------------
 *
 * scm_release.c
 *	  Return disk space that the pool does not need, and get it back before it is used again.
 *
 * A load makes the pool large, and migration empties it.  What was not in use for
 * vdb.scm_release_after is then returned to the file system.  The file keeps its length, so no
 * mapping ends before its pool does; the space of segments is taken from it as holes.
 *
 * A store into a hole needs space on the file system at that moment, and if there is none, the
 * process gets SIGBUS.  So a segment that may be a hole is not free, but has a state of its own in
 * the allocation map, released.  To release segments the worker
 *
 *	1. reserves free segments, the last ones first
 *	2. names each of their blocks in WAL, without a store, for tools that look there for changed
 *	   blocks (pg_rewind must restore what the hole takes)
 *	3. logs their new state, in a flushed change
 *	4. when a checkpoint is complete whose redo position is past that change, punches the holes
 *
 * Recovery from a crash begins at such a checkpoint or later, so redo stores nothing in a hole.
 * After a start it is not known which holes were punched, so all of them are punched again, after a
 * checkpoint.  Standbys punch holes, too (scm_holes.c).
 *
 * On a file system that cannot punch holes nothing is released.
 *
 * Growth takes released segments before it extends the files (scm_back.c).
 *
 * How much is needed is seen from the most that was in use during the present period of
 * vdb.scm_release_after, and during the last one.
 *
 * Locks: the pool's growth lock, for one group of segments at a time, so that growth need not wait
 * for long; under it the allocation lock.  State 'released' changes only under the growth lock.
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

/* Segments whose blocks one record can name. */
#define SEGMENTS_PER_RECORD	(VDB_CHANGE_MAX_BLOCKS / VDB_SEGMENT_BLOCKS)

/* ---- what to release ---- */

/* Return how many segments more the pool has than it should keep if 'peak' of them are needed. */
static uint32
spare_segments(VdbPoolShared *shared, uint32 peak)
{
	uint32		keep = vdb_words_keep(peak, (uint32) vdb_scm_min_size_mb * VDB_SEGMENTS_PER_MB);
	uint32		backed = vdb_backed_segments(shared);

	return backed > keep ? backed - keep : 0;
}

/* Check whether a period has ended, or none has begun. */
static bool
period_has_ended(VdbPoolShared *shared)
{
	TimestampTz began = (TimestampTz) pg_atomic_read_u64(&shared->period_began);

	return began == 0 ||
		TimestampDifferenceExceeds(began, GetCurrentTimestamp(), vdb_scm_release_after_ms);
}

/*
 * Return the value of punch_after if there are holes to punch, and a checkpoint allows it, else
 * InvalidXLogRecPtr.
 */
static XLogRecPtr
holes_ready(VdbPoolShared *shared)
{
	XLogRecPtr	after = pg_atomic_read_u64(&shared->punch_after);

	return after != InvalidXLogRecPtr && vdb_sync_completed_redo() >= after ? after :
		InvalidXLogRecPtr;
}

/* Check whether so many segments are worth the WAL. */
static bool
worth_release(VdbPoolShared *shared, uint32 spare)
{
	return spare > vdb_backed_segments(shared) / 8;
}

/* See scm.h. */
bool
vdb_scm_wants_release(VdbPoolShared *shared)
{
	if (vdb_scm_release_after_ms < 0 || shared->no_holes)
		return false;
	if (holes_ready(shared) != InvalidXLogRecPtr)
		return true;
	return worth_release(shared, spare_segments(shared,
												pg_atomic_read_u32(&shared->used_segments))) &&
		period_has_ended(shared);
}

/*
 * Begin a period.  Returns the number of segments that were not needed in the last two, or 0 if the
 * pool has seen only one since its slot was filled.
 */
static uint32
begin_period(VdbPool *pool)
{
	VdbPoolShared *shared = pool->shared;
	bool		first = pg_atomic_read_u64(&shared->period_began) == 0;
	uint32		peak;

	LWLockAcquire(pool->alloc_lock, LW_EXCLUSIVE);
	peak = Max(shared->peak_segments, shared->last_peak_segments);
	shared->last_peak_segments = shared->peak_segments;
	shared->peak_segments = pg_atomic_read_u32(&shared->used_segments);
	pg_atomic_write_u64(&shared->period_began, (uint64) GetCurrentTimestamp());
	LWLockRelease(pool->alloc_lock);
	return first ? 0 : spare_segments(shared, peak);
}

/* ---- the growth lock ---- */

static LWLock *
growth_lock(VdbPool *pool)
{
	return &vdb_shared->grow_locks[pool->shared - vdb_shared->pools].lock;
}

/* End work under the growth lock, and wake the processes that found it taken. */
static void
unlock_growth(VdbPool *pool)
{
	LWLockRelease(growth_lock(pool));
	ConditionVariableBroadcast(&pool->shared->space_cv);
}

/* ---- release ---- */

/* Name each block of the segments in WAL. */
static void
log_blocks(VdbPool *pool, const VdbPoolSpace *spaces, int n)
{
	VdbScmChange *change = NULL;

	for (int i = 0; i < n; i++)
	{
		if (change == NULL)
			change = vdb_scm_change_begin(pool, 0);
		for (int at = 0; at < VDB_SEGMENT_BLOCKS; at++)
			vdb_change_refer(change, spaces[i].block + at);
		if ((i + 1) % SEGMENTS_PER_RECORD != 0 && i + 1 < n)
			continue;
		(void) vdb_scm_change_end(change);
		change = NULL;
	}
}

/*
 * Release up to 'most' free segments of the group that begins with segment 'base'.  Returns how
 * many.  The growth lock is held, and this run's epoch has begun.
 */
static uint32
release_group(VdbPool *pool, uint32 base, uint32 most)
{
	VdbPoolSpace spaces[VDB_GROUP_SEGMENTS];
	uint32		end = Min(base + VDB_GROUP_SEGMENTS,
						  pg_atomic_read_u32(&pool->shared->total_segments));
	VdbScmChange *change;
	XLogRecPtr	lsn;
	int			n = vdb_alloc_take_spare(pool, base, end, Min(most, VDB_GROUP_SEGMENTS), spaces);

	if (n == 0)
		return 0;
	log_blocks(pool, spaces, n);
	VDB_STOP_POINT("release-blocks-logged");
	change = vdb_scm_change_begin(pool, VDB_CHANGE_FLUSH | VDB_CHANGE_RELEASE);
	for (int i = 0; i < n; i++)
		vdb_change_segment_state(change, spaces[i].block, vdb_word_released());
	lsn = vdb_scm_change_end(change);
	vdb_alloc_released(pool, spaces, n);
	pg_atomic_write_u64(&pool->shared->punch_after, lsn);
	VDB_STOP_POINT("release-logged");
	return n;
}

/* Report that holes cannot be punched.  No lock is held. */
static void
report_no_holes(VdbPool *pool, int error)
{
	if (error == EOPNOTSUPP || error == ENOSYS)
	{
		pool->shared->no_holes = true;
		return;
	}
	errno = error;
	ereport(WARNING,
			(errcode_for_file_access(),
			 errmsg("could not return disk space of the pool \"%s\": %m", pool->path)));
}

/* Release 'spare' segments, the last ones first.  Ends early if another process grows the pool. */
static void
release_segments(VdbPool *pool, uint32 spare)
{
	uint32		total = pg_atomic_read_u32(&pool->shared->total_segments);
	uint32		groups = (total + VDB_GROUP_SEGMENTS - 1) / VDB_GROUP_SEGMENTS;
	int			error = 0;

	(void) vdb_epoch_current(pool);
	while (groups > 0 && spare > 0 && LWLockConditionalAcquire(growth_lock(pool), LW_EXCLUSIVE))
	{
		groups--;
		error = vdb_file_try_punch(&pool->rnode);
		/* processes may have reserved space since 'spare' was computed */
		spare = error != 0 ? 0 :
			Min(spare, spare_segments(pool->shared,
									  pg_atomic_read_u32(&pool->shared->used_segments)));
		if (spare > 0)
			spare -= release_group(pool, groups * VDB_GROUP_SEGMENTS, spare);
		unlock_growth(pool);
		CHECK_FOR_INTERRUPTS();
	}
	if (error != 0)
		report_no_holes(pool, error);
}

/* ---- holes ---- */

/*
 * Punch all holes, if a checkpoint is complete past 'after'.  Another process that grows the pool
 * has precedence.  After an error there is another attempt when the next checkpoint is complete.
 */
static void
punch_holes(VdbPool *pool, XLogRecPtr after)
{
	VdbPoolShared *shared = pool->shared;
	uint32		total = pg_atomic_read_u32(&shared->total_segments);
	int			rc = 0;

	for (uint32 base = 0; base < total && rc == 0; base += VDB_GROUP_SEGMENTS)
	{
		VdbGroupMap *map = vdb_group_map(pool, base);

		CHECK_FOR_INTERRUPTS();
		if (!LWLockConditionalAcquire(growth_lock(pool), LW_EXCLUSIVE))
			return;
		/* other segments may have been released meanwhile, and need a later checkpoint */
		if (pg_atomic_read_u64(&shared->punch_after) != after)
			rc = -1;
		else if ((rc = vdb_punch_group(&pool->rnode, map, base,
									   Min(VDB_GROUP_SEGMENTS, total - base))) != 0)
			vdb_marks_note_holes(pool);
		unlock_growth(pool);
		VDB_STOP_POINT("release-punched");
	}
	if (rc > 0)
		report_no_holes(pool, rc);
	else if (rc == 0)
		(void) pg_atomic_compare_exchange_u64(&shared->punch_after, &after, InvalidXLogRecPtr);
}

/* See scm.h. */
void
vdb_scm_release(VdbPool *pool)
{
	VdbPoolShared *shared = pool->shared;
	XLogRecPtr	after;
	uint32		spare;

	Assert(InterruptHoldoffCount == 0);
	if (RecoveryInProgress() || !vdb_scm_wants_release(shared))
		return;
	if ((after = holes_ready(shared)) != InvalidXLogRecPtr)
		punch_holes(pool, after);
	if (!period_has_ended(shared))
		return;
	spare = begin_period(pool);
	if (worth_release(shared, spare))
		release_segments(pool, spare);
}
