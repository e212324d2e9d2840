/*-------------------------------------------------------------------------
 *
 * table_migration_lock.c
 *	  The migration lock of a table.
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

/* A lock on the table's pg_class entry, as an object with a sub-id that core never uses. */
#define VDB_MIGRATION_LOCK_SUBID	0x7664

static void
migration_tag(Relation rel, LOCKTAG *tag)
{
	SET_LOCKTAG_OBJECT(*tag, MyDatabaseId, RelationRelationId, RelationGetRelid(rel),
					   VDB_MIGRATION_LOCK_SUBID);
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
