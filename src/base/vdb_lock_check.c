/*-------------------------------------------------------------------------
 *
 * vdb_lock_check.c
 *	  No message under a lightweight lock of ours: checked in servers with asserts.
 *
 * A message goes to the client before its process goes on; a client that doesn't read its socket
 * keeps it waiting, and with it all who want a lock that it holds.  An error may be raised, as it
 * is sent when the locks are gone.  What the sources show is checked by test/lint/under_lock; this
 * here sees also what the server's own functions say, whatever level is logged.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/vdb_lock_check.h"
#include "base/vdb_shmem.h"

#ifdef USE_ASSERT_CHECKING

static emit_log_hook_type previous_emit_log = NULL;

static bool
any_held(LWLockPadded *locks, int nlocks)
{
	return LWLockAnyHeldByMe(&locks->lock, nlocks, sizeof(LWLockPadded));
}

static void
emit_log(ErrorData *edata)
{
	if (edata->elevel < ERROR && vdb_shared != NULL && vdb_shared->pools_lock != NULL)
	{
		Assert(!any_held(vdb_shared->block_locks, VDB_BLOCK_LOCKS));
		Assert(!any_held(vdb_shared->map_locks, VDB_MAP_LOCKS));
		Assert(!any_held(vdb_shared->open_locks, VDB_OPEN_LOCKS));
		Assert(!any_held(vdb_shared->cache_locks, VDB_CACHE_LOCKS));
		Assert(!any_held(vdb_shared->alloc_locks, vdb_shared->max_pools));
		Assert(!LWLockHeldByMe(vdb_shared->pools_lock));
	}
	if (previous_emit_log)
		previous_emit_log(edata);
}

#endif

/* See vdb_lock_check.h. */
void
vdb_lock_check_init(void)
{
#ifdef USE_ASSERT_CHECKING
	previous_emit_log = emit_log_hook;
	emit_log_hook = emit_log;
#endif
}
