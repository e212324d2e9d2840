/*
 * codec_delta.c
 *	  Encoding "delta": differences of neighbors, bit-packed, with a restart value every 128
 *	  positions.
 *
 * Payload: a packed section of as many differences as there are positions (base = least
 * difference), then an int64 restart value per 128 positions.  Differences wrap modulo 2^64, so
 * extremes need no special case.  At a restart position the packed field is 0 and unused.
 */
#include "codec_port.h"

#include "codec_private.h"

StaticAssertDecl(VDB_PACK_BLOCK == 2 * VDB_DELTA_RESTART,
				 "a packed block holds two restarts");

static uint32
vdb_delta_restarts(uint32 count)
{
	return (count + VDB_DELTA_RESTART - 1) / VDB_DELTA_RESTART;
}

static VdbPacking
vdb_delta_packing(const VdbEncodePlan *plan)
{
	Assert(plan->delta_min <= plan->delta_max);
	return vdb_packing_choose(plan->delta_min, plan->delta_max,
							  plan->delta_unit, plan->count);
}

static uint64
vdb_delta_measure(const VdbEncodePlan *plan)
{
	VdbPacking	packing = vdb_delta_packing(plan);

	if (plan->count == 0)
		return VDB_NOT_APPLICABLE;
	return vdb_packing_measure(&packing, plan->count) +
		(uint64) vdb_delta_restarts(plan->count) * sizeof(int64);
}

static void
vdb_delta_write(const VdbEncodePlan *plan, VdbByteWriter *writer)
{
	int64		deltas[VDB_VEC_MAX_COUNT];
	int64		restarts[VDB_VEC_MAX_COUNT / VDB_DELTA_RESTART];
	const int64 *values = plan->values;
	VdbPacking	packing = vdb_delta_packing(plan);

	Assert(plan->count > 0 && plan->count <= VDB_VEC_MAX_COUNT);
	for (uint32 pos = 0; pos < plan->count; pos++)
	{
		if (pos % VDB_DELTA_RESTART == 0)
		{
			restarts[pos / VDB_DELTA_RESTART] = values[pos];
			deltas[pos] = plan->delta_min;
		}
		else
			deltas[pos] = (int64) ((uint64) values[pos] -
								   (uint64) values[pos - 1]);
	}
	vdb_packing_write(writer, deltas, plan->count, &packing);
	vdb_bytes_put(writer, restarts,
				  vdb_delta_restarts(plan->count) * sizeof(int64));
}

static VdbCodecStatus
vdb_delta_open(VdbVectorReader *reader, VdbByteReader *payload)
{
	VdbCodecStatus status = vdb_packed_open(&reader->packed, payload);

	if (status != VDB_CODEC_OK)
		return status;
	if (reader->packed.count != reader->info.count || reader->info.count == 0)
		return VDB_CODEC_CORRUPT;
	reader->restarts = vdb_bytes_take(payload, sizeof(int64) *
									  vdb_delta_restarts(reader->info.count));
	return reader->restarts == NULL ? VDB_CODEC_TRUNCATED : VDB_CODEC_OK;
}

static inline uint64
vdb_restart(const VdbVectorReader *reader, uint32 pos)
{
	return (uint64) vdb_load_i64(reader->restarts +
								 pos / VDB_DELTA_RESTART * sizeof(int64));
}

/*
 * Turn a full block of differences into values.  The two halves are independent, so the processor
 * adds both at a time.
 */
static void
vdb_delta_sum_block(uint64 sum0, uint64 sum1, const int64 *pg_restrict deltas,
					int64 *pg_restrict out)
{
	out[0] = (int64) sum0;
	out[VDB_DELTA_RESTART] = (int64) sum1;
	for (uint32 i = 1; i < VDB_DELTA_RESTART; i++)
	{
		sum0 += (uint64) deltas[i];
		sum1 += (uint64) deltas[VDB_DELTA_RESTART + i];
		out[i] = (int64) sum0;
		out[VDB_DELTA_RESTART + i] = (int64) sum1;
	}
}

static VdbCodecStatus
vdb_delta_decode(const VdbVectorReader *reader, int64 *out)
{
	uint32		count = reader->info.count;
	int64		deltas[VDB_PACK_BLOCK];
	uint64		sum = 0;

	for (uint32 first = 0; first < count; first += VDB_PACK_BLOCK)
	{
		uint32		n = vdb_packed_block(&reader->packed,
										 first / VDB_PACK_BLOCK, deltas);

		if (n == VDB_PACK_BLOCK)
		{
			vdb_delta_sum_block(vdb_restart(reader, first),
								vdb_restart(reader, first + VDB_DELTA_RESTART),
								deltas, out + first);
			continue;
		}
		for (uint32 i = 0; i < n; i++)
		{
			sum = i % VDB_DELTA_RESTART == 0 ? vdb_restart(reader, first + i) :
				sum + (uint64) deltas[i];
			out[first + i] = (int64) sum;
		}
	}
	return VDB_CODEC_OK;
}

static VdbCodecStatus
vdb_delta_at(const VdbVectorReader *reader, uint32 pos, int64 *value)
{
	uint32		in_block = pos % VDB_PACK_BLOCK;
	int64		deltas[VDB_PACK_BLOCK];
	uint64		sum = vdb_restart(reader, pos);

	Assert(pos < reader->info.count);
	Assert(reader->packed.count == reader->info.count);
	if (pos % VDB_DELTA_RESTART != 0)
	{
		(void) vdb_packed_block(&reader->packed, pos / VDB_PACK_BLOCK, deltas);
		for (uint32 i = in_block - in_block % VDB_DELTA_RESTART + 1;
			 i <= in_block; i++)
			sum += (uint64) deltas[i];
	}
	*value = (int64) sum;
	return VDB_CODEC_OK;
}

const VdbCodecMethods vdb_codec_delta = {
	.name = "delta",
	.name_zstd = "delta+zstd",
	.number = VDB_ENC_DELTA,
	.kinds = VDB_KINDS_INT,
	.measure = vdb_delta_measure,
	.write = vdb_delta_write,
	.open = vdb_delta_open,
	.decode_int = vdb_delta_decode,
	.int_at = vdb_delta_at
};
