/*-------------------------------------------------------------------------
 *
 * table.h
 *	  The interface to one table, which is made up of a map, rows, stripes and an overlay.
 *
 * am/, migrate/, exec/ and monitor/ reach a table's data only through this header.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_TABLE_H
#define VDB_TABLE_H

#include "access/tableam.h"
#include "executor/tuptable.h"
#include "port/atomics.h"
#include "storage/buf.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "map/map.h"
#include "overlay/overlay.h"
#include "rows/rows.h"
#include "stripe/stripe.h"

/* ---- open (table_open.c) ---- */

/*
 * Find the table's entry in the pool.  Returns false if it has none, which means that the table is
 * empty; with 'create' an entry is made instead.  The reference is cached in rd_amcache.
 *
 * Checks the table's metapage at the first call.  An unlogged table whose rows were lost in a crash
 * is emptied if 'create' is set, and has no entry otherwise.  May write and flush WAL with
 * 'create', so no LWLock may be held then.
 */
extern bool vdb_table_open(Relation rel, bool create, VdbTableRef *ref);

/* Drop the cached reference, so that the next vdb_table_open looks the entry up again. */
extern void vdb_table_forget(Relation rel);

/* Make the key under which the pool knows the storage 'rnode' of the table. */
extern void vdb_table_key(Relation rel, const RelFileLocator *rnode, VdbTableKey *key);

/* Return true if the relation uses our table access method. */
extern bool vdb_is_vdb(Relation rel);

/* Register the access method's routine, for vdb_is_vdb.  Called at _PG_init. */
extern void vdb_table_set_routine(const TableAmRoutine *routine);

/* ---- versions (table_version.c).  The caller holds the LB's block lock. ---- */

/*
 * What the header of a striped row needs of flash: the stripe's index, and the LB's image in the
 * stripe's spill.  It is read without the block lock, and used under it: README.md, "Nothing is
 * read under a block lock".  Zeroed at first; vdb_parts_free frees what it holds.
 */
typedef struct VdbStripeParts
{
	bool		missing;			/* something must be loaded: see vdb_table_version */
	VdbLogicalBlock lb;				/* for which, and what, as of the last look */
	VdbStripeAddress address;
	VdbSpillAddress spill;			/* npages is 0 if the spill isn't needed */
	VdbStripe  *stripe;				/* loaded, referenced so that it stays in memory, or NULL */
	VdbBlockDeltaImage *image;		/* loaded, palloc'd, or NULL */
	uint32		image_id;			/* id of the spill that the image comes from */
} VdbStripeParts;

/*
 * Read the header of a row version, in the pool or in a stripe.  Returns false if there is no such
 * row: the number was never used, or the row was removed.
 *
 * Nothing is read from flash.  If that is needed, parts->missing is set and the result means
 * nothing: the caller unlocks, calls vdb_parts_load, locks and tries again.
 */
extern bool vdb_table_version(Relation rel, const VdbTableRef *ref, VdbRowNumber row,
							  VdbStripeParts *parts, VdbVersion *version);

/*
 * Load what vdb_table_version found missing, and clear parts->missing.  No lightweight lock is
 * held; the transaction has an id or a snapshot that counts for others, as these keep the pages.
 * Raises ERRCODE_DATA_CORRUPTED.
 */
extern void vdb_parts_load(Relation rel, VdbStripeParts *parts);

/* Free what was loaded.  May be called under a block lock. */
extern void vdb_parts_free(VdbStripeParts *parts);

/*
 * Take the LB's block lock, and read the header of one of its rows under it, as vdb_table_version
 * does.  What must be read from flash is read before.  The lock is held on return in any case.
 */
extern bool vdb_table_lock_version(Relation rel, const VdbTableRef *ref, VdbRowNumber row,
								   LWLockMode mode, VdbVersion *version);

/*
 * Read what the pool has of a row's header: all of it if the row is in a segment.  Of a striped row
 * that is what a delta record has.  Its xmin counts as frozen, and neither the stripe nor its spill
 * is asked; so the caller knows that the stripe has such a row.  Returns false if there is no such
 * row in the segment, or the striped row was removed.
 */
extern bool vdb_table_pool_version(const VdbTableRef *ref, VdbRowNumber row, VdbVersion *version);

/*
 * Make room for a new xmax of the version, which a striped row needs in the overlay.  Must be
 * called before the change begins, under the exclusive block lock; may flush WAL.  Returns false if
 * the pool is full.
 */
extern bool vdb_table_prepare_xmax(const VdbTableRef *ref, VdbVersion *version);

/*
 * Store xmax, cid, infomask, infomask2 and t_ctid of version->hdr as part of a change: in place for
 * a row in the pool, as a delta record for a striped row.  The block lock is held exclusively, and
 * vdb_table_prepare_xmax has returned true since it was taken.
 */
extern void vdb_table_set_xmax(VdbScmChange *change, const VdbTableRef *ref,
							   const VdbVersion *version, uint32 epoch);

/* Store the hint bits that were added to version->hdr since it was read.  No-op in recovery. */
extern void vdb_table_hint(const VdbTableRef *ref, VdbVersion *version);

/*
 * Raise *latest to the newest transaction id that snapshots of a standby must no longer consider
 * running when this dead version is removed (the latestRemovedXid of the WAL record).
 */
extern void vdb_version_raise_removed(const HeapTupleHeaderData *hdr, TransactionId *latest);

/*
 * Make the delta record from which vdb_version_apply_delta restores the version's xmax, cid and
 * next version.  Migration uses it to carry an xmax over to a stripe.
 */
extern void vdb_version_to_delta(const VdbVersion *version, uint32 epoch, VdbDeltaRecord *drec);

/* ---- how many rows there are (table_count.c) ---- */

/* Row counts of a table.  A row is live if it is committed or being inserted, and not deleted. */
typedef struct VdbTableCount
{
	double		pool_rows;			/* live */
	double		pool_blocks;		/* pool blocks that have rows */
	double		striped_rows;		/* live */
	double		versions;			/* in the pool and in stripes, dead ones included */
	bool		exact;				/* everything was counted, nothing extrapolated */
} VdbTableCount;

/*
 * Count the table's live rows; larger tables are sampled.  Meant for the planner, so damaged rows
 * raise no error.  Takes block locks, shared, one at a time.
 */
extern void vdb_table_count(Relation rel, const VdbTableRef *ref, VdbTableCount *count);

/*
 * The last count of the table, with the values it depends on.  The caller reuses it while
 * generation, limit and entry_rows are the same, few changes were made and it is not too old.
 */
typedef struct VdbTableSize
{
	bool		valid;
	uint32		generation;
	VdbLogicalBlock limit;
	uint64		entry_rows;			/* the entry's striped_rows */
	uint64		changes;			/* vdb_rows_changes() */
	TimestampTz at;
	VdbTableCount count;
	double		flash_pages;
	double		visible;			/* fraction of the rows in blocks marked all-visible */
} VdbTableSize;

/*
 * Return the table's cached size.  It is kept with the reference in rd_amcache, until the next
 * invalidation of the relation.
 */
extern VdbTableSize *vdb_table_size(Relation rel);

/* ---- slots (table_slot.c) ---- */

extern const TupleTableSlotOps vdb_slot_ops;
#define VDB_SLOT_IS(slot)	((slot)->tts_ops == &vdb_slot_ops)

/*
 * Store a heap tuple in a slot of any kind.  The tuple must be palloc'd in one piece, in
 * slot->tts_mcxt or a context that lives as long; ownership passes to the slot.
 */
extern void vdb_slot_store_tuple(TupleTableSlot *slot, HeapTuple tuple, VdbRowNumber row);

/* Same, but the tuple stays the caller's, who keeps it valid until the slot is cleared. */
extern void vdb_slot_refer_to_tuple(TupleTableSlot *slot, HeapTuple tuple, VdbRowNumber row);

/*
 * Store a striped row in a slot of ours.  Columns are decoded when they are asked for.  The slot
 * holds a reference of its own to the stripe.
 */
extern void vdb_slot_store_striped(TupleTableSlot *slot, Relation rel, VdbStripe *stripe,
								   uint32 pos, const VdbVersion *version);

/* Same for a slot of any other kind; all columns are decoded at once. */
extern void vdb_slot_force_striped(TupleTableSlot *slot, Relation rel, VdbStripe *stripe,
								   uint32 pos, const VdbVersion *version);

/* ---- one row by number (table_fetch.c) ---- */

/*
 * Return true for a "snapshot of now" (SELF, DIRTY): one whose answer depends on the moment it is
 * applied.  Such a snapshot must be applied to a row when that row is returned to the caller, not
 * to a block of rows at once.  A dirty snapshot also returns the transactions to wait for, and
 * these must belong to the row that was returned.
 */
static inline bool
vdb_snapshot_of_now(const SnapshotData *snapshot)
{
	return snapshot->snapshot_type == SNAPSHOT_SELF || snapshot->snapshot_type == SNAPSHOT_DIRTY;
}

/*
 * Fetch one row into the slot, if the snapshot sees it.  Sets tts_tid and tts_tableOid.  Returns
 * false if the row is not visible or does not exist.  *all_dead (all_dead may be NULL) is set to
 * true if no transaction can see the row any more.
 *
 * Fills snapshot->xmin etc. for SNAPSHOT_DIRTY.  For SERIALIZABLE it takes the predicate lock on
 * the row and makes the conflict-out check.  No LWLock is held on entry or return.
 */
extern bool vdb_table_fetch(Relation rel, VdbRowNumber row, Snapshot snapshot,
							TupleTableSlot *slot, bool *all_dead);

/*
 * Check whether the snapshot, of any kind, sees the version.  The check is made under the block
 * lock, which is taken and released here.
 */
extern bool vdb_table_satisfies(Relation rel, const ItemPointerData *tid, Snapshot snapshot);

/*
 * Copy the header of a version.  Takes and releases the block lock.  Returns false if there is no
 * such version.  A visibility check of the copy holds for the moment of copying only if the
 * version's xmin had ended by then: see README.md, "The header and the moment".
 */
extern bool vdb_table_peek(Relation rel, VdbRowNumber row, VdbVersion *version);

/* A row number whose version may be dead to everyone. */
typedef struct VdbDeadCheck
{
	VdbRowNumber row;
	bool		known;				/* it was found dead before */
	bool		dead;				/* the result: it is removed, or dead to everyone */
} VdbDeadCheck;

/*
 * Find which of these rows, all of one logical block, are dead to everyone.  Returns how many.
 * *latest is raised to the latest id that a standby's snapshots must have passed before their
 * index entries are deleted.  The caller is a transaction with an id or a snapshot.  Takes the
 * block lock, shared, and releases it before anything is read from flash.
 */
extern int	vdb_table_check_dead(Relation rel, VdbDeadCheck *checks, int nchecks,
								 TransactionId *latest);

/*
 * Return true if a version with this number exists, dead or alive.  For VACUUM's index callback.
 * Takes and releases the block lock.
 */
extern bool vdb_table_present(Relation rel, const VdbTableRef *ref, VdbRowNumber row);

/*
 * The cost of beginning a walk (the batch's memory, the map), in pages.  It is added to the number
 * of pages that the planner gets, so that an index is preferred for a single row of a small table.
 */
#define VDB_WALK_SETUP_PAGES	20

/* ---- ordered walk (table_walk.c) ---- */

/*
 * Copied zone maps of some columns of one stripe (table_zones.c).  The array 'columns' (0-based)
 * belongs to the caller.  The copies take 64 bytes for each zone map, 512 kB at most, in the
 * context that was current at vdb_zone_set_init.
 */
typedef struct VdbZoneSet
{
	MemoryContext context;
	const int  *columns;
	int			ncolumns;
	int			nchunks;			/* of the stripe */
	int			ncopied;			/* zone maps of so many chunks, from the first, were copied;
									 * those of later chunks are unknown */
	int			room;				/* zone maps that 'zones' has space for */
	VdbZone    *zones;				/* by chunk, then in the order of 'columns' */
} VdbZoneSet;

/* Flag of a copy (never stored): the column has no zone map for this chunk. */
#define VDB_ZONE_UNKNOWN		0x80

/* Initialize an empty set.  'columns' must stay valid as long as the set is used. */
extern void vdb_zone_set_init(VdbZoneSet *set, const int *columns, int ncolumns);

/* Free the copied zone maps. */
extern void vdb_zone_set_free(VdbZoneSet *set);

/*
 * Copy the zone maps of a stripe whose meta is intact.  The caller holds a block lock, as for
 * vdb_map_zone.  Returns false if one of their blocks has failed its checksum: then *damage is
 * filled, and no chunk's zone maps are known.
 */
extern bool vdb_zone_set_read(VdbZoneSet *set, VdbPool *pool, VdbBlock meta_block,
							  const VdbStripeMeta *meta,
							  VdbMetaDamage *damage);

/* Return the zone map of columns[i] in a chunk, or NULL if it is unknown. */
static inline const VdbZone *
vdb_zone_set_get(const VdbZoneSet *set, int chunk, int i)
{
	const VdbZone *zone;

	if (chunk >= set->ncopied)
		return NULL;
	zone = &set->zones[chunk * set->ncolumns + i];
	return (zone->flags & VDB_ZONE_UNKNOWN) ? NULL : zone;
}

/*
 * Callback that chooses the chunks to be read.  It is called once for each stripe that the walk
 * meets, and again after vdb_batch_ask_again.  No lock is held, so it may call any function.  It
 * sets chunk_match[chunk] for each chunk whose zone maps say 'may match', and returns false if
 * there is none; then the stripe's rows are skipped without reading its pages.
 */
typedef bool (*VdbPruneCallback) (void *arg, const VdbZoneSet *zones, uint8 *chunk_match);

/*
 * All rows of one logical block that a snapshot sees, in row-number order, read under one block
 * lock.  Rows from the pool are copied into the batch; striped rows are given by their positions.
 */
typedef struct VdbBatch
{
	Relation	rel;
	VdbTableRef ref;
	VdbLogicalBlock lb;
	int			nrows;
	uint8		where;				/* VDB_IN_POOL or VDB_IN_STRIPE, for all rows */
	uint8		index[VDB_LB_ROWS]; /* row index in the LB */
	VdbStripe  *stripe;				/* stripe: released at the next read */
	VdbBlock	meta_block;			/* stripe: address of its meta */
	uint32		pos[VDB_LB_ROWS];	/* stripe: positions of the rows */
	HeapTupleData tuples[VDB_LB_ROWS];	/* pool: t_data points into 'arena' */
	VdbRowSet	unwanted;			/* pool: rows, by their places in index[], that the snapshot
									 * doesn't see; kept until the SSI check, then dropped */
	uint8		htsv[VDB_LB_ROWS];	/* VdbHtsvResult; set when there is no snapshot */
	char	   *arena;				/* pool: the copied rows */
	Size		arena_size;			/* bytes */
	VdbOverlayView *overlay;		/* stripe: overlay of the LB */
	VdbVersion *versions;			/* headers of the rows, in step with index[]; stripe: only when
									 * not 'plain' */
	uint16		meta_flags;			/* stripe: flags of its meta; VDB_STRIPE_FROZEN is added if the
									 * snapshot sees all of its xmins */
	bool		plain;				/* stripe: all rows are resolved and have no delta record, so
									 * their headers are 'xmin, no xmax' */
	bool		check;				/* verify checksums of pool rows: vdb_batch_set_check */
	VdbPruneCallback prune;
	void	   *prune_arg;
	VdbZoneSet	zones;				/* zone maps of the stripe that chunk_match[] is about */
	bool		ask_again;			/* call 'prune' again for this stripe */
	bool		warned;				/* damaged zone maps were reported; once a scan is enough */
	uint32		match_stripe;		/* id of the stripe that chunk_match[] is about */
	BlockNumber match_page;			/* and its first page */
	bool		match_any;			/* some chunk of it may match */
	int			match_chunks;		/* allocated length of chunk_match[] and chunk_read[] */
	int			match_pruned;		/* chunks of this stripe that chunks_pruned includes */
	uint8	   *chunk_match;		/* by chunk: it may match */
	uint8	   *chunk_read;			/* by chunk: rows of it were taken */
	/* counters for EXPLAIN and statistics */
	uint64		stripes_seen;
	uint64		chunks_seen;
	uint64		chunks_pruned;
	uint64		pool_rows;
	uint64		striped_rows;
	uint64		visibility_checks;	/* added to the pool's counter by vdb_batch_free */
} VdbBatch;

/* Create a batch in the current memory context. */
extern VdbBatch *vdb_batch_create(Relation rel);

/* Free a batch and release its stripe. */
extern void vdb_batch_free(VdbBatch *batch);

/*
 * Set the callback that prunes chunks.  'columns' (0-based; the array stays the caller's) are those
 * whose zone maps it needs.
 */
extern void vdb_batch_set_prune(VdbBatch *batch, VdbPruneCallback prune, void *arg,
								const int *columns, int ncolumns);

/* Have the callback called once more for the stripe that the walk is in. */
extern void vdb_batch_ask_again(VdbBatch *batch);

/*
 * From now on, raise ERRCODE_DATA_CORRUPTED for a pool row that fails its checksum.  For callers
 * that store the rows anew.
 */
extern void vdb_batch_set_check(VdbBatch *batch);

/*
 * Read logical block lb and return the number of rows.
 *
 * Without a snapshot (NULL) the batch gets every version that is not VDB_DEAD to oldest_xmin, with
 * keep_dead those too, and htsv[] is filled.  Index builds, ANALYZE and copying use that.
 *
 * For SERIALIZABLE snapshots the conflict-out checks are made.  Raises an error for a snapshot of
 * now: the caller must read the block with SnapshotAny, and then each row by vdb_table_fetch.
 * Takes and releases the block lock, shared; may do I/O.
 */
extern int	vdb_batch_read(VdbBatch *batch, VdbLogicalBlock lb, Snapshot snapshot,
						   TransactionId oldest_xmin, bool keep_dead);

/*
 * Read only the given rows of a block.  Other rows are not checked, and cause no conflicts for
 * SERIALIZABLE.
 */
extern int	vdb_batch_read_rows(VdbBatch *batch, VdbLogicalBlock lb, Snapshot snapshot,
								TransactionId oldest_xmin, bool keep_dead, const VdbRowSet rows);

/* Return the header of row i. */
extern void vdb_batch_version(VdbBatch *batch, int i, VdbVersion *version);

/* Put row i into a slot.  The batch keeps it: it is valid until the next read. */
extern void vdb_batch_slot(VdbBatch *batch, int i, TupleTableSlot *slot);

/* ---- the cursor over logical blocks (table_scan.c) ---- */

/* State that the processes of a parallel scan share, in their dynamic shared memory. */
typedef struct VdbSharedCursor
{
	pg_atomic_uint64 next;			/* next logical block to hand out */
	uint64		limit;				/* the scan's limit, the same for all processes */
	uint32		run;				/* logical blocks handed out at a time */
} VdbSharedCursor;

/* The limit of a cursor that reads the table's current limit at each step. */
#define VDB_CURSOR_TO_THE_END	PG_INT64_MAX

/*
 * A position in a table, which moves over its logical blocks and rows: see the head of
 * table_scan.c.  Callers may read all fields, but set only those marked 'set by the caller', before
 * vdb_cursor_start.
 */
typedef struct VdbCursor
{
	Relation	rel;				/* NULL: the cursor moves over blocks and reads no rows */
	VdbTableRef ref;				/* the table, when it was last looked up */
	Snapshot	snapshot;			/* NULL: versions are read */
	TransactionId oldest_xmin;		/* versions: as for vdb_batch_read */
	bool		keep_dead;			/* versions: as for vdb_batch_read */
	bool		of_now;				/* the snapshot is applied to each row when it is returned */
	bool		caller_locks;		/* set by the caller: it takes the predicate locks itself */
	bool		started;			/* the predicate lock is taken, and the limit read */
	bool		loaded;				/* the batch holds the rows of lb */
	int64		lb;					/* current block; -1: before the first; limit: after the last */
	int64		start;				/* its blocks: [start, limit) */
	int64		limit;
	int64		run_end;			/* parallel: end of the current run of blocks */
	int			row;				/* current row, as an index into the batch */
	VdbSharedCursor *shared;		/* NULL: the cursor belongs to one process */
	VdbBatch   *batch;				/* NULL until a block is read */
	struct VdbLookAhead *ahead;		/* NULL: nothing is prefetched */
	void		(*before_read) (void *arg); /* set by the caller: called before a block is read */
	void	   *before_arg;			/* set by the caller: its argument */
	MemoryContext context;			/* of the batch */
} VdbCursor;

/*
 * Initialize a cursor over the rows that a snapshot sees.  With a NULL snapshot,
 * vdb_cursor_take_versions must follow.  Memory comes from the context that is current here, and is
 * freed by vdb_cursor_end.  vdb_cursor_start must be called before the first move.
 */
extern void vdb_cursor_init(VdbCursor *cursor, Relation rel, Snapshot snapshot);

/* Free the cursor's batch and what else it has allocated. */
extern void vdb_cursor_end(VdbCursor *cursor);

/* Make the cursor read versions, as vdb_batch_read does without a snapshot. */
extern void vdb_cursor_take_versions(VdbCursor *cursor, TransactionId oldest_xmin, bool keep_dead);

/*
 * Initialize a cursor that moves over the blocks of a table, up to its current end, and reads no
 * rows.  It allocates nothing, so vdb_cursor_end need not be called.  The caller keeps the table
 * from being dropped meanwhile.
 */
extern void vdb_cursor_init_blocks(VdbCursor *cursor, const VdbTableRef *ref);

/*
 * Start the cursor, or start it over: it stands before the first block, and its limit is the one
 * that the table has now, or that of 'shared'.  For SERIALIZABLE the relation's predicate lock is
 * taken first, unless caller_locks is set.
 */
extern void vdb_cursor_start(VdbCursor *cursor, VdbSharedCursor *shared);

/*
 * Initialize the shared state of a parallel scan.  Called by the leader; takes the predicate lock
 * as vdb_cursor_start does.
 */
extern void vdb_cursor_share(VdbSharedCursor *shared, Relation rel, Snapshot snapshot);

/* Restart a parallel scan: blocks are handed out from the first again. */
static inline void
vdb_cursor_share_again(VdbSharedCursor *shared)
{
	pg_atomic_write_u64(&shared->next, 0);
}

/*
 * Restrict the cursor to those of its blocks that lie in [start, limit).  It stands before the
 * first of them.
 */
extern void vdb_cursor_bound(VdbCursor *cursor, int64 start, int64 limit);

/* Return the cursor's current block. */
static inline VdbLogicalBlock
vdb_cursor_lb(const VdbCursor *cursor)
{
	Assert(cursor->lb >= 0 && cursor->lb <= VDB_MAX_LOGICAL_BLOCK);
	return (VdbLogicalBlock) cursor->lb;
}

/* Move to the next block.  Returns false at the end. */
extern bool vdb_cursor_next(VdbCursor *cursor);

/* Move to the first block of the next range that the map has a node for.  False at the end. */
extern bool vdb_cursor_next_range(VdbCursor *cursor);

/* Move to the next block of the current range.  Returns false at the range's end. */
extern bool vdb_cursor_next_in_range(VdbCursor *cursor);

/* Move to the block with this number, which may lie outside of the cursor's bounds. */
extern void vdb_cursor_go(VdbCursor *cursor, VdbLogicalBlock lb);

/* Return the cursor's batch, which lives until vdb_cursor_end. */
extern VdbBatch *vdb_cursor_batch(VdbCursor *cursor);

/*
 * Read the current block and return the number of its rows.  The cursor stands before the first
 * row.
 */
extern int	vdb_cursor_read(VdbCursor *cursor);

/* Same, but read only the given rows, as vdb_batch_read_rows does. */
extern int	vdb_cursor_read_rows(VdbCursor *cursor, const uint64 rows[4]);

/* Move to the next block that has rows, read it, and stand at its first row.  False at the end. */
extern bool vdb_cursor_next_rows(VdbCursor *cursor);

/* Move to the next row when that lies in another block.  For vdb_cursor_move. */
extern bool vdb_cursor_move_on(VdbCursor *cursor, bool forward);

/*
 * Move one row forward or backward, reading blocks as needed.  Returns false at the end in that
 * direction.
 */
static inline bool
vdb_cursor_move(VdbCursor *cursor, bool forward)
{
	int			row = cursor->row + (forward ? 1 : -1);

	if (unlikely(!cursor->loaded || row < 0 || row >= cursor->batch->nrows))
		return vdb_cursor_move_on(cursor, forward);
	cursor->row = row;
	return true;
}

/* Fetch the current row as a snapshot of now sees it at this moment.  For vdb_cursor_slot. */
extern bool vdb_cursor_slot_of_now(VdbCursor *cursor, TupleTableSlot *slot);

/*
 * Put the current row into a slot, as vdb_batch_slot does.  Returns false if the snapshot is one of
 * now and does not see the row.
 */
static inline bool
vdb_cursor_slot(VdbCursor *cursor, TupleTableSlot *slot)
{
	Assert(cursor->loaded && cursor->row >= 0 && cursor->row < cursor->batch->nrows);
	if (unlikely(cursor->of_now))
		return vdb_cursor_slot_of_now(cursor, slot);
	vdb_batch_slot(cursor->batch, cursor->row, slot);
	return true;
}

/* Rows of a striped block from the cursor's current row on, all of one vector. */
typedef struct VdbCursorRun
{
	int			nrows;				/* at most end - first: some rows may be invisible */
	uint32		first;				/* the positions are [first, end) */
	uint32		end;
} VdbCursorRun;

/* Find the run that begins at the current row, which must lie in a stripe. */
extern void vdb_cursor_run(const VdbCursor *cursor, VdbCursorRun *run);

/*
 * Prefetch these columns (attribute numbers), chunk by chunk, if effective_io_concurrency allows
 * it.  They should be columns that are read of every row.  The array is copied.
 */
extern void vdb_cursor_prefetch(VdbCursor *cursor, const int *columns, int ncolumns);

/* ---- changes (table_insert.c, table_modify.c, table_lock.c) ---- */

/*
 * Take the migration lock of a range, which is held while its stripes are built, replaced or
 * frozen, or its rows are removed; or the table's, under which no process has that of a range.
 * They are heavyweight locks: deadlocks are detected, and an abort releases them.  Readers and
 * writers of rows don't wait for them, except an inserter that finds the pool full.  A process
 * holds one at a time.
 *
 * Returns false if the lock isn't available and 'wait' is false.  Also returns false if the table's
 * migration is barred; then the transaction can't get the lock at all.
 */
extern bool vdb_table_range_lock(Relation rel, uint32 range, bool wait);
extern bool vdb_table_migration_lock(Relation rel, bool wait);

/*
 * Return true if this transaction has moved the table's storage, or has changed its columns and
 * could take that back without the storage: none of the table's rows can move before it ends.
 */
extern bool vdb_table_migration_barred(Relation rel);

/* Release the migration lock of a range, or the table's. */
extern void vdb_table_range_unlock(Relation rel, uint32 range);
extern void vdb_table_migration_unlock(Relation rel);

/*
 * Check whether another process waits for the range's migration lock, which this one holds, or for
 * the table's.
 */
extern bool vdb_table_range_wanted(Relation rel, uint32 range);

/*
 * Callback for a full pool: wake the worker, migrate something or wait.  Called without LWLocks;
 * can be interrupted.
 */
typedef void (*VdbMakeRoom) (Relation rel);

/* Register the callback.  Called by migrate/. */
extern void vdb_table_set_make_room(VdbMakeRoom make_room);

/*
 * Wait until the full pool may have room again; the caller then retries.  No LWLock may be held.
 * Raises an error only if no callback is registered, or by what the callback raises.
 */
extern void vdb_table_make_room(Relation rel);

/*
 * Insert the slot's row, which gets its TID and table.  'options' are TABLE_INSERT_* flags.  A
 * speculative row bears spec_token until vdb_table_complete_speculative.  Waits as long as the pool
 * is full.  No LWLock may be held.
 */
extern void vdb_table_insert(Relation rel, TupleTableSlot *slot, CommandId cid, int options,
							 uint32 spec_token, bool speculative);

/* Insert the rows of several slots, which get their TIDs. */
extern void vdb_table_multi_insert(Relation rel, TupleTableSlot **slots, int nslots,
								   CommandId cid, int options);

/*
 * Insert a tuple whose header is complete already, for rewrites: xmin, xmax and infomask are kept,
 * t_ctid becomes its own TID, and tuple->t_self is set.  Counts no statistics, and makes no SSI
 * check.
 */
extern void vdb_table_insert_raw(Relation rel, HeapTuple tuple);

/*
 * Make a speculatively inserted row an ordinary one or, if not 'succeeded', take it back.  Raises
 * an error if the row is missing or was not inserted by this transaction with this token.
 */
extern void vdb_table_complete_speculative(Relation rel, VdbRowNumber row, uint32 spec_token,
										   bool succeeded);

/*
 * Delete, update or lock one row version.  The contracts are those of table_tuple_delete,
 * table_tuple_update and table_tuple_lock.  No LWLock may be held.
 */
extern TM_Result vdb_table_delete(Relation rel, ItemPointer tid, CommandId cid,
								  Snapshot crosscheck, bool wait,
								  TM_FailureData *tmfd, bool changing_part);
extern TM_Result vdb_table_update(Relation rel, ItemPointer otid, TupleTableSlot *slot,
								  CommandId cid, Snapshot crosscheck,
								  bool wait, TM_FailureData *tmfd, LockTupleMode *lockmode);
extern TM_Result vdb_table_lock(Relation rel, ItemPointer tid, Snapshot snapshot,
								TupleTableSlot *slot, CommandId cid,
								LockTupleMode mode, LockWaitPolicy wait_policy, uint8 flags,
								TM_FailureData *tmfd);

/* ---- the visibility map (table_visible.c) ---- */

/*
 * Callback that returns true if all indexes have lost the entries of rows that this stripe does not
 * contain.  It is called under a block lock, so it must neither raise an error nor wait.
 */
typedef bool (*VdbStripeCleaned) (uint32 stripe_id, void *arg);

/*
 * Set the block's bit in the visibility map if all conditions for that hold.  Returns true if the
 * bit is set.  VACUUM calls it after cleaning the indexes, migration for blocks whose index entries
 * all have a row.  *buffer is the pin of the map's page, as for vdb_visible_pin.  No LWLock may be
 * held; may do I/O.
 */
extern bool vdb_table_mark_visible(Relation rel, const VdbTableRef *ref, VdbLogicalBlock lb,
								   VdbStripeCleaned cleaned, void *arg, Buffer *buffer);

#endif							/* VDB_TABLE_H */
