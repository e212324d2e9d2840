/*-------------------------------------------------------------------------
 *
 * am_block.c
 *	  What core asks of a table by block: bitmap and sample scans, ANALYZE, sizes.
 *
 * To core a block is a logical block, that is 256 row numbers.  Two places
 * need care, because core also takes it for a block of the main fork:
 *
 * - ANALYZE prefetches the blocks it chose.  While it runs, relation_size
 *	 therefore answers with a number of blocks that md.c can be asked about, and
 *	 each of them stands for an equal share of the logical blocks.
 * - Bitmap heap scans prefetch too: at best, pages that have nothing to do with
 *	 what will be read, by a system call each.  An executor hook switches that
 *	 off.  It also keeps them from skipping rows by the visibility map.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relscan.h"
#include "access/tsmapi.h"
#include "commands/progress.h"
#include "executor/executor.h"
#include "nodes/execnodes.h"
#include "nodes/nodeFuncs.h"
#include "nodes/tidbitmap.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"
#include "storage/smgr.h"
#include "utils/backend_progress.h"
#include "utils/backend_status.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "am/am.h"

static ExecutorStart_hook_type previous_executor_start = NULL;

static int64
block_limit(Relation rel)
{
	VdbTableRef ref;

	return vdb_table_open(rel, false, &ref) ? (int64) vdb_map_limit(&ref) : 0;
}

/* The bits that vdb_batch_read_rows takes: no row has any other offset. */
static inline void
add_row(uint64 rows[VDB_LB_ROWS / 64], OffsetNumber offset)
{
	if (offset >= 1 && offset <= VDB_LB_ROWS)
		rows[(offset - 1) / 64] |= UINT64CONST(1) << ((offset - 1) % 64);
}

/* ---- bitmap scans ---- */

/* SSI: what will be looked at, locked before it is (as in vdb_table_fetch). */
static void
lock_rows(Relation rel, const VdbBitmapBlock *named, Snapshot snapshot)
{
	if (!CheckForSerializableConflictOutNeeded(rel, snapshot))
		return;
	if (named->noffsets < 0)
		PredicateLockPage(rel, named->block, snapshot);
	for (int i = 0; i < named->noffsets; i++)
	{
		ItemPointerData tid;

		ItemPointerSet(&tid, named->block, named->offsets[i]);
		PredicateLockTID(rel, &tid, snapshot, InvalidTransactionId);
	}
}

bool
vdb_bitmap_next_block(TableScanDesc sscan, const VdbBitmapBlock *named)
{
	VdbScan    *scan = (VdbScan *) sscan;
	VdbBatch   *batch = vdb_scan_batch(scan);
	uint64		rows[VDB_LB_ROWS / 64] = {0};

	scan->row = -1;
	scan->loaded = false;
	if (named->block >= block_limit(sscan->rs_rd))
		return false;
	lock_rows(sscan->rs_rd, named, sscan->rs_snapshot);
	for (int i = 0; i < named->noffsets; i++)
		add_row(rows, named->offsets[i]);
	if (named->noffsets < 0)
		vdb_batch_read(batch, named->block, sscan->rs_snapshot, InvalidTransactionId, false);
	else
		vdb_batch_read_rows(batch, named->block, sscan->rs_snapshot, rows);
	scan->loaded = batch->nrows > 0;
	return scan->loaded;
}

bool
vdb_bitmap_next_tuple(TableScanDesc sscan, TupleTableSlot *slot)
{
	VdbScan    *scan = (VdbScan *) sscan;

	if (!scan->loaded || scan->row + 1 >= scan->batch->nrows)
		return false;
	vdb_batch_slot(scan->batch, ++scan->row, slot);
	pgstat_count_heap_fetch(sscan->rs_rd);
	return true;
}

/* ---- TABLESAMPLE ---- */

/*
 * BERNOULLI chooses each row by a hash of its place: so the choice can be made before the block is read.  Others
 * may choose by what they got so far.
 */
static bool
chosen_beforehand(const SampleScanState *state)
{
	const SampleScan *plan = (const SampleScan *) state->ss.ps.plan;

	return plan->tablesample->tsmhandler == F_BERNOULLI;
}

static void
read_chosen(VdbScan *scan, SampleScanState *state)
{
	uint64		rows[VDB_LB_ROWS / 64] = {0};
	OffsetNumber offset;

	for (;;)
	{
		offset = state->tsmroutine->NextSampleTuple(state, (BlockNumber) scan->lb, VDB_LB_ROWS);
		if (!OffsetNumberIsValid(offset))
			break;
		add_row(rows, offset);
	}
	vdb_batch_read_rows(vdb_scan_batch(scan), (VdbLogicalBlock) scan->lb,
						scan->base.rs_snapshot, rows);
}

bool
vdb_sample_next_block(TableScanDesc sscan, struct SampleScanState *state)
{
	VdbScan    *scan = (VdbScan *) sscan;
	TsmRoutine *tsm = state->tsmroutine;

	scan->loaded = false;
	if (scan->limit == 0)
		return false;
	if (tsm->NextSampleBlock)
	{
		BlockNumber block = tsm->NextSampleBlock(state, (BlockNumber) scan->limit);

		if (!BlockNumberIsValid(block))
			return false;
		scan->lb = block;
	}
	else if (vdb_scan_next_block(scan) < 0)
		return false;
	if (chosen_beforehand(state))
		read_chosen(scan, state);
	else
		vdb_batch_read(vdb_scan_batch(scan), (VdbLogicalBlock) scan->lb, sscan->rs_snapshot,
					   InvalidTransactionId, false);
	scan->loaded = true;
	scan->row = -1;
	return true;
}

/* The next row of a block all of whose rows that were read are wanted. */
static bool
next_chosen(VdbScan *scan, TupleTableSlot *slot)
{
	if (scan->row + 1 >= scan->batch->nrows)
	{
		ExecClearTuple(slot);
		return false;
	}
	vdb_batch_slot(scan->batch, ++scan->row, slot);
	pgstat_count_heap_getnext(scan->base.rs_rd);
	return true;
}

bool
vdb_sample_next_tuple(TableScanDesc sscan, struct SampleScanState *state, TupleTableSlot *slot)
{
	VdbScan    *scan = (VdbScan *) sscan;
	VdbBatch   *batch = scan->batch;
	TsmRoutine *tsm = state->tsmroutine;
	OffsetNumber max_offset = batch->nrows > 0 ? batch->index[batch->nrows - 1] + 1 : 0;

	if (chosen_beforehand(state))
		return next_chosen(scan, slot);
	for (;;)
	{
		OffsetNumber offset;

		CHECK_FOR_INTERRUPTS();
		offset = tsm->NextSampleTuple(state, (BlockNumber) scan->lb, max_offset);
		if (!OffsetNumberIsValid(offset))
		{
			ExecClearTuple(slot);
			return false;
		}
		/* offsets rise within a block, and so do the batch's rows */
		while (scan->row + 1 < batch->nrows && batch->index[scan->row + 1] + 1 < offset)
			scan->row++;
		if (scan->row + 1 < batch->nrows && batch->index[scan->row + 1] + 1 == offset)
		{
			vdb_batch_slot(batch, ++scan->row, slot);
			pgstat_count_heap_getnext(sscan->rs_rd);
			return true;
		}
	}
}

/* ---- ANALYZE ---- */

static bool
analyzing(void)
{
	return MyBEEntry != NULL &&
		MyBEEntry->st_progress_command == PROGRESS_COMMAND_ANALYZE;
}

/* How many blocks ANALYZE is told of; each stands for limit / blocks logical blocks. */
static int64
analyze_blocks(Relation rel)
{
	return Min(block_limit(rel), VDB_PREFETCH_SAFE);
}

bool
vdb_analyze_next_block(TableScanDesc sscan, BlockNumber blockno)
{
	VdbScan    *scan = (VdbScan *) sscan;
	int64		blocks = analyze_blocks(sscan->rs_rd);

	if (blocks == 0 || (int64) blockno >= blocks)
		return false;
	/* the share's logical blocks: [start, limit) */
	scan->start = scan->limit = 0;
	scan->limit = block_limit(sscan->rs_rd);
	scan->start = (int64) blockno * scan->limit / blocks;
	scan->limit = ((int64) blockno + 1) * scan->limit / blocks;
	scan->lb = scan->start - 1;
	scan->loaded = false;
	return true;
}

static bool
analyze_load(VdbScan *scan, TransactionId oldest_xmin)
{
	if (scan->lb + 1 >= scan->limit)
		return false;
	scan->lb++;
	vdb_batch_read(vdb_scan_batch(scan), (VdbLogicalBlock) scan->lb, NULL, oldest_xmin, true);
	scan->loaded = true;
	scan->row = -1;
	return true;
}

/* Count the row; is it one to sample? */
static bool
analyze_row(VdbScan *scan, double *liverows, double *deadrows)
{
	VdbVersion	version;

	switch (scan->batch->deadness[scan->row])
	{
		case VDB_LIVE:
			*liverows += 1;
			return true;
		case VDB_DEAD:
		case VDB_RECENTLY_DEAD:
			*deadrows += 1;
			return false;
		case VDB_INSERT_IN_PROGRESS:
			vdb_batch_version(scan->batch, scan->row, &version);
			if (!TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(&version.hdr)))
				return false;
			*liverows += 1;
			return true;
		default:
			/* deleted by a transaction in progress: live, unless it is ours */
			vdb_batch_version(scan->batch, scan->row, &version);
			if (TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetUpdateXid(&version.hdr)))
			{
				*deadrows += 1;
				return false;
			}
			*liverows += 1;
			return true;
	}
}

bool
vdb_analyze_next_tuple(TableScanDesc sscan, TransactionId oldest_xmin, double *liverows,
					   double *deadrows, TupleTableSlot *slot)
{
	VdbScan    *scan = (VdbScan *) sscan;

	for (;;)
	{
		if (!scan->loaded && !analyze_load(scan, oldest_xmin))
			break;
		if (++scan->row >= scan->batch->nrows)
		{
			scan->loaded = false;
			continue;
		}
		if (analyze_row(scan, liverows, deadrows))
		{
			vdb_batch_slot(scan->batch, scan->row, slot);
			return true;
		}
	}
	ExecClearTuple(slot);
	return false;
}

/* ---- sizes ---- */

static uint64
fork_bytes(Relation rel, ForkNumber fork)
{
	if (!smgrexists(RelationGetSmgr(rel), fork))
		return 0;
	return (uint64) smgrnblocks(RelationGetSmgr(rel), fork) * BLCKSZ;
}

/*
 * The main fork's size is that of the logical block space: BRIN and others
 * take it for the upper bound of TIDs.
 */
uint64
vdb_relation_size(Relation rel, ForkNumber fork)
{
	uint64		bytes;

	if (vdb_tool_asks_size(rel, fork, &bytes))
		return bytes;
	if (fork == MAIN_FORKNUM)
		return (uint64) (analyzing() ? analyze_blocks(rel) : block_limit(rel)) * BLCKSZ;
	if (fork == InvalidForkNumber)
	{
		bytes = (uint64) block_limit(rel) * BLCKSZ;
		for (int i = MAIN_FORKNUM + 1; i <= MAX_FORKNUM; i++)
			bytes += fork_bytes(rel, (ForkNumber) i);
		return bytes;
	}
	return fork_bytes(rel, fork);
}

/* ---- bitmap scans: no prefetching, no skipping ---- */

static bool
restrain_bitmaps(PlanState *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, BitmapHeapScanState))
	{
		BitmapHeapScanState *scan = (BitmapHeapScanState *) node;
		Relation	rel = scan->ss.ss_currentRelation;

		if (rel != NULL && vdb_is_vdb(rel))
		{
			vdb_bitmap_no_skip(scan);
			vdb_bitmap_no_prefetch(scan);
		}
	}
	return planstate_tree_walker(node, restrain_bitmaps, context);
}

static void
vdb_executor_start(QueryDesc *query, int eflags)
{
	vdb_upgrade_settle();
	if (previous_executor_start)
		previous_executor_start(query, eflags);
	else
		standard_ExecutorStart(query, eflags);
	if (!(eflags & EXEC_FLAG_EXPLAIN_ONLY))
		restrain_bitmaps(query->planstate, NULL);
}

void
vdb_block_init(void)
{
	previous_executor_start = ExecutorStart_hook;
	ExecutorStart_hook = vdb_executor_start;
}
