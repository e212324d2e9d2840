/* vdb_guc.h - all settings of the extension, defined in vdb_guc.c, sorted. */
#ifndef VDB_GUC_H
#define VDB_GUC_H

typedef enum VdbDebugMigrate
{
	VDB_DEBUG_MIGRATE_OFF,
	VDB_DEBUG_MIGRATE_RESOLVED,
	VDB_DEBUG_MIGRATE_ALL
} VdbDebugMigrate;

extern int	vdb_chunk_rows;				/* rows a chunk, for tests (256..8192) */
extern int	vdb_codec_force;			/* encoding number or -1 */
extern bool vdb_debug_aggregate;		/* whatever it costs, for tests */
extern int	vdb_debug_migrate;			/* VdbDebugMigrate, for tests */
extern bool vdb_enable_aggregate;
extern bool vdb_enable_custom_scan;
extern bool vdb_enable_pruning;
extern bool vdb_ignore_lost_recoveries;	/* use pools that can't be judged, for repair */
extern int	vdb_max_databases;		/* with a pool; as the server started: see vdb_shared->max_pools */
extern int	vdb_migrate_after_ms;		/* age after which settled rows move */
extern int	vdb_migrate_backlog_segments;	/* closed segments that make a range due */
extern int	vdb_migrate_cost_delay_ms;
extern bool vdb_migrate_enabled;		/* background migration */
extern int	vdb_migrate_high_water;		/* percent of the pool */
extern int	vdb_scm_size_mb;		/* as this process read it: ask vdb_scm_limit_mb */
extern char *vdb_scm_tablespace;
extern char *vdb_stop_point;			/* name of a stop point (tests) */
extern char *vdb_stop_action;			/* wait | crash | error | delay */
extern int	vdb_stripe_cache_mb;		/* per backend */
extern int	vdb_shared_cache_mb;		/* -1: a quarter of shared_buffers */
extern int	vdb_zstd_level;

extern void vdb_guc_init(void);

/*
 * vdb.scm_size as the postmaster read it last.  A statement that waits for
 * room reads no configuration, but must learn that there is room now.
 */
extern uint32 vdb_scm_limit_mb(void);

#endif							/* VDB_GUC_H */
