/*-------------------------------------------------------------------------
 *
 * am.h
 *	  Callbacks of the access methods "vdb" and "vdb_pool", and what the files of am/ share.
 *
 * Most callbacks pass their arguments on to table/ and return its answer.  Their contracts are
 * those of TableAmRoutine in core's access/tableam.h; the comments here add what is particular to
 * vdb tables.  Unless a comment says otherwise, a callback is called without lightweight locks, and
 * takes and releases block locks inside table/.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_AM_H
#define VDB_AM_H

#include "access/skey.h"
#include "access/tableam.h"

#include "base/vdb_compat.h"
#include "table/table.h"

/* ---- scans (am_scan.c) ---- */

/* A choice of one in each stretch of 'step' things (am_analyze.c). */
typedef struct VdbAnalyzeChoice
{
	uint32		step;
	uint32		at;					/* things of the stretch that were passed */
	uint32		chosen;				/* number of the chosen one */
} VdbAnalyzeChoice;

/* What ANALYZE reads of the table (am_analyze.c). */
typedef struct VdbAnalyze
{
	VdbAnalyzeChoice blocks;		/* of the blocks that have a place, which are read */
	int			row_step;			/* of a block, one in each so many rows is read; 0: not yet
									 * planned */
	double		weight;				/* rows that a row stands for */
} VdbAnalyze;

/* A scan of a vdb table, of any kind. */
typedef struct VdbScanDescData
{
	TableScanDescData base;			/* must be first */
	VdbCursor	cursor;				/* position, and the batch of rows read there */
	bool		ranged;				/* the scan is of a range of TIDs; the fields below are set */
	VdbLogicalBlock range_first;	/* first logical block of the range */
	VdbLogicalBlock range_last;		/* last logical block of the range */
	uint16		first_index;		/* first row of the range in range_first */
	uint16		end_index;			/* end of the range in range_last, exclusive */
	VdbAnalyze	analyze;			/* for ANALYZE alone */
} VdbScanDescData;

typedef VdbScanDescData *VdbScanDesc;

/* The part of a parallel scan that lies in dynamic shared memory. */
typedef struct VdbParallelScan
{
	ParallelTableScanDescData base; /* must be first */
	VdbSharedCursor cursor;			/* hands out logical blocks to the participants */
} VdbParallelScan;

/*
 * Begin a scan in the current memory context.  For SERIALIZABLE, lock the relation if the scan
 * reads all rows (sequential, sample and TID range scans).  pscan is NULL for a scan that is not
 * parallel.
 */
extern TableScanDesc vdb_beginscan(Relation rel, Snapshot snapshot, int nkeys, ScanKey key,
								   ParallelTableScanDesc pscan, uint32 flags);

/* End a scan.  Release its batch, and its snapshot if it was registered for the scan. */
extern void vdb_endscan(TableScanDesc sscan);

/* Restart a scan before the first row of the table as it is now. */
extern void vdb_rescan(TableScanDesc sscan, ScanKey key, bool set_params, bool allow_strat,
					   bool allow_sync, bool allow_pagemode);

/*
 * Store the next row in the given direction in the slot.  Return false, with the slot cleared, at
 * the end.
 */
extern bool vdb_getnextslot(TableScanDesc sscan, ScanDirection direction, TupleTableSlot *slot);

/* Restart a scan, and restrict it to the TIDs from mintid to maxtid, both inclusive. */
extern void vdb_set_tidrange(TableScanDesc sscan, ItemPointer mintid, ItemPointer maxtid);

/* Like vdb_getnextslot, but skip the rows outside the range of TIDs. */
extern bool vdb_getnextslot_tidrange(TableScanDesc sscan, ScanDirection direction,
									 TupleTableSlot *slot);

/* Give the size in bytes of a VdbParallelScan. */
extern Size vdb_parallelscan_estimate(Relation rel);

/* Set up the shared part of a parallel scan.  Return its size in bytes. */
extern Size vdb_parallelscan_initialize(Relation rel, ParallelTableScanDesc pscan);

/* Reset the shared part of a parallel scan for a rescan. */
extern void vdb_parallelscan_reinitialize(Relation rel, ParallelTableScanDesc pscan);

/* ---- bitmap, sample (am_block.c) ---- */

/*
 * Read the rows of a block that the bitmap names, or all of its rows if the entry is lossy.  For
 * SERIALIZABLE, lock them before they are read.  Return false if the block has no row that the
 * snapshot sees.
 */
extern bool vdb_bitmap_next_block(TableScanDesc sscan, const VdbBitmapBlock *named);

/* Store the next row of the block in the slot.  Return false at the end of the block. */
extern bool vdb_bitmap_next_tuple(TableScanDesc sscan, TupleTableSlot *slot);

/*
 * Move to the next logical block that the sampling method chooses, and read it.  Return false at
 * the end of the table.
 */
extern bool vdb_sample_next_block(TableScanDesc sscan, struct SampleScanState *state);

/* Store the next chosen row of the block in the slot.  Return false at the end of the block. */
extern bool vdb_sample_next_tuple(TableScanDesc sscan, struct SampleScanState *state,
								  TupleTableSlot *slot);

/* ---- ANALYZE (am_analyze.c) ---- */

/*
 * Blocks below this limit lie in the main fork's first file.  Prefetching such a block is harmless
 * even if it does not exist.
 */
#define VDB_PREFETCH_SAFE	((int64) RELSEG_SIZE - 1)

/*
 * Return the number of blocks that core shall see, given that of logical blocks.  ANALYZE sees
 * fewer in a large table.
 */
extern int64 vdb_analyze_limit(int64 limit);

/*
 * Move to the share of the table that a sampled block stands for.  A share is one or more logical
 * blocks.  Return false if the table has no such block any more.
 */
extern bool vdb_analyze_next_block(TableScanDesc sscan, BlockNumber blockno);

/*
 * Store the next row of the share that was chosen in the slot.  Count the live and dead rows on the
 * way, each for those that it stands for.  Return false at the end of the share.
 */
extern bool vdb_analyze_next_tuple(TableScanDesc sscan, TransactionId oldest_xmin, double *liverows,
								   double *deadrows, TupleTableSlot *slot);

/* ---- sizes (am_block.c) ---- */

/*
 * Give the size of a fork in bytes.  The main fork's is the number of logical blocks times
 * BLCKSZ, not the length of its file: BRIN and others take it for the upper bound of TIDs.
 * ERROR: the caller is a function that only works on heap pages (am_tools.c).
 */
extern uint64 vdb_relation_size(Relation rel, ForkNumber fork);

/* Install the executor hook that keeps core from prefetching logical blocks. */
extern void vdb_block_init(void);

/* ---- size estimates (am_estimate.c) ---- */

/*
 * Estimate a table's live rows, the pages that a scan reads, and the share of rows in all-visible
 * logical blocks (0 to 1).  Takes the map lock and block locks, shared, one at a time.
 */
extern void vdb_estimate_size(Relation rel, int32 *attr_widths, BlockNumber *pages, double *tuples,
							  double *allvisfrac);

/* ---- indexes (am_index.c) ---- */

/* Begin fetching rows of a table by TID.  The result is palloc'd. */
extern struct IndexFetchTableData *vdb_index_fetch_begin(Relation rel);

/* Do nothing: no resources are held between fetches. */
extern void vdb_index_fetch_reset(struct IndexFetchTableData *data);

/* Free what vdb_index_fetch_begin has allocated. */
extern void vdb_index_fetch_end(struct IndexFetchTableData *data);

/*
 * Fetch the one version that the TID names.  *call_again is always false: there are no chains
 * under one TID.  *all_dead is set if the version is gone or dead to everyone.
 */
extern bool vdb_index_fetch_tuple(struct IndexFetchTableData *data, ItemPointer tid,
								  Snapshot snapshot,
								  TupleTableSlot *slot, bool *call_again, bool *all_dead);

/*
 * Decide which index entries can be deleted.  Return the latest transaction id that a standby's
 * snapshots must have passed before the deletion is replayed.
 */
extern TransactionId vdb_index_delete_tuples(Relation rel, TM_IndexDeleteOp *delstate);

/*
 * Pass the entries of all rows, or of those in a range of logical blocks, to the callback.  A
 * scan that the caller passes is ended.  Return the number of live rows.
 */
extern double vdb_index_build_range_scan(Relation table, Relation index, struct IndexInfo *info,
										 bool allow_sync, bool anyvisible, bool progress,
										 BlockNumber start_blockno, BlockNumber numblocks,
										 IndexBuildCallback callback, void *state,
										 TableScanDesc scan);

/* Insert the entries that the index still lacks, for phase 3 of CREATE INDEX CONCURRENTLY. */
extern void vdb_index_validate_scan(Relation table, Relation index, struct IndexInfo *info,
									Snapshot snapshot, struct ValidateIndexState *state);

/* ---- storage (am_ddl.c), VACUUM (am_vacuum.c) ---- */

/*
 * Create the storage of a table.  The pool's entry comes with the first row.  ERROR: the library
 * is not preloaded, or the pool cannot be used.
 */
extern void vdb_set_new_filenode(Relation rel, const RelFileLocator *newrnode, char persistence,
								 TransactionId *freeze_xid, MultiXactId *minmulti);

/* Empty a table in place.  Its row numbers begin anew. */
extern void vdb_nontransactional_truncate(Relation rel);

/*
 * Copy the files of a table to another tablespace.  Its pool entry gets an alias, so that it
 * belongs to both files until the transaction has ended.
 */
extern void vdb_copy_data(Relation rel, const RelFileLocator *newrnode);

/*
 * Write the versions that some snapshot may still see to a new table, for CLUSTER and VACUUM FULL.
 * The table is locked by the caller, AccessExclusiveLock.  The last three arguments receive
 * numbers of rows.
 */
extern void vdb_copy_for_cluster(Relation old_rel, Relation new_rel, Relation index, bool use_sort,
								 TransactionId oldest_xmin, TransactionId *xid_cutoff,
								 MultiXactId *multi_cutoff, double *num_tuples,
								 double *tups_vacuumed, double *tups_recently_dead);

/*
 * VACUUM a table.  The caller holds ShareUpdateExclusiveLock.  Takes the migration lock range by
 * range, and block locks one at a time.
 */
extern void vdb_vacuum(Relation rel, struct VacuumParams *params, BufferAccessStrategy bstrategy);

/* ---- utility statements (am_utility.c) ---- */

/* Install the hook for utility statements. */
extern void vdb_utility_init(void);

/* ---- functions of other modules that read pages (am_tools.c) ---- */

/*
 * If a known function that reads pages by number is running, set *bytes to the real size of the
 * main fork and return true.  Otherwise, or for another fork, return false.  ERROR: the function
 * only works on heap pages.
 */
extern bool vdb_tool_asks_size(Relation rel, ForkNumber fork, uint64 *bytes);

/* Install the hooks that notice when such a function runs. */
extern void vdb_tools_init(void);

/* ---- pg_upgrade (am_upgrade.c) ---- */

/*
 * Begin an epoch of this database's pool, once in each process, in binary-upgrade mode.  Does
 * nothing in other modes.  ERROR: the pool cannot be used.
 */
extern void vdb_upgrade_begin_epoch(void);

/* Install the hooks of am/ and register the access method's callbacks.  Called by _PG_init. */
extern void vdb_am_init(void);

#endif							/* VDB_AM_H */
