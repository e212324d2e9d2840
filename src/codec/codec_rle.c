/*
 * codec_rle.c
 *	  Encoding "rle": a value and an end position per run of equal values.
 *
 * Payload: a packed section with the value of each run, then a uint16 per run, its end position
 * (exclusive).  The ends rise strictly and the last one is the count.  Decoding all positions
 * checks that; a single position needs only a binary search, whose result is a valid run number for
 * any contents of the ends.
 *
 * The codes of a dictionary may be stored in this form, too.
 */
#include "codec_port.h"

#include "codec_private.h"

/* Return the bytes of so many runs. */
uint64
vdb_runs_measure(uint32 runs, const VdbPacking *packing)
{
	return vdb_packing_measure(packing, runs) + (uint64) runs * sizeof(uint16);
}

/* Write 'count' values that form 'runs' runs. */
void
vdb_runs_write(VdbByteWriter *writer, const int64 *values, uint32 count,
			   uint32 runs, const VdbPacking *packing)
{
	int64		heads[VDB_VEC_MAX_COUNT];
	uint16		ends[VDB_VEC_MAX_COUNT];
	uint32		run = 0;

	Assert(count > 0 && count <= VDB_VEC_MAX_COUNT);
	Assert(runs > 0 && runs <= count);
	for (uint32 pos = 0; pos < count; pos++)
	{
		if (pos + 1 < count && values[pos + 1] == values[pos])
			continue;
		heads[run] = values[pos];
		ends[run] = (uint16) (pos + 1);
		run++;
	}
	Assert(run == runs);
	vdb_packing_write(writer, heads, runs, packing);
	vdb_bytes_put(writer, ends, (uint64) runs * sizeof(uint16));
}

/* Take runs off the payload and check that they are complete. */
VdbCodecStatus
vdb_runs_open(VdbVectorReader *reader, VdbByteReader *bytes)
{
	VdbCodecStatus status = vdb_packed_open(&reader->packed, bytes);
	uint32		runs = reader->packed.count;

	if (status != VDB_CODEC_OK)
		return status;
	reader->run_ends = vdb_bytes_take(bytes, (uint64) runs * sizeof(uint16));
	if (reader->run_ends == NULL)
		return VDB_CODEC_TRUNCATED;
	if (runs == 0 || runs > reader->info.count ||
		vdb_load_u16(reader->run_ends + (runs - 1) * sizeof(uint16)) !=
		reader->info.count)
		return VDB_CODEC_CORRUPT;
	return VDB_CODEC_OK;
}

/* Decode all positions to 'out', which has room for the vector's count. */
VdbCodecStatus
vdb_runs_decode(const VdbVectorReader *reader, int64 *out)
{
	int64		heads[VDB_PACK_BLOCK];
	uint32		runs = reader->packed.count;
	uint32		start = 0;

	for (uint32 run = 0; run < runs; run++)
	{
		uint32		end = vdb_load_u16(reader->run_ends + run * sizeof(uint16));
		int64		value;

		if (run % VDB_PACK_BLOCK == 0)
			(void) vdb_packed_block(&reader->packed, run / VDB_PACK_BLOCK, heads);
		if (end <= start || end > reader->info.count)
			return VDB_CODEC_CORRUPT;
		value = heads[run % VDB_PACK_BLOCK];
		while (start < end)
			out[start++] = value;
	}
	return start == reader->info.count ? VDB_CODEC_OK : VDB_CODEC_CORRUPT;
}

/* Return the value of the first run that ends past pos. */
int64
vdb_runs_at(const VdbVectorReader *reader, uint32 pos)
{
	uint32		low = 0;
	uint32		high = reader->packed.count - 1;

	Assert(pos < reader->info.count);
	Assert(reader->packed.count > 0 && reader->run_ends != NULL);
	while (low < high)
	{
		uint32		middle = (low + high) / 2;

		if (vdb_load_u16(reader->run_ends + middle * sizeof(uint16)) > pos)
			high = middle;
		else
			low = middle + 1;
	}
	Assert(low < reader->packed.count);
	return vdb_packed_at(&reader->packed, low);
}

static VdbPacking
vdb_rle_packing(const VdbEncodePlan *plan)
{
	return vdb_packing_choose(plan->min, plan->max, plan->unit, plan->runs);
}

static uint64
vdb_rle_measure(const VdbEncodePlan *plan)
{
	VdbPacking	packing = vdb_rle_packing(plan);

	if (plan->count == 0)
		return VDB_NOT_APPLICABLE;
	return vdb_runs_measure(plan->runs, &packing);
}

static void
vdb_rle_write(const VdbEncodePlan *plan, VdbByteWriter *writer)
{
	VdbPacking	packing = vdb_rle_packing(plan);

	vdb_runs_write(writer, plan->values, plan->count, plan->runs, &packing);
}

static VdbCodecStatus
vdb_rle_at(const VdbVectorReader *reader, uint32 pos, int64 *value)
{
	*value = vdb_runs_at(reader, pos);
	return VDB_CODEC_OK;
}

const VdbCodecMethods vdb_codec_rle = {
	.name = "rle",
	.name_zstd = "rle+zstd",
	.number = VDB_ENC_RLE,
	.kinds = VDB_KINDS_INT,
	.measure = vdb_rle_measure,
	.write = vdb_rle_write,
	.open = vdb_runs_open,
	.decode_int = vdb_runs_decode,
	.int_at = vdb_rle_at
};
