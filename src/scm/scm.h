/*-------------------------------------------------------------------------
 *
 * scm.h
 *	  The pool of storage-class memory: open, read, allocate, change.
 *
 * Outside this folder pool memory is addressed by (block, offset).  The pointers that
 * vdb_pool_block returns are for reading only, and stay valid until the transaction ends.  All
 * stores go through a logged change, except hints (vdb_scm_hint).
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_SCM_H
#define VDB_SCM_H

#include "access/xlogdefs.h"
#include "storage/buf.h"

#include "base/vdb_shmem.h"
#include "base/vdb_types.h"

#define VDB_POOL_BLOCK_BYTES	8192
#define VDB_POOL_BLOCK_HEADER	24	/* bytes; zero in every block */
#define VDB_POOL_BLOCK_PAYLOAD	(VDB_POOL_BLOCK_BYTES - VDB_POOL_BLOCK_HEADER)
#define VDB_SEGMENT_BLOCKS		8
#define VDB_SEGMENT_BYTES		(VDB_SEGMENT_BLOCKS * VDB_POOL_BLOCK_BYTES)

/* The first bytes of every pool, at VDB_POOL_BLOCK_HEADER. */
#define VDB_POOL_MAGIC_TEXT		"VDBPOOL1"

typedef struct VdbPool VdbPool;		/* this backend's view of its database's pool */

/* ---- opening (scm_pool.c) ---- */

/*
 * Return the pool of the current database.  It is mapped on first use, and mapped again after it
 * grew or was made anew.  Takes AccessShareLock on vdb.scm until the end of the transaction.
 * Raises an error if the library is not preloaded, the database does not have the extension, or
 * the pool is damaged or foreign.  vdb_pool_try_open returns NULL instead if the database does not
 * have the extension.
 */
extern VdbPool *vdb_pool_open(void);
extern VdbPool *vdb_pool_try_open(void);

/*
 * Format a new, empty relation file as a pool.  Called by the pool's access method when the
 * relation is created.
 */
extern void vdb_pool_create(const RelFileLocator *rnode);

/*
 * Return the address at which a block is mapped, for reading only.  Raises an error if the block is
 * not in the pool.
 */
extern const void *vdb_pool_block(VdbPool *pool, VdbBlock block);

/* Return the pool's slot in shared memory. */
extern VdbPoolShared *vdb_pool_shared(VdbPool *pool);

/* Check whether all files mapped so far are persistent memory. */
extern bool vdb_pool_is_pmem(VdbPool *pool);

/* Return the path of the pool's first file.  The string belongs to 'pool'. */
extern const char *vdb_pool_path(VdbPool *pool);

/* Return the pool's size in blocks. */
extern uint32 vdb_pool_total_blocks(VdbPool *pool);

/* ---- the header's root fields, for map/ ---- */

/* Return the head of the directory of tables; VDB_BLOCK_NONE while there is none. */
extern VdbBlock vdb_pool_directory(VdbPool *pool);

/* ---- epochs (scm_epoch.c) ---- */

/*
 * Return the epoch of this run of the server.  Begin it first, logged and flushed, if no process
 * has.  The caller holds no block, map or allocation lock.  Not to be called in recovery.
 */
extern uint32 vdb_epoch_current(VdbPool *pool);

/*
 * Check whether (epoch, xid) is lost: a crash took its WAL.  'xid' is a normal transaction id.
 * This is cheap, and any lock may be held.
 */
extern bool vdb_epoch_lost(VdbPool *pool, uint32 epoch, TransactionId xid);

/*
 * Check whether (epoch, multixact id) is lost: a crash took its WAL.  Also true on a standby that
 * has not redone the multixact's record: the pool may be ahead of redo after a restart.  This is
 * cheap, and any lock may be held.
 */
extern bool vdb_epoch_lost_multi(VdbPool *pool, uint32 epoch, MultiXactId multi);

/*
 * Check whether rows stored in 'epoch' that WAL does not cover (those of unlogged and temporary
 * tables) still exist.  They do not once a later run began with recovery (after a crash, or by
 * promotion), because core then emptied those tables' files.  The header's field 'recovered' gives
 * the epoch begun by the latest such run.
 */
extern bool vdb_epoch_survived(VdbPool *pool, uint32 epoch);

/*
 * Write the file of the ends of recoveries again if it could not be written when the server
 * started.  Called by the launcher.  This is cheap if the file was written.  Takes ends_lock; does
 * I/O.
 */
extern void vdb_scm_tend_ends(void);

/* ---- allocation (scm_alloc.c, scm_marks.c, scm_grow.c) ---- */

/*
 * Reserve up to 'want' segments, or one block.
 *
 * vdb_scm_reserve_segments returns the number of segments reserved, and stores their first blocks
 * in 'segments'.  vdb_scm_reserve_block returns the block.  A full pool is no error: they return 0
 * or VDB_BLOCK_NONE then.
 *
 * A reservation is volatile.  The change that publishes the space makes it durable; a crash gives
 * it back, as do vdb_scm_unreserve_segment and vdb_scm_unreserve_block.  The reserve of the pool,
 * its last 1/16, is given only to urgent callers (migration, overlay, map).
 *
 * If there is no space and the caller holds no lightweight lock, the pool grows, up to
 * vdb.scm_size, or the process waits for the one that grows it.  The wait can be interrupted.  For
 * a caller that holds a lock the pool counts as full: see vdb_scm_make_larger.  Both take the
 * allocation lock of the pool.
 */
extern int	vdb_scm_reserve_segments(VdbPool *pool, int want, bool urgent, VdbBlock *segments);
extern VdbBlock vdb_scm_reserve_block(VdbPool *pool, bool urgent);

/*
 * Return the number of the block's group.  The blocks of a group share one allocation map, so all
 * of them together add one map block to a change.
 */
extern uint32 vdb_scm_group_of(VdbBlock block);

/*
 * Make the pool larger by one step if all of its present size except the reserve is used.  If
 * another process is growing the pool, wait a moment for it instead.  Returns false if the pool is
 * not short of space, is as large as it may or can be, or the caller holds a lightweight lock.
 * Does I/O, and can be interrupted.
 */
extern bool vdb_scm_make_larger(VdbPool *pool);

/*
 * Make the pool larger before it is full.  vdb_scm_grow_ahead is for the worker, which holds no
 * lightweight lock; it does I/O.  vdb_scm_wants_growth is a cheap check whether there is something
 * to do.
 */
extern bool vdb_scm_wants_growth(VdbPool *pool);
extern void vdb_scm_grow_ahead(VdbPool *pool);

/*
 * Return disk space that the pool has not used for vdb.scm_release_after.  vdb_scm_release is for
 * the worker, which holds no lightweight lock; it writes WAL and does I/O.  Space is first marked
 * as released, and returned when a checkpoint past the mark is complete.  vdb_scm_wants_release is
 * a cheap check whether there is something to do; pools_lock may be held.  Raises I/O errors.
 */
extern bool vdb_scm_wants_release(VdbPoolShared *shared);
extern void vdb_scm_release(VdbPool *pool);

/*
 * Report the warning that the file could not grow, if this process has yet to report it.  A message
 * must not be sent to a client while a lightweight lock is held, so this does nothing then.
 */
extern void vdb_scm_report_growth(VdbPool *pool);

/*
 * Give back a reservation that is not needed.  Does nothing if a change has put the space to use.
 * Takes the allocation lock.  Reservations that a failing transaction or subtransaction leaves are
 * given back at its end in any case.
 */
extern void vdb_scm_unreserve_segment(VdbPool *pool, VdbBlock segment);
extern void vdb_scm_unreserve_block(VdbPool *pool, VdbBlock block);

/*
 * Get the allocation map's present bytes for a block (VDB_STATE_* and VDB_RESERVED_* of
 * scm_words.h), for verification.  Returns false if the block is one of the pool's own (header,
 * ring, maps), which are never allocated.  'block' is less than vdb_pool_total_blocks.  Takes no
 * lock.
 */
extern bool vdb_scm_block_state(VdbPool *pool, VdbBlock block, uint8 *state, uint8 *reserved);

/* ---- logged changes (scm_change.c; vdb_scm_change_begin: scm_epoch.c) ---- */

#define VDB_CHANGE_MAX_BLOCKS	33
#define VDB_CHANGE_FLUSH		0x01	/* structural: flush WAL before the bytes are applied */
#define VDB_CHANGE_UNLOGGED		0x02	/* row bytes of an unlogged or temporary table: no WAL */

typedef struct VdbScmChange VdbScmChange;	/* one at a time per backend; static workspace */

/*
 * Begin a change; 'flags' are VDB_CHANGE_*.  After an error an open change needs no cleanup:
 * nothing was applied, and the next call of vdb_scm_change_begin resets the workspace.
 *
 * vdb_scm_change_write adds a store of bytes, which it copies.  vdb_scm_change_zero adds a store of
 * zeroes.
 */
extern VdbScmChange *vdb_scm_change_begin(VdbPool *pool, int flags);
extern void vdb_scm_change_write(VdbScmChange *change, VdbBlock block, uint16 offset,
								 const void *data, uint16 len);
extern void vdb_scm_change_zero(VdbScmChange *change, VdbBlock block, uint16 offset, uint16 len);

/*
 * Add a store that is applied, and persisted, after those of vdb_scm_change_write and
 * vdb_scm_change_zero: 1, 2, 4 or 8 bytes, naturally aligned.
 */
extern void vdb_scm_change_publish(VdbScmChange *change, VdbBlock block, uint16 offset,
								   const void *data, uint16 len);

/*
 * Have a 2-byte word, aligned, stored and persisted before all else when the change is applied; one
 * in a change.  It is not logged, so the change must store other bytes there.
 */
extern void vdb_scm_change_first(VdbScmChange *change, VdbBlock block, uint16 offset, uint16 word);

/* Check whether the change was begun with VDB_CHANGE_FLUSH. */
extern bool vdb_scm_change_is_flushed(const VdbScmChange *change);

/*
 * Add a store that is applied after everything that the change publishes, together with the states
 * of what it frees: 1, 2, 4 or 8 bytes, naturally aligned.  A process that sees it sees what was
 * published, and no process gets what the change frees before it.
 */
extern void vdb_scm_change_last(VdbScmChange *change, VdbBlock block, uint16 offset,
								const void *data, uint16 len);

/*
 * List a block lock, which redo takes exclusive while it applies the change, because of readers on
 * a standby.
 */
extern void vdb_scm_change_block_lock(VdbScmChange *change, uint32 lock_no);

/*
 * Check whether a block lock is listed.  All code that changes row versions asserts this, because
 * migration relies on it (vdb_shared->block_changes).
 */
extern bool vdb_scm_change_lists(const VdbScmChange *change, uint32 lock_no);

/* Have redo resolve recovery conflicts with snapshots that may need what is removed. */
extern void vdb_scm_change_conflict(VdbScmChange *change, TransactionId latest_removed);

/*
 * Add stores to the allocation maps, or to the header's directory field, to the change.  The space
 * to use is reserved; freed space can be reserved again when the change has ended.
 */
extern void vdb_scm_change_use_segment(VdbScmChange *change, VdbBlock segment);
extern void vdb_scm_change_use_block(VdbScmChange *change, VdbBlock block);
extern void vdb_scm_change_free_segment(VdbScmChange *change, VdbBlock segment);
extern void vdb_scm_change_free_block(VdbScmChange *change, VdbBlock block);
extern void vdb_scm_change_set_directory(VdbScmChange *change, VdbBlock block);

/* Return how many blocks the change touches so far, of at most VDB_CHANGE_MAX_BLOCKS. */
extern int	vdb_scm_change_nblocks(const VdbScmChange *change);

/*
 * Check whether the change has room for one more store of 'len' bytes to the block: the bytes of
 * each block are bounded, as is the number of blocks.
 */
extern bool vdb_scm_change_fits(const VdbScmChange *change, VdbBlock block, uint16 len);

/*
 * Add an event for logical decoding, which becomes the record's last bytes
 * (decode/decode_format.h).  The caller owns 'data', and keeps it until the change has ended.
 */
extern void vdb_scm_change_event(VdbScmChange *change, const char *data, uint32 len);

/*
 * Log the change, apply it, and register the sync of its files.  Returns the end of the record, or
 * InvalidXLogRecPtr if the change is unlogged or empty.  This enters a critical section: the caller
 * holds every lock it needs, and no error can be raised after the WAL insertion.  The process needs
 * a valid virtual transaction id.
 */
extern XLogRecPtr vdb_scm_change_end(VdbScmChange *change);

/*
 * A batch: flushed changes that are logged together, with one flush of WAL, and applied afterwards
 * one by one, each under the block locks that it lists.  No block lock is held over the flush.
 *
 * vdb_scm_batch_begin makes an empty batch in the current memory context.  vdb_scm_batch_add takes
 * the place of vdb_scm_change_end; the change uses no reserved space and has no event, and is
 * flushed or unlogged.  vdb_scm_batch_end logs, flushes, applies and frees the batch.  It takes
 * the listed block locks, so the caller holds none; a caller whose changes list no lock may hold a
 * map lock.  It enters a critical section, so a batch should be bounded: a range of a table.
 *
 * The caller makes sure that from gathering to the end of the batch no other process changes the
 * bytes that the batch stores, nor any bytes on which these depend: by a gate (base/vdb_gate.h), or
 * because nothing refers to them.  Other processes may read them.
 */
typedef struct VdbScmBatch VdbScmBatch;
extern VdbScmBatch *vdb_scm_batch_begin(VdbPool *pool);
extern void vdb_scm_batch_add(VdbScmBatch *batch, VdbScmChange *change);
extern void vdb_scm_batch_end(VdbScmBatch *batch);

/*
 * Store a hint without WAL.  This is for hint bits only: it must not matter if the store is lost or
 * torn.  'len' is 1, 2, 4 or 8 bytes, naturally aligned.  Not to be called in recovery.
 */
extern void vdb_scm_hint(VdbPool *pool, VdbBlock block, uint16 offset, const void *data,
						 uint16 len);

/* ---- records about ordinary pages (scm_redo.c) ---- */

struct XLogReaderState;
struct StringInfoData;

/*
 * Routines for the resource manager's records about ordinary pages, whose meaning pages/ defines.
 */
typedef struct VdbPageRedo
{
	void		(*redo) (struct XLogReaderState *record);
	void		(*desc) (struct StringInfoData *buf, struct XLogReaderState *record);
} VdbPageRedo;

extern void vdb_scm_set_page_redo(const VdbPageRedo *page_redo);	/* _PG_init */

/*
 * Log 'data' about a buffer that is locked exclusive, changed and dirty.  The record has a
 * full-page image where one is due.  Called in the caller's critical section.  Returns the
 * record's end, to which the caller sets the page's LSN.
 */
extern XLogRecPtr vdb_scm_log_page(Buffer buffer, const void *data, uint16 len);

/* Do the same, but always with a full-page image, and with the origin of replicated changes. */
extern XLogRecPtr vdb_scm_log_whole_page(Buffer buffer, const void *data, uint16 len);

/* ---- logical decoding (scm_decode.c) ---- */

struct LogicalDecodingContext;
struct XLogRecordBuffer;

/* Routine that decodes the resource manager's records for logical decoding; decode/ sets it. */
typedef void (*VdbDecode) (struct LogicalDecodingContext *ctx, struct XLogRecordBuffer *buf);
extern void vdb_scm_set_decode(VdbDecode decode);	/* _PG_init */

/*
 * Log an event of two pieces of bytes for logical decoding alone.  The record touches no block, and
 * redo does nothing.  The transaction has an id.
 */
extern void vdb_scm_log_event(const void *head, uint32 head_len, const char *data, uint32 len);

/* Raise the error about a record that decoding finds damaged; 'detail' is a full sentence. */
pg_noreturn extern void vdb_scm_record_damaged(const char *detail);

/*
 * Return the event of a change's record, which lies in the record and is *len bytes long, or NULL
 * if there is none.  Raises an error if the record is damaged or of another version.
 */
extern const char *vdb_scm_record_event(struct XLogReaderState *record, uint32 *len);

/*
 * Call 'visit' with each span of bytes that a change's record stores in phase 1, by block and in
 * order, until it returns false.  The bytes are unaligned, and valid during the call only.  Raises
 * an error if the record is damaged.
 */
typedef bool (*VdbVisitStore) (void *arg, const char *bytes, uint16 len);
extern void vdb_scm_record_stores(struct XLogReaderState *record, VdbVisitStore visit, void *arg);

/* ---- start-up ---- */
extern void vdb_scm_init(void);		/* _PG_init: resource manager, shared memory */

#endif							/* VDB_SCM_H */
