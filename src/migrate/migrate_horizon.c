/*-------------------------------------------------------------------------
 *
 * migrate_horizon.c
 *	  Finding what keeps dead rows: the oldest snapshot, for messages.
 *
 * A row version that some snapshot may still see can't be removed, nor can its delta record.  A
 * session that is idle in a transaction, a prepared transaction, a replication slot or a standby
 * with hot_standby_feedback can so fill the pool with what nothing else needs.  Only a message that
 * names it helps its reader.
 *
 * What is found may have ended when the message is read; like core's horizon, it is a view of a
 * moment.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/twophase.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "replication/slot.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/spin.h"

#include "base/vdb_compat.h"
#include "migrate/migrate_private.h"

/* What holds the horizon. */
typedef struct HorizonHolder
{
	TransactionId xid;				/* oldest id that it may need, or invalid: nothing is held */
	int			pid;				/* of its process; 0: a prepared transaction, or a slot */
	bool		sender;				/* the process is a sender of WAL: a standby needs it */
	TransactionId prepared;			/* id of the prepared transaction, or invalid */
	NameData	slot;				/* name of the slot, or empty */
} HorizonHolder;

/*
 * Check whether an id names a better holder than the one known so far: it is older, or it is as old
 * and the holder's own.  A transaction in progress is in the snapshots of all others, which are let
 * go when it ends; it is the one to name.
 */
static bool
is_better(const HorizonHolder *oldest, TransactionId xid, bool own)
{
	if (!TransactionIdIsNormal(xid))
		return false;
	return !TransactionIdIsValid(oldest->xid) || TransactionIdPrecedes(xid, oldest->xid) ||
		(xid == oldest->xid && own);
}

/* Return the oldest id that a process needs: of its snapshots, or its own. */
static TransactionId
needed_by(const PGPROC *proc)
{
	/* a process stores its own xmin without a lock that we could wait for */
	TransactionId xmin = *(const volatile TransactionId *) &proc->xmin;
	TransactionId xid = *(const volatile TransactionId *) &proc->xid;

	if (proc->statusFlags & (PROC_IN_VACUUM | PROC_IN_LOGICAL_DECODING))
		return InvalidTransactionId;
	if (!TransactionIdIsNormal(xmin) ||
		(TransactionIdIsNormal(xid) && TransactionIdPrecedes(xid, xmin)))
		return xid;
	return xmin;
}

/*
 * Look at the processes that count for tables of this database: its own, and those without a
 * database, which are senders for standbys.
 */
static void
look_at_processes(HorizonHolder *oldest)
{
	LWLockAcquire(ProcArrayLock, LW_SHARED);
	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++)
	{
		PGPROC	   *proc = GetPGProcByNumber(i);
		TransactionId xid = needed_by(proc);

		if (proc->pid == 0 ||
			(OidIsValid(proc->databaseId) && proc->databaseId != MyDatabaseId) ||
			!is_better(oldest, xid, xid == proc->xid || oldest->pid == MyProcPid))
			continue;
		oldest->xid = xid;
		oldest->pid = proc->pid;
		oldest->sender = !OidIsValid(proc->databaseId);
	}
	for (int i = 0; i < max_prepared_xacts; i++)
	{
		PGPROC	   *proc = &PreparedXactProcs[i];
		TransactionId xid = proc->xid;

		if (proc->databaseId != MyDatabaseId || !is_better(oldest, xid, true))
			continue;
		oldest->xid = oldest->prepared = xid;
		oldest->pid = 0;
	}
	LWLockRelease(ProcArrayLock);
}

/* Look at the replication slots that hold rows of tables, which logical slots don't. */
static void
look_at_slots(HorizonHolder *oldest)
{
	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots; i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];
		TransactionId xmin;

		if (!slot->in_use)
			continue;
		SpinLockAcquire(&slot->mutex);
		xmin = slot->effective_xmin;
		SpinLockRelease(&slot->mutex);
		if (!is_better(oldest, xmin, false))
			continue;
		oldest->xid = xmin;
		oldest->pid = 0;
		oldest->prepared = InvalidTransactionId;
		oldest->slot = slot->data.name;
	}
	LWLockRelease(ReplicationSlotControlLock);
}

/* See migrate_private.h. */
char *
vdb_migrate_horizon_holder(void)
{
	HorizonHolder oldest = {0};
	TransactionId next = XidFromFullTransactionId(ReadNextFullTransactionId());
	StringInfoData text;

	/* no lock of ours is held, under which one would wait for these */
	Assert(InterruptHoldoffCount == 0);
	Assert(OidIsValid(MyDatabaseId));
	look_at_processes(&oldest);
	if (max_replication_slots > 0)
		look_at_slots(&oldest);
	Assert(!TransactionIdIsValid(oldest.xid) || TransactionIdPrecedesOrEquals(oldest.xid, next));
	initStringInfo(&text);
	if (!TransactionIdIsValid(oldest.xid))
		return text.data;

	appendStringInfo(&text, " Row versions removed by the last %u transactions are kept for ",
					 next - oldest.xid);
	if (NameStr(oldest.slot)[0] != '\0')
		appendStringInfo(&text, "replication slot \"%s\".", NameStr(oldest.slot));
	else if (TransactionIdIsValid(oldest.prepared))
		appendStringInfo(&text, "prepared transaction %u.", oldest.prepared);
	else if (oldest.pid == MyProcPid)
		appendStringInfoString(&text, "a snapshot of this session.");
	else
		appendStringInfo(&text, "a snapshot of %s %d.",
						 oldest.sender ? "a standby, whose WAL sender is process" : "process",
						 oldest.pid);
	return text.data;
}
