/*-------------------------------------------------------------------------
 *
 * exec_constant.c
 *	  Classify the constants that columns are compared with.
 *
 * A constant is an expression that is constant during one scan.  Core evaluates
 * it when a row reaches its clause, so an error in it, or in its subquery, is
 * raised only then.  Most constants can't fail, and are better evaluated before
 * the first block is read.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "nodes/params.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"

#include "exec/exec.h"

/*
 * The most steps that may lead away from the present, and the most years of each.  With these,
 * results stay within the range of all types.
 */
#define MAX_STEPS		16
#define MAX_STEP_YEARS	100

bool
vdb_is_constant(Node *node)
{
	return !contain_var_clause(node) && !contain_volatile_functions(node) &&
		!contain_subplans(node);
}

/* ---- times near the present ---- */

/* Return true for a Const interval of a step's size at most. */
static bool
is_small_interval(Node *node)
{
	const Const *c = (const Const *) node;
	const Interval *interval;

	if (!IsA(node, Const) || c->constisnull || c->consttype != INTERVALOID)
		return false;
	interval = DatumGetIntervalP(c->constvalue);
	return abs(interval->month) <= MAX_STEP_YEARS * MONTHS_PER_YEAR / 3 &&
		abs(interval->day) <= MAX_STEP_YEARS * DAYS_PER_YEAR / 3 &&
		interval->time <= MAX_STEP_YEARS * INT64CONST(365) * USECS_PER_DAY / 3 &&
		interval->time >= -MAX_STEP_YEARS * INT64CONST(365) * USECS_PER_DAY / 3;
}

/* Return true for a Const number of days of a step's size at most. */
static bool
is_small_number_of_days(Node *node)
{
	const Const *c = (const Const *) node;

	return IsA(node, Const) && !c->constisnull && c->consttype == INT4OID &&
		abs(DatumGetInt32(c->constvalue)) <= MAX_STEP_YEARS * DAYS_PER_YEAR;
}

/* Return true for a Const that is one of date_trunc's units, in its usual spelling. */
static bool
is_unit(Node *node)
{
	static const char *const units[] = {
		"second", "minute", "hour", "day", "week", "month", "quarter", "year"
	};
	const Const *c = (const Const *) node;
	char	   *word;
	bool		found = false;

	if (!IsA(node, Const) || c->constisnull || c->consttype != TEXTOID)
		return false;
	word = TextDatumGetCString(c->constvalue);
	for (int i = 0; i < lengthof(units) && !found; i++)
		found = strcmp(word, units[i]) == 0;
	pfree(word);
	return found;
}

static bool is_near_present(Node *node, int steps);

/* Same as is_near_present, for a call of a function. */
static bool
function_is_near_present(Oid function, List *args, int steps)
{
	switch (function)
	{
		case F_NOW:
		case F_TRANSACTION_TIMESTAMP:
		case F_STATEMENT_TIMESTAMP:
			return true;
		case F_DATE_TIMESTAMP:
		case F_DATE_TIMESTAMPTZ:
		case F_TIMESTAMP_DATE:
		case F_TIMESTAMP_TIMESTAMPTZ:
		case F_TIMESTAMPTZ_DATE:
		case F_TIMESTAMPTZ_TIMESTAMP:
			return is_near_present(linitial(args), steps - 1);
		case F_TIMESTAMP_PL_INTERVAL:
		case F_TIMESTAMP_MI_INTERVAL:
		case F_TIMESTAMPTZ_PL_INTERVAL:
		case F_TIMESTAMPTZ_MI_INTERVAL:
		case F_DATE_PL_INTERVAL:
		case F_DATE_MI_INTERVAL:
			return is_small_interval(lsecond(args)) && is_near_present(linitial(args), steps - 1);
		case F_DATE_PLI:
		case F_DATE_MII:
			return is_small_number_of_days(lsecond(args)) &&
				is_near_present(linitial(args), steps - 1);
		case F_DATE_TRUNC_TEXT_TIMESTAMP:
		case F_DATE_TRUNC_TEXT_TIMESTAMPTZ:
			return is_unit(linitial(args)) && is_near_present(lsecond(args), steps - 1);
		default:
			return false;
	}
}

/*
 * Return true for a date or timestamp that is computed from the current one in at most 'steps'
 * small steps.  Each step is a function that can fail only if its result is out of range, which
 * can't happen that near to the present.
 */
static bool
is_near_present(Node *node, int steps)
{
	if (steps <= 0)
		return false;
	switch (nodeTag(node))
	{
		case T_FuncExpr:
			return function_is_near_present(((FuncExpr *) node)->funcid, ((FuncExpr *) node)->args,
											steps);
		case T_OpExpr:
			return function_is_near_present(((OpExpr *) node)->opfuncid, ((OpExpr *) node)->args,
											steps);
		case T_SQLValueFunction:
			switch (((SQLValueFunction *) node)->op)
			{
				case SVFOP_CURRENT_DATE:
				case SVFOP_CURRENT_TIMESTAMP:
				case SVFOP_CURRENT_TIMESTAMP_N:
				case SVFOP_LOCALTIMESTAMP:
				case SVFOP_LOCALTIMESTAMP_N:
					return true;
				default:
					return false;
			}
		default:
			return false;
	}
}

/* ---- others ---- */

/* Return true if a parameter's value is there, so that no callback or subquery has to be run. */
static bool
param_is_known(const Param *param, ExprContext *econtext)
{
	ParamListInfo list = econtext->ecxt_param_list_info;

	if (param->paramkind == PARAM_EXEC)
		return econtext->ecxt_param_exec_vals != NULL &&
			econtext->ecxt_param_exec_vals[param->paramid].execPlan == NULL;
	return param->paramkind == PARAM_EXTERN && list != NULL &&
		list->paramFetch == NULL && list->paramCompile == NULL &&
		param->paramid > 0 && param->paramid <= list->numParams &&
		list->params[param->paramid - 1].ptype == param->paramtype;
}

/* Return true for conversions of numbers that can't fail; they may lose digits. */
static bool
is_widening(Oid function)
{
	switch (function)
	{
		case F_INT4_INT2:
		case F_INT8_INT2:
		case F_INT8_INT4:
		case F_FLOAT8_FLOAT4:
		case F_FLOAT8_INT2:
		case F_FLOAT8_INT4:
		case F_FLOAT8_INT8:
		case F_NUMERIC_INT2:
		case F_NUMERIC_INT4:
		case F_NUMERIC_INT8:
			return true;
		default:
			return false;
	}
}

/* Return true if all expressions of a list are harmless. */
static bool
all_harmless(List *nodes, ExprContext *econtext)
{
	ListCell   *lc;

	foreach(lc, nodes)
	{
		if (!vdb_is_harmless(lfirst(lc), econtext))
			return false;
	}
	return true;
}

bool
vdb_is_harmless(Node *node, ExprContext *econtext)
{
	switch (nodeTag(node))
	{
		case T_Const:
			return true;
		case T_Param:
			return param_is_known((const Param *) node, econtext);
		case T_RelabelType:
			return vdb_is_harmless((Node *) ((RelabelType *) node)->arg, econtext);
		case T_ArrayExpr:
			return !((ArrayExpr *) node)->multidims &&
				all_harmless(((ArrayExpr *) node)->elements, econtext);
		case T_FuncExpr:
			return is_near_present(node, MAX_STEPS) ||
				(is_widening(((FuncExpr *) node)->funcid) &&
				 all_harmless(((FuncExpr *) node)->args, econtext));
		default:
			return is_near_present(node, MAX_STEPS);
	}
}
