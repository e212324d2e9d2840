/*-------------------------------------------------------------------------
 *
 * table_version.h
 *	  Private declarations of table/: headers of striped rows, stamping of slots, SSI.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_TABLE_VERSION_H
#define VDB_TABLE_VERSION_H

#include "table/table.h"

/*
 * Fill a version (all but extent) from a stripe, as if it had no delta record.  meta_flags is
 * VdbStripeMeta.flags.  With VDB_STRIPE_FROZEN xmin isn't read: the header says that it is frozen.
 * A reader whose snapshot sees all xmins of the stripe may add that flag.
 */
extern void vdb_version_from_stripe(VdbVersion *version, VdbStripe *stripe, uint16 meta_flags,
									VdbRowNumber row, uint32 pos);

/*
 * Read xmin and cmin of a striped row whose version has xmin_unread, into a copy of its header.
 * Raises ERRCODE_DATA_CORRUPTED if they are damaged.
 */
extern void vdb_version_read_xmin(HeapTupleHeader hdr, VdbStripe *stripe, uint32 pos);

/*
 * Return true if the snapshot (which may be NULL) is known to see every xmin of a stripe, given
 * flags and max_xmin of its meta.
 */
extern bool vdb_version_xmins_visible(uint16 meta_flags, TransactionId max_xmin,
									  Snapshot snapshot);

/* Apply a delta record to a version that vdb_version_from_stripe has filled. */
extern void vdb_version_apply_delta(VdbVersion *version, const VdbDeltaRecord *drec);

/*
 * Complete a striped row's delta record (*drec, if has_delta) by what the stripe's spill has of the
 * row.  'spill' was copied from the meta when the extent was looked up.  Returns whether the row
 * has a delta record.  Reads pages; raises ERRCODE_DATA_CORRUPTED if the spill is damaged.
 */
extern bool vdb_version_complete_delta(Relation rel, const VdbExtent *extent,
									   const VdbSpillAddress *spill, VdbRowNumber row,
									   bool has_delta, VdbDeltaRecord *drec);

/*
 * Return the slot's row as a tuple that can be stored (table_slot.c).  If *palloced, the caller
 * frees it; otherwise it is the slot's own tuple.
 */
extern HeapTuple vdb_slot_form(TupleTableSlot *slot, Relation rel, bool *palloced);

/* Make the slot's system columns show the header that its row was stored with (table_slot.c). */
extern void vdb_slot_stamp(TupleTableSlot *slot, const HeapTupleHeaderData *hdr);

/* Report to SSI that a reader has met this version and found it visible or not (table_fetch.c). */
extern void vdb_conflict_out(Relation rel, bool visible, VdbVersion *version, Snapshot snapshot);

#endif							/* VDB_TABLE_VERSION_H */
