/*-------------------------------------------------------------------------
 *
 * monitor_views.c
 *	  The statistics behind the views vdb.pool, vdb.tables and vdb.cache.
 *
 * These functions only read.  A table whose lock can't be had at once has no statistics, because a
 * view must not wait for another session's DDL.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/vdb_guc.h"
#include "monitor/monitor.h"
#include "pages/pages.h"
#include "stripe/stripe.h"

PG_FUNCTION_INFO_V1(vdb_monitor_pool);
PG_FUNCTION_INFO_V1(vdb_monitor_table);
PG_FUNCTION_INFO_V1(vdb_monitor_cache);

/* ---- vdb.pool ---- */

/* Report the counters of this epoch, in the order of the view, beginning at 'column'. */
static void
report_counters(VdbReport *report, int column, VdbPoolCounters *counters)
{
	pg_atomic_uint64 *const shown[] = {
		&counters->waits, &counters->backend_migrations, &counters->changes, &counters->flushes,
		&counters->sync_requests, &counters->rows_appended, &counters->bytes_appended,
		&counters->rows_migrated, &counters->stripes_written, &counters->stripe_bytes_written,
		&counters->visibility_checks
	};

	Assert(column + (int) lengthof(shown) == report->ncolumns);
	for (int i = 0; i < (int) lengthof(shown); i++)
		vdb_report_int(report, column + i, pg_atomic_read_u64(shown[i]));
}

/* Function behind vdb.pool: one row, the pool of this database. */
Datum
vdb_monitor_pool(PG_FUNCTION_ARGS)
{
	VdbReport	report;
	VdbPool    *pool;
	VdbPoolShared *shared;
	bool		persistent;
	uint64		size;
	uint64		backed;
	uint64		limit;
	uint64		used;

	vdb_report_begin(&report, fcinfo);
	pool = vdb_pool_open();
	shared = vdb_pool_shared(pool);
	persistent = vdb_pool_is_pmem(pool);
	size = (uint64) vdb_pool_total_blocks(pool) * VDB_POOL_BLOCK_BYTES;
	backed = size -
		Min(size, (uint64) pg_atomic_read_u32(&shared->released_segments) * VDB_SEGMENT_BYTES);
	limit = (uint64) vdb_scm_limit_mb() * 1024 * 1024;
	used = (uint64) pg_atomic_read_u32(&shared->used_segments) * VDB_SEGMENT_BYTES;

	vdb_report_text(&report, 0, vdb_pool_path(pool));
	vdb_report_set(&report, 1, BoolGetDatum(persistent));
	vdb_report_text(&report, 2, persistent ? "persistent memory" : "emulated (file)");
	vdb_report_int(&report, 3, size);
	vdb_report_int(&report, 4, limit);
	vdb_report_int(&report, 5, used);
	vdb_report_int(&report, 6,
				   (uint64) pg_atomic_read_u32(&shared->row_segments) * VDB_SEGMENT_BYTES);
	vdb_report_int(&report, 7, Max(limit, backed) - Min(used, Max(limit, backed)));
	vdb_report_int(&report, 8,
				   (uint64) pg_atomic_read_u32(&shared->high_water_segments) * VDB_SEGMENT_BYTES);
	vdb_report_int(&report, 9, size - backed);
	vdb_report_int(&report, 10, shared->epoch);
	report_counters(&report, 11, &shared->counters);
	vdb_report_row(&report);
	return (Datum) 0;
}

/* ---- vdb.cache ---- */

/* Function behind vdb.cache: one row, the cache that all backends of the server share. */
Datum
vdb_monitor_cache(PG_FUNCTION_ARGS)
{
	VdbReport	report;
	VdbCacheStatistics statistics;

	vdb_report_begin(&report, fcinfo);
	vdb_require_preload();
	vdb_shared_cache_statistics(&statistics);
	vdb_report_int(&report, 0, statistics.size_bytes);
	vdb_report_int(&report, 1, statistics.used_bytes);
	vdb_report_int(&report, 2, statistics.items);
	vdb_report_int(&report, 3, statistics.hits);
	vdb_report_int(&report, 4, statistics.misses);
	vdb_report_int(&report, 5, statistics.evictions);
	vdb_report_row(&report);
	return (Datum) 0;
}

/* ---- vdb.tables ---- */

/* What a walk of a table's map counts. */
typedef struct TableStatistics
{
	uint64		pool_rows;			/* slots with a row version, dead ones included */
	uint64		segments;
	uint64		backlog;			/* segments that no backend appends to */
	uint64		deleted;			/* rows removed from stripes */
} TableStatistics;

/* Walk the table's map and count.  ERROR at damage. */
static void
fill_statistics(const VdbTableRef *ref, TableStatistics *statistics)
{
	VdbSeenRange *seen = palloc(sizeof(VdbSeenRange));
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "VDB table statistics",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	VdbCursor	cursor;

	vdb_cursor_init_blocks(&cursor, ref);
	while (vdb_cursor_next_range(&cursor))
	{
		vdb_see_range(ref, vdb_lb_range(vdb_cursor_lb(&cursor)), false, seen);
		for (int i = 0; i < seen->nsegments; i++)
		{
			statistics->pool_rows += seen->segments[i].rows;
			statistics->segments++;
			if (!vdb_rows_segment_open(ref, seen->segments[i].block, VDB_IDLE_NEVER))
				statistics->backlog++;
		}
		for (int i = 0; i < seen->nstripes; i++)
			statistics->deleted += seen->stripes[i].deleted;
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	pfree(seen);
}

/*
 * Return the time since which the oldest row in the pool can have waited.  Rows carry no time.
 * But none has waited longer than since the moment at which all that could move was last moved.
 */
static TimestampTz
oldest_unmigrated(const VdbTableEntry *entry)
{
	TimestampTz now = GetCurrentTimestamp();
	uint32		age_ms = VDB_MAP_CLOCK(now) - entry->moved_at;

	return now - (TimestampTz) age_ms * 1000;
}

/* Report a table with an entry in the pool. */
static void
report_entry(VdbReport *report, const VdbTableRef *ref)
{
	VdbTableEntry entry = *vdb_map_table_entry(ref);
	TableStatistics statistics = {0};
	TimestampTz oldest;

	Assert(report->ncolumns == 12);
	fill_statistics(ref, &statistics);
	oldest = oldest_unmigrated(&entry);
	vdb_report_int(report, 0, statistics.pool_rows);
	vdb_report_int(report, 1, statistics.segments * VDB_SEGMENT_BYTES);
	vdb_report_int(report, 2, statistics.segments);
	vdb_report_int(report, 3, entry.striped_rows - Min(statistics.deleted, entry.striped_rows));
	vdb_report_int(report, 5, entry.nstripes_in_use);
	vdb_report_int(report, 6, statistics.backlog);
	if (statistics.pool_rows > 0 && oldest != 0)
		vdb_report_set(report, 7, TimestampTzGetDatum(oldest));
	if (entry.last_migration != 0)
		vdb_report_set(report, 8, TimestampTzGetDatum(entry.last_migration));
	vdb_report_int(report, 9, entry.rows_migrated);
	vdb_report_int(report, 10, entry.dead_rows);
	if (entry.row_bytes > 0)
		vdb_report_set(report, 11, Float8GetDatum((double) entry.stripe_bytes / entry.row_bytes));
}

/* Report a table without an entry in the pool: it never had a row. */
static void
report_no_entry(VdbReport *report)
{
	static const int zeros[] = {0, 1, 2, 3, 5, 6, 9, 10};

	for (int i = 0; i < (int) lengthof(zeros); i++)
		vdb_report_int(report, zeros[i], 0);
}

/*
 * Function behind vdb.tables: the statistics of one table.  No row if it can't be locked at once,
 * is gone, or has no storage that this session can read.
 */
Datum
vdb_monitor_table(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	VdbReport	report;
	Relation	rel;
	VdbTableRef ref;

	vdb_report_begin(&report, fcinfo);
	if (!ConditionalLockRelationOid(relid, AccessShareLock))
		return (Datum) 0;
	rel = try_relation_open(relid, NoLock);
	if (rel == NULL)
	{
		UnlockRelationOid(relid, AccessShareLock);
		return (Datum) 0;
	}
	if (vdb_is_vdb(rel) && vdb_storage_readable(rel))
	{
		if (vdb_table_open(rel, false, &ref))
			report_entry(&report, &ref);
		else
			report_no_entry(&report);
		vdb_report_int(&report, 4, (uint64) vdb_pages_count(rel) * BLCKSZ);
		vdb_report_row(&report);
	}
	relation_close(rel, AccessShareLock);
	return (Datum) 0;
}
