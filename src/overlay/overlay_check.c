/*-------------------------------------------------------------------------
 *
 * overlay_check.c
 *	  Looking after the overlay: block deltas that nothing refers to, verification.
 *
 * A block delta is lost when the change that would have pointed to it was lost, or
 * its process failed after vdb_overlay_build.  Such a block delta names a logical
 * block whose map entry leads elsewhere.  Block deltas taken in this epoch may
 * yet be about to be referred to, so only older ones are swept.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "overlay/overlay_internal.h"

/* Lost block deltas collected in one pass over the lists. */
#define SWEEP_BATCH		256

typedef struct LostDelta
{
	VdbLogicalBlock lb;
	VdbBlockDeltaAddress address;
} LostDelta;

typedef struct LostDeltas
{
	int			n;
	LostDelta	deltas[SWEEP_BATCH];
} LostDeltas;

/*
 * Does the map entry of the block delta's LB lead to it?  Without the block lock the
 * answer may be old: ask again under it before acting.
 */
static bool
is_referred(const VdbTableRef *ref, VdbLogicalBlock lb, const VdbBlockDeltaAddress *address)
{
	VdbExtent	extent;

	vdb_map_lookup(ref, lb, &extent);
	return extent.overlay_block == address->block && extent.overlay_offset == address->offset;
}

/* Add the slab's lost block deltas of earlier epochs. */
static void
collect_lost(const VdbTableRef *ref, VdbBlock block, LostDeltas *lost)
{
	const VdbOverlaySlab *slab = vdb_overlay_slab(ref, block);
	uint32		epoch = vdb_pool_shared(ref->pool)->epoch;

	for (int i = 0; i < slab->nunits && lost->n < SWEEP_BATCH; i++)
	{
		VdbBlockDeltaAddress address = {block, vdb_block_delta_offset(slab->size_class, i),
		slab->size_class};
		const VdbBlockDelta  *bdelta = vdb_block_delta_at(ref->pool, block, address.offset);

		if (bdelta->capacity == 0 || bdelta->epoch == epoch ||
			is_referred(ref, bdelta->lb, &address))
			continue;
		lost->deltas[lost->n].lb = bdelta->lb;
		lost->deltas[lost->n++].address = address;
	}
}

/* Is it still the block delta that was collected?  Block lock held. */
static bool
is_still_lost(const VdbTableRef *ref, const LostDelta *lost)
{
	const VdbBlockDelta  *bdelta;

	if (!vdb_overlay_is_slab(ref, lost->address.block) ||
		vdb_overlay_slab(ref, lost->address.block)->size_class != lost->address.size_class)
		return false;
	bdelta = vdb_block_delta_at(ref->pool, lost->address.block, lost->address.offset);
	return bdelta->capacity != 0 && bdelta->lb == lost->lb &&
		bdelta->epoch != vdb_pool_shared(ref->pool)->epoch &&
		!is_referred(ref, lost->lb, &lost->address);
}

/*
 * Free one block delta, unless it is referred to (or, old_only, isn't the one that
 * was collected any more), and resolve its slab.
 */
static void
free_unreferred(const VdbTableRef *ref, const LostDelta *lost, bool old_only)
{
	bool		freed = false;

	vdb_lock_block(ref, lost->lb, LW_EXCLUSIVE);
	vdb_map_check_ref(ref);
	if (old_only ? is_still_lost(ref, lost) : !is_referred(ref, lost->lb, &lost->address))
	{
		VdbScmChange *change = vdb_scm_change_begin(ref->pool, VDB_CHANGE_FLUSH);

		vdb_overlay_free(change, ref, lost->lb, lost->address.block, lost->address.offset);
		vdb_scm_change_end(change);
		freed = true;
	}
	vdb_unlock_block(ref, lost->lb);
	if (freed)
		vdb_overlay_reclaim(ref, lost->address.block);
}

/* See overlay.h. */
void
vdb_overlay_release(const VdbTableRef *ref, VdbLogicalBlock lb, VdbBlock block, uint16 offset)
{
	LostDelta	lost = {lb, {block, offset, 0}};

	if (block == VDB_BLOCK_NONE)
		return;
	(void) vdb_epoch_current(ref->pool);
	free_unreferred(ref, &lost, false);
}

/* See overlay.h.  Any number of processes may do it at once. */
void
vdb_overlay_sweep(const VdbTableRef *ref)
{
	LostDeltas *lost = palloc(sizeof(LostDeltas));
	LWLock	   *lock = vdb_map_lock(ref->slot);

	(void) vdb_epoch_current(ref->pool);
	do
	{
		CHECK_FOR_INTERRUPTS();
		lost->n = 0;
		LWLockAcquire(lock, LW_SHARED);
		vdb_map_check_ref(ref);
		for (int list = 0; list < VDB_TABLE_LISTS; list++)
			for (VdbBlock block = vdb_map_table_entry(ref)->lists[list];
				 block != VDB_BLOCK_NONE && lost->n < SWEEP_BATCH;
				 block = vdb_overlay_slab(ref, block)->next)
				collect_lost(ref, block, lost);
		LWLockRelease(lock);
		for (int i = 0; i < lost->n; i++)
			free_unreferred(ref, &lost->deltas[i], true);
	} while (lost->n == SWEEP_BATCH);
	pfree(lost);
}

/* ---- verification ---- */

typedef struct OverlayCheck
{
	const VdbTableRef *ref;
	VdbMapReport report;
	void	   *arg;
	int64		nfindings;
} OverlayCheck;

static void
finding(OverlayCheck *check, VdbLogicalBlock lb, const char *message)
{
	check->nfindings++;
	check->report(lb, message, check->arg);
}

/* A group delta names rows of one window, and has no next version.  Others are good. */
static bool
is_good_group_delta(const VdbDeltaRecord *drec)
{
	if ((drec->flags & (VDB_DELTA_USED | VDB_DELTA_GROUP)) != (VDB_DELTA_USED | VDB_DELTA_GROUP))
		return true;
	return (drec->flags & VDB_DELTA_MOVED) == 0 && drec->index % VDB_GROUP_DELTA_ROWS == 0 &&
		vdb_group_delta_rows(drec) >> Min(VDB_GROUP_DELTA_ROWS, VDB_LB_ROWS - drec->index) == 0;
}

/* One block delta that is in use. */
static void
check_delta(OverlayCheck *check, const VdbBlockDeltaAddress *address)
{
	const VdbTableRef *ref = check->ref;
	const VdbBlockDelta  *bdelta = vdb_block_delta_at(ref->pool, address->block, address->offset);
	char		message[200];

	if (bdelta->capacity != vdb_block_delta_classes[address->size_class].capacity ||
		bdelta->table_slot != ref->slot || bdelta->table_generation != ref->generation)
	{
		snprintf(message, sizeof(message),
				 _("block delta in pool block %u, byte %u, has a damaged header"),
				 address->block, address->offset);
		finding(check, bdelta->lb, message);
		return;
	}
	if (bdelta->lb >= vdb_map_limit(ref))
	{
		snprintf(message, sizeof(message),
				 _("block delta in pool block %u, byte %u, is of a logical block never handed out"),
				 address->block, address->offset);
		finding(check, bdelta->lb, message);
	}
	for (int i = 0; i < bdelta->capacity; i++)
	{
		const VdbDeltaRecord *drec = vdb_block_delta_record(bdelta, i);

		if ((drec->flags & ~(VDB_DELTA_USED | VDB_DELTA_MOVED | VDB_DELTA_GROUP)) != 0)
		{
			snprintf(message, sizeof(message),
					 _("block delta in pool block %u, byte %u, has unknown flags %04X in delta record %d"),
					 address->block, address->offset, drec->flags, i);
			finding(check, bdelta->lb, message);
		}
		else if (!is_good_group_delta(drec))
		{
			snprintf(message, sizeof(message),
					 _("block delta in pool block %u, byte %u, has a damaged group delta %d"),
					 address->block, address->offset, i);
			finding(check, bdelta->lb, message);
		}
	}
}

/* A list of slabs: links, headers, block deltas.  Map lock held. */
static void
check_list(OverlayCheck *check, int list)
{
	const VdbTableRef *ref = check->ref;
	VdbBlock	prev = VDB_BLOCK_NONE;
	VdbBlock	block = vdb_map_table_entry(ref)->lists[list];
	char		message[200];

	for (uint32 n = 0; block != VDB_BLOCK_NONE; n++)
	{
		const VdbOverlaySlab *slab;

		if (!vdb_overlay_is_slab(ref, block) || n > vdb_pool_total_blocks(ref->pool))
		{
			snprintf(message, sizeof(message),
					 _("list %d of slabs of block deltas leads to pool block %u, which is no slab of the table"),
					 list, block);
			finding(check, VDB_MAX_LOGICAL_BLOCK, message);
			return;
		}
		slab = vdb_overlay_slab(ref, block);
		if (slab->prev != prev || slab->list != list ||
			(list != VDB_TABLE_LIST_FULL && slab->size_class != list))
		{
			snprintf(message, sizeof(message),
					 _("slab of block deltas in pool block %u has wrong links"), block);
			finding(check, VDB_MAX_LOGICAL_BLOCK, message);
		}
		for (int i = 0; i < slab->nunits; i++)
		{
			VdbBlockDeltaAddress address = {block, vdb_block_delta_offset(slab->size_class,
																		  i), slab->size_class};

			if (vdb_block_delta_at(ref->pool, block, address.offset)->capacity != 0)
				check_delta(check, &address);
		}
		prev = block;
		block = slab->next;
	}
}

/* See overlay.h.  Delta records may change meanwhile; what is checked of them doesn't. */
int64
vdb_overlay_check(const VdbTableRef *ref, VdbMapReport report, void *arg)
{
	OverlayCheck check = {ref, report, arg, 0};

	LWLockAcquire(vdb_map_lock(ref->slot), LW_SHARED);
	vdb_map_check_ref(ref);
	if ((vdb_map_table_entry(ref)->flags & VDB_TABLE_EMPTYING) == 0)
		for (int list = 0; list < VDB_TABLE_LISTS; list++)
			check_list(&check, list);
	LWLockRelease(vdb_map_lock(ref->slot));
	return check.nfindings;
}
