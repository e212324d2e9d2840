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
 * Routines that store to pool memory.  'target' is the address at which (block, offset) is mapped,
 * 'pmem' whether it is persistent memory.  The routines allocate no memory from memory contexts and
 * raise no errors, so they may run in critical sections.
 */
typedef struct VdbPersist
{
	/* Store 'len' bytes. */
	void		(*store) (bool pmem, VdbBlock block, uint16 offset,
						  char *target, const void *bytes, uint16 len);
	/* Store 'len' zeroes. */
	void		(*zero) (bool pmem, VdbBlock block, uint16 offset,
						 char *target, uint16 len);
	/* Order earlier stores before later ones; on persistent memory, also make them durable. */
	void		(*fence) (bool pmem);
	/* Note that the checkpointer was asked to sync the file that begins at this block. */
	void		(*requested) (VdbBlock first_block);
} VdbPersist;

/* The routines in use. */
extern const VdbPersist *vdb_persist;

/* Check whether libpmem takes this mapping for persistent memory, or is forced to. */
extern bool vdb_persist_is_pmem(const void *address, size_t len);

/* Choose the routines.  Called once, from _PG_init. */
extern void vdb_persist_init(void);

/* Kinds of events that the recording routines append to their file. */
#define VDB_EVENT_STORE		1
#define VDB_EVENT_ZERO		2
#define VDB_EVENT_FENCE		3
#define VDB_EVENT_REQUEST	4

/* An event in the file.  For VDB_EVENT_STORE 'len' bytes follow it. */
typedef struct VdbPersistEvent
{
	uint32		kind;				/* VDB_EVENT_* */
	uint32		pid;
	uint32		block;
	uint16		offset;
	uint16		len;
	uint64		flushed;			/* WAL is on disk at least up to here; 0 in recovery */
	uint64		inserted;			/* WAL exists up to here; 0 in recovery */
} VdbPersistEvent;

#endif							/* VDB_SCM_PERSIST_H */
