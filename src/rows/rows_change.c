/*-------------------------------------------------------------------------
 *
 * rows_change.c
 *	  Changing row versions in the pool: new xmax, new header, removed slot.
 *
 * The caller holds the logical block's block lock exclusively from reading the version until the
 * change has ended.
 *
 * The fields that change are in aligned words that can't be stored as one:
 *
 *	word 0	prefix: length, epoch of xmax
 *	word 1	xmin, xmax
 *	word 2	cid (or cmax), block number of t_ctid
 *	word 3	offset number of t_ctid, infomask2, infomask, t_hoff, t_bits[0]
 *
 * All words are in one sector (rows_fill.c), so ordinary media, too, keep the order in which they
 * were stored.  A crash may keep some of them and lose the rest together with the WAL record, which
 * isn't flushed first.  The flags of one xmax must never be read with the number of another: so
 * words 0 to 2 are stored first, and word 3, with the flags, is the publish.  If HEAP_XMAX_INVALID
 * is on media before, the new xmax doesn't count until then.  If not, there are these cases:
 *
 * - The old xmax is the new one, of this epoch (a locker goes on to update).  Any mixture belongs
 *   to this transaction, which a crash ends.
 * - The caller's change has VDB_CHANGE_FLUSH, because the new xmax is a multixact that must be
 *   flushed, or the rest of a multixact that still counts (freezing).  Redo repairs all that a
 *   crash left.
 * - The new xmax is another multixact.  The old one still counts, but a crash ends it: it is a
 *   lock, and none of its holders is prepared (rows_multi.c).  HEAP_XMAX_INVALID is stored before
 *   all else, by the change itself: an error before the change must not undo a lock.
 * - In all other cases the old xmax no longer counts (its transactions are over, and it was a lock,
 *   or aborted, or lost); if it did, a multixact would have been made of the two.
 *   HEAP_XMAX_INVALID is stored as a hint first.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "rows/rows_private.h"

/* Bytes of words 0 to 2 that are written; the length is not. */
#define VDB_HEAD_OFFSET		offsetof(VdbRowPrefix, xmax_epoch)
#define VDB_HEAD_BYTES		20
#define VDB_FLAGS_OFFSET	24		/* word 3, from the prefix */
#define VDB_FLAGS_BYTES		8
#define VDB_CTID_END		6		/* end of infomask in word 3 */

StaticAssertDecl(offsetof(HeapTupleHeaderData, t_choice.t_heap.t_xmin) == 0 &&
				 offsetof(HeapTupleHeaderData, t_choice.t_heap.t_xmax) == 4 &&
				 offsetof(HeapTupleHeaderData, t_choice.t_heap.t_field3) == 8 &&
				 offsetof(HeapTupleHeaderData, t_ctid) == 12,
				 "words 1 and 2 of a row are xmin, xmax, cid and t_ctid's block");
StaticAssertDecl(offsetof(HeapTupleHeaderData, t_infomask2) == 18 &&
				 offsetof(HeapTupleHeaderData, t_infomask) == 20 &&
				 offsetof(HeapTupleHeaderData, t_hoff) == 22,
				 "word 3 of a row is t_ctid's offset and the flags");

/* Return a version's prefix in the pool. */
static const VdbRowPrefix *
stored_prefix(const VdbTableRef *ref, const VdbVersion *version)
{
	Assert(version->where == VDB_IN_POOL);
	Assert(version->offset % sizeof(uint64) == 0);
	Assert(VDB_BLOCK_LOCKED_EXCLUSIVE(ref, vdb_row_lb(version->row)));
	return (const VdbRowPrefix *)
		((const char *) vdb_pool_block(ref->pool, version->block) + version->offset);
}

/* Add words 0 to 3 to the change, in the order given at the head of the file. */
static void
write_header(VdbScmChange *change, const VdbTableRef *ref, const VdbVersion *version,
			 uint32 xmax_epoch)
{
	const char *stored = (const char *) stored_prefix(ref, version);
	const char *hdr = (const char *) &version->hdr;
	char		head[VDB_HEAD_BYTES];
	char		flags[VDB_FLAGS_BYTES];

	Assert(vdb_scm_change_lists(change, vdb_block_lock_no(ref->slot, vdb_row_lb(version->row))));
	Assert(((const HeapTupleHeaderData *) (stored + sizeof(VdbRowPrefix)))->t_hoff ==
		   version->hdr.t_hoff);
	Assert(HeapTupleHeaderGetNatts((const HeapTupleHeaderData *)
								   (stored + sizeof(VdbRowPrefix))) ==
		   HeapTupleHeaderGetNatts(&version->hdr));

	memcpy(head, &xmax_epoch, sizeof(uint32));
	memcpy(head + sizeof(uint32), hdr, VDB_HEAD_BYTES - sizeof(uint32));
	memcpy(flags, stored + VDB_FLAGS_OFFSET, VDB_FLAGS_BYTES);
	memcpy(flags, hdr + VDB_FLAGS_OFFSET - sizeof(VdbRowPrefix), VDB_CTID_END);

	vdb_scm_change_write(change, version->block, (uint16) (version->offset + VDB_HEAD_OFFSET),
						 head, VDB_HEAD_BYTES);
	vdb_scm_change_publish(change, version->block, (uint16) (version->offset + VDB_FLAGS_OFFSET),
						   flags, VDB_FLAGS_BYTES);
}

/*
 * Have HEAP_XMAX_INVALID on media before xmax changes to another one; see the head of the file.
 */
static void
hide_old_xmax(VdbScmChange *change, const VdbTableRef *ref, const VdbVersion *version,
			  uint32 epoch)
{
	const VdbRowPrefix *prefix = stored_prefix(ref, version);
	const HeapTupleHeaderData *stored = (const HeapTupleHeaderData *) (prefix + 1);
	uint16		infomask = stored->t_infomask | HEAP_XMAX_INVALID;
	bool		is_multi = (version->hdr.t_infomask & HEAP_XMAX_IS_MULTI) != 0;
	uint16		offset = version->offset + sizeof(VdbRowPrefix) +
		offsetof(HeapTupleHeaderData, t_infomask);

	if (stored->t_infomask & HEAP_XMAX_INVALID)
		return;
	if (vdb_scm_change_is_flushed(change))
		return;
	if (prefix->xmax_epoch == epoch &&
		((stored->t_infomask & HEAP_XMAX_IS_MULTI) != 0) == is_multi &&
		HeapTupleHeaderGetRawXmax(stored) == HeapTupleHeaderGetRawXmax(&version->hdr))
		return;

	if (is_multi)
		vdb_scm_change_first(change, version->block, offset, infomask);
	else
		vdb_scm_hint(ref->pool, version->block, offset, &infomask, sizeof(infomask));
}

/*
 * See rows.h.  version->hdr has the new xmax as vdb_xmax_compute gave it; if it asked for a flush,
 * the change was begun with VDB_CHANGE_FLUSH.  This function must not replace a multixact by a
 * member of it that still counts.
 */
void
vdb_rows_set_xmax(VdbScmChange *change, const VdbTableRef *ref, const VdbVersion *version,
				  uint32 epoch)
{
	hide_old_xmax(change, ref, version, epoch);
	write_header(change, ref, version, epoch);
}

/*
 * See rows.h.  This is for rows of the running transaction, which a crash ends, and for freezing,
 * where old and new words mean the same (but see above about multixacts).  The xmax keeps its
 * epoch.
 */
void
vdb_rows_set_header(VdbScmChange *change, const VdbTableRef *ref, const VdbVersion *version)
{
	write_header(change, ref, version, stored_prefix(ref, version)->xmax_epoch);
}

/* See rows.h.  The row's bytes stay, but can't be reached any more, until the segment is freed. */
void
vdb_rows_remove(VdbScmChange *change, const VdbTableRef *ref, const VdbExtent *extent,
				VdbLogicalBlock lb, uint8 index)
{
	const VdbSegmentHeader *segment = vdb_rows_segment(ref, extent->ref, lb);
	uint32		slot_number = (lb - segment->first_lb) * VDB_LB_ROWS + index;
	uint16		removed = VDB_SLOT_REMOVED;

	Assert(extent->kind == VDB_EXTENT_SEGMENT);
	Assert(VDB_BLOCK_LOCKED_EXCLUSIVE(ref, lb));
	Assert(vdb_scm_change_lists(change, vdb_block_lock_no(ref->slot, lb)));

	vdb_scm_change_publish(change, extent->ref,
						   (uint16) (VDB_SEGMENT_SLOTS + slot_number * sizeof(uint16)),
						   &removed, sizeof(removed));
}
