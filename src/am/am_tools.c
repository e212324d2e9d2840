/*-------------------------------------------------------------------------
 *
 * am_tools.c
 *	  Functions of contrib modules that read a table's pages by block number.
 *
 * To core, a table's block is a logical block, and relation_size says how many there are.  The
 * pages of the main fork are different ones, and their number is different, too.  A function that
 * reads page after page up to that size runs past the end of the file.  One that takes the pages
 * for heap pages returns nonsense.
 *
 * Functions of contrib that do so without checking the access method are known here by name.
 * While one runs (fmgr_hook: the call itself, nothing else), relation_size answers with the number
 * of pages that exist, or refuses if the function only works on heap pages.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_language_d.h"
#include "catalog/pg_proc.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "am/am.h"
#include "pages/pages.h"

/* A function that reads pages by number. */
typedef struct PageTool
{
	const char *symbol;				/* name of the C function */
	const char *module;				/* name of its library */
	bool		heap_only;			/* it takes the pages for heap pages */
} PageTool;

static const PageTool page_tools[] = {
	{"get_raw_page", "pageinspect", false},
	{"get_raw_page_1_9", "pageinspect", false},
	{"get_raw_page_fork", "pageinspect", false},
	{"get_raw_page_fork_1_9", "pageinspect", false},
	{"pg_check_frozen", "pg_visibility", true},
	{"pg_check_visible", "pg_visibility", true},
	{"pg_prewarm", "pg_prewarm", false},
	{"pg_visibility", "pg_visibility", true},
	{"pg_visibility_rel", "pg_visibility", true}
};

static needs_fmgr_hook_type previous_needs_hook = NULL;
static fmgr_hook_type previous_fmgr_hook = NULL;

/* The page tool that is running in this backend, or NULL, and its OID. */
static const PageTool *running = NULL;
static Oid	running_function = InvalidOid;

/* Return true if the path names this library, with or without a folder and a suffix. */
static bool
is_module(const char *path, const char *module)
{
	const char *name = strrchr(path, '/');
	size_t		len = strlen(module);

	name = name != NULL ? name + 1 : path;
	return strncmp(name, module, len) == 0 && (name[len] == '\0' || name[len] == '.');
}

/* Look up a function by its symbol and library.  Return NULL if it is none of the page tools. */
static const PageTool *
find_tool(const char *symbol, const char *path)
{
	for (int i = 0; i < lengthof(page_tools); i++)
	{
		if (strcmp(page_tools[i].symbol, symbol) == 0 && is_module(path, page_tools[i].module))
			return &page_tools[i];
	}
	return NULL;
}

/* Look up a function by its OID.  Return NULL if it is none of the page tools. */
static const PageTool *
tool_of(Oid function)
{
	HeapTuple	tuple;
	const PageTool *tool = NULL;

	if (function < FirstNormalObjectId)
		return NULL;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return NULL;
	if (((Form_pg_proc) GETSTRUCT(tuple))->prolang == ClanguageId)
	{
		bool		no_source;
		bool		no_module;
		Datum		source = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &no_source);
		Datum		module = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_probin, &no_module);

		if (!no_source && !no_module)
			tool = find_tool(TextDatumGetCString(source), TextDatumGetCString(module));
	}
	ReleaseSysCache(tuple);
	return tool;
}

/* needs_fmgr_hook: ask for around_function to be called around page tools. */
static bool
needs_hook(Oid function)
{
	return (previous_needs_hook && previous_needs_hook(function)) || tool_of(function) != NULL;
}

/* fmgr_hook: note which page tool is running. */
static void
around_function(FmgrHookEventType event, FmgrInfo *flinfo, Datum *arg)
{
	if (previous_fmgr_hook)
		previous_fmgr_hook(event, flinfo, arg);
	running = event == FHET_START ? tool_of(flinfo->fn_oid) : NULL;
	running_function = flinfo->fn_oid;
}

/*
 * If a page tool is running, set *bytes to the size of the main fork's file and return true.  See
 * am.h.
 */
bool
vdb_tool_asks_size(Relation rel, ForkNumber fork, uint64 *bytes)
{
	if (likely(running == NULL) || fork != MAIN_FORKNUM)
		return false;
	if (running->heap_only)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("function %s cannot be used on vdb table \"%s\"",
						get_func_name(running_function), RelationGetRelationName(rel)),
				 errdetail("The table's blocks are no heap pages."),
				 errhint("Use pg_visibility_map to see the visibility map, and vdb.verify to compare it with the rows.")));
	*bytes = (uint64) vdb_pages_count(rel) * BLCKSZ;
	return true;
}

/* Install the function manager hooks. */
void
vdb_tools_init(void)
{
	previous_needs_hook = needs_fmgr_hook;
	needs_fmgr_hook = needs_hook;
	previous_fmgr_hook = fmgr_hook;
	fmgr_hook = around_function;
}
