/*-------------------------------------------------------------------------
 *
 * vdb_gate.h
 *	  Gates: keep writers out of a range of a table for a moment, while readers go on.
 *
 * A process that changes many logical blocks of a range must flush WAL between computing and
 * storing the new bytes.  It closes the range's gate, instead of holding block locks over the
 * flush: then no other process changes row versions of the range, nor their overlay.
 *
 * Writers take a block lock first and look at the gate under it (vdb_gate_is_closed); if it is
 * closed they release the block lock, and wait (vdb_gate_wait).  The process that has closed a gate
 * takes each block lock of the range once, so it meets no writer that did not see the gate.
 * Insertions don't look: they store at addresses that no other process uses.
 *
 * Ranges share gates, by a hash, so a writer may wait for the gate of another range.  A gate is
 * closed for at most a few flushes of WAL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_GATE_H
#define VDB_GATE_H

#include "base/vdb_shmem.h"

/*
 * Close the gate of a range.  A process has at most one gate closed.  It holds the range's
 * migration lock, and no lightweight lock.  Until it opens the gate it must neither wait for a
 * heavyweight lock nor for space in the pool.  The end of a failed transaction or subtransaction
 * opens the gate.
 */
extern void vdb_gate_close(uint32 table_slot, uint32 range);

/* Open the gate that this process has closed, and wake those who wait for it. */
extern void vdb_gate_open(void);

/*
 * Return true if another process has closed the gate of the range.  The caller holds the block lock
 * of one of its logical blocks.
 */
extern bool vdb_gate_is_closed(uint32 table_slot, uint32 range);

/*
 * Wait until the gate of the range is open.  Can be interrupted.  The caller holds no lightweight
 * lock.
 */
extern void vdb_gate_wait(uint32 table_slot, uint32 range);

/* Register shared memory and callbacks.  Called from _PG_init, while preloading. */
extern void vdb_gate_init(void);

#endif							/* VDB_GATE_H */
