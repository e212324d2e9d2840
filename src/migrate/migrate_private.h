/*-------------------------------------------------------------------------
 *
 * migrate_private.h
 *	  Internals of migrate/: the move of one range, as migrate_choose.c, migrate_build.c and
 *	  migrate_range.c hand it to each other.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_MIGRATE_PRIVATE_H
#define VDB_MIGRATE_PRIVATE_H

#include "migrate/migrate.h"

/*
 * Bounds on what a switch touches besides, so that its change stays within VDB_CHANGE_MAX_BLOCKS.
 */
#define VDB_SWITCH_METAS		12
#define VDB_SWITCH_GROUPS		12

/* One logical block that moves. */
typedef struct VdbMovingBlock
{
	uint8		index;				/* index in the range */
	uint8		kind;				/* kind of its extent now */
	VdbBlock	ref;
	VdbBlock	old_overlay_block;
	uint16		old_overlay_offset;
	VdbRowSet	present;			/* rows that went into the stripe */
	VdbRowSet	deleted;			/* of these, rows that were removed since */
	VdbRowSet	final;				/* rows whose delta records are, or may be, in the new spill */
	VdbDeltaRecord *drecs;
	int			ndrecs;
	VdbBlock	overlay_block;		/* overlay built for it */
	uint16		overlay_offset;
	bool		stale;				/* its block delta must be built again */
	bool		lacking;			/* one of its row numbers may lack its row while indexes still
									 * have an entry for it */
} VdbMovingBlock;

/* A stripe that is merged or rewritten. */
typedef struct VdbMovingStripe
{
	VdbBlock	meta;
	BlockNumber first_page;
	uint32		npages;
	VdbSpillAddress spill;
	uint32		nrows;				/* rows it was written with */
	uint32		average_bytes;		/* average bytes of a row before encoding */
	int			blocks;				/* logical blocks it has now */
	bool		whole;				/* all of them move, so it is gone afterwards */
} VdbMovingStripe;

/* State of the move of one range. */
typedef struct VdbMover
{
	Relation	rel;
	VdbTableRef ref;
	uint32		range;
	int			flags;
	uint32		epoch;
	TransactionId oldest_xmin;
	TransactionId latest_removed;	/* latest removed or frozen xid: standbys' snapshots must have
									 * passed it */
	/* vdb_shared's, when all read of the rows was true */
	uint64		block_changes[VDB_BLOCK_LOCKS];
	VdbMovingBlock *blocks;
	int			nblocks;
	VdbBlock	segments[VDB_RANGE_LBS];
	int			nsegments;
	uint32		groups[VDB_SWITCH_GROUPS];	/* allocation groups of the segments */
	int			ngroups;
	VdbMovingStripe stripes[VDB_SWITCH_METAS];
	int			nstripes;
	int			nresolved;			/* stripes that only lost their mark */
	bool		in_doubt;			/* the inserter of some row is in progress */
	int64		rows_from_pool;
	int64		rows_written;
	int64		dropped;
	Size		raw_bytes;
	Size		scm_bytes;			/* bytes that rows leaving the pool have there */
	VdbFreeRun *wide_runs;			/* pages of wide rows that move */
	int			nwide_runs;
	int			wide_room;
	bool		keeps_stripe;		/* the one stripe stays, and only delta records move */
	VdbSpillAddress spill;			/* the new spill */
	VdbRowSet	spilled;			/* indexes of the blocks that it has delta records of */
	VdbFreeRun	address;			/* free pages offered to the stripe; npages is 0 if there are
									 * none */
	VdbStripeBuilt built;
	VdbBlock	meta_block;
	bool		damaged;			/* a segment stays because a row fails its checksum */
	VdbRowDamage damage;			/* the first such row */
	MemoryContext context;
} VdbMover;

static inline VdbLogicalBlock
vdb_mover_lb(const VdbMover *mover, uint8 index)
{
	return mover->range * VDB_RANGE_LBS + index;
}

/* migrate_choose.c: step 1 */
extern bool vdb_insert_in_progress(HeapTupleHeader hdr, VdbHtsvResult htsv);
extern void vdb_mover_choose(VdbMover *mover);

/*
 * migrate_spill.c: see there.  vdb_mover_gather_overlay fills in the delta records of the chosen
 * blocks, and returns whether moving those that are final is worth it.  vdb_mover_write_spill
 * writes the final ones to a spill.  vdb_mover_compare_overlay does step 4 for one block, whose
 * lock is held exclusive.
 */
extern bool vdb_mover_gather_overlay(VdbMover *mover);
extern void vdb_mover_write_spill(VdbMover *mover);
extern void vdb_mover_compare_overlay(VdbMover *mover, VdbMovingBlock *block);

/* migrate_intact.c: check that all rows of a segment are what was stored. */
extern bool vdb_mover_segment_intact(VdbMover *mover, VdbLogicalBlock first_lb, int nlbs);

/* migrate_build.c: steps 2 and 3.  These return false if the pool is full. */
extern bool vdb_mover_build(VdbMover *mover);
extern bool vdb_mover_build_delta(VdbMover *mover, VdbMovingBlock *block);
extern bool vdb_mover_build_deltas(VdbMover *mover);

/*
 * migrate_standby.c: check whether there is a standby that doesn't report its oldest snapshot.  No
 * lock is held.
 */
extern bool vdb_migrate_silent_standby(void);

/*
 * migrate_horizon.c: return a sentence, with a space before it, that names what keeps dead row
 * versions of this database's tables: a process, a prepared transaction or a replication slot; ""
 * if nothing does.  Palloc'd.  Takes ProcArrayLock and ReplicationSlotControlLock, shared.
 */
extern char *vdb_migrate_horizon_holder(void);

extern bool vdb_header_needs_delta(const HeapTupleHeaderData *hdr);

#endif							/* VDB_MIGRATE_PRIVATE_H */
