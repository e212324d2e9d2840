/*-------------------------------------------------------------------------
 *
 * am_pool.c
 *	  The access method "vdb_pool", which is for vdb.scm alone.
 *
 * Because of it, the pool is a relation's file to the rest of the system (DROP DATABASE,
 * tablespaces, base backups), while no part of core takes its bytes for pages.  The relation can
 * be created and dropped.  VACUUM and ANALYZE find nothing to do.  Reading and writing it with SQL
 * is an error.
 *
 * A callback is named pool_ and the name that TableAmRoutine gives it.  A callback without a
 * comment either raises an error (refuse) or behaves like that of an empty table.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "catalog/pg_am.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/storage.h"
#include "commands/extension.h"
#include "commands/tablespace.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/smgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "am/am.h"
#include "base/vdb_guc.h"

PG_FUNCTION_INFO_V1(vdb_poolam_handler);

/* Raise the error for callbacks that the pool does not support. */
pg_noreturn static void
refuse(Relation rel)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("\"%s\" is the pool of vdb tables and cannot be used like a table",
					RelationGetRelationName(rel)),
			 errhint("Read the view vdb.pool to see what is in it.")));
}

static const TupleTableSlotOps *
pool_slot_callbacks(Relation rel)
{
	return &TTSOpsVirtual;
}

/* Begin a scan for ANALYZE, which finds an empty table.  Other scans are refused. */
static TableScanDesc
pool_scan_begin(Relation rel, Snapshot snapshot, int nkeys, ScanKey key,
				ParallelTableScanDesc pscan, uint32 flags)
{
	TableScanDesc scan;

	/* ANALYZE of a whole database must not fail */
	if (!(flags & SO_TYPE_ANALYZE))
		refuse(rel);
	scan = palloc0(sizeof(TableScanDescData));
	RelationIncrementReferenceCount(rel);
	scan->rs_rd = rel;
	scan->rs_flags = flags;
	return scan;
}

static void
pool_scan_end(TableScanDesc scan)
{
	RelationDecrementReferenceCount(scan->rs_rd);
	pfree(scan);
}

static void
pool_scan_rescan(TableScanDesc scan, ScanKey key, bool set_params, bool allow_strat,
				 bool allow_sync, bool allow_pagemode)
{
}

static bool
pool_scan_getnextslot(TableScanDesc scan, ScanDirection direction, TupleTableSlot *slot)
{
	return false;
}

static Size
pool_parallelscan_size(Relation rel)
{
	refuse(rel);
}

static Size
pool_parallelscan_initialize(Relation rel, ParallelTableScanDesc pscan)
{
	refuse(rel);
}

static void
pool_parallelscan_reinitialize(Relation rel, ParallelTableScanDesc pscan)
{
	refuse(rel);
}

static struct IndexFetchTableData *
pool_index_fetch_begin(Relation rel)
{
	refuse(rel);
}

static void
pool_index_fetch_reset(struct IndexFetchTableData *data)
{
}

static bool
pool_index_fetch_tuple(struct IndexFetchTableData *data, ItemPointer tid, Snapshot snapshot,
					   TupleTableSlot *slot, bool *call_again, bool *all_dead)
{
	*call_again = false;
	return false;
}

static bool
pool_fetch_row_version(Relation rel, ItemPointer tid, Snapshot snapshot, TupleTableSlot *slot)
{
	refuse(rel);
}

static bool
pool_tid_valid(TableScanDesc scan, ItemPointer tid)
{
	return false;
}

static void
pool_get_latest_tid(TableScanDesc scan, ItemPointer tid)
{
}

static bool
pool_satisfies_snapshot(Relation rel, TupleTableSlot *slot, Snapshot snapshot)
{
	refuse(rel);
}

static TransactionId
pool_index_delete_tuples(Relation rel, TM_IndexDeleteOp *delstate)
{
	refuse(rel);
}

static void
pool_insert(Relation rel, TupleTableSlot *slot, CommandId cid, int options, BulkInsertState bistate)
{
	refuse(rel);
}

static void
pool_insert_speculative(Relation rel, TupleTableSlot *slot, CommandId cid, int options,
						BulkInsertState bistate, uint32 token)
{
	refuse(rel);
}

static void
pool_complete_speculative(Relation rel, TupleTableSlot *slot, uint32 token, bool succeeded)
{
	refuse(rel);
}

static void
pool_multi_insert(Relation rel, TupleTableSlot **slots, int nslots, CommandId cid, int options,
				  BulkInsertState bistate)
{
	refuse(rel);
}

static TM_Result
pool_delete(Relation rel, ItemPointer tid, CommandId cid, Snapshot snapshot, Snapshot crosscheck,
			bool wait, TM_FailureData *tmfd, bool changing_part)
{
	refuse(rel);
}

static TM_Result
pool_update(Relation rel, ItemPointer otid, TupleTableSlot *slot, CommandId cid,
			Snapshot snapshot, Snapshot crosscheck, bool wait, TM_FailureData *tmfd,
			LockTupleMode *lockmode, TU_UpdateIndexes *update_indexes)
{
	refuse(rel);
}

static TM_Result
pool_lock(Relation rel, ItemPointer tid, Snapshot snapshot, TupleTableSlot *slot, CommandId cid,
		  LockTupleMode mode, LockWaitPolicy wait_policy, uint8 flags, TM_FailureData *tmfd)
{
	refuse(rel);
}

/*
 * Create the pool.  The relation must be vdb.scm.  It is created by CREATE EXTENSION, or by
 * pg_upgrade, which creates the extension's members one by one.
 */
static void
pool_set_new_filenode(Relation rel, const RelFileLocator *newrnode, char persistence,
					  TransactionId *freeze_xid, MultiXactId *minmulti)
{
	vdb_require_preload();
	if (!(creating_extension || IsBinaryUpgrade) || strcmp(RelationGetRelationName(rel),
														   "scm") != 0 ||
		get_namespace_oid("vdb", true) != RelationGetNamespace(rel))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("access method \"vdb_pool\" is for the relation vdb.scm alone"),
				 errhint("Use access method \"vdb\" for tables.")));
	vdb_pool_create(newrnode);
	*freeze_xid = InvalidTransactionId;
	*minmulti = InvalidMultiXactId;
}

static void
pool_truncate(Relation rel)
{
	refuse(rel);
}

/* Refuse to move the pool to another tablespace. */
static void
pool_copy_data(Relation rel, const RelFileLocator *newrnode)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("the pool of vdb tables cannot be moved while it is in use"),
			 errhint("Set vdb.scm_tablespace before CREATE EXTENSION vdb_am.")));
}

static void
pool_copy_for_cluster(Relation old_rel, Relation new_rel, Relation index, bool use_sort,
					  TransactionId oldest_xmin, TransactionId *xid_cutoff,
					  MultiXactId *multi_cutoff, double *num_tuples, double *tups_vacuumed,
					  double *tups_recently_dead)
{
	refuse(old_rel);
}

static void
pool_vacuum(Relation rel, struct VacuumParams *params, BufferAccessStrategy bstrategy)
{
}

static bool
pool_analyze_next_block(TableScanDesc scan, BlockNumber block)
{
	return false;
}

VDB_ANALYZE_CALLBACK(pool_analyze_callback, pool_analyze_next_block);

static bool
pool_analyze_next_tuple(TableScanDesc scan, TransactionId oldest_xmin, double *liverows,
						double *deadrows, TupleTableSlot *slot)
{
	return false;
}

static double
pool_index_build(Relation table, Relation index, struct IndexInfo *info, bool allow_sync,
				 bool anyvisible, bool progress, BlockNumber start_blockno,
				 BlockNumber numblocks, IndexBuildCallback callback, void *state,
				 TableScanDesc scan)
{
	refuse(table);
}

static void
pool_index_validate(Relation table, Relation index, struct IndexInfo *info, Snapshot snapshot,
					struct ValidateIndexState *state)
{
	refuse(table);
}

/* Return 0, so that ANALYZE and the planner see an empty table. */
static uint64
pool_size(Relation rel, ForkNumber fork)
{
	return 0;
}

static bool
pool_needs_toast_table(Relation rel)
{
	return false;
}

static void
pool_estimate_size(Relation rel, int32 *attr_widths, BlockNumber *pages, double *tuples,
				   double *allvisfrac)
{
	*pages = 0;
	*tuples = 0;
	*allvisfrac = 0;
}

static bool
pool_sample_next_block(TableScanDesc scan, struct SampleScanState *state)
{
	return false;
}

static bool
pool_sample_next_tuple(TableScanDesc scan, struct SampleScanState *state, TupleTableSlot *slot)
{
	return false;
}

static const TableAmRoutine pool_routine = {
	.type = T_TableAmRoutine,
	.slot_callbacks = pool_slot_callbacks,
	.scan_begin = pool_scan_begin,
	.scan_end = pool_scan_end,
	.scan_rescan = pool_scan_rescan,
	.scan_getnextslot = pool_scan_getnextslot,
	.parallelscan_estimate = pool_parallelscan_size,
	.parallelscan_initialize = pool_parallelscan_initialize,
	.parallelscan_reinitialize = pool_parallelscan_reinitialize,
	.index_fetch_begin = pool_index_fetch_begin,
	.index_fetch_reset = pool_index_fetch_reset,
	.index_fetch_end = pool_index_fetch_reset,
	.index_fetch_tuple = pool_index_fetch_tuple,
	.tuple_fetch_row_version = pool_fetch_row_version,
	.tuple_tid_valid = pool_tid_valid,
	.tuple_get_latest_tid = pool_get_latest_tid,
	.tuple_satisfies_snapshot = pool_satisfies_snapshot,
	.index_delete_tuples = pool_index_delete_tuples,
	.tuple_insert = pool_insert,
	.tuple_insert_speculative = pool_insert_speculative,
	.tuple_complete_speculative = pool_complete_speculative,
	.multi_insert = pool_multi_insert,
	.tuple_delete = pool_delete,
	.tuple_update = pool_update,
	.tuple_lock = pool_lock,
	.relation_set_new_filelocator = pool_set_new_filenode,
	.relation_nontransactional_truncate = pool_truncate,
	.relation_copy_data = pool_copy_data,
	.relation_copy_for_cluster = pool_copy_for_cluster,
	.relation_vacuum = pool_vacuum,
	.scan_analyze_next_block = pool_analyze_callback,
	.scan_analyze_next_tuple = pool_analyze_next_tuple,
	.index_build_range_scan = pool_index_build,
	.index_validate_scan = pool_index_validate,
	.relation_size = pool_size,
	.relation_needs_toast_table = pool_needs_toast_table,
	.relation_estimate_size = pool_estimate_size,
	.scan_sample_next_block = pool_sample_next_block,
	.scan_sample_next_tuple = pool_sample_next_tuple
};

/* SQL-callable handler function of the access method. */
Datum
vdb_poolam_handler(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(&pool_routine);
}

PG_FUNCTION_INFO_V1(vdb_check_preload);

/*
 * Check, for the extension script, that the library is preloaded before the pool is made.  Return
 * the tablespace for the pool ('' for the default).  ERROR: not preloaded, or the tablespace does
 * not exist.
 */
Datum
vdb_check_preload(PG_FUNCTION_ARGS)
{
	const char *name = vdb_scm_tablespace ? vdb_scm_tablespace : "";

	vdb_require_preload();
	if (name[0] != '\0')
		(void) get_tablespace_oid(name, false);
	PG_RETURN_TEXT_P(cstring_to_text(name));
}
