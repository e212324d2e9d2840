/*
 * codec_planes.c
 *	  Encoding "planes": the bytes of integers by significance, for zstd.
 *
 * Payload: VdbPlanesHeader; then of (value - base) / unit the highest bytes of all positions,
 * padded to 8, and so on down to the lowest, not padded.  This alone saves nothing; but where the
 * upper bytes are skewed zstd makes them small, which it cannot do with fields of odd bit widths.
 * In frames the lowest plane, often as good as random, is the tail, so that it has no part in the
 * codes of the others.
 */
#include "codec_port.h"

#include "codec_private.h"

static uint32
vdb_planes_of(const VdbEncodePlan *plan)
{
	uint64		range = ((uint64) plan->max - (uint64) plan->min) / plan->unit;

	return Max((vdb_bits_for(range) + 7U) / 8, 1);
}

static uint64
vdb_planes_measure(const VdbEncodePlan *plan)
{
	if (plan->count == 0)
		return VDB_NOT_APPLICABLE;
	return sizeof(VdbPlanesHeader) +
		(vdb_planes_of(plan) - 1) * VDB_ALIGN8(plan->count) + plan->count;
}

static void
vdb_planes_write(const VdbEncodePlan *plan, VdbByteWriter *writer)
{
	VdbPlanesHeader header = {.base = plan->min,.unit = plan->unit,
		.planes = (uint8) vdb_planes_of(plan)
	};
	int64		fields[VDB_VEC_MAX_COUNT];

	vdb_bytes_put(writer, &header, sizeof(header));
	vdb_unit_divide(plan->values, plan->count, plan->min, plan->unit, fields);
	for (uint32 plane = header.planes; plane-- > 0;)
	{
		uint8	   *room = vdb_bytes_room(writer, plan->count);

		for (uint32 pos = 0; pos < plan->count; pos++)
			room[pos] = (uint8) ((uint64) fields[pos] >> (8 * plane));
		if (plane > 0)
			vdb_bytes_pad8(writer);
	}
}

static VdbCodecStatus
vdb_planes_open(VdbVectorReader *reader, VdbByteReader *payload)
{
	VdbPlanesHeader header;
	uint32		count = reader->info.count;
	uint64		upper;

	if (!vdb_bytes_copy(payload, &header, sizeof(header)))
		return VDB_CODEC_TRUNCATED;
	if (header.planes == 0 || header.planes > 8 || header.unit == 0 ||
		header.zero1 != 0 || header.zero2 != 0 || header.zero3 != 0 || count == 0)
		return VDB_CODEC_CORRUPT;
	upper = (header.planes - 1) * VDB_ALIGN8(count);
	reader->planes = vdb_bytes_take(payload, upper);
	if (reader->planes == NULL)
		return VDB_CODEC_TRUNCATED;
	reader->plane_count = header.planes;
	reader->packed.base = header.base;
	reader->packed.unit = header.unit;
	if (reader->tail_bytes > 0)
		return reader->tail_bytes == count ? VDB_CODEC_OK : VDB_CODEC_CORRUPT;
	return vdb_bytes_take(payload, count) == NULL ? VDB_CODEC_TRUNCATED : VDB_CODEC_OK;
}

static VdbCodecStatus
vdb_planes_decode(const VdbVectorReader *reader, int64 *pg_restrict out)
{
	const uint32 count = reader->info.count;
	const uint64 base = (uint64) reader->packed.base;
	const uint64 unit = reader->packed.unit;

	for (uint32 pos = 0; pos < count; pos++)
		out[pos] = 0;
	for (uint32 plane = 0; plane < reader->plane_count; plane++)
	{
		const uint8 *pg_restrict from = reader->planes + plane * VDB_ALIGN8(count);

		for (uint32 pos = 0; pos < count; pos++)
			out[pos] = (int64) ((uint64) out[pos] << 8 | from[pos]);
	}
	for (uint32 pos = 0; pos < count; pos++)
		out[pos] = (int64) (base + unit * (uint64) out[pos]);
	return VDB_CODEC_OK;
}

/* Return the value at 'pos', given its lowest byte, which may be in the tail. */
int64
vdb_planes_value(const VdbVectorReader *reader, uint32 pos, uint8 lowest)
{
	uint64		stride = VDB_ALIGN8(reader->info.count);
	uint64		field = 0;

	Assert(pos < reader->info.count);
	for (uint32 plane = 0; plane + 1 < reader->plane_count; plane++)
		field = field << 8 | reader->planes[plane * stride + pos];
	field = field << 8 | lowest;
	return (int64) ((uint64) reader->packed.base + reader->packed.unit * field);
}

static VdbCodecStatus
vdb_planes_at(const VdbVectorReader *reader, uint32 pos, int64 *value)
{
	uint64		upper = (reader->plane_count - 1) * VDB_ALIGN8(reader->info.count);

	*value = vdb_planes_value(reader, pos, reader->planes[upper + pos]);
	return VDB_CODEC_OK;
}

/* Return log2 of n in units of 1/256, approximately. */
static uint32
vdb_log2_256(uint32 n)
{
	uint32		whole = 31 - (uint32) __builtin_clz(n);
	uint32		part = (uint32) ((((uint64) n << 8) >> whole) & 255);

	return whole * 256 + part + ((part * (256 - part) * 88) >> 16);
}

/*
 * Estimate the bytes that an ideal code of each plane's single bytes would take, with the cost of
 * tables and headers.
 */
uint64
vdb_planes_estimate(const VdbEncodePlan *plan)
{
	uint32		planes = vdb_planes_of(plan);
	int64		fields[VDB_VEC_MAX_COUNT];
	uint64		bytes = sizeof(VdbPlanesHeader) + 48;

	vdb_unit_divide(plan->values, plan->count, plan->min, plan->unit, fields);
	for (uint32 plane = 0; plane < planes; plane++)
	{
		uint32		histogram[256] = {0};
		uint64		bits = 0;

		for (uint32 pos = 0; pos < plan->count; pos++)
			histogram[((uint64) fields[pos] >> (8 * plane)) & 255]++;
		for (uint32 byte = 0; byte < 256; byte++)
			if (histogram[byte] > 0)
				bits += (uint64) histogram[byte] *
					(vdb_log2_256(plan->count) - vdb_log2_256(histogram[byte]));
		bytes += Min(bits / (8 * 256), plan->count);
	}
	return bytes;
}

const VdbCodecMethods vdb_codec_planes = {
	.name = "planes",
	.name_zstd = "planes+zstd",
	.number = VDB_ENC_PLANES,
	.kinds = VDB_KINDS_INT,
	.measure = vdb_planes_measure,
	.write = vdb_planes_write,
	.open = vdb_planes_open,
	.decode_int = vdb_planes_decode,
	.int_at = vdb_planes_at
};
