/*
 * policy_test.c
 *	  The choices of migrate_policy.c, with numbers.
 */
#include "pg_shim.h"
#include "unit_shim.h"

#include "migrate/migrate.h"

static VdbReason
reason(uint32 segments, uint32 eligible, uint32 age, uint32 in_doubt, uint32 used)
{
	VdbTableStatistics statistics = {segments, eligible, age, in_doubt, used};
	VdbPolicy	policy = {.high_water_percent = 50,.after_ms = 10000};

	return vdb_migrate_reason(&statistics, &policy);
}

static void
test_reason(void)
{
	UNIT_CHECK(reason(0, 0, 1000000, 0, 100) == VDB_REASON_NONE, "nothing to move");
	UNIT_CHECK(reason(1, 0, 0, 0, 0) == VDB_REASON_NONE, "young");
	UNIT_CHECK(reason(1, 0, 9999, 0, 49) == VDB_REASON_NONE, "not yet");
	UNIT_CHECK(reason(1, 0, 10000, 0, 49) == VDB_REASON_AGE, "old enough");
	UNIT_CHECK(reason(64, 1, 0, 0, 0) == VDB_REASON_BACKLOG, "an eligible range");
	UNIT_CHECK(reason(64, 1, 10000, 0, 0) == VDB_REASON_AGE,
			   "what never becomes eligible doesn't starve");
	UNIT_CHECK(reason(1, 0, 0, 0, 50) == VDB_REASON_FULL, "high water");
	UNIT_CHECK(reason(64, 1, 10000, 0, 50) == VDB_REASON_FULL, "the most urgent one counts");
	UNIT_CHECK(reason(0, 0, 0, 1, 0) == VDB_REASON_IN_DOUBT, "stripes to resolve");
	UNIT_CHECK(reason(1, 0, 0, 1, 0) == VDB_REASON_IN_DOUBT, "young rows stay meanwhile");
	UNIT_CHECK(reason(1, 0, 10000, 1, 0) == VDB_REASON_AGE, "rows that are due go first");
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

static void
test_merge(void)
{
	UNIT_CHECK(vdb_migrate_merge(200, 100, 2), "twice");
	UNIT_CHECK(!vdb_migrate_merge(201, 100, 2), "more than twice");
	UNIT_CHECK(!vdb_migrate_merge(1, 0, 16), "nothing moves");
	UNIT_CHECK(vdb_migrate_merge(60000, 1, 17), "too many stripes");
}

/* Every row of a range arrives in equal parts: how often is a row rewritten? */
static void
test_rewriting(void)
{
	enum
	{
		PARTS = 64, PART = 1024
	};
	uint32		stripes[PARTS];
	int			n = 0;
	uint64		written = 0;

	for (int i = 0; i < PARTS; i++)
	{
		uint32		sum = PART;
		int			kept = 0;
		int			count = n;

		for (int s = 0; s < count; s++)
		{
			if (vdb_migrate_merge(stripes[s], PART, (uint32) count))
				sum += stripes[s];
			else
				stripes[kept++] = stripes[s];
		}
		n = kept;
		stripes[n++] = sum;
		written += sum;
	}
	UNIT_CHECK(n <= 18, "%d stripes", n);
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
	unit_run("when a range is eligible", test_eligible);
	unit_run("merging", test_merge);
	unit_run("rewriting stays within bounds", test_rewriting);
	unit_run("compaction", test_compact);
	unit_run("cutting", test_truncate);
	return unit_finish();
}
