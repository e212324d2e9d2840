/*-------------------------------------------------------------------------
 *
 * am_vacuum_block.c
 *	  VACUUM of one logical block: dead versions are removed, old ids are frozen.
 *
 * The block is read under its block lock, shared.  What has to be changed is looked up again under
 * the exclusive lock: by then the block may have moved to a stripe, or a row may have been locked.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xlog.h"
#include "commands/vacuum.h"

#include "am/am_vacuum.h"
#include "base/vdb_wal.h"

/* Note that the batch's dead rows stay for now, and lower the oldest ids left to theirs. */
static void
note_not_removed(VdbVacuum *vs)
{
	Assert(vs->batch->nrows > 0);
	vs->remove_failed = true;
	for (int i = 0; i < vs->batch->nrows; i++)
	{
		VdbVersion	version;

		if (vs->batch->htsv[i] != VDB_DEAD)
			continue;
		vdb_batch_version(vs->batch, i, &version);
		vdb_freeze_note_left(&vs->left, &version);
	}
}

/* Add to the table's count of removed rows.  See am_vacuum.h. */
void
vdb_vacuum_count_dead(VdbVacuum *vs, int64 more)
{
	VdbScmChange *change;
	VdbTableDelta delta = {.dead_rows = more};
	int			flags = 0;

	Assert(!LWLockHeldByMe(vdb_map_lock(vs->ref.slot)));
	(void) vdb_epoch_current(vs->ref.pool);
	if (more < 0)
	{
		/*
		 * The count must not be durable before the cleaning of the indexes is.  Flushing that here
		 * takes no time under the lock.
		 */
		XLogRecPtr	cleaned = vdb_wal_end();

		XLogFlush(cleaned);
		flags = VDB_CHANGE_FLUSH;
	}
	LWLockAcquire(vdb_map_lock(vs->ref.slot), LW_EXCLUSIVE);
	change = vdb_scm_change_begin(vs->ref.pool, flags);
	vdb_map_table_count(change, &vs->ref, &delta);
	vdb_scm_change_end(change);
	LWLockRelease(vdb_map_lock(vs->ref.slot));
}

/*
 * Remove the dead rows of the batch.  The extent is looked up under the exclusive lock, as the
 * block may have moved to a stripe since it was read.  A version that was dead to everyone stays
 * so.
 */
static void
remove_rows(VdbVacuum *vs, const VdbRowSet dead, int ndead)
{
	VdbLogicalBlock lb = vs->batch->lb;
	uint32		lock_no = vdb_block_lock_no(vs->ref.slot, lb);
	VdbExtent	extent;
	VdbScmChange *change;
	TransactionId latest = InvalidTransactionId;

	/*
	 * Flushed: a removal that outlives its lost record would never reach a standby, which may
	 * forget why the rows are dead.
	 */
	int			flags = vs->ref.logged ? VDB_CHANGE_FLUSH : VDB_CHANGE_UNLOGGED;

	Assert(ndead > 0 && ndead <= VDB_LB_ROWS);
	Assert(!LWLockHeldByMe(vdb_block_lock(lock_no)));
	for (int i = 0; i < vs->batch->nrows; i++)
	{
		VdbVersion	version;

		vdb_batch_version(vs->batch, i, &version);
		if (vs->batch->htsv[i] == VDB_DEAD)
			vdb_version_raise_removed(&version.hdr, &latest);
	}

	/* count first, so that the next VACUUM cleans the indexes if this one does not get there */
	vdb_vacuum_count_dead(vs, ndead);
	LWLockAcquire(vdb_block_lock(lock_no), LW_EXCLUSIVE);
	vdb_map_lookup(&vs->ref, lb, &extent);
	if (extent.kind == VDB_EXTENT_STRIPE && !vdb_overlay_prepare(&vs->ref, lb, &extent, 0))
	{
		/* no space for the overlay now: the next VACUUM will do it */
		LWLockRelease(vdb_block_lock(lock_no));
		note_not_removed(vs);
		return;
	}
	if (extent.kind != VDB_EXTENT_SEGMENT && extent.kind != VDB_EXTENT_STRIPE)
	{
		LWLockRelease(vdb_block_lock(lock_no));
		return;
	}
	change = vdb_scm_change_begin(vs->ref.pool, flags);
	vdb_scm_change_block_lock(change, lock_no);
	vdb_scm_change_conflict(change, latest);
	if (extent.kind == VDB_EXTENT_STRIPE)
		vdb_overlay_mark_deleted(change, &vs->ref, &extent, dead);
	else
	{
		for (int i = vdb_rowset_next(dead, 0); i < VDB_LB_ROWS; i = vdb_rowset_next(dead, i + 1))
			vdb_rows_remove(change, &vs->ref, &extent, lb, (uint8) i);
	}
	vdb_scm_change_end(change);
	if (extent.kind == VDB_EXTENT_STRIPE)
		vdb_overlay_shrink(&vs->ref, &extent);
	LWLockRelease(vdb_block_lock(lock_no));
	vs->removed += ndead;
}

/*
 * Begin a change that freezes rows.  It is flushed: if its record were lost but the bytes were
 * not, a standby would never get the change, and would keep ids that clog and pg_multixact lose.
 */
static VdbScmChange *
begin_freezing(VdbVacuum *vs, uint32 lock_no)
{
	VdbScmChange *change;

	change = vdb_scm_change_begin(vs->ref.pool,
								  vs->ref.logged ? VDB_CHANGE_FLUSH : VDB_CHANGE_UNLOGGED);
	vdb_scm_change_block_lock(change, lock_no);
	return change;
}

/*
 * Freeze an old xmax of a striped row.  Block lock held exclusive.  Return true if the whole
 * delta record can go; the caller must drop it then.
 */
static bool
freeze_drec(VdbVacuum *vs, VdbVersion *version, uint32 lock_no, uint32 epoch)
{
	HeapTupleHeaderData before = version->hdr;
	VdbScmChange *change;

	Assert(LWLockHeldByMeInMode(vdb_block_lock(lock_no), LW_EXCLUSIVE));
	Assert(version->where == VDB_IN_STRIPE);
	if (!vdb_freeze_version(&vs->limits, version))
		return false;
	if (version->hdr.t_infomask & HEAP_XMAX_INVALID)
		return true;
	if (!vdb_table_prepare_xmax(&vs->ref, version))
	{
		version->hdr = before;	/* no space for the overlay now: the next VACUUM will do it */
		return false;
	}
	change = begin_freezing(vs, lock_no);
	vdb_table_set_xmax(change, &vs->ref, version, epoch);
	vdb_scm_change_end(change);
	vs->frozen++;
	return false;
}

/* Drop delta records of striped rows.  Block lock held exclusive. */
static void
forget_drecs(VdbVacuum *vs, VdbLogicalBlock lb, const VdbRowSet rows, int nrows)
{
	VdbExtent	extent;

	Assert(LWLockHeldByMeInMode(vdb_block_lock(vdb_block_lock_no(vs->ref.slot, lb)), LW_EXCLUSIVE));
	Assert(nrows > 0 && nrows <= VDB_LB_ROWS);
	vdb_map_lookup(&vs->ref, lb, &extent);
	if (vdb_overlay_forget(&vs->ref, &extent, rows))
	{
		vs->frozen += nrows;
		return;
	}
	/* no space for the overlay now: the next VACUUM will do it */
	for (int i = vdb_rowset_next(rows, 0); i < VDB_LB_ROWS; i = vdb_rowset_next(rows, i + 1))
	{
		VdbVersion	version;

		if (vdb_table_version(vs->rel, &vs->ref, vdb_row_make(lb, (uint8) i), &version))
			vdb_freeze_note_left(&vs->left, &version);
	}
}

/*
 * Freeze versions of one logical block in place.  They are read again under the exclusive lock.
 * Those in the pool are frozen in one change, as each change flushes WAL.
 */
static void
freeze_rows(VdbVacuum *vs, VdbLogicalBlock lb, const VdbRowSet rows)
{
	uint32		lock_no = vdb_block_lock_no(vs->ref.slot, lb);
	uint32		epoch = vdb_epoch_current(vs->ref.pool);
	VdbScmChange *change = NULL;
	VdbRowSet	forget = {0};
	int			nforget = 0;

	Assert(!LWLockHeldByMe(vdb_block_lock(lock_no)));
	LWLockAcquire(vdb_block_lock(lock_no), LW_EXCLUSIVE);
	for (int i = vdb_rowset_next(rows, 0); i < VDB_LB_ROWS; i = vdb_rowset_next(rows, i + 1))
	{
		VdbVersion	version;

		if (!vdb_table_version(vs->rel, &vs->ref, vdb_row_make(lb, (uint8) i), &version))
			continue;
		if (version.where == VDB_IN_STRIPE)
		{
			if (freeze_drec(vs, &version, lock_no, epoch))
			{
				vdb_rowset_add(forget, i);
				nforget++;
				continue;
			}
		}
		else if (vdb_freeze_version(&vs->limits, &version))
		{
			if (change == NULL)
				change = begin_freezing(vs, lock_no);
			/* a standby's older snapshots must not come to see what is now frozen */
			if (TransactionIdIsNormal(HeapTupleHeaderGetRawXmin(&version.hdr)))
				vdb_scm_change_conflict(change, HeapTupleHeaderGetRawXmin(&version.hdr));
			vdb_rows_set_header(change, &vs->ref, &version);
			vs->frozen++;
		}
		vdb_freeze_note_left(&vs->left, &version);
	}
	if (change != NULL)
		vdb_scm_change_end(change);
	if (nforget > 0)
		forget_drecs(vs, lb, forget, nforget);
	LWLockRelease(vdb_block_lock(lock_no));
}

/*
 * Note a stripe with xmins that had not committed when it was written.  All of them have ended by
 * now.  Once the rows of the aborted ones are removed, the stripe can be frozen, too.
 */
static void
note_in_doubt(VdbVacuum *vs, VdbBlock meta_block)
{
	for (int i = 0; i < vs->nin_doubt; i++)
		if (vs->in_doubt[i] == meta_block)
			return;
	Assert(vs->nin_doubt < VDB_RANGE_LBS);
	vs->in_doubt[vs->nin_doubt++] = meta_block;
}

/* Freeze the range's stripes in doubt, if their dead rows are removed.  See am_vacuum.h. */
void
vdb_vacuum_resolve_stripes(VdbVacuum *vs)
{
	for (int i = 0; i < vs->nin_doubt; i++)
	{
		TransactionId min_xmin = vdb_map_meta(vs->ref.pool, vs->in_doubt[i])->min_xmin;

		if (!vs->remove_failed)
		{
			vdb_map_freeze_stripe(&vs->ref, vs->in_doubt[i]);
			vs->stripes_frozen++;
		}
		else if (TransactionIdIsNormal(min_xmin) && TransactionIdPrecedes(min_xmin, vs->left.xid))
			vs->left.xid = min_xmin;
	}
	vs->nin_doubt = 0;
	vs->remove_failed = false;
}

/* Remember that the walk has met a stripe; 0 stands for none.  No lightweight lock held. */
static void
note_vacuum_stripe(VdbVacuum *vs, uint32 stripe_id)
{
	Assert(vs->nstripes <= vs->max_stripes);
	if (stripe_id == 0 || (vs->nstripes > 0 && vs->stripes[vs->nstripes - 1] == stripe_id))
		return;
	if (vs->nstripes == vs->max_stripes)
	{
		vs->max_stripes = Max(256, vs->max_stripes * 2);
		vs->stripes = vs->stripes == NULL ? palloc(vs->max_stripes * sizeof(uint32)) :
			repalloc_huge(vs->stripes, (Size) vs->max_stripes * sizeof(uint32));
	}
	vs->stripes[vs->nstripes++] = stripe_id;
}

/*
 * Freeze the stripe of the current block if everyone sees its rows.  A stripe is frozen as a
 * whole, without rewriting it.
 */
static void
freeze_stripe(VdbVacuum *vs)
{
	VdbLogicalBlock lb = vs->batch->lb;
	VdbExtent	extent;
	VdbBlock	to_freeze = VDB_BLOCK_NONE;
	uint32		stripe_id = 0;

	vdb_lock_block(&vs->ref, lb, LW_SHARED);
	vdb_map_lookup(&vs->ref, lb, &extent);
	if (extent.kind == VDB_EXTENT_STRIPE)
	{
		const VdbStripeMeta *meta = vdb_map_meta(vs->ref.pool, extent.ref);

		if (meta->stripe_id == vs->last_stripe && meta->first_page == vs->last_stripe_page)
			;					/* seen already */
		else if (!(meta->flags & (VDB_STRIPE_FROZEN | VDB_STRIPE_IN_DOUBT)) &&
				 TransactionIdPrecedes(meta->max_xmin, vs->limits.oldest_xmin))
			to_freeze = extent.ref;
		else if (!(meta->flags & VDB_STRIPE_FROZEN) &&
				 TransactionIdPrecedes(meta->max_xmin, vs->limits.oldest_xmin))
			note_in_doubt(vs, extent.ref);
		else if (!(meta->flags & VDB_STRIPE_FROZEN) && TransactionIdIsNormal(meta->min_xmin) &&
				 TransactionIdPrecedes(meta->min_xmin, vs->left.xid))
			vs->left.xid = meta->min_xmin;
		stripe_id = meta->stripe_id;
		vs->last_stripe = meta->stripe_id;
		vs->last_stripe_page = meta->first_page;
	}
	vdb_unlock_block(&vs->ref, lb);
	if (to_freeze != VDB_BLOCK_NONE)
	{
		/* the migration lock keeps the stripe from being replaced */
		vdb_map_freeze_stripe(&vs->ref, to_freeze);
		vs->stripes_frozen++;
	}
	note_vacuum_stripe(vs, stripe_id);
}

/* Return true if a version has ids to freeze. */
static bool
needs_freezing(VdbVacuum *vs, const VdbVersion *version)
{
	VdbVersion	copy = *version;

	return vdb_freeze_version(&vs->limits, &copy);
}

/* Vacuum the logical block that the cursor is at.  See am_vacuum.h. */
void
vdb_vacuum_block(VdbVacuum *vs)
{
	VdbRowSet	dead = {0};
	VdbRowSet	freeze = {0};
	int			ndead = 0;
	int			nfreeze = 0;
	VdbBatch   *batch = vs->batch;

	vdb_vacuum_delay_point();
	(void) vdb_cursor_read(&vs->cursor);
	Assert(batch->lb == vdb_cursor_lb(&vs->cursor));
	Assert(ndead == 0 && nfreeze == 0);
	if (batch->where == VDB_IN_STRIPE && batch->nrows > 0)
		freeze_stripe(vs);
	for (int i = 0; i < batch->nrows; i++)
	{
		VdbVersion	version;

		if (batch->htsv[i] == VDB_DEAD)
		{
			vdb_rowset_add(dead, batch->index[i]);
			ndead++;
			continue;
		}
		if (batch->htsv[i] == VDB_RECENTLY_DEAD)
			vs->recently_dead += 1;
		else if (batch->htsv[i] != VDB_INSERT_IN_PROGRESS)
			vs->live += 1;
		if (batch->plain)
			continue;
		vdb_batch_version(batch, i, &version);
		if (!needs_freezing(vs, &version))
		{
			vdb_freeze_note_left(&vs->left, &version);
			continue;
		}
		vdb_rowset_add(freeze, batch->index[i]);
		nfreeze++;
	}
	if (nfreeze > 0)
		freeze_rows(vs, batch->lb, freeze);
	if (ndead > 0)
		remove_rows(vs, dead, ndead);
}
