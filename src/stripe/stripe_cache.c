/*-------------------------------------------------------------------------
 *
 * stripe_cache.c
 *	  A backend's open stripes and pieces of vectors, within vdb.stripe_cache.
 *
 * A stripe's entry is its checked index; it hangs on one of two lists: 'used'
 * (someone holds a reference) or 'unused'.  Opened vectors hang on a list of
 * their own and in their stripe's array, so finding one costs two loads.
 * Vectors aren't pinned: a by-reference value taken from one is valid until
 * the next call into stripe/, which may evict.  When memory exceeds the limit,
 * the vector or unused stripe that was touched longest ago goes.
 *
 * References belong to the resource owner that was current when they were
 * taken.  When it is released, by abort or by end of transaction, so are they.
 *
 * Entries are keyed by place in the file and stripe id, which is unique in a
 * table for ever.  A file number may come again after a table was dropped, so
 * an entry that meets another table oid is compared with its header on flash.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "base/vdb_guc.h"
#include "stripe/stripe_private.h"

typedef struct VdbStripeRef
{
	dlist_node	node;
	ResourceOwner owner;
	uint32		count;
} VdbStripeRef;

typedef struct VdbStripeHashEntry
{
	VdbStripeKey key;
	VdbStripe  *stripe;
} VdbStripeHashEntry;

StaticAssertDecl(sizeof(VdbStripeKey) == 24, "key has no padding");

typedef struct VdbStripeCache
{
	MemoryContext context;
	HTAB	   *hash;
	dlist_head	used;
	dlist_head	unused;				/* last released first */
	dlist_head	vectors;			/* last touched first */
	Size		bytes;
	uint64		clock;				/* counts touches */
	uint64		serial;				/* of the stripe entry last made */
	VdbPointVector loading;			/* so that an error while loading leaks nothing */
} VdbStripeCache;

static VdbStripeCache cache;

static void
cache_create(void)
{
	HASHCTL		ctl = {0};

	if (cache.hash != NULL)
		return;
	if (cache.context == NULL)
		cache.context = AllocSetContextCreate(TopMemoryContext, "VDB stripe cache",
											  ALLOCSET_DEFAULT_SIZES);
	dlist_init(&cache.used);
	dlist_init(&cache.unused);
	dlist_init(&cache.vectors);
	ctl.keysize = sizeof(VdbStripeKey);
	ctl.entrysize = sizeof(VdbStripeHashEntry);
	ctl.hcxt = cache.context;
	cache.hash = hash_create("VDB stripes", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static Size
cache_limit(void)
{
	return (Size) vdb_stripe_cache_mb * 1024 * 1024;
}

/* ---- freeing ---- */

/* What a vector counts for */
static Size
vector_size(const VdbCachedVector *vector)
{
	return sizeof(VdbCachedVector) + vector->point.size + vector->point.frames_size;
}

static void
vector_free(VdbCachedVector *vector)
{
	Assert(vector->stripe->cached[vector->number] == vector);
	Assert(cache.bytes >= vector_size(vector));

	vector->stripe->cached[vector->number] = NULL;
	dlist_delete(&vector->lru);
	cache.bytes -= vector_size(vector);
	vdb_point_free(&vector->point);
	pfree(vector);
}

static void
stripe_unhash(VdbStripe *stripe)
{
	if (!stripe->hashed)
		return;
	hash_search(cache.hash, &stripe->key, HASH_REMOVE, NULL);
	stripe->hashed = false;
}

/* Free an unreferenced stripe with all its vectors. */
static void
stripe_free(VdbStripe *stripe)
{
	Assert(stripe->refcount == 0);
	Assert(dlist_is_empty(&stripe->refs));

	stripe_unhash(stripe);
	dlist_delete(&stripe->link);
	if (stripe->cached != NULL)
	{
		for (uint32 i = 0; i < stripe->index.header->nvectors; i++)
		{
			if (stripe->cached[i] != NULL)
				vector_free(stripe->cached[i]);
		}
		pfree(stripe->cached);
	}
	if (stripe->asked != NULL)
		pfree(stripe->asked);
	if (stripe->runs != NULL)
		pfree(stripe->runs);

	Assert(cache.bytes >= stripe->bytes);
	cache.bytes -= stripe->bytes;
	vdb_index_free(&stripe->index);
	pfree(stripe);
}

/* Get below the limit, but leave 'keep' alone (it is in use; may be NULL). */
static void
cache_trim(const VdbCachedVector *keep)
{
	while (cache.bytes > cache_limit())
	{
		VdbCachedVector *vector = NULL;
		VdbStripe  *stripe = NULL;

		if (!dlist_is_empty(&cache.vectors))
			vector = dlist_tail_element(VdbCachedVector, lru, &cache.vectors);
		if (vector == keep)
			vector = NULL;
		if (!dlist_is_empty(&cache.unused))
			stripe = dlist_tail_element(VdbStripe, link, &cache.unused);

		if (vector == NULL && stripe == NULL)
			return;				/* all that is left is in use */
		if (stripe == NULL || (vector != NULL && vector->stamp < stripe->stamp))
			vector_free(vector);
		else
			stripe_free(stripe);
	}
}

/* ---- references ---- */

/* The reference of an owner, or NULL. */
static VdbStripeRef *
ref_find(VdbStripe *stripe, ResourceOwner owner)
{
	dlist_iter	iter;

	dlist_foreach(iter, &stripe->refs)
	{
		VdbStripeRef *ref = dlist_container(VdbStripeRef, node, iter.cur);

		if (ref->owner == owner)
			return ref;
	}
	return NULL;
}

/* Give back 'count' references that 'ref' stands for. */
static void
ref_drop(VdbStripe *stripe, VdbStripeRef *ref, uint32 count)
{
	Assert(ref->count >= count && stripe->refcount >= count);

	ref->count -= count;
	if (ref->count == 0)
	{
		dlist_delete(&ref->node);
		pfree(ref);
	}

	stripe->refcount -= count;
	if (stripe->refcount > 0)
		return;

	dlist_delete(&stripe->link);
	dlist_push_head(&cache.unused, &stripe->link);
	stripe->stamp = ++cache.clock;
	if (!stripe->hashed)
		stripe_free(stripe);
}

VdbStripe *
vdb_stripe_retain(VdbStripe *stripe)
{
	VdbStripeRef *ref = ref_find(stripe, CurrentResourceOwner);

	if (ref == NULL)
	{
		ref = MemoryContextAlloc(cache.context, sizeof(VdbStripeRef));
		ref->owner = CurrentResourceOwner;
		ref->count = 0;
		dlist_push_head(&stripe->refs, &ref->node);
	}
	ref->count++;

	if (stripe->refcount++ == 0)
	{
		dlist_delete(&stripe->link);
		dlist_push_head(&cache.used, &stripe->link);
	}
	return stripe;
}

/*
 * Usually the current owner's reference; another one's when the holder was
 * made under another owner than it is ended (a slot that outlived its portal).
 */
void
vdb_stripe_release(VdbStripe *stripe)
{
	VdbStripeRef *ref = ref_find(stripe, CurrentResourceOwner);

	if (ref == NULL)
	{
		if (dlist_is_empty(&stripe->refs))
			elog(ERROR, "stripe %u released more often than retained",
				 stripe->key.stripe_id);
		ref = dlist_head_element(VdbStripeRef, node, &stripe->refs);
	}
	ref_drop(stripe, ref, 1);
	cache_trim(NULL);			/* one large vector may exceed the limit while used */
}

/* Resource owner release: what an owner still holds goes with it. */
static void
stripe_owner_released(ResourceReleasePhase phase, bool isCommit, bool isTopLevel, void *arg)
{
	dlist_mutable_iter iter;

	if (phase != RESOURCE_RELEASE_AFTER_LOCKS || cache.hash == NULL)
		return;

	dlist_foreach_modify(iter, &cache.used)
	{
		VdbStripe  *stripe = dlist_container(VdbStripe, link, iter.cur);
		VdbStripeRef *ref = ref_find(stripe, CurrentResourceOwner);

		if (ref == NULL)
			continue;
#ifdef USE_ASSERT_CHECKING
		if (isCommit)
			elog(WARNING,
				 "stripe reference leak: stripe %u at page %u of file %u still has %u references",
				 stripe->key.stripe_id, stripe->key.first_page,
				 stripe->key.rnode.relNumber, ref->count);
#endif
		ref_drop(stripe, ref, ref->count);
	}
	cache_trim(NULL);
}

void
vdb_stripe_init(void)
{
	vdb_shared_cache_init();
	RegisterResourceReleaseCallback(stripe_owner_released, NULL);
}

/* ---- stripes ---- */

/* Tables for vdb_stripe_lb: LB index to its entry and bitmap. */
static void
stripe_index_lbs(VdbStripe *stripe)
{
	int16		bitmap = 0;

	memset(stripe->lb_entry, 0xFF, sizeof(stripe->lb_entry));
	memset(stripe->lb_bitmap, 0xFF, sizeof(stripe->lb_bitmap));
	for (int16 i = 0; i < (int16) stripe->index.header->nlbs; i++)
	{
		const VdbStripeLb *lb = &stripe->index.lbs[i];

		stripe->lb_entry[lb->lb_index] = i;
		if (lb->nrows > 0 && lb->nrows < VDB_LB_ROWS)
			stripe->lb_bitmap[lb->lb_index] = bitmap++;
	}
	Assert(bitmap == stripe->index.header->nbitmaps);
}

/* Read a stripe's index and enter it, unused. */
static VdbStripe *
stripe_load(Relation rel, const VdbStripeKey *key, uint32 range)
{
	VdbStripeIndex index;
	VdbStripe  *stripe;
	VdbStripeHashEntry *entry;
	bool		found;

	VdbStripeAddress address = {key->first_page, key->stripe_id, range};

	vdb_index_read(rel, address, cache.context, &index);

	stripe = MemoryContextAllocZero(cache.context, sizeof(VdbStripe));
	stripe->key = *key;
	stripe->relid = RelationGetRelid(rel);
	stripe->serial = ++cache.serial;
	stripe->index = index;
	stripe->stamp = ++cache.clock;
	stripe->bytes = sizeof(VdbStripe) + index.header->index_bytes +
		(index.header->nchunks + 1) * sizeof(uint32);
	stripe_index_lbs(stripe);
	dlist_init(&stripe->refs);
	dlist_push_head(&cache.unused, &stripe->link);
	cache.bytes += stripe->bytes;

	entry = hash_search(cache.hash, key, HASH_ENTER, &found);
	Assert(!found);
	entry->stripe = stripe;
	stripe->hashed = true;
	return stripe;
}

/* Take an entry out; it lives on while referenced. */
static void
stripe_forget(VdbStripe *stripe)
{
	if (stripe->refcount == 0)
		stripe_free(stripe);
	else
		stripe_unhash(stripe);
}

/* A cached stripe under another table's oid: is it what lies in the file now? */
static bool
stripe_revalidate(VdbStripe *stripe, Relation rel)
{
	VdbStripeHeader header;

	vdb_header_read(rel, stripe->key.first_page, &header);
	if (memcmp(&header, stripe->index.header, sizeof(header)) != 0)
		return false;
	stripe->relid = RelationGetRelid(rel);
	return true;
}

VdbStripe *
vdb_stripe_open(Relation rel, VdbStripeAddress address)
{
	VdbStripeKey key = {
		.rnode = rel->rd_locator,
		.backend = rel->rd_backend,
		.first_page = address.first_page,
		.stripe_id = address.stripe_id
	};
	VdbStripeHashEntry *entry;
	VdbStripe  *stripe;

	cache_create();
	entry = hash_search(cache.hash, &key, HASH_FIND, NULL);
	stripe = entry != NULL ? entry->stripe : NULL;

	if (stripe != NULL && stripe->relid != RelationGetRelid(rel) &&
		!stripe_revalidate(stripe, rel))
	{
		stripe_forget(stripe);
		stripe = NULL;
	}
	if (stripe == NULL)
		stripe = stripe_load(rel, &key, address.range);

	if (stripe->index.header->range != address.range)
		vdb_stripe_damaged(rel, address,
						   psprintf("Expected range %u, found range %u.",
									address.range, stripe->index.header->range));
	vdb_stripe_retain(stripe);
	stripe->stamp = ++cache.clock;
	cache_trim(NULL);
	return stripe;
}

void
vdb_stripe_forget(Relation rel)
{
	HASH_SEQ_STATUS status;
	VdbStripeHashEntry *entry;

	if (cache.hash == NULL)
		return;

	/* Removing the entry just returned is allowed during a scan. */
	hash_seq_init(&status, cache.hash);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		if (RelFileLocatorEquals(entry->key.rnode, rel->rd_locator) &&
			entry->key.backend == rel->rd_backend)
			stripe_forget(entry->stripe);
	}
}

void *
vdb_cache_alloc(VdbStripe *stripe, Size size)
{
	void	   *memory = MemoryContextAllocExtended(cache.context, size,
													MCXT_ALLOC_ZERO | MCXT_ALLOC_HUGE);

	stripe->bytes += size;
	cache.bytes += size;
	return memory;
}

/* ---- vectors ---- */

static inline void
vector_touch(VdbCachedVector *vector)
{
	vector->stamp = ++cache.clock;
	dlist_move_head(&cache.vectors, &vector->lru);
}

const VdbVectorReader *
vdb_cache_peek(VdbStripe *stripe, const VdbVectorAddress *at)
{
	VdbCachedVector *vector;

	if (stripe->cached == NULL)
		return NULL;
	vector = stripe->cached[vdb_index_vector_no(&stripe->index, at->chunk, at->attno - 1, at->vec)];
	if (vector == NULL || vector->point.part.reader.tail_bytes > 0)
		return NULL;
	vector_touch(vector);
	return &vector->point.part.reader;
}

/* Read what a vector's values need first, and enter it. */
static VdbCachedVector *
vector_load(const VdbVectorAsk *ask, uint32 number)
{
	VdbStripe  *stripe = ask->stripe;
	VdbCachedVector *vector;

	/* Left over from an error. */
	vdb_point_free(&cache.loading);
	vdb_point_load(&ask->at, cache.context, &cache.loading);

	vector = MemoryContextAlloc(cache.context, sizeof(VdbCachedVector));
	vector->stripe = stripe;
	vector->number = number;
	vector->stamp = ++cache.clock;
	vector->point = cache.loading;
	memset(&cache.loading, 0, offsetof(VdbPointVector, part));

	Assert(stripe->cached[number] == NULL);
	stripe->cached[number] = vector;
	dlist_push_head(&cache.vectors, &vector->lru);
	cache.bytes += vector_size(vector);
	return vector;
}

static void
make_arrays(VdbStripe *stripe)
{
	const VdbStripeHeader *header = stripe->index.header;

	if (stripe->cached == NULL)
		stripe->cached = vdb_cache_alloc(stripe, header->nvectors * sizeof(VdbCachedVector *));
	if (stripe->asked == NULL)
		stripe->asked = vdb_cache_alloc(stripe, header->ncolumns * sizeof(uint32));
}

/*
 * A vector that isn't here is pinned, if it can be, unless it is asked for a
 * second time in a row: then more will be asked of it, and it is worth a copy.
 */
const VdbVectorPart *
vdb_cache_vector(VdbVectorAsk *ask)
{
	VdbStripe  *stripe = ask->stripe;
	const VdbVectorAddress *at = &ask->at;
	uint32		number = vdb_index_vector_no(&stripe->index, at->chunk, at->attno - 1, at->vec);
	uint32	   *asked;

	Assert(stripe->refcount > 0);
	make_arrays(stripe);
	asked = &stripe->asked[at->attno - 1];
	ask->frame_pinned = ask->frame_missing = false;
	ask->vector = stripe->cached[number];
	if (ask->vector == NULL && !ask->own && *asked != number + 1)
	{
		*asked = number + 1;
		if (vdb_point_pin(&ask->at, &ask->part, &ask->part_key))
			return &ask->part;
	}
	if (ask->vector != NULL)
		vector_touch(ask->vector);
	else
	{
		ask->vector = vector_load(ask, number);
		cache_trim(ask->vector);
	}
	return &ask->vector->point.part;
}

static void
return_frame(VdbVectorAsk *ask)
{
	if (ask->frame_pinned)
		vdb_shared_end(&ask->frame_key);
	ask->frame_pinned = false;
}

/* Give back what was pinned. */
void
vdb_cache_done(VdbVectorAsk *ask)
{
	if (!vdb_ask_pinned(ask))
		return;
	return_frame(ask);
	vdb_shared_end(&ask->part_key);
}

/* Of a pinned vector frames are pinned too; one that isn't there ends it. */
static VdbCodecStatus
pin_frame(VdbVectorAsk *ask, uint32 frame, const uint8 **raw)
{
	return_frame(ask);
	*raw = vdb_point_pin_frame(&ask->at, frame, &ask->frame_key);
	ask->frame_pinned = *raw != NULL;
	ask->frame_missing = *raw == NULL;
	return ask->frame_pinned ? VDB_CODEC_OK : VDB_CODEC_CORRUPT;
}

VdbCodecStatus
vdb_cache_frame(void *arg, uint32 frame, const uint8 **raw)
{
	VdbVectorAsk *ask = arg;
	VdbCachedVector *vector = ask->vector;
	VdbPointVector *point;

	if (vdb_ask_pinned(ask))
		return pin_frame(ask, frame, raw);
	point = &vector->point;
	Assert(point->frames != NULL && frame < point->part.frames.count);
	if (point->frames[frame] == NULL)
	{
		Size		before = vector_size(vector);

		vdb_point_load_frame(&ask->at, frame, cache.context, point);
		cache.bytes += vector_size(vector) - before;
		cache_trim(vector);
	}
	*raw = point->frames[frame];
	return VDB_CODEC_OK;
}
