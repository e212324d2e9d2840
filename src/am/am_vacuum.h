/*-------------------------------------------------------------------------
 *
 * am_vacuum.h
 *	  Declarations shared by the files of VACUUM: am_vacuum.c, am_vacuum_block.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_AM_VACUUM_H
#define VDB_AM_VACUUM_H

#include "am/am_freeze.h"
#include "migrate/migrate.h"
#include "table/table.h"

/* What the walk of a range found to do in one logical block. */
typedef struct VdbVacuumWork
{
	VdbLogicalBlock lb;
	int			ndead;
	VdbRowSet	dead;				/* rows to remove */
	VdbRowSet	freeze;				/* rows with old ids */
	TransactionId latest;			/* latest xid of the dead rows, for standbys */
	VdbOldestLeft dead_left;		/* vs->left if the dead rows of a stripe stay */
} VdbVacuumWork;

/* State of one VACUUM of one table. */
typedef struct VdbVacuum
{
	Relation	rel;
	VdbTableRef ref;				/* pool is NULL if the table has no entry */
	VdbCursor	cursor;
	VdbBatch   *batch;				/* the cursor's */
	VdbFreezeLimits limits;
	VdbOldestLeft left;				/* oldest ids met that stay */
	double		live;				/* row versions, not dead */
	double		recently_dead;		/* row versions that an old snapshot may see */
	int64		removed;			/* row versions removed */
	int64		frozen;				/* row versions frozen */
	int64		stripes_frozen;
	int64		index_entries;		/* removed from all indexes */
	BlockNumber pages_cut;			/* off the end of the main fork */
	VdbMigrateResult moved;			/* stripes resolved, rewritten, freed */
	uint32	   *stripes;			/* ids of stripes met before the indexes were cleaned */
	uint32		nstripes;
	uint32		max_stripes;		/* allocated length of stripes */
	bool		indexes_cleaned;	/* entries of all rows that were gone by then are deleted */
	uint32		last_stripe;		/* stripe that freeze_stripe looked at last: its id */
	BlockNumber last_stripe_page;	/* and first page */
	VdbVacuumWork *work;			/* the range's blocks to change; room for VDB_RANGE_LBS */
	int			nwork;
	VdbBlock	in_doubt[VDB_RANGE_LBS];	/* metas of the range's stripes that can be resolved */
	int			nin_doubt;
	bool		remove_failed;		/* dead rows of the range could not be removed */
	int			elevel;				/* of the final report */
} VdbVacuum;

/*
 * Look at the logical block that the cursor is at (am_vacuum_block.c): note its dead versions and
 * old ids in vs->work, and freeze the stripe that it lies in.  The caller holds the migration lock.
 * Takes block locks, one at a time.
 */
extern void vdb_vacuum_block(VdbVacuum *vs);

/*
 * Remove and freeze what the walk of a range has noted, with one flush of WAL that no reader waits
 * for.  Writers of the range wait at its gate.  The caller has held the migration lock since the
 * walk, and holds no lightweight lock.
 */
extern void vdb_vacuum_store(VdbVacuum *vs);

/*
 * Freeze the stripes in doubt of a range once the rows of their aborted transactions are removed.
 * Called at the end of the range, with the migration lock still held.
 */
extern void vdb_vacuum_resolve_stripes(VdbVacuum *vs);

/*
 * Add to the table's count of removed rows that indexes may still point to (dead_rows).  'more' is
 * negative after the indexes were cleaned.  The caller holds no lightweight lock.  May flush WAL;
 * always does if 'more' is negative.
 */
extern void vdb_vacuum_count_dead(VdbVacuum *vs, int64 more);

#endif							/* VDB_AM_VACUUM_H */
