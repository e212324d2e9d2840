/*-------------------------------------------------------------------------
 *
 * vdb_am.c
 *	  The library's entry: initializes the parts, lowest level first.
 *
 * Without shared_preload_libraries only the settings are defined, so that
 * CREATE EXTENSION can load the library and its functions can say what is
 * missing (vdb_require_preload).  pg_upgrade's servers refuse to load it then.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "am/am.h"
#include "base/vdb_gate.h"
#include "base/vdb_guc.h"
#include "base/vdb_lock_check.h"
#include "base/vdb_shmem.h"
#include "decode/decode.h"
#include "exec/exec.h"
#include "migrate/migrate.h"
#include "pages/pages.h"
#include "rows/rows.h"
#include "scm/scm.h"
#include "stripe/stripe.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

void
_PG_init(void)
{
	vdb_guc_init();
	if (!process_shared_preload_libraries_in_progress)
	{
		if (IsBinaryUpgrade)
			vdb_require_preload();	/* let pg_upgrade's check of libraries find it */
		return;
	}
	vdb_shmem_init();
	vdb_gate_init();
	vdb_lock_check_init();
	vdb_scm_init();
	vdb_visible_init();
	vdb_rows_init();
	vdb_decode_init();
	vdb_stripe_init();
	vdb_am_init();
	vdb_exec_init();
	vdb_agg_init();
	vdb_migrate_init();
}
