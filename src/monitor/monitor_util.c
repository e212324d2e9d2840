/*-------------------------------------------------------------------------
 *
 * monitor_util.c
 *	  Shared by the views and the verifier: rows of a result, opening a table for inspection,
 *	  walking a range.
 *
 * A walk holds the block lock of one logical block at a time, shared, and copies what it needs.
 * So it neither waits for migration nor delays it.  What it reads of different logical blocks may
 * be of different moments.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "monitor/monitor.h"

/* ---- results ---- */

/* Begin a result.  See monitor.h. */
void
vdb_report_begin(VdbReport *report, FunctionCallInfo fcinfo)
{
	vdb_require_preload();
	InitMaterializedSRF(fcinfo, 0);
	report->rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	report->ncolumns = report->rsinfo->setDesc->natts;
	Assert(report->ncolumns <= VDB_REPORT_COLUMNS);
	memset(report->nulls, true, sizeof(report->nulls));
}

/* Set a column of the current row. */
void
vdb_report_set(VdbReport *report, int column, Datum value)
{
	Assert(column >= 0 && column < report->ncolumns);
	report->values[column] = value;
	report->nulls[column] = false;
}

/* Set a column of type bigint. */
void
vdb_report_int(VdbReport *report, int column, uint64 value)
{
	vdb_report_set(report, column, Int64GetDatum((int64) value));
}

/* Set a column of type text; a NULL pointer leaves it null. */
void
vdb_report_text(VdbReport *report, int column, const char *value)
{
	if (value != NULL)
		vdb_report_set(report, column, CStringGetTextDatum(value));
}

/* Store the current row and start the next one. */
void
vdb_report_row(VdbReport *report)
{
	Assert(report->rsinfo->setResult != NULL);
	tuplestore_putvalues(report->rsinfo->setResult, report->rsinfo->setDesc,
						 report->values, report->nulls);
	memset(report->nulls, true, sizeof(report->nulls));
}

/* ---- opening ---- */

/* Return true if the current user has the right. */
static bool
may_inspect(Oid relid, VdbInspectRight right)
{
	Oid			user = GetUserId();

	if (object_ownercheck(RelationRelationId, relid, user))
		return true;
	if (right == VDB_MUST_OWN)
		return false;
	if (right == VDB_MAY_SEE_SHAPE && has_privs_of_role(user, ROLE_PG_MONITOR))
		return true;
	return pg_class_aclcheck(relid, user, ACL_SELECT) == ACLCHECK_OK;
}

/* Return true if this session can read the table's files. */
bool
vdb_storage_readable(Relation rel)
{
	if (RELATION_IS_OTHER_TEMP(rel))
		return false;
	return RelationIsPermanent(rel) || !RecoveryInProgress();
}

/* Open a vdb table for inspection, with AccessShareLock. */
Relation
vdb_inspect_open(Oid relid, VdbInspectRight right)
{
	Relation	rel = relation_open(relid, AccessShareLock);

	if (!may_inspect(relid, right))
		aclcheck_error(right == VDB_MUST_OWN ? ACLCHECK_NOT_OWNER : ACLCHECK_NO_PRIV,
					   get_relkind_objtype(rel->rd_rel->relkind),
					   RelationGetRelationName(rel));
	if (!vdb_is_vdb(rel))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a vdb table", RelationGetRelationName(rel)),
				 errhint("The function works on tables and materialized views made with USING vdb.")));
	if (RELATION_IS_OTHER_TEMP(rel))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot inspect temporary tables of other sessions")));
	if (!vdb_storage_readable(rel))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot inspect temporary or unlogged tables during recovery")));
	return rel;
}

/* ---- walking ---- */

/* Copy the zone maps of a stripe.  Return NULL if it has none.  Block lock held. */
static VdbZone *
copy_stripe_zones(VdbPool *pool, const VdbStripeMeta *meta)
{
	Size		n = (Size) meta->nchunks * meta->ncolumns;
	VdbZone    *zones;

	if (n == 0 || ((meta->flags & VDB_STRIPE_ZONES_INSIDE) != 0 ? VDB_ZONES_INSIDE :
				   meta->ncontinuations * VDB_ZONES_PER_BLOCK) < n)
		return NULL;
	for (int i = 0; i < meta->ncontinuations; i++)
		if (meta->continuations[i] >= vdb_pool_total_blocks(pool))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("stripe %u has zone maps in pool block %u, which does not exist",
							meta->stripe_id, meta->continuations[i])));
	zones = palloc(n * sizeof(VdbZone));
	for (Size i = 0; i < n; i++)
		zones[i] = *vdb_map_zone(pool, meta, (int) (i / meta->ncolumns),
								 (int) (i % meta->ncolumns));
	return zones;
}

/* Find the stripe in *seen, or add it if it is new.  Block lock held. */
static VdbSeenStripe *
see_stripe(const VdbTableRef *ref, const VdbExtent *extent, bool with_zones, VdbSeenRange *seen)
{
	const VdbStripeMeta *meta;
	VdbSeenStripe *stripe;

	Assert(LWLockHeldByMe(vdb_block_lock(vdb_block_lock_no(ref->slot, extent->lb))));
	for (int i = seen->nstripes; i-- > 0;)
		if (seen->stripes[i].meta_block == extent->ref)
			return &seen->stripes[i];

	if (extent->ref >= vdb_pool_total_blocks(ref->pool))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stripe metadata is in pool block %u, which does not exist", extent->ref)));
	meta = vdb_map_meta(ref->pool, extent->ref);
	Assert(seen->nstripes < VDB_RANGE_LBS);
	stripe = &seen->stripes[seen->nstripes];
	memset(stripe, 0, sizeof(VdbSeenStripe));
	stripe->meta_block = extent->ref;
	stripe->first_lb = extent->lb;
	stripe->meta = palloc0(sizeof(VdbStripeMeta));
	memcpy(stripe->meta, meta, offsetof(VdbStripeMeta, continuations));
	if (with_zones)
		stripe->zones = copy_stripe_zones(ref->pool, meta);
	seen->nstripes++;
	return stripe;
}

/* Count one logical block of a stripe.  Block lock held. */
static void
see_striped_block(const VdbTableRef *ref, const VdbExtent *extent, bool with_zones,
				  VdbOverlayView *view, VdbSeenRange *seen)
{
	VdbSeenStripe *stripe = see_stripe(ref, extent, with_zones, seen);

	stripe->nlbs++;
	if (extent->overlay_block == VDB_BLOCK_NONE)
		return;
	vdb_overlay_read(ref, extent, view);
	if (!view->any)
		return;
	stripe->deleted += vdb_rowset_count(view->deleted);
	for (int i = 0; i < view->ndrecs; i++)
	{
		if (!vdb_rowset_has(view->deleted, view->drecs[i].index))
			stripe->drecs++;
	}
}

/* Count the slots of one logical block of a segment.  Block lock held. */
static void
see_segment_block(const VdbTableRef *ref, const VdbExtent *extent, VdbSeenRange *seen)
{
	const VdbSegmentHeader *header = vdb_rows_segment(ref, extent->ref, extent->lb);
	const volatile uint16 *slots = (const volatile uint16 *)
		((const char *) vdb_pool_block(ref->pool, extent->ref) + VDB_SEGMENT_SLOTS) +
		(extent->lb - header->first_lb) * VDB_LB_ROWS;
	VdbSeenSegment *segment = NULL;

	Assert(LWLockHeldByMe(vdb_block_lock(vdb_block_lock_no(ref->slot, extent->lb))));
	for (int i = seen->nsegments; i-- > 0 && segment == NULL;)
		if (seen->segments[i].block == extent->ref)
			segment = &seen->segments[i];
	if (segment == NULL)
	{
		Assert(seen->nsegments < VDB_RANGE_LBS);
		segment = &seen->segments[seen->nsegments++];
		memset(segment, 0, sizeof(VdbSeenSegment));
		segment->block = extent->ref;
		segment->first_lb = header->first_lb;
		segment->nslots = header->nslots;
		segment->epoch = header->epoch;
	}
	for (int i = 0; i < VDB_LB_ROWS; i++)
	{
		uint16		slot = slots[i];

		if (slot == VDB_SLOT_REMOVED)
			segment->removed++;
		else if (slot != VDB_SLOT_EMPTY)
			segment->rows++;
	}
}

/* Walk a range and fill *seen.  See monitor.h. */
void
vdb_see_range(const VdbTableRef *ref, uint32 range, bool with_zones, VdbSeenRange *seen)
{
	VdbOverlayView *view = palloc(sizeof(VdbOverlayView));
	VdbLogicalBlock first = range * VDB_RANGE_LBS;
	VdbLogicalBlock limit = Min((uint64) vdb_map_limit(ref), (uint64) first + VDB_RANGE_LBS);

	seen->range = range;
	seen->nstripes = seen->nsegments = 0;
	for (VdbLogicalBlock lb = first; lb < limit; lb++)
	{
		VdbExtent	extent;

		CHECK_FOR_INTERRUPTS();
		vdb_lock_block(ref, lb, LW_SHARED);
		vdb_map_lookup(ref, lb, &extent);
		if (extent.kind == VDB_EXTENT_SEGMENT)
			see_segment_block(ref, &extent, seen);
		else if (extent.kind == VDB_EXTENT_STRIPE)
			see_striped_block(ref, &extent, with_zones, view, seen);
		vdb_unlock_block(ref, lb);
	}
	pfree(view);
}

/* ---- zone maps ---- */

/*
 * Return true if a value of the column can have this bound.  The pointers and lengths of a
 * damaged one must not be followed.
 */
static bool
bound_can_be_shown(Form_pg_attribute att, const char *image, uint8 len)
{
	if (len == 0 || len > VDB_ZONE_BYTES)
		return false;
	if (att->attlen == -2)
		return memchr(image, '\0', len) != NULL;
	if (att->attlen != -1)
		return len == (att->attbyval ? sizeof(Datum) : att->attlen);
	if (VARATT_IS_1B(image))
		return !VARATT_IS_1B_E(image) && VARSIZE_1B(image) == len;
	return len >= VARHDRSZ && VARATT_IS_4B_U(image) && VARSIZE_4B(image) == len;
}

/* Get a zone map's minimum or maximum.  See monitor.h. */
bool
vdb_zone_bound(Form_pg_attribute att, const VdbZone *zone, bool max, Datum *value)
{
	const char *bytes = max ? zone->max : zone->min;
	char	   *image;

	if (!(zone->flags & VDB_ZONE_HAS_MINMAX) ||
		((zone->flags & VDB_ZONE_BY_VALUE) != 0) != att->attbyval)
		return false;
	image = palloc0(VDB_ZONE_BYTES + MAXIMUM_ALIGNOF);
	memcpy(image, bytes, VDB_ZONE_BYTES);
	if (!bound_can_be_shown(att, image, max ? zone->max_len : zone->min_len))
		return false;
	if (att->attbyval)
		memcpy(value, image, sizeof(Datum));
	else
		*value = PointerGetDatum(image);
	return true;
}
