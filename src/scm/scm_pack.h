/*-------------------------------------------------------------------------
 *
 * scm_pack.h
 *	  Packing of spans for WAL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_SCM_PACK_H
#define VDB_SCM_PACK_H

#include "scm/scm_format.h"

/* Most bytes that 'len' bytes of spans take when packed: each span takes at most one byte more. */
#define VDB_PACK_BOUND(len)		((len) + (len) / sizeof(VdbSpanHeader))

/*
 * Pack well-formed spans of one block into 'to', which has room for VDB_PACK_BOUND(len) bytes.
 * Returns the number of bytes written.
 */
extern size_t vdb_spans_pack(const char *spans, size_t len, char *to);

/*
 * Unpack spans into 'to', of 'room' bytes; *used is set to the number of bytes written.  Returns
 * false if the packed bytes are malformed, or there is not enough room.
 */
extern bool vdb_spans_unpack(const char *packed, size_t len, char *to, size_t room, size_t *used);

#endif							/* VDB_SCM_PACK_H */
