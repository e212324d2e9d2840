/*-------------------------------------------------------------------------
 *
 * am_vacuum.c
 *	  VACUUM: remove dead versions, clean indexes, freeze.
 *
 * 1. Range by range: resolve or rewrite the stripes that need it (migrate/), then vacuum each
 *	  logical block.  Versions dead to everyone are removed: from then on there is no row with
 *	  that number.  Old ids of the others are frozen.  Segments without rows go back to the
 *	  pool.
 * 2. If rows were removed since the indexes were last cleaned (by VACUUM or by migration, which
 *	  drops dead rows, too), bulk-delete from every index the entries that lead to no row.  Row
 *	  numbers are never reused, so nothing needs to be remembered between the two steps, and a
 *	  crash between them costs nothing.
 * 3. Find leaked pages of the main fork, and cut free ones off its end.
 * 4. Mark logical blocks all-visible in the visibility map.
 * 5. Advance relfrozenxid to the oldest id that is left.
 *
 * Locks: the caller's ShareUpdateExclusiveLock; the migration lock over a range; its gate while
 * changes are stored; one block lock at a time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/storage.h"
#include "commands/dbcommands.h"
#include "commands/progress.h"
#include "commands/vacuum.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/autovacuum.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "am/am.h"
#include "am/am_vacuum.h"
#include "base/vdb_stop_point.h"
#include "base/vdb_wal.h"
#include "pages/pages.h"

/* ---- indexes ---- */

/* Callback of index_bulk_delete: return true if the entry leads to no row. */
static bool
entry_is_dead(ItemPointer tid, void *arg)
{
	VdbVacuum  *vs = (VdbVacuum *) arg;

	return !vdb_table_present(vs->rel, &vs->ref, vdb_tid_to_row(tid));
}

/* Clean one index.  Its entries are only looked at if some may be dead (delete_entries). */
static void
vacuum_index(VdbVacuum *vs, Relation index, bool delete_entries, double tuples)
{
	IndexVacuumInfo info = {0};
	IndexBulkDeleteResult *stats = NULL;

	vdb_index_vacuum_info_set(&info, vs->rel, index);
	info.analyze_only = false;
	info.report_progress = false;
	info.estimated_count = false;
	info.message_level = vs->elevel;
	info.num_heap_tuples = tuples;
	if (delete_entries)
	{
		pgstat_progress_update_param(PROGRESS_VACUUM_PHASE, PROGRESS_VACUUM_PHASE_VACUUM_INDEX);
		stats = index_bulk_delete(&info, NULL, entry_is_dead, vs);
	}
	pgstat_progress_update_param(PROGRESS_VACUUM_PHASE, PROGRESS_VACUUM_PHASE_INDEX_CLEANUP);
	stats = index_vacuum_cleanup(&info, stats);
	if (stats == NULL)
		return;
	vs->index_entries += (int64) stats->tuples_removed;
	if (!stats->estimated_count)
		vdb_update_relstats(index, stats->num_pages, stats->num_index_tuples, 0, false,
							InvalidTransactionId, InvalidMultiXactId);
	pfree(stats);
}

/* Clean all indexes of the table.  Return true if it has any. */
static bool
vacuum_indexes(VdbVacuum *vs, VacuumParams *params)
{
	Relation   *indexes;
	int			nindexes;
	int64		dead = 0;

	vac_open_indexes(vs->rel, RowExclusiveLock, &nindexes, &indexes);
	if (vs->ref.pool != NULL)
		dead = (int64) vdb_map_table_entry(&vs->ref)->dead_rows;
	VDB_STOP_POINT("vacuum-before-indexes");
	if (params->index_cleanup != VACOPTVALUE_DISABLED)
	{
		for (int i = 0; i < nindexes; i++)
			vacuum_index(vs, indexes[i], dead > 0, vs->live + vs->recently_dead);
		if (dead > 0)
		{
			vdb_vacuum_count_dead(vs, -dead);
			pgstat_progress_update_param(PROGRESS_VACUUM_NUM_INDEX_VACUUMS, 1);
		}
		dead = 0;
		VDB_STOP_POINT("vacuum-indexes-cleaned");
	}
	vs->indexes_cleaned = dead == 0;
	vac_close_indexes(nindexes, indexes, NoLock);
	return nindexes > 0;
}

/* ---- the visibility map ---- */

/* Compare two stripe ids, for qsort and bsearch. */
static int
compare_ids(const void *a, const void *b)
{
	uint32		x = *(const uint32 *) a;
	uint32		y = *(const uint32 *) b;

	return x < y ? -1 : x > y ? 1 : 0;
}

/*
 * Return true if the walk has met the stripe.  Rows that such a stripe lacks were counted as dead
 * before the indexes were cleaned.  Called under a block lock.
 */
static bool
stripe_was_met(uint32 stripe_id, void *arg)
{
	VdbVacuum  *vs = (VdbVacuum *) arg;

	return bsearch(&stripe_id, vs->stripes, vs->nstripes, sizeof(uint32), compare_ids) != NULL;
}

/*
 * Mark the logical blocks that are all-visible.  This comes after the indexes are cleaned.  It
 * also comes after pages are cut off: core takes our logical blocks for pages then, and clears
 * the bits of those that seem to be cut off.
 */
static void
mark_visible(VdbVacuum *vs)
{
	Buffer		buffer = InvalidBuffer;

	VDB_STOP_POINT("vacuum-before-visible");
	if (!vs->indexes_cleaned || vs->nstripes == 0)
		return;
	qsort(vs->stripes, vs->nstripes, sizeof(uint32), compare_ids);
	vdb_cursor_start(&vs->cursor, NULL);
	while (vdb_cursor_next(&vs->cursor))
	{
		vdb_vacuum_delay_point();
		(void) vdb_table_mark_visible(vs->rel, &vs->ref, vdb_cursor_lb(&vs->cursor),
									  stripe_was_met, vs, &buffer);
	}
	if (BufferIsValid(buffer))
		ReleaseBuffer(buffer);
}

/* ---- a table ---- */

/* Report the results: to the client for VERBOSE, and to the log for autovacuum's longer runs. */
static void
report(VdbVacuum *vs, VacuumParams *params, TimestampTz started, TransactionId new_frozen)
{
	bool		logged = AmAutoVacuumWorkerProcess() && params->log_min_duration >= 0 &&
		(params->log_min_duration == 0 ||
		 TimestampDifferenceExceeds(started, GetCurrentTimestamp(), params->log_min_duration));

	ereport(logged ? LOG : vs->elevel,
			(logged ? errmsg("automatic vacuum of table \"%s.%s.%s\"",
							 get_database_name(MyDatabaseId),
							 get_namespace_name(RelationGetNamespace(vs->rel)),
							 RelationGetRelationName(vs->rel)) :
			 errmsg("finished vacuuming \"%s.%s.%s\"",
					get_database_name(MyDatabaseId),
					get_namespace_name(RelationGetNamespace(vs->rel)),
					RelationGetRelationName(vs->rel)),
			 errdetail("Row versions: %lld removed, %.0f live, %.0f dead but not yet removable, %lld frozen. "
					   "Stripes frozen: %lld, resolved: %lld, rewritten or freed: %lld. Segments freed: %lld. "
					   "Pages cut off: %u. Index entries removed: %lld. "
					   "Removable cutoff: %u, new relfrozenxid: %u.",
					   (long long) (vs->removed + vs->moved.rows_dropped), vs->live,
					   vs->recently_dead,
					   (long long) vs->frozen, (long long) vs->stripes_frozen,
					   (long long) vs->moved.stripes_resolved, (long long) vs->moved.stripes_freed,
					   (long long) vs->moved.segments_freed,
					   vs->pages_cut, (long long) vs->index_entries,
					   vs->limits.oldest_xmin, new_frozen)));
}

/*
 * Hand the range over if another process waits for its migration lock, and take the lock again.
 * What was found so far is stored before.  Stripes in doubt stay so until the next VACUUM: their
 * blocks are no longer known to have been walked under one lock.
 */
static void
hand_over(VdbVacuum *vs, uint32 range)
{
	CHECK_FOR_INTERRUPTS();
	if (!vdb_table_range_wanted(vs->rel, range))
		return;
	vdb_vacuum_store(vs);
	vs->remove_failed = true;
	vdb_vacuum_resolve_stripes(vs);
	vdb_table_range_unlock(vs->rel, range);
	(void) vdb_table_range_lock(vs->rel, range, true);
	vs->remove_failed = true;
}

/*
 * Vacuum the range that the cursor has come to, from its first block on.  The caller holds the
 * range's migration lock.  Without it, a stripe of the range that is just being built would carry
 * over the old ids of what is frozen here.
 */
static void
vacuum_range(VdbVacuum *vs, uint32 range)
{
	int64		removed = vs->removed;

	Assert(vs->nin_doubt == 0 && !vs->remove_failed && vs->nwork == 0);
	while (vdb_migrate_range(vs->rel, &vs->ref, range,
							 VDB_MIGRATE_COMPACT | VDB_MIGRATE_STRIPES, &vs->moved))
		hand_over(vs, range);
	do
	{
		vdb_vacuum_block(vs);
		VDB_STOP_POINT("vacuum-block");
		hand_over(vs, range);
	} while (vdb_cursor_next_in_range(&vs->cursor));
	vdb_vacuum_store(vs);
	vdb_vacuum_resolve_stripes(vs);
	/* free segments that have lost their last row just now */
	while (vs->removed > removed &&
		   vdb_migrate_range(vs->rel, &vs->ref, range, VDB_MIGRATE_STRIPES, &vs->moved))
		CHECK_FOR_INTERRUPTS();
	(void) vdb_map_free_range(&vs->ref, range);
}

/* Warn of the end of the table's row numbers when a sixteenth of them is left. */
static void
warn_of_row_numbers(const VdbVacuum *vs)
{
	VdbLogicalBlock left = VDB_MAX_LOGICAL_BLOCK - vdb_map_limit(&vs->ref);

	if (left >= VDB_MAX_LOGICAL_BLOCK / 16)
		return;
	ereport(WARNING,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("table \"%s\" has few row numbers left", RelationGetRelationName(vs->rel)),
			 errdetail("%.2f%% of its row numbers are left, for " UINT64_FORMAT " row versions.",
					   100.0 * left / VDB_MAX_LOGICAL_BLOCK, (uint64) left * VDB_LB_ROWS),
			 errhint("Rewrite the table with VACUUM FULL.")));
}

/* Vacuum all ranges of the table, each under its migration lock. */
static void
walk_table(VdbVacuum *vs)
{
	VdbCursor  *cursor = &vs->cursor;

	vdb_cursor_start(cursor, NULL);
	vs->batch = vdb_cursor_batch(cursor);
	vs->work = palloc(VDB_RANGE_LBS * sizeof(VdbVacuumWork));
	pgstat_progress_update_param(PROGRESS_VACUUM_PHASE, PROGRESS_VACUUM_PHASE_SCAN_HEAP);
	pgstat_progress_update_param(PROGRESS_VACUUM_TOTAL_HEAP_BLKS, cursor->limit);
	while (vdb_cursor_next_range(cursor))
	{
		uint32		range = vdb_lb_range(vdb_cursor_lb(cursor));

		(void) vdb_table_range_lock(vs->rel, range, true);
		vacuum_range(vs, range);
		vdb_table_range_unlock(vs->rel, range);
		pgstat_progress_update_param(PROGRESS_VACUUM_HEAP_BLKS_SCANNED, cursor->lb + 1);
		pgstat_progress_update_param(PROGRESS_VACUUM_HEAP_BLKS_VACUUMED, cursor->lb + 1);
	}
	vdb_cursor_end(cursor);
	pfree(vs->work);
}

/* VACUUM a table.  See am.h. */
void
vdb_vacuum(Relation rel, struct VacuumParams *params, BufferAccessStrategy bstrategy)
{
	VdbVacuum	vs = {0};
	struct VacuumCutoffs cutoffs;
	TimestampTz started = GetCurrentTimestamp();
	bool		has_indexes;
	BlockNumber blocks = 0;

	vs.rel = rel;
	vs.elevel = (params->options & VACOPT_VERBOSE) ? INFO : DEBUG2;
	pgstat_progress_start_command(PROGRESS_COMMAND_VACUUM, RelationGetRelid(rel));
	vacuum_get_cutoffs(rel, params, &cutoffs);
	vs.limits.oldest_xmin = cutoffs.OldestXmin;
	vs.limits.freeze_limit = cutoffs.FreezeLimit;
	vs.limits.multi_cutoff = cutoffs.MultiXactCutoff;
	vs.left.xid = cutoffs.OldestXmin;
	vs.left.multi = cutoffs.OldestMxact;

	/*
	 * Flush every commit that may make a row dead to everyone now, so that no removed row can come
	 * back to life after a crash.
	 */
	XLogFlush(vdb_wal_end());

	vdb_cursor_init(&vs.cursor, rel, NULL);
	vdb_cursor_take_versions(&vs.cursor, vs.limits.oldest_xmin, true);
	if (vdb_table_open(rel, false, &vs.ref))
	{
		blocks = (BlockNumber) vdb_map_limit(&vs.ref);
		walk_table(&vs);
		warn_of_row_numbers(&vs);
		vdb_migrate_sweep_pages(rel, &vs.ref);
	}
	else
		vs.ref.pool = NULL;
	has_indexes = vacuum_indexes(&vs, params);
	if (vs.ref.pool != NULL && params->truncate != VACOPTVALUE_DISABLED)
	{
		pgstat_progress_update_param(PROGRESS_VACUUM_PHASE, PROGRESS_VACUUM_PHASE_TRUNCATE);
		vs.pages_cut = vdb_migrate_cut_pages(rel, &vs.ref);
	}
	if (vs.ref.pool != NULL)
		mark_visible(&vs);

	pgstat_progress_update_param(PROGRESS_VACUUM_PHASE, PROGRESS_VACUUM_PHASE_FINAL_CLEANUP);
	vdb_update_relstats(rel, blocks, vs.live, vdb_visible_count(rel), has_indexes,
						vs.left.xid, vs.left.multi);
	vdb_report_vacuum(rel, (PgStat_Counter) vs.live, (PgStat_Counter) vs.recently_dead, started);
	report(&vs, params, started, vs.left.xid);
	pgstat_progress_end_command();
}
