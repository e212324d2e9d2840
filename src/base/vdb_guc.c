/*-------------------------------------------------------------------------
 *
 * vdb_guc.c
 *	  All settings of the extension, in alphabetical order.
 *
 * The variables are plain globals (vdb_guc.h), which all parts may read; only the settings
 * machinery writes them.  Units are those of the variable's name: _ms, _mb, otherwise a plain
 * number.  A variable that another file of this folder needs is defined there, so that this file
 * depends on the others and none of them on it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"
#include "utils/guc.h"

#include "base/vdb_guc.h"
#include "base/vdb_shmem.h"
#include "base/vdb_stop_point.h"

int			vdb_chunk_rows = 8192;
int			vdb_codec_force = -1;
bool		vdb_debug_aggregate = false;
int			vdb_debug_analyze_blocks = INT_MAX;
int			vdb_debug_migrate = VDB_DEBUG_MIGRATE_OFF;
bool		vdb_enable_aggregate = true;
bool		vdb_enable_custom_scan = true;
bool		vdb_enable_pruning = true;
bool		vdb_ignore_lost_recoveries = false;
int			vdb_migrate_after_ms = 10000;
int			vdb_migrate_backlog_segments = 256;
int			vdb_migrate_cost_delay_ms = 0;
bool		vdb_migrate_enabled = true;
int			vdb_migrate_high_water = 50;
int			vdb_migrate_min_rows = 8192;
int			vdb_scm_min_size_mb = 64;
int			vdb_scm_release_after_ms = 600000;
char	   *vdb_scm_tablespace = NULL;
int			vdb_shared_cache_mb = -1;
int			vdb_stripe_cache_mb = 16;
int			vdb_zstd_level = 3;

static const struct config_enum_entry debug_migrate_options[] = {
	{"off", VDB_DEBUG_MIGRATE_OFF, false},
	{"resolved", VDB_DEBUG_MIGRATE_RESOLVED, false},
	{"all", VDB_DEBUG_MIGRATE_ALL, false},
	{NULL, 0, false}
};

/* Accept only the actions that vdb_stop_point_reached knows. */
static bool
check_stop_action(char **newval, void **extra, GucSource source)
{
	if (**newval == '\0' || strcmp(*newval, "wait") == 0 ||
		strcmp(*newval, "crash") == 0 || strcmp(*newval, "error") == 0 ||
		strcmp(*newval, "delay") == 0)
		return true;
	GUC_check_errdetail("Known actions are wait, crash, error and delay.");
	return false;
}

/* Assign vdb.scm_size.  The postmaster's value counts for all processes, see vdb_scm_limit_mb. */
static void
assign_scm_size(int newval, void *extra)
{
	vdb_shmem_scm_size_assigned(newval);
}

/* Assign vdb.stop_point, even if the value is the same as before. */
static void
assign_stop_point(const char *newval, void *extra)
{
	vdb_stop_point_changed();
}

/* Define the settings of migration. */
static void
define_migration(void)
{
	DefineCustomIntVariable("vdb.migrate_after",
							"Age after which rows of ended transactions move from the pool to stripes.",
							NULL, &vdb_migrate_after_ms, 10000, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("vdb.migrate_backlog_segments",
							"Number of closed segments among 65,536 row numbers that makes these eligible for migration.",
							"Row numbers that are used up are eligible in any case.",
							&vdb_migrate_backlog_segments, 256, 1, INT_MAX,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("vdb.migrate_cost_delay",
							"Pause of the migration worker after each stripe.",
							NULL, &vdb_migrate_cost_delay_ms, 0, 0, 10000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomBoolVariable("vdb.migrate_enabled",
							 "Lets the background worker migrate rows.",
							 NULL, &vdb_migrate_enabled, true,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("vdb.migrate_high_water",
							"Share of rows in the pool, in percent, above which migration no longer waits for rows to age.",
							"Rows can have what metadata leaves of vdb.scm_size.",
							&vdb_migrate_high_water, 50, 1, 100,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("vdb.migrate_min_rows",
							"Number of rows among 65,536 row numbers, in segments that are full, that age alone moves to a stripe.",
							"1 MB of such segments moves in any case. 0 means any number, also from segments that are not full.",
							&vdb_migrate_min_rows, 8192, 0, 65536,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
}

/* Define the settings of the pool. */
static void
define_pool(void)
{
	DefineCustomIntVariable("vdb.scm_min_size",
							"Size up to which a pool keeps disk space that it does not use.",
							NULL, &vdb_scm_min_size_mb, 64, 1, 1024 * 1024,
							PGC_SIGHUP, GUC_UNIT_MB, NULL, NULL, NULL);
	DefineCustomIntVariable("vdb.scm_release_after",
							"Time after which a pool returns disk space that it did not use.",
							"-1 means never.",
							&vdb_scm_release_after_ms, 600000, -1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("vdb.scm_size",
							"Largest size of a database's pool.",
							"The pool's file grows to this size when needed.",
							&vdb_scm_size_mb, 1024, 8, 1024 * 1024,
							PGC_SIGHUP, GUC_UNIT_MB, NULL, assign_scm_size, NULL);
	DefineCustomStringVariable("vdb.scm_tablespace",
							   "Tablespace in which CREATE EXTENSION puts the pool.",
							   "An empty string means the database's default tablespace.",
							   &vdb_scm_tablespace, "",
							   PGC_USERSET, 0, NULL, NULL, NULL);
}

/* Define the settings that only tests use. */
static void
define_testing(void)
{
	DefineCustomBoolVariable("vdb.debug_aggregate",
							 "Makes vectorized aggregation cost nothing to the planner, for tests.",
							 NULL, &vdb_debug_aggregate, false,
							 PGC_USERSET, GUC_NOT_IN_SAMPLE | GUC_EXPLAIN, NULL, NULL, NULL);
	DefineCustomIntVariable("vdb.debug_analyze_blocks",
							"Most blocks that ANALYZE samples from, for tests.",
							"With fewer blocks each stands for more rows, as in a large table.",
							&vdb_debug_analyze_blocks, INT_MAX, 1, INT_MAX,
							PGC_USERSET, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomEnumVariable("vdb.debug_migrate",
							 "Moves rows to stripes around each statement, for tests.",
							 "resolved: before each statement, what earlier transactions left in the pool; all: after each, rows of transactions in progress too.",
							 &vdb_debug_migrate, VDB_DEBUG_MIGRATE_OFF, debug_migrate_options,
							 PGC_SUSET, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomStringVariable("vdb.stop_action",
							   "What happens at the stop point, for tests: wait, crash, error or delay.",
							   NULL, &vdb_stop_action, "wait",
							   PGC_SUSET, GUC_NOT_IN_SAMPLE,
							   check_stop_action, NULL, NULL);
	DefineCustomStringVariable("vdb.stop_point",
							   "Name of the stop point in the code at which to act, for tests.",
							   "Append a colon and a number to stop at a later passing.",
							   &vdb_stop_point, "",
							   PGC_SUSET, GUC_NOT_IN_SAMPLE,
							   NULL, assign_stop_point, NULL);
}

/* Define every setting; called once, from _PG_init. */
void
vdb_guc_init(void)
{
	DefineCustomIntVariable("vdb.chunk_rows",
							"Rows of a stripe's chunk.",
							NULL, &vdb_chunk_rows, 8192, 256, 8192,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("vdb.codec_force",
							"Number of the encoding to use wherever it applies, or -1, for tests.",
							NULL, &vdb_codec_force, -1, -1, 255,
							PGC_SUSET, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomBoolVariable("vdb.enable_aggregate",
							 "Enables the planner's use of vectorized aggregation.",
							 NULL, &vdb_enable_aggregate, true,
							 PGC_USERSET, GUC_EXPLAIN, NULL, NULL, NULL);
	DefineCustomBoolVariable("vdb.enable_custom_scan",
							 "Enables the planner's use of the vectorized scan.",
							 NULL, &vdb_enable_custom_scan, true,
							 PGC_USERSET, GUC_EXPLAIN, NULL, NULL, NULL);
	DefineCustomBoolVariable("vdb.enable_pruning",
							 "Lets scans skip chunks by their zone maps.",
							 NULL, &vdb_enable_pruning, true,
							 PGC_USERSET, GUC_EXPLAIN, NULL, NULL, NULL);
	DefineCustomBoolVariable("vdb.ignore_lost_recoveries",
							 "Lets vdb tables be used though the file vdb_am.ends was lost.",
							 "Rows of transactions that a crash undid may appear.",
							 &vdb_ignore_lost_recoveries, false,
							 PGC_SUSET, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	if (process_shared_preload_libraries_in_progress)	/* only then does the server accept it */
		DefineCustomIntVariable("vdb.max_databases",
								"Number of databases of the server that can use vdb_am.",
								NULL, &vdb_max_databases, 64, 1, 10000,
								PGC_POSTMASTER, 0, NULL, NULL, NULL);
	define_migration();
	define_pool();
	define_testing();
	if (process_shared_preload_libraries_in_progress)	/* only then does the server accept it */
		DefineCustomIntVariable("vdb.shared_cache",
								"Shared memory for decoded pieces of stripes that single rows are read from.",
								"-1 means a quarter of shared_buffers, 0 none.",
								&vdb_shared_cache_mb, -1, -1, MAX_KILOBYTES / 1024,
								PGC_POSTMASTER, GUC_UNIT_MB, NULL, NULL, NULL);
	DefineCustomIntVariable("vdb.stripe_cache",
							"Memory a backend may use to keep decoded stripes.",
							NULL, &vdb_stripe_cache_mb, 16, 1, MAX_KILOBYTES / 1024,
							PGC_USERSET, GUC_UNIT_MB, NULL, NULL, NULL);
	DefineCustomIntVariable("vdb.zstd_level",
							"Level of zstd for the encodings that use it.",
							NULL, &vdb_zstd_level, 3, 1, 19,
							PGC_USERSET, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("vdb");
}
