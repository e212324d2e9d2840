/*-------------------------------------------------------------------------
 *
 * pages_meta.c
 *	  Creation of a table's storage, and its metapage.
 *
 * The metapage of a permanent or unlogged table is written through a shared
 * buffer.  The buffer is dirty before its WAL record exists, so a checkpoint
 * between record and write takes care of it, and no fsync is needed.  The
 * metapages of INIT forks and temporary tables are written directly.  An INIT
 * fork then needs the fsync, since a checkpoint may have passed its record
 * before the write was known.
 *
 * At wal_level = minimal a new main fork is not logged: RelationCreateStorage
 * has noted it for sync at commit, and RelationNeedsWAL is false until then.
 * The INIT fork is always logged, as in core.
 *
 * Locks: none are needed for creation, as no other process knows the new
 * storage.  The check takes a share lock on the metapage's buffer.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xloginsert.h"
#include "catalog/pg_class.h"
#include "catalog/storage.h"
#include "catalog/storage_xlog.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/smgr.h"

#include "base/vdb_crc.h"
#include "pages/pages_format.h"

static uint32
metapage_crc(const VdbMetapage *meta)
{
	return vdb_crc32c(meta, offsetof(VdbMetapage, crc));
}

/* Make a zeroed or old page a metapage. */
static void
metapage_format(Page page, uint64 identity)
{
	VdbMetapage *meta = (VdbMetapage *) PageGetContents(page);

	PageInit(page, BLCKSZ, 0);
	meta->magic = VDB_METAPAGE_MAGIC;
	meta->version = VDB_METAPAGE_VERSION;
	meta->page_bytes = BLCKSZ;
	meta->lb_rows = VDB_LB_ROWS;
	meta->identity = identity;
	meta->crc = metapage_crc(meta);

	/* If pd_lower were smaller, a standard image in WAL would leave the content out. */
	((PageHeader) page)->pd_lower = SizeOfPageHeaderData + sizeof(VdbMetapage);
}

/* Write the metapage of a main fork that lives in shared buffers. */
static void
metapage_write_shared(const RelFileLocator *rnode, bool permanent, uint64 identity)
{
	Buffer		buffer;

	buffer = vdb_buffer_extend(rnode, permanent);
	Assert(BufferGetBlockNumber(buffer) == VDB_METAPAGE_BLOCK);

	START_CRIT_SECTION();
	metapage_format(BufferGetPage(buffer), identity);
	MarkBufferDirty(buffer);
	if (permanent && XLogIsNeeded())
		log_newpage_buffer(buffer, true);
	END_CRIT_SECTION();

	UnlockReleaseBuffer(buffer);
}

/* Write the metapage of an INIT fork (logged) or of a temporary table, past the buffers. */
static void
metapage_write_direct(SMgrRelation srel, ForkNumber fork, uint64 identity)
{
	PGIOAlignedBlock page;

	memset(page.data, 0, BLCKSZ);
	metapage_format((Page) page.data, identity);
	if (fork == INIT_FORKNUM)
		log_newpage(vdb_smgr_locator(srel), fork, VDB_METAPAGE_BLOCK,
					(Page) page.data, true);
	PageSetChecksumInplace((Page) page.data, VDB_METAPAGE_BLOCK);
	smgrextend(srel, fork, VDB_METAPAGE_BLOCK, page.data, true);
	if (fork == INIT_FORKNUM)
		smgrimmedsync(srel, fork);
}

void
vdb_pages_create(Relation rel, const RelFileLocator *rnode, char persistence)
{
	SMgrRelation srel;
	uint64		identity;

	if (!pg_strong_random(&identity, sizeof(identity)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate the identity of table \"%s\"",
						RelationGetRelationName(rel))));

	srel = RelationCreateStorage(*rnode, persistence, true);
	if (persistence == RELPERSISTENCE_TEMP)
		metapage_write_direct(srel, MAIN_FORKNUM, identity);
	else
		metapage_write_shared(rnode, persistence == RELPERSISTENCE_PERMANENT,
							  identity);

	if (persistence == RELPERSISTENCE_UNLOGGED)
	{
		/* An invalidation may have closed srel meanwhile, so open it again. */
		srel = smgropen(*rnode, INVALID_PROC_NUMBER);
		smgrcreate(srel, INIT_FORKNUM, false);
		log_smgrcreate(rnode, INIT_FORKNUM);
		metapage_write_direct(srel, INIT_FORKNUM, identity);
	}

	smgrclose(srel);
}

/* Raise the error about a damaged metapage; 'detail' is a full sentence, untranslated. */
static void
metapage_damaged(Relation rel, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("metapage of table \"%s\" is damaged",
					RelationGetRelationName(rel)),
			 errdetail_internal("%s", detail),
			 errhint("Restore the table's files from a backup.")));
}

/* Raise an error unless 'meta', the content of 'page', is a metapage that this version can read. */
static void
metapage_check(Relation rel, Page page, const VdbMetapage *meta)
{
	if (PageIsNew(page))
		metapage_damaged(rel, "Block 0 is empty.");
	if (meta->magic != VDB_METAPAGE_MAGIC)
		metapage_damaged(rel, psprintf("Expected magic number %08X in block 0, found %08X.",
									   VDB_METAPAGE_MAGIC, meta->magic));
	if (meta->crc != metapage_crc(meta))
		metapage_damaged(rel, psprintf("Expected checksum %08X in block 0, found %08X.",
									   metapage_crc(meta), meta->crc));
	if (meta->version != VDB_METAPAGE_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("table \"%s\" has storage format version %u, which this version of vdb_am cannot read",
						RelationGetRelationName(rel), meta->version),
				 errdetail("The version understood is %d.", VDB_METAPAGE_VERSION),
				 errhint("Install a newer version of vdb_am.")));
	if (meta->page_bytes != BLCKSZ || meta->lb_rows != VDB_LB_ROWS)
		metapage_damaged(rel,
						 psprintf("Expected pages of %d bytes and logical blocks of %d rows, found %u and %u.",
								  BLCKSZ, VDB_LB_ROWS, meta->page_bytes, meta->lb_rows));
}

uint64
vdb_pages_identity(Relation rel)
{
	Buffer		buffer;
	VdbMetapage meta;

	if (vdb_pages_count(rel) == 0)
		metapage_damaged(rel, "The main fork has no pages.");

	buffer = ReadBufferExtended(rel, MAIN_FORKNUM, VDB_METAPAGE_BLOCK,
								RBM_NORMAL, NULL);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	memcpy(&meta, PageGetContents(BufferGetPage(buffer)), sizeof(meta));
	metapage_check(rel, BufferGetPage(buffer), &meta);
	UnlockReleaseBuffer(buffer);

	return meta.identity;
}

void
vdb_pages_check(Relation rel)
{
	(void) vdb_pages_identity(rel);
}
