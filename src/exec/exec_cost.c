/*-------------------------------------------------------------------------
 *
 * exec_cost.c
 *	  Estimate costs of scans of a vdb table, where core's estimates would mislead.
 *
 * - A pruned scan reads a fraction of the chunks.  The fraction is estimated from
 *	 the zone maps of a bounded sample of stripes, so planning time does not grow
 *	 with the table.
 * - A row fetched from a stripe by its number costs far more than a row of a heap
 *	 page, since each column's vector must be found and opened.  Index paths are
 *	 charged for that.  Otherwise nested loops would be chosen where a scan and a
 *	 hash join are many times faster.  Index-only scans are charged only for rows
 *	 whose blocks are not marked all-visible.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/amapi.h"
#include "access/table.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "parser/parsetree.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/vdb_compat.h"
#include "exec/exec.h"

/* The number of ranges (of 65,536 row numbers) that are sampled at planning time, about. */
#define VDB_COST_SAMPLE			64

/*
 * Charge for one row fetched from a stripe, in units of cpu_tuple_cost.  A
 * fetch takes some tens of microseconds where a heap tuple takes a tenth of one.
 */
#define VDB_FETCH_TUPLES		300

#define VDB_COST_CHUNKS			256 /* stripes with more chunks (of wide rows) are left out */

/* Charge for beginning a bitmap scan, in pages: it begins like a walk, and reads whole LBs. */
#define VDB_BITMAP_SETUP_PAGES	5

/* Same as VDB_FETCH_TUPLES for bitmap scans, whose rows come in order and share vectors. */
#define VDB_BITMAP_FETCH_TUPLES	75

/* State of sampling stripes. */
typedef struct ChunkSample
{
	VdbPruner  *pruner;
	VdbZoneSet	zones;
	uint64		seen;				/* chunks sampled */
	uint64		matching;			/* chunks of these that may match */
	uint8		match[VDB_COST_CHUNKS];
} ChunkSample;

/* Copy the zone maps of the stripe that lb is in.  Returns false if there is none to sample. */
static bool
copy_zones(ChunkSample *sample, const VdbTableRef *ref, VdbLogicalBlock lb)
{
	VdbExtent	extent;
	VdbMetaDamage damage;
	bool		copied = false;

	vdb_lock_block(ref, lb, LW_SHARED);
	vdb_map_lookup(ref, lb, &extent);
	if (extent.kind == VDB_EXTENT_STRIPE)
	{
		const VdbStripeMeta *meta = vdb_map_meta(ref->pool, extent.ref);

		/* damage is reported by the scan; here the zone maps just are unknown */
		copied = meta->nchunks <= VDB_COST_CHUNKS;
		if (copied)
			(void) vdb_zone_set_read(&sample->zones, ref->pool, extent.ref, meta, &damage);
	}
	vdb_unlock_block(ref, lb);
	return copied;
}

/* Sample one stripe of the range that begins at lb. */
static void
sample_range(ChunkSample *sample, const VdbTableRef *ref, VdbLogicalBlock lb)
{
	if (!copy_zones(sample, ref, lb))
		return;
	(void) vdb_pruner_match(sample->pruner, &sample->zones, sample->match);
	for (int i = 0; i < sample->zones.nchunks; i++)
		sample->matching += sample->match[i] != 0;
	sample->seen += sample->zones.nchunks;
}

/* Return the places of all clauses. */
static List *
all_addresses(List *clauses)
{
	List	   *places = NIL;

	for (int i = 0; i < list_length(clauses); i++)
		places = lappend_int(places, i);
	return places;
}

/*
 * Estimate the fraction (0 to 1) of the chunks that are read when these clauses,
 * of which only those with Consts count, prune.  Rows in the pool are always read.
 */
double
vdb_cost_fraction(Relation rel, Index varno, List *clauses)
{
	VdbTableRef ref;
	ChunkSample sample = {0};
	uint32		ranges;
	uint32		step;
	const int  *columns;
	int			ncolumns;

	if (clauses == NIL || !vdb_table_open(rel, false, &ref))
		return 1.0;
	ranges = (vdb_map_limit(&ref) + VDB_RANGE_LBS - 1) / VDB_RANGE_LBS;
	step = Max(ranges / VDB_COST_SAMPLE, 1);
	sample.pruner = vdb_pruner_create(clauses, all_addresses(clauses), rel, varno, NULL);
	vdb_pruner_prepare(sample.pruner, NULL);
	columns = vdb_pruner_columns(sample.pruner, &ncolumns);
	vdb_zone_set_init(&sample.zones, columns, ncolumns);
	for (uint32 range = 0; range < ranges; range += step)
		sample_range(&sample, &ref, range * VDB_RANGE_LBS);
	vdb_zone_set_free(&sample.zones);
	Assert(sample.matching <= sample.seen);
	if (sample.seen == 0)
		return 1.0;
	/* a sample that matches nothing still leaves a chunk or so to read */
	return Max((double) sample.matching, 0.5) / (double) sample.seen;
}

/* Return the fraction of rows that are in stripes. */
static double
flash_share(const VdbTableRef *ref, double rows)
{
	double		flash = (double) vdb_map_table_entry(ref)->striped_rows;

	return rows > 0 ? Min(flash / rows, 1.0) : 0;
}

/* ---- charging index paths as they are made ---- */

/* The most index access methods whose cost functions can be wrapped. */
#define VDB_COST_METHODS		32

/* An index access method's own cost function, which our wrapper calls. */
typedef struct CostMethod
{
	Oid			relam;
	amcostestimate_function estimate;
} CostMethod;

static CostMethod cost_methods[VDB_COST_METHODS];
static int	ncost_methods = 0;

/* Return the access method's own cost function, or NULL if it isn't wrapped. */
static amcostestimate_function
cost_method(Oid relam)
{
	for (int i = 0; i < ncost_methods; i++)
		if (cost_methods[i].relam == relam)
			return cost_methods[i].estimate;
	return NULL;
}

/* Return the cost of fetching the rows of an index path from stripes. */
static Cost
index_charge(PlannerInfo *root, const IndexPath *path, Selectivity selectivity)
{
	RelOptInfo *rel = path->indexinfo->rel;
	Relation	relation = table_open(planner_rt_fetch(rel->relid, root)->relid, NoLock);
	VdbTableRef ref;
	double		share = 0;

	if (vdb_table_open(relation, false, &ref))
		share = flash_share(&ref, rel->tuples);
	table_close(relation, NoLock);
	/* all-visible rows are in stripes */
	if (path->path.pathtype == T_IndexOnlyScan)
		share = Max(share - rel->allvisfrac, 0);
	return clamp_row_est(selectivity * rel->tuples) * share * VDB_FETCH_TUPLES * cpu_tuple_cost;
}

/* Estimate the cost of an index path, with the charge: wraps the method's amcostestimate. */
static void
vdb_charged_amcostestimate(PlannerInfo *root, IndexPath *path, double loop_count,
						   Cost *startup_cost, Cost *total_cost, Selectivity *selectivity,
						   double *correlation, double *pages)
{
	Assert(cost_method(path->indexinfo->relam) != NULL);
	cost_method(path->indexinfo->relam) (root, path, loop_count, startup_cost, total_cost,
										 selectivity, correlation, pages);
	*total_cost += index_charge(root, path, *selectivity);
}

/*
 * Have this index's paths charged from now on.  The wrapper stays in place because core estimates
 * costs again when it reparameterizes paths.
 */
static void
charge_index(IndexOptInfo *index)
{
	amcostestimate_function estimate = (amcostestimate_function) index->amcostestimate;

	if (estimate == vdb_charged_amcostestimate)
		return;
	if (cost_method(index->relam) == NULL)
	{
		if (ncost_methods == VDB_COST_METHODS)
			return;
		cost_methods[ncost_methods++] = (CostMethod)
		{
			index->relam, estimate
		};
	}
	index->amcostestimate = vdb_charged_amcostestimate;
}

/* ---- rebuilding the paths ---- */

/* The capabilities of an index, some of which are taken away while paths are made. */
typedef struct IndexSkills
{
	bool		gettuple;
	bool		getbitmap;
	bool		parallel;
} IndexSkills;

/* Set an index's capabilities, and return what they were. */
static IndexSkills
set_skills(IndexOptInfo *index, IndexSkills skills)
{
	IndexSkills before = {index->amhasgettuple, index->amhasgetbitmap, index->amcanparallel};

	index->amhasgettuple = skills.gettuple;
	index->amhasgetbitmap = skills.getbitmap;
	index->amcanparallel = skills.parallel;
	return before;
}

/* Make the paths of all indexes again, only bitmap or only plain ones, and add them. */
static void
make_index_paths(PlannerInfo *root, RelOptInfo *rel, bool bitmap)
{
	const IndexSkills none = {false, false, false};
	IndexSkills *all = palloc(list_length(rel->indexlist) * sizeof(IndexSkills));
	ListCell   *lc;

	foreach(lc, rel->indexlist)
	{
		IndexOptInfo *index = lfirst_node(IndexOptInfo, lc);
		IndexSkills *own = &all[foreach_current_index(lc)];

		*own = set_skills(index, none);
		if (bitmap)
			index->amhasgetbitmap = own->getbitmap;
		else
		{
			index->amhasgettuple = own->gettuple;
			index->amcanparallel = own->parallel;
			charge_index(index);
		}
	}
	create_index_paths(root, rel);
	foreach(lc, rel->indexlist)
		(void) set_skills(lfirst_node(IndexOptInfo, lc), all[foreach_current_index(lc)]);
	pfree(all);
}

/* Charge the bitmap paths of a list.  The paths must not be in a relation's list now. */
static void
charge_bitmaps(List *paths, double share)
{
	ListCell   *lc;

	Assert(share >= 0 && share <= 1);
	foreach(lc, paths)
	{
		Path	   *path = lfirst(lc);

		if (IsA(path, BitmapHeapPath))
			path->total_cost += VDB_BITMAP_SETUP_PAGES * seq_page_cost +
				path->rows * share * VDB_BITMAP_FETCH_TUPLES * cpu_tuple_cost;
	}
}

/* Return true if the path uses an index. */
static bool
is_of_index(const Path *path)
{
	return IsA(path, IndexPath) || IsA(path, BitmapHeapPath);
}

/* Add paths that were taken off the relation: those that use an index, or the others. */
static void
add_again(RelOptInfo *rel, List *paths, List *partial_paths, bool of_index)
{
	ListCell   *lc;

	foreach(lc, paths)
		if (is_of_index(lfirst(lc)) == of_index)
		add_path(rel, lfirst(lc));
	foreach(lc, partial_paths)
		if (is_of_index(lfirst(lc)) == of_index)
		add_partial_path(rel, lfirst(lc));
}

/* Return true for WHERE CURRENT OF, which must be a TID scan. */
static bool
is_current_of(const RelOptInfo *rel)
{
	ListCell   *lc;

	foreach(lc, rel->baserestrictinfo)
		if (IsA(lfirst_node(RestrictInfo, lc)->clause, CurrentOfExpr))
		return true;
	return false;
}

/*
 * Take all paths off, and add them again with the cost of fetching rows from stripes.  This
 * includes index paths that core had dropped for others that seemed cheaper.  Returns false if
 * there is nothing to charge; then the paths are unchanged.  After true, core's sequential paths
 * may be missing.
 */
bool
vdb_charge_fetches(PlannerInfo *root, Relation relation, RelOptInfo *rel)
{
	VdbTableRef ref;
	List	   *paths = rel->pathlist;
	List	   *partial_paths = rel->partial_pathlist;
	List	   *bitmap_paths;
	List	   *partial_bitmap_paths;
	double		share;

	if (rel->indexlist == NIL || is_current_of(rel) || !vdb_table_open(relation, false, &ref))
		return false;
	share = flash_share(&ref, rel->tuples);
	if (share <= 0)
		return false;
	rel->pathlist = rel->partial_pathlist = NIL;
	make_index_paths(root, rel, true);
	bitmap_paths = rel->pathlist;
	partial_bitmap_paths = rel->partial_pathlist;
	rel->pathlist = rel->partial_pathlist = NIL;
	charge_bitmaps(bitmap_paths, share);
	charge_bitmaps(partial_bitmap_paths, share);
	add_again(rel, paths, partial_paths, false);
	make_index_paths(root, rel, false);
	add_again(rel, bitmap_paths, partial_bitmap_paths, true);
	return true;
}
