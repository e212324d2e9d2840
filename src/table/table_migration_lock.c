/*-------------------------------------------------------------------------
 *
 * table_migration_lock.c
 *	  The migration locks of a table, and of each of its ranges.
 *
 * A process that moves or vacuums a range takes the table's lock in a mode that does not conflict
 * with itself, then the range's.  A process that needs all of the table takes the table's lock
 * exclusively.
 *
 * A transaction that has moved a table to another tablespace can't take it.
 * Until that transaction commits, the pool's entry belongs to both storages (see
 * am_ddl.c), and a stripe would be in only one of them.  Nor can a transaction
 * that has changed the table's columns, as an abort takes that back.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/subtrans.h"
#include "access/sysattr.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "table/table.h"

/*
 * Sub-ids of the locks' tags: object locks that core never takes.  The table's is on its pg_class
 * row.  A range's has the number of the range for a class.
 */
#define VDB_MIGRATION_LOCK_SUBID	0x7664
#define VDB_RANGE_LOCK_SUBID		0x7672

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

/*
 * Return the transaction in progress that has made the table's storage, as a subtransaction of this
 * one, or InvalidSubTransactionId if the storage is older.
 */
static SubTransactionId
storage_maker(Relation rel)
{
	return rel->rd_newRelfilelocatorSubid != InvalidSubTransactionId ?
		rel->rd_newRelfilelocatorSubid : rel->rd_createSubid;
}

/* Return the transaction that wrote a column's row of pg_attribute, or InvalidTransactionId. */
static TransactionId
column_writer(Relation rel, int attnum)
{
	HeapTuple	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(RelationGetRelid(rel)),
										Int16GetDatum(attnum));
	TransactionId xmin;

	if (!HeapTupleIsValid(tuple))
		return InvalidTransactionId;
	xmin = HeapTupleHeaderGetXmin(tuple->t_data);
	ReleaseSysCache(tuple);
	return xmin;
}

/*
 * Return true if the transaction, which is this one or a subtransaction that has not failed,
 * belongs to a subtransaction that is open, and so may end alone.
 */
static bool
may_end_alone(TransactionId xid)
{
	TransactionId top = GetTopTransactionIdIfAny();
	TransactionId open = GetCurrentTransactionIdIfAny();

	if (!TransactionIdIsValid(open))
		return true;			/* its parents can't be asked for */
	for (; TransactionIdIsValid(open) && open != top; open = SubTransGetParent(open))
		for (TransactionId x = xid; TransactionIdIsValid(x) && x != top; x = SubTransGetParent(x))
			if (x == open)
				return true;
	return false;
}

/*
 * Return true if this transaction has added, dropped or changed columns of the table, and can take
 * that back without taking back the storage.  What is written to a stripe has the columns of now:
 * values of dropped columns would be lost, and columns that were added would be met again by others
 * that get the same numbers.  Other processes see no such change, as it needs an exclusive lock.
 */
static bool
columns_changed_here(Relation rel)
{
	SubTransactionId maker = storage_maker(rel);
	TransactionId creator = InvalidTransactionId;
	bool		changed = false;

	Assert(InterruptHoldoffCount == 0);
	if (maker == GetCurrentSubTransactionId() ||
		!CheckRelationLockedByMe(rel, AccessExclusiveLock, true))
		return false;
	/* a system column's row is as old as the table */
	if (rel->rd_createSubid != InvalidSubTransactionId)
		creator = column_writer(rel, SelfItemPointerAttributeNumber);
	for (int i = 1; i <= RelationGetNumberOfAttributes(rel) && !changed; i++)
	{
		TransactionId xid = column_writer(rel, i);

		changed = TransactionIdIsValid(xid) && xid != creator &&
			TransactionIdIsCurrentTransactionId(xid) &&
			(maker == InvalidSubTransactionId || may_end_alone(xid));
	}
	return changed;
}

/* Set the lock tag of a range. */
static void
range_tag(Relation rel, uint32 range, LOCKTAG *tag)
{
	SET_LOCKTAG_OBJECT(*tag, MyDatabaseId, range, RelationGetRelid(rel), VDB_RANGE_LOCK_SUBID);
}

/* Take the lock of a tag.  Returns false if it isn't available and 'wait' is false. */
static bool
take_lock(const LOCKTAG *tag, LOCKMODE mode, bool wait)
{
	/* none of our lightweight locks is held: they hold off interrupts */
	Assert(!wait || InterruptHoldoffCount == 0);
	return LockAcquire(tag, mode, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

/* See table.h. */
bool
vdb_table_migration_barred(Relation rel)
{
	return moved_here(rel) || columns_changed_here(rel);
}

/* See table.h. */
bool
vdb_table_migration_lock(Relation rel, bool wait)
{
	LOCKTAG		tag;

	if (vdb_table_migration_barred(rel))
		return false;
	migration_tag(rel, &tag);
	return take_lock(&tag, ExclusiveLock, wait);
}

/* See table.h. */
void
vdb_table_migration_unlock(Relation rel)
{
	LOCKTAG		tag;

	migration_tag(rel, &tag);
	LockRelease(&tag, ExclusiveLock, false);
}

/* See table.h. */
bool
vdb_table_range_lock(Relation rel, uint32 range, bool wait)
{
	LOCKTAG		table;
	LOCKTAG		tag;

	if (vdb_table_migration_barred(rel))
		return false;
	migration_tag(rel, &table);
	range_tag(rel, range, &tag);
	if (!take_lock(&table, RowExclusiveLock, wait))
		return false;
	if (take_lock(&tag, ExclusiveLock, wait))
		return true;
	LockRelease(&table, RowExclusiveLock, false);
	return false;
}

/* See table.h. */
void
vdb_table_range_unlock(Relation rel, uint32 range)
{
	LOCKTAG		table;
	LOCKTAG		tag;

	migration_tag(rel, &table);
	range_tag(rel, range, &tag);
	LockRelease(&tag, ExclusiveLock, false);
	LockRelease(&table, RowExclusiveLock, false);
}

/* See table.h. */
bool
vdb_table_range_wanted(Relation rel, uint32 range)
{
	LOCKTAG		table;
	LOCKTAG		tag;

	Assert(InterruptHoldoffCount == 0);
	migration_tag(rel, &table);
	range_tag(rel, range, &tag);
	return LockHasWaiters(&tag, ExclusiveLock, false) ||
		LockHasWaiters(&table, RowExclusiveLock, false);
}
