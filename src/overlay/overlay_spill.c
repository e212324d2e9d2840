/*-------------------------------------------------------------------------
 *
 * overlay_spill.c
 *	  Spills: final delta records of a stripe's rows in a run of pages.
 *
 * A delta record is final when its xmax, a deleter or updater and no multixact, has committed.
 * Then nothing changes it any more but the removal of the row.  So it need not be in the pool: it
 * is written to flash, as the stripe's rows are, in a run that never changes.  The address is in
 * the stripe's meta, and the map entry of each LB says whether the spill has something of it.
 *
 * A delta record in the pool goes before one in the spill, unless it says nothing.  (A row that was
 * updated, but not its key, can still get a lock of its key: then a multixact stands in the pool,
 * with the updater and the locker.)  The switch that makes a meta refer to a spill is flushed after
 * all commits that the spill relies on, so no crash can take them, and epochs need not be asked.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "lib/stringinfo.h"
#include "storage/procarray.h"

#include "base/vdb_crc.h"
#include "base/vdb_stop_point.h"
#include "overlay/overlay_internal.h"
#include "pages/pages.h"

/* A spill that is being written. */
struct VdbSpillWriter
{
	VdbTableRef ref;
	VdbSpillHeader header;			/* without id and checksums, which come last */
	StringInfoData images;
	TransactionId newest_xmax;
};

/* ---- what may be spilled ---- */

/* See overlay.h. */
bool
vdb_delta_final(const VdbDeltaRecord *drec)
{
	if ((drec->infomask & (HEAP_XMAX_INVALID | HEAP_XMAX_IS_MULTI)) ||
		HEAP_XMAX_IS_LOCKED_ONLY(drec->infomask) || !TransactionIdIsNormal(drec->xmax))
		return false;
	if (drec->infomask & HEAP_XMAX_COMMITTED)
		return true;

	/* in this order: a transaction is in the commit log before it leaves the set of running ones */
	return !TransactionIdIsInProgress(drec->xmax) && TransactionIdDidCommit(drec->xmax);
}

/* See overlay.h. */
int
vdb_overlay_bytes(VdbLogicalBlock lb, const VdbDeltaRecord *drecs, int ndrecs,
				  const VdbRowSet deleted)
{
	static const VdbTableRef none = {.slot = 0};
	VdbBlockDeltaImage image;
	int			n = 0;

	Assert(ndrecs >= 0 && ndrecs <= VDB_LB_ROWS);
	vdb_image_init(&image, &none, lb, deleted);
	for (int i = 0; i < ndrecs; i++)
		vdb_image_add(&image, &n, &drecs[i]);
	if (n == 0 && vdb_rowset_is_empty(deleted))
		return 0;
	return vdb_block_delta_classes[vdb_overlay_class_for(n)].bytes;
}

/* See overlay.h. */
int
vdb_overlay_bytes_now(const VdbTableRef *ref, const VdbExtent *extent)
{
	Assert(VDB_BLOCK_LOCKED(ref, extent->lb));
	if (vdb_overlay_find(ref, extent->lb, extent->overlay_epoch, extent->overlay_block,
						 extent->overlay_offset) == NULL)
		return 0;
	return vdb_block_delta_classes[vdb_overlay_slab(ref, extent->overlay_block)->size_class].bytes;
}

/* ---- writing ---- */

/* See overlay.h. */
VdbSpillWriter *
vdb_spill_begin(const VdbTableRef *ref, uint32 range)
{
	VdbSpillWriter *writer = palloc0(sizeof(VdbSpillWriter));

	writer->ref = *ref;
	writer->header.magic = VDB_SPILL_MAGIC;
	writer->header.version = VDB_SPILL_VERSION;
	writer->header.range = range;
	writer->newest_xmax = InvalidTransactionId;
	initStringInfo(&writer->images);
	return writer;
}

/* See overlay.h. */
void
vdb_spill_add(VdbSpillWriter *writer, VdbLogicalBlock lb, const VdbDeltaRecord *drecs, int ndrecs)
{
	VdbSpillEntry *entry = &writer->header.entries[vdb_lb_index(lb)];
	VdbBlockDeltaImage image;
	VdbRowSet	deleted = {0};
	int			n = 0;

	Assert(vdb_lb_range(lb) == writer->header.range && entry->bytes == 0 && ndrecs > 0);
	vdb_image_init(&image, &writer->ref, lb, deleted);
	for (int i = 0; i < ndrecs; i++)
	{
		VdbDeltaRecord drec = drecs[i];

		Assert(TransactionIdIsNormal(drec.xmax) && !(drec.infomask & HEAP_XMAX_IS_MULTI));
		drec.infomask |= HEAP_XMAX_COMMITTED;
		drec.xmax_epoch = 0;
		vdb_image_add(&image, &n, &drec);
		if (!TransactionIdIsValid(writer->newest_xmax) ||
			TransactionIdFollows(drec.xmax, writer->newest_xmax))
			writer->newest_xmax = drec.xmax;
	}
	image.header.capacity = (uint16) n;
	entry->offset = (uint32) (sizeof(VdbSpillHeader) + writer->images.len);
	entry->bytes = vdb_delta_record_offset((uint32) n - 1) + (uint32) sizeof(VdbDeltaRecord);
	entry->image_crc = vdb_crc32c(image.bytes, entry->bytes);
	appendBinaryStringInfo(&writer->images, image.bytes, (int) entry->bytes);
	writer->header.nrows += (uint32) ndrecs;
}

/* Return the checksum of an LB's entry. */
static uint32
entry_crc(uint32 id, uint8 lb_index, const VdbSpillEntry *entry)
{
	uint32		words[5] = {id, lb_index, entry->offset, entry->bytes, entry->image_crc};

	return vdb_crc32c(words, sizeof(words));
}

/* Begin to write so many bytes, to free pages if there are enough in one piece. */
static VdbPageWriter *
begin_spill_run(VdbSpillWriter *writer, Relation rel, uint64 bytes)
{
	VdbFreeRun	run;

	if (!vdb_map_take_free_pages(&writer->ref, (uint32) vdb_pages_needed(bytes), true,
								 vdb_pages_removable, rel, &run))
		return vdb_page_writer_begin(rel, bytes);
	return vdb_page_writer_begin_at(rel, run.first, bytes);
}

/* See overlay.h. */
void
vdb_spill_write(VdbSpillWriter *writer, Relation rel, VdbSpillAddress *spill)
{
	VdbSpillHeader *header = &writer->header;
	VdbPageWriter *pages;
	XLogRecPtr	lsn;

	Assert(header->nrows > 0);
	header->id = vdb_map_new_stripe_id(&writer->ref);
	header->identity = vdb_pages_identity(rel);
	header->crc = vdb_crc32c(header, offsetof(VdbSpillHeader, crc));
	for (int i = 0; i < VDB_RANGE_LBS; i++)
		if (header->entries[i].bytes > 0)
			header->entries[i].crc = entry_crc(header->id, (uint8) i, &header->entries[i]);
	pages = begin_spill_run(writer, rel, sizeof(VdbSpillHeader) + (uint64) writer->images.len);
	vdb_page_writer_append(pages, header, sizeof(VdbSpillHeader));
	vdb_page_writer_append(pages, writer->images.data, (uint64) writer->images.len);
	memset(spill, 0, sizeof(VdbSpillAddress));
	spill->first_page = vdb_page_writer_end(pages, &spill->npages, &lsn);
	spill->id = header->id;
	spill->newest_xmax = writer->newest_xmax;
	spill->nrows = header->nrows;
	pfree(writer->images.data);
	pfree(writer);
	VDB_STOP_POINT("overlay-spill-written");
}

/* ---- reading ---- */

/* Return what is wrong with an LB's entry, or NULL. */
static char *
entry_fault(const VdbSpillAddress *spill, VdbLogicalBlock lb, const VdbSpillEntry *entry)
{
	uint32		crc = entry_crc(spill->id, vdb_lb_index(lb), entry);

	if (entry->crc != crc)
		return psprintf("The entry of logical block %u has the checksum %08X instead of %08X.",
						lb, crc, entry->crc);
	if (entry->bytes < sizeof(VdbBlockDelta) + sizeof(VdbDeltaRecord) ||
		entry->bytes > sizeof(VdbBlockDeltaImage) || entry->offset < sizeof(VdbSpillHeader) ||
		entry->offset + (uint64) entry->bytes > (uint64) spill->npages * VDB_PAGE_PAYLOAD)
		return psprintf("Logical block %u has %u bytes at byte %u.", lb, entry->bytes,
						entry->offset);
	return NULL;
}

/* Return what is wrong with an LB's image, or NULL. */
static char *
image_fault(VdbLogicalBlock lb, const VdbSpillEntry *entry, const VdbBlockDeltaImage *image)
{
	uint32		crc = vdb_crc32c(image->bytes, entry->bytes);
	uint32		n = image->header.capacity;

	if (crc != entry->image_crc)
		return psprintf("Logical block %u has the checksum %08X instead of %08X.", lb, crc,
						entry->image_crc);
	if (image->header.lb != lb || n == 0 || n > VDB_OVERLAY_MAX_RECORDS ||
		entry->bytes != vdb_delta_record_offset(n - 1) + sizeof(VdbDeltaRecord))
		return psprintf("Logical block %u has %u delta records of logical block %u in %u bytes.",
						lb, n, image->header.lb, entry->bytes);
	return NULL;
}

/* Read an LB's entry and image.  Returns what is wrong with them, palloc'd, or NULL. */
static char *
read_image(Relation rel, const VdbSpillAddress *spill, VdbLogicalBlock lb,
		   VdbBlockDeltaImage *image)
{
	VdbSpillEntry entry;
	char	   *fault;

	vdb_pages_read(rel, spill->first_page,
				   offsetof(VdbSpillHeader, entries) + vdb_lb_index(lb) * sizeof(VdbSpillEntry),
				   sizeof(entry), (char *) &entry);
	fault = entry_fault(spill, lb, &entry);
	if (fault != NULL)
		return fault;
	vdb_pages_read(rel, spill->first_page, entry.offset, entry.bytes, image->bytes);
	return image_fault(lb, &entry, image);
}

/* See overlay.h. */
void
vdb_spill_read(Relation rel, const VdbSpillAddress *spill, VdbLogicalBlock lb,
			   VdbBlockDeltaImage *image)
{
	char	   *fault = read_image(rel, spill, lb, image);

	if (fault != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("spill %u of table \"%s\", at page %u, is damaged", spill->id,
						RelationGetRelationName(rel), spill->first_page),
				 errdetail_internal("%s", fault)));
}

/* See overlay.h. */
bool
vdb_spill_row(const VdbBlockDeltaImage *image, VdbLogicalBlock lb, uint8 index, bool found,
			  VdbDeltaRecord *drec)
{
	int			at;

	Assert(image->header.lb == lb && (!found || drec->index == index));
	if (found && !(drec->infomask & HEAP_XMAX_INVALID))
		return true;
	at = vdb_block_delta_find(&image->header, index);
	if (at < 0)
		return found;
	*drec = vdb_delta_record_unpack(vdb_block_delta_record(&image->header, (uint32) at), lb, index);
	return true;
}

/* See overlay.h. */
void
vdb_spill_view(const VdbBlockDeltaImage *image, VdbLogicalBlock lb, VdbOverlayView *view)
{
	VdbOverlayView *spilled = palloc(sizeof(VdbOverlayView));

	Assert(image->header.lb == lb);
	vdb_block_delta_view(&image->header, lb, spilled);
	for (int i = 0; i < spilled->ndrecs; i++)
	{
		const VdbDeltaRecord *drec = &spilled->drecs[i];
		int16	   *at = &view->drec_at[drec->index];

		if (vdb_rowset_has(view->deleted, drec->index) ||
			(*at >= 0 && !(view->drecs[*at].infomask & HEAP_XMAX_INVALID)))
			continue;
		if (*at < 0)
			*at = (int16) view->ndrecs++;
		view->drecs[*at] = *drec;
	}
	view->any = view->ndrecs > 0 || !vdb_rowset_is_empty(view->deleted);
	pfree(spilled);
}

/* ---- checking ---- */

/* Check the header of a spill.  Returns whether it is that of this one. */
static bool
header_fits(Relation rel, const VdbSpillAddress *spill, uint32 range, const VdbSpillHeader *header)
{
	return header->magic == VDB_SPILL_MAGIC && header->version == VDB_SPILL_VERSION &&
		header->id == spill->id && header->range == range && header->nrows == spill->nrows &&
		header->identity == vdb_pages_identity(rel) &&
		header->crc == vdb_crc32c(header, offsetof(VdbSpillHeader, crc));
}

/* See overlay.h. */
void
vdb_spill_check(Relation rel, const VdbSpillAddress *spill, uint32 range, VdbSpillReport report,
				void *arg)
{
	VdbSpillHeader *header = palloc(sizeof(VdbSpillHeader));
	VdbBlockDeltaImage *image = palloc(sizeof(VdbBlockDeltaImage));
	VdbOverlayView *view = palloc(sizeof(VdbOverlayView));
	VdbSpillEntry none = {0};
	uint32		nrows = 0;

	vdb_pages_read(rel, spill->first_page, 0, sizeof(VdbSpillHeader), (char *) header);
	if (!header_fits(rel, spill, range, header))
	{
		report(arg, psprintf(_("page %u is not the beginning of spill %u"), spill->first_page,
							 spill->id));
		return;
	}
	for (int i = 0; i < VDB_RANGE_LBS; i++)
	{
		VdbLogicalBlock lb = range * VDB_RANGE_LBS + (uint32) i;
		char	   *fault;

		if (memcmp(&header->entries[i], &none, sizeof(none)) == 0)
			continue;
		fault = read_image(rel, spill, lb, image);
		if (fault != NULL)
		{
			report(arg, fault);
			return;
		}
		vdb_block_delta_view(&image->header, lb, view);
		nrows += (uint32) view->ndrecs;
	}
	if (nrows != spill->nrows)
		report(arg, psprintf(_("spill %u has delta records of %u rows instead of %u"), spill->id,
							 nrows, spill->nrows));
	pfree(view);
	pfree(image);
	pfree(header);
}
