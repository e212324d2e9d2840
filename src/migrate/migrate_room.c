/*-------------------------------------------------------------------------
 *
 * migrate_room.c
 *	  What an inserter does when the pool is full: wake the worker, help, wait.
 *
 * An inserter doesn't fail because rows fill the pool.  When it helps, it also moves rows of
 * transactions in progress (its own above all): they go to flash as a stripe whose xmins are
 * checked one by one.  So a transaction larger than the pool makes its own room.
 *
 * Metadata can't move: stripe metas, zone maps, map nodes, and of overlays what isn't final.  When
 * no rows have moved and no space has been given back for VDB_ROOM_PATIENCE_MS, and there is no
 * owned segment that may come free at the end of a transaction, waiting is in vain, and an error is
 * raised.
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
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "base/vdb_guc.h"
#include "base/vdb_stop_point.h"
#include "base/vdb_try.h"
#include "migrate/migrate_private.h"

#define VDB_ROOM_WAIT_MS		100
#define VDB_ROOM_PATIENCE_MS	60000
#define VDB_ROOM_WARN_MS		10000	/* a longer wait is worth a warning, and another one a
										 * minute later */
#define VDB_ROOM_REPEAT_MS		60000

/*
 * Times of this wait: when it began, when room was last looked for in vain, and when a warning was
 * given (0: not yet).
 */
static TimestampTz waiting_since = 0;
static TimestampTz last_look = 0;
static TimestampTz warned_at = 0;

/* ---- helping ---- */

/*
 * Work for other tables may fail for reasons that don't concern our statement: their file system is
 * full, their map is damaged.  So each such piece of work has a subtransaction, and its error is
 * reported in the server's log.  The places that our own batch has reserved outlive it.
 */
typedef struct OtherWork
{
	VdbPool    *pool;
	const VdbTableRef *ref;			/* the table that the work is about, or NULL */
	const VdbTableKey *key;
	Oid			except;				/* the statement's own table */
	int			flags;				/* of the moves: VDB_MIGRATE_* */
	bool		freed;				/* space in the pool was freed */
	bool		busy;				/* rows were left, as another process is moving rows there */
	uint64		segments;			/* segments counted */
	uint64		owned;
} OtherWork;

static void
report_failure(const OtherWork *work, ErrorData *error)
{
	static const VdbTableRef none = {.slot = PG_UINT32_MAX};
	char	   *name = NULL;

	if (!vdb_migrate_note(vdb_pool_shared(work->pool), work->ref != NULL ? work->ref : &none, true))
		return;
	if (work->key != NULL)
		name = get_rel_name(vdb_migrate_find(work->key));
	ereport(LOG,
			(errcode(error->sqlerrcode),
			 name != NULL ?
			 errmsg("could not move rows of table \"%s\" to make room in the pool", name) :
			 errmsg("could not free space of other tables in the pool"),
			 errdetail("%s", error->message),
			 errhint("Other tables are moved instead. The table is tried again, and reported again after an hour.")));
}

/*
 * Do a piece of work for other tables.  Returns false if it failed, which was reported.  A cancel
 * is raised again; so is any error while a parallel plan runs, since there can be no
 * subtransaction.
 */
static bool
try_other(OtherWork *work, VdbTryWork function)
{
	ErrorData  *volatile error = NULL;

	Assert((work->ref == NULL) == (work->key == NULL));
	if (!vdb_can_try())
	{
		function(work);
		return true;
	}
	vdb_rows_keep_addresses(true);
	PG_TRY();
	{
		error = vdb_try(function, work);
	}
	PG_FINALLY();
	{
		vdb_rows_keep_addresses(false);
	}
	PG_END_TRY();
	if (error == NULL)
		return true;
	if (vdb_error_is_interrupt(error))
		ReThrowError(error);
	report_failure(work, error);
	FreeErrorData(error);
	return false;
}

/*
 * Move rows of one other table of the pool, own temporary tables included, until something is
 * freed.  Locks are not waited for.
 */
static void
help_table(void *arg)
{
	OtherWork  *work = arg;
	VdbMigrateResult result = {0};
	VdbMigratePass pass = {0};
	bool		busy;
	Relation	rel = vdb_migrate_open(work->ref, work->key, &busy);

	if (rel == NULL)
		return;
	while (RelationGetRelid(rel) != work->except && !VDB_MIGRATE_FREED(&result) &&
		   vdb_migrate_next(rel, work->ref, &pass, work->flags, false, &result))
		CHECK_FOR_INTERRUPTS();
	relation_close(rel, AccessShareLock);
	work->busy = work->busy || pass.busy;
	work->freed = VDB_MIGRATE_FREED(&result);
}

/*
 * Move rows and delta records of other tables of the pool, by the flags, until something is freed.
 * Returns whether something was; sets *busy if another process is moving rows that were left.
 */
static bool
help_others(VdbPool *pool, Relation rel, int flags, bool *busy)
{
	VdbTableRef ref;
	VdbTableKey key;
	OtherWork	work = {
		.pool = pool,.ref = &ref,.key = &key,.except = RelationGetRelid(rel),.flags = flags
	};
	bool		past_end = false;

	for (uint32 slot = 0; !past_end && !work.freed; slot++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!vdb_map_table_by_slot(pool, slot, &ref, &key, &past_end) || past_end ||
			(key.backend != -1 && key.backend != MyProcNumber) ||
			vdb_migrate_failed_lately(vdb_pool_shared(pool), &ref))
			continue;
		(void) try_other(&work, help_table);
	}
	*busy = *busy || work.busy;
	return work.freed;
}

/* Free what dropped tables have; for try_other. */
static void
collect(void *arg)
{
	OtherWork  *work = arg;

	work->freed = vdb_migrate_collect(work->pool) > 0;
}

/*
 * Check whether this statement helps other tables: in a parallel plan there can be no
 * subtransaction, and then the worker does it, if there is one.
 */
static bool
helps_others(void)
{
	return vdb_can_try() || !vdb_migrate_enabled;
}

/*
 * Free what dropped tables have, or move other tables' rows and delta records.  The worker, which
 * was woken, does so too.  Returns whether anything was freed; sets *busy if another process is
 * moving rows.
 */
static bool
help(VdbPool *pool, Relation rel, int flags, bool *busy)
{
	OtherWork	work = {.pool = pool};

	if (!helps_others())
		return false;
	(void) try_other(&work, collect);
	return work.freed || help_others(pool, rel, flags, busy);
}

/* Wait until a process frees space, for VDB_ROOM_WAIT_MS at most. */
static void
wait_for_room(VdbPoolShared *shared)
{
	ConditionVariablePrepareToSleep(&shared->space_cv);
	ConditionVariableTimedSleep(&shared->space_cv, VDB_ROOM_WAIT_MS, PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
}

/* ---- giving up ---- */

/*
 * Since when this backend has waited without progress in the pool, and the state of the pool then.
 */
typedef struct Stuck
{
	TimestampTz since;				/* 0: not waiting */
	TimestampTz last;				/* end of the last round */
	uint64		progress;
	uint32		used;				/* lowest number of segments in use, seen since then */
} Stuck;

static Stuck stuck = {0};

/* Return a sum of counts that change whenever a process moves or stores rows. */
static uint64
progress_mark(VdbPoolShared *shared)
{
	return pg_atomic_read_u64(&shared->counters.rows_migrated) * 31 +
		pg_atomic_read_u64(&shared->counters.stripes_written) * 37 +
		pg_atomic_read_u64(&shared->counters.rows_appended) * 41;
}

/*
 * Check whether there has been no progress for longer than VDB_ROOM_PATIENCE_MS, or ten times that
 * while another process is moving rows, which may be in vain.  The round that ends now began at
 * 'begin'; a round may take long, as it tries all tables.  Space that is reserved and given back is
 * no progress.
 */
static bool
out_of_patience(VdbPoolShared *shared, TimestampTz begin, bool busy)
{
	TimestampTz now = GetCurrentTimestamp();
	uint64		progress = progress_mark(shared);
	uint32		used = pg_atomic_read_u32(&shared->used_segments);

	if (stuck.since == 0 || progress != stuck.progress || used < stuck.used ||
		TimestampDifferenceExceeds(stuck.last, begin, VDB_ROOM_PATIENCE_MS / 4))
	{
		stuck.since = now;
		stuck.used = used;
	}
	stuck.progress = progress;
	stuck.last = now;
	return TimestampDifferenceExceeds(stuck.since, now,
									  VDB_ROOM_PATIENCE_MS * (busy ? 10 : 1));
}

/*
 * Count the segments of a table: all, and those that a transaction in progress appends to.  The
 * caller has a lock on the relation.
 */
static void
count_table_segments(const VdbTableRef *ref, uint64 *segments, uint64 *owned)
{
	VdbBlock	last = VDB_BLOCK_NONE;
	VdbCursor	cursor;

	vdb_cursor_init_blocks(&cursor, ref);
	while (vdb_cursor_next(&cursor))
	{
		VdbLogicalBlock lb = vdb_cursor_lb(&cursor);
		VdbExtent	extent;

		CHECK_FOR_INTERRUPTS();
		vdb_lock_block(ref, lb, LW_SHARED);
		vdb_map_lookup(ref, lb, &extent);
		vdb_unlock_block(ref, lb);
		if (extent.kind != VDB_EXTENT_SEGMENT || extent.ref == last)
			continue;
		last = extent.ref;
		(*segments)++;
		if (vdb_rows_segment_state(ref, extent.ref, NULL) == VDB_SEGMENT_OWNED)
			(*owned)++;
	}
}

/*
 * Count a table's segments, unless it is locked by another session or has just been made.  In these
 * cases its map may go away while it is read, and the end of that transaction may help.
 */
static void
count_table(void *arg)
{
	OtherWork  *work = arg;
	uint64		some = 0;
	bool		busy;
	Relation	rel = vdb_migrate_open(work->ref, work->key, &busy);

	if (rel == NULL)
	{
		if (busy)
			work->owned++;
		return;
	}
	count_table_segments(work->ref, &some, &work->owned);
	relation_close(rel, AccessShareLock);
	work->segments += some;
	/* only the table's session can move a temporary table's rows */
	if (work->key->backend != -1 && work->key->backend != MyProcNumber)
		work->owned += some;
}

/*
 * Raise an error unless the end of another transaction may still help.  If 'barred', the rows of
 * rel's are what can't move.
 */
static void
give_up(VdbPool *pool, Relation rel, bool barred)
{
	uint64		used = pg_atomic_read_u32(&vdb_pool_shared(pool)->used_segments);
	VdbTableRef ref;
	VdbTableKey key;
	OtherWork	work = {.pool = pool,.ref = &ref,.key = &key};
	bool		past_end = false;

	Assert(stuck.since != 0);
	for (uint32 slot = 0; !past_end; slot++)
	{
		CHECK_FOR_INTERRUPTS();
		if (vdb_map_table_by_slot(pool, slot, &ref, &key, &past_end) && !past_end)
			(void) try_other(&work, count_table);
	}
	stuck.since = 0;
	if (work.owned > 0)
		return;
	if (barred)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("the pool is full of rows that cannot move before this transaction ends"),
				 errdetail("The transaction has changed the columns of table \"%s\" or moved its storage, and may still roll that back.",
						   RelationGetRelationName(rel)),
				 errhint("Insert the rows in another transaction after COMMIT, or raise vdb.scm_size.")));
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("the pool is full of metadata"),
			 errdetail("Of the " UINT64_FORMAT " bytes in use, rows take " UINT64_FORMAT
					   ", and metadata of stripes and tables " UINT64_FORMAT ".%s",
					   used * VDB_SEGMENT_BYTES, work.segments * VDB_SEGMENT_BYTES,
					   (used - Min(work.segments, used)) * VDB_SEGMENT_BYTES,
					   vdb_migrate_horizon_holder()),
			 errhint("Raise vdb.scm_size, end the transaction that holds the oldest snapshot and run VACUUM, or merge or drop small tables.")));
}

/* ---- the whole wait ---- */

/*
 * Warn that a statement waits for room, with the reason and the remedy.  Room was looked for in
 * vain, since 'begin'.
 */
static void
warn_of_wait(Relation rel, TimestampTz begin)
{
	TimestampTz now = GetCurrentTimestamp();

	if (TimestampDifferenceExceeds(last_look, begin, 20 * VDB_ROOM_WAIT_MS))
	{
		/* there was room meanwhile */
		waiting_since = begin;
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
					   "and the maps, zone maps and deletions of all tables.%s%s",
					   vdb_table_migration_barred(rel) ?
					   " This transaction has changed the table's columns or storage, so its rows can't move." : "",
					   vdb_migrate_horizon_holder()),
			 errhint("Raise vdb.scm_size and reload the configuration, or end the transaction that holds the oldest snapshot; this statement then goes on.")));
}

/*
 * Make room in the pool for an inserter into rel, once: free something, or wait for a moment, or
 * raise an error.
 */
static void
make_room(Relation rel)
{
	VdbPool    *pool = vdb_pool_open();
	VdbPoolShared *shared = vdb_pool_shared(pool);
	VdbMigrateResult result = {0};
	TimestampTz begin = GetCurrentTimestamp();
	bool		busy = false;
	bool		freed;

	Assert(CheckRelationLockedByMe(rel, AccessShareLock, true));
	VDB_STOP_POINT("make-room");
	if (vdb_scm_make_larger(pool))
		return;
	vdb_scm_report_growth(pool);
	pg_atomic_fetch_add_u64(&shared->counters.waits, 1);
	vdb_migrate_wake(pool);
	vdb_rows_hand_back();
	(void) vdb_migrate_table(rel, VDB_MIGRATE_OWN, false, &result);
	freed = VDB_MIGRATE_FREED(&result);
	if (!freed)
	{
		(void) vdb_migrate_table(rel, VDB_MIGRATE_STRIPES | VDB_MIGRATE_SPILL, false, &result);
		freed = VDB_MIGRATE_FREED(&result);
	}
	if (!freed)
		freed = help(pool, rel, VDB_MIGRATE_OWN | VDB_MIGRATE_COMPACT | VDB_MIGRATE_SPILL, &busy);
	if (!freed)
	{
		/* this waits for the ranges that the other passes have left: VACUUM hands them over */
		(void) vdb_migrate_table(rel, VDB_MIGRATE_OWN | VDB_MIGRATE_COMPACT | VDB_MIGRATE_SPILL_ANY,
								 true, &result);
		freed = VDB_MIGRATE_FREED(&result);
	}
	if (!freed && helps_others())
		freed = help_others(pool, rel, VDB_MIGRATE_STRIPES | VDB_MIGRATE_SPILL_ANY, &busy);
	if (freed)
		pg_atomic_fetch_add_u64(&shared->counters.backend_migrations, 1);
	else if (out_of_patience(shared, begin, busy))
		give_up(pool, rel, vdb_table_migration_barred(rel));
	else
	{
		warn_of_wait(rel, begin);
		wait_for_room(shared);
	}
}

/* Install make_room as the callback of inserters.  Called from _PG_init. */
void
vdb_migrate_room_init(void)
{
	vdb_table_set_make_room(make_room);
}
