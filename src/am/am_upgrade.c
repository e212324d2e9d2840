/*-------------------------------------------------------------------------
 *
 * am_upgrade.c
 *	  pg_upgrade: what the servers do that it starts (in binary-upgrade mode).
 *
 * pg_upgrade makes all relations of the old cluster anew in the new one, under
 * the same numbers, and puts the old files in their place while both servers
 * are down: the main forks of vdb tables and of vdb.scm, visibility maps.  So a
 * pool goes over as it is, and finds transaction ids, multixacts and positions
 * in WAL that go on where the old cluster's were.  Left to do:
 *
 * - In the old cluster: vdb_am.ends does not go over.  It bounds epochs
 *	 that began before a crash and have not ended yet.  So each pool begins a
 *	 new one, which ends the others in its own ring, at the first query in its
 *	 database.  The shutdown that follows loses nothing of it.
 * - In the new cluster: recoveries that it has seen itself, with its own ids,
 *	 are none of the pools that come.  They are forgotten when vdb.scm is made.
 * - In the new cluster relations are made in any order, perhaps before vdb.scm,
 *	 and vdb.scm before it belongs to the extension.  New storage needs no pool
 *	 then: entries come with the old one.  A table without is empty.
 * - No worker moves anything (migrate_launcher.c), and a server without the
 *	 library preloaded says so in pg_upgrade's checks already (vdb_am.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xlog.h"
#include "miscadmin.h"

#include "am/am.h"

/* A query begins, in binary-upgrade mode.  ERROR: the pool can't be used. */
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
