/*-------------------------------------------------------------------------
 *
 * map_summary.c
 *	  Summary of a range, read from its node without locks.
 *
 * A process that looks for work must look at every range of every table.  Taking 256 block locks
 * for each would cost a core on a large table.  So the node is copied as vdb_map_read_entries does.
 * Entries that change meanwhile may be copied half old, half new, so the summary is only good for
 * deciding where to look under locks.
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
	VdbMapEntry entries[VDB_RANGE_LBS];
	VdbBlock	node;

	summary->complete = limit / VDB_RANGE_LBS > range;
	summary->thinned = summary->empty = false;
	summary->nsegments = summary->nstripes = 0;
	summary->segment_lbs = summary->striped_lbs = summary->noverlaid = 0;
	if (!vdb_map_read_entries(ref, range, 0, VDB_RANGE_LBS, entries, &node))
		return false;
	for (int i = 0; i < VDB_RANGE_LBS; i++)
	{
		VdbMapEntry entry = entries[i];

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
			summary->thinned = summary->thinned || (entry.flags & VDB_ENTRY_SPILLED) != 0;
			if (listed(summary->stripes, summary->nstripes, entry.ref))
				continue;
			summary->stripe_lbs[summary->nstripes] = (uint8) i;
			summary->stripes[summary->nstripes++] = entry.ref;
		}
		else if (entry.kind == VDB_EXTENT_REMOVED)
			summary->thinned = true;
	}
	summary->thinned = summary->thinned || summary->noverlaid > 0;
	summary->empty = summary->complete && summary->nsegments == 0 && summary->nstripes == 0;
	return true;
}
