/*-------------------------------------------------------------------------
 *
 * table_private.h
 *	  Declarations for changing one row version, shared by table_insert.c,
 *	  table_modify.c, table_lock.c and table_chain.c.
 *
 * The protocol, for one version:
 *
 *	vdb_target_init			does all that may write WAL or take other locks first
 *	vdb_target_lock			takes the block lock, exclusive; copies the version's header
 *	(check)					may unlock, wait and lock again: then check afresh
 *	vdb_target_prepare		makes room for the new xmax; may unlock: then check afresh
 *	vdb_target_stamp_xmax	puts the new xmax into the copied header; nothing is stored yet
 *	vdb_target_store		stores the header in one change
 *	vdb_target_unlock		releases the block lock
 *	vdb_target_done			gives up the place in the heavyweight queue
 *
 *-------------------------------------------------------------------------
 */
#ifndef TABLE_PRIVATE_H
#define TABLE_PRIVATE_H

#include "storage/buf.h"

#include "decode/decode.h"
#include "table/table.h"

/* A row version that is about to be changed. */
typedef struct VdbTarget
{
	Relation	rel;
	VdbTableRef ref;
	VdbRowNumber row;
	ItemPointerData tid;			/* of the version */
	uint32		lock_no;			/* number of its block lock */
	uint32		epoch;				/* the current epoch */
	bool		locked;				/* block lock held; version is valid */
	bool		changed;			/* version.hdr has the new xmax, or will be stored otherwise */
	bool		must_flush;			/* the new xmax must not be stored before WAL is flushed */
	Buffer		visible;			/* locked, striped: pin of the block's page of the visibility
									 * map */
	bool		queued;				/* heavyweight tuple lock held ... */
	LockTupleMode queue_mode;		/* ... in this mode */
	VdbVersion	version;			/* copied under the block lock */
	VdbEvent	event;				/* what the change says to logical decoding */
} VdbTarget;

/* ---- table_target.c ---- */
extern bool vdb_target_init(VdbTarget *target, Relation rel, const ItemPointerData *tid);
extern bool vdb_target_lock(VdbTarget *target);
extern void vdb_target_unlock(VdbTarget *target);
extern bool vdb_target_queue(VdbTarget *target, LockTupleMode mode, LockWaitPolicy policy);
extern void vdb_target_done(VdbTarget *target);
extern bool vdb_target_prepare(VdbTarget *target);
extern void vdb_target_stamp_xmax(VdbTarget *target, LockTupleMode mode, bool is_update);
extern void vdb_target_store(VdbTarget *target, const VdbRowAddress *new_address,
							 HeapTuple new_tuple);
extern bool vdb_target_xmax_changed(const VdbTarget *target, const HeapTupleHeaderData *before);
extern TM_Result vdb_target_satisfies_update(VdbTarget *target);
extern void vdb_target_failure(VdbTarget *target, TM_Result result, TM_FailureData *tmfd);
pg_noreturn extern void vdb_row_not_available(Relation rel);
extern bool vdb_wait_for_xid(Relation rel, TransactionId xid, const ItemPointerData *tid,
							 XLTW_Oper oper, LockWaitPolicy policy);

/* Return the VDB_CHANGE_* flags for a change of this table's row bytes. */
static inline int
vdb_row_change_flags(const VdbTableRef *ref)
{
	return ref->logged ? 0 : VDB_CHANGE_UNLOGGED;
}

/* ---- table_insert.c ---- */
extern void vdb_reserve_address(Relation rel, const VdbTableRef *ref, HeapTuple tuple,
								bool decoded, VdbRowAddress *address);
extern void vdb_conflict_in_stored(Relation rel);

/* ---- table_chain.c ---- */
extern TM_Result vdb_chain_lock(Relation rel, HeapTupleHeader prior, const ItemPointerData *self,
								LockTupleMode mode);
extern TM_Result vdb_chain_find_last(Relation rel, ItemPointer tid, CommandId cid,
									 LockWaitPolicy policy, TM_FailureData *tmfd);

#endif							/* TABLE_PRIVATE_H */
