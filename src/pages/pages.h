/*-------------------------------------------------------------------------
 *
 * pages.h
 *	  Runs of ordinary pages in a table's main fork: the bytes of stripes and wide rows.
 *
 * Block 0 of the main fork is the metapage.  A run is a number of consecutive pages whose contents
 * (after the 24-byte page header) form one byte stream.  Level 2: knows no rows, no stripes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_PAGES_H
#define VDB_PAGES_H

#include "access/xlogdefs.h"
#include "storage/block.h"
#include "storage/buf.h"
#include "utils/rel.h"

#include "base/vdb_compat.h"
#include "base/vdb_types.h"

#define VDB_PAGE_PAYLOAD	(BLCKSZ - 24)	/* SizeOfPageHeaderData */

/*
 * Create the storage of a new table: main fork with metapage, INIT fork when
 * unlogged; WAL-logged as core does it.  rel may be valid only in part: no
 * more than its name and persistence kind are looked at, for messages.
 */
extern void vdb_pages_create(Relation rel, const RelFileLocator *rnode, char persistence);

/*
 * Check the metapage (magic, version, BLCKSZ); ERRCODE_DATA_CORRUPTED and a
 * hint otherwise.  Cheap; called once per relcache entry.
 */
extern void vdb_pages_check(Relation rel);

/* The random number that the storage got when it was created; checks as above. */
extern uint64 vdb_pages_identity(Relation rel);

/* Pages of the main fork.  (RelationGetNumberOfBlocks would ask our own callback.) */
extern BlockNumber vdb_pages_count(Relation rel);

/* Pages that a run of so many bytes takes. */
static inline uint64
vdb_pages_needed(uint64 bytes)
{
	return (bytes + VDB_PAGE_PAYLOAD - 1) / VDB_PAGE_PAYLOAD;
}

/*
 * Write a run, piecewise, as it may be too large to hold in memory at once: extends
 * the fork, fills pages through shared buffers, logs full pages unless the relation
 * needs no WAL.  _end returns the first page and the number of pages; *lsn gets the
 * last record's end, or InvalidXLogRecPtr when nothing was logged.  The total is known
 * beforehand: the run is allocated by begin.  begin_at
 * overwrites a free run at 'first' instead; the caller knows that no process can
 * read it any more.  A writer lives in the context current at begin; after an
 * error it simply goes with it, and its pages stay unused.
 */
typedef struct VdbPageWriter VdbPageWriter;
extern VdbPageWriter *vdb_page_writer_begin(Relation rel, uint64 total_bytes);
extern VdbPageWriter *vdb_page_writer_begin_at(Relation rel, BlockNumber first, uint64 total_bytes);
/*
 * The run is a wide row's, and its pages are logged for logical decoding, too.  first: no row of
 * the table waits to be stored of which pages were logged before.  Before the first append.
 */
extern void vdb_page_writer_for_decoding(VdbPageWriter *writer, bool first);
extern void vdb_page_writer_append(VdbPageWriter *writer, const void *data, uint64 len);
extern BlockNumber vdb_page_writer_end(VdbPageWriter *writer, uint32 *npages, XLogRecPtr *lsn);

/*
 * Read len bytes at byte offset of a run into dst.  ERRCODE_DATA_CORRUPTED
 * when a page is missing or not one of a run.
 */
extern void vdb_pages_read(Relation rel, BlockNumber first, uint64 offset, uint64 len, char *dst);

/*
 * May pages that were freed then (the next full transaction id of that
 * moment) be overwritten, that is, has every snapshot that may still read
 * them ended?  arg: the Relation.  Asks the server's horizons; no error.
 */
extern bool vdb_pages_removable(uint64 freed, void *arg);

/* Prefetch the pages that hold these bytes.  Never an error for missing pages. */
extern void vdb_pages_prefetch(Relation rel, BlockNumber first, uint64 offset, uint64 len);

/* ---- the visibility map (pages_visible.c); what a set bit promises: README.md ---- */

/*
 * Is the block's bit set, and is its page pinned on the way?  Only if the fork
 * is known to be so long, else *buffer is InvalidBuffer.  *buffer: InvalidBuffer
 * or what an earlier call left; the caller releases it.  May read the page.
 */
extern bool vdb_visible_peek(Relation rel, VdbLogicalBlock lb, Buffer *buffer);

/*
 * Pin the block's page, for sure: makes and extends the fork, may wait for who extends it.  No lock
 * held.
 */
extern void vdb_visible_pin(Relation rel, VdbLogicalBlock lb, Buffer *buffer);

/* Is this a pin of the block's page? */
extern bool vdb_visible_pinned(VdbLogicalBlock lb, Buffer buffer);

/*
 * On a pinned page, without I/O.  To be sure of a bit, hold the block's block lock in either mode.
 */
extern bool vdb_visible_test(VdbLogicalBlock lb, Buffer buffer);

/*
 * Set or clear, and log it, unless it is so already.  Block lock held exclusive, page pinned.  No
 * I/O, no error.
 */
extern void vdb_visible_set(Relation rel, VdbLogicalBlock lb, Buffer buffer);
extern void vdb_visible_clear(Relation rel, VdbLogicalBlock lb, Buffer buffer);

/* Clear all bits of a table that no other session can use. */
extern void vdb_visible_clear_all(Relation rel);

/* Bits that are set. */
extern BlockNumber vdb_visible_count(Relation rel);

/*
 * How many of n logical blocks from 'first' on are marked; both multiples of four.  A hint.
 * *buffer: as vdb_visible_pin, but the fork is not extended.
 */
extern uint32 vdb_visible_count_some(Relation rel, VdbLogicalBlock first, uint32 n, Buffer *buffer);

extern void vdb_visible_init(void);	/* _PG_init */

#endif							/* VDB_PAGES_H */
