/*-------------------------------------------------------------------------
 *
 * decode_assigned.c
 *	  Writing: which columns the running UPDATE assigns.
 *
 * A value that is assigned anew is another to heap, though it may have the same bytes, and is
 * printed.  An access method gets a finished row, so the statement is asked.  It is the one that
 * runs innermost; what is not run by the executor (a subscription's worker) assigns nothing.
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
static EState *running = NULL;
static ResultRelInfo *last_result = NULL;	/* of 'running' */

static void
call_executor(QueryDesc *query, ScanDirection direction, uint64 count VDB_RUN_ONCE_PARAM)
{
	if (previous_run)
		previous_run(query, direction, count VDB_RUN_ONCE);
	else
		standard_ExecutorRun(query, direction, count VDB_RUN_ONCE);
}

/* Remember the statement while it runs.  Nothing asks for it unless wal_level is logical. */
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

/* The running statement's idea of a table that it changes, or NULL. */
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

/* Does the running statement assign the column? */
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

/* _PG_init, while preloading. */
void
vdb_assigned_init(void)
{
	previous_run = ExecutorRun_hook;
	ExecutorRun_hook = run_executor;
}
