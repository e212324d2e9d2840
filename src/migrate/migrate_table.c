/*-------------------------------------------------------------------------
 *
 * migrate_table.c
 *	  Migration of whole tables: SQL function, backlog figures, leftovers.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/catalog.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "common/relpath.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/resowner.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "migrate/migrate.h"

PG_FUNCTION_INFO_V1(vdb_migrate_sql);

/* Ranges whose sweeping (leftovers of earlier server runs) this backend has seen to. */
static void
sweep_once(const VdbTableRef *ref)
{
	const VdbTableEntry *entry = vdb_map_table_entry(ref);

	if (entry->next_stripe == 0)
		return;					/* never migrated: nothing can be left over */
	vdb_map_sweep(ref);
	vdb_overlay_sweep(ref);
}

/* One range, until nothing is left to do there (a range of wide rows takes several stripes). */
static bool
migrate_one(Relation rel, const VdbTableRef *ref, uint32 range, int flags, VdbMigrateResult *result)
{
	bool		done = false;

	while (vdb_migrate_range(rel, ref, range, flags, result))
	{
		CHECK_FOR_INTERRUPTS();
		done = true;
	}
	return done;
}

/*
 * The same in a subtransaction, if asked for: damage of one range must not keep the others in SCM,
 * which would fill up.
 */
static bool
try_one(Relation rel, const VdbTableRef *ref, uint32 range, int flags, VdbMigrateResult *result)
{
	MemoryContext old = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = false;

	if (!(flags & VDB_MIGRATE_GUARD))
		return migrate_one(rel, ref, range, flags, result);
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(old);
	PG_TRY();
	{
		done = migrate_one(rel, ref, range, flags, result);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(old);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(old);
		CurrentResourceOwner = owner;
		if (error->sqlerrcode != ERRCODE_DATA_CORRUPTED)
			ReThrowError(error);
		if (result->error == NULL)
			result->error = error;
		else
			FreeErrorData(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	CurrentResourceOwner = owner;
	return done;
}

/* See migrate.h. */
void
vdb_migrate_report(Relation rel, int elevel, const VdbMigrateResult *result)
{
	/* not lower: an error could end the report */
	if (result->damaged)
		vdb_rows_report_damage(rel, result->error != NULL ? WARNING : elevel, &result->damage);
	if (result->error != NULL)
	{
		result->error->elevel = elevel;
		ThrowErrorData(result->error);
	}
}

/* See migrate.h. */
bool
vdb_migrate_table(Relation rel, int flags, bool wait, VdbMigrateResult *result)
{
	VdbTableRef ref;
	uint32		ranges;
	bool		swept = false;
	bool		done = false;

	if (!vdb_table_open(rel, false, &ref))
		return false;
	ranges = (vdb_map_limit(&ref) + VDB_RANGE_LBS - 1) / VDB_RANGE_LBS;
	for (uint32 range = 0; range < ranges; range++)
	{
		VdbLogicalBlock lb = vdb_map_next_lb(&ref, range * VDB_RANGE_LBS);

		CHECK_FOR_INTERRUPTS();
		if (vdb_lb_range(lb) > range)
		{
			range = vdb_lb_range(lb) - 1;
			continue;
		}
		if (!vdb_migrate_promising(&ref, range, flags))
			continue;
		if (!vdb_table_migration_lock(rel, wait))
			break;
		if (!swept)
			sweep_once(&ref);
		swept = true;
		done = try_one(rel, &ref, range, flags, result) || done;
		vdb_table_migration_unlock(rel);
	}
	return done;
}

/* SELECT vdb.migrate(table): all settled rows, now. */
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
	(void) vdb_migrate_table(rel, VDB_MIGRATE_COMPACT | VDB_MIGRATE_GUARD, true, &result);
	/* all else has moved, and that stays */
	vdb_migrate_report(rel, ERROR, &result);
	relation_close(rel, AccessShareLock);
	PG_RETURN_INT64(result.rows_moved);
}

/* RelidByRelfilenumber leaves temporary tables out, since their numbers are unique for their owner only. */
static Oid
find_temporary(const VdbTableKey *key)
{
	Relation	pg_class = table_open(RelationRelationId, AccessShareLock);
	ScanKeyData skey[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			found = InvalidOid;

	ScanKeyInit(&skey[0], Anum_pg_class_reltablespace, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(key->spc));
	ScanKeyInit(&skey[1], Anum_pg_class_relfilenode, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(key->relnode));
	scan = systable_beginscan(pg_class, ClassTblspcRelfilenodeIndexId, true, NULL, 2, skey);
	while (!OidIsValid(found) && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);

		if (form->relpersistence == RELPERSISTENCE_TEMP &&
			GetTempNamespaceProcNumber(form->relnamespace) == key->backend)
			found = form->oid;
	}
	systable_endscan(scan);
	table_close(pg_class, AccessShareLock);
	return found;
}

static Oid
find_relation(const VdbTableKey *key)
{
	return key->backend == -1 ? RelidByRelfilenumber(key->spc, key->relnode) : find_temporary(key);
}

/* See migrate.h. */
Relation
vdb_migrate_open(const VdbTableRef *ref, const VdbTableKey *key, bool *busy)
{
	Oid			relid = find_relation(key);
	Relation	rel;
	VdbTableRef now;

	if (!OidIsValid(relid))
	{
		/* its maker is in progress; or made in an earlier server run, it is a crash's leftover */
		*busy = vdb_map_table_entry(ref)->valid_incarnation == vdb_pool_shared(ref->pool)->incarnation;
		return NULL;
	}
	*busy = !ConditionalLockRelationOid(relid, AccessShareLock);
	if (*busy)
		return NULL;
	rel = try_relation_open(relid, NoLock);
	if (rel != NULL && vdb_is_vdb(rel) && vdb_table_open(rel, false, &now) &&
		now.slot == ref->slot && now.generation == ref->generation)
		return rel;
	/* dropped or rewritten before we had the lock: the entry is, or will be, another table's (or it is of a crashed run) */
	if (rel != NULL)
		relation_close(rel, NoLock);
	UnlockRelationOid(relid, AccessShareLock);
	return NULL;
}

/*
 * Is the file of a pool entry gone?  The main fork always has its metapage, so
 * an empty file is one that core has dropped and will unlink.
 */
static bool
file_gone(const VdbTableKey *key)
{
	RelFileLocator rnode;
	char		path[MAXPGPATH];
	struct stat st;

	rnode.spcOid = OidIsValid(key->spc) ? key->spc : MyDatabaseTableSpace;
	rnode.dbOid = MyDatabaseId;
	rnode.relNumber = key->relnode;
	vdb_relation_path(&rnode, key->backend, MAIN_FORKNUM, path);
	if (stat(path, &st) < 0)
		return errno == ENOENT;
	return st.st_size == 0;
}

int
vdb_migrate_collect(VdbPool *pool)
{
	VdbTableRef ref;
	VdbTableKey key;
	bool		past_end = false;
	int			dropped = 0;

	for (uint32 slot = 0; !past_end; slot++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!vdb_map_table_by_slot(pool, slot, &ref, &key, &past_end) || past_end)
			continue;
		if (!file_gone(&key))
			continue;
		/* A table that is still there has lost its file: that is damage, and may be repaired. */
		if (key.backend == -1 && OidIsValid(RelidByRelfilenumber(key.spc, key.relnode)))
			continue;
		vdb_map_table_drop(&ref);
		dropped++;
	}
	if (dropped > 0)
		ConditionVariableBroadcast(&vdb_pool_shared(pool)->space_cv);
	return dropped;
}
