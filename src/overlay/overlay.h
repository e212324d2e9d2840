/*-------------------------------------------------------------------------
 *
 * overlay.h
 *	  The overlay: deletes, updates and locks of rows that live in stripes.
 *
 * Unless noted otherwise, the caller holds the LB's block lock: shared to read, exclusive to
 * change.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_OVERLAY_H
#define VDB_OVERLAY_H

#include "utils/rel.h"

#include "map/map.h"
#include "overlay/overlay_format.h"

/* Copy of an LB's overlay, which a reader may keep after unlocking. */
typedef struct VdbOverlayView
{
	bool		any;				/* false: the LB has no block delta */
	VdbRowSet	deleted;			/* deletion bitmap */
	int			ndrecs;				/* number of delta records */
	VdbDeltaRecord drecs[VDB_LB_ROWS];	/* without gaps, in any order */
	int16		drec_at[VDB_LB_ROWS];	/* by row: index in drecs, or -1 */
} VdbOverlayView;

/* Copy the LB's overlay to *view.  An xmax that is lost is cleared in the copy. */
extern void vdb_overlay_read(const VdbTableRef *ref, const VdbExtent *extent, VdbOverlayView *view);

/*
 * Read the overlay of one row.  Sets *deleted if the row is removed.  Returns whether the row has a
 * delta record, which is then copied to *drec.
 */
extern bool vdb_overlay_row(const VdbTableRef *ref, const VdbExtent *extent, uint8 index,
							bool *deleted, VdbDeltaRecord *drec);

/*
 * Make sure that the LB has a block delta with room for 'more' delta records (0: that it has a
 * block delta).  Call this before every change that uses vdb_overlay_set, even if the row has a
 * delta record already, and before that change begins.
 *
 * Structural work is done in logged changes of its own, so the caller's change may be unlogged.
 * May flush WAL, and may replace the overlay address in *extent.  The block lock is held exclusive;
 * takes the map lock.  Returns false if the pool is full: the caller then releases the block lock,
 * waits for space, looks up the LB again and retries.
 */
extern bool vdb_overlay_prepare(const VdbTableRef *ref, VdbLogicalBlock lb, VdbExtent *extent,
								int more);

/*
 * Store or replace a row's delta record as part of a change.  vdb_overlay_prepare has made room.  A
 * change may store at most one delta record of an LB, and needn't be flushed.  VDB_DELTA_USED is
 * added to the flags.
 *
 * Rows whose delta records say the same and that have no next version take little room: 24 bytes
 * for up to VDB_GROUP_DELTA_ROWS of them.  Callers see delta records of single rows only.
 */
extern void vdb_overlay_set(VdbScmChange *change, const VdbTableRef *ref, const VdbExtent *extent,
							const VdbDeltaRecord *drec);

/*
 * Set hint bits of an existing delta record, without WAL.  The block lock is held in either mode.
 */
extern void vdb_overlay_hint(const VdbTableRef *ref, const VdbExtent *extent, uint8 index,
							 uint16 infomask_or);

/*
 * Set bits of the deletion bitmap as part of a change.  This removes the rows and hides their delta
 * records.  The LB must have a block delta: call vdb_overlay_prepare with 0.  For logged tables the
 * change must be VDB_CHANGE_FLUSH, since the deleting transaction's commit must be durable before
 * the bit is.
 */
extern void vdb_overlay_mark_deleted(VdbScmChange *change, const VdbTableRef *ref,
									 const VdbExtent *extent,
									 const VdbRowSet deleted);

/*
 * What VACUUM changes in the overlay of one LB.  The first four fields are the caller's; the others
 * are filled by vdb_overlay_prepare_edit.
 */
typedef struct VdbOverlayEdit
{
	VdbRowSet	removed;			/* rows to remove */
	VdbRowSet	dropped;			/* rows whose delta records don't count any more */
	const VdbDeltaRecord *replacing;	/* delta records in place of those of the same rows */
	int			nreplacing;
	VdbBlock	old_block;			/* the block delta that goes, to be reclaimed in the end;
									 * VDB_BLOCK_NONE: it is changed in place */
	uint16		old_offset;
	VdbBlock	new_block;			/* the one written anew in its place, or VDB_BLOCK_NONE if
									 * there is nothing left to say */
	uint16		new_offset;
} VdbOverlayEdit;

/*
 * Change the overlay of an LB in two steps, so that no flush comes between other steps of a batch.
 *
 * vdb_overlay_prepare_edit does all that needs changes of its own; it may flush WAL if there is no
 * room in the slabs.  Returns false if the pool is full; then nothing has happened.  Rows of an LB
 * that has a block delta can be removed even then, by an edit that does nothing else.  What it has
 * written is left to vdb_overlay_sweep unless the second step follows.
 *
 * vdb_overlay_edit adds the edit to a change, which must be VDB_CHANGE_FLUSH if old_block is set or
 * the table is logged: see vdb_overlay_mark_deleted.  Call vdb_overlay_reclaim for old_block once
 * the change was stored.
 *
 * The caller holds the block lock exclusive in both steps, and between the first step and the
 * storing of the change no other process changes the LB or its overlay (base/vdb_gate.h).
 */
extern bool vdb_overlay_prepare_edit(const VdbTableRef *ref, VdbExtent *extent,
									 VdbOverlayEdit *edit);
extern void vdb_overlay_edit(VdbScmChange *change, const VdbTableRef *ref, const VdbExtent *extent,
							 const VdbOverlayEdit *edit);

/*
 * Build a new block delta, with the given delta records and deletion bitmap, for an LB that is
 * about to be switched to a stripe.  It is logged, and no map entry refers to it yet; a crash
 * leaves it to vdb_overlay_sweep.  It is not flushed, because the switch, which comes later, is.
 * Takes the map lock.  Returns false if the pool is full.
 */
extern bool vdb_overlay_build(const VdbTableRef *ref, VdbLogicalBlock lb,
							  const VdbDeltaRecord *drecs, int ndrecs,
							  const VdbRowSet deleted, VdbBlock *block, uint16 *offset);

/*
 * Free the LB's block delta as part of a VDB_CHANGE_FLUSH change after which no map entry refers to
 * it.  Touches one block.  A change may free any number of block deltas.  Does nothing if the
 * address isn't that of a block delta of this LB.  Call vdb_overlay_reclaim for its block once the
 * change has ended.
 */
extern void vdb_overlay_free(VdbScmChange *change, const VdbTableRef *ref, VdbLogicalBlock lb,
							 VdbBlock block, uint16 offset);

/* A block delta that an LB no longer uses, or never did. */
typedef struct VdbUnusedDelta
{
	VdbLogicalBlock lb;
	VdbBlock	block;				/* VDB_BLOCK_NONE: there is none */
	uint16		offset;
} VdbUnusedDelta;

/*
 * Free block deltas to which no map entry refers any more (after a switch) or ever referred (builds
 * that weren't used), and reclaim their blocks.  Each is given once.  Makes flushed changes of its
 * own: two flushes for all of them, without block locks.  Takes the LBs' block locks, one at a
 * time, and the map lock; the caller holds neither, but the migration lock of their range: two
 * processes that free the same block delta would both find it in use, and the later one would wipe
 * out what has been put there since.  Skips an address that isn't that of a block delta of its LB,
 * or to which a map entry refers.
 */
extern void vdb_overlay_release(const VdbTableRef *ref, const VdbUnusedDelta *deltas, int ndeltas);

/*
 * Offer the room of slab blocks again after block deltas in them were freed.  Return to the pool
 * those of which nothing is in use, except that one slab of each class is kept.  Makes flushed
 * changes of its own, with one flush for all.  Takes the map lock, which the caller must not hold.
 * Any block number is safe to pass while the reference is valid, and any number of times.
 */
extern void vdb_overlay_reclaim(const VdbTableRef *ref, const VdbBlock *blocks, int nblocks);

/*
 * Free the block deltas that lost changes of earlier epochs left behind.  Call this once per epoch
 * and table, before the first migration.  The caller holds the table's migration lock (a range's is
 * not enough: see vdb_overlay_release), and no lightweight lock.
 */
extern void vdb_overlay_sweep(const VdbTableRef *ref);

/*
 * Check slabs and block deltas, and report as vdb_map_check does.  Takes the map lock shared; the
 * caller holds no lock.
 */
extern int64 vdb_overlay_check(const VdbTableRef *ref, VdbMapReport report, void *arg);

/* ---- spills (overlay_spill.c): README.md, "Spills" ---- */

/*
 * Read a spill's delta records of one LB, which has some (extent.spilled).  'spill' was copied from
 * the meta under the LB's block lock.  This needs no lock, but the snapshot or the migration lock
 * that keeps a stripe's pages.  Raises ERRCODE_DATA_CORRUPTED if the spill is damaged.
 */
extern void vdb_spill_read(Relation rel, const VdbSpillAddress *spill, VdbLogicalBlock lb,
						   VdbBlockDeltaImage *image);

/*
 * Complete a row's delta record, as vdb_overlay_row has found it, by the one of the spill: *drec is
 * replaced unless it is there ('found') and says something.  Returns whether there is one now.
 */
extern bool vdb_spill_row(const VdbBlockDeltaImage *image, VdbLogicalBlock lb, uint8 index,
						  bool found, VdbDeltaRecord *drec);

/* Complete the view of an LB's block delta by the LB's delta records of the spill. */
extern void vdb_spill_view(const VdbBlockDeltaImage *image, VdbLogicalBlock lb,
						   VdbOverlayView *view);

/*
 * Write a spill: add the delta records of some LBs, in rising order, then write them.  All of them
 * must be final (vdb_delta_final).  The spill is written to a run of pages, which is logged.
 * Nothing refers to it yet; what an error or a crash leaves is found by VACUUM.  The caller flushes
 * WAL, and switches the stripe's meta to *spill.  vdb_spill_write frees the writer.  No lock is
 * held.
 */
typedef struct VdbSpillWriter VdbSpillWriter;
extern VdbSpillWriter *vdb_spill_begin(const VdbTableRef *ref, uint32 range);
extern void vdb_spill_add(VdbSpillWriter *writer, VdbLogicalBlock lb, const VdbDeltaRecord *drecs,
						  int ndrecs);
extern void vdb_spill_write(VdbSpillWriter *writer, Relation rel, VdbSpillAddress *spill);

/*
 * Check whether the delta record is that of a delete or update which has committed, and so never
 * changes again.  The commit may not be flushed yet.
 */
extern bool vdb_delta_final(const VdbDeltaRecord *drec);

/*
 * Return the bytes of the pool that a block delta with these delta records and this deletion bitmap
 * takes; 0 if it says nothing.
 */
extern int	vdb_overlay_bytes(VdbLogicalBlock lb, const VdbDeltaRecord *drecs, int ndrecs,
							  const VdbRowSet deleted);

/* Return the bytes of the pool that the LB's block delta takes now. */
extern int	vdb_overlay_bytes_now(const VdbTableRef *ref, const VdbExtent *extent);

/* Check a whole spill; 'report' is called for each damage, with a palloc'd message. */
typedef void (*VdbSpillReport) (void *arg, const char *message);
extern void vdb_spill_check(Relation rel, const VdbSpillAddress *spill, uint32 range,
							VdbSpillReport report, void *arg);

#endif							/* VDB_OVERLAY_H */
