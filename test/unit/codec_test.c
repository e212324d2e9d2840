/*
 * codec_test.c
 *	  The codecs: what went in comes out, in every kind, width, encoding, null
 *	  pattern and size; each forced encoding was really used; one position
 *	  equals the full decode; damaged bytes do no harm; the bytes stay the same.
 */
#include "codec_port.h"

#include <stdio.h>

#include "codec.h"
#include "unit_shim.h"

#define MAX_COUNT	VDB_VEC_MAX_COUNT

static VdbCodecWorkspace *ws;

static const uint32 sizes[] = {0, 1, 2, 9, 127, 128, 129, 256, 257, 2047, 2048};

/* ---- inputs ---- */

typedef enum NullPattern
{
	NULLS_NONE, NULLS_ABSENT_BUT_GIVEN, NULLS_SOME, NULLS_FIRST, NULLS_RUNS, NULLS_ALL,
	NULLS_PATTERNS
} NullPattern;

static uint8 null_bits[VDB_VEC_NULL_BYTES];

static const uint8 *
make_nulls(NullPattern pattern, uint32 count)
{
	memset(null_bits, 0, sizeof(null_bits));
	/* bits past the count are rubbish on purpose */
	if (count % 8 != 0)
		null_bits[count / 8] = (uint8) (0xFF << (count % 8));
	for (uint32 pos = 0; pos < count; pos++)
	{
		bool		null = false;

		switch (pattern)
		{
			case NULLS_NONE:
				return NULL;
			case NULLS_SOME:
				null = unit_random_below(3) == 0;
				break;
			case NULLS_FIRST:
				null = pos < (count + 1) / 2;
				break;
			case NULLS_RUNS:
				null = pos / 300 % 2 == 1;
				break;
			case NULLS_ALL:
				null = true;
				break;
			default:
				break;
		}
		if (null)
			null_bits[pos >> 3] |= (uint8) (1 << (pos & 7));
	}
	return null_bits;
}

static bool
is_null(const VdbVectorInput *in, uint32 pos)
{
	return in->nulls != NULL && ((in->nulls[pos >> 3] >> (pos & 7)) & 1);
}

static uint32
count_nulls(const VdbVectorInput *in)
{
	uint32		n = 0;

	for (uint32 pos = 0; pos < in->count; pos++)
		n += is_null(in, pos);
	return n;
}

typedef enum IntShape
{
	INT_ZERO, INT_EXTREMES, INT_RANDOM, INT_SMALL, INT_RISING, INT_RUNS, INT_FEW_FAR,
	INT_FALLING_STEEP, INT_MINUTES, INT_SHAPES
} IntShape;

static int64
narrow(uint64 value, uint32 width)
{
	uint32		unused = 64 - 8 * width;

	return (int64) (value << unused) >> unused;
}

static void
make_ints(IntShape shape, uint32 width, uint32 count, int64 *values)
{
	uint64		x = unit_random();

	for (uint32 pos = 0; pos < count; pos++)
	{
		switch (shape)
		{
			case INT_ZERO:
				x = 0;
				break;
			case INT_EXTREMES:
				x = pos % 2 ? UINT64_C(1) << (8 * width - 1) :
					(UINT64_C(1) << (8 * width - 1)) - 1;
				break;
			case INT_RANDOM:
				x = unit_random();
				break;
			case INT_SMALL:
				x = unit_random_below(100) - 50;
				break;
			case INT_RISING:
				x += 1000 + unit_random_below(16);
				break;
			case INT_RUNS:
				if (unit_random_below(40) == 0)
					x = unit_random();
				break;
			case INT_FEW_FAR:
				x = unit_random_below(7);
				x = x * UINT64_C(0x0123456789ABCDEF) + (x & 1);	/* no common divisor */
				break;
			case INT_FALLING_STEEP:
				x -= UINT64_C(0x7000000000000001);
				break;
			case INT_MINUTES:
				x = 11 + (width == 8 ? UINT64_C(60000000) : 6) * unit_random_below(20);
				break;
			default:
				break;
		}
		values[pos] = narrow(x, width);
	}
}

/* ---- round trips ---- */

/* A copy at an exact size, so that a sanitizer sees the first byte past it */
static uint8 *
exact_copy(const VdbEncodedVector *vector)
{
	uint8	   *copy = malloc(vector->size_bytes);

	if (copy == NULL)
		abort();
	memcpy(copy, vector->bytes, vector->size_bytes);
	return copy;
}

static void
check_nulls(const VdbVectorInput *in, const VdbVectorReader *reader)
{
	uint8		bitmap[VDB_VEC_NULL_BYTES];
	uint32		wrong = 0;

	memset(bitmap, 0, sizeof(bitmap));
	vdb_codec_decode_nulls(reader, bitmap);
	for (uint32 pos = 0; pos < in->count; pos++)
	{
		wrong += vdb_codec_is_null(reader, pos) != is_null(in, pos);
		wrong += ((bitmap[pos >> 3] >> (pos & 7)) & 1) != is_null(in, pos);
	}
	for (uint32 pos = in->count; pos < (in->count + 7) / 8 * 8; pos++)
		wrong += (bitmap[pos >> 3] >> (pos & 7)) & 1;
	UNIT_CHECK(wrong == 0, "%u wrong nulls of %u", wrong, in->count);
	UNIT_CHECK(reader->null_count == count_nulls(in), "null count %u",
			   reader->null_count);
}

static void
check_ints(const VdbVectorInput *in, const VdbVectorReader *reader)
{
	int64		out[MAX_COUNT + 1];
	int64		one;
	uint32		wrong = 0;
	uint32		unequal = 0;

	out[in->count] = 4711;
	UNIT_CHECK(vdb_codec_decode_int(reader, out) == VDB_CODEC_OK, "decode");
	UNIT_CHECK(out[in->count] == 4711, "wrote past the count");
	for (uint32 pos = 0; pos < in->count; pos++)
	{
		wrong += !is_null(in, pos) && out[pos] != in->values[pos];
		if (vdb_codec_int_at(reader, pos, &one) != VDB_CODEC_OK || one != out[pos])
			unequal++;
	}
	UNIT_CHECK(wrong == 0, "%u wrong values", wrong);
	UNIT_CHECK(unequal == 0, "%u positions differ from decode", unequal);
	UNIT_CHECK(vdb_codec_int_at(reader, in->count, &one) == VDB_CODEC_BAD_CALL,
			   "position past the end");
}

static void
check_fixed(const VdbVectorInput *in, const VdbVectorReader *reader)
{
	const uint8 *all[MAX_COUNT];
	const uint8 *one;
	uint32		wrong = 0;

	UNIT_CHECK(vdb_codec_decode_fixed(reader, all) == VDB_CODEC_OK, "decode");
	for (uint32 pos = 0; pos < in->count; pos++)
	{
		if (vdb_codec_fixed_at(reader, pos, &one) != VDB_CODEC_OK ||
			one != all[pos] || (one == NULL) != is_null(in, pos))
			wrong++;
		else if (one != NULL &&
				 (memcmp(one, in->data + pos * in->width, in->width) != 0 ||
				  (in->width % 8 == 0 && (uintptr_t) one % 8 != 0)))
			wrong++;
	}
	UNIT_CHECK(wrong == 0, "%u wrong values", wrong);
}

static bool
same_bytes(const VdbVectorInput *in, uint32 pos, const uint8 *payload,
		   uint32 payload_bytes)
{
	if (is_null(in, pos))
		return payload_bytes == 0;
	return payload_bytes == in->lens[pos] &&
		(payload_bytes == 0 || memcmp(payload, in->ptrs[pos], payload_bytes) == 0);
}

/* Header form and alignment, as the server would look at them */
static bool
image_ok(const VdbVectorInput *in, uint32 pos, const uint8 *image, uint32 bytes)
{
	uint32		len = is_null(in, pos) ? 0 : in->lens[pos];
	uint32		header;

	if (in->image == VDB_IMAGE_RAW)
		return bytes == len;
	if (in->image == VDB_IMAGE_SHORT && len <= 126)
		return bytes == len + 1 && image[0] == ((len + 1) << 1 | 1);
	memcpy(&header, image, sizeof(header));
	return bytes == len + 4 && header == (len + 4) << 2 &&
		(uintptr_t) image % 8 == 0;
}

static void
check_bytes(const VdbVectorInput *in, const VdbVectorReader *reader)
{
	const uint8 *images[MAX_COUNT];
	uint32		image_bytes[MAX_COUNT];
	const uint8 *one = NULL;
	const uint8 *payload = NULL;
	uint32		bytes = 0;
	uint32		payload_bytes = 0;
	uint32		wrong = 0;

	UNIT_CHECK(vdb_codec_decode_bytes(reader, images, image_bytes) ==
			   VDB_CODEC_OK, "decode");
	for (uint32 pos = 0; pos < in->count; pos++)
	{
		if (vdb_codec_bytes_at(reader, pos, &one, &bytes) != VDB_CODEC_OK ||
			one != images[pos] || bytes != image_bytes[pos] ||
			vdb_codec_payload_at(reader, pos, &payload, &payload_bytes) != VDB_CODEC_OK ||
			!same_bytes(in, pos, payload, payload_bytes) ||
			!image_ok(in, pos, one, bytes))
			wrong++;
	}
	UNIT_CHECK(wrong == 0, "%u wrong values of %u", wrong, in->count);
}

/* Codes and entries give the same values as the positions do. */
static void
check_dictionary(const VdbVectorInput *in, const VdbVectorReader *reader)
{
	uint16		codes[MAX_COUNT];
	uint32		wrong = 0;

	UNIT_CHECK(vdb_codec_dict_size(reader) > 0, "no dictionary");
	UNIT_CHECK(vdb_codec_decode_codes(reader, codes) == VDB_CODEC_OK, "codes");
	for (uint32 pos = 0; pos < in->count; pos++)
	{
		const uint8 *a = NULL;
		const uint8 *b = NULL;
		uint32		bytes = 0;
		int64		x = 0;
		int64		y = 1;

		if (is_null(in, pos))
			continue;
		if (in->kind == VDB_VEC_INT)
		{
			wrong += vdb_codec_dict_int_at(reader, codes[pos], &x) != VDB_CODEC_OK;
			wrong += vdb_codec_int_at(reader, pos, &y) != VDB_CODEC_OK || x != y;
			continue;
		}
		wrong += vdb_codec_dict_item_at(reader, codes[pos], &a, &bytes) != VDB_CODEC_OK;
		if (in->kind == VDB_VEC_FIXED)
			wrong += vdb_codec_fixed_at(reader, pos, &b) != VDB_CODEC_OK || a != b;
		else
			wrong += vdb_codec_bytes_at(reader, pos, &b, &bytes) != VDB_CODEC_OK || a != b;
	}
	UNIT_CHECK(wrong == 0, "%u codes lead elsewhere", wrong);
}

static void
check_opened(const VdbVectorInput *in, const VdbVectorReader *reader)
{
	UNIT_CHECK(reader->info.count == in->count && reader->info.kind == in->kind,
			   "count %u kind %u", reader->info.count, reader->info.kind);
	check_nulls(in, reader);
	if (in->kind == VDB_VEC_INT)
		check_ints(in, reader);
	else if (in->kind == VDB_VEC_FIXED)
		check_fixed(in, reader);
	else
		check_bytes(in, reader);
	if (reader->info.encoding == VDB_ENC_DICT)
		check_dictionary(in, reader);
}

/* ---- parts: heads and single frames ---- */

/* A vector of which a test brings pieces, each at its exact size */
typedef struct PieceSource
{
	const uint8 *bytes;
	VdbVectorPart part;
	uint8	   *frames[VDB_FRAMES_MAX];
	uint32		unpacked;
} PieceSource;

static uint8 *
exact_piece(const uint8 *bytes, size_t size)
{
	uint8	   *piece = malloc(size > 0 ? size : 1);

	if (piece == NULL)
		abort();
	memcpy(piece, bytes, size);
	return piece;
}

static VdbCodecStatus
get_frame(void *arg, uint32 frame, const uint8 **raw)
{
	PieceSource *source = arg;
	VdbFrameAddress place;
	VdbCodecStatus status = VDB_CODEC_OK;

	if (source->frames[frame] == NULL)
	{
		uint8	   *stored;

		if (vdb_codec_part_frame(&source->part, frame, &place) != VDB_CODEC_OK)
			abort();
		stored = exact_piece(source->bytes + place.offset, place.stored_bytes);
		source->frames[frame] = malloc(place.raw_bytes);
		status = vdb_codec_part_unpack(ws, &source->part, frame, stored, source->frames[frame]);
		source->unpacked++;
		free(stored);
	}
	*raw = source->frames[frame];
	return status;
}

static void
free_frames(PieceSource *source)
{
	for (size_t frame = 0; frame < lengthof(source->frames); frame++)
		free(source->frames[frame]);
}

/* One position through the head equals the same of the whole vector. */
static bool
same_in_part(PieceSource *source, const VdbVectorReader *whole, uint32 pos)
{
	const uint8 *a = NULL;
	const uint8 *b = NULL;
	uint32		a_bytes = whole->info.width;
	uint32		b_bytes = whole->info.width;
	int64		x = 0;
	int64		y = 1;

	if (vdb_codec_is_null(whole, pos) != vdb_codec_is_null(&source->part.reader, pos))
		return false;
	switch (whole->info.kind)
	{
		case VDB_VEC_INT:
			return vdb_codec_int_at(whole, pos, &x) == VDB_CODEC_OK &&
				vdb_codec_part_int_at(&source->part, pos, get_frame, source,
									  &y) == VDB_CODEC_OK && x == y;
		case VDB_VEC_FIXED:
			if (vdb_codec_fixed_at(whole, pos, &a) != VDB_CODEC_OK ||
				vdb_codec_part_fixed_at(ws, &source->part, pos, get_frame, source,
										&b) != VDB_CODEC_OK)
				return false;
			break;
		default:
			if (vdb_codec_bytes_at(whole, pos, &a, &a_bytes) != VDB_CODEC_OK ||
				vdb_codec_part_bytes_at(ws, &source->part, pos, get_frame, source, &b,
										&b_bytes) != VDB_CODEC_OK)
				return false;
	}
	return (a == NULL) == (b == NULL) && a_bytes == b_bytes &&
		(a == NULL || memcmp(a, b, a_bytes) == 0) &&
		((uintptr_t) a % 8 != 0 || (uintptr_t) b % 8 == 0);
}

/* Bring as much of a vector as its head takes, never more; false: it isn't in frames. */
static uint8 *
bring_head(const uint8 *bytes, size_t size, VdbPartSize *need)
{
	uint8	   *head = NULL;
	int			rounds = 0;

	need->need_bytes = 0;
	do
	{
		size_t		have = need->need_bytes;

		free(head);
		if (!UNIT_CHECK(have <= size && ++rounds < 8, "needs %zu of %zu", have, size))
			abort();
		head = exact_piece(bytes, have);
		UNIT_CHECK(vdb_codec_part_measure(head, have, need) == VDB_CODEC_OK, "measure");
		if (need->need_bytes <= have)
			break;
	} while (true);
	return head;
}

static uint32 joined_parts;
static uint32 tailed_parts;

static void
check_part(const VdbVectorInput *in, const uint8 *bytes, size_t size,
		   const VdbVectorReader *whole)
{
	static PieceSource source;
	VdbPartSize need;
	uint8	   *head = bring_head(bytes, size, &need);
	uint8	   *keep;
	uint32		wrong = 0;

	UNIT_CHECK((need.frames > 0) == ((whole->info.flags & VDB_VECF_ZSTD) != 0), "%u frames",
			   need.frames);
	if (need.frames == 0)
	{
		UNIT_CHECK(need.need_bytes == size, "needs %zu of %zu", need.need_bytes, size);
		free(head);
		return;
	}
	memset(&source, 0, sizeof(source));
	source.bytes = bytes;
	keep = malloc(need.keep_bytes);
	UNIT_CHECK(vdb_codec_part_open(ws, head, need.need_bytes, keep, need.keep_bytes - 1,
								   &source.part) ==
			   VDB_CODEC_BAD_CALL, "too small a buffer");
	UNIT_CHECK(vdb_codec_part_open(ws, head, need.need_bytes, keep, need.keep_bytes,
								   &source.part) ==
			   VDB_CODEC_OK, "open part");
	free(head);
	for (uint32 pos = 0; pos < in->count; pos++)
	{
		/* backwards, too */
		wrong += !same_in_part(&source, whole, pos % 2 ? pos : in->count - 1 - pos);
	}
	UNIT_CHECK(wrong == 0, "%u of %u differ in part, kind %d encoding %d frames %u", wrong,
			   in->count,
			   in->kind, whole->info.encoding, need.frames);
	UNIT_CHECK(source.unpacked < need.frames, "%u frames of %u", source.unpacked, need.frames);
	joined_parts += need.frames > 2;
	tailed_parts += need.frames > 1;
	free_frames(&source);
	free(keep);
}

/* Open at every offset within 8: in place where that is possible. */
static void
check_vector(const VdbVectorInput *in, const uint8 *bytes, size_t size)
{
	VdbVectorReader reader;
	VdbCodecInfo info;
	uint8	   *moved = malloc(size + 1);
	uint8	   *buffer;

	UNIT_CHECK(vdb_codec_inspect(bytes, size, &info) == VDB_CODEC_OK, "inspect");
	UNIT_CHECK(info.total_bytes == size, "total %zu of %zu", info.total_bytes, size);
	UNIT_CHECK(vdb_codec_open(ws, bytes, size, NULL, 0, &reader) ==
			   VDB_CODEC_OK, "open");
	if ((info.flags & VDB_VECF_ZSTD) == 0)
		UNIT_CHECK(reader.payload == bytes + info.payload_offset, "not in place");
	check_opened(in, &reader);
	check_part(in, bytes, size, &reader);

	/* misaligned, and into a buffer of the caller's */
	memcpy(moved + 1, bytes, size);
	buffer = malloc(info.raw_bytes > 0 ? info.raw_bytes : 1);
	UNIT_CHECK(vdb_codec_open(ws, moved + 1, size, buffer, info.raw_bytes,
							  &reader) == VDB_CODEC_OK, "open misaligned");
	check_opened(in, &reader);
	free(buffer);
	free(moved);
}

/*
 * Encode and compare; 'expect' is the encoding that must have been used, or -1
 * for any.
 */
static VdbEncodedVector
round_trip(const VdbVectorInput *in, int force, int zstd_level, int expect)
{
	VdbEncodeOptions options = {.force_encoding = force,.zstd_level = zstd_level};
	VdbEncodedVector out = {0};
	VdbCodecStatus status = vdb_codec_encode(ws, in, &options, &out);
	uint8	   *copy;

	if (!UNIT_CHECK(status == VDB_CODEC_OK, "encode: %s",
					vdb_codec_status_text(status)))
		return out;
	if (in->count > 0 && count_nulls(in) == in->count)
		expect = VDB_ENC_ALLNULL;
	if (in->count == 0)
		expect = VDB_ENC_PLAIN;
	if (expect >= 0)
		UNIT_CHECK(out.encoding == expect, "forced %d, wanted %d, used %d, kind %d count %u",
				   force, expect, out.encoding, in->kind, in->count);
	if (zstd_level < 0 && out.encoding != VDB_ENC_ALLNULL)
		UNIT_CHECK(out.zstd, "zstd not used for encoding %d", out.encoding);
	if (zstd_level == 0)
		UNIT_CHECK(!out.zstd, "zstd used though never asked for");

	copy = exact_copy(&out);
	check_vector(in, copy, out.size_bytes);
	free(copy);
	return out;
}

/* Which encoding a forced one must become */
static int
expected_encoding(const VdbVectorInput *in, int force, bool constant)
{
	bool		int_only = force == VDB_ENC_RLE || force == VDB_ENC_FOR ||
	force == VDB_ENC_DELTA || force == VDB_ENC_PLANES;

	if (force < 0)
		return -1;
	if (force == VDB_ENC_ALLNULL || (int_only && in->kind != VDB_VEC_INT) ||
		(force == VDB_ENC_CONSTANT && !constant))
		return VDB_ENC_PLAIN;
	return force;
}

static bool
int_constant(const VdbVectorInput *in)
{
	const int64 *first = NULL;

	for (uint32 pos = 0; pos < in->count; pos++)
	{
		if (is_null(in, pos))
			continue;
		if (first != NULL && *first != in->values[pos])
			return false;
		first = &in->values[pos];
	}
	return true;
}

static void
int_round_trips(uint32 width)
{
	int64		values[MAX_COUNT];
	VdbVectorInput in = {.kind = VDB_VEC_INT,.width = (uint16) width,.values = values};

	for (size_t s = 0; s < lengthof(sizes); s++)
		for (int shape = 0; shape < INT_SHAPES; shape++)
			for (int nulls = 0; nulls < NULLS_PATTERNS; nulls++)
			{
				in.count = sizes[s];
				make_ints(shape, width, in.count, values);
				in.nulls = make_nulls(nulls, in.count);
				for (int force = -1; force < VDB_ENC_COUNT; force++)
					round_trip(&in, force, force % 3 == 0 ? -1 : 0,
							   expected_encoding(&in, force, int_constant(&in)));
				round_trip(&in, -1, 1, -1);
			}
}

static void
test_int8(void)
{
	int_round_trips(1);
}

static void
test_int16(void)
{
	int_round_trips(2);
}

static void
test_int32(void)
{
	int_round_trips(4);
}

static void
test_int64(void)
{
	int_round_trips(8);
}

/* Every bit width of the packed layout, at block borders */
static void
test_bit_widths(void)
{
	int64		values[MAX_COUNT];
	VdbVectorInput in = {.kind = VDB_VEC_INT,.width = 8,.values = values};

	for (uint32 bits = 0; bits <= 64; bits++)
		for (size_t s = 1; s < lengthof(sizes); s++)
		{
			uint64		mask = bits == 0 ? 0 : UINT64_MAX >> (64 - bits);

			in.count = sizes[s];
			for (uint32 pos = 0; pos < in.count; pos++)
				values[pos] = (int64) ((unit_random() & mask) + UINT64_C(0xFEDCBA9876543210));
			/* the extremes must be there, or fewer bits do */
			values[0] = (int64) UINT64_C(0xFEDCBA9876543210);
			values[in.count - 1] = (int64) (mask + UINT64_C(0xFEDCBA9876543210));
			round_trip(&in, VDB_ENC_FOR, 0, VDB_ENC_FOR);
			round_trip(&in, VDB_ENC_DELTA, 0, VDB_ENC_DELTA);
		}
}

/* Distinct values from 1 to all of them */
static void
test_dictionary_sizes(void)
{
	int64		values[MAX_COUNT];
	VdbVectorInput in = {.kind = VDB_VEC_INT,.width = 8,.values = values,.count = MAX_COUNT};
	static const uint32 distinct[] = {1, 2, 3, 16, 17, 255, 256, 257, 1024, 2047, 2048};

	for (size_t d = 0; d < lengthof(distinct); d++)
	{
		for (uint32 pos = 0; pos < MAX_COUNT; pos++)
			values[pos] = (int64) (pos % distinct[d] * UINT64_C(0x9E3779B97F4A7C15));
		round_trip(&in, VDB_ENC_DICT, 0, VDB_ENC_DICT);
		for (uint32 pos = 0; pos < MAX_COUNT; pos++)
			values[pos] = (int64) (pos * distinct[d] / MAX_COUNT * UINT64_C(0x9E3779B97F4A7C15));
		round_trip(&in, VDB_ENC_DICT, -3, VDB_ENC_DICT);
	}
}

static void
test_fixed(void)
{
	static const uint16 widths[] = {1, 3, 6, 8, 12, 16, 64, 1000};
	static const uint32 distinct[] = {1, 5, 3000};
	uint8	   *data = malloc((size_t) MAX_COUNT * 1000);

	for (size_t w = 0; w < lengthof(widths); w++)
		for (size_t s = 0; s < lengthof(sizes); s++)
			for (size_t d = 0; d < lengthof(distinct); d++)
				for (int nulls = 0; nulls < NULLS_PATTERNS; nulls++)
				{
					VdbVectorInput in = {
						.kind = VDB_VEC_FIXED,.width = widths[w],
						.count = sizes[s],.data = data,
						.nulls = make_nulls(nulls, sizes[s])
					};
					int			force = (int) ((s + (size_t) nulls) % (VDB_ENC_COUNT + 1)) - 1;

					for (uint32 pos = 0; pos < in.count; pos++)
					{
						uint64		value = unit_random_below(distinct[d]) *
							UINT64_C(0x9E3779B97F4A7C15);

						for (uint32 i = 0; i < in.width; i++)
							data[pos * in.width + i] = (uint8) (value >> (i % 8 * 8));
					}
					round_trip(&in, force, 0, force == VDB_ENC_CONSTANT && distinct[d] > 1 ?
							   -1 : expected_encoding(&in, force, true));
					round_trip(&in, VDB_ENC_PLAIN, -1, VDB_ENC_PLAIN);
					round_trip(&in, VDB_ENC_DICT, 0, VDB_ENC_DICT);
					round_trip(&in, -1, 1, -1);
				}
	free(data);
}

/* ---- BYTES ---- */

static uint8 pool[1 << 16];

static void
make_strings(uint32 count, uint32 distinct, uint32 max_len, const uint8 **ptrs,
			 uint32 *lens)
{
	for (uint32 i = 0; i < sizeof(pool); i++)
		pool[i] = (uint8) unit_random_below(i % 3 == 0 ? 4 : 256);
	for (uint32 pos = 0; pos < count; pos++)
	{
		uint64		pick = unit_random_below(distinct) * UINT64_C(0x9E3779B97F4A7C15);

		lens[pos] = (uint32) ((pick >> 20) % (max_len + 1));
		ptrs[pos] = pool + (pick >> 40) % (sizeof(pool) - max_len);
		if (lens[pos] == 0)
			ptrs[pos] = NULL;	/* an empty value needs no address */
	}
}

static void
test_bytes(void)
{
	static const uint32 max_lens[] = {0, 1, 12, 130, 600};
	static const uint32 distinct[] = {1, 9, 100000};
	const uint8 *ptrs[MAX_COUNT];
	uint32		lens[MAX_COUNT];

	for (size_t s = 0; s < lengthof(sizes); s++)
		for (size_t m = 0; m < lengthof(max_lens); m++)
			for (size_t d = 0; d < lengthof(distinct); d++)
				for (int image = 0; image < 3; image++)
				{
					int			nulls = (int) ((s + m + d) % NULLS_PATTERNS);
					VdbVectorInput in = {
						.kind = VDB_VEC_BYTES,.image = (VdbImageMode) image,
						.count = sizes[s],.ptrs = ptrs,.lens = lens,
						.nulls = make_nulls(nulls, sizes[s])
					};

					make_strings(in.count, distinct[d], max_lens[m], ptrs, lens);
					for (int force = -1; force < VDB_ENC_COUNT; force++)
						round_trip(&in, force, force % 2 == 0 ? -1 : 0,
								   force == VDB_ENC_CONSTANT && distinct[d] > 1 ? -1 :
								   expected_encoding(&in, force, true));
					round_trip(&in, -1, 1, -1);
				}
}

/* Lengths around the border of the one-byte header, and a few megabytes */
static void
test_long_values(void)
{
	const uint32 big = 3 * 1024 * 1024 + 5;
	uint8	   *text = malloc(big);
	const uint8 *ptrs[300];
	uint32		lens[300];
	VdbVectorInput in = {.kind = VDB_VEC_BYTES,.ptrs = ptrs,.lens = lens};

	for (uint32 i = 0; i < big; i++)
		text[i] = (uint8) unit_random_below(11);
	for (int image = 0; image < 3; image++)
	{
		in.image = (VdbImageMode) image;
		in.count = 300;
		for (uint32 pos = 0; pos < in.count; pos++)
		{
			ptrs[pos] = text + pos;
			lens[pos] = pos;
		}
		round_trip(&in, VDB_ENC_PLAIN, 0, VDB_ENC_PLAIN);
		round_trip(&in, VDB_ENC_DICT, 1, VDB_ENC_DICT);
		round_trip(&in, VDB_ENC_PLAIN, -1, VDB_ENC_PLAIN);
		in.count = 3;
		lens[0] = 5;
		lens[1] = big;
		ptrs[1] = text;
		lens[2] = 1;
		round_trip(&in, -1, 0, -1);
		round_trip(&in, -1, 1, -1);
		/* a small one after it makes the workspace give memory back */
		in.count = 1;
		round_trip(&in, -1, 1, -1);
	}
	free(text);
}

/* ---- choice ---- */

static int
chosen(const VdbVectorInput *in)
{
	return round_trip(in, -1, 0, -1).encoding;
}

/* Data made for an encoding must be given it, and come out small. */
static void
test_choice(void)
{
	int64		values[MAX_COUNT];
	const uint8 *ptrs[MAX_COUNT];
	uint32		lens[MAX_COUNT];
	VdbVectorInput in = {.kind = VDB_VEC_INT,.width = 8,.values = values,.count = MAX_COUNT};
	VdbEncodedVector out;

	make_ints(INT_ZERO, 8, MAX_COUNT, values);
	out = round_trip(&in, -1, 0, VDB_ENC_CONSTANT);
	UNIT_CHECK(out.size_bytes == 24, "constant takes %zu", out.size_bytes);
	make_ints(INT_RANDOM, 8, MAX_COUNT, values);
	UNIT_CHECK(chosen(&in) == VDB_ENC_PLAIN, "random: %d", chosen(&in));
	make_ints(INT_SMALL, 8, MAX_COUNT, values);
	out = round_trip(&in, -1, 0, VDB_ENC_FOR);
	UNIT_CHECK(out.size_bytes == 16 + 16 + 2048 * 7 / 8, "small: %zu", out.size_bytes);
	make_ints(INT_RISING, 8, MAX_COUNT, values);
	out = round_trip(&in, -1, 0, VDB_ENC_DELTA);
	UNIT_CHECK(out.size_bytes == 16 + 16 + 2048 * 4 / 8 + 128, "rising: %zu", out.size_bytes);
	make_ints(INT_RUNS, 8, MAX_COUNT, values);
	UNIT_CHECK(chosen(&in) == VDB_ENC_RLE, "runs: %d", chosen(&in));
	make_ints(INT_FEW_FAR, 8, MAX_COUNT, values);
	UNIT_CHECK(chosen(&in) == VDB_ENC_DICT, "few, far apart: %d", chosen(&in));

	in.kind = VDB_VEC_BYTES;
	in.image = VDB_IMAGE_SHORT;
	in.ptrs = ptrs;
	in.lens = lens;
	make_strings(MAX_COUNT, 9, 30, ptrs, lens);
	UNIT_CHECK(chosen(&in) == VDB_ENC_DICT, "few strings: %d", chosen(&in));
	make_strings(MAX_COUNT, 100000, 30, ptrs, lens);
	UNIT_CHECK(chosen(&in) == VDB_ENC_PLAIN, "many strings: %d", chosen(&in));
	make_strings(MAX_COUNT, 1, 30, ptrs, lens);
	UNIT_CHECK(chosen(&in) == VDB_ENC_CONSTANT, "one string: %d", chosen(&in));
}

/* zstd only where it pays, and plain + zstd where packing hides repetitions */
static void
test_zstd_choice(void)
{
	int64		values[MAX_COUNT];
	const uint8 *ptrs[MAX_COUNT];
	uint32		lens[MAX_COUNT];
	VdbVectorInput in = {.kind = VDB_VEC_INT,.width = 8,.values = values,.count = MAX_COUNT};
	VdbEncodedVector out;

	make_ints(INT_RANDOM, 8, MAX_COUNT, values);
	UNIT_CHECK(!round_trip(&in, -1, 3, VDB_ENC_PLAIN).zstd, "random");
	make_ints(INT_ZERO, 8, MAX_COUNT, values);
	UNIT_CHECK(!round_trip(&in, -1, 3, VDB_ENC_CONSTANT).zstd, "constant");

	/* prices as doubles: high bytes repeat, no width can tell */
	for (uint32 pos = 0; pos < MAX_COUNT; pos++)
	{
		double		price = (double) unit_random_below(1000) * 100 + 0.5;

		memcpy(&values[pos], &price, sizeof(price));
	}
	out = round_trip(&in, -1, 3, -1);
	UNIT_CHECK(out.size_bytes < 2048 * 8 / 2, "doubles take %zu as %s", out.size_bytes,
			   vdb_codec_label(out.encoding, out.zstd));

	in.kind = VDB_VEC_BYTES;
	in.ptrs = ptrs;
	in.lens = lens;
	for (uint32 pos = 0; pos < MAX_COUNT; pos++)
	{
		static char urls[MAX_COUNT][64];

		lens[pos] = (uint32) snprintf(urls[pos], sizeof(urls[pos]),
									  "https://example.org/item/%u?from=mail", pos);
		ptrs[pos] = (const uint8 *) urls[pos];
	}
	out = round_trip(&in, -1, 1, VDB_ENC_PLAIN);
	UNIT_CHECK(out.zstd && out.size_bytes < 30000, "urls: %zu", out.size_bytes);
}

/* ---- the format ---- */

/* Bytes of version 1, written down once.  They must never change. */
static void
test_golden(void)
{
	static const uint8 golden_for[] = {
		1, 3, 0, 0, 3, 0, 4, 0, 48, 0, 0, 0, 48, 0, 0, 0,
		0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 3, 0, 3, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
	};
	static const uint8 golden_bytes[] = {
		1, 0, 0x12, 2, 3, 0, 0, 0, 68, 0, 0, 0, 68, 0, 0, 0,
		2, 0, 0, 0, 0, 0, 0, 0,
		0x80, 1, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		7, 'a', 'b', 3
	};
	static const int64 values[] = {-2, 0, 5};
	static const uint8 *const ptrs[] = {(const uint8 *) "ab", NULL, (const uint8 *) ""};
	static const uint32 lens[] = {2, 99, 0};
	static const uint8 nulls[] = {2};
	VdbEncodeOptions options = {.force_encoding = VDB_ENC_FOR};
	VdbVectorInput in = {.kind = VDB_VEC_INT,.width = 4,.count = 3,.values = values};
	VdbEncodedVector out;

	vdb_codec_encode(ws, &in, &options, &out);
	UNIT_CHECK(out.size_bytes == sizeof(golden_for) &&
			   memcmp(out.bytes, golden_for, sizeof(golden_for)) == 0, "for");

	in = (VdbVectorInput) {.kind = VDB_VEC_BYTES,.image = VDB_IMAGE_SHORT,.count = 3,
		.ptrs = ptrs,.lens = lens,.nulls = nulls
	};
	options.force_encoding = VDB_ENC_PLAIN;
	vdb_codec_encode(ws, &in, &options, &out);
	UNIT_CHECK(out.size_bytes == sizeof(golden_bytes) &&
			   memcmp(out.bytes, golden_bytes, sizeof(golden_bytes)) == 0,
			   "bytes, %zu", out.size_bytes);
}

/*
 * Values base + unit * small at both ends of int64 and for units up to the
 * greatest: the unit is stored, all encodings give the values back, and units
 * that cannot be are refused.
 */
static void
test_units(void)
{
	static const uint64 units[] = {
		2, 3, 7, 12, 60, 1000000, 60000000, UINT64_C(86400000000), UINT64_C(1) << 32,
		UINT64_C(0x5555555555555555), UINT64_C(0x7FFFFFFFFFFFFFFF), UINT64_C(1) << 63,
		UINT64_C(0x8000000000000001), UINT64_MAX
	};
	static const uint32 counts[] = {2, 200, 256, 700, 2048};
	static const int forces[] = {-1, VDB_ENC_RLE, VDB_ENC_FOR, VDB_ENC_DELTA, VDB_ENC_DICT,
	VDB_ENC_PLANES};
	int64		values[MAX_COUNT];
	VdbVectorInput in = {.kind = VDB_VEC_INT,.width = 8,.values = values};

	for (size_t u = 0; u < lengthof(units); u++)
		for (size_t c = 0; c < lengthof(counts); c++)
			for (int top = 0; top < 2; top++)
				for (int nulls = 0; nulls < NULLS_ALL; nulls++)
				{
					uint64		most = Min(UINT64_MAX / units[u], 40);

					in.count = counts[c];
					in.nulls = make_nulls(nulls, in.count);
					for (uint32 pos = 0; pos < in.count; pos++)
					{
						uint64		steps = unit_random_below((uint32) most + 1) * units[u];

						if (pos % 7 == 0 && pos > 0)
							values[pos] = values[pos - 1];
						else
							values[pos] = (int64) (top ? (uint64) PG_INT64_MAX - steps :
												   (uint64) PG_INT64_MIN + steps);
					}
					for (size_t f = 0; f < lengthof(forces); f++)
						round_trip(&in, forces[f], f % 2 ? -1 : 0, forces[f]);
				}
}

static void
test_unit_bytes(void)
{
	static const uint8 golden_for[] = {
		1, 3, 0, 0, 5, 0, 8, 0, 56, 0, 0, 0, 56, 0, 0, 0,
		0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2, 1, 5, 0, 0, 0, 0, 0,
		0, 0x10, 0xA5, 0xD4, 0xE8, 0, 0, 0,
		0, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0,
		1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
	};
	int64		values[700] = {-2, 1999999999998, 2999999999998, -2, 999999999998};
	VdbEncodeOptions options = {.force_encoding = VDB_ENC_FOR};
	VdbVectorInput in = {.kind = VDB_VEC_INT,.width = 8,.count = 5,.values = values};
	VdbEncodedVector out;
	VdbVectorReader reader;
	uint8	   *copy;

	UNIT_CHECK(vdb_codec_encode(ws, &in, &options, &out) == VDB_CODEC_OK, "encode");
	UNIT_CHECK(out.bytes[25] == 1 && out.size_bytes == sizeof(golden_for) &&
			   memcmp(out.bytes, golden_for,
					  sizeof(golden_for)) == 0, "golden, %zu bytes", out.size_bytes);
	values[1] = -1;
	values[2] = 0;
	UNIT_CHECK(vdb_codec_encode(ws, &in, &options, &out) == VDB_CODEC_OK && out.bytes[25] == 0,
			   "unit 1");
	/* hardly fewer bits, and no fewer bytes */
	in.count = 3;
	values[1] = 0;
	values[2] = 2;
	UNIT_CHECK(vdb_codec_encode(ws, &in, &options, &out) == VDB_CODEC_OK && out.bytes[25] == 0,
			   "does not pay");

	in.count = 700;
	for (uint32 pos = 0; pos < in.count; pos++)
		values[pos] = 300 + 1000 * (int64) (pos % 11);
	UNIT_CHECK(vdb_codec_encode(ws, &in, &options, &out) == VDB_CODEC_OK && out.bytes[25] == 1 &&
			   out.bytes[24] == 4, "pays");
	copy = exact_copy(&out);
	UNIT_CHECK(vdb_codec_open(ws, copy, out.size_bytes, NULL, 0, &reader) == VDB_CODEC_OK, "open");
	for (uint8 unit = 0; unit < 2; unit++)
	{
		memset(copy + 32, 0, 8);
		copy[32] = unit;
		UNIT_CHECK(vdb_codec_open(ws, copy, out.size_bytes, NULL, 0,
								  &reader) == VDB_CODEC_CORRUPT, "unit %u", unit);
	}
	copy[32] = 2;
	copy[25] = 2;
	UNIT_CHECK(vdb_codec_open(ws, copy, out.size_bytes, NULL, 0, &reader) == VDB_CODEC_CORRUPT,
			   "unknown flag");
	free(copy);
}

/* Planes: their bytes; chosen where upper bytes are skewed, and not where nothing is gained */
static void
test_planes(void)
{
	static const uint8 golden[] = {
		1, 7, 0, 0, 3, 0, 4, 0, 35, 0, 0, 0, 35, 0, 0, 0,
		0xFB, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 10, 0, 0, 0, 0, 0, 0, 0,
		2, 0, 0, 0, 0, 0, 0, 0,
		1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 3
	};
	int64		values[MAX_COUNT] = {2585, -5, 25};
	VdbEncodeOptions options = {.force_encoding = VDB_ENC_PLANES};
	VdbVectorInput in = {.kind = VDB_VEC_INT,.width = 4,.count = 3,.values = values};
	VdbEncodedVector out;
	VdbVectorReader reader;
	uint8	   *copy;
	uint32		accepted = 0;

	UNIT_CHECK(vdb_codec_encode(ws, &in, &options, &out) == VDB_CODEC_OK, "encode");
	UNIT_CHECK(out.size_bytes == sizeof(golden) &&
			   memcmp(out.bytes, golden, sizeof(golden)) == 0, "golden, %zu bytes", out.size_bytes);
	copy = exact_copy(&out);
	for (uint32 at = 32; at < 40; at++)
	{
		copy[at] ^= 0x40;
		accepted += vdb_codec_open(ws, copy, out.size_bytes, NULL, 0, &reader) == VDB_CODEC_OK;
		copy[at] ^= 0x40;
	}
	UNIT_CHECK(accepted == 0, "%u wrong headers accepted", accepted);
	copy[24] = 0;
	UNIT_CHECK(vdb_codec_open(ws, copy, out.size_bytes, NULL, 0, &reader) == VDB_CODEC_CORRUPT,
			   "unit 0");
	free(copy);

	/* as distances are: few of them long */
	in.count = MAX_COUNT;
	for (uint32 pos = 0; pos < MAX_COUNT; pos++)
		values[pos] = (int64) (unit_random_below(1000) + (pos % 50 == 0 ? unit_random_below(7000) :
														  0));
	values[0] = 8000;
	values[1] = 1;
	for (int nulls = 0; nulls < NULLS_ALL; nulls++)
	{
		in.nulls = make_nulls(nulls, in.count);
		(void) round_trip(&in, VDB_ENC_PLANES, -1, VDB_ENC_PLANES);
		(void) round_trip(&in, VDB_ENC_PLANES, 3, VDB_ENC_PLANES);
	}
	in.nulls = NULL;
	UNIT_CHECK(round_trip(&in, -1, 3, VDB_ENC_PLANES).zstd, "skewed");
	(void) round_trip(&in, -1, 0, VDB_ENC_FOR);
	in.count = 255;
	(void) round_trip(&in, -1, 3, VDB_ENC_FOR);
	in.count = MAX_COUNT;
	make_ints(INT_RISING, 8, MAX_COUNT, values);
	in.width = 8;
	(void) round_trip(&in, -1, 3, VDB_ENC_DELTA);
}

/*
 * The packed layout by its definition in the README, bit by bit, against what
 * the kernels wrote.
 */
static void
test_packed_layout(void)
{
	int64		values[600];
	VdbVectorInput in = {.kind = VDB_VEC_INT,.width = 8,.count = 600,.values = values};
	VdbEncodeOptions options = {.force_encoding = VDB_ENC_FOR};
	VdbEncodedVector out;

	for (uint32 bits = 1; bits <= 64; bits++)
	{
		uint32		lanes = bits <= 32 ? 8 : 4;
		uint32		word_bytes = bits <= 32 ? 4 : 8;
		uint32		wrong = 0;
		const uint8 *words;

		for (uint32 pos = 0; pos < in.count; pos++)
			values[pos] = (int64) (unit_random() >> (64 - bits)) ^ PG_INT64_MIN;
		values[0] = PG_INT64_MIN;
		values[1] = (int64) (UINT64_MAX >> (64 - bits)) ^ PG_INT64_MIN;
		vdb_codec_encode(ws, &in, &options, &out);
		words = out.bytes + 32;
		for (uint32 pos = 0; pos < in.count; pos++)
		{
			uint32		lane = pos % 256 % lanes;
			uint32		row = pos % 256 / lanes;
			uint64		field = 0;

			for (uint32 bit = 0; bit < bits; bit++)
			{
				uint32		at = row * bits + bit;
				uint32		word = at / (8 * word_bytes) * lanes + lane;
				uint32		byte = pos / 256 * 32 * bits + word * word_bytes +
				at % (8 * word_bytes) / 8;

				field |= (uint64) (words[byte] >> at % 8 & 1) << bit;
			}
			wrong += (int64) (field + (uint64) PG_INT64_MIN) != values[pos];
		}
		UNIT_CHECK(wrong == 0, "%u bits: %u wrong fields", bits, wrong);
	}
}

static void
test_names(void)
{
	static const char *const names[] = {"plain", "constant", "rle", "for", "delta", "dictionary", "allnull", "planes"};

	for (int encoding = 0; encoding < VDB_ENC_COUNT; encoding++)
	{
		UNIT_CHECK(strcmp(vdb_codec_encoding_name(encoding), names[encoding]) == 0, "%d", encoding);
		UNIT_CHECK(vdb_codec_encoding_number(names[encoding]) == encoding, "%d", encoding);
	}
	UNIT_CHECK(strcmp(vdb_codec_label(VDB_ENC_FOR, true), "for+zstd") == 0, "label");
	UNIT_CHECK(vdb_codec_encoding_name(VDB_ENC_COUNT) == NULL, "past the end");
	UNIT_CHECK(vdb_codec_encoding_name(-1) == NULL, "before the start");
	UNIT_CHECK(vdb_codec_encoding_number("zip") == -1, "unknown name");
	for (int status = 0; status <= VDB_CODEC_BAD_CALL + 1; status++)
		UNIT_CHECK(vdb_codec_status_text((VdbCodecStatus) status)[0] != '\0', "%d", status);
}

/* ---- wrong calls and wrong bytes ---- */

static void
test_wrong_calls(void)
{
	int64		values[1] = {7};
	const uint8 *ptrs[2] = {NULL, NULL};
	uint32		lens[2] = {0x40000000, 0};
	VdbEncodeOptions options = {.force_encoding = -1};
	VdbEncodedVector out;
	VdbVectorInput in = {.kind = VDB_VEC_INT,.width = 3,.count = 1,.values = values};
	VdbVectorReader reader;
	const uint8 *image;
	uint32		bytes;
	uint16		codes[1];

	UNIT_CHECK(vdb_codec_encode(ws, &in, &options, &out) == VDB_CODEC_BAD_CALL, "width");
	in.width = 8;
	in.count = MAX_COUNT + 1;
	UNIT_CHECK(vdb_codec_encode(ws, &in, &options, &out) == VDB_CODEC_BAD_CALL, "count");
	in.count = 1;
	in.kind = 3;
	UNIT_CHECK(vdb_codec_encode(ws, &in, &options, &out) == VDB_CODEC_BAD_CALL, "kind");
	in = (VdbVectorInput) {.kind = VDB_VEC_BYTES,.count = 2,.ptrs = ptrs,.lens = lens};
	UNIT_CHECK(vdb_codec_encode(ws, &in, &options, &out) == VDB_CODEC_TOO_BIG, "length");

	in = (VdbVectorInput) {.kind = VDB_VEC_INT,.width = 8,.count = 1,.values = values};
	UNIT_CHECK(vdb_codec_encode(ws, &in, &options, &out) == VDB_CODEC_OK, "encode");
	UNIT_CHECK(vdb_codec_open(ws, out.bytes, out.size_bytes, NULL, 0, &reader) == VDB_CODEC_OK,
			   "open");
	UNIT_CHECK(vdb_codec_bytes_at(&reader, 0, &image, &bytes) == VDB_CODEC_BAD_CALL, "kind");
	UNIT_CHECK(vdb_codec_fixed_at(&reader, 0, &image) == VDB_CODEC_BAD_CALL, "kind");
	UNIT_CHECK(vdb_codec_decode_codes(&reader, codes) == VDB_CODEC_BAD_CALL, "no dictionary");
	UNIT_CHECK(vdb_codec_dict_size(&reader) == 0, "no dictionary");
}

/* Ask everything of bytes that may be rubbish; nothing may go wrong but status. */
static bool
swallow(const uint8 *bytes, size_t size)
{
	static int64 ints[MAX_COUNT];
	static const uint8 *images[MAX_COUNT];
	static uint32 image_bytes[MAX_COUNT];
	static uint16 codes[MAX_COUNT];
	volatile uint8 sink = 0;
	VdbVectorReader reader;
	bool		good;

	if (vdb_codec_open(ws, bytes, size, NULL, 0, &reader) != VDB_CODEC_OK)
		return false;
	if (vdb_codec_dict_size(&reader) > 0)
		(void) vdb_codec_decode_codes(&reader, codes);
	for (uint32 pos = 0; pos < reader.info.count; pos += 1 + pos / 8)
	{
		const uint8 *image = NULL;
		uint32		len = reader.info.width;
		int64		value;

		(void) vdb_codec_int_at(&reader, pos, &value);
		if (vdb_codec_fixed_at(&reader, pos, &image) != VDB_CODEC_OK &&
			vdb_codec_bytes_at(&reader, pos, &image, &len) != VDB_CODEC_OK)
			continue;
		if (image != NULL && len > 0)
			sink = (uint8) (sink + image[0] + image[len - 1]);
	}
	if (reader.info.kind == VDB_VEC_INT)
		good = vdb_codec_decode_int(&reader, ints) == VDB_CODEC_OK;
	else if (reader.info.kind == VDB_VEC_FIXED)
		good = vdb_codec_decode_fixed(&reader, images) == VDB_CODEC_OK;
	else
		good = vdb_codec_decode_bytes(&reader, images, image_bytes) == VDB_CODEC_OK;
	return good;
}

/* Each prefix is refused; each flipped bit is survived. */
static void
damage_vector(const VdbVectorInput *in, int force, int zstd_level)
{
	VdbEncodeOptions options = {.force_encoding = force,.zstd_level = zstd_level};
	VdbEncodedVector out;
	uint8	   *copy;
	size_t		size;
	uint32		accepted = 0;

	if (!UNIT_CHECK(vdb_codec_encode(ws, in, &options, &out) == VDB_CODEC_OK, "encode"))
		return;
	copy = exact_copy(&out);
	size = out.size_bytes;
	for (size_t cut = 0; cut < size; cut += 1 + (cut > 200) * 37)
	{
		uint8	   *prefix = malloc(cut + 1);

		memcpy(prefix, copy, cut);
		prefix = realloc(prefix, cut > 0 ? cut : 1);
		accepted += swallow(prefix, cut);
		free(prefix);
	}
	UNIT_CHECK(accepted == 0, "%u prefixes accepted", accepted);

	for (size_t bit = 0; bit < size * 8; bit += 1 + (bit > 1600) * 97)
	{
		copy[bit / 8] ^= (uint8) (1 << bit % 8);
		(void) swallow(copy, size);
		copy[bit / 8] ^= (uint8) (1 << bit % 8);
	}
	UNIT_CHECK(swallow(copy, size), "the undamaged vector");
	free(copy);
}

static void
test_damage(void)
{
	int64		values[MAX_COUNT];
	const uint8 *ptrs[MAX_COUNT];
	uint32		lens[MAX_COUNT];
	static uint8 data[MAX_COUNT * 16];
	static const uint32 counts[] = {1, 3, 130, 700};

	for (size_t c = 0; c < lengthof(counts); c++)
		for (int force = -1; force < VDB_ENC_COUNT; force++)
			for (int nulls = 0; nulls < NULLS_PATTERNS; nulls++)
			{
				int			level = nulls % 2 == 0 ? 0 : -1;
				VdbVectorInput in = {.kind = VDB_VEC_INT,.width = 4,.count = counts[c],
					.values = values,.nulls = make_nulls(nulls, counts[c])
				};

				make_ints(nulls % 2 ? INT_FEW_FAR : INT_RUNS, 4, in.count, values);
				damage_vector(&in, force, level);
				in = (VdbVectorInput) {.kind = VDB_VEC_FIXED,.width = 16,.count = counts[c],
					.data = data,.nulls = in.nulls
				};
				damage_vector(&in, force, level);
				in = (VdbVectorInput) {.kind = VDB_VEC_BYTES,.image = (VdbImageMode) (nulls % 3),
					.count = counts[c],.ptrs = ptrs,.lens = lens,.nulls = in.nulls
				};
				make_strings(in.count, 20, 140, ptrs, lens);
				damage_vector(&in, force, level);
			}
}

/* A few bytes that promise gigabytes must not make us ask for them. */
static void
test_lying_sizes(void)
{
	int64		values[64] = {0};
	VdbVectorInput in = {.kind = VDB_VEC_INT,.width = 8,.count = 64,.values = values};
	VdbEncodeOptions options = {.force_encoding = VDB_ENC_PLAIN,.zstd_level = -1};
	VdbEncodedVector out;
	VdbVectorReader reader;
	VdbVectorHeader header;
	uint8	   *copy;

	UNIT_CHECK(vdb_codec_encode(ws, &in, &options, &out) == VDB_CODEC_OK && out.zstd, "encode");
	copy = exact_copy(&out);
	memcpy(&header, copy, sizeof(header));
	header.raw_bytes = 0xF0000000;
	memcpy(copy, &header, sizeof(header));
	UNIT_CHECK(vdb_codec_open(ws, copy, out.size_bytes, NULL, 0, &reader) == VDB_CODEC_CORRUPT,
			   "gigabytes");
	header.raw_bytes = 1024;
	memcpy(copy, &header, sizeof(header));
	UNIT_CHECK(vdb_codec_open(ws, copy, out.size_bytes, NULL, 0, &reader) == VDB_CODEC_CORRUPT,
			   "another size");
	header.raw_bytes = 512;
	header.version = 2;
	memcpy(copy, &header, sizeof(header));
	UNIT_CHECK(vdb_codec_open(ws, copy, out.size_bytes, NULL, 0, &reader) == VDB_CODEC_VERSION,
			   "too new");
	free(copy);
}

/* A damaged byte of a head or frame is found though no process reads the rest. */
static void
test_part_checksums(void)
{
	static char text[MAX_COUNT][80];
	const uint8 *ptrs[MAX_COUNT];
	uint32		lens[MAX_COUNT];
	VdbVectorInput in = {.kind = VDB_VEC_BYTES,.image = VDB_IMAGE_SHORT,.count = MAX_COUNT,
		.ptrs = ptrs,.lens = lens
	};
	VdbEncodeOptions options = {.force_encoding = VDB_ENC_PLAIN,.zstd_level = 3};
	VdbEncodedVector out;
	PieceSource source = {0};
	VdbPartSize need;
	VdbFrameAddress place;
	const uint8 *image;
	uint32		bytes;
	uint32		missed = 0;
	uint8	   *copy;
	uint8	   *keep;

	for (uint32 pos = 0; pos < MAX_COUNT; pos++)
	{
		lens[pos] = (uint32) snprintf(text[pos], sizeof(text[pos]),
									  "https://example.org/item/%u?from=mail&n=%u",
									  pos, (unsigned) unit_random_below(1000));
		ptrs[pos] = (const uint8 *) text[pos];
	}
	UNIT_CHECK(vdb_codec_encode(ws, &in, &options, &out) == VDB_CODEC_OK && out.zstd, "encode");
	copy = exact_copy(&out);
	UNIT_CHECK(vdb_codec_part_measure(copy, out.size_bytes, &need) == VDB_CODEC_OK &&
			   need.frames > 3 &&
			   need.need_bytes < out.size_bytes / 4, "%u frames, head %zu of %zu", need.frames,
			   need.need_bytes, out.size_bytes);
	keep = malloc(need.keep_bytes);
	for (size_t at = 0; at < need.need_bytes; at++)
	{
		copy[at] ^= 0x10;
		missed += vdb_codec_part_open(ws, copy, need.need_bytes, keep, need.keep_bytes,
									  &source.part) == VDB_CODEC_OK;
		copy[at] ^= 0x10;
	}
	UNIT_CHECK(missed == 0, "%u damaged bytes of the head not found", missed);

	UNIT_CHECK(vdb_codec_part_open(ws, copy, need.need_bytes, keep, need.keep_bytes,
								   &source.part) == VDB_CODEC_OK, "open");
	UNIT_CHECK(vdb_codec_part_frame(&source.part, 2, &place) == VDB_CODEC_OK, "place");
	UNIT_CHECK(vdb_codec_part_frame(&source.part, need.frames, &place) == VDB_CODEC_BAD_CALL,
			   "no such frame");
	copy[place.offset + place.stored_bytes / 2] ^= 1;
	source.bytes = copy;
	UNIT_CHECK(vdb_codec_part_bytes_at(ws, &source.part, 0, get_frame, &source, &image,
									   &bytes) == VDB_CODEC_OK,
			   "frame 1 is well");
	UNIT_CHECK(vdb_codec_part_bytes_at(ws, &source.part, 500, get_frame, &source, &image,
									   &bytes) == VDB_CODEC_BAD_CRC,
			   "frame 2 is not");
	UNIT_CHECK(vdb_codec_bytes_at(&source.part.reader, 0, &image, &bytes) == VDB_CODEC_BAD_CALL,
			   "a head is no whole");
	free_frames(&source);
	free(keep);
	free(copy);
}

/* The shapes that the other tests do not make: all frames there are, and values across them */
static void
test_part_shapes(void)
{
	UNIT_CHECK(tailed_parts > 100, "%u vectors had more than a head", tailed_parts);
	UNIT_CHECK(joined_parts > 50, "%u vectors had several frames", joined_parts);
}

/* A bit width that no kernel has, with all the bytes that it would take */
static void
test_impossible_bits(void)
{
	static const uint8 bits[] = {64, 65, 96, 255};

	for (size_t b = 0; b < lengthof(bits); b++)
	{
		VdbPackedHeader packed = {.bits = bits[b],.count = 256};
		uint32		bytes = sizeof(packed) + 32 * (uint32) bits[b];
		VdbVectorHeader header = {.version = 1,.encoding = VDB_ENC_FOR,.kind = VDB_VEC_INT,
			.count = 256,.width = 8,.stored_bytes = bytes,.raw_bytes = bytes
		};
		uint8	   *vector = calloc(1, sizeof(header) + bytes);
		VdbVectorReader reader;

		memcpy(vector, &header, sizeof(header));
		memcpy(vector + sizeof(header), &packed, sizeof(packed));
		UNIT_CHECK(vdb_codec_open(ws, vector, sizeof(header) + bytes, NULL, 0, &reader) ==
				   (bits[b] == 64 ? VDB_CODEC_OK : VDB_CODEC_CORRUPT), "%u bits", bits[b]);
		free(vector);
	}
}

/* A vector is found whole though others follow it. */
static void
test_neighbors(void)
{
	int64		values[100];
	VdbVectorInput in = {.kind = VDB_VEC_INT,.width = 2,.count = 100,.values = values};
	VdbEncodeOptions options = {.force_encoding = -1};
	VdbEncodedVector out;
	VdbVectorReader reader;
	static uint8 row[1 << 16];
	size_t		used = 0;

	for (int n = 0; n < 10; n++)
	{
		make_ints(n % INT_SHAPES, 2, 100, values);
		UNIT_CHECK(vdb_codec_encode(ws, &in, &options, &out) == VDB_CODEC_OK, "encode");
		memcpy(row + used, out.bytes, out.size_bytes);
		used += (out.size_bytes + 7) / 8 * 8;
	}
	for (size_t at = 0, n = 0; n < 10; n++)
	{
		UNIT_CHECK(vdb_codec_open(ws, row + at, used - at, NULL, 0, &reader) == VDB_CODEC_OK,
				   "vector %zu", n);
		at += (reader.info.total_bytes + 7) / 8 * 8;
		if (n == 9)
			UNIT_CHECK(at == used, "ends at %zu of %zu", at, used);
	}
}

int
main(void)
{
	ws = vdb_codec_workspace_create();
	unit_run("names and numbers", test_names);
	unit_run("golden bytes of version 1", test_golden);
	unit_run("packed layout as documented", test_packed_layout);
	unit_run("units", test_units);
	unit_run("bytes of units", test_unit_bytes);
	unit_run("planes", test_planes);
	unit_run("every bit width", test_bit_widths);
	unit_run("dictionary sizes", test_dictionary_sizes);
	unit_run("int8 round trips", test_int8);
	unit_run("int16 round trips", test_int16);
	unit_run("int32 round trips", test_int32);
	unit_run("int64 round trips", test_int64);
	unit_run("fixed-width round trips", test_fixed);
	unit_run("variable-length round trips", test_bytes);
	unit_run("long values", test_long_values);
	unit_run("choice of encoding", test_choice);
	unit_run("choice of zstd", test_zstd_choice);
	unit_run("wrong calls", test_wrong_calls);
	unit_run("sizes that lie", test_lying_sizes);
	unit_run("checksums of parts", test_part_checksums);
	unit_run("parts were tested", test_part_shapes);
	unit_run("impossible bit widths", test_impossible_bits);
	unit_run("vectors in a row", test_neighbors);
	unit_run("damaged bytes", test_damage);
	vdb_codec_workspace_free(ws);
	return unit_finish();
}
