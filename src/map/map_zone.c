/*-------------------------------------------------------------------------
 *
 * map_zone.c
 *	  Reading stripe metas and their zone maps.
 *
 * Pointers into the pool are valid while the caller holds the block lock of an LB whose entry
 * refers to the meta (or knows otherwise that the meta can't be freed).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"

#include "map/map_internal.h"

StaticAssertDecl(offsetof(VdbStripeMeta, max_xmin) ==
				 offsetof(VdbStripeMeta, min_xmin) + sizeof(TransactionId),
				 "min_xmin and max_xmin are written as one");

/* Return the meta in a block.  Raises an error unless the block holds one. */
const VdbStripeMeta *
vdb_map_meta(VdbPool *pool, VdbBlock meta_block)
{
	const VdbStripeMeta *meta = vdb_map_body(pool, meta_block);

	if (meta->magic != VDB_STRIPE_META_MAGIC)
		vdb_map_damaged(meta_block, "stripe metadata", "magic", VDB_STRIPE_META_MAGIC, meta->magic);
	if (meta->version != VDB_META_VERSION)
		vdb_map_damaged(meta_block, "stripe metadata", "version", VDB_META_VERSION, meta->version);
	if (meta->ncontinuations > VDB_META_CONTINUATIONS)
		vdb_map_damaged(meta_block, "stripe metadata", "continuations",
						VDB_META_CONTINUATIONS, meta->ncontinuations);
	if ((meta->flags & VDB_STRIPE_ZONES_INSIDE) != 0 && meta->ncontinuations != 0)
		vdb_map_damaged(meta_block, "stripe metadata with zone maps inside", "continuations", 0,
						meta->ncontinuations);
	return meta;
}

/*
 * Return the zone map of a chunk and column.  Returns NULL if the stripe has none for it: the
 * column was added later, or the meta was stored without zone maps.  'meta' lies in the pool: a
 * copy of its head has no zone maps.
 */
const VdbZone *
vdb_map_zone(VdbPool *pool, const VdbStripeMeta *meta, int chunk, int column)
{
	uint32		number;
	uint32		block_no;
	const VdbZone *zones;

	Assert(chunk >= 0 && chunk < meta->nchunks && column >= 0);
	if (column >= meta->ncolumns)
		return NULL;
	number = (uint32) chunk * meta->ncolumns + column;
	if ((meta->flags & VDB_STRIPE_ZONES_INSIDE) != 0)
		return number < VDB_ZONES_INSIDE ? (const VdbZone *) meta->continuations + number : NULL;
	block_no = number / VDB_ZONES_PER_BLOCK;
	if (block_no >= meta->ncontinuations)
		return NULL;
	zones = vdb_map_body(pool, meta->continuations[block_no]);
	return &zones[number % VDB_ZONES_PER_BLOCK];
}

/*
 * Mark a stripe as frozen.  The caller found all its xmins committed and older than any snapshot.
 * The change is flushed: a mark that outlived its lost record would keep us from logging it again,
 * and a standby would look up xmins after their clog was truncated.  Takes the map lock.
 */
void
vdb_map_freeze_stripe(const VdbTableRef *ref, VdbBlock meta_block)
{
	TransactionId xmins[2] = {FrozenTransactionId, FrozenTransactionId};
	const VdbStripeMeta *meta;
	VdbScmChange *change;
	uint16		flags;

	(void) vdb_epoch_current(ref->pool);
	LWLockAcquire(vdb_map_lock(ref->slot), LW_EXCLUSIVE);
	vdb_map_check_ref(ref);
	meta = vdb_map_meta(ref->pool, meta_block);
	flags = (meta->flags | VDB_STRIPE_FROZEN) & ~VDB_STRIPE_IN_DOUBT;
	change = vdb_scm_change_begin(ref->pool, VDB_CHANGE_FLUSH);
	/* a standby's older snapshots must not see rows that are frozen now */
	if (TransactionIdIsNormal(meta->max_xmin))
		vdb_scm_change_conflict(change, meta->max_xmin);
	vdb_scm_change_write(change, meta_block, VDB_MAP_OFFSET(VdbStripeMeta, min_xmin),
						 xmins, sizeof(xmins));
	vdb_scm_change_publish(change, meta_block, VDB_MAP_OFFSET(VdbStripeMeta, flags),
						   &flags, sizeof(flags));
	vdb_scm_change_end(change);
	LWLockRelease(vdb_map_lock(ref->slot));
}

/*
 * Clear the mark VDB_STRIPE_IN_DOUBT.  The caller found all the stripe's xmins committed, and
 * flushed their commits.  A standby has replayed these when it replays this record, and its
 * snapshots still check each xmin by themselves, so there is no conflict.  The change is flushed
 * for the reason given above.  Takes the map lock.
 */
void
vdb_map_resolve_stripe(const VdbTableRef *ref, VdbBlock meta_block)
{
	VdbScmChange *change;
	uint16		flags;

	(void) vdb_epoch_current(ref->pool);
	LWLockAcquire(vdb_map_lock(ref->slot), LW_EXCLUSIVE);
	vdb_map_check_ref(ref);
	flags = vdb_map_meta(ref->pool, meta_block)->flags & ~VDB_STRIPE_IN_DOUBT;
	change = vdb_scm_change_begin(ref->pool, VDB_CHANGE_FLUSH);
	vdb_scm_change_publish(change, meta_block, VDB_MAP_OFFSET(VdbStripeMeta, flags),
						   &flags, sizeof(flags));
	vdb_scm_change_end(change);
	LWLockRelease(vdb_map_lock(ref->slot));
}
