/*-------------------------------------------------------------------------
 *
 * exec.h
 *	  The custom scan and the custom aggregation.
 *
 * The scan reads only the columns that a query needs and the chunks that may match its filter.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_EXEC_H
#define VDB_EXEC_H

#include "executor/executor.h"
#include "nodes/execnodes.h"
#include "nodes/extensible.h"
#include "nodes/pathnodes.h"

#include "table/table.h"

/* ---- constants (exec_constant.c) ---- */

/*
 * Return true if the expression is constant during one scan: it has no columns, nothing volatile,
 * and no subplan.
 */
extern bool vdb_is_constant(Node *node);

/*
 * Return true if evaluating the expression can raise no error and runs no subquery.  Then it may be
 * evaluated before any row has reached its clause.  Called at run time; econtext has the
 * parameters.  Expressions that are not known to be harmless count as harmful.
 */
extern bool vdb_is_harmless(Node *node, ExprContext *econtext);

/* ---- pruning (exec_qual.c, exec_prune.c) ---- */

/* Compiled clauses that zone maps can refute. */
typedef struct VdbPruner VdbPruner;

/*
 * Return true if any part of the clause can be used to prune.  Called at plan time.  With
 * 'constants', only parts whose constant is a Const already count.
 */
extern bool vdb_prunable(Node *clause, Index varno, bool constants);

/*
 * Compile the clauses of a filter that stand at 'places' (counted from 0).  Their Vars of varno are
 * columns of rel.  The pruner is allocated in the current memory context.  'parent' is the parent
 * of the expression states; NULL means plan time, when only Consts can be used.  The clauses'
 * expressions are referred to, so they must live as long as the pruner.
 */
extern VdbPruner *vdb_pruner_create(List *filter, List *places, Relation rel, Index varno,
									PlanState *parent);

/* Return the columns (0-based) whose zone maps the pruner needs.  The array is the pruner's. */
extern const int *vdb_pruner_columns(const VdbPruner *pruner, int *ncolumns);

/*
 * Prepare for a scan: evaluate the constants that can't fail.  The others are unknown, so that
 * their comparisons 'may match', until vdb_pruner_reached is called for their clause.  econtext is
 * NULL at plan time.
 */
extern void vdb_pruner_prepare(VdbPruner *pruner, ExprContext *econtext);

/* Result of a clause for a row. */
typedef enum VdbOutcome
{
	VDB_OUTCOME_TRUE,
	VDB_OUTCOME_NOT_TRUE,
	VDB_OUTCOME_UNKNOWN				/* it was evaluated, perhaps not to its end */
} VdbOutcome;

/*
 * Note that the clause at this place of the filter was evaluated for a row, without error.  The
 * constants that it must have evaluated for this outcome can be used from now on.  Returns false if
 * no constant of the clause is waiting any longer, so there is no need to call again in this scan.
 */
extern bool vdb_pruner_reached(VdbPruner *pruner, int place, VdbOutcome outcome);

/*
 * Evaluate the constants that were reached.  Called before a block is read.  Returns true if the
 * pruner may answer differently now, also because the session's time zone has changed.  Raises the
 * errors that the constants raise.  Resets econtext.
 */
extern bool vdb_pruner_refresh(VdbPruner *pruner, ExprContext *econtext);

/* Find the chunks that may match: a VdbPruneCallback whose argument is the pruner. */
extern bool vdb_pruner_match(void *arg, const VdbZoneSet *zones, uint8 *chunk_match);

/* ---- costs (exec_cost.c) ---- */

/* Estimate the fraction of the table's chunks that a scan with these clauses would read. */
extern double vdb_cost_fraction(Relation rel, Index varno, List *clauses);

/*
 * Rebuild the index paths, with the cost of fetching rows from stripes.  Returns false if there is
 * nothing to charge; then the paths are unchanged.  After true, paths of a sequential scan may be
 * missing, since core found them more expensive than its uncharged index paths.
 */
extern bool vdb_charge_fetches(PlannerInfo *root, Relation relation, RelOptInfo *rel);

/* ---- plan (exec_plan.c), execution (exec_scan.c) ---- */

extern const CustomPathMethods vdb_scan_path_methods;
extern Node *vdb_create_scan_state(CustomScan *cscan);

/* Install the hooks and register the node types.  Called at _PG_init. */
extern void vdb_exec_init(void);

#define VDB_SCAN_NAME	"VdbScan"

/* ---- aggregation: plan (exec_agg_plan.c), execution (exec_agg.c) ---- */

extern Node *vdb_create_agg_state(CustomScan *cscan);

/* Same for aggregation. */
extern void vdb_agg_init(void);

#define VDB_AGG_NAME	"VdbAggregate"

#endif							/* VDB_EXEC_H */
