/*-------------------------------------------------------------------------
 *
 * exec_slice.c
 *	  Read rows in slices: columns in arrays, to work on many rows at a time.
 *
 * A column is decoded when it is first needed.  Columns that the filter reads are
 * decoded when it reads them, the others only if a row passes.  So the vectors
 * (2048 values) of other columns are not decoded if none of their rows passes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relscan.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "exec/exec_private.h"

/* ---- columns ---- */

/* Decode all columns that aren't decoded yet. */
static void
need_all(VdbScanState *scan)
{
	for (int c = 0; c < scan->ncolumns; c++)
		vdb_slice_need(scan, c);
}

/* Mark all columns as decoded or not. */
static void
set_ready(VdbScanState *scan, bool ready)
{
	for (int c = 0; c < scan->ncolumns; c++)
		scan->columns[c].ready = ready;
}

/* ---- rows ---- */

/* Take striped rows, up to the end of the vector or of the batch. */
static void
take_striped(VdbScanState *scan)
{
	const uint32 *pos = scan->batch->pos + scan->cursor.row;
	VdbCursorRun run;

	vdb_cursor_run(&scan->cursor, &run);
	Assert(run.nrows > 0 && run.nrows <= run.end - run.first);
	for (int i = 0; i < run.nrows; i++)
		scan->at[i] = (uint16) (pos[i] - run.first);
	memcpy(scan->index, scan->batch->index + scan->cursor.row, run.nrows);
	scan->cursor.row += run.nrows;
	scan->nrows = run.nrows;
	scan->decoded_from = run.first;
	scan->decoded_to = run.end;
	set_ready(scan, false);
}

/*
 * Take rows of a segment.  By-reference values point into the batch.  Those of a
 * wide row point into the slot, so a wide row is the last of its slice.
 */
static void
take_pooled(VdbScanState *scan)
{
	VdbBatch   *batch = scan->batch;
	TupleTableSlot *heap = scan->heap_slot;
	bool		wide = false;
	int			n = 0;

	for (; scan->cursor.row < batch->nrows && !wide; scan->cursor.row++, n++)
	{
		wide = batch->versions[scan->cursor.row].wide;
		(void) vdb_cursor_slot(&scan->cursor, heap);
		if (scan->max_attno > 0)
			slot_getsomeattrs(heap, scan->max_attno);
		for (int c = 0; c < scan->ncolumns; c++)
		{
			VdbColumnValues *column = &scan->columns[c];

			column->values[n] = heap->tts_values[column->attno - 1];
			column->nulls[n] = heap->tts_isnull[column->attno - 1];
		}
		scan->at[n] = (uint16) n;
		scan->index[n] = batch->index[scan->cursor.row];
	}
	scan->nrows = n;
	set_ready(scan, true);
}

/* ---- slices ---- */

/* Read slices until one has rows that pass the clauses that are loops.  False at the end. */
static bool
load_slice(VdbScanState *scan)
{
	Assert(scan->sliced && scan->started);
	do
	{
		int			n;

		if ((!scan->cursor.loaded || scan->cursor.row >= scan->batch->nrows) &&
			!vdb_cursor_next_rows(&scan->cursor))
		{
			scan->nrows = 0;
			return false;
		}
		if (scan->batch->where == VDB_IN_POOL)
			take_pooled(scan);
		else
			take_striped(scan);
		/* rows returned, as a row-by-row scan counts them */
		pgstat_count_index_tuples(scan->css.ss.ss_currentRelation, scan->nrows);
		n = scan->nrows;
		if (scan->filter != NULL)
			vdb_filter_slice(scan->filter);
		InstrCountFiltered1(&scan->css, n - scan->nrows);
	} while (scan->nrows == 0);
	return true;
}

int
vdb_slice_next(VdbScanState *scan)
{
	while (load_slice(scan))
	{
		int			kept = 0;

		for (int i = 0; i < scan->nrows; i++)
		{
			if (scan->filter != NULL && !vdb_filter_row(scan->filter, i))
				continue;
			scan->at[kept] = scan->at[i];
			scan->index[kept++] = scan->index[i];
		}
		InstrCountFiltered1(&scan->css, scan->nrows - kept);
		scan->nrows = kept;
		if (kept == 0)
			continue;
		need_all(scan);
		return kept;
	}
	return 0;
}

TupleTableSlot *
vdb_slice_next_row(VdbScanState *scan)
{
	for (;;)
	{
		int			i = scan->current++;

		CHECK_FOR_INTERRUPTS();
		if (i >= scan->nrows)
		{
			scan->current = 0;
			if (!load_slice(scan))
				return NULL;
			continue;
		}
		if (scan->filter == NULL || vdb_filter_row(scan->filter, i))
		{
			need_all(scan);
			return vdb_slice_slot(scan, i);
		}
		InstrCountFiltered1(&scan->css, 1);
	}
}
