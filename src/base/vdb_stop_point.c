/*-------------------------------------------------------------------------
 *
 * vdb_stop_point.c
 *	  Named places where a test can stop, crash or fail a process.
 *
 * See vdb_stop_point.h for the protocol.  A point may be passed inside a
 * critical section or with LWLocks held: then 'crash' works, 'error' does
 * only outside critical sections, and 'wait' and 'delay' only outside critical
 * sections too (with LWLocks held they sleep, but can't be interrupted).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>
#include <unistd.h>

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/wait_event.h"

#include "base/vdb_stop_point.h"

#define STOP_LOCK_KEY	0x7664		/* pg_advisory_lock(30308) holds waiters */
#define STOP_POLL_MS	10
#define STOP_DELAY_MS	20			/* at most */

char	   *vdb_stop_action = NULL;
char	   *vdb_stop_point = NULL;

static int	passings = 0;			/* passings of the point that the setting names */
static uint32 generation = 0;		/* changes when the setting does */

/* See vdb_stop_point.h.  The value may be the same as before. */
void
vdb_stop_point_changed(void)
{
	passings = 0;
	generation++;
}

/* Check whether this passing of 'name' is the one that the setting asks for. */
static bool
passing_is_due(const char *name)
{
	const char *colon = strchr(vdb_stop_point, ':');
	size_t		len = colon ? (size_t) (colon - vdb_stop_point) : strlen(vdb_stop_point);

	if (strlen(name) != len || strncmp(name, vdb_stop_point, len) != 0)
		return false;
	passings++;
	return colon == NULL || atoi(colon + 1) == passings;
}

/* Check whether the advisory lock is free, that is, not held by a test. */
static bool
stop_lock_is_free(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, STOP_LOCK_KEY, 1);
	if (LockAcquire(&tag, ShareLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	LockRelease(&tag, ShareLock, false);
	return true;
}

/* Sleep until the setting changes or the advisory lock is free. */
static void
stop_and_wait(void)
{
	uint32		began = generation;

	while (generation == began && !stop_lock_is_free())
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 STOP_POLL_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	}
}

/* See vdb_stop_point.h. */
void
vdb_stop_point_reached(const char *name)
{
	if (!passing_is_due(name))
		return;
	if (vdb_stop_action == NULL || vdb_stop_action[0] == '\0')
		return;
	if (strcmp(vdb_stop_action, "crash") == 0)
	{
		kill(getpid(), SIGKILL);
		pg_unreachable();
	}
	if (CritSectionCount > 0)
		return;
	if (strcmp(vdb_stop_action, "error") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("stopped at \"%s\" as vdb.stop_point asks", name)));
	if (strcmp(vdb_stop_action, "delay") == 0)
		pg_usleep((long) pg_prng_uint64_range(&pg_global_prng_state, 0, STOP_DELAY_MS * 1000));
	else
		stop_and_wait();
}
