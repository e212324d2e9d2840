/*-------------------------------------------------------------------------
 *
 * table.h One table = map + rows + stripes + overlay.  The only door for am/, migrate/, exec/ and
 *	  monitor/.
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
 * The table's place in the pool.  False: it has none yet (it is empty); with 'create' it gets one.
 * Cached in rd_amcache.  Checks the metapage once; an unlogged table whose rows a crash lost is
 * reset here.
 */
extern bool vdb_table_open(Relation rel, bool create, VdbTableRef *ref);
extern void vdb_table_forget(Relation rel);	/* look it up afresh next time */
extern void vdb_table_key(Relation rel, const RelFileLocator *rnode, VdbTableKey *key);
extern bool vdb_is_vdb(Relation rel);	/* does it use our access method? */
extern void vdb_table_set_routine(const TableAmRoutine *routine);	/* am_handler at _PG_init */

/* ---- versions (table_version.c).  Caller holds the LB's block lock. ---- */

/* Header of any row version, SCM or flash; false: there is no such row (never was, or gone). */
extern bool vdb_table_version(Relation rel, const VdbTableRef *ref, VdbRowNumber row,
							  VdbVersion *version);

/*
 * Store version->hdr's xmax, cid, infomask, infomask2, t_ctid as part of a change, in place or as a
 * delta record; exclusive lock. Flash: vdb_table_prepare_xmax must have been called (may flush;
 * before the change begins; false: pool full).
 */
extern bool vdb_table_prepare_xmax(const VdbTableRef *ref, VdbVersion *version);
extern void vdb_table_set_xmax(VdbScmChange *change, const VdbTableRef *ref,
							   const VdbVersion *version, uint32 epoch);
extern void vdb_table_hint(const VdbTableRef *ref, VdbVersion *version);

/* Raise *latest to the id a standby must have forgotten before this dead version may vanish. */
extern void vdb_version_raise_removed(const HeapTupleHeaderData *hdr, TransactionId *latest);

/*
 * The delta record that says of a version what its header says (migration carries xmax over with
 * it).
 */
extern void vdb_version_to_delta(const VdbVersion *version, uint32 epoch, VdbDeltaRecord *drec);

/* ---- how many rows there are (table_count.c) ---- */

/* Live: committed, or being stored, and not deleted. */
typedef struct VdbTableCount
{
	double		pool_rows;			/* live */
	double		pool_blocks;		/* of the pool, that have rows */
	double		striped_rows;		/* live */
	double		versions;			/* dead ones too, in both places */
	bool		exact;				/* nothing was taken to be like something else */
} VdbTableCount;

/*
 * Count, by samples where there is much.  For the planner: raises no error for damaged rows.  Takes
 * block locks, shared, one at a time.
 */
extern void vdb_table_count(Relation rel, const VdbTableRef *ref, VdbTableCount *count);

/*
 * What was last found out about the table's size; good while all that is known by 'ref', and its
 * like, are the same.
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
	double		visible;			/* share of the rows in blocks that are marked all-visible */
} VdbTableSize;

/*
 * Where it is kept: with the reference (table_open.c), until the next invalidation of the relation.
 */
extern VdbTableSize *vdb_table_size(Relation rel);

/* ---- slots (table_slot.c) ---- */

extern const TupleTableSlotOps vdb_slot_ops;
#define VDB_SLOT_IS(slot)	((slot)->tts_ops == &vdb_slot_ops)

/*
 * Store a row in one of our slots (or, for others, through a heap tuple).  Tuple: palloc'd,
 * ownership passes to the slot.
 */
extern void vdb_slot_store_tuple(TupleTableSlot *slot, HeapTuple tuple, VdbRowNumber row);
/* Same, but the tuple is borrowed: the caller keeps it valid until the slot is cleared. */
extern void vdb_slot_refer_to_tuple(TupleTableSlot *slot, HeapTuple tuple, VdbRowNumber row);
/* Striped row: columns are decoded when asked for.  The slot retains the stripe. */
extern void vdb_slot_store_striped(TupleTableSlot *slot, Relation rel, VdbStripe *stripe,
								   uint32 pos, const VdbVersion *version);
/* Same for a slot of any other kind (all columns are decoded at once). */
extern void vdb_slot_force_striped(TupleTableSlot *slot, Relation rel, VdbStripe *stripe,
								   uint32 pos, const VdbVersion *version);

/* ---- one row by number (table_fetch.c) ---- */

/*
 * Does the snapshot ask what is so now, and so perhaps get another answer each time?  What such a
 * one says of a row (also whom to wait for, in a dirty snapshot) must be found out when that row is
 * given to the caller: not for a block of rows at once.
 */
static inline bool
vdb_snapshot_of_now(const SnapshotData *snapshot)
{
	return snapshot->snapshot_type == SNAPSHOT_SELF || snapshot->snapshot_type == SNAPSHOT_DIRTY;
}

/*
 * The row visible to the snapshot into the slot.  all_dead (may be NULL): set if dead to everyone.
 * Sets tts_tid and tts_tableOid.  No lock held on entry or return.  Fills snapshot->xmin etc. for
 * SNAPSHOT_DIRTY. For SERIALIZABLE takes the predicate lock on the row and does the conflict-out
 * check.
 */
extern bool vdb_table_fetch(Relation rel, VdbRowNumber row, Snapshot snapshot,
							TupleTableSlot *slot, bool *all_dead);

/*
 * Does the snapshot see the version?  Checked under the block lock, whatever kind of snapshot it
 * is; takes and releases the lock.
 */
extern bool vdb_table_satisfies(Relation rel, const ItemPointerData *tid, Snapshot snapshot);

/*
 * Only the header, copied (takes and releases the lock).  What is checked by it later is true of
 * the moment of copying only if its xmin had ended by then: README.md, "The header and the moment".
 */
extern bool vdb_table_peek(Relation rel, VdbRowNumber row, VdbVersion *version);

/* Is there a version with this number, dead or alive?  For VACUUM's index callback: cheap. */
extern bool vdb_table_present(Relation rel, const VdbTableRef *ref, VdbRowNumber row);

/*
 * What it takes to begin a walk (a batch's memory, the map), in pages read: so the planner prefers
 * an index for a row of a small table.  A part of estimates for the planner of pages.
 */
#define VDB_WALK_SETUP_PAGES	20

/* ---- ordered walk (table_walk.c) ---- */

/*
 * Zone maps of some columns of one stripe, copied (table_zones.c).  'columns' (0-based) are the
 * caller's.  Memory: 64 bytes a zone map, 512 kB at most, in the context that was current at
 * vdb_zone_set_init.
 */
typedef struct VdbZoneSet
{
	MemoryContext context;
	const int  *columns;
	int			ncolumns;
	int			nchunks;			/* of the stripe */
	int			ncopied;			/* the first chunks, whose zone maps are here; of the others
									 * nothing is known */
	int			room;
	VdbZone    *zones;				/* by chunk, then in the order of 'columns' */
} VdbZoneSet;

/* In a copy's flags, never on media: there is none. */
#define VDB_ZONE_UNKNOWN		0x80

extern void vdb_zone_set_init(VdbZoneSet *set, const int *columns, int ncolumns);
extern void vdb_zone_set_free(VdbZoneSet *set);

/*
 * Copy those of a stripe.  The meta is intact; caller: as for vdb_map_zone (a block lock).  False:
 * a block of them has failed its checksum; *damage is filled, and nothing is known of any chunk.
 */
extern bool vdb_zone_set_read(VdbZoneSet *set, VdbPool *pool, VdbBlock meta_block,
							  const VdbStripeMeta *meta,
							  VdbMetaDamage *damage);

/* The zone map of a chunk for columns[i], or NULL if it isn't known. */
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
 * Pruning: called once per stripe that the walk meets, and again after vdb_batch_ask_again.  No
 * lock is held: it may call any function. Sets chunk_match[chunk] for each chunk whose zone maps
 * say 'may match'; returns false if none does (the stripe's rows are then skipped without touching
 * flash).
 */
typedef bool (*VdbPruneCallback) (void *arg, const VdbZoneSet *zones, uint8 *chunk_match);

/*
 * All rows of one logical block that a snapshot sees, in row-number order, taken in one look.
 * pool rows are copied into the batch; striped rows are named by position.
 */
typedef struct VdbBatch
{
	Relation	rel;
	VdbTableRef ref;
	VdbLogicalBlock lb;
	int			nrows;
	uint8		where;				/* of all of them */
	uint8		index[VDB_LB_ROWS]; /* row index in the LB */
	VdbStripe  *stripe;				/* flash; released at the next read */
	VdbBlock	meta_block;			/* flash */
	uint32		pos[VDB_LB_ROWS];	/* flash */
	HeapTupleData tuples[VDB_LB_ROWS];	/* pool: t_data points into 'arena' */
	VdbRowSet	unwanted;			/* pool: rows, by place in index[], that the snapshot doesn't see; emptied once
									 * conflicts were looked for */
	uint8		htsv[VDB_LB_ROWS];		/* VdbHtsvResult, when asked */
	char	   *arena;
	Size		arena_size;
	VdbOverlayView *overlay;		/* of the LB, when flash */
	VdbVersion *versions;			/* headers of the rows, in step with index[]; flash: only
									 * when not 'plain' */
	uint16		meta_flags;			/* flash: of the stripe */
	bool		plain;				/* flash: all rows resolved, without delta records: header is
									 * 'xmin, no xmax' */
	bool		check;				/* pool rows against their checksums: vdb_batch_set_check */
	VdbPruneCallback prune;
	void	   *prune_arg;
	VdbZoneSet	zones;				/* of the stripe that chunk_match[] is about */
	/* a process that prunes knows more than when it was asked last */
	bool		ask_again;
	bool		warned;				/* of wrong zone maps: once a scan is enough */
	uint32		match_stripe;		/* stripe id that chunk_match[] is about */
	BlockNumber match_page;
	bool		match_any;
	int			match_chunks;
	int			match_pruned;		/* of the stripe: counted in chunks_pruned */
	uint8	   *chunk_match;
	uint8	   *chunk_read;			/* rows of it were taken */
	uint64		stripes_seen;
	uint64		chunks_seen;
	uint64		chunks_pruned;
	uint64		pool_rows;
	uint64		striped_rows;
	uint64		visibility_checks;	/* asked whether they are seen: goes to the pool's counter at
									 * the end */
} VdbBatch;

extern VdbBatch *vdb_batch_create(Relation rel);
extern void vdb_batch_free(VdbBatch *batch);

/*
 * Ask 'prune' about each stripe.  columns (0-based, the caller's): those whose zone maps it wants
 * to see.
 */
extern void vdb_batch_set_prune(VdbBatch *batch, VdbPruneCallback prune, void *arg,
								const int *columns, int ncolumns);

/* Ask it once more about the stripe that the walk is in. */
extern void vdb_batch_ask_again(VdbBatch *batch);

/*
 * From now on a pool row that fails its checksum is ERRCODE_DATA_CORRUPTED: for a caller that
 * stores rows anew.
 */
extern void vdb_batch_set_check(VdbBatch *batch);

/*
 * Read logical block lb.  snapshot NULL: every version that is not VDB_DEAD to oldest_xmin (with
 * keep_dead: those too), with htsv[] filled (index builds, ANALYZE, copying).  Returns nrows.  For
 * SERIALIZABLE snapshots does conflict-out checks. ERROR for a snapshot of now: read the block with
 * SnapshotAny, then each row by vdb_table_fetch.
 */
extern int	vdb_batch_read(VdbBatch *batch, VdbLogicalBlock lb, Snapshot snapshot,
						   TransactionId oldest_xmin, bool keep_dead);

/*
 * The same of some rows of the block only.  No other row is looked at, nor does it count for
 * SERIALIZABLE.
 */
extern int	vdb_batch_read_rows(VdbBatch *batch, VdbLogicalBlock lb, Snapshot snapshot,
								const VdbRowSet rows);

/* The header of row i. */
extern void vdb_batch_version(VdbBatch *batch, int i, VdbVersion *version);

/* Put row i of the batch into a slot (borrowed from the batch: valid until the next read). */
extern void vdb_batch_slot(VdbBatch *batch, int i, TupleTableSlot *slot);

/* ---- the cursor over logical blocks (table_scan.c) ---- */

/* What the processes of a parallel scan share, in their dynamic shared memory. */
typedef struct VdbSharedCursor
{
	pg_atomic_uint64 next;			/* next logical block to hand out */
	uint64		limit;				/* of all of them */
	uint32		run;				/* logical blocks handed out at a time */
} VdbSharedCursor;

/* The limit of a cursor that asks the table for it at each step. */
#define VDB_CURSOR_TO_THE_END	PG_INT64_MAX

/*
 * A place in a table, and the way from it to the next: table_scan.c tells the whole.  The fields
 * are for reading, but for those that a caller may set before vdb_cursor_start.
 */
typedef struct VdbCursor
{
	Relation	rel;				/* NULL: over blocks alone */
	VdbTableRef ref;				/* the table, when last looked at */
	Snapshot	snapshot;			/* whose rows are read; NULL: versions */
	TransactionId oldest_xmin;		/* versions: as vdb_batch_read */
	bool		keep_dead;
	bool		of_now;				/* the snapshot is asked about each row by itself */
	bool		caller_locks;		/* set by the caller, who locks what is read */
	bool		started;			/* locked, and the limit read */
	bool		loaded;				/* the batch holds the rows of lb */
	int64		lb;					/* where it stands; -1: before all; limit: after all */
	int64		start;				/* its blocks: [start, limit) */
	int64		limit;
	int64		run_end;			/* parallel: end of the run in hand */
	int			row;				/* in the batch: where it stands in the block */
	VdbSharedCursor *shared;		/* NULL: the cursor is one process's */
	VdbBatch   *batch;				/* NULL until a block is read */
	struct VdbLookAhead *ahead;	/* NULL: nothing is prefetched */
	void		(*before_read) (void *arg); /* set by the caller: comes before a block is read */
	void	   *before_arg;
	MemoryContext context;			/* of the batch */
} VdbCursor;

/*
 * A cursor over the rows that a snapshot sees (NULL: to be followed by vdb_cursor_take_versions).
 * Memory comes from the context that is current here, and is freed by vdb_cursor_end.
 * vdb_cursor_start comes before the first block.
 */
extern void vdb_cursor_init(VdbCursor *cursor, Relation rel, Snapshot snapshot);
extern void vdb_cursor_end(VdbCursor *cursor);

/* From now on it reads versions, as vdb_batch_read does without a snapshot. */
extern void vdb_cursor_take_versions(VdbCursor *cursor, TransactionId oldest_xmin, bool keep_dead);

/*
 * A cursor over the blocks of a table alone, up to its current end: it reads no rows, and holds
 * nothing.  The table stays in use.
 */
extern void vdb_cursor_init_blocks(VdbCursor *cursor, const VdbTableRef *ref);

/*
 * Start it, or start it over: before the first block, with the limit that the table has now, or
 * that of 'shared'.  For SERIALIZABLE takes the relation's predicate lock first, unless the
 * caller locks.
 */
extern void vdb_cursor_start(VdbCursor *cursor, VdbSharedCursor *shared);

/*
 * Fill in what the processes of a parallel scan share, by the leader.  Takes the predicate lock,
 * as vdb_cursor_start.
 */
extern void vdb_cursor_share(VdbSharedCursor *shared, Relation rel, Snapshot snapshot);

/* Hand out from the beginning again. */
static inline void
vdb_cursor_share_again(VdbSharedCursor *shared)
{
	pg_atomic_write_u64(&shared->next, 0);
}

/*
 * Only blocks of [start, limit) from now on, of those that it would visit; it stands before them.
 */
extern void vdb_cursor_bound(VdbCursor *cursor, int64 start, int64 limit);

/* The block at which it stands. */
static inline VdbLogicalBlock
vdb_cursor_lb(const VdbCursor *cursor)
{
	Assert(cursor->lb >= 0 && cursor->lb <= VDB_MAX_LOGICAL_BLOCK);
	return (VdbLogicalBlock) cursor->lb;
}

/*
 * Move to the next block; false at the end.  To the first block of a range
 * after the one at which it stands; within the range, false at its end.  To a block by its
 * number, which may lie outside of the bounds.
 */
extern bool vdb_cursor_next(VdbCursor *cursor);
extern bool vdb_cursor_next_range(VdbCursor *cursor);
extern bool vdb_cursor_next_in_range(VdbCursor *cursor);
extern void vdb_cursor_go(VdbCursor *cursor, VdbLogicalBlock lb);

/* Its batch, which lives until vdb_cursor_end. */
extern VdbBatch *vdb_cursor_batch(VdbCursor *cursor);

/*
 * Read the block at which it stands, all of it or some rows (vdb_batch_read_rows); it stands
 * before the first row.  Number of rows.
 */
extern int	vdb_cursor_read(VdbCursor *cursor);
extern int	vdb_cursor_read_rows(VdbCursor *cursor, const uint64 rows[4]);

/* Move to the next block with rows, read it, and stand at the first; false at the end. */
extern bool vdb_cursor_next_rows(VdbCursor *cursor);

/* Move one row, reading blocks as needed; false at that end. */
extern bool vdb_cursor_move_on(VdbCursor *cursor, bool forward);

static inline bool
vdb_cursor_move(VdbCursor *cursor, bool forward)
{
	int			row = cursor->row + (forward ? 1 : -1);

	if (unlikely(!cursor->loaded || row < 0 || row >= cursor->batch->nrows))
		return vdb_cursor_move_on(cursor, forward);
	cursor->row = row;
	return true;
}

/*
 * Put the row at which it stands into a slot (as vdb_batch_slot).  False: a snapshot of now does
 * not see it.
 */
extern bool vdb_cursor_slot_of_now(VdbCursor *cursor, TupleTableSlot *slot);

static inline bool
vdb_cursor_slot(VdbCursor *cursor, TupleTableSlot *slot)
{
	Assert(cursor->loaded && cursor->row >= 0 && cursor->row < cursor->batch->nrows);
	if (unlikely(cursor->of_now))
		return vdb_cursor_slot_of_now(cursor, slot);
	vdb_batch_slot(cursor->batch, cursor->row, slot);
	return true;
}

/*
 * Rows of a striped block from the one at which a cursor stands, all of one vector: their number,
 * and positions [first, end).
 */
typedef struct VdbCursorRun
{
	int			nrows;				/* no more than positions: some may not be visible */
	uint32		first;
	uint32		end;
} VdbCursorRun;

extern void vdb_cursor_run(const VdbCursor *cursor, VdbCursorRun *run);

/*
 * Columns (numbers) that are read of every row: prefetch them, chunk by chunk, if
 * effective_io_concurrency allows it.
 */
extern void vdb_cursor_prefetch(VdbCursor *cursor, const int *columns, int ncolumns);

/* ---- changes (table_insert.c, table_modify.c, table_lock.c) ---- */

/*
 * The migration lock of a table: a process that builds stripes of it, replaces them or freezes them
 * holds it.  A heavyweight lock (deadlocks are seen, an abort releases it).  No session that reads
 * or writes rows waits for it, except an inserter that finds the pool full. False: not to be had
 * without waiting, or not at all in this transaction, since it has moved the table's storage.
 */
extern bool vdb_table_migration_lock(Relation rel, bool wait);
extern void vdb_table_migration_unlock(Relation rel);

/*
 * Called when the pool is full: wake the worker, help, wait.  migrate/ registers it; interruptible;
 * no locks held.
 */
typedef void (*VdbMakeRoom) (Relation rel);
extern void vdb_table_set_make_room(VdbMakeRoom make_room);
extern void vdb_table_make_room(Relation rel);

extern void vdb_table_insert(Relation rel, TupleTableSlot *slot, CommandId cid, int options,
							 uint32 spec_token, bool speculative);
extern void vdb_table_multi_insert(Relation rel, TupleTableSlot **slots, int nslots,
								   CommandId cid, int options);
/*
 * Insert a tuple whose header already says everything (rewrites): xmin, xmax and infomask are kept,
 * t_ctid becomes its own TID, tuple->t_self is set. No statistics, no SSI check.
 */
extern void vdb_table_insert_raw(Relation rel, HeapTuple tuple);
extern void vdb_table_complete_speculative(Relation rel, VdbRowNumber row, uint32 spec_token,
										   bool succeeded);

extern TM_Result vdb_table_delete(Relation rel, ItemPointer tid, CommandId cid,
								  Snapshot crosscheck, bool wait,
								  TM_FailureData *tmfd, bool changing_part);
extern TM_Result vdb_table_update(Relation rel, ItemPointer otid, TupleTableSlot *slot,
								  CommandId cid, Snapshot crosscheck,
								  bool wait, TM_FailureData *tmfd, LockTupleMode *lockmode);
extern TM_Result vdb_table_lock(Relation rel, ItemPointer tid, Snapshot snapshot,
								TupleTableSlot *slot, CommandId cid,
								LockTupleMode mode, LockWaitPolicy wait_policy, uint8 flags, TM_FailureData *tmfd);

/* ---- the visibility map (table_visible.c) ---- */

/*
 * Did all indexes lose the entries of rows that this stripe does not have?  Called under a block
 * lock: no error, no wait.
 */
typedef bool (*VdbStripeCleaned) (uint32 stripe_id, void *arg);

/*
 * Set the block's bit in the visibility map if that may be; true if it is set.  For VACUUM, when it
 * has cleaned the indexes, and for migration, of blocks whose entries all have a row.  *buffer: as
 * vdb_visible_pin.  No lock held; may do I/O.
 */
extern bool vdb_table_mark_visible(Relation rel, const VdbTableRef *ref, VdbLogicalBlock lb,
								   VdbStripeCleaned cleaned, void *arg, Buffer *buffer);

#endif							/* VDB_TABLE_H */
