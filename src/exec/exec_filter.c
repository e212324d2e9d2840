/*-------------------------------------------------------------------------
 *
 * exec_filter.c
 *	  Apply a scan's filter to slices.
 *
 * The filter is a list of clauses, all of which must be true.  Some kinds run as
 * loops over the whole slice, before all others: tests for null, and comparisons
 * of a column with a constant (of the scan) by core's operators, which compare
 * numbers, dates and times, or text for equality.  These can't fail, and are
 * leakproof.
 *
 * Evaluating the constant may fail, though.  It is evaluated when the first row
 * reaches the clause, as core would do.  So a clause with such a constant that
 * stands behind clauses that aren't loops is evaluated row by row until a row has
 * reached it, and is a loop from the next slice on.
 *
 * The other clauses keep their order, and are evaluated row by row.  One that
 * reads a single column and isn't volatile is evaluated once for all rows of a
 * slice with the same Datum.  That is common because a dictionary gives the same
 * pointer for the same value.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/sysattr.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/float.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "base/vdb_compat.h"
#include "base/vdb_guc.h"
#include "exec/exec_private.h"

/* Kind of a loop. */
typedef enum FilterKind
{
	FILTER_INT,						/* Datum and constant as int64 */
	FILTER_OID,
	FILTER_FLOAT4,					/* the column's type; the constant is a float8 */
	FILTER_FLOAT8,
	FILTER_BYTES,					/* text, equal or not */
	FILTER_NULL,					/* IS NULL */
	FILTER_NOT_NULL
} FilterKind;

/* The strategy of <>, which btree has none for. */
#define VDB_NOT_EQUAL	(BTMaxStrategyNumber + 1)

/* A clause that is a loop. */
typedef struct VectorClause
{
	FilterKind	kind;
	int			column;				/* index into the scan's columns */
	int			strategy;			/* BT*StrategyNumber or VDB_NOT_EQUAL */
	Oid			type;				/* of the constant */
	Expr	   *arg;				/* the constant's expression; NULL: a test for null */
	ExprState  *arg_state;
	int			place;				/* of the clause in the filter */
	bool		first;				/* all clauses before it are loops */
	bool		reached;			/* this scan: a row has reached it */
	bool		ready;				/* this scan: the constant is known */
	bool		never;				/* this scan: the constant is null, so no row passes */
	int64		number;				/* the constant, for FILTER_INT and FILTER_OID */
	float8		real;				/* the constant, for floats */
	struct varlena *bytes;			/* the constant, for FILTER_BYTES */
} VectorClause;

/* A clause that is evaluated row by row. */
typedef struct RowClause
{
	ExprState  *qual;
	VectorClause *vector;			/* the same clause as a loop, or NULL */
	int			place;				/* of the (first) clause in the filter */
	int			nclauses;			/* clauses in 'qual': one, or all of the filter */
	bool		watched;			/* this scan: constants for pruning wait for it */
	int			ncolumns;			/* the columns it reads */
	int		   *columns;
	int			memo_column;		/* its only column, if results can be reused; or -1 */
	VdbMemo		memo;				/* rows whose results are known */
	bool		passes[VDB_LB_ROWS];	/* the results, by at[] */
} RowClause;

/* See exec_private.h. */
struct VdbFilter
{
	VdbScanState *scan;
	bool		begun;				/* this scan has had its first slice */
	int			nvector;
	VectorClause *vector;			/* clauses that are loops */
	int			nrow;
	RowClause  *row;				/* clauses that are evaluated row by row */
	MemoryContext values;			/* holds constants */
};

/* ---- recognizing ---- */

/* Return true for types that are compared as int64. */
static bool
is_integer_type(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID;
}

/* Return true for types that are compared as float8. */
static bool
is_float_type(Oid type)
{
	return type == FLOAT4OID || type == FLOAT8OID;
}

/* Return true for date and time types.  Their values are integers, compared within one type. */
static bool
is_time_type(Oid type)
{
	return type == DATEOID || type == TIMEOID || type == TIMESTAMPOID || type == TIMESTAMPTZOID;
}

/* Choose the kind of loop for (left op right).  Returns false if it can't be one. */
static bool
choose_kind(Oid left, Oid right, FilterKind *kind)
{
	if ((is_integer_type(left) && is_integer_type(right)) ||
		(left == right && is_time_type(left)))
		*kind = FILTER_INT;
	else if (is_float_type(left) && is_float_type(right))
		*kind = left == FLOAT4OID ? FILTER_FLOAT4 : FILTER_FLOAT8;
	else if (left == OIDOID && right == OIDOID)
		*kind = FILTER_OID;
	else if (left == TEXTOID && right == TEXTOID)
		*kind = FILTER_BYTES;
	else
		return false;
	return true;
}

/* Return the operator's strategy for the type, or 0 if it has none. */
static int
strategy_of(Oid operator, Oid type)
{
	Oid			family = lookup_type_cache(type, TYPECACHE_BTREE_OPFAMILY)->btree_opf;
	int			strategy = get_op_opfamily_strategy(operator, family);
	Oid			negator;

	if (strategy != 0)
		return strategy;
	negator = get_negator(operator);
	if (OidIsValid(negator) && get_op_opfamily_strategy(negator, family) == BTEqualStrategyNumber)
		return VDB_NOT_EQUAL;
	return 0;
}

/* Return the scan's column that the node refers to, ignoring relabeling, or -1. */
static int
scan_column_of(VdbScanState *scan, Node *node)
{
	const Var  *var;

	while (IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	var = (const Var *) node;
	if (!IsA(node, Var) || var->varattno <= 0)
		return -1;
	for (int c = 0; c < scan->ncolumns; c++)
	{
		if (scan->columns[c].attno == var->varattno)
			return c;
	}
	return -1;
}

/* Fill in a clause that compares a column with a constant.  Returns false if it doesn't. */
static bool
match_comparison(VdbScanState *scan, OpExpr *op, VectorClause *clause)
{
	Oid			operator = op->opno;
	Oid			left;
	Oid			right;

	if (list_length(op->args) != 2)
		return false;
	clause->arg = lsecond(op->args);
	clause->column = scan_column_of(scan, linitial(op->args));
	if (clause->column < 0 || !vdb_is_constant((Node *) clause->arg))
	{
		clause->arg = linitial(op->args);
		clause->column = scan_column_of(scan, lsecond(op->args));
		operator = get_commutator(operator);
		if (clause->column < 0 || !OidIsValid(operator) || !vdb_is_constant((Node *) clause->arg))
			return false;
	}
	op_input_types(operator, &left, &right);
	if (operator >= FirstGenbkiObjectId || !choose_kind(left, right, &clause->kind))
		return false;
	clause->type = right;
	clause->strategy = strategy_of(operator, left);

	/*
	 * without a collation (those of the two sides conflict) the operator itself raises an error,
	 * if a row gets there
	 */
	if (clause->kind == FILTER_BYTES)
		return (clause->strategy == BTEqualStrategyNumber || clause->strategy == VDB_NOT_EQUAL) &&
			OidIsValid(op->inputcollid) && get_collation_isdeterministic(op->inputcollid);
	return clause->strategy != 0;
}

/* Fill in a clause that can be a loop.  Returns false if it can't. */
static bool
match_vector(VdbScanState *scan, Node *node, VectorClause *clause)
{
	memset(clause, 0, sizeof(*clause));
	if (IsA(node, NullTest) && !((NullTest *) node)->argisrow)
	{
		clause->kind = ((NullTest *) node)->nulltesttype == IS_NULL ? FILTER_NULL : FILTER_NOT_NULL;
		clause->column = scan_column_of(scan, (Node *) ((NullTest *) node)->arg);
		return clause->column >= 0;
	}
	if (!IsA(node, OpExpr) || !match_comparison(scan, (OpExpr *) node, clause))
		return false;
	clause->arg_state = ExecInitExpr(clause->arg, &scan->css.ss.ps);
	return true;
}

/* ---- making ---- */

/* Add clauses, whose first is at this place, that are evaluated together, row by row. */
static RowClause *
add_row_clause(VdbFilter *filter, List *quals, int place, ExprState *compiled)
{
	VdbScanState *scan = filter->scan;
	RowClause  *clause = &filter->row[filter->nrow++];
	Index		varno = ((Scan *) scan->css.ss.ps.plan)->scanrelid;
	Bitmapset  *attrs = NULL;
	bool		all;

	clause->qual = compiled;
	clause->place = place;
	clause->nclauses = list_length(quals);
	clause->columns = palloc(sizeof(int) * Max(scan->ncolumns, 1));
	pull_varattnos((Node *) quals, varno, &attrs);
	all = bms_is_member(InvalidAttrNumber - FirstLowInvalidHeapAttributeNumber, attrs);
	for (int c = 0; c < scan->ncolumns; c++)
	{
		if (all || bms_is_member(scan->columns[c].attno - FirstLowInvalidHeapAttributeNumber,
								 attrs))
			clause->columns[clause->ncolumns++] = c;
	}
	clause->memo_column = -1;
	if (bms_membership(attrs) == BMS_SINGLETON && clause->ncolumns == 1 && !all &&
		!contain_volatile_functions((Node *) quals) && !contain_subplans((Node *) quals))
		clause->memo_column = clause->columns[0];
	bms_free(attrs);
	return clause;
}

/* Add a clause of the filter: as a loop, for row-by-row evaluation, or as both. */
static void
add_clause(VdbFilter *filter, Node *node, int place)
{
	PlanState  *ps = &filter->scan->css.ss.ps;
	VectorClause *vector = &filter->vector[filter->nvector];
	bool		is_vector = match_vector(filter->scan, node, vector);
	RowClause  *row;

	if (is_vector)
	{
		vector->place = place;
		vector->first = filter->nrow == 0;
		filter->nvector++;
		/* it may have to be evaluated row by row at first */
		if (vector->first || vector->arg == NULL || IsA(vector->arg, Const))
			return;
	}
	row = add_row_clause(filter, list_make1(node), place, ExecInitQual(list_make1(node), ps));
	row->vector = is_vector ? vector : NULL;
}

VdbFilter *
vdb_filter_create(VdbScanState *scan)
{
	PlanState  *ps = &scan->css.ss.ps;
	List	   *quals = ps->plan->qual;
	VdbFilter  *filter;
	ListCell   *lc;

	if (quals == NIL)
		return NULL;
	filter = palloc0(sizeof(VdbFilter));
	filter->scan = scan;
	filter->vector = palloc0(sizeof(VectorClause) * list_length(quals));
	filter->row = palloc0(sizeof(RowClause) * list_length(quals));
	filter->values = AllocSetContextCreate(CurrentMemoryContext, "vdb filter values",
										   ALLOCSET_SMALL_SIZES);
	if (contain_subplans((Node *) quals))
	{
		/* compiling them again would list their plans twice */
		(void) add_row_clause(filter, quals, 0, ps->qual);
		return filter;
	}
	foreach(lc, quals)
		add_clause(filter, lfirst(lc), foreach_current_index(lc));
	return filter;
}

void
vdb_filter_rescan(VdbFilter *filter)
{
	if (filter != NULL)
		filter->begun = false;
}

int
vdb_filter_vectorized(const VdbFilter *filter)
{
	return filter != NULL ? filter->nvector : 0;
}

/* ---- constants ---- */

/* Store a constant's value in the form that its loop needs. */
static void
store_constant(VdbFilter *filter, VectorClause *clause, Datum value)
{
	MemoryContext old;

	switch (clause->type)
	{
		case INT2OID:
			clause->number = DatumGetInt16(value);
			break;
		case INT4OID:
		case DATEOID:
			clause->number = DatumGetInt32(value);
			break;
		case INT8OID:
		case TIMEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			clause->number = DatumGetInt64(value);
			break;
		case OIDOID:
			clause->number = DatumGetObjectId(value);
			break;
		case FLOAT4OID:
			clause->real = DatumGetFloat4(value);
			break;
		case FLOAT8OID:
			clause->real = DatumGetFloat8(value);
			break;
		default:
			Assert(clause->type == TEXTOID);
			old = MemoryContextSwitchTo(filter->values);
			clause->bytes = pg_detoast_datum_copy((struct varlena *) DatumGetPointer(value));
			MemoryContextSwitchTo(old);
			break;
	}
}

/* Prepare for the first slice of a scan. */
static void
begin_filter(VdbFilter *filter)
{
	MemoryContextReset(filter->values);
	for (int i = 0; i < filter->nvector; i++)
	{
		VectorClause *clause = &filter->vector[i];

		clause->reached = clause->never = false;
		clause->ready = clause->arg == NULL;
	}
	for (int i = 0; i < filter->nrow; i++)
		filter->row[i].watched = filter->scan->pruner != NULL;
	filter->begun = true;
}

/*
 * Make a clause a loop, if its constant is known or may be evaluated now.  It may be evaluated if a
 * row has reached the clause, if the slice's first row reaches it now, or if it can't fail.
 * Returns false if the clause isn't a loop yet.
 */
static bool
get_ready(VdbFilter *filter, VectorClause *clause)
{
	ExprContext *econtext = filter->scan->css.ss.ps.ps_ExprContext;
	Datum		value;

	if (clause->ready)
		return true;
	if (!clause->first && !clause->reached && !vdb_is_harmless((Node *) clause->arg, econtext))
		return false;
	value = ExecEvalExprSwitchContext(clause->arg_state, econtext, &clause->never);
	if (!clause->never)
		store_constant(filter, clause, value);
	ResetExprContext(econtext);
	clause->ready = true;
	if (filter->scan->pruner != NULL)
		(void) vdb_pruner_reached(filter->scan->pruner, clause->place, VDB_OUTCOME_UNKNOWN);
	return true;
}

/* ---- loops ---- */

/*
 * Keep the rows of the slice for which 'test' is true, where 'r' is the place of the row's values.
 * Stores are made for all rows, so that no branch can be mispredicted.
 */
#define KEEP_ROWS(test) \
	do { \
		for (int i = 0; i < scan->nrows; i++) \
		{ \
			uint16		r = scan->at[i]; \
			uint8		index = scan->index[i]; \
			bool		pass = (test); \
			scan->at[kept] = r; \
			scan->index[kept] = index; \
			kept += pass ? 1 : 0; \
		} \
	} while (0)

#define KEEP_COMPARED(get, constant) \
	switch (clause->strategy) \
	{ \
		case BTLessStrategyNumber: \
			KEEP_ROWS(!nulls[r] & (get(values[r]) < (constant))); \
			break; \
		case BTLessEqualStrategyNumber: \
			KEEP_ROWS(!nulls[r] & (get(values[r]) <= (constant))); \
			break; \
		case BTEqualStrategyNumber: \
			KEEP_ROWS(!nulls[r] & (get(values[r]) == (constant))); \
			break; \
		case BTGreaterEqualStrategyNumber: \
			KEEP_ROWS(!nulls[r] & (get(values[r]) >= (constant))); \
			break; \
		case BTGreaterStrategyNumber: \
			KEEP_ROWS(!nulls[r] & (get(values[r]) > (constant))); \
			break; \
		default: \
			Assert(clause->strategy == VDB_NOT_EQUAL); \
			KEEP_ROWS(!nulls[r] & (get(values[r]) != (constant))); \
			break; \
	}

/* Same for floats, in core's order: NaN is equal to itself and greater than all others. */
#define KEEP_FLOATS(get, constant) \
	switch (clause->strategy) \
	{ \
		case BTLessStrategyNumber: \
			KEEP_ROWS(!nulls[r] && float8_lt(get(values[r]), constant)); \
			break; \
		case BTLessEqualStrategyNumber: \
			KEEP_ROWS(!nulls[r] && float8_le(get(values[r]), constant)); \
			break; \
		case BTEqualStrategyNumber: \
			KEEP_ROWS(!nulls[r] && float8_eq(get(values[r]), constant)); \
			break; \
		case BTGreaterEqualStrategyNumber: \
			KEEP_ROWS(!nulls[r] && float8_ge(get(values[r]), constant)); \
			break; \
		case BTGreaterStrategyNumber: \
			KEEP_ROWS(!nulls[r] && float8_gt(get(values[r]), constant)); \
			break; \
		default: \
			Assert(clause->strategy == VDB_NOT_EQUAL); \
			KEEP_ROWS(!nulls[r] && float8_ne(get(values[r]), constant)); \
			break; \
	}

/* Convert Datums.  By-value Datums of columns are sign-extended, whatever their width. */
#define AS_INT64(datum)		((int64) (datum))
#define AS_OID(datum)		((int64) DatumGetObjectId(datum))
#define FROM_FLOAT4(datum)	((float8) DatumGetFloat4(datum))
#define FROM_FLOAT8(datum)	DatumGetFloat8(datum)

bool
vdb_same_bytes(Datum value, const struct varlena *bytes)
{
	struct varlena *image = pg_detoast_datum_packed((struct varlena *) DatumGetPointer(value));
	Size		len = VARSIZE_ANY_EXHDR(image);
	bool		same = len == VARSIZE_ANY_EXHDR(bytes) &&
		memcmp(VARDATA_ANY(image), VARDATA_ANY(bytes), len) == 0;

	if ((Pointer) image != DatumGetPointer(value))
		pfree(image);
	return same;
}

/*
 * Keep the rows that match a comparison of text; returns their number.  A row with the same pointer
 * as an earlier one has the same result.
 */
static int
keep_bytes(VdbScanState *scan, const VectorClause *clause, const Datum *values, const bool *nulls)
{
	bool		wanted = clause->strategy == BTEqualStrategyNumber;
	VdbInput	input = {values, nulls};
	VdbMemo		memo;
	bool		passes[VDB_LB_ROWS];
	int			kept = 0;

	vdb_memo_reset(&memo);
	for (int i = 0; i < scan->nrows; i++)
	{
		uint16		r = scan->at[i];
		int			known = vdb_memo_look(&memo, &input, r);

		if (known >= 0)
			passes[r] = passes[known];
		else
			passes[r] = !nulls[r] && vdb_same_bytes(values[r], clause->bytes) == wanted;
		if (!passes[r])
			continue;
		scan->at[kept] = r;
		scan->index[kept++] = scan->index[i];
	}
	return kept;
}

/* Keep the rows of the slice that match a clause; returns their number. */
static int
keep_matching(VdbScanState *scan, const VectorClause *clause)
{
	const Datum *values = scan->columns[clause->column].values;
	const bool *nulls = scan->columns[clause->column].nulls;
	int64		number = clause->number;
	float8		real = clause->real;
	int			kept = 0;

	if (clause->never)
		return 0;
	switch (clause->kind)
	{
		case FILTER_INT:
			KEEP_COMPARED(AS_INT64, number);
			break;
		case FILTER_OID:
			KEEP_COMPARED(AS_OID, number);
			break;
		case FILTER_FLOAT4:
			KEEP_FLOATS(FROM_FLOAT4, real);
			break;
		case FILTER_FLOAT8:
			KEEP_FLOATS(FROM_FLOAT8, real);
			break;
		case FILTER_BYTES:
			return keep_bytes(scan, clause, values, nulls);
		case FILTER_NULL:
			KEEP_ROWS(nulls[r]);
			break;
		case FILTER_NOT_NULL:
			KEEP_ROWS(!nulls[r]);
			break;
	}
	return kept;
}

void
vdb_filter_slice(VdbFilter *filter)
{
	VdbScanState *scan = filter->scan;

	if (!filter->begun)
		begin_filter(filter);
	for (int i = 0; i < filter->nvector && scan->nrows > 0; i++)
	{
		if (!get_ready(filter, &filter->vector[i]))
			continue;
		vdb_slice_need(scan, filter->vector[i].column);
		scan->nrows = keep_matching(scan, &filter->vector[i]);
	}
	for (int i = 0; i < filter->nrow; i++)
		vdb_memo_reset(&filter->row[i].memo);
}

/* ---- row by row ---- */

/*
 * Note that a clause (or all of them) was evaluated for a row, for its loop and for constants of
 * the pruner that wait for it.
 */
static void
note_outcome(VdbScanState *scan, RowClause *clause, bool passes)
{
	bool		more = false;

	if (clause->vector != NULL)
		clause->vector->reached = true;
	if (!clause->watched)
		return;
	if (clause->nclauses == 1 || !passes)
		more = vdb_pruner_reached(scan->pruner, clause->place,
								  passes ? VDB_OUTCOME_TRUE :
								  clause->nclauses == 1 ? VDB_OUTCOME_NOT_TRUE :
								  VDB_OUTCOME_UNKNOWN);
	else
	{
		for (int i = 0; i < clause->nclauses; i++)
			more |= vdb_pruner_reached(scan->pruner, clause->place + i, VDB_OUTCOME_TRUE);
	}
	if (clause->nclauses == 1 || passes)
		clause->watched = more;
}

/* Return true if row i passes the clause; reuses the result of a row with the same value. */
static bool
clause_passes(VdbScanState *scan, RowClause *clause, int i)
{
	ExprContext *econtext = scan->css.ss.ps.ps_ExprContext;
	int			at = scan->at[i];
	bool		passes;

	for (int c = 0; c < clause->ncolumns; c++)
		vdb_slice_need(scan, clause->columns[c]);
	if (clause->memo_column >= 0)
	{
		const VdbColumnValues *column = &scan->columns[clause->memo_column];
		VdbInput	input = {column->values, column->nulls};
		int			known = vdb_memo_look(&clause->memo, &input, at);

		if (known >= 0)
		{
			clause->passes[at] = clause->passes[known];
			return clause->passes[at];
		}
	}
	ResetExprContext(econtext);
	econtext->ecxt_scantuple = vdb_slice_fill(scan, i, clause->columns, clause->ncolumns);
	passes = ExecQual(clause->qual, econtext);
	clause->passes[at] = passes;
	if (unlikely(clause->watched || clause->vector != NULL))
		note_outcome(scan, clause, passes);
	return passes;
}

bool
vdb_filter_row(VdbFilter *filter, int i)
{
	Assert(i >= 0 && i < filter->scan->nrows);
	for (int c = 0; c < filter->nrow; c++)
	{
		RowClause  *clause = &filter->row[c];

		/* a loop has applied it */
		if (clause->vector != NULL && clause->vector->ready)
			continue;
		if (!clause_passes(filter->scan, clause, i))
			return false;
	}
	return true;
}
