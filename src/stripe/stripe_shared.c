/*-------------------------------------------------------------------------
 *
 * stripe_shared.c
 *	  The shared cache: decompressed pieces of vectors, for all backends.
 *
 * A single value costs the head of its vector and one frame, read and decompressed.  What one
 * backend has unpacked, others (and the same one later) copy from here into their own caches
 * (stripe_cache.c).
 *
 * There are 64 partitions, by hash of the key.  Each has a lock, an array of hash chains, and an
 * arena that is used as a ring: a new item goes behind the last one and evicts the oldest.  An item
 * that was found since it was entered is moved behind the last one instead, as the clock algorithm
 * does; the next time it must have been found again.  Positions rise for ever; their remainder is
 * the place in the arena.  An item never crosses the arena's end; the rest of the arena becomes an
 * item without key.
 *
 * No item is ever removed because it is outdated: stripes don't change, and the key has their
 * checksums.  Items of dropped tables are evicted in time.
 *
 * Memory: vdb.shared_cache, allocated at the server's start.
 *
 * Locks: one partition's, shared to copy from it, exclusive to enter an item.  No function that
 * could raise or wait is called meanwhile.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "port/atomics.h"
#include "port/pg_bitutils.h"
#include "storage/bufmgr.h"

#include "base/vdb_guc.h"
#include "base/vdb_shmem.h"
#include "stripe/stripe.h"
#include "stripe/stripe_private.h"

#define ITEM_ALIGN			64
#define ITEM_BYTES_A_CHAIN	1024	/* most items are larger, so chains are short */
#define ITEM_SHARE			8		/* an item takes at most 1/ITEM_SHARE of an arena */
#define ARENA_LEAST			(64 * 1024)
#define MOVE_BYTES			(128 * 1024)	/* an insertion keeps items of at most this size */

/* Head of an item in an arena. */
typedef struct SharedItem
{
	VdbSharedKey key;
	uint32		next;				/* next of its chain: place / ITEM_ALIGN + 1, or 0 */
	uint32		total;				/* bytes up to the next item */
	uint32		used;				/* whether it is an item */
	uint32		touched;			/* found since it was entered or moved */
	uint32		pad[3];
} SharedItem;

StaticAssertDecl(sizeof(SharedItem) == ITEM_ALIGN, "an item's head takes one unit");

/* One partition. */
typedef struct SharedPartition
{
	uint64		tail;				/* position of the oldest item */
	uint64		head;				/* position of the next item */
	uint32		nitems;				/* number of items */
	pg_atomic_uint64 hits;
	pg_atomic_uint64 misses;
	pg_atomic_uint64 evictions;
} SharedPartition;

/* The cache's head in shared memory; chains and arenas follow. */
typedef struct SharedCache
{
	uint32		arena_bytes;		/* bytes of a partition's arena; 0: no cache */
	uint32		nchains;			/* chains of a partition; a power of 2 */
	SharedPartition partitions[VDB_CACHE_LOCKS];
} SharedCache;

static SharedCache *shared = NULL;	/* stays NULL if the library was not preloaded */
static uint32 *shared_chains;		/* [partition][chain] */
static char *shared_arenas;

/* ---- shared memory ---- */

/* Return the size of a partition's arena, from the setting. */
static uint32
arena_wanted(void)
{
	uint64		bytes;

	if (vdb_shared_cache_mb == 0)
		return 0;
	bytes = vdb_shared_cache_mb < 0 ? (uint64) NBuffers * BLCKSZ / 4 :
		(uint64) vdb_shared_cache_mb * 1024 * 1024;
	bytes = Min(bytes / VDB_CACHE_LOCKS, PG_INT32_MAX);
	return (uint32) Max(bytes / ITEM_ALIGN * ITEM_ALIGN, ARENA_LEAST);
}

/* Return the number of chains of a partition. */
static uint32
chains_wanted(uint32 arena_bytes)
{
	return pg_nextpower2_32(Max(arena_bytes / ITEM_BYTES_A_CHAIN, 16));
}

/* Return where the chains begin in the shared memory. */
static Size
chains_offset(void)
{
	return CACHELINEALIGN(sizeof(SharedCache));
}

/* Return where the arenas begin in the shared memory. */
static Size
arenas_offset(uint32 nchains)
{
	return chains_offset() + CACHELINEALIGN((Size) VDB_CACHE_LOCKS * nchains * sizeof(uint32));
}

/* Start-up hook.  The arenas need no initialization: nothing leads to them. */
static void
attach(void *address, bool found)
{
	uint32		arena_bytes = arena_wanted();
	uint32		nchains = chains_wanted(arena_bytes);

	shared = address;
	shared_chains = (uint32 *) ((char *) address + chains_offset());
	shared_arenas = (char *) address + arenas_offset(nchains);
	if (found)
		return;

	memset(address, 0, arenas_offset(nchains));
	shared->arena_bytes = arena_bytes;
	shared->nchains = nchains;
	for (int i = 0; i < VDB_CACHE_LOCKS; i++)
	{
		pg_atomic_init_u64(&shared->partitions[i].hits, 0);
		pg_atomic_init_u64(&shared->partitions[i].misses, 0);
		pg_atomic_init_u64(&shared->partitions[i].evictions, 0);
	}
}

/* See stripe_private.h. */
void
vdb_shared_cache_init(void)
{
	uint32		arena_bytes = arena_wanted();
	Size		size = add_size(arenas_offset(chains_wanted(arena_bytes)),
								mul_size(VDB_CACHE_LOCKS, arena_bytes));

	vdb_shmem_register("vdb shared cache", size, false, attach);
}

/* ---- one partition ---- */

/* Where a key belongs: its partition, lock, chain and arena. */
typedef struct EntryAddress
{
	SharedPartition *partition;
	LWLock	   *lock;
	uint32	   *chain;
	char	   *arena;
} EntryAddress;

/* Compute where a key belongs. */
static inline void
find_address(const VdbSharedKey *key, EntryAddress *address)
{
	uint32		hash = hash_bytes((const unsigned char *) key, sizeof(*key));
	uint32		number = hash % VDB_CACHE_LOCKS;
	uint32		chain = (hash / VDB_CACHE_LOCKS) & (shared->nchains - 1);

	address->partition = &shared->partitions[number];
	address->lock = &vdb_shared->cache_locks[number].lock;
	address->chain = &shared_chains[(Size) number * shared->nchains + chain];
	address->arena = shared_arenas + (Size) number * shared->arena_bytes;
}

/* Return the item at a position. */
static inline SharedItem *
item_at(const EntryAddress *address, uint64 position)
{
	return (SharedItem *) (address->arena + position % shared->arena_bytes);
}

/* Return the number of an item, as chains hold it. */
static inline uint32
item_number(const EntryAddress *address, const SharedItem *item)
{
	return (uint32) (((const char *) item - address->arena) / ITEM_ALIGN) + 1;
}

/* Return the item of a number. */
static inline SharedItem *
item_numbered(const EntryAddress *address, uint32 number)
{
	return (SharedItem *) (address->arena + (Size) (number - 1) * ITEM_ALIGN);
}

/* Find a key's item, or return NULL.  The partition's lock is held. */
static SharedItem *
find_item(const EntryAddress *address, const VdbSharedKey *key)
{
	for (uint32 number = *address->chain; number != 0;)
	{
		SharedItem *item = item_numbered(address, number);

		if (memcmp(&item->key, key, sizeof(*key)) == 0)
			return item;
		number = item->next;
	}
	return NULL;
}

/* Count without waiting: two processes at the same moment may count as one. */
static inline void
count_one(pg_atomic_uint64 *counter)
{
	pg_atomic_write_u64(counter, pg_atomic_read_u64(counter) + 1);
}

/* Return the link of its chain that leads to an item. */
static uint32 *
find_link(const EntryAddress *address, const SharedItem *item)
{
	uint32		number = item_number(address, item);
	EntryAddress own;
	uint32	   *link;

	find_address(&item->key, &own);
	link = own.chain;
	while (*link != number)
		link = &item_numbered(address, *link)->next;
	return link;
}

/* Return the bytes up to the arena's end if 'total' bytes do not fit in there, else 0. */
static uint32
bytes_to_skip(const SharedPartition *partition, uint32 total)
{
	uint32		rest = shared->arena_bytes - (uint32) (partition->head % shared->arena_bytes);

	return rest < total ? rest : 0;
}

/* Take 'total' bytes in one piece behind the last item.  There is room. */
static SharedItem *
take_bytes(const EntryAddress *address, uint32 total)
{
	SharedPartition *partition = address->partition;
	uint32		skip = bytes_to_skip(partition, total);
	SharedItem *item;

	Assert(partition->head + skip + total <= partition->tail + shared->arena_bytes);
	if (skip > 0)
	{
		item = item_at(address, partition->head);
		item->used = 0;
		item->total = skip;
		partition->head += skip;
	}
	item = item_at(address, partition->head);
	partition->head += total;
	return item;
}

/*
 * Move the oldest item behind the last one, if there is room once it is gone.  Its new place may
 * overlap the old one.  Returns the bytes moved, or 0.  The lock is held exclusive.
 */
static uint32
move_item(const EntryAddress *address, SharedItem *item)
{
	SharedPartition *partition = address->partition;
	uint32		total = item->total;
	uint32		skip = bytes_to_skip(partition, total);
	uint32	   *link;
	SharedItem *moved;

	if (partition->tail + shared->arena_bytes < partition->head + skip)
		return 0;
	link = find_link(address, item);
	partition->tail += total;
	moved = take_bytes(address, total);
	memmove(moved, item, total);
	moved->touched = 0;
	*link = item_number(address, moved);
	return total;
}

/* Evict the oldest item.  The lock is held exclusive. */
static void
push_out(const EntryAddress *address)
{
	SharedPartition *partition = address->partition;
	SharedItem *item = item_at(address, partition->tail);

	if (item->used)
	{
		*find_link(address, item) = item->next;
		partition->nitems--;
		count_one(&partition->evictions);
	}
	partition->tail += item->total;
}

/*
 * Make an item of 'total' bytes in one piece, evicting others: the oldest, but for those that were
 * found meanwhile.  To bound the time, only so many bytes are kept.  The lock is held exclusive.
 */
static SharedItem *
make_item(const EntryAddress *address, uint32 total)
{
	SharedPartition *partition = address->partition;
	uint32		may_move = MOVE_BYTES;
	SharedItem *item;

	while (partition->tail + shared->arena_bytes <
		   partition->head + bytes_to_skip(partition, total) + total)
	{
		uint32		moved = 0;

		item = item_at(address, partition->tail);
		Assert(partition->tail < partition->head);
		Assert(item->total > 0 && item->total % ITEM_ALIGN == 0);
		if (item->used && item->touched && item->total <= may_move)
			moved = move_item(address, item);
		if (moved == 0)
			push_out(address);
		may_move -= moved;
	}
	item = take_bytes(address, total);
	item->used = 1;
	item->touched = 0;
	item->total = total;
	return item;
}

/* ---- interface ---- */

/* See stripe_private.h. */
const char *
vdb_shared_begin(const VdbSharedKey *key)
{
	EntryAddress address;
	SharedItem *item;

	if (shared == NULL || shared->arena_bytes == 0)
		return NULL;
	find_address(key, &address);
	LWLockAcquire(address.lock, LW_SHARED);
	item = find_item(&address, key);
	count_one(item != NULL ? &address.partition->hits : &address.partition->misses);
	if (item == NULL)
	{
		LWLockRelease(address.lock);
		return NULL;
	}
	if (!item->touched)
		item->touched = 1;		/* any of the readers' stores will do */
	return (const char *) (item + 1);
}

/* See stripe_private.h. */
void
vdb_shared_end(const VdbSharedKey *key)
{
	EntryAddress address;

	find_address(key, &address);
	LWLockRelease(address.lock);
}

/* See stripe_private.h. */
void
vdb_shared_put(const VdbSharedKey *key, const void *a, Size a_bytes, const void *b, Size b_bytes)
{
	Size		total = TYPEALIGN(ITEM_ALIGN, sizeof(SharedItem) + a_bytes + b_bytes);
	EntryAddress address;
	SharedItem *item;

	if (shared == NULL || total > shared->arena_bytes / ITEM_SHARE)
		return;
	find_address(key, &address);
	LWLockAcquire(address.lock, LW_EXCLUSIVE);
	if (find_item(&address, key) == NULL)
	{
		char	   *to;

		item = make_item(&address, (uint32) total);
		to = (char *) (item + 1);
		item->key = *key;
		memcpy(to, a, a_bytes);
		if (b_bytes > 0)
			memcpy(to + a_bytes, b, b_bytes);
		item->next = *address.chain;
		*address.chain = item_number(&address, item);
		address.partition->nitems++;
	}
	LWLockRelease(address.lock);
}

/* See stripe.h. */
void
vdb_shared_cache_statistics(VdbCacheStatistics *statistics)
{
	memset(statistics, 0, sizeof(*statistics));
	statistics->size_bytes = (uint64) shared->arena_bytes * VDB_CACHE_LOCKS;
	for (int i = 0; i < VDB_CACHE_LOCKS; i++)
	{
		SharedPartition *partition = &shared->partitions[i];

		LWLockAcquire(&vdb_shared->cache_locks[i].lock, LW_SHARED);
		statistics->used_bytes += partition->head - partition->tail;
		statistics->items += partition->nitems;
		LWLockRelease(&vdb_shared->cache_locks[i].lock);
		statistics->hits += pg_atomic_read_u64(&partition->hits);
		statistics->misses += pg_atomic_read_u64(&partition->misses);
		statistics->evictions += pg_atomic_read_u64(&partition->evictions);
	}
}
