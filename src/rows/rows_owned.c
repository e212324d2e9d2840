/*-------------------------------------------------------------------------
 *
 * rows_owned.c
 *	  The segments that this backend owns, and what it knows about its tables.
 *
 * A table that this backend has inserted into has an 'appender': its average row length, how many
 * segments to claim next, its current segment.  All segments owned, of all tables, are in one small
 * array; each is
 *
 * - current: rows are appended to it; one per appender;
 * - spare: claimed, and nothing is reserved in it;
 * - retired: without room, but perhaps with places outstanding (see
 *   rows_segment.c), which is why it is still owned.
 *
 * Appenders outlive transactions, as their averages are worth keeping.  So does the segment that
 * they appended to last: they go on there if they can.  Ownership of segments ends with the
 * transaction.
 *
 * All of this is local memory.  Open-segment locks are taken, one at a time, to close a segment,
 * and to hand one back for the first time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "port/pg_bitutils.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "rows/rows_private.h"

/* Tables that are remembered from one transaction to the next. */
#define VDB_APPENDERS_KEPT		1024

StaticAssertDecl(VDB_OPEN_PER_BACKEND == 32, "owned segments are tracked in a 32-bit mask");

static VdbOwned vdb_owned[VDB_OPEN_PER_BACKEND];
static uint32 vdb_owned_mask = 0;	/* which of them are in use */
static HTAB *vdb_appenders = NULL;
static VdbAppender *vdb_last_appender = NULL;

/* ---- owned segments ---- */

/* Return how many more segments this backend may own. */
int
vdb_owned_room(void)
{
	return VDB_OPEN_PER_BACKEND - pg_popcount32(vdb_owned_mask);
}

/*
 * Add a segment to those owned, by its handle, as a spare.  There is room for it.  The caller sets
 * 'fill'.
 */
VdbOwned *
vdb_owned_add(VdbAppender *appender, int handle)
{
	int			i = pg_rightmost_one_pos32(~vdb_owned_mask);
	VdbOwned   *owned = &vdb_owned[i];

	Assert(vdb_owned_mask != PG_UINT32_MAX);
	vdb_owned_mask |= (uint32) 1 << i;
	owned->appender = appender;
	owned->state = VDB_OWNED_SPARE;
	owned->handle = handle;
	return owned;
}

/* Remove a segment from those owned.  The caller has closed or handed back its entry. */
static void
owned_remove(VdbOwned *owned)
{
	VdbAppender *appender = owned->appender;

	if (appender->current == owned)
		appender->current = NULL;
	if (owned->state == VDB_OWNED_RETIRED)
		appender->nretired--;
	vdb_owned_mask &= ~((uint32) 1 << (owned - vdb_owned));
}

/* Close an owned segment for good. */
void
vdb_owned_close(VdbOwned *owned)
{
	vdb_open_close(owned->handle);
	owned_remove(owned);
}

/* Return the bytes of an average row image, as vdb_row_image_bytes counts them. */
uint32
vdb_appender_average(const VdbAppender *appender)
{
	uint32		bytes = MAXALIGN(appender->average_scaled / VDB_AVERAGE_SHARE);

	return Min(bytes, VDB_POOL_BLOCK_PAYLOAD);
}

/* Hand a segment back, or close it if an average row would no longer fit. */
static void
owned_give(VdbOwned *owned)
{
	uint8		block;
	uint16		offset;

	if (owned->state != VDB_OWNED_RETIRED &&
		vdb_fill_find(&owned->fill, vdb_appender_average(owned->appender), &block, &offset))
	{
		if (owned->state == VDB_OWNED_CURRENT)
		{
			owned->appender->last_handle = owned->handle;
			owned->appender->last_segment = owned->fill.segment;
		}
		vdb_open_give(owned->handle, &owned->fill);
		owned_remove(owned);
	}
	else
		vdb_owned_close(owned);
}

/* Hand back what is owned for tables other than 'except' and has nothing outstanding. */
void
vdb_owned_give_all(const VdbAppender *except)
{
	uint32		mask = vdb_owned_mask;

	while (mask != 0)
	{
		int			i = pg_rightmost_one_pos32(mask);
		VdbAppender *appender = vdb_owned[i].appender;

		mask &= mask - 1;
		if (appender == except || appender->outstanding > 0)
			continue;
		owned_give(&vdb_owned[i]);
		appender->run = 1;
	}
}

/* Close the retired segments, now that all their rows are stored. */
void
vdb_owned_close_retired(VdbAppender *appender)
{
	Assert(appender->outstanding == 0);
	for (uint32 mask = vdb_owned_mask; mask != 0; mask &= mask - 1)
	{
		VdbOwned   *owned = &vdb_owned[pg_rightmost_one_pos32(mask)];

		if (owned->appender == appender && owned->state == VDB_OWNED_RETIRED)
			vdb_owned_close(owned);
	}
	Assert(appender->nretired == 0);
}

/*
 * Retire the current segment, which is full.  It is closed as soon as all rows reserved in it are
 * stored.
 */
void
vdb_owned_retire(VdbAppender *appender)
{
	VdbOwned   *owned = appender->current;

	appender->current = NULL;
	if (appender->outstanding == 0)
		vdb_owned_close(owned);
	else
	{
		owned->state = VDB_OWNED_RETIRED;
		appender->nretired++;
	}
}

/* Close everything that is owned for a table that no longer exists. */
static void
drop_all_of(VdbAppender *appender)
{
	for (uint32 mask = vdb_owned_mask; mask != 0; mask &= mask - 1)
	{
		VdbOwned   *owned = &vdb_owned[pg_rightmost_one_pos32(mask)];

		if (owned->appender == appender)
			vdb_owned_close(owned);
	}
	appender->outstanding = 0;
	appender->run = 1;
}

/* ---- appenders ---- */

/* Fill in the identity by which rows_open.c knows the table. */
void
vdb_open_identify(const VdbTableRef *ref, VdbOpenTable *table)
{
	const VdbPoolShared *shared = vdb_pool_shared(ref->pool);

	table->pool_db = shared->db;
	table->pool_relnode = shared->rnode.relNumber;
	table->slot = ref->slot;
	table->generation = ref->generation;
}

static void
create_appenders(void)
{
	HASHCTL		ctl;

	memset(&ctl, 0, sizeof(ctl));
	ctl.keysize = sizeof(uint32);
	ctl.entrysize = sizeof(VdbAppender);
	ctl.hcxt = TopMemoryContext;
	vdb_appenders = hash_create("vdb appenders", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/*
 * Return the appender of a table, or NULL.  An appender of an earlier user of the table slot
 * doesn't count.
 */
VdbAppender *
vdb_appender_find(const VdbTableRef *ref)
{
	VdbAppender *appender = vdb_last_appender;

	if (appender == NULL || appender->table_slot != ref->slot)
	{
		if (vdb_appenders == NULL)
			return NULL;
		appender = hash_search(vdb_appenders, &ref->slot, HASH_FIND, NULL);
		if (appender == NULL)
			return NULL;
		vdb_last_appender = appender;
	}
	if (appender->table.generation != ref->generation ||
		appender->table.pool_relnode != vdb_pool_shared(ref->pool)->rnode.relNumber)
		return NULL;
	return appender;
}

/*
 * Return the appender of a table.  If there is none, make one, in place of that of an earlier user
 * of the table slot.
 */
VdbAppender *
vdb_appender_get(const VdbTableRef *ref, uint32 image_bytes)
{
	VdbAppender *appender = vdb_appender_find(ref);
	bool		found;

	if (appender != NULL)
		return appender;

	if (vdb_appenders == NULL)
		create_appenders();
	appender = hash_search(vdb_appenders, &ref->slot, HASH_ENTER, &found);
	if (found)
		drop_all_of(appender);
	vdb_open_identify(ref, &appender->table);
	appender->average_scaled = image_bytes * VDB_AVERAGE_SHARE;
	appender->run = 1;
	appender->outstanding = 0;
	appender->nretired = 0;
	appender->current = NULL;
	appender->last_handle = -1;
	vdb_last_appender = appender;
	return appender;
}

/* Return the spare with the lowest row numbers, or NULL. */
VdbOwned *
vdb_owned_lowest_spare(const VdbAppender *appender)
{
	VdbOwned   *best = NULL;

	for (uint32 mask = vdb_owned_mask; mask != 0; mask &= mask - 1)
	{
		VdbOwned   *owned = &vdb_owned[pg_rightmost_one_pos32(mask)];

		if (owned->appender == appender && owned->state == VDB_OWNED_SPARE &&
			(best == NULL || owned->fill.first_lb < best->fill.first_lb))
			best = owned;
	}
	return best;
}

/* Forget outstanding places: those of an aborted (sub)transaction are never put. */
void
vdb_owned_forget_outstanding(void)
{
	for (uint32 mask = vdb_owned_mask; mask != 0; mask &= mask - 1)
		vdb_owned[pg_rightmost_one_pos32(mask)].appender->outstanding = 0;
}

/* Forget averages if there are too many of them.  Called between transactions. */
void
vdb_appenders_trim(void)
{
	Assert(vdb_owned_mask == 0);
	if (vdb_appenders != NULL && hash_get_num_entries(vdb_appenders) > VDB_APPENDERS_KEPT)
	{
		hash_destroy(vdb_appenders);
		vdb_appenders = NULL;
		vdb_last_appender = NULL;
	}
}
