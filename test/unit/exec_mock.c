/*
 * exec_mock.c
 *	  What exec_mock.h promises: a catalog of made-up operators, types' functions,
 *	  expressions that evaluate constants, and enough else for src/exec's filters,
 *	  groups and kernels to link.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/datum.h"
#include "utils/float.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "exec/exec_private.h"

#include "exec_mock.h"

MemoryContext CurrentMemoryContext;
Size		mock_bytes;
int			mock_at;
int			mock_calls;
bool		mock_harmless = true;
Datum		mock_array[3];
int			mock_array_length;

static MemoryContextData contexts[8];

/* ---- memory: contexts are names only ---- */

MemoryContext
AllocSetContextCreateInternal(MemoryContext parent, const char *name, Size min, Size init, Size max)
{
	return &contexts[7];
}

MemoryContext
mock_context(int number)
{
	return &contexts[number];
}

void
MemoryContextReset(MemoryContext context)
{
}

Size
MemoryContextMemAllocated(MemoryContext context, bool recurse)
{
	return mock_bytes;
}

void *
MemoryContextAllocZero(MemoryContext context, Size size)
{
	return palloc0(size);
}

void *
MemoryContextAllocExtended(MemoryContext context, Size size, int flags)
{
	return palloc0(size);
}

/* ---- types and operators ---- */

/* Operators are numbered: (type left, type right, strategy); strategy 6 is <>. */
Oid
mock_operator(int left, int right, int strategy)
{
	return 1000 + left * 100 + right * 10 + strategy;
}

static const Oid type_oids[MOCK_TYPES] = {
	INT2OID, INT4OID, INT8OID, OIDOID, FLOAT4OID, FLOAT8OID, DATEOID, TIMESTAMPTZOID, TEXTOID
};

Oid
mock_type(int type)
{
	return type_oids[type];
}

void
op_input_types(Oid opno, Oid *left, Oid *right)
{
	*left = mock_type((opno - 1000) / 100);
	*right = mock_type((opno - 1000) / 10 % 10);
}

TypeCacheEntry *
lookup_type_cache(Oid type_id, int flags)
{
	static TypeCacheEntry entry;

	entry.btree_opf = 1;
	return &entry;
}

int
get_op_opfamily_strategy(Oid opno, Oid opfamily)
{
	return opno % 10 <= 5 ? opno % 10 : 0;
}

Oid
get_negator(Oid opno)
{
	return opno % 10 == 6 ? opno - 3 : InvalidOid;
}

/* a < b is b > a. */
Oid
get_commutator(Oid opno)
{
	int			strategy = opno % 10;

	return mock_operator((opno - 1000) / 10 % 10, (opno - 1000) / 100,
						 strategy <= 5 ? 6 - strategy : strategy);
}

bool
get_collation_isdeterministic(Oid colloid)
{
	return true;
}

RegProcedure
get_opcode(Oid opno)
{
	switch (opno)
	{
		case MOCK_INT4_EQ:
			return F_INT4EQ;
		case MOCK_BYTEA_EQ:
			return F_BYTEAEQ;
		default:
			return F_FLOAT8EQ;
	}
}

bool
get_op_hash_functions(Oid opno, RegProcedure *lhs, RegProcedure *rhs)
{
	*lhs = *rhs = F_HASHFLOAT8;
	return true;
}

void
get_typlenbyval(Oid typid, int16 *typlen, bool *typbyval)
{
	*typbyval = typid != BYTEAOID;
	*typlen = typid == BYTEAOID ? -1 : typid == INT4OID ? 4 : 8;
}

void
fmgr_info(Oid function_id, FmgrInfo *info)
{
	memset(info, 0, sizeof(*info));
	info->fn_oid = function_id;
}

/* hashfloat8: both zeroes are one, and so are all NaNs. */
Datum
FunctionCall1Coll(FmgrInfo *flinfo, Oid collation, Datum arg1)
{
	float8		value = DatumGetFloat8(arg1);

	if (value == 0)
		value = 0;
	if (isnan(value))
		value = get_float8_nan();
	return UInt32GetDatum(hash_bytes((unsigned char *) &value, sizeof(value)));
}

Datum
FunctionCall2Coll(FmgrInfo *flinfo, Oid collation, Datum arg1, Datum arg2)
{
	return BoolGetDatum(float8_eq(DatumGetFloat8(arg1), DatumGetFloat8(arg2)));
}

/* ---- values ---- */

struct varlena *
pg_detoast_datum_packed(struct varlena *datum)
{
	return datum;
}

struct varlena *
pg_detoast_datum_copy(struct varlena *datum)
{
	struct varlena *copy = palloc(VARSIZE_ANY(datum));

	memcpy(copy, datum, VARSIZE_ANY(datum));
	return copy;
}

struct varlena *
detoast_external_attr(struct varlena *attr)
{
	abort();
}

Datum
datumCopy(Datum value, bool by_value, int length)
{
	return by_value ? value :
		PointerGetDatum(pg_detoast_datum_copy((struct varlena *) DatumGetPointer(value)));
}

/* Its elements are in mock_array. */
ArrayType *
construct_array(Datum *elems, int nelems, Oid elmtype, int elmlen, bool elmbyval, char elmalign)
{
	memcpy(mock_array, elems, sizeof(Datum) * nelems);
	mock_array_length = nelems;
	return NULL;
}

void
float_overflow_error(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("value out of range: overflow")));
}

/* ---- expressions: constants, parameters that hold one, and mock_row_is_even() ---- */

List *
list_make1_impl(NodeTag t, ListCell datum1)
{
	List	   *list = palloc0(offsetof(List, initial_elements) + sizeof(ListCell));

	list->type = t;
	list->length = list->max_length = 1;
	list->elements = list->initial_elements;
	list->elements[0] = datum1;
	return list;
}

bool
vdb_is_constant(Node *node)
{
	return IsA(node, Const) || IsA(node, Param);
}

bool
vdb_is_harmless(Node *node, ExprContext *econtext)
{
	return IsA(node, Const) || mock_harmless;
}

static Datum
evaluate_constant(ExprState *state, ExprContext *econtext, bool *isnull)
{
	const Const *value = IsA(state->expr, Param) ?
		((MockParam *) state->expr)->value : (Const *) state->expr;

	*isnull = value->constisnull;
	return value->constvalue;
}

ExprState *
ExecInitExpr(Expr *node, PlanState *parent)
{
	ExprState  *state = palloc0(sizeof(ExprState));

	state->expr = node;
	state->evalfunc = evaluate_constant;
	return state;
}

static Datum
evaluate_row(ExprState *state, ExprContext *econtext, bool *isnull)
{
	const List *quals = (const List *) state->expr;

	mock_calls++;
	*isnull = false;
	return BoolGetDatum(mock_row_passes(linitial(quals), mock_at));
}

ExprState *
ExecInitQual(List *qual, PlanState *parent)
{
	ExprState  *state = palloc0(sizeof(ExprState));

	state->flags = EEO_FLAG_IS_QUAL;
	state->expr = (Expr *) qual;
	state->evalfunc = evaluate_row;
	return state;
}

bool
contain_volatile_functions(Node *clause)
{
	return false;
}

bool
contain_subplans(Node *clause)
{
	return false;
}

/* Sets of attributes have one word. */
static uint64 attrs_word;

void
pull_varattnos(Node *node, Index varno, Bitmapset **varattnos)
{
	const Node *clause = linitial((List *) node);

	attrs_word = UINT64CONST(1) << (mock_row_attno(clause) - FirstLowInvalidHeapAttributeNumber);
	*varattnos = (Bitmapset *) &attrs_word;
}

bool
bms_is_member(int x, const Bitmapset *a)
{
	return a != NULL && (*(const uint64 *) a >> x & 1) != 0;
}

BMS_Membership
bms_membership(const Bitmapset *a)
{
	uint64		word = a == NULL ? 0 : *(const uint64 *) a;

	return word == 0 ? BMS_EMPTY_SET : (word & (word - 1)) == 0 ? BMS_SINGLETON : BMS_MULTIPLE;
}

void
bms_free(Bitmapset *a)
{
}

/* ---- the scan ---- */

void
vdb_slice_need(VdbScanState *scan, int column)
{
	if (column < 0 || column >= scan->ncolumns)
		abort();
}

TupleTableSlot *
vdb_slice_fill(VdbScanState *scan, int i, const int *columns, int ncolumns)
{
	mock_at = scan->at[i];
	return NULL;
}

bool
vdb_pruner_reached(VdbPruner *pruner, int place, VdbOutcome outcome)
{
	abort();
}
