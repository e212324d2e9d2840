/*-------------------------------------------------------------------------
 *
 * table_open.c
 *	  Find a table's entry in the pool, given its Relation.
 *
 * The reference is cached in rd_amcache, which core frees with the relcache
 * entry.  The generation of the table slot shows whether the reference still
 * names this table.
 *
 * An unlogged table's entry outlives a crash while its rows do not.  Readers
 * treat such an entry as missing.  The first writer empties it, under the
 * relation extension lock so that it is emptied only once.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "pages/pages.h"
#include "table/table.h"

/* Contents of rd_amcache. */
typedef struct VdbTableCache
{
	VdbTableRef ref;
	bool		found;				/* ref is set */
	bool		checked;			/* the metapage was checked */
	VdbTableSize size;
} VdbTableCache;

static const TableAmRoutine *vdb_routine = NULL;

void
vdb_table_set_routine(const TableAmRoutine *routine)
{
	vdb_routine = routine;
}

bool
vdb_is_vdb(Relation rel)
{
	return rel->rd_tableam != NULL && rel->rd_tableam == vdb_routine;
}

/*
 * Make the key under which a table's storage is known in the pool.  The
 * database's own tablespace is stored as 0, so that moving the database keeps
 * the keys.
 */
void
vdb_table_key(Relation rel, const RelFileLocator *rnode, VdbTableKey *key)
{
	key->spc = rnode->spcOid == MyDatabaseTableSpace ? InvalidOid : rnode->spcOid;
	key->relnode = rnode->relNumber;
	key->backend = rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP ?
		(int32) rel->rd_backend : -1;
}

/* Return the relation's rd_amcache; it is made if necessary. */
static VdbTableCache *
table_cache(Relation rel)
{
	if (rel->rd_amcache == NULL)
		rel->rd_amcache = MemoryContextAllocZero(CacheMemoryContext,
												 sizeof(VdbTableCache));
	return (VdbTableCache *) rel->rd_amcache;
}

/* Return the VDB_TABLE_* flags for the relation's persistence. */
static uint32
table_flags(Relation rel)
{
	switch (rel->rd_rel->relpersistence)
	{
		case RELPERSISTENCE_TEMP:
			return VDB_TABLE_TEMP;
		case RELPERSISTENCE_UNLOGGED:
			return VDB_TABLE_UNLOGGED;
		default:
			return 0;
	}
}

/*
 * Return our top transaction's full id if it made the table's storage, else an invalid one.  After
 * a crash the entry may exist while this transaction is lost.  So its id must be in the entry's own
 * WAL record, or recovery wouldn't know that it was used.
 */
static FullTransactionId
storage_creator(Relation rel)
{
	if (rel->rd_createSubid == InvalidSubTransactionId &&
		rel->rd_firstRelfilelocatorSubid == InvalidSubTransactionId)
		return InvalidFullTransactionId;
	(void) GetCurrentTransactionId();
	return GetTopFullTransactionId();
}

/* Return true if a crash has lost the rows of this (unlogged or temporary) table. */
static bool
table_is_lost(const VdbTableRef *ref)
{
	const VdbTableEntry *entry;

	if (ref->logged)
		return false;
	entry = vdb_map_table_entry(ref);
	return !vdb_epoch_survived(ref->pool, entry->valid_epoch);
}

/* Empty a lost table, unless another process has done so meanwhile. */
static void
table_revive(Relation rel, VdbTableRef *ref)
{
	LockRelationForExtension(rel, ExclusiveLock);
	if (table_is_lost(ref))
		vdb_map_table_reset(ref);
	UnlockRelationForExtension(rel, ExclusiveLock);
}

bool
vdb_table_open(Relation rel, bool create, VdbTableRef *ref)
{
	/* first the pool: locking it may process invalidations, which free the cache */
	VdbPool    *pool = IsBinaryUpgrade ? vdb_pool_try_open() : vdb_pool_open();
	VdbTableCache *cache;
	VdbTableKey key;

	/* pg_upgrade's new cluster, whose pool isn't there yet: see am_upgrade.c */
	if (pool == NULL && !create)
		return false;
	if (pool == NULL)
		pool = vdb_pool_open();
	cache = table_cache(rel);
	if (cache->found && cache->ref.pool == pool && vdb_map_table_valid(&cache->ref))
	{
		*ref = cache->ref;
		if (!ref->logged && unlikely(table_is_lost(ref)))
		{
			if (!create)
				return false;
			table_revive(rel, ref);
		}
		return true;
	}

	cache->found = false;
	if (!cache->checked)
	{
		vdb_pages_check(rel);
		cache = table_cache(rel);
		cache->checked = true;
	}
	vdb_table_key(rel, &rel->rd_locator, &key);
	if (!vdb_map_table_find(pool, &key, ref))
	{
		if (!create)
			return false;
		vdb_map_table_create(pool, &key, table_flags(rel), storage_creator(rel), ref);
	}
	if (table_is_lost(ref))
	{
		if (!create)
			return false;
		table_revive(rel, ref);
	}
	/* creating may have processed invalidations: look the cache up again */
	cache = table_cache(rel);
	cache->ref = *ref;
	cache->found = true;
	cache->checked = true;
	return true;
}

VdbTableSize *
vdb_table_size(Relation rel)
{
	return &table_cache(rel)->size;
}

/*
 * Drop the cached reference.  Needed when the table has another entry now, or none, while the
 * entry that the reference names still exists.
 */
void
vdb_table_forget(Relation rel)
{
	if (rel->rd_amcache != NULL)
		pfree(rel->rd_amcache);
	rel->rd_amcache = NULL;
}
