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
 * Do the work in a subtransaction.  NULL: it is done, and the subtransaction committed.  Else it
 * raised an error and was rolled back: locks, buffers and memory that it had are gone; the error is
 * in the caller's memory context (FreeErrorData), who may ReThrowError. The current memory context
 * and resource owner are the caller's again in both cases.  What the work leaves in *arg for
 * afterwards must be volatile, or behind the pointer only.
 *
 * Caller: in a transaction that is not in parallel mode (vdb_can_try), without lightweight locks.
 */
extern struct ErrorData *vdb_try(VdbTryWork work, void *arg);

/* May a subtransaction begin here?  Not while a parallel plan runs. */
extern bool vdb_can_try(void);

/*
 * Is this error about the process rather than about the work: canceled, or asked to end?  Never to
 * be swallowed.
 */
extern bool vdb_error_is_interrupt(const struct ErrorData *error);

#endif							/* VDB_TRY_H */
