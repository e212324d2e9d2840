/*-------------------------------------------------------------------------
 *
 * scm_batch.c
 *	  Batches: changes that are logged together, flushed once, and then applied one by one.
 *
 * A change that is added to a batch is copied, with its packed record, so that nothing can fail
 * when the batch ends.  The end takes the steps of vdb_scm_change_end for all of them at once, in
 * one critical section; only the block locks that a change lists are taken while it is applied.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xloginsert.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/memutils.h"

#include "base/vdb_stop_point.h"
#include "scm/scm_change.h"

/* Changes that are logged together, flushed together, and then applied one by one. */
struct VdbScmBatch
{
	VdbPool    *pool;
	MemoryContext context;			/* has the batch and its changes */
	int			n;
	int			room;
	int			max_blocks;			/* most blocks of one change */
	VdbScmChange **changes;
};

/* See scm.h. */
VdbScmBatch *
vdb_scm_batch_begin(VdbPool *pool)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "vdb batch of changes",
												  ALLOCSET_DEFAULT_SIZES);
	VdbScmBatch *batch = MemoryContextAllocZero(context, sizeof(VdbScmBatch));

	batch->pool = pool;
	batch->context = context;
	batch->room = 64;
	batch->changes = MemoryContextAlloc(context, batch->room * sizeof(VdbScmChange *));
	return batch;
}

/* Copy the bytes gathered for a block, and what is packed of them, to the current context. */
static void
keep_block(ChangeBlock *to, const ChangeBlock *from, bool logged)
{
	*to = *from;
	to->spans = palloc(from->used);
	memcpy(to->spans, from->spans, from->used);
	if (!logged)
		return;
	to->packed = palloc(from->packed_bytes);
	memcpy(to->packed, from->packed, from->packed_bytes);
}

/* Copy a list of units to the current context. */
static void
keep_spaces(SpaceList *to, const SpaceList *from)
{
	if (from->n == 0)
		return;
	to->spaces = palloc(from->n * sizeof(VdbPoolSpace));
	memcpy(to->spaces, from->spaces, from->n * sizeof(VdbPoolSpace));
}

/* See scm.h. */
void
vdb_scm_batch_add(VdbScmBatch *batch, VdbScmChange *change)
{
	bool		logged = (change->flags & VDB_CHANGE_UNLOGGED) == 0;
	MemoryContext old = MemoryContextSwitchTo(batch->context);
	Size		size = offsetof(VdbScmChange, blocks) + change->nblocks * sizeof(ChangeBlock);
	VdbScmChange *copy;

	Assert(change->open && change->pool == batch->pool);
	Assert(change->event_len == 0 && change->extend_blocks == 0 && change->used.n == 0);
	change->open = false;
	if (change->nblocks > 0)
	{
		vdb_change_build(change);
		if (logged)
			vdb_change_pack(change);
		copy = palloc(size);
		memcpy(copy, change, size);
		for (int i = 0; i < change->nblocks; i++)
			keep_block(&copy->blocks[i], &change->blocks[i], logged);
		keep_spaces(&copy->freed, &change->freed);
		if (batch->n == batch->room)
		{
			batch->room *= 2;
			batch->changes = repalloc(batch->changes, batch->room * sizeof(VdbScmChange *));
		}
		batch->changes[batch->n++] = copy;
		batch->max_blocks = Max(batch->max_blocks, change->nblocks);
	}
	MemoryContextSwitchTo(old);
}

/* Log the changes of a batch, and flush them once.  Must be called in the critical section. */
static void
log_batch(VdbScmBatch *batch)
{
	XLogRecPtr	end = InvalidXLogRecPtr;

	for (int i = 0; i < batch->n; i++)
		if ((batch->changes[i]->flags & VDB_CHANGE_UNLOGGED) == 0)
			end = vdb_change_insert(batch->changes[i]);
	VDB_STOP_POINT("batch-logged");
	if (end == InvalidXLogRecPtr)
		return;
	XLogFlush(end);
	pg_atomic_fetch_add_u64(&batch->pool->shared->counters.flushes, 1);
	VDB_STOP_POINT("batch-flushed");
}

/*
 * Apply a change of a batch, under the block locks that it lists.  Must be called in the critical
 * section.  Returns the files that the caller must sync, as vdb_change_request_syncs does.
 */
static int
apply_batched(VdbScmChange *change, uint32 *failed)
{
	int			nfailed;

	for (int i = 0; i < change->nlocks; i++)
		LWLockAcquire(vdb_block_lock(change->locks[i]), LW_EXCLUSIVE);
	vdb_change_apply(change);
	vdb_change_count_locks(change);
	for (int i = change->nlocks; i-- > 0;)
		LWLockRelease(vdb_block_lock(change->locks[i]));
	nfailed = vdb_change_request_syncs(change, failed);
	vdb_increment_counter(&change->pool->shared->counters.changes);
	return nfailed;
}

/* Log, flush and apply the changes of a batch.  Returns the files to sync in 'failed'. */
static int
log_and_apply_batch(VdbScmBatch *batch, bool *failed)
{
	uint32		files[VDB_CHANGE_MAX_BLOCKS];
	int			total = 0;

	START_CRIT_SECTION();
	log_batch(batch);
	for (int i = 0; i < batch->n; i++)
	{
		int			n = apply_batched(batch->changes[i], files);

		for (int j = 0; j < n; j++)
			failed[files[j]] = true;
		total += n;
		VDB_STOP_POINT("batch-applied-one");
	}
	END_CRIT_SECTION();
	return total;
}

/* See scm.h. */
void
vdb_scm_batch_end(VdbScmBatch *batch)
{
	bool	   *failed = MemoryContextAllocZero(batch->context, VDB_POOL_MAX_FILES * sizeof(bool));

	Assert(CritSectionCount == 0 && !RecoveryInProgress());
	Assert(LocalTransactionIdIsValid(vdb_my_lxid()));
	Assert((MyProc->delayChkptFlags & DELAY_CHKPT_START) == 0);
	if (batch->n > 0)
	{
		XLogEnsureRecordSpace(batch->max_blocks - 1, batch->max_blocks + 2);
		HOLD_INTERRUPTS();
		for (int i = 0; i < batch->n; i++)
			if (batch->changes[i]->freed.n > 0)
				vdb_alloc_hold(batch->pool, batch->changes[i]->freed.spaces,
							   batch->changes[i]->freed.n);
		MyProc->delayChkptFlags |= DELAY_CHKPT_START;
		if (log_and_apply_batch(batch, failed) > 0)
			for (uint32 file = 0; file < VDB_POOL_MAX_FILES; file++)
				if (failed[file])
					vdb_sync_now(&batch->pool->rnode, file);
		MyProc->delayChkptFlags &= ~DELAY_CHKPT_START;
		for (int i = 0; i < batch->n; i++)
			if (batch->changes[i]->freed.n > 0)
				vdb_alloc_release(batch->pool, batch->changes[i]->freed.spaces,
								  batch->changes[i]->freed.n);
		RESUME_INTERRUPTS();
	}
	MemoryContextDelete(batch->context);
}
