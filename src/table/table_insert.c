/*-------------------------------------------------------------------------
 *
 * table_insert.c
 *	  Insert rows: one, many, or speculatively.
 *
 * A new row is stored at an address in a segment that this backend owns.  The
 * address is reserved before the change begins, since reserving may claim a
 * segment, which is a flushed change of its own.  No block lock is needed: the
 * row can't be found until its slot is published, last in the same change.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/parallel.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/predicate.h"

#include "base/vdb_stop_point.h"
#include "table/table_private.h"
#include "table/table_version.h"

/* Limits of a batch of rows: it ends when it has so many rows, or at least so many bytes. */
#define BATCH_ROWS		256
#define BATCH_BYTES		(192 * 1024)

/* A row of a batch. */
typedef struct NewRow
{
	HeapTuple	tuple;
	bool		palloced;			/* the tuple must be freed */
	VdbRowAddress address;
} NewRow;

/* ---- inserting ---- */

/*
 * Do what every insertion needs first: open the table, begin this epoch and assign our transaction
 * id, which is returned.  All of these may write WAL, so no LWLock may be held.
 */
static TransactionId
begin_insert(Relation rel, VdbTableRef *ref)
{
	/* a worker's rows would have command ids that its leader can't know */
	if (IsParallelWorker())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("cannot insert tuples in a parallel worker")));
	(void) vdb_table_open(rel, true, ref);
	(void) vdb_epoch_current(ref->pool);
	return GetCurrentTransactionId();
}

/* Set the slot's TID, table and system columns to those of the stored row. */
static void
name_row(Relation rel, TupleTableSlot *slot, const VdbRowAddress *address, HeapTuple tuple)
{
	slot->tts_tableOid = RelationGetRelid(rel);
	vdb_row_to_tid(address->row, &slot->tts_tid);
	vdb_slot_stamp(slot, tuple->t_data);
}

/*
 * Check for conflicts with serializable readers of the whole table, after an insertion or an update
 * has stored new versions.  The check must come after the store: a reader that locks the table
 * later meets the new versions, and finds our id in them.  No LWLock may be held.  Raises an error
 * if this transaction must not commit.
 */
void
vdb_conflict_in_stored(Relation rel)
{
	CheckForSerializableConflictIn(rel, NULL, InvalidBlockNumber);
}

/* Store a stamped tuple at its address. */
static void
put_one(const VdbTableRef *ref, const VdbRowAddress *address, HeapTuple tuple,
		const VdbEvent *event)
{
	VdbScmChange *change;

	VDB_STOP_POINT("table-insert-reserved");
	change = vdb_scm_change_begin(ref->pool, vdb_row_change_flags(ref));
	vdb_rows_put(change, ref, address, tuple);
	vdb_event_attach(change, event);
	(void) vdb_scm_change_end(change);
	VDB_STOP_POINT("table-insert-stored");
}

/*
 * Insert the slot's row, under command id cid.  'options' are TABLE_INSERT_*
 * flags.  A speculative row is marked with spec_token until
 * vdb_table_complete_speculative.  The slot gets TID and table.  Waits as long
 * as the pool is full.
 */
void
vdb_table_insert(Relation rel, TupleTableSlot *slot, CommandId cid, int options,
				 uint32 spec_token, bool speculative)
{
	VdbTableRef ref;
	TransactionId xid = begin_insert(rel, &ref);
	bool		palloced;
	HeapTuple	tuple = vdb_slot_form(slot, rel, &palloced);
	VdbRowAddress address;
	VdbEvent	event = {0};

	if (!(options & TABLE_INSERT_NO_LOGICAL))
		vdb_event_insert(&event, rel, speculative);
	vdb_reserve_address(rel, &ref, tuple, event.len > 0, &address);
	vdb_rows_stamp(tuple, xid, cid, options, address.row);
	if (speculative)
		HeapTupleHeaderSetSpeculativeToken(tuple->t_data, spec_token);
	put_one(&ref, &address, tuple, &event);

	name_row(rel, slot, &address, tuple);
	vdb_conflict_in_stored(rel);
	if (palloced)
		heap_freetuple(tuple);
	pgstat_count_heap_insert(rel, 1);
}

/*
 * Insert a version as it is, for rewrites.  Its header is kept, except for
 * t_ctid, which is set to the version's own TID, as is tuple->t_self.
 */
void
vdb_table_insert_raw(Relation rel, HeapTuple tuple)
{
	VdbTableRef ref;
	VdbRowAddress address;
	VdbEvent	none = {0};

	(void) begin_insert(rel, &ref);
	vdb_reserve_address(rel, &ref, tuple, false, &address);
	vdb_row_to_tid(address.row, &tuple->t_data->t_ctid);
	tuple->t_self = tuple->t_data->t_ctid;
	put_one(&ref, &address, tuple, &none);
}

/*
 * Prepare a batch: form rows, reserve their addresses and stamp them.  Returns the number of rows,
 * at least one.
 */
static int
prepare_batch(Relation rel, const VdbTableRef *ref, TupleTableSlot **slots, int nslots,
			  TransactionId xid, CommandId cid, int options, bool decoded, NewRow *rows)
{
	Size		bytes = 0;
	int			n;

	Assert(nslots > 0);
	for (n = 0; n < Min(nslots, BATCH_ROWS) && bytes < BATCH_BYTES; n++)
	{
		rows[n].tuple = vdb_slot_form(slots[n], rel, &rows[n].palloced);
		bytes += rows[n].tuple->t_len;
		vdb_reserve_address(rel, ref, rows[n].tuple, decoded, &rows[n].address);
		vdb_rows_stamp(rows[n].tuple, xid, cid, options, rows[n].address.row);
	}
	return n;
}

/*
 * Store a prepared batch in as few changes as possible.  The WAL writer is
 * notified because a load claims segments repeatedly, each time waiting for a
 * flush; most of its WAL should be flushed by then.
 */
static void
put_batch(const VdbTableRef *ref, const NewRow *rows, int n, VdbEvent *event)
{
	XLogRecPtr	lsn;
	VdbScmChange *change = vdb_scm_change_begin(ref->pool, vdb_row_change_flags(ref));

	vdb_event_set_more(event, true);
	vdb_event_attach(change, event);
	for (int i = 0; i < n; i++)
	{
		if (!vdb_rows_put_fits(change, &rows[i].address, rows[i].tuple))
		{
			Assert(i > 0);
			(void) vdb_scm_change_end(change);
			change = vdb_scm_change_begin(ref->pool, vdb_row_change_flags(ref));
			vdb_event_attach(change, event);
		}
		vdb_rows_put(change, ref, &rows[i].address, rows[i].tuple);
	}
	vdb_event_set_more(event, false);
	lsn = vdb_scm_change_end(change);
	if (!XLogRecPtrIsInvalid(lsn))
		XLogSetAsyncXactLSN(lsn);
}

/* Insert the rows of several slots; each slot gets its TID. */
void
vdb_table_multi_insert(Relation rel, TupleTableSlot **slots, int nslots, CommandId cid, int options)
{
	VdbTableRef ref;
	TransactionId xid = begin_insert(rel, &ref);
	NewRow	   *rows = (NewRow *) palloc(sizeof(NewRow) * Min(nslots, BATCH_ROWS));
	VdbEvent	event = {0};
	int			n;

	if (!(options & TABLE_INSERT_NO_LOGICAL))
		vdb_event_insert(&event, rel, false);
	for (int done = 0; done < nslots; done += n)
	{
		CHECK_FOR_INTERRUPTS();
		n = prepare_batch(rel, &ref, slots + done, nslots - done, xid, cid, options,
						  event.len > 0, rows);
		VDB_STOP_POINT("table-batch-reserved");
		put_batch(&ref, rows, n, &event);
		for (int i = 0; i < n; i++)
		{
			name_row(rel, slots[done + i], &rows[i].address, rows[i].tuple);
			if (rows[i].palloced)
				heap_freetuple(rows[i].tuple);
		}
	}
	pfree(rows);
	vdb_conflict_in_stored(rel);
	pgstat_count_heap_insert(rel, nslots);
}

/* ---- speculative insertion ---- */

/* Raise an error unless the version is ours and still has this token. */
static void
check_speculative(VdbTarget *target, uint32 spec_token)
{
	HeapTupleHeader hdr = &target->version.hdr;

	if (target->version.where != VDB_IN_POOL ||
		!TransactionIdEquals(HeapTupleHeaderGetRawXmin(hdr), GetCurrentTransactionId()))
		elog(ERROR, "speculative row %llu of table \"%s\" is another transaction's",
			 (unsigned long long) target->row, RelationGetRelationName(target->rel));
	if (!HeapTupleHeaderIsSpeculative(hdr) ||
		HeapTupleHeaderGetSpeculativeToken(hdr) != spec_token)
		elog(ERROR, "row %llu of table \"%s\" was not inserted with this speculative token",
			 (unsigned long long) target->row, RelationGetRelationName(target->rel));
}

pg_noreturn static void
speculative_missing(Relation rel, VdbRowNumber row)
{
	elog(ERROR, "speculative row %llu of table \"%s\" is missing",
		 (unsigned long long) row, RelationGetRelationName(rel));
}

/*
 * Make a speculatively inserted row an ordinary one or, if not 'succeeded', take
 * it back.  It is taken back at once, for all transactions including our own:
 * those that wait for the token must not find the row when they wake up.
 */
void
vdb_table_complete_speculative(Relation rel, VdbRowNumber row, uint32 spec_token, bool succeeded)
{
	VdbTarget	target;
	ItemPointerData tid;
	HeapTupleHeader hdr = &target.version.hdr;
	VdbScmChange *change;

	vdb_row_to_tid(row, &tid);
	if (!vdb_target_init(&target, rel, &tid))
		speculative_missing(rel, row);
	vdb_event_speculative(&target.event, rel, succeeded);
	if (!vdb_target_lock(&target))
		speculative_missing(rel, row);
	check_speculative(&target, spec_token);

	target.changed = true;
	hdr->t_ctid = tid;
	if (!succeeded)
	{
		hdr->t_infomask &= ~HEAP_XMAX_BITS;
		hdr->t_infomask |= HEAP_XMIN_INVALID | HEAP_XMAX_INVALID;
		hdr->t_infomask2 &= ~HEAP_KEYS_UPDATED;
		HeapTupleHeaderSetXmin(hdr, InvalidTransactionId);
	}
	change = vdb_scm_change_begin(target.ref.pool, vdb_row_change_flags(&target.ref));
	vdb_scm_change_block_lock(change, target.lock_no);
	vdb_rows_set_header(change, &target.ref, &target.version);
	vdb_event_attach(change, &target.event);
	(void) vdb_scm_change_end(change);
	vdb_target_unlock(&target);

	if (!succeeded)
		pgstat_count_heap_delete(rel);	/* the insertion was counted, too */
}
