/*-------------------------------------------------------------------------
 *
 * pages.h
 *	  Runs of ordinary pages in a table's main fork: the bytes of stripes and wide rows.
 *
 * Block 0 of the main fork is the metapage.  A run is a number of consecutive pages whose contents
 * (after the 24-byte page header) form one byte stream.  This folder is on level 2: it knows
 * neither rows nor stripes.
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
 * Create the storage of a new table: the main fork with its metapage, and the
 * INIT fork if the table is unlogged.  Both are WAL-logged as core does it.
 * 'rel' need not be complete: only its name is used, for messages.
 */
extern void vdb_pages_create(Relation rel, const RelFileLocator *rnode, char persistence);

/*
 * Check the metapage (magic, checksum, version, BLCKSZ, rows of a logical
 * block).  Raises ERRCODE_DATA_CORRUPTED with a hint if it is damaged, and
 * ERRCODE_FEATURE_NOT_SUPPORTED if its version is another one.  The check is
 * cheap; it is made once per relcache entry.
 */
extern void vdb_pages_check(Relation rel);

/*
 * Return the random number that the storage got when it was created.  Checks
 * the metapage as vdb_pages_check does, with the same errors.
 */
extern uint64 vdb_pages_identity(Relation rel);

/*
 * Return the number of pages of the main fork.  (RelationGetNumberOfBlocks
 * would ask our own callback.)
 */
extern BlockNumber vdb_pages_count(Relation rel);

/* Return the number of pages that a run of 'bytes' bytes takes. */
static inline uint64
vdb_pages_needed(uint64 bytes)
{
	return (bytes + VDB_PAGE_PAYLOAD - 1) / VDB_PAGE_PAYLOAD;
}

/*
 * Write a run piece by piece, as it may be too large to hold in memory at once.
 * The pages are filled through buffers and logged in full, unless the relation
 * needs no WAL.
 *
 * vdb_page_writer_begin allocates the whole run at the end of the fork, so the
 * total must be known beforehand.  It takes the relation extension lock.
 * vdb_page_writer_begin_at overwrites the free run at 'first' instead; the
 * caller makes sure that no process can read that run any more.
 *
 * vdb_page_writer_end returns the first page and sets *npages to the number of
 * pages and *lsn to the end of the last record, or to InvalidXLogRecPtr if
 * nothing was logged.  It frees the writer.  It raises an error if the bytes
 * appended are not as many as were announced.
 *
 * A writer lives in the memory context that is current at begin.  After an
 * error it is freed with that context, and its pages stay unused.
 */
typedef struct VdbPageWriter VdbPageWriter;
extern VdbPageWriter *vdb_page_writer_begin(Relation rel, uint64 total_bytes);
extern VdbPageWriter *vdb_page_writer_begin_at(Relation rel, BlockNumber first, uint64 total_bytes);

/*
 * Log the pages of this run, which is a wide row's, for logical decoding, too.  'first' says that
 * the run is the first of a batch: no row of the table whose pages were logged before still waits
 * to be stored.  Must be called before the first append.
 */
extern void vdb_page_writer_for_decoding(VdbPageWriter *writer, bool first);
extern void vdb_page_writer_append(VdbPageWriter *writer, const void *data, uint64 len);
extern BlockNumber vdb_page_writer_end(VdbPageWriter *writer, uint32 *npages, XLogRecPtr *lsn);

/*
 * Read 'len' bytes at byte 'offset' of the run at 'first' into 'dst'.  Raises
 * ERRCODE_DATA_CORRUPTED if a page is missing or is no page of a run.
 */
extern void vdb_pages_read(Relation rel, BlockNumber first, uint64 offset, uint64 len, char *dst);

/*
 * Check whether freed pages may be overwritten, that is, whether every snapshot
 * that may still read them has ended.  'freed' is the next full transaction id
 * at the moment when they were freed, and 'arg' is the Relation.  Asks the
 * server's horizons; raises no error.
 */
extern bool vdb_pages_removable(uint64 freed, void *arg);

/* Prefetch the pages that hold these bytes of a run.  Missing pages are skipped without error. */
extern void vdb_pages_prefetch(Relation rel, BlockNumber first, uint64 offset, uint64 len);

/* ---- the visibility map (pages_visible.c); README.md says what a set bit promises ---- */

/*
 * Check whether the logical block's bit is set, and pin the map's page on the way.  If the fork is
 * not known to be so long, the result is false and *buffer becomes InvalidBuffer.  On entry *buffer
 * is InvalidBuffer or what an earlier call left; the caller releases it.  May read the page.
 */
extern bool vdb_visible_peek(Relation rel, VdbLogicalBlock lb, Buffer *buffer);

/*
 * Pin the map's page of the logical block; creates or extends the fork if necessary.  *buffer: as
 * vdb_visible_peek.  May do I/O and wait for another process that extends the fork, so the caller
 * must hold no lightweight lock.
 */
extern void vdb_visible_pin(Relation rel, VdbLogicalBlock lb, Buffer *buffer);

/* Check whether 'buffer' is the map's page of the logical block. */
extern bool vdb_visible_pinned(VdbLogicalBlock lb, Buffer buffer);

/*
 * Check whether the logical block's bit is set on a pinned page, without I/O.  The answer is
 * certain only while the caller holds the block lock, in either mode.
 */
extern bool vdb_visible_test(VdbLogicalBlock lb, Buffer buffer);

/*
 * Set or clear the logical block's bit and log that, unless the bit is so already.  The caller
 * holds the block lock in exclusive mode and a pin of the page.  Does no I/O and raises no error.
 */
extern void vdb_visible_set(Relation rel, VdbLogicalBlock lb, Buffer buffer);
extern void vdb_visible_clear(Relation rel, VdbLogicalBlock lb, Buffer buffer);

/* Clear all bits of a table that no other session can use.  Logged, one record per page. */
extern void vdb_visible_clear_all(Relation rel);

/* Count the bits that are set. */
extern BlockNumber vdb_visible_count(Relation rel);

/*
 * Count the set bits of 'n' logical blocks from 'first' on; both are multiples of four.  The count
 * is a hint, as no lock is taken.  *buffer: as vdb_visible_peek; the fork is not extended.
 */
extern uint32 vdb_visible_count_some(Relation rel, VdbLogicalBlock first, uint32 n, Buffer *buffer);

/* Register redo of the records about ordinary pages.  Called by _PG_init while preloading. */
extern void vdb_visible_init(void);

#endif							/* VDB_PAGES_H */
