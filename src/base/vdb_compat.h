/*-------------------------------------------------------------------------
 *
 * vdb_compat.h
 *	  Differences between the servers 15 to 18.
 *
 * No other file of src/ asks for the server's version (test/lint/run checks).  Names that a newer
 * server changed are used in their newest form everywhere, and are mapped back here for older
 * servers; such lines can be removed with the old server.  Where a signature changed, there is an
 * inline wrapper vdb_...() whose parameters suit every server.
 *
 * Tested on 15 (everything), 17 and 18 (17.11 and 18.6 with asserts: README.md lists the tests).
 * 16 was never compiled: its branches were compared with the declarations in its headers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_COMPAT_H
#define VDB_COMPAT_H

#include "access/genam.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xlog_internal.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "commands/vacuum.h"
#include "common/relpath.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "nodes/pathnodes.h"
#include "nodes/tidbitmap.h"
#include "pgstat.h"
#include "replication/reorderbuffer.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "storage/smgr.h"
#include "storage/standby.h"
#include "storage/sync.h"
#include "utils/acl.h"
#include "utils/rel.h"
#include "utils/tuplesort.h"

#if PG_VERSION_NUM >= 160000
#include "storage/relfilelocator.h"
#include "utils/relfilenumbermap.h"
#include "varatt.h"					/* was a part of postgres.h */
#else
#include "storage/relfilenode.h"
#include "utils/relfilenodemap.h"
#endif
#if PG_VERSION_NUM >= 170000
#include "storage/read_stream.h"
#else
#include "storage/backendid.h"
#endif

#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"	/* was a part of explain.h */
#endif

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 190000
#error "vdb_am is for PostgreSQL 15 to 18"
#endif

/* ---- names: 16 ---- */

/* A relation's file: RelFileNode became RelFileLocator, and its fields got new names. */
#if PG_VERSION_NUM < 160000
typedef RelFileNode RelFileLocator;

#define spcOid					spcNode
#define dbOid					dbNode
#define relNumber				relNode
#define rd_locator				rd_node
#define rd_firstRelfilelocatorSubid rd_firstRelfilenodeSubid
#define rd_newRelfilelocatorSubid rd_newRelfilenodeSubid
#define RelFileLocatorEquals	RelFileNodeEquals
#define RelidByRelfilenumber	RelidByRelfilenode
#define relation_set_new_filelocator relation_set_new_filenode	/* of TableAmRoutine */
#define rlocator				relnode /* of ReorderBufferChange */
#endif

/* Which indexes an update must insert into; was a bool. */
#if PG_VERSION_NUM < 160000
typedef bool TU_UpdateIndexes;

#define TU_None					false
#define TU_All					true
#endif

/* One check of ownership for all kinds of objects. */
#if PG_VERSION_NUM < 160000
static inline bool
object_ownercheck(Oid classid, Oid objectid, Oid roleid)
{
	Assert(classid == RelationRelationId || classid == DatabaseRelationId);
	if (classid == DatabaseRelationId)
		return pg_database_ownercheck(objectid, roleid);
	return pg_class_ownercheck(objectid, roleid);
}
#endif

/* A page in memory that smgr may read or write; must be aligned for direct I/O. */
#if PG_VERSION_NUM < 160000
typedef PGAlignedBlock PGIOAlignedBlock;
#endif

/* VACUUM's limits; were four pointers. */
#if PG_VERSION_NUM < 160000
struct VacuumCutoffs
{
	TransactionId OldestXmin;
	MultiXactId OldestMxact;
	TransactionId FreezeLimit;
	MultiXactId MultiXactCutoff;
};

static inline bool
vacuum_get_cutoffs(Relation rel, const VacuumParams *params, struct VacuumCutoffs *cutoffs)
{
	return vacuum_set_xid_limits(rel, params->freeze_min_age, params->freeze_table_age,
								 params->multixact_freeze_min_age,
								 params->multixact_freeze_table_age,
								 &cutoffs->OldestXmin, &cutoffs->OldestMxact,
								 &cutoffs->FreezeLimit, &cutoffs->MultiXactCutoff);
}
#endif

/* Return GROUP BY as the planner left it; from 16 on without columns that others determine. */
static inline List *
vdb_group_clause(const PlannerInfo *root)
{
#if PG_VERSION_NUM >= 160000
	return root->processed_groupClause;
#else
	return root->parse->groupClause;
#endif
}

/* ---- names: 17 ---- */

/* A backend's number; from 17 on it begins with 0.  -1 is none on all servers. */
#if PG_VERSION_NUM < 170000
typedef BackendId ProcNumber;

#define INVALID_PROC_NUMBER		InvalidBackendId
#define MyProcNumber			MyBackendId
#define ProcNumberForTempRelations() BackendIdForTempRelations()

#define AmAutoVacuumWorkerProcess()	IsAutoVacuumWorkerProcess()
#define GetTempNamespaceProcNumber(namespace) GetTempNamespaceBackendId(namespace)

/* The server's next transaction id and what belongs to it. */
#define TransamVariables		ShmemVariableCache
#endif

/* Return the local id of this backend's transaction; it is invalid outside one. */
static inline LocalTransactionId
vdb_my_lxid(void)
{
#if PG_VERSION_NUM >= 170000
	return MyProc->vxid.lxid;
#else
	return MyProc->lxid;
#endif
}

/* ---- names: 18 ---- */

/* 'Never returns', written before 'static' or 'extern'. */
#if PG_VERSION_NUM < 180000
#define pg_noreturn				_Noreturn
#endif

/*
 * Mark a path as disabled (enable_seqscan = off and the like) as far as the one that it replaces;
 * before 18 its cost shows that.
 */
static inline void
vdb_path_disabled_like(Path *path, const Path *other)
{
#if PG_VERSION_NUM >= 180000
	path->disabled_nodes = other->disabled_nodes;
#endif
}

/* Check whether a path has a node that a setting disables; before 18 its cost shows that. */
static inline bool
vdb_path_is_disabled(const Path *path)
{
#if PG_VERSION_NUM >= 180000
	return path->disabled_nodes > 0;
#else
	return false;
#endif
}

/* ExecutorRun's last parameter, 'once', was removed in 18. */
#if PG_VERSION_NUM >= 180000
#define VDB_RUN_ONCE_PARAM
#define VDB_RUN_ONCE
#else
#define VDB_RUN_ONCE_PARAM		, bool once
#define VDB_RUN_ONCE			, once
#endif

/* ---- relations' files ---- */

/*
 * Write the path of a fork's first file, below the data directory, to 'path', which has MAXPGPATH
 * bytes.
 */
static inline void
vdb_relation_path(const RelFileLocator *locator, ProcNumber backend, ForkNumber fork, char *path)
{
#if PG_VERSION_NUM >= 180000
	/* 18 returns it by value */
	strlcpy(path, relpathbackend(*locator, backend, fork).str, MAXPGPATH);
#else
	char	   *made = relpathbackend(*locator, backend, fork);

	strlcpy(path, made, MAXPGPATH);
	pfree(made);
#endif
}

/* Return the locator of an SMgrRelation; the fields' names changed with those of their types. */
static inline RelFileLocator *
vdb_smgr_locator(SMgrRelation srel)
{
#if PG_VERSION_NUM >= 160000
	return &srel->smgr_rlocator.locator;
#else
	return &srel->smgr_rnode.node;
#endif
}

/*
 * Add a zero page to the end of a main fork that no other process uses and that has no relcache
 * entry; return its buffer, locked.  16 has a function of its own to extend; 17 no longer accepts
 * P_NEW without an entry.
 */
static inline Buffer
vdb_buffer_extend(const RelFileLocator *locator, bool permanent)
{
#if PG_VERSION_NUM >= 160000
	SMgrRelation srel = smgropen(*locator, INVALID_PROC_NUMBER);
	char		persistence = permanent ? RELPERSISTENCE_PERMANENT : RELPERSISTENCE_UNLOGGED;

	return ExtendBufferedRel(BMR_SMGR(srel, persistence), MAIN_FORKNUM, NULL,
							 EB_SKIP_EXTENSION_LOCK | EB_LOCK_FIRST);
#else
	return ReadBufferWithoutRelcache(*locator, MAIN_FORKNUM, P_NEW, RBM_ZERO_AND_LOCK, NULL,
									 permanent);
#endif
}

/*
 * Return a buffer strategy for writing much.  16 has no I/O statistics for bulk writes of an
 * autovacuum worker.
 */
static inline BufferAccessStrategy
vdb_bulk_write_strategy(void)
{
#if PG_VERSION_NUM >= 160000
	if (MyBackendType == B_AUTOVAC_WORKER)
		return GetAccessStrategy(BAS_VACUUM);
#endif
	return GetAccessStrategy(BAS_BULKWRITE);
}

static inline void
vdb_file_tag_set_locator(FileTag *tag, const RelFileLocator *locator)
{
#if PG_VERSION_NUM >= 160000
	tag->rlocator = *locator;
#else
	tag->rnode = *locator;
#endif
}

/* ---- locks that are not waited for ---- */

/*
 * Wait conditionally for a transaction.  If 'log' and the setting log_lock_failures are true, 18
 * logs the lock's holder.
 */
static inline bool
vdb_try_wait_for_xid(TransactionId xid, bool log)
{
#if PG_VERSION_NUM >= 180000
	return ConditionalXactLockTableWait(xid, log && log_lock_failures);
#else
	return ConditionalXactLockTableWait(xid);
#endif
}

static inline bool
vdb_try_lock_tuple(Relation rel, ItemPointer tid, LOCKMODE mode, bool log)
{
#if PG_VERSION_NUM >= 180000
	return ConditionalLockTuple(rel, tid, mode, log && log_lock_failures);
#else
	return ConditionalLockTuple(rel, tid, mode);
#endif
}

/* ---- recovery ---- */

/* Register a resource manager; 16 takes it as const. */
static inline void
vdb_register_rmgr(RmgrId id, const RmgrData *manager)
{
#if PG_VERSION_NUM >= 160000
	RegisterCustomRmgr(id, manager);
#else
	RegisterCustomRmgr(id, unconstify(RmgrData *, manager));
#endif
}

/*
 * Cancel queries that may still see rows deleted by 'horizon'.  Logical slots on a standby (16) are
 * only concerned with catalogs, which vdb tables never are.
 */
static inline void
vdb_recovery_conflict(TransactionId horizon, const RelFileLocator *locator)
{
#if PG_VERSION_NUM >= 160000
	ResolveRecoveryConflictWithSnapshot(horizon, false, *locator);
#else
	ResolveRecoveryConflictWithSnapshot(horizon, *locator);
#endif
}

/* ---- logical decoding ---- */

/*
 * A tuple of a change in the reorder buffer: had a struct around it; 18 renamed what makes changes
 * and tuples.
 */
#if PG_VERSION_NUM >= 170000
typedef HeapTupleData VdbReorderTuple;
#else
typedef ReorderBufferTupleBuf VdbReorderTuple;
#endif

static inline HeapTuple
vdb_reorder_heap_tuple(VdbReorderTuple *made)
{
#if PG_VERSION_NUM >= 170000
	return made;
#else
	return &made->tuple;
#endif
}

/* 'bytes' from t_bits on. */
static inline VdbReorderTuple *
vdb_reorder_get_tuple(ReorderBuffer *rb, Size bytes)
{
#if PG_VERSION_NUM >= 180000
	return ReorderBufferAllocTupleBuf(rb, bytes);
#else
	return ReorderBufferGetTupleBuf(rb, bytes);
#endif
}

static inline ReorderBufferChange *
vdb_reorder_get_change(ReorderBuffer *rb)
{
#if PG_VERSION_NUM >= 180000
	return ReorderBufferAllocChange(rb);
#else
	return ReorderBufferGetChange(rb);
#endif
}

/* ---- VACUUM and statistics ---- */

/* Call vacuum_delay_point for VACUUM; 18 has a parameter for ANALYZE. */
static inline void
vdb_vacuum_delay_point(void)
{
#if PG_VERSION_NUM >= 180000
	vacuum_delay_point(false);
#else
	vacuum_delay_point();
#endif
}

/* Fill in the table and index of an IndexVacuumInfo; 16 needs the table, too. */
static inline void
vdb_index_vacuum_info_set(IndexVacuumInfo *info, Relation table, Relation index)
{
	info->index = index;
#if PG_VERSION_NUM >= 160000
	info->heaprel = table;
#endif
}

/* Call vac_update_relstats for a relation without all-frozen pages, which 18 counts, too. */
static inline void
vdb_update_relstats(Relation rel, BlockNumber pages, double tuples, BlockNumber all_visible,
					bool has_index,
					TransactionId frozen_xid, MultiXactId min_multi)
{
	bool		frozen_updated;
	bool		multi_updated;

#if PG_VERSION_NUM >= 180000
	vac_update_relstats(rel, pages, tuples, all_visible, 0, has_index, frozen_xid, min_multi,
						&frozen_updated, &multi_updated, false);
#else
	vac_update_relstats(rel, pages, tuples, all_visible, has_index, frozen_xid, min_multi,
						&frozen_updated, &multi_updated, false);
#endif
}

/* Report a VACUUM to statistics; 18 adds up the time spent. */
static inline void
vdb_report_vacuum(Relation rel, PgStat_Counter live, PgStat_Counter dead, TimestampTz started)
{
#if PG_VERSION_NUM >= 180000
	pgstat_report_vacuum(RelationGetRelid(rel), rel->rd_rel->relisshared, live, dead, started);
#else
	pgstat_report_vacuum(RelationGetRelid(rel), rel->rd_rel->relisshared, live, dead);
#endif
}

/* Count an update, which is never HOT.  16 counts those whose new version goes to another block. */
static inline void
vdb_count_update(Relation rel, bool other_block)
{
#if PG_VERSION_NUM >= 160000
	pgstat_count_heap_update(rel, false, other_block);
#else
	pgstat_count_heap_update(rel, false);
#endif
}

/* ---- sorting, scanning indexes ---- */

/*
 * Get the next datum of a sort.  A *value by reference belongs to the caller, who frees it: 15
 * always copies, 16 has a parameter.
 */
static inline bool
vdb_sort_getdatum(Tuplesortstate *sort, Datum *value, bool *isnull)
{
#if PG_VERSION_NUM >= 160000
	return tuplesort_getdatum(sort, true, true, value, isnull, NULL);
#else
	return tuplesort_getdatum(sort, true, value, isnull, NULL);
#endif
}

/* Begin an index scan; 18 can count its searches for EXPLAIN. */
static inline IndexScanDesc
vdb_index_beginscan(Relation table, Relation index, Snapshot snapshot, int nkeys, int norderbys)
{
#if PG_VERSION_NUM >= 180000
	return index_beginscan(table, index, snapshot, NULL, nkeys, norderbys);
#else
	return index_beginscan(table, index, snapshot, nkeys, norderbys);
#endif
}

/* Set the relation of a parallel scan: 18 stores the file, older servers the OID. */
static inline void
vdb_parallelscan_set_relation(ParallelTableScanDesc pscan, Relation rel)
{
#if PG_VERSION_NUM >= 180000
	pscan->phs_locator = rel->rd_locator;
#else
	pscan->phs_relid = RelationGetRelid(rel);
#endif
}

/* ---- slots ---- */

/* Parameter and argument for the room before a copied minimal tuple (18). */
#if PG_VERSION_NUM >= 180000
#define VDB_EXTRA_PARAM			, Size extra
#define VDB_EXTRA_ARG			, extra
#else
#define VDB_EXTRA_PARAM
#define VDB_EXTRA_ARG
#endif

/* The slot callback that returns whether this transaction made the tuple (17). */
#if PG_VERSION_NUM >= 170000
#define VDB_IS_CURRENT_XACT_TUPLE(callback) .is_current_xact_tuple = callback,
#else
#define VDB_IS_CURRENT_XACT_TUPLE(callback)
#endif

/* ---- ANALYZE ---- */

/*
 * Define the callback scan_analyze_next_block 'name' by means of
 * 	bool next_block(TableScanDesc scan, BlockNumber block)
 * which returns false for a block to skip.  17 passes a stream of buffers instead of a block
 * number; only numbers are taken from it, and nothing is read.  There, false means the end.
 */
#if PG_VERSION_NUM >= 170000
#define VDB_ANALYZE_CALLBACK(name, next_block) \
static bool \
name(TableScanDesc scan, ReadStream *stream) \
{ \
	BufferAccessStrategy strategy; \
	BlockNumber block; \
\
	while ((block = read_stream_next_block(stream, &strategy)) != InvalidBlockNumber) \
		if (next_block(scan, block)) \
			return true; \
	return false; \
} \
extern int	vdb_no_such_variable	/* takes the semicolon */
#else
#define VDB_ANALYZE_CALLBACK(name, next_block) \
static bool \
name(TableScanDesc scan, BlockNumber block, BufferAccessStrategy strategy) \
{ \
	return next_block(scan, block); \
} \
extern int	vdb_no_such_variable
#endif

/* ---- bitmap scans ---- */

/* A block of a bitmap. */
typedef struct VdbBitmapBlock
{
	BlockNumber block;
	int			noffsets;			/* -1: lossy, that is any row of the block */
	const OffsetNumber *offsets;
} VdbBitmapBlock;

/*
 * Define the callbacks of bitmap scans by means of
 * 	bool next_block(TableScanDesc scan, const VdbBitmapBlock *block)
 * 	bool next_tuple(TableScanDesc scan, TupleTableSlot *slot)
 * which return false for a block without visible rows, and at a block's end.  VDB_BITMAP_ROUTINES
 * puts them into the TableAmRoutine.  Up to 17 the executor goes from block to block; in 18 the
 * access method does.
 */
#if PG_VERSION_NUM >= 180000
static inline bool
vdb_bitmap_advance(TableScanDesc scan, bool (*next_block) (TableScanDesc, const VdbBitmapBlock *),
				   bool *recheck, uint64 *lossy_pages, uint64 *exact_pages)
{
	TBMIterateResult result;
	OffsetNumber offsets[TBM_MAX_TUPLES_PER_PAGE];

	while (tbm_iterate(&scan->st.rs_tbmiterator, &result))
	{
		VdbBitmapBlock block = {.block = result.blockno,.noffsets = -1,.offsets = offsets};

		CHECK_FOR_INTERRUPTS();
		if (!result.lossy)
			block.noffsets = tbm_extract_page_tuple(&result, offsets, TBM_MAX_TUPLES_PER_PAGE);
		*recheck = result.recheck;
		if (!next_block(scan, &block))
			continue;
		if (result.lossy)
			(*lossy_pages)++;
		else
			(*exact_pages)++;
		return true;
	}
	return false;
}

#define VDB_BITMAP_CALLBACKS(next_block, next_tuple) \
static bool \
vdb_compat_bitmap_next_tuple(TableScanDesc scan, TupleTableSlot *slot, bool *recheck, \
							 uint64 *lossy_pages, uint64 *exact_pages) \
{ \
	while (!next_tuple(scan, slot)) \
	{ \
		if (!vdb_bitmap_advance(scan, next_block, recheck, lossy_pages, exact_pages)) \
		{ \
			ExecClearTuple(slot); \
			return false; \
		} \
	} \
	return true; \
} \
extern int	vdb_no_such_variable
#define VDB_BITMAP_ROUTINES \
	.scan_bitmap_next_tuple = vdb_compat_bitmap_next_tuple
#else
#define VDB_BITMAP_CALLBACKS(next_block, next_tuple) \
static bool \
vdb_compat_bitmap_next_block(TableScanDesc scan, struct TBMIterateResult *result) \
{ \
	VdbBitmapBlock block = { \
		.block = result->blockno, \
		.noffsets = result->ntuples, \
		.offsets = result->offsets \
	}; \
\
	return next_block(scan, &block); \
} \
\
static bool \
vdb_compat_bitmap_next_tuple(TableScanDesc scan, struct TBMIterateResult *result, \
							 TupleTableSlot *slot) \
{ \
	return next_tuple(scan, slot); \
} \
extern int	vdb_no_such_variable
#define VDB_BITMAP_ROUTINES \
	.scan_bitmap_next_block = vdb_compat_bitmap_next_block, \
	.scan_bitmap_next_tuple = vdb_compat_bitmap_next_tuple
#endif

/* Keep the executor from prefetching the bitmap's blocks; 18 leaves that to the access method. */
static inline void
vdb_bitmap_no_prefetch(BitmapHeapScanState *scan)
{
#if PG_VERSION_NUM < 180000
	scan->prefetch_maximum = 0;
#endif
}

/*
 * Make the executor fetch every row that a bitmap names, even if it needs no column of it.
 * Otherwise it would consult the visibility map, although VACUUM may have cleaned the indexes since
 * the bitmap was made.  Later releases of 15 and 16 no longer skip rows; 17 leaves that to the
 * access method.
 */
static inline void
vdb_bitmap_no_skip(BitmapHeapScanState *scan)
{
#if PG_VERSION_NUM < 170000
	scan->can_skip_fetch = false;
#endif
}

#endif							/* VDB_COMPAT_H */
