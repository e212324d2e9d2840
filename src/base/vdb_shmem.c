/*-------------------------------------------------------------------------
 *
 * vdb_shmem.c
 *	  The extension's shared memory: requested and initialized here, once.
 *
 * Both hooks are chained.  The start-up hook runs in the postmaster, again after every crash
 * restart, with memory that was zeroed.  So 'start_id' is new for every run of the server, and
 * epochs rely on that.
 *
 * 'epoch_limit' begins as the control file's next transaction id, which is right when there is
 * nothing to recover.  If there is, the resource manager's rm_cleanup sets it again, before any
 * process can write.
 *
 * Locks (in the order they are taken, see src/README.md): vdb_blocks, vdb_map, vdb_open, vdb_alloc;
 * vdb_pools guards the array of pools and is taken before vdb_alloc, never while one of the others
 * is held.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_control.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#include "base/vdb_shmem.h"

#define MAX_REGISTERED	8

typedef struct Registered
{
	const char *name;
	Size		size;
	bool		zeroed;
	VdbShmemCallback callback;
} Registered;

VdbShared  *vdb_shared = NULL;
int			vdb_max_databases = 64;
int			vdb_scm_size_mb = 1024;

static Registered registered[MAX_REGISTERED];
static int	nregistered = 0;
static bool requested = false;
static shmem_request_hook_type prev_request_hook = NULL;
static shmem_startup_hook_type prev_startup_hook = NULL;

/* See vdb_shmem.h.  Called only from _PG_init, while preloading. */
void
vdb_shmem_register(const char *name, Size size, bool zeroed, VdbShmemCallback cb)
{
	Assert(process_shared_preload_libraries_in_progress);
	Assert(!requested);
	if (nregistered >= MAX_REGISTERED)
		elog(ERROR, "too many parts of shared memory");
	registered[nregistered].name = name;
	registered[nregistered].size = size;
	registered[nregistered].zeroed = zeroed;
	registered[nregistered].callback = cb;
	nregistered++;
}

/*
 * Return the bytes of VdbShared, which depend on a setting that can't change while the server runs.
 */
static Size
shared_size(void)
{
	return add_size(offsetof(VdbShared, pools),
					mul_size(vdb_max_databases, sizeof(VdbPoolShared)));
}

/* Request shared memory and lock tranches. */
static void
request_hook(void)
{
	if (prev_request_hook)
		prev_request_hook();

	requested = true;
	RequestAddinShmemSpace(MAXALIGN(shared_size()));
	for (int i = 0; i < nregistered; i++)
		RequestAddinShmemSpace(MAXALIGN(registered[i].size));
	RequestNamedLWLockTranche("vdb_blocks", VDB_BLOCK_LOCKS);
	RequestNamedLWLockTranche("vdb_map", VDB_MAP_LOCKS);
	RequestNamedLWLockTranche("vdb_open", VDB_OPEN_LOCKS);
	RequestNamedLWLockTranche("vdb_cache", VDB_CACHE_LOCKS);
	RequestNamedLWLockTranche("vdb_alloc", vdb_max_databases);
	RequestNamedLWLockTranche("vdb_grow", vdb_max_databases);
	RequestNamedLWLockTranche("vdb_pools", 1);
	RequestNamedLWLockTranche("vdb_ends", 1);
}

static void
init_counters(VdbPoolCounters *counters)
{
	pg_atomic_init_u64(&counters->rows_appended, 0);
	pg_atomic_init_u64(&counters->bytes_appended, 0);
	pg_atomic_init_u64(&counters->visibility_checks, 0);
	pg_atomic_init_u64(&counters->rows_migrated, 0);
	pg_atomic_init_u64(&counters->stripes_written, 0);
	pg_atomic_init_u64(&counters->stripe_bytes_written, 0);
	pg_atomic_init_u64(&counters->waits, 0);
	pg_atomic_init_u64(&counters->backend_migrations, 0);
	pg_atomic_init_u64(&counters->changes, 0);
	pg_atomic_init_u64(&counters->flushes, 0);
	pg_atomic_init_u64(&counters->sync_requests, 0);
	pg_atomic_init_u64(&counters->chunks_read, 0);
	pg_atomic_init_u64(&counters->chunks_pruned, 0);
}

static void
init_pool_slot(VdbPoolShared *slot)
{
	slot->db = InvalidOid;
	pg_atomic_init_u32(&slot->used_segments, 0);
	pg_atomic_init_u32(&slot->row_segments, 0);
	pg_atomic_init_u32(&slot->total_segments, 0);
	pg_atomic_init_u32(&slot->released_segments, 0);
	pg_atomic_init_u32(&slot->high_water_segments, 0);
	pg_atomic_init_u64(&slot->period_began, 0);
	pg_atomic_init_u64(&slot->punch_after, 0);
	pg_atomic_init_u32(&slot->worker_wanted, 0);
	ConditionVariableInit(&slot->space_cv);
	init_counters(&slot->counters);
}

/* Return a number that no other run of the server has. */
static uint64
make_start_id(void)
{
	uint64		id;

	if (!pg_strong_random(&id, sizeof(id)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate a random number")));
	return id == 0 ? 1 : id;
}

/* Initialize VdbShared. */
static void
init_shared(void)
{
	bool		found;
	ControlFileData *control;

	MemSet(vdb_shared, 0, shared_size());
	vdb_shared->max_pools = vdb_max_databases;

	/* the server made and filled it before any start-up hook runs */
	control = ShmemInitStruct("Control File", sizeof(ControlFileData), &found);
	if (!found)
		elog(FATAL, "the control file is not in shared memory");
	vdb_shared->control_file = control;
	vdb_shared->epoch_limit = control->checkPointCopy.nextXid;
	vdb_shared->multi_limit = control->checkPointCopy.nextMulti;
	pg_atomic_init_u32(&vdb_shared->preparing, 0);
	vdb_shared->recovered = false;
	vdb_shared->start_id = make_start_id();
	pg_atomic_init_u32(&vdb_shared->scm_size_mb, (uint32) vdb_scm_size_mb);

	vdb_shared->block_locks = GetNamedLWLockTranche("vdb_blocks");
	vdb_shared->map_locks = GetNamedLWLockTranche("vdb_map");
	vdb_shared->open_locks = GetNamedLWLockTranche("vdb_open");
	vdb_shared->cache_locks = GetNamedLWLockTranche("vdb_cache");
	vdb_shared->alloc_locks = GetNamedLWLockTranche("vdb_alloc");
	vdb_shared->grow_locks = GetNamedLWLockTranche("vdb_grow");
	vdb_shared->pools_lock = &GetNamedLWLockTranche("vdb_pools")->lock;
	vdb_shared->ends_lock = &GetNamedLWLockTranche("vdb_ends")->lock;
	for (int i = 0; i < VDB_BLOCK_LOCKS; i++)
		pg_atomic_init_u64(&vdb_shared->block_changes[i], 0);
	for (int i = 0; i < vdb_shared->max_pools; i++)
		init_pool_slot(&vdb_shared->pools[i]);
}

/* Forget VdbShared before the process detaches from shared memory: it logs messages after that. */
static void
forget_shared(int code, Datum arg)
{
	vdb_shared = NULL;
}

/* Attach to VdbShared, and to the registered parts' memory; initialize what is new. */
static void
startup_hook(void)
{
	bool		found;

	if (prev_startup_hook)
		prev_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	vdb_shared = ShmemInitStruct("vdb_am", shared_size(), &found);
	if (!found)
		init_shared();
	for (int i = 0; i < nregistered; i++)
	{
		void	   *address = ShmemInitStruct(registered[i].name,
											  registered[i].size, &found);

		if (!found && registered[i].zeroed)
			MemSet(address, 0, registered[i].size);
		registered[i].callback(address, found);
	}
	LWLockRelease(AddinShmemInitLock);
	on_shmem_exit(forget_shared, 0);
}

/* See vdb_shmem.h. */
uint32
vdb_scm_limit_mb(void)
{
	return vdb_shared != NULL ? pg_atomic_read_u32(&vdb_shared->scm_size_mb) :
		(uint32) vdb_scm_size_mb;
}

/* See vdb_shmem.h.  The postmaster reads the configuration before its children do. */
void
vdb_shmem_scm_size_assigned(int megabytes)
{
	if (vdb_shared != NULL && !IsUnderPostmaster)
		pg_atomic_write_u32(&vdb_shared->scm_size_mb, (uint32) megabytes);
}

/* See vdb_shmem.h.  Called only from _PG_init, while preloading. */
void
vdb_shmem_init(void)
{
	Assert(process_shared_preload_libraries_in_progress);

	prev_request_hook = shmem_request_hook;
	shmem_request_hook = request_hook;
	prev_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_hook;
}

/* See vdb_shmem.h. */
void
vdb_pool_wake_worker_locked(VdbPoolShared *pool)
{
	Assert(LWLockHeldByMe(vdb_shared->pools_lock));
	if (pg_atomic_exchange_u32(&pool->worker_wanted, 1) == 0 &&
		vdb_shared->launcher_latch != NULL)
		SetLatch(vdb_shared->launcher_latch);
}

/* See vdb_shmem.h. */
void
vdb_pool_wake_worker(VdbPoolShared *pool)
{
	if (pg_atomic_read_u32(&pool->worker_wanted) == 1)
		return;
	LWLockAcquire(vdb_shared->pools_lock, LW_SHARED);
	vdb_pool_wake_worker_locked(pool);
	LWLockRelease(vdb_shared->pools_lock);
}

/* See vdb_shmem.h. */
void
vdb_require_preload(void)
{
	if (vdb_shared != NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("vdb_am must be loaded via \"shared_preload_libraries\""),
			 errhint("Add the line shared_preload_libraries = 'vdb_am' to postgresql.conf "
					 "(keeping the entries that are there) and restart the server.")));
}
