/*-------------------------------------------------------------------------
 *
 * monitor_verify.c
 *	  vdb.verify: read everything of a table, and report what is wrong.
 *
 * 1. The map and the overlay's slabs, by their own checks.
 * 2. Range by range: each stripe (all its bytes, its meta and zone maps), then each logical
 *	  block (row versions in segments, delta records of striped rows, what a set bit of the
 *	  visibility map promises).
 * 3. The table as a whole: counts, pages of stripes.
 * 4. Its indexes (monitor_index.c).
 *
 * Each step runs in a subtransaction, so that an error becomes a finding and the next step goes
 * on.  Locks: AccessShareLock on the table; block locks, one at a time, shared, and only to copy.
 * No other process waits for a verification.
 *
 * The verification runs with the table owner's rights, because indexes may call the owner's
 * functions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "monitor/monitor_verify.h"
#include "pages/pages.h"

PG_FUNCTION_INFO_V1(vdb_monitor_verify);

/* Check the blocks from the cursor's to the end of the range. */
static void
verify_blocks(void *arg)
{
	VdbVerify  *verify = arg;

	do
	{
		CHECK_FOR_INTERRUPTS();
		verify->lb = vdb_cursor_lb(&verify->cursor);
		vdb_verify_locate_block(verify, verify->lb);
		vdb_verify_block(verify);
	} while (vdb_cursor_next_in_range(&verify->cursor));
}

/* Collect the stripes and segments of the current range. */
static void
see_range(void *arg)
{
	VdbVerify  *verify = arg;

	vdb_see_range(&verify->ref, verify->range, true, verify->seen);
}

/* Check the stripes and the logical blocks of the current range. */
static void
verify_range(VdbVerify *verify)
{
	snprintf(verify->location, VDB_VERIFY_LOCATION_BYTES, "range %u", verify->range);
	verify->seen->nstripes = verify->seen->nsegments = 0;
	(void) vdb_verify_try(verify->findings, verify->location, see_range, verify);
	for (int i = 0; i < verify->seen->nstripes; i++)
		vdb_verify_stripe(verify, &verify->seen->stripes[i]);
	/* a block that cannot be read is a finding; go on with the one after it */
	while (!vdb_findings_full(verify->findings))
		if (vdb_verify_try(verify->findings, verify->location, verify_blocks, verify) ||
			!vdb_cursor_next_in_range(&verify->cursor))
			break;
}

/* Check the metapage and open the table's entry in the pool. */
static void
open_table(void *arg)
{
	VdbVerify  *verify = arg;

	vdb_pages_check(verify->rel);
	verify->found = vdb_table_open(verify->rel, false, &verify->ref);
}

/* Callback of vdb_map_check and vdb_overlay_check: add a finding. */
static void
structure_found(VdbLogicalBlock lb, const char *message, void *arg)
{
	VdbVerify  *verify = arg;

	vdb_verify_locate_block(verify, lb);
	VDB_ERROR_AT_LOCATION(verify, "%s", message);
}

/* Check the map. */
static void
check_map(void *arg)
{
	(void) vdb_map_check(&((VdbVerify *) arg)->ref, structure_found, arg);
}

/* Check the overlay's slabs. */
static void
check_overlay(void *arg)
{
	(void) vdb_overlay_check(&((VdbVerify *) arg)->ref, structure_found, arg);
}

/* Move the cursor to the next range. */
static void
next_range(void *arg)
{
	VdbVerify  *verify = arg;

	verify->more = vdb_cursor_next_range(&verify->cursor);
}

/* Check all ranges of the table. */
static void
verify_ranges(VdbVerify *verify)
{
	MemoryContext old = MemoryContextSwitchTo(verify->context);

	vdb_cursor_init_blocks(&verify->cursor, &verify->ref);
	while (!vdb_findings_full(verify->findings))
	{
		strlcpy(verify->location, "map", VDB_VERIFY_LOCATION_BYTES);
		if (!vdb_verify_try(verify->findings, verify->location, next_range, verify) ||
			!verify->more)
			break;
		verify->range = vdb_lb_range(vdb_cursor_lb(&verify->cursor));
		verify_range(verify);
		MemoryContextReset(verify->context);
	}
	MemoryContextSwitchTo(old);
}

/* Compare two runs of pages by their first page, for qsort. */
static int
compare_runs(const void *a, const void *b)
{
	const VdbVerifyRun *x = a;
	const VdbVerifyRun *y = b;

	return x->first < y->first ? -1 : x->first > y->first ? 1 : 0;
}

/*
 * Check that no page belongs to two stripes or spills.  A stripe that replaced another one during
 * the walk can't share its pages, because pages aren't reused before our snapshot ends.
 */
static void
check_pages(VdbVerify *verify)
{
	if (verify->nruns > 1)
		qsort(verify->runs, verify->nruns, sizeof(VdbVerifyRun), compare_runs);
	for (int i = 1; i < verify->nruns; i++)
	{
		const VdbVerifyRun *before = &verify->runs[i - 1];
		const VdbVerifyRun *run = &verify->runs[i];

		if ((uint64) before->first + before->npages > run->first)
			vdb_finding(verify->findings, VDB_ERROR_FOUND, "main fork",
						_("stripes or spills %u and %u share page %u"),
						before->id, run->id, run->first);
	}
}

/* Check the entry's own counts, unless they have changed since the start. */
static void
check_entry_counts(VdbVerify *verify, const VdbTableEntry *before)
{
	const VdbTableEntry *after = vdb_map_table_entry(&verify->ref);

	if (before->striped_rows != after->striped_rows ||
		before->nstripes_in_use != after->nstripes_in_use ||
		before->last_migration != after->last_migration ||
		before->generation != after->generation)
		return;
	if (after->nstripes_in_use != verify->stripes)
		vdb_finding(verify->findings, VDB_WARNING_FOUND, "table",
					_("the pool's table entry counts " UINT64_FORMAT " stripes, there are " UINT64_FORMAT),
					after->nstripes_in_use, verify->stripes);
	if (after->striped_rows != verify->stripe_rows)
		vdb_finding(verify->findings, VDB_WARNING_FOUND, "table",
					_("the pool's table entry counts " UINT64_FORMAT " rows in stripes, there are " UINT64_FORMAT),
					after->striped_rows, verify->stripe_rows);
}

/* Check a table that has an entry in the pool, except for its indexes. */
static void
verify_table(VdbVerify *verify)
{
	VdbTableEntry before = *vdb_map_table_entry(&verify->ref);

	verify->seen = palloc(sizeof(VdbSeenRange));
	verify->view = palloc(sizeof(VdbOverlayView));
	verify->arena = palloc(VDB_SEGMENT_BYTES);
	verify->versions = palloc(VDB_LB_ROWS * sizeof(VdbVersion));
	verify->max_runs = 64;
	verify->runs = palloc(verify->max_runs * sizeof(VdbVerifyRun));
	verify->context = AllocSetContextCreate(CurrentMemoryContext, "VDB verification",
											ALLOCSET_DEFAULT_SIZES);
	(void) vdb_verify_try(verify->findings, "map", check_map, verify);
	(void) vdb_verify_try(verify->findings, "block deltas", check_overlay, verify);
	verify_ranges(verify);
	if (!vdb_findings_full(verify->findings))
	{
		check_pages(verify);
		check_entry_counts(verify, &before);
	}
	MemoryContextDelete(verify->context);
}

/* vdb.verify(regclass): a row for each finding; no row if the table is healthy. */
Datum
vdb_monitor_verify(PG_FUNCTION_ARGS)
{
	VdbReport	report;
	VdbVerify	verify = {0};
	Oid			user;
	int			sec_context;
	int			guc_level;

	vdb_report_begin(&report, fcinfo);
	verify.rel = vdb_inspect_open(PG_GETARG_OID(0), VDB_MUST_OWN);
	verify.findings = vdb_findings_create();
	verify.relfrozenxid = verify.rel->rd_rel->relfrozenxid;

	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(verify.rel->rd_rel->relowner,
						   sec_context | SECURITY_RESTRICTED_OPERATION);
	guc_level = NewGUCNestLevel();
	if (vdb_verify_try(verify.findings, "main fork", open_table, &verify))
	{
		if (verify.found)
			verify_table(&verify);
		vdb_verify_indexes(verify.rel, verify.findings);
	}
	AtEOXact_GUC(false, guc_level);
	SetUserIdAndSecContext(user, sec_context);
	relation_close(verify.rel, AccessShareLock);
	vdb_findings_report(verify.findings, &report);
	return (Datum) 0;
}
