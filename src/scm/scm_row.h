/*-------------------------------------------------------------------------
 *
 * scm_row.h
 *	  The checksum of a row version, as rows/ stores it.
 *
 * A row version in the pool consists of a prefix of 8 bytes (a uint32 length of what follows, whose
 * highest bit is a flag, and a uint32 epoch), a heap tuple header, data, and, unaligned, a CRC-32C
 * of 4 bytes (rows_format.h).  The checksum covers the row number, and all that never changes after
 * the row version was stored:
 *
 *	 0	8	row number
 *	 8	4	first word of the prefix
 *	12	4	xmin (a taken-back speculative insertion sets it to 0: such a row
 *			isn't checked)
 *	16	2	number of attributes, from t_infomask2
 *	18	2	t_infomask & VDB_ROW_CRC_INFOMASK
 *	20	1	t_hoff
 *	21	1	t_bits[0], the header's 24th byte
 *	22	2	zeroes
 *	24	..	tuple header and data from the header's 25th byte on
 *
 * It does not cover xmax and its epoch, cid, t_ctid, and all other flags.
 *
 * This file is in scm/ and not in rows/ because a WAL record leaves the checksum out where it can
 * be computed from the rest of the record (scm_pack.c).  There t_ctid is the row version's own
 * number.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_SCM_ROW_H
#define VDB_SCM_ROW_H

#include "access/htup_details.h"
#include "port/pg_crc32c.h"

#include "base/vdb_types.h"

#define VDB_ROW_PREFIX_BYTES	8
#define VDB_ROW_CRC_BYTES		4
#define VDB_ROW_CRC_FROM		24	/* earlier bytes of the tuple header: by field */
#define VDB_ROW_CRC_INFOMASK \
	(HEAP_HASNULL | HEAP_HASVARWIDTH | HEAP_HASEXTERNAL | HEAP_HASOID_OLD)

/* The first bytes that the checksum covers, collected from the row version. */
typedef struct VdbRowCrcHead
{
	uint64		row;
	uint32		prefix;
	TransactionId xmin;
	uint16		natts;
	uint16		infomask;
	uint8		hoff;
	uint8		bits;
	uint16		zero;
} VdbRowCrcHead;

StaticAssertDecl(sizeof(VdbRowCrcHead) == 24, "what a row's checksum begins with has no holes");
StaticAssertDecl(offsetof(HeapTupleHeaderData, t_bits) == VDB_ROW_CRC_FROM - 1,
				 "t_bits[0] goes by itself");

/*
 * Compute the checksum of a row version.  'prefix' is the first word of its prefix; 'tuple' is its
 * tuple from t_xmin on, 'bytes' long, which is at least VDB_ROW_CRC_FROM.
 */
static inline uint32
vdb_row_crc(VdbRowNumber row, uint32 prefix, const char *tuple, uint32 bytes)
{
	HeapTupleHeaderData hdr;
	VdbRowCrcHead head;
	pg_crc32c	crc;

	Assert(bytes >= VDB_ROW_CRC_FROM);
	memcpy(&hdr, tuple, SizeofHeapTupleHeader);
	head.row = row;
	head.prefix = prefix;
	head.xmin = HeapTupleHeaderGetRawXmin(&hdr);
	head.natts = HeapTupleHeaderGetNatts(&hdr);
	head.infomask = hdr.t_infomask & VDB_ROW_CRC_INFOMASK;
	head.hoff = hdr.t_hoff;
	head.bits = (uint8) tuple[VDB_ROW_CRC_FROM - 1];
	head.zero = 0;
	INIT_CRC32C(crc);
	COMP_CRC32C(crc, &head, sizeof(head));
	COMP_CRC32C(crc, tuple + VDB_ROW_CRC_FROM, bytes - VDB_ROW_CRC_FROM);
	FIN_CRC32C(crc);
	return crc;
}

#endif							/* VDB_SCM_ROW_H */
