/*-------------------------------------------------------------------------
 *
 * migrate_standby.c
 *	  Finding standbys whose queries this server has no information about.
 *
 * Queries of standbys with older snapshots can't go on past the freezing that a migration does.  If
 * a standby reports its oldest snapshot (hot_standby_feedback) it is part of the horizon, and
 * nothing is frozen that the standby needs.  If one doesn't, freezing with every migration would
 * end each longer query there; then freezing is left to VACUUM, which comes as seldom as on heap.
 *
 * A standby that only reads an archive, or is away just now and has no slot, is not known here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "replication/slot.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/spin.h"

#include "base/vdb_compat.h"
#include "migrate/migrate_private.h"

/*
 * Check whether there is a physical slot without a horizon, of the sender 'pid', or of any sender
 * if pid is 0.  *found is set if there is such a slot at all, with or without a horizon.
 */
static bool
silent_slot(int pid, bool *found)
{
	bool		silent = false;

	*found = false;
	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots; i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];

		if (!slot->in_use || SlotIsLogical(slot))
			continue;
		SpinLockAcquire(&slot->mutex);
		if (pid == 0 || slot->active_pid == pid)
		{
			*found = true;
			silent = silent || !TransactionIdIsValid(slot->effective_xmin);
		}
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(ReplicationSlotControlLock);
	return silent;
}

/*
 * Check whether this is a sender of physical WAL that has no horizon of its own, nor a slot that
 * has one.
 */
static bool
silent_sender(int pid)
{
	PGPROC	   *proc = BackendPidGetProc(pid);
	bool		has_slot;
	bool		silent;

	if (proc == NULL || OidIsValid(proc->databaseId) || TransactionIdIsValid(proc->xmin))
		return false;
	silent = silent_slot(pid, &has_slot);
	return silent || !has_slot;
}

/* See migrate_private.h. */
bool
vdb_migrate_silent_standby(void)
{
	bool		found;

	if (max_replication_slots > 0 && silent_slot(0, &found))
		return true;
	for (int i = 0; i < max_wal_senders; i++)
	{
		WalSnd	   *sender = &WalSndCtl->walsnds[i];
		int			pid;

		SpinLockAcquire(&sender->mutex);
		pid = sender->pid;
		SpinLockRelease(&sender->mutex);
		if (pid != 0 && silent_sender(pid))
			return true;
	}
	return false;
}
