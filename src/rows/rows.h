/*-------------------------------------------------------------------------
 *
 * rows.h
 *	  Row versions in the pool, and the visibility rules for all versions.
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

/* ---- one version's header, wherever the row lives ---- */

#define VDB_IN_POOL		1
#define VDB_IN_STRIPE		2

/*
 * A copy of a version's header.  hdr.t_ctid is the next version's TID (itself when there is none,
 * or the moved-partitions marker, or a speculative token).  Lost ids are already turned into
 * HEAP_XMIN_INVALID / HEAP_XMAX_INVALID.
 */
typedef struct VdbVersion
{
	VdbRowNumber row;
	uint8		where;
	bool		has_delta;			/* flash: a delta record exists */
	uint16		seen_infomask;		/* as read; a difference to hdr.t_infomask are hint bits to
									 * store */
	HeapTupleHeaderData hdr;		/* t_bits not meaningful */
	VdbExtent	extent;
	VdbBlock	block;				/* pool: of the VdbRowPrefix */
	uint16		offset;
	uint32		len;				/* pool: VDB_ROW_LEN */
	bool		wide;
	uint32		pos;				/* flash: position in its stripe */
} VdbVersion;

/* ---- visibility (rows_visibility.c) ----
 * Rule for rule what heapam_visibility.c does, on a copied header: hint bits are set in
 * hdr->t_infomask only (committed ones only when the commit record is flushed); the caller stores
 * the difference.  self: the version's TID.  Any snapshot type but HISTORIC raises nothing.
 */
extern bool vdb_row_visible(HeapTupleHeader hdr, const ItemPointerData *self, Oid relid,
							Snapshot snapshot);
extern TM_Result vdb_row_satisfies_update(HeapTupleHeader hdr, const ItemPointerData *self,
										  CommandId cid);

typedef enum VdbHtsvResult
{
	VDB_DEAD,						/* removable: dead to everyone */
	VDB_LIVE,
	VDB_RECENTLY_DEAD,
	VDB_INSERT_IN_PROGRESS,
	VDB_DELETE_IN_PROGRESS
} VdbHtsvResult;

/* As HeapTupleSatisfiesVacuumHorizon: *dead_after is set for RECENTLY_DEAD. */
extern VdbHtsvResult vdb_row_satisfies_vacuum_horizon(HeapTupleHeader hdr,
													  TransactionId *dead_after);
/* As HeapTupleSatisfiesVacuum with a fixed horizon. */
extern VdbHtsvResult vdb_row_satisfies_vacuum(HeapTupleHeader hdr, TransactionId oldest_xmin);
/* Dead to everyone without looking at clog beyond hint bits and own checks (for all_dead). */
extern bool vdb_row_is_surely_dead(HeapTupleHeader hdr, struct GlobalVisState *vistest);

/* xmax is only a lock / its updating xid / its status. */
extern bool vdb_row_only_locked(HeapTupleHeader hdr);

/* ---- new xmax (rows_xmax.c): what heap calls compute_new_xmax_infomask and its relatives ---- */

/*
 * The xmax, infomask and infomask2 bits to store when 'add_to_xmax' (own xid) wants 'mode'
 * (is_update: it will update or delete) on a version whose header is hdr.  May create or extend a
 * multixact: a change that stores one (infomask has HEAP_XMAX_IS_MULTI) must be begun with
 * VDB_CHANGE_FLUSH, which flushes the multixact's own WAL as well.
 */
extern void vdb_xmax_compute(HeapTupleHeader hdr, TransactionId add_to_xmax, LockTupleMode mode,
							 bool is_update,
							 TransactionId *new_xmax, uint16 *new_infomask, uint16 *new_infomask2);
/*
 * xmax with which the new version of an updated row starts: the old one's lockers (old_hdr: before
 * the update went in).
 */
extern void vdb_xmax_carry(HeapTupleHeader old_hdr, bool lockers_gone, TransactionId *xmax,
						   uint16 *infomask, uint16 *infomask2);
/* Row lock strength <-> heavyweight lock on the TID, member status; status of a single xmax. */
extern LOCKMODE vdb_lock_mode_heavy(LockTupleMode mode);
extern MultiXactStatus vdb_lock_mode_status(LockTupleMode mode, bool is_update);
extern LockTupleMode vdb_status_lock_mode(MultiXactStatus status);
extern MultiXactStatus vdb_xmax_status(const HeapTupleHeaderData *hdr);
extern bool vdb_multixact_conflicts(MultiXactId multi, uint16 infomask, LockTupleMode mode,
									bool *current_is_member);
/*
 * Wait for members that conflict (or try: returns false when nowait and some remain); 'remaining'
 * others may be NULL.
 */
extern void vdb_multixact_wait(MultiXactId multi, MultiXactStatus status, uint16 infomask,
							   Relation rel,
							   const ItemPointerData *tid, XLTW_Oper oper, int *remaining);
extern bool vdb_multixact_wait_conditional(MultiXactId multi, MultiXactStatus status,
										   uint16 infomask, Relation rel, int *remaining);

/* ---- tuples (rows_tuple.c) ---- */

/*
 * Form the tuple to store from any slot: all attributes, external and expanded values flattened
 * (compressed inline values are kept). Header: natts, nulls, t_hoff set; xmin etc. left to
 * vdb_rows_stamp.  palloc'd.  Any size up to 1 GB.
 */
extern HeapTuple vdb_rows_form(Relation rel, TupleTableSlot *slot);
extern void vdb_rows_stamp(HeapTuple tuple, TransactionId xid, CommandId cid, int options,
						   VdbRowNumber row);	/* as heap_prepare_insert + t_ctid = self */

/* ---- segments (rows_segment.c) ---- */

/* A reserved place for one new row. */
typedef struct VdbRowAddress
{
	VdbRowNumber row;
	VdbBlock	block;				/* where the prefix will stand */
	uint16		offset;
	uint16		slot;				/* value to publish */
	VdbBlock	slot_block;
	uint16		slot_offset;
	bool		wide;				/* data goes to wide.first_page */
	VdbWideRef	wide_ref;
} VdbRowAddress;

/*
 * Reserve a place for a tuple (its t_len decides).  Takes a segment of this table from the hand-back list or claims new ones; writes the data
 * of a wide row to main-fork pages.  False: the pool is full (nothing reserved; the caller lets migrate/ make room and calls again).
 * No lock is held on entry or return.  The reservation is this backend's; never publishing it leaves an empty slot, which is harmless.
 * decoded: the row's record will have an event, so a wide row's pages are logged for logical decoding, too.
 */
extern bool vdb_rows_reserve(Relation rel, const VdbTableRef *ref, HeapTuple tuple, bool decoded, VdbRowAddress *address);

/* Give back the latest reservation(s) if nothing came after; a hint only. */
extern void vdb_rows_unreserve(const VdbTableRef *ref, const VdbRowAddress *address);

/* Add a stamped tuple at its place to a change (data, then published slot). */
extern void vdb_rows_put(VdbScmChange *change, const VdbTableRef *ref,
						 const VdbRowAddress *address, HeapTuple tuple);

/* How many more blocks a put of this place may add to the change (1 to 3). */
extern bool vdb_rows_put_fits(const VdbScmChange *change, const VdbRowAddress *address,
							  HeapTuple tuple);

/*
 * Segments this backend owns go back to the hand-back list (transaction end; registered by
 * vdb_rows_init).
 */
extern void vdb_rows_hand_back(void);

/*
 * While 'keep', the end of a failed subtransaction forgets no reserved places: it began after them,
 * and stores no rows.
 */
extern void vdb_rows_keep_addresses(bool keep);

/*
 * Is the segment open, that is, owned by an appender or in the hand-back list of this epoch?
 * 'take': if it is only in the list, take it off for good, so that no session appends to it any
 * more.  True: still owned by an appender, leave it alone.
 */
extern bool vdb_rows_segment_open(const VdbTableRef *ref, VdbBlock segment, bool take);

/* The same in three words, for monitoring; changes nothing. */
typedef enum VdbSegmentState
{
	VDB_SEGMENT_OWNED,				/* by an appender */
	VDB_SEGMENT_HANDED_BACK,		/* the next appender may take it */
	VDB_SEGMENT_CLOSED
} VdbSegmentState;

extern VdbSegmentState vdb_rows_segment_state(const VdbTableRef *ref, VdbBlock segment);

/* Header of a segment, checked (magic, table, generation, lb); ERRCODE_DATA_CORRUPTED otherwise. */
extern const VdbSegmentHeader *vdb_rows_segment(const VdbTableRef *ref, VdbBlock segment,
												VdbLogicalBlock lb);

/* ---- reading (rows_read.c).  Caller holds the LB's block lock, either mode. ---- */

/*
 * Header of the row at index of the extent's LB; false: removed (*removed), or nothing there: never
 * stored, or lost in a crash.
 */
extern bool vdb_rows_version(const VdbTableRef *ref, const VdbExtent *extent, VdbLogicalBlock lb,
							 uint8 index,
							 VdbVersion *version, bool *removed);

/* What of a segment is in use. */
typedef struct VdbSegmentUse
{
	VdbLogicalBlock first_lb;
	uint32		slots;				/* up to its last row */
	uint32		rows;				/* versions, dead ones too */
	uint32		blocks;				/* up to that of its last row */
} VdbSegmentUse;

/* A hint for the planner: without a lock.  False: it is no segment of the table (any more). */
extern bool vdb_rows_segment_use(const VdbTableRef *ref, VdbBlock segment, VdbSegmentUse *use);

/* As vdb_rows_version, but damage is no error: then there is no row, either. */
extern bool vdb_rows_peek(const VdbTableRef *ref, const VdbExtent *extent, VdbLogicalBlock lb,
						  uint8 index,
						  VdbVersion *version);

/*
 * How much this backend has changed, in whatever table: versions stored and given a new xmax.  An
 * abort counts as very many.  For deciding whether what was learned before still holds.
 */
extern uint64 vdb_rows_changes(void);
extern void vdb_rows_note_change(void);

/* Bytes of a row with so long a tuple where rows are copied one after the other. */
#define VDB_ROW_COPY_BYTES(len)	MAXALIGN((len) + VDB_ROW_CRC_BYTES)

/*
 * Copy the tuple image (header as in version->hdr, bits and data) and the checksum behind it to dst
 * (version->len + VDB_ROW_CRC_BYTES bytes, MAXALIGNed); wide rows: header and VdbWideRef only.
 */
extern void vdb_rows_copy(const VdbTableRef *ref, const VdbVersion *version, char *dst);

/*
 * Complete a wide row after unlocking: image is what vdb_rows_copy gave; returns a palloc'd whole
 * tuple. Checks the CRC.
 */
extern HeapTuple vdb_rows_complete_wide(Relation rel, const char *image, uint32 len);

/*
 * Store hint bits that visibility has set (version->hdr vs seen_infomask); pool rows only. Shared
 * lock suffices.
 */
extern void vdb_rows_hint(const VdbTableRef *ref, VdbVersion *version);

/* ---- checksums (rows_checksum.c) ---- */

/* A row that isn't what was stored. */
typedef struct VdbRowDamage
{
	VdbRowNumber row;
	VdbBlock	block;				/* its place in the pool */
	uint16		offset;
	uint32		expected;			/* the checksum that stands there */
	uint32		found;				/* the one that its bytes have */
} VdbRowDamage;

/*
 * May a crash have kept the header and lost the data, with the WAL of both?  Then xmin never
 * committed, no process reads the data, and its checksum says nothing.  hdr: lost ids cleaned.
 */
extern bool vdb_rows_may_lack_data(const HeapTupleHeaderData *hdr);

/* A version's tuple in the pool.  Caller holds the block lock while it looks. */
extern const char *vdb_rows_image(const VdbTableRef *ref, const VdbVersion *version);

/*
 * Does a row fail its checksum?  Then *damage is filled.  image: in the pool, or what vdb_rows_copy
 * gave.
 */
extern bool vdb_rows_damaged(const VdbVersion *version, const char *image, VdbRowDamage *damage);

/* The same for the data of a wide row whose image is intact: reads it from flash. */
extern bool vdb_rows_wide_damaged(Relation rel, const VdbVersion *version, const char *image,
								  VdbRowDamage *damage);

/* Say so, as ERRCODE_DATA_CORRUPTED. */
extern void vdb_rows_report_damage(Relation rel, int elevel, const VdbRowDamage *damage);

/* ---- changing (rows_change.c).  Caller holds the LB's block lock exclusive. ---- */

/*
 * Replace xmax, cid, infomask bits, infomask2 bits and t_ctid of a version in the pool; xmax_epoch
 * is this epoch's.
 */
extern void vdb_rows_set_xmax(VdbScmChange *change, const VdbTableRef *ref,
							  const VdbVersion *version, uint32 epoch);

/* Whole header fields t_xmin .. t_infomask (speculative confirm / abort). */
extern void vdb_rows_set_header(VdbScmChange *change, const VdbTableRef *ref,
								const VdbVersion *version);

/* Slot := removed. */
extern void vdb_rows_remove(VdbScmChange *change, const VdbTableRef *ref, const VdbExtent *extent,
							VdbLogicalBlock lb, uint8 index);

extern void vdb_rows_init(void);	/* _PG_init: shared memory, transaction callbacks */

#endif							/* VDB_ROWS_H */
