/*-------------------------------------------------------------------------
 *
 * exec_plan.c
 *	  Offer the custom scan to the planner beside each sequential scan.
 *
 * The custom path returns the same rows as core's sequential path, with the same
 * filter, so it can replace that path anywhere.  It is cheaper because it decodes
 * only the columns that the query uses, and skips chunks.  All clauses stay in
 * the plan's filter: pruning may only skip rows that the filter would reject.
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

#include "base/vdb_compat.h"
#include "base/vdb_guc.h"
#include "exec/exec.h"

/*
 * The scan's cost per row, relative to a sequential scan's.  Columns that aren't decoded cost
 * nothing; the rest is about half of a row scan's work.
 */
#define VDB_SCAN_CPU_FACTOR		0.5

static set_rel_pathlist_hook_type previous_pathlist_hook = NULL;

static Plan *plan_custom_path(PlannerInfo *root, RelOptInfo *rel, CustomPath *path, List *tlist,
							  List *clauses, List *custom_plans);

const CustomPathMethods vdb_scan_path_methods = {
	.CustomName = VDB_SCAN_NAME,
	.PlanCustomPath = plan_custom_path
};

static const CustomScanMethods scan_methods = {
	.CustomName = VDB_SCAN_NAME,
	.CreateCustomScanState = vdb_create_scan_state
};

/*
 * Return true if the query reads system columns other than ctid and tableoid.  They need the row's
 * header, so such scans are left to the plain scan.
 */
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

/*
 * Return true if this is a scan of one vdb table.  That includes a member of an inheritance tree,
 * scanned by itself.
 */
static bool
is_vdb_rel(RelOptInfo *rel, RangeTblEntry *rte)
{
	Relation	relation;
	bool		ours;

	if (rte->rtekind != RTE_RELATION || rte->inh || !IS_SIMPLE_REL(rel) || IS_DUMMY_REL(rel))
		return false;
	if (rte->relkind != RELKIND_RELATION && rte->relkind != RELKIND_MATVIEW)
		return false;
	relation = table_open(rte->relid, NoLock);
	ours = vdb_is_vdb(relation);
	table_close(relation, NoLock);
	return ours;
}

/* Return true if the custom scan can be used for this relation. */
static bool
can_use_scan(RelOptInfo *rel, RangeTblEntry *rte)
{
	return vdb_enable_custom_scan && rte->tablesample == NULL && !wants_header(rel);
}

/*
 * Return the clauses that compare with Consts.  Other expressions (stable functions, parameters, a
 * domain's CHECK) must not be evaluated before the query runs and a row is there.
 */
static List *
constant_clauses(List *clauses, Index varno)
{
	List	   *constant = NIL;
	ListCell   *lc;

	foreach(lc, clauses)
	{
		if (vdb_prunable(lfirst(lc), varno, true))
			constant = lappend(constant, lfirst(lc));
	}
	return constant;
}

/* Return the relation's clauses that zone maps may be compared with. */
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

		/* never ahead of a security barrier, unless it is leakproof */
		if (rinfo->pseudoconstant ||
			(rinfo->security_level > rel->baserestrict_min_security && !rinfo->leakproof))
			continue;
		if (vdb_prunable((Node *) rinfo->clause, rel->relid, false))
			clauses = lappend(clauses, rinfo->clause);
	}
	return clauses;
}

/* Make a custom path like core's sequential path 'seq', with its own cost. */
static CustomPath *
custom_path_like(Path *seq, RelOptInfo *rel, List *prunable, double fraction)
{
	CustomPath *path = makeNode(CustomPath);
	Cost		run = seq->total_cost - seq->startup_cost;
	Cost		setup = Min(run, Min(rel->pages, VDB_WALK_SETUP_PAGES) * seq_page_cost);

	path->path.pathtype = T_CustomScan;
	path->path.parent = rel;
	path->path.pathtarget = rel->reltarget;
	path->path.param_info = seq->param_info;
	path->path.parallel_aware = seq->parallel_aware;
	path->path.parallel_safe = seq->parallel_safe;
	path->path.parallel_workers = seq->parallel_workers;
	path->path.rows = seq->rows;
	path->path.startup_cost = seq->startup_cost;
	path->path.total_cost = seq->startup_cost + setup +
		(run - setup) * VDB_SCAN_CPU_FACTOR * fraction;
	vdb_path_disabled_like(&path->path, seq);
	path->path.pathkeys = NIL;
	path->flags = CUSTOMPATH_SUPPORT_BACKWARD_SCAN | CUSTOMPATH_SUPPORT_PROJECTION;
	path->custom_private = prunable;
	path->methods = &vdb_scan_path_methods;
	return path;
}

/* Which scan is offered, and how much of the table it is expected to read. */
typedef struct ScanChoice
{
	bool		custom;				/* our scan, or else core's sequential scan */
	List	   *prunable;			/* our scan: clauses that may prune */
	double		fraction;			/* our scan: fraction of the chunks that is read */
} ScanChoice;

/* Make the path of the chosen scan. */
static Path *
scan_path(PlannerInfo *root, RelOptInfo *rel, const ScanChoice *choice, int workers)
{
	Path	   *seq = create_seqscan_path(root, rel, rel->lateral_relids, workers);

	if (!choice->custom)
		return seq;
	return (Path *) custom_path_like(seq, rel, choice->prunable, choice->fraction);
}

/*
 * Add the paths of the chosen scan, serial and parallel.  Core may have dropped
 * its sequential path already, for an index path that looked cheaper, so that path
 * is made again as the basis for ours.
 */
static void
add_scan_paths(PlannerInfo *root, RelOptInfo *rel, const ScanChoice *choice)
{
	int			workers;

	add_path(rel, scan_path(root, rel, choice, 0));
	if (!rel->consider_parallel || rel->lateral_relids != NULL)
		return;
	workers = compute_parallel_worker(rel, rel->pages, -1, max_parallel_workers_per_gather);
	if (workers > 0)
		add_partial_path(rel, scan_path(root, rel, choice, workers));
}

/*
 * Return true if there is a path that costs less than beginning a scan.  Then no scan can be
 * cheaper, and its cost need not be estimated from zone maps.  So queries of single rows by an
 * index are planned quickly.
 */
static bool
is_beaten(RelOptInfo *rel)
{
	Cost		setup = Min(rel->pages, VDB_WALK_SETUP_PAGES) * seq_page_cost;
	ListCell   *lc;

	foreach(lc, rel->pathlist)
	{
		Path	   *path = lfirst(lc);

		if (path->param_info == NULL && !vdb_path_is_disabled(path) && path->total_cost < setup)
			return true;
	}
	return false;
}

/* Add our paths to a relation (set_rel_pathlist_hook). */
static void
vdb_rel_pathlist(PlannerInfo *root, RelOptInfo *rel, Index rti, RangeTblEntry *rte)
{
	Relation	relation;
	ScanChoice	choice = {0};
	bool		made_anew;

	if (previous_pathlist_hook)
		previous_pathlist_hook(root, rel, rti, rte);
	if (!is_vdb_rel(rel, rte))
		return;
	relation = table_open(rte->relid, NoLock);
	choice.custom = can_use_scan(rel, rte);
	made_anew = rte->tablesample == NULL && vdb_charge_fetches(root, relation, rel);
	if ((choice.custom || made_anew) && !is_beaten(rel))
	{
		if (choice.custom)
		{
			choice.prunable = prunable_clauses(rel);
			choice.fraction = vdb_cost_fraction(relation, rel->relid,
												constant_clauses(choice.prunable, rel->relid));
		}
		add_scan_paths(root, rel, &choice);
	}
	table_close(relation, NoLock);
}

/*
 * Return the numbers of the columns that the filter or nodes above the scan use.
 * The plan's target list is not sufficient: a projection may replace it later.
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

/* Return the places in the filter of those clauses that may prune. */
static List *
pruning_addresses(List *clauses, List *prunable)
{
	List	   *places = NIL;
	int			place = 0;
	ListCell   *lc;

	/* counted as extract_actual_clauses does */
	foreach(lc, clauses)
	{
		RestrictInfo *rinfo = lfirst_node(RestrictInfo, lc);

		if (rinfo->pseudoconstant)
			continue;
		if (list_member_ptr(prunable, rinfo->clause))
			places = lappend_int(places, place);
		place++;
	}
	/* they are all among the clauses that the filter has */
	Assert(list_length(places) <= list_length(prunable));
	return places;
}

/*
 * Make the plan node.  Its custom_private is a list of the columns that the scan reads and of the
 * places of the filter's clauses that prune.
 */
static Plan *
plan_custom_path(PlannerInfo *root, RelOptInfo *rel, CustomPath *path, List *tlist,
				 List *clauses, List *custom_plans)
{
	CustomScan *scan = makeNode(CustomScan);

	Assert(rel->relid > 0 && custom_plans == NIL);
	scan->scan.plan.targetlist = tlist;
	scan->scan.plan.qual = extract_actual_clauses(clauses, false);
	scan->scan.scanrelid = rel->relid;
	scan->flags = path->flags;
	scan->custom_private = list_make2(needed_columns(rel, scan->scan.plan.qual),
									  pruning_addresses(clauses, path->custom_private));
	scan->methods = &scan_methods;
	return &scan->scan.plan;
}

void
vdb_exec_init(void)
{
	previous_pathlist_hook = set_rel_pathlist_hook;
	set_rel_pathlist_hook = vdb_rel_pathlist;
	RegisterCustomScanMethods(&scan_methods);
}
