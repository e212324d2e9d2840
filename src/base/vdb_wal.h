/* vdb_wal.h - where WAL ends. */
#ifndef VDB_WAL_H
#define VDB_WAL_H

#include "access/xlog.h"
#include "access/xlog_internal.h"

/*
 * End of the last WAL record anybody has inserted, for XLogFlush.  The insert position itself
 * won't do: when that record ended its page, it lies behind the next page's
 * header, which is not written yet, and flushing up to it is an error.
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
