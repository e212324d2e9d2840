/*-------------------------------------------------------------------------
 *
 * map_table.c
 *	  The directory of the tables that have rows in the pool.
 *
 * The directory is a list of blocks of VDB_DIRECTORY_ENTRIES entries each.  An entry's slot is its
 * index over all blocks.  Blocks and slots never move, and blocks are never given back.  A slot
 * that was dropped is reused with another generation, so that a stale VdbTableRef can be
 * recognized.  Entries are found by a hash of their keys; see map_directory.c.
 *
 * An entry may be an alias: a second key of another entry.  A table that moves to another
 * tablespace has one, since only the end of the moving transaction decides which of the two files
 * stays.  When the file of the entry's own key is gone, the entry takes over the alias's key
 * (vdb_map_table_drop).  When the alias's file is gone, the alias is dropped.
 *
 * An entry, or an alias, whose storage was made by the transaction that made the entry names this
 * transaction as its creator.  When a crash ends the transaction its files stay, as core's do.
 * Then only the creator's status shows that they belong to no table.  Once the creator is known to
 * have committed, it is cleared in the entry.
 *
 * Locks: the directory lock (map lock 0) is held exclusive to create, rekey or release an entry, to
 * add a block, and for every change of the hash.  Finding takes no lock: the flags of a new entry
 * are published after its key, the address of a new block after it was formatted, and generation
 * and flags are read again after the key matched.  The other fields of an entry are guarded by its
 * table's map lock (exclusive to change).  A process holds at most one map lock at a time; the pool
 * allocation lock comes after it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "map/map_directory.h"

/* Where a slot was found. */
typedef struct DirectoryAddress
{
	VdbBlock	block;
	uint32		slot;
} DirectoryAddress;

/* Return whether an entry has this key. */
static inline bool
key_matches(const VdbTableEntry *entry, const VdbTableKey *key)
{
	return entry->relnode == key->relnode && entry->spc == key->spc &&
		entry->backend == key->backend && (entry->flags & VDB_TABLE_USED) != 0;
}

/*
 * Return whether the entry holds the key, and held it throughout the comparison.  *generation is
 * set to the generation that it had.
 */
static bool
entry_matches(const VdbTableEntry *entry, const VdbTableKey *key, uint32 *generation)
{
	if (likely(!key_matches(entry, key)))
		return false;
	pg_read_barrier();
	*generation = *(const volatile uint32 *) &entry->generation;
	pg_read_barrier();
	return key_matches(entry, key) &&
		*(const volatile uint32 *) &entry->generation == *generation;
}

/* Fill a reference to the table of an entry. */
static void
fill_ref(VdbPool *pool, const DirectoryAddress *address, const VdbTableKey *key, uint32 flags,
		 uint32 generation, VdbTableRef *ref)
{
	ref->pool = pool;
	ref->spc = key->spc;
	ref->relnode = key->relnode;
	ref->slot = address->slot;
	ref->generation = generation;
	ref->entry_block = address->block;
	ref->entry_offset = VDB_MAP_OFFSET(VdbDirectoryBlock, entries) +
		(address->slot % VDB_DIRECTORY_ENTRIES) * sizeof(VdbTableEntry);
	ref->logged = (flags & (VDB_TABLE_UNLOGGED | VDB_TABLE_TEMP)) == 0;
	ref->temp = (flags & VDB_TABLE_TEMP) != 0;
}

/* Find the table that an alias stands for.  Returns false if the table no longer exists. */
static bool
resolve_alias(VdbPool *pool, const VdbTableEntry *alias, VdbTableRef *ref)
{
	uint32		slot = alias->height;
	uint32		generation = alias->next_stripe;
	VdbTableKey key;
	bool		past_end;

	return vdb_map_table_by_slot(pool, slot, ref, &key, &past_end) &&
		ref->generation == generation;
}

/*
 * Find a table; see map.h.  Raises an error if the directory is damaged.
 */
bool
vdb_map_table_find(VdbPool *pool, const VdbTableKey *key, VdbTableRef *ref)
{
	VdbDirectorySearch search = {.searches = 0};

	Assert(OidIsValid(key->relnode));
	do
	{
		const VdbTableEntry *entry;
		DirectoryAddress address;
		uint32		generation;

		vdb_directory_begin(pool, key, &search);
		while ((entry = vdb_directory_next(&search, &address.slot, &address.block)) != NULL)
		{
			if (!entry_matches(entry, key, &generation))
				continue;
			if ((entry->flags & VDB_TABLE_ALIAS) != 0)
			{
				if (resolve_alias(pool, entry, ref))
					return true;
				continue;
			}
			fill_ref(pool, &address, key, entry->flags, generation, ref);
			return true;
		}
	} while (vdb_directory_changed(&search));
	return false;
}

/* Return whether a search for the entry's own key meets its slot.  Takes no lock. */
bool
vdb_map_table_reachable(VdbPool *pool, uint32 slot)
{
	VdbDirectorySearch search = {.searches = 0};
	VdbTableRef ref;
	VdbTableKey key;
	bool		past_end;

	do
	{
		uint32		met;
		VdbBlock	block;

		if (!vdb_map_table_by_slot(pool, slot, &ref, &key, &past_end))
			return true;		/* it has gone */
		vdb_directory_begin(pool, &key, &search);
		while (vdb_directory_next(&search, &met, &block) != NULL)
			if (met == slot)
				return true;
	} while (vdb_directory_changed(&search));
	return false;
}

/*
 * Store a whole new entry in its slot, put it into its bucket, and publish its flags, in one
 * flushed change.  The directory lock is held exclusive.
 */
static void
store_entry(const VdbTableRef *ref, const VdbTableKey *key, const VdbTableEntry *entry)
{
	VdbScmChange *change = vdb_scm_change_begin(ref->pool, VDB_CHANGE_FLUSH);

	vdb_directory_add(change, ref->pool, key, ref->slot);
	vdb_scm_change_write(change, ref->entry_block,
						 VDB_TABLE_FIELD(ref, generation), &entry->generation,
						 offsetof(VdbTableEntry, next_entry) - offsetof(VdbTableEntry, generation));
	vdb_scm_change_publish(change, ref->entry_block, ref->entry_offset,
						   &entry->flags, sizeof(entry->flags));
	vdb_scm_change_end(change);
}

/* Store a new entry under the key; *entry has the rest.  The directory lock is held exclusive. */
static void
add_entry(VdbPool *pool, const VdbTableKey *key, VdbTableEntry *entry, VdbTableRef *ref)
{
	DirectoryAddress address;

	address.slot = vdb_directory_choose(pool);
	entry->generation = vdb_directory_entry(pool, address.slot, &address.block)->generation + 1;
	entry->spc = key->spc;
	entry->relnode = key->relnode;
	entry->backend = key->backend;
	fill_ref(pool, &address, key, entry->flags, entry->generation, ref);
	store_entry(ref, key, entry);
}

/*
 * Find or create a table; see map.h.  An existing entry keeps its flags.  Raises an error when the
 * pool has no room for a directory block.
 */
void
vdb_map_table_create(VdbPool *pool, const VdbTableKey *key, uint32 flags,
					 FullTransactionId creator, VdbTableRef *ref)
{
	uint32		epoch = vdb_epoch_current(pool);
	VdbTableEntry entry;

	Assert((flags & ~(VDB_TABLE_UNLOGGED | VDB_TABLE_TEMP)) == 0);
	Assert(OidIsValid(key->relnode));
	LWLockAcquire(vdb_map_directory_lock(), LW_EXCLUSIVE);
	if (!vdb_map_table_find(pool, key, ref))
	{
		memset(&entry, 0, sizeof(entry));
		entry.flags = flags | VDB_TABLE_USED;
		entry.valid_epoch = epoch;
		entry.moved_at = VDB_MAP_CLOCK(GetCurrentTimestamp());
		entry.creator = U64FromFullTransactionId(creator);
		add_entry(pool, key, &entry, ref);
	}
	LWLockRelease(vdb_map_directory_lock());
}

/*
 * Find the entry with this slot number; see map.h.  Takes no lock.  The table may go away at any
 * time unless its relation is locked, so check vdb_map_table_valid after locking it.
 */
bool
vdb_map_table_by_slot(VdbPool *pool, uint32 slot, VdbTableRef *ref,
					  VdbTableKey *key, bool *past_end)
{
	DirectoryAddress address = {VDB_BLOCK_NONE, slot};
	const VdbTableEntry *entry = vdb_directory_entry(pool, slot, &address.block);
	uint32		generation;

	*past_end = (entry == NULL);
	if (*past_end)
		return false;
	if ((entry->flags & VDB_TABLE_USED) == 0)
		return false;
	pg_read_barrier();
	key->spc = entry->spc;
	key->relnode = entry->relnode;
	key->backend = entry->backend;
	if (!entry_matches(entry, key, &generation))
		return false;			/* it is being replaced right now */
	fill_ref(pool, &address, key, entry->flags, generation, ref);
	return true;
}

/* Return the entry itself for reading.  Hold the map lock where fields must agree. */
const VdbTableEntry *
vdb_map_table_entry(const VdbTableRef *ref)
{
	return (const VdbTableEntry *)
		((const char *) vdb_pool_block(ref->pool, ref->entry_block) + ref->entry_offset);
}

/* Return whether the reference still names the same table.  Raises no error. */
bool
vdb_map_table_valid(const VdbTableRef *ref)
{
	const VdbDirectoryBlock *dir;
	const VdbTableEntry *entry;

	if (ref->entry_block == VDB_BLOCK_NONE ||
		ref->entry_block >= vdb_pool_total_blocks(ref->pool))
		return false;
	dir = vdb_map_body(ref->pool, ref->entry_block);
	if (dir->magic != VDB_DIRECTORY_MAGIC || dir->version != VDB_DIRECTORY_VERSION)
		return false;
	entry = vdb_map_table_entry(ref);
	return (entry->flags & VDB_TABLE_USED) != 0 && entry->generation == ref->generation;
}

/*
 * Raise an error unless the reference is valid.  Functions that are about to change the table call
 * this.
 */
void
vdb_map_check_ref(const VdbTableRef *ref)
{
	if (!vdb_map_table_valid(ref))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table entry %u of the pool was dropped or emptied meanwhile",
						ref->slot)));
}

/* ---- creators ---- */

/* See map.h. */
FullTransactionId
vdb_map_table_creator(const VdbTableRef *ref)
{
	return FullTransactionIdFromU64(*(const volatile uint64 *) &vdb_map_table_entry(ref)->creator);
}

/* See map.h.  Takes the map lock. */
void
vdb_map_table_committed(const VdbTableRef *ref)
{
	uint64		none = 0;

	(void) vdb_epoch_current(ref->pool);
	LWLockAcquire(vdb_map_lock(ref->slot), LW_EXCLUSIVE);
	if (vdb_map_table_valid(ref))
	{
		VdbScmChange *change = vdb_scm_change_begin(ref->pool, VDB_CHANGE_FLUSH);

		vdb_scm_change_publish(change, ref->entry_block, VDB_TABLE_FIELD(ref, creator),
							   &none, sizeof(none));
		vdb_scm_change_end(change);
	}
	LWLockRelease(vdb_map_lock(ref->slot));
}

/* ---- aliases ---- */

/*
 * Note in a table's entry that others may be aliases of it: only then must its drop look at all
 * entries.  Logged and flushed.  Takes the map lock.
 */
static void
note_alias(const VdbTableRef *ref)
{
	LWLockAcquire(vdb_map_lock(ref->slot), LW_EXCLUSIVE);
	vdb_map_check_ref(ref);
	if ((vdb_map_table_entry(ref)->flags & VDB_TABLE_HAD_ALIAS) == 0)
	{
		uint32		flags = vdb_map_table_entry(ref)->flags | VDB_TABLE_HAD_ALIAS;
		VdbScmChange *change = vdb_scm_change_begin(ref->pool, VDB_CHANGE_FLUSH);

		vdb_scm_change_publish(change, ref->entry_block, ref->entry_offset,
							   &flags, sizeof(flags));
		vdb_scm_change_end(change);
	}
	LWLockRelease(vdb_map_lock(ref->slot));
}

/*
 * Let the table be found by another key, too.  Logged and flushed.  Takes the map lock, then the
 * directory lock.  The caller holds the relation exclusively, and no table has the other key.
 * Raises an error when the pool has no room for a directory block.
 */
void
vdb_map_table_alias(const VdbTableRef *ref, const VdbTableKey *key, FullTransactionId creator)
{
	VdbTableEntry entry;
	VdbTableRef alias;

	Assert(OidIsValid(key->relnode));
	(void) vdb_epoch_current(ref->pool);
	note_alias(ref);
	LWLockAcquire(vdb_map_directory_lock(), LW_EXCLUSIVE);
	vdb_map_check_ref(ref);
	memset(&entry, 0, sizeof(entry));
	entry.flags = VDB_TABLE_USED | VDB_TABLE_ALIAS;
	entry.height = ref->slot;
	entry.next_stripe = ref->generation;
	entry.creator = U64FromFullTransactionId(creator);
	add_entry(ref->pool, key, &entry, &alias);
	LWLockRelease(vdb_map_directory_lock());
}

/* Find an alias of the table under a key other than its own.  The directory lock is held. */
static bool
find_alias(const VdbTableRef *ref, VdbTableRef *alias)
{
	VdbTableKey key;
	bool		past_end = false;

	for (uint32 slot = 0; !past_end; slot++)
	{
		const VdbTableEntry *entry;

		if (!vdb_map_table_by_slot(ref->pool, slot, alias, &key, &past_end))
			continue;
		entry = vdb_map_table_entry(alias);
		if ((entry->flags & VDB_TABLE_ALIAS) != 0 && entry->height == ref->slot &&
			entry->next_stripe == ref->generation &&
			(alias->spc != ref->spc || alias->relnode != ref->relnode))
			return true;
	}
	return false;
}

/*
 * Let a table's entry take over its alias's key, in one flushed change.  Both have it then, until
 * the alias is dropped.  The directory lock is held exclusive.
 */
static void
take_alias_key(const VdbTableRef *ref, const VdbTableRef *alias)
{
	Oid			words[2] = {alias->spc, alias->relnode};
	VdbTableKey key = {alias->spc, alias->relnode, vdb_map_table_entry(ref)->backend};
	VdbScmChange *change = vdb_scm_change_begin(ref->pool, VDB_CHANGE_FLUSH);

	/* one word, so that a search never finds half a key */
	StaticAssertStmt(offsetof(VdbTableEntry, relnode) == offsetof(VdbTableEntry, spc) + 4 &&
					 offsetof(VdbTableEntry, spc) % 8 == 0,
					 "a table's key is one word");
	vdb_directory_move(change, ref->pool, ref->slot, &key);
	vdb_scm_change_publish(change, ref->entry_block, VDB_TABLE_FIELD(ref, spc),
						   words, sizeof(words));
	vdb_scm_change_end(change);
}

/*
 * Handle the loss of the file of the entry's own key.
 *
 * VDB_DROP_LEFT: there is nothing to do, because the entry belongs to another table or has another
 * key by now.  VDB_DROP_HANDED: the entry had an alias, and has taken over that one's key
 * (flushed); the alias itself is still there, in *alias.  VDB_DROP_FREE: there is no alias.  Takes
 * the directory lock.
 */
VdbDropResult
vdb_map_hand_over(const VdbTableRef *ref, VdbTableRef *alias)
{
	const VdbTableEntry *entry = vdb_map_table_entry(ref);
	VdbDropResult result = VDB_DROP_FREE;

	LWLockAcquire(vdb_map_directory_lock(), LW_EXCLUSIVE);
	if (!vdb_map_table_valid(ref) || entry->spc != ref->spc || entry->relnode != ref->relnode)
		result = VDB_DROP_LEFT;
	else if ((entry->flags & VDB_TABLE_ALIAS) == 0 &&
			 (entry->flags & VDB_TABLE_HAD_ALIAS) != 0 && find_alias(ref, alias))
	{
		take_alias_key(ref, alias);
		result = VDB_DROP_HANDED;
	}
	LWLockRelease(vdb_map_directory_lock());
	return result;
}

/*
 * Return a stripe id that this table has never used.  Takes the map lock.  The change is not
 * flushed: whatever bears the id on flash is logged later.
 */
uint32
vdb_map_new_stripe_id(const VdbTableRef *ref)
{
	VdbScmChange *change;
	uint32		id;

	(void) vdb_epoch_current(ref->pool);
	LWLockAcquire(vdb_map_lock(ref->slot), LW_EXCLUSIVE);
	vdb_map_check_ref(ref);
	id = vdb_map_table_entry(ref)->next_stripe + 1;
	change = vdb_scm_change_begin(ref->pool, 0);
	vdb_scm_change_publish(change, ref->entry_block, VDB_TABLE_FIELD(ref, next_stripe),
						   &id, sizeof(id));
	vdb_scm_change_end(change);
	LWLockRelease(vdb_map_lock(ref->slot));
	return id;
}

/* Add to a counter.  Counters are statistics: they stop at zero rather than wrap. */
static inline void
add_delta(uint64 *counter, int64 delta)
{
	if (delta < 0 && *counter < (uint64) -delta)
		*counter = 0;
	else
		*counter += delta;
}

/*
 * Add the delta to the table's counters, within the caller's change.  A change may contain this
 * only once, because it writes sums.  The map lock is held exclusive until the change ends.
 */
void
vdb_map_table_count(VdbScmChange *change, const VdbTableRef *ref, const VdbTableDelta *delta)
{
	VdbTableEntry entry = *vdb_map_table_entry(ref);

	Assert(LWLockHeldByMeInMode(vdb_map_lock(ref->slot), LW_EXCLUSIVE));
	add_delta(&entry.dead_rows, delta->dead_rows);
	add_delta(&entry.rows_migrated, delta->rows_migrated);
	add_delta(&entry.stripe_bytes, delta->stripe_bytes);
	add_delta(&entry.row_bytes, delta->row_bytes);
	add_delta(&entry.striped_rows, delta->striped_rows);
	add_delta(&entry.nstripes_in_use, delta->nstripes_in_use);
	if (delta->last_migration != 0)
		entry.last_migration = delta->last_migration;
	vdb_scm_change_write(change, ref->entry_block, VDB_TABLE_FIELD(ref, dead_rows),
						 &entry.dead_rows,
						 offsetof(VdbTableEntry, lists) - offsetof(VdbTableEntry, dead_rows));
	if (delta->moved_all)
	{
		entry.moved_at = VDB_MAP_CLOCK(delta->last_migration);
		vdb_scm_change_write(change, ref->entry_block, VDB_TABLE_FIELD(ref, moved_at),
							 &entry.moved_at, sizeof(entry.moved_at));
	}
}
