/*-------------------------------------------------------------------------
 *
 * stripe_test.c
 *	  SQL functions that put pages/ and stripe/ through their paces, without
 *	  pool, map or the real access method.
 *
 * A module of its own: codec/, pages/ and stripe/ linked with this file.  Its
 * access method is heap's but for the creation of storage, so that tables get
 * a metapage; their rows never come from scans, only from stripes.
 * Used by stripe_test.sql through stripe_run.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "access/multixact.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/guc.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "base/vdb_guc.h"
#include "base/vdb_shmem.h"
#include "base/vdb_stop_point.h"
#include "pages/pages.h"
#include "stripe/stripe_private.h"

/* The stripe that a function's arguments name. */
#define ADDRESS_ARGS \
	((VdbStripeAddress) {PG_GETARG_UINT32(3), PG_GETARG_UINT32(1), PG_GETARG_UINT32(2), 0})

PG_MODULE_MAGIC;

/* What vdb_guc.c defines in the real module. */
int			vdb_chunk_rows = VDB_CHUNK_ROWS;
int			vdb_codec_force = -1;
int			vdb_shared_cache_mb = 0;
int			vdb_stripe_cache_mb = 64;
int			vdb_zstd_level = 1;

/* What vdb_shmem.c does in the real module: here is no shared memory, and so no shared cache. */
VdbShared  *vdb_shared = NULL;

void
vdb_shmem_register(const char *name, Size size, bool zeroed, VdbShmemCallback cb)
{
}

void
vdb_stop_point_reached(const char *name)
{
}

char	   *vdb_stop_point = NULL;

PG_FUNCTION_INFO_V1(st_handler);
PG_FUNCTION_INFO_V1(st_build);
PG_FUNCTION_INFO_V1(st_check);
PG_FUNCTION_INFO_V1(st_verify);
PG_FUNCTION_INFO_V1(st_flip);
PG_FUNCTION_INFO_V1(st_forge);
PG_FUNCTION_INFO_V1(st_read_value);
PG_FUNCTION_INFO_V1(st_bench);
PG_FUNCTION_INFO_V1(st_run);
PG_FUNCTION_INFO_V1(st_references);
PG_FUNCTION_INFO_V1(st_leak);
PG_FUNCTION_INFO_V1(st_info);
PG_FUNCTION_INFO_V1(st_zone);
PG_FUNCTION_INFO_V1(st_pages_check);

void		_PG_init(void);

void
_PG_init(void)
{
	DefineCustomIntVariable("st.chunk_rows", "", NULL, &vdb_chunk_rows, VDB_CHUNK_ROWS,
							1, VDB_CHUNK_ROWS, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("st.codec_force", "", NULL, &vdb_codec_force, -1,
							-1, 10, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("st.cache_mb", "", NULL, &vdb_stripe_cache_mb, 64,
							0, 1024, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("st.zstd_level", "", NULL, &vdb_zstd_level, 1,
							-19, 19, PGC_USERSET, 0, NULL, NULL, NULL);
	vdb_stripe_init();
}

/* ---- an access method whose tables have our metapage ---- */

static void
st_set_new_filenode(Relation rel, const RelFileLocator *rnode, char persistence,
					TransactionId *freeze_xid, MultiXactId *min_multi)
{
	*freeze_xid = RecentXmin;
	*min_multi = GetOldestMultiXactId();
	vdb_pages_create(rel, rnode, persistence);
}

static bool
st_needs_toast_table(Relation rel)
{
	return false;
}

Datum
st_handler(PG_FUNCTION_ARGS)
{
	static TableAmRoutine routine;

	routine = *GetHeapamTableAmRoutine();
	routine.relation_set_new_filenode = st_set_new_filenode;
	routine.relation_needs_toast_table = st_needs_toast_table;
	PG_RETURN_POINTER(&routine);
}

/* ---- which rows, with what xmin: a function of the source's row number ---- */

typedef enum StMode
{
	ST_DENSE,					/* every row, one xmin */
	ST_HOLES,					/* rows missing here and there, whole LBs too */
	ST_XMINS,					/* every row its own xmin and cmin */
	ST_FROZEN
} StMode;

static StMode
st_mode(const char *name)
{
	if (strcmp(name, "dense") == 0)
		return ST_DENSE;
	if (strcmp(name, "holes") == 0)
		return ST_HOLES;
	if (strcmp(name, "xmins") == 0)
		return ST_XMINS;
	if (strcmp(name, "frozen") == 0)
		return ST_FROZEN;
	elog(ERROR, "unknown mode %s", name);
}

/* Row index in the range of the source's row i, or -1 past the end. */
static int64
st_row(StMode mode, int64 i)
{
	int64		row = i;

	if (mode == ST_HOLES)
	{
		/* LB 1 is covered and empty, LB 2 dense, the others have every third row. */
		if (i < 100)
			row = i;
		else if (i < 356)
			row = 512 + (i - 100);
		else
			row = 768 + (i - 356) * 3;
	}
	return row < VDB_RANGE_ROWS ? row : -1;
}

static TransactionId
st_xmin(StMode mode, int64 i, CommandId *cmin)
{
	*cmin = 0;
	switch (mode)
	{
		case ST_XMINS:
			*cmin = (CommandId) (i % 5);
			return (TransactionId) (1000 + (i * 7919) % 100003 + (i % 2 == 0 ? 0xFFF00000 : 0));
		case ST_FROZEN:
			return FrozenTransactionId;
		case ST_HOLES:
			*cmin = 3;
			return (TransactionId) (5000 + i / 1000);
		default:
			*cmin = 7;
			return 4711;
	}
}

/* ---- build ---- */

static void
st_fill(VdbStripeWriter *writer, Relation src, uint32 range, StMode mode)
{
	TableScanDesc scan = table_beginscan(src, GetActiveSnapshot(), 0, NULL);
	TupleTableSlot *slot = table_slot_create(src, NULL);
	int64		i = 0;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CommandId	cmin;
		TransactionId xmin = st_xmin(mode, i, &cmin);
		int64		row = st_row(mode, i);

		if (row < 0)
			break;
		slot_getallattrs(slot);
		vdb_stripe_writer_add(writer, (VdbRowNumber) range * VDB_RANGE_ROWS + row, xmin, cmin,
							  slot->tts_values, slot->tts_isnull, 100);
		i++;
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
}

/* st_build(src, dst, stripe_id, range, mode) returns (first_page, npages, nrows, nchunks, bytes) */
Datum
st_build(PG_FUNCTION_ARGS)
{
	Relation	src = table_open(PG_GETARG_OID(0), AccessShareLock);
	Relation	dst = table_open(PG_GETARG_OID(1), RowExclusiveLock);
	uint32		stripe_id = PG_GETARG_UINT32(2);
	uint32		range = PG_GETARG_UINT32(3);
	StMode		mode = st_mode(text_to_cstring(PG_GETARG_TEXT_PP(4)));
	VdbStripeWriter *writer = vdb_stripe_writer_begin(dst, range, stripe_id);
	VdbStripeBuilt built;
	Datum		values[5];
	bool		nulls[5] = {0};
	TupleDesc	desc;

	if (RelationGetDescr(src)->natts != RelationGetDescr(dst)->natts)
		elog(ERROR, "tables differ");
	if (mode == ST_HOLES)
		vdb_stripe_writer_cover(writer, 1);
	st_fill(writer, src, range, mode);
	vdb_stripe_writer_finish(writer, &built);
	if (RelationNeedsWAL(dst) != !XLogRecPtrIsInvalid(built.lsn))
		elog(ERROR, "lsn does not tell whether pages were logged");
	if (built.meta.stripe_id != stripe_id || built.meta.range != range)
		elog(ERROR, "meta is of another stripe");

	get_call_result_type(fcinfo, NULL, &desc);
	values[0] = Int32GetDatum((int32) built.meta.first_page);
	values[1] = Int32GetDatum((int32) built.meta.npages);
	values[2] = Int32GetDatum((int32) built.meta.nrows);
	values[3] = Int32GetDatum(built.meta.nchunks);
	values[4] = Int64GetDatum((int64) built.meta.stripe_bytes);
	table_close(dst, NoLock);
	table_close(src, AccessShareLock);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* ---- check ---- */

static bool
st_equal(Form_pg_attribute att, Datum a, Datum b)
{
	if (att->attlen == -1)
	{
		struct varlena *x = PG_DETOAST_DATUM_PACKED(a);
		struct varlena *y = PG_DETOAST_DATUM_PACKED(b);

		if ((uintptr_t) DatumGetPointer(b) % 4 != 0 && !VARATT_IS_SHORT(DatumGetPointer(b)))
			elog(ERROR, "value is misaligned");
		return VARSIZE_ANY_EXHDR(x) == VARSIZE_ANY_EXHDR(y) &&
			memcmp(VARDATA_ANY(x), VARDATA_ANY(y), VARSIZE_ANY_EXHDR(x)) == 0;
	}
	if (!att->attbyval && att->attlen > 0 && att->attalign == TYPALIGN_DOUBLE &&
		(uintptr_t) DatumGetPointer(b) % 8 != 0)
		elog(ERROR, "value is misaligned");
	return datumIsEqual(a, b, att->attbyval, att->attlen);
}

static void
st_expect(Form_pg_attribute att, int64 i, const char *how, Datum expected, bool expected_null,
		  Datum found, bool found_null)
{
	if (expected_null != found_null ||
		(!expected_null && !st_equal(att, expected, found)))
		elog(ERROR, "%s of row " INT64_FORMAT ", column %s: values differ (null %d, %d)",
			 how, i, NameStr(att->attname), expected_null, found_null);
}

/* The value must be within the zone of its chunk. */
static void
st_check_zone(Form_pg_attribute att, const VdbZone *zone, Datum value, bool isnull)
{
	TypeCacheEntry *entry;
	Datum		bounds[2];

	if ((zone->flags & VDB_ZONE_HAS_NULLS_ONLY) && !isnull)
		elog(ERROR, "zone of column %s says nulls only", NameStr(att->attname));
	if (isnull && zone->null_count == 0)
		elog(ERROR, "zone of column %s says no nulls", NameStr(att->attname));
	if (((zone->flags & VDB_ZONE_BY_VALUE) != 0) != att->attbyval && !att->attisdropped)
		elog(ERROR, "zone of column %s is of the wrong kind", NameStr(att->attname));
	if (isnull || (zone->flags & VDB_ZONE_HAS_MINMAX) == 0)
		return;

	for (int i = 0; i < 2; i++)
	{
		const char *image = i == 0 ? zone->min : zone->max;

		if (att->attbyval)
			memcpy(&bounds[i], image, sizeof(Datum));
		else
			bounds[i] = PointerGetDatum(image);
	}
	entry = lookup_type_cache(att->atttypid, TYPECACHE_CMP_PROC_FINFO);
	if (DatumGetInt32(FunctionCall2Coll(&entry->cmp_proc_finfo, att->attcollation, bounds[0],
										value)) > 0 ||
		DatumGetInt32(FunctionCall2Coll(&entry->cmp_proc_finfo, att->attcollation, bounds[1],
										value)) < 0)
		elog(ERROR, "value of column %s is outside of its zone", NameStr(att->attname));
}

static void
st_check_address(VdbStripe *stripe, StMode mode, uint32 range, int64 i)
{
	int64		row = st_row(mode, i);
	VdbRowNumber number = (VdbRowNumber) range * VDB_RANGE_ROWS + row;
	CommandId	cmin;
	CommandId	found_cmin;
	TransactionId xmin = st_xmin(mode, i, &cmin);
	uint32		first;
	uint64		present[4];
	int			chunk = vdb_stripe_chunk_of(stripe, (uint32) i);

	if (vdb_stripe_position(stripe, number) != i)
		elog(ERROR, "row " INT64_FORMAT " is at %d", i, vdb_stripe_position(stripe, number));
	if (mode == ST_HOLES && i >= 356 && vdb_stripe_position(stripe, number + 1) != -1)
		elog(ERROR, "row after " INT64_FORMAT " is there", i);
	if (!vdb_stripe_lb(stripe, (uint8) (row >> 8), &first, present) || first > i ||
		((present[(row & 255) >> 6] >> (row & 63)) & 1) == 0)
		elog(ERROR, "LB of row " INT64_FORMAT " is wrong", i);
	if (vdb_stripe_xmin(stripe, (uint32) i, &found_cmin) != xmin || found_cmin != cmin)
		elog(ERROR, "xmin of row " INT64_FORMAT " is wrong", i);
	if (vdb_stripe_chunk_start(stripe, chunk) > i || vdb_stripe_chunk_start(stripe, chunk + 1) <= i)
		elog(ERROR, "chunk of row " INT64_FORMAT " is wrong", i);
}

/* Decode one row by a window of up to 'step' positions; windows are kept in holds. */
typedef struct StWindow
{
	VdbVectorBuffer *holds;
	Datum	  **values;
	bool	  **isnull;
	uint32		first;
	uint32		end;
	int			step;
} StWindow;

static void
st_window_init(StWindow *window, int natts, int step)
{
	memset(window, 0, sizeof(*window));
	window->step = step;
	window->holds = palloc0(sizeof(VdbVectorBuffer) * natts);
	window->values = palloc0(sizeof(Datum *) * natts);
	window->isnull = palloc0(sizeof(bool *) * natts);
	for (int a = 0; a < natts; a++)
	{
		window->values[a] = palloc(sizeof(Datum) * VDB_VECTOR_ROWS);
		window->isnull[a] = palloc(sizeof(bool) * VDB_VECTOR_ROWS);
	}
}

static void
st_window_move(StWindow *window, VdbStripe *stripe, Relation rel, uint32 pos)
{
	if (pos >= window->first && pos < window->end)
		return;
	window->first = pos;
	window->end = Min(vdb_stripe_vector_end(stripe, pos), pos + window->step);
	for (int a = 0; a < RelationGetDescr(rel)->natts; a++)
		vdb_stripe_decode(stripe, rel, a + 1, pos, (int) (window->end - pos),
						  window->values[a], window->isnull[a], &window->holds[a]);
}

/*
 * st_check(src, dst, stripe_id, range, mode, first_page, points): compare all values by
 * scans in windows of 2048 and of 100; by point lookups too if 'points'. Returns values compared.
 */
Datum
st_check(PG_FUNCTION_ARGS)
{
	Relation	src = table_open(PG_GETARG_OID(0), AccessShareLock);
	Relation	dst = table_open(PG_GETARG_OID(1), AccessShareLock);
	uint32		stripe_id = PG_GETARG_UINT32(2);
	uint32		range = PG_GETARG_UINT32(3);
	StMode		mode = st_mode(text_to_cstring(PG_GETARG_TEXT_PP(4)));
	BlockNumber first_page = PG_GETARG_UINT32(5);
	bool		points = PG_GETARG_BOOL(6);
	VdbStripe  *stripe = vdb_stripe_open(dst, (VdbStripeAddress) {first_page, stripe_id, range, 0});
	TableScanDesc scan = table_beginscan(src, GetActiveSnapshot(), 0, NULL);
	TupleTableSlot *slot = table_slot_create(src, NULL);
	TupleDesc	desc = RelationGetDescr(dst);
	VdbStripeBuilt built;
	StWindow	wide;
	StWindow	narrow;
	int64		i = 0;
	int64		compared = 0;
	uint32		nulls = 0;
	uint32		first;
	uint64		present[4];
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext, "row",
													  ALLOCSET_DEFAULT_SIZES);

	vdb_stripe_describe(dst, (VdbStripeAddress) {first_page, stripe_id, range, 0}, &built);
	st_window_init(&wide, desc->natts, VDB_VECTOR_ROWS);
	st_window_init(&narrow, desc->natts, 100);

	while (i < vdb_stripe_nrows(stripe) && table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		MemoryContext old;

		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		st_window_move(&wide, stripe, dst, (uint32) i);
		st_window_move(&narrow, stripe, dst, (uint32) i);
		st_check_address(stripe, mode, range, i);
		old = MemoryContextSwitchTo(row_context);
		for (int a = 0; a < desc->natts; a++)
		{
			Form_pg_attribute att = TupleDescAttr(desc, a);
			Datum		value;
			bool		isnull;

			if (att->attisdropped)
			{
				/* The source may still have it; the stripe says null. */
				vdb_stripe_value(stripe, dst, RelationGetDescr(dst), a + 1, (uint32) i, &value,
								 &isnull);
				if (!isnull || !wide.isnull[a][i - wide.first])
					elog(ERROR, "dropped column has a value");
				continue;
			}
			st_expect(att, i, "scan", slot->tts_values[a], slot->tts_isnull[a],
					  wide.values[a][i - wide.first], wide.isnull[a][i - wide.first]);
			st_expect(att, i, "piecewise scan", slot->tts_values[a], slot->tts_isnull[a],
					  narrow.values[a][i - narrow.first], narrow.isnull[a][i - narrow.first]);
			if (points)
			{
				vdb_stripe_value(stripe, dst, RelationGetDescr(dst), a + 1, (uint32) i, &value,
								 &isnull);
				st_expect(att, i, "lookup", slot->tts_values[a], slot->tts_isnull[a], value,
						  isnull);
			}
			if (a < vdb_stripe_ncolumns(stripe))
				st_check_zone(att,
							  &built.zones[vdb_stripe_chunk_of(stripe, (uint32) i) *
										   built.meta.ncolumns + a],
							  wide.values[a][i - wide.first], wide.isnull[a][i - wide.first]);
			nulls += slot->tts_isnull[a];
			compared++;
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(row_context);
		i++;
	}
	if (i != vdb_stripe_nrows(stripe) || i != built.meta.nrows)
		elog(ERROR, "stripe has %d rows, source " INT64_FORMAT, vdb_stripe_nrows(stripe), i);
	if (mode == ST_HOLES &&
		(!vdb_stripe_lb(stripe, 1, &first, present) ||
		 (present[0] | present[1] | present[2] | present[3]) != 0))
		elog(ERROR, "empty LB is not covered");
	for (int z = 0; z < built.meta.nchunks * built.meta.ncolumns; z++)
		nulls -= built.zones[z].null_count;
	if (nulls != 0 && desc->natts == vdb_stripe_ncolumns(stripe))
		elog(ERROR, "null counts of zones are wrong");

	for (int a = 0; a < desc->natts; a++)
	{
		vdb_vector_buffer_free(&wide.holds[a]);
		vdb_vector_buffer_free(&narrow.holds[a]);
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	vdb_stripe_release(stripe);
	table_close(dst, AccessShareLock);
	table_close(src, AccessShareLock);
	PG_RETURN_INT64(compared);
}

/* ---- damage ---- */

static void
st_collect(void *arg, const char *message)
{
	StringInfo	all = (StringInfo) arg;

	appendStringInfo(all, "%s%s", all->len > 0 ? "\n" : "", message);
}

/* st_verify(dst, stripe_id, range, first_page, npages) returns text */
Datum
st_verify(PG_FUNCTION_ARGS)
{
	Relation	dst = table_open(PG_GETARG_OID(0), AccessShareLock);
	StringInfoData all;

	initStringInfo(&all);
	vdb_stripe_verify(dst, ADDRESS_ARGS, PG_GETARG_UINT32(4), st_collect, &all);
	table_close(dst, AccessShareLock);
	PG_RETURN_TEXT_P(cstring_to_text(all.data));
}

/* st_flip(dst, page, byte, mask): change a byte behind everybody's back; 0 zeroes the page */
Datum
st_flip(PG_FUNCTION_ARGS)
{
	Relation	dst = table_open(PG_GETARG_OID(0), RowExclusiveLock);
	Buffer		buffer = ReadBuffer(dst, PG_GETARG_UINT32(1));
	char	   *page;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	page = BufferGetPage(buffer);
	if (PG_GETARG_INT32(3) == 0)
		memset(page, 0, BLCKSZ);
	else
		page[PG_GETARG_INT32(2)] ^= (char) PG_GETARG_INT32(3);
	MarkBufferDirty(buffer);
	UnlockReleaseBuffer(buffer);
	vdb_stripe_forget(dst);
	table_close(dst, NoLock);
	PG_RETURN_VOID();
}

/*
 * st_forge(dst, page, byte, mask): change a byte of an index that fits its first page, with a
 * checksum that fits: then only the checks of the numbers themselves stand between it and a reader.
 */
Datum
st_forge(PG_FUNCTION_ARGS)
{
	Relation	dst = table_open(PG_GETARG_OID(0), RowExclusiveLock);
	Buffer		buffer = ReadBuffer(dst, PG_GETARG_UINT32(1));
	VdbStripeHeader *header;
	char	   *bytes;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	bytes = BufferGetPage(buffer) + SizeOfPageHeaderData;
	header = (VdbStripeHeader *) bytes;
	bytes[PG_GETARG_INT32(2)] ^= (char) PG_GETARG_INT32(3);
	header->index_crc = vdb_stripe_index_crc(bytes, Max(sizeof(VdbStripeHeader),
														Min(header->index_bytes,
															VDB_PAGE_PAYLOAD)));
	MarkBufferDirty(buffer);
	UnlockReleaseBuffer(buffer);
	vdb_stripe_forget(dst);
	table_close(dst, NoLock);
	PG_RETURN_VOID();
}

/* st_read_value(dst, stripe_id, range, first_page, attno, pos) returns text */
Datum
st_read_value(PG_FUNCTION_ARGS)
{
	Relation	dst = table_open(PG_GETARG_OID(0), AccessShareLock);
	int			attno = PG_GETARG_INT32(4);
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(dst), attno - 1);
	VdbStripe  *stripe = vdb_stripe_open(dst, ADDRESS_ARGS);
	Datum		value;
	bool		isnull;
	Oid			output;
	bool		varlena;
	char	   *result;

	vdb_stripe_value(stripe, dst, RelationGetDescr(dst), attno, PG_GETARG_UINT32(5), &value,
					 &isnull);
	getTypeOutputInfo(att->atttypid, &output, &varlena);
	result = isnull ? pstrdup("(null)") : OidOutputFunctionCall(output, value);
	vdb_stripe_release(stripe);
	table_close(dst, AccessShareLock);
	PG_RETURN_TEXT_P(cstring_to_text(result));
}

/* st_pages_check(dst) */
Datum
st_pages_check(PG_FUNCTION_ARGS)
{
	Relation	dst = table_open(PG_GETARG_OID(0), AccessShareLock);

	vdb_pages_check(dst);
	table_close(dst, AccessShareLock);
	PG_RETURN_VOID();
}

/* ---- runs of pages ---- */

/* st_run(dst, bytes, piece): write a run in pieces of so many bytes, read it at odd offsets */
Datum
st_run(PG_FUNCTION_ARGS)
{
	Relation	dst = table_open(PG_GETARG_OID(0), RowExclusiveLock);
	uint64		bytes = (uint64) PG_GETARG_INT32(1);
	uint64		piece = (uint64) PG_GETARG_INT32(2);
	char	   *data = palloc(bytes);
	char	   *found = palloc(bytes);
	VdbPageWriter *writer;
	BlockNumber first;
	uint32		npages;
	XLogRecPtr	lsn;

	for (uint64 i = 0; i < bytes; i++)
		data[i] = (char) (i * 31 + i / 251);
	for (int round = 0; round < 2; round++)
	{
		writer = round == 0 ? vdb_page_writer_begin(dst, bytes) :
			vdb_page_writer_begin_at(dst, first, bytes);
		for (uint64 at = 0; at < bytes; at += piece)
			vdb_page_writer_append(writer, data + at, Min(piece, bytes - at));
		first = vdb_page_writer_end(writer, &npages, &lsn);
		if (npages != vdb_pages_needed(bytes) || first + npages != vdb_pages_count(dst))
			elog(ERROR, "run of %u pages from %u, fork has %u", npages, first,
				 vdb_pages_count(dst));
		for (uint64 at = 0; at < bytes; at = at * 2 + 1)
		{
			memset(found, 0, bytes);
			vdb_pages_prefetch(dst, first, at, bytes - at);
			vdb_pages_read(dst, first, at, bytes - at, found);
			if (memcmp(data + at, found, bytes - at) != 0)
				elog(ERROR, "bytes differ from " UINT64_FORMAT, at);
		}
	}
	table_close(dst, NoLock);
	PG_RETURN_INT32((int32) npages);
}

/* ---- references ---- */

static void
st_abort_subtransaction(VdbStripe *stripe)
{
	ResourceOwner owner = CurrentResourceOwner;
	MemoryContext context = CurrentMemoryContext;

	BeginInternalSubTransaction(NULL);
	for (int i = 0; i < 3; i++)
		vdb_stripe_retain(stripe);
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
}

/* st_references(dst, stripe_id, range, first_page): retain, release, abort, forget */
Datum
st_references(PG_FUNCTION_ARGS)
{
	Relation	dst = table_open(PG_GETARG_OID(0), AccessShareLock);
	uint32		first_page = PG_GETARG_UINT32(3);
	uint32		id = PG_GETARG_UINT32(1);
	uint32		range = PG_GETARG_UINT32(2);
	VdbStripe  *a = vdb_stripe_open(dst, (VdbStripeAddress) {first_page, id, range, 0});
	VdbStripe  *b = vdb_stripe_open(dst, (VdbStripeAddress) {first_page, id, range, 0});
	VdbStripe  *c;
	Datum		value;
	bool		isnull;

	if (a != b)
		elog(ERROR, "opened twice, found two stripes");
	st_abort_subtransaction(a);
	vdb_stripe_release(b);
	vdb_stripe_value(a, dst, RelationGetDescr(dst), 1, 0, &value, &isnull);
	vdb_stripe_forget(dst);
	vdb_stripe_value(a, dst, RelationGetDescr(dst), 1, 0, &value, &isnull);
	c = vdb_stripe_open(dst, (VdbStripeAddress) {first_page, id, range, 0});
	if (c == a)
		elog(ERROR, "a forgotten stripe was found");
	vdb_stripe_release(a);
	vdb_stripe_value(c, dst, RelationGetDescr(dst), 1, 0, &value, &isnull);
	vdb_stripe_release(c);
	table_close(dst, AccessShareLock);
	PG_RETURN_VOID();
}

/* st_leak(dst, stripe_id, range, first_page): raise an error while holding a reference */
Datum
st_leak(PG_FUNCTION_ARGS)
{
	Relation	dst = table_open(PG_GETARG_OID(0), AccessShareLock);

	vdb_stripe_open(dst, ADDRESS_ARGS);
	ereport(ERROR, (errcode(ERRCODE_RAISE_EXCEPTION), errmsg("left with a reference")));
}

/* ---- looking ---- */

/* st_info(dst, stripe_id, range, first_page, attno, chunk) returns text */
Datum
st_info(PG_FUNCTION_ARGS)
{
	Relation	dst = table_open(PG_GETARG_OID(0), AccessShareLock);
	VdbStripe  *stripe = vdb_stripe_open(dst, ADDRESS_ARGS);
	VdbColumnInfo info;

	vdb_stripe_prefetch(stripe, dst, PG_GETARG_INT32(4), PG_GETARG_INT32(5));
	vdb_stripe_column_info(stripe, dst, PG_GETARG_INT32(4), PG_GETARG_INT32(5), &info);
	vdb_stripe_release(stripe);
	table_close(dst, AccessShareLock);
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("rows %u, nulls %u, %s", info.rows, info.nulls,
											  info.encodings)));
}

/* st_zone(dst, stripe_id, range, first_page, attno, chunk) returns text: nulls, flags, min, max */
Datum
st_zone(PG_FUNCTION_ARGS)
{
	Relation	dst = table_open(PG_GETARG_OID(0), AccessShareLock);
	int			attno = PG_GETARG_INT32(4);
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(dst), attno - 1);
	VdbStripeBuilt built;
	const VdbZone *zone;
	StringInfoData out;

	vdb_stripe_describe(dst, ADDRESS_ARGS, &built);
	zone = &built.zones[PG_GETARG_INT32(5) * built.meta.ncolumns + attno - 1];
	initStringInfo(&out);
	appendStringInfo(&out, "nulls %u%s", zone->null_count,
					 (zone->flags & VDB_ZONE_HAS_NULLS_ONLY) ? " only" : "");
	if (zone->flags & VDB_ZONE_HAS_MINMAX)
	{
		Oid			output;
		bool		varlena;
		Datum		min = PointerGetDatum(zone->min);
		Datum		max = PointerGetDatum(zone->max);

		if (att->attbyval)
		{
			memcpy(&min, zone->min, sizeof(Datum));
			memcpy(&max, zone->max, sizeof(Datum));
		}
		getTypeOutputInfo(att->atttypid, &output, &varlena);
		appendStringInfo(&out, ", %s to %s", OidOutputFunctionCall(output, min),
						 OidOutputFunctionCall(output, max));
	}
	table_close(dst, AccessShareLock);
	PG_RETURN_TEXT_P(cstring_to_text(out.data));
}

/*
 * st_bench(dst, stripe_id, range, first_page, lookups, cold): column fetches a second at
 * random positions; cold: the stripe is forgotten every 16 positions.
 */
Datum
st_bench(PG_FUNCTION_ARGS)
{
	Relation	dst = table_open(PG_GETARG_OID(0), AccessShareLock);
	uint32		first_page = PG_GETARG_UINT32(3);
	uint32		id = PG_GETARG_UINT32(1);
	uint32		range = PG_GETARG_UINT32(2);
	int			lookups = PG_GETARG_INT32(4);
	bool		cold = PG_GETARG_BOOL(5);
	VdbStripe  *stripe = vdb_stripe_open(dst, (VdbStripeAddress) {first_page, id, range, 0});
	int			natts = RelationGetDescr(dst)->natts;
	int			nrows = vdb_stripe_nrows(stripe);
	uint32		seed = 1;
	instr_time	start;
	instr_time	end;

	INSTR_TIME_SET_CURRENT(start);
	for (int i = 0; i < lookups; i++)
	{
		Datum		value;
		bool		isnull;

		seed = seed * 1664525 + 1013904223;
		if (cold && i % (16 * natts) == 0)
		{
			vdb_stripe_release(stripe);
			vdb_stripe_forget(dst);
			stripe = vdb_stripe_open(dst, (VdbStripeAddress) {first_page, id, range, 0});
		}
		vdb_stripe_value(stripe, dst, RelationGetDescr(dst), i % natts + 1, (seed >> 8) % nrows,
						 &value, &isnull);
	}
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, start);
	vdb_stripe_release(stripe);
	table_close(dst, AccessShareLock);
	PG_RETURN_FLOAT8(rint(lookups / INSTR_TIME_GET_DOUBLE(end)));
}
