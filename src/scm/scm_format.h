/*-------------------------------------------------------------------------
 *
 * scm_format.h
 *	  The pool on its medium, and its WAL record, byte by byte.
 *
 * The pool is the main fork of vdb.scm: blocks of 8192 bytes, of which bytes
 * 0..23 are always zero.  A segment is 8 blocks, a group 480 segments.  The
 * first segment of each group is metadata: its block 1 is the group's map.
 * In group 0 block 0 is the pool's header and blocks 2..7 are the ring of
 * epochs.  All numbers are in the host's byte order.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_SCM_FORMAT_H
#define VDB_SCM_FORMAT_H

#include "scm/scm.h"

#define VDB_POOL_MAGIC			VDB_POOL_MAGIC_TEXT
#define VDB_POOL_VERSION		4

#define VDB_GROUP_SEGMENTS		480
#define VDB_GROUP_BLOCKS		(VDB_GROUP_SEGMENTS * VDB_SEGMENT_BLOCKS)
#define VDB_GROUP_MAP_BLOCK		1		/* in each group */

#define VDB_RING_FIRST_BLOCK	2		/* in group 0 */
#define VDB_RING_BLOCKS			6
#define VDB_RING_BLOCK_ENTRIES	(VDB_POOL_BLOCK_PAYLOAD / 8)
#define VDB_RING_ENTRIES		(VDB_RING_BLOCKS * VDB_RING_BLOCK_ENTRIES)

/*
 * Header, at byte 24 of block 0.  The first 40 bytes never change and are
 * covered by 'crc'; the rest changes by logged changes, field by field.
 */
typedef struct VdbPoolHeader
{
	char		magic[8];		/* 0: VDB_POOL_MAGIC, not terminated */
	uint32		version;		/* 8: VDB_POOL_VERSION */
	uint32		block_bytes;	/* 12 */
	uint32		segment_blocks; /* 16 */
	uint32		group_segments; /* 20 */
	uint32		relnode;		/* 24: the file's own relfilenode */
	uint32		ring_entries;	/* 28 */
	uint64		pool_id;		/* 32: random, one per created pool */
	uint32		crc;			/* 40: CRC-32C of bytes 0..39 */
	uint32		total_segments; /* 44: the file is at least as long */
	uint32		epoch;			/* 48: the current one, from 1 */
	uint32		ring_start;		/* 52: oldest epoch in the ring */
	uint64		start_id;		/* 56: run of the server that began 'epoch' */
	uint32		directory;		/* 64: map/'s first directory block or 0 */
	uint32		recovered;		/* 68: latest epoch begun after a recovery, or 0 */
	uint64		begin_lsn;		/* 72: WAL insert position when 'epoch' began */
} VdbPoolHeader;

StaticAssertDecl(sizeof(VdbPoolHeader) == 80, "pool header layout");
StaticAssertDecl(offsetof(VdbPoolHeader, crc) == 40, "pool header layout");
StaticAssertDecl(offsetof(VdbPoolHeader, start_id) == 56, "pool header layout");

/*
 * Allocation map of a group, at byte 24 of its block 1.  One 8-byte word per
 * segment, one byte of it per block, block 0 first.  A state byte: 0 free, 1
 * single block in use, 2 first block of a segment in use, 3 further block of
 * one.  A reserved byte (volatile: cleared when an epoch begins, not
 * logged): 0 not reserved, 1 single block, 2 part of a segment.
 */
typedef struct VdbGroupMap
{
	uint64		state[VDB_GROUP_SEGMENTS];
	uint64		reserved[VDB_GROUP_SEGMENTS];
} VdbGroupMap;

StaticAssertDecl(sizeof(VdbGroupMap) == 7680, "group map layout");
StaticAssertDecl(sizeof(VdbGroupMap) <= VDB_POOL_BLOCK_PAYLOAD, "group map fits");

/*
 * Ring of epochs: entry i % VDB_RING_ENTRIES, 8 bytes each, is the full
 * transaction id from which on epoch i knew nothing.  Valid for i from
 * ring_start to epoch - 1.
 */

/*
 * WAL: resource manager VDB_RMGR_ID.  One record kind, in two variants by
 * xl_info (the variant equals the flag, and only serves tools):
 *
 * main data:	VdbChangeRecord; if VDB_RECORD_CONFLICT, uint32: newest transaction id
 *				that standbys must have forgotten; nlocks uint16 block lock numbers; if
 *				VDB_RECORD_EXTEND, uint32: blocks the file must have; then, if VDB_RECORD_EVENT,
 *				what it says to logical decoding, up to the end (decode/decode_format.h).
 * per block:	packed spans.
 *
 * A span is a uint16 place (offset in the block, low 13 bits; phase << 13; zero
 * flag at bit 15), uint16 length, and the bytes unless the zero flag is set.
 * Spans are applied by rising phase; within a phase by block, in order.
 *
 * A packed span begins with a byte whose low two bits are its form:
 *
 *	0 plain		the span follows as it is.
 *	1 like		a 'row': phase 1, not zero, at least 32 bytes.  uint16 place if
 *				bit 2 is set, else where the last row of the block ended, rounded up
 *				to 8; uint16 length if bit 3 is set, else the last row's; uint32:
 *				which of the first 32 bytes differ from the last row's (zeroes,
 *				if there is none); these bytes; the bytes from the 33rd on, but,
 *				if bit 4 is set, without the last four: these are the checksum of a
 *				row version of at least 36 bytes that t_ctid names (scm_row.h).
 *	2 next		a 'slot': phase 2, not zero, two bytes long, beginning where the
 *				last slot of the block ended.  Its value less the last slot's, modulo
 *				65536, as uint16 if bit 2 is set, else as uint8.
 *
 * Rows and slots that stand as plain spans count as the last ones, too.  Numbers
 * are in the machine's byte order, as in all WAL.
 */
#define VDB_RMGR_ID				178
#define VDB_RMGR_NAME			"vdb_am"

#define VDB_XLOG_CHANGE			0x00
#define VDB_XLOG_STRUCTURE		0x10
/* of an ordinary page, one block: the rest is pages/'s (pages_format.h) */
#define VDB_XLOG_PAGE			0x20

/* for logical decoding alone, no block (decode/decode_format.h) */
#define VDB_XLOG_EVENT			0x30

#define VDB_RECORD_VERSION		4
#define VDB_RECORD_FLUSH		0x01	/* flush before applying */
#define VDB_RECORD_EXTEND		0x02
#define VDB_RECORD_EVENT		0x04
#define VDB_RECORD_CONFLICT		0x08

typedef struct VdbChangeRecord
{
	uint8		version;		/* VDB_RECORD_VERSION */
	uint8		flags;			/* VDB_RECORD_* */
	uint16		nlocks;
} VdbChangeRecord;

StaticAssertDecl(sizeof(VdbChangeRecord) == 4, "change record layout");

typedef struct VdbSpanHeader
{
	uint16		address;		/* offset, phase, zero flag */
	uint16		length;
} VdbSpanHeader;

StaticAssertDecl(sizeof(VdbSpanHeader) == 4, "span header layout");

#define VDB_PHASE_USE			0	/* allocation: in use */
#define VDB_PHASE_STORE			1
#define VDB_PHASE_PUBLISH		2
#define VDB_PHASE_LAST			3	/* allocation: free; the header's start_id */
#define VDB_PHASES				4

#define VDB_SPAN_OFFSET(address)	((address) & 0x1FFF)
#define VDB_SPAN_PHASE(address)	(((address) >> 13) & 0x03)
#define VDB_SPAN_IS_ZERO(address) (((address) & 0x8000) != 0)
#define VDB_SPAN_PLACE(offset, phase, zero) \
	((uint16) ((offset) | ((phase) << 13) | ((zero) ? 0x8000 : 0)))

/* Packed spans. */
#define VDB_PACK_FORM			0x03
#define VDB_PACK_PLAIN			0
#define VDB_PACK_LIKE			1
#define VDB_PACK_NEXT			2
#define VDB_PACK_HEAD			32	/* bytes compared with the last row's */
#define VDB_PACK_MOST			26	/* with more that differ, plain is no longer */

/*
 * Where recoveries of the cluster ended: the file vdb_am.ends of the data
 * directory.  Two equal copies, 16384 bytes each, the first at byte 0; of two
 * good ones the greater sequence counts.  Each is a header and 'count' ends,
 * oldest first; the rest is zero.  Magic and version stand where they do in all versions.
 */
#define VDB_ENDS_FILE			"vdb_am.ends"
#define VDB_ENDS_MAGIC			"VDBENDS"	/* not terminated */
#define VDB_ENDS_VERSION		2
#define VDB_ENDS_COPIES			2
#define VDB_ENDS_MAX			1022

typedef struct VdbEndsHeader
{
	char		magic[7];		/* 0 */
	uint8		version;		/* 7: VDB_ENDS_VERSION */
	uint32		crc;			/* 8: CRC-32C of the copy from byte 12 on */
	uint32		count;			/* 12 */
	uint64		sequence;		/* 16: rises whenever the file is written */
	uint64		known_since;	/* 24: ends up to this position in WAL may be missing */
} VdbEndsHeader;

typedef struct VdbEnd
{
	uint64		lsn;			/* 0: end of the last record that was redone; odd: preliminary */
	uint64		next_xid;		/* 8: full transaction id */
} VdbEnd;

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
