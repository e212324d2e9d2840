/*-------------------------------------------------------------------------
 *
 * map_head.c
 *	  Checks of the structures that references into the pool lead to.
 *
 * Every structure is checked when it is reached: its magic and version and, if it begins as
 * VdbMapHead does, that it belongs to this table in this generation.  So a pointer into memory that
 * was freed and reused is detected.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "map/map_internal.h"

/* Raise ERRCODE_DATA_CORRUPTED: a structure is not the one that the reference to it expects. */
void
vdb_map_damaged(VdbBlock block, const char *structure, const char *field,
				uint64 expected, uint64 found)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("damaged %s in pool block %u", structure, block),
			 errdetail("The field \"%s\" should be " UINT64_FORMAT " but is " UINT64_FORMAT ".",
					   field, expected, found)));
}

/* Raise the error of vdb_map_check_head, naming the first field that differs. */
void
vdb_map_head_damaged(const VdbTableRef *ref, VdbBlock block, const VdbMapHead *head, uint32 magic,
					 uint16 version, const char *structure)
{
	if (head->magic != magic)
		vdb_map_damaged(block, structure, "magic", magic, head->magic);
	if (head->version != version)
		vdb_map_damaged(block, structure, "version", version, head->version);
	if (head->table_slot != ref->slot)
		vdb_map_damaged(block, structure, "table slot", ref->slot, head->table_slot);
	vdb_map_damaged(block, structure, "table generation", ref->generation,
					head->table_generation);
}
