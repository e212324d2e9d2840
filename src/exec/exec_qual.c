/*-------------------------------------------------------------------------
 *
 * exec_qual.c
 *	  Clauses that zone maps can refute.
 *
 * A clause is compiled to a small tree whose leaves compare a column with
 * something that is constant for a scan.  The tree is asked about a chunk's
 * zone maps and answers 'no row can match' or 'may match'; what it doesn't
 * understand, or what a zone map doesn't know, may match.
 *
 * Zone maps were found with the column type's own comparison function and
 * collation, noted in them; a leaf is used only where its comparison orders
 * the same way: an operator of the type's default btree family, the column's
 * collation, and the very function the zone map names.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/stratnum.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "base/vdb_guc.h"
#include "exec/exec.h"

typedef enum PruneKind
{
	PRUNE_UNKNOWN,					/* always may match */
	PRUNE_COMPARE,
	PRUNE_IN,						/* column = ANY (array) */
	PRUNE_NULL_TEST,
	PRUNE_AND,
	PRUNE_OR
} PruneKind;

typedef struct PruneNode
{
	PruneKind	kind;
	int			column;				/* 0-based */
	bool		is_null;			/* PRUNE_NULL_TEST */
	int			strategy;			/* BT*StrategyNumber */
	Oid			zone_cmp;			/* what the zone map must have been found with */
	Oid			collation;
	FmgrInfo	cmp;				/* (column type, comparand type) */
	bool		byval;
	int16		typlen;				/* of the column */
	ExprState  *arg;
	bool		toastable;			/* the comparand may be compressed, or elsewhere */
	bool		unusable;			/* this scan: a comparand that can't be used */
	int			nvalues;			/* comparands of this scan; null ones left out */
	Datum	   *values;
	Oid			element_type;		/* PRUNE_IN */
	List	   *children;
} PruneNode;

struct VdbPruner
{
	PruneNode  *root;				/* AND of all clauses */
	Relation	rel;
	MemoryContext values;			/* comparands, reset at each prepare */
};

/* ---- recognising ---- */

typedef struct Comparison
{
	Var		   *var;
	Expr	   *arg;
	Oid			opno;
	int			strategy;
	Oid			cmp;				/* comparison function for (var, arg) */
	Oid			zone_cmp;
	Oid			collation;
} Comparison;

static Var *
column_of(Node *node, Index varno)
{
	while (node != NULL && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	if (node != NULL && IsA(node, Var))
	{
		Var		   *var = (Var *) node;

		if (var->varno == varno && var->varattno > 0 && var->varlevelsup == 0)
			return var;
	}
	return NULL;
}

/* Constant during one scan: no columns, nothing volatile, no subplan to run. */
bool
vdb_is_comparand(Node *node)
{
	return !contain_var_clause(node) && !contain_volatile_functions(node) &&
		!contain_subplans(node);
}

/* Fill in how the default btree family of the column's type sees this operator; false if it doesn't. */
static bool
find_comparison(Comparison *c)
{
	Oid			type = getBaseType(c->var->vartype);
	TypeCacheEntry *entry = lookup_type_cache(type, TYPECACHE_BTREE_OPFAMILY | TYPECACHE_CMP_PROC);
	Oid			left;
	Oid			right;

	if (!OidIsValid(entry->btree_opf) || !OidIsValid(entry->cmp_proc))
		return false;
	c->strategy = get_op_opfamily_strategy(c->opno, entry->btree_opf);
	if (c->strategy == 0)
		return false;
	op_input_types(c->opno, &left, &right);
	if (left != entry->btree_opintype)
		return false;
	c->cmp = get_opfamily_proc(entry->btree_opf, left, right, BTORDER_PROC);
	c->zone_cmp = entry->cmp_proc;
	return OidIsValid(c->cmp) && c->cmp < FirstNormalObjectId &&
		c->collation == c->var->varcollid;
}

static bool
match_operator(OpExpr *op, Index varno, Comparison *c)
{
	Node	   *left;
	Node	   *right;

	if (list_length(op->args) != 2)
		return false;
	left = linitial(op->args);
	right = lsecond(op->args);
	c->opno = op->opno;
	c->collation = op->inputcollid;
	if ((c->var = column_of(left, varno)) != NULL && vdb_is_comparand(right))
		c->arg = (Expr *) right;
	else if ((c->var = column_of(right, varno)) != NULL && vdb_is_comparand(left))
	{
		c->arg = (Expr *) left;
		c->opno = get_commutator(op->opno);
		if (!OidIsValid(c->opno))
			return false;
	}
	else
		return false;
	return find_comparison(c);
}

static bool
match_array(ScalarArrayOpExpr *op, Index varno, Comparison *c)
{
	if (!op->useOr)
		return false;
	c->var = column_of(linitial(op->args), varno);
	if (c->var == NULL || !vdb_is_comparand(lsecond(op->args)))
		return false;
	c->arg = lsecond(op->args);
	c->opno = op->opno;
	c->collation = op->inputcollid;
	return find_comparison(c) && c->strategy == BTEqualStrategyNumber;
}

bool
vdb_prunable(Node *clause, Index varno)
{
	Comparison	c;

	switch (nodeTag(clause))
	{
		case T_OpExpr:
			return match_operator((OpExpr *) clause, varno, &c);
		case T_ScalarArrayOpExpr:
			return match_array((ScalarArrayOpExpr *) clause, varno, &c);
		case T_NullTest:
			return !((NullTest *) clause)->argisrow &&
				column_of((Node *) ((NullTest *) clause)->arg, varno) != NULL;
		case T_BoolExpr:
			{
				BoolExpr   *expr = (BoolExpr *) clause;
				ListCell   *lc;
				bool		all = true;
				bool		any = false;

				foreach(lc, expr->args)
				{
					bool		one = vdb_prunable(lfirst(lc), varno);

					all = all && one;
					any = any || one;
				}
				if (expr->boolop == AND_EXPR)
					return any;
				return expr->boolop == OR_EXPR && all;
			}
		default:
			return false;
	}
}

/* ---- compiling ---- */

static PruneNode *
compile_comparison(const Comparison *c, PruneKind kind, Relation rel, PlanState *parent)
{
	PruneNode  *node = palloc0(sizeof(PruneNode));
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), c->var->varattno - 1);

	node->kind = kind;
	node->column = c->var->varattno - 1;
	node->strategy = c->strategy;
	node->zone_cmp = c->zone_cmp;
	node->collation = c->collation;
	node->byval = att->attbyval;
	node->typlen = att->attlen;
	fmgr_info(c->cmp, &node->cmp);
	node->arg = ExecInitExpr(c->arg, parent);
	node->toastable = get_typlen(exprType((Node *) c->arg)) == -1;
	if (kind == PRUNE_IN)
		node->element_type = get_element_type(exprType((Node *) c->arg));
	return node;
}

static PruneNode *compile_clause(Node *clause, Index varno, Relation rel, PlanState *parent);

static PruneNode *
compile_bool(BoolExpr *expr, Index varno, Relation rel, PlanState *parent)
{
	PruneNode  *node = palloc0(sizeof(PruneNode));
	ListCell   *lc;

	node->kind = expr->boolop == AND_EXPR ? PRUNE_AND :
		expr->boolop == OR_EXPR ? PRUNE_OR : PRUNE_UNKNOWN;
	if (node->kind == PRUNE_UNKNOWN)
		return node;
	foreach(lc, expr->args)
		node->children = lappend(node->children, compile_clause(lfirst(lc), varno, rel, parent));
	return node;
}

static PruneNode *
compile_clause(Node *clause, Index varno, Relation rel, PlanState *parent)
{
	PruneNode  *unknown;
	Comparison	c;

	switch (nodeTag(clause))
	{
		case T_OpExpr:
			if (match_operator((OpExpr *) clause, varno, &c))
				return compile_comparison(&c, PRUNE_COMPARE, rel, parent);
			break;
		case T_ScalarArrayOpExpr:
			if (match_array((ScalarArrayOpExpr *) clause, varno, &c))
				return compile_comparison(&c, PRUNE_IN, rel, parent);
			break;
		case T_NullTest:
			{
				NullTest   *test = (NullTest *) clause;
				Var		   *var = column_of((Node *) test->arg, varno);

				if (var != NULL && !test->argisrow)
				{
					PruneNode  *node = palloc0(sizeof(PruneNode));

					node->kind = PRUNE_NULL_TEST;
					node->column = var->varattno - 1;
					node->is_null = test->nulltesttype == IS_NULL;
					return node;
				}
				break;
			}
		case T_BoolExpr:
			return compile_bool((BoolExpr *) clause, varno, rel, parent);
		default:
			break;
	}
	unknown = palloc0(sizeof(PruneNode));
	unknown->kind = PRUNE_UNKNOWN;
	return unknown;
}

VdbPruner *
vdb_pruner_create(List *clauses, Relation rel, Index varno, PlanState *parent)
{
	VdbPruner  *pruner = palloc0(sizeof(VdbPruner));
	ListCell   *lc;

	pruner->rel = rel;
	pruner->root = palloc0(sizeof(PruneNode));
	pruner->root->kind = PRUNE_AND;
	foreach(lc, clauses)
		pruner->root->children = lappend(pruner->root->children,
										 compile_clause(lfirst(lc), varno, rel, parent));
	pruner->values = AllocSetContextCreate(CurrentMemoryContext, "vdb pruning values",
										   ALLOCSET_SMALL_SIZES);
	return pruner;
}

/* ---- comparands of one scan ---- */

static void
prepare_array(PruneNode *node, Datum value)
{
	ArrayType  *array = DatumGetArrayTypeP(value);
	int16		len;
	bool		byval;
	char		align;
	bool	   *nulls;
	Datum	   *elements;
	int			count;

	if (ARR_ELEMTYPE(array) != node->element_type)
	{
		node->unusable = true;
		return;
	}
	get_typlenbyvalalign(node->element_type, &len, &byval, &align);
	deconstruct_array(array, node->element_type, len, byval, align, &elements, &nulls, &count);
	node->values = elements;
	node->nvalues = 0;
	for (int i = 0; i < count; i++)
		if (!nulls[i])
			node->values[node->nvalues++] = elements[i];
}

static void
prepare_node(VdbPruner *pruner, PruneNode *node, ExprContext *econtext)
{
	ListCell   *lc;

	foreach(lc, node->children)
		prepare_node(pruner, lfirst(lc), econtext);
	if (node->kind == PRUNE_COMPARE || node->kind == PRUNE_IN)
	{
		bool		isnull;
		Datum		value = ExecEvalExpr(node->arg, econtext, &isnull);

		node->nvalues = 0;
		node->unusable = false;
		if (isnull)
			return;				/* strict: nothing matches */
		if (node->kind == PRUNE_IN)
		{
			prepare_array(node, value);
			return;
		}

		/* zone maps are compared under a row lock: nothing may have to be fetched then */
		if (node->toastable)
			value = PointerGetDatum(PG_DETOAST_DATUM_PACKED(value));
		node->values = palloc(sizeof(Datum));
		node->values[0] = value;
		node->nvalues = 1;
	}
}

void
vdb_pruner_prepare(VdbPruner *pruner, ExprContext *econtext)
{
	MemoryContext old;

	MemoryContextReset(pruner->values);
	old = MemoryContextSwitchTo(pruner->values);
	prepare_node(pruner, pruner->root, econtext);
	MemoryContextSwitchTo(old);
}

/* ---- asking ---- */

static int
compare(PruneNode *node, Datum zone_value, Datum value)
{
	return DatumGetInt32(FunctionCall2Coll(&node->cmp, node->collation, zone_value, value));
}

static Datum
zone_datum(const PruneNode *node, const char *bytes)
{
	Datum		datum;

	if (!node->byval)
		return PointerGetDatum(bytes);
	memcpy(&datum, bytes, sizeof(Datum));
	return datum;
}

/*
 * Zone maps lie in SCM without a checksum: a bound that does not end where it
 * says must not be followed.
 */
static bool
bound_is_sound(const PruneNode *node, const char *bytes, uint8 len)
{
	if (node->byval)
		return len == sizeof(Datum);
	if (len == 0 || len > VDB_ZONE_BYTES)
		return false;
	if (node->typlen == -1)
		return !VARATT_IS_EXTERNAL(bytes) && !VARATT_IS_COMPRESSED(bytes) &&
			VARSIZE_ANY(bytes) == len;
	if (node->typlen == -2)
		return bytes[len - 1] == '\0';
	return len == node->typlen;
}

static bool
range_matches(PruneNode *node, int strategy, Datum min, Datum max, Datum value)
{
	switch (strategy)
	{
		case BTLessStrategyNumber:
			return compare(node, min, value) < 0;
		case BTLessEqualStrategyNumber:
			return compare(node, min, value) <= 0;
		case BTEqualStrategyNumber:
			return compare(node, min, value) <= 0 && compare(node, max, value) >= 0;
		case BTGreaterEqualStrategyNumber:
			return compare(node, max, value) >= 0;
		case BTGreaterStrategyNumber:
			return compare(node, max, value) > 0;
		default:
			return true;
	}
}

static bool
compare_matches(PruneNode *node, const VdbZone *zone)
{
	Datum		min;
	Datum		max;

	if (node->unusable)
		return true;
	if (node->nvalues == 0 || (zone->flags & VDB_ZONE_HAS_NULLS_ONLY))
		return false;
	if (!(zone->flags & VDB_ZONE_HAS_MINMAX) || zone->cmp_proc != node->zone_cmp ||
		zone->collation != node->collation ||
		node->byval != ((zone->flags & VDB_ZONE_BY_VALUE) != 0) ||
		!bound_is_sound(node, zone->min, zone->min_len) ||
		!bound_is_sound(node, zone->max, zone->max_len))
		return true;
	min = zone_datum(node, zone->min);
	max = zone_datum(node, zone->max);
	for (int i = 0; i < node->nvalues; i++)
		if (range_matches(node, node->strategy, min, max, node->values[i]))
			return true;
	return false;
}

static bool
node_matches(PruneNode *node, VdbZoneReader *zones, int chunk)
{
	const VdbZone *zone;
	ListCell   *lc;

	switch (node->kind)
	{
		case PRUNE_AND:
			foreach(lc, node->children)
				if (!node_matches(lfirst(lc), zones, chunk))
					return false;
			return true;
		case PRUNE_OR:
			foreach(lc, node->children)
				if (node_matches(lfirst(lc), zones, chunk))
					return true;
			return false;
		case PRUNE_UNKNOWN:
			return true;
		default:
			break;
	}
	if (node->column >= zones->meta->ncolumns)
		return true;				/* added later: the missing value may be anything */
	zone = vdb_zone_read(zones, chunk, node->column);
	if (zone == NULL)
		return true;			/* too many for a meta: it has none; or damaged */
	if (node->kind == PRUNE_NULL_TEST)
		return node->is_null ? zone->null_count > 0 : !(zone->flags & VDB_ZONE_HAS_NULLS_ONLY);
	return compare_matches(node, zone);
}

bool
vdb_pruner_match(void *arg, VdbZoneReader *zones, uint8 *chunk_match)
{
	VdbPruner  *pruner = (VdbPruner *) arg;
	bool		any = false;

	for (int chunk = 0; chunk < zones->meta->nchunks; chunk++)
	{
		chunk_match[chunk] = node_matches(pruner->root, zones, chunk);
		any = any || chunk_match[chunk];
	}
	return any;
}
