/*
 * codec_items.c
 *	  Arrays of by-reference values: FIXED ones side by side, BYTES ones with offsets that are
 *	  found in O(1).
 *
 * They are the payload of plain and constant vectors and the entries of a dictionary.  README.md
 * describes the BYTES format: the start of item i is (i * slope >> 8) + r(i), and only the small
 * r(i) is stored, bit-packed.
 */
#include "codec_port.h"

#include "codec_private.h"

#define VDB_IMAGE_HEADER_BYTES	4

/* Offsets of the items about to be written */
typedef struct VdbItemsLayout
{
	uint64		data_bytes;
	uint64		slope;
	int64		least;				/* base of the residues */
	uint8		bits;
	int64		residues[VDB_VEC_MAX_COUNT];
} VdbItemsLayout;

static inline uint32
vdb_items_pos(const uint16 *positions, uint32 item)
{
	return positions != NULL ? positions[item] : item;
}

static inline bool
vdb_input_is_null(const VdbVectorInput *in, uint32 pos)
{
	return in->nulls != NULL && vdb_bit_is_set(in->nulls, pos);
}

/*
 * Return the start of the image of the value at 'pos', given that *end bytes are used already, and
 * set *end to its end.
 */
static inline uint64
vdb_items_address(const VdbVectorInput *in, uint32 pos, uint64 *end)
{
	uint64		start = *end;
	uint64		len;

	if (vdb_input_is_null(in, pos))
		return start;

	len = in->lens[pos];
	if (in->image == VDB_IMAGE_RAW)
		*end = start + len;
	else if (in->image == VDB_IMAGE_SHORT && len + 1 <= VDB_IMAGE_SHORT_MAX)
		*end = start + len + 1;
	else
	{
		start = VDB_ALIGN8(start);
		*end = start + len + VDB_IMAGE_HEADER_BYTES;
	}
	return start;
}

/* Compute the slope and the residues' range of the items to write. */
static void
vdb_items_lay_out(const VdbVectorInput *in, const uint16 *positions,
				  uint32 count, VdbItemsLayout *layout)
{
	uint64		end = 0;
	int64		least = 0;
	int64		most = 0;

	for (uint32 item = 0; item < count; item++)
		layout->residues[item] =
			(int64) vdb_items_address(in, vdb_items_pos(positions, item), &end);
	layout->data_bytes = end;
	layout->slope = count < 2 ? 0 :
		(uint64) layout->residues[count - 1] * 256 / (count - 1);

	for (uint32 item = 0; item < count; item++)
	{
		int64		residue = layout->residues[item] -
			(int64) (item * layout->slope >> 8);

		layout->residues[item] = residue;
		least = Min(least, residue);
		most = Max(most, residue);
	}
	Assert(least <= 0 && most >= 0);	/* item 0 starts at 0 */
	layout->least = least;
	layout->bits = vdb_bits_for((uint64) (most - least));
}

/*
 * Return the bytes that items take: those at 'positions', or all positions of the input if that is
 * NULL.  The caller has made sure that lengths add up to less than 2^62.
 */
uint64
vdb_items_measure(const VdbVectorInput *in, const uint16 *positions,
				  uint32 count)
{
	VdbItemsLayout layout;

	if (in->kind == VDB_VEC_FIXED)
		return (uint64) count * in->width;

	vdb_items_lay_out(in, positions, count, &layout);
	return sizeof(VdbItemsHeader) + vdb_packed_measure(layout.bits, count) +
		layout.data_bytes;
}

static void
vdb_items_write_fixed(VdbByteWriter *writer, const VdbVectorInput *in,
					  const uint16 *positions, uint32 count)
{
	for (uint32 item = 0; item < count; item++)
	{
		uint32		pos = vdb_items_pos(positions, item);

		if (vdb_input_is_null(in, pos))
			memset(vdb_bytes_room(writer, in->width), 0, in->width);
		else
			vdb_bytes_put(writer, in->data + (uint64) pos * in->width, in->width);
	}
}

/* Write one image.  *written is the number of bytes of data so far, and is advanced. */
static void
vdb_items_write_image(VdbByteWriter *writer, const VdbVectorInput *in,
					  uint32 pos, uint64 *written)
{
	uint64		before = *written;
	uint64		start = vdb_items_address(in, pos, written);
	uint32		len;

	if (vdb_input_is_null(in, pos))
		return;

	len = in->lens[pos];
	Assert(start >= before && *written - start >= len);
	memset(vdb_bytes_room(writer, start - before), 0, start - before);
	if (*written - start == (uint64) len + 1)
	{
		uint8		header = (uint8) ((len + 1) << 1 | 1);

		vdb_bytes_put(writer, &header, sizeof(header));
	}
	else if (in->image != VDB_IMAGE_RAW)
	{
		uint32		header = (len + VDB_IMAGE_HEADER_BYTES) << 2;

		vdb_bytes_put(writer, &header, sizeof(header));
	}
	vdb_bytes_put(writer, in->ptrs[pos], len);
}

/* Write the items at 'positions', or all positions of the input if that is NULL. */
void
vdb_items_write(VdbByteWriter *writer, const VdbVectorInput *in,
				const uint16 *positions, uint32 count)
{
	VdbItemsLayout layout;
	VdbItemsHeader header;
	uint64		written = 0;

	if (in->kind == VDB_VEC_FIXED)
	{
		vdb_items_write_fixed(writer, in, positions, count);
		return;
	}

	vdb_items_lay_out(in, positions, count, &layout);
	header.slope = layout.slope;
	header.data_bytes = layout.data_bytes;
	vdb_bytes_put(writer, &header, sizeof(header));
	vdb_packed_write(writer, layout.residues, count, layout.least, layout.bits);
	Assert((writer->at - writer->start) % 8 == 0);
	for (uint32 item = 0; item < count; item++)
		vdb_items_write_image(writer, in, vdb_items_pos(positions, item),
							  &written);
	Assert(written == layout.data_bytes);
}

/* Take 'count' items off the bytes. */
VdbCodecStatus
vdb_items_open(VdbVectorReader *reader, uint32 count, VdbByteReader *bytes)
{
	VdbItemsView *items = &reader->items;
	VdbItemsHeader header;
	VdbCodecStatus status;

	Assert(count <= VDB_VEC_MAX_COUNT);
	items->count = (uint16) count;
	if (reader->info.kind == VDB_VEC_FIXED)
		items->data_bytes = (uint64) count * reader->info.width;
	else
	{
		if (!vdb_bytes_copy(bytes, &header, sizeof(header)))
			return VDB_CODEC_TRUNCATED;
		status = vdb_packed_open(&items->starts, bytes);
		if (status != VDB_CODEC_OK)
			return status;
		if (items->starts.count != count)
			return VDB_CODEC_CORRUPT;
		items->slope = header.slope;
		items->data_bytes = header.data_bytes;
	}
	if (reader->tail_bytes > 0)
	{
		/* only the head is in memory */
		items->data = NULL;
		return items->data_bytes == reader->tail_bytes ? VDB_CODEC_OK :
			VDB_CODEC_CORRUPT;
	}
	items->data = vdb_bytes_take(bytes, items->data_bytes);
	return items->data == NULL ? VDB_CODEC_TRUNCATED : VDB_CODEC_OK;
}

/*
 * Return the bytes of the varlena image at 'at', which is at offset 'start' of the data and has
 * 'left' (at least 1) bytes from there on.  Check that it is complete and of a form that we write.
 * Reads 4 bytes at most.
 */
VdbCodecStatus
vdb_image_total(const VdbVectorReader *reader, const uint8 *at, uint64 start,
				uint64 left, uint32 *total)
{
	uint32		header;

	if (*at & 0x01)
	{
		*total = *at >> 1;
		/* 0: a pointer to elsewhere, which is never stored here */
		if (*total == 0 || reader->info.image == VDB_IMAGE_FULL)
			return VDB_CODEC_CORRUPT;
	}
	else
	{
		if (left < VDB_IMAGE_HEADER_BYTES || start % 8 != 0)
			return VDB_CODEC_CORRUPT;
		memcpy(&header, at, sizeof(header));
		*total = header >> 2;
		/* bit 1: compressed */
		if ((header & 0x02) != 0 || *total < VDB_IMAGE_HEADER_BYTES)
			return VDB_CODEC_CORRUPT;
	}
	return *total > left ? VDB_CODEC_CORRUPT : VDB_CODEC_OK;
}

/* Return the varlena image that starts at 'start' of the data. */
static inline VdbCodecStatus
vdb_items_image(const VdbVectorReader *reader, uint64 start,
				const uint8 **image, uint32 *image_bytes)
{
	const VdbItemsView *items = &reader->items;

	if (start >= items->data_bytes)
		return VDB_CODEC_CORRUPT;
	*image = items->data + start;
	return vdb_image_total(reader, *image, start, items->data_bytes - start,
						   image_bytes);
}

/* Return a raw item, which lies between two starts. */
static inline VdbCodecStatus
vdb_items_raw(const VdbItemsView *items, uint64 start, uint64 end,
			  const uint8 **image, uint32 *image_bytes)
{
	if (end > items->data_bytes || start > end || end - start > UINT32_MAX)
		return VDB_CODEC_CORRUPT;
	*image = items->data + start;
	*image_bytes = (uint32) (end - start);
	return VDB_CODEC_OK;
}

/* Return the start of an item in the data. */
static inline uint64
vdb_items_start(const VdbItemsView *items, uint32 item)
{
	return (item * items->slope >> 8) +
		(uint64) vdb_packed_at(&items->starts, item);
}

/*
 * Find the range of an item of any kind in the data, checked against its size.  For a varlena image
 * *end is the end of the data, since only the image itself has its length.
 */
VdbCodecStatus
vdb_items_range(const VdbVectorReader *reader, uint32 item, uint64 *start,
				uint64 *end)
{
	const VdbItemsView *items = &reader->items;

	Assert(reader->info.kind != VDB_VEC_INT);
	if (item >= items->count)
		return VDB_CODEC_CORRUPT;
	if (reader->info.kind == VDB_VEC_FIXED)
	{
		*start = (uint64) item * reader->info.width;
		*end = *start + reader->info.width;
		return VDB_CODEC_OK;
	}
	*start = vdb_items_start(items, item);
	*end = reader->info.image != VDB_IMAGE_RAW || item + 1 == items->count ?
		items->data_bytes : vdb_items_start(items, item + 1);
	if (*end > items->data_bytes || *start > *end || *end - *start > UINT32_MAX)
		return VDB_CODEC_CORRUPT;
	return VDB_CODEC_OK;
}

/* Return item number 'item' as stored; 'item' may be any number. */
VdbCodecStatus
vdb_items_at(const VdbVectorReader *reader, uint32 item,
			 const uint8 **image, uint32 *image_bytes)
{
	const VdbItemsView *items = &reader->items;
	uint64		start;
	uint64		end;

	Assert(reader->info.kind != VDB_VEC_INT);
	if (item >= items->count)
		return VDB_CODEC_CORRUPT;
	if (reader->info.kind == VDB_VEC_FIXED)
	{
		*image = items->data + (uint64) item * reader->info.width;
		*image_bytes = reader->info.width;
		return VDB_CODEC_OK;
	}

	start = vdb_items_start(items, item);
	if (reader->info.image != VDB_IMAGE_RAW)
		return vdb_items_image(reader, start, image, image_bytes);
	end = item + 1 < items->count ? vdb_items_start(items, item + 1) :
		items->data_bytes;
	return vdb_items_raw(items, start, end, image, image_bytes);
}

/* Decode all BYTES items.  If items are positions (plain), null ones are skipped. */
VdbCodecStatus
vdb_items_decode(const VdbVectorReader *reader, const uint8 **images,
				 uint32 *image_bytes)
{
	const VdbItemsView *items = &reader->items;
	bool		skip_nulls = reader->info.encoding == VDB_ENC_PLAIN &&
		reader->null_count > 0;
	int64		starts[VDB_VEC_MAX_COUNT + 1];

	Assert(reader->info.kind == VDB_VEC_BYTES);
	vdb_packed_decode(&items->starts, starts);
	for (uint32 item = 0; item < items->count; item++)
		starts[item] = (int64) ((item * items->slope >> 8) +
								(uint64) starts[item]);
	starts[items->count] = (int64) items->data_bytes;

	for (uint32 item = 0; item < items->count; item++)
	{
		VdbCodecStatus status;

		if (skip_nulls && vdb_bit_is_set(reader->nulls, item))
			continue;
		if (reader->info.image == VDB_IMAGE_RAW)
			status = vdb_items_raw(items, (uint64) starts[item],
								   (uint64) starts[item + 1],
								   &images[item], &image_bytes[item]);
		else
			status = vdb_items_image(reader, (uint64) starts[item],
									 &images[item], &image_bytes[item]);
		if (status != VDB_CODEC_OK)
			return status;
	}
	return VDB_CODEC_OK;
}
