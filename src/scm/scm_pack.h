/*-------------------------------------------------------------------------
 *
 * scm_pack.h
 *	  Spans made shorter for WAL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_SCM_PACK_H
#define VDB_SCM_PACK_H

#include "scm/scm_format.h"

/*
 * Bytes that 'len' bytes of spans can take when packed: each has a header, and gets one byte more.
 */
#define VDB_PACK_BOUND(len)		((len) + (len) / sizeof(VdbSpanHeader))

extern size_t vdb_spans_pack(const char *spans, size_t len, char *to);
extern bool vdb_spans_unpack(const char *packed, size_t len, char *to, size_t room, size_t *used);

#endif							/* VDB_SCM_PACK_H */
