/*-------------------------------------------------------------------------
 *
 * am_index.c
 *	  Index support: fetching rows, building and validating indexes.
 *
 * Every row version has a TID of its own and keeps it for life.  So one index entry leads to one
 * version, and migration never touches an index.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "commands/progress.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "storage/predicate.h"
#include "storage/procarray.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplesort.h"

#include "am/am.h"

/* ---- fetch ---- */

struct IndexFetchTableData *
vdb_index_fetch_begin(Relation rel)
{
	IndexFetchTableData *data = palloc0(sizeof(IndexFetchTableData));

	data->rel = rel;
	return data;
}

void
vdb_index_fetch_reset(struct IndexFetchTableData *data)
{
}

void
vdb_index_fetch_end(struct IndexFetchTableData *data)
{
	pfree(data);
}

bool
vdb_index_fetch_tuple(struct IndexFetchTableData *data, ItemPointer tid, Snapshot snapshot,
					  TupleTableSlot *slot, bool *call_again, bool *all_dead)
{
	*call_again = false;
	return vdb_table_fetch(data->rel, vdb_tid_to_row(tid), snapshot, slot, all_dead);
}

/* ---- build ---- */

/* State of an index build or validation. */
typedef struct BuildState
{
	Relation	table;
	Relation	index;
	IndexInfo  *info;
	bool		checking_uniqueness;	/* unique index or exclusion constraint */
	bool		anyvisible;			/* take versions in progress as alive */
	Snapshot	snapshot;			/* NULL: index every version that is not dead */
	VdbCursor  *cursor;				/* the scan's */
	VdbBatch   *batch;				/* the cursor's */
	TupleTableSlot *slot;
	ExprContext *econtext;
	ExprState  *predicate;
	IndexBuildCallback callback;
	void	   *callback_state;
	double		reltuples;			/* rows counted so far */
} BuildState;

/* How to index a version. */
typedef enum BuildResult
{
	BUILD_ALIVE,					/* indexed, and checked for uniqueness */
	BUILD_NOT_ALIVE,				/* indexed, but ignored by unique checks */
	BUILD_WAIT						/* its transaction must end first */
} BuildResult;

/*
 * Decide how to index version i of the batch, whose insertion or deletion is in progress.
 * *wait_for is set for BUILD_WAIT.
 */
static BuildResult
check_in_progress(BuildState *bs, int i, bool inserting, TransactionId *wait_for)
{
	VdbVersion	version;
	TransactionId xid;

	vdb_batch_version(bs->batch, i, &version);
	xid = inserting ? HeapTupleHeaderGetXmin(&version.hdr) :
		HeapTupleHeaderGetUpdateXid(&version.hdr);
	if (bs->anyvisible)
	{
		bs->reltuples += 1;
		return BUILD_ALIVE;
	}
	if (TransactionIdIsCurrentTransactionId(xid))
	{
		if (inserting)
			bs->reltuples += 1;
		return inserting ? BUILD_ALIVE : BUILD_NOT_ALIVE;
	}
	if (bs->checking_uniqueness)
	{
		*wait_for = xid;
		return BUILD_WAIT;
	}
	if (!inserting)
		bs->reltuples += 1;
	return inserting ? BUILD_ALIVE : BUILD_NOT_ALIVE;
}

/* Decide how to index version i of the batch.  *wait_for is set for BUILD_WAIT. */
static BuildResult
check_version(BuildState *bs, int i, TransactionId *wait_for)
{
	if (bs->snapshot != NULL)
	{
		bs->reltuples += 1;
		return BUILD_ALIVE;
	}
	switch (bs->batch->htsv[i])
	{
		case VDB_LIVE:
			bs->reltuples += 1;
			return BUILD_ALIVE;
		case VDB_INSERT_IN_PROGRESS:
			return check_in_progress(bs, i, true, wait_for);
		case VDB_DELETE_IN_PROGRESS:
			return check_in_progress(bs, i, false, wait_for);
		default:
			return BUILD_NOT_ALIVE;
	}
}

/* Form the entry of row i.  Return false if the index's predicate excludes the row. */
static bool
form_entry(BuildState *bs, int i, Datum *values, bool *isnull)
{
	Assert(i >= 0 && i < bs->batch->nrows);
	MemoryContextReset(bs->econtext->ecxt_per_tuple_memory);
	vdb_batch_slot(bs->batch, i, bs->slot);
	if (bs->predicate != NULL && !ExecQual(bs->predicate, bs->econtext))
		return false;
	FormIndexDatum(bs->info, bs->slot, bs->econtext->ecxt_estate, values, isnull);
	return true;
}

/* Pass the entry of row i to the callback of the index that is being built. */
static void
index_row(BuildState *bs, int i, bool alive)
{
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];
	ItemPointerData tid;

	if (!form_entry(bs, i, values, isnull))
		return;
	tid = bs->slot->tts_tid;
	Assert(ItemPointerIsValid(&tid));
	bs->callback(bs->index, &tid, values, isnull, alive, bs->callback_state);
}

/*
 * Index one logical block.  Wait for writers in progress where uniqueness requires it, then read
 * the block again and go on after the last row done.
 */
static void
index_block(BuildState *bs)
{
	int			done = 0;			/* rows with index below this are done */
	TransactionId wait_for;

retry:
	(void) vdb_cursor_read(bs->cursor);
	for (int i = 0; i < bs->batch->nrows; i++)
	{
		BuildResult result;

		if (bs->batch->index[i] < done)
			continue;
		result = check_version(bs, i, &wait_for);
		if (result == BUILD_WAIT)
		{
			XactLockTableWait(wait_for, bs->table, NULL, XLTW_InsertIndexUnique);
			CHECK_FOR_INTERRUPTS();
			goto retry;
		}
		done = bs->batch->index[i] + 1;
		index_row(bs, i, result == BUILD_ALIVE);
	}
}

/*
 * Prepare to form entries of the rows that the scan reads.  *bs is zeroed, except for the fields
 * that the caller has set.
 */
static void
build_begin(BuildState *bs, Relation table, Relation index, IndexInfo *info, TableScanDesc scan)
{
	EState	   *estate = CreateExecutorState();

	Assert(bs->slot == NULL && scan->rs_rd == table);
	bs->table = table;
	bs->index = index;
	bs->info = info;
	bs->checking_uniqueness = info->ii_Unique || info->ii_ExclusionOps != NULL;
	bs->slot = table_slot_create(table, NULL);
	bs->econtext = GetPerTupleExprContext(estate);
	bs->econtext->ecxt_scantuple = bs->slot;
	bs->predicate = ExecPrepareQual(info->ii_Predicate, estate);
	bs->cursor = &((VdbScanDesc) scan)->cursor;
	bs->batch = vdb_cursor_batch(bs->cursor);
}

/*
 * Free what build_begin has made.  Must be called before the scan ends, because the slot points
 * into the scan's batch.
 */
static void
build_end(BuildState *bs)
{
	ExecDropSingleTupleTableSlot(bs->slot);
	FreeExecutorState(bs->econtext->ecxt_estate);
	/* these may have been pointing to the now-gone estate */
	bs->info->ii_ExpressionsState = NIL;
	bs->info->ii_PredicateState = NULL;
}

/* Pass the entries of a table's rows to the callback. */
double
vdb_index_build_range_scan(Relation table, Relation index, struct IndexInfo *info,
						   bool allow_sync, bool anyvisible, bool progress,
						   BlockNumber start_blockno, BlockNumber numblocks,
						   IndexBuildCallback callback, void *state, TableScanDesc scan)
{
	BuildState	bs = {0};
	VdbCursor  *cursor;
	bool		own_snapshot = false;

	bs.anyvisible = anyvisible;
	bs.callback = callback;
	bs.callback_state = state;

	if (scan == NULL)
	{
		if (IsBootstrapProcessingMode() || info->ii_Concurrent)
		{
			bs.snapshot = RegisterSnapshot(GetTransactionSnapshot());
			own_snapshot = true;
		}
		scan = table_beginscan_strat(table, bs.snapshot ? bs.snapshot : SnapshotAny, 0, NULL,
									 true, false);
	}
	else if (scan->rs_snapshot->snapshot_type != SNAPSHOT_ANY)
		bs.snapshot = scan->rs_snapshot;
	build_begin(&bs, table, index, info, scan);
	cursor = bs.cursor;
	if (bs.snapshot == NULL)
		vdb_cursor_take_versions(cursor, GetOldestNonRemovableTransactionId(table), false);
	if (numblocks != InvalidBlockNumber)
		vdb_cursor_bound(cursor, start_blockno, (int64) start_blockno + numblocks);
	else if (start_blockno != 0)
		vdb_cursor_bound(cursor, start_blockno, cursor->limit);
	if (progress)
		pgstat_progress_update_param(PROGRESS_SCAN_BLOCKS_TOTAL, cursor->limit);
	while (vdb_cursor_next(cursor))
	{
		index_block(&bs);
		if (progress)
			pgstat_progress_update_param(PROGRESS_SCAN_BLOCKS_DONE, cursor->lb + 1);
	}
	build_end(&bs);
	table_endscan(scan);
	if (own_snapshot)
		UnregisterSnapshot(bs.snapshot);
	return bs.reltuples;
}

/* ---- validate (CREATE INDEX CONCURRENTLY, phase 3) ---- */

/* The sorted TIDs that the index has already, as an input of the merge. */
typedef struct IndexedTids
{
	Tuplesortstate *sort;
	int64		current;			/* encoded TID; -1 before the first */
	bool		done;				/* no more TIDs */
} IndexedTids;

/* Read the next TID. */
static void
advance_indexed(IndexedTids *tids)
{
	Datum		value;
	bool		isnull;

	if (!vdb_sort_getdatum(tids->sort, &value, &isnull))
	{
		tids->done = true;
		return;
	}
	Assert(!isnull);
	tids->current = DatumGetInt64(value);
#ifndef USE_FLOAT8_BYVAL
	pfree(DatumGetPointer(value));
#endif
}

/* Return true if the index has the TID.  Calls must come in ascending order of TIDs. */
static bool
already_indexed(IndexedTids *tids, int64 encoded)
{
	while (!tids->done && tids->current < encoded)
	{
		CHECK_FOR_INTERRUPTS();
		advance_indexed(tids);
	}
	return !tids->done && tids->current == encoded;
}

/* Insert the entry of row i, which the index lacks. */
static void
insert_missing(BuildState *bs, int i)
{
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];
	ItemPointerData tid;

	if (!form_entry(bs, i, values, isnull))
		return;
	tid = bs->slot->tts_tid;
	Assert(ItemPointerIsValid(&tid));
	index_insert(bs->index, values, isnull, &tid, bs->table,
				 bs->info->ii_Unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, false, bs->info);
	bs->reltuples += 1;
}

/* Merge the visible rows with the TIDs of the index, and insert the entries that it lacks. */
void
vdb_index_validate_scan(Relation table, Relation index, struct IndexInfo *info,
						Snapshot snapshot, struct ValidateIndexState *state)
{
	BuildState	bs = {0};
	TableScanDesc scan;
	IndexedTids tids = {.sort = state->tuplesort,.current = -1};

	scan = table_beginscan_strat(table, snapshot, 0, NULL, true, false);
	build_begin(&bs, table, index, info, scan);
	pgstat_progress_update_param(PROGRESS_SCAN_BLOCKS_TOTAL, bs.cursor->limit);
	while (vdb_cursor_next(bs.cursor))
	{
		(void) vdb_cursor_read(bs.cursor);
		for (int i = 0; i < bs.batch->nrows; i++)
		{
			ItemPointerData tid;

			CHECK_FOR_INTERRUPTS();
			state->htups += 1;
			vdb_row_to_tid(vdb_row_make(bs.batch->lb, bs.batch->index[i]), &tid);
			if (already_indexed(&tids, itemptr_encode(&tid)))
				continue;
			insert_missing(&bs, i);
			state->tups_inserted += 1;
		}
		pgstat_progress_update_param(PROGRESS_SCAN_BLOCKS_DONE, bs.cursor->lb + 1);
	}
	build_end(&bs);
	table_endscan(scan);
}
