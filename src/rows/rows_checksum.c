/*-------------------------------------------------------------------------
 *
 * rows_checksum.c
 *	  Checking the checksums of row versions, and reporting the row that fails.
 *
 * The checksum covers all of a version that never changes (scm_row.h).  So it is computed once,
 * when the row is put.  A check needs no more than the block lock, shared, or a copy made under it.
 *
 * These check: vdb.verify; migration, before rows get a stripe's checksums; the copy of a table
 * (CLUSTER, VACUUM FULL), before rows get new ones.  Plain reads don't: README.md has measurements.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "storage/procarray.h"
#include "utils/rel.h"

#include "pages/pages.h"
#include "rows/rows.h"

/* Bytes of a wide row's data that are read and checked at a time. */
#define VDB_WIDE_CHECK_BYTES	65536

/* See rows.h. */
bool
vdb_rows_may_lack_data(const HeapTupleHeaderData *hdr)
{
	TransactionId xmin = HeapTupleHeaderGetRawXmin(hdr);

	if (HeapTupleHeaderXminInvalid(hdr))
		return true;
	return !HeapTupleHeaderXminCommitted(hdr) && TransactionIdIsNormal(xmin) &&
		!TransactionIdIsInProgress(xmin) && !TransactionIdDidCommit(xmin);
}

/* See rows.h. */
const char *
vdb_rows_image(const VdbTableRef *ref, const VdbVersion *version)
{
	Assert(version->where == VDB_IN_POOL);
	return (const char *) vdb_pool_block(ref->pool,
										 version->block) + version->offset + sizeof(VdbRowPrefix);
}

/* Fill in where the row is; the caller adds the checksums. */
static void
note_damage(const VdbVersion *version, VdbRowDamage *damage)
{
	damage->row = version->row;
	damage->block = version->block;
	damage->offset = version->offset;
}

/* See rows.h. */
bool
vdb_rows_damaged(const VdbVersion *version, const char *image, VdbRowDamage *damage)
{
	uint32		prefix = version->len | (version->wide ? VDB_ROW_WIDE : 0);

	Assert(version->where == VDB_IN_POOL && VDB_ROW_LEN(version->len) == version->len);
	damage->found = vdb_row_crc(version->row, prefix, image, version->len);
	memcpy(&damage->expected, image + version->len, VDB_ROW_CRC_BYTES);
	if (likely(damage->found == damage->expected))
		return false;
	note_damage(version, damage);
	return true;
}

/* See rows.h.  This reads pages, so no lock is held, and an error of reading a page is raised. */
bool
vdb_rows_wide_damaged(Relation rel, const VdbVersion *version, const char *image,
					  VdbRowDamage *damage)
{
	VdbWideRef	wide;
	char	   *piece;
	pg_crc32c	crc;
	uint32		bytes;

	Assert(version->wide && version->len >= sizeof(wide));
	memcpy(&wide, image + version->len - sizeof(wide), sizeof(wide));
	piece = palloc(VDB_WIDE_CHECK_BYTES);
	INIT_CRC32C(crc);
	for (uint32 at = 0; at < wide.data_bytes; at += bytes)
	{
		CHECK_FOR_INTERRUPTS();
		bytes = Min(wide.data_bytes - at, VDB_WIDE_CHECK_BYTES);
		vdb_pages_read(rel, wide.first_page, at, bytes, piece);
		COMP_CRC32C(crc, piece, bytes);
	}
	FIN_CRC32C(crc);
	pfree(piece);
	damage->expected = wide.crc;
	damage->found = crc;
	if (EQ_CRC32C(crc, wide.crc))
		return false;
	note_damage(version, damage);
	return true;
}

/* See rows.h. */
void
vdb_rows_report_damage(Relation rel, int elevel, const VdbRowDamage *damage)
{
	ereport(elevel,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("row (%u,%d) of table \"%s\" fails its checksum",
					vdb_row_lb(damage->row), vdb_row_index(damage->row) + 1,
					RelationGetRelationName(rel)),
			 errdetail("Expected %08X, found %08X, for what pool block %u has at offset %u.",
					   damage->expected, damage->found, damage->block, damage->offset),
			 errhint("vdb.verify() lists all damage of the table.")));
}
