/*-------------------------------------------------------------------------
 *
 * vdb_crc.h
 *	  CRC-32C of bytes in one piece.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_CRC_H
#define VDB_CRC_H

#include "port/pg_crc32c.h"

/* Return the CRC-32C of len bytes. */
static inline uint32
vdb_crc32c(const void *bytes, size_t len)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, bytes, len);
	FIN_CRC32C(crc);
	return crc;
}

#endif							/* VDB_CRC_H */
