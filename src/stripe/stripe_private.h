/*-------------------------------------------------------------------------
 *
 * stripe_private.h
 *	  What the files of stripe/ share among themselves.
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

/* Offsets of the index' parts, from the counts in a header. */
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

extern void vdb_stripe_layout(const VdbStripeHeader *header, VdbStripeLayout *layout);
extern uint32 vdb_stripe_index_crc(const char *bytes, size_t len);

/* An index in memory: checked, its tables pointing into 'bytes'. */
typedef struct VdbStripeIndex
{
	VdbStripeAddress address;
	char	   *bytes;				/* one allocation, index_bytes */
	uint32	   *chunk_vectors;		/* another: first vector of each chunk, and the end */
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

/* Number, in the vector table, of vector 'vec' of column 'col' (from 0) of a chunk. */
static inline uint32
vdb_index_vector_no(const VdbStripeIndex *index, int chunk, int col, int vec)
{
	return index->chunk_vectors[chunk] +
		(uint32) col * vdb_chunk_nvectors(&index->chunks[chunk]) + (uint32) vec;
}

/* The place of the vectors of column 'col' (from 0) of a chunk. */
static inline const VdbStripePiece *
vdb_index_address(const VdbStripeIndex *index, int chunk, int col)
{
	return &index->pieces[(Size) chunk * index->header->ncolumns + col];
}

/*
 * Read and check an index into 'context'; its identity must be the metapage's.
 * ERRCODE_DATA_CORRUPTED, and then nothing is left behind in 'context'.
 */
extern void vdb_index_read(Relation rel, VdbStripeAddress address, MemoryContext context,
						   VdbStripeIndex *index);
extern void vdb_index_free(VdbStripeIndex *index);

/* The fields of a meta that a stripe's index tells; the others are zeroed. */
extern void vdb_stripe_fill_meta(const VdbStripeHeader *header, const VdbStripeChunk *chunks,
								 VdbStripeMeta *meta);

/* Chunk of a position below nrows. */
extern int	vdb_index_chunk_of(const VdbStripeIndex *index, uint32 pos);

/* Zone maps as stored, palloc'd.  ERRCODE_DATA_CORRUPTED. */
extern VdbZone *vdb_index_read_zones(const VdbStripeIndex *index, Relation rel);

/*
 * What vdb_index_read does first, alone: to see whether a cached index is still the one on flash.
 */
extern void vdb_header_read(Relation rel, BlockNumber first_page, VdbStripeHeader *header);

/* ---- one vector from flash (stripe_io.c) ---- */

/* Which vector: column attno (from 1) of a chunk of a stripe of rel, and its number in there. */
typedef struct VdbVectorAddress
{
	const VdbStripeIndex *index;
	Relation	rel;
	int			attno;
	int			chunk;
	int			vec;
} VdbVectorAddress;

/* Opened bytes and their reader, which points into them. */
typedef struct VdbOpenVector
{
	char	   *bytes;
	Size		size;				/* of the allocation */
	VdbVectorReader reader;
} VdbOpenVector;

/*
 * Read, check and open a vector.  out->bytes is reused when large enough, else
 * allocated in 'context'.  ERRCODE_DATA_CORRUPTED; 'out' then has no vector but
 * may still have its bytes.
 */
extern void vdb_vector_load(const VdbVectorAddress *at, MemoryContext context, VdbOpenVector *out);

/*
 * Its steps (stripe_io.c).  Stored bytes pass through one buffer a backend, which
 * 'trim' gives back where it grew large.
 */
#define VDB_SCRATCH_KEEP_BYTES	(1024 * 1024)
extern VdbOpenVector vdb_stripe_scratch;
extern void vdb_scratch_trim(void);

/* Make room for so many bytes; what was there is lost. */
extern void vdb_open_vector_reserve(VdbOpenVector *open, Size need, MemoryContext context);

/* A vector in the index, and where its bytes are. */
extern const VdbStripeVector *vdb_vector_find(const VdbVectorAddress *at, uint64 *offset);

/*
 * The vector whose bytes are all in scratch: is it the one that was written?
 * ERRCODE_DATA_CORRUPTED.
 */
extern void vdb_vector_check_crc(const VdbVectorAddress *at, const VdbStripeVector *vector);

/* Open the bytes in scratch to 'out'. */
extern VdbCodecStatus vdb_vector_open(size_t len, MemoryContext context, VdbOpenVector *out);

/* What came of opening a vector: go on, or raise. */
extern void vdb_vector_check_opened(const VdbVectorAddress *at, VdbCodecStatus status,
									const VdbVectorReader *reader);

/* ---- what backends share (stripe_shared.c) ---- */

/* A piece of a stripe: of one of its vectors the head (frame 0) or another frame. */
typedef struct VdbSharedKey
{
	RelFileLocator rnode;
	BlockNumber first_page;
	uint32		stripe_id;
	uint32		index_crc;			/* of the stripe's index */
	uint32		vector;
	uint32		vector_crc;
	uint32		frame;
} VdbSharedKey;

StaticAssertDecl(sizeof(VdbSharedKey) == 36, "key has no padding");

/*
 * The piece, or NULL.  If it is there, a lightweight lock is held until vdb_shared_end: copy it at
 * once, raise nothing.
 */
extern const char *vdb_shared_begin(const VdbSharedKey *key);
extern void vdb_shared_end(const VdbSharedKey *key);

extern void vdb_shared_cache_init(void);

/*
 * Enter a piece, in two parts; b may be NULL.  Does nothing if it is there already, or too large.
 * Never raises.
 */
extern void vdb_shared_put(const VdbSharedKey *key, const void *a, Size a_bytes,
						   const void *b, Size b_bytes);

/* ---- single values (stripe_point.c) ---- */

/*
 * A vector for single values.  One in frames has its head in 'bytes', and of the
 * frames those that were asked for; any other is whole.
 */
typedef struct VdbPointVector
{
	char	   *bytes;				/* whole vector, or what the part keeps and then 'frames' */
	Size		size;				/* of the allocation */
	uint8	  **frames;				/* raw bytes by frame, each palloc'd or NULL; NULL: not in
									 * frames */
	Size		frames_size;		/* of their allocations */
	VdbVectorPart part;
} VdbPointVector;

/*
 * Read and check of a vector what a single value needs first.  out->bytes must
 * be NULL.  ERRCODE_DATA_CORRUPTED; then nothing is left behind but out->bytes.
 */
extern void vdb_point_load(const VdbVectorAddress *at, MemoryContext context, VdbPointVector *out);

/* Read, check and decompress one more frame into out->frames.  ERRCODE_DATA_CORRUPTED. */
extern void vdb_point_load_frame(const VdbVectorAddress *at, uint32 frame, MemoryContext context,
								 VdbPointVector *out);
extern void vdb_point_free(VdbPointVector *point);

/*
 * The head or a frame where it lies in the shared cache, if it is there: no copy.  Then a
 * lightweight lock is held until vdb_shared_end(key); raise nothing meanwhile.  The part's pointers
 * are into shared memory.
 */
extern bool vdb_point_pin(const VdbVectorAddress *at, VdbVectorPart *part, VdbSharedKey *key);
extern const uint8 *vdb_point_pin_frame(const VdbVectorAddress *at, uint32 frame,
										VdbSharedKey *key);

extern VdbCodecWorkspace *vdb_stripe_workspace(void);

pg_noreturn extern void vdb_stripe_damaged(Relation rel, VdbStripeAddress address,
										   const char *detail);
pg_noreturn extern void vdb_vector_damaged(const VdbVectorAddress *at, const char *what);

/* Datum of an integer that came from the codec. */
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

/* Decoded runs of one xmin block: those of the block last asked for. */
typedef struct VdbXminRuns
{
	int			block;
	uint32		nruns;
	uint32		ends[VDB_VECTOR_ROWS];	/* position after each run */
	int64		xmins[VDB_VECTOR_ROWS];
	int64		cmins[VDB_VECTOR_ROWS];
} VdbXminRuns;

typedef struct VdbStripeKey
{
	RelFileLocator rnode;
	ProcNumber	backend;
	BlockNumber first_page;
	uint32		stripe_id;
} VdbStripeKey;

/* A cached vector; linked to its stripe by the stripe's array. */
typedef struct VdbCachedVector
{
	dlist_node	lru;
	uint64		stamp;
	VdbStripe  *stripe;
	uint32		number;				/* in stripe->cached */
	VdbPointVector point;
} VdbCachedVector;

struct VdbStripe
{
	VdbStripeKey key;
	Oid			relid;
	uint64		serial;				/* never used twice in a backend */
	bool		hashed;				/* false: forgotten, goes with its last reference */
	VdbStripeIndex index;
	int16		lb_entry[VDB_RANGE_LBS];	/* entry of an LB in index.lbs, or -1 */
	int16		lb_bitmap[VDB_RANGE_LBS];	/* its bitmap, or -1 */
	VdbCachedVector **cached;		/* by vector number; made at first use */
	uint32	   *asked;				/* by column: number + 1 of the vector asked for last; made
									 * at first use */
	VdbXminRuns *runs;				/* made at first use */
	Size		bytes;				/* counted for this stripe without its vectors */
	uint32		refcount;
	dlist_head	refs;				/* VdbStripeRef, one per resource owner */
	dlist_node	link;				/* in the list of used or of unused stripes */
	uint64		stamp;
};

/* A vector of the cache, and what it takes to read more of it: vdb_cache_frame's 'arg' */
typedef struct VdbVectorAsk
{
	VdbStripe  *stripe;
	VdbVectorAddress at;			/* in 'stripe' */
	bool		own;				/* nothing is to be pinned */
	VdbCachedVector *vector;		/* set by vdb_cache_vector; NULL: what follows is pinned */
	VdbVectorPart part;
	VdbSharedKey part_key;
	VdbSharedKey frame_key;
	bool		frame_pinned;
	bool		frame_missing;		/* a frame couldn't be pinned: ask again, with 'own' */
} VdbVectorAsk;

/*
 * The vector asked for, to be read by its position; valid until the next call.  It may be pinned
 * from the shared cache: call vdb_cache_done before anything that may raise, and copy what is by
 * reference before.
 */
extern const VdbVectorPart *vdb_cache_vector(VdbVectorAsk *ask);
extern void vdb_cache_done(VdbVectorAsk *ask);

static inline bool
vdb_ask_pinned(const VdbVectorAsk *ask)
{
	return ask->vector == NULL;
}

/* VdbFrameGet for it */
extern VdbCodecStatus vdb_cache_frame(void *arg, uint32 frame, const uint8 **raw);

/* The vector if it is cached and all of it is there, else NULL. */
extern const VdbVectorReader *vdb_cache_peek(VdbStripe *stripe, const VdbVectorAddress *at);

/* Memory that lives as long as the stripe's entry, zeroed, counted against the limit. */
extern void *vdb_cache_alloc(VdbStripe *stripe, Size size);

/* ---- zone maps (stripe_stats.c) ---- */

/* How to make zone maps of one column. */
typedef struct VdbZoneMethod
{
	bool		usable;				/* else only nulls are counted */
	bool		as_integer;			/* order of the int64s is the order of the type */
	bool		byval;
	int16		typlen;
	bool		short_header;		/* varlena images may have it */
	Oid			collation;
	FmgrInfo	cmp;
} VdbZoneMethod;

extern void vdb_zone_method_init(VdbZoneMethod *method, Form_pg_attribute att,
								 MemoryContext context);
extern void vdb_zone_of_ints(VdbZoneMethod *method, uint16 width, const int64 *values,
							 const uint8 *nulls, uint32 count, VdbZone *zone);

/* Value number i of a chunk as a Datum, for types by reference. */
typedef Datum (*VdbZoneFetch) (const void *source, uint32 i);
extern void vdb_zone_of_refs(VdbZoneMethod *method, VdbZoneFetch fetch, const void *source,
							 const uint8 *nulls, uint32 count, VdbZone *zone);

static inline bool
vdb_null_bit(const uint8 *nulls, uint32 i)
{
	return (nulls[i >> 3] >> (i & 7)) & 1;
}

#endif							/* VDB_STRIPE_PRIVATE_H */
