/*-------------------------------------------------------------------------
 *
 * am_freeze.c
 *	  The rules of freezing, as functions of a version's header.
 *
 * Nothing is read or stored here, and no lock is taken.  The rules depend on transaction states,
 * which come from clog and pg_multixact; test/unit puts its own answers in their place.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/multixact.h"
#include "access/transam.h"

#include "am/am_freeze.h"

/*
 * Return the oldest transaction of a multixact.  Lockers and transactions that have ended count,
 * too.  Invalid if there is none.
 */
static TransactionId
oldest_member(MultiXactId multi)
{
	MultiXactMember *members;
	TransactionId oldest = InvalidTransactionId;

	/* not as 'lockers only': that would leave out transactions that have ended */
	int			nmembers = GetMultiXactIdMembers(multi, &members, false, false);

	for (int i = 0; i < nmembers; i++)
		if (!TransactionIdIsValid(oldest) || TransactionIdPrecedes(members[i].xid, oldest))
			oldest = members[i].xid;
	if (nmembers > 0)
		pfree(members);
	return oldest;
}

/* Remove the xmax, so that the version is the last of its row. */
static void
clear_xmax(HeapTupleHeader hdr, VdbRowNumber row)
{
	HeapTupleHeaderSetXmax(hdr, InvalidTransactionId);
	hdr->t_infomask &= ~(HEAP_XMAX_BITS | HEAP_COMBOCID);
	hdr->t_infomask |= HEAP_XMAX_INVALID;
	hdr->t_infomask2 &= ~HEAP_KEYS_UPDATED;
	vdb_row_to_tid(row, &hdr->t_ctid);
}

/*
 * Return true if a multixact or one of its members is too old to stay.  After half of all ids,
 * the id of a finished member would look like one in the future, and its lock like one that is
 * held.
 */
static bool
multi_is_old(const VdbFreezeLimits *limits, MultiXactId multi, TransactionId limit)
{
	TransactionId member;

	if (!MultiXactIdIsValid(multi))
		return false;
	if (MultiXactIdPrecedes(multi, limits->multi_cutoff))
		return true;			/* its members may not be stored any more */
	member = oldest_member(multi);
	return TransactionIdIsNormal(member) && TransactionIdPrecedes(member, limit);
}

/*
 * Replace an old multixact of a version that is not dead by its updater, or by nothing.  Return
 * true if the header has changed.
 */
static bool
freeze_multi(const VdbFreezeLimits *limits, HeapTupleHeader hdr, VdbRowNumber row,
			 TransactionId limit)
{
	MultiXactId multi = HeapTupleHeaderGetRawXmax(hdr);
	TransactionId updater;

	if (!multi_is_old(limits, multi, limit) ||
		MultiXactIdIsRunning(multi, HEAP_XMAX_IS_LOCKED_ONLY(hdr->t_infomask)))
		return false;
	updater = vdb_row_only_locked(hdr) ? InvalidTransactionId : HeapTupleGetUpdateXid(hdr);
	if (TransactionIdIsValid(updater) && TransactionIdDidCommit(updater))
	{
		HeapTupleHeaderSetXmax(hdr, updater);
		hdr->t_infomask &= ~HEAP_XMAX_BITS;
	}
	else
		clear_xmax(hdr, row);
	return true;
}

/*
 * Clear a plain xmax older than the limit, of a version that is not dead.  It is that of a
 * finished locker or of an aborted deleter.  Return true if the header has changed.
 */
static bool
freeze_xmax(const VdbFreezeLimits *limits, HeapTupleHeader hdr, VdbRowNumber row,
			TransactionId limit)
{
	TransactionId xmax = HeapTupleHeaderGetRawXmax(hdr);

	if (hdr->t_infomask & HEAP_XMAX_INVALID)
	{
		/* lost or aborted: forget the id when it gets old */
		if (hdr->t_infomask & HEAP_XMAX_IS_MULTI)
		{
			/* a lost one has no id: see clean_lost_ids in rows_read.c */
			if (MultiXactIdIsValid(xmax) && !multi_is_old(limits, xmax, limit))
				return false;
		}
		else if (!TransactionIdIsNormal(xmax) || !TransactionIdPrecedes(xmax, limit))
			return false;
	}
	else if (!TransactionIdIsNormal(xmax) || !TransactionIdPrecedes(xmax, limit))
		return false;
	else if (!vdb_row_only_locked(hdr) && TransactionIdDidCommit(xmax))
		return false;			/* deleted, but an old snapshot may see it */
	clear_xmax(hdr, row);
	return true;
}

/* Remove the old ids from a version's header.  See am_freeze.h. */
bool
vdb_freeze_version(const VdbFreezeLimits *limits, VdbVersion *version)
{
	HeapTupleHeader hdr = &version->hdr;
	bool		changed = false;

	/* a delta record without effect wastes space in the pool, so it goes before it is old */
	TransactionId xmax_limit = version->where == VDB_IN_STRIPE ? limits->oldest_xmin :
		limits->freeze_limit;

	Assert(!TransactionIdPrecedes(limits->oldest_xmin, limits->freeze_limit));
	if (!HeapTupleHeaderXminFrozen(hdr) && HeapTupleHeaderXminCommitted(hdr) &&
		version->where == VDB_IN_POOL &&
		TransactionIdPrecedes(HeapTupleHeaderGetRawXmin(hdr), limits->freeze_limit))
	{
		hdr->t_infomask |= HEAP_XMIN_FROZEN;
		changed = true;
	}
	if ((hdr->t_infomask & HEAP_XMAX_IS_MULTI) && !(hdr->t_infomask & HEAP_XMAX_INVALID))
		return freeze_multi(limits, hdr, version->row, xmax_limit) || changed;
	return freeze_xmax(limits, hdr, version->row, xmax_limit) || changed;
}

/* Lower *oldest to the id if it is a normal transaction id. */
static void
note_xid(TransactionId xid, TransactionId *oldest)
{
	if (TransactionIdIsNormal(xid) && TransactionIdPrecedes(xid, *oldest))
		*oldest = xid;
}

/* Lower *left to the oldest ids in a version's header.  See am_freeze.h. */
void
vdb_freeze_note_left(VdbOldestLeft *left, const VdbVersion *version)
{
	const HeapTupleHeaderData *hdr = &version->hdr;
	TransactionId xmax = HeapTupleHeaderGetRawXmax(hdr);

	if (version->where == VDB_IN_POOL &&
		!HeapTupleHeaderXminFrozen(hdr) && !HeapTupleHeaderXminInvalid(hdr))
		note_xid(HeapTupleHeaderGetRawXmin(hdr), &left->xid);
	/* an xmax that is only hinted to be invalid counts: a standby may not know the hint */
	if ((hdr->t_infomask & HEAP_XMAX_IS_MULTI) == 0)
	{
		note_xid(xmax, &left->xid);
		return;
	}
	note_xid(oldest_member(xmax), &left->xid);
	if (MultiXactIdIsValid(xmax) && MultiXactIdPrecedes(xmax, left->multi))
		left->multi = xmax;
}
