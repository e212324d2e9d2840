/*-------------------------------------------------------------------------
 *
 * migrate_policy.c
 *	  What to migrate, and what to merge: a choice made from statistics.
 *
 * These are pure functions; the unit test calls them with numbers.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "migrate/migrate.h"

#define VDB_COMPACT_PERCENT		20
#define VDB_TRUNCATE_PAGES		1000
#define VDB_TRUNCATE_FRACTION	16

/* See migrate.h.  Not less than one segment is taken for the room. */
uint32
vdb_migrate_room_percent(uint32 limit, uint32 kept_back, uint32 used, uint32 rows)
{
	uint64		lacking = (uint64) (used - Min(rows, used)) + kept_back;
	uint64		room = limit > lacking ? limit - lacking : 1;

	return (uint32) Min(UINT64CONST(100) * rows / room, 100);
}

/*
 * Decide whether a table is eligible, and for what reason: its pool fills up, its rows have waited
 * long enough, or a range's segments make a good stripe.  Age goes before backlog: under a steady
 * load some range is always eligible, and a range that never becomes eligible would wait for ever.
 */
VdbReason
vdb_migrate_reason(const VdbTableStatistics *statistics, const VdbPolicy *policy)
{
	if (statistics->segments > 0)
	{
		if (statistics->pool_percent >= (uint32) policy->high_water_percent)
			return VDB_REASON_FULL;
		if (statistics->age_ms >= policy->after_ms)
			return VDB_REASON_AGE;
		if (statistics->eligible_ranges > 0)
			return VDB_REASON_BACKLOG;
	}
	return statistics->in_doubt_stripes > 0 ? VDB_REASON_IN_DOUBT : VDB_REASON_NONE;
}

/*
 * Check whether a range is eligible.  It is when no more segments can come and all are closed: then
 * it becomes one stripe, and is never rewritten for its size.  It also is when many closed segments
 * wait in it.
 */
bool
vdb_migrate_range_eligible(uint32 segments, uint32 closed, bool complete, int backlog_segments)
{
	if (closed == 0)
		return false;
	return closed >= (uint32) backlog_segments || (complete && closed == segments);
}

/*
 * Check whether a stripe has lost enough rows to be rewritten.  Space on flash is then at most 1.25
 * times what the rows need, and at most four rows are rewritten for each one that is gone.
 */
bool
vdb_migrate_compact(uint32 written_rows, uint32 left_rows)
{
	uint64		lost = (uint64) written_rows - Min(left_rows, written_rows);

	return lost > 0 && lost * 100 >= (uint64) written_rows * VDB_COMPACT_PERCENT;
}

/*
 * Check whether truncation is worthwhile, by the rule that the server has for heaps: a thousand
 * pages, or a sixteenth of the fork.
 */
bool
vdb_migrate_truncate(BlockNumber npages, BlockNumber free_at_end)
{
	return free_at_end > 0 &&
		(free_at_end >= VDB_TRUNCATE_PAGES || free_at_end >= npages / VDB_TRUNCATE_FRACTION);
}

/*
 * Check whether a stripe is rewritten together with new rows of its range.  It is if it has at most
 * twice their number of rows: each row is then rewritten a logarithmic number of times on its way
 * to a full stripe.  Many stripes in a range are merged regardless, as each costs a meta block in
 * the pool.
 */
bool
vdb_migrate_merge(uint32 stripe_rows, uint32 moving_rows, uint32 stripes_in_range)
{
	if (stripes_in_range > 16)
		return true;
	return stripe_rows <= 2 * moving_rows;
}
