/*-------------------------------------------------------------------------
 *
 * rows_format.h
 *	  Bytes of a row segment in the pool.
 *
 * A segment is 8 blocks; the first 24 bytes of each stay zero.  Block 0: VdbSegmentHeader at 24,
 * slot array (uint16 each) at 88, rows from MAXALIGN(88 + 2 * nslots).  Blocks 1 to 7: rows from
 * 24.
 *
 * A row begins at a multiple of 8:
 *
 *	 0	8	VdbRowPrefix; n is the length in it
 *	 8	n	heap tuple header of t_hoff bytes, then data, or a VdbWideRef
 *	8+n	4	CRC-32C of all that never changes (scm_row.h)
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_ROWS_FORMAT_H
#define VDB_ROWS_FORMAT_H

#include "scm/scm.h"
#include "scm/scm_row.h"

#define VDB_SEGMENT_MAGIC		0x56534547	/* "VSEG" */
#define VDB_SEGMENT_VERSION		2

/* Header of a segment, at offset 24 of its first block. */
typedef struct VdbSegmentHeader
{
	uint32		magic;
	uint16		version;
	uint16		nslots;				/* 256 times the number of its logical blocks, 1 to 8 */
	uint32		table_slot;
	uint32		table_generation;
	VdbLogicalBlock first_lb;
	uint32		epoch;				/* epoch of every xmin in the segment */
	uint8		pad[40];
} VdbSegmentHeader;

StaticAssertDecl(sizeof(VdbSegmentHeader) == 64, "segment header is 64 bytes on media");

#define VDB_SEGMENT_SLOTS		(VDB_POOL_BLOCK_HEADER + 64)	/* offset of slot 0 in block 0 */
#define VDB_SLOT_EMPTY			0
#define VDB_SLOT_REMOVED			0xFFFF

static inline uint16
vdb_slot_make(int block, uint16 offset)
{
	return (uint16) ((block << 10) | (offset >> 3));
}

static inline int
vdb_slot_block(uint16 slot)
{
	return slot >> 10;
}

static inline uint16
vdb_slot_offset(uint16 slot)
{
	return (uint16) ((slot & 0x3FF) << 3);
}

/* The 8 bytes before a row's header. */
typedef struct VdbRowPrefix
{
	uint32		len;				/* bytes of header and data that follow; with VDB_ROW_WIDE:
									 * header (t_hoff bytes) and a VdbWideRef */
	uint32		xmax_epoch;
} VdbRowPrefix;

StaticAssertDecl(sizeof(VdbRowPrefix) == VDB_ROW_PREFIX_BYTES, "row prefix is 8 bytes on media");

#define VDB_ROW_WIDE			0x80000000u
#define VDB_ROW_LEN(p)			((p) & 0x7FFFFFFFu)

/*
 * Bytes that a row takes besides its tuple, or besides the part of the tuple that is in the
 * segment.
 */
#define VDB_ROW_EXTRA_BYTES		(VDB_ROW_PREFIX_BYTES + VDB_ROW_CRC_BYTES)

/* Reference from a wide row's header to its data in main-fork pages. */
typedef struct VdbWideRef
{
	BlockNumber first_page;
	uint32		npages;
	uint32		data_bytes;			/* bytes of the tuple after t_hoff */
	uint32		crc;				/* CRC-32C of these bytes */
} VdbWideRef;

StaticAssertDecl(sizeof(VdbWideRef) == 16, "wide reference is 16 bytes on media");

/* Longest row image (prefix, header, data, checksum) kept in the segment.  Longer rows are wide. */
#define VDB_ROW_MAX_INLINE		(VDB_POOL_BLOCK_PAYLOAD - 8)

#endif							/* VDB_ROWS_FORMAT_H */
