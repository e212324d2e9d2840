/*-------------------------------------------------------------------------
 *
 * scm.h
 *	  The pool of storage-class memory: open, read, allocate, change.
 *
 * Outside this folder pool memory is addressed by (block, offset); the
 * pointers that vdb_pool_block returns are for reading only, and stay valid
 * until the transaction ends.  All stores go through a logged change.
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
#define VDB_POOL_BLOCK_HEADER	24		/* stays zero in every block */
#define VDB_POOL_BLOCK_PAYLOAD	(VDB_POOL_BLOCK_BYTES - VDB_POOL_BLOCK_HEADER)
#define VDB_SEGMENT_BLOCKS		8
#define VDB_SEGMENT_BYTES		(VDB_SEGMENT_BLOCKS * VDB_POOL_BLOCK_BYTES)

/* The first bytes of every pool, at VDB_POOL_BLOCK_HEADER. */
#define VDB_POOL_MAGIC_TEXT		"VDBPOOL1"

typedef struct VdbPool VdbPool; /* this backend's view of its database's pool */

/* ---- opening (scm_pool.c) ---- */

/*
 * The pool of the current database; maps it on first use, re-maps after it
 * grew or was made anew.  Takes AccessShareLock on vdb.scm till transaction end.
 * ERROR: not preloaded, no extension in this database, damaged or foreign pool.
 * vdb_pool_try_open: NULL instead of ERROR when the extension isn't there.
 */
extern VdbPool *vdb_pool_open(void);
extern VdbPool *vdb_pool_try_open(void);

/* CREATE: format a new, empty relation file as a pool (called by the pool's access method). */
extern void vdb_pool_create(const RelFileLocator *rnode);

extern const void *vdb_pool_block(VdbPool *pool, VdbBlock block);
extern VdbPoolShared *vdb_pool_shared(VdbPool *pool);
extern bool vdb_pool_is_pmem(VdbPool *pool);
extern const char *vdb_pool_path(VdbPool *pool);
extern uint32 vdb_pool_total_blocks(VdbPool *pool);

/* ---- the header's root fields, for map/ ---- */

/* First directory block of the tables (VDB_BLOCK_NONE at first). */
extern VdbBlock vdb_pool_directory(VdbPool *pool);

/* ---- epochs (scm_epoch.c) ---- */

/*
 * The epoch of this run of the server, begun (logged and flushed) if need be.
 * Not while a row, map or allocation lock is held; not in recovery.
 */
extern uint32 vdb_epoch_current(VdbPool *pool);

/* Did (epoch, xid) never happen?  Cheap; any lock may be held. Normal xids only. */
extern bool vdb_epoch_lost(VdbPool *pool, uint32 epoch, TransactionId xid);

/*
 * Did rows that WAL does not cover (unlogged, temporary tables), stored in that epoch, outlive what
 * came since? False once any later run began with recovery (crash, promotion): core then emptied
 * those tables' files. Needs a header field: the epoch begun by the latest run that began with
 * recovery.
 */
extern bool vdb_epoch_survived(VdbPool *pool, uint32 epoch);

/*
 * For the launcher: the file that tells where recoveries ended could not be written when the server
 * started; try again.  Cheap when it was.  Takes ends_lock; does I/O.
 */
extern void vdb_scm_tend_ends(void);

/* ---- allocation (scm_alloc.c, scm_marks.c, scm_grow.c) ---- */

/*
 * Reserve up to 'want' segments / one block.  Reserved space is volatile: the
 * change that publishes it makes it durable, a crash or _unreserve gives it
 * back.  Returns how many were reserved (0: pool full; never an error for
 * that).  'reserve' of the pool (the last 1/16) is given only when 'urgent'
 * (migration, overlay, map).  If there is none to give, and no lightweight lock
 * is held, grows the file up to vdb.scm_size, or waits for the process that does; then
 * it can be interrupted.  Under a lock the pool counts as full: see vdb_scm_make_larger.
 * Takes the pool allocation lock.
 */
extern int	vdb_scm_reserve_segments(VdbPool *pool, int want, bool urgent, VdbBlock *segments);
extern VdbBlock vdb_scm_reserve_block(VdbPool *pool, bool urgent);
/*
 * Which allocation map a block's state stands in: blocks of one group cost a change one block
 * together.
 */
extern uint32 vdb_scm_group_of(VdbBlock block);

/*
 * Make the pool larger by a step if all but the reserve of its present size is used, or wait for
 * the process that does.  Returns false if the pool is not short of space, is as large as it may or
 * can be, or a lightweight lock is held.  Does I/O.
 */
extern bool vdb_scm_make_larger(VdbPool *pool);

/*
 * For the worker: make the pool larger before it is full.  vdb_scm_wants_growth says cheaply
 * whether there is something to do.  No lightweight lock is held.  Does I/O.
 */
extern bool vdb_scm_wants_growth(VdbPool *pool);
extern void vdb_scm_grow_ahead(VdbPool *pool);

/*
 * The warning that the file could not grow, if this process still owes it: no client gets a message
 * while a lightweight lock is held.  A process that has none calls it; nothing happens elsewhere.
 */
extern void vdb_scm_report_growth(VdbPool *pool);

/*
 * Give back what was reserved and is not wanted.  Nothing happens if a change has put it to use.
 * Takes the allocation lock.  What a failing transaction or subtransaction leaves reserved is given
 * back at its end in any case.
 */
extern void vdb_scm_unreserve_segment(VdbPool *pool, VdbBlock segment);
extern void vdb_scm_unreserve_block(VdbPool *pool, VdbBlock block);

/*
 * For verification: the allocation map's bytes of a block as of now (VDB_STATE_* and VDB_RESERVED_*
 * of scm_words.h). False: the block is one of the pool's own (header, ring, maps), which no process
 * allocates.  block < vdb_pool_total_blocks.
 */
extern bool vdb_scm_block_state(VdbPool *pool, VdbBlock block, uint8 *state, uint8 *reserved);

/* ---- logged changes (scm_change.c; vdb_scm_change_begin: scm_epoch.c) ---- */

#define VDB_CHANGE_MAX_BLOCKS	33
/* structural: WAL is flushed before the bytes are applied */
#define VDB_CHANGE_FLUSH		0x01
#define VDB_CHANGE_UNLOGGED		0x02	/* row bytes of an unlogged or temporary table: no WAL */

typedef struct VdbScmChange VdbScmChange;	/* one at a time per backend; static workspace */

/*
 * Begin a change.  No error may leave it open: on ERROR the workspace is reset at
 * the next begin (nothing was applied).  Bytes are copied by _write.
 */
extern VdbScmChange *vdb_scm_change_begin(VdbPool *pool, int flags);
extern void vdb_scm_change_write(VdbScmChange *change, VdbBlock block, uint16 offset,
								 const void *data, uint16 len);
extern void vdb_scm_change_zero(VdbScmChange *change, VdbBlock block, uint16 offset, uint16 len);

/*
 * As _write, but applied after everything else (and persisted after it): at most 8 bytes, naturally
 * aligned.
 */
extern void vdb_scm_change_publish(VdbScmChange *change, VdbBlock block, uint16 offset,
								   const void *data, uint16 len);

/* Redo takes this block lock (exclusive) around applying, for standby readers. */
extern void vdb_scm_change_block_lock(VdbScmChange *change, uint32 lock_no);

/*
 * Is it listed?  Whatever changes row versions asserts this: migration counts on it
 * (vdb_shared->block_changes).
 */
extern bool vdb_scm_change_lists(const VdbScmChange *change, uint32 lock_no);

/* Redo resolves recovery conflicts with snapshots that may need what is removed. */
extern void vdb_scm_change_conflict(VdbScmChange *change, TransactionId latest_removed);

/* Allocation map writes as part of the change. */
extern void vdb_scm_change_use_segment(VdbScmChange *change, VdbBlock segment);
extern void vdb_scm_change_use_block(VdbScmChange *change, VdbBlock block);
extern void vdb_scm_change_free_segment(VdbScmChange *change, VdbBlock segment);
extern void vdb_scm_change_free_block(VdbScmChange *change, VdbBlock block);
extern void vdb_scm_change_set_directory(VdbScmChange *change, VdbBlock block);

/* How many blocks the change touches so far (of VDB_CHANGE_MAX_BLOCKS). */
extern int	vdb_scm_change_nblocks(const VdbScmChange *change);

/* How many bytes more one block's gathering takes (bounded per block). */
extern bool vdb_scm_change_fits(const VdbScmChange *change, VdbBlock block, uint16 len);

/*
 * What the record says to logical decoding besides, as its last bytes (decode/decode_format.h).
 * They stay the caller's, and must be there until the change has ended.
 */
extern void vdb_scm_change_event(VdbScmChange *change, const char *data, uint32 len);

/*
 * Log, apply, register the sync; returns the record's end (InvalidXLogRecPtr if unlogged).
 * Enters a critical section: callers hold every lock they need, and nothing
 * after the WAL insertion can raise an error.  Needs a valid vxid.
 */
extern XLogRecPtr vdb_scm_change_end(VdbScmChange *change);

/*
 * Hint: store without WAL (hint bits only: losing or tearing it must not matter).
 * At most 8 bytes, naturally aligned.  Not in recovery.
 */
extern void vdb_scm_hint(VdbPool *pool, VdbBlock block, uint16 offset, const void *data,
						 uint16 len);

/* ---- records about ordinary pages (scm_redo.c) ---- */

struct XLogReaderState;
struct StringInfoData;

/*
 * The resource manager's second kind of records.  What they mean, and their redo, is pages/'s
 * affair.
 */
typedef struct VdbPageRedo
{
	void		(*redo) (struct XLogReaderState *record);
	void		(*desc) (struct StringInfoData *buf, struct XLogReaderState *record);
} VdbPageRedo;

extern void vdb_scm_set_page_redo(const VdbPageRedo *page_redo);	/* _PG_init */

/*
 * Log 'data' about a buffer that is locked exclusive, changed and dirty; with the whole page where
 * that is due. In the caller's critical section.  Returns the record's end, which becomes the
 * page's LSN.
 */
extern XLogRecPtr vdb_scm_log_page(Buffer buffer, const void *data, uint16 len);

/* The same with the whole page, always, and with the origin of replicated changes. */
extern XLogRecPtr vdb_scm_log_whole_page(Buffer buffer, const void *data, uint16 len);

/* ---- logical decoding (scm_decode.c) ---- */

struct LogicalDecodingContext;
struct XLogRecordBuffer;

/* What the resource manager's records say to logical decoding is decode/'s affair. */
typedef void (*VdbDecode) (struct LogicalDecodingContext *ctx, struct XLogRecordBuffer *buf);
extern void vdb_scm_set_decode(VdbDecode decode);	/* _PG_init */

/* Log two pieces for it alone: no block is touched, redo does nothing.  Needs a transaction id. */
extern void vdb_scm_log_event(const void *head, uint32 head_len, const char *data, uint32 len);

/* The event of a change's record; NULL: it has none.  ERROR: another version, or damaged. */
extern const char *vdb_scm_record_event(struct XLogReaderState *record, uint32 *len);

/*
 * Calls 'visit' with each span of bytes that a change's record stores (phase 1), by block and in
 * order, until it returns false. The bytes are unaligned and good during the call.  ERROR: damaged.
 */
typedef bool (*VdbVisitStore) (void *arg, const char *bytes, uint16 len);
extern void vdb_scm_record_stores(struct XLogReaderState *record, VdbVisitStore visit, void *arg);

/* ---- start-up ---- */
extern void vdb_scm_init(void);	/* _PG_init: resource manager, shared memory */

#endif							/* VDB_SCM_H */
