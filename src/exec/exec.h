/*-------------------------------------------------------------------------
 *
 * exec.h
 *	  The custom scan: only the columns that are wanted, only the chunks that may match.
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

/* Is it constant during one scan: no columns, nothing volatile, no subplan to run? */
extern bool vdb_is_constant(Node *node);

/*
 * Can evaluating it raise no error, and run no subquery?  Then it may be evaluated before any row
 * has reached its clause.  Run time: econtext has the parameters.  What isn't known to be harmless
 * is not.
 */
extern bool vdb_is_harmless(Node *node, ExprContext *econtext);

/* ---- pruning (exec_qual.c, exec_prune.c) ---- */

/* Compiled clauses that zone maps can answer 'no row' to. */
typedef struct VdbPruner VdbPruner;

/*
 * Can any part of the clause be used to prune?  Plan time.  constants: whose constant is a constant
 * already.
 */
extern bool vdb_prunable(Node *clause, Index varno, bool constants);

/*
 * Compile those clauses of a filter that stand at 'places' (from 0; Vars of varno) for rel, in the
 * current memory context, where the expressions stay, too.  parent: of the expression states; NULL:
 * plan time, only constants count.
 */
extern VdbPruner *vdb_pruner_create(List *filter, List *places, Relation rel, Index varno,
									PlanState *parent);

/* The columns, 0-based, whose zone maps it asks for; the pruner's. */
extern const int *vdb_pruner_columns(const VdbPruner *pruner, int *ncolumns);

/*
 * A scan begins: evaluate the constants that can't fail.  Others 'may match' until
 * vdb_pruner_reached was told of their clause. econtext NULL: plan time.
 */
extern void vdb_pruner_prepare(VdbPruner *pruner, ExprContext *econtext);

/* How a clause came out for a row. */
typedef enum VdbOutcome
{
	VDB_OUTCOME_TRUE,
	VDB_OUTCOME_NOT_TRUE,
	VDB_OUTCOME_UNKNOWN				/* it was evaluated, perhaps not to its end */
} VdbOutcome;

/*
 * The clause at this place of the filter was evaluated for a row, without error: so were the
 * constants that it had to look at, and they can be used.  Returns false if nothing in it waits any
 * longer: there is no need to call again in this scan.
 */
extern bool vdb_pruner_reached(VdbPruner *pruner, int place, VdbOutcome outcome);

/*
 * Before a block is read: evaluate what was reached.  True if the pruner may answer otherwise now
 * than before (the session's time zone counts, too).  Raises what the constants raise.  Resets
 * econtext.
 */
extern bool vdb_pruner_refresh(VdbPruner *pruner, ExprContext *econtext);

/* VdbPruneCallback; arg is the pruner. */
extern bool vdb_pruner_match(void *arg, const VdbZoneSet *zones, uint8 *chunk_match);

/* ---- costs (exec_cost.c) ---- */

extern double vdb_cost_fraction(Relation rel, Index varno, List *clauses);

/*
 * Make the paths of indexes anew, with the cost of fetching rows from stripes.  False: there is
 * nothing to charge, and the paths are what core has made.  True: paths of a sequential scan may be
 * missing, as they looked too dear to core.
 */
extern bool vdb_charge_fetches(PlannerInfo *root, Relation relation, RelOptInfo *rel);

/* ---- plan (exec_plan.c), execution (exec_scan.c) ---- */

extern const CustomPathMethods vdb_scan_path_methods;
extern const CustomScanMethods vdb_scan_methods;
extern Node *vdb_create_scan_state(CustomScan *cscan);
extern void vdb_exec_init(void);	/* _PG_init */

#define VDB_SCAN_NAME	"VdbScan"

/* ---- aggregation: plan (exec_agg_plan.c), execution (exec_agg.c) ---- */

extern const CustomScanMethods vdb_agg_methods;
extern Node *vdb_create_agg_state(CustomScan *cscan);
extern void vdb_agg_init(void);		/* by vdb_exec_init */

#define VDB_AGG_NAME	"VdbAggregate"

#endif							/* VDB_EXEC_H */
