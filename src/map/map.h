/*-------------------------------------------------------------------------
 *
 * map.h
 *	  Row number -> where it lives.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_MAP_H
#define VDB_MAP_H

#include "map/map_format.h"

/*
 * A table in the pool.  Small, copied freely; good while its relation is locked and not made anew.
 */
typedef struct VdbTableRef
{
	VdbPool    *pool;
	uint32		slot;
	uint32		generation;
	Oid			spc;				/* the entry's own key when it was found */
	Oid			relnode;
	VdbBlock	entry_block;		/* where the entry stands */
	uint16		entry_offset;
	bool		logged;				/* row bytes need WAL */
	bool		temp;
} VdbTableRef;

typedef struct VdbTableKey
{
	Oid			spc;				/* 0: database default */
	Oid			relnode;
	int32		backend;			/* -1 unless temporary */
} VdbTableKey;

/* ---- tables (map_table.c) ---- */

extern bool vdb_map_table_find(VdbPool *pool, const VdbTableKey *key, VdbTableRef *ref);

/*
 * Find or create; logged and flushed.  flags: VDB_TABLE_UNLOGGED, VDB_TABLE_TEMP.  Takes map lock
 * 'directory' then alloc lock.  creator: full id of the top transaction if it made the storage,
 * else invalid.  WAL must know it by then: an id that recovery hands out again would keep the
 * entry.
 */
extern void vdb_map_table_create(VdbPool *pool, const VdbTableKey *key, uint32 flags,
								 FullTransactionId creator, VdbTableRef *ref);

/*
 * The creator that the entry (also an alias) still has; invalid: none, or it is known to have
 * committed.
 */
extern FullTransactionId vdb_map_table_creator(const VdbTableRef *ref);

/*
 * That transaction has committed.  Logged and flushed, so that the commit is on disk first; nothing
 * if the ref isn't good any more.
 */
extern void vdb_map_table_committed(const VdbTableRef *ref);

/*
 * Entry by slot number, for a caller that walks all tables; false: slot unused or past the end
 * (then *past_end).
 */
extern bool vdb_map_table_by_slot(VdbPool *pool, uint32 slot, VdbTableRef *ref, VdbTableKey *key,
								  bool *past_end);

extern const VdbTableEntry *vdb_map_table_entry(const VdbTableRef *ref);

/* Does the ref still name the same table? */
extern bool vdb_map_table_valid(const VdbTableRef *ref);

/* ERROR unless it does: for what is about to change the table. */
extern void vdb_map_check_ref(const VdbTableRef *ref);

/*
 * Free everything the table has in the pool, then its entry.  Caller: no other session can use the
 * table by this key. In bounded records; restartable. A table with an alias is not freed: the
 * alias's key becomes its own.  Nothing happens if the entry has another key by now.
 */
extern void vdb_map_table_drop(const VdbTableRef *ref);

/* The same for whatever entry has this very key; false: none has. */
extern bool vdb_map_table_drop_key(VdbPool *pool, const VdbTableKey *key);

/*
 * Same, but keep the entry, with next_lb 0 (non-transactional truncate, crashed unlogged table).
 * The generation changes, in *ref too: other copies of the ref are no longer valid.
 */
extern void vdb_map_table_reset(VdbTableRef *ref);

/* The next stripe id of the table; small logged change, takes the map lock. */
extern uint32 vdb_map_new_stripe_id(const VdbTableRef *ref);

/*
 * Aliases: a table whose storage is being moved has two keys until one of the two files is gone.
 * Finding by the alias gives the table. 'drop_alias': if the key is an alias, drop the alias (the
 * table stays) and return true.
 */
extern void vdb_map_table_alias(const VdbTableRef *ref, const VdbTableKey *key,
								FullTransactionId creator);
extern bool vdb_map_table_drop_alias(VdbPool *pool, const VdbTableKey *key);

/* Statistics and dead_rows: small logged change, not flushed.  Deltas may be negative. */
typedef struct VdbTableDelta
{
	int64		dead_rows;
	int64		rows_migrated;
	int64		stripe_bytes;
	int64		row_bytes;
	int64		striped_rows;
	int64		nstripes_in_use;
	int64		last_migration;		/* 0: leave */
	bool		moved_all;			/* it moved all that could */
} VdbTableDelta;

/*
 * Adds the delta to the change (which may touch one block more).  Caller holds the table's map lock
 * exclusive until the change has ended.
 */
extern void vdb_map_table_count(VdbScmChange *change, const VdbTableRef *ref,
								const VdbTableDelta *delta);

/* ---- the lock of a logical block ---- */

/* Take it. */
static inline void
vdb_lock_block(const VdbTableRef *ref, VdbLogicalBlock lb, LWLockMode mode)
{
	LWLockAcquire(vdb_block_lock(vdb_block_lock_no(ref->slot, lb)), mode);
}

/* Release it. */
static inline void
vdb_unlock_block(const VdbTableRef *ref, VdbLogicalBlock lb)
{
	LWLockRelease(vdb_block_lock(vdb_block_lock_no(ref->slot, lb)));
}

/* Does this process hold it, in any mode; or exclusive?  For assertions. */
#define VDB_BLOCK_LOCKED(ref, lb) \
	LWLockHeldByMe(vdb_block_lock(vdb_block_lock_no((ref)->slot, lb)))
#define VDB_BLOCK_LOCKED_EXCLUSIVE(ref, lb) \
	LWLockHeldByMeInMode(vdb_block_lock(vdb_block_lock_no((ref)->slot, lb)), LW_EXCLUSIVE)

/* ---- look-up (map_lookup.c).  Caller holds the LB's block lock, either mode. ---- */

typedef struct VdbExtent
{
	uint8		kind;				/* VDB_EXTENT_* */
	VdbLogicalBlock lb;				/* the one that was looked up */
	VdbBlock	ref;
	VdbLogicalBlock first_lb;		/* segment: its first logical block */
	VdbBlock	overlay_block;
	uint16		overlay_offset;
	uint16		overlay_epoch;		/* low bits of the epoch that stored the address */
	VdbBlock	node;				/* range node, none if the tree has no such range */
	uint16		entry_offset;		/* of the entry in the node's block */
} VdbExtent;

extern void vdb_map_lookup(const VdbTableRef *ref, VdbLogicalBlock lb, VdbExtent *extent);

/* First logical block never handed out. */
extern VdbLogicalBlock vdb_map_limit(const VdbTableRef *ref);

/* Return the first range from *range on that the tree has, in *range.  False: there is none. */
extern bool vdb_map_next_range(const VdbTableRef *ref, uint32 *range);

/* Return the first logical block from lb on that has rows; or the limit. */
extern VdbLogicalBlock vdb_map_next_lb(const VdbTableRef *ref, VdbLogicalBlock lb);

/* ---- claim and switch (map_change.c) ---- */

/*
 * Claim nsegments (reserved by the caller through scm) for new rows: assigns lbs_per_segment (1 to
 * 8) consecutive logical blocks to each, all in one range, formats the segments' first blocks with
 * the given header images, publishes allocation, map entries and next_lb; one flushed change.
 * 'format' is called with the change for each segment to write its header (rows/ knows the layout).
 * Takes the map lock.  May claim fewer when a range ends (the rest stays reserved and the
 * caller's); returns how many, and their first LBs. Returns 0 when the pool can't give a block for
 * a new map node. ERROR if the table is out of row numbers (ERRCODE_PROGRAM_LIMIT_EXCEEDED).
 */
typedef void (*VdbFormatSegment) (VdbScmChange *change, VdbBlock segment,
								  VdbLogicalBlock first_lb, void *arg);
extern int	vdb_map_claim(const VdbTableRef *ref, int nsegments, int lbs_per_segment,
						  const VdbBlock *segments, VdbLogicalBlock *first_lbs,
						  VdbFormatSegment format, void *arg);

/*
 * Store a stripe's meta and zone maps in the pool: durable and flushed, but not referred to
 * yet (it hangs on the table's list of pending metas, so that a crash leaks nothing: see
 * vdb_map_sweep).  Takes the map lock. Returns the meta block, or VDB_BLOCK_NONE when the pool is
 * full.  zones: nchunks * ncolumns, chunk-major.
 */
extern VdbBlock vdb_map_store_meta(const VdbTableRef *ref, const VdbStripeMeta *meta,
								   const VdbZone *zones);

/*
 * Free a meta no map entry refers to: stored but never switched to, or switched away.  Bounded
 * records, flushed.  Takes the map lock.
 */
extern void vdb_map_free_meta(const VdbTableRef *ref, VdbBlock meta_block);

/*
 * The same if no map entry refers to it, else nothing (false).  For the metas whose LBs (perhaps
 * not all) a switch took away. Caller keeps others from freeing it.
 */
extern bool vdb_map_free_meta_if_unused(const VdbTableRef *ref, VdbBlock meta_block);

/*
 * Free the pending metas that earlier epochs left.  Once per run and table, before the first
 * migration.
 */
extern void vdb_map_sweep(const VdbTableRef *ref);

/*
 * Switch entries: within 'change', make each listed LB of one range point to the stripe (or GONE
 * when meta is none). Overlay addresses are given per LB (none: 0; the arrays may be NULL).  Caller
 * holds all their block locks exclusive (they are added to the change here) and the table's map
 * lock exclusive until the change has ended.  The change must be VDB_CHANGE_FLUSH; at most one
 * switch a change. Takes the new meta off the pending list, and puts old metas there whose last LB
 * this was: call vdb_map_free_meta for these afterwards (segments, and units of the overlay, are
 * the caller's to free).
 */
extern void vdb_map_switch(VdbScmChange *change, const VdbTableRef *ref, uint32 range,
						   const uint8 *lb_indexes, int nlbs, uint8 kind, VdbBlock meta_block,
						   const VdbBlock *overlay_blocks, const uint16 *overlay_offsets);

/*
 * Point an LB to (another) block delta, within a change (published: the address never tears); block
 * lock held exclusive.
 */
extern void vdb_map_set_overlay(VdbScmChange *change, const VdbTableRef *ref,
								const VdbExtent *extent,
								VdbBlock block, uint16 offset);

/*
 * Take all block locks of these LBs (ascending index), exclusive; and release.  ndistinct <=
 * VDB_BLOCK_LOCKS.
 */
extern void vdb_map_lock_lbs(const VdbTableRef *ref, uint32 range, const uint8 *lb_indexes,
							 int nlbs);
extern void vdb_map_unlock_lbs(const VdbTableRef *ref, uint32 range, const uint8 *lb_indexes,
							   int nlbs);

/* ---- zone maps (map_zone.c) ---- */

extern const VdbStripeMeta *vdb_map_meta(VdbPool *pool,
										 VdbBlock meta_block);	/* checked: magic, version */
extern const VdbZone *vdb_map_zone(VdbPool *pool, const VdbStripeMeta *meta, int chunk, int column);

/* What of a stripe's meta isn't what was stored (map_checksum.c). */
typedef struct VdbMetaDamage
{
	const char *what;				/* to be translated */
	uint32		stripe_id;
	VdbBlock	block;
	uint32		expected;			/* the checksum that stands there */
	uint32		found;				/* the one that the bytes have */
} VdbMetaDamage;

/*
 * Does a meta (its head), or a block of its zone maps (a continuation's number below
 * ncontinuations, or VDB_ZONES_IN_META), fail its checksum?  Then *damage is filled.  Raises
 * nothing.  Zone maps: the head is intact.  Caller: as for vdb_map_zone.
 */
extern bool vdb_map_meta_damaged(VdbBlock meta_block, const VdbStripeMeta *meta,
								 VdbMetaDamage *damage);
extern bool vdb_map_zones_damaged(VdbPool *pool, VdbBlock meta_block, const VdbStripeMeta *meta,
								  uint32 number,
								  VdbMetaDamage *damage);

/* Say so, as ERRCODE_DATA_CORRUPTED.  No lightweight lock is held. */
extern void vdb_map_report_damage(Relation rel, int elevel, const VdbMetaDamage *damage);

/*
 * Zone maps of one stripe, for deciding what not to read: each block of them is checked before its
 * first use.  vdb_zone_read answers as vdb_map_zone; and NULL, for this and all later ones, once a
 * block has failed: then 'damaged' is set.  Raises nothing.
 */
typedef struct VdbZoneReader
{
	VdbPool    *pool;
	VdbBlock	meta_block;
	const VdbStripeMeta *meta;
	bool		damaged;
	VdbMetaDamage damage;
	uint64		checked[(VDB_META_CONTINUATIONS + 63) / 64];
} VdbZoneReader;

extern void vdb_zone_reader_init(VdbZoneReader *reader, VdbPool *pool, VdbBlock meta_block,
								 const VdbStripeMeta *meta);
extern const VdbZone *vdb_zone_read(VdbZoneReader *reader, int chunk, int column);

/* Mark a stripe frozen: small logged change, flushed.  Takes the map lock. */
extern void vdb_map_freeze_stripe(const VdbTableRef *ref, VdbBlock meta_block);

/*
 * All xmins of an in_doubt stripe are committed now, and WAL is flushed: take the mark away.
 * Flushed.  Takes the map lock.
 */
extern void vdb_map_resolve_stripe(const VdbTableRef *ref, VdbBlock meta_block);

/*
 * ---- free pages of the main fork (map_pages.c).  All take the map lock; changes are flushed. ----
 */

/*
 * May a run that was freed then (full transaction id) be overwritten?  Called under the map lock:
 * no error, no wait.
 */
typedef bool (*VdbRunRemovable) (uint64 freed, void *arg);

/*
 * Note runs as free.  What the list (or the pool) has no room for is forgotten: the next VACUUM
 * finds it.
 */
extern void vdb_map_add_free_pages(const VdbTableRef *ref, const VdbFreeRun *runs, int nruns,
								   VdbRunRemovable removable, void *arg);

/*
 * Take pages to overwrite off the list: 'want' of them, from the smallest run that has so many.
 * When there is none: false if 'exact', else the largest run.  Standbys end queries that may still
 * read it.
 */
extern bool vdb_map_take_free_pages(const VdbTableRef *ref, uint32 want, bool exact,
									VdbRunRemovable removable, void *arg, VdbFreeRun *taken);

/* Copy the list out (room for VDB_FREE_RUNS); returns how many. */
extern int	vdb_map_list_free_pages(const VdbTableRef *ref, VdbFreeRun *runs);

/*
 * Mark and sweep: used has a bit for each of the npages first pages that something refers to.
 * Unreferenced pages not on the list become candidates as of now; candidates that were removable
 * already when the marking began become free. Caller: the migration lock since before the marking
 * began.
 */
extern void vdb_map_sweep_free_pages(const VdbTableRef *ref, const uint8 *used, BlockNumber npages,
									 VdbRunRemovable removable, void *arg);

/*
 * How short could a main fork of npages be cut?  Free runs, candidates not, at its end.  With
 * 'take' they leave the list.
 */
extern BlockNumber vdb_map_cut_free_pages(const VdbTableRef *ref, BlockNumber npages, bool take);

/* ---- a range at a summary (map_summary.c) ---- */

/* What a range's node says, read without any lock: a hint, for deciding what to look at. */
typedef struct VdbRangeSummary
{
	bool		complete;			/* all of its logical blocks were handed out */
	bool		thinned;			/* some are gone, or have an overlay */
	int			nsegments;
	int			nstripes;
	int			segment_lbs;		/* logical blocks in segments */
	int			striped_lbs;		/* ... in stripes */
	int			noverlaid;			/* ... of these, with an overlay */
	VdbBlock	segments[VDB_RANGE_LBS];
	VdbBlock	stripes[VDB_RANGE_LBS]; /* metas */
	uint8		stripe_lbs[VDB_RANGE_LBS];	/* in the range: a block of each stripe */
	uint8		overlaid_lbs[VDB_RANGE_LBS];	/* in the range */
} VdbRangeSummary;

/*
 * False: the range has no node.  Caller: a lock on the relation.  ERRCODE_DATA_CORRUPTED at damage.
 */
extern bool vdb_map_summarize(const VdbTableRef *ref, uint32 range, VdbRangeSummary *summary);

/* ---- verification (map_check.c) ---- */

/*
 * Walk everything the table has in the pool and report what is wrong: 'message' is a translated
 * clause, lb the first logical block concerned (VDB_MAX_LOGICAL_BLOCK: the table as a whole).
 * Takes the map lock shared and the block locks of each range in turn. Raises no error for damage.
 * Returns the number of findings.
 */
typedef void (*VdbMapReport) (VdbLogicalBlock lb, const char *message, void *arg);
extern int64 vdb_map_check(const VdbTableRef *ref, VdbMapReport report, void *arg);

/* ---- what a table has in the pool (map_blocks.c) ---- */

/*
 * Call back for every block and segment (by its first block) that the table's structures refer to:
 * tree, segments, stripe metas, slabs of the overlay; and for the blocks of the directory.  Called
 * under row and map locks: it must not raise, nor wait. Moving things may be met twice or not at
 * all.  ERRCODE_DATA_CORRUPTED at damage.
 */
typedef void (*VdbMapBlock) (VdbBlock block, bool segment, void *arg);
extern void vdb_map_blocks(const VdbTableRef *ref, VdbMapBlock report, void *arg);
extern void vdb_map_directory_blocks(VdbPool *pool, VdbMapBlock report, void *arg);

#endif							/* VDB_MAP_H */
