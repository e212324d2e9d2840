/*-------------------------------------------------------------------------
 *
 * map_glance.c
 *	  What is in a range, as far as its node says: read without locks.
 *
 * Whoever looks for work must look at every range of every table.  Taking
 * 256 block locks for each would cost a core on a large table.  A node is never
 * freed while its table is in use, so it may be read at any time; entries
 * that change meanwhile may be seen half old, half new.  So what is found is
 * only good for deciding where to look properly.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "map/map_internal.h"

/* Is the block in the list?  A range has few stripes. */
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
vdb_map_glance(const VdbTableRef *ref, uint32 range, VdbRangeGlance *glance)
{
	VdbLogicalBlock limit = vdb_map_limit(ref);
	VdbBlock	block = vdb_map_range_block(ref, range);
	const VdbRangeNode *node;

	glance->complete = limit / VDB_RANGE_LBS > range;
	glance->thinned = false;
	glance->nsegments = glance->nstripes = 0;
	glance->segment_lbs = glance->striped_lbs = glance->noverlaid = 0;
	if (block == VDB_BLOCK_NONE)
		return false;
	node = vdb_map_range(ref, block, range);
	for (int i = 0; i < VDB_RANGE_LBS; i++)
	{
		VdbMapEntry entry = node->entries[i];

		if (entry.kind == VDB_EXTENT_SEGMENT)
		{
			glance->segment_lbs++;
			if (glance->nsegments == 0 || glance->segments[glance->nsegments - 1] != entry.ref)
				glance->segments[glance->nsegments++] = entry.ref;
		}
		else if (entry.kind == VDB_EXTENT_STRIPE)
		{
			glance->striped_lbs++;
			if (entry.overlay_block != VDB_BLOCK_NONE)
				glance->overlaid_lbs[glance->noverlaid++] = (uint8) i;
			if (listed(glance->stripes, glance->nstripes, entry.ref))
				continue;
			glance->stripe_lbs[glance->nstripes] = (uint8) i;
			glance->stripes[glance->nstripes++] = entry.ref;
		}
		else if (entry.kind == VDB_EXTENT_REMOVED)
			glance->thinned = true;
	}
	glance->thinned = glance->thinned || glance->noverlaid > 0;
	return true;
}
