/*
 * rows_test.c
 *	  Unit tests of segments: filling, owning, handing back, reading, changing.
 */
#include "postgres.h"

#include "pages/pages.h"
#include "utils/rel.h"

#include "rows_mock.h"

static FormData_pg_class test_class;
static RelationData test_relation = {.rd_rel = &test_class};
static VdbTableRef test_ref;

#define MAX_TEST_ROWS	60000

/* What was put, to compare with. */
typedef struct TestRow
{
	VdbRowNumber row;
	uint32		data_bytes;
	uint32		seed;
} TestRow;

static TestRow test_rows[MAX_TEST_ROWS];
static int	test_nrows;

static void
start(void)
{
	mock_start();
	test_ref.pool = &mock_pool;
	test_ref.slot = 12;
	test_ref.generation++;
	test_ref.logged = true;
	test_nrows = 0;
}

/* A tuple of data_bytes, all from its seed. */
static HeapTuple
make_tuple(uint32 data_bytes, uint32 seed)
{
	static PGAlignedBlock small;
	static char *large = NULL;
	static HeapTupleData tuple;
	char	   *image = small.data;
	HeapTupleHeader hdr;

	if (data_bytes > BLCKSZ - 64)
		image = large = realloc(large, data_bytes + 64);
	hdr = (HeapTupleHeader) image;
	memset(hdr, 0, 24);
	hdr->t_hoff = 24;
	HeapTupleHeaderSetNatts(hdr, 3);
	hdr->t_infomask = HEAP_XMAX_INVALID;
	HeapTupleHeaderSetXmin(hdr, 1000);
	for (uint32 i = 0; i < data_bytes; i++)
		image[24 + i] = (char) (seed * 31 + i * 7 + (i >> 8));
	tuple.t_len = 24 + data_bytes;
	tuple.t_data = hdr;
	return &tuple;
}

static bool
reserve(uint32 data_bytes, uint32 seed, VdbRowAddress *place)
{
	HeapTuple	tuple = make_tuple(data_bytes, seed);

	return vdb_rows_reserve(&test_relation, &test_ref, tuple, false, place);
}

static void
put(uint32 data_bytes, uint32 seed, const VdbRowAddress *place)
{
	HeapTuple	tuple = make_tuple(data_bytes, seed);
	VdbScmChange *change = vdb_scm_change_begin(test_ref.pool, 0);

	vdb_row_to_tid(place->row, &tuple->t_data->t_ctid);
	UNIT_CHECK(vdb_rows_put_fits(change, place, tuple), "an empty change takes a row");
	vdb_rows_put(change, &test_ref, place, tuple);
	vdb_scm_change_end(change);
	test_rows[test_nrows++] = (TestRow) {place->row, data_bytes, seed};
}

static VdbRowNumber
append(uint32 data_bytes)
{
	VdbRowAddress place;
	uint32		seed = (uint32) unit_random();

	if (!reserve(data_bytes, seed, &place))
		return VDB_ROW_NONE;
	put(data_bytes, seed, &place);
	return place.row;
}

static bool
read_row(VdbRowNumber row, VdbVersion *version, bool *removed)
{
	VdbExtent	extent;

	mock_extent(vdb_row_lb(row), &extent);
	return vdb_rows_version(&test_ref, &extent, vdb_row_lb(row), vdb_row_index(row), version,
							removed);
}

static void
check_all_rows(void)
{
	for (int i = 0; i < test_nrows; i++)
	{
		const TestRow *expected = &test_rows[i];
		PGAlignedBlock image;
		VdbVersion	version;
		bool		removed;
		HeapTuple	wanted = make_tuple(expected->data_bytes, expected->seed);
		const char *data = image.data + 24;
		uint32		data_bytes;
		HeapTuple	whole = NULL;

		if (!UNIT_CHECK(read_row(expected->row, &version, &removed), "row %llu is there",
						(unsigned long long) expected->row))
			return;
		UNIT_CHECK(version.row == expected->row && version.len <= VDB_ROW_MAX_INLINE, "row %d", i);
		vdb_rows_copy(&test_ref, &version, image.data);
		data_bytes = version.len - 24;
		if (version.wide)
		{
			whole = vdb_rows_complete_wide(&test_relation, image.data, version.len);
			data = (char *) whole->t_data + 24;
			data_bytes = whole->t_len - 24;
		}
		if (!UNIT_CHECK(data_bytes == expected->data_bytes &&
						memcmp(data, (char *) wanted->t_data + 24, data_bytes) == 0,
						"row %d of %u bytes, found %u", i, expected->data_bytes, data_bytes))
			return;
		free(whole);
	}
}

static VdbBlock
segment_of(VdbRowNumber row)
{
	return mock_pool.lb_segment[vdb_row_lb(row)];
}

static bool
is_open(VdbRowNumber row)
{
	return vdb_rows_segment_open(&test_ref, segment_of(row), VDB_IDLE_NEVER);
}

/* ---- filling ---- */

static void
test_choose(void)
{
	UNIT_CHECK(vdb_fill_choose_lbs(8168) == 1, "long rows");
	UNIT_CHECK(vdb_fill_choose_lbs(256) == 1, "256 of 256 bytes");
	UNIT_CHECK(vdb_fill_choose_lbs(200) == 2, "200 bytes");
	UNIT_CHECK(vdb_fill_choose_lbs(128) == 2, "128 bytes");
	UNIT_CHECK(vdb_fill_choose_lbs(64) == 4, "64 bytes");
	UNIT_CHECK(vdb_fill_choose_lbs(40) == 7, "40 bytes");
	for (uint32 bytes = 32; bytes <= 8168; bytes += 8)
	{
		int			lbs = vdb_fill_choose_lbs(bytes);

		UNIT_CHECK(lbs * 256 * bytes >= vdb_fill_payload(lbs * 256), "slots last, %u", bytes);
		UNIT_CHECK(lbs == 1 || (lbs - 1) * 256 * bytes < vdb_fill_payload((lbs - 1) * 256),
				   "no fewer slots would do, %u", bytes);
	}
}

static void
test_fill(void)
{
	for (int round = 0; round < 200; round++)
	{
		static char taken[VDB_SEGMENT_BYTES];
		VdbSegmentFill fill;
		uint16		nslots = 256 << unit_random_below(4);
		uint32		longest = 32 + 8 * unit_random_below(1000);
		uint32		bytes;
		uint8		block;
		uint16		offset;
		int			n = 0;

		memset(taken, 0, sizeof(taken));
		vdb_fill_init(&fill, 8, 0, nslots);
		for (;;)
		{
			bytes = MAXALIGN(32 + unit_random_below(longest - 24));
			bytes = Min(bytes, VDB_POOL_BLOCK_PAYLOAD);
			if (!vdb_fill_find(&fill, bytes, &block, &offset))
				break;
			UNIT_CHECK(vdb_fill_add(&fill, bytes, block, offset) == n, "slots ascend");
			if (unit_random_below(5) == 0)
			{
				UNIT_CHECK(!vdb_fill_back(&fill, n + 1, block, offset), "not the latest");
				UNIT_CHECK(vdb_fill_back(&fill, n, block, offset), "the latest goes back");
				continue;
			}
			UNIT_CHECK(offset % 8 == 0 && offset + bytes <= 8192, "aligned, in its block");
			UNIT_CHECK(offset % 512 + 32 <= 512, "the header in one sector");
			UNIT_CHECK(offset >= (block == 0 ? 88 + 2 * nslots : 24), "behind the slots");
			for (uint32 i = 0; i < bytes; i++)
				UNIT_CHECK(taken[block * 8192 + offset + i]++ == 0, "no overlap");
			n++;
		}
		UNIT_CHECK(n == nslots || block == 7 || fill.next_block == 7, "full up");
	}
}

/* ---- appending ---- */

static void
test_append(void)
{
	VdbRowNumber last = 0;

	start();
	for (int i = 0; i < 8000; i++)
	{
		VdbRowNumber row = append(unit_random_below(10) == 0 ? unit_random_below(7000) :
								  unit_random_below(200));

		UNIT_CHECK(row != VDB_ROW_NONE && (i == 0 || row > last), "row numbers ascend");
		last = row;
		if (unit_random_below(50) == 0)
			mock_transaction_end(true);
	}
	mock_transaction_end(true);
	check_all_rows();
	UNIT_CHECK(mock_pool.nreserved == 0, "%d reserved", mock_pool.nreserved);
}

static void
test_same_segment(void)
{
	VdbRowNumber first;

	start();
	first = append(100);
	for (int i = 1; i < 400; i++)
	{
		mock_transaction_end(i % 3 != 0);
		UNIT_CHECK(append(100) == first + i, "one session goes on in its segment");
	}
	UNIT_CHECK(mock_pool.nclaims == 1, "claims: %d", mock_pool.nclaims);
}

/* Claims double within a transaction; spares are handed back and used in order. */
static void
test_runs(void)
{
	VdbRowNumber last = 0;
	int			claims;

	start();
	while (mock_pool.nclaims < 5)
		last = append(8000);
	UNIT_CHECK(test_nrows == (1 + 2 + 4 + 8) * 7 + 1 ||
			   test_nrows == (1 + 2 + 4 + 8) * 8 + 1, "rows before the 5th claim: %d", test_nrows);
	mock_transaction_end(true);
	claims = mock_pool.nclaims;
	for (int i = 0; i < 50; i++)
	{
		VdbRowNumber row = append(8000);

		UNIT_CHECK(row > last && vdb_row_lb(row) <= vdb_row_lb(last) + 1, "lowest first");
		last = row;
		mock_transaction_end(true);
	}
	UNIT_CHECK(mock_pool.nclaims == claims, "spares are used up first");
}

static void
test_wide(void)
{
	start();
	append(VDB_ROW_MAX_INLINE - VDB_ROW_EXTRA_BYTES - 24);
	append(VDB_ROW_MAX_INLINE - VDB_ROW_EXTRA_BYTES - 24 + 1);
	append(100000);
	append(3000000);
	check_all_rows();
}

static void
test_unreserve(void)
{
	VdbRowAddress a;
	VdbRowAddress b;
	VdbRowAddress c;

	start();
	reserve(100, 1, &a);
	reserve(100, 2, &b);
	UNIT_CHECK(b.row == a.row + 1, "next");
	vdb_rows_unreserve(&test_ref, &b);
	vdb_rows_unreserve(&test_ref, &a);
	reserve(50, 3, &c);
	UNIT_CHECK(c.row == a.row && c.offset == a.offset, "given back");
	put(50, 3, &c);
	reserve(100, 1, &a);
	reserve(100, 2, &b);
	vdb_rows_unreserve(&test_ref, &a);
	put(100, 2, &b);
	check_all_rows();
}

/* ---- owning ---- */

/* A segment with a reserved place stays owned, full or not, till the place is put. */
static void
test_outstanding(void)
{
	VdbRowAddress places[40];

	start();
	for (int i = 0; i < 40; i++)
		UNIT_CHECK(reserve(8000, i, &places[i]), "reserve");
	vdb_rows_hand_back();
	for (int i = 0; i < 40; i++)
		UNIT_CHECK(vdb_rows_segment_open(&test_ref, places[i].slot_block, 0),
				   "owned while outstanding");
	for (int i = 0; i < 40; i++)
		put(8000, i, &places[i]);
	append(8000);
	UNIT_CHECK(!is_open(places[0].row), "full, nothing outstanding: closed");
	UNIT_CHECK(is_open(places[39].row), "the current one is open");
	check_all_rows();
	mock_transaction_end(true);

	/* places that are lost with a subtransaction don't count any more */
	for (int i = 0; i < 40; i++)
		reserve(8000, i, &places[i]);
	mock_subtransaction_abort();
	append(8000);
	UNIT_CHECK(!is_open(places[0].row), "closed");
}

static void
test_open_and_take(void)
{
	VdbRowNumber first;
	VdbRowNumber next;
	VdbSegmentHeader const *header;

	start();
	first = append(100);
	header = vdb_rows_segment(&test_ref, segment_of(first), vdb_row_lb(first));
	UNIT_CHECK(header->first_lb == 0 && header->epoch == 3, "header");
	UNIT_CHECK(vdb_rows_segment_open(&test_ref, segment_of(first), VDB_IDLE_NEVER), "owned");
	UNIT_CHECK(vdb_rows_segment_open(&test_ref, segment_of(first), 0), "owned, not taken");
	mock_transaction_end(true);
	UNIT_CHECK(vdb_rows_segment_open(&test_ref, segment_of(first), VDB_IDLE_NEVER), "handed back");
	UNIT_CHECK(!vdb_rows_segment_open(&test_ref, segment_of(first), 0), "taken");
	UNIT_CHECK(!vdb_rows_segment_open(&test_ref, segment_of(first), VDB_IDLE_NEVER), "closed");
	next = append(100);
	UNIT_CHECK(segment_of(next) != segment_of(first), "no session appends to it");
}

/* A new generation of the table slot has nothing to do with the old one's segments. */
static void
test_generation(void)
{
	VdbRowNumber old;
	VdbRowNumber new;

	start();
	old = append(100);
	test_ref.generation++;
	new = append(100);
	UNIT_CHECK(segment_of(old) != segment_of(new), "owned one is dropped");
	mock_transaction_end(true);
	test_ref.generation++;
	old = new;
	new = append(100);
	UNIT_CHECK(segment_of(old) != segment_of(new), "handed-back one is dropped");
	test_ref.generation--;
	UNIT_CHECK(!is_open(old), "and closed");
	test_ref.generation++;
}

/* Many tables in one transaction: a backend owns a bounded number of segments. */
static void
test_many_tables(void)
{
	start();
	for (int round = 0; round < 3; round++)
	{
		for (int t = 0; t < 200; t++)
		{
			VdbRowNumber row;

			test_ref.slot = 100 + t;
			row = append(100);
			UNIT_CHECK(vdb_row_index(row) == round, "goes on in its segment");
		}
	}
	mock_transaction_end(true);
	UNIT_CHECK(mock_pool.nclaims == 200, "claims: %d", mock_pool.nclaims);
	test_ref.slot = 12;
}

static void
test_pool_full(void)
{
	VdbRowAddress place;
	int			n = 0;

	start();
	mock_pool.free_segments = 5;
	while (append(8000) != VDB_ROW_NONE)
		n++;
	UNIT_CHECK(n >= 5 * 7 && n <= 5 * 8, "%d rows in 5 segments", n);
	UNIT_CHECK(!reserve(8000, 1, &place), "still full");
	mock_pool.free_segments = 1;
	UNIT_CHECK(append(8000) != VDB_ROW_NONE, "there is space again");
	UNIT_CHECK(mock_pool.nreserved == 0, "nothing stays reserved");
	check_all_rows();
}

/* A pool that is nearly full is claimed bit by bit. */
static void
test_pool_nearly_full(void)
{
	start();
	pg_atomic_write_u32(&mock_pool.shared.used_segments, 1024 * 16 - 40);
	while (mock_pool.nclaims < 12)
		append(8000);
	UNIT_CHECK(MOCK_SEGMENTS - 1 - mock_pool.free_segments == 1 + 11 * 2, "segments: %d",
			   (int) (MOCK_SEGMENTS - 1 - mock_pool.free_segments));
	pg_atomic_write_u32(&mock_pool.shared.used_segments, 0);
}

static void
append_one(void)
{
	append(100);
}

static void
test_claim_fails(void)
{
	start();
	mock_pool.fail_claim = 1;
	UNIT_CHECK(!mock_try(append_one), "error");
	mock_pool.fail_claim = 0;
	mock_transaction_end(false);
	UNIT_CHECK(mock_pool.nreserved == 0, "reserved: %d", mock_pool.nreserved);
	UNIT_CHECK(!vdb_rows_segment_open(&test_ref, 8, VDB_IDLE_NEVER), "no entry is left");
	mock_pool.fail_claim = 2;
	UNIT_CHECK(!mock_try(append_one), "error");
	mock_pool.fail_claim = 0;
	mock_subtransaction_abort();
	UNIT_CHECK(mock_pool.nreserved == 0, "what was claimed is not unreserved: %d",
			   mock_pool.nreserved);
	UNIT_CHECK(!vdb_rows_segment_open(&test_ref, 16, VDB_IDLE_NEVER), "no entry is left");
	append(100);
	check_all_rows();
}

/* ---- the shared list against a model ---- */

#define MODEL_SEGMENTS	6000

typedef struct ModelSegment
{
	int			state;				/* 0 closed, 1 owned, 2 handed back */
	int			table;
	int			handle;
} ModelSegment;

static VdbOpenTable
model_table(int t)
{
	VdbOpenTable table = {5, 77, (uint32) t, 1};

	return table;
}

static void
test_open_model(void)
{
	static ModelSegment model[MODEL_SEGMENTS];
	int			nowned = 0;
	int			nlisted = 0;

	start();
	memset(model, 0, sizeof(model));
	for (int step = 0; step < 60000; step++)
	{
		int			i = (int) unit_random_below(MODEL_SEGMENTS);
		ModelSegment *segment = &model[i];
		VdbOpenTable table = model_table(segment->state ? segment->table : i % 50);
		VdbSegmentFill fill;
		int			handle;

		if (segment->state == 0 && nowned < VDB_OPEN_PER_BACKEND && nlisted < 4000)
		{
			segment->table = i % 50;
			segment->handle = vdb_open_enter(&table, (i + 1) * 8);
			segment->state = 1;
			nowned++;
		}
		else if (segment->state == 1 || (segment->state == 2 && unit_random_below(4) == 0))
		{
			bool		take = unit_random_below(3) == 0;
			bool		open = vdb_open_status(&table, (i + 1) * 8, take ? 0 : VDB_IDLE_NEVER);

			UNIT_CHECK(open == (segment->state == 1 || !take), "status of %d", i);
			if (!open)
			{
				segment->state = 0;
				nlisted--;
			}
		}
		if (nowned == VDB_OPEN_PER_BACKEND)
		{
			for (int j = 0; j < MODEL_SEGMENTS; j++)
			{
				if (model[j].state != 1)
					continue;
				nowned--;
				if (unit_random_below(4) == 0)
				{
					vdb_open_close(model[j].handle);
					model[j].state = 0;
					continue;
				}
				vdb_fill_init(&fill, (j + 1) * 8, j, 256);
				vdb_open_give(model[j].handle, &fill);
				model[j].state = 2;
				nlisted++;
			}
		}
		table = model_table(i % 50);
		if (nowned < VDB_OPEN_PER_BACKEND && vdb_open_take(&table, 64, 0, &fill, &handle))
		{
			int			j = fill.segment / 8 - 1;

			UNIT_CHECK(model[j].state == 2 && model[j].table == i % 50, "took %d", j);
			for (int k = i % 50; k < j; k += 50)
				UNIT_CHECK(model[k].state != 2, "%d is lower than %d", k, j);
			model[j].state = 1;
			model[j].handle = handle;
			nowned++;
			nlisted--;
		}
	}
	for (int i = 0; i < MODEL_SEGMENTS; i++)
	{
		VdbOpenTable table = model_table(i % 50);

		UNIT_CHECK(vdb_open_status(&table, (i + 1) * 8, VDB_IDLE_NEVER) == (model[i].state != 0),
				   "%d", i);
		if (model[i].state == 1)
			vdb_open_close(model[i].handle);
	}
}

/* A backend goes on where it was, unless another is there, or it is closed or full. */
static void
test_open_retake(void)
{
	VdbOpenTable table = model_table(1);
	VdbOpenTable other = model_table(2);
	VdbSegmentFill fill;
	VdbSegmentFill seen_fill;
	int			low;
	int			high;
	int			handle;
	int			pid = MyProcPid;

	start();
	low = vdb_open_enter(&table, 8);
	high = vdb_open_enter(&table, 16);
	UNIT_CHECK(vdb_open_retake(&table, high, 16, 64, &seen_fill) == VDB_RETAKE_BUSY, "owned");
	vdb_fill_init(&fill, 8, 0, 256);
	vdb_open_give(low, &fill);
	vdb_fill_init(&fill, 16, 1, 256);
	fill.next_slot = 7;
	fill.next_offset += 512;
	vdb_open_give(high, &fill);

	UNIT_CHECK(vdb_open_retake(&table, high, 16, 64, &seen_fill) == VDB_RETAKE_DONE,
			   "its own, not the lowest");
	UNIT_CHECK(seen_fill.next_slot == 7 && seen_fill.next_offset == fill.next_offset,
			   "where it was");
	UNIT_CHECK(vdb_open_status(&table, 16, 0), "owned: no other process closes it");
	UNIT_CHECK(!vdb_open_take(&table, 64, 1, &seen_fill, &handle), "the other was in use just now");
	MyProcPid = pid + 1;
	UNIT_CHECK(vdb_open_retake(&table, high, 16, 64, &seen_fill) == VDB_RETAKE_BUSY,
			   "another is there");
	UNIT_CHECK(vdb_open_retake(&table, high, 24, 64, &seen_fill) == VDB_RETAKE_FAILED,
			   "another's segment");
	MyProcPid = pid;
	vdb_open_give(high, &fill);

	MyProcPid = pid + 1;
	UNIT_CHECK(vdb_open_retake(&other, high, 16, 64, &seen_fill) == VDB_RETAKE_FAILED,
			   "another table's");
	UNIT_CHECK(vdb_open_retake(&table, high, 16, 64, &seen_fill) == VDB_RETAKE_DONE,
			   "left as it was");
	UNIT_CHECK(vdb_open_take(&table, 64, 0, &seen_fill, &handle) && handle == low,
			   "the only one left");
	MyProcPid = pid;
	UNIT_CHECK(!vdb_open_take(&table, 64, 0, &seen_fill, &handle), "both have owners");
	MyProcPid = pid + 1;
	vdb_open_give(high, &fill);
	vdb_open_close(low);
	MyProcPid = pid;

	UNIT_CHECK(vdb_open_retake(&table, low, 8, 64, &seen_fill) == VDB_RETAKE_FAILED, "closed");
	UNIT_CHECK(vdb_open_retake(&table, high, 16, 64, &fill) == VDB_RETAKE_DONE, "again");
	fill.next_slot = fill.nslots;
	vdb_open_give(high, &fill);
	UNIT_CHECK(vdb_open_retake(&table, high, 16, 64, &fill) == VDB_RETAKE_FAILED, "full");
	UNIT_CHECK(!vdb_open_status(&table, 16, VDB_IDLE_NEVER), "and so closed");
}

/* With no entry free, somebody's handed-back segment makes way. */
static void
test_open_evicts(void)
{
	int			nopen = 0;

	start();
	for (int i = 0; i < 10000; i++)
	{
		VdbOpenTable table = model_table(i % 7);
		VdbSegmentFill fill;
		int			handle = vdb_open_enter(&table, (i + 1) * 8);

		vdb_fill_init(&fill, (i + 1) * 8, i, 256);
		vdb_open_give(handle, &fill);
	}
	for (int i = 0; i < 10000; i++)
	{
		VdbOpenTable table = model_table(i % 7);

		if (vdb_open_status(&table, (i + 1) * 8, VDB_IDLE_NEVER))
			nopen++;
	}
	UNIT_CHECK(nopen == 4096 + 5 * VDB_OPEN_PER_BACKEND, "all entries are in use: %d", nopen);
}

/* ---- reading ---- */

static VdbVersion seen;
static VdbRowNumber seen_row;

static void
read_one(void)
{
	bool		removed;

	read_row(seen_row, &seen, &removed);
}

static void
check_damage(const char *what, void *at, size_t len, uint64 value)
{
	uint64		kept = 0;

	memcpy(&kept, at, len);
	memcpy(at, &value, len);
	mock_errcode = 0;
	UNIT_CHECK(!mock_try(read_one) && mock_errcode == ERRCODE_DATA_CORRUPTED, "%s", what);
	memcpy(at, &kept, len);
	UNIT_CHECK(mock_try(read_one), "%s repaired", what);
}

static void
test_damage(void)
{
	VdbSegmentHeader *header;
	uint16	   *slots;
	VdbRowPrefix *prefix;
	HeapTupleHeader hdr;

	start();
	append(100);
	seen_row = append(100);
	read_one();
	header = (VdbSegmentHeader *) mock_bytes(segment_of(seen_row), 24);
	slots = (uint16 *) mock_bytes(segment_of(seen_row), VDB_SEGMENT_SLOTS);
	prefix = (VdbRowPrefix *) mock_bytes(seen.block, seen.offset);
	hdr = (HeapTupleHeader) (prefix + 1);
	check_damage("magic", &header->magic, 4, 1);
	check_damage("version", &header->version, 2, VDB_SEGMENT_VERSION - 1);
	check_damage("nslots", &header->nslots, 2, 300);
	check_damage("slot", &header->table_slot, 4, 13);
	check_damage("generation", &header->table_generation, 4, 99);
	check_damage("first_lb", &header->first_lb, 4, 5);
	check_damage("slot in the slot array", &slots[1], 2, 100 >> 3);
	check_damage("slot's block", &slots[1], 2, 8 << 10);
	check_damage("slot at the end", &slots[1], 2, vdb_slot_make(7, 8184));
	check_damage("length", &prefix->len, 4, 8192);
	check_damage("short length", &prefix->len, 4, 16);
	check_damage("wide length", &prefix->len, 4, VDB_ROW_WIDE | 48);
	check_damage("hoff", &hdr->t_hoff, 1, 25);
	check_damage("small hoff", &hdr->t_hoff, 1, 16);
	check_damage("map", &mock_pool.lb_segment[0], 4, 0);
	check_damage("map's alignment", &mock_pool.lb_segment[0], 4, 12);
	check_damage("map's end", &mock_pool.lb_segment[0], 4, MOCK_SEGMENTS * 8);
}

static PGAlignedBlock wide_image;

static void
complete_wide(void)
{
	free(vdb_rows_complete_wide(&test_relation, wide_image.data, seen.len));
}

static void
test_wide_damage(void)
{
	VdbWideRef	wide;
	char	   *pages;

	start();
	seen_row = append(50000);
	read_one();
	UNIT_CHECK(seen.wide && seen.len == 24 + sizeof(VdbWideRef), "a wide row");
	vdb_rows_copy(&test_ref, &seen, wide_image.data);
	memcpy(&wide, wide_image.data + 24, sizeof(wide));
	UNIT_CHECK(wide.data_bytes == 50000 && wide.npages == 7, "its reference");
	UNIT_CHECK(mock_try(complete_wide), "intact");

	pages = mock_page_bytes(wide.first_page);
	pages[40000] ^= 4;
	UNIT_CHECK(!mock_try(complete_wide) && mock_errcode == ERRCODE_DATA_CORRUPTED,
			   "a bit is wrong");
	pages[40000] ^= 4;
	wide.data_bytes += VDB_PAGE_PAYLOAD;
	memcpy(wide_image.data + 24, &wide, sizeof(wide));
	UNIT_CHECK(!mock_try(complete_wide) && mock_errcode == ERRCODE_DATA_CORRUPTED,
			   "length and pages differ");
	wide.data_bytes = 0xFFFFFFF0;
	memcpy(wide_image.data + 24, &wide, sizeof(wide));
	UNIT_CHECK(!mock_try(complete_wide) && mock_errcode == ERRCODE_DATA_CORRUPTED, "too long");
}

/* Is the byte at this place of a tuple covered by the row's checksum, and which of its bits? */
static uint8
covered_bits(uint32 at)
{
	if (at < 4)
		return 0xFF;			/* xmin */
	if (at < offsetof(HeapTupleHeaderData, t_infomask2))
		return 0;
	if (at == offsetof(HeapTupleHeaderData, t_infomask2) || at == offsetof(HeapTupleHeaderData,
																		   t_infomask2) + 1)
		return (uint8) (HEAP_NATTS_MASK >> (8 * (at - offsetof(HeapTupleHeaderData, t_infomask2))));
	if (at == offsetof(HeapTupleHeaderData, t_infomask))
		return HEAP_HASNULL | HEAP_HASVARWIDTH | HEAP_HASEXTERNAL | HEAP_HASOID_OLD;
	if (at == offsetof(HeapTupleHeaderData, t_infomask) + 1)
		return 0;
	return 0xFF;				/* t_hoff, null bitmap, data, and the checksum itself */
}

/* Every bit of a row that can't change is guarded, and no other. */
static void
check_each_bit(uint32 data_bytes)
{
	VdbRowDamage damage;
	char	   *stored;
	char	   *image;
	bool		good = true;

	seen_row = append(data_bytes);
	read_one();
	stored = mock_bytes(seen.block, seen.offset + sizeof(VdbRowPrefix));
	UNIT_CHECK(stored == vdb_rows_image(&test_ref, &seen), "its place");
	UNIT_CHECK(!vdb_rows_damaged(&seen, stored, &damage), "%u bytes are intact", data_bytes);
	image = malloc(seen.len + VDB_ROW_CRC_BYTES);	/* so that sanitizers see its end */
	memcpy(image, stored, seen.len + VDB_ROW_CRC_BYTES);
	for (uint32 at = 0; at < seen.len + VDB_ROW_CRC_BYTES && good; at++)
		for (int bit = 0; bit < 8 && good; bit++)
		{
			bool		covered = (covered_bits(at) >> bit) & 1;

			image[at] ^= 1 << bit;
			good = UNIT_CHECK(vdb_rows_damaged(&seen, image, &damage) == covered,
							  "%u bytes: bit %d of byte %u", data_bytes, bit, at);
			if (good && covered)
				UNIT_CHECK(damage.row == seen_row && damage.block == seen.block &&
						   damage.offset == seen.offset &&
						   damage.expected != damage.found, "it is named");
			image[at] ^= 1 << bit;
		}
	seen.row++;
	UNIT_CHECK(vdb_rows_damaged(&seen, image, &damage), "it is not the next row");
	seen.row--;
	seen.wide = !seen.wide;
	UNIT_CHECK(vdb_rows_damaged(&seen, image, &damage), "nor one of the other kind");
	free(image);
}

static void
test_checksum(void)
{
	VdbScmChange *change;
	VdbRowDamage damage;

	start();
	for (uint32 bytes = 0; bytes < 40; bytes++)
		check_each_bit(bytes);
	check_each_bit(VDB_ROW_MAX_INLINE - VDB_ROW_EXTRA_BYTES - 24);
	check_each_bit(50000);

	/* a change of the header leaves it intact */
	seen_row = append(100);
	read_one();
	HeapTupleHeaderSetXmax(&seen.hdr, 1001);
	seen.hdr.t_infomask &= ~HEAP_XMAX_INVALID;
	seen.hdr.t_infomask |= HEAP_XMIN_COMMITTED;
	seen.hdr.t_infomask2 |= HEAP_KEYS_UPDATED | HEAP_HOT_UPDATED;
	HeapTupleHeaderSetCmax(&seen.hdr, 5, false);
	vdb_row_to_tid(seen_row + 1, &seen.hdr.t_ctid);
	change = vdb_scm_change_begin(test_ref.pool, 0);
	vdb_rows_set_xmax(change, &test_ref, &seen, mock_pool.shared.epoch);
	vdb_scm_change_end(change);
	read_one();
	UNIT_CHECK(HeapTupleHeaderGetRawXmax(&seen.hdr) == 1001, "deleted");
	UNIT_CHECK(!vdb_rows_damaged(&seen, vdb_rows_image(&test_ref, &seen), &damage), "and intact");
}

/* Whose data may a crash have taken? */
static void
test_lacking(void)
{
	HeapTupleHeader hdr = make_tuple(0, 0)->t_data;

	mock_committed = 1000;
	UNIT_CHECK(!vdb_rows_may_lack_data(hdr), "committed");
	HeapTupleHeaderSetXmin(hdr, 1001);
	UNIT_CHECK(vdb_rows_may_lack_data(hdr), "never committed");
	hdr->t_infomask |= HEAP_XMIN_COMMITTED;
	UNIT_CHECK(!vdb_rows_may_lack_data(hdr), "committed, by its flag");
	hdr->t_infomask |= HEAP_XMIN_INVALID;
	UNIT_CHECK(!vdb_rows_may_lack_data(hdr), "frozen");
	hdr->t_infomask = HEAP_XMIN_INVALID;
	HeapTupleHeaderSetXmin(hdr, 1000);
	UNIT_CHECK(vdb_rows_may_lack_data(hdr), "lost");
	mock_committed = InvalidTransactionId;
}

static void
check_wide_data(void)
{
	VdbRowDamage damage;

	if (vdb_rows_wide_damaged(&test_relation, &seen, wide_image.data, &damage))
	{
		mock_errcode = damage.row == seen_row &&
			damage.expected != damage.found ? ERRCODE_DATA_CORRUPTED : 0;
		vdb_rows_report_damage(&test_relation, ERROR, &damage);
	}
}

static void
test_wide_checksum(void)
{
	VdbWideRef	wide;
	char	   *pages;

	start();
	seen_row = append(200000);
	read_one();
	vdb_rows_copy(&test_ref, &seen, wide_image.data);
	memcpy(&wide, wide_image.data + 24, sizeof(wide));
	UNIT_CHECK(mock_try(check_wide_data), "intact");
	pages = mock_page_bytes(wide.first_page);
	for (int i = 0; i < 3; i++)
	{
		int			at = (int[]) {0, 65536, 199999}[i];

		pages[at] ^= 1;
		UNIT_CHECK(!mock_try(check_wide_data) && mock_errcode == ERRCODE_DATA_CORRUPTED,
				   "byte %d", at);
		pages[at] ^= 1;
	}
	UNIT_CHECK(mock_try(check_wide_data), "intact again");
}

static void
test_lost_ids(void)
{
	VdbVersion	version;
	VdbRowPrefix *prefix;
	HeapTupleHeader hdr;
	VdbRowNumber row;
	bool		removed;

	start();
	row = append(100);
	read_row(row, &version, &removed);
	prefix = (VdbRowPrefix *) mock_bytes(version.block, version.offset);
	hdr = (HeapTupleHeader) (prefix + 1);
	UNIT_CHECK(!HeapTupleHeaderXminInvalid(&version.hdr), "this epoch's xmin counts");

	/* crash: transactions from 900 on are unknown to the next run */
	mock_pool.limit_xid[3] = 900;
	mock_pool.shared.epoch = 4;
	read_row(row, &version, &removed);
	UNIT_CHECK(HeapTupleHeaderXminInvalid(&version.hdr), "xmin 1000 is lost");
	UNIT_CHECK(version.seen_infomask == HEAP_XMAX_INVALID, "as read");
	vdb_rows_hint(&test_ref, &version);
	UNIT_CHECK(hdr->t_infomask & HEAP_XMIN_INVALID, "stored");

	hdr->t_infomask = HEAP_XMAX_INVALID;
	mock_pool.limit_xid[3] = 1001;
	read_row(row, &version, &removed);
	UNIT_CHECK(!HeapTupleHeaderXminInvalid(&version.hdr), "xmin 1000 was known");

	hdr->t_infomask = HEAP_XMIN_COMMITTED;
	HeapTupleHeaderSetXmax(hdr, 1001);
	prefix->xmax_epoch = 3;
	read_row(row, &version, &removed);
	UNIT_CHECK(version.hdr.t_infomask & HEAP_XMAX_INVALID, "xmax is lost");
	prefix->xmax_epoch = 4;
	read_row(row, &version, &removed);
	UNIT_CHECK(!(version.hdr.t_infomask & HEAP_XMAX_INVALID), "xmax of this epoch");
	prefix->xmax_epoch = 3;
	hdr->t_infomask |= HEAP_XMAX_IS_MULTI;
	mock_pool.limit_multi[3] = 1002;
	read_row(row, &version, &removed);
	UNIT_CHECK(!(version.hdr.t_infomask & HEAP_XMAX_INVALID), "a multixact has its own limit");
	UNIT_CHECK(HeapTupleHeaderGetRawXmax(&version.hdr) == 1001, "and its id");
	mock_pool.limit_multi[3] = 1001;
	read_row(row, &version, &removed);
	UNIT_CHECK(version.hdr.t_infomask & HEAP_XMAX_INVALID, "the multixact is lost");
	UNIT_CHECK(HeapTupleHeaderGetRawXmax(&version.hdr) == 0, "its id is not used");
	hdr->t_infomask |= HEAP_XMAX_INVALID;
	read_row(row, &version, &removed);
	UNIT_CHECK(HeapTupleHeaderGetRawXmax(&version.hdr) == 0, "nor behind a hint");
	hdr->t_infomask = HEAP_XMIN_FROZEN | HEAP_XMAX_INVALID;
	mock_pool.limit_xid[3] = 1;
	read_row(row, &version, &removed);
	UNIT_CHECK(HeapTupleHeaderXminFrozen(&version.hdr), "frozen stays");

	mock_hints = 0;
	vdb_rows_hint(&test_ref, &version);
	version.hdr.t_infomask |= HEAP_XMAX_COMMITTED;
	mock_recovery = true;
	vdb_rows_hint(&test_ref, &version);
	UNIT_CHECK(mock_hints == 0, "no hint without a difference, or in recovery");
}

/* A crash kept a slot and not its row: zeroes, as the claim left them. */
static void
test_lost(void)
{
	VdbRowPrefix *prefix;
	VdbVersion	version;
	bool		removed;

	start();
	for (VdbBlock block = 8; block < 16 * 8; block++)
		memset(mock_bytes(block, 24), 0x55, VDB_POOL_BLOCK_BYTES - 24);
	seen_row = append(100);
	read_one();
	prefix = (VdbRowPrefix *) mock_bytes(seen.block, seen.offset);
	UNIT_CHECK(*mock_bytes(segment_of(seen_row) + 7, 8000) == 0,
			   "a claim zeroes all of the segment");

	memset(prefix, 0, VDB_ROW_HEADER_BYTES);
	mock_errcode = 0;
	UNIT_CHECK(!mock_try(read_one) && mock_errcode == ERRCODE_DATA_CORRUPTED,
			   "in this epoch it is damage");
	mock_pool.shared.epoch = 4;
	UNIT_CHECK(!read_row(seen_row, &version, &removed) && !removed,
			   "in a later epoch it is no row");
	prefix->len = 8192;
	mock_errcode = 0;
	UNIT_CHECK(!mock_try(read_one) && mock_errcode == ERRCODE_DATA_CORRUPTED,
			   "what isn't zero is damage");
	mock_pool.shared.epoch = 3;
}

/* No segment of another epoch is appended to. */
static void
test_old_run(void)
{
	VdbRowNumber old;
	VdbRowNumber new;

	start();
	old = append(100);
	mock_transaction_end(true);
	mock_pool.shared.epoch = 4;
	new = append(100);
	UNIT_CHECK(segment_of(old) != segment_of(new), "another segment");
	mock_pool.shared.epoch = 3;
}

/* ---- changing ---- */

static void
set_xmax(VdbVersion *version, TransactionId xmax, uint16 infomask)
{
	VdbScmChange *change = vdb_scm_change_begin(test_ref.pool, 0);

	version->hdr.t_infomask &= ~HEAP_XMAX_BITS;
	version->hdr.t_infomask |= infomask;
	HeapTupleHeaderSetXmax(&version->hdr, xmax);
	vdb_row_to_tid(UINT64CONST(0x12345678A7), &version->hdr.t_ctid);
	vdb_rows_set_xmax(change, &test_ref, version, mock_pool.shared.epoch);
	vdb_scm_change_end(change);
}

static void
test_set_xmax(void)
{
	VdbRowNumber row;
	VdbVersion	version;
	VdbVersion	before;
	bool		removed;

	start();
	append(100);
	row = append(100);
	append(100);
	read_row(row, &version, &removed);
	set_xmax(&version, 2000, HEAP_XMAX_EXCL_LOCK);
	read_row(row, &version, &removed);
	UNIT_CHECK(HeapTupleHeaderGetRawXmax(&version.hdr) == 2000, "xmax");
	UNIT_CHECK((version.hdr.t_infomask & HEAP_XMAX_BITS) == HEAP_XMAX_EXCL_LOCK, "bits");
	UNIT_CHECK(vdb_tid_to_row(&version.hdr.t_ctid) == UINT64CONST(0x12345678A7), "t_ctid");
	UNIT_CHECK(((VdbRowPrefix *) mock_bytes(version.block, version.offset))->xmax_epoch == 3,
			   "epoch");
	check_all_rows();

	/* a crash in between: the old xmax, which is over, is never read with the new flags */
	before = version;
	mock_pool.hold_publish = true;
	set_xmax(&version, 3000, HEAP_XMAX_LOCK_ONLY | HEAP_XMAX_EXCL_LOCK);
	read_row(row, &version, &removed);
	UNIT_CHECK(version.hdr.t_infomask & HEAP_XMAX_INVALID, "no xmax counts");
	UNIT_CHECK(HeapTupleHeaderGetRawXmax(&version.hdr) == 3000, "new words");
	UNIT_CHECK(mock_hints == 1, "one hint");

	/* its own lock becomes a delete: the lock stays in force all the time */
	mock_pool.hold_publish = false;
	set_xmax(&before, 4000, HEAP_XMAX_LOCK_ONLY | HEAP_XMAX_EXCL_LOCK);
	read_row(row, &version, &removed);
	mock_pool.hold_publish = true;
	set_xmax(&version, 4000, 0);
	read_row(row, &version, &removed);
	UNIT_CHECK(!(version.hdr.t_infomask & HEAP_XMAX_INVALID), "still locked");
	UNIT_CHECK(mock_hints == 1, "no hint");

	/* a multixact takes over from a locker that still counts; a crash in between ends that one */
	read_row(row, &version, &removed);
	UNIT_CHECK(!(version.hdr.t_infomask & HEAP_XMAX_INVALID), "locked until then");
	set_xmax(&version, 17, HEAP_XMAX_IS_MULTI | HEAP_XMAX_LOCK_ONLY);
	UNIT_CHECK(mock_hints == 1, "not as a hint: the change may fail");
	read_row(row, &version, &removed);
	UNIT_CHECK(version.hdr.t_infomask & HEAP_XMAX_INVALID, "the new id has no old flags");
	mock_pool.hold_publish = false;
	check_all_rows();
}

static void
test_set_header_and_remove(void)
{
	VdbRowNumber row;
	VdbVersion	version;
	VdbExtent	extent;
	VdbScmChange *change;
	bool		removed;

	start();
	row = append(100);
	append(100);
	read_row(row, &version, &removed);
	HeapTupleHeaderSetXmin(&version.hdr, InvalidTransactionId);
	version.hdr.t_infomask |= HEAP_XMIN_INVALID;
	change = vdb_scm_change_begin(test_ref.pool, 0);
	vdb_rows_set_header(change, &test_ref, &version);
	vdb_scm_change_end(change);
	read_row(row, &version, &removed);
	UNIT_CHECK(HeapTupleHeaderGetRawXmin(&version.hdr) == InvalidTransactionId, "xmin");
	check_all_rows();

	mock_extent(0, &extent);
	change = vdb_scm_change_begin(test_ref.pool, 0);
	vdb_rows_remove(change, &test_ref, &extent, 0, 0);
	vdb_scm_change_end(change);
	UNIT_CHECK(!read_row(row, &version, &removed) && removed, "removed");
	UNIT_CHECK(!read_row(row + 2, &version, &removed) && !removed, "not yet stored");
	UNIT_CHECK(read_row(row + 1, &version, &removed), "its neighbor stays");
}

int
main(void)
{
	unit_run("slots for row lengths", test_choose);
	unit_run("filling a segment", test_fill);
	unit_run("append and read", test_append);
	unit_run("one session stays in its segment", test_same_segment);
	unit_run("claims double, spares come first", test_runs);
	unit_run("wide rows", test_wide);
	unit_run("unreserve", test_unreserve);
	unit_run("outstanding places keep segments owned", test_outstanding);
	unit_run("open and take", test_open_and_take);
	unit_run("table generations", test_generation);
	unit_run("many tables", test_many_tables);
	unit_run("pool full", test_pool_full);
	unit_run("pool nearly full", test_pool_nearly_full);
	unit_run("claims that fail", test_claim_fails);
	unit_run("open segments against a model", test_open_model);
	unit_run("a backend goes on where it was", test_open_retake);
	unit_run("open segments evict", test_open_evicts);
	unit_run("damage is found", test_damage);
	unit_run("damage of wide rows is found", test_wide_damage);
	unit_run("a row's checksum guards all that never changes", test_checksum);
	unit_run("and so does that of wide data", test_wide_checksum);
	unit_run("rows that a crash may have taken", test_lacking);
	unit_run("lost ids", test_lost_ids);
	unit_run("rows that a crash lost", test_lost);
	unit_run("no segment of an old run", test_old_run);
	unit_run("set xmax", test_set_xmax);
	unit_run("set header, remove", test_set_header_and_remove);
	return unit_finish();
}
