/*-------------------------------------------------------------------------
 *
 * migrate_wake.c
 *	  Waking the worker: the pool fills up, or tables were dropped.
 *
 * The space that a dropped table has in the pool can be freed when the server has unlinked its
 * file: at the end of the transaction, after all transaction callbacks.  So code that drops
 * storage, or makes storage that an abort takes back, attaches a callback to the transaction's
 * memory, which is released last.  The drop itself need not have opened the pool.
 *
 * A transaction that is prepared leaves this to COMMIT PREPARED or ROLLBACK PREPARED.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "migrate/migrate.h"

/*
 * State of this transaction: its memory has the callback; it makes storage; storage is dropped at
 * its end.
 */
static bool armed = false;
static bool made = false;
static bool dropped = false;

static object_access_hook_type previous_access = NULL;

/* See migrate.h. */
void
vdb_migrate_wake(VdbPool *pool)
{
	vdb_pool_wake_worker(vdb_pool_shared(pool));
}

/* See migrate.h. */
void
vdb_migrate_wake_database(Oid db)
{
	LWLockAcquire(vdb_shared->pools_lock, LW_SHARED);
	for (int i = 0; i < vdb_shared->npools; i++)
		if (vdb_shared->pools[i].db == db)
			vdb_pool_wake_worker_locked(&vdb_shared->pools[i]);
	LWLockRelease(vdb_shared->pools_lock);
}

/*
 * Wake the worker if storage was dropped.  Called when the transaction's memory is released: by
 * then the files that it dropped are unlinked.
 */
static void
transaction_over(void *arg)
{
	bool		wake = dropped;

	Assert(armed);
	armed = made = dropped = false;
	if (wake)
		vdb_migrate_wake_database(MyDatabaseId);
}

/* Attach the callback to this transaction's memory, once. */
static void
arm(void)
{
	MemoryContextCallback *callback;

	if (armed)
		return;
	callback = MemoryContextAllocZero(TopTransactionContext, sizeof(MemoryContextCallback));
	callback->func = transaction_over;
	MemoryContextRegisterResetCallback(TopTransactionContext, callback);
	armed = true;
}

/* See migrate.h. */
void
vdb_migrate_storage_made(void)
{
	arm();
	made = true;
}

/* See migrate.h. */
void
vdb_migrate_storage_dropped(void)
{
	arm();
	dropped = true;
}

/* Note that an abort takes back the storage that was made. */
static void
wake_transaction_ended(XactEvent event, void *arg)
{
	Assert(armed || !(made || dropped));
	if (event == XACT_EVENT_ABORT)
		dropped = dropped || made;
}

/* Note that the abort of a subtransaction may take back storage. */
static void
wake_subtransaction_ended(SubXactEvent event, SubTransactionId mine, SubTransactionId parent,
						  void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		dropped = dropped || made;
}

/*
 * Note a dropped table.  This hook sees DROP, of the table or of an object that it belongs to, and
 * the transient table of a rewrite, which has the old storage.
 */
static void
object_accessed(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *arg)
{
	if (previous_access)
		previous_access(access, class_id, object_id, sub_id, arg);
	if (access == OAT_DROP && class_id == RelationRelationId && sub_id == 0)
	{
		Relation	rel = RelationIdGetRelation(object_id);

		if (!RelationIsValid(rel))
			return;
		if (vdb_is_vdb(rel))
			vdb_migrate_storage_dropped();
		RelationClose(rel);
	}
}

/* Install the hook and the callbacks.  Called from _PG_init, while preloading. */
void
vdb_migrate_wake_init(void)
{
	previous_access = object_access_hook;
	object_access_hook = object_accessed;
	RegisterXactCallback(wake_transaction_ended, NULL);
	RegisterSubXactCallback(wake_subtransaction_ended, NULL);
}
