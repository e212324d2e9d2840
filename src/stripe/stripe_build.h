/*-------------------------------------------------------------------------
 *
 * stripe_build.h
 *	  A stripe that is being built: shared by stripe_writer.c, which takes rows
 *	  and encodes chunks, and stripe_finish.c, which lays out and writes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_STRIPE_BUILD_H
#define VDB_STRIPE_BUILD_H

#include "stripe/stripe_private.h"

/* Raw bytes of rows after which a chunk ends. */
#define VDB_CHUNK_MAX_BYTES		(16 * 1024 * 1024)

/* Bytes that grow. */
typedef struct VdbBuffer
{
	char	   *data;
	Size		used;
	Size		size;
} VdbBuffer;

typedef struct VdbColumnBuilder
{
	VdbStripeColumn def;
	VdbImageMode image;
	VdbZoneMethod zone;

	/* the chunk being collected */
	uint8		nulls[VDB_CHUNK_ROWS / 8];
	bool		any_null;
	int64	   *ints;				/* INT */
	VdbBuffer	data;				/* FIXED: width each; BYTES: images at multiples of 8 */
	Size	   *starts;				/* BYTES: in data */
	uint32	   *lens;				/* BYTES: without varlena header */

	/* what is encoded */
	VdbBuffer	encoded;
	VdbBuffer	vectors;			/* VdbStripeVector */
	VdbBuffer	pieces;				/* VdbStripePiece per chunk, offset in 'encoded' */
} VdbColumnBuilder;

typedef struct VdbXminRun
{
	TransactionId xmin;
	CommandId	cmin;
	uint32		count;
} VdbXminRun;

struct VdbStripeWriter
{
	Relation	rel;
	uint32		range;
	uint32		stripe_id;
	MemoryContext context;
	MemoryContext row_context;		/* detoasted values of one row */
	MemoryContext compare_context;	/* what comparisons leave behind */
	VdbCodecWorkspace *workspace;
	BlockNumber address_first;		/* free run offered, or 0 */
	uint32		address_npages;

	int			ncolumns;
	VdbColumnBuilder *columns;
	Datum	   *row_values;			/* the row being added, detoasted */
	uint32	   *row_lens;

	int64		last_row;			/* row number last added, or -1 */
	uint32		nrows;
	uint32		chunk_rows;			/* in the chunk being collected */
	uint32		rows_room;			/* of the columns' arrays */
	Size		chunk_bytes;
	uint64		row_bytes;
	bool		covered[VDB_RANGE_LBS];
	VdbRowSet	present[VDB_RANGE_LBS];
	TransactionId min_xmin;
	TransactionId max_xmin;
	VdbBuffer	runs;				/* VdbXminRun */
	VdbBuffer	chunks;				/* VdbStripeChunk */
	VdbBuffer	zones;				/* VdbZone, chunk-major */
};

/* Buffers live in the writer's context (stripe_buffer.c). */
extern char *vdb_buffer_room(VdbStripeWriter *writer, VdbBuffer *buffer, Size more);
extern void vdb_buffer_append(VdbStripeWriter *writer, VdbBuffer *buffer, const void *bytes,
							  Size len);
extern void vdb_buffer_pad(VdbStripeWriter *writer, VdbBuffer *buffer);
extern void vdb_buffer_reset(VdbBuffer *buffer);

extern void vdb_writer_encode(VdbStripeWriter *writer, const VdbVectorInput *in, VdbBuffer *to,
							  VdbStripeVector *vector);
extern void vdb_writer_end_chunk(VdbStripeWriter *writer);

#endif							/* VDB_STRIPE_BUILD_H */
