/*-------------------------------------------------------------------------
 *
 * rows_visibility.c
 *	  Visibility checks of a row version on a copied header.
 *
 *   vdb_row_visible: the version is visible to this snapshot (all types).
 *   vdb_row_satisfies_update: this command may delete, update or lock it.
 *   vdb_row_satisfies_vacuum_horizon: whether it is still needed, and if so until when.
 *   vdb_row_satisfies_vacuum: the same, for a given horizon.
 *   vdb_row_is_surely_dead: cheap and pessimistic, by hint bits only.
 *   vdb_row_only_locked: no transaction that counts has updated or deleted it.
 *
 * The rules are the server's own for heap tuples, stated once: a header is reduced to the status of
 * its xmin (xmin_status) and of the transaction that updated or deleted it (updater_status), and
 * each visibility check reads as a table over these two.
 *
 * A transaction id is checked in this order: it is ours; it is running (for MVCC snapshots: it was
 * running when the snapshot was taken); it has committed.  An id for which none of these holds has
 * aborted or died in a crash.  A transaction writes its commit record before it leaves the set of
 * running ones, so checking for a commit first could call a transaction aborted that ends just
 * then.
 *
 * Nothing is stored here.  The results become hint bits in the copied header; the caller stores the
 * difference.  'Committed' is hinted only when the commit record is on disk: pool memory has no LSN
 * that would hold it back until then.  'Aborted' may be hinted always.
 *
 * No locks are taken but those of the server's transaction status look-ups; callers may hold a
 * block lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/multixact.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "storage/procarray.h"
#include "utils/combocid.h"
#include "utils/snapmgr.h"

#include "rows/rows.h"

typedef enum VdbXidStatus
{
	XID_OURS,						/* this transaction or a live child of it */
	XID_RUNNING,					/* another transaction's; MVCC: running by the snapshot */
	XID_COMMITTED,
	XID_ABORTED						/* also if there is no such transaction */
} VdbXidStatus;

/* mvcc: the snapshot whose time counts, or NULL for now. */
static VdbXidStatus
xid_status(TransactionId xid, Snapshot mvcc)
{
	if (TransactionIdIsCurrentTransactionId(xid))
		return XID_OURS;
	if (mvcc != NULL ? XidInMVCCSnapshot(xid, mvcc) : TransactionIdIsInProgress(xid))
		return XID_RUNNING;
	return TransactionIdDidCommit(xid) ? XID_COMMITTED : XID_ABORTED;
}

/* Set a hint bit for the commit of xid, unless a crash could still take the commit back. */
static void
hint_committed(HeapTupleHeader hdr, uint16 bit, TransactionId xid)
{
	Assert(bit == HEAP_XMIN_COMMITTED || bit == HEAP_XMAX_COMMITTED);
	if (!XLogNeedsFlush(TransactionIdGetCommitLSN(xid)))
		hdr->t_infomask |= bit;
}

/*
 * Return the status of xmin.  It is never XID_COMMITTED for a transaction that the snapshot takes
 * as running.
 */
static VdbXidStatus
xmin_status(HeapTupleHeader hdr, Snapshot mvcc)
{
	TransactionId xmin = HeapTupleHeaderGetRawXmin(hdr);
	VdbXidStatus status;

	Assert(!(hdr->t_infomask & HEAP_MOVED));
	if (HeapTupleHeaderXminCommitted(hdr))
	{
		if (mvcc != NULL && !HeapTupleHeaderXminFrozen(hdr) &&
			XidInMVCCSnapshot(xmin, mvcc))
			return XID_RUNNING;
		return XID_COMMITTED;
	}
	if (HeapTupleHeaderXminInvalid(hdr))
		return XID_ABORTED;

	status = xid_status(xmin, mvcc);
	if (status == XID_COMMITTED)
		hint_committed(hdr, HEAP_XMIN_COMMITTED, xmin);
	else if (status == XID_ABORTED)
		hdr->t_infomask |= HEAP_XMIN_INVALID;
	return status;
}

/*
 * Return the status of the transaction that updated or deleted the version, and its id in *updater.
 * The status is XID_ABORTED also when there is no such transaction: xmax is invalid, or only locks.
 * A multixact whose updater aborted may still have living lockers and so gets no hint.
 */
static VdbXidStatus
updater_status(HeapTupleHeader hdr, Snapshot mvcc, TransactionId *updater)
{
	uint16		mask = hdr->t_infomask;
	VdbXidStatus status;

	*updater = InvalidTransactionId;
	if ((mask & HEAP_XMAX_INVALID) || HEAP_XMAX_IS_LOCKED_ONLY(mask))
		return XID_ABORTED;
	if (mask & HEAP_XMAX_IS_MULTI)
	{
		*updater = HeapTupleGetUpdateXid(hdr);
		Assert(TransactionIdIsValid(*updater));
		return xid_status(*updater, mvcc);
	}

	*updater = HeapTupleHeaderGetRawXmax(hdr);
	if (mask & HEAP_XMAX_COMMITTED)
	{
		if (mvcc != NULL && XidInMVCCSnapshot(*updater, mvcc))
			return XID_RUNNING;
		return XID_COMMITTED;
	}
	status = xid_status(*updater, mvcc);
	if (status == XID_COMMITTED)
		hint_committed(hdr, HEAP_XMAX_COMMITTED, *updater);
	else if (status == XID_ABORTED)
		hdr->t_infomask |= HEAP_XMAX_INVALID;
	return status;
}

/*
 * Check whether a locker of a version that is only locked is still running (ourselves included).
 * If not, set HEAP_XMAX_INVALID in the header.
 */
static bool
lockers_running(HeapTupleHeader hdr)
{
	uint16		mask = hdr->t_infomask;
	bool		running;

	Assert(HEAP_XMAX_IS_LOCKED_ONLY(mask) && !(mask & HEAP_XMAX_INVALID));
	if (mask & HEAP_XMAX_COMMITTED)
		return false;
	if (HEAP_LOCKED_UPGRADED(mask))
		running = false;
	else if (mask & HEAP_XMAX_IS_MULTI)
		running = MultiXactIdIsRunning(HeapTupleHeaderGetRawXmax(hdr), true);
	else
		running = TransactionIdIsInProgress(HeapTupleHeaderGetRawXmax(hdr));
	if (!running)
		hdr->t_infomask |= HEAP_XMAX_INVALID;
	return running;
}

/* ---- visibility to a snapshot ---- */

/*
 * Check visibility to an MVCC snapshot: what was committed before the snapshot was taken is
 * visible, and what earlier commands of this transaction did.  Transactions that have ended since
 * then count as running, and their outcome is not looked up, which also spares the shared
 * transaction tables.
 */
static bool
visible_mvcc(HeapTupleHeader hdr, Snapshot snapshot)
{
	TransactionId updater;

	switch (xmin_status(hdr, snapshot))
	{
		case XID_OURS:
			if (HeapTupleHeaderGetCmin(hdr) >= snapshot->curcid)
				return false;
			break;
		case XID_RUNNING:
		case XID_ABORTED:
			return false;
		case XID_COMMITTED:
			break;
	}
	switch (updater_status(hdr, snapshot, &updater))
	{
		case XID_OURS:
			return HeapTupleHeaderGetCmax(hdr) >= snapshot->curcid;
		case XID_COMMITTED:
			return false;
		case XID_RUNNING:
		case XID_ABORTED:
			break;
	}
	return true;
}

/* Check visibility of what is committed now and of everything this transaction did so far. */
static bool
visible_self(HeapTupleHeader hdr)
{
	VdbXidStatus status = xmin_status(hdr, NULL);
	TransactionId updater;

	if (status == XID_RUNNING || status == XID_ABORTED)
		return false;
	status = updater_status(hdr, NULL, &updater);
	return status == XID_RUNNING || status == XID_ABORTED;
}

/*
 * Check visibility as visible_self does, but count unfinished inserts of other transactions as done
 * and their unfinished deletes as not done.  Their ids go into the snapshot: xmin or xmax is set if
 * it is another running transaction's, and with xmin the token of a speculative insertion.
 */
static bool
visible_dirty(HeapTupleHeader hdr, Snapshot snapshot)
{
	VdbXidStatus status = xmin_status(hdr, NULL);
	TransactionId updater;

	snapshot->xmin = snapshot->xmax = InvalidTransactionId;
	snapshot->speculativeToken = 0;
	if (status == XID_ABORTED)
		return false;
	if (status == XID_RUNNING)
	{
		if (HeapTupleHeaderIsSpeculative(hdr))
		{
			snapshot->speculativeToken = HeapTupleHeaderGetSpeculativeToken(hdr);
			Assert(snapshot->speculativeToken != 0);
		}
		snapshot->xmin = HeapTupleHeaderGetRawXmin(hdr);
		return true;
	}
	status = updater_status(hdr, NULL, &updater);
	if (status == XID_RUNNING)
		snapshot->xmax = updater;
	return status == XID_RUNNING || status == XID_ABORTED;
}

/*
 * Check visibility to a reader that followed a pointer to the version: every version is visible
 * unless its insertion failed.
 */
static bool
visible_toast(HeapTupleHeader hdr)
{
	return HeapTupleHeaderXminCommitted(hdr) ||
		(!HeapTupleHeaderXminInvalid(hdr) &&
		 TransactionIdIsValid(HeapTupleHeaderGetRawXmin(hdr)));
}

/* Check whether the version may still be needed, by the horizon that the snapshot carries. */
static bool
visible_non_vacuumable(HeapTupleHeader hdr, Snapshot snapshot)
{
	TransactionId dead_after;
	VdbHtsvResult htsv = vdb_row_satisfies_vacuum_horizon(hdr, &dead_after);

	if (htsv == VDB_RECENTLY_DEAD)
		return !GlobalVisTestIsRemovableXid(snapshot->vistest, dead_after);
	return htsv != VDB_DEAD;
}

/*
 * Check whether the snapshot sees the version.  Hint bits may be added to hdr.  A dirty snapshot's
 * output fields are set.  Raises an error for a historic snapshot, which only catalogs can serve.
 */
bool
vdb_row_visible(HeapTupleHeader hdr, const ItemPointerData *self, Oid relid, Snapshot snapshot)
{
	Assert(ItemPointerIsValid(self));
	Assert(OidIsValid(relid));

	switch (snapshot->snapshot_type)
	{
		case SNAPSHOT_MVCC:
			return visible_mvcc(hdr, snapshot);
		case SNAPSHOT_SELF:
			return visible_self(hdr);
		case SNAPSHOT_ANY:
			return true;
		case SNAPSHOT_TOAST:
			return visible_toast(hdr);
		case SNAPSHOT_DIRTY:
			return visible_dirty(hdr, snapshot);
		case SNAPSHOT_NON_VACUUMABLE:
			return visible_non_vacuumable(hdr, snapshot);
		case SNAPSHOT_HISTORIC_MVCC:
			elog(ERROR, "table %u cannot be read with a historic snapshot", relid);
	}
	return false;				/* keep the compiler quiet */
}

/* ---- what a command may do to a version ---- */

/* Return the result for a committed change.  Deletes leave t_ctid at the version itself. */
static TM_Result
updated_or_deleted(HeapTupleHeader hdr, const ItemPointerData *self)
{
	return ItemPointerEquals((ItemPointer) self, &hdr->t_ctid) ? TM_Deleted : TM_Updated;
}

/*
 * Return the result for an earlier change of our own, made by this command (or a later one), or by
 * one before.
 */
static TM_Result
own_change(HeapTupleHeader hdr, CommandId cid)
{
	return HeapTupleHeaderGetCmax(hdr) >= cid ? TM_SelfModified : TM_Invisible;
}

/*
 * Return the result for a multixact with an updater.  As long as any member is alive it is 'being
 * modified', even if the updater has committed: whether the remaining lockers matter depends on the
 * caller's lock strength.
 */
static TM_Result
satisfies_update_multi(HeapTupleHeader hdr, const ItemPointerData *self, CommandId cid)
{
	TransactionId updater = HeapTupleGetUpdateXid(hdr);

	Assert(TransactionIdIsValid(updater));
	if (TransactionIdIsCurrentTransactionId(updater))
		return own_change(hdr, cid);
	if (MultiXactIdIsRunning(HeapTupleHeaderGetRawXmax(hdr), false))
		return TM_BeingModified;
	if (TransactionIdDidCommit(updater))
		return updated_or_deleted(hdr, self);
	hdr->t_infomask |= HEAP_XMAX_INVALID;
	return TM_Ok;
}

/*
 * Check whether command cid of this transaction may change the version.
 *
 *   TM_Invisible: not visible to this command, or already removed by an earlier command of ours
 *   TM_Ok: it may be changed
 *   TM_SelfModified: this command or a later one of ours has changed it
 *   TM_Updated: it was updated, or moved to another partition, and that has committed
 *   TM_Deleted: it was deleted, and that has committed
 *   TM_BeingModified: a change or lock is alive; it may be our own lock, or a multixact of which we
 *       are a member
 *
 * Hint bits may be added to hdr.
 */
TM_Result
vdb_row_satisfies_update(HeapTupleHeader hdr, const ItemPointerData *self, CommandId cid)
{
	VdbXidStatus status = xmin_status(hdr, NULL);
	TransactionId updater;

	Assert(ItemPointerIsValid(self));
	if (status == XID_RUNNING || status == XID_ABORTED)
		return TM_Invisible;
	if (status == XID_OURS && HeapTupleHeaderGetCmin(hdr) >= cid)
		return TM_Invisible;

	if (hdr->t_infomask & HEAP_XMAX_INVALID)
		return TM_Ok;
	if (HEAP_XMAX_IS_LOCKED_ONLY(hdr->t_infomask))
		return lockers_running(hdr) ? TM_BeingModified : TM_Ok;
	if (hdr->t_infomask & HEAP_XMAX_IS_MULTI)
		return satisfies_update_multi(hdr, self, cid);

	switch (updater_status(hdr, NULL, &updater))
	{
		case XID_OURS:
			return own_change(hdr, cid);
		case XID_RUNNING:
			return TM_BeingModified;
		case XID_COMMITTED:
			return updated_or_deleted(hdr, self);
		case XID_ABORTED:
			break;
	}
	return TM_Ok;
}

/* ---- whether a version is still needed ---- */

/*
 * Return the version's status by its updater.  An updater that has committed makes the version dead
 * even while lockers of the same multixact are alive: they hold the newer version, too.
 */
static VdbHtsvResult
htsv_by_updater(HeapTupleHeader hdr, TransactionId *dead_after)
{
	TransactionId updater;

	switch (updater_status(hdr, NULL, &updater))
	{
		case XID_OURS:
		case XID_RUNNING:
			return VDB_DELETE_IN_PROGRESS;
		case XID_COMMITTED:
			*dead_after = updater;
			return VDB_RECENTLY_DEAD;
		case XID_ABORTED:
			break;
	}
	if ((hdr->t_infomask & HEAP_XMAX_IS_MULTI) && !(hdr->t_infomask & HEAP_XMAX_INVALID) &&
		!MultiXactIdIsRunning(HeapTupleHeaderGetRawXmax(hdr), false))
		hdr->t_infomask |= HEAP_XMAX_INVALID;
	return VDB_LIVE;
}

/*
 * Return the version's status for all transactions.  VDB_RECENTLY_DEAD means that it is dead to
 * those that see *dead_after as committed; otherwise *dead_after is invalid.  A version that
 * another transaction is inserting is 'insert in progress', even if that transaction has changed it
 * since.
 */
VdbHtsvResult
vdb_row_satisfies_vacuum_horizon(HeapTupleHeader hdr, TransactionId *dead_after)
{
	TransactionId updater;

	*dead_after = InvalidTransactionId;
	switch (xmin_status(hdr, NULL))
	{
		case XID_ABORTED:
			return VDB_DEAD;
		case XID_RUNNING:
			return VDB_INSERT_IN_PROGRESS;
		case XID_OURS:
			if (updater_status(hdr, NULL, &updater) == XID_OURS)
				return VDB_DELETE_IN_PROGRESS;
			return VDB_INSERT_IN_PROGRESS;
		case XID_COMMITTED:
			break;
	}
	if (hdr->t_infomask & HEAP_XMAX_INVALID)
		return VDB_LIVE;
	if (HEAP_XMAX_IS_LOCKED_ONLY(hdr->t_infomask))
	{
		/* called for the hint alone, which saves later readers the look-up */
		(void) lockers_running(hdr);
		return VDB_LIVE;
	}
	return htsv_by_updater(hdr, dead_after);
}

/*
 * Return the status as vdb_row_satisfies_vacuum_horizon does, but VDB_DEAD if the version is dead
 * to all transactions from oldest_xmin on.
 */
VdbHtsvResult
vdb_row_satisfies_vacuum(HeapTupleHeader hdr, TransactionId oldest_xmin)
{
	TransactionId dead_after;
	VdbHtsvResult htsv = vdb_row_satisfies_vacuum_horizon(hdr, &dead_after);

	Assert((htsv == VDB_RECENTLY_DEAD) == TransactionIdIsValid(dead_after));
	if (htsv == VDB_RECENTLY_DEAD && TransactionIdPrecedes(dead_after, oldest_xmin))
		return VDB_DEAD;
	return htsv;
}

/*
 * Check whether the version can surely be removed, by hint bits alone.  This is for versions that
 * another visibility check has just found invisible, so that all possible hints are set.
 */
bool
vdb_row_is_surely_dead(HeapTupleHeader hdr, struct GlobalVisState *vistest)
{
	uint16		mask = hdr->t_infomask;

	if (!HeapTupleHeaderXminCommitted(hdr))
		return HeapTupleHeaderXminInvalid(hdr);
	if (!(mask & HEAP_XMAX_COMMITTED) || (mask & HEAP_XMAX_INVALID) ||
		HEAP_XMAX_IS_LOCKED_ONLY(mask) || (mask & HEAP_XMAX_IS_MULTI))
		return false;
	return GlobalVisTestIsRemovableXid(vistest, HeapTupleHeaderGetRawXmax(hdr));
}

/*
 * Check whether xmax is nothing but locks.  A single updater counts even if it has aborted, unless
 * the header says so (callers have had the hint set); a multixact's aborted updater doesn't.
 */
bool
vdb_row_only_locked(HeapTupleHeader hdr)
{
	uint16		mask = hdr->t_infomask;

	if ((mask & HEAP_XMAX_INVALID) || HEAP_XMAX_IS_LOCKED_ONLY(mask) ||
		!TransactionIdIsValid(HeapTupleHeaderGetRawXmax(hdr)))
		return true;
	if (!(mask & HEAP_XMAX_IS_MULTI))
		return false;
	return xid_status(HeapTupleGetUpdateXid(hdr), NULL) == XID_ABORTED;
}
