/*-------------------------------------------------------------------------
 *
 * monitor.h
 *	  Inside monitor/: walking a table, reporting rows, surviving damage.
 *
 * No file outside this folder calls it: its doors are SQL functions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_MONITOR_H
#define VDB_MONITOR_H

#include "fmgr.h"
#include "nodes/execnodes.h"

#include "table/table.h"

/* ---- set-returning functions (monitor_util.c) ---- */

/* One result under construction; columns are set by number, from 0; what is not set is null. */
#define VDB_REPORT_COLUMNS	20

typedef struct VdbReport
{
	ReturnSetInfo *rsinfo;
	int			ncolumns;
	Datum		values[VDB_REPORT_COLUMNS];
	bool		nulls[VDB_REPORT_COLUMNS];
} VdbReport;

/* Preload check, then the tuple store.  ERROR: not preloaded, no set context. */
extern void vdb_report_begin(VdbReport *report, FunctionCallInfo fcinfo);
extern void vdb_report_set(VdbReport *report, int column, Datum value);
extern void vdb_report_int(VdbReport *report, int column, uint64 value);	/* as bigint */
extern void vdb_report_text(VdbReport *report, int column, const char *value);	/* NULL: null */
extern void vdb_report_row(VdbReport *report);	/* store, and start the next */

/* What a caller must be allowed to. */
typedef enum VdbInspectRight
{
	VDB_MAY_SELECT,				/* SELECT on the table, or ownership */
	VDB_MAY_SEE_SHAPE,			/* the same, or membership of pg_monitor: no value is shown */
	VDB_MUST_OWN
} VdbInspectRight;

/*
 * Open a vdb table with AccessShareLock.  ERRCODE_WRONG_OBJECT_TYPE unless it is one,
 * ERRCODE_INSUFFICIENT_PRIVILEGE, ERRCODE_FEATURE_NOT_SUPPORTED where vdb_storage_readable says no.
 */
extern Relation vdb_inspect_open(Oid relid, VdbInspectRight right);

/*
 * Has the table files that this session may look at?  Not other sessions' temporary ones, nor
 * unlogged ones of a standby.
 */
extern bool vdb_storage_readable(Relation rel);

/* ---- what stands in one range of a table (monitor_util.c) ---- */

/* A stripe that map entries of the range led to, copied when first met. */
typedef struct VdbSeenStripe
{
	VdbBlock	meta_block;
	VdbLogicalBlock first_lb;		/* where it was met first */
	VdbStripeMeta *meta;			/* without continuations */
	VdbZone    *zones;				/* nchunks * ncolumns, chunk-major, or NULL */
	uint32		nlbs;				/* entries met */
	uint32		deleted;			/* bits of the deletion bitmap */
	uint32		drecs;				/* delta records of rows that aren't gone */
} VdbSeenStripe;

typedef struct VdbSeenSegment
{
	VdbBlock	block;
	VdbLogicalBlock first_lb;
	uint16		nslots;
	uint32		epoch;
	uint32		rows;				/* slots with a row version */
	uint32		removed;
} VdbSeenSegment;

typedef struct VdbSeenRange
{
	uint32		range;
	int			nstripes;
	int			nsegments;
	VdbSeenStripe stripes[VDB_RANGE_LBS];
	VdbSeenSegment segments[VDB_RANGE_LBS];
} VdbSeenRange;

/*
 * Walk the logical blocks of a range, holding the block lock of one at a time.  with_zones copies
 * zone maps too.  Memory is taken from CurrentMemoryContext.  ERRCODE_DATA_CORRUPTED at damage;
 * what was seen before is in *seen.
 */
extern void vdb_see_range(const VdbTableRef *ref, uint32 range, bool with_zones,
						  VdbSeenRange *seen);

/*
 * A zone map's least or greatest value, in palloc'd memory; false: it has none, or none that can be
 * a value of the column.
 */
extern bool vdb_zone_bound(Form_pg_attribute att, const VdbZone *zone, bool max, Datum *value);

/* ---- verification (monitor_verify.c, monitor_index.c) ---- */

/* Findings, kept until the end: some are made under locks. */
typedef struct VdbFindings VdbFindings;

extern VdbFindings *vdb_findings_create(void);
extern void vdb_finding(VdbFindings *findings, const char *severity, const char *location,
						const char *format,...) pg_attribute_printf(4, 5);
extern void vdb_findings_report(VdbFindings *findings, VdbReport *report);
extern bool vdb_findings_full(const VdbFindings *findings);

/*
 * Run a step in a subtransaction.  Any error but a cancel, a shutdown or a lack of resources
 * becomes a finding at 'place' and the answer is false; locks and pins the step held are gone.
 * 'place' may change while the step runs.  No lightweight lock held.
 */
typedef void (*VdbVerifyWork) (void *arg);
extern bool vdb_verify_try(VdbFindings *findings, const char *location, VdbVerifyWork work,
						   void *arg);

/* Every index against the table, under the active snapshot. */
extern void vdb_verify_indexes(Relation rel, VdbFindings *findings);

#define VDB_ERROR_FOUND		"error"
#define VDB_WARNING_FOUND	"warning"

#endif							/* VDB_MONITOR_H */
