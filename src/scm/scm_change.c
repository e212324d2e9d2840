/*-------------------------------------------------------------------------
 *
 * scm_change.c
 *	  Logged changes of the pool: gather, log and apply them, and request their sync.
 *
 * A change is a list of byte spans per block.  The bytes are copied when they are given, so the WAL
 * record (where they are packed, see scm_pack.c) and the stores have the same bytes, and nothing
 * can fail between them.  vdb_scm_change_end takes these steps:
 *
 *	1. delay the start of checkpoints (DELAY_CHKPT_START)
 *	2. enter a critical section; insert the record
 *	3. if structural, flush WAL up to its end
 *	4. apply by phase: what hides old bytes, fence, allocations, stores, fence, publishes,
 *	   fence, frees
 *	5. request a sync of the touched files
 *	6. stop delaying
 *	7. remove the reservation marks of the units that are now used or were
 *	   freed (under the allocation lock), and wake the processes that wait for
 *	   space
 *
 * A checkpoint whose redo point lies after the record thus finds the bytes
 * applied and their sync requested.  A crash before step 2 leaves nothing.
 * After a crash between steps 2 and 5 either the record survives, and redo
 * writes the whole change again, or it does not.  In the latter case a
 * structural change left nothing, and a row change may have left bytes that
 * carry only transaction ids whose status is known.
 *
 * Space that the change frees is marked as reserved before step 1, so no
 * process can take it while the change is half applied.  Marks change only
 * under the allocation lock, and states change only while marked.  So a process
 * that holds the lock never sees a unit that is in transit as free.
 *
 * There are two workspaces in each backend: one for callers, and an internal
 * one for growth and epochs, which happen while a caller gathers.  Both live
 * until the backend ends.
 *
 * Locks: the caller holds the locks that guard the bytes.  If units are used or
 * freed, the pool allocation lock is taken before step 1 and in step 7.
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
#include "scm/scm_pack.h"
#include "scm/scm_words.h"

#define CHANGE_BLOCK_FIRST	1024	/* bytes of the first allocation for a block's spans */

static VdbScmChange *workspaces[2] = {NULL, NULL};

/* ---- gathering ---- */

/*
 * Begin a change without checking that this run's epoch has begun.  At most one
 * change per workspace is open at a time; VDB_CHANGE_INTERNAL in 'flags' selects
 * the internal workspace.
 */
VdbScmChange *
vdb_change_open(VdbPool *pool, int flags)
{
	int			which = (flags & VDB_CHANGE_INTERNAL) ? 1 : 0;
	VdbScmChange *change;

	if (workspaces[which] == NULL)
		workspaces[which] = MemoryContextAllocZero(TopMemoryContext, sizeof(VdbScmChange));
	change = workspaces[which];
	change->pool = pool;
	change->flags = flags;
	change->open = true;
	change->nblocks = 0;
	change->last = 0;
	change->nlocks = 0;
	change->latest_removed = InvalidTransactionId;
	change->extend_blocks = 0;
	change->first_block = VDB_BLOCK_NONE;
	change->event_len = 0;
	change->used.n = 0;
	change->freed.n = 0;
	return change;
}

/* Begin to gather for a block.  ERROR if the change touches too many blocks. */
static ChangeBlock *
add_block(VdbScmChange *change, VdbBlock block)
{
	ChangeBlock *entry;

	if (change->nblocks >= VDB_CHANGE_MAX_BLOCKS)
		elog(ERROR, "a change of the pool touches too many blocks");
	entry = &change->blocks[change->nblocks];
	entry->target = vdb_pool_pointer(change->pool, block);
	if (entry->spans == NULL)
	{
		entry->spans = MemoryContextAlloc(TopMemoryContext, CHANGE_BLOCK_FIRST);
		entry->packed = MemoryContextAlloc(TopMemoryContext, VDB_PACK_BOUND(CHANGE_BLOCK_FIRST));
		entry->capacity = CHANGE_BLOCK_FIRST;
	}
	entry->block = block;
	entry->used = 0;
	entry->phases = 0;
	change->last = change->nblocks++;
	return entry;
}

/* Find what was gathered for a block, or NULL. */
static ChangeBlock *
find_block(const VdbScmChange *change, VdbBlock block)
{
	VdbScmChange *unchanged = unconstify(VdbScmChange *, change);

	if (change->nblocks > 0 && change->blocks[change->last].block == block)
		return &unchanged->blocks[change->last];
	for (int i = 0; i < change->nblocks; i++)
	{
		if (change->blocks[i].block == block)
			return &unchanged->blocks[i];
	}
	return NULL;
}

/* Make room for 'len' more bytes of spans and return where they go.  ERROR if they are too many. */
static char *
grow_spans(ChangeBlock *entry, uint32 len)
{
	uint32		capacity = entry->capacity;

	if (entry->used + len > VDB_CHANGE_BLOCK_BYTES)
		elog(ERROR, "a change of the pool is too long for one block");
	while (entry->used + len > capacity)
		capacity *= 2;
	if (capacity != entry->capacity)
	{
		entry->spans = repalloc(entry->spans, capacity);
		entry->packed = repalloc(entry->packed, VDB_PACK_BOUND(capacity));
		entry->capacity = capacity;
	}
	return entry->spans + entry->used;
}

/* Gather one span; if 'data' is NULL, the span is zeros. */
static void
gather(VdbScmChange *change, VdbBlock block, uint16 offset,
	   const void *data, uint16 len, int phase)
{
	ChangeBlock *entry;
	VdbSpanHeader head;
	uint32		need = sizeof(head) + (data ? len : 0);
	char	   *to;

	Assert(change->open);
	Assert(len > 0);
	Assert(offset >= VDB_POOL_BLOCK_HEADER);
	Assert((uint32) offset + len <= VDB_POOL_BLOCK_BYTES);

	entry = find_block(change, block);
	if (entry == NULL)
		entry = add_block(change, block);
	to = grow_spans(entry, need);
	head.address = VDB_SPAN_ADDRESS(offset, phase, data == NULL);
	head.length = len;
	memcpy(to, &head, sizeof(head));
	if (data)
		memcpy(to + sizeof(head), data, len);
	entry->used += need;
	entry->phases |= 1 << phase;
}

/* Raise an error unless the pool has the block. */
static void
check_change_block(const VdbScmChange *change, VdbBlock block)
{
	if (unlikely(block == VDB_BLOCK_NONE ||
				 block / VDB_SEGMENT_BLOCKS >= vdb_pool_total_segments(change->pool)))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("block %u is not in the pool \"%s\"", block, change->pool->path)));
}

void
vdb_scm_change_write(VdbScmChange *change, VdbBlock block, uint16 offset,
					 const void *data, uint16 len)
{
	check_change_block(change, block);
	gather(change, block, offset, data, len, VDB_PHASE_STORE);
}

void
vdb_scm_change_zero(VdbScmChange *change, VdbBlock block, uint16 offset, uint16 len)
{
	check_change_block(change, block);
	gather(change, block, offset, NULL, len, VDB_PHASE_STORE);
}

void
vdb_scm_change_publish(VdbScmChange *change, VdbBlock block, uint16 offset,
					   const void *data, uint16 len)
{
	Assert(len == 1 || len == 2 || len == 4 || len == 8);
	Assert(offset % len == 0);
	check_change_block(change, block);
	gather(change, block, offset, data, len, VDB_PHASE_PUBLISH);
}

void
vdb_scm_change_first(VdbScmChange *change, VdbBlock block, uint16 offset, uint16 word)
{
	Assert(change->open && change->first_block == VDB_BLOCK_NONE);
	Assert(offset >= VDB_POOL_BLOCK_HEADER && offset % sizeof(word) == 0);
	check_change_block(change, block);
	change->first_block = block;
	change->first_offset = offset;
	change->first_word = word;
}

void
vdb_scm_change_last(VdbScmChange *change, VdbBlock block, uint16 offset,
					const void *data, uint16 len)
{
	Assert(len == 1 || len == 2 || len == 4 || len == 8);
	Assert(offset % len == 0);
	check_change_block(change, block);
	gather(change, block, offset, data, len, VDB_PHASE_LAST);
}

/* Gather a write to the pool's header; 'offset' is that in VdbPoolHeader. */
void
vdb_change_header(VdbScmChange *change, int phase, size_t offset,
				  const void *data, uint16 len)
{
	gather(change, 0, VDB_POOL_BLOCK_HEADER + offset, data, len, phase);
}

/* Gather the initial map of a group: all units are free but the group's metadata segment. */
void
vdb_change_format_map(VdbScmChange *change, VdbBlock map_block)
{
	uint64		word = vdb_word_segment();

	gather(change, map_block, VDB_POOL_BLOCK_HEADER, NULL, VDB_POOL_BLOCK_PAYLOAD,
		   VDB_PHASE_STORE);
	gather(change, map_block, VDB_POOL_BLOCK_HEADER + offsetof(VdbGroupMap, state),
		   &word, sizeof(word), VDB_PHASE_STORE);
}

/* Gather a write of one entry of the epoch ring. */
void
vdb_change_ring(VdbScmChange *change, VdbBlock block, uint16 offset, const VdbEpochLimits *limits)
{
	gather(change, block, offset, limits, sizeof(*limits), VDB_PHASE_STORE);
}

/* Have redo make the pool's files at least 'nblocks' blocks long before it applies the change. */
void
vdb_change_extend(VdbScmChange *change, uint32 nblocks)
{
	change->extend_blocks = nblocks;
}

void
vdb_scm_change_event(VdbScmChange *change, const char *data, uint32 len)
{
	Assert(change->open && change->event_len == 0);
	change->event = data;
	change->event_len = len;
}

void
vdb_scm_change_block_lock(VdbScmChange *change, uint32 lock_no)
{
	int			at = change->nlocks;

	Assert(change->open);
	Assert(lock_no < VDB_BLOCK_LOCKS);
	for (int i = 0; i < change->nlocks; i++)
	{
		if (change->locks[i] == lock_no)
			return;
	}
	Assert(at < VDB_BLOCK_LOCKS);
	while (at > 0 && change->locks[at - 1] > lock_no)
	{
		change->locks[at] = change->locks[at - 1];
		at--;
	}
	change->locks[at] = (uint16) lock_no;
	change->nlocks++;
}

bool
vdb_scm_change_is_flushed(const VdbScmChange *change)
{
	return (change->flags & VDB_CHANGE_FLUSH) != 0;
}

bool
vdb_scm_change_lists(const VdbScmChange *change, uint32 lock_no)
{
	for (int i = 0; i < change->nlocks; i++)
		if (change->locks[i] == lock_no)
			return true;
	return false;
}

void
vdb_scm_change_conflict(VdbScmChange *change, TransactionId latest_removed)
{
	Assert(change->open);
	if (!TransactionIdIsValid(latest_removed))
		return;
	if (!TransactionIdIsValid(change->latest_removed) ||
		TransactionIdFollows(latest_removed, change->latest_removed))
		change->latest_removed = latest_removed;
}

int
vdb_scm_change_nblocks(const VdbScmChange *change)
{
	return change->nblocks;
}

bool
vdb_scm_change_fits(const VdbScmChange *change, VdbBlock block, uint16 len)
{
	const ChangeBlock *entry = find_block(change, block);
	uint32		need = sizeof(VdbSpanHeader) + len;

	if (entry == NULL)
		return change->nblocks < VDB_CHANGE_MAX_BLOCKS;
	return entry->used + need <= VDB_CHANGE_BLOCK_BYTES;
}

/* ---- allocation as part of a change ---- */

/* Append a unit to the list. */
static void
remember_space(SpaceList *list, VdbPoolSpace space)
{
	if (list->spaces == NULL)
	{
		list->capacity = 64;
		list->spaces = MemoryContextAlloc(TopMemoryContext,
										  list->capacity * sizeof(VdbPoolSpace));
	}
	else if (list->n == list->capacity)
	{
		list->spaces = repalloc(list->spaces, 2 * list->capacity * sizeof(VdbPoolSpace));
		list->capacity *= 2;
	}
	list->spaces[list->n++] = space;
}

/* Gather the write of a unit's state. */
static void
gather_state(VdbScmChange *change, VdbPoolSpace space, uint64 state, int phase)
{
	uint32		segment_no = space.block / VDB_SEGMENT_BLOCKS;
	uint32		index = segment_no % VDB_GROUP_SEGMENTS;
	uint16		offset = VDB_POOL_BLOCK_HEADER + offsetof(VdbGroupMap, state) + index * 8;
	uint8		first = vdb_word_byte(state, 0);

	Assert(!(change->flags & VDB_CHANGE_UNLOGGED));
	Assert(index != 0);			/* metadata is never allocated */
	check_change_block(change, space.block);
	if (space.segment)
		gather(change, vdb_group_map_block(segment_no), offset, &state, 8, phase);
	else
		gather(change, vdb_group_map_block(segment_no),
			   offset + space.block % VDB_SEGMENT_BLOCKS, &first, 1, phase);
}

void
vdb_scm_change_use_segment(VdbScmChange *change, VdbBlock segment)
{
	VdbPoolSpace space = {segment, true};

	Assert(segment % VDB_SEGMENT_BLOCKS == 0);
	gather_state(change, space, vdb_word_segment(), VDB_PHASE_USE);
	remember_space(&change->used, space);
}

void
vdb_scm_change_use_block(VdbScmChange *change, VdbBlock block)
{
	VdbPoolSpace space = {block, false};

	gather_state(change, space, vdb_word_make(VDB_STATE_BLOCK, 0), VDB_PHASE_USE);
	remember_space(&change->used, space);
}

void
vdb_scm_change_free_segment(VdbScmChange *change, VdbBlock segment)
{
	VdbPoolSpace space = {segment, true};

	Assert(segment % VDB_SEGMENT_BLOCKS == 0);
	gather_state(change, space, 0, VDB_PHASE_LAST);
	remember_space(&change->freed, space);
}

void
vdb_scm_change_free_block(VdbScmChange *change, VdbBlock block)
{
	VdbPoolSpace space = {block, false};

	gather_state(change, space, 0, VDB_PHASE_LAST);
	remember_space(&change->freed, space);
}

/* See scm_internal.h. */
void
vdb_change_refer(VdbScmChange *change, VdbBlock block)
{
	Assert(change->open && find_block(change, block) == NULL);
	check_change_block(change, block);
	(void) add_block(change, block);
}

/* See scm_internal.h. */
void
vdb_change_segment_state(VdbScmChange *change, VdbBlock segment, uint64 state)
{
	gather_state(change, vdb_pool_space(segment, true), state, VDB_PHASE_LAST);
}

void
vdb_scm_change_set_directory(VdbScmChange *change, VdbBlock block)
{
	vdb_change_header(change, VDB_PHASE_PUBLISH, offsetof(VdbPoolHeader, directory),
					  &block, sizeof(block));
}

/* ---- log and apply ---- */

/* Build the record's main data, but for the event. */
void
vdb_change_build(VdbScmChange *change)
{
	VdbChangeRecord head;
	char	   *to = change->main_data;

	head.version = VDB_RECORD_VERSION;
	head.flags = (change->flags & VDB_CHANGE_FLUSH) ? VDB_RECORD_FLUSH : 0;
	if (change->extend_blocks > 0)
		head.flags |= VDB_RECORD_EXTEND;
	if (change->flags & VDB_CHANGE_RELEASE)
		head.flags |= VDB_RECORD_RELEASE;
	if (change->flags & VDB_CHANGE_BACK)
		head.flags |= VDB_RECORD_BACK;
	if (change->event_len > 0)
		head.flags |= VDB_RECORD_EVENT;
	if (TransactionIdIsValid(change->latest_removed))
		head.flags |= VDB_RECORD_CONFLICT;
	head.nlocks = (uint16) change->nlocks;
	memcpy(to, &head, sizeof(head));
	to += sizeof(head);
	if (head.flags & VDB_RECORD_CONFLICT)
	{
		memcpy(to, &change->latest_removed, sizeof(TransactionId));
		to += sizeof(TransactionId);
	}
	memcpy(to, change->locks, change->nlocks * sizeof(uint16));
	to += change->nlocks * sizeof(uint16);
	if (change->extend_blocks > 0)
	{
		memcpy(to, &change->extend_blocks, sizeof(uint32));
		to += sizeof(uint32);
	}
	change->main_len = to - change->main_data;
}

static bool packed_well(const ChangeBlock *entry) pg_attribute_unused();

/* Check that the packed record unpacks to the bytes about to be stored. */
static bool
packed_well(const ChangeBlock *entry)
{
	static char unpacked[VDB_CHANGE_BLOCK_BYTES];
	size_t		used;

	return vdb_spans_unpack(entry->packed, entry->packed_bytes, unpacked, sizeof(unpacked),
							&used) &&
		used == entry->used && memcmp(unpacked, entry->spans, used) == 0;
}

/* Pack the spans of each block for the record. */
void
vdb_change_pack(VdbScmChange *change)
{
	for (int i = 0; i < change->nblocks; i++)
	{
		ChangeBlock *entry = &change->blocks[i];

		entry->packed_bytes = (uint32) vdb_spans_pack(entry->spans, entry->used, entry->packed);
		Assert(packed_well(entry));
	}
}

/* Insert the record and return its end.  Must be called in the critical section. */
XLogRecPtr
vdb_change_insert(VdbScmChange *change)
{
	XLogBeginInsert();
	XLogRegisterData(change->main_data, change->main_len);
	if (change->event_len > 0)
	{
		XLogRegisterData(unconstify(char *, change->event), change->event_len);
		XLogSetRecordFlags(XLOG_INCLUDE_ORIGIN);
	}
	for (int i = 0; i < change->nblocks; i++)
	{
		ChangeBlock *entry = &change->blocks[i];

		/* REGBUF_WILL_INIT: no image is logged, and recovery doesn't prefetch the block. */
		XLogRegisterBlock(i, &change->pool->rnode, MAIN_FORKNUM, entry->block,
						  NULL, REGBUF_WILL_INIT);
		if (entry->packed_bytes > 0)
			XLogRegisterBufData(i, entry->packed, entry->packed_bytes);
	}
	return XLogInsert(VDB_RMGR_ID,
					  (change->flags & VDB_CHANGE_FLUSH) ? VDB_XLOG_STRUCTURE : VDB_XLOG_CHANGE);
}

/* Apply the spans of one phase.  Returns whether there were any. */
static bool
apply_phase(VdbScmChange *change, int phase)
{
	bool		any = false;

	for (int i = 0; i < change->nblocks; i++)
	{
		ChangeBlock *entry = &change->blocks[i];

		if (!(entry->phases & (1 << phase)))
			continue;
		vdb_spans_apply(change->pool->is_pmem, entry->block, entry->target,
						entry->spans, entry->used, phase);
		any = true;
	}
	return any;
}

/* Store the word that comes before all else, if there is one. */
static void
apply_first(VdbScmChange *change)
{
	bool		pmem = change->pool->is_pmem;

	if (change->first_block == VDB_BLOCK_NONE)
		return;
	vdb_persist->store(pmem, change->first_block, change->first_offset,
					   vdb_pool_pointer(change->pool, change->first_block) + change->first_offset,
					   &change->first_word, sizeof(change->first_word));
	vdb_persist->fence(pmem);
}

/* Apply all phases.  Must be called in the critical section. */
void
vdb_change_apply(VdbScmChange *change)
{
	bool		pmem = change->pool->is_pmem;

	apply_first(change);
	apply_phase(change, VDB_PHASE_USE);
	apply_phase(change, VDB_PHASE_STORE);
	VDB_STOP_POINT("change-half-applied");
	vdb_persist->fence(pmem);
	if (apply_phase(change, VDB_PHASE_PUBLISH))
		vdb_persist->fence(pmem);
	VDB_STOP_POINT("change-published");
	if (apply_phase(change, VDB_PHASE_LAST))
		vdb_persist->fence(pmem);
}

/*
 * Request a sync of the touched files by the next checkpoint.  Returns the
 * number of files for which the queue was full, and sets 'failed' to their
 * numbers; the caller must sync those itself.
 */
int
vdb_change_request_syncs(VdbScmChange *change, uint32 *failed)
{
	VdbPool    *pool = change->pool;
	uint32		previous = PG_UINT32_MAX;
	int			nfailed = 0;

	for (int i = 0; i < change->nblocks; i++)
	{
		uint32		file = change->blocks[i].block / VDB_FILE_BLOCKS;
		XLogRecPtr	before = pool->counted_redo[file];

		if (file == previous)
			continue;
		previous = file;
		if (!vdb_sync_try(&pool->rnode, file, &pool->counted_redo[file]))
			failed[nfailed++] = file;
		else if (pool->shared && before != pool->counted_redo[file])
			pg_atomic_fetch_add_u64(&pool->shared->counters.sync_requests, 1);
	}
	return nfailed;
}

/*
 * Take steps 2 to 5 of vdb_scm_change_end.  Files for which no sync could be requested are returned
 * in 'failed', as a sync needs more than a critical section allows.
 */
static XLogRecPtr
log_and_apply(VdbScmChange *change, uint32 *failed, int *nfailed)
{
	XLogRecPtr	lsn = InvalidXLogRecPtr;

	START_CRIT_SECTION();
	if (!(change->flags & VDB_CHANGE_UNLOGGED))
	{
		lsn = vdb_change_insert(change);
		VDB_STOP_POINT("change-after-wal");
		if (change->flags & VDB_CHANGE_FLUSH)
			XLogFlush(lsn);
		VDB_STOP_POINT("change-flushed");
	}
	vdb_change_apply(change);
	VDB_STOP_POINT("change-applied");
	*nfailed = vdb_change_request_syncs(change, failed);
	VDB_STOP_POINT("change-synced");
	END_CRIT_SECTION();
	return lsn;
}

/*
 * Count the change under each block lock that it lists, so that other code can see whether anything
 * changed under a block lock.  The caller holds the locks listed.
 */
void
vdb_change_count_locks(const VdbScmChange *change)
{
	for (int i = 0; i < change->nlocks; i++)
		vdb_increment_counter(&vdb_shared->block_changes[change->locks[i]]);
}

/* Count the change, and its flush of WAL, in the pool's statistics. */
static void
count_change(VdbScmChange *change)
{
	VdbPoolShared *shared = change->pool->shared;

	if (shared == NULL)
		return;
	vdb_increment_counter(&shared->counters.changes);
	if (change->flags & VDB_CHANGE_FLUSH)
		vdb_increment_counter(&shared->counters.flushes);
}

XLogRecPtr
vdb_scm_change_end(VdbScmChange *change)
{
	uint32		failed[VDB_CHANGE_MAX_BLOCKS];
	int			nfailed = 0;
	XLogRecPtr	lsn;

	Assert(change->open);
	Assert(CritSectionCount == 0);
	Assert(!RecoveryInProgress());
	Assert(LocalTransactionIdIsValid(vdb_my_lxid()));
	Assert((MyProc->delayChkptFlags & DELAY_CHKPT_START) == 0);

	change->open = false;
	if (change->nblocks == 0)
		return InvalidXLogRecPtr;
	XLogEnsureRecordSpace(change->nblocks - 1, change->nblocks + 2);
	vdb_change_build(change);
	if (!(change->flags & VDB_CHANGE_UNLOGGED))
		vdb_change_pack(change);
	VDB_STOP_POINT("change-before-wal");

	HOLD_INTERRUPTS();
	if (change->freed.n > 0)
		vdb_alloc_hold(change->pool, change->freed.spaces, change->freed.n);
	MyProc->delayChkptFlags |= DELAY_CHKPT_START;
	lsn = log_and_apply(change, failed, &nfailed);
	for (int i = 0; i < nfailed; i++)
		vdb_sync_now(&change->pool->rnode, failed[i]);
	MyProc->delayChkptFlags &= ~DELAY_CHKPT_START;
	if (change->used.n > 0)
		vdb_alloc_finish(change->pool, change->used.spaces, change->used.n);
	if (change->freed.n > 0)
		vdb_alloc_release(change->pool, change->freed.spaces, change->freed.n);
	RESUME_INTERRUPTS();
	vdb_change_count_locks(change);
	count_change(change);
	return lsn;
}

void
vdb_scm_hint(VdbPool *pool, VdbBlock block, uint16 offset, const void *data, uint16 len)
{
	Assert(len == 1 || len == 2 || len == 4 || len == 8);
	Assert(offset % len == 0);
	Assert(offset >= VDB_POOL_BLOCK_HEADER);
	Assert((uint32) offset + len <= VDB_POOL_BLOCK_BYTES);
	Assert(block / VDB_SEGMENT_BLOCKS < vdb_pool_total_segments(pool));

	vdb_persist->store(false, block, offset, vdb_pool_pointer(pool, block) + offset,
					   data, len);
}
