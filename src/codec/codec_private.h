/*
 * codec_private.h
 *	  Internals of the codecs: the bounded reader and writer, the encode plan, the methods of an
 *	  encoding.
 */
#ifndef VDB_CODEC_PRIVATE_H
#define VDB_CODEC_PRIVATE_H

#include "codec.h"

#define VDB_ALIGN8(n)		(((uint64) (n) + 7) & ~(uint64) 7)
#define VDB_NOT_APPLICABLE	UINT64_MAX	/* measure: cannot encode this */

/* ---- the reader, through which all bytes are read ---- */

/* Bytes that are still to be read. */
typedef struct VdbByteReader
{
	const uint8 *at;
	const uint8 *end;
} VdbByteReader;

static inline uint64
vdb_bytes_left(const VdbByteReader *reader)
{
	return (uint64) (reader->end - reader->at);
}

/* Return the next n bytes, or NULL if there are fewer. */
static inline const uint8 *
vdb_bytes_take(VdbByteReader *reader, uint64 n)
{
	const uint8 *taken = reader->at;

	Assert(reader->at <= reader->end);
	if (n > vdb_bytes_left(reader))
		return NULL;
	reader->at += n;
	return taken;
}

/* Copy the next n bytes to a struct; return false if there are fewer. */
static inline bool
vdb_bytes_copy(VdbByteReader *reader, void *to, uint64 n)
{
	const uint8 *taken = vdb_bytes_take(reader, n);

	if (taken == NULL)
		return false;
	memcpy(to, taken, n);
	return true;
}

/* Skip n bytes, which must be zero. */
static inline bool
vdb_bytes_take_zero(VdbByteReader *reader, uint64 n)
{
	const uint8 *taken = vdb_bytes_take(reader, n);

	if (taken == NULL)
		return false;
	for (uint64 i = 0; i < n; i++)
	{
		if (taken[i] != 0)
			return false;
	}
	return true;
}

/* ---- the writer, for which room has been measured ---- */

/* Room that is still to be written. */
typedef struct VdbByteWriter
{
	uint8	   *start;				/* at a multiple of 8 */
	uint8	   *at;
	uint8	   *end;
} VdbByteWriter;

static inline uint8 *
vdb_bytes_room(VdbByteWriter *writer, uint64 n)
{
	uint8	   *room = writer->at;

	Assert(n <= (uint64) (writer->end - writer->at));
	writer->at += n;
	return room;
}

static inline void
vdb_bytes_put(VdbByteWriter *writer, const void *from, uint64 n)
{
	uint8	   *room = vdb_bytes_room(writer, n);

	if (n > 0)
		memcpy(room, from, n);
}

/* Write zero bytes up to a multiple of 8 from the start. */
static inline void
vdb_bytes_pad8(VdbByteWriter *writer)
{
	uint64		done = (uint64) (writer->at - writer->start);
	uint64		pad = VDB_ALIGN8(done) - done;

	Assert(writer->start <= writer->at);
	memset(vdb_bytes_room(writer, pad), 0, pad);
}

static inline uint16
vdb_load_u16(const uint8 *from)
{
	uint16		value;

	memcpy(&value, from, sizeof(value));
	return value;
}

static inline int64
vdb_load_i64(const uint8 *from)
{
	int64		value;

	memcpy(&value, from, sizeof(value));
	return value;
}

static inline bool
vdb_bit_is_set(const uint8 *bitmap, uint32 pos)
{
	return (bitmap[pos >> 3] >> (pos & 7)) & 1;
}

/* Return the number of bits that hold every number from 0 to n. */
static inline uint8
vdb_bits_for(uint64 n)
{
	return n == 0 ? 0 : (uint8) (64 - __builtin_clzll(n));
}

/* ---- encoding ---- */

/*
 * All that the encodings need to know about the input.  In 'values' and 'codes', nulls are filled
 * in with a neighbor's value.  The dictionary part is valid when distinct > 0.
 */
typedef struct VdbEncodePlan
{
	const VdbVectorInput *in;
	uint32		count;
	uint32		null_count;
	uint32		first;				/* first position that is not null */

	const int64 *values;			/* INT, count of them */
	int64		min;
	int64		max;
	uint64		unit;				/* divides each value - min; 1 if nothing does */
	int64		delta_min;
	int64		delta_max;
	uint64		delta_unit;			/* divides each delta - delta_min */
	uint32		runs;

	uint32		distinct;			/* entries of the dictionary, 0 = none built */
	uint32		code_runs;
	uint64		code_bytes;			/* padded */
	uint8		code_encoding;
	uint16		codes[VDB_VEC_MAX_COUNT];
	uint16		entry_pos[VDB_VEC_MAX_COUNT];	/* entry -> a position of it */
} VdbEncodePlan;

/* Scratch space of one workspace; its contents last for one encode. */
#define VDB_DICT_SLOTS	(2 * VDB_VEC_MAX_COUNT)

typedef struct VdbEncodeScratch
{
	VdbEncodePlan plan;
	int64		filled[VDB_VEC_MAX_COUNT];
	uint16		slots[VDB_DICT_SLOTS];	/* entry + 1, 0 = free */
	uint64		hashes[VDB_VEC_MAX_COUNT];	/* by entry */
} VdbEncodeScratch;

#define VDB_KIND_BIT(kind)	(1 << (kind))
#define VDB_KINDS_INT		VDB_KIND_BIT(VDB_VEC_INT)
#define VDB_KINDS_ALL		(VDB_KINDS_INT | VDB_KIND_BIT(VDB_VEC_FIXED) | \
							 VDB_KIND_BIT(VDB_VEC_BYTES))

/*
 * An encoding.  measure returns the exact payload bytes, or VDB_NOT_APPLICABLE if the encoding
 * cannot be used; write fills exactly these.  open takes the payload apart and checks sizes;
 * item_of returns the item of a position of a FIXED or BYTES vector.  'pos' is below count in all
 * of them.
 */
typedef struct VdbCodecMethods
{
	const char *name;
	const char *name_zstd;
	uint8		number;
	uint8		kinds;
	uint64		(*measure) (const VdbEncodePlan *plan);
	void		(*write) (const VdbEncodePlan *plan, VdbByteWriter *writer);
	VdbCodecStatus (*open) (VdbVectorReader *reader, VdbByteReader *payload);
	VdbCodecStatus (*decode_int) (const VdbVectorReader *reader, int64 *out);
	VdbCodecStatus (*int_at) (const VdbVectorReader *reader, uint32 pos,
							  int64 *value);
	VdbCodecStatus (*item_of) (const VdbVectorReader *reader, uint32 pos,
							   uint32 *item);
} VdbCodecMethods;

/* codec_table.c */
extern const VdbCodecMethods *vdb_codec_methods(int encoding);

/* One per encoding, in its own file */
extern const VdbCodecMethods vdb_codec_plain;
extern const VdbCodecMethods vdb_codec_constant;
extern const VdbCodecMethods vdb_codec_rle;
extern const VdbCodecMethods vdb_codec_for;
extern const VdbCodecMethods vdb_codec_delta;
extern const VdbCodecMethods vdb_codec_dict;
extern const VdbCodecMethods vdb_codec_allnull;
extern const VdbCodecMethods vdb_codec_planes;

/* codec_planes.c */
extern uint64 vdb_planes_estimate(const VdbEncodePlan *plan);
extern int64 vdb_planes_value(const VdbVectorReader *reader, uint32 pos,
							  uint8 lowest);

/* codec_nulls.c */
extern uint32 vdb_nulls_count(const uint8 *nulls, uint32 count);
extern uint32 vdb_nulls_measure(const uint8 *nulls, uint32 count,
								bool *run_length);
extern void vdb_nulls_write(const uint8 *nulls, uint32 count, bool run_length,
							VdbByteWriter *writer);
extern VdbCodecStatus vdb_nulls_open(VdbVectorReader *reader,
									 VdbByteReader *bytes);

/* How a packed section represents its values: base + unit * field */
typedef struct VdbPacking
{
	int64		base;
	uint64		unit;				/* 1: none is stored */
	uint8		bits;				/* bits of a field */
} VdbPacking;

/* codec_unit.c */
extern uint64 vdb_unit_of(const int64 *values, uint32 count, int64 min);
extern void vdb_unit_divide(const int64 *values, uint32 count, int64 base,
							uint64 unit, int64 *fields);

/* codec_bitpack.c */
extern VdbPacking vdb_packing_choose(int64 min, int64 max, uint64 unit,
									 uint32 count);
extern uint64 vdb_packing_measure(const VdbPacking *packing, uint32 count);
extern void vdb_packing_write(VdbByteWriter *writer, const int64 *values,
							  uint32 count, const VdbPacking *packing);
extern uint64 vdb_packed_measure(uint8 bits, uint32 count);
extern void vdb_packed_write(VdbByteWriter *writer, const int64 *values,
							 uint32 count, int64 base, uint8 bits);
extern VdbCodecStatus vdb_packed_open(VdbPackedView *view,
									  VdbByteReader *bytes);
extern uint32 vdb_packed_block(const VdbPackedView *view, uint32 block,
							   int64 *out);
extern void vdb_packed_decode(const VdbPackedView *view, int64 *out);
extern int64 vdb_packed_at(const VdbPackedView *view, uint32 pos);

/* codec_items.c */
extern uint64 vdb_items_measure(const VdbVectorInput *in,
								const uint16 *positions, uint32 count);
extern void vdb_items_write(VdbByteWriter *writer, const VdbVectorInput *in,
							const uint16 *positions, uint32 count);
extern VdbCodecStatus vdb_items_open(VdbVectorReader *reader, uint32 count,
									 VdbByteReader *bytes);
extern VdbCodecStatus vdb_items_at(const VdbVectorReader *reader, uint32 item,
								   const uint8 **image, uint32 *image_bytes);
extern VdbCodecStatus vdb_items_range(const VdbVectorReader *reader, uint32 item,
									  uint64 *start, uint64 *end);
extern VdbCodecStatus vdb_image_total(const VdbVectorReader *reader,
									  const uint8 *at, uint64 start,
									  uint64 left, uint32 *total);
extern VdbCodecStatus vdb_items_decode(const VdbVectorReader *reader,
									   const uint8 **images,
									   uint32 *image_bytes);

/* codec_rle.c: also the codes of a dictionary */
extern uint64 vdb_runs_measure(uint32 runs, const VdbPacking *packing);
extern void vdb_runs_write(VdbByteWriter *writer, const int64 *values,
						   uint32 count, uint32 runs,
						   const VdbPacking *packing);
extern VdbCodecStatus vdb_runs_open(VdbVectorReader *reader,
									VdbByteReader *bytes);
extern VdbCodecStatus vdb_runs_decode(const VdbVectorReader *reader,
									  int64 *out);
extern int64 vdb_runs_at(const VdbVectorReader *reader, uint32 pos);

/* codec_dict.c */
extern void vdb_dict_build(VdbEncodeScratch *scratch, uint64 best_bytes,
						   bool forced);

/* codec_zstd.c */

/* Highest level used; higher ones need windows and tables of hundreds of megabytes. */
#define VDB_ZSTD_MAX_LEVEL	19

typedef struct VdbZstd VdbZstd;
extern size_t vdb_zstd_compress(VdbZstd **zstd, uint8 *to, size_t to_bytes,
								const uint8 *from, size_t from_bytes,
								int level);
extern bool vdb_zstd_plausible(uint64 stored_bytes, uint64 raw_bytes);
extern VdbCodecStatus vdb_zstd_decompress(VdbZstd **zstd, uint8 *to,
										  size_t to_bytes, const uint8 *from,
										  size_t from_bytes);
extern void vdb_zstd_free(VdbZstd *zstd);

/* codec_frames.c */
extern uint64 vdb_frames_bound(uint64 raw_bytes);
extern size_t vdb_frames_write(VdbZstd **zstd, uint8 *to, size_t to_bytes,
							   const VdbEncodePlan *plan, int encoding,
							   const uint8 *raw, size_t raw_bytes, int level);
extern void vdb_frames_seal(uint8 *vector, size_t prefix_bytes,
							size_t raw_bytes);
extern VdbCodecStatus vdb_frames_open(const VdbCodecInfo *info,
									  VdbByteReader *payload,
									  VdbFramesView *frames);
extern VdbCodecStatus vdb_frames_address(const VdbFramesView *frames,
										 uint32 frame, VdbFrameAddress *address);
extern VdbCodecStatus vdb_frames_unpack(VdbZstd **zstd,
										const VdbFrameAddress *address,
										const uint8 *stored, uint8 *to);
extern VdbCodecStatus vdb_frames_read(VdbZstd **zstd, const VdbCodecInfo *info,
									  const uint8 *stored, uint8 *to);

/* codec_open.c, for parts */
extern VdbCodecStatus vdb_open_header(const uint8 *bytes, size_t len,
									  VdbCodecInfo *info);
extern VdbCodecStatus vdb_open_nulls(const uint8 *bytes,
									 VdbVectorReader *reader);
extern VdbCodecStatus vdb_open_encoding(VdbVectorReader *reader);
extern void vdb_empty_image(const VdbVectorReader *reader, const uint8 **image,
							uint32 *image_bytes);

/* codec_workspace.c */
typedef enum VdbBufferName
{
	VDB_BUFFER_ENCODE,				/* the vector being written */
	VDB_BUFFER_ENCODE_ZSTD,			/* the same, compressed */
	VDB_BUFFER_RIVAL,				/* the same vector as plain, in case zstd makes that smaller */
	VDB_BUFFER_RIVAL_ZSTD,
	VDB_BUFFER_PLANES,				/* planes, if the rival is the best so far */
	VDB_BUFFER_PLANES_ZSTD,
	VDB_BUFFER_DECODE,				/* payload of the last vector opened */
	VDB_BUFFER_JOIN,				/* a value that spans several frames */
	VDB_BUFFER_COUNT
} VdbBufferName;

extern VdbEncodeScratch *vdb_workspace_scratch(VdbCodecWorkspace *ws);
extern VdbZstd **vdb_workspace_zstd(VdbCodecWorkspace *ws);
extern uint8 *vdb_workspace_buffer(VdbCodecWorkspace *ws, VdbBufferName name,
								   size_t bytes);

#endif							/* VDB_CODEC_PRIVATE_H */
