/*-------------------------------------------------------------------------
 *
 * scm_filesystem.c
 *	  Check whether the pool's file system keeps the promise that a mapped file needs.
 *
 * A store through a mapping can't report an error: if the file system finds no space for the
 * page, or the device is away, the process gets SIGBUS, and the server restarts.  The pool's blocks
 * are allocated beforehand, so this can't happen for lack of space where a file's blocks are
 * overwritten in place.  A file system that copies on write needs new space for each overwritten
 * page, whatever was allocated; a remote one may lose its server.
 *
 * Whether a snapshot or a reflink shares the file's blocks on a file system that otherwise
 * overwrites in place (xfs) can't be seen from here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#ifdef __linux__
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#endif
#include <unistd.h>

#include "storage/fd.h"

#include "scm/scm_internal.h"

#ifdef __linux__

/* A file system that may fail to store a page for which space was allocated. */
typedef struct UnsafeFileSystem
{
	uint32		type;				/* f_type of fstatfs(2) */
	bool		may_overwrite;		/* a file with attribute C (FS_NOCOW_FL) is overwritten in
									 * place */
	bool		remote;				/* its server may be out of reach */
	const char *name;
} UnsafeFileSystem;

/* The numbers are those of linux/magic.h, and of file systems that are not in it. */
static const UnsafeFileSystem *
find_unsafe(uint32 type)
{
	static const UnsafeFileSystem unsafe[] = {
		{0x9123683E, true, false, "btrfs"},
		{0xCA451A4E, true, false, "bcachefs"},
		{0x2FC12FC1, false, false, "zfs"},
		{0x3434, false, false, "nilfs2"},
		{0x6969, false, true, "nfs"},
		{0xFF534D42, false, true, "cifs"},
		{0xFE534D42, false, true, "smb3"},
		{0x65735546, false, true, "fuse"},
		{0x00C36400, false, true, "ceph"},
		{0x01021997, false, true, "9p"},
	};

	for (int i = 0; i < lengthof(unsafe); i++)
		if (unsafe[i].type == type)
			return &unsafe[i];
	return NULL;
}

/* Check whether a file has the attribute that it is overwritten in place. */
static bool
is_overwritten(int fd)
{
	int			flags = 0;

	return ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 && (flags & FS_NOCOW_FL) != 0;
}

/* Warn if the file is on an unsafe file system. */
static void
check_file(int fd, const char *path)
{
	const UnsafeFileSystem *fs;
	struct statfs st;

	if (fstatfs(fd, &st) != 0)
		return;
	fs = find_unsafe((uint32) st.f_type);
	if (fs == NULL || (fs->may_overwrite && is_overwritten(fd)))
		return;
	ereport(WARNING,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the pool \"%s\" is on file system %s, which can make the server restart", path,
					fs->name),
			 fs->remote ?
			 errdetail("The pool is mapped into memory. A store to it ends the process if the server of the file system is out of reach.") :
			 errdetail("The pool is mapped into memory. A store to it ends the process if the file system has no space for a copy of the page."),
			 fs->may_overwrite ?
			 errhint("Set vdb.scm_tablespace to a tablespace on ext4 or xfs, or give the database's folder attribute C (chattr +C) before CREATE EXTENSION.") :
			 errhint("Set vdb.scm_tablespace to a tablespace on a local ext4 or xfs before CREATE EXTENSION.")));
}

#endif							/* __linux__ */

/* See scm_internal.h. */
void
vdb_file_check_system(const RelFileLocator *rnode)
{
#ifdef __linux__
	char		path[MAXPGPATH];
	int			fd;

	Assert(InterruptHoldoffCount == 0);
	Assert(CritSectionCount == 0);
	vdb_file_path(rnode, 0, path);
	fd = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	if (fd < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\": %m", path)));
	check_file(fd, path);
	CloseTransientFile(fd);
#endif
}
