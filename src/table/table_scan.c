/*-------------------------------------------------------------------------
 *
 * table_scan.c
 *	  The cursor over a table's logical blocks, with which every walk over a table is made.
 *
 * A cursor stands at a logical block, and at a row of the batch that it has read of this block.
 * It moves both ways, one block or one row at a time, or from range to range.  Blocks
 * without rows are skipped, as far as the map's range nodes show.  A walk by ranges stops at each
 * range that the map has a node for.
 *
 * The limit.  A cursor over rows does not pass the limit that the table had when it started,
 * because rows beyond it belong to transactions that its snapshot does not see.  SSI must learn of
 * these transactions nevertheless.  So the relation's predicate lock is taken first, and the limit
 * is read after that: an insertion past the limit then finds the lock.  One function does both
 * (lock_and_limit), and no row is read before.  A cursor over blocks alone has no snapshot, and
 * reads the limit at each step.
 *
 * Parallel scans.  The processes share a counter, from which each takes runs of blocks.  They move
 * forward only.
 *
 * Snapshots of now (vdb_snapshot_of_now).  For these a block is read with SnapshotAny, and the
 * snapshot is applied to each row when the row is returned to the caller.
 *
 * Prefetching.  A cursor may know which columns are read of every row.  While it returns the rows
 * of a chunk, it asks the kernel for these columns of the next chunk that may match.  In the last
 * chunk of a stripe it asks for the head of the next stripe.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/predicate.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/spccache.h"

#include "pages/pages.h"
#include "table/table.h"

/* The most logical blocks that a process of a parallel scan takes at a time: those of a chunk. */
#define VDB_SHARED_RUN		32

/* State of a cursor's prefetching. */
typedef struct VdbLookAhead
{
	int			ncolumns;
	int		   *columns;			/* attribute numbers of the columns to be prefetched */
	bool		begun;				/* a block was read; before that nothing is prefetched, since a
									 * walk for one row ends there */
	BlockNumber first_page;			/* of the stripe that chunk_end refers to */
	uint32		stripe_id;			/* its id */
	uint32		chunk_end;			/* end (as a position) of the chunk last prefetched for */
} VdbLookAhead;

/* ---- begin and end ---- */

/* Fill in a cursor that has not started. */
static void
init_cursor(VdbCursor *cursor, Relation rel, Snapshot snapshot)
{
	memset(cursor, 0, sizeof(*cursor));
	cursor->rel = rel;
	cursor->snapshot = snapshot;
	cursor->of_now = snapshot != NULL && vdb_snapshot_of_now(snapshot);
	cursor->context = CurrentMemoryContext;
	cursor->lb = -1;
	cursor->row = -1;
}

/* See table.h. */
void
vdb_cursor_init(VdbCursor *cursor, Relation rel, Snapshot snapshot)
{
	Assert(rel != NULL);
	init_cursor(cursor, rel, snapshot);
}

/* See table.h. */
void
vdb_cursor_take_versions(VdbCursor *cursor, TransactionId oldest_xmin, bool keep_dead)
{
	Assert(cursor->rel != NULL);
	cursor->snapshot = NULL;
	cursor->of_now = false;
	cursor->oldest_xmin = oldest_xmin;
	cursor->keep_dead = keep_dead;
}

/* See table.h. */
void
vdb_cursor_init_blocks(VdbCursor *cursor, const VdbTableRef *ref)
{
	Assert(ref->pool != NULL);
	init_cursor(cursor, NULL, NULL);
	cursor->ref = *ref;
	cursor->limit = VDB_CURSOR_TO_THE_END;
}

/*
 * Take the predicate lock, then read the table's limit.  The order matters, so only this function
 * reads the limit of a cursor over rows.  Without a snapshot, or for one that is not the
 * transaction's serializable snapshot, no lock is taken.
 */
static int64
lock_and_limit(Relation rel, Snapshot snapshot)
{
	VdbTableRef ref;

	if (snapshot != NULL)
		PredicateLockRelation(rel, snapshot);
	return vdb_table_open(rel, false, &ref) ? (int64) vdb_map_limit(&ref) : 0;
}

/* See table.h. */
void
vdb_cursor_share(VdbSharedCursor *shared, Relation rel, Snapshot snapshot)
{
	shared->limit = (uint64) lock_and_limit(rel, snapshot);
	shared->run = (uint32) Min(Max(shared->limit / 64, 1), VDB_SHARED_RUN);
	pg_atomic_init_u64(&shared->next, 0);
}

/* See table.h. */
void
vdb_cursor_start(VdbCursor *cursor, VdbSharedCursor *shared)
{
	int64		limit;

	Assert(cursor->rel != NULL);
	limit = lock_and_limit(cursor->rel, cursor->caller_locks ? NULL : cursor->snapshot);
	cursor->started = true;
	cursor->shared = shared;
	cursor->start = 0;
	cursor->limit = shared != NULL ? (int64) shared->limit : limit;
	cursor->lb = -1;
	cursor->row = -1;
	cursor->run_end = 0;
	cursor->loaded = false;
	if (cursor->ahead != NULL)
	{
		cursor->ahead->begun = false;
		cursor->ahead->first_page = InvalidBlockNumber;
	}
}

/* See table.h. */
void
vdb_cursor_bound(VdbCursor *cursor, int64 start, int64 limit)
{
	Assert(cursor->shared == NULL);
	Assert(start >= 0 && limit >= 0);
	cursor->limit = Min(cursor->limit, limit);
	cursor->start = Min(start, cursor->limit);
	cursor->lb = cursor->start - 1;
	cursor->loaded = false;
}

/* See table.h. */
void
vdb_cursor_end(VdbCursor *cursor)
{
	if (cursor->batch != NULL)
		vdb_batch_free(cursor->batch);
	cursor->batch = NULL;
	cursor->loaded = false;
	if (cursor->ahead != NULL)
	{
		pfree(cursor->ahead->columns);
		pfree(cursor->ahead);
		cursor->ahead = NULL;
	}
}

/* See table.h. */
VdbBatch *
vdb_cursor_batch(VdbCursor *cursor)
{
	if (unlikely(cursor->batch == NULL))
	{
		MemoryContext old = MemoryContextSwitchTo(cursor->context);

		Assert(cursor->rel != NULL);
		cursor->batch = vdb_batch_create(cursor->rel);
		MemoryContextSwitchTo(old);
	}
	return cursor->batch;
}

/* ---- blocks ---- */

/* Find the table's entry in the pool.  Returns false if it has none, and so no blocks. */
static inline bool
find_table(VdbCursor *cursor)
{
	return cursor->rel == NULL || vdb_table_open(cursor->rel, false, &cursor->ref);
}

/* Return the end of the cursor's blocks (exclusive). */
static inline int64
current_limit(const VdbCursor *cursor)
{
	if (cursor->rel != NULL)
		return cursor->limit;
	return Min(cursor->limit, (int64) vdb_map_limit(&cursor->ref));
}

/* Move to the next block of the current run, or of a new run.  Returns false at the end. */
static bool
next_shared(VdbCursor *cursor)
{
	VdbSharedCursor *shared = cursor->shared;

	Assert(cursor->started);
	cursor->lb++;
	if (cursor->lb < cursor->run_end)
		return true;
	cursor->lb = (int64) pg_atomic_fetch_add_u64(&shared->next, shared->run);
	cursor->run_end = Min(cursor->lb + (int64) shared->run, cursor->limit);
	if (cursor->lb < cursor->limit)
		return true;
	cursor->lb = cursor->run_end = cursor->limit;
	return false;
}

/* Move to the first block from lb on that has rows, as far as the map's range nodes show. */
static bool
move_to(VdbCursor *cursor, int64 lb)
{
	int64		limit = current_limit(cursor);

	if (lb < limit && find_table(cursor))
		lb = Max(lb, (int64) vdb_map_next_lb(&cursor->ref, (VdbLogicalBlock) lb));
	cursor->lb = Min(lb, limit);
	return cursor->lb < limit;
}

/*
 * Move to the first block from lb on whose range the map has a node for, whether it has rows or
 * not.
 */
static bool
move_to_range(VdbCursor *cursor, int64 lb)
{
	int64		limit = current_limit(cursor);
	uint32		range;

	if (lb < limit && find_table(cursor))
	{
		range = vdb_lb_range((VdbLogicalBlock) lb);
		if (!vdb_map_next_range(&cursor->ref, &range))
			lb = limit;
		else
			lb = Max(lb, (int64) range * VDB_RANGE_LBS);
	}
	cursor->lb = Min(lb, limit);
	return cursor->lb < limit;
}

/* See table.h. */
bool
vdb_cursor_next(VdbCursor *cursor)
{
	Assert(cursor->started || cursor->rel == NULL);
	cursor->loaded = false;
	if (cursor->shared != NULL)
		return next_shared(cursor);
	if (cursor->lb >= current_limit(cursor))
		return false;
	return move_to(cursor, Max(cursor->lb + 1, cursor->start));
}

/* Move to the previous block.  Returns false at the beginning. */
static bool
move_back(VdbCursor *cursor)
{
	Assert(cursor->started && cursor->shared == NULL);
	cursor->loaded = false;
	cursor->lb = Min(cursor->lb, cursor->limit);
	if (cursor->lb <= cursor->start)
	{
		cursor->lb = -1;
		return false;
	}
	cursor->lb--;
	return true;
}

/* See table.h. */
bool
vdb_cursor_next_range(VdbCursor *cursor)
{
	int64		lb = Max(cursor->lb, cursor->start - 1);

	Assert(cursor->started || cursor->rel == NULL);
	Assert(cursor->shared == NULL);
	cursor->loaded = false;
	if (lb >= current_limit(cursor))
		return false;
	if (lb < cursor->start)
		lb = cursor->start;
	else
		lb = (lb / VDB_RANGE_LBS + 1) * VDB_RANGE_LBS;
	return move_to_range(cursor, lb);
}

/* See table.h. */
bool
vdb_cursor_next_in_range(VdbCursor *cursor)
{
	int64		next = cursor->lb + 1;

	Assert(cursor->lb >= 0 && cursor->shared == NULL);
	if (next % VDB_RANGE_LBS == 0 || next >= current_limit(cursor))
		return false;
	cursor->lb = next;
	cursor->loaded = false;
	return true;
}

/* See table.h. */
void
vdb_cursor_go(VdbCursor *cursor, VdbLogicalBlock lb)
{
	Assert(cursor->rel != NULL && cursor->shared == NULL);
	cursor->lb = (int64) lb;
	cursor->row = -1;
	cursor->loaded = false;
}

/* ---- prefetching ---- */

/* See table.h. */
void
vdb_cursor_prefetch(VdbCursor *cursor, const int *columns, int ncolumns)
{
	Relation	rel = cursor->rel;

	Assert(rel != NULL && cursor->ahead == NULL);
	if (ncolumns == 0 || get_tablespace_io_concurrency(rel->rd_rel->reltablespace) == 0)
		return;
	cursor->ahead = MemoryContextAllocZero(cursor->context, sizeof(VdbLookAhead));
	cursor->ahead->columns = MemoryContextAlloc(cursor->context, sizeof(int) * ncolumns);
	memcpy(cursor->ahead->columns, columns, sizeof(int) * ncolumns);
	cursor->ahead->ncolumns = ncolumns;
	cursor->ahead->first_page = InvalidBlockNumber;
}

/* Prefetch the columns of a chunk. */
static void
prefetch_chunk(const VdbCursor *cursor, int chunk)
{
	const VdbLookAhead *ahead = cursor->ahead;

	Assert(chunk >= 0 && chunk < vdb_stripe_nchunks(cursor->batch->stripe));
	for (int i = 0; i < ahead->ncolumns; i++)
		vdb_stripe_prefetch(cursor->batch->stripe, cursor->rel, ahead->columns[i], chunk);
}

/*
 * Find the first block of the next stripe, in this range or the next.  Returns -1 if there is none,
 * as far as the map's summaries, which are read without locks, show.
 */
static int64
next_stripe_lb(const VdbCursor *cursor)
{
	const VdbTableRef *ref = &cursor->batch->ref;
	VdbLogicalBlock at = cursor->batch->lb;
	VdbRangeSummary summary;

	for (int i = 0; i < 2; i++)
	{
		uint32		range = vdb_lb_range(at);

		if (!vdb_map_summarize(ref, range, &summary))
			return -1;
		for (int s = 0; s < summary.nstripes; s++)
		{
			VdbLogicalBlock lb = range * VDB_RANGE_LBS + summary.stripe_lbs[s];

			if (lb > at || (i > 0 && lb == at))
				return lb < cursor->limit ? (int64) lb : -1;
		}
		if (((uint64) range + 1) * VDB_RANGE_LBS >= (uint64) cursor->limit)
			return -1;
		at = vdb_map_next_lb(ref, (range + 1) * VDB_RANGE_LBS);
		if (at >= cursor->limit)
			return -1;
	}
	return -1;
}

/* Prefetch the head of the next stripe.  Takes and releases a block lock, shared. */
static void
prefetch_next_stripe(const VdbCursor *cursor)
{
	const VdbTableRef *ref = &cursor->batch->ref;
	BlockNumber first_page = InvalidBlockNumber;
	int64		lb = next_stripe_lb(cursor);
	VdbExtent	extent;

	if (lb < 0)
		return;
	vdb_lock_block(ref, (VdbLogicalBlock) lb, LW_SHARED);
	vdb_map_lookup(ref, (VdbLogicalBlock) lb, &extent);
	if (extent.kind == VDB_EXTENT_STRIPE)
		first_page = vdb_map_meta(ref->pool, extent.ref)->first_page;
	vdb_unlock_block(ref, (VdbLogicalBlock) lb);
	if (first_page != InvalidBlockNumber)
		vdb_pages_prefetch(cursor->rel, first_page, 0, 1);
}

/* Return the next chunk of this stripe that may match, as far as is known, or -1. */
static int
next_chunk(const VdbBatch *batch, int chunk)
{
	int			nchunks = vdb_stripe_nchunks(batch->stripe);

	for (chunk++; chunk < nchunks; chunk++)
		if (batch->prune == NULL || batch->chunk_match[chunk] != 0)
			return chunk;
	return -1;
}

/*
 * Prefetch what comes next, once for each chunk.  Called after a block of a stripe was read.  In a
 * parallel scan the next chunk belongs to another process, so only this one is prefetched.
 */
static void
look_ahead(VdbCursor *cursor)
{
	VdbBatch   *batch = cursor->batch;
	VdbLookAhead *ahead = cursor->ahead;
	uint32		last = batch->pos[batch->nrows - 1];
	bool		same = ahead->first_page == batch->match_page &&
		ahead->stripe_id == batch->match_stripe;
	int			chunk;
	int			next;

	if (!ahead->begun)
	{
		ahead->begun = true;
		return;
	}
	if (same && last < ahead->chunk_end)
		return;
	chunk = vdb_stripe_chunk_of(batch->stripe, last);
	ahead->first_page = batch->match_page;
	ahead->stripe_id = batch->match_stripe;
	ahead->chunk_end = vdb_stripe_chunk_start(batch->stripe, chunk + 1);
	if (!same || cursor->shared != NULL)
		prefetch_chunk(cursor, chunk);
	if (cursor->shared != NULL)
		return;
	next = next_chunk(batch, chunk);
	if (next >= 0)
		prefetch_chunk(cursor, next);
	else
		prefetch_next_stripe(cursor);
}

/* ---- the rows of a block ---- */

/* Prepare to read the rows of the current block: call the caller's before_read. */
static inline void
about_to_read(VdbCursor *cursor)
{
	/* the predicate lock came first: lock_and_limit */
	Assert(cursor->started);
	Assert(cursor->lb >= 0 && cursor->lb <= VDB_MAX_LOGICAL_BLOCK);
	if (cursor->before_read != NULL)
		cursor->before_read(cursor->before_arg);
}

/* See table.h. */
int
vdb_cursor_read(VdbCursor *cursor)
{
	VdbBatch   *batch = vdb_cursor_batch(cursor);

	about_to_read(cursor);
	vdb_batch_read(batch, (VdbLogicalBlock) cursor->lb,
				   cursor->of_now ? SnapshotAny : cursor->snapshot,
				   cursor->oldest_xmin, cursor->keep_dead);
	cursor->row = -1;
	cursor->loaded = true;
	if (cursor->ahead != NULL && batch->nrows > 0 && batch->where == VDB_IN_STRIPE)
		look_ahead(cursor);
	return batch->nrows;
}

/* See table.h. */
int
vdb_cursor_read_rows(VdbCursor *cursor, const uint64 rows[4])
{
	VdbBatch   *batch = vdb_cursor_batch(cursor);

	Assert(!cursor->of_now);
	about_to_read(cursor);
	vdb_batch_read_rows(batch, (VdbLogicalBlock) cursor->lb, cursor->snapshot,
						cursor->oldest_xmin, cursor->keep_dead, rows);
	cursor->row = -1;
	cursor->loaded = true;
	return batch->nrows;
}

/* See table.h. */
bool
vdb_cursor_next_rows(VdbCursor *cursor)
{
	do
	{
		if (!vdb_cursor_next(cursor))
			return false;
	} while (vdb_cursor_read(cursor) == 0);
	cursor->row = 0;
	return true;
}

/*
 * Read a block again at its end, for a snapshot of now, to find rows stored in it meanwhile.  A
 * concurrent update may have stored the new version of a row behind those that we knew of.  Returns
 * true if there are new rows; then the cursor stands before the first of them.
 */
static bool
block_has_grown(VdbCursor *cursor)
{
	VdbBatch   *batch = cursor->batch;
	int			known = batch->nrows > 0 ? batch->index[batch->nrows - 1] : VDB_LB_ROWS;

	if (batch->where != VDB_IN_POOL || known >= VDB_LB_ROWS - 1)
		return false;
	(void) vdb_cursor_read(cursor);
	cursor->row = 0;
	while (cursor->row < batch->nrows && batch->index[cursor->row] <= known)
		cursor->row++;
	return cursor->row-- < batch->nrows;
}

/*
 * Move to the next row in this direction, past the end of the block and over blocks without rows.
 * Returns false if there is none.
 */
bool
vdb_cursor_move_on(VdbCursor *cursor, bool forward)
{
	for (;;)
	{
		if (cursor->loaded)
		{
			cursor->row += forward ? 1 : -1;
			if (cursor->row >= 0 && cursor->row < cursor->batch->nrows)
				return true;
			if (cursor->of_now && forward && block_has_grown(cursor))
				continue;
		}
		if (!(forward ? vdb_cursor_next(cursor) : move_back(cursor)))
			return false;
		(void) vdb_cursor_read(cursor);
		cursor->row = forward ? -1 : cursor->batch->nrows;
	}
}

/* Fetch the current row as a snapshot of now sees it at this moment. */
bool
vdb_cursor_slot_of_now(VdbCursor *cursor, TupleTableSlot *slot)
{
	VdbBatch   *batch = cursor->batch;

	Assert(cursor->of_now);
	CHECK_FOR_INTERRUPTS();
	return vdb_table_fetch(cursor->rel, vdb_row_make(batch->lb, batch->index[cursor->row]),
						   cursor->snapshot, slot, NULL);
}

/* See table.h. */
void
vdb_cursor_run(const VdbCursor *cursor, VdbCursorRun *run)
{
	const VdbBatch *batch = cursor->batch;
	int			row = cursor->row;
	uint32		last = batch->pos[batch->nrows - 1];
	int			dense;

	Assert(cursor->loaded && batch->where == VDB_IN_STRIPE);
	Assert(row >= 0 && row < batch->nrows);
	run->first = batch->pos[row];
	run->end = Min(vdb_stripe_vector_end(batch->stripe, run->first), last + 1);
	Assert(run->end > run->first && run->end - run->first <= VDB_LB_ROWS);
	/* usually every position has a row in the batch: then so many rows follow */
	dense = Min((int) (run->end - run->first), batch->nrows - row);
	if (last < run->end)
		run->nrows = batch->nrows - row;
	else if (batch->pos[row + dense - 1] == run->end - 1)
		run->nrows = dense;
	else
		for (run->nrows = 0; batch->pos[row + run->nrows] < run->end;)
			run->nrows++;
}
