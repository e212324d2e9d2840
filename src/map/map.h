/*-------------------------------------------------------------------------
 *
 * map.h
 *	  The map from row numbers to the places where rows are stored.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_MAP_H
#define VDB_MAP_H

#include "base/vdb_rowset.h"
#include "map/map_format.h"

/*
 * Reference to a table in the pool.  It is small and may be copied freely.  It is valid while its
 * relation is locked and the table's entry has not been reset or dropped.
 */
typedef struct VdbTableRef
{
	VdbPool    *pool;
	uint32		slot;				/* index of the entry in the directory */
	uint32		generation;			/* of the entry, when it was found */
	Oid			spc;				/* the entry's own key when it was found */
	Oid			relnode;
	VdbBlock	entry_block;		/* block of the directory that holds the entry */
	uint16		entry_offset;		/* byte of that block */
	bool		logged;				/* row bytes need WAL */
	bool		temp;				/* temporary table */
} VdbTableRef;

/* Key under which the directory holds a table: the identity of its storage. */
typedef struct VdbTableKey
{
	Oid			spc;				/* 0: database default */
	Oid			relnode;
	int32		backend;			/* -1 unless temporary */
} VdbTableKey;

/* ---- tables (map_table.c) ---- */

/*
 * Find a table by its key, or by the key of an alias.  Returns false if there is none.  Takes no
 * lock.
 */
extern bool vdb_map_table_find(VdbPool *pool, const VdbTableKey *key, VdbTableRef *ref);

/*
 * Find a table, or create its entry.  'flags' are VDB_TABLE_UNLOGGED and VDB_TABLE_TEMP.  'creator'
 * is the full id of the top transaction if that transaction made the storage, else invalid.  WAL
 * must contain this id already: if recovery gave the id to another transaction, that transaction
 * would keep the entry.  The change is logged and flushed.  Takes the directory lock, then the pool
 * allocation lock.
 */
extern void vdb_map_table_create(VdbPool *pool, const VdbTableKey *key, uint32 flags,
								 FullTransactionId creator, VdbTableRef *ref);

/*
 * Return the creator that the entry (or alias) still names.  The result is invalid if there is
 * none, or if the creator is known to have committed.
 */
extern FullTransactionId vdb_map_table_creator(const VdbTableRef *ref);

/*
 * Note that the creator of an entry has committed.  The change is logged and flushed, so that the
 * commit is on disk first.  Does nothing if the reference is no longer valid.
 */
extern void vdb_map_table_committed(const VdbTableRef *ref);

/*
 * Find the entry with this slot number, for walking all tables.  Returns false if the slot is
 * unused, or lies past the end of the directory (then *past_end is set).
 */
extern bool vdb_map_table_by_slot(VdbPool *pool, uint32 slot, VdbTableRef *ref, VdbTableKey *key,
								  bool *past_end);

/* Return the entry of a table, where it stands in the pool. */
extern const VdbTableEntry *vdb_map_table_entry(const VdbTableRef *ref);

/* Return whether the reference still names the same table. */
extern bool vdb_map_table_valid(const VdbTableRef *ref);

/* Raise an error unless the reference is valid.  Call this before changing the table. */
extern void vdb_map_check_ref(const VdbTableRef *ref);

/*
 * Free everything that the table has in the pool, then its entry.  The caller makes sure that no
 * other process can use the table by this key.  The work is done in bounded records and can be
 * restarted.  A table that has an alias is not freed: it takes over the alias's key.  Does nothing
 * if the entry has another key by now.
 */
extern void vdb_map_table_drop(const VdbTableRef *ref);

/* Drop the entry that has this key, as vdb_map_table_drop does.  Returns false if there is none. */
extern bool vdb_map_table_drop_key(VdbPool *pool, const VdbTableKey *key);

/*
 * Free everything that the table has in the pool but keep its entry, with next_lb 0.  This serves
 * non-transactional truncation and unlogged tables after a crash.  The generation changes, in *ref
 * too: other copies of the reference become invalid.
 */
extern void vdb_map_table_reset(VdbTableRef *ref);

/* Return the next stripe id of the table.  Makes a small logged change; takes the map lock. */
extern uint32 vdb_map_new_stripe_id(const VdbTableRef *ref);

/*
 * Aliases: a table whose storage is being moved has two keys until one of the two files is gone.
 * Finding by the alias gives the table.
 *
 * vdb_map_table_alias adds a key to a table.  vdb_map_table_drop_alias drops the alias with this
 * key, while its table stays, and returns whether there was one.
 */
extern void vdb_map_table_alias(const VdbTableRef *ref, const VdbTableKey *key,
								FullTransactionId creator);
extern bool vdb_map_table_drop_alias(VdbPool *pool, const VdbTableKey *key);

/* Additions to the statistics of a table, which may be negative. */
typedef struct VdbTableDelta
{									/* rows removed since indexes were last cleaned */
	int64		dead_rows;			/* rows moved to stripes */
	int64		rows_migrated;		/* bytes of stripes written */
	int64		stripe_bytes;		/* bytes of rows migrated */
	int64		row_bytes;			/* rows in stripes */
	int64		striped_rows;		/* stripes in use */
	int64		nstripes_in_use;
	int64		last_migration;		/* TimestampTz; 0: leave it unchanged */
	bool		moved_all;			/* the migration moved everything that it could */
} VdbTableDelta;

/*
 * Add the delta to the table's entry within a change, which may touch one block more.  The change
 * need not be flushed.  The caller holds the table's map lock exclusive until the change has ended.
 */
extern void vdb_map_table_count(VdbScmChange *change, const VdbTableRef *ref,
								const VdbTableDelta *delta);

/* ---- block locks ---- */

/* Take the block lock of a logical block. */
static inline void
vdb_lock_block(const VdbTableRef *ref, VdbLogicalBlock lb, LWLockMode mode)
{
	LWLockAcquire(vdb_block_lock(vdb_block_lock_no(ref->slot, lb)), mode);
}

/* Release the block lock of a logical block. */
static inline void
vdb_unlock_block(const VdbTableRef *ref, VdbLogicalBlock lb)
{
	LWLockRelease(vdb_block_lock(vdb_block_lock_no(ref->slot, lb)));
}

/* Whether this process holds the block lock, in any mode or exclusive; for assertions. */
#define VDB_BLOCK_LOCKED(ref, lb) \
	LWLockHeldByMe(vdb_block_lock(vdb_block_lock_no((ref)->slot, lb)))
#define VDB_BLOCK_LOCKED_EXCLUSIVE(ref, lb) \
	LWLockHeldByMeInMode(vdb_block_lock(vdb_block_lock_no((ref)->slot, lb)), LW_EXCLUSIVE)

/* ---- look-up (map_lookup.c): the caller holds the LB's block lock, in either mode ---- */

/* What the map knows of a logical block. */
typedef struct VdbExtent
{
	uint8		kind;				/* VDB_EXTENT_* */
	VdbLogicalBlock lb;				/* the one that was looked up */
	VdbBlock	ref;				/* segment: its first block; stripe: its meta */
	VdbLogicalBlock first_lb;		/* segment: its first logical block */
	VdbBlock	overlay_block;		/* block delta of this LB, or none */
	uint16		overlay_offset;
	uint16		overlay_epoch;		/* low bits of the epoch that stored the address */
	bool		spilled;			/* stripe: its spill has delta records of this LB */
	VdbBlock	node;				/* range node; none if the tree has no such range */
	uint16		entry_offset;		/* of the entry in the node's block */
} VdbExtent;

/* Look up a logical block and fill *extent. */
extern void vdb_map_lookup(const VdbTableRef *ref, VdbLogicalBlock lb, VdbExtent *extent);

/* Return the first logical block that was never handed out. */
extern VdbLogicalBlock vdb_map_limit(const VdbTableRef *ref);

/*
 * Find the first range from *range on that the tree has, and store it in *range.  Returns false if
 * there is none.
 */
extern bool vdb_map_next_range(const VdbTableRef *ref, uint32 *range);

/* Return the first logical block from lb on that has rows, or the limit if there is none. */
extern VdbLogicalBlock vdb_map_next_lb(const VdbTableRef *ref, VdbLogicalBlock lb);

/* ---- claim and switch (map_change.c) ---- */

/*
 * Claim nsegments segments for new rows; the caller has reserved them through scm.
 *
 * Each segment gets lbs_per_segment (1 to 8) consecutive logical blocks, and all of them lie in one
 * range.  'format' is called with the change for each segment to write its header, because only
 * rows/ knows the layout.  One flushed change publishes the allocation, the map entries and
 * next_lb.  Takes the map lock.
 *
 * Returns the number of segments claimed, and their first LBs.  This number is smaller than
 * nsegments when a range ends; the remaining segments stay reserved and belong to the caller.  It
 * is 0 when the pool can't give a block for a new map node.  Raises ERRCODE_PROGRAM_LIMIT_EXCEEDED
 * if the table has run out of row numbers.
 */
typedef void (*VdbFormatSegment) (VdbScmChange *change, VdbBlock segment,
								  VdbLogicalBlock first_lb, void *arg);
extern int	vdb_map_claim(const VdbTableRef *ref, int nsegments, int lbs_per_segment,
						  const VdbBlock *segments, VdbLogicalBlock *first_lbs,
						  VdbFormatSegment format, void *arg);

/*
 * Check whether the pool has room for a meta with so many zone maps now; another process may take
 * it.  The pool may grow for that.  Nothing is logged.  The caller holds no lightweight lock.
 */
extern bool vdb_map_meta_fits(const VdbTableRef *ref, uint64 nzones);

/*
 * Store a stripe's meta and zone maps in the pool.  They are durable and flushed afterwards, but no
 * map entry refers to them yet.  The meta hangs on the table's pending list, so that a crash leaks
 * nothing: see vdb_map_sweep.  'zones' has nchunks * ncolumns zone maps, chunk-major.  Takes the
 * map lock.  Returns the meta block, or VDB_BLOCK_NONE when the pool is full.
 */
extern VdbBlock vdb_map_store_meta(const VdbTableRef *ref, const VdbStripeMeta *meta,
								   const VdbZone *zones);

/*
 * Free a meta that no map entry refers to, because the switch has not happened or because another
 * one took its LBs away.  The work is done in bounded, flushed records.  Takes the map lock.
 */
extern void vdb_map_free_meta(const VdbTableRef *ref, VdbBlock meta_block);

/*
 * Free a meta if no map entry refers to it, and return whether that was so.  This serves metas that
 * lost LBs, perhaps not all of them, in a switch.  The caller keeps others from freeing the meta.
 */
extern bool vdb_map_free_meta_if_unused(const VdbTableRef *ref, VdbBlock meta_block);

/*
 * Free the pending metas that earlier epochs left.  Call this once per epoch and table, before the
 * first migration.
 */
extern void vdb_map_sweep(const VdbTableRef *ref);

/*
 * Make each listed LB of one range point to a stripe, or mark it as removed when there is no meta,
 * within 'change'.
 *
 * The overlay addresses are given per LB (0: none); the arrays may be NULL.  'spilled' has the
 * indexes of the LBs of which the meta's spill has delta records.  The caller holds the
 * block locks of all these LBs exclusive, which are added to the change here, and the table's map
 * lock exclusive until the change has ended.  The change must be VDB_CHANGE_FLUSH and may contain
 * at most one switch.
 *
 * The new meta leaves the pending list, and old metas whose last LB this was enter it.  The caller
 * frees these with vdb_map_free_meta afterwards, as well as segments and block deltas.
 */
extern void vdb_map_switch(VdbScmChange *change, const VdbTableRef *ref, uint32 range,
						   const uint8 *lb_indexes, int nlbs, uint8 kind, VdbBlock meta_block,
						   const VdbBlock *overlay_blocks, const uint16 *overlay_offsets,
						   const VdbRowSet spilled);

/*
 * Change the overlay of all LBs of one stripe within 'change', and replace the address of its
 * spill.  The LBs are all that refer to the meta; the rest is as for vdb_map_switch.  What the old
 * addresses led to is the caller's to free.
 */
extern void vdb_map_switch_overlay(VdbScmChange *change, const VdbTableRef *ref, uint32 range,
								   const uint8 *lb_indexes, int nlbs, VdbBlock meta_block,
								   const VdbBlock *overlay_blocks, const uint16 *overlay_offsets,
								   const VdbRowSet spilled, const VdbSpillAddress *spill);

/*
 * Point an LB to a block delta, or to another one, within a change.  The address is published, so
 * that readers never see half of it.  The block lock is held exclusive.
 */
extern void vdb_map_set_overlay(VdbScmChange *change, const VdbTableRef *ref,
								const VdbExtent *extent,
								VdbBlock block, uint16 offset);

/*
 * Take, or release, the block locks of these LBs in exclusive mode.  They are taken in ascending
 * order of their numbers; each lock is taken once, even if several LBs share it.
 */
extern void vdb_map_lock_lbs(const VdbTableRef *ref, uint32 range, const uint8 *lb_indexes,
							 int nlbs);
extern void vdb_map_unlock_lbs(const VdbTableRef *ref, uint32 range, const uint8 *lb_indexes,
							   int nlbs);

/* ---- ranges without rows (map_range.c) ---- */

/*
 * Give the range's node back to the pool if all of the range was handed out and no logical block of
 * it has rows any more; likewise the nodes above it that lead nowhere then.  Returns whether that
 * was so.  The change is flushed.  Takes the map lock.  The caller holds no block or map lock.
 */
extern bool vdb_map_free_range(const VdbTableRef *ref, uint32 range);

/* ---- zone maps (map_zone.c) ---- */

/*
 * Return the meta in a block, after checking its magic and version.  The pointer is valid while the
 * caller holds the block lock of an LB whose map entry refers to the meta.
 */
extern const VdbStripeMeta *vdb_map_meta(VdbPool *pool,
										 VdbBlock meta_block);

/* Return the zone map of a chunk and column, or NULL if the stripe has none; locks as above. */
extern const VdbZone *vdb_map_zone(VdbPool *pool, const VdbStripeMeta *meta, int chunk, int column);

/* A checksum failure in a stripe's meta or zone maps (map_checksum.c). */
typedef struct VdbMetaDamage
{
	const char *what;				/* structure that is damaged, to be translated */
	uint32		stripe_id;
	VdbBlock	block;				/* block of the pool */
	uint32		expected;			/* the stored checksum */
	uint32		found;				/* the checksum of the bytes */
} VdbMetaDamage;

/*
 * Check the head of a meta, or one block of its zone maps, against its checksum.  'number' is that
 * of a continuation (below ncontinuations), or VDB_ZONES_IN_META.  If the check fails, fill *damage
 * and return true.  Raises nothing.  Check the head before any zone maps.  The caller holds a block
 * lock as for vdb_map_zone.
 */
extern bool vdb_map_meta_damaged(VdbBlock meta_block, const VdbStripeMeta *meta,
								 VdbMetaDamage *damage);
extern bool vdb_map_zones_damaged(VdbPool *pool, VdbBlock meta_block, const VdbStripeMeta *meta,
								  uint32 number,
								  VdbMetaDamage *damage);

/* Report the damage as ERRCODE_DATA_CORRUPTED.  The caller holds no lightweight lock. */
extern void vdb_map_report_damage(Relation rel, int elevel, const VdbMetaDamage *damage);

/*
 * Reader of the zone maps of one stripe, for deciding which chunks to skip.  It checks each block
 * of zone maps before its first use.  vdb_zone_read returns what vdb_map_zone does.  Once a block
 * has failed its check, it sets 'damaged' and returns NULL for this and all later zone maps.
 * Raises nothing.
 */
typedef struct VdbZoneReader
{
	VdbPool    *pool;
	VdbBlock	meta_block;
	const VdbStripeMeta *meta;
	bool		damaged;			/* a block has failed its check */
	VdbMetaDamage damage;			/* filled if so */
	uint64		checked[(VDB_META_CONTINUATIONS + 63) / 64];	/* bit per block of zone maps:
																 * found intact */
} VdbZoneReader;

extern void vdb_zone_reader_init(VdbZoneReader *reader, VdbPool *pool, VdbBlock meta_block,
								 const VdbStripeMeta *meta);
extern const VdbZone *vdb_zone_read(VdbZoneReader *reader, int chunk, int column);

/* Mark a stripe as frozen.  Makes a small logged and flushed change; takes the map lock. */
extern void vdb_map_freeze_stripe(const VdbTableRef *ref, VdbBlock meta_block);

/*
 * Clear the mark VDB_STRIPE_IN_DOUBT of a stripe.  All its xmins have committed, and their commits
 * are flushed.  The change is flushed.  Takes the map lock.
 */
extern void vdb_map_resolve_stripe(const VdbTableRef *ref, VdbBlock meta_block);

/*
 * ---- free pages of the main fork (map_pages.c): all functions take the map lock, and all changes
 * are flushed ----
 */

/*
 * Decide whether a run that was freed at 'freed' (a full transaction id) may be overwritten.
 * Called under the map lock: must neither raise an error nor wait.
 */
typedef bool (*VdbRunRemovable) (uint64 freed, void *arg);

/*
 * Note runs as free.  Runs for which the list or the pool has no room are dropped; the next VACUUM
 * finds them again.
 */
extern void vdb_map_add_free_pages(const VdbTableRef *ref, const VdbFreeRun *runs, int nruns,
								   VdbRunRemovable removable, void *arg);

/*
 * Take a run of 'want' pages off the list to overwrite it, from the smallest run that is large
 * enough.  If there is none, return false if 'exact', else take the largest run.  Standbys cancel
 * queries that may still read the pages.
 */
extern bool vdb_map_take_free_pages(const VdbTableRef *ref, uint32 want, bool exact,
									VdbRunRemovable removable, void *arg, VdbFreeRun *taken);

/* Copy the list to 'runs', which has room for VDB_FREE_RUNS, and return the number of runs. */
extern int	vdb_map_list_free_pages(const VdbTableRef *ref, VdbFreeRun *runs);

/*
 * Sweep the main fork.  'used' has a bit for each of the first npages pages that something refers
 * to.  Unreferenced pages that are not on the list become candidates as of now.  Candidates that
 * were removable already when the marking began become free.  The caller has held the migration
 * lock since before the marking began.
 */
extern void vdb_map_sweep_free_pages(const VdbTableRef *ref, const uint8 *used, BlockNumber npages,
									 VdbRunRemovable removable, void *arg);

/*
 * Return the length to which a main fork of npages could be cut, because free runs (not candidates)
 * stand at its end.  With 'take' these runs leave the list.
 */
extern BlockNumber vdb_map_cut_free_pages(const VdbTableRef *ref, BlockNumber npages, bool take);

/* ---- summary of a range (map_summary.c) ---- */

/* What a range's node says, read without any lock: a hint for deciding where to look. */
typedef struct VdbRangeSummary
{
	bool		complete;			/* all of its logical blocks were handed out */
	bool		thinned;			/* some are removed, or have an overlay or spilled rows */
	bool		empty;				/* complete, and none has rows: see vdb_map_free_range */
	int			nsegments;
	int			nstripes;
	int			segment_lbs;		/* logical blocks in segments */
	int			striped_lbs;		/* logical blocks in stripes */
	int			noverlaid;			/* of these, with an overlay */
	VdbBlock	segments[VDB_RANGE_LBS];	/* their first blocks */
	VdbBlock	stripes[VDB_RANGE_LBS]; /* their metas */
	uint8		stripe_lbs[VDB_RANGE_LBS];	/* LB index in the range: one LB of each stripe */
	uint8		overlaid_lbs[VDB_RANGE_LBS];	/* LB indexes in the range */
} VdbRangeSummary;

/*
 * Summarize a range.  Returns false if the range has no node: it was never reached, or all of its
 * rows are removed.  The caller holds a lock on the
 * relation.  Raises ERRCODE_DATA_CORRUPTED for damage.
 */
extern bool vdb_map_summarize(const VdbTableRef *ref, uint32 range, VdbRangeSummary *summary);

/* ---- verification (map_check.c) ---- */

/*
 * Check everything that the table has in the pool and report what is wrong.  'message' is a
 * translated clause.  'lb' is the first logical block concerned; VDB_MAX_LOGICAL_BLOCK stands for
 * the table as a whole.  Takes the map lock shared, and the block locks of each range in turn.
 * Raises no error for damage.  Returns the number of findings.
 */
typedef void (*VdbMapReport) (VdbLogicalBlock lb, const char *message, void *arg);
extern int64 vdb_map_check(const VdbTableRef *ref, VdbMapReport report, void *arg);

/* ---- what a table has in the pool (map_blocks.c) ---- */

/*
 * Call back for every block that the table's structures refer to, and for every segment (by its
 * first block).  This covers the tree, segments, stripe metas and slabs of the overlay.
 * vdb_map_directory_blocks does the same for the blocks of the directory, and is in
 * map_directory.c.  'report' is called under
 * block and map locks, so it must neither raise nor wait.  Structures that move meanwhile may be
 * met twice or not at all.  Raises ERRCODE_DATA_CORRUPTED for damage.
 */
typedef void (*VdbMapBlock) (VdbBlock block, bool segment, void *arg);
extern void vdb_map_blocks(const VdbTableRef *ref, VdbMapBlock report, void *arg);
extern void vdb_map_directory_blocks(VdbPool *pool, VdbMapBlock report, void *arg);

#endif							/* VDB_MAP_H */
