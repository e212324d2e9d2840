/*-------------------------------------------------------------------------
 *
 * migrate.h
 *	  Moving rows from SCM to flash.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_MIGRATE_H
#define VDB_MIGRATE_H

#include "table/table.h"

/* ---- what to migrate: pure (migrate_policy.c) ---- */

typedef struct VdbTableFigures
{
	uint32		closed_segments;	/* whose rows are settled or may soon be */
	uint64		oldest_age_ms;		/* since the oldest of them was claimed; 0: unknown */
	uint32		pool_used_percent;
} VdbTableFigures;

typedef struct VdbPolicy
{
	int			high_water_percent;
	int			backlog_segments;
	uint64		after_ms;
} VdbPolicy;

typedef enum VdbReason
{
	VDB_REASON_NONE,
	VDB_REASON_FULL,
	VDB_REASON_BACKLOG,
	VDB_REASON_AGE
} VdbReason;

extern VdbReason vdb_migrate_reason(const VdbTableFigures *figures, const VdbPolicy *policy);

/* Should a striped block's stripe be merged with what moves now?  Keeps rewriting within a constant factor. */
extern bool vdb_migrate_merge(uint32 stripe_rows, uint32 moving_rows, uint32 stripes_in_range);

/* ---- how (migrate_range.c) ---- */

#define VDB_MIGRATE_OWN		0x01	/* also rows of transactions in progress (the pool is full) */

/*
 * Move the rows of one range that are settled and whose segments are closed.  Caller: a lock on the relation, the migration lock,
 * a valid vxid, no lightweight locks.  Returns rows written to the stripe because they left SCM; *freed counts segments given back.
 */
extern int64 vdb_migrate_range(Relation rel, const VdbTableRef *ref, uint32 range, int flags, int *freed);

/* All ranges; releases the migration lock between ranges. */
extern int64 vdb_migrate_table(Relation rel, int flags, bool wait, int *freed);

/* ---- who (migrate_room.c, migrate_launcher.c, migrate_worker.c) ---- */

/* Free what belongs to relations whose files are gone; returns segments' worth of tables dropped. */
extern int	vdb_migrate_collect(VdbPool *pool);
extern void vdb_migrate_wake(VdbPool *pool);
extern uint32 vdb_migrate_used_percent(VdbPoolShared *pool);	/* of vdb.scm_size */
extern void vdb_migrate_room_init(void);
extern void vdb_migrate_init(void); /* _PG_init: launcher, make-room callback */
extern PGDLLEXPORT void vdb_launcher_main(Datum arg);
extern PGDLLEXPORT void vdb_worker_main(Datum arg);

#endif							/* VDB_MIGRATE_H */
