/*-------------------------------------------------------------------------
 *
 * am_utility.c
 *	  Utility statements that must take the pool into account.
 *
 * By default, CREATE DATABASE copies a template through shared buffers.  The blocks of a pool are
 * not pages, so a template with a pool must be copied file by file.  Whether a template has a pool
 * is recorded in its own catalogs, which can't be read from another database.  Its files can be
 * read: each pool begins with its magic.  If a pool is overlooked, core itself refuses the copy
 * ('invalid page').  That is an error, never a wrong copy.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <unistd.h>

#include "access/table.h"
#include "access/xact.h"
#include "access/tableam.h"
#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_tablespace_d.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "common/relpath.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "storage/fd.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/syscache.h"

#include "am/am.h"
#include "migrate/migrate.h"

static ProcessUtility_hook_type previous_utility = NULL;

/* Return the option of that name, or NULL. */
static DefElem *
find_option(List *options, const char *name)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (strcmp(option->defname, name) == 0)
			return option;
	}
	return NULL;
}

/* Return true if the file begins with the header of a pool. */
static bool
is_pool_file(const char *path)
{
	char		magic[8];
	int			fd = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	bool		found;

	if (fd < 0)
		return false;
	found = pg_pread(fd, magic, sizeof(magic), VDB_POOL_BLOCK_HEADER) == sizeof(magic) &&
		memcmp(magic, VDB_POOL_MAGIC_TEXT, sizeof(magic)) == 0;
	CloseTransientFile(fd);
	return found;
}

/* Return true if one of the relation files in a folder is a pool. */
static bool
folder_has_pool(const char *folder)
{
	DIR		   *dir = AllocateDir(folder);
	struct dirent *entry;
	bool		found = false;

	while (!found && (entry = ReadDirExtended(dir, folder, LOG)) != NULL)
	{
		char		path[MAXPGPATH * 2];

		CHECK_FOR_INTERRUPTS();
		if (strspn(entry->d_name, "0123456789") != strlen(entry->d_name))
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		found = is_pool_file(path);
	}
	FreeDir(dir);
	return found;
}

/* Return true if the database has a pool, in its own tablespace or in another. */
static bool
database_has_pool(Oid db)
{
	DIR		   *dir = AllocateDir("pg_tblspc");
	struct dirent *entry;
	bool		found;
	char	   *path = GetDatabasePath(db, DEFAULTTABLESPACE_OID);

	found = folder_has_pool(path);
	while (!found && (entry = ReadDirExtended(dir, "pg_tblspc", LOG)) != NULL)
	{
		if (strspn(entry->d_name, "0123456789") != strlen(entry->d_name))
			continue;
		path = GetDatabasePath(db, atooid(entry->d_name));
		if (access(path, F_OK) == 0)
			found = folder_has_pool(path);
	}
	FreeDir(dir);
	return found;
}

/*
 * Make file_copy the default strategy of CREATE DATABASE if the template has a pool.  ERROR: the
 * statement asks for wal_log.
 */
static void
prepare_createdb(CreatedbStmt *stmt)
{
	DefElem    *template = find_option(stmt->options, "template");
	DefElem    *strategy = find_option(stmt->options, "strategy");
	const char *name = template && template->arg ? defGetString(template) : "template1";
	Oid			db = get_database_oid(name, true);

	if (!OidIsValid(db) ||
		(strategy && strategy->arg && strcmp(defGetString(strategy), "wal_log") != 0) ||
		!database_has_pool(db))
		return;
	if (strategy)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("database \"%s\" cannot be copied with strategy \"wal_log\"", name),
				 errdetail("It has a pool of vdb_am, whose blocks are not pages."),
				 errhint("Use STRATEGY file_copy.")));
	stmt->options = lappend(stmt->options,
							makeDefElem("strategy", (Node *) makeString("file_copy"), -1));
}

/* Return true if the current user may create databases. */
static bool
may_create_databases(void)
{
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	bool		may = superuser();

	if (HeapTupleIsValid(tuple))
	{
		may = may || ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
		ReleaseSysCache(tuple);
	}
	return may;
}

/*
 * Return the database to which the statement allows no other connections.  Return InvalidOid if
 * there is none, or if the user lacks the right to run the statement; core reports that.
 */
static Oid
database_wanted_alone(Node *stmt)
{
	const char *name = NULL;
	Oid			db;

	if (IsA(stmt, CreatedbStmt))
	{
		DefElem    *template = find_option(((CreatedbStmt *) stmt)->options, "template");

		if (!may_create_databases())
			return InvalidOid;
		name = template && template->arg ? defGetString(template) : "template1";
		return get_database_oid(name, true);
	}
	if (IsA(stmt, DropdbStmt))
		name = ((DropdbStmt *) stmt)->dbname;
	else if (IsA(stmt, RenameStmt) && ((RenameStmt *) stmt)->renameType == OBJECT_DATABASE)
		name = ((RenameStmt *) stmt)->subname;
	else if (IsA(stmt, AlterDatabaseStmt) &&
			 find_option(((AlterDatabaseStmt *) stmt)->options, "tablespace") != NULL)
		name = ((AlterDatabaseStmt *) stmt)->dbname;
	db = name != NULL ? get_database_oid(name, true) : InvalidOid;
	return OidIsValid(db) && object_ownercheck(DatabaseRelationId, db,
											   GetUserId()) ? db : InvalidOid;
}

/* Return true if the statement ends a prepared transaction, which may have dropped tables. */
static bool
ends_prepared(Node *stmt)
{
	return IsA(stmt, TransactionStmt) &&
		(((TransactionStmt *) stmt)->kind == TRANS_STMT_COMMIT_PREPARED ||
		 ((TransactionStmt *) stmt)->kind == TRANS_STMT_ROLLBACK_PREPARED);
}

/*
 * ProcessUtility hook.  Before the statement, make our workers leave a database that must have no
 * other connections.  After it, warn about publications, and wake the worker if tables may have
 * been dropped.
 */
static void
vdb_process_utility(PlannedStmt *pstmt, const char *query, bool read_only_tree,
					ProcessUtilityContext context, ParamListInfo params,
					QueryEnvironment *env, DestReceiver *dest, QueryCompletion *qc)
{
	Oid			alone = database_wanted_alone(pstmt->utilityStmt);
	bool		prepared = ends_prepared(pstmt->utilityStmt);

	if (OidIsValid(alone))
		vdb_migrate_leave(alone);
	if (IsA(pstmt->utilityStmt, CreatedbStmt))
	{
		if (read_only_tree)
		{
			pstmt = copyObject(pstmt);
			read_only_tree = false;
		}
		prepare_createdb((CreatedbStmt *) pstmt->utilityStmt);
	}
	if (previous_utility)
		previous_utility(pstmt, query, read_only_tree, context, params, env, dest, qc);
	else
		standard_ProcessUtility(pstmt, query, read_only_tree, context, params, env, dest, qc);
	if (prepared)
		vdb_migrate_wake_database(MyDatabaseId);
}

/* Install the ProcessUtility hook. */
void
vdb_utility_init(void)
{
	previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = vdb_process_utility;
}
