/*-------------------------------------------------------------------------
 *
 * scm_file.c
 *	  Manage the pool's files: paths, mappings, growth, sync.
 *
 * A pool is the main fork of a relation, so it is stored in files of 1 GB, which are named as core
 * names them: path, path.1, ...  Each mapping spans the full 1 GB, even beyond the end of the file,
 * so growth needs no new mapping.
 *
 * Access beyond the end of a file raises SIGBUS.  So the blocks of a file are really allocated
 * before its new length is published.  Access to a file that was dropped raises SIGBUS, too.  So
 * processes hold a lock on the relation while they use a mapping.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#ifdef __linux__
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#endif
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "common/relpath.h"
#include "storage/fd.h"
#include "storage/smgr.h"

#include "scm/scm_internal.h"

/* See scm_internal.h. */
void
vdb_file_path(const RelFileLocator *rnode, uint32 file, char *path)
{
	size_t		length;

	vdb_relation_path(rnode, INVALID_PROC_NUMBER, MAIN_FORKNUM, path);
	length = strlen(path);
	if (file > 0)
		snprintf(path + length, MAXPGPATH - length, ".%u", file);
}

/* See scm_internal.h. */
int
vdb_file_open(const RelFileLocator *rnode, uint32 file, bool create)
{
	char		path[MAXPGPATH];

	vdb_file_path(rnode, file, path);
	return BasicOpenFile(path, O_RDWR | PG_BINARY | (create ? O_CREAT : 0));
}

/* See scm_internal.h. */
int64
vdb_file_bytes(const RelFileLocator *rnode, uint32 file)
{
	char		path[MAXPGPATH];
	struct stat st;

	vdb_file_path(rnode, file, path);
	if (stat(path, &st) == 0)
		return st.st_size;
	if (errno != ENOENT)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not stat file \"%s\": %m", path)));
	return -1;
}

/*
 * See scm_internal.h.  Cache flushes make stores durable if the mapping is a synchronous DAX
 * mapping, or libpmem says so.
 */
char *
vdb_file_map(int fd, const char *path, bool *is_pmem)
{
	void	   *base = MAP_FAILED;

	*is_pmem = false;
#if defined(MAP_SYNC) && defined(MAP_SHARED_VALIDATE)
	base = mmap(NULL, VDB_FILE_BYTES, PROT_READ | PROT_WRITE,
				MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0);
	*is_pmem = base != MAP_FAILED;
#endif
	if (base == MAP_FAILED)
		base = mmap(NULL, VDB_FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not map file \"%s\": %m", path)));
	if (!*is_pmem)
		*is_pmem = vdb_persist_is_pmem(base, VDB_FILE_BYTES);
	return base;
}

/* See scm_internal.h. */
void
vdb_file_unmap(char *base)
{
	if (munmap(base, VDB_FILE_BYTES) != 0)
		elog(WARNING, "could not unmap the pool: %m");
}

/* See scm_internal.h. */
void
vdb_pool_map_file(VdbPool *pool, uint32 file)
{
	char		path[MAXPGPATH];
	bool		is_pmem;
	int			fd;

	Assert(CritSectionCount == 0);
	vdb_file_path(&pool->rnode, file, path);
	fd = OpenTransientFile(path, O_RDWR | PG_BINARY);
	if (fd < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\": %m", path)));
	pool->files[file] = vdb_file_map(fd, path, &is_pmem);
	CloseTransientFile(fd);
	pool->is_pmem = file == 0 ? is_pmem : (pool->is_pmem && is_pmem);
}

/*
 * Allocate the blocks of bytes [from, to) of a file.  Returns 0 or an errno.  The bytes are past
 * the file's end, or of released segments: if the file system cannot allocate, the C library reads
 * and writes a byte of each block, which would conflict with stores through a mapping.
 */
static int
allocate(int fd, off_t from, off_t to)
{
	int			rc;

	do
	{
		rc = posix_fallocate(fd, from, to - from);
	} while (rc == EINTR);
	return rc;
}

/* Make the directory entry of a new file durable. */
static void
sync_directory(const char *path)
{
	char		parent[MAXPGPATH];

	strlcpy(parent, path, sizeof(parent));
	get_parent_directory(parent);
	fsync_fname(parent, true);
}

/*
 * Open a file that is to be extended, and create it if it is missing.  The first file is created
 * only in redo.
 */
static int
open_to_extend(const RelFileLocator *rnode, uint32 file, const char *path, bool in_redo)
{
	int			fd = vdb_file_open(rnode, file, false);

	if (fd >= 0 || errno != ENOENT)
		return fd;
	if (file == 0)
	{
		/* This only happens in redo: a later record will drop the relation. */
		if (!in_redo)
			return fd;
		smgrcreate(smgropen(*rnode, INVALID_PROC_NUMBER), MAIN_FORKNUM, true);
		return vdb_file_open(rnode, 0, false);
	}
	fd = vdb_file_open(rnode, file, true);
	if (fd >= 0)
		sync_directory(path);
	return fd;
}

/* Make one file at least 'bytes' long, and sync it if it grew.  Returns 0 or an errno. */
static int
extend_one(const RelFileLocator *rnode, uint32 file, off_t bytes, bool in_redo)
{
	char		path[MAXPGPATH];
	struct stat st;
	int			rc = 0;
	int			fd;

	vdb_file_path(rnode, file, path);
	fd = open_to_extend(rnode, file, path, in_redo);
	if (fd < 0 || fstat(fd, &st) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\": %m", path)));
	if (st.st_size < bytes)
	{
		rc = allocate(fd, st.st_size, bytes);
		if (rc == 0 && pg_fsync(fd) != 0)
			ereport(data_sync_elevel(ERROR),
					(errcode_for_file_access(),
					 errmsg("could not fsync file \"%s\": %m", path)));
	}
	close(fd);
	return rc;
}

/* See scm_internal.h. */
bool
vdb_file_extend(const RelFileLocator *rnode, uint32 nblocks, bool in_redo)
{
	uint32		last = (nblocks - 1) / VDB_FILE_BLOCKS;

	Assert(nblocks > 0);
	for (uint32 file = 0; file <= last; file++)
	{
		uint32		here = file < last ? VDB_FILE_BLOCKS : nblocks - last * VDB_FILE_BLOCKS;
		int			rc = extend_one(rnode, file,
									(off_t) here * VDB_POOL_BLOCK_BYTES, in_redo);

		if (rc == ENOSPC || rc == EDQUOT || rc == EFBIG)
		{
			errno = rc;
			return false;
		}
		if (rc != 0)
		{
			errno = rc;
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not extend the pool to %u blocks: %m", nblocks)));
		}
	}
	return true;
}

/* ---- space within files ---- */

/*
 * Check whether bytes [from, to) of a file have space on the file system.  Returns false if that is
 * not known.  A file system may answer a second allocation with a lack of space, so that a process
 * had better ask first.
 */
static bool
has_space(int fd, off_t from, off_t to)
{
#ifdef FS_IOC_FIEMAP
	union
	{
		struct fiemap map;
		char		bytes[sizeof(struct fiemap) + 64 * sizeof(struct fiemap_extent)];
	}			answer;

	while (from < to)
	{
		memset(&answer.map, 0, sizeof(answer.map));
		answer.map.fm_start = from;
		answer.map.fm_length = to - from;
		answer.map.fm_extent_count = 64;
		if (ioctl(fd, FS_IOC_FIEMAP, &answer.map) != 0 || answer.map.fm_mapped_extents == 0)
			return false;
		for (uint32 i = 0; i < answer.map.fm_mapped_extents && from < to; i++)
		{
			const struct fiemap_extent *extent = &answer.map.fm_extents[i];

			if (extent->fe_logical > (uint64) from ||
				extent->fe_logical + extent->fe_length <= (uint64) from ||
				(extent->fe_flags & (FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC)) != 0)
				return false;
			from = extent->fe_logical + extent->fe_length;
		}
	}
	return true;
#else
	return false;
#endif
}

/* Allocate space for bytes [from, to) of a file, of released segments.  Returns 0 or an errno. */
static int
allocate_again(int fd, off_t from, off_t to)
{
	return has_space(fd, from, to) ? 0 : allocate(fd, from, to);
}

/*
 * Allocate space for the holes in bytes [from, to) of a file, and keep what is stored there.
 * Returns 0 or an errno.  Does nothing if the file system cannot allocate.
 */
static int
fill_holes(int fd, off_t from, off_t to)
{
#ifdef FALLOC_FL_KEEP_SIZE
	int			rc;

	if (has_space(fd, from, to))
		return 0;
	do
	{
		rc = fallocate(fd, 0, from, to - from);
	} while (rc != 0 && errno == EINTR);
	return rc == 0 || errno == EOPNOTSUPP || errno == ENOSYS ? 0 : errno;
#else
	return 0;
#endif
}

/* Return the space of bytes [from, to) of a file to the file system.  Returns 0 or an errno. */
static int
punch(int fd, off_t from, off_t to)
{
#if defined(FALLOC_FL_PUNCH_HOLE) && defined(FALLOC_FL_KEEP_SIZE)
	int			rc;

	do
	{
		rc = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, to - from);
	} while (rc != 0 && errno == EINTR);
	return rc == 0 ? 0 : errno;
#else
	return EOPNOTSUPP;
#endif
}

/* Call 'operation' for the bytes of the blocks, file by file.  Returns 0 or an errno. */
static int
for_bytes(const RelFileLocator *rnode, VdbBlock block, uint32 nblocks,
		  int (*operation) (int fd, off_t from, off_t to))
{
	int			rc = 0;

	while (rc == 0 && nblocks > 0)
	{
		uint32		file = block / VDB_FILE_BLOCKS;
		uint32		first = block % VDB_FILE_BLOCKS;
		uint32		here = Min(nblocks, VDB_FILE_BLOCKS - first);
		int			fd = vdb_file_open(rnode, file, false);

		if (fd < 0)
			return errno;
		rc = operation(fd, (off_t) first * VDB_POOL_BLOCK_BYTES,
					   (off_t) (first + here) * VDB_POOL_BLOCK_BYTES);
		close(fd);
		block += here;
		nblocks -= here;
	}
	return rc;
}

/* See scm_internal.h. */
int
vdb_file_back(const RelFileLocator *rnode, VdbBlock block, uint32 nblocks)
{
	return for_bytes(rnode, block, nblocks, allocate_again);
}

/* See scm_internal.h. */
int
vdb_file_fill(const RelFileLocator *rnode, VdbBlock block, uint32 nblocks)
{
	return for_bytes(rnode, block, nblocks, fill_holes);
}

/* See scm_internal.h. */
int
vdb_file_punch(const RelFileLocator *rnode, VdbBlock block, uint32 nblocks)
{
	return for_bytes(rnode, block, nblocks, punch);
}

/* See scm_internal.h. */
int
vdb_file_try_punch(const RelFileLocator *rnode)
{
	struct stat st;
	int			fd = vdb_file_open(rnode, 0, false);
	int			rc;

	if (fd < 0)
		return errno;
	rc = fstat(fd, &st) != 0 ? errno : punch(fd, st.st_size, st.st_size + VDB_POOL_BLOCK_BYTES);
	close(fd);
	return rc;
}

/* See scm_internal.h. */
void
vdb_file_sync(const RelFileLocator *rnode, uint32 file)
{
	char		path[MAXPGPATH];
	int			fd;

	vdb_file_path(rnode, file, path);
	fd = vdb_file_open(rnode, file, false);
	if (fd < 0 || pg_fsync(fd) != 0)
		ereport(data_sync_elevel(ERROR),
				(errcode_for_file_access(),
				 errmsg("could not fsync file \"%s\": %m", path)));
	close(fd);
}
