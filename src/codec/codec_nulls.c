/*
 * codec_nulls.c
 *	  The null section of a vector: a bitmap, or run lengths where shorter; and encoding "allnull",
 *	  for vectors that contain only nulls.
 *
 * A reader always has a bitmap of its own, so that checking for a null costs the same in each form.
 */
#include "codec_port.h"

#include "codec_private.h"

static uint32
vdb_bitmap_bytes(uint32 count)
{
	return (count + 7) / 8;
}

/* Count the nulls among the first 'count' positions. */
uint32
vdb_nulls_count(const uint8 *nulls, uint32 count)
{
	uint32		found = 0;

	if (nulls == NULL)
		return 0;
	for (uint32 word = 0; word < count / 64; word++)
	{
		uint64		bits;

		memcpy(&bits, nulls + word * sizeof(bits), sizeof(bits));
		found += vdb_popcount64(bits);
	}
	for (uint32 pos = count / 64 * 64; pos < count; pos++)
		found += vdb_bit_is_set(nulls, pos);
	return found;
}

/* Count the lengths in the run-length form, the leading not-null one included. */
static uint32
vdb_nulls_runs(const uint8 *nulls, uint32 count)
{
	uint32		runs = 1;
	bool		last = false;

	Assert(nulls != NULL && count <= VDB_VEC_MAX_COUNT);
	for (uint32 pos = 0; pos < count; pos++)
	{
		bool		now = vdb_bit_is_set(nulls, pos);

		runs += now != last;
		last = now;
	}
	return runs;
}

/* Return the bytes of the section, without padding, in the shorter of its two forms. */
uint32
vdb_nulls_measure(const uint8 *nulls, uint32 count, bool *run_length)
{
	uint32		by_runs = (uint32) sizeof(uint16) * (1 + vdb_nulls_runs(nulls, count));

	*run_length = by_runs < vdb_bitmap_bytes(count);
	return *run_length ? by_runs : vdb_bitmap_bytes(count);
}

static void
vdb_nulls_write_runs(const uint8 *nulls, uint32 count, VdbByteWriter *writer)
{
	uint16		runs = (uint16) vdb_nulls_runs(nulls, count);
	uint16		length = 0;
	bool		last = false;

	vdb_bytes_put(writer, &runs, sizeof(runs));
	for (uint32 pos = 0; pos < count; pos++)
	{
		bool		now = vdb_bit_is_set(nulls, pos);

		if (now != last)
		{
			vdb_bytes_put(writer, &length, sizeof(length));
			length = 0;
		}
		length++;
		last = now;
	}
	vdb_bytes_put(writer, &length, sizeof(length));
}

/* Write the section and its padding. */
void
vdb_nulls_write(const uint8 *nulls, uint32 count, bool run_length,
				VdbByteWriter *writer)
{
	if (run_length)
		vdb_nulls_write_runs(nulls, count, writer);
	else
	{
		uint8	   *room = vdb_bytes_room(writer, vdb_bitmap_bytes(count));

		memcpy(room, nulls, vdb_bitmap_bytes(count));
		if (count % 8 != 0)
			room[count / 8] &= (uint8) ((1 << count % 8) - 1);
	}
	vdb_bytes_pad8(writer);
}

static VdbCodecStatus
vdb_nulls_open_runs(VdbVectorReader *reader, VdbByteReader *bytes)
{
	const uint8 *at = vdb_bytes_take(bytes, sizeof(uint16));
	uint32		runs;
	uint32		pos = 0;

	if (at == NULL)
		return VDB_CODEC_TRUNCATED;
	runs = vdb_load_u16(at);
	at = vdb_bytes_take(bytes, (uint64) runs * sizeof(uint16));
	if (at == NULL)
		return VDB_CODEC_TRUNCATED;

	memset(reader->nulls, 0, sizeof(reader->nulls));
	for (uint32 run = 0; run < runs; run++)
	{
		uint32		length = vdb_load_u16(at + run * sizeof(uint16));

		/* only the first may be empty; so the loop ends within count runs */
		if (length > reader->info.count - pos || (length == 0 && run > 0))
			return VDB_CODEC_CORRUPT;
		for (; length > 0; length--, pos++)
		{
			if (run % 2 == 1)
				reader->nulls[pos >> 3] |= (uint8) (1 << (pos & 7));
		}
	}
	return pos == reader->info.count ? VDB_CODEC_OK : VDB_CODEC_CORRUPT;
}

/* Fill in the reader's bitmap and count, from the null section (with padding) if there is one. */
VdbCodecStatus
vdb_nulls_open(VdbVectorReader *reader, VdbByteReader *bytes)
{
	const uint8 *start = bytes->at;
	uint32		count = reader->info.count;
	uint8		flags = reader->info.flags;
	uint64		done;

	memset(reader->nulls, (flags & VDB_VECF_ALL_NULL) ? 0xFF : 0,
		   sizeof(reader->nulls));
	if (flags & VDB_VECF_NULLS_RLE)
	{
		VdbCodecStatus status = vdb_nulls_open_runs(reader, bytes);

		if (status != VDB_CODEC_OK)
			return status;
	}
	else if ((flags & VDB_VECF_NULLS) &&
			 !vdb_bytes_copy(bytes, reader->nulls, vdb_bitmap_bytes(count)))
		return VDB_CODEC_TRUNCATED;

	if (flags & VDB_VECF_ALL_NULL)
		reader->null_count = (uint16) count;
	else if (flags & VDB_VECF_NULLS)
		reader->null_count = (uint16) vdb_nulls_count(reader->nulls, count);
	done = (uint64) (bytes->at - start);
	if (!vdb_bytes_take_zero(bytes, VDB_ALIGN8(done) - done))
		return VDB_CODEC_CORRUPT;
	return VDB_CODEC_OK;
}

bool
vdb_codec_is_null(const VdbVectorReader *reader, uint32 pos)
{
	Assert(pos < reader->info.count);
	return reader->null_count > 0 && vdb_bit_is_set(reader->nulls, pos);
}

/* Copy the bitmap, (count + 7) / 8 bytes; bits past the count are zero. */
void
vdb_codec_decode_nulls(const VdbVectorReader *reader, uint8 *bitmap_out)
{
	uint32		count = reader->info.count;

	memcpy(bitmap_out, reader->nulls, vdb_bitmap_bytes(count));
	if (count % 8 != 0)
		bitmap_out[count / 8] &= (uint8) ((1 << count % 8) - 1);
}

/* ---- encoding "allnull" ---- */

static uint64
vdb_allnull_measure(const VdbEncodePlan *plan)
{
	return plan->count > 0 && plan->null_count == plan->count ? 0 :
		VDB_NOT_APPLICABLE;
}

static void
vdb_allnull_write(const VdbEncodePlan *plan, VdbByteWriter *writer)
{
	Assert(plan->null_count == plan->count);
	Assert(writer->at == writer->end);
}

static VdbCodecStatus
vdb_allnull_open(VdbVectorReader *reader, VdbByteReader *payload)
{
	return vdb_bytes_left(payload) == 0 ? VDB_CODEC_OK : VDB_CODEC_CORRUPT;
}

static VdbCodecStatus
vdb_allnull_decode(const VdbVectorReader *reader, int64 *out)
{
	memset(out, 0, reader->info.count * sizeof(int64));
	return VDB_CODEC_OK;
}

static VdbCodecStatus
vdb_allnull_at(const VdbVectorReader *reader, uint32 pos, int64 *value)
{
	*value = 0;
	return VDB_CODEC_OK;
}

/* Never called, as callers check for null first. */
static VdbCodecStatus
vdb_allnull_item_of(const VdbVectorReader *reader, uint32 pos, uint32 *item)
{
	return VDB_CODEC_BAD_CALL;
}

const VdbCodecMethods vdb_codec_allnull = {
	.name = "allnull",
	.name_zstd = "allnull+zstd",
	.number = VDB_ENC_ALLNULL,
	.kinds = VDB_KINDS_ALL,
	.measure = vdb_allnull_measure,
	.write = vdb_allnull_write,
	.open = vdb_allnull_open,
	.decode_int = vdb_allnull_decode,
	.int_at = vdb_allnull_at,
	.item_of = vdb_allnull_item_of
};
