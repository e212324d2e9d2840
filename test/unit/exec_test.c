/*
 * exec_test.c
 *	  Kernels, filters and groups of src/exec against what they mean row by row.
 *
 * The reference is written here for one row at a time, without looking at how
 * the loops do it: sums in row order, core's order of floats, three-valued
 * comparisons, groups by a search through all of them.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/date.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"

#include "exec/exec_private.h"

#include "exec_mock.h"
#include "pg_shim.h"
#include "unit_shim.h"

#define ROWS	VDB_LB_ROWS

static Datum values[3][ROWS];
static bool nulls[3][ROWS];

/* Below zero, zero, above: NaN is equal to itself and above all others. */
static int
compare_floats(float8 a, float8 b)
{
	if (isnan(a) || isnan(b))
		return isnan(a) - isnan(b);
	return a < b ? -1 : a > b;
}

/* Which floats come: all kinds; finite ones; zeroes and what is below (or above) them. */
static int	float_kind;

static float8
random_float(void)
{
	static const float8 odd[] = {0.0, -0.0, NAN, -NAN, INFINITY, -INFINITY, 1.0, -1.5};
	float8		finite = (int) unit_random_below(20) / 4.0 - 2;

	switch (float_kind)
	{
		case 0:
			return unit_random_below(3) == 0 ? odd[unit_random_below(lengthof(odd))] : finite;
		case 1:
			return finite;
		default:
			return unit_random_below(2) == 0 ? odd[unit_random_below(2)] :
				float_kind == 2 ? -fabs(finite) : fabs(finite);
	}
}

/* Few values, so that some are equal, and the ends of the type. */
static Datum
random_value(Oid type)
{
	int64		number = (int64) unit_random_below(9) - 4;
	bool		end = unit_random_below(8) == 0;

	switch (type)
	{
		case INT2OID:
			return Int16GetDatum(end ? (number < 0 ? PG_INT16_MIN : PG_INT16_MAX) : number);
		case INT4OID:
		case DATEOID:
			return Int32GetDatum(end ? (number < 0 ? PG_INT32_MIN : PG_INT32_MAX) : number);
		case OIDOID:
			return ObjectIdGetDatum(end ? PG_UINT32_MAX - 1 : (Oid) (number + 4));
		case FLOAT4OID:
			return Float4GetDatum((float4) random_float());
		case FLOAT8OID:
			return Float8GetDatum(random_float());
		default:
			return Int64GetDatum(end ? (number < 0 ? PG_INT64_MIN : PG_INT64_MAX) : number);
	}
}

/* A text or bytea of a few bytes, with a header of one or of four bytes. */
static Datum
random_bytes(void)
{
	int			len = (int) unit_random_below(3);
	char	   *image = palloc0(8);

	if (unit_random_below(2) == 0)
		SET_VARSIZE(image, VARHDRSZ + len);
	else
		SET_VARSIZE_SHORT(image, VARHDRSZ_SHORT + len);
	for (int i = 0; i < len; i++)
		VARDATA_ANY(image)[i] = 'a' + (char) unit_random_below(2);
	return PointerGetDatum(image);
}

static bool
same_text(Datum a, Datum b)
{
	void	   *x = DatumGetPointer(a);
	void	   *y = DatumGetPointer(b);

	return VARSIZE_ANY_EXHDR(x) == VARSIZE_ANY_EXHDR(y) &&
		memcmp(VARDATA_ANY(x), VARDATA_ANY(y), VARSIZE_ANY_EXHDR(x)) == 0;
}

static void
fill_column(int column, Oid type)
{
	for (int i = 0; i < ROWS; i++)
	{
		nulls[column][i] = unit_random_below(5) == 0;
		values[column][i] = type == TEXTOID ||
			type == BYTEAOID ? random_bytes() : random_value(type);
		/* dictionaries give the same pointer for the same value */
		if (i > 0 && unit_random_below(4) == 0)
			values[column][i] = values[column][unit_random_below(i)];
	}
}

/* A part of the rows, in ascending order; their number. */
static int
choose_rows(uint16 *at)
{
	int			n = 0;
	uint64		share = 1 + unit_random_below(4);

	for (int i = 0; i < ROWS; i++)
		if (unit_random_below(share) == 0)
			at[n++] = (uint16) i;
	if (n == 0)
		at[n++] = 7;
	return n;
}

/* ---- kernels ---- */

typedef enum KernelKind
{
	K_COUNT, K_SUM, K_AVERAGE, K_FLOAT_SUM, K_MOMENTS, K_MAX, K_MIN
} KernelKind;

static const struct
{
	Oid			transfn;
	KernelKind	kind;
	Oid			type;
}			kernels[] = {
	{F_INT8INC_ANY, K_COUNT, INT4OID},
	{F_INT2_SUM, K_SUM, INT2OID}, {F_INT4_SUM, K_SUM, INT4OID},
	{F_INT2_AVG_ACCUM, K_AVERAGE, INT2OID}, {F_INT4_AVG_ACCUM, K_AVERAGE, INT4OID},
	{F_FLOAT4PL, K_FLOAT_SUM, FLOAT4OID}, {F_FLOAT8PL, K_FLOAT_SUM, FLOAT8OID},
	{F_FLOAT4_ACCUM, K_MOMENTS, FLOAT4OID}, {F_FLOAT8_ACCUM, K_MOMENTS, FLOAT8OID},
	{F_INT2LARGER, K_MAX, INT2OID}, {F_INT2SMALLER, K_MIN, INT2OID},
	{F_INT4LARGER, K_MAX, INT4OID}, {F_INT4SMALLER, K_MIN, INT4OID},
	{F_INT8LARGER, K_MAX, INT8OID}, {F_INT8SMALLER, K_MIN, INT8OID},
	{F_OIDLARGER, K_MAX, OIDOID}, {F_OIDSMALLER, K_MIN, OIDOID},
	{F_DATE_LARGER, K_MAX, DATEOID}, {F_DATE_SMALLER, K_MIN, DATEOID},
	{F_TIME_LARGER, K_MAX, INT8OID}, {F_TIME_SMALLER, K_MIN, INT8OID},
	{F_TIMESTAMP_LARGER, K_MAX, INT8OID}, {F_TIMESTAMP_SMALLER, K_MIN, INT8OID},
	{F_TIMESTAMPTZ_LARGER, K_MAX, INT8OID}, {F_TIMESTAMPTZ_SMALLER, K_MIN, INT8OID},
	{F_CASHLARGER, K_MAX, INT8OID}, {F_CASHSMALLER, K_MIN, INT8OID},
	{F_FLOAT4LARGER, K_MAX, FLOAT4OID}, {F_FLOAT4SMALLER, K_MIN, FLOAT4OID},
	{F_FLOAT8LARGER, K_MAX, FLOAT8OID}, {F_FLOAT8SMALLER, K_MIN, FLOAT8OID},
};

static int64
as_integer(Oid type, Datum value)
{
	return type == INT2OID ? DatumGetInt16(value) :
		type == INT4OID || type == DATEOID ? DatumGetInt32(value) :
		type == OIDOID ? (int64) DatumGetObjectId(value) : DatumGetInt64(value);
}

static float8
as_float(Oid type, Datum value)
{
	return type == FLOAT4OID ? (float8) DatumGetFloat4(value) : DatumGetFloat8(value);
}

static bool
is_float(Oid type)
{
	return type == FLOAT4OID || type == FLOAT8OID;
}

static int
compare_values(Oid type, Datum a, Datum b)
{
	int64		x;
	int64		y;

	if (is_float(type))
		return compare_floats(as_float(type, a), as_float(type, b));
	x = as_integer(type, a);
	y = as_integer(type, b);
	return x < y ? -1 : x > y;
}

/* What a state should come to. */
typedef struct Expected
{
	int64		count;
	int64		sum;
	float8		real;
	float4		small;
	float8		moments[3];
	Datum		best;
} Expected;

/* Core's float8_accum, by its textbook form. */
static void
expect_moment(Expected *e, float8 x)
{
	float8		n = e->moments[0] + 1;
	float8		sum = e->moments[1] + x;

	if (e->moments[0] > 0)
	{
		float8		d = x * n - sum;

		e->moments[2] += d * d / (n * e->moments[0]);
		if (isinf(sum) || isinf(e->moments[2]))
			e->moments[2] = NAN;
	}
	else if (isnan(x) || isinf(x))
		e->moments[2] = NAN;
	e->moments[0] = n;
	e->moments[1] = sum;
}

static void
expect_one(Expected *e, KernelKind kind, Oid type, Datum value)
{
	int			order = e->count == 0 || kind < K_MAX ? 0 : compare_values(type, e->best, value);

	if (kind == K_SUM || kind == K_AVERAGE)
		e->sum += as_integer(type, value);
	if (kind == K_FLOAT_SUM)
	{
		e->real = e->count == 0 ? as_float(type, value) : e->real + as_float(type, value);
		e->small = e->count == 0 ? (float4) as_float(type, value) :
			e->small + (float4) as_float(type, value);
	}
	if (kind == K_MOMENTS)
		expect_moment(e, as_float(type, value));
	/* of equal ones the later: it may be another zero */
	if (e->count == 0 || (kind == K_MAX ? order <= 0 : order >= 0))
		e->best = value;
	e->count++;
}

static bool
same_float(float8 a, float8 b)
{
	return (isnan(a) && isnan(b)) || (a == b && signbit(a) == signbit(b));
}

static void
check_state(int k, const char *state, const Expected *e, const char *how)
{
	const VdbKernel *kernel = vdb_kernel_find(kernels[k].transfn);
	Oid			type = kernels[k].type;
	bool		isnull = false;
	Datum		result = kernel->result(state, &isnull);
	KernelKind	kind = kernels[k].kind;

	UNIT_CHECK(isnull == (e->count == 0 && kind != K_COUNT && kind != K_AVERAGE &&
						  kind != K_MOMENTS),
			   "kernel %d, %s: null", k, how);
	if (isnull)
		return;
	if (kind == K_COUNT)
		UNIT_CHECK(DatumGetInt64(result) == e->count, "kernel %d, %s", k, how);
	else if (kind == K_SUM)
		UNIT_CHECK(DatumGetInt64(result) == e->sum, "kernel %d, %s", k, how);
	else if (kind == K_AVERAGE)
		UNIT_CHECK(mock_array_length == 2 && DatumGetInt64(mock_array[0]) == e->count &&
				   DatumGetInt64(mock_array[1]) == e->sum, "kernel %d, %s", k, how);
	else if (kind == K_FLOAT_SUM)
		UNIT_CHECK(same_float(as_float(type, result), type == FLOAT4OID ? e->small : e->real),
				   "kernel %d, %s: %g, not %g", k, how, as_float(type, result), e->real);
	else if (kind == K_MOMENTS)
		for (int i = 0; i < 3; i++)
			UNIT_CHECK(same_float(DatumGetFloat8(mock_array[i]), e->moments[i]),
					   "kernel %d, %s, part %d", k, how, i);
	else if (is_float(type))
		UNIT_CHECK(same_float(as_float(type, result), as_float(type, e->best)),
				   "kernel %d, %s: %g", k, how, as_float(type, result));
	else
		UNIT_CHECK(as_integer(type, result) == as_integer(type, e->best), "kernel %d, %s", k, how);
}

#define GROUPS	5
#define OFFSET	16

/* Some slices, into one state and into one of several at an offset. */
static void
run_kernel(int k)
{
	const VdbKernel *kernel = vdb_kernel_find(kernels[k].transfn);
	char	   *one = palloc0(kernel->bytes);
	char	   *many[GROUPS];
	Expected	expected_one = {0};
	Expected	expected[GROUPS] = {{0}};

	float_kind = (int) unit_random_below(4);
	for (int g = 0; g < GROUPS; g++)
		many[g] = palloc0(OFFSET + kernel->bytes);
	for (int round = 0; round < 3; round++)
	{
		VdbInput	input = {values[0], nulls[0]};
		uint16		at[ROWS];
		char	   *states[ROWS];
		int			n;

		fill_column(0, kernels[k].type);
		n = choose_rows(at);
		for (int i = 0; i < n; i++)
		{
			int			g = (int) unit_random_below(GROUPS - 1);	/* the last one stays empty */

			states[i] = many[g];
			if (nulls[0][at[i]])
				continue;
			expect_one(&expected_one, kernels[k].kind, kernels[k].type, values[0][at[i]]);
			expect_one(&expected[g], kernels[k].kind, kernels[k].type, values[0][at[i]]);
		}
		kernel->add_one(one, &input, at, n);
		kernel->add(states, OFFSET, &input, at, n);
	}
	check_state(k, one, &expected_one, "one state");
	for (int g = 0; g < GROUPS; g++)
	{
		check_state(k, many[g] + OFFSET, &expected[g], "many states");
		for (int i = 0; i < OFFSET; i++)
			UNIT_CHECK(many[g][i] == 0, "kernel %d wrote before its state", k);
	}
}

static void
test_kernels(void)
{
	for (int k = 0; k < lengthof(kernels); k++)
	{
		UNIT_CHECK(vdb_kernel_find(kernels[k].transfn) != NULL, "no kernel %d", k);
		for (int round = 0; round < 50; round++)
			run_kernel(k);
	}
	UNIT_CHECK(vdb_kernel_find(F_NUMERIC_AVG_ACCUM) == NULL, "numeric has no kernel");
}

static void
test_count_rows(void)
{
	const VdbKernel *kernel = vdb_kernel_find(F_INT8INC);
	uint16		at[3] = {0, 4, 9};
	int64		count = 5;
	char	   *states[3] = {(char *) &count, (char *) &count, (char *) &count};
	bool		isnull;

	kernel->add_one((char *) &count, NULL, at, 3);
	kernel->add(states, 0, NULL, at, 3);
	UNIT_CHECK(DatumGetInt64(kernel->result((char *) &count, &isnull)) == 11, "nulls count, too");
}

static void
add_large(void *arg)
{
	const VdbKernel *kernel = vdb_kernel_find(*(Oid *) arg);
	char	   *state = palloc0(kernel->bytes);
	VdbInput	input = {values[0], nulls[0]};
	uint16		at[2] = {0, 1};

	values[0][0] = values[0][1] = Float8GetDatum(1.7e308);
	nulls[0][0] = nulls[0][1] = false;
	kernel->add_one(state, &input, at, 2);
}

static void
test_overflow(void)
{
	Oid			functions[2] = {F_FLOAT8PL, F_FLOAT8_ACCUM};

	for (int i = 0; i < 2; i++)
		UNIT_CHECK(shim_catches(add_large, &functions[i]) &&
				   shim_sqlstate == ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE, "function %u", functions[i]);
}

/* ---- filters ---- */

typedef struct Clause
{
	int			left;				/* type of the column, 'column' of the scan */
	int			right;
	int			column;
	int			strategy;			/* 7: is null, 8: is not null */
	bool		turned;				/* the constant stands on the left */
	bool		isnull;
	Datum		constant;
} Clause;

static VdbScanState scan;
static VdbColumnValues columns[3];
static CustomScan plan;
static ExprContext econtext;

/* The clause that is evaluated row by row: is the first column's value even? */
static Node even_clause;

bool
mock_row_passes(const Node *clause, int at)
{
	if (clause == &even_clause)
		return !nulls[0][at] && DatumGetInt32(values[0][at]) % 2 == 0;
	/* a comparison that isn't a loop yet: (second column) = parameter */
	return !nulls[1][at] && DatumGetInt32(values[1][at]) ==
		DatumGetInt32(((MockParam *) lsecond(((const OpExpr *) clause)->args))->value->constvalue);
}

int
mock_row_attno(const Node *clause)
{
	return clause == &even_clause ? 1 : 2;
}

static List *
list_of(void *first, void *second)
{
	List	   *list = palloc0(offsetof(List, initial_elements) + 2 * sizeof(ListCell));

	list->type = T_List;
	list->length = list->max_length = second == NULL ? 1 : 2;
	list->elements = list->initial_elements;
	list->elements[0].ptr_value = first;
	list->elements[1].ptr_value = second;
	return list;
}

static Node *
make_clause(const Clause *c, bool parameter)
{
	Var		   *var = palloc0(sizeof(Var));
	Const	   *value = palloc0(sizeof(Const));
	MockParam  *param = palloc0(sizeof(MockParam));
	OpExpr	   *op = palloc0(sizeof(OpExpr));
	NullTest   *test = palloc0(sizeof(NullTest));
	void	   *constant = parameter ? (void *) param : value;

	NodeSetTag(var, T_Var);
	var->varattno = (AttrNumber) (c->column + 1);
	NodeSetTag(value, T_Const);
	value->constvalue = c->constant;
	value->constisnull = c->isnull;
	NodeSetTag(param, T_Param);
	param->value = value;
	NodeSetTag(test, T_NullTest);
	test->arg = (Expr *) var;
	test->nulltesttype = c->strategy == 7 ? IS_NULL : IS_NOT_NULL;
	if (c->strategy > 6)
		return (Node *) test;
	NodeSetTag(op, T_OpExpr);
	op->inputcollid = 100;
	op->opno = mock_operator(c->left, c->right, c->strategy);
	if (c->turned)
		op->opno = mock_operator(c->right, c->left, c->strategy < 6 ? 6 - c->strategy : 6);
	op->args = c->turned ? list_of(constant, var) : list_of(var, constant);
	return (Node *) op;
}

/* Three-valued, but only true matters. */
static bool
clause_is_true(const Clause *c, int row)
{
	bool		isnull = nulls[c->column][row];
	Datum		value = values[c->column][row];
	int			order;

	if (c->strategy > 6)
		return isnull == (c->strategy == 7);
	if (isnull || c->isnull)
		return false;
	if (c->left == MOCK_TEXT)
		order = same_text(value, c->constant) ? 0 : 1;
	else if (is_float(mock_type(c->left)))
		order = compare_floats(as_float(mock_type(c->left), value),
							   as_float(mock_type(c->right), c->constant));
	else
	{
		int64		x = as_integer(mock_type(c->left), value);
		int64		y = as_integer(mock_type(c->right), c->constant);

		order = x < y ? -1 : x > y;
	}
	switch (c->strategy)
	{
		case 1:
			return order < 0;
		case 2:
			return order <= 0;
		case 3:
			return order == 0;
		case 4:
			return order >= 0;
		case 5:
			return order > 0;
		default:
			return order != 0;
	}
}

static void
begin_slice(void)
{
	scan.nrows = choose_rows(scan.at);
	for (int i = 0; i < scan.nrows; i++)
		scan.index[i] = (uint8) (ROWS - 1 - scan.at[i]);	/* something that must go with at[] */
}

static VdbFilter *
make_filter(List *quals)
{
	memset(&scan, 0, sizeof(scan));
	scan.columns = columns;
	scan.ncolumns = 3;
	for (int c = 0; c < 3; c++)
	{
		columns[c].attno = c + 1;
		columns[c].values = values[c];
		columns[c].nulls = nulls[c];
	}
	plan.scan.plan.qual = quals;
	scan.css.ss.ps.plan = (Plan *) &plan;
	scan.css.ss.ps.ps_ExprContext = &econtext;
	return vdb_filter_create(&scan);
}

static Clause
random_clause(int column)
{
	static const int kinds[][2] = {
		{MOCK_INT2, MOCK_INT2}, {MOCK_INT2, MOCK_INT4}, {MOCK_INT4, MOCK_INT2},
		{MOCK_INT4, MOCK_INT4}, {MOCK_INT4, MOCK_INT8}, {MOCK_INT8, MOCK_INT2},
		{MOCK_INT8, MOCK_INT8}, {MOCK_OID, MOCK_OID},
		{MOCK_FLOAT4, MOCK_FLOAT4}, {MOCK_FLOAT4, MOCK_FLOAT8}, {MOCK_FLOAT8, MOCK_FLOAT4},
		{MOCK_FLOAT8, MOCK_FLOAT8}, {MOCK_DATE, MOCK_DATE}, {MOCK_TIMESTAMPTZ, MOCK_TIMESTAMPTZ},
		{MOCK_TEXT, MOCK_TEXT},
	};
	int			k = (int) unit_random_below(lengthof(kinds));
	Clause		c = {.left = kinds[k][0], .right = kinds[k][1], .column = column};

	c.strategy = 1 + (int) unit_random_below(8);
	if (c.left == MOCK_TEXT && c.strategy < 6)
		c.strategy = 3;				/* its order is no loop */
	c.turned = unit_random_below(3) == 0;
	c.isnull = unit_random_below(20) == 0;
	c.constant = c.left == MOCK_TEXT ? random_bytes() : random_value(mock_type(c.right));
	return c;
}

/* Two clauses, all loops, over several slices: the same rows stay, in order. */
static void
test_filters(void)
{
	float_kind = 0;
	for (int round = 0; round < 3000; round++)
	{
		Clause		a = random_clause(0);
		Clause		b = random_clause(1);
		VdbFilter  *filter;

		fill_column(0, mock_type(a.left));
		fill_column(1, mock_type(b.left));
		/*
		 * nothing that isn't a loop stands before them, so it doesn't matter whether they may fail
		 */
		mock_harmless = round % 4 != 0;
		filter = make_filter(list_of(make_clause(&a, round % 2 == 0),
									 make_clause(&b, round % 3 == 0)));
		UNIT_CHECK(vdb_filter_vectorized(filter) == 2, "round %d: %d loops", round,
				   vdb_filter_vectorized(filter));
		for (int slice = 0; slice < 2; slice++)
		{
			uint16		before[ROWS];
			int			n;
			int			kept = 0;

			begin_slice();
			n = scan.nrows;
			memcpy(before, scan.at, sizeof(before));
			vdb_filter_slice(filter);
			for (int i = 0; i < n; i++)
			{
				if (!clause_is_true(&a, before[i]) || !clause_is_true(&b, before[i]))
					continue;
				UNIT_CHECK(kept < scan.nrows && scan.at[kept] == before[i] &&
						   scan.index[kept] == ROWS - 1 - before[i],
						   "round %d: types %d and %d, strategy %d: row %d", round, a.left, b.left,
						   a.strategy, before[i]);
				kept++;
			}
			UNIT_CHECK(kept == scan.nrows, "round %d: %d rows, not %d", round, scan.nrows, kept);
			for (int i = 0; i < scan.nrows; i++)
				UNIT_CHECK(vdb_filter_row(filter, i), "no clause is left");
		}
	}
	UNIT_CHECK(make_filter(NIL) == NULL && vdb_filter_vectorized(NULL) == 0,
			   "no clause, no filter");
}

/* A clause of one column, evaluated once for all rows of a slice with the same value. */
static void
test_row_clause(void)
{
	VdbFilter  *filter;

	for (int i = 0; i < ROWS; i++)
	{
		values[0][i] = Int32GetDatum(i % 3);
		nulls[0][i] = false;
	}
	NodeSetTag(&even_clause, T_FuncExpr);
	filter = make_filter(list_of(&even_clause, NULL));
	UNIT_CHECK(vdb_filter_vectorized(filter) == 0, "it is no loop");
	begin_slice();
	vdb_filter_slice(filter);
	mock_calls = 0;
	for (int i = 0; i < scan.nrows; i++)
		UNIT_CHECK(vdb_filter_row(filter, i) == mock_row_passes(&even_clause, scan.at[i]), "row %d",
				   i);
	UNIT_CHECK(mock_calls == 3, "%d calls for three values", mock_calls);
}

/*
 * A constant that may fail, behind a clause that is no loop: no loop before a row has reached it,
 * and one from the next slice on.
 */
static void
test_unreached(void)
{
	Clause		behind = {.left = MOCK_INT4, .right = MOCK_INT4, .column = 1, .strategy = 3,
						  .constant = Int32GetDatum(1)};
	VdbFilter  *filter;
	int			n;

	NodeSetTag(&even_clause, T_FuncExpr);
	for (int i = 0; i < ROWS; i++)
	{
		values[0][i] = Int32GetDatum(1);
		values[1][i] = Int32GetDatum(i % 2);
		nulls[0][i] = nulls[1][i] = false;
	}
	mock_harmless = false;
	filter = make_filter(list_of(&even_clause, make_clause(&behind, true)));
	UNIT_CHECK(vdb_filter_vectorized(filter) == 1, "it can be a loop");
	begin_slice();
	n = scan.nrows;
	vdb_filter_slice(filter);
	UNIT_CHECK(scan.nrows == n, "no row has reached the clause");
	for (int i = 0; i < scan.nrows; i++)
		UNIT_CHECK(!vdb_filter_row(filter, i), "nor does one of odd value");
	begin_slice();
	n = scan.nrows;
	vdb_filter_slice(filter);
	UNIT_CHECK(scan.nrows == n, "still none has");
	for (int i = 0; i < ROWS; i++)
		values[0][i] = Int32GetDatum(2);
	begin_slice();
	vdb_filter_slice(filter);
	for (int i = 0; i < scan.nrows; i++)
		UNIT_CHECK(vdb_filter_row(filter, i) == (scan.at[i] % 2 == 1), "row by row");
	begin_slice();
	n = 0;
	for (int i = 0; i < scan.nrows; i++)
		n += scan.at[i] % 2;
	vdb_filter_slice(filter);
	UNIT_CHECK(scan.nrows == n, "a loop now: %d rows, not %d", scan.nrows, n);
	vdb_filter_rescan(filter);
	begin_slice();
	n = scan.nrows;
	vdb_filter_slice(filter);
	UNIT_CHECK(scan.nrows == n, "none has reached it in the next scan");
}

/* ---- groups ---- */

#define MAX_FOUND	2048

static int	made;

static void
note_made(void *arg, char *states)
{
	for (int i = 0; i < 24; i++)
		UNIT_CHECK(states[i] == 0, "a state that isn't zero");
	memset(states, 1 + made % 100, 24);
	made++;
	mock_bytes += 1000;
}

typedef struct Reference
{
	int			row;				/* of the values that it has kept */
	Datum		key[3];
	bool		isnull[3];
	VdbGroup   *group;
} Reference;

static bool
keys_equal(const Reference *r, int row)
{
	for (int c = 0; c < 3; c++)
	{
		if (r->isnull[c] != nulls[c][row])
			return false;
		if (r->isnull[c])
			continue;
		if (c == 0 ? DatumGetInt32(r->key[c]) != DatumGetInt32(values[c][row]) :
			c == 1 ? !same_text(r->key[c], values[c][row]) :
			compare_floats(DatumGetFloat8(r->key[c]), DatumGetFloat8(values[c][row])) != 0)
			return false;
	}
	return true;
}

static void
fill_keys(void)
{
	fill_column(0, INT4OID);
	fill_column(1, BYTEAOID);
	fill_column(2, FLOAT8OID);
	for (int i = 0; i < ROWS; i++)
	{
		int32		key = DatumGetInt32(values[0][i]) % 3;

		/* the upper half of an int4's Datum doesn't count */
		values[0][i] = unit_random_below(2) == 0 ? Int32GetDatum(key) : (Datum) (uint32) key;
	}
}

static VdbGroups *
make_groups(int nkeys)
{
	static const VdbGroupColumn all[4] = {
		{MOCK_INT4_EQ, INT4OID, InvalidOid}, {MOCK_BYTEA_EQ, BYTEAOID, InvalidOid},
		{MOCK_FLOAT8_EQ, FLOAT8OID, InvalidOid}, {InvalidOid, INT8OID, InvalidOid}
	};

	made = 0;
	mock_bytes = 0;
	CurrentMemoryContext = mock_context(0);
	return vdb_groups_create(all, nkeys == 0 ? 0 : 4, 24, mock_context(1), mock_context(2),
							 note_made, NULL);
}

static void
check_groups(const VdbGroups *groups, const Reference *reference, int n)
{
	VdbGroup   *group = vdb_groups_first(groups);

	for (int g = 0; g < n; g++)
	{
		UNIT_CHECK(group == reference[g].group, "group %d is not in order of appearance", g);
		if (group == NULL)
			return;
		for (int c = 0; c < 4; c++)
		{
			bool		isnull;
			Datum		value = vdb_group_value(groups, group, c, &isnull);

			if (c == 3)
				UNIT_CHECK(DatumGetInt64(value) == reference[g].row, "group %d carries another row",
						   g);
			else
				UNIT_CHECK(isnull == reference[g].isnull[c] &&
						   (isnull || c != 1 || same_text(value, reference[g].key[c])),
						   "group %d, column %d", g, c);
		}
		UNIT_CHECK(vdb_group_states(groups, group)[23] == 1 + g % 100,
				   "group %d has another's state", g);
		group = group->next;
	}
	UNIT_CHECK(group == NULL, "more groups than %d", n);
}

/* Several slices of three keys: the groups are those of a search through all. */
static void
test_groups(void)
{
	static Reference reference[MAX_FOUND];
	static Datum carried[ROWS];
	static const bool not_null[ROWS];

	for (int round = 0; round < 100; round++)
	{
		VdbGroups  *groups = make_groups(3);
		int			known = 0;

		for (int slice = 0; slice < 4; slice++)
		{
			VdbInput	inputs[4] = {{values[0], nulls[0]}, {values[1], nulls[1]},
			{values[2], nulls[2]}, {carried, not_null}};
			VdbGroup   *found[ROWS];
			uint16		at[ROWS];
			int			n;

			fill_keys();
			for (int i = 0; i < ROWS; i++)
				carried[i] = Int64GetDatum(slice * ROWS + i);
			n = choose_rows(at);
			vdb_groups_begin(groups, inputs);
			UNIT_CHECK(vdb_groups_find(groups, at, n, 1000000000, found) == n, "all rows");
			for (int i = 0; i < n; i++)
			{
				int			g = 0;

				while (g < known && !keys_equal(&reference[g], at[i]))
					g++;
				if (g == known && known < MAX_FOUND)
				{
					reference[g].row = slice * ROWS + at[i];
					reference[g].group = found[i];
					for (int c = 0; c < 3; c++)
					{
						reference[g].key[c] = values[c][at[i]];
						reference[g].isnull[c] = nulls[c][at[i]];
					}
					known++;
				}
				UNIT_CHECK(found[i] == reference[g].group, "round %d: row %d is in another group",
						   round, at[i]);
			}
		}
		UNIT_CHECK(made == known, "%d groups, not %d", made, known);
		check_groups(groups, reference, known);
	}
}

/* The limit stops after the row whose group goes over it; what comes after a reset begins anew. */
static void
test_limit(void)
{
	VdbGroups  *groups = make_groups(3);
	VdbInput	inputs[4] = {{values[0], nulls[0]}, {values[1], nulls[1]}, {values[2], nulls[2]},
	{values[0], nulls[0]}};
	VdbGroup   *found[ROWS];
	uint16		at[6] = {0, 1, 2, 3, 4, 5};

	fill_keys();
	for (int i = 0; i < 6; i++)
	{
		values[0][i] = Int32GetDatum(i / 2);	/* two rows a group */
		values[1][i] = values[1][0];
		values[2][i] = Float8GetDatum(i % 2 == 0 ? 0.0 : -0.0);
		nulls[0][i] = nulls[1][i] = nulls[2][i] = false;
	}
	vdb_groups_begin(groups, inputs);
	UNIT_CHECK(vdb_groups_find(groups, at, 6, 1500, found) == 3,
			   "the second group is over the limit");
	UNIT_CHECK(found[0] == found[1] && found[1] != found[2], "both zeroes are one value");
	UNIT_CHECK(vdb_groups_find(groups, at + 3, 1, 1500, found) == 1,
			   "a known group takes no memory");
	vdb_groups_reset(groups);
	UNIT_CHECK(vdb_groups_first(groups) == NULL, "a group after the reset");
	vdb_groups_begin(groups, inputs);
	mock_bytes = 0;
	UNIT_CHECK(vdb_groups_find(groups, at, 6, 1000000, found) == 6 && made == 2 + 3,
			   "%d groups made", made);
	groups = make_groups(0);
	UNIT_CHECK(vdb_groups_only(groups) == vdb_groups_only(groups) && made == 1,
			   "the only group is made once");
}

int
main(void)
{
	shim_init();
	unit_run("kernels take in what their functions would, row by row", test_kernels);
	unit_run("count(*)", test_count_rows);
	unit_run("sums that are too large raise an error", test_overflow);
	unit_run("filters keep the rows for which all clauses are true", test_filters);
	unit_run("a clause that is no loop is evaluated once a value", test_row_clause);
	unit_run("a constant that may fail waits until a row has reached it", test_unreached);
	unit_run("groups are those that a search through all finds", test_groups);
	unit_run("the limit of memory, a reset, the only group", test_limit);
	return unit_finish();
}
