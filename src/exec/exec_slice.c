/*-------------------------------------------------------------------------
 *
 * exec_slice.c
 *	  Rows in slices: columns in arrays, for whoever works on many rows at a time.
 *
 * The columns that the filter reads are decoded first.  The others only if a
 * row passes, so a vector (2048 values) of which no row passes is never
 * decoded.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relscan.h"
#include "executor/executor.h"
#include "pgstat.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "exec/exec_private.h"

/* Decode columns [from, to) of the slice's rows. */
static void
decode_columns(VdbScanState *scan, int from, int to)
{
	VdbBatch   *batch = scan->batch;
	MemoryContext old = MemoryContextSwitchTo(scan->context);

	for (int c = from; c < to; c++)
	{
		VdbColumnValues *column = &scan->columns[c];

		vdb_stripe_decode(batch->stripe, batch->rel, column->attno, scan->decoded_from,
						  (int) (scan->decoded_to - scan->decoded_from),
						  column->values, column->nulls, &column->hold);
	}
	MemoryContextSwitchTo(old);
}

/* Take the rows up to the end of the vector. */
static void
take_striped(VdbScanState *scan)
{
	VdbBatch   *batch = scan->batch;
	uint32		first = batch->pos[scan->row];
	uint32		end = Min(vdb_stripe_vector_end(batch->stripe, first),
						  batch->pos[batch->nrows - 1] + 1);
	int			n = 0;

	Assert(end - first <= VDB_LB_ROWS);
	for (; scan->row < batch->nrows && batch->pos[scan->row] < end; scan->row++, n++)
	{
		scan->at[n] = (uint16) (batch->pos[scan->row] - first);
		scan->index[n] = batch->index[scan->row];
	}
	scan->nrows = n;
	scan->decoded_from = first;
	scan->decoded_to = end;
	decode_columns(scan, 0, scan->nfiltered);
}

/*
 * Take rows of a segment.  Values by reference point into the batch; those of a
 * wide row lie in the slot, so a wide row is the last of its slice.
 */
static void
take_scm(VdbScanState *scan)
{
	VdbBatch   *batch = scan->batch;
	TupleTableSlot *heap = scan->heap_slot;
	bool		wide = false;
	int			n = 0;

	for (; scan->row < batch->nrows && !wide; scan->row++, n++)
	{
		wide = batch->versions[scan->row].wide;
		vdb_batch_slot(batch, scan->row, heap);
		if (scan->max_attno > 0)
			slot_getsomeattrs(heap, scan->max_attno);
		for (int c = 0; c < scan->ncolumns; c++)
		{
			VdbColumnValues *column = &scan->columns[c];

			column->values[n] = heap->tts_values[column->attno - 1];
			column->nulls[n] = heap->tts_isnull[column->attno - 1];
		}
		scan->at[n] = (uint16) n;
		scan->index[n] = batch->index[scan->row];
	}
	scan->nrows = n;
}

static TupleTableSlot *
fill_slot(VdbScanState *scan, int i, int ncolumns)
{
	TupleTableSlot *slot = scan->css.ss.ss_ScanTupleSlot;
	int			at = scan->at[i];

	ExecClearTuple(slot);
	for (int c = 0; c < ncolumns; c++)
	{
		VdbColumnValues *column = &scan->columns[c];

		slot->tts_values[column->attno - 1] = column->values[at];
		slot->tts_isnull[column->attno - 1] = column->nulls[at];
	}
	ExecStoreVirtualTuple(slot);
	vdb_row_to_tid(vdb_row_make(scan->batch->lb, scan->index[i]), &slot->tts_tid);
	slot->tts_tableOid = RelationGetRelid(scan->css.ss.ss_currentRelation);
	return slot;
}

/* Keep the rows that pass the filter. */
static void
filter(VdbScanState *scan)
{
	PlanState  *ps = &scan->css.ss.ps;
	ExprContext *econtext = ps->ps_ExprContext;
	int			kept = 0;

	if (ps->qual == NULL)
		return;
	for (int i = 0; i < scan->nrows; i++)
	{
		ResetExprContext(econtext);
		econtext->ecxt_scantuple = fill_slot(scan, i, scan->nfiltered);
		if (!ExecQual(ps->qual, econtext))
		{
			InstrCountFiltered1(ps, 1);
			continue;
		}
		scan->at[kept] = scan->at[i];
		scan->index[kept] = scan->index[i];
		kept++;
	}
	scan->nrows = kept;
}

int
vdb_scan_next_slice(VdbScanState *scan)
{
	if (!scan->started)
		vdb_scan_start(scan);
	for (;;)
	{
		bool		striped;

		if ((!scan->loaded || scan->row >= scan->batch->nrows) && !vdb_slice_next_block(scan))
			return 0;
		striped = scan->batch->place != VDB_PLACE_SCM;
		if (striped)
			take_striped(scan);
		else
			take_scm(scan);
		/* rows returned, as a row-by-row scan counts them */
		pgstat_count_index_tuples(scan->css.ss.ss_currentRelation, scan->nrows);
		filter(scan);
		if (scan->nrows == 0)
			continue;
		if (striped)
			decode_columns(scan, scan->nfiltered, scan->ncolumns);
		return scan->nrows;
	}
}

TupleTableSlot *
vdb_slice_slot(VdbScanState *scan, int i)
{
	Assert(i >= 0 && i < scan->nrows);
	return fill_slot(scan, i, scan->ncolumns);
}

VdbColumnValues *
vdb_slice_column(VdbScanState *scan, int attno)
{
	for (int c = 0; c < scan->ncolumns; c++)
	{
		if (scan->columns[c].attno == attno)
			return &scan->columns[c];
	}
	return NULL;
}
