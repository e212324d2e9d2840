/*
 * rows_mock.c
 *	  What rows_mock.h promises: just enough of the server's functions for
 *	  src/rows to link, and stand-ins for scm/, map/ and pages/.
 */
#include "postgres.h"

#include <setjmp.h>

#include "access/xlog.h"
#include "base/vdb_guc.h"
#include "base/vdb_stop_point.h"
#include "miscadmin.h"
#include "pages/pages.h"
#include "postmaster/autovacuum.h"
#include "replication/walsender.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "rows_mock.h"

VdbPool		mock_pool;
int			mock_locks_held = 0;
int			mock_errcode = 0;
int			mock_hints = 0;
bool		mock_recovery = false;
TransactionId mock_committed = InvalidTransactionId;

/* ---- the server's variables ---- */

VdbShared  *vdb_shared = NULL;
char	   *vdb_stop_point = NULL;
volatile sig_atomic_t InterruptPending = false;
int			MaxConnections = 2;
int			max_worker_processes = 1;
int			autovacuum_max_workers = 1;
int			max_wal_senders = 0;
int			MyProcPid = 4711;

/* Time stands still. */
TimestampTz
GetCurrentTimestamp(void)
{
	return 0;
}

TimestampTz
GetCurrentTransactionStopTimestamp(void)
{
	return 0;
}

bool
IsTransactionState(void)
{
	return true;
}
MemoryContext TopMemoryContext = NULL;

static sigjmp_buf *catcher = NULL;
static void *last_allocated = NULL;
static XactCallback xact_callback;
static SubXactCallback subxact_callback;
static VdbShmemCallback shmem_callback;
static Size shmem_size;

uint32
vdb_scm_limit_mb(void)
{
	return 1024;
}

/* ---- errors ---- */

void
ExceptionalCondition(const char *conditionName, const char *errorType,
					 const char *fileName, int lineNumber)
{
	fprintf(stderr, "assertion failed: %s at %s:%d\n", conditionName, fileName, lineNumber);
	abort();
}

bool
errstart(int elevel, const char *domain)
{
	mock_errcode = ERRCODE_INTERNAL_ERROR;
	return true;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return errstart(elevel, domain);
}

int
errcode(int sqlerrcode)
{
	mock_errcode = sqlerrcode;
	return 0;
}

int
errmsg(const char *fmt,...)
{
	return 0;
}

int
errmsg_internal(const char *fmt,...)
{
	return 0;
}

int
errdetail(const char *fmt,...)
{
	return 0;
}

int
errhint(const char *fmt,...)
{
	return 0;
}

bool
TransactionIdIsInProgress(TransactionId xid)
{
	return false;
}

bool
TransactionIdDidCommit(TransactionId xid)
{
	return xid == mock_committed;
}

void
pfree(void *pointer)
{
	if (pointer == last_allocated)
		last_allocated = NULL;
	free(pointer);
}

void
errfinish(const char *filename, int lineno, const char *funcname)
{
	if (catcher == NULL)
	{
		fprintf(stderr, "unexpected error at %s:%d in %s\n", filename, lineno, funcname);
		abort();
	}
	mock_locks_held = 0;
	siglongjmp(*catcher, 1);
}

bool
mock_try(void (*body) (void))
{
	sigjmp_buf	here;
	bool		ok = false;

	if (sigsetjmp(here, 0) == 0)
	{
		catcher = &here;
		last_allocated = NULL;
		body();
		ok = true;
	}
	else
		free(last_allocated);	/* as the end of a memory context would */
	catcher = NULL;
	return ok;
}

/* ---- memory, locks, callbacks ---- */

void *
palloc(Size size)
{
	return last_allocated = malloc(size);
}

Size
add_size(Size a, Size b)
{
	return a + b;
}

Size
mul_size(Size a, Size b)
{
	return a * b;
}

int
s_lock(volatile slock_t *lock, const char *file, int line, const char *func)
{
	abort();
}

void
ProcessInterrupts(void)
{
}

bool
LWLockAcquire(LWLock *lock, LWLockMode mode)
{
	if (mock_locks_held++ != 0)
		abort();				/* one open-segment lock at a time */
	return true;
}

void
LWLockRelease(LWLock *lock)
{
	if (--mock_locks_held != 0)
		abort();
}

bool
LWLockHeldByMeInMode(LWLock *lock, LWLockMode mode)
{
	return true;
}

bool
RecoveryInProgress(void)
{
	return mock_recovery;
}

void
RegisterXactCallback(XactCallback callback, void *arg)
{
	xact_callback = callback;
}

void
RegisterSubXactCallback(SubXactCallback callback, void *arg)
{
	subxact_callback = callback;
}

void
vdb_shmem_register(const char *name, Size size, bool zeroed, VdbShmemCallback cb)
{
	shmem_size = size;
	shmem_callback = cb;
}

/* Changes here list what they like. */
bool
vdb_scm_change_lists(const VdbScmChange *change, uint32 lock_no)
{
	return true;
}

void
vdb_stop_point_reached(const char *name)
{
}

void
mock_transaction_end(bool commit)
{
	xact_callback(commit ? XACT_EVENT_PRE_COMMIT : XACT_EVENT_ABORT, NULL);
	if (commit)
		xact_callback(XACT_EVENT_COMMIT, NULL);
}

void
mock_subtransaction_abort(void)
{
	subxact_callback(SUBXACT_EVENT_ABORT_SUB, 2, 1, NULL);
}

/* ---- a hash table: a list of entries ---- */

struct HTAB
{
	Size		entry_bytes;
	int			n;
	char	   *entries[4096];
};

HTAB *
hash_create(const char *name, long nelem, const HASHCTL *info, int flags)
{
	HTAB	   *table = calloc(1, sizeof(HTAB));

	table->entry_bytes = info->entrysize;
	return table;
}

void
hash_destroy(HTAB *table)
{
	for (int i = 0; i < table->n; i++)
		free(table->entries[i]);
	free(table);
}

long
hash_get_num_entries(HTAB *table)
{
	return table->n;
}

void *
hash_search(HTAB *table, const void *key, HASHACTION action, bool *found)
{
	for (int i = 0; i < table->n; i++)
	{
		if (memcmp(table->entries[i], key, sizeof(uint32)) == 0)
		{
			if (found)
				*found = true;
			return table->entries[i];
		}
	}
	if (found)
		*found = false;
	if (action == HASH_FIND)
		return NULL;
	table->entries[table->n] = calloc(1, table->entry_bytes);
	memcpy(table->entries[table->n], key, sizeof(uint32));
	return table->entries[table->n++];
}

/* ---- the pool ---- */

typedef struct MockRange
{
	VdbBlock	block;
	uint16		offset;
	uint16		len;
	bool		publish;
	char		data[VDB_POOL_BLOCK_BYTES];
} MockRange;

struct VdbScmChange
{
	int			n;
	int			flags;
	char	   *first_word;			/* NULL: none */
	uint16		first_value;
	int			nblocks;
	VdbBlock	blocks[VDB_CHANGE_MAX_BLOCKS];
	MockRange	ranges[4096];
};

static VdbScmChange the_change;

/* Multixacts are not made here. */
void
vdb_multi_init(void)
{
}

void
mock_start(void)
{
	static void *shmem = NULL;
	static LWLockPadded locks[VDB_OPEN_LOCKS];

	if (vdb_shared == NULL)
	{
		vdb_shared = calloc(1, sizeof(VdbShared));
		vdb_shared->open_locks = locks;
		vdb_shared->block_locks = calloc(VDB_BLOCK_LOCKS, sizeof(LWLockPadded));
		mock_pool.memory = malloc((Size) MOCK_SEGMENTS * VDB_SEGMENT_BYTES);
		vdb_rows_init();
	}
	else
		mock_transaction_end(false);
	memset(mock_pool.memory, 0, (Size) MOCK_SEGMENTS * VDB_SEGMENT_BYTES);
	free(shmem);
	shmem = calloc(1, shmem_size);
	shmem_callback(shmem, false);

	mock_pool.shared.db = 5;
	mock_pool.shared.rnode.relNumber = 77;
	mock_pool.shared.epoch_begun = true;
	mock_pool.shared.epoch = 3;
	mock_pool.free_segments = MOCK_SEGMENTS - 1;
	mock_pool.next_segment = 1;
	mock_pool.nreserved = 0;
	mock_pool.fail_claim = 0;
	mock_pool.next_lb = 0;
	mock_pool.nclaims = 0;
	mock_pool.hold_publish = false;
	memset(mock_pool.lb_segment, 0, sizeof(mock_pool.lb_segment));
	mock_recovery = false;
	mock_hints = 0;
}

char *
mock_bytes(VdbBlock block, uint16 offset)
{
	return mock_pool.memory + (Size) block * VDB_POOL_BLOCK_BYTES + offset;
}

const void *
vdb_pool_block(VdbPool *pool, VdbBlock block)
{
	return mock_bytes(block, 0);
}

VdbPoolShared *
vdb_pool_shared(VdbPool *pool)
{
	return &pool->shared;
}

uint32
vdb_pool_total_blocks(VdbPool *pool)
{
	return MOCK_SEGMENTS * VDB_SEGMENT_BLOCKS;
}

uint32
vdb_epoch_current(VdbPool *pool)
{
	if (mock_locks_held)
		abort();
	return pool->shared.epoch;
}

bool
vdb_epoch_lost(VdbPool *pool, uint32 epoch, TransactionId xid)
{
	return epoch < pool->shared.epoch && xid >= pool->limit_xid[epoch];
}

bool
vdb_epoch_lost_multi(VdbPool *pool, uint32 epoch, MultiXactId multi)
{
	return epoch < pool->shared.epoch && multi >= pool->limit_multi[epoch];
}

int
vdb_scm_reserve_segments(VdbPool *pool, int want, bool urgent, VdbBlock *segments)
{
	int			n = Min(want, pool->free_segments);

	for (int i = 0; i < n; i++)
		segments[i] = pool->next_segment++ * VDB_SEGMENT_BLOCKS;
	pool->free_segments -= n;
	pool->nreserved += n;
	return n;
}

void
vdb_scm_unreserve_segment(VdbPool *pool, VdbBlock segment)
{
	/* nothing, if a claim has put it to use */
	for (VdbLogicalBlock lb = 0; lb < pool->next_lb; lb++)
	{
		if (pool->lb_segment[lb] == segment)
			return;
	}
	pool->nreserved--;
	pool->free_segments++;
}

bool
vdb_pool_is_pmem(VdbPool *pool)
{
	return false;
}

const VdbTableEntry *
vdb_map_table_entry(const VdbTableRef *ref)
{
	static const VdbTableEntry logged_table = {0};

	return &logged_table;
}

VdbScmChange *
vdb_scm_change_begin(VdbPool *pool, int flags)
{
	the_change.n = the_change.nblocks = 0;
	the_change.flags = flags;
	the_change.first_word = NULL;
	return &the_change;
}

bool
vdb_scm_change_is_flushed(const VdbScmChange *change)
{
	return (change->flags & VDB_CHANGE_FLUSH) != 0;
}

void
vdb_scm_change_first(VdbScmChange *change, VdbBlock block, uint16 offset, uint16 word)
{
	if (change->first_word != NULL)
		abort();
	change->first_word = mock_bytes(block, offset);
	change->first_value = word;
}

static void
gather(VdbScmChange *change, VdbBlock block, uint16 offset, const void *data, uint16 len,
	   bool publish)
{
	MockRange  *range = &change->ranges[change->n++];
	int			i;

	if (change->n >= lengthof(change->ranges) || offset < VDB_POOL_BLOCK_HEADER ||
		offset + len > VDB_POOL_BLOCK_BYTES ||
		(publish && (offset % len != 0 || (len != 1 && len != 2 && len != 4 && len != 8))))
		abort();
	range->block = block;
	range->offset = offset;
	range->len = len;
	range->publish = publish;
	if (data)
		memcpy(range->data, data, len);
	else
		memset(range->data, 0, len);
	for (i = 0; i < change->nblocks && change->blocks[i] != block; i++)
		;
	if (i == change->nblocks)
	{
		if (i == VDB_CHANGE_MAX_BLOCKS)
			abort();
		change->blocks[change->nblocks++] = block;
	}
}

void
vdb_scm_change_write(VdbScmChange *change, VdbBlock block, uint16 offset, const void *data,
					 uint16 len)
{
	gather(change, block, offset, data, len, false);
}

void
vdb_scm_change_zero(VdbScmChange *change, VdbBlock block, uint16 offset, uint16 len)
{
	gather(change, block, offset, NULL, len, false);
}

void
vdb_scm_change_publish(VdbScmChange *change, VdbBlock block, uint16 offset, const void *data,
					   uint16 len)
{
	gather(change, block, offset, data, len, true);
}

int
vdb_scm_change_nblocks(const VdbScmChange *change)
{
	return change->nblocks;
}

bool
vdb_scm_change_fits(const VdbScmChange *change, VdbBlock block, uint16 len)
{
	return change->n + 4 < lengthof(change->ranges);
}

XLogRecPtr
vdb_scm_change_end(VdbScmChange *change)
{
	if (change->first_word != NULL)
		memcpy(change->first_word, &change->first_value, sizeof(change->first_value));
	for (int phase = 0; phase <= (mock_pool.hold_publish ? 0 : 1); phase++)
	{
		for (int i = 0; i < change->n; i++)
		{
			const MockRange *range = &change->ranges[i];

			if (range->publish == (phase == 1))
				memcpy(mock_bytes(range->block, range->offset), range->data, range->len);
		}
	}
	return 1;
}

void
vdb_scm_hint(VdbPool *pool, VdbBlock block, uint16 offset, const void *data, uint16 len)
{
	if (mock_recovery)
		abort();
	memcpy(mock_bytes(block, offset), data, len);
	mock_hints++;
}

/* ---- the map: an array ---- */

int
vdb_map_claim(const VdbTableRef *ref, int nsegments, int lbs_per_segment, const VdbBlock *segments,
			  VdbLogicalBlock *first_lbs, VdbFormatSegment format, void *arg)
{
	VdbPool    *pool = ref->pool;
	VdbScmChange *change;
	int			room = VDB_RANGE_LBS - vdb_lb_index(pool->next_lb);
	int			n;

	if (mock_locks_held)
		abort();
	if (pool->fail_claim == 1)
		elog(ERROR, "claim fails");
	if (room < lbs_per_segment)
	{
		pool->next_lb += room;
		room = VDB_RANGE_LBS;
	}
	n = Min(nsegments, room / lbs_per_segment);
	change = vdb_scm_change_begin(pool, VDB_CHANGE_FLUSH);
	for (int i = 0; i < n; i++)
	{
		/* no process may find it in the map while it isn't registered */
		if (!vdb_rows_segment_open(ref, segments[i], 0))
			abort();
		first_lbs[i] = pool->next_lb;
		format(change, segments[i], first_lbs[i], arg);
		for (int j = 0; j < lbs_per_segment; j++)
		{
			pool->lb_segment[pool->next_lb] = segments[i];
			pool->lb_first[pool->next_lb] = first_lbs[i];
			pool->next_lb++;
		}
	}
	vdb_scm_change_end(change);
	pool->nreserved -= n;
	pool->nclaims++;
	if (pool->fail_claim == 2)
		elog(ERROR, "interrupted after the claim");
	return n;
}

void
mock_extent(VdbLogicalBlock lb, VdbExtent *extent)
{
	memset(extent, 0, sizeof(*extent));
	extent->kind = VDB_EXTENT_SEGMENT;
	extent->ref = mock_pool.lb_segment[lb];
	extent->first_lb = mock_pool.lb_first[lb];
}

/* ---- pages: one growing buffer ---- */

static char mock_pages[64 * 1024 * 1024];
static uint32 mock_npages = 1;

/* no free pages here: wide rows always extend */
bool
vdb_map_take_free_pages(const VdbTableRef *ref, uint32 want, bool exact,
						VdbRunRemovable removable, void *arg, VdbFreeRun *taken)
{
	return false;
}

bool
vdb_pages_removable(uint64 freed, void *arg)
{
	return false;
}

struct VdbPageWriter
{
	BlockNumber first;
	uint64		bytes;
};

static VdbPageWriter mock_writer;

VdbPageWriter *
vdb_page_writer_begin_at(Relation rel, BlockNumber first, uint64 total_bytes)
{
	abort();
}

VdbPageWriter *
vdb_page_writer_begin(Relation rel, uint64 total_bytes)
{
	mock_writer.first = mock_npages;
	mock_writer.bytes = 0;
	return &mock_writer;
}

void
vdb_page_writer_for_decoding(VdbPageWriter *writer, bool first)
{
	abort();
}

void
vdb_page_writer_append(VdbPageWriter *writer, const void *data, uint64 len)
{
	uint64		at = (uint64) writer->first * VDB_PAGE_PAYLOAD + writer->bytes;

	if (at + len > sizeof(mock_pages))
		abort();
	memcpy(mock_pages + at, data, len);
	writer->bytes += len;
}

BlockNumber
vdb_page_writer_end(VdbPageWriter *writer, uint32 *npages, XLogRecPtr *lsn)
{
	*npages = vdb_pages_needed(writer->bytes);
	mock_npages += *npages;
	*lsn = 1;
	return writer->first;
}

char *
mock_page_bytes(BlockNumber page)
{
	return mock_pages + (Size) page * VDB_PAGE_PAYLOAD;
}

void
vdb_pages_read(Relation rel, BlockNumber first, uint64 offset, uint64 len, char *dst)
{
	memcpy(dst, mock_pages + (Size) first * VDB_PAGE_PAYLOAD + offset, len);
}
