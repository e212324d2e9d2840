/*
 * map_test.c
 *	  Unit tests of src/map over the mock of the pool.
 */
#include "pg_shim.h"

#include <stdio.h>
#include <stdlib.h>

#include "map/map_directory.h"
#include "scm_mock.h"
#include "unit_shim.h"

static VdbPool *pool;

static VdbTableRef
make_table(Oid relnode, uint32 flags)
{
	VdbTableKey key = {0, relnode, -1};
	VdbTableRef ref;

	vdb_map_table_create(pool, &key, flags, InvalidFullTransactionId, &ref);
	return ref;
}

static void
format_segment(VdbScmChange *change, VdbBlock segment, VdbLogicalBlock first_lb, void *arg)
{
	uint32		head[2] = {0x53454721, first_lb};

	vdb_scm_change_write(change, segment, VDB_POOL_BLOCK_HEADER, head, sizeof(head));
	if (arg != NULL)
		elog(ERROR, "format fails");
}

/* Claim n segments; what wasn't claimed is unreserved.  Returns how many were. */
static int
claim(const VdbTableRef *ref, int n, int lbs, VdbLogicalBlock *lbs_out, VdbBlock *segments_out)
{
	VdbBlock	segments[64];
	VdbLogicalBlock first[64];
	int			reserved = vdb_scm_reserve_segments(pool, n, false, segments);
	int			claimed = reserved > 0 ?
		vdb_map_claim(ref, reserved, lbs, segments, first, format_segment, NULL) : 0;

	for (int i = 0; i < reserved; i++)
	{
		if (i >= claimed)
			vdb_scm_unreserve_segment(pool, segments[i]);
		else if (lbs_out != NULL)
		{
			lbs_out[i] = first[i];
			segments_out[i] = segments[i];
		}
	}
	return claimed;
}

static void
report(VdbLogicalBlock lb, const char *message, void *arg)
{
	printf("# finding: lb %u: %s\n", lb, message);
}

static void
report_expected(VdbLogicalBlock lb, const char *message, void *arg)
{
}

static VdbBlock
store_meta(const VdbTableRef *ref, uint32 range, int nchunks, int ncolumns)
{
	VdbStripeMeta *meta = calloc(1, sizeof(VdbStripeMeta));
	VdbZone    *zones = calloc(nchunks * ncolumns, sizeof(VdbZone));
	VdbBlock	block;

	for (int i = 0; i < nchunks * ncolumns; i++)
		zones[i].null_count = i;
	meta->stripe_id = vdb_map_new_stripe_id(ref);
	meta->range = range;
	meta->nchunks = nchunks;
	meta->ncolumns = ncolumns;
	block = vdb_map_store_meta(ref, meta, zones);
	free(meta);
	free(zones);
	return block;
}

/* Switch LBs to a meta (or gone); free the segments and old metas they leave. */
static void
switch_lbs(const VdbTableRef *ref, uint32 range, const uint8 *indexes, int n, VdbBlock meta,
		   bool free_segments)
{
	VdbScmChange *change;

	vdb_map_lock_lbs(ref, range, indexes, n);
	LWLockAcquire(vdb_map_lock(ref->slot), LW_EXCLUSIVE);
	change = vdb_scm_change_begin(ref->pool, VDB_CHANGE_FLUSH);
	if (free_segments)
		for (int i = 0; i < n; i++)
		{
			VdbExtent	extent;

			vdb_map_lookup(ref, range * 256 + indexes[i], &extent);
			if (extent.kind == VDB_EXTENT_SEGMENT && extent.first_lb == range * 256 + indexes[i])
				vdb_scm_change_free_segment(change, extent.ref);
		}
	vdb_map_switch(change, ref, range, indexes, n,
				   meta == VDB_BLOCK_NONE ? VDB_EXTENT_REMOVED : VDB_EXTENT_STRIPE, meta,
				   NULL, NULL, (VdbRowSet) {0});
	vdb_scm_change_end(change);
	LWLockRelease(vdb_map_lock(ref->slot));
	vdb_map_unlock_lbs(ref, range, indexes, n);
}

/* Give a stripe, which has these LBs of range 0, a spill with delta records of LB 2; drop it. */
static void
switch_spill(const VdbTableRef *ref, const uint8 *indexes, int n, VdbBlock meta)
{
	VdbSpillAddress spill = {.first_page = 7,.npages = 2,.id = 99,.newest_xmax = 1234,.nrows = 5};
	VdbSpillAddress none = {0};
	const VdbStripeMeta *m = vdb_map_meta(ref->pool, meta);

	for (int round = 0; round < 2; round++)
	{
		const VdbSpillAddress *new = round == 0 ? &spill : &none;
		VdbRowSet	spilled = {round == 0 ? 4 : 0};
		VdbMetaDamage damage;
		VdbExtent	extent;
		VdbScmChange *change;

		vdb_map_lock_lbs(ref, 0, indexes, n);
		LWLockAcquire(vdb_map_lock(ref->slot), LW_EXCLUSIVE);
		change = vdb_scm_change_begin(ref->pool, VDB_CHANGE_FLUSH);
		vdb_map_switch_overlay(change, ref, 0, indexes, n, meta, NULL, NULL, spilled, new);
		vdb_scm_change_end(change);
		LWLockRelease(vdb_map_lock(ref->slot));
		for (int i = 0; i < n; i++)
		{
			vdb_map_lookup(ref, indexes[i], &extent);
			UNIT_CHECK(extent.kind == VDB_EXTENT_STRIPE && extent.ref == meta &&
					   extent.spilled == (round == 0 && indexes[i] == 2), "LB %d", i);
		}
		vdb_map_unlock_lbs(ref, 0, indexes, n);
		UNIT_CHECK(memcmp(&m->spill, new, offsetof(VdbSpillAddress, crc)) == 0, "address");
		UNIT_CHECK(!vdb_map_meta_damaged(meta, m, &damage), "checksum of round %d", round);
		((VdbStripeMeta *) m)->spill.first_page ^= 1;
		UNIT_CHECK(vdb_map_meta_damaged(meta, m, &damage), "damage of round %d", round);
		((VdbStripeMeta *) m)->spill.first_page ^= 1;
		UNIT_CHECK(vdb_map_check(ref, report, NULL) == 0, "check");
	}
}

static bool came_others;

static void
test_directory(void)
{
	VdbTableKey key = {0, 1, -1};
	VdbTableRef ref;
	VdbTableRef other;
	VdbTableRef refs[200];
	bool		past_end;
	int			found = 0;

	pool = mock_create();
	UNIT_CHECK(!vdb_map_table_find(pool, &key, &ref), "empty directory");
	for (int i = 0; i < 200; i++)
		refs[i] = make_table(100 + i, i % 3 == 0 ? VDB_TABLE_UNLOGGED : 0);
	for (int i = 0; i < 200; i++)
	{
		key.relnode = 100 + i;
		UNIT_CHECK(vdb_map_table_find(pool, &key, &ref), "table %d", i);
		UNIT_CHECK(memcmp(&ref.slot, &refs[i].slot, sizeof(ref) - offsetof(VdbTableRef,
																		   slot) - 2) == 0 &&
				   ref.slot == i, "table %d has slot %u", i, ref.slot);
		UNIT_CHECK(ref.logged == (i % 3 != 0) && !ref.temp, "flags of %d", i);
	}
	key.backend = 3;
	UNIT_CHECK(!vdb_map_table_find(pool, &key, &ref), "other backend");
	key.backend = -1;

	vdb_map_table_drop(&refs[70]);
	UNIT_CHECK(!vdb_map_table_valid(&refs[70]), "dropped");
	key.relnode = 170;
	UNIT_CHECK(!vdb_map_table_find(pool, &key, &ref), "dropped");
	ref = make_table(5000, VDB_TABLE_TEMP);
	UNIT_CHECK(ref.slot == 70 && ref.generation != refs[70].generation && ref.temp && !ref.logged,
			   "slot %u generation %u", ref.slot, ref.generation);

	/* moved: found by both keys; the own key goes, and the alias with it */
	key.relnode = 6000;
	key.spc = 77;
	vdb_map_table_alias(&ref, &key, InvalidFullTransactionId);
	UNIT_CHECK(vdb_map_table_find(pool, &key, &other) && other.slot == 70 &&
			   other.relnode == 5000, "alias");
	other.relnode = 4999;
	vdb_map_table_drop(&other);
	UNIT_CHECK(vdb_map_table_valid(&ref), "dropped by a key that it does not have");
	vdb_map_table_drop(&ref);
	UNIT_CHECK(vdb_map_table_find(pool, &key, &other) && other.slot == 70 &&
			   other.relnode == 6000 &&
			   other.generation == ref.generation, "handed over");
	vdb_map_table_drop(&ref);
	UNIT_CHECK(vdb_map_table_valid(&ref), "handed over, then dropped by the key before");

	/* moved back in vain: the alias goes, the table stays */
	key.relnode = 6001;
	vdb_map_table_alias(&other, &key, InvalidFullTransactionId);
	UNIT_CHECK(vdb_map_table_drop_alias(pool, &key) && !vdb_map_table_find(pool, &key, &ref),
			   "alias dropped");
	key.relnode = 6000;
	UNIT_CHECK(!vdb_map_table_drop_alias(pool, &key) && vdb_map_table_find(pool, &key, &ref),
			   "own key");

	/* moved, then emptied: the alias leads nowhere and another entry may have its key */
	key.relnode = 6002;
	vdb_map_table_alias(&ref, &key, InvalidFullTransactionId);
	vdb_map_table_reset(&ref);
	UNIT_CHECK(!vdb_map_table_find(pool, &key, &other), "alias of an emptied table");
	UNIT_CHECK(vdb_map_table_drop_key(pool, &key) && !vdb_map_table_drop_key(pool, &key),
			   "dropped by key");
	for (uint32 slot = 0;; slot++)
	{
		VdbTableKey at;

		if (vdb_map_table_by_slot(pool, slot, &ref, &at, &past_end))
		{
			found++;
			UNIT_CHECK(ref.slot == slot && at.relnode == (slot == 70 ? 6000 : 100 + slot),
					   "slot %u", slot);
		}
		else if (past_end)
			break;
	}
	UNIT_CHECK(found == 200, "%d tables", found);
	UNIT_CHECK(mock_used_count() == 5, "%d blocks", mock_used_count());
}

/* ---- the directory's hash ---- */

static void
count_block(VdbBlock block, bool segment, void *arg)
{
	++*(int *) arg;
}

static const VdbDirectoryHead *
directory_head(void)
{
	return vdb_map_body(pool, vdb_pool_directory(pool));
}

static const VdbTableEntry *
directory_entry(uint32 slot)
{
	const VdbDirectoryBlock *dir =
		vdb_map_body(pool, directory_head()->blocks[slot / VDB_DIRECTORY_ENTRIES]);

	return &dir->entries[slot % VDB_DIRECTORY_ENTRIES];
}

/*
 * Check that each slot is in use and in its bucket, or has been given back, and that there are so
 * many tables.
 */
static void
check_directory(int tables)
{
	const VdbDirectoryHead *head = directory_head();
	uint32		in_buckets = 0;
	uint32		given_back = 0;
	int			used = 0;

	UNIT_CHECK(head->changing == head->changed && head->nbuckets == Max(1, head->nslots),
			   "%u slots, %u buckets", head->nslots, head->nbuckets);
	for (uint32 bucket = 0; bucket < head->nbuckets; bucket++)
	{
		const VdbDirectoryBlock *dir =
			vdb_map_body(pool, head->blocks[bucket / VDB_DIRECTORY_BUCKETS]);

		for (uint32 slot = dir->buckets[bucket % VDB_DIRECTORY_BUCKETS]; slot != 0;
			 slot = directory_entry(slot - 1)->next_entry)
			in_buckets++;
	}
	for (uint32 slot = head->free_entry; slot != 0 && given_back <= head->nslots;
		 slot = directory_entry(slot - 1)->next_entry)
	{
		UNIT_CHECK(directory_entry(slot - 1)->flags == 0, "slot %u was given back", slot - 1);
		given_back++;
	}
	for (uint32 slot = 0; slot < head->nslots; slot++)
	{
		used += directory_entry(slot)->flags != 0;
		UNIT_CHECK(vdb_map_table_reachable(pool, slot), "slot %u", slot);
	}
	UNIT_CHECK(used == tables && in_buckets == used && given_back == head->nslots - used,
			   "%d tables, %u in buckets, %u given back", used, in_buckets, given_back);
}

/* The most blocks read to find a table, to make one, and to drop one. */
typedef struct DirectoryCost
{
	int64		find;
	int64		create;
	int64		drop;
} DirectoryCost;

/* Make tables up to a number, and note the greatest cost for some of the last ones. */
static DirectoryCost
grow_directory(int from, int to)
{
	DirectoryCost cost = {0, 0, 0};
	VdbTableKey key = {0, 0, -1};
	VdbTableRef ref;

	for (int i = from; i < to; i++)
	{
		int64		before = mock_reads;

		(void) make_table(100000 + i, 0);
		if (i >= to - 200)
			cost.create = Max(cost.create, mock_reads - before);
	}
	for (int i = 0; i < 200; i++)
	{
		int64		before = mock_reads;

		key.relnode = 100000 + (from + i * 7919) % to;
		UNIT_CHECK(vdb_map_table_find(pool, &key, &ref) && ref.relnode == key.relnode, "found");
		cost.find = Max(cost.find, mock_reads - before);
		key.relnode = 100000 + to + i;
		UNIT_CHECK(!vdb_map_table_find(pool, &key, &ref), "no such table");
		ref = make_table(90000, 0);
		before = mock_reads;
		vdb_map_table_drop(&ref);
		cost.drop = Max(cost.drop, mock_reads - before);
		key.relnode = 90000;
		UNIT_CHECK(!vdb_map_table_find(pool, &key, &ref), "dropped");
	}
	printf("# most blocks read among %d tables: find %d, create %d, drop %d\n", to,
		   (int) cost.find, (int) cost.create, (int) cost.drop);
	return cost;
}

#define MANY_TABLES		20000

/* Finding, making and dropping a table cost the same among 1,000 tables and among 20,000. */
static void
test_many_tables(void)
{
	DirectoryCost few;
	DirectoryCost many;
	VdbTableRef ref;
	VdbTableKey key = {0, 0, -1};
	uint32		nslots;

	pool = mock_create();
	few = grow_directory(0, 1000);
	many = grow_directory(1000, MANY_TABLES);
	UNIT_CHECK(few.find < 60 && few.create < 200 && few.drop < 60, "few");
	UNIT_CHECK(many.find < 60 && many.create < 200 && many.drop < 60, "many");
	UNIT_CHECK(mock_used_count() == 1 + MANY_TABLES / VDB_DIRECTORY_ENTRIES + 1, "%d blocks",
			   mock_used_count());
	check_directory(MANY_TABLES);
	nslots = directory_head()->nslots;
	for (int i = 0; i < MANY_TABLES; i += 2)
	{
		key.relnode = 100000 + i;
		UNIT_CHECK(vdb_map_table_drop_key(pool, &key), "drop %d", i);
	}
	check_directory(MANY_TABLES / 2);
	for (int i = 0; i < MANY_TABLES; i++)
	{
		key.relnode = 100000 + i;
		UNIT_CHECK(vdb_map_table_find(mock_standby(), &key, &ref) == (i % 2 != 0), "%d", i);
	}
	/* what is made and dropped leaves nothing behind */
	for (int i = 0; i < 2000; i++)
	{
		key.relnode = 500000 + i;
		ref = make_table(key.relnode, 0);
		UNIT_CHECK(vdb_map_table_drop_key(pool, &key), "drop");
	}
	check_directory(MANY_TABLES / 2);
	UNIT_CHECK(directory_head()->nslots == nslots, "%u slots", directory_head()->nslots);
}

/*
 * Beyond the addresses of the first head.  Most blocks are added without making their tables, as if
 * their slots had been lost.
 */
static void
test_second_head(void)
{
	int			n = VDB_DIRECTORY_FANOUT * VDB_DIRECTORY_ENTRIES;
	int			from = n - 2 * VDB_DIRECTORY_ENTRIES;
	VdbTableRef refs[4 * VDB_DIRECTORY_ENTRIES];
	VdbTableRef ref;
	int			blocks = 0;

	pool = mock_create();
	ref = make_table(1, 0);
	vdb_map_table_drop(&ref);
	for (int slot = VDB_DIRECTORY_ENTRIES; slot <= from; slot += VDB_DIRECTORY_ENTRIES)
	{
		VdbDirectoryHead *head = unconstify(VdbDirectoryHead *, directory_head());

		head->free_entry = 0;
		head->nslots = head->nbuckets = slot;
		UNIT_CHECK(vdb_directory_choose(pool) == slot, "slot %d", slot);
	}
	for (int i = 0; i < lengthof(refs); i++)
		refs[i] = make_table(1000 + i, 0);
	UNIT_CHECK(directory_head()->next != VDB_BLOCK_NONE && directory_head()->nslots > n,
			   "a second head");
	vdb_map_directory_blocks(pool, count_block, &blocks);
	UNIT_CHECK(blocks == mock_used_count() && blocks == 2 + VDB_DIRECTORY_FANOUT + 2,
			   "%d blocks of %d", blocks, mock_used_count());
	for (int i = 0; i < lengthof(refs); i++)
	{
		VdbTableKey key = {0, 1000 + i, -1};

		UNIT_CHECK(vdb_map_table_find(pool, &key, &ref) && ref.slot == from + i, "table %d", i);
		UNIT_CHECK(vdb_map_table_find(mock_standby(), &key, &ref) && ref.slot == from + i,
				   "standby, %d", i);
		if (i % 2 != 0)
			vdb_map_table_drop(&refs[i]);
		UNIT_CHECK(vdb_map_table_find(pool, &key, &ref) == (i % 2 == 0), "table %d", i);
	}
}

/* Searches for tables that stay, while others come and go. */
#define STANDING		40
#define NSEARCHES		12

typedef struct OpenSearch
{
	VdbTableKey key;
	bool		open;
	bool		found;
	VdbDirectorySearch search;
} OpenSearch;

static OpenSearch open_searches[NSEARCHES];
static int	missed;

/* Take one step of a search that runs beside the change. */
static void
step_search(void)
{
	OpenSearch *own = &open_searches[unit_random_below(NSEARCHES)];
	const VdbTableEntry *entry;
	uint32		slot;
	VdbBlock	block;

	if (!own->open)
	{
		own->key = (VdbTableKey){0, 100 + unit_random_below(STANDING), -1};
		own->open = true;
		own->found = false;
		own->search.searches = 0;
		vdb_directory_begin(pool, &own->key, &own->search);
		return;
	}
	entry = vdb_directory_next(&own->search, &slot, &block);
	if (entry != NULL)
	{
		own->found = own->found || entry->relnode == own->key.relnode;
		return;
	}
	own->open = false;
	if (own->found)
		return;
	missed++;
	UNIT_CHECK(vdb_directory_changed(&own->search), "%u is missing", own->key.relnode);
}

/* A reader's steps come between the stores of a change, which have any order. */
static void
read_between_stores(void)
{
	for (int n = unit_random_below(12); n > 0; n--)
		step_search();
}

static void
test_search_race(void)
{
	VdbTableRef others[64];
	bool		there[64] = {false};
	uint32		next = 10000;

	missed = 0;
	for (int round = 0; round < 30; round++)
	{
		int			tables = STANDING;

		pool = mock_create();
		memset(open_searches, 0, sizeof(open_searches));
		memset(there, 0, sizeof(there));
		for (int i = 0; i < STANDING; i++)
			(void) make_table(100 + i, 0);
		mock_on_store = read_between_stores;
		for (int i = 0; i < 200; i++)
		{
			int			which = unit_random_below(64);

			if (there[which])
				vdb_map_table_drop(&others[which]);
			else
				others[which] = make_table(next++, 0);
			there[which] = !there[which];
			tables += there[which] ? 1 : -1;
		}
		mock_on_store = NULL;
		check_directory(tables);
	}
	printf("# %d searches had to be repeated\n", missed);
	UNIT_CHECK(missed > 100, "only %d searches met a change", missed);
}

/* A table takes over its alias's key, and so moves to another bucket, under searches for it. */
static void
find_moving(void)
{
	VdbDirectorySearch search = {.searches = 0};
	VdbTableKey key = {7, 6000, -1};
	const VdbTableEntry *entry;
	bool		found = false;
	uint32		slot;
	VdbBlock	block;

	vdb_directory_begin(pool, &key, &search);
	while ((entry = vdb_directory_next(&search, &slot, &block)) != NULL)
		found = found || (entry->relnode == key.relnode && entry->spc == key.spc);
	UNIT_CHECK(found || vdb_directory_changed(&search), "the moved table is missing");
}

static void
test_move_race(void)
{
	for (int round = 0; round < 60; round++)
	{
		VdbTableKey key = {7, 6000, -1};
		VdbTableRef ref;
		VdbTableRef moved;

		pool = mock_create();
		for (int i = 0; i < 1 + round % 20; i++)
			ref = make_table(100 + i, 0);
		vdb_map_table_alias(&ref, &key, InvalidFullTransactionId);
		mock_on_store = find_moving;
		vdb_map_table_drop(&ref);
		mock_on_store = NULL;
		UNIT_CHECK(vdb_map_table_find(pool, &key, &moved) && moved.slot == ref.slot &&
				   moved.generation == ref.generation, "moved");
		check_directory(1 + round % 20);
	}
}

/* Other tables are made and dropped in the middle of a search: buckets are split. */
static void
make_others(void)
{
	static int	n = 0;

	came_others = true;
	for (int i = 0; i < 10; i++)
	{
		VdbTableRef ref = make_table(1000000 + n++, 0);

		if (i % 3 == 0)
			vdb_map_table_drop(&ref);
	}
}

static void
test_split_race(void)
{
	VdbTableKey key = {0, 0, -1};
	VdbTableRef ref;

	pool = mock_create();
	for (int i = 0; i < 50; i++)
		(void) make_table(100 + i, 0);
	for (int i = 0; i < 50; i++)
	{
		came_others = true;
		for (int at = 0; came_others; at++)
		{
			came_others = false;
			key.relnode = 100 + i;
			mock_on_read = make_others;
			mock_reads_before = at;
			UNIT_CHECK(vdb_map_table_find(pool, &key, &ref) && ref.slot == i, "%d at %d", i, at);
			mock_on_read = NULL;
		}
	}
}

/* The rest of a change that a search has met half applied. */
static VdbDirectoryHead *half_done;
static VdbDirectoryBlock *half_done_block;
static uint32 bucket_before;

static void
finish_change(void)
{
	half_done_block->buckets[0] = bucket_before;
	half_done->changed++;
}

/* A change of the hash is half applied when the search begins: the entry is in no bucket. */
static void
test_half_change(void)
{
	VdbTableKey key = {0, 100, -1};
	VdbTableRef ref;

	for (int at = 0; at < 10000; at += Max(1, at / 2))
	{
		pool = mock_create();
		(void) make_table(100, 0);
		half_done = unconstify(VdbDirectoryHead *, directory_head());
		half_done_block = unconstify(VdbDirectoryBlock *,
									 (const VdbDirectoryBlock *)
									 vdb_map_body(pool, half_done->blocks[0]));
		UNIT_CHECK(half_done->nbuckets == 1 && half_done->changed == half_done->changing, "one");
		bucket_before = half_done_block->buckets[0];
		half_done_block->buckets[0] = 0;
		half_done->changing++;
		mock_on_read = finish_change;
		mock_reads_before = at;
		UNIT_CHECK(vdb_map_table_find(pool, &key, &ref) && ref.slot == 0, "at %d", at);
		mock_on_read = NULL;
	}
}

/* Make tables, and drop every other one. */
static void
make_and_drop(void *arg)
{
	int		   *made = arg;

	for (; *made < 60; ++*made)
	{
		VdbTableKey key = {0, 100 + *made, -1};
		VdbTableRef ref = make_table(key.relnode, 0);

		if (*made % 2 != 0)
			vdb_map_table_drop(&ref);
	}
}

/* A crash at each change, then another one: the directory is whole, and no block is lost. */
static void
test_directory_crashes(void)
{
	bool		crashed = true;

	for (int at = 0; crashed; at += at < 10 ? 1 : 4)
	{
		int			made = 0;
		int			tables = 0;

		pool = mock_create();
		mock_crash_at = at;
		crashed = mock_run(make_and_drop, &made);
		if (crashed)
		{
			(void) vdb_epoch_current(pool);
			mock_crash_at = mock_changes + at % 3;
			if (mock_run(make_and_drop, &made))
				(void) vdb_epoch_current(pool);
			mock_crash_at = -1;
			make_and_drop(&made);
		}
		for (int i = 0; i < 60; i++)
		{
			VdbTableKey key = {0, 100 + i, -1};
			VdbTableRef ref;
			bool		found = vdb_map_table_find(pool, &key, &ref);

			UNIT_CHECK(found || i % 2 != 0, "crash at %d: table %d is missing", at, i);
			tables += found;
		}
		/* the drop that a crash has interrupted was not repeated */
		UNIT_CHECK(tables >= 30 && tables <= 32, "%d tables", tables);
		check_directory(tables);
		UNIT_CHECK(mock_used_count() == 1 + (directory_head()->nslots - 1) /
				   VDB_DIRECTORY_ENTRIES + 1, "crash at %d: %d blocks", at, mock_used_count());
	}
}

/* A directory with a bucket that leads in a circle, or out of the directory. */
static void
find_missing(void)
{
	VdbTableKey key = {0, 99, -1};
	VdbTableRef ref;

	shim_sqlstate = 0;
	PG_TRY();
	{
		UNIT_CHECK(!vdb_map_table_find(pool, &key, &ref), "no such table");
	}
	PG_CATCH();
	{
	}
	PG_END_TRY();
}

static void
test_directory_damage(void)
{
	VdbTableEntry *entry;
	VdbDirectoryBlock *dir;

	pool = mock_create();
	(void) make_table(100, 0);
	find_missing();
	UNIT_CHECK(shim_sqlstate == 0, "no damage yet");
	entry = unconstify(VdbTableEntry *, directory_entry(0));
	entry->next_entry = 1;
	find_missing();
	UNIT_CHECK(shim_sqlstate == ERRCODE_DATA_CORRUPTED, "a circle: %s", shim_message);
	entry->next_entry = 0;
	dir = unconstify(VdbDirectoryBlock *, (const VdbDirectoryBlock *)
					 vdb_map_body(pool, directory_head()->blocks[0]));
	dir->number = 3;
	find_missing();
	UNIT_CHECK(shim_sqlstate == ERRCODE_DATA_CORRUPTED, "another block: %s", shim_message);
	dir->number = 0;
	dir->buckets[0] = 0;
	UNIT_CHECK(!vdb_map_table_reachable(pool, 0), "in no bucket");
}

static void
test_claim(void)
{
	VdbTableRef ref;
	VdbLogicalBlock lbs[64];
	VdbBlock	segments[64];
	VdbExtent	extent;
	int			n;

	pool = mock_create();
	ref = make_table(1, 0);
	UNIT_CHECK(vdb_map_limit(&ref) == 0, "limit");
	vdb_map_lookup(&ref, 0, &extent);
	UNIT_CHECK(extent.kind == VDB_EXTENT_NONE, "nothing yet");

	n = claim(&ref, 5, 8, lbs, segments);
	UNIT_CHECK(n == 5 && vdb_map_limit(&ref) == 40, "%d claimed, limit %u", n, vdb_map_limit(&ref));
	for (VdbLogicalBlock lb = 0; lb < 40; lb++)
	{
		vdb_map_lookup(&ref, lb, &extent);
		UNIT_CHECK(extent.kind == VDB_EXTENT_SEGMENT && extent.ref == segments[lb / 8] &&
				   extent.first_lb == lbs[lb / 8] && extent.first_lb == lb / 8 * 8, "lb %u", lb);
	}
	vdb_map_lookup(&ref, 40, &extent);
	UNIT_CHECK(extent.kind == VDB_EXTENT_NONE, "past the limit");

	/* up to LB 253, then 8 don't fit: the rest of the range is skipped */
	while (vdb_map_limit(&ref) < 250)
		n = claim(&ref, 1, 2, lbs, segments);
	n = claim(&ref, 3, 1, lbs, segments);
	UNIT_CHECK(n == 3 && vdb_map_limit(&ref) == 253, "limit %u", vdb_map_limit(&ref));
	n = claim(&ref, 2, 8, lbs, segments);
	UNIT_CHECK(n == 2 && lbs[0] == 256 && lbs[1] == 264, "first %u", lbs[0]);
	vdb_map_lookup(&ref, 254, &extent);
	UNIT_CHECK(extent.kind == VDB_EXTENT_NONE, "skipped");
	vdb_map_lookup(&ref, 10, &extent);
	UNIT_CHECK(extent.kind == VDB_EXTENT_SEGMENT && extent.first_lb == 8, "old range still there");
	UNIT_CHECK(vdb_map_table_entry(&ref)->height == 1, "height");

	/* a claim ends with its range */
	while (vdb_map_limit(&ref) < 508)
		n = claim(&ref, 1, 4, lbs, segments);
	n = claim(&ref, 8, 1, lbs, segments);
	UNIT_CHECK(n == 4 && vdb_map_limit(&ref) == 512, "%d claimed", n);
	UNIT_CHECK(vdb_map_check(&ref, report, NULL) == 0, "check");
	UNIT_CHECK(mock_reserved_count() == 0, "%d reserved", mock_reserved_count());
}

static void
claim_failing(void *arg)
{
	VdbBlock	segment;
	VdbLogicalBlock lb;

	vdb_scm_reserve_segments(pool, 1, false, &segment);
	vdb_map_claim(arg, 1, 8, &segment, &lb, format_segment, arg);
}

static void
test_claim_fails(void)
{
	VdbTableRef ref;

	pool = mock_create();
	ref = make_table(1, 0);
	mock_blocks_left = 0;
	UNIT_CHECK(claim(&ref, 1, 8, NULL, NULL) == 0, "no block for the node");
	UNIT_CHECK(vdb_map_limit(&ref) == 0 && mock_reserved_count() == 0, "nothing happened");
	mock_blocks_left = -1;
	UNIT_CHECK(shim_catches(claim_failing, &ref), "error in the callback");
	UNIT_CHECK(mock_reserved_count() == VDB_SEGMENT_BLOCKS && vdb_map_limit(&ref) == 0,
			   "only the caller's segment is reserved");
	memset(&ref, 0, 0);
	UNIT_CHECK(claim(&ref, 1, 8, NULL, NULL) == 1, "claims again");
}

static void
claim_to_end(void *arg)
{
	claim(arg, 1, 8, NULL, NULL);
}

/* Pretend that many row numbers were used, to see the tree grow. */
static void
set_limit(const VdbTableRef *ref, VdbLogicalBlock limit)
{
	VdbScmChange *change = vdb_scm_change_begin(pool, VDB_CHANGE_FLUSH);

	vdb_scm_change_publish(change, ref->entry_block,
						   ref->entry_offset + offsetof(VdbTableEntry, next_lb), &limit, 4);
	vdb_scm_change_end(change);
}

static void
test_growth(void)
{
	VdbTableRef ref;
	VdbLogicalBlock lbs[64];
	VdbBlock	segments[64];
	VdbExtent	extent;

	pool = mock_create();
	ref = make_table(1, 0);
	claim(&ref, 1, 8, NULL, NULL);
	set_limit(&ref, 300 * 256);
	claim(&ref, 1, 8, lbs, segments);
	UNIT_CHECK(vdb_map_table_entry(&ref)->height == 1, "height 1");
	set_limit(&ref, 5000 * 256);
	UNIT_CHECK(vdb_map_next_lb(&ref, 0) == 0, "range 0");
	UNIT_CHECK(vdb_map_next_lb(&ref, 256) == 300 * 256, "next is %u", vdb_map_next_lb(&ref, 256));
	UNIT_CHECK(vdb_map_next_lb(&ref, 301 * 256 + 7) == 5000 * 256, "limit");
	claim(&ref, 1, 8, lbs, segments);
	UNIT_CHECK(vdb_map_table_entry(&ref)->height == 2 && lbs[0] == 5000 * 256, "height 2");
	vdb_map_lookup(&ref, lbs[0] + 7, &extent);
	UNIT_CHECK(extent.ref == segments[0], "found");
	vdb_map_lookup(&ref, 300 * 256 + 7, &extent);
	UNIT_CHECK(extent.kind == VDB_EXTENT_SEGMENT, "found");
	vdb_map_lookup(&ref, 7, &extent);
	UNIT_CHECK(extent.kind == VDB_EXTENT_SEGMENT, "found");
	vdb_map_lookup(&ref, 2000 * 256, &extent);
	UNIT_CHECK(extent.kind == VDB_EXTENT_NONE, "hole");
	UNIT_CHECK(vdb_map_next_lb(&ref, 301 * 256 + 7) == 5000 * 256, "over the root's children");
	set_limit(&ref, 2000000u * 256);
	claim(&ref, 1, 8, lbs, segments);
	UNIT_CHECK(vdb_map_table_entry(&ref)->height == 3, "height 3");
	UNIT_CHECK(vdb_map_check(&ref, report, NULL) == 0, "check");

	set_limit(&ref, VDB_MAX_LOGICAL_BLOCK - 8);
	UNIT_CHECK(claim(&ref, 2, 8, NULL, NULL) == 1, "the last ones");
	UNIT_CHECK(vdb_map_limit(&ref) == VDB_MAX_LOGICAL_BLOCK, "limit");
	UNIT_CHECK(shim_catches(claim_to_end, &ref) && shim_sqlstate == ERRCODE_PROGRAM_LIMIT_EXCEEDED,
			   "out of row numbers");
	pool = mock_create();
}

static void
test_metas(void)
{
	VdbTableRef ref;
	VdbBlock	meta;
	VdbBlock	meta2;
	const VdbStripeMeta *m;
	uint8		all[256];
	int			before;

	pool = mock_create();
	ref = make_table(1, 0);
	claim(&ref, 8, 8, NULL, NULL);
	before = mock_used_count();
	for (int i = 0; i < 256; i++)
		all[i] = i;

	meta = store_meta(&ref, 0, 8, 700);		/* several batches of continuations */
	m = vdb_map_meta(pool, meta);
	UNIT_CHECK(m->ncontinuations == (5600 + VDB_ZONES_PER_BLOCK - 1) / VDB_ZONES_PER_BLOCK &&
			   m->table_slot == ref.slot, "%u", m->ncontinuations);
	for (int c = 0; c < 8; c++)
		for (int k = 0; k < 700; k++)
			UNIT_CHECK(vdb_map_zone(pool, m, c, k)->null_count == c * 700 + k, "zone");
	UNIT_CHECK(vdb_map_zone(pool, m, 0, 700) == NULL, "added column");
	UNIT_CHECK(vdb_map_table_entry(&ref)->pending_meta == meta, "pending");
	meta2 = store_meta(&ref, 0, 1, 3);
	vdb_map_free_meta(&ref, meta);			/* not the first of the list */
	vdb_map_free_meta(&ref, meta2);
	UNIT_CHECK(mock_used_count() == before && vdb_map_table_entry(&ref)->pending_meta == 0,
			   "%d leaked", mock_used_count() - before);

	/* few zones take no block of their own */
	for (int n = VDB_ZONES_INSIDE - 1; n <= (int) VDB_ZONES_INSIDE + 1; n++)
	{
		bool		inside = n <= (int) VDB_ZONES_INSIDE;

		meta = store_meta(&ref, 0, 1, n);
		m = vdb_map_meta(pool, meta);
		UNIT_CHECK(((m->flags & VDB_STRIPE_ZONES_INSIDE) != 0) == inside &&
				   m->ncontinuations == (inside ? 0 : 1),
				   "%d zones: %u continuations", n, m->ncontinuations);
		UNIT_CHECK(mock_used_count() == before + (inside ? 1 : 2), "%d zones: %d blocks", n,
				   mock_used_count() - before);
		vdb_map_freeze_stripe(&ref, meta);
		for (int k = 0; k < n; k++)
			UNIT_CHECK(vdb_map_zone(pool, m, 0, k)->null_count == k, "zone %d of %d", k, n);
		UNIT_CHECK(vdb_map_check(&ref, report, NULL) == 0, "check");
		vdb_map_free_meta(&ref, meta);
		UNIT_CHECK(mock_used_count() == before, "%d leaked", mock_used_count() - before);
	}

	/* a full pool */
	mock_blocks_left = 30;
	UNIT_CHECK(store_meta(&ref, 0, 8, 700) == VDB_BLOCK_NONE, "full");
	mock_blocks_left = -1;
	UNIT_CHECK(mock_used_count() == before && mock_reserved_count() == 0, "nothing left");

	/* switch away from segments, then from one stripe to two others, then gone */
	meta = store_meta(&ref, 0, 2, 10);
	switch_lbs(&ref, 0, all, 64, meta, true);
	UNIT_CHECK(vdb_map_table_entry(&ref)->pending_meta == 0, "installed");
	UNIT_CHECK(mock_used_count() == before - 64 + 1, "segments freed");
	switch_spill(&ref, all, 64, meta);
	meta2 = store_meta(&ref, 0, 2, 10);
	switch_lbs(&ref, 0, all, 10, meta2, false);
	UNIT_CHECK(vdb_map_table_entry(&ref)->pending_meta == 0, "the old one has LBs yet");
	UNIT_CHECK(vdb_map_check(&ref, report, NULL) == 0, "check");
	{
		VdbBlock	meta3 = store_meta(&ref, 0, 2, 10);
		VdbBlock	other = store_meta(&ref, 0, 2, 10);

		switch_lbs(&ref, 0, all, 63, meta3, false);
		UNIT_CHECK(vdb_map_table_entry(&ref)->pending_meta == meta2, "now pending");
		switch_lbs(&ref, 0, all + 63, 1, VDB_BLOCK_NONE, false);
		UNIT_CHECK(vdb_map_table_entry(&ref)->pending_meta == meta, "now pending");
		UNIT_CHECK(vdb_map_check(&ref, report, NULL) == 0, "check");
		UNIT_CHECK(!vdb_map_free_meta_if_unused(&ref, meta3), "meta3 is in use");
		UNIT_CHECK(vdb_map_free_meta_if_unused(&ref, meta2), "meta2 isn't");
		vdb_map_free_meta(&ref, meta);
		vdb_map_free_meta(&ref, other);
		vdb_map_freeze_stripe(&ref, meta3);
		UNIT_CHECK(vdb_map_meta(pool, meta3)->flags & VDB_STRIPE_FROZEN, "frozen");
	}
	UNIT_CHECK(mock_used_count() == before - 64 + 1, "metas freed");
	vdb_map_table_drop(&ref);
	UNIT_CHECK(mock_used_count() == 2, "%d left", mock_used_count());
}

/*
 * Flip each bit of 'len' bytes of a block; how many times does the meta, or the block 'number' of
 * its zone maps, fail?
 */
static int
count_found(VdbBlock meta_block, VdbBlock block, uint32 from, uint32 len, bool zones, uint32 number)
{
	const VdbStripeMeta *meta = vdb_map_meta(pool, meta_block);
	char	   *bytes = (char *) vdb_pool_block(pool, block) + from;
	VdbMetaDamage damage;
	int			found = 0;

	for (uint32 i = 0; i < len * 8; i++)
	{
		bool		fails;

		bytes[i / 8] ^= 1 << i % 8;
		fails = zones ? vdb_map_zones_damaged(pool, meta_block, meta, number, &damage) :
			vdb_map_meta_damaged(meta_block, meta, &damage);
		if (fails)
			UNIT_CHECK(damage.block == block && damage.expected != damage.found, "named");
		found += fails;
		bytes[i / 8] ^= 1 << i % 8;
	}
	return found;
}

#define FIELD_FOUND(block, field) \
	count_found(block, block, VDB_POOL_BLOCK_HEADER + offsetof(VdbStripeMeta, field), \
				sizeof(((VdbStripeMeta *) NULL)->field), false, 0)

static int	findings_left;

static void
count_finding(VdbLogicalBlock lb, const char *message, void *arg)
{
	findings_left--;
	UNIT_CHECK(strstr(message, arg) != NULL, "%s", message);
}

static void
test_checksums(void)
{
	VdbTableRef ref;
	VdbBlock	meta;
	const VdbStripeMeta *m;
	VdbZoneReader reader;
	char	   *byte;
	int			last;
	int			head = offsetof(VdbStripeMeta, continuations);

	pool = mock_create();
	ref = make_table(1, 0);
	claim(&ref, 8, 8, NULL, NULL);
	meta = store_meta(&ref, 0, 8, 15);	/* 120 zone maps, inside */
	m = vdb_map_meta(pool, meta);
	UNIT_CHECK(count_found(meta, meta, 0, VDB_POOL_BLOCK_HEADER, false, 0) == 0, "no part of it");
	/*
	 * all of the head but two flags, continuations and the pending list, what follows the two
	 * checksums; and an xmin of 2 would be Frozen
	 */
	UNIT_CHECK(count_found(meta, meta, VDB_POOL_BLOCK_HEADER, head, false,
						   0) == (head - 8 - 2 - 8) * 8 - 2 - 2,
			   "%d", count_found(meta, meta, VDB_POOL_BLOCK_HEADER, head, false, 0));
	UNIT_CHECK(FIELD_FOUND(meta, nchunks) == 16 && FIELD_FOUND(meta, max_xmin) == 31 &&
			   FIELD_FOUND(meta, flags) == 14 &&
			   FIELD_FOUND(meta, pending_next) == 0 && FIELD_FOUND(meta, zones_crc) == 0, "fields");
	UNIT_CHECK(count_found(meta, meta, VDB_POOL_BLOCK_HEADER + head, 120 * 64, true,
						   VDB_ZONES_IN_META) == 120 * 64 * 8,
			   "zone maps inside");
	vdb_map_freeze_stripe(&ref, meta);
	UNIT_CHECK(FIELD_FOUND(meta, max_xmin) == 0 && FIELD_FOUND(meta, nchunks) == 16, "frozen");
	vdb_zone_reader_init(&reader, pool, meta, m);
	UNIT_CHECK(vdb_zone_read(&reader, 7, 14) == vdb_map_zone(pool, m, 7, 14) && !reader.damaged,
			   "read");
	UNIT_CHECK(vdb_zone_read(&reader, 7, 15) == NULL && !reader.damaged, "added column");

	/* continuations: 5600 zone maps in 45 blocks, the last with 12 */
	meta = store_meta(&ref, 0, 8, 700);
	m = vdb_map_meta(pool, meta);
	last = m->ncontinuations - 1;
	UNIT_CHECK(count_found(meta, m->continuations[last], VDB_POOL_BLOCK_HEADER, 12 * 64, true,
						   last) == 12 * 64 * 8,
			   "zone maps of the last block");
	UNIT_CHECK(count_found(meta, m->continuations[3], VDB_POOL_BLOCK_HEADER, 8132, true,
						   3) == 8132 * 8, "of another");
	byte = (char *) vdb_pool_block(pool, m->continuations[1]) + 100;
	*byte ^= 1;
	vdb_zone_reader_init(&reader, pool, meta, m);
	UNIT_CHECK(vdb_zone_read(&reader, 0, 0) != NULL && vdb_zone_read(&reader, 7, 699) != NULL &&
			   !reader.damaged, "others");
	UNIT_CHECK(vdb_zone_read(&reader, 0, 127) == NULL && reader.damaged &&
			   reader.damage.block == m->continuations[1],
			   "of the damaged block");
	UNIT_CHECK(vdb_zone_read(&reader, 0, 0) == NULL, "no more");
	findings_left = 1;
	UNIT_CHECK(vdb_map_check(&ref, count_finding, "zone maps of stripe") == 1 &&
			   findings_left == 0, "checked");
	*byte ^= 1;
	byte = (char *) m + offsetof(VdbStripeMeta, nrows);
	*byte ^= 1;
	findings_left = 1;
	UNIT_CHECK(vdb_map_check(&ref, count_finding, "metadata of stripe") == 1 &&
			   findings_left == 0, "checked");
	*byte ^= 1;
	UNIT_CHECK(vdb_map_check(&ref, report, NULL) == 0, "intact");
}

static void
lookup_zero(void *arg)
{
	VdbExtent	extent;

	vdb_map_lookup(arg, 0, &extent);
}

static void
test_damage(void)
{
	VdbTableRef ref;
	char	   *root;
	char	   *entry;

	pool = mock_create();
	ref = make_table(1, 0);
	claim(&ref, 4, 8, NULL, NULL);
	root = (char *) vdb_pool_block(pool, vdb_map_table_entry(&ref)->root);
	for (int i = 0; i < 20; i++)
	{
		if (i == 6 || i == 7 || i >= 20)	/* padding */
			continue;
		root[24 + i] ^= 0x10;
		UNIT_CHECK(shim_catches(lookup_zero, &ref) && shim_sqlstate == ERRCODE_DATA_CORRUPTED,
				   "byte %d", i);
		UNIT_CHECK(vdb_map_check(&ref, report_expected, NULL) > 0, "check, byte %d", i);
		root[24 + i] ^= 0x10;
	}
	entry = root + 24 + offsetof(VdbRangeNode, entries);
	entry[0] = 9;
	UNIT_CHECK(shim_catches(lookup_zero, &ref), "kind");
	entry[0] = VDB_EXTENT_SEGMENT;
	memcpy(entry + 8 * 16, entry, 16);		/* LB 8 says what LB 0 says */
	UNIT_CHECK(vdb_map_check(&ref, report_expected, NULL) > 0, "double");
}

/* What a table has: enough of everything that dropping it takes several steps. */
static VdbTableRef
make_rich_table(void)
{
	VdbTableRef ref;
	uint8		some[16];
	VdbBlock	meta;

	pool = mock_create();
	ref = make_table(1, 0);
	for (int i = 0; i < 12; i++)
		claim(&ref, 20, 2, NULL, NULL);
	for (int i = 0; i < 16; i++)
		some[i] = i + 8;
	meta = store_meta(&ref, 0, 10, 700);
	switch_lbs(&ref, 0, some, 16, meta, true);
	(void) store_meta(&ref, 0, 1, 100);
	(void) store_meta(&ref, 1, 8, 500);
	return ref;
}

typedef struct DropArg
{
	VdbTableRef ref;
	bool		drop;
} DropArg;

static void
drop_body(void *arg)
{
	DropArg    *drop = arg;

	if (drop->drop)
		vdb_map_table_drop(&drop->ref);
	else
		vdb_map_table_reset(&drop->ref);
}

/* Crash at every change of a drop or reset, again and again, and finish it afterwards. */
static void
drop_with_crashes(bool drop)
{
	bool		crashed = true;

	for (int at = 0; crashed; at++)
	{
		VdbTableKey key = {0, 1, -1};
		DropArg		arg = {make_rich_table(), drop};

		mock_crash_at = mock_changes + at;
		crashed = mock_run(drop_body, &arg);
		if (crashed)
		{
			if (vdb_map_table_find(pool, &key, &arg.ref))
			{
				/* a second crash a little later */
				mock_crash_at = mock_changes + at % 3;
				if (mock_run(drop_body, &arg) && vdb_map_table_find(pool, &key, &arg.ref))
					drop_body(&arg);
			}
		}
		mock_crash_at = -1;
		if (drop)
			UNIT_CHECK(mock_used_count() == 2 && !vdb_map_table_find(pool, &key, &arg.ref),
					   "crash at %d: %d left", at, mock_used_count());
		else
		{
			UNIT_CHECK(mock_used_count() == 2 && vdb_map_table_find(pool, &key, &arg.ref) &&
					   vdb_map_limit(&arg.ref) == 0,
					   "crash at %d: %d left", at, mock_used_count());
			UNIT_CHECK(claim(&arg.ref, 3, 8, NULL, NULL) == 3, "usable again");
			UNIT_CHECK(vdb_map_check(&arg.ref, report, NULL) == 0, "check");
		}
		UNIT_CHECK(mock_reserved_count() == 0, "reserved");
	}
}

static void
test_drop_crashes(void)
{
	drop_with_crashes(true);
}

static void
test_reset_crashes(void)
{
	drop_with_crashes(false);
}

/* A reset that crashed is finished by the next claim. */
static void
test_claim_finishes_reset(void)
{
	VdbTableKey key = {0, 1, -1};
	DropArg		arg = {make_rich_table(), false};

	mock_crash_at = mock_changes + 3;
	UNIT_CHECK(mock_run(drop_body, &arg), "crashed");
	UNIT_CHECK(vdb_map_table_find(pool, &key, &arg.ref) && vdb_map_limit(&arg.ref) == 0,
			   "empty at once");
	UNIT_CHECK(claim(&arg.ref, 2, 8, NULL, NULL) == 2, "claims");
	UNIT_CHECK(mock_used_count() == 2 + 1 + 16, "%d blocks", mock_used_count());
	UNIT_CHECK(vdb_map_check(&arg.ref, report, NULL) == 0, "check");
}

static void
meta_body(void *arg)
{
	VdbBlock	meta = store_meta(arg, 0, 8, 700);
	uint8		indexes[3] = {1, 2, 3};

	switch_lbs(arg, 0, indexes, 3, meta, false);
}

/* Crash at every change of storing and installing a meta: nothing leaks. */
static void
test_meta_crashes(void)
{
	bool		crashed = true;

	for (int at = 0; crashed; at++)
	{
		VdbTableRef ref;
		int			before;

		pool = mock_create();
		ref = make_table(1, 0);
		claim(&ref, 8, 1, NULL, NULL);
		before = mock_used_count();
		mock_crash_at = mock_changes + at;
		crashed = mock_run(meta_body, &ref);
		if (!crashed)
			break;
		vdb_map_sweep(&ref);
		UNIT_CHECK(mock_used_count() == before || mock_used_count() == before + 1 +
				   (int) ((5600 + VDB_ZONES_PER_BLOCK - 1) / VDB_ZONES_PER_BLOCK),
				   "crash at %d: %d blocks more", at, mock_used_count() - before);
		UNIT_CHECK(vdb_map_table_entry(&ref)->pending_meta == 0, "swept");
		UNIT_CHECK(vdb_map_check(&ref, report, NULL) == 0, "check");
	}
}

static void
test_counts(void)
{
	VdbTableRef ref;
	VdbTableDelta delta = {.dead_rows = 10,.striped_rows = 7,.last_migration = 99};
	VdbScmChange *change;

	pool = mock_create();
	ref = make_table(1, VDB_TABLE_UNLOGGED);
	for (int i = 0; i < 2; i++)
	{
		LWLockAcquire(vdb_map_lock(ref.slot), LW_EXCLUSIVE);
		change = vdb_scm_change_begin(pool, 0);
		vdb_map_table_count(change, &ref, &delta);
		vdb_scm_change_end(change);
		LWLockRelease(vdb_map_lock(ref.slot));
		delta.dead_rows = -15;
		delta.last_migration = 0;
	}
	UNIT_CHECK(vdb_map_table_entry(&ref)->dead_rows == 0, "stops at zero");
	UNIT_CHECK(vdb_map_table_entry(&ref)->striped_rows == 14, "sum");
	UNIT_CHECK(vdb_map_table_entry(&ref)->last_migration == 99, "time");
}

/* What has lost all its rows is skipped, also where whole ranges did; so is what never had any. */
static void
test_gone(void)
{
	VdbTableRef ref;
	uint8		indexes[VDB_RANGE_LBS];
	uint32		range = 0;

	for (int i = 0; i < VDB_RANGE_LBS; i++)
		indexes[i] = i;
	pool = mock_create();
	ref = make_table(1, 0);
	while (vdb_map_limit(&ref) < 4 * VDB_RANGE_LBS)
		claim(&ref, 8, 8, NULL, NULL);
	UNIT_CHECK(vdb_map_next_lb(&ref, 300) == 300, "rows");

	switch_lbs(&ref, 0, indexes, 8, VDB_BLOCK_NONE, true);
	UNIT_CHECK(vdb_map_next_lb(&ref, 0) == 8, "part of a range: %u", vdb_map_next_lb(&ref, 0));
	for (range = 1; range < 3; range++)
		for (int i = 0; i < VDB_RANGE_LBS; i += 64)
			switch_lbs(&ref, range, indexes + i, 64, VDB_BLOCK_NONE, true);
	UNIT_CHECK(vdb_map_next_lb(&ref, 255) == 255, "the last before");
	UNIT_CHECK(vdb_map_next_lb(&ref, 256) == 3 * 256, "two ranges: %u", vdb_map_next_lb(&ref, 256));
	UNIT_CHECK(vdb_map_next_lb(&ref, 400) == 3 * 256, "from within: %u", vdb_map_next_lb(&ref,
																						 400));
	range = 1;
	UNIT_CHECK(vdb_map_next_range(&ref, &range) && range == 1, "the node is there: %u", range);
	range = 4;
	UNIT_CHECK(!vdb_map_next_range(&ref, &range), "the limit");

	for (int i = 0; i < VDB_RANGE_LBS; i += 64)
		switch_lbs(&ref, 3, indexes + i, 64, VDB_BLOCK_NONE, true);
	UNIT_CHECK(vdb_map_next_lb(&ref, 256) == vdb_map_limit(&ref), "nothing is left");
	UNIT_CHECK(vdb_map_check(&ref, report, NULL) == 0, "check");
}

/* ---- ranges that give back their nodes ---- */

/* Let the LBs that claim_in has handed out lose their rows. */
static void
remove_range(const VdbTableRef *ref, uint32 range)
{
	uint8		indexes[16];

	for (int i = 0; i < 16; i++)
		indexes[i] = i;
	switch_lbs(ref, range, indexes, 16, VDB_BLOCK_NONE, true);
}

/* Hand out some LBs of a range; its rest is skipped by the next call. */
static void
claim_in(const VdbTableRef *ref, uint32 range)
{
	set_limit(ref, range * VDB_RANGE_LBS);
	UNIT_CHECK(claim(ref, 2, 8, NULL, NULL) == 2, "range %u", range);
}

/*
 * A table whose rows are in ranges 0 and 3000.  Those of 7 and 2000 are removed; the latter's node
 * is the only one below its inner node.
 */
static VdbTableRef
make_holes(void)
{
	VdbTableRef ref;

	pool = mock_create();
	ref = make_table(1, 0);
	claim_in(&ref, 0);
	claim_in(&ref, 7);
	claim_in(&ref, 2000);
	claim_in(&ref, 3000);
	remove_range(&ref, 7);
	remove_range(&ref, 2000);
	return ref;
}

static void
test_free_range(void)
{
	VdbTableRef ref = make_holes();
	VdbTableRef other;
	int			before = mock_used_count();
	uint32		range = 1;
	int			blocks = 0;
	VdbExtent	extent;

	UNIT_CHECK(vdb_map_table_entry(&ref)->height == 2, "height");
	UNIT_CHECK(!vdb_map_free_range(&ref, 0), "it has rows");
	UNIT_CHECK(!vdb_map_free_range(&ref, 1) && !vdb_map_free_range(&ref, 5000), "no node");
	remove_range(&ref, 3000);
	before = mock_used_count();
	UNIT_CHECK(!vdb_map_free_range(&ref, 3000), "not all of it was handed out");
	UNIT_CHECK(vdb_map_free_range(&ref, 7) && mock_used_count() == before - 1, "range 7");
	UNIT_CHECK(!vdb_map_free_range(&ref, 7), "once");
	UNIT_CHECK(vdb_map_next_range(&ref, &range) && range == 2000, "next is %u", range);
	UNIT_CHECK(vdb_map_free_range(&ref, 2000) && mock_used_count() == before - 3,
			   "with its inner node");
	range = 1;
	UNIT_CHECK(vdb_map_next_range(&ref, &range) && range == 3000, "next is %u", range);
	vdb_map_lookup(&ref, 2000 * VDB_RANGE_LBS, &extent);
	UNIT_CHECK(extent.kind == VDB_EXTENT_NONE && extent.node == VDB_BLOCK_NONE, "no rows");
	UNIT_CHECK(vdb_map_next_lb(&ref, 256) == vdb_map_limit(&ref), "skipped");
	UNIT_CHECK(vdb_map_table_entry(&ref)->nodes_freed == 2, "counted");
	UNIT_CHECK(vdb_map_check(&ref, report, NULL) == 0, "check");
	vdb_map_blocks(&ref, count_block, &blocks);
	UNIT_CHECK(blocks == 2 + 5, "two segments and the nodes, but %d", blocks);

	/* the last one takes the tree with it, and the next claim makes another */
	set_limit(&ref, 3001 * VDB_RANGE_LBS);
	remove_range(&ref, 0);
	UNIT_CHECK(vdb_map_free_range(&ref, 0) && vdb_map_free_range(&ref, 3000), "all");
	UNIT_CHECK(vdb_map_table_entry(&ref)->root == VDB_BLOCK_NONE && mock_used_count() == 2,
			   "%d blocks", mock_used_count());
	UNIT_CHECK(vdb_map_next_lb(&ref, 0) == vdb_map_limit(&ref), "nothing");
	UNIT_CHECK(vdb_map_check(&ref, report, NULL) == 0, "check");
	UNIT_CHECK(claim(&ref, 2, 8, NULL, NULL) == 2, "claims");
	UNIT_CHECK(vdb_map_next_lb(&ref, 0) == 3001 * VDB_RANGE_LBS, "at the end");
	UNIT_CHECK(vdb_map_check(&ref, report, NULL) == 0, "check");
	other = ref;
	other.pool = mock_standby();
	UNIT_CHECK(vdb_map_next_lb(&other, 0) == 3001 * VDB_RANGE_LBS, "the standby, too");
	vdb_map_table_drop(&ref);
	UNIT_CHECK(mock_used_count() == 2, "%d left", mock_used_count());
}

static VdbTableRef racing;
static bool keep_heads;
static bool came;

/* Spoil a block that was given back, as its next owner would. */
static void
spoil(VdbBlock block)
{
	char	   *bytes = (char *) vdb_pool_block(pool, block) + VDB_POOL_BLOCK_HEADER;
	int			from = keep_heads ? sizeof(VdbMapHead) : 0;

	UNIT_CHECK(mock_state(block) == 0, "block %u is free", block);
	memset(bytes + from, 0xEE, VDB_POOL_BLOCK_PAYLOAD - from);
}

/* What happens in the middle of a reader. */
static void
give_back(void)
{
	const VdbInnerNode *root = (const VdbInnerNode *)
		((const char *) vdb_pool_block(pool, vdb_map_table_entry(&racing)->root) +
		 VDB_POOL_BLOCK_HEADER);
	const VdbInnerNode *inner[2];
	VdbBlock	blocks[3];

	came = true;
	for (int i = 0; i < 2; i++)
		inner[i] = (const VdbInnerNode *)
			((const char *) vdb_pool_block(pool, root->children[i]) + VDB_POOL_BLOCK_HEADER);
	blocks[0] = inner[0]->children[7];
	blocks[1] = inner[1]->children[2000 - 1024];
	blocks[2] = root->children[1];
	UNIT_CHECK(vdb_map_free_range(&racing, 7) && vdb_map_free_range(&racing, 2000), "freed");
	for (int i = 0; i < 3; i++)
		spoil(blocks[i]);
}

/* Read in one of several ways. */
static void
read_racing(int way)
{
	VdbRangeSummary summary;
	VdbExtent	extent;
	uint32		range = 8;
	int			blocks = 0;

	switch (way)
	{
		case 0:
		case 1:
			vdb_map_lookup(&racing, (way == 0 ? 7 : 2000) * VDB_RANGE_LBS + 3, &extent);
			UNIT_CHECK(extent.kind == VDB_EXTENT_NONE || extent.kind == VDB_EXTENT_REMOVED,
					   "kind %u", extent.kind);
			break;
		case 2:
			UNIT_CHECK(vdb_map_next_lb(&racing, 256) == 3000 * VDB_RANGE_LBS, "next");
			break;
		case 3:
			UNIT_CHECK(vdb_map_next_range(&racing, &range) && (range == 2000 || range == 3000),
					   "range %u", range);
			break;
		case 4:
		case 5:
			if (vdb_map_summarize(&racing, way == 4 ? 7 : 2000, &summary))
				UNIT_CHECK(summary.empty && summary.nstripes == 0, "summary");
			break;
		case 6:
			UNIT_CHECK(vdb_map_check(&racing, report, NULL) == 0, "check");
			break;
		case 7:
			vdb_map_blocks(&racing, count_block, &blocks);
			UNIT_CHECK(blocks >= 4 + 5 && blocks <= 4 + 8, "%d blocks", blocks);
			break;
	}
}

/* Nodes are given back, and used for something else, after each of a reader's steps. */
static void
test_free_race(void)
{
	int			steps = 0;

	for (int way = 0; way < 8 * 2; way++)
	{
		keep_heads = way % 2 != 0;
		came = true;
		for (int at = 0; came; at += Max(1, at / 8))
		{
			racing = make_holes();
			came = false;
			mock_on_read = give_back;
			mock_reads_before = at;
			read_racing(way / 2);
			mock_on_read = NULL;
			steps++;
		}
	}
	UNIT_CHECK(steps > 100, "only %d", steps);
}

int
main(void)
{
	shim_init();
	unit_run("directory", test_directory);
	unit_run("many tables", test_many_tables);
	unit_run("a second head", test_second_head);
	unit_run("the directory with crashes", test_directory_crashes);
	unit_run("searches between the stores of changes", test_search_race);
	unit_run("a table moves between the stores of a change", test_move_race);
	unit_run("buckets are split under searches", test_split_race);
	unit_run("a search meets half a change", test_half_change);
	unit_run("damage of the directory", test_directory_damage);
	unit_run("claim", test_claim);
	unit_run("claims that fail", test_claim_fails);
	unit_run("the tree grows", test_growth);
	unit_run("metas and switches", test_metas);
	unit_run("checksums of metas and zone maps", test_checksums);
	unit_run("counters", test_counts);
	unit_run("blocks without rows are skipped", test_gone);
	unit_run("ranges without rows give back their nodes", test_free_range);
	unit_run("nodes are given back under readers", test_free_race);
	unit_run("damage is reported", test_damage);
	unit_run("drop with crashes", test_drop_crashes);
	unit_run("reset with crashes", test_reset_crashes);
	unit_run("claim finishes a reset", test_claim_finishes_reset);
	unit_run("storing metas with crashes", test_meta_crashes);
	return unit_finish();
}
