/*-------------------------------------------------------------------------
 *
 * scm_sync.c
 *	  Have the next checkpoint sync a changed file of the pool.
 *
 * A change must be on disk before a checkpoint completes whose redo point
 * follows it.  The checkpointer's fsync of the file also writes the pages
 * that were changed through a mapping, so it is enough to queue a request
 * for the file, while the process still delays checkpoints.
 *
 * A request need not be repeated for every change, but "once per redo
 * pointer" is wrong: a spread checkpoint that has fixed redo pointer R may
 * not have come to its sync phase; it then takes a request made under R with
 * it, and the next checkpoint syncs nothing.  So a request counts only if,
 * when it was made, a checkpoint with the redo pointer of that moment was
 * already complete: then only a later one, with another pointer, consumes it.
 *
 * In recovery every record requests anew (counted is NULL).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_control.h"
#include "common/relpath.h"
#include "miscadmin.h"
#include "storage/sync.h"

#include "scm/scm_internal.h"

static XLogRecPtr
completed_redo(void)
{
	XLogRecPtr	redo;

	LWLockAcquire(ControlFileLock, LW_SHARED);
	redo = vdb_shared->control_file->checkPointCopy.redo;
	LWLockRelease(ControlFileLock);
	return redo;
}

static bool
request(const RelFileLocator *rnode, uint32 file)
{
	FileTag		tag;

	memset(&tag, 0, sizeof(tag));	/* compared as bytes */
	tag.handler = SYNC_HANDLER_MD;
	tag.forknum = MAIN_FORKNUM;
	vdb_file_tag_set_locator(&tag, rnode);
	tag.segno = file;
	if (!RegisterSyncRequest(&tag, SYNC_REQUEST, false))
		return false;
	vdb_persist->requested(file * VDB_FILE_BLOCKS);
	return true;
}

/*
 * Queue a sync of the file unless a queued one covers us.  *counted is the
 * redo pointer for which the caller's last request counts.  False: the queue
 * is full, the caller must try again outside its critical section or sync.
 * Raises no error inside a critical section.
 */
bool
vdb_sync_try(const RelFileLocator *rnode, uint32 file, XLogRecPtr *counted)
{
	XLogRecPtr	redo;
	XLogRecPtr	completed;

	if (counted == NULL)
		return request(rnode, file);

	redo = GetRedoRecPtr();
	if (*counted == redo)
		return true;
	completed = completed_redo();	/* before the request is made */
	if (!request(rnode, file))
		return false;
	if (completed == redo)
		*counted = redo;
	return true;
}

/*
 * Make the file's changes durable whatever it takes: a request again (which
 * may now compact the queue, and so run out of memory), else fsync.
 */
void
vdb_sync_now(const RelFileLocator *rnode, uint32 file)
{
	volatile bool queued = false;
	MemoryContext context = CurrentMemoryContext;

	Assert(CritSectionCount == 0);
	PG_TRY();
	{
		queued = request(rnode, file);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	if (!queued)
		vdb_file_sync(rnode, file);
}
