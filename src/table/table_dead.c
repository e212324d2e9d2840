/*-------------------------------------------------------------------------
 *
 * table_dead.c
 *	  Find the versions of one logical block that are dead to everyone, for an index that deletes
 *	  their entries.
 *
 * The caller holds the lock of an index page, for which others wait.  So the block lock is taken
 * once for all rows, and released before anything is read from flash: the address of the stripe and
 * the delta records are copied under it, as for a fetch (README.md, "The header and the moment").
 * A copied header can only understate what has become dead since.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "storage/proc.h"
#include "utils/snapmgr.h"

#include "base/vdb_stop_point.h"
#include "table/table.h"
#include "table/table_version.h"

/* What was copied of a row under the block lock. */
typedef struct CopiedRow
{
	VdbVersion	version;			/* of a row in the pool, if found */
	VdbDeltaRecord drec;			/* of a striped row, if has_delta */
	bool		found;				/* there is such a row; for a striped one: it isn't removed */
	bool		has_delta;
} CopiedRow;

/* What was copied of the block. */
typedef struct CopiedBlock
{
	VdbExtent	extent;
	VdbStripeAddress address;		/* of its stripe */
	VdbSpillAddress spill;			/* of its stripe's spill */
	uint16		meta_flags;
	CopiedRow  *rows;
} CopiedBlock;

/* Copy what is known of the rows in memory.  The caller has the block lock. */
static void
copy_candidates(const VdbTableRef *ref, VdbLogicalBlock lb, const VdbDeadCheck *checks, int nchecks,
				CopiedBlock *block)
{
	Assert(VDB_BLOCK_LOCKED(ref, lb));
	vdb_map_lookup(ref, lb, &block->extent);
	if (block->extent.kind == VDB_EXTENT_STRIPE)
	{
		const VdbStripeMeta *meta = vdb_map_meta(ref->pool, block->extent.ref);

		block->address = vdb_stripe_address(meta);
		block->spill = meta->spill;
		block->meta_flags = meta->flags;
	}
	for (int i = 0; i < nchecks; i++)
	{
		CopiedRow  *copy = &block->rows[i];
		VdbExtent	extent = block->extent;
		uint8		index = vdb_row_index(checks[i].row);
		bool		removed;

		copy->found = copy->has_delta = false;
		if (extent.kind == VDB_EXTENT_SEGMENT)
			copy->found = vdb_rows_version(ref, &extent, lb, index, &copy->version, &removed);
		else if (extent.kind == VDB_EXTENT_STRIPE)
		{
			copy->has_delta = vdb_overlay_row(ref, &extent, index, &removed, &copy->drec);
			copy->found = !removed;
		}
	}
}

/* Complete the headers of striped rows.  No lock is held. */
static void
complete_candidates(Relation rel, const VdbDeadCheck *checks, int nchecks, CopiedBlock *block)
{
	VdbStripe  *stripe = vdb_stripe_open(rel, block->address);
	VdbLogicalBlock lb = block->extent.lb;
	VdbBlockDeltaImage image;

	if (block->extent.spilled)
		vdb_spill_read(rel, &block->spill, lb, &image);
	for (int i = 0; i < nchecks; i++)
	{
		CopiedRow  *copy = &block->rows[i];
		int			pos = copy->found ? vdb_stripe_position(stripe, checks[i].row) : -1;

		copy->found = pos >= 0;
		if (!copy->found)
			continue;
		vdb_version_from_stripe(&copy->version, stripe, block->meta_flags, checks[i].row,
								(uint32) pos);
		if (block->extent.spilled)
			copy->has_delta = vdb_spill_row(&image, lb, vdb_row_index(checks[i].row),
											copy->has_delta, &copy->drec);
		if (copy->has_delta)
			vdb_version_apply_delta(&copy->version, &copy->drec);
	}
	vdb_stripe_release(stripe);
}

/* Check whether no snapshot can see the version any more. */
static bool
is_dead_to_all(Relation rel, HeapTupleHeader hdr)
{
	TransactionId dead_after;
	VdbHtsvResult htsv = vdb_row_satisfies_vacuum_horizon(hdr, &dead_after);

	return htsv == VDB_DEAD ||
		(htsv == VDB_RECENTLY_DEAD &&
		 GlobalVisTestIsRemovableXid(GlobalVisTestFor(rel), dead_after));
}

int
vdb_table_check_dead(Relation rel, VdbDeadCheck *checks, int nchecks, TransactionId *latest)
{
	VdbLogicalBlock lb = vdb_row_lb(checks[0].row);
	CopiedBlock block = {.extent = {.kind = VDB_EXTENT_NONE}};
	VdbTableRef ref;
	int			ndead = 0;

	/* pages of a stripe that is replaced meanwhile are not used again while this xid runs */
	Assert(TransactionIdIsValid(MyProc->xid) || TransactionIdIsValid(MyProc->xmin));
	block.rows = palloc0(nchecks * sizeof(CopiedRow));
	if (vdb_table_open(rel, false, &ref) && lb < vdb_map_limit(&ref))
	{
		vdb_lock_block(&ref, lb, LW_SHARED);
		copy_candidates(&ref, lb, checks, nchecks, &block);
		vdb_unlock_block(&ref, lb);
	}
	VDB_STOP_POINT("table-dead-copied");
	if (block.extent.kind == VDB_EXTENT_STRIPE)
		complete_candidates(rel, checks, nchecks, &block);
	for (int i = 0; i < nchecks; i++)
	{
		HeapTupleHeader hdr = &block.rows[i].version.hdr;

		Assert(vdb_row_lb(checks[i].row) == lb);
		/* a row that is not there was removed by a record that has resolved its own conflicts */
		checks[i].dead = !block.rows[i].found || checks[i].known || is_dead_to_all(rel, hdr);
		if (block.rows[i].found && checks[i].dead)
			vdb_version_raise_removed(hdr, latest);
		ndead += checks[i].dead;
	}
	pfree(block.rows);
	return ndead;
}
