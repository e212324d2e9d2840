/*-------------------------------------------------------------------------
 *
 * stripe_point.c
 *	  Vectors for single values: their heads, and frames one by one.
 *
 * What was read and opened goes to the shared cache (stripe_shared.c), and
 * comes from there when another backend, or this one before, has opened it.
 * A vector opened there is its VdbPointVector and its bytes; the pointers
 * are set to the copy.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/rel.h"

#include "pages/pages.h"
#include "stripe/stripe_private.h"

/* ---- from flash ---- */

/* Read bytes of a stripe, by their offset in it. */
static void
point_read_bytes(const VdbVectorAddress *at, uint64 offset, uint32 bytes, char *to)
{
	vdb_pages_read(at->rel, at->index->address.first_page, offset, bytes, to);
}

/*
 * A piece of a vector is damaged: look at the whole, so that the report is the
 * same, whichever process meets the damage.
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
 * Have the first bytes of a vector in scratch, as many as a part needs: all of
 * one that is not in frames.  At first what is left of its first page.
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
			have = 0;			/* what was there is lost */
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

/* Open the part whose start is in scratch, with room for its frames. */
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

/* Read, check and open. */
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
		/* measured by its own header: no more than all of it, perhaps less */
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

/* Read, check and decompress a frame to 'raw', of place->raw_bytes. */
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

/* ---- shared ---- */

/*
 * What a piece of a vector is called in the shared cache: frame 0 is the head.
 * The checksums are there because a file's number may come again.
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

/* The vector from the shared cache.  False: it isn't there. */
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

/* Only files that other backends can read are shared. */
static bool
is_shared(Relation rel)
{
	return rel->rd_backend == INVALID_PROC_NUMBER;
}

/* See stripe_private.h. */
bool
vdb_point_pin(const VdbVectorAddress *at, VdbVectorPart *part, VdbSharedKey *key)
{
	uint64		offset;
	const VdbPointVector *item;

	if (!is_shared(at->rel))
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

void
vdb_point_load(const VdbVectorAddress *at, MemoryContext context, VdbPointVector *out)
{
	uint64		offset;
	const VdbStripeVector *vector = vdb_vector_find(at, &offset);
	VdbSharedKey key;

	Assert(out->bytes == NULL && out->frames == NULL);
	point_key(at, vector, 0, &key);
	if (is_shared(at->rel) && point_get(&key, context, out))
		return;
	point_read(at, context, out);
	if (is_shared(at->rel))
		vdb_shared_put(&key, out, sizeof(*out), out->bytes, out->size);
}

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
	if (is_shared(at->rel))
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
		if (is_shared(at->rel))
			vdb_shared_put(&key, raw, piece.raw_bytes, NULL, 0);
		vdb_scratch_trim();
	}
	out->frames[frame] = raw;
	out->frames_size += piece.raw_bytes;
}

/* All memory of it; it may be empty, or left over from an error. */
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
