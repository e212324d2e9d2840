/*
 * synced_copy.c: what an OS crash leaves of one file, for tests.
 *
 * Preloaded into a server (LD_PRELOAD), it copies the file named by
 * SYNCED_COPY_OF (the end of its path) to SYNCED_COPY_TO at the begin of each
 * fsync or fdatasync of it.  When that call returns, the medium surely has at
 * least these bytes; what was stored later may be lost.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char buffer[1 << 16];

static void
copy_if_watched(int fd)
{
	const char *of = getenv("SYNCED_COPY_OF");
	const char *to = getenv("SYNCED_COPY_TO");
	char		link[64];
	char		path[4096];
	char		part[4096];
	ssize_t		n;
	off_t		at = 0;
	int			in;
	int			out;

	if (of == NULL || to == NULL)
		return;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < (ssize_t) strlen(of))
		return;
	path[n] = '\0';
	if (strcmp(path + n - strlen(of), of) != 0)
		return;
	snprintf(part, sizeof(part), "%s.%d", to, (int) getpid());
	in = open(path, O_RDONLY);
	out = open(part, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	while (in >= 0 && out >= 0 && (n = pread(in, buffer, sizeof(buffer), at)) > 0)
	{
		if (write(out, buffer, n) != n)
			abort();
		at += n;
	}
	close(in);
	close(out);
	rename(part, to);
}

int
fsync(int fd)
{
	int			(*next) (int) = (int (*) (int)) dlsym(RTLD_NEXT, "fsync");

	copy_if_watched(fd);
	return next(fd);
}

int
fdatasync(int fd)
{
	int			(*next) (int) = (int (*) (int)) dlsym(RTLD_NEXT, "fdatasync");

	copy_if_watched(fd);
	return next(fd);
}
