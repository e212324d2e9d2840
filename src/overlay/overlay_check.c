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

#include "base/vdb_stop_point.h"
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
 * Add the freeing of a block delta to the batch, unless a map entry refers to it.  With old_only,
 * it must also still be the one that was collected.  From here to the end of the batch no process
 * touches it: nothing refers to it, it isn't free yet, and the migration lock keeps others from
 * freeing it.  Returns whether it was added.
 */
static bool
gather_free(VdbScmBatch *batch, const VdbTableRef *ref, const LostDelta *lost, bool old_only)
{
	bool		unused;

	vdb_lock_block(ref, lost->lb, LW_EXCLUSIVE);
	vdb_map_check_ref(ref);
	unused = old_only ? is_still_lost(ref, lost) : !is_referred(ref, lost->lb, &lost->address);
	if (unused)
	{
		VdbScmChange *change = vdb_scm_change_begin(ref->pool, VDB_CHANGE_FLUSH);

		vdb_overlay_free(change, ref, lost->lb, lost->address.block, lost->address.offset);
		vdb_scm_batch_add(batch, change);
	}
	vdb_unlock_block(ref, lost->lb);
	return unused;
}

/*
 * Free those of the block deltas to which no map entry refers, and reclaim their slabs.  Takes two
 * flushes of WAL.
 */
static void
free_unreferred(const VdbTableRef *ref, const LostDelta *lost, int n, bool old_only)
{
	VdbScmBatch *batch = vdb_scm_batch_begin(ref->pool);
	VdbBlock   *slabs = palloc(n * sizeof(VdbBlock));
	int			nslabs = 0;

	for (int i = 0; i < n; i++)
		if (gather_free(batch, ref, &lost[i], old_only) &&
			(nslabs == 0 || slabs[nslabs - 1] != lost[i].address.block))
			slabs[nslabs++] = lost[i].address.block;
	vdb_scm_batch_end(batch);
	VDB_STOP_POINT("overlay-deltas-freed");
	if (nslabs > 0)
		vdb_overlay_reclaim(ref, slabs, nslabs);
	pfree(slabs);
}

/* See overlay.h. */
void
vdb_overlay_release(const VdbTableRef *ref, const VdbUnusedDelta *deltas, int ndeltas)
{
	LostDelta  *lost = palloc(Max(ndeltas, 1) * sizeof(LostDelta));
	int			n = 0;

	/* the changes that free them are flushed */
	Assert(InterruptHoldoffCount == 0);
	for (int i = 0; i < ndeltas; i++)
	{
		if (deltas[i].block == VDB_BLOCK_NONE)
			continue;
		lost[n].lb = deltas[i].lb;
		lost[n].address.block = deltas[i].block;
		lost[n++].address.offset = deltas[i].offset;
	}
	if (n > 0)
	{
		(void) vdb_epoch_current(ref->pool);
		free_unreferred(ref, lost, n, false);
	}
	pfree(lost);
}

/* See overlay.h. */
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
		if (lost->n > 0)
			free_unreferred(ref, lost->deltas, lost->n, true);
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
