/*-------------------------------------------------------------------------
 *
 * map_internal.h
 *	  Declarations shared by the files of map/.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_MAP_INTERNAL_H
#define VDB_MAP_INTERNAL_H

#include "map/map.h"

/* Number of blocks at which a change is closed to further small additions. */
#define VDB_MAP_CHANGE_BLOCKS	28

/* Largest number of blocks or segments freed in one change. */
#define VDB_MAP_FREE_BATCH		64

/* 1024^3 ranges are more than 2^24, so inner nodes stand at heights 1 to 3. */
#define VDB_MAP_MAX_HEIGHT		3
#define VDB_INNER_BITS			10

StaticAssertDecl((1 << VDB_INNER_BITS) == VDB_INNER_FANOUT, "fanout is a power of two");

/* Offset in its block of a field, a child pointer or a map entry. */
#define VDB_MAP_OFFSET(type, field) \
	((uint16) (VDB_POOL_BLOCK_HEADER + offsetof(type, field)))
#define VDB_MAP_CHILD_OFFSET(i) \
	((uint16) (VDB_MAP_OFFSET(VdbInnerNode, children) + (i) * sizeof(VdbBlock)))
#define VDB_MAP_ENTRY_OFFSET(i) \
	((uint16) (VDB_MAP_OFFSET(VdbRangeNode, entries) + (i) * sizeof(VdbMapEntry)))
#define VDB_TABLE_FIELD(ref, field) \
	((uint16) ((ref)->entry_offset + offsetof(VdbTableEntry, field)))

/* Return the structure that begins at byte 24 of a block. */
static inline const void *
vdb_map_body(VdbPool *pool, VdbBlock block)
{
	return (const char *) vdb_pool_block(pool, block) + VDB_POOL_BLOCK_HEADER;
}

/* Read a pointer to a block exactly once, since another process may be publishing it. */
static inline VdbBlock
vdb_map_read_pointer(const VdbBlock *pointer)
{
	VdbBlock	block = *(const volatile VdbBlock *) pointer;

	pg_read_barrier();
	return block;
}

/* Return the directory's lock; see map_table.c. */
static inline LWLock *
vdb_map_directory_lock(void)
{
	return &vdb_shared->map_locks[0].lock;
}

/* Return the number of ranges that a tree of this height can hold. */
static inline uint64
vdb_map_capacity(uint32 height)
{
	return UINT64CONST(1) << (VDB_INNER_BITS * height);
}

/* Return the index of the child of an inner node of this height that leads to the range. */
static inline uint32
vdb_map_child_index(uint32 range, uint32 height)
{
	return (range >> (VDB_INNER_BITS * (height - 1))) & (VDB_INNER_FANOUT - 1);
}

/* map_head.c */
pg_noreturn extern void vdb_map_damaged(VdbBlock block, const char *structure, const char *field,
										uint64 expected, uint64 found);
pg_noreturn extern void vdb_map_head_damaged(const VdbTableRef *ref, VdbBlock block,
											 const VdbMapHead *head, uint32 magic, uint16 version,
											 const char *structure);

/* Check that a structure has this kind, and belongs to this table in this generation. */
static inline bool
vdb_map_head_fits(const VdbTableRef *ref, const void *structure, uint32 magic, uint16 version)
{
	const VdbMapHead *head = structure;

	return head->magic == magic && head->version == version &&
		head->table_slot == ref->slot && head->table_generation == ref->generation;
}

/*
 * Return the structure in a block.  Raises an error unless its head names this kind and this table.
 */
static inline const void *
vdb_map_check_head(const VdbTableRef *ref, VdbBlock block, uint32 magic, uint16 version,
				   const char *structure)
{
	const void *head = vdb_map_body(ref->pool, block);

	if (unlikely(!vdb_map_head_fits(ref, head, magic, version)))
		vdb_map_head_damaged(ref, block, head, magic, version, structure);
	return head;
}

/* Return whether a block holds a range node rather than an inner node. */
static inline bool
vdb_map_is_range(VdbPool *pool, VdbBlock block)
{
	return ((const VdbMapHead *) vdb_map_body(pool, block))->magic == VDB_RANGE_MAGIC;
}

/*
 * Return the inner node in a block.  A height of 0 allows any, as for the root.  Raises an error
 * unless it is an inner node of this table.
 */
static inline const VdbInnerNode *
vdb_map_inner(const VdbTableRef *ref, VdbBlock block, uint32 height)
{
	static const char *const what = "inner map node";
	const VdbInnerNode *node =
		vdb_map_check_head(ref, block, VDB_INNER_MAGIC, VDB_MAP_VERSION, what);

	if (height != 0 && unlikely(node->height != height))
		vdb_map_damaged(block, what, "height", height, node->height);
	if (unlikely(node->height < 1 || node->height > VDB_MAP_MAX_HEIGHT))
		vdb_map_damaged(block, what, "height", VDB_MAP_MAX_HEIGHT, node->height);
	return node;
}

/*
 * Return the range node in a block.  Raises an error unless it is this table's node of this range.
 */
static inline const VdbRangeNode *
vdb_map_range(const VdbTableRef *ref, VdbBlock block, uint32 range)
{
	static const char *const what = "map range node";
	const VdbRangeNode *node =
		vdb_map_check_head(ref, block, VDB_RANGE_MAGIC, VDB_MAP_VERSION, what);

	if (unlikely(node->range != range))
		vdb_map_damaged(block, what, "range", range, node->range);
	return node;
}

/* map_lookup.c: the tree, read without the map lock */
extern VdbBlock vdb_map_node_block(const VdbTableRef *ref, uint32 range, uint32 height);
extern bool vdb_map_read_entries(const VdbTableRef *ref, uint32 range, int first, int n,
								 VdbMapEntry *entries, VdbBlock *node);

/* Return the block of the range's node, as vdb_map_node_block does. */
static inline VdbBlock
vdb_map_range_block(const VdbTableRef *ref, uint32 range)
{
	return vdb_map_node_block(ref, range, 0);
}

/*
 * map_meta.c: each call of a freeing function is one bounded step; the map lock is held exclusive
 */
extern bool vdb_map_free_meta_blocks(VdbScmChange *change, VdbBlock meta_block,
									 const VdbStripeMeta *meta);
extern bool vdb_map_free_pending_step(const VdbTableRef *ref, VdbBlock meta_block);
extern void vdb_map_exchange_pending(VdbScmChange *change, const VdbTableRef *ref,
									 VdbBlock installed,
									 const VdbBlock *removed, int nremoved);

/*
 * map_checksum.c: checksum of the address of a stripe's spill; of a block of zone maps; all
 * checksums of a meta about to be stored
 */
extern uint32 vdb_map_spill_crc(uint32 stripe_id, const VdbSpillAddress *spill);
extern uint32 vdb_map_zones_crc(uint32 stripe_id, uint32 number, const VdbZone *zones, int nzones);
extern void vdb_map_seal_meta(VdbStripeMeta *meta, const VdbZone *zones, int inside);

/* map_table.c: what vdb_map_hand_over has found and done */
typedef enum VdbDropResult
{
	VDB_DROP_LEFT,
	VDB_DROP_HANDED,
	VDB_DROP_FREE
} VdbDropResult;

extern bool vdb_map_table_reachable(VdbPool *pool, uint32 slot);
extern VdbDropResult vdb_map_hand_over(const VdbTableRef *ref, VdbTableRef *alias);

/* map_drop.c */
extern void vdb_map_finish_emptying(const VdbTableRef *ref);

#endif							/* VDB_MAP_INTERNAL_H */
