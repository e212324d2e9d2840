/*-------------------------------------------------------------------------
 *
 * exec_agg.c
 *	  Runs aggregation over slices.
 *
 * A slice of rows comes from the scan below (its filter applied).  For each row
 * its group is found, then each aggregate takes the whole slice in.  What is
 * not a plain column is evaluated row by row before, into an array of its own.
 *
 * Results are partial (exec_agg_plan.c).  When the groups take more than
 * hash_mem, they are handed up and forgotten, and the next row goes on: it may
 * be in the middle of a slice.
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

/* Results of expressions that a part of a slice may take before it is worked off. */
#define VDB_AGG_RESULT_BYTES	(4 * 1024 * 1024)

#define VDB_NO_INPUT	(-1)

/* One aggregate of the target list. */
typedef struct AggCall
{
	const Aggref *aggref;
	VdbAggregate *aggregate;		/* NULL: the state is that of call 'same' */
	int			same;
	Size		offset;				/* of its state, in a group's states */
	int			first_input;
	int			filter;				/* input, or VDB_NO_INPUT */
} AggCall;

/* Where a column of the result comes from. */
typedef struct AggOutput
{
	int			call;				/* or VDB_NO_INPUT: */
	int			group_column;
} AggOutput;

typedef struct VdbAggScanState
{
	CustomScanState css;
	VdbScanState *scan;
	AggState   *call_context;		/* for transition functions: never run */
	ExprContext *values;			/* its memory: groups and transition values */
	ExprContext *temp;				/* its memory: what a call leaves behind */
	ExprContext *evaluation;		/* its memory: results of expressions over the slice */
	VdbGroups  *groups;
	int			ninputs;
	int			ngrouped;			/* the first inputs are the columns of groups */
	VdbInput   *inputs;
	ExprState **exprs;				/* of inputs; NULL: a column */
	Datum	  **results;			/* arrays behind inputs that are expressions */
	bool	  **result_nulls;
	bool	   *result_moves;		/* it may lie in the scan's slot: a ctid */
	bool		any_expr;
	bool		any_called;			/* an aggregate without a kernel */
	bool		grouped;			/* GROUP BY, if of no column: a group needs a row */
	int			ncalls;
	AggCall    *calls;
	int			noutputs;
	AggOutput  *outputs;
	bool		started;
	bool		emitting;
	bool		exhausted;
	int			nslice;				/* rows of the slice; of these: */
	int			evaluated;
	int			taken;				/* in groups, in hand or handed up */
	Size		limit;				/* of the groups' memory */
	VdbGroup   *next;				/* to hand up */
	uint64		handed_early;
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

/* Add an input: a column of the scan, or an expression over its slot. */
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

/* The call whose state this aggregate can use: the planner numbers transitions. */
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

/* offset: where its state goes; moved past it. */
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

/* The columns of groups, those with an equality operator first; all become inputs. */
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

/* VdbGroupInit */
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

static void
end_agg(CustomScanState *node)
{
	ExecEndNode((PlanState *) linitial(node->custom_ps));
}

static void
forget_groups(VdbAggScanState *state)
{
	ReScanExprContext(state->values);
	ReScanExprContext(state->temp);
	vdb_groups_reset(state->groups);
	state->next = NULL;
	state->emitting = false;
}

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

/* ---- taking rows in ---- */

/* The next slice, as ExecProcNode gets the next row. */
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

static inline bool
input_is_true(const VdbAggScanState *state, int input, int at)
{
	return !state->inputs[input].nulls[at] && DatumGetBool(state->inputs[input].values[at]);
}

/* All expressions of one row; arguments only if the aggregate's filter lets the row pass. */
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
 * Evaluate the expressions of the slice's rows from 'from' on; returns where it
 * stopped: at the end, or when the results take much memory.
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

/* Those rows that pass the aggregate's filter. */
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

static bool
memory_is_full(const VdbAggScanState *state)
{
	return state->ngrouped > 0 &&
		MemoryContextMemAllocated(state->values->ecxt_per_tuple_memory, true) > state->limit;
}

/*
 * The states of each row's group; with no grouping, of the only one in states[0].
 * Number of rows, fewer than n if the memory is full.
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

/* The aggregates that are called take one row in. */
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
 * As find_states, but each row is taken in at once, since a transition value may grow by any row.
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

/* The aggregates with a kernel take rows in. */
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

/* Take in rows at[0..n), up to the one that fills the memory; number of those taken. */
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

/* Are there rows to take in, their expressions evaluated?  Reads the next slice when all are. */
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

/* Take rows in until there are no more, or the memory is full. */
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

/* Without grouping there is one row, of no rows too. */
static void
start(VdbAggScanState *state)
{
	if (!state->grouped)
		(void) vdb_groups_only(state->groups);
	state->started = true;
}

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
