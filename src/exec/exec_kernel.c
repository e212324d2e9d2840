/*-------------------------------------------------------------------------
 *
 * exec_kernel.c
 *	  Kernels: transition functions of common aggregates as loops over slices.
 *
 * A kernel replaces one of core's transition functions.  Its result is exactly the
 * transition value that calling the function row by row, in this order, would
 * give.  So floats are added in row order, and of two equal values the later one is
 * kept where core's function keeps it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/date.h"
#include "utils/float.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"

#include "base/vdb_compat.h"
#include "exec/exec_private.h"

#define CppConcat2(x, y)	CppConcat2_(x, y)
#define CppConcat2_(x, y)	x##y

/* ---- states ---- */

typedef struct CountState
{
	int64		count;
} CountState;

typedef struct SumState
{
	int64		sum;
	int64		count;
} SumState;

typedef struct Float8State
{
	float8		value;
	bool		any;
} Float8State;

typedef struct Float4State
{
	float4		value;
	bool		any;
} Float4State;

/* N, sum of x, and sum of squared differences from the mean, as in core's transition value. */
typedef struct MomentState
{
	float8		n;
	float8		sum;
	float8		squares;
} MomentState;

typedef struct IntState
{
	int64		value;
	bool		any;
} IntState;

/* ---- steps ---- */

#define KERNEL	count_any
#define STATE	CountState
#define STEP(s, datum) ((s)->count++)
#include "exec/exec_kernel_impl.h"

#define KERNEL	sum_int2
#define STATE	SumState
#define STEP(s, datum) ((s)->sum += DatumGetInt16(datum), (s)->count++)
#include "exec/exec_kernel_impl.h"

#define KERNEL	sum_int4
#define STATE	SumState
#define STEP(s, datum) ((s)->sum += DatumGetInt32(datum), (s)->count++)
#include "exec/exec_kernel_impl.h"

/* Add a value to a float8 sum; the first value is taken as it is. */
static inline void
add_float8(Float8State *s, float8 value)
{
	s->value = s->any ? float8_pl(s->value, value) : value;
	s->any = true;
}

#define KERNEL	sum_float8
#define STATE	Float8State
#define STEP(s, datum) add_float8(s, DatumGetFloat8(datum))
#include "exec/exec_kernel_impl.h"

/* Add a value to a float4 sum; the first value is taken as it is. */
static inline void
add_float4(Float4State *s, float4 value)
{
	s->value = s->any ? float4_pl(s->value, value) : value;
	s->any = true;
}

#define KERNEL	sum_float4
#define STATE	Float4State
#define STEP(s, datum) add_float4(s, DatumGetFloat4(datum))
#include "exec/exec_kernel_impl.h"

/*
 * Add a value by Youngs and Cramer's update ("Some Results Relevant to Choice of Sum and
 * Sum-of-Product Algorithms", Technometrics 13, 1971).  Operations are in the same order as in
 * core, since the result must have the same digits.
 */
static inline void
add_moment(MomentState *s, float8 value)
{
	float8		old_n = s->n;
	float8		n = old_n + 1.0;
	float8		sum = s->sum + value;
	float8		squares = s->squares;

	if (old_n > 0.0)
	{
		float8		part = value * n - sum;

		squares += part * part / (n * old_n);
		if (unlikely(isinf(sum) || isinf(squares)))
		{
			if (!isinf(s->sum) && !isinf(value))
				float_overflow_error();
			squares = get_float8_nan();
		}
	}
	else if (isnan(value) || isinf(value))
		squares = get_float8_nan();
	s->n = n;
	s->sum = sum;
	s->squares = squares;
}

#define KERNEL	moment_float8
#define STATE	MomentState
#define STEP(s, datum) add_moment(s, DatumGetFloat8(datum))
#include "exec/exec_kernel_impl.h"

#define KERNEL	moment_float4
#define STATE	MomentState
#define STEP(s, datum) add_moment(s, (float8) DatumGetFloat4(datum))
#include "exec/exec_kernel_impl.h"

/* Replace the value by the new one, unless the old value is strictly better. */
#define EXTREME(s, new, better) \
	do { \
		if (!(s)->any || !better((s)->value, new)) \
			(s)->value = (new); \
		(s)->any = true; \
	} while (0)
#define GREATER(a, b)	((a) > (b))
#define LESS(a, b)		((a) < (b))

#define KERNEL	max_int2
#define STATE	IntState
#define STEP(s, datum) EXTREME(s, DatumGetInt16(datum), GREATER)
#include "exec/exec_kernel_impl.h"

#define KERNEL	min_int2
#define STATE	IntState
#define STEP(s, datum) EXTREME(s, DatumGetInt16(datum), LESS)
#include "exec/exec_kernel_impl.h"

#define KERNEL	max_int4
#define STATE	IntState
#define STEP(s, datum) EXTREME(s, DatumGetInt32(datum), GREATER)
#include "exec/exec_kernel_impl.h"

#define KERNEL	min_int4
#define STATE	IntState
#define STEP(s, datum) EXTREME(s, DatumGetInt32(datum), LESS)
#include "exec/exec_kernel_impl.h"

#define KERNEL	max_int8
#define STATE	IntState
#define STEP(s, datum) EXTREME(s, DatumGetInt64(datum), GREATER)
#include "exec/exec_kernel_impl.h"

#define KERNEL	min_int8
#define STATE	IntState
#define STEP(s, datum) EXTREME(s, DatumGetInt64(datum), LESS)
#include "exec/exec_kernel_impl.h"

#define KERNEL	max_oid
#define STATE	IntState
#define STEP(s, datum) EXTREME(s, DatumGetObjectId(datum), GREATER)
#include "exec/exec_kernel_impl.h"

#define KERNEL	min_oid
#define STATE	IntState
#define STEP(s, datum) EXTREME(s, DatumGetObjectId(datum), LESS)
#include "exec/exec_kernel_impl.h"

#define KERNEL	max_float4
#define STATE	Float4State
#define STEP(s, datum) EXTREME(s, DatumGetFloat4(datum), float4_gt)
#include "exec/exec_kernel_impl.h"

#define KERNEL	min_float4
#define STATE	Float4State
#define STEP(s, datum) EXTREME(s, DatumGetFloat4(datum), float4_lt)
#include "exec/exec_kernel_impl.h"

#define KERNEL	max_float8
#define STATE	Float8State
#define STEP(s, datum) EXTREME(s, DatumGetFloat8(datum), float8_gt)
#include "exec/exec_kernel_impl.h"

#define KERNEL	min_float8
#define STATE	Float8State
#define STEP(s, datum) EXTREME(s, DatumGetFloat8(datum), float8_lt)
#include "exec/exec_kernel_impl.h"

/* ---- results ---- */

/* Return the count. */
static Datum
kernel_count_result(const char *state, bool *isnull)
{
	*isnull = false;
	return Int64GetDatum(((const CountState *) state)->count);
}

/* Return the sum of integers, or null if there were no values. */
static Datum
sum_result(const char *state, bool *isnull)
{
	const SumState *s = (const SumState *) state;

	*isnull = s->count == 0;
	return *isnull ? (Datum) 0 : Int64GetDatum(s->sum);
}

/* Return {count, sum}, the transition value of integer averages, which is never null. */
static Datum
average_result(const char *state, bool *isnull)
{
	const SumState *s = (const SumState *) state;
	Datum		pair[2];

	pair[0] = Int64GetDatum(s->count);
	pair[1] = Int64GetDatum(s->sum);
	*isnull = false;
	return PointerGetDatum(construct_array(pair, 2, INT8OID, sizeof(int64), true, TYPALIGN_DOUBLE));
}

/* Return {N, sum, squares}, the transition value of averages of floats, which is never null. */
static Datum
moment_result(const char *state, bool *isnull)
{
	const MomentState *s = (const MomentState *) state;
	Datum		parts[3];

	parts[0] = Float8GetDatum(s->n);
	parts[1] = Float8GetDatum(s->sum);
	parts[2] = Float8GetDatum(s->squares);
	*isnull = false;
	return PointerGetDatum(construct_array(parts, 3, FLOAT8OID, sizeof(float8), true,
										   TYPALIGN_DOUBLE));
}

/* Return the value of a Float8State, or null if there is none. */
static Datum
float8_result(const char *state, bool *isnull)
{
	const Float8State *s = (const Float8State *) state;

	*isnull = !s->any;
	return *isnull ? (Datum) 0 : Float8GetDatum(s->value);
}

/* Return the value of a Float4State, or null if there is none. */
static Datum
float4_result(const char *state, bool *isnull)
{
	const Float4State *s = (const Float4State *) state;

	*isnull = !s->any;
	return *isnull ? (Datum) 0 : Float4GetDatum(s->value);
}

/* Return the value of an IntState as an int2, or null if there is none. */
static Datum
int2_result(const char *state, bool *isnull)
{
	const IntState *s = (const IntState *) state;

	*isnull = !s->any;
	return *isnull ? (Datum) 0 : Int16GetDatum((int16) s->value);
}

/* Return the value of an IntState as an int4, or null if there is none. */
static Datum
int4_result(const char *state, bool *isnull)
{
	const IntState *s = (const IntState *) state;

	*isnull = !s->any;
	return *isnull ? (Datum) 0 : Int32GetDatum((int32) s->value);
}

/* Return the value of an IntState as an int8, or null if there is none. */
static Datum
int8_result(const char *state, bool *isnull)
{
	const IntState *s = (const IntState *) state;

	*isnull = !s->any;
	return *isnull ? (Datum) 0 : Int64GetDatum(s->value);
}

/* Return the value of an IntState as an Oid, or null if there is none. */
static Datum
oid_result(const char *state, bool *isnull)
{
	const IntState *s = (const IntState *) state;

	*isnull = !s->any;
	return *isnull ? (Datum) 0 : ObjectIdGetDatum((Oid) s->value);
}

/* ---- the list of kernels ---- */

#define LOOPS(name)		name##_add, name##_add_one

static const VdbKernel kernels[] = {
	{F_INT8INC_ANY, sizeof(CountState), LOOPS(count_any), kernel_count_result},
	{F_INT2_SUM, sizeof(SumState), LOOPS(sum_int2), sum_result},
	{F_INT4_SUM, sizeof(SumState), LOOPS(sum_int4), sum_result},
	{F_INT2_AVG_ACCUM, sizeof(SumState), LOOPS(sum_int2), average_result},
	{F_INT4_AVG_ACCUM, sizeof(SumState), LOOPS(sum_int4), average_result},
	{F_FLOAT8PL, sizeof(Float8State), LOOPS(sum_float8), float8_result},
	{F_FLOAT4PL, sizeof(Float4State), LOOPS(sum_float4), float4_result},
	{F_FLOAT8_ACCUM, sizeof(MomentState), LOOPS(moment_float8), moment_result},
	{F_FLOAT4_ACCUM, sizeof(MomentState), LOOPS(moment_float4), moment_result},
	{F_INT2LARGER, sizeof(IntState), LOOPS(max_int2), int2_result},
	{F_INT4LARGER, sizeof(IntState), LOOPS(max_int4), int4_result},
	{F_INT8LARGER, sizeof(IntState), LOOPS(max_int8), int8_result},
	{F_OIDLARGER, sizeof(IntState), LOOPS(max_oid), oid_result},
	{F_DATE_LARGER, sizeof(IntState), LOOPS(max_int4), int4_result},
	{F_TIME_LARGER, sizeof(IntState), LOOPS(max_int8), int8_result},
	{F_TIMESTAMP_LARGER, sizeof(IntState), LOOPS(max_int8), int8_result},
	{F_TIMESTAMPTZ_LARGER, sizeof(IntState), LOOPS(max_int8), int8_result},
	{F_CASHLARGER, sizeof(IntState), LOOPS(max_int8), int8_result},
	{F_FLOAT4LARGER, sizeof(Float4State), LOOPS(max_float4), float4_result},
	{F_FLOAT8LARGER, sizeof(Float8State), LOOPS(max_float8), float8_result},
	{F_INT2SMALLER, sizeof(IntState), LOOPS(min_int2), int2_result},
	{F_INT4SMALLER, sizeof(IntState), LOOPS(min_int4), int4_result},
	{F_INT8SMALLER, sizeof(IntState), LOOPS(min_int8), int8_result},
	{F_OIDSMALLER, sizeof(IntState), LOOPS(min_oid), oid_result},
	{F_DATE_SMALLER, sizeof(IntState), LOOPS(min_int4), int4_result},
	{F_TIME_SMALLER, sizeof(IntState), LOOPS(min_int8), int8_result},
	{F_TIMESTAMP_SMALLER, sizeof(IntState), LOOPS(min_int8), int8_result},
	{F_TIMESTAMPTZ_SMALLER, sizeof(IntState), LOOPS(min_int8), int8_result},
	{F_CASHSMALLER, sizeof(IntState), LOOPS(min_int8), int8_result},
	{F_FLOAT4SMALLER, sizeof(Float4State), LOOPS(min_float4), float4_result},
	{F_FLOAT8SMALLER, sizeof(Float8State), LOOPS(min_float8), float8_result},
};

/* Count rows for count(*), which has no input. */
static void
count_rows_add(char **states, Size offset, const VdbInput *input, const uint16 *at, int n)
{
	for (int i = 0; i < n; i++)
		((CountState *) (states[i] + offset))->count++;
}

/* Same, for rows of one group. */
static void
count_rows_add_one(char *state, const VdbInput *input, const uint16 *at, int n)
{
	((CountState *) state)->count += n;
}

static const VdbKernel count_rows = {
	F_INT8INC, sizeof(CountState), LOOPS(count_rows), kernel_count_result
};

const VdbKernel *
vdb_kernel_find(Oid transfn)
{
	if (transfn == F_INT8INC)
		return &count_rows;
	for (int i = 0; i < lengthof(kernels); i++)
	{
		if (kernels[i].transfn == transfn)
			return &kernels[i];
	}
	return NULL;
}
