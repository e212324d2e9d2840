/*-------------------------------------------------------------------------
 *
 * vdb_types.h
 *	  Row numbers, logical blocks and ranges: the plain numbers that all parts share.
 *
 * A row version has a 40-bit row number, unique in its table for ever.  256 consecutive numbers
 * form a logical block (which a TID's block number names), 256 logical blocks a range (which one
 * map leaf describes).
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_TYPES_H
#define VDB_TYPES_H

#include "storage/itemptr.h"

typedef uint64 VdbRowNumber;
typedef uint32 VdbLogicalBlock;

/* A block number in the pool; 0 is the pool header and so means 'none'. */
typedef uint32 VdbBlock;

#define VDB_BLOCK_NONE			((VdbBlock) 0)
#define VDB_ROW_NONE			PG_UINT64_MAX
#define VDB_LB_ROWS				256
#define VDB_RANGE_LBS			256
#define VDB_RANGE_ROWS			(VDB_LB_ROWS * VDB_RANGE_LBS)

/* The last logical block is kept free: 0xFFFFFFFF is InvalidBlockNumber. */
#define VDB_MAX_LOGICAL_BLOCK	((VdbLogicalBlock) 0xFFFFFFF0)

static inline VdbLogicalBlock
vdb_row_lb(VdbRowNumber row)
{
	return (VdbLogicalBlock) (row >> 8);
}

static inline uint8
vdb_row_index(VdbRowNumber row)
{
	return (uint8) (row & 0xFF);
}

static inline VdbRowNumber
vdb_row_make(VdbLogicalBlock lb, uint8 index)
{
	return ((VdbRowNumber) lb << 8) | index;
}

static inline uint32
vdb_lb_range(VdbLogicalBlock lb)
{
	return lb >> 8;
}

static inline uint8
vdb_lb_index(VdbLogicalBlock lb)
{
	return (uint8) (lb & 0xFF);
}

/*
 * Convert a row number to its TID; the only mapping between them.  Offsets run from 1 to 256, below
 * the 291 that tidbitmap.c accepts.
 */
static inline void
vdb_row_to_tid(VdbRowNumber row, ItemPointer tid)
{
	ItemPointerSet(tid, vdb_row_lb(row), (OffsetNumber) vdb_row_index(row) + 1);
}

/*
 * Convert a TID to its row number.  Returns VDB_ROW_NONE, without an error, for a TID that can't be
 * ours.
 */
static inline VdbRowNumber
vdb_tid_to_row(const ItemPointerData *tid)
{
	OffsetNumber off = ItemPointerGetOffsetNumberNoCheck(tid);
	BlockNumber blk = ItemPointerGetBlockNumberNoCheck(tid);

	if (off < 1 || off > VDB_LB_ROWS || blk > VDB_MAX_LOGICAL_BLOCK)
		return VDB_ROW_NONE;
	return vdb_row_make(blk, (uint8) (off - 1));
}

#endif							/* VDB_TYPES_H */
