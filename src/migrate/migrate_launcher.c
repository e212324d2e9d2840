/*-------------------------------------------------------------------------
 *
 * migrate_launcher.c
 *	  One process that starts a worker for each database with work.
 *
 * The launcher has no database.  It looks at the pools that this server run
 * has used: a pool with segments in use gets a worker now and then, one whose
 * backends ask for it (full, or past the high-water mark) at once.  A worker
 * ends when there is nothing left to do, so that it is in nobody's way
 * (CREATE DATABASE ... TEMPLATE, DROP DATABASE).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>

#include "common/relpath.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "base/vdb_guc.h"
#include "migrate/migrate.h"

#define VDB_LAUNCHER_NAP_MS		1000

static void
launcher_exit(int code, Datum arg)
{
	LWLockAcquire(vdb_shared->pools_lock, LW_EXCLUSIVE);
	vdb_shared->launcher_latch = NULL;
	LWLockRelease(vdb_shared->pools_lock);
}

/* Ask for a worker; cheap when one was asked for already. */
void
vdb_migrate_wake(VdbPool *pool)
{
	VdbPoolShared *shared = vdb_pool_shared(pool);
	Latch	   *latch;

	if (pg_atomic_exchange_u32(&shared->worker_wanted, 1) == 1)
		return;
	LWLockAcquire(vdb_shared->pools_lock, LW_SHARED);
	latch = vdb_shared->launcher_latch;
	if (latch != NULL)
		SetLatch(latch);
	LWLockRelease(vdb_shared->pools_lock);
}

static void
start_worker(Oid db)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "vdb_am", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "vdb_worker_main", BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "vdb migration worker");
	strlcpy(worker.bgw_type, "vdb migration worker", BGW_MAXLEN);
	worker.bgw_main_arg = ObjectIdGetDatum(db);
	worker.bgw_notify_pid = MyProcPid;
	/* no free slot: the next round tries again */
	(void) RegisterDynamicBackgroundWorker(&worker, NULL);
}

/* Does this pool want a worker that it doesn't have? */
static bool
pool_due(VdbPoolShared *pool, TimestampTz now, TimestampTz *last)
{
	int			nap = Max(vdb_migrate_after_ms / 2, VDB_LAUNCHER_NAP_MS);

	if (!OidIsValid(pool->db) || pool->worker_pid != 0)
		return false;
	if (pg_atomic_read_u32(&pool->worker_wanted) != 0)
		return true;
	if (vdb_migrate_used_percent(pool) >= (uint32) vdb_migrate_high_water &&
		TimestampDifferenceExceeds(*last, now, VDB_LAUNCHER_NAP_MS))
		return true;
	if (pool->incarnation_begun && TimestampDifferenceExceeds(*last, now, nap) &&
		pg_atomic_read_u64(&pool->counters.changes) != pool->changes_seen)
		return true;
	return false;
}

/* A dropped database, or extension, leaves its slot behind; there is nobody to work for. */
static bool
pool_exists(VdbPoolShared *pool)
{
	char	   *path = relpathperm(pool->rnode, MAIN_FORKNUM);
	struct stat st;
	bool		exists = stat(path, &st) == 0 && st.st_size > 0;

	pfree(path);
	return exists;
}

static void
start_due_workers(TimestampTz *last)
{
	TimestampTz now = GetCurrentTimestamp();
	Oid			due[VDB_MAX_POOLS];
	int			ndue = 0;

	LWLockAcquire(vdb_shared->pools_lock, LW_SHARED);
	for (int i = 0; i < vdb_shared->npools; i++)
	{
		if (!pool_due(&vdb_shared->pools[i], now, &last[i]) ||
			!pool_exists(&vdb_shared->pools[i]))
			continue;
		last[i] = now;
		pg_atomic_write_u32(&vdb_shared->pools[i].worker_wanted, 0);
		due[ndue++] = vdb_shared->pools[i].db;
	}
	LWLockRelease(vdb_shared->pools_lock);
	for (int i = 0; i < ndue; i++)
		start_worker(due[i]);
}

void
vdb_launcher_main(Datum arg)
{
	static TimestampTz last[VDB_MAX_POOLS];

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	LWLockAcquire(vdb_shared->pools_lock, LW_EXCLUSIVE);
	vdb_shared->launcher_latch = MyLatch;
	LWLockRelease(vdb_shared->pools_lock);
	before_shmem_exit(launcher_exit, 0);

	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		if (vdb_migrate_enabled)
			start_due_workers(last);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 VDB_LAUNCHER_NAP_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

void
vdb_migrate_init(void)
{
	BackgroundWorker worker = {0};

	vdb_migrate_room_init();
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 5;
	strlcpy(worker.bgw_library_name, "vdb_am", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "vdb_launcher_main", BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "vdb migration launcher");
	strlcpy(worker.bgw_type, "vdb migration launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}
