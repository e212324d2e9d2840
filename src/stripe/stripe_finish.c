/*-------------------------------------------------------------------------
 *
 * stripe_finish.c
 *	  Lay out a stripe whose rows were taken, and write it as one run of pages.
 *
 * Index, zone maps and data are passed to pages/, whose run is unreachable until the caller
 * publishes it.  The layout is described in stripe_format.h.
 *
 * Memory: the writer's.  Takes no locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/vdb_crc.h"
#include "pages/pages.h"
#include "stripe/stripe_build.h"

/* ---- finish: the index ---- */

/* Append the table of LBs and their bitmaps to the index. */
static void
put_lbs(VdbStripeWriter *writer, VdbBuffer *index, VdbStripeHeader *header)
{
	VdbBuffer	bitmaps = {0};
	uint32		pos = 0;

	for (int i = 0; i < VDB_RANGE_LBS; i++)
	{
		VdbStripeLb lb = {.lb_index = (uint8) i,.first_pos = pos};

		if (!writer->covered[i])
			continue;
		lb.nrows = (uint16) vdb_rowset_count(writer->present[i]);
		if (lb.nrows == VDB_LB_ROWS)
			lb.flags = VDB_STRIPE_LB_DENSE;
		else if (lb.nrows > 0)
		{
			vdb_buffer_append(writer, &bitmaps, writer->present[i], sizeof(VdbRowSet));
			header->nbitmaps++;
		}
		vdb_buffer_append(writer, index, &lb, sizeof(lb));
		header->nlbs++;
		pos += lb.nrows;
	}
	Assert(pos == writer->nrows);
	vdb_buffer_append(writer, index, bitmaps.data, bitmaps.used);
}

/* Encode up to 2048 runs as a block of three vectors. */
static void
put_xmin_block(VdbStripeWriter *writer, const VdbXminRun *runs, VdbStripeXmins *block,
			   VdbBuffer *vectors)
{
	int64		values[3][VDB_VECTOR_ROWS];

	for (uint32 i = 0; i < block->nruns; i++)
	{
		/* Sign-extended, as the codec expects integers of width 4. */
		values[0][i] = (int32) runs[i].xmin;
		values[1][i] = (int32) runs[i].cmin;
		values[2][i] = (int32) runs[i].count;
	}
	for (int v = 0; v < 3; v++)
	{
		VdbVectorInput in = {
			.kind = VDB_VEC_INT,
			.width = sizeof(int32),
			.count = block->nruns,
			.values = values[v]
		};
		VdbStripeVector vector;

		vdb_writer_encode(writer, &in, vectors, &vector);
		block->bytes[v] = vector.bytes;
	}
}

/* Append the xmin blocks and their vectors to the index. */
static void
put_xmins(VdbStripeWriter *writer, VdbBuffer *index, VdbStripeHeader *header)
{
	const VdbXminRun *runs = (const VdbXminRun *) writer->runs.data;
	uint32		nruns = (uint32) (writer->runs.used / sizeof(VdbXminRun));
	VdbBuffer	vectors = {0};
	uint32		pos = 0;

	for (uint32 first = 0; first < nruns; first += VDB_VECTOR_ROWS)
	{
		VdbStripeXmins block = {
			.first_pos = pos,
			.nruns = Min(nruns - first, VDB_VECTOR_ROWS),
			.offset = (uint32) vectors.used
		};

		put_xmin_block(writer, runs + first, &block, &vectors);
		vdb_buffer_append(writer, index, &block, sizeof(block));
		header->nxmins++;
		for (uint32 i = first; i < first + block.nruns; i++)
			pos += runs[i].count;
	}
	Assert(pos == writer->nrows);
	header->xmins_bytes = (uint32) vectors.used;
	vdb_buffer_append(writer, index, vectors.data, vectors.used);
}

/*
 * Append the tables of chunks, columns, places and vectors.  Offsets are relative to the start of
 * the data, which put_offsets adds.
 */
static void
put_columns(VdbStripeWriter *writer, VdbBuffer *index, VdbStripeHeader *header)
{
	const VdbStripeChunk *chunks = (const VdbStripeChunk *) writer->chunks.data;

	vdb_buffer_append(writer, index, writer->chunks.data, writer->chunks.used);
	for (int col = 0; col < writer->ncolumns; col++)
		vdb_buffer_append(writer, index, &writer->columns[col].def, sizeof(VdbStripeColumn));

	for (uint32 chunk = 0; chunk < header->nchunks; chunk++)
	{
		uint64		base = 0;		/* start of the column in the data */

		for (int col = 0; col < writer->ncolumns; col++)
		{
			VdbStripePiece piece = ((VdbStripePiece *) writer->columns[col].pieces.data)[chunk];

			piece.offset += base;
			base += writer->columns[col].encoded.used;
			vdb_buffer_append(writer, index, &piece, sizeof(piece));
		}
	}

	for (uint32 chunk = 0, first = 0; chunk < header->nchunks; chunk++)
	{
		uint32		nvectors = vdb_chunk_nvectors(&chunks[chunk]);

		for (int col = 0; col < writer->ncolumns; col++)
			vdb_buffer_append(writer, index,
							  (VdbStripeVector *) writer->columns[col].vectors.data + first,
							  nvectors * sizeof(VdbStripeVector));
		first += nvectors;
		header->nvectors += nvectors * (uint32) writer->ncolumns;
	}
}

/* Make offsets count from the stripe's start, which is possible once the sizes are known. */
static void
put_offsets(VdbBuffer *index, const VdbStripeHeader *header, uint64 data_start)
{
	VdbStripeLayout layout;
	VdbStripePiece *pieces;

	vdb_stripe_layout(header, &layout);
	Assert(layout.end == index->used);
	pieces = (VdbStripePiece *) (index->data + layout.pieces);
	for (uint64 i = 0; i < (uint64) header->nchunks * header->ncolumns; i++)
		pieces[i].offset += data_start;
}

/* Build the whole index; *header gets a copy of the finished header. */
static void
writer_build_index(VdbStripeWriter *writer, VdbBuffer *index, VdbStripeHeader *header)
{
	uint64		data_start;

	memset(header, 0, sizeof(*header));
	header->magic = VDB_STRIPE_MAGIC;
	header->version = VDB_STRIPE_VERSION;
	header->stripe_id = writer->stripe_id;
	header->range = writer->range;
	header->identity = vdb_pages_identity(writer->rel);
	header->nrows = writer->nrows;
	header->nchunks = (uint32) (writer->chunks.used / sizeof(VdbStripeChunk));
	header->ncolumns = (uint16) writer->ncolumns;
	header->min_xmin = writer->min_xmin;
	header->max_xmin = writer->max_xmin;
	header->row_bytes = writer->row_bytes;
	header->written_at = GetCurrentTimestamp();

	vdb_buffer_append(writer, index, header, sizeof(*header));	/* reserves its place */
	put_lbs(writer, index, header);
	put_xmins(writer, index, header);
	put_columns(writer, index, header);
	if (index->used > VDB_STRIPE_MAX_INDEX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("stripe of table \"%s\" has too many chunks and columns",
						RelationGetRelationName(writer->rel))));

	header->index_bytes = (uint32) index->used;
	header->zones_bytes = (uint32) writer->zones.used;
	header->zones_crc = vdb_crc32c(writer->zones.data, writer->zones.used);
	data_start = index->used + writer->zones.used;
	header->total_bytes = data_start;
	for (int col = 0; col < writer->ncolumns; col++)
		header->total_bytes += writer->columns[col].encoded.used;
	put_offsets(index, header, data_start);

	memcpy(index->data, header, sizeof(*header));
	header->index_crc = vdb_stripe_index_crc(index->data, index->used);
	memcpy(index->data, header, sizeof(*header));
}

/* ---- finish: writing ---- */

/* Write all parts as one run. */
static void
writer_write(VdbStripeWriter *writer, const VdbBuffer *index, uint64 total, VdbStripeBuilt *built)
{
	VdbPageWriter *pages;

	if (writer->address_first > 0 && vdb_pages_needed(total) <= writer->address_npages)
		pages = vdb_page_writer_begin_at(writer->rel, writer->address_first, total);
	else
		pages = vdb_page_writer_begin(writer->rel, total);

	vdb_page_writer_append(pages, index->data, index->used);
	vdb_page_writer_append(pages, writer->zones.data, writer->zones.used);
	for (int col = 0; col < writer->ncolumns; col++)
		vdb_page_writer_append(pages, writer->columns[col].encoded.data,
							   writer->columns[col].encoded.used);
	built->meta.first_page = vdb_page_writer_end(pages, &built->meta.npages, &built->lsn);
}

/* See stripe.h. */
void
vdb_stripe_writer_finish(VdbStripeWriter *writer, VdbStripeBuilt *built)
{
	MemoryContext caller = MemoryContextSwitchTo(writer->context);
	VdbBuffer	index = {0};
	VdbStripeHeader header;

	vdb_writer_end_chunk(writer);
	writer_build_index(writer, &index, &header);

	memset(built, 0, sizeof(*built));
	writer_write(writer, &index, header.total_bytes, built);
	vdb_stripe_fill_meta(&header, (const VdbStripeChunk *) writer->chunks.data, &built->meta);
	built->zones = MemoryContextAllocHuge(caller, Max(writer->zones.used, 1));
	memcpy(built->zones, writer->zones.data, writer->zones.used);

	MemoryContextSwitchTo(caller);
	MemoryContextDelete(writer->context);
}
