/*-------------------------------------------------------------------------
 *
 * vdb_lock_check.c
 *	  Check, in servers with asserts, that no message is logged under a lightweight lock of ours.
 *
 * A message goes to the client before its process goes on.  A client that doesn't read its socket
 * blocks the process, and all processes that wait for a lock that it holds.  An error may be
 * raised, as it is sent when the locks are released.  The lint in test/lint/under_lock checks the
 * sources; this check also covers messages of the server's own functions, at any level that is
 * logged.
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

/* Assert that no lock of ours is held while a message below ERROR is logged. */
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
