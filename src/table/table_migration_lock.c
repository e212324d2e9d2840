/*-------------------------------------------------------------------------
 *
 * table_migration_lock.c
 *	  The migration lock of a table.
 *
 * A transaction that has moved a table to another tablespace can't take it.
 * Until that transaction commits, the pool's entry belongs to both storages (see
 * am_ddl.c), and a stripe would be in only one of them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/rel.h"

#include "table/table.h"

/* Sub-id of the lock's tag: an object lock on the table's pg_class row that core never takes. */
#define VDB_MIGRATION_LOCK_SUBID	0x7664

/* Set the lock tag of a table's migration lock. */
static void
migration_tag(Relation rel, LOCKTAG *tag)
{
	SET_LOCKTAG_OBJECT(*tag, MyDatabaseId, RelationRelationId, RelationGetRelid(rel),
					   VDB_MIGRATION_LOCK_SUBID);
}

/*
 * Return true if this transaction has moved the table's storage, so that the pool's entry has
 * another key than the storage, which an abort takes back.
 */
static bool
moved_here(Relation rel)
{
	VdbTableRef ref;
	VdbTableKey key;

	if (rel->rd_firstRelfilelocatorSubid == InvalidSubTransactionId ||
		!vdb_table_open(rel, false, &ref))
		return false;
	vdb_table_key(rel, &rel->rd_locator, &key);
	return key.spc != ref.spc || key.relnode != ref.relnode;
}

bool
vdb_table_migration_lock(Relation rel, bool wait)
{
	LOCKTAG		tag;

	if (moved_here(rel))
		return false;
	migration_tag(rel, &tag);
	return LockAcquire(&tag, ExclusiveLock, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

void
vdb_table_migration_unlock(Relation rel)
{
	LOCKTAG		tag;

	migration_tag(rel, &tag);
	LockRelease(&tag, ExclusiveLock, false);
}
