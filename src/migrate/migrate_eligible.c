/*-------------------------------------------------------------------------
 *
 * migrate_eligible.c
 *	  Eligible tables and ranges: collecting statistics for the policy.
 *
 * Ranges are looked at without locks (vdb_map_summarize); a stripe's meta only under a block lock
 * of the stripe, and a segment's state under the lock of its table's open segments.  So a look
 * costs some microseconds for each range, and its result is a hint: a move chooses under its own
 * locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "miscadmin.h"
#include "storage/procarray.h"
#include "utils/timestamp.h"

#include "base/vdb_guc.h"
#include "migrate/migrate_private.h"
#include "scm/scm_words.h"

/* Return the number of closed segments of the range. */
static uint32
closed_segments(const VdbTableRef *ref, const VdbRangeSummary *summary)
{
	uint32		closed = 0;

	for (int i = 0; i < summary->nsegments; i++)
		if (vdb_rows_segment_state(ref, summary->segments[i]) == VDB_SEGMENT_CLOSED)
			closed++;
	return closed;
}

/* Check whether the range is eligible. */
static bool
is_eligible(const VdbTableRef *ref, const VdbRangeSummary *summary)
{
	return summary->nsegments > 0 &&
		vdb_migrate_range_eligible((uint32) summary->nsegments, closed_segments(ref, summary),
								   summary->complete, vdb_migrate_backlog_segments);
}

/*
 * Check whether a stripe of the summary has the mark 'in_doubt'.  *resolves is set if it might be
 * resolved now.
 */
static bool
is_in_doubt(const VdbTableRef *ref, uint32 range, const VdbRangeSummary *summary, int i,
			bool *resolves)
{
	VdbLogicalBlock lb = range * VDB_RANGE_LBS + summary->stripe_lbs[i];
	VdbExtent	extent;
	TransactionId min_xmin = InvalidTransactionId;
	TransactionId max_xmin = InvalidTransactionId;
	bool		in_doubt = false;

	Assert(i >= 0 && i < summary->nstripes);
	vdb_lock_block(ref, lb, LW_SHARED);
	vdb_map_lookup(ref, lb, &extent);
	if (extent.kind == VDB_EXTENT_STRIPE)
	{
		const VdbStripeMeta *meta = vdb_map_meta(ref->pool, extent.ref);

		in_doubt = (meta->flags & VDB_STRIPE_IN_DOUBT) != 0;
		min_xmin = meta->min_xmin;
		max_xmin = meta->max_xmin;
	}
	vdb_unlock_block(ref, lb);
	*resolves = in_doubt &&
		!(TransactionIdIsNormal(min_xmin) && TransactionIdIsInProgress(min_xmin)) &&
		!(TransactionIdIsNormal(max_xmin) && TransactionIdIsInProgress(max_xmin));
	return in_doubt;
}

/*
 * Add up a table's statistics.  *in_doubt is set if the table has stripes in doubt, whether they
 * can be resolved now or later.
 */
static void
gather_statistics(const VdbTableRef *ref, VdbTableStatistics *statistics, bool *in_doubt)
{
	VdbCursor	cursor;
	VdbRangeSummary summary;

	*in_doubt = false;
	vdb_cursor_init_blocks(&cursor, ref);
	while (vdb_cursor_next_range(&cursor))
	{
		uint32		range = vdb_lb_range(vdb_cursor_lb(&cursor));

		CHECK_FOR_INTERRUPTS();
		if (!vdb_map_summarize(ref, range, &summary))
			continue;
		statistics->segments += summary.nsegments;
		statistics->eligible_ranges += is_eligible(ref, &summary) ? 1 : 0;
		for (int i = 0; i < summary.nstripes; i++)
		{
			bool		resolves;

			*in_doubt = is_in_doubt(ref, range, &summary, i, &resolves) || *in_doubt;
			statistics->in_doubt_stripes += resolves ? 1 : 0;
		}
	}
}

/* See migrate.h. */
uint32
vdb_migrate_pool_percent(VdbPoolShared *pool)
{
	uint32		limit = vdb_scm_limit_mb() * (1024 * 1024 / VDB_SEGMENT_BYTES);

	return vdb_migrate_room_percent(limit, vdb_words_kept_back(limit),
									pg_atomic_read_u32(&pool->used_segments),
									pg_atomic_read_u32(&pool->row_segments));
}

/* See migrate.h. */
VdbReason
vdb_migrate_table_eligible(const VdbTableRef *ref, bool *waiting)
{
	VdbTableStatistics statistics = {0};
	VdbPolicy	policy;
	bool		in_doubt;

	policy.high_water_percent = vdb_migrate_high_water;
	policy.after_ms = (uint32) vdb_migrate_after_ms;
	gather_statistics(ref, &statistics, &in_doubt);
	statistics.pool_percent = vdb_migrate_pool_percent(vdb_pool_shared(ref->pool));
	statistics.age_ms = VDB_MAP_CLOCK(GetCurrentTimestamp()) - vdb_map_table_entry(ref)->moved_at;
	*waiting = statistics.segments > 0 || in_doubt;
	return vdb_migrate_reason(&statistics, &policy);
}

/* See migrate.h. */
bool
vdb_migrate_may_find(const VdbTableRef *ref, uint32 range, const VdbRangeSummary *summary,
					 int flags)
{
	if (flags & VDB_MIGRATE_ELIGIBLE)
		return is_eligible(ref, summary);
	if (summary->nsegments > 0 && !(flags & VDB_MIGRATE_STRIPES))
		return true;
	if (summary->thinned && summary->nstripes > 0)
		return true;
	for (int i = 0; i < summary->nstripes; i++)
	{
		bool		resolves;

		if (is_in_doubt(ref, range, summary, i, &resolves))
			return true;
	}
	return false;
}
