/*-------------------------------------------------------------------------
 *
 * decode_format.h
 *	  What WAL has for logical decoding, byte by byte.
 *
 * An event stands at the end of the main data of a change's record, if this has VDB_RECORD_EVENT
 * (scm_format.h, which has the version, too).  It is not aligned:
 *
 *	uint8	what: kind (VDB_EVENT_KIND), flags, what there is of the old row (VDB_EVENT_OLD)
 *	uint32	the table's file number
 *	uint32	its tablespace, if VDB_EVENT_TABLESPACE; else the database's
 *	list	of attribute numbers, if VDB_EVENT_UNCHANGED
 *	old row, if there is one:
 *		VDB_OLD_KEY		number: attributes of a row; list: which follow, others being null; data, laid
 *						out as in a heap tuple
 *		VDB_OLD_ROW		VdbEventTuple, then the tuple's bytes from t_bits on
 *		VDB_OLD_CHUNKS	uint32: bytes of the same, logged before in records VDB_XLOG_EVENT
 *
 * A number is a uint8, or 255 and a uint16.  A list is a number of numbers, and these.
 *
 * The new row of an update is the first span of the record's first block.  New rows of an insertion
 * are all spans of phase 1, in the order of blocks and spans.  Each span is a row as in a segment
 * (rows_format.h).
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_DECODE_FORMAT_H
#define VDB_DECODE_FORMAT_H

#include "postgres_ext.h"

#define VDB_EVENT_KIND(what)	((what) & 0x07)
#define VDB_EVENT_INSERT		0
#define VDB_EVENT_SPECULATIVE	1	/* insertion, to be confirmed or taken back */
#define VDB_EVENT_UPDATE		2
#define VDB_EVENT_DELETE		3
#define VDB_EVENT_CONFIRM		4
#define VDB_EVENT_TAKE_BACK		5

#define VDB_EVENT_TABLESPACE	0x08
#define VDB_EVENT_UNCHANGED		0x10

#define VDB_EVENT_OLD(what)		((what) & 0x60)
#define VDB_OLD_NONE			0x00
#define VDB_OLD_KEY				0x20
#define VDB_OLD_ROW				0x40
#define VDB_OLD_CHUNKS			0x60

#define VDB_EVENT_LEAST			5	/* bytes */
#define VDB_EVENT_WIDE_NUMBER	255

/* What a tuple's header says of its data. */
typedef struct VdbEventTuple
{
	uint16		infomask2;
	uint16		infomask;
	uint8		hoff;
} VdbEventTuple;

#define VDB_EVENT_TUPLE_BYTES	5	/* without padding */

/* Main data of a record VDB_XLOG_EVENT, before the chunk's bytes.  It touches no block. */
#define VDB_CHUNK_VERSION		1

typedef struct VdbChunkRecord
{
	uint8		version;			/* 0: VDB_CHUNK_VERSION */
	uint8		first;				/* 1: 1 for the first chunk of a row */
	uint16		pad;				/* 2: zero */
	Oid			spc_oid;			/* 4: the table's file */
	Oid			db_oid;				/* 8 */
	uint32		rel_number;			/* 12 */
	uint32		total;				/* 16: bytes of all chunks of the row */
} VdbChunkRecord;

StaticAssertDecl(sizeof(VdbChunkRecord) == 20, "chunk record is 20 bytes in WAL");

#define VDB_CHUNK_BYTES			8168	/* of a chunk; the last may have fewer */

/* An old row that is longer is logged in chunks. */
#define VDB_OLD_INLINE			8168

#endif							/* VDB_DECODE_FORMAT_H */
