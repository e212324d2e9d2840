/*-------------------------------------------------------------------------
 *
 * am_block.c
 *	  Access by block: bitmap and sample scans, and sizes.
 *
 * To core, a block of a vdb table is a logical block, that is 256 row numbers.  Bitmap heap scans
 * also take it for a block of the main fork, and prefetch it.  That costs a system call for each
 * block, and the pages fetched have nothing to do with what will be read.  An executor hook
 * switches it off.  The hook also keeps these scans from skipping rows by the visibility map.
 * (ANALYZE prefetches, too: see am_analyze.c.)
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relscan.h"
#include "access/tsmapi.h"
#include "executor/executor.h"
#include "nodes/execnodes.h"
#include "nodes/nodeFuncs.h"
#include "nodes/tidbitmap.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"
#include "storage/smgr.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "am/am.h"

static ExecutorStart_hook_type previous_executor_start = NULL;

/* Return the number of logical blocks handed out so far. */
static int64
block_limit(Relation rel)
{
	VdbTableRef ref;

	return vdb_table_open(rel, false, &ref) ? (int64) vdb_map_limit(&ref) : 0;
}

/* Add a row to a set for vdb_batch_read_rows.  Offsets that no row can have are left out. */
static inline void
add_row(VdbRowSet rows, OffsetNumber offset)
{
	if (offset >= 1 && offset <= VDB_LB_ROWS)
		vdb_rowset_add(rows, offset - 1);
}

/* ---- bitmap scans ---- */

/*
 * Take predicate locks on what the bitmap names, for SERIALIZABLE.  They must come before the rows
 * are read, as in vdb_table_fetch.
 */
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
	VdbCursor  *cursor = &((VdbScanDesc) sscan)->cursor;
	VdbRowSet	rows = {0};

	Assert(cursor->caller_locks);
	/* a parallel worker's comes after the scan has begun */
	cursor->snapshot = sscan->rs_snapshot;
	vdb_cursor_go(cursor, named->block);
	if (named->block >= block_limit(sscan->rs_rd))
		return false;
	lock_rows(sscan->rs_rd, named, sscan->rs_snapshot);
	if (named->noffsets < 0)
		return vdb_cursor_read(cursor) > 0;
	for (int i = 0; i < named->noffsets; i++)
		add_row(rows, named->offsets[i]);
	return vdb_cursor_read_rows(cursor, rows) > 0;
}

/* Store the next row of the batch in the slot.  All rows that were read are returned. */
static bool
next_read_row(VdbCursor *cursor, TupleTableSlot *slot)
{
	if (!cursor->loaded || cursor->row + 1 >= cursor->batch->nrows)
		return false;
	cursor->row++;
	return vdb_cursor_slot(cursor, slot);
}

bool
vdb_bitmap_next_tuple(TableScanDesc sscan, TupleTableSlot *slot)
{
	if (!next_read_row(&((VdbScanDesc) sscan)->cursor, slot))
		return false;
	pgstat_count_heap_fetch(sscan->rs_rd);
	return true;
}

/* ---- TABLESAMPLE ---- */

/*
 * Return true if the sampling method can choose rows before the block is read.  BERNOULLI chooses
 * each row by a hash of its place.  Other methods may choose by the rows that they have got so
 * far.
 */
static bool
chosen_beforehand(const SampleScanState *state)
{
	const SampleScan *plan = (const SampleScan *) state->ss.ps.plan;

	return plan->tablesample->tsmhandler == F_BERNOULLI;
}

/* Let the method choose rows of the block, and read exactly these. */
static void
read_chosen(VdbCursor *cursor, SampleScanState *state)
{
	VdbRowSet	rows = {0};
	OffsetNumber offset;

	for (;;)
	{
		offset = state->tsmroutine->NextSampleTuple(state, vdb_cursor_lb(cursor), VDB_LB_ROWS);
		if (!OffsetNumberIsValid(offset))
			break;
		add_row(rows, offset);
	}
	(void) vdb_cursor_read_rows(cursor, rows);
}

/*
 * Move the cursor to the next block that the method chooses, or to the next one if it does not
 * choose blocks.  Return false at the end.
 */
static bool
next_sample_block(VdbCursor *cursor, SampleScanState *state)
{
	BlockNumber block;

	if (cursor->limit == 0)
		return false;
	if (state->tsmroutine->NextSampleBlock == NULL)
		return vdb_cursor_next(cursor);
	block = state->tsmroutine->NextSampleBlock(state, (BlockNumber) cursor->limit);
	if (!BlockNumberIsValid(block))
		return false;
	vdb_cursor_go(cursor, block);
	return true;
}

bool
vdb_sample_next_block(TableScanDesc sscan, struct SampleScanState *state)
{
	VdbCursor  *cursor = &((VdbScanDesc) sscan)->cursor;

	cursor->loaded = false;
	if (!next_sample_block(cursor, state))
		return false;
	if (chosen_beforehand(state))
		read_chosen(cursor, state);
	else
		(void) vdb_cursor_read(cursor);
	return true;
}

/* Store the next row in the slot, for a method that chooses rows one by one. */
static bool
next_sampled_row(VdbCursor *cursor, SampleScanState *state, TupleTableSlot *slot)
{
	const VdbBatch *batch = cursor->batch;
	OffsetNumber max_offset = batch->nrows > 0 ? batch->index[batch->nrows - 1] + 1 : 0;

	Assert(cursor->loaded && batch->lb == vdb_cursor_lb(cursor));
	for (;;)
	{
		OffsetNumber offset;

		CHECK_FOR_INTERRUPTS();
		offset = state->tsmroutine->NextSampleTuple(state, vdb_cursor_lb(cursor), max_offset);
		if (!OffsetNumberIsValid(offset))
			return false;
		/* offsets rise within a block, and so do the batch's rows */
		while (cursor->row + 1 < batch->nrows && batch->index[cursor->row + 1] + 1 < offset)
			cursor->row++;
		if (cursor->row + 1 < batch->nrows && batch->index[cursor->row + 1] + 1 == offset)
			return next_read_row(cursor, slot);
	}
}

bool
vdb_sample_next_tuple(TableScanDesc sscan, struct SampleScanState *state, TupleTableSlot *slot)
{
	VdbCursor  *cursor = &((VdbScanDesc) sscan)->cursor;
	bool		found;

	found = chosen_beforehand(state) ? next_read_row(cursor, slot) :
		next_sampled_row(cursor, state, slot);
	if (found)
		pgstat_count_heap_getnext(sscan->rs_rd);
	else
		ExecClearTuple(slot);
	return found;
}

/* ---- sizes ---- */

/* Return the size of a fork's files in bytes; 0 if the fork does not exist. */
static uint64
fork_bytes(Relation rel, ForkNumber fork)
{
	if (!smgrexists(RelationGetSmgr(rel), fork))
		return 0;
	return (uint64) smgrnblocks(RelationGetSmgr(rel), fork) * BLCKSZ;
}

/*
 * Return the size of a fork.  The main fork's is that of the logical block space: BRIN and others
 * take it for the upper bound of TIDs.
 */
uint64
vdb_relation_size(Relation rel, ForkNumber fork)
{
	uint64		bytes;

	if (vdb_tool_asks_size(rel, fork, &bytes))
		return bytes;
	if (fork == MAIN_FORKNUM)
		return (uint64) vdb_analyze_limit(block_limit(rel)) * BLCKSZ;
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

/*
 * Switch off prefetching and skipping in each bitmap heap scan of a vdb table below a plan node.
 */
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

/* ExecutorStart hook: begin an epoch in binary-upgrade mode, and restrain bitmap scans. */
static void
vdb_executor_start(QueryDesc *query, int eflags)
{
	vdb_upgrade_begin_epoch();
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
