/*-------------------------------------------------------------------------
 *
 * am.h
 *	  The access methods' callbacks: arguments in, table/ called, answer out.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_AM_H
#define VDB_AM_H

#include "access/skey.h"
#include "access/tableam.h"

#include "base/vdb_compat.h"
#include "table/table.h"

extern const TableAmRoutine vdb_am_routine;		/* access method 'vdb' */
extern const TableAmRoutine vdb_pool_routine;	/* access method 'vdb_pool', for vdb.scm alone */

/* ---- scans (am_scan.c) ---- */

typedef struct VdbScanDescData
{
	TableScanDescData base;
	VdbCursor	cursor;
	bool		ranged;				/* a scan of a range of TIDs: its bounds inside of */
	VdbLogicalBlock range_first;	/* its first block, */
	VdbLogicalBlock range_last;		/* and of its last */
	uint16		first_index;
	uint16		end_index;			/* exclusive */
} VdbScanDescData;

typedef VdbScanDescData *VdbScanDesc;

typedef struct VdbParallelScan
{
	ParallelTableScanDescData base;
	VdbSharedCursor cursor;
} VdbParallelScan;

extern TableScanDesc vdb_beginscan(Relation rel, Snapshot snapshot, int nkeys, ScanKey key,
								   ParallelTableScanDesc pscan, uint32 flags);
extern void vdb_endscan(TableScanDesc sscan);
extern void vdb_rescan(TableScanDesc sscan, ScanKey key, bool set_params, bool allow_strat,
					   bool allow_sync, bool allow_pagemode);
extern bool vdb_getnextslot(TableScanDesc sscan, ScanDirection direction, TupleTableSlot *slot);
extern void vdb_set_tidrange(TableScanDesc sscan, ItemPointer mintid, ItemPointer maxtid);
extern bool vdb_getnextslot_tidrange(TableScanDesc sscan, ScanDirection direction,
									 TupleTableSlot *slot);
extern Size vdb_parallelscan_estimate(Relation rel);
extern Size vdb_parallelscan_initialize(Relation rel, ParallelTableScanDesc pscan);
extern void vdb_parallelscan_reinitialize(Relation rel, ParallelTableScanDesc pscan);

/* ---- bitmap, sample, ANALYZE (am_block.c) ---- */

/* Blocks up to here lie in the main fork's first file: asking for them is harmless. */
#define VDB_PREFETCH_SAFE	((int64) RELSEG_SIZE - 1)

extern bool vdb_bitmap_next_block(TableScanDesc sscan, const VdbBitmapBlock *named);
extern bool vdb_bitmap_next_tuple(TableScanDesc sscan, TupleTableSlot *slot);
extern bool vdb_sample_next_block(TableScanDesc sscan, struct SampleScanState *state);
extern bool vdb_sample_next_tuple(TableScanDesc sscan, struct SampleScanState *state,
								  TupleTableSlot *slot);
extern bool vdb_analyze_next_block(TableScanDesc sscan, BlockNumber blockno);
extern bool vdb_analyze_next_tuple(TableScanDesc sscan, TransactionId oldest_xmin, double *liverows,
								   double *deadrows, TupleTableSlot *slot);
extern uint64 vdb_relation_size(Relation rel, ForkNumber fork);
extern void vdb_block_init(void);	/* executor hook that keeps core from prefetching logical
									 * blocks */

/* ---- estimates for the planner (am_estimate.c) ---- */
extern void vdb_estimate_size(Relation rel, int32 *attr_widths, BlockNumber *pages, double *tuples,
							  double *allvisfrac);

/* ---- indexes (am_index.c) ---- */
extern struct IndexFetchTableData *vdb_index_fetch_begin(Relation rel);
extern void vdb_index_fetch_reset(struct IndexFetchTableData *data);
extern void vdb_index_fetch_end(struct IndexFetchTableData *data);
extern bool vdb_index_fetch_tuple(struct IndexFetchTableData *data, ItemPointer tid,
								  Snapshot snapshot,
								  TupleTableSlot *slot, bool *call_again, bool *all_dead);
extern TransactionId vdb_index_delete_tuples(Relation rel, TM_IndexDeleteOp *delstate);
extern double vdb_index_build_range_scan(Relation table, Relation index, struct IndexInfo *info,
										 bool allow_sync, bool anyvisible, bool progress,
										 BlockNumber start_blockno, BlockNumber numblocks,
										 IndexBuildCallback callback, void *state, TableScanDesc scan);
extern void vdb_index_validate_scan(Relation table, Relation index, struct IndexInfo *info,
									Snapshot snapshot, struct ValidateIndexState *state);

/* ---- storage (am_ddl.c), VACUUM (am_vacuum.c) ---- */
extern void vdb_set_new_filenode(Relation rel, const RelFileLocator *newrnode, char persistence,
								 TransactionId *freeze_xid, MultiXactId *minmulti);
extern void vdb_nontransactional_truncate(Relation rel);
extern void vdb_copy_data(Relation rel, const RelFileLocator *newrnode);
extern void vdb_copy_for_cluster(Relation old_rel, Relation new_rel, Relation index, bool use_sort,
								 TransactionId oldest_xmin, TransactionId *xid_cutoff,
								 MultiXactId *multi_cutoff, double *num_tuples,
								 double *tups_vacuumed, double *tups_recently_dead);
extern void vdb_vacuum(Relation rel, struct VacuumParams *params, BufferAccessStrategy bstrategy);

/* ---- utility statements (am_utility.c) ---- */
extern void vdb_utility_init(void);

/* ---- other people's functions that read pages (am_tools.c) ---- */
extern bool vdb_tool_asks_size(Relation rel, ForkNumber fork, uint64 *bytes);
extern void vdb_tools_init(void);

/* ---- pg_upgrade (am_upgrade.c) ---- */
extern void vdb_upgrade_begin_epoch(void);

extern void vdb_am_init(void);		/* _PG_init */

#endif							/* VDB_AM_H */
