/*-------------------------------------------------------------------------
 *
 * vdb_try.h
 *	  Work that may fail, in a subtransaction that keeps its error.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_TRY_H
#define VDB_TRY_H

typedef void (*VdbTryWork) (void *arg);

/*
 * Do the work in a subtransaction.  Returns NULL if it is done and the subtransaction committed.
 * Otherwise it raised an error and was rolled back: its locks, buffers and memory are released; the
 * error is returned in the caller's memory context, for FreeErrorData or ReThrowError.  The current
 * memory context and resource owner are the caller's again in both cases.  Results that the work
 * leaves in *arg must be volatile, or behind the pointer only.
 *
 * The caller is in a transaction that is not in parallel mode (vdb_can_try), and holds no
 * lightweight locks.
 */
extern struct ErrorData *vdb_try(VdbTryWork work, void *arg);

/* Check whether a subtransaction may begin here, which it may not while a parallel plan runs. */
extern bool vdb_can_try(void);

/*
 * Check whether this error is about the process rather than about the work: canceled, or
 * terminated.  Such an error must never be swallowed.
 */
extern bool vdb_error_is_interrupt(const struct ErrorData *error);

#endif							/* VDB_TRY_H */
