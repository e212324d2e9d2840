/*-------------------------------------------------------------------------
 *
 * vdb_gate.c
 *	  Gates: keep writers out of a range of a table for a moment, while readers go on.
 *
 * A gate counts the processes that have closed it, as ranges share gates.  The count goes up before
 * its process takes block locks, and a writer reads it under a block lock.  Locks are barriers, so
 * of the two one sees the other.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/wait_event.h"

#include "base/vdb_gate.h"
#include "base/vdb_stop_point.h"

#define VDB_GATES	1024

typedef struct VdbGate
{
	pg_atomic_uint32 closed;		/* processes that have closed it */
	ConditionVariable opened;
} VdbGate;

static VdbGate *gates = NULL;		/* VDB_GATES of them, in shared memory */
static VdbGate *mine = NULL;		/* the gate that this process has closed */

/* Return the gate of a range. */
static inline VdbGate *
gate_of(uint32 table_slot, uint32 range)
{
	return &gates[(table_slot * 0x9E3779B1u + range) % VDB_GATES];
}

/* See vdb_gate.h. */
void
vdb_gate_close(uint32 table_slot, uint32 range)
{
	Assert(mine == NULL);
	mine = gate_of(table_slot, range);
	pg_atomic_fetch_add_u32(&mine->closed, 1);
}

/* See vdb_gate.h. */
void
vdb_gate_open(void)
{
	VdbGate    *gate = mine;

	Assert(gate != NULL && pg_atomic_read_u32(&gate->closed) > 0);
	mine = NULL;
	if (pg_atomic_sub_fetch_u32(&gate->closed, 1) == 0)
		ConditionVariableBroadcast(&gate->opened);
}

/* See vdb_gate.h. */
bool
vdb_gate_is_closed(uint32 table_slot, uint32 range)
{
	VdbGate    *gate = gate_of(table_slot, range);

	return unlikely(pg_atomic_read_u32(&gate->closed) > 0) && gate != mine;
}

/* See vdb_gate.h. */
void
vdb_gate_wait(uint32 table_slot, uint32 range)
{
	VdbGate    *gate = gate_of(table_slot, range);

	Assert(gate != mine);
	VDB_STOP_POINT("gate-waits");
	ConditionVariablePrepareToSleep(&gate->opened);
	while (pg_atomic_read_u32(&gate->closed) > 0)
		ConditionVariableSleep(&gate->opened, PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
}

/* Open the gate that a failed transaction or subtransaction has left closed. */
static void
open_after_failure(void)
{
	if (mine != NULL)
		vdb_gate_open();
}

static void
gate_xact_ended(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PARALLEL_ABORT)
		open_after_failure();
}

static void
gate_subxact_ended(SubXactEvent event, SubTransactionId mine_id, SubTransactionId parent_id,
				   void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		open_after_failure();
}

/* Initialize the gates, which are open. */
static void
init_gates(void *address, bool found)
{
	gates = address;
	for (int i = 0; !found && i < VDB_GATES; i++)
	{
		pg_atomic_init_u32(&gates[i].closed, 0);
		ConditionVariableInit(&gates[i].opened);
	}
}

/* See vdb_gate.h. */
void
vdb_gate_init(void)
{
	vdb_shmem_register("vdb gates", VDB_GATES * sizeof(VdbGate), false, init_gates);
	RegisterXactCallback(gate_xact_ended, NULL);
	RegisterSubXactCallback(gate_subxact_ended, NULL);
}
