/*-------------------------------------------------------------------------
 *
 * table_count.c
 *	  Count the live rows of a table with bounded effort.
 *
 * First, ranges are chosen, and the summaries of their map nodes are read, without locks.  Of a
 * small table all ranges are taken.  Of a large one the newest are taken, which have most of the
 * rows in the pool, and a sample of the older ones.  Then a sample of the segments of these ranges
 * is counted, spread over all of them because the newest may be empty: segments are claimed ahead.
 * Some rows of each segment are checked, so that dead versions that were not yet removed don't
 * count.
 *
 * The number of striped rows is in the table's entry.  Rows that are dead by the overlay are
 * subtracted; their number is estimated by a sample of the blocks that have an overlay, and for
 * spills taken from the metas.
 *
 * Locks: a block's lock is held, shared, while rows of the block are checked.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"

#include "base/vdb_stop_point.h"
#include "table/table.h"
#include "table/table_version.h"

/* Ranges taken, of the newest and of the older ones each. */
#define VDB_COUNT_RANGES		8

/*
 * Segments counted, and striped blocks whose overlay is read, in the newest ranges and in the older
 * ones each.
 */
#define VDB_COUNT_SEGMENTS		32
#define VDB_COUNT_OVERLAYS		16

/* Rows checked in the segments of the newest ranges, and in those of the older ones. */
#define VDB_COUNT_CHECKED		256

/* The sampled ranges of a stratum: the newest ranges, or the older ones. */
typedef struct Stratum
{
	double		weight;				/* ranges that each sampled range stands for */
	int			nsegments;
	int			noverlaid;
	double		striped_lbs;		/* blocks that are in stripes */
	VdbBlock	segments[VDB_COUNT_RANGES * VDB_RANGE_LBS];
	VdbLogicalBlock overlaid[VDB_COUNT_RANGES * VDB_RANGE_LBS]; /* striped blocks with an overlay */
} Stratum;

/* State of one count. */
typedef struct Counter
{
	Relation	rel;
	const VdbTableRef *ref;
	VdbTableCount *count;			/* the result */
	double		striped_dead;		/* estimated dead striped rows */
	double		striped_lbs;		/* estimated blocks in stripes */
	VdbOverlayView view;			/* work space */
	Stratum		stratum;			/* the current one */
} Counter;

/*
 * Return sample i of n spread over [0, total), one in each of n equal parts.  The position within a
 * part is pseudorandom, because regular steps could coincide with a pattern such as every other row
 * being deleted.  It is the same each time, so plans are stable.
 */
static uint32
spread(uint32 i, uint32 n, uint32 total)
{
	uint32		low = (uint32) ((uint64) i * total / n);
	uint32		high = (uint32) ((uint64) (i + 1) * total / n);

	Assert(n <= total);
	return low + murmurhash32(i ^ murmurhash32(total)) % (high - low);
}

/* ---- visibility ---- */

/*
 * Return true if clog can be asked about this id.  Damage must not keep a query from being planned.
 */
static bool
may_ask(const Counter *counter, TransactionId xid)
{
	return !TransactionIdIsNormal(xid) ||
		(!TransactionIdPrecedes(xid, counter->rel->rd_rel->relfrozenxid) &&
		 TransactionIdPrecedes(xid, XidFromFullTransactionId(ReadNextFullTransactionId())));
}

/* Return true if the version counts as live.  Members of a multixact are not looked up. */
static bool
is_live(const Counter *counter, HeapTupleHeader hdr)
{
	if ((hdr->t_infomask & HEAP_XMAX_IS_MULTI) != 0)
		return true;
	if (!may_ask(counter, HeapTupleHeaderGetRawXmin(hdr)) ||
		!may_ask(counter, HeapTupleHeaderGetRawXmax(hdr)))
		return true;
	switch (vdb_row_satisfies_vacuum(hdr, FirstNormalTransactionId))
	{
		case VDB_LIVE:
		case VDB_INSERT_IN_PROGRESS:
			return true;
		case VDB_DELETE_IN_PROGRESS:
			return !TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetRawXmax(hdr));
		default:
			return false;
	}
}

/* What a slot of a segment contains. */
typedef enum SlotFound
{
	SLOT_MOVED,						/* the slot's LB is no longer in the segment */
	SLOT_NO_ROW,
	SLOT_DEAD,
	SLOT_LIVE
} SlotFound;

/* Check a slot of the segment.  Takes and releases the block lock, shared. */
static SlotFound
look_at_slot(const Counter *counter, VdbBlock segment, VdbLogicalBlock lb, uint8 index)
{
	VdbExtent	extent;
	VdbVersion	version;
	SlotFound	found = SLOT_NO_ROW;

	vdb_lock_block(counter->ref, lb, LW_SHARED);
	vdb_map_lookup(counter->ref, lb, &extent);
	if (extent.kind != VDB_EXTENT_SEGMENT || extent.ref != segment)
		found = SLOT_MOVED;
	else if (vdb_rows_peek(counter->ref, &extent, lb, index, &version))
	{
		found = is_live(counter, &version.hdr) ? SLOT_LIVE : SLOT_DEAD;
		vdb_rows_hint(counter->ref, &version);
	}
	vdb_unlock_block(counter->ref, lb);
	return found;
}

/*
 * Estimate the live rows of a segment, checking 'most' of them at most.  Migration may have moved
 * rows of it since the map was read; these are counted as striped rows.  *share is set to the
 * fraction of rows that are still in the segment.
 */
static double
live_rows(Counter *counter, VdbBlock segment, const VdbSegmentUse *use, uint32 most, double *share)
{
	uint32		looks = Min(use->slots, most);
	uint32		found[SLOT_LIVE + 1] = {0};
	uint32		checked;

	for (uint32 i = 0; i < looks; i++)
	{
		uint32		slot = spread(i, looks, use->slots);

		found[look_at_slot(counter, segment, use->first_lb + slot / VDB_LB_ROWS,
						   (uint8) (slot % VDB_LB_ROWS))]++;
	}
	checked = found[SLOT_LIVE] + found[SLOT_DEAD];
	*share = looks > 0 ? 1 - (double) found[SLOT_MOVED] / looks : 1;
	counter->count->exact = counter->count->exact && *share == 1 &&
		(checked == 0 || found[SLOT_LIVE] == checked || checked == use->rows);
	return use->rows * *share * (checked == 0 ? 1 : (double) found[SLOT_LIVE] / checked);
}

/* ---- counting ---- */

/* Count the rows in the pool of a stratum. */
static void
count_pool_stratum(Counter *counter)
{
	const Stratum *stratum = &counter->stratum;
	int			looks = Min(stratum->nsegments, VDB_COUNT_SEGMENTS);
	double		scale = stratum->weight * stratum->nsegments / Max(looks, 1);

	if (looks < stratum->nsegments)
		counter->count->exact = false;
	for (int i = 0; i < looks; i++)
	{
		VdbBlock	segment = stratum->segments[spread(i, looks, stratum->nsegments)];
		VdbSegmentUse use;
		double		share;

		CHECK_FOR_INTERRUPTS();
		if (!vdb_rows_segment_use(counter->ref, segment, &use))
			continue;
		counter->count->pool_rows += scale *
			live_rows(counter, segment, &use, VDB_COUNT_CHECKED / looks, &share);
		counter->count->versions += scale * share * use.rows;
		counter->count->pool_blocks += scale * share * use.blocks;
	}
}

/* Return the number of rows of a striped block that are removed or deleted. */
static int
dead_rows(Counter *counter, VdbLogicalBlock lb)
{
	VdbOverlayView *view = &counter->view;
	VdbExtent	extent;
	int			dead;

	view->any = false;
	vdb_lock_block(counter->ref, lb, LW_SHARED);
	vdb_map_lookup(counter->ref, lb, &extent);
	if (extent.kind == VDB_EXTENT_STRIPE)
		vdb_overlay_read(counter->ref, &extent, view);
	vdb_unlock_block(counter->ref, lb);
	if (!view->any)
		return 0;
	dead = vdb_rowset_count(view->deleted);
	for (int i = 0; i < VDB_LB_ROWS; i++)
	{
		VdbVersion	version;

		if (view->drec_at[i] < 0 || vdb_rowset_has(view->deleted, i))
			continue;
		memset(&version, 0, sizeof(version));
		version.hdr.t_infomask = HEAP_XMIN_FROZEN | HEAP_XMAX_INVALID;
		vdb_version_apply_delta(&version, &view->drecs[view->drec_at[i]]);
		dead += !is_live(counter, &version.hdr);
	}
	return dead;
}

/* Count the dead striped rows of a stratum. */
static void
count_overlays(Counter *counter)
{
	const Stratum *stratum = &counter->stratum;
	int			looks = Min(stratum->noverlaid, VDB_COUNT_OVERLAYS);
	double		scale = stratum->weight * stratum->noverlaid / Max(looks, 1);

	counter->striped_lbs += stratum->striped_lbs * stratum->weight;
	if (looks < stratum->noverlaid)
		counter->count->exact = false;
	for (int i = 0; i < looks; i++)
	{
		CHECK_FOR_INTERRUPTS();
		counter->striped_dead += scale *
			dead_rows(counter, stratum->overlaid[spread(i, looks, stratum->noverlaid)]);
	}
}

/*
 * Count the dead rows in the spills of a range's stripes.  Those that were removed since are
 * counted again with the deletion bitmaps, but not for long: VACUUM drops such spills.
 */
static void
count_spilled(Counter *counter, uint32 range, const VdbRangeSummary *summary)
{
	for (int i = 0; i < summary->nstripes; i++)
	{
		VdbLogicalBlock lb = range * VDB_RANGE_LBS + summary->stripe_lbs[i];
		VdbExtent	extent;
		uint32		nrows = 0;

		vdb_lock_block(counter->ref, lb, LW_SHARED);
		vdb_map_lookup(counter->ref, lb, &extent);
		if (extent.kind == VDB_EXTENT_STRIPE)
			nrows = vdb_map_meta(counter->ref->pool, extent.ref)->spill.nrows;
		vdb_unlock_block(counter->ref, lb);
		counter->striped_dead += counter->stratum.weight * nrows;
		counter->count->exact = counter->count->exact && nrows == 0;
	}
}

/* Count a stratum, the ranges [first, first + n), by some of its ranges. */
static void
count_ranges(Counter *counter, uint32 first, uint32 n)
{
	Stratum    *stratum = &counter->stratum;
	uint32		looks = Min(n, VDB_COUNT_RANGES);
	VdbRangeSummary summary;

	if (n == 0)
		return;
	counter->count->exact = counter->count->exact && looks == n;
	stratum->weight = (double) n / looks;
	stratum->nsegments = stratum->noverlaid = 0;
	stratum->striped_lbs = 0;
	for (uint32 i = 0; i < looks; i++)
	{
		uint32		range = first + spread(i, looks, n);

		CHECK_FOR_INTERRUPTS();
		if (!vdb_map_summarize(counter->ref, range, &summary))
			continue;
		memcpy(stratum->segments + stratum->nsegments, summary.segments,
			   summary.nsegments * sizeof(VdbBlock));
		stratum->nsegments += summary.nsegments;
		stratum->striped_lbs += summary.striped_lbs;
		for (int lb = 0; lb < summary.noverlaid; lb++)
			stratum->overlaid[stratum->noverlaid++] =
				range * VDB_RANGE_LBS + summary.overlaid_lbs[lb];
		if (summary.thinned)
			count_spilled(counter, range, &summary);
	}
	VDB_STOP_POINT("table-count-listed");
	count_pool_stratum(counter);
	count_overlays(counter);
}

/*
 * See table.h.  The entry counts a stripe's rows as a whole, even if some of its blocks have moved
 * to another stripe.  So the count is limited by the number of blocks that are in stripes.
 */
void
vdb_table_count(Relation rel, const VdbTableRef *ref, VdbTableCount *count)
{
	Counter    *counter = palloc(sizeof(Counter));
	VdbLogicalBlock limit = vdb_map_limit(ref);
	uint32		ranges = limit > 0 ? vdb_lb_range(limit - 1) + 1 : 0;
	uint32		newest = Min(ranges, VDB_COUNT_RANGES);
	double		on_flash;

	memset(count, 0, sizeof(VdbTableCount));
	count->exact = true;
	counter->rel = rel;
	counter->ref = ref;
	counter->count = count;
	counter->striped_dead = counter->striped_lbs = 0;
	count_ranges(counter, ranges - newest, newest);
	count_ranges(counter, 0, ranges - newest);
	on_flash = (double) vdb_map_table_entry(ref)->striped_rows;
	if (count->exact)
		on_flash = Min(on_flash, counter->striped_lbs * VDB_LB_ROWS);
	count->striped_rows = Max(on_flash - counter->striped_dead, 0);
	count->versions += on_flash;
	pfree(counter);
}
