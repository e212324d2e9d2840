/*-------------------------------------------------------------------------
 *
 * decode_format.h
 *	  Formats of the bytes in WAL that serve logical decoding alone.
 *
 * An event is the end of the main data of a change's record, if the record has VDB_RECORD_EVENT set
 * (scm_format.h, which has the version, too).  It is not aligned:
 *
 *	uint8	what: kind (VDB_EVENT_KIND), form of the old row (VDB_EVENT_OLD), flags
 *	uint32	the table's file number
 *	uint32	its tablespace, if VDB_EVENT_TABLESPACE; else the database's
 *	list	of attribute numbers, if VDB_EVENT_UNCHANGED
 *	old row, if there is one:
 *		VDB_OLD_KEY		number: attributes of a row; list: the key's attributes, others being null;
 *						data, laid out as in a heap tuple
 *		VDB_OLD_ROW		VdbEventTuple, then the tuple's bytes from t_bits on
 *		VDB_OLD_CHUNKS	uint32: length of what VDB_OLD_ROW would have, which records VDB_XLOG_EVENT
 *						have brought before
 *
 * A number is a uint8, or 255 and a uint16.  A list is the count of its members, then the members,
 * all of them numbers.
 *
 * The new row of an update is the first span of the record's first block.  The new rows of an
 * insertion are all spans of phase 1, in the order of blocks and spans.  Each span is a row as in a
 * segment (rows_format.h).
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

#define VDB_EVENT_TABLESPACE	0x08	/* the tablespace follows the file number */
#define VDB_EVENT_UNCHANGED		0x10	/* a list of unchanged columns follows */

#define VDB_EVENT_OLD(what)		((what) & 0x60)
#define VDB_OLD_NONE			0x00
#define VDB_OLD_KEY				0x20
#define VDB_OLD_ROW				0x40
#define VDB_OLD_CHUNKS			0x60

#define VDB_EVENT_MORE			0x80	/* the batch goes on in another record */

#define VDB_EVENT_LEAST			5	/* bytes of the shortest event */
#define VDB_EVENT_WIDE_NUMBER	255 /* the number is in the next two bytes */

/* The fields of a tuple's header that describe its data. */
typedef struct VdbEventTuple
{
	uint16		infomask2;			/* 0: number of attributes */
	uint16		infomask;			/* 2: without the bits about transactions */
	uint8		hoff;				/* 4 */
} VdbEventTuple;

#define VDB_EVENT_TUPLE_BYTES	5	/* without padding */

/* Main data of a record VDB_XLOG_EVENT.  The chunk's bytes follow; the record has no blocks. */
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

#define VDB_CHUNK_BYTES			8168	/* bytes of a chunk; the last may have fewer */

/* An old row that needs more bytes than this is logged in chunks. */
#define VDB_OLD_INLINE			8168

#endif							/* VDB_DECODE_FORMAT_H */
