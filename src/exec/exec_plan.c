/*-------------------------------------------------------------------------
 *
 * exec_plan.c
 *	  Offers the custom scan to the planner beside each sequential scan.
 *
 * The custom path stands for the very scan that core's sequential path stands
 * for, with the same filter, so it can replace it anywhere; it is cheaper
 * because it decodes only the columns the query uses, and skips chunks.  All
 * clauses stay in the plan's filter: pruning may only ever skip rows that the
 * filter would reject.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/planmain.h"
#include "optimizer/restrictinfo.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/vdb_guc.h"
#include "exec/exec.h"

/* A column not decoded costs nothing; the rest is about half of a row scan's work. */
#define VDB_SCAN_CPU_FACTOR		0.5

static set_rel_pathlist_hook_type previous_pathlist_hook = NULL;

static Plan *plan_custom_path(PlannerInfo *root, RelOptInfo *rel, CustomPath *path, List *tlist,
							  List *clauses, List *custom_plans);

static const CustomPathMethods vdb_path_methods = {
	.CustomName = VDB_SCAN_NAME,
	.PlanCustomPath = plan_custom_path
};

const CustomScanMethods vdb_scan_methods = {
	.CustomName = VDB_SCAN_NAME,
	.CreateCustomScanState = vdb_create_scan_state
};

/* System columns other than ctid and tableoid need the row's header: left to the plain scan. */
static bool
wants_header(RelOptInfo *rel)
{
	Bitmapset  *attrs = NULL;
	ListCell   *lc;
	int			i = -1;

	pull_varattnos((Node *) rel->reltarget->exprs, rel->relid, &attrs);
	foreach(lc, rel->baserestrictinfo)
		pull_varattnos((Node *) lfirst_node(RestrictInfo, lc)->clause, rel->relid, &attrs);
	while ((i = bms_next_member(attrs, i)) >= 0)
	{
		int			attno = i + FirstLowInvalidHeapAttributeNumber;

		if (attno < 0 && attno != SelfItemPointerAttributeNumber &&
			attno != TableOidAttributeNumber)
			return true;
	}
	return false;
}

static bool
is_candidate(RelOptInfo *rel, RangeTblEntry *rte)
{
	Relation	relation;
	bool		ours;

	if (!vdb_enable_custom_scan || rte->rtekind != RTE_RELATION || rte->inh ||
		rte->tablesample != NULL || !IS_SIMPLE_REL(rel) || IS_DUMMY_REL(rel))
		return false;
	if (rte->relkind != RELKIND_RELATION && rte->relkind != RELKIND_MATVIEW)
		return false;
	relation = table_open(rte->relid, NoLock);
	ours = vdb_is_vdb(relation);
	table_close(relation, NoLock);
	return ours && !wants_header(rel);
}

/* Clauses of the relation that may be tried against zone maps. */
static List *
prunable_clauses(RelOptInfo *rel)
{
	List	   *clauses = NIL;
	ListCell   *lc;

	if (!vdb_enable_pruning)
		return NIL;
	foreach(lc, rel->baserestrictinfo)
	{
		RestrictInfo *rinfo = lfirst_node(RestrictInfo, lc);

		/* never ahead of a security barrier, unless it can't tell anything */
		if (rinfo->pseudoconstant ||
			(rinfo->security_level > rel->baserestrict_min_security && !rinfo->leakproof))
			continue;
		if (vdb_prunable((Node *) rinfo->clause, rel->relid))
			clauses = lappend(clauses, rinfo->clause);
	}
	return clauses;
}

static CustomPath *
custom_path_like(Path *seq, RelOptInfo *rel, List *prunable)
{
	CustomPath *path = makeNode(CustomPath);
	Cost		run = seq->total_cost - seq->startup_cost;

	path->path.pathtype = T_CustomScan;
	path->path.parent = rel;
	path->path.pathtarget = rel->reltarget;
	path->path.param_info = seq->param_info;
	path->path.parallel_aware = seq->parallel_aware;
	path->path.parallel_safe = seq->parallel_safe;
	path->path.parallel_workers = seq->parallel_workers;
	path->path.rows = seq->rows;
	path->path.startup_cost = seq->startup_cost;
	path->path.total_cost = seq->startup_cost + run * VDB_SCAN_CPU_FACTOR;
	path->path.pathkeys = NIL;
	path->flags = CUSTOMPATH_SUPPORT_BACKWARD_SCAN | CUSTOMPATH_SUPPORT_PROJECTION;
	path->custom_private = prunable;
	path->methods = &vdb_path_methods;
	return path;
}

static Path *
find_seqscan(List *pathlist)
{
	ListCell   *lc;

	foreach(lc, pathlist)
	{
		Path	   *path = (Path *) lfirst(lc);

		if (path->pathtype == T_SeqScan)
			return path;
	}
	return NULL;
}

static void
vdb_rel_pathlist(PlannerInfo *root, RelOptInfo *rel, Index rti, RangeTblEntry *rte)
{
	Path	   *seq;
	List	   *prunable;

	if (previous_pathlist_hook)
		previous_pathlist_hook(root, rel, rti, rte);
	if (!is_candidate(rel, rte))
		return;
	prunable = prunable_clauses(rel);
	seq = find_seqscan(rel->pathlist);
	if (seq != NULL)
		add_path(rel, (Path *) custom_path_like(seq, rel, prunable));
	seq = find_seqscan(rel->partial_pathlist);
	if (seq != NULL)
		add_partial_path(rel, (Path *) custom_path_like(seq, rel, prunable));
}

/*
 * Numbers of the columns that anything above the scan and the filter use.  The
 * plan's target list won't do: a projection may be put in its place later.
 */
static List *
needed_columns(RelOptInfo *rel, List *clauses)
{
	Bitmapset  *attrs = NULL;
	List	   *columns = NIL;
	int			i = -1;

	pull_varattnos((Node *) rel->reltarget->exprs, rel->relid, &attrs);
	pull_varattnos((Node *) clauses, rel->relid, &attrs);
	while ((i = bms_next_member(attrs, i)) >= 0)
		columns = lappend_int(columns, i + FirstLowInvalidHeapAttributeNumber);
	return columns;
}

static Plan *
plan_custom_path(PlannerInfo *root, RelOptInfo *rel, CustomPath *path, List *tlist,
				 List *clauses, List *custom_plans)
{
	CustomScan *scan = makeNode(CustomScan);

	scan->scan.plan.targetlist = tlist;
	scan->scan.plan.qual = extract_actual_clauses(clauses, false);
	scan->scan.scanrelid = rel->relid;
	scan->flags = path->flags;
	scan->custom_exprs = copyObject(path->custom_private);
	scan->custom_private = needed_columns(rel, scan->scan.plan.qual);
	scan->methods = &vdb_scan_methods;
	return &scan->scan.plan;
}

void
vdb_exec_init(void)
{
	previous_pathlist_hook = set_rel_pathlist_hook;
	set_rel_pathlist_hook = vdb_rel_pathlist;
	RegisterCustomScanMethods(&vdb_scan_methods);
}
