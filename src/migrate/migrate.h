/*-------------------------------------------------------------------------
 *
 * migrate.h
 *	  Moving rows from the pool to stripes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_MIGRATE_H
#define VDB_MIGRATE_H

#include "table/table.h"

/* ---- what to migrate: pure (migrate_policy.c) ---- */

typedef struct VdbTableStatistics
{
	uint32		segments;			/* open ones too */
	uint32		eligible_ranges;	/* ranges whose segments would make a good stripe */
	uint32		age_ms;				/* since all that could move was last moved */
	uint32		in_doubt_stripes;	/* whose inserters may have ended by now */
	uint32		pool_used_percent;
} VdbTableStatistics;

typedef struct VdbPolicy
{
	int			high_water_percent;
	uint32		after_ms;
} VdbPolicy;

typedef enum VdbReason
{
	VDB_REASON_NONE,
	VDB_REASON_FULL,
	VDB_REASON_BACKLOG,
	VDB_REASON_AGE,
	VDB_REASON_IN_DOUBT				/* nothing but stripes to be resolved */
} VdbReason;

extern VdbReason vdb_migrate_reason(const VdbTableStatistics *statistics, const VdbPolicy *policy);

/*
 * Would the segments of a range make a good stripe?  Of its 'segments' so many are closed;
 * complete: the range gets no more.
 */
extern bool vdb_migrate_range_eligible(uint32 segments, uint32 closed, bool complete,
									   int backlog_segments);

/*
 * Should a striped block's stripe be merged with what moves now?  Keeps rewriting within a constant
 * factor.
 */
extern bool vdb_migrate_merge(uint32 stripe_rows, uint32 moving_rows, uint32 stripes_in_range);

/* Has a stripe lost so many of its rows that it should be rewritten without them? */
extern bool vdb_migrate_compact(uint32 written_rows, uint32 left_rows);

/* Is cutting so many free pages off the end of the main fork worth its lock? */
extern bool vdb_migrate_truncate(BlockNumber npages, BlockNumber free_at_end);

/* ---- how (migrate_range.c) ---- */

#define VDB_MIGRATE_OWN		0x01	/* also rows of transactions in progress (the pool is full) */
#define VDB_MIGRATE_COMPACT 0x02	/* also rewrite stripes that have lost many rows */
/* leave rows in the pool where they are; free segments without rows */
#define VDB_MIGRATE_STRIPES 0x04
/* only eligible ranges, and only segments that are closed by themselves */
#define VDB_MIGRATE_ELIGIBLE	0x08
#define VDB_MIGRATE_GUARD	0x10	/* a range whose damage raises an error is left, and the others move: needs a subtransaction, so not for
									 * inserters that make room, whose reserved places its end would
									 * forget */

/* What was done; counts are added to. */
typedef struct VdbMigrateResult
{
	int64		rows_moved;			/* moved from the pool to stripes */
	int64		segments_freed;
	int64		stripes_freed;		/* merged, rewritten or gone */
	int64		rows_dropped;		/* dead to everyone, left out */
	int64		stripes_resolved;	/* lost the mark 'in_doubt' without being rewritten */
	bool		damaged;			/* rows that fail their checksum stay, with their segments: */
	VdbRowDamage damage;			/* one of them */
	struct ErrorData *error;		/* other damage, which a range was left for: what it raised
									 * first; or NULL */
} VdbMigrateResult;

/* Did it give space in the pool back? */
#define VDB_MIGRATE_FREED(result) ((result)->segments_freed + (result)->stripes_freed > 0)

/*
 * Move the rows of one range that are resolved and whose segments are closed; resolve and rewrite
 * stripes that need it.  Caller: a lock on the relation, the migration lock, a valid vxid, no
 * lightweight locks.  True if anything was done: another call may find more.
 */
extern bool vdb_migrate_range(Relation rel, const VdbTableRef *ref, uint32 range, int flags,
							  VdbMigrateResult *result);

/*
 * A pass over the ranges of a table, from one move to the next; zero at first.  Between two moves
 * the caller may let go of the table, also end the transaction, if the ref is asked for anew and
 * has the same generation.
 */
typedef struct VdbMigratePass
{
	uint32		next;				/* range to look at */
	uint32		ranges;				/* as many as there were when it began; 0: not begun */
	bool		swept;
} VdbMigratePass;

/*
 * The next move of a pass: one stripe at most, under the migration lock.  Caller: as for
 * vdb_migrate_range, without that lock. False: nothing is left to do, or the lock isn't free and
 * wait is false.  With VDB_MIGRATE_GUARD ERRCODE_DATA_CORRUPTED is raised only for damage of the
 * table as a whole: what else is damaged is left, and *result tells, in the caller's memory
 * context.
 */
extern bool vdb_migrate_next(Relation rel, const VdbTableRef *ref, VdbMigratePass *pass,
							 int flags, bool wait,
							 VdbMigrateResult *result);

/* A whole pass; returns whether anything was done. */
extern bool vdb_migrate_table(Relation rel, int flags, bool wait, VdbMigrateResult *result);

/* Say what *result has of damage, if it has any; elevel ERROR: the caller wanted all to move. */
extern void vdb_migrate_report(Relation rel, int elevel, const VdbMigrateResult *result);

/* ---- what is eligible (migrate_eligible.c) ---- */

/*
 * Is the table eligible?  *waiting: it has rows in the pool, or in_doubt stripes, so somebody must
 * look again later. Caller: a lock on the relation; no lightweight locks.
 */
extern VdbReason vdb_migrate_table_eligible(const VdbTableRef *ref, bool *waiting);

/* May a move of this range with these flags find anything?  A hint. */
extern bool vdb_migrate_may_find(const VdbTableRef *ref, uint32 range, int flags);

/* ---- pages of the main fork (migrate_pages.c) ---- */

/* Find leaked pages.  Caller: a lock on the relation; waits for the migration lock. */
extern void vdb_migrate_sweep_pages(Relation rel, const VdbTableRef *ref);

/*
 * Give free pages at the end back to the file system, if no session uses the table just now.
 * Returns how many.
 */
extern BlockNumber vdb_migrate_cut_pages(Relation rel, const VdbTableRef *ref);

/* ---- tables that could not be moved (migrate_note.c) ---- */

/*
 * A move of the table failed, or met damage: should that be reported, or was it lately?  For all
 * processes that move this pool's rows. failed: raised, so it is left alone for a while.  No
 * lightweight lock held.
 */
extern bool vdb_migrate_note(VdbPoolShared *shared, const VdbTableRef *ref, bool failed);

/* Has a move of the table failed so lately that trying again is in vain? */
extern bool vdb_migrate_failed_lately(VdbPoolShared *shared, const VdbTableRef *ref);

/* ---- who (migrate_room.c, migrate_launcher.c, migrate_worker.c) ---- */

/*
 * Open the relation of a pool entry, temporary tables of any session included, with
 * AccessShareLock; the caller closes it with that lock.  While it is open, the entry stays that
 * table's, and its map can be walked.  NULL: its lock isn't free, or no process can see it (*busy
 * tells whether a transaction in progress may be why), or it isn't the entry's any more.
 * vdb_migrate_find: the relation that has this key now, unlocked; or InvalidOid.
 */
extern Oid	vdb_migrate_find(const VdbTableKey *key);
extern Relation vdb_migrate_open(const VdbTableRef *ref, const VdbTableKey *key, bool *busy);

/*
 * Free what belongs to relations whose files are gone; returns segments' worth of tables dropped.
 */
extern int	vdb_migrate_collect(VdbPool *pool);

/*
 * Ask for a worker (migrate_wake.c); cheap when one was asked for already.  By database: if its
 * pool is known to this epoch.
 */
extern void vdb_migrate_wake(VdbPool *pool);
extern void vdb_migrate_wake_database(Oid db);

/*
 * This transaction makes a vdb table's storage, or drops some: when it is over, and files are
 * unlinked, the worker has space to free. DROP and what is dropped with other objects is noticed
 * without this.
 */
extern void vdb_migrate_storage_made(void);
extern void vdb_migrate_storage_dropped(void);

/*
 * A statement wants no session to be connected to this database: ask its worker to end, and start
 * none for some seconds.
 */
extern void vdb_migrate_leave(Oid db);
extern uint32 vdb_migrate_used_percent(VdbPoolShared *pool);	/* of vdb.scm_size */
extern void vdb_migrate_room_init(void);
extern void vdb_migrate_wake_init(void);
extern void vdb_migrate_debug_init(void);	/* executor hooks of vdb.debug_migrate */
extern void vdb_migrate_init(void); /* _PG_init: launcher, make-room callback, hooks */
extern PGDLLEXPORT void vdb_launcher_main(Datum arg);
extern PGDLLEXPORT void vdb_worker_main(Datum arg);

#endif							/* VDB_MIGRATE_H */
