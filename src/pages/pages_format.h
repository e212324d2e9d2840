/*-------------------------------------------------------------------------
 *
 * pages_format.h
 *	  The bytes of the main fork, its metapage and the pages of runs, and the WAL records of pages.
 *
 * Every page begins with core's 24-byte page header, so that checksums, WAL
 * and the tools of the server work as with any table.
 *
 * The metapage is block 0, and the only block of an INIT fork.  Its header has
 * pd_lower at the end of VdbMetapage, and pd_upper = pd_special = BLCKSZ.
 *
 * All other blocks are pages of runs.  Their header has pd_lower = pd_upper =
 * pd_special = BLCKSZ, so the page has no hole; bytes 24 to 8191 are content.
 * The last page of a run is filled up with zeros.  A page that is all zeros
 * was allocated and not written before a crash or an error; it belongs to no
 * run.
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

/* The content of the metapage, at byte 24 of block 0. */
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

/* ---- WAL records VDB_XLOG_PAGE (scm_format.h); all begin with 'version' and 'what' ---- */

/* Records of the visibility map. */

#define VDB_VISIBLE_VERSION		1
#define VDB_VISIBLE_SET			1
#define VDB_VISIBLE_CLEAR		2
#define VDB_VISIBLE_CLEAR_PAGE	3	/* lb is the first logical block of the page */

/* The main data of a record; block 0 of the record is the map's page. */
typedef struct VdbVisibleRecord
{
	uint8		version;			/* 0: VDB_VISIBLE_VERSION */
	uint8		what;				/* 1: VDB_VISIBLE_SET, _CLEAR, _CLEAR_PAGE */
	uint16		pad;				/* 2: zero */
	VdbLogicalBlock lb;				/* 4 */
} VdbVisibleRecord;

StaticAssertDecl(sizeof(VdbVisibleRecord) == 8, "record of the visibility map is 8 bytes in WAL");

/* ---- WAL records of a wide row's page that are for logical decoding, too ---- */

#define VDB_RUN_PAGE			4	/* value of 'what', beside those above */

/* The main data of a record; block 0 of the record is the page, always with its image. */
typedef struct VdbRunRecord
{
	uint8		version;			/* 0: VDB_VISIBLE_VERSION */
	uint8		what;				/* 1: VDB_RUN_PAGE */
	uint8		first;				/* 2: 1 if the run is the first of a batch of rows, else 0 */
	uint8		pad;				/* 3: zero */
	BlockNumber first_page;			/* 4: first page of the run */
	uint32		total;				/* 8: bytes of the run's content */
} VdbRunRecord;

StaticAssertDecl(sizeof(VdbRunRecord) == 12, "record of a run's page is 12 bytes in WAL");

struct XLogReaderState;

/*
 * Check whether this record (VDB_XLOG_PAGE) is about a page of a wide row, and copy its main data
 * to *record, which is undefined if the result is false.
 */
extern bool vdb_pages_run_record(struct XLogReaderState *xlog, VdbRunRecord *record);

#endif							/* VDB_PAGES_FORMAT_H */
