/*-------------------------------------------------------------------------
 *
 * scm_internal.h
 *	  Declarations shared by the files of scm/.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_SCM_INTERNAL_H
#define VDB_SCM_INTERNAL_H

#include "storage/block.h"

#include "scm/scm.h"
#include "scm/scm_format.h"
#include "scm/scm_persist.h"
#include "scm/scm_words.h"

#define VDB_FILE_BLOCKS			((uint32) RELSEG_SIZE)
#define VDB_FILE_BYTES			((size_t) VDB_FILE_BLOCKS * VDB_POOL_BLOCK_BYTES)
#define VDB_POOL_MAX_FILES		1024
#define VDB_POOL_INITIAL_SEGMENTS	16
#define VDB_SEGMENTS_PER_MB		((1024 * 1024) / VDB_SEGMENT_BYTES)

StaticAssertDecl(BLCKSZ == VDB_POOL_BLOCK_BYTES, "the pool needs the usual block size");
StaticAssertDecl(RELSEG_SIZE % VDB_SEGMENT_BLOCKS == 0, "no segment crosses files");

/* One backend's view of a pool. */
struct VdbPool
{
	RelFileLocator rnode;			/* of vdb.scm */
	Oid			relid;				/* of vdb.scm; invalid while the pool is created */
	VdbPoolShared *shared;			/* slot in shared memory; NULL while the pool is created */
	LWLock	   *alloc_lock;			/* allocation lock; NULL while the pool is created */
	const VdbPoolHeader *header;	/* points into the mapping of file 0 */
	bool		is_pmem;			/* all files mapped so far are persistent memory */
	char	   *files[VDB_POOL_MAX_FILES];	/* mappings of 1 GB, or NULL */
	XLogRecPtr	counted_redo[VDB_POOL_MAX_FILES];	/* per file, see scm_sync.c */
	char		path[MAXPGPATH];	/* of file 0 */
};

/* ---- scm_file.c ---- */

/* Build the path of one file of the pool in 'path', of MAXPGPATH bytes. */
extern void vdb_file_path(const RelFileLocator *rnode, uint32 file, char *path);

/*
 * Map 1 GB of an open file, shared.  *is_pmem is set if cache flushes make stores durable.  Raises
 * an error if the file cannot be mapped.
 */
extern char *vdb_file_map(int fd, const char *path, bool *is_pmem);

/* Unmap 1 GB that vdb_file_map mapped. */
extern void vdb_file_unmap(char *base);

/*
 * Open a file for reading and writing.  Returns -1, with errno set, if that fails.  The caller
 * closes the file by close().
 */
extern int	vdb_file_open(const RelFileLocator *rnode, uint32 file, bool create);

/* Return the length of a file in bytes, or -1 if it does not exist.  Raises I/O errors. */
extern int64 vdb_file_bytes(const RelFileLocator *rnode, uint32 file);

/*
 * Make the pool's files at least 'nblocks' blocks long, durably.  New blocks read as zeroes.
 * Returns false, with errno set, if there is no space (or quota); some files may be longer then.
 * Raises other errors.
 */
extern bool vdb_file_extend(const RelFileLocator *rnode, uint32 nblocks, bool in_redo);

/*
 * Allocate space for blocks of the pool, without making that durable; or return their space to the
 * file system, after which they read as zeroes.  The caller sees to it that nothing is stored in
 * them.  Both return 0 or an errno.
 */
extern int	vdb_file_back(const RelFileLocator *rnode, VdbBlock block, uint32 nblocks);
extern int	vdb_file_punch(const RelFileLocator *rnode, VdbBlock block, uint32 nblocks);

/*
 * Check whether vdb_file_punch can work, by a hole past the first file's end.  Returns 0 or an
 * errno.  No process extends the files meanwhile.
 */
extern int	vdb_file_try_punch(const RelFileLocator *rnode);

/*
 * Allocate space for those blocks that lack it and keep the bytes of all, if the file system can
 * allocate.  Returns 0 or an errno.
 */
extern int	vdb_file_fill(const RelFileLocator *rnode, VdbBlock block, uint32 nblocks);

/*
 * scm_filesystem.c: warn if the pool's first file is on a file system on which stores through a
 * mapping can fail although space was allocated.  No lock is held.
 */
extern void vdb_file_check_system(const RelFileLocator *rnode);

/* Sync one file, including pages that were changed through mappings.  Raises I/O errors. */
extern void vdb_file_sync(const RelFileLocator *rnode, uint32 file);

/* Map one file of the pool into pool->files.  Raises an error if it is missing, or I/O fails. */
extern void vdb_pool_map_file(VdbPool *pool, uint32 file);

/* ---- scm_ends.c ---- */

/* Return the limits of an epoch after which these ids came next. */
static inline VdbEpochLimits
vdb_epoch_limits(FullTransactionId next_xid, MultiXactId next_multi)
{
	VdbEpochLimits limits = {XidFromFullTransactionId(next_xid), next_multi};

	return limits;
}

/* Initialize; called from _PG_init while the library is preloaded. */
extern void vdb_ends_init(void);

/* Record that recovery ends here.  Called in the startup process. */
extern void vdb_ends_note(VdbEpochLimits next);

/* Forget all ends before pg_upgrade replaces the cluster's pools.  Raises I/O errors. */
extern void vdb_ends_forget(void);

/*
 * Check whether a recovery ended past this WAL position.  *next is set to the next transaction id
 * and multixact id that the first such recovery left.
 */
extern bool vdb_ends_first_after(XLogRecPtr begin, VdbEpochLimits *next);

/* Check whether all ends past this WAL position are known. */
extern bool vdb_ends_reach(XLogRecPtr begin);

/* Return the WAL position past which all ends are known. */
extern XLogRecPtr vdb_ends_known_since(void);

/*
 * Write the file of ends if it is not yet written.  Raises an error if that fails, or if the file
 * found when the server started cannot be used.  Called before an epoch begins.  Takes ends_lock;
 * does I/O.
 */
extern void vdb_ends_require_written(void);

/* ---- where blocks are mapped ---- */

/*
 * Return the address at which a block is mapped, for writing.  Unlike vdb_pool_block this does not
 * check the pool's size.  Maps the block's file if need be, which can raise an error.
 */
static inline char *
vdb_pool_pointer(VdbPool *pool, VdbBlock block)
{
	uint32		file = block / VDB_FILE_BLOCKS;

	Assert(file < VDB_POOL_MAX_FILES);
	if (unlikely(pool->files[file] == NULL))
		vdb_pool_map_file(pool, file);
	return pool->files[file] +
		(size_t) (block % VDB_FILE_BLOCKS) * VDB_POOL_BLOCK_BYTES;
}

/* Return the number of segments of a pool that are not released. */
static inline uint32
vdb_backed_segments(VdbPoolShared *shared)
{
	uint32		total = pg_atomic_read_u32(&shared->total_segments);

	return total - Min(total, pg_atomic_read_u32(&shared->released_segments));
}

/* Return the pool's size in segments.  It never shrinks, and the files are at least as long. */
static inline uint32
vdb_pool_total_segments(VdbPool *pool)
{
	return *(volatile const uint32 *) &pool->header->total_segments;
}

/* ---- scm_marks.c ---- */

/* Return the first block of a segment. */
static inline VdbBlock
vdb_segment_block(uint32 segment_no)
{
	return (VdbBlock) segment_no * VDB_SEGMENT_BLOCKS;
}

/* Return the block that holds the allocation map of the segment's group. */
static inline VdbBlock
vdb_group_map_block(uint32 segment_no)
{
	return (VdbBlock) (segment_no / VDB_GROUP_SEGMENTS) * VDB_GROUP_BLOCKS +
		VDB_GROUP_MAP_BLOCK;
}

/* Return the mapped allocation map of the segment's group. */
static inline VdbGroupMap *
vdb_group_map(VdbPool *pool, uint32 segment_no)
{
	return (VdbGroupMap *) (vdb_pool_pointer(pool, vdb_group_map_block(segment_no)) +
							VDB_POOL_BLOCK_HEADER);
}

/* Check whether a segment is released.  The growth lock is held, or the answer is stale. */
static inline bool
vdb_segment_is_released(VdbPool *pool, uint32 segment_no)
{
	VdbGroupMap *map = vdb_group_map(pool, segment_no);

	return vdb_word_byte(*(volatile const uint64 *) &map->state[segment_no % VDB_GROUP_SEGMENTS],
						 0) == VDB_STATE_RELEASED;
}

/* A unit of allocation: a segment (by its first block) or a single block. */
typedef struct VdbPoolSpace
{
	VdbBlock	block;
	bool		segment;
} VdbPoolSpace;

/* Return the unit of allocation that begins with a block. */
static inline VdbPoolSpace
vdb_pool_space(VdbBlock block, bool segment)
{
	VdbPoolSpace space = {block, segment};

	return space;
}

/* Register the callbacks that give reservations back.  Called once, from _PG_init. */
extern void vdb_marks_init(void);

/*
 * Make room for 'more' units in the list of this process's reservations.  Called before the
 * allocation lock is taken, because it allocates memory.
 */
extern void vdb_reserved_expect(VdbPool *pool, int more);

/* Forget this process's reservations in a pool whose view is about to be freed. */
extern void vdb_reserved_forget(const VdbPool *pool);

/*
 * Reserve a free unit.  The caller holds the allocation lock exclusive, and has called
 * vdb_reserved_expect before.
 */
extern void vdb_alloc_reserve(VdbPool *pool, VdbPoolSpace space);

/* Add to the number of segments not wholly free.  The allocation lock is held exclusive. */
extern void vdb_marks_add_used(VdbPoolShared *shared, int delta);

/*
 * Reserve up to 'most' wholly free segments of [from, to) for being released, the last ones first.
 * Stores them in 'spaces', and returns how many.  Takes the allocation lock.
 */
extern int	vdb_alloc_take_spare(VdbPool *pool, uint32 from, uint32 to, int most,
								 VdbPoolSpace *spaces);

/*
 * Note that a change has made reserved segments released, or released segments that are held free.
 * This ends the reservation.  Both take the allocation lock.
 */
extern void vdb_alloc_released(VdbPool *pool, const VdbPoolSpace *spaces, int n);
extern void vdb_alloc_backed(VdbPool *pool, const VdbPoolSpace *spaces, int n);

/* Note that all released segments are to be punched, after a checkpoint.  Any lock may be held. */
extern void vdb_marks_note_holes(VdbPool *pool);

/* Mark units that a change is about to free, so that they are not reserved before it has ended. */
extern void vdb_alloc_hold(VdbPool *pool, const VdbPoolSpace *spaces, int nspaces);

/* End the reservation of units that a change has put to use; segments of rows are counted. */
extern void vdb_alloc_finish(VdbPool *pool, const VdbPoolSpace *spaces, int nspaces);

/* Make units available again that a change has freed. */
extern void vdb_alloc_release(VdbPool *pool, const VdbPoolSpace *spaces, int nspaces);

/*
 * Set the counts and hints of the shared slot from the allocation maps.  With 'clear_reservations'
 * all marks are cleared first.  The caller holds the allocation lock exclusive, or no other session
 * can use the pool.
 */
extern void vdb_alloc_recount(VdbPool *pool, bool clear_reservations);

/* ---- scm_grow.c ---- */

/*
 * Grow the pool if half of its reserve for urgent callers is used, unless the caller holds a
 * lightweight lock.  Waits for no other process.
 */
extern void vdb_grow_reserve(VdbPool *pool);

/* Add the allocation maps of the groups that begin in segments [from, to) to a change. */
extern void vdb_alloc_format_groups(VdbScmChange *change, uint32 from, uint32 to);

/* ---- scm_holes.c ---- */

/*
 * Punch a hole for each run of released segments of the group that begins with segment 'base' and
 * has n of them.  'map' is its allocation map.  Returns 0 or an errno.  No other process changes
 * which segments are released.
 */
extern int	vdb_punch_group(const RelFileLocator *rnode, const VdbGroupMap *map, uint32 base,
							uint32 n);

/*
 * In recovery, note that the pool's released segments are to be punched when a restartpoint is
 * complete whose redo position is past 'after'.
 */
extern void vdb_holes_note(const RelFileLocator *rnode, XLogRecPtr after);

/*
 * In recovery, punch the holes of one group if a restartpoint allows it.  Returns whether it did.
 * This is cheap if there are none.
 */
extern bool vdb_holes_punch_in_redo(void);

/* ---- scm_back.c ---- */

/*
 * Give up to 'most' released segments space on the file system, and make them free.  Returns false,
 * with errno set, if there is no space.  The growth lock is held, and no other.  Raises I/O errors.
 */
extern bool vdb_back_released(VdbPool *pool, uint32 most);

/*
 * Allocate space for every block of the pool that is not released and lacks it: the files may be
 * copies that a tool made with holes.  Raises an error if there is no space.  No lightweight lock
 * is held, and no process has stored anything in this run of the server.
 */
extern void vdb_back_all(VdbPool *pool);

/* ---- scm_change.c ---- */

#define VDB_CHANGE_RELEASE		0x20	/* it releases segments */
#define VDB_CHANGE_BACK			0x40	/* redo allocates the segments of the state words first */

/* Name a block in the record without a store to it: what it holds counts no more. */
extern void vdb_change_refer(VdbScmChange *change, VdbBlock block);

/* Store the state word of a segment, after all else. */
extern void vdb_change_segment_state(VdbScmChange *change, VdbBlock segment, uint64 state);

#define VDB_CHANGE_BLOCK_BYTES	16384	/* most bytes of spans in a change for one block */

#define VDB_CHANGE_INTERNAL		0x80	/* use the second workspace: nested in another change */

/* Begin a change as vdb_scm_change_begin does, but without beginning this run's epoch first. */
extern VdbScmChange *vdb_change_open(VdbPool *pool, int flags);

/* Have redo make the files at least 'nblocks' long before it applies the change. */
extern void vdb_change_extend(VdbScmChange *change, uint32 nblocks);

/* Format a group's allocation map: all segments free, except the first, which is metadata. */
extern void vdb_change_format_map(VdbScmChange *change, VdbBlock map_block);

/* Store one entry of the ring of epochs. */
extern void vdb_change_ring(VdbScmChange *change, VdbBlock block, uint16 offset,
							const VdbEpochLimits *limits);

/* Store a field of the pool's header; 'offset' is the field's offset in VdbPoolHeader. */
extern void vdb_change_header(VdbScmChange *change, int phase, size_t offset,
							  const void *data, uint16 len);

/* ---- scm_span.c ---- */

/* One span, read from its gathered or logged form. */
typedef struct VdbSpan
{
	VdbSpanHeader head;
	const char *bytes;				/* NULL: zeroes */
} VdbSpan;

/* Read the span at *at, and advance *at.  Returns false at the end, or if the span is malformed. */
extern bool vdb_span_next(const char **at, const char *end, VdbSpan *span);

/* Store those spans of a block that are of one phase.  Raises no error. */
extern void vdb_spans_apply(bool pmem, VdbBlock block, char *target,
							const char *spans, size_t len, int phase);

/* ---- scm_epoch.c ---- */

/* Set the epoch in the shared slot from the header.  The caller holds pools_lock and alloc_lock. */
extern void vdb_epoch_attach(VdbPool *pool);

/*
 * Check that it is known which transactions of the current epoch are lost.  Raises an error if the
 * epoch is another run's, and ends of recoveries since it began may be missing.  The caller holds
 * no lightweight lock.
 */
extern void vdb_epoch_require_history(VdbPool *pool);

/* ---- scm_decode.c ---- */

/* Decode a record for logical decoding.  This is the resource manager's rm_decode. */
extern void vdb_scm_decode(struct LogicalDecodingContext *ctx, struct XLogRecordBuffer *buf);

/* ---- scm_sync.c ---- */

/* Return the redo pointer of the last completed checkpoint.  Takes ControlFileLock. */
extern XLogRecPtr vdb_sync_completed_redo(void);

/*
 * Queue a sync of a file of the pool, unless a queued one covers the caller's stores.  *counted is
 * the redo pointer for which the caller's last request counts; with NULL every call queues a sync.
 * Returns false if the queue is full: the caller must call vdb_sync_now after its critical
 * section. Raises no error inside a critical section.
 */
extern bool vdb_sync_try(const RelFileLocator *rnode, uint32 file, XLogRecPtr *counted);

/* Queue a sync of the file, or sync it.  Called outside critical sections. */
extern void vdb_sync_now(const RelFileLocator *rnode, uint32 file);

#endif							/* VDB_SCM_INTERNAL_H */
