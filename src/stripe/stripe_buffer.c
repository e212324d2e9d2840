/*-------------------------------------------------------------------------
 *
 * stripe_buffer.c
 *	  Growing arrays of bytes, used while a stripe is built.
 *
 * Memory: the arrays live in the writer's context.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "stripe/stripe_build.h"

/* Make room for 'more' bytes after those in use, and return the address where they go. */
char *
vdb_buffer_room(VdbStripeWriter *writer, VdbBuffer *buffer, Size more)
{
	Size		need = buffer->used + more;
	Size		size;

	if (need <= buffer->size)
		return buffer->data + buffer->used;

	/* Double small ones; large ones grow by a quarter, to stay near the need. */
	size = buffer->size < VDB_CHUNK_MAX_BYTES ? buffer->size * 2 : buffer->size / 4 * 5;
	size = Max(Max(size, need), 256);
	if (buffer->data == NULL)
		buffer->data = MemoryContextAllocHuge(writer->context, size);
	else
		buffer->data = repalloc_huge(buffer->data, size);
	buffer->size = size;
	return buffer->data + buffer->used;
}

/* Append bytes to a buffer. */
void
vdb_buffer_append(VdbStripeWriter *writer, VdbBuffer *buffer, const void *bytes, Size len)
{
	if (len > 0)
		memcpy(vdb_buffer_room(writer, buffer, len), bytes, len);
	buffer->used += len;
}

/* Append zeros to a buffer, up to a multiple of 8 bytes. */
void
vdb_buffer_pad(VdbStripeWriter *writer, VdbBuffer *buffer)
{
	Size		pad = VDB_STRIPE_ALIGN(buffer->used) - buffer->used;

	if (pad > 0)
		memset(vdb_buffer_room(writer, buffer, pad), 0, pad);
	buffer->used += pad;
}

/* Empty a buffer, and free memory that only a large chunk needed. */
void
vdb_buffer_reset(VdbBuffer *buffer)
{
	buffer->used = 0;
	if (buffer->size > 2 * VDB_CHUNK_MAX_BYTES)
	{
		pfree(buffer->data);
		buffer->data = NULL;
		buffer->size = 0;
	}
}
