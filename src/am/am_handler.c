/*-------------------------------------------------------------------------
 *
 * am_handler.c
 *	  The access method "vdb": thin callbacks for single rows, and the table of all callbacks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "commands/vacuum.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/predicate.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "am/am.h"
#include "migrate/migrate.h"
#include "rows/rows.h"
#include "table/table_version.h"

PG_FUNCTION_INFO_V1(vdb_tableam_handler);

/* Return the slot type of vdb tables. */
static const TupleTableSlotOps *
slot_callbacks(Relation rel)
{
	return &vdb_slot_ops;
}

/* ---- single rows ---- */

/* Fetch the version at a TID if the snapshot sees it. */
static bool
fetch_row_version(Relation rel, ItemPointer tid, Snapshot snapshot, TupleTableSlot *slot)
{
	return vdb_table_fetch(rel, vdb_tid_to_row(tid), snapshot, slot, NULL);
}

/* Return true if the TID lies within the logical blocks of the scan. */
static bool
tid_valid(TableScanDesc sscan, ItemPointer tid)
{
	VdbRowNumber row = vdb_tid_to_row(tid);

	return row != VDB_ROW_NONE && (int64) vdb_row_lb(row) < ((VdbScanDesc) sscan)->cursor.limit;
}

/* Follow the chain of versions to the newest one that the snapshot sees. */
static void
get_latest_tid(TableScanDesc sscan, ItemPointer tid)
{
	Relation	rel = sscan->rs_rd;
	ItemPointerData next = *tid;
	TransactionId prior_xmax = InvalidTransactionId;
	VdbVersion	version;

	while (vdb_table_peek(rel, vdb_tid_to_row(&next), &version))
	{
		HeapTupleHeader hdr = &version.hdr;
		bool		visible;

		CHECK_FOR_INTERRUPTS();
		if (TransactionIdIsValid(prior_xmax) &&
			!TransactionIdEquals(prior_xmax, HeapTupleHeaderGetXmin(hdr)))
			break;
		visible = vdb_row_visible(hdr, &next, RelationGetRelid(rel), sscan->rs_snapshot);
		vdb_conflict_out(rel, visible, &version, sscan->rs_snapshot);
		if (visible)
			*tid = next;
		if ((hdr->t_infomask & HEAP_XMAX_INVALID) || vdb_row_only_locked(hdr) ||
			HeapTupleHeaderIndicatesMovedPartitions(hdr) ||
			ItemPointerEquals(&next, &hdr->t_ctid))
			break;
		prior_xmax = HeapTupleHeaderGetUpdateXid(hdr);
		next = hdr->t_ctid;
	}
}

/* Check that the snapshot sees the version in the slot. */
static bool
satisfies_snapshot(Relation rel, TupleTableSlot *slot, Snapshot snapshot)
{
	return vdb_table_satisfies(rel, &slot->tts_tid, snapshot);
}

/* ---- changes ---- */

/* Insert a row. */
static void
tuple_insert(Relation rel, TupleTableSlot *slot, CommandId cid, int options,
			 BulkInsertState bistate)
{
	vdb_table_insert(rel, slot, cid, options, 0, false);
}

/* Insert a row speculatively, under a token. */
static void
tuple_insert_speculative(Relation rel, TupleTableSlot *slot, CommandId cid, int options,
						 BulkInsertState bistate, uint32 token)
{
	vdb_table_insert(rel, slot, cid, options, token, true);
}

/* Confirm a speculative insertion, or take it back. */
static void
tuple_complete_speculative(Relation rel, TupleTableSlot *slot, uint32 token, bool succeeded)
{
	vdb_table_complete_speculative(rel, vdb_tid_to_row(&slot->tts_tid), token, succeeded);
}

/* Insert several rows. */
static void
multi_insert(Relation rel, TupleTableSlot **slots, int nslots, CommandId cid, int options,
			 BulkInsertState bistate)
{
	vdb_table_multi_insert(rel, slots, nslots, cid, options);
}

/*
 * End a bulk insertion.  The rows that COPY (FREEZE) has stored are visible to everyone who sees
 * the table.  They move to a frozen stripe at once, which the visibility map can mark.
 */
static void
finish_bulk_insert(Relation rel, int options)
{
	VdbMigrateResult result = {0};

	if ((options & TABLE_INSERT_FROZEN) == 0)
		return;
	vdb_rows_hand_back();
	(void) vdb_migrate_table(rel, VDB_MIGRATE_OWN, false, &result);
	vdb_migrate_report(rel, ERROR, &result);
}

/* Delete a row. */
static TM_Result
tuple_delete(Relation rel, ItemPointer tid, CommandId cid, Snapshot snapshot, Snapshot crosscheck,
			 bool wait, TM_FailureData *tmfd, bool changing_part)
{
	return vdb_table_delete(rel, tid, cid, crosscheck, wait, tmfd, changing_part);
}

/* Update a row. */
static TM_Result
tuple_update(Relation rel, ItemPointer otid, TupleTableSlot *slot, CommandId cid,
			 Snapshot snapshot, Snapshot crosscheck, bool wait, TM_FailureData *tmfd,
			 LockTupleMode *lockmode, TU_UpdateIndexes *update_indexes)
{
	TM_Result	result;

	result = vdb_table_update(rel, otid, slot, cid, crosscheck, wait, tmfd, lockmode);
	/* every version has a TID of its own, so every index needs an entry for it */
	*update_indexes = result == TM_Ok ? TU_All : TU_None;
	return result;
}

/* Lock a row, and fetch it into the slot. */
static TM_Result
tuple_lock(Relation rel, ItemPointer tid, Snapshot snapshot, TupleTableSlot *slot, CommandId cid,
		   LockTupleMode mode, LockWaitPolicy wait_policy, uint8 flags, TM_FailureData *tmfd)
{
	return vdb_table_lock(rel, tid, snapshot, slot, cid, mode, wait_policy, flags, tmfd);
}

/* ---- TOAST: none, rows of any size are stored whole ---- */

/* Return false: vdb tables have no TOAST table. */
static bool
needs_toast_table(Relation rel)
{
	return false;
}

/* ---- callbacks whose shape depends on the server ---- */

VDB_ANALYZE_CALLBACK(analyze_next_block, vdb_analyze_next_block);
VDB_BITMAP_CALLBACKS(vdb_bitmap_next_block, vdb_bitmap_next_tuple);

static const TableAmRoutine am_routine = {
	.type = T_TableAmRoutine,
	.slot_callbacks = slot_callbacks,

	.scan_begin = vdb_beginscan,
	.scan_end = vdb_endscan,
	.scan_rescan = vdb_rescan,
	.scan_getnextslot = vdb_getnextslot,
	.scan_set_tidrange = vdb_set_tidrange,
	.scan_getnextslot_tidrange = vdb_getnextslot_tidrange,

	.parallelscan_estimate = vdb_parallelscan_estimate,
	.parallelscan_initialize = vdb_parallelscan_initialize,
	.parallelscan_reinitialize = vdb_parallelscan_reinitialize,

	.index_fetch_begin = vdb_index_fetch_begin,
	.index_fetch_reset = vdb_index_fetch_reset,
	.index_fetch_end = vdb_index_fetch_end,
	.index_fetch_tuple = vdb_index_fetch_tuple,

	.tuple_fetch_row_version = fetch_row_version,
	.tuple_tid_valid = tid_valid,
	.tuple_get_latest_tid = get_latest_tid,
	.tuple_satisfies_snapshot = satisfies_snapshot,
	.index_delete_tuples = vdb_index_delete_tuples,

	.tuple_insert = tuple_insert,
	.tuple_insert_speculative = tuple_insert_speculative,
	.tuple_complete_speculative = tuple_complete_speculative,
	.multi_insert = multi_insert,
	.finish_bulk_insert = finish_bulk_insert,
	.tuple_delete = tuple_delete,
	.tuple_update = tuple_update,
	.tuple_lock = tuple_lock,

	.relation_set_new_filelocator = vdb_set_new_filenode,
	.relation_nontransactional_truncate = vdb_nontransactional_truncate,
	.relation_copy_data = vdb_copy_data,
	.relation_copy_for_cluster = vdb_copy_for_cluster,
	.relation_vacuum = vdb_vacuum,
	.scan_analyze_next_block = analyze_next_block,
	.scan_analyze_next_tuple = vdb_analyze_next_tuple,
	.index_build_range_scan = vdb_index_build_range_scan,
	.index_validate_scan = vdb_index_validate_scan,

	.relation_size = vdb_relation_size,
	.relation_needs_toast_table = needs_toast_table,
	.relation_estimate_size = vdb_estimate_size,

	VDB_BITMAP_ROUTINES,
	.scan_sample_next_block = vdb_sample_next_block,
	.scan_sample_next_tuple = vdb_sample_next_tuple
};

/* SQL-callable handler function of the access method. */
Datum
vdb_tableam_handler(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(&am_routine);
}

/* Install the hooks of am/ and register the callbacks. */
void
vdb_am_init(void)
{
	vdb_table_set_routine(&am_routine);
	vdb_block_init();
	vdb_utility_init();
	vdb_tools_init();
}
