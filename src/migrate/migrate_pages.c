/*-------------------------------------------------------------------------
 *
 * migrate_pages.c
 *	  Finding pages of the main fork that nothing refers to, and cutting off free ones at its end.
 *
 * Migration itself notes the pages that it makes free (migrate_range.c).  Pages that were leaked by
 * crashes and errors, or that a full list could not hold, VACUUM finds by mark and sweep: a bitmap
 * of all pages that stripes and wide rows refer to, against the list (map_pages.c says why that
 * takes two rounds).
 *
 * Locks: the migration lock for the whole sweep, so that no stripe moves; block locks shared, one
 * at a time.  Cutting takes AccessExclusiveLock if it is free.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/storage.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/rel.h"

#include "base/vdb_stop_point.h"
#include "migrate/migrate.h"
#include "pages/pages.h"

/* Header, wide reference and checksum of a wide row, as vdb_rows_copy gives them. */
#define WIDE_IMAGE_BYTES	(256 + sizeof(VdbWideRef) + VDB_ROW_CRC_BYTES)

/* State of a sweep: a bitmap of the pages that are referred to. */
typedef struct PageMarks
{
	const VdbTableRef *ref;
	BlockNumber npages;
	uint8	   *used;
	VdbBlock	last_meta;
} PageMarks;

static void
mark_run(PageMarks *marks, BlockNumber first, uint32 npages)
{
	for (uint64 page = first; page < (uint64) first + npages && page < marks->npages; page++)
		marks->used[page / 8] |= 1 << (page % 8);
}

/*
 * Mark the pages of the wide rows of a segment's block, dead ones included.  The block lock is held
 * shared.
 */
static void
mark_segment(PageMarks *marks, const VdbExtent *extent, VdbLogicalBlock lb)
{
	union
	{
		uint64		align;
		char		bytes[WIDE_IMAGE_BYTES];
	}			image;
	VdbVersion	version;
	VdbWideRef	wide;
	bool		removed;

	Assert(VDB_BLOCK_LOCKED(marks->ref, lb));
	for (int i = 0; i < VDB_LB_ROWS; i++)
	{
		if (!vdb_rows_version(marks->ref, extent, lb, (uint8) i, &version, &removed) ||
			!version.wide)
			continue;
		if (version.len > WIDE_IMAGE_BYTES - VDB_ROW_CRC_BYTES)
			continue;			/* damaged: vdb.verify reports it */
		vdb_rows_copy(marks->ref, &version, image.bytes);
		memcpy(&wide, image.bytes + version.hdr.t_hoff, sizeof(wide));
		mark_run(marks, wide.first_page, wide.npages);
	}
}

/* Mark the pages that one logical block refers to. */
static void
mark_block(PageMarks *marks, VdbLogicalBlock lb)
{
	VdbExtent	extent;

	vdb_lock_block(marks->ref, lb, LW_SHARED);
	vdb_map_lookup(marks->ref, lb, &extent);
	if (extent.kind == VDB_EXTENT_SEGMENT)
		mark_segment(marks, &extent, lb);
	else if (extent.kind == VDB_EXTENT_STRIPE && extent.ref != marks->last_meta)
	{
		const VdbStripeMeta *meta = vdb_map_meta(marks->ref->pool, extent.ref);

		mark_run(marks, meta->first_page, meta->npages);
		mark_run(marks, meta->spill.first_page, meta->spill.npages);
		marks->last_meta = extent.ref;
	}
	vdb_unlock_block(marks->ref, lb);
}

/* Mark the pages that any logical block of the table refers to. */
static void
mark_all(PageMarks *marks)
{
	VdbCursor	cursor;

	vdb_cursor_init_blocks(&cursor, marks->ref);
	while (vdb_cursor_next(&cursor))
	{
		CHECK_FOR_INTERRUPTS();
		mark_block(marks, vdb_cursor_lb(&cursor));
	}
}

/* Check whether a run was freed at the given id or before. */
static bool
freed_before(uint64 freed, void *arg)
{
	return freed <= *(const uint64 *) arg;
}

/* Return the latest 'freed' of a listed run that no snapshot can read now; 0 if there is none. */
static uint64
removable_until(Relation rel, const VdbTableRef *ref)
{
	VdbFreeRun *runs = palloc(VDB_FREE_RUNS * sizeof(VdbFreeRun));
	int			n = vdb_map_list_free_pages(ref, runs);
	uint64		until = 0;

	for (int i = 0; i < n; i++)
	{
		uint64		freed = VDB_FREE_RUN_XID(&runs[i]);

		if (freed > until && vdb_pages_removable(freed, rel))
			until = freed;
	}
	pfree(runs);
	return until;
}

/* See migrate.h. */
void
vdb_migrate_sweep_pages(Relation rel, const VdbTableRef *ref)
{
	PageMarks	marks = {.ref = ref,.last_meta = VDB_BLOCK_NONE};
	uint64		until;

	Assert(CheckRelationLockedByMe(rel, AccessShareLock, true));
	(void) vdb_table_migration_lock(rel, true);
	marks.npages = vdb_pages_count(rel);
	if (marks.npages > 1)
	{
		/*
		 * read before the marking: a transaction that could still store a row there has done so by
		 * then
		 */
		until = removable_until(rel, ref);
		marks.used = MemoryContextAllocExtended(CurrentMemoryContext, marks.npages / 8 + 1,
												MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
		mark_all(&marks);
		VDB_STOP_POINT("migrate-pages-marked");
		vdb_map_sweep_free_pages(ref, marks.used, marks.npages, freed_before, &until);
		pfree(marks.used);
	}
	vdb_table_migration_unlock(rel);
}

/*
 * See migrate.h.  With the lock no other session has the table open, so the pages are not read,
 * however young they are; queries of a standby can't read them either, as the lock's own record
 * ends them.  The list is shortened first: a crash in between leaks pages.
 */
BlockNumber
vdb_migrate_cut_pages(Relation rel, const VdbTableRef *ref)
{
	BlockNumber npages = vdb_pages_count(rel);
	BlockNumber left = vdb_map_cut_free_pages(ref, npages, false);

	if (!vdb_migrate_truncate(npages, npages - left) ||
		!ConditionalLockRelation(rel, AccessExclusiveLock))
		return 0;
	npages = vdb_pages_count(rel);
	left = vdb_map_cut_free_pages(ref, npages, true);
	Assert(left <= npages);
	VDB_STOP_POINT("migrate-before-cut");
	if (left < npages)
		RelationTruncate(rel, left);
	UnlockRelation(rel, AccessExclusiveLock);
	return npages - left;
}
