/*-------------------------------------------------------------------------
 *
 * table_room.c
 *	  Reserve an address in the pool for a row, and make room if the pool is full.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/rel.h"

#include "table/table.h"
#include "table/table_private.h"

static VdbMakeRoom make_room_callback = NULL;

/* See table.h. */
void
vdb_table_set_make_room(VdbMakeRoom make_room)
{
	make_room_callback = make_room;
}

/*
 * Wait until the full pool may have room again.  The caller then retries.  No
 * LWLock may be held; can be interrupted.  Raises an error if no callback is
 * registered that moves rows out of the pool.
 */
void
vdb_table_make_room(Relation rel)
{
	Assert(InterruptHoldoffCount == 0); /* nor is any LWLock held */
	CHECK_FOR_INTERRUPTS();
	if (make_room_callback == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DISK_FULL),
				 errmsg("the pool is full"),
				 errdetail("There is no space for rows of table \"%s\", and no migration.",
						   RelationGetRelationName(rel)),
				 errhint("Raise vdb.scm_size.")));
	make_room_callback(rel);
}

/* Reserve an address for a row; waits as long as the pool is full.  No LWLock may be held. */
void
vdb_reserve_address(Relation rel, const VdbTableRef *ref, HeapTuple tuple, bool decoded,
					VdbRowAddress *address)
{
	while (!vdb_rows_reserve(rel, ref, tuple, decoded, address))
		vdb_table_make_room(rel);
}
