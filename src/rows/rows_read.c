/*-------------------------------------------------------------------------
 *
 * rows_read.c
 *	  Reading row versions from segments: checked, and cleaned of lost ids.
 *
 * The caller holds the block lock of the logical block, in either mode, from looking up the extent
 * to the last byte copied.  So the segment can't be freed and no version can change, but two things
 * do happen meanwhile: an appender publishes slots, and other readers store hint bits.  A slot is
 * therefore read once, and the row it points to only after it (the appender stores in the opposite
 * order); hint bits are one aligned store of t_infomask.
 *
 * Everything read from the pool is checked before it is followed.  A mismatch is damage, reported
 * as ERRCODE_DATA_CORRUPTED with its place.
 *
 * Lost ids (see src/README.md): a row can outlive the transaction log entries of its transaction.
 * The state that such an id implies is turned into HEAP_XMIN_INVALID or HEAP_XMAX_INVALID here, so
 * that no caller asks clog about an id that now belongs to another transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "utils/memutils.h"

#include "base/vdb_crc.h"
#include "pages/pages.h"
#include "rows/rows_private.h"

/* ---- checks ---- */

/*
 * Return the name of the field of a segment's header that is wrong for this table and logical
 * block, or NULL.
 */
const char *
vdb_segment_defect(const VdbTableRef *ref, const VdbSegmentHeader *header, VdbLogicalBlock lb)
{
	if (header->magic != VDB_SEGMENT_MAGIC)
		return "magic number";
	if (header->version != VDB_SEGMENT_VERSION)
		return "version";
	if (header->nslots < VDB_LB_ROWS || header->nslots > 8 * VDB_LB_ROWS ||
		header->nslots % VDB_LB_ROWS != 0)
		return "number of slots";
	if (header->table_slot != ref->slot || header->table_generation != ref->generation)
		return "table";
	if (lb < header->first_lb || lb - header->first_lb >= header->nslots / VDB_LB_ROWS)
		return "logical block";
	return NULL;
}

pg_noreturn static void
report_bad_address(const VdbTableRef *ref, VdbBlock segment, VdbLogicalBlock lb)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("the pool's map is damaged: block %u is no row segment", segment),
			 errdetail("Logical block %u of table slot %u was expected there; the pool has %u blocks, and segments begin at multiples of %d.",
					   lb, ref->slot, vdb_pool_total_blocks(ref->pool), VDB_SEGMENT_BLOCKS)));
}

pg_noreturn static void
report_bad_header(const VdbTableRef *ref, const VdbSegmentHeader *header, VdbBlock segment,
				  VdbLogicalBlock lb, const char *defect)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("row segment at block %u of the pool has a wrong header: %s", segment, defect),
			 errdetail("Expected magic number %08X, version %d, table slot %u, generation %u, logical block %u; "
					   "found magic number %08X, version %u, table slot %u, generation %u, logical block %u and %u slots.",
					   VDB_SEGMENT_MAGIC, VDB_SEGMENT_VERSION, ref->slot, ref->generation, lb,
					   header->magic, header->version, header->table_slot,
					   header->table_generation, header->first_lb, header->nslots)));
}

pg_noreturn static void
report_bad_slot(VdbBlock segment, uint32 slot_number, uint16 slot, uint16 nslots)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("row segment at block %u of the pool has a wrong slot %u", segment,
					slot_number),
			 errdetail("Expected a place for rows of a segment with %u slots, found block %d, offset %u.",
					   nslots, vdb_slot_block(slot), vdb_slot_offset(slot))));
}

pg_noreturn static void
report_bad_row(VdbBlock segment, uint32 slot_number, uint16 slot, uint32 len, uint8 hoff)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("row segment at block %u of the pool has a damaged row in slot %u",
					segment, slot_number),
			 errdetail("Expected a row that ends in block %d, where it begins at offset %u; "
					   "found length %u (%s), header length %u.",
					   vdb_slot_block(slot), vdb_slot_offset(slot), VDB_ROW_LEN(len),
					   (len & VDB_ROW_WIDE) ? "wide" : "inline", hoff)));
}

/* See rows.h. */
const VdbSegmentHeader *
vdb_rows_segment(const VdbTableRef *ref, VdbBlock segment, VdbLogicalBlock lb)
{
	const VdbSegmentHeader *header;
	const char *defect;

	if (segment == VDB_BLOCK_NONE || segment % VDB_SEGMENT_BLOCKS != 0 ||
		segment >= vdb_pool_total_blocks(ref->pool) ||
		vdb_pool_total_blocks(ref->pool) - segment < VDB_SEGMENT_BLOCKS)
		report_bad_address(ref, segment, lb);

	header = (const VdbSegmentHeader *)
		((const char *) vdb_pool_block(ref->pool, segment) + VDB_POOL_BLOCK_HEADER);
	defect = vdb_segment_defect(ref, header, lb);
	if (defect != NULL)
		report_bad_header(ref, header, segment, lb, defect);
	return header;
}

/* Check whether this prefix, at this place, begins a row that may be read. */
static bool
row_is_intact(const VdbRowPrefix *prefix, const HeapTupleHeader hdr, uint16 offset)
{
	uint32		len = VDB_ROW_LEN(prefix->len);
	uint32		room = VDB_POOL_BLOCK_BYTES - offset;

	if (room < VDB_ROW_EXTRA_BYTES + MAXALIGN(SizeofHeapTupleHeader))
		return false;
	if (len > room - VDB_ROW_EXTRA_BYTES)
		return false;
	if (hdr->t_hoff < SizeofHeapTupleHeader || hdr->t_hoff != MAXALIGN(hdr->t_hoff))
		return false;
	if (prefix->len & VDB_ROW_WIDE)
		return len == hdr->t_hoff + sizeof(VdbWideRef);
	return len >= hdr->t_hoff;
}

/*
 * Check whether a crash lost the row whose slot it kept.  In that case the header, which lies in
 * one sector, is still zero, as the claim left the segment.  If the header was kept and only data
 * was lost, xmin never committed, and the data is not read.  In a segment of this epoch a header of
 * zeroes is damage.
 */
static bool
row_was_lost(const VdbTableRef *ref, const VdbSegmentHeader *segment, const VdbRowPrefix *prefix)
{
	const VdbPoolShared *shared = vdb_pool_shared(ref->pool);
	uint64		first;
	uint64		last;

	StaticAssertStmt(sizeof(VdbRowPrefix) + SizeofHeapTupleHeader <= VDB_ROW_HEADER_BYTES &&
					 VDB_ROW_HEADER_BYTES == 4 * sizeof(uint64),
					 "prefix and header are four words");
	if (shared->epoch_begun && segment->epoch == shared->epoch)
		return false;
	memcpy(&first, prefix, sizeof(first));
	memcpy(&last, (const uint64 *) prefix + 3, sizeof(last));
	return first == 0 && last == 0;
}

/* ---- lost ids ---- */

/* Set the invalid bit for an xmin or xmax that is a lost id. */
static void
clean_lost_ids(VdbPool *pool, HeapTupleHeader hdr, uint32 xmin_epoch, uint32 xmax_epoch)
{
	TransactionId xmin = HeapTupleHeaderGetRawXmin(hdr);
	TransactionId xmax = HeapTupleHeaderGetRawXmax(hdr);

	/* The committed hint is set once the commit record was flushed: no need to ask. */
	if (!(hdr->t_infomask & (HEAP_XMIN_COMMITTED | HEAP_XMIN_INVALID)) &&
		TransactionIdIsNormal(xmin) &&
		vdb_epoch_lost(pool, xmin_epoch, xmin))
		hdr->t_infomask |= HEAP_XMIN_INVALID;

	if (unlikely(hdr->t_infomask & HEAP_XMAX_IS_MULTI))
	{
		if (MultiXactIdIsValid(xmax) && vdb_epoch_lost_multi(pool, xmax_epoch, xmax))
		{
			hdr->t_infomask |= HEAP_XMAX_INVALID;
			/* even VACUUM must not ask for its members: it never was, or is another one now */
			HeapTupleHeaderSetXmax(hdr, InvalidTransactionId);
		}
	}
	else if (!(hdr->t_infomask & (HEAP_XMAX_COMMITTED | HEAP_XMAX_INVALID)) &&
			 TransactionIdIsNormal(xmax) &&
			 vdb_epoch_lost(pool, xmax_epoch, xmax))
		hdr->t_infomask |= HEAP_XMAX_INVALID;
}

/* ---- reading ---- */

/* Count the rows in one logical block's slots. */
static uint32
count_rows(const uint16 *slots)
{
	uint32		rows = 0;

	for (int i = 0; i < VDB_LB_ROWS; i++)
		rows += slots[i] != VDB_SLOT_EMPTY && slots[i] != VDB_SLOT_REMOVED;
	return rows;
}

/* See rows.h. */
bool
vdb_rows_segment_use(const VdbTableRef *ref, VdbBlock segment, VdbSegmentUse *use)
{
	const char *block = vdb_pool_block(ref->pool, segment);
	const VdbSegmentHeader *header = (const VdbSegmentHeader *) (block + VDB_POOL_BLOCK_HEADER);
	const uint16 *slots = (const uint16 *) (block + VDB_SEGMENT_SLOTS);
	uint32		nslots;

	memset(use, 0, sizeof(VdbSegmentUse));
	if (segment % VDB_SEGMENT_BLOCKS != 0 || segment >= vdb_pool_total_blocks(ref->pool) ||
		vdb_segment_defect(ref, header, header->first_lb) != NULL)
		return false;
	use->first_lb = header->first_lb;
	nslots = Min(header->nslots, VDB_LB_ROWS * 8);
	for (uint32 first = 0; first < nslots; first += VDB_LB_ROWS)
		use->rows += count_rows(slots + first);
	for (uint32 i = nslots; use->rows > 0 && i-- > 0;)
	{
		if (slots[i] == VDB_SLOT_EMPTY || slots[i] == VDB_SLOT_REMOVED)
			continue;
		/* rows fill a segment from its first block on */
		use->slots = i + 1;
		use->blocks = Min(vdb_slot_block(slots[i]), VDB_SEGMENT_BLOCKS - 1) + 1;
		break;
	}
	return true;
}

/* Check whether a row of this segment can begin at this slot's place. */
static inline bool
slot_is_intact(const VdbSegmentHeader *segment, uint16 slot)
{
	return vdb_slot_block(slot) < VDB_SEGMENT_BLOCKS &&
		vdb_slot_offset(slot) >= (vdb_slot_block(slot) == 0 ?
								  VDB_SEGMENT_SLOTS + segment->nslots * sizeof(uint16) :
								  VDB_POOL_BLOCK_HEADER);
}

/*
 * Fill in the version from an intact row that begins with this prefix.  The caller has set block
 * and offset.
 */
static inline void
fill_version(const VdbTableRef *ref, const VdbSegmentHeader *segment, const VdbExtent *extent,
			 VdbRowNumber row, const VdbRowPrefix *prefix, VdbVersion *version)
{
	memcpy(&version->hdr, prefix + 1, SizeofHeapTupleHeader);
	version->row = row;
	version->where = VDB_IN_POOL;
	version->has_delta = false;
	version->seen_infomask = version->hdr.t_infomask;
	version->extent = *extent;
	version->len = VDB_ROW_LEN(prefix->len);
	version->wide = (prefix->len & VDB_ROW_WIDE) != 0;
	version->pos = 0;
	clean_lost_ids(ref->pool, &version->hdr, segment->epoch, prefix->xmax_epoch);
}

/* See rows.h. */
bool
vdb_rows_peek(const VdbTableRef *ref, const VdbExtent *extent, VdbLogicalBlock lb, uint8 index,
			  VdbVersion *version)
{
	const char *block = vdb_pool_block(ref->pool, extent->ref);
	const VdbSegmentHeader *segment = (const VdbSegmentHeader *) (block + VDB_POOL_BLOCK_HEADER);
	const VdbRowPrefix *prefix;
	uint16		slot;

	Assert(extent->kind == VDB_EXTENT_SEGMENT);
	if (vdb_segment_defect(ref, segment, lb) != NULL)
		return false;
	slot = ((const volatile uint16 *) (block + VDB_SEGMENT_SLOTS))
		[(lb - segment->first_lb) * VDB_LB_ROWS + index];
	if (slot == VDB_SLOT_EMPTY || slot == VDB_SLOT_REMOVED || !slot_is_intact(segment, slot))
		return false;
	pg_read_barrier();
	version->block = extent->ref + vdb_slot_block(slot);
	version->offset = vdb_slot_offset(slot);
	prefix = (const VdbRowPrefix *)
		((const char *) vdb_pool_block(ref->pool, version->block) + version->offset);
	if (!row_is_intact(prefix, (HeapTupleHeader) (prefix + 1), version->offset))
		return false;
	fill_version(ref, segment, extent, vdb_row_make(lb, index), prefix, version);
	return true;
}

/* See rows.h. */
bool
vdb_rows_version(const VdbTableRef *ref, const VdbExtent *extent, VdbLogicalBlock lb, uint8 index,
				 VdbVersion *version, bool *removed)
{
	const VdbSegmentHeader *segment = vdb_rows_segment(ref, extent->ref, lb);
	uint32		slot_number = (lb - segment->first_lb) * VDB_LB_ROWS + index;
	const char *block = vdb_pool_block(ref->pool, extent->ref);
	const VdbRowPrefix *prefix;
	uint16		slot;

	Assert(extent->kind == VDB_EXTENT_SEGMENT);

	slot = ((const volatile uint16 *) (block + VDB_SEGMENT_SLOTS))[slot_number];
	*removed = (slot == VDB_SLOT_REMOVED);
	if (slot == VDB_SLOT_EMPTY || *removed)
		return false;

	/* The row was stored before its slot; it must not be read before it. */
	pg_read_barrier();

	if (!slot_is_intact(segment, slot))
		report_bad_slot(extent->ref, slot_number, slot, segment->nslots);

	version->block = extent->ref + vdb_slot_block(slot);
	version->offset = vdb_slot_offset(slot);
	prefix = (const VdbRowPrefix *)
		((const char *) vdb_pool_block(ref->pool, version->block) + version->offset);
	if (!row_is_intact(prefix, (HeapTupleHeader) (prefix + 1), version->offset))
	{
		if (version->offset + VDB_ROW_HEADER_BYTES <= VDB_POOL_BLOCK_BYTES &&
			row_was_lost(ref, segment, prefix))
			return false;
		report_bad_row(extent->ref, slot_number, slot, prefix->len,
					   ((HeapTupleHeader) (prefix + 1))->t_hoff);
	}

	fill_version(ref, segment, extent, vdb_row_make(lb, index), prefix, version);
	return true;
}

/* See rows.h. */
void
vdb_rows_copy(const VdbTableRef *ref, const VdbVersion *version, char *dst)
{
	const char *image = (const char *) vdb_pool_block(ref->pool, version->block) +
		version->offset + sizeof(VdbRowPrefix);

	Assert(version->where == VDB_IN_POOL);
	Assert(version->offset + VDB_ROW_EXTRA_BYTES + version->len <= VDB_POOL_BLOCK_BYTES);
	Assert(PointerIsAligned(dst, uint64));

	memcpy(dst, &version->hdr, SizeofHeapTupleHeader);
	memcpy(dst + SizeofHeapTupleHeader, image + SizeofHeapTupleHeader,
		   version->len + VDB_ROW_CRC_BYTES - SizeofHeapTupleHeader);
}

/* See rows.h.  t_self is left invalid. */
HeapTuple
vdb_rows_complete_wide(Relation rel, const char *image, uint32 len)
{
	uint8		hoff = ((const HeapTupleHeaderData *) image)->t_hoff;
	VdbWideRef	wide;
	HeapTuple	tuple;
	uint32		crc;

	Assert(len == hoff + sizeof(VdbWideRef));
	memcpy(&wide, image + hoff, sizeof(wide));
	if (wide.data_bytes > MaxAllocSize - HEAPTUPLESIZE - hoff ||
		wide.npages != ((uint64) wide.data_bytes + VDB_PAGE_PAYLOAD - 1) / VDB_PAGE_PAYLOAD)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("wide row of relation \"%s\" has an impossible length",
						RelationGetRelationName(rel)),
				 errdetail("Found %u bytes in %u pages from page %u.",
						   wide.data_bytes, wide.npages, wide.first_page)));

	tuple = palloc(HEAPTUPLESIZE + hoff + wide.data_bytes);
	tuple->t_len = hoff + wide.data_bytes;
	tuple->t_data = (HeapTupleHeader) ((char *) tuple + HEAPTUPLESIZE);
	tuple->t_tableOid = RelationGetRelid(rel);
	ItemPointerSetInvalid(&tuple->t_self);
	memcpy(tuple->t_data, image, hoff);
	vdb_pages_read(rel, wide.first_page, 0, wide.data_bytes, (char *) tuple->t_data + hoff);

	crc = vdb_crc32c((char *) tuple->t_data + hoff, wide.data_bytes);
	if (crc != wide.crc)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("wide row of relation \"%s\" fails its checksum",
						RelationGetRelationName(rel)),
				 errdetail("Expected %08X, found %08X for %u bytes in %u pages from page %u.",
						   wide.crc, crc, wide.data_bytes, wide.npages, wide.first_page)));
	return tuple;
}

/*
 * See rows.h.  The lock must have been held since the version was read; otherwise a new xmax stored
 * meanwhile would lose its bits.  Two readers may overwrite each other's hints; a later reader
 * finds them again.  A lost id's invalid bit is stored too, as it stays true for ever.
 */
void
vdb_rows_hint(const VdbTableRef *ref, VdbVersion *version)
{
	Assert(version->where == VDB_IN_POOL);

	if (version->hdr.t_infomask == version->seen_infomask || RecoveryInProgress())
		return;
	vdb_scm_hint(ref->pool, version->block,
				 (uint16) (version->offset + sizeof(VdbRowPrefix) + offsetof(HeapTupleHeaderData,
																			 t_infomask)),
				 &version->hdr.t_infomask, sizeof(uint16));
	version->seen_infomask = version->hdr.t_infomask;
}
