/*-------------------------------------------------------------------------
 *
 * table_visible.c
 *	  Mark logical blocks all-visible.
 *
 * pages/README.md describes the visibility map.  This file checks a block and
 * sets its bit under the exclusive block lock, which every change of the
 * block's rows holds, too.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/bufmgr.h"

#include "pages/pages.h"
#include "table/table.h"

/* Return true if no delta record can make a row that was not removed invisible to a snapshot. */
static bool
overlay_harmless(const VdbOverlayView *view)
{
	for (int i = 0; view->any && i < view->ndrecs; i++)
	{
		uint16		infomask = view->drecs[i].infomask;

		/* an aborted deleter's delta record counts until VACUUM drops it: clog isn't read here */
		if (!(infomask & HEAP_XMAX_INVALID) && !HEAP_XMAX_IS_LOCKED_ONLY(infomask))
			return false;
	}
	return true;
}

/* Return true if all rows of the block are visible to everyone and all index entries have rows. */
static bool
block_all_visible(const VdbTableRef *ref, VdbLogicalBlock lb, VdbStripeCleaned cleaned, void *arg)
{
	VdbExtent	extent;
	VdbOverlayView view;
	const VdbStripeMeta *meta;

	vdb_map_lookup(ref, lb, &extent);
	/* a spill isn't read under the lock; VACUUM drops it when its rows are removed */
	if (extent.kind != VDB_EXTENT_STRIPE || extent.spilled)
		return false;
	meta = vdb_map_meta(ref->pool, extent.ref);
	if ((meta->flags & (VDB_STRIPE_FROZEN | VDB_STRIPE_IN_DOUBT)) != VDB_STRIPE_FROZEN ||
		!cleaned(meta->stripe_id, arg))
		return false;
	if (extent.overlay_block == VDB_BLOCK_NONE)
		return true;
	vdb_overlay_read(ref, &extent, &view);
	return overlay_harmless(&view);
}

bool
vdb_table_mark_visible(Relation rel, const VdbTableRef *ref, VdbLogicalBlock lb,
					   VdbStripeCleaned cleaned, void *arg, Buffer *buffer)
{
	bool		visible;

	vdb_visible_pin(rel, lb, buffer);
	if (vdb_visible_test(lb, *buffer))
		return true;
	vdb_lock_block(ref, lb, LW_EXCLUSIVE);
	visible = block_all_visible(ref, lb, cleaned, arg);
	if (visible)
		vdb_visible_set(rel, lb, *buffer);
	vdb_unlock_block(ref, lb);
	return visible;
}
