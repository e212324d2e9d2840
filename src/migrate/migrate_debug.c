/*-------------------------------------------------------------------------
 *
 * migrate_debug.c
 *	  vdb.debug_migrate: for tests, migration around every statement.
 *
 * 'resolved': before each top-level statement this session moves the rows of all tables of the
 * database that may move, so that rows left in the pool by earlier transactions are read from
 * stripes.  'all': after each statement it also moves rows of transactions in progress, its own
 * first, as an inserter does when the pool is full.  Locks on tables are taken conditionally, as
 * the worker takes them, and released at once; so a table that is locked by other sessions stays as
 * it is.
 *
 * Statements inside functions count as part of the calling statement: a segment handed back after
 * each row of a trigger would waste row numbers.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/relation.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/vdb_guc.h"
#include "migrate/migrate.h"

static ExecutorStart_hook_type previous_start = NULL;
static ExecutorRun_hook_type previous_run = NULL;
static ExecutorFinish_hook_type previous_finish = NULL;
static ExecutorEnd_hook_type previous_end = NULL;
static ProcessUtility_hook_type previous_utility = NULL;

/* Depth of the statements being executed; not counted while the setting is off. */
static int	nesting = 0;

/*
 * State at the last look: changes of the pool, transactions ended.  If both are the same as then,
 * nothing more can move.
 */
static uint64 changes_seen = 0;
static uint64 ends_seen = 0;

/* ---- moving ---- */

/* Check whether a move may find anything.  The relation is locked. */
static bool
may_find(const VdbTableRef *ref, int flags)
{
	VdbCursor	cursor;
	VdbRangeSummary summary;

	vdb_cursor_init_blocks(&cursor, ref);
	while (vdb_cursor_next_range(&cursor))
	{
		uint32		range = vdb_lb_range(vdb_cursor_lb(&cursor));

		CHECK_FOR_INTERRUPTS();
		if (vdb_map_summarize(ref, range, &summary) &&
			vdb_migrate_may_find(ref, range, &summary, flags))
			return true;
	}
	return false;
}

/* Move the rows of one table, if its lock is free. */
static void
move_table(const VdbTableRef *ref, const VdbTableKey *key, int flags)
{
	Relation	rel;
	VdbMigrateResult result = {0};
	bool		busy;

	if (key->backend != -1 && key->backend != MyProcNumber)
		return;
	rel = vdb_migrate_open(ref, key, &busy);
	if (rel == NULL)
		return;
	if (may_find(ref, flags))
		(void) vdb_migrate_table(rel, flags, false, &result);
	relation_close(rel, AccessShareLock);
}

/* Check whether anything has happened since the last call. */
static bool
news(VdbPool *pool)
{
	uint64		changes = pg_atomic_read_u64(&vdb_pool_shared(pool)->counters.changes);
	uint64		ends = *(volatile uint64 *) &TransamVariables->xactCompletionCount;
	bool		is_new = changes != changes_seen || ends != ends_seen;

	changes_seen = changes;
	ends_seen = ends;
	return is_new;
}

/*
 * Move rows of all tables of the database's pool, unless nothing has happened since the last time.
 */
static void
move_tables(int flags)
{
	VdbPool    *pool = vdb_pool_try_open();
	VdbTableRef ref;
	VdbTableKey key;
	bool		past_end = false;

	if (pool == NULL || !news(pool))
		return;
	if (flags & VDB_MIGRATE_OWN)
		vdb_rows_hand_back();
	for (uint32 slot = 0; !past_end; slot++)
	{
		CHECK_FOR_INTERRUPTS();
		if (vdb_map_table_by_slot(pool, slot, &ref, &key, &past_end) && !past_end)
			move_table(&ref, &key, flags);
	}
	(void) news(pool);
}

/* Move what the setting says.  Nothing is done at places where the server doesn't allow it. */
static void
migrate_now(int flags)
{
	MemoryContext context;
	MemoryContext old;

	if (!IsTransactionState() || IsAbortedTransactionBlockState() || IsParallelWorker() ||
		IsInParallelMode() || RecoveryInProgress() || !OidIsValid(MyDatabaseId))
		return;
	context = AllocSetContextCreate(CurrentMemoryContext, "vdb.debug_migrate",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	move_tables(flags);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

static void
before_statement(void)
{
	if (nesting == 0 && vdb_debug_migrate != VDB_DEBUG_MIGRATE_OFF)
		migrate_now(VDB_MIGRATE_COMPACT);
}

static void
after_statement(void)
{
	if (nesting == 0 && vdb_debug_migrate == VDB_DEBUG_MIGRATE_ALL)
		migrate_now(VDB_MIGRATE_COMPACT | VDB_MIGRATE_OWN);
}

/* ---- around statements ---- */

static void
debug_start(QueryDesc *query, int eflags)
{
	before_statement();
	if (previous_start)
		previous_start(query, eflags);
	else
		standard_ExecutorStart(query, eflags);
}

static void
run(QueryDesc *query, ScanDirection direction, uint64 count VDB_RUN_ONCE_PARAM)
{
	if (previous_run)
		previous_run(query, direction, count VDB_RUN_ONCE);
	else
		standard_ExecutorRun(query, direction, count VDB_RUN_ONCE);
}

static void
debug_run(QueryDesc *query, ScanDirection direction, uint64 count VDB_RUN_ONCE_PARAM)
{
	if (vdb_debug_migrate == VDB_DEBUG_MIGRATE_OFF)
	{
		run(query, direction, count VDB_RUN_ONCE);
		return;
	}
	nesting++;
	PG_TRY();
	{
		run(query, direction, count VDB_RUN_ONCE);
	}
	PG_FINALLY();
	{
		nesting--;
		Assert(nesting >= 0);
	}
	PG_END_TRY();
}

static void
finish(QueryDesc *query)
{
	if (previous_finish)
		previous_finish(query);
	else
		standard_ExecutorFinish(query);
}

static void
debug_finish(QueryDesc *query)
{
	if (vdb_debug_migrate == VDB_DEBUG_MIGRATE_OFF)
	{
		finish(query);
		return;
	}
	nesting++;
	PG_TRY();
	{
		finish(query);
	}
	PG_FINALLY();
	{
		nesting--;
		Assert(nesting >= 0);
	}
	PG_END_TRY();
}

static void
debug_end(QueryDesc *query)
{
	if (previous_end)
		previous_end(query);
	else
		standard_ExecutorEnd(query);
	after_statement();
}

static void
debug_utility(PlannedStmt *pstmt, const char *query, bool read_only_tree,
			  ProcessUtilityContext context, ParamListInfo params,
			  QueryEnvironment *env, DestReceiver *dest, QueryCompletion *qc)
{
	/*
	 * nothing is to be done between COMMIT and the end of its transaction, nor before SET
	 * TRANSACTION
	 */
	bool		counts = !IsA(pstmt->utilityStmt, TransactionStmt) &&
		!IsA(pstmt->utilityStmt, VariableSetStmt);

	if (counts)
		before_statement();
	nesting++;
	PG_TRY();
	{
		if (previous_utility)
			previous_utility(pstmt, query, read_only_tree, context, params, env, dest, qc);
		else
			standard_ProcessUtility(pstmt, query, read_only_tree, context, params, env, dest, qc);
	}
	PG_FINALLY();
	{
		nesting--;
		Assert(nesting >= 0);
	}
	PG_END_TRY();
	if (counts)
		after_statement();
}

void
vdb_migrate_debug_init(void)
{
	previous_start = ExecutorStart_hook;
	ExecutorStart_hook = debug_start;
	previous_run = ExecutorRun_hook;
	ExecutorRun_hook = debug_run;
	previous_finish = ExecutorFinish_hook;
	ExecutorFinish_hook = debug_finish;
	previous_end = ExecutorEnd_hook;
	ExecutorEnd_hook = debug_end;
	previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = debug_utility;
}
