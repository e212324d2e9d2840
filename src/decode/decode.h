/*-------------------------------------------------------------------------
 *
 * decode.h
 *	  Logical decoding: what WAL must say of a change of rows, and what a slot's stream makes of it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_DECODE_H
#define VDB_DECODE_H

#include "access/htup.h"
#include "catalog/catalog.h"
#include "executor/tuptable.h"
#include "utils/rel.h"

#include "scm/scm.h"

/* Are changes of the relation's rows decoded?  (wal_level = logical, a permanent table.) */
static inline bool
vdb_decode_wanted(Relation rel)
{
	return RelationIsLogicallyLogged(rel);
}

/*
 * What the record of a change says to logical decoding.  All zeroes: nothing.  Made before the
 * change begins and before any lock, kept until it has ended.
 */
typedef struct VdbEvent
{
	uint32		len;
	char	   *data;				/* palloc'd; or NULL, and the bytes are in 'few' */
	char		few[12];
} VdbEvent;

/* Rows are inserted; with 'speculative' one row, to be confirmed or taken back. */
extern void vdb_event_insert(VdbEvent *event, Relation rel, bool speculative);

/* A speculative insertion is confirmed, or taken back. */
extern void vdb_event_speculative(VdbEvent *event, Relation rel, bool confirmed);

/*
 * A row is deleted, or updated to 'tuple'.  old: its values (of any slot of the table), or NULL if
 * there is no such row.  Writes WAL if the old row is long.  Needs a transaction id; no lock held.
 */
extern void vdb_event_delete(VdbEvent *event, Relation rel, TupleTableSlot *old);
extern void vdb_event_update(VdbEvent *event, Relation rel, TupleTableSlot *old, HeapTuple tuple);

/* Add the event to the change that it is about. */
static inline void
vdb_event_attach(VdbScmChange *change, const VdbEvent *event)
{
	if (event->len > 0)
		vdb_scm_change_event(change, event->data ? event->data : event->few, event->len);
}

extern void vdb_event_free(VdbEvent *event);

extern void vdb_decode_init(void);	/* _PG_init: the resource manager's decode callback */

#endif							/* VDB_DECODE_H */
