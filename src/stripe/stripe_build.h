/*-------------------------------------------------------------------------
 *
 * stripe_build.h
 *	  A stripe that is being built.  stripe_writer.c, which takes rows and encodes
 *	  chunks, shares it with stripe_finish.c, which lays out the stripe and writes it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_STRIPE_BUILD_H
#define VDB_STRIPE_BUILD_H

#include "stripe/stripe_private.h"

/* Bytes of raw rows at which a chunk ends. */
#define VDB_CHUNK_MAX_BYTES		(16 * 1024 * 1024)

/* A growing array of bytes. */
typedef struct VdbBuffer
{
	char	   *data;
	Size		used;
	Size		size;
} VdbBuffer;

/* A column of the chunk being collected, and of the chunks encoded so far. */
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
	Size	   *starts;				/* BYTES: offset in 'data' */
	uint32	   *lens;				/* BYTES: length without varlena header */

	/* encoded chunks */
	VdbBuffer	encoded;
	VdbBuffer	vectors;			/* VdbStripeVector */
	VdbBuffer	pieces;				/* VdbStripePiece per chunk, offset in 'encoded' */
} VdbColumnBuilder;

/* Successive rows with the same xmin and cmin. */
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
	MemoryContext row_context;		/* detoasted values of the row being added */
	MemoryContext compare_context;	/* what comparison functions allocate */
	VdbCodecWorkspace *workspace;
	BlockNumber address_first;		/* free run offered by the caller, or 0 */
	uint32		address_npages;

	int			ncolumns;
	VdbColumnBuilder *columns;
	Datum	   *row_values;			/* the row being added, detoasted */
	uint32	   *row_lens;

	int64		last_row;			/* row number last added, or -1 */
	uint32		nrows;
	uint32		chunk_rows;			/* rows in the chunk being collected */
	uint32		rows_room;			/* rows that the columns' arrays have room for */
	Size		chunk_bytes;		/* raw bytes in the chunk being collected */
	uint64		row_bytes;
	bool		covered[VDB_RANGE_LBS];
	VdbRowSet	present[VDB_RANGE_LBS];
	TransactionId min_xmin;
	TransactionId max_xmin;
	VdbBuffer	runs;				/* VdbXminRun */
	VdbBuffer	chunks;				/* VdbStripeChunk */
	VdbBuffer	zones;				/* VdbZone, chunk-major */
};

/* Growing buffers, in the writer's context (stripe_buffer.c). */
extern char *vdb_buffer_room(VdbStripeWriter *writer, VdbBuffer *buffer, Size more);
extern void vdb_buffer_append(VdbStripeWriter *writer, VdbBuffer *buffer, const void *bytes,
							  Size len);
extern void vdb_buffer_pad(VdbStripeWriter *writer, VdbBuffer *buffer);
extern void vdb_buffer_reset(VdbBuffer *buffer);

extern void vdb_writer_encode(VdbStripeWriter *writer, const VdbVectorInput *in, VdbBuffer *to,
							  VdbStripeVector *vector);
extern void vdb_writer_end_chunk(VdbStripeWriter *writer);

#endif							/* VDB_STRIPE_BUILD_H */
