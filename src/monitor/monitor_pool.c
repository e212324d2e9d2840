/*-------------------------------------------------------------------------
 *
 * monitor_pool.c
 *	  vdb.verify_pool: comparing the allocation map with the references from tables.
 *
 * The pool is in use while it is checked.  So a look notes the state of every block, then walks
 * all structures, then reads the states again.  A block is suspect if its state stayed the same
 * and does not fit the references.  It is reported if a second look finds it suspect in the same
 * way.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "monitor/monitor.h"
#include "scm/scm_words.h"

PG_FUNCTION_INFO_V1(vdb_monitor_verify_pool);

/* What can be wrong with a block; bits. */
#define SUSPECT_LEAKED		0x01	/* in use, but nothing refers to it */
#define SUSPECT_DOUBLE		0x02	/* referred to twice */
#define SUSPECT_FREE		0x04	/* referred to, but free */
#define SUSPECT_KIND		0x08	/* in use as something else than the map says */

/* How a block is referred to; bits. */
#define REFERRED_BLOCK		0x01
#define REFERRED_SEGMENT	0x02
#define REFERRED_TWICE		0x04

/* State of one verification of the pool. */
typedef struct PoolCheck
{
	VdbPool    *pool;
	VdbFindings *findings;
	VdbFindings *scratch;			/* findings of first attempts, which are discarded */
	VdbBlock	total;				/* blocks of the pool; length of the arrays */
	uint8	   *before;				/* state of each block at the start of a look */
	uint8	   *referred;			/* references to each block, REFERRED_ bits */
	uint8	   *suspect;			/* SUSPECT_ bits of each block that all looks agree on */
	VdbTableRef ref;				/* the current table */
	bool		incomplete;			/* some table could not be walked in this look */
	bool		hidden;				/* leaks were not reported because of that */
} PoolCheck;

/* The state of a block that is reserved, or cannot be read. */
#define STATE_UNKNOWN		0xFF

/* Return a block's state in the allocation map, or STATE_UNKNOWN. */
static uint8
block_state(PoolCheck *check, VdbBlock block)
{
	uint8		state;
	uint8		reserved;

	if (!vdb_scm_block_state(check->pool, block, &state, &reserved) || reserved != VDB_RESERVED_NOT)
		return STATE_UNKNOWN;
	return state;
}

/* Note that a structure refers to the block or segment.  Locks may be held. */
static void
note_reference(VdbBlock block, bool segment, void *arg)
{
	PoolCheck  *check = arg;
	int			n = segment ? VDB_SEGMENT_BLOCKS : 1;

	for (int i = 0; i < n && block + i < check->total; i++)
	{
		uint8	   *referred = &check->referred[block + i];

		if (*referred != 0)
			*referred |= REFERRED_TWICE;
		*referred |= segment ? REFERRED_SEGMENT : REFERRED_BLOCK;
	}
}

/* Note the blocks of the table directory. */
static void
walk_directory(void *arg)
{
	PoolCheck  *check = arg;

	vdb_map_directory_blocks(check->pool, note_reference, check);
}

/* Note the blocks of the current table. */
static void
note_table_blocks(void *arg)
{
	PoolCheck  *check = arg;

	vdb_map_blocks(&check->ref, note_reference, check);
}

/* Ignore a reference. */
static void
ignore_reference(VdbBlock block, bool segment, void *arg)
{
}

/* Walk the current table again, to have its error reported.  Its references are already noted. */
static void
walk_table_again(void *arg)
{
	vdb_map_blocks(&((PoolCheck *) arg)->ref, ignore_reference, NULL);
}

/* Return true if the current table is being emptied or dropped, or is gone. */
static bool
is_going(PoolCheck *check)
{
	return !vdb_map_table_valid(&check->ref) ||
		(vdb_map_table_entry(&check->ref)->flags & VDB_TABLE_EMPTYING) != 0;
}

/*
 * Note everything that the tables of the pool refer to.  A table that is emptied or dropped
 * meanwhile is not an error.
 */
static void
walk_tables(PoolCheck *check)
{
	bool		past_end = false;

	for (uint32 slot = 0; !past_end; slot++)
	{
		VdbTableKey key;
		char		location[64];

		CHECK_FOR_INTERRUPTS();
		if (!vdb_map_table_by_slot(check->pool, slot, &check->ref, &key, &past_end))
			continue;
		if (is_going(check))
		{
			check->incomplete = true;
			continue;
		}
		snprintf(location, sizeof(location), "table slot %u", slot);
		if (vdb_verify_try(check->scratch, location, note_table_blocks, check))
			continue;
		check->incomplete = true;
		if (!is_going(check))
			(void) vdb_verify_try(check->findings, location, walk_table_again, check);
	}
}

/* Return the state that the allocation map should have for a block that is referred to. */
static uint8
expected_state(uint8 referred, VdbBlock block)
{
	if (!(referred & REFERRED_SEGMENT))
		return VDB_STATE_BLOCK;
	return block % VDB_SEGMENT_BLOCKS == 0 ? VDB_STATE_FIRST : VDB_STATE_FURTHER;
}

/* Check whether a state says that nothing is stored in the block. */
static bool
is_available(uint8 state)
{
	return state == VDB_STATE_FREE || state == VDB_STATE_RELEASED;
}

/* Return what is wrong with the block by this look, as SUSPECT_ bits. */
static uint8
suspicion(PoolCheck *check, VdbBlock block)
{
	uint8		state = check->before[block];
	uint8		referred = check->referred[block];
	uint8		suspect = 0;

	if (state == STATE_UNKNOWN || state != block_state(check, block))
		return 0;
	if (referred == 0)
		return is_available(state) ? 0 : SUSPECT_LEAKED;
	if (referred & REFERRED_TWICE)
		suspect |= SUSPECT_DOUBLE;
	if (is_available(state))
		suspect |= SUSPECT_FREE;
	else if (state != expected_state(referred, block))
		suspect |= SUSPECT_KIND;
	return suspect;
}

/*
 * Look at the pool once.  The first look sets the suspects.  The second keeps those that it finds
 * suspect in the same way.
 */
static void
look_at_pool(PoolCheck *check, bool first)
{
	check->incomplete = false;
	memset(check->referred, 0, check->total);
	for (VdbBlock block = 0; block < check->total; block++)
		check->before[block] = block_state(check, block);
	if (!vdb_verify_try(check->findings, "table directory", walk_directory, check))
		check->incomplete = true;
	walk_tables(check);
	for (VdbBlock block = 0; block < check->total; block++)
	{
		uint8		suspect = suspicion(check, block);

		check->suspect[block] = first ? suspect : check->suspect[block] & suspect;
	}
}

/* Add a finding about the blocks 'from' to 'to', both inclusive. */
static void
report_blocks(PoolCheck *check, const char *severity, VdbBlock from, VdbBlock to,
			  const char *message)
{
	char		location[64];

	if (to == from)
		snprintf(location, sizeof(location), "pool block %u", from);
	else
		snprintf(location, sizeof(location), "pool blocks %u to %u", from, to);
	vdb_finding(check->findings, severity, location, "%s", message);
}

/* Add the findings about a run of blocks that are suspect in the same way. */
static void
report_run(PoolCheck *check, VdbBlock from, VdbBlock to, uint8 suspect)
{
	if (suspect & SUSPECT_DOUBLE)
		report_blocks(check, VDB_ERROR_FOUND, from, to, _("two structures refer to it"));
	if (suspect & SUSPECT_FREE)
		report_blocks(check, VDB_ERROR_FOUND, from, to,
					  _("a structure refers to it, but it is marked free"));
	if (suspect & SUSPECT_KIND)
		report_blocks(check, VDB_ERROR_FOUND, from, to,
					  _("it is marked as something else than what it is used for"));
	if ((suspect & SUSPECT_LEAKED) && check->incomplete)
		check->hidden = true;
	else if (suspect & SUSPECT_LEAKED)
		report_blocks(check, VDB_WARNING_FOUND, from, to,
					  _("it is marked in use, but nothing refers to it"));
}

/* Report the suspect blocks, in runs of neighbors. */
static void
report_suspects(PoolCheck *check)
{
	for (VdbBlock block = 0; block < check->total;)
	{
		VdbBlock	end = block + 1;

		while (end < check->total && check->suspect[end] == check->suspect[block])
			end++;
		if (check->suspect[block] != 0)
			report_run(check, block, end - 1, check->suspect[block]);
		block = end;
	}
	if (check->hidden)
		vdb_finding(check->findings, VDB_WARNING_FOUND, "pool",
					_("a table is being emptied or is damaged: leaked space cannot be distinguished from its own"));
}

/* Open the pool of this database.  This step runs in a subtransaction. */
static void
open_checked_pool(void *arg)
{
	((PoolCheck *) arg)->pool = vdb_pool_open();
}

/* Look twice, and report the blocks that were suspect both times. */
static void
check_pool(PoolCheck *check)
{
	check->total = vdb_pool_total_blocks(check->pool);
	check->before = palloc_extended(check->total, MCXT_ALLOC_HUGE);
	check->referred = palloc_extended(check->total, MCXT_ALLOC_HUGE);
	check->suspect = palloc_extended(check->total, MCXT_ALLOC_HUGE);
	look_at_pool(check, true);
	look_at_pool(check, false);
	report_suspects(check);
}

/* vdb.verify_pool(): a row for each finding; no row if the pool is healthy. */
Datum
vdb_monitor_verify_pool(PG_FUNCTION_ARGS)
{
	VdbReport	report;
	PoolCheck	check = {0};

	vdb_report_begin(&report, fcinfo);
	check.findings = vdb_findings_create();
	check.scratch = vdb_findings_create();
	if (vdb_verify_try(check.findings, "pool", open_checked_pool, &check))
		check_pool(&check);
	vdb_findings_report(check.findings, &report);
	return (Datum) 0;
}
