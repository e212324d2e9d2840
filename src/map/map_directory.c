/*-------------------------------------------------------------------------
 *
 * map_directory.c
 *	  The directory's blocks, and the hash by which a table's entry is found.
 *
 * The entries of all blocks, one block after the other, are numbered: that is an entry's slot.  A
 * head has the addresses of the blocks, so an entry is found by its slot in two steps.  Slots from
 * 'nslots' on were never used; entries that were given back are chained from 'free_entry'.
 *
 * Each block has some of the hash's buckets, too, which are numbered likewise.  A bucket has the
 * slot of its first entry, and each entry that of the next.  The first 'nbuckets' buckets are in
 * use: it is a linear hash, so a new bucket takes over entries of one other bucket.  The change
 * that uses a slot for the first time adds a bucket.  So there are as many buckets as slots,
 * however many tables there are, and every change touches few blocks.
 *
 * Readers take no lock, and a standby's can't, so they may meet a change that is half done and miss
 * an entry.  Every change of the hash first stores the next number in 'changing', and stores it in
 * 'changed' last.  Whatever else a reader can come across is published, that is, stored when
 * 'changing' can be seen.  A reader notes 'changed' before it begins.  If 'changing' is the same
 * when it has found nothing, there was nothing to be found; else it searches again.  What a reader
 * does find is checked by itself, as the key and the generation are in the entry.
 *
 * A reader may stand on an entry that is given back, and go on in the chain of these entries, or in
 * another bucket.  It follows no more entries than there are slots, and then counts as having found
 * nothing.
 *
 * Writers hold the directory lock, exclusive.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"

#include "map/map_directory.h"

/* A bucket with more entries is not split, so that the change is sure to touch few blocks. */
#define SPLIT_ENTRIES		24

/* Searches between two short sleeps, while a change is half done, and the length of a sleep. */
#define SEARCHES			1000
#define SLEEP_US			1000

StaticAssertDecl(SPLIT_ENTRIES + 5 <= VDB_CHANGE_MAX_BLOCKS,
				 "adding an entry touches those of a bucket, its own, three buckets and the head");

/* ---- blocks ---- */

/* Return a head of the directory.  Raises an error unless it is one. */
static const VdbDirectoryHead *
head_at(VdbPool *pool, VdbBlock block)
{
	const VdbDirectoryHead *head = vdb_map_body(pool, block);

	if (unlikely(head->magic != VDB_DIRECTORY_HEAD_MAGIC))
		vdb_map_damaged(block, "head of the table directory", "magic",
						VDB_DIRECTORY_HEAD_MAGIC, head->magic);
	if (unlikely(head->version != VDB_DIRECTORY_VERSION))
		vdb_map_damaged(block, "head of the table directory", "version",
						VDB_DIRECTORY_VERSION, head->version);
	return head;
}

/* Return a block of the directory.  Raises an error unless it is the one of this number. */
static const VdbDirectoryBlock *
block_at(VdbPool *pool, VdbBlock block, uint32 number)
{
	const VdbDirectoryBlock *dir = vdb_map_body(pool, block);

	if (unlikely(dir->magic != VDB_DIRECTORY_MAGIC))
		vdb_map_damaged(block, "table directory", "magic", VDB_DIRECTORY_MAGIC, dir->magic);
	if (unlikely(dir->version != VDB_DIRECTORY_VERSION))
		vdb_map_damaged(block, "table directory", "version", VDB_DIRECTORY_VERSION, dir->version);
	if (unlikely(dir->number != number))
		vdb_map_damaged(block, "table directory", "number", number, dir->number);
	return dir;
}

/* Return the directory's first head, or NULL if there is no directory yet. */
static const VdbDirectoryHead *
first_head(VdbPool *pool)
{
	VdbBlock	block = vdb_pool_directory(pool);

	return block == VDB_BLOCK_NONE ? NULL : head_at(pool, block);
}

/*
 * Find the head with the address of a block of the directory.  Returns the last one if there is no
 * such head yet, or VDB_BLOCK_NONE if there is none at all.  *index is that of the address, and
 * beyond the head's addresses if this is another head.
 */
static VdbBlock
find_head(VdbPool *pool, uint32 number, uint32 *index)
{
	VdbBlock	block = vdb_pool_directory(pool);

	*index = number;
	while (block != VDB_BLOCK_NONE && *index >= VDB_DIRECTORY_FANOUT)
	{
		VdbBlock	next = vdb_map_read_pointer(&head_at(pool, block)->next);

		if (next == VDB_BLOCK_NONE)
			break;
		*index -= VDB_DIRECTORY_FANOUT;
		block = next;
	}
	return block;
}

/* Return the address of a block of the directory, by its number, or VDB_BLOCK_NONE. */
static VdbBlock
block_address(VdbPool *pool, uint32 number)
{
	uint32		index;
	VdbBlock	head = find_head(pool, number, &index);

	if (head == VDB_BLOCK_NONE || index >= VDB_DIRECTORY_FANOUT)
		return VDB_BLOCK_NONE;
	return vdb_map_read_pointer(&head_at(pool, head)->blocks[index]);
}

/* See map_directory.h. */
const VdbTableEntry *
vdb_directory_entry(VdbPool *pool, uint32 slot, VdbBlock *block)
{
	uint32		number = slot / VDB_DIRECTORY_ENTRIES;

	*block = block_address(pool, number);
	if (*block == VDB_BLOCK_NONE)
		return NULL;
	return &block_at(pool, *block, number)->entries[slot % VDB_DIRECTORY_ENTRIES];
}

/* See map.h. */
void
vdb_map_directory_blocks(VdbPool *pool, VdbMapBlock report, void *arg)
{
	uint32		number = 0;

	for (VdbBlock head = vdb_pool_directory(pool); head != VDB_BLOCK_NONE;)
	{
		const VdbDirectoryHead *now = head_at(pool, head);

		report(head, false, arg);
		for (int i = 0; i < VDB_DIRECTORY_FANOUT; i++)
		{
			VdbBlock	block = vdb_map_read_pointer(&now->blocks[i]);

			CHECK_FOR_INTERRUPTS();
			if (block == VDB_BLOCK_NONE)
				return;
			(void) block_at(pool, block, number++);
			report(block, false, arg);
		}
		head = vdb_map_read_pointer(&now->next);
	}
}

/* Reserve a block of the pool.  Raises an error when the pool is full. */
static VdbBlock
reserve_for_directory(VdbPool *pool)
{
	VdbBlock	block = vdb_scm_reserve_block(pool, true);

	if (block == VDB_BLOCK_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_DISK_FULL),
				 errmsg("the pool has no room for another table"),
				 errhint("Raise vdb.scm_size, or wait until rows have been migrated.")));
	return block;
}

/* Add a head, with the address of its first block, to the change.  'last' is the one before it. */
static void
add_head(VdbScmChange *change, VdbBlock last, VdbBlock head, VdbBlock block)
{
	VdbDirectoryHead new;
	uint16		stored = offsetof(VdbDirectoryHead, blocks) + sizeof(VdbBlock);

	memset(&new, 0, sizeof(new));
	new.magic = VDB_DIRECTORY_HEAD_MAGIC;
	new.version = VDB_DIRECTORY_VERSION;
	new.nbuckets = last == VDB_BLOCK_NONE ? 1 : 0;
	new.blocks[0] = block;
	vdb_scm_change_use_block(change, head);
	vdb_scm_change_write(change, head, VDB_POOL_BLOCK_HEADER, &new, stored);
	vdb_scm_change_zero(change, head, VDB_POOL_BLOCK_HEADER + stored, sizeof(new) - stored);
	if (last == VDB_BLOCK_NONE)
		vdb_scm_change_set_directory(change, head);
	else
		vdb_scm_change_publish(change, last, VDB_MAP_OFFSET(VdbDirectoryHead, next),
							   &head, sizeof(head));
}

/*
 * Add the next block to the directory, with a head if it needs one, in a flushed change.  The
 * directory lock is held exclusive.  What an error leaves reserved is given back at the end of the
 * transaction.
 */
static void
append_block(VdbPool *pool, uint32 number)
{
	uint32		index;
	VdbBlock	head = find_head(pool, number, &index);
	bool		first = number % VDB_DIRECTORY_FANOUT == 0;
	VdbBlock	new_head = first ? reserve_for_directory(pool) : VDB_BLOCK_NONE;
	VdbBlock	block = reserve_for_directory(pool);
	VdbDirectoryBlock new;
	VdbScmChange *change = vdb_scm_change_begin(pool, VDB_CHANGE_FLUSH);

	memset(&new, 0, offsetof(VdbDirectoryBlock, entries));
	new.magic = VDB_DIRECTORY_MAGIC;
	new.version = VDB_DIRECTORY_VERSION;
	new.number = number;
	vdb_scm_change_use_block(change, block);
	vdb_scm_change_write(change, block, VDB_POOL_BLOCK_HEADER, &new,
						 offsetof(VdbDirectoryBlock, entries));
	vdb_scm_change_zero(change, block, VDB_MAP_OFFSET(VdbDirectoryBlock, entries),
						sizeof(new.entries) + sizeof(new.buckets));
	if (first)
		add_head(change, head, new_head, block);
	else
		vdb_scm_change_publish(change, head, VDB_MAP_OFFSET(VdbDirectoryHead, blocks) +
							   index * sizeof(VdbBlock), &block, sizeof(block));
	vdb_scm_change_end(change);
}

/* ---- buckets ---- */

/* Return the mixed bits of a number, as map_format.h has it. */
static inline uint64
mix(uint64 x)
{
	x *= UINT64CONST(0x9E3779B97F4A7C15);
	return x ^ (x >> 32);
}

/* Return the hash of a key, as map_format.h has it. */
static uint32
key_hash(const VdbTableKey *key)
{
	uint64		file = (uint64) key->spc << 32 | key->relnode;

	return mix(mix(file) ^ (uint32) key->backend) >> 32;
}

/* Return the bucket of a hash when 'nbuckets' are in use. */
static inline uint32
bucket_of(uint32 hash, uint32 nbuckets)
{
	uint32		mask = pg_nextpower2_32(nbuckets) - 1;
	uint32		bucket = hash & mask;

	return bucket < nbuckets ? bucket : bucket & (mask >> 1);
}

/* Return the bucket of an entry. */
static uint32
entry_bucket(const VdbTableEntry *entry, uint32 nbuckets)
{
	VdbTableKey key = {entry->spc, entry->relnode, entry->backend};

	return bucket_of(key_hash(&key), nbuckets);
}

/* The place of a word with the slot of an entry, plus 1. */
typedef struct SlotLink
{
	VdbBlock	block;
	uint16		offset;
} SlotLink;

/* Return the place of a bucket's word. */
static SlotLink
bucket_link(VdbPool *pool, uint32 bucket)
{
	SlotLink	link;

	link.block = block_address(pool, bucket / VDB_DIRECTORY_BUCKETS);
	link.offset = VDB_MAP_OFFSET(VdbDirectoryBlock, buckets) +
		(bucket % VDB_DIRECTORY_BUCKETS) * sizeof(uint32);
	if (link.block == VDB_BLOCK_NONE)
		vdb_map_damaged(vdb_pool_directory(pool), "head of the table directory", "nbuckets",
						0, bucket);
	(void) block_at(pool, link.block, bucket / VDB_DIRECTORY_BUCKETS);
	return link;
}

/* Return the place of the word in an entry that has the next entry of its bucket. */
static SlotLink
entry_link(VdbPool *pool, uint32 slot)
{
	SlotLink	link;

	if (vdb_directory_entry(pool, slot, &link.block) == NULL)
		vdb_map_damaged(vdb_pool_directory(pool), "table directory", "slot", 0, slot);
	link.offset = VDB_MAP_OFFSET(VdbDirectoryBlock, entries) +
		(slot % VDB_DIRECTORY_ENTRIES) * sizeof(VdbTableEntry) +
		offsetof(VdbTableEntry, next_entry);
	return link;
}

/* Read the word at a place. */
static uint32
read_link(VdbPool *pool, const SlotLink *link)
{
	uint32		slot = *(const volatile uint32 *)
		((const char *) vdb_pool_block(pool, link->block) + link->offset);

	pg_read_barrier();
	return slot;
}

/* ---- searching ---- */

/* See map_directory.h. */
void
vdb_directory_begin(VdbPool *pool, const VdbTableKey *key, VdbDirectorySearch *search)
{
	const VdbDirectoryHead *head = first_head(pool);
	SlotLink	link;

	search->pool = pool;
	search->next = 0;
	search->limit = 0;
	search->entries = 0;
	search->changed = 0;
	if (head == NULL)
		return;
	search->changed = *(const volatile uint32 *) &head->changed;
	pg_read_barrier();
	search->limit = *(const volatile uint32 *) &head->nslots;
	link = bucket_link(pool, bucket_of(key_hash(key),
									   Max(1, *(const volatile uint32 *) &head->nbuckets)));
	search->next = read_link(pool, &link);
}

/* See map_directory.h. */
const VdbTableEntry *
vdb_directory_next(VdbDirectorySearch *search, uint32 *slot, VdbBlock *block)
{
	const VdbTableEntry *entry;

	if (search->next == 0 || ++search->entries > search->limit)
		return NULL;
	*slot = search->next - 1;
	entry = vdb_directory_entry(search->pool, *slot, block);
	if (entry == NULL)
		return NULL;
	search->next = *(const volatile uint32 *) &entry->next_entry;
	pg_read_barrier();
	return entry;
}

/* See map_directory.h. */
bool
vdb_directory_changed(VdbDirectorySearch *search)
{
	const VdbDirectoryHead *head;

	pg_read_barrier();
	head = first_head(search->pool);
	if (head == NULL || *(const volatile uint32 *) &head->changing == search->changed)
	{
		if (search->entries > search->limit)
			vdb_map_damaged(vdb_pool_directory(search->pool), "table directory", "bucket",
							search->limit, search->entries);
		return false;
	}
	/* the process that is changing the hash may have lost its processor */
	if (++search->searches % SEARCHES == 0)
	{
		CHECK_FOR_INTERRUPTS();
		pg_usleep(SLEEP_US);
	}
	return true;
}

/* ---- changing: the directory lock is held exclusive ---- */

/* See map_directory.h. */
uint32
vdb_directory_choose(VdbPool *pool)
{
	const VdbDirectoryHead *head = first_head(pool);
	uint32		slot = head == NULL ? 0 : head->nslots;

	if (head != NULL && head->free_entry != 0)
		return head->free_entry - 1;
	if (block_address(pool, slot / VDB_DIRECTORY_ENTRIES) == VDB_BLOCK_NONE)
		append_block(pool, slot / VDB_DIRECTORY_ENTRIES);
	return slot;
}

/* Let readers know, before and after the change, that the hash is being changed. */
static void
count_hash_change(VdbScmChange *change, VdbPool *pool)
{
	VdbBlock	block = vdb_pool_directory(pool);
	uint32		number = first_head(pool)->changed + 1;

	Assert(LWLockHeldByMeInMode(vdb_map_directory_lock(), LW_EXCLUSIVE));
	Assert(first_head(pool)->changing == number - 1);
	vdb_scm_change_write(change, block, VDB_MAP_OFFSET(VdbDirectoryHead, changing),
						 &number, sizeof(number));
	vdb_scm_change_last(change, block, VDB_MAP_OFFSET(VdbDirectoryHead, changed),
						&number, sizeof(number));
}

/* Publish a number in the head. */
static void
publish_in_head(VdbScmChange *change, VdbPool *pool, uint16 offset, uint32 number)
{
	vdb_scm_change_publish(change, vdb_pool_directory(pool), offset, &number, sizeof(number));
}

/* Publish a slot plus 1, or 0, at a place. */
static void
publish_link(VdbScmChange *change, SlotLink link, uint32 next)
{
	vdb_scm_change_publish(change, link.block, link.offset, &next, sizeof(next));
}

/* Put an entry first in a bucket. */
static void
put_first(VdbScmChange *change, VdbPool *pool, uint32 bucket, uint32 slot)
{
	SlotLink	link = bucket_link(pool, bucket);

	publish_link(change, entry_link(pool, slot), read_link(pool, &link));
	publish_link(change, link, slot + 1);
}

/* Take an entry out of the bucket of its key.  The entry's own link stays. */
static void
take_out(VdbScmChange *change, VdbPool *pool, uint32 slot)
{
	const VdbDirectoryHead *head = first_head(pool);
	VdbBlock	block;
	const VdbTableEntry *entry = vdb_directory_entry(pool, slot, &block);
	SlotLink	link = bucket_link(pool, entry_bucket(entry, head->nbuckets));

	for (uint32 n = 0;; n++)
	{
		uint32		next = read_link(pool, &link);

		if (next == slot + 1)
			break;
		if (next == 0 || n > head->nslots)
			vdb_map_damaged(block, "table directory", "bucket", slot + 1, next);
		link = entry_link(pool, next - 1);
	}
	publish_link(change, link, entry->next_entry);
}

/* Collect the slots of a bucket's entries.  Returns false if there are too many for one change. */
static bool
collect_slots(VdbPool *pool, uint32 bucket, uint32 *slots, int *n)
{
	SlotLink	link = bucket_link(pool, bucket);
	uint32		next;

	for (*n = 0; (next = read_link(pool, &link)) != 0; link = entry_link(pool, next - 1))
	{
		if (*n == SPLIT_ENTRIES)
			return false;
		slots[(*n)++] = next - 1;
	}
	return true;
}

/*
 * Add a bucket, which takes over some of the entries of another one, and put a new entry into its
 * bucket.  Returns false, and adds nothing, if the other bucket has too many entries.  With a load
 * of one that doesn't happen; if it does, the hash stays as large as it is.
 */
static bool
add_and_split(VdbScmChange *change, VdbPool *pool, const VdbTableKey *key, uint32 slot)
{
	uint32		nbuckets = first_head(pool)->nbuckets;
	uint32		old = nbuckets - (pg_nextpower2_32(nbuckets + 1) >> 1);
	uint32		mine = bucket_of(key_hash(key), nbuckets + 1);
	SlotLink	at[2] = {bucket_link(pool, old), bucket_link(pool, nbuckets)};
	uint32		slots[SPLIT_ENTRIES + 1];
	int			n;

	Assert(old < nbuckets && mine <= nbuckets);
	if (!collect_slots(pool, old, slots, &n))
		return false;
	if (mine == old || mine == nbuckets)
		slots[n++] = slot;
	else
		put_first(change, pool, mine, slot);
	for (int i = 0; i < n; i++)
	{
		VdbBlock	block;
		const VdbTableEntry *entry = vdb_directory_entry(pool, slots[i], &block);
		uint32		bucket = slots[i] == slot ? mine : entry_bucket(entry, nbuckets + 1);
		int			which = bucket == nbuckets;

		publish_link(change, at[which], slots[i] + 1);
		at[which] = entry_link(pool, slots[i]);
	}
	publish_link(change, at[0], 0);
	publish_link(change, at[1], 0);
	publish_in_head(change, pool, VDB_MAP_OFFSET(VdbDirectoryHead, nbuckets), nbuckets + 1);
	return true;
}

/* See map_directory.h. */
void
vdb_directory_add(VdbScmChange *change, VdbPool *pool, const VdbTableKey *key, uint32 slot)
{
	const VdbDirectoryHead *head = first_head(pool);
	uint32		bucket = bucket_of(key_hash(key), head->nbuckets);
	VdbBlock	block;

	count_hash_change(change, pool);
	if (slot < head->nslots)
	{
		Assert(head->free_entry == slot + 1);
		publish_in_head(change, pool, VDB_MAP_OFFSET(VdbDirectoryHead, free_entry),
						vdb_directory_entry(pool, slot, &block)->next_entry);
		put_first(change, pool, bucket, slot);
		return;
	}
	publish_in_head(change, pool, VDB_MAP_OFFSET(VdbDirectoryHead, nslots), slot + 1);
	if (head->nbuckets > slot || !add_and_split(change, pool, key, slot))
		put_first(change, pool, bucket, slot);
}

/* See map_directory.h. */
void
vdb_directory_free(VdbScmChange *change, VdbPool *pool, uint32 slot)
{
	count_hash_change(change, pool);
	take_out(change, pool, slot);
	publish_link(change, entry_link(pool, slot), first_head(pool)->free_entry);
	publish_in_head(change, pool, VDB_MAP_OFFSET(VdbDirectoryHead, free_entry), slot + 1);
}

/* See map_directory.h. */
void
vdb_directory_move(VdbScmChange *change, VdbPool *pool, uint32 slot, const VdbTableKey *key)
{
	uint32		nbuckets = first_head(pool)->nbuckets;
	VdbBlock	block;
	uint32		to = bucket_of(key_hash(key), nbuckets);

	count_hash_change(change, pool);
	if (to == entry_bucket(vdb_directory_entry(pool, slot, &block), nbuckets))
		return;
	take_out(change, pool, slot);
	put_first(change, pool, to, slot);
}
