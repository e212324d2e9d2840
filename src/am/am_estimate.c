/*-------------------------------------------------------------------------
 *
 * am_estimate.c
 *	  What the planner is told of a table: rows, pages, how much is all-visible.
 *
 * Pages are what a scan reads: those of the main fork that are not free, and the
 * pool's blocks that have rows.  Both are looked at as they are, as core does with a
 * file's length, so a table need not have been analysed for them to be right; and
 * with little effort, since each planning asks: some thousand map entries and some hundred slots
 * at most, however large the table.
 *
 * No locks but the map lock, shared, for the list of free pages: all else is
 * read as a hint.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "optimizer/plancat.h"
#include "storage/bufmgr.h"
#include "storage/smgr.h"
#include "utils/rel.h"

#include "am/am.h"
#include "pages/pages.h"

#define VDB_NEW_TABLE_PAGES		10

/* Ranges without a segment after which older ones are not looked at: what is in SCM is mostly new. */
#define VDB_ESTIMATE_IDLE_RANGES	4

/* The newest segments, whose rows are counted; older ones are taken to have as many each, but for the newest of all. */
#define VDB_ESTIMATE_SEGMENTS		8

/* Ranges whose logical blocks are looked up in the visibility map. */
#define VDB_ESTIMATE_VISIBLE_RANGES	4

/* What there is, dead versions too. */
typedef struct Contents
{
	double		scm_rows;
	double		scm_pages;
	double		flash_rows;
	double		flash_pages;
} Contents;

/* ---- counting ---- */

static void
count_segments(const VdbTableRef *ref, Contents *contents)
{
	VdbLogicalBlock limit = vdb_map_limit(ref);
	uint32		range = limit > 0 ? vdb_lb_range(limit - 1) + 1 : 0;
	uint32		segments = 0;
	uint32		counted = 0;
	double		newest_rows = 0;
	double		newest_pages = 0;
	VdbRangeGlance glance;

	for (int idle = 0; range-- > 0 && idle < VDB_ESTIMATE_IDLE_RANGES; idle++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!vdb_map_glance(ref, range, &glance) || glance.nsegments == 0)
			continue;
		segments += glance.nsegments;
		for (int i = glance.nsegments; i-- > 0 && counted < VDB_ESTIMATE_SEGMENTS; counted++)
		{
			uint32		rows;
			uint32		blocks;

			vdb_rows_segment_use(ref, glance.segments[i], &rows, &blocks);
			contents->scm_rows += rows;
			contents->scm_pages += blocks;
			if (counted == 0)
			{
				newest_rows = rows;
				newest_pages = blocks;
			}
		}
		idle = -1;
	}
	StaticAssertStmt(VDB_ESTIMATE_SEGMENTS > 1, "the newest and others are counted");
	if (segments > counted)
	{
		/* the newest is still being filled */
		double		others = (double) (segments - 1) / (counted - 1);

		contents->scm_rows = newest_rows + (contents->scm_rows - newest_rows) * others;
		contents->scm_pages = newest_pages + (contents->scm_pages - newest_pages) * others;
	}
}

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

static void
count_contents(Relation rel, const VdbTableRef *ref, Contents *contents)
{
	memset(contents, 0, sizeof(Contents));
	count_segments(ref, contents);
	contents->flash_rows = (double) vdb_map_table_entry(ref)->flash_rows;
	contents->flash_pages = used_pages(rel, ref);
}

/* ---- estimating ---- */

/*
 * What ANALYZE or VACUUM counted is scaled by what was handed out since, but
 * row numbers of versions that are gone are not used again: no more than there is.
 */
static double
estimate_rows(Relation rel, const VdbTableRef *ref, const Contents *contents)
{
	double		there = contents->flash_rows + contents->scm_rows;
	double		known = rel->rd_rel->reltuples;

	if (known > 0 && rel->rd_rel->relpages >= VDB_PREFETCH_SAFE)
		return known;			/* ANALYZE could not tell how many blocks there were */
	if (known > 0 && rel->rd_rel->relpages > 0)
	{
		double		density = known / rel->rd_rel->relpages;

		return Min(clamp_row_est(density * (double) vdb_map_limit(ref)), Max(known, there));
	}
	return there;
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
 * Share of the rows whose logical blocks the visibility map has marked, now: migration marks without
 * telling pg_class.  Only striped blocks can be marked; ranges all over the table stand for the others.
 */
static double
visible_share(Relation rel, const VdbTableRef *ref, const Contents *contents)
{
	VdbLogicalBlock limit = vdb_map_limit(ref);
	uint32		ranges = limit > 0 ? vdb_lb_range(limit - 1) + 1 : 0;
	uint32		samples = Min(ranges, VDB_ESTIMATE_VISIBLE_RANGES);
	double		striped = 0;
	double		visible = 0;
	Buffer		buffer = InvalidBuffer;

	if (contents->flash_rows <= 0 || !rel->rd_rel->relhasindex)
		return 0;
	for (uint32 i = 0; i < samples; i++)
	{
		uint32		range = (uint32) ((uint64) i * ranges / samples);
		VdbRangeGlance glance;

		CHECK_FOR_INTERRUPTS();
		if (!vdb_map_glance(ref, range, &glance) || glance.striped_lbs == 0)
			continue;
		striped += glance.striped_lbs;
		visible += vdb_visible_count_some(rel, range * VDB_RANGE_LBS, VDB_RANGE_LBS, &buffer);
	}
	if (BufferIsValid(buffer))
		ReleaseBuffer(buffer);
	return Min(visible / Max(striped, 1), 1) *
		contents->flash_rows / (contents->flash_rows + contents->scm_rows);
}

/*
 * A table that nobody has vacuumed or analysed yet is taken to grow, as core takes it.
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
		Contents	contents;

		count_contents(rel, &ref, &contents);
		*tuples = estimate_rows(rel, &ref, &contents);
		*allvisfrac = visible_share(rel, &ref, &contents);
		blocks = contents.flash_pages + contents.scm_pages;
		if (*tuples > 0)
			blocks = Max(blocks, 1) + VDB_WALK_SETUP_PAGES;
	}
	if (is_new)
	{
		*tuples = Max(*tuples, new_rows);
		blocks = Max(blocks, VDB_NEW_TABLE_PAGES);
	}
	*pages = (BlockNumber) Min(blocks, (double) MaxBlockNumber - 1);
}
