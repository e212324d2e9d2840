/*-------------------------------------------------------------------------
 *
 * overlay.h
 *	  Deletes, updates and locks of rows that live in stripes.
 *
 * All functions: the caller holds the LB's block lock (shared to read, exclusive to change).
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_OVERLAY_H
#define VDB_OVERLAY_H

#include "map/map.h"
#include "overlay/overlay_format.h"

/* A copy of the LB's overlay that a reader may keep after unlocking. */
typedef struct VdbOverlayView
{
	bool		any;				/* false: nothing there at all */
	VdbRowSet	deleted;
	int			ndrecs;
	VdbDeltaRecord drecs[VDB_LB_ROWS];	/* dense: drec_at[] says where */
	int16		drec_at[VDB_LB_ROWS];	/* index into delta records or -1 */
} VdbOverlayView;

/* Fill the view (lost xmax of lost epochs already removed). */
extern void vdb_overlay_read(const VdbTableRef *ref, const VdbExtent *extent, VdbOverlayView *view);

/* One row: gone?, and its delta record if it has one (false: none). */
extern bool vdb_overlay_row(const VdbTableRef *ref, const VdbExtent *extent, uint8 index,
							bool *deleted, VdbDeltaRecord *drec);

/*
 * Make sure that the LB has a block delta with room for 'more' delta records (0: a block delta).
 * Call it before every change that uses vdb_overlay_set, also when the row has a delta record
 * already.  Before that change begins; structural work is done in logged changes of its own, so the
 * caller's may be unlogged. May flush WAL, and may replace *extent's overlay address.  Block lock
 * held exclusive; takes the map lock. False: pool full (release the lock, wait for space, look up
 * again, retry).
 */
extern bool vdb_overlay_prepare(const VdbTableRef *ref, VdbLogicalBlock lb, VdbExtent *extent,
								int more);

/*
 * Move the LB's block delta to a smaller place when few of its delta records still count (rows gone
 * since).  Own flushed change; block lock held exclusive, takes the map lock.  May replace
 * *extent's overlay address.
 */
extern void vdb_overlay_shrink(const VdbTableRef *ref, VdbExtent *extent);

/*
 * Drop the delta records of these rows, whose xmax doesn't count any more.  As vdb_overlay_shrink;
 * false: the pool is full, nothing happened.
 */
extern bool vdb_overlay_forget(const VdbTableRef *ref, VdbExtent *extent, const VdbRowSet rows);

/*
 * Store or replace a row's delta record as part of a change; room is there.  At most one delta
 * record of an LB in one change.  VDB_DELTA_USED is added. The change needn't be flushed.  Rows
 * whose delta records say the same and that have no next version take little room: 24 bytes for up
 * to VDB_GROUP_DELTA_ROWS of them.  That stays in here: callers see delta records of one row only.
 */
extern void vdb_overlay_set(VdbScmChange *change, const VdbTableRef *ref, const VdbExtent *extent,
							const VdbDeltaRecord *drec);

/* Set hint bits of an existing delta record (no WAL).  Block lock held in either mode. */
extern void vdb_overlay_hint(const VdbTableRef *ref, const VdbExtent *extent, uint8 index,
							 uint16 infomask_or);

/*
 * Mark rows gone, which also hides their delta records, as part of a change (a block delta must be
 * there: prepare with 0).  The change must be VDB_CHANGE_FLUSH (logged tables): the deleting
 * transaction's commit must be durable before the bit is.
 */
extern void vdb_overlay_mark_deleted(VdbScmChange *change, const VdbTableRef *ref,
									 const VdbExtent *extent,
									 const VdbRowSet deleted);

/*
 * Build a new block delta for an LB that is about to be switched to a stripe, holding the given
 * delta records and bits of the deletion bitmap: logged, not referred to yet (a crash leaves
 * it to vdb_overlay_sweep). Not flushed: the switch is, and comes after.  Takes the map lock.
 * False: pool full.
 */
extern bool vdb_overlay_build(const VdbTableRef *ref, VdbLogicalBlock lb,
							  const VdbDeltaRecord *drecs, int ndrecs,
							  const VdbRowSet deleted, VdbBlock *block, uint16 *offset);

/*
 * Give back the LB's block delta, as part of a VDB_CHANGE_FLUSH change after which nothing refers
 * to it.  Touches one block; any number in one change. Nothing happens if the address isn't one of
 * a block delta of this LB.  Call vdb_overlay_reclaim for its block once the change has ended.
 */
extern void vdb_overlay_free(VdbScmChange *change, const VdbTableRef *ref, VdbLogicalBlock lb,
							 VdbBlock block, uint16 offset);

/*
 * Free a block delta that no map entry refers to any more (after a switch), or never did (a build
 * that wasn't used), and resolve its block. Own flushed changes; takes the LB's block lock and the
 * map lock, of which the caller holds none.  Nothing happens if the address isn't one of a block
 * delta of this LB, or is referred to: somebody else freed it, and it was taken again.
 */
extern void vdb_overlay_release(const VdbTableRef *ref, VdbLogicalBlock lb, VdbBlock block,
								uint16 offset);

/*
 * After block deltas of this slab block were freed: offer its room again, or give it back to the
 * pool when nothing is used (one slab a class is kept). Own flushed change; takes the map lock,
 * which the caller must not hold.  Any block number is safe to pass while the ref is good.
 */
extern void vdb_overlay_reclaim(const VdbTableRef *ref, VdbBlock block);

/*
 * Free the block deltas that lost changes of earlier epochs left behind.  Once per run and table,
 * before the first migration; no lock held.
 */
extern void vdb_overlay_sweep(const VdbTableRef *ref);

/* Check slabs and block deltas; as vdb_map_check. */
extern int64 vdb_overlay_check(const VdbTableRef *ref, VdbMapReport report, void *arg);

#endif							/* VDB_OVERLAY_H */
