/*-------------------------------------------------------------------------
 *
 * pages_format.h
 *	  The bytes of the main fork: metapage and pages of runs.
 *
 * Every page begins with core's 24-byte page header, so that checksums, WAL
 * and the tools of the server work as with any table.
 *
 * Metapage (block 0, and the only block of an INIT fork): header with
 * pd_lower at the end of VdbMetapage, pd_upper = pd_special = BLCKSZ.
 *
 * Page of a run (all other blocks): pd_lower = pd_upper = pd_special = BLCKSZ,
 * that is, a page without a hole; bytes 24 to 8191 are content.  The last page
 * of a run is filled up with zeros.  A page of zeros is one that was allocated
 * and not written before a crash or an error: it belongs to no run.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_PAGES_FORMAT_H
#define VDB_PAGES_FORMAT_H

#include "storage/bufpage.h"

#include "pages/pages.h"

#define VDB_METAPAGE_MAGIC		0x4D424456	/* "VDBM" on media */
#define VDB_METAPAGE_VERSION	1
#define VDB_METAPAGE_BLOCK		0

/* At byte 24 of block 0. */
typedef struct VdbMetapage
{
	uint32		magic;				/* 0: VDB_METAPAGE_MAGIC */
	uint16		version;			/* 4: VDB_METAPAGE_VERSION */
	uint16		flags;				/* 6: zero */
	uint32		page_bytes;			/* 8: BLCKSZ */
	uint32		lb_rows;			/* 12: VDB_LB_ROWS */
	uint64		identity;			/* 16: random, given when the storage was created */
	uint8		reserved[36];		/* 24: zero */
	uint32		crc;				/* 60: CRC-32C of bytes 0 to 59 */
} VdbMetapage;

StaticAssertDecl(sizeof(VdbMetapage) == 64, "metapage content is 64 bytes on media");
StaticAssertDecl(offsetof(VdbMetapage, identity) == 16, "identity is at 16");
StaticAssertDecl(offsetof(VdbMetapage, crc) == 60, "crc is at 60");
StaticAssertDecl(SizeOfPageHeaderData == 24, "page header is 24 bytes");
StaticAssertDecl(VDB_PAGE_PAYLOAD % 8 == 0, "content of a page keeps alignment");

/* ---- WAL: records VDB_XLOG_PAGE (scm_format.h); 'version' and 'what' are common to all ---- */

/* The visibility map. */

#define VDB_VISIBLE_VERSION		1
#define VDB_VISIBLE_SET			1
#define VDB_VISIBLE_CLEAR		2
#define VDB_VISIBLE_CLEAR_PAGE	3	/* lb is the first of the page */

/* Main data; block 0 of the record is the page of the fork. */
typedef struct VdbVisibleRecord
{
	uint8		version;			/* 0: VDB_VISIBLE_VERSION */
	uint8		what;				/* 1: VDB_VISIBLE_SET, _CLEAR, _CLEAR_PAGE */
	uint16		pad;				/* 2: zero */
	VdbLogicalBlock lb;				/* 4 */
} VdbVisibleRecord;

StaticAssertDecl(sizeof(VdbVisibleRecord) == 8, "record of the visibility map is 8 bytes in WAL");

/* ---- WAL of a page of a wide row, if it is for logical decoding, too ---- */

#define VDB_RUN_PAGE			4		/* 'what', beside those above */

/* Main data; block 0 of the record is the page, always with its image. */
typedef struct VdbRunRecord
{
	uint8		version;			/* 0: VDB_VISIBLE_VERSION */
	uint8		what;				/* 1: VDB_RUN_PAGE */
	uint8		first;				/* 2: 1: the first run of a batch of rows */
	uint8		pad;				/* 3: zero */
	BlockNumber first_page;			/* 4: of its run */
	uint32		total;				/* 8: bytes of the run */
} VdbRunRecord;

StaticAssertDecl(sizeof(VdbRunRecord) == 12, "record of a run's page is 12 bytes in WAL");

struct XLogReaderState;

/* Is this record (VDB_XLOG_PAGE) about a page of a wide row? */
extern bool vdb_pages_run_record(struct XLogReaderState *xlog, VdbRunRecord *record);

#endif							/* VDB_PAGES_FORMAT_H */
