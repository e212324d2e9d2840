/*-------------------------------------------------------------------------
 *
 * monitor_verify.h
 *	  Declarations shared by the files of vdb.verify: monitor_verify.c,
 *	  monitor_verify_block.c, monitor_verify_stripe.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_MONITOR_VERIFY_H
#define VDB_MONITOR_VERIFY_H

#include "monitor/monitor.h"

/* Size of the text that names a location. */
#define VDB_VERIFY_LOCATION_BYTES		96

/* The pages of one stripe, or of its spill, in the main fork. */
typedef struct VdbVerifyRun
{
	BlockNumber first;
	uint32		npages;
	uint32		id;					/* of the stripe or spill */
} VdbVerifyRun;

/* State of one verification of one table. */
typedef struct VdbVerify
{
	Relation	rel;
	VdbTableRef ref;
	bool		found;				/* the table has an entry in the pool */
	VdbFindings *findings;
	TransactionId relfrozenxid;		/* as of the start */
	MemoryContext context;			/* reset for each range */
	VdbSeenRange *seen;				/* the current range */
	VdbOverlayView *view;			/* the overlay of the current logical block */
	char	   *arena;				/* copied rows of the current logical block */
	VdbVersion *versions;			/* their versions, in the same order */
	const VdbVersion *version;		/* the current row */
	const char *image;				/* the current row's bytes in the arena */
	VdbCursor	cursor;				/* over the table's blocks */
	bool		more;				/* the cursor has reached another range */
	uint32		range;				/* the current range */
	VdbLogicalBlock lb;				/* the current logical block */
	const VdbSeenStripe *stripe;	/* the current stripe */
	char		location[VDB_VERIFY_LOCATION_BYTES];	/* names the object being checked */
	uint64		stripe_rows;		/* rows of stripes, in all ranges so far */
	uint64		stripes;			/* stripes in all ranges so far */
	VdbVerifyRun *runs;				/* pages of these stripes and their spills */
	int			nruns;
	int			max_runs;			/* allocated length of runs */
} VdbVerify;

/* Add an error at the current location. */
#define VDB_ERROR_AT_LOCATION(verify, ...) \
	vdb_finding((verify)->findings, VDB_ERROR_FOUND, (verify)->location, __VA_ARGS__)

/*
 * Make a logical block the current location (monitor_verify.c).  VDB_MAX_LOGICAL_BLOCK stands for
 * the table as a whole.
 */
extern void vdb_verify_locate_block(VdbVerify *verify, VdbLogicalBlock lb);

/*
 * Check the logical block verify->lb (monitor_verify_block.c).  Takes its block lock, shared, to
 * copy its rows and block delta.
 */
extern void vdb_verify_block(VdbVerify *verify);

/*
 * Check all bytes of a stripe, its meta and its zone maps (monitor_verify_stripe.c).  No
 * lightweight lock is held or taken.
 */
extern void vdb_verify_stripe(VdbVerify *verify, const VdbSeenStripe *seen);

#endif							/* VDB_MONITOR_VERIFY_H */
