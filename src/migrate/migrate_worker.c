/*-------------------------------------------------------------------------
 *
 * migrate_worker.c
 *	  The worker of one database: look at each table, move what is due, end.
 *
 * One table is one transaction; no snapshot is held while stripes are built.
 * Locks on tables are taken conditionally, so that nobody's DDL waits behind
 * the worker's own waiting.
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
#include "storage/lmgr.h"
#include "storage/lwlock.h"
#include "storage/procarray.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relfilenodemap.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/vdb_guc.h"
#include "base/vdb_stop_point.h"
#include "migrate/migrate.h"

/* An idle worker looks around this often, and ends after so many looks without work. */
#define VDB_WORKER_NAP_MS		200
#define VDB_WORKER_IDLE_ROUNDS	5

static VdbPoolShared *worker_pool = NULL;

/* Did this round see rows in SCM, or stripes to be settled?  Then there must be another worker later. */
static bool work_waiting = false;

static void
worker_exit(int code, Datum arg)
{
	if (worker_pool != NULL && worker_pool->worker_pid == MyProcPid)
		worker_pool->worker_pid = 0;
}

/* Might an unsettled stripe be settled now?  Row lock held. */
static bool
may_settle(const VdbStripeMeta *meta)
{
	return (meta->flags & VDB_STRIPE_UNSETTLED) != 0 &&
		!(TransactionIdIsNormal(meta->min_xmin) && TransactionIdIsInProgress(meta->min_xmin)) &&
		!(TransactionIdIsNormal(meta->max_xmin) && TransactionIdIsInProgress(meta->max_xmin));
}

/* How many segments wait, and unsettled stripes. */
static void
count_waiting(const VdbTableRef *ref, VdbTableFigures *figures)
{
	VdbLogicalBlock limit = vdb_map_limit(ref);
	VdbLogicalBlock lb = 0;
	VdbBlock	last = VDB_BLOCK_NONE;
	bool		unsettled = false;

	figures->closed_segments = figures->unsettled_stripes = 0;
	while ((lb = vdb_map_next_lb(ref, lb)) < limit)
	{
		LWLock	   *lock = vdb_row_lock(vdb_row_lock_no(ref->slot, lb));
		VdbExtent	extent;

		CHECK_FOR_INTERRUPTS();
		LWLockAcquire(lock, LW_SHARED);
		vdb_map_lookup(ref, lb, &extent);
		if (extent.kind == VDB_EXTENT_SEGMENT && extent.ref != last)
			figures->closed_segments++;
		else if (extent.kind == VDB_EXTENT_STRIPE && extent.ref != last &&
				 (vdb_map_meta(ref->pool, extent.ref)->flags & VDB_STRIPE_UNSETTLED))
		{
			unsettled = true;
			figures->unsettled_stripes += may_settle(vdb_map_meta(ref->pool, extent.ref)) ? 1 : 0;
		}
		LWLockRelease(lock);
		last = extent.ref;
		lb++;
	}
	if (figures->closed_segments > 0 || unsettled)
		work_waiting = true;
}

uint32
vdb_migrate_used_percent(VdbPoolShared *pool)
{
	uint64		limit = (uint64) vdb_scm_limit_mb() * 1024 * 1024 / VDB_SEGMENT_BYTES;

	return (uint32) (100 * (uint64) pg_atomic_read_u32(&pool->used_segments) / Max(limit, 1));
}

/* Is the table due?  Its age counts from its last migration, or the first look at it. */
static VdbReason
table_reason(const VdbTableRef *ref, VdbPoolShared *pool)
{
	VdbTableFigures figures = {0};
	VdbPolicy	policy;
	const VdbTableEntry *entry = vdb_map_table_entry(ref);
	TimestampTz since = Max(entry->last_migration, pool->worker_since);

	policy.high_water_percent = vdb_migrate_high_water;
	policy.backlog_segments = vdb_migrate_backlog_segments;
	policy.after_ms = (uint64) vdb_migrate_after_ms;
	figures.pool_used_percent = vdb_migrate_used_percent(pool);
	count_waiting(ref, &figures);
	figures.oldest_age_ms = (uint64) TimestampDifferenceMilliseconds(since, GetCurrentTimestamp());
	return vdb_migrate_reason(&figures, &policy);
}

/* One table in one transaction; was anything done? */
static bool
work_on_table(VdbPool *pool, const VdbTableRef *ref, const VdbTableKey *key)
{
	Oid			relid;
	Relation	rel;
	VdbMigrateResult result = {0};
	VdbReason	reason;
	bool		done = false;

	if (key->backend != -1)
		return false;
	relid = RelidByRelfilenode(key->spc, key->relnode);
	if (!OidIsValid(relid) || !ConditionalLockRelationOid(relid, AccessShareLock))
		return false;
	rel = try_relation_open(relid, NoLock);
	if (rel == NULL)
		return false;
	reason = vdb_is_vdb(rel) ? table_reason(ref, vdb_pool_shared(pool)) : VDB_REASON_NONE;
	if (reason != VDB_REASON_NONE)
	{
		int			flags = VDB_MIGRATE_COMPACT;
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
		done = vdb_migrate_table(rel, flags, false, &result);
	}
	relation_close(rel, NoLock);
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
			done = work_on_table(pool, &ref, &key) || done;
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
		if (pool->worker_since == 0)
			pool->worker_since = GetCurrentTimestamp();
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
		pg_atomic_write_u32(&worker_pool->worker_wanted, 0);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 idle > 0 ? VDB_WORKER_NAP_MS : Max(vdb_migrate_cost_delay_ms, 1),
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	proc_exit(0);
}
