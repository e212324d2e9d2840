/*-------------------------------------------------------------------------
 *
 * am_scan.c
 *	  Sequential, TID range and parallel scans: the callbacks around a cursor (table_scan.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relscan.h"
#include "access/skey.h"
#include "access/tableam.h"
#include "pgstat.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "am/am.h"

/*
 * Types of scans that read all rows.  For SERIALIZABLE they lock the relation.  Other scans lock
 * rows before they read them.
 */
#define VDB_SCANS_OF_ALL	(SO_TYPE_SEQSCAN | SO_TYPE_SAMPLESCAN | SO_TYPE_TIDRANGESCAN)

/*
 * Position the scan before the first row of the table as it is now.  The limit of a parallel scan
 * is that of its leader.
 */
static void
start_over(VdbScanDesc scan)
{
	VdbParallelScan *shared = (VdbParallelScan *) scan->base.rs_parallel;

	vdb_cursor_start(&scan->cursor, shared != NULL ? &shared->cursor : NULL);
	scan->ranged = false;
}

/* Begin a scan.  See am.h. */
TableScanDesc
vdb_beginscan(Relation rel, Snapshot snapshot, int nkeys, ScanKey key,
			  ParallelTableScanDesc pscan, uint32 flags)
{
	VdbScanDesc scan = palloc0(sizeof(VdbScanDescData));

	RelationIncrementReferenceCount(rel);
	scan->base.rs_rd = rel;
	scan->base.rs_snapshot = snapshot;
	scan->base.rs_nkeys = nkeys;
	scan->base.rs_flags = flags;
	scan->base.rs_parallel = pscan;
	if (nkeys > 0)
	{
		scan->base.rs_key = palloc(sizeof(ScanKeyData) * nkeys);
		if (key != NULL)
			memcpy(scan->base.rs_key, key, sizeof(ScanKeyData) * nkeys);
	}
	vdb_cursor_init(&scan->cursor, rel, snapshot);
	scan->cursor.caller_locks = (flags & VDB_SCANS_OF_ALL) == 0;
	if (flags & SO_TYPE_SEQSCAN)
		pgstat_count_heap_scan(rel);
	start_over(scan);
	return (TableScanDesc) scan;
}

/* End a scan. */
void
vdb_endscan(TableScanDesc sscan)
{
	VdbScanDesc scan = (VdbScanDesc) sscan;

	vdb_cursor_end(&scan->cursor);
	if (sscan->rs_flags & SO_TEMP_SNAPSHOT)
		UnregisterSnapshot(sscan->rs_snapshot);
	RelationDecrementReferenceCount(sscan->rs_rd);
	if (sscan->rs_key != NULL)
		pfree(sscan->rs_key);
	pfree(scan);
}

/* Restart a scan. */
void
vdb_rescan(TableScanDesc sscan, ScanKey key, bool set_params, bool allow_strat,
		   bool allow_sync, bool allow_pagemode)
{
	if (key != NULL && sscan->rs_nkeys > 0)
		memcpy(sscan->rs_key, key, sizeof(ScanKeyData) * sscan->rs_nkeys);
	start_over((VdbScanDesc) sscan);
	if (sscan->rs_flags & SO_TYPE_SEQSCAN)
		pgstat_count_heap_scan(sscan->rs_rd);
}

/*
 * Check the row in the slot against the scan keys.  The executor passes none, but the callback's
 * contract includes them.
 */
static bool
keys_match(VdbScanDesc scan, TupleTableSlot *slot)
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

/* Store the next row that matches the scan keys in the slot. */
bool
vdb_getnextslot(TableScanDesc sscan, ScanDirection direction, TupleTableSlot *slot)
{
	VdbScanDesc scan = (VdbScanDesc) sscan;
	bool		forward = ScanDirectionIsForward(direction);

	if (ScanDirectionIsNoMovement(direction))
		return !TTS_EMPTY(slot);
	while (vdb_cursor_move(&scan->cursor, forward))
	{
		if (!vdb_cursor_slot(&scan->cursor, slot))
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

/* Restart a scan with the bounds of a TID range. */
void
vdb_set_tidrange(TableScanDesc sscan, ItemPointer mintid, ItemPointer maxtid)
{
	VdbScanDesc scan = (VdbScanDesc) sscan;
	BlockNumber first = ItemPointerGetBlockNumberNoCheck(mintid);
	BlockNumber last = ItemPointerGetBlockNumberNoCheck(maxtid);
	OffsetNumber min_off = ItemPointerGetOffsetNumberNoCheck(mintid);
	OffsetNumber max_off = ItemPointerGetOffsetNumberNoCheck(maxtid);

	start_over(scan);
	scan->ranged = true;
	scan->range_first = first;
	scan->range_last = last;
	/* offsets are index + 1; one past the largest excludes the whole block */
	scan->first_index = min_off == 0 ? 0 : Min(min_off - 1, VDB_LB_ROWS);
	scan->end_index = Min(max_off, VDB_LB_ROWS);
	if (ItemPointerCompare(mintid, maxtid) > 0)
		vdb_cursor_bound(&scan->cursor, 0, 0);
	else
		vdb_cursor_bound(&scan->cursor, (int64) first, (int64) last + 1);
}

/* Return true if the current row is within the bounds of the TID range, or if there is none. */
static bool
in_tidrange(const VdbScanDescData *scan)
{
	const VdbBatch *batch = scan->cursor.batch;
	uint16		index = batch->index[scan->cursor.row];

	if (!scan->ranged)
		return true;
	if (batch->lb == scan->range_first && index < scan->first_index)
		return false;
	if (batch->lb == scan->range_last && index >= scan->end_index)
		return false;
	return true;
}

/* Store the next row of the TID range in the slot. */
bool
vdb_getnextslot_tidrange(TableScanDesc sscan, ScanDirection direction, TupleTableSlot *slot)
{
	VdbScanDesc scan = (VdbScanDesc) sscan;

	while (vdb_cursor_move(&scan->cursor, ScanDirectionIsForward(direction)))
	{
		if (!in_tidrange(scan) || !vdb_cursor_slot(&scan->cursor, slot))
			continue;
		pgstat_count_heap_getnext(sscan->rs_rd);
		return true;
	}
	ExecClearTuple(slot);
	return false;
}

/* ---- parallel ---- */

/* Return the size of the shared part of a parallel scan. */
Size
vdb_parallelscan_estimate(Relation rel)
{
	return sizeof(VdbParallelScan);
}

/* Set up the shared part of a parallel scan. */
Size
vdb_parallelscan_initialize(Relation rel, ParallelTableScanDesc pscan)
{
	VdbParallelScan *shared = (VdbParallelScan *) pscan;

	vdb_parallelscan_set_relation(pscan, rel);
	shared->base.phs_syncscan = false;
	vdb_cursor_share(&shared->cursor, rel, ActiveSnapshotSet() ? GetActiveSnapshot() : NULL);
	return sizeof(VdbParallelScan);
}

/* Reset the shared part of a parallel scan. */
void
vdb_parallelscan_reinitialize(Relation rel, ParallelTableScanDesc pscan)
{
	vdb_cursor_share_again(&((VdbParallelScan *) pscan)->cursor);
}
