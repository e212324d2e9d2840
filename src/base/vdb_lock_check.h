/*-------------------------------------------------------------------------
 *
 * vdb_lock_check.h
 *	  Check, in servers with asserts, that no message is logged under a lightweight lock of ours.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_LOCK_CHECK_H
#define VDB_LOCK_CHECK_H

/*
 * Install the check.  Called from _PG_init, while preloading.  Does nothing in servers without
 * asserts.
 */
extern void vdb_lock_check_init(void);

#endif							/* VDB_LOCK_CHECK_H */
