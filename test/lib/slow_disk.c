/*
 * slow_disk.c: a file system that is slow or full, for tests.
 *
 * Preloaded into a server (LD_PRELOAD), it looks before each call that waits for a file system into
 * the file named by SLOW_DISK.  Each line of it is
 *
 *	CALL PART MILLISECONDS [ERROR]
 *
 * CALL is sync (fsync, fdatasync), allocate (fallocate, posix_fallocate), release (ftruncate, and
 * fallocate that punches holes), read (pread, preadv) or advise (posix_fadvise that announces
 * reads); PART is a part of the file's path, or its end if it ends with '$', or '*'; ERROR is
 * ENOSPC, EIO or EOPNOTSUPP.  A line 'filesystem PART 0 EIO' makes the file's file system look like
 * btrfs.  The first line that fits holds: the call is delayed, then fails or is done.  Without the
 * file nothing is delayed.  So a test changes what the disk is like by writing the file, while the
 * server runs.  SLOW_DISK_LOG names a file that gets a line 'CALL PATH' for each call that was
 * delayed, before the delay.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

/* Append the call to the log, if there is one. */
static void
note(const char *call, const char *path)
{
	const char *log = getenv("SLOW_DISK_LOG");
	char		line[4200];
	int			fd;
	int			n;

	if (log == NULL || (fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600)) < 0)
		return;
	n = snprintf(line, sizeof(line), "%s %s\n", call, path);
	if (write(fd, line, n) != n)
		abort();
	close(fd);
}

/* Sleep, whatever signals come. */
static void
delay(long milliseconds)
{
	struct timespec left = {milliseconds / 1000, milliseconds % 1000 * 1000000};

	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		;
}

/* Does the path fit the part of a line? */
static int
fits(const char *path, const char *part)
{
	size_t		n = strlen(part);

	if (n > 1 && part[n - 1] == '$')
		return strlen(path) >= n - 1 &&
			strncmp(path + strlen(path) - (n - 1), part, n - 1) == 0;
	return strcmp(part, "*") == 0 || strstr(path, part) != NULL;
}

/* Delay the call as the file says; returns the error that it shall fail with, or 0. */
static int
ask(const char *call, int fd)
{
	const char *settings = getenv("SLOW_DISK");
	char		link[64];
	char		path[4096];
	char		word[32];
	char		part[256];
	char		error[32];
	char		line[512];
	long		milliseconds;
	int			saved = errno;
	int			result = 0;
	ssize_t		n;
	FILE	   *file;

	if (settings == NULL || (file = fopen(settings, "r")) == NULL)
	{
		errno = saved;
		return 0;
	}
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	path[n < 0 ? 0 : n] = '\0';
	while (fgets(line, sizeof(line), file) != NULL)
	{
		error[0] = '\0';
		if (sscanf(line, "%31s %255s %ld %31s", word, part, &milliseconds, error) < 3 ||
			strcmp(word, call) != 0 || !fits(path, part))
			continue;
		note(call, path);
		delay(milliseconds);
		result = strcmp(error, "ENOSPC") == 0 ? ENOSPC : strcmp(error, "EIO") == 0 ? EIO :
			strcmp(error, "EOPNOTSUPP") == 0 ? EOPNOTSUPP : 0;
		break;
	}
	fclose(file);
	errno = saved;
	return result;
}

/* The function of this name that comes after ours. */
#define NEXT(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))

int
fstatfs(int fd, struct statfs *st)
{
	int			result = NEXT(fstatfs) (fd, st);

	if (result == 0 && ask("filesystem", fd) != 0)
		st->f_type = 0x9123683E;
	return result;
}

int
fstatfs64(int fd, struct statfs64 *st)
{
	int			result = NEXT(fstatfs64) (fd, st);

	if (result == 0 && ask("filesystem", fd) != 0)
		st->f_type = 0x9123683E;
	return result;
}

/* A call that returns -1 and errno. */
#define FAIL_IF(error) do { int e_ = (error); if (e_ != 0) { errno = e_; return -1; } } while (0)

int
fsync(int fd)
{
	FAIL_IF(ask("sync", fd));
	return NEXT(fsync) (fd);
}

int
fdatasync(int fd)
{
	FAIL_IF(ask("sync", fd));
	return NEXT(fdatasync) (fd);
}

int
ftruncate(int fd, off_t length)
{
	FAIL_IF(ask("release", fd));
	return NEXT(ftruncate) (fd, length);
}

int
ftruncate64(int fd, off64_t length)
{
	FAIL_IF(ask("release", fd));
	return NEXT(ftruncate64) (fd, length);
}

int
fallocate(int fd, int mode, off_t offset, off_t length)
{
	FAIL_IF(ask(mode & FALLOC_FL_PUNCH_HOLE ? "release" : "allocate", fd));
	return NEXT(fallocate) (fd, mode, offset, length);
}

int
fallocate64(int fd, int mode, off64_t offset, off64_t length)
{
	FAIL_IF(ask(mode & FALLOC_FL_PUNCH_HOLE ? "release" : "allocate", fd));
	return NEXT(fallocate64) (fd, mode, offset, length);
}

int
posix_fallocate(int fd, off_t offset, off_t length)
{
	int			error = ask("allocate", fd);

	return error != 0 ? error : NEXT(posix_fallocate) (fd, offset, length);
}

int
posix_fallocate64(int fd, off64_t offset, off64_t length)
{
	int			error = ask("allocate", fd);

	return error != 0 ? error : NEXT(posix_fallocate64) (fd, offset, length);
}

ssize_t
pread(int fd, void *to, size_t bytes, off_t offset)
{
	FAIL_IF(ask("read", fd));
	return NEXT(pread) (fd, to, bytes, offset);
}

ssize_t
pread64(int fd, void *to, size_t bytes, off64_t offset)
{
	FAIL_IF(ask("read", fd));
	return NEXT(pread64) (fd, to, bytes, offset);
}

ssize_t
preadv(int fd, const struct iovec *to, int n, off_t offset)
{
	FAIL_IF(ask("read", fd));
	return NEXT(preadv) (fd, to, n, offset);
}

ssize_t
preadv64(int fd, const struct iovec *to, int n, off64_t offset)
{
	FAIL_IF(ask("read", fd));
	return NEXT(preadv64) (fd, to, n, offset);
}

int
posix_fadvise(int fd, off_t offset, off_t length, int advice)
{
	int			error = advice == POSIX_FADV_WILLNEED ? ask("advise", fd) : 0;

	return error != 0 ? error : NEXT(posix_fadvise) (fd, offset, length, advice);
}

int
posix_fadvise64(int fd, off64_t offset, off64_t length, int advice)
{
	int			error = advice == POSIX_FADV_WILLNEED ? ask("advise", fd) : 0;

	return error != 0 ? error : NEXT(posix_fadvise64) (fd, offset, length, advice);
}
