/*
 * pack_test.c
 *	  Spans packed for WAL come out as they went in; nothing malformed goes far.
 */
#include "postgres.h"

#include "scm/scm_internal.h"
#include "scm/scm_pack.h"
#include "scm/scm_row.h"
#include "unit_shim.h"

#undef fprintf

#define ROOM	VDB_CHANGE_BLOCK_BYTES

void
ExceptionalCondition(const char *conditionName, const char *errorType,
					 const char *fileName, int lineNumber)
{
	fprintf(stderr, "assertion failed: %s (%s:%d)\n", conditionName, fileName, lineNumber);
	abort();
}

static char spans[ROOM];
static size_t used;

static void
add(uint16 offset, int phase, const void *bytes, uint16 len)
{
	VdbSpanHeader  head = {VDB_SPAN_ADDRESS(offset, phase, bytes == NULL), len};

	memcpy(spans + used, &head, sizeof(head));
	used += sizeof(head);
	if (bytes != NULL)
		memcpy(spans + used, bytes, len);
	used += bytes != NULL ? len : 0;
}

/* Packs exactly; returns the packed bytes' number. */
static size_t
round_trip(void)
{
	char	   *packed = malloc(VDB_PACK_BOUND(used) + 1);	/* so that sanitizers see its end */
	char	   *back = malloc(used + 1);
	size_t		len = vdb_spans_pack(spans, used, packed);
	char	   *exact = malloc(len + 1);
	size_t		got = 0;

	memcpy(exact, packed, len);
	UNIT_CHECK(len <= VDB_PACK_BOUND(used), "%zu of %zu", len, used);
	UNIT_CHECK(vdb_spans_unpack(exact, len, back, used, &got), "unpacks");
	UNIT_CHECK(got == used && memcmp(back, spans, used) == 0, "as it was");
	if (used > 0)
		UNIT_CHECK(!vdb_spans_unpack(exact, len, back, used - 1, &got), "no room");
	free(packed);
	free(back);
	free(exact);
	return len;
}

/* A row as rows/ stores it: length, epoch, header, data. */
static void
make_row(char *row, uint32 len, uint32 xmin, uint16 number)
{
	memset(row, 0, 32);
	len -= 8;
	memcpy(row, &len, 4);
	row[4] = 3;
	memcpy(row + 8, &xmin, 4);
	memcpy(row + 24, &number, 2);
	row[26] = 5;
	row[28] = 2;
	row[30] = 24;
}

static void
test_rows(void)
{
	char		row[200];
	uint16		offset = 600;
	size_t		first;
	size_t		all;

	for (int i = 0; i < 200; i++)
		row[i] = (char) (i * 7);
	used = 0;
	make_row(row, 70, 123456, 1);
	add(offset, VDB_PHASE_STORE, row, 70);
	first = round_trip();
	UNIT_CHECK(first < used - 12, "one row: %zu of %zu", first, used);
	for (int i = 1; i < 50; i++)
	{
		offset += 72;
		make_row(row, 70, 123456, (uint16) (i + 1));
		add(offset, VDB_PHASE_STORE, row, 70);
	}
	all = round_trip();
	UNIT_CHECK(all - first == 49 * (1 + 4 + 1 + 70 - 32), "49 more take %zu", all - first);

	used = 0;
	for (int i = 0; i < 50; i++)
	{
		uint16		slot = (uint16) (3 << 10 | (75 + 9 * i));

		add((uint16) (88 + 2 * i), VDB_PHASE_PUBLISH, &slot, 2);
	}
	UNIT_CHECK(round_trip() == 7 + 49 * 2, "slots");
}

/* A row version with its checksum, named by its t_ctid. */
static void
test_checksums(void)
{
	char		row[200];
	uint32		crc;
	uint16		block[3] = {0, 7, 9};
	size_t		whole;

	for (uint16 len = 36; len < 200; len++)
	{
		uint32		prefix = len - 12;

		for (int i = 0; i < 200; i++)
			row[i] = (char) (i * 11);
		make_row(row, len, 98765, 9);
		memcpy(row, &prefix, 4);
		memcpy(row + 20, block, 6);
		crc = vdb_row_crc((VdbRowNumber) 7 << 8 | 8, prefix, row + 8, prefix);
		memcpy(row + len - 4, &crc, 4);
		used = 0;
		add(600, VDB_PHASE_STORE, row, len);
		whole = round_trip();
		row[len - 1] ^= 1;
		used = 0;
		add(600, VDB_PHASE_STORE, row, len);
		UNIT_CHECK(round_trip() == whole + 4, "a wrong checksum of %u bytes is kept", len);
		row[len - 1] ^= 1;
		block[2] = 0xFFFE;		/* speculative: t_ctid has a token */
		memcpy(row + 20, block, 6);
		block[2] = 9;
		used = 0;
		add(600, VDB_PHASE_STORE, row, len);
		UNIT_CHECK(round_trip() >= whole + 4, "a row of %u bytes that t_ctid doesn't name", len);
	}
}

/* Anything a change could hold, like and unlike what came before. */
static void
make_spans(void)
{
	static char bytes[8192];
	uint16		offset = 24;

	used = 0;
	if (unit_random_below(2))
		for (int i = 0; i < 8192; i++)
			bytes[i] = (char) unit_random_below(256);
	while (used < ROOM - 600 && unit_random_below(40) != 0)
	{
		uint16		len = (uint16) (unit_random_below(3) ? 1 + unit_random_below(120) : 2);
		int			phase = unit_random_below(4) ? VDB_PHASE_STORE + len % 2 :
			(int) unit_random_below(4);

		if (len == 2 && unit_random_below(4))
			phase = VDB_PHASE_PUBLISH;
		if (unit_random_below(5) == 0)
			offset = (uint16) (24 + unit_random_below(8000 - 24));
		if (offset + len > 8192)
			offset = 24;
		bytes[unit_random_below(64)] = (char) unit_random_below(256);
		add(offset, phase, unit_random_below(10) ? bytes : NULL, len);
		offset = (uint16) (len == 2 ? offset + 2 : offset + MAXALIGN(len));
	}
}

static void
test_random(void)
{
	for (int i = 0; i < 3000; i++)
	{
		make_spans();
		(void) round_trip();
	}
}

/* Damage is refused, or gives other spans; it is never followed out of bounds. */
static void
test_damaged(void)
{
	char	   *back = malloc(ROOM);
	int			refused = 0;

	for (int i = 0; i < 20000; i++)
	{
		char	   *packed;
		char	   *exact;
		size_t		len;
		size_t		got = 0;

		if (i % 50 == 0)
			make_spans();
		packed = malloc(VDB_PACK_BOUND(used) + 1);
		len = vdb_spans_pack(spans, used, packed);
		for (int n = (int) unit_random_below(4); n >= 0 && len > 0; n--)
			packed[unit_random_below((uint32) len)] = (char) unit_random_below(256);
		len = unit_random_below(3) ? len : unit_random_below((uint32) len + 1);
		exact = malloc(len + 1);
		memcpy(exact, packed, len);
		if (!vdb_spans_unpack(exact, len, back, ROOM, &got))
			refused++;
		else
			UNIT_CHECK(got <= ROOM, "%zu", got);
		free(packed);
		free(exact);
	}
	UNIT_CHECK(refused > 1000, "some are refused: %d", refused);
	free(back);
}

int
main(void)
{
	unit_run("rows and slots get short", test_rows);
	unit_run("checksums of rows are left out", test_checksums);
	unit_run("any spans", test_random);
	unit_run("damaged records", test_damaged);
	return unit_finish();
}
