/*-------------------------------------------------------------------------
 *
 * scm_change.h
 *	  A change while it is gathered, logged and applied: shared by scm_change.c and scm_batch.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_SCM_CHANGE_H
#define VDB_SCM_CHANGE_H

#include "scm/scm_internal.h"

/* The spans that were gathered for one block. */
typedef struct ChangeBlock
{
	VdbBlock	block;
	uint32		used;				/* bytes of 'spans' */
	uint32		capacity;			/* bytes allocated for 'spans' */
	uint8		phases;				/* bit set of phases present */
	char	   *target;				/* where the block is mapped */
	char	   *spans;				/* kept from change to change */
	char	   *packed;				/* for WAL; VDB_PACK_BOUND(capacity) bytes */
	uint32		packed_bytes;
} ChangeBlock;

/* A list of units, segments or blocks, that a change uses or frees. */
typedef struct SpaceList
{
	VdbPoolSpace *spaces;
	int			n;
	int			capacity;
} SpaceList;

/* A change that is being gathered: one workspace. */
struct VdbScmChange
{
	VdbPool    *pool;
	int			flags;				/* VDB_CHANGE_... */
	bool		open;				/* begun and not ended */
	int			nblocks;
	int			last;				/* index in 'blocks' of the block found last */
	int			nlocks;
	uint16		locks[VDB_BLOCK_LOCKS]; /* block locks that redo takes, ascending */
	TransactionId latest_removed;	/* for conflicts on standbys, or invalid */
	uint32		extend_blocks;		/* blocks that redo makes the file long, or 0 */
	VdbBlock	first_block;		/* where 'first_word' goes before all else, or VDB_BLOCK_NONE */
	uint16		first_offset;
	uint16		first_word;
	const char *event;				/* owned by the caller */
	uint32		event_len;			/* bytes of the event; 0: none */
	SpaceList	used;
	SpaceList	freed;
	int			main_len;			/* bytes of 'main_data', once built */
	char		main_data[sizeof(VdbChangeRecord) + sizeof(TransactionId) +
						  VDB_BLOCK_LOCKS * sizeof(uint16) + sizeof(uint32)];
	ChangeBlock blocks[VDB_CHANGE_MAX_BLOCKS];	/* last: a batch keeps the blocks in use only */
};

/*
 * Increment a counter without a locked instruction.  Two increments at the same time may count as
 * one, but no process waits.
 */
static inline void
vdb_increment_counter(pg_atomic_uint64 *counter)
{
	pg_atomic_write_u64(counter, pg_atomic_read_u64(counter) + 1);
}

/*
 * The steps of vdb_scm_change_end.  The first two may raise an error, the others are called in a
 * critical section.
 *
 * vdb_change_build makes the record's main data, but for the event.  vdb_change_pack packs the
 * spans of each block for the record.  vdb_change_insert inserts the record and returns its end.
 * vdb_change_apply applies all phases.  vdb_change_count_locks counts the change under each block
 * lock that it lists, so that other code can see whether anything changed under a block lock; the
 * caller holds the locks listed.
 */
extern void vdb_change_build(VdbScmChange *change);
extern void vdb_change_pack(VdbScmChange *change);
extern XLogRecPtr vdb_change_insert(VdbScmChange *change);
extern void vdb_change_apply(VdbScmChange *change);
extern void vdb_change_count_locks(const VdbScmChange *change);

/*
 * Request a sync of the touched files by the next checkpoint.  Returns the number of files for
 * which the queue was full, and sets 'failed' (room for VDB_CHANGE_MAX_BLOCKS) to their numbers;
 * the caller must sync those itself, after the critical section.
 */
extern int	vdb_change_request_syncs(VdbScmChange *change, uint32 *failed);

#endif							/* VDB_SCM_CHANGE_H */
