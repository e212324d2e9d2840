/*-------------------------------------------------------------------------
 *
 * exec_scan.c
 *	  Run the custom scan.
 *
 * Rows come from the same cursor that all scans use (table_scan.c).  Striped rows
 * are decoded column by column, a logical block at a time, and only the columns
 * that the plan uses.  Rows in the pool go through the same slot.  The slot is
 * virtual: columns that the plan doesn't use read as null.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relscan.h"
#include "access/sysattr.h"
#include "commands/explain.h"
#include "executor/execdebug.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "pgstat.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "exec/exec.h"
#include "exec/exec_private.h"

static void begin_scan(CustomScanState *node, EState *estate, int eflags);
static TupleTableSlot *exec_scan(CustomScanState *node);
static void end_scan(CustomScanState *node);
static void rescan(CustomScanState *node);
static Size estimate_dsm(CustomScanState *node, ParallelContext *pcxt);
static void initialize_dsm(CustomScanState *node, ParallelContext *pcxt, void *coordinate);
static void reinitialize_dsm(CustomScanState *node, ParallelContext *pcxt, void *coordinate);
static void initialize_worker(CustomScanState *node, shm_toc *toc, void *coordinate);
static void shutdown_scan(CustomScanState *node);
static void explain_scan(CustomScanState *node, List *ancestors, ExplainState *es);

static const CustomExecMethods vdb_exec_methods = {
	.CustomName = VDB_SCAN_NAME,
	.BeginCustomScan = begin_scan,
	.ExecCustomScan = exec_scan,
	.EndCustomScan = end_scan,
	.ReScanCustomScan = rescan,
	.EstimateDSMCustomScan = estimate_dsm,
	.InitializeDSMCustomScan = initialize_dsm,
	.ReInitializeDSMCustomScan = reinitialize_dsm,
	.InitializeWorkerCustomScan = initialize_worker,
	.ShutdownCustomScan = shutdown_scan,
	.ExplainCustomScan = explain_scan
};

Node *
vdb_create_scan_state(CustomScan *cscan)
{
	VdbScanState *state = (VdbScanState *) newNode(sizeof(VdbScanState), T_CustomScanState);

	state->css.methods = &vdb_exec_methods;
	return (Node *) state;
}

VdbScanState *
vdb_scan_state(PlanState *node)
{
	if (!IsA(node, CustomScanState) || ((CustomScanState *) node)->methods != &vdb_exec_methods)
		elog(ERROR, "expected a %s node", VDB_SCAN_NAME);
	return (VdbScanState *) node;
}

/* ---- begin and end ---- */

/* Add a column to those that the scan reads. */
static void
add_scan_column(VdbScanState *state, int attno)
{
	VdbColumnValues *column = &state->columns[state->ncolumns++];

	Assert(attno > 0 && attno > state->max_attno);
	column->attno = attno;
	column->values = palloc(sizeof(Datum) * VDB_LB_ROWS);
	column->nulls = palloc(sizeof(bool) * VDB_LB_ROWS);
	state->max_attno = Max(state->max_attno, attno);
}

/* Choose the columns to decode: those named, or all if a whole-row reference is among them. */
static void
choose_columns(VdbScanState *state, List *named)
{
	TupleDesc	desc = RelationGetDescr(state->css.ss.ss_currentRelation);
	bool		all = list_member_int(named, InvalidAttrNumber);

	state->columns = palloc0(sizeof(VdbColumnValues) * Max(desc->natts, 1));
	for (int i = 0; i < desc->natts; i++)
	{
		if (!TupleDescAttr(desc, i)->attisdropped && (all || list_member_int(named, i + 1)))
			add_scan_column(state, i + 1);
	}
}

/*
 * Compile the node's expressions anew for slots of any kind.  EvalPlanQual passes
 * its own row in a slot of the table's kind, while they were compiled for a
 * virtual slot.  Parent nodes are initialized later, and will see that the slot's
 * kind is not fixed.
 */
static void
accept_any_slot(CustomScanState *node)
{
	PlanState  *ps = &node->ss.ps;
	Scan	   *plan = (Scan *) ps->plan;

	ps->scanopsfixed = false;
	ps->subPlan = NIL;			/* ExecInitQual lists them again */
	ExecAssignScanProjectionInfoWithVarno(&node->ss, plan->scanrelid);
	ps->qual = ExecInitQual(plan->plan.qual, ps);
}

/*
 * Prepare for the cursor's reading a block: let go of what points into the batch, and let the
 * pruner use the constants that were reached.
 */
static void
before_read(void *arg)
{
	VdbScanState *state = (VdbScanState *) arg;

	ExecClearTuple(state->heap_slot);
	state->decoded = false;
	if (state->pruner != NULL &&
		vdb_pruner_refresh(state->pruner, state->css.ss.ps.ps_ExprContext))
		vdb_batch_ask_again(state->batch);
}

/*
 * Let the cursor prefetch the columns of the filter, which are read of every row.  Without a filter
 * that is true of all columns.
 */
static void
begin_prefetch(VdbScanState *state)
{
	Scan	   *plan = (Scan *) state->css.ss.ps.plan;
	int		   *columns = palloc(sizeof(int) * Max(state->ncolumns, 1));
	int			ncolumns = 0;
	Bitmapset  *filtered = NULL;

	pull_varattnos((Node *) plan->plan.qual, plan->scanrelid, &filtered);
	for (int c = 0; c < state->ncolumns; c++)
	{
		int			attno = state->columns[c].attno;

		if (plan->plan.qual == NIL ||
			bms_is_member(attno - FirstLowInvalidHeapAttributeNumber, filtered))
			columns[ncolumns++] = attno;
	}
	vdb_cursor_prefetch(&state->cursor, columns, ncolumns);
	bms_free(filtered);
	pfree(columns);
}

/* Make the cursor over the rows that the statement's snapshot sees. */
static void
begin_cursor(VdbScanState *state)
{
	EState	   *estate = state->css.ss.ps.state;

	vdb_cursor_init(&state->cursor, state->css.ss.ss_currentRelation, estate->es_snapshot);
	Assert(!state->cursor.of_now);
	state->cursor.before_read = before_read;
	state->cursor.before_arg = state;
	state->batch = vdb_cursor_batch(&state->cursor);
	begin_prefetch(state);
}

/* Initialize the scan (BeginCustomScan). */
static void
begin_scan(CustomScanState *node, EState *estate, int eflags)
{
	VdbScanState *state = (VdbScanState *) node;
	CustomScan *plan = (CustomScan *) node->ss.ps.plan;
	Relation	rel = node->ss.ss_currentRelation;
	List	   *places = (List *) lsecond(plan->custom_private);

	state->context = CurrentMemoryContext;
	if (estate->es_epq_active != NULL)
		accept_any_slot(node);
	choose_columns(state, (List *) linitial(plan->custom_private));
	if (places != NIL)
		state->pruner = vdb_pruner_create(plan->scan.plan.qual, places, rel, plan->scan.scanrelid,
										  &node->ss.ps);
	state->heap_slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &vdb_slot_ops);
	begin_cursor(state);
	/* backward steps, and EvalPlanQual's rows, go row by row */
	if (estate->es_epq_active == NULL && !(eflags & EXEC_FLAG_BACKWARD))
		vdb_scan_by_slices(state);
	/* columns that are not decoded stay so */
	memset(node->ss.ss_ScanTupleSlot->tts_isnull, true,
		   sizeof(bool) * node->ss.ss_ScanTupleSlot->tts_tupleDescriptor->natts);
}

void
vdb_scan_by_slices(VdbScanState *state)
{
	if (state->sliced)
		return;
	Assert(!state->started);
	state->sliced = true;
	state->filter = vdb_filter_create(state);
}

/* Free the vectors that were kept between logical blocks. */
static void
free_vector_buffers(VdbScanState *state)
{
	for (int c = 0; c < state->ncolumns; c++)
		vdb_vector_buffer_free(&state->columns[c].vbuffer);
	state->decoded = false;
}

/* End the scan (EndCustomScan). */
static void
end_scan(CustomScanState *node)
{
	VdbScanState *state = (VdbScanState *) node;

	ExecClearTuple(node->ss.ss_ScanTupleSlot);
	free_vector_buffers(state);
	ExecDropSingleTupleTableSlot(state->heap_slot);
	vdb_cursor_end(&state->cursor);
}

/* See exec_private.h. */
void
vdb_scan_start(VdbScanState *state)
{
	CustomScanState *node = &state->css;
	MemoryContext old = MemoryContextSwitchTo(state->context);

	pgstat_count_heap_scan(node->ss.ss_currentRelation);
	vdb_cursor_start(&state->cursor, state->shared != NULL ? &state->shared->cursor : NULL);
	if (state->pruner != NULL)
	{
		int			ncolumns;
		const int  *columns = vdb_pruner_columns(state->pruner, &ncolumns);

		vdb_pruner_prepare(state->pruner, node->ss.ps.ps_ExprContext);
		vdb_batch_set_prune(state->batch, vdb_pruner_match, state->pruner, columns, ncolumns);
	}
	state->checked = VDB_NO_ROW_YET;
	state->decoded = false;
	state->nrows = state->current = 0;
	vdb_filter_rescan(state->filter);
	state->started = true;
	MemoryContextSwitchTo(old);
}

/* Prepare for a rescan (ReScanCustomScan); vdb_scan_start does the rest at the first row. */
static void
rescan(CustomScanState *node)
{
	VdbScanState *state = (VdbScanState *) node;

	ExecClearTuple(node->ss.ss_ScanTupleSlot);
	state->started = false;
	state->nrows = state->current = 0;	/* of the slice that was being read */
	ExecScanReScan(&node->ss);
}

/* ---- values ---- */

/*
 * Decode the columns for those positions of the batch that lie in the same vector
 * as pos, before it as well as after it.
 */
static void
decode_around(VdbScanState *state, uint32 pos)
{
	VdbBatch   *batch = state->batch;
	uint32		first = batch->pos[0];
	uint32		last = batch->pos[batch->nrows - 1];
	uint32		end;

	/* vectors within a block's positions: step over those that end before pos */
	while ((end = vdb_stripe_vector_end(batch->stripe, first)) <= pos)
		first = end;
	end = Min(end, last + 1);
	Assert(end - first <= VDB_LB_ROWS && first <= pos && pos < end);
	for (int c = 0; c < state->ncolumns; c++)
	{
		VdbColumnValues *column = &state->columns[c];

		vdb_stripe_decode(batch->stripe, batch->rel, column->attno, first, (int) (end - first),
						  column->values, column->nulls, &column->vbuffer);
	}
	state->decoded_from = first;
	state->decoded_to = end;
	state->decoded = true;
}

/* Put the current row, which is striped, into the slot. */
static void
fill_from_stripe(VdbScanState *state, TupleTableSlot *slot)
{
	uint32		pos = state->batch->pos[state->cursor.row];
	uint32		at;

	if (!state->decoded || pos < state->decoded_from || pos >= state->decoded_to)
	{
		MemoryContext old = MemoryContextSwitchTo(state->context);

		decode_around(state, pos);
		MemoryContextSwitchTo(old);
	}
	at = pos - state->decoded_from;
	Assert(at < VDB_LB_ROWS);
	for (int c = 0; c < state->ncolumns; c++)
	{
		VdbColumnValues *column = &state->columns[c];

		slot->tts_values[column->attno - 1] = column->values[at];
		slot->tts_isnull[column->attno - 1] = column->nulls[at];
	}
}

/* Put the current row, which is in the pool, into the slot. */
static void
fill_from_pool(VdbScanState *state, TupleTableSlot *slot)
{
	TupleTableSlot *heap = state->heap_slot;

	(void) vdb_cursor_slot(&state->cursor, heap);
	if (state->max_attno > 0)
		slot_getsomeattrs(heap, state->max_attno);
	for (int c = 0; c < state->ncolumns; c++)
	{
		int			i = state->columns[c].attno - 1;

		slot->tts_values[i] = heap->tts_values[i];
		slot->tts_isnull[i] = heap->tts_isnull[i];
	}
}

/*
 * Note that core has applied the filter to a row.  It does so row by row; when it asks for another
 * row it has evaluated at least the first clause for the one before.
 */
static void
note_checked(VdbScanState *state)
{
	if (state->pruner != NULL)
		(void) vdb_pruner_reached(state->pruner, 0, VDB_OUTCOME_UNKNOWN);
	state->checked = VDB_ROW_CHECKED;
}

/* Return the next row of a row-by-row scan, in the direction of the scan; for core's ExecScan. */
static TupleTableSlot *
next_row(ScanState *node)
{
	VdbScanState *state = (VdbScanState *) node;
	TupleTableSlot *slot = node->ss_ScanTupleSlot;
	bool		forward = !ScanDirectionIsBackward(node->ps.state->es_direction);

	if (!state->started)
		vdb_scan_start(state);
	if (unlikely(state->checked == VDB_ROW_GIVEN))
		note_checked(state);
	ExecClearTuple(slot);
	if (!vdb_cursor_move(&state->cursor, forward))
		return slot;
	if (state->batch->where == VDB_IN_POOL)
		fill_from_pool(state, slot);
	else
		fill_from_stripe(state, slot);
	ExecStoreVirtualTuple(slot);
	vdb_row_to_tid(vdb_row_make(state->batch->lb, state->batch->index[state->cursor.row]),
				   &slot->tts_tid);
	slot->tts_tableOid = RelationGetRelid(node->ss_currentRelation);
	if (state->checked == VDB_NO_ROW_YET)
		state->checked = VDB_ROW_GIVEN;
	pgstat_count_heap_getnext(node->ss_currentRelation);
	return slot;
}

/* Recheck EvalPlanQual's row: the plan's filter is complete, so there is nothing else to check. */
static bool
recheck_row(ScanState *node, TupleTableSlot *slot)
{
	return true;
}

/* Return the next row from slices, which has passed the filter, projected. */
static TupleTableSlot *
next_projected(VdbScanState *state)
{
	PlanState  *ps = &state->css.ss.ps;
	ExprContext *econtext = ps->ps_ExprContext;
	TupleTableSlot *slot;

	if (!state->started)
		vdb_scan_start(state);
	slot = vdb_slice_next_row(state);
	if (slot == NULL)
		return ExecClearTuple(ps->ps_ProjInfo != NULL ? ps->ps_ResultTupleSlot :
							  state->css.ss.ss_ScanTupleSlot);
	if (ps->ps_ProjInfo == NULL)
		return slot;
	ResetExprContext(econtext);
	econtext->ecxt_scantuple = slot;
	return ExecProject(ps->ps_ProjInfo);
}

/* Return the next row (ExecCustomScan). */
static TupleTableSlot *
exec_scan(CustomScanState *node)
{
	VdbScanState *state = (VdbScanState *) node;

	if (state->sliced)
		return next_projected(state);
	return ExecScan(&node->ss, next_row, recheck_row);
}

/* ---- parallel ---- */

/* Return the size of the shared state (EstimateDSMCustomScan). */
static Size
estimate_dsm(CustomScanState *node, ParallelContext *pcxt)
{
	return sizeof(VdbSharedScan);
}

/* Initialize the shared state, in the leader (InitializeDSMCustomScan). */
static void
initialize_dsm(CustomScanState *node, ParallelContext *pcxt, void *coordinate)
{
	VdbScanState *state = (VdbScanState *) node;
	VdbSharedScan *shared = (VdbSharedScan *) coordinate;

	Assert(!IsParallelWorker());
	memset(shared, 0, sizeof(VdbSharedScan));
	vdb_cursor_share(&shared->cursor, node->ss.ss_currentRelation, node->ss.ps.state->es_snapshot);
	pg_atomic_init_u64(&shared->stripes, 0);
	pg_atomic_init_u64(&shared->chunks, 0);
	pg_atomic_init_u64(&shared->pruned, 0);
	pg_atomic_init_u64(&shared->pool_rows, 0);
	pg_atomic_init_u64(&shared->striped_rows, 0);
	state->shared = shared;
}

/* Reset the shared state for a rescan, in the leader (ReInitializeDSMCustomScan). */
static void
reinitialize_dsm(CustomScanState *node, ParallelContext *pcxt, void *coordinate)
{
	VdbSharedScan *shared = (VdbSharedScan *) coordinate;

	((VdbScanState *) node)->shared = shared;
	vdb_cursor_share_again(&shared->cursor);
}

/* Attach to the shared state, in a worker (InitializeWorkerCustomScan). */
static void
initialize_worker(CustomScanState *node, shm_toc *toc, void *coordinate)
{
	((VdbScanState *) node)->shared = (VdbSharedScan *) coordinate;
}

/*
 * Add this process's counters to the shared ones (ShutdownCustomScan).  The leader keeps a copy for
 * EXPLAIN.
 */
static void
shutdown_scan(CustomScanState *node)
{
	VdbScanState *state = (VdbScanState *) node;
	VdbSharedScan *shared = state->shared;
	VdbBatch   *batch = state->batch;

	if (shared == NULL || batch == NULL)
		return;
	pg_atomic_fetch_add_u64(&shared->stripes, batch->stripes_seen);
	pg_atomic_fetch_add_u64(&shared->chunks, batch->chunks_seen);
	pg_atomic_fetch_add_u64(&shared->pruned, batch->chunks_pruned);
	pg_atomic_fetch_add_u64(&shared->pool_rows, batch->pool_rows);
	pg_atomic_fetch_add_u64(&shared->striped_rows, batch->striped_rows);
	batch->stripes_seen = batch->chunks_seen = batch->chunks_pruned = 0;
	batch->pool_rows = batch->striped_rows = 0;
	if (!IsParallelWorker())
	{
		state->stripes = pg_atomic_read_u64(&shared->stripes);
		state->chunks = pg_atomic_read_u64(&shared->chunks);
		state->pruned = pg_atomic_read_u64(&shared->pruned);
		state->pool_rows = pg_atomic_read_u64(&shared->pool_rows);
		state->striped_rows = pg_atomic_read_u64(&shared->striped_rows);
		state->have_counters = true;
	}
	/* the memory is freed with the workers, and we may be called again */
	state->shared = NULL;
}

/* ---- EXPLAIN ---- */

/* Show the columns that the scan reads. */
static void
explain_columns(VdbScanState *state, ExplainState *es)
{
	TupleDesc	desc = RelationGetDescr(state->css.ss.ss_currentRelation);
	List	   *names = NIL;

	for (int c = 0; c < state->ncolumns; c++)
		names = lappend(names,
						pstrdup(NameStr(TupleDescAttr(desc,
													  state->columns[c].attno - 1)->attname)));
	ExplainPropertyList("Columns", names, es);
}

/* Show the scan's properties and counters (ExplainCustomScan). */
static void
explain_scan(CustomScanState *node, List *ancestors, ExplainState *es)
{
	VdbScanState *state = (VdbScanState *) node;
	VdbBatch   *batch = state->batch;
	bool		shared = state->have_counters;
	uint64		chunks;
	uint64		pruned;

	if (es->verbose)
	{
		explain_columns(state, es);
		if (node->ss.ps.plan->qual != NIL)
			ExplainPropertyInteger("Vectorized Filters", NULL,
								   vdb_filter_vectorized(state->filter), es);
	}
	if (!es->analyze)
		return;
	chunks = shared ? state->chunks : batch->chunks_seen;
	pruned = shared ? state->pruned : batch->chunks_pruned;
	ExplainPropertyInteger("Stripes", NULL,
						   (int64) (shared ? state->stripes : batch->stripes_seen), es);
	ExplainPropertyInteger("Chunks Read", NULL, (int64) (chunks - pruned), es);
	ExplainPropertyInteger("Chunks Pruned", NULL, (int64) pruned, es);
	ExplainPropertyInteger("Rows from Pool", NULL,
						   (int64) (shared ? state->pool_rows : batch->pool_rows), es);
	ExplainPropertyInteger("Rows from Stripes", NULL,
						   (int64) (shared ? state->striped_rows : batch->striped_rows), es);
}
