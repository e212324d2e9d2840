/*-------------------------------------------------------------------------
 *
 * scm_persist.c
 *	  Store to pool memory.  This is the only caller of libpmem.
 *
 * On persistent memory a store is followed by cache line flushes, and a fence is a drain.  On an
 * ordinary mapping (the emulation) nothing is flushed, because the kernel writes pages back when
 * the checkpointer syncs the file.  There a fence only orders the stores for other processes.
 *
 * Bytes are copied by the C library.  libpmem's own copies use the widest registers of the
 * processor.  On many processors this lowers the core's clock for some milliseconds, and so slows
 * down all other work that the core does for small transactions.  Only long copies to persistent
 * memory benefit from libpmem's streaming stores.
 *
 * Naturally aligned stores of 1, 2, 4 and 8 bytes are single machine stores: neither a reader nor a
 * crash sees half of one.
 *
 * For crash tests, the environment variable VDB_SCM_RECORD names a file.  The recording routines
 * append each store, fence and sync request to it, in order.  Each event is written by one writev()
 * with O_APPEND, so events of several processes are not mixed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <libpmem.h>
#include <sys/uio.h>
#include <unistd.h>

#include "access/xlog.h"
#include "miscadmin.h"
#include "port/atomics.h"

#include "scm/scm_persist.h"

StaticAssertDecl(sizeof(VdbPersistEvent) == 32, "event layout");

/* Copies of at least this many bytes to persistent memory bypass the caches. */
#define STREAM_BYTES		2048

/* File of recorded events, or -1. */
static int	record_fd = -1;

/* Do a single machine store if length and alignment allow it.  Returns false if they do not. */
static bool
store_small(char *target, const void *bytes, uint16 len)
{
	if (((uintptr_t) target & (len - 1)) != 0)
		return false;
	switch (len)
	{
		case 1:
			*(volatile uint8 *) target = *(const uint8 *) bytes;
			return true;
		case 2:
			{
				uint16		value;

				memcpy(&value, bytes, sizeof(value));
				*(volatile uint16 *) target = value;
				return true;
			}
		case 4:
			{
				uint32		value;

				memcpy(&value, bytes, sizeof(value));
				*(volatile uint32 *) target = value;
				return true;
			}
		case 8:
			{
				uint64		value;

				memcpy(&value, bytes, sizeof(value));
				*(volatile uint64 *) target = value;
				return true;
			}
		default:
			return false;
	}
}

static void
plain_store(bool pmem, VdbBlock block, uint16 offset,
			char *target, const void *bytes, uint16 len)
{
	if (len <= 8 && store_small(target, bytes, len))
	{
		if (pmem)
			pmem_flush(target, len);
	}
	else if (pmem && len >= STREAM_BYTES)
		pmem_memcpy(target, bytes, len, PMEM_F_MEM_NODRAIN);
	else
	{
		memcpy(target, bytes, len);
		if (pmem)
			pmem_flush(target, len);
	}
}

static void
plain_zero(bool pmem, VdbBlock block, uint16 offset, char *target, uint16 len)
{
	static const uint64 nothing = 0;

	if (len <= 8 && store_small(target, &nothing, len))
	{
		if (pmem)
			pmem_flush(target, len);
	}
	else if (pmem && len >= STREAM_BYTES)
		pmem_memset(target, 0, len, PMEM_F_MEM_NODRAIN);
	else
	{
		memset(target, 0, len);
		if (pmem)
			pmem_flush(target, len);
	}
}

static void
plain_fence(bool pmem)
{
	if (pmem)
		pmem_drain();
	pg_write_barrier();
}

/* Do nothing: only the recording routines note sync requests. */
static void
plain_requested(VdbBlock first_block)
{
}

/* ---- recording ---- */

/* Append an event to the file.  If that fails, recording ends. */
static void
record(uint32 kind, VdbBlock block, uint16 offset, const void *bytes, uint16 len)
{
	VdbPersistEvent event = {kind, (uint32) getpid(), block, offset, len, 0, 0};
	struct iovec parts[2];
	ssize_t		want = sizeof(event) + (bytes ? len : 0);

	if (record_fd < 0)
		return;
	if (!RecoveryInProgress())
	{
		event.flushed = GetFlushRecPtr(NULL);
		event.inserted = GetXLogInsertRecPtr();
	}
	parts[0].iov_base = &event;
	parts[0].iov_len = sizeof(event);
	parts[1].iov_base = unconstify(void *, bytes);
	parts[1].iov_len = bytes ? len : 0;
	if (writev(record_fd, parts, 2) != want)
	{
		write_stderr("vdb_am: could not record a store, recording ends\n");
		record_fd = -1;
	}
}

static void
recording_store(bool pmem, VdbBlock block, uint16 offset,
				char *target, const void *bytes, uint16 len)
{
	record(VDB_EVENT_STORE, block, offset, bytes, len);
	plain_store(pmem, block, offset, target, bytes, len);
}

static void
recording_zero(bool pmem, VdbBlock block, uint16 offset, char *target, uint16 len)
{
	record(VDB_EVENT_ZERO, block, offset, NULL, len);
	plain_zero(pmem, block, offset, target, len);
}

static void
recording_fence(bool pmem)
{
	record(VDB_EVENT_FENCE, 0, 0, NULL, 0);
	plain_fence(pmem);
}

static void
recording_requested(VdbBlock first_block)
{
	record(VDB_EVENT_REQUEST, first_block, 0, NULL, 0);
}

static const VdbPersist plain_backend = {
	.store = plain_store,
	.zero = plain_zero,
	.fence = plain_fence,
	.requested = plain_requested,
};

static const VdbPersist recording_backend = {
	.store = recording_store,
	.zero = recording_zero,
	.fence = recording_fence,
	.requested = recording_requested,
};

const VdbPersist *vdb_persist = &plain_backend;

/* See scm_persist.h. */
bool
vdb_persist_is_pmem(const void *address, size_t len)
{
	return pmem_is_pmem(address, len) != 0;
}

/* See scm_persist.h.  The recording routines are used if VDB_SCM_RECORD is set. */
void
vdb_persist_init(void)
{
	const char *path = getenv("VDB_SCM_RECORD");

	if (path == NULL || path[0] == '\0')
		return;
	record_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (record_fd < 0)
	{
		ereport(WARNING,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\": %m", path)));
		return;
	}
	vdb_persist = &recording_backend;
}
