/*-------------------------------------------------------------------------
 *
 * decode_assigned.c
 *	  Routines for writing events: which columns the running UPDATE assigns.
 *
 * To heap, a value that is assigned anew is a new value, even if it has the same bytes, and the
 * plugin prints it.  An access method gets a finished row, which does not show the assignments.  So
 * they are taken from the innermost running statement.  Updates that do not run in the executor (a
 * subscription's worker) assign nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/xlog.h"
#include "executor/executor.h"
#include "nodes/bitmapset.h"

#include "decode/decode_private.h"

static ExecutorRun_hook_type previous_run = NULL;
static EState *running = NULL;		/* state of the innermost running statement, or NULL */
static ResultRelInfo *last_result = NULL;	/* what find_result found last in 'running', or NULL */

/* Call the hook that was there before ours, or the standard executor. */
static void
call_executor(QueryDesc *query, ScanDirection direction, uint64 count VDB_RUN_ONCE_PARAM)
{
	if (previous_run)
		previous_run(query, direction, count VDB_RUN_ONCE);
	else
		standard_ExecutorRun(query, direction, count VDB_RUN_ONCE);
}

/* Remember the statement while it runs.  It is needed only if wal_level is logical. */
static void
run_executor(QueryDesc *query, ScanDirection direction, uint64 count VDB_RUN_ONCE_PARAM)
{
	EState	   *outer = running;

	if (!XLogLogicalInfoActive())
	{
		call_executor(query, direction, count VDB_RUN_ONCE);
		return;
	}
	running = query->estate;
	last_result = NULL;
	PG_TRY();
	{
		call_executor(query, direction, count VDB_RUN_ONCE);
	}
	PG_FINALLY();
	{
		running = outer;
		last_result = NULL;
	}
	PG_END_TRY();
}

/* Return the running statement's ResultRelInfo of the table, or NULL if it has none. */
static ResultRelInfo *
find_result(Relation rel)
{
	ListCell   *lc;

	if (last_result != NULL && last_result->ri_RelationDesc == rel)
		return last_result;
	foreach(lc, running->es_opened_result_relations)
	{
		ResultRelInfo *info = lfirst(lc);

		if (info->ri_RelationDesc != rel)
			continue;
		last_result = info;
		return info;
	}
	return NULL;
}

/* See decode_private.h. */
bool
vdb_column_is_assigned(Relation rel, AttrNumber attnum)
{
	ResultRelInfo *info = running != NULL ? find_result(rel) : NULL;
	MemoryContext old_context;
	bool		assigned;

	Assert(attnum > 0);
	if (info == NULL || info->ri_RangeTableIndex == 0)
		return false;
	old_context = MemoryContextSwitchTo(GetPerTupleMemoryContext(running));
	assigned = bms_is_member(attnum - FirstLowInvalidHeapAttributeNumber,
							 ExecGetUpdatedCols(info, running));
	MemoryContextSwitchTo(old_context);
	return assigned;
}

/* See decode_private.h. */
void
vdb_assigned_init(void)
{
	previous_run = ExecutorRun_hook;
	ExecutorRun_hook = run_executor;
}
