/*-------------------------------------------------------------------------
 *
 * scm_span.c
 *	  Byte spans, as changes gather them and as redo applies them.
 *
 * Both use one encoding, so a change and its redo apply the same bytes by
 * construction.  In WAL the spans are packed (scm_pack.c).  Their layout is in
 * scm_format.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "scm/scm_internal.h"

/*
 * Read the next span of [*at, end) into *span and advance *at past it.  Returns false at the end,
 * where *at equals 'end', or if the span is malformed, where it doesn't.
 */
bool
vdb_span_next(const char **at, const char *end, VdbSpan *span)
{
	size_t		bytes;
	uint32		offset;

	if (end - *at < (ptrdiff_t) sizeof(VdbSpanHeader))
		return false;
	memcpy(&span->head, *at, sizeof(VdbSpanHeader));
	offset = VDB_SPAN_OFFSET(span->head.address);
	bytes = VDB_SPAN_IS_ZERO(span->head.address) ? 0 : span->head.length;
	if (end - *at - sizeof(VdbSpanHeader) < bytes ||
		offset < VDB_POOL_BLOCK_HEADER ||
		offset + span->head.length > VDB_POOL_BLOCK_BYTES)
		return false;
	span->bytes = bytes > 0 ? *at + sizeof(VdbSpanHeader) : NULL;
	*at += sizeof(VdbSpanHeader) + bytes;
	return true;
}

/* Store a block's spans of one phase at 'target', where the block is mapped.  Raises no error. */
void
vdb_spans_apply(bool pmem, VdbBlock block, char *target,
				const char *spans, size_t len, int phase)
{
	const char *at = spans;
	VdbSpan		span;

	while (vdb_span_next(&at, spans + len, &span))
	{
		uint16		offset = VDB_SPAN_OFFSET(span.head.address);

		if (VDB_SPAN_PHASE(span.head.address) != phase)
			continue;
		if (span.bytes == NULL)
			vdb_persist->zero(pmem, block, offset, target + offset, span.head.length);
		else
			vdb_persist->store(pmem, block, offset, target + offset,
							   span.bytes, span.head.length);
	}
}
