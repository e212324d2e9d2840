/*-------------------------------------------------------------------------
 *
 * map_meta.c
 *	  Stripe metas: storing and freeing them, with their zone maps.
 *
 * A meta is one block that contains few zone maps, or it has continuation blocks of zone maps, more
 * than one change can touch.  While no map entry refers to it, a meta is on its table's pending
 * list (entry.pending_meta, meta.pending_next).  The change that allocates it puts it there, and so
 * does the switch that removes the last map entry that refers to it.  The switch that installs it
 * takes it off, and so does the change that frees its block.  So every allocated meta can be found
 * at any moment, and ncontinuations says which of its blocks are allocated:
 *
 *	store	1. meta with ncontinuations 0 and the zone maps that are inside, on the list
 *			2. continuations in batches, ncontinuations raised with each
 *	free	1. continuations in batches from the end, ncontinuations lowered
 *			2. with the last batch the meta's block, off the list
 *
 * Each is one flushed change.  After a crash vdb_map_sweep frees what an earlier epoch left on the
 * list.
 *
 * The list is changed under the table's map lock in exclusive mode.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "base/vdb_stop_point.h"
#include "map/map_internal.h"

/* Number of continuation blocks written in one change. */
#define META_BATCH		15

StaticAssertDecl(2 * META_BATCH + 1 <= VDB_CHANGE_MAX_BLOCKS,
				 "a batch fits a change even if each block has its own allocation map");

/* Raise an error unless a meta belongs to this table in this generation. */
static void
check_owner(const VdbTableRef *ref, VdbBlock meta_block, const VdbStripeMeta *meta)
{
	if (meta->table_slot != ref->slot)
		vdb_map_damaged(meta_block, "stripe metadata", "table slot", ref->slot, meta->table_slot);
	if (meta->table_generation != ref->generation)
		vdb_map_damaged(meta_block, "stripe metadata", "table generation",
						ref->generation, meta->table_generation);
}

/* Give back reserved blocks. */
static void
unreserve_blocks(VdbPool *pool, const VdbBlock *blocks, int nblocks)
{
	for (int i = 0; i < nblocks; i++)
		vdb_scm_unreserve_block(pool, blocks[i]);
}

/* Reserve blocks: all of them or none. */
static bool
reserve_blocks(VdbPool *pool, VdbBlock *blocks, int nblocks)
{
	for (int i = 0; i < nblocks; i++)
	{
		blocks[i] = vdb_scm_reserve_block(pool, true);
		if (blocks[i] == VDB_BLOCK_NONE)
		{
			unreserve_blocks(pool, blocks, i);
			return false;
		}
	}
	return true;
}

/*
 * Do step 1 of storing: put the meta, with the 'inside' zone maps that fit into its block, on the
 * pending list.  The map lock is held exclusive.
 */
static void
store_head(const VdbTableRef *ref, VdbBlock block, const VdbStripeMeta *meta,
		   const VdbZone *zones, int inside)
{
	VdbStripeMeta *head = palloc(sizeof(VdbStripeMeta));
	VdbScmChange *change;

	memcpy(head, meta, offsetof(VdbStripeMeta, continuations));
	head->magic = VDB_STRIPE_META_MAGIC;
	head->flags &= ~VDB_STRIPE_ZONES_INSIDE;
	if (inside > 0)
		head->flags |= VDB_STRIPE_ZONES_INSIDE;
	head->version = VDB_META_VERSION;
	head->ncontinuations = 0;
	head->table_slot = ref->slot;
	head->table_generation = ref->generation;
	head->pending_next = vdb_map_table_entry(ref)->pending_meta;
	head->pending_epoch = vdb_pool_shared(ref->pool)->epoch;
	vdb_map_seal_meta(head, zones, inside);

	change = vdb_scm_change_begin(ref->pool, VDB_CHANGE_FLUSH);
	vdb_scm_change_use_block(change, block);
	vdb_scm_change_write(change, block, VDB_POOL_BLOCK_HEADER, head,
						 offsetof(VdbStripeMeta, continuations));
	if (inside > 0)
		vdb_scm_change_write(change, block, VDB_MAP_OFFSET(VdbStripeMeta, continuations),
							 zones, inside * sizeof(VdbZone));
	vdb_scm_change_publish(change, ref->entry_block, VDB_TABLE_FIELD(ref, pending_meta),
						   &block, sizeof(block));
	vdb_scm_change_end(change);
	pfree(head);
}

/* Do step 2 of storing: write continuations done .. done + n - 1 to the reserved 'blocks'. */
static void
write_batch(const VdbTableRef *ref, VdbBlock meta_block, uint32 stripe_id, int done, int n,
			const VdbBlock *blocks, const VdbZone *zones, int nzones)
{
	VdbScmChange *change = vdb_scm_change_begin(ref->pool, VDB_CHANGE_FLUSH);
	uint16		total = done + n;

	for (int i = 0; i < n; i++)
	{
		int			first = (done + i) * VDB_ZONES_PER_BLOCK;
		int			count = Min(nzones - first, VDB_ZONES_PER_BLOCK);
		uint32		tail[2] = {vdb_map_zones_crc(stripe_id, done + i, zones + first, count), 0};

		Assert(count > 0);
		vdb_scm_change_use_block(change, blocks[i]);
		vdb_scm_change_write(change, blocks[i], VDB_POOL_BLOCK_HEADER,
							 zones + first, count * sizeof(VdbZone));
		vdb_scm_change_write(change, blocks[i], VDB_MAP_OFFSET(VdbZoneBlock, crc), tail,
							 sizeof(tail));
	}
	vdb_scm_change_write(change, meta_block,
						 VDB_MAP_OFFSET(VdbStripeMeta, continuations) + done * sizeof(VdbBlock),
						 blocks, n * sizeof(VdbBlock));
	vdb_scm_change_publish(change, meta_block, VDB_MAP_OFFSET(VdbStripeMeta, ncontinuations),
						   &total, sizeof(total));
	vdb_scm_change_end(change);
}

/* Reserve and write a batch.  Returns false if the pool is full. */
static bool
store_batch(const VdbTableRef *ref, VdbBlock meta_block, uint32 stripe_id, int done, int n,
			const VdbZone *zones, int nzones)
{
	VdbBlock	blocks[META_BATCH];

	if (!reserve_blocks(ref->pool, blocks, n))
		return false;
	PG_TRY();
	{
		write_batch(ref, meta_block, stripe_id, done, n, blocks, zones, nzones);
	}
	PG_CATCH();
	{
		unreserve_blocks(ref->pool, blocks, n);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return true;
}

/* Reserve a meta's block and do step 1.  Returns VDB_BLOCK_NONE if the pool is full. */
static VdbBlock
begin_store(const VdbTableRef *ref, const VdbStripeMeta *meta, const VdbZone *zones, int inside)
{
	LWLock	   *lock = vdb_map_lock(ref->slot);
	VdbBlock	block = vdb_scm_reserve_block(ref->pool, true);

	if (block == VDB_BLOCK_NONE)
		return VDB_BLOCK_NONE;
	PG_TRY();
	{
		LWLockAcquire(lock, LW_EXCLUSIVE);
		vdb_map_check_ref(ref);
		store_head(ref, block, meta, zones, inside);
		LWLockRelease(lock);
	}
	PG_CATCH();
	{
		vdb_scm_unreserve_block(ref->pool, block);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return block;
}

/* Return the blocks besides the meta's that so many zone maps take: none if they are too many. */
static int
continuations_for(uint64 nzones)
{
	if (nzones <= VDB_ZONES_INSIDE ||
		nzones > (uint64) VDB_META_CONTINUATIONS * VDB_ZONES_PER_BLOCK)
		return 0;
	return (int) ((nzones + VDB_ZONES_PER_BLOCK - 1) / VDB_ZONES_PER_BLOCK);
}

/* See map.h. */
bool
vdb_map_meta_fits(const VdbTableRef *ref, uint64 nzones)
{
	int			nblocks = 1 + continuations_for(nzones);
	VdbBlock   *blocks = palloc(nblocks * sizeof(VdbBlock));
	bool		fits = reserve_blocks(ref->pool, blocks, nblocks);

	if (fits)
		unreserve_blocks(ref->pool, blocks, nblocks);
	pfree(blocks);
	return fits;
}

/*
 * Store a stripe's meta and zone maps; see map.h.  The list and owner fields in the caller's copy
 * are ignored.  With more zone maps than a meta can refer to (or zones NULL) it is stored without
 * any.  The caller holds no block or map lock.
 */
VdbBlock
vdb_map_store_meta(const VdbTableRef *ref, const VdbStripeMeta *meta, const VdbZone *zones)
{
	uint64		nzones = zones ? (uint64) meta->nchunks * meta->ncolumns : 0;
	int			inside = nzones <= VDB_ZONES_INSIDE ? (int) nzones : 0;
	int			ncontinuations = continuations_for(nzones);
	VdbBlock	meta_block;

	(void) vdb_epoch_current(ref->pool);
	if (ncontinuations == 0)
		nzones = 0;

	meta_block = begin_store(ref, meta, zones, inside);
	if (meta_block == VDB_BLOCK_NONE)
		return VDB_BLOCK_NONE;
	for (int done = 0; done < ncontinuations; done += META_BATCH)
	{
		VDB_STOP_POINT("map-store-meta-batch");
		if (!store_batch(ref, meta_block, meta->stripe_id, done, Min(ncontinuations - done,
																	 META_BATCH),
						 zones, nzones))
		{
			vdb_map_free_meta(ref, meta_block);
			return VDB_BLOCK_NONE;
		}
	}
	return meta_block;
}

/*
 * Free the meta's last continuations, as many as fit, within a change.  With the last of them free
 * the meta's block too, and return true.
 */
bool
vdb_map_free_meta_blocks(VdbScmChange *change, VdbBlock meta_block, const VdbStripeMeta *meta)
{
	uint16		left = meta->ncontinuations;

	for (int n = 0; left > 0 && n < VDB_MAP_FREE_BATCH &&
		 vdb_scm_change_nblocks(change) < VDB_MAP_CHANGE_BLOCKS; n++)
		vdb_scm_change_free_block(change, meta->continuations[--left]);
	if (left > 0)
	{
		vdb_scm_change_write(change, meta_block, VDB_MAP_OFFSET(VdbStripeMeta, ncontinuations),
							 &left, sizeof(left));
		return false;
	}
	vdb_scm_change_free_block(change, meta_block);
	return true;
}

/*
 * Find a meta on the pending list.  Returns whether it is there, and in *predecessor the pending
 * meta that points to it (VDB_BLOCK_NONE: the entry does).  The map lock is held.
 */
static bool
find_pending(const VdbTableRef *ref, VdbBlock meta_block, VdbBlock *predecessor)
{
	VdbBlock	before = VDB_BLOCK_NONE;
	VdbBlock	block = vdb_map_table_entry(ref)->pending_meta;

	while (block != VDB_BLOCK_NONE && block != meta_block)
	{
		const VdbStripeMeta *meta = vdb_map_meta(ref->pool, block);

		check_owner(ref, block, meta);
		before = block;
		block = meta->pending_next;
	}
	*predecessor = before;
	return block != VDB_BLOCK_NONE;
}

/* Find a pending meta as find_pending does, but raise an error if it isn't there. */
static VdbBlock
pending_predecessor(const VdbTableRef *ref, VdbBlock meta_block)
{
	VdbBlock	before;

	if (!find_pending(ref, meta_block, &before))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stripe metadata in pool block %u is not on its table's list of pending stripes",
						meta_block)));
	return before;
}

/*
 * Free (part of) a pending meta in one flushed change.  Returns true if all of it is freed.  The
 * map lock is held exclusive.
 */
bool
vdb_map_free_pending_step(const VdbTableRef *ref, VdbBlock meta_block)
{
	VdbBlock	before = pending_predecessor(ref, meta_block);
	const VdbStripeMeta *meta = vdb_map_meta(ref->pool, meta_block);
	VdbBlock	next = meta->pending_next;
	VdbScmChange *change;
	bool		done;

	check_owner(ref, meta_block, meta);
	change = vdb_scm_change_begin(ref->pool, VDB_CHANGE_FLUSH);
	done = vdb_map_free_meta_blocks(change, meta_block, meta);
	if (done && before == VDB_BLOCK_NONE)
		vdb_scm_change_publish(change, ref->entry_block, VDB_TABLE_FIELD(ref, pending_meta),
							   &next, sizeof(next));
	else if (done)
		vdb_scm_change_publish(change, before, VDB_MAP_OFFSET(VdbStripeMeta, pending_next),
							   &next, sizeof(next));
	vdb_scm_change_end(change);
	return done;
}

/* Free a meta that no map entry refers to; see map.h.  The caller holds no map lock. */
void
vdb_map_free_meta(const VdbTableRef *ref, VdbBlock meta_block)
{
	LWLock	   *lock = vdb_map_lock(ref->slot);
	bool		done = false;

	(void) vdb_epoch_current(ref->pool);
	while (!done)
	{
		CHECK_FOR_INTERRUPTS();
		LWLockAcquire(lock, LW_EXCLUSIVE);
		vdb_map_check_ref(ref);
		done = vdb_map_free_pending_step(ref, meta_block);
		LWLockRelease(lock);
		VDB_STOP_POINT("map-free-meta-step");
	}
}

/* See map.h. */
bool
vdb_map_free_meta_if_unused(const VdbTableRef *ref, VdbBlock meta_block)
{
	LWLock	   *lock = vdb_map_lock(ref->slot);
	VdbBlock	before;
	bool		unused;

	LWLockAcquire(lock, LW_SHARED);
	vdb_map_check_ref(ref);
	unused = find_pending(ref, meta_block, &before);
	LWLockRelease(lock);
	if (unused)
		vdb_map_free_meta(ref, meta_block);
	return unused;
}

/*
 * Return the first pending meta that another epoch left, or VDB_BLOCK_NONE.  The map lock is held.
 */
static VdbBlock
find_leftover(const VdbTableRef *ref, uint32 epoch)
{
	VdbBlock	block = vdb_map_table_entry(ref)->pending_meta;

	while (block != VDB_BLOCK_NONE)
	{
		const VdbStripeMeta *meta = vdb_map_meta(ref->pool, block);

		check_owner(ref, block, meta);
		if (meta->pending_epoch != epoch)
			return block;
		block = meta->pending_next;
	}
	return VDB_BLOCK_NONE;
}

/*
 * Free the pending metas that earlier epochs left (because of a crash, or of a backend that ended
 * in the middle of a migration).  Any number of processes may do this at the same time.  The caller
 * holds no map lock.
 */
void
vdb_map_sweep(const VdbTableRef *ref)
{
	LWLock	   *lock = vdb_map_lock(ref->slot);
	uint32		epoch = vdb_epoch_current(ref->pool);
	VdbBlock	block;

	do
	{
		CHECK_FOR_INTERRUPTS();
		LWLockAcquire(lock, LW_EXCLUSIVE);
		vdb_map_check_ref(ref);
		block = find_leftover(ref, epoch);
		if (block != VDB_BLOCK_NONE)
			(void) vdb_map_free_pending_step(ref, block);
		LWLockRelease(lock);
	} while (block != VDB_BLOCK_NONE);
}

/*
 * Take 'installed' (or none) off the pending list and put the 'removed' metas at its front, within
 * the change of a switch.  Every field is written once.  The map lock is held exclusive until the
 * change has ended.
 */
void
vdb_map_exchange_pending(VdbScmChange *change, const VdbTableRef *ref, VdbBlock installed,
						 const VdbBlock *removed, int nremoved)
{
	VdbBlock	head = vdb_map_table_entry(ref)->pending_meta;
	VdbBlock	first = nremoved > 0 ? removed[0] : head;
	uint32		epoch = vdb_pool_shared(ref->pool)->epoch;

	if (installed != VDB_BLOCK_NONE)
	{
		VdbBlock	before = pending_predecessor(ref, installed);
		VdbBlock	next = vdb_map_meta(ref->pool, installed)->pending_next;

		if (before != VDB_BLOCK_NONE)
			vdb_scm_change_write(change, before, VDB_MAP_OFFSET(VdbStripeMeta, pending_next),
								 &next, sizeof(next));
		else
		{
			head = next;
			if (nremoved == 0)
				first = next;
		}
	}
	for (int i = 0; i < nremoved; i++)
	{
		uint32		fields[2] = {i + 1 < nremoved ? removed[i + 1] : head, epoch};

		check_owner(ref, removed[i], vdb_map_meta(ref->pool, removed[i]));
		vdb_scm_change_write(change, removed[i], VDB_MAP_OFFSET(VdbStripeMeta, pending_next),
							 fields, sizeof(fields));
	}
	if (first != vdb_map_table_entry(ref)->pending_meta)
		vdb_scm_change_write(change, ref->entry_block, VDB_TABLE_FIELD(ref, pending_meta),
							 &first, sizeof(first));
}
