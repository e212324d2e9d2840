/*-------------------------------------------------------------------------
 *
 * stripe_cache.c
 *	  A backend's open stripes and pieces of vectors, within vdb.stripe_cache.
 *
 * A stripe's entry is its checked index.  It is on one of two lists: 'used' (there are references
 * to it) or 'unused'.  Opened vectors are on a list of their own and in their stripe's array, so
 * finding one costs two loads.  Vectors aren't pinned: a by-reference value taken from one is valid
 * until the next call into stripe/, which may evict the vector.  When memory exceeds the limit, the
 * vector or unused stripe that was touched longest ago is freed.
 *
 * References belong to the resource owner that was current when they were taken.  They are released
 * with it, by abort or by the end of the transaction.
 *
 * The key of an entry is the place in the file, the stripe id, which is never used twice in a
 * table, and the time when it was written.  A file number may be used again after a table was
 * dropped; its new stripes were written at other times.
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

/* References that one resource owner holds to a stripe. */
typedef struct VdbStripeRef
{
	dlist_node	node;
	ResourceOwner owner;
	uint32		count;
} VdbStripeRef;

/* Entry of the hash table of stripes. */
typedef struct VdbStripeHashEntry
{
	VdbStripeKey key;
	VdbStripe  *stripe;
} VdbStripeHashEntry;

StaticAssertDecl(sizeof(VdbStripeKey) == 32, "key has no padding");

/* The cache of this backend. */
typedef struct VdbStripeCache
{
	MemoryContext context;
	HTAB	   *hash;
	dlist_head	used;
	dlist_head	unused;				/* last released first */
	dlist_head	vectors;			/* last touched first */
	Size		bytes;				/* counted against vdb.stripe_cache */
	uint64		clock;				/* counts touches */
	uint64		serial;				/* that of the newest stripe entry */
	VdbPointVector loading;			/* holds a vector while it is loaded, so that an error leaks
									 * nothing */
} VdbStripeCache;

static VdbStripeCache cache;

/* Create the cache at its first use. */
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

/* Return the limit of the cache in bytes. */
static Size
cache_limit(void)
{
	return (Size) vdb_stripe_cache_mb * 1024 * 1024;
}

/* ---- freeing ---- */

/* Return the bytes that a vector counts for. */
static Size
vector_size(const VdbCachedVector *vector)
{
	return sizeof(VdbCachedVector) + vector->point.size + vector->point.frames_size;
}

/* Take a vector out of the cache and free it. */
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

/* Take a stripe out of the hash table. */
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

	Assert(cache.bytes >= stripe->bytes);
	cache.bytes -= stripe->bytes;
	vdb_index_free(&stripe->index);
	pfree(stripe);
}

/*
 * Free what was touched longest ago until the cache is below its limit, except for 'keep', which is
 * in use (and may be NULL).
 */
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

/* Find the references of an owner, or return NULL. */
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

/* Release 'count' of the references that 'ref' stands for. */
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

/* See stripe.h. */
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
 * See stripe.h.  This usually releases a reference of the current owner.  It is another owner's if
 * the holder ends under a different owner than it was made under (a slot that outlived its portal).
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

/* Callback at a resource owner's release: release the references that the owner still holds. */
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

/* See stripe.h. */
void
vdb_stripe_init(void)
{
	vdb_shared_cache_init();
	RegisterResourceReleaseCallback(stripe_owner_released, NULL);
}

/* ---- stripes ---- */

/* Fill the tables for vdb_stripe_lb, which lead from an LB index to its entry and bitmap. */
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

/* Load a stripe's index and enter it, unused. */
static VdbStripe *
stripe_load(Relation rel, const VdbStripeKey *key, uint32 range)
{
	VdbStripeIndex index;
	VdbStripe  *stripe;
	VdbStripeHashEntry *entry;
	bool		found;

	VdbStripeAddress address = {key->first_page, key->stripe_id, range, key->written_at};

	vdb_index_load(rel, address, cache.context, &index);

	stripe = MemoryContextAllocZero(cache.context, sizeof(VdbStripe));
	stripe->key = *key;
	stripe->serial = ++cache.serial;
	stripe->index = index;
	stripe->stamp = ++cache.clock;
	stripe->bytes = sizeof(VdbStripe) + vdb_index_size(index.header);
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

/* Take an entry out of the hash table; it lives on while there are references. */
static void
stripe_forget(VdbStripe *stripe)
{
	if (stripe->refcount == 0)
		stripe_free(stripe);
	else
		stripe_unhash(stripe);
}

/* Make the key of the stripe at an address. */
static inline void
stripe_key(Relation rel, const VdbStripeAddress *address, VdbStripeKey *key)
{
	key->rnode = rel->rd_locator;
	key->backend = rel->rd_backend;
	key->first_page = address->first_page;
	key->stripe_id = address->stripe_id;
	key->written_at = address->written_at;
}

/* Find a stripe in the cache.  Returns NULL if it isn't there. */
static inline VdbStripe *
stripe_find(const VdbStripeKey *key)
{
	VdbStripeHashEntry *entry;

	cache_create();
	entry = hash_search(cache.hash, key, HASH_FIND, NULL);
	return entry != NULL ? entry->stripe : NULL;
}

/* Take a reference to a stripe that must be the one at the address. */
static inline VdbStripe *
stripe_take(Relation rel, VdbStripe *stripe, const VdbStripeAddress *address)
{
	if (unlikely(stripe->index.header->range != address->range))
		vdb_stripe_damaged(rel, *address,
						   psprintf("Expected range %u, found range %u.",
									address->range, stripe->index.header->range));
	vdb_stripe_retain(stripe);
	stripe->stamp = ++cache.clock;
	cache_trim(NULL);
	return stripe;
}

/* See stripe.h. */
VdbStripe *
vdb_stripe_open(Relation rel, VdbStripeAddress address)
{
	VdbStripeKey key;
	VdbStripe  *stripe;

	stripe_key(rel, &address, &key);
	stripe = stripe_find(&key);
	if (stripe == NULL)
		stripe = stripe_load(rel, &key, address.range);
	return stripe_take(rel, stripe, &address);
}

/* See stripe.h. */
VdbStripe *
vdb_stripe_open_cached(Relation rel, VdbStripeAddress address)
{
	VdbStripeKey key;
	VdbStripe  *stripe;

	stripe_key(rel, &address, &key);
	stripe = stripe_find(&key);
	return stripe != NULL ? stripe_take(rel, stripe, &address) : NULL;
}

/* See stripe.h. */
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

/* Allocate zeroed memory that lives as long as the stripe's entry; it counts against the limit. */
static void *
cache_alloc(VdbStripe *stripe, Size size)
{
	void	   *memory = MemoryContextAllocExtended(cache.context, size,
													MCXT_ALLOC_ZERO | MCXT_ALLOC_HUGE);

	stripe->bytes += size;
	cache.bytes += size;
	return memory;
}

/* ---- vectors ---- */

/* Note that a vector was touched. */
static inline void
vector_touch(VdbCachedVector *vector)
{
	vector->stamp = ++cache.clock;
	dlist_move_head(&cache.vectors, &vector->lru);
}

/* See stripe_private.h. */
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

/* Read the bytes of a vector that its values need first, and enter it. */
static VdbCachedVector *
vector_load(const VdbVectorAsk *ask, uint32 number)
{
	VdbStripe  *stripe = ask->stripe;
	VdbCachedVector *vector;

	if (stripe->cached == NULL)
		stripe->cached = cache_alloc(stripe, stripe->index.header->nvectors *
									 sizeof(VdbCachedVector *));

	/* Free what an error has left over. */
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


/*
 * See stripe_private.h.  A vector that isn't in the backend's cache is pinned in the shared cache,
 * if it is there.  If it is asked for a second time in a row, it is copied instead: more of its
 * values will probably be asked for.
 */
const VdbVectorPart *
vdb_cache_vector(VdbVectorAsk *ask)
{
	VdbStripe  *stripe = ask->stripe;
	const VdbVectorAddress *at = &ask->at;
	uint32		number = vdb_index_vector_no(&stripe->index, at->chunk, at->attno - 1, at->vec);
	uint32	   *asked;

	Assert(stripe->refcount > 0);
	if (stripe->asked == NULL)
		stripe->asked = cache_alloc(stripe, stripe->index.header->ncolumns * sizeof(uint32));
	asked = &stripe->asked[at->attno - 1];
	ask->frame_pinned = ask->frame_missing = false;
	ask->vector = stripe->cached != NULL ? stripe->cached[number] : NULL;
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

/* Release the frame that the request has pinned. */
static void
return_frame(VdbVectorAsk *ask)
{
	if (ask->frame_pinned)
		vdb_shared_end(&ask->frame_key);
	ask->frame_pinned = false;
}

/* See stripe_private.h. */
void
vdb_cache_done(VdbVectorAsk *ask)
{
	if (!vdb_ask_pinned(ask))
		return;
	return_frame(ask);
	vdb_shared_end(&ask->part_key);
}

/*
 * Pin a frame of a pinned vector.  Fails with VDB_CODEC_CORRUPT if the frame isn't in the shared
 * cache.
 */
static VdbCodecStatus
pin_frame(VdbVectorAsk *ask, uint32 frame, const uint8 **raw)
{
	return_frame(ask);
	*raw = vdb_point_pin_frame(&ask->at, frame, &ask->frame_key);
	ask->frame_pinned = *raw != NULL;
	ask->frame_missing = *raw == NULL;
	return ask->frame_pinned ? VDB_CODEC_OK : VDB_CODEC_CORRUPT;
}

/* See stripe_private.h. */
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
