/*-------------------------------------------------------------------------
 *
 * table_zones.c
 *	  Copy zone maps of some columns of a stripe out of the pool.
 *
 * Zone maps may be freed as soon as the block lock is released.  But comparing
 * them calls functions of their types, which read catalogs, open collations,
 * allocate memory, may warn and may fail.  So they are copied under the lock,
 * and compared after it is released.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "table/table.h"

/* The most zone maps that are copied of one stripe (512 kB).  Later chunks always may match. */
#define VDB_ZONE_SET_MAX	8192

void
vdb_zone_set_init(VdbZoneSet *set, const int *columns, int ncolumns)
{
	memset(set, 0, sizeof(*set));
	set->context = CurrentMemoryContext;
	set->columns = columns;
	set->ncolumns = ncolumns;
}

void
vdb_zone_set_free(VdbZoneSet *set)
{
	if (set->zones != NULL)
		pfree(set->zones);
	set->zones = NULL;
	set->room = set->ncopied = 0;
}

/* Make room for n zone maps.  Those that were copied before are lost. */
static void
reserve(VdbZoneSet *set, int n)
{
	if (n <= set->room)
		return;
	vdb_zone_set_free(set);
	set->zones = MemoryContextAlloc(set->context, sizeof(VdbZone) * n);
	set->room = n;
}

bool
vdb_zone_set_read(VdbZoneSet *set, VdbPool *pool, VdbBlock meta_block, const VdbStripeMeta *meta,
				  VdbMetaDamage *damage)
{
	VdbZoneReader reader;
	VdbZone    *to;

	set->nchunks = meta->nchunks;
	set->ncopied = 0;
	if (set->ncolumns == 0)
		return true;
	reserve(set, Min(set->nchunks * set->ncolumns, VDB_ZONE_SET_MAX));
	set->ncopied = Min(set->nchunks, VDB_ZONE_SET_MAX / set->ncolumns);
	vdb_zone_reader_init(&reader, pool, meta_block, meta);
	to = set->zones;
	for (int chunk = 0; chunk < set->ncopied; chunk++)
	{
		for (int i = 0; i < set->ncolumns; i++, to++)
		{
			const VdbZone *zone = vdb_zone_read(&reader, chunk, set->columns[i]);

			if (zone != NULL)
				*to = *zone;
			else
				to->flags = VDB_ZONE_UNKNOWN;
		}
	}
	if (reader.damaged)
	{
		*damage = reader.damage;
		set->ncopied = 0;		/* none of them is trusted */
	}
	return !reader.damaged;
}
