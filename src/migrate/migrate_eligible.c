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

/*
 * A segment with rows that a session has handed back counts as closed when it has been idle for so
 * many times vdb.migrate_after: rows that come now and then must find it as it was.
 */
#define VDB_IDLE_FACTOR		60

/* What waits in a range. */
typedef struct RangeWaiting
{
	uint32		closed;				/* segments that no session goes on in */
	VdbWaiting	now;				/* what age may move now: closed segments, and idle ones */
	VdbWaiting	all;				/* what a full pool may move, and age later: also segments that
									 * sessions have handed back */
} RangeWaiting;

/* ---- the pool ---- */

/* See migrate.h. */
uint32
vdb_migrate_pool_percent(VdbPoolShared *pool)
{
	uint32		limit = vdb_scm_limit_mb() * (1024 * 1024 / VDB_SEGMENT_BYTES);

	return vdb_migrate_room_percent(limit, vdb_words_kept_back(limit),
									pg_atomic_read_u32(&pool->used_segments),
									pg_atomic_read_u32(&pool->row_segments));
}

/* ---- segments ---- */

/* See migrate.h. */
int64
vdb_migrate_idle_ms(int flags, bool has_rows)
{
	if (flags & VDB_MIGRATE_ELIGIBLE)
		return VDB_IDLE_NEVER;
	if (flags & VDB_MIGRATE_AGED)
		return (int64) vdb_migrate_after_ms * (has_rows ? VDB_IDLE_FACTOR : 1);
	return 0;
}

/* Add a segment to what waits. */
static void
add_waiting(VdbWaiting *waiting, const VdbSegmentUse *use, bool handed_back)
{
	Assert(!handed_back || waiting->empty <= waiting->segments);
	waiting->segments++;
	waiting->rows += use->rows;
	waiting->empty += handed_back && use->slots == 0 ? 1 : 0;
}

/*
 * Find out what waits in the range.  Rows of closed segments are counted only as long as the number
 * of segments doesn't decide.
 */
static void
look_at_segments(const VdbTableRef *ref, const VdbRangeSummary *summary, RangeWaiting *waiting)
{
	Assert(summary->nsegments <= VDB_RANGE_LBS);
	memset(waiting, 0, sizeof(RangeWaiting));
	for (int i = 0; i < summary->nsegments; i++)
	{
		VdbSegmentUse use = {0};
		int64		idle_ms;
		VdbSegmentState state = vdb_rows_segment_state(ref, summary->segments[i], &idle_ms);
		bool		handed_back = state == VDB_SEGMENT_HANDED_BACK;

		if (state == VDB_SEGMENT_OWNED)
			continue;
		if ((handed_back || waiting->closed < VDB_MIN_SEGMENTS) &&
			!vdb_rows_segment_use(ref, summary->segments[i], &use))
			continue;			/* it has just been freed, or is damaged: its move will tell */
		waiting->closed += handed_back ? 0 : 1;
		add_waiting(&waiting->all, &use, handed_back);
		if (!handed_back || idle_ms >= vdb_migrate_idle_ms(VDB_MIGRATE_AGED, use.slots > 0))
			add_waiting(&waiting->now, &use, handed_back);
	}
	Assert(waiting->closed <= waiting->now.segments);
	Assert(waiting->now.segments <= waiting->all.segments);
}

/* Check whether the range is eligible. */
static bool
is_eligible(const VdbRangeSummary *summary, const RangeWaiting *waiting)
{
	return vdb_migrate_range_eligible((uint32) summary->nsegments, waiting->closed,
									  summary->complete, vdb_migrate_backlog_segments);
}

/* Check whether enough waits in the range for age to move it. */
static bool
is_aged(const VdbRangeSummary *summary, const RangeWaiting *waiting)
{
	VdbMinimum	minimum = vdb_migrate_minimum(vdb_migrate_min_rows, 0, 100);

	return vdb_migrate_worth(&waiting->now, &minimum) || is_eligible(summary, waiting);
}

/* Check whether nothing has been added to the range's segments for long. */
static bool
is_idle(const VdbRangeSummary *summary, const RangeWaiting *waiting)
{
	return summary->nsegments > 0 && waiting->now.segments == (uint32) summary->nsegments;
}

/*
 * Check whether the pool is past the high-water mark and the range is to be moved for that: enough
 * waits in it, or nothing is to be expected there.
 */
static bool
is_pressed(const VdbTableRef *ref, const VdbRangeSummary *summary, const RangeWaiting *waiting)
{
	uint32		percent = vdb_migrate_pool_percent(vdb_pool_shared(ref->pool));
	VdbMinimum	minimum = vdb_migrate_minimum(vdb_migrate_min_rows, percent,
											  vdb_migrate_high_water);

	return percent >= (uint32) vdb_migrate_high_water &&
		(vdb_migrate_worth(&waiting->all, &minimum) || is_eligible(summary, waiting) ||
		 is_idle(summary, waiting));
}

/* Check whether a move with these flags moves the range's segments. */
static bool
segments_wanted(const VdbTableRef *ref, const VdbRangeSummary *summary, int flags)
{
	RangeWaiting waiting;

	if (summary->nsegments == 0 || (flags & VDB_MIGRATE_STRIPES))
		return false;
	if ((flags & (VDB_MIGRATE_ELIGIBLE | VDB_MIGRATE_AGED | VDB_MIGRATE_PRESSED)) == 0)
		return true;
	look_at_segments(ref, summary, &waiting);
	if (flags & VDB_MIGRATE_ELIGIBLE)
		return is_eligible(summary, &waiting);
	if (flags & VDB_MIGRATE_AGED)
		return is_aged(summary, &waiting);
	return is_pressed(ref, summary, &waiting);
}

/* See migrate.h. */
bool
vdb_migrate_segments_wanted(const VdbTableRef *ref, uint32 range, int flags)
{
	VdbRangeSummary summary;

	return vdb_map_summarize(ref, range, &summary) && segments_wanted(ref, &summary, flags);
}

/* ---- stripes ---- */

/* Facts about a stripe, from its meta. */
typedef struct StripeLook
{
	bool		found;
	bool		in_doubt;
	bool		resolves;			/* in doubt, and might be resolved now */
	uint32		rows;
	uint64		bytes;				/* before encoding */
} StripeLook;

/* Look at stripe i of the summary, under a block lock. */
static void
look_at_stripe(const VdbTableRef *ref, uint32 range, const VdbRangeSummary *summary, int i,
			   StripeLook *look)
{
	VdbLogicalBlock lb = range * VDB_RANGE_LBS + summary->stripe_lbs[i];
	VdbExtent	extent;
	TransactionId min_xmin = InvalidTransactionId;
	TransactionId max_xmin = InvalidTransactionId;

	Assert(i >= 0 && i < summary->nstripes);
	memset(look, 0, sizeof(StripeLook));
	vdb_lock_block(ref, lb, LW_SHARED);
	vdb_map_lookup(ref, lb, &extent);
	if (extent.kind == VDB_EXTENT_STRIPE)
	{
		const VdbStripeMeta *meta = vdb_map_meta(ref->pool, extent.ref);

		look->found = true;
		look->in_doubt = (meta->flags & VDB_STRIPE_IN_DOUBT) != 0;
		look->rows = meta->nrows;
		look->bytes = meta->row_bytes;
		min_xmin = meta->min_xmin;
		max_xmin = meta->max_xmin;
	}
	vdb_unlock_block(ref, lb);
	look->resolves = look->in_doubt &&
		!(TransactionIdIsNormal(min_xmin) && TransactionIdIsInProgress(min_xmin)) &&
		!(TransactionIdIsNormal(max_xmin) && TransactionIdIsInProgress(max_xmin));
}

/* What the stripes of a range need. */
typedef struct StripesLook
{
	uint32		in_doubt;
	uint32		resolve;			/* of these, stripes that might be resolved now */
	bool		merge;				/* some are to be merged */
} StripesLook;

/* Look at all stripes of the range. */
static void
look_at_stripes(const VdbTableRef *ref, uint32 range, const VdbRangeSummary *summary,
				StripesLook *stripes)
{
	VdbMergeStripe candidates[VDB_RANGE_LBS];
	VdbMergeInto into = {.range_stripes = summary->nstripes,.most = VDB_SWITCH_METAS};
	int			n = 0;

	Assert(summary->nstripes <= VDB_RANGE_LBS);
	memset(stripes, 0, sizeof(StripesLook));
	into.last = summary->complete && summary->nsegments == 0;
	for (int i = 0; i < summary->nstripes; i++)
	{
		StripeLook	look;

		look_at_stripe(ref, range, summary, i, &look);
		stripes->in_doubt += look.in_doubt ? 1 : 0;
		stripes->resolve += look.resolves ? 1 : 0;
		if (look.found && !look.in_doubt)
		{
			candidates[n].number = i;
			candidates[n].rows = look.rows;
			candidates[n++].bytes = look.bytes;
		}
	}
	stripes->merge = n > 1 && vdb_migrate_merge(candidates, n, &into) > 0;
}

/* ---- tables ---- */

/*
 * Add up a table's statistics.  *waiting is set if they may change as time goes by.
 */
static void
gather_statistics(const VdbTableRef *ref, VdbTableStatistics *statistics, bool *waiting)
{
	VdbMinimum	minimum = vdb_migrate_minimum(vdb_migrate_min_rows, 0, 100);
	VdbCursor	cursor;
	VdbRangeSummary summary;

	*waiting = false;
	vdb_cursor_init_blocks(&cursor, ref);
	while (vdb_cursor_next_range(&cursor))
	{
		uint32		range = vdb_lb_range(vdb_cursor_lb(&cursor));
		RangeWaiting segments;
		StripesLook stripes;

		CHECK_FOR_INTERRUPTS();
		if (!vdb_map_summarize(ref, range, &summary))
			continue;
		statistics->overlaid_blocks += summary.noverlaid;
		look_at_segments(ref, &summary, &segments);
		statistics->eligible_ranges += is_eligible(&summary, &segments) ? 1 : 0;
		statistics->aged_ranges += is_aged(&summary, &segments) ? 1 : 0;
		statistics->pressed_ranges += is_pressed(ref, &summary, &segments) ? 1 : 0;
		look_at_stripes(ref, range, &summary, &stripes);
		statistics->in_doubt_stripes += stripes.resolve;
		statistics->mergeable_ranges += stripes.merge ? 1 : 0;
		*waiting = *waiting || stripes.in_doubt > 0 || stripes.merge ||
			vdb_migrate_worth(&segments.all, &minimum) || is_aged(&summary, &segments);
	}
}

/* See migrate.h. */
VdbReason
vdb_migrate_table_eligible(const VdbTableRef *ref, bool *waiting)
{
	VdbTableStatistics statistics = {0};
	VdbPolicy	policy;

	policy.high_water_percent = vdb_migrate_high_water;
	policy.after_ms = (uint32) vdb_migrate_after_ms;
	gather_statistics(ref, &statistics, waiting);
	statistics.pool_percent = vdb_migrate_pool_percent(vdb_pool_shared(ref->pool));
	statistics.pool_pressed = vdb_migrate_pool_pressed(vdb_pool_shared(ref->pool));
	statistics.age_ms = VDB_MAP_CLOCK(GetCurrentTimestamp()) - vdb_map_table_entry(ref)->moved_at;
	return vdb_migrate_reason(&statistics, &policy);
}

/* See migrate.h. */
bool
vdb_migrate_may_find(const VdbTableRef *ref, uint32 range, const VdbRangeSummary *summary,
					 int flags)
{
	StripesLook stripes;

	if (segments_wanted(ref, summary, flags))
		return true;
	if (flags & VDB_MIGRATE_ELIGIBLE)
		return false;
	if (summary->thinned && summary->nstripes > 0)
		return true;
	look_at_stripes(ref, range, summary, &stripes);
	return stripes.in_doubt > 0 || ((flags & VDB_MIGRATE_MERGE) && stripes.merge);
}
