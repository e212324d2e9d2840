/*-------------------------------------------------------------------------
 *
 * scm_holes.c
 *	  Punch the holes of released segments, on a primary and during recovery.
 *
 * A primary's worker punches them when a checkpoint is complete (scm_release.c).  A standby has no
 * worker, so its startup process does that between two records, a group of segments at a time.
 * Recovery of a standby begins at its last restartpoint.  So the rule is the same: a restartpoint
 * must be complete whose redo position is past the record that released the segments.
 *
 * Which pools have released segments is noted when such a record is redone, and when redo first
 * opens a pool's file, as it is not known what earlier processes have left.  The allocation maps
 * are read from the files, which may have been dropped meanwhile.
 *
 * In the recovery of a crash no restartpoint is made, so nothing is punched.
 *
 * Locks: a primary's caller holds the growth lock.  In recovery the startup process is the only one
 * that changes the pool.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <unistd.h>

#include "utils/timestamp.h"

#include "scm/scm_internal.h"

#define LOOK_MS			1000		/* between looks whether a restartpoint is complete */
#define PENDING_MOST	64			/* pools of which recovery knows at a time */

/* A pool with released segments, in recovery. */
typedef struct PendingHoles
{
	RelFileLocator rnode;
	XLogRecPtr	after;				/* to be punched when a restartpoint past it is complete */
	uint32		next;				/* first segment of the group that comes next */
} PendingHoles;

static PendingHoles pending[PENDING_MOST];
static int	npending = 0;

/* See scm_internal.h. */
int
vdb_punch_group(const RelFileLocator *rnode, const VdbGroupMap *map, uint32 base, uint32 n)
{
	const volatile uint64 *states = map->state;
	int			rc = 0;

	for (uint32 at = 0; at < n && rc == 0; at++)
	{
		uint32		first = at;

		while (at < n && states[at] == vdb_word_released())
			at++;
		if (at > first)
			rc = vdb_file_punch(rnode, vdb_segment_block(base + first),
								(at - first) * VDB_SEGMENT_BLOCKS);
	}
	return rc;
}

/* ---- recovery ---- */

/* See scm_internal.h.  A pool too many is punched by a later run, or after promotion. */
void
vdb_holes_note(const RelFileLocator *rnode, XLogRecPtr after)
{
	int			i = 0;

	while (i < npending && !RelFileLocatorEquals(pending[i].rnode, *rnode))
		i++;
	if (i == PENDING_MOST)
		return;
	npending = Max(npending, i + 1);
	pending[i].rnode = *rnode;
	pending[i].after = after;
	pending[i].next = 0;
}

/* Read bytes of a block behind its header.  Returns false if the file has no such block. */
static bool
read_from_block(const RelFileLocator *rnode, VdbBlock block, void *to, size_t len)
{
	int			fd = vdb_file_open(rnode, block / VDB_FILE_BLOCKS, false);
	ssize_t		n = -1;

	if (fd >= 0)
	{
		n = pg_pread(fd, to, len, (off_t) (block % VDB_FILE_BLOCKS) * VDB_POOL_BLOCK_BYTES +
					 VDB_POOL_BLOCK_HEADER);
		close(fd);
	}
	return n == (ssize_t) len;
}

/* Return the pool's size in segments, or 0 if there is no such pool any more. */
static uint32
segments_of(const RelFileLocator *rnode)
{
	VdbPoolHeader header;

	if (!read_from_block(rnode, 0, &header, sizeof(header)) ||
		memcmp(header.magic, VDB_POOL_MAGIC, sizeof(header.magic)) != 0 ||
		header.version != VDB_POOL_VERSION || header.relnode != rnode->relNumber)
		return 0;
	return header.total_segments;
}

/* Punch the holes of the group that comes next.  Returns false if there is nothing more to do. */
static bool
punch_next(PendingHoles *holes)
{
	uint32		total = segments_of(&holes->rnode);
	uint32		base = holes->next;
	VdbGroupMap map;
	int			rc;

	if (base >= total ||
		!read_from_block(&holes->rnode, vdb_group_map_block(base), &map, sizeof(map)))
		return false;
	rc = vdb_punch_group(&holes->rnode, &map, base, Min(VDB_GROUP_SEGMENTS, total - base));
	if (rc != 0 && rc != EOPNOTSUPP && rc != ENOSYS)
	{
		errno = rc;
		ereport(WARNING,
				(errcode_for_file_access(),
				 errmsg("could not return disk space of a pool in recovery: %m")));
	}
	holes->next = base + VDB_GROUP_SEGMENTS;
	return rc == 0;
}

/* Return a pool whose holes may be punched, or NULL. */
static PendingHoles *
find_ready(void)
{
	XLogRecPtr	completed = vdb_sync_completed_redo();

	for (int i = 0; i < npending; i++)
		if (completed >= pending[i].after)
			return &pending[i];
	return NULL;
}

/* See scm_internal.h. */
bool
vdb_holes_punch_in_redo(void)
{
	static TimestampTz looked = 0;
	PendingHoles *holes;

	if (likely(npending == 0) ||
		!TimestampDifferenceExceeds(looked, GetCurrentTimestamp(), LOOK_MS))
		return false;
	holes = find_ready();
	if (holes == NULL)
	{
		looked = GetCurrentTimestamp();
		return false;
	}
	if (!punch_next(holes))
		*holes = pending[--npending];
	return true;
}
