/*-------------------------------------------------------------------------
 *
 * rows_open.c
 *	  The segments that are appended to, or will be: shared by all backends.
 *
 * Each open segment of this epoch has one entry.  Its owner word gives its state:
 *
 * - closed: the entry is on the free list, or about to be;
 * - owned: one backend appends to the segment, and alone uses the fill;
 * - handed back: the fill gives the place at which the next owner goes on.
 *
 * Open entries are in their segment's chain, and from the first time they are handed back in their
 * table's list, too.  A segment without an entry is closed for good.  Entries are hints in one
 * direction only: closing a segment too early wastes a few of its bytes, but a segment that is
 * owned must have an entry, or migration would take it away.
 *
 * Locks.  A process that changes the owner word from 'handed back', by a compare and exchange, may
 * do as an owner does: take the segment, close it, or hand it back again.  So a backend that goes
 * on where it was needs no lock.  A table's entries all belong to one partition, by a hash of the
 * table; its open-segment lock guards chains and lists.  An entry's key changes only while it is in
 * no chain, its first logical block only while it is in no list.  The free list has a spinlock,
 * taken alone or inside a partition lock.  At most one partition lock is held at a time.
 *
 * Room.  A backend owns at most VDB_OPEN_PER_BACKEND segments, and there are that many entries for
 * each backend and VDB_OPEN_SPARE more.  So an entry is always free or handed back, and when none
 * is free a handed-back segment of any table is closed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "postmaster/autovacuum.h"
#include "replication/walsender.h"
#include "storage/spin.h"
#include "utils/timestamp.h"

#include "rows/rows_private.h"

#define VDB_OPEN_SPARE		4096
#define VDB_OPEN_LISTS		64		/* table lists of a partition */
#define VDB_OPEN_WALK		256		/* segments of a table that are searched for one with room */
#define VDB_OPEN_TRIES		1000	/* passes over the partitions to find an entry to evict */
#define VDB_OPEN_NONE		(-1)

/* Values of the owner word other than a process id. */
#define VDB_OWNER_NONE	0			/* handed back */
#define VDB_OWNER_CLOSED	PG_UINT32_MAX

/* One cache line, so that appenders don't disturb each other. */
typedef struct VdbOpenEntry
{
	VdbOpenTable table;
	VdbBlock	segment;
	pg_atomic_uint32 owner;
	VdbSegmentFill fill;			/* used by the owner; segment and first_lb stay once the entry
									 * is listed */
	TimestampTz given_at;			/* when it was handed back; set by the owner */
	int32		chain_next;			/* segment chain, or free list */
	int32		list_prev;			/* table list, ascending by first_lb; VDB_OPEN_UNLISTED: in no
									 * list */
	int32		list_next;
} VdbOpenEntry;

#define VDB_OPEN_UNLISTED	(-2)
#define VDB_OPEN_LINE		64

StaticAssertDecl(sizeof(VdbOpenEntry) <= VDB_OPEN_LINE, "an entry should fit into a cache line");

/* List heads of one partition of the tables. */
typedef struct VdbOpenPartition
{
	int32		lists[VDB_OPEN_LISTS];
	uint32		nlisted;
} VdbOpenPartition;

/* The shared memory of this file. */
typedef struct VdbOpenShared
{
	slock_t		free_lock;
	int32		free_head;
	uint32		nentries;
	uint32		nchains;			/* of one partition; a power of 2 */
	VdbOpenPartition partitions[VDB_OPEN_LOCKS];
	int32		chains[FLEXIBLE_ARRAY_MEMBER];	/* then the entries */
} VdbOpenShared;

static VdbOpenShared *vdb_open = NULL;
static VdbOpenEntry *vdb_open_entries = NULL;

/* ---- shared memory ---- */

/*
 * Return the number of entries to allocate.  MaxBackends isn't set yet when this is called, so its
 * terms are added up.
 */
static uint32
entries_wanted(void)
{
	int			backends = MaxConnections + autovacuum_max_workers + 1 +
		max_worker_processes + max_wal_senders;

	return (uint32) backends * VDB_OPEN_PER_BACKEND + VDB_OPEN_SPARE;
}

static uint32
open_chains_wanted(uint32 nentries)
{
	return pg_nextpower2_32(nentries / VDB_OPEN_LOCKS);
}

/* Return the offset of the entries, which follow the chains, in shared memory. */
static Size
entries_offset(uint32 nchains)
{
	return CACHELINEALIGN(offsetof(VdbOpenShared, chains) +
						  (Size) nchains * VDB_OPEN_LOCKS * sizeof(int32));
}

/*
 * Return the bytes of shared memory to reserve.  These depend on settings that can't change while
 * the server runs.
 */
Size
vdb_open_shmem_size(void)
{
	uint32		nentries = entries_wanted();

	return add_size(entries_offset(open_chains_wanted(nentries)),
					mul_size(nentries, sizeof(VdbOpenEntry)));
}

/*
 * Attach to the shared memory in the start-up hook.  If the memory is new, make all entries free.
 */
void
vdb_open_shmem_init(void *address, bool found)
{
	uint32		nchains = open_chains_wanted(entries_wanted());

	vdb_open = address;
	vdb_open_entries = (VdbOpenEntry *) ((char *) address + entries_offset(nchains));
	if (found)
		return;

	SpinLockInit(&vdb_open->free_lock);
	vdb_open->nentries = entries_wanted();
	vdb_open->nchains = nchains;
	for (int p = 0; p < VDB_OPEN_LOCKS; p++)
	{
		vdb_open->partitions[p].nlisted = 0;
		for (int i = 0; i < VDB_OPEN_LISTS; i++)
			vdb_open->partitions[p].lists[i] = VDB_OPEN_NONE;
	}
	for (uint32 i = 0; i < nchains * VDB_OPEN_LOCKS; i++)
		vdb_open->chains[i] = VDB_OPEN_NONE;
	for (uint32 i = 0; i < vdb_open->nentries; i++)
	{
		vdb_open_entries[i].chain_next = (i + 1 < vdb_open->nentries) ?
			(int32) i + 1 : VDB_OPEN_NONE;
		pg_atomic_init_u32(&vdb_open_entries[i].owner, VDB_OWNER_CLOSED);
	}
	vdb_open->free_head = 0;
}

/* ---- partitions, chains and lists of a table and a segment ---- */

static inline uint32
table_hash(const VdbOpenTable *table)
{
	return murmurhash32(table->slot ^ murmurhash32(table->pool_relnode));
}

static inline uint32
table_partition(const VdbOpenTable *table)
{
	return table_hash(table) % VDB_OPEN_LOCKS;
}

static inline LWLock *
partition_lock(uint32 partition)
{
	return &vdb_shared->open_locks[partition].lock;
}

/* Return the list of the table's handed-back segments, which other tables may share. */
static inline int32 *
table_list(const VdbOpenTable *table)
{
	uint32		hash = table_hash(table);
	VdbOpenPartition *partition = &vdb_open->partitions[hash % VDB_OPEN_LOCKS];

	return &partition->lists[(hash / VDB_OPEN_LOCKS) % VDB_OPEN_LISTS];
}

/* Return the chain of a segment's entry. */
static inline int32 *
segment_chain(const VdbOpenTable *table, VdbBlock segment)
{
	uint32		chain = murmurhash32(segment) & (vdb_open->nchains - 1);

	return &vdb_open->chains[table_partition(table) * vdb_open->nchains + chain];
}

/* Check whether both name the same table slot, in any generation. */
static inline bool
same_slot(const VdbOpenTable *a, const VdbOpenTable *b)
{
	return a->slot == b->slot && a->pool_relnode == b->pool_relnode && a->pool_db == b->pool_db;
}

static inline bool
same_table(const VdbOpenTable *a, const VdbOpenTable *b)
{
	return same_slot(a, b) && a->generation == b->generation;
}

/* ---- lists and chains; the partition's lock is held exclusively ---- */

/*
 * Insert the entry into its table's list.  The list ascends by first_lb, so that a lone session
 * goes on in the segment it used before.
 */
static void
list_insert(VdbOpenEntry *entry)
{
	int32		self = (int32) (entry - vdb_open_entries);
	int32	   *head = table_list(&entry->table);
	int32		prev = VDB_OPEN_NONE;
	int32		next = *head;

	while (next != VDB_OPEN_NONE &&
		   vdb_open_entries[next].fill.first_lb < entry->fill.first_lb)
	{
		prev = next;
		next = vdb_open_entries[next].list_next;
	}

	entry->list_prev = prev;
	entry->list_next = next;
	if (next != VDB_OPEN_NONE)
		vdb_open_entries[next].list_prev = self;
	if (prev != VDB_OPEN_NONE)
		vdb_open_entries[prev].list_next = self;
	else
		*head = self;
	vdb_open->partitions[table_partition(&entry->table)].nlisted++;
}

static void
list_remove(VdbOpenEntry *entry)
{
	VdbOpenPartition *partition = &vdb_open->partitions[table_partition(&entry->table)];

	if (entry->list_prev != VDB_OPEN_NONE)
		vdb_open_entries[entry->list_prev].list_next = entry->list_next;
	else
		*table_list(&entry->table) = entry->list_next;
	if (entry->list_next != VDB_OPEN_NONE)
		vdb_open_entries[entry->list_next].list_prev = entry->list_prev;
	Assert(partition->nlisted > 0);
	partition->nlisted--;
	entry->list_prev = VDB_OPEN_UNLISTED;
}

static void
chain_remove(VdbOpenEntry *entry)
{
	int32		self = (int32) (entry - vdb_open_entries);
	int32	   *link = segment_chain(&entry->table, entry->segment);

	while (*link != self)
	{
		Assert(*link != VDB_OPEN_NONE);
		link = &vdb_open_entries[*link].chain_next;
	}
	*link = entry->chain_next;
}

/* Return the entry of a segment; VDB_OPEN_NONE if there is none. */
static int32
chain_find(const VdbOpenTable *table, VdbBlock segment)
{
	int32		i = *segment_chain(table, segment);

	while (i != VDB_OPEN_NONE)
	{
		const VdbOpenEntry *entry = &vdb_open_entries[i];

		if (entry->segment == segment && same_table(&entry->table, table))
			break;
		i = entry->chain_next;
	}
	return i;
}

/* ---- the owner word ---- */

/* Become the owner of a handed-back entry.  Returns false if another process was faster. */
static inline bool
owner_take(VdbOpenEntry *entry, uint32 owner)
{
	uint32		expected = VDB_OWNER_NONE;

	return pg_atomic_compare_exchange_u32(&entry->owner, &expected, owner);
}

/* Hand back an entry.  The next owner sees all that this one did. */
static inline void
owner_give(VdbOpenEntry *entry)
{
	pg_memory_barrier();
	pg_atomic_write_u32(&entry->owner, VDB_OWNER_NONE);
}

/* ---- free entries ---- */

/* Put an entry on the free list. */
static void
free_push(int32 i)
{
	SpinLockAcquire(&vdb_open->free_lock);
	vdb_open_entries[i].chain_next = vdb_open->free_head;
	vdb_open->free_head = i;
	SpinLockRelease(&vdb_open->free_lock);
}

/* Take an entry off the free list; VDB_OPEN_NONE if there is none. */
static int32
free_pop(void)
{
	int32		i;

	SpinLockAcquire(&vdb_open->free_lock);
	i = vdb_open->free_head;
	if (i != VDB_OPEN_NONE)
		vdb_open->free_head = vdb_open_entries[i].chain_next;
	SpinLockRelease(&vdb_open->free_lock);
	return i;
}

/*
 * Close a handed-back segment of a partition, under the partition's lock.  Returns its entry, or
 * VDB_OPEN_NONE.
 */
static int32
evict_from(uint32 p)
{
	VdbOpenPartition *partition = &vdb_open->partitions[p];
	int32		victim = VDB_OPEN_NONE;

	LWLockAcquire(partition_lock(p), LW_EXCLUSIVE);
	for (int i = 0; i < VDB_OPEN_LISTS && partition->nlisted > 0 && victim == VDB_OPEN_NONE; i++)
	{
		victim = partition->lists[i];
		while (victim != VDB_OPEN_NONE &&
			   !owner_take(&vdb_open_entries[victim], VDB_OWNER_CLOSED))
			victim = vdb_open_entries[victim].list_next;
	}
	if (victim != VDB_OPEN_NONE)
	{
		list_remove(&vdb_open_entries[victim]);
		chain_remove(&vdb_open_entries[victim]);
	}
	LWLockRelease(partition_lock(p));
	return victim;
}

/*
 * Return a free entry, after closing a handed-back segment of any table if necessary.  No partition
 * lock is held.
 */
static int32
entry_get(void)
{
	static uint32 next_victim = 0;

	for (int tries = 0; tries < VDB_OPEN_TRIES; tries++)
	{
		int32		i = free_pop();

		for (int p = 0; p < VDB_OPEN_LOCKS && i == VDB_OPEN_NONE; p++)
			i = evict_from(next_victim++ % VDB_OPEN_LOCKS);
		if (i != VDB_OPEN_NONE)
			return i;
		CHECK_FOR_INTERRUPTS();
	}
	elog(ERROR, "no entry for an open segment among %u", vdb_open->nentries);
}

/*
 * Remove an entry from its chain and list, and put it on the free list.  The partition's lock is
 * held exclusively, and the caller owns the entry.
 */
static void
entry_drop(int32 i)
{
	VdbOpenEntry *entry = &vdb_open_entries[i];

	if (entry->list_prev != VDB_OPEN_UNLISTED)
		list_remove(entry);
	chain_remove(entry);
	pg_atomic_write_u32(&entry->owner, VDB_OWNER_CLOSED);
	free_push(i);
}

/* ---- functions for appenders ---- */

/*
 * Register a segment as owned by this backend, before the map names it.  Returns the handle for
 * vdb_open_give or vdb_open_close.  The caller owns fewer than VDB_OPEN_PER_BACKEND segments, so
 * there is room for an entry.
 */
int
vdb_open_enter(const VdbOpenTable *table, VdbBlock segment)
{
	LWLock	   *lock = partition_lock(table_partition(table));
	int32		i = entry_get();
	VdbOpenEntry *entry = &vdb_open_entries[i];
	int32	   *chain = segment_chain(table, segment);

	Assert(pg_atomic_read_u32(&entry->owner) == VDB_OWNER_CLOSED);
	entry->table = *table;
	entry->segment = segment;
	memset(&entry->fill, 0, sizeof(entry->fill));
	entry->list_prev = VDB_OPEN_UNLISTED;
	pg_atomic_write_u32(&entry->owner, (uint32) MyProcPid);

	LWLockAcquire(lock, LW_EXCLUSIVE);
	Assert(chain_find(table, segment) == VDB_OPEN_NONE);
	entry->chain_next = *chain;
	*chain = i;
	LWLockRelease(lock);
	return i;
}

/* Check whether the entry was handed back at most idle_us microseconds ago. */
static bool
given_lately(const VdbOpenEntry *entry, int idle_us)
{
	return idle_us > 0 && GetCurrentTimestamp() - entry->given_at < idle_us;
}

/*
 * Become the owner of the table's handed-back segment with the lowest row numbers among those that
 * have room for image_bytes.  Segments that were in use in the last idle_us microseconds are passed
 * over.  Returns false if there is no such segment.
 *
 * The segments before it are closed: they are in their last block, and a session whose row didn't
 * fit should not return to lower row numbers with its next row.  Segments of an earlier generation
 * of the table slot are closed, too.
 */
bool
vdb_open_take(const VdbOpenTable *table, uint32 image_bytes, int idle_us,
			  VdbSegmentFill *fill, int *handle)
{
	LWLock	   *lock = partition_lock(table_partition(table));
	int			looked = 0;
	int32		i;
	int32		next;
	bool		found = false;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	for (i = *table_list(table); i != VDB_OPEN_NONE && looked < VDB_OPEN_WALK && !found; i = next)
	{
		VdbOpenEntry *entry = &vdb_open_entries[i];
		uint8		block;
		uint16		offset;

		next = entry->list_next;
		if (!same_slot(&entry->table, table))
			continue;
		looked++;
		if (!owner_take(entry, (uint32) MyProcPid))
			continue;
		if (entry->table.generation != table->generation ||
			!vdb_fill_find(&entry->fill, image_bytes, &block, &offset))
			entry_drop(i);
		else if (given_lately(entry, idle_us))
			owner_give(entry);
		else
		{
			*fill = entry->fill;
			*handle = i;
			found = true;
		}
	}
	LWLockRelease(lock);
	return found;
}

/*
 * Become the owner again of a segment that this backend handed back.  This takes a lock only if the
 * segment has no room for image_bytes and is closed.
 */
VdbRetake
vdb_open_retake(const VdbOpenTable *table, int handle, VdbBlock segment, uint32 image_bytes,
				VdbSegmentFill *fill)
{
	VdbOpenEntry *entry = &vdb_open_entries[handle];
	uint8		block;
	uint16		offset;

	if (!owner_take(entry, (uint32) MyProcPid))
		return pg_atomic_read_u32(&entry->owner) != VDB_OWNER_CLOSED &&
			entry->segment == segment && same_table(&entry->table, table) ?
			VDB_RETAKE_BUSY : VDB_RETAKE_FAILED;

	if (entry->segment != segment || !same_table(&entry->table, table))
	{
		owner_give(entry);
		return VDB_RETAKE_FAILED;
	}
	if (!vdb_fill_find(&entry->fill, image_bytes, &block, &offset))
	{
		vdb_open_close(handle);
		return VDB_RETAKE_FAILED;
	}
	*fill = entry->fill;
	return VDB_RETAKE_DONE;
}

/*
 * Hand a segment back.  The next owner goes on at 'fill'.  This takes a lock the first time only.
 */
void
vdb_open_give(int handle, const VdbSegmentFill *fill)
{
	VdbOpenEntry *entry = &vdb_open_entries[handle];

	Assert(pg_atomic_read_u32(&entry->owner) == (uint32) MyProcPid);
	Assert(entry->segment == fill->segment);

	if (entry->list_prev == VDB_OPEN_UNLISTED)
	{
		LWLock	   *lock = partition_lock(table_partition(&entry->table));

		LWLockAcquire(lock, LW_EXCLUSIVE);
		entry->fill = *fill;
		list_insert(entry);
		LWLockRelease(lock);
	}
	Assert(entry->fill.first_lb == fill->first_lb);
	entry->fill.next_slot = fill->next_slot;
	entry->fill.next_offset = fill->next_offset;
	entry->fill.next_block = fill->next_block;

	/*
	 * a transaction in progress has no end yet (it hands back when vdb.debug_migrate moves its
	 * rows)
	 */
	entry->given_at = IsTransactionState() ? GetCurrentTimestamp() :
		GetCurrentTransactionStopTimestamp();
	owner_give(entry);
}

/* Close a segment for good.  The caller owns it. */
void
vdb_open_close(int handle)
{
	VdbOpenEntry *entry = &vdb_open_entries[handle];
	LWLock	   *lock = partition_lock(table_partition(&entry->table));

	Assert(pg_atomic_read_u32(&entry->owner) == (uint32) MyProcPid);

	LWLockAcquire(lock, LW_EXCLUSIVE);
	entry_drop(handle);
	LWLockRelease(lock);
}

/* ---- functions for other parts ---- */

/*
 * Return the milliseconds since the entry was handed back.  It may be taken and given back
 * meanwhile, so this is a hint unless the caller owns the entry.
 */
static int64
entry_idle_ms(const VdbOpenEntry *entry)
{
	return Max(GetCurrentTimestamp() - entry->given_at, 0) / 1000;
}

/*
 * Own the entry if it is handed back and has been idle for so long.  It is looked at before it is
 * taken, as a session that finds its segment taken goes on in another one.
 */
static bool
take_idle(VdbOpenEntry *entry, int64 idle_ms)
{
	if (idle_ms > 0 && entry_idle_ms(entry) < idle_ms)
		return false;
	if (!owner_take(entry, VDB_OWNER_CLOSED))
		return false;
	if (idle_ms == 0 || entry_idle_ms(entry) >= idle_ms)
		return true;
	owner_give(entry);
	return false;
}

/*
 * Check whether the segment is open.  A handed-back segment that was idle for idle_ms is closed;
 * with VDB_IDLE_NEVER none is.
 */
bool
vdb_open_status(const VdbOpenTable *table, VdbBlock segment, int64 idle_ms)
{
	LWLock	   *lock = partition_lock(table_partition(table));
	int32		i;
	bool		open;

	LWLockAcquire(lock, idle_ms != VDB_IDLE_NEVER ? LW_EXCLUSIVE : LW_SHARED);
	i = chain_find(table, segment);
	open = (i != VDB_OPEN_NONE);
	if (open && idle_ms != VDB_IDLE_NEVER && take_idle(&vdb_open_entries[i], idle_ms))
	{
		entry_drop(i);
		open = false;
	}
	LWLockRelease(lock);
	return open;
}

/* Return the current state of the segment, and how long it has been idle. */
VdbSegmentState
vdb_open_state(const VdbOpenTable *table, VdbBlock segment, int64 *idle_ms)
{
	LWLock	   *lock = partition_lock(table_partition(table));
	VdbSegmentState state = VDB_SEGMENT_CLOSED;
	int32		i;

	if (idle_ms != NULL)
		*idle_ms = 0;
	LWLockAcquire(lock, LW_SHARED);
	i = chain_find(table, segment);
	if (i != VDB_OPEN_NONE)
		state = pg_atomic_read_u32(&vdb_open_entries[i].owner) == VDB_OWNER_NONE ?
			VDB_SEGMENT_HANDED_BACK : VDB_SEGMENT_OWNED;
	if (idle_ms != NULL && state == VDB_SEGMENT_HANDED_BACK)
		*idle_ms = entry_idle_ms(&vdb_open_entries[i]);
	LWLockRelease(lock);
	return state;
}
