/*-------------------------------------------------------------------------
 *
 * table_version.h
 *	  Private to table/: making up headers of striped rows.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_TABLE_VERSION_H
#define VDB_TABLE_VERSION_H

#include "table/table.h"

/*
 * Fill a version (all but extent) from a stripe; no delta record.  meta_flags: VdbStripeMeta.flags.
 */
extern void vdb_version_from_stripe(VdbVersion *version, VdbStripe *stripe, uint16 meta_flags,
									VdbRowNumber row, uint32 pos);
extern void vdb_version_apply_delta(VdbVersion *version, const VdbDeltaRecord *drec);

/* The slot's row was stored under this header: let its system columns say so (table_slot.c). */
extern HeapTuple vdb_slot_form(TupleTableSlot *slot, Relation rel, bool *palloced);
extern void vdb_slot_stamp(TupleTableSlot *slot, const HeapTupleHeaderData *hdr);

/* SSI: what a reader that checked 'visible' must report about this version. */
extern void vdb_conflict_out(Relation rel, bool visible, VdbVersion *version, Snapshot snapshot);

#endif							/* VDB_TABLE_VERSION_H */
