/*-------------------------------------------------------------------------
 *
 * exec_column.c
 *	  The columns of a slice, and its rows in the scan's slot.
 *
 * A column is decoded when it is first needed: by the filter, which reads some
 * columns of all rows, or for the rows that have passed it (exec_slice.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/executor.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "exec/exec_private.h"

/* ---- columns ---- */

/* Decode a column for the slice's positions. */
static void
decode_column(VdbScanState *scan, VdbColumnValues *column)
{
	VdbBatch   *batch = scan->batch;
	MemoryContext old = MemoryContextSwitchTo(scan->context);

	Assert(batch->where != VDB_IN_POOL);
	Assert(scan->decoded_from < scan->decoded_to);
	Assert(!column->ready);
	vdb_stripe_decode(batch->stripe, batch->rel, column->attno, scan->decoded_from,
					  (int) (scan->decoded_to - scan->decoded_from),
					  column->values, column->nulls, &column->vbuffer);
	MemoryContextSwitchTo(old);
	column->ready = true;
}

void
vdb_slice_need(VdbScanState *scan, int column)
{
	Assert(column >= 0 && column < scan->ncolumns);
	if (!scan->columns[column].ready)
		decode_column(scan, &scan->columns[column]);
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

/* ---- rows ---- */

/* See exec_private.h.  columns is NULL for the first ncolumns columns. */
TupleTableSlot *
vdb_slice_fill(VdbScanState *scan, int i, const int *columns, int ncolumns)
{
	TupleTableSlot *slot = scan->css.ss.ss_ScanTupleSlot;
	int			at = scan->at[i];

	Assert(i >= 0 && i < VDB_LB_ROWS && at < VDB_LB_ROWS);
	ExecClearTuple(slot);
	for (int c = 0; c < ncolumns; c++)
	{
		const VdbColumnValues *column = &scan->columns[columns != NULL ? columns[c] : c];

		slot->tts_values[column->attno - 1] = column->values[at];
		slot->tts_isnull[column->attno - 1] = column->nulls[at];
	}
	ExecStoreVirtualTuple(slot);
	vdb_row_to_tid(vdb_row_make(scan->batch->lb, scan->index[i]), &slot->tts_tid);
	slot->tts_tableOid = RelationGetRelid(scan->css.ss.ss_currentRelation);
	return slot;
}

TupleTableSlot *
vdb_slice_slot(VdbScanState *scan, int i)
{
	Assert(i >= 0 && i < scan->nrows);
	return vdb_slice_fill(scan, i, NULL, scan->ncolumns);
}
