/*-------------------------------------------------------------------------
 *
 * monitor_verify.h
 *	  What the files of vdb.verify share: monitor_verify.c, monitor_verify_block.c,
 *	  monitor_verify_stripe.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_MONITOR_VERIFY_H
#define VDB_MONITOR_VERIFY_H

#include "monitor/monitor.h"

#define VDB_VERIFY_PLACE_BYTES		96

/* The pages of a stripe. */
typedef struct VdbVerifyRun
{
	BlockNumber first;
	uint32		npages;
	uint32		stripe_id;
} VdbVerifyRun;

/* One verification of one table. */
typedef struct VdbVerify
{
	Relation	rel;
	VdbTableRef ref;
	bool		found;				/* the table has a place in the pool */
	VdbFindings *findings;
	TransactionId relfrozenxid;		/* as of the start */
	MemoryContext context;			/* reset for each range */
	VdbSeenRange *seen;
	VdbOverlayView *view;
	char	   *arena;				/* rows of one logical block */
	VdbVersion *versions;
	const VdbVersion *version;		/* the row at hand, and its image in the arena */
	const char *image;
	VdbCursor	cursor;				/* over the table's blocks */
	bool		more;				/* it has come to a range */
	uint32		range;				/* the step at hand */
	VdbLogicalBlock lb;
	const VdbSeenStripe *stripe;
	char		location[VDB_VERIFY_PLACE_BYTES];
	uint64		stripe_rows;		/* seen in all ranges */
	uint64		stripes;
	VdbVerifyRun *runs;
	int			nruns;
	int			max_runs;
} VdbVerify;

/* A finding at the place at hand. */
#define VDB_ERROR_AT_PLACE(verify, ...) \
	vdb_finding((verify)->findings, VDB_ERROR_FOUND, (verify)->location, __VA_ARGS__)

/*
 * monitor_verify_block.c: the place at hand is this logical block; VDB_MAX_LOGICAL_BLOCK: the table
 * as a whole.
 */
extern void vdb_verify_place_block(VdbVerify *verify, VdbLogicalBlock lb);

/* monitor_verify_block.c: the logical block verify->lb.  Takes its lock, shared, to copy. */
extern void vdb_verify_block(VdbVerify *verify);

/*
 * monitor_verify_stripe.c: all bytes of a stripe, its meta and zone maps.  No lock held or taken.
 */
extern void vdb_verify_stripe(VdbVerify *verify, const VdbSeenStripe *seen);

#endif							/* VDB_MONITOR_VERIFY_H */
