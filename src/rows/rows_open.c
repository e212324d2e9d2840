/*-------------------------------------------------------------------------
 *
 * rows_open.c
 *	  The segments that are appended to, or will be: shared by all backends.
 *
 * Each open segment of this server run has one entry.  An entry is
 *
 *	- free: on the free list;
 *	- owned: in its segment chain only.  One backend appends to the segment
 *	  and nobody else looks at more than the entry's key;
 *	- handed back: in its segment chain and in its table's list, with the
 *	  place where the next owner goes on.
 *
 * A segment without an entry is closed for good.  Entries are hints in one
 * direction only: closing a segment too early wastes a few of its bytes, but
 * a segment that is owned must have an entry, or migration would take it away.
 *
 * Locks.  A table's entries all belong to one partition, by a hash of the
 * table; its open-segment lock guards the chains, the lists and the entries in
 * them.  Taking and handing back are a few stores under that lock.  The free
 * list has a spinlock, taken alone or inside a partition lock.  At most one
 * partition lock is held at a time.
 *
 * Room.  A backend owns at most VDB_OPEN_PER_BACKEND segments, and there are
 * that many entries for each backend and VDB_OPEN_SPARE more.  So an entry is
 * always free or handed back, and when none is free a handed-back segment of
 * any table is closed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "postmaster/autovacuum.h"
#include "replication/walsender.h"
#include "storage/spin.h"

#include "rows/rows_private.h"

#define VDB_OPEN_SPARE		4096
#define VDB_OPEN_LISTS		64		/* table lists of a partition */
#define VDB_OPEN_WALK		16		/* segments of a table looked at for one with room */
#define VDB_OPEN_TRIES		1000	/* passes over the partitions for an entry to evict */
#define VDB_OPEN_NONE		(-1)

typedef struct VdbOpenEntry
{
	VdbOpenTable table;
	VdbSegmentFill fill;			/* owned: only the segment number counts */
	int			owner_pid;			/* 0: handed back */
	int32		chain_next;			/* segment chain, or free list */
	int32		list_prev;			/* table list, ascending first_lb */
	int32		list_next;
} VdbOpenEntry;

typedef struct VdbOpenPartition
{
	int32		lists[VDB_OPEN_LISTS];
	uint32		nlisted;
} VdbOpenPartition;

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

/* Entries to have.  MaxBackends isn't set yet when this is asked: its terms are. */
static uint32
entries_wanted(void)
{
	int			backends = MaxConnections + autovacuum_max_workers + 1 +
	max_worker_processes + max_wal_senders;

	return (uint32) backends * VDB_OPEN_PER_BACKEND + VDB_OPEN_SPARE;
}

static uint32
chains_wanted(uint32 nentries)
{
	return pg_nextpower2_32(nentries / VDB_OPEN_LOCKS);
}

static Size
entries_offset(uint32 nchains)
{
	return MAXALIGN(offsetof(VdbOpenShared, chains) +
					(Size) nchains * VDB_OPEN_LOCKS * sizeof(int32));
}

/* Bytes of shared memory, from settings that can't change while the server runs. */
Size
vdb_open_shmem_size(void)
{
	uint32		nentries = entries_wanted();

	return add_size(entries_offset(chains_wanted(nentries)),
					mul_size(nentries, sizeof(VdbOpenEntry)));
}

/* Start-up hook: attach, and make all entries free when the memory is new. */
void
vdb_open_shmem_init(void *address, bool found)
{
	uint32		nchains = chains_wanted(entries_wanted());

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
		vdb_open_entries[i].chain_next = (i + 1 < vdb_open->nentries) ? (int32) i + 1 : VDB_OPEN_NONE;
	vdb_open->free_head = 0;
}

/* ---- where a table and a segment belong ---- */

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

/* The list of the table's handed-back segments; other tables may share it. */
static inline int32 *
table_list(const VdbOpenTable *table)
{
	uint32		hash = table_hash(table);

	return &vdb_open->partitions[hash % VDB_OPEN_LOCKS].lists[(hash / VDB_OPEN_LOCKS) % VDB_OPEN_LISTS];
}

static inline int32 *
segment_chain(const VdbOpenTable *table, VdbBlock segment)
{
	uint32		chain = murmurhash32(segment) & (vdb_open->nchains - 1);

	return &vdb_open->chains[table_partition(table) * vdb_open->nchains + chain];
}

/* The same table, in whatever generation. */
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

/* ---- lists and chains; the partition's lock is held exclusive ---- */

/* Into the table's list, which ascends by first_lb: one session goes on where it was. */
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
}

static void
chain_remove(VdbOpenEntry *entry)
{
	int32		self = (int32) (entry - vdb_open_entries);
	int32	   *link = segment_chain(&entry->table, entry->fill.segment);

	while (*link != self)
	{
		Assert(*link != VDB_OPEN_NONE);
		link = &vdb_open_entries[*link].chain_next;
	}
	*link = entry->chain_next;
}

static int32
chain_find(const VdbOpenTable *table, VdbBlock segment)
{
	int32		i = *segment_chain(table, segment);

	while (i != VDB_OPEN_NONE)
	{
		const VdbOpenEntry *entry = &vdb_open_entries[i];

		if (entry->fill.segment == segment && same_table(&entry->table, table))
			break;
		i = entry->chain_next;
	}
	return i;
}

/* ---- free entries ---- */

static void
free_push(int32 i)
{
	SpinLockAcquire(&vdb_open->free_lock);
	vdb_open_entries[i].chain_next = vdb_open->free_head;
	vdb_open->free_head = i;
	SpinLockRelease(&vdb_open->free_lock);
}

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

/* Close a handed-back segment of a partition: its entry, or none.  Takes the partition's lock. */
static int32
evict_from(uint32 p)
{
	VdbOpenPartition *partition = &vdb_open->partitions[p];
	int32		victim = VDB_OPEN_NONE;

	LWLockAcquire(partition_lock(p), LW_EXCLUSIVE);
	for (int i = 0; i < VDB_OPEN_LISTS && partition->nlisted > 0 && victim == VDB_OPEN_NONE; i++)
		victim = partition->lists[i];
	if (victim != VDB_OPEN_NONE)
	{
		list_remove(&vdb_open_entries[victim]);
		chain_remove(&vdb_open_entries[victim]);
	}
	LWLockRelease(partition_lock(p));
	return victim;
}

/* A free entry; closes somebody's handed-back segment if need be.  No partition lock is held. */
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

/* Out of chain and list, and free.  The partition's lock is held exclusive. */
static void
entry_drop(int32 i, bool listed)
{
	VdbOpenEntry *entry = &vdb_open_entries[i];

	if (listed)
		list_remove(entry);
	chain_remove(entry);
	free_push(i);
}

/* ---- what appenders do ---- */

/*
 * Register a segment as owned by this backend, before anybody can find it in
 * the map.  Returns the handle for _give or _close.  The caller owns fewer than
 * VDB_OPEN_PER_BACKEND segments; so there is room.
 */
int
vdb_open_enter(const VdbOpenTable *table, VdbBlock segment)
{
	LWLock	   *lock = partition_lock(table_partition(table));
	int32		i = entry_get();
	VdbOpenEntry *entry = &vdb_open_entries[i];
	int32	   *chain = segment_chain(table, segment);

	entry->table = *table;
	memset(&entry->fill, 0, sizeof(entry->fill));
	entry->fill.segment = segment;
	entry->owner_pid = MyProcPid;
	entry->list_prev = entry->list_next = VDB_OPEN_NONE;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	Assert(chain_find(table, segment) == VDB_OPEN_NONE);
	entry->chain_next = *chain;
	*chain = i;
	LWLockRelease(lock);
	return i;
}

/*
 * Become the owner of the handed-back segment of this table that has room for
 * image_bytes and the lowest row numbers.  False: there is none.
 *
 * Those before it are closed: they are in their last block, and a session whose
 * row didn't fit should not return to lower row numbers with its next.  So are
 * those of an earlier generation of the table slot.
 */
bool
vdb_open_take(const VdbOpenTable *table, uint32 image_bytes, VdbSegmentFill *fill, int *handle)
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
		Assert(entry->owner_pid == 0);
		found = entry->table.generation == table->generation &&
			vdb_fill_find(&entry->fill, image_bytes, &block, &offset);
		if (found)
		{
			list_remove(entry);
			entry->owner_pid = MyProcPid;
			*fill = entry->fill;
			*handle = i;
		}
		else
			entry_drop(i, true);
	}
	LWLockRelease(lock);
	return found;
}

/* Hand a segment back: whoever takes it goes on at 'fill'. */
void
vdb_open_give(int handle, const VdbSegmentFill *fill)
{
	VdbOpenEntry *entry = &vdb_open_entries[handle];
	LWLock	   *lock = partition_lock(table_partition(&entry->table));

	Assert(entry->owner_pid == MyProcPid);
	Assert(entry->fill.segment == fill->segment);

	LWLockAcquire(lock, LW_EXCLUSIVE);
	entry->fill = *fill;
	entry->owner_pid = 0;
	list_insert(entry);
	LWLockRelease(lock);
}

/* Nobody will append to this segment again.  Its owner calls. */
void
vdb_open_close(int handle)
{
	VdbOpenEntry *entry = &vdb_open_entries[handle];
	LWLock	   *lock = partition_lock(table_partition(&entry->table));

	Assert(entry->owner_pid == MyProcPid);

	LWLockAcquire(lock, LW_EXCLUSIVE);
	entry_drop(handle, false);
	LWLockRelease(lock);
}

/* ---- what others ask ---- */

/*
 * Is the segment open?  With 'take' a handed-back one is closed, and true means
 * that an appender owns it.
 */
bool
vdb_open_status(const VdbOpenTable *table, VdbBlock segment, bool take)
{
	LWLock	   *lock = partition_lock(table_partition(table));
	int32		i;
	bool		open;

	LWLockAcquire(lock, take ? LW_EXCLUSIVE : LW_SHARED);
	i = chain_find(table, segment);
	open = (i != VDB_OPEN_NONE);
	if (open && take && vdb_open_entries[i].owner_pid == 0)
	{
		entry_drop(i, true);
		open = false;
	}
	LWLockRelease(lock);
	return open;
}

/* Which of the three states the segment is in, as of now. */
VdbSegmentState
vdb_open_state(const VdbOpenTable *table, VdbBlock segment)
{
	LWLock	   *lock = partition_lock(table_partition(table));
	VdbSegmentState state = VDB_SEGMENT_CLOSED;
	int32		i;

	LWLockAcquire(lock, LW_SHARED);
	i = chain_find(table, segment);
	if (i != VDB_OPEN_NONE)
		state = vdb_open_entries[i].owner_pid != 0 ? VDB_SEGMENT_OWNED : VDB_SEGMENT_HANDED_BACK;
	LWLockRelease(lock);
	return state;
}
