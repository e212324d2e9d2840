/*-------------------------------------------------------------------------
 *
 * migrate_room.c
 *	  What an inserter does when the pool is full: wake, help, wait.
 *
 * It doesn't fail because rows fill the pool.  Helping, it also moves rows of
 * transactions in progress (its own above all): they go to flash as a stripe
 * whose xmins are judged one by one.  So a transaction larger than the pool
 * makes its own way.
 *
 * What can't move is metadata: stripe metas, zone maps, overlays, map nodes.
 * When nobody has given space back for VDB_ROOM_PATIENCE_MS, and nobody owns a
 * segment that may come free at the end of a transaction, waiting is in
 * vain: error.
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
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "base/vdb_stop_point.h"
#include "migrate/migrate.h"

#define VDB_ROOM_WAIT_MS		100
#define VDB_ROOM_PATIENCE_MS	60000
#define VDB_ROOM_WARN_MS		10000	/* waiting longer is worth a warning, and again a minute later */
#define VDB_ROOM_REPEAT_MS		60000

/* This wait: when it began, when room was last looked for in vain, when a warning was given (0: not yet). */
static TimestampTz waiting_since = 0;
static TimestampTz last_look = 0;
static TimestampTz warned_at = 0;

/* Move what can be moved of one other table of the pool, own temporary ones included; no waiting for locks. */
static bool
help_table(const VdbTableRef *ref, const VdbTableKey *key, Oid except)
{
	Relation	rel;
	VdbMigrateResult result = {0};
	bool		busy;

	if (key->backend != -1 && key->backend != MyProcNumber)
		return false;
	rel = vdb_migrate_open(ref, key, &busy);
	if (rel == NULL)
		return false;
	if (RelationGetRelid(rel) != except)
		(void) vdb_migrate_table(rel, VDB_MIGRATE_OWN | VDB_MIGRATE_COMPACT, false, &result);
	relation_close(rel, AccessShareLock);
	return VDB_MIGRATE_FREED(&result);
}

static bool
help_others(VdbPool *pool, Relation rel)
{
	VdbTableRef ref;
	VdbTableKey key;
	bool		past_end = false;
	bool		freed = false;

	for (uint32 slot = 0; !past_end && !freed; slot++)
	{
		CHECK_FOR_INTERRUPTS();
		if (vdb_map_table_by_slot(pool, slot, &ref, &key, &past_end) && !past_end)
			freed = help_table(&ref, &key, RelationGetRelid(rel));
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

/* ---- giving up ---- */

/* Since when this backend has waited without anything getting better; and what it looked like then. */
typedef struct Stuck
{
	TimestampTz since;				/* 0: not waiting */
	TimestampTz last;				/* last round of waiting */
	uint64		progress;
} Stuck;

static Stuck stuck = {0};

/* Changes whenever somebody in the pool gets on. */
static uint64
progress_mark(VdbPoolShared *shared)
{
	return pg_atomic_read_u64(&shared->counters.rows_migrated) * 31 +
		pg_atomic_read_u64(&shared->counters.stripes_written) * 37 +
		pg_atomic_read_u64(&shared->counters.rows_appended) * 41 +
		pg_atomic_read_u32(&shared->used_segments);
}

/* Has nothing got better for longer than our patience? */
static bool
out_of_patience(VdbPoolShared *shared)
{
	TimestampTz now = GetCurrentTimestamp();
	uint64		progress = progress_mark(shared);

	if (stuck.since == 0 || progress != stuck.progress ||
		TimestampDifferenceExceeds(stuck.last, now, VDB_ROOM_PATIENCE_MS / 4))
		stuck.since = now;
	stuck.progress = progress;
	stuck.last = now;
	return TimestampDifferenceExceeds(stuck.since, now, VDB_ROOM_PATIENCE_MS);
}

/* Segments of a table: all, and those that a transaction in progress appends to.  Caller: a lock on the relation. */
static void
count_segments(const VdbTableRef *ref, uint64 *segments, uint64 *owned)
{
	VdbBlock	last = VDB_BLOCK_NONE;

	for (VdbLogicalBlock lb = 0; (lb = vdb_map_next_lb(ref, lb)) < vdb_map_limit(ref); lb++)
	{
		LWLock	   *lock = vdb_row_lock(vdb_row_lock_no(ref->slot, lb));
		VdbExtent	extent;

		CHECK_FOR_INTERRUPTS();
		LWLockAcquire(lock, LW_SHARED);
		vdb_map_lookup(ref, lb, &extent);
		LWLockRelease(lock);
		if (extent.kind != VDB_EXTENT_SEGMENT || extent.ref == last)
			continue;
		last = extent.ref;
		(*segments)++;
		if (vdb_rows_segment_state(ref, extent.ref) == VDB_SEGMENT_OWNED)
			(*owned)++;
	}
}

/*
 * Count a table's segments, unless somebody has locked it, or has just made it: then
 * its map may go away while it is read, and the end of that transaction may help.
 */
static void
count_table(const VdbTableRef *ref, const VdbTableKey *key, uint64 *segments, uint64 *owned)
{
	uint64		some = 0;
	bool		busy;
	Relation	rel = vdb_migrate_open(ref, key, &busy);

	if (rel == NULL)
	{
		if (busy)
			(*owned)++;
		return;
	}
	count_segments(ref, &some, owned);
	relation_close(rel, AccessShareLock);
	*segments += some;
	/* only its session can move a temporary table's rows */
	if (key->backend != -1 && key->backend != MyProcNumber)
		*owned += some;
}

/* ERROR unless somebody's end of transaction may still help. */
static void
give_up(VdbPool *pool)
{
	uint64		used = pg_atomic_read_u32(&vdb_pool_shared(pool)->used_segments);
	uint64		segments = 0;
	uint64		owned = 0;
	VdbTableRef ref;
	VdbTableKey key;
	bool		past_end = false;

	for (uint32 slot = 0; !past_end; slot++)
	{
		CHECK_FOR_INTERRUPTS();
		if (vdb_map_table_by_slot(pool, slot, &ref, &key, &past_end) && !past_end)
			count_table(&ref, &key, &segments, &owned);
	}
	stuck.since = 0;
	if (owned > 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("pool of vdb tables is full of metadata"),
			 errdetail("Of the " UINT64_FORMAT " bytes in use, rows take " UINT64_FORMAT
					   ", and metadata of stripes and tables " UINT64_FORMAT ".",
					   used * VDB_SEGMENT_BYTES, segments * VDB_SEGMENT_BYTES,
					   (used - Min(segments, used)) * VDB_SEGMENT_BYTES),
			 errhint("Raise \"vdb.scm_size\", run VACUUM, or merge or drop small tables.")));
}

/* ---- the whole ---- */

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
	VdbMigrateResult result = {0};
	bool		freed;

	VDB_STOP_POINT("make_room");
	pg_atomic_fetch_add_u64(&shared->counters.waits, 1);
	vdb_migrate_wake(pool);
	vdb_rows_hand_back();
	(void) vdb_migrate_table(rel, VDB_MIGRATE_OWN, false, &result);
	freed = VDB_MIGRATE_FREED(&result);
	if (!freed)
		freed = vdb_migrate_collect(pool) > 0;
	if (!freed)
		freed = help_others(pool, rel);
	if (!freed)
	{
		(void) vdb_migrate_table(rel, VDB_MIGRATE_OWN | VDB_MIGRATE_COMPACT, false, &result);
		freed = VDB_MIGRATE_FREED(&result);
	}
	if (freed)
		pg_atomic_fetch_add_u64(&shared->counters.helped, 1);
	else if (out_of_patience(shared))
		give_up(pool);
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
