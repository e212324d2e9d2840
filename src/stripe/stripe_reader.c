/*-------------------------------------------------------------------------
 *
 * stripe_reader.c
 *	  Reading from an open stripe: rows, transaction ids, values.
 *
 * Positions count a stripe's rows from 0 in the order of row numbers.  Point look-ups use the cache
 * of opened vectors and decode one position.  Scans decode whole vectors into a buffer of the
 * caller's, and leave the cache as it is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "pages/pages.h"
#include "stripe/stripe_private.h"

/* Structure that the 'reader' of a VdbVectorBuffer points to. */
typedef struct VdbVectorBufferState
{
	VdbOpenVector open;
	uint32		null_count;
	uint8		nulls[VDB_VEC_NULL_BYTES];
	union
	{
		int64		ints[VDB_VECTOR_ROWS];
		const uint8 *images[VDB_VECTOR_ROWS];
	}			values;
} VdbVectorBufferState;

/* ---- rows ---- */

/* See stripe.h. */
int
vdb_stripe_nrows(const VdbStripe *stripe)
{
	return (int) stripe->index.header->nrows;
}

/* See stripe.h. */
int
vdb_stripe_nchunks(const VdbStripe *stripe)
{
	return (int) stripe->index.header->nchunks;
}

/* See stripe.h. */
int
vdb_stripe_ncolumns(const VdbStripe *stripe)
{
	return stripe->index.header->ncolumns;
}

/* See stripe.h. */
bool
vdb_stripe_lb(const VdbStripe *stripe, uint8 lb_index, uint32 *first_pos,
			  VdbRowSet present)
{
	const VdbStripeLb *lb;

	if (stripe->lb_entry[lb_index] < 0)
		return false;
	lb = &stripe->index.lbs[stripe->lb_entry[lb_index]];
	*first_pos = lb->first_pos;
	if (stripe->lb_bitmap[lb_index] >= 0)
		memcpy(present, stripe->index.bitmaps[stripe->lb_bitmap[lb_index]], sizeof(VdbRowSet));
	else
		vdb_rowset_fill(present, lb->nrows > 0);
	return true;
}

/* See stripe.h. */
int
vdb_stripe_position(const VdbStripe *stripe, VdbRowNumber row)
{
	VdbLogicalBlock lb_number = vdb_row_lb(row);
	uint8		lb_index = vdb_lb_index(lb_number);
	uint8		in_lb = vdb_row_index(row);
	const VdbStripeLb *lb;
	const uint64 *present;

	if (vdb_lb_range(lb_number) != stripe->index.header->range ||
		stripe->lb_entry[lb_index] < 0)
		return -1;
	lb = &stripe->index.lbs[stripe->lb_entry[lb_index]];
	if (lb->nrows == VDB_LB_ROWS)
		return (int) lb->first_pos + in_lb;
	if (lb->nrows == 0)
		return -1;

	present = stripe->index.bitmaps[stripe->lb_bitmap[lb_index]];
	if (!vdb_rowset_has(present, in_lb))
		return -1;
	return (int) lb->first_pos + vdb_rowset_rank(present, in_lb);
}

/* See stripe.h. */
int
vdb_stripe_chunk_of(const VdbStripe *stripe, uint32 pos)
{
	return vdb_index_chunk_of(&stripe->index, pos);
}

/* See stripe.h. */
uint32
vdb_stripe_chunk_start(const VdbStripe *stripe, int chunk)
{
	Assert(chunk >= 0 && chunk <= vdb_stripe_nchunks(stripe));
	if (chunk == vdb_stripe_nchunks(stripe))
		return stripe->index.header->nrows;
	return stripe->index.chunks[chunk].first_pos;
}

/* See stripe.h. */
uint32
vdb_stripe_vector_end(const VdbStripe *stripe, uint32 pos)
{
	const VdbStripeChunk *chunk = &stripe->index.chunks[vdb_stripe_chunk_of(stripe, pos)];
	uint32		vec = (pos - chunk->first_pos) / VDB_VECTOR_ROWS;

	return chunk->first_pos + Min(chunk->nrows, (vec + 1) * VDB_VECTOR_ROWS);
}

/* ---- transaction ids ---- */

/* Raise ERRCODE_DATA_CORRUPTED for an xmin block. */
static void
xmins_damaged(const VdbStripe *stripe, int block, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("stripe %u at page %u of file %u is damaged",
					stripe->key.stripe_id, stripe->key.first_page,
					stripe->key.rnode.relNumber),
			 errdetail_internal("Block %d of its transaction ids: %s.", block, what)));
}

/* Decode one of the three vectors of an xmin block to 'out'. */
static void
xmins_decode(const VdbStripe *stripe, int block, int which, int64 *out)
{
	const VdbStripeXmins *xmins = &stripe->index.xmins[block];
	const uint8 *bytes = stripe->index.xmin_vectors + xmins->offset;
	VdbVectorReader reader;
	VdbCodecStatus status;

	for (int v = 0; v < which; v++)
		bytes += VDB_STRIPE_ALIGN(xmins->bytes[v]);

	status = vdb_codec_open(vdb_stripe_workspace(), bytes, xmins->bytes[which],
							NULL, 0, &reader);
	if (status == VDB_CODEC_OK && reader.info.count != xmins->nruns)
		status = VDB_CODEC_CORRUPT;
	if (status == VDB_CODEC_OK)
		status = vdb_codec_decode_int(&reader, out);
	if (status != VDB_CODEC_OK)
		xmins_damaged(stripe, block, vdb_codec_status_text(status));
}

/* Return the block of xmin runs that a position lies in. */
static int
xmins_block_of(const VdbStripe *stripe, uint32 pos)
{
	int			low = 0;
	int			high = stripe->index.header->nxmins - 1;

	while (low < high)
	{
		int			middle = (low + high + 1) / 2;

		if (stripe->index.xmins[middle].first_pos <= pos)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

/* Decode a block into 'runs'. */
static void
xmins_load(const VdbStripe *stripe, VdbXminRuns *runs, int block)
{
	const VdbStripeXmins *xmins = &stripe->index.xmins[block];
	int64		lengths[VDB_VECTOR_ROWS];
	uint64		end = xmins->first_pos;
	uint64		expected;

	runs->serial = 0;			/* invalid until everything is decoded */
	runs->nruns = xmins->nruns;
	xmins_decode(stripe, block, 0, runs->xmins);
	xmins_decode(stripe, block, 1, runs->cmins);
	xmins_decode(stripe, block, 2, lengths);

	for (uint32 i = 0; i < runs->nruns; i++)
	{
		if (lengths[i] <= 0 || lengths[i] > VDB_STRIPE_ROWS)
			xmins_damaged(stripe, block, "a run has an impossible length");
		end += (uint64) lengths[i];
		runs->ends[i] = (uint32) end;
	}
	expected = block + 1 < stripe->index.header->nxmins ?
		stripe->index.xmins[block + 1].first_pos : stripe->index.header->nrows;
	if (end != expected)
		xmins_damaged(stripe, block, "its runs do not cover its rows");
	runs->block = block;
	runs->serial = stripe->serial;
}

/* Allocate the backend's decoded runs.  The name of their context shows whether they are used. */
static VdbXminRuns *
xmins_create(void)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "VDB stripe xmins",
												  ALLOCSET_SMALL_SIZES);

	return MemoryContextAllocZero(context, sizeof(VdbXminRuns));
}

/* See stripe.h. */
TransactionId
vdb_stripe_xmin(const VdbStripe *stripe, uint32 pos, CommandId *cmin)
{
	static VdbXminRuns *runs = NULL;
	int			block;
	uint32		low = 0;
	uint32		high;

	Assert(pos < stripe->index.header->nrows);

	if (runs == NULL)
		runs = xmins_create();
	block = xmins_block_of(stripe, pos);
	if (runs->serial != stripe->serial || runs->block != block)
		xmins_load(stripe, runs, block);

	/* Find the first run that ends after pos. */
	high = runs->nruns - 1;
	while (low < high)
	{
		uint32		middle = (low + high) / 2;

		if (runs->ends[middle] > pos)
			high = middle;
		else
			low = middle + 1;
	}
	*cmin = (CommandId) runs->cmins[low];
	return (TransactionId) runs->xmins[low];
}

/* ---- values ---- */

/*
 * Return the column as stored, or NULL if the stripe has no values for it.  Then the value is null
 * (the column was dropped) or what ALTER TABLE ... ADD COLUMN left as missing.
 */
static const VdbStripeColumn *
stripe_column(const VdbStripe *stripe, Relation rel, TupleDesc desc, int attno, Datum *missing,
			  bool *isnull)
{
	Form_pg_attribute att = TupleDescAttr(desc, attno - 1);
	const VdbStripeColumn *column;

	Assert(attno >= 1 && attno <= desc->natts);

	if (att->attisdropped)
	{
		*missing = (Datum) 0;
		*isnull = true;
		return NULL;
	}
	if (attno > stripe->index.header->ncolumns)
	{
		*missing = getmissingattr(desc, attno, isnull);
		return NULL;
	}

	column = &stripe->index.columns[attno - 1];
	if (unlikely(column->typlen != att->attlen || column->byval != att->attbyval))
		vdb_stripe_damaged(rel, stripe->index.address,
						   psprintf("Column \"%s\": expected type length %d, found %d.",
									NameStr(att->attname), att->attlen, column->typlen));
	return column;
}

/* Raise ERRCODE_DATA_CORRUPTED for a vector, after the codec failed. */
static void
value_damaged(const VdbVectorAddress *at, VdbCodecStatus status)
{
	vdb_vector_damaged(at, psprintf("%s.", vdb_codec_status_text(status)));
}

/* Check that a C string ends inside its image. */
static inline VdbCodecStatus
check_cstring(const uint8 *image, uint32 bytes)
{
	return bytes > 0 && image[bytes - 1] == 0 ? VDB_CODEC_OK : VDB_CODEC_CORRUPT;
}

/* A value that was found, before it becomes a Datum. */
typedef struct FoundValue
{
	bool		isnull;
	int64		number;
	const uint8 *image;
	uint32		bytes;
} FoundValue;

/* Find the value of a position in the vector asked for. */
static VdbCodecStatus
find_value(VdbVectorAsk *ask, const VdbStripeColumn *column, uint32 in_vector, FoundValue *found)
{
	const VdbVectorPart *part = vdb_cache_vector(ask);
	VdbCodecStatus status;

	found->isnull = vdb_codec_is_null(&part->reader, in_vector);
	if (found->isnull)
		return VDB_CODEC_OK;
	switch (column->kind)
	{
		case VDB_VEC_INT:
			return vdb_codec_part_int_at(part, in_vector, vdb_cache_frame, ask, &found->number);
		case VDB_VEC_FIXED:
			found->bytes = column->width;
			return vdb_codec_part_fixed_at(vdb_stripe_workspace(), part, in_vector,
										   vdb_cache_frame, ask, &found->image);
		default:
			status = vdb_codec_part_bytes_at(vdb_stripe_workspace(), part, in_vector,
											 vdb_cache_frame, ask, &found->image, &found->bytes);
			if (status == VDB_CODEC_OK && column->typlen == -2)
				status = check_cstring(found->image, found->bytes);
			return status;
	}
}

/* Pinned values up to this length are copied; a copy is kept until the next value is. */
#define KEEP_BYTES	8192

/* Copy a pinned by-reference value to memory of this backend. */
static const uint8 *
keep_value(const uint8 *image, uint32 bytes)
{
	static union
	{
		uint8		bytes[KEEP_BYTES];
		int64		align;
	}			kept;

	Assert(bytes <= KEEP_BYTES);
	return memcpy(kept.bytes, image, bytes);
}

/* See stripe.h. */
void
vdb_stripe_value(VdbStripe *stripe, Relation rel, TupleDesc desc, int attno, uint32 pos,
				 Datum *value, bool *isnull)
{
	const VdbStripeColumn *column = stripe_column(stripe, rel, desc, attno, value, isnull);
	VdbVectorAsk ask;
	FoundValue	found;
	VdbCodecStatus status;
	uint32		in_vector;

	if (column == NULL)
		return;

	ask.stripe = stripe;
	ask.own = false;
	ask.at.index = &stripe->index;
	ask.at.rel = rel;
	ask.at.attno = attno;
	ask.at.chunk = vdb_index_chunk_of(&stripe->index, pos);
	in_vector = pos - stripe->index.chunks[ask.at.chunk].first_pos;
	ask.at.vec = (int) (in_vector / VDB_VECTOR_ROWS);
	in_vector %= VDB_VECTOR_ROWS;

	status = find_value(&ask, column, in_vector, &found);
	if (vdb_ask_pinned(&ask))
	{
		/*
		 * what can't be pinned, or copied because of its length, is read into the backend's own
		 * cache
		 */
		bool		again = status != VDB_CODEC_OK || ask.frame_missing;

		if (!again && !found.isnull && column->kind != VDB_VEC_INT)
		{
			again = found.bytes > KEEP_BYTES;
			if (!again)
				found.image = keep_value(found.image, found.bytes);
		}
		vdb_cache_done(&ask);
		ask.own = true;
		if (again)
			status = find_value(&ask, column, in_vector, &found);
	}
	if (unlikely(status != VDB_CODEC_OK))
		value_damaged(&ask.at, status);

	*isnull = found.isnull;
	*value = (Datum) 0;
	if (found.isnull)
		return;
	*value = column->kind == VDB_VEC_INT ? vdb_int_datum(found.number, column->width) :
		PointerGetDatum(found.image);
}

/* ---- decoding for scans ---- */

/* Return the state of a buffer, allocating it at first use. */
static VdbVectorBufferState *
buffer_state(VdbVectorBuffer *vbuffer)
{
	if (vbuffer->reader == NULL)
	{
		vbuffer->context = CurrentMemoryContext;
		vbuffer->reader = MemoryContextAllocZero(vbuffer->context, sizeof(VdbVectorBufferState));
	}
	return (VdbVectorBufferState *) vbuffer->reader;
}

/* Check that all C strings of a decoded vector end inside their images. */
static VdbCodecStatus
check_cstrings(const VdbVectorBufferState *state, const uint32 *lens, uint32 count)
{
	for (uint32 i = 0; i < count; i++)
	{
		if (!vdb_null_bit(state->nulls, i) &&
			check_cstring(state->values.images[i], lens[i]) != VDB_CODEC_OK)
			return VDB_CODEC_CORRUPT;
	}
	return VDB_CODEC_OK;
}

/* Decode all of a vector into the buffer's arrays. */
static VdbCodecStatus
buffer_decode(VdbVectorBufferState *state, const VdbStripeColumn *column,
			  const VdbVectorReader *reader)
{
	uint32		lens[VDB_VECTOR_ROWS];
	VdbCodecStatus status;

	state->null_count = reader->null_count;
	if (reader->null_count > 0)
		memcpy(state->nulls, reader->nulls, sizeof(state->nulls));
	else
		memset(state->nulls, 0, sizeof(state->nulls));
	if (state->null_count == reader->info.count)
		return VDB_CODEC_OK;

	switch (column->kind)
	{
		case VDB_VEC_INT:
			return vdb_codec_decode_int(reader, state->values.ints);
		case VDB_VEC_FIXED:
			return vdb_codec_decode_fixed(reader, state->values.images);
		default:
			status = vdb_codec_decode_bytes(reader, state->values.images, lens);
			if (status == VDB_CODEC_OK && column->typlen == -2)
				status = check_cstrings(state, lens, reader->info.count);
			return status;
	}
}

/* Fill the buffer with the vector that pos lies in. */
static void
buffer_fill(VdbVectorBuffer *vbuffer, VdbStripe *stripe, Relation rel, int attno, uint32 pos,
			const VdbStripeColumn *column)
{
	VdbVectorBufferState *state = buffer_state(vbuffer);
	int			chunk = vdb_index_chunk_of(&stripe->index, pos);
	uint32		chunk_start = stripe->index.chunks[chunk].first_pos;
	int			vec = (int) ((pos - chunk_start) / VDB_VECTOR_ROWS);
	VdbVectorAddress at = {&stripe->index, rel, attno, chunk, vec};
	const VdbVectorReader *reader = NULL;
	VdbCodecStatus status;

	vbuffer->serial = 0;		/* empty until the vector is decoded */

	/* Integers are copied out while decoding, so a cached vector will do. */
	if (column->kind == VDB_VEC_INT)
		reader = vdb_cache_peek(stripe, &at);
	if (reader == NULL)
	{
		vdb_vector_load(&at, vbuffer->context, &state->open);
		reader = &state->open.reader;
		vbuffer->buffer = state->open.bytes;
		vbuffer->size = state->open.size;
	}

	status = buffer_decode(state, column, reader);
	if (status != VDB_CODEC_OK)
		value_damaged(&at, status);

	vbuffer->attno = attno;
	vbuffer->stripe_id = stripe->key.stripe_id;
	vbuffer->first_pos = chunk_start + (uint32) vec * VDB_VECTOR_ROWS;
	vbuffer->count = reader->info.count;
	vbuffer->serial = stripe->serial;
}

/* Convert integers to Datums.  Each width has its own loop, so that the loops are tight. */
static void
convert_ints(const int64 *from, uint16 width, int n, Datum *values)
{
	switch (width)
	{
		case 1:
			for (int i = 0; i < n; i++)
				values[i] = CharGetDatum((char) from[i]);
			break;
		case 2:
			for (int i = 0; i < n; i++)
				values[i] = Int16GetDatum((int16) from[i]);
			break;
		case 4:
			for (int i = 0; i < n; i++)
				values[i] = Int32GetDatum((int32) from[i]);
			break;
		default:
			Assert(width == 8);
			for (int i = 0; i < n; i++)
				values[i] = Int64GetDatum(from[i]);
			break;
	}
}

/* Copy null flags, and clear the Datums of nulls. */
static void
convert_nulls(const VdbVectorBufferState *state, uint32 first, int n, Datum *values, bool *isnull)
{
	if (state->null_count == 0)
	{
		memset(isnull, 0, (size_t) n * sizeof(bool));
		return;
	}
	for (int i = 0; i < n; i++)
	{
		isnull[i] = vdb_null_bit(state->nulls, first + (uint32) i);
		if (isnull[i])
			values[i] = (Datum) 0;
	}
}

/* See stripe.h. */
void
vdb_stripe_decode(VdbStripe *stripe, Relation rel, int attno, uint32 pos, int n,
				  Datum *values, bool *isnull, VdbVectorBuffer *vbuffer)
{
	Datum		missing;
	bool		missing_null;
	const VdbStripeColumn *column = stripe_column(stripe, rel, RelationGetDescr(rel), attno,
												  &missing, &missing_null);
	const VdbVectorBufferState *state;
	uint32		first;

	Assert(n > 0 && pos + (uint32) n <= vdb_stripe_vector_end(stripe, pos));

	if (column == NULL)
	{
		for (int i = 0; i < n; i++)
		{
			values[i] = missing;
			isnull[i] = missing_null;
		}
		return;
	}

	if (vbuffer->serial != stripe->serial || vbuffer->attno != attno ||
		pos < vbuffer->first_pos || pos - vbuffer->first_pos >= vbuffer->count)
		buffer_fill(vbuffer, stripe, rel, attno, pos, column);

	state = (const VdbVectorBufferState *) vbuffer->reader;
	first = pos - vbuffer->first_pos;
	if (state->null_count < vbuffer->count)
	{
		if (column->kind == VDB_VEC_INT)
			convert_ints(state->values.ints + first, column->width, n, values);
		else
		{
			for (int i = 0; i < n; i++)
				values[i] = PointerGetDatum(state->values.images[first + (uint32) i]);
		}
	}
	convert_nulls(state, first, n, values, isnull);
}

/* See stripe.h. */
void
vdb_vector_buffer_free(VdbVectorBuffer *vbuffer)
{
	VdbVectorBufferState *state = (VdbVectorBufferState *) vbuffer->reader;

	if (state != NULL)
	{
		if (state->open.bytes != NULL)
			pfree(state->open.bytes);
		pfree(state);
	}
	memset(vbuffer, 0, sizeof(*vbuffer));
}

/* ---- other functions ---- */

/* See stripe.h. */
void
vdb_stripe_prefetch(VdbStripe *stripe, Relation rel, int attno, int chunk)
{
	const VdbStripePiece *piece;

	if (attno > stripe->index.header->ncolumns)
		return;
	piece = vdb_index_address(&stripe->index, chunk, attno - 1);
	vdb_pages_prefetch(rel, stripe->index.address.first_page, piece->offset, piece->bytes);
}

/* Append a label to a comma-separated list, unless the list contains it or has no room. */
static void
add_label(char *list, size_t size, const char *label)
{
	size_t		used = strlen(list);
	size_t		len = strlen(label);

	for (const char *at = list; (at = strstr(at, label)) != NULL; at += len)
	{
		if ((at == list || at[-1] == ',') && (at[len] == '\0' || at[len] == ','))
			return;
	}
	if (used + len + 2 <= size)
		snprintf(list + used, size - used, "%s%s", used > 0 ? "," : "", label);
}

/* See stripe.h. */
void
vdb_stripe_column_info(VdbStripe *stripe, Relation rel, int attno, int chunk, VdbColumnInfo *info)
{
	const VdbStripeIndex *index = &stripe->index;
	VdbOpenVector open = {0};
	int			nvectors;

	memset(info, 0, sizeof(*info));
	Assert(chunk >= 0 && chunk < (int) index->header->nchunks);
	info->rows = index->chunks[chunk].nrows;
	if (attno > index->header->ncolumns)
		return;

	info->bytes = vdb_index_address(index, chunk, attno - 1)->bytes;
	nvectors = (int) vdb_chunk_nvectors(&index->chunks[chunk]);
	for (int vec = 0; vec < nvectors; vec++)
	{
		VdbVectorAddress at = {index, rel, attno, chunk, vec};
		const VdbVectorReader *reader = &open.reader;

		CHECK_FOR_INTERRUPTS();
		vdb_vector_load(&at, CurrentMemoryContext, &open);
		info->nulls += reader->null_count;
		add_label(info->encodings, sizeof(info->encodings),
				  vdb_codec_label(reader->info.encoding,
								  (reader->info.flags & VDB_VECF_ZSTD) != 0));
	}
	if (open.bytes != NULL)
		pfree(open.bytes);
}
