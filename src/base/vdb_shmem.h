/*-------------------------------------------------------------------------
 *
 * vdb_shmem.h
 *	  The extension's shared memory: one struct, its locks, its counters.
 *
 * It is requested and initialized once, from _PG_init's hooks (vdb_shmem.c).  The other parts reach
 * their piece through the accessors, and add no hooks of their own.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_SHMEM_H
#define VDB_SHMEM_H

#include "access/transam.h"
#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

#include "base/vdb_compat.h"
#include "base/vdb_types.h"

#define VDB_BLOCK_LOCKS		128
#define VDB_MAP_LOCKS		64
#define VDB_OPEN_LOCKS		16
#define VDB_CACHE_LOCKS		64

/* Counters of one pool; plain statistics, on which nothing relies. */
typedef struct VdbPoolCounters
{
	pg_atomic_uint64 rows_appended;
	pg_atomic_uint64 bytes_appended;
	pg_atomic_uint64 visibility_checks;
	pg_atomic_uint64 rows_migrated;
	pg_atomic_uint64 stripes_written;
	pg_atomic_uint64 stripe_bytes_written;
	pg_atomic_uint64 waits;			/* inserters that waited for space */
	pg_atomic_uint64 backend_migrations;	/* inserters that migrated themselves */
	pg_atomic_uint64 changes;		/* logged changes */
	pg_atomic_uint64 flushes;		/* structural flushes */
	pg_atomic_uint64 sync_requests;
	pg_atomic_uint64 chunks_read;
	pg_atomic_uint64 chunks_pruned;
} VdbPoolCounters;

/*
 * A table that could not be moved lately, or not wholly.  Processes that move rows meet it again in
 * every round.
 */
#define VDB_FAILURE_NOTES	32

typedef struct VdbFailureNote
{
	uint32		table_slot;
	uint32		table_generation;
	int64		reported_at;		/* TimestampTz; 0: none */
	int64		failed_at;			/* TimestampTz; 0: part of it is damaged, and the rest moves */
} VdbFailureNote;

/*
 * What all processes share about the pool of one database.  'db' is set under the pool's allocation
 * lock and never cleared while the server runs, except by a re-created pool of the same database.
 */
typedef struct VdbPoolShared
{
	Oid			db;
	RelFileLocator rnode;
	bool		epoch_begun;		/* this run of the server has stored something */
	uint32		epoch;				/* valid once begun */
	pg_atomic_uint32 used_segments; /* in use or reserved; released ones are neither */
	pg_atomic_uint32 row_segments;	/* of these, segments of rows in use: what migration can free */
	pg_atomic_uint32 total_segments;
	pg_atomic_uint32 released_segments; /* may lack space on the file system, see scm_release.c */
	pg_atomic_uint32 high_water_segments;
	uint32		alloc_hint;			/* no free segment has a lower number */
	uint32		block_hint;			/* no segment of single blocks with room has a lower number */
	TimestampTz grow_failed_at;		/* 0: the last growth succeeded */
	TimestampTz grow_warned_at;
	uint32		peak_segments;		/* most used_segments in this period (scm_release.c) */
	uint32		last_peak_segments; /* and in the period before it */
	pg_atomic_uint64 period_began;	/* TimestampTz; 0: none has begun */
	pg_atomic_uint64 punch_after;	/* to punch holes when a checkpoint past this WAL position is
									 * complete; 0: none are */
	bool		no_holes;			/* the file system cannot punch holes */
	ConditionVariable space_cv;		/* signaled when segments become free */
	pg_atomic_uint32 worker_wanted; /* the launcher should start a worker */
	pid_t		worker_pid;
	uint64		changes_seen;		/* counters.changes when a worker last looked */
	uint32		used_seen;			/* segments in use when a worker last looked */
	bool		futile;				/* the pool was past the high-water mark then, and nothing
									 * could be moved */
	int64		leave_until;		/* TimestampTz: no worker before that */
	VdbFailureNote failures[VDB_FAILURE_NOTES]; /* under pools_lock */
	VdbPoolCounters counters;
} VdbPoolShared;

/* The extension's shared memory. */
typedef struct VdbShared
{
	FullTransactionId epoch_limit;	/* nextXid when this run's recovery ended */
	MultiXactId multi_limit;		/* next multixact id then */
	pg_atomic_uint32 preparing;		/* transactions within PREPARE TRANSACTION (rows_multi.c) */
	bool		recovered;			/* this run began with recovery */
	uint64		start_id;			/* random, one per run of the server; never 0 */
	struct ControlFileData *control_file;	/* the server's copy in shared memory */
	LWLockPadded *block_locks;
	LWLockPadded *map_locks;
	pg_atomic_uint64 block_changes[VDB_BLOCK_LOCKS];	/* changes that listed the block lock;
														 * updated by its holder */
	LWLockPadded *open_locks;
	LWLockPadded *cache_locks;
	LWLockPadded *alloc_locks;		/* max_pools of them */
	LWLockPadded *grow_locks;		/* likewise; only taken if free, see scm_grow.c */
	LWLock	   *pools_lock;			/* the array of pools, the launcher's fields */
	LWLock	   *ends_lock;			/* for writing the file vdb_am.ends; no other lock is taken
									 * under it */
	Latch	   *launcher_latch;
	pg_atomic_uint32 scm_size_mb;	/* see vdb_scm_limit_mb */
	int			max_pools;			/* vdb.max_databases */
	int			npools;
	VdbPoolShared pools[FLEXIBLE_ARRAY_MEMBER]; /* max_pools of them */
} VdbShared;

extern PGDLLIMPORT VdbShared *vdb_shared;	/* NULL unless preloaded */

extern int	vdb_max_databases;		/* setting; as the server started: see vdb_shared->max_pools */
extern int	vdb_scm_size_mb;		/* setting, as read by this process: call vdb_scm_limit_mb
									 * instead */

/*
 * Return vdb.scm_size, in MB, as the postmaster read it last.  A statement that waits for room
 * reads no configuration, but must notice when there is room.
 */
extern uint32 vdb_scm_limit_mb(void);

/* Note a new value of vdb.scm_size (for vdb_guc.c).  Only the postmaster's value counts. */
extern void vdb_shmem_scm_size_assigned(int megabytes);

/* Install the shared memory hooks.  Called from _PG_init, only while preloading. */
extern void vdb_shmem_init(void);

/*
 * Register shared memory for another part.  Called from _PG_init: the size is reserved, and the
 * callback runs in the start-up hook with the address.  'found' is false if the memory is new; it
 * is then zeroed if that was asked for.
 */
typedef void (*VdbShmemCallback) (void *address, bool found);
extern void vdb_shmem_register(const char *name, Size size, bool zeroed, VdbShmemCallback cb);

/*
 * Have a worker started for a pool, unless one was asked for already.  The caller of the first
 * function holds no block, map or allocation lock: the function takes pools_lock.  The caller of
 * the second one holds pools_lock, in either mode.
 */
extern void vdb_pool_wake_worker(VdbPoolShared *pool);
extern void vdb_pool_wake_worker_locked(VdbPoolShared *pool);

/* Raise an error with the line to add to postgresql.conf, unless the library was preloaded. */
extern void vdb_require_preload(void);

/*
 * Return the number of the block lock that guards this logical block of this table (pool slot and
 * lb).
 */
static inline uint32
vdb_block_lock_no(uint32 table_slot, VdbLogicalBlock lb)
{
	return (table_slot * 0x9E3779B1u + lb) % VDB_BLOCK_LOCKS;
}

static inline LWLock *
vdb_block_lock(uint32 lock_no)
{
	return &vdb_shared->block_locks[lock_no].lock;
}

static inline LWLock *
vdb_map_lock(uint32 table_slot)
{
	return &vdb_shared->map_locks[table_slot % VDB_MAP_LOCKS].lock;
}

#endif							/* VDB_SHMEM_H */
