/*-------------------------------------------------------------------------
 *
 * monitor_findings.c
 *	  Collecting the findings of a verification, and continuing after errors.
 *
 * Findings are kept in memory until the end, because some are made under lightweight locks, where
 * a tuple store must not be written.  Their number is bounded.  The same finding twice in a row is
 * kept once.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/memutils.h"

#include "base/vdb_try.h"
#include "monitor/monitor.h"

/* Findings kept at most, and the size of a message, in bytes. */
#define VDB_MAX_FINDINGS	1000
#define VDB_FINDING_BYTES	1024

/* A row of the result. */
typedef struct Finding
{
	const char *severity;			/* a string constant */
	char	   *location;
	char	   *message;
} Finding;

struct VdbFindings
{
	MemoryContext context;			/* of the list and its members */
	List	   *list;				/* of Finding */
	int64		left_out;			/* findings dropped because there were too many */
};

/* Create an empty list of findings in CurrentMemoryContext. */
VdbFindings *
vdb_findings_create(void)
{
	VdbFindings *findings = palloc0(sizeof(VdbFindings));

	findings->context = CurrentMemoryContext;
	return findings;
}

/* Return true if a finding was dropped because there were too many. */
bool
vdb_findings_full(const VdbFindings *findings)
{
	return findings->left_out > 0;
}

/* Add a finding.  Any lock may be held.  severity must be a string constant. */
void
vdb_finding(VdbFindings *findings, const char *severity, const char *location,
			const char *format,...)
{
	MemoryContext old;
	Finding    *finding;
	char		message[VDB_FINDING_BYTES];
	va_list		args;

	Assert(strcmp(severity, VDB_ERROR_FOUND) == 0 || strcmp(severity, VDB_WARNING_FOUND) == 0);
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	if (findings->list != NIL)
	{
		const Finding *last = llast(findings->list);

		if (strcmp(last->message, message) == 0)
			return;
	}
	if (list_length(findings->list) >= VDB_MAX_FINDINGS)
	{
		findings->left_out++;
		return;
	}
	old = MemoryContextSwitchTo(findings->context);
	finding = palloc(sizeof(Finding));
	finding->severity = severity;
	finding->location = pstrdup(location);
	finding->message = pstrdup(message);
	findings->list = lappend(findings->list, finding);
	MemoryContextSwitchTo(old);
}

/* Store all findings as rows (severity, location, message). */
void
vdb_findings_report(VdbFindings *findings, VdbReport *report)
{
	ListCell   *cell;

	Assert(report->ncolumns == 3);
	foreach(cell, findings->list)
	{
		const Finding *finding = lfirst(cell);

		vdb_report_text(report, 0, finding->severity);
		vdb_report_text(report, 1, finding->location);
		vdb_report_text(report, 2, finding->message);
		vdb_report_row(report);
	}
	if (findings->left_out > 0)
	{
		vdb_report_text(report, 0, VDB_WARNING_FOUND);
		vdb_report_text(report, 1, "verification");
		vdb_report_text(report, 2,
						psprintf(_("there is more: only the first %d findings are shown"),
								 VDB_MAX_FINDINGS));
		vdb_report_row(report);
	}
}

/* Return true if this error must end the verification. */
static bool
error_is_final(const ErrorData *error)
{
	int			category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return category == ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION) ||
		category == ERRCODE_TO_CATEGORY(ERRCODE_INSUFFICIENT_RESOURCES) ||
		category == ERRCODE_TO_CATEGORY(ERRCODE_T_R_SERIALIZATION_FAILURE);
}

/* Run a step in a subtransaction, and turn an error into a finding.  See monitor.h. */
bool
vdb_verify_try(VdbFindings *findings, const char *location, VdbVerifyWork work, void *arg)
{
	ErrorData  *error = vdb_try(work, arg);

	if (error == NULL)
		return true;
	if (error_is_final(error))
		ReThrowError(error);
	if (error->detail == NULL)
		vdb_finding(findings, VDB_ERROR_FOUND, location, "%s", error->message);
	else
		vdb_finding(findings, VDB_ERROR_FOUND, location, "%s: %s", error->message, error->detail);
	FreeErrorData(error);
	return false;
}
