/*-------------------------------------------------------------------------
 *
 * exec_prune.c
 *	  Evaluate the constants of a scan, and compare them with zone maps.
 *
 * Evaluating a constant may fail, or run a subquery.  So it is evaluated no sooner
 * than core would evaluate it, when the first row reaches it in its clause.  Only
 * constants that can't fail are evaluated when the scan begins.  Until a constant
 * is known, its leaf of the tree may match.  The filter reports which clauses were
 * evaluated and their results for the row, from which it follows which leaves were
 * reached.
 *
 * No lock is held in any of this.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "common/int.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "exec/exec_prune.h"

/* ---- local time ---- */

/*
 * A bound of all offsets from UTC: a POSIX zone string can have 168 hours, and an hour more for
 * daylight saving.
 */
#define MAX_OFFSET_SECS		(170 * SECS_PER_HOUR)

/*
 * Offsets in force within this time of an instant may be used in comparisons with it: see
 * offsets_near.
 */
#define OFFSET_WINDOW_SECS	(2 * MAX_OFFSET_SECS + SECS_PER_DAY)

#define OFFSET_STEPS		64		/* the most changes of offset that are examined */

/* Extend the range of offsets by one. */
static void
note_offset(long int offset, int64 *least, int64 *greatest)
{
	*least = Min(*least, offset);
	*greatest = Max(*greatest, offset);
}

/*
 * Find the least and the greatest offset from UTC that DetermineTimeZoneOffset may choose for a
 * local time that lies within MAX_OFFSET_SECS of this instant (taken as if it were UTC).  It
 * chooses an offset in force up to a day before the local time, or one that begins with a change
 * which the local time less that offset has passed.
 */
static void
offsets_near(pg_time_t instant, int64 *least, int64 *greatest)
{
	pg_time_t	at = instant - OFFSET_WINDOW_SECS;

	*least = MAX_OFFSET_SECS;
	*greatest = -MAX_OFFSET_SECS;
	for (int i = 0; i < OFFSET_STEPS; i++)
	{
		long int	before;
		long int	after;
		int			isdst;
		pg_time_t	boundary;
		int			found = pg_next_dst_boundary(&at, &before, &isdst, &boundary, &after, &isdst,
												 session_timezone);

		if (found < 0)
			break;
		note_offset(before, least, greatest);
		if (found == 0 || boundary > instant + OFFSET_WINDOW_SECS)
			return;
		note_offset(after, least, greatest);
		at = boundary;
	}
	/* too many changes: assume any offset */
	*least = -MAX_OFFSET_SECS;
	*greatest = MAX_OFFSET_SECS;
}

/*
 * Find bounds of local time for an instant: in the session's time zone, a local time above 'high'
 * is later than the instant, and one below 'low' is earlier.  In between it may be either.  Away
 * from a change of offset, low and high are the same.  Returns false if a bound is out of range.
 */
static bool
local_bounds(TimestampTz instant, Timestamp *low, Timestamp *high)
{
	int64		least;
	int64		greatest;

	*low = *high = instant;
	if (TIMESTAMP_NOT_FINITE(instant))
		return true;
	offsets_near(timestamptz_to_time_t(instant), &least, &greatest);
	return !pg_add_s64_overflow(instant, least * USECS_PER_SEC, low) &&
		!pg_add_s64_overflow(instant, greatest * USECS_PER_SEC, high);
}

/* Set the values that zone maps of the node's column are compared with (low and high). */
static void
set_bounds(VdbPruner *pruner, PruneNode *node)
{
	MemoryContext old;

	if (node->order != ORDER_ZONE_COLUMN)
	{
		node->low = node->high = node->values;
		return;
	}
	if (node->low == NULL)
	{
		old = MemoryContextSwitchTo(pruner->values);
		node->low = palloc(sizeof(Datum) * Max(node->nvalues, 1));
		node->high = palloc(sizeof(Datum) * Max(node->nvalues, 1));
		MemoryContextSwitchTo(old);
	}
	for (int i = 0; i < node->nvalues; i++)
	{
		Timestamp	low;
		Timestamp	high;

		if (!local_bounds(DatumGetTimestampTz(node->values[i]), &low, &high))
			node->unusable = true;
		node->low[i] = TimestampGetDatum(low);
		node->high[i] = TimestampGetDatum(high);
	}
}

/* ---- constants of one scan ---- */

/* Store the elements of an array that are not null as the node's constants. */
static void
store_array(PruneNode *node, Datum value)
{
	ArrayType  *array = DatumGetArrayTypeP(value);
	int16		len;
	bool		byval;
	char		align;
	bool	   *nulls;
	Datum	   *elements;
	int			count;

	if (ARR_ELEMTYPE(array) != node->element_type)
	{
		node->unusable = true;
		return;
	}
	get_typlenbyvalalign(node->element_type, &len, &byval, &align);
	deconstruct_array(array, node->element_type, len, byval, align, &elements, &nulls, &count);
	node->values = elements;
	for (int i = 0; i < count; i++)
		if (!nulls[i])
			node->values[node->nvalues++] = elements[i];
}

/* Store a constant for the scan: a copy, detoasted. */
static void
keep_constant(VdbPruner *pruner, PruneNode *node, Datum value)
{
	MemoryContext old = MemoryContextSwitchTo(pruner->values);

	if (node->arg_typlen == -1)
		value = PointerGetDatum(pg_detoast_datum_copy((struct varlena *) DatumGetPointer(value)));
	else
		value = datumCopy(value, node->arg_byval, node->arg_typlen);
	if (node->kind == PRUNE_IN)
		store_array(node, value);
	else
	{
		node->values = palloc(sizeof(Datum));
		node->values[0] = value;
		node->nvalues = 1;
	}
	MemoryContextSwitchTo(old);
	set_bounds(pruner, node);
}

/* Evaluate a leaf's constant and store it. */
static void
evaluate_constant(VdbPruner *pruner, PruneNode *node, ExprContext *econtext)
{
	bool		isnull;
	Datum		value;

	Assert(node->kind == PRUNE_COMPARE || node->kind == PRUNE_IN);
	Assert(IsA(node->arg, Const) || (node->arg_state != NULL && econtext != NULL));
	if (IsA(node->arg, Const))
	{
		value = ((const Const *) node->arg)->constvalue;
		isnull = ((const Const *) node->arg)->constisnull;
	}
	else
		value = ExecEvalExprSwitchContext(node->arg_state, econtext, &isnull);
	if (!isnull)				/* strict: a null matches nothing */
		keep_constant(pruner, node, value);
	node->state = PRUNE_KNOWN;
}

/* Return true if the node compares a column with constants. */
static bool
is_leaf(const PruneNode *node)
{
	return node->kind == PRUNE_COMPARE || node->kind == PRUNE_IN;
}

/* Reset the constants of a tree, and evaluate those that can't fail. */
static void
prepare_node(VdbPruner *pruner, PruneNode *node, ExprContext *econtext)
{
	ListCell   *lc;

	foreach(lc, node->children)
		prepare_node(pruner, lfirst(lc), econtext);
	if (!is_leaf(node))
		return;
	node->state = PRUNE_WAITS;
	node->unusable = false;
	node->nvalues = 0;
	node->values = node->low = node->high = NULL;
	if (IsA(node->arg, Const) ||
		(econtext != NULL && vdb_is_harmless((Node *) node->arg, econtext)))
		evaluate_constant(pruner, node, econtext);
}

void
vdb_pruner_prepare(VdbPruner *pruner, ExprContext *econtext)
{
	MemoryContextReset(pruner->values);
	pruner->zone = session_timezone;
	pruner->reached = false;
	for (int i = 0; i < pruner->nclauses; i++)
	{
		if (pruner->clauses[i] != NULL)
			prepare_node(pruner, pruner->clauses[i], econtext);
	}
	if (econtext != NULL)
		ResetExprContext(econtext);
}

/* ---- constants that are reached ---- */

/* Return true if a constant of the tree is still waiting. */
static bool
waits(const PruneNode *node)
{
	ListCell   *lc;

	foreach(lc, node->children)
	{
		if (waits(lfirst(lc)))
			return true;
	}
	return is_leaf(node) && node->state == PRUNE_WAITS;
}

/*
 * Mark the constants that were reached when the node was evaluated with this outcome.  A leaf's
 * constant is evaluated whatever the column's value is.  If an AND is true, or an OR is not true,
 * all arms were evaluated, with the same outcome; otherwise at least the first arm was.
 */
static void
reach(VdbPruner *pruner, PruneNode *node, VdbOutcome outcome)
{
	bool		all = (node->kind == PRUNE_AND && outcome == VDB_OUTCOME_TRUE) ||
		(node->kind == PRUNE_OR && outcome == VDB_OUTCOME_NOT_TRUE);
	ListCell   *lc;

	if (is_leaf(node) && node->state == PRUNE_WAITS)
	{
		node->state = PRUNE_REACHED;
		pruner->reached = true;
	}
	foreach(lc, node->children)
	{
		reach(pruner, lfirst(lc), all ? outcome : VDB_OUTCOME_UNKNOWN);
		if (!all)
			break;
	}
}

bool
vdb_pruner_reached(VdbPruner *pruner, int place, VdbOutcome outcome)
{
	PruneNode  *clause = place < pruner->nclauses ? pruner->clauses[place] : NULL;

	Assert(place >= 0);
	if (clause == NULL)
		return false;
	reach(pruner, clause, outcome);
	return waits(clause);
}

/* Evaluate the reached constants of a tree, and renew bounds that depend on the time zone. */
static void
refresh_node(VdbPruner *pruner, PruneNode *node, bool zone_changed, ExprContext *econtext)
{
	ListCell   *lc;

	foreach(lc, node->children)
		refresh_node(pruner, lfirst(lc), zone_changed, econtext);
	if (is_leaf(node) && node->state == PRUNE_REACHED)
		evaluate_constant(pruner, node, econtext);
	else if (is_leaf(node) && node->state == PRUNE_KNOWN && zone_changed)
		set_bounds(pruner, node);
}

bool
vdb_pruner_refresh(VdbPruner *pruner, ExprContext *econtext)
{
	bool		zone_changed = pruner->zoned && pruner->zone != session_timezone;

	Assert(econtext != NULL);
	if (!pruner->reached && !zone_changed)
		return false;
	for (int i = 0; i < pruner->nclauses; i++)
	{
		if (pruner->clauses[i] != NULL)
			refresh_node(pruner, pruner->clauses[i], zone_changed, econtext);
	}
	ResetExprContext(econtext);
	pruner->reached = false;
	pruner->zone = session_timezone;
	return true;
}

/* ---- comparing with zone maps ---- */

/* Compare a zone's bound with a constant. */
static int
compare(PruneNode *node, Datum zone_value, Datum value)
{
	return DatumGetInt32(FunctionCall2Coll(&node->cmp, node->collation, zone_value, value));
}

/* Return a zone's bound as a Datum; by-reference ones point to it. */
static Datum
zone_datum(const PruneNode *node, const char *bytes)
{
	Datum		datum;

	if (!node->byval)
		return PointerGetDatum(bytes);
	memcpy(&datum, bytes, sizeof(Datum));
	return datum;
}

/*
 * Return true if a bound has the length that its type and header say.  The checksum of zone maps
 * only proves that they are what was stored; a comparison function must not read past the bound.
 */
static bool
bound_is_valid(const PruneNode *node, const char *bytes, uint8 len)
{
	if (node->byval)
		return len == sizeof(Datum);
	if (len == 0 || len > VDB_ZONE_BYTES)
		return false;
	if (node->typlen == -1)
		return !VARATT_IS_EXTERNAL(bytes) && !VARATT_IS_COMPRESSED(bytes) &&
			VARSIZE_ANY(bytes) == len;
	if (node->typlen == -2)
		return bytes[len - 1] == '\0';
	return len == node->typlen;
}

/* Return true if a value between min and max may match constant i. */
static bool
range_matches(PruneNode *node, Datum min, Datum max, int i)
{
	switch (node->strategy)
	{
		case BTLessStrategyNumber:
			return compare(node, min, node->high[i]) < 0;
		case BTLessEqualStrategyNumber:
			return compare(node, min, node->high[i]) <= 0;
		case BTEqualStrategyNumber:
			return compare(node, min, node->high[i]) <= 0 && compare(node, max, node->low[i]) >= 0;
		case BTGreaterEqualStrategyNumber:
			return compare(node, max, node->low[i]) >= 0;
		case BTGreaterStrategyNumber:
			return compare(node, max, node->low[i]) > 0;
		default:
			return true;
	}
}

/* Return true if a row of a chunk with this zone map may match a comparison. */
static bool
compare_matches(PruneNode *node, const VdbZone *zone)
{
	Datum		min;
	Datum		max;

	if (node->state != PRUNE_KNOWN || node->unusable)
		return true;
	if (node->nvalues == 0 || (zone->flags & VDB_ZONE_HAS_NULLS_ONLY))
		return false;
	if (!(zone->flags & VDB_ZONE_HAS_MINMAX) || zone->cmp_proc != node->zone_cmp ||
		zone->collation != node->collation ||
		node->byval != ((zone->flags & VDB_ZONE_BY_VALUE) != 0) ||
		!bound_is_valid(node, zone->min, zone->min_len) ||
		!bound_is_valid(node, zone->max, zone->max_len))
		return true;
	min = zone_datum(node, zone->min);
	max = zone_datum(node, zone->max);
	for (int i = 0; i < node->nvalues; i++)
		if (range_matches(node, min, max, i))
			return true;
	return false;
}

/* Return true if a row of the chunk may match the tree. */
static bool
node_matches(PruneNode *node, const VdbZoneSet *zones, int chunk)
{
	const VdbZone *zone;
	ListCell   *lc;

	switch (node->kind)
	{
		case PRUNE_AND:
			foreach(lc, node->children)
				if (!node_matches(lfirst(lc), zones, chunk))
				return false;
			return true;
		case PRUNE_OR:
			foreach(lc, node->children)
				if (node_matches(lfirst(lc), zones, chunk))
				return true;
			return false;
		case PRUNE_UNKNOWN:
			return true;
		default:
			break;
	}
	zone = vdb_zone_set_get(zones, chunk, node->column);
	if (zone == NULL)
		return true;			/* no zone map: the column was added later (its missing value may
								 * be anything), didn't fit into the meta, or damage */
	if (node->kind == PRUNE_NULL_TEST)
		return node->is_null ? zone->null_count > 0 : !(zone->flags & VDB_ZONE_HAS_NULLS_ONLY);
	return compare_matches(node, zone);
}

/* Return true if a row of the chunk may match all clauses. */
static bool
chunk_matches(VdbPruner *pruner, const VdbZoneSet *zones, int chunk)
{
	for (int i = 0; i < pruner->nclauses; i++)
	{
		if (pruner->clauses[i] != NULL && !node_matches(pruner->clauses[i], zones, chunk))
			return false;
	}
	return true;
}

bool
vdb_pruner_match(void *arg, const VdbZoneSet *zones, uint8 *chunk_match)
{
	VdbPruner  *pruner = (VdbPruner *) arg;
	MemoryContext old = MemoryContextSwitchTo(pruner->temp);
	bool		any = false;

	/*
	 * comparison functions are called: no LWLock may be held (one would hold interrupts off)
	 */
	Assert(InterruptHoldoffCount == 0);
	for (int chunk = 0; chunk < zones->nchunks; chunk++)
	{
		CHECK_FOR_INTERRUPTS();
		chunk_match[chunk] = chunk_matches(pruner, zones, chunk);
		any = any || chunk_match[chunk];
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(pruner->temp);
	return any;
}
