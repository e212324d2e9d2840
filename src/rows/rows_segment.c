/*-------------------------------------------------------------------------
 *
 * rows_segment.c
 *	  Appending rows: finding a segment with room, reserving places in it, putting.
 *
 * For each table it inserts into, a backend appends to one 'current' segment.  When that has no
 * room for the next row the backend goes on in a spare of its own, else in a segment that was
 * handed back, else it claims new ones: one at first, then twice as many each time within a
 * transaction, as every claim flushes WAL.  At the transaction's end everything with room is handed
 * back, and the next transaction goes on in the same segment unless it was taken.
 *
 * A place is reserved by arithmetic in local memory, and other processes don't see it until its
 * slot is published.  So a segment must stay owned while any of its places is outstanding, that is,
 * reserved but not stored: migration would take a segment without an owner, seeing only empty
 * slots.  A segment that is full while places are outstanding is therefore 'retired', and closed by
 * a later reservation that finds none outstanding.  (Puts are added to a change, which ends before
 * anything else can be reserved: a claim is a change too.)  An aborted (sub)transaction never
 * stores its places; they stay empty slots.
 *
 * Segments have an entry in the open-segment hash before the map names them, for the same reason.
 * When a claim fails by an error, the entries and the reserved segments are given back when the
 * (sub)transaction aborts: at the error itself, locks that this needs may be held.
 *
 * There is no exit callback: a process that exits inside a transaction aborts it on the way, and
 * outside of transactions nothing is owned.
 *
 * Locks: none held on entry or return.  Takes open-segment locks (one at a time), and all locks
 * that vdb_map_claim and vdb_scm_reserve_segments take.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"

#include "base/vdb_crc.h"
#include "base/vdb_guc.h"
#include "base/vdb_stop_point.h"
#include "pages/pages.h"
#include "rows/rows_private.h"

/* The share of the segments that the pool can still give which one claim takes at most. */
#define VDB_CLAIM_SHARE			16

/* Any backend may take a handed-back segment that has not been used for so many microseconds. */
#define VDB_IDLE_US				20000

/* Segments that are reserved and entered, but perhaps not claimed; see claim_segments. */
typedef struct VdbPendingClaim
{
	VdbPool    *pool;
	int			nsegments;			/* reserved in the pool */
	int			nentered;			/* of these, those that have an entry */
	VdbBlock	segments[VDB_CLAIM_MAX];
	int			handles[VDB_CLAIM_MAX];
	VdbLogicalBlock first_lbs[VDB_CLAIM_MAX];
} VdbPendingClaim;

/* Argument of format_segment. */
typedef struct VdbFormatArg
{
	const VdbTableRef *ref;
	uint32		epoch;
	uint16		nslots;
} VdbFormatArg;

static VdbPendingClaim vdb_pending;

/* Rows put since the pool's counters were last brought up to date. */
static VdbPoolShared *vdb_tally_pool = NULL;
static uint64 vdb_tally_rows = 0;
static uint64 vdb_tally_bytes = 0;

/* See vdb_rows_changes. */
#define VDB_CHANGES_ABORT		(UINT64CONST(1) << 32)

static uint64 vdb_changes = 0;

/* ---- claiming ---- */

/* Add the rows put by this backend to the pool's counters. */
static void
flush_tally(void)
{
	if (vdb_tally_rows == 0)
		return;
	pg_atomic_fetch_add_u64(&vdb_tally_pool->counters.rows_appended, vdb_tally_rows);
	pg_atomic_fetch_add_u64(&vdb_tally_pool->counters.bytes_appended, vdb_tally_bytes);
	vdb_tally_rows = vdb_tally_bytes = 0;
}

/*
 * Add a new segment's header, and its slot array of empty slots, to the change.  Callback of
 * vdb_map_claim.
 */
static void
format_segment(VdbScmChange *change, VdbBlock segment, VdbLogicalBlock first_lb, void *arg)
{
	const VdbFormatArg *format = arg;
	VdbSegmentHeader header;

	memset(&header, 0, sizeof(header));
	header.magic = VDB_SEGMENT_MAGIC;
	header.version = VDB_SEGMENT_VERSION;
	header.nslots = format->nslots;
	header.table_slot = format->ref->slot;
	header.table_generation = format->ref->generation;
	header.first_lb = first_lb;
	header.epoch = format->epoch;

	vdb_scm_change_write(change, segment, VDB_POOL_BLOCK_HEADER, &header, sizeof(header));
	vdb_scm_change_zero(change, segment, VDB_SEGMENT_SLOTS, format->nslots * sizeof(uint16));
}

/*
 * Zero the rows' bytes of segments that are going to be claimed.  On ordinary media a crash may
 * keep a slot and lose the row, together with the WAL of both: then zeroes must be there, not what
 * the segment held before.  The claim flushes our WAL with its own.  Persistent memory keeps the
 * order of stores, and rows that WAL does not cover don't survive a crash.
 */
static void
blank_segments(const VdbTableRef *ref, const VdbBlock *segments, int nsegments)
{
	if (vdb_pool_is_pmem(ref->pool) ||
		(vdb_map_table_entry(ref)->flags & (VDB_TABLE_UNLOGGED | VDB_TABLE_TEMP)) != 0)
		return;
	for (int i = 0; i < nsegments;)
	{
		VdbScmChange *change = vdb_scm_change_begin(ref->pool, 0);

		for (int n = 0; n < VDB_CHANGE_MAX_BLOCKS / VDB_SEGMENT_BLOCKS && i < nsegments; n++, i++)
			for (int block = 0; block < VDB_SEGMENT_BLOCKS; block++)
				vdb_scm_change_zero(change, segments[i] + block, VDB_POOL_BLOCK_HEADER,
									VDB_POOL_BLOCK_PAYLOAD);
		(void) vdb_scm_change_end(change);
	}
}

/*
 * Give up the pending segments from 'first' on.  No locks are held.  After an error, it is unknown
 * whether a segment that was given a logical block belongs to the table; unreserving it does
 * nothing if it does.
 */
static void
drop_pending(int first)
{
	for (int i = first; i < vdb_pending.nsegments; i++)
	{
		if (i < vdb_pending.nentered)
			vdb_open_close(vdb_pending.handles[i]);
		vdb_scm_unreserve_segment(vdb_pending.pool, vdb_pending.segments[i]);
	}
	vdb_pending.nsegments = 0;
	vdb_pending.nentered = 0;
}

/*
 * Return the number of segments to claim.  It falls as the pool fills, so that spares don't take
 * space from other backends.
 */
static int
claim_wanted(const VdbAppender *appender, VdbPool *pool)
{
	int64		possible = (int64) vdb_scm_limit_mb() * (1024 * 1024 / VDB_SEGMENT_BYTES);
	int64		used = pg_atomic_read_u32(&vdb_pool_shared(pool)->used_segments);
	int64		share = (possible - used) / VDB_CLAIM_SHARE;

	return (int) Max(1, Min(share, Min(appender->run, vdb_owned_room())));
}

/*
 * Claim new segments as spares: appender->run of them, or as many as the pool and the range allow.
 * Returns false if the pool is full.  This backend may own at least one more segment.
 */
static bool
claim_segments(VdbAppender *appender, const VdbTableRef *ref)
{
	VdbPendingClaim *pending = &vdb_pending;
	int			lbs = vdb_fill_choose_lbs(vdb_appender_average(appender));
	int			want = claim_wanted(appender, ref->pool);
	int			nclaimed;
	VdbFormatArg arg;

	Assert(vdb_owned_room() > 0);
	Assert(want > 0 && want <= VDB_CLAIM_MAX);
	if (pending->nsegments > 0)
		drop_pending(0);		/* left by an error that was caught */

	arg.ref = ref;
	arg.epoch = vdb_epoch_current(ref->pool);
	arg.nslots = (uint16) (lbs * VDB_LB_ROWS);

	pending->pool = ref->pool;
	pending->nentered = 0;
	pending->nsegments = vdb_scm_reserve_segments(ref->pool, want, false, pending->segments);
	if (pending->nsegments == 0)
		return false;

	VDB_STOP_POINT("rows-reserved");
	blank_segments(ref, pending->segments, pending->nsegments);
	for (int i = 0; i < pending->nsegments; i++)
	{
		pending->handles[i] = vdb_open_enter(&appender->table, pending->segments[i]);
		pending->nentered++;
	}
	nclaimed = vdb_map_claim(ref, pending->nsegments, lbs, pending->segments,
							 pending->first_lbs, format_segment, &arg);
	Assert(nclaimed >= 0 && nclaimed <= pending->nsegments);

	for (int i = 0; i < nclaimed; i++)
	{
		VdbOwned   *owned = vdb_owned_add(appender, pending->handles[i]);

		vdb_fill_init(&owned->fill, pending->segments[i], pending->first_lbs[i], arg.nslots);
	}
	drop_pending(nclaimed);
	appender->run = Min(appender->run * 2, VDB_CLAIM_MAX);
	flush_tally();
	VDB_STOP_POINT("rows-claimed");
	return nclaimed > 0;
}

/* ---- finding a segment with room ---- */

/*
 * Own a handed-back segment, or close it and return NULL.  The list is only memory, so the
 * segment's header in the pool decides.
 */
static VdbOwned *
adopt(VdbAppender *appender, const VdbTableRef *ref, int handle, const VdbSegmentFill *fill)
{
	const VdbSegmentHeader *header = (const VdbSegmentHeader *)
		((const char *) vdb_pool_block(ref->pool, fill->segment) + VDB_POOL_BLOCK_HEADER);
	VdbOwned   *owned = vdb_owned_add(appender, handle);

	owned->fill = *fill;
	if (vdb_segment_defect(ref, header, fill->first_lb) == NULL &&
		header->first_lb == fill->first_lb && header->nslots == fill->nslots &&
		header->epoch == vdb_pool_shared(ref->pool)->epoch)
		return owned;
	vdb_owned_close(owned);
	return NULL;
}

/*
 * Return the handed-back segment with the lowest row numbers that has room and was idle for idle_us
 * microseconds, or NULL.
 */
static VdbOwned *
take_handed_back(VdbAppender *appender, const VdbTableRef *ref, uint32 image_bytes, int idle_us)
{
	VdbSegmentFill fill;
	VdbOwned   *owned = NULL;
	int			handle;

	while (owned == NULL && vdb_open_take(&appender->table, image_bytes, idle_us, &fill, &handle))
		owned = adopt(appender, ref, handle, &fill);
	return owned;
}

/*
 * Return the segment that this backend appended to last, or NULL.  *busy is set if another backend
 * owns it now.
 */
static VdbOwned *
take_again(VdbAppender *appender, const VdbTableRef *ref, uint32 image_bytes, bool *busy)
{
	int			handle = appender->last_handle;
	VdbSegmentFill fill;
	VdbRetake	retake;

	*busy = false;
	if (handle < 0)
		return NULL;
	retake = vdb_open_retake(&appender->table, handle, appender->last_segment, image_bytes, &fill);
	*busy = (retake == VDB_RETAKE_BUSY);
	if (retake == VDB_RETAKE_DONE)
		return adopt(appender, ref, handle, &fill);
	appender->last_handle = -1;
	return NULL;
}

/*
 * Return a segment with room, an open one if possible, else a new one; or NULL if the pool is full.
 * Sessions that insert by turns share a segment.  When two are found to do so at the same time the
 * later one gets its own, a new one if necessary.  Each then keeps to few blocks, and to memory
 * that it has already mapped.
 */
static VdbOwned *
find_segment(VdbAppender *appender, const VdbTableRef *ref, uint32 image_bytes)
{
	bool		busy;
	VdbOwned   *owned = take_again(appender, ref, image_bytes, &busy);

	if (owned == NULL)
		owned = take_handed_back(appender, ref, image_bytes, busy ? VDB_IDLE_US : 0);
	if (owned == NULL && claim_segments(appender, ref))
		owned = vdb_owned_lowest_spare(appender);
	if (owned == NULL && busy)
		owned = take_handed_back(appender, ref, image_bytes, 0);
	return owned;
}

/* Make a segment with room for the row the current one.  Returns false if the pool is full. */
static bool
next_segment(VdbAppender *appender, const VdbTableRef *ref, uint32 image_bytes)
{
	VdbOwned   *owned;

	if (appender->current != NULL)
		vdb_owned_retire(appender);

	owned = vdb_owned_lowest_spare(appender);
	if (owned == NULL)
	{
		if (vdb_owned_room() == 0)
			vdb_owned_give_all(appender);
		if (vdb_owned_room() == 0)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("too many rows reserved in one step"),
					 errdetail("They fill %d segments of the pool.", VDB_OPEN_PER_BACKEND)));
		owned = find_segment(appender, ref, image_bytes);
	}
	if (owned == NULL)
		return false;
	owned->state = VDB_OWNED_CURRENT;
	appender->current = owned;
	return true;
}

/* ---- reserving ---- */

/*
 * Write a wide row's data to the main fork.  Its WAL needs no flush of its own: the commit's flush
 * covers it.  If the row outlives its WAL in a crash, its transaction id is lost, too.
 */
static void
write_wide(Relation rel, const VdbTableRef *ref, HeapTuple tuple, bool decoded, bool first,
		   VdbWideRef *wide)
{
	const char *data = (const char *) tuple->t_data + tuple->t_data->t_hoff;
	VdbPageWriter *writer;
	VdbFreeRun	run;
	XLogRecPtr	lsn;

	wide->data_bytes = tuple->t_len - tuple->t_data->t_hoff;
	wide->crc = vdb_crc32c(data, wide->data_bytes);
	if (vdb_map_take_free_pages(ref, (uint32) vdb_pages_needed(wide->data_bytes), true,
								vdb_pages_removable, rel, &run))
		writer = vdb_page_writer_begin_at(rel, run.first, wide->data_bytes);
	else
		writer = vdb_page_writer_begin(rel, wide->data_bytes);
	if (decoded)
		vdb_page_writer_for_decoding(writer, first);
	vdb_page_writer_append(writer, data, wide->data_bytes);
	wide->first_page = vdb_page_writer_end(writer, &wide->npages, &lsn);
}

/* See rows.h. */
bool
vdb_rows_reserve(Relation rel, const VdbTableRef *ref, HeapTuple tuple, bool decoded,
				 VdbRowAddress *address)
{
	VdbAppender *appender;
	VdbSegmentFill *fill;
	uint32		image_bytes;
	uint16		slot;
	uint16		offset;
	uint8		block;
	bool		wide;

	image_bytes = vdb_row_image_bytes(tuple->t_len, tuple->t_data->t_hoff, &wide);
	appender = vdb_appender_get(ref, image_bytes);
	if (appender->nretired > 0 && appender->outstanding == 0)
		vdb_owned_close_retired(appender);

	if (appender->current == NULL ||
		!vdb_fill_find(&appender->current->fill, image_bytes, &block, &offset))
	{
		if (!next_segment(appender, ref, image_bytes))
			return false;
		if (!vdb_fill_find(&appender->current->fill, image_bytes, &block, &offset))
			elog(ERROR, "no room for %u bytes in segment %u", image_bytes,
				 appender->current->fill.segment);
	}
	fill = &appender->current->fill;
	slot = vdb_fill_add(fill, image_bytes, block, offset);
	appender->outstanding++;
	appender->average_scaled += image_bytes;
	appender->average_scaled -= (appender->average_scaled - image_bytes) / VDB_AVERAGE_SHARE;

	address->row = ((VdbRowNumber) fill->first_lb << 8) + slot;
	address->block = fill->segment + block;
	address->offset = offset;
	address->slot = vdb_slot_make(block, offset);
	address->slot_block = fill->segment;
	address->slot_offset = (uint16) (VDB_SEGMENT_SLOTS + slot * sizeof(uint16));
	address->wide = wide;
	memset(&address->wide_ref, 0, sizeof(address->wide_ref));
	if (wide)
		write_wide(rel, ref, tuple, decoded, appender->outstanding == 1, &address->wide_ref);

	Assert(address->slot != VDB_SLOT_EMPTY && address->slot != VDB_SLOT_REMOVED);
	return true;
}

/* Note that a place was put or given up, so that it is no longer outstanding. */
static void
address_done(const VdbTableRef *ref)
{
	VdbAppender *appender = vdb_appender_find(ref);

	if (appender != NULL && appender->outstanding > 0)
		appender->outstanding--;
}

/* See rows.h.  The pages of a wide row are left to VACUUM. */
void
vdb_rows_unreserve(const VdbTableRef *ref, const VdbRowAddress *address)
{
	VdbAppender *appender = vdb_appender_find(ref);

	if (appender != NULL && appender->current != NULL &&
		appender->current->fill.segment == address->slot_block)
		vdb_fill_back(&appender->current->fill,
					  (uint16) ((address->slot_offset - VDB_SEGMENT_SLOTS) / sizeof(uint16)),
					  (uint8) (address->block - address->slot_block), address->offset);
	address_done(ref);
}

/* ---- putting ---- */

/* Return the bytes of prefix, header, data (or VdbWideRef) and checksum. */
static inline uint32
put_bytes(const VdbRowAddress *address, HeapTuple tuple)
{
	if (address->wide)
		return VDB_ROW_EXTRA_BYTES + tuple->t_data->t_hoff + sizeof(VdbWideRef);
	return VDB_ROW_EXTRA_BYTES + tuple->t_len;
}

/* Count a row that was put.  The pool's counters are updated by flush_tally. */
static void
count_put(const VdbTableRef *ref, uint32 bytes)
{
	vdb_tally_pool = vdb_pool_shared(ref->pool);
	vdb_tally_rows++;
	vdb_changes++;
	vdb_tally_bytes += bytes;
}

/* See rows.h.  The publish comes after the data everywhere: in memory, on media and in redo. */
void
vdb_rows_put(VdbScmChange *change, const VdbTableRef *ref, const VdbRowAddress *address,
			 HeapTuple tuple)
{
	static PGAlignedBlock image;
	HeapTupleHeader hdr = tuple->t_data;
	uint32		bytes = put_bytes(address, tuple);
	VdbRowPrefix prefix;
	uint32		crc;

	Assert(bytes <= VDB_ROW_MAX_INLINE);
	Assert(address->offset + bytes <= VDB_POOL_BLOCK_BYTES);
	Assert(HeapTupleHeaderIsSpeculative(hdr) || vdb_tid_to_row(&hdr->t_ctid) == address->row);

	prefix.len = bytes - VDB_ROW_EXTRA_BYTES;
	/* lockers may be carried over */
	prefix.xmax_epoch = vdb_pool_shared(ref->pool)->epoch;
	if (address->wide)
	{
		prefix.len |= VDB_ROW_WIDE;
		memcpy(image.data + sizeof(prefix), hdr, hdr->t_hoff);
		memcpy(image.data + sizeof(prefix) + hdr->t_hoff, &address->wide_ref, sizeof(VdbWideRef));
	}
	else
		memcpy(image.data + sizeof(prefix), hdr, tuple->t_len);
	memcpy(image.data, &prefix, sizeof(prefix));
	crc = vdb_row_crc(address->row, prefix.len, image.data + sizeof(prefix),
					  VDB_ROW_LEN(prefix.len));
	memcpy(image.data + bytes - sizeof(crc), &crc, sizeof(crc));

	vdb_scm_change_write(change, address->block, address->offset, image.data, (uint16) bytes);
	vdb_scm_change_publish(change, address->slot_block, address->slot_offset, &address->slot,
						   sizeof(address->slot));
	address_done(ref);
	count_put(ref, bytes);
}

/* See rows.h. */
bool
vdb_rows_put_fits(const VdbScmChange *change, const VdbRowAddress *address, HeapTuple tuple)
{
	uint32		bytes = put_bytes(address, tuple);

	if (vdb_scm_change_nblocks(change) + 2 > VDB_CHANGE_MAX_BLOCKS)
		return false;
	if (address->block == address->slot_block)
		return vdb_scm_change_fits(change, address->block, (uint16) (bytes + sizeof(uint64)));
	return vdb_scm_change_fits(change, address->block, (uint16) bytes) &&
		vdb_scm_change_fits(change, address->slot_block, sizeof(uint64));
}

/* ---- handing back ---- */

/* See rows.h.  A table with places outstanding keeps its segments. */
void
vdb_rows_hand_back(void)
{
	vdb_owned_give_all(NULL);
	flush_tally();
}

/*
 * Give up pending segments and outstanding places, and hand back what is owned, at the end of a
 * transaction.
 */
static void
transaction_ended(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_ABORT:
			vdb_changes += VDB_CHANGES_ABORT;
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PREPARE:
			break;
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			return;
	}

	if (vdb_pending.nsegments > 0)
		drop_pending(0);
	vdb_owned_forget_outstanding();
	vdb_rows_hand_back();
	vdb_appenders_trim();
}

/* Set while a subtransaction runs that doesn't concern the places reserved before it. */
static bool keep_addresses = false;

/* See rows.h. */
void
vdb_rows_keep_addresses(bool keep)
{
	keep_addresses = keep;
}

/* Give up pending segments and outstanding places when a subtransaction aborts. */
static void
subtransaction_ended(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (event != SUBXACT_EVENT_ABORT_SUB || keep_addresses)
		return;
	vdb_changes += VDB_CHANGES_ABORT;
	if (vdb_pending.nsegments > 0)
		drop_pending(0);
	vdb_owned_forget_outstanding();
}

/* ---- functions for other parts ---- */

/* See rows.h. */
uint64
vdb_rows_changes(void)
{
	return vdb_changes;
}

/* See rows.h. */
void
vdb_rows_note_change(void)
{
	vdb_changes++;
}

/* See rows.h. */
bool
vdb_rows_segment_open(const VdbTableRef *ref, VdbBlock segment, int64 idle_ms)
{
	VdbOpenTable table;

	vdb_open_identify(ref, &table);
	return vdb_open_status(&table, segment, idle_ms);
}

/* See rows.h. */
VdbSegmentState
vdb_rows_segment_state(const VdbTableRef *ref, VdbBlock segment, int64 *idle_ms)
{
	VdbOpenTable table;

	vdb_open_identify(ref, &table);
	return vdb_open_state(&table, segment, idle_ms);
}

/*
 * Reserve shared memory and register the transaction callbacks.  Called from _PG_init, while
 * preloading.
 */
void
vdb_rows_init(void)
{
	vdb_shmem_register("vdb open segments", vdb_open_shmem_size(), true, vdb_open_shmem_init);
	RegisterXactCallback(transaction_ended, NULL);
	RegisterSubXactCallback(subtransaction_ended, NULL);
	vdb_multi_init();
}
