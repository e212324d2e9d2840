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
#define VDB_SPILL_BLOCKS		(VDB_SPILL_BYTES / 256) /* block deltas take 256 bytes or more */
#define VDB_SPILL_SHARE			4
#define VDB_TRUNCATE_PAGES		1000
#define VDB_TRUNCATE_FRACTION	16
#define VDB_MERGE_STRIPES		16

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
 * long enough, or a range's segments make a good stripe.  Age goes before backlog: it moves such
 * ranges, too.
 */
VdbReason
vdb_migrate_reason(const VdbTableStatistics *statistics, const VdbPolicy *policy)
{
	if (statistics->pool_percent >= (uint32) policy->high_water_percent &&
		statistics->pressed_ranges > 0)
		return VDB_REASON_FULL;
	if (statistics->age_ms >= policy->after_ms && statistics->aged_ranges > 0)
		return VDB_REASON_AGE;
	if (statistics->eligible_ranges > 0)
		return VDB_REASON_BACKLOG;
	if (statistics->in_doubt_stripes > 0)
		return VDB_REASON_IN_DOUBT;
	if (statistics->pool_pressed && statistics->overlaid_blocks >= VDB_SPILL_BLOCKS)
		return VDB_REASON_OVERLAY;
	return statistics->mergeable_ranges > 0 ? VDB_REASON_MERGE : VDB_REASON_NONE;
}

/* See migrate.h. */
VdbMinimum
vdb_migrate_minimum(int min_rows, uint32 pool_percent, int high_water_percent)
{
	VdbMinimum	minimum = {(uint32) min_rows, VDB_MIN_SEGMENTS};
	uint32		room = 100 - Min(pool_percent, 100);
	uint32		room_at_mark = (uint32) Max(100 - high_water_percent, 1);

	if (room < room_at_mark)
	{
		minimum.rows = (uint32) ((uint64) minimum.rows * room / room_at_mark);
		minimum.segments = minimum.segments * room / room_at_mark;
	}
	return minimum;
}

/* See migrate.h. */
bool
vdb_migrate_worth(const VdbWaiting *waiting, const VdbMinimum *minimum)
{
	return waiting->segments > 0 &&
		(waiting->empty > 0 || waiting->rows >= minimum->rows ||
		 waiting->segments >= minimum->segments);
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
 * Return the bytes of the pool that a stripe's new spill must give back, if the present one takes
 * so many bytes of flash.  The new one repeats what still counts of the present one, whose pages
 * can't be used again before the snapshot ends that makes spills necessary.  As each is larger by a
 * share, all of them together are only a few times as large as the last.
 */
uint64
vdb_migrate_spill_least(uint64 spill_bytes)
{
	return Max(spill_bytes / VDB_SPILL_SHARE, VDB_SPILL_BYTES);
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

/* Order stripes by their number of rows. */
static int
compare_rows(const void *a, const void *b)
{
	uint32		x = ((const VdbMergeStripe *) a)->rows;
	uint32		y = ((const VdbMergeStripe *) b)->rows;

	return x < y ? -1 : x > y ? 1 : 0;
}

/*
 * See migrate.h.  The smallest stripes are taken, as long as each has at most twice as many rows as
 * all before it and what moves: each row is then rewritten a logarithmic number of times on its way
 * to a full stripe.  When the range gets no more rows all are merged, as far as they fit into one
 * stripe, once for all.  Many stripes in a range are merged regardless, as each costs a meta block
 * in the pool.
 */
int
vdb_migrate_merge(VdbMergeStripe *stripes, int nstripes, const VdbMergeInto *into)
{
	bool		any_size = into->last || into->range_stripes > VDB_MERGE_STRIPES;
	uint64		rows = into->rows;
	uint64		bytes = into->bytes;
	int			n;

	Assert(into->most >= 0 && nstripes <= into->range_stripes);
	qsort(stripes, nstripes, sizeof(VdbMergeStripe), compare_rows);
	for (n = 0; n < Min(nstripes, into->most); n++)
	{
		if (bytes + stripes[n].bytes > VDB_STRIPE_RAW_BYTES)
			break;
		if (!any_size && rows > 0 && stripes[n].rows > 2 * rows)
			break;
		rows += stripes[n].rows;
		bytes += stripes[n].bytes;
	}
	return into->rows > 0 || n > 1 ? n : 0;
}
