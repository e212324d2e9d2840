/*
 * codec_workspace.c
 *	  Memory of the codecs: scratch space, buffers that grow, zstd's contexts.
 *
 * In the server a workspace is a memory context of its own below the creator's current one; a reset
 * callback frees what libzstd allocated with malloc, so an error that releases the parent leaks
 * nothing.  Stand-alone, a workspace uses malloc.
 */
#include "codec_port.h"

#ifndef VDB_CODEC_STANDALONE
#include "utils/memutils.h"
#endif

#include "codec_private.h"

/* A buffer larger than this is released when a vector doesn't need it. */
#define VDB_BUFFER_KEEP_BYTES	((size_t) 8 * 1024 * 1024)
#define VDB_BUFFER_MIN_BYTES	((size_t) 32 * 1024)

/* A buffer that grows. */
typedef struct VdbBuffer
{
	uint8	   *bytes;
	size_t		size;
} VdbBuffer;

struct VdbCodecWorkspace
{
	VdbEncodeScratch scratch;
	VdbBuffer	buffers[VDB_BUFFER_COUNT];
	VdbZstd    *zstd;
#ifndef VDB_CODEC_STANDALONE
	MemoryContext context;
	MemoryContextCallback callback;
#endif
};

#ifndef VDB_CODEC_STANDALONE

static void
vdb_workspace_end(void *arg)
{
	VdbCodecWorkspace *ws = arg;

	vdb_zstd_free(ws->zstd);
	ws->zstd = NULL;
}

VdbCodecWorkspace *
vdb_codec_workspace_create(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "vdb codec workspace",
												  ALLOCSET_DEFAULT_SIZES);
	VdbCodecWorkspace *ws = MemoryContextAllocZero(context, sizeof(*ws));

	ws->context = context;
	ws->callback.func = vdb_workspace_end;
	ws->callback.arg = ws;
	MemoryContextRegisterResetCallback(context, &ws->callback);
	return ws;
}

void
vdb_codec_workspace_free(VdbCodecWorkspace *ws)
{
	if (ws != NULL)
		MemoryContextDelete(ws->context);
}

static uint8 *
vdb_workspace_alloc(VdbCodecWorkspace *ws, size_t bytes)
{
	return MemoryContextAllocExtended(ws->context, bytes,
									  MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
}

static void
vdb_workspace_release(uint8 *bytes)
{
	if (bytes != NULL)
		pfree(bytes);
}

#else

VdbCodecWorkspace *
vdb_codec_workspace_create(void)
{
	VdbCodecWorkspace *ws = calloc(1, sizeof(*ws));

	if (ws == NULL)
		abort();
	return ws;
}

static uint8 *
vdb_workspace_alloc(VdbCodecWorkspace *ws, size_t bytes)
{
	return malloc(bytes);
}

static void
vdb_workspace_release(uint8 *bytes)
{
	free(bytes);
}

void
vdb_codec_workspace_free(VdbCodecWorkspace *ws)
{
	if (ws == NULL)
		return;
	for (int name = 0; name < VDB_BUFFER_COUNT; name++)
		vdb_workspace_release(ws->buffers[name].bytes);
	vdb_zstd_free(ws->zstd);
	free(ws);
}

#endif							/* VDB_CODEC_STANDALONE */

VdbEncodeScratch *
vdb_workspace_scratch(VdbCodecWorkspace *ws)
{
	return &ws->scratch;
}

VdbZstd   **
vdb_workspace_zstd(VdbCodecWorkspace *ws)
{
	return &ws->zstd;
}

/*
 * Return a buffer of at least so many bytes, aligned to 8, whose former contents are lost; or NULL
 * if there is no memory.
 */
uint8 *
vdb_workspace_buffer(VdbCodecWorkspace *ws, VdbBufferName name, size_t bytes)
{
	VdbBuffer  *buffer = &ws->buffers[name];

	Assert((int) name < VDB_BUFFER_COUNT);
	if (bytes <= buffer->size &&
		(buffer->size <= VDB_BUFFER_KEEP_BYTES || bytes > VDB_BUFFER_KEEP_BYTES))
		return buffer->bytes;

	vdb_workspace_release(buffer->bytes);
	buffer->size = 0;
	bytes = Max(bytes, VDB_BUFFER_MIN_BYTES);
	if (bytes < VDB_BUFFER_KEEP_BYTES)
		bytes += bytes / 4;		/* neighboring vectors differ a little in size */
	buffer->bytes = vdb_workspace_alloc(ws, bytes);
	if (buffer->bytes != NULL)
		buffer->size = bytes;
	return buffer->bytes;
}
