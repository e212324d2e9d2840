/*-------------------------------------------------------------------------
 *
 * map_internal.h
 *	  What the files of map/ share among themselves.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_MAP_INTERNAL_H
#define VDB_MAP_INTERNAL_H

#include "map/map.h"

/* A change is closed to further small additions at this many blocks. */
#define VDB_MAP_CHANGE_BLOCKS	28

/* Blocks or segments freed in one change, at most. */
#define VDB_MAP_FREE_BATCH		64

/* 1024^3 ranges are more than 2^24, so inner nodes stand at heights 1 to 3. */
#define VDB_MAP_MAX_HEIGHT		3
#define VDB_INNER_BITS			10

StaticAssertDecl((1 << VDB_INNER_BITS) == VDB_INNER_FANOUT, "fanout is a power of two");

/* Byte of a block at which a field stands. */
#define VDB_MAP_OFFSET(type, field) \
	((uint16) (VDB_POOL_BLOCK_HEADER + offsetof(type, field)))
#define VDB_MAP_CHILD_OFFSET(i) \
	((uint16) (VDB_MAP_OFFSET(VdbInnerNode, children) + (i) * sizeof(VdbBlock)))
#define VDB_MAP_ENTRY_OFFSET(i) \
	((uint16) (VDB_MAP_OFFSET(VdbRangeNode, entries) + (i) * sizeof(VdbMapEntry)))
#define VDB_TABLE_FIELD(ref, field) \
	((uint16) ((ref)->entry_offset + offsetof(VdbTableEntry, field)))

/* The structure that begins at byte 24 of a block. */
static inline const void *
vdb_map_body(VdbPool *pool, VdbBlock block)
{
	return (const char *) vdb_pool_block(pool, block) + VDB_POOL_BLOCK_HEADER;
}

/* The directory's lock; see map_table.c. */
static inline LWLock *
vdb_map_directory_lock(void)
{
	return &vdb_shared->map_locks[0].lock;
}

/* Largest range number + 1 that a tree of this height can hold. */
static inline uint64
vdb_map_capacity(uint32 height)
{
	return UINT64CONST(1) << (VDB_INNER_BITS * height);
}

/* Which child of an inner node leads to the range. */
static inline uint32
vdb_map_child_index(uint32 range, uint32 height)
{
	return (range >> (VDB_INNER_BITS * (height - 1))) & (VDB_INNER_FANOUT - 1);
}

/* map_lookup.c */
pg_noreturn extern void vdb_map_damaged(VdbBlock block, const char *structure, const char *field,
										uint64 expected, uint64 found);
extern bool vdb_map_is_range(VdbPool *pool, VdbBlock block);
extern const VdbInnerNode *vdb_map_inner(const VdbTableRef *ref, VdbBlock block, uint32 height);
extern const VdbRangeNode *vdb_map_range(const VdbTableRef *ref, VdbBlock block, uint32 range);
extern VdbBlock vdb_map_range_block(const VdbTableRef *ref, uint32 range);

/* map_meta.c: one bounded step of freeing; the map lock is held exclusive. */
extern bool vdb_map_free_meta_blocks(VdbScmChange *change, VdbBlock meta_block, const VdbStripeMeta *meta);
extern bool vdb_map_free_pending_step(const VdbTableRef *ref, VdbBlock meta_block);
extern void vdb_map_exchange_pending(VdbScmChange *change, const VdbTableRef *ref, VdbBlock installed,
									 const VdbBlock *removed, int nremoved);

/* map_checksum.c: of a block of zone maps; all of a meta that is about to be stored */
extern uint32 vdb_map_zones_crc(uint32 stripe_id, uint32 number, const VdbZone *zones, int nzones);
extern void vdb_map_seal_meta(VdbStripeMeta *meta, const VdbZone *zones, int inside);

/* map_table.c: what to do with a table whose own key is no longer used */
typedef enum VdbDropVerdict
{
	VDB_DROP_LEFT,
	VDB_DROP_HANDED,
	VDB_DROP_FREE
} VdbDropVerdict;

extern VdbDropVerdict vdb_map_hand_over(const VdbTableRef *ref, VdbTableRef *alias);

/* map_drop.c */
extern void vdb_map_finish_emptying(const VdbTableRef *ref);

#endif							/* VDB_MAP_INTERNAL_H */
