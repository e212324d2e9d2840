/*-------------------------------------------------------------------------
 *
 * map_pages.c
 *	  The free pages of a table's main fork: noting them, and taking them.
 *
 * One block (VdbFreePages) hangs on the table's entry once there is a free run.  It holds a
 * bounded, sorted list.  Adding and tidying log the whole list in one flushed change, so the list
 * is always one of its versions.  Taking pages from a run that is long enough stores 8 bytes, the
 * run's new begin and length, and waits for no flush: wide rows take pages one by one.  A run all
 * of whose pages were taken stays, with length 0, until the list is written anew.
 *
 * A run may be on the list only while nothing refers to it.  So it is added after the change that
 * took the last reference away, and taken off before it is written to.  The record that takes it
 * off comes before those of its pages, and of what refers to them: if it is lost, so are they; if
 * its 8 bytes outlive it, pages leak.  A crash between the two leaks pages, which VACUUM finds:
 * pages that are neither referred to nor listed become a candidate.  The next VACUUM frees a
 * candidate that it finds unreferenced again, if it began when all transactions of the first one's
 * time had ended.  (Rows may get their pages before they are stored; only stripes are kept away by
 * the migration lock.)
 *
 * Readers of stripes and wide rows copy the address under a block lock and read later, with a
 * snapshot that is older than the run's 'freed' id.  The caller's callback says whether such
 * snapshots may exist.  On a standby the record that takes a run carries that id as a conflict:
 * queries with snapshots as old are canceled before the pages change.
 *
 * Everything here is guarded by the table's map lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"

#include "map/map_internal.h"

/* Limit of the candidates of one sweep.  The next sweep finds those left out. */
#define MAX_CANDIDATES		(1024 * 1024)

/* The list in memory while it is being changed, with room for everything added at once. */
typedef struct RunList
{
	int			n;
	int			room;
	VdbFreeRun *runs;
} RunList;

/* Return the page behind a run. */
static inline BlockNumber
run_end(const VdbFreeRun *run)
{
	return run->first + run->npages;
}

static inline bool
is_candidate(const VdbFreeRun *run)
{
	return (run->freed & VDB_FREE_RUN_CANDIDATE) != 0;
}

/* Return the block of free page runs, or NULL if the table has none. */
static const VdbFreePages *
free_pages(const VdbTableRef *ref)
{
	VdbBlock	block = vdb_map_table_entry(ref)->free_pages;
	const VdbFreePages *pages;

	if (block == VDB_BLOCK_NONE)
		return NULL;
	pages = vdb_map_check_head(ref, block, VDB_FREE_PAGES_MAGIC, VDB_FREE_PAGES_VERSION,
							   "free pages");
	if (pages->nruns > VDB_FREE_RUNS)
		vdb_map_damaged(block, "free pages", "runs", VDB_FREE_RUNS, pages->nruns);
	return pages;
}

/* Append a run to the list. */
static void
list_add(RunList *list, const VdbFreeRun *run)
{
	if (list->n == list->room)
	{
		list->room = list->room * 2 + 16;
		list->runs = repalloc(list->runs, (Size) list->room * sizeof(VdbFreeRun));
	}
	list->runs[list->n++] = *run;
}

/*
 * Initialize a list with room for the stored runs and 'more'.  This allocates memory, so callers do
 * it before they take the map lock.
 */
static void
list_init(RunList *list, int more)
{
	list->n = 0;
	list->room = VDB_FREE_RUNS + more;
	list->runs = palloc((Size) list->room * sizeof(VdbFreeRun));
}

/* Copy the runs that have pages to memory. */
static void
list_load(RunList *list, const VdbTableRef *ref)
{
	const VdbFreePages *pages = free_pages(ref);

	list->n = 0;
	for (int i = 0; pages != NULL && i < pages->nruns; i++)
	{
		if (pages->runs[i].npages > 0)
			list->runs[list->n++] = pages->runs[i];
	}
}

static int
compare_first(const void *a, const void *b)
{
	const VdbFreeRun *x = a;
	const VdbFreeRun *y = b;

	return x->first < y->first ? -1 : x->first > y->first ? 1 : 0;
}

/* Compare runs by size, largest first. */
static int
compare_size(const void *a, const void *b)
{
	const VdbFreeRun *x = a;
	const VdbFreeRun *y = b;

	return x->npages > y->npages ? -1 : x->npages < y->npages ? 1 : 0;
}

/*
 * Return whether two neighbors may be merged.  They may not if the older one had to wait for the
 * younger.
 */
static bool
may_merge(const VdbFreeRun *a, const VdbFreeRun *b, VdbRunRemovable removable, void *arg)
{
	if (run_end(a) != b->first || is_candidate(a) != is_candidate(b))
		return false;
	return a->freed == b->freed ||
		(!is_candidate(a) && removable(VDB_FREE_RUN_XID(a), arg) &&
		 removable(VDB_FREE_RUN_XID(b), arg));
}

/* Sort the runs, drop those that overlap an earlier one, merge neighbors, and keep the largest. */
static void
list_tidy(RunList *list, VdbRunRemovable removable, void *arg)
{
	int			kept = 0;

	qsort(list->runs, list->n, sizeof(VdbFreeRun), compare_first);
	for (int i = 0; i < list->n; i++)
	{
		VdbFreeRun *last = kept > 0 ? &list->runs[kept - 1] : NULL;
		VdbFreeRun	run = list->runs[i];

		if (run.npages == 0 || run.first == 0 || (last != NULL && run.first < run_end(last)))
			continue;
		if (last != NULL && may_merge(last, &run, removable, arg))
		{
			last->npages += run.npages;
			last->freed = Max(last->freed, run.freed);
		}
		else
			list->runs[kept++] = run;
	}
	list->n = kept;
	if (list->n > VDB_FREE_RUNS)
	{
		qsort(list->runs, list->n, sizeof(VdbFreeRun), compare_size);
		list->n = VDB_FREE_RUNS;
		qsort(list->runs, list->n, sizeof(VdbFreeRun), compare_first);
	}
}

/* Return whether the list differs from the stored one. */
static bool
list_differs(const RunList *list, const VdbTableRef *ref)
{
	const VdbFreePages *pages = free_pages(ref);

	if (pages == NULL)
		return list->n > 0;
	return pages->nruns != list->n ||
		memcmp(pages->runs, list->runs, list->n * sizeof(VdbFreeRun)) != 0;
}

/* Write the list to its block, or to a new one.  Returns false if the pool has no block for it. */
static bool
list_store(const RunList *list, const VdbTableRef *ref, TransactionId conflict)
{
	VdbBlock	block = vdb_map_table_entry(ref)->free_pages;
	bool		new_block = block == VDB_BLOCK_NONE;
	VdbFreePages head = {0};
	VdbScmChange *change;

	Assert(list->n <= VDB_FREE_RUNS);
	if (!list_differs(list, ref))
		return true;
	if (new_block)
	{
		block = vdb_scm_reserve_block(ref->pool, true);
		if (block == VDB_BLOCK_NONE)
			return false;
	}
	head.magic = VDB_FREE_PAGES_MAGIC;
	head.version = VDB_FREE_PAGES_VERSION;
	head.nruns = (uint16) list->n;
	head.table_slot = ref->slot;
	head.table_generation = ref->generation;
	PG_TRY();
	{
		change = vdb_scm_change_begin(ref->pool, VDB_CHANGE_FLUSH);
		vdb_scm_change_conflict(change, conflict);
		if (new_block)
			vdb_scm_change_use_block(change, block);
		vdb_scm_change_write(change, block, VDB_POOL_BLOCK_HEADER, &head,
							 offsetof(VdbFreePages, runs));
		if (list->n > 0)
			vdb_scm_change_write(change, block, VDB_MAP_OFFSET(VdbFreePages, runs),
								 list->runs, list->n * sizeof(VdbFreeRun));
		if (new_block)
			vdb_scm_change_publish(change, ref->entry_block, VDB_TABLE_FIELD(ref, free_pages),
								   &block, sizeof(block));
		vdb_scm_change_end(change);
	}
	PG_CATCH();
	{
		if (new_block)
			vdb_scm_unreserve_block(ref->pool, block);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return true;
}

/* Load the list for a change, with room for 'more', and take the map lock exclusive. */
static void
begin(const VdbTableRef *ref, RunList *list, int more)
{
	(void) vdb_epoch_current(ref->pool);
	list_init(list, more);
	LWLockAcquire(vdb_map_lock(ref->slot), LW_EXCLUSIVE);
	vdb_map_check_ref(ref);
	list_load(list, ref);
}

/* Release the map lock and free the list. */
static void
end(const VdbTableRef *ref, RunList *list)
{
	LWLockRelease(vdb_map_lock(ref->slot));
	pfree(list->runs);
}

/* See map.h. */
void
vdb_map_add_free_pages(const VdbTableRef *ref, const VdbFreeRun *runs, int nruns,
					   VdbRunRemovable removable, void *arg)
{
	RunList		list;

	if (nruns == 0)
		return;
	begin(ref, &list, nruns);
	for (int i = 0; i < nruns; i++)
		list_add(&list, &runs[i]);
	list_tidy(&list, removable, arg);
	(void) list_store(&list, ref, InvalidTransactionId);
	end(ref, &list);
}

/* Return the index of the run to take from, or -1. */
static int
choose_run(const VdbFreeRun *runs, int nruns, uint32 want, bool exact, VdbRunRemovable removable,
		   void *arg)
{
	int			fit = -1;
	int			largest = -1;

	for (int i = 0; i < nruns; i++)
	{
		const VdbFreeRun *run = &runs[i];

		if (is_candidate(run) || !removable(VDB_FREE_RUN_XID(run), arg))
			continue;
		if (run->npages >= want && (fit < 0 || run->npages < runs[fit].npages))
			fit = i;
		if (largest < 0 || run->npages > runs[largest].npages)
			largest = i;
	}
	return fit >= 0 || exact ? fit : largest;
}

/* Return the index, in the stored list, of the run to take 'want' pages from, or -1. */
static int
stored_run(const VdbTableRef *ref, uint32 want, VdbRunRemovable removable, void *arg)
{
	const VdbFreePages *pages = free_pages(ref);

	if (pages == NULL)
		return -1;
	return choose_run(pages->runs, pages->nruns, want, true, removable, arg);
}

/*
 * Return the xid for which queries of a standby conflict with reusing the run.  There is none if
 * the run was freed too long ago for 32 bits.
 */
static TransactionId
conflict_xid(uint64 freed)
{
	uint64		next = U64FromFullTransactionId(ReadNextFullTransactionId());

	if (next - freed >= MaxTransactionId / 2)
		return InvalidTransactionId;
	return XidFromFullTransactionId(FullTransactionIdFromU64(freed));
}

/*
 * Take 'want' pages off run i of the stored list, which has so many: one store of 8 bytes, not
 * flushed.
 */
static void
take_in_place(const VdbTableRef *ref, int i, uint32 want, VdbFreeRun *taken)
{
	const VdbFreeRun *run = &free_pages(ref)->runs[i];
	VdbScmChange *change = vdb_scm_change_begin(ref->pool, 0);
	uint32		rest[2] = {run->first + want, run->npages - want};

	Assert(want <= run->npages);
	*taken = *run;
	taken->npages = want;
	vdb_scm_change_conflict(change, conflict_xid(taken->freed));
	vdb_scm_change_publish(change, vdb_map_table_entry(ref)->free_pages,
						   VDB_MAP_OFFSET(VdbFreePages, runs) + i * sizeof(VdbFreeRun),
						   rest, sizeof(rest));
	vdb_scm_change_end(change);
}

/* Take 'want' pages off run i of the list, or as many as it has, and store the list. */
static void
take_and_store(const VdbTableRef *ref, RunList *list, int i, uint32 want, VdbFreeRun *taken)
{
	VdbFreeRun *run = &list->runs[i];

	*taken = *run;
	taken->npages = Min(run->npages, want);
	run->first += taken->npages;
	run->npages -= taken->npages;
	if (run->npages == 0)
	{
		memmove(run, run + 1, (list->n - i - 1) * sizeof(VdbFreeRun));
		list->n--;
	}
	(void) list_store(list, ref, conflict_xid(taken->freed));
}

/* See map.h. */
bool
vdb_map_take_free_pages(const VdbTableRef *ref, uint32 want, bool exact,
						VdbRunRemovable removable, void *arg, VdbFreeRun *taken)
{
	RunList		list;
	int			i;

	Assert(want > 0);
	if (*(const volatile VdbBlock *) &vdb_map_table_entry(ref)->free_pages == VDB_BLOCK_NONE)
		return false;
	begin(ref, &list, 0);
	i = stored_run(ref, want, removable, arg);
	if (i >= 0)
		take_in_place(ref, i, want, taken);
	else
	{
		/* neighbors may have become one run, that is long enough */
		list_tidy(&list, removable, arg);
		i = choose_run(list.runs, list.n, want, exact, removable, arg);
		if (i >= 0)
			take_and_store(ref, &list, i, want, taken);
	}
	end(ref, &list);
	return i >= 0;
}

/* See map.h. */
int
vdb_map_list_free_pages(const VdbTableRef *ref, VdbFreeRun *runs)
{
	RunList		list = {0, VDB_FREE_RUNS, runs};

	LWLockAcquire(vdb_map_lock(ref->slot), LW_SHARED);
	vdb_map_check_ref(ref);
	list_load(&list, ref);
	LWLockRelease(vdb_map_lock(ref->slot));
	return list.n;
}

/* ---- mark and sweep ---- */

static inline bool
is_used(const uint8 *used, BlockNumber page)
{
	return (used[page / 8] >> (page % 8)) & 1;
}

/* Return whether any page of the run (below npages) is in use. */
static bool
run_used(const VdbFreeRun *run, const uint8 *used, BlockNumber npages)
{
	for (BlockNumber page = run->first; page < Min(run_end(run), npages); page++)
		if (is_used(used, page))
			return true;
	return false;
}

/*
 * Keep those of the listed runs that are still unreferenced, and promote candidates.  A candidate
 * that is partly in use is dropped: its rest becomes a new candidate.
 */
static void
review_listed(RunList *list, const uint8 *used, BlockNumber npages, VdbRunRemovable removable,
			  void *arg)
{
	int			kept = 0;

	for (int i = 0; i < list->n; i++)
	{
		VdbFreeRun	run = list->runs[i];

		if (run.first >= npages || run_used(&run, used, npages))
			continue;
		if (is_candidate(&run) && removable(VDB_FREE_RUN_XID(&run), arg))
			run.freed = VDB_FREE_RUN_XID(&run);
		list->runs[kept++] = run;
	}
	list->n = kept;
}

/* Make unreferenced pages between the listed runs candidates. */
static void
add_candidates(RunList *list, const uint8 *used, BlockNumber npages, uint64 now)
{
	int			nlisted = list->n;
	int			next = 0;
	VdbFreeRun	run = {0, 0, now | VDB_FREE_RUN_CANDIDATE};

	for (BlockNumber page = 1; page <= npages && list->n < MAX_CANDIDATES; page++)
	{
		if (next < nlisted && page == list->runs[next].first)
		{
			if (run.npages > 0)
				list_add(list, &run);
			run.npages = 0;
			page = run_end(&list->runs[next++]) - 1;
			continue;
		}
		if (page < npages && !is_used(used, page))
		{
			if (run.npages++ == 0)
				run.first = page;
		}
		else if (run.npages > 0)
		{
			list_add(list, &run);
			run.npages = 0;
		}
	}
}

/* See map.h. */
void
vdb_map_sweep_free_pages(const VdbTableRef *ref, const uint8 *used, BlockNumber npages,
						 VdbRunRemovable removable, void *arg)
{
	RunList		list;

	begin(ref, &list, 0);
	review_listed(&list, used, npages, removable, arg);

	/*
	 * read the id now, under the lock: a process that took pages off the list meanwhile has an
	 * older one
	 */
	add_candidates(&list, used, npages, U64FromFullTransactionId(ReadNextFullTransactionId()));
	list_tidy(&list, removable, arg);
	(void) list_store(&list, ref, InvalidTransactionId);
	end(ref, &list);
}

/* See map.h.  Runs are sorted, so those at the end of the fork are the last ones. */
BlockNumber
vdb_map_cut_free_pages(const VdbTableRef *ref, BlockNumber npages, bool take)
{
	RunList		list;

	begin(ref, &list, 0);
	while (list.n > 0 && run_end(&list.runs[list.n - 1]) >= npages &&
		   !is_candidate(&list.runs[list.n - 1]))
	{
		npages = Min(npages, list.runs[list.n - 1].first);
		list.n--;
	}
	if (take)
		(void) list_store(&list, ref, InvalidTransactionId);
	end(ref, &list);
	return npages;
}
