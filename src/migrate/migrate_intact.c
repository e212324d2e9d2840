/*-------------------------------------------------------------------------
 *
 * migrate_intact.c
 *	  Checking that the rows of a segment are what was stored.
 *
 * A stripe gives its rows checksums of its own.  A damaged row must not get one: from then on it
 * would pass for intact.  So a segment with a row that fails its checksum doesn't move, and all
 * others do.  The cost is one segment and, in each attempt, a look at its rows.  (Rows are checked
 * once more when they are copied for the stripe; there an error ends the attempt.)
 *
 * Block locks are taken shared, one at a time; data of wide rows is read after unlocking.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "migrate/migrate_private.h"

/* Wide rows of a block whose part in the segment is intact. */
typedef struct WideRows
{
	int			n;
	VdbVersion	versions[VDB_LB_ROWS];
	char	   *images[VDB_LB_ROWS];
} WideRows;

static void
keep_wide(VdbMover *mover, WideRows *wide, const VdbVersion *version)
{
	char	   *image = palloc(VDB_ROW_COPY_BYTES(version->len));

	Assert(version->wide && wide->n < VDB_LB_ROWS);
	vdb_rows_copy(&mover->ref, version, image);
	wide->versions[wide->n] = *version;
	wide->images[wide->n++] = image;
}

/*
 * Check the parts of a block's rows that are in the segment.  Returns false at the first one that
 * fails.  The block lock is held shared.
 */
static bool
check_block(VdbMover *mover, const VdbExtent *extent, VdbLogicalBlock lb, WideRows *wide,
			VdbRowDamage *damage)
{
	Assert(VDB_BLOCK_LOCKED(&mover->ref, lb));
	for (int i = 0; i < VDB_LB_ROWS; i++)
	{
		VdbVersion	version;
		bool		removed;

		if (!vdb_rows_version(&mover->ref, extent, lb, (uint8) i, &version, &removed))
			continue;
		/* it is dropped instead of moved, and a crash may have taken its data */
		if (vdb_row_satisfies_vacuum(&version.hdr, mover->oldest_xmin) == VDB_DEAD)
			continue;
		if (vdb_rows_damaged(&version, vdb_rows_image(&mover->ref, &version), damage))
			return false;
		if (version.wide)
			keep_wide(mover, wide, &version);
	}
	return true;
}

static bool
block_intact(VdbMover *mover, VdbLogicalBlock lb, WideRows *wide, VdbRowDamage *damage)
{
	VdbExtent	extent;
	bool		intact = true;

	CHECK_FOR_INTERRUPTS();
	wide->n = 0;
	vdb_lock_block(&mover->ref, lb, LW_SHARED);
	vdb_map_lookup(&mover->ref, lb, &extent);
	if (extent.kind == VDB_EXTENT_SEGMENT)
		intact = check_block(mover, &extent, lb, wide, damage);
	vdb_unlock_block(&mover->ref, lb);
	for (int i = 0; i < wide->n; i++)
	{
		intact = intact && !vdb_rows_wide_damaged(mover->rel, &wide->versions[i], wide->images[i],
												  damage);
		pfree(wide->images[i]);
	}
	return intact;
}

/*
 * Check the rows of nlbs logical blocks from first_lb on, all of one segment.  Returns false if one
 * is not intact; mover->damage describes it.
 */
bool
vdb_mover_segment_intact(VdbMover *mover, VdbLogicalBlock first_lb, int nlbs)
{
	WideRows   *wide = palloc(sizeof(WideRows));
	VdbRowDamage damage;
	bool		intact = true;

	Assert(nlbs > 0 && nlbs <= VDB_SEGMENT_BLOCKS);
	for (int i = 0; i < nlbs && intact; i++)
		intact = block_intact(mover, first_lb + i, wide, &damage);
	pfree(wide);
	if (!intact && !mover->damaged)
	{
		mover->damaged = true;
		mover->damage = damage;
	}
	return intact;
}
