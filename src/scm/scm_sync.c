/*-------------------------------------------------------------------------
 *
 * scm_sync.c
 *	  Have the next checkpoint sync a changed file of the pool.
 *
 * A change must be on disk before a checkpoint completes whose redo point follows it.  The
 * checkpointer's fsync of the file also writes the pages that were changed through a mapping.  So
 * it is enough to queue a sync request for the file, while the process still delays checkpoints.
 *
 * A request need not be repeated for every change, but one request per redo pointer is not enough.
 * A spread checkpoint that has fixed redo pointer R may not have reached its sync phase.  It then
 * consumes a request made under R, and the next checkpoint syncs nothing.  So a request counts only
 * if a checkpoint with the redo pointer of that moment was already complete when the request was
 * made.  Then only a later checkpoint, with another redo pointer, consumes it.
 *
 * In recovery each record queues a request ('counted' is NULL).
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

/* See scm_internal.h. */
XLogRecPtr
vdb_sync_completed_redo(void)
{
	XLogRecPtr	redo;

	LWLockAcquire(ControlFileLock, LW_SHARED);
	redo = vdb_shared->control_file->checkPointCopy.redo;
	LWLockRelease(ControlFileLock);
	return redo;
}

/* Queue a sync request for a file.  Returns false if the queue is full. */
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

/* See scm_internal.h. */
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
	completed = vdb_sync_completed_redo();	/* before the request is made */
	if (!request(rnode, file))
		return false;
	if (completed == redo)
		*counted = redo;
	return true;
}

/*
 * See scm_internal.h.  Outside a critical section a request may compact the queue, and so run out
 * of memory.  Then the file is synced here.
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
