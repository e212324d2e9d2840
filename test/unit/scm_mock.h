/*
 * scm_mock.h
 *	  The pool in ordinary memory, with a WAL that can lose its tail and a
 *	  medium that can keep any mix of sectors.
 *
 * A change is refused (abort) if it breaks a rule of scm.h: too many blocks, a byte
 * written twice, allocation outside a flushed change, a block used or freed twice.
 */
#ifndef SCM_MOCK_H
#define SCM_MOCK_H

#include "pg_shim.h"

#include "scm/scm.h"

#define MOCK_BLOCKS		3072

/* A new, empty pool (and standby). */
extern VdbPool *mock_create(void);

/* How many single blocks may still be reserved; -1: no limit. */
extern int	mock_blocks_left;

/* Changes ended so far; a crash comes instead of the apply of this one (-1: never). */
extern int	mock_changes;
extern int	mock_crash_at;

/*
 * Another process: called once, in the middle of a reader, when so many blocks have been read
 * before and no lock is held.
 */
extern void (*mock_on_read) (void);
extern int	mock_reads_before;

/*
 * Called after each store of a change; the stores between two fences come in any order then.
 */
extern void (*mock_on_store) (void);

/* Blocks read so far. */
extern int64 mock_reads;

/* Run body in a process that may crash; true if it did (mock_crash was called then). */
extern bool mock_run(void (*body) (void *), void *arg);

/*
 * Crash now: WAL keeps a random prefix, not shorter than what was flushed;
 * sectors touched by lost records are kept or not; redo; a new epoch.
 */
extern void mock_crash(void);

/* Flush all WAL (a commit). */
extern void mock_flush(void);

/* The next transaction id; a crash takes back those no durable record carries. */
extern TransactionId mock_next_xid;
extern void mock_note_xid(TransactionId xid);

/* Was the id assigned and logged for good (as of the last crash)? */
extern int64 mock_wal_position(void);
extern int64 mock_wal_kept(void);
extern int64 mock_wal_flushed(void);

/* The standby's view of the pool, all durable WAL replayed: for reading only. */
extern VdbPool *mock_standby(void);

/* Allocation state of a block: 0 free, 1 single, 2 segment's first, 3 its further ones. */
extern int	mock_state(VdbBlock block);
extern int	mock_reserved_count(void);
extern int	mock_used_count(void);

#endif							/* SCM_MOCK_H */
