/*-------------------------------------------------------------------------
 *
 * stripe_private.h
 *	  Declarations shared by the files of stripe/ only.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_STRIPE_PRIVATE_H
#define VDB_STRIPE_PRIVATE_H

#include "fmgr.h"
#include "lib/ilist.h"

#include "codec/codec.h"
#include "stripe/stripe_format.h"

StaticAssertDecl(VDB_VECTOR_ROWS == VDB_VEC_MAX_COUNT, "a vector is what the codec takes");

#define VDB_STRIPE_ALIGN(n)		(((uint64) (n) + 7) & ~(uint64) 7)

/* ---- layout of the index (stripe_io.c) ---- */

/* Offsets of the parts of an index, computed from the counts in a header. */
typedef struct VdbStripeLayout
{
	uint64		lbs;
	uint64		bitmaps;
	uint64		xmins;
	uint64		xmin_vectors;
	uint64		chunks;
	uint64		columns;
	uint64		pieces;
	uint64		vectors;
	uint64		end;				/* index_bytes */
} VdbStripeLayout;

/* Compute the layout of an index from the counts in its header. */
extern void vdb_stripe_layout(const VdbStripeHeader *header, VdbStripeLayout *layout);
extern uint32 vdb_stripe_index_crc(const char *bytes, size_t len);

/* An index in memory.  It was checked, and its tables point into 'bytes'. */
typedef struct VdbStripeIndex
{
	VdbStripeAddress address;
	char	   *bytes;				/* one allocation of vdb_index_size bytes */
	uint32	   *chunk_vectors;		/* in it, past the index: first vector of each chunk, and the
									 * end */
	const VdbStripeHeader *header;
	const VdbStripeLb *lbs;
	const VdbRowSet *bitmaps;
	const VdbStripeXmins *xmins;
	const uint8 *xmin_vectors;
	const VdbStripeChunk *chunks;
	const VdbStripeColumn *columns;
	const VdbStripePiece *pieces;
	const VdbStripeVector *vectors;
} VdbStripeIndex;

static inline uint32
vdb_chunk_nvectors(const VdbStripeChunk *chunk)
{
	return (chunk->nrows + VDB_VECTOR_ROWS - 1) / VDB_VECTOR_ROWS;
}

/* Return the number, in the vector table, of vector 'vec' of column 'col' (from 0) of a chunk. */
static inline uint32
vdb_index_vector_no(const VdbStripeIndex *index, int chunk, int col, int vec)
{
	return index->chunk_vectors[chunk] +
		(uint32) col * vdb_chunk_nvectors(&index->chunks[chunk]) + (uint32) vec;
}

/* Return the address of the vectors of column 'col' (from 0) of a chunk. */
static inline const VdbStripePiece *
vdb_index_address(const VdbStripeIndex *index, int chunk, int col)
{
	return &index->pieces[(Size) chunk * index->header->ncolumns + col];
}

/*
 * Read and check an index into 'context'.  Its identity must be the metapage's.  Raises
 * ERRCODE_DATA_CORRUPTED, and then leaves nothing behind in 'context'.
 */
extern void vdb_index_read(Relation rel, VdbStripeAddress address, MemoryContext context,
						   VdbStripeIndex *index);
extern void vdb_index_free(VdbStripeIndex *index);

/* Return the bytes of an index in memory, given its header. */
extern Size vdb_index_size(const VdbStripeHeader *header);

/* Set the pointers to the tables of an index whose 'bytes' are set. */
extern void vdb_index_set_tables(VdbStripeIndex *index);

/*
 * Do as vdb_index_read does, but take the index from the shared cache if it is there, and put it
 * there if not (stripe_index.c).  The contents of the shared cache were checked.
 */
extern void vdb_index_load(Relation rel, VdbStripeAddress address, MemoryContext context,
						   VdbStripeIndex *index);

/* Fill the fields of a meta that follow from a stripe's index, and zero the others. */
extern void vdb_stripe_fill_meta(const VdbStripeHeader *header, const VdbStripeChunk *chunks,
								 VdbStripeMeta *meta);

/* Return the chunk of a position below nrows. */
extern int	vdb_index_chunk_of(const VdbStripeIndex *index, uint32 pos);

/* Read and check zone maps; the result is palloc'd.  Raises ERRCODE_DATA_CORRUPTED. */
extern VdbZone *vdb_index_read_zones(const VdbStripeIndex *index, Relation rel);

/* ---- one vector from flash (stripe_io.c) ---- */

/* Address of a vector: its number in a chunk's column attno (from 1) of a stripe of rel. */
typedef struct VdbVectorAddress
{
	const VdbStripeIndex *index;
	Relation	rel;
	int			attno;
	int			chunk;
	int			vec;
} VdbVectorAddress;

/* Opened bytes, with a reader that points into them. */
typedef struct VdbOpenVector
{
	char	   *bytes;
	Size		size;				/* of the allocation */
	VdbVectorReader reader;
} VdbOpenVector;

/*
 * Read, check and open a vector.  out->bytes is reused if it is large enough, else allocated in
 * 'context'.  Raises ERRCODE_DATA_CORRUPTED; 'out' then has no vector but may still have its bytes.
 */
extern void vdb_vector_load(const VdbVectorAddress *at, MemoryContext context, VdbOpenVector *out);

/*
 * The steps of vdb_vector_load.  Stored bytes pass through vdb_stripe_scratch, one buffer in a
 * backend.  vdb_scratch_trim frees it if it has grown beyond VDB_SCRATCH_KEEP_BYTES.
 */
#define VDB_SCRATCH_KEEP_BYTES	(1024 * 1024)
extern VdbOpenVector vdb_stripe_scratch;
extern void vdb_scratch_trim(void);

/* Make room for 'need' bytes.  The previous contents are lost. */
extern void vdb_open_vector_reserve(VdbOpenVector *open, Size need, MemoryContext context);

/* Find a vector in the index, and the offset of its bytes in the stripe. */
extern const VdbStripeVector *vdb_vector_find(const VdbVectorAddress *at, uint64 *offset);

/* Check the CRC of a vector whose bytes are all in scratch.  Raises ERRCODE_DATA_CORRUPTED. */
extern void vdb_vector_check_crc(const VdbVectorAddress *at, const VdbStripeVector *vector);

/* Open the 'len' bytes in scratch to 'out'. */
extern VdbCodecStatus vdb_vector_open(size_t len, MemoryContext context, VdbOpenVector *out);

/* Check the result of opening a vector.  Raises ERRCODE_DATA_CORRUPTED if it is not a good one. */
extern void vdb_vector_check_opened(const VdbVectorAddress *at, VdbCodecStatus status,
									const VdbVectorReader *reader);

/* ---- the shared cache (stripe_shared.c) ---- */

/*
 * Key of a piece of a stripe: the head (frame 0) or another frame of one of its vectors, or its
 * index.
 */
typedef struct VdbSharedKey
{
	RelFileLocator rnode;
	BlockNumber first_page;
	uint32		stripe_id;
	uint32		index_crc;			/* of the stripe's index; index: written_at, low half */
	uint32		vector;				/* its number in vector table, or VDB_SHARED_INDEX */
	uint32		vector_crc;			/* index: written_at, high half */
	uint32		frame;
} VdbSharedKey;

#define VDB_SHARED_INDEX	PG_UINT32_MAX

StaticAssertDecl(sizeof(VdbSharedKey) == 36, "key has no padding");

/*
 * Find a piece in the shared cache.  Returns NULL if it isn't there.  Otherwise a lightweight lock
 * is held until vdb_shared_end: copy the piece at once, and raise nothing meanwhile.
 */
extern const char *vdb_shared_begin(const VdbSharedKey *key);
extern void vdb_shared_end(const VdbSharedKey *key);

/*
 * Return whether the relation's pieces may be shared: other backends must be able to read its file.
 */
static inline bool
vdb_may_share(Relation rel)
{
	return rel->rd_backend == INVALID_PROC_NUMBER;
}

/* Request shared memory; called by _PG_init while preloading. */
extern void vdb_shared_cache_init(void);

/*
 * Enter a piece, given in two parts; b may be NULL.  Does nothing if the piece is there already, or
 * is too large.  Never raises.
 */
extern void vdb_shared_put(const VdbSharedKey *key, const void *a, Size a_bytes,
						   const void *b, Size b_bytes);

/* ---- single values (stripe_point.c) ---- */

/*
 * A vector for single values.  If it is in frames, 'bytes' holds its head, and 'frames' those
 * frames that were asked for.  Any other vector is held as a whole.
 */
typedef struct VdbPointVector
{
	char	   *bytes;				/* whole vector, or what the part keeps, then 'frames' */
	Size		size;				/* of the allocation */
	uint8	  **frames;				/* raw bytes by frame, each palloc'd or NULL; NULL: the vector
									 * is not in frames */
	Size		frames_size;		/* bytes of their allocations */
	VdbVectorPart part;
} VdbPointVector;

/*
 * Read and check those bytes of a vector that a single value needs first.  out->bytes must be NULL.
 * Raises ERRCODE_DATA_CORRUPTED, and then leaves nothing behind but out->bytes.
 */
extern void vdb_point_load(const VdbVectorAddress *at, MemoryContext context, VdbPointVector *out);

/* Read, check and decompress one more frame into out->frames.  Raises ERRCODE_DATA_CORRUPTED. */
extern void vdb_point_load_frame(const VdbVectorAddress *at, uint32 frame, MemoryContext context,
								 VdbPointVector *out);

/* Free all memory of a vector, which may be empty or left over from an error. */
extern void vdb_point_free(VdbPointVector *point);

/*
 * Find the head of a vector, or a frame, in the shared cache without copying it.  If it is there, a
 * lightweight lock is held until vdb_shared_end(key), so raise nothing meanwhile.  The part's
 * pointers lead into shared memory.
 */
extern bool vdb_point_pin(const VdbVectorAddress *at, VdbVectorPart *part, VdbSharedKey *key);
extern const uint8 *vdb_point_pin_frame(const VdbVectorAddress *at, uint32 frame,
										VdbSharedKey *key);

/* Return the codec's workspace for decoding, one in a backend. */
extern VdbCodecWorkspace *vdb_stripe_workspace(void);

/* Raise ERRCODE_DATA_CORRUPTED for a stripe, or for a vector. */
pg_noreturn extern void vdb_stripe_damaged(Relation rel, VdbStripeAddress address,
										   const char *detail);
pg_noreturn extern void vdb_vector_damaged(const VdbVectorAddress *at, const char *what);

/* Return the Datum of an integer that the codec returned. */
static inline Datum
vdb_int_datum(int64 value, uint16 width)
{
	switch (width)
	{
		case 1:
			return CharGetDatum((char) value);
		case 2:
			return Int16GetDatum((int16) value);
		case 4:
			return Int32GetDatum((int32) value);
		default:
			Assert(width == 8);
			return Int64GetDatum(value);
	}
}

/* Return the integer that the codec encodes for a Datum. */
static inline int64
vdb_datum_int(Datum value, uint16 width)
{
	switch (width)
	{
		case 1:
			return (int64) (int8) DatumGetChar(value);
		case 2:
			return (int64) DatumGetInt16(value);
		case 4:
			return (int64) DatumGetInt32(value);
		default:
			Assert(width == 8);
			return DatumGetInt64(value);
	}
}

/* ---- the cache (stripe_cache.c) ---- */

/* Decoded runs of one xmin block of one stripe, the one last asked for; one in a backend. */
typedef struct VdbXminRuns
{
	uint64		serial;				/* that of the stripe, or 0 */
	int			block;				/* number of the block */
	uint32		nruns;
	uint32		ends[VDB_VECTOR_ROWS];	/* position after each run */
	int64		xmins[VDB_VECTOR_ROWS];
	int64		cmins[VDB_VECTOR_ROWS];
} VdbXminRuns;

/* Key of a stripe in the backend's cache. */
typedef struct VdbStripeKey
{
	RelFileLocator rnode;
	ProcNumber	backend;
	BlockNumber first_page;
	uint32		stripe_id;
	int64		written_at;
} VdbStripeKey;

/* A cached vector, which its stripe's array refers to. */
typedef struct VdbCachedVector
{
	dlist_node	lru;				/* in the list of vectors */
	uint64		stamp;				/* time of the last touch, by the cache's clock */
	VdbStripe  *stripe;
	uint32		number;				/* in stripe->cached */
	VdbPointVector point;
} VdbCachedVector;

/* An open stripe: its entry in the backend's cache. */
struct VdbStripe
{
	VdbStripeKey key;
	uint64		serial;				/* never used twice in a backend */
	bool		hashed;				/* false: forgotten, freed with its last reference */
	VdbStripeIndex index;
	int16		lb_entry[VDB_RANGE_LBS];	/* by LB: its entry in index.lbs, or -1 */
	int16		lb_bitmap[VDB_RANGE_LBS];	/* by LB: its bitmap, or -1 */
	VdbCachedVector **cached;		/* by vector number; allocated when the first is cached */
	uint32	   *asked;				/* by column: number + 1 of the vector last asked for;
									 * allocated at first use */
	Size		bytes;				/* bytes counted for this stripe without its vectors */
	uint32		refcount;
	dlist_head	refs;				/* VdbStripeRef, one per resource owner */
	dlist_node	link;				/* in the list of used or of unused stripes */
	uint64		stamp;				/* time of the last touch, by the cache's clock */
};

/*
 * Request for a vector of the cache, and the state of reading more of it ('arg' of
 * vdb_cache_frame).
 */
typedef struct VdbVectorAsk
{
	VdbStripe  *stripe;
	VdbVectorAddress at;			/* in 'stripe' */
	bool		own;				/* pin nothing */
	VdbCachedVector *vector;		/* set by vdb_cache_vector; NULL: the part is pinned */
	VdbVectorPart part;
	VdbSharedKey part_key;
	VdbSharedKey frame_key;
	bool		frame_pinned;
	bool		frame_missing;		/* a frame couldn't be pinned: ask again, with 'own' */
} VdbVectorAsk;

/*
 * Return the vector asked for, to be read by position.  It is valid until the next call.  It may be
 * pinned in the shared cache: before anything that may raise, copy by-reference values and call
 * vdb_cache_done.
 */
extern const VdbVectorPart *vdb_cache_vector(VdbVectorAsk *ask);

/* Release what the request has pinned. */
extern void vdb_cache_done(VdbVectorAsk *ask);

/* Return whether the part is pinned in the shared cache. */
static inline bool
vdb_ask_pinned(const VdbVectorAsk *ask)
{
	return ask->vector == NULL;
}

/* Callback VdbFrameGet for such a vector. */
extern VdbCodecStatus vdb_cache_frame(void *arg, uint32 frame, const uint8 **raw);

/* Return a vector's reader if the cache holds all of the vector, else NULL. */
extern const VdbVectorReader *vdb_cache_peek(VdbStripe *stripe, const VdbVectorAddress *at);

/* ---- zone maps (stripe_stats.c) ---- */

/* How to make zone maps of one column. */
typedef struct VdbZoneMethod
{
	bool		usable;				/* false: only nulls are counted */
	bool		as_integer;			/* the order of the int64s is the order of the type */
	bool		byval;
	int16		typlen;
	bool		short_header;		/* varlena images may have a short header */
	Oid			collation;
	FmgrInfo	cmp;
} VdbZoneMethod;

extern void vdb_zone_method_init(VdbZoneMethod *method, Form_pg_attribute att,
								 MemoryContext context);
extern void vdb_zone_of_ints(VdbZoneMethod *method, uint16 width, const int64 *values,
							 const uint8 *nulls, uint32 count, VdbZone *zone);

/* Callback: return value i of a chunk as a Datum, for by-reference types. */
typedef Datum (*VdbZoneFetch) (const void *source, uint32 i);
extern void vdb_zone_of_refs(VdbZoneMethod *method, VdbZoneFetch fetch, const void *source,
							 const uint8 *nulls, uint32 count, VdbZone *zone);

/* Return whether row i is null. */
static inline bool
vdb_null_bit(const uint8 *nulls, uint32 i)
{
	return (nulls[i >> 3] >> (i & 7)) & 1;
}

#endif							/* VDB_STRIPE_PRIVATE_H */
