/*-------------------------------------------------------------------------
 *
 * pages_run.c
 *	  Writing and reading of runs of pages.
 *
 * A run is written in two steps:
 *
 * 1. The fork is extended by zero pages under the relation extension lock, for
 *	  the whole run at once so that it is consecutive.  The zero pages are
 *	  really written, not left as a hole, so a full disk shows now and not in a
 *	  later checkpoint.
 * 2. The pages are filled one after the other through buffers, each with a
 *	  full-page record.  The extension lock is not held meanwhile, so large runs
 *	  don't keep other sessions from extending.
 *
 * An error or a crash in between leaves only pages that are zeros or that
 * nothing refers to.
 *
 * Other processes can read a run when its place is published elsewhere, after
 * its last record.  From then on its pages are not changed.
 *
 * Locks: the relation extension lock during allocation (not for local
 * relations), and one buffer content lock at a time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xloginsert.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "storage/smgr.h"
#include "utils/snapmgr.h"

#include "base/vdb_stop_point.h"
#include "pages/pages_format.h"
#include "scm/scm.h"

/* The state of writing one run. */
struct VdbPageWriter
{
	Relation	rel;
	BlockNumber first;				/* first page of the run */
	uint32		npages;				/* pages of the run */
	uint32		pages_done;			/* pages written so far */
	uint64		total_bytes;		/* bytes of the run, announced at begin */
	uint64		bytes_taken;		/* bytes appended so far */
	uint32		fill;				/* bytes in 'content' */
	bool		needs_wal;
	bool		for_decoding;		/* log the pages for logical decoding, too */
	bool		first_of_batch;		/* for decoding: the first run of a batch of rows */
	XLogRecPtr	lsn;				/* end of the last record, or invalid */
	BufferAccessStrategy strategy;
	char		content[VDB_PAGE_PAYLOAD];	/* a page that is not yet full */
};

BlockNumber
vdb_pages_count(Relation rel)
{
	return smgrnblocks(RelationGetSmgr(rel), MAIN_FORKNUM);
}

bool
vdb_pages_removable(uint64 freed, void *arg)
{
	Relation	rel = (Relation) arg;

	/*
	 * The horizon of a temporary table takes no account of our own snapshots, though an open
	 * cursor may still read what we replaced.  So ask for the horizon of shared relations.
	 */
	return GlobalVisCheckRemovableFullXid(RELATION_IS_LOCAL(rel) ? NULL : rel,
										  FullTransactionIdFromU64(freed));
}

/* ---- allocation ---- */

/* Extend the main fork by npages zero pages and return the first one. */
static BlockNumber
run_allocate(Relation rel, uint64 npages)
{
	PGIOAlignedBlock zero;
	bool		need_lock = !RELATION_IS_LOCAL(rel);
	bool		temp = RelationUsesLocalBuffers(rel);
	BlockNumber first;

	memset(zero.data, 0, BLCKSZ);
	if (need_lock)
		LockRelationForExtension(rel, ExclusiveLock);

	first = vdb_pages_count(rel);
	if (first == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("metapage of table \"%s\" is missing",
						RelationGetRelationName(rel)),
				 errdetail("The main fork has no pages.")));
	if (npages > (uint64) MaxBlockNumber - first)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("cannot extend table \"%s\" beyond %u blocks",
						RelationGetRelationName(rel), MaxBlockNumber)));

	for (uint64 i = 0; i < npages; i++)
	{
		CHECK_FOR_INTERRUPTS();
		smgrextend(RelationGetSmgr(rel), MAIN_FORKNUM, first + (BlockNumber) i,
				   zero.data, temp);
	}

	if (need_lock)
		UnlockRelationForExtension(rel, ExclusiveLock);
	VDB_STOP_POINT("pages-extended");
	return first;
}

/* ---- writing ---- */

VdbPageWriter *
vdb_page_writer_begin_at(Relation rel, BlockNumber first, uint64 total_bytes)
{
	VdbPageWriter *writer;

	Assert(total_bytes > 0);
	Assert(first != VDB_METAPAGE_BLOCK);

	writer = (VdbPageWriter *) palloc0(sizeof(VdbPageWriter));
	writer->rel = rel;
	writer->first = first;
	writer->npages = (uint32) vdb_pages_needed(total_bytes);
	writer->total_bytes = total_bytes;
	writer->needs_wal = RelationNeedsWAL(rel);
	writer->lsn = InvalidXLogRecPtr;
	writer->strategy = vdb_bulk_write_strategy();
	return writer;
}

VdbPageWriter *
vdb_page_writer_begin(Relation rel, uint64 total_bytes)
{
	return vdb_page_writer_begin_at(rel,
									run_allocate(rel, vdb_pages_needed(total_bytes)),
									total_bytes);
}

void
vdb_page_writer_for_decoding(VdbPageWriter *writer, bool first)
{
	Assert(writer->pages_done == 0);
	writer->for_decoding = true;
	writer->first_of_batch = first;
}

/* Log the whole page; must be called in the critical section that filled it. */
static XLogRecPtr
log_run_page(const VdbPageWriter *writer, Buffer buffer)
{
	VdbRunRecord record = {.version = VDB_VISIBLE_VERSION,.what = VDB_RUN_PAGE};
	XLogRecPtr	lsn;

	if (!writer->for_decoding)
		return log_newpage_buffer(buffer, false);
	record.first = writer->first_of_batch ? 1 : 0;
	record.first_page = writer->first;
	record.total = (uint32) writer->total_bytes;
	lsn = vdb_scm_log_whole_page(buffer, &record, sizeof(record));
	PageSetLSN(BufferGetPage(buffer), lsn);
	return lsn;
}

/* Write one page of content: VDB_PAGE_PAYLOAD bytes. */
static void
writer_put_page(VdbPageWriter *writer, const char *content)
{
	BlockNumber block = writer->first + writer->pages_done;
	Buffer		buffer;
	Page		page;

	Assert(writer->pages_done < writer->npages);
	CHECK_FOR_INTERRUPTS();

	buffer = ReadBufferExtended(writer->rel, MAIN_FORKNUM, block,
								RBM_ZERO_AND_LOCK, writer->strategy);
	page = BufferGetPage(buffer);

	START_CRIT_SECTION();
	PageInit(page, BLCKSZ, 0);
	((PageHeader) page)->pd_lower = BLCKSZ;
	memcpy((char *) page + SizeOfPageHeaderData, content, VDB_PAGE_PAYLOAD);
	MarkBufferDirty(buffer);
	if (writer->needs_wal)
		writer->lsn = log_run_page(writer, buffer);
	END_CRIT_SECTION();

	UnlockReleaseBuffer(buffer);
	writer->pages_done++;
	VDB_STOP_POINT("pages-put");
}

void
vdb_page_writer_append(VdbPageWriter *writer, const void *data, uint64 len)
{
	const char *from = (const char *) data;

	Assert(len <= writer->total_bytes - writer->bytes_taken);
	writer->bytes_taken += len;

	while (len > 0)
	{
		uint64		part;

		/* Whole pages need no copy on the way. */
		if (writer->fill == 0 && len >= VDB_PAGE_PAYLOAD)
		{
			writer_put_page(writer, from);
			from += VDB_PAGE_PAYLOAD;
			len -= VDB_PAGE_PAYLOAD;
			continue;
		}

		part = Min(len, (uint64) (VDB_PAGE_PAYLOAD - writer->fill));
		memcpy(writer->content + writer->fill, from, part);
		writer->fill += (uint32) part;
		from += part;
		len -= part;
		if (writer->fill == VDB_PAGE_PAYLOAD)
		{
			writer_put_page(writer, writer->content);
			writer->fill = 0;
		}
	}
}

BlockNumber
vdb_page_writer_end(VdbPageWriter *writer, uint32 *npages, XLogRecPtr *lsn)
{
	BlockNumber first = writer->first;

	if (writer->bytes_taken != writer->total_bytes)
		elog(ERROR, "run of " UINT64_FORMAT " bytes got " UINT64_FORMAT,
			 writer->total_bytes, writer->bytes_taken);

	if (writer->fill > 0)
	{
		memset(writer->content + writer->fill, 0, VDB_PAGE_PAYLOAD - writer->fill);
		writer_put_page(writer, writer->content);
	}
	Assert(writer->pages_done == writer->npages);

	*npages = writer->npages;
	*lsn = writer->lsn;
	FreeAccessStrategy(writer->strategy);
	pfree(writer);
	return first;
}

/* ---- reading ---- */

/* Raise the error about a page that is no page of a run; 'detail' is a full sentence. */
static void
run_page_damaged(Relation rel, BlockNumber block, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("page %u of table \"%s\" is damaged",
					block, RelationGetRelationName(rel)),
			 errdetail_internal("%s", detail)));
}

/* Raise an error unless the page, whose buffer is locked, is a page of a run. */
static void
run_page_check(Relation rel, BlockNumber block, Page page)
{
	PageHeader	header = (PageHeader) page;

	if (PageIsNew(page))
		run_page_damaged(rel, block, "Expected a page of a run, found an empty page.");
	if (header->pd_lower != BLCKSZ || header->pd_upper != BLCKSZ)
		run_page_damaged(rel, block,
						 psprintf("Expected a page of a run, with bounds %d and %d, found bounds %u and %u.",
								  BLCKSZ, BLCKSZ, header->pd_lower, header->pd_upper));
}

/*
 * Check that the main fork has the page, which belongs to the run at 'first'.  The file system is
 * only asked about pages past the size that was last seen: pages of a run aren't cut off while a
 * process may read it.
 */
static void
check_page_exists(Relation rel, BlockNumber first, uint64 page)
{
	BlockNumber count = RelationGetSmgr(rel)->smgr_cached_nblocks[MAIN_FORKNUM];

	if (likely(count != InvalidBlockNumber && page < count))
		return;
	count = vdb_pages_count(rel);
	if (page >= count)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("page " UINT64_FORMAT " of table \"%s\" is missing",
						page, RelationGetRelationName(rel)),
				 errdetail("A run that begins at page %u needs it, but the main fork has only %u pages.",
						   first, count)));
}

void
vdb_pages_read(Relation rel, BlockNumber first, uint64 offset, uint64 len, char *dst)
{
	uint64		page_no = offset / VDB_PAGE_PAYLOAD;
	uint32		skip = (uint32) (offset % VDB_PAGE_PAYLOAD);

	/* Check this before all reads, since core's message names only the file. */
	if (len > 0)
		check_page_exists(rel, first, first + (offset + len - 1) / VDB_PAGE_PAYLOAD);

	while (len > 0)
	{
		BlockNumber block = first + (BlockNumber) page_no;
		uint32		part = (uint32) Min(len, (uint64) (VDB_PAGE_PAYLOAD - skip));
		Buffer		buffer;
		Page		page;

		CHECK_FOR_INTERRUPTS();
		buffer = ReadBufferExtended(rel, MAIN_FORKNUM, block, RBM_NORMAL, NULL);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		page = BufferGetPage(buffer);
		run_page_check(rel, block, page);
		memcpy(dst, (char *) page + SizeOfPageHeaderData + skip, part);
		UnlockReleaseBuffer(buffer);

		dst += part;
		len -= part;
		skip = 0;
		page_no++;
	}
}

void
vdb_pages_prefetch(Relation rel, BlockNumber first, uint64 offset, uint64 len)
{
	uint64		block;
	uint64		end;

	if (len == 0)
		return;
	block = first + offset / VDB_PAGE_PAYLOAD;
	end = first + (offset + len - 1) / VDB_PAGE_PAYLOAD + 1;
	end = Min(end, (uint64) vdb_pages_count(rel));
	for (; block < end; block++)
		PrefetchBuffer(rel, MAIN_FORKNUM, (BlockNumber) block);
}
