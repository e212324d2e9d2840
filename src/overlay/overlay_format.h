/*-------------------------------------------------------------------------
 *
 * overlay_format.h
 *	  The overlay's bytes: slab blocks, block deltas and delta records in the pool; spills on flash.
 *
 * A slab block has 24 zero bytes, VdbOverlaySlab (40 bytes), then the block deltas of one size
 * class, from byte 64 on (class 0: from byte 256 on).  A block delta has 64 bytes of header, which
 * contains the deletion bitmap, then delta records.  They are placed so that neither the header nor
 * a delta record crosses a multiple of 512 bytes of the file:
 *
 *	delta record 0 .. 15	from byte 64 of the block delta
 *	delta record 16 ..		21 each from byte 448, 960, 1472 ... (8 bytes unused behind them)
 *
 *	class	bytes	block deltas a block	delta records
 *	0		256		31				8
 *	1		512		15				18
 *	2		2048	3				81
 *	3		8128	1				331
 *
 * A free block delta is all zero.  A block delta of class 3 has more delta records than an LB has
 * rows, because a replaced delta record may get another place.  Class 0 is enough for an LB all of
 * whose rows one statement deleted or locked: 7 group deltas name 256 rows.
 *
 * A spill is a run of pages in the table's main fork (pages/).  It has VdbSpillHeader, then for
 * each of its LBs an image of a block delta: header, then as many delta records as 'capacity' says,
 * in their places, all used.  Images follow each other without gaps, in the order of the LBs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_OVERLAY_FORMAT_H
#define VDB_OVERLAY_FORMAT_H

#include "base/vdb_rowset.h"
#include "map/map_format.h"

#define VDB_OVERLAY_MAGIC		0x564F564C	/* "VOVL" */
#define VDB_OVERLAY_VERSION		2
#define VDB_OVERLAY_CLASSES		4
/* smallest byte of a slab block at which a block delta begins */
#define VDB_OVERLAY_FIRST_DELTA	64
#define VDB_OVERLAY_MAX_RECORDS	331

/*
 * Header of a slab.  Its class is size_class; it is on the list of the class, or
 * VDB_TABLE_LIST_FULL.
 */
typedef VdbListedBlock VdbOverlaySlab;

StaticAssertDecl(VDB_POOL_BLOCK_HEADER + sizeof(VdbOverlaySlab) == VDB_OVERLAY_FIRST_DELTA,
				 "block deltas begin behind the slab's header");
StaticAssertDecl(VDB_TABLE_LIST_FULL == VDB_OVERLAY_CLASSES,
				 "a list per class, and one for full slabs");

/*
 * What a heap tuple header would say of one changed row version of a stripe.  The first 8 bytes are
 * stored after the rest and make the delta record valid.  Of several delta records of a row the
 * last one counts.
 *
 * A group delta (VDB_DELTA_GROUP) says the same of up to VDB_GROUP_DELTA_ROWS rows, none of which
 * has a next version.  Its index is that of the first of its rows, a multiple of
 * VDB_GROUP_DELTA_ROWS, and a bitmap takes the place of the next version.  Bit k of next_lb is row
 * index + k; bit k of next_index is row index + 32 + k.  Rows are added to it one by one.
 */
typedef struct VdbDeltaRecord
{
	uint8		index;				/* row in its logical block; group: the first row */
	uint8		next_index;			/* next version: its row in next_lb; group: bitmap */
	uint16		infomask;			/* HEAP_XMAX_*, HEAP_COMBOCID, HEAP_KEYS... bits as in a heap
									 * tuple header */
	uint16		infomask2;			/* HEAP_KEYS_UPDATED, HEAP_HOT... only */
	uint16		flags;				/* VDB_DELTA_* */
	TransactionId xmax;				/* or multixact id */
	CommandId	cid;				/* cmax or combo id */
	uint32		xmax_epoch;			/* epoch of xmax */
	VdbLogicalBlock next_lb;		/* next version, or the row itself if there is none; group:
									 * bitmap */
} VdbDeltaRecord;

StaticAssertDecl(sizeof(VdbDeltaRecord) == 24, "delta record is 24 bytes on media");
StaticAssertDecl(offsetof(VdbDeltaRecord, xmax) == 8, "a delta record's first word is published");

#define VDB_DELTA_USED			0x0001	/* set by the overlay */
#define VDB_DELTA_MOVED			0x0002	/* the row moved to another partition */
#define VDB_DELTA_GROUP			0x0004	/* stands for several rows; set by the overlay */

#define VDB_GROUP_DELTA_ROWS			40

StaticAssertDecl(VDB_GROUP_DELTA_ROWS == (sizeof(VdbLogicalBlock) + sizeof(uint8)) * 8,
				 "a bit for each row of a group delta");

/* Return the rows of a group delta: bit k is row index + k. */
static inline uint64
vdb_group_delta_rows(const VdbDeltaRecord *drec)
{
	return (uint64) drec->next_index << 32 | drec->next_lb;
}

/* Header of a block delta. */
typedef struct VdbBlockDelta
{
	VdbLogicalBlock lb;
	uint32		table_slot;
	uint32		table_generation;
	uint32		pad;
	uint16		capacity;			/* number of delta records that it has room for; 0: the block
									 * delta is free.  The word that begins here is published. */
	uint16		pad2;
	uint32		epoch;				/* epoch that took the block delta */
	VdbRowSet	deleted;			/* deletion bitmap */
	uint64		pad3;
} VdbBlockDelta;

StaticAssertDecl(sizeof(VdbBlockDelta) == 64, "block delta header is 64 bytes on media");
StaticAssertDecl(offsetof(VdbBlockDelta, capacity) % 8 == 0, "capacity and epoch are one store");

/* Image of a block delta: the header, and the delta records in their places. */
typedef union VdbBlockDeltaImage
{
	VdbBlockDelta header;
	char		bytes[8128];
} VdbBlockDeltaImage;

#define VDB_SPILL_MAGIC			0x4C505356	/* "VSPL" */
#define VDB_SPILL_VERSION		1

/* Where a spill has the image of one LB; all zero if it has none. */
typedef struct VdbSpillEntry
{
	uint32		offset;				/* byte of the spill */
	uint32		bytes;
	uint32		image_crc;			/* CRC-32C of the image */
	uint32		crc;				/* CRC-32C of the spill's id, the LB's index in the range as a
									 * uint32, and the fields above */
} VdbSpillEntry;

StaticAssertDecl(sizeof(VdbSpillEntry) == 16, "entry of a spill is 16 bytes on media");

/* Header of a spill. */
typedef struct VdbSpillHeader
{
	uint32		magic;
	uint16		version;
	uint16		pad;				/* zero */
	uint32		id;					/* as in the stripe's meta */
	uint32		range;
	uint64		identity;			/* of the table's storage, as in its metapage */
	uint32		nrows;				/* rows that it has delta records of */
	uint32		crc;				/* CRC-32C of the bytes before */
	VdbSpillEntry entries[VDB_RANGE_LBS];
} VdbSpillHeader;

StaticAssertDecl(offsetof(VdbSpillHeader, entries) == 32, "the entries of a spill begin at 32");
StaticAssertDecl(sizeof(VdbSpillHeader) == 32 + 4096, "header of a spill is 4128 bytes on media");

/* Return the byte of the block delta at which delta record i begins. */
static inline uint32
vdb_delta_record_offset(uint32 i)
{
	if (i < 16)
		return sizeof(VdbBlockDelta) + i * sizeof(VdbDeltaRecord);
	return 448 + ((i - 16) / 21) * 512 + ((i - 16) % 21) * sizeof(VdbDeltaRecord);
}

#endif							/* VDB_OVERLAY_FORMAT_H */
