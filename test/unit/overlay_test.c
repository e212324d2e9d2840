/*
 * overlay_test.c
 *	  Unit tests of src/overlay over the mock of the pool: plain ones, and a long
 *	  random history with crashes that is compared with a model, on the
 *	  primary and on a standby.
 */
#include "pg_shim.h"

#include <stdio.h>
#include <stdlib.h>

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_class.h"
#include "lib/stringinfo.h"
#include "storage/procarray.h"

#include "overlay/overlay.h"
#include "overlay/overlay_internal.h"
#include "pages/pages.h"
#include "scm_mock.h"
#include "unit_shim.h"

static VdbPool *pool;

static void
report(VdbLogicalBlock lb, const char *message, void *arg)
{
	printf("# finding: lb %u: %s\n", lb, message);
}

static void
report_expected(VdbLogicalBlock lb, const char *message, void *arg)
{
}

static void
format_segment(VdbScmChange *change, VdbBlock segment, VdbLogicalBlock first_lb, void *arg)
{
	vdb_scm_change_write(change, segment, VDB_POOL_BLOCK_HEADER, &first_lb, sizeof(first_lb));
}

/* Let LBs of range 0 become one stripe, with the given units (or none). */
static void
install_stripe(const VdbTableRef *ref, int first, int n, const VdbBlock *blocks,
			   const uint16 *offsets)
{
	VdbStripeMeta *meta = calloc(1, sizeof(VdbStripeMeta));
	uint8		indexes[256];
	VdbBlock	block;
	VdbScmChange *change;

	for (int i = 0; i < n; i++)
		indexes[i] = first + i;
	block = vdb_map_store_meta(ref, meta, NULL);
	vdb_map_lock_lbs(ref, 0, indexes, n);
	LWLockAcquire(vdb_map_lock(ref->slot), LW_EXCLUSIVE);
	change = vdb_scm_change_begin(ref->pool, VDB_CHANGE_FLUSH);
	for (int i = 0; i < n; i++)
	{
		VdbExtent	extent;

		vdb_map_lookup(ref, indexes[i], &extent);
		if (extent.kind == VDB_EXTENT_SEGMENT && extent.first_lb == indexes[i])
			vdb_scm_change_free_segment(change, extent.ref);
	}
	vdb_map_switch(change, ref, 0, indexes, n, VDB_EXTENT_STRIPE, block, blocks, offsets,
				   (VdbRowSet) {0});
	vdb_scm_change_end(change);
	LWLockRelease(vdb_map_lock(ref->slot));
	vdb_map_unlock_lbs(ref, 0, indexes, n);
	free(meta);
}

/* A table whose first nlbs logical blocks (a multiple of 8) are striped. */
static VdbTableRef
make_striped(int nlbs)
{
	VdbTableKey key = {0, 1, -1};
	VdbTableRef ref;

	pool = mock_create();
	vdb_map_table_create(pool, &key, 0, InvalidFullTransactionId, &ref);
	for (int done = 0; done < nlbs; done += 8)
	{
		VdbBlock	segment;
		VdbLogicalBlock lb;

		vdb_scm_reserve_segments(pool, 1, false, &segment);
		vdb_map_claim(&ref, 1, 8, &segment, &lb, format_segment, NULL);
	}
	for (int done = 0; done < nlbs; done += 64)
		install_stripe(&ref, done, Min(64, nlbs - done), NULL, NULL);
	return ref;
}

static LWLock *
block_lock(const VdbTableRef *ref, VdbLogicalBlock lb)
{
	return vdb_block_lock(vdb_block_lock_no(ref->slot, lb));
}

/* Store a delta record that names a next version.  False: the pool is full. */
static bool
touch_next(const VdbTableRef *ref, VdbLogicalBlock lb, uint8 index, TransactionId xid,
		   uint16 infomask,
		   VdbLogicalBlock next_lb, uint8 next_index)
{
	VdbExtent	extent;
	VdbDeltaRecord drec = {.index = index,.next_index = next_index,.infomask = infomask,
	.xmax = xid,.next_lb = next_lb,.xmax_epoch = vdb_epoch_current(ref->pool)};
	bool		ok;

	LWLockAcquire(block_lock(ref, lb), LW_EXCLUSIVE);
	vdb_map_lookup(ref, lb, &extent);
	ok = vdb_overlay_prepare(ref, lb, &extent, 1);
	if (ok)
	{
		VdbScmChange *change = vdb_scm_change_begin(ref->pool, 0);

		mock_note_xid(xid);
		vdb_overlay_set(change, ref, &extent, &drec);
		vdb_scm_change_end(change);
	}
	LWLockRelease(block_lock(ref, lb));
	return ok;
}

/* Store a delta record, as a delete or a lock would.  False: the pool is full. */
static bool
touch(const VdbTableRef *ref, VdbLogicalBlock lb, uint8 index, TransactionId xid, uint16 infomask)
{
	return touch_next(ref, lb, index, xid, infomask, lb, index);
}

static void
make_deleted(const VdbTableRef *ref, VdbLogicalBlock lb, const uint64 deleted[4])
{
	VdbExtent	extent;
	VdbScmChange *change;

	(void) vdb_epoch_current(ref->pool);
	LWLockAcquire(block_lock(ref, lb), LW_EXCLUSIVE);
	vdb_map_lookup(ref, lb, &extent);
	if (vdb_overlay_prepare(ref, lb, &extent, 0))
	{
		change = vdb_scm_change_begin(ref->pool, VDB_CHANGE_FLUSH);
		vdb_overlay_mark_deleted(change, ref, &extent, deleted);
		vdb_scm_change_end(change);
	}
	LWLockRelease(block_lock(ref, lb));
}

/* Edit an LB's overlay as VACUUM does, in a batch. */
static void
edit_block(const VdbTableRef *ref, VdbLogicalBlock lb, VdbOverlayEdit *edit)
{
	VdbScmBatch *batch = vdb_scm_batch_begin(ref->pool);
	VdbExtent	extent;
	VdbScmChange *change;

	(void) vdb_epoch_current(ref->pool);
	LWLockAcquire(block_lock(ref, lb), LW_EXCLUSIVE);
	vdb_map_lookup(ref, lb, &extent);
	UNIT_CHECK(vdb_overlay_prepare_edit(ref, &extent, edit), "pool full");
	change = vdb_scm_change_begin(ref->pool, VDB_CHANGE_FLUSH);
	vdb_overlay_edit(change, ref, &extent, edit);
	vdb_scm_batch_add(batch, change);
	LWLockRelease(block_lock(ref, lb));
	vdb_scm_batch_end(batch);
	if (edit->old_block != VDB_BLOCK_NONE)
		vdb_overlay_reclaim(ref, &edit->old_block, 1);
}

static bool
read_row(const VdbTableRef *ref, VdbLogicalBlock lb, uint8 index, bool *deleted,
		 VdbDeltaRecord *drec)
{
	VdbExtent	extent;

	vdb_map_lookup(ref, lb, &extent);
	return vdb_overlay_row(ref, &extent, index, deleted, drec);
}

static void
test_layout(void)
{
	for (int c = 0; c < VDB_OVERLAY_CLASSES; c++)
	{
		const VdbBlockDeltaClass *class = &vdb_block_delta_classes[c];

		UNIT_CHECK(vdb_block_delta_offset(c, class->deltas) <= VDB_POOL_BLOCK_BYTES, "class %d", c);
		UNIT_CHECK(class->first >= VDB_OVERLAY_FIRST_DELTA, "class %d", c);
		for (int u = 0; u < class->deltas; u++)
		{
			uint32		start = vdb_block_delta_offset(c, u);

			UNIT_CHECK(start / 512 == (start + 63) / 512, "header %d of class %d", u, c);
			for (int i = 0; i < class->capacity; i++)
			{
				uint32		at = start + vdb_delta_record_offset(i);

				UNIT_CHECK(at % 8 == 0 && at / 512 == (at + 23) / 512,
						   "delta record %d of class %d", i, c);
				UNIT_CHECK(vdb_delta_record_offset(i) + 24 <= class->bytes,
						   "delta record %d of class %d", i, c);
				UNIT_CHECK(i == 0 ||
						   vdb_delta_record_offset(i) >= vdb_delta_record_offset(i - 1) + 24,
						   "delta record %d", i);
			}
		}
	}
	UNIT_CHECK(vdb_overlay_class_for(0) == 0 && vdb_overlay_class_for(8) == 0 &&
			   vdb_overlay_class_for(9) == 1 && vdb_overlay_class_for(256) == 3, "classes");
}

static void
test_basic(void)
{
	VdbTableRef ref = make_striped(16);
	VdbOverlayView *view = malloc(sizeof(VdbOverlayView));
	VdbExtent	extent;
	VdbDeltaRecord drec;
	bool		deleted;
	uint64		bits[4] = {1 | 2, 0, 0, 0};

	vdb_map_lookup(&ref, 3, &extent);
	vdb_overlay_read(&ref, &extent, view);
	UNIT_CHECK(!view->any && view->ndrecs == 0, "empty");
	UNIT_CHECK(!read_row(&ref, 3, 7, &deleted, &drec) && !deleted, "empty");

	/* every row of LB 3, so the unit grows through all classes */
	for (int i = 0; i < 256; i++)
	{
		UNIT_CHECK(touch(&ref, 3, 255 - i, 2000 + i, 0), "touch %d", i);
		if (i % 37 != 0)
			continue;
		for (int j = 0; j <= i; j++)
			UNIT_CHECK(read_row(&ref, 3, 255 - j, &deleted, &drec) && drec.xmax == 2000 + j,
					   "row %d", j);
	}
	vdb_map_lookup(&ref, 3, &extent);
	vdb_overlay_read(&ref, &extent, view);
	UNIT_CHECK(view->any && view->ndrecs == 256, "%d delta records", view->ndrecs);
	for (int i = 0; i < 256; i++)
		UNIT_CHECK(view->drecs[view->drec_at[i]].index == i &&
				   view->drecs[view->drec_at[i]].xmax == 2000 + 255 - i, "row %d", i);

	/* a hint, a replacement in place after it, one that may not be in place */
	vdb_overlay_hint(&ref, &extent, 200, HEAP_XMAX_INVALID);
	UNIT_CHECK(read_row(&ref, 3, 200, &deleted, &drec) && (drec.infomask & HEAP_XMAX_INVALID),
			   "hint");
	touch(&ref, 3, 200, 3000, HEAP_XMAX_LOCK_ONLY);
	touch(&ref, 3, 200, 3001, 0);
	UNIT_CHECK(read_row(&ref, 3, 200, &deleted, &drec) && drec.xmax == 3001 && drec.infomask == 0,
			   "replaced");
	for (int i = 0; i < 1000; i++)		/* the unit is compacted again and again */
		UNIT_CHECK(touch(&ref, 3, i % 256, 4000 + i, HEAP_XMAX_LOCK_ONLY), "replacement %d", i);
	for (int i = 0; i < 256; i++)
		UNIT_CHECK(read_row(&ref, 3, i, &deleted, &drec) &&
				   drec.xmax == 4000 + (i < 232 ? 768 : 512) + i,
				   "row %d has %u", i, drec.xmax);

	/* deleted rows hide their delta records */
	make_deleted(&ref, 3, bits);
	make_deleted(&ref, 5, bits);
	UNIT_CHECK(!read_row(&ref, 3, 1, &deleted, &drec) && deleted, "gone");
	UNIT_CHECK(!read_row(&ref, 5, 1, &deleted, &drec) && deleted, "gone");
	UNIT_CHECK(read_row(&ref, 3, 2, &deleted, &drec) && !deleted, "not gone");
	vdb_map_lookup(&ref, 3, &extent);
	vdb_overlay_read(&ref, &extent, view);
	UNIT_CHECK(view->ndrecs == 254 && view->deleted[0] == 3 && view->drec_at[1] == -1, "view");

	/* neighbors begin with the size that was needed before them */
	touch(&ref, 4, 1, 5000, 0);
	vdb_map_lookup(&ref, 4, &extent);
	UNIT_CHECK(vdb_overlay_slab(&ref, extent.overlay_block)->size_class == 3, "neighbor");
	UNIT_CHECK(vdb_map_check(&ref, report, NULL) == 0 && vdb_overlay_check(&ref, report,
																		   NULL) == 0, "check");
	UNIT_CHECK(mock_reserved_count() == 0, "reserved");
	vdb_map_table_drop(&ref);
	UNIT_CHECK(mock_used_count() == 2, "%d left", mock_used_count());
	free(view);
}

/* Blocks on the table's lists of slabs. */
static int
count_slabs(const VdbTableRef *ref)
{
	int			n = 0;

	for (int list = 0; list < VDB_TABLE_LISTS; list++)
		for (VdbBlock b = vdb_map_table_entry(ref)->lists[list]; b != VDB_BLOCK_NONE;
			 b = vdb_overlay_slab(ref, b)->next)
			n++;
	return n;
}

/* Free the block deltas of every step-th LB, and reclaim their slabs at once. */
static void
free_and_reclaim(const VdbTableRef *ref, int step)
{
	VdbBlock	blocks[257];
	int			n = 0;

	for (int lb = 0; lb < 256; lb += step)
	{
		VdbExtent	extent;
		VdbScmChange *change;

		LWLockAcquire(block_lock(ref, lb), LW_EXCLUSIVE);
		vdb_map_lookup(ref, lb, &extent);
		if (extent.overlay_block != VDB_BLOCK_NONE)
		{
			blocks[n++] = extent.overlay_block;
			change = vdb_scm_change_begin(pool, VDB_CHANGE_FLUSH);
			vdb_overlay_free(change, ref, lb, extent.overlay_block, extent.overlay_offset);
			vdb_map_set_overlay(change, ref, &extent, VDB_BLOCK_NONE, 0);
			vdb_scm_change_end(change);
		}
		LWLockRelease(block_lock(ref, lb));
	}
	blocks[n++] = 1;			/* no slab */
	vdb_overlay_reclaim(ref, blocks, n);
	UNIT_CHECK(vdb_overlay_check(ref, report, NULL) == 0, "check after steps of %d", step);
	UNIT_CHECK(shim_locks_held() == 0, "no lock is held");
}

/* Many slabs reclaimed at once, neighbors in the lists and not, of small and large classes. */
static void
test_reclaim_many(void)
{
	for (int rows = 1; rows < 200; rows += 60)
	{
		VdbTableRef ref = make_striped(256);

		for (int lb = 0; lb < 256; lb++)
			for (int row = 0; row < rows; row++)
				touch(&ref, lb, row, 2000 + row, 0);
		free_and_reclaim(&ref, 3);
		for (int lb = 0; lb < 256; lb += 6)
			touch(&ref, lb, 1, 2000, 0);
		free_and_reclaim(&ref, 2);
		free_and_reclaim(&ref, 1);
		/* one of each class, and those that were formatted ahead and never used */
		UNIT_CHECK(count_slabs(&ref) <= 12, "%d slabs kept of %d rows", count_slabs(&ref), rows);
	}
}

static void
test_slabs(void)
{
	VdbTableRef ref = make_striped(256);
	int			slabs;

	for (int lb = 0; lb < 256; lb++)
		touch(&ref, lb, 1, 2000, 0);
	slabs = count_slabs(&ref);
	UNIT_CHECK(slabs == 9, "%d slabs for 256 small units", slabs);
	for (int lb = 0; lb < 256; lb++)
	{
		VdbExtent	extent;
		VdbScmChange *change;
		VdbBlock	block;

		LWLockAcquire(block_lock(&ref, lb), LW_EXCLUSIVE);
		vdb_map_lookup(&ref, lb, &extent);
		block = extent.overlay_block;
		change = vdb_scm_change_begin(pool, VDB_CHANGE_FLUSH);
		vdb_overlay_free(change, &ref, lb, block, extent.overlay_offset);
		vdb_map_set_overlay(change, &ref, &extent, VDB_BLOCK_NONE, 0);
		vdb_scm_change_end(change);
		LWLockRelease(block_lock(&ref, lb));
		vdb_overlay_reclaim(&ref, &block, 1);
		UNIT_CHECK(vdb_overlay_check(&ref, report, NULL) == 0, "check");
	}
	UNIT_CHECK(count_slabs(&ref) == 1, "%d slabs kept", count_slabs(&ref));

	/* a full pool */
	mock_blocks_left = 0;
	for (int i = 0; i < 8; i++)
		UNIT_CHECK(touch(&ref, 0, i, 3000 + i, 0), "room is left in the slab");
	UNIT_CHECK(!touch(&ref, 0, 8, 3008, 0), "no room to grow");
	UNIT_CHECK(shim_locks_held() == 0 && mock_reserved_count() == 0, "nothing held");
	mock_blocks_left = 1;
	UNIT_CHECK(touch(&ref, 0, 8, 3008, 0), "grows");
}

static void
check_row_xmax(const VdbTableRef *ref, VdbLogicalBlock lb, uint8 index, TransactionId xmax)
{
	VdbDeltaRecord drec = {0};
	bool		deleted;

	UNIT_CHECK(read_row(ref, lb, index, &deleted, &drec) && drec.xmax == xmax &&
			   drec.index == index,
			   "row %d has %u instead of %u", index, drec.xmax, xmax);
}

/* Prepare an edit of an LB and, if there is room for it, do it; returns whether there was. */
static bool
try_edit(const VdbTableRef *ref, VdbLogicalBlock lb, VdbOverlayEdit *edit)
{
	VdbOverlayEdit asked = *edit;
	VdbExtent	extent;
	bool		room;

	LWLockAcquire(block_lock(ref, lb), LW_EXCLUSIVE);
	vdb_map_lookup(ref, lb, &extent);
	room = vdb_overlay_prepare_edit(ref, &extent, &asked);
	LWLockRelease(block_lock(ref, lb));
	if (room)
		edit_block(ref, lb, edit);
	UNIT_CHECK(vdb_overlay_check(ref, report, NULL) == 0, "check");
	return room;
}

/* Edits of VACUUM when the pool is full: what needs no room is done. */
static void
test_edit_full(void)
{
	VdbTableRef ref = make_striped(64);
	VdbOverlayEdit edit = {.nreplacing = 0};
	VdbDeltaRecord drec;
	VdbExtent	extent;
	bool		deleted;

	for (int row = 0; row < 60; row++)
		for (int lb = 0; lb < 3; lb++)
			touch_next(&ref, lb, row, 2000 + row, 0, 5, row);
	touch(&ref, 10, 7, 3000, HEAP_XMAX_LOCK_ONLY);
	mock_blocks_left = 0;
	for (int lb = 11; touch(&ref, lb, 1, 3000, 0); lb++)
		UNIT_CHECK(lb < 63, "the slab gets full");

	/* removing all of them would let it shrink, but is done in place */
	for (int row = 0; row < 60; row++)
		vdb_rowset_add(edit.removed, row);
	UNIT_CHECK(try_edit(&ref, 0, &edit), "removed in place");
	UNIT_CHECK(edit.old_block == VDB_BLOCK_NONE, "in place");
	for (int row = 0; row < 60; row++)
		UNIT_CHECK(!read_row(&ref, 0, row, &deleted, &drec) && deleted, "row %d is removed", row);

	/* delta records can't be dropped, unless nothing is left */
	memset(&edit, 0, sizeof(edit));
	vdb_rowset_add(edit.dropped, 3);
	UNIT_CHECK(!try_edit(&ref, 1, &edit), "no room for a new block delta");
	check_row_xmax(&ref, 1, 3, 2003);
	memset(&edit, 0, sizeof(edit));
	vdb_rowset_add(edit.dropped, 7);
	UNIT_CHECK(try_edit(&ref, 10, &edit), "dropped without room");
	UNIT_CHECK(edit.old_block != VDB_BLOCK_NONE && edit.new_block == VDB_BLOCK_NONE, "freed");
	vdb_map_lookup(&ref, 10, &extent);
	UNIT_CHECK(extent.overlay_block == VDB_BLOCK_NONE, "no block delta");
	UNIT_CHECK(!read_row(&ref, 10, 7, &deleted, &drec) && !deleted, "row is there, unlocked");
	UNIT_CHECK(shim_locks_held() == 0, "nothing held");
}

/* ---- group deltas ---- */

/* Places in use of the LB's unit; *class_size: bytes of the unit. */
static int
places_used(const VdbTableRef *ref, VdbLogicalBlock lb, int *class_size)
{
	VdbExtent	extent;
	const VdbBlockDelta  *bdelta;

	vdb_map_lookup(ref, lb, &extent);
	bdelta = vdb_overlay_find(ref, lb, extent.overlay_epoch, extent.overlay_block,
							  extent.overlay_offset);
	if (bdelta == NULL)
		return -1;
	*class_size =
		vdb_block_delta_classes[vdb_overlay_slab(ref, extent.overlay_block)->size_class].bytes;
	return vdb_block_delta_used(bdelta);
}

/* All rows of an LB have the xmax, one by one and in a view. */
static void
check_all_rows(const VdbTableRef *ref, VdbLogicalBlock lb, TransactionId xmax, uint16 infomask)
{
	VdbOverlayView *view = malloc(sizeof(VdbOverlayView));
	VdbExtent	extent;

	vdb_map_lookup(ref, lb, &extent);
	vdb_overlay_read(ref, &extent, view);
	UNIT_CHECK(view->any && view->ndrecs == VDB_LB_ROWS, "%d delta records", view->ndrecs);
	for (int i = 0; i < VDB_LB_ROWS; i++)
	{
		const VdbDeltaRecord *seen = &view->drecs[view->drec_at[i]];
		VdbDeltaRecord drec;
		bool		deleted;

		UNIT_CHECK(read_row(ref, lb, i, &deleted, &drec) && !deleted, "row %d", i);
		UNIT_CHECK(drec.index == i && drec.next_index == i && drec.next_lb == lb &&
				   drec.flags == VDB_DELTA_USED && drec.xmax == xmax && drec.infomask == infomask,
				   "row %d: xmax %u", i, drec.xmax);
		UNIT_CHECK(memcmp(seen, &drec, sizeof(drec)) == 0, "row %d in the view", i);
	}
	free(view);
}

static void
test_group_delta(void)
{
	VdbTableRef ref = make_striped(64);
	uint64		rows[4] = {0, 0, 2, 0};
	VdbExtent	extent;
	VdbOverlayEdit edit = {.nreplacing = 0};
	VdbDeltaRecord drec;
	bool		deleted;
	int			bytes;

	/* deleting everything: no unit grows */
	for (int lb = 0; lb < 64; lb++)
	{
		for (int i = 0; i < VDB_LB_ROWS; i++)
			touch(&ref, lb, lb % 2 ? 255 - i : i, 2000, HEAP_XMAX_EXCL_LOCK);
		UNIT_CHECK(places_used(&ref, lb, &bytes) == 7 && bytes == 256, "unit of %d bytes", bytes);
		check_all_rows(&ref, lb, 2000, HEAP_XMAX_EXCL_LOCK);
	}
	UNIT_CHECK(count_slabs(&ref) == 3, "%d slabs", count_slabs(&ref));
	UNIT_CHECK(vdb_overlay_check(&ref, report, NULL) == 0, "check");

	/* touching them again changes nothing; another says something else of single rows */
	touch(&ref, 1, 100, 2000, HEAP_XMAX_EXCL_LOCK);
	UNIT_CHECK(places_used(&ref, 1, &bytes) == 7, "same again");
	touch(&ref, 1, 100, 2001, HEAP_XMAX_EXCL_LOCK);
	UNIT_CHECK(places_used(&ref, 1, &bytes) == 8 && bytes == 256, "one more");
	touch(&ref, 1, 101, 2001, HEAP_XMAX_EXCL_LOCK);		/* room is made before it is known that
														 * none is needed */
	UNIT_CHECK(places_used(&ref, 1, &bytes) == 8 && bytes == 512, "one more for two rows");
	check_row_xmax(&ref, 1, 99, 2000);
	check_row_xmax(&ref, 1, 100, 2001);
	check_row_xmax(&ref, 1, 101, 2001);
	check_row_xmax(&ref, 1, 102, 2000);

	/*
	 * the first one comes again: its old group delta stands before the newer one, and may not be
	 * joined
	 */
	touch(&ref, 1, 100, 2000, HEAP_XMAX_EXCL_LOCK);
	check_row_xmax(&ref, 1, 100, 2000);
	check_row_xmax(&ref, 1, 101, 2001);
	UNIT_CHECK(places_used(&ref, 1, &bytes) == 9 && bytes == 512, "%d bytes", bytes);

	/*
	 * a hint is for all rows of the delta record, and doesn't let it be replaced under the others
	 */
	vdb_map_lookup(&ref, 2, &extent);
	vdb_overlay_hint(&ref, &extent, 3, HEAP_XMAX_INVALID);
	UNIT_CHECK(read_row(&ref, 2, 39, &deleted, &drec) && (drec.infomask & HEAP_XMAX_INVALID),
			   "hint");
	UNIT_CHECK(read_row(&ref, 2, 40, &deleted, &drec) && !(drec.infomask & HEAP_XMAX_INVALID),
			   "hint");
	touch(&ref, 2, 3, 2002, 0);
	check_row_xmax(&ref, 2, 2, 2000);
	check_row_xmax(&ref, 2, 3, 2002);
	UNIT_CHECK(places_used(&ref, 2, &bytes) == 8, "behind");
	/* what is lost is left behind when the unit grows */
	touch(&ref, 2, 4, 2003, 0);
	UNIT_CHECK(!read_row(&ref, 2, 2, &deleted, &drec) && !deleted, "left behind");
	check_row_xmax(&ref, 2, 3, 2002);
	check_row_xmax(&ref, 2, 40, 2000);

	/* one row is replaced in place: by its own transaction, or when it is void */
	touch(&ref, 2, 3, 2002, HEAP_XMAX_EXCL_LOCK);
	touch(&ref, 2, 3, 2002, 0);
	check_row_xmax(&ref, 2, 3, 2002);
	UNIT_CHECK(places_used(&ref, 2, &bytes) == 8, "%d places", places_used(&ref, 2, &bytes));

	/* but not if one of the two names a next version */
	touch_next(&ref, 2, 3, 2002, 0, 60, 7);
	UNIT_CHECK(places_used(&ref, 2, &bytes) == 9, "mass, then single");
	UNIT_CHECK(read_row(&ref, 2, 3, &deleted, &drec) && drec.next_lb == 60 &&
			   drec.next_index == 7, "next version");
	touch_next(&ref, 2, 3, 2002, 0, 61, 8);
	UNIT_CHECK(places_used(&ref, 2, &bytes) == 9, "single, then single");
	UNIT_CHECK(read_row(&ref, 2, 3, &deleted, &drec) && drec.next_lb == 61 &&
			   drec.next_index == 8, "next version");
	vdb_map_lookup(&ref, 2, &extent);
	vdb_overlay_hint(&ref, &extent, 3, HEAP_XMAX_INVALID);
	touch(&ref, 2, 3, 2005, 0);
	UNIT_CHECK(places_used(&ref, 2, &bytes) == 10, "single, then mass");
	check_row_xmax(&ref, 2, 3, 2005);

	/* rows that are gone, rows that are forgotten */
	make_deleted(&ref, 3, rows);
	UNIT_CHECK(!read_row(&ref, 3, 129, &deleted, &drec) && deleted, "gone");
	check_row_xmax(&ref, 3, 128, 2000);
	memcpy(edit.dropped, rows, sizeof(edit.dropped));
	edit_block(&ref, 4, &edit);
	UNIT_CHECK(!read_row(&ref, 4, 129, &deleted, &drec) && !deleted, "forgotten");
	check_row_xmax(&ref, 4, 128, 2000);
	check_row_xmax(&ref, 4, 130, 2000);

	/* all at once: one row is removed, one forgotten, one gets another xmax */
	memset(&edit, 0, sizeof(edit));
	vdb_rowset_add(edit.removed, 1);
	vdb_rowset_add(edit.dropped, 2);
	drec = (VdbDeltaRecord) {.index = 3,.next_index = 3,.xmax = 2010,.next_lb = 5,
	.xmax_epoch = vdb_epoch_current(pool)};
	edit.replacing = &drec;
	edit.nreplacing = 1;
	edit_block(&ref, 5, &edit);
	UNIT_CHECK(edit.old_block != VDB_BLOCK_NONE, "written anew");
	UNIT_CHECK(!read_row(&ref, 5, 1, &deleted, &drec) && deleted, "removed");
	UNIT_CHECK(!read_row(&ref, 5, 2, &deleted, &drec) && !deleted, "forgotten");
	check_row_xmax(&ref, 5, 3, 2010);
	check_row_xmax(&ref, 5, 4, 2000);
	UNIT_CHECK(vdb_overlay_check(&ref, report, NULL) == 0, "check");
}

/* Which rows may share a delta record, and building units from single ones. */
static void
test_group_delta_alike(void)
{
	VdbTableRef ref = make_striped(64);
	VdbOverlayView *view = malloc(sizeof(VdbOverlayView));
	VdbDeltaRecord *drecs = calloc(VDB_LB_ROWS, sizeof(VdbDeltaRecord));
	uint64		deleted[4] = {0};
	VdbBlock	block;
	uint16		offset;
	const VdbBlockDelta  *bdelta;
	uint32		epoch = vdb_epoch_current(pool);

	for (int i = 0; i < VDB_LB_ROWS; i++)
		drecs[i] = (VdbDeltaRecord) {.index = i,.next_index = i,.infomask = HEAP_XMAX_EXCL_LOCK,
		.infomask2 = HEAP_KEYS_UPDATED,.flags = VDB_DELTA_USED,.xmax = 3000,.cid = 5,
		.xmax_epoch = epoch,.next_lb = 9};
	drecs[0].cid = 6;
	drecs[1].infomask2 = 0;
	drecs[2].xmax = 3001;
	drecs[3].next_lb = 8;
	drecs[4].next_index = 5;
	drecs[5].flags |= VDB_DELTA_MOVED;
	drecs[6].infomask |= HEAP_COMBOCID;
	drecs[7].infomask |= HEAP_XMAX_INVALID;		/* says nothing */
	drecs[8].xmax_epoch++;
	drecs[9].infomask |= HEAP_XMAX_COMMITTED;
	UNIT_CHECK(vdb_overlay_build(&ref, 9, drecs, VDB_LB_ROWS, deleted, &block, &offset), "build");
	bdelta = vdb_block_delta_at(pool, block, offset);
	UNIT_CHECK(vdb_block_delta_used(bdelta) == 16, "%d places", vdb_block_delta_used(bdelta));
	vdb_block_delta_view(bdelta, 9, view);
	UNIT_CHECK(view->ndrecs == 255 && view->drec_at[7] == -1, "%d delta records", view->ndrecs);
	for (int i = 0; i < VDB_LB_ROWS; i++)
		UNIT_CHECK(i == 7 || memcmp(&view->drecs[view->drec_at[i]], &drecs[i],
									sizeof(VdbDeltaRecord)) == 0, "row %d", i);
	vdb_overlay_release(&ref, &(VdbUnusedDelta) {9, block, offset}, 1);
	free(drecs);
	free(view);
}

static void
read_row_0(void *arg)
{
	bool		deleted;
	VdbDeltaRecord drec;

	read_row(arg, 0, 0, &deleted, &drec);
}

static void
test_group_delta_damage(void)
{
	VdbTableRef ref = make_striped(8);
	VdbExtent	extent;
	VdbDeltaRecord *drec;

	touch(&ref, 0, 250, 2000, 0);
	vdb_map_lookup(&ref, 0, &extent);
	drec = (VdbDeltaRecord *) ((char *) vdb_pool_block(pool, extent.overlay_block) +
							   extent.overlay_offset + sizeof(VdbBlockDelta));
	UNIT_CHECK(drec->index == 240 && drec->next_lb == 1 << 10 && drec->next_index == 0, "one row");
	UNIT_CHECK(vdb_overlay_check(&ref, report, NULL) == 0, "check");
	drec->next_lb |= 1 << 16;	/* row 256 */
	UNIT_CHECK(vdb_overlay_check(&ref, report_expected, NULL) == 1, "row 256");
	drec->next_lb = 1;
	drec->index++;
	UNIT_CHECK(vdb_overlay_check(&ref, report_expected, NULL) == 1, "no window");
	drec->index--;
	drec->flags |= VDB_DELTA_MOVED;
	UNIT_CHECK(vdb_overlay_check(&ref, report_expected, NULL) == 1, "moved");
	drec->flags ^= VDB_DELTA_MOVED | 8;
	UNIT_CHECK(vdb_overlay_check(&ref, report_expected, NULL) == 1, "unknown flag");
}

static void
test_damage(void)
{
	VdbTableRef ref = make_striped(8);
	VdbExtent	extent;
	char	   *block;

	touch(&ref, 0, 0, 2000, 0);
	vdb_map_lookup(&ref, 0, &extent);
	block = (char *) vdb_pool_block(pool, extent.overlay_block);
	for (int i = 0; i < 12; i++)
	{
		block[extent.overlay_offset + i] ^= 1;
		UNIT_CHECK(shim_catches(read_row_0, &ref) && shim_sqlstate == ERRCODE_DATA_CORRUPTED,
				   "byte %d", i);
		block[extent.overlay_offset + i] ^= 1;
	}
	for (int i = 0; i < 16; i++)
	{
		block[24 + i] ^= 1;
		UNIT_CHECK(shim_catches(read_row_0, &ref) && shim_sqlstate == ERRCODE_DATA_CORRUPTED,
				   "slab byte %d", i);
		UNIT_CHECK(vdb_overlay_check(&ref, report_expected, NULL) > 0, "check of slab byte %d", i);
		block[24 + i] ^= 1;
	}
}

/* ---- a random history with crashes ---- */

#define NLBS		128
#define NROWS		8				/* rows of an LB that are played with */
#define NXACTS		3
#define MAX_XID		100000

typedef struct RowModel
{
	TransactionId deleter;			/* committed, 0: none */
	int64		deleted_at;			/* WAL position of the commit */
	int			busy;				/* 1 + number of the open transaction that touched it */
	VdbDeltaRecord said;			/* what the deleter stored */
} RowModel;

typedef struct Xact
{
	TransactionId xid;				/* 0: not open */
	int			nrows;
	int			rows[64];			/* lb * NROWS + row */
	bool		deleted[64];
	VdbDeltaRecord said[64];
} Xact;

static RowModel model[NLBS * NROWS];
static Xact xacts[NXACTS];
static bool committed[MAX_XID];		/* as clog says now */
static int64 committed_at[MAX_XID];
static VdbTableRef table;

/* Some of one window, at both ends of both of its words, and some of others. */
static uint8
row_index(int row)
{
	static const uint8 indexes[NROWS] = {0, 3, 31, 32, 39, 40, 200, 255};

	return indexes[row % NROWS];
}

/* Does a reader of this pool take the row for deleted? */
static bool
reads_deleted(const VdbTableRef *ref, int row)
{
	VdbDeltaRecord drec;
	bool		deleted;

	if (!read_row(ref, row / NROWS, row_index(row), &deleted, &drec))
		return deleted;
	if (drec.infomask & (HEAP_XMAX_INVALID | HEAP_XMAX_IS_MULTI | HEAP_XMAX_LOCK_ONLY))
		return false;
	if (drec.xmax >= MAX_XID || !committed[drec.xmax])
		return false;
	drec.infomask &= ~HEAP_XMAX_COMMITTED;
	UNIT_CHECK(model[row].deleter == 0 || memcmp(&drec, &model[row].said, sizeof(drec)) == 0,
			   "lb %d row %d: another delta record than was stored", row / NROWS, row_index(row));
	return true;
}

static void
compare_all(const VdbTableRef *ref, const char *what)
{
	for (int row = 0; row < NLBS * NROWS; row++)
		UNIT_CHECK(reads_deleted(ref, row) == (model[row].deleter != 0),
				   "%s: lb %d row %d: deleted by %u", what, row / NROWS, row_index(row), model[row].deleter);
}

/* The standby has seen all durable WAL: it must agree on what is durable. */
static void
compare_standby(void)
{
	VdbTableRef ref = table;

	mock_flush();
	ref.pool = mock_standby();
	compare_all(&ref, "standby");
}

/* May the transaction lock or delete the row? */
static bool
may_touch(const Xact *xact, int row)
{
	if (model[row].deleter != 0 || (model[row].busy != 0 && model[row].busy != xact - xacts + 1) ||
		xact->nrows == 64)
		return false;
	for (int i = 0; i < xact->nrows; i++)
		if (xact->rows[i] == row && xact->deleted[i])
			return false;
	return true;
}

/*
 * Lock or delete a row. 'like' has the infomask, a multixact id if it is for one, cid and next
 * version (none: 0).
 */
static void
touch_row(Xact *xact, int row, const VdbDeltaRecord *like)
{
	VdbLogicalBlock lb = row / NROWS;
	VdbDeltaRecord drec = *like;
	VdbExtent	extent;
	VdbScmChange *change;

	if (xact->xid == 0)
		xact->xid = mock_next_xid++;
	drec.index = row_index(row);
	drec.flags |= VDB_DELTA_USED;
	drec.xmax_epoch = vdb_epoch_current(pool);
	if (drec.infomask & HEAP_XMAX_IS_MULTI)
		mock_flush();
	else
		drec.xmax = xact->xid;
	if (drec.next_lb == 0)
	{
		drec.next_lb = lb;
		drec.next_index = drec.index;
	}
	model[row].busy = xact - xacts + 1;
	xact->rows[xact->nrows] = row;
	xact->said[xact->nrows] = drec;
	xact->deleted[xact->nrows++] = false;

	LWLockAcquire(block_lock(&table, lb), LW_EXCLUSIVE);
	vdb_map_lookup(&table, lb, &extent);
	UNIT_CHECK(vdb_overlay_prepare(&table, lb, &extent, 1), "pool full");
	change = vdb_scm_change_begin(pool, 0);
	vdb_overlay_set(change, &table, &extent, &drec);
	vdb_scm_change_end(change);
	LWLockRelease(block_lock(&table, lb));
	xact->deleted[xact->nrows - 1] = (drec.infomask & HEAP_XMAX_LOCK_ONLY) == 0;
}

static VdbDeltaRecord
random_drec(void)
{
	VdbDeltaRecord drec = {.cid = unit_random_below(2)};

	if (unit_random_below(3) == 0)
	{
		drec.infomask = HEAP_XMAX_LOCK_ONLY;
		if (unit_random_below(3) == 0)
		{
			drec.infomask |= HEAP_XMAX_IS_MULTI;
			drec.xmax = 50 + unit_random_below(4);
		}
	}
	else if (unit_random_below(4) == 0)
	{
		drec.next_lb = 1 + unit_random_below(NLBS - 1);
		drec.next_index = unit_random_below(256);
		drec.flags = unit_random_below(4) == 0 ? VDB_DELTA_MOVED : 0;
	}
	else
		drec.infomask2 = HEAP_KEYS_UPDATED;
	return drec;
}

/* Half of the time in a few LBs, so that what crashes leave behind is met again. */
static int
random_lb(void)
{
	return unit_random_below(unit_random_below(2) ? NLBS - 3 : 6);
}

static void
play_touch(Xact *xact)
{
	int			row = random_lb() * NROWS + unit_random_below(NROWS);
	VdbDeltaRecord like = random_drec();

	if (may_touch(xact, row))
		touch_row(xact, row, &like);
}

/* One statement over some neighboring LBs. */
static void
play_sweep(Xact *xact)
{
	int			first = random_lb() * NROWS;
	VdbDeltaRecord like = random_drec();

	like.next_lb = 0;
	like.next_index = 0;
	like.flags = 0;
	for (int row = first; row < first + 3 * NROWS; row++)
		if (unit_random_below(8) > 0 && may_touch(xact, row))
			touch_row(xact, row, &like);
}

static void
close_xact(Xact *xact)
{
	for (int i = 0; i < xact->nrows; i++)
		model[xact->rows[i]].busy = 0;
	xact->xid = 0;
	xact->nrows = 0;
}

/* Commit (sometimes without a flush) or abort. */
static void
play_end(Xact *xact)
{
	if (xact->xid == 0)
		return;
	if (unit_random_below(3) == 0)
	{
		VdbTableDelta delta = {.dead_rows = 1};
		VdbScmChange *change;

		/* stands for the commit record */
		(void) vdb_epoch_current(pool);
		LWLockAcquire(vdb_map_lock(table.slot), LW_EXCLUSIVE);
		change = vdb_scm_change_begin(pool, 0);
		vdb_map_table_count(change, &table, &delta);
		vdb_scm_change_end(change);
		LWLockRelease(vdb_map_lock(table.slot));
		if (unit_random_below(4) == 0)
			mock_flush();
		committed[xact->xid] = true;
		committed_at[xact->xid] = mock_wal_position();
		for (int i = 0; i < xact->nrows; i++)
			if (xact->deleted[i])
			{
				model[xact->rows[i]].deleter = xact->xid;
				model[xact->rows[i]].said = xact->said[i];
				model[xact->rows[i]].deleted_at = mock_wal_position();
			}
	}
	close_xact(xact);
}

static void
play_deleted(void)
{
	int			row = unit_random_below(NLBS * NROWS);
	uint64		bits[4] = {0};

	if (model[row].deleter == 0)
		return;
	bits[row_index(row) / 64] = UINT64CONST(1) << (row_index(row) % 64);
	if (unit_random_below(2) == 0)
	{
		VdbOverlayEdit edit = {.nreplacing = 0};

		memcpy(edit.removed, bits, sizeof(edit.removed));
		edit_block(&table, row / NROWS, &edit);
	}
	else
		make_deleted(&table, row / NROWS, bits);
}

static bool
is_open(TransactionId xid)
{
	for (int i = 0; i < NXACTS; i++)
		if (xacts[i].xid == xid)
			return true;
	return false;
}

static void
play_hint(void)
{
	int			row = unit_random_below(NLBS * NROWS);
	VdbExtent	extent;
	VdbDeltaRecord drec;
	bool		deleted;

	vdb_map_lookup(&table, row / NROWS, &extent);
	if (!read_row(&table, row / NROWS, row_index(row), &deleted, &drec) || model[row].busy ||
		(drec.infomask & (HEAP_XMAX_INVALID | HEAP_XMAX_IS_MULTI)))
		return;
	if (is_open(drec.xmax))
		return;
	if (!committed[drec.xmax] || (drec.infomask & HEAP_XMAX_LOCK_ONLY))
		vdb_overlay_hint(&table, &extent, row_index(row), HEAP_XMAX_INVALID);
	else if (committed_at[drec.xmax] <= mock_wal_flushed())
		vdb_overlay_hint(&table, &extent, row_index(row), HEAP_XMAX_COMMITTED);
}

/* Compaction of some LBs: new units, a switch, the old block deltas freed. */
static void
play_switch(void)
{
	int			first = unit_random_below(NLBS - 4);
	uint8		indexes[4];
	VdbBlock	old[4];
	VdbUnusedDelta deltas[4];
	bool		in_change = unit_random_below(2) == 0;
	VdbBlock	blocks[4];
	uint16		offsets[4];
	VdbStripeMeta *meta = calloc(1, sizeof(VdbStripeMeta));
	VdbOverlayView *view = malloc(sizeof(VdbOverlayView));
	VdbBlock	meta_block;
	VdbBlock	pending;
	VdbScmChange *change;

	meta_block = vdb_map_store_meta(&table, meta, NULL);
	free(meta);
	for (int i = 0; i < 4; i++)
		indexes[i] = first + i;
	vdb_map_lock_lbs(&table, 0, indexes, 4);
	for (int i = 0; i < 4; i++)
	{
		VdbExtent	extent;

		vdb_map_lookup(&table, first + i, &extent);
		vdb_overlay_read(&table, &extent, view);
		UNIT_CHECK(vdb_overlay_build(&table, first + i, view->drecs, view->ndrecs, view->deleted,
									 &blocks[i], &offsets[i]), "pool full");
	}
	LWLockAcquire(vdb_map_lock(table.slot), LW_EXCLUSIVE);
	change = vdb_scm_change_begin(pool, VDB_CHANGE_FLUSH);
	for (int i = 0; i < 4; i++)
	{
		VdbExtent	extent;

		vdb_map_lookup(&table, first + i, &extent);
		old[i] = extent.overlay_block;
		deltas[i].lb = first + i;
		deltas[i].block = extent.overlay_block;
		deltas[i].offset = extent.overlay_offset;
		if (in_change)
			vdb_overlay_free(change, &table, first + i, extent.overlay_block,
							 extent.overlay_offset);
	}
	vdb_map_switch(change, &table, 0, indexes, 4, VDB_EXTENT_STRIPE, meta_block, blocks, offsets,
				   (VdbRowSet) {0});
	vdb_scm_change_end(change);
	LWLockRelease(vdb_map_lock(table.slot));
	vdb_map_unlock_lbs(&table, 0, indexes, 4);
	if (in_change)
		vdb_overlay_reclaim(&table, old, 4);
	else
		vdb_overlay_release(&table, deltas, 4);
	while ((pending = vdb_map_table_entry(&table)->pending_meta) != VDB_BLOCK_NONE)
		vdb_map_free_meta(&table, pending);
	free(view);
}

static void
play(void *arg)
{
	int			nops = *(int *) arg;

	while (nops-- > 0)
	{
		uint64		what = unit_random_below(100);
		Xact	   *xact = &xacts[unit_random_below(NXACTS)];

		if (what < 60)
			play_touch(xact);
		else if (what < 70)
			play_sweep(xact);
		else if (what < 85)
			play_end(xact);
		else if (what < 90)
			play_deleted();
		else if (what < 97)
			play_hint();
		else
			play_switch();
	}
}

/* What was lost: open transactions, and commits behind the kept WAL. */
static void
forget_lost(void)
{
	for (int i = 0; i < NXACTS; i++)
		close_xact(&xacts[i]);
	for (int row = 0; row < NLBS * NROWS; row++)
	{
		model[row].busy = 0;
		if (model[row].deleter != 0 && model[row].deleted_at > mock_wal_kept())
			model[row].deleter = 0;
	}
	for (TransactionId xid = 0; xid < MAX_XID; xid++)
		if (committed[xid] && committed_at[xid] > mock_wal_kept())
			committed[xid] = false;
}

/* Units in use, and those among them that no map entry leads to. */
static void
count_delta(int *used, int *lost)
{
	*used = *lost = 0;
	for (int list = 0; list < VDB_TABLE_LISTS; list++)
		for (VdbBlock b = vdb_map_table_entry(&table)->lists[list]; b != VDB_BLOCK_NONE;
			 b = vdb_overlay_slab(&table, b)->next)
			for (int i = 0; i < vdb_overlay_slab(&table, b)->nunits; i++)
			{
				uint16		offset = vdb_block_delta_offset(vdb_overlay_slab(&table,
																			 b)->size_class, i);
				const VdbBlockDelta  *bdelta = vdb_block_delta_at(pool, b, offset);
				VdbExtent	extent;

				if (bdelta->capacity == 0)
					continue;
				++*used;
				vdb_map_lookup(&table, bdelta->lb, &extent);
				if (extent.overlay_block != b || extent.overlay_offset != offset)
					++*lost;
			}
}

/* Distinct metas of the table's one range. */
static int
count_metas(void)
{
	VdbBlock	seen[NLBS];
	int			n = 0;

	for (int lb = 0; lb < NLBS; lb++)
	{
		VdbExtent	extent;
		bool		known = false;

		vdb_map_lookup(&table, lb, &extent);
		for (int i = 0; i < n; i++)
			known = known || seen[i] == extent.ref;
		if (!known)
			seen[n++] = extent.ref;
	}
	return n;
}

static void
start_history(void)
{
	table = make_striped(NLBS);
	mock_flush();
	memset(model, 0, sizeof(model));
	memset(xacts, 0, sizeof(xacts));
	memset(committed, 0, sizeof(committed));
}

static int	histories = 6;
static int	crashes_each = 40;

static void
test_crashes(void)
{
	int			ncrashes = 0;

	for (int h = 0; h < histories; h++)
	{
		start_history();
		for (int i = 0; i < crashes_each; i++)
		{
			int			nops = 5 + unit_random_below(i % 2 ? 30 : 200);
			int			used;
			int			lost;

			mock_crash_at = mock_changes + unit_random_below(i % 3 ? 30 : 200);
			if (!mock_run(play, &nops))
				mock_crash();
			ncrashes++;
			forget_lost();
			compare_all(&table, "after crash");
			compare_standby();
			UNIT_CHECK(vdb_map_check(&table, report, NULL) == 0, "map check");
			if (unit_random_below(2) == 0)
			{
				vdb_map_sweep(&table);
				vdb_overlay_sweep(&table);
				count_delta(&used, &lost);
				UNIT_CHECK(lost == 0, "%d units lost", lost);
				UNIT_CHECK(mock_used_count() == 3 + count_metas() + count_slabs(&table),
						   "%d blocks used, %d slabs", mock_used_count(), count_slabs(&table));
				compare_all(&table, "after sweep");
			}
			UNIT_CHECK(vdb_overlay_check(&table, report, NULL) == 0, "overlay check");
		}
		mock_crash_at = -1;
		vdb_map_table_drop(&table);
		UNIT_CHECK(mock_used_count() == 2, "%d blocks left", mock_used_count());
	}
	printf("# %d crashes\n", ncrashes);
}

/* Row sets against arrays of bools. */
static void
test_row_sets(void)
{
	for (int round = 0; round < 200; round++)
	{
		VdbRowSet	a = {0};
		VdbRowSet	b = {0};
		VdbRowSet	all;
		bool		in_a[VDB_LB_ROWS] = {false};
		bool		in_b[VDB_LB_ROWS] = {false};
		int			n = (int) unit_random_below(VDB_LB_ROWS + 1);
		int			next = VDB_LB_ROWS;
		int			rank = 0;
		int			left = 0;

		UNIT_CHECK(vdb_rowset_is_empty(a) && vdb_rowset_next(a, 0) == VDB_LB_ROWS, "empty");
		for (int i = 0; i < n; i++)
		{
			int			row = (int) unit_random_below(VDB_LB_ROWS);
			int			other = (int) unit_random_below(VDB_LB_ROWS);

			vdb_rowset_add(a, row);
			vdb_rowset_add(b, other);
			in_a[row] = in_b[other] = true;
		}
		UNIT_CHECK(vdb_rowset_next(a, VDB_LB_ROWS) == VDB_LB_ROWS, "past the end");
		for (int row = VDB_LB_ROWS - 1; row >= 0; row--)
		{
			next = in_a[row] ? row : next;
			left += in_a[row] && !in_b[row];
			UNIT_CHECK(vdb_rowset_next(a, row) == next, "next of %d", row);
		}
		for (int row = 0; row < VDB_LB_ROWS; row++)
		{
			UNIT_CHECK(vdb_rowset_has(a, row) == in_a[row], "row %d", row);
			UNIT_CHECK(vdb_rowset_rank(a, row) == rank, "rank of %d", row);
			rank += in_a[row];
		}
		UNIT_CHECK(vdb_rowset_count(a) == rank && vdb_rowset_is_empty(a) == (rank == 0), "count");
		UNIT_CHECK(vdb_rowset_within(a, b) == (left == 0), "within");
		memcpy(all, a, sizeof(all));
		vdb_rowset_unite(all, b);
		UNIT_CHECK(vdb_rowset_within(a, all) && vdb_rowset_within(b, all) &&
				   vdb_rowset_count(all) == vdb_rowset_count(b) + left, "unite");
		vdb_rowset_subtract(all, b);
		UNIT_CHECK(vdb_rowset_count(all) == left && vdb_rowset_within(all, a), "subtract");
		vdb_rowset_fill(all, true);
		UNIT_CHECK(vdb_rowset_count(all) == VDB_LB_ROWS && vdb_rowset_within(a, all), "all");
	}
}

/* ---- spills, over pages in memory ---- */

static char pages[64 * VDB_PAGE_PAYLOAD];
static uint64 pages_written;
static TransactionId running = InvalidTransactionId;
static FormData_pg_class fake_class;
static RelationData fake_rel = {.rd_rel = &fake_class};

uint64
vdb_pages_identity(Relation rel)
{
	return 4711;
}

bool
vdb_pages_removable(uint64 freed, void *arg)
{
	return true;
}

VdbPageWriter *
vdb_page_writer_begin_at(Relation rel, BlockNumber first, uint64 total_bytes)
{
	memset(pages, 0, sizeof(pages));
	pages_written = 0;
	return (VdbPageWriter *) pages;
}

VdbPageWriter *
vdb_page_writer_begin(Relation rel, uint64 total_bytes)
{
	return vdb_page_writer_begin_at(rel, 1, total_bytes);
}

void
vdb_page_writer_append(VdbPageWriter *writer, const void *data, uint64 len)
{
	UNIT_CHECK(pages_written + len <= sizeof(pages), "too long");
	memcpy(pages + pages_written, data, len);
	pages_written += len;
}

BlockNumber
vdb_page_writer_end(VdbPageWriter *writer, uint32 *npages, XLogRecPtr *lsn)
{
	*npages = (uint32) vdb_pages_needed(pages_written);
	*lsn = 1;
	return 1;
}

void
vdb_pages_read(Relation rel, BlockNumber first, uint64 offset, uint64 len, char *dst)
{
	UNIT_CHECK(first == 1 && offset + len <= sizeof(pages), "read of bytes that are not there");
	memcpy(dst, pages + offset, len);
}

/* Even ids have committed. */
bool
TransactionIdDidCommit(TransactionId xid)
{
	return xid % 2 == 0;
}

bool
TransactionIdIsInProgress(TransactionId xid)
{
	return xid == running;
}

bool
TransactionIdFollows(TransactionId a, TransactionId b)
{
	return (int32) (a - b) > 0;
}

bool
LWLockHeldByMe(LWLock *lock)
{
	return LWLockHeldByMeInMode(lock, LW_SHARED) || LWLockHeldByMeInMode(lock, LW_EXCLUSIVE);
}

int
errdetail_internal(const char *fmt,...)
{
	return 0;
}

char *
psprintf(const char *fmt,...)
{
	va_list		args;
	char	   *text = palloc(1000);

	va_start(args, fmt);
	vsnprintf(text, 1000, fmt, args);
	va_end(args);
	return text;
}

void
initStringInfo(StringInfo str)
{
	str->maxlen = sizeof(pages);
	str->data = palloc(str->maxlen);
	str->len = 0;
}

void
appendBinaryStringInfo(StringInfo str, const char *data, int len)
{
	UNIT_CHECK(str->len + len <= str->maxlen, "too long");
	memcpy(str->data + str->len, data, len);
	str->len += len;
}

static int	spill_faults;

static void
count_fault(void *arg, const char *message)
{
	spill_faults++;
}

/* A record that says that xid updated the row, or deleted it if 'next' is the row's own. */
static VdbDeltaRecord
final_record(VdbLogicalBlock lb, uint8 index, TransactionId xid, uint8 next)
{
	VdbDeltaRecord drec = {.index = index,.next_index = next,.next_lb = lb,.xmax = xid,
	.flags = VDB_DELTA_USED};

	return drec;
}

/* What may be spilled. */
static void
test_final(void)
{
	VdbDeltaRecord drec = final_record(0, 1, 1000, 2);

	UNIT_CHECK(vdb_delta_final(&drec), "committed");
	running = 1000;
	UNIT_CHECK(!vdb_delta_final(&drec), "in the commit log, but running");
	running = InvalidTransactionId;
	drec.xmax = 1001;
	UNIT_CHECK(!vdb_delta_final(&drec), "aborted");
	drec.infomask = HEAP_XMAX_COMMITTED;
	UNIT_CHECK(vdb_delta_final(&drec), "known");
	drec.infomask = HEAP_XMAX_INVALID;
	UNIT_CHECK(!vdb_delta_final(&drec), "invalid");
	drec.xmax = 1000;
	drec.infomask = HEAP_XMAX_IS_MULTI;
	UNIT_CHECK(!vdb_delta_final(&drec), "multixact");
	drec.infomask = HEAP_XMAX_LOCK_ONLY | HEAP_XMAX_EXCL_LOCK;
	UNIT_CHECK(!vdb_delta_final(&drec), "lock");
}

/* Check whether reading an LB of the spill raises an error. */
static bool
read_raises(const VdbSpillAddress *spill, VdbLogicalBlock lb)
{
	VdbBlockDeltaImage image;
	volatile bool raised = false;

	PG_TRY();
	{
		vdb_spill_read(&fake_rel, spill, lb, &image);
	}
	PG_CATCH();
	{
		raised = true;
	}
	PG_END_TRY();
	return raised;
}

/* A spill gives back what was written; what the pool says goes before; damage is found. */
static void
test_spill(void)
{
	VdbTableRef ref = make_striped(64);
	VdbSpillWriter *writer = vdb_spill_begin(&ref, 0);
	VdbDeltaRecord drecs[VDB_LB_ROWS];
	VdbSpillAddress spill;
	VdbBlockDeltaImage image;
	VdbOverlayView view;
	VdbDeltaRecord drec;

	for (int i = 0; i < VDB_LB_ROWS; i++)
		drecs[i] = final_record(3, (uint8) i, 2000 + 2 * i, (uint8) (i + 1));
	vdb_spill_add(writer, 3, drecs, VDB_LB_ROWS);	/* all updated */
	for (int i = 0; i < VDB_LB_ROWS; i++)
		drecs[i] = final_record(5, (uint8) i, 5000, (uint8) i);
	vdb_spill_add(writer, 5, drecs, VDB_LB_ROWS);	/* all deleted: group deltas */
	drecs[0] = final_record(255, 17, 4000, 17);
	vdb_spill_add(writer, 255, drecs, 1);
	vdb_spill_write(writer, &fake_rel, &spill);
	UNIT_CHECK(spill.first_page == 1 && spill.nrows == 513 && spill.newest_xmax == 5000 &&
			   spill.id != 0 && spill.npages == vdb_pages_needed(pages_written), "address");
	UNIT_CHECK(pages_written < 4128 + 8128 + 300 + 100, "group deltas");
	vdb_spill_check(&fake_rel, &spill, 0, count_fault, NULL);
	UNIT_CHECK(spill_faults == 0, "check");

	vdb_spill_read(&fake_rel, &spill, 3, &image);
	for (int i = 0; i < VDB_LB_ROWS; i++)
		UNIT_CHECK(vdb_spill_row(&image, 3, (uint8) i, false, &drec) && drec.index == i &&
				   drec.xmax == 2000 + 2 * i && drec.next_index == (uint8) (i + 1) &&
				   (drec.infomask & HEAP_XMAX_COMMITTED) && drec.xmax_epoch == 0, "row %d", i);
	vdb_spill_read(&fake_rel, &spill, 255, &image);
	UNIT_CHECK(!vdb_spill_row(&image, 255, 18, false, &drec), "no such row");

	/* in the pool: a lock of row 17's key; then nothing; then row 17 removed */
	drec = final_record(255, 17, 1, 17);
	drec.infomask = HEAP_XMAX_IS_MULTI;
	UNIT_CHECK(vdb_spill_row(&image, 255, 17, true, &drec) && drec.xmax == 1, "multixact first");
	drec.infomask = HEAP_XMAX_INVALID;
	UNIT_CHECK(vdb_spill_row(&image, 255, 17, true, &drec) && drec.xmax == 4000, "lost");
	memset(&view, 0, sizeof(view));
	memset(view.drec_at, -1, sizeof(view.drec_at));
	vdb_spill_view(&image, 255, &view);
	UNIT_CHECK(view.any && view.ndrecs == 1 && view.drecs[view.drec_at[17]].xmax == 4000, "view");
	memset(view.drec_at, -1, sizeof(view.drec_at));
	view.ndrecs = 0;
	vdb_rowset_add(view.deleted, 17);
	vdb_spill_view(&image, 255, &view);
	UNIT_CHECK(view.any && view.ndrecs == 0, "removed");

	/* each byte counts */
	for (uint64 at = 0; at < pages_written; at++)
	{
		pages[at] ^= 4;
		spill_faults = 0;
		vdb_spill_check(&fake_rel, &spill, 0, count_fault, NULL);
		UNIT_CHECK(spill_faults > 0, "byte %d", (int) at);
		pages[at] ^= 4;
	}
	spill.id++;
	UNIT_CHECK(read_raises(&spill, 3), "another spill");
	spill.id--;
	UNIT_CHECK(!read_raises(&spill, 3) && read_raises(&spill, 4), "an LB without delta records");
}

int
main(int argc, char **argv)
{
	if (argc > 1)
		histories = atoi(argv[1]);
	shim_init();
	unit_run("sets of rows", test_row_sets);
	unit_run("units and delta records in sectors", test_layout);
	unit_run("delta records, growth, replacement, deleted rows", test_basic);
	unit_run("slabs come and go", test_slabs);
	unit_run("many slabs are reclaimed at once", test_reclaim_many);
	unit_run("edits in a full pool", test_edit_full);
	unit_run("group deltas: deleting and locking everything", test_group_delta);
	unit_run("group deltas: what is alike", test_group_delta_alike);
	unit_run("damage is reported", test_damage);
	unit_run("damaged group deltas are reported", test_group_delta_damage);
	unit_run("delta records that may be spilled", test_final);
	unit_run("spills", test_spill);
	unit_run("random history with crashes", test_crashes);
	return unit_finish();
}
