/*-------------------------------------------------------------------------
 *
 * migrate_launcher.c
 *	  One process that starts a worker for each database with work.
 *
 * The launcher has no database.  It looks at the pools that this epoch has used.  A pool with
 * segments in use gets a worker now and then; one whose backends ask for it (full, or past the
 * high-water mark) gets a worker at once.  At its start the launcher has a worker look at each
 * database once, one after the other, as rows of an earlier epoch may wait in pools that have not
 * been opened yet.
 *
 * A worker ends when there is nothing left to do, so that it doesn't block other sessions; and at
 * once when a statement needs the database for itself (vdb_migrate_leave: CREATE DATABASE ...
 * TEMPLATE, DROP DATABASE).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>
#include <sys/stat.h>

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
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
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/vdb_guc.h"
#include "migrate/migrate.h"

#define VDB_LAUNCHER_NAP_MS		1000
#define VDB_LAUNCHER_FUTILE_MS	10000	/* a full pool in which nothing could move is looked at
										 * again */
#define VDB_LAUNCHER_SEGMENTS	32	/* a range has at least so many */
#define VDB_LAUNCHER_SHORT_MS	100
#define VDB_LEAVE_MS			10000	/* how long no worker is started in a database that was
										 * left */

/* Forget the launcher's latch when the process exits. */
static void
launcher_exit(int code, Datum arg)
{
	LWLockAcquire(vdb_shared->pools_lock, LW_EXCLUSIVE);
	vdb_shared->launcher_latch = NULL;
	LWLockRelease(vdb_shared->pools_lock);
}

/*
 * Start a worker for a database.  Returns false if there is no free slot; a later round tries
 * again.
 */
static bool
start_worker(Oid db, BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker = {0};

	Assert(OidIsValid(db));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "vdb_am", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "vdb_worker_main", BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "vdb migration worker");
	strlcpy(worker.bgw_type, "vdb migration worker", BGW_MAXLEN);
	worker.bgw_main_arg = ObjectIdGetDatum(db);
	worker.bgw_notify_pid = MyProcPid;
	return RegisterDynamicBackgroundWorker(&worker, handle);
}

/* ---- databases whose pools this epoch hasn't seen ---- */

/*
 * The rest of the list made at the launcher's start, and the worker that looks at one of these
 * databases now.
 */
static Oid *unseen = NULL;
static int	nunseen = 0;
static BackgroundWorkerHandle *looking = NULL;

/* List all databases.  The launcher is connected to none, but can read the shared catalogs. */
static void
list_databases(void)
{
	MemoryContext old;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;
	int			room = 0;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		old = MemoryContextSwitchTo(TopMemoryContext);
		if (nunseen == room)
		{
			room = room * 2 + 16;
			unseen = unseen ? repalloc(unseen, room * sizeof(Oid)) : palloc(room * sizeof(Oid));
		}
		unseen[nunseen++] = ((Form_pg_database) GETSTRUCT(tuple))->oid;
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
}

static bool
database_exists(Oid db)
{
	bool		exists;

	StartTransactionCommand();
	exists = SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(db));
	CommitTransactionCommand();
	return exists;
}

/*
 * Check whether the pool is among those that this epoch has opened, and so is looked after anyhow.
 */
static bool
pool_known(Oid db)
{
	bool		known = false;

	LWLockAcquire(vdb_shared->pools_lock, LW_SHARED);
	for (int i = 0; i < vdb_shared->npools; i++)
		known = known || vdb_shared->pools[i].db == db;
	LWLockRelease(vdb_shared->pools_lock);
	return known;
}

/*
 * Start one worker for one database after the other.  The worker opens the pool, if there is one,
 * and moves what is eligible.
 */
static void
look_at_unseen(void)
{
	pid_t		pid;

	if (looking != NULL)
	{
		if (GetBackgroundWorkerPid(looking, &pid) != BGWH_STOPPED)
			return;
		pfree(looking);
		looking = NULL;
	}
	while (nunseen > 0)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
		Oid			db = unseen[nunseen - 1];
		bool		wanted = !pool_known(db) && database_exists(db);
		bool		started = wanted && start_worker(db, &looking);

		MemoryContextSwitchTo(old);
		if (wanted && !started)
			return;
		nunseen--;
		if (started)
			return;
	}
}

/* ---- pools ---- */

/* Check whether this pool needs a worker and has none. */
static bool
pool_eligible(VdbPoolShared *pool, TimestampTz now, TimestampTz *last)
{
	int			nap = Max(vdb_migrate_after_ms / 2, VDB_LAUNCHER_NAP_MS);

	Assert(LWLockHeldByMe(vdb_shared->pools_lock));
	if (!OidIsValid(pool->db) || pool->worker_pid != 0)
		return false;
	if (pool->leave_until != 0 && now < pool->leave_until)
		return false;
	if (pg_atomic_read_u32(&pool->worker_wanted) != 0)
		return true;
	if (vdb_scm_wants_release(pool) && TimestampDifferenceExceeds(*last, now, VDB_LAUNCHER_NAP_MS))
		return true;
	if (vdb_migrate_pool_percent(pool) >= (uint32) vdb_migrate_high_water &&
		TimestampDifferenceExceeds(*last, now,
								   pool->futile ? VDB_LAUNCHER_FUTILE_MS : VDB_LAUNCHER_NAP_MS))
		return true;
	/* so many new segments may have made a range eligible */
	if (pg_atomic_read_u32(&pool->used_segments) >= pool->used_seen + VDB_LAUNCHER_SEGMENTS &&
		TimestampDifferenceExceeds(*last, now, VDB_LAUNCHER_NAP_MS))
		return true;
	/* rows of an earlier epoch may wait, too */
	if (!pool->epoch_begun && pool->changes_seen != PG_UINT64_MAX)
		return false;
	return TimestampDifferenceExceeds(*last, now, nap) &&
		pg_atomic_read_u64(&pool->counters.changes) != pool->changes_seen;
}

/*
 * Check whether the pool's database still exists.  A dropped database, or extension, leaves its
 * slot behind, and needs no worker.
 */
static bool
pool_exists(VdbPoolShared *pool)
{
	char		path[MAXPGPATH];
	struct stat st;

	vdb_relation_path(&pool->rnode, INVALID_PROC_NUMBER, MAIN_FORKNUM, path);
	return stat(path, &st) == 0 && st.st_size > 0;
}

/* Start a worker for each pool that needs one. */
static void
start_eligible_workers(TimestampTz *last)
{
	TimestampTz now = GetCurrentTimestamp();
	Oid		   *eligible = palloc(vdb_shared->max_pools * sizeof(Oid));
	int			neligible = 0;

	LWLockAcquire(vdb_shared->pools_lock, LW_SHARED);
	for (int i = 0; i < vdb_shared->npools; i++)
	{
		if (!pool_eligible(&vdb_shared->pools[i], now, &last[i]) ||
			!pool_exists(&vdb_shared->pools[i]))
			continue;
		last[i] = now;
		pg_atomic_write_u32(&vdb_shared->pools[i].worker_wanted, 0);
		eligible[neligible++] = vdb_shared->pools[i].db;
	}
	LWLockRelease(vdb_shared->pools_lock);
	Assert(neligible <= vdb_shared->max_pools);
	for (int i = 0; i < neligible; i++)
		(void) start_worker(eligible[i], NULL);
	pfree(eligible);
}

/*
 * See migrate.h.  It is called by statements like CREATE DATABASE, for which the server then waits
 * some seconds for our worker to end.
 */
void
vdb_migrate_leave(Oid db)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), VDB_LEAVE_MS);

	LWLockAcquire(vdb_shared->pools_lock, LW_EXCLUSIVE);
	for (int i = 0; i < vdb_shared->npools; i++)
	{
		VdbPoolShared *pool = &vdb_shared->pools[i];

		if (pool->db != db)
			continue;
		pool->leave_until = until;
		if (pool->worker_pid != 0)
			(void) kill(pool->worker_pid, SIGTERM);
	}
	LWLockRelease(vdb_shared->pools_lock);
}

/* Main function of the launcher. */
void
vdb_launcher_main(Datum arg)
{
	TimestampTz *last;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	/* no database: shared catalogs only */
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	LWLockAcquire(vdb_shared->pools_lock, LW_EXCLUSIVE);
	vdb_shared->launcher_latch = MyLatch;
	LWLockRelease(vdb_shared->pools_lock);
	before_shmem_exit(launcher_exit, 0);
	list_databases();
	last = MemoryContextAllocZero(TopMemoryContext, vdb_shared->max_pools * sizeof(TimestampTz));

	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		vdb_scm_tend_ends();
		if (vdb_migrate_enabled)
		{
			look_at_unseen();
			start_eligible_workers(last);
		}
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 looking != NULL ||
						 nunseen > 0 ? VDB_LAUNCHER_SHORT_MS : VDB_LAUNCHER_NAP_MS,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

void
vdb_migrate_init(void)
{
	BackgroundWorker worker = {0};

	vdb_migrate_room_init();
	vdb_migrate_wake_init();
	vdb_migrate_debug_init();
	if (IsBinaryUpgrade)
		return;					/* no other process should run during pg_upgrade */
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 5;
	strlcpy(worker.bgw_library_name, "vdb_am", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "vdb_launcher_main", BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "vdb migration launcher");
	strlcpy(worker.bgw_type, "vdb migration launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}
