/*-------------------------------------------------------------------------
 *
 * scm_pack.c
 *	  Spans made shorter for WAL, and as they were again.
 *
 * Rows that are stored together have nearly the same header, each begins where
 * the one before ended, and so do their slots.  A row header of 32 bytes becomes
 * a mask and the few bytes that differ from the last one's, the first in a block
 * being compared with zeroes; a slot becomes the distance of its row from the
 * last.  A row version's checksum is left out, and computed again from the rest:
 * the record has a checksum of its own.  Everything else stays as it is.  Layout:
 * scm_format.h.
 *
 * Pure: no locks, no memory, no errors.  Unpacking trusts nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "scm/scm_pack.h"
#include "scm/scm_row.h"

#define PACK_EXPLICIT_ADDRESS		0x04
#define PACK_EXPLICIT_LENGTH	0x08
#define PACK_NO_CHECKSUM		0x10
#define PACK_WIDE_STEP			0x04

/* What the next span may be like. */
typedef struct PackState
{
	uint16		address;			/* where the last row ended, aligned */
	uint16		length;				/* of the last row */
	uint8		head[VDB_PACK_HEAD];	/* of the last row */
	uint16		slot_address;		/* where the last slot ended; 0: no slot yet */
	uint16		slot;				/* its value */
} PackState;

/* Can a span be packed like a row? */
static inline bool
is_row(VdbSpanHeader head)
{
	return !VDB_SPAN_IS_ZERO(head.address) && VDB_SPAN_PHASE(head.address) == VDB_PHASE_STORE &&
		head.length >= VDB_PACK_HEAD;
}

static inline bool
is_slot(VdbSpanHeader head)
{
	return !VDB_SPAN_IS_ZERO(head.address) && VDB_SPAN_PHASE(head.address) == VDB_PHASE_PUBLISH &&
		head.length == sizeof(uint16);
}

/* Bytes of a span that follow its header. */
static inline size_t
span_bytes(VdbSpanHeader head)
{
	return VDB_SPAN_IS_ZERO(head.address) ? 0 : head.length;
}

/* Remember a span, as packing and unpacking both do. */
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
 * The checksum that a span would end with if it were a row version which its t_ctid
 * names; false: it can't be one.  Its bytes but the last four are there.
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

static char *
put(char *to, const void *bytes, size_t len)
{
	memcpy(to, bytes, len);
	return to + len;
}

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

/* Which bytes differ from the last row's? */
static uint32
differing(const PackState *state, const char *bytes)
{
	uint32		mask = 0;

	for (int i = 0; i < VDB_PACK_HEAD; i++)
		mask |= (uint32) (state->head[i] != (uint8) bytes[i]) << i;
	return mask;
}

/*
 * Pack well-formed spans of one block; 'to' has VDB_PACK_BOUND(len) bytes.  Returns how many it
 * took.
 */
size_t
vdb_spans_pack(const char *spans, size_t len, char *to)
{
	PackState	state = {0};
	const char *from = spans;
	char	   *start = to;

	while (from < spans + len)
	{
		VdbSpanHeader  head;
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

typedef struct PackReader
{
	const char *from;
	const char *end;
	char	   *to;
	char	   *limit;
} PackReader;

/* Take 'len' bytes; false: there are not so many. */
static inline bool
take(PackReader *reader, void *bytes, size_t len)
{
	if ((size_t) (reader->end - reader->from) < len)
		return false;
	memcpy(bytes, reader->from, len);
	reader->from += len;
	return true;
}

/* Write a span's header; NULL: it and its bytes have no room.  Returns where the bytes go. */
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

static bool
unpack_plain(PackReader *reader, VdbSpanHeader *head)
{
	char	   *bytes;

	if (!take(reader, head, sizeof(*head)))
		return false;
	bytes = begin_range(reader, *head);
	return bytes != NULL && take(reader, bytes, span_bytes(*head));
}

/*
 * The spans that were packed, into 'room' bytes; *used says how many they took.
 * False if they are not well-formed or have no room.  What the spans say isn't
 * checked: see vdb_span_next.
 */
bool
vdb_spans_unpack(const char *packed, size_t len, char *to, size_t room, size_t *used)
{
	PackState	state = {0};
	PackReader	reader = {packed, packed + len, to, to + room};

	while (reader.from < reader.end)
	{
		uint8		control = (uint8) *reader.from++;
		char	   *start = reader.to;
		VdbSpanHeader  head = {0};
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
