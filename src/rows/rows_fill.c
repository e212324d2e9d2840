/*-------------------------------------------------------------------------
 *
 * rows_fill.c
 *	  How rows fill a segment: slots, blocks, offsets.  Pure arithmetic.
 *
 * Rows are laid one after the other, each at a MAXALIGNed offset, and none
 * across a block's end: what remains of a block that can't take the next
 * row stays unused.  No header crosses a sector's end either, so that ordinary
 * media keep it whole or lose it whole.  Row numbers are plentiful (40 bits) and pool bytes are
 * not, so a segment gets as many slots as rows of average length can need.
 *
 * No locks, no errors, no memory: the unit test calls these as they are.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "rows/rows_private.h"

/* Return the byte offset of the first row in a block of a segment. */
static inline uint16
first_row_offset(uint16 nslots, uint8 block)
{
	if (block == 0)
		return (uint16) MAXALIGN(VDB_SEGMENT_SLOTS + nslots * sizeof(uint16));
	return VDB_POOL_BLOCK_HEADER;
}

/* Return the number of bytes that a segment with this many slots has for row images. */
uint32
vdb_fill_payload(uint16 nslots)
{
	return VDB_SEGMENT_BYTES - first_row_offset(nslots, 0) -
		(VDB_SEGMENT_BLOCKS - 1) * VDB_POOL_BLOCK_HEADER;
}

/*
 * Choose how many logical blocks (1 to 8) a new segment spans, if its rows take average_bytes each,
 * prefix and alignment included: the fewest with which bytes run out before slots do.
 */
int
vdb_fill_choose_lbs(uint32 average_bytes)
{
	int			lbs = 1;

	while (lbs < 8 &&
		   (uint64) lbs * VDB_LB_ROWS * average_bytes <
		   vdb_fill_payload((uint16) (lbs * VDB_LB_ROWS)))
		lbs++;
	return lbs;
}

/*
 * Return the bytes that a row takes in its segment, prefix, checksum and alignment included, given
 * its tuple's length and t_hoff.  *wide is set if its data goes to the main fork, and the segment
 * holds the header and a VdbWideRef.
 */
uint32
vdb_row_image_bytes(uint32 tuple_bytes, uint8 hoff, bool *wide)
{
	uint32		bytes = VDB_ROW_EXTRA_BYTES + tuple_bytes;

	Assert(hoff >= SizeofHeapTupleHeader && tuple_bytes >= hoff);

	*wide = bytes > VDB_ROW_MAX_INLINE;
	if (*wide)
		bytes = VDB_ROW_EXTRA_BYTES + hoff + sizeof(VdbWideRef);
	return MAXALIGN(bytes);
}

/*
 * Return the first offset, from this one on, at which a row can begin so that its header lies in
 * one sector.
 */
static inline uint16
row_offset(uint16 offset)
{
	if (offset % VDB_SECTOR_BYTES + VDB_ROW_HEADER_BYTES > VDB_SECTOR_BYTES)
		return (uint16) TYPEALIGN(VDB_SECTOR_BYTES, offset);
	return offset;
}

/* Initialize the fill of an empty segment. */
void
vdb_fill_init(VdbSegmentFill *fill, VdbBlock segment, VdbLogicalBlock first_lb, uint16 nslots)
{
	Assert(segment % VDB_SEGMENT_BLOCKS == 0);
	Assert(nslots >= VDB_LB_ROWS && nslots <= 8 * VDB_LB_ROWS);

	fill->segment = segment;
	fill->first_lb = first_lb;
	fill->nslots = nslots;
	fill->next_slot = 0;
	fill->next_block = 0;
	fill->next_offset = first_row_offset(nslots, 0);
}

/*
 * Check whether there is room for a row of image_bytes, and if so, set *block (in the segment) and
 * *offset to its place.  This looks at most one block ahead: every block but the first can take the
 * longest image, so no later block can be better.
 */
bool
vdb_fill_find(const VdbSegmentFill *fill, uint32 image_bytes, uint8 *block, uint16 *offset)
{
	Assert(image_bytes == MAXALIGN(image_bytes));
	Assert(image_bytes <= VDB_POOL_BLOCK_PAYLOAD);

	if (fill->next_slot >= fill->nslots)
		return false;

	*block = fill->next_block;
	*offset = row_offset(fill->next_offset);
	if (*offset + image_bytes <= VDB_POOL_BLOCK_BYTES)
		return true;

	if (fill->next_block + 1 >= VDB_SEGMENT_BLOCKS)
		return false;
	*block = fill->next_block + 1;
	*offset = VDB_POOL_BLOCK_HEADER;
	return true;
}

/* Use the place that vdb_fill_find gave.  Returns the row's slot number. */
uint16
vdb_fill_add(VdbSegmentFill *fill, uint32 image_bytes, uint8 block, uint16 offset)
{
	Assert(fill->next_slot < fill->nslots);
	Assert(block < VDB_SEGMENT_BLOCKS);
	Assert(block >= fill->next_block);
	Assert(offset >= first_row_offset(fill->nslots, block));
	Assert(offset + image_bytes <= VDB_POOL_BLOCK_BYTES);

	fill->next_block = block;
	fill->next_offset = (uint16) (offset + image_bytes);
	return fill->next_slot++;
}

/*
 * Undo the addition of the row in 'slot', which was at (block, offset).  Returns false, and does
 * nothing, unless it is the latest row.
 */
bool
vdb_fill_back(VdbSegmentFill *fill, uint16 slot, uint8 block, uint16 offset)
{
	if (fill->next_slot != slot + 1 || fill->next_block != block)
		return false;

	Assert(offset >= first_row_offset(fill->nslots, block));
	Assert(offset < fill->next_offset);

	fill->next_slot = slot;
	fill->next_offset = offset;
	return true;
}
