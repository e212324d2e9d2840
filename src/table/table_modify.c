/*-------------------------------------------------------------------------
 *
 * table_modify.c
 *	  DELETE and UPDATE of one row version.
 *
 * Both are the same up to the last step: come to terms with everyone who has
 * changed or locked the version (resolve), then write our xmax into it.  An update
 * stores the new version and the old one's xmax in one change, so that no
 * crash can keep one without the other.
 *
 * An update needs a weaker row lock when it leaves all key columns alone:
 * foreign key checks, which hold key-share locks, then don't get in its way.
 * The comparison and everything that takes space is done before the block lock;
 * for this the old version's values are read without it, which is safe since the
 * values of a version never change.
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

/* What is wanted of a version. */
typedef struct ModifyRequest
{
	const char *verb;				/* for messages */
	XLTW_Oper	oper;
	LockTupleMode mode;
	CommandId	cid;
	Snapshot	crosscheck;			/* must see the version, too; or InvalidSnapshot */
	bool		wait;
} ModifyRequest;

/* Combo command ids made now would be unknown to the other workers. */
static void
refuse_in_parallel(const char *verb)
{
	if (IsInParallelMode())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("cannot %s tuples during a parallel operation", verb)));
}

/*
 * Must we wait for the transaction in xmax?  Not for ourselves, nor for a key-share
 * locker if the key stays.  *own_member: we are among the members of a multixact.
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
 * Wait for who is in the way, with the row unlocked meanwhile, and read the version
 * again.  False: check afresh, as the xmax is another by now, or was a
 * transaction by itself whose end tells all, or the version is gone (then it is
 * unlocked).  True: the same multixact, without members in our way;
 * *lockers_gone: and without any others.
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
	 * Who already has a lock must not queue: the first in the queue may be
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
 * Come to terms with the version.  TM_Ok: it is ours to change, block lock held, room
 * for the new xmax prepared.  Otherwise what stands against it, block lock held,
 * unless the version is gone (TM_Deleted, unlocked).  *lockers_gone: none of
 * the present xmax's lockers lives.
 */
static TM_Result
make_ours(VdbTarget *target, const ModifyRequest *request, bool *lockers_gone)
{
	HeapTupleHeader hdr = &target->version.hdr;

	for (;;)
	{
		TM_Result	result;
		bool		own_member;

		CHECK_FOR_INTERRUPTS();		/* has no effect while locked */
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

/* resolve() said no: tell the caller why, and let go of the version. */
static TM_Result
give_up(VdbTarget *target, TM_Result result, TM_FailureData *tmfd)
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

/* Our xmax and command id into the copied header; no successor so far. */
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
 * Serializable transactions may have read the version.  Asked with the block lock held
 * until our change is stored, so that no reader comes between: later ones
 * find our xmax.  Of an update's new version this says nothing, as that lies elsewhere:
 * vdb_conflict_in_stored is asked afterwards.
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
 * Log a deletion for logical decoding: perhaps with the old row, which must be read before the
 * version is locked.
 */
static void
tell_delete(VdbTarget *target)
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
		tell_delete(&target);
		result = make_ours(&target, &request, &lockers_gone);
	}
	if (result != TM_Ok)
	{
		vdb_event_free(&target.event);
		return give_up(&target, result, tmfd);
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

/* Is the column the same in both?  (Equal bytes; compression doesn't matter.) */
static bool
same_value(TupleDesc desc, AttrNumber attnum, TupleTableSlot *old_slot, HeapTuple new_tuple)
{
	Form_pg_attribute attr = TupleDescAttr(desc, attnum - 1);
	bool		old_null;
	bool		new_null;
	Datum		old_value = slot_getattr(old_slot, attnum, &old_null);
	Datum		new_value = heap_getattr(new_tuple, attnum, desc, &new_null);

	if (old_null || new_null)
		return old_null == new_null;
	return datum_image_eq(old_value, new_value, attr->attbyval, attr->attlen);
}

/*
 * Does the new tuple leave alone all columns that foreign keys may refer to?  key: these.
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
 * What an update must know of the old version before it locks it: how strong a lock it takes, and
 * what is logged for logical decoding.  Returns whether the key is kept; no if the version isn't
 * there.
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

/* The new version's header; the old one's is not yet stamped. */
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

/* Everything an update does with the version locked and resolved. */
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
 * table_tuple_update's: TM_Ok, or why not with *tmfd filled; *lockmode is set in
 * either case.  The slot gets the new TID on success; otid may point into it.
 * All indexes need entries for the new version.
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
		return give_up(&target, TM_Deleted, tmfd);

	tuple = vdb_slot_form(slot, rel, &palloced);
	if (compare_versions(&target, tuple))
		*lockmode = request.mode = LockTupleNoKeyExclusive;
	vdb_reserve_address(rel, &target.ref, tuple, target.event.len > 0, &address);

	result = make_ours(&target, &request, &lockers_gone);
	if (result != TM_Ok)
	{
		vdb_event_free(&target.event);
		result = give_up(&target, result, tmfd);
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
