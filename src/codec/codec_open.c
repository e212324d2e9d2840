/*
 * codec_open.c
 *	  Read an encoded vector: inspect its header, open it, return its values.
 *
 * Duties: no byte beyond the given length is read; header fields are checked against each other
 * before any size is derived from them; zstd and misaligned sources are put into a buffer; then the
 * encoding's own open takes the payload apart.  After that each access is the encoding's method
 * plus the check that kind and position fit.
 */
#include "codec_port.h"

#include "codec_private.h"

#define VDB_OPEN_ALIGNMENT	8

/* The values handed out for a null of BYTES, at a multiple of 8 */
static const uint64 vdb_empty_short = VDB_IMAGE_EMPTY_SHORT;
static const uint64 vdb_empty_full = 4 << 2;

/* Check that kind and width of the header are valid. */
static bool
vdb_header_shape_ok(const VdbVectorHeader *header)
{
	switch (header->kind)
	{
		case VDB_VEC_INT:
			return header->width == 1 || header->width == 2 ||
				header->width == 4 || header->width == 8;
		case VDB_VEC_FIXED:
			return header->width != 0;
		case VDB_VEC_BYTES:
			return header->width == 0;
		default:
			return false;
	}
}

/* Check that the flags of the header fit its other fields. */
static bool
vdb_header_flags_ok(const VdbVectorHeader *header)
{
	uint8		flags = header->flags;
	bool		all_null = (flags & VDB_VECF_ALL_NULL) != 0;

	if ((flags & ~VDB_VECF_KNOWN) != 0)
		return false;
	if (all_null != (header->encoding == VDB_ENC_ALLNULL))
		return false;
	if (all_null && (flags & (VDB_VECF_NULLS | VDB_VECF_ZSTD)) != 0)
		return false;
	if ((flags & VDB_VECF_NULLS_RLE) && !(flags & VDB_VECF_NULLS))
		return false;
	if ((flags & VDB_VECF_VARLENA) && header->kind != VDB_VEC_BYTES)
		return false;
	if ((flags & VDB_VECF_VARLENA_FULL) && !(flags & VDB_VECF_VARLENA))
		return false;
	if ((flags & VDB_VECF_ZSTD) == 0)
		return header->stored_bytes == header->raw_bytes;
	return vdb_zstd_plausible(header->stored_bytes, header->raw_bytes);
}

/* Check the header's fields. */
static VdbCodecStatus
vdb_header_check(const VdbVectorHeader *header)
{
	const VdbCodecMethods *methods = vdb_codec_methods(header->encoding);

	if (header->version != VDB_CODEC_FORMAT_VERSION || methods == NULL)
		return VDB_CODEC_VERSION;
	if (header->count > VDB_VEC_MAX_COUNT || !vdb_header_shape_ok(header) ||
		(methods->kinds & VDB_KIND_BIT(header->kind)) == 0 ||
		!vdb_header_flags_ok(header))
		return VDB_CODEC_CORRUPT;
	return VDB_CODEC_OK;
}

static void
vdb_info_from_header(const VdbVectorHeader *header, VdbCodecInfo *info)
{
	info->encoding = header->encoding;
	info->kind = header->kind;
	info->flags = header->flags;
	info->image = (header->flags & VDB_VECF_VARLENA_FULL) ? VDB_IMAGE_FULL :
		(header->flags & VDB_VECF_VARLENA) ? VDB_IMAGE_SHORT : VDB_IMAGE_RAW;
	info->width = header->width;
	info->count = header->count;
	info->stored_bytes = header->stored_bytes;
	info->raw_bytes = header->raw_bytes;
}

/*
 * Check the header.  Of the rest, only the number of null runs may be read, and the caller compares
 * the vector's extent with len.
 */
VdbCodecStatus
vdb_open_header(const uint8 *bytes, size_t len, VdbCodecInfo *info)
{
	VdbByteReader reader = {.at = bytes,.end = bytes + len};
	VdbVectorHeader header;
	VdbCodecStatus status;
	uint64		null_bytes = 0;

	if (!vdb_bytes_copy(&reader, &header, sizeof(header)))
		return VDB_CODEC_TRUNCATED;
	status = vdb_header_check(&header);
	if (status != VDB_CODEC_OK)
		return status;
	vdb_info_from_header(&header, info);

	if (header.flags & VDB_VECF_NULLS_RLE)
	{
		const uint8 *runs = vdb_bytes_take(&reader, sizeof(uint16));

		if (runs == NULL)
			return VDB_CODEC_TRUNCATED;
		null_bytes = sizeof(uint16) * (1 + (uint64) vdb_load_u16(runs));
	}
	else if (header.flags & VDB_VECF_NULLS)
		null_bytes = (header.count + 7) / 8;

	info->payload_offset = (uint32) (sizeof(header) + VDB_ALIGN8(null_bytes));
	info->total_bytes = (size_t) info->payload_offset + header.stored_bytes;
	return VDB_CODEC_OK;
}

/*
 * Check the header and the extent of a vector at the start of 'bytes'.  There may be more bytes
 * behind it (the next vector).  This costs next to nothing.
 */
VdbCodecStatus
vdb_codec_inspect(const uint8 *bytes, size_t len, VdbCodecInfo *info)
{
	VdbCodecStatus status = vdb_open_header(bytes, len, info);

	if (status == VDB_CODEC_OK && info->total_bytes > len)
		return VDB_CODEC_TRUNCATED;
	return status;
}

/*
 * Find the payload: in place, or in a buffer if it is compressed or its values would be handed out
 * misaligned.
 */
static VdbCodecStatus
vdb_open_payload(VdbCodecWorkspace *ws, const uint8 *stored, uint8 *buffer,
				 size_t buffer_bytes, VdbVectorReader *reader)
{
	const VdbCodecInfo *info = &reader->info;
	bool		zstd = (info->flags & VDB_VECF_ZSTD) != 0;

	reader->payload_bytes = info->raw_bytes;
	if (!zstd && (info->kind == VDB_VEC_INT ||
				  (uintptr_t) stored % VDB_OPEN_ALIGNMENT == 0))
	{
		reader->payload = stored;
		return VDB_CODEC_OK;
	}

	if (buffer == NULL || buffer_bytes < info->raw_bytes ||
		(uintptr_t) buffer % VDB_OPEN_ALIGNMENT != 0)
		buffer = vdb_workspace_buffer(ws, VDB_BUFFER_DECODE, info->raw_bytes);
	if (buffer == NULL)
		return VDB_CODEC_NO_MEMORY;
	reader->payload = buffer;
	if (zstd)
		return vdb_frames_read(vdb_workspace_zstd(ws), info, stored, buffer);
	memcpy(buffer, stored, info->raw_bytes);
	return VDB_CODEC_OK;
}

/* Read the part between header and payload, all of which must be in memory. */
VdbCodecStatus
vdb_open_nulls(const uint8 *bytes, VdbVectorReader *reader)
{
	VdbByteReader prefix = {
		.at = bytes + sizeof(VdbVectorHeader),
		.end = bytes + reader->info.payload_offset
	};
	VdbCodecStatus status = vdb_nulls_open(reader, &prefix);

	if (status != VDB_CODEC_OK)
		return status;
	Assert(prefix.at == prefix.end);
	Assert(reader->null_count <= reader->info.count);
	Assert(reader->info.payload_offset % 8 == 0);
	return VDB_CODEC_OK;
}

/* Take the payload apart. */
VdbCodecStatus
vdb_open_encoding(VdbVectorReader *reader)
{
	VdbByteReader payload = {
		.at = reader->payload,
		.end = reader->payload + reader->payload_bytes
	};
	VdbCodecStatus status =
		vdb_codec_methods(reader->info.encoding)->open(reader, &payload);

	if (status == VDB_CODEC_OK && vdb_bytes_left(&payload) != 0)
		status = VDB_CODEC_CORRUPT;
	return status;
}

/*
 * Open the vector at the start of 'bytes' for reading.
 *
 * A caller that keeps several vectors open gives each a buffer of at least info.raw_bytes, aligned
 * to 8.  Otherwise (NULL, or too small) the workspace's buffer is used if one is needed, and lasts
 * until the next open with it.
 */
VdbCodecStatus
vdb_codec_open(VdbCodecWorkspace *ws, const uint8 *bytes, size_t len,
			   uint8 *buffer, size_t buffer_bytes, VdbVectorReader *reader)
{
	VdbCodecStatus status;

	memset(reader, 0, offsetof(VdbVectorReader, nulls));
	status = vdb_codec_inspect(bytes, len, &reader->info);
	if (status == VDB_CODEC_OK)
		status = vdb_open_nulls(bytes, reader);
	if (status != VDB_CODEC_OK)
		return status;

	status = vdb_open_payload(ws, bytes + reader->info.payload_offset, buffer,
							  buffer_bytes, reader);
	if (status != VDB_CODEC_OK)
		return status;
	return vdb_open_encoding(reader);
}

/* ---- INT ---- */

/* Decode all values, nulls included, to 'out', which has room for the vector's count. */
VdbCodecStatus
vdb_codec_decode_int(const VdbVectorReader *reader, int64 *out)
{
	if (reader->info.kind != VDB_VEC_INT || reader->tail_bytes > 0)
		return VDB_CODEC_BAD_CALL;
	return vdb_codec_methods(reader->info.encoding)->decode_int(reader, out);
}

/* Return one value. */
VdbCodecStatus
vdb_codec_int_at(const VdbVectorReader *reader, uint32 pos, int64 *value)
{
	if (reader->info.kind != VDB_VEC_INT || pos >= reader->info.count ||
		reader->tail_bytes > 0)
		return VDB_CODEC_BAD_CALL;
	return vdb_codec_methods(reader->info.encoding)->int_at(reader, pos, value);
}

/* ---- FIXED and BYTES ---- */

/* Return the item of a position that is not null. */
static VdbCodecStatus
vdb_item_at(const VdbVectorReader *reader, uint32 pos, const uint8 **image,
			uint32 *image_bytes)
{
	uint32		item;
	VdbCodecStatus status =
		vdb_codec_methods(reader->info.encoding)->item_of(reader, pos, &item);

	if (reader->tail_bytes > 0)
		return VDB_CODEC_BAD_CALL;
	if (status != VDB_CODEC_OK)
		return status;
	return vdb_items_at(reader, item, image, image_bytes);
}

/* Return a FIXED value, or NULL for a null. */
VdbCodecStatus
vdb_codec_fixed_at(const VdbVectorReader *reader, uint32 pos,
				   const uint8 **value)
{
	uint32		width;

	if (reader->info.kind != VDB_VEC_FIXED || pos >= reader->info.count)
		return VDB_CODEC_BAD_CALL;
	*value = NULL;
	if (vdb_codec_is_null(reader, pos))
		return VDB_CODEC_OK;
	return vdb_item_at(reader, pos, value, &width);
}

/* Decode all FIXED values, with NULL for nulls. */
VdbCodecStatus
vdb_codec_decode_fixed(const VdbVectorReader *reader, const uint8 **values)
{
	uint16		codes[VDB_VEC_MAX_COUNT] = {0};
	const uint8 *data = reader->items.data;
	uint32		width = reader->info.width;
	bool		plain = reader->info.encoding == VDB_ENC_PLAIN;

	if (reader->info.kind != VDB_VEC_FIXED || reader->tail_bytes > 0)
		return VDB_CODEC_BAD_CALL;
	if (reader->info.encoding == VDB_ENC_DICT)
	{
		VdbCodecStatus status = vdb_codec_decode_codes(reader, codes);

		if (status != VDB_CODEC_OK)
			return status;
	}
	for (uint32 pos = 0; pos < reader->info.count; pos++)
	{
		if (vdb_codec_is_null(reader, pos))
			values[pos] = NULL;
		else
			values[pos] = data + (uint64) (plain ? pos : codes[pos]) * width;
	}
	return VDB_CODEC_OK;
}

/* Return the value handed out for a null of BYTES. */
void
vdb_empty_image(const VdbVectorReader *reader, const uint8 **image,
				uint32 *image_bytes)
{
	if (reader->info.image == VDB_IMAGE_FULL)
	{
		*image = (const uint8 *) &vdb_empty_full;
		*image_bytes = 4;
	}
	else
	{
		*image = (const uint8 *) &vdb_empty_short;
		*image_bytes = reader->info.image == VDB_IMAGE_SHORT ? 1 : 0;
	}
}

/* Return a BYTES value as stored; an empty one for a null. */
VdbCodecStatus
vdb_codec_bytes_at(const VdbVectorReader *reader, uint32 pos,
				   const uint8 **image, uint32 *image_bytes)
{
	if (reader->info.kind != VDB_VEC_BYTES || pos >= reader->info.count)
		return VDB_CODEC_BAD_CALL;
	if (!vdb_codec_is_null(reader, pos))
		return vdb_item_at(reader, pos, image, image_bytes);
	vdb_empty_image(reader, image, image_bytes);
	return VDB_CODEC_OK;
}

/* Return a BYTES value without varlena header. */
VdbCodecStatus
vdb_codec_payload_at(const VdbVectorReader *reader, uint32 pos,
					 const uint8 **payload, uint32 *payload_bytes)
{
	VdbCodecStatus status = vdb_codec_bytes_at(reader, pos, payload,
											   payload_bytes);

	if (status == VDB_CODEC_OK && reader->info.image != VDB_IMAGE_RAW)
	{
		uint32		header_bytes = (**payload & 0x01) ? 1 : 4;

		Assert(*payload_bytes >= header_bytes);
		*payload += header_bytes;
		*payload_bytes -= header_bytes;
	}
	return status;
}

/* Set each position to the image of its entry. */
static VdbCodecStatus
vdb_decode_entries(const VdbVectorReader *reader, const uint8 **images,
				   uint32 *image_bytes)
{
	const uint8 *entries[VDB_VEC_MAX_COUNT];
	uint32		entry_bytes[VDB_VEC_MAX_COUNT];
	uint16		codes[VDB_VEC_MAX_COUNT] = {0};
	VdbCodecStatus status = vdb_items_decode(reader, entries, entry_bytes);

	if (status == VDB_CODEC_OK && reader->info.encoding == VDB_ENC_DICT)
		status = vdb_codec_decode_codes(reader, codes);
	if (status != VDB_CODEC_OK)
		return status;
	for (uint32 pos = 0; pos < reader->info.count; pos++)
	{
		images[pos] = entries[codes[pos]];
		image_bytes[pos] = entry_bytes[codes[pos]];
	}
	return VDB_CODEC_OK;
}

/* Decode all BYTES values as stored, with empty ones for nulls. */
VdbCodecStatus
vdb_codec_decode_bytes(const VdbVectorReader *reader, const uint8 **images,
					   uint32 *image_bytes)
{
	VdbCodecStatus status = VDB_CODEC_OK;

	if (reader->info.kind != VDB_VEC_BYTES || reader->tail_bytes > 0)
		return VDB_CODEC_BAD_CALL;
	if (reader->info.encoding == VDB_ENC_PLAIN)
		status = vdb_items_decode(reader, images, image_bytes);
	else if (reader->info.encoding != VDB_ENC_ALLNULL)
		status = vdb_decode_entries(reader, images, image_bytes);
	if (status != VDB_CODEC_OK || reader->null_count == 0)
		return status;

	for (uint32 pos = 0; pos < reader->info.count; pos++)
	{
		if (vdb_bit_is_set(reader->nulls, pos))
			vdb_empty_image(reader, &images[pos], &image_bytes[pos]);
	}
	return VDB_CODEC_OK;
}
