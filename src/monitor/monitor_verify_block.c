/*-------------------------------------------------------------------------
 *
 * monitor_verify_block.c
 *	  vdb.verify: checking one logical block, its row versions, and its bit in the visibility
 *	  map.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/procarray.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "monitor/monitor_verify.h"
#include "pages/pages.h"

/* See monitor_verify.h. */
void
vdb_verify_locate_block(VdbVerify *verify, VdbLogicalBlock lb)
{
	if (lb == VDB_MAX_LOGICAL_BLOCK)
		strlcpy(verify->location, "table", VDB_VERIFY_LOCATION_BYTES);
	else
		snprintf(verify->location, VDB_VERIFY_LOCATION_BYTES, "logical block %u", lb);
}

/* ---- row versions in segments ---- */

/* Check that a stored transaction id is not in the future, and not before relfrozenxid. */
static void
check_xid(VdbVerify *verify, const VdbVersion *version, const char *which, TransactionId xid)
{
	if (!TransactionIdIsNormal(xid))
		return;
	if (TransactionIdFollowsOrEquals(xid, ReadNextTransactionId()))
		VDB_ERROR_AT_LOCATION(verify, _("row %u has %s %u, which is in the future"),
							  vdb_row_index(version->row), which, xid);
	else if (TransactionIdIsNormal(verify->relfrozenxid) &&
			 TransactionIdPrecedes(xid, verify->relfrozenxid))
		VDB_ERROR_AT_LOCATION(verify, _("row %u has %s %u, which precedes relfrozenxid %u"),
							  vdb_row_index(version->row), which, xid, verify->relfrozenxid);
}

/* Check the ids and the next version in a row version's header. */
static void
check_header(VdbVerify *verify, const VdbVersion *version)
{
	const HeapTupleHeaderData *hdr = &version->hdr;
	VdbRowNumber next;

	/* a speculative insertion that was taken back has none, and is marked invalid */
	if (!TransactionIdIsValid(HeapTupleHeaderGetRawXmin(hdr)) && !HeapTupleHeaderXminInvalid(hdr))
		VDB_ERROR_AT_LOCATION(verify, _("row %u has no xmin"), vdb_row_index(version->row));
	if (!HeapTupleHeaderXminInvalid(hdr))
		check_xid(verify, version, "xmin", HeapTupleHeaderGetXmin(hdr));
	if (!(hdr->t_infomask & (HEAP_XMAX_INVALID | HEAP_XMAX_IS_MULTI)))
		check_xid(verify, version, "xmax", HeapTupleHeaderGetRawXmax(hdr));

	if (HeapTupleHeaderIsSpeculative(hdr) || HeapTupleHeaderIndicatesMovedPartitions(hdr))
		return;
	next = vdb_tid_to_row(&hdr->t_ctid);
	if (next == VDB_ROW_NONE || vdb_row_lb(next) >= vdb_map_limit(&verify->ref))
		VDB_ERROR_AT_LOCATION(verify,
							  _("row %u refers to a next version (%u,%u) that was never stored"),
							  vdb_row_index(version->row),
							  ItemPointerGetBlockNumberNoCheck(&hdr->t_ctid),
							  ItemPointerGetOffsetNumberNoCheck(&hdr->t_ctid));
}

/*
 * Return the number of bytes that the value at 'at' takes, at most 'room'. Return 0 if it doesn't
 * fit, or can't be a value of the attribute's kind.
 */
static Size
value_bytes(Form_pg_attribute att, const char *at, Size room)
{
	Size		bytes;

	if (att->attlen > 0)
		return att->attlen <= room ? att->attlen : 0;
	if (room == 0)
		return 0;
	if (att->attlen == -2)
	{
		const char *end = memchr(at, '\0', room);

		return end == NULL ? 0 : (Size) (end - at) + 1;
	}
	if (VARATT_IS_EXTERNAL(at))
		return 0;				/* vdb tables have no TOAST table */
	if (!VARATT_IS_1B(at) && room < VARHDRSZ)
		return 0;
	bytes = VARSIZE_ANY(at);
	if (bytes < (VARATT_IS_1B(at) ? VARHDRSZ_SHORT : VARHDRSZ))
		return 0;
	return bytes <= room ? bytes : 0;
}

/* Check that all attributes of a tuple lie inside it.  The tuple has at least t_hoff bytes. */
static void
check_attributes(VdbVerify *verify, uint8 index, const HeapTupleHeaderData *tuple, uint32 len)
{
	TupleDesc	desc = RelationGetDescr(verify->rel);
	int			natts = HeapTupleHeaderGetNatts(tuple);
	bool		nulls = (tuple->t_infomask & HEAP_HASNULL) != 0;
	const char *data = (const char *) tuple + tuple->t_hoff;
	Size		size = len - tuple->t_hoff;
	Size		off = 0;

	if (natts > desc->natts)
	{
		VDB_ERROR_AT_LOCATION(verify, _("row %u has %d attributes, the table has %d"), index, natts,
							  desc->natts);
		return;
	}
	if (tuple->t_hoff < SizeofHeapTupleHeader + (nulls ? BITMAPLEN(natts) : 0))
	{
		VDB_ERROR_AT_LOCATION(verify, _("row %u has no room for its null bitmap"), index);
		return;
	}
	for (int i = 0; i < natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Size		bytes;

		if (nulls && att_isnull(i, tuple->t_bits))
			continue;
		if (att->attlen == -1)
			off = off < size ? att_align_pointer(off, att->attalign, -1, data + off) : off;
		else
			off = att_align_nominal(off, att->attalign);
		bytes = off < size ? value_bytes(att, data + off, size - off) : 0;
		if (bytes == 0)
		{
			VDB_ERROR_AT_LOCATION(verify,
								  _("row %u has a damaged value of attribute %d at byte %zu of %zu"),
								  index, i + 1, off, size);
			return;
		}
		off += bytes;
	}
}

/* Copy the row versions of a block to the arena.  Return their number.  Block lock held. */
static int
copy_rows(VdbVerify *verify, const VdbExtent *extent)
{
	int			n = 0;
	Size		used = 0;

	Assert(LWLockHeldByMe(vdb_block_lock(vdb_block_lock_no(verify->ref.slot, verify->lb))));
	Assert(extent->kind == VDB_EXTENT_SEGMENT);
	for (int i = 0; i < VDB_LB_ROWS; i++)
	{
		VdbVersion *version = &verify->versions[n];
		bool		removed;

		if (!vdb_rows_version(&verify->ref, extent, verify->lb, (uint8) i, version, &removed))
			continue;
		if (used + VDB_ROW_COPY_BYTES(version->len) > VDB_SEGMENT_BYTES)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("rows of the segment in pool block %u overlap", extent->ref)));
		vdb_rows_copy(&verify->ref, version, verify->arena + used);
		used += VDB_ROW_COPY_BYTES(version->len);
		n++;
	}
	return n;
}

/* Report the first pair of rows that share bytes. */
static void
check_overlaps(VdbVerify *verify, int n)
{
	for (int i = 1; i < n; i++)
	{
		const VdbVersion *a = &verify->versions[i];

		for (int j = 0; j < i; j++)
		{
			const VdbVersion *b = &verify->versions[j];

			if (a->block == b->block &&
				a->offset < b->offset + VDB_ROW_EXTRA_BYTES + b->len &&
				b->offset < a->offset + VDB_ROW_EXTRA_BYTES + a->len)
			{
				VDB_ERROR_AT_LOCATION(verify, _("rows %u and %u overlap in pool block %u"),
									  vdb_row_index(b->row), vdb_row_index(a->row), a->block);
				return;
			}
		}
	}
}

/* Check a wide row whose part in the segment is intact. */
static void
check_wide(void *arg)
{
	VdbVerify  *verify = arg;
	HeapTuple	tuple = vdb_rows_complete_wide(verify->rel, verify->image, verify->version->len);

	check_attributes(verify, vdb_row_index(verify->version->row), tuple->t_data, tuple->t_len);
	pfree(tuple);
}

/*
 * Check a wide row in a subtransaction of its own.  Damage then concerns this row only, and the
 * others are still checked.
 */
static void
try_wide(VdbVerify *verify)
{
	snprintf(verify->location, VDB_VERIFY_LOCATION_BYTES, "logical block %u, row %u", verify->lb,
			 vdb_row_index(verify->version->row));
	(void) vdb_verify_try(verify->findings, verify->location, check_wide, verify);
	vdb_verify_locate_block(verify, verify->lb);
}

/* Check the n row versions in the arena. */
static void
check_versions(VdbVerify *verify, int n)
{
	char	   *image = verify->arena;

	Assert(n >= 0 && n <= VDB_LB_ROWS);
	check_overlaps(verify, n);
	for (int i = 0; i < n; i++)
	{
		const VdbVersion *version = &verify->versions[i];
		VdbRowDamage damage;

		check_header(verify, version);
		verify->version = version;
		verify->image = image;
		if (vdb_rows_may_lack_data(&version->hdr))
			 /* nothing to read */ ;
		else if (vdb_rows_damaged(version, image, &damage))
			VDB_ERROR_AT_LOCATION(verify,
								  _("row %u in pool block %u at offset %u: wrong checksum, expected %08X, found %08X"),
								  vdb_row_index(damage.row), damage.block, damage.offset,
								  damage.expected, damage.found);
		else if (version->wide)
			try_wide(verify);
		else
			check_attributes(verify, vdb_row_index(version->row),
							 (HeapTupleHeader) image, version->len);
		image += VDB_ROW_COPY_BYTES(version->len);
	}
}

/* ---- striped rows of one block ---- */

/*
 * Check the xmax of a delta record.  A committed one that precedes relfrozenxid belongs to a row
 * that VACUUM should have removed.
 */
static void
check_drec_xmax(VdbVerify *verify, const VdbDeltaRecord *drec)
{
	VdbVersion	version;

	if (!(drec->infomask & HEAP_XMAX_COMMITTED) ||
		(drec->infomask & (HEAP_XMAX_INVALID | HEAP_XMAX_IS_MULTI)) ||
		HEAP_XMAX_IS_LOCKED_ONLY(drec->infomask))
		return;
	memset(&version, 0, sizeof(version));
	version.row = vdb_row_make(verify->lb, drec->index);
	check_xid(verify, &version, "xmax", drec->xmax);
}

/* Check that the delta records of a striped block are of rows that the stripe has. */
static void
check_drecs(VdbVerify *verify, const VdbSeenStripe *seen)
{
	const VdbStripeMeta *meta = seen->meta;
	VdbStripe  *stripe = vdb_stripe_open(verify->rel, vdb_stripe_address(meta));
	uint32		first_pos;
	VdbRowSet	present;

	if (!vdb_stripe_lb(stripe, vdb_lb_index(verify->lb), &first_pos, present))
		VDB_ERROR_AT_LOCATION(verify, _("stripe %u does not cover the logical block"),
							  meta->stripe_id);
	else
		for (int i = 0; verify->view->any && i < verify->view->ndrecs; i++)
		{
			const VdbDeltaRecord *drec = &verify->view->drecs[i];

			check_drec_xmax(verify, drec);
			if (!vdb_rowset_has(present, drec->index))
				VDB_ERROR_AT_LOCATION(verify,
									  _("a delta record changes row %u, which stripe %u does not have"),
									  drec->index, meta->stripe_id);
			if (!(drec->flags & VDB_DELTA_MOVED) && drec->next_lb >= vdb_map_limit(&verify->ref))
				VDB_ERROR_AT_LOCATION(verify,
									  _("row %u refers to a next version in logical block %u, which was never handed out"),
									  drec->index, drec->next_lb);
		}
	vdb_stripe_release(stripe);
}

/* ---- the visibility map ---- */

/* Return the number of rows of the block that the stripe has and that are not removed. */
static int
rows_left(VdbVerify *verify, const VdbSeenStripe *seen)
{
	const VdbStripeMeta *meta = seen->meta;
	VdbStripe  *stripe = vdb_stripe_open(verify->rel, vdb_stripe_address(meta));
	uint32		first_pos;
	VdbRowSet	present;
	int			n = 0;

	if (vdb_stripe_lb(stripe, vdb_lb_index(verify->lb), &first_pos, present))
	{
		if (verify->view->any)
			vdb_rowset_subtract(present, verify->view->deleted);
		n = vdb_rowset_count(present);
	}
	vdb_stripe_release(stripe);
	return n;
}

/* Return the transaction that deleted or updated the row of a delta record, which has one. */
static TransactionId
delta_updater(const VdbDeltaRecord *drec)
{
	HeapTupleHeaderData hdr;

	memset(&hdr, 0, sizeof(hdr));
	hdr.t_infomask = drec->infomask;
	HeapTupleHeaderSetXmax(&hdr, drec->xmax);
	return HeapTupleHeaderGetUpdateXid(&hdr);
}

/*
 * Return true if a row of the block was deleted or updated, or is being so.
 *
 * An aborted deleter's delta record keeps a block from being marked all-visible, but may be found
 * in a marked one: a crash can lose the record of the delete together with that of the clearing
 * before it, and leave the delta record.
 */
static bool
any_deleted(const VdbOverlayView *view)
{
	for (int i = 0; view->any && i < view->ndrecs; i++)
	{
		const VdbDeltaRecord *drec = &view->drecs[i];
		TransactionId updater;

		if ((drec->infomask & HEAP_XMAX_INVALID) || HEAP_XMAX_IS_LOCKED_ONLY(drec->infomask))
			continue;
		updater = delta_updater(drec);
		if (TransactionIdIsInProgress(updater) || TransactionIdDidCommit(updater))
			return true;
	}
	return false;
}

/*
 * Check a block whose bit is set.  Index-only scans take every row of it for visible, so our
 * snapshot must see all of them.  Kind and overlay were read with the bit, under the block lock.
 * 'seen' is NULL if the stripe is younger than our walk of the range.
 */
static void
check_all_visible(VdbVerify *verify, uint8 kind, const VdbSeenStripe *seen)
{
	VdbBatch   *batch;
	int			visible;
	int			left;

	if (kind == VDB_EXTENT_REMOVED)
		return;					/* it had no row when its bit was set */
	if (kind != VDB_EXTENT_STRIPE)
		VDB_ERROR_AT_LOCATION(verify, _("it is marked all-visible, but not in a stripe"));
	else if (any_deleted(verify->view))
		VDB_ERROR_AT_LOCATION(verify,
							  _("it is marked all-visible, but rows of it were deleted or updated"));
	if (seen == NULL)
		return;
	batch = vdb_batch_create(verify->rel);
	visible = vdb_batch_read(batch, verify->lb, GetActiveSnapshot(), InvalidTransactionId, false);
	left = rows_left(verify, seen);
	if (visible != left)
		VDB_ERROR_AT_LOCATION(verify,
							  _("it is marked all-visible, but %d of its %d rows are visible"),
							  visible, left);
	vdb_batch_free(batch);
}

/* Return the stripe with this meta among those seen in the range, or NULL. */
static const VdbSeenStripe *
seen_stripe(const VdbVerify *verify, VdbBlock meta_block)
{
	for (int i = 0; i < verify->seen->nstripes; i++)
		if (verify->seen->stripes[i].meta_block == meta_block)
			return &verify->seen->stripes[i];
	return NULL;
}

/* Add what the stripe's spill has of the block to the view. */
static void
add_spilled_rows(VdbVerify *verify, const VdbSpillAddress *spill)
{
	VdbBlockDeltaImage image;

	Assert(spill->npages > 0);
	vdb_spill_read(verify->rel, spill, verify->lb, &image);
	vdb_spill_view(&image, verify->lb, verify->view);
}

/* Check the logical block verify->lb.  See monitor_verify.h. */
void
vdb_verify_block(VdbVerify *verify)
{
	const VdbSeenStripe *stripe = NULL;
	VdbExtent	extent;
	Buffer		buffer = InvalidBuffer;
	bool		visible;
	int			nrows = 0;
	VdbSpillAddress spill = {0};

	verify->view->any = false;
	(void) vdb_visible_peek(verify->rel, verify->lb, &buffer);
	vdb_lock_block(&verify->ref, verify->lb, LW_SHARED);
	vdb_map_lookup(&verify->ref, verify->lb, &extent);
	if (extent.kind == VDB_EXTENT_SEGMENT)
		nrows = copy_rows(verify, &extent);
	else if (extent.kind == VDB_EXTENT_STRIPE)
	{
		stripe = seen_stripe(verify, extent.ref);
		vdb_overlay_read(&verify->ref, &extent, verify->view);
		spill = vdb_map_meta(verify->ref.pool, extent.ref)->spill;
	}
	visible = BufferIsValid(buffer) && vdb_visible_test(verify->lb, buffer);
	vdb_unlock_block(&verify->ref, verify->lb);
	if (BufferIsValid(buffer))
		ReleaseBuffer(buffer);
	check_versions(verify, nrows);
	if (extent.spilled)
		add_spilled_rows(verify, &spill);
	/* a stripe that appeared since the walk of the range is checked by the next verification */
	if (stripe != NULL)
		check_drecs(verify, stripe);
	if (visible)
		check_all_visible(verify, extent.kind, stripe);
}
