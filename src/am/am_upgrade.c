/*-------------------------------------------------------------------------
 *
 * am_upgrade.c
 *	  pg_upgrade: what vdb_am does in the servers that pg_upgrade starts (binary-upgrade
 *	  mode).
 *
 * pg_upgrade creates all relations of the old cluster anew in the new one, under the same numbers.
 * It puts the old files in their place while both servers are down: the main forks of vdb tables
 * and of vdb.scm, and visibility maps.  So a pool is carried over unchanged, and the new cluster's
 * transaction ids, multixacts and WAL positions continue where those of the old cluster ended.
 * What remains to be done:
 *
 * - In the old cluster: the file vdb_am.ends is not carried over.  It bounds epochs that began
 *	 before a crash and have not ended yet.  So each pool begins a new epoch at the first query
 *	 in its database, which ends the others in the pool's own ring.  The shutdown that follows
 *	 loses nothing of it.
 * - In the new cluster: the recoveries that it has seen itself, with its own ids, do not
 *	 concern the pools that are carried over.  They are forgotten when vdb.scm is made.
 * - In the new cluster, relations are created in any order, perhaps before vdb.scm, and
 *	 vdb.scm before it belongs to the extension.  New storage needs no pool then: entries come
 *	 with the old pool.  A table without an entry is empty.
 * - No worker moves anything (migrate_launcher.c), and pg_upgrade's own checks report a server
 *	 that has not preloaded the library (vdb_am.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xlog.h"
#include "miscadmin.h"

#include "am/am.h"

/*
 * Begin an epoch of the pool at the first query of a process, in binary-upgrade mode.  ERROR: the
 * pool can't be used.
 */
void
vdb_upgrade_begin_epoch(void)
{
	static bool resolved = false;
	VdbPool    *pool;

	if (resolved || !IsBinaryUpgrade || IsParallelWorker() || RecoveryInProgress())
		return;
	pool = vdb_pool_try_open();
	if (pool == NULL)
		return;
	(void) vdb_epoch_current(pool);
	resolved = true;
}
