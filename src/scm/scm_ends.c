/*-------------------------------------------------------------------------
 *
 * scm_ends.c
 *	  The ends of this cluster's recoveries: their positions in WAL and next ids.
 *
 * If a pool keeps bytes whose WAL was lost, that WAL was lost before a recovery
 * ended.  A run of the server that stores nothing into a pool leaves no trace
 * in it, but hands out the lost ids again.  So each recovery notes its end for
 * the whole cluster, before any process can get an id, in the file vdb_am.ends
 * of the data directory (base backups and pg_rewind copy it).  A pool's header
 * has the position in WAL at which its current epoch began.  The first end past
 * that position gives the limit of the epoch's surviving ids.
 *
 * If there is nothing to redo, the server does not call us when recovery ends.
 * So a server that was not shut down notes a preliminary end when it starts,
 * the checkpoint that it starts from; rm_cleanup replaces it.  The LSN of a
 * preliminary end is odd, which no record's is.
 *
 * If the server died or was stopped in recovery, the next recovery may end
 * later.  The control file shows that this happened.  Then a preliminary end is
 * removed at the next start.  An end that was noted is removed when the next
 * one is noted, if it lies past the checkpoint at which recovery begins.
 *
 * The file (scm_format.h) has its full size from the first start on and is
 * overwritten in place, one copy after the other, so that it can be written
 * when the disk is full (as with pg_control).  No fault of the file may keep
 * the server from starting:
 *
 * - If one copy is damaged, the other one is used.
 * - If the file is missing or damaged, its content is lost, and the file begins
 *	 anew.  Its field 'known_since' says since when it has all ends; pools whose
 *	 current epoch is older are refused (vdb_epoch_require_history).
 * - If the file is unreadable or of another version, the same holds for this
 *	 run, but the file is kept as it is, and no epoch begins.
 * - If the file can't be written, it is removed.  Otherwise an end that it lacks
 *	 would make rows of lost transactions visible, and a preliminary end that
 *	 did not come true would hide rows that are there.  The launcher tries to
 *	 write it again every second, and so does a process that begins an epoch;
 *	 the latter fails without the file.
 *
 * Locks: none for reading.  The ends are changed by the postmaster and the
 * startup process while no other process reads them.  Later on they are only
 * written to the file, under ends_lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "catalog/pg_control.h"
#include "storage/fd.h"

#include "base/vdb_crc.h"
#include "scm/scm_internal.h"

/* What was wrong with the file when the server started. */
typedef enum EndsFault
{
	ENDS_INTACT,
	ENDS_MISSING,
	ENDS_DAMAGED,
	ENDS_UNREADABLE,
	ENDS_OTHER_VERSION
} EndsFault;

/* In shared memory: the newest copy, as read or to be written, and the state of this run. */
typedef struct VdbEnds
{
	VdbEndsCopy copy;
	EndsFault	fault;				/* of the file at this start */
	int			fault_detail;		/* errno, or the file's version */
	bool		unwritten;			/* the file lacks what is in 'copy' */
	bool		preliminary;		/* the last end is preliminary and was added by this run */
	bool		died_in_recovery;	/* the previous run ended in recovery */
	uint64		redo;				/* LSN at which this run's recovery begins */
} VdbEnds;

static VdbEnds *shared_ends = NULL;

/* ---- the file ---- */

static uint32
copy_crc(const VdbEndsCopy *copy)
{
	return vdb_crc32c((const char *) copy + VDB_ENDS_CRC_FROM,
					  sizeof(VdbEndsCopy) - VDB_ENDS_CRC_FROM);
}

static bool
copy_is_good(const VdbEndsCopy *copy)
{
	return memcmp(copy->head.magic, VDB_ENDS_MAGIC, sizeof(copy->head.magic)) == 0 &&
		copy->head.version == VDB_ENDS_VERSION &&
		copy->head.count <= VDB_ENDS_MAX &&
		copy->head.crc == copy_crc(copy);
}

/*
 * Set 'ends' from the newer intact copy, or note the fault if there is none.  'copies' has the
 * 'bytes' bytes that were read from the file, and zeros after them.
 */
static void
choose_copy(VdbEnds *ends, const VdbEndsCopy *copies, size_t bytes)
{
	const VdbEndsHeader *head = &copies[0].head;
	bool		good[VDB_ENDS_COPIES];
	int			best = -1;

	for (int i = 0; i < VDB_ENDS_COPIES; i++)
	{
		good[i] = bytes >= (i + 1) * sizeof(VdbEndsCopy) && copy_is_good(&copies[i]);
		if (good[i] && (best < 0 || copies[i].head.sequence > copies[best].head.sequence))
			best = i;
	}
	if (best >= 0)
	{
		memcpy(&ends->copy, &copies[best], sizeof(VdbEndsCopy));
		if (!good[0] || !good[1])
			ereport(LOG,
					(errmsg("one of the two copies in file \"%s\" is damaged; the other one is used",
							VDB_ENDS_FILE)));
		ends->unwritten = !good[0] || !good[1];
		return;
	}
	ends->fault = ENDS_DAMAGED;
	if (memcmp(head->magic, VDB_ENDS_MAGIC, sizeof(head->magic)) == 0 &&
		head->version != VDB_ENDS_VERSION)
	{
		ends->fault = ENDS_OTHER_VERSION;
		ends->fault_detail = head->version;
	}
}

/* Read the file into 'ends', or note its fault. */
static void
read_ends(VdbEnds *ends)
{
	VdbEndsCopy *copies = palloc0(VDB_ENDS_COPIES * sizeof(VdbEndsCopy));
	int			fd = OpenTransientFile(VDB_ENDS_FILE, O_RDONLY | PG_BINARY);
	ssize_t		got = -1;

	if (fd >= 0)
		got = read(fd, copies, VDB_ENDS_COPIES * sizeof(VdbEndsCopy));
	if (got < 0)
	{
		ends->fault = errno == ENOENT ? ENDS_MISSING : ENDS_UNREADABLE;
		ends->fault_detail = errno;
	}
	else
		choose_copy(ends, copies, got);
	if (fd >= 0)
		(void) CloseTransientFile(fd);
	pfree(copies);
}

/* Check whether the file must be neither overwritten nor removed. */
static inline bool
file_is_kept(void)
{
	return shared_ends->fault == ENDS_UNREADABLE || shared_ends->fault == ENDS_OTHER_VERSION;
}

/*
 * Write both copies to the file, each made durable before the next is begun.  Returns false and
 * sets errno on failure.
 */
static bool
write_copies(const VdbEndsCopy *copy)
{
	int			fd = OpenTransientFile(VDB_ENDS_FILE, O_RDWR | O_CREAT | PG_BINARY);
	bool		done = fd >= 0;
	int			save_errno;

	for (int i = 0; done && i < VDB_ENDS_COPIES; i++)
	{
		errno = 0;
		done = pg_pwrite(fd, copy, sizeof(*copy), i * sizeof(*copy)) == sizeof(*copy) &&
			pg_fsync(fd) == 0;
		if (!done && errno == 0)
			errno = ENOSPC;
	}
	/* the file may be new */
	done = done && fsync_fname_ext(".", true, false, LOG) == 0;
	save_errno = errno;
	if (fd >= 0)
		(void) CloseTransientFile(fd);
	errno = save_errno;
	return done;
}

/*
 * Write what is in shared memory to the file and make it durable.  On failure
 * removes the file, if that is possible, returns false and sets errno.  Does
 * nothing if the file must be kept.
 */
static bool
write_ends(void)
{
	VdbEndsHeader *head = &shared_ends->copy.head;
	int			save_errno;

	if (file_is_kept())
		return true;
	memcpy(head->magic, VDB_ENDS_MAGIC, sizeof(head->magic));
	head->version = VDB_ENDS_VERSION;
	head->sequence++;
	head->crc = copy_crc(&shared_ends->copy);
	shared_ends->unwritten = !write_copies(&shared_ends->copy);
	if (!shared_ends->unwritten)
		return true;
	save_errno = errno;
	if (unlink(VDB_ENDS_FILE) == 0)
		(void) fsync_fname_ext(".", true, false, LOG);
	errno = save_errno;
	return false;
}

/* Write the file as write_ends does, and log a failure.  For the start of the server. */
static void
write_or_log(void)
{
	if (!write_ends())
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", VDB_ENDS_FILE),
				 errdetail("It tells which rows of vdb tables outlived the loss of their WAL."),
				 errhint("The server tries again every second; vdb tables that were not written to since its start cannot be until then.")));
}

/* ---- keeping it ---- */

/* Append an end in shared memory.  If there is no room, drop the oldest and raise known_since. */
static void
add_end(XLogRecPtr lsn, VdbEpochLimits next)
{
	VdbEndsCopy *copy = &shared_ends->copy;
	VdbEnd	   *end;

	if (copy->head.count == VDB_ENDS_MAX)
	{
		copy->head.known_since = Max(copy->head.known_since, copy->ends[0].lsn);
		copy->head.count--;
		memmove(&copy->ends[0], &copy->ends[1], copy->head.count * sizeof(VdbEnd));
	}
	end = &copy->ends[copy->head.count++];
	end->lsn = lsn;
	end->next = next;
}

/*
 * Remove the preliminary end of the last start, if there is one and that run ended in recovery;
 * else make it a normal end by an even LSN.
 */
static void
confirm_preliminary(VdbEnds *ends)
{
	VdbEndsHeader *head = &ends->copy.head;
	VdbEnd	   *last = &ends->copy.ends[head->count - 1];

	if (head->count == 0 || last->lsn % 2 == 0)
		return;
	if (ends->died_in_recovery)
		head->count--;
	else
		last->lsn += 1;
}

/* Forget all ends; the ends past 'known_since' will be known. */
static void
begin_anew(VdbEnds *ends, XLogRecPtr known_since)
{
	MemSet(&ends->copy, 0, sizeof(ends->copy));
	ends->copy.head.known_since = known_since;
}

/* Log the fault of the file, unless it is intact or only missing. */
static void
log_fault(const VdbEnds *ends)
{
	errno = ends->fault_detail;
	if (ends->fault == ENDS_DAMAGED)
		ereport(LOG,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("file \"%s\" is damaged and begins anew", VDB_ENDS_FILE)));
	else if (ends->fault == ENDS_UNREADABLE)
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not read file \"%s\": %m", VDB_ENDS_FILE)));
	else if (ends->fault == ENDS_OTHER_VERSION)
		ereport(LOG,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("file \"%s\" has format version %d, but this vdb_am knows only version %d",
						VDB_ENDS_FILE, ends->fault_detail, VDB_ENDS_VERSION)));
}

/* The callback of vdb_shmem_register.  Reads the file at the start of each run of the server. */
static void
attach_ends(void *address, bool found)
{
	const ControlFileData *control = vdb_shared->control_file;

	shared_ends = address;
	if (found)
		return;
	read_ends(shared_ends);
	log_fault(shared_ends);
	if (shared_ends->fault != ENDS_INTACT)
	{
		begin_anew(shared_ends, control->checkPoint);
		shared_ends->unwritten = !file_is_kept();
	}
	shared_ends->died_in_recovery = control->state == DB_IN_CRASH_RECOVERY ||
		control->state == DB_IN_ARCHIVE_RECOVERY ||
		control->state == DB_SHUTDOWNED_IN_RECOVERY;
	shared_ends->redo = control->checkPointCopy.redo;
	confirm_preliminary(shared_ends);
	shared_ends->preliminary = control->state != DB_SHUTDOWNED;
	if (shared_ends->preliminary)
		add_end(control->checkPoint | 1, vdb_epoch_limits(control->checkPointCopy.nextXid,
														  control->checkPointCopy.nextMulti));
	if (shared_ends->preliminary || shared_ends->unwritten)
		write_or_log();
}

/*
 * Note that recovery ends here, with 'next' as the next ids.  Called in the startup process if
 * something was redone.
 */
void
vdb_ends_note(VdbEpochLimits next)
{
	VdbEndsCopy *copy = &shared_ends->copy;

	if (shared_ends->preliminary)
		copy->head.count--;
	shared_ends->preliminary = false;
	while (shared_ends->died_in_recovery && copy->head.count > 0 &&
		   copy->ends[copy->head.count - 1].lsn > shared_ends->redo)
		copy->head.count--;
	if (shared_ends->fault != ENDS_INTACT)
		begin_anew(shared_ends, GetXLogReplayRecPtr(NULL));
	add_end(GetXLogReplayRecPtr(NULL), next);
	write_or_log();
}

/*
 * Forget all ends and write the file.  For pg_upgrade, where the pools of this
 * cluster are going to be replaced by those of another one that was shut down
 * and has no ends for them.  Raises an error if the file can't be written.
 */
void
vdb_ends_forget(void)
{
	begin_anew(shared_ends, 0);
	shared_ends->unwritten = true;
	vdb_ends_require_written();
}

/* ---- looking up ends ---- */

/*
 * Check whether a recovery ended past this position.  If so, sets *next to the next ids as the
 * first such recovery left them.
 */
bool
vdb_ends_first_after(XLogRecPtr begin, VdbEpochLimits *next)
{
	const VdbEndsCopy *copy = &shared_ends->copy;
	int			at = (int) copy->head.count;

	while (at > 0 && copy->ends[at - 1].lsn > begin)
		at--;
	if (at == (int) copy->head.count)
		return false;
	*next = copy->ends[at].next;
	return true;
}

/* Check whether all ends past this position are known. */
bool
vdb_ends_reach(XLogRecPtr begin)
{
	return begin >= shared_ends->copy.head.known_since;
}

/* Return the position in WAL past which all ends are known. */
XLogRecPtr
vdb_ends_known_since(void)
{
	return shared_ends->copy.head.known_since;
}

/* Raise an error if the file is one that is kept, as this run of the server can't use it. */
static void
refuse_kept_file(void)
{
	errno = shared_ends->fault_detail;
	if (shared_ends->fault == ENDS_UNREADABLE)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("vdb tables cannot be used, as file \"%s\" could not be read: %m",
						VDB_ENDS_FILE),
				 errdetail("It tells which rows of vdb tables outlived the loss of their WAL."),
				 errhint("Make the file in the data directory readable and restart the server.")));
	if (shared_ends->fault == ENDS_OTHER_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("vdb tables cannot be used, as file \"%s\" has format version %d",
						VDB_ENDS_FILE, shared_ends->fault_detail),
				 errdetail("This vdb_am knows only version %d.", VDB_ENDS_VERSION),
				 errhint("Install the release of vdb_am that wrote the file and restart the server.")));
}

/*
 * Make sure that the file is written, so that the next run of the server will
 * not refuse a pool whose epoch is about to begin.  Raises an error if the file
 * isn't written and can't be.  Takes ends_lock; does I/O.
 */
void
vdb_ends_require_written(void)
{
	bool		done;

	refuse_kept_file();
	if (likely(!shared_ends->unwritten))
		return;
	LWLockAcquire(vdb_shared->ends_lock, LW_EXCLUSIVE);
	done = !shared_ends->unwritten || write_ends();
	LWLockRelease(vdb_shared->ends_lock);
	if (!done)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", VDB_ENDS_FILE),
				 errdetail("Without it, the server's next start cannot tell which rows of vdb tables outlived the loss of their WAL."),
				 errhint("Free space on the file system of the data directory and try again.")));
}

/*
 * Write the file if it isn't written, without an error if that fails.  Called by the launcher.
 * Takes ends_lock; does I/O.
 */
void
vdb_scm_tend_ends(void)
{
	bool		written;

	if (likely(!shared_ends->unwritten))
		return;
	LWLockAcquire(vdb_shared->ends_lock, LW_EXCLUSIVE);
	written = shared_ends->unwritten && write_ends();
	LWLockRelease(vdb_shared->ends_lock);
	if (written)
		ereport(LOG,
				(errmsg("file \"%s\" has been written", VDB_ENDS_FILE)));
}

/* Register the shared memory of the ends.  Called by _PG_init while preloading. */
void
vdb_ends_init(void)
{
	vdb_shmem_register("vdb_am recoveries", sizeof(VdbEnds), true, attach_ends);
}
