/*-------------------------------------------------------------------------
 *
 * migrate_worker.c
 *	  The worker of one database: look at each table, move what is eligible, end.
 *
 * The worker also makes the pool larger before it is full (vdb_scm_grow_ahead), before each move.
 * In each round it returns disk space that is not needed (vdb_scm_release).
 *
 * Each move, of one stripe at most, is a transaction of its own, without a snapshot while the
 * stripe is built.  Between two moves the worker holds nothing, so that DDL waits for one move at
 * most; then comes the pause of vdb.migrate_cost_delay.  Locks on tables are taken conditionally,
 * so that DDL of other sessions doesn't queue behind the worker's own waiting.
 *
 * An error must not keep the worker from other tables, be it damage or a full file system.  A row
 * that fails its checksum stays where it is, and so does a range with other damage, and the rest of
 * the table moves; any other error ends the work on the table for this round.  It is reported once
 * an hour (migrate_note.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/vdb_guc.h"
#include "base/vdb_stop_point.h"
#include "migrate/migrate.h"

/* An idle worker looks around at this interval, and ends after so many looks without work. */
#define VDB_WORKER_NAP_MS		200
#define VDB_WORKER_IDLE_ROUNDS	5

static VdbPoolShared *worker_pool = NULL;

/*
 * Set if this round saw rows in the pool, stripes to be resolved, or a table that it could not look
 * at.  Then there must be another worker later.
 */
static bool work_waiting = false;

/* Leave the pool without a worker when this process exits. */
static void
worker_exit(int code, Datum arg)
{
	if (worker_pool != NULL && worker_pool->worker_pid == MyProcPid)
		worker_pool->worker_pid = 0;
}

/* Work on one table, from one transaction to the next. */
typedef struct WorkerTask
{
	uint32		slot;
	VdbTableRef ref;				/* as of the last look; its pool pointer is valid within a
									 * transaction */
	bool		seen;				/* ref is set */
	bool		begun;				/* the table is eligible, and is being moved */
	int			flags;
	VdbMigratePass pass;
	VdbMigrateResult result;
	bool		past_end;			/* there is no such slot, nor a later one */
	bool		done;				/* anything was moved */
} WorkerTask;

/* Memory of the errors that a task keeps. */
static MemoryContext task_context = NULL;

/* Check whether the table is eligible, and choose how to move it. */
static bool
begin_task(WorkerTask *task)
{
	bool		waiting;
	VdbReason	reason = vdb_migrate_table_eligible(&task->ref, &waiting);

	work_waiting = work_waiting || waiting;
	task->begun = reason != VDB_REASON_NONE;
	task->flags = VDB_MIGRATE_COMPACT | VDB_MIGRATE_GUARD;

	/*
	 * With the pool filling up, rows of transactions in progress move too: a load larger than the
	 * pool then need not do it by itself.
	 */
	if (reason == VDB_REASON_FULL)
		task->flags |= VDB_MIGRATE_OWN | VDB_MIGRATE_PRESSED;
	else if (reason == VDB_REASON_AGE && vdb_migrate_min_rows > 0)
		task->flags |= VDB_MIGRATE_AGED;
	else if (reason == VDB_REASON_IN_DOUBT)
		task->flags |= VDB_MIGRATE_STRIPES;
	else if (reason == VDB_REASON_OVERLAY || reason == VDB_REASON_MERGE)
		task->flags = VDB_MIGRATE_GUARD | VDB_MIGRATE_STRIPES | VDB_MIGRATE_MERGE;
	else if (reason == VDB_REASON_BACKLOG)
		task->flags |= VDB_MIGRATE_ELIGIBLE;
	if (vdb_migrate_pool_pressed(worker_pool))
		task->flags |= VDB_MIGRATE_SPILL;
	return task->begun;
}

/* Do one move of the task's table, which is locked.  Returns false if nothing is left to do. */
static bool
move_next(WorkerTask *task, Relation rel)
{
	char		activity[NAMEDATALEN + 32];
	MemoryContext old;
	bool		more;

	Assert(task->seen && task->begun);
	snprintf(activity, sizeof(activity), "migrating %s", RelationGetRelationName(rel));
	pgstat_report_activity(STATE_RUNNING, activity);
	old = MemoryContextSwitchTo(task_context);
	more = vdb_migrate_next(rel, &task->ref, &task->pass, task->flags, false, &task->result);
	MemoryContextSwitchTo(old);
	task->done = task->done || more;
	work_waiting = work_waiting || task->pass.busy;
	if (!more && (task->result.damaged || task->result.error != NULL) &&
		vdb_migrate_note(worker_pool, &task->ref, false))
		vdb_migrate_report(rel, WARNING, &task->result);
	return more;
}

/*
 * Find the task's table as it is now, lock it, and move something.  Returns false if it needs no
 * more in this round.
 */
static bool
work_on_table(VdbPool *pool, WorkerTask *task)
{
	VdbTableRef ref;
	VdbTableKey key;
	Relation	rel;
	bool		busy;
	bool		more;

	Assert(worker_pool == vdb_pool_shared(pool));
	if (!vdb_map_table_by_slot(pool, task->slot, &ref, &key, &task->past_end) ||
		task->past_end || key.backend != -1)
		return false;
	if (vdb_migrate_failed_lately(worker_pool, &ref))
	{
		work_waiting = true;
		return false;
	}
	if (task->begun && (ref.generation != task->ref.generation ||
						ref.entry_block != task->ref.entry_block))
		return false;
	task->ref = ref;
	task->seen = true;
	rel = vdb_migrate_open(&ref, &key, &busy);
	work_waiting = work_waiting || busy;
	if (rel == NULL)
		return false;
	more = (task->begun || begin_task(task)) && move_next(task, rel);
	relation_close(rel, NoLock);
	return more;
}

/*
 * Report an error of the table's, unless that was done lately, and end the transaction.  Interrupts
 * are held.
 */
static void
end_failed(WorkerTask *task)
{
	Assert(task->seen && InterruptHoldoffCount > 0);
	work_waiting = true;
	if (vdb_migrate_note(worker_pool, &task->ref, true))
		EmitErrorReport();
	AbortCurrentTransaction();
	MemoryContextSwitchTo(TopMemoryContext);
	FlushErrorState();
}

/*
 * Do one transaction for the task.  Returns false if it needs no more.  Errors that concern no
 * table end the worker.
 */
static bool
work_safely(WorkerTask *task)
{
	volatile bool more = false;

	Assert(!IsTransactionState());
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PG_TRY();
	{
		VdbPool    *pool = vdb_pool_try_open();

		task->past_end = pool == NULL;
		if (pool != NULL)
		{
			worker_pool = vdb_pool_shared(pool);
			vdb_scm_grow_ahead(pool);
			more = work_on_table(pool, task);
		}
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		if (!task->seen || ERRCODE_TO_CATEGORY(geterrcode()) ==
			ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION))
			PG_RE_THROW();
		HOLD_INTERRUPTS();
		end_failed(task);
		RESUME_INTERRUPTS();
		more = false;
	}
	PG_END_TRY();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	return more;
}

/* Reload the configuration if that was requested. */
static void
reload_config(void)
{
	if (!ConfigReloadPending)
		return;
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
}

/* Pause after a stripe, outside of transactions. */
static void
pause_after_move(void)
{
	TimestampTz begin = GetCurrentTimestamp();
	long		left;

	Assert(!IsTransactionState());
	VDB_STOP_POINT("worker-paused");
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		reload_config();
		left = vdb_migrate_cost_delay_ms -
			TimestampDifferenceMilliseconds(begin, GetCurrentTimestamp());
		if (left <= 0)
			return;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, left,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

/*
 * Make the pool larger if it is nearly full, free the space of dropped tables, and return disk
 * space that the pool has not needed for long.  Returns false if no table's space was freed.
 */
static bool
collect_dropped(void)
{
	VdbPool    *pool;
	bool		done;

	Assert(!IsTransactionState());
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	pool = vdb_pool_try_open();
	if (pool != NULL)
		vdb_scm_grow_ahead(pool);
	done = pool != NULL && vdb_migrate_collect(pool) > 0;
	if (pool != NULL)
		vdb_scm_release(pool);
	CommitTransactionCommand();
	return done;
}

/* Look at all tables once.  Returns whether anything was done. */
static bool
work_round(void)
{
	bool		done = collect_dropped();
	bool		past_end = false;

	for (uint32 slot = 0; !past_end && vdb_migrate_enabled; slot++)
	{
		WorkerTask	task = {.slot = slot};

		CHECK_FOR_INTERRUPTS();
		while (work_safely(&task) && vdb_migrate_enabled)
			pause_after_move();
		MemoryContextReset(task_context);
		done = done || task.done;
		past_end = task.past_end;
	}
	return done;
}

/* Open the pool, so that this epoch knows it.  Returns false if the database has none. */
static bool
open_pool(void)
{
	bool		found;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	found = vdb_pool_try_open() != NULL;
	CommitTransactionCommand();
	return found;
}

/* Become the pool's worker, unless it has one or is to be left alone for now. */
static bool
claim_pool(Oid db)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		mine = false;

	Assert(worker_pool == NULL);
	LWLockAcquire(vdb_shared->pools_lock, LW_EXCLUSIVE);
	for (int i = 0; i < vdb_shared->npools; i++)
	{
		VdbPoolShared *pool = &vdb_shared->pools[i];

		if (pool->db != db || pool->worker_pid != 0 || now < pool->leave_until)
			continue;
		pool->worker_pid = MyProcPid;
		worker_pool = pool;
		mine = true;
		break;
	}
	LWLockRelease(vdb_shared->pools_lock);
	return mine;
}

/* Main function of a worker.  The argument is the database. */
void
vdb_worker_main(Datum arg)
{
	Oid			db = DatumGetObjectId(arg);
	int			idle = 0;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(db, InvalidOid, BGWORKER_BYPASS_ALLOWCONN);
	if (!open_pool() || !claim_pool(db))
		proc_exit(0);
	before_shmem_exit(worker_exit, 0);

	task_context = AllocSetContextCreate(TopMemoryContext, "vdb migration task",
										 ALLOCSET_SMALL_SIZES);

	while (idle < VDB_WORKER_IDLE_ROUNDS)
	{
		uint64		changes = pg_atomic_read_u64(&worker_pool->counters.changes);

		reload_config();
		if (!vdb_migrate_enabled)
			break;
		/* what is requested from now on may be missed by this round */
		pg_atomic_write_u32(&worker_pool->worker_wanted, 0);
		VDB_STOP_POINT("worker-round");
		work_waiting = false;
		idle = work_round() ? 0 : idle + 1;
		worker_pool->changes_seen = work_waiting ? PG_UINT64_MAX : changes;
		worker_pool->used_seen = pg_atomic_read_u32(&worker_pool->used_segments);
		worker_pool->futile = idle > 0 &&
			vdb_migrate_pool_percent(worker_pool) >= (uint32) vdb_migrate_high_water;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 idle > 0 ? VDB_WORKER_NAP_MS : 1, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	proc_exit(0);
}
