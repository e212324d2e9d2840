/*-------------------------------------------------------------------------
 *
 * stripe.h
 *	  Stripes: building them from rows, and reading them.
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

/*
 * A finished stripe: everything that its meta needs, except for the continuation blocks in the
 * pool.
 */
typedef struct VdbStripeBuilt
{
	VdbStripeMeta meta;				/* the fields that the stripe determines are set: first_page,
									 * npages, nrows, nchunks, ... */
	VdbZone    *zones;				/* nchunks * ncolumns, chunk-major; palloc'd in the caller's
									 * context */
	XLogRecPtr	lsn;				/* WAL to flush before the switch */
} VdbStripeBuilt;

/*
 * Begin to build a stripe of one range of rel.  The writer has a private memory context of bounded
 * size: the raw bytes of one chunk (16 MB, unless one row is larger) and the encoded bytes.
 * vdb_stripe_writer_finish or vdb_stripe_writer_abort frees it.
 */
extern VdbStripeWriter *vdb_stripe_writer_begin(Relation rel, uint32 range, uint32 stripe_id);

/* Return the bytes of memory that the writer holds, for callers that may end a stripe early. */
extern uint64 vdb_stripe_writer_bytes(const VdbStripeWriter *writer);

/*
 * Offer a free run of pages.  vdb_stripe_writer_finish uses it if the stripe fits in, and otherwise
 * extends the fork.
 */
extern void vdb_stripe_writer_address(VdbStripeWriter *writer, BlockNumber first, uint32 npages);

/*
 * Add a row.  Rows come in rising order of row numbers.  'values' and 'isnull' are the row deformed
 * with rel's current descriptor; the writer flattens toasted values.  'xmin' is FrozenTransactionId
 * if all snapshots see the row's transaction as committed.  'row_bytes' is the row's size before
 * encoding.
 */
extern void vdb_stripe_writer_add(VdbStripeWriter *writer, VdbRowNumber row, TransactionId xmin,
								  CommandId cmin,
								  const Datum *values, const bool *isnull, Size row_bytes);

/*
 * Note that the stripe covers an LB, whether or not any of its rows survive.  Call this before
 * vdb_stripe_writer_finish, in rising order.
 */
extern void vdb_stripe_writer_cover(VdbStripeWriter *writer, uint8 lb_index);

/* Write the stripe's pages and fill *built.  Frees the writer. */
extern void vdb_stripe_writer_finish(VdbStripeWriter *writer,
									 VdbStripeBuilt *built);

/* Free the writer; nothing is written. */
extern void vdb_stripe_writer_abort(VdbStripeWriter *writer);

/* ---- reader (stripe_reader.c, stripe_cache.c) ---- */

/*
 * Address of a stripe in its table's main fork, with what identifies it.  No two stripes that ever
 * had the same place in the same file were written at the same time.
 */
typedef struct VdbStripeAddress
{
	BlockNumber first_page;
	uint32		stripe_id;
	uint32		range;
	int64		written_at;			/* TimestampTz; 0: not known */
} VdbStripeAddress;

/* Return the address of the stripe that a meta describes. */
static inline VdbStripeAddress
vdb_stripe_address(const VdbStripeMeta *meta)
{
	VdbStripeAddress address = {meta->first_page, meta->stripe_id, meta->range,
	meta->written_at};

	return address;
}

/*
 * An open stripe: its checked index and a bounded number of opened vectors, in a cache of this
 * backend (vdb.stripe_cache).  The pointer stays valid until vdb_stripe_release; stripes in use are
 * not evicted.  A reference belongs to the resource owner that was current when it was taken, and
 * is released with it at the latest, also at transaction abort.
 */
typedef struct VdbStripe VdbStripe;

/*
 * Open a stripe and take a reference to it.  Raises ERRCODE_DATA_CORRUPTED if the index on flash is
 * damaged, or is not that of the expected stripe.
 */
extern VdbStripe *vdb_stripe_open(Relation rel, VdbStripeAddress address);

/*
 * Open a stripe as vdb_stripe_open does if this backend has it in memory.  Otherwise return NULL:
 * nothing is read from flash or from the shared cache, so this is for callers with a block lock.
 */
extern VdbStripe *vdb_stripe_open_cached(Relation rel, VdbStripeAddress address);

/* Take another reference, for the current resource owner. */
extern VdbStripe *vdb_stripe_retain(VdbStripe *stripe);

/* Give back a reference. */
extern void vdb_stripe_release(VdbStripe *stripe);

extern int	vdb_stripe_nrows(const VdbStripe *stripe);
extern int	vdb_stripe_nchunks(const VdbStripe *stripe);
extern int	vdb_stripe_ncolumns(const VdbStripe *stripe);

/*
 * Find the rows of one LB: the position of its first row, and its presence bitmap.  Returns false
 * if the stripe does not cover the LB.
 */
extern bool vdb_stripe_lb(const VdbStripe *stripe, uint8 lb_index, uint32 *first_pos,
						  VdbRowSet present);

/* Return the position of a row in the stripe, or -1. */
extern int	vdb_stripe_position(const VdbStripe *stripe, VdbRowNumber row);

/* Return the xmin, and the cmin, of the row at a position. */
extern TransactionId vdb_stripe_xmin(const VdbStripe *stripe, uint32 pos, CommandId *cmin);

/* Return the chunk that a position lies in. */
extern int	vdb_stripe_chunk_of(const VdbStripe *stripe, uint32 pos);

/* Return the first position of a chunk; for chunk == nchunks, nrows. */
extern uint32 vdb_stripe_chunk_start(const VdbStripe *stripe,
									 int chunk);

/*
 * Read the value of column attno (1-based) at one position.
 *
 * 'desc' has the columns as the caller wants them, because rel itself has the new ones already
 * while a table is being rewritten.  By-reference Datums point into the cache.  They are valid
 * until the next vdb_stripe_* call, for any stripe, so the caller copies them at once (datumCopy).
 * Columns past the stripe's natts come from getmissingattr; dropped columns are null.  Raises
 * ERRCODE_DATA_CORRUPTED if the value's vector is damaged.
 */
extern void vdb_stripe_value(VdbStripe *stripe, Relation rel, TupleDesc desc, int attno,
							 uint32 pos, Datum *value, bool *isnull);

/*
 * Buffer of a decoded vector, for vdb_stripe_decode.  The caller zeroes it first and frees it with
 * vdb_vector_buffer_free.  By-reference Datums point into it, so they live until it is filled again
 * or freed, whatever the cache does.
 */
typedef struct VdbVectorBuffer
{
	char	   *buffer;				/* palloc'd in the context current at first use */
	Size		size;				/* size of the allocation */
	int			attno;				/* column, first position and rows of the vector in it */
	uint32		first_pos;
	uint32		count;
	uint32		stripe_id;
	void	   *reader;				/* opened codec reader, and its decoded values */
	uint64		serial;				/* that of the stripe (ids are unique only in a table) */
	MemoryContext context;			/* context of buffer and reader */
} VdbVectorBuffer;

/*
 * Decode the consecutive positions [pos, pos + n) of a column, all inside one vector, to arrays.
 * Raises ERRCODE_DATA_CORRUPTED if the vector is damaged.
 */
extern void vdb_stripe_decode(VdbStripe *stripe, Relation rel, int attno, uint32 pos, int n,
							  Datum *values, bool *isnull, VdbVectorBuffer *vbuffer);
extern void vdb_vector_buffer_free(VdbVectorBuffer *vbuffer);

/* Return the end of the vector that pos lies in (exclusive, clipped to the chunk). */
extern uint32 vdb_stripe_vector_end(const VdbStripe *stripe, uint32 pos);

/* Drop this backend's cache entries of a relation whose storage is truncated in place. */
extern void vdb_stripe_forget(Relation rel);

/* Prefetch the pages of a column in a chunk. */
extern void vdb_stripe_prefetch(VdbStripe *stripe, Relation rel, int attno, int chunk);

/* ---- for monitor/ ---- */

/* One chunk's column as stored. */
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
 * Describe a stripe on flash as the writer did, to build a lost meta anew.  The zone maps are
 * palloc'd, and lsn is invalid.  Raises ERRCODE_DATA_CORRUPTED as vdb_stripe_open does.
 */
extern void vdb_stripe_describe(Relation rel, VdbStripeAddress address, VdbStripeBuilt *built);

/*
 * Read and check every byte of a stripe.  For each damage, call back with a message that names
 * stripe, chunk, column, expected and found.  Never raises for damage.  Uses subtransactions, so it
 * can't run in parallel workers.
 */
typedef void (*VdbDamageCallback) (void *arg, const char *message);
extern void vdb_stripe_verify(Relation rel, VdbStripeAddress address, uint32 npages,
							  VdbDamageCallback callback, void *arg);

/* Statistics of the shared cache, since the server's start. */
typedef struct VdbCacheStatistics
{
	uint64		size_bytes;			/* 0: there is no shared cache */
	uint64		used_bytes;
	uint64		items;
	uint64		hits;
	uint64		misses;
	uint64		evictions;			/* items evicted to make room */
} VdbCacheStatistics;

extern void vdb_shared_cache_statistics(VdbCacheStatistics *statistics);

extern void vdb_stripe_init(void);	/* _PG_init, while preloading */

#endif							/* VDB_STRIPE_H */
