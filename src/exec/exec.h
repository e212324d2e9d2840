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

/* ---- pruning (exec_qual.c) ---- */

/* Compiled clauses that zone maps can answer 'no row' to. */
typedef struct VdbPruner VdbPruner;

/* Is it constant during one scan: no columns, nothing volatile, no subplan to run? */
extern bool vdb_is_comparand(Node *node);

/* Can any part of the clause be used to prune?  Plan time. */
extern bool vdb_prunable(Node *clause, Index varno);

/* Compile clauses (scan Vars of varno, fixed by setrefs) for rel; plan supplies the expression states' parent. */
extern VdbPruner *vdb_pruner_create(List *clauses, Relation rel, Index varno, PlanState *parent);

/* Evaluate the comparands (constants, parameters, stable functions) for the coming scan. */
extern void vdb_pruner_prepare(VdbPruner *pruner, ExprContext *econtext);

/* VdbPruneCallback; arg is the pruner. */
extern bool vdb_pruner_match(void *arg, VdbZoneReader *zones, uint8 *chunk_match);

/* ---- costs (exec_cost.c) ---- */

extern double vdb_scan_fraction(Relation rel, Index varno, List *clauses);

/*
 * Make the paths of indexes anew, with the cost of fetching rows from stripes.  False: there is nothing to charge, and the paths are what core
 * has made.  True: paths of a sequential scan may be missing, as they looked too dear to core.
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
