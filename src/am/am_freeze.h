/*-------------------------------------------------------------------------
 *
 * am_freeze.h
 *	  Which ids of a version have to go, and which are the oldest that stay.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_AM_FREEZE_H
#define VDB_AM_FREEZE_H

#include "rows/rows.h"

typedef struct VdbFreezeLimits
{
	TransactionId oldest_xmin;		/* transactions before it have ended, for everybody */
	TransactionId freeze_limit;		/* ids before it are old; it does not follow oldest_xmin */
	MultiXactId multi_cutoff;		/* members of multixacts before it may be lost */
} VdbFreezeLimits;

/* The oldest ids that are still stored. */
typedef struct VdbOldestLeft
{
	TransactionId xid;
	MultiXactId multi;
} VdbOldestLeft;

/*
 * Take the old ids out of the header of a version that is not dead.  True if the header has
 * changed: then it is the caller's to store.  Asks clog and pg_multixact.
 */
extern bool vdb_freeze_version(const VdbFreezeLimits *limits, VdbVersion *version);

/*
 * Lower *left to the ids in the version's header.  Of a striped row only those of xmax count: its
 * stripe answers for xmin.
 */
extern void vdb_freeze_note_left(VdbOldestLeft *left, const VdbVersion *version);

#endif							/* VDB_AM_FREEZE_H */
