/*-------------------------------------------------------------------------
 *
 * scm_back.c
 *	  Give segments space on the file system before they are used.
 *
 * Growth takes released segments (scm_release.c) before it extends the files:
 *
 *	1. Allocate their space, and sync the files.
 *	2. In a flushed change, log that they are free.  Redo allocates the space first, because the
 *	   files of a standby may be those of an earlier primary.
 *
 * A crash in between leaves released segments that have space, which are punched again.
 *
 * The files of a pool may have holes elsewhere, too, if they are copies: many tools leave out what
 * reads as zeroes.  So before a run of the server stores anything, it has space allocated for all
 * that is not released (vdb_back_all), and redo does so for each segment in which it stores.
 *
 * Locks: growth holds the pool's growth lock; under it the allocation lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "base/vdb_stop_point.h"
#include "scm/scm_internal.h"
#include "scm/scm_words.h"

/* Most segments that become free again in one change: a step of growth. */
#define BACK_MOST			512

/* Most segments that are allocated in one call: what such a call leaves if it fails is lost. */
#define BACK_PIECE			VDB_SEGMENTS_PER_MB

/*
 * Find up to 'most' released segments, the first ones first, of no more groups than a change has
 * blocks.  Returns how many.
 */
static int
find_released(VdbPool *pool, uint32 most, VdbPoolSpace *spaces)
{
	uint32		total = pg_atomic_read_u32(&pool->shared->total_segments);
	uint32		last_group = PG_UINT32_MAX;
	int			groups = 0;
	int			n = 0;

	for (uint32 no = 0; no < total && n < (int) most; no++)
	{
		if (!vdb_segment_is_released(pool, no))
			continue;
		if (no / VDB_GROUP_SEGMENTS != last_group && ++groups > VDB_CHANGE_MAX_BLOCKS)
			break;
		last_group = no / VDB_GROUP_SEGMENTS;
		spaces[n++] = vdb_pool_space(vdb_segment_block(no), true);
	}
	return n;
}

/*
 * Return how many of the n segments, which ascend, follow each other from the first one on, at most
 * BACK_PIECE.
 */
static int
piece_length(const VdbPoolSpace *spaces, int n)
{
	int			length = 1;

	while (length < Min(n, BACK_PIECE) &&
		   spaces[length].block == spaces[length - 1].block + VDB_SEGMENT_BLOCKS)
		length++;
	return length;
}

/* Raise the error that blocks cannot be allocated. */
static void
raise_cannot_allocate(VdbPool *pool, VdbBlock block, int error)
{
	errno = error;
	ereport(ERROR,
			(errcode_for_file_access(),
			 errmsg("could not allocate block %u of the pool \"%s\": %m", block, pool->path),
			 error == ENOSPC || error == EDQUOT ?
			 errhint("Free space on its file system.") : 0));
}

/*
 * Allocate space for the segments, which ascend.  Returns the number of those that have it.  Sets
 * errno if not all of them do.  Raises errors other than a lack of space.
 */
static int
allocate_segments(VdbPool *pool, const VdbPoolSpace *spaces, int n)
{
	int			done = 0;

	while (done < n)
	{
		int			length = piece_length(spaces + done, n - done);
		int			rc = vdb_file_back(&pool->rnode, spaces[done].block,
									   length * VDB_SEGMENT_BLOCKS);

		if (rc != 0)
		{
			/* some blocks of the piece may have been allocated */
			vdb_marks_note_holes(pool);
			if (rc != ENOSPC && rc != EDQUOT && rc != EFBIG)
				raise_cannot_allocate(pool, spaces[done].block, rc);
			errno = rc;
			return done;
		}
		done += length;
	}
	return done;
}

/* Sync the files in which the segments lie. */
static void
sync_segments(VdbPool *pool, const VdbPoolSpace *spaces, int n)
{
	uint32		last = PG_UINT32_MAX;

	for (int i = 0; i < n; i++)
	{
		uint32		file = spaces[i].block / VDB_FILE_BLOCKS;

		if (file != last)
			vdb_file_sync(&pool->rnode, file);
		last = file;
	}
}

/* See scm_internal.h. */
bool
vdb_back_released(VdbPool *pool, uint32 most)
{
	VdbPoolSpace spaces[BACK_MOST];
	VdbScmChange *change;
	int			found = find_released(pool, Min(most, BACK_MOST), spaces);
	int			n = allocate_segments(pool, spaces, found);

	if (n == 0)
		return false;
	sync_segments(pool, spaces, n);
	VDB_STOP_POINT("back-allocated");
	change = vdb_change_open(pool, VDB_CHANGE_FLUSH | VDB_CHANGE_INTERNAL | VDB_CHANGE_BACK);
	for (int i = 0; i < n; i++)
		vdb_change_segment_state(change, spaces[i].block, 0);
	vdb_alloc_hold(pool, spaces, n);
	(void) vdb_scm_change_end(change);
	vdb_alloc_backed(pool, spaces, n);
	VDB_STOP_POINT("back-logged");
	return true;
}

/* See scm_internal.h. */
void
vdb_back_all(VdbPool *pool)
{
	uint32		total = vdb_pool_total_segments(pool);

	for (uint32 at = 0; at < total; at++)
	{
		uint32		first = at;
		int			rc;

		CHECK_FOR_INTERRUPTS();
		while (at < total && !vdb_segment_is_released(pool, at))
			at++;
		if (at == first)
			continue;
		rc = vdb_file_fill(&pool->rnode, vdb_segment_block(first),
						   (at - first) * VDB_SEGMENT_BLOCKS);
		if (rc != 0)
			raise_cannot_allocate(pool, vdb_segment_block(first), rc);
	}
}
