/*-------------------------------------------------------------------------
 *
 * migrate_policy.c
 *	  What to migrate, and what to merge: statistics in, choice out.
 *
 * Pure functions; the block delta tests call them with numbers.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "migrate/migrate.h"

#define VDB_COMPACT_PERCENT		20
#define VDB_TRUNCATE_PAGES		1000
#define VDB_TRUNCATE_FRACTION	16

/*
 * A table is eligible when its pool fills up, when its rows have waited long enough, or
 * when a range's segments make a good stripe.  Age goes before eligibility: under
 * a steady load something is always eligible, and what never becomes eligible would wait for ever.
 */
VdbReason
vdb_migrate_reason(const VdbTableStatistics *statistics, const VdbPolicy *policy)
{
	if (statistics->segments > 0)
	{
		if (statistics->pool_used_percent >= (uint32) policy->high_water_percent)
			return VDB_REASON_FULL;
		if (statistics->age_ms >= policy->after_ms)
			return VDB_REASON_AGE;
		if (statistics->eligible_ranges > 0)
			return VDB_REASON_BACKLOG;
	}
	return statistics->in_doubt_stripes > 0 ? VDB_REASON_IN_DOUBT : VDB_REASON_NONE;
}

/*
 * A range is eligible when nothing more can come and all of it is closed: then it
 * becomes one stripe and is never rewritten for its size.  Or when much waits in it.
 */
bool
vdb_migrate_range_eligible(uint32 segments, uint32 closed, bool complete, int backlog_segments)
{
	if (closed == 0)
		return false;
	return closed >= (uint32) backlog_segments || (complete && closed == segments);
}

/*
 * Space on flash is then at most 1.25 times what the rows need, and a row is
 * rewritten for at most every four that went.
 */
bool
vdb_migrate_compact(uint32 written_rows, uint32 left_rows)
{
	uint64		lost = (uint64) written_rows - Min(left_rows, written_rows);

	return lost > 0 && lost * 100 >= (uint64) written_rows * VDB_COMPACT_PERCENT;
}

/* As core does for heaps: a thousand pages, or a sixteenth of the fork. */
bool
vdb_migrate_truncate(BlockNumber npages, BlockNumber free_at_end)
{
	return free_at_end > 0 &&
		(free_at_end >= VDB_TRUNCATE_PAGES || free_at_end >= npages / VDB_TRUNCATE_FRACTION);
}

/*
 * A stripe is rewritten together with new rows of its range when it is at most
 * twice their number: each row is then rewritten a logarithmic number of times
 * on its way to a full stripe.  Many stripes in a range are merged regardless,
 * as each costs a meta block in the pool.
 */
bool
vdb_migrate_merge(uint32 stripe_rows, uint32 moving_rows, uint32 stripes_in_range)
{
	if (stripes_in_range > 16)
		return true;
	return stripe_rows <= 2 * moving_rows;
}
