/*-------------------------------------------------------------------------
 *
 * table_migration_lock.c
 *	  The migration lock of a table.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/rel.h"

#include "table/table.h"

/* Advisory locks' fourth field is 1 or 2; ours can't meet a user's. */
#define VDB_MIGRATION_LOCK_CLASS	0x7664

static void
migration_tag(Relation rel, LOCKTAG *tag)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, RelationGetRelid(rel), rel->rd_node.relNode,
						 VDB_MIGRATION_LOCK_CLASS);
}

bool
vdb_table_migration_lock(Relation rel, bool wait)
{
	LOCKTAG		tag;

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
