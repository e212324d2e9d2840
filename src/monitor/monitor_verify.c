/*-------------------------------------------------------------------------
 *
 * monitor_verify.c
 *	  vdb.verify: read everything of a table, and report what is wrong.
 *
 * 1. The map and the overlay's slabs (their own checks).
 * 2. Range by range: each stripe (all its bytes, its meta and zone maps), each
 *	  logical block (row versions in segments, stubs of striped rows, what a set
 *	  bit of the visibility map promises).
 * 3. The table as a whole: counts, pages of stripes.
 * 4. Its indexes (monitor_index.c).
 *
 * Each step runs in a subtransaction, so an error is a finding and the next
 * step goes on.  Locks: AccessShareLock on the table; row locks one at a
 * time, shared, and only to copy: nobody waits for a verification.
 *
 * The table owner's rights are used: indexes may call the owner's functions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/transam.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/procarray.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "monitor/monitor.h"
#include "pages/pages.h"

PG_FUNCTION_INFO_V1(vdb_monitor_verify);

#define PLACE_BYTES		96

/* The pages of a stripe. */
typedef struct PageRun
{
	BlockNumber first;
	uint32		npages;
	uint32		stripe_id;
} PageRun;

typedef struct Verify
{
	Relation	rel;
	VdbTableRef ref;
	bool		found;				/* the table has a place in the pool */
	VdbFindings *findings;
	TransactionId relfrozenxid;		/* as of the start */
	MemoryContext context;			/* reset for each range */
	VdbSeenRange *seen;
	VdbOverlayView *view;
	char	   *arena;				/* rows of one logical block */
	VdbVersion *versions;
	const VdbVersion *version;		/* the row at hand, and its image in the arena */
	const char *image;
	VdbCursor	cursor;				/* over the table's blocks */
	bool		more;				/* it has come to a range */
	uint32		range;				/* the step at hand */
	VdbLogicalBlock lb;
	const VdbSeenStripe *stripe;
	char		place[PLACE_BYTES];
	uint64		stripe_rows;		/* seen in all ranges */
	uint64		stripes;
	PageRun    *runs;
	int			nruns;
	int			max_runs;
} Verify;

#define ERROR_AT_PLACE(verify, ...) \
	vdb_finding((verify)->findings, VDB_ERROR_FOUND, (verify)->place, __VA_ARGS__)

static void
set_block_place(Verify *verify, VdbLogicalBlock lb)
{
	if (lb == VDB_MAX_LOGICAL_BLOCK)
		strlcpy(verify->place, "table", PLACE_BYTES);
	else
		snprintf(verify->place, PLACE_BYTES, "logical block %u", lb);
}

/* ---- row versions in segments ---- */

/* Next transaction id that will be given out: stored ones are older. */
static void
check_xid(Verify *verify, const VdbVersion *version, const char *which, TransactionId xid)
{
	if (!TransactionIdIsNormal(xid))
		return;
	if (TransactionIdFollowsOrEquals(xid, ReadNextTransactionId()))
		ERROR_AT_PLACE(verify, _("row %u has %s %u, which is in the future"),
					   vdb_row_index(version->row), which, xid);
	else if (TransactionIdIsNormal(verify->relfrozenxid) &&
			 TransactionIdPrecedes(xid, verify->relfrozenxid))
		ERROR_AT_PLACE(verify, _("row %u has %s %u, which precedes relfrozenxid %u"),
					   vdb_row_index(version->row), which, xid, verify->relfrozenxid);
}

static void
check_header(Verify *verify, const VdbVersion *version)
{
	const HeapTupleHeaderData *hdr = &version->hdr;
	VdbRowNumber next;

	/* a speculative insertion that was taken back has none, and says so */
	if (!TransactionIdIsValid(HeapTupleHeaderGetRawXmin(hdr)) && !HeapTupleHeaderXminInvalid(hdr))
		ERROR_AT_PLACE(verify, _("row %u has no xmin"), vdb_row_index(version->row));
	if (!HeapTupleHeaderXminInvalid(hdr))
		check_xid(verify, version, "xmin", HeapTupleHeaderGetXmin(hdr));
	if (!(hdr->t_infomask & (HEAP_XMAX_INVALID | HEAP_XMAX_IS_MULTI)))
		check_xid(verify, version, "xmax", HeapTupleHeaderGetRawXmax(hdr));

	if (HeapTupleHeaderIsSpeculative(hdr) || HeapTupleHeaderIndicatesMovedPartitions(hdr))
		return;
	next = vdb_tid_to_row(&hdr->t_ctid);
	if (next == VDB_ROW_NONE || vdb_row_lb(next) >= vdb_map_limit(&verify->ref))
		ERROR_AT_PLACE(verify, _("row %u refers to a next version (%u,%u) that was never stored"),
					   vdb_row_index(version->row), ItemPointerGetBlockNumberNoCheck(&hdr->t_ctid),
					   ItemPointerGetOffsetNumberNoCheck(&hdr->t_ctid));
}

/*
 * Bytes that a value at 'at' takes, at most 'room'; 0: it doesn't fit, or
 * can't be a value of that kind.
 */
static Size
value_bytes(Form_pg_attribute att, const char *at, Size room)
{
	Size		bytes;

	if (att->attlen > 0)
		return att->attlen <= room ? att->attlen : 0;
	if (room == 0)
		return 0;
	if (att->attlen == -2)
	{
		const char *end = memchr(at, '\0', room);

		return end == NULL ? 0 : (Size) (end - at) + 1;
	}
	if (VARATT_IS_EXTERNAL(at))
		return 0;				/* vdb tables have no TOAST table */
	if (!VARATT_IS_1B(at) && room < VARHDRSZ)
		return 0;
	bytes = VARSIZE_ANY(at);
	if (bytes < (VARATT_IS_1B(at) ? VARHDRSZ_SHORT : VARHDRSZ))
		return 0;
	return bytes <= room ? bytes : 0;
}

/* Do all attributes of a tuple lie inside it?  It has t_hoff bytes at least. */
static void
check_attributes(Verify *verify, uint8 index, const HeapTupleHeaderData *tuple, uint32 len)
{
	TupleDesc	desc = RelationGetDescr(verify->rel);
	int			natts = HeapTupleHeaderGetNatts(tuple);
	bool		nulls = (tuple->t_infomask & HEAP_HASNULL) != 0;
	const char *data = (const char *) tuple + tuple->t_hoff;
	Size		size = len - tuple->t_hoff;
	Size		off = 0;

	if (natts > desc->natts)
	{
		ERROR_AT_PLACE(verify, _("row %u has %d attributes, the table has %d"), index, natts, desc->natts);
		return;
	}
	if (tuple->t_hoff < SizeofHeapTupleHeader + (nulls ? BITMAPLEN(natts) : 0))
	{
		ERROR_AT_PLACE(verify, _("row %u has no room for its null bitmap"), index);
		return;
	}
	for (int i = 0; i < natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Size		bytes;

		if (nulls && att_isnull(i, tuple->t_bits))
			continue;
		if (att->attlen == -1)
			off = off < size ? att_align_pointer(off, att->attalign, -1, data + off) : off;
		else
			off = att_align_nominal(off, att->attalign);
		bytes = off < size ? value_bytes(att, data + off, size - off) : 0;
		if (bytes == 0)
		{
			ERROR_AT_PLACE(verify, _("row %u has a damaged value of attribute %d at byte %zu of %zu"),
						   index, i + 1, off, size);
			return;
		}
		off += bytes;
	}
}

/* Copy the row versions of a block to the arena; returns how many.  Row lock held. */
static int
copy_rows(Verify *verify, const VdbExtent *extent)
{
	int			n = 0;
	Size		used = 0;

	for (int i = 0; i < VDB_LB_ROWS; i++)
	{
		VdbVersion *version = &verify->versions[n];
		bool		reaped;

		if (!vdb_rows_version(&verify->ref, extent, verify->lb, (uint8) i, version, &reaped))
			continue;
		if (used + VDB_ROW_COPY_BYTES(version->len) > VDB_SEGMENT_BYTES)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("rows of the segment in pool block %u overlap", extent->ref)));
		vdb_rows_copy(&verify->ref, version, verify->arena + used);
		used += VDB_ROW_COPY_BYTES(version->len);
		n++;
	}
	return n;
}

/* Do two rows share bytes?  Reports the first pair. */
static void
check_overlaps(Verify *verify, int n)
{
	for (int i = 1; i < n; i++)
	{
		const VdbVersion *a = &verify->versions[i];

		for (int j = 0; j < i; j++)
		{
			const VdbVersion *b = &verify->versions[j];

			if (a->block == b->block &&
				a->offset < b->offset + VDB_ROW_EXTRA_BYTES + b->len &&
				b->offset < a->offset + VDB_ROW_EXTRA_BYTES + a->len)
			{
				ERROR_AT_PLACE(verify, _("rows %u and %u overlap in pool block %u"),
							   vdb_row_index(b->row), vdb_row_index(a->row), a->block);
				return;
			}
		}
	}
}

/* A wide row whose part in the segment is sound. */
static void
check_wide(void *arg)
{
	Verify	   *verify = arg;
	HeapTuple	tuple = vdb_rows_complete_wide(verify->rel, verify->image, verify->version->len);

	check_attributes(verify, vdb_row_index(verify->version->row), tuple->t_data, tuple->t_len);
	pfree(tuple);
}

/* In a subtransaction of its own: damage is then that row's, and the others are looked at. */
static void
try_wide(Verify *verify)
{
	snprintf(verify->place, PLACE_BYTES, "logical block %u, row %u", verify->lb,
			 vdb_row_index(verify->version->row));
	(void) vdb_verify_try(verify->findings, verify->place, check_wide, verify);
	set_block_place(verify, verify->lb);
}

static void
check_rows(Verify *verify, int n)
{
	char	   *image = verify->arena;

	check_overlaps(verify, n);
	for (int i = 0; i < n; i++)
	{
		const VdbVersion *version = &verify->versions[i];
		VdbRowDamage damage;

		check_header(verify, version);
		verify->version = version;
		verify->image = image;
		if (vdb_rows_may_lack_data(&version->hdr))
			 /* nothing to read */ ;
		else if (vdb_rows_damaged(version, image, &damage))
			ERROR_AT_PLACE(verify, _("row %u in pool block %u at offset %u: wrong checksum, expected %08X, found %08X"),
						   vdb_row_index(damage.row), damage.block, damage.offset, damage.expected, damage.found);
		else if (version->wide)
			try_wide(verify);
		else
			check_attributes(verify, vdb_row_index(version->row),
							 (HeapTupleHeader) image, version->len);
		image += VDB_ROW_COPY_BYTES(version->len);
	}
}

/* ---- striped rows of one block ---- */

/* Stubs of a striped block: each of a row that is there. */
static void
check_stubs(Verify *verify, const VdbSeenStripe *seen)
{
	const VdbStripeMeta *meta = seen->meta;
	VdbStripe  *stripe = vdb_stripe_open(verify->rel, vdb_stripe_address(meta));
	uint32		first_pos;
	VdbRowSet	present;

	if (!vdb_stripe_lb(stripe, vdb_lb_index(verify->lb), &first_pos, present))
		ERROR_AT_PLACE(verify, _("stripe %u does not cover the logical block"), meta->stripe_id);
	else
		for (int i = 0; verify->view->any && i < verify->view->nstubs; i++)
		{
			const VdbStub *stub = &verify->view->stubs[i];

			if (!vdb_rowset_has(present, stub->index))
				ERROR_AT_PLACE(verify, _("a delta record changes row %u, which stripe %u does not have"),
							   stub->index, meta->stripe_id);
			if (!(stub->flags & VDB_STUB_MOVED) && stub->next_lb >= vdb_map_limit(&verify->ref))
				ERROR_AT_PLACE(verify, _("row %u refers to a next version in logical block %u, which was never handed out"),
							   stub->index, stub->next_lb);
		}
	vdb_stripe_release(stripe);
}

/* ---- the visibility map ---- */

/* Rows of the block that the stripe has and the overlay left. */
static int
rows_left(Verify *verify, const VdbSeenStripe *seen)
{
	const VdbStripeMeta *meta = seen->meta;
	VdbStripe  *stripe = vdb_stripe_open(verify->rel, vdb_stripe_address(meta));
	uint32		first_pos;
	VdbRowSet	present;
	int			n = 0;

	if (vdb_stripe_lb(stripe, vdb_lb_index(verify->lb), &first_pos, present))
	{
		if (verify->view->any)
			vdb_rowset_subtract(present, verify->view->gone);
		n = vdb_rowset_count(present);
	}
	vdb_stripe_release(stripe);
	return n;
}

/*
 * Was a row of the block deleted or updated, or is it being so?  An aborted deleter's stub, which keeps a
 * block from being marked, may stand in a marked one: a crash can lose the record of the delete together with that
 * of the clearing before it, and leave the stub.  What has a multixact was flushed.
 */
static bool
any_deleted(const VdbOverlayView *view)
{
	for (int i = 0; view->any && i < view->nstubs; i++)
	{
		const VdbStub *stub = &view->stubs[i];

		if ((stub->infomask & HEAP_XMAX_INVALID) || HEAP_XMAX_IS_LOCKED_ONLY(stub->infomask))
			continue;
		if ((stub->infomask & HEAP_XMAX_IS_MULTI) || TransactionIdIsInProgress(stub->xmax) ||
			TransactionIdDidCommit(stub->xmax))
			return true;
	}
	return false;
}

/*
 * A block whose bit is set: index-only scans take every row of it for visible, so
 * ours must be.  Kind and overlay were read with the bit, under the row lock.
 * 'seen' is NULL if the stripe is younger than our look at the range.
 */
static void
check_all_visible(Verify *verify, uint8 kind, const VdbSeenStripe *seen)
{
	VdbBatch   *batch;
	int			visible;
	int			left;

	if (kind == VDB_EXTENT_GONE)
		return;					/* it had no row when its bit was set */
	if (kind != VDB_EXTENT_STRIPE)
		ERROR_AT_PLACE(verify, _("it is marked all-visible, but not in a stripe"));
	else if (any_deleted(verify->view))
		ERROR_AT_PLACE(verify, _("it is marked all-visible, but rows of it were deleted or updated"));
	if (seen == NULL)
		return;
	batch = vdb_batch_create(verify->rel);
	visible = vdb_batch_read(batch, verify->lb, GetActiveSnapshot(), InvalidTransactionId, false);
	left = rows_left(verify, seen);
	if (visible != left)
		ERROR_AT_PLACE(verify, _("it is marked all-visible, but %d of its %d rows are visible"),
					   visible, left);
	vdb_batch_free(batch);
}

static const VdbSeenStripe *
seen_stripe(const Verify *verify, VdbBlock meta_block)
{
	for (int i = 0; i < verify->seen->nstripes; i++)
		if (verify->seen->stripes[i].meta_block == meta_block)
			return &verify->seen->stripes[i];
	return NULL;
}

static void
verify_block(Verify *verify)
{
	const VdbSeenStripe *stripe = NULL;
	VdbExtent	extent;
	Buffer		buffer = InvalidBuffer;
	bool		visible;
	int			nrows = 0;

	verify->view->any = false;
	(void) vdb_visible_glance(verify->rel, verify->lb, &buffer);
	vdb_lock_block(&verify->ref, verify->lb, LW_SHARED);
	vdb_map_lookup(&verify->ref, verify->lb, &extent);
	if (extent.kind == VDB_EXTENT_SEGMENT)
		nrows = copy_rows(verify, &extent);
	else if (extent.kind == VDB_EXTENT_STRIPE)
	{
		stripe = seen_stripe(verify, extent.ref);
		if (extent.overlay_block != VDB_BLOCK_NONE)
			vdb_overlay_read(&verify->ref, &extent, verify->view);
	}
	visible = BufferIsValid(buffer) && vdb_visible_test(verify->lb, buffer);
	vdb_unlock_block(&verify->ref, verify->lb);
	if (BufferIsValid(buffer))
		ReleaseBuffer(buffer);
	check_rows(verify, nrows);
	/* one that appeared since the range was looked at is checked by the next verification */
	if (stripe != NULL)
		check_stubs(verify, stripe);
	if (visible)
		check_all_visible(verify, extent.kind, stripe);
}

/* From the block that the cursor is at to the end of the range. */
static void
verify_blocks(void *arg)
{
	Verify	   *verify = arg;

	do
	{
		CHECK_FOR_INTERRUPTS();
		verify->lb = vdb_cursor_lb(&verify->cursor);
		set_block_place(verify, verify->lb);
		verify_block(verify);
	} while (vdb_cursor_next_in_range(&verify->cursor));
}

/* ---- stripes ---- */

static void
compare_figure(Verify *verify, const char *what, uint64 pool, uint64 flash)
{
	if (pool != flash)
		ERROR_AT_PLACE(verify, _("the pool's metadata says %s " UINT64_FORMAT ", the stripe on flash " UINT64_FORMAT),
					   what, pool, flash);
}

/* The meta in the pool, and its zone maps, against what stands on flash. */
static void
compare_meta(void *arg)
{
	Verify	   *verify = arg;
	const VdbSeenStripe *seen = verify->stripe;
	const VdbStripeMeta *meta = seen->meta;
	VdbStripeBuilt built;

	vdb_stripe_describe(verify->rel, vdb_stripe_address(meta), &built);
	compare_figure(verify, "rows", meta->nrows, built.meta.nrows);
	compare_figure(verify, "chunks", meta->nchunks, built.meta.nchunks);
	compare_figure(verify, "columns", meta->ncolumns, built.meta.ncolumns);
	compare_figure(verify, "logical blocks", meta->nlbs, built.meta.nlbs);
	compare_figure(verify, "row bytes", meta->row_bytes, built.meta.row_bytes);
	compare_figure(verify, "bytes", meta->stripe_bytes, built.meta.stripe_bytes);
	for (int i = 0; i < Min(meta->nchunks, (int) lengthof(meta->chunk_rows)); i++)
		compare_figure(verify, psprintf("rows of chunk %d", i), meta->chunk_rows[i],
					   built.meta.chunk_rows[i]);
	if (seen->zones == NULL || meta->nchunks != built.meta.nchunks ||
		meta->ncolumns != built.meta.ncolumns)
		return;
	for (int i = 0; i < (int) meta->nchunks * meta->ncolumns; i++)
		if (memcmp(&seen->zones[i], &built.zones[i], sizeof(VdbZone)) != 0)
			ERROR_AT_PLACE(verify, _("zone map of chunk %d, column %d, differs from the one on flash"),
						   i / meta->ncolumns, i % meta->ncolumns + 1);
}

/* How to compare a column's values as its zone maps do; false: can't be checked. */
static bool
zone_order(const VdbZone *zone, Form_pg_attribute att, FmgrInfo *cmp)
{
	TypeCacheEntry *type;

	if (att->attisdropped || !(zone->flags & VDB_ZONE_HAS_MINMAX))
		return false;
	type = lookup_type_cache(getBaseType(att->atttypid), TYPECACHE_CMP_PROC);
	if (!OidIsValid(zone->cmp_proc) || type->cmp_proc != zone->cmp_proc ||
		zone->cmp_proc >= FirstNormalObjectId)
		return false;
	fmgr_info(zone->cmp_proc, cmp);
	return true;
}

/* All values of a chunk's column lie between the zone map's bounds. */
static void
check_zone(Verify *verify, VdbStripe *stripe, int chunk, int attno, const VdbZone *zone)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(verify->rel), attno - 1);
	Datum	   *values;
	bool	   *nulls;
	VdbVectorHold hold = {0};
	FmgrInfo	cmp;
	Datum		min;
	Datum		max;
	uint32		end = vdb_stripe_chunk_start(stripe, chunk + 1);
	uint32		next;

	if (!zone_order(zone, att, &cmp))
		return;
	if (!vdb_zone_bound(att, zone, false, &min) || !vdb_zone_bound(att, zone, true, &max))
	{
		ERROR_AT_PLACE(verify, _("chunk %d, column \"%s\": the zone map holds no value of the column's type"),
					   chunk, NameStr(att->attname));
		return;
	}
	values = palloc(VDB_VECTOR_ROWS * sizeof(Datum));
	nulls = palloc(VDB_VECTOR_ROWS * sizeof(bool));
	for (uint32 pos = vdb_stripe_chunk_start(stripe, chunk); pos < end; pos = next)
	{
		CHECK_FOR_INTERRUPTS();
		next = vdb_stripe_vector_end(stripe, pos);
		vdb_stripe_decode(stripe, verify->rel, attno, pos, (int) (next - pos), values, nulls, &hold);
		for (uint32 i = 0; i < next - pos; i++)
		{
			if (nulls[i] ||
				(DatumGetInt32(FunctionCall2Coll(&cmp, zone->collation, values[i], min)) >= 0 &&
				 DatumGetInt32(FunctionCall2Coll(&cmp, zone->collation, values[i], max)) <= 0))
				continue;
			ERROR_AT_PLACE(verify, _("chunk %d, column \"%s\": the value at position %u is outside its zone map"),
						   chunk, NameStr(att->attname), pos + i);
			next = end;
			break;
		}
	}
	vdb_stripe_hold_free(&hold);
	pfree(values);
	pfree(nulls);
}

static void
check_zones(void *arg)
{
	Verify	   *verify = arg;
	const VdbSeenStripe *seen = verify->stripe;
	const VdbStripeMeta *meta = seen->meta;
	VdbStripe  *stripe;
	int			ncolumns = Min(meta->ncolumns, RelationGetDescr(verify->rel)->natts);

	if (seen->zones == NULL)
		return;
	stripe = vdb_stripe_open(verify->rel, vdb_stripe_address(meta));
	if (vdb_stripe_nchunks(stripe) == meta->nchunks && vdb_stripe_ncolumns(stripe) == meta->ncolumns)
		for (int chunk = 0; chunk < meta->nchunks; chunk++)
			for (int attno = 1; attno <= ncolumns; attno++)
				check_zone(verify, stripe, chunk, attno,
						   &seen->zones[(Size) chunk * meta->ncolumns + attno - 1]);
	vdb_stripe_release(stripe);
}

typedef struct StripeDamage
{
	Verify	   *verify;
	bool		any;
} StripeDamage;

static void
stripe_damaged(void *arg, const char *message)
{
	StripeDamage *damage = arg;

	damage->any = true;
	ERROR_AT_PLACE(damage->verify, "%s", message);
}

static void
note_pages(Verify *verify, const VdbStripeMeta *meta)
{
	if (verify->nruns == verify->max_runs)
	{
		verify->max_runs *= 2;
		verify->runs = repalloc(verify->runs, verify->max_runs * sizeof(PageRun));
	}
	verify->runs[verify->nruns].first = meta->first_page;
	verify->runs[verify->nruns].npages = meta->npages;
	verify->runs[verify->nruns++].stripe_id = meta->stripe_id;
}

static void
verify_stripe(Verify *verify, const VdbSeenStripe *seen)
{
	const VdbStripeMeta *meta = seen->meta;
	StripeDamage damage = {verify, false};

	CHECK_FOR_INTERRUPTS();
	verify->stripe = seen;
	verify->stripes++;
	verify->stripe_rows += meta->nrows;
	note_pages(verify, meta);
	snprintf(verify->place, PLACE_BYTES, "stripe %u at page %u", meta->stripe_id, meta->first_page);
	vdb_stripe_verify(verify->rel, vdb_stripe_address(meta), meta->npages, stripe_damaged, &damage);
	if (damage.any)
		return;
	if (vdb_verify_try(verify->findings, verify->place, compare_meta, verify))
		(void) vdb_verify_try(verify->findings, verify->place, check_zones, verify);
}

/* ---- the whole ---- */

static void
see_range(void *arg)
{
	Verify	   *verify = arg;

	vdb_see_range(&verify->ref, verify->range, true, verify->seen);
}

static void
verify_range(Verify *verify)
{
	snprintf(verify->place, PLACE_BYTES, "range %u", verify->range);
	verify->seen->nstripes = verify->seen->nsegments = 0;
	(void) vdb_verify_try(verify->findings, verify->place, see_range, verify);
	for (int i = 0; i < verify->seen->nstripes; i++)
		verify_stripe(verify, &verify->seen->stripes[i]);
	/* a block that cannot be read is a finding, and those after it are looked at */
	while (!vdb_findings_full(verify->findings))
		if (vdb_verify_try(verify->findings, verify->place, verify_blocks, verify) ||
			!vdb_cursor_next_in_range(&verify->cursor))
			break;
}

static void
open_table(void *arg)
{
	Verify	   *verify = arg;

	vdb_pages_check(verify->rel);
	verify->found = vdb_table_open(verify->rel, false, &verify->ref);
}

static void
structure_found(VdbLogicalBlock lb, const char *message, void *arg)
{
	Verify	   *verify = arg;

	set_block_place(verify, lb);
	ERROR_AT_PLACE(verify, "%s", message);
}

static void
check_map(void *arg)
{
	(void) vdb_map_check(&((Verify *) arg)->ref, structure_found, arg);
}

static void
check_overlay(void *arg)
{
	(void) vdb_overlay_check(&((Verify *) arg)->ref, structure_found, arg);
}

static void
next_range(void *arg)
{
	Verify	   *verify = arg;

	verify->more = vdb_cursor_next_range(&verify->cursor);
}

static void
verify_ranges(Verify *verify)
{
	MemoryContext old = MemoryContextSwitchTo(verify->context);

	vdb_cursor_init_blocks(&verify->cursor, &verify->ref);
	while (!vdb_findings_full(verify->findings))
	{
		strlcpy(verify->place, "map", PLACE_BYTES);
		if (!vdb_verify_try(verify->findings, verify->place, next_range, verify) || !verify->more)
			break;
		verify->range = vdb_lb_range(vdb_cursor_lb(&verify->cursor));
		verify_range(verify);
		MemoryContextReset(verify->context);
	}
	MemoryContextSwitchTo(old);
}

static int
compare_runs(const void *a, const void *b)
{
	const PageRun *x = a;
	const PageRun *y = b;

	return x->first < y->first ? -1 : x->first > y->first ? 1 : 0;
}

/*
 * No page belongs to two stripes.  (One that appears twice here was replaced
 * while we walked: it can't be, as its pages aren't reused before our
 * snapshot ends.)
 */
static void
check_pages(Verify *verify)
{
	if (verify->nruns > 1)
		qsort(verify->runs, verify->nruns, sizeof(PageRun), compare_runs);
	for (int i = 1; i < verify->nruns; i++)
	{
		const PageRun *before = &verify->runs[i - 1];
		const PageRun *run = &verify->runs[i];

		if ((uint64) before->first + before->npages > run->first)
			vdb_finding(verify->findings, VDB_ERROR_FOUND, "main fork",
						_("stripes %u and %u share page %u"),
						before->stripe_id, run->stripe_id, run->first);
	}
}

/* The entry's own counts, where nobody changed them meanwhile. */
static void
check_counts(Verify *verify, const VdbTableEntry *before)
{
	const VdbTableEntry *after = vdb_map_table_entry(&verify->ref);

	if (before->flash_rows != after->flash_rows || before->flash_stripes != after->flash_stripes ||
		before->last_migration != after->last_migration ||
		before->generation != after->generation)
		return;
	if (after->flash_stripes != verify->stripes)
		vdb_finding(verify->findings, VDB_WARNING_FOUND, "table",
					_("the pool's table entry counts " UINT64_FORMAT " stripes, there are " UINT64_FORMAT),
					after->flash_stripes, verify->stripes);
	if (after->flash_rows != verify->stripe_rows)
		vdb_finding(verify->findings, VDB_WARNING_FOUND, "table",
					_("the pool's table entry counts " UINT64_FORMAT " rows in stripes, there are " UINT64_FORMAT),
					after->flash_rows, verify->stripe_rows);
}

static void
verify_table(Verify *verify)
{
	VdbTableEntry before = *vdb_map_table_entry(&verify->ref);

	verify->seen = palloc(sizeof(VdbSeenRange));
	verify->view = palloc(sizeof(VdbOverlayView));
	verify->arena = palloc(VDB_SEGMENT_BYTES);
	verify->versions = palloc(VDB_LB_ROWS * sizeof(VdbVersion));
	verify->max_runs = 64;
	verify->runs = palloc(verify->max_runs * sizeof(PageRun));
	verify->context = AllocSetContextCreate(CurrentMemoryContext, "VDB verification",
											ALLOCSET_DEFAULT_SIZES);
	(void) vdb_verify_try(verify->findings, "map", check_map, verify);
	(void) vdb_verify_try(verify->findings, "block deltas", check_overlay, verify);
	verify_ranges(verify);
	if (!vdb_findings_full(verify->findings))
	{
		check_pages(verify);
		check_counts(verify, &before);
	}
	MemoryContextDelete(verify->context);
}

/* vdb.verify(regclass): a row per finding; none: healthy. */
Datum
vdb_monitor_verify(PG_FUNCTION_ARGS)
{
	VdbReport	report;
	Verify		verify = {0};
	Oid			user;
	int			sec_context;
	int			guc_level;

	vdb_report_begin(&report, fcinfo);
	verify.rel = vdb_inspect_open(PG_GETARG_OID(0), VDB_MUST_OWN);
	verify.findings = vdb_findings_create();
	verify.relfrozenxid = verify.rel->rd_rel->relfrozenxid;

	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(verify.rel->rd_rel->relowner,
						   sec_context | SECURITY_RESTRICTED_OPERATION);
	guc_level = NewGUCNestLevel();
	if (vdb_verify_try(verify.findings, "main fork", open_table, &verify))
	{
		if (verify.found)
			verify_table(&verify);
		vdb_verify_indexes(verify.rel, verify.findings);
	}
	AtEOXact_GUC(false, guc_level);
	SetUserIdAndSecContext(user, sec_context);
	relation_close(verify.rel, AccessShareLock);
	vdb_findings_report(verify.findings, &report);
	return (Datum) 0;
}
