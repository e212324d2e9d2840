/*-------------------------------------------------------------------------
 *
 * am_ddl.c
 *	  Storage of a table: creating, truncating, moving and rewriting it.
 *
 * A table's storage is its main fork (metapage, stripes, wide rows) and its entry in the pool,
 * keyed by relfilenode.  The entry is made with the first row.  When core drops the file, the
 * entry stays for a while: entries whose file is gone are collected by the migration worker, or as
 * soon as space is short.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/multixact.h"
#include "access/relscan.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/storage.h"
#include "catalog/storage_xlog.h"
#include "commands/progress.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/smgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplesort.h"

#include "am/am.h"
#include "migrate/migrate.h"
#include "pages/pages.h"
#include "stripe/stripe.h"

/*
 * Create the storage of a table.  The relation is only partly valid here: it has no pg_class row
 * yet.  A pool entry with this key can only be left over from a dropped relation, and is dropped.
 */
void
vdb_set_new_filenode(Relation rel, const RelFileLocator *newrnode, char persistence,
					 TransactionId *freeze_xid, MultiXactId *minmulti)
{
	VdbPool    *pool;
	VdbTableKey key;

	vdb_require_preload();
	/* in pg_upgrade's new cluster the pool comes later, and has the right entries */
	pool = IsBinaryUpgrade ? NULL : vdb_pool_open();
	key.spc = newrnode->spcOid == MyDatabaseTableSpace ? InvalidOid : newrnode->spcOid;
	key.relnode = newrnode->relNumber;
	key.backend = persistence == RELPERSISTENCE_TEMP ? (int32) ProcNumberForTempRelations() : -1;
	/* a drop returns early if a collector is dropping the same entry: help it until done */
	while (pool != NULL && vdb_map_table_drop_key(pool, &key))
		CHECK_FOR_INTERRUPTS();

	vdb_pages_create(rel, newrnode, persistence);
	vdb_migrate_storage_made();
	if (!RelFileLocatorEquals(rel->rd_locator, *newrnode))
		vdb_migrate_storage_dropped();	/* TRUNCATE and the like: the old file goes */
	*freeze_xid = RecentXmin;
	*minmulti = GetOldestMultiXactId();
}

/*
 * Empty a table in place.  Either its relfilenode was made in this very (sub)transaction, or its
 * rows are deleted at each commit.  So all versions are removed at once, without regard to
 * snapshots.
 */
void
vdb_nontransactional_truncate(Relation rel)
{
	VdbTableRef ref;

	/* row numbers begin anew, so this comes first; truncation alone would keep block 0's bit */
	vdb_visible_clear_all(rel);
	if (vdb_table_open(rel, false, &ref))
	{
		VdbTableKey key;

		/*
		 * If this transaction has moved the table to another tablespace, the entry keeps its rows
		 * in case of an abort, but drops the new key.
		 */
		vdb_table_key(rel, &rel->rd_locator, &key);
		if ((key.spc != ref.spc || key.relnode != ref.relnode) &&
			vdb_map_table_drop_alias(ref.pool, &key))
			vdb_table_forget(rel);
		else
			vdb_map_table_reset(&ref);
	}
	vdb_stripe_forget(rel);		/* pages of the same numbers get other stripes */
	RelationTruncate(rel, 1);	/* the metapage stays */
}

/* Copy one fork of a relation that moves to another tablespace. */
static void
copy_fork(Relation rel, SMgrRelation dst, const RelFileLocator *newrnode, ForkNumber fork)
{
	char		persistence = rel->rd_rel->relpersistence;

	if (!smgrexists(RelationGetSmgr(rel), fork))
		return;
	smgrcreate(dst, fork, false);
	if (RelationIsPermanent(rel) ||
		(persistence == RELPERSISTENCE_UNLOGGED && fork == INIT_FORKNUM))
		log_smgrcreate(newrnode, fork);
	RelationCopyStorage(RelationGetSmgr(rel), dst, fork, persistence);
}

/* Copy a table's files to another tablespace, and give its pool entry an alias. */
void
vdb_copy_data(Relation rel, const RelFileLocator *newrnode)
{
	VdbTableRef ref;
	SMgrRelation dst;

	FlushRelationBuffers(rel);
	dst = RelationCreateStorage(*newrnode, rel->rd_rel->relpersistence, true);
	RelationCopyStorage(RelationGetSmgr(rel), dst, MAIN_FORKNUM, rel->rd_rel->relpersistence);
	for (ForkNumber fork = MAIN_FORKNUM + 1; fork <= MAX_FORKNUM; fork++)
		copy_fork(rel, dst, newrnode, fork);

	/*
	 * The entry answers to both keys until one of the two files is gone. Whether this transaction
	 * commits decides which one that is.  Until the transaction has ended, no stripe may be
	 * written: it would be in one of the files only, but in the map of both
	 * (vdb_table_migration_lock).
	 */
	if (vdb_table_open(rel, false, &ref))
	{
		VdbTableKey key;

		vdb_table_key(rel, newrnode, &key);
		while (vdb_map_table_drop_key(ref.pool, &key))
			CHECK_FOR_INTERRUPTS();
		/* assign the id first, so that the alias's record has it: recovery must know it was used */
		(void) GetCurrentTransactionId();
		vdb_map_table_alias(&ref, &key, GetTopFullTransactionId());
	}
	vdb_migrate_storage_dropped();	/* one of the two files goes at commit or abort */
	RelationDropStorage(rel);
	smgrclose(dst);
}

/* ---- CLUSTER and VACUUM FULL ---- */

/* State of one CLUSTER or VACUUM FULL. */
typedef struct RewriteState
{
	Relation	old_rel;
	Relation	new_rel;
	TransactionId freeze_xid;		/* freeze xmins before it */
	VdbCursor	cursor;				/* over the old table's versions, dead ones too */
	VdbBatch   *batch;				/* the cursor's */
	TupleTableSlot *slot;			/* of the old table */
	Tuplesortstate *sort;			/* NULL if rows are written as they are read */
	double		live;				/* rows written, recently dead ones included */
	double		removed;			/* dead rows left out */
	double		recently_dead;		/* rows that an old snapshot may see */
} RewriteState;

/*
 * Set the header that a version gets in the new table.  States that cannot change any more are
 * resolved.  The rest is kept, so that old snapshots see the same rows.
 */
static void
carry_header(RewriteState *rs, HeapTuple tuple, const HeapTupleHeaderData *from)
{
	HeapTupleHeader to = tuple->t_data;

	to->t_choice.t_heap = from->t_choice.t_heap;
	to->t_infomask = (to->t_infomask & ~HEAP_XACT_MASK) | (from->t_infomask & HEAP_XACT_MASK);
	to->t_infomask2 = (to->t_infomask2 & ~HEAP2_XACT_MASK) |
		(from->t_infomask2 & HEAP_KEYS_UPDATED);
	if (TransactionIdIsNormal(HeapTupleHeaderGetXmin(to)) &&
		TransactionIdPrecedes(HeapTupleHeaderGetXmin(to), rs->freeze_xid))
		to->t_infomask |= HEAP_XMIN_FROZEN;
	if ((to->t_infomask & HEAP_XMAX_INVALID) || vdb_row_only_locked(to))
	{
		HeapTupleHeaderSetXmax(to, InvalidTransactionId);
		to->t_infomask &= ~HEAP_XMAX_BITS;
		to->t_infomask |= HEAP_XMAX_INVALID;
		to->t_infomask2 &= ~HEAP_KEYS_UPDATED;
	}
	else if (to->t_infomask & HEAP_XMAX_IS_MULTI)
	{
		/*
		 * Keep the updater alone.  No other member holds a lock, and the new table's oldest
		 * multixact will be newer.
		 */
		HeapTupleHeaderSetXmax(to, HeapTupleGetUpdateXid(to));
		to->t_infomask &= ~HEAP_XMAX_BITS;
	}
}

/*
 * Form a copy of row i of the batch for the new table's descriptor.  Dropped columns become null.
 */
static HeapTuple
rewrite_form(RewriteState *rs, int i)
{
	TupleDesc	desc = RelationGetDescr(rs->new_rel);
	VdbVersion	version;
	HeapTuple	tuple;

	vdb_batch_version(rs->batch, i, &version);
	vdb_batch_slot(rs->batch, i, rs->slot);
	slot_getallattrs(rs->slot);
	for (int a = 0; a < desc->natts; a++)
		if (TupleDescAttr(desc, a)->attisdropped)
			rs->slot->tts_isnull[a] = true;
	/* values from stripes are plain: compress them as an insertion would */
	tuple = vdb_rows_form(rs->new_rel, rs->slot);
	carry_header(rs, tuple, &version.hdr);
	return tuple;
}

/* Write row i of the batch to the new table or the sort, unless it is dead. */
static void
rewrite_row(RewriteState *rs, int i)
{
	HeapTuple	tuple;

	Assert(i >= 0 && i < rs->batch->nrows);
	switch (rs->batch->htsv[i])
	{
		case VDB_DEAD:
			rs->removed += 1;
			return;
		case VDB_RECENTLY_DEAD:
			rs->recently_dead += 1;
			break;
		default:
			/* states in progress are this transaction's own, as the table is locked */
			break;
	}
	rs->live += 1;
	tuple = rewrite_form(rs, i);
	if (rs->sort != NULL)
		tuplesort_putheaptuple(rs->sort, tuple);
	else
		vdb_table_insert_raw(rs->new_rel, tuple);
	heap_freetuple(tuple);
}

/* Rewrite all rows in the order of their row numbers. */
static void
rewrite_in_row_order(RewriteState *rs)
{
	pgstat_count_heap_scan(rs->old_rel);
	pgstat_progress_update_param(PROGRESS_CLUSTER_TOTAL_HEAP_BLKS, rs->cursor.limit);
	while (vdb_cursor_next(&rs->cursor))
	{
		(void) vdb_cursor_read(&rs->cursor);
		for (int i = 0; i < rs->batch->nrows; i++)
		{
			CHECK_FOR_INTERRUPTS();
			rewrite_row(rs, i);
		}
		pgstat_progress_update_param(PROGRESS_CLUSTER_HEAP_BLKS_SCANNED, rs->cursor.lb + 1);
		pgstat_progress_update_param(PROGRESS_CLUSTER_HEAP_TUPLES_SCANNED, (int64) rs->live);
	}
}

/* Rewrite all rows in the order of an index. */
static void
rewrite_in_index_order(RewriteState *rs, Relation index)
{
	IndexScanDesc scan = vdb_index_beginscan(rs->old_rel, index, SnapshotAny, 0, 0);
	ItemPointer tid;

	index_rescan(scan, NULL, 0, NULL, 0);
	while ((tid = index_getnext_tid(scan, ForwardScanDirection)) != NULL)
	{
		VdbRowNumber row = vdb_tid_to_row(tid);

		CHECK_FOR_INTERRUPTS();
		vdb_cursor_go(&rs->cursor, vdb_row_lb(row));
		(void) vdb_cursor_read(&rs->cursor);
		for (int i = 0; i < rs->batch->nrows; i++)
			if (rs->batch->index[i] == vdb_row_index(row))
				rewrite_row(rs, i);
	}
	index_endscan(scan);
}

/* Sort the rows collected so far and write them to the new table. */
static void
rewrite_sorted(RewriteState *rs)
{
	HeapTuple	tuple;
	double		written = 0;

	pgstat_progress_update_param(PROGRESS_CLUSTER_PHASE, PROGRESS_CLUSTER_PHASE_SORT_TUPLES);
	tuplesort_performsort(rs->sort);
	pgstat_progress_update_param(PROGRESS_CLUSTER_PHASE, PROGRESS_CLUSTER_PHASE_WRITE_NEW_HEAP);
	while ((tuple = tuplesort_getheaptuple(rs->sort, true)) != NULL)
	{
		HeapTuple	copy;

		CHECK_FOR_INTERRUPTS();
		copy = heap_copytuple(tuple);
		vdb_table_insert_raw(rs->new_rel, copy);
		heap_freetuple(copy);
		written += 1;
		pgstat_progress_update_param(PROGRESS_CLUSTER_HEAP_TUPLES_WRITTEN, (int64) written);
	}
	tuplesort_end(rs->sort);
}

/* Write the versions that some snapshot may still see to a new table. */
void
vdb_copy_for_cluster(Relation old_rel, Relation new_rel, Relation index, bool use_sort,
					 TransactionId oldest_xmin, TransactionId *xid_cutoff,
					 MultiXactId *multi_cutoff, double *num_tuples,
					 double *tups_vacuumed, double *tups_recently_dead)
{
	RewriteState rs = {0};

	rs.old_rel = old_rel;
	rs.new_rel = new_rel;
	rs.freeze_xid = *xid_cutoff;
	vdb_cursor_init(&rs.cursor, old_rel, NULL);
	vdb_cursor_take_versions(&rs.cursor, oldest_xmin, true);
	vdb_cursor_start(&rs.cursor, NULL);
	rs.batch = vdb_cursor_batch(&rs.cursor);
	vdb_batch_set_check(rs.batch);
	rs.slot = table_slot_create(old_rel, NULL);
	if (use_sort && index != NULL)
		rs.sort = tuplesort_begin_cluster(RelationGetDescr(old_rel), index, maintenance_work_mem,
										  NULL, TUPLESORT_NONE);
	pgstat_progress_update_param(PROGRESS_CLUSTER_PHASE,
								 index != NULL && !use_sort ?
								 PROGRESS_CLUSTER_PHASE_INDEX_SCAN_HEAP :
								 PROGRESS_CLUSTER_PHASE_SEQ_SCAN_HEAP);
	if (index != NULL && !use_sort)
		rewrite_in_index_order(&rs, index);
	else
		rewrite_in_row_order(&rs);
	if (rs.sort != NULL)
		rewrite_sorted(&rs);

	ExecDropSingleTupleTableSlot(rs.slot);
	vdb_cursor_end(&rs.cursor);
	*num_tuples = rs.live - rs.recently_dead;
	*tups_vacuumed = rs.removed;
	*tups_recently_dead = rs.recently_dead;
}
