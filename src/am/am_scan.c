/*-------------------------------------------------------------------------
 *
 * am_scan.c
 *	  Sequential, TID range and parallel scans.
 *
 * A scan is a position (logical block, row in its batch) that can move both
 * ways.  Parallel scans share a counter from which each participant takes runs
 * of logical blocks; they only move forward.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relscan.h"
#include "access/skey.h"
#include "access/tableam.h"
#include "pgstat.h"
#include "storage/predicate.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "am/am.h"

/* Logical blocks a parallel worker takes at a time: about a chunk when the table is large. */
#define VDB_PARALLEL_UNIT_MAX	32

static int64
table_limit(Relation rel)
{
	VdbTableRef ref;

	return vdb_table_open(rel, false, &ref) ? (int64) vdb_map_limit(&ref) : 0;
}

static void
scan_start_over(VdbScan *scan)
{
	scan->start = 0;
	scan->limit = table_limit(scan->base.rs_rd);
	if (scan->base.rs_parallel != NULL)
	{
		VdbParallelScan *shared = (VdbParallelScan *) scan->base.rs_parallel;

		scan->limit = (int64) shared->limit;
	}
	scan->lb = -1;
	scan->row = -1;
	scan->loaded = false;
	scan->unit_end = 0;
	scan->ranged = false;
}

TableScanDesc
vdb_scan_begin(Relation rel, Snapshot snapshot, int nkeys, ScanKey key,
			   ParallelTableScanDesc pscan, uint32 flags)
{
	VdbScan    *scan = palloc0(sizeof(VdbScan));

	RelationIncrementReferenceCount(rel);
	scan->base.rs_rd = rel;
	scan->base.rs_snapshot = snapshot;
	scan->base.rs_nkeys = nkeys;
	scan->base.rs_flags = flags;
	scan->base.rs_parallel = pscan;
	scan->of_now = snapshot != NULL && vdb_snapshot_of_now(snapshot);
	if (nkeys > 0)
	{
		scan->base.rs_key = palloc(sizeof(ScanKeyData) * nkeys);
		if (key != NULL)
			memcpy(scan->base.rs_key, key, sizeof(ScanKeyData) * nkeys);
	}
	if ((flags & (SO_TYPE_SEQSCAN | SO_TYPE_SAMPLESCAN | SO_TYPE_TIDRANGESCAN)) &&
		snapshot != NULL)
		PredicateLockRelation(rel, snapshot);
	if (flags & SO_TYPE_SEQSCAN)
		pgstat_count_heap_scan(rel);
	scan_start_over(scan);
	return (TableScanDesc) scan;
}

void
vdb_scan_end(TableScanDesc sscan)
{
	VdbScan    *scan = (VdbScan *) sscan;

	if (scan->batch != NULL)
		vdb_batch_free(scan->batch);
	if (sscan->rs_flags & SO_TEMP_SNAPSHOT)
		UnregisterSnapshot(sscan->rs_snapshot);
	RelationDecrementReferenceCount(sscan->rs_rd);
	if (sscan->rs_key != NULL)
		pfree(sscan->rs_key);
	pfree(scan);
}

void
vdb_scan_rescan(TableScanDesc sscan, ScanKey key, bool set_params, bool allow_strat,
				bool allow_sync, bool allow_pagemode)
{
	if (key != NULL && sscan->rs_nkeys > 0)
		memcpy(sscan->rs_key, key, sizeof(ScanKeyData) * sscan->rs_nkeys);
	scan_start_over((VdbScan *) sscan);
	if (sscan->rs_flags & SO_TYPE_SEQSCAN)
		pgstat_count_heap_scan(sscan->rs_rd);
}

/* The next run of blocks from the shared counter. */
static int64
next_parallel_block(VdbScan *scan)
{
	VdbParallelScan *shared = (VdbParallelScan *) scan->base.rs_parallel;

	if (scan->lb + 1 < scan->unit_end)
		return ++scan->lb;
	scan->lb = (int64) pg_atomic_fetch_add_u64(&shared->next, shared->unit);
	scan->unit_end = Min(scan->lb + (int64) shared->unit, scan->limit);
	if (scan->lb >= scan->limit)
	{
		scan->lb = scan->unit_end = scan->limit;
		return -1;
	}
	return scan->lb;
}

int64
vdb_scan_next_block(VdbScan *scan)
{
	VdbTableRef ref;

	if (scan->base.rs_parallel != NULL)
		return next_parallel_block(scan);
	if (scan->lb >= scan->limit)
		return -1;
	scan->lb = Max(scan->lb + 1, scan->start);
	if (scan->lb < scan->limit && vdb_table_open(scan->base.rs_rd, false, &ref))
		scan->lb = (int64) vdb_map_next_lb(&ref, (VdbLogicalBlock) scan->lb);
	if (scan->lb >= scan->limit)
	{
		scan->lb = scan->limit;
		return -1;
	}
	return scan->lb;
}

static int64
previous_block(VdbScan *scan)
{
	Assert(scan->base.rs_parallel == NULL);
	if (scan->lb > scan->limit)
		scan->lb = scan->limit;
	if (scan->lb <= scan->start)
	{
		scan->lb = -1;
		return -1;
	}
	return --scan->lb;
}

/* The scan's batch, made when first needed, in the scan's own memory context. */
VdbBatch *
vdb_scan_batch(VdbScan *scan)
{
	if (scan->batch == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(scan));

		scan->batch = vdb_batch_create(scan->base.rs_rd);
		MemoryContextSwitchTo(old);
	}
	return scan->batch;
}

/* The rows that the snapshot sees; of a snapshot of now: all there are, for give_row to judge. */
static void
load_block(VdbScan *scan)
{
	vdb_batch_read(vdb_scan_batch(scan), (VdbLogicalBlock) scan->lb,
				   scan->of_now ? SnapshotAny : scan->base.rs_snapshot,
				   InvalidTransactionId, false);
	scan->loaded = true;
}

/*
 * A snapshot of now has come to the end of a block.  Have more rows been stored in it?  An update may
 * have put a row that we were about to see behind those we knew of.  True: there
 * are some, and scan->row is before the first.
 */
static bool
block_has_grown(VdbScan *scan)
{
	VdbBatch   *batch = scan->batch;
	int			known = batch->nrows > 0 ? batch->index[batch->nrows - 1] : VDB_LB_ROWS;

	if (batch->place != VDB_PLACE_SCM || known >= VDB_LB_ROWS - 1)
		return false;
	load_block(scan);
	scan->row = 0;
	while (scan->row < batch->nrows && batch->index[scan->row] <= known)
		scan->row++;
	return scan->row-- < batch->nrows;
}

/* Move one row; false at the end of that direction. */
static bool
scan_move(VdbScan *scan, bool forward)
{
	for (;;)
	{
		if (scan->loaded)
		{
			scan->row += forward ? 1 : -1;
			if (scan->row >= 0 && scan->row < scan->batch->nrows)
				return true;
			if (scan->of_now && forward && block_has_grown(scan))
				continue;
			scan->loaded = false;
		}
		if ((forward ? vdb_scan_next_block(scan) : previous_block(scan)) < 0)
			return false;
		load_block(scan);
		scan->row = forward ? -1 : scan->batch->nrows;
	}
}

/*
 * Put the row that the scan has moved to into the slot.  False: a snapshot of now does not see it; it is
 * judged here, so that what a dirty snapshot says of whom to wait for is about this row.
 */
static bool
give_row(VdbScan *scan, TupleTableSlot *slot)
{
	if (likely(!scan->of_now))
	{
		vdb_batch_slot(scan->batch, scan->row, slot);
		return true;
	}
	CHECK_FOR_INTERRUPTS();
	return vdb_table_fetch(scan->base.rs_rd,
						   vdb_row_make(scan->batch->lb, scan->batch->index[scan->row]),
						   scan->base.rs_snapshot, slot, NULL);
}

/* Scan keys: rare, but the contract. */
static bool
keys_match(VdbScan *scan, TupleTableSlot *slot)
{
	for (int i = 0; i < scan->base.rs_nkeys; i++)
	{
		ScanKey		key = &scan->base.rs_key[i];
		bool		isnull;
		Datum		value = slot_getattr(slot, key->sk_attno, &isnull);

		if (key->sk_flags & SK_SEARCHNULL)
		{
			if (!isnull)
				return false;
			continue;
		}
		if (key->sk_flags & SK_SEARCHNOTNULL)
		{
			if (isnull)
				return false;
			continue;
		}
		if (isnull || (key->sk_flags & SK_ISNULL) ||
			!DatumGetBool(FunctionCall2Coll(&key->sk_func, key->sk_collation, value,
											key->sk_argument)))
			return false;
	}
	return true;
}

bool
vdb_scan_getnextslot(TableScanDesc sscan, ScanDirection direction, TupleTableSlot *slot)
{
	VdbScan    *scan = (VdbScan *) sscan;
	bool		forward = ScanDirectionIsForward(direction);

	if (ScanDirectionIsNoMovement(direction))
		return !TTS_EMPTY(slot);
	while (scan_move(scan, forward))
	{
		if (!give_row(scan, slot))
			continue;
		if (scan->base.rs_nkeys > 0 && !keys_match(scan, slot))
			continue;
		pgstat_count_heap_getnext(sscan->rs_rd);
		return true;
	}
	ExecClearTuple(slot);
	return false;
}

/* ---- TID ranges ---- */

void
vdb_scan_set_tidrange(TableScanDesc sscan, ItemPointer mintid, ItemPointer maxtid)
{
	VdbScan    *scan = (VdbScan *) sscan;
	BlockNumber first = ItemPointerGetBlockNumberNoCheck(mintid);
	BlockNumber last = ItemPointerGetBlockNumberNoCheck(maxtid);
	OffsetNumber min_off = ItemPointerGetOffsetNumberNoCheck(mintid);
	OffsetNumber max_off = ItemPointerGetOffsetNumberNoCheck(maxtid);
	int64		limit = table_limit(sscan->rs_rd);

	scan_start_over(scan);
	scan->ranged = true;
	scan->range_first = first;
	scan->range_last = last;
	/* offsets are index + 1; one past the largest excludes the whole block */
	scan->first_index = min_off == 0 ? 0 : Min(min_off - 1, VDB_LB_ROWS);
	scan->last_index = Min(max_off, VDB_LB_ROWS);	/* exclusive */
	scan->start = Min((int64) first, limit);
	scan->limit = Min((int64) last + 1, limit);
	if (ItemPointerCompare(mintid, maxtid) > 0)
		scan->limit = scan->start = 0;
}

static bool
in_tidrange(const VdbScan *scan)
{
	uint16		index = scan->batch->index[scan->row];

	if (!scan->ranged)
		return true;
	if (scan->lb == (int64) scan->range_first && index < scan->first_index)
		return false;
	if (scan->lb == (int64) scan->range_last && index >= scan->last_index)
		return false;
	return true;
}

bool
vdb_scan_getnextslot_tidrange(TableScanDesc sscan, ScanDirection direction, TupleTableSlot *slot)
{
	VdbScan    *scan = (VdbScan *) sscan;

	while (scan_move(scan, ScanDirectionIsForward(direction)))
	{
		if (!in_tidrange(scan) || !give_row(scan, slot))
			continue;
		pgstat_count_heap_getnext(sscan->rs_rd);
		return true;
	}
	ExecClearTuple(slot);
	return false;
}

/* ---- parallel ---- */

Size
vdb_parallelscan_estimate(Relation rel)
{
	return sizeof(VdbParallelScan);
}

Size
vdb_parallelscan_initialize(Relation rel, ParallelTableScanDesc pscan)
{
	VdbParallelScan *shared = (VdbParallelScan *) pscan;

	vdb_parallelscan_set_relation(pscan, rel);
	shared->base.phs_syncscan = false;
	/* SSI: who inserts past the limit finds this lock; scan_begin comes later */
	if (ActiveSnapshotSet())
		PredicateLockRelation(rel, GetActiveSnapshot());
	shared->limit = (uint64) table_limit(rel);
	shared->unit = (uint32) Min(Max(shared->limit / 64, 1), VDB_PARALLEL_UNIT_MAX);
	pg_atomic_init_u64(&shared->next, 0);
	return sizeof(VdbParallelScan);
}

void
vdb_parallelscan_reinitialize(Relation rel, ParallelTableScanDesc pscan)
{
	pg_atomic_write_u64(&((VdbParallelScan *) pscan)->next, 0);
}
