/*-------------------------------------------------------------------------
 *
 * monitor_verify_stripe.c
 *	  vdb.verify: checking one stripe, its bytes on flash, and its meta in the pool.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "monitor/monitor_verify.h"

/* Report a count that differs between the meta in the pool and the stripe on flash. */
static void
compare_count(VdbVerify *verify, const char *what, uint64 pool, uint64 flash)
{
	if (pool != flash)
		VDB_ERROR_AT_LOCATION(verify,
							  _("the pool's metadata says %s " UINT64_FORMAT ", the stripe on flash " UINT64_FORMAT),
							  what, pool, flash);
}

/* Compare the meta in the pool, and its zone maps, with those on flash. */
static void
compare_meta(void *arg)
{
	VdbVerify  *verify = arg;
	const VdbSeenStripe *seen = verify->stripe;
	const VdbStripeMeta *meta = seen->meta;
	VdbStripeBuilt built;

	vdb_stripe_describe(verify->rel, vdb_stripe_address(meta), &built);
	compare_count(verify, "rows", meta->nrows, built.meta.nrows);
	compare_count(verify, "chunks", meta->nchunks, built.meta.nchunks);
	compare_count(verify, "columns", meta->ncolumns, built.meta.ncolumns);
	compare_count(verify, "logical blocks", meta->nlbs, built.meta.nlbs);
	compare_count(verify, "row bytes", meta->row_bytes, built.meta.row_bytes);
	compare_count(verify, "bytes", meta->stripe_bytes, built.meta.stripe_bytes);
	for (int i = 0; i < Min(meta->nchunks, (int) lengthof(meta->chunk_rows)); i++)
		compare_count(verify, psprintf("rows of chunk %d", i), meta->chunk_rows[i],
					  built.meta.chunk_rows[i]);
	if (seen->zones == NULL || meta->nchunks != built.meta.nchunks ||
		meta->ncolumns != built.meta.ncolumns)
		return;
	for (int i = 0; i < (int) meta->nchunks * meta->ncolumns; i++)
		if (memcmp(&seen->zones[i], &built.zones[i], sizeof(VdbZone)) != 0)
			VDB_ERROR_AT_LOCATION(verify,
								  _("zone map of chunk %d, column %d, differs from the one on flash"),
								  i / meta->ncolumns, i % meta->ncolumns + 1);
}

/*
 * Find the function that compares a column's values as its zone maps do.  Return false if there
 * is none that can be used.
 */
static bool
zone_order(const VdbZone *zone, Form_pg_attribute att, FmgrInfo *cmp)
{
	TypeCacheEntry *type;

	if (att->attisdropped || !(zone->flags & VDB_ZONE_HAS_MINMAX))
		return false;
	type = lookup_type_cache(getBaseType(att->atttypid), TYPECACHE_CMP_PROC);
	if (!OidIsValid(zone->cmp_proc) || type->cmp_proc != zone->cmp_proc ||
		zone->cmp_proc >= FirstNormalObjectId)
		return false;
	fmgr_info(zone->cmp_proc, cmp);
	return true;
}

/* Check that all values of a chunk's column lie between the zone map's bounds. */
static void
check_zone(VdbVerify *verify, VdbStripe *stripe, int chunk, int attno, const VdbZone *zone)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(verify->rel), attno - 1);
	Datum	   *values;
	bool	   *nulls;
	VdbVectorBuffer hold = {0};
	FmgrInfo	cmp;
	Datum		min;
	Datum		max;
	uint32		end = vdb_stripe_chunk_start(stripe, chunk + 1);
	uint32		next;

	if (!zone_order(zone, att, &cmp))
		return;
	if (!vdb_zone_bound(att, zone, false, &min) || !vdb_zone_bound(att, zone, true, &max))
	{
		VDB_ERROR_AT_LOCATION(verify,
							  _("chunk %d, column \"%s\": the zone map holds no value of the column's type"),
							  chunk, NameStr(att->attname));
		return;
	}
	values = palloc(VDB_VECTOR_ROWS * sizeof(Datum));
	nulls = palloc(VDB_VECTOR_ROWS * sizeof(bool));
	for (uint32 pos = vdb_stripe_chunk_start(stripe, chunk); pos < end; pos = next)
	{
		CHECK_FOR_INTERRUPTS();
		next = vdb_stripe_vector_end(stripe, pos);
		vdb_stripe_decode(stripe, verify->rel, attno, pos, (int) (next - pos), values, nulls,
						  &hold);
		for (uint32 i = 0; i < next - pos; i++)
		{
			if (nulls[i] ||
				(DatumGetInt32(FunctionCall2Coll(&cmp, zone->collation, values[i], min)) >= 0 &&
				 DatumGetInt32(FunctionCall2Coll(&cmp, zone->collation, values[i], max)) <= 0))
				continue;
			VDB_ERROR_AT_LOCATION(verify,
								  _("chunk %d, column \"%s\": the value at position %u is outside its zone map"),
								  chunk, NameStr(att->attname), pos + i);
			next = end;
			break;
		}
	}
	vdb_vector_buffer_free(&hold);
	pfree(values);
	pfree(nulls);
}

/* Check all zone maps of the current stripe. */
static void
check_zones(void *arg)
{
	VdbVerify  *verify = arg;
	const VdbSeenStripe *seen = verify->stripe;
	const VdbStripeMeta *meta = seen->meta;
	VdbStripe  *stripe;
	int			ncolumns = Min(meta->ncolumns, RelationGetDescr(verify->rel)->natts);

	if (seen->zones == NULL)
		return;
	stripe = vdb_stripe_open(verify->rel, vdb_stripe_address(meta));
	if (vdb_stripe_nchunks(stripe) == meta->nchunks &&
		vdb_stripe_ncolumns(stripe) == meta->ncolumns)
		for (int chunk = 0; chunk < meta->nchunks; chunk++)
			for (int attno = 1; attno <= ncolumns; attno++)
				check_zone(verify, stripe, chunk, attno,
						   &seen->zones[(Size) chunk * meta->ncolumns + attno - 1]);
	vdb_stripe_release(stripe);
}

/* Argument of stripe_damaged. */
typedef struct StripeDamage
{
	VdbVerify  *verify;
	bool		any;				/* set at the first damage */
} StripeDamage;

/* Callback of vdb_stripe_verify: add a finding. */
static void
stripe_damaged(void *arg, const char *message)
{
	StripeDamage *damage = arg;

	damage->any = true;
	VDB_ERROR_AT_LOCATION(damage->verify, "%s", message);
}

/* Remember the pages of a stripe or spill. */
static void
note_pages(VdbVerify *verify, BlockNumber first_page, uint32 npages, uint32 id)
{
	Assert(verify->nruns <= verify->max_runs);
	if (verify->nruns == verify->max_runs)
	{
		verify->max_runs *= 2;
		verify->runs = repalloc(verify->runs, verify->max_runs * sizeof(VdbVerifyRun));
	}
	verify->runs[verify->nruns].first = first_page;
	verify->runs[verify->nruns].npages = npages;
	verify->runs[verify->nruns++].id = id;
}

/* Check the spill of the current stripe. */
static void
check_spill(void *arg)
{
	VdbVerify  *verify = arg;
	const VdbStripeMeta *meta = verify->stripe->meta;
	StripeDamage damage = {verify, false};

	vdb_spill_check(verify->rel, &meta->spill, meta->range, stripe_damaged, &damage);
}

/* Check one stripe.  See monitor_verify.h. */
void
vdb_verify_stripe(VdbVerify *verify, const VdbSeenStripe *seen)
{
	const VdbStripeMeta *meta = seen->meta;
	StripeDamage damage = {verify, false};

	CHECK_FOR_INTERRUPTS();
	verify->stripe = seen;
	verify->stripes++;
	verify->stripe_rows += meta->nrows;
	note_pages(verify, meta->first_page, meta->npages, meta->stripe_id);
	snprintf(verify->location, VDB_VERIFY_LOCATION_BYTES, "stripe %u at page %u", meta->stripe_id,
			 meta->first_page);
	vdb_stripe_verify(verify->rel, vdb_stripe_address(meta), meta->npages, stripe_damaged, &damage);
	if (meta->spill.npages > 0)
	{
		note_pages(verify, meta->spill.first_page, meta->spill.npages, meta->spill.id);
		(void) vdb_verify_try(verify->findings, verify->location, check_spill, verify);
	}
	if (damage.any)
		return;
	if (vdb_verify_try(verify->findings, verify->location, compare_meta, verify))
		(void) vdb_verify_try(verify->findings, verify->location, check_zones, verify);
}
