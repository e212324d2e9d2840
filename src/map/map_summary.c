/*-------------------------------------------------------------------------
 *
 * map_summary.c
 *	  Summary of a range, read from its node without locks.
 *
 * A process that looks for work must look at every range of every table.  Taking 256 block locks
 * for each would cost a core on a large table.  A node is never freed while its table is in use, so
 * it may be read at any time.  Entries that change meanwhile may be read half old, half new, so the
 * summary is only good for deciding where to look under locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "map/map_internal.h"

/* Return whether the block is in the list, which is short: a range has few stripes. */
static bool
listed(const VdbBlock *list, int n, VdbBlock block)
{
	while (n-- > 0)
		if (list[n] == block)
			return true;
	return false;
}

/* See map.h. */
bool
vdb_map_summarize(const VdbTableRef *ref, uint32 range, VdbRangeSummary *summary)
{
	VdbLogicalBlock limit = vdb_map_limit(ref);
	VdbBlock	block = vdb_map_range_block(ref, range);
	const VdbRangeNode *node;

	summary->complete = limit / VDB_RANGE_LBS > range;
	summary->thinned = false;
	summary->nsegments = summary->nstripes = 0;
	summary->segment_lbs = summary->striped_lbs = summary->noverlaid = 0;
	if (block == VDB_BLOCK_NONE)
		return false;
	node = vdb_map_range(ref, block, range);
	for (int i = 0; i < VDB_RANGE_LBS; i++)
	{
		VdbMapEntry entry = node->entries[i];

		if (entry.kind == VDB_EXTENT_SEGMENT)
		{
			summary->segment_lbs++;
			if (summary->nsegments == 0 || summary->segments[summary->nsegments - 1] != entry.ref)
				summary->segments[summary->nsegments++] = entry.ref;
		}
		else if (entry.kind == VDB_EXTENT_STRIPE)
		{
			summary->striped_lbs++;
			if (entry.overlay_block != VDB_BLOCK_NONE)
				summary->overlaid_lbs[summary->noverlaid++] = (uint8) i;
			if (listed(summary->stripes, summary->nstripes, entry.ref))
				continue;
			summary->stripe_lbs[summary->nstripes] = (uint8) i;
			summary->stripes[summary->nstripes++] = entry.ref;
		}
		else if (entry.kind == VDB_EXTENT_REMOVED)
			summary->thinned = true;
	}
	summary->thinned = summary->thinned || summary->noverlaid > 0;
	return true;
}
