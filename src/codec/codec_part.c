/*
 * codec_part.c
 *	  Single values of a vector in frames of which only the head is in memory.
 *
 * The caller provides the first bytes of the vector (vdb_codec_part_measure returns how many), and
 * later the frames with the values to read, from wherever it keeps them.  These bytes are compared
 * with their checksums here, since the vector as a whole has not been checked.
 */
#include "codec_port.h"

#include "codec_private.h"

/* Fuzzers must get past the checksums. */
#ifdef VDB_CODEC_NO_CRC
#define VDB_CRC_DIFFERS(found, expected)	((void) (found), (void) (expected), false)
#else
#define VDB_CRC_DIFFERS(found, expected)	((found) != (expected))
#endif

/* ---- open ---- */

/*
 * Check that header, nulls and table are what was written.  This is done as soon as the table is in
 * memory, before memory is allocated by its numbers.
 */
static bool
vdb_part_crc_ok(const uint8 *bytes, uint64 payload_offset, const VdbFramesView *frames)
{
	uint64		own = payload_offset + offsetof(VdbFrameHeader, crc);
	uint32		expected;
	uint32		crc;

	memcpy(&expected, bytes + own, sizeof(expected));
	crc = vdb_crc32c_more(0xFFFFFFFF, bytes, own);
	crc = vdb_crc32c_more(crc, frames->table, frames->count * sizeof(VdbFrame));
	return !VDB_CRC_DIFFERS(crc ^ 0xFFFFFFFF, expected);
}

/*
 * Measure how much of the vector a part needs, from its first len bytes.  If need_bytes is larger
 * than len, the caller provides that many bytes and calls again; it grows a few times at most.
 * Header, nulls and table are compared with their checksum once they are in memory.  A vector that
 * is not in frames is needed as a whole.
 */
VdbCodecStatus
vdb_codec_part_measure(const uint8 *bytes, size_t len, VdbPartSize *size)
{
	VdbCodecInfo info;
	VdbByteReader payload;
	VdbFramesView frames;
	VdbFrameAddress head;
	VdbCodecStatus status;

	size->keep_bytes = 0;
	size->frames = 0;
	size->need_bytes = sizeof(VdbVectorHeader);
	if (len < size->need_bytes)
		return VDB_CODEC_OK;
	status = vdb_open_header(bytes, len, &info);
	if (status == VDB_CODEC_TRUNCATED && len == sizeof(VdbVectorHeader))
	{
		size->need_bytes += sizeof(uint16); /* the number of null runs */
		return VDB_CODEC_OK;
	}
	if (status != VDB_CODEC_OK)
		return status;
	size->need_bytes = info.total_bytes;
	len = Min(len, info.total_bytes);
	if ((info.flags & VDB_VECF_ZSTD) == 0)
		return VDB_CODEC_OK;

	size->need_bytes = info.payload_offset + sizeof(VdbFrameHeader);
	if (len < size->need_bytes)
		return VDB_CODEC_OK;
	payload.at = bytes + info.payload_offset;
	payload.end = bytes + len;
	status = vdb_frames_open(&info, &payload, &frames);
	if (status == VDB_CODEC_TRUNCATED)
	{
		size->need_bytes = frames.stored_offset;
		return VDB_CODEC_OK;
	}
	if (status == VDB_CODEC_OK && !vdb_part_crc_ok(bytes, info.payload_offset, &frames))
		status = VDB_CODEC_BAD_CRC;
	if (status == VDB_CODEC_OK)
		status = vdb_frames_address(&frames, 0, &head);
	if (status != VDB_CODEC_OK)
		return status;
	size->need_bytes = head.offset + head.stored_bytes;
	size->keep_bytes = VDB_ALIGN8(frames.head_bytes) + frames.count * sizeof(VdbFrame);
	size->frames = frames.count;
	return VDB_CODEC_OK;
}

/* Check whether the encoding may have values outside of the head. */
static bool
vdb_part_may_have_tail(const VdbCodecInfo *info)
{
	return info->encoding == VDB_ENC_PLAIN || info->encoding == VDB_ENC_PLANES ||
		(info->encoding == VDB_ENC_DICT && info->kind != VDB_VEC_INT);
}

/*
 * Open the first bytes of a vector in frames, as many as measured.  'keep', at a multiple of 8,
 * gets the head and the table and must outlive the part; the bytes need not.
 */
VdbCodecStatus
vdb_codec_part_open(VdbCodecWorkspace *ws, const uint8 *bytes, size_t len,
					uint8 *keep, size_t keep_bytes, VdbVectorPart *part)
{
	VdbVectorReader *reader = &part->reader;
	VdbFramesView *frames = &part->frames;
	VdbByteReader payload;
	VdbFrameAddress head;
	VdbPartSize size;
	VdbCodecStatus status = vdb_codec_part_measure(bytes, len, &size);

	memset(reader, 0, offsetof(VdbVectorReader, nulls));
	if (status != VDB_CODEC_OK)
		return status;
	if (size.frames == 0 || size.need_bytes > len || size.keep_bytes > keep_bytes ||
		(uintptr_t) keep % 8 != 0)
		return VDB_CODEC_BAD_CALL;

	(void) vdb_open_header(bytes, len, &reader->info);
	payload.at = bytes + reader->info.payload_offset;
	payload.end = bytes + len;
	status = vdb_frames_open(&reader->info, &payload, frames);
	if (status == VDB_CODEC_OK)
		status = vdb_frames_address(frames, 0, &head);
	if (status != VDB_CODEC_OK)
		return status;

	/* the same numbers as when measured */
	status = vdb_open_nulls(bytes, reader);
	if (status == VDB_CODEC_OK)
		status = vdb_codec_part_unpack(ws, part, 0, bytes + head.offset, keep);
	if (status != VDB_CODEC_OK)
		return status;
	frames->table = memcpy(keep + VDB_ALIGN8(frames->head_bytes), frames->table,
						   frames->count * sizeof(VdbFrame));

	reader->payload = keep;
	reader->payload_bytes = frames->head_bytes;
	reader->tail_bytes = frames->tail_bytes;
	if (frames->tail_bytes > 0 && !vdb_part_may_have_tail(&reader->info))
		return VDB_CODEC_CORRUPT;
	return vdb_open_encoding(reader);
}

/* ---- frames ---- */

/* See codec.h. */
VdbCodecStatus
vdb_codec_part_frame(const VdbVectorPart *part, uint32 frame, VdbFrameAddress *address)
{
	return vdb_frames_address(&part->frames, frame, address);
}

/* Check the stored bytes of a frame and decompress it.  'to' has room for its raw bytes. */
VdbCodecStatus
vdb_codec_part_unpack(VdbCodecWorkspace *ws, const VdbVectorPart *part,
					  uint32 frame, const uint8 *stored, uint8 *to)
{
	VdbFrameAddress address;
	VdbFrame	entry;
	VdbCodecStatus status = vdb_frames_address(&part->frames, frame, &address);

	if (status != VDB_CODEC_OK)
		return status;
	memcpy(&entry, part->frames.table + frame * sizeof(entry), sizeof(entry));
	if (VDB_CRC_DIFFERS(vdb_crc32c(stored, address.stored_bytes), entry.crc))
		return VDB_CODEC_BAD_CRC;
	return vdb_frames_unpack(vdb_workspace_zstd(ws), &address, stored, to);
}

/* ---- values ---- */

/*
 * Return n bytes of the tail from 'start', which lie within it: in their frame, or joined in the
 * workspace if there are several frames.  n is at least 1.
 */
static VdbCodecStatus
vdb_part_tail(VdbCodecWorkspace *ws, const VdbVectorPart *part, uint64 start,
			  uint32 n, VdbFrameGet get, void *arg, const uint8 **bytes)
{
	uint64		mask = ((uint64) 1 << part->frames.shift) - 1;
	uint32		frame = 1 + (uint32) (start >> part->frames.shift);
	uint32		last = 1 + (uint32) ((start + n - 1) >> part->frames.shift);
	const uint8 *raw;
	uint8	   *joined;
	uint32		done = 0;
	VdbCodecStatus status;

	Assert(n > 0 && start + n <= part->frames.tail_bytes);
	if (frame == last)
	{
		status = get(arg, frame, &raw);
		*bytes = raw + (start & mask);
		return status;
	}

	joined = vdb_workspace_buffer(ws, VDB_BUFFER_JOIN, n);
	if (joined == NULL)
		return VDB_CODEC_NO_MEMORY;
	for (; frame <= last; frame++)
	{
		uint64		from = (start + done) & mask;
		uint32		piece = (uint32) Min(mask + 1 - from, (uint64) (n - done));

		status = get(arg, frame, &raw);
		if (status != VDB_CODEC_OK)
			return status;
		memcpy(joined + done, raw + from, piece);
		done += piece;
	}
	Assert(done == n);
	*bytes = joined;
	return VDB_CODEC_OK;
}

/* See codec.h. */
VdbCodecStatus
vdb_codec_part_int_at(const VdbVectorPart *part, uint32 pos, VdbFrameGet get,
					  void *arg, int64 *value)
{
	const VdbCodecInfo *info = &part->reader.info;
	uint32		unused_bits = 64 - 8 * info->width;
	uint64		bits = 0;
	const uint8 *at;
	VdbCodecStatus status;

	if (part->reader.tail_bytes == 0)
		return vdb_codec_int_at(&part->reader, pos, value);
	if (info->kind != VDB_VEC_INT || pos >= info->count)
		return VDB_CODEC_BAD_CALL;

	if (info->encoding == VDB_ENC_PLANES)
	{
		status = vdb_part_tail(NULL, part, pos, 1, get, arg, &at);
		if (status == VDB_CODEC_OK)
			*value = vdb_planes_value(&part->reader, pos, *at);
		return status;
	}

	/* plain: a width divides the size of a frame, so nothing is joined */
	Assert(info->encoding == VDB_ENC_PLAIN);
	status = vdb_part_tail(NULL, part, (uint64) pos * info->width, info->width,
						   get, arg, &at);
	if (status != VDB_CODEC_OK)
		return status;
	memcpy(&bits, at, info->width);
	*value = (int64) (bits << unused_bits) >> unused_bits;
	return VDB_CODEC_OK;
}

/* Find the range in the tail of the item of a position that is not null. */
static VdbCodecStatus
vdb_part_range(const VdbVectorPart *part, uint32 pos, uint64 *start, uint64 *end)
{
	uint32		item;
	VdbCodecStatus status = vdb_codec_methods(part->reader.info.encoding)->
		item_of(&part->reader, pos, &item);

	if (status != VDB_CODEC_OK)
		return status;
	return vdb_items_range(&part->reader, item, start, end);
}

/*
 * Return a value as vdb_codec_fixed_at does.  It is valid until the next call with this workspace.
 */
VdbCodecStatus
vdb_codec_part_fixed_at(VdbCodecWorkspace *ws, const VdbVectorPart *part,
						uint32 pos, VdbFrameGet get, void *arg,
						const uint8 **value)
{
	const VdbVectorReader *reader = &part->reader;
	uint64		start;
	uint64		end;
	VdbCodecStatus status;

	if (reader->tail_bytes == 0)
		return vdb_codec_fixed_at(reader, pos, value);
	if (reader->info.kind != VDB_VEC_FIXED || pos >= reader->info.count)
		return VDB_CODEC_BAD_CALL;
	*value = NULL;
	if (vdb_codec_is_null(reader, pos))
		return VDB_CODEC_OK;
	status = vdb_part_range(part, pos, &start, &end);
	if (status != VDB_CODEC_OK)
		return status;
	return vdb_part_tail(ws, part, start, reader->info.width, get, arg, value);
}

/*
 * Return a value as vdb_codec_bytes_at does.  It is valid until the next call with this workspace.
 */
VdbCodecStatus
vdb_codec_part_bytes_at(VdbCodecWorkspace *ws, const VdbVectorPart *part,
						uint32 pos, VdbFrameGet get, void *arg,
						const uint8 **image, uint32 *image_bytes)
{
	const VdbVectorReader *reader = &part->reader;
	uint64		start;
	uint64		end;
	uint32		header;
	VdbCodecStatus status;

	if (reader->tail_bytes == 0)
		return vdb_codec_bytes_at(reader, pos, image, image_bytes);
	if (reader->info.kind != VDB_VEC_BYTES || pos >= reader->info.count)
		return VDB_CODEC_BAD_CALL;
	if (vdb_codec_is_null(reader, pos))
	{
		vdb_empty_image(reader, image, image_bytes);
		return VDB_CODEC_OK;
	}
	status = vdb_part_range(part, pos, &start, &end);
	if (status != VDB_CODEC_OK)
		return status;

	*image_bytes = (uint32) (end - start);
	if (reader->info.image != VDB_IMAGE_RAW)
	{
		/* a header of 4 bytes is at a multiple of 8, so it is within one frame */
		if (start == end)
			return VDB_CODEC_CORRUPT;
		header = start % 8 == 0 ? (uint32) Min(end - start, sizeof(header)) : 1;
		status = vdb_part_tail(ws, part, start, header, get, arg, image);
		if (status == VDB_CODEC_OK)
			status = vdb_image_total(reader, *image, start, end - start, image_bytes);
		if (status != VDB_CODEC_OK)
			return status;
	}
	if (*image_bytes == 0)
	{
		vdb_empty_image(reader, image, image_bytes);
		return VDB_CODEC_OK;
	}
	return vdb_part_tail(ws, part, start, *image_bytes, get, arg, image);
}

/* Move a pointer by so many bytes, unless it is NULL. */
static void
vdb_pointer_moved(const uint8 **pointer, ptrdiff_t by)
{
	/* as numbers: the old bytes may be gone */
	if (*pointer != NULL)
		*pointer = (const uint8 *) ((uintptr_t) *pointer + (uintptr_t) by);
}

/* See codec.h. */
void
vdb_codec_part_moved(VdbVectorPart *part, ptrdiff_t by)
{
	VdbVectorReader *reader = &part->reader;

	vdb_pointer_moved(&reader->payload, by);
	vdb_pointer_moved(&reader->packed.words, by);
	vdb_pointer_moved(&reader->run_ends, by);
	vdb_pointer_moved(&reader->restarts, by);
	vdb_pointer_moved(&reader->planes, by);
	vdb_pointer_moved(&reader->entries.words, by);
	vdb_pointer_moved(&reader->items.data, by);
	vdb_pointer_moved(&reader->items.starts.words, by);
	vdb_pointer_moved(&part->frames.table, by);
}
