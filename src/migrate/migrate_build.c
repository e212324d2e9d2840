/*-------------------------------------------------------------------------
 *
 * migrate_build.c
 *	  Steps 2 and 3 of a move: the new stripe, its meta, its block deltas.
 *
 * When vdb_mover_build returns, all of this is durable but not visible yet: the stripe's pages are
 * logged, its meta is on the table's list of pending ones, and nothing refers to the block deltas.
 *
 * No locks are held but the caller's migration lock; rows are read one logical block at a time, and
 * may be changed meanwhile: step 4 detects that.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xlog.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/vdb_stop_point.h"
#include "migrate/migrate_private.h"
#include "pages/pages.h"

/* Pages that a stripe's header and zone maps may take besides its data. */
#define VDB_STRIPE_HEAD_PAGES	8

/* ---- 2. build ---- */

/* Add a delta record for the version's xmax to the block. */
static void
add_drec(VdbMover *mover, VdbMovingBlock *block, const VdbVersion *version)
{
	Assert(block->ndrecs < VDB_LB_ROWS);
	if (block->drecs == NULL)
		block->drecs = MemoryContextAlloc(mover->context, sizeof(VdbDeltaRecord) * VDB_LB_ROWS);
	vdb_version_to_delta(version, mover->epoch, &block->drecs[block->ndrecs]);
	if (vdb_delta_final(&block->drecs[block->ndrecs]))
		vdb_rowset_add(block->final, block->drecs[block->ndrecs].index);
	block->ndrecs++;
}

/* Check whether the header has an xmax for which a striped row needs a delta record. */
bool
vdb_header_needs_delta(const HeapTupleHeaderData *hdr)
{
	return !(hdr->t_infomask & HEAP_XMAX_INVALID) || (hdr->t_infomask & HEAP_COMBOCID);
}

/* Note the pages of a wide row, which become free with its segment. */
static void
note_wide_run(VdbMover *mover, const VdbBatch *batch, int i)
{
	const HeapTupleHeader hdr = batch->tuples[i].t_data;
	VdbWideRef	wide;

	memcpy(&wide, (const char *) hdr + hdr->t_hoff, sizeof(wide));
	if (mover->nwide_runs == mover->wide_room)
	{
		Size		bytes;

		mover->wide_room = mover->wide_room * 2 + 64;
		bytes = mover->wide_room * sizeof(VdbFreeRun);
		mover->wide_runs = mover->wide_runs ? repalloc(mover->wide_runs, bytes)
			: MemoryContextAlloc(mover->context, bytes);
	}
	mover->wide_runs[mover->nwide_runs++] = vdb_free_run(wide.first_page, wide.npages, 0);
}

/* Return the bytes of a row before encoding; for a striped row, the average of its stripe. */
static Size
row_bytes(const VdbMover *mover, const VdbMovingBlock *block, const VdbBatch *batch, int i)
{
	if (batch->where == VDB_IN_POOL)
		return batch->tuples[i].t_len;
	for (int s = 0; s < mover->nstripes; s++)
		if (mover->stripes[s].meta == block->ref)
			return mover->stripes[s].average_bytes;
	return 0;
}

/*
 * Add a row of the batch to the writer, with a delta record if it needs one; leave it out if it is
 * dead to everyone.
 */
static void
build_row(VdbMover *mover, VdbMovingBlock *block, VdbBatch *batch, int i, TupleTableSlot *slot,
		  VdbStripeWriter *writer)
{
	VdbVersion	version;
	HeapTupleHeader hdr = &version.hdr;
	TransactionId xmin;
	uint8		index = batch->index[i];
	Size		bytes;

	vdb_batch_version(batch, i, &version);
	Assert(version.row == vdb_row_make(vdb_mover_lb(mover, block->index), index));
	Assert(!vdb_rowset_has(block->present, index));
	if (version.where == VDB_IN_POOL && version.wide)
		note_wide_run(mover, batch, i);
	if (batch->htsv[i] == VDB_DEAD)
	{
		vdb_version_raise_removed(hdr, &mover->latest_removed);
		mover->dropped++;
		block->lacking = true;
		return;
	}
	if (vdb_insert_in_progress(hdr, (VdbHtsvResult) batch->htsv[i]))
		mover->in_doubt = true;
	xmin = HeapTupleHeaderXminFrozen(hdr) ? FrozenTransactionId : HeapTupleHeaderGetRawXmin(hdr);
	vdb_batch_slot(batch, i, slot);
	slot_getallattrs(slot);
	bytes = row_bytes(mover, block, batch, i);
	vdb_stripe_writer_add(writer, version.row, xmin, HeapTupleHeaderGetRawCommandId(hdr),
						  slot->tts_values, slot->tts_isnull, bytes);
	vdb_rowset_add(block->present, index);
	mover->raw_bytes += bytes;
	mover->rows_written++;
	if (batch->where == VDB_IN_POOL)
	{
		mover->rows_from_pool++;
		mover->scm_bytes += bytes;
	}
	if (vdb_header_needs_delta(hdr))
		add_drec(mover, block, &version);
}

/* Keep only the first n blocks, and the segments and metas that are wholly among them. */
static void
keep_blocks(VdbMover *mover, int n)
{
	int			kept = 0;

	Assert(n > 0 && n < mover->nblocks);
	for (int s = 0; s < mover->nsegments; s++)
	{
		bool		inside = false;

		for (int i = 0; i < n; i++)
			inside = inside || (mover->blocks[i].kind == VDB_EXTENT_SEGMENT &&
								mover->blocks[i].ref == mover->segments[s]);
		if (inside)
			mover->segments[kept++] = mover->segments[s];
	}
	mover->nsegments = kept;
	mover->nblocks = n;
}

/*
 * Check whether the stripe may end before block i, which holds if no segment straddles that place.
 */
static bool
may_end_before(const VdbMover *mover, int i)
{
	Assert(i > 0 && i < mover->nblocks);
	return mover->blocks[i].kind != VDB_EXTENT_SEGMENT ||
		mover->blocks[i - 1].kind != VDB_EXTENT_SEGMENT ||
		mover->blocks[i].ref != mover->blocks[i - 1].ref;
}

/* Add the rows of the chosen blocks to a writer.  Returns NULL when no row is left. */
static VdbStripeWriter *
build_stripe(VdbMover *mover)
{
	VdbStripeWriter *writer;
	VdbBatch   *batch = vdb_batch_create(mover->rel);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(mover->rel), &vdb_slot_ops);

	vdb_batch_set_check(batch);
	writer = vdb_stripe_writer_begin(mover->rel, mover->range, vdb_map_new_stripe_id(&mover->ref));
	for (int b = 0; b < mover->nblocks; b++)
	{
		VdbMovingBlock *block = &mover->blocks[b];

		if (mover->raw_bytes > VDB_STRIPE_RAW_BYTES && may_end_before(mover, b))
		{
			keep_blocks(mover, b);
			break;
		}
		vdb_stripe_writer_cover(writer, block->index);
		vdb_batch_read(batch, vdb_mover_lb(mover, block->index), NULL,
					   mover->oldest_xmin, true);
		for (int i = 0; i < batch->nrows; i++)
		{
			CHECK_FOR_INTERRUPTS();
			build_row(mover, block, batch, i, slot, writer);
		}
		ExecClearTuple(slot);
	}
	ExecDropSingleTupleTableSlot(slot);
	vdb_batch_free(batch);
	Assert(mover->rows_from_pool <= mover->rows_written);
	return writer;
}

/* ---- 3. block deltas ---- */

/* Build the block delta of one block, if it needs one.  Returns false if the pool is full. */
bool
vdb_mover_build_delta(VdbMover *mover, VdbMovingBlock *block)
{
	Assert(vdb_rowset_within(block->deleted, block->present));
	Assert(block->ndrecs <= vdb_rowset_count(block->present));
	block->overlay_block = VDB_BLOCK_NONE;
	block->overlay_offset = 0;
	block->stale = false;
	if (block->ndrecs == 0 && vdb_rowset_is_empty(block->deleted))
		return true;
	return vdb_overlay_build(&mover->ref, vdb_mover_lb(mover, block->index),
							 block->drecs, block->ndrecs, block->deleted,
							 &block->overlay_block, &block->overlay_offset);
}

/* Build the block deltas of all blocks.  Returns false if the pool is full. */
bool
vdb_mover_build_deltas(VdbMover *mover)
{
	for (int b = 0; b < mover->nblocks; b++)
		if (!vdb_mover_build_delta(mover, &mover->blocks[b]))
			return false;
	return true;
}

/* ---- 3. pages for the stripe ---- */

/*
 * Offer free pages to the writer.  How many it takes isn't known yet: what it holds in memory is
 * more, as one chunk of it is still to be encoded.  So if no run is that large, the largest is
 * offered, and given back if it is too small.
 */
static void
offer_pages(VdbMover *mover, VdbStripeWriter *writer)
{
	uint64		want = vdb_pages_needed(vdb_stripe_writer_bytes(writer)) + VDB_STRIPE_HEAD_PAGES;

	mover->address.npages = 0;
	if (want > PG_UINT32_MAX ||
		!vdb_map_take_free_pages(&mover->ref, (uint32) want, false, vdb_pages_removable,
								 mover->rel, &mover->address))
		return;
	vdb_stripe_writer_address(writer, mover->address.first, mover->address.npages);
	VDB_STOP_POINT("migrate-pages-taken");
}

/* Give back the pages that were offered to the stripe and that it did not use. */
static void
return_pages(VdbMover *mover)
{
	VdbFreeRun	rest = mover->address;

	if (rest.npages == 0)
		return;
	if (mover->built.meta.first_page == rest.first)
	{
		Assert(mover->built.meta.npages <= rest.npages);
		rest.first += mover->built.meta.npages;
		rest.npages -= mover->built.meta.npages;
	}
	if (rest.npages > 0)
		vdb_map_add_free_pages(&mover->ref, &rest, 1, vdb_pages_removable, mover->rel);
}

/* ---- 3. make it durable ---- */

/*
 * Freeze the meta of a stripe whose rows are all committed and older than any snapshot, as VACUUM
 * would do.  The switch ends queries of standbys that don't see all of the rows.  Where that would
 * happen with every migration, freezing is left to VACUUM (migrate_standby.c).
 */
static void
freeze_meta(VdbMover *mover, VdbStripeMeta *meta)
{
	Assert(!mover->in_doubt);
	if (mover->ref.logged && TransactionIdIsNormal(meta->max_xmin) &&
		TransactionIdFollows(meta->max_xmin, mover->latest_removed))
		mover->latest_removed = meta->max_xmin;
	meta->min_xmin = meta->max_xmin = FrozenTransactionId;
	meta->flags |= VDB_STRIPE_FROZEN;
}

/*
 * Check whether the pool has room for the stripe's meta before its pages are written and logged: a
 * full pool would otherwise make WAL as fast as the attempts come, without end.
 */
static bool
meta_fits(const VdbMover *mover)
{
	uint64		nchunks = (mover->rows_written + VDB_CHUNK_ROWS - 1) / VDB_CHUNK_ROWS;

	Assert(nchunks > 0);
	return vdb_map_meta_fits(&mover->ref, nchunks * RelationGetNumberOfAttributes(mover->rel));
}

/*
 * Finish the stripe, if it has rows, and store its meta on the pending list.  Returns false if the
 * pool is full.
 */
static bool
finish_new_stripe(VdbMover *mover, VdbStripeWriter *writer)
{
	VdbStripeMeta *meta = &mover->built.meta;

	Assert(mover->meta_block == VDB_BLOCK_NONE);
	if (mover->rows_written == 0)
	{
		vdb_stripe_writer_abort(writer);
		mover->meta_block = VDB_BLOCK_NONE;
		return true;
	}
	if (!meta_fits(mover))
	{
		vdb_stripe_writer_abort(writer);
		return false;
	}
	offer_pages(mover, writer);
	VDB_STOP_POINT("migrate-before-stripe");
	vdb_stripe_writer_finish(writer, &mover->built);
	VDB_STOP_POINT("migrate-after-stripe");
	return_pages(mover);
	Assert(meta->nrows == mover->rows_written && meta->nlbs == mover->nblocks);
	meta->epoch = mover->epoch;
	meta->spill = mover->spill;
	if (mover->in_doubt)
		meta->flags |= VDB_STRIPE_IN_DOUBT;
	else if (TransactionIdPrecedes(meta->max_xmin, mover->oldest_xmin) &&
			 !(mover->ref.logged && vdb_migrate_silent_standby()))
		freeze_meta(mover, meta);
	mover->meta_block = vdb_map_store_meta(&mover->ref, meta, mover->built.zones);
	VDB_STOP_POINT("migrate-after-meta");
	return mover->meta_block != VDB_BLOCK_NONE;
}

/*
 * Build stripe, meta and block deltas of the chosen blocks.  The mover may end up with fewer blocks
 * than were chosen.  Returns false if the pool has no room.
 */
bool
vdb_mover_build(VdbMover *mover)
{
	VdbStripeWriter *writer = build_stripe(mover);

	vdb_mover_write_spill(mover);
	return finish_new_stripe(mover, writer) && vdb_mover_build_deltas(mover);
}
