/*-------------------------------------------------------------------------
 *
 * monitor_index.c
 *	  Comparing the indexes of a table with its rows.
 *
 * An index whose access method can return all entries (btree, GiST, SP-GiST; not hash, GIN, BRIN)
 * is read in full.  Its entries are sorted by row number and merged with a walk of the table,
 * under one snapshot.  The following must hold:
 *
 * - Every visible row (for a partial index: every one that satisfies its predicate) has
 *	 exactly one entry.
 * - A btree entry of a visible row holds the row's values.
 * - Btree entries are in order, and no two visible rows share a unique key.
 * - No entry has a row number that the table never handed out.
 * - No btree entry of an all-visible logical block leads to no row.
 *
 * Entries of rows that the snapshot does not see are skipped.  Memory is bounded by
 * maintenance_work_mem.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/nbtree.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplesort.h"

#include "monitor/monitor.h"
#include "pages/pages.h"

/* Findings of one index that are reported one by one. */
#define VDB_INDEX_FINDINGS	20

/* Whether a row of a group of equal keys is visible. */
typedef enum KeyGroup
{
	GROUP_UNKNOWN,					/* one entry so far, not looked up yet */
	GROUP_HIDDEN,					/* no visible row so far */
	GROUP_VISIBLE					/* a visible row was found */
} KeyGroup;

/* State of the check of one index. */
typedef struct IndexCheck
{
	Relation	rel;
	Oid			index_oid;
	Relation	index;
	VdbFindings *findings;
	char		location[NAMEDATALEN + 16];
	int			nfindings;			/* findings of this index */
	Snapshot	snapshot;			/* the statement's */
	MemoryContext context;			/* lives as long as the check */
	MemoryContext row_context;		/* reset for each entry and row */
	bool		with_values;		/* a btree: entries are compared with rows */
	bool		unique;				/* a btree that enforces uniqueness at once */
	FmgrInfo   *cmp[INDEX_MAX_KEYS];	/* btree comparison of each key column */
	IndexInfo  *info;
	EState	   *estate;
	ExprState  *predicate;			/* of a partial index, or NULL */
	TupleTableSlot *row_slot;		/* for rows of the table */
	TupleDesc	sort_desc;			/* (row number, entry's bytes) */
	Tuplesortstate *sort;			/* entries by row number */
	TupleTableSlot *sort_slot;		/* for input and output of the sort */
	IndexTuple	before;				/* pass 1: the previous entry, or NULL */
	VdbRowNumber before_row;		/* pass 1: its row */
	KeyGroup	group;				/* pass 1: of entries equal to 'before' */
	bool		have_entry;			/* pass 2: there is a current entry */
	VdbRowNumber entry_row;			/* pass 2: its row */
	IndexTuple	entry;				/* pass 2: its bytes, or NULL without values */
} IndexCheck;

static void index_finding(IndexCheck *check, const char *format,
						  VdbRowNumber row) pg_attribute_printf(2, 0);

/* Add a finding about one row.  The format has placeholders for its block and offset. */
static void
index_finding(IndexCheck *check, const char *format, VdbRowNumber row)
{
	ItemPointerData tid;
	char		message[256];

	if (++check->nfindings > VDB_INDEX_FINDINGS)
	{
		if (check->nfindings == VDB_INDEX_FINDINGS + 1)
			vdb_finding(check->findings, VDB_ERROR_FOUND, check->location,
						_("there is more: only the first %d findings of the index are shown"),
						VDB_INDEX_FINDINGS);
		return;
	}
	vdb_row_to_tid(row, &tid);
	snprintf(message, sizeof(message), format, ItemPointerGetBlockNumberNoCheck(&tid),
			 ItemPointerGetOffsetNumberNoCheck(&tid));
	vdb_finding(check->findings, VDB_ERROR_FOUND, check->location, "%s", message);
}

/* ---- pass 1: the index ---- */

/* Return true if the snapshot sees the row. */
static bool
row_is_visible(IndexCheck *check, VdbRowNumber row)
{
	bool		visible = vdb_table_fetch(check->rel, row, check->snapshot, check->row_slot, NULL);

	ExecClearTuple(check->row_slot);
	return visible;
}

/*
 * Compare the key columns of two btree entries, in the index's order.  *has_null is set if the
 * second entry has a null.
 */
static int
compare_entries(IndexCheck *check, IndexTuple a, IndexTuple b, bool *has_null)
{
	TupleDesc	desc = RelationGetDescr(check->index);
	int			result = 0;

	*has_null = false;
	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(check->index); i++)
	{
		int16		option = check->index->rd_indoption[i];
		bool		null_a;
		bool		null_b;
		Datum		value_a = index_getattr(a, i + 1, desc, &null_a);
		Datum		value_b = index_getattr(b, i + 1, desc, &null_b);
		int			cmp;

		*has_null |= null_b;
		if (result != 0)
			continue;
		if (null_a || null_b)
		{
			cmp = (int) null_a - (int) null_b;
			result = (option & INDOPTION_NULLS_FIRST) ? -cmp : cmp;
			continue;
		}
		cmp = DatumGetInt32(FunctionCall2Coll(check->cmp[i], check->index->rd_indcollation[i],
											  value_a, value_b));
		result = (option & INDOPTION_DESC) ? (cmp < 0) - (cmp > 0) : cmp;
	}
	return result;
}

/* Check order and uniqueness of an entry against the previous one. */
static void
check_neighbors(IndexCheck *check, IndexTuple entry, VdbRowNumber row)
{
	bool		has_null;
	int			cmp;

	if (check->before == NULL)
		return;
	cmp = compare_entries(check, check->before, entry, &has_null);
	if (cmp > 0)
		index_finding(check, _("the entry of row (%u,%u) is out of order"), row);
	if (cmp != 0)
		check->group = GROUP_UNKNOWN;
	else if (check->unique && !(has_null && !check->index->rd_index->indnullsnotdistinct))
	{
		if (check->group == GROUP_UNKNOWN)
			check->group = row_is_visible(check, check->before_row) ? GROUP_VISIBLE : GROUP_HIDDEN;
		if (row_is_visible(check, row))
		{
			if (check->group == GROUP_VISIBLE)
				index_finding(check, _("row (%u,%u) has the unique key of another visible row"),
							  row);
			check->group = GROUP_VISIBLE;
		}
	}
}

/* Keep a copy of the entry for the comparison with the next one. */
static void
remember_neighbor(IndexCheck *check, IndexTuple entry, VdbRowNumber row)
{
	MemoryContext old = MemoryContextSwitchTo(check->context);

	if (check->before != NULL)
		pfree(check->before);
	check->before = CopyIndexTuple(entry);
	check->before_row = row;
	MemoryContextSwitchTo(old);
}

/* Add an entry to the sort.  entry is NULL if values are not compared. */
static void
put_entry(IndexCheck *check, IndexTuple entry, VdbRowNumber row)
{
	TupleTableSlot *slot = check->sort_slot;

	ExecClearTuple(slot);
	slot->tts_values[0] = Int64GetDatum((int64) row);
	slot->tts_isnull[0] = false;
	slot->tts_isnull[1] = (entry == NULL);
	if (entry != NULL)
	{
		Size		size = IndexTupleSize(entry);
		bytea	   *bytes = palloc(VARHDRSZ + size);

		SET_VARSIZE(bytes, VARHDRSZ + size);
		memcpy(VARDATA(bytes), entry, size);
		slot->tts_values[1] = PointerGetDatum(bytes);
	}
	ExecStoreVirtualTuple(slot);
	tuplesort_puttupleslot(check->sort, slot);
}

/*
 * Check that the entry leads to a row if its logical block is marked all-visible.  An index-only
 * scan relies on the entry alone there.  The check is made while the scan has the entry's page
 * pinned.  So no VACUUM can have deleted the entry meanwhile and set the bit after that.  Core
 * keeps the pin only for btrees.
 */
static void
check_entry_visible(IndexCheck *check, const VdbTableRef *ref, VdbRowNumber row, Buffer *buffer)
{
	if (check->with_values && vdb_visible_peek(check->rel, vdb_row_lb(row), buffer) &&
		!vdb_table_present(check->rel, ref, row))
		index_finding(check,
					  _("an entry's row (%u,%u) was removed, but its logical block is marked all-visible"), row);
}

/* Read all entries of the index, check them against each other, and add them to the sort. */
static void
read_index(IndexCheck *check)
{
	Buffer		buffer = InvalidBuffer;
	IndexScanDesc scan = vdb_index_beginscan(check->rel, check->index, check->snapshot, 0, 0);
	VdbTableRef ref;
	bool		found;
	ItemPointer tid;

	scan->xs_want_itup = check->with_values;
	index_rescan(scan, NULL, 0, NULL, 0);
	while ((tid = index_getnext_tid(scan, ForwardScanDirection)) != NULL)
	{
		VdbRowNumber row = vdb_tid_to_row(tid);
		MemoryContext old;

		CHECK_FOR_INTERRUPTS();
		found = vdb_table_open(check->rel, false, &ref);
		if (row == VDB_ROW_NONE || !found || vdb_row_lb(row) >= vdb_map_limit(&ref))
		{
			vdb_finding(check->findings, VDB_ERROR_FOUND, check->location,
						_("an entry refers to row (%u,%u), which the table never had"),
						ItemPointerGetBlockNumberNoCheck(tid),
						ItemPointerGetOffsetNumberNoCheck(tid));
			continue;
		}
		check_entry_visible(check, &ref, row, &buffer);
		old = MemoryContextSwitchTo(check->row_context);
		if (check->with_values)
		{
			check_neighbors(check, scan->xs_itup, row);
			remember_neighbor(check, scan->xs_itup, row);
		}
		put_entry(check, check->with_values ? scan->xs_itup : NULL, row);
		MemoryContextSwitchTo(old);
		MemoryContextReset(check->row_context);
	}
	index_endscan(scan);
	if (BufferIsValid(buffer))
		ReleaseBuffer(buffer);
}

/* ---- pass 2: the table ---- */

/* Get the next entry in row number order.  Report a second entry of the same row. */
static void
next_entry(IndexCheck *check)
{
	VdbRowNumber before = check->have_entry ? check->entry_row : VDB_ROW_NONE;
	bool		isnull;
	Datum		bytes;

	check->have_entry = tuplesort_gettupleslot(check->sort, true, false, check->sort_slot, NULL);
	if (!check->have_entry)
		return;
	check->entry_row = (VdbRowNumber) DatumGetInt64(slot_getattr(check->sort_slot, 1, &isnull));
	Assert(!isnull && (before == VDB_ROW_NONE || check->entry_row >= before));
	bytes = slot_getattr(check->sort_slot, 2, &isnull);
	check->entry = isnull ? NULL : (IndexTuple) VARDATA_ANY(DatumGetPointer(bytes));
	if (check->entry_row == before)
		index_finding(check, _("row (%u,%u) has two entries"), check->entry_row);
}

/* Check that a btree entry holds the values of the row in row_slot. */
static void
compare_values(IndexCheck *check, VdbRowNumber row)
{
	TupleDesc	desc = RelationGetDescr(check->index);
	IndexTuple	entry = palloc(IndexTupleSize(check->entry));
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];

	Assert(check->with_values && check->entry_row == row);
	memcpy(entry, check->entry, IndexTupleSize(check->entry));	/* aligned */
	FormIndexDatum(check->info, check->row_slot, check->estate, values, nulls);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		bool		isnull;
		Datum		value = index_getattr(entry, i + 1, desc, &isnull);
		bool		equal;

		if (isnull || nulls[i])
			equal = isnull == nulls[i];
		else if (i < IndexRelationGetNumberOfKeyAttributes(check->index))
			equal = DatumGetInt32(FunctionCall2Coll(check->cmp[i], check->index->rd_indcollation[i],
													value, values[i])) == 0;
		else
			equal = datum_image_eq(value, values[i], att->attbyval, att->attlen);
		if (!equal)
		{
			index_finding(check, _("the entry of row (%u,%u) does not hold the row's values"), row);
			return;
		}
	}
}

/* Check that row i of the batch has an entry with its values. */
static void
check_row(IndexCheck *check, VdbBatch *batch, int i)
{
	VdbRowNumber row = vdb_row_make(batch->lb, batch->index[i]);
	ExprContext *econtext = GetPerTupleExprContext(check->estate);

	while (check->have_entry && check->entry_row < row)
		next_entry(check);
	if (check->predicate != NULL || check->with_values)
	{
		vdb_batch_slot(batch, i, check->row_slot);
		econtext->ecxt_scantuple = check->row_slot;
		if (check->predicate != NULL && !ExecQual(check->predicate, econtext))
			return;
	}
	if (!check->have_entry || check->entry_row != row)
		index_finding(check, _("row (%u,%u) has no entry"), row);
	else if (check->with_values)
		compare_values(check, row);
}

/* Merge the visible rows of the table with the sorted entries. */
static void
read_table(IndexCheck *check)
{
	VdbCursor	cursor;
	MemoryContext old;

	vdb_cursor_init(&cursor, check->rel, check->snapshot);
	vdb_cursor_start(&cursor, NULL);
	(void) vdb_cursor_batch(&cursor);
	old = MemoryContextSwitchTo(check->row_context);
	while (vdb_cursor_next_rows(&cursor))
	{
		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < cursor.batch->nrows; i++)
		{
			check_row(check, cursor.batch, i);
			ExecClearTuple(check->row_slot);
			ResetPerTupleExprContext(check->estate);
			MemoryContextReset(check->row_context);
		}
	}
	while (check->have_entry)	/* finds duplicates after the last row */
		next_entry(check);
	MemoryContextSwitchTo(old);
	vdb_cursor_end(&cursor);
}

/* ---- one index ---- */

/* Return true if the index is valid, not younger than the snapshot, and can return all entries. */
static bool
can_check(Relation index, Snapshot snapshot)
{
	Form_pg_index form = index->rd_index;

	if (!form->indisvalid || !form->indisready || !form->indislive)
		return false;
	if (form->indcheckxmin &&
		!TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data),
							   snapshot->xmin))
		return false;			/* younger than our snapshot: may lack rows that we see */
	return index->rd_indam->amgettuple != NULL && index->rd_indam->amoptionalkey;
}

/* Set up the sort, the slots and the expressions of the check. */
static void
prepare(IndexCheck *check)
{
	TupleDesc	desc = CreateTemplateTupleDesc(2);
	AttrNumber	key = 1;
	Oid			order = Int8LessOperator;
	Oid			collation = InvalidOid;
	bool		nulls_first = false;

	check->with_values = check->index->rd_rel->relam == BTREE_AM_OID;
	check->unique = check->with_values && check->index->rd_index->indisunique &&
		check->index->rd_index->indimmediate;
	if (check->with_values)
		for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(check->index); i++)
			check->cmp[i] = index_getprocinfo(check->index, i + 1, BTORDER_PROC);
	check->info = BuildIndexInfo(check->index);
	check->estate = CreateExecutorState();
	check->predicate = check->info->ii_Predicate == NIL ? NULL :
		ExecPrepareQual(check->info->ii_Predicate, check->estate);
	check->row_slot = table_slot_create(check->rel, NULL);

	TupleDescInitEntry(desc, 1, "row", INT8OID, -1, 0);
	TupleDescInitEntry(desc, 2, "entry", BYTEAOID, -1, 0);
	check->sort = tuplesort_begin_heap(desc, 1, &key, &order, &collation, &nulls_first,
									   maintenance_work_mem, NULL, TUPLESORT_NONE);
	check->sort_desc = desc;
	check->sort_slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
}

/* Read the index, sort its entries, and merge them with the table. */
static void
compare_index(IndexCheck *check)
{
	prepare(check);
	read_index(check);
	tuplesort_performsort(check->sort);
	ExecDropSingleTupleTableSlot(check->sort_slot);
	check->sort_slot = MakeSingleTupleTableSlot(check->sort_desc, &TTSOpsMinimalTuple);
	next_entry(check);
	read_table(check);
	ExecDropSingleTupleTableSlot(check->sort_slot);
	tuplesort_end(check->sort);
	ExecDropSingleTupleTableSlot(check->row_slot);
	FreeExecutorState(check->estate);
}

/* Check one index.  This is the step that runs in a subtransaction. */
static void
check_index(void *arg)
{
	IndexCheck *check = arg;
	MemoryContext old;

	check->index = index_open(check->index_oid, AccessShareLock);
	snprintf(check->location, sizeof(check->location), "index %s",
			 RelationGetRelationName(check->index));
	if (can_check(check->index, check->snapshot))
	{
		old = MemoryContextSwitchTo(check->context);
		check->row_context = AllocSetContextCreate(check->context, "VDB index check rows",
												   ALLOCSET_DEFAULT_SIZES);
		compare_index(check);
		MemoryContextSwitchTo(old);
	}
	index_close(check->index, AccessShareLock);
}

/* Compare every index with the table, under the active snapshot. */
void
vdb_verify_indexes(Relation rel, VdbFindings *findings)
{
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *cell;

	foreach(cell, indexes)
	{
		IndexCheck	check = {0};

		CHECK_FOR_INTERRUPTS();
		check.rel = rel;
		check.index_oid = lfirst_oid(cell);
		check.findings = findings;
		check.snapshot = GetActiveSnapshot();
		snprintf(check.location, sizeof(check.location), "index %u", check.index_oid);
		check.context = AllocSetContextCreate(CurrentMemoryContext, "VDB index check",
											  ALLOCSET_DEFAULT_SIZES);
		(void) vdb_verify_try(findings, check.location, check_index, &check);
		MemoryContextDelete(check.context);
	}
	list_free(indexes);
}
