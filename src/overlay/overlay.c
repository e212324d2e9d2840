/*-------------------------------------------------------------------------
 *
 * overlay.c
 *	  Reading and changing the overlay of one logical block.
 *
 * A block delta belongs to one logical block and is guarded by its block lock: shared to read,
 * exclusive to change.  The map entry holds its address.
 *
 * Changes to delta records aren't flushed.  So after a crash any of their sectors may have
 * survived although the WAL record was lost.  The code relies on the following:
 *
 * - No header and no delta record crosses a sector, and the first word of either is stored last.
 *   So each is there wholly or not at all.
 * - A delta record that survived its WAL record carries an xmax that never committed (lost with
 *   its epoch, or aborted), and readers recognize it as such.
 * - A delta record that counts is overwritten in place only where the old first word is also right
 *   for the new rest (see vdb_block_delta_room_for).  Otherwise the new delta record takes another
 *   place, and the old one no longer counts.
 * - A row is added only to a group delta of its own xmax (overlay_delta.c).
 * - If only the address or only the block delta survived its WAL record, the other one shows that:
 *   the block delta at an address must name the logical block.  See vdb_overlay_find.
 * - If both survived, everything looks as if the WAL record hadn't been lost, but a standby has
 *   neither.  So a block delta of an earlier epoch is logged once more before it is used
 *   (adopt_delta).
 *
 * Every change that moves committed delta records (growth), sets bits of the deletion bitmap or
 * frees block deltas is flushed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/multixact.h"
#include "access/transam.h"

#include "base/vdb_stop_point.h"
#include "overlay/overlay_internal.h"

#define DELTA_WORD_BYTES		8	/* bytes of the word from capacity to epoch */

/* Smaller block deltas are not shrunk: the gain is not worth a flush of WAL. */
#define VDB_SHRINK_BYTES	2048

/*
 * Return the block delta at an address if it belongs to the LB, else NULL.
 *
 * An address stored by a lost change may lead to a free block delta, to that of another LB, or to a
 * block that is something else by now.  The LB then has no block delta.  If this epoch stored the
 * address, it can only be damage, which raises ERRCODE_DATA_CORRUPTED.
 */
const VdbBlockDelta *
vdb_overlay_find(const VdbTableRef *ref, VdbLogicalBlock lb, uint16 epoch,
				 VdbBlock block, uint16 offset)
{
	const VdbPoolShared *shared = vdb_pool_shared(ref->pool);
	const VdbBlockDelta *bdelta;

	if (block == VDB_BLOCK_NONE)
		return NULL;
	if (vdb_overlay_is_slab(ref, block))
	{
		const VdbBlockDeltaClass *class =
			&vdb_block_delta_classes[vdb_overlay_slab(ref, block)->size_class];

		bdelta = vdb_block_delta_at(ref->pool, block, offset);
		if (offset >= class->first &&
			(offset - class->first) % class->bytes == 0 &&
			(offset - class->first) / class->bytes < class->deltas &&
			bdelta->capacity == class->capacity && bdelta->lb == lb &&
			bdelta->table_slot == ref->slot && bdelta->table_generation == ref->generation)
			return bdelta;
	}
	if (shared->epoch_begun && epoch == (uint16) shared->epoch)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("damaged block delta in pool block %u, byte %u", block, offset),
				 errdetail("It should hold the changes to logical block %u.", lb)));
	return NULL;
}

/* Return the block delta that a map entry refers to, or NULL. */
static inline const VdbBlockDelta *
extent_delta(const VdbTableRef *ref, const VdbExtent *extent)
{
	return vdb_overlay_find(ref, extent->lb, extent->overlay_epoch,
							extent->overlay_block, extent->overlay_offset);
}

/* Clear the xmax of a copied delta record if it is lost. */
static void
sanitize(const VdbTableRef *ref, VdbLogicalBlock lb, VdbDeltaRecord *drec)
{
	bool		lost;

	if (drec->infomask & HEAP_XMAX_IS_MULTI)
		lost = MultiXactIdIsValid(drec->xmax) &&
			vdb_epoch_lost_multi(ref->pool, drec->xmax_epoch, drec->xmax);
	else
		lost = TransactionIdIsNormal(drec->xmax) &&
			vdb_epoch_lost(ref->pool, drec->xmax_epoch, drec->xmax);
	if (likely(!lost))
		return;
	drec->xmax = InvalidTransactionId;
	drec->infomask &= ~(HEAP_XMAX_BITS | HEAP_COMBOCID);
	drec->infomask |= HEAP_XMAX_INVALID;
	drec->infomask2 &= ~(HEAP_KEYS_UPDATED | HEAP_HOT_UPDATED);
	drec->flags &= ~VDB_DELTA_MOVED;
	drec->next_lb = lb;
	drec->next_index = drec->index;
}

/* See overlay.h.  Block lock held in either mode. */
void
vdb_overlay_read(const VdbTableRef *ref, const VdbExtent *extent, VdbOverlayView *view)
{
	vdb_block_delta_view(extent_delta(ref, extent), extent->lb, view);
	for (int i = 0; i < view->ndrecs; i++)
		sanitize(ref, extent->lb, &view->drecs[i]);
}

/* See overlay.h.  Block lock held in either mode.  A removed row has no delta record. */
bool
vdb_overlay_row(const VdbTableRef *ref, const VdbExtent *extent, uint8 index,
				bool *deleted, VdbDeltaRecord *drec)
{
	const VdbBlockDelta *bdelta = extent_delta(ref, extent);
	int			at;

	*deleted = (bdelta != NULL && vdb_rowset_has(bdelta->deleted, index));
	if (bdelta == NULL || *deleted)
		return false;
	at = vdb_block_delta_find(bdelta, index);
	if (at < 0)
		return false;
	*drec = vdb_delta_record_unpack(vdb_block_delta_record(bdelta, at), extent->lb, index);
	sanitize(ref, extent->lb, drec);
	return true;
}

/* ---- writing block deltas ---- */

/* Return whether the memory of a free block delta is zero, as it should be. */
static bool
is_zero(const char *bytes, int len)
{
	for (int i = 0; i < len; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

/*
 * Add a new block delta to the change.  The block delta was free, so its memory is zero except for
 * what a lost change left.  Zeros are written only where the memory differs.
 */
static void
write_delta(VdbScmChange *change, const VdbTableRef *ref, const VdbBlockDeltaAddress *address,
			VdbBlockDeltaImage *image, int ndrecs)
{
	const VdbBlockDeltaClass *class = &vdb_block_delta_classes[address->size_class];
	const char *memory = (const char *) vdb_block_delta_at(ref->pool, address->block,
														   address->offset);
	uint32		word = offsetof(VdbBlockDelta, capacity);
	uint32		end = ndrecs > 0 ? vdb_delta_record_offset(ndrecs - 1) + sizeof(VdbDeltaRecord)
		: sizeof(VdbBlockDelta);

	Assert(ndrecs <= class->capacity && end <= class->bytes);
	image->header.capacity = class->capacity;
	image->header.epoch = vdb_pool_shared(ref->pool)->epoch;
	vdb_scm_change_write(change, address->block, address->offset, image->bytes, word);
	vdb_scm_change_write(change, address->block, address->offset + word + DELTA_WORD_BYTES,
						 image->bytes + word + DELTA_WORD_BYTES, end - word - DELTA_WORD_BYTES);
	if (!is_zero(memory + end, class->bytes - end))
		vdb_scm_change_zero(change, address->block, address->offset + end, class->bytes - end);
	vdb_scm_change_publish(change, address->block, address->offset + word,
						   image->bytes + word, DELTA_WORD_BYTES);
}

/*
 * Make an image of what counts in the LB's block delta (which may be NULL): the deletion bitmap,
 * and the delta records of rows that aren't removed.  Returns the number of delta records.
 */
static int
copy_delta(const VdbTableRef *ref, const VdbExtent *extent, VdbBlockDeltaImage *image)
{
	VdbOverlayView view;
	int			n = 0;

	vdb_overlay_read(ref, extent, &view);
	vdb_image_init(image, ref, extent->lb, view.deleted);
	for (int i = 0; i < view.ndrecs; i++)
		vdb_image_add(image, &n, &view.drecs[i]);
	return n;
}

/* ---- growing ---- */

/*
 * Return the class of the preceding LB's block delta.  A transaction that changes most rows of one
 * LB probably goes on with the next.  The neighbor's block lock isn't held: a wrong answer only
 * costs room.
 */
static int
neighbor_class(const VdbTableRef *ref, const VdbExtent *extent)
{
	const VdbMapEntry *entry;

	if (vdb_lb_index(extent->lb) == 0)
		return 0;
	entry = (const VdbMapEntry *)
		((const char *) vdb_pool_block(ref->pool, extent->node) + extent->entry_offset) - 1;
	if (entry->kind != VDB_EXTENT_STRIPE || !vdb_overlay_is_slab(ref, entry->overlay_block))
		return 0;
	return vdb_overlay_slab_at(ref->pool, entry->overlay_block)->size_class;
}

/*
 * Choose the class for 'want' delta records.  When a block delta is replaced, an eighth of the new
 * one stays free, so that replacing isn't soon needed again.
 */
static int
choose_class(const VdbTableRef *ref, const VdbExtent *extent, const VdbBlockDelta *old, int want)
{
	int			c;

	if (old == NULL)
		return Min(Max(vdb_overlay_class_for(want), neighbor_class(ref, extent)),
				   VDB_OVERLAY_CLASSES - 1);
	c = vdb_overlay_class_for(want);
	if (c + 1 < VDB_OVERLAY_CLASSES &&
		want > vdb_block_delta_classes[c].capacity - vdb_block_delta_classes[c].capacity / 8)
		c++;
	return c;
}

/*
 * Store the image as the LB's block delta at the address, and free the old block delta (which may
 * be NULL).  Makes one change, flushed if there is anything to lose.  Block lock and map lock are
 * held exclusive.
 */
static void
replace_delta(const VdbTableRef *ref, VdbExtent *extent, const VdbBlockDelta *old,
			  const VdbBlockDeltaAddress *address, VdbBlockDeltaImage *image, int ndrecs)
{
	VdbScmChange *change = vdb_scm_change_begin(ref->pool, old != NULL ? VDB_CHANGE_FLUSH : 0);

	vdb_scm_change_block_lock(change, vdb_block_lock_no(ref->slot, extent->lb));
	write_delta(change, ref, address, image, ndrecs);
	if (old != NULL)
		vdb_overlay_free(change, ref, extent->lb, extent->overlay_block, extent->overlay_offset);
	vdb_map_set_overlay(change, ref, extent, address->block, address->offset);
	vdb_scm_change_end(change);
	extent->overlay_block = address->block;
	extent->overlay_offset = address->offset;
	extent->overlay_epoch = (uint16) vdb_pool_shared(ref->pool)->epoch;
}

/*
 * Log the header and the address of a block delta that an earlier epoch took, because the record
 * that stored them may have been lost.  The block lock is held exclusive.
 */
static void
adopt_delta(const VdbTableRef *ref, VdbExtent *extent, const VdbBlockDelta *bdelta)
{
	VdbBlockDelta header = *bdelta;
	uint32		word = offsetof(VdbBlockDelta, capacity);
	VdbScmChange *change = vdb_scm_change_begin(ref->pool, 0);

	header.epoch = vdb_pool_shared(ref->pool)->epoch;
	vdb_scm_change_block_lock(change, vdb_block_lock_no(ref->slot, extent->lb));
	vdb_scm_change_write(change, extent->overlay_block, extent->overlay_offset, &header, word);
	vdb_scm_change_write(change, extent->overlay_block,
						 extent->overlay_offset + word + DELTA_WORD_BYTES,
						 (char *) &header + word + DELTA_WORD_BYTES,
						 sizeof(header) - word - DELTA_WORD_BYTES);
	vdb_scm_change_publish(change, extent->overlay_block, extent->overlay_offset + word,
						   (char *) &header + word, DELTA_WORD_BYTES);
	vdb_map_set_overlay(change, ref, extent, extent->overlay_block, extent->overlay_offset);
	vdb_scm_change_end(change);
	extent->overlay_epoch = (uint16) header.epoch;
}

/* See overlay.h. */
bool
vdb_overlay_prepare(const VdbTableRef *ref, VdbLogicalBlock lb, VdbExtent *extent, int more)
{
	const VdbBlockDelta *bdelta = extent_delta(ref, extent);
	LWLock	   *lock = vdb_map_lock(ref->slot);
	VdbBlock	old_block = extent->overlay_block;
	VdbBlockDeltaImage image;
	VdbBlockDeltaAddress address;
	int			live;
	bool		taken;

	Assert(lb == extent->lb && extent->node != VDB_BLOCK_NONE);
	Assert(VDB_BLOCK_LOCKED_EXCLUSIVE(ref, lb));
	Assert(vdb_pool_shared(ref->pool)->epoch_begun);
	Assert(more >= 0 && more <= VDB_OVERLAY_MAX_RECORDS - VDB_LB_ROWS);
	if (bdelta != NULL && vdb_block_delta_used(bdelta) + more <= bdelta->capacity)
	{
		if (bdelta->epoch != vdb_pool_shared(ref->pool)->epoch)
			adopt_delta(ref, extent, bdelta);
		return true;
	}
	live = copy_delta(ref, extent, &image);

	LWLockAcquire(lock, LW_EXCLUSIVE);
	taken = vdb_overlay_take(ref, choose_class(ref, extent, bdelta, live + more),
							 extent->overlay_block, extent->overlay_offset, &address);
	if (taken)
		replace_delta(ref, extent, bdelta, &address, &image, live);
	LWLockRelease(lock);
	VDB_STOP_POINT("overlay-prepared");
	if (taken && bdelta != NULL)
		vdb_overlay_reclaim(ref, &old_block, 1);
	return taken;
}

/* ---- changing ---- */

/* Return the LB's block delta, which must exist. */
static const VdbBlockDelta *
need_delta(const VdbTableRef *ref, const VdbExtent *extent)
{
	const VdbBlockDelta *bdelta = extent_delta(ref, extent);

	if (bdelta == NULL)
		elog(ERROR, "logical block %u has no block delta", extent->lb);
	return bdelta;
}

/*
 * Add a row to the group delta at a byte of the block delta's block.  The group delta gets one more
 * bit by a single store, which a standby repeats as a store of the same value.
 */
static void
join_drec(VdbScmChange *change, VdbBlock block, uint16 offset,
		  const VdbDeltaRecord *mass, const VdbDeltaRecord *packed)
{
	VdbLogicalBlock low = mass->next_lb | packed->next_lb;
	uint8		high = mass->next_index | packed->next_index;

	if (packed->next_lb != 0)
		vdb_scm_change_publish(change, block, offset + offsetof(VdbDeltaRecord, next_lb),
							   &low, sizeof(low));
	else
		vdb_scm_change_publish(change, block, offset + offsetof(VdbDeltaRecord, next_index),
							   &high, sizeof(high));
}

/* See overlay.h. */
void
vdb_overlay_set(VdbScmChange *change, const VdbTableRef *ref, const VdbExtent *extent,
				const VdbDeltaRecord *drec)
{
	const VdbBlockDelta *bdelta = need_delta(ref, extent);
	VdbDeltaRecord packed = vdb_delta_record_pack(drec, extent->lb);
	bool		joins;
	int			at = vdb_block_delta_room_for(bdelta, drec->index, &packed, &joins);
	uint16		offset;

	Assert(VDB_BLOCK_LOCKED_EXCLUSIVE(ref, extent->lb));
	Assert(vdb_scm_change_lists(change, vdb_block_lock_no(ref->slot, extent->lb)));
	Assert(!vdb_rowset_has(bdelta->deleted, drec->index));
	if (at < 0)
		elog(ERROR, "block delta of logical block %u is full", extent->lb);
	offset = extent->overlay_offset + vdb_delta_record_offset(at);
	if (joins)
	{
		join_drec(change, extent->overlay_block, offset, vdb_block_delta_record(bdelta, at),
				  &packed);
		return;
	}
	vdb_scm_change_write(change, extent->overlay_block, offset + offsetof(VdbDeltaRecord, xmax),
						 &packed.xmax, sizeof(VdbDeltaRecord) - offsetof(VdbDeltaRecord, xmax));
	vdb_scm_change_publish(change, extent->overlay_block, offset,
						   &packed, offsetof(VdbDeltaRecord, xmax));
}

/* See overlay.h. */
void
vdb_overlay_hint(const VdbTableRef *ref, const VdbExtent *extent, uint8 index, uint16 infomask_or)
{
	const VdbBlockDelta *bdelta = extent_delta(ref, extent);
	int			at = bdelta != NULL ? vdb_block_delta_find(bdelta, index) : -1;
	uint16		infomask;

	if (at < 0)
		return;
	infomask = vdb_block_delta_record(bdelta, at)->infomask | infomask_or;
	vdb_scm_hint(ref->pool, extent->overlay_block,
				 extent->overlay_offset + vdb_delta_record_offset(at) + offsetof(VdbDeltaRecord,
																				 infomask),
				 &infomask, sizeof(infomask));
}

/* See overlay.h. */
void
vdb_overlay_mark_deleted(VdbScmChange *change, const VdbTableRef *ref, const VdbExtent *extent,
						 const VdbRowSet deleted)
{
	const VdbBlockDelta *bdelta = need_delta(ref, extent);
	VdbRowSet	sum;

	Assert(VDB_BLOCK_LOCKED_EXCLUSIVE(ref, extent->lb));
	Assert(vdb_scm_change_lists(change, vdb_block_lock_no(ref->slot, extent->lb)));
	memcpy(sum, bdelta->deleted, sizeof(sum));
	vdb_rowset_unite(sum, deleted);
	vdb_scm_change_write(change, extent->overlay_block,
						 extent->overlay_offset + offsetof(VdbBlockDelta, deleted),
						 sum, sizeof(sum));
}

/*
 * Take a block delta and store the image there.  Nothing refers to it yet, so the change isn't
 * flushed.  Takes the map lock.  Returns false if the pool is full.
 */
static bool
store_image(const VdbTableRef *ref, const VdbExtent *extent, VdbBlockDeltaImage *image, int ndrecs,
			VdbBlockDeltaAddress *address)
{
	LWLock	   *lock = vdb_map_lock(ref->slot);
	bool		taken;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	taken = vdb_overlay_take(ref, vdb_overlay_class_for(ndrecs), extent->overlay_block,
							 extent->overlay_offset, address);
	if (taken)
	{
		VdbScmChange *change = vdb_scm_change_begin(ref->pool, 0);

		write_delta(change, ref, address, image, ndrecs);
		vdb_scm_change_end(change);
	}
	LWLockRelease(lock);
	return taken;
}

/* See overlay.h. */
bool
vdb_overlay_build(const VdbTableRef *ref, VdbLogicalBlock lb, const VdbDeltaRecord *drecs,
				  int ndrecs,
				  const VdbRowSet deleted, VdbBlock *block, uint16 *offset)
{
	VdbBlockDeltaAddress address;
	VdbBlockDeltaImage image;
	VdbExtent	extent;
	int			n = 0;

	Assert(ndrecs >= 0 && ndrecs <= VDB_LB_ROWS);
	Assert(vdb_pool_shared(ref->pool)->epoch_begun);
	vdb_image_init(&image, ref, lb, deleted);
	for (int i = 0; i < ndrecs; i++)
		vdb_image_add(&image, &n, &drecs[i]);
	vdb_map_lookup(ref, lb, &extent);
	if (!store_image(ref, &extent, &image, n, &address))
		return false;
	*block = address.block;
	*offset = address.offset;
	return true;
}

/* See overlay.h.  The block delta becomes all zero. */
void
vdb_overlay_free(VdbScmChange *change, const VdbTableRef *ref, VdbLogicalBlock lb,
				 VdbBlock block, uint16 offset)
{
	uint16		other_run = (uint16) vdb_pool_shared(ref->pool)->epoch + 1;

	if (vdb_overlay_find(ref, lb, other_run, block, offset) == NULL)
		return;
	vdb_scm_change_zero(change, block, offset,
						vdb_block_delta_classes[vdb_overlay_slab(ref, block)->size_class].bytes);
}

/* ---- edits ---- */

/* Make an image of the LB's block delta after the edit.  Returns the number of delta records. */
static int
edited_image(const VdbTableRef *ref, const VdbExtent *extent, const VdbOverlayEdit *edit,
			 VdbBlockDeltaImage *image)
{
	VdbOverlayView view;
	VdbRowSet	without;
	int			n = 0;

	Assert(edit->nreplacing >= 0 && edit->nreplacing <= VDB_LB_ROWS);
	vdb_overlay_read(ref, extent, &view);
	memcpy(without, edit->dropped, sizeof(without));
	vdb_rowset_unite(without, edit->removed);
	for (int i = 0; i < edit->nreplacing; i++)
		vdb_rowset_add(without, edit->replacing[i].index);
	vdb_rowset_unite(view.deleted, edit->removed);
	vdb_image_init(image, ref, extent->lb, view.deleted);
	for (int i = 0; i < view.ndrecs; i++)
		if (!vdb_rowset_has(without, view.drecs[i].index))
			vdb_image_add(image, &n, &view.drecs[i]);
	for (int i = 0; i < edit->nreplacing; i++)
		vdb_image_add(image, &n, &edit->replacing[i]);
	return n;
}

/* Check whether the edit takes delta records away, which only a new block delta can do. */
static bool
must_rebuild(const VdbOverlayEdit *edit)
{
	return edit->nreplacing > 0 || !vdb_rowset_is_empty(edit->dropped);
}

/* Check whether the block delta is far too large for the delta records that will be left. */
static bool
may_shrink(const VdbTableRef *ref, const VdbExtent *extent, int ndrecs)
{
	int			bytes =
		vdb_block_delta_classes[vdb_overlay_slab(ref, extent->overlay_block)->size_class].bytes;
	int			needed = vdb_block_delta_classes[vdb_overlay_class_for(ndrecs)].bytes;

	return bytes >= VDB_SHRINK_BYTES && 4 * needed <= bytes;
}

/* See overlay.h. */
bool
vdb_overlay_prepare_edit(const VdbTableRef *ref, VdbExtent *extent, VdbOverlayEdit *edit)
{
	VdbBlockDeltaAddress address;
	VdbBlockDeltaImage image;
	int			n;

	Assert(VDB_BLOCK_LOCKED_EXCLUSIVE(ref, extent->lb));
	Assert(vdb_pool_shared(ref->pool)->epoch_begun);
	edit->old_block = VDB_BLOCK_NONE;
	edit->new_block = VDB_BLOCK_NONE;
	edit->new_offset = 0;
	if (extent_delta(ref, extent) == NULL)
		return vdb_rowset_is_empty(edit->removed) ||
			vdb_overlay_prepare(ref, extent->lb, extent, 0);
	n = edited_image(ref, extent, edit, &image);
	if (n > 0 || !vdb_rowset_is_empty(image.header.deleted))
	{
		if (!must_rebuild(edit) && !may_shrink(ref, extent, n))
			return vdb_overlay_prepare(ref, extent->lb, extent, 0);
		if (!store_image(ref, extent, &image, n, &address))
			return !must_rebuild(edit) && vdb_overlay_prepare(ref, extent->lb, extent, 0);
		edit->new_block = address.block;
		edit->new_offset = address.offset;
	}
	VDB_STOP_POINT("overlay-edit-prepared");
	edit->old_block = extent->overlay_block;
	edit->old_offset = extent->overlay_offset;
	return true;
}

/* See overlay.h. */
void
vdb_overlay_edit(VdbScmChange *change, const VdbTableRef *ref, const VdbExtent *extent,
				 const VdbOverlayEdit *edit)
{
	Assert(VDB_BLOCK_LOCKED_EXCLUSIVE(ref, extent->lb));
	Assert(vdb_scm_change_lists(change, vdb_block_lock_no(ref->slot, extent->lb)));
	if (edit->old_block != VDB_BLOCK_NONE)
	{
		vdb_overlay_free(change, ref, extent->lb, edit->old_block, edit->old_offset);
		vdb_map_set_overlay(change, ref, extent, edit->new_block, edit->new_offset);
	}
	else if (!vdb_rowset_is_empty(edit->removed))
		vdb_overlay_mark_deleted(change, ref, extent, edit->removed);
}
