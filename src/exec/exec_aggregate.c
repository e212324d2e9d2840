/*-------------------------------------------------------------------------
 *
 * exec_aggregate.c
 *	  Compute one aggregate, by a kernel if there is one, else by its own transition
 *	  function.
 *
 * The result is partial: the transition value, serialized if it is of type
 * internal.  Core's Agg node above combines and finishes.  So all aggregates that
 * core can compute in parallel could be computed here.  But only core's own
 * functions are called, since others may expect of their caller what only core's
 * node provides.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_aggregate.h"
#include "fmgr.h"
#include "optimizer/optimizer.h"
#include "parser/parse_agg.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "exec/exec_private.h"

/* State of an aggregate without a kernel. */
typedef struct CalledState
{
	Datum		value;
	bool		isnull;
	bool		none;				/* no value yet: if strict, the first input becomes the value */
} CalledState;

/* See exec_private.h. */
struct VdbAggregate
{
	const VdbKernel *kernel;		/* or NULL; then the fields below are used */
	int			nargs;
	bool		byval;				/* of the transition type */
	int16		typlen;				/* of the transition type */
	Datum		initial;			/* initial transition value */
	bool		initial_null;
	FmgrInfo	transfn;
	FunctionCallInfo call;			/* of the transition function */
	bool		serialized;			/* the result is serialized */
	FmgrInfo	serialfn;
	FunctionCallInfo serial_call;	/* of the serialization function */
	AggState   *call_context;		/* the calls' context; is never run */
};

/* Return true if the function is core's own, or InvalidOid. */
static bool
is_core_function(Oid function)
{
	return function < FirstGenbkiObjectId;
}

bool
vdb_aggregate_known(const Aggref *aggref, bool *vectorized)
{
	HeapTuple	tuple;
	Form_pg_aggregate form;
	bool		known;

	if (vectorized != NULL)
		*vectorized = false;
	if (aggref->aggkind != AGGKIND_NORMAL || aggref->aggorder != NIL ||
		aggref->aggdistinct != NIL || aggref->aggdirectargs != NIL)
		return false;
	tuple = SearchSysCache1(AGGFNOID, ObjectIdGetDatum(aggref->aggfnoid));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for aggregate %u", aggref->aggfnoid);
	form = (Form_pg_aggregate) GETSTRUCT(tuple);
	known = is_core_function(aggref->aggfnoid) && is_core_function(form->aggtransfn) &&
		is_core_function(form->aggserialfn) && OidIsValid(form->aggcombinefn);
	if (known && vectorized != NULL)
		*vectorized = vdb_kernel_find(form->aggtransfn) != NULL;
	ReleaseSysCache(tuple);
	return known;
}

/* ---- making ---- */

/* Read the initial transition value from the aggregate's pg_aggregate row. */
static void
read_initial(VdbAggregate *aggregate, HeapTuple tuple, Oid transtype)
{
	Oid			input;
	Oid			param;
	char	   *string;
	Datum		value = SysCacheGetAttr(AGGFNOID, tuple, Anum_pg_aggregate_agginitval,
										&aggregate->initial_null);

	if (aggregate->initial_null)
		return;
	getTypeInputInfo(transtype, &input, &param);
	string = TextDatumGetCString(value);
	aggregate->initial = OidInputFunctionCall(input, string, param, -1);
	pfree(string);
}

/* Set up the calls of the transition function. */
static void
prepare_transition(VdbAggregate *aggregate, const Aggref *aggref, Oid transfn)
{
	Oid			types[FUNC_MAX_ARGS];
	int			ntypes = get_aggregate_argtypes((Aggref *) aggref, types);
	Expr	   *expr;

	Assert(aggregate->nargs < FUNC_MAX_ARGS);
	build_aggregate_transfn_expr(types, ntypes, 0, aggref->aggvariadic, aggref->aggtranstype,
								 aggref->inputcollid, transfn, InvalidOid, &expr, NULL);
	fmgr_info(transfn, &aggregate->transfn);
	fmgr_info_set_expr((Node *) expr, &aggregate->transfn);
	aggregate->call = palloc0(SizeForFunctionCallInfo(aggregate->nargs + 1));
	InitFunctionCallInfoData(*aggregate->call, &aggregate->transfn, aggregate->nargs + 1,
							 aggref->inputcollid, (Node *) aggregate->call_context, NULL);
}

/* Set up the calls of the serialization function. */
static void
prepare_serialization(VdbAggregate *aggregate, const Aggref *aggref, Oid serialfn)
{
	Expr	   *expr;

	aggregate->serialized = true;
	build_aggregate_serialfn_expr(serialfn, &expr);
	fmgr_info(serialfn, &aggregate->serialfn);
	fmgr_info_set_expr((Node *) expr, &aggregate->serialfn);
	aggregate->serial_call = palloc0(SizeForFunctionCallInfo(1));
	InitFunctionCallInfoData(*aggregate->serial_call, &aggregate->serialfn, 1, InvalidOid,
							 (Node *) aggregate->call_context, NULL);
}

VdbAggregate *
vdb_aggregate_create(const Aggref *aggref, AggState *call_context)
{
	VdbAggregate *aggregate = palloc0(sizeof(VdbAggregate));
	HeapTuple	tuple = SearchSysCache1(AGGFNOID, ObjectIdGetDatum(aggref->aggfnoid));
	Form_pg_aggregate form;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for aggregate %u", aggref->aggfnoid);
	form = (Form_pg_aggregate) GETSTRUCT(tuple);
	aggregate->call_context = call_context;
	aggregate->nargs = list_length(aggref->args);
	aggregate->kernel = vdb_kernel_find(form->aggtransfn);
	if (aggregate->kernel == NULL)
	{
		get_typlenbyval(aggref->aggtranstype, &aggregate->typlen, &aggregate->byval);
		read_initial(aggregate, tuple, aggref->aggtranstype);
		prepare_transition(aggregate, aggref, form->aggtransfn);
		if (DO_AGGSPLIT_SERIALIZE(aggref->aggsplit) && aggref->aggtranstype == INTERNALOID)
			prepare_serialization(aggregate, aggref, form->aggserialfn);
	}
	ReleaseSysCache(tuple);
	return aggregate;
}

Size
vdb_aggregate_bytes(const VdbAggregate *aggregate)
{
	return aggregate->kernel != NULL ? aggregate->kernel->bytes : sizeof(CalledState);
}

bool
vdb_aggregate_vectorized(const VdbAggregate *aggregate)
{
	return aggregate->kernel != NULL;
}

/* ---- calling ---- */

/* Return the context of transition values. */
static MemoryContext
value_context(const VdbAggregate *aggregate)
{
	Assert(aggregate->call_context->curaggcontext != NULL);
	return aggregate->call_context->curaggcontext->ecxt_per_tuple_memory;
}

/* Copy a value of the transition type into the context of transition values. */
static Datum
keep(const VdbAggregate *aggregate, Datum value)
{
	MemoryContext old = MemoryContextSwitchTo(value_context(aggregate));

	value = datumCopy(value, aggregate->byval, aggregate->typlen);
	MemoryContextSwitchTo(old);
	return value;
}

void
vdb_aggregate_init(VdbAggregate *aggregate, char *state)
{
	CalledState *s = (CalledState *) state;

	if (aggregate->kernel != NULL)
		return;
	s->isnull = s->none = aggregate->initial_null;
	if (!s->isnull)
		s->value = keep(aggregate, aggregate->initial);
}

/*
 * Do what a strict transition function needs: skip nulls, and make the first input the value.
 * Returns true if the function must not be called for this row.
 */
static bool
spare_strict(VdbAggregate *aggregate, CalledState *s)
{
	FunctionCallInfo call = aggregate->call;

	for (int i = 1; i <= aggregate->nargs; i++)
	{
		if (call->args[i].isnull)
			return true;
	}
	if (s->none)
	{
		Assert(aggregate->nargs > 0);
		s->value = keep(aggregate, call->args[1].value);
		s->isnull = s->none = false;
		return true;
	}
	return s->isnull;			/* it has returned null once */
}

/* Store the function's result in the state.  It may be the old value, changed in place. */
static void
take_value(VdbAggregate *aggregate, CalledState *s, Datum value, bool isnull)
{
	if (aggregate->byval)
		s->value = value;
	else if (isnull || DatumGetPointer(value) != DatumGetPointer(s->value))
	{
		Datum		kept = isnull ? (Datum) 0 : keep(aggregate, value);

		if (!s->isnull)
			pfree(DatumGetPointer(s->value));
		s->value = kept;
	}
	s->isnull = isnull;
}

/* Call the transition function for one row, whose arguments are in place. */
static void
call_transition(VdbAggregate *aggregate, CalledState *s)
{
	FunctionCallInfo call = aggregate->call;
	Datum		value;

	if (aggregate->transfn.fn_strict && spare_strict(aggregate, s))
		return;
	call->args[0].value = s->value;
	call->args[0].isnull = s->isnull;
	call->isnull = false;
	value = FunctionCallInvoke(call);
	take_value(aggregate, s, value, call->isnull);
}

void
vdb_aggregate_call(VdbAggregate *aggregate, char *state, const VdbInput *inputs, int at)
{
	Assert(aggregate->kernel == NULL);
	for (int arg = 0; arg < aggregate->nargs; arg++)
	{
		aggregate->call->args[arg + 1].value = inputs[arg].values[at];
		aggregate->call->args[arg + 1].isnull = inputs[arg].nulls[at];
	}
	call_transition(aggregate, (CalledState *) state);
}

void
vdb_aggregate_add(VdbAggregate *aggregate, char **states, Size offset, bool one,
				  const VdbInput *inputs, const uint16 *at, int n)
{
	Assert(aggregate->kernel != NULL);
	if (one)
		aggregate->kernel->add_one(states[0] + offset, inputs, at, n);
	else
		aggregate->kernel->add(states, offset, inputs, at, n);
}

Datum
vdb_aggregate_result(VdbAggregate *aggregate, char *state, bool *isnull)
{
	CalledState *s = (CalledState *) state;
	FunctionCallInfo call = aggregate->serial_call;
	Datum		value;

	if (aggregate->kernel != NULL)
		return aggregate->kernel->result(state, isnull);
	Assert(aggregate->serialized == (call != NULL));
	*isnull = s->isnull;
	if (!aggregate->serialized || (s->isnull && aggregate->serialfn.fn_strict))
		return s->value;
	call->args[0].value = s->value;
	call->args[0].isnull = s->isnull;
	call->isnull = false;
	value = FunctionCallInvoke(call);
	*isnull = call->isnull;
	return value;
}
