/*-------------------------------------------------------------------------
 *
 * exec_qual.c
 *	  Recognize and compile clauses that zone maps can refute.
 *
 * A clause is compiled to a small tree whose leaves compare a column with a
 * constant of the scan.  The tree is evaluated with a chunk's zone maps
 * (exec_prune.c); the result is 'no row can match' or 'may match'.  Parts of a
 * clause that aren't understood, and columns without a zone map, may match.
 *
 * Zone maps were made with the column type's own comparison function and
 * collation, which are noted in them.  A leaf is used only if its comparison
 * orders the same way: by an operator of the type's default btree family, with the
 * column's collation and the very function that the zone map names.  A family may
 * compare different types, and need not order them as each type orders its own
 * values: see order_of_pair.
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
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "exec/exec_prune.h"

/* ---- recognizing ---- */

/* A comparison of a column with a constant; see PruneNode for the fields. */
typedef struct Comparison
{
	Var		   *var;
	Expr	   *arg;
	Oid			opno;				/* operator, with var on its left */
	int			strategy;
	Oid			cmp;				/* comparison function for (var, arg) */
	PruneOrder	order;
	Oid			zone_cmp;
	Oid			collation;
} Comparison;

/* Return the column of varno that the node refers to, ignoring relabeling, or NULL. */
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

/* Return true for integer types. */
static bool
is_integer(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID;
}

/* Return true for floating-point types. */
static bool
is_float(Oid type)
{
	return type == FLOAT4OID || type == FLOAT8OID;
}

/* Return true for the string types that are compared with each other. */
static bool
is_string(Oid type)
{
	return type == TEXTOID || type == NAMEOID;
}

/*
 * Determine how (column op constant) orders the column's values, compared with the column type's
 * own order.  README.md has the table of all pairs and the proofs.  A pair that isn't known is not
 * used.
 */
static PruneOrder
order_of_pair(Oid column, Oid constant)
{
	if (column == constant ||
		(is_integer(column) && is_integer(constant)) ||
		(is_float(column) && is_float(constant)) ||
		(is_string(column) && is_string(constant)) ||
		(column == DATEOID && constant == TIMESTAMPOID) ||
		(column == TIMESTAMPOID && constant == DATEOID))
		return ORDER_SAME;
	if (column == TIMESTAMPTZOID && (constant == DATEOID || constant == TIMESTAMPOID))
		return ORDER_ZONE_CONSTANT;
	if (constant == TIMESTAMPTZOID && (column == DATEOID || column == TIMESTAMPOID))
		return ORDER_ZONE_COLUMN;
	return ORDER_NONE;
}

/*
 * Set up an ORDER_ZONE_COLUMN comparison: the column is compared, unconverted, with bounds of type
 * timestamp (exec_prune.c).  The bounds include values that don't match.
 */
static void
compare_as_timestamp(Comparison *c, Oid family, Oid left)
{
	c->cmp = get_opfamily_proc(family, left, TIMESTAMPOID, BTORDER_PROC);
	if (c->strategy == BTLessStrategyNumber)
		c->strategy = BTLessEqualStrategyNumber;
	else if (c->strategy == BTGreaterStrategyNumber)
		c->strategy = BTGreaterEqualStrategyNumber;
}

/*
 * Fill in strategy, order and comparison functions of an operator in the default btree family of
 * the column's type.  Returns false if the operator can't be used.
 */
static bool
find_comparison(Comparison *c)
{
	Oid			type = getBaseType(c->var->vartype);
	TypeCacheEntry *entry = lookup_type_cache(type, TYPECACHE_BTREE_OPFAMILY | TYPECACHE_CMP_PROC);
	Oid			left;
	Oid			right;

	if (!OidIsValid(entry->btree_opf) || !OidIsValid(entry->cmp_proc) ||
		c->opno >= FirstNormalObjectId)
		return false;
	c->strategy = get_op_opfamily_strategy(c->opno, entry->btree_opf);
	if (c->strategy == 0)
		return false;
	op_input_types(c->opno, &left, &right);
	if (left != entry->btree_opintype)
		return false;
	c->order = order_of_pair(left, right);
	if (c->order == ORDER_NONE)
		return false;
	if (c->order == ORDER_ZONE_COLUMN)
		compare_as_timestamp(c, entry->btree_opf, left);
	else
		c->cmp = get_opfamily_proc(entry->btree_opf, left, right, BTORDER_PROC);
	c->zone_cmp = entry->cmp_proc;
	return OidIsValid(c->cmp) && c->cmp < FirstNormalObjectId &&
		c->collation == c->var->varcollid;
}

/* Fill in a comparison of a column with a constant.  Returns false if 'op' isn't one. */
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
	if ((c->var = column_of(left, varno)) != NULL && vdb_is_constant(right))
		c->arg = (Expr *) right;
	else if ((c->var = column_of(right, varno)) != NULL && vdb_is_constant(left))
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

/* Same for column = ANY (array). */
static bool
match_array(ScalarArrayOpExpr *op, Index varno, Comparison *c)
{
	if (!op->useOr)
		return false;
	c->var = column_of(linitial(op->args), varno);
	if (c->var == NULL || !vdb_is_constant(lsecond(op->args)))
		return false;
	c->arg = lsecond(op->args);
	c->opno = op->opno;
	c->collation = op->inputcollid;
	return find_comparison(c) && c->strategy == BTEqualStrategyNumber;
}

/* Same as vdb_prunable, for AND, OR and NOT. */
static bool
prunable_bool(BoolExpr *expr, Index varno, bool constants)
{
	ListCell   *lc;
	bool		all = true;
	bool		any = false;

	foreach(lc, expr->args)
	{
		bool		one = vdb_prunable(lfirst(lc), varno, constants);

		all = all && one;
		any = any || one;
	}
	if (expr->boolop == AND_EXPR)
		return any;
	return expr->boolop == OR_EXPR && all;
}

bool
vdb_prunable(Node *clause, Index varno, bool constants)
{
	Comparison	c;

	switch (nodeTag(clause))
	{
		case T_OpExpr:
			return match_operator((OpExpr *) clause, varno, &c) &&
				(!constants || IsA(c.arg, Const));
		case T_ScalarArrayOpExpr:
			return match_array((ScalarArrayOpExpr *) clause, varno, &c) &&
				(!constants || IsA(c.arg, Const));
		case T_NullTest:
			return !((NullTest *) clause)->argisrow &&
				column_of((Node *) ((NullTest *) clause)->arg, varno) != NULL;
		case T_BoolExpr:
			return prunable_bool((BoolExpr *) clause, varno, constants);
		default:
			return false;
	}
}

/* ---- compiling ---- */

/* Context of compiling a clause. */
typedef struct Compilation
{
	VdbPruner  *pruner;
	Relation	rel;
	Index		varno;
	PlanState  *parent;				/* NULL: plan time */
} Compilation;

static PruneNode *compile_clause(Compilation *to, Node *clause);

/* Return the column's index in the pruner's columns; it is added if necessary. */
static int
add_column(VdbPruner *pruner, int column)
{
	for (int i = 0; i < pruner->ncolumns; i++)
	{
		if (pruner->columns[i] == column)
			return i;
	}
	pruner->columns[pruner->ncolumns] = column;
	return pruner->ncolumns++;
}

/* Make a node of this kind, otherwise empty. */
static PruneNode *
make_node(PruneKind kind)
{
	PruneNode  *node = palloc0(sizeof(PruneNode));

	node->kind = kind;
	return node;
}

/* Compile a comparison to a leaf. */
static PruneNode *
compile_comparison(Compilation *to, const Comparison *c, PruneKind kind)
{
	PruneNode  *node = make_node(kind);
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(to->rel), c->var->varattno - 1);

	node->column = add_column(to->pruner, c->var->varattno - 1);
	node->strategy = c->strategy;
	node->order = c->order;
	node->zone_cmp = c->zone_cmp;
	node->collation = c->collation;
	node->byval = att->attbyval;
	node->typlen = att->attlen;
	fmgr_info(c->cmp, &node->cmp);
	node->arg = c->arg;
	if (to->parent != NULL && !IsA(c->arg, Const))
		node->arg_state = ExecInitExpr(c->arg, to->parent);
	get_typlenbyval(exprType((Node *) c->arg), &node->arg_typlen, &node->arg_byval);
	if (kind == PRUNE_IN)
		node->element_type = get_element_type(exprType((Node *) c->arg));
	to->pruner->zoned = to->pruner->zoned ||
		c->order == ORDER_ZONE_COLUMN || c->order == ORDER_ZONE_CONSTANT;
	return node;
}

/* Compile AND or OR; NOT may always match. */
static PruneNode *
compile_bool(Compilation *to, BoolExpr *expr)
{
	PruneNode  *node;
	ListCell   *lc;

	if (expr->boolop != AND_EXPR && expr->boolop != OR_EXPR)
		return make_node(PRUNE_UNKNOWN);
	node = make_node(expr->boolop == AND_EXPR ? PRUNE_AND : PRUNE_OR);
	foreach(lc, expr->args)
		node->children = lappend(node->children, compile_clause(to, lfirst(lc)));
	return node;
}

/* Compile a test for null. */
static PruneNode *
compile_null_test(Compilation *to, NullTest *test)
{
	Var		   *var = column_of((Node *) test->arg, to->varno);
	PruneNode  *node;

	if (var == NULL || test->argisrow)
		return make_node(PRUNE_UNKNOWN);
	node = make_node(PRUNE_NULL_TEST);
	node->column = add_column(to->pruner, var->varattno - 1);
	node->is_null = test->nulltesttype == IS_NULL;
	return node;
}

/* Compile a clause, or a part of one, to a tree. */
static PruneNode *
compile_clause(Compilation *to, Node *clause)
{
	Comparison	c;

	switch (nodeTag(clause))
	{
		case T_OpExpr:
			if (match_operator((OpExpr *) clause, to->varno, &c))
				return compile_comparison(to, &c, PRUNE_COMPARE);
			break;
		case T_ScalarArrayOpExpr:
			if (match_array((ScalarArrayOpExpr *) clause, to->varno, &c))
				return compile_comparison(to, &c, PRUNE_IN);
			break;
		case T_NullTest:
			return compile_null_test(to, (NullTest *) clause);
		case T_BoolExpr:
			return compile_bool(to, (BoolExpr *) clause);
		default:
			break;
	}
	return make_node(PRUNE_UNKNOWN);
}

VdbPruner *
vdb_pruner_create(List *filter, List *places, Relation rel, Index varno, PlanState *parent)
{
	VdbPruner  *pruner = palloc0(sizeof(VdbPruner));
	Compilation to = {pruner, rel, varno, parent};
	ListCell   *lc;

	pruner->columns = palloc(sizeof(int) * Max(RelationGetNumberOfAttributes(rel), 1));
	pruner->nclauses = list_length(filter);
	pruner->clauses = palloc0(sizeof(PruneNode *) * Max(pruner->nclauses, 1));
	foreach(lc, places)
	{
		Assert(lfirst_int(lc) < pruner->nclauses);
		pruner->clauses[lfirst_int(lc)] = compile_clause(&to, list_nth(filter, lfirst_int(lc)));
	}
	pruner->values = AllocSetContextCreate(CurrentMemoryContext, "vdb pruning values",
										   ALLOCSET_SMALL_SIZES);
	pruner->temp = AllocSetContextCreate(CurrentMemoryContext, "vdb pruning comparisons",
										 ALLOCSET_SMALL_SIZES);
	return pruner;
}

const int  *
vdb_pruner_columns(const VdbPruner *pruner, int *ncolumns)
{
	*ncolumns = pruner->ncolumns;
	return pruner->columns;
}
