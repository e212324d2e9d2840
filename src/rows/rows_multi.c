/*-------------------------------------------------------------------------
 *
 * rows_multi.c
 *	  Multixacts in the pool: which of them may be stored before their WAL is flushed.
 *
 * The pool keeps what is stored at once.  A crash may take the WAL of a multixact that it has kept;
 * then the id is handed out again, for other members.  Heap flushes that WAL before it writes the
 * page.  To do the same here would mean a flush for each locker of a row, under its block lock.  So
 * it is done only where it must be; other multixacts that a crash took are recognized as lost, by
 * the epoch under which they were stored (scm_epoch.c), and then count for nothing.
 *
 * Recognized: the server restarts with a next multixact id.  Ids from there on are lost, others are
 * taken as known.  Backends insert the records of multixacts in any order, so a lower id may be
 * lost as well.  A multixact is 'in order' if no higher id had been handed out when its record was
 * inserted; then whatever survives of higher ids comes after it in WAL.  A checkpoint's record has
 * the next id, too.  No checkpoint completes between the moment an id is handed out and its record,
 * as the process delays it.  A multixact that isn't in order is flushed.
 *
 * For nothing: a member's own end in WAL comes after the multixact, so a crash that takes the one
 * takes the other.  A locker that has not ended ends with the crash, and so does an update of our
 * own.  There are two exceptions, which are flushed:
 *
 * - Another transaction's update: it may have committed before the multixact's record.
 * - A prepared transaction.  It holds its locks after the crash.  If it is prepared later, its
 *	 record flushes the multixact's.  The moment in between is decided as follows: a transaction
 *	 raises vdb_shared->preparing before it prepares, and then passes through all block locks.
 *	 A process that stores a multixact holds a block lock from looking at that number to storing.
 *	 So either it sees the number, or its store and record come before the record of the
 *	 preparation.  When the number is lowered, the prepared transaction's own entry is in the
 *	 array of processes.
 *
 * Locks: a block lock is held by those who make multixacts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/subtrans.h"
#include "access/twophase.h"
#include "access/xact.h"
#include "storage/proc.h"
#include "storage/procarray.h"

#include "rows/rows_private.h"

#define IN_ORDER_KEPT	8

/* Multixacts of this transaction that are in order.  Only one transaction reuses them. */
static MultiXactId in_order[IN_ORDER_KEPT];
static int	next_in_order = 0;
static TransactionId in_order_xid = InvalidTransactionId;

/* This transaction is counted in vdb_shared->preparing. */
static bool counted = false;

/* ---- making ---- */

/* Note a multixact that is in order. */
static void
note_in_order(MultiXactId multi)
{
	TransactionId xid = GetTopTransactionIdIfAny();

	Assert(TransactionIdIsValid(xid) && MultiXactIdIsValid(multi));
	if (xid != in_order_xid)
	{
		memset(in_order, 0, sizeof(in_order));
		in_order_xid = xid;
	}
	in_order[next_in_order] = multi;
	next_in_order = (next_in_order + 1) % IN_ORDER_KEPT;
}

static bool
is_in_order(MultiXactId multi)
{
	if (GetTopTransactionIdIfAny() != in_order_xid)
		return false;
	for (int i = 0; i < IN_ORDER_KEPT; i++)
		if (in_order[i] == multi)
			return true;
	return false;
}

/* Return the multixact id that is handed out after this one. */
static inline MultiXactId
next_multi(MultiXactId multi)
{
	return multi == MaxMultiXactId ? FirstMultiXactId : multi + 1;
}

/*
 * Make a multixact of the present xmax (a multixact, or a transaction of that status) and one more
 * member.  May return an existing one with the same members.
 */
MultiXactId
vdb_multi_make(TransactionId xmax, bool xmax_is_multi, MultiXactStatus xmax_status,
			   TransactionId xid, MultiXactStatus status)
{
	MultiXactId before = ReadNextMultiXactId();
	MultiXactId multi;

	Assert(TransactionIdIsCurrentTransactionId(xid));
	Assert((MyProc->delayChkptFlags & DELAY_CHKPT_START) == 0);
	MyProc->delayChkptFlags |= DELAY_CHKPT_START;
	PG_TRY();
	{
		multi = xmax_is_multi ? MultiXactIdExpand((MultiXactId) xmax, xid, status) :
			MultiXactIdCreate(xmax, xmax_status, xid, status);
	}
	PG_FINALLY();
	{
		MyProc->delayChkptFlags &= ~DELAY_CHKPT_START;
	}
	PG_END_TRY();

	/* if it is new and still the last one, then records of higher ids are yet to come */
	if (!MultiXactIdPrecedes(multi, before) && ReadNextMultiXactId() == next_multi(multi))
		note_in_order(multi);
	return multi;
}

/* ---- must it be flushed? ---- */

/*
 * Check whether a transaction is prepared, or is being prepared, so that its locks outlive a crash.
 */
static bool
may_be_prepared(TransactionId xid)
{
	if (max_prepared_xacts == 0 || TransactionIdIsCurrentTransactionId(xid) ||
		!TransactionIdIsInProgress(xid))
		return false;
	if (pg_atomic_read_u32(&vdb_shared->preparing) > 0)
		return true;
	pg_read_barrier();			/* the number is lowered after the entry is in the array */
	return BackendXidGetPid(SubTransGetTopmostTransaction(xid)) == 0;
}

/*
 * Check whether WAL must be flushed before this multixact is stored.  The caller made it with
 * vdb_multi_make, and holds the block lock exclusively until it is stored.
 */
bool
vdb_multi_must_flush(MultiXactId multi, const MultiXactMember *members, int nmembers)
{
	Assert(MultiXactIdIsValid(multi) && nmembers > 0);
	if (!is_in_order(multi))
		return true;
	for (int i = 0; i < nmembers; i++)
	{
		if (ISUPDATE_from_mxstatus(members[i].status) &&
			!TransactionIdIsCurrentTransactionId(members[i].xid))
			return true;
		if (may_be_prepared(members[i].xid))
			return true;
	}
	return false;
}

/* ---- preparing ---- */

/* Count this transaction as one that prepares, and wait for those who may not have seen that. */
static void
begin_preparing(void)
{
	Assert(!counted);
	counted = true;
	pg_atomic_fetch_add_u32(&vdb_shared->preparing, 1);
	for (uint32 i = 0; i < VDB_BLOCK_LOCKS; i++)
	{
		LWLockAcquire(vdb_block_lock(i), LW_SHARED);
		LWLockRelease(vdb_block_lock(i));
	}
}

/* The callback at the end of a transaction, and before it prepares. */
static void
prepare_began_or_ended(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_PREPARE)
		begin_preparing();
	else if (counted && (event == XACT_EVENT_PREPARE || event == XACT_EVENT_ABORT))
	{
		counted = false;
		pg_atomic_fetch_sub_u32(&vdb_shared->preparing, 1);
	}
}

/* Register the callback.  Called from _PG_init, while preloading. */
void
vdb_multi_init(void)
{
	RegisterXactCallback(prepare_began_or_ended, NULL);
}
