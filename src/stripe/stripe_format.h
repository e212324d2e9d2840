/*-------------------------------------------------------------------------
 *
 * stripe_format.h
 *	  The bytes of a stripe; README.md describes the layout in prose.
 *
 * All offsets count from the stripe's first byte in its run of pages.  The
 * parts follow each other in this order, each filled up to 8 bytes by zeros:
 *
 *	index:	VdbStripeHeader
 *			VdbStripeLb[nlbs]			logical blocks, rising
 *			uint64[nbitmaps][4]			presence, for LBs that are not dense
 *			VdbStripeXmins[nxmins]		blocks of runs of xmin and cmin ...
 *			... and their vectors		three for each block, codec format
 *			VdbStripeChunk[nchunks]
 *			VdbStripeColumn[ncolumns]
 *			VdbStripePiece[nchunks * ncolumns]	chunk-major
 *			VdbStripeVector[nvectors]	in the order of the places
 *	zones:	VdbZone[nchunks * ncolumns]	chunk-major
 *	data:	vectors in codec format, each at a multiple of 8; column-major:
 *			all chunks of column 1, then of column 2, ...
 *
 * A change of meaning takes a new version; numbers are never reused.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_STRIPE_FORMAT_H
#define VDB_STRIPE_FORMAT_H

#include "stripe/stripe.h"

#ifdef WORDS_BIGENDIAN
#error "the stripe format is little-endian"
#endif

#define VDB_STRIPE_MAGIC		0x52545356	/* "VSTR" on media */
#define VDB_STRIPE_VERSION		1

/* Bounds that a reader checks a header against before it trusts the header's numbers. */
#define VDB_STRIPE_MAX_CHUNKS	65535
#define VDB_STRIPE_MAX_INDEX	(512 * 1024 * 1024)

/* Header of a stripe. */
typedef struct VdbStripeHeader
{
	uint32		magic;				/* 0: VDB_STRIPE_MAGIC */
	uint16		version;			/* 4: VDB_STRIPE_VERSION */
	uint16		flags;				/* 6: zero */
	uint32		stripe_id;			/* 8: never used twice in its table */
	uint32		range;				/* 12: 65,536 row numbers, from range << 16 */
	uint64		identity;			/* 16: identity of the storage, as in its metapage */
	uint32		nrows;				/* 24 */
	uint32		nchunks;			/* 28 */
	uint16		ncolumns;			/* 32: natts when it was written */
	uint16		nlbs;				/* 34: logical blocks covered */
	uint16		nbitmaps;			/* 36: LBs that are neither dense nor empty */
	uint16		nxmins;				/* 38: blocks of xmin runs */
	uint32		nvectors;			/* 40: of all columns */
	uint32		xmins_bytes;		/* 44: bytes of the vectors of the xmin blocks */
	TransactionId min_xmin;			/* 48: smallest normal xmin; Frozen if there is none */
	TransactionId max_xmin;			/* 52: largest normal xmin; Frozen if there is none */
	uint64		row_bytes;			/* 56: bytes of the rows before encoding */
	int64		written_at;			/* 64: TimestampTz */
	uint64		total_bytes;		/* 72: bytes of the whole stripe */
	uint32		index_bytes;		/* 80 */
	uint32		zones_bytes;		/* 84 */
	uint32		zones_crc;			/* 88: CRC-32C of the zones */
	uint8		reserved[32];		/* 92: zero */
	uint32		index_crc;			/* 124: CRC-32C of the index, with zeros here */
} VdbStripeHeader;

StaticAssertDecl(sizeof(VdbStripeHeader) == 128, "stripe header is 128 bytes on media");
StaticAssertDecl(offsetof(VdbStripeHeader, identity) == 16, "identity is at 16");
StaticAssertDecl(offsetof(VdbStripeHeader, row_bytes) == 56, "row_bytes is at 56");
StaticAssertDecl(offsetof(VdbStripeHeader, zones_crc) == 88, "zones_crc is at 88");
StaticAssertDecl(offsetof(VdbStripeHeader, index_crc) == 124, "index_crc is at 124");

#define VDB_STRIPE_LB_DENSE		0x01	/* all 256 rows are there */

/* A logical block that the stripe covers. */
typedef struct VdbStripeLb
{
	uint8		lb_index;			/* in the range */
	uint8		flags;				/* VDB_STRIPE_LB_* */
	uint16		nrows;				/* 0 to 256; an LB with 1 to 255 rows has the next bitmap */
	uint32		first_pos;			/* position of its first row */
} VdbStripeLb;

StaticAssertDecl(sizeof(VdbStripeLb) == 8, "LB entry is 8 bytes on media");

/*
 * Block of up to 2048 runs of rows with equal xmin and cmin.  Three vectors of kind INT, width 4,
 * follow each other: the xmins, the cmins and the numbers of rows.
 */
typedef struct VdbStripeXmins
{
	uint32		first_pos;
	uint32		nruns;
	uint32		offset;				/* from the start of the xmin vectors */
	uint32		bytes[3];			/* of the vectors, each padded to 8 in the stream */
} VdbStripeXmins;

StaticAssertDecl(sizeof(VdbStripeXmins) == 24, "xmin block is 24 bytes on media");

typedef struct VdbStripeChunk
{
	uint32		first_pos;
	uint32		nrows;				/* 1 to 8192 */
} VdbStripeChunk;

StaticAssertDecl(sizeof(VdbStripeChunk) == 8, "chunk is 8 bytes on media");

#define VDB_COLUMN_DROPPED		0x01	/* all null, type unknown */

/* A column, as the table had it when the stripe was written. */
typedef struct VdbStripeColumn
{
	Oid			typid;				/* type when written; for information */
	int16		typlen;
	uint16		width;				/* width of values in the vectors; 0 for BYTES */
	uint8		byval;				/* 0 or 1 */
	char		align;				/* pg_type.typalign */
	uint8		kind;				/* VDB_VEC_* */
	uint8		flags;				/* VDB_COLUMN_* */
	uint32		reserved;			/* zero */
} VdbStripeColumn;

StaticAssertDecl(sizeof(VdbStripeColumn) == 16, "column is 16 bytes on media");

/* Place of one column of one chunk, which has a vector for each 2048 rows. */
typedef struct VdbStripePiece
{
	uint64		offset;
	uint64		bytes;				/* bytes of its vectors, padding included */
} VdbStripePiece;

StaticAssertDecl(sizeof(VdbStripePiece) == 16, "place is 16 bytes on media");

/* Size and checksum of a vector, whose offset follows from those before it. */
typedef struct VdbStripeVector
{
	uint32		bytes;				/* without padding */
	uint32		crc;				/* CRC-32C of these bytes */
} VdbStripeVector;

StaticAssertDecl(sizeof(VdbStripeVector) == 8, "vector is 8 bytes on media");

#endif							/* VDB_STRIPE_FORMAT_H */
