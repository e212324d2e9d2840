/*-------------------------------------------------------------------------
 *
 * exec_agg_estimate.c
 *	  Estimate the number of groups of an aggregation, where expressions have fewer
 *	  values than their columns.
 *
 * Core assumes that an expression has as many values as the columns in it: as many
 * months as timestamps.  Here the estimate is bounded by the values that the
 * expression can have.  A field of a date has a fixed number of values, date_trunc
 * the span of its column divided by the unit, a boolean two, an enum as many as it
 * has labels, CASE those of its branches.  The span is taken from the statistics.
 * Core assumes 200 values for a column without statistics, and for expressions of
 * it.
 *
 * A bound may only ever lower core's estimate.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <float.h>

#include <float.h>
#include <math.h>

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_statistic.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/date.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "exec/exec_private.h"

#define UNBOUNDED		DBL_MAX
#define DAY_SECONDS		((double) SECS_PER_DAY)
#define MONTH_SECONDS	(30.436875 * SECS_PER_DAY)
#define YEAR_SECONDS	(365.2425 * SECS_PER_DAY)

/* A unit of date_trunc and extract. */
typedef struct TimeUnit
{
	const char *name;
	double		seconds;			/* between two results of date_trunc; 0: not a unit of it */
	double		fields;				/* number of values of extract; 0: unbounded */
} TimeUnit;

static const TimeUnit time_units[] = {
	{"minute", SECS_PER_MINUTE, 60},
	{"hour", SECS_PER_HOUR, 24},
	{"day", DAY_SECONDS, 31},
	{"dow", 0, 7},
	{"isodow", 0, 7},
	{"doy", 0, 366},
	{"week", 7 * DAY_SECONDS, 53},
	{"month", MONTH_SECONDS, 12},
	{"quarter", 3 * MONTH_SECONDS, 4},
	{"second", 1, 0},
	{"year", YEAR_SECONDS, 0},
	{"isoyear", YEAR_SECONDS, 0},
	{"decade", 10 * YEAR_SECONDS, 0},
	{"century", 100 * YEAR_SECONDS, 0},
	{"millennium", 1000 * YEAR_SECONDS, 0}
};

/* The range of an expression's values, as numbers or as seconds since 2000. */
typedef struct Range
{
	double		low;
	double		high;
} Range;

static double count_values(PlannerInfo *root, Node *node, double rows);

/* ---- ranges ---- */

/* Return true for types whose values to_point converts to seconds. */
static bool
has_date_part(Oid type)
{
	return type == DATEOID || type == TIMESTAMPOID || type == TIMESTAMPTZOID;
}

/* Convert a value to a point of a range.  Returns false if it can't be converted or is infinite. */
static bool
to_point(Oid type, Datum value, double *point)
{
	switch (type)
	{
		case INT2OID:
			*point = DatumGetInt16(value);
			return true;
		case INT4OID:
			*point = DatumGetInt32(value);
			return true;
		case INT8OID:
			*point = (double) DatumGetInt64(value);
			return true;
		case FLOAT4OID:
			*point = DatumGetFloat4(value);
			return isfinite(*point);
		case FLOAT8OID:
			*point = DatumGetFloat8(value);
			return isfinite(*point);
		case NUMERICOID:
			*point = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, value));
			return isfinite(*point);
		case DATEOID:
			*point = DatumGetDateADT(value) * DAY_SECONDS;
			return !DATE_NOT_FINITE(DatumGetDateADT(value));
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			*point = (double) DatumGetTimestamp(value) / USECS_PER_SEC;
			return !TIMESTAMP_NOT_FINITE(DatumGetTimestamp(value));
		default:
			return false;
	}
}

/* Extend a range by some values; *found is set once it has any. */
static void
stretch(Range *range, bool *found, Oid type, const Datum *values, int nvalues)
{
	for (int i = 0; i < nvalues; i++)
	{
		double		point;

		if (!to_point(type, values[i], &point))
			continue;
		range->low = *found ? Min(range->low, point) : point;
		range->high = *found ? Max(range->high, point) : point;
		*found = true;
	}
}

/* Find a column's range from its statistics: the histogram and the most common values. */
static bool
range_of_variable(PlannerInfo *root, Node *node, Range *range)
{
	static const int kinds[] = {STATISTIC_KIND_HISTOGRAM, STATISTIC_KIND_MCV};
	VariableStatData variable;
	AttStatsSlot slot;
	bool		found = false;

	examine_variable(root, node, 0, &variable);
	for (int i = 0; HeapTupleIsValid(variable.statsTuple) && i < lengthof(kinds); i++)
	{
		if (!get_attstatsslot(&slot, variable.statsTuple, kinds[i], InvalidOid,
							  ATTSTATSSLOT_VALUES))
			continue;
		stretch(range, &found, slot.valuetype, slot.values, slot.nvalues);
		free_attstatsslot(&slot);
	}
	ReleaseVariableStats(variable);
	return found;
}

/* Return the only argument that is not a Const, or NULL if there isn't exactly one. */
static Node *
only_variable(List *args)
{
	Node	   *variable = NULL;
	ListCell   *lc;

	foreach(lc, args)
	{
		if (IsA(lfirst(lc), Const))
			continue;
		if (variable != NULL)
			return NULL;
		variable = lfirst(lc);
	}
	return variable;
}

/*
 * Find an expression's range.  Core's functions from one time type to another keep
 * the span: they round, change the type or the time zone, or add a constant.
 */
static bool
range_of(PlannerInfo *root, Node *node, Range *range)
{
	List	   *args = NIL;
	Node	   *variable;

	while (IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	if (IsA(node, Var))
		return range_of_variable(root, node, range);
	if (!has_date_part(exprType(node)))
		return false;
	if (IsA(node, FuncExpr) && ((FuncExpr *) node)->funcid < FirstGenbkiObjectId)
		args = ((FuncExpr *) node)->args;
	else if (IsA(node, OpExpr) && ((OpExpr *) node)->opno < FirstGenbkiObjectId)
		args = ((OpExpr *) node)->args;
	variable = only_variable(args);
	return variable != NULL && has_date_part(exprType(variable)) && range_of(root, variable, range);
}

/* Return the number of steps of this size in the expression's range. */
static double
count_steps(PlannerInfo *root, Node *node, double step)
{
	Range		range;

	if (step <= 0 || !range_of(root, node, &range))
		return UNBOUNDED;
	return floor((range.high - range.low) / step) + 2;
}

/* ---- functions ---- */

/* Return the unit named by the first argument, or NULL if it isn't known. */
static const TimeUnit *
find_unit(List *args)
{
	Const	   *name = linitial(args);
	char	   *string;

	if (!IsA(name, Const) || name->constisnull)
		return NULL;
	string = TextDatumGetCString(name->constvalue);
	for (int i = 0; i < lengthof(time_units); i++)
	{
		if (pg_strcasecmp(string, time_units[i].name) == 0)
			return &time_units[i];
	}
	return NULL;
}

/* Bound the values of date_trunc. */
static double
count_truncated(PlannerInfo *root, List *args)
{
	const TimeUnit *unit = find_unit(args);

	return unit == NULL ? UNBOUNDED : count_steps(root, lsecond(args), unit->seconds);
}

/* Bound the values of extract and date_part. */
static double
count_fields(PlannerInfo *root, List *args)
{
	const TimeUnit *unit = find_unit(args);

	if (unit == NULL)
		return UNBOUNDED;
	if (unit->fields > 0)
		return unit->fields;
	return unit->seconds >= YEAR_SECONDS ? count_steps(root, lsecond(args),
													   unit->seconds) : UNBOUNDED;
}

/* Bound the values of date_bin. */
static double
count_bins(PlannerInfo *root, List *args)
{
	Const	   *stride = linitial(args);
	Interval   *interval;

	if (!IsA(stride, Const) || stride->constisnull)
		return UNBOUNDED;
	interval = DatumGetIntervalP(stride->constvalue);
	return count_steps(root, lsecond(args),
					   (double) interval->time / USECS_PER_SEC + interval->day * DAY_SECONDS);
}

/* Return the absolute value of a constant number, or 0 if it isn't one. */
static double
constant_size(Node *node)
{
	double		point;

	if (!IsA(node, Const) || ((Const *) node)->constisnull ||
		!to_point(((Const *) node)->consttype, ((Const *) node)->constvalue, &point))
		return 0;
	return fabs(point);
}

/* Bound the values of a remainder. */
static double
count_remainders(PlannerInfo *root, List *args)
{
	double		size = constant_size(lsecond(args));
	Range		range;

	if (size == 0)
		return UNBOUNDED;
	return range_of(root, linitial(args), &range) && range.low >= 0 ? size : 2 * size - 1;
}

/* Bound the values of round and trunc with a number of digits. */
static double
count_rounded(PlannerInfo *root, List *args)
{
	Const	   *scale = lsecond(args);

	if (!IsA(scale, Const) || scale->constisnull)
		return UNBOUNDED;
	return count_steps(root, linitial(args), pow(10, -DatumGetInt32(scale->constvalue)));
}

/* Bound the values of a timestamp's date. */
static double
count_days(PlannerInfo *root, List *args)
{
	return count_steps(root, linitial(args), DAY_SECONDS);
}

/* Bound the values of a number that is made an integer. */
static double
count_integers(PlannerInfo *root, List *args)
{
	return count_steps(root, linitial(args), 1);
}

/* Bound the values of a quotient of integers. */
static double
count_quotients(PlannerInfo *root, List *args)
{
	return count_steps(root, linitial(args), constant_size(lsecond(args)));
}

/* One of core's functions, and what bounds its values. */
typedef struct BoundedFunction
{
	Oid			function;
	double		(*count) (PlannerInfo *root, List *args);
} BoundedFunction;

static const BoundedFunction bounded_functions[] = {
	{F_EXTRACT_TEXT_DATE, count_fields},
	{F_EXTRACT_TEXT_TIME, count_fields},
	{F_EXTRACT_TEXT_TIMETZ, count_fields},
	{F_EXTRACT_TEXT_TIMESTAMP, count_fields},
	{F_EXTRACT_TEXT_TIMESTAMPTZ, count_fields},
	{F_DATE_PART_TEXT_DATE, count_fields},
	{F_DATE_PART_TEXT_TIME, count_fields},
	{F_DATE_PART_TEXT_TIMETZ, count_fields},
	{F_DATE_PART_TEXT_TIMESTAMP, count_fields},
	{F_DATE_PART_TEXT_TIMESTAMPTZ, count_fields},
	{F_DATE_TRUNC_TEXT_TIMESTAMP, count_truncated},
	{F_DATE_TRUNC_TEXT_TIMESTAMPTZ, count_truncated},
	{F_DATE_TRUNC_TEXT_TIMESTAMPTZ_TEXT, count_truncated},
	{F_DATE_BIN_INTERVAL_TIMESTAMP_TIMESTAMP, count_bins},
	{F_DATE_BIN_INTERVAL_TIMESTAMPTZ_TIMESTAMPTZ, count_bins},
	{F_DATE_TIMESTAMP, count_days},
	{F_DATE_TIMESTAMPTZ, count_days},
	{F_INT2_NUMERIC, count_integers},
	{F_INT4_NUMERIC, count_integers},
	{F_INT8_NUMERIC, count_integers},
	{F_INT2_FLOAT4, count_integers},
	{F_INT4_FLOAT4, count_integers},
	{F_INT8_FLOAT4, count_integers},
	{F_INT2_FLOAT8, count_integers},
	{F_INT4_FLOAT8, count_integers},
	{F_INT8_FLOAT8, count_integers},
	{F_CEIL_NUMERIC, count_integers},
	{F_CEILING_NUMERIC, count_integers},
	{F_FLOOR_NUMERIC, count_integers},
	{F_ROUND_FLOAT8, count_integers},
	{F_TRUNC_FLOAT8, count_integers},
	{F_CEIL_FLOAT8, count_integers},
	{F_CEILING_FLOAT8, count_integers},
	{F_FLOOR_FLOAT8, count_integers},
	{F_ROUND_NUMERIC_INT4, count_rounded},
	{F_TRUNC_NUMERIC_INT4, count_rounded},
	{F_INT2DIV, count_quotients},
	{F_INT4DIV, count_quotients},
	{F_INT8DIV, count_quotients},
	{F_INT24DIV, count_quotients},
	{F_INT42DIV, count_quotients},
	{F_INT28DIV, count_quotients},
	{F_INT82DIV, count_quotients},
	{F_INT48DIV, count_quotients},
	{F_INT84DIV, count_quotients},
	{F_INT2MOD, count_remainders},
	{F_INT4MOD, count_remainders},
	{F_INT8MOD, count_remainders}
};

/* Bound the values of one of core's functions, by what the function does. */
static double
count_by_function(PlannerInfo *root, Oid function, List *args)
{
	for (int i = 0; i < (int) lengthof(bounded_functions); i++)
	{
		if (bounded_functions[i].function == function)
			return bounded_functions[i].count(root, args);
	}
	return UNBOUNDED;
}

/* ---- expressions ---- */

/* Return the number of labels of an enum type. */
static double
count_labels(Oid type)
{
	CatCList   *labels = SearchSysCacheList1(ENUMTYPOIDNAME, ObjectIdGetDatum(type));
	double		n = labels->n_members;

	ReleaseCatCacheList(labels);
	return n > 0 ? n : UNBOUNDED;
}

/* Bound the values of an expression by its type. */
static double
count_by_type(Oid type)
{
	type = getBaseType(type);
	if (type == BOOLOID)
		return 2;
	return type_is_enum(type) ? count_labels(type) : UNBOUNDED;
}

/* Bound the values of a function that is not volatile by the combinations of its arguments. */
static double
count_combinations(PlannerInfo *root, List *args, double rows)
{
	double		n = 1;
	ListCell   *lc;

	foreach(lc, args)
		n = Min(n * count_values(root, lfirst(lc), rows), UNBOUNDED);
	return n;
}

/* Bound the values of a choice between expressions.  Equal expressions are counted once. */
static double
count_alternatives(PlannerInfo *root, List *exprs, double rows)
{
	List	   *distinct = NIL;
	double		n = 0;
	ListCell   *lc;

	foreach(lc, exprs)
		distinct = list_append_unique(distinct, lfirst(lc));
	foreach(lc, distinct)
		n += count_values(root, lfirst(lc), rows);
	return n;
}

/* Bound the values of CASE by its results. */
static double
count_case(PlannerInfo *root, CaseExpr *expr, double rows)
{
	List	   *results = NIL;
	ListCell   *lc;

	foreach(lc, expr->args)
		results = lappend(results, lfirst_node(CaseWhen, lc)->result);
	if (expr->defresult != NULL)
		results = lappend(results, expr->defresult);
	return count_alternatives(root, results, rows);
}

/* Bound the number of an expression's values among so many rows. */
static double
count_values(PlannerInfo *root, Node *node, double rows)
{
	double		most = count_by_type(exprType(node));

	check_stack_depth();
	switch (nodeTag(node))
	{
		case T_Const:
		case T_Param:
			return 1;
		case T_RelabelType:
			return Min(most, count_values(root, (Node *) ((RelabelType *) node)->arg, rows));
		case T_CoerceViaIO:
			return Min(most, count_values(root, (Node *) ((CoerceViaIO *) node)->arg, rows));
		case T_FuncExpr:
			most = Min(most, count_by_function(root, ((FuncExpr *) node)->funcid,
											   ((FuncExpr *) node)->args));
			return Min(most, count_combinations(root, ((FuncExpr *) node)->args, rows));
		case T_OpExpr:
			set_opfuncid((OpExpr *) node);
			most = Min(most, count_by_function(root, ((OpExpr *) node)->opfuncid,
											   ((OpExpr *) node)->args));
			return Min(most, count_combinations(root, ((OpExpr *) node)->args, rows));
		case T_CaseExpr:
			return Min(most, count_case(root, (CaseExpr *) node, rows));
		case T_CoalesceExpr:
			return Min(most, count_alternatives(root, ((CoalesceExpr *) node)->args, rows));
		default:
			return Min(most, estimate_num_groups(root, list_make1(node), rows, NULL, NULL));
	}
}

double
vdb_estimate_groups(PlannerInfo *root, List *exprs, double rows)
{
	double		core = estimate_num_groups(root, exprs, rows, NULL, NULL);
	double		bound = 1;
	ListCell   *lc;

	if (contain_volatile_functions((Node *) exprs))
		return core;
	foreach(lc, exprs)
		bound = Min(bound * count_values(root, lfirst(lc), rows), UNBOUNDED);
	return Max(Min(core, bound), 1);
}
