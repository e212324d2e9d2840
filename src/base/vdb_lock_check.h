/*-------------------------------------------------------------------------
 *
 * vdb_lock_check.h
 *	  No message under a lightweight lock of ours: checked in servers with asserts.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_LOCK_CHECK_H
#define VDB_LOCK_CHECK_H

/* _PG_init, while preloading.  Nothing in servers without asserts. */
extern void vdb_lock_check_init(void);

#endif							/* VDB_LOCK_CHECK_H */
