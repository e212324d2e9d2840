/*
 * codec_choose.c
 *	  Encode a vector: look at the values once, choose an encoding by exact size, write it, and
 *	  check whether zstd makes it smaller still.
 *
 * The choice is computed from the numbers in VdbEncodePlan; an encoding's measure returns bytes
 * without writing any.
 */
#include "codec_port.h"

#include "codec_private.h"

/* Savings of zstd below which it is not worth the decompression */
#define VDB_ZSTD_MIN_SAVED_BYTES	32
#define VDB_ZSTD_MIN_SAVED_PART		8

/* Least number of positions for planes, and the part of the size they must save */
#define VDB_PLANES_MIN_COUNT		256
#define VDB_PLANES_SAVE_PART		16

/* Largest payload that is compressed a second time for comparison */
#define VDB_RIVAL_MAX_BYTES			(1024 * 1024)

/* Most bytes that the length field of a 4-byte varlena header can hold, without the header */
#define VDB_IMAGE_MAX_BYTES			(0x3FFFFFFFU - 4)

/* A choice and its bytes */
typedef struct VdbAttempt
{
	const VdbCodecMethods *methods;
	uint64		raw_bytes;
	uint64		stored_bytes;
	uint8	   *bytes;				/* starts with the header */
	bool		zstd;
} VdbAttempt;

/* ---- the pass over the values ---- */

/* Give each null position the value before it (leading nulls the first value). */
static void
vdb_plan_fill_nulls(VdbEncodePlan *plan, int64 *filled)
{
	const VdbVectorInput *in = plan->in;
	int64		last = in->values[plan->first];

	for (uint32 pos = 0; pos < plan->count; pos++)
	{
		if (!vdb_bit_is_set(in->nulls, pos))
			last = in->values[pos];
		filled[pos] = last;
	}
	plan->values = filled;
}

/* Compute minimum, maximum and number of runs. */
static void
vdb_plan_range(VdbEncodePlan *plan)
{
	const int64 *values = plan->values;
	int64		min = values[0];
	int64		max = values[0];
	uint32		runs = 1;

	for (uint32 pos = 1; pos < plan->count; pos++)
	{
		min = Min(min, values[pos]);
		max = Max(max, values[pos]);
		runs += values[pos] != values[pos - 1];
	}
	plan->min = min;
	plan->max = max;
	plan->runs = runs;
}

/* Compute the differences that the delta encoding stores, which has none at a restart. */
static void
vdb_plan_deltas(VdbEncodePlan *plan)
{
	const int64 *values = plan->values;
	int64		min = PG_INT64_MAX;
	int64		max = PG_INT64_MIN;

	for (uint32 first = 0; first < plan->count; first += VDB_DELTA_RESTART)
	{
		uint32		end = Min(first + VDB_DELTA_RESTART, plan->count);

		for (uint32 pos = first + 1; pos < end; pos++)
		{
			int64		delta = (int64) ((uint64) values[pos] -
										 (uint64) values[pos - 1]);

			min = Min(min, delta);
			max = Max(max, delta);
		}
	}
	plan->delta_min = min <= max ? min : 0;
	plan->delta_max = min <= max ? max : 0;
}

/*
 * Compute the greatest common divisor.  It divides differences, too, unless some of them may have
 * wrapped.
 */
static void
vdb_plan_unit(VdbEncodePlan *plan)
{
	uint64		range = (uint64) plan->max - (uint64) plan->min;

	plan->unit = vdb_unit_of(plan->values, plan->count, plan->min);
	plan->delta_unit = range <= (uint64) PG_INT64_MAX ? plan->unit : 1;
	Assert(plan->unit > 0 && range % plan->unit == 0);
}

/* Compute the numbers that the encodings' sizes depend on. */
static void
vdb_plan_prepare(VdbEncodeScratch *scratch, const VdbVectorInput *in)
{
	VdbEncodePlan *plan = &scratch->plan;

	Assert(in->count <= VDB_VEC_MAX_COUNT);
	plan->in = in;
	plan->count = in->count;
	plan->null_count = vdb_nulls_count(in->nulls, in->count);
	plan->distinct = 0;
	plan->first = 0;
	plan->values = in->values;
	plan->runs = 0;
	plan->min = plan->max = plan->delta_min = plan->delta_max = 0;
	plan->unit = plan->delta_unit = 1;
	if (plan->null_count == plan->count)
		return;

	if (plan->null_count > 0)
	{
		while (vdb_bit_is_set(in->nulls, plan->first))
			plan->first++;
	}
	if (in->kind != VDB_VEC_INT)
		return;
	if (plan->null_count > 0)
		vdb_plan_fill_nulls(plan, scratch->filled);
	vdb_plan_range(plan);
	vdb_plan_deltas(plan);
	vdb_plan_unit(plan);
}

/* ---- choice ---- */

/* Choose an encoding if it is smaller than the best, after 1/handicap of its size is added. */
static void
vdb_choose_smaller(const VdbEncodePlan *plan, int encoding, uint32 handicap,
				   uint64 *best_cost, VdbAttempt *best)
{
	const VdbCodecMethods *methods = vdb_codec_methods(encoding);
	uint64		bytes = methods->measure(plan);
	uint64		cost;

	if (bytes == VDB_NOT_APPLICABLE)
		return;
	cost = handicap == 0 ? bytes : bytes + bytes / handicap;
	if (cost >= *best_cost)
		return;
	*best_cost = cost;
	best->methods = methods;
	best->raw_bytes = bytes;
}

/* Choose an encoding by size.  Plain is measured first, so that it wins a tie. */
static void
vdb_choose_encoding(VdbEncodeScratch *scratch, VdbAttempt *best)
{
	const VdbEncodePlan *plan = &scratch->plan;
	uint64		cost = VDB_NOT_APPLICABLE;

	vdb_choose_smaller(plan, VDB_ENC_PLAIN, 0, &cost, best);
	if (plan->in->kind == VDB_VEC_INT)
	{
		vdb_choose_smaller(plan, VDB_ENC_CONSTANT, 0, &cost, best);
		vdb_choose_smaller(plan, VDB_ENC_FOR, 0, &cost, best);
		vdb_choose_smaller(plan, VDB_ENC_RLE, 16, &cost, best);
		vdb_choose_smaller(plan, VDB_ENC_DELTA, 16, &cost, best);
		if (best->methods->number == VDB_ENC_CONSTANT)
			return;
		vdb_dict_build(scratch, cost, false);
	}
	else
	{
		vdb_dict_build(scratch, cost, false);
		vdb_choose_smaller(plan, VDB_ENC_CONSTANT, 0, &cost, best);
	}
	vdb_choose_smaller(plan, VDB_ENC_DICT, 16, &cost, best);
}

/* Choose the forced encoding, or plain if that one cannot be used. */
static void
vdb_force_encoding(VdbEncodeScratch *scratch, int encoding, VdbAttempt *best)
{
	const VdbEncodePlan *plan = &scratch->plan;
	const VdbCodecMethods *methods = vdb_codec_methods(encoding);
	uint64		cost = VDB_NOT_APPLICABLE;

	if (encoding == VDB_ENC_DICT ||
		(encoding == VDB_ENC_CONSTANT && plan->in->kind != VDB_VEC_INT))
		vdb_dict_build(scratch, 0, true);
	if (methods != NULL && (methods->kinds & VDB_KIND_BIT(plan->in->kind)) != 0)
		vdb_choose_smaller(plan, encoding, 0, &cost, best);
	if (best->methods == NULL)
		vdb_choose_smaller(plan, VDB_ENC_PLAIN, 0, &cost, best);
}

/* Choose an encoding, or use the forced one. */
static void
vdb_choose(VdbEncodeScratch *scratch, int force_encoding, VdbAttempt *best)
{
	const VdbEncodePlan *plan = &scratch->plan;
	uint64		cost = VDB_NOT_APPLICABLE;

	if (plan->count == 0)
		vdb_choose_smaller(plan, VDB_ENC_PLAIN, 0, &cost, best);
	else if (plan->null_count == plan->count)
		vdb_choose_smaller(plan, VDB_ENC_ALLNULL, 0, &cost, best);
	else if (force_encoding >= 0)
		vdb_force_encoding(scratch, force_encoding, best);
	else
		vdb_choose_encoding(scratch, best);
	Assert(best->methods != NULL);
}

/* ---- write ---- */

static uint8
vdb_attempt_flags(const VdbEncodePlan *plan, const VdbAttempt *attempt,
				  bool nulls_run_length)
{
	const VdbVectorInput *in = plan->in;
	uint8		flags = 0;

	if (attempt->zstd)
		flags |= VDB_VECF_ZSTD;
	if (attempt->methods->number == VDB_ENC_ALLNULL)
		flags |= VDB_VECF_ALL_NULL;
	else if (plan->null_count > 0)
		flags |= nulls_run_length ? VDB_VECF_NULLS | VDB_VECF_NULLS_RLE :
			VDB_VECF_NULLS;
	if (in->kind == VDB_VEC_BYTES && in->image != VDB_IMAGE_RAW)
		flags |= VDB_VECF_VARLENA;
	if (in->kind == VDB_VEC_BYTES && in->image == VDB_IMAGE_FULL)
		flags |= VDB_VECF_VARLENA_FULL;
	return flags;
}

/* Check whether the vector has a null section.  *bytes is its size without padding. */
static bool
vdb_attempt_has_nulls(const VdbEncodePlan *plan, const VdbAttempt *attempt,
					  uint32 *bytes, bool *run_length)
{
	*bytes = 0;
	*run_length = false;
	if (plan->null_count == 0 || attempt->methods->number == VDB_ENC_ALLNULL)
		return false;
	*bytes = vdb_nulls_measure(plan->in->nulls, plan->count, run_length);
	return true;
}

/* Return the bytes before the payload. */
static uint64
vdb_attempt_prefix_bytes(const VdbEncodePlan *plan, const VdbAttempt *attempt)
{
	uint32		null_bytes;
	bool		run_length;

	(void) vdb_attempt_has_nulls(plan, attempt, &null_bytes, &run_length);
	return sizeof(VdbVectorHeader) + VDB_ALIGN8(null_bytes);
}

/* Write header and nulls.  The payload's size must be known. */
static void
vdb_attempt_write_prefix(const VdbEncodePlan *plan, const VdbAttempt *attempt,
						 VdbByteWriter *writer)
{
	uint32		null_bytes;
	bool		run_length;
	bool		has_nulls = vdb_attempt_has_nulls(plan, attempt, &null_bytes,
												  &run_length);
	VdbVectorHeader header = {
		.version = VDB_CODEC_FORMAT_VERSION,
		.encoding = attempt->methods->number,
		.flags = vdb_attempt_flags(plan, attempt, run_length),
		.kind = plan->in->kind,
		.count = (uint16) plan->count,
		.width = plan->in->kind == VDB_VEC_BYTES ? 0 : plan->in->width,
		.stored_bytes = (uint32) attempt->stored_bytes,
		.raw_bytes = (uint32) attempt->raw_bytes
	};

	vdb_bytes_put(writer, &header, sizeof(header));
	if (has_nulls)
		vdb_nulls_write(plan->in->nulls, plan->count, run_length, writer);
}

/* Write the chosen encoding, without zstd. */
static VdbCodecStatus
vdb_attempt_write(VdbCodecWorkspace *ws, const VdbEncodePlan *plan,
				  VdbBufferName name, VdbAttempt *attempt)
{
	uint64		total;
	VdbByteWriter writer;

	if (attempt->raw_bytes > VDB_VEC_MAX_BYTES)
		return VDB_CODEC_TOO_BIG;
	total = vdb_attempt_prefix_bytes(plan, attempt) + attempt->raw_bytes;
	attempt->bytes = vdb_workspace_buffer(ws, name, total);
	if (attempt->bytes == NULL)
		return VDB_CODEC_NO_MEMORY;

	attempt->zstd = false;
	attempt->stored_bytes = attempt->raw_bytes;
	Assert((uintptr_t) attempt->bytes % 8 == 0);
	writer.start = writer.at = attempt->bytes;
	writer.end = attempt->bytes + total;
	vdb_attempt_write_prefix(plan, attempt, &writer);
	attempt->methods->write(plan, &writer);
	Assert(writer.at == writer.end);
	return VDB_CODEC_OK;
}

/*
 * Compress the written vector to another buffer.  If its payload fits into most_bytes, the attempt
 * refers to the compressed vector afterwards; otherwise it is unchanged.
 */
static VdbCodecStatus
vdb_attempt_zstd(VdbCodecWorkspace *ws, const VdbEncodePlan *plan,
				 VdbBufferName name, int level, uint64 most_bytes,
				 VdbAttempt *attempt)
{
	uint64		prefix = vdb_attempt_prefix_bytes(plan, attempt);
	uint8	   *bytes = vdb_workspace_buffer(ws, name, prefix + most_bytes);
	VdbByteWriter writer;
	size_t		done;

	if (bytes == NULL)
		return VDB_CODEC_NO_MEMORY;
	Assert(!attempt->zstd && bytes != attempt->bytes);
	done = vdb_frames_write(vdb_workspace_zstd(ws), bytes + prefix, most_bytes,
							plan, attempt->methods->number,
							attempt->bytes + prefix, attempt->raw_bytes, level);
	if (done == 0 || done > VDB_VEC_MAX_BYTES)
		return VDB_CODEC_OK;

	Assert(done <= most_bytes);
	attempt->zstd = true;
	attempt->stored_bytes = done;
	attempt->bytes = bytes;
	writer.start = writer.at = bytes;
	writer.end = bytes + prefix;
	vdb_attempt_write_prefix(plan, attempt, &writer);
	Assert(writer.at == writer.end);
	vdb_frames_seal(bytes, prefix, attempt->raw_bytes);
	return VDB_CODEC_OK;
}

/* Return the most bytes that frames may take to be worthwhile; 0 if they can't be. */
static uint64
vdb_zstd_worthwhile(uint64 raw_bytes)
{
	uint64		save = Max(raw_bytes / VDB_ZSTD_MIN_SAVED_PART,
						   VDB_ZSTD_MIN_SAVED_BYTES);

	return raw_bytes > 2 * save ? raw_bytes - save : 0;
}

/*
 * Try plain + zstd.  Bits packed at odd widths hide repetitions from zstd, so where packing gained
 * little this may be far smaller.  It must beat the best by 1/8.
 */
static VdbCodecStatus
vdb_try_rival(VdbCodecWorkspace *ws, const VdbEncodePlan *plan, int level,
			  VdbAttempt *best)
{
	VdbAttempt	rival = {.methods = &vdb_codec_plain};
	uint64		most;
	VdbCodecStatus status;

	rival.raw_bytes = rival.methods->measure(plan);
	if (rival.raw_bytes > VDB_RIVAL_MAX_BYTES ||
		rival.raw_bytes >= 2 * best->raw_bytes)
		return VDB_CODEC_OK;
	most = Min(vdb_zstd_worthwhile(rival.raw_bytes),
			   vdb_zstd_worthwhile(best->stored_bytes));
	if (most == 0)
		return VDB_CODEC_OK;

	status = vdb_attempt_write(ws, plan, VDB_BUFFER_RIVAL, &rival);
	if (status == VDB_CODEC_OK)
		status = vdb_attempt_zstd(ws, plan, VDB_BUFFER_RIVAL_ZSTD, level, most,
								  &rival);
	if (status == VDB_CODEC_OK && rival.zstd)
		*best = rival;
	return status;
}

/* Try planes, if an estimate says that they beat the best by 1/16.  They are used if they do. */
static VdbCodecStatus
vdb_try_planes(VdbCodecWorkspace *ws, const VdbEncodePlan *plan, int level,
			   VdbAttempt *best)
{
	VdbAttempt	rival = {.methods = &vdb_codec_planes};
	uint64		most = best->stored_bytes - best->stored_bytes / VDB_PLANES_SAVE_PART;
	VdbBufferName raw;
	VdbBufferName packed;
	VdbCodecStatus status;

	if (plan->in->kind != VDB_VEC_INT || plan->count < VDB_PLANES_MIN_COUNT ||
		best->stored_bytes < plan->count / 2 || vdb_planes_estimate(plan) >= most)
		return VDB_CODEC_OK;
	/* the best may be in either pair of buffers */
	raw = best->methods == &vdb_codec_plain ? VDB_BUFFER_PLANES : VDB_BUFFER_RIVAL;
	packed = raw == VDB_BUFFER_RIVAL ? VDB_BUFFER_RIVAL_ZSTD : VDB_BUFFER_PLANES_ZSTD;
	rival.raw_bytes = rival.methods->measure(plan);
	status = vdb_attempt_write(ws, plan, raw, &rival);
	if (status == VDB_CODEC_OK)
		status = vdb_attempt_zstd(ws, plan, packed, level, most, &rival);
	if (status == VDB_CODEC_OK && rival.zstd)
		*best = rival;
	return status;
}

/* Apply zstd as the level says. */
static VdbCodecStatus
vdb_encode_zstd(VdbCodecWorkspace *ws, const VdbEncodePlan *plan,
				const VdbEncodeOptions *options, VdbAttempt *best)
{
	int			level = Min(Max(options->zstd_level, -VDB_ZSTD_MAX_LEVEL),
							VDB_ZSTD_MAX_LEVEL);
	uint64		most;
	VdbCodecStatus status = VDB_CODEC_OK;

	if (level == 0 || best->methods->number == VDB_ENC_ALLNULL)
		return VDB_CODEC_OK;
	if (level < 0)
		return vdb_attempt_zstd(ws, plan, VDB_BUFFER_ENCODE_ZSTD,
								-level, vdb_frames_bound(best->raw_bytes), best);

	most = vdb_zstd_worthwhile(best->raw_bytes);
	if (most > 0)
		status = vdb_attempt_zstd(ws, plan, VDB_BUFFER_ENCODE_ZSTD, level, most,
								  best);
	if (status == VDB_CODEC_OK && options->force_encoding < 0 &&
		best->methods->number != VDB_ENC_PLAIN)
		status = vdb_try_rival(ws, plan, level, best);
	if (status == VDB_CODEC_OK && options->force_encoding < 0)
		status = vdb_try_planes(ws, plan, level, best);
	return status;
}

/* ---- entry point ---- */

/* Check that each length fits into an image's header, and their sum into a vector. */
static VdbCodecStatus
vdb_check_lengths(const VdbVectorInput *in)
{
	uint64		sum = 0;

	for (uint32 pos = 0; pos < in->count; pos++)
	{
		if (in->nulls != NULL && vdb_bit_is_set(in->nulls, pos))
			continue;
		if (in->lens[pos] > VDB_IMAGE_MAX_BYTES)
			return VDB_CODEC_TOO_BIG;
		sum += in->lens[pos];
	}
	return sum > VDB_VEC_MAX_BYTES ? VDB_CODEC_TOO_BIG : VDB_CODEC_OK;
}

/* Check that the fields of the input fit each other. */
static VdbCodecStatus
vdb_check_input(const VdbVectorInput *in)
{
	if (in->count > VDB_VEC_MAX_COUNT)
		return VDB_CODEC_BAD_CALL;
	switch (in->kind)
	{
		case VDB_VEC_INT:
			if (in->width != 1 && in->width != 2 && in->width != 4 &&
				in->width != 8)
				return VDB_CODEC_BAD_CALL;
			return VDB_CODEC_OK;
		case VDB_VEC_FIXED:
			return in->width == 0 ? VDB_CODEC_BAD_CALL : VDB_CODEC_OK;
		case VDB_VEC_BYTES:
			return vdb_check_lengths(in);
		default:
			return VDB_CODEC_BAD_CALL;
	}
}

/*
 * Encode a vector.  out->bytes belongs to the workspace and lasts until its next encode; the size
 * is not padded.  *out also has the encoding that was used.
 */
VdbCodecStatus
vdb_codec_encode(VdbCodecWorkspace *ws, const VdbVectorInput *in,
				 const VdbEncodeOptions *options, VdbEncodedVector *out)
{
	VdbEncodeScratch *scratch = vdb_workspace_scratch(ws);
	VdbAttempt	best = {0};
	VdbCodecStatus status = vdb_check_input(in);

	if (status != VDB_CODEC_OK)
		return status;
	vdb_plan_prepare(scratch, in);
	vdb_choose(scratch, options->force_encoding, &best);
	status = vdb_attempt_write(ws, &scratch->plan, VDB_BUFFER_ENCODE, &best);
	if (status == VDB_CODEC_OK)
		status = vdb_encode_zstd(ws, &scratch->plan, options, &best);
	if (status != VDB_CODEC_OK)
		return status;

	out->bytes = best.bytes;
	out->size_bytes = vdb_attempt_prefix_bytes(&scratch->plan, &best) +
		best.stored_bytes;
	out->encoding = best.methods->number;
	out->zstd = best.zstd;
	return VDB_CODEC_OK;
}
