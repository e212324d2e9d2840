/*-------------------------------------------------------------------------
 *
 * scm_pool.c
 *	  A backend's view of its database's pool: finding, checking, mapping and creating it.
 *
 * A backend keeps one view.  A relcache invalidation of vdb.scm makes the view
 * stale.  It is checked again when the next transaction first asks for the
 * pool, under AccessShareLock on vdb.scm, which is held until the transaction
 * ends.  That lock makes a mapping safe to touch, as a process that drops or
 * rewrites vdb.scm takes AccessExclusiveLock.  So a mapping is only touched
 * between vdb_pool_open and the end of its transaction.
 *
 * In the common case vdb_pool_open is two comparisons.
 *
 * The shared slot of a database is filled at the first open and kept.  When
 * vdb.scm has been created anew, the slot is reset.  If the re-creation is
 * rolled back, that happens twice, so everything in the slot can be read back
 * from the pool.
 *
 * Locks: pools_lock, then the slot's allocation lock, while a slot is reset.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "access/relation.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/storage.h"
#include "catalog/storage_xlog.h"
#include "commands/extension.h"
#include "common/relpath.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "storage/smgr.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/syscache.h"

#include "base/vdb_crc.h"
#include "base/vdb_stop_point.h"
#include "scm/scm_internal.h"
#include "scm/scm_words.h"

#define POOL_SCHEMA		"vdb"
#define POOL_RELATION	"scm"
#define POOL_EXTENSION	"vdb_am"

static VdbPool *current_pool = NULL;
static bool current_valid = false;	/* no invalidation since the view was checked */

/* The transaction that holds the lock of vdb.scm. */
static LocalTransactionId current_lxid = InvalidLocalTransactionId;

/* Allocate a view, in which nothing is mapped yet. */
static VdbPool *
make_view(const RelFileLocator *rnode, Oid relid)
{
	VdbPool    *pool = MemoryContextAllocZero(TopMemoryContext, sizeof(VdbPool));

	pool->rnode = *rnode;
	pool->relid = relid;
	vdb_file_path(rnode, 0, pool->path);
	return pool;
}

/* Unmap a view's files and free it. */
static void
free_view(VdbPool *pool)
{
	for (uint32 file = 0; file < VDB_POOL_MAX_FILES; file++)
	{
		if (pool->files[file] != NULL)
			vdb_file_unmap(pool->files[file]);
	}
	pfree(pool);
}

/* Free the current view, if there is one. */
static void
forget_current(void)
{
	VdbPool    *pool = current_pool;

	current_pool = NULL;
	current_valid = false;
	current_lxid = InvalidLocalTransactionId;
	if (pool != NULL)
	{
		vdb_reserved_forget(pool);
		free_view(pool);
	}
}

/* ---- checks of the medium ---- */

static uint32
header_crc(const VdbPoolHeader *header)
{
	return vdb_crc32c(header, offsetof(VdbPoolHeader, crc));
}

/* Check the header's constant part.  ERROR if it is damaged, foreign or of an unknown version. */
static void
check_header_constants(VdbPool *pool, const VdbPoolHeader *header)
{
	if (memcmp(header->magic, VDB_POOL_MAGIC, sizeof(header->magic)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("file \"%s\" is not a vdb_am pool", pool->path),
				 errdetail("The header lacks the pool's magic number.")));
	if (header->version > VDB_POOL_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("pool \"%s\" has format version %u, but this vdb_am knows only up to %d",
						pool->path, header->version, VDB_POOL_VERSION),
				 errhint("Install the release of vdb_am that wrote the pool, or a later one.")));
	if (header_crc(header) != header->crc)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("pool \"%s\" has a damaged header", pool->path),
				 errdetail("The checksum is %08X, computed is %08X.",
						   header->crc, header_crc(header))));
	if (header->version != VDB_POOL_VERSION ||
		header->block_bytes != VDB_POOL_BLOCK_BYTES ||
		header->segment_blocks != VDB_SEGMENT_BLOCKS ||
		header->group_segments != VDB_GROUP_SEGMENTS ||
		header->ring_entries != VDB_RING_ENTRIES)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("pool \"%s\" has a layout that this vdb_am does not know", pool->path)));
	if (header->relnode != pool->rnode.relNumber)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("pool \"%s\" belongs to another relation", pool->path),
				 errdetail("It was made as relation file %u.", header->relnode),
				 errhint("A pool's file can be copied only with its whole database.")));
}

/* Check that the files are as long as the header says.  ERROR if they are shorter. */
static void
check_length(VdbPool *pool)
{
	uint32		nblocks = pool->header->total_segments * VDB_SEGMENT_BLOCKS;

	for (uint32 file = 0; (uint64) file * VDB_FILE_BLOCKS < nblocks; file++)
	{
		uint32		here = Min(VDB_FILE_BLOCKS, nblocks - file * VDB_FILE_BLOCKS);
		int64		bytes = vdb_file_bytes(&pool->rnode, file);

		if (bytes < (int64) here * VDB_POOL_BLOCK_BYTES)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("pool \"%s\" is truncated", pool->path),
					 errdetail("File %u has %lld bytes instead of %lld.", file,
							   (long long) bytes,
							   (long long) here * VDB_POOL_BLOCK_BYTES)));
	}
}

/* Map the first file and check the pool.  ERROR if it is damaged or foreign. */
static void
map_and_check(VdbPool *pool)
{
	/* Touching the header of an empty file would be SIGBUS. */
	if (vdb_file_bytes(&pool->rnode, 0) < VDB_SEGMENT_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("pool \"%s\" is missing or empty", pool->path)));
	vdb_pool_map_file(pool, 0);
	pool->header = (const VdbPoolHeader *) (pool->files[0] + VDB_POOL_BLOCK_HEADER);
	check_header_constants(pool, pool->header);
	if (pool->header->total_segments == 0 ||
		pool->header->total_segments > (uint32) VDB_POOL_MAX_FILES * 1024 * VDB_SEGMENTS_PER_MB)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("pool \"%s\" has a damaged header", pool->path),
				 errdetail("It claims %u segments.", pool->header->total_segments)));
	check_length(pool);
}

/* ---- the shared slot ---- */

/* Find the slot of a database, or NULL.  The caller holds pools_lock. */
static VdbPoolShared *
find_slot(Oid db)
{
	for (int i = 0; i < vdb_shared->npools; i++)
	{
		if (vdb_shared->pools[i].db == db)
			return &vdb_shared->pools[i];
	}
	return NULL;
}

/*
 * Check whether the slot's pool was dropped with its database or its extension.
 * A dropped relation's file is empty until the next checkpoint.
 */
static bool
slot_is_dropped(Oid db, const RelFileLocator *rnode)
{
	return !SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(db)) ||
		vdb_file_bytes(rnode, 0) <= 0;
}

/* Clear the slots of pools that no longer exist.  Takes pools_lock. */
static void
clear_dropped_slots(void)
{
	for (int i = 0; i < vdb_shared->max_pools; i++)
	{
		VdbPoolShared *slot = &vdb_shared->pools[i];
		RelFileLocator rnode;
		Oid			db;

		LWLockAcquire(vdb_shared->pools_lock, LW_SHARED);
		db = slot->db;
		rnode = slot->rnode;
		LWLockRelease(vdb_shared->pools_lock);
		if (!OidIsValid(db) || !slot_is_dropped(db, &rnode))
			continue;
		LWLockAcquire(vdb_shared->pools_lock, LW_EXCLUSIVE);
		if (slot->db == db && RelFileLocatorEquals(slot->rnode, rnode))
			slot->db = InvalidOid;
		LWLockRelease(vdb_shared->pools_lock);
	}
}

/*
 * Find the database's slot, or take a fresh one; NULL if there is none.  The caller holds
 * pools_lock in exclusive mode.
 */
static VdbPoolShared *
find_or_take_slot(Oid db)
{
	VdbPoolShared *slot = find_slot(db);

	if (slot == NULL)
		slot = find_slot(InvalidOid);
	if (slot == NULL && vdb_shared->npools < vdb_shared->max_pools)
		slot = &vdb_shared->pools[vdb_shared->npools++];
	if (slot != NULL && slot->db != db)
	{
		slot->db = db;
		slot->rnode.relNumber = InvalidOid;
	}
	return slot;
}

/*
 * Make the slot describe this pool, if it doesn't.  The caller holds pools_lock in exclusive mode;
 * the allocation lock is taken here.
 */
static void
fill_slot(VdbPool *pool, VdbPoolShared *slot)
{
	pool->shared = slot;
	pool->alloc_lock = &vdb_shared->alloc_locks[slot - vdb_shared->pools].lock;
	if (RelFileLocatorEquals(slot->rnode, pool->rnode))
		return;
	LWLockAcquire(pool->alloc_lock, LW_EXCLUSIVE);
	vdb_epoch_attach(pool);
	vdb_alloc_recount(pool, false);
	slot->rnode = pool->rnode;
	LWLockRelease(pool->alloc_lock);
}

/*
 * Find or take this database's slot; pools_lock is held in exclusive mode on
 * return.  ERROR if too many databases use pools.
 */
static VdbPoolShared *
lock_slot(void)
{
	VdbPoolShared *slot;

	for (bool cleared = false;; cleared = true)
	{
		LWLockAcquire(vdb_shared->pools_lock, LW_EXCLUSIVE);
		slot = find_or_take_slot(MyDatabaseId);
		if (slot != NULL)
			return slot;
		LWLockRelease(vdb_shared->pools_lock);
		if (cleared)
			ereport(ERROR,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("too many databases use vdb_am"),
					 errdetail("At most %d can, by the setting vdb.max_databases.",
							   vdb_shared->max_pools),
					 errhint("Raise vdb.max_databases and restart the server, or use DROP EXTENSION vdb_am in a database that does without.")));
		clear_dropped_slots();
	}
}

/* Connect the view to its database's shared slot.  ERROR if there is none left. */
static void
attach_slot(VdbPool *pool)
{
	VdbPoolShared *slot;

	/* Map the remaining files first, as mapping may raise errors. */
	for (uint32 block = 0; block < vdb_pool_total_blocks(pool); block += VDB_GROUP_BLOCKS)
		(void) vdb_pool_pointer(pool, block + VDB_GROUP_MAP_BLOCK);

	slot = lock_slot();
	fill_slot(pool, slot);
	LWLockRelease(vdb_shared->pools_lock);
}

/* ---- opening ---- */

/* Mark the view as stale when vdb.scm is invalidated. */
static void
relcache_callback(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || (current_pool != NULL && current_pool->relid == relid))
	{
		current_valid = false;
		current_lxid = InvalidLocalTransactionId;
	}
}

/* Return the OID of vdb.scm if it belongs to our extension, else InvalidOid. */
static Oid
find_relation(void)
{
	Oid			nsp = get_namespace_oid(POOL_SCHEMA, true);
	Oid			relid = InvalidOid;
	Oid			extension;

	if (OidIsValid(nsp))
		relid = get_relname_relid(POOL_RELATION, nsp);
	if (!OidIsValid(relid))
		return InvalidOid;
	extension = get_extension_oid(POOL_EXTENSION, true);
	if (!OidIsValid(extension) ||
		getExtensionOfObject(RelationRelationId, relid) != extension)
		return InvalidOid;
	return relid;
}

/*
 * Lock the relation until the end of the top transaction, not just of the
 * subtransaction that happens to use the pool first.
 */
static void
lock_relation(Oid relid)
{
	ResourceOwner saved = CurrentResourceOwner;

	CurrentResourceOwner = TopTransactionResourceOwner;
	PG_TRY();
	{
		LockRelationOid(relid, AccessShareLock);
	}
	PG_FINALLY();
	{
		CurrentResourceOwner = saved;
	}
	PG_END_TRY();
}

/* Find and lock vdb.scm and return its OID, or InvalidOid if there is none. */
static Oid
find_and_lock(void)
{
	Oid			relid;

	/* Use the view's relation, unless an invalidation arrives with the lock. */
	if (current_valid && current_pool != NULL)
	{
		relid = current_pool->relid;
		lock_relation(relid);
		if (current_valid)
			return relid;
	}
	for (;;)
	{
		relid = find_relation();
		if (!OidIsValid(relid))
			return InvalidOid;
		lock_relation(relid);
		if (find_relation() == relid)
			return relid;
		CHECK_FOR_INTERRUPTS();
	}
}

/* Make current_pool a view of this relation, which the caller has locked. */
static void
renew_view(Oid relid)
{
	Relation	rel = relation_open(relid, NoLock);
	RelFileLocator rnode = rel->rd_locator;
	VdbPool    *pool;

	relation_close(rel, NoLock);
	if (current_pool != NULL && current_pool->relid == relid &&
		RelFileLocatorEquals(current_pool->rnode, rnode))
		return;
	forget_current();
	pool = make_view(&rnode, relid);
	PG_TRY();
	{
		map_and_check(pool);
	}
	PG_CATCH();
	{
		free_view(pool);
		PG_RE_THROW();
	}
	PG_END_TRY();
	current_pool = pool;
}

/*
 * Open the pool for the first time in a transaction.  If there is no pool, returns NULL if
 * missing_ok, else raises an error.
 */
static VdbPool *
open_slowly(bool missing_ok)
{
	static bool registered = false;
	Oid			relid;

	if (vdb_shared == NULL && missing_ok)
		return NULL;
	vdb_require_preload();
	Assert(IsTransactionState());
	if (!registered)
	{
		CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
		registered = true;
	}

	relid = find_and_lock();
	if (!OidIsValid(relid))
	{
		forget_current();
		if (missing_ok)
			return NULL;
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"%s\" is not installed in this database", POOL_EXTENSION),
				 errhint("Use CREATE EXTENSION %s.", POOL_EXTENSION)));
	}
	if (!current_valid || current_pool == NULL)
		renew_view(relid);

	/* Under our lock only this backend can make the view stale again. */
	current_valid = true;
	if (current_pool->shared == NULL ||
		current_pool->shared->db != MyDatabaseId ||
		!RelFileLocatorEquals(current_pool->shared->rnode, current_pool->rnode))
		attach_slot(current_pool);
	vdb_epoch_require_history(current_pool);
	vdb_scm_report_growth(current_pool);
	current_lxid = vdb_my_lxid();
	return current_pool;
}

VdbPool *
vdb_pool_open(void)
{
	if (likely(current_lxid == vdb_my_lxid() && LocalTransactionIdIsValid(current_lxid)))
		return current_pool;
	return open_slowly(false);
}

VdbPool *
vdb_pool_try_open(void)
{
	if (likely(current_lxid == vdb_my_lxid() && LocalTransactionIdIsValid(current_lxid)))
		return current_pool;
	return open_slowly(true);
}

/* ---- reading ---- */

const void *
vdb_pool_block(VdbPool *pool, VdbBlock block)
{
	if (unlikely(block / VDB_SEGMENT_BLOCKS >= vdb_pool_total_segments(pool)))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("block %u is not in the pool \"%s\"", block, pool->path)));
	return vdb_pool_pointer(pool, block);
}

VdbPoolShared *
vdb_pool_shared(VdbPool *pool)
{
	return pool->shared;
}

bool
vdb_pool_is_pmem(VdbPool *pool)
{
	return pool->is_pmem;
}

const char *
vdb_pool_path(VdbPool *pool)
{
	return pool->path;
}

uint32
vdb_pool_total_blocks(VdbPool *pool)
{
	return vdb_pool_total_segments(pool) * VDB_SEGMENT_BLOCKS;
}

VdbBlock
vdb_pool_directory(VdbPool *pool)
{
	VdbBlock	block = *(volatile const uint32 *) &pool->header->directory;

	pg_read_barrier();
	return block;
}

/* ---- creation ---- */

/* Fill the header of a new pool. */
static void
fill_header(VdbPoolHeader *header, const RelFileLocator *rnode)
{
	memset(header, 0, sizeof(*header));
	memcpy(header->magic, VDB_POOL_MAGIC, sizeof(header->magic));
	header->version = VDB_POOL_VERSION;
	header->block_bytes = VDB_POOL_BLOCK_BYTES;
	header->segment_blocks = VDB_SEGMENT_BLOCKS;
	header->group_segments = VDB_GROUP_SEGMENTS;
	header->relnode = rnode->relNumber;
	header->ring_entries = VDB_RING_ENTRIES;
	if (!pg_strong_random(&header->pool_id, sizeof(header->pool_id)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate a random number")));
	header->crc = header_crc(header);
	header->total_segments = VDB_POOL_INITIAL_SEGMENTS;
	header->epoch = 1;
	header->ring_start = 1;
	header->start_id = vdb_shared->start_id;	/* it begins in this run */
	header->begin_lsn = GetXLogInsertRecPtr();
}

/* Write the header and the first map by one flushed change, so that redo makes both. */
static void
format_pool(VdbPool *pool)
{
	VdbPoolHeader header;
	VdbScmChange *change;

	vdb_pool_map_file(pool, 0);
	pool->header = (const VdbPoolHeader *) (pool->files[0] + VDB_POOL_BLOCK_HEADER);
	fill_header(&header, &pool->rnode);
	change = vdb_change_open(pool, VDB_CHANGE_FLUSH | VDB_CHANGE_INTERNAL);
	vdb_change_extend(change, vdb_segment_block(VDB_POOL_INITIAL_SEGMENTS));
	vdb_alloc_format_groups(change, 0, VDB_POOL_INITIAL_SEGMENTS);
	vdb_change_header(change, VDB_PHASE_STORE, 0, &header, sizeof(header));
	(void) vdb_scm_change_end(change);
}

/*
 * Create storage and pool of vdb.scm.  In binary-upgrade mode this is pg_upgrade's new cluster,
 * and the old cluster's pool will take its place.  The new file is logged at every wal_level, and
 * so is each of its changes, so core need neither sync nor log it at commit.
 */
void
vdb_pool_create(const RelFileLocator *rnode)
{
	VdbPool    *pool;

	vdb_require_preload();
	if (IsBinaryUpgrade)
		vdb_ends_forget();
	else
		vdb_ends_require_written();
	/* The catalog calls the relation unlogged, and core must agree with itself about syncing it. */
	(void) RelationCreateStorage(*rnode, RELPERSISTENCE_UNLOGGED, true);
	log_smgrcreate(rnode, MAIN_FORKNUM);
	if (!vdb_file_extend(rnode, vdb_segment_block(VDB_POOL_INITIAL_SEGMENTS), false))
		ereport(ERROR,
				(errcode(ERRCODE_DISK_FULL),
				 errmsg("could not allocate the pool's first megabyte: %m"),
				 errhint("Free space on the file system of the database's tablespace.")));
	vdb_file_check_system(rnode);
	VDB_STOP_POINT("pool-allocated");
	pool = make_view(rnode, InvalidOid);
	PG_TRY();
	{
		format_pool(pool);
		attach_slot(pool);		/* raises an error if there is no room for another database */
	}
	PG_FINALLY();
	{
		free_view(pool);
	}
	PG_END_TRY();
}
