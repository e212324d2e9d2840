/*
 * codec_zstd.c
 *	  The only caller of libzstd: compress bytes to one frame, and decompress them.
 *
 * Contexts are made at first use and kept by the workspace; libzstd allocates them with malloc, so
 * the end of a workspace must call vdb_zstd_free.
 */
#include "codec_port.h"

#include <zstd.h>

#include "codec_private.h"

/*
 * Zstd's strongest form is a block of up to 128 KiB from 4 bytes.  A frame that claims more than
 * that is invalid, and memory must not be allocated for it.
 */
#define VDB_ZSTD_MAX_RATIO		(128 * 1024 / 4)

struct VdbZstd
{
	ZSTD_CCtx  *compress;
	int			level;				/* level that 'compress' is set to; 0: none */
	ZSTD_DCtx  *decompress;
};

static VdbZstd *
vdb_zstd_get(VdbZstd **zstd)
{
	if (*zstd == NULL)
		*zstd = calloc(1, sizeof(VdbZstd));
	return *zstd;
}

void
vdb_zstd_free(VdbZstd *zstd)
{
	if (zstd == NULL)
		return;
	(void) ZSTD_freeCCtx(zstd->compress);
	(void) ZSTD_freeDCtx(zstd->decompress);
	free(zstd);
}

/*
 * Set the level.  Frames are small and mostly short texts, for which libzstd's own choice at low
 * levels uses matches of 3 or 4 bytes.  In text of few different letters these are everywhere by
 * chance: they save less than the Huffman code would and take three times as long to decode.
 */
static bool
vdb_zstd_set_level(VdbZstd *zstd, int level)
{
	size_t		wrong = 0;

	if (zstd->level == level)
		return true;
	zstd->level = 0;
	wrong |= ZSTD_isError(ZSTD_CCtx_reset(zstd->compress, ZSTD_reset_session_and_parameters));
	wrong |= ZSTD_isError(ZSTD_CCtx_setParameter(zstd->compress, ZSTD_c_compressionLevel, level));
	wrong |= ZSTD_isError(ZSTD_CCtx_setParameter(zstd->compress, ZSTD_c_minMatch, 5));
	if (level <= 3)
	{
		wrong |= ZSTD_isError(ZSTD_CCtx_setParameter(zstd->compress, ZSTD_c_strategy, ZSTD_fast));
		wrong |= ZSTD_isError(ZSTD_CCtx_setParameter(zstd->compress, ZSTD_c_hashLog, 15));
	}
	if (wrong == 0)
		zstd->level = level;
	return wrong == 0;
}

/*
 * Compress to at most to_bytes.  Returns the bytes of the frame, or 0 if it would not fit or zstd
 * failed in another way.
 */
size_t
vdb_zstd_compress(VdbZstd **zstd, uint8 *to, size_t to_bytes,
				  const uint8 *from, size_t from_bytes, int level)
{
	VdbZstd    *own = vdb_zstd_get(zstd);
	size_t		done;

	Assert(level > 0 && level <= VDB_ZSTD_MAX_LEVEL);
	if (own == NULL)
		return 0;
	if (own->compress == NULL)
		own->compress = ZSTD_createCCtx();
	if (own->compress == NULL || !vdb_zstd_set_level(own, level))
		return 0;
	done = ZSTD_compress2(own->compress, to, to_bytes, from, from_bytes);
	return ZSTD_isError(done) ? 0 : done;
}

/* Check whether a frame can hold so many bytes. */
bool
vdb_zstd_plausible(uint64 stored_bytes, uint64 raw_bytes)
{
	return raw_bytes / VDB_ZSTD_MAX_RATIO <= stored_bytes;
}

/* Decompress a frame, which must fill to_bytes exactly and end with from_bytes. */
VdbCodecStatus
vdb_zstd_decompress(VdbZstd **zstd, uint8 *to, size_t to_bytes,
					const uint8 *from, size_t from_bytes)
{
	VdbZstd    *own = vdb_zstd_get(zstd);

	if (own == NULL)
		return VDB_CODEC_NO_MEMORY;
	if (own->decompress == NULL)
		own->decompress = ZSTD_createDCtx();
	if (own->decompress == NULL)
		return VDB_CODEC_NO_MEMORY;
	if (ZSTD_getFrameContentSize(from, from_bytes) != to_bytes ||
		ZSTD_decompressDCtx(own->decompress, to, to_bytes,
							from, from_bytes) != to_bytes)
		return VDB_CODEC_BAD_ZSTD;
	return VDB_CODEC_OK;
}
