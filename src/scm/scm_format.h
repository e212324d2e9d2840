/*-------------------------------------------------------------------------
 *
 * scm_format.h
 *	  Layout of the pool on its medium, and of its WAL record.
 *
 * The pool is the main fork of vdb.scm.  It consists of blocks of 8192 bytes, of which bytes 0..23
 * are always zero.  A segment is 8 blocks, a group is 480 segments.  The first segment of each
 * group is metadata: its block 1 is the group's allocation map.  In group 0, block 0 is the pool's
 * header and blocks 2..7 are the ring of epochs.  All numbers are in the host's byte order.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_SCM_FORMAT_H
#define VDB_SCM_FORMAT_H

#include "scm/scm.h"

#define VDB_POOL_MAGIC			VDB_POOL_MAGIC_TEXT
#define VDB_POOL_VERSION		6

#define VDB_GROUP_SEGMENTS		480
#define VDB_GROUP_BLOCKS		(VDB_GROUP_SEGMENTS * VDB_SEGMENT_BLOCKS)
#define VDB_GROUP_MAP_BLOCK		1	/* in each group */

#define VDB_RING_FIRST_BLOCK	2	/* in group 0 */
#define VDB_RING_BLOCKS			6
#define VDB_RING_BLOCK_ENTRIES	(VDB_POOL_BLOCK_PAYLOAD / 8)
#define VDB_RING_ENTRIES		(VDB_RING_BLOCKS * VDB_RING_BLOCK_ENTRIES)

/*
 * Header of the pool, at byte 24 of block 0.  The first 40 bytes never change, and 'crc' covers
 * them.  The other fields are changed one by one, by logged changes.
 */
typedef struct VdbPoolHeader
{
	char		magic[8];			/* 0: VDB_POOL_MAGIC, not terminated */
	uint32		version;			/* 8: VDB_POOL_VERSION */
	uint32		block_bytes;		/* 12 */
	uint32		segment_blocks;		/* 16 */
	uint32		group_segments;		/* 20 */
	uint32		relnode;			/* 24: the file's own relfilenode */
	uint32		ring_entries;		/* 28 */
	uint64		pool_id;			/* 32: random, one per created pool */
	uint32		crc;				/* 40: CRC-32C of bytes 0..39 */
	uint32		total_segments;		/* 44: size of the pool; its files are at least as long */
	uint32		epoch;				/* 48: the current epoch; the first is 1 */
	uint32		ring_start;			/* 52: oldest epoch in the ring */
	uint64		start_id;			/* 56: run of the server that began 'epoch' */
	uint32		directory;			/* 64: head of the directory of map/, or 0 */
	uint32		recovered;			/* 68: latest epoch begun after a recovery, or 0 */
	uint64		begin_lsn;			/* 72: WAL insert position when 'epoch' began */
} VdbPoolHeader;

StaticAssertDecl(sizeof(VdbPoolHeader) == 80, "pool header layout");
StaticAssertDecl(offsetof(VdbPoolHeader, crc) == 40, "pool header layout");
StaticAssertDecl(offsetof(VdbPoolHeader, start_id) == 56, "pool header layout");

/*
 * Allocation map of a group, at byte 24 of the group's block 1.  Each array has one 8-byte word per
 * segment, and a word has one byte per block, block 0 first.
 *
 * A state byte is 0 (free), 1 (single block in use), 2 (first block of a segment in use), 3
 * (further block of a segment in use) or 4 (released: nothing is stored in the segment, and the
 * file may have a hole there).  Either all blocks of a segment are released, or none.  A reserved
 * byte is 0 (not reserved), 1 (single block) or 2 (part of a segment).  Reserved bytes are
 * volatile: they are not logged, and are cleared when an epoch begins.
 */
typedef struct VdbGroupMap
{
	uint64		state[VDB_GROUP_SEGMENTS];
	uint64		reserved[VDB_GROUP_SEGMENTS];
} VdbGroupMap;

StaticAssertDecl(sizeof(VdbGroupMap) == 7680, "group map layout");
StaticAssertDecl(sizeof(VdbGroupMap) <= VDB_POOL_BLOCK_PAYLOAD, "group map fits");

/*
 * Ring of epochs: entry i % VDB_RING_ENTRIES has the ids from which on ids are lost in epoch i.
 * The entries for i from ring_start to epoch - 1 are valid.
 */
typedef struct VdbEpochLimits
{
	TransactionId xid;				/* 0 */
	MultiXactId multi;				/* 4 */
} VdbEpochLimits;

StaticAssertDecl(sizeof(VdbEpochLimits) == 8, "ring entry layout");

/*
 * WAL records have the resource manager VDB_RMGR_ID.  The record of a change comes in two variants,
 * VDB_XLOG_CHANGE and VDB_XLOG_STRUCTURE.  The variant repeats VDB_RECORD_FLUSH, and only serves
 * tools.
 *
 * main data:	VdbChangeRecord; if VDB_RECORD_CONFLICT, uint32: newest removed transaction id,
 *				for recovery conflicts; nlocks uint16 block lock numbers; if VDB_RECORD_EXTEND,
 *				uint32: number of blocks that the files must have; if VDB_RECORD_EVENT, the event
 *				for logical decoding, up to the end (decode/decode_format.h).
 * per block:	packed spans; or no data, which means that what the block holds counts no more.
 *
 * A span consists of a uint16 address (the offset in the block in the low 13 bits, the phase in the
 * next two, the zero flag in bit 15), a uint16 length, and, unless the zero flag is set, the bytes.
 * Spans are applied in ascending order of phase, within a phase by block, within a block in order.
 *
 * A packed span begins with a byte whose low two bits are its form:
 *
 *	0 plain		The span follows as it is.
 *	1 like		The span is a 'row': phase 1, not zero, at least 32 bytes.  There follow:
 *				- the uint16 address, if bit 2 is set; otherwise the row begins where the last
 *				  row of the block ended, rounded up to 8
 *				- the uint16 length, if bit 3 is set; otherwise the last row's length
 *				- a uint32 mask of those of the first 32 bytes that differ from the last row's
 *				  (from zeroes, if there is none)
 *				- the bytes that differ
 *				- the bytes from the 33rd on.  If bit 4 is set, the last four are missing: they
 *				  are the checksum of a row version of at least 36 bytes whose t_ctid is its own
 *				  row number (scm_row.h).
 *	2 next		The span is a 'slot': phase 2, not zero, two bytes long, beginning where the last
 *				slot of the block ended.  There follows its value less the last slot's, modulo
 *				65536, as uint16 if bit 2 is set, otherwise as uint8.
 *
 * A row or slot in plain form also counts as the last one.  Numbers are in the host's byte order,
 * as in all WAL.
 */
#define VDB_RMGR_ID				178
#define VDB_RMGR_NAME			"vdb_am"

#define VDB_XLOG_CHANGE			0x00
#define VDB_XLOG_STRUCTURE		0x10
/* record about one ordinary page; pages_format.h defines its data */
#define VDB_XLOG_PAGE			0x20

/* event for logical decoding alone, without blocks (decode/decode_format.h) */
#define VDB_XLOG_EVENT			0x30

#define VDB_RECORD_VERSION		6
#define VDB_RECORD_FLUSH		0x01	/* flush before applying */
#define VDB_RECORD_EXTEND		0x02
#define VDB_RECORD_EVENT		0x04
#define VDB_RECORD_CONFLICT		0x08
#define VDB_RECORD_BACK			0x10	/* redo first allocates space for the segments whose state
										 * words the record stores */
#define VDB_RECORD_RELEASE		0x20	/* it releases segments */

/* Head of a change record's main data. */
typedef struct VdbChangeRecord
{
	uint8		version;			/* VDB_RECORD_VERSION */
	uint8		flags;				/* VDB_RECORD_* */
	uint16		nlocks;				/* number of block locks that follow */
} VdbChangeRecord;

StaticAssertDecl(sizeof(VdbChangeRecord) == 4, "change record layout");

/* Header of a span. */
typedef struct VdbSpanHeader
{
	uint16		address;			/* offset, phase, zero flag */
	uint16		length;				/* bytes that the span stores */
} VdbSpanHeader;

StaticAssertDecl(sizeof(VdbSpanHeader) == 4, "span header layout");

/* Phases of a change, in the order in which they are applied. */
#define VDB_PHASE_USE			0	/* allocation maps: units become used */
#define VDB_PHASE_STORE			1
#define VDB_PHASE_PUBLISH		2
#define VDB_PHASE_LAST			3	/* allocation maps: units become free; the header's start_id;
									 * what says that something was freed */
#define VDB_PHASES				4

#define VDB_SPAN_OFFSET(address)	((address) & 0x1FFF)
#define VDB_SPAN_PHASE(address)	(((address) >> 13) & 0x03)
#define VDB_SPAN_IS_ZERO(address) (((address) & 0x8000) != 0)
#define VDB_SPAN_ADDRESS(offset, phase, zero) \
	((uint16) ((offset) | ((phase) << 13) | ((zero) ? 0x8000 : 0)))

/* Forms and limits of packed spans. */
#define VDB_PACK_FORM			0x03
#define VDB_PACK_PLAIN			0
#define VDB_PACK_LIKE			1
#define VDB_PACK_NEXT			2
#define VDB_PACK_HEAD			32	/* bytes compared with the last row's */
#define VDB_PACK_MOST			26	/* if more of them differ, the plain form is used */

/*
 * The file vdb_am.ends of the data directory records where recoveries of the cluster ended.  It has
 * two equal copies of 16384 bytes, the first at byte 0.  If both are intact, the one with the
 * greater sequence counts.  Each consists of a header and 'count' ends, oldest first; the rest is
 * zero.  Magic and version are at the same place in all versions of the file.
 */
#define VDB_ENDS_FILE			"vdb_am.ends"
#define VDB_ENDS_MAGIC			"VDBENDS"	/* not terminated */
#define VDB_ENDS_VERSION		3
#define VDB_ENDS_COPIES			2
#define VDB_ENDS_MAX			1022

/* Header of a copy. */
typedef struct VdbEndsHeader
{
	char		magic[7];			/* 0 */
	uint8		version;			/* 7: VDB_ENDS_VERSION */
	uint32		crc;				/* 8: CRC-32C of the copy from byte 12 on */
	uint32		count;				/* 12 */
	uint64		sequence;			/* 16: rises whenever the file is written */
	uint64		known_since;		/* 24: ends up to this WAL position may be missing */
} VdbEndsHeader;

/* End of one recovery. */
typedef struct VdbEnd
{
	uint64		lsn;				/* 0: end of the last record redone; odd if preliminary */
	VdbEpochLimits next;			/* 8: next transaction id and multixact id then */
} VdbEnd;

/* One copy. */
typedef struct VdbEndsCopy
{
	VdbEndsHeader head;
	VdbEnd		ends[VDB_ENDS_MAX];
} VdbEndsCopy;

#define VDB_ENDS_CRC_FROM		offsetof(VdbEndsHeader, count)

StaticAssertDecl(sizeof(VdbEndsHeader) == 32, "ends file layout");
StaticAssertDecl(sizeof(VdbEnd) == 16, "ends file layout");
StaticAssertDecl(sizeof(VdbEndsCopy) == 16384, "ends file layout");

#endif							/* VDB_SCM_FORMAT_H */
