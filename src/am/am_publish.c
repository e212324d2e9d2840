/*-------------------------------------------------------------------------
 *
 * am_publish.c
 *	  Warnings for those who publish vdb tables, or decode a database that has some.
 *
 * Changes of vdb tables are not decoded.  A publication may have such a table
 * all the same: its rows are copied when a subscription begins, and nothing
 * must fail when a dump is restored.  But nobody shall find out by missing
 * rows.  So there is a WARNING whenever a statement brings the two together: by
 * changing the publication, or the table (made, turned into a vdb table, a logged
 * one, a partition, or put in another schema).  For slots: when one is made by SQL.
 *
 * Names are listed up to MAX_NAMES; the rest is counted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/amapi.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/partition.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_publication.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "am/am.h"

#define MAX_NAMES	5

#define HINT_HEAP	"Use ALTER TABLE ... SET ACCESS METHOD heap for tables that are to be replicated logically."

/* vdb tables met so far. */
typedef struct Found
{
	StringInfoData names;
	int			count;
} Found;

static object_access_hook_type previous_object_access = NULL;

/* ---- which tables ---- */

/* Is this the OID of an access method of ours for tables, whatever its name? */
static bool
is_vdb_access_method(Oid am)
{
	HeapTuple	tuple = SearchSysCache1(AMOID, ObjectIdGetDatum(am));
	bool		ours = false;

	if (HeapTupleIsValid(tuple))
	{
		Form_pg_am	form = (Form_pg_am) GETSTRUCT(tuple);

		ours = form->amtype == AMTYPE_TABLE &&
			GetTableAmRoutine(form->amhandler) == &vdb_am_routine;
		ReleaseSysCache(tuple);
	}
	return ours;
}

static bool
class_is_concerned(Form_pg_class form)
{
	return form->relkind == RELKIND_RELATION && form->relpersistence == RELPERSISTENCE_PERMANENT &&
		OidIsValid(form->relam) && form->relam != HEAP_TABLE_AM_OID &&
		is_vdb_access_method(form->relam);
}

static void
note_table(Found *found, Oid namespace, const char *name)
{
	if (found->count == 0)
		initStringInfo(&found->names);
	if (found->count < MAX_NAMES)
		appendStringInfo(&found->names, "%s%s", found->count > 0 ? ", " : "",
						 quote_qualified_identifier(get_namespace_name(namespace), name));
	found->count++;
}

static void
look_at_table(Found *found, Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));

	if (!HeapTupleIsValid(tuple))
		return;
	if (class_is_concerned((Form_pg_class) GETSTRUCT(tuple)))
		note_table(found, ((Form_pg_class) GETSTRUCT(tuple))->relnamespace,
				   NameStr(((Form_pg_class) GETSTRUCT(tuple))->relname));
	ReleaseSysCache(tuple);
}

static void
look_at_tables(Found *found, List *relids)
{
	ListCell   *lc;

	list_sort(relids, list_oid_cmp);	/* in the order they were made */
	foreach(lc, relids)
	{
		CHECK_FOR_INTERRUPTS();
		look_at_table(found, lfirst_oid(lc));
	}
	list_free(relids);
}

/* All vdb tables of the database. */
static void
look_at_database(Found *found)
{
	Relation	rel = table_open(RelationRelationId, AccessShareLock);
	TableScanDesc scan = table_beginscan_catalog(rel, 0, NULL);
	HeapTuple	tuple;

	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);

		CHECK_FOR_INTERRUPTS();
		if (class_is_concerned(form))
			note_table(found, form->relnamespace, NameStr(form->relname));
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* 'a, b and 3 more' */
static const char *
names_of(Found *found)
{
	if (found->count > MAX_NAMES)
		appendStringInfo(&found->names, " and %d more", found->count - MAX_NAMES);
	return found->names.data;
}

/* ---- publications ---- */

static void
warn_of_publication(Found *found)
{
	if (found->count == 0)
		return;
	ereport(WARNING,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("publications do not send changes of vdb tables"),
			 errdetail_plural("This concerns table %s.", "This concerns tables %s.",
							  found->count, names_of(found)),
			 errhint(HINT_HEAP)));
}

/* The vdb tables of a publication, after it was made or got more. */
static void
check_publication(const char *name)
{
	Publication *publication = GetPublicationByName(name, true);
	Found		found = {0};

	if (publication == NULL)
		return;
	if (publication->alltables)
		look_at_tables(&found, GetAllTablesPublicationRelations(false));
	else
	{
		List	   *relids = GetPublicationRelations(publication->oid, PUBLICATION_PART_LEAF);
		List	   *by_schema = GetAllSchemaPublicationRelations(publication->oid,
																 PUBLICATION_PART_LEAF);

		look_at_tables(&found, list_concat_unique_oid(relids, by_schema));
	}
	warn_of_publication(&found);
}

/* Is a relation in any publication, by itself or by its schema? */
static bool
has_publication(Oid relid)
{
	return GetRelationPublications(relid) != NIL ||
		GetSchemaPublications(get_rel_namespace(relid)) != NIL;
}

/* The same, or by one of the tables that it is a partition of, or as all tables are. */
static bool
is_published(Oid relid)
{
	ListCell   *lc;

	if (has_publication(relid) || GetAllTablesPublications() != NIL)
		return true;
	if (!get_rel_relispartition(relid))
		return false;
	foreach(lc, get_partition_ancestors(relid))
	{
		if (has_publication(lfirst_oid(lc)))
			return true;
	}
	return false;
}

/* A table, or the partitions of one, after it changed. */
static void
check_table(const RangeVar *name)
{
	Oid			relid = RangeVarGetRelid(name, NoLock, true);
	Found		found = {0};

	if (!OidIsValid(relid))
		return;
	if (get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE)
		look_at_tables(&found, find_all_inheritors(relid, NoLock, NULL));
	else
		look_at_table(&found, relid);
	if (found.count > 0 && is_published(relid))
		warn_of_publication(&found);
}

static void
check_alter_table(const AlterTableStmt *stmt)
{
	ListCell   *lc;
	bool		changed = false;

	if (stmt->objtype != OBJECT_TABLE)
		return;
	foreach(lc, stmt->cmds)
	{
		const AlterTableCmd *cmd = lfirst(lc);

		if (cmd->subtype == AT_AttachPartition)
			check_table(castNode(PartitionCmd, cmd->def)->name);
		changed = changed || cmd->subtype == AT_SetAccessMethod || cmd->subtype == AT_SetLogged;
	}
	if (changed)
		check_table(stmt->relation);
}

/*
 * May this statement bring a vdb table and a publication together?  Asked before
 * it runs, since afterwards others may be gone from memory: those that end transactions.
 */
bool
vdb_publish_concerns(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_CreatePublicationStmt:
		case T_AlterPublicationStmt:
		case T_CreateStmt:
		case T_CreateTableAsStmt:
		case T_AlterTableStmt:
		case T_AlterObjectSchemaStmt:
			return true;
		default:
			return false;
	}
}

/* After a statement that vdb_publish_concerns.  ERROR: none but core's for catalogs. */
void
vdb_publish_check(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_CreatePublicationStmt:
			check_publication(((CreatePublicationStmt *) stmt)->pubname);
			break;
		case T_AlterPublicationStmt:
			if (((AlterPublicationStmt *) stmt)->pubobjects != NIL &&
				((AlterPublicationStmt *) stmt)->action != AP_DropObjects)
				check_publication(((AlterPublicationStmt *) stmt)->pubname);
			break;
		case T_CreateStmt:
			check_table(((CreateStmt *) stmt)->relation);
			break;
		case T_CreateTableAsStmt:
			if (((CreateTableAsStmt *) stmt)->objtype == OBJECT_TABLE)
				check_table(((CreateTableAsStmt *) stmt)->into->rel);
			break;
		case T_AlterTableStmt:
			check_alter_table((AlterTableStmt *) stmt);
			break;
		case T_AlterObjectSchemaStmt:
			if (((AlterObjectSchemaStmt *) stmt)->objectType == OBJECT_TABLE)
			{
				RangeVar   *name = copyObject(((AlterObjectSchemaStmt *) stmt)->relation);

				name->schemaname = ((AlterObjectSchemaStmt *) stmt)->newschema;
				check_table(name);
			}
			break;
		default:
			break;
	}
}

/* ---- slots ---- */

static bool
makes_logical_slot(Oid function)
{
	switch (function)
	{
		case F_PG_CREATE_LOGICAL_REPLICATION_SLOT:
		case F_PG_COPY_LOGICAL_REPLICATION_SLOT_NAME_NAME:
		case F_PG_COPY_LOGICAL_REPLICATION_SLOT_NAME_NAME_BOOL:
		case F_PG_COPY_LOGICAL_REPLICATION_SLOT_NAME_NAME_BOOL_NAME:
			return true;
		default:
			return false;
	}
}

static void
vdb_object_access(ObjectAccessType access, Oid class, Oid object, int sub_id, void *arg)
{
	Found		found = {0};

	if (previous_object_access)
		previous_object_access(access, class, object, sub_id, arg);
	if (access != OAT_FUNCTION_EXECUTE || class != ProcedureRelationId ||
		!makes_logical_slot(object))
		return;
	look_at_database(&found);
	if (found.count > 0)
		ereport(WARNING,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("logical decoding leaves out changes of vdb tables"),
				 errdetail_plural("This database has table %s.", "This database has tables %s.",
								  found.count, names_of(&found)),
				 errhint(HINT_HEAP)));
}

void
vdb_publish_init(void)
{
	previous_object_access = object_access_hook;
	object_access_hook = vdb_object_access;
}
