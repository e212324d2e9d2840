/*-------------------------------------------------------------------------
 *
 * scm_grow.c
 *	  Making the pool larger.
 *
 * Growth happens under the allocation lock: the files are extended and synced, then a
 * flushed change formats the new groups' maps and raises the header's total.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/vdb_stop_point.h"
#include "scm/scm_internal.h"
#include "scm/scm_words.h"

#define GROW_RETRY_MS		1000	/* after a failure for lack of space */
#define GROW_WARN_MS		60000

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
} unreported_failure;

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

/* Publish that the pool has 'to' segments; its files are that long. */
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

/* Grow by one step; false if the pool is as large as it may or can be. */
bool
vdb_pool_grow(VdbPool *pool)
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
	vdb_marks_add_used(shared, metadata);
	return true;
}
