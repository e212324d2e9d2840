/*-------------------------------------------------------------------------
 *
 * map_directory.h
 *	  Blocks of the table directory, and its hash; see map_directory.c.
 *
 * All functions that read the pool raise an error if the directory is damaged.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_MAP_DIRECTORY_H
#define VDB_MAP_DIRECTORY_H

#include "map/map_internal.h"

/* Return an entry, with its block in *block, or NULL if the directory has no such slot. */
extern const VdbTableEntry *vdb_directory_entry(VdbPool *pool, uint32 slot, VdbBlock *block);

/* Search for the entries of a key. */
typedef struct VdbDirectorySearch
{
	VdbPool    *pool;
	uint32		next;				/* slot of the next entry, plus 1, or 0 */
	uint32		limit;				/* entries that a bucket can't have more of */
	uint32		entries;			/* entries met so far */
	uint32		changed;			/* count of the hash's changes when the search began */
	uint32		searches;			/* times that it had to begin again; the caller sets 0 */
} VdbDirectorySearch;

/*
 * Begin a search, and return the entries of the key's bucket one by one, with their slots and
 * blocks, then NULL.  They may have other keys, or none.  Takes no lock.  If the caller has not
 * found what it wants, vdb_directory_changed says whether it must begin once more.  That function
 * may sleep, and can be interrupted, unless the caller holds the directory lock.
 */
extern void vdb_directory_begin(VdbPool *pool, const VdbTableKey *key, VdbDirectorySearch *search);
extern const VdbTableEntry *vdb_directory_next(VdbDirectorySearch *search, uint32 *slot,
											   VdbBlock *block);
extern bool vdb_directory_changed(VdbDirectorySearch *search);

/*
 * Return the slot for a new entry: one that was given back, else the next one, for which a block is
 * added if there is none, in a flushed change of its own.  The directory lock is held exclusive.
 * Raises an error when the pool is full.
 */
extern uint32 vdb_directory_choose(VdbPool *pool);

/*
 * Parts of changes of the hash.  The directory lock is held exclusive, and a change has at most one
 * of vdb_directory_add, vdb_directory_free and vdb_directory_move, which publish the entry's
 * 'next_entry'.
 *
 * vdb_directory_add puts the entry of a slot that vdb_directory_choose has chosen into the bucket
 * of its key.  It touches up to VDB_CHANGE_MAX_BLOCKS blocks, with that of the entry itself.
 * vdb_directory_free takes an entry out of its bucket and gives its slot back.  vdb_directory_move
 * takes an entry, which still has its present key, to the bucket of another key.
 */
extern void vdb_directory_add(VdbScmChange *change, VdbPool *pool, const VdbTableKey *key,
							  uint32 slot);
extern void vdb_directory_free(VdbScmChange *change, VdbPool *pool, uint32 slot);
extern void vdb_directory_move(VdbScmChange *change, VdbPool *pool, uint32 slot,
							   const VdbTableKey *key);

#endif							/* VDB_MAP_DIRECTORY_H */
