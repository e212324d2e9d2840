/*-------------------------------------------------------------------------
 *
 * exec_agg.c
 *	  Run aggregation over slices.
 *
 * The scan below returns a slice of rows that have passed its filter.  Expressions
 * other than plain columns are evaluated row by row, each into an array of its
 * own.  Then each row's group is found, and each aggregate adds the whole slice.
 *
 * Results are partial (exec_agg_plan.c).  When the groups take more memory than
 * hash_mem allows, they are handed up and forgotten.  Aggregation then goes on with
 * the next row, which may be in the middle of a slice.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/explain.h"
#include "executor/nodeHash.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "base/vdb_compat.h"
#include "exec/exec_private.h"

/* The size of expressions' results from which a part of a slice is aggregated by itself. */
#define VDB_AGG_RESULT_BYTES	(4 * 1024 * 1024)

/* The absence of an input or a call. */
#define VDB_NO_INPUT	(-1)

/* One aggregate of the target list. */
typedef struct AggCall
{
	const Aggref *aggref;
	VdbAggregate *aggregate;		/* NULL: the state is that of call 'same' */
	int			same;				/* the call whose state it shares, or VDB_NO_INPUT */
	Size		offset;				/* of its state, in a group's states */
	int			first_input;		/* its arguments are the inputs from this one on */
	int			filter;				/* input of its FILTER clause, or VDB_NO_INPUT */
} AggCall;

/* The source of a column of the result. */
typedef struct AggOutput
{
	int			call;				/* an aggregate; VDB_NO_INPUT: a column of the group */
	int			group_column;		/* the column of the group */
} AggOutput;

/* State of a custom aggregation. */
typedef struct VdbAggScanState
{
	CustomScanState css;
	VdbScanState *scan;
	AggState   *call_context;		/* passed to transition functions; is never run */
	ExprContext *values;			/* its memory is for groups and transition values */
	ExprContext *temp;				/* its memory is for what calls leave behind */
	ExprContext *evaluation;		/* its memory is for results of expressions over the slice */
	VdbGroups  *groups;
	int			ninputs;
	int			ngrouped;			/* the first so many inputs are the columns of groups */
	VdbInput   *inputs;
	ExprState **exprs;				/* by input; NULL: a column */
	Datum	  **results;			/* by input: the array of an expression's results */
	bool	  **result_nulls;		/* by input: which of these are null */
	bool	   *result_moves;		/* by input: it may point into the scan's slot (a ctid) */
	bool		any_expr;			/* some input is an expression */
	bool		any_called;			/* some aggregate has no kernel */
	bool		grouped;			/* there is a GROUP BY, maybe of constants only: without rows
									 * there is no group */
	int			ncalls;
	AggCall    *calls;
	int			noutputs;
	AggOutput  *outputs;
	bool		started;
	bool		emitting;			/* groups are being handed up */
	bool		exhausted;			/* the scan has no more rows */
	int			nslice;				/* rows of the slice */
	int			evaluated;			/* the first so many have their expressions evaluated */
	int			taken;				/* the first so many were added to groups */
	Size		limit;				/* of the groups' memory, in bytes */
	VdbGroup   *next;				/* the next group to hand up */
	uint64		handed_early;		/* how often groups were handed up because memory was full */
} VdbAggScanState;

static void begin_agg(CustomScanState *node, EState *estate, int eflags);
static TupleTableSlot *exec_agg(CustomScanState *node);
static void end_agg(CustomScanState *node);
static void rescan_agg(CustomScanState *node);
static void explain_agg(CustomScanState *node, List *ancestors, ExplainState *es);

static const CustomExecMethods vdb_agg_exec_methods = {
	.CustomName = VDB_AGG_NAME,
	.BeginCustomScan = begin_agg,
	.ExecCustomScan = exec_agg,
	.EndCustomScan = end_agg,
	.ReScanCustomScan = rescan_agg,
	.ExplainCustomScan = explain_agg
};

Node *
vdb_create_agg_state(CustomScan *cscan)
{
	VdbAggScanState *state = (VdbAggScanState *) newNode(sizeof(VdbAggScanState),
														 T_CustomScanState);

	state->css.methods = &vdb_agg_exec_methods;
	return (Node *) state;
}

/* ---- begin ---- */

/* Add an input: a column of the scan, or an expression over its slot.  Returns its number. */
static int
add_input(VdbAggScanState *state, Expr *expr)
{
	int			i = state->ninputs++;
	const Var  *var = (const Var *) expr;

	if (IsA(expr, Var) && var->varattno > 0)
	{
		VdbColumnValues *column = vdb_slice_column(state->scan, var->varattno);

		if (column != NULL)
		{
			state->inputs[i].values = column->values;
			state->inputs[i].nulls = column->nulls;
			return i;
		}
	}
	/* compiled for the scan's slot: its plan state is the parent */
	state->exprs[i] = ExecInitExpr(expr, &state->scan->css.ss.ps);
	state->inputs[i].values = state->results[i] = palloc0(sizeof(Datum) * VDB_LB_ROWS);
	state->inputs[i].nulls = state->result_nulls[i] = palloc0(sizeof(bool) * VDB_LB_ROWS);
	state->result_moves[i] = get_typlen(exprType((Node *) expr)) == sizeof(ItemPointerData);
	state->any_expr = true;
	return i;
}

/* Make the contexts, and the AggState that transition functions get. */
static void
make_call_context(VdbAggScanState *state, EState *estate)
{
	state->values = CreateWorkExprContext(estate);
	state->temp = CreateExprContext(estate);
	state->evaluation = CreateExprContext(estate);
	state->call_context = makeNode(AggState);
	state->call_context->ss.ps.state = estate;
	state->call_context->curaggcontext = state->values;
	state->call_context->tmpcontext = state->temp;
}

/* Find the call whose state this aggregate can share, by the planner's number of its transition. */
static int
find_same(const VdbAggScanState *state, const Aggref *aggref)
{
	for (int c = 0; c < state->ncalls; c++)
	{
		if (state->calls[c].aggregate != NULL &&
			state->calls[c].aggref->aggtransno == aggref->aggtransno)
			return c;
	}
	return VDB_NO_INPUT;
}

/* Add an aggregate; returns its number.  *offset is where its state goes, and is moved past it. */
static int
add_call(VdbAggScanState *state, const Aggref *aggref, Size *offset)
{
	int			same = aggref->aggtransno >= 0 ? find_same(state, aggref) : VDB_NO_INPUT;
	AggCall    *call = &state->calls[state->ncalls];
	ListCell   *lc;

	call->aggref = aggref;
	call->same = same;
	call->filter = VDB_NO_INPUT;
	if (same == VDB_NO_INPUT)
	{
		call->aggregate = vdb_aggregate_create(aggref, state->call_context);
		call->offset = *offset;
		*offset += MAXALIGN(vdb_aggregate_bytes(call->aggregate));
		state->any_called |= !vdb_aggregate_vectorized(call->aggregate);
		if (aggref->aggfilter != NULL)
			call->filter = add_input(state, aggref->aggfilter);
		call->first_input = state->ninputs;
		foreach(lc, aggref->args)
			(void) add_input(state, lfirst_node(TargetEntry, lc)->expr);
	}
	return state->ncalls++;
}

/* Return the most inputs that the target list may need. */
static int
count_inputs(List *tlist)
{
	int			n = 0;
	ListCell   *lc;

	foreach(lc, tlist)
	{
		Expr	   *expr = lfirst_node(TargetEntry, lc)->expr;

		n += IsA(expr, Aggref) ? list_length(((Aggref *) expr)->args) + 1 : 1;
	}
	return n;
}

/* Add the columns of groups as inputs, those with an equality operator first. */
static VdbGroupColumn *
add_group_columns(VdbAggScanState *state, List *tlist, List *eq_ops)
{
	VdbGroupColumn *columns = palloc0(sizeof(VdbGroupColumn) * Max(list_length(tlist), 1));

	for (int carried = 0; carried < 2; carried++)
	{
		ListCell   *lc;
		ListCell   *op;

		forboth(lc, tlist, op, eq_ops)
		{
			Expr	   *expr = lfirst_node(TargetEntry, lc)->expr;
			VdbGroupColumn *column = &columns[state->ngrouped];

			if (IsA(expr, Aggref) || OidIsValid(lfirst_oid(op)) == (carried == 1))
				continue;
			column->eq_op = lfirst_oid(op);
			column->type = exprType((Node *) expr);
			column->collation = exprCollation((Node *) expr);
			state->outputs[foreach_current_index(lc)].group_column = add_input(state, expr);
			state->ngrouped++;
		}
	}
	return columns;
}

/* Initialize the states of a new group (a VdbGroupInit). */
static void
init_states(void *arg, char *states)
{
	VdbAggScanState *state = (VdbAggScanState *) arg;

	for (int c = 0; c < state->ncalls; c++)
	{
		if (state->calls[c].aggregate != NULL)
			vdb_aggregate_init(state->calls[c].aggregate, states + state->calls[c].offset);
	}
}

/* Make inputs, aggregates, outputs and the set of groups from the target list. */
static void
make_parts(VdbAggScanState *state, List *tlist, List *eq_ops)
{
	int			ninputs = count_inputs(tlist);
	Size		state_bytes = 0;
	VdbGroupColumn *columns;
	ListCell   *lc;

	state->inputs = palloc0(sizeof(VdbInput) * Max(ninputs, 1));
	state->exprs = palloc0(sizeof(ExprState *) * Max(ninputs, 1));
	state->results = palloc0(sizeof(Datum *) * Max(ninputs, 1));
	state->result_nulls = palloc0(sizeof(bool *) * Max(ninputs, 1));
	state->result_moves = palloc0(sizeof(bool) * Max(ninputs, 1));
	state->calls = palloc0(sizeof(AggCall) * Max(list_length(tlist), 1));
	state->noutputs = list_length(tlist);
	state->outputs = palloc0(sizeof(AggOutput) * Max(state->noutputs, 1));
	columns = add_group_columns(state, tlist, eq_ops);
	foreach(lc, tlist)
	{
		Expr	   *expr = lfirst_node(TargetEntry, lc)->expr;

		state->outputs[foreach_current_index(lc)].call = IsA(expr, Aggref) ?
			add_call(state, (Aggref *) expr, &state_bytes) : VDB_NO_INPUT;
	}
	Assert(state->ninputs <= ninputs);
	state->groups = vdb_groups_create(columns, state->ngrouped, state_bytes,
									  state->values->ecxt_per_tuple_memory,
									  state->temp->ecxt_per_tuple_memory, init_states, state);
}

/* Initialize the aggregation and its scan (BeginCustomScan). */
static void
begin_agg(CustomScanState *node, EState *estate, int eflags)
{
	VdbAggScanState *state = (VdbAggScanState *) node;
	CustomScan *plan = (CustomScan *) node->ss.ps.plan;
	PlanState  *child;

	eflags &= ~(EXEC_FLAG_BACKWARD | EXEC_FLAG_MARK);
	child = ExecInitNode((Plan *) linitial(plan->custom_plans), estate, eflags);
	node->custom_ps = list_make1(child);
	state->scan = vdb_scan_state(child);
	/* in EvalPlanQual's subqueries too */
	vdb_scan_by_slices(state->scan);
	state->grouped = boolVal(lsecond(plan->custom_private));
	make_call_context(state, estate);
	make_parts(state, plan->custom_scan_tlist, (List *) linitial(plan->custom_private));
}

/* End the aggregation (EndCustomScan). */
static void
end_agg(CustomScanState *node)
{
	ExecEndNode((PlanState *) linitial(node->custom_ps));
}

/* Free all groups, which have been handed up. */
static void
forget_groups(VdbAggScanState *state)
{
	ReScanExprContext(state->values);
	ReScanExprContext(state->temp);
	vdb_groups_reset(state->groups);
	state->next = NULL;
	state->emitting = false;
}

/* Prepare for a rescan (ReScanCustomScan). */
static void
rescan_agg(CustomScanState *node)
{
	VdbAggScanState *state = (VdbAggScanState *) node;
	PlanState  *child = (PlanState *) linitial(node->custom_ps);

	ExecClearTuple(node->ss.ss_ScanTupleSlot);
	forget_groups(state);
	state->started = state->exhausted = false;
	state->nslice = state->evaluated = state->taken = 0;
	if (node->ss.ps.chgParam != NULL)
		UpdateChangedParamSet(child, node->ss.ps.chgParam);
	if (child->chgParam == NULL)
		ExecReScan(child);
}

/* ---- adding rows ---- */

/* Read the next slice, with what ExecProcNode does for a row.  Returns its number of rows. */
static int
next_slice(VdbAggScanState *state)
{
	PlanState  *child = &state->scan->css.ss.ps;
	int			n;

	if (child->chgParam != NULL)
		ExecReScan(child);
	if (child->instrument)
		InstrStartNode(child->instrument);
	if (!state->scan->started)
		vdb_scan_start(state->scan);
	n = vdb_slice_next(state->scan);
	if (child->instrument)
		InstrStopNode(child->instrument, n);
	return n;
}

/* Evaluate an input for one row, if it is an expression. */
static void
evaluate_input(VdbAggScanState *state, int input, int at, ExprContext *econtext)
{
	bool		isnull;
	Datum		value;

	Assert(at >= 0 && at < VDB_LB_ROWS);
	Assert(input >= 0 && input < state->ninputs);
	if (state->exprs[input] == NULL)
		return;
	value = ExecEvalExprSwitchContext(state->exprs[input], econtext, &isnull);
	if (state->result_moves[input] && !isnull)
	{
		MemoryContext old = MemoryContextSwitchTo(econtext->ecxt_per_tuple_memory);

		value = datumCopy(value, false, sizeof(ItemPointerData));
		MemoryContextSwitchTo(old);
	}
	state->results[input][at] = isnull ? (Datum) 0 : value;
	state->result_nulls[input][at] = isnull;
}

/* Return true if a boolean input is true (not null) for the row. */
static inline bool
input_is_true(const VdbAggScanState *state, int input, int at)
{
	return !state->inputs[input].nulls[at] && DatumGetBool(state->inputs[input].values[at]);
}

/* Evaluate all expressions for one row; arguments only if the row passes the aggregate's filter. */
static void
evaluate_row(VdbAggScanState *state, int at, ExprContext *econtext)
{
	for (int i = 0; i < state->ngrouped; i++)
		evaluate_input(state, i, at, econtext);
	for (int c = 0; c < state->ncalls; c++)
	{
		const AggCall *call = &state->calls[c];

		if (call->aggregate == NULL)
			continue;
		if (call->filter != VDB_NO_INPUT)
		{
			evaluate_input(state, call->filter, at, econtext);
			if (!input_is_true(state, call->filter, at))
				continue;
		}
		for (int arg = 0; arg < list_length(call->aggref->args); arg++)
			evaluate_input(state, call->first_input + arg, at, econtext);
	}
}

/*
 * Evaluate the expressions of the slice's rows from 'from' on.  Returns the row at
 * which it stopped: the end, or earlier if the results take much memory.
 */
static int
evaluate(VdbAggScanState *state, int from)
{
	ExprContext *econtext = state->evaluation;
	int			i = from;

	if (!state->any_expr)
		return state->nslice;
	ResetExprContext(econtext);
	while (i < state->nslice)
	{
		econtext->ecxt_scantuple = vdb_slice_slot(state->scan, i);
		evaluate_row(state, state->scan->at[i], econtext);
		i++;
		if (MemoryContextMemAllocated(econtext->ecxt_per_tuple_memory,
									  false) > VDB_AGG_RESULT_BYTES)
			break;
	}
	return i;
}

/* Select the rows that pass the aggregate's filter; returns their number. */
static int
select_rows(const VdbAggScanState *state, int filter, bool one, char **states, const uint16 *at,
			int n, char **selected, uint16 *selected_at)
{
	int			kept = 0;

	selected[0] = states[0];
	for (int i = 0; i < n; i++)
	{
		if (!input_is_true(state, filter, at[i]))
			continue;
		selected[kept] = states[one ? 0 : i];
		selected_at[kept++] = at[i];
	}
	return kept;
}

/* Return true if groups and transition values take more memory than the limit. */
static bool
memory_is_full(const VdbAggScanState *state)
{
	return state->ngrouped > 0 &&
		MemoryContextMemAllocated(state->values->ecxt_per_tuple_memory, true) > state->limit;
}

/*
 * Find the states of each row's group.  Without grouping, states[0] is set to those
 * of the only group.  Returns the number of rows done, fewer than n if the memory
 * is full.
 */
static int
find_states(VdbAggScanState *state, const uint16 *at, int n, char **states)
{
	VdbGroup   *found[VDB_LB_ROWS];

	if (state->ngrouped == 0)
	{
		states[0] = vdb_group_states(state->groups, vdb_groups_only(state->groups));
		return n;
	}
	n = vdb_groups_find(state->groups, at, n, state->limit, found);
	for (int i = 0; i < n; i++)
		states[i] = vdb_group_states(state->groups, found[i]);
	return n;
}

/* Add one row to the aggregates without a kernel. */
static void
call_for_row(VdbAggScanState *state, char *states, int at)
{
	MemoryContext old = MemoryContextSwitchTo(state->temp->ecxt_per_tuple_memory);

	for (int c = 0; c < state->ncalls; c++)
	{
		const AggCall *call = &state->calls[c];

		if (call->aggregate == NULL || vdb_aggregate_vectorized(call->aggregate))
			continue;
		if (call->filter == VDB_NO_INPUT || input_is_true(state, call->filter, at))
			vdb_aggregate_call(call->aggregate, states + call->offset,
							   &state->inputs[call->first_input], at);
	}
	MemoryContextSwitchTo(old);
	vdb_scratch_trim(state->temp->ecxt_per_tuple_memory);
}

/*
 * Same as find_states, but also add each row to the aggregates without a kernel.  Memory is checked
 * after each row, since any row may make a transition value grow.
 */
static int
call_by_row(VdbAggScanState *state, const uint16 *at, int n, char **states)
{
	int			i = 0;

	do
	{
		char	  **of_row = &states[state->ngrouped == 0 ? 0 : i];

		(void) find_states(state, &at[i], 1, of_row);
		call_for_row(state, *of_row, at[i]);
		i++;
	} while (i < n && !memory_is_full(state));
	return i;
}

/* Add rows to the aggregates with a kernel. */
static void
add_rows(VdbAggScanState *state, char **states, const uint16 *at, int n)
{
	bool		one = state->ngrouped == 0;

	for (int c = 0; c < state->ncalls; c++)
	{
		const AggCall *call = &state->calls[c];
		const VdbInput *inputs = &state->inputs[call->first_input];

		if (call->aggregate == NULL || !vdb_aggregate_vectorized(call->aggregate))
			continue;
		if (call->filter != VDB_NO_INPUT)
		{
			char	   *selected[VDB_LB_ROWS];
			uint16		selected_at[VDB_LB_ROWS];
			int			kept = select_rows(state, call->filter, one, states, at, n,
										   selected, selected_at);

			vdb_aggregate_add(call->aggregate, selected, call->offset, one, inputs,
							  selected_at, kept);
		}
		else
			vdb_aggregate_add(call->aggregate, states, call->offset, one, inputs, at, n);
	}
}

/* Add rows at[0..n), up to the one that fills the memory; returns the number of rows added. */
static int
take_rows(VdbAggScanState *state, const uint16 *at, int n)
{
	char	   *states[VDB_LB_ROWS];

	vdb_groups_begin(state->groups, state->inputs);
	n = state->any_called ? call_by_row(state, at, n, states) : find_states(state, at, n, states);
	ResetExprContext(state->temp);
	add_rows(state, states, at, n);
	return n;
}

/*
 * Make sure that there are rows to add, with their expressions evaluated; reads the next slice if
 * necessary.  Returns false at the end.
 */
static bool
have_rows(VdbAggScanState *state)
{
	if (state->taken == state->nslice)
	{
		state->nslice = next_slice(state);
		state->evaluated = state->taken = 0;
	}
	if (state->evaluated == state->taken && state->nslice > 0)
		state->evaluated = evaluate(state, state->taken);
	return state->nslice > 0;
}

/* Add rows until there are no more, or the memory is full. */
static void
fill(VdbAggScanState *state)
{
	state->limit = get_hash_memory_limit();
	while (have_rows(state))
	{
		state->taken += take_rows(state, &state->scan->at[state->taken],
								  state->evaluated - state->taken);
		if (memory_is_full(state))
		{
			state->handed_early++;
			return;
		}
	}
	state->exhausted = true;
}

/* ---- handing up ---- */

/* Return a group as a row of partial results. */
static TupleTableSlot *
emit(VdbAggScanState *state, VdbGroup *group)
{
	PlanState  *ps = &state->css.ss.ps;
	ExprContext *econtext = ps->ps_ExprContext;
	TupleTableSlot *slot = state->css.ss.ss_ScanTupleSlot;
	MemoryContext old;

	ResetExprContext(econtext);
	ExecClearTuple(slot);
	old = MemoryContextSwitchTo(econtext->ecxt_per_tuple_memory);
	for (int i = 0; i < state->noutputs; i++)
	{
		const AggOutput *output = &state->outputs[i];
		const AggCall *call;

		if (output->call == VDB_NO_INPUT)
		{
			slot->tts_values[i] = vdb_group_value(state->groups, group, output->group_column,
												  &slot->tts_isnull[i]);
			continue;
		}
		call = &state->calls[output->call];
		if (call->aggregate == NULL)
			call = &state->calls[call->same];
		slot->tts_values[i] = vdb_aggregate_result(call->aggregate,
												   vdb_group_states(state->groups, group) +
												   call->offset, &slot->tts_isnull[i]);
	}
	MemoryContextSwitchTo(old);
	ExecStoreVirtualTuple(slot);
	if (ps->ps_ProjInfo == NULL)
		return slot;
	econtext->ecxt_scantuple = slot;
	return ExecProject(ps->ps_ProjInfo);
}

/* Start the aggregation.  Without GROUP BY there is one result, even if there are no rows. */
static void
start(VdbAggScanState *state)
{
	if (!state->grouped)
		(void) vdb_groups_only(state->groups);
	state->started = true;
}

/* Return the next group (ExecCustomScan). */
static TupleTableSlot *
exec_agg(CustomScanState *node)
{
	VdbAggScanState *state = (VdbAggScanState *) node;

	if (!state->started)
		start(state);
	for (;;)
	{
		VdbGroup   *group = state->next;

		if (group != NULL)
		{
			state->next = group->next;
			return emit(state, group);
		}
		if (state->emitting)
			forget_groups(state);
		if (state->exhausted)
			return ExecClearTuple(node->ss.ss_ScanTupleSlot);
		fill(state);
		state->emitting = true;
		state->next = vdb_groups_first(state->groups);
	}
}

/* ---- EXPLAIN ---- */

/* Show the aggregation's properties (ExplainCustomScan). */
static void
explain_agg(CustomScanState *node, List *ancestors, ExplainState *es)
{
	VdbAggScanState *state = (VdbAggScanState *) node;
	int			vectorized = 0;
	int			called = 0;

	for (int c = 0; c < state->ncalls; c++)
	{
		if (state->calls[c].aggregate == NULL)
			continue;
		if (vdb_aggregate_vectorized(state->calls[c].aggregate))
			vectorized++;
		else
			called++;
	}
	if (es->verbose)
	{
		ExplainPropertyInteger("Vectorized Aggregates", NULL, vectorized, es);
		ExplainPropertyInteger("Row-by-Row Aggregates", NULL, called, es);
	}
	if (es->analyze && state->handed_early > 0)
		ExplainPropertyInteger("Partial Flushes", NULL, (int64) state->handed_early, es);
}
