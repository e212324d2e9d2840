/*-------------------------------------------------------------------------
 *
 * rows_xmax.c
 *	  The xmax field: the transactions that updated, deleted or locked a version.
 *
 * One transaction is written as its id with the bits of its lock; several as a multixact whose
 * members each have a status.  A row lock strength (LockTupleMode) corresponds to three things,
 * tabulated below: the heavyweight lock that queues for it, the member status of a locker, and that
 * of an updater.
 *
 * The order in which the bits of a single id are to be read is the server's: with
 * HEAP_XMAX_LOCK_ONLY it is a lock of strength HEAP_XMAX_KEYSHR_LOCK, _SHR_LOCK or _EXCL_LOCK (the
 * strongest with HEAP_KEYS_UPDATED); without it an update that left the key alone, or
 * (HEAP_KEYS_UPDATED) a change of key or a delete.
 *
 * Functions that look at members may read multixact pages; a block lock may be held then.  Those
 * that wait must be called without one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/multixact.h"
#include "access/transam.h"
#include "access/xact.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"

#include "rows/rows_private.h"

#define NO_STATUS	(-1)

/* The locks and statuses that correspond to a row lock strength. */
typedef struct LockStrength
{
	LOCKMODE	heavy;
	int			locker;				/* MultiXactStatus */
	int			updater;			/* MultiXactStatus or NO_STATUS */
} LockStrength;

static const LockStrength strengths[] = {
	[LockTupleKeyShare] = {AccessShareLock, MultiXactStatusForKeyShare, NO_STATUS},
	[LockTupleShare] = {RowShareLock, MultiXactStatusForShare, NO_STATUS},
	[LockTupleNoKeyExclusive] = {ExclusiveLock, MultiXactStatusForNoKeyUpdate,
	MultiXactStatusNoKeyUpdate},
	[LockTupleExclusive] = {AccessExclusiveLock, MultiXactStatusForUpdate,
	MultiXactStatusUpdate},
};

StaticAssertDecl(lengthof(strengths) == LockTupleExclusive + 1, "a strength per lock mode");

/* Return the heavyweight lock on the TID that goes with a row lock strength. */
LOCKMODE
vdb_lock_mode_heavy(LockTupleMode mode)
{
	return strengths[mode].heavy;
}

/* Return the status with which a transaction that locks with strength 'mode' joins a multixact. */
MultiXactStatus
vdb_lock_mode_status(LockTupleMode mode, bool is_update)
{
	int			status = is_update ? strengths[mode].updater : strengths[mode].locker;

	if (status == NO_STATUS)
		elog(ERROR, "row lock mode %d does not allow an update", (int) mode);
	return (MultiXactStatus) status;
}

/* Return the strength of the lock that a member of that status holds. */
LockTupleMode
vdb_status_lock_mode(MultiXactStatus status)
{
	switch (status)
	{
		case MultiXactStatusForKeyShare:
			return LockTupleKeyShare;
		case MultiXactStatusForShare:
			return LockTupleShare;
		case MultiXactStatusForNoKeyUpdate:
		case MultiXactStatusNoKeyUpdate:
			return LockTupleNoKeyExclusive;
		case MultiXactStatusForUpdate:
		case MultiXactStatusUpdate:
			return LockTupleExclusive;
	}
	elog(ERROR, "invalid multixact status %d", (int) status);
	return LockTupleExclusive;	/* keep the compiler quiet */
}

/* Return the status that a single xmax (not a multixact) would have as a member. */
MultiXactStatus
vdb_xmax_status(const HeapTupleHeaderData *hdr)
{
	uint16		mask = hdr->t_infomask;
	bool		keys = (hdr->t_infomask2 & HEAP_KEYS_UPDATED) != 0;

	Assert(!(mask & (HEAP_XMAX_INVALID | HEAP_XMAX_IS_MULTI)));
	if (!HEAP_XMAX_IS_LOCKED_ONLY(mask))
		return keys ? MultiXactStatusUpdate : MultiXactStatusNoKeyUpdate;
	if (HEAP_XMAX_IS_KEYSHR_LOCKED(mask))
		return MultiXactStatusForKeyShare;
	if (HEAP_XMAX_IS_SHR_LOCKED(mask))
		return MultiXactStatusForShare;
	if (HEAP_XMAX_IS_EXCL_LOCKED(mask))
		return keys ? MultiXactStatusForUpdate : MultiXactStatusForNoKeyUpdate;
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg_internal("row lock without a strength: infomask 0x%04x, xmax %u",
							 mask, HeapTupleHeaderGetRawXmax(hdr))));
	return MultiXactStatusForUpdate;	/* keep the compiler quiet */
}

static bool
modes_conflict(LockTupleMode a, LockTupleMode b)
{
	return DoLockModesConflict(strengths[a].heavy, strengths[b].heavy);
}

/* ---- a new xmax ---- */

/*
 * Return the header bits that go with a lock of this strength, held by one or several transactions.
 */
static uint16
lock_bits(LockTupleMode mode)
{
	switch (mode)
	{
		case LockTupleKeyShare:
			return HEAP_XMAX_KEYSHR_LOCK;
		case LockTupleShare:
			return HEAP_XMAX_SHR_LOCK;
		case LockTupleNoKeyExclusive:
		case LockTupleExclusive:
			return HEAP_XMAX_EXCL_LOCK;
	}
	elog(ERROR, "invalid row lock mode %d", (int) mode);
	return 0;					/* keep the compiler quiet */
}

/* Set the header bits of a single transaction. */
static void
single_bits(LockTupleMode mode, bool is_update, uint16 *infomask, uint16 *infomask2)
{
	*infomask = is_update ? 0 : HEAP_XMAX_LOCK_ONLY | lock_bits(mode);
	*infomask2 = mode == LockTupleExclusive ? HEAP_KEYS_UPDATED : 0;
}

/* Set the header bits of a multixact, which follow from its members. */
static void
multi_bits(const MultiXactMember *members, int nmembers, uint16 *infomask, uint16 *infomask2)
{
	LockTupleMode strongest = LockTupleKeyShare;
	bool		updated = false;

	*infomask2 = 0;
	for (int i = 0; i < nmembers; i++)
	{
		LockTupleMode mode = vdb_status_lock_mode(members[i].status);

		strongest = Max(strongest, mode);
		updated |= ISUPDATE_from_mxstatus(members[i].status);
		if (mode == LockTupleExclusive)
			*infomask2 = HEAP_KEYS_UPDATED;
	}
	*infomask = HEAP_XMAX_IS_MULTI | lock_bits(strongest);
	if (!updated)
		*infomask |= HEAP_XMAX_LOCK_ONLY;
}

/* The parts of the present xmax that the new one must keep. */
typedef enum KeepXmax
{
	KEEP_NOTHING,
	KEEP_XID,
	KEEP_MULTI
} KeepXmax;

/*
 * Decide what to keep of the present xmax: live lockers, and updaters that are live or have
 * committed.
 */
static KeepXmax
xmax_to_keep(HeapTupleHeader hdr)
{
	uint16		mask = hdr->t_infomask;
	TransactionId xmax = HeapTupleHeaderGetRawXmax(hdr);
	bool		locks_only = HEAP_XMAX_IS_LOCKED_ONLY(mask);

	if ((mask & HEAP_XMAX_INVALID) || HEAP_LOCKED_UPGRADED(mask))
		return KEEP_NOTHING;
	if (mask & HEAP_XMAX_IS_MULTI)
	{
		Assert(!(mask & HEAP_XMAX_COMMITTED));
		if (MultiXactIdIsRunning(xmax, locks_only) ||
			(!locks_only && TransactionIdDidCommit(HeapTupleGetUpdateXid(hdr))))
			return KEEP_MULTI;
		return KEEP_NOTHING;
	}
	if (mask & HEAP_XMAX_COMMITTED)
		return locks_only ? KEEP_NOTHING : KEEP_XID;
	if (TransactionIdIsInProgress(xmax))
		return KEEP_XID;
	/* it may have ended since the caller checked the version */
	return !locks_only && TransactionIdDidCommit(xmax) ? KEEP_XID : KEEP_NOTHING;
}

/* See rows.h. */
void
vdb_xmax_compute(HeapTupleHeader hdr, TransactionId add_to_xmax, LockTupleMode mode, bool is_update,
				 VdbNewXmax *new)
{
	TransactionId old_xmax = HeapTupleHeaderGetRawXmax(hdr);
	KeepXmax	keep = xmax_to_keep(hdr);
	MultiXactMember *members;
	int			nmembers;

	Assert(TransactionIdIsCurrentTransactionId(add_to_xmax));
	if (keep == KEEP_XID && TransactionIdEquals(old_xmax, add_to_xmax))
	{
		/*
		 * We have locked it ourselves, and only the stronger of the two locks counts.  It can't be
		 * our own update; that version would not be touched again, nor met on an update chain by
		 * its own updater.
		 */
		Assert(HEAP_XMAX_IS_LOCKED_ONLY(hdr->t_infomask));
		mode = Max(mode, vdb_status_lock_mode(vdb_xmax_status(hdr)));
		keep = KEEP_NOTHING;
	}

	if (keep == KEEP_NOTHING)
	{
		new->xmax = add_to_xmax;
		new->must_flush = false;
		single_bits(mode, is_update, &new->infomask, &new->infomask2);
		return;
	}
	new->xmax = vdb_multi_make(old_xmax, keep == KEEP_MULTI,
							   keep == KEEP_MULTI ? 0 : vdb_xmax_status(hdr),
							   add_to_xmax, vdb_lock_mode_status(mode, is_update));
	nmembers = GetMultiXactIdMembers((MultiXactId) new->xmax, &members, false, false);
	multi_bits(members, nmembers, &new->infomask, &new->infomask2);
	new->must_flush = vdb_multi_must_flush((MultiXactId) new->xmax, members, nmembers);
	if (nmembers > 0)
		pfree(members);
}

/*
 * See rows.h.  The new version keeps the old one's lockers, so that their locks hold for it, too.
 * An update waits for all lockers but key-share ones, so a single id is one of those.
 * lockers_gone: the caller has seen the end of all of them.
 */
void
vdb_xmax_carry(HeapTupleHeader old_hdr, bool lockers_gone, TransactionId *xmax,
			   uint16 *infomask, uint16 *infomask2)
{
	uint16		mask = old_hdr->t_infomask;

	*xmax = HeapTupleHeaderGetRawXmax(old_hdr);
	*infomask2 = 0;
	if (lockers_gone || (mask & HEAP_XMAX_INVALID) || HEAP_LOCKED_UPGRADED(mask) ||
		!TransactionIdIsValid(*xmax))
	{
		*xmax = InvalidTransactionId;
		*infomask = HEAP_XMAX_INVALID;
	}
	else if (mask & HEAP_XMAX_IS_MULTI)
	{
		MultiXactMember *members;
		int			nmembers = GetMultiXactIdMembers((MultiXactId) *xmax, &members, false, false);

		multi_bits(members, nmembers, infomask, infomask2);
		if (nmembers > 0)
			pfree(members);
	}
	else
		*infomask = HEAP_XMAX_KEYSHR_LOCK | HEAP_XMAX_LOCK_ONLY;
}

/* ---- conflicts and waiting ---- */

/*
 * Check whether 'mode' conflicts with a member, whose lock must be waited for or whose update is
 * done.  Members of this transaction don't count, but are reported in *current_is_member (which may
 * be NULL).
 */
bool
vdb_multixact_conflicts(MultiXactId multi, uint16 infomask, LockTupleMode mode,
						bool *current_is_member)
{
	MultiXactMember *members;
	int			nmembers;
	bool		conflict = false;

	if (current_is_member != NULL)
		*current_is_member = false;
	if (HEAP_LOCKED_UPGRADED(infomask))
		return false;

	nmembers = GetMultiXactIdMembers(multi, &members, false, HEAP_XMAX_IS_LOCKED_ONLY(infomask));
	for (int i = 0; i < nmembers; i++)
	{
		TransactionId xid = members[i].xid;
		MultiXactStatus status = members[i].status;

		if (TransactionIdIsCurrentTransactionId(xid))
		{
			if (current_is_member != NULL)
				*current_is_member = true;
			continue;
		}
		if (conflict || !modes_conflict(vdb_status_lock_mode(status), mode))
			continue;
		/* locks end with their transaction, updates that commit stay */
		if (TransactionIdIsInProgress(xid) ||
			(ISUPDATE_from_mxstatus(status) && TransactionIdDidCommit(xid)))
			conflict = true;
	}
	if (nmembers > 0)
		pfree(members);
	return conflict;
}

/*
 * Wait for each member that conflicts with 'status' to end.  With nowait, return false at the first
 * one that is still running.  *remaining (may be NULL) gets the number of members that may still be
 * alive: our own, and those that don't conflict.
 */
static bool
wait_for_members(MultiXactId multi, MultiXactStatus status, uint16 infomask, bool nowait,
				 Relation rel, ItemPointer tid, XLTW_Oper oper, int *remaining)
{
	MultiXactMember *members;
	int			nmembers = 0;
	int			remain = 0;
	bool		all_ended = true;

	if (!HEAP_LOCKED_UPGRADED(infomask))
		nmembers = GetMultiXactIdMembers(multi, &members, false,
										 HEAP_XMAX_IS_LOCKED_ONLY(infomask));
	for (int i = 0; i < nmembers && all_ended; i++)
	{
		TransactionId xid = members[i].xid;

		if (TransactionIdIsCurrentTransactionId(xid))
			remain++;
		else if (!modes_conflict(vdb_status_lock_mode(members[i].status),
								 vdb_status_lock_mode(status)))
		{
			if (remaining != NULL && TransactionIdIsInProgress(xid))
				remain++;
		}
		else if (nowait)
			all_ended = vdb_try_wait_for_xid(xid, false);
		else
			XactLockTableWait(xid, rel, tid, oper);
	}
	if (nmembers > 0)
		pfree(members);
	if (remaining != NULL)
		*remaining = remain;
	return all_ended;
}

/* See rows.h. */
void
vdb_multixact_wait(MultiXactId multi, MultiXactStatus status, uint16 infomask, Relation rel,
				   const ItemPointerData *tid, XLTW_Oper oper, int *remaining)
{
	(void) wait_for_members(multi, status, infomask, false, rel,
							unconstify(ItemPointerData *, tid), oper, remaining);
}

/* See rows.h. */
bool
vdb_multixact_wait_conditional(MultiXactId multi, MultiXactStatus status, uint16 infomask,
							   Relation rel, int *remaining)
{
	return wait_for_members(multi, status, infomask, true, rel, NULL, XLTW_None, remaining);
}
