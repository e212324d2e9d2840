/*-------------------------------------------------------------------------
 *
 * scm_pack.c
 *	  Pack spans for WAL, and unpack them.
 *
 * Rows that are stored together have nearly the same header.  Each begins where the one before
 * ended, and so do their slots.  A row header of 32 bytes becomes a mask and the few bytes that
 * differ from the last row's header; the first header in a block is compared with zeroes.  A slot
 * becomes the distance of its row from the last.  A row version's checksum is left out, and
 * computed again from the rest, because the record has its own checksum.  All other spans stay as
 * they are. See scm_format.h for the layout.
 *
 * The functions take no locks, allocate no memory and raise no errors.  Unpacking does not rely on
 * its input being well-formed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "scm/scm_pack.h"
#include "scm/scm_row.h"

/* Flags in the first byte of a packed span. */
#define PACK_EXPLICIT_ADDRESS		0x04
#define PACK_EXPLICIT_LENGTH	0x08
#define PACK_NO_CHECKSUM		0x10
#define PACK_WIDE_STEP			0x04

/* The last row and slot of the block, with which the next span is compared. */
typedef struct PackState
{
	uint16		address;			/* end of the last row, aligned */
	uint16		length;				/* of the last row */
	uint8		head[VDB_PACK_HEAD];	/* of the last row */
	uint16		slot_address;		/* end of the last slot; 0 before the first */
	uint16		slot;				/* value of the last slot */
} PackState;

/* Check whether a span can be packed as a row. */
static inline bool
is_row(VdbSpanHeader head)
{
	return !VDB_SPAN_IS_ZERO(head.address) && VDB_SPAN_PHASE(head.address) == VDB_PHASE_STORE &&
		head.length >= VDB_PACK_HEAD;
}

/* Check whether a span can be packed as a slot. */
static inline bool
is_slot(VdbSpanHeader head)
{
	return !VDB_SPAN_IS_ZERO(head.address) && VDB_SPAN_PHASE(head.address) == VDB_PHASE_PUBLISH &&
		head.length == sizeof(uint16);
}

/* Return the number of bytes that follow a span's header. */
static inline size_t
span_bytes(VdbSpanHeader head)
{
	return VDB_SPAN_IS_ZERO(head.address) ? 0 : head.length;
}

/* Note a span as the last row or slot.  Both packing and unpacking do this. */
static void
remember(PackState *state, VdbSpanHeader head, const char *bytes)
{
	if (is_row(head))
	{
		state->address = (uint16) (head.address + MAXALIGN(head.length));
		state->length = head.length;
		memcpy(state->head, bytes, VDB_PACK_HEAD);
	}
	else if (is_slot(head))
	{
		state->slot_address = (uint16) (head.address + sizeof(uint16));
		memcpy(&state->slot, bytes, sizeof(uint16));
	}
}

/*
 * Compute the checksum that a span ends with if it is a row version whose t_ctid is its own row
 * number.  Returns false if the span is too short to be one.  All bytes of the span except the last
 * four must be present.
 */
static bool
row_checksum(VdbSpanHeader head, const char *bytes, uint32 *crc)
{
	HeapTupleHeaderData hdr;
	uint32		prefix;

	if (head.length < VDB_PACK_HEAD + VDB_ROW_CRC_BYTES)
		return false;
	memcpy(&prefix, bytes, sizeof(prefix));
	memcpy(&hdr, bytes + VDB_ROW_PREFIX_BYTES, SizeofHeapTupleHeader);
	*crc = vdb_row_crc(vdb_tid_to_row(&hdr.t_ctid), prefix, bytes + VDB_ROW_PREFIX_BYTES,
					   head.length - VDB_ROW_PREFIX_BYTES - VDB_ROW_CRC_BYTES);
	return true;
}

/* ---- packing ---- */

/* Copy bytes to the output.  Returns where the output goes on. */
static char *
put(char *to, const void *bytes, size_t len)
{
	memcpy(to, bytes, len);
	return to + len;
}

/*
 * Write a row in form 'like'; 'mask' gives the bytes of its head that differ from the last row's.
 */
static char *
pack_row(const PackState *state, VdbSpanHeader head, const char *bytes, uint32 mask, char *to)
{
	char	   *control = to++;
	uint16		end = head.length;
	uint32		crc;

	*control = VDB_PACK_LIKE;
	if (row_checksum(head, bytes, &crc) && memcmp(bytes + end - sizeof(crc), &crc,
												  sizeof(crc)) == 0)
	{
		*control |= PACK_NO_CHECKSUM;
		end -= sizeof(crc);
	}
	if (head.address != state->address)
	{
		*control |= PACK_EXPLICIT_ADDRESS;
		to = put(to, &head.address, sizeof(uint16));
	}
	if (head.length != state->length)
	{
		*control |= PACK_EXPLICIT_LENGTH;
		to = put(to, &head.length, sizeof(uint16));
	}
	to = put(to, &mask, sizeof(mask));
	for (; mask != 0; mask &= mask - 1)
		*to++ = bytes[__builtin_ctz(mask)];
	return put(to, bytes + VDB_PACK_HEAD, end - VDB_PACK_HEAD);
}

/* Write a slot in form 'next'. */
static char *
pack_slot(const PackState *state, const char *bytes, char *to)
{
	uint16		value;
	uint16		step;

	memcpy(&value, bytes, sizeof(value));
	step = value - state->slot;
	if (step <= PG_UINT8_MAX)
	{
		*to++ = VDB_PACK_NEXT;
		*to++ = (char) step;
		return to;
	}
	*to++ = VDB_PACK_NEXT | PACK_WIDE_STEP;
	return put(to, &step, sizeof(step));
}

/* Return the mask of those of the row's first bytes that differ from the last row's. */
static uint32
differing(const PackState *state, const char *bytes)
{
	uint32		mask = 0;

	for (int i = 0; i < VDB_PACK_HEAD; i++)
		mask |= (uint32) (state->head[i] != (uint8) bytes[i]) << i;
	return mask;
}

/* See scm_pack.h. */
size_t
vdb_spans_pack(const char *spans, size_t len, char *to)
{
	PackState	state = {0};
	const char *from = spans;
	char	   *start = to;

	while (from < spans + len)
	{
		VdbSpanHeader head;
		const char *bytes = from + sizeof(head);
		uint32		mask = 0;

		memcpy(&head, from, sizeof(head));
		from = bytes + span_bytes(head);
		Assert(from <= spans + len);

		if (is_row(head))
			mask = differing(&state, bytes);
		if (is_row(head) && __builtin_popcount(mask) <= VDB_PACK_MOST)
			to = pack_row(&state, head, bytes, mask, to);
		else if (is_slot(head) && head.address == state.slot_address)
			to = pack_slot(&state, bytes, to);
		else
		{
			*to++ = VDB_PACK_PLAIN;
			to = put(to, &head, sizeof(head));
			to = put(to, bytes, span_bytes(head));
		}
		remember(&state, head, bytes);
	}
	Assert(to - start <= VDB_PACK_BOUND(len));
	return to - start;
}

/* ---- unpacking ---- */

/* Positions of unpacking. */
typedef struct PackReader
{
	const char *from;				/* next packed byte */
	const char *end;				/* end of the packed bytes */
	char	   *to;					/* where the next span goes */
	char	   *limit;				/* end of the room for spans */
} PackReader;

/* Read 'len' packed bytes.  Returns false if fewer are left. */
static inline bool
take(PackReader *reader, void *bytes, size_t len)
{
	if ((size_t) (reader->end - reader->from) < len)
		return false;
	memcpy(bytes, reader->from, len);
	reader->from += len;
	return true;
}

/* Write a span's header.  Returns where its bytes go, or NULL if the span does not fit. */
static char *
begin_range(PackReader *reader, VdbSpanHeader head)
{
	char	   *to = reader->to;

	if ((size_t) (reader->limit - to) < sizeof(head) + span_bytes(head))
		return NULL;
	memcpy(to, &head, sizeof(head));
	reader->to += sizeof(head) + span_bytes(head);
	return to + sizeof(head);
}

/*
 * Unpack a span of form 'like', and set *head.  Returns false if it is malformed or does not fit.
 */
static bool
unpack_row(PackReader *reader, const PackState *state, uint8 control, VdbSpanHeader *head)
{
	uint32		mask;
	char	   *bytes;
	uint32		crc;

	head->address = state->address;
	head->length = state->length;
	if ((control & PACK_EXPLICIT_ADDRESS) && !take(reader, &head->address, sizeof(uint16)))
		return false;
	if ((control & PACK_EXPLICIT_LENGTH) && !take(reader, &head->length, sizeof(uint16)))
		return false;
	if (!is_row(*head) || !take(reader, &mask, sizeof(mask)))
		return false;
	bytes = begin_range(reader, *head);
	if (bytes == NULL)
		return false;
	memcpy(bytes, state->head, VDB_PACK_HEAD);
	for (; mask != 0; mask &= mask - 1)
	{
		if (!take(reader, &bytes[__builtin_ctz(mask)], 1))
			return false;
	}
	if (!(control & PACK_NO_CHECKSUM))
		return take(reader, bytes + VDB_PACK_HEAD, head->length - VDB_PACK_HEAD);
	if (head->length < VDB_PACK_HEAD + sizeof(crc) ||
		!take(reader, bytes + VDB_PACK_HEAD, head->length - VDB_PACK_HEAD - sizeof(crc)) ||
		!row_checksum(*head, bytes, &crc))
		return false;
	memcpy(bytes + head->length - sizeof(crc), &crc, sizeof(crc));
	return true;
}

/*
 * Unpack a span of form 'next', and set *head.  Returns false if it is malformed or does not fit.
 */
static bool
unpack_slot(PackReader *reader, const PackState *state, uint8 control, VdbSpanHeader *head)
{
	uint16		step = 0;
	char	   *bytes;

	if (!take(reader, &step, (control & PACK_WIDE_STEP) ? 2 : 1))
		return false;
#ifdef WORDS_BIGENDIAN
	if (!(control & PACK_WIDE_STEP))
		step >>= 8;
#endif
	step += state->slot;
	head->address = state->slot_address;
	head->length = sizeof(uint16);
	if (!is_slot(*head))
		return false;
	bytes = begin_range(reader, *head);
	if (bytes == NULL)
		return false;
	memcpy(bytes, &step, sizeof(step));
	return true;
}

/*
 * Unpack a span of form 'plain', and set *head.  Returns false if it is malformed or does not fit.
 */
static bool
unpack_plain(PackReader *reader, VdbSpanHeader *head)
{
	char	   *bytes;

	if (!take(reader, head, sizeof(*head)))
		return false;
	bytes = begin_range(reader, *head);
	return bytes != NULL && take(reader, bytes, span_bytes(*head));
}

/* See scm_pack.h.  vdb_span_next checks the offsets and lengths of the spans. */
bool
vdb_spans_unpack(const char *packed, size_t len, char *to, size_t room, size_t *used)
{
	PackState	state = {0};
	PackReader	reader = {packed, packed + len, to, to + room};

	while (reader.from < reader.end)
	{
		uint8		control = (uint8) *reader.from++;
		char	   *start = reader.to;
		VdbSpanHeader head = {0};
		bool		good;

		switch (control & VDB_PACK_FORM)
		{
			case VDB_PACK_PLAIN:
				good = unpack_plain(&reader, &head);
				break;
			case VDB_PACK_LIKE:
				good = unpack_row(&reader, &state, control, &head);
				break;
			case VDB_PACK_NEXT:
				good = unpack_slot(&reader, &state, control, &head);
				break;
			default:
				good = false;
		}
		if (!good)
			return false;
		remember(&state, head, start + sizeof(head));
	}
	*used = reader.to - to;
	return true;
}
