/*-------------------------------------------------------------------------
 *
 * migrate_policy.c
 *	  What to migrate, and what to merge: figures in, choice out.
 *
 * Pure functions; the unit tests call them with numbers.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "migrate/migrate.h"

/*
 * A table is due when its pool fills up, when enough of its segments are
 * closed to make a good stripe, or when its rows have waited long enough.
 */
VdbReason
vdb_migrate_reason(const VdbTableFigures *figures, const VdbPolicy *policy)
{
	if (figures->closed_segments == 0)
		return VDB_REASON_NONE;
	if (figures->pool_used_percent >= (uint32) policy->high_water_percent)
		return VDB_REASON_FULL;
	if (figures->closed_segments >= (uint32) policy->backlog_segments)
		return VDB_REASON_BACKLOG;
	if (figures->oldest_age_ms >= policy->after_ms)
		return VDB_REASON_AGE;
	return VDB_REASON_NONE;
}

/*
 * A stripe is rewritten together with new rows of its range when it is at most
 * twice their number: each row is then rewritten a logarithmic number of times
 * on its way to a full stripe.  Many stripes in a range are merged regardless,
 * as each costs a meta block in SCM.
 */
bool
vdb_migrate_merge(uint32 stripe_rows, uint32 moving_rows, uint32 stripes_in_range)
{
	if (stripes_in_range > 16)
		return true;
	return stripe_rows <= 2 * moving_rows;
}
