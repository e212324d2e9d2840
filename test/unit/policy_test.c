/*
 * policy_test.c
 *	  The choices of migrate_policy.c, with numbers.
 */
#include "pg_shim.h"
#include "unit_shim.h"

#include "migrate/migrate.h"

/* pressed, aged, eligible ranges; age; stripes in doubt; mergeable ranges; percent */
static VdbReason
reason(uint32 pressed, uint32 aged, uint32 eligible, uint32 age, uint32 in_doubt, uint32 mergeable,
	   uint32 percent)
{
	VdbTableStatistics statistics = {pressed, aged, eligible, age, in_doubt, mergeable, percent};
	VdbPolicy	policy = {.high_water_percent = 50,.after_ms = 10000};

	return vdb_migrate_reason(&statistics, &policy);
}

static void
test_overlay(void)
{
	VdbTableStatistics statistics = {.overlaid_blocks = 1000};
	VdbPolicy	policy = {.high_water_percent = 50,.after_ms = 10000};

	UNIT_CHECK(vdb_migrate_reason(&statistics, &policy) == VDB_REASON_NONE, "room for it");
	statistics.pool_pressed = true;
	UNIT_CHECK(vdb_migrate_reason(&statistics, &policy) == VDB_REASON_OVERLAY, "no room for it");
	statistics.overlaid_blocks = 31;
	UNIT_CHECK(vdb_migrate_reason(&statistics, &policy) == VDB_REASON_NONE, "not worth it");
	statistics.mergeable_ranges = 1;
	UNIT_CHECK(vdb_migrate_reason(&statistics, &policy) == VDB_REASON_MERGE, "a merge is");
	statistics.overlaid_blocks = 32;
	UNIT_CHECK(vdb_migrate_reason(&statistics, &policy) == VDB_REASON_OVERLAY, "before merges");
	statistics.in_doubt_stripes = 1;
	UNIT_CHECK(vdb_migrate_reason(&statistics, &policy) == VDB_REASON_IN_DOUBT, "in doubt");
}

/* Each new spill is larger than the one it replaces by so much that all are 5 times the last. */
static void
test_spill_least(void)
{
	uint64		bytes = 0;
	uint64		all = 0;

	UNIT_CHECK(vdb_migrate_spill_least(0) == 8192, "the first");
	UNIT_CHECK(vdb_migrate_spill_least(32768) == 8192, "small");
	UNIT_CHECK(vdb_migrate_spill_least(2097152) == 524288, "large");
	while (bytes < 4194304)
	{
		bytes += vdb_migrate_spill_least(bytes);
		all += bytes;
	}
	UNIT_CHECK(all <= 5 * bytes, "%llu bytes in all, %llu the last", (unsigned long long) all,
			   (unsigned long long) bytes);
}

static void
test_reason(void)
{
	UNIT_CHECK(reason(0, 0, 0, 1000000, 0, 0, 100) == VDB_REASON_NONE, "nothing to move");
	UNIT_CHECK(reason(0, 1, 0, 9999, 0, 0, 49) == VDB_REASON_NONE, "not yet");
	UNIT_CHECK(reason(0, 1, 0, 10000, 0, 0, 49) == VDB_REASON_AGE, "old enough");
	UNIT_CHECK(reason(0, 0, 0, 10000, 0, 0, 49) == VDB_REASON_NONE, "old, but too little");
	UNIT_CHECK(reason(0, 0, 1, 0, 0, 0, 0) == VDB_REASON_BACKLOG, "an eligible range");
	UNIT_CHECK(reason(0, 1, 1, 10000, 0, 0, 49) == VDB_REASON_AGE,
			   "what never becomes eligible doesn't starve");
	UNIT_CHECK(reason(1, 0, 0, 0, 0, 0, 50) == VDB_REASON_FULL, "high water");
	UNIT_CHECK(reason(1, 0, 0, 0, 0, 0, 49) == VDB_REASON_NONE, "below it");
	UNIT_CHECK(reason(1, 1, 1, 10000, 1, 1, 50) == VDB_REASON_FULL, "the most urgent one counts");
	UNIT_CHECK(reason(0, 1, 0, 10000, 0, 0, 50) == VDB_REASON_AGE, "full, but of other tables");
	UNIT_CHECK(reason(0, 0, 0, 0, 1, 1, 0) == VDB_REASON_IN_DOUBT, "stripes to resolve");
	UNIT_CHECK(reason(0, 1, 0, 10000, 1, 1, 0) == VDB_REASON_AGE, "rows that are due go first");
	UNIT_CHECK(reason(0, 0, 0, 0, 0, 1, 0) == VDB_REASON_MERGE, "stripes to merge come last");
	test_overlay();
	test_spill_least();
}

static bool
worth(uint32 segments, uint32 rows, uint32 empty, int min_rows, uint32 percent)
{
	VdbWaiting	waiting = {segments, rows, empty};
	VdbMinimum	minimum = vdb_migrate_minimum(min_rows, percent, 50);

	return vdb_migrate_worth(&waiting, &minimum);
}

static void
test_worth(void)
{
	UNIT_CHECK(!worth(0, 0, 0, 0, 100), "nothing waits");
	UNIT_CHECK(worth(4, 8192, 0, 8192, 0), "a chunk");
	UNIT_CHECK(!worth(4, 8191, 0, 8192, 49), "less");
	UNIT_CHECK(worth(16, 100, 0, 8192, 0), "a megabyte of long rows");
	UNIT_CHECK(!worth(15, 100, 0, 8192, 0), "less");
	UNIT_CHECK(worth(1, 1, 0, 0, 0), "no minimum");
	UNIT_CHECK(worth(1, 0, 1, 8192, 0), "segments without rows");
	UNIT_CHECK(!worth(4, 8191, 0, 8192, 50), "at the mark it is the whole minimum");
	UNIT_CHECK(worth(4, 4096, 0, 8192, 75), "half of it half way");
	UNIT_CHECK(!worth(4, 4095, 0, 8192, 75), "not less");
	UNIT_CHECK(worth(8, 1, 0, 8192, 75), "or half a megabyte");
	UNIT_CHECK(!worth(7, 1, 0, 8192, 75), "not less");
	UNIT_CHECK(!worth(1, 1, 0, 8192, 90), "a segment waits for long");
	UNIT_CHECK(worth(1, 1, 0, 8192, 95), "but not for ever");
	UNIT_CHECK(worth(1, 1, 0, 8192, 100), "in a full pool a row moves");
	UNIT_CHECK(vdb_migrate_minimum(8192, 99, 100).rows == 8192, "no mark, no pressure");
	UNIT_CHECK(vdb_migrate_minimum(65536, 101, 1).segments == 0, "no overflow");
}

static void
test_percent(void)
{
	UNIT_CHECK(vdb_migrate_room_percent(128, 8, 8, 0) == 0, "metadata only");
	UNIT_CHECK(vdb_migrate_room_percent(128, 8, 60, 60) == 50, "rows only");
	UNIT_CHECK(vdb_migrate_room_percent(128, 8, 120, 120) == 100, "full of rows");
	UNIT_CHECK(vdb_migrate_room_percent(128, 8, 128, 128) == 100, "not more than all");
	UNIT_CHECK(vdb_migrate_room_percent(128, 8, 102, 2) == 10, "2 of the 20 that metadata leaves");
	UNIT_CHECK(vdb_migrate_room_percent(128, 8, 128, 0) == 0, "full of metadata");
	UNIT_CHECK(vdb_migrate_room_percent(128, 8, 128, 1) == 100, "but for one segment");
	UNIT_CHECK(vdb_migrate_room_percent(16, 1, 4, 5) == 33, "read while it changed");
	UNIT_CHECK(vdb_migrate_room_percent(PG_UINT32_MAX, 0, PG_UINT32_MAX, PG_UINT32_MAX) == 100,
			   "no overflow");
}

static void
test_eligible(void)
{
	UNIT_CHECK(!vdb_migrate_range_eligible(0, 0, true, 1), "an empty range");
	UNIT_CHECK(!vdb_migrate_range_eligible(64, 0, true, 1), "all open");
	UNIT_CHECK(vdb_migrate_range_eligible(64, 64, true, 256), "complete and closed");
	UNIT_CHECK(!vdb_migrate_range_eligible(64, 63, true, 256), "complete, one open");
	UNIT_CHECK(!vdb_migrate_range_eligible(64, 64, false, 256), "more will come");
	UNIT_CHECK(vdb_migrate_range_eligible(80, 64, false, 64), "a backlog");
	UNIT_CHECK(!vdb_migrate_range_eligible(80, 63, false, 64), "almost a backlog");
}

/* Return how many of the stripes, of so many rows of 100 bytes each, are merged; -1 ends them. */
static int
merged(uint32 moving, int others, bool last, int most, const int *rows)
{
	VdbMergeStripe stripes[64];
	VdbMergeInto into = {.rows = moving,.bytes = moving * 100,.last = last,.most = most};
	int			n = 0;

	for (; rows[n] >= 0; n++)
		stripes[n] = (VdbMergeStripe) {n, (uint32) rows[n], (uint64) rows[n] * 100};
	into.range_stripes = n + others;
	return vdb_migrate_merge(stripes, n, &into);
}

#define MERGED(moving, others, last, most, ...) \
	merged(moving, others, last, most, (const int[]) {__VA_ARGS__, -1})

static void
test_merge(void)
{
	UNIT_CHECK(MERGED(100, 0, false, 12, 200) == 1, "twice");
	UNIT_CHECK(MERGED(100, 0, false, 12, 201) == 0, "more than twice");
	UNIT_CHECK(MERGED(100, 0, false, 12, 900, 300, 100) == 3, "the smallest first, then the sum");
	UNIT_CHECK(MERGED(100, 0, false, 12, 800, 200) == 1, "as far as it reaches");
	UNIT_CHECK(MERGED(0, 0, false, 12, 100) == 0, "one alone");
	UNIT_CHECK(MERGED(0, 0, false, 12, 100, 200) == 2, "beside each other");
	UNIT_CHECK(MERGED(0, 0, false, 12, 100, 201) == 0, "more than twice");
	UNIT_CHECK(MERGED(0, 0, true, 12, 60000, 1) == 2, "no more rows come");
	UNIT_CHECK(MERGED(1, 0, true, 12, 60000) == 1, "with the last rows");
	UNIT_CHECK(MERGED(0, 0, true, 12, 60000) == 0, "a full stripe stays");
	UNIT_CHECK(MERGED(1, 16, false, 12, 60000) == 1, "too many stripes");
	UNIT_CHECK(MERGED(0, 0, true, 2, 30, 20, 10) == 2, "as many as a switch takes");
	UNIT_CHECK(MERGED(100, 0, true, 0, 30) == 0, "none");
	UNIT_CHECK(MERGED(0, 0, true, 12, 300000, 300000) == 0, "they don't fit into one stripe");
	UNIT_CHECK(MERGED(300000, 0, true, 12, 300000) == 0, "nor with what moves");
}

/*
 * Every row of a range arrives in equal parts: how often is a row rewritten?  The last part makes
 * one stripe of all.
 */
static void
test_rewriting(void)
{
	enum
	{
		PARTS = 64, PART = 1024
	};
	VdbMergeStripe stripes[PARTS];
	int			n = 0;
	uint64		written = 0;

	for (int i = 0; i < PARTS; i++)
	{
		VdbMergeInto into = {.rows = PART,.range_stripes = n,.last = i == PARTS - 1,.most = 12};
		int			taken = vdb_migrate_merge(stripes, n, &into);
		uint32		sum = PART;

		for (int s = 0; s < taken; s++)
			sum += stripes[s].rows;
		memmove(stripes, stripes + taken, (n - taken) * sizeof(VdbMergeStripe));
		n -= taken;
		stripes[n++] = (VdbMergeStripe) {0, sum, 0};
		written += sum;
	}
	UNIT_CHECK(n == 1 && stripes[0].rows == PARTS * PART, "%d stripes", n);
	UNIT_CHECK(written <= (uint64) PARTS * PART * 8, "rows are written " UINT64_FORMAT " times",
			   written / (PARTS * PART));
}

static void
test_compact(void)
{
	UNIT_CHECK(!vdb_migrate_compact(1000, 1000), "none lost");
	UNIT_CHECK(!vdb_migrate_compact(1000, 801), "less than a fifth");
	UNIT_CHECK(vdb_migrate_compact(1000, 800), "a fifth");
	UNIT_CHECK(vdb_migrate_compact(1000, 0), "all");
	UNIT_CHECK(vdb_migrate_compact(1, 0), "the only one");
	UNIT_CHECK(!vdb_migrate_compact(0, 0), "an empty stripe");
	UNIT_CHECK(!vdb_migrate_compact(10, 11), "more than there were");
	UNIT_CHECK(vdb_migrate_compact(PG_UINT32_MAX, 0), "no overflow");
}

static void
test_truncate(void)
{
	UNIT_CHECK(!vdb_migrate_truncate(100, 0), "none");
	UNIT_CHECK(!vdb_migrate_truncate(1600, 99), "less than a sixteenth");
	UNIT_CHECK(vdb_migrate_truncate(1600, 100), "a sixteenth");
	UNIT_CHECK(vdb_migrate_truncate(1000000, 1000), "a thousand pages");
	UNIT_CHECK(!vdb_migrate_truncate(1000000, 999), "almost");
	UNIT_CHECK(vdb_migrate_truncate(2, 1), "all but the metapage");
}

int
main(void)
{
	unit_run("when a table is due", test_reason);
	unit_run("how full a pool is of rows", test_percent);
	unit_run("when enough waits", test_worth);
	unit_run("when a range is eligible", test_eligible);
	unit_run("merging", test_merge);
	unit_run("rewriting stays within bounds", test_rewriting);
	unit_run("compaction", test_compact);
	unit_run("cutting", test_truncate);
	return unit_finish();
}
