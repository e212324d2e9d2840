/*-------------------------------------------------------------------------
 *
 * overlay.c
 *	  Reading and changing the overlay of one logical block.
 *
 * A unit belongs to one logical block and is guarded by its row lock: shared to
 * read, exclusive to change.  The map entry holds its address.
 *
 * Stub changes aren't flushed, so after a crash any mix of their sectors may
 * have survived a record that was lost.  What is relied upon:
 *
 * - no header and no stub crosses a sector, and the first word of either is
 *   stored last: so one is there wholly or not at all;
 * - a stub that survived its record carries an xmax that never committed
 *   (void by its incarnation, or aborted), which readers see as such;
 * - a stub that counts is overwritten in place only where the old
 *   first word is right for the new rest too (see may_overwrite); otherwise
 *   the new stub takes another place and the old one no longer counts;
 * - an address or a unit that survived its record is told by the other: the
 *   unit at an address must name the logical block.  See vdb_overlay_find.
 * - where both survived, everything looks as if the record hadn't been lost; but
 *   a standby has neither.  So a unit of an earlier server run is logged
 *   once more before it is used (adopt_unit).
 *
 * Everything that moves committed stubs (growth), hides rows (gone bits) or
 * frees units is a flushed change.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"

#include "base/vdb_stop_point.h"
#include "overlay/overlay_internal.h"

/* A unit as it will be: header and stubs in their places. */
typedef union UnitImage
{
	VdbOverlayUnit header;
	char		bytes[8128];
} UnitImage;

#define UNIT_WORD_BYTES		8		/* capacity .. incarnation */

/* Smaller units are not worth a flush of WAL to shrink them. */
#define VDB_SHRINK_BYTES	2048

/*
 * The unit at an address if it is the LB's, or NULL.
 *
 * An address stored by a lost change may lead to a free unit, to another LB's,
 * or to a block that is something else by now; the LB then has no unit.  That
 * can't be if this server run stored the address: then it is damage.
 */
const VdbOverlayUnit *
vdb_overlay_find(const VdbTableRef *ref, VdbLogicalBlock lb, uint16 run,
				 VdbBlock block, uint16 offset)
{
	const VdbPoolShared *shared = vdb_pool_shared(ref->pool);
	const VdbOverlayUnit *unit;

	if (block == VDB_BLOCK_NONE)
		return NULL;
	if (vdb_overlay_is_slab(ref, block))
	{
		const VdbUnitClass *class =
			&vdb_unit_classes[vdb_overlay_slab(ref, block)->size_class];

		unit = vdb_overlay_unit_at(ref->pool, block, offset);
		if (offset >= VDB_OVERLAY_FIRST_UNIT &&
			(offset - VDB_OVERLAY_FIRST_UNIT) % class->bytes == 0 &&
			(offset - VDB_OVERLAY_FIRST_UNIT) / class->bytes < class->units &&
			unit->capacity == class->capacity && unit->lb == lb &&
			unit->table_slot == ref->slot && unit->table_generation == ref->generation)
			return unit;
	}
	if (shared->incarnation_begun && run == (uint16) shared->incarnation)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("damaged overlay unit in pool block %u, byte %u", block, offset),
				 errdetail("It should hold the changes to logical block %u.", lb)));
	return NULL;
}

static inline const VdbOverlayUnit *
extent_unit(const VdbTableRef *ref, const VdbExtent *extent)
{
	return vdb_overlay_find(ref, extent->lb, extent->overlay_run,
							extent->overlay_block, extent->overlay_offset);
}

static inline bool
is_gone(const uint64 gone[4], uint8 index)
{
	return (gone[index / 64] >> (index % 64)) & 1;
}

/* The place behind the unit's last stub: 0 .. capacity. */
static int
count_used(const VdbOverlayUnit *unit)
{
	int			n = unit->capacity;

	while (n > 0 && (vdb_overlay_stub_at(unit, n - 1)->flags & VDB_STUB_USED) == 0)
		n--;
	return n;
}

/* The place of the stub that counts for a row, or -1. */
static int
find_stub(const VdbOverlayUnit *unit, uint8 index)
{
	for (int i = unit->capacity - 1; i >= 0; i--)
	{
		const VdbStub *stub = vdb_overlay_stub_at(unit, i);

		if (stub->index == index && (stub->flags & VDB_STUB_USED))
			return i;
	}
	return -1;
}

/* A copied stub: an xmax that never happened is taken away. */
static void
sanitise(const VdbTableRef *ref, VdbLogicalBlock lb, VdbStub *stub)
{
	if ((stub->infomask & HEAP_XMAX_IS_MULTI) || !TransactionIdIsNormal(stub->xmax) ||
		!vdb_incarnation_void(ref->pool, stub->xmax_incarnation, stub->xmax))
		return;
	stub->xmax = InvalidTransactionId;
	stub->infomask &= ~(HEAP_XMAX_BITS | HEAP_COMBOCID);
	stub->infomask |= HEAP_XMAX_INVALID;
	stub->infomask2 &= ~(HEAP_KEYS_UPDATED | HEAP_HOT_UPDATED);
	stub->flags &= ~VDB_STUB_MOVED;
	stub->next_lb = lb;
	stub->next_index = stub->index;
}

/* See overlay.h.  Row lock held in either mode. */
void
vdb_overlay_read(const VdbTableRef *ref, const VdbExtent *extent, VdbOverlayView *view)
{
	const VdbOverlayUnit *unit = extent_unit(ref, extent);

	view->any = false;
	view->nstubs = 0;
	memset(view->gone, 0, sizeof(view->gone));
	memset(view->stub_at, -1, sizeof(view->stub_at));
	if (unit == NULL)
		return;

	memcpy(view->gone, unit->gone, sizeof(view->gone));
	for (int i = 0; i < unit->capacity; i++)
	{
		const VdbStub *stub = vdb_overlay_stub_at(unit, i);
		int16	   *at = &view->stub_at[stub->index];

		if ((stub->flags & VDB_STUB_USED) == 0 || is_gone(view->gone, stub->index))
			continue;
		if (*at < 0)
			*at = view->nstubs++;
		view->stubs[*at] = *stub;
	}
	for (int i = 0; i < view->nstubs; i++)
		sanitise(ref, extent->lb, &view->stubs[i]);
	view->any = view->nstubs > 0 ||
		(view->gone[0] | view->gone[1] | view->gone[2] | view->gone[3]) != 0;
}

/* See overlay.h.  Row lock held in either mode.  A row that is gone has no stub. */
bool
vdb_overlay_row(const VdbTableRef *ref, const VdbExtent *extent, uint8 index,
				bool *gone, VdbStub *stub)
{
	const VdbOverlayUnit *unit = extent_unit(ref, extent);
	int			at;

	*gone = (unit != NULL && is_gone(unit->gone, index));
	if (unit == NULL || *gone)
		return false;
	at = find_stub(unit, index);
	if (at < 0)
		return false;
	*stub = *vdb_overlay_stub_at(unit, at);
	sanitise(ref, extent->lb, stub);
	return true;
}

/* ---- images of units ---- */

static void
init_image(UnitImage *image, const VdbTableRef *ref, VdbLogicalBlock lb, int size_class)
{
	memset(image, 0, sizeof(*image));
	image->header.lb = lb;
	image->header.table_slot = ref->slot;
	image->header.table_generation = ref->generation;
	image->header.capacity = vdb_unit_classes[size_class].capacity;
	image->header.incarnation = vdb_pool_shared(ref->pool)->incarnation;
}

static inline void
put_stub(UnitImage *image, int i, const VdbStub *stub)
{
	VdbStub    *target = (VdbStub *) (image->bytes + vdb_stub_offset(i));

	Assert(i < image->header.capacity);
	*target = *stub;
	target->flags |= VDB_STUB_USED;
}

/* Is the memory of a free unit as zero as it should be? */
static bool
is_zero(const char *bytes, int len)
{
	for (int i = 0; i < len; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

/*
 * Add a new unit to the change.  The unit was free, so its memory is zero, but
 * for what a lost change left: zeroes are only written where they differ.
 */
static void
write_unit(VdbScmChange *change, const VdbTableRef *ref, const VdbUnitPlace *place,
		   const UnitImage *image, int nstubs)
{
	const VdbUnitClass *class = &vdb_unit_classes[place->size_class];
	const char *memory = (const char *) vdb_overlay_unit_at(ref->pool, place->block, place->offset);
	uint32		word = offsetof(VdbOverlayUnit, capacity);
	uint32		end = nstubs > 0 ? vdb_stub_offset(nstubs - 1) + sizeof(VdbStub)
		: sizeof(VdbOverlayUnit);

	Assert(end <= class->bytes);
	vdb_scm_change_write(change, place->block, place->offset, image->bytes, word);
	vdb_scm_change_write(change, place->block, place->offset + word + UNIT_WORD_BYTES,
						 image->bytes + word + UNIT_WORD_BYTES, end - word - UNIT_WORD_BYTES);
	if (!is_zero(memory + end, class->bytes - end))
		vdb_scm_change_zero(change, place->block, place->offset + end, class->bytes - end);
	vdb_scm_change_publish(change, place->block, place->offset + word,
						   image->bytes + word, UNIT_WORD_BYTES);
}

/*
 * Copy what counts of a unit: gone bits, and the last stub of every row that
 * isn't gone nor among those to be left out (NULL: none).  unit NULL: nothing.
 * Returns the number of stubs.
 */
static int
copy_unit(const VdbOverlayUnit *unit, const uint64 *without, UnitImage *image)
{
	int16		place_of[VDB_LB_ROWS];
	int			n = 0;

	if (unit == NULL)
		return 0;
	memcpy(image->header.gone, unit->gone, sizeof(unit->gone));
	memset(place_of, -1, sizeof(place_of));
	for (int i = 0; i < unit->capacity; i++)
	{
		const VdbStub *stub = vdb_overlay_stub_at(unit, i);

		if ((stub->flags & VDB_STUB_USED) == 0 || is_gone(unit->gone, stub->index) ||
			(without != NULL && is_gone(without, stub->index)))
			continue;
		if (place_of[stub->index] < 0)
			place_of[stub->index] = n++;
		put_stub(image, place_of[stub->index], stub);
	}
	return n;
}

/* How many stubs would copy_unit copy? */
static int
count_live(const VdbOverlayUnit *unit, const uint64 *without)
{
	bool		seen[VDB_LB_ROWS] = {false};
	int			n = 0;

	if (unit == NULL)
		return 0;
	for (int i = 0; i < unit->capacity; i++)
	{
		const VdbStub *stub = vdb_overlay_stub_at(unit, i);

		if ((stub->flags & VDB_STUB_USED) == 0 || is_gone(unit->gone, stub->index) ||
			(without != NULL && is_gone(without, stub->index)) || seen[stub->index])
			continue;
		seen[stub->index] = true;
		n++;
	}
	return n;
}

/* ---- growing ---- */

/*
 * The class of the preceding LB's unit: who changes most rows of one LB likely
 * goes on with the next.  Looked at without its row lock: a wrong answer
 * costs room only.
 */
static int
neighbour_class(const VdbTableRef *ref, const VdbExtent *extent)
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
 * Which class is right for so many stubs?  When a unit is replaced, an
 * eighth of the new one is to stay free, so that this isn't done
 * again and again.
 */
static int
choose_class(const VdbTableRef *ref, const VdbExtent *extent, const VdbOverlayUnit *old, int want)
{
	int			c;

	want = Min(want, VDB_OVERLAY_MAX_STUBS);
	if (old == NULL)
		return Min(Max(vdb_overlay_class_for(want), neighbour_class(ref, extent)),
				   VDB_OVERLAY_CLASSES - 1);
	c = vdb_overlay_class_for(want);
	if (c + 1 < VDB_OVERLAY_CLASSES &&
		want > vdb_unit_classes[c].capacity - vdb_unit_classes[c].capacity / 8)
		c++;
	return c;
}

/*
 * Make the LB a new unit of the class, holding what counts of the old one
 * (NULL: none) but for some rows' stubs (see copy_unit), and free that.  One change, flushed if there is anything to
 * lose.  Row lock and map lock held exclusive.
 */
static void
replace_unit(const VdbTableRef *ref, VdbExtent *extent, const VdbOverlayUnit *old,
			 const uint64 *without, const VdbUnitPlace *place)
{
	UnitImage	image;
	VdbScmChange *change;
	int			n;

	init_image(&image, ref, extent->lb, place->size_class);
	n = copy_unit(old, without, &image);
	change = vdb_scm_change_begin(ref->pool, old != NULL ? VDB_CHANGE_FLUSH : 0);
	vdb_scm_change_row_lock(change, vdb_row_lock_no(ref->slot, extent->lb));
	write_unit(change, ref, place, &image, n);
	if (old != NULL)
		vdb_overlay_free(change, ref, extent->lb, extent->overlay_block, extent->overlay_offset);
	vdb_map_set_overlay(change, ref, extent, place->block, place->offset);
	vdb_scm_change_end(change);
	extent->overlay_block = place->block;
	extent->overlay_offset = place->offset;
	extent->overlay_run = (uint16) vdb_pool_shared(ref->pool)->incarnation;
}

/*
 * Log the header and the address of a unit that an earlier server run took: as
 * far as we know, that record may have been lost.  Row lock held exclusive.
 */
static void
adopt_unit(const VdbTableRef *ref, VdbExtent *extent, const VdbOverlayUnit *unit)
{
	VdbOverlayUnit header = *unit;
	uint32		word = offsetof(VdbOverlayUnit, capacity);
	VdbScmChange *change = vdb_scm_change_begin(ref->pool, 0);

	header.incarnation = vdb_pool_shared(ref->pool)->incarnation;
	vdb_scm_change_row_lock(change, vdb_row_lock_no(ref->slot, extent->lb));
	vdb_scm_change_write(change, extent->overlay_block, extent->overlay_offset, &header, word);
	vdb_scm_change_write(change, extent->overlay_block,
						 extent->overlay_offset + word + UNIT_WORD_BYTES,
						 (char *) &header + word + UNIT_WORD_BYTES,
						 sizeof(header) - word - UNIT_WORD_BYTES);
	vdb_scm_change_publish(change, extent->overlay_block, extent->overlay_offset + word,
						   (char *) &header + word, UNIT_WORD_BYTES);
	vdb_map_set_overlay(change, ref, extent, extent->overlay_block, extent->overlay_offset);
	vdb_scm_change_end(change);
	extent->overlay_run = (uint16) header.incarnation;
}

/* See overlay.h. */
bool
vdb_overlay_prepare(const VdbTableRef *ref, VdbLogicalBlock lb, VdbExtent *extent, int more)
{
	const VdbOverlayUnit *unit = extent_unit(ref, extent);
	LWLock	   *lock = vdb_map_lock(ref->slot);
	VdbBlock	old_block = extent->overlay_block;
	VdbUnitPlace place;
	int			live;
	bool		taken;

	Assert(lb == extent->lb && extent->node != VDB_BLOCK_NONE);
	Assert(LWLockHeldByMeInMode(vdb_row_lock(vdb_row_lock_no(ref->slot, lb)), LW_EXCLUSIVE));
	Assert(vdb_pool_shared(ref->pool)->incarnation_begun);
	if (unit != NULL && count_used(unit) + more <= unit->capacity)
	{
		if (unit->incarnation != vdb_pool_shared(ref->pool)->incarnation)
			adopt_unit(ref, extent, unit);
		return true;
	}
	live = count_live(unit, NULL);
	if (unit != NULL && unit->capacity == VDB_OVERLAY_MAX_STUBS &&
		live + more > VDB_OVERLAY_MAX_STUBS)
		more = VDB_OVERLAY_MAX_STUBS - live;	/* there aren't so many rows without a stub */

	LWLockAcquire(lock, LW_EXCLUSIVE);
	taken = vdb_overlay_take(ref, choose_class(ref, extent, unit, live + more),
							 extent->overlay_block, extent->overlay_offset, &place);
	if (taken)
		replace_unit(ref, extent, unit, NULL, &place);
	LWLockRelease(lock);
	VDB_STOP_POINT("overlay-prepared");
	if (taken && unit != NULL)
		vdb_overlay_settle(ref, old_block);
	return taken;
}

/* Move the LB's unit to a place that just holds what counts.  False: the pool is full. */
static bool
rebuild_unit(const VdbTableRef *ref, VdbExtent *extent, const VdbOverlayUnit *unit,
			 const uint64 *without)
{
	LWLock	   *lock = vdb_map_lock(ref->slot);
	VdbBlock	old_block = extent->overlay_block;
	VdbUnitPlace place;
	bool		taken;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	taken = vdb_overlay_take(ref, vdb_overlay_class_for(count_live(unit, without)),
							 extent->overlay_block, extent->overlay_offset, &place);
	if (taken)
		replace_unit(ref, extent, unit, without, &place);
	LWLockRelease(lock);
	if (taken)
		vdb_overlay_settle(ref, old_block);
	return taken;
}

/* See overlay.h. */
void
vdb_overlay_shrink(const VdbTableRef *ref, VdbExtent *extent)
{
	const VdbOverlayUnit *unit = extent_unit(ref, extent);
	int			needed;
	int			bytes;

	Assert(LWLockHeldByMeInMode(vdb_row_lock(vdb_row_lock_no(ref->slot, extent->lb)), LW_EXCLUSIVE));
	if (unit == NULL)
		return;
	needed = vdb_unit_classes[vdb_overlay_class_for(count_live(unit, NULL))].bytes;
	bytes = vdb_unit_classes[vdb_overlay_slab(ref, extent->overlay_block)->size_class].bytes;
	if (bytes >= VDB_SHRINK_BYTES && 4 * needed <= bytes)
		(void) rebuild_unit(ref, extent, unit, NULL);
}

/* See overlay.h. */
bool
vdb_overlay_forget(const VdbTableRef *ref, VdbExtent *extent, const uint64 rows[4])
{
	const VdbOverlayUnit *unit = extent_unit(ref, extent);

	Assert(LWLockHeldByMeInMode(vdb_row_lock(vdb_row_lock_no(ref->slot, extent->lb)), LW_EXCLUSIVE));
	return unit == NULL || rebuild_unit(ref, extent, unit, rows);
}

/* ---- changing ---- */

/* The LB's unit, which must be there. */
static const VdbOverlayUnit *
need_unit(const VdbTableRef *ref, const VdbExtent *extent)
{
	const VdbOverlayUnit *unit = extent_unit(ref, extent);

	if (unit == NULL)
		elog(ERROR, "logical block %u has no overlay unit", extent->lb);
	return unit;
}

/*
 * May the old stub of a row be overwritten in place?  A crash that loses the
 * record may leave the old first word with (part of) the new rest, and
 * that must read as the old stub or as one that never happened.  So: where the
 * old one says by itself that it is void, or where both are of one
 * transaction, which is lost with the record.
 */
static bool
may_overwrite(const VdbStub *old, const VdbStub *new)
{
	if ((old->infomask & HEAP_XMAX_INVALID) != 0)
		return true;
	return ((old->infomask | new->infomask) & HEAP_XMAX_IS_MULTI) == 0 &&
		old->xmax == new->xmax && old->xmax_incarnation == new->xmax_incarnation;
}

/* See overlay.h. */
void
vdb_overlay_set(VdbScmChange *change, const VdbTableRef *ref, const VdbExtent *extent,
				const VdbStub *stub)
{
	const VdbOverlayUnit *unit = need_unit(ref, extent);
	int			at = find_stub(unit, stub->index);
	VdbStub		copy = *stub;
	uint16		offset;

	Assert(LWLockHeldByMeInMode(vdb_row_lock(vdb_row_lock_no(ref->slot, extent->lb)), LW_EXCLUSIVE));
	Assert(!is_gone(unit->gone, stub->index));
	copy.flags |= VDB_STUB_USED;
	if (at < 0 || !may_overwrite(vdb_overlay_stub_at(unit, at), stub))
	{
		int			used = count_used(unit);

		if (used < unit->capacity)
			at = used;
		else if (at < 0)
			elog(ERROR, "overlay unit of logical block %u is full", extent->lb);
	}
	offset = extent->overlay_offset + vdb_stub_offset(at);
	vdb_scm_change_write(change, extent->overlay_block, offset + offsetof(VdbStub, xmax),
						 &copy.xmax, sizeof(VdbStub) - offsetof(VdbStub, xmax));
	vdb_scm_change_publish(change, extent->overlay_block, offset,
						   &copy, offsetof(VdbStub, xmax));
}

/* See overlay.h. */
void
vdb_overlay_hint(const VdbTableRef *ref, const VdbExtent *extent, uint8 index, uint16 infomask_or)
{
	const VdbOverlayUnit *unit = extent_unit(ref, extent);
	int			at = unit != NULL ? find_stub(unit, index) : -1;
	uint16		infomask;

	if (at < 0)
		return;
	infomask = vdb_overlay_stub_at(unit, at)->infomask | infomask_or;
	vdb_scm_hint(ref->pool, extent->overlay_block,
				 extent->overlay_offset + vdb_stub_offset(at) + offsetof(VdbStub, infomask),
				 &infomask, sizeof(infomask));
}

/* See overlay.h. */
void
vdb_overlay_gone(VdbScmChange *change, const VdbTableRef *ref, const VdbExtent *extent,
				 const uint64 gone[4])
{
	const VdbOverlayUnit *unit = need_unit(ref, extent);
	uint64		sum[4];

	Assert(LWLockHeldByMeInMode(vdb_row_lock(vdb_row_lock_no(ref->slot, extent->lb)), LW_EXCLUSIVE));
	for (int i = 0; i < 4; i++)
		sum[i] = unit->gone[i] | gone[i];
	vdb_scm_change_write(change, extent->overlay_block,
						 extent->overlay_offset + offsetof(VdbOverlayUnit, gone),
						 sum, sizeof(sum));
}

/* See overlay.h. */
bool
vdb_overlay_build(const VdbTableRef *ref, VdbLogicalBlock lb, const VdbStub *stubs, int nstubs,
				  const uint64 gone[4], VdbBlock *block, uint16 *offset)
{
	LWLock	   *lock = vdb_map_lock(ref->slot);
	int			size_class = vdb_overlay_class_for(nstubs);
	VdbUnitPlace place;
	VdbExtent	extent;
	bool		taken;

	Assert(nstubs >= 0 && nstubs <= VDB_LB_ROWS);
	Assert(vdb_pool_shared(ref->pool)->incarnation_begun);
	vdb_map_lookup(ref, lb, &extent);
	LWLockAcquire(lock, LW_EXCLUSIVE);
	taken = vdb_overlay_take(ref, size_class, extent.overlay_block, extent.overlay_offset, &place);
	if (taken)
	{
		UnitImage	image;
		VdbScmChange *change;

		init_image(&image, ref, lb, size_class);
		memcpy(image.header.gone, gone, sizeof(image.header.gone));
		for (int i = 0; i < nstubs; i++)
			put_stub(&image, i, &stubs[i]);
		change = vdb_scm_change_begin(ref->pool, 0);
		write_unit(change, ref, &place, &image, nstubs);
		vdb_scm_change_end(change);
		*block = place.block;
		*offset = place.offset;
	}
	LWLockRelease(lock);
	return taken;
}

/* See overlay.h.  The unit becomes all zero. */
void
vdb_overlay_free(VdbScmChange *change, const VdbTableRef *ref, VdbLogicalBlock lb,
				 VdbBlock block, uint16 offset)
{
	uint16		other_run = (uint16) vdb_pool_shared(ref->pool)->incarnation + 1;

	if (vdb_overlay_find(ref, lb, other_run, block, offset) == NULL)
		return;
	vdb_scm_change_zero(change, block, offset,
						vdb_unit_classes[vdb_overlay_slab(ref, block)->size_class].bytes);
}
