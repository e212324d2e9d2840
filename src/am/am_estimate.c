/*-------------------------------------------------------------------------
 *
 * am_estimate.c
 *	  Size estimates for the planner: rows, pages, and the all-visible share.
 *
 * Rows are the live ones.  Pages are what a scan reads: pages of the main fork that are not free,
 * and blocks of the pool that have rows.  All are taken as they are now, as core does with a
 * file's length, so they are right even if the table was never analyzed.
 *
 * Each planning asks for the estimate.  So a result is kept with the relation for a short time:
 * until something shows that the table has changed, or this backend has changed many rows, or
 * VDB_SIZE_KEPT_US have passed.  In that time others may change rows without being noticed.
 *
 * Locks: the map lock, shared, for the list of free pages; block locks, shared, one at a time, for
 * checking rows.  All else is read without locks, as a hint.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "optimizer/plancat.h"
#include "storage/bufmgr.h"
#include "storage/smgr.h"
#include "utils/rel.h"

#include "am/am.h"
#include "pages/pages.h"

/*
 * A table that was never analyzed is assumed to grow to this many pages, as long as it has fewer
 * than this many rows.
 */
#define VDB_NEW_TABLE_PAGES		10
#define VDB_NEW_TABLE_ROWS		100

/* Number of ranges whose logical blocks are looked up in the visibility map. */
#define VDB_ESTIMATE_VISIBLE_RANGES	4

/* How long sizes are kept, in microseconds, as others may have changed the table. */
#define VDB_SIZE_KEPT_US		100000

/* Sizes are kept while this backend has changed no more than 1/8 of the table's versions. */
#define VDB_SIZE_KEPT_SHARE		8

/*
 * A count by sample is no better than what ANALYZE or VACUUM has found if it differs by no more
 * than this share.
 */
#define VDB_SAMPLE_ERROR		0.1

/* ---- counting ---- */

/*
 * Return the pages of the main fork that may hold something.  The metapage and pages known to be
 * free are left out.
 */
static double
used_pages(Relation rel, const VdbTableRef *ref)
{
	double		pages = (double) smgrnblocks(RelationGetSmgr(rel), MAIN_FORKNUM) - 1;
	VdbFreeRun *runs;
	int			nruns;

	if (vdb_map_table_entry(ref)->free_pages == VDB_BLOCK_NONE)
		return Max(pages, 0);
	runs = palloc(VDB_FREE_RUNS * sizeof(VdbFreeRun));
	nruns = vdb_map_list_free_pages(ref, runs);
	for (int i = 0; i < nruns; i++)
		if ((runs[i].freed & VDB_FREE_RUN_CANDIDATE) == 0)
			pages -= runs[i].npages;
	pfree(runs);
	return Max(pages, 0);
}

/* Return the rows that core assumes for a new and small table of its own: ten pages of them. */
static double
new_table_rows(Relation rel, int32 *attr_widths)
{
	int32		width = get_rel_data_width(rel, attr_widths) +
		MAXALIGN(SizeofHeapTupleHeader) + sizeof(ItemIdData);

	return (double) VDB_NEW_TABLE_PAGES * ((BLCKSZ - SizeOfPageHeaderData) / width);
}

/*
 * Return the share of the rows whose logical blocks are marked in the visibility map now.
 * pg_class does not have it, as migration sets marks without an update of pg_class.  Only striped
 * blocks can be marked.  A few ranges, spread over the table, stand for the others.
 */
static double
visible_share(Relation rel, const VdbTableRef *ref, const VdbTableCount *count)
{
	VdbLogicalBlock limit = vdb_map_limit(ref);
	uint32		ranges = limit > 0 ? vdb_lb_range(limit - 1) + 1 : 0;
	uint32		samples = Min(ranges, VDB_ESTIMATE_VISIBLE_RANGES);
	double		striped = 0;
	double		visible = 0;
	Buffer		buffer = InvalidBuffer;

	if (count->striped_rows <= 0 || !rel->rd_rel->relhasindex)
		return 0;
	for (uint32 i = 0; i < samples; i++)
	{
		uint32		range = (uint32) ((uint64) i * ranges / samples);
		VdbRangeSummary summary;

		CHECK_FOR_INTERRUPTS();
		if (!vdb_map_summarize(ref, range, &summary) || summary.striped_lbs == 0)
			continue;
		striped += summary.striped_lbs;
		visible += vdb_visible_count_some(rel, range * VDB_RANGE_LBS, VDB_RANGE_LBS, &buffer);
	}
	if (BufferIsValid(buffer))
		ReleaseBuffer(buffer);
	return Min(visible / Max(striped, 1), 1) *
		count->striped_rows / (count->striped_rows + count->pool_rows);
}

/* ---- keeping ---- */

/* Return true if a kept size can still be used. */
static bool
still_good(const VdbTableSize *size, const VdbTableRef *ref)
{
	return size->valid && size->generation == ref->generation &&
		size->limit == vdb_map_limit(ref) &&
		size->entry_rows == vdb_map_table_entry(ref)->striped_rows &&
		(double) (vdb_rows_changes() - size->changes) <=
		Max(size->count.versions, 64) / VDB_SIZE_KEPT_SHARE &&
		!TimestampDifferenceExceeds(size->at, GetCurrentTimestamp(), VDB_SIZE_KEPT_US / 1000);
}

/* Return the table's size, counted now or kept with the relation. */
static VdbTableSize
current_size(Relation rel, const VdbTableRef *ref)
{
	VdbTableSize size = *vdb_table_size(rel);

	if (still_good(&size, ref))
		return size;
	size.generation = ref->generation;
	size.limit = vdb_map_limit(ref);
	size.entry_rows = vdb_map_table_entry(ref)->striped_rows;
	size.changes = vdb_rows_changes();
	size.at = GetCurrentTimestamp();
	vdb_table_count(rel, ref, &size.count);
	size.flash_pages = used_pages(rel, ref);
	size.visible = visible_share(rel, ref, &size.count);
	size.valid = true;
	*vdb_table_size(rel) = size;
	return size;
}

/* ---- estimating ---- */

/* Return the number of rows: that of pg_class if the sample confirms it, else the sample's. */
static double
estimate_rows(Relation rel, const VdbTableCount *count)
{
	double		there = count->striped_rows + count->pool_rows;
	double		known = rel->rd_rel->reltuples;

	if (!count->exact && fabs(there - known) <= VDB_SAMPLE_ERROR * known)
		return known;
	return rint(there);
}

/*
 * Estimate a table's rows, pages and all-visible share.  A small table that was never vacuumed or
 * analyzed is assumed to grow, as core does.
 *
 * Pages include the cost of beginning a scan (VDB_WALK_SETUP_PAGES).  It is added here because
 * core drops an index path that looks more expensive than a sequential scan before any hook can
 * add to the scan's cost.
 */
void
vdb_estimate_size(Relation rel, int32 *attr_widths, BlockNumber *pages, double *tuples,
				  double *allvisfrac)
{
	bool		is_new = rel->rd_rel->reltuples < 0 && !rel->rd_rel->relhassubclass;
	double		new_rows = new_table_rows(rel, attr_widths);
	double		blocks = 0;
	VdbTableRef ref;

	*allvisfrac = 0;
	*tuples = 0;
	if (vdb_table_open(rel, false, &ref))
	{
		VdbTableSize size = current_size(rel, &ref);

		*tuples = estimate_rows(rel, &size.count);
		*allvisfrac = size.visible;
		blocks = size.flash_pages + size.count.pool_blocks;
		if (size.count.versions > 0)
			blocks = Max(blocks, 1) + VDB_WALK_SETUP_PAGES;
	}
	if (is_new && *tuples < VDB_NEW_TABLE_ROWS)
	{
		*tuples = Max(*tuples, new_rows);
		blocks = Max(blocks, VDB_NEW_TABLE_PAGES);
	}
	*pages = (BlockNumber) Min(blocks, (double) MaxBlockNumber - 1);
}
