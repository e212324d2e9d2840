/*-------------------------------------------------------------------------
 *
 * scm_range.c
 *	  Byte ranges as changes gather them and redo finds them.
 *
 * One encoding serves both, so what is applied and what redo applies are the
 * same bytes by construction; WAL has them packed.  Layout: scm_format.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "scm/scm_internal.h"

/* Take the next range off [*at, end); false at the end or if malformed. */
bool
vdb_range_next(const char **at, const char *end, VdbRange *range)
{
	size_t		bytes;
	uint32		offset;

	if (end - *at < (ptrdiff_t) sizeof(VdbRangeHeader))
		return false;
	memcpy(&range->head, *at, sizeof(VdbRangeHeader));
	offset = VDB_RANGE_OFFSET(range->head.address);
	bytes = VDB_RANGE_IS_ZERO(range->head.address) ? 0 : range->head.length;
	if (end - *at - sizeof(VdbRangeHeader) < bytes ||
		offset < VDB_POOL_BLOCK_HEADER ||
		offset + range->head.length > VDB_POOL_BLOCK_BYTES)
		return false;
	range->bytes = bytes > 0 ? *at + sizeof(VdbRangeHeader) : NULL;
	*at += sizeof(VdbRangeHeader) + bytes;
	return true;
}

/* Store a block's ranges of one phase.  No errors. */
void
vdb_ranges_apply(bool pmem, VdbBlock block, char *target,
				 const char *ranges, size_t len, int phase)
{
	const char *at = ranges;
	VdbRange	range;

	while (vdb_range_next(&at, ranges + len, &range))
	{
		uint16		offset = VDB_RANGE_OFFSET(range.head.address);

		if (VDB_RANGE_PHASE(range.head.address) != phase)
			continue;
		if (range.bytes == NULL)
			vdb_persist->zero(pmem, block, offset, target + offset, range.head.length);
		else
			vdb_persist->store(pmem, block, offset, target + offset,
							   range.bytes, range.head.length);
	}
}
