/*-------------------------------------------------------------------------
 *
 * scm_epoch.c
 *	  Epochs: which run of the server stored an id, and whether that id is lost.
 *
 * The pool may keep bytes whose WAL was lost in a crash.  Among them are
 * transaction ids that the next run of the server hands out again.  So a
 * process that stores an id also stores the epoch, the number of the run of the
 * server (only runs that stored something are counted).  Epoch n ends when a
 * later run begins epoch n + 1.  Then the ring gets the limit L(n), the next id
 * as recovery left it.  Ids of epoch n that survived are below L(n); an id at
 * or past L(n) under epoch n is lost: its transaction never happened.
 *
 * Multixact ids are bounded in the same way, by the next multixact id as recovery
 * left it.  This is only right for those whose record comes before the records of
 * all higher ids; rows_multi.c makes sure of that.
 *
 * Between the start of a run and its first store, the current epoch n is not
 * ended on the medium, but is bounded in the same way.  There may have been
 * runs in between that stored nothing and handed out the lost ids again.  So
 * L(n) is nextXid as the first recovery after the begin of epoch n left it
 * (scm_ends.c).  If there was no such recovery, WAL was never lost, and L(n) is
 * vdb_shared->epoch_limit.  In recovery the current epoch is not bounded: it is
 * the primary's, and its ids are real.
 *
 * The header's start_id shows whether the current epoch is this run's.  The
 * shared slot cannot, as it may be reset (when the re-creation of a pool is
 * rolled back).
 *
 * The ring keeps the last VDB_RING_ENTRIES epochs.  An older epoch is checked
 * against the oldest one kept: L rises with the epoch, so an id at or past that
 * L is lost, and others are taken as known.  Stored ids that old were frozen or
 * removed long before, unless the server restarted thousands of times without
 * a vacuum.
 *
 * Locks: beginning an epoch takes the pool allocation lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/multixact.h"
#include "access/xlog.h"

#include "base/vdb_guc.h"
#include "base/vdb_stop_point.h"
#include "scm/scm_internal.h"

/* Find the block and the offset of an epoch's entry of the ring. */
static void
ring_address(uint32 epoch, VdbBlock *block, uint16 *offset)
{
	uint32		index = epoch % VDB_RING_ENTRIES;

	*block = VDB_RING_FIRST_BLOCK + index / VDB_RING_BLOCK_ENTRIES;
	*offset = VDB_POOL_BLOCK_HEADER + (index % VDB_RING_BLOCK_ENTRIES) * sizeof(VdbEpochLimits);
}

/* Return the limits of an ended epoch, as the ring has them. */
static VdbEpochLimits
ring_limits(VdbPool *pool, uint32 epoch)
{
	VdbBlock	block;
	uint16		offset;
	VdbEpochLimits limits;

	ring_address(epoch, &block, &offset);
	memcpy(&limits, vdb_pool_pointer(pool, block) + offset, sizeof(limits));
	return limits;
}

/*
 * Set the shared slot's epoch from the pool's header.  The caller holds
 * pools_lock and the allocation lock, both in exclusive mode.
 */
void
vdb_epoch_attach(VdbPool *pool)
{
	pool->shared->epoch = pool->header->epoch;
	pool->shared->epoch_begun = !RecoveryInProgress() &&
		pool->header->start_id == vdb_shared->start_id;
}

/*
 * Check whether recovery has run since the current epoch began, which is another run's.  Sets
 * *limits to that epoch's limits.
 */
static bool
recovered_since(VdbPool *pool, VdbEpochLimits *limits)
{
	XLogRecPtr	begin = *(volatile const uint64 *) &pool->header->begin_lsn;

	*limits = vdb_epoch_limits(vdb_shared->epoch_limit, vdb_shared->multi_limit);
	return vdb_ends_first_after(begin, limits) || vdb_shared->recovered;
}

/*
 * Check that it is known which ids of the current epoch are lost.  Raises an
 * error if the epoch is another run's, and ends of recoveries since it began
 * may be missing; with vdb.ignore_lost_recoveries it begins this run's epoch
 * instead.  The caller must hold no lightweight lock.
 */
void
vdb_epoch_require_history(VdbPool *pool)
{
	uint64		start_id = *(volatile const uint64 *) &pool->header->start_id;
	XLogRecPtr	begin;

	pg_read_barrier();			/* begin_lsn is stored after start_id */
	begin = *(volatile const uint64 *) &pool->header->begin_lsn;
	if (likely(start_id == vdb_shared->start_id || vdb_ends_reach(begin)) || RecoveryInProgress())
		return;
	vdb_ends_require_written();
	if (vdb_ignore_lost_recoveries)
	{
		(void) vdb_epoch_current(pool);
		return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("cannot tell which rows of this database's vdb tables outlived earlier crashes"),
			 errdetail("File \"%s\" was lost or damaged: it knows of the server's recoveries since %X/%X, but rows were stored since %X/%X.",
					   VDB_ENDS_FILE, LSN_FORMAT_ARGS(vdb_ends_known_since()),
					   LSN_FORMAT_ARGS(begin)),
			 errhint("Restore the cluster from a backup. If the server had not crashed since rows were stored, or rows that were never committed may appear, a superuser can SET vdb.ignore_lost_recoveries = on and read any vdb table.")));
}

/*
 * Log and apply the step from the current epoch to the next, and return the new one.  The caller
 * holds the allocation lock in exclusive mode.
 */
static uint32
begin_next(VdbPool *pool)
{
	uint32		ended = pool->header->epoch;
	uint32		next = ended + 1;
	uint32		start = pool->header->ring_start;
	VdbScmChange *change = vdb_change_open(pool, VDB_CHANGE_FLUSH | VDB_CHANGE_INTERNAL);
	uint64		begin = GetXLogInsertRecPtr();
	VdbEpochLimits limits;
	bool		recovered = recovered_since(pool, &limits);
	VdbBlock	block;
	uint16		offset;

	if (next - start > VDB_RING_ENTRIES)
		start = next - VDB_RING_ENTRIES;
	ring_address(ended, &block, &offset);
	vdb_change_ring(change, block, offset, &limits);
	vdb_change_header(change, VDB_PHASE_STORE, offsetof(VdbPoolHeader, ring_start),
					  &start, sizeof(start));
	if (recovered)
		vdb_change_header(change, VDB_PHASE_STORE, offsetof(VdbPoolHeader, recovered),
						  &next, sizeof(next));
	vdb_change_header(change, VDB_PHASE_PUBLISH, offsetof(VdbPoolHeader, epoch),
					  &next, sizeof(next));
	/* A process that sees our start_id also sees the new epoch: see vdb_epoch_lost. */
	vdb_change_header(change, VDB_PHASE_LAST, offsetof(VdbPoolHeader, start_id),
					  &vdb_shared->start_id, sizeof(uint64));
	vdb_change_header(change, VDB_PHASE_LAST, offsetof(VdbPoolHeader, begin_lsn),
					  &begin, sizeof(begin));
	(void) vdb_scm_change_end(change);
	return next;
}

/*
 * Begin this run's epoch, unless another process has done so.  ERROR in recovery.  The caller must
 * hold no lightweight lock.
 */
static void
begin_epoch(VdbPool *pool)
{
	VdbPoolShared *shared = pool->shared;

	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot change the pool during recovery")));
	Assert(!LWLockHeldByMe(pool->alloc_lock));
	vdb_ends_require_written();
	vdb_back_all(pool);
	LWLockAcquire(pool->alloc_lock, LW_EXCLUSIVE);
	if (!shared->epoch_begun)
	{
		vdb_alloc_recount(pool, true);
		VDB_STOP_POINT("epoch-begins");
		shared->epoch = begin_next(pool);
		VDB_STOP_POINT("epoch-logged");
		pg_write_barrier();
		shared->epoch_begun = true;
	}
	LWLockRelease(pool->alloc_lock);
}

uint32
vdb_epoch_current(VdbPool *pool)
{
	if (unlikely(!pool->shared->epoch_begun))
		begin_epoch(pool);
	else
		pg_read_barrier();
	vdb_grow_reserve(pool);
	return pool->shared->epoch;
}

/* Begins this run's epoch first, as nothing may be stored under an older one. */
VdbScmChange *
vdb_scm_change_begin(VdbPool *pool, int flags)
{
	Assert(!RecoveryInProgress());
	Assert((flags & VDB_CHANGE_INTERNAL) == 0);
	if (unlikely(!pool->shared->epoch_begun))
		(void) vdb_epoch_current(pool);
	return vdb_change_open(pool, flags);
}

/* What a crash took of an epoch's ids. */
typedef enum EpochLoss
{
	LOST_NOTHING,
	LOST_PAST_LIMITS,
	LOST_ALL
} EpochLoss;

/* Determine what is lost of an epoch.  Sets *limits if the result is LOST_PAST_LIMITS. */
static inline EpochLoss
find_loss(VdbPool *pool, uint32 epoch, VdbEpochLimits *limits)
{
	bool		ours = pool->header->start_id == vdb_shared->start_id;
	uint32		current;
	uint32		start;

	pg_read_barrier();			/* start_id is stored after epoch */
	current = *(volatile const uint32 *) &pool->header->epoch;
	if (likely(epoch >= current))
	{
		/* The epoch has not ended.  If it is ours or our primary's, nothing of it is lost. */
		if (ours || RecoveryInProgress())
			return LOST_NOTHING;
		if (epoch > current)
			return LOST_ALL;
		(void) recovered_since(pool, limits);
		/* begin_lsn is stored after start_id; start over if it may be the new epoch's. */
		pg_read_barrier();
		if (pool->header->start_id == vdb_shared->start_id)
			return find_loss(pool, epoch, limits);
		return LOST_PAST_LIMITS;
	}
	pg_read_barrier();
	start = pool->header->ring_start;
	if (epoch < start)
		epoch = start;
	if (epoch >= current)
		return LOST_NOTHING;
	*limits = ring_limits(pool, epoch);
	return LOST_PAST_LIMITS;
}

bool
vdb_epoch_lost(VdbPool *pool, uint32 epoch, TransactionId xid)
{
	VdbEpochLimits limits;
	EpochLoss	loss = find_loss(pool, epoch, &limits);

	Assert(TransactionIdIsNormal(xid));
	if (likely(loss == LOST_NOTHING))
		return false;
	return loss == LOST_ALL || TransactionIdFollowsOrEquals(xid, limits.xid);
}

bool
vdb_epoch_lost_multi(VdbPool *pool, uint32 epoch, MultiXactId multi)
{
	VdbEpochLimits limits;
	EpochLoss	loss = find_loss(pool, epoch, &limits);

	Assert(MultiXactIdIsValid(multi));
	if (RecoveryInProgress() && !MultiXactIdPrecedes(multi, ReadNextMultiXactId()))
		return true;
	if (likely(loss == LOST_NOTHING))
		return false;
	return loss == LOST_ALL || !MultiXactIdPrecedes(multi, limits.multi);
}

bool
vdb_epoch_survived(VdbPool *pool, uint32 epoch)
{
	bool		ours = pool->header->start_id == vdb_shared->start_id;
	VdbEpochLimits limits;

	/* If recovery has run since anything was stored, no stored row survived. */
	if (!ours && !RecoveryInProgress() && recovered_since(pool, &limits) &&
		*(volatile const uint64 *) &pool->header->start_id != vdb_shared->start_id)
		return false;
	pg_read_barrier();
	return epoch >= *(volatile const uint32 *) &pool->header->recovered;
}
