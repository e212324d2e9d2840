/*-------------------------------------------------------------------------
 *
 * monitor_findings.c
 *	  What a verification has found so far, and going on after errors.
 *
 * Findings are kept in memory until the end, because some are made under
 * lightweight locks, where a tuple store must not be written.  Their number
 * is bounded; the same finding twice in a row is kept once.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/memutils.h"

#include "base/vdb_try.h"
#include "monitor/monitor.h"

#define VDB_MAX_FINDINGS	1000
#define VDB_FINDING_BYTES	1024

typedef struct Finding
{
	const char *severity;			/* a constant */
	char	   *location;
	char	   *message;
} Finding;

struct VdbFindings
{
	MemoryContext context;
	List	   *list;
	int64		left_out;
};

VdbFindings *
vdb_findings_create(void)
{
	VdbFindings *findings = palloc0(sizeof(VdbFindings));

	findings->context = CurrentMemoryContext;
	return findings;
}

bool
vdb_findings_full(const VdbFindings *findings)
{
	return findings->left_out > 0;
}

/* Add a finding.  Any lock may be held.  severity: a string that stays. */
void
vdb_finding(VdbFindings *findings, const char *severity, const char *location,
			const char *format,...)
{
	MemoryContext old;
	Finding    *finding;
	char		message[VDB_FINDING_BYTES];
	va_list		args;

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

/* Store all as rows (severity, place, message). */
void
vdb_findings_report(VdbFindings *findings, VdbReport *report)
{
	ListCell   *cell;

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

/* Must this error end the verification? */
static bool
error_is_final(const ErrorData *error)
{
	int			category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return category == ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION) ||
		category == ERRCODE_TO_CATEGORY(ERRCODE_INSUFFICIENT_RESOURCES) ||
		category == ERRCODE_TO_CATEGORY(ERRCODE_T_R_SERIALIZATION_FAILURE);
}

/* See monitor.h. */
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
