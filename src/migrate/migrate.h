/*-------------------------------------------------------------------------
 *
 * migrate.h
 *	  Interface of migrate/: moving rows from the pool to stripes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_MIGRATE_H
#define VDB_MIGRATE_H

#include "table/table.h"

/* ---- what to migrate: pure functions (migrate_policy.c) ---- */

/* Statistics of a table, from which vdb_migrate_reason decides. */
typedef struct VdbTableStatistics
{
	uint32		pressed_ranges;		/* ranges with so many rows that a full pool moves them */
	uint32		aged_ranges;		/* ranges with so many rows that age moves them */
	uint32		eligible_ranges;	/* ranges whose segments would make a good stripe */
	uint32		age_ms;				/* time since age last moved rows */
	uint32		in_doubt_stripes;	/* stripes in doubt whose inserters may have ended by now */
	uint32		mergeable_ranges;	/* ranges with stripes to be merged */
	uint32		pool_percent;		/* see vdb_migrate_room_percent */
	uint32		overlaid_blocks;	/* blocks of stripes that have a block delta in the pool */
	bool		pool_pressed;		/* see vdb_migrate_pool_pressed */
} VdbTableStatistics;

/* Thresholds of that decision, from settings. */
typedef struct VdbPolicy
{
	int			high_water_percent;
	uint32		after_ms;
} VdbPolicy;

typedef enum VdbReason
{
	VDB_REASON_NONE,
	VDB_REASON_FULL,
	VDB_REASON_AGE,
	VDB_REASON_BACKLOG,
	VDB_REASON_IN_DOUBT,			/* only stripes that are to be resolved */
	VDB_REASON_OVERLAY,				/* only delta records that are to be spilled, and merges */
	VDB_REASON_MERGE				/* only stripes that are to be merged */
} VdbReason;

/*
 * Return how full of rows the pool is: the percentage, in row segments, of the room that rows can
 * have.  'limit' segments are what the pool may grow to, 'kept_back' of them only for migration,
 * overlay and maps; 'used' are in use or reserved, and 'rows' of these hold rows.  What metadata
 * takes is no room for rows, and no reason to move any.
 */
extern uint32 vdb_migrate_room_percent(uint32 limit, uint32 kept_back, uint32 used, uint32 rows);

extern VdbReason vdb_migrate_reason(const VdbTableStatistics *statistics, const VdbPolicy *policy);

/*
 * Check whether a range's segments would make a good stripe.  'closed' of its 'segments' segments
 * are closed.  'complete' means that the range gets no more segments.
 */
extern bool vdb_migrate_range_eligible(uint32 segments, uint32 closed, bool complete,
									   int backlog_segments);

/* What segments of a range have, and so what a move of them would give. */
typedef struct VdbWaiting
{
	uint32		segments;
	uint32		rows;				/* counted while segments are fewer than VDB_MIN_SEGMENTS */
	uint32		empty;				/* segments without rows that a session has handed back */
} VdbWaiting;

/* How much of that must wait in a range to be worth a stripe. */
typedef struct VdbMinimum
{
	uint32		rows;
	uint32		segments;
} VdbMinimum;

#define VDB_MIN_SEGMENTS	16		/* 1 MB */

/*
 * Return the minimum, of so many rows by setting, for a pool that is so full of rows.  It is the
 * whole one below the high-water mark.  Above it falls with the room that is left: so a full pool
 * first moves what makes the largest stripes, and in the end single rows.
 */
extern VdbMinimum vdb_migrate_minimum(int min_rows, uint32 pool_percent, int high_water_percent);

/* Check whether what waits is worth a move.  Segments without rows always are: they cost none. */
extern bool vdb_migrate_worth(const VdbWaiting *waiting, const VdbMinimum *minimum);

/* A stripe that may be merged. */
typedef struct VdbMergeStripe
{
	int			number;				/* the caller's */
	uint32		rows;
	uint64		bytes;				/* before encoding */
} VdbMergeStripe;

/* With what stripes of a range may be merged. */
typedef struct VdbMergeInto
{
	uint64		rows;				/* rows that move anyway; 0: stripes only */
	uint64		bytes;				/* bytes of these, before encoding, about */
	int			range_stripes;		/* stripes that the range has */
	bool		last;				/* the range gets no more rows */
	int			most;				/* no more stripes than that can be merged */
} VdbMergeInto;

/*
 * Choose the stripes of a range to be merged into one, with the rows that move now.  Sorts the
 * array; the first n are chosen, and n is returned.  This bounds how often a row is rewritten.
 */
extern int	vdb_migrate_merge(VdbMergeStripe *stripes, int nstripes, const VdbMergeInto *into);

/* Check whether a stripe has lost so many of its rows that it should be rewritten without them. */
extern bool vdb_migrate_compact(uint32 written_rows, uint32 left_rows);

/*
 * Check whether cutting off the free pages at the end of the main fork is worth the lock it needs.
 */
extern bool vdb_migrate_truncate(BlockNumber npages, BlockNumber free_at_end);

/*
 * Return the bytes of the pool that a new spill of a stripe must give back, if its present one has
 * so many bytes of flash: VDB_SPILL_BYTES at least.
 */
#define VDB_SPILL_BYTES		8192
extern uint64 vdb_migrate_spill_least(uint64 spill_bytes);

/* ---- moving a range (migrate_range.c) ---- */

#define VDB_MIGRATE_OWN		0x01	/* move rows of transactions in progress, too (the pool is
									 * full) */
#define VDB_MIGRATE_COMPACT 0x02	/* rewrite stripes that have lost many rows, too */
#define VDB_MIGRATE_STRIPES 0x04	/* leave rows in the pool where they are; free segments without
									 * rows */
#define VDB_MIGRATE_ELIGIBLE	0x08	/* move only eligible ranges, and only segments that are
										 * closed already */
#define VDB_MIGRATE_AGED	0x20	/* move only ranges in which enough rows wait, and only
									 * segments that are closed, or were idle for long */
#define VDB_MIGRATE_PRESSED 0x40	/* while the pool is past the high-water mark, move only ranges
									 * in which enough rows wait for that */
#define VDB_MIGRATE_MERGE	0x80	/* merge stripes, even if nothing moves */
#define VDB_MIGRATE_GUARD	0x10	/* leave a range whose damage raises an error, and move the
									 * others: this needs a subtransaction, so it is not for
									 * inserters that make room, as its end would forget their
									 * reserved places */

#define VDB_MIGRATE_SPILL	0x100	/* move final delta records of stripes to flash, where that
									 * gives back enough (vdb_migrate_spill_least) */
#define VDB_MIGRATE_SPILL_ANY	0x200	/* likewise, wherever it gives back anything */

/* Flags with which delta records may move alone.  VACUUM only drops spills without rows. */
#define VDB_MIGRATE_SPILLS	(VDB_MIGRATE_STRIPES | VDB_MIGRATE_SPILL | VDB_MIGRATE_SPILL_ANY)

/* What a move has done.  Moves add to the counts. */
typedef struct VdbMigrateResult
{
	int64		rows_moved;			/* rows moved from the pool to stripes */
	int64		segments_freed;
	int64		stripes_freed;		/* stripes merged, rewritten or gone */
	int64		spills;				/* stripes of which only delta records moved */
	int64		rows_dropped;		/* versions dead to everyone that were left out */
	int64		stripes_resolved;	/* stripes that lost the mark 'in_doubt' without being
									 * rewritten */
	bool		damaged;			/* rows that fail their checksum stay, with their segments */
	VdbRowDamage damage;			/* one of these rows */
	struct ErrorData *error;		/* the first error raised by other damage, for which a range
									 * was left; or NULL */
} VdbMigrateResult;

/* Check whether the move gave back space in the pool. */
#define VDB_MIGRATE_FREED(result) \
	((result)->segments_freed + (result)->stripes_freed + (result)->spills > 0)

/*
 * Move the resolved rows of one range whose segments are closed; resolve and rewrite stripes that
 * need it.  The caller holds a lock on the relation, the migration lock, a valid vxid and no
 * lightweight locks.  Returns true if anything was done; another call may then find more.
 */
extern bool vdb_migrate_range(Relation rel, const VdbTableRef *ref, uint32 range, int flags,
							  VdbMigrateResult *result);

/*
 * A pass over the ranges of a table, from one move to the next; all zero at first.  Between two
 * moves the caller may release the table, and may end the transaction, if it looks up the ref again
 * and finds the same generation.
 */
typedef struct VdbMigratePass
{
	uint32		next;				/* next range to look at */
	uint32		ranges;				/* ranges when the pass began; 0: it has not begun */
	bool		swept;
	bool		busy;				/* a range was left because its migration lock was not free */
} VdbMigratePass;

/*
 * Do the next move of a pass: one stripe at most, under the migration lock of its range.  The
 * caller holds what vdb_migrate_range requires but the migration lock.  Unless 'wait' is set,
 * ranges whose locks aren't free are left.  Returns false if nothing else is left to do.  With
 * VDB_MIGRATE_GUARD,
 * ERRCODE_DATA_CORRUPTED is raised only for damage of the table as a whole; other damaged ranges
 * are left, and reported in *result, whose error is allocated in the caller's memory context.
 */
extern bool vdb_migrate_next(Relation rel, const VdbTableRef *ref, VdbMigratePass *pass,
							 int flags, bool wait,
							 VdbMigrateResult *result);

/* Do a whole pass.  Returns whether anything was done. */
extern bool vdb_migrate_table(Relation rel, int flags, bool wait, VdbMigrateResult *result);

/*
 * Report the damage that *result has, if any.  With elevel ERROR the caller needed everything to
 * move.
 */
extern void vdb_migrate_report(Relation rel, int elevel, const VdbMigrateResult *result);

/* Bytes before encoding that the rows of a stripe take at most, but for its last row. */
#define VDB_STRIPE_RAW_BYTES	(48 * 1024 * 1024)

/* ---- what is eligible (migrate_eligible.c) ---- */

/*
 * Check whether the table is eligible, and why.  *waiting is set if it may become eligible as time
 * goes by, without any change, so that it must be looked at again later.  The caller holds a lock
 * on the relation and no lightweight locks.
 */
extern VdbReason vdb_migrate_table_eligible(const VdbTableRef *ref, bool *waiting);

/*
 * Check whether a move with these flags moves the segments of the range at all: whether enough
 * waits in them.
 */
extern bool vdb_migrate_segments_wanted(const VdbTableRef *ref, uint32 range, int flags);

/*
 * Return how long, in milliseconds, a segment that a session has handed back must have been idle
 * for a move with these flags to take it; VDB_IDLE_NEVER if none is taken.
 */
extern int64 vdb_migrate_idle_ms(int flags, bool has_rows);

/*
 * Check whether a move of the range that was summarized, with these flags, may find anything; a
 * hint.
 */
extern bool vdb_migrate_may_find(const VdbTableRef *ref, uint32 range,
								 const VdbRangeSummary *summary, int flags);

/* ---- pages of the main fork (migrate_pages.c) ---- */

/* Find leaked pages.  The caller holds a lock on the relation.  Waits for the migration lock. */
extern void vdb_migrate_sweep_pages(Relation rel, const VdbTableRef *ref);

/*
 * Give free pages at the end of the main fork back to the file system, if the table is not in use
 * just now.  Returns the number of pages.
 */
extern BlockNumber vdb_migrate_cut_pages(Relation rel, const VdbTableRef *ref);

/* ---- tables that could not be moved (migrate_note.c) ---- */

/*
 * Note that a move of the table failed or met damage.  Returns whether to report it, which is false
 * if that was done lately, by any process that moves rows of this pool.  'failed' means that an
 * error was raised, so that the table is left alone for a while.  No lightweight lock is held.
 */
extern bool vdb_migrate_note(VdbPoolShared *shared, const VdbTableRef *ref, bool failed);

/* Check whether a move of the table failed so lately that it should not be tried again yet. */
extern bool vdb_migrate_failed_lately(VdbPoolShared *shared, const VdbTableRef *ref);

/* ---- processes that move rows (migrate_room.c, migrate_launcher.c, migrate_worker.c) ---- */

/*
 * Open the relation of a pool entry, with AccessShareLock; temporary tables of any session are
 * included.  The caller closes the relation and keeps the lock.  While the relation is open, the
 * entry stays that table's, and its map can be walked.  Returns NULL if the lock isn't free, if the
 * relation isn't visible (*busy is set if that may be due to a transaction in progress), or if the
 * entry has become another table's.
 *
 * vdb_migrate_find returns the relation that has this key now, without locking it; or InvalidOid.
 */
extern Oid	vdb_migrate_find(const VdbTableKey *key);
extern Relation vdb_migrate_open(const VdbTableRef *ref, const VdbTableKey *key, bool *busy);

/*
 * Free what belongs to relations whose files are gone.  Returns the number of tables that were
 * dropped.
 */
extern int	vdb_migrate_collect(VdbPool *pool);

/*
 * Ask for a worker (migrate_wake.c).  This is cheap if one has been asked for already.  The second
 * function finds the pools by database, among those known to this epoch.
 */
extern void vdb_migrate_wake(VdbPool *pool);
extern void vdb_migrate_wake_database(Oid db);

/*
 * Note that this transaction makes, or drops, the storage of a vdb table.  When the transaction is
 * over and files are unlinked, the worker has space to free.  DROP, of the table or of an object
 * that it belongs to, is noticed without this.
 */
extern void vdb_migrate_storage_made(void);
extern void vdb_migrate_storage_dropped(void);

/*
 * Ask the database's worker to end, and start none for some seconds.  This is for statements that
 * need a database without connections.
 */
extern void vdb_migrate_leave(Oid db);

/*
 * Return how full of rows the pool is, in percent of the room that vdb.scm_size and metadata leave
 * to them: what vdb.migrate_high_water is compared with.
 */
extern uint32 vdb_migrate_pool_percent(VdbPoolShared *pool);

/*
 * Check whether the pool is so full, of rows or of metadata, that delta records should leave it: in
 * percent of vdb.scm_size past vdb.migrate_high_water.
 */
extern bool vdb_migrate_pool_pressed(VdbPoolShared *pool);
extern void vdb_migrate_room_init(void);
extern void vdb_migrate_wake_init(void);
extern void vdb_migrate_debug_init(void);	/* executor hooks of vdb.debug_migrate */
extern void vdb_migrate_init(void); /* _PG_init: launcher, make-room callback, hooks */
extern PGDLLEXPORT void vdb_launcher_main(Datum arg);
extern PGDLLEXPORT void vdb_worker_main(Datum arg);

#endif							/* VDB_MIGRATE_H */
