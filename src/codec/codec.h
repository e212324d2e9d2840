/*
 * codec.h
 *	  Encode a vector (up to 2048 values of one column) to bytes, and back.
 *
 * The contract, the format and the rules are in README.md.  Nothing here
 * raises an error or reads outside the bytes it is given; all failures come
 * back as VdbCodecStatus.  (vdb_codec_workspace_create may run out of memory.)
 */
#ifndef VDB_CODEC_H
#define VDB_CODEC_H

#include "codec_format.h"

#define VDB_VEC_MAX_COUNT		2048
#define VDB_VEC_MAX_BYTES		0xFFFF0000U /* payload bytes of one vector */
#define VDB_VEC_NULL_BYTES		(VDB_VEC_MAX_COUNT / 8)

/* Kinds of vectors.  They are part of the format and must not change. */
#define VDB_VEC_INT				0
#define VDB_VEC_FIXED			1
#define VDB_VEC_BYTES			2

/* Forms in which BYTES values are stored and handed out */
typedef enum VdbImageMode
{
	VDB_IMAGE_RAW,					/* payload bytes only */
	VDB_IMAGE_SHORT,				/* varlena, 1-byte header where it fits */
	VDB_IMAGE_FULL					/* varlena, always 4-byte header */
} VdbImageMode;

typedef enum VdbCodecStatus
{
	VDB_CODEC_OK,
	VDB_CODEC_TRUNCATED,			/* bytes end earlier than they say */
	VDB_CODEC_CORRUPT,				/* bytes contradict themselves */
	VDB_CODEC_VERSION,				/* format version or encoding unknown */
	VDB_CODEC_BAD_ZSTD,				/* libzstd refused the payload */
	VDB_CODEC_BAD_CRC,				/* head or frame is not what was written */
	VDB_CODEC_NO_MEMORY,			/* a buffer could not be allocated */
	VDB_CODEC_TOO_BIG,				/* input above VDB_VEC_MAX_BYTES */
	VDB_CODEC_BAD_CALL				/* arguments do not fit each other */
} VdbCodecStatus;

typedef struct VdbCodecWorkspace VdbCodecWorkspace;

/* ---- encode ---- */

/*
 * The logical vector.  Only the fields of its kind are used.  All memory belongs to the caller;
 * values at null positions are not used.
 */
typedef struct VdbVectorInput
{
	uint8		kind;				/* VDB_VEC_* */
	VdbImageMode image;				/* BYTES only */
	uint16		width;				/* INT: 1, 2, 4, 8; FIXED: bytes a value */
	uint32		count;				/* up to VDB_VEC_MAX_COUNT */
	const uint8 *nulls;				/* bit set = null; NULL = none */
	const int64 *values;			/* INT: sign-extended */
	const uint8 *data;				/* FIXED: count * width bytes */
	const uint8 *const *ptrs;		/* BYTES: payloads, without varlena header */
	const uint32 *lens;				/* BYTES: up to 1 GiB - 5 each */
} VdbVectorInput;

/* How to encode a vector. */
typedef struct VdbEncodeOptions
{
	int			force_encoding;		/* VDB_ENC_*, or -1 to choose */
	int			zstd_level;			/* 0 never, n where it pays, -n always */
} VdbEncodeOptions;

/* An encoded vector. */
typedef struct VdbEncodedVector
{
	const uint8 *bytes;				/* in the workspace, valid until its next encode */
	size_t		size_bytes;
	uint8		encoding;			/* encoding used, VDB_ENC_* */
	bool		zstd;				/* whether zstd was used */
} VdbEncodedVector;

/* Encode a vector.  Raises no error.  The bytes in *out belong to the workspace. */
extern VdbCodecStatus vdb_codec_encode(VdbCodecWorkspace *ws,
									   const VdbVectorInput *in,
									   const VdbEncodeOptions *options,
									   VdbEncodedVector *out);

/* ---- decode ---- */

/* Contents of the header, checked for plausibility */
typedef struct VdbCodecInfo
{
	uint8		encoding;
	uint8		kind;
	uint8		flags;				/* VDB_VECF_* */
	VdbImageMode image;
	uint16		width;
	uint16		count;
	uint32		payload_offset;		/* from the vector's start */
	uint32		stored_bytes;		/* bytes of the payload as stored */
	uint32		raw_bytes;			/* bytes of the payload without zstd */
	size_t		total_bytes;		/* the whole vector, without padding after it */
} VdbCodecInfo;

/* A packed section whose size has been checked */
typedef struct VdbPackedView
{
	const uint8 *words;
	size_t		bytes;				/* exactly what bits and count need */
	int64		base;
	uint64		unit;				/* unit of the fields; 0 and 1 mean the same */
	uint8		bits;
	uint16		count;
} VdbPackedView;

/* An array of by-reference values whose size has been checked */
typedef struct VdbItemsView
{
	const uint8 *data;
	uint64		data_bytes;
	uint64		slope;				/* BYTES */
	VdbPackedView starts;			/* BYTES */
	uint16		count;
} VdbItemsView;

/* An opened vector.  Plain data: no ownership, may be copied or dropped. */
typedef struct VdbVectorReader
{
	VdbCodecInfo info;
	const uint8 *payload;			/* without zstd */
	size_t		payload_bytes;
	uint64		tail_bytes;			/* of a part: raw bytes that are not in memory */
	VdbPackedView packed;			/* for, delta; rle: run values; dict: codes */
	const uint8 *run_ends;			/* rle, or dict with rle codes; else NULL */
	const uint8 *restarts;			/* delta */
	const uint8 *planes;			/* planes, highest first; base and unit in packed */
	uint8		plane_count;
	VdbPackedView entries;			/* dict of INT */
	VdbItemsView items;				/* FIXED and BYTES: values or entries */
	uint16		null_count;
	uint8		nulls[VDB_VEC_NULL_BYTES];	/* bit set = null */
} VdbVectorReader;

/* Check the header and the extent of a vector; open a vector for reading.  Raise no error. */
extern VdbCodecStatus vdb_codec_inspect(const uint8 *bytes, size_t len,
										VdbCodecInfo *info);
extern VdbCodecStatus vdb_codec_open(VdbCodecWorkspace *ws,
									 const uint8 *bytes, size_t len,
									 uint8 *buffer, size_t buffer_bytes,
									 VdbVectorReader *reader);

/* Nulls: check one position; copy the bitmap */
extern bool vdb_codec_is_null(const VdbVectorReader *reader, uint32 pos);
extern void vdb_codec_decode_nulls(const VdbVectorReader *reader,
								   uint8 *bitmap_out);

/* INT */
extern VdbCodecStatus vdb_codec_decode_int(const VdbVectorReader *reader,
										   int64 *out);
extern VdbCodecStatus vdb_codec_int_at(const VdbVectorReader *reader,
									   uint32 pos, int64 *value);

/* FIXED: return pointers into the opened bytes */
extern VdbCodecStatus vdb_codec_fixed_at(const VdbVectorReader *reader,
										 uint32 pos, const uint8 **value);
extern VdbCodecStatus vdb_codec_decode_fixed(const VdbVectorReader *reader,
											 const uint8 **values);

/*
 * BYTES: return pointers into the opened bytes.  The _at and decode functions return a value as
 * stored (in varlena modes the image, header included: PointerGetDatum of it is a Datum);
 * vdb_codec_payload_at returns the value's own bytes.
 */
extern VdbCodecStatus vdb_codec_bytes_at(const VdbVectorReader *reader,
										 uint32 pos, const uint8 **image,
										 uint32 *image_bytes);
extern VdbCodecStatus vdb_codec_payload_at(const VdbVectorReader *reader,
										   uint32 pos, const uint8 **payload,
										   uint32 *payload_bytes);
extern VdbCodecStatus vdb_codec_decode_bytes(const VdbVectorReader *reader,
											 const uint8 **images,
											 uint32 *image_bytes);

/*
 * Dictionary vectors, for filters and grouping over codes.  dict_size is 0 for
 * any other encoding.  The dict_*_at functions take a code.
 */
extern uint32 vdb_codec_dict_size(const VdbVectorReader *reader);
extern VdbCodecStatus vdb_codec_decode_codes(const VdbVectorReader *reader,
											 uint16 *codes);
extern VdbCodecStatus vdb_codec_dict_int_at(const VdbVectorReader *reader,
											uint32 code, int64 *value);
extern VdbCodecStatus vdb_codec_dict_item_at(const VdbVectorReader *reader,
											 uint32 code, const uint8 **image,
											 uint32 *image_bytes);

/* ---- single values of a vector of which only pieces are read ---- */

/* The frames of a payload, with sizes checked */
typedef struct VdbFramesView
{
	const uint8 *table;				/* array of VdbFrame, with any alignment */
	uint32		count;				/* number of frames, frame 0 (the head) included */
	uint8		shift;
	uint64		head_bytes;			/* raw bytes of the head */
	uint64		tail_bytes;			/* raw bytes of the other frames; 0: there is only the head */
	uint64		stored_offset;		/* offset of frame 0 from the vector's start */
	uint64		stored_bytes;		/* stored bytes of all frames */
} VdbFramesView;

/*
 * A vector of which the head is in memory: nulls, codes, offsets.  'reader' gives nulls and codes;
 * values are read by vdb_codec_part_*_at.  If frames.tail_bytes is 0 it is a reader like any other.
 */
typedef struct VdbVectorPart
{
	VdbVectorReader reader;
	VdbFramesView frames;
} VdbVectorPart;

/* Sizes that a part needs */
typedef struct VdbPartSize
{
	size_t		need_bytes;			/* bytes of the vector, from its start */
	size_t		keep_bytes;			/* bytes of a buffer; set once need_bytes are given */
	uint32		frames;				/* number of frames, head included; set likewise; 0: not in
									 * frames */
} VdbPartSize;

/* The place of a frame */
typedef struct VdbFrameAddress
{
	uint64		offset;				/* from the vector's start */
	uint32		stored_bytes;
	uint32		raw_bytes;
} VdbFrameAddress;

/*
 * Measure how many bytes of a vector a part needs; open these; find a frame; check and unpack a
 * frame.
 */
extern VdbCodecStatus vdb_codec_part_measure(const uint8 *bytes, size_t len,
											 VdbPartSize *size);
extern VdbCodecStatus vdb_codec_part_open(VdbCodecWorkspace *ws,
										  const uint8 *bytes, size_t len,
										  uint8 *keep, size_t keep_bytes,
										  VdbVectorPart *part);
extern VdbCodecStatus vdb_codec_part_frame(const VdbVectorPart *part,
										   uint32 frame, VdbFrameAddress *address);
extern VdbCodecStatus vdb_codec_part_unpack(VdbCodecWorkspace *ws,
											const VdbVectorPart *part,
											uint32 frame, const uint8 *stored,
											uint8 *to);

/*
 * Make a part refer to a copy of the bytes that it was opened on (all of them: 'keep', or the whole
 * vector).  The copy is 'by' bytes further on.
 */
extern void vdb_codec_part_moved(VdbVectorPart *part, ptrdiff_t by);

/*
 * Callback by which the caller provides a frame: its raw bytes, at a multiple of 8, valid until the
 * next call at least.  It may raise an error; the codec then has nothing to undo.
 */
typedef VdbCodecStatus (*VdbFrameGet) (void *arg, uint32 frame,
									   const uint8 **raw);

/* Read one value of a part.  'get' is called for the frames that have it. */
extern VdbCodecStatus vdb_codec_part_int_at(const VdbVectorPart *part,
											uint32 pos, VdbFrameGet get,
											void *arg, int64 *value);
extern VdbCodecStatus vdb_codec_part_fixed_at(VdbCodecWorkspace *ws,
											  const VdbVectorPart *part,
											  uint32 pos, VdbFrameGet get,
											  void *arg, const uint8 **value);
extern VdbCodecStatus vdb_codec_part_bytes_at(VdbCodecWorkspace *ws,
											  const VdbVectorPart *part,
											  uint32 pos, VdbFrameGet get,
											  void *arg, const uint8 **image,
											  uint32 *image_bytes);

/* ---- workspace ---- */

/*
 * Create a workspace, and free it.  In the server a workspace is a child of CurrentMemoryContext
 * and is freed with it at the latest; vdb_codec_workspace_free frees it sooner.
 */
extern VdbCodecWorkspace *vdb_codec_workspace_create(void);
extern void vdb_codec_workspace_free(VdbCodecWorkspace *ws);

/* ---- names ---- */

extern const char *vdb_codec_encoding_name(int encoding);
extern int	vdb_codec_encoding_number(const char *name);
extern const char *vdb_codec_label(int encoding, bool zstd);
extern const char *vdb_codec_status_text(VdbCodecStatus status);

#endif							/* VDB_CODEC_H */
