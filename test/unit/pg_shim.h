/*
 * pg_shim.h
 *	  Stand-ins for the few server symbols that src/map and src/overlay need,
 *	  so that they run in a plain process.
 *
 * Locks are only counted: taking one out of order, or one that is held already,
 * aborts the test.
 */
#ifndef PG_SHIM_H
#define PG_SHIM_H

#include "postgres.h"

#include "base/vdb_shmem.h"

/* The tests print by the C library. */
#undef printf
#undef fprintf

/* Set up vdb_shared.  Once. */
extern void shim_init(void);

/* A new process: no lock is held. */
extern void shim_forget_locks(void);
extern int	shim_locks_held(void);

/* Run 'body'; true if it raised an ERROR (then shim_sqlstate, shim_message). */
extern bool shim_catches(void (*body) (void *), void *arg);
extern int	shim_sqlstate;
extern char shim_message[1024];

#endif							/* PG_SHIM_H */
