/*
 * codec_dict.c
 *	  Encoding "dictionary": the distinct values once, and a code per position.
 *
 * Payload: VdbDictHeader; the codes, packed or run-length, padded to 8; the entries in order of
 * first appearance (INT a packed section, FIXED and BYTES items).  A code is compared with the
 * number of entries wherever it is used.
 *
 * The builder also serves the choice of encoding: it finds constants among by-reference values, and
 * gives up as soon as a dictionary cannot win.
 */
#include "codec_port.h"

#include "codec_private.h"

#define VDB_HASH_FACTOR		UINT64_C(0x9E3779B97F4A7C15)

/* ---- build ---- */

static inline uint64
vdb_hash_step(uint64 hash, uint64 word)
{
	hash = (hash ^ word) * VDB_HASH_FACTOR;
	return hash ^ (hash >> 32);
}

static uint64
vdb_hash_bytes(const uint8 *bytes, uint64 len)
{
	uint64		hash = vdb_hash_step(0, len);
	uint64		word;

	for (; len >= sizeof(word); len -= sizeof(word), bytes += sizeof(word))
	{
		memcpy(&word, bytes, sizeof(word));
		hash = vdb_hash_step(hash, word);
	}
	word = 0;
	for (uint64 i = 0; i < len; i++)
		word |= (uint64) bytes[i] << (8 * i);
	return vdb_hash_step(hash, word);
}

static inline uint64
vdb_input_hash(const VdbEncodePlan *plan, uint32 pos)
{
	const VdbVectorInput *in = plan->in;

	if (in->kind == VDB_VEC_INT)
		return vdb_hash_step(0, (uint64) plan->values[pos]);
	if (in->kind == VDB_VEC_FIXED)
		return vdb_hash_bytes(in->data + (uint64) pos * in->width, in->width);
	return vdb_hash_bytes(in->ptrs[pos], in->lens[pos]);
}

static inline bool
vdb_input_equal(const VdbEncodePlan *plan, uint32 a, uint32 b)
{
	const VdbVectorInput *in = plan->in;

	if (in->kind == VDB_VEC_INT)
		return plan->values[a] == plan->values[b];
	if (in->kind == VDB_VEC_FIXED)
		return memcmp(in->data + (uint64) a * in->width,
					  in->data + (uint64) b * in->width, in->width) == 0;
	return in->lens[a] == in->lens[b] &&
		(in->lens[a] == 0 || memcmp(in->ptrs[a], in->ptrs[b], in->lens[a]) == 0);
}

/*
 * Return the code of the value at 'pos', adding an entry if the value is new.  There are twice as
 * many slots as there can be entries, so the search ends.
 */
static inline uint32
vdb_dict_code(VdbEncodeScratch *scratch, uint32 pos, uint32 *entries)
{
	VdbEncodePlan *plan = &scratch->plan;
	uint64		hash = vdb_input_hash(plan, pos);
	uint32		slot = (uint32) (hash % VDB_DICT_SLOTS);

	Assert(*entries < VDB_DICT_SLOTS);
	while (scratch->slots[slot] != 0)
	{
		uint32		entry = scratch->slots[slot] - 1U;

		if (scratch->hashes[entry] == hash &&
			vdb_input_equal(plan, plan->entry_pos[entry], pos))
			return entry;
		slot = (slot + 1) % VDB_DICT_SLOTS;
	}
	scratch->slots[slot] = (uint16) (*entries + 1);
	scratch->hashes[*entries] = hash;
	plan->entry_pos[*entries] = (uint16) pos;
	return (*entries)++;
}

/* Return the packing of codes of so many entries. */
static VdbPacking
vdb_dict_code_packing(uint32 entries)
{
	VdbPacking	packing = {.base = 0,.unit = 1,.bits = vdb_bits_for(entries - 1)};

	Assert(entries > 0);
	return packing;
}

/* Return the least number of bytes that an INT dictionary of so many entries can take. */
static uint64
vdb_dict_least_bytes(uint32 entries, uint32 count)
{
	VdbPacking	packing = vdb_dict_code_packing(entries);

	return Min(vdb_packing_measure(&packing, count),
			   vdb_runs_measure(entries, &packing)) +
		vdb_packing_measure(&packing, entries);
}

/* Choose how to store the codes, once all are known. */
static void
vdb_dict_measure_codes(VdbEncodePlan *plan)
{
	VdbPacking	packing = vdb_dict_code_packing(plan->distinct);
	uint64		packed = vdb_packing_measure(&packing, plan->count);
	uint64		by_runs;

	plan->code_runs = 1;
	for (uint32 pos = 1; pos < plan->count; pos++)
		plan->code_runs += plan->codes[pos] != plan->codes[pos - 1];

	by_runs = VDB_ALIGN8(vdb_runs_measure(plan->code_runs, &packing));
	plan->code_encoding = by_runs < packed ? VDB_ENC_RLE : VDB_ENC_FOR;
	plan->code_bytes = Min(by_runs, packed);
}

/*
 * Find the distinct values.  plan->distinct stays 0 if there are too many for a dictionary to be
 * smaller than best_bytes, unless it is forced.
 */
void
vdb_dict_build(VdbEncodeScratch *scratch, uint64 best_bytes, bool forced)
{
	VdbEncodePlan *plan = &scratch->plan;
	bool		is_int = plan->in->kind == VDB_VEC_INT;
	const uint8 *nulls = is_int ? NULL : plan->in->nulls;
	uint32		limit = forced ? VDB_VEC_MAX_COUNT :
		(plan->count - plan->null_count) / 2 + 1;
	uint32		entries = 0;
	uint32		code = 0;

	plan->distinct = 0;
	if (plan->count == plan->null_count)
		return;
	memset(scratch->slots, 0, sizeof(scratch->slots));
	for (uint32 pos = 0; pos < plan->count; pos++)
	{
		uint32		before = entries;

		/* nulls (and, for integers, repetitions) take the code before them */
		if ((nulls == NULL || !vdb_bit_is_set(nulls, pos)) &&
			(!is_int || pos == 0 || plan->values[pos] != plan->values[pos - 1]))
			code = vdb_dict_code(scratch, pos, &entries);
		plan->codes[pos] = (uint16) code;

		if (entries == before || forced)
			continue;
		if (entries > limit ||
			(is_int && entries % 32 == 0 &&
			 vdb_dict_least_bytes(entries, plan->count) >= best_bytes))
			return;
	}
	Assert(entries > 0 && entries <= plan->count - plan->null_count);
	plan->distinct = entries;
	vdb_dict_measure_codes(plan);
}

/* ---- write ---- */

/* Return the packing of the entries of an INT dictionary. */
static VdbPacking
vdb_dict_entry_packing(const VdbEncodePlan *plan)
{
	return vdb_packing_choose(plan->min, plan->max, plan->unit, plan->distinct);
}

static uint64
vdb_dict_measure(const VdbEncodePlan *plan)
{
	uint64		entry_bytes;

	if (plan->distinct == 0)
		return VDB_NOT_APPLICABLE;
	if (plan->in->kind == VDB_VEC_INT)
	{
		VdbPacking	packing = vdb_dict_entry_packing(plan);

		entry_bytes = vdb_packing_measure(&packing, plan->distinct);
	}
	else
		entry_bytes = vdb_items_measure(plan->in, plan->entry_pos,
										plan->distinct);
	return sizeof(VdbDictHeader) + plan->code_bytes + entry_bytes;
}

static void
vdb_dict_write_codes(const VdbEncodePlan *plan, VdbByteWriter *writer)
{
	VdbPacking	packing = vdb_dict_code_packing(plan->distinct);
	int64		codes[VDB_VEC_MAX_COUNT];

	Assert(plan->count <= VDB_VEC_MAX_COUNT);
	for (uint32 pos = 0; pos < plan->count; pos++)
		codes[pos] = plan->codes[pos];
	if (plan->code_encoding == VDB_ENC_RLE)
		vdb_runs_write(writer, codes, plan->count, plan->code_runs, &packing);
	else
		vdb_packing_write(writer, codes, plan->count, &packing);
	vdb_bytes_pad8(writer);
}

static void
vdb_dict_write(const VdbEncodePlan *plan, VdbByteWriter *writer)
{
	VdbDictHeader header = {
		.entries = (uint16) plan->distinct,
		.code_encoding = plan->code_encoding,
		.code_bytes = (uint32) plan->code_bytes
	};
	int64		entries[VDB_VEC_MAX_COUNT];
	VdbPacking	packing;

	Assert(plan->distinct > 0 && plan->distinct <= VDB_VEC_MAX_COUNT);
	Assert(plan->code_bytes % 8 == 0);
	vdb_bytes_put(writer, &header, sizeof(header));
	vdb_dict_write_codes(plan, writer);
	if (plan->in->kind != VDB_VEC_INT)
	{
		vdb_items_write(writer, plan->in, plan->entry_pos, plan->distinct);
		return;
	}
	for (uint32 entry = 0; entry < plan->distinct; entry++)
		entries[entry] = plan->values[plan->entry_pos[entry]];
	packing = vdb_dict_entry_packing(plan);
	vdb_packing_write(writer, entries, plan->distinct, &packing);
}

/* ---- read ---- */

static VdbCodecStatus
vdb_dict_open_codes(VdbVectorReader *reader, uint8 code_encoding,
					VdbByteReader *codes)
{
	VdbCodecStatus status;

	if (code_encoding == VDB_ENC_RLE)
		status = vdb_runs_open(reader, codes);
	else if (code_encoding == VDB_ENC_FOR)
		status = vdb_packed_open(&reader->packed, codes);
	else
		return VDB_CODEC_VERSION;
	if (status != VDB_CODEC_OK)
		return status;

	if (code_encoding == VDB_ENC_FOR &&
		reader->packed.count != reader->info.count)
		return VDB_CODEC_CORRUPT;
	if (vdb_bytes_left(codes) >= 8 ||
		!vdb_bytes_take_zero(codes, vdb_bytes_left(codes)))
		return VDB_CODEC_CORRUPT;
	return VDB_CODEC_OK;
}

static VdbCodecStatus
vdb_dict_open(VdbVectorReader *reader, VdbByteReader *payload)
{
	VdbDictHeader header;
	VdbByteReader codes;
	VdbCodecStatus status;

	if (!vdb_bytes_copy(payload, &header, sizeof(header)))
		return VDB_CODEC_TRUNCATED;
	if (header.entries == 0 || header.entries > VDB_VEC_MAX_COUNT ||
		header.zero != 0 || header.code_bytes % 8 != 0)
		return VDB_CODEC_CORRUPT;
	codes.at = vdb_bytes_take(payload, header.code_bytes);
	if (codes.at == NULL)
		return VDB_CODEC_TRUNCATED;
	codes.end = payload->at;
	status = vdb_dict_open_codes(reader, header.code_encoding, &codes);
	if (status != VDB_CODEC_OK)
		return status;

	if (reader->info.kind != VDB_VEC_INT)
		return vdb_items_open(reader, header.entries, payload);
	status = vdb_packed_open(&reader->entries, payload);
	if (status == VDB_CODEC_OK && reader->entries.count != header.entries)
		status = VDB_CODEC_CORRUPT;
	return status;
}

/* Return the number of entries of a dictionary vector, or 0 for other vectors. */
uint32
vdb_codec_dict_size(const VdbVectorReader *reader)
{
	if (reader->info.encoding != VDB_ENC_DICT)
		return 0;
	return reader->info.kind == VDB_VEC_INT ? reader->entries.count :
		reader->items.count;
}

/* Decode the codes as integers to 'wide'.  They are not checked, except that runs are. */
static VdbCodecStatus
vdb_dict_wide_codes(const VdbVectorReader *reader, int64 *wide)
{
	if (reader->run_ends != NULL)
		return vdb_runs_decode(reader, wide);
	vdb_packed_decode(&reader->packed, wide);
	return VDB_CODEC_OK;
}

/*
 * Check whether any code is not below 'entries'.  This collects the codes' high bits in one word
 * and the signs of their distances in the other, without comparison or branch.
 */
static bool
vdb_dict_codes_wrong(const int64 *wide, uint32 count, uint32 entries)
{
	uint64		high = 0;
	uint64		above = 0;

	for (uint32 pos = 0; pos < count; pos++)
	{
		high |= (uint64) wide[pos] >> 16;
		above |= (uint64) entries - 1 - (uint64) wide[pos];
	}
	return high != 0 || above >> 63 != 0;
}

/* Decode the code of each position.  Each is below vdb_codec_dict_size. */
VdbCodecStatus
vdb_codec_decode_codes(const VdbVectorReader *reader, uint16 *codes)
{
	uint32		size = vdb_codec_dict_size(reader);
	int64		wide[VDB_VEC_MAX_COUNT];
	VdbCodecStatus status;

	if (size == 0)
		return VDB_CODEC_BAD_CALL;
	status = vdb_dict_wide_codes(reader, wide);
	if (status != VDB_CODEC_OK)
		return status;
	if (vdb_dict_codes_wrong(wide, reader->info.count, size))
		return VDB_CODEC_CORRUPT;
	for (uint32 pos = 0; pos < reader->info.count; pos++)
		codes[pos] = (uint16) wide[pos];
	return VDB_CODEC_OK;
}

/* Return the entry of a code in an INT dictionary. */
VdbCodecStatus
vdb_codec_dict_int_at(const VdbVectorReader *reader, uint32 code, int64 *value)
{
	if (reader->info.kind != VDB_VEC_INT || code >= vdb_codec_dict_size(reader))
		return VDB_CODEC_BAD_CALL;
	*value = vdb_packed_at(&reader->entries, code);
	return VDB_CODEC_OK;
}

/* Return the entry of a code in a FIXED or BYTES dictionary. */
VdbCodecStatus
vdb_codec_dict_item_at(const VdbVectorReader *reader, uint32 code,
					   const uint8 **image, uint32 *image_bytes)
{
	if (reader->info.kind == VDB_VEC_INT || reader->tail_bytes > 0 ||
		code >= vdb_codec_dict_size(reader))
		return VDB_CODEC_BAD_CALL;
	return vdb_items_at(reader, code, image, image_bytes);
}

/* Decode all values.  Codes are decoded to 'out' first and replaced by their entries there. */
static VdbCodecStatus
vdb_dict_decode(const VdbVectorReader *reader, int64 *pg_restrict out)
{
	int64		entries[VDB_VEC_MAX_COUNT];
	uint32		count = reader->info.count;
	VdbCodecStatus status = vdb_dict_wide_codes(reader, out);

	if (status != VDB_CODEC_OK)
		return status;
	if (vdb_dict_codes_wrong(out, count, reader->entries.count))
		return VDB_CODEC_CORRUPT;
	vdb_packed_decode(&reader->entries, entries);
	for (uint32 pos = 0; pos < count; pos++)
		out[pos] = entries[out[pos]];
	return VDB_CODEC_OK;
}

static VdbCodecStatus
vdb_dict_item_of(const VdbVectorReader *reader, uint32 pos, uint32 *item)
{
	uint64		code = (uint64) (reader->run_ends != NULL ?
								 vdb_runs_at(reader, pos) :
								 vdb_packed_at(&reader->packed, pos));

	if (code >= vdb_codec_dict_size(reader))
		return VDB_CODEC_CORRUPT;
	*item = (uint32) code;
	return VDB_CODEC_OK;
}

static VdbCodecStatus
vdb_dict_at(const VdbVectorReader *reader, uint32 pos, int64 *value)
{
	uint32		code;
	VdbCodecStatus status = vdb_dict_item_of(reader, pos, &code);

	if (status == VDB_CODEC_OK)
		*value = vdb_packed_at(&reader->entries, code);
	return status;
}

const VdbCodecMethods vdb_codec_dict = {
	.name = "dictionary",
	.name_zstd = "dictionary+zstd",
	.number = VDB_ENC_DICT,
	.kinds = VDB_KINDS_ALL,
	.measure = vdb_dict_measure,
	.write = vdb_dict_write,
	.open = vdb_dict_open,
	.decode_int = vdb_dict_decode,
	.int_at = vdb_dict_at,
	.item_of = vdb_dict_item_of
};
