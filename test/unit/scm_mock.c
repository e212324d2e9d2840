/*
 * scm_mock.c
 *	  See scm_mock.h.
 */
#include "scm_mock.h"

#include <stdio.h>
#include <stdlib.h>

#include "access/transam.h"
#include "unit_shim.h"

#define MAX_SPANS		2048
#define GROUP_BLOCKS	256			/* small, so that changes touch several maps */
#define SECTOR			512

typedef struct Range
{
	VdbBlock	block;
	uint16		offset;
	uint16		len;
	uint8		phase;
	char	   *bytes;				/* owned; NULL: zero */
	char	   *undo;				/* owned; what was there before, or NULL */
} Range;

struct VdbScmChange
{
	VdbPool    *pool;
	int			flags;
	int			nspans;
	Range		spans[MAX_SPANS];
	VdbBlock	blocks[VDB_CHANGE_MAX_BLOCKS + 1];
	int			nblocks;
};

/* A logged record: spans sorted by phase; allocation as spans over state bytes. */
typedef struct Record
{
	int			nspans;
	Range	   *spans;
	bool		logged;
	bool		structural;			/* applied only once it was flushed */
	bool		applied;
	TransactionId xid;				/* next xid when it was logged */
} Record;

/* Allocation maps stand in pseudo blocks behind the others, a byte a block. */
#define STATE_BLOCK(b)	(MOCK_BLOCKS + (b) / GROUP_BLOCKS)
#define STATE_OFFSET(b)	(VDB_POOL_BLOCK_HEADER + (b) % GROUP_BLOCKS)
#define HEADER_BLOCK	(MOCK_BLOCKS + MOCK_BLOCKS / GROUP_BLOCKS)
#define ALL_BLOCKS		(HEADER_BLOCK + 1)
#define ALL_BYTES		((size_t) ALL_BLOCKS * VDB_POOL_BLOCK_BYTES)

struct VdbPool
{
	char	   *memory;
};

static VdbPool primary;
static VdbPool standby;
static VdbPoolShared shared;
static uint8 reserved[MOCK_BLOCKS];
static VdbScmChange workspace;
static Record *wal;
static int64 nwal;
static int64 wal_capacity;
static int64 flushed;			/* records durable */
static int64 replayed;			/* by the standby */
static int64 kept;
static TransactionId limits[10000];
static sigjmp_buf *crash_jump;
static VdbBlock alloc_cursor;

int			mock_blocks_left = -1;
int			mock_changes;
int			mock_crash_at = -1;
void		(*mock_on_read) (void) = NULL;
int			mock_reads_before = 0;
void		(*mock_on_store) (void) = NULL;
int64		mock_reads = 0;
TransactionId mock_next_xid = FirstNormalTransactionId;

static void
fail(const char *what, uint32 number)
{
	fprintf(stderr, "mock: %s (%u)\n", what, number);
	abort();
}

/* Forget the WAL from 'keep' on. */
static void
truncate_wal(int64 keep)
{
	for (int64 i = keep; i < nwal; i++)
	{
		for (int j = 0; j < wal[i].nspans; j++)
		{
			free(wal[i].spans[j].bytes);
			free(wal[i].spans[j].undo);
		}
		free(wal[i].spans);
	}
	nwal = flushed = keep;
}

VdbPool *
mock_create(void)
{
	if (primary.memory == NULL)
	{
		primary.memory = malloc(ALL_BYTES);
		standby.memory = malloc(ALL_BYTES);
	}
	/* free blocks hold rubbish but for their first bytes */
	memset(primary.memory, 0, ALL_BYTES);
	for (size_t i = 0; i < MOCK_BLOCKS; i++)
		memset(primary.memory + i * VDB_POOL_BLOCK_BYTES + VDB_POOL_BLOCK_HEADER, 0xA5,
			   VDB_POOL_BLOCK_PAYLOAD);
	memcpy(standby.memory, primary.memory, ALL_BYTES);
	memset(reserved, 0, sizeof(reserved));
	memset(&shared, 0, sizeof(shared));
	truncate_wal(0);
	replayed = 0;
	shared.epoch = 1;
	mock_next_xid = 1000;
	mock_blocks_left = -1;
	mock_crash_at = -1;
	mock_changes = 0;
	alloc_cursor = 0;
	return &primary;
}

static char *
pointer(VdbPool *pool, VdbBlock block)
{
	if (block >= ALL_BLOCKS)
		fail("no such block", block);
	return pool->memory + (size_t) block * VDB_POOL_BLOCK_BYTES;
}

/* ---- scm.h: reading ---- */

const void *
vdb_pool_block(VdbPool *pool, VdbBlock block)
{
	if (block == VDB_BLOCK_NONE || block >= MOCK_BLOCKS)
		fail("read of a block that doesn't exist", block);
	mock_reads++;
	if (mock_on_read != NULL && mock_reads_before-- <= 0 && shim_locks_held() == 0)
	{
		void		(*other) (void) = mock_on_read;

		mock_on_read = NULL;
		other();
	}
	return pointer(pool, block);
}

VdbPoolShared *
vdb_pool_shared(VdbPool *pool)
{
	return &shared;
}

uint32
vdb_pool_total_blocks(VdbPool *pool)
{
	return MOCK_BLOCKS;
}

VdbBlock
vdb_pool_directory(VdbPool *pool)
{
	return *(VdbBlock *) (pointer(pool, HEADER_BLOCK) + VDB_POOL_BLOCK_HEADER);
}

uint32
vdb_epoch_current(VdbPool *pool)
{
	if (shim_locks_held() > 0)
		fail("epoch asked for under locks", shim_locks_held());
	shared.epoch_begun = true;
	return shared.epoch;
}

bool
vdb_epoch_lost(VdbPool *pool, uint32 epoch, TransactionId xid)
{
	if (epoch > shared.epoch || epoch == 0)
		fail("epoch out of span", epoch);
	return epoch < shared.epoch && xid >= limits[epoch];
}

/* Here, WAL is flushed before a multixact is stored. */
bool
vdb_epoch_lost_multi(VdbPool *pool, uint32 epoch, MultiXactId multi)
{
	return false;
}

/* ---- allocation ---- */

int
mock_state(VdbBlock block)
{
	return (uint8) pointer(&primary, STATE_BLOCK(block))[STATE_OFFSET(block)];
}

int
mock_reserved_count(void)
{
	int			n = 0;

	for (VdbBlock b = 0; b < MOCK_BLOCKS; b++)
		n += reserved[b];
	return n;
}

int
mock_used_count(void)
{
	int			n = 0;

	for (VdbBlock b = 0; b < MOCK_BLOCKS; b++)
		n += mock_state(b) != 0;
	return n;
}

/* Blocks 8 .. are for allocation, in steps, so that neighbors lie in other groups. */
VdbBlock
vdb_scm_reserve_block(VdbPool *pool, bool urgent)
{
	if (mock_blocks_left == 0)
		return VDB_BLOCK_NONE;
	for (int n = 0; n < MOCK_BLOCKS; n++)
	{
		VdbBlock	block;

		alloc_cursor = (alloc_cursor + GROUP_BLOCKS + 1) % MOCK_BLOCKS;
		block = alloc_cursor;
		if (block < 8 || mock_state(block) != 0 || reserved[block])
			continue;
		reserved[block] = 1;
		if (mock_blocks_left > 0)
			mock_blocks_left--;
		return block;
	}
	return VDB_BLOCK_NONE;
}

int
vdb_scm_reserve_segments(VdbPool *pool, int want, bool urgent, VdbBlock *segments)
{
	int			n = 0;

	for (VdbBlock b = 8; b < MOCK_BLOCKS && n < want; b += VDB_SEGMENT_BLOCKS)
	{
		bool		ok = true;

		for (int i = 0; i < VDB_SEGMENT_BLOCKS; i++)
			ok = ok && mock_state(b + i) == 0 && !reserved[b + i];
		if (!ok)
			continue;
		memset(reserved + b, 1, VDB_SEGMENT_BLOCKS);
		segments[n++] = b;
	}
	return n;
}

void
vdb_scm_unreserve_segment(VdbPool *pool, VdbBlock segment)
{
	for (int i = 0; i < VDB_SEGMENT_BLOCKS; i++)
		vdb_scm_unreserve_block(pool, segment + i);
}

void
vdb_scm_unreserve_block(VdbPool *pool, VdbBlock block)
{
	if (!reserved[block])
		fail("unreserve of a block that isn't", block);
	reserved[block] = 0;
}

/* ---- changes ---- */

VdbScmChange *
vdb_scm_change_begin(VdbPool *pool, int flags)
{
	VdbScmChange *change = &workspace;

	if (pool != &primary)
		fail("change of the standby", 0);
	if (!shared.epoch_begun)
		fail("change before the epoch began", 0);
	change->pool = pool;
	change->flags = flags;
	change->nspans = 0;
	change->nblocks = 0;
	return change;
}

static void
add_block(VdbScmChange *change, VdbBlock block)
{
	for (int i = 0; i < change->nblocks; i++)
		if (change->blocks[i] == block)
			return;
	if (change->nblocks == VDB_CHANGE_MAX_BLOCKS)
		elog(ERROR, "a change touches too many blocks");
	change->blocks[change->nblocks++] = block;
}

static void
add_spans(VdbScmChange *change, VdbBlock block, uint16 offset, const void *data,
		  uint16 len, int phase)
{
	Range	   *span = &change->spans[change->nspans];

	if (change->nspans == MAX_SPANS)
		fail("too many spans", MAX_SPANS);
	if (len == 0 || offset < VDB_POOL_BLOCK_HEADER || offset + len > VDB_POOL_BLOCK_BYTES)
		fail("span out of its block", offset);
	if (block == VDB_BLOCK_NONE)
		fail("change of block 0", 0);
	for (int i = 0; i < change->nspans; i++)
	{
		const Range *other = &change->spans[i];

		if (other->block == block && offset < other->offset + other->len &&
			other->offset < offset + len)
			fail("byte written twice", offset);
	}
	add_block(change, block);
	span->block = block;
	span->offset = offset;
	span->len = len;
	span->phase = phase;
	span->bytes = span->undo = NULL;
	if (data != NULL)
	{
		span->bytes = malloc(len);
		memcpy(span->bytes, data, len);
	}
	change->nspans++;
}

static void
check_ownership(VdbBlock block)
{
	if (block >= MOCK_BLOCKS || (mock_state(block) == 0 && !reserved[block]))
		fail("store to a block that is neither used nor reserved", block);
}

void
vdb_scm_change_write(VdbScmChange *change, VdbBlock block, uint16 offset,
					 const void *data, uint16 len)
{
	check_ownership(block);
	add_spans(change, block, offset, data, len, 1);
}

void
vdb_scm_change_zero(VdbScmChange *change, VdbBlock block, uint16 offset, uint16 len)
{
	check_ownership(block);
	add_spans(change, block, offset, NULL, len, 1);
}

void
vdb_scm_change_publish(VdbScmChange *change, VdbBlock block, uint16 offset,
					   const void *data, uint16 len)
{
	check_ownership(block);
	if (len > 8 || (len & (len - 1)) != 0 || offset % len != 0)
		fail("publish isn't an aligned word", offset);
	add_spans(change, block, offset, data, len, 2);
}

void
vdb_scm_change_last(VdbScmChange *change, VdbBlock block, uint16 offset,
					const void *data, uint16 len)
{
	check_ownership(block);
	if (len > 8 || (len & (len - 1)) != 0 || offset % len != 0)
		fail("a last store isn't an aligned word", offset);
	add_spans(change, block, offset, data, len, 3);
}

void
vdb_scm_change_block_lock(VdbScmChange *change, uint32 lock_no)
{
	if (lock_no >= VDB_BLOCK_LOCKS)
		fail("no such block lock", lock_no);
}

/* Changes here list what they like. */
bool
vdb_scm_change_lists(const VdbScmChange *change, uint32 lock_no)
{
	return true;
}

void
vdb_scm_change_conflict(VdbScmChange *change, TransactionId latest_removed)
{
}

static void
set_state(VdbScmChange *change, VdbBlock first, int n, uint8 from, uint8 to, int phase)
{
	if (!(change->flags & VDB_CHANGE_FLUSH))
		fail("allocation in a change that isn't flushed", first);
	for (int i = 0; i < n; i++)
	{
		uint8		state = n == 1 ? 1 : i == 0 ? 2 : 3;
		uint8		new = to ? state : 0;

		if (mock_state(first + i) != (from ? state : 0))
			fail("allocation state isn't as expected", first + i);
		if (to && !reserved[first + i])
			fail("use of a block that isn't reserved", first + i);
		add_spans(change, STATE_BLOCK(first + i), STATE_OFFSET(first + i), &new, 1, phase);
	}
}

void
vdb_scm_change_use_segment(VdbScmChange *change, VdbBlock segment)
{
	set_state(change, segment, VDB_SEGMENT_BLOCKS, 0, 1, 0);
}

void
vdb_scm_change_use_block(VdbScmChange *change, VdbBlock block)
{
	set_state(change, block, 1, 0, 1, 0);
}

void
vdb_scm_change_free_segment(VdbScmChange *change, VdbBlock segment)
{
	set_state(change, segment, VDB_SEGMENT_BLOCKS, 1, 0, 3);
}

void
vdb_scm_change_free_block(VdbScmChange *change, VdbBlock block)
{
	set_state(change, block, 1, 1, 0, 3);
}

void
vdb_scm_change_set_directory(VdbScmChange *change, VdbBlock block)
{
	add_spans(change, HEADER_BLOCK, VDB_POOL_BLOCK_HEADER, &block, sizeof(block), 2);
}

int
vdb_scm_change_nblocks(const VdbScmChange *change)
{
	return change->nblocks;
}

bool
vdb_scm_change_fits(const VdbScmChange *change, VdbBlock block, uint16 len)
{
	return true;
}

static void
apply_spans(VdbPool *pool, const Range *span)
{
	char	   *to = pointer(pool, span->block) + span->offset;

	if (span->bytes)
		memcpy(to, span->bytes, span->len);
	else
		memset(to, 0, span->len);
}

static void
apply_record(VdbPool *pool, const Record *record)
{
	for (int i = 0; i < record->nspans; i++)
		apply_spans(pool, &record->spans[i]);
}

/* Apply a record store by store, those of a phase in any order, with readers in between. */
static void
apply_to_readers(VdbPool *pool, Record *record)
{
	for (int i = 0; i < record->nspans; i++)
	{
		int			n = 1;
		int			other;
		Range		span;

		while (i + n < record->nspans && record->spans[i + n].phase == record->spans[i].phase)
			n++;
		other = i + unit_random_below(n);
		span = record->spans[other];
		record->spans[other] = record->spans[i];
		record->spans[i] = span;
		apply_spans(pool, &span);
		mock_on_store();
	}
}

static void
append_record(const VdbScmChange *change)
{
	Record	   *record;

	if (nwal == wal_capacity)
	{
		wal_capacity = Max(1024, wal_capacity * 2);
		wal = realloc(wal, wal_capacity * sizeof(Record));
	}
	record = &wal[nwal++];
	record->nspans = 0;
	record->spans = malloc(Max(1, change->nspans) * sizeof(Range));
	record->applied = false;
	record->structural = (change->flags & VDB_CHANGE_FLUSH) != 0;
	record->logged = !(change->flags & VDB_CHANGE_UNLOGGED);
	record->xid = mock_next_xid;
	for (int phase = 0; phase < 4; phase++)
		for (int i = 0; i < change->nspans; i++)
			if (change->spans[i].phase == phase)
				record->spans[record->nspans++] = change->spans[i];
}

XLogRecPtr
vdb_scm_change_end(VdbScmChange *change)
{
	append_record(change);
	if (mock_crash_at >= 0 && mock_changes == mock_crash_at)
		siglongjmp(*crash_jump, 1);
	mock_changes++;
	if (change->flags & VDB_CHANGE_FLUSH)
		mock_flush();
	for (int i = 0; flushed < nwal && i < change->nspans; i++)
	{
		Range	   *span = &wal[nwal - 1].spans[i];

		span->undo = malloc(span->len);
		memcpy(span->undo, pointer(change->pool, span->block) + span->offset, span->len);
	}
	if (mock_on_store != NULL)
		apply_to_readers(change->pool, &wal[nwal - 1]);
	else
		apply_record(change->pool, &wal[nwal - 1]);
	wal[nwal - 1].applied = true;
	for (int i = 0; i < change->nspans; i++)
	{
		const Range *span = &change->spans[i];

		if (span->block >= MOCK_BLOCKS && span->block < HEADER_BLOCK && span->phase == 0)
			reserved[(span->block - MOCK_BLOCKS) * GROUP_BLOCKS +
					 span->offset - VDB_POOL_BLOCK_HEADER] = 0;
	}
	return nwal;
}

struct VdbScmBatch
{
	int			n;
	VdbScmChange *changes[1024];
};

VdbScmBatch *
vdb_scm_batch_begin(VdbPool *pool)
{
	return calloc(1, sizeof(VdbScmBatch));
}

/* Keep the change; the spans' bytes go with it. */
void
vdb_scm_batch_add(VdbScmBatch *batch, VdbScmChange *change)
{
	VdbScmChange *copy = malloc(sizeof(VdbScmChange));

	UNIT_CHECK(change->flags & VDB_CHANGE_FLUSH, "a batch is flushed");
	memcpy(copy, change, sizeof(VdbScmChange));
	if (change->nspans == 0)
		free(copy);
	else
		batch->changes[batch->n++] = copy;
}

/* Log all changes and flush them, then apply them; a crash may come before each. */
void
vdb_scm_batch_end(VdbScmBatch *batch)
{
	for (int i = 0; i < batch->n; i++)
	{
		(void) vdb_scm_change_end(batch->changes[i]);
		free(batch->changes[i]);
	}
	free(batch);
}

/* A store without WAL; crashes keep it. */
void
vdb_scm_hint(VdbPool *pool, VdbBlock block, uint16 offset, const void *data, uint16 len)
{
	memcpy(pointer(pool, block) + offset, data, len);
}

void
mock_flush(void)
{
	flushed = nwal;
}

void
mock_note_xid(TransactionId xid)
{
	if (xid >= mock_next_xid)
		mock_next_xid = xid + 1;
}

int64
mock_wal_position(void)
{
	return nwal;
}

int64
mock_wal_flushed(void)
{
	return flushed;
}

int64
mock_wal_kept(void)
{
	return kept;
}

VdbPool *
mock_standby(void)
{
	for (; replayed < flushed; replayed++)
		if (wal[replayed].logged)
			apply_record(&standby, &wal[replayed]);
	return &standby;
}

/* ---- crashes ---- */

/*
 * Let sectors of lost records survive: 'scratch' is memory as it went on
 * after 'keep' records; sectors are taken over from it now and then.
 */
static void
keep_some_sectors(char *image, int64 keep)
{
	VdbPool		scratch = {malloc(ALL_BYTES)};

	memcpy(scratch.memory, image, ALL_BYTES);
	for (int64 i = keep; i < nwal; i++)
	{
		const Record *record = &wal[i];
		int			n = record->structural ? 0 : record->nspans;

		if (i == nwal - 1)
			n = unit_random_below(n + 1);	/* its process died on the way */
		for (int j = 0; j < n; j++)
			apply_spans(&scratch, &record->spans[j]);
		for (int j = 0; j < n; j++)
		{
			size_t		first = (size_t) record->spans[j].block * VDB_POOL_BLOCK_BYTES +
				record->spans[j].offset;
			size_t		end = first + record->spans[j].len;

			for (size_t s = first / SECTOR; s * SECTOR < end; s++)
				if (unit_random_below(2) == 0)
					memcpy(image + s * SECTOR, scratch.memory + s * SECTOR, SECTOR);
		}
	}
	free(scratch.memory);
}

/* Take back the records that weren't flushed, the last first. */
static void
undo_unflushed(void)
{
	for (int64 i = nwal - 1; i >= flushed; i--)
		for (int j = wal[i].nspans - 1; wal[i].applied && j >= 0; j--)
			memcpy(pointer(&primary, wal[i].spans[j].block) + wal[i].spans[j].offset,
				   wal[i].spans[j].undo, wal[i].spans[j].len);
}

void
mock_crash(void)
{
	int64		keep = flushed + unit_random_below(nwal - flushed + 1);
	int64		redo_from = flushed - (int64) unit_random_below(Min(flushed, 20) + 1);

	undo_unflushed();
	for (int64 i = flushed; i < keep; i++)
		apply_record(&primary, &wal[i]);
	keep_some_sectors(primary.memory, keep);
	for (int64 i = redo_from; i < keep; i++)
		if (wal[i].logged)
			apply_record(&primary, &wal[i]);

	kept = keep;
	truncate_wal(keep);
	mock_next_xid = keep > 0 ? wal[keep - 1].xid : 1000;
	limits[shared.epoch] = mock_next_xid;
	shared.epoch++;
	shared.epoch_begun = false;
	memset(reserved, 0, sizeof(reserved));
	shim_forget_locks();
	mock_crash_at = -1;
}

bool
mock_run(void (*body) (void *), void *arg)
{
	sigjmp_buf	jump;
	sigjmp_buf *volatile save = PG_exception_stack;

	crash_jump = &jump;
	if (sigsetjmp(jump, 0) == 0)
	{
		body(arg);
		return false;
	}
	PG_exception_stack = save;
	mock_crash();
	return true;
}
