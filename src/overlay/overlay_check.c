/*-------------------------------------------------------------------------
 *
 * overlay_check.c
 *	  Sweeping block deltas that no map entry refers to, and verification.
 *
 * A block delta is left over when the change that would have pointed to it was lost, or when its
 * process failed after vdb_overlay_build.  Such a block delta names a logical block whose map entry
 * leads elsewhere.  A map entry may still be about to refer to a block delta taken in this epoch,
 * so only older ones are swept.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "overlay/overlay_internal.h"

/* Number of leftover block deltas collected in one pass over the lists. */
#define SWEEP_BATCH		256

/* A block delta that no map entry refers to. */
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
 * Return whether the map entry of the block delta's LB leads to it.  Without the block lock the
 * answer may be outdated: ask again under the lock before acting.
 */
static bool
is_referred(const VdbTableRef *ref, VdbLogicalBlock lb, const VdbBlockDeltaAddress *address)
{
	VdbExtent	extent;

	vdb_map_lookup(ref, lb, &extent);
	return extent.overlay_block == address->block && extent.overlay_offset == address->offset;
}

/* Collect the slab's block deltas of earlier epochs that no map entry refers to. */
static void
collect_lost(const VdbTableRef *ref, VdbBlock block, LostDeltas *lost)
{
	const VdbOverlaySlab *slab = vdb_overlay_slab(ref, block);
	uint32		epoch = vdb_pool_shared(ref->pool)->epoch;

	for (int i = 0; i < slab->nunits && lost->n < SWEEP_BATCH; i++)
	{
		VdbBlockDeltaAddress address = {block, vdb_block_delta_offset(slab->size_class, i),
		slab->size_class};
		const VdbBlockDelta *bdelta = vdb_block_delta_at(ref->pool, block, address.offset);

		if (bdelta->capacity == 0 || bdelta->epoch == epoch ||
			is_referred(ref, bdelta->lb, &address))
			continue;
		lost->deltas[lost->n].lb = bdelta->lb;
		lost->deltas[lost->n++].address = address;
	}
}

/* Check that a block delta is still the one that was collected.  The block lock is held. */
static bool
is_still_lost(const VdbTableRef *ref, const LostDelta *lost)
{
	const VdbBlockDelta *bdelta;

	if (!vdb_overlay_is_slab(ref, lost->address.block) ||
		vdb_overlay_slab(ref, lost->address.block)->size_class != lost->address.size_class)
		return false;
	bdelta = vdb_block_delta_at(ref->pool, lost->address.block, lost->address.offset);
	return bdelta->capacity != 0 && bdelta->lb == lost->lb &&
		bdelta->epoch != vdb_pool_shared(ref->pool)->epoch &&
		!is_referred(ref, lost->lb, &lost->address);
}

/*
 * Free one block delta and reclaim its slab, unless a map entry refers to it.  With old_only, it
 * must also still be the one that was collected.
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

	/* the change that frees it is flushed */
	Assert(InterruptHoldoffCount == 0);
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

/* State of a verification. */
typedef struct OverlayCheck
{
	const VdbTableRef *ref;
	VdbMapReport report;
	void	   *arg;
	int64		nfindings;
} OverlayCheck;

/* Report and count one finding. */
static void
overlay_finding(OverlayCheck *check, VdbLogicalBlock lb, const char *message)
{
	check->nfindings++;
	check->report(lb, message, check->arg);
}

/*
 * Check that a group delta names rows of one window, and has no next version.  Others always pass.
 */
static bool
is_good_group_delta(const VdbDeltaRecord *drec)
{
	if ((drec->flags & (VDB_DELTA_USED | VDB_DELTA_GROUP)) != (VDB_DELTA_USED | VDB_DELTA_GROUP))
		return true;
	return (drec->flags & VDB_DELTA_MOVED) == 0 && drec->index % VDB_GROUP_DELTA_ROWS == 0 &&
		vdb_group_delta_rows(drec) >> Min(VDB_GROUP_DELTA_ROWS, VDB_LB_ROWS - drec->index) == 0;
}

/* Check one block delta that is in use. */
static void
check_delta(OverlayCheck *check, const VdbBlockDeltaAddress *address)
{
	const VdbTableRef *ref = check->ref;
	const VdbBlockDelta *bdelta = vdb_block_delta_at(ref->pool, address->block, address->offset);
	char		message[200];

	if (bdelta->capacity != vdb_block_delta_classes[address->size_class].capacity ||
		bdelta->table_slot != ref->slot || bdelta->table_generation != ref->generation)
	{
		snprintf(message, sizeof(message),
				 _("block delta in pool block %u, byte %u, has a damaged header"),
				 address->block, address->offset);
		overlay_finding(check, bdelta->lb, message);
		return;
	}
	if (bdelta->lb >= vdb_map_limit(ref))
	{
		snprintf(message, sizeof(message),
				 _("block delta in pool block %u, byte %u, is of a logical block never handed out"),
				 address->block, address->offset);
		overlay_finding(check, bdelta->lb, message);
	}
	for (int i = 0; i < bdelta->capacity; i++)
	{
		const VdbDeltaRecord *drec = vdb_block_delta_record(bdelta, i);

		if ((drec->flags & ~(VDB_DELTA_USED | VDB_DELTA_MOVED | VDB_DELTA_GROUP)) != 0)
		{
			snprintf(message, sizeof(message),
					 _("block delta in pool block %u, byte %u, has unknown flags %04X in delta record %d"),
					 address->block, address->offset, drec->flags, i);
			overlay_finding(check, bdelta->lb, message);
		}
		else if (!is_good_group_delta(drec))
		{
			snprintf(message, sizeof(message),
					 _("block delta in pool block %u, byte %u, has a damaged group delta %d"),
					 address->block, address->offset, i);
			overlay_finding(check, bdelta->lb, message);
		}
	}
}

/* Check a list of slabs: links, headers and block deltas.  The map lock is held. */
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
			overlay_finding(check, VDB_MAX_LOGICAL_BLOCK, message);
			return;
		}
		slab = vdb_overlay_slab(ref, block);
		if (slab->prev != prev || slab->list != list ||
			(list != VDB_TABLE_LIST_FULL && slab->size_class != list))
		{
			snprintf(message, sizeof(message),
					 _("slab of block deltas in pool block %u has wrong links"), block);
			overlay_finding(check, VDB_MAX_LOGICAL_BLOCK, message);
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

/* See overlay.h.  Delta records may change meanwhile, but not in what is checked of them. */
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
