/*
 * codec_bitpack.c
 *	  Packed sections: up to 2048 integers in as few bits as their range needs; and encoding "for",
 *	  which is one such section.
 *
 * README.md describes the layout: blocks of 256 values, 8 lanes of 32-bit words up to 32 bits a
 * value, 4 lanes of 64-bit words above.  A block of b bits takes 32 * b bytes, in either form; the
 * last one is cut after its last row.
 *
 * On x86-64 gcc makes the unpacking kernel twice, for AVX2 and for the baseline, and the loader
 * picks one; elsewhere it is compiled once, for the compiler's own target.  A kernel per width with
 * every shift a constant, all of them unrolled, was tried: it was 15 % faster, for 250 kB of code;
 * most of the cost is in storing the values.
 */
#include "codec_port.h"

#include "codec_private.h"

/*
 * Clones are not used under sanitizers, as the loader's choice runs before they are ready; nor with
 * clang, whose syntax for this came later than the versions we build with.
 */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
	!defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define VDB_PACK_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define VDB_PACK_CLONES
#endif

typedef uint32 VdbWord32 __attribute__((aligned(1), may_alias));
typedef uint64 VdbWord64 __attribute__((aligned(1), may_alias));

#define VDB_PACK_INLINE		__attribute__((always_inline))

#define VDB_PACK_WORD		VdbWord32
#define VDB_PACK_LANES		8
#define VDB_PACK_FN(name)	vdb_##name##_block32
#include "codec_bitpack_impl.h"

#define VDB_PACK_WORD		VdbWord64
#define VDB_PACK_LANES		4
#define VDB_PACK_FN(name)	vdb_##name##_block64
#include "codec_bitpack_impl.h"

/* Return the number of lanes of a block, which is the number of values in a row of it. */
static inline uint32
vdb_lanes(uint8 bits)
{
	return bits <= 32 ? 8 : 4;
}

/* Return the bytes that n values of a block take; n is at most VDB_PACK_BLOCK. */
static inline uint64
vdb_block_bytes(uint8 bits, uint32 n)
{
	uint32		lanes = vdb_lanes(bits);
	uint32		word_bits = bits <= 32 ? 32 : 64;
	uint32		rows = (n + lanes - 1) / lanes;

	return (uint64) VDB_PACK_ROW_BYTES *
		((rows * bits + word_bits - 1) / word_bits);
}

/* Return the bytes of a section's words. */
static uint64
vdb_words_bytes(uint8 bits, uint32 count)
{
	return count / VDB_PACK_BLOCK * vdb_block_bytes(bits, VDB_PACK_BLOCK) +
		vdb_block_bytes(bits, count % VDB_PACK_BLOCK);
}

/* Unpack a full block; bits is not 0. */
VDB_PACK_CLONES
static void
vdb_unpack_block(const uint8 *words, uint32 bits, uint64 base, int64 *out)
{
	if (bits <= 32)
		vdb_unpack_block32((const VdbWord32 *) words, bits, base, out);
	else
		vdb_unpack_block64((const VdbWord64 *) words, bits, base, out);
}

/* Turn the fields of a full block into values. */
VDB_PACK_CLONES
static void
vdb_scale_block(int64 *fields, uint64 unit, uint64 base)
{
	for (uint32 i = 0; i < VDB_PACK_BLOCK; i++)
		fields[i] = (int64) (base + unit * (uint64) fields[i]);
}

/* Return the bytes of a packed section without unit, header included: a multiple of 16. */
uint64
vdb_packed_measure(uint8 bits, uint32 count)
{
	Assert(bits <= 64);
	return sizeof(VdbPackedHeader) + vdb_words_bytes(bits, count);
}

/* Write the words of 'count' values, each within 'bits' bits above base. */
static void
vdb_packed_write_words(VdbByteWriter *writer, const int64 *values,
					   uint32 count, int64 base, uint8 bits)
{
	uint32		lanes = vdb_lanes(bits);

	if (bits == 0)
		return;

	for (uint32 done = 0; done < count; done += VDB_PACK_BLOCK)
	{
		uint32		n = Min(count - done, VDB_PACK_BLOCK);
		uint8	   *words = vdb_bytes_room(writer, vdb_block_bytes(bits, n));
		const int64 *from = values + done;
		int64		padded[VDB_PACK_BLOCK];

		if (n < VDB_PACK_BLOCK)
		{
			/* unused fields of the last row are zero, so their values are the base */
			for (uint32 i = 0; i < VDB_PACK_BLOCK; i++)
				padded[i] = i < n ? from[i] : base;
			from = padded;
		}
		if (bits <= 32)
			vdb_pack_block32(from, (n + lanes - 1) / lanes, bits,
							 (uint64) base, (VdbWord32 *) words);
		else
			vdb_pack_block64(from, (n + lanes - 1) / lanes, bits,
							 (uint64) base, (VdbWord64 *) words);
	}
}

/*
 * Write a section of 'count' values, each of which lies within 'bits' bits above base (modulo
 * 2^64).
 */
void
vdb_packed_write(VdbByteWriter *writer, const int64 *values, uint32 count,
				 int64 base, uint8 bits)
{
	VdbPacking	packing = {.base = base,.unit = 1,.bits = bits};

	vdb_packing_write(writer, values, count, &packing);
}

/*
 * Choose how to pack 'count' values from min to max (modulo 2^64) whose distances from min have the
 * divisor 'unit'.  The unit is used if it makes the section smaller.
 */
VdbPacking
vdb_packing_choose(int64 min, int64 max, uint64 unit, uint32 count)
{
	uint64		range = (uint64) max - (uint64) min;
	VdbPacking	as_is = {.base = min,.unit = 1,.bits = vdb_bits_for(range)};
	VdbPacking	scaled = {.base = min,.unit = unit,.bits = vdb_bits_for(range / unit)};

	Assert(unit > 0);
	if (unit > 1 &&
		vdb_packing_measure(&scaled, count) < vdb_packing_measure(&as_is, count))
		return scaled;
	return as_is;
}

/* Return the bytes of a section of 'count' values with the given packing. */
uint64
vdb_packing_measure(const VdbPacking *packing, uint32 count)
{
	return vdb_packed_measure(packing->bits, count) +
		(packing->unit > 1 ? sizeof(packing->unit) : 0);
}

/* Write a section of 'count' values with the given packing. */
void
vdb_packing_write(VdbByteWriter *writer, const int64 *values, uint32 count,
				  const VdbPacking *packing)
{
	VdbPackedHeader header = {.base = packing->base,.bits = packing->bits,.count = (uint16) count};
	int64		fields[VDB_VEC_MAX_COUNT];

	Assert(count <= VDB_VEC_MAX_COUNT && packing->bits <= 64 && packing->unit > 0);
	if (packing->unit > 1)
		header.flags |= VDB_PACKF_UNIT;
	vdb_bytes_put(writer, &header, sizeof(header));
	if (packing->unit == 1)
	{
		vdb_packed_write_words(writer, values, count, packing->base, packing->bits);
		return;
	}
	vdb_bytes_put(writer, &packing->unit, sizeof(packing->unit));
	vdb_unit_divide(values, count, packing->base, packing->unit, fields);
	vdb_packed_write_words(writer, fields, count, 0, packing->bits);
}

/* Take a section off the bytes, and check that it is complete. */
VdbCodecStatus
vdb_packed_open(VdbPackedView *view, VdbByteReader *bytes)
{
	VdbPackedHeader header;

	if (!vdb_bytes_copy(bytes, &header, sizeof(header)))
		return VDB_CODEC_TRUNCATED;
	if (header.bits > 64 || header.count > VDB_VEC_MAX_COUNT ||
		(header.flags & ~VDB_PACKF_UNIT) != 0 || header.zero != 0)
		return VDB_CODEC_CORRUPT;

	view->unit = 1;
	if (header.flags & VDB_PACKF_UNIT)
	{
		if (!vdb_bytes_copy(bytes, &view->unit, sizeof(view->unit)))
			return VDB_CODEC_TRUNCATED;
		if (view->unit <= 1)
			return VDB_CODEC_CORRUPT;
	}
	view->base = header.base;
	view->bits = header.bits;
	view->count = header.count;
	view->bytes = vdb_words_bytes(header.bits, header.count);
	view->words = vdb_bytes_take(bytes, view->bytes);
	return view->words == NULL ? VDB_CODEC_TRUNCATED : VDB_CODEC_OK;
}

/*
 * Unpack one block to 'out', which has room for VDB_PACK_BLOCK values.  Returns how many of them
 * belong to the section.
 */
uint32
vdb_packed_block(const VdbPackedView *view, uint32 block, int64 *out)
{
	uint32		first = block * VDB_PACK_BLOCK;
	uint32		n = Min(view->count - first, VDB_PACK_BLOCK);
	const uint8 *words;
	uint8		padded[VDB_PACK_ROW_BYTES * 64];

	Assert(first < view->count && view->bits <= 64);
	if (view->bits == 0)
	{
		for (uint32 i = 0; i < VDB_PACK_BLOCK; i++)
			out[i] = view->base;
		return n;
	}

	words = view->words + block * vdb_block_bytes(view->bits, VDB_PACK_BLOCK);
	if (n < VDB_PACK_BLOCK)
	{
		uint64		present = vdb_block_bytes(view->bits, n);

		/* kernels take whole blocks; a cut one is completed first */
		memcpy(padded, words, present);
		memset(padded + present, 0, VDB_PACK_ROW_BYTES * view->bits - present);
		words = padded;
	}
	if (view->unit <= 1)
		vdb_unpack_block(words, view->bits, (uint64) view->base, out);
	else
	{
		vdb_unpack_block(words, view->bits, 0, out);
		vdb_scale_block(out, view->unit, (uint64) view->base);
	}
	return n;
}

/* Unpack all values to 'out', which has room for view->count of them. */
void
vdb_packed_decode(const VdbPackedView *view, int64 *out)
{
	uint32		full = view->count / VDB_PACK_BLOCK;
	int64		last[VDB_PACK_BLOCK];

	Assert(view->bits == 0 ||
		   view->bytes == vdb_words_bytes(view->bits, view->count));
	for (uint32 block = 0; block < full; block++)
		(void) vdb_packed_block(view, block, out + block * VDB_PACK_BLOCK);

	if (view->count % VDB_PACK_BLOCK != 0)
	{
		uint32		n = vdb_packed_block(view, full, last);

		memcpy(out + full * VDB_PACK_BLOCK, last, n * sizeof(int64));
	}
}

/* Return word 'index' of a lane's bit stream, as 64 bits. */
static inline uint64
vdb_lane_word(const uint8 *block, uint32 index, uint32 lane, uint32 lanes)
{
	const uint8 *row = block + (uint64) index * VDB_PACK_ROW_BYTES;

	return lanes == 8 ? ((const VdbWord32 *) row)[lane] :
		((const VdbWord64 *) row)[lane];
}

/* Return one value, without unpacking anything else. */
int64
vdb_packed_at(const VdbPackedView *view, uint32 pos)
{
	uint32		bits = view->bits;
	uint32		lanes = vdb_lanes(view->bits);
	uint32		word_bits = bits <= 32 ? 32 : 64;
	uint32		in_block = pos % VDB_PACK_BLOCK;
	uint32		bit = in_block / lanes * bits;
	uint32		lane = in_block % lanes;
	uint32		index = bit / word_bits;
	uint32		shift = bit % word_bits;
	const uint8 *block;
	uint64		field;

	Assert(pos < view->count && view->bits <= 64);
	if (bits == 0)
		return view->base;

	block = view->words +
		pos / VDB_PACK_BLOCK * vdb_block_bytes(view->bits, VDB_PACK_BLOCK);
	field = vdb_lane_word(block, index, lane, lanes) >> shift;
	if (shift + bits > word_bits)
		field |= vdb_lane_word(block, index + 1, lane, lanes) <<
			(word_bits - shift);
	field &= UINT64_MAX >> (64 - bits);
	if (view->unit > 1)
		field *= view->unit;
	return (int64) ((uint64) view->base + field);
}

/* ---- encoding "for": one section, base = minimum ---- */

static VdbPacking
vdb_for_packing(const VdbEncodePlan *plan)
{
	Assert(plan->min <= plan->max);
	return vdb_packing_choose(plan->min, plan->max, plan->unit, plan->count);
}

static uint64
vdb_for_measure(const VdbEncodePlan *plan)
{
	VdbPacking	packing = vdb_for_packing(plan);

	return vdb_packing_measure(&packing, plan->count);
}

static void
vdb_for_write(const VdbEncodePlan *plan, VdbByteWriter *writer)
{
	VdbPacking	packing = vdb_for_packing(plan);

	vdb_packing_write(writer, plan->values, plan->count, &packing);
}

static VdbCodecStatus
vdb_for_open(VdbVectorReader *reader, VdbByteReader *payload)
{
	VdbCodecStatus status = vdb_packed_open(&reader->packed, payload);

	if (status == VDB_CODEC_OK && reader->packed.count != reader->info.count)
		status = VDB_CODEC_CORRUPT;
	return status;
}

static VdbCodecStatus
vdb_for_decode(const VdbVectorReader *reader, int64 *out)
{
	vdb_packed_decode(&reader->packed, out);
	return VDB_CODEC_OK;
}

static VdbCodecStatus
vdb_for_at(const VdbVectorReader *reader, uint32 pos, int64 *value)
{
	Assert(pos < reader->info.count);
	Assert(reader->packed.count == reader->info.count);
	*value = vdb_packed_at(&reader->packed, pos);
	return VDB_CODEC_OK;
}

const VdbCodecMethods vdb_codec_for = {
	.name = "for",
	.name_zstd = "for+zstd",
	.number = VDB_ENC_FOR,
	.kinds = VDB_KINDS_INT,
	.measure = vdb_for_measure,
	.write = vdb_for_write,
	.open = vdb_for_open,
	.decode_int = vdb_for_decode,
	.int_at = vdb_for_at
};
