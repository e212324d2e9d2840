/*-------------------------------------------------------------------------
 *
 * am_freeze.h
 *	  Freezing: removing old ids from a version's header, and finding the oldest that are left.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_AM_FREEZE_H
#define VDB_AM_FREEZE_H

#include "rows/rows.h"

/* The limits that decide which ids are old. */
typedef struct VdbFreezeLimits
{
	TransactionId oldest_xmin;		/* transactions before it have ended for all snapshots */
	TransactionId freeze_limit;		/* ids before it are old; not newer than oldest_xmin */
	MultiXactId multi_cutoff;		/* members of older multixacts may be truncated */
} VdbFreezeLimits;

/* The oldest ids that are still stored. */
typedef struct VdbOldestLeft
{
	TransactionId xid;
	MultiXactId multi;
} VdbOldestLeft;

/*
 * Remove the old ids from the header of a version that is not dead.  Return true if the header has
 * changed; the caller must store it then.  Reads clog and pg_multixact; takes no block lock.
 */
extern bool vdb_freeze_version(const VdbFreezeLimits *limits, VdbVersion *version);

/*
 * Lower *left to the oldest ids in the version's header.  Of a striped row only those of xmax
 * count: the stripe's meta has the bounds of xmin.  Reads pg_multixact.
 */
extern void vdb_freeze_note_left(VdbOldestLeft *left, const VdbVersion *version);

#endif							/* VDB_AM_FREEZE_H */
