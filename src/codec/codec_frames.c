/*
 * codec_frames.c
 *	  A compressed payload: a head and equal parts, each compressed by itself.
 *
 * README.md describes the format.  Frame 0, the head, has all that an encoding needs to locate a
 * value: offsets, codes.  The values' bytes are in the other frames, so that reading one value
 * costs the head and one frame.  Encodings whose values are in bit-packed sections consist of the
 * head only: these are small.
 *
 * A frame that zstd does not make smaller by 1/8 is stored as it is.  Its sizes show whether it is.
 */
#include "codec_port.h"

#include "codec_private.h"

/* Raw bytes of a frame: a compromise between the cost of decoding one value and the ratio */
#define VDB_FRAME_SHIFT_INT		13
#define VDB_FRAME_SHIFT_ITEMS	14
#define VDB_FRAME_SHIFT_LARGE	18	/* limit for large items */

/* The part of its size that a frame must save */
#define VDB_FRAME_SAVES_PART	8

StaticAssertDecl((uint64) (VDB_FRAMES_MAX - 1) << VDB_FRAME_SHIFT_MAX > VDB_VEC_MAX_BYTES,
				 "the largest payload has few enough frames");
StaticAssertDecl(VDB_FRAME_SHIFT_MIN >= 3, "frames keep an alignment of 8");

/* Return the number of frames, the head included. */
static inline uint32
vdb_frames_count(uint64 tail_bytes, uint8 shift)
{
	return 1 + (uint32) ((tail_bytes + ((uint64) 1 << shift) - 1) >> shift);
}

/* Return the bytes of header and table. */
static inline uint64
vdb_frames_table_end(uint32 count)
{
	return sizeof(VdbFrameHeader) + (uint64) count * sizeof(VdbFrame);
}

static inline VdbFrame
vdb_frame_entry(const uint8 *table, uint32 frame)
{
	VdbFrame	entry;

	memcpy(&entry, table + frame * sizeof(VdbFrame), sizeof(entry));
	return entry;
}

/* ---- write ---- */

/* Return the bytes of an items section before its data. */
static uint64
vdb_items_head(const uint8 *items, uint64 items_bytes)
{
	VdbItemsHeader header;

	Assert(items_bytes >= sizeof(header));
	memcpy(&header, items, sizeof(header));
	Assert(header.data_bytes <= items_bytes);
	return items_bytes - header.data_bytes;
}

/* Return the bytes of a payload that are needed to find a value in the rest. */
static uint64
vdb_frames_head(const VdbEncodePlan *plan, int encoding, const uint8 *raw,
				uint64 raw_bytes)
{
	VdbDictHeader dict;
	uint64		entries;

	if (encoding == VDB_ENC_PLANES)
		return raw_bytes - plan->count;
	if (encoding == VDB_ENC_PLAIN)
		return plan->in->kind == VDB_VEC_BYTES ?
			vdb_items_head(raw, raw_bytes) : 0;
	if (encoding != VDB_ENC_DICT || plan->in->kind == VDB_VEC_INT)
		return raw_bytes;

	memcpy(&dict, raw, sizeof(dict));
	entries = sizeof(dict) + dict.code_bytes;
	Assert(entries <= raw_bytes);
	if (plan->in->kind == VDB_VEC_FIXED)
		return entries;
	return entries + vdb_items_head(raw + entries, raw_bytes - entries);
}

/*
 * Choose the size of frames: larger for large items, and for payloads so large that the table would
 * overflow.
 */
static uint8
vdb_frames_shift(const VdbEncodePlan *plan, uint64 tail_bytes)
{
	uint8		shift = plan->in->kind == VDB_VEC_INT ? VDB_FRAME_SHIFT_INT :
		VDB_FRAME_SHIFT_ITEMS;

	while (shift < VDB_FRAME_SHIFT_LARGE &&
		   (uint64) plan->count << shift < 2 * tail_bytes)
		shift++;
	while (vdb_frames_count(tail_bytes, shift) > VDB_FRAMES_MAX)
		shift++;
	Assert(shift >= VDB_FRAME_SHIFT_MIN && shift <= VDB_FRAME_SHIFT_MAX);
	return shift;
}

/* Return a number of bytes that is always enough. */
uint64
vdb_frames_bound(uint64 raw_bytes)
{
	return vdb_frames_table_end(VDB_FRAMES_MAX) + raw_bytes;
}

/* Write one frame.  Returns its bytes; these are more than room_bytes if it does not fit. */
static uint64
vdb_frame_write(VdbZstd **zstd, uint8 *to, uint64 room_bytes, const uint8 *raw,
				uint64 raw_bytes, int level)
{
	uint64		most = raw_bytes - Max(raw_bytes / VDB_FRAME_SAVES_PART, 1);
	size_t		done = 0;

	if (raw_bytes > 0 && most > 0 && room_bytes > 0)
		done = vdb_zstd_compress(zstd, to, Min(most, room_bytes), raw,
								 raw_bytes, level);
	if (done > 0)
		return done;
	if (raw_bytes > 0 && raw_bytes <= room_bytes)
		memcpy(to, raw, raw_bytes);
	return raw_bytes;
}

/*
 * Write a payload as frames to at most to_bytes.  Returns their bytes with the table, or 0 if they
 * would not fit.  The vector is complete after vdb_frames_seal.
 */
size_t
vdb_frames_write(VdbZstd **zstd, uint8 *to, size_t to_bytes,
				 const VdbEncodePlan *plan, int encoding, const uint8 *raw,
				 size_t raw_bytes, int level)
{
	uint64		head = vdb_frames_head(plan, encoding, raw, raw_bytes);
	VdbFrameHeader header = {.shift = vdb_frames_shift(plan, raw_bytes - head)};
	uint32		count;
	uint64		start;
	uint64		done = 0;
	uint64		end = 0;

	/* frames are useless for a payload hardly larger than one */
	if (raw_bytes <= (uint64) 1 << header.shift && encoding != VDB_ENC_PLANES)
		head = raw_bytes;
	Assert(head % 8 == 0 || head == raw_bytes);
	header.head_bytes = (uint32) head;
	count = vdb_frames_count(raw_bytes - head, header.shift);
	start = vdb_frames_table_end(count);
	if (start > to_bytes)
		return 0;
	memcpy(to, &header, sizeof(header));

	for (uint32 frame = 0; frame < count; frame++)
	{
		uint64		part = frame == 0 ? head :
			Min(raw_bytes - done, (uint64) 1 << header.shift);
		uint8	   *at = to + start + end;
		VdbFrame	entry;
		uint64		stored = vdb_frame_write(zstd, at, to_bytes - start - end,
											 raw + done, part, level);

		if (stored > to_bytes - start - end)
			return 0;
		end += stored;
		done += part;
		entry.end = (uint32) end;
		entry.crc = vdb_crc32c(at, stored);
		memcpy(to + sizeof(header) + frame * sizeof(entry), &entry, sizeof(entry));
	}
	Assert(done == raw_bytes);
	return start + end;
}

/* Compute the CRC from the vector's start to the end of the table, without the CRC's own field. */
static uint32
vdb_frames_crc(const uint8 *vector, uint64 payload_offset, uint32 count)
{
	uint64		own = payload_offset + offsetof(VdbFrameHeader, crc);
	uint32		crc = vdb_crc32c_more(0xFFFFFFFF, vector, own);

	crc = vdb_crc32c_more(crc, vector + own + sizeof(crc),
						  (uint64) count * sizeof(VdbFrame));
	return crc ^ 0xFFFFFFFF;
}

/* Store the checksum in a vector of frames.  Its prefix has been written, too. */
void
vdb_frames_seal(uint8 *vector, size_t prefix_bytes, size_t raw_bytes)
{
	VdbFrameHeader header;

	memcpy(&header, vector + prefix_bytes, sizeof(header));
	header.crc = vdb_frames_crc(vector, prefix_bytes,
								vdb_frames_count(raw_bytes - header.head_bytes,
												 header.shift));
	memcpy(vector + prefix_bytes, &header, sizeof(header));
}

/* ---- read ---- */

/* Take header and table off the payload. */
VdbCodecStatus
vdb_frames_open(const VdbCodecInfo *info, VdbByteReader *payload,
				VdbFramesView *frames)
{
	VdbFrameHeader header;
	uint64		table_end;

	memset(frames, 0, sizeof(*frames));
	if (!vdb_bytes_copy(payload, &header, sizeof(header)))
		return VDB_CODEC_TRUNCATED;
	if (header.zero1 != 0 || header.zero2 != 0 || header.zero3 != 0 ||
		header.shift < VDB_FRAME_SHIFT_MIN || header.shift > VDB_FRAME_SHIFT_MAX ||
		header.head_bytes > info->raw_bytes ||
		(header.head_bytes % 8 != 0 && header.head_bytes != info->raw_bytes))
		return VDB_CODEC_CORRUPT;

	frames->shift = header.shift;
	frames->head_bytes = header.head_bytes;
	frames->tail_bytes = info->raw_bytes - header.head_bytes;
	frames->count = vdb_frames_count(frames->tail_bytes, header.shift);
	table_end = vdb_frames_table_end(frames->count);
	if (frames->count > VDB_FRAMES_MAX || table_end > info->stored_bytes)
		return VDB_CODEC_CORRUPT;
	frames->stored_offset = info->payload_offset + table_end;
	frames->stored_bytes = info->stored_bytes - table_end;
	frames->table = vdb_bytes_take(payload, (uint64) frames->count * sizeof(VdbFrame));
	if (frames->table == NULL)
		return VDB_CODEC_TRUNCATED;
	if (vdb_frame_entry(frames->table, frames->count - 1).end != frames->stored_bytes)
		return VDB_CODEC_CORRUPT;
	return VDB_CODEC_OK;
}

/* Find a frame.  Its address is within the vector, for any contents of the table. */
VdbCodecStatus
vdb_frames_address(const VdbFramesView *frames, uint32 frame, VdbFrameAddress *address)
{
	uint32		start = 0;
	uint32		end;

	if (frame >= frames->count)
		return VDB_CODEC_BAD_CALL;
	end = vdb_frame_entry(frames->table, frame).end;
	if (frame > 0)
		start = vdb_frame_entry(frames->table, frame - 1).end;
	if (start > end || end > frames->stored_bytes)
		return VDB_CODEC_CORRUPT;

	address->offset = frames->stored_offset + start;
	address->stored_bytes = end - start;
	address->raw_bytes = frame == 0 ? (uint32) frames->head_bytes :
		(uint32) Min((uint64) 1 << frames->shift, frames->tail_bytes -
					 ((uint64) (frame - 1) << frames->shift));
	return VDB_CODEC_OK;
}

/* Decompress one frame.  'to' has room for its raw bytes. */
VdbCodecStatus
vdb_frames_unpack(VdbZstd **zstd, const VdbFrameAddress *address,
				  const uint8 *stored, uint8 *to)
{
	if (address->stored_bytes != address->raw_bytes)
		return vdb_zstd_decompress(zstd, to, address->raw_bytes, stored,
								   address->stored_bytes);
	if (address->raw_bytes > 0)
		memcpy(to, stored, address->raw_bytes);
	return VDB_CODEC_OK;
}

/* Decompress all frames of a payload to 'to'.  The caller has checked the whole vector. */
VdbCodecStatus
vdb_frames_read(VdbZstd **zstd, const VdbCodecInfo *info, const uint8 *stored,
				uint8 *to)
{
	VdbByteReader payload = {.at = stored,.end = stored + info->stored_bytes};
	VdbFramesView frames;
	VdbCodecStatus status = vdb_frames_open(info, &payload, &frames);
	const uint8 *first = payload.at;

	for (uint32 frame = 0; status == VDB_CODEC_OK && frame < frames.count; frame++)
	{
		VdbFrameAddress address;

		status = vdb_frames_address(&frames, frame, &address);
		if (status != VDB_CODEC_OK)
			break;
		status = vdb_frames_unpack(zstd, &address, first + (address.offset -
															frames.stored_offset), to);
		to += address.raw_bytes;
	}
	return status;
}
