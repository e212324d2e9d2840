/*-------------------------------------------------------------------------
 *
 * am_vacuum.h
 *	  What the files of VACUUM share: am_vacuum.c, am_vacuum_block.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_AM_VACUUM_H
#define VDB_AM_VACUUM_H

#include "am/am_freeze.h"
#include "migrate/migrate.h"
#include "table/table.h"

/* One VACUUM of one table. */
typedef struct VdbVacuum
{
	Relation	rel;
	VdbTableRef ref;
	VdbCursor	cursor;
	VdbBatch   *batch;				/* the cursor's */
	VdbFreezeLimits limits;
	VdbOldestLeft left;
	double		live;
	double		recently_dead;
	int64		removed;
	int64		frozen;
	int64		stripes_frozen;
	int64		index_entries;
	BlockNumber pages_cut;
	VdbMigrateResult moved;			/* stripes resolved, rewritten, freed */
	uint32	   *stripes;			/* ids of those met before the indexes' turn */
	uint32		nstripes;
	uint32		max_stripes;
	bool		indexes_cleaned;	/* no entry is left whose row was gone then */
	uint32		last_stripe;
	BlockNumber last_stripe_page;
	VdbBlock	in_doubt[VDB_RANGE_LBS];	/* metas of the range's stripes that can be resolved */
	int			nin_doubt;
	bool		remove_failed;		/* dead rows of the range stay */
	int			elevel;
} VdbVacuum;

/*
 * am_vacuum_block.c.  Vacuum the logical block that the cursor is at: remove dead versions,
 * freeze the others and the stripe that the block lies in.  The migration lock is held; takes
 * block locks, one at a time.
 */
extern void vdb_vacuum_block(VdbVacuum *vs);

/*
 * At the end of a range, whose migration lock is still held: freeze the stripes whose last
 * aborted rows were removed.
 */
extern void vdb_vacuum_resolve_stripes(VdbVacuum *vs);

/*
 * Count row numbers without rows that indexes may still point to; may be negative.  No
 * lightweight lock held; may flush WAL.
 */
extern void vdb_vacuum_count_dead(VdbVacuum *vs, int64 more);

#endif							/* VDB_AM_VACUUM_H */
