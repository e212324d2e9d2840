/*-------------------------------------------------------------------------
 *
 * stripe_point.c
 *	  Vectors for single values: reading their heads, and their frames one by one.
 *
 * What was read and opened is put into the shared cache (stripe_shared.c).  It is taken from there
 * when another backend, or this one earlier, has opened it.  An opened vector in the shared cache
 * is its VdbPointVector and its bytes; a copy has its pointers adjusted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/rel.h"

#include "pages/pages.h"
#include "stripe/stripe_private.h"

/* ---- from flash ---- */

/* Read bytes of a stripe, given their offset in it. */
static void
point_read_bytes(const VdbVectorAddress *at, uint64 offset, uint32 bytes, char *to)
{
	vdb_pages_read(at->rel, at->index->address.first_page, offset, bytes, to);
}

/*
 * Report damage to a piece of a vector.  Reads the whole vector, so that the report is the same for
 * every way in which the damage is found.
 */
static void
point_damaged(const VdbVectorAddress *at, VdbCodecStatus status)
{
	VdbOpenVector whole = {0};

	if (status != VDB_CODEC_NO_MEMORY)
		vdb_vector_load(at, CurrentMemoryContext, &whole);
	vdb_vector_check_opened(at, status, &whole.reader);
}

/*
 * Read the first bytes of a vector into scratch, as many as a part needs; a vector that is not in
 * frames is read as a whole.  The first read ends with the first page.
 */
static VdbCodecStatus
point_read_start(const VdbVectorAddress *at, uint64 offset, uint32 bytes, VdbPartSize *size)
{
	uint32		have = 0;
	uint32		want = Min(bytes, (uint32) (VDB_PAGE_PAYLOAD - offset % VDB_PAGE_PAYLOAD));
	VdbCodecStatus status;

	vdb_open_vector_reserve(&vdb_stripe_scratch, Min(bytes, VDB_SCRATCH_KEEP_BYTES),
							TopMemoryContext);
	do
	{
		if (want > bytes)
			return VDB_CODEC_TRUNCATED;
		if (want > vdb_stripe_scratch.size)
		{
			vdb_open_vector_reserve(&vdb_stripe_scratch, bytes, TopMemoryContext);
			have = 0;			/* its contents were lost */
		}
		point_read_bytes(at, offset + have, want - have, vdb_stripe_scratch.bytes + have);
		have = want;
		status = vdb_codec_part_measure((const uint8 *) vdb_stripe_scratch.bytes, have, size);
		if (status != VDB_CODEC_OK)
			return status;
		want = (uint32) Min(size->need_bytes, PG_UINT32_MAX);
	} while (want > have);
	return VDB_CODEC_OK;
}

/* Open the part whose first bytes are in scratch, with room for its frames. */
static VdbCodecStatus
point_open_part(const VdbPartSize *size, MemoryContext context, VdbPointVector *out)
{
	Size		keep = VDB_STRIPE_ALIGN(size->keep_bytes);

	out->size = keep + size->frames * sizeof(uint8 *);
	out->bytes = MemoryContextAllocHuge(context, out->size);
	out->frames = (uint8 **) (out->bytes + keep);
	memset(out->frames, 0, size->frames * sizeof(uint8 *));
	return vdb_codec_part_open(vdb_stripe_workspace(), (const uint8 *) vdb_stripe_scratch.bytes,
							   size->need_bytes, (uint8 *) out->bytes, keep, &out->part);
}

/* Open the vector that is in scratch as a whole. */
static void
point_open_whole(const VdbStripeVector *vector, MemoryContext context, VdbPointVector *out,
				 VdbCodecStatus *status)
{
	VdbOpenVector open = {0};

	*status = vdb_vector_open(vector->bytes, context, &open);
	out->bytes = open.bytes;
	out->size = open.size;
	out->part.reader = open.reader;
	memset(&out->part.frames, 0, sizeof(out->part.frames));
}

/* Read, check and open a vector, as far as a single value needs it. */
static void
point_read(const VdbVectorAddress *at, MemoryContext context, VdbPointVector *out)
{
	uint64		offset;
	const VdbStripeVector *vector = vdb_vector_find(at, &offset);
	VdbPartSize size;
	VdbCodecStatus status;

	out->frames_size = 0;
	status = point_read_start(at, offset, vector->bytes, &size);
	if (status != VDB_CODEC_OK)
		point_damaged(at, status);
	if (size.frames == 0)
	{
		/* its own header gives the size: at most the whole vector, perhaps less */
		if (size.need_bytes < vector->bytes)
			point_read_bytes(at, offset, vector->bytes, vdb_stripe_scratch.bytes);
		vdb_vector_check_crc(at, vector);
		point_open_whole(vector, context, out, &status);
		vdb_vector_check_opened(at, status, &out->part.reader);
	}
	else
	{
		status = point_open_part(&size, context, out);
		if (status != VDB_CODEC_OK)
			point_damaged(at, status);
		vdb_vector_check_opened(at, status, &out->part.reader);
	}
	vdb_scratch_trim();
}

/* Read, check and decompress a frame to 'raw', which has room for piece->raw_bytes. */
static VdbCodecStatus
point_read_frame(const VdbVectorAddress *at, uint64 offset, uint32 vector_bytes, uint32 frame,
				 const VdbFrameAddress *piece, const VdbPointVector *point, uint8 *raw)
{
	if (piece->offset + piece->stored_bytes > vector_bytes)
		return VDB_CODEC_TRUNCATED;
	vdb_open_vector_reserve(&vdb_stripe_scratch, piece->stored_bytes, TopMemoryContext);
	point_read_bytes(at, offset + piece->offset, piece->stored_bytes, vdb_stripe_scratch.bytes);
	return vdb_codec_part_unpack(vdb_stripe_workspace(), &point->part, frame,
								 (const uint8 *) vdb_stripe_scratch.bytes, raw);
}

/* ---- the shared cache ---- */

/*
 * Make the key of a piece of a vector in the shared cache; frame 0 is the head.  The key contains
 * the checksums, because a file's number may be used again.
 */
static void
point_key(const VdbVectorAddress *at, const VdbStripeVector *vector, uint32 frame,
		  VdbSharedKey *key)
{
	const VdbStripeIndex *index = at->index;

	key->rnode = at->rel->rd_locator;
	key->first_page = index->address.first_page;
	key->stripe_id = index->header->stripe_id;
	key->index_crc = index->header->index_crc;
	key->vector = (uint32) (vector - index->vectors);
	key->vector_crc = vector->crc;
	key->frame = frame;
}

/* Copy the vector from the shared cache.  Returns false if it isn't there. */
static bool
point_get(const VdbSharedKey *key, MemoryContext context, VdbPointVector *out)
{
	const char *item;
	VdbPointVector shared;
	char	   *bytes;

	item = vdb_shared_begin(key);
	if (item == NULL)
		return false;
	memcpy(&shared, item, sizeof(shared));
	bytes = MemoryContextAllocExtended(context, shared.size, MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
	if (bytes != NULL)
		memcpy(bytes, item + sizeof(shared), shared.size);
	vdb_shared_end(key);
	if (bytes == NULL)
		return false;

	*out = shared;
	vdb_codec_part_moved(&out->part, (ptrdiff_t) ((uintptr_t) bytes - (uintptr_t) shared.bytes));
	if (shared.frames != NULL)
		out->frames = (uint8 **) (bytes + ((uintptr_t) shared.frames - (uintptr_t) shared.bytes));
	out->bytes = bytes;
	return true;
}

/* See stripe_private.h. */
bool
vdb_point_pin(const VdbVectorAddress *at, VdbVectorPart *part, VdbSharedKey *key)
{
	uint64		offset;
	const VdbPointVector *item;

	if (!vdb_may_share(at->rel))
		return false;
	point_key(at, vdb_vector_find(at, &offset), 0, key);
	item = (const VdbPointVector *) vdb_shared_begin(key);
	if (item == NULL)
		return false;
	*part = item->part;
	vdb_codec_part_moved(part, (ptrdiff_t) ((uintptr_t) (item + 1) - (uintptr_t) item->bytes));
	return true;
}

/* See stripe_private.h. */
const uint8 *
vdb_point_pin_frame(const VdbVectorAddress *at, uint32 frame, VdbSharedKey *key)
{
	uint64		offset;

	point_key(at, vdb_vector_find(at, &offset), frame, key);
	return (const uint8 *) vdb_shared_begin(key);
}

/* See stripe_private.h. */
void
vdb_point_load(const VdbVectorAddress *at, MemoryContext context, VdbPointVector *out)
{
	uint64		offset;
	const VdbStripeVector *vector = vdb_vector_find(at, &offset);
	VdbSharedKey key;

	Assert(out->bytes == NULL && out->frames == NULL);
	point_key(at, vector, 0, &key);
	if (vdb_may_share(at->rel) && point_get(&key, context, out))
		return;
	point_read(at, context, out);
	if (vdb_may_share(at->rel))
		vdb_shared_put(&key, out, sizeof(*out), out->bytes, out->size);
}

/* See stripe_private.h. */
void
vdb_point_load_frame(const VdbVectorAddress *at, uint32 frame, MemoryContext context,
					 VdbPointVector *out)
{
	uint64		offset;
	const VdbStripeVector *vector = vdb_vector_find(at, &offset);
	VdbFrameAddress piece;
	VdbCodecStatus status = vdb_codec_part_frame(&out->part, frame, &piece);
	VdbSharedKey key;
	const char *item = NULL;
	uint8	   *raw;

	Assert(out->frames != NULL && out->frames[frame] == NULL);
	if (status != VDB_CODEC_OK)
		point_damaged(at, status);
	raw = MemoryContextAllocHuge(context, piece.raw_bytes);
	point_key(at, vector, frame, &key);
	if (vdb_may_share(at->rel))
		item = vdb_shared_begin(&key);
	if (item != NULL)
	{
		memcpy(raw, item, piece.raw_bytes);
		vdb_shared_end(&key);
	}
	else
	{
		status = point_read_frame(at, offset, vector->bytes, frame, &piece, out, raw);
		if (status != VDB_CODEC_OK)
		{
			pfree(raw);
			point_damaged(at, status);
		}
		if (vdb_may_share(at->rel))
			vdb_shared_put(&key, raw, piece.raw_bytes, NULL, 0);
		vdb_scratch_trim();
	}
	out->frames[frame] = raw;
	out->frames_size += piece.raw_bytes;
}

/* See stripe_private.h. */
void
vdb_point_free(VdbPointVector *point)
{
	if (point->frames != NULL && point->frames_size > 0)
	{
		for (uint32 frame = 0; frame < point->part.frames.count; frame++)
		{
			if (point->frames[frame] != NULL)
				pfree(point->frames[frame]);
		}
	}
	if (point->bytes != NULL)
		pfree(point->bytes);
	memset(point, 0, offsetof(VdbPointVector, part));
}
