/*-------------------------------------------------------------------------
 *
 * migrate_worker.c
 *	  The worker of one database: look at each table, move what is due, end.
 *
 * One table is one transaction; no snapshot is held while stripes are built.
 * Locks on tables are taken conditionally, so that nobody's DDL waits behind
 * the worker's own waiting.
 *
 * Damage must not keep the worker from what is sound.  A row that fails its checksum stays where
 * it is, and so does a range with other damage, and the rest of the table moves; damage of the table as a
 * whole ends the work on it for this round.  It is reported once an hour.
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

/* An idle worker looks around this often, and ends after so many looks without work. */
#define VDB_WORKER_NAP_MS		200
#define VDB_WORKER_IDLE_ROUNDS	5

/* The same table's damage is reported so often. */
#define VDB_WORKER_REPORT_MS	3600000

static VdbPoolShared *worker_pool = NULL;

/* Did this round see rows in SCM, or stripes to be settled?  Then there must be another worker later. */
static bool work_waiting = false;

static void
worker_exit(int code, Datum arg)
{
	if (worker_pool != NULL && worker_pool->worker_pid == MyProcPid)
		worker_pool->worker_pid = 0;
}

/* Was this table's damage not reported lately?  Then it is going to be. */
static bool
damage_is_news(VdbPoolShared *shared, const VdbTableRef *ref)
{
	TimestampTz now = GetCurrentTimestamp();
	VdbDamageNote *note = &shared->damage_notes[0];

	for (int i = 0; i < VDB_DAMAGE_NOTES; i++)
	{
		VdbDamageNote *other = &shared->damage_notes[i];

		if (other->reported_at != 0 && other->table_slot == ref->slot &&
			other->table_generation == ref->generation)
		{
			note = other;
			break;
		}
		if (other->reported_at < note->reported_at)
			note = other;
	}
	if (note->reported_at != 0 && note->table_slot == ref->slot &&
		note->table_generation == ref->generation &&
		!TimestampDifferenceExceeds(note->reported_at, now, VDB_WORKER_REPORT_MS))
		return false;
	*note = (VdbDamageNote) {ref->slot, ref->generation, now};
	return true;
}

/* One table in one transaction; was anything done? */
static bool
work_on_table(VdbPool *pool, const VdbTableRef *ref, const VdbTableKey *key)
{
	Relation	rel;
	VdbMigrateResult result = {0};
	VdbReason	reason;
	bool		waiting;
	bool		busy;
	bool		done = false;

	if (key->backend != -1)
		return false;
	rel = vdb_migrate_open(ref, key, &busy);
	if (rel == NULL)
		return false;
	reason = vdb_migrate_due(ref, &waiting);
	work_waiting = work_waiting || waiting;
	if (reason != VDB_REASON_NONE)
	{
		int			flags = VDB_MIGRATE_COMPACT | VDB_MIGRATE_GUARD;
		char		activity[NAMEDATALEN + 32];

		snprintf(activity, sizeof(activity), "migrating %s", RelationGetRelationName(rel));
		pgstat_report_activity(STATE_RUNNING, activity);
		/*
		 * With the pool filling up, rows of transactions in progress move
		 * too: a load larger than the pool then need not do it by itself.
		 */
		if (reason == VDB_REASON_FULL)
			flags |= VDB_MIGRATE_OWN;
		else if (reason == VDB_REASON_UNSETTLED)
			flags |= VDB_MIGRATE_STRIPES;
		else if (reason == VDB_REASON_BACKLOG)
			flags |= VDB_MIGRATE_RIPE;
		done = vdb_migrate_table(rel, flags, false, &result);
		if ((result.damaged || result.error != NULL) && damage_is_news(vdb_pool_shared(pool), ref))
			vdb_migrate_report(rel, WARNING, &result);
	}
	relation_close(rel, NoLock);
	return done;
}

/*
 * The same, and the end of the transaction; when the table is damaged, report that and go on.  Other errors end
 * the worker, and another one tries again later.
 */
static bool
work_safely(VdbPool *pool, const VdbTableRef *ref, const VdbTableKey *key)
{
	VdbPoolShared *shared = vdb_pool_shared(pool);
	volatile bool done = false;

	PG_TRY();
	{
		done = work_on_table(pool, ref, key);
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_DATA_CORRUPTED)
			PG_RE_THROW();
		HOLD_INTERRUPTS();
		if (damage_is_news(shared, ref))
			EmitErrorReport();
		AbortCurrentTransaction();
		MemoryContextSwitchTo(TopMemoryContext);
		FlushErrorState();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	return done;
}

/* One look at all tables; was anything done? */
static bool
work_round(void)
{
	bool		past_end = false;
	bool		done = false;

	for (uint32 slot = 0; !past_end; slot++)
	{
		VdbPool    *pool;
		VdbTableRef ref;
		VdbTableKey key;

		CHECK_FOR_INTERRUPTS();
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		pool = vdb_pool_try_open();
		if (pool == NULL)
		{
			CommitTransactionCommand();
			return false;
		}
		worker_pool = vdb_pool_shared(pool);
		if (slot == 0)
			done = vdb_migrate_collect(pool) > 0;
		if (vdb_map_table_by_slot(pool, slot, &ref, &key, &past_end) && !past_end)
			done = work_safely(pool, &ref, &key) || done;
		else
			CommitTransactionCommand();
		pgstat_report_stat(false);
		pgstat_report_activity(STATE_IDLE, NULL);
	}
	return done;
}

/* Make the pool known to this server run.  False: the database has none. */
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

/* Be the pool's worker, unless it has one, or we are not wanted there. */
static bool
claim_pool(Oid db)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		mine = false;

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

	while (idle < VDB_WORKER_IDLE_ROUNDS)
	{
		uint64		changes = pg_atomic_read_u64(&worker_pool->counters.changes);

		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		if (!vdb_migrate_enabled)
			break;
		VDB_STOP_POINT("worker_round");
		work_waiting = false;
		idle = work_round() ? 0 : idle + 1;
		worker_pool->changes_seen = work_waiting ? PG_UINT64_MAX : changes;
		worker_pool->used_seen = pg_atomic_read_u32(&worker_pool->used_segments);
		pg_atomic_write_u32(&worker_pool->worker_wanted, 0);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 idle > 0 ? VDB_WORKER_NAP_MS : Max(vdb_migrate_cost_delay_ms, 1),
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	proc_exit(0);
}
