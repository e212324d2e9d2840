/*-------------------------------------------------------------------------
 *
 * exec_agg_plan.c
 *	  Offer aggregation over slices to the planner.
 *
 * The path is the lower half of a two-stage aggregation over our scan: it returns
 * partial results, and core's Agg node combines and finishes them.  So it need not
 * spill.  When its memory is full it hands its groups up and starts over, and
 * core's node, which can spill, combines the parts of a group.  HAVING, the target
 * list and parallel plans are left to core, too.
 *
 * If the planner expects more groups than fit into memory, or few rows per group,
 * core's own aggregation has the lower cost and is chosen.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/nodeAgg.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/planner.h"
#include "optimizer/prep.h"
#include "optimizer/tlist.h"

#include "base/vdb_compat.h"
#include "base/vdb_guc.h"
#include "exec/exec.h"
#include "exec/exec_private.h"

/* The cost per row, relative to the same work in core's node, which goes row by row. */
#define VDB_AGG_CPU_FACTOR		0.25

/*
 * The cost of starting and ending the node, in units of cpu_operator_cost.  Because of it, small
 * tables are left to core.
 */
#define VDB_AGG_SETUP			10000

static create_upper_paths_hook_type previous_upper_hook = NULL;

static Plan *plan_agg_path(PlannerInfo *root, RelOptInfo *rel, CustomPath *path, List *tlist,
						   List *clauses, List *custom_plans);

static const CustomPathMethods agg_path_methods = {
	.CustomName = VDB_AGG_NAME,
	.PlanCustomPath = plan_agg_path
};

static const CustomScanMethods agg_methods = {
	.CustomName = VDB_AGG_NAME,
	.CreateCustomScanState = vdb_create_agg_state
};

/* What all our paths of one query level have in common. */
typedef struct AggChoice
{
	PlannerInfo *root;
	RelOptInfo *input_rel;
	RelOptInfo *grouped_rel;
	RelOptInfo *partial_rel;		/* parent of the partial paths; nothing is added to it */
	PathTarget *target;				/* of the partial results */
	List	   *group_exprs;
	List	   *eq_ops;				/* of each column of the target; 0: not grouped by it */
	Node	   *having;
	bool		grouped;			/* there is a GROUP BY, maybe of constants only: without rows
									 * there is no group */
	bool		can_sort;
	double		called;				/* fraction of the aggregates that are called row by row */
	Size		group_bytes;		/* estimated memory of a group */
	AggClauseCosts partial_costs;
	AggClauseCosts final_costs;
} AggChoice;

/* ---- what is aggregated ---- */

/* Return the equality operator of a column of the target, if it is a grouping column. */
static Oid
grouping_operator(AggChoice *choice, PathTarget *target, int i)
{
	Index		ref = get_pathtarget_sortgroupref(target, i);
	SortGroupClause *clause = ref == 0 ? NULL :
		get_sortgroupref_clause_noerr(ref, vdb_group_clause(choice->root));

	return clause != NULL ? clause->eqop : InvalidOid;
}

/*
 * Make the target of the lower half.  It has the grouping columns as they are.  Of
 * the other expressions, and of HAVING, it has the aggregates (made partial) and
 * columns that they contain.
 */
static void
make_target(AggChoice *choice)
{
	PathTarget *whole = choice->grouped_rel->reltarget;
	PathTarget *target = create_empty_pathtarget();
	List	   *others = NIL;
	ListCell   *lc;

	foreach(lc, whole->exprs)
	{
		int			i = foreach_current_index(lc);

		if (OidIsValid(grouping_operator(choice, whole, i)))
			add_column_to_pathtarget(target, lfirst(lc), get_pathtarget_sortgroupref(whole, i));
		else
			others = lappend(others, lfirst(lc));
	}
	if (choice->having != NULL)
		others = lappend(others, choice->having);
	add_new_columns_to_pathtarget(target,
								  pull_var_clause((Node *) others,
												  PVC_INCLUDE_AGGREGATES |
												  PVC_RECURSE_WINDOWFUNCS |
												  PVC_INCLUDE_PLACEHOLDERS));
	foreach(lc, target->exprs)
	{
		if (IsA(lfirst(lc), Aggref))
		{
			Aggref	   *partial = makeNode(Aggref);

			*partial = *lfirst_node(Aggref, lc);
			mark_partial_aggref(partial, AGGSPLIT_INITIAL_SERIAL);
			lfirst(lc) = partial;
		}
	}
	choice->target = set_pathtarget_cost_width(choice->root, target);
}

/* Check each column of the target.  Returns false if we can't compute one of them. */
static bool
check_target_columns(AggChoice *choice)
{
	int			aggregates = 0;
	int			called = 0;
	int			grouped = 0;
	ListCell   *lc;

	foreach(lc, choice->target->exprs)
	{
		Node	   *expr = lfirst(lc);
		Oid			eq_op = grouping_operator(choice, choice->target, foreach_current_index(lc));
		bool		vectorized;

		if (IsA(expr, Aggref))
		{
			if (!vdb_aggregate_known((Aggref *) expr, &vectorized))
				return false;
			aggregates++;
			called += vectorized ? 0 : 1;
		}
		else if (OidIsValid(eq_op))
		{
			choice->group_exprs = lappend(choice->group_exprs, expr);
			grouped++;
		}
		else if (!IsA(expr, Var))
			return false;
		choice->eq_ops = lappend_oid(choice->eq_ops, eq_op);
	}
	choice->called = aggregates > 0 ? (double) called / aggregates : 0;
	choice->group_bytes = MAXALIGN(choice->target->width) + 64 + 32 * aggregates +
		choice->partial_costs.transitionSpace;
	/* each grouping column must be in the target, or there would be too few groups */
	return grouped == list_length(vdb_group_clause(choice->root)) &&
		!contain_subplans((Node *) choice->target->exprs);
}

/* ---- paths ---- */

/* Return true if the path is our scan of the relation, without parameters. */
static bool
is_our_scan(Path *path, RelOptInfo *rel)
{
	return IsA(path, CustomPath) && path->parent == rel && path->param_info == NULL &&
		((CustomPath *) path)->methods == &vdb_scan_path_methods;
}

/* Find our scan, below a projection if there is one: we compute the projection's expressions. */
static Path *
find_scan(List *paths, RelOptInfo *rel)
{
	ListCell   *lc;

	foreach(lc, paths)
	{
		Path	   *path = lfirst(lc);

		if (IsA(path, ProjectionPath))
			path = ((ProjectionPath *) path)->subpath;
		if (is_our_scan(path, rel))
			return path;
	}
	return NULL;
}

/*
 * Estimate the number of rows handed up: as many as there are groups or, if these don't fit into
 * memory, as there are rows.
 */
static double
rows_handed_up(AggChoice *choice, double rows)
{
	double		groups = 1;

	Assert(choice->group_bytes > 0);
	if (choice->group_exprs != NIL)
		groups = vdb_estimate_groups(choice->root, choice->group_exprs, rows);
	return groups * choice->group_bytes > get_hash_memory_limit() ? rows : groups;
}

/* Estimate rows and costs of a partial path over the scan. */
static void
cost_path(AggChoice *choice, Path *path, const Path *scan)
{
	QualCost	keys;
	double		factor = choice->called + (1 - choice->called) * VDB_AGG_CPU_FACTOR;
	Cost		row;

	cost_qual_eval_node(&keys, (Node *) choice->group_exprs, choice->root);
	row = keys.per_tuple + factor * choice->partial_costs.transCost.per_tuple +
		VDB_AGG_CPU_FACTOR * cpu_operator_cost * list_length(choice->group_exprs);
	path->rows = rows_handed_up(choice, scan->rows);
	path->startup_cost = scan->total_cost + keys.startup + choice->partial_costs.transCost.startup +
		choice->target->cost.startup + row * scan->rows + VDB_AGG_SETUP * cpu_operator_cost;
	path->total_cost = path->startup_cost + path->rows *
		(cpu_tuple_cost + choice->partial_costs.finalCost.per_tuple);
	if (vdb_debug_aggregate)
	{
		/* next to nothing, but parallel plans stay cheaper than others */
		path->startup_cost *= 0.001;
		path->total_cost *= 0.001;
	}
}

/* Make the path of the lower half over a scan. */
static Path *
make_partial_path(AggChoice *choice, Path *scan)
{
	CustomPath *path = makeNode(CustomPath);

	Assert(list_length(choice->eq_ops) == list_length(choice->target->exprs));
	path->path.pathtype = T_CustomScan;
	path->path.parent = choice->partial_rel;
	path->path.pathtarget = choice->target;
	path->path.parallel_safe = scan->parallel_safe && choice->grouped_rel->consider_parallel;
	path->path.parallel_workers = scan->parallel_workers;
	path->flags = 0;
	vdb_path_disabled_like(&path->path, scan);
	path->custom_paths = list_make1(scan);
	path->custom_private = list_make2(choice->eq_ops, makeBoolean(choice->grouped));
	path->methods = &agg_path_methods;
	cost_path(choice, &path->path, scan);
	return &path->path;
}

/*
 * Sort partial results by the grouping columns.  A column that equals a constant is
 * in no pathkey.  If all of them do, the rows are one group and need no sort (and
 * the executor can't sort by no column).
 */
static Path *
in_group_order(AggChoice *choice, Path *partial)
{
	List	   *pathkeys = choice->root->group_pathkeys;

	if (pathkeys == NIL)
		return partial;
	return (Path *) create_sort_path(choice->root, choice->partial_rel, partial, pathkeys, -1.0);
}

/* Add a path of core's Agg node, with this strategy, over the partial results. */
static void
add_final_path(AggChoice *choice, Path *partial, AggStrategy strategy, double groups)
{
	RelOptInfo *rel = choice->grouped_rel;

	add_path(rel, (Path *) create_agg_path(choice->root, rel, partial, rel->reltarget, strategy,
										   AGGSPLIT_FINAL_DESERIAL,
										   vdb_group_clause(choice->root),
										   (List *) choice->having,
										   &choice->final_costs, groups));
}

/* Add paths of the upper half, with all strategies that core has for it. */
static void
add_final_paths(AggChoice *choice, Path *partial)
{
	double		groups = choice->group_exprs == NIL ? 1 :
		vdb_estimate_groups(choice->root, choice->group_exprs, choice->input_rel->rows);

	if (!choice->grouped)
	{
		add_final_path(choice, partial, AGG_PLAIN, groups);
		return;
	}
	add_final_path(choice, partial, AGG_HASHED, groups);
	if (choice->can_sort)
		add_final_path(choice, in_group_order(choice, partial), AGG_SORTED, groups);
}

/* Add paths with a Gather node between the two halves. */
static void
add_parallel_path(AggChoice *choice, Path *scan)
{
	Path	   *partial = make_partial_path(choice, scan);
	double		rows = partial->rows * partial->parallel_workers;

	if (!partial->parallel_safe)
		return;
	add_final_paths(choice, (Path *) create_gather_path(choice->root, choice->partial_rel, partial,
														choice->target, NULL, &rows));
}

/*
 * Return true if there are quals that are constant for the whole query.  They are
 * checked by a Result node above the scan, which we would bypass.
 */
static bool
has_gate(RelOptInfo *rel)
{
	ListCell   *lc;

	foreach(lc, rel->baserestrictinfo)
	{
		if (lfirst_node(RestrictInfo, lc)->pseudoconstant)
			return true;
	}
	return false;
}

/* Return the parent of the partial paths, set up if necessary. */
static RelOptInfo *
partial_rel(AggChoice *choice)
{
	RelOptInfo *rel = fetch_upper_rel(choice->root, UPPERREL_PARTIAL_GROUP_AGG,
									  choice->grouped_rel->relids);

	if (rel->reltarget == NULL || rel->reltarget->exprs == NIL)
	{
		rel->reltarget = choice->target;
		rel->reloptkind = choice->grouped_rel->reloptkind;
		rel->consider_parallel = choice->grouped_rel->consider_parallel;
	}
	return rel;
}

/* Add our paths for a grouped relation, if we can compute its target. */
static void
offer(PlannerInfo *root, RelOptInfo *input_rel, RelOptInfo *grouped_rel,
	  GroupPathExtraData *extra)
{
	AggChoice	choice = {0};
	Path	   *serial = find_scan(input_rel->pathlist, input_rel);
	Path	   *parallel = find_scan(input_rel->partial_pathlist, input_rel);

	if (serial == NULL && parallel == NULL)
		return;
	choice.root = root;
	choice.input_rel = input_rel;
	choice.grouped_rel = grouped_rel;
	choice.having = extra->havingQual;
	choice.grouped = root->parse->groupClause != NIL;
	choice.can_sort = (extra->flags & GROUPING_CAN_USE_SORT) != 0;
	get_agg_clause_costs(root, AGGSPLIT_INITIAL_SERIAL, &choice.partial_costs);
	get_agg_clause_costs(root, AGGSPLIT_FINAL_DESERIAL, &choice.final_costs);
	make_target(&choice);
	if (!check_target_columns(&choice))
		return;
	choice.partial_rel = partial_rel(&choice);
	if (serial != NULL)
		add_final_paths(&choice, make_partial_path(&choice, serial));
	if (parallel != NULL)
		add_parallel_path(&choice, parallel);
}

/* Add our paths for an aggregation (create_upper_paths_hook). */
static void
vdb_upper_paths(PlannerInfo *root, UpperRelationKind stage, RelOptInfo *input_rel,
				RelOptInfo *output_rel, void *extra)
{
	GroupPathExtraData *grouping = (GroupPathExtraData *) extra;

	if (previous_upper_hook)
		previous_upper_hook(root, stage, input_rel, output_rel, extra);
	if (stage != UPPERREL_GROUP_AGG || grouping == NULL || !vdb_enable_aggregate)
		return;
	if (!(grouping->flags & GROUPING_CAN_PARTIAL_AGG))
		return;
	if (root->parse->groupClause != NIL && !(grouping->flags & GROUPING_CAN_USE_HASH))
		return;
	if (!IS_SIMPLE_REL(input_rel) || has_gate(input_rel))
		return;
	offer(root, input_rel, output_rel, grouping);
}

/* ---- the plan ---- */

/* Make the plan node (PlanCustomPath). */
static Plan *
plan_agg_path(PlannerInfo *root, RelOptInfo *rel, CustomPath *path, List *tlist,
			  List *clauses, List *custom_plans)
{
	CustomScan *scan = makeNode(CustomScan);

	Assert(list_length(custom_plans) == 1 && list_length(path->custom_private) == 2);
	scan->scan.plan.targetlist = tlist;
	scan->scan.scanrelid = 0;
	scan->flags = path->flags;
	scan->custom_plans = custom_plans;
	scan->custom_scan_tlist = copyObject(tlist);
	scan->custom_private = path->custom_private;
	scan->methods = &agg_methods;
	return &scan->scan.plan;
}

void
vdb_agg_init(void)
{
	previous_upper_hook = create_upper_paths_hook;
	create_upper_paths_hook = vdb_upper_paths;
	RegisterCustomScanMethods(&agg_methods);
}
