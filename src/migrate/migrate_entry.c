/*-------------------------------------------------------------------------
 *
 * migrate_entry.c
 *	  From the pool's entries to relations, and freeing entries without a relation.
 *
 * An entry without a relation is freed when its file is gone: the server unlinks the file at the
 * end of the transaction that dropped the table, or of the aborted one that made it.  It doesn't do
 * so after a crash: files made by a transaction that the crash ended stay for ever, as the server
 * has no record of them.  The pool has one: its entry names the transaction that made the storage
 * (map_format.h).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/catalog.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "common/relpath.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lwlock.h"
#include "storage/procarray.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/vdb_try.h"
#include "migrate/migrate.h"

/* ---- relations ---- */

/*
 * Find the relation with this key in the catalog itself.  The file numbers of temporary tables are
 * unique for their owner only.
 */
static Oid
find_in_catalog(const VdbTableKey *key)
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
		int32		backend = form->relpersistence == RELPERSISTENCE_TEMP ?
			(int32) GetTempNamespaceProcNumber(form->relnamespace) : -1;

		if (backend == key->backend)
			found = form->oid;
	}
	systable_endscan(scan);
	table_close(pg_class, AccessShareLock);
	return found;
}

/*
 * See migrate.h.  This uses a cache where there is one: RelidByRelfilenumber leaves temporary
 * tables out.
 */
Oid
vdb_migrate_find(const VdbTableKey *key)
{
	return key->backend == -1 ? RelidByRelfilenumber(key->spc, key->relnode) :
		find_in_catalog(key);
}

/* See migrate.h. */
Relation
vdb_migrate_open(const VdbTableRef *ref, const VdbTableKey *key, bool *busy)
{
	Oid			relid = vdb_migrate_find(key);
	Relation	rel;
	VdbTableRef now;

	if (!OidIsValid(relid))
	{
		/*
		 * the creating transaction is in progress; or the entry was made in an earlier epoch, and
		 * is left over from a crash
		 */
		*busy = vdb_map_table_entry(ref)->valid_epoch == vdb_pool_shared(ref->pool)->epoch;
		return NULL;
	}
	*busy = !ConditionalLockRelationOid(relid, AccessShareLock);
	if (*busy)
		return NULL;
	rel = try_relation_open(relid, NoLock);
	if (rel != NULL && vdb_is_vdb(rel) && vdb_table_open(rel, false, &now) &&
		now.slot == ref->slot && now.generation == ref->generation)
		return rel;

	/*
	 * it was dropped or rewritten before we had the lock: the entry is, or will be, another
	 * table's (or it is of a crashed run)
	 */
	if (rel != NULL)
		relation_close(rel, NoLock);
	UnlockRelationOid(relid, AccessShareLock);
	return NULL;
}

/* ---- entries without a relation ---- */

/*
 * Check whether the file of a pool entry is gone.  The main fork always has its metapage, so an
 * empty file is one that the server has dropped and will unlink.
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

/* State of the transaction that made an entry's storage. */
typedef enum CreatorStatus
{
	CREATOR_OPEN,					/* in progress, may be prepared */
	CREATOR_COMMITTED,
	CREATOR_ABORTED,				/* also by a crash */
	CREATOR_UNKNOWN					/* too old to be looked up, or of another counter of ids */
} CreatorStatus;

static CreatorStatus
creator_status(FullTransactionId full)
{
	FullTransactionId next = ReadNextFullTransactionId();
	TransactionId xid = XidFromFullTransactionId(full);
	CreatorStatus status;

	if (!FullTransactionIdPrecedes(full, next) ||
		U64FromFullTransactionId(next) - U64FromFullTransactionId(full) > PG_INT32_MAX)
		return CREATOR_UNKNOWN;
	/* checked first: a transaction is in the commit log before it leaves the set of running ones */
	if (TransactionIdIsInProgress(xid))
		return CREATOR_OPEN;
	LWLockAcquire(XactTruncationLock, LW_SHARED);
	if (TransactionIdPrecedes(xid, TransamVariables->oldestClogXid))
		status = CREATOR_UNKNOWN;
	else
		status = TransactionIdDidCommit(xid) ? CREATOR_COMMITTED : CREATOR_ABORTED;
	LWLockRelease(XactTruncationLock);
	return status;
}

/*
 * Check whether the entry's storage was made by a transaction that a crash has ended.  In this
 * epoch aborts unlink what they made, and the end of such a transaction may still be reading its
 * entries; so only transactions count that began before.  A creator that has committed is noted.
 */
static bool
is_orphan(const VdbTableRef *ref, const VdbTableKey *key)
{
	FullTransactionId creator = vdb_map_table_creator(ref);
	CreatorStatus status;

	if (!FullTransactionIdIsValid(creator))
		return false;
	status = creator_status(creator);
	if (status == CREATOR_COMMITTED)
		vdb_map_table_committed(ref);
	if (status != CREATOR_ABORTED || !FullTransactionIdPrecedes(creator, vdb_shared->epoch_limit))
		return false;
	/* it can't have one; but if it has, after some repair, that counts */
	InvalidateCatalogSnapshot();
	return !OidIsValid(find_in_catalog(key));
}

/*
 * Check whether the relation no longer exists.  A table that exists and has lost its file is
 * damaged, and may be repaired.
 */
static bool
is_dropped(const VdbTableKey *key)
{
	return file_gone(key) &&
		(key->backend != -1 || !OidIsValid(RelidByRelfilenumber(key->spc, key->relnode)));
}

/* An entry to look at; the argument of vdb_try. */
typedef struct Candidate
{
	VdbTableRef ref;
	VdbTableKey key;
	bool		freed;
} Candidate;

static void
free_if_ownerless(void *arg)
{
	Candidate  *candidate = arg;

	Assert(!candidate->freed);
	if (!is_dropped(&candidate->key) && !is_orphan(&candidate->ref, &candidate->key))
		return;
	vdb_map_table_drop(&candidate->ref);
	candidate->freed = true;
}

/*
 * Free an entry.  An entry that can't be freed because it is damaged must not keep the space of
 * others.
 */
static void
try_to_free(VdbPoolShared *shared, Candidate *candidate)
{
	ErrorData  *error;

	if (!vdb_can_try())
	{
		free_if_ownerless(candidate);
		return;
	}
	error = vdb_try(free_if_ownerless, candidate);
	if (error == NULL)
		return;
	if (vdb_error_is_interrupt(error))
		ReThrowError(error);
	if (vdb_migrate_note(shared, &candidate->ref, true))
		ereport(LOG,
				(errcode(error->sqlerrcode),
				 errmsg("could not free the space of a dropped table in the pool"),
				 errdetail("%s", error->message)));
	FreeErrorData(error);
}

/*
 * Check whether anything may have to be done about the entry.  This is cheap, as nearly always
 * there is nothing.
 */
static bool
may_be_ownerless(const Candidate *candidate)
{
	return FullTransactionIdIsValid(vdb_map_table_creator(&candidate->ref)) ||
		file_gone(&candidate->key);
}

/* See migrate.h. */
int
vdb_migrate_collect(VdbPool *pool)
{
	VdbPoolShared *shared = vdb_pool_shared(pool);
	bool		past_end = false;
	int			dropped = 0;

	for (uint32 slot = 0; !past_end; slot++)
	{
		Candidate	candidate = {.freed = false};

		CHECK_FOR_INTERRUPTS();
		if (!vdb_map_table_by_slot(pool, slot, &candidate.ref, &candidate.key, &past_end) ||
			past_end || !may_be_ownerless(&candidate) ||
			vdb_migrate_failed_lately(shared, &candidate.ref))
			continue;
		try_to_free(shared, &candidate);
		dropped += candidate.freed ? 1 : 0;
	}
	if (dropped > 0)
		ConditionVariableBroadcast(&shared->space_cv);
	return dropped;
}
