/*
 * codec_plain.c
 *	  Encodings "plain", every value as it is, and "constant", one value for
 *	  all positions.
 *
 * Plain INT vectors are arrays of 1, 2, 4 or 8 bytes a value; by-reference
 * ones are items (codec_items.c), and a constant is one of these.
 */
#include "codec_port.h"

#include "codec_private.h"

static uint64
vdb_plain_measure(const VdbEncodePlan *plan)
{
	if (plan->in->kind == VDB_VEC_INT)
		return (uint64) plan->count * plan->in->width;
	return vdb_items_measure(plan->in, NULL, plan->count);
}

static void
vdb_plain_write(const VdbEncodePlan *plan, VdbByteWriter *writer)
{
	uint32		width = plan->in->width;
	uint8	   *room;

	if (plan->in->kind != VDB_VEC_INT)
	{
		vdb_items_write(writer, plan->in, NULL, plan->count);
		return;
	}

	/* little-endian: the low bytes of a value are its first ones */
	room = vdb_bytes_room(writer, (uint64) plan->count * width);
	for (uint32 pos = 0; pos < plan->count; pos++)
		memcpy(room + pos * width, &plan->values[pos], width);
}

static VdbCodecStatus
vdb_plain_open(VdbVectorReader *reader, VdbByteReader *payload)
{
	const VdbCodecInfo *info = &reader->info;

	if (info->kind != VDB_VEC_INT)
		return vdb_items_open(reader, info->count, payload);
	if (reader->tail_bytes > 0)
		return reader->tail_bytes == (uint64) info->count * info->width ?
			VDB_CODEC_OK : VDB_CODEC_CORRUPT;
	if (vdb_bytes_take(payload, (uint64) info->count * info->width) == NULL)
		return VDB_CODEC_TRUNCATED;
	return VDB_CODEC_OK;
}

#define VDB_PLAIN_LOOP(type) \
	for (uint32 pos = 0; pos < count; pos++) \
	{ \
		type		value; \
		\
		memcpy(&value, from + pos * sizeof(type), sizeof(type)); \
		out[pos] = value; \
	}

static VdbCodecStatus
vdb_plain_decode(const VdbVectorReader *reader, int64 *pg_restrict out)
{
	const uint8 *pg_restrict from = reader->payload;
	const uint32 count = reader->info.count;

	switch (reader->info.width)
	{
		case 1:
			VDB_PLAIN_LOOP(int8);
			break;
		case 2:
			VDB_PLAIN_LOOP(int16);
			break;
		case 4:
			VDB_PLAIN_LOOP(int32);
			break;
		default:
			Assert(reader->info.width == 8);
			memcpy(out, from, count * sizeof(int64));
			break;
	}
	return VDB_CODEC_OK;
}

/* Return one value: the low 'width' bytes at its place, sign-extended. */
static VdbCodecStatus
vdb_plain_at(const VdbVectorReader *reader, uint32 pos, int64 *value)
{
	uint32		width = reader->info.width;
	uint32		unused_bits = 64 - 8 * width;
	uint64		bits = 0;

	Assert(pos < reader->info.count && width >= 1 && width <= sizeof(bits));
	memcpy(&bits, reader->payload + pos * width, width);
	*value = (int64) (bits << unused_bits) >> unused_bits;
	return VDB_CODEC_OK;
}

static VdbCodecStatus
vdb_plain_item_of(const VdbVectorReader *reader, uint32 pos, uint32 *item)
{
	Assert(pos < reader->info.count);
	*item = pos;
	return VDB_CODEC_OK;
}

const VdbCodecMethods vdb_codec_plain = {
	.name = "plain",
	.name_zstd = "plain+zstd",
	.number = VDB_ENC_PLAIN,
	.kinds = VDB_KINDS_ALL,
	.measure = vdb_plain_measure,
	.write = vdb_plain_write,
	.open = vdb_plain_open,
	.decode_int = vdb_plain_decode,
	.int_at = vdb_plain_at,
	.item_of = vdb_plain_item_of
};

/* ---- constant ---- */

static uint64
vdb_constant_measure(const VdbEncodePlan *plan)
{
	if (plan->count == 0)
		return VDB_NOT_APPLICABLE;
	if (plan->in->kind == VDB_VEC_INT)
		return plan->min == plan->max ? sizeof(int64) : VDB_NOT_APPLICABLE;
	return plan->distinct == 1 ?
		vdb_items_measure(plan->in, plan->entry_pos, 1) : VDB_NOT_APPLICABLE;
}

static void
vdb_constant_write(const VdbEncodePlan *plan, VdbByteWriter *writer)
{
	Assert(plan->in->kind == VDB_VEC_INT ? plan->min == plan->max :
		   plan->distinct == 1);
	if (plan->in->kind == VDB_VEC_INT)
		vdb_bytes_put(writer, &plan->min, sizeof(plan->min));
	else
		vdb_items_write(writer, plan->in, plan->entry_pos, 1);
}

/* Open a constant.  An INT constant becomes a packed section of no bits. */
static VdbCodecStatus
vdb_constant_open(VdbVectorReader *reader, VdbByteReader *payload)
{
	if (reader->info.kind != VDB_VEC_INT)
		return vdb_items_open(reader, 1, payload);
	if (!vdb_bytes_copy(payload, &reader->packed.base, sizeof(int64)))
		return VDB_CODEC_TRUNCATED;
	reader->packed.count = reader->info.count;
	return VDB_CODEC_OK;
}

static VdbCodecStatus
vdb_constant_decode(const VdbVectorReader *reader, int64 *out)
{
	vdb_packed_decode(&reader->packed, out);
	return VDB_CODEC_OK;
}

static VdbCodecStatus
vdb_constant_at(const VdbVectorReader *reader, uint32 pos, int64 *value)
{
	*value = reader->packed.base;
	return VDB_CODEC_OK;
}

static VdbCodecStatus
vdb_constant_item_of(const VdbVectorReader *reader, uint32 pos, uint32 *item)
{
	*item = 0;
	return VDB_CODEC_OK;
}

const VdbCodecMethods vdb_codec_constant = {
	.name = "constant",
	.name_zstd = "constant+zstd",
	.number = VDB_ENC_CONSTANT,
	.kinds = VDB_KINDS_ALL,
	.measure = vdb_constant_measure,
	.write = vdb_constant_write,
	.open = vdb_constant_open,
	.decode_int = vdb_constant_decode,
	.int_at = vdb_constant_at,
	.item_of = vdb_constant_item_of
};
