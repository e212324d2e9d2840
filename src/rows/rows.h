/*-------------------------------------------------------------------------
 *
 * rows.h
 *	  Interface of rows/: row versions in the pool, and the visibility rules for all row versions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_ROWS_H
#define VDB_ROWS_H

#include "access/htup_details.h"
#include "access/multixact.h"
#include "access/tableam.h"
#include "storage/lmgr.h"
#include "utils/snapshot.h"

#include "map/map.h"
#include "rows/rows_format.h"

/* ---- header of one version, wherever the row lives ---- */

#define VDB_IN_POOL		1
#define VDB_IN_STRIPE		2

/*
 * A copy of a version's header.  hdr.t_ctid is the TID of the next version; it is the version's own
 * TID when there is no next one, or holds the moved-partitions marker or a speculative token.  Lost
 * ids have already been turned into HEAP_XMIN_INVALID or HEAP_XMAX_INVALID.
 */
typedef struct VdbVersion
{
	VdbRowNumber row;
	uint8		where;
	bool		has_delta;			/* flash: a delta record exists */
	uint16		seen_infomask;		/* as read; bits that hdr.t_infomask has besides are hint bits
									 * to store */
	HeapTupleHeaderData hdr;		/* t_bits is not meaningful */
	VdbExtent	extent;
	VdbBlock	block;				/* pool: block of the VdbRowPrefix */
	uint16		offset;
	uint32		len;				/* pool: length without VDB_ROW_WIDE */
	bool		wide;
	uint32		pos;				/* flash: position in its stripe */
	bool		xmin_unread;		/* flash: xmin counts as frozen, and was not read */
} VdbVersion;

/* ---- visibility (rows_visibility.c) ---- */

/*
 * These functions follow heapam_visibility.c rule for rule, on a copied header.  They set hint bits
 * in hdr->t_infomask only, the "committed" ones only when the commit record has been flushed; the
 * caller stores the difference.  'self' is the version's TID.  No snapshot type but a historic one
 * raises an error.
 */
extern bool vdb_row_visible(HeapTupleHeader hdr, const ItemPointerData *self, Oid relid,
							Snapshot snapshot);
extern TM_Result vdb_row_satisfies_update(HeapTupleHeader hdr, const ItemPointerData *self,
										  CommandId cid);

typedef enum VdbHtsvResult
{
	VDB_DEAD,						/* dead to everyone, so removable */
	VDB_LIVE,
	VDB_RECENTLY_DEAD,
	VDB_INSERT_IN_PROGRESS,
	VDB_DELETE_IN_PROGRESS
} VdbHtsvResult;

/*
 * Return the version's status as HeapTupleSatisfiesVacuumHorizon does.  *dead_after is set for
 * VDB_RECENTLY_DEAD.
 */
extern VdbHtsvResult vdb_row_satisfies_vacuum_horizon(HeapTupleHeader hdr,
													  TransactionId *dead_after);

/* Return the version's status as HeapTupleSatisfiesVacuum does, for a fixed horizon. */
extern VdbHtsvResult vdb_row_satisfies_vacuum(HeapTupleHeader hdr, TransactionId oldest_xmin);

/*
 * Check whether the version is dead to everyone, by hint bits and own checks, without asking clog.
 * This serves all_dead, and may return false for a dead version.
 */
extern bool vdb_row_is_surely_dead(HeapTupleHeader hdr, struct GlobalVisState *vistest);

/*
 * Check whether xmax is only a lock, so that no transaction that counts has updated or deleted the
 * version.
 */
extern bool vdb_row_only_locked(HeapTupleHeader hdr);

/* ---- new xmax (rows_xmax.c): what heap calls compute_new_xmax_infomask and its relatives ---- */

/* What to store of a new xmax. */
typedef struct VdbNewXmax
{
	TransactionId xmax;				/* or multixact id */
	uint16		infomask;			/* HEAP_XMAX_BITS */
	uint16		infomask2;			/* HEAP_KEYS_UPDATED */
	bool		must_flush;			/* the change that stores it needs VDB_CHANGE_FLUSH */
} VdbNewXmax;

/*
 * Compute what to store when transaction add_to_xmax (our own) locks, updates or deletes
 * (is_update) with strength 'mode' a version whose header is hdr.  This may create or extend a
 * multixact, whose WAL must be flushed before it is stored in some cases (rows_multi.c).  The
 * caller holds the block lock exclusively until the change has ended.
 */
extern void vdb_xmax_compute(HeapTupleHeader hdr, TransactionId add_to_xmax, LockTupleMode mode,
							 bool is_update, VdbNewXmax *new);

/*
 * Compute the xmax with which the new version of an updated row starts: the lockers of the old
 * version.  old_hdr is the old version's header from before the update.
 */
extern void vdb_xmax_carry(HeapTupleHeader old_hdr, bool lockers_gone, TransactionId *xmax,
						   uint16 *infomask, uint16 *infomask2);

/*
 * Convert a row lock strength to the heavyweight lock on the TID or to a member status, a member
 * status to a strength, and a single xmax to the status it would have as a member.
 */
extern LOCKMODE vdb_lock_mode_heavy(LockTupleMode mode);
extern MultiXactStatus vdb_lock_mode_status(LockTupleMode mode, bool is_update);
extern LockTupleMode vdb_status_lock_mode(MultiXactStatus status);
extern MultiXactStatus vdb_xmax_status(const HeapTupleHeaderData *hdr);
extern bool vdb_multixact_conflicts(MultiXactId multi, uint16 infomask, LockTupleMode mode,
									bool *current_is_member);

/*
 * Wait for the multixact's members that conflict with 'status'.  The conditional function doesn't
 * wait but returns false when some of them are still running.  *remaining gets the number of other
 * members that may be alive; 'remaining' may be NULL.  No block lock may be held by a caller that
 * waits.
 */
extern void vdb_multixact_wait(MultiXactId multi, MultiXactStatus status, uint16 infomask,
							   Relation rel,
							   const ItemPointerData *tid, XLTW_Oper oper, int *remaining);
extern bool vdb_multixact_wait_conditional(MultiXactId multi, MultiXactStatus status,
										   uint16 infomask, Relation rel, int *remaining);

/* ---- tuples (rows_tuple.c) ---- */

/*
 * Return true if two values of a column are the same bytes once they are decompressed; two nulls
 * are the same.
 */
extern bool vdb_rows_same_value(Form_pg_attribute attr, Datum a, bool a_null, Datum b, bool b_null);

/*
 * Form the tuple to store from a slot of any kind: all attributes, with external and expanded
 * values flattened (compressed inline values are kept).  The header has natts, null bits and
 * t_hoff; xmin and the rest are left to vdb_rows_stamp.  The tuple is palloc'd, and may have up to
 * 1 GB.
 */
extern HeapTuple vdb_rows_form(Relation rel, TupleTableSlot *slot);
extern void vdb_rows_stamp(HeapTuple tuple, TransactionId xid, CommandId cid, int options,
						   VdbRowNumber row);	/* like heap_prepare_insert; t_ctid is the row
												 * itself */

/* ---- segments (rows_segment.c) ---- */

/* A reserved place for one new row. */
typedef struct VdbRowAddress
{
	VdbRowNumber row;
	VdbBlock	block;				/* block where the prefix will be stored */
	uint16		offset;
	uint16		slot;				/* slot value to publish */
	VdbBlock	slot_block;
	uint16		slot_offset;
	bool		wide;				/* the data goes to the pages of wide_ref */
	VdbWideRef	wide_ref;
} VdbRowAddress;

/*
 * Reserve a place for a tuple, by its t_len.  This takes a segment of the table from the hand-back
 * list or claims new ones, and writes the data of a wide row to main-fork pages.  Returns false if
 * the pool is full: then nothing is reserved, and the caller lets migrate/ make room and calls
 * again.  No lock is held on entry or return.  The reservation belongs to this backend; if it is
 * never published, a harmless empty slot remains.  decoded: the row's record will have an event, so
 * a wide row's pages are logged for logical decoding as well.
 */
extern bool vdb_rows_reserve(Relation rel, const VdbTableRef *ref, HeapTuple tuple,
							 bool decoded, VdbRowAddress *address);

/* Give back the latest reservation(s) if nothing was reserved after them; a hint only. */
extern void vdb_rows_unreserve(const VdbTableRef *ref, const VdbRowAddress *address);

/*
 * Add a stamped tuple to a change, at its reserved place: first the data, then the slot, which
 * publishes it.
 */
extern void vdb_rows_put(VdbScmChange *change, const VdbTableRef *ref,
						 const VdbRowAddress *address, HeapTuple tuple);

/* Check that the change still has room for the blocks that putting this tuple may add (1 to 3). */
extern bool vdb_rows_put_fits(const VdbScmChange *change, const VdbRowAddress *address,
							  HeapTuple tuple);

/*
 * Put the segments that this backend owns on the hand-back list.  This happens at the end of a
 * transaction (registered by vdb_rows_init).
 */
extern void vdb_rows_hand_back(void);

/*
 * Set whether the end of a failed subtransaction keeps reserved places.  'keep' is for a
 * subtransaction that began after they were reserved and stores no rows.
 */
extern void vdb_rows_keep_addresses(bool keep);

/*
 * Check whether the segment is open: owned by an appender, or in this epoch's hand-back list.  A
 * segment of the list that has been idle for 'idle_ms' milliseconds is taken off it for good, so
 * that no backend appends to it any more, and then isn't open.  0 takes any such segment, so that
 * true means that an appender owns the segment, which must be left alone; VDB_IDLE_NEVER takes
 * none.
 */
#define VDB_IDLE_NEVER		(-1)

extern bool vdb_rows_segment_open(const VdbTableRef *ref, VdbBlock segment, int64 idle_ms);

/* States of a segment; asking for the state changes nothing. */
typedef enum VdbSegmentState
{
	VDB_SEGMENT_OWNED,				/* by an appender */
	VDB_SEGMENT_HANDED_BACK,		/* the next appender may take it */
	VDB_SEGMENT_CLOSED
} VdbSegmentState;

/*
 * Return the state of a segment.  *idle_ms, which may be NULL, is set to the milliseconds since the
 * segment was handed back; to 0 if it is in another state.
 */
extern VdbSegmentState vdb_rows_segment_state(const VdbTableRef *ref, VdbBlock segment,
											  int64 *idle_ms);

/*
 * Return the header of a segment, checked (magic, table, generation, logical block).  Raises
 * ERRCODE_DATA_CORRUPTED if a check fails.
 */
extern const VdbSegmentHeader *vdb_rows_segment(const VdbTableRef *ref, VdbBlock segment,
												VdbLogicalBlock lb);

/* ---- reading (rows_read.c); the caller holds the block lock, in either mode ---- */

/*
 * Read the header of the row at 'index' of the extent's logical block.  Returns false if the row
 * was removed (*removed is set), or if there is none: it was never stored, or a crash lost it.
 */
extern bool vdb_rows_version(const VdbTableRef *ref, const VdbExtent *extent, VdbLogicalBlock lb,
							 uint8 index,
							 VdbVersion *version, bool *removed);

/* How much of a segment is in use. */
typedef struct VdbSegmentUse
{
	VdbLogicalBlock first_lb;
	uint32		slots;				/* slots up to the last row */
	uint32		rows;				/* versions, dead ones included */
	uint32		blocks;				/* blocks up to that of the last row */
} VdbSegmentUse;

/*
 * Measure the use of a segment, without a lock, as a hint for the planner.  Returns false if the
 * segment doesn't belong to the table (any more).
 */
extern bool vdb_rows_segment_use(const VdbTableRef *ref, VdbBlock segment, VdbSegmentUse *use);

/*
 * Read a header as vdb_rows_version does, but return false instead of raising an error for damage.
 */
extern bool vdb_rows_peek(const VdbTableRef *ref, const VdbExtent *extent, VdbLogicalBlock lb,
						  uint8 index,
						  VdbVersion *version);

/*
 * Return how much this backend has changed in all tables: versions stored and versions given a new
 * xmax.  An abort counts as very many.  Callers compare two results to decide whether what they
 * learned before still holds.
 */
extern uint64 vdb_rows_changes(void);
extern void vdb_rows_note_change(void);

/* Bytes of a row whose tuple has this length, where rows are copied one after the other. */
#define VDB_ROW_COPY_BYTES(len)	MAXALIGN((len) + VDB_ROW_CRC_BYTES)

/*
 * Copy the tuple image (header as in version->hdr, null bits and data) and the checksum behind it
 * to dst, which has room for version->len + VDB_ROW_CRC_BYTES bytes, MAXALIGNed.  The image of a
 * wide row is the header and a VdbWideRef.
 */
extern void vdb_rows_copy(const VdbTableRef *ref, const VdbVersion *version, char *dst);

/*
 * Complete a wide row from the image that vdb_rows_copy gave, after unlocking.  Returns the whole
 * tuple, palloc'd.  Checks the CRC of the data.
 */
extern HeapTuple vdb_rows_complete_wide(Relation rel, const char *image, uint32 len);

/*
 * Store the hint bits that a visibility check has set in version->hdr since the version was read.
 * This is for rows in the pool only; the shared lock suffices.
 */
extern void vdb_rows_hint(const VdbTableRef *ref, VdbVersion *version);

/* ---- checksums (rows_checksum.c) ---- */

/* A row that differs from what was stored. */
typedef struct VdbRowDamage
{
	VdbRowNumber row;
	VdbBlock	block;				/* block of the pool in which it is */
	uint16		offset;
	uint32		expected;			/* the checksum that is stored */
	uint32		found;				/* the checksum computed from its bytes */
} VdbRowDamage;

/*
 * Check whether a crash may have kept the header and lost the data, with the WAL of both.  In that
 * case xmin never committed, no query reads the data, and the checksum has no meaning.  Lost ids in
 * hdr must have been cleaned.
 */
extern bool vdb_rows_may_lack_data(const HeapTupleHeaderData *hdr);

/*
 * Return a version's tuple in the pool.  The caller holds the block lock while it uses the result.
 */
extern const char *vdb_rows_image(const VdbTableRef *ref, const VdbVersion *version);

/*
 * Check whether a row fails its checksum, and fill *damage if so.  'image' is in the pool, or a
 * copy made by vdb_rows_copy.
 */
extern bool vdb_rows_damaged(const VdbVersion *version, const char *image, VdbRowDamage *damage);

/*
 * Check the data of a wide row whose image is intact, as vdb_rows_damaged does.  The data is read
 * from flash.
 */
extern bool vdb_rows_wide_damaged(Relation rel, const VdbVersion *version, const char *image,
								  VdbRowDamage *damage);

/* Report the damage with the given elevel, as ERRCODE_DATA_CORRUPTED. */
extern void vdb_rows_report_damage(Relation rel, int elevel, const VdbRowDamage *damage);

/* ---- changing (rows_change.c); the caller holds the block lock exclusively ---- */

/*
 * Replace xmax, cid, infomask bits, infomask2 bits and t_ctid of a version in the pool.  The epoch
 * stored with xmax is 'epoch', this epoch.
 */
extern void vdb_rows_set_xmax(VdbScmChange *change, const VdbTableRef *ref,
							  const VdbVersion *version, uint32 epoch);

/*
 * Replace the header fields t_xmin to t_infomask (to confirm or abort a speculative insertion, and
 * to freeze).
 */
extern void vdb_rows_set_header(VdbScmChange *change, const VdbTableRef *ref,
								const VdbVersion *version);

/* Set the row's slot to "removed". */
extern void vdb_rows_remove(VdbScmChange *change, const VdbTableRef *ref, const VdbExtent *extent,
							VdbLogicalBlock lb, uint8 index);

extern void vdb_rows_init(void);	/* _PG_init: shared memory, transaction callbacks */

#endif							/* VDB_ROWS_H */
