/*-------------------------------------------------------------------------
 *
 * table_chain.c
 *	  Follow the chain from a row version to the newer ones, to lock them all or
 *	  to find the last.
 *
 * A version that was updated points (t_ctid) to its successor.  The link is valid
 * only if the successor's xmin is the transaction that updated the version;
 * otherwise the update was rolled back.  Row numbers are never reused, so a link
 * never leads to another row.  A successor that doesn't exist any more was dead.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/multixact.h"
#include "access/transam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "utils/combocid.h"
#include "utils/snapmgr.h"

#include "table/table_private.h"

/* ---- lock all newer versions ---- */

/* What one holder of a newer version means for our lock on it. */
typedef enum Obstacle
{
	OBSTACLE_NONE,
	OBSTACLE_OURS,					/* we have locked it already */
	OBSTACLE_RUNNING,				/* conflicts; wait for its end */
	OBSTACLE_COMMITTED				/* conflicts for good: it was an update */
} Obstacle;

/* Determine what one holder, with this status, means for our lock. */
static Obstacle
check_holder(TransactionId xid, MultiXactStatus status, LockTupleMode mode)
{
	bool		conflict = DoLockModesConflict(vdb_lock_mode_heavy(vdb_status_lock_mode(status)),
											   vdb_lock_mode_heavy(mode));

	if (TransactionIdIsCurrentTransactionId(xid))
		return OBSTACLE_OURS;
	if (TransactionIdIsInProgress(xid))
		return conflict ? OBSTACLE_RUNNING : OBSTACLE_NONE;
	/* locks end with their transaction; updates stay, if it commits */
	if (conflict && ISUPDATE_from_mxstatus(status) && TransactionIdDidCommit(xid))
		return OBSTACLE_COMMITTED;
	return OBSTACLE_NONE;
}

/* Find the first holder that is an obstacle; *holder is set to it. */
static Obstacle
find_obstacle(HeapTupleHeader hdr, LockTupleMode mode, TransactionId *holder)
{
	TransactionId xmax = HeapTupleHeaderGetRawXmax(hdr);
	uint16		mask = hdr->t_infomask;
	MultiXactMember *members;
	int			nmembers;
	Obstacle	obstacle = OBSTACLE_NONE;

	*holder = xmax;
	if (mask & HEAP_XMAX_INVALID)
		return OBSTACLE_NONE;
	if (!(mask & HEAP_XMAX_IS_MULTI))
		return check_holder(xmax, vdb_xmax_status(hdr), mode);

	Assert(!HEAP_LOCKED_UPGRADED(mask));
	nmembers = GetMultiXactIdMembers(xmax, &members, false, HEAP_XMAX_IS_LOCKED_ONLY(mask));
	for (int i = 0; i < nmembers && obstacle == OBSTACLE_NONE; i++)
	{
		*holder = members[i].xid;
		obstacle = check_holder(members[i].xid, members[i].status, mode);
	}
	if (nmembers > 0)
		pfree(members);
	return obstacle;
}

/* Return true if this is the last version of the chain. */
static bool
is_chain_end(HeapTupleHeader hdr, const ItemPointerData *self)
{
	return (hdr->t_infomask & HEAP_XMAX_INVALID) != 0 ||
		HeapTupleHeaderIndicatesMovedPartitions(hdr) ||
		ItemPointerEquals(unconstify(ItemPointerData *, self), &hdr->t_ctid) ||
		vdb_row_only_locked(hdr);
}

/*
 * Lock one newer version, made by transaction 'maker'.  The block lock is held on
 * return unless the version is gone.  *last is set if nothing is left to be
 * locked.
 */
static TM_Result
lock_newer(VdbTarget *target, TransactionId maker, LockTupleMode mode, bool *last)
{
	HeapTupleHeader hdr = &target->version.hdr;

	*last = true;
	for (;;)
	{
		TransactionId holder;

		CHECK_FOR_INTERRUPTS(); /* has no effect while locked */
		if (!target->locked && !vdb_target_lock(target))
			return TM_Ok;

		/* a rolled back update: the version before was the last */
		if (!TransactionIdEquals(HeapTupleHeaderGetXmin(hdr), maker) ||
			HeapTupleHeaderXminInvalid(hdr) || TransactionIdDidAbort(maker))
			return TM_Ok;

		switch (find_obstacle(hdr, mode, &holder))
		{
			case OBSTACLE_OURS:
				*last = is_chain_end(hdr, &target->tid);
				return TM_Ok;
			case OBSTACLE_RUNNING:
				vdb_target_unlock(target);
				(void) vdb_wait_for_xid(target->rel, holder, &target->tid,
										XLTW_LockUpdated, LockWaitBlock);
				continue;
			case OBSTACLE_COMMITTED:
				return ItemPointerEquals(&target->tid, &hdr->t_ctid) ? TM_Deleted : TM_Updated;
			case OBSTACLE_NONE:
				break;
		}
		if (vdb_target_prepare(target))
			break;
	}
	vdb_target_stamp_xmax(target, mode, false);
	vdb_target_store(target, NULL, NULL);
	*last = is_chain_end(hdr, &target->tid);
	return TM_Ok;
}

/*
 * Lock all versions newer than 'prior', whose TID is 'self'.  It is to be locked in
 * 'mode' although it has been updated, so the lock must hold for all newer
 * versions, too; otherwise the row could be deleted by its latest version.  No
 * block lock may be held.  Returns TM_Ok, or TM_Updated or TM_Deleted if a newer
 * version has a committed change that our lock would have prevented.
 */
TM_Result
vdb_chain_lock(Relation rel, HeapTupleHeader prior, const ItemPointerData *self, LockTupleMode mode)
{
	HeapTupleHeaderData hdr = *prior;
	ItemPointerData tid = *self;
	TM_Result	result = TM_Ok;
	bool		last = false;

	Assert(!HEAP_XMAX_IS_LOCKED_ONLY(hdr.t_infomask));

	/* a row that moved to another partition is as good as deleted here */
	while (!last && result == TM_Ok && !HeapTupleHeaderIndicatesMovedPartitions(&hdr) &&
		   !ItemPointerEquals(&tid, &hdr.t_ctid))
	{
		VdbTarget	target;

		tid = hdr.t_ctid;
		if (!vdb_target_init(&target, rel, &tid))
			break;
		result = lock_newer(&target, HeapTupleHeaderGetUpdateXid(&hdr), mode, &last);
		if (target.locked)
		{
			hdr = target.version.hdr;
			vdb_target_unlock(&target);
		}
	}
	return result;
}

/* ---- find the last version ---- */

/*
 * Raise an error for a version whose inserter is still running: the link of a committed update
 * can't lead to such a version.
 */
static void
unexpected_inserter(Relation rel, const ItemPointerData *tid, TransactionId xmin)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg_internal("transaction %u, which made row version (%u,%u) of table \"%s\", is still in progress",
							 xmin, ItemPointerGetBlockNumberNoCheck(tid),
							 ItemPointerGetOffsetNumberNoCheck(tid),
							 RelationGetRelationName(rel))));
}

/* Raise an error if the TID says that the row has moved to another partition. */
static void
refuse_moved(const ItemPointerData *tid)
{
	if (ItemPointerIndicatesMovedPartitions(tid))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("tuple to be locked was already moved to another partition due to concurrent update")));
}

/* What to do after a look at a version of the chain. */
typedef enum ChainStep
{
	CHAIN_HERE,						/* it is the end; try to lock it */
	CHAIN_AGAIN,					/* it was being changed; look again */
	CHAIN_NEXT,						/* it was updated; go to the next version */
	CHAIN_STOP						/* give up; *result says why */
} ChainStep;

/* Decide on a version that the dirty snapshot sees; may wait for a transaction changing it. */
static ChainStep
check_live(Relation rel, HeapTupleHeader hdr, const ItemPointerData *tid, Snapshot dirty,
		   CommandId cid, LockWaitPolicy policy, TM_FailureData *tmfd, TM_Result *result)
{
	TransactionId xmin = HeapTupleHeaderGetXmin(hdr);

	Assert(!HeapTupleHeaderIsSpeculative(hdr));
	if (TransactionIdIsValid(dirty->xmin))
		unexpected_inserter(rel, tid, dirty->xmin);
	if (TransactionIdIsValid(dirty->xmax))
	{
		if (vdb_wait_for_xid(rel, dirty->xmax, tid, XLTW_FetchUpdated, policy))
			return CHAIN_AGAIN;
		*result = TM_WouldBlock;
		return CHAIN_STOP;
	}

	/* made by this very command or a later one of ours: it isn't there for us */
	if (TransactionIdIsCurrentTransactionId(xmin) && HeapTupleHeaderGetCmin(hdr) >= cid)
	{
		tmfd->xmax = xmin;
		tmfd->cmax = HeapTupleHeaderGetCmin(hdr);
		*result = TM_SelfModified;
		return CHAIN_STOP;
	}
	return CHAIN_HERE;
}

/* Look at the version at tid, which must be made by 'maker', and decide on the next step. */
static ChainStep
chain_step(Relation rel, const ItemPointerData *tid, TransactionId maker, VdbVersion *version,
		   CommandId cid, LockWaitPolicy policy, TM_FailureData *tmfd, TM_Result *result)
{
	HeapTupleHeader hdr = &version->hdr;
	SnapshotData dirty;

	InitDirtySnapshot(dirty);
	*result = TM_Deleted;
	if (!vdb_table_peek(rel, vdb_tid_to_row(tid), version))
		return CHAIN_STOP;
	if (!TransactionIdEquals(HeapTupleHeaderGetXmin(hdr), maker))
		return CHAIN_STOP;
	if (vdb_row_visible(hdr, tid, RelationGetRelid(rel), &dirty))
		return check_live(rel, hdr, tid, &dirty, cid, policy, tmfd, result);

	/* changed by us or by someone who has committed */
	if (ItemPointerEquals(unconstify(ItemPointerData *, tid), &hdr->t_ctid))
		return CHAIN_STOP;
	return CHAIN_NEXT;
}

/*
 * Follow the chain from a version that was found to be updated.  *tmfd has the
 * updating transaction and the next version's TID.  Waits, by the policy, for
 * transactions that are changing versions of the chain.
 *
 * Returns TM_Ok if *tid is a version that may now be locked; otherwise TM_Deleted
 * (no version is left), TM_WouldBlock, or TM_SelfModified with our command in
 * *tmfd.  Raises an error if the row has moved to another partition.  No block
 * lock may be held.
 */
TM_Result
vdb_chain_find_last(Relation rel, ItemPointer tid, CommandId cid, LockWaitPolicy policy,
					TM_FailureData *tmfd)
{
	TransactionId maker = tmfd->xmax;
	TM_Result	result;

	*tid = tmfd->ctid;
	tmfd->traversed = true;
	for (;;)
	{
		VdbVersion	version;

		CHECK_FOR_INTERRUPTS();
		refuse_moved(tid);
		switch (chain_step(rel, tid, maker, &version, cid, policy, tmfd, &result))
		{
			case CHAIN_HERE:
				return TM_Ok;
			case CHAIN_AGAIN:
				break;
			case CHAIN_NEXT:
				maker = HeapTupleHeaderGetUpdateXid(&version.hdr);
				*tid = version.hdr.t_ctid;
				break;
			case CHAIN_STOP:
				return result;
		}
	}
}
