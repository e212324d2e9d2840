/*-------------------------------------------------------------------------
 *
 * scm_redo.c
 *	  The resource manager: redo of logged changes, and their description.
 *
 * Redo writes a change's bytes where they belong, whatever is there now.  It
 * looks at no page and no LSN, so it is right on any mix of older, newer and
 * torn sectors, and needs no full-page images.
 *
 * The file may be missing or too short, because a later record drops the
 * relation or because the file system lost what was never synced.  Then it is
 * created and extended.  It may also have been replaced or truncated by earlier
 * records of the same recovery, so the file is checked (fstat) for each record
 * before its mapping is touched.
 *
 * In hot standby readers run meanwhile.  The record names the block locks that
 * they use, and the newest removed transaction id.  Conflicts are resolved
 * before the locks are taken.
 *
 * A structural record advances minRecoveryPoint (XLogFlush in recovery) before
 * it is applied.  Otherwise a standby that was stopped and started again could
 * open for queries with map entries from later WAL.
 *
 * Records about ordinary pages are redone by pages/ as in core, by LSN and
 * full-page images.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>
#include <unistd.h>

#include "access/multixact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xloginsert.h"
#include "access/xlogreader.h"
#include "access/xlogutils.h"
#include "common/relpath.h"
#include "miscadmin.h"
#include "storage/standby.h"
#include "utils/memutils.h"

#include "scm/scm_internal.h"
#include "scm/scm_pack.h"

/* Files kept open and mapped: more than one record can name. */
#define REDO_FILES	(VDB_CHANGE_MAX_BLOCKS + 7)

/* A file of a pool that redo keeps open and mapped. */
typedef struct RedoFile
{
	RelFileLocator rnode;
	uint32		file;				/* number of the file in its pool */
	int			fd;					/* -1: unused */
	char	   *base;				/* where the file is mapped */
	bool		is_pmem;
	uint64		last_use;			/* redo_clock at the last use */
	uint64		backed[VDB_FILE_BLOCKS / VDB_SEGMENT_BLOCKS / 64];	/* bit per segment: it is known
																	 * to have space */
} RedoFile;

/* A parsed record. */
typedef struct RedoChange
{
	VdbChangeRecord head;
	TransactionId latest_removed;	/* or invalid */
	uint16		locks[VDB_BLOCK_LOCKS]; /* ascending */
	uint32		extend_blocks;		/* blocks that the pool must be long, or 0 */
	int			nblocks;
	RelFileLocator rnode;
	VdbBlock	blocks[VDB_CHANGE_MAX_BLOCKS];
	char	   *spans[VDB_CHANGE_MAX_BLOCKS];	/* of VDB_CHANGE_BLOCK_BYTES each */
	Size		lengths[VDB_CHANGE_MAX_BLOCKS];
	char	   *targets[VDB_CHANGE_MAX_BLOCKS]; /* where the blocks are mapped */
	bool		is_pmem;			/* all files are in persistent memory */
} RedoChange;

static const VdbPageRedo *page_redo = NULL;
static RedoFile redo_files[REDO_FILES];
static bool redo_started = false;
static bool redo_opened = false;	/* a file has been opened for this record */
static uint64 redo_clock = 0;

/* ---- files ---- */

static void
close_redo_file(RedoFile *entry)
{
	if (entry->fd < 0)
		return;
	vdb_file_unmap(entry->base);
	close(entry->fd);
	entry->fd = -1;
	entry->last_use = 0;
}

/* Find the file's entry if it is open, else close the least recently used entry for it. */
static RedoFile *
find_redo_file(const RelFileLocator *rnode, uint32 file)
{
	RedoFile   *oldest = &redo_files[0];

	for (int i = 0; i < REDO_FILES; i++)
	{
		RedoFile   *entry = &redo_files[i];

		if (entry->fd >= 0 && entry->file == file &&
			RelFileLocatorEquals(entry->rnode, *rnode))
			return entry;
		if (entry->last_use < oldest->last_use)
			oldest = entry;
	}
	close_redo_file(oldest);
	return oldest;
}

/*
 * Check whether the file is open, is still the one at its path, and has at least 'bytes' bytes.
 * Closes it if it was removed meanwhile.
 */
static bool
redo_file_is_good(RedoFile *entry, uint64 bytes)
{
	struct stat st;

	if (entry->fd < 0)
		return false;
	if (fstat(entry->fd, &st) != 0)
		elog(PANIC, "could not stat the pool's file in recovery: %m");
	if (st.st_nlink == 0)
	{
		close_redo_file(entry);
		return false;
	}
	return st.st_size >= bytes;
}

static void
open_redo_file(RedoFile *entry, const RelFileLocator *rnode, uint32 file)
{
	char		path[MAXPGPATH];

	vdb_file_path(rnode, file, path);
	entry->fd = vdb_file_open(rnode, file, false);
	if (entry->fd < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\": %m", path)));
	entry->base = vdb_file_map(entry->fd, path, &entry->is_pmem);
	entry->rnode = *rnode;
	entry->file = file;
	memset(entry->backed, 0, sizeof(entry->backed));
	redo_opened = true;
}

/* Note that segments may have lost their space. */
static void
forget_backed(void)
{
	for (int i = 0; i < REDO_FILES; i++)
		memset(redo_files[i].backed, 0, sizeof(redo_files[i].backed));
}

/* Stop recovery because blocks cannot be allocated. */
static void
stop_without_space(VdbBlock block, int error)
{
	errno = error;
	ereport(FATAL,
			(errcode_for_file_access(),
			 errmsg("could not allocate block %u of the pool in recovery: %m", block),
			 errhint("Free space on its file system and start the server again.")));
}

/*
 * Allocate space for the block's segment if the file has a hole there, as a copy may have.  A store
 * into a hole of a full file system would end the process.
 */
static void
fill_redo_file(RedoFile *entry, VdbBlock block)
{
	uint32		no = block % VDB_FILE_BLOCKS / VDB_SEGMENT_BLOCKS;
	VdbBlock	first = block - block % VDB_SEGMENT_BLOCKS;
	int			rc;

	if ((entry->backed[no / 64] & (UINT64CONST(1) << (no % 64))) != 0)
		return;
	rc = vdb_file_fill(&entry->rnode, first, VDB_SEGMENT_BLOCKS);
	if (rc != 0)
		stop_without_space(first, rc);
	entry->backed[no / 64] |= UINT64CONST(1) << (no % 64);
}

/*
 * Create and extend the files so that the pool has at least 'nblocks' blocks.  A lack of space
 * stops recovery, as it does in core.
 */
static void
redo_extend(const RelFileLocator *rnode, uint32 nblocks)
{
	if (!vdb_file_extend(rnode, nblocks, true))
		ereport(FATAL,
				(errcode(ERRCODE_DISK_FULL),
				 errmsg("could not extend the pool to %u blocks in recovery: %m", nblocks),
				 errhint("Free space on its file system and start the server again.")));
}

/*
 * Return the address at which a block is mapped; creates and extends the file as needed.  With
 * 'stores' the block has space on the file system then.  Sets *is_pmem to false if the file is not
 * in persistent memory.
 */
static char *
redo_target(const RelFileLocator *rnode, VdbBlock block, bool stores, bool *is_pmem)
{
	uint32		file = block / VDB_FILE_BLOCKS;
	uint64		end = (uint64) (block % VDB_FILE_BLOCKS + 1) * VDB_POOL_BLOCK_BYTES;
	RedoFile   *entry = find_redo_file(rnode, file);

	if (!redo_file_is_good(entry, end))
	{
		/* Whole segments, so that the file's length stays regular. */
		redo_extend(rnode, (block / VDB_SEGMENT_BLOCKS + 1) * VDB_SEGMENT_BLOCKS);
		if (entry->fd < 0)
			open_redo_file(entry, rnode, file);
	}
	if (stores)
		fill_redo_file(entry, block);
	entry->last_use = ++redo_clock;
	*is_pmem &= entry->is_pmem;
	return entry->base + (size_t) (block % VDB_FILE_BLOCKS) * VDB_POOL_BLOCK_BYTES;
}

/* ---- parsing a record ---- */

/* Parse the record's main data.  PANIC if it is malformed. */
static void
parse_main_data(XLogReaderState *record, RedoChange *change)
{
	const char *from = XLogRecGetData(record);
	Size		len = XLogRecGetDataLen(record);
	Size		want = sizeof(VdbChangeRecord);

	change->extend_blocks = 0;
	if (len < want)
		elog(PANIC, "pool record is too short");
	memcpy(&change->head, from, sizeof(VdbChangeRecord));
	if (change->head.version != VDB_RECORD_VERSION)
		elog(PANIC, "pool record has unknown version %u", change->head.version);
	if (change->head.nlocks > VDB_BLOCK_LOCKS)
		elog(PANIC, "pool record names %u locks", change->head.nlocks);
	want += change->head.nlocks * sizeof(uint16);
	if (change->head.flags & VDB_RECORD_CONFLICT)
		want += sizeof(TransactionId);
	if (change->head.flags & VDB_RECORD_EXTEND)
		want += sizeof(uint32);
	if ((change->head.flags & VDB_RECORD_EVENT) ? len <= want : len != want)
		elog(PANIC, "pool record has a wrong length");
	from += sizeof(VdbChangeRecord);
	change->latest_removed = InvalidTransactionId;
	if (change->head.flags & VDB_RECORD_CONFLICT)
	{
		memcpy(&change->latest_removed, from, sizeof(TransactionId));
		from += sizeof(TransactionId);
	}
	memcpy(change->locks, from, change->head.nlocks * sizeof(uint16));
	from += change->head.nlocks * sizeof(uint16);
	if (change->head.flags & VDB_RECORD_EXTEND)
		memcpy(&change->extend_blocks, from, sizeof(uint32));
}

/* Check that the spans are well-formed.  PANIC if they are not. */
static void
check_spans(const char *spans, Size len)
{
	const char *at = spans;
	VdbSpan		span;

	while (vdb_span_next(&at, spans + len, &span))
		;
	if (at != spans + len)
		elog(PANIC, "pool record has malformed ranges");
}

/* Unpack and check the record's spans of each block.  PANIC if they are malformed. */
static void
parse_blocks(XLogReaderState *record, RedoChange *change)
{
	int			nblocks = XLogRecMaxBlockId(record) + 1;

	if (nblocks < 1 || nblocks > VDB_CHANGE_MAX_BLOCKS)
		elog(PANIC, "pool record has %d blocks", nblocks);
	change->nblocks = nblocks;
	for (int i = 0; i < nblocks; i++)
	{
		ForkNumber	fork;
		char	   *packed;
		Size		len;

		XLogRecGetBlockTag(record, i, &change->rnode, &fork, &change->blocks[i]);
		Assert(fork == MAIN_FORKNUM);
		change->lengths[i] = 0;
		packed = XLogRecGetBlockData(record, i, &len);
		if (packed == NULL)
			continue;			/* named without a store */
		if (!vdb_spans_unpack(packed, len, change->spans[i], VDB_CHANGE_BLOCK_BYTES,
							  &change->lengths[i]))
			elog(PANIC, "pool record has malformed ranges for block %u", change->blocks[i]);
		check_spans(change->spans[i], change->lengths[i]);
	}
}

/* ---- redo ---- */

/* Allocate space for segments in a row.  A lack of space stops recovery. */
static void
back_run(const RelFileLocator *rnode, uint32 segment_no, uint32 n)
{
	VdbBlock	block = vdb_segment_block(segment_no);
	int			rc;

	if (n == 0)
		return;
	redo_extend(rnode, block + n * VDB_SEGMENT_BLOCKS);
	rc = vdb_file_back(rnode, block, n * VDB_SEGMENT_BLOCKS);
	if (rc != 0)
		stop_without_space(block, rc);
	for (uint32 file = block / VDB_FILE_BLOCKS;
		 file <= (block + n * VDB_SEGMENT_BLOCKS - 1) / VDB_FILE_BLOCKS; file++)
	{
		if (!vdb_sync_try(rnode, file, NULL))
			vdb_file_sync(rnode, file);
	}
}

/*
 * Allocate space for the segments whose state words the change stores, which are to be free.  The
 * files lack it if they were those of a server that was a primary, and has been rewound.
 */
static void
back_segments(RedoChange *change)
{
	uint32		first = 0;
	uint32		n = 0;

	for (int i = 0; i < change->nblocks; i++)
	{
		uint32		base = change->blocks[i] / VDB_GROUP_BLOCKS * VDB_GROUP_SEGMENTS;
		const char *at = change->spans[i];
		VdbSpan		span;

		while (vdb_span_next(&at, change->spans[i] + change->lengths[i], &span))
		{
			uint32		no = base + (VDB_SPAN_OFFSET(span.head.address) -
									 VDB_POOL_BLOCK_HEADER) / sizeof(uint64);

			if (no != first + n)
			{
				back_run(&change->rnode, first, n);
				first = no;
				n = 0;
			}
			n++;
		}
	}
	back_run(&change->rnode, first, n);
}

/* Find the addresses of all blocks; creates and extends files as needed. */
static void
find_targets(RedoChange *change)
{
	change->is_pmem = true;
	if (change->extend_blocks > 0)
		redo_extend(&change->rnode, change->extend_blocks);
	if (change->head.flags & VDB_RECORD_BACK)
		back_segments(change);

	for (int i = 0; i < change->nblocks; i++)
		change->targets[i] = redo_target(&change->rnode, change->blocks[i],
										 change->lengths[i] > 0, &change->is_pmem);
}

/* Apply the change phase by phase, with a fence after each. */
static void
apply_phases(RedoChange *change)
{
	for (int phase = 0; phase < VDB_PHASES; phase++)
	{
		for (int i = 0; i < change->nblocks; i++)
			vdb_spans_apply(change->is_pmem, change->blocks[i], change->targets[i],
							change->spans[i], change->lengths[i], phase);
		vdb_persist->fence(change->is_pmem);
	}
}

/* Apply the change under its block locks, which are taken in ascending order. */
static void
apply_locked(RedoChange *change)
{
	for (int i = 0; i < change->head.nlocks; i++)
		LWLockAcquire(vdb_block_lock(change->locks[i]), LW_EXCLUSIVE);
	apply_phases(change);
	for (int i = change->head.nlocks - 1; i >= 0; i--)
		LWLockRelease(vdb_block_lock(change->locks[i]));
}

/* Request a sync of the touched files, or sync them here if the queue is full. */
static void
request_redo_syncs(RedoChange *change)
{
	uint32		previous = PG_UINT32_MAX;

	for (int i = 0; i < change->nblocks; i++)
	{
		uint32		file = change->blocks[i] / VDB_FILE_BLOCKS;

		if (file == previous)
			continue;
		previous = file;
		if (!vdb_sync_try(&change->rnode, file, NULL))
			vdb_file_sync(&change->rnode, file);
	}
}

static inline bool
is_page_record(XLogReaderState *record)
{
	return (XLogRecGetInfo(record) & ~XLR_INFO_MASK) == VDB_XLOG_PAGE;
}

static inline bool
is_event_record(XLogReaderState *record)
{
	return (XLogRecGetInfo(record) & ~XLR_INFO_MASK) == VDB_XLOG_EVENT;
}

/* Redo a record; the resource manager's rm_redo. */
static void
redo(XLogReaderState *record)
{
	static RedoChange change;

	if (is_page_record(record))
	{
		page_redo->redo(record);
		return;
	}
	if (is_event_record(record))
		return;
	if (!redo_started)
	{
		for (int i = 0; i < REDO_FILES; i++)
			redo_files[i].fd = -1;
		for (int i = 0; i < VDB_CHANGE_MAX_BLOCKS; i++)
			change.spans[i] = MemoryContextAlloc(TopMemoryContext, VDB_CHANGE_BLOCK_BYTES);
		redo_started = true;
	}
	if (vdb_holes_punch_in_redo())
		forget_backed();
	parse_main_data(record, &change);
	parse_blocks(record, &change);
	redo_opened = false;
	if (InHotStandby && TransactionIdIsValid(change.latest_removed))
		vdb_recovery_conflict(change.latest_removed, &change.rnode);
	if (change.head.flags & VDB_RECORD_FLUSH)
		XLogFlush(record->EndRecPtr);
	find_targets(&change);
	apply_locked(&change);
	request_redo_syncs(&change);
	if (redo_opened || (change.head.flags & VDB_RECORD_RELEASE))
		vdb_holes_note(&change.rnode, record->EndRecPtr);
}

/* ---- description ---- */

/* Describe a record; the resource manager's rm_desc. */
static void
desc(StringInfo buf, XLogReaderState *record)
{
	VdbChangeRecord head;
	TransactionId removed;

	if (is_page_record(record))
	{
		page_redo->desc(buf, record);
		return;
	}
	if (is_event_record(record))
	{
		appendStringInfo(buf, "old row: %u bytes", XLogRecGetDataLen(record));
		return;
	}
	if (XLogRecGetDataLen(record) < sizeof(head))
	{
		appendStringInfoString(buf, "too short");
		return;
	}
	memcpy(&head, XLogRecGetData(record), sizeof(head));
	appendStringInfo(buf, "version %u; blocks %d; block locks %u", head.version,
					 XLogRecMaxBlockId(record) + 1, head.nlocks);
	if ((head.flags & VDB_RECORD_CONFLICT) &&
		XLogRecGetDataLen(record) >= sizeof(head) + sizeof(removed))
	{
		memcpy(&removed, XLogRecGetData(record) + sizeof(head), sizeof(removed));
		appendStringInfo(buf, "; latestRemovedXid %u", removed);
	}
	if (head.flags & VDB_RECORD_FLUSH)
		appendStringInfoString(buf, "; flushed first");
	if (head.flags & VDB_RECORD_EXTEND)
		appendStringInfoString(buf, "; extends");
	if (head.flags & VDB_RECORD_BACK)
		appendStringInfoString(buf, "; allocates");
	if (head.flags & VDB_RECORD_RELEASE)
		appendStringInfoString(buf, "; releases");
	if (head.flags & VDB_RECORD_EVENT)
		appendStringInfoString(buf, "; decoded");
}

/* Name the type of a record; the resource manager's rm_identify. */
static const char *
identify(uint8 info)
{
	switch (info & ~XLR_INFO_MASK)
	{
		case VDB_XLOG_CHANGE:
			return "CHANGE";
		case VDB_XLOG_STRUCTURE:
			return "STRUCTURE";
		case VDB_XLOG_PAGE:
			return "PAGE";
		case VDB_XLOG_EVENT:
			return "EVENT";
		default:
			return NULL;
	}
}

/*
 * Note the end of recovery; the resource manager's rm_cleanup.  Runs in the
 * startup process before any other process can write.  It is not called if
 * there was nothing to redo.
 */
static void
cleanup(void)
{
	vdb_shared->recovered = true;
	vdb_shared->epoch_limit = TransamVariables->nextXid;
	vdb_shared->multi_limit = ReadNextMultiXactId();
	vdb_ends_note(vdb_epoch_limits(vdb_shared->epoch_limit, vdb_shared->multi_limit));
	for (int i = 0; redo_started && i < REDO_FILES; i++)
		close_redo_file(&redo_files[i]);
}

/* ---- ordinary pages ---- */

void
vdb_scm_set_page_redo(const VdbPageRedo *routines)
{
	page_redo = routines;
}

/* The page is registered without REGBUF_STANDARD, as its hole may have content. */
XLogRecPtr
vdb_scm_log_page(Buffer buffer, const void *data, uint16 len)
{
	Assert(CritSectionCount > 0);
	XLogBeginInsert();
	XLogRegisterBuffer(0, buffer, 0);
	XLogRegisterData(unconstify(char *, (const char *) data), len);
	return XLogInsert(VDB_RMGR_ID, VDB_XLOG_PAGE);
}

XLogRecPtr
vdb_scm_log_whole_page(Buffer buffer, const void *data, uint16 len)
{
	Assert(CritSectionCount > 0);
	XLogBeginInsert();
	XLogSetRecordFlags(XLOG_INCLUDE_ORIGIN);
	XLogRegisterBuffer(0, buffer, REGBUF_FORCE_IMAGE);
	XLogRegisterData(unconstify(char *, (const char *) data), len);
	return XLogInsert(VDB_RMGR_ID, VDB_XLOG_PAGE);
}

static const RmgrData manager = {
	.rm_name = VDB_RMGR_NAME,
	.rm_redo = redo,
	.rm_desc = desc,
	.rm_identify = identify,
	.rm_startup = NULL,
	.rm_cleanup = cleanup,
	.rm_mask = NULL,
	.rm_decode = vdb_scm_decode,
};

/*
 * Initialize the stores to the medium, recoveries' ends and marks, and register the resource
 * manager.  Called by _PG_init while preloading.
 */
void
vdb_scm_init(void)
{
	vdb_persist_init();
	vdb_ends_init();
	vdb_marks_init();
	vdb_register_rmgr(VDB_RMGR_ID, &manager);
}
