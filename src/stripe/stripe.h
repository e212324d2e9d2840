/*-------------------------------------------------------------------------
 *
 * stripe.h
 *	  Columns on flash: build a stripe from rows, read it back.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_STRIPE_H
#define VDB_STRIPE_H

#include "access/htup.h"
#include "utils/rel.h"

#include "base/vdb_rowset.h"
#include "map/map_format.h"

#define VDB_STRIPE_ROWS		65536
#define VDB_CHUNK_ROWS		8192
#define VDB_VECTOR_ROWS		2048

/* ---- writer (stripe_writer.c, stripe_finish.c) ---- */

typedef struct VdbStripeWriter VdbStripeWriter;

/* What a finished stripe is: everything for its meta but the pool's continuation blocks. */
typedef struct VdbStripeBuilt
{
	VdbStripeMeta meta;				/* first_page, npages, nrows, nchunks, ncolumns, min/max
									 * xmin, row_bytes, stripe_bytes, ... set */
	VdbZone    *zones;				/* nchunks * ncolumns, chunk-major; palloc'd in the caller's
									 * context */
	XLogRecPtr	lsn;				/* flush up to here before the switch */
} VdbStripeBuilt;

/*
 * Build a stripe of one range of rel.  Rows are added in rising row number; the writer owns a
 * private memory context of bounded size (raw bytes of one chunk, capped at 16 MB unless one row is
 * larger, plus the encoded bytes). values/isnull: one row, deformed with rel's current descriptor
 * (detoasted or not: the writer flattens); xmin FrozenTransactionId when resolved for all.
 */
extern VdbStripeWriter *vdb_stripe_writer_begin(Relation rel, uint32 range, uint32 stripe_id);

/* Bytes that the writer holds in memory now, for callers who want to end a stripe early. */
extern uint64 vdb_stripe_writer_bytes(const VdbStripeWriter *writer);

/* Offer a free run of pages: finish takes it if the stripe fits, and extends the fork otherwise. */
extern void vdb_stripe_writer_address(VdbStripeWriter *writer, BlockNumber first, uint32 npages);
extern void vdb_stripe_writer_add(VdbStripeWriter *writer, VdbRowNumber row, TransactionId xmin,
								  CommandId cmin,
								  const Datum *values, const bool *isnull, Size row_bytes);

/*
 * LBs that the stripe covers, whether or not any of their rows survive. Call before finish; rising.
 */
extern void vdb_stripe_writer_cover(VdbStripeWriter *writer, uint8 lb_index);
extern void vdb_stripe_writer_finish(VdbStripeWriter *writer,
									 VdbStripeBuilt *built);	/* writes pages; frees the writer */
extern void vdb_stripe_writer_abort(VdbStripeWriter *writer);

/* ---- reader (stripe_reader.c, stripe_cache.c) ---- */

/* Where a stripe is in its table's main fork, and which one it must be. */
typedef struct VdbStripeAddress
{
	BlockNumber first_page;
	uint32		stripe_id;
	uint32		range;
} VdbStripeAddress;

/* The address of the stripe that a meta describes. */
static inline VdbStripeAddress
vdb_stripe_address(const VdbStripeMeta *meta)
{
	VdbStripeAddress address = {meta->first_page, meta->stripe_id, meta->range};

	return address;
}

/*
 * An open stripe: its decoded header and a bounded number of decoded vectors, in a per-backend
 * cache (vdb.stripe_cache). The pointer stays valid until vdb_stripe_release; entries in use are
 * not evicted.  References are owned by CurrentResourceOwner-like tracking: released at transaction
 * abort too (RegisterResourceReleaseCallback / xact callback).
 */
typedef struct VdbStripe VdbStripe;

/* ERRCODE_DATA_CORRUPTED when the header on flash isn't the one expected, or is damaged. */
extern VdbStripe *vdb_stripe_open(Relation rel, VdbStripeAddress address);
extern VdbStripe *vdb_stripe_retain(VdbStripe *stripe);
extern void vdb_stripe_release(VdbStripe *stripe);

extern int	vdb_stripe_nrows(const VdbStripe *stripe);
extern int	vdb_stripe_nchunks(const VdbStripe *stripe);
extern int	vdb_stripe_ncolumns(const VdbStripe *stripe);

/*
 * Rows of one LB: position of its first row, presence bitmap; false: the stripe does not cover it.
 */
extern bool vdb_stripe_lb(const VdbStripe *stripe, uint8 lb_index, uint32 *first_pos,
						  VdbRowSet present);

/* Position of a row in the stripe, or -1. */
extern int	vdb_stripe_position(const VdbStripe *stripe, VdbRowNumber row);
extern TransactionId vdb_stripe_xmin(const VdbStripe *stripe, uint32 pos, CommandId *cmin);

/* chunk of a position, first position of a chunk */
extern int	vdb_stripe_chunk_of(const VdbStripe *stripe, uint32 pos);
extern uint32 vdb_stripe_chunk_start(const VdbStripe *stripe,
									 int chunk);	/* chunk == nchunks: nrows */

/*
 * One row's value of column attno (1-based).  desc: the columns as the caller wants them (while a
 * table is being rewritten the relation itself has the new ones already).  By-reference Datums
 * point into the cache and are valid until the next vdb_stripe_* call, for whatever stripe: the
 * caller copies them at once (datumCopy). Columns past the stripe's natts: getmissingattr.  Dropped
 * columns: null. ERRCODE_DATA_CORRUPTED when the value's vector is damaged.
 */
extern void vdb_stripe_value(VdbStripe *stripe, Relation rel, TupleDesc desc, int attno,
							 uint32 pos, Datum *value, bool *isnull);

/*
 * Decode consecutive positions [pos, pos+n) of a column, all inside one vector, to arrays.
 * By-reference Datums point into a vector buffer owned by *hold (a small struct the caller zeroes
 * first and frees with vdb_vector_buffer_free), so they live until the buffer is refilled or freed,
 * whatever the cache does.
 */
typedef struct VdbVectorBuffer
{
	char	   *buffer;				/* palloc'd in the context current at first use */
	Size		size;
	int			attno;
	uint32		first_pos;
	uint32		count;
	uint32		stripe_id;
	void	   *reader;				/* opened codec reader and its decoded values */
	uint64		serial;				/* of the open stripe (ids are unique only in a table) */
	MemoryContext context;			/* of buffer and reader */
} VdbVectorBuffer;

extern void vdb_stripe_decode(VdbStripe *stripe, Relation rel, int attno, uint32 pos, int n,
							  Datum *values, bool *isnull, VdbVectorBuffer *vbuffer);
extern void vdb_vector_buffer_free(VdbVectorBuffer *vbuffer);

/* End of the vector that pos lies in (exclusive, clipped to the chunk). */
extern uint32 vdb_stripe_vector_end(const VdbStripe *stripe, uint32 pos);

/* Drop what this backend has cached of the relation: when its storage is truncated in place. */
extern void vdb_stripe_forget(Relation rel);

/* Prefetch a chunk's column. */
extern void vdb_stripe_prefetch(VdbStripe *stripe, Relation rel, int attno, int chunk);

/* ---- for monitor: one chunk's column as stored ---- */
typedef struct VdbColumnInfo
{
	uint64		bytes;
	uint32		rows;
	uint32		nulls;
	char		encodings[64];		/* e.g. "for,dictionary+zstd" */
} VdbColumnInfo;

extern void vdb_stripe_column_info(VdbStripe *stripe, Relation rel, int attno, int chunk,
								   VdbColumnInfo *info);

/*
 * What is on flash, as the writer returned it: to build a lost meta anew.  zones are palloc'd; lsn
 * is invalid. ERRCODE_DATA_CORRUPTED as vdb_stripe_open.
 */
extern void vdb_stripe_describe(Relation rel, VdbStripeAddress address, VdbStripeBuilt *built);

/*
 * Read and check every byte: calls back with a message that names stripe, chunk, column, expected
 * and found, for each damage.  Never raises for damage.  Uses subtransactions: not in parallel
 * workers.
 */
typedef void (*VdbDamageCallback) (void *arg, const char *message);
extern void vdb_stripe_verify(Relation rel, VdbStripeAddress address, uint32 npages,
							  VdbDamageCallback callback, void *arg);

/*
 * The cache of single values that backends share: what it has, and what it did since the server's
 * start.
 */
typedef struct VdbCacheStatistics
{
	uint64		size_bytes;			/* 0: there is none */
	uint64		used_bytes;
	uint64		items;
	uint64		hits;
	uint64		misses;
	uint64		evictions;			/* items, to make room */
} VdbCacheStatistics;

extern void vdb_shared_cache_statistics(VdbCacheStatistics *statistics);

extern void vdb_stripe_init(void);		/* _PG_init, while preloading */

#endif							/* VDB_STRIPE_H */
