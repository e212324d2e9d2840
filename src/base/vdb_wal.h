/*
 * vdb_wal.h
 *	  The end of WAL.
 */
#ifndef VDB_WAL_H
#define VDB_WAL_H

#include "access/xlog.h"
#include "access/xlog_internal.h"

/*
 * Return the end of the last WAL record inserted by any process, for XLogFlush.  The insert
 * position itself can't be used: when that record ended its page, it lies behind the next page's
 * header, which has not been written, and flushing up to it is an error.
 */
static inline XLogRecPtr
vdb_wal_end(void)
{
	XLogRecPtr	lsn = GetXLogInsertRecPtr();

	if (XLogSegmentOffset(lsn, wal_segment_size) == SizeOfXLogLongPHD)
		return lsn - SizeOfXLogLongPHD;
	if (lsn % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		return lsn - SizeOfXLogShortPHD;
	return lsn;
}

#endif							/* VDB_WAL_H */
