/*-------------------------------------------------------------------------
 *
 * exec_cost.c
 *	  What scans of a vdb table cost, where core's figures would mislead.
 *
 * - A pruned scan reads a fraction of the chunks.  It is estimated by asking
 *	 the zone maps of a bounded sample of stripes, so planning time does not
 *	 grow with the table.
 * - A row fetched from a stripe by its number costs far more than a row of a
 *	 heap page: each column's vector has to be found and opened.  Index paths
 *	 are charged for it, else nested loops would be chosen where a scan and a
 *	 hash join are many times faster.  Index-only ones only for what the visibility map
 *	 does not vouch for.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "exec/exec.h"

/* Ranges (of 65,536 row numbers) whose stripes are asked at planning time. */
#define VDB_COST_SAMPLE			64

/*
 * Charge for one row fetched from a stripe, in units of cpu_tuple_cost.  A
 * fetch takes some tens of microseconds where a heap tuple takes a tenth of one.
 */
#define VDB_FETCH_TUPLES		300

#define VDB_COST_CHUNKS			256		/* stripes with more chunks (of wide rows) are not asked */

/* A bitmap scan begins like a walk, and looks at whole logical blocks. */
#define VDB_BITMAP_SETUP_PAGES	5

/* Bitmap scans fetch in row-number order, so that neighbours share their vectors. */
#define VDB_BITMAP_FETCH_TUPLES	75

typedef struct ChunkSample
{
	VdbPruner  *pruner;
	uint64		seen;
	uint64		matching;
	uint8		match[VDB_COST_CHUNKS];
} ChunkSample;

/* Ask one stripe of the range that lb begins. */
static void
sample_range(ChunkSample *sample, const VdbTableRef *ref, VdbLogicalBlock lb)
{
	LWLock	   *lock = vdb_row_lock(vdb_row_lock_no(ref->slot, lb));
	VdbExtent	extent;

	LWLockAcquire(lock, LW_SHARED);
	vdb_map_lookup(ref, lb, &extent);
	if (extent.kind == VDB_EXTENT_STRIPE)
	{
		const VdbStripeMeta *meta = vdb_map_meta(ref->pool, extent.ref);

		if (meta->nchunks <= VDB_COST_CHUNKS)
		{
			VdbZoneReader zones;

			vdb_zone_reader_init(&zones, ref->pool, extent.ref, meta);
			(void) vdb_pruner_match(sample->pruner, &zones, sample->match);
			for (int i = 0; i < meta->nchunks; i++)
				sample->matching += sample->match[i] != 0;
			sample->seen += meta->nchunks;
		}
	}
	LWLockRelease(lock);
}

/*
 * The share of the table that is read when these clauses (constants only)
 * prune: 0 to 1.  Rows in SCM are always read.
 */
double
vdb_scan_fraction(Relation rel, Index varno, List *clauses)
{
	VdbTableRef ref;
	ChunkSample sample = {0};
	uint32		ranges;
	uint32		step;
	ExprContext *econtext;

	if (clauses == NIL || !vdb_table_open(rel, false, &ref))
		return 1.0;
	ranges = (vdb_map_limit(&ref) + VDB_RANGE_LBS - 1) / VDB_RANGE_LBS;
	step = Max(ranges / VDB_COST_SAMPLE, 1);
	econtext = CreateStandaloneExprContext();
	sample.pruner = vdb_pruner_create(clauses, rel, varno, NULL);
	vdb_pruner_prepare(sample.pruner, econtext);
	for (uint32 range = 0; range < ranges; range += step)
		sample_range(&sample, &ref, range * VDB_RANGE_LBS);
	FreeExprContext(econtext, true);
	if (sample.seen == 0)
		return 1.0;
	/* a sample that matches nothing still leaves a chunk or so to read */
	return Max((double) sample.matching, 0.5) / (double) sample.seen;
}

/* The share of rows that live in stripes. */
static double
flash_share(const VdbTableRef *ref, double rows)
{
	double		flash = (double) vdb_map_table_entry(ref)->flash_rows;

	return rows > 0 ? Min(flash / rows, 1.0) : 0;
}

static void
charge(Path *path, double tuples_fetched, double share, double per_tuple)
{
	Cost		extra = tuples_fetched * share * per_tuple * cpu_tuple_cost;

	path->total_cost += extra;
}

/* Rows an index path fetches from the table: before the filter is applied. */
static double
fetched_by_index(const IndexPath *path)
{
	return clamp_row_est(path->indexselectivity * path->indexinfo->rel->tuples);
}

/* all_visible: share of the rows that index-only scans need not look at; all of them are on flash. */
static void
charge_path(Path *path, double share, double all_visible)
{
	if (path->pathtype == T_IndexOnlyScan)
		share = Max(share - all_visible, 0);
	if (IsA(path, IndexPath))
		charge(path, fetched_by_index((IndexPath *) path), share, VDB_FETCH_TUPLES);
	else if (IsA(path, BitmapHeapPath))
	{
		path->total_cost += VDB_BITMAP_SETUP_PAGES * seq_page_cost;
		charge(path, path->rows, share, VDB_BITMAP_FETCH_TUPLES);
	}
}

void
vdb_charge_fetches(Relation rel, RelOptInfo *rinfo)
{
	VdbTableRef ref;
	double		share;
	ListCell   *lc;

	if (!vdb_table_open(rel, false, &ref))
		return;
	share = flash_share(&ref, rinfo->tuples);
	foreach(lc, rinfo->pathlist)
		charge_path(lfirst(lc), share, rinfo->allvisfrac);
	foreach(lc, rinfo->partial_pathlist)
		charge_path(lfirst(lc), share, rinfo->allvisfrac);
}
