/*-------------------------------------------------------------------------
 *
 * scm_pack.h
 *	  Ranges made shorter for WAL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_SCM_PACK_H
#define VDB_SCM_PACK_H

#include "scm/scm_format.h"

/* Bytes that 'len' bytes of ranges can take when packed: each has a header, and gets one byte more. */
#define VDB_PACK_BOUND(len)		((len) + (len) / sizeof(VdbRangeHeader))

extern size_t vdb_ranges_pack(const char *ranges, size_t len, char *to);
extern bool vdb_ranges_unpack(const char *packed, size_t len, char *to, size_t room, size_t *used);

#endif							/* VDB_SCM_PACK_H */
