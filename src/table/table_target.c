/*-------------------------------------------------------------------------
 *
 * table_target.c
 *	  Lock, check and change one row version.
 *
 * Two locks guard a change of a version.  The block lock (an LWLock, shared by
 * many logical blocks) is held exclusively from the moment the version is
 * checked until its new xmax is stored, so that nothing comes between.  It is
 * never held while waiting for a transaction.  A backend that must wait queues
 * with a heavyweight lock on the TID instead: the first in the queue is the next
 * to change the version, and keeps that place through all of its checks.
 *
 * Steps that can flush WAL, take map or allocation locks or fail for lack of
 * space are done before the change begins, some of them before the block lock is
 * taken.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/multixact.h"
#include "access/transam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/combocid.h"

#include "base/vdb_gate.h"
#include "base/vdb_stop_point.h"
#include "pages/pages.h"
#include "table/table_private.h"

/*
 * Initialize a target for the version at tid.  Returns false if the TID is invalid
 * or the table is empty.  May begin this epoch, which is logged and flushed, so no
 * LWLock may be held.
 */
bool
vdb_target_init(VdbTarget *target, Relation rel, const ItemPointerData *tid)
{
	memset(target, 0, sizeof(VdbTarget));
	target->rel = rel;
	target->tid = *tid;
	target->row = vdb_tid_to_row(tid);
	if (target->row == VDB_ROW_NONE || !vdb_table_open(rel, false, &target->ref))
		return false;
	target->lock_no = vdb_block_lock_no(target->ref.slot, vdb_row_lb(target->row));
	target->epoch = vdb_epoch_current(target->ref.pool);

	/*
	 * As soon as our id is in a row, others may put it into a multixact.  The server must know the
	 * oldest multixact that we may be a member of.
	 */
	MultiXactIdSetOldestMember();
	return true;
}

/* Release the pin of the page of the visibility map, if there is one. */
static void
release_visible(VdbTarget *target)
{
	if (BufferIsValid(target->visible))
		ReleaseBuffer(target->visible);
	target->visible = InvalidBuffer;
}

/*
 * Take the block lock, when the gate of the block's range is open; for a striped
 * block, also pin its page of the visibility map.  The page must be pinned even if
 * it seems to be missing: VACUUM may just have made it, so the bit can't be assumed
 * to be clear.  Waiting at the gate, and pinning, which may wait, aren't done under
 * the lock.
 */
static void
lock_and_pin(VdbTarget *target)
{
	LWLock	   *lock = vdb_block_lock(target->lock_no);
	VdbLogicalBlock lb = vdb_row_lb(target->row);

	for (;;)
	{
		VdbExtent	extent;

		LWLockAcquire(lock, LW_EXCLUSIVE);
		if (vdb_gate_is_closed(target->ref.slot, vdb_lb_range(lb)))
		{
			LWLockRelease(lock);
			vdb_gate_wait(target->ref.slot, vdb_lb_range(lb));
			continue;
		}
		vdb_map_lookup(&target->ref, lb, &extent);
		if (extent.kind != VDB_EXTENT_STRIPE || vdb_visible_pinned(lb, target->visible))
			return;
		LWLockRelease(lock);
		vdb_visible_pin(target->rel, lb, &target->visible);
	}
}

/*
 * Take the block lock and read the version.  What that needs of flash is read
 * before the lock is taken.  Returns false, without the lock, if the version
 * doesn't exist, or not any more.
 */
bool
vdb_target_lock(VdbTarget *target)
{
	VdbStripeParts parts = {0};
	bool		found;

	Assert(!target->locked && !BufferIsValid(target->visible));
	for (;;)
	{
		lock_and_pin(target);
		found = vdb_table_version(target->rel, &target->ref, target->row, &parts,
								  &target->version);
		if (!parts.missing)
			break;
		LWLockRelease(vdb_block_lock(target->lock_no));
		vdb_parts_load(target->rel, &parts);
	}
	vdb_parts_free(&parts);
	if (!found)
	{
		LWLockRelease(vdb_block_lock(target->lock_no));
		release_visible(target);
		return false;
	}
	target->locked = true;
	target->changed = false;
	return true;
}

/* Release the block lock, after storing what the checks have found as hint bits. */
void
vdb_target_unlock(VdbTarget *target)
{
	Assert(target->locked);
	if (!target->changed)
		vdb_table_hint(&target->ref, &target->version);
	LWLockRelease(vdb_block_lock(target->lock_no));
	release_visible(target);
	target->locked = false;
}

/* Raise the error for a row that is locked, under NOWAIT. */
void
vdb_row_not_available(Relation rel)
{
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("could not obtain lock on row in relation \"%s\"",
					RelationGetRelationName(rel))));
}

/*
 * Take a place in the queue for the version, unless we have one already.  No
 * block lock may be held.  Returns false if the policy is to skip and others are
 * in the queue; raises an error if the policy is not to wait.
 */
bool
vdb_target_queue(VdbTarget *target, LockTupleMode mode, LockWaitPolicy policy)
{
	LOCKMODE	heavy = vdb_lock_mode_heavy(mode);

	Assert(!target->locked);
	if (target->queued)
		return true;
	if (policy == LockWaitBlock)
		LockTuple(target->rel, &target->tid, heavy);
	else if (!vdb_try_lock_tuple(target->rel, &target->tid, heavy, policy == LockWaitError))
	{
		if (policy == LockWaitError)
			vdb_row_not_available(target->rel);
		return false;
	}
	target->queued = true;
	target->queue_mode = mode;
	return true;
}

/* Leave the queue.  After an error, the end of the transaction does so. */
void
vdb_target_done(VdbTarget *target)
{
	Assert(!target->locked);
	if (target->queued)
		UnlockTuple(target->rel, &target->tid, vdb_lock_mode_heavy(target->queue_mode));
	target->queued = false;
}

/*
 * Wait for a transaction to end, by the policy.  Returns false if the policy is to
 * skip and the transaction is running; raises an error if the policy is not to
 * wait.  No block lock may be held.
 */
bool
vdb_wait_for_xid(Relation rel, TransactionId xid, const ItemPointerData *tid,
				 XLTW_Oper oper, LockWaitPolicy policy)
{
	if (policy == LockWaitBlock)
	{
		XactLockTableWait(xid, rel, unconstify(ItemPointerData *, tid), oper);
		return true;
	}
	if (vdb_try_wait_for_xid(xid, policy == LockWaitError))
		return true;
	if (policy == LockWaitError)
		vdb_row_not_available(rel);
	return false;
}

/*
 * Make room for a new xmax.  May flush WAL.  Returns false, without the block
 * lock, if there was none: then we have waited for space, and the caller must lock
 * and check again.
 */
bool
vdb_target_prepare(VdbTarget *target)
{
	Assert(target->locked && !target->changed);
	if (vdb_table_prepare_xmax(&target->ref, &target->version))
		return true;
	vdb_target_unlock(target);
	vdb_table_make_room(target->rel);
	return false;
}

/*
 * Put our lock, update or delete into the copied header's xmax and infomask.  The
 * caller sets cid and t_ctid.  May create a multixact.
 */
void
vdb_target_stamp_xmax(VdbTarget *target, LockTupleMode mode, bool is_update)
{
	HeapTupleHeader hdr = &target->version.hdr;
	VdbNewXmax	new;

	Assert(target->locked && !target->changed);
	vdb_xmax_compute(hdr, GetCurrentTransactionId(), mode, is_update, &new);
	VDB_STOP_POINT("table-xmax-computed");

	target->changed = true;
	hdr->t_infomask &= ~HEAP_XMAX_BITS;
	hdr->t_infomask2 &= ~HEAP_KEYS_UPDATED;
	hdr->t_infomask |= new.infomask;
	hdr->t_infomask2 |= new.infomask2;
	HeapTupleHeaderSetXmax(hdr, new.xmax);
	target->must_flush = new.must_flush;
	if (HEAP_XMAX_IS_LOCKED_ONLY(hdr->t_infomask))
		hdr->t_ctid = target->tid;	/* it has no newer version now */
}

/*
 * Store the changed header, and for an update the new version, all in one record.
 * The new version lies in this backend's own segment and needs no lock.
 *
 * A delete or update first clears the block's bit in the visibility map.  That
 * record comes before the change's own, so the change is never found with the bit
 * still set, neither after a crash nor on a standby.
 *
 * Some multixacts are stored only when WAL up to this record is flushed
 * (rows_multi.c).
 */
void
vdb_target_store(VdbTarget *target, const VdbRowAddress *new_address, HeapTuple new_tuple)
{
	int			flags = vdb_row_change_flags(&target->ref);
	VdbScmChange *change;

	Assert(target->locked && target->changed);
	Assert((new_address == NULL) == (new_tuple == NULL));
	if (target->ref.logged && target->must_flush)
		flags |= VDB_CHANGE_FLUSH;
	if (target->version.where == VDB_IN_STRIPE &&
		!HEAP_XMAX_IS_LOCKED_ONLY(target->version.hdr.t_infomask))
	{
		vdb_visible_clear(target->rel, vdb_row_lb(target->row), target->visible);
		VDB_STOP_POINT("table-visible-cleared");
	}
	change = vdb_scm_change_begin(target->ref.pool, flags);
	vdb_scm_change_block_lock(change, target->lock_no);
	if (new_address != NULL)
		vdb_rows_put(change, &target->ref, new_address, new_tuple);
	vdb_table_set_xmax(change, &target->ref, &target->version, target->epoch);
	vdb_event_attach(change, &target->event);
	(void) vdb_scm_change_end(change);
	VDB_STOP_POINT("table-xmax-stored");
}

/* Return true if the xmax is not the one we waited for.  Changed hint bits don't count. */
bool
vdb_target_xmax_changed(const VdbTarget *target, const HeapTupleHeaderData *before)
{
	const HeapTupleHeaderData *now = &target->version.hdr;
	const uint16 kind = HEAP_XMAX_IS_MULTI | HEAP_XMAX_LOCK_ONLY | HEAP_LOCK_MASK;

	return ((now->t_infomask ^ before->t_infomask) & kind) != 0 ||
		!TransactionIdEquals(HeapTupleHeaderGetRawXmax(now), HeapTupleHeaderGetRawXmax(before));
}

/*
 * Determine the state of a version that was being modified, once no transaction
 * in its xmax conflicts with us any longer.
 */
TM_Result
vdb_target_satisfies_update(VdbTarget *target)
{
	Assert(target->locked && !target->changed);
	if (vdb_row_only_locked(&target->version.hdr))
		return TM_Ok;
	return ItemPointerEquals(&target->tid, &target->version.hdr.t_ctid) ? TM_Deleted : TM_Updated;
}

/* Fill *tmfd with the transaction that changed the version and the next version's TID. */
void
vdb_target_failure(VdbTarget *target, TM_Result result, TM_FailureData *tmfd)
{
	HeapTupleHeader hdr = &target->version.hdr;

	Assert(result != TM_Ok && target->locked && !target->changed);
	tmfd->ctid = hdr->t_ctid;
	tmfd->xmax = HeapTupleHeaderGetUpdateXid(hdr);
	tmfd->cmax = result == TM_SelfModified ? HeapTupleHeaderGetCmax(hdr) : InvalidCommandId;
}
