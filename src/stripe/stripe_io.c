/*-------------------------------------------------------------------------
 *
 * stripe_io.c
 *	  From pages to checked bytes: a stripe's index, its zone maps, its vectors.
 *
 * All bytes of stripes that come from flash are checked here.  The index is checked once, when it
 * is read: first its checksum, then every number in it against the others.  So all users of a
 * VdbStripeIndex may trust it.  A vector is checked when it is read, so a damaged one costs only
 * its own rows.
 *
 * Locks: none but those of pages/ on single buffers.  Stripes don't change.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/vdb_crc.h"
#include "pages/pages.h"
#include "stripe/stripe_private.h"

VdbOpenVector vdb_stripe_scratch;	/* stored bytes to be opened; no reader */

/* Return the CRC-32C of an index, computed as if its own field were zero. */
uint32
vdb_stripe_index_crc(const char *bytes, size_t len)
{
	static const uint32 zero = 0;
	const size_t field = offsetof(VdbStripeHeader, index_crc);
	pg_crc32c	crc;

	Assert(len >= sizeof(VdbStripeHeader));
	INIT_CRC32C(crc);
	COMP_CRC32C(crc, bytes, field);
	COMP_CRC32C(crc, &zero, sizeof(zero));
	COMP_CRC32C(crc, bytes + field + sizeof(zero), len - field - sizeof(zero));
	FIN_CRC32C(crc);
	return crc;
}

/* See stripe_private.h. */
void
vdb_stripe_layout(const VdbStripeHeader *header, VdbStripeLayout *layout)
{
	uint64		at = sizeof(VdbStripeHeader);
	uint64		pieces = (uint64) header->nchunks * header->ncolumns;

	layout->lbs = at;
	at += (uint64) header->nlbs * sizeof(VdbStripeLb);
	layout->bitmaps = at;
	at += (uint64) header->nbitmaps * sizeof(VdbRowSet);
	layout->xmins = at;
	at += (uint64) header->nxmins * sizeof(VdbStripeXmins);
	layout->xmin_vectors = at;
	at += VDB_STRIPE_ALIGN(header->xmins_bytes);
	layout->chunks = at;
	at += (uint64) header->nchunks * sizeof(VdbStripeChunk);
	layout->columns = at;
	at += (uint64) header->ncolumns * sizeof(VdbStripeColumn);
	layout->pieces = at;
	at += pieces * sizeof(VdbStripePiece);
	layout->vectors = at;
	at += (uint64) header->nvectors * sizeof(VdbStripeVector);
	layout->end = at;
}

/* ---- errors ---- */

/* See stripe_private.h. */
void
vdb_stripe_damaged(Relation rel, VdbStripeAddress address, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("stripe %u of table \"%s\" at page %u is damaged",
					address.stripe_id, RelationGetRelationName(rel), address.first_page),
			 errdetail_internal("%s", detail)));
}

/* See stripe_private.h. */
void
vdb_vector_damaged(const VdbVectorAddress *at, const char *what)
{
	const VdbStripeAddress *stripe = &at->index->address;
	const VdbStripePiece *piece = vdb_index_address(at->index, at->chunk, at->attno - 1);
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(at->rel), at->attno - 1);
	BlockNumber block = stripe->first_page + (BlockNumber) (piece->offset / VDB_PAGE_PAYLOAD);

	vdb_stripe_damaged(at->rel, *stripe,
					   psprintf("Vector %d of chunk %d, column \"%s\", in the data that begins at page %u: %s",
								at->vec, at->chunk, NameStr(att->attname), block, what));
}

/* ---- checks of an index; each returns NULL or a description of the damage ---- */

/* Check the counts and sizes in the header. */
static const char *
check_counts(const VdbStripeHeader *header)
{
	VdbStripeLayout layout;

	if (header->nrows > VDB_STRIPE_ROWS || header->nlbs > VDB_RANGE_LBS ||
		header->nbitmaps > header->nlbs || header->nchunks > VDB_STRIPE_MAX_CHUNKS ||
		header->ncolumns > MaxAttrNumber || header->xmins_bytes > VDB_STRIPE_MAX_INDEX)
		return "The counts in its header are out of bounds.";

	vdb_stripe_layout(header, &layout);
	if (layout.end != header->index_bytes || layout.end > VDB_STRIPE_MAX_INDEX)
		return psprintf("Expected an index of " UINT64_FORMAT " bytes, found %u.",
						layout.end, header->index_bytes);
	if (header->zones_bytes != (uint64) header->nchunks * header->ncolumns * sizeof(VdbZone) ||
		header->total_bytes < (uint64) header->index_bytes + header->zones_bytes)
		return "The sizes in its header contradict each other.";
	return NULL;
}

/* Check the table of LBs and their bitmaps. */
static const char *
check_lbs(const VdbStripeIndex *index)
{
	uint32		pos = 0;
	uint32		bitmap = 0;

	for (int i = 0; i < index->header->nlbs; i++)
	{
		const VdbStripeLb *lb = &index->lbs[i];

		if (i > 0 && lb->lb_index <= index->lbs[i - 1].lb_index)
			return psprintf("Its logical blocks are out of order at entry %d.", i);
		if (lb->nrows > VDB_LB_ROWS || lb->first_pos != pos ||
			((lb->flags & VDB_STRIPE_LB_DENSE) != 0) != (lb->nrows == VDB_LB_ROWS))
			return psprintf("Logical block %u: expected position %u, found %u with %u rows.",
							lb->lb_index, pos, lb->first_pos, lb->nrows);
		if (lb->nrows > 0 && lb->nrows < VDB_LB_ROWS)
		{
			int			bits;

			if (bitmap >= index->header->nbitmaps)
				return "Presence bitmaps are missing.";
			bits = vdb_rowset_count(index->bitmaps[bitmap]);
			if (bits != lb->nrows)
				return psprintf("Logical block %u: expected %u rows, found %d in its bitmap.",
								lb->lb_index, lb->nrows, bits);
			bitmap++;
		}
		pos += lb->nrows;
	}
	if (pos != index->header->nrows || bitmap != index->header->nbitmaps)
		return psprintf("Expected %u rows, found %u in its logical blocks.",
						index->header->nrows, pos);
	return NULL;
}

/* Check the xmin blocks. */
static const char *
check_xmins(const VdbStripeIndex *index)
{
	uint64		offset = 0;

	for (int i = 0; i < index->header->nxmins; i++)
	{
		const VdbStripeXmins *xmins = &index->xmins[i];

		if (xmins->offset != offset ||
			xmins->nruns == 0 || xmins->nruns > VDB_VECTOR_ROWS ||
			xmins->first_pos >= index->header->nrows ||
			(i == 0 ? xmins->first_pos != 0 : xmins->first_pos <= index->xmins[i - 1].first_pos))
			return psprintf("Block %d of its transaction ids is out of order.", i);
		for (int v = 0; v < 3; v++)
			offset += VDB_STRIPE_ALIGN(xmins->bytes[v]);
	}
	if (offset != index->header->xmins_bytes ||
		(index->header->nxmins == 0) != (index->header->nrows == 0))
		return psprintf("Expected " UINT64_FORMAT " bytes of transaction ids, found %u.",
						offset, index->header->xmins_bytes);
	return NULL;
}

/* Check the chunks. */
static const char *
check_chunks(const VdbStripeIndex *index)
{
	uint32		pos = 0;
	uint64		vectors = 0;

	for (uint32 i = 0; i < index->header->nchunks; i++)
	{
		const VdbStripeChunk *chunk = &index->chunks[i];

		if (chunk->first_pos != pos || chunk->nrows == 0 || chunk->nrows > VDB_CHUNK_ROWS)
			return psprintf("Chunk %u: expected position %u, found %u with %u rows.",
							i, pos, chunk->first_pos, chunk->nrows);
		pos += chunk->nrows;
		vectors += (uint64) vdb_chunk_nvectors(chunk) * index->header->ncolumns;
	}
	if (pos != index->header->nrows || vectors != index->header->nvectors)
		return psprintf("Expected %u rows and " UINT64_FORMAT " vectors, found %u and %u.",
						pos, vectors, index->header->nrows, index->header->nvectors);
	return NULL;
}

/* Check the columns. */
static const char *
check_columns(const VdbStripeIndex *index)
{
	for (int i = 0; i < index->header->ncolumns; i++)
	{
		const VdbStripeColumn *column = &index->columns[i];
		bool		good;

		switch (column->kind)
		{
			case VDB_VEC_INT:
				good = (column->width == 1 || column->width == 2 ||
						column->width == 4 || column->width == 8) &&
					((column->flags & VDB_COLUMN_DROPPED) ||
					 (column->byval == 1 && column->typlen == (int16) column->width));
				break;
			case VDB_VEC_FIXED:
				good = column->byval == 0 && column->typlen > 0 &&
					column->width >= column->typlen;
				break;
			case VDB_VEC_BYTES:
				good = column->byval == 0 && column->typlen < 0 && column->width == 0;
				break;
			default:
				good = false;
		}
		if (!good)
			return psprintf("Column %d has an impossible layout: kind %u, width %u, type length %d.",
							i + 1, column->kind, column->width, column->typlen);
	}
	return NULL;
}

/* Check the places and sizes of all vectors. */
static const char *
check_addresses(const VdbStripeIndex *index)
{
	const VdbStripeHeader *header = index->header;
	uint64		data = (uint64) header->index_bytes + header->zones_bytes;

	for (uint32 chunk = 0; chunk < header->nchunks; chunk++)
	{
		int			nvectors = (int) vdb_chunk_nvectors(&index->chunks[chunk]);

		for (int col = 0; col < header->ncolumns; col++)
		{
			const VdbStripePiece *piece = vdb_index_address(index, (int) chunk, col);
			uint64		bytes = 0;

			for (int vec = 0; vec < nvectors; vec++)
				bytes += VDB_STRIPE_ALIGN(index->vectors[vdb_index_vector_no(index, (int) chunk,
																			 col, vec)].bytes);
			if (piece->bytes != bytes || piece->offset < data || piece->offset % 8 != 0 ||
				piece->offset > header->total_bytes ||
				piece->bytes > header->total_bytes - piece->offset)
				return psprintf("Chunk %u, column %d: expected " UINT64_FORMAT " bytes inside of " UINT64_FORMAT
								", found " UINT64_FORMAT " at " UINT64_FORMAT ".",
								chunk, col + 1, bytes, header->total_bytes,
								piece->bytes, piece->offset);
		}
	}
	return NULL;
}

/* ---- reading an index ---- */

/* Check that the header is that of the stripe that the map refers to, in a known version. */
static void
header_check(Relation rel, VdbStripeAddress address, const VdbStripeHeader *header)
{
	const char *wrong;
	uint64		identity;

	if (header->magic != VDB_STRIPE_MAGIC)
		vdb_stripe_damaged(rel, address,
						   psprintf("Expected magic number %08X in its header, found %08X.",
									VDB_STRIPE_MAGIC, header->magic));
	if (header->version != VDB_STRIPE_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("stripe %u of table \"%s\" at page %u has format version %u, which this version of vdb_am cannot read",
						address.stripe_id, RelationGetRelationName(rel), address.first_page,
						header->version),
				 errdetail("The version understood is %d.", VDB_STRIPE_VERSION),
				 errhint("Install a newer version of vdb_am.")));
	if (header->stripe_id != address.stripe_id || header->range != address.range)
		vdb_stripe_damaged(rel, address,
						   psprintf("Expected stripe %u of range %u, found stripe %u of range %u.",
									address.stripe_id, address.range,
									header->stripe_id, header->range));
	if (address.written_at != 0 && header->written_at != address.written_at)
		vdb_stripe_damaged(rel, address,
						   psprintf("Expected a stripe written at " INT64_FORMAT ", found one written at " INT64_FORMAT ".",
									address.written_at, header->written_at));
	identity = vdb_pages_identity(rel);
	if (header->identity != identity)
		vdb_stripe_damaged(rel, address,
						   psprintf("Expected storage identity " UINT64_FORMAT ", found " UINT64_FORMAT ".",
									identity, header->identity));
	wrong = check_counts(header);
	if (wrong != NULL)
		vdb_stripe_damaged(rel, address, wrong);
}

/* See stripe_private.h. */
Size
vdb_index_size(const VdbStripeHeader *header)
{
	return VDB_STRIPE_ALIGN(header->index_bytes) + ((Size) header->nchunks + 1) * sizeof(uint32);
}

/* See stripe_private.h. */
void
vdb_index_set_tables(VdbStripeIndex *index)
{
	VdbStripeLayout layout;

	index->header = (const VdbStripeHeader *) index->bytes;
	vdb_stripe_layout(index->header, &layout);
	index->lbs = (const VdbStripeLb *) (index->bytes + layout.lbs);
	index->bitmaps = (const VdbRowSet *) (index->bytes + layout.bitmaps);
	index->xmins = (const VdbStripeXmins *) (index->bytes + layout.xmins);
	index->xmin_vectors = (const uint8 *) (index->bytes + layout.xmin_vectors);
	index->chunks = (const VdbStripeChunk *) (index->bytes + layout.chunks);
	index->columns = (const VdbStripeColumn *) (index->bytes + layout.columns);
	index->pieces = (const VdbStripePiece *) (index->bytes + layout.pieces);
	index->vectors = (const VdbStripeVector *) (index->bytes + layout.vectors);
	index->chunk_vectors = (uint32 *) (index->bytes + VDB_STRIPE_ALIGN(layout.end));
}

/* Check everything but the header's own fields, and fill chunk_vectors. */
static const char *
index_check(VdbStripeIndex *index)
{
	const VdbStripeHeader *header = index->header;
	const char *wrong;
	uint32		first = 0;
	uint32		crc = vdb_stripe_index_crc(index->bytes, header->index_bytes);

	if (crc != header->index_crc)
		return psprintf("Expected checksum %08X of its index, found %08X.",
						header->index_crc, crc);
	if ((wrong = check_lbs(index)) != NULL ||
		(wrong = check_xmins(index)) != NULL ||
		(wrong = check_chunks(index)) != NULL ||
		(wrong = check_columns(index)) != NULL)
		return wrong;

	for (uint32 i = 0; i < header->nchunks; i++)
	{
		index->chunk_vectors[i] = first;
		first += vdb_chunk_nvectors(&index->chunks[i]) * header->ncolumns;
	}
	index->chunk_vectors[header->nchunks] = first;
	return check_addresses(index);
}

/* See stripe_private.h. */
void
vdb_index_read(Relation rel, VdbStripeAddress address, MemoryContext context,
			   VdbStripeIndex *index)
{
	VdbStripeHeader header;
	VdbStripeIndex work = {.address = address};
	MemoryContext private;
	const char *wrong;

	vdb_pages_read(rel, address.first_page, 0, sizeof(header), (char *) &header);
	header_check(rel, address, &header);

	/*
	 * Read and check in a context of our own, and copy to 'context' at the end: an error here must
	 * leave nothing in a long-lived context.
	 */
	private = AllocSetContextCreate(CurrentMemoryContext, "VDB stripe index",
									ALLOCSET_SMALL_SIZES);
	work.bytes = MemoryContextAlloc(private, vdb_index_size(&header));
	vdb_pages_prefetch(rel, address.first_page, 0, header.index_bytes);
	vdb_pages_read(rel, address.first_page, 0, header.index_bytes, work.bytes);

	/* The header was checked from another copy: the bytes must be the same. */
	if (memcmp(work.bytes, &header, sizeof(header)) != 0)
		vdb_stripe_damaged(rel, address, "Its header changed while being read.");

	vdb_index_set_tables(&work);
	wrong = index_check(&work);
	if (wrong != NULL)
		vdb_stripe_damaged(rel, address, wrong);

	work.bytes = memcpy(MemoryContextAlloc(context, vdb_index_size(&header)),
						work.bytes, vdb_index_size(&header));
	vdb_index_set_tables(&work);
	*index = work;
	MemoryContextDelete(private);
}

/* See stripe_private.h. */
void
vdb_index_free(VdbStripeIndex *index)
{
	pfree(index->bytes);
	memset(index, 0, sizeof(*index));
}

/* See stripe_private.h. */
int
vdb_index_chunk_of(const VdbStripeIndex *index, uint32 pos)
{
	int			low = 0;
	int			high = (int) index->header->nchunks - 1;
	int			guess;

	Assert(pos < index->header->nrows);

	/* Chunks have the same size, except for the last one and those of large rows. */
	guess = (int) (pos / index->chunks[0].nrows);
	if (guess <= high && pos >= index->chunks[guess].first_pos &&
		pos - index->chunks[guess].first_pos < index->chunks[guess].nrows)
		return guess;

	while (low < high)
	{
		int			middle = (low + high + 1) / 2;

		if (index->chunks[middle].first_pos <= pos)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

/* See stripe_private.h. */
VdbZone *
vdb_index_read_zones(const VdbStripeIndex *index, Relation rel)
{
	const VdbStripeHeader *header = index->header;
	VdbZone    *zones = palloc(Max(header->zones_bytes, 1));
	uint32		crc;

	vdb_pages_read(rel, index->address.first_page, header->index_bytes, header->zones_bytes,
				   (char *) zones);
	crc = vdb_crc32c(zones, header->zones_bytes);
	if (crc != header->zones_crc)
		vdb_stripe_damaged(rel, index->address,
						   psprintf("Expected checksum %08X of its zone maps, found %08X.",
									header->zones_crc, crc));
	return zones;
}

/*
 * See stripe_private.h.  first_page is not touched.  npages is the number of pages that the bytes
 * take.  magic and version are those of a meta.  Continuations and epoch are left to the map.
 */
void
vdb_stripe_fill_meta(const VdbStripeHeader *header, const VdbStripeChunk *chunks,
					 VdbStripeMeta *meta)
{
	BlockNumber first_page = meta->first_page;

	memset(meta, 0, sizeof(*meta));
	meta->first_page = first_page;
	meta->npages = (uint32) vdb_pages_needed(header->total_bytes);
	meta->magic = VDB_STRIPE_META_MAGIC;
	meta->version = VDB_MAP_VERSION;
	if (!TransactionIdIsNormal(header->max_xmin))
		meta->flags |= VDB_STRIPE_FROZEN;
	meta->stripe_id = header->stripe_id;
	meta->range = header->range;
	meta->nrows = header->nrows;
	meta->nchunks = (uint16) header->nchunks;
	meta->ncolumns = header->ncolumns;
	meta->nlbs = header->nlbs;
	meta->min_xmin = header->min_xmin;
	meta->max_xmin = header->max_xmin;
	meta->row_bytes = header->row_bytes;
	meta->stripe_bytes = header->total_bytes;
	meta->written_at = header->written_at;
	for (uint32 i = 0; i < Min(header->nchunks, lengthof(meta->chunk_rows)); i++)
		meta->chunk_rows[i] = chunks[i].nrows;
}

/* ---- vectors ---- */

/* See stripe_private.h. */
VdbCodecWorkspace *
vdb_stripe_workspace(void)
{
	static VdbCodecWorkspace *workspace = NULL;

	if (workspace == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		workspace = vdb_codec_workspace_create();
		MemoryContextSwitchTo(old);
	}
	return workspace;
}

/* See stripe_private.h. */
void
vdb_open_vector_reserve(VdbOpenVector *open, Size need, MemoryContext context)
{
	if (open->bytes != NULL && open->size >= need)
		return;
	if (open->bytes != NULL)
		pfree(open->bytes);
	open->bytes = NULL;
	open->size = 0;
	open->bytes = MemoryContextAllocHuge(context, Max(need, 64));
	open->size = Max(need, 64);
}

/* See stripe_private.h. */
void
vdb_scratch_trim(void)
{
	if (vdb_stripe_scratch.size > VDB_SCRATCH_KEEP_BYTES)
	{
		pfree(vdb_stripe_scratch.bytes);
		vdb_stripe_scratch.bytes = NULL;
		vdb_stripe_scratch.size = 0;
	}
}

/* See stripe_private.h. */
VdbCodecStatus
vdb_vector_open(size_t len, MemoryContext context, VdbOpenVector *out)
{
	VdbCodecInfo info;
	VdbCodecStatus status;
	const uint8 *stored = (const uint8 *) vdb_stripe_scratch.bytes;

	status = vdb_codec_inspect(stored, len, &info);
	if (status != VDB_CODEC_OK)
		return status;

	if (info.flags & VDB_VECF_ZSTD)
	{
		/* Only the decompressed payload is kept. */
		vdb_open_vector_reserve(out, info.raw_bytes, context);
		return vdb_codec_open(vdb_stripe_workspace(), stored, len,
							  (uint8 *) out->bytes, out->size, &out->reader);
	}

	vdb_open_vector_reserve(out, len, context);
	memcpy(out->bytes, stored, len);
	return vdb_codec_open(vdb_stripe_workspace(), (const uint8 *) out->bytes, len,
						  NULL, 0, &out->reader);
}

/*
 * Check that an opened vector fits its column and number of rows.  Returns NULL or what is wrong.
 */
static const char *
vector_check(const VdbStripeColumn *column, uint32 rows, const VdbVectorReader *reader)
{
	if (reader->info.count != rows)
		return psprintf("expected %u rows, found %u.", rows, reader->info.count);
	if (reader->info.kind != column->kind || reader->info.width != column->width)
		return psprintf("expected kind %u and width %u, found %u and %u.",
						column->kind, column->width, reader->info.kind, reader->info.width);
	if (column->kind == VDB_VEC_BYTES && reader->null_count < rows &&
		(column->typlen == -1) != (reader->info.image != VDB_IMAGE_RAW))
		return psprintf("expected values of type length %d, found image mode %d.",
						column->typlen, (int) reader->info.image);
	return NULL;
}

/* See stripe_private.h. */
const VdbStripeVector *
vdb_vector_find(const VdbVectorAddress *at, uint64 *offset)
{
	const VdbStripeIndex *index = at->index;
	int			col = at->attno - 1;
	uint32		number = vdb_index_vector_no(index, at->chunk, col, 0);

	Assert(col >= 0 && col < index->header->ncolumns);
	Assert(at->chunk >= 0 && at->chunk < (int) index->header->nchunks);
	Assert(at->vec >= 0 && at->vec < (int) vdb_chunk_nvectors(&index->chunks[at->chunk]));

	*offset = vdb_index_address(index, at->chunk, col)->offset;
	for (int v = 0; v < at->vec; v++)
		*offset += VDB_STRIPE_ALIGN(index->vectors[number + v].bytes);
	return &index->vectors[number + at->vec];
}

/* See stripe_private.h. */
void
vdb_vector_check_crc(const VdbVectorAddress *at, const VdbStripeVector *vector)
{
	uint32		crc = vdb_crc32c(vdb_stripe_scratch.bytes, vector->bytes);

	if (crc != vector->crc)
		vdb_vector_damaged(at,
						   psprintf("expected checksum %08X, found %08X.", vector->crc, crc));
}

/* See stripe_private.h. */
void
vdb_vector_check_opened(const VdbVectorAddress *at, VdbCodecStatus status,
						const VdbVectorReader *reader)
{
	uint32		rows = at->index->chunks[at->chunk].nrows - at->vec * VDB_VECTOR_ROWS;
	const char *wrong;

	if (status == VDB_CODEC_NO_MEMORY)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("Failed while opening a vector of table \"%s\".",
						   RelationGetRelationName(at->rel))));
	if (status != VDB_CODEC_OK)
		vdb_vector_damaged(at,
						   psprintf("%s.", vdb_codec_status_text(status)));
	wrong = vector_check(&at->index->columns[at->attno - 1], Min(rows, VDB_VECTOR_ROWS), reader);
	if (wrong != NULL)
		vdb_vector_damaged(at, wrong);
}

/* See stripe_private.h. */
void
vdb_vector_load(const VdbVectorAddress *at, MemoryContext context, VdbOpenVector *out)
{
	uint64		offset;
	const VdbStripeVector *vector = vdb_vector_find(at, &offset);
	VdbCodecStatus status;

	vdb_open_vector_reserve(&vdb_stripe_scratch, vector->bytes, TopMemoryContext);
	vdb_pages_read(at->rel, at->index->address.first_page, offset, vector->bytes,
				   vdb_stripe_scratch.bytes);
	vdb_vector_check_crc(at, vector);

	status = vdb_vector_open(vector->bytes, context, out);
	vdb_vector_check_opened(at, status, &out->reader);
	vdb_scratch_trim();
}
