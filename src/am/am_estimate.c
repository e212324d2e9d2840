/*-------------------------------------------------------------------------
 *
 * am_estimate.c
 *	  Estimates of a table for the planner: rows, pages, how much is all-visible.
 *
 * Rows are those that are live, pages what a scan reads: those of the main fork
 * that are not free, and the pool's blocks that have rows.  All are looked at as
 * they are, as core does with a file's length, so a table need not have been
 * analyzed for them to be right.
 *
 * Each planning asks.  So what was found is kept for a moment, with the relation:
 * until something shows that the table is another one now, or much was
 * changed by this backend, or VDB_SIZE_KEPT_US have passed, in which others may have
 * changed rows without a sign of it.
 *
 * No locks but the map lock, shared, for the list of free pages, and block locks, shared, one at
 * a time, for checking rows: all else is read as a hint.
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
 * A table that was not analyzed is taken to grow to ten pages, as long as it has fewer rows than
 * this.
 */
#define VDB_NEW_TABLE_PAGES		10
#define VDB_NEW_TABLE_ROWS		100

/* Ranges whose logical blocks are looked up in the visibility map. */
#define VDB_ESTIMATE_VISIBLE_RANGES	4

/* How long sizes are kept that others may have changed. */
#define VDB_SIZE_KEPT_US		100000

/* They are kept while this backend has changed no more than this part of the table's versions. */
#define VDB_SIZE_KEPT_SHARE		8

/*
 * What was counted by sample isn't better than what ANALYZE or VACUUM has found if it differs by no
 * more than this part.
 */
#define VDB_SAMPLE_ERROR		0.1

/* ---- counting ---- */

/* Pages of the main fork that may hold something: neither the metapage nor known to be free. */
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

/* Rows that core's own tables are taken to have while they are new and small: ten pages. */
static double
new_table_rows(Relation rel, int32 *attr_widths)
{
	int32		width = get_rel_data_width(rel, attr_widths) +
		MAXALIGN(SizeofHeapTupleHeader) + sizeof(ItemIdData);

	return (double) VDB_NEW_TABLE_PAGES * ((BLCKSZ - SizeOfPageHeaderData) / width);
}

/*
 * Share of the rows whose logical blocks the visibility map has marked, now: migration marks
 * without telling pg_class.  Only striped blocks can be marked; ranges all over the table stand for
 * the others.
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
 * A small table that was not vacuumed or analyzed yet is taken to grow, as core takes it.
 * Pages include what beginning a scan takes: said here, since core drops an index's path
 * that looks dearer than a sequential scan before anybody can add to its cost.
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
