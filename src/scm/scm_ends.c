/*-------------------------------------------------------------------------
 *
 * scm_ends.c
 *	  Where recoveries of this cluster ended: position in WAL and next id.
 *
 * What a pool may keep of lost WAL was lost before a recovery ended.  A run
 * that stores nothing into a pool leaves no trace in it, but hands out again
 * the ids that were lost.  So each recovery notes its end for the whole
 * cluster, before anybody can get an id, in the file vdb_am.ends of the data
 * directory (base backups and pg_rewind copy it).  A pool's header has the
 * position in WAL at which its current incarnation began: the first end past
 * it is the one that bounds what the incarnation knew.
 *
 * The file: VdbEndsHeader (24 bytes), then 'count' ends of 16 bytes, oldest
 * first.  It is replaced as a whole.  When it is full the oldest is dropped.
 *
 * With nothing to redo, nobody calls us when recovery ends.  So a server that
 * was not shut down notes a preliminary end when it starts, the checkpoint it
 * starts from; rm_cleanup replaces it.  Its LSN is odd, which no record's is.
 *
 * A recovery that does not lead to a run (the server died or was stopped in
 * it) may be followed by one that ends later.  The control file tells; then a
 * preliminary end is taken back at the next start, and a noted one, if it lies
 * past the checkpoint that recovery begins at, when the next is noted.
 *
 * Locks: none.  Written by the postmaster and the startup process while
 * nobody else reads.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "catalog/pg_control.h"
#include "port/pg_crc32c.h"
#include "storage/fd.h"

#include "scm/scm_internal.h"

#define ENDS_FILE		"vdb_am.ends"
#define ENDS_TEMPORARY	"vdb_am.ends.tmp"
#define ENDS_MAGIC		"VDBENDS\001"
#define ENDS_MAX		1000

/* Head of the file, and of its copy in shared memory. */
typedef struct VdbEndsHeader
{
	char		magic[8];		/* 0 */
	uint32		count;			/* 8 */
	uint32		crc;			/* 12: CRC-32C of the ends */
	uint64		reserved;		/* 16: zero */
} VdbEndsHeader;

typedef struct VdbEnd
{
	uint64		lsn;			/* 0: end of the last record that was redone; odd: preliminary */
	uint64		next_xid;		/* 8: full transaction id */
} VdbEnd;

typedef struct VdbEnds
{
	VdbEndsHeader head;
	VdbEnd		ends[ENDS_MAX];
	bool		preliminary;	/* not in the file: the last end is, and ours */
	bool		died_in_recovery;	/* not in the file */
	uint64		redo;			/* not in the file: where this server's recovery begins */
} VdbEnds;

StaticAssertDecl(sizeof(VdbEndsHeader) == 24, "ends file layout");
StaticAssertDecl(sizeof(VdbEnd) == 16, "ends file layout");
StaticAssertDecl(offsetof(VdbEnds, ends) == 24, "ends file layout");

static VdbEnds *shared_ends = NULL;

static uint32
ends_crc(const VdbEnds *ends)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, ends->ends, ends->head.count * sizeof(VdbEnd));
	FIN_CRC32C(crc);
	return crc;
}

/* Read the file; no file means no ends.  FATAL: damaged. */
static void
read_ends(VdbEnds *ends)
{
	int			fd = OpenTransientFile(ENDS_FILE, O_RDONLY | PG_BINARY);
	ssize_t		got;

	memcpy(ends->head.magic, ENDS_MAGIC, sizeof(ends->head.magic));
	if (fd < 0 && errno == ENOENT)
		return;
	if (fd < 0)
		ereport(FATAL,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\": %m", ENDS_FILE)));
	got = read(fd, ends, offsetof(VdbEnds, preliminary));
	if (CloseTransientFile(fd) != 0 || got < (ssize_t) sizeof(VdbEndsHeader) ||
		memcmp(ends->head.magic, ENDS_MAGIC, sizeof(ends->head.magic)) != 0 ||
		ends->head.count > ENDS_MAX ||
		got != sizeof(VdbEndsHeader) + ends->head.count * sizeof(VdbEnd) ||
		ends->head.crc != ends_crc(ends))
		ereport(FATAL,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("file \"%s\" is damaged", ENDS_FILE),
				 errdetail("It tells which rows of vdb tables outlived the loss of their WAL.")));
}

/* Make the file durable with this content. */
static void
write_ends(const VdbEnds *ends)
{
	ssize_t		bytes = sizeof(VdbEndsHeader) + ends->head.count * sizeof(VdbEnd);
	int			fd;

	errno = 0;
	fd = OpenTransientFile(ENDS_TEMPORARY, O_RDWR | O_CREAT | O_TRUNC | PG_BINARY);
	if (fd < 0 || write(fd, ends, bytes) != bytes || pg_fsync(fd) != 0 ||
		CloseTransientFile(fd) != 0)
	{
		if (errno == 0)
			errno = ENOSPC;
		ereport(FATAL,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", ENDS_TEMPORARY)));
	}
	durable_rename(ENDS_TEMPORARY, ENDS_FILE, FATAL);
}

/* Append an end and write the file. */
static void
add_end(VdbEnds *ends, XLogRecPtr lsn, FullTransactionId next_xid)
{
	VdbEnd	   *end;

	if (ends->head.count == ENDS_MAX)
	{
		ends->head.count--;
		memmove(&ends->ends[0], &ends->ends[1], ends->head.count * sizeof(VdbEnd));
	}
	end = &ends->ends[ends->head.count++];
	end->lsn = lsn;
	end->next_xid = U64FromFullTransactionId(next_xid);
	ends->head.crc = ends_crc(ends);
	write_ends(ends);
}

/* The last start's preliminary end: did it come true? */
static void
settle_preliminary(VdbEnds *ends)
{
	VdbEnd	   *last = &ends->ends[ends->head.count - 1];

	if (ends->head.count == 0 || last->lsn % 2 == 0)
		return;
	if (ends->died_in_recovery)
		ends->head.count--;
	else
		last->lsn += 1;
}

/* vdb_shmem_register's callback: at the start of each server run. */
static void
attach_ends(void *address, bool found)
{
	const ControlFileData *control = vdb_shared->control_file;

	shared_ends = address;
	if (found)
		return;
	read_ends(shared_ends);
	shared_ends->died_in_recovery = control->state == DB_IN_CRASH_RECOVERY ||
		control->state == DB_IN_ARCHIVE_RECOVERY ||
		control->state == DB_SHUTDOWNED_IN_RECOVERY;
	shared_ends->redo = control->checkPointCopy.redo;
	settle_preliminary(shared_ends);
	shared_ends->preliminary = control->state != DB_SHUTDOWNED;
	if (shared_ends->preliminary)
		add_end(shared_ends, control->checkPoint | 1, control->checkPointCopy.nextXid);
}

/* Recovery ends here, in the startup process, after redo of something. */
void
vdb_ends_note(FullTransactionId next_xid)
{
	VdbEndsHeader *head = &shared_ends->head;

	if (shared_ends->preliminary)
		head->count--;
	shared_ends->preliminary = false;
	while (shared_ends->died_in_recovery && head->count > 0 &&
		   shared_ends->ends[head->count - 1].lsn > shared_ends->redo)
		head->count--;
	add_end(shared_ends, GetXLogReplayRecPtr(NULL), next_xid);
}

/* Has a recovery ended past this position?  *next_xid: as the first such left it. */
bool
vdb_ends_first_after(XLogRecPtr begin, FullTransactionId *next_xid)
{
	int			at = (int) shared_ends->head.count;

	while (at > 0 && shared_ends->ends[at - 1].lsn > begin)
		at--;
	if (at == (int) shared_ends->head.count)
		return false;
	*next_xid = FullTransactionIdFromU64(shared_ends->ends[at].next_xid);
	return true;
}

/* _PG_init, while preloading. */
void
vdb_ends_init(void)
{
	vdb_shmem_register("vdb_am recoveries", sizeof(VdbEnds), true, attach_ends);
}
