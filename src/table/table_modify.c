/*-------------------------------------------------------------------------
 *
 * table_modify.c
 *	  Delete or update one row version.
 *
 * Both are the same up to the last step: wait for conflicting transactions that
 * have changed or locked the version (make_ours), then write our xmax into it.
 * An update stores the new version and the old one's xmax in one change, so that
 * no crash can keep one without the other.
 *
 * An update that leaves all key columns alone needs a weaker row lock, so that
 * foreign key checks, which hold key-share locks, don't conflict with it.
 * Comparing the columns and reserving space are done before the block lock is
 * taken.  The old version's values are read for this without the lock, which is
 * safe since the values of a version never change.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/multixact.h"
#include "access/sysattr.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "storage/predicate.h"
#include "utils/combocid.h"
#include "utils/datum.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"

#include "table/table_private.h"
#include "table/table_version.h"

/* Parameters of a delete or update. */
typedef struct ModifyRequest
{
	const char *verb;				/* for messages */
	XLTW_Oper	oper;				/* for the context of errors while waiting */
	LockTupleMode mode;				/* strength of the row lock */
	CommandId	cid;
	Snapshot	crosscheck;			/* must see the version, too; or InvalidSnapshot */
	bool		wait;				/* for conflicting transactions */
} ModifyRequest;

/*
 * Raise an error in a parallel operation: combo command ids made now would be unknown to the other
 * processes.
 */
static void
refuse_in_parallel(const char *verb)
{
	if (IsInParallelMode())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("cannot %s tuples during a parallel operation", verb)));
}

/*
 * Return true if we must wait for the transactions in xmax.  We don't wait for
 * ourselves, nor for a key-share locker if the key stays.  *own_member is set if
 * we are a member of the multixact.
 */
static bool
in_the_way(HeapTupleHeader hdr, LockTupleMode mode, bool *own_member)
{
	TransactionId xmax = HeapTupleHeaderGetRawXmax(hdr);
	uint16		mask = hdr->t_infomask;

	*own_member = false;
	if (mask & HEAP_XMAX_IS_MULTI)
		return vdb_multixact_conflicts((MultiXactId) xmax, mask, mode, own_member);
	if (TransactionIdIsCurrentTransactionId(xmax))
		return false;
	return !(mode == LockTupleNoKeyExclusive && HEAP_XMAX_IS_KEYSHR_LOCKED(mask));
}

/*
 * Wait for the transactions that conflict with us, without the block lock, then
 * take it and read the version again.
 *
 * Returns false if the version must be checked afresh: the xmax has changed, or
 * it was a single transaction, whose end decides, or the version is gone (then
 * the lock isn't held).  Returns true if the xmax is the same multixact, whose
 * conflicting members have ended; *lockers_gone is set if all its members have.
 */
static bool
wait_and_reread(VdbTarget *target, const ModifyRequest *request, bool own_member,
				bool *lockers_gone)
{
	HeapTupleHeaderData before = target->version.hdr;
	TransactionId xmax = HeapTupleHeaderGetRawXmax(&before);
	bool		is_multi = (before.t_infomask & HEAP_XMAX_IS_MULTI) != 0;
	int			remaining = 0;

	vdb_target_unlock(target);

	/*
	 * We must not queue if we already hold a lock in the multixact: the first in the queue may be
	 * waiting for that very lock.
	 */
	if (!own_member)
		(void) vdb_target_queue(target, request->mode, LockWaitBlock);
	if (is_multi)
		vdb_multixact_wait((MultiXactId) xmax, vdb_lock_mode_status(request->mode, true),
						   before.t_infomask, target->rel, &target->tid, request->oper,
						   &remaining);
	else
		(void) vdb_wait_for_xid(target->rel, xmax, &target->tid, request->oper, LockWaitBlock);

	if (!vdb_target_lock(target) || !is_multi || vdb_target_xmax_changed(target, &before))
		return false;
	*lockers_gone = remaining == 0;
	return true;
}

/*
 * Get the version ready to be changed by us, waiting as necessary.
 *
 * Returns TM_Ok if we may change it; then the block lock is held, and room for
 * the new xmax is prepared.  Otherwise returns the reason why not, with the block
 * lock held, too, unless the version is gone (TM_Deleted, unlocked).
 * *lockers_gone is set if none of the xmax's lockers is still running.
 */
static TM_Result
make_ours(VdbTarget *target, const ModifyRequest *request, bool *lockers_gone)
{
	HeapTupleHeader hdr = &target->version.hdr;

	for (;;)
	{
		TM_Result	result;
		bool		own_member;

		CHECK_FOR_INTERRUPTS(); /* has no effect while locked */
		if (!target->locked && !vdb_target_lock(target))
			return TM_Deleted;
		*lockers_gone = false;
		result = vdb_row_satisfies_update(hdr, &target->tid, request->cid);
		if (result == TM_Invisible)
		{
			vdb_target_unlock(target);
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("attempted to %s invisible tuple", request->verb)));
		}
		if (result == TM_BeingModified && request->wait)
		{
			if (in_the_way(hdr, request->mode, &own_member) &&
				!wait_and_reread(target, request, own_member, lockers_gone))
				continue;
			result = vdb_target_satisfies_update(target);
		}
		if (result == TM_Ok && request->crosscheck != InvalidSnapshot &&
			!vdb_row_visible(hdr, &target->tid, RelationGetRelid(target->rel),
							 request->crosscheck))
			result = TM_Updated;
		if (result != TM_Ok || vdb_target_prepare(target))
			return result;
	}
}

/* Fill *tmfd after make_ours has failed, and let go of the version. */
static TM_Result
give_up_change(VdbTarget *target, TM_Result result, TM_FailureData *tmfd)
{
	if (target->locked)
	{
		vdb_target_failure(target, result, tmfd);
		vdb_target_unlock(target);
	}
	else
	{
		Assert(result == TM_Deleted);
		tmfd->ctid = target->tid;
		tmfd->xmax = InvalidTransactionId;
		tmfd->cmax = InvalidCommandId;
	}
	vdb_target_done(target);
	return result;
}

/* Put our xmax and command id into the copied header, without a next version so far. */
static void
stamp_old_version(VdbTarget *target, const ModifyRequest *request)
{
	HeapTupleHeader hdr = &target->version.hdr;
	CommandId	cmax = request->cid;
	bool		is_combo;

	HeapTupleHeaderAdjustCmax(hdr, &cmax, &is_combo);
	vdb_target_stamp_xmax(target, request->mode, true);
	HeapTupleHeaderSetCmax(hdr, cmax, is_combo);
	hdr->t_ctid = target->tid;
}

/*
 * Check for conflicts with serializable transactions that have read the version.
 * The block lock is held from here until our change is stored, so that no reader
 * comes between: later readers find our xmax.  This does not cover an update's
 * new version, which is stored elsewhere; vdb_conflict_in_stored does, afterwards.
 */
static void
conflict_in(VdbTarget *target)
{
	CheckForSerializableConflictIn(target->rel, &target->tid,
								   ItemPointerGetBlockNumber(&target->tid));
}

/*
 * Return the values of an old version.  They never change, so no lock is
 * needed.  NULL: the version isn't there; else the caller drops the slot.
 */
static TupleTableSlot *
fetch_old(const VdbTarget *target)
{
	TupleTableSlot *slot = table_slot_create(target->rel, NULL);

	if (vdb_table_fetch(target->rel, target->row, SnapshotAny, slot, NULL))
		return slot;
	ExecDropSingleTupleTableSlot(slot);
	return NULL;
}

/*
 * Make the event of a deletion for logical decoding.  It may have the old row, which must be read
 * before the version is locked.
 */
static void
make_delete_event(VdbTarget *target)
{
	TupleTableSlot *old;

	if (!vdb_decode_wanted(target->rel))
		return;
	old = fetch_old(target);
	vdb_event_delete(&target->event, target->rel, old);
	if (old != NULL)
		ExecDropSingleTupleTableSlot(old);
}

/*
 * Delete the version at tid as command cid.  The contract is table_tuple_delete's:
 * TM_Ok, or why not with *tmfd filled.  changing_part: an update moves
 * the row to another partition, which later lockers must learn.
 */
TM_Result
vdb_table_delete(Relation rel, ItemPointer tid, CommandId cid, Snapshot crosscheck, bool wait,
				 TM_FailureData *tmfd, bool changing_part)
{
	ModifyRequest request = {"delete", XLTW_Delete, LockTupleExclusive, cid, crosscheck, wait};
	VdbTarget	target;
	TM_Result	result = TM_Deleted;
	bool		lockers_gone;

	refuse_in_parallel(request.verb);
	(void) GetCurrentTransactionId();
	if (vdb_target_init(&target, rel, tid))
	{
		make_delete_event(&target);
		result = make_ours(&target, &request, &lockers_gone);
	}
	if (result != TM_Ok)
	{
		vdb_event_free(&target.event);
		return give_up_change(&target, result, tmfd);
	}

	conflict_in(&target);
	stamp_old_version(&target, &request);
	if (changing_part)
		HeapTupleHeaderSetMovedPartitions(&target.version.hdr);
	vdb_target_store(&target, NULL, NULL);
	vdb_target_unlock(&target);
	vdb_target_done(&target);
	vdb_event_free(&target.event);
	pgstat_count_heap_delete(rel);
	return TM_Ok;
}

/* Return true if the column has the same value in both rows, compressed or not. */
static bool
same_value(TupleDesc desc, AttrNumber attnum, TupleTableSlot *old_slot, HeapTuple new_tuple)
{
	bool		old_null;
	bool		new_null;
	Datum		old_value = slot_getattr(old_slot, attnum, &old_null);
	Datum		new_value = heap_getattr(new_tuple, attnum, desc, &new_null);

	return vdb_rows_same_value(TupleDescAttr(desc, attnum - 1), old_value, old_null,
							   new_value, new_null);
}

/*
 * Return true if the new tuple leaves alone all columns that foreign keys may
 * refer to.
 */
static bool
keeps_key(Relation rel, const Bitmapset *key, TupleTableSlot *old, HeapTuple new_tuple)
{
	int			member = -1;
	bool		kept = true;

	while (kept && (member = bms_next_member(key, member)) >= 0)
	{
		AttrNumber	attnum = member + FirstLowInvalidHeapAttributeNumber;

		/* whole rows and system columns: not worth a look */
		kept = attnum > 0 && same_value(RelationGetDescr(rel), attnum, old, new_tuple);
	}
	return kept;
}

/*
 * Compare the new tuple with the old version before it is locked, and make the update's event for
 * logical decoding.  Returns true if the key is kept, so that a weaker lock is enough, and false if
 * the old version doesn't exist.
 */
static bool
compare_versions(VdbTarget *target, HeapTuple tuple)
{
	Relation	rel = target->rel;
	Bitmapset  *key = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_KEY);
	TupleTableSlot *old;
	bool		kept;

	if (key == NULL && !vdb_decode_wanted(rel))
		return true;
	old = fetch_old(target);
	kept = key == NULL || (old != NULL && keeps_key(rel, key, old, tuple));
	vdb_event_update(&target->event, rel, old, tuple);
	if (old != NULL)
		ExecDropSingleTupleTableSlot(old);
	bms_free(key);
	return kept;
}

/* Fill in the new version's header.  Must be called before the old version's is stamped. */
static void
stamp_new_version(VdbTarget *target, const ModifyRequest *request, bool lockers_gone,
				  HeapTuple tuple, const VdbRowAddress *address)
{
	HeapTupleHeader hdr = tuple->t_data;
	TransactionId xmax;
	uint16		infomask;
	uint16		infomask2;

	Assert(!target->changed);
	vdb_xmax_carry(&target->version.hdr, lockers_gone, &xmax, &infomask, &infomask2);
	vdb_rows_stamp(tuple, GetCurrentTransactionId(), request->cid, 0, address->row);
	hdr->t_infomask &= ~HEAP_XMAX_BITS;
	hdr->t_infomask |= HEAP_UPDATED | infomask;
	hdr->t_infomask2 |= infomask2;
	HeapTupleHeaderSetXmax(hdr, xmax);
}

/* Store an update, with the old version locked and ready.  Releases the block lock. */
static void
store_update(VdbTarget *target, const ModifyRequest *request, bool lockers_gone,
			 HeapTuple tuple, const VdbRowAddress *address)
{
	conflict_in(target);
	stamp_new_version(target, request, lockers_gone, tuple, address);
	stamp_old_version(target, request);
	vdb_row_to_tid(address->row, &target->version.hdr.t_ctid);
	vdb_target_store(target, address, tuple);
	vdb_target_unlock(target);
}

/*
 * Replace the version at otid by the slot's row, as command cid.  The contract is
 * that of table_tuple_update: returns TM_Ok, or the reason for failure with *tmfd
 * filled; *lockmode is set in either case.  The slot gets the new TID on success;
 * otid may point into it.  All indexes need entries for the new version.
 */
TM_Result
vdb_table_update(Relation rel, ItemPointer otid, TupleTableSlot *slot, CommandId cid,
				 Snapshot crosscheck, bool wait, TM_FailureData *tmfd, LockTupleMode *lockmode)
{
	ModifyRequest request = {"update", XLTW_Update, LockTupleExclusive, cid, crosscheck, wait};
	VdbTarget	target;
	VdbRowAddress address;
	HeapTuple	tuple;
	TM_Result	result;
	bool		lockers_gone;
	bool		palloced;

	refuse_in_parallel(request.verb);
	(void) GetCurrentTransactionId();
	*lockmode = request.mode;
	if (!vdb_target_init(&target, rel, otid))
		return give_up_change(&target, TM_Deleted, tmfd);

	tuple = vdb_slot_form(slot, rel, &palloced);
	if (compare_versions(&target, tuple))
		*lockmode = request.mode = LockTupleNoKeyExclusive;
	vdb_reserve_address(rel, &target.ref, tuple, target.event.len > 0, &address);

	result = make_ours(&target, &request, &lockers_gone);
	if (result != TM_Ok)
	{
		vdb_event_free(&target.event);
		result = give_up_change(&target, result, tmfd);
		vdb_rows_unreserve(&target.ref, &address);
		if (palloced)
			heap_freetuple(tuple);
		return result;
	}
	store_update(&target, &request, lockers_gone, tuple, &address);
	vdb_target_done(&target);
	vdb_event_free(&target.event);
	vdb_conflict_in_stored(rel);

	slot->tts_tableOid = RelationGetRelid(rel);
	vdb_row_to_tid(address.row, &slot->tts_tid);
	vdb_slot_stamp(slot, tuple->t_data);
	if (palloced)
		heap_freetuple(tuple);
	vdb_count_update(rel, vdb_row_lb(target.row) != vdb_row_lb(address.row));
	return TM_Ok;
}
