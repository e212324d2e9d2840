/*-------------------------------------------------------------------------
 *
 * monitor.h
 *	  Declarations shared inside monitor/: walking a table, reporting rows, surviving damage.
 *
 * No other folder includes this file.  The entry points of monitor/ are SQL functions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_MONITOR_H
#define VDB_MONITOR_H

#include "fmgr.h"
#include "nodes/execnodes.h"

#include "table/table.h"

/* ---- set-returning functions (monitor_util.c) ---- */

/* Largest number of columns of a result. */
#define VDB_REPORT_COLUMNS	32

/*
 * A result set under construction.  The columns of the current row are set by number, from 0.
 * Columns that are not set are null.
 */
typedef struct VdbReport
{
	ReturnSetInfo *rsinfo;
	int			ncolumns;
	Datum		values[VDB_REPORT_COLUMNS];
	bool		nulls[VDB_REPORT_COLUMNS];
} VdbReport;

/*
 * Begin a result: check that the library is preloaded, and make the tuple store.  ERROR: it is not
 * preloaded, or the caller does not accept a set.
 */
extern void vdb_report_begin(VdbReport *report, FunctionCallInfo fcinfo);

/* Set a column of the current row. */
extern void vdb_report_set(VdbReport *report, int column, Datum value);

/* Set a column of type bigint. */
extern void vdb_report_int(VdbReport *report, int column, uint64 value);

/* Set a column of type text; a NULL pointer leaves it null. */
extern void vdb_report_text(VdbReport *report, int column, const char *value);

/* Store the current row and start the next one.  May write a file: hold no lightweight lock. */
extern void vdb_report_row(VdbReport *report);

/* The right that a function requires of its caller. */
typedef enum VdbInspectRight
{
	VDB_MAY_SELECT,					/* SELECT on the table, or ownership */
	VDB_MAY_SEE_SHAPE,				/* the same, or membership in pg_monitor: no value is shown */
	VDB_MUST_OWN					/* ownership */
} VdbInspectRight;

/*
 * Open a vdb table with AccessShareLock; the caller closes it.  Errors:
 * ERRCODE_WRONG_OBJECT_TYPE if it is not a vdb table, ERRCODE_INSUFFICIENT_PRIVILEGE if the current
 * user lacks the right, ERRCODE_FEATURE_NOT_SUPPORTED if vdb_storage_readable is false for it.
 */
extern Relation vdb_inspect_open(Oid relid, VdbInspectRight right);

/*
 * Return true if this session can read the table's files.  It cannot read those of other sessions'
 * temporary tables, nor those of unlogged tables on a standby.
 */
extern bool vdb_storage_readable(Relation rel);

/* ---- the contents of one range of a table (monitor_util.c) ---- */

/* A stripe that map entries of the range refer to, copied when it was first met. */
typedef struct VdbSeenStripe
{
	VdbBlock	meta_block;
	VdbLogicalBlock first_lb;		/* logical block where it was first met */
	VdbStripeMeta *meta;			/* palloc'd copy, without continuations */
	VdbZone    *zones;				/* palloc'd; nchunks * ncolumns, chunk-major; or NULL */
	uint32		nlbs;				/* map entries that refer to it */
	uint32		deleted;			/* bits set in its deletion bitmaps */
	uint32		drecs;				/* delta records of rows that are not removed */
} VdbSeenStripe;

/* A segment that map entries of the range refer to. */
typedef struct VdbSeenSegment
{
	VdbBlock	block;				/* its first pool block */
	VdbLogicalBlock first_lb;
	uint16		nslots;
	uint32		epoch;
	uint32		rows;				/* slots with a row version */
	uint32		removed;			/* slots of removed rows */
} VdbSeenSegment;

/* All stripes and segments of a range. */
typedef struct VdbSeenRange
{
	uint32		range;
	int			nstripes;
	int			nsegments;
	VdbSeenStripe stripes[VDB_RANGE_LBS];
	VdbSeenSegment segments[VDB_RANGE_LBS];
} VdbSeenRange;

/*
 * Walk the logical blocks of a range and fill *seen.  Takes block locks, shared, one at a time.
 * with_zones copies zone maps, too.  Memory is taken from CurrentMemoryContext.
 * ERRCODE_DATA_CORRUPTED at damage; *seen has what was read before it.
 */
extern void vdb_see_range(const VdbTableRef *ref, uint32 range, bool with_zones,
						  VdbSeenRange *seen);

/*
 * Get a zone map's minimum or maximum, in palloc'd memory.  Return false if it has none, or if its
 * bytes cannot be a value of the column.
 */
extern bool vdb_zone_bound(Form_pg_attribute att, const VdbZone *zone, bool max, Datum *value);

/* ---- verification (monitor_verify.c, monitor_index.c) ---- */

/*
 * The findings of a verification.  They are kept in memory until its end, because some are made
 * under lightweight locks.
 */
typedef struct VdbFindings VdbFindings;

/* Create an empty list of findings in CurrentMemoryContext. */
extern VdbFindings *vdb_findings_create(void);

/*
 * Add a finding.  Any lock may be held.  severity is not copied: it must be VDB_ERROR_FOUND or
 * VDB_WARNING_FOUND.  A finding with the same text as the one before is dropped, as is any after
 * the first 1,000.
 */
extern void vdb_finding(VdbFindings *findings, const char *severity, const char *location,
						const char *format,...) pg_attribute_printf(4, 5);

/* Store the findings as rows (severity, location, message).  No lightweight lock held. */
extern void vdb_findings_report(VdbFindings *findings, VdbReport *report);

/* Return true if a finding was dropped because there were too many. */
extern bool vdb_findings_full(const VdbFindings *findings);

/*
 * Run a step in a subtransaction.  If it raises an error, add a finding at 'location' and return
 * false; locks and pins that the step held are released then.  A cancel, a shutdown, a
 * serialization failure or a lack of resources is raised again instead.  The text of 'location' may
 * change while the step runs.  No lightweight lock held.
 */
typedef void (*VdbVerifyWork) (void *arg);
extern bool vdb_verify_try(VdbFindings *findings, const char *location, VdbVerifyWork work,
						   void *arg);

/* Compare every index with the table, under the active snapshot. */
extern void vdb_verify_indexes(Relation rel, VdbFindings *findings);

/* Severities of findings. */
#define VDB_ERROR_FOUND		"error"
#define VDB_WARNING_FOUND	"warning"

#endif							/* VDB_MONITOR_H */
