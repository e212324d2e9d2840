/*-------------------------------------------------------------------------
 *
 * migrate_room.c
 *	  What an inserter does when the pool is full: wake, help, wait.
 *
 * It never fails for want of space.  Helping, it also moves rows of
 * transactions in progress (its own above all): they go to flash as a stripe
 * whose xmins are judged one by one.  So a transaction larger than the pool
 * makes its own way.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "storage/condition_variable.h"
#include "storage/lmgr.h"
#include "utils/rel.h"
#include "utils/relfilenodemap.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "base/vdb_stop_point.h"
#include "migrate/migrate.h"

#define VDB_ROOM_WAIT_MS	100
#define VDB_ROOM_WARN_MS	10000	/* waiting longer is worth a warning, and again a minute later */
#define VDB_ROOM_REPEAT_MS	60000

/* This wait: when it began, when room was last looked for in vain, when a warning was given (0: not yet). */
static TimestampTz waiting_since = 0;
static TimestampTz last_look = 0;
static TimestampTz warned_at = 0;

/* Move what can be moved of one other table of the pool; no waiting for locks. */
static int
help_table(const VdbTableKey *key, Oid except)
{
	Oid			relid;
	Relation	rel;
	int			freed = 0;

	if (key->backend != -1)
		return 0;
	relid = RelidByRelfilenode(key->spc, key->relnode);
	if (!OidIsValid(relid) || relid == except)
		return 0;
	if (!ConditionalLockRelationOid(relid, AccessShareLock))
		return 0;
	rel = try_relation_open(relid, NoLock);
	if (rel != NULL)
	{
		if (vdb_is_vdb(rel))
			vdb_migrate_table(rel, VDB_MIGRATE_OWN, false, &freed);
		relation_close(rel, NoLock);
	}
	UnlockRelationOid(relid, AccessShareLock);
	return freed;
}

static int
help_others(VdbPool *pool, Relation rel)
{
	VdbTableRef ref;
	VdbTableKey key;
	bool		past_end = false;
	int			freed = 0;

	for (uint32 slot = 0; !past_end && freed == 0; slot++)
	{
		CHECK_FOR_INTERRUPTS();
		if (vdb_map_table_by_slot(pool, slot, &ref, &key, &past_end) && !past_end)
			freed += help_table(&key, RelationGetRelid(rel));
	}
	return freed;
}

static void
wait_for_room(VdbPoolShared *shared)
{
	ConditionVariablePrepareToSleep(&shared->space_cv);
	ConditionVariableTimedSleep(&shared->space_cv, VDB_ROOM_WAIT_MS, PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
}

/* Tell who waits why, and what ends it.  Room was looked for in vain. */
static void
warn_of_wait(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (TimestampDifferenceExceeds(last_look, now, 20 * VDB_ROOM_WAIT_MS))
	{
		/* there was room meanwhile */
		waiting_since = now;
		warned_at = 0;
	}
	last_look = now;
	if (!TimestampDifferenceExceeds(waiting_since, now, VDB_ROOM_WARN_MS) ||
		!TimestampDifferenceExceeds(warned_at, now, VDB_ROOM_REPEAT_MS))
		return;
	warned_at = now;
	ereport(WARNING,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("the pool is full, and nothing in it could be moved for a while"),
			 errdetail("What stays in the pool are rows of open transactions and of temporary tables, "
					   "and the maps, zone maps and deletions of all tables."),
			 errhint("Raise vdb.scm_size and reload the configuration; this statement then goes on.")));
}

static void
make_room(Relation rel)
{
	VdbPool    *pool = vdb_pool_open();
	VdbPoolShared *shared = vdb_pool_shared(pool);
	int			freed = 0;

	VDB_STOP_POINT("make_room");
	pg_atomic_fetch_add_u64(&shared->counters.waits, 1);
	vdb_migrate_wake(pool);
	vdb_rows_hand_back();
	vdb_migrate_table(rel, VDB_MIGRATE_OWN, false, &freed);
	if (freed == 0)
		freed += vdb_migrate_collect(pool);
	if (freed == 0)
		freed += help_others(pool, rel);
	if (freed > 0)
	{
		last_look = 0;
		pg_atomic_fetch_add_u64(&shared->counters.helped, 1);
	}
	else
	{
		warn_of_wait();
		wait_for_room(shared);
	}
}

void
vdb_migrate_room_init(void)
{
	vdb_table_set_make_room(make_room);
}
