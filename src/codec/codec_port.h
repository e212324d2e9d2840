/*
 * codec_port.h
 *	  The definitions that the codecs need: the server's headers, or with VDB_CODEC_STANDALONE
 *	  replacements under the server's names.
 *
 * It takes the place of "postgres.h" and so comes first in each .c file here.
 */
#ifndef VDB_CODEC_PORT_H
#define VDB_CODEC_PORT_H

#ifndef VDB_CODEC_STANDALONE

#include "postgres.h"

#include "port/pg_bitutils.h"

#include "base/vdb_crc.h"

#define vdb_popcount64(word)	((uint32) pg_popcount64(word))

static inline uint32
vdb_crc32c_more(uint32 crc, const void *bytes, size_t len)
{
	COMP_CRC32C(crc, bytes, len);
	return crc;
}

#else

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int8_t int8;
typedef int16_t int16;
typedef int32_t int32;
typedef int64_t int64;
typedef uint8_t uint8;
typedef uint16_t uint16;
typedef uint32_t uint32;
typedef uint64_t uint64;

#define Assert(condition)	assert(condition)
#define StaticAssertDecl(condition, errmessage) \
	_Static_assert(condition, errmessage)
#define Min(x, y)		((x) < (y) ? (x) : (y))
#define Max(x, y)		((x) > (y) ? (x) : (y))
#define lengthof(array) (sizeof(array) / sizeof((array)[0]))
#define PG_INT64_MIN	INT64_MIN
#define PG_INT64_MAX	INT64_MAX
#define pg_restrict		restrict

#define vdb_popcount64(word)	((uint32) __builtin_popcountll(word))

/* bit by bit, as speed doesn't matter outside of the server */
static inline uint32_t
vdb_crc32c_more(uint32_t crc, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	for (; len > 0; len--)
	{
		crc ^= *at++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (0x82F63B78 & -(crc & 1));
	}
	return crc;
}

static inline uint32
vdb_crc32c(const void *bytes, size_t len)
{
	return vdb_crc32c_more(0xFFFFFFFF, bytes, len) ^ 0xFFFFFFFF;
}

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#define WORDS_BIGENDIAN 1
#endif

#endif							/* VDB_CODEC_STANDALONE */

#endif							/* VDB_CODEC_PORT_H */
