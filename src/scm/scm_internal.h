/*-------------------------------------------------------------------------
 *
 * scm_internal.h
 *	  What the files of scm/ share among themselves.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_SCM_INTERNAL_H
#define VDB_SCM_INTERNAL_H

#include "storage/block.h"

#include "scm/scm.h"
#include "scm/scm_format.h"
#include "scm/scm_persist.h"

#define VDB_FILE_BLOCKS			((uint32) RELSEG_SIZE)
#define VDB_FILE_BYTES			((size_t) VDB_FILE_BLOCKS * VDB_POOL_BLOCK_BYTES)
#define VDB_POOL_MAX_FILES		1024
#define VDB_POOL_INITIAL_SEGMENTS	16
#define VDB_SEGMENTS_PER_MB		((1024 * 1024) / VDB_SEGMENT_BYTES)

StaticAssertDecl(BLCKSZ == VDB_POOL_BLOCK_BYTES, "the pool needs the usual block size");
StaticAssertDecl(RELSEG_SIZE % VDB_SEGMENT_BLOCKS == 0, "no segment crosses files");

/* This backend's view of a pool. */
struct VdbPool
{
	RelFileLocator rnode;
	Oid			relid;			/* of vdb.scm; invalid while it is created */
	VdbPoolShared *shared;		/* NULL while it is created */
	LWLock	   *alloc_lock;		/* likewise */
	const VdbPoolHeader *header;	/* in the mapping of file 0 */
	bool		is_pmem;		/* all files mapped so far are */
	char	   *files[VDB_POOL_MAX_FILES];	/* mappings of 1 GB, or NULL */
	XLogRecPtr	counted_redo[VDB_POOL_MAX_FILES];	/* see scm_sync.c */
	char		path[MAXPGPATH];
};

/* ---- scm_file.c ---- */
extern void vdb_file_path(const RelFileLocator *rnode, uint32 file, char *path);
extern char *vdb_file_map(int fd, const char *path, bool *is_pmem);
extern void vdb_file_unmap(char *base);
extern int	vdb_file_open(const RelFileLocator *rnode, uint32 file, bool create);
extern int64 vdb_file_bytes(const RelFileLocator *rnode, uint32 file);
extern bool vdb_file_extend(const RelFileLocator *rnode, uint32 nblocks, bool in_redo);
extern void vdb_file_sync(const RelFileLocator *rnode, uint32 file);
extern void vdb_pool_map_file(VdbPool *pool, uint32 file);

/* ---- scm_ends.c ---- */
extern void vdb_ends_init(void);
extern void vdb_ends_note(FullTransactionId next_xid);
extern void vdb_ends_forget(void);
extern bool vdb_ends_first_after(XLogRecPtr begin, FullTransactionId *next_xid);
extern bool vdb_ends_reach(XLogRecPtr begin);
extern XLogRecPtr vdb_ends_known_since(void);
extern void vdb_ends_require_written(void);

/* ---- where blocks are mapped ---- */

/* As vdb_pool_block, but for writing and without a look at the pool's size. */
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

/* Total segments; only ever grows, and the file is always that long. */
static inline uint32
vdb_pool_total_segments(VdbPool *pool)
{
	return *(volatile const uint32 *) &pool->header->total_segments;
}

/* ---- scm_marks.c ---- */

static inline VdbBlock
vdb_segment_block(uint32 segment_no)
{
	return (VdbBlock) segment_no * VDB_SEGMENT_BLOCKS;
}

static inline VdbBlock
vdb_group_map_block(uint32 segment_no)
{
	return (VdbBlock) (segment_no / VDB_GROUP_SEGMENTS) * VDB_GROUP_BLOCKS +
		VDB_GROUP_MAP_BLOCK;
}

static inline VdbGroupMap *
vdb_group_map(VdbPool *pool, uint32 segment_no)
{
	return (VdbGroupMap *) (vdb_pool_pointer(pool, vdb_group_map_block(segment_no)) +
							VDB_POOL_BLOCK_HEADER);
}

/* A unit of allocation: a segment (by its first block) or a single block. */
typedef struct VdbPoolSpace
{
	VdbBlock	block;
	bool		segment;
} VdbPoolSpace;

extern void vdb_marks_init(void);

/* Make room in the list of this process's reservations for 'more'.  Before the allocation lock. */
extern void vdb_reserved_expect(VdbPool *pool, int more);

/* Forget what was reserved in a pool whose view is about to be freed. */
extern void vdb_reserved_forget(const VdbPool *pool);

/* Reserve a free unit.  Allocation lock held, vdb_reserved_expect called. */
extern void vdb_alloc_reserve(VdbPool *pool, VdbPoolSpace space);
extern void vdb_marks_add_used(VdbPoolShared *shared, int delta);
extern void vdb_alloc_hold(VdbPool *pool, const VdbPoolSpace *spaces, int nspaces);
extern void vdb_alloc_finish(VdbPool *pool, const VdbPoolSpace *spaces, int nspaces);
extern void vdb_alloc_release(VdbPool *pool, const VdbPoolSpace *spaces, int nspaces);
extern void vdb_alloc_recount(VdbPool *pool, bool clear_reservations);

/* ---- scm_grow.c ---- */

/*
 * Grow the pool if half of its reserve for urgent callers is used, and no lightweight lock is
 * held.  Waits for no other process.
 */
extern void vdb_grow_reserve(VdbPool *pool);
extern void vdb_alloc_format_groups(VdbScmChange *change, uint32 from, uint32 to);

/* ---- scm_change.c ---- */

#define VDB_CHANGE_BLOCK_BYTES	16384	/* most that a change can have for one block */

#define VDB_CHANGE_INTERNAL		0x80	/* second workspace: nested in a caller's change */

extern VdbScmChange *vdb_change_open(VdbPool *pool, int flags);
extern void vdb_change_extend(VdbScmChange *change, uint32 nblocks);
extern void vdb_change_format_map(VdbScmChange *change, VdbBlock map_block);
extern void vdb_change_ring(VdbScmChange *change, VdbBlock block, uint16 offset, uint64 value);
extern void vdb_change_header(VdbScmChange *change, int phase, size_t offset,
							  const void *data, uint16 len);

/* ---- scm_span.c ---- */

/* One span, as gathered and as logged. */
typedef struct VdbSpan
{
	VdbSpanHeader  head;
	const char *bytes;			/* NULL: zeroes */
} VdbSpan;

extern bool vdb_span_next(const char **at, const char *end, VdbSpan *span);
extern void vdb_spans_apply(bool pmem, VdbBlock block, char *target,
							const char *spans, size_t len, int phase);

/* ---- scm_epoch.c ---- */
extern void vdb_epoch_attach(VdbPool *pool);
extern void vdb_epoch_require_history(VdbPool *pool);

/* ---- scm_decode.c ---- */
extern void vdb_scm_decode(struct LogicalDecodingContext *ctx, struct XLogRecordBuffer *buf);

/* ---- scm_sync.c ---- */
extern bool vdb_sync_try(const RelFileLocator *rnode, uint32 file, XLogRecPtr *counted);
extern void vdb_sync_now(const RelFileLocator *rnode, uint32 file);

#endif							/* VDB_SCM_INTERNAL_H */
