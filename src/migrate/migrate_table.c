/*-------------------------------------------------------------------------
 *
 * migrate_table.c
 *	  Migration of whole tables, move by move; the SQL function.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xlog.h"
#include "catalog/pg_class.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/vdb_try.h"
#include "migrate/migrate.h"

PG_FUNCTION_INFO_V1(vdb_migrate_sql);

/*
 * Sweep leftovers of earlier epochs, once in a pass, unless another process is moving rows of the
 * table: a later pass will do it.
 */
static void
sweep_once(Relation rel, const VdbTableRef *ref)
{
	const VdbTableEntry *entry = vdb_map_table_entry(ref);

	if (entry->next_stripe == 0)
		return;					/* the table was never migrated, so nothing can be left over */
	if (!vdb_table_migration_lock(rel, false))
		return;
	vdb_map_sweep(ref);
	vdb_overlay_sweep(ref);
	vdb_table_migration_unlock(rel);
}

/* A range to move; the argument of vdb_try. */
typedef struct RangeMove
{
	Relation	rel;
	const VdbTableRef *ref;
	uint32		range;
	int			flags;
	VdbMigrateResult *result;
	bool		done;
} RangeMove;

static void
move_one_range(void *arg)
{
	RangeMove  *move = arg;

	move->done = vdb_migrate_range(move->rel, move->ref, move->range, move->flags, move->result);
}

/*
 * Move something of one range, in a subtransaction if the flags ask for that: damage of one range
 * must not keep the others in the pool, which would fill up.
 */
static bool
try_range(RangeMove *move)
{
	ErrorData  *error;

	move->done = false;
	if (!(move->flags & VDB_MIGRATE_GUARD))
	{
		move_one_range(move);
		return move->done;
	}
	error = vdb_try(move_one_range, move);
	if (error == NULL)
		return move->done;
	if (error->sqlerrcode != ERRCODE_DATA_CORRUPTED)
		ReThrowError(error);
	if (move->result->error == NULL)
		move->result->error = error;
	else
		FreeErrorData(error);
	return false;
}

/* See migrate.h. */
void
vdb_migrate_report(Relation rel, int elevel, const VdbMigrateResult *result)
{
	/* not lower than WARNING, as an error could end the report */
	if (result->damaged)
		vdb_rows_report_damage(rel, result->error != NULL ? WARNING : elevel, &result->damage);
	if (result->error != NULL)
	{
		result->error->elevel = elevel;
		ThrowErrorData(result->error);
	}
}

/*
 * Take the range's migration lock, and do one move.  Before a pass's first move the table is swept.
 * If the lock isn't available, the range is left, and the pass is marked.
 */
static bool
move_locked(RangeMove *move, VdbMigratePass *pass, bool wait)
{
	bool		done;

	if (!pass->swept)
		sweep_once(move->rel, move->ref);
	pass->swept = true;
	if (!vdb_table_range_lock(move->rel, move->range, wait))
	{
		/* if it is barred, no other process is at the table */
		if (!vdb_table_migration_barred(move->rel))
			pass->busy = true;
		return false;
	}
	done = try_range(move);
	vdb_table_range_unlock(move->rel, move->range);
	return done;
}

/* See migrate.h. */
bool
vdb_migrate_next(Relation rel, const VdbTableRef *ref, VdbMigratePass *pass, int flags, bool wait,
				 VdbMigrateResult *result)
{
	VdbCursor	cursor;

	Assert(CheckRelationLockedByMe(rel, AccessShareLock, true));
	if (pass->ranges == 0)
		pass->ranges = (vdb_map_limit(ref) + VDB_RANGE_LBS - 1) / VDB_RANGE_LBS;
	vdb_cursor_init_blocks(&cursor, ref);
	vdb_cursor_bound(&cursor, (int64) pass->next * VDB_RANGE_LBS,
					 (int64) pass->ranges * VDB_RANGE_LBS);
	for (; vdb_cursor_next_range(&cursor); pass->next++)
	{
		RangeMove	move = {rel, ref, vdb_lb_range(vdb_cursor_lb(&cursor)), flags, result, false};
		VdbRangeSummary summary;

		CHECK_FOR_INTERRUPTS();
		pass->next = move.range;
		if (!vdb_map_summarize(ref, move.range, &summary))
			continue;
		if (summary.empty)
			(void) vdb_map_free_range(ref, move.range);
		if (summary.empty || !vdb_migrate_may_find(ref, move.range, &summary, flags))
			continue;
		if (move_locked(&move, pass, wait))
			return true;
	}
	pass->next = pass->ranges;
	return false;
}

/* See migrate.h. */
bool
vdb_migrate_table(Relation rel, int flags, bool wait, VdbMigrateResult *result)
{
	VdbTableRef ref;
	VdbMigratePass pass = {0};
	bool		done = false;

	if (!vdb_table_open(rel, false, &ref))
		return false;
	while (vdb_migrate_next(rel, &ref, &pass, flags, wait, result))
		done = true;
	return done;
}

/* Warn that no row moves, if this transaction bars the table's migration. */
static void
warn_if_barred(Relation rel)
{
	if (vdb_table_migration_barred(rel))
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("rows of table \"%s\" cannot move in this transaction",
						RelationGetRelationName(rel)),
				 errdetail("It has changed the table's columns or moved its storage, and may still roll that back."),
				 errhint("Call vdb.migrate() again after COMMIT.")));
}

/* SELECT vdb.migrate(table): move all resolved rows now. */
Datum
vdb_migrate_sql(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	Relation	rel;
	VdbMigrateResult result = {0};

	vdb_require_preload();
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot migrate rows during recovery"),
				 errhint("Run vdb.migrate() on the primary.")));
	rel = relation_open(relid, AccessShareLock);
	if (!object_ownercheck(RelationRelationId, relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(rel->rd_rel->relkind),
					   RelationGetRelationName(rel));
	if (!vdb_is_vdb(rel))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a vdb table", RelationGetRelationName(rel)),
				 errhint("vdb.migrate() works on tables and materialized views made with USING vdb.")));
	warn_if_barred(rel);
	(void) vdb_migrate_table(rel, VDB_MIGRATE_COMPACT | VDB_MIGRATE_MERGE | VDB_MIGRATE_GUARD,
							 true, &result);
	/* the other rows have moved, and stay moved */
	vdb_migrate_report(rel, ERROR, &result);
	relation_close(rel, AccessShareLock);
	PG_RETURN_INT64(result.rows_moved);
}
