/*-------------------------------------------------------------------------
 *
 * decode.h
 *	  Interface of decode/: events for logical decoding, written to WAL and read from it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_DECODE_H
#define VDB_DECODE_H

#include "access/htup.h"
#include "catalog/catalog.h"
#include "executor/tuptable.h"
#include "utils/rel.h"

#include "decode/decode_format.h"
#include "scm/scm.h"

/* Return true if changes of the relation's rows need events (wal_level = logical, permanent). */
static inline bool
vdb_decode_wanted(Relation rel)
{
	return RelationIsLogicallyLogged(rel);
}

/*
 * The bytes that a change's record carries for logical decoding.  A struct of zeroes is an empty
 * event, which adds nothing to the record.  The caller owns the struct: it makes the event before
 * the change begins and before it takes any lock, keeps it until the change has ended, and frees it
 * with vdb_event_free.
 */
typedef struct VdbEvent
{
	uint32		len;				/* bytes of the event; 0 if it is empty */
	char	   *data;				/* palloc'd, or NULL if the bytes are in 'few' */
	char		few[12];			/* the event, if it is kind and table only */
} VdbEvent;

/*
 * The next four functions overwrite *event, leaving it empty if vdb_decode_wanted is false.
 * Otherwise the current transaction must have an id.  No LWLock may be held, since memory is
 * allocated in the current memory context, the relation cache is read, and WAL may be written.
 */

/*
 * Make the event of an insertion of one or more rows.  If 'speculative' is true, the insertion is
 * of one row, and another event confirms it or takes it back.
 */
extern void vdb_event_insert(VdbEvent *event, Relation rel, bool speculative);

/* Make the event that confirms a speculative insertion, or that takes it back. */
extern void vdb_event_speculative(VdbEvent *event, Relation rel, bool confirmed);

/*
 * Make the event of a row's deletion, or of its update to 'tuple'.  'old' is a slot of any kind
 * with the old row, or NULL if there is no such row; it remains the caller's, as 'tuple' does.  If
 * the old row is long and is part of the event, it is logged here, in chunks.  Detoasting and
 * forming the old row may raise errors.
 */
extern void vdb_event_delete(VdbEvent *event, Relation rel, TupleTableSlot *old);
extern void vdb_event_update(VdbEvent *event, Relation rel, TupleTableSlot *old, HeapTuple tuple);

/*
 * Add the event, unless it is empty, to the open change that it describes.  The bytes are not
 * copied.  Allocates nothing, so locks may be held.
 */
static inline void
vdb_event_attach(VdbScmChange *change, const VdbEvent *event)
{
	if (event->len > 0)
		vdb_scm_change_event(change, event->data ? event->data : event->few, event->len);
}

/*
 * Set whether the rows of a batch go on in another record after this event's.  Called before the
 * record's change ends.  Decoding streams nothing between the records of a batch with wide rows,
 * since the pages of all of them come before the first.
 */
static inline void
vdb_event_set_more(VdbEvent *event, bool more)
{
	char	   *what = event->data ? event->data : event->few;

	if (event->len > 0)
		*what = (char) (more ? *what | VDB_EVENT_MORE : *what & ~VDB_EVENT_MORE);
}

/* Free the event's bytes and leave it empty.  It may be empty already. */
extern void vdb_event_free(VdbEvent *event);

/*
 * Set the resource manager's decode callback and the executor's hook.  _PG_init calls this while
 * the library is preloaded.
 */
extern void vdb_decode_init(void);

#endif							/* VDB_DECODE_H */
