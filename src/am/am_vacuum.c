/*-------------------------------------------------------------------------
 *
 * am_vacuum.c
 *	  VACUUM: reap dead versions, clean indexes, freeze.
 *
 * 1. Range by range: stripes that need it are settled or rewritten (migrate/);
 *	  then each logical block.  Versions dead to everyone are reaped: from then
 *	  on there is no row with that number.  Old ids of the others are frozen.
 *	  Segments without rows go back to the pool.
 * 2. If rows were reaped since the indexes were last cleaned (by VACUUM or by
 *	  migration, which drops dead rows too), bulk-delete from every index what
 *	  points to no row.  Row numbers are never reused, so nothing needs to be
 *	  remembered between the two steps, and a crash between them costs nothing.
 * 3. Find leaked pages of the main fork; cut free ones off its end.
 * 4. Mark logical blocks all-visible in the visibility map.
 * 5. Advance relfrozenxid to the oldest id that is left.
 *
 * Locks: the caller's ShareUpdateExclusiveLock; the migration lock over a
 * range; one row lock at a time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/multixact.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/storage.h"
#include "commands/dbcommands.h"
#include "commands/progress.h"
#include "commands/vacuum.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/autovacuum.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "am/am.h"
#include "base/vdb_stop_point.h"
#include "base/vdb_wal.h"
#include "migrate/migrate.h"
#include "pages/pages.h"

typedef struct VacuumState
{
	Relation	rel;
	VdbTableRef ref;
	VdbCursor	cursor;
	VdbBatch   *batch;				/* the cursor's */
	TransactionId oldest_xmin;
	MultiXactId oldest_multi;
	TransactionId freeze_limit;
	MultiXactId multi_cutoff;
	TransactionId left_xid;			/* oldest id still stored */
	MultiXactId left_multi;
	double		live;
	double		recently_dead;
	int64		reaped;
	int64		frozen;
	int64		stripes_frozen;
	int64		index_entries;
	BlockNumber pages_cut;
	VdbMigrateResult moved;			/* stripes settled, rewritten, freed */
	uint32	   *stripes;			/* ids of those that were met, and so switched to, before the indexes' turn */
	uint32		nstripes;
	uint32		max_stripes;
	bool		indexes_cleaned;	/* no entry is left whose row was gone then */
	uint32		last_stripe;
	BlockNumber last_stripe_page;
	VdbBlock	unsettled[VDB_RANGE_LBS];	/* metas of the range's stripes that can be settled */
	int			nunsettled;
	bool		reap_failed;		/* dead rows of the range stay */
	int			elevel;
} VacuumState;

/* ---- one version ---- */

/* The oldest transaction in a multixact, lockers and those that have ended too; invalid if there is none. */
static TransactionId
oldest_member(MultiXactId multi)
{
	MultiXactMember *members;
	TransactionId oldest = InvalidTransactionId;
	/* not 'lockers only': those that have ended would not be told */
	int			nmembers = GetMultiXactIdMembers(multi, &members, false, false);

	for (int i = 0; i < nmembers; i++)
		if (!TransactionIdIsValid(oldest) || TransactionIdPrecedes(members[i].xid, oldest))
			oldest = members[i].xid;
	if (nmembers > 0)
		pfree(members);
	return oldest;
}

static void
note_left(VacuumState *vs, const HeapTupleHeaderData *hdr)
{
	if (!HeapTupleHeaderXminFrozen(hdr) && !HeapTupleHeaderXminInvalid(hdr))
	{
		TransactionId xmin = HeapTupleHeaderGetRawXmin(hdr);

		if (TransactionIdIsNormal(xmin) && TransactionIdPrecedes(xmin, vs->left_xid))
			vs->left_xid = xmin;
	}
	/* an xmax that is only hinted to be invalid counts: a standby may not know the hint */
	if (hdr->t_infomask & HEAP_XMAX_IS_MULTI)
	{
		MultiXactId multi = HeapTupleHeaderGetRawXmax(hdr);
		TransactionId member = oldest_member(multi);

		if (MultiXactIdIsValid(multi) && MultiXactIdPrecedes(multi, vs->left_multi))
			vs->left_multi = multi;
		if (TransactionIdIsNormal(member) && TransactionIdPrecedes(member, vs->left_xid))
			vs->left_xid = member;
	}
	else
	{
		TransactionId xmax = HeapTupleHeaderGetRawXmax(hdr);

		if (TransactionIdIsNormal(xmax) && TransactionIdPrecedes(xmax, vs->left_xid))
			vs->left_xid = xmax;
	}
}

static void
clear_xmax(HeapTupleHeader hdr, VdbRowNumber row)
{
	HeapTupleHeaderSetXmax(hdr, InvalidTransactionId);
	hdr->t_infomask &= ~(HEAP_XMAX_BITS | HEAP_COMBOCID);
	hdr->t_infomask |= HEAP_XMAX_INVALID;
	hdr->t_infomask2 &= ~HEAP_KEYS_UPDATED;
	vdb_row_to_tid(row, &hdr->t_ctid);
}

/* Of a striped row only the xmax side counts: its stripe answers for the xmin. */
static void
note_left_flash(VacuumState *vs, const VdbVersion *version)
{
	HeapTupleHeaderData hdr = version->hdr;

	if (version->place == VDB_PLACE_FLASH)
		hdr.t_infomask |= HEAP_XMIN_FROZEN;
	note_left(vs, &hdr);
}

/*
 * Is a multixact too old, or one of its members?  The id of a finished member that stays would,
 * half of all ids later, look like one to come, and its lock like one that is held.
 */
static bool
multi_is_old(VacuumState *vs, MultiXactId multi, TransactionId limit)
{
	TransactionId member;

	if (!MultiXactIdIsValid(multi))
		return false;
	if (MultiXactIdPrecedes(multi, vs->multi_cutoff))
		return true;			/* its members may not be stored any more */
	member = oldest_member(multi);
	return TransactionIdIsNormal(member) && TransactionIdPrecedes(member, limit);
}

/* An old multixact of a version that is not dead: nothing, or its updater alone. */
static bool
freeze_multi(VacuumState *vs, HeapTupleHeader hdr, VdbRowNumber row, TransactionId limit)
{
	MultiXactId multi = HeapTupleHeaderGetRawXmax(hdr);
	TransactionId updater;

	if (!multi_is_old(vs, multi, limit) ||
		MultiXactIdIsRunning(multi, HEAP_XMAX_IS_LOCKED_ONLY(hdr->t_infomask)))
		return false;
	updater = vdb_row_only_locked(hdr) ? InvalidTransactionId : HeapTupleGetUpdateXid(hdr);
	if (TransactionIdIsValid(updater) && TransactionIdDidCommit(updater))
	{
		HeapTupleHeaderSetXmax(hdr, updater);
		hdr->t_infomask &= ~HEAP_XMAX_BITS;
	}
	else
		clear_xmax(hdr, row);
	return true;
}

/*
 * A plain xmax older than the limit, of a version that is not dead: a finished
 * locker, or an aborted deleter.
 */
static bool
freeze_xmax(VacuumState *vs, HeapTupleHeader hdr, VdbRowNumber row, TransactionId limit)
{
	TransactionId xmax = HeapTupleHeaderGetRawXmax(hdr);

	if (hdr->t_infomask & HEAP_XMAX_INVALID)
	{
		/* void or aborted: forget the id when it gets old */
		if (hdr->t_infomask & HEAP_XMAX_IS_MULTI)
		{
			if (!multi_is_old(vs, xmax, limit))
				return false;
		}
		else if (!TransactionIdIsNormal(xmax) || !TransactionIdPrecedes(xmax, limit))
			return false;
	}
	else if (!TransactionIdIsNormal(xmax) || !TransactionIdPrecedes(xmax, limit))
		return false;
	else if (!vdb_row_only_locked(hdr) && TransactionIdDidCommit(xmax))
		return false;			/* deleted, but someone may see it: cannot be older than the limit */
	clear_xmax(hdr, row);
	return true;
}

/* Make old ids of a version unneeded; true if its header changed. */
static bool
freeze_header(VacuumState *vs, VdbVersion *version)
{
	HeapTupleHeader hdr = &version->hdr;
	bool		changed = false;
	/* a stub that says nothing takes room in SCM: it need not get old first */
	TransactionId xmax_limit = version->place == VDB_PLACE_FLASH ? vs->oldest_xmin : vs->freeze_limit;

	if (!HeapTupleHeaderXminFrozen(hdr) && HeapTupleHeaderXminCommitted(hdr) &&
		version->place == VDB_PLACE_SCM &&
		TransactionIdPrecedes(HeapTupleHeaderGetRawXmin(hdr), vs->freeze_limit))
	{
		hdr->t_infomask |= HEAP_XMIN_FROZEN;
		changed = true;
	}
	if ((hdr->t_infomask & HEAP_XMAX_IS_MULTI) && !(hdr->t_infomask & HEAP_XMAX_INVALID))
		return freeze_multi(vs, hdr, version->row, xmax_limit) || changed;
	return freeze_xmax(vs, hdr, version->row, xmax_limit) || changed;
}

/* ---- one logical block ---- */

/* The batch's dead rows stay for now, and so do their ids. */
static void
note_not_reaped(VacuumState *vs)
{
	vs->reap_failed = true;
	for (int i = 0; i < vs->batch->nrows; i++)
	{
		VdbVersion	version;

		if (vs->batch->deadness[i] != VDB_DEAD)
			continue;
		vdb_batch_version(vs->batch, i, &version);
		note_left_flash(vs, &version);
	}
}

/* Row numbers without rows that indexes may still point to; may be negative.  No lightweight lock held. */
static void
count_dead(VacuumState *vs, int64 more)
{
	VdbScmChange *change;
	VdbTableDelta delta = {.dead_rows = more};
	int			flags = 0;

	(void) vdb_incarnation_current(vs->ref.pool);
	if (more < 0)
	{
		/* that the indexes are clean must not be durable before it is so; flushed here, it takes no time under the lock */
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
 * The rows of the batch with these fates, taken off: under the exclusive lock,
 * as the block may have moved to a stripe since it was read.  A version that
 * was dead to everyone stays so.
 */
static void
reap_rows(VacuumState *vs, const VdbRowSet dead, int ndead)
{
	VdbLogicalBlock lb = vs->batch->lb;
	uint32		lock_no = vdb_row_lock_no(vs->ref.slot, lb);
	VdbExtent	extent;
	VdbScmChange *change;
	TransactionId latest = InvalidTransactionId;
	/* what outlived its lost record would never reach a standby, which may forget why the rows are dead */
	int			flags = vs->ref.logged ? VDB_CHANGE_FLUSH : VDB_CHANGE_UNLOGGED;

	for (int i = 0; i < vs->batch->nrows; i++)
	{
		VdbVersion	version;

		vdb_batch_version(vs->batch, i, &version);
		if (vs->batch->deadness[i] == VDB_DEAD)
			vdb_version_raise_removed(&version.hdr, &latest);
	}

	/* counted first: a VACUUM that ends before the indexes' turn leaves the next one to know */
	count_dead(vs, ndead);
	LWLockAcquire(vdb_row_lock(lock_no), LW_EXCLUSIVE);
	vdb_map_lookup(&vs->ref, lb, &extent);
	if (extent.kind == VDB_EXTENT_STRIPE && !vdb_overlay_prepare(&vs->ref, lb, &extent, 0))
	{
		/* no space for the overlay now: the next VACUUM will do it */
		LWLockRelease(vdb_row_lock(lock_no));
		note_not_reaped(vs);
		return;
	}
	if (extent.kind != VDB_EXTENT_SEGMENT && extent.kind != VDB_EXTENT_STRIPE)
	{
		LWLockRelease(vdb_row_lock(lock_no));
		return;
	}
	change = vdb_scm_change_begin(vs->ref.pool, flags);
	vdb_scm_change_row_lock(change, lock_no);
	vdb_scm_change_conflict(change, latest);
	if (extent.kind == VDB_EXTENT_STRIPE)
		vdb_overlay_gone(change, &vs->ref, &extent, dead);
	else
	{
		for (int i = vdb_rowset_next(dead, 0); i < VDB_LB_ROWS; i = vdb_rowset_next(dead, i + 1))
			vdb_rows_reap(change, &vs->ref, &extent, lb, (uint8) i);
	}
	vdb_scm_change_end(change);
	if (extent.kind == VDB_EXTENT_STRIPE)
		vdb_overlay_shrink(&vs->ref, &extent);
	LWLockRelease(vdb_row_lock(lock_no));
	vs->reaped += ndead;
}

/*
 * A change that freezes.  Flushed: were the record lost and the bytes not, a standby
 * would never hear of it, and keep ids that clog and multixacts lose.
 */
static VdbScmChange *
begin_freezing(VacuumState *vs, uint32 lock_no)
{
	VdbScmChange *change;

	change = vdb_scm_change_begin(vs->ref.pool,
								  vs->ref.logged ? VDB_CHANGE_FLUSH : VDB_CHANGE_UNLOGGED);
	vdb_scm_change_row_lock(change, lock_no);
	return change;
}

/*
 * An old xmax of a striped row.  Row lock held exclusive.  True: its stub as a whole can go, which
 * is the caller's to do.
 */
static bool
freeze_stub(VacuumState *vs, VdbVersion *version, uint32 lock_no, uint32 incarnation)
{
	HeapTupleHeaderData before = version->hdr;
	VdbScmChange *change;

	if (!freeze_header(vs, version))
		return false;
	if (version->hdr.t_infomask & HEAP_XMAX_INVALID)
		return true;
	if (!vdb_table_prepare_xmax(&vs->ref, version))
	{
		version->hdr = before;	/* no space for the overlay now: the next VACUUM will do it */
		return false;
	}
	change = begin_freezing(vs, lock_no);
	vdb_table_set_xmax(change, &vs->ref, version, incarnation);
	vdb_scm_change_end(change);
	vs->frozen++;
	return false;
}

/* Drop striped rows' stubs; row lock held exclusive. */
static void
forget_stubs(VacuumState *vs, VdbLogicalBlock lb, const VdbRowSet rows, int nrows)
{
	VdbExtent	extent;

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
			note_left_flash(vs, &version);
	}
}

/*
 * Freeze versions of one logical block in place; re-read under the exclusive
 * lock.  Those in SCM together, as each change flushes WAL.
 */
static void
freeze_rows(VacuumState *vs, VdbLogicalBlock lb, const VdbRowSet rows)
{
	uint32		lock_no = vdb_row_lock_no(vs->ref.slot, lb);
	uint32		incarnation = vdb_incarnation_current(vs->ref.pool);
	VdbScmChange *change = NULL;
	VdbRowSet	forget = {0};
	int			nforget = 0;

	LWLockAcquire(vdb_row_lock(lock_no), LW_EXCLUSIVE);
	for (int i = vdb_rowset_next(rows, 0); i < VDB_LB_ROWS; i = vdb_rowset_next(rows, i + 1))
	{
		VdbVersion	version;

		if (!vdb_table_version(vs->rel, &vs->ref, vdb_row_make(lb, (uint8) i), &version))
			continue;
		if (version.place == VDB_PLACE_FLASH)
		{
			if (freeze_stub(vs, &version, lock_no, incarnation))
			{
				vdb_rowset_add(forget, i);
				nforget++;
				continue;
			}
		}
		else if (freeze_header(vs, &version))
		{
			if (change == NULL)
				change = begin_freezing(vs, lock_no);
			/* a standby's older snapshots must not come to see what is now frozen */
			if (TransactionIdIsNormal(HeapTupleHeaderGetRawXmin(&version.hdr)))
				vdb_scm_change_conflict(change, HeapTupleHeaderGetRawXmin(&version.hdr));
			vdb_rows_set_header(change, &vs->ref, &version);
			vs->frozen++;
		}
		note_left_flash(vs, &version);
	}
	if (change != NULL)
		vdb_scm_change_end(change);
	if (nforget > 0)
		forget_stubs(vs, lb, forget, nforget);
	LWLockRelease(vdb_row_lock(lock_no));
}

/*
 * A stripe with xmins that had not committed when it was written; all of them have
 * ended by now.  Once the aborted ones' rows are reaped it can be frozen, too.
 */
static void
note_unsettled(VacuumState *vs, VdbBlock meta_block)
{
	for (int i = 0; i < vs->nunsettled; i++)
		if (vs->unsettled[i] == meta_block)
			return;
	Assert(vs->nunsettled < VDB_RANGE_LBS);
	vs->unsettled[vs->nunsettled++] = meta_block;
}

/* At the end of a range, whose migration lock is still held. */
static void
settle_stripes(VacuumState *vs)
{
	for (int i = 0; i < vs->nunsettled; i++)
	{
		TransactionId min_xmin = vdb_map_meta(vs->ref.pool, vs->unsettled[i])->min_xmin;

		if (!vs->reap_failed)
		{
			vdb_map_freeze_stripe(&vs->ref, vs->unsettled[i]);
			vs->stripes_frozen++;
		}
		else if (TransactionIdIsNormal(min_xmin) && TransactionIdPrecedes(min_xmin, vs->left_xid))
			vs->left_xid = min_xmin;
	}
	vs->nunsettled = 0;
	vs->reap_failed = false;
}

/* Remember a stripe of the range, 0 for none; no lightweight lock held. */
static void
note_stripe(VacuumState *vs, uint32 stripe_id)
{
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

/* Stripes freeze as a whole, without rewriting, once everybody sees their rows. */
static void
freeze_stripe(VacuumState *vs)
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
		else if (!(meta->flags & (VDB_STRIPE_FROZEN | VDB_STRIPE_UNSETTLED)) &&
				 TransactionIdPrecedes(meta->max_xmin, vs->oldest_xmin))
			to_freeze = extent.ref;
		else if (!(meta->flags & VDB_STRIPE_FROZEN) &&
				 TransactionIdPrecedes(meta->max_xmin, vs->oldest_xmin))
			note_unsettled(vs, extent.ref);
		else if (!(meta->flags & VDB_STRIPE_FROZEN) && TransactionIdIsNormal(meta->min_xmin) &&
				 TransactionIdPrecedes(meta->min_xmin, vs->left_xid))
			vs->left_xid = meta->min_xmin;
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
	note_stripe(vs, stripe_id);
}

static bool
needs_freezing(VacuumState *vs, const VdbVersion *version)
{
	VdbVersion	copy = *version;

	return freeze_header(vs, &copy);
}

static void
vacuum_block(VacuumState *vs)
{
	VdbRowSet	dead = {0};
	VdbRowSet	freeze = {0};
	int			ndead = 0;
	int			nfreeze = 0;
	VdbBatch   *batch = vs->batch;

	vdb_vacuum_delay_point();
	(void) vdb_cursor_read(&vs->cursor);
	if (batch->place == VDB_PLACE_FLASH && batch->nrows > 0)
		freeze_stripe(vs);
	for (int i = 0; i < batch->nrows; i++)
	{
		VdbVersion	version;

		if (batch->deadness[i] == VDB_DEAD)
		{
			vdb_rowset_add(dead, batch->index[i]);
			ndead++;
			continue;
		}
		if (batch->deadness[i] == VDB_RECENTLY_DEAD)
			vs->recently_dead += 1;
		else if (batch->deadness[i] != VDB_INSERT_IN_PROGRESS)
			vs->live += 1;
		if (batch->plain)
			continue;
		vdb_batch_version(batch, i, &version);
		if (!needs_freezing(vs, &version))
		{
			note_left_flash(vs, &version);
			continue;
		}
		vdb_rowset_add(freeze, batch->index[i]);
		nfreeze++;
	}
	if (nfreeze > 0)
		freeze_rows(vs, batch->lb, freeze);
	if (ndead > 0)
		reap_rows(vs, dead, ndead);
}

/* ---- indexes ---- */

static bool
entry_is_dead(ItemPointer tid, void *arg)
{
	VacuumState *vs = (VacuumState *) arg;

	return !vdb_table_present(vs->rel, &vs->ref, vdb_tid_to_row(tid));
}

static void
vacuum_index(VacuumState *vs, Relation index, bool delete_entries, double tuples)
{
	IndexVacuumInfo info = {0};
	IndexBulkDeleteResult *stats = NULL;

	vdb_index_vacuum_info_set(&info, vs->rel, index);
	info.analyze_only = false;
	info.report_progress = false;
	info.estimated_count = false;
	info.message_level = vs->elevel;
	info.num_heap_tuples = tuples;
	if (delete_entries)
	{
		pgstat_progress_update_param(PROGRESS_VACUUM_PHASE, PROGRESS_VACUUM_PHASE_VACUUM_INDEX);
		stats = index_bulk_delete(&info, NULL, entry_is_dead, vs);
	}
	pgstat_progress_update_param(PROGRESS_VACUUM_PHASE, PROGRESS_VACUUM_PHASE_INDEX_CLEANUP);
	stats = index_vacuum_cleanup(&info, stats);
	if (stats == NULL)
		return;
	vs->index_entries += (int64) stats->tuples_removed;
	if (!stats->estimated_count)
		vdb_update_relstats(index, stats->num_pages, stats->num_index_tuples, 0, false,
							InvalidTransactionId, InvalidMultiXactId);
	pfree(stats);
}

static bool
vacuum_indexes(VacuumState *vs, VacuumParams *params)
{
	Relation   *indexes;
	int			nindexes;
	int64		dead = 0;

	vac_open_indexes(vs->rel, RowExclusiveLock, &nindexes, &indexes);
	if (vs->ref.pool != NULL)
		dead = (int64) vdb_map_table_entry(&vs->ref)->dead_rows;
	VDB_STOP_POINT("vacuum-before-indexes");
	if (params->index_cleanup != VACOPTVALUE_DISABLED)
	{
		for (int i = 0; i < nindexes; i++)
			vacuum_index(vs, indexes[i], dead > 0, vs->live + vs->recently_dead);
		if (dead > 0)
		{
			count_dead(vs, -dead);
			pgstat_progress_update_param(PROGRESS_VACUUM_NUM_INDEX_VACUUMS, 1);
		}
		dead = 0;
		VDB_STOP_POINT("vacuum-indexes-cleaned");
	}
	vs->indexes_cleaned = dead == 0;
	vac_close_indexes(nindexes, indexes, NoLock);
	return nindexes > 0;
}

/* ---- the visibility map ---- */

static int
compare_ids(const void *a, const void *b)
{
	uint32		x = *(const uint32 *) a;
	uint32		y = *(const uint32 *) b;

	return x < y ? -1 : x > y ? 1 : 0;
}

/* Rows that the stripe lacks were counted as dead before the indexes were cleaned.  Called under a row lock. */
static bool
stripe_was_met(uint32 stripe_id, void *arg)
{
	VacuumState *vs = (VacuumState *) arg;

	return bsearch(&stripe_id, vs->stripes, vs->nstripes, sizeof(uint32), compare_ids) != NULL;
}

/*
 * Mark the blocks that are all-visible.  Comes after the indexes' turn and after
 * the cut: core takes our logical blocks for pages then, and clears the
 * bits of those that seem to be cut off.
 */
static void
mark_visible(VacuumState *vs)
{
	Buffer		buffer = InvalidBuffer;

	VDB_STOP_POINT("vacuum-before-visible");
	if (!vs->indexes_cleaned || vs->nstripes == 0)
		return;
	qsort(vs->stripes, vs->nstripes, sizeof(uint32), compare_ids);
	vdb_cursor_start(&vs->cursor, NULL);
	while (vdb_cursor_next(&vs->cursor))
	{
		vdb_vacuum_delay_point();
		(void) vdb_table_mark_visible(vs->rel, &vs->ref, vdb_cursor_lb(&vs->cursor),
									  stripe_was_met, vs, &buffer);
	}
	if (BufferIsValid(buffer))
		ReleaseBuffer(buffer);
}

/* ---- the whole ---- */

/* To who asked for VERBOSE, and of autovacuum's longer runs to the log. */
static void
report(VacuumState *vs, VacuumParams *params, TimestampTz started, TransactionId new_frozen)
{
	bool		logged = AmAutoVacuumWorkerProcess() && params->log_min_duration >= 0 &&
	(params->log_min_duration == 0 ||
	 TimestampDifferenceExceeds(started, GetCurrentTimestamp(), params->log_min_duration));

	ereport(logged ? LOG : vs->elevel,
			(logged ? errmsg("automatic vacuum of table \"%s.%s.%s\"",
							 get_database_name(MyDatabaseId),
							 get_namespace_name(RelationGetNamespace(vs->rel)),
							 RelationGetRelationName(vs->rel)) :
			 errmsg("finished vacuuming \"%s.%s.%s\"",
					get_database_name(MyDatabaseId),
					get_namespace_name(RelationGetNamespace(vs->rel)),
					RelationGetRelationName(vs->rel)),
			 errdetail("Row versions: %lld removed, %.0f live, %.0f dead but not yet removable, %lld frozen. "
					   "Stripes frozen: %lld, resolved: %lld, rewritten or freed: %lld. Segments freed: %lld. "
					   "Pages cut off: %u. Index entries removed: %lld. "
					   "Removable cutoff: %u, new relfrozenxid: %u.",
					   (long long) (vs->reaped + vs->moved.rows_dropped), vs->live, vs->recently_dead,
					   (long long) vs->frozen, (long long) vs->stripes_frozen,
					   (long long) vs->moved.stripes_settled, (long long) vs->moved.stripes_freed,
					   (long long) vs->moved.segments_freed,
					   vs->pages_cut, (long long) vs->index_entries, vs->oldest_xmin, new_frozen)));
}

/*
 * The range that the cursor has come to, from its first block on.  The migration lock is held: while
 * a stripe of the range is being built, what is frozen here would be carried over with its old ids.
 */
static void
vacuum_range(VacuumState *vs)
{
	uint32		range = vdb_lb_range(vdb_cursor_lb(&vs->cursor));
	int64		reaped = vs->reaped;

	while (vdb_migrate_range(vs->rel, &vs->ref, range,
							 VDB_MIGRATE_COMPACT | VDB_MIGRATE_STRIPES, &vs->moved))
		CHECK_FOR_INTERRUPTS();
	do
		vacuum_block(vs);
	while (vdb_cursor_next_in_range(&vs->cursor));
	settle_stripes(vs);
	/* segments that have lost their last row now */
	while (vs->reaped > reaped &&
		   vdb_migrate_range(vs->rel, &vs->ref, range, VDB_MIGRATE_STRIPES, &vs->moved))
		CHECK_FOR_INTERRUPTS();
}

static void
walk_table(VacuumState *vs)
{
	VdbCursor  *cursor = &vs->cursor;

	vdb_cursor_start(cursor, NULL);
	vs->batch = vdb_cursor_batch(cursor);
	pgstat_progress_update_param(PROGRESS_VACUUM_PHASE, PROGRESS_VACUUM_PHASE_SCAN_HEAP);
	pgstat_progress_update_param(PROGRESS_VACUUM_TOTAL_HEAP_BLKS, cursor->limit);
	while (vdb_cursor_next_range(cursor))
	{
		vdb_table_migration_lock(vs->rel, true);
		vacuum_range(vs);
		vdb_table_migration_unlock(vs->rel);
		pgstat_progress_update_param(PROGRESS_VACUUM_HEAP_BLKS_SCANNED, cursor->lb + 1);
		pgstat_progress_update_param(PROGRESS_VACUUM_HEAP_BLKS_VACUUMED, cursor->lb + 1);
	}
	vdb_cursor_end(cursor);
}

void
vdb_vacuum(Relation rel, struct VacuumParams *params, BufferAccessStrategy bstrategy)
{
	VacuumState vs = {0};
	struct VacuumCutoffs cutoffs;
	TimestampTz started = GetCurrentTimestamp();
	bool		has_indexes;
	BlockNumber blocks = 0;

	vs.rel = rel;
	vs.elevel = (params->options & VACOPT_VERBOSE) ? INFO : DEBUG2;
	pgstat_progress_start_command(PROGRESS_COMMAND_VACUUM, RelationGetRelid(rel));
	vacuum_get_cutoffs(rel, params, &cutoffs);
	vs.oldest_xmin = cutoffs.OldestXmin;
	vs.oldest_multi = cutoffs.OldestMxact;
	vs.freeze_limit = cutoffs.FreezeLimit;
	vs.multi_cutoff = cutoffs.MultiXactCutoff;
	vs.left_xid = vs.oldest_xmin;
	vs.left_multi = vs.oldest_multi;

	/*
	 * Every commit that may count as 'dead to everyone' is made durable now,
	 * so that no reaped row can come back to life after a crash.
	 */
	XLogFlush(vdb_wal_end());

	vdb_cursor_init(&vs.cursor, rel, NULL);
	vdb_cursor_take_versions(&vs.cursor, vs.oldest_xmin, true);
	if (vdb_table_open(rel, false, &vs.ref))
	{
		blocks = (BlockNumber) vdb_map_limit(&vs.ref);
		walk_table(&vs);
		vdb_migrate_sweep_pages(rel, &vs.ref);
	}
	else
		vs.ref.pool = NULL;
	has_indexes = vacuum_indexes(&vs, params);
	if (vs.ref.pool != NULL && params->truncate != VACOPTVALUE_DISABLED)
	{
		pgstat_progress_update_param(PROGRESS_VACUUM_PHASE, PROGRESS_VACUUM_PHASE_TRUNCATE);
		vs.pages_cut = vdb_migrate_cut_pages(rel, &vs.ref);
	}
	if (vs.ref.pool != NULL)
		mark_visible(&vs);

	pgstat_progress_update_param(PROGRESS_VACUUM_PHASE, PROGRESS_VACUUM_PHASE_FINAL_CLEANUP);
	vdb_update_relstats(rel, blocks, vs.live, vdb_visible_count(rel), has_indexes, vs.left_xid, vs.left_multi);
	vdb_report_vacuum(rel, (PgStat_Counter) vs.live, (PgStat_Counter) vs.recently_dead, started);
	report(&vs, params, started, vs.left_xid);
	pgstat_progress_end_command();
}
