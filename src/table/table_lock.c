/*-------------------------------------------------------------------------
 *
 * table_lock.c
 *	  Lock rows, for SELECT FOR UPDATE and its weaker forms, and for commands
 *	  that need the latest version of a row before changing it.
 *
 * A row lock is an xmax marked 'only locked', so it survives a crash after
 * PREPARE and needs no shared table.  Conflicts depend on both strengths:
 *
 *	  wanted			waits for
 *	  KeyShare			updates of the key, deletes; FOR UPDATE
 *	  Share				all updates, deletes; FOR UPDATE, FOR NO KEY UPDATE
 *	  NoKeyExclusive	all of these, and FOR SHARE
 *	  Exclusive			everything
 *
 * So a KeyShare lock may be put on a version that has been updated already.
 * Then all newer versions are locked, too (table_chain.c).
 *
 * A version is checked with the block lock held.  Only waiting and walking the
 * chain are done without it, and after them the version is checked afresh.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/multixact.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "utils/combocid.h"
#include "utils/snapmgr.h"

#include "base/vdb_stop_point.h"
#include "table/table_private.h"

/* Parameters of a lock. */
typedef struct LockRequest
{
	LockTupleMode mode;
	LockWaitPolicy policy;
	CommandId	cid;
	bool		follow;				/* lock newer versions, too */
} LockRequest;

/* How far one attempt at a version has come. */
typedef struct LockState
{
	VdbTarget	target;
	const LockRequest *request;
	bool		asked_own;			/* own locks were looked for */
	bool		own_weaker;			/* we have a weaker lock, as a member of a multixact */
} LockState;

/* What to do next with the version. */
typedef enum LockStep
{
	LOCK_STORE,						/* block lock held: write our lock */
	LOCK_HELD,						/* we have it already */
	LOCK_AGAIN,						/* check afresh */
	LOCK_FAILED						/* *result says why; block lock held, or the version gone */
} LockStep;

/*
 * Return true if this transaction (any live part of it) has a lock as strong as
 * wanted.  Then it must not queue: a transaction that wants a stronger lock may
 * be waiting for us at the queue's head.  For the same reason it must not queue
 * if it has a weaker lock that it shares with others (own_weaker).
 */
static bool
already_locked(LockState *state)
{
	const HeapTupleHeaderData *hdr = &state->target.version.hdr;
	TransactionId xmax = HeapTupleHeaderGetRawXmax(hdr);
	LockTupleMode wanted = state->request->mode;
	MultiXactMember *members;
	int			nmembers;
	bool		held = false;

	if (!(hdr->t_infomask & HEAP_XMAX_IS_MULTI))
		return TransactionIdIsCurrentTransactionId(xmax) &&
			vdb_status_lock_mode(vdb_xmax_status(hdr)) >= wanted;

	nmembers = GetMultiXactIdMembers(xmax, &members, false,
									 HEAP_XMAX_IS_LOCKED_ONLY(hdr->t_infomask));
	for (int i = 0; i < nmembers && !held; i++)
	{
		if (!TransactionIdIsCurrentTransactionId(members[i].xid))
			continue;
		if (vdb_status_lock_mode(members[i].status) >= wanted)
			held = true;
		else
			state->own_weaker = true;
	}
	if (nmembers > 0)
		pfree(members);
	return held;
}

/* Return true if our lock doesn't conflict with the version's xmax. */
static bool
is_compatible(const HeapTupleHeaderData *hdr, LockTupleMode mode)
{
	TransactionId xmax = HeapTupleHeaderGetRawXmax(hdr);
	uint16		mask = hdr->t_infomask;

	switch (mode)
	{
		case LockTupleKeyShare:
			if (!(hdr->t_infomask2 & HEAP_KEYS_UPDATED))
				return true;
			break;
		case LockTupleShare:
			if (HEAP_XMAX_IS_LOCKED_ONLY(mask) && !HEAP_XMAX_IS_EXCL_LOCKED(mask))
				return true;
			break;
		case LockTupleNoKeyExclusive:
			if ((mask & HEAP_XMAX_IS_MULTI) ?
				!vdb_multixact_conflicts(xmax, mask, mode, NULL) :
				HEAP_XMAX_IS_KEYSHR_LOCKED(mask))
				return true;
			break;
		case LockTupleExclusive:
			break;
	}
	/* ourselves alone, with a weaker lock */
	return !(mask & HEAP_XMAX_IS_MULTI) && TransactionIdIsCurrentTransactionId(xmax);
}

/* Return true if the version has a successor that must be locked as well. */
static bool
must_follow(const LockState *state, const HeapTupleHeaderData *hdr)
{
	return state->request->follow && !HEAP_XMAX_IS_LOCKED_ONLY(hdr->t_infomask) &&
		!ItemPointerEquals(unconstify(ItemPointerData *, &state->target.tid),
						   unconstify(ItemPointerData *, &hdr->t_ctid));
}

/*
 * Take the next step when no transaction conflicts with our lock.  If the version
 * was updated, lock its successors first, without the block lock, and then check
 * that nothing relevant has changed.  (A lock stronger than KeyShare is compatible
 * with an update only if that was rolled back.)
 */
static LockStep
lock_beside(LockState *state, TM_Result *result)
{
	VdbTarget  *target = &state->target;
	HeapTupleHeader hdr = &target->version.hdr;
	HeapTupleHeaderData before = *hdr;

	if (state->request->mode != LockTupleKeyShare || !must_follow(state, &before))
		return LOCK_STORE;

	vdb_target_unlock(target);
	*result = vdb_chain_lock(target->rel, &before, &target->tid, state->request->mode);
	if (!vdb_target_lock(target))
	{
		*result = TM_Deleted;
		return LOCK_FAILED;
	}
	if (*result != TM_Ok)
		return LOCK_FAILED;
	if (!vdb_row_only_locked(hdr) && (hdr->t_infomask2 & HEAP_KEYS_UPDATED))
		return LOCK_AGAIN;
	/* the successor is another one than we have locked */
	if (must_follow(state, hdr) && !ItemPointerEquals(&before.t_ctid, &hdr->t_ctid))
		return LOCK_AGAIN;
	return LOCK_STORE;
}

/* Wait for the conflicting transactions, by the policy.  Returns false if it would block. */
static bool
wait_for_holder(LockState *state, const HeapTupleHeaderData *before)
{
	VdbTarget  *target = &state->target;
	const LockRequest *request = state->request;
	TransactionId xmax = HeapTupleHeaderGetRawXmax(before);
	uint16		mask = before->t_infomask;
	MultiXactStatus status = vdb_lock_mode_status(request->mode, false);

	if (!state->own_weaker && !vdb_target_queue(target, request->mode, request->policy))
		return false;
	if (!(mask & HEAP_XMAX_IS_MULTI))
		return vdb_wait_for_xid(target->rel, xmax, &target->tid, XLTW_Lock, request->policy);
	if (request->policy == LockWaitBlock)
	{
		vdb_multixact_wait(xmax, status, mask, target->rel, &target->tid, XLTW_Lock, NULL);
		return true;
	}
	if (vdb_multixact_wait_conditional(xmax, status, mask, target->rel, NULL))
		return true;
	if (request->policy == LockWaitError)
		vdb_row_not_available(target->rel);
	return false;
}

/*
 * Take the next step when a transaction conflicts with our lock: wait, lock
 * successors if requested, and read the version again.  After a single
 * transaction's end the version is checked afresh.  After waiting for a multixact
 * it isn't, since members that don't conflict may still be running.
 */
static LockStep
lock_after_wait(LockState *state, TM_Result *result)
{
	VdbTarget  *target = &state->target;
	HeapTupleHeaderData before = target->version.hdr;

	vdb_target_unlock(target);
	VDB_STOP_POINT("table-lock-waits");
	if (!wait_for_holder(state, &before))
		*result = TM_WouldBlock;
	else if (must_follow(state, &before))
		*result = vdb_chain_lock(target->rel, &before, &target->tid, state->request->mode);
	else
		*result = TM_Ok;

	if (!vdb_target_lock(target))
	{
		*result = TM_Deleted;
		return LOCK_FAILED;
	}
	if (*result != TM_Ok)
		return LOCK_FAILED;
	if (!(before.t_infomask & HEAP_XMAX_IS_MULTI) || vdb_target_xmax_changed(target, &before))
		return LOCK_AGAIN;
	*result = vdb_target_satisfies_update(target);
	return *result == TM_Ok ? LOCK_STORE : LOCK_FAILED;
}

/* Check the version and decide on the next step.  The block lock is held; may unlock and wait. */
static LockStep
lock_step(LockState *state, TM_Result *result)
{
	VdbTarget  *target = &state->target;
	HeapTupleHeader hdr = &target->version.hdr;

	*result = vdb_row_satisfies_update(hdr, &target->tid, state->request->cid);
	if (*result == TM_Ok)
		return LOCK_STORE;
	if (*result == TM_Invisible || *result == TM_SelfModified)
		return LOCK_FAILED;

	/* being modified, updated or deleted */
	if (!state->asked_own)
	{
		/* once is enough: we get no new lock while we wait */
		state->asked_own = true;
		if (already_locked(state))
			return LOCK_HELD;
	}
	if (is_compatible(hdr, state->request->mode))
		return lock_beside(state, result);
	if (*result != TM_BeingModified)
		return LOCK_FAILED;
	return lock_after_wait(state, result);
}

/*
 * Lock one version, without looking for the latest.  Returns TM_Ok, or the reason
 * for failure, with *tmfd filled unless the version is invisible.
 */
static TM_Result
lock_version(Relation rel, const ItemPointerData *tid, const LockRequest *request,
			 TM_FailureData *tmfd)
{
	LockState	state = {.request = request};
	VdbTarget  *target = &state.target;
	TM_Result	result = TM_Deleted;
	LockStep	step = LOCK_FAILED;

	if (vdb_target_init(target, rel, tid))
		step = LOCK_AGAIN;
	while (step == LOCK_AGAIN)
	{
		CHECK_FOR_INTERRUPTS(); /* has no effect while locked */
		if (!target->locked && !vdb_target_lock(target))
		{
			result = TM_Deleted;
			step = LOCK_FAILED;
			break;
		}
		step = lock_step(&state, &result);
		if (step == LOCK_STORE && !vdb_target_prepare(target))
			step = LOCK_AGAIN;
	}

	if (step == LOCK_FAILED && target->locked && result != TM_Invisible)
		vdb_target_failure(target, result, tmfd);
	else if (step == LOCK_FAILED)
	{
		tmfd->ctid = *tid;
		tmfd->xmax = InvalidTransactionId;
		tmfd->cmax = InvalidCommandId;
	}
	else
		result = TM_Ok;
	if (step == LOCK_STORE)
	{
		vdb_target_stamp_xmax(target, request->mode, false);
		vdb_target_store(target, NULL, NULL);
	}
	if (target->locked)
		vdb_target_unlock(target);
	vdb_target_done(target);
	return result;
}

/*
 * Put the version into the caller's slot.  A version that we have locked must
 * exist; another may be gone, and then the slot is left empty.
 */
static void
show_version(Relation rel, const ItemPointerData *tid, TM_Result result, TupleTableSlot *slot)
{
	if (vdb_table_fetch(rel, vdb_tid_to_row(tid), SnapshotAny, slot, NULL))
		return;
	if (result == TM_Ok)
		elog(ERROR, "row version (%u,%u) of table \"%s\" vanished although it is locked",
			 ItemPointerGetBlockNumberNoCheck(tid), ItemPointerGetOffsetNumberNoCheck(tid),
			 RelationGetRelationName(rel));
	ExecClearTuple(slot);
	slot->tts_tableOid = RelationGetRelid(rel);
	slot->tts_tid = *tid;
}

/*
 * Lock a row in the given strength.  The contract is that of table_tuple_lock:
 * *tid becomes the version that was locked in the end.  The slot gets this
 * version, also if the result is TM_Invisible, TM_SelfModified or (without
 * TUPLE_LOCK_FLAG_FIND_LAST_VERSION) TM_Updated.  Raises an error if the row is
 * locked and the policy demands it, or if the row moved to another partition.
 */
TM_Result
vdb_table_lock(Relation rel, ItemPointer tid, Snapshot snapshot, TupleTableSlot *slot,
			   CommandId cid, LockTupleMode mode, LockWaitPolicy wait_policy, uint8 flags,
			   TM_FailureData *tmfd)
{
	LockRequest request = {
		.mode = mode,
		.policy = wait_policy,
		.cid = cid,
		.follow = (flags & TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS) != 0,
	};
	TM_Result	result;

	tmfd->traversed = false;
	for (;;)
	{
		result = lock_version(rel, tid, &request, tmfd);
		if (result != TM_Updated || !(flags & TUPLE_LOCK_FLAG_FIND_LAST_VERSION))
			break;
		if (ItemPointerEquals(&tmfd->ctid, tid))
			return TM_Deleted;
		result = vdb_chain_find_last(rel, tid, cid, wait_policy, tmfd);
		if (result != TM_Ok)
			return result;
	}
	show_version(rel, tid, result, slot);
	return result;
}
