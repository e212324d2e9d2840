/*-------------------------------------------------------------------------
 *
 * am_analyze.c
 *	  ANALYZE: which rows of the table are read for the blocks that it has sampled.
 *
 * Core samples blocks, 300 for each unit of the largest statistics target, and takes every row of
 * them for a candidate.  It also prefetches them.  So while ANALYZE runs, relation_size answers
 * with a number of blocks that md.c can be asked for (am.h), and each of them stands for an equal
 * share of the logical blocks.
 *
 * To read all of it would be to read a quarter of any table, so blocks and rows are left out, by
 * two numbers that are the same for the whole table:
 *
 * - One of 'blocks.step' logical blocks is read, so that a share gives the rows of one logical
 *	 block, on average.
 * - One of 'row_step' rows of such a block is read, where its rows are so wide that the pages which
 *	 ANALYZE samples in a heap would have less than a tenth of the rows.
 *
 * The choice is random within each stretch of so many blocks or rows, since a regular one could
 * coincide with a pattern of the data, such as devices that take turns.  Every row is as likely to
 * be chosen as any other, and stands for blocks.step * row_step rows when live and dead rows are
 * counted.  So all of core's estimates are as in a sample of whole blocks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "commands/progress.h"
#include "commands/vacuum.h"
#include "utils/backend_progress.h"
#include "utils/backend_status.h"
#include "utils/rel.h"
#include "utils/sampling.h"

#include "am/am.h"
#include "base/vdb_guc.h"

/* ANALYZE reads at most so many times the rows that it would read of a heap. */
#define VDB_ANALYZE_ROWS		10

/* Blocks that core samples for each unit of the statistics target. */
#define VDB_ANALYZE_BLOCKS		300

/* ---- blocks that core samples from ---- */

/* Return true if this backend runs ANALYZE, by its progress report. */
static bool
analyzing(void)
{
	return MyBEEntry != NULL &&
		MyBEEntry->st_progress_command == PROGRESS_COMMAND_ANALYZE;
}

/* Return the number of blocks that ANALYZE samples from, given that of logical blocks. */
static int64
analyze_blocks(int64 limit)
{
	return Min(limit, Min(VDB_PREFETCH_SAFE, (int64) vdb_debug_analyze_blocks));
}

/* See am.h. */
int64
vdb_analyze_limit(int64 limit)
{
	return analyzing() ? analyze_blocks(limit) : limit;
}

/*
 * Return the number of blocks that core would sample in a table with any number of them.  What it
 * samples here is in its progress report; where that is the whole table, the target is only known
 * to be as large.
 */
static double
blocks_wanted(int64 blocks)
{
	int64		sampled = analyzing() ?
		MyBEEntry->st_progress_param[PROGRESS_ANALYZE_BLOCKS_TOTAL] : blocks;

	if (sampled > 0 && sampled < blocks)
		return (double) sampled;
	return (double) Max(blocks, (int64) default_statistics_target * VDB_ANALYZE_BLOCKS);
}

/* ---- what is read of them ---- */

/* Choose one of the next 'step' things at random. */
static void
begin_stretch(VdbAnalyzeChoice *choice)
{
	Assert(choice->step > 0);
	choice->at = 0;
	choice->chosen = (uint32) (anl_random_fract() * choice->step);
}

/* Pass one thing.  Return true if it is the chosen one of its stretch. */
static bool
choose_next(VdbAnalyzeChoice *choice)
{
	bool		chosen = choice->at == choice->chosen;

	if (++choice->at == choice->step)
		begin_stretch(choice);
	return chosen;
}

/* Choose one of each 'step' rows of a logical block. */
static void
choose_rows(int step, VdbRowSet rows)
{
	vdb_rowset_fill(rows, false);
	for (int first = 0; first < VDB_LB_ROWS; first += step)
	{
		int			row = first + (int) (anl_random_fract() * step);

		if (row < VDB_LB_ROWS)
			vdb_rowset_add(rows, row);
	}
}

/* Return the average bytes of the table's row versions, in the pool and in stripes. */
static double
average_bytes(const VdbTableRef *ref, const VdbTableCount *count)
{
	const VdbTableEntry *entry = vdb_map_table_entry(ref);
	double		migrated = Max((double) entry->rows_migrated, 1);
	double		striped = Min(count->striped_rows, count->versions);
	double		bytes = count->pool_blocks * VDB_POOL_BLOCK_BYTES +
		striped * ((double) entry->row_bytes / migrated);

	return bytes / Max(count->versions, 1);
}

/*
 * Compute what is left out of the table.  A heap with its rows has 'heap_rows' of them in a page,
 * and ANALYZE would read as many pages as it wants blocks, or all there are.
 */
static void
plan_sample(VdbAnalyze *analyze, Relation rel, const VdbTableRef *ref, int64 blocks)
{
	VdbTableCount count;
	double		wanted = blocks_wanted(blocks);
	double		sampled;
	double		heap_rows;

	Assert(blocks > 0);
	vdb_table_count(rel, ref, &count);
	analyze->blocks.step = (uint32) Max(ceil(count.versions / ((double) blocks * VDB_LB_ROWS)), 1);
	begin_stretch(&analyze->blocks);
	sampled = count.versions * Min(wanted / blocks, 1) / analyze->blocks.step;
	heap_rows = floor((BLCKSZ - SizeOfPageHeaderData) /
					  (average_bytes(ref, &count) + sizeof(ItemIdData)));
	heap_rows = Min(Max(heap_rows, 1) * wanted, count.versions);
	analyze->row_step = (int) ceil(sampled / Max(VDB_ANALYZE_ROWS * heap_rows, 1));
	analyze->row_step = Min(Max(analyze->row_step, 1), VDB_LB_ROWS);
	analyze->weight = (double) analyze->blocks.step * analyze->row_step;
}

/* See am.h. */
bool
vdb_analyze_next_block(TableScanDesc sscan, BlockNumber blockno)
{
	VdbScanDesc scan = (VdbScanDesc) sscan;
	VdbCursor  *cursor = &scan->cursor;
	VdbTableRef ref;
	int64		blocks;
	int64		limit;

	vdb_cursor_start(cursor, NULL);
	limit = cursor->limit;
	blocks = analyze_blocks(limit);
	if ((int64) blockno >= blocks || !vdb_table_open(sscan->rs_rd, false, &ref))
		return false;
	if (scan->analyze.row_step == 0)
		plan_sample(&scan->analyze, sscan->rs_rd, &ref, blocks);
	/* the share's logical blocks */
	vdb_cursor_bound(cursor, (int64) blockno * limit / blocks,
					 ((int64) blockno + 1) * limit / blocks);
	return true;
}

/*
 * Move to the next chosen block of the share, and read its chosen rows.  Return false at the end.
 */
static bool
read_next_chosen(VdbAnalyze *analyze, VdbCursor *cursor)
{
	VdbRowSet	rows;

	do
	{
		if (!vdb_cursor_next(cursor))
			return false;
	} while (!choose_next(&analyze->blocks));
	if (analyze->row_step == 1)
		(void) vdb_cursor_read(cursor);
	else
	{
		choose_rows(analyze->row_step, rows);
		(void) vdb_cursor_read_rows(cursor, rows);
	}
	return true;
}

/*
 * Count the current row, and those that it stands for, as live or dead.  Return true if it belongs
 * in the sample.
 */
static bool
analyze_row(const VdbCursor *cursor, double weight, double *liverows, double *deadrows)
{
	VdbVersion	version;

	Assert(cursor->snapshot == NULL && cursor->keep_dead);
	switch (cursor->batch->htsv[cursor->row])
	{
		case VDB_LIVE:
			*liverows += weight;
			return true;
		case VDB_DEAD:
		case VDB_RECENTLY_DEAD:
			*deadrows += weight;
			return false;
		case VDB_INSERT_IN_PROGRESS:
			vdb_batch_version(cursor->batch, cursor->row, &version);
			if (!TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(&version.hdr)))
				return false;
			*liverows += weight;
			return true;
		default:
			/* deleted by a transaction in progress: live, unless it is ours */
			vdb_batch_version(cursor->batch, cursor->row, &version);
			if (TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetUpdateXid(&version.hdr)))
			{
				*deadrows += weight;
				return false;
			}
			*liverows += weight;
			return true;
	}
}

/* See am.h. */
bool
vdb_analyze_next_tuple(TableScanDesc sscan, TransactionId oldest_xmin, double *liverows,
					   double *deadrows, TupleTableSlot *slot)
{
	VdbScanDesc scan = (VdbScanDesc) sscan;
	VdbCursor  *cursor = &scan->cursor;

	vdb_cursor_take_versions(cursor, oldest_xmin, true);
	do
	{
		while (cursor->loaded && cursor->row + 1 < cursor->batch->nrows)
		{
			cursor->row++;
			if (analyze_row(cursor, scan->analyze.weight, liverows, deadrows))
				return vdb_cursor_slot(cursor, slot);
		}
	} while (read_next_chosen(&scan->analyze, cursor));
	ExecClearTuple(slot);
	return false;
}
