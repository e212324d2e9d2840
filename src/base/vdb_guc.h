/*
 * vdb_guc.h
 *	  All settings of the extension, sorted.
 *
 * Those of shared memory and of stop points are declared in vdb_shmem.h and vdb_stop_point.h.
 */
#ifndef VDB_GUC_H
#define VDB_GUC_H

typedef enum VdbDebugMigrate
{
	VDB_DEBUG_MIGRATE_OFF,
	VDB_DEBUG_MIGRATE_RESOLVED,
	VDB_DEBUG_MIGRATE_ALL
} VdbDebugMigrate;

extern int	vdb_chunk_rows;			/* rows in a chunk, for tests (256 to 8192) */
extern int	vdb_codec_force;		/* encoding number or -1 */
extern bool vdb_debug_aggregate;	/* regardless of cost, for tests */
extern int	vdb_debug_analyze_blocks;	/* most blocks that ANALYZE samples from, for tests */
extern int	vdb_debug_migrate;		/* VdbDebugMigrate, for tests */
extern bool vdb_enable_aggregate;
extern bool vdb_enable_custom_scan;
extern bool vdb_enable_pruning;
extern bool vdb_ignore_lost_recoveries; /* use pools that can't be checked, for repair */
extern int	vdb_migrate_after_ms;	/* age after which resolved rows move */
extern int	vdb_migrate_backlog_segments;	/* closed segments that make a range eligible */
extern int	vdb_migrate_cost_delay_ms;
extern bool vdb_migrate_enabled;	/* background migration */
extern int	vdb_migrate_high_water; /* percent of the pool */
extern int	vdb_migrate_min_rows;
extern int	vdb_scm_min_size_mb;
extern int	vdb_scm_release_after_ms;	/* -1: never */
extern char *vdb_scm_tablespace;
extern int	vdb_stripe_cache_mb;	/* per backend */
extern int	vdb_shared_cache_mb;	/* -1: a quarter of shared_buffers */
extern int	vdb_zstd_level;

/* Define every setting.  Called once, from _PG_init. */
extern void vdb_guc_init(void);

#endif							/* VDB_GUC_H */
