/*-------------------------------------------------------------------------
 *
 * monitor_inspect.c
 *	  vdb.stripes, vdb.chunks and vdb.segments: the parts of one table.
 *
 * What these functions read from flash is as of the statement's snapshot.  If a stripe is replaced
 * meanwhile, its pages are not reused while that snapshot lives.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/timestamp.h"

#include "monitor/monitor.h"

PG_FUNCTION_INFO_V1(vdb_monitor_stripes);
PG_FUNCTION_INFO_V1(vdb_monitor_chunks);
PG_FUNCTION_INFO_V1(vdb_monitor_segments);

/* State of one call. */
typedef struct Inspection
{
	VdbReport	report;
	Relation	rel;
	VdbTableRef ref;
	VdbSeenRange *seen;				/* the current range */
	bool		show_values;		/* no row of the table is hidden from the user */
} Inspection;

/* Callback that reports what inspection->seen has. */
typedef void (*ShowRange) (Inspection *inspection);

/* Report all ranges of a table.  Each is processed in a memory context that is reset after it. */
static void
inspect(FunctionCallInfo fcinfo, VdbInspectRight right, bool with_zones, ShowRange show)
{
	Inspection	inspection;
	VdbCursor	cursor;
	MemoryContext context;
	MemoryContext old;

	vdb_report_begin(&inspection.report, fcinfo);
	inspection.rel = vdb_inspect_open(PG_GETARG_OID(0), right);
	inspection.seen = palloc(sizeof(VdbSeenRange));
	inspection.show_values =
		check_enable_rls(RelationGetRelid(inspection.rel), InvalidOid, true) != RLS_ENABLED;
	if (vdb_table_open(inspection.rel, false, &inspection.ref))
	{
		context = AllocSetContextCreate(CurrentMemoryContext, "VDB inspection",
										ALLOCSET_DEFAULT_SIZES);
		old = MemoryContextSwitchTo(context);
		vdb_cursor_init_blocks(&cursor, &inspection.ref);
		while (vdb_cursor_next_range(&cursor))
		{
			vdb_see_range(&inspection.ref, vdb_lb_range(vdb_cursor_lb(&cursor)), with_zones,
						  inspection.seen);
			show(&inspection);
			MemoryContextReset(context);
		}
		MemoryContextSwitchTo(old);
		MemoryContextDelete(context);
	}
	relation_close(inspection.rel, AccessShareLock);
}

/* ---- vdb.stripes ---- */

/* Report one stripe as a row. */
static void
report_stripe(VdbReport *report, const VdbSeenStripe *stripe)
{
	const VdbStripeMeta *meta = stripe->meta;

	vdb_report_int(report, 0, meta->stripe_id);
	vdb_report_int(report, 1, meta->range);
	vdb_report_int(report, 2, meta->first_page);
	vdb_report_int(report, 3, meta->npages);
	vdb_report_int(report, 4, meta->nrows);
	vdb_report_set(report, 5, Int32GetDatum(meta->nchunks));
	vdb_report_set(report, 6, Int32GetDatum(meta->ncolumns));
	vdb_report_set(report, 7, Int32GetDatum((int32) stripe->nlbs));
	vdb_report_set(report, 8, BoolGetDatum((meta->flags & VDB_STRIPE_FROZEN) != 0));
	vdb_report_set(report, 9, BoolGetDatum((meta->flags & VDB_STRIPE_IN_DOUBT) != 0));
	vdb_report_set(report, 10, TransactionIdGetDatum(meta->min_xmin));
	vdb_report_set(report, 11, TransactionIdGetDatum(meta->max_xmin));
	vdb_report_int(report, 12, meta->stripe_bytes);
	vdb_report_int(report, 13, meta->row_bytes);
	vdb_report_set(report, 14, TimestampTzGetDatum(meta->written_at));
	vdb_report_int(report, 15, stripe->deleted);
	vdb_report_int(report, 16, stripe->drecs);
	vdb_report_int(report, 17, meta->spill.nrows);
	vdb_report_row(report);
}

/* Report the stripes of a range. */
static void
show_stripes(Inspection *inspection)
{
	for (int i = 0; i < inspection->seen->nstripes; i++)
		report_stripe(&inspection->report, &inspection->seen->stripes[i]);
}

/* vdb.stripes(regclass): a row for each stripe. */
Datum
vdb_monitor_stripes(PG_FUNCTION_ARGS)
{
	inspect(fcinfo, VDB_MAY_SEE_SHAPE, false, show_stripes);
	return (Datum) 0;
}

/* ---- vdb.chunks ---- */

/* Return a zone map's bound as the column's output function prints it, or NULL if it has none. */
static char *
bound_text(Form_pg_attribute att, const VdbZone *zone, bool max)
{
	Datum		value;
	Oid			output;
	bool		is_varlena;

	if (!vdb_zone_bound(att, zone, max, &value))
		return NULL;
	getTypeOutputInfo(att->atttypid, &output, &is_varlena);
	return OidOutputFunctionCall(output, value);
}

/* Report one column of one chunk as a row. */
static void
report_chunk(Inspection *inspection, const VdbSeenStripe *seen, VdbStripe *stripe,
			 int chunk, int attno)
{
	VdbReport  *report = &inspection->report;
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(inspection->rel), attno - 1);
	VdbColumnInfo info;

	vdb_stripe_column_info(stripe, inspection->rel, attno, chunk, &info);
	vdb_report_int(report, 0, seen->meta->stripe_id);
	vdb_report_set(report, 1, Int32GetDatum(chunk));
	vdb_report_set(report, 2, NameGetDatum(&att->attname));
	vdb_report_int(report, 3, info.rows);
	vdb_report_int(report, 4, info.nulls);
	vdb_report_int(report, 5, info.bytes);
	vdb_report_text(report, 6, info.encodings);
	if (seen->zones != NULL && inspection->show_values)
	{
		const VdbZone *zone = &seen->zones[(Size) chunk * seen->meta->ncolumns + attno - 1];

		vdb_report_text(report, 7, bound_text(att, zone, false));
		vdb_report_text(report, 8, bound_text(att, zone, true));
	}
	vdb_report_row(report);
}

/* Report the chunks of a stripe, column by column.  Dropped columns are left out. */
static void
show_stripe_chunks(Inspection *inspection, const VdbSeenStripe *seen)
{
	TupleDesc	desc = RelationGetDescr(inspection->rel);
	VdbStripe  *stripe = vdb_stripe_open(inspection->rel, vdb_stripe_address(seen->meta));
	int			ncolumns = Min(vdb_stripe_ncolumns(stripe), seen->meta->ncolumns);
	int			nchunks = Min(vdb_stripe_nchunks(stripe), seen->meta->nchunks);

	ncolumns = Min(ncolumns, desc->natts);
	for (int chunk = 0; chunk < nchunks; chunk++)
		for (int attno = 1; attno <= ncolumns; attno++)
		{
			CHECK_FOR_INTERRUPTS();
			if (!TupleDescAttr(desc, attno - 1)->attisdropped)
				report_chunk(inspection, seen, stripe, chunk, attno);
		}
	vdb_stripe_release(stripe);
}

/* Report the chunks of all stripes of a range. */
static void
show_chunks(Inspection *inspection)
{
	for (int i = 0; i < inspection->seen->nstripes; i++)
		show_stripe_chunks(inspection, &inspection->seen->stripes[i]);
}

/* vdb.chunks(regclass): a row for each column of each chunk. */
Datum
vdb_monitor_chunks(PG_FUNCTION_ARGS)
{
	inspect(fcinfo, VDB_MAY_SELECT, true, show_chunks);
	return (Datum) 0;
}

/* ---- vdb.segments ---- */

/* Return the name of a segment's state. */
static const char *
segment_state_name(VdbSegmentState state)
{
	switch (state)
	{
		case VDB_SEGMENT_OWNED:
			return "owned";
		case VDB_SEGMENT_HANDED_BACK:
			return "available";
		case VDB_SEGMENT_CLOSED:
			break;
	}
	return "closed";
}

/* Report the segments of a range. */
static void
show_segments(Inspection *inspection)
{
	VdbReport  *report = &inspection->report;

	for (int i = 0; i < inspection->seen->nsegments; i++)
	{
		const VdbSeenSegment *segment = &inspection->seen->segments[i];

		vdb_report_int(report, 0, segment->block);
		vdb_report_int(report, 1, segment->first_lb);
		vdb_report_set(report, 2, Int32GetDatum(segment->nslots));
		vdb_report_set(report, 3, Int32GetDatum((int32) segment->rows));
		vdb_report_set(report, 4, Int32GetDatum((int32) segment->removed));
		vdb_report_int(report, 5, segment->epoch);
		vdb_report_text(report, 6,
						segment_state_name(vdb_rows_segment_state(&inspection->ref,
																  segment->block, NULL)));
		vdb_report_row(report);
	}
}

/* vdb.segments(regclass): a row for each segment. */
Datum
vdb_monitor_segments(PG_FUNCTION_ARGS)
{
	inspect(fcinfo, VDB_MAY_SEE_SHAPE, false, show_segments);
	return (Datum) 0;
}
