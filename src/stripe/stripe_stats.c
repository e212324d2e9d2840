/*-------------------------------------------------------------------------
 *
 * stripe_stats.c
 *	  Zone maps: null count, minimum and maximum of a column in a chunk.
 *
 * The order is that of the type's default btree operator class, with the column's collation.  Only
 * comparison functions that come with the server are called, and none that calls code of other
 * types (arrays, rows, ranges, enums): an error in a function of a user's type must not keep rows
 * from moving.  Columns of other types have null counts only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "stripe/stripe_private.h"

/* Return whether this comparison function orders values as their sign-extended bits. */
static bool
cmp_is_integer_order(Oid cmp)
{
	switch (cmp)
	{
		case F_BTINT2CMP:
		case F_BTINT4CMP:
		case F_BTINT8CMP:
		case F_BTBOOLCMP:
		case F_DATE_CMP:
		case F_TIME_CMP:
		case F_TIMESTAMP_CMP:
		case F_TIMESTAMPTZ_CMP:
		case F_CASH_CMP:
			return true;
		default:
			return false;
	}
}

/*
 * Prepare to make zone maps of a column.  Reads the catalogs.  'context' must outlive the method.
 */
void
vdb_zone_method_init(VdbZoneMethod *method, Form_pg_attribute att, MemoryContext context)
{
	TypeCacheEntry *entry;
	Oid			base;

	memset(method, 0, sizeof(*method));
	method->byval = att->attbyval;
	method->typlen = att->attlen;
	method->short_header = (att->attlen == -1 && att->attstorage != TYPSTORAGE_PLAIN);
	method->collation = att->attcollation;
	if (att->attisdropped)
		return;

	base = getBaseType(att->atttypid);
	if (base >= FirstNormalObjectId || get_typtype(base) != TYPTYPE_BASE)
		return;
	entry = lookup_type_cache(base, TYPECACHE_CMP_PROC);
	if (!OidIsValid(entry->cmp_proc) ||
		entry->cmp_proc >= FirstNormalObjectId ||
		entry->cmp_proc == F_BTARRAYCMP)
		return;

	fmgr_info_cxt(entry->cmp_proc, &method->cmp, context);
	method->as_integer = att->attbyval && cmp_is_integer_order(entry->cmp_proc);
	method->usable = true;
}

/* Count the nulls of a chunk. */
static uint32
zone_count_nulls(const uint8 *nulls, uint32 count)
{
	uint32		n = 0;

	for (uint32 i = 0; i < count; i++)
		n += vdb_null_bit(nulls, i);
	return n;
}

/* Initialize a zone map; return true if there are values to compare. */
static bool
zone_begin(const VdbZoneMethod *method, const uint8 *nulls, uint32 count, VdbZone *zone)
{
	memset(zone, 0, sizeof(*zone));
	zone->cmp_proc = method->cmp.fn_oid;
	zone->collation = method->collation;
	if (method->byval)
		zone->flags |= VDB_ZONE_BY_VALUE;
	zone->null_count = zone_count_nulls(nulls, count);
	if (zone->null_count == count)
		zone->flags |= VDB_ZONE_HAS_NULLS_ONLY;
	return method->usable && zone->null_count < count;
}

/* Store minimum and maximum of a by-value type. */
static void
zone_set_byval(VdbZone *zone, Datum min, Datum max)
{
	StaticAssertStmt(sizeof(Datum) == 8, "zone maps hold 8-byte Datums");

	memcpy(zone->min, &min, sizeof(Datum));
	memcpy(zone->max, &max, sizeof(Datum));
	zone->min_len = zone->max_len = sizeof(Datum);
	zone->flags |= VDB_ZONE_HAS_MINMAX;
}

/* Make the zone map of a chunk's column whose values are int64s in the vectors. */
void
vdb_zone_of_ints(VdbZoneMethod *method, uint16 width, const int64 *values,
				 const uint8 *nulls, uint32 count, VdbZone *zone)
{
	bool		found = false;
	int64		min = 0;
	int64		max = 0;

	Assert(method->byval);
	if (!zone_begin(method, nulls, count, zone))
		return;

	for (uint32 i = 0; i < count; i++)
	{
		int64		value = values[i];

		if (vdb_null_bit(nulls, i))
			continue;
		if (!found)
		{
			min = max = value;
			found = true;
		}
		else if (method->as_integer)
		{
			min = Min(min, value);
			max = Max(max, value);
		}
		else
		{
			Datum		datum = vdb_int_datum(value, width);

			if (DatumGetInt32(FunctionCall2Coll(&method->cmp, method->collation,
												datum, vdb_int_datum(max, width))) > 0)
				max = value;
			else if (DatumGetInt32(FunctionCall2Coll(&method->cmp, method->collation,
													 datum, vdb_int_datum(min, width))) < 0)
				min = value;
		}
	}

	Assert(found);
	zone_set_byval(zone, vdb_int_datum(min, width), vdb_int_datum(max, width));
}

/*
 * Store the image of a by-reference value as a zone map holds it.  Returns its length, or 0 if it
 * is too long.
 */
static uint8
zone_image(const VdbZoneMethod *method, Datum value, char *to)
{
	const char *from = (const char *) DatumGetPointer(value);
	Size		len;

	if (method->typlen == -1)
	{
		Assert(!VARATT_IS_EXTENDED(from) || VARATT_IS_SHORT(from));
		len = VARSIZE_ANY_EXHDR(from);
		if (method->short_header)
		{
			if (len + VARHDRSZ_SHORT > VDB_ZONE_BYTES)
				return 0;
			SET_VARSIZE_SHORT(to, len + VARHDRSZ_SHORT);
			memcpy(to + VARHDRSZ_SHORT, VARDATA_ANY(from), len);
			return (uint8) (len + VARHDRSZ_SHORT);
		}
		if (len + VARHDRSZ > VDB_ZONE_BYTES)
			return 0;
		SET_VARSIZE(to, len + VARHDRSZ);
		memcpy(to + VARHDRSZ, VARDATA_ANY(from), len);
		return (uint8) (len + VARHDRSZ);
	}

	len = method->typlen == -2 ? strlen(from) + 1 : (Size) method->typlen;
	if (len > VDB_ZONE_BYTES)
		return 0;
	memcpy(to, from, len);
	return (uint8) len;
}

/* Make the zone map of a chunk's column of a by-reference type. */
void
vdb_zone_of_refs(VdbZoneMethod *method, VdbZoneFetch fetch, const void *source,
				 const uint8 *nulls, uint32 count, VdbZone *zone)
{
	bool		found = false;
	Datum		min = 0;
	Datum		max = 0;

	Assert(!method->byval);
	if (!zone_begin(method, nulls, count, zone))
		return;

	for (uint32 i = 0; i < count; i++)
	{
		Datum		value;

		if (vdb_null_bit(nulls, i))
			continue;
		if ((i & 0xFF) == 0)
			CHECK_FOR_INTERRUPTS();

		value = fetch(source, i);
		if (!found)
		{
			min = max = value;
			found = true;
		}
		else if (DatumGetInt32(FunctionCall2Coll(&method->cmp, method->collation, value, max)) > 0)
			max = value;
		else if (DatumGetInt32(FunctionCall2Coll(&method->cmp, method->collation, value, min)) < 0)
			min = value;
	}

	Assert(found);
	zone->min_len = zone_image(method, min, zone->min);
	zone->max_len = zone_image(method, max, zone->max);
	if (zone->min_len > 0 && zone->max_len > 0)
		zone->flags |= VDB_ZONE_HAS_MINMAX;
	else
	{
		/* A minimum without maximum is useless; unused bytes are zero on media. */
		zone->min_len = zone->max_len = 0;
		memset(zone->min, 0, VDB_ZONE_BYTES);
		memset(zone->max, 0, VDB_ZONE_BYTES);
	}
}
