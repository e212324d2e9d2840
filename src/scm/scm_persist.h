/*-------------------------------------------------------------------------
 *
 * scm_persist.h
 *	  Stores to pool memory, and the fences between them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_SCM_PERSIST_H
#define VDB_SCM_PERSIST_H

#include "base/vdb_types.h"

/*
 * A back end of stores.  'target' is where (block, offset) is mapped.  None
 * allocates server memory or raises errors: all may run in critical sections.
 * A fence orders and, on persistent memory, makes durable what was stored.
 */
typedef struct VdbPersist
{
	void		(*store) (bool pmem, VdbBlock block, uint16 offset,
						  char *target, const void *bytes, uint16 len);
	void		(*zero) (bool pmem, VdbBlock block, uint16 offset,
						 char *target, uint16 len);
	void		(*fence) (bool pmem);
	/* The checkpointer was asked to sync the file that begins at this block. */
	void		(*requested) (VdbBlock first_block);
} VdbPersist;

extern const VdbPersist *vdb_persist;

/* Is this mapping persistent memory as libpmem sees it (or as it is forced to)? */
extern bool vdb_persist_is_pmem(const void *address, size_t len);

/* Choose the back end; once, from _PG_init. */
extern void vdb_persist_init(void);

/*
 * What the recording back end appends to its file per event, followed by
 * 'len' bytes for VDB_EVENT_STORE.
 */
#define VDB_EVENT_STORE		1
#define VDB_EVENT_ZERO		2
#define VDB_EVENT_FENCE		3
#define VDB_EVENT_REQUEST	4

typedef struct VdbPersistEvent
{
	uint32		kind;
	uint32		pid;
	uint32		block;
	uint16		offset;
	uint16		len;
	uint64		flushed;		/* WAL is on disk at least up to here; 0 in recovery */
	uint64		inserted;		/* WAL exists up to here; 0 in recovery */
} VdbPersistEvent;

#endif							/* VDB_SCM_PERSIST_H */
