/*-------------------------------------------------------------------------
 *
 * migrate_note.c
 *	  Tables that could not be moved: reported seldom, and left alone for a while.
 *
 * Processes that move rows of a pool (the worker, and all inserters that need room) return to the
 * same table within a second.  A damaged table, or one whose file system is full, must not fill the
 * log, nor cost a stripe's work each time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "migrate/migrate.h"

/* Intervals after which the same table is reported again, and tried again. */
#define VDB_NOTE_REPORT_MS		3600000
#define VDB_NOTE_RETRY_MS		10000

/* Return the table's note, or NULL if it has none.  pools_lock is held. */
static VdbFailureNote *
find_note(VdbPoolShared *shared, const VdbTableRef *ref)
{
	Assert(LWLockHeldByMe(vdb_shared->pools_lock));
	for (int i = 0; i < VDB_FAILURE_NOTES; i++)
	{
		VdbFailureNote *note = &shared->failures[i];

		if (note->reported_at != 0 && note->table_slot == ref->slot &&
			note->table_generation == ref->generation)
			return note;
	}
	return NULL;
}

/* Return the oldest note. */
static VdbFailureNote *
oldest_note(VdbPoolShared *shared)
{
	VdbFailureNote *oldest = &shared->failures[0];

	Assert(LWLockHeldByMeInMode(vdb_shared->pools_lock, LW_EXCLUSIVE));
	for (int i = 1; i < VDB_FAILURE_NOTES; i++)
		if (shared->failures[i].reported_at < oldest->reported_at)
			oldest = &shared->failures[i];
	return oldest;
}

/* See migrate.h. */
bool
vdb_migrate_note(VdbPoolShared *shared, const VdbTableRef *ref, bool failed)
{
	TimestampTz now = GetCurrentTimestamp();
	VdbFailureNote *note;
	bool		news;

	LWLockAcquire(vdb_shared->pools_lock, LW_EXCLUSIVE);
	Assert(ref->pool != NULL);
	note = find_note(shared, ref);
	news = note == NULL ||
		TimestampDifferenceExceeds(note->reported_at, now, VDB_NOTE_REPORT_MS);
	if (note == NULL)
	{
		note = oldest_note(shared);
		note->table_slot = ref->slot;
		note->table_generation = ref->generation;
		note->reported_at = now;
		note->failed_at = 0;
	}
	if (news)
		note->reported_at = now;
	if (failed)
		note->failed_at = now;
	LWLockRelease(vdb_shared->pools_lock);
	return news;
}

/* See migrate.h. */
bool
vdb_migrate_failed_lately(VdbPoolShared *shared, const VdbTableRef *ref)
{
	const VdbFailureNote *note;
	bool		lately;

	LWLockAcquire(vdb_shared->pools_lock, LW_SHARED);
	note = find_note(shared, ref);
	lately = note != NULL && note->failed_at != 0 &&
		!TimestampDifferenceExceeds(note->failed_at, GetCurrentTimestamp(), VDB_NOTE_RETRY_MS);
	LWLockRelease(vdb_shared->pools_lock);
	return lately;
}
