/*-------------------------------------------------------------------------
 *
 * pages_visible.c
 *	  The visibility map: the logical blocks that index-only scans need not visit.
 *
 * The fork and its pages are core's (two bits a block, of which only 'all
 * visible' is used), because core's executor, planner and ANALYZE read them.
 * README.md says what a set bit promises and when it may be set; this file
 * only changes and logs bits.
 *
 * The WAL records are our own.  Core's records need a buffer of the main fork,
 * and generic WAL leaves out what it takes for the page's hole, which here is
 * the bitmap.  The first record after a checkpoint carries the whole page, as
 * usual.  The growth of the fork is not logged, as in core: redo makes a page
 * that is missing.
 *
 * Locks: the caller holds the logical block's block lock in exclusive mode.
 * The page's content lock is taken here, for the change alone.  The caller pins
 * the page beforehand, as that may read, extend the fork and wait.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/visibilitymap.h"
#include "access/xloginsert.h"
#include "access/xlogutils.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "storage/bufmgr.h"
#include "storage/smgr.h"

#include "pages/pages_format.h"
#include "scm/scm.h"

#define LBS_PER_BYTE	(BITS_PER_BYTE / BITS_PER_HEAPBLOCK)
#define VDB_VISIBLE_BITS 0x55		/* the bits of a byte that mean 'all visible' */
#define LBS_PER_PAGE	((uint32) VDB_PAGE_PAYLOAD * LBS_PER_BYTE)

/* Return the byte of its page that has the logical block's bit. */
static inline uint8 *
bits_of(Page page, VdbLogicalBlock lb)
{
	return (uint8 *) PageGetContents(page) + lb % LBS_PER_PAGE / LBS_PER_BYTE;
}

/* Return the mask of the logical block's 'all visible' bit in its byte. */
static inline uint8
mask_of(VdbLogicalBlock lb)
{
	return (uint8) (VISIBILITYMAP_ALL_VISIBLE << (lb % LBS_PER_BYTE * BITS_PER_HEAPBLOCK));
}

/*
 * Change the page's bits as the record says, both for the change itself and for its redo.  The page
 * is locked in exclusive mode.
 */
static void
apply_visible(Page page, const VdbVisibleRecord *record)
{
	switch (record->what)
	{
		case VDB_VISIBLE_SET:
			*bits_of(page, record->lb) |= mask_of(record->lb);
			break;
		case VDB_VISIBLE_CLEAR:
			*bits_of(page, record->lb) &= ~mask_of(record->lb);
			break;
		case VDB_VISIBLE_CLEAR_PAGE:
			memset(PageGetContents(page), 0, VDB_PAGE_PAYLOAD);
			break;
	}
}

/* Change and log a pinned page.  Raises no error. */
static void
change_page(Relation rel, Buffer buffer, uint8 what, VdbLogicalBlock lb)
{
	VdbVisibleRecord record = {.version = VDB_VISIBLE_VERSION,.what = what,.lb = lb};
	Page		page = BufferGetPage(buffer);

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	START_CRIT_SECTION();
	apply_visible(page, &record);
	MarkBufferDirty(buffer);
	if (RelationNeedsWAL(rel))
		PageSetLSN(page, vdb_scm_log_page(buffer, &record, sizeof(record)));
	END_CRIT_SECTION();
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
}

bool
vdb_visible_peek(Relation rel, VdbLogicalBlock lb, Buffer *buffer)
{
	return (visibilitymap_get_status(rel, lb, buffer) & VISIBILITYMAP_ALL_VISIBLE) != 0;
}

void
vdb_visible_pin(Relation rel, VdbLogicalBlock lb, Buffer *buffer)
{
	visibilitymap_pin(rel, lb, buffer);
}

bool
vdb_visible_pinned(VdbLogicalBlock lb, Buffer buffer)
{
	return visibilitymap_pin_ok(lb, buffer);
}

bool
vdb_visible_test(VdbLogicalBlock lb, Buffer buffer)
{
	Assert(vdb_visible_pinned(lb, buffer));
	return (*bits_of(BufferGetPage(buffer), lb) & mask_of(lb)) != 0;
}

void
vdb_visible_set(Relation rel, VdbLogicalBlock lb, Buffer buffer)
{
	if (!vdb_visible_test(lb, buffer))
		change_page(rel, buffer, VDB_VISIBLE_SET, lb);
}

void
vdb_visible_clear(Relation rel, VdbLogicalBlock lb, Buffer buffer)
{
	/* The bit changes only under the block lock, so it can be read without the page's lock. */
	if (vdb_visible_test(lb, buffer))
		change_page(rel, buffer, VDB_VISIBLE_CLEAR, lb);
}

void
vdb_visible_clear_all(Relation rel)
{
	BlockNumber npages;

	if (!smgrexists(RelationGetSmgr(rel), VISIBILITYMAP_FORKNUM))
		return;
	npages = smgrnblocks(RelationGetSmgr(rel), VISIBILITYMAP_FORKNUM);
	for (BlockNumber page = 0; page < npages; page++)
	{
		VdbLogicalBlock lb = (VdbLogicalBlock) page * LBS_PER_PAGE;
		Buffer		buffer = InvalidBuffer;

		CHECK_FOR_INTERRUPTS();
		visibilitymap_pin(rel, lb, &buffer);
		change_page(rel, buffer, VDB_VISIBLE_CLEAR_PAGE, lb);
		ReleaseBuffer(buffer);
	}
}

BlockNumber
vdb_visible_count(Relation rel)
{
	BlockNumber visible;

	visibilitymap_count(rel, &visible, NULL);
	return visible;
}

uint32
vdb_visible_count_some(Relation rel, VdbLogicalBlock first, uint32 n, Buffer *buffer)
{
	uint32		visible = 0;

	Assert(first % LBS_PER_BYTE == 0 && n % LBS_PER_BYTE == 0);
	for (VdbLogicalBlock lb = first; lb < first + n; lb += LBS_PER_BYTE)
	{
		uint8		bits;

		if ((lb == first || lb % LBS_PER_PAGE == 0) && !vdb_visible_peek(rel, lb, buffer) &&
			!BufferIsValid(*buffer))
			return visible;		/* the fork ends before it */
		bits = *bits_of(BufferGetPage(*buffer), lb) & VDB_VISIBLE_BITS;
		visible += pg_number_of_ones[bits];
	}
	return visible;
}

/* ---- recovery ---- */

/* Copy the record's main data to *record.  PANIC if it is malformed. */
static void
parse(XLogReaderState *xlog, VdbVisibleRecord *record)
{
	if (XLogRecGetDataLen(xlog) != sizeof(VdbVisibleRecord))
		elog(PANIC, "record of a visibility map has a wrong length");
	memcpy(record, XLogRecGetData(xlog), sizeof(VdbVisibleRecord));
	if (record->version != VDB_VISIBLE_VERSION || record->what < VDB_VISIBLE_SET ||
		record->what > VDB_VISIBLE_CLEAR_PAGE)
		elog(PANIC, "record of a visibility map has unknown version %u or kind %u",
			 record->version, record->what);
}

bool
vdb_pages_run_record(XLogReaderState *xlog, VdbRunRecord *record)
{
	if (XLogRecGetDataLen(xlog) != sizeof(VdbRunRecord))
		return false;
	memcpy(record, XLogRecGetData(xlog), sizeof(VdbRunRecord));
	return record->version == VDB_VISIBLE_VERSION && record->what == VDB_RUN_PAGE;
}

/* Redo a record about a wide row's page: restore the image that it always has. */
static void
redo_run_page(XLogReaderState *xlog)
{
	Buffer		buffer;

	if (XLogReadBufferForRedo(xlog, 0, &buffer) != BLK_RESTORED)
		elog(PANIC, "record of a run's page has no image");
	UnlockReleaseBuffer(buffer);
}

/*
 * Redo a record about an ordinary page.  There is no conflict with queries to resolve, as the
 * record that froze the stripe has done that (README.md).
 */
static void
redo_visible(XLogReaderState *xlog)
{
	VdbVisibleRecord record;
	VdbRunRecord run;
	Buffer		buffer;

	if (vdb_pages_run_record(xlog, &run))
	{
		redo_run_page(xlog);
		return;
	}
	parse(xlog, &record);
	if (XLogReadBufferForRedoExtended(xlog, 0, RBM_ZERO_ON_ERROR, false, &buffer) == BLK_NEEDS_REDO)
	{
		Page		page = BufferGetPage(buffer);

		if (PageIsNew(page))
			PageInit(page, BLCKSZ, 0);
		apply_visible(page, &record);
		PageSetLSN(page, xlog->EndRecPtr);
		MarkBufferDirty(buffer);
	}
	if (BufferIsValid(buffer))
		UnlockReleaseBuffer(buffer);
}

/* Describe a record about an ordinary page. */
static void
desc_visible(StringInfo buf, XLogReaderState *xlog)
{
	static const char *const kinds[] = {"?", "set", "clear", "clear page"};
	VdbVisibleRecord record;
	VdbRunRecord run;

	if (vdb_pages_run_record(xlog, &run))
	{
		appendStringInfo(buf, "wide row: %u bytes from page %u on", run.total, run.first_page);
		return;
	}
	if (XLogRecGetDataLen(xlog) != sizeof(record))
	{
		appendStringInfoString(buf, "wrong length");
		return;
	}
	memcpy(&record, XLogRecGetData(xlog), sizeof(record));
	appendStringInfo(buf, "visibility map: %s; logical block %u",
					 kinds[record.what < lengthof(kinds) ? record.what : 0], record.lb);
}

static const VdbPageRedo visible_redo = {
	.redo = redo_visible,
	.desc = desc_visible,
};

void
vdb_visible_init(void)
{
	vdb_scm_set_page_redo(&visible_redo);
}
