/*-------------------------------------------------------------------------
 *
 * stripe_writer.c
 *	  Take the rows of a stripe, and encode them chunk by chunk.
 *
 * Rows are collected per column until a chunk is full (vdb.chunk_rows rows, or 16 MB; a row larger
 * than that is a chunk of its own).  Then each column of the chunk gets its zone map and is
 * encoded, vector by vector, into the column's buffer of encoded bytes.  stripe_finish.c does the
 * rest.
 *
 * Memory: one raw chunk, all encoded bytes, and 12 bytes per run of xmin.  All of it is in one
 * context, so aborting means deleting that.  Takes no locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/transam.h"
#include "access/tupmacs.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/vdb_crc.h"
#include "base/vdb_guc.h"
#include "pages/pages.h"
#include "stripe/stripe_build.h"

#define FIRST_ROWS			256		/* initial room of the columns' arrays, in rows */

/* ---- begin ---- */

/* Determine how a column's values are stored. */
static void
column_init(VdbStripeWriter *writer, VdbColumnBuilder *column, Form_pg_attribute att)
{
	VdbStripeColumn *def = &column->def;

	def->typid = att->atttypid;
	def->typlen = att->attlen;
	def->byval = att->attbyval;
	def->align = att->attalign;
	if (att->attisdropped)
		def->flags = VDB_COLUMN_DROPPED;

	if (att->attbyval)
	{
		def->kind = VDB_VEC_INT;
		def->width = (uint16) att->attlen;
	}
	else if (att->attlen > 0)
	{
		/* Values follow each other without gaps, so each must end aligned. */
		def->kind = VDB_VEC_FIXED;
		def->width = (uint16) att_align_nominal(att->attlen, att->attalign);
	}
	else
	{
		def->kind = VDB_VEC_BYTES;
		column->image = att->attlen == -2 ? VDB_IMAGE_RAW :
			att->attstorage == TYPSTORAGE_PLAIN ? VDB_IMAGE_FULL : VDB_IMAGE_SHORT;
	}
	vdb_zone_method_init(&column->zone, att, writer->context);
}

/* See stripe.h. */
VdbStripeWriter *
vdb_stripe_writer_begin(Relation rel, uint32 range, uint32 stripe_id)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "VDB stripe writer",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	VdbStripeWriter *writer = palloc0(sizeof(VdbStripeWriter));
	TupleDesc	desc = RelationGetDescr(rel);

	writer->rel = rel;
	writer->range = range;
	writer->stripe_id = stripe_id;
	writer->context = context;
	writer->row_context = AllocSetContextCreate(context, "VDB stripe writer row",
												ALLOCSET_DEFAULT_SIZES);
	writer->compare_context = AllocSetContextCreate(context, "VDB stripe writer comparisons",
													ALLOCSET_DEFAULT_SIZES);
	writer->workspace = vdb_codec_workspace_create();
	writer->last_row = -1;
	writer->min_xmin = FrozenTransactionId;
	writer->max_xmin = FrozenTransactionId;
	writer->ncolumns = desc->natts;
	writer->columns = palloc0(Max(desc->natts, 1) * sizeof(VdbColumnBuilder));
	writer->row_values = palloc0(Max(desc->natts, 1) * sizeof(Datum));
	writer->row_lens = palloc0(Max(desc->natts, 1) * sizeof(uint32));
	for (int i = 0; i < desc->natts; i++)
		column_init(writer, &writer->columns[i], TupleDescAttr(desc, i));

	MemoryContextSwitchTo(old);
	return writer;
}

/* See stripe.h. */
uint64
vdb_stripe_writer_bytes(const VdbStripeWriter *writer)
{
	return MemoryContextMemAllocated(writer->context, true);
}

/* See stripe.h. */
void
vdb_stripe_writer_address(VdbStripeWriter *writer, BlockNumber first, uint32 npages)
{
	Assert(first > 0);
	writer->address_first = first;
	writer->address_npages = npages;
}

/* See stripe.h. */
void
vdb_stripe_writer_abort(VdbStripeWriter *writer)
{
	MemoryContextDelete(writer->context);
}

/* ---- encoding a chunk ---- */

/* Callback VdbZoneFetch for columns of kind FIXED. */
static Datum
fetch_fixed(const void *source, uint32 i)
{
	const VdbColumnBuilder *column = source;

	return PointerGetDatum(column->data.data + (Size) i * column->def.width);
}

/* Callback VdbZoneFetch for columns of kind BYTES. */
static Datum
fetch_bytes(const void *source, uint32 i)
{
	const VdbColumnBuilder *column = source;

	return PointerGetDatum(column->data.data + column->starts[i]);
}

/* Make the zone map of a column of the chunk being collected. */
static void
column_make_zone(VdbStripeWriter *writer, VdbColumnBuilder *column, VdbZone *zone)
{
	MemoryContext old = MemoryContextSwitchTo(writer->compare_context);

	if (column->def.kind == VDB_VEC_INT)
		vdb_zone_of_ints(&column->zone, column->def.width, column->ints,
						 column->nulls, writer->chunk_rows, zone);
	else
		vdb_zone_of_refs(&column->zone,
						 column->def.kind == VDB_VEC_FIXED ? fetch_fixed : fetch_bytes,
						 column, column->nulls, writer->chunk_rows, zone);

	MemoryContextSwitchTo(old);
	MemoryContextReset(writer->compare_context);
}

/* Encode one vector and append it to a buffer; store its length and CRC in *vector. */
void
vdb_writer_encode(VdbStripeWriter *writer, const VdbVectorInput *in, VdbBuffer *to,
				  VdbStripeVector *vector)
{
	VdbEncodeOptions options = {
		.force_encoding = vdb_codec_force,
		.zstd_level = vdb_zstd_level
	};
	VdbEncodedVector out;
	VdbCodecStatus status;

	status = vdb_codec_encode(writer->workspace, in, &options, &out);
	if (status != VDB_CODEC_OK)
		ereport(ERROR,
				(errcode(status == VDB_CODEC_NO_MEMORY ? ERRCODE_OUT_OF_MEMORY :
						 status == VDB_CODEC_TOO_BIG ? ERRCODE_PROGRAM_LIMIT_EXCEEDED :
						 ERRCODE_INTERNAL_ERROR),
				 errmsg("could not encode values of table \"%s\": %s",
						RelationGetRelationName(writer->rel),
						vdb_codec_status_text(status))));
	Assert(out.size_bytes <= PG_UINT32_MAX);

	vector->bytes = (uint32) out.size_bytes;
	vector->crc = vdb_crc32c(out.bytes, out.size_bytes);
	Assert(to->used % 8 == 0);
	vdb_buffer_append(writer, to, out.bytes, out.size_bytes);
	vdb_buffer_pad(writer, to);
}

/* Encode positions [first, first + count) of a column of the chunk. */
static void
column_encode_vector(VdbStripeWriter *writer, VdbColumnBuilder *column,
					 uint32 first, uint32 count)
{
	const uint8 *ptrs[VDB_VECTOR_ROWS];
	VdbStripeVector vector;
	VdbVectorInput in = {
		.kind = column->def.kind,
		.image = column->image,
		.width = column->def.width,
		.count = count,
		.nulls = column->any_null ? column->nulls + first / 8 : NULL
	};

	Assert(first % VDB_VECTOR_ROWS == 0 && count <= VDB_VECTOR_ROWS);

	if (column->def.kind == VDB_VEC_INT)
		in.values = column->ints + first;
	else if (column->def.kind == VDB_VEC_FIXED)
		in.data = (const uint8 *) column->data.data + (Size) first * column->def.width;
	else
	{
		Size		header = column->def.typlen == -1 ? VARHDRSZ : 0;

		for (uint32 i = 0; i < count; i++)
			ptrs[i] = (const uint8 *) column->data.data + column->starts[first + i] + header;
		in.ptrs = ptrs;
		in.lens = column->lens + first;
	}

	vdb_writer_encode(writer, &in, &column->encoded, &vector);
	vdb_buffer_append(writer, &column->vectors, &vector, sizeof(vector));
}

/* Encode a column of the chunk. */
static void
column_encode(VdbStripeWriter *writer, VdbColumnBuilder *column)
{
	VdbStripePiece piece = {.offset = column->encoded.used};

	for (uint32 first = 0; first < writer->chunk_rows; first += VDB_VECTOR_ROWS)
	{
		CHECK_FOR_INTERRUPTS();
		column_encode_vector(writer, column, first,
							 Min(writer->chunk_rows - first, VDB_VECTOR_ROWS));
	}
	piece.bytes = column->encoded.used - piece.offset;
	vdb_buffer_append(writer, &column->pieces, &piece, sizeof(piece));

	vdb_buffer_reset(&column->data);
	memset(column->nulls, 0, sizeof(column->nulls));
	column->any_null = false;
}

/* End the chunk being collected, if there is one. */
void
vdb_writer_end_chunk(VdbStripeWriter *writer)
{
	VdbStripeChunk chunk = {
		.first_pos = writer->nrows - writer->chunk_rows,
		.nrows = writer->chunk_rows
	};

	if (writer->chunk_rows == 0)
		return;
	if (writer->chunks.used / sizeof(chunk) >= VDB_STRIPE_MAX_CHUNKS)
		elog(ERROR, "too many chunks in a stripe");

	vdb_buffer_append(writer, &writer->chunks, &chunk, sizeof(chunk));
	for (int i = 0; i < writer->ncolumns; i++)
	{
		VdbZone		zone;

		column_make_zone(writer, &writer->columns[i], &zone);
		vdb_buffer_append(writer, &writer->zones, &zone, sizeof(zone));
		column_encode(writer, &writer->columns[i]);
	}
	writer->chunk_rows = 0;
	writer->chunk_bytes = 0;
}

/* ---- adding rows ---- */

/* Enlarge the arrays of all columns, when they are full. */
static void
writer_grow_rows(VdbStripeWriter *writer)
{
	uint32		rows = writer->rows_room == 0 ? FIRST_ROWS : writer->rows_room * 2;
	MemoryContext old = MemoryContextSwitchTo(writer->context);

	for (int i = 0; i < writer->ncolumns; i++)
	{
		VdbColumnBuilder *column = &writer->columns[i];

		if (column->def.kind == VDB_VEC_INT)
			column->ints = column->ints == NULL ? palloc(rows * sizeof(int64)) :
				repalloc(column->ints, rows * sizeof(int64));
		else if (column->def.kind == VDB_VEC_BYTES)
		{
			column->starts = column->starts == NULL ? palloc(rows * sizeof(Size)) :
				repalloc(column->starts, rows * sizeof(Size));
			column->lens = column->lens == NULL ? palloc(rows * sizeof(uint32)) :
				repalloc(column->lens, rows * sizeof(uint32));
		}
	}
	writer->rows_room = rows;
	MemoryContextSwitchTo(old);
}

/*
 * Flatten a by-reference value into row_values, and return the bytes that it will take in the
 * chunk.  May allocate in the row context.
 */
static Size
row_prepare_ref(VdbStripeWriter *writer, int i, Datum value)
{
	const VdbStripeColumn *def = &writer->columns[i].def;

	if (def->kind == VDB_VEC_FIXED)
	{
		writer->row_values[i] = value;
		return def->width;
	}
	if (def->typlen == -1)
	{
		struct varlena *image = (struct varlena *) DatumGetPointer(value);

		if (VARATT_IS_EXTERNAL(image) || VARATT_IS_COMPRESSED(image))
			image = detoast_attr(image);
		writer->row_values[i] = PointerGetDatum(image);
		writer->row_lens[i] = (uint32) VARSIZE_ANY_EXHDR(image);
		return VDB_STRIPE_ALIGN(writer->row_lens[i] + VARHDRSZ) + sizeof(Size) + sizeof(uint32);
	}
	writer->row_values[i] = value;
	writer->row_lens[i] = (uint32) strlen(DatumGetCString(value)) + 1;
	return VDB_STRIPE_ALIGN(writer->row_lens[i]) + sizeof(Size) + sizeof(uint32);
}

/* Flatten a row, and return the bytes that it will take in the chunk. */
static Size
row_prepare(VdbStripeWriter *writer, const Datum *values, const bool *isnull)
{
	MemoryContext old = MemoryContextSwitchTo(writer->row_context);
	Size		bytes = 0;

	for (int i = 0; i < writer->ncolumns; i++)
	{
		const VdbStripeColumn *def = &writer->columns[i].def;

		if (def->kind == VDB_VEC_INT)
			bytes += sizeof(int64);
		else if (isnull[i] || (def->flags & VDB_COLUMN_DROPPED))
			bytes += def->width + sizeof(Size) + sizeof(uint32);
		else
			bytes += row_prepare_ref(writer, i, values[i]);
	}
	MemoryContextSwitchTo(old);
	return bytes;
}

/* Append value i of the prepared row to its column. */
static void
column_append(VdbStripeWriter *writer, int i, Datum value, bool isnull)
{
	VdbColumnBuilder *column = &writer->columns[i];
	uint32		at = writer->chunk_rows;
	char	   *to;
	Size		len;

	if (isnull || (column->def.flags & VDB_COLUMN_DROPPED))
	{
		column->nulls[at >> 3] |= (uint8) (1 << (at & 7));
		column->any_null = true;
		isnull = true;
	}

	switch (column->def.kind)
	{
		case VDB_VEC_INT:
			column->ints[at] = isnull ? 0 : vdb_datum_int(value, column->def.width);
			return;

		case VDB_VEC_FIXED:
			to = vdb_buffer_room(writer, &column->data, column->def.width);
			memset(to, 0, column->def.width);
			if (!isnull)
				memcpy(to, DatumGetPointer(writer->row_values[i]), column->def.typlen);
			column->data.used += column->def.width;
			return;

		default:
			column->starts[at] = column->data.used;
			column->lens[at] = isnull ? 0 : writer->row_lens[i];
			if (isnull)
				return;
			len = column->lens[at];
			if (column->def.typlen == -2)
				vdb_buffer_append(writer, &column->data, DatumGetPointer(writer->row_values[i]),
								  len);
			else
			{
				/* Always store a full header, because zone maps compare the value. */
				to = vdb_buffer_room(writer, &column->data, len + VARHDRSZ);
				SET_VARSIZE(to, len + VARHDRSZ);
				memcpy(to + VARHDRSZ, VARDATA_ANY(DatumGetPointer(writer->row_values[i])), len);
				column->data.used += len + VARHDRSZ;
			}
			vdb_buffer_pad(writer, &column->data);
			return;
	}
}

/* Add the row's xmin to the runs, and to minimum and maximum. */
static void
writer_add_xmin(VdbStripeWriter *writer, TransactionId xmin, CommandId cmin)
{
	VdbXminRun *last = writer->runs.used == 0 ? NULL :
		(VdbXminRun *) (writer->runs.data + writer->runs.used) - 1;

	if (last != NULL && last->xmin == xmin && last->cmin == cmin)
		last->count++;
	else
	{
		VdbXminRun	run = {.xmin = xmin,.cmin = cmin,.count = 1};

		vdb_buffer_append(writer, &writer->runs, &run, sizeof(run));
	}

	if (!TransactionIdIsNormal(xmin))
		return;
	if (!TransactionIdIsNormal(writer->min_xmin) ||
		TransactionIdPrecedes(xmin, writer->min_xmin))
		writer->min_xmin = xmin;
	if (!TransactionIdIsNormal(writer->max_xmin) ||
		TransactionIdPrecedes(writer->max_xmin, xmin))
		writer->max_xmin = xmin;
}

/* See stripe.h. */
void
vdb_stripe_writer_cover(VdbStripeWriter *writer, uint8 lb_index)
{
	writer->covered[lb_index] = true;
}

/* See stripe.h. */
void
vdb_stripe_writer_add(VdbStripeWriter *writer, VdbRowNumber row, TransactionId xmin, CommandId cmin,
					  const Datum *values, const bool *isnull, Size row_bytes)
{
	uint8		lb_index = vdb_lb_index(vdb_row_lb(row));
	uint8		in_lb = vdb_row_index(row);
	Size		bytes = row_prepare(writer, values, isnull);

	Assert(vdb_lb_range(vdb_row_lb(row)) == writer->range);
	Assert((int64) row > writer->last_row);
	Assert(writer->nrows < VDB_STRIPE_ROWS);

	if (writer->chunk_rows >= (uint32) Min(vdb_chunk_rows, VDB_CHUNK_ROWS) ||
		(writer->chunk_rows > 0 && writer->chunk_bytes + bytes > VDB_CHUNK_MAX_BYTES))
		vdb_writer_end_chunk(writer);
	if (writer->chunk_rows == writer->rows_room)
		writer_grow_rows(writer);

	for (int i = 0; i < writer->ncolumns; i++)
		column_append(writer, i, values[i], isnull[i]);
	MemoryContextReset(writer->row_context);

	writer_add_xmin(writer, xmin, cmin);
	vdb_stripe_writer_cover(writer, lb_index);
	vdb_rowset_add(writer->present[lb_index], in_lb);
	writer->last_row = (int64) row;
	writer->nrows++;
	writer->chunk_rows++;
	writer->chunk_bytes += bytes;
	writer->row_bytes += row_bytes;
}
