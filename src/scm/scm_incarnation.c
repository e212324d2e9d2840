/*-------------------------------------------------------------------------
 *
 * scm_incarnation.c
 *	  Which server run stored a transaction id, and did that id happen?
 *
 * The pool may keep bytes whose WAL was lost in a crash.  Among them are
 * transaction ids that the next server run hands out again.  So whoever
 * stores an id also stores the incarnation, the number of the server run
 * (counting only runs that stored anything).  When incarnation n ends, that
 * is, when a later run begins n + 1, the ring gets L(n): the next id as that
 * run's recovery left it.  What incarnation n knew and survived is below
 * L(n); an id at or past L(n) under n never happened.
 *
 * Between the start of a run and its first store the current incarnation n
 * is not ended on the medium, but bounded just so.  Runs that store nothing
 * may lie between, which hand out the lost ids again: L(n) is nextXid as the
 * first recovery after the begin of n left it (scm_ends.c); with none, WAL was
 * never lost, and it is vdb_shared->run_limit.
 * In recovery it is not bounded: it is the primary's, and its ids are real.
 *
 * The header's run_id tells whether the current incarnation is this run's:
 * the shared slot may be made anew (a re-created pool, rolled back).
 *
 * The ring keeps the last VDB_RING_ENTRIES incarnations.  An older one is
 * checked by the oldest kept: L rises with the incarnation, so an id at or
 * past that L is lost; others are taken as known.  Stored ids that old were
 * frozen or removed long before, unless the server restarted thousands of
 * times without a vacuum.
 *
 * Locks: beginning an incarnation takes the pool allocation lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"

#include "base/vdb_guc.h"
#include "base/vdb_stop_point.h"
#include "scm/scm_internal.h"

/* Where incarnation's entry of the ring stands. */
static void
ring_place(uint32 incarnation, VdbBlock *block, uint16 *offset)
{
	uint32		index = incarnation % VDB_RING_ENTRIES;

	*block = VDB_RING_FIRST_BLOCK + index / VDB_RING_BLOCK_ENTRIES;
	*offset = VDB_POOL_BLOCK_HEADER + (index % VDB_RING_BLOCK_ENTRIES) * sizeof(uint64);
}

/* L of an ended incarnation, as the ring has it. */
static TransactionId
ring_limit(VdbPool *pool, uint32 incarnation)
{
	VdbBlock	block;
	uint16		offset;
	uint64		full;

	ring_place(incarnation, &block, &offset);
	memcpy(&full, vdb_pool_pointer(pool, block) + offset, sizeof(full));
	return (TransactionId) full;
}

/*
 * Set the slot's idea of the incarnation from the header.  The caller has
 * the slot to itself (pools_lock and allocation lock).
 */
void
vdb_incarnation_attach(VdbPool *pool)
{
	pool->shared->incarnation = pool->header->incarnation;
	pool->shared->incarnation_begun = !RecoveryInProgress() &&
		pool->header->run_id == vdb_shared->run_id;
}

/* Has recovery run since the current incarnation, another run's, began? */
static bool
recovered_since(VdbPool *pool, FullTransactionId *limit)
{
	XLogRecPtr	begin = *(volatile const uint64 *) &pool->header->begin_lsn;

	*limit = vdb_shared->run_limit;
	return vdb_ends_first_after(begin, limit) || vdb_shared->recovered;
}

/*
 * Can it be told which rows of the current incarnation happened?  ERROR: it
 * is another run's, and ends of recoveries since it began may be missing.
 * Not with any LWLock held.
 */
void
vdb_incarnation_require_history(VdbPool *pool)
{
	uint64		run_id = *(volatile const uint64 *) &pool->header->run_id;
	XLogRecPtr	begin;

	pg_read_barrier();			/* begin_lsn is stored after run_id */
	begin = *(volatile const uint64 *) &pool->header->begin_lsn;
	if (likely(run_id == vdb_shared->run_id || vdb_ends_reach(begin)) || RecoveryInProgress())
		return;
	vdb_ends_require_written();
	if (vdb_ignore_lost_recoveries)
	{
		(void) vdb_incarnation_current(pool);
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

/* Log and apply the step from the current incarnation to the next. */
static uint32
begin_next(VdbPool *pool)
{
	uint32		ended = pool->header->incarnation;
	uint32		next = ended + 1;
	uint32		start = pool->header->ring_start;
	VdbScmChange *change = vdb_change_open(pool, VDB_CHANGE_FLUSH | VDB_CHANGE_INTERNAL);
	uint64		begin = GetXLogInsertRecPtr();
	FullTransactionId limit;
	uint64		ended_limit;
	bool		recovered = recovered_since(pool, &limit);
	VdbBlock	block;
	uint16		offset;

	if (next - start > VDB_RING_ENTRIES)
		start = next - VDB_RING_ENTRIES;
	ring_place(ended, &block, &offset);
	ended_limit = U64FromFullTransactionId(limit);
	vdb_change_ring(change, block, offset, ended_limit);
	vdb_change_header(change, VDB_PHASE_STORE, offsetof(VdbPoolHeader, ring_start),
					  &start, sizeof(start));
	if (recovered)
		vdb_change_header(change, VDB_PHASE_STORE, offsetof(VdbPoolHeader, recovered),
						  &next, sizeof(next));
	vdb_change_header(change, VDB_PHASE_PUBLISH, offsetof(VdbPoolHeader, incarnation),
					  &next, sizeof(next));
	/* Who sees our run_id sees the new incarnation: see vdb_incarnation_lost. */
	vdb_change_header(change, VDB_PHASE_LAST, offsetof(VdbPoolHeader, run_id),
					  &vdb_shared->run_id, sizeof(uint64));
	vdb_change_header(change, VDB_PHASE_LAST, offsetof(VdbPoolHeader, begin_lsn),
					  &begin, sizeof(begin));
	(void) vdb_scm_change_end(change);
	return next;
}

uint32
vdb_incarnation_current(VdbPool *pool)
{
	VdbPoolShared *shared = pool->shared;

	if (likely(shared->incarnation_begun))
	{
		pg_read_barrier();
		return shared->incarnation;
	}

	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot change the pool during recovery")));
	Assert(!LWLockHeldByMe(pool->alloc_lock));
	vdb_ends_require_written();
	LWLockAcquire(pool->alloc_lock, LW_EXCLUSIVE);
	if (!shared->incarnation_begun)
	{
		vdb_alloc_recount(pool, true);
		VDB_STOP_POINT("epoch-begins");
		shared->incarnation = begin_next(pool);
		VDB_STOP_POINT("epoch-logged");
		pg_write_barrier();
		shared->incarnation_begun = true;
	}
	LWLockRelease(pool->alloc_lock);
	return shared->incarnation;
}

/* See scm.h.  Whatever is stored must be stored under this run's incarnation. */
VdbScmChange *
vdb_scm_change_begin(VdbPool *pool, int flags)
{
	Assert(!RecoveryInProgress());
	Assert((flags & VDB_CHANGE_INTERNAL) == 0);
	if (unlikely(!pool->shared->incarnation_begun))
		(void) vdb_incarnation_current(pool);
	return vdb_change_open(pool, flags);
}

/* See scm.h. */
bool
vdb_incarnation_lost(VdbPool *pool, uint32 incarnation, TransactionId xid)
{
	bool		ours = pool->header->run_id == vdb_shared->run_id;
	FullTransactionId limit;
	uint32		current;
	uint32		start;

	Assert(TransactionIdIsNormal(xid));
	pg_read_barrier();			/* run_id is stored after incarnation */
	current = *(volatile const uint32 *) &pool->header->incarnation;
	if (likely(incarnation >= current))
	{
		/* Not ended.  Ours, or a primary's that we follow: nothing is lost. */
		if (ours || RecoveryInProgress())
			return false;
		if (incarnation > current)
			return true;
		(void) recovered_since(pool, &limit);
		/* begin_lsn is stored after run_id: was it still the old one's? */
		pg_read_barrier();
		if (pool->header->run_id == vdb_shared->run_id)
			return vdb_incarnation_lost(pool, incarnation, xid);
		return TransactionIdFollowsOrEquals(xid, XidFromFullTransactionId(limit));
	}
	pg_read_barrier();
	start = pool->header->ring_start;
	if (incarnation < start)
		incarnation = start;
	if (incarnation >= current)
		return false;
	return TransactionIdFollowsOrEquals(xid, ring_limit(pool, incarnation));
}

bool
vdb_incarnation_survived(VdbPool *pool, uint32 incarnation)
{
	bool		ours = pool->header->run_id == vdb_shared->run_id;
	FullTransactionId limit;

	/* Recovery ran since anything was stored: all is older. */
	if (!ours && !RecoveryInProgress() && recovered_since(pool, &limit) &&
		*(volatile const uint64 *) &pool->header->run_id != vdb_shared->run_id)
		return false;
	pg_read_barrier();
	return incarnation >= *(volatile const uint32 *) &pool->header->recovered;
}
