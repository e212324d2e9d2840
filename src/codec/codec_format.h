/*
 * codec_format.h
 *	  The bytes of an encoded vector; README.md describes the layout.
 *
 * Nothing here may change its meaning within a format version, and a number is never used again for
 * something else.
 */
#ifndef VDB_CODEC_FORMAT_H
#define VDB_CODEC_FORMAT_H

#include "codec_port.h"

#ifdef WORDS_BIGENDIAN
#error "the vector format is little-endian"
#endif

#define VDB_CODEC_FORMAT_VERSION	1

/* Encodings.  Their names are in codec_table.c, in this order. */
#define VDB_ENC_PLAIN		0
#define VDB_ENC_CONSTANT	1
#define VDB_ENC_RLE			2
#define VDB_ENC_FOR			3
#define VDB_ENC_DELTA		4
#define VDB_ENC_DICT		5
#define VDB_ENC_ALLNULL		6
#define VDB_ENC_PLANES		7
#define VDB_ENC_COUNT		8

/* VdbVectorHeader.flags */
#define VDB_VECF_ZSTD			0x01	/* payload is stored in frames */
#define VDB_VECF_NULLS			0x02	/* a null section follows the header */
#define VDB_VECF_ALL_NULL		0x04	/* every position is null, no section */
#define VDB_VECF_NULLS_RLE		0x08	/* the null section is run-length */
#define VDB_VECF_VARLENA		0x10	/* BYTES items are varlena images */
#define VDB_VECF_VARLENA_FULL	0x20	/* ... all of them with 4-byte header */
#define VDB_VECF_KNOWN			0x3F

/* Header of a vector */
typedef struct VdbVectorHeader
{
	uint8		version;			/* VDB_CODEC_FORMAT_VERSION */
	uint8		encoding;			/* VDB_ENC_* */
	uint8		flags;				/* VDB_VECF_* */
	uint8		kind;				/* VDB_VEC_* */
	uint16		count;				/* positions, nulls included */
	uint16		width;				/* bytes a value; 0 for BYTES */
	uint32		stored_bytes;		/* bytes of the payload as stored */
	uint32		raw_bytes;			/* bytes of the payload without zstd */
} VdbVectorHeader;

/* Header of a packed section */
typedef struct VdbPackedHeader
{
	int64		base;				/* added to each field, modulo 2^64 */
	uint8		bits;				/* per field, 0 to 64 */
	uint8		flags;				/* VDB_PACKF_* */
	uint16		count;				/* fields */
	uint32		zero;
} VdbPackedHeader;

/* VdbPackedHeader.flags */
#define VDB_PACKF_UNIT			0x01	/* uint64 follows: each field times this */

/* Header of an items section */
typedef struct VdbItemsHeader
{
	uint64		slope;				/* 1/256 bytes per item */
	uint64		data_bytes;			/* bytes after the packed offsets */
} VdbItemsHeader;

/* Header of a dictionary's payload */
typedef struct VdbDictHeader
{
	uint16		entries;
	uint8		code_encoding;		/* VDB_ENC_FOR or VDB_ENC_RLE */
	uint8		zero;
	uint32		code_bytes;			/* padded to 8 */
} VdbDictHeader;

/* Header of a planes payload */
typedef struct VdbPlanesHeader
{
	int64		base;
	uint64		unit;				/* at least 1 */
	uint8		planes;				/* 1 to 8 */
	uint8		zero1;
	uint16		zero2;
	uint32		zero3;
} VdbPlanesHeader;

/*
 * Payload with VDB_VECF_ZSTD: this, then a VdbFrame per frame, then the frames.
 * Frame 0 is the head; the others divide the rest into equal parts.
 */
typedef struct VdbFrameHeader
{
	uint32		head_bytes;			/* of the raw payload, in frame 0 */
	/* the others have 1 << shift raw bytes, the last one the rest */
	uint8		shift;
	uint8		zero1;
	uint16		zero2;
	uint32		zero3;
	uint32		crc;				/* CRC-32C from the vector's start to here, and of the table */
} VdbFrameHeader;

/* A frame that takes as many bytes as it has raw ones is stored as it is, any other is zstd. */
typedef struct VdbFrame
{
	uint32		end;				/* of its stored bytes, counted from the table's end */
	uint32		crc;				/* CRC-32C of its stored bytes */
} VdbFrame;

#define VDB_FRAME_SHIFT_MIN		12
#define VDB_FRAME_SHIFT_MAX		22	/* with the next: enough for the largest vector */
#define VDB_FRAMES_MAX			1025	/* the head included */

#define VDB_PACK_BLOCK			256 /* values a packed block */
#define VDB_PACK_ROW_BYTES		32	/* one word of every lane */
#define VDB_DELTA_RESTART		128 /* positions between restart values */

/* varlena headers as PostgreSQL writes them on little-endian machines */
#define VDB_IMAGE_SHORT_MAX		0x7F	/* total bytes, header included */
#define VDB_IMAGE_EMPTY_SHORT	0x03	/* one byte: header of an empty value */

StaticAssertDecl(sizeof(VdbVectorHeader) == 16, "vector header is 16 bytes");
StaticAssertDecl(offsetof(VdbVectorHeader, count) == 4, "count is at 4");
StaticAssertDecl(offsetof(VdbVectorHeader, raw_bytes) == 12, "raw_bytes is at 12");
StaticAssertDecl(sizeof(VdbPackedHeader) == 16, "packed header is 16 bytes");
StaticAssertDecl(offsetof(VdbPackedHeader, count) == 10, "count is at 10");
StaticAssertDecl(sizeof(VdbItemsHeader) == 16, "items header is 16 bytes");
StaticAssertDecl(sizeof(VdbDictHeader) == 8, "dictionary header is 8 bytes");

StaticAssertDecl(sizeof(VdbFrameHeader) == 16, "frame header is 16 bytes");
StaticAssertDecl(offsetof(VdbFrameHeader, crc) == 12, "crc is at 12");
StaticAssertDecl(sizeof(VdbFrame) == 8, "frame entry is 8 bytes");

StaticAssertDecl(VDB_ENC_PLAIN == 0, "number of plain is pinned");
StaticAssertDecl(VDB_ENC_CONSTANT == 1, "number of constant is pinned");
StaticAssertDecl(VDB_ENC_RLE == 2, "number of rle is pinned");
StaticAssertDecl(VDB_ENC_FOR == 3, "number of for is pinned");
StaticAssertDecl(VDB_ENC_DELTA == 4, "number of delta is pinned");
StaticAssertDecl(VDB_ENC_DICT == 5, "number of dictionary is pinned");
StaticAssertDecl(VDB_ENC_ALLNULL == 6, "number of allnull is pinned");
StaticAssertDecl(VDB_ENC_PLANES == 7, "number of planes is pinned");
StaticAssertDecl(sizeof(VdbPlanesHeader) == 24, "planes header is 24 bytes");

#endif							/* VDB_CODEC_FORMAT_H */
