/*-------------------------------------------------------------------------
 *
 * overlay_internal.h
 *	  Declarations shared by the files of overlay/.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_OVERLAY_INTERNAL_H
#define VDB_OVERLAY_INTERNAL_H

#include "overlay/overlay.h"

/* Address of a block delta. */
typedef struct VdbBlockDeltaAddress
{
	VdbBlock	block;				/* slab block */
	uint16		offset;				/* byte of the block */
	int			size_class;
} VdbBlockDeltaAddress;

/* A size class of block deltas. */
typedef struct VdbBlockDeltaClass
{
	uint16		bytes;				/* bytes of a block delta */
	uint16		capacity;			/* delta records in a block delta */
	uint8		deltas;				/* block deltas in a slab block */
	uint16		first;				/* byte of the slab block at which the first one begins */
} VdbBlockDeltaClass;

extern const VdbBlockDeltaClass vdb_block_delta_classes[VDB_OVERLAY_CLASSES];

/* Return structures as they stand in the pool. */
static inline const VdbOverlaySlab *
vdb_overlay_slab_at(VdbPool *pool, VdbBlock block)
{
	return (const VdbOverlaySlab *)
		((const char *) vdb_pool_block(pool, block) + VDB_POOL_BLOCK_HEADER);
}

static inline const VdbBlockDelta *
vdb_block_delta_at(VdbPool *pool, VdbBlock block, uint16 offset)
{
	return (const VdbBlockDelta *) ((const char *) vdb_pool_block(pool, block) + offset);
}

/* Return the byte of a slab block at which its block delta i begins. */
static inline uint16
vdb_block_delta_offset(int size_class, int i)
{
	const VdbBlockDeltaClass *class = &vdb_block_delta_classes[size_class];

	return class->first + i * class->bytes;
}

/* Return delta record i of a block delta, used or not. */
static inline const VdbDeltaRecord *
vdb_block_delta_record(const VdbBlockDelta *bdelta, uint32 i)
{
	return (const VdbDeltaRecord *) ((const char *) bdelta + vdb_delta_record_offset(i));
}

/* Return delta record i of an image. */
static inline VdbDeltaRecord *
vdb_image_record(VdbBlockDeltaImage *image, uint32 i)
{
	return (VdbDeltaRecord *) (image->bytes + vdb_delta_record_offset(i));
}

/* overlay_delta.c */
extern int	vdb_block_delta_used(const VdbBlockDelta *bdelta);
extern int	vdb_block_delta_find(const VdbBlockDelta *bdelta, uint8 index);
extern int	vdb_block_delta_room_for(const VdbBlockDelta *bdelta, uint8 index,
									 const VdbDeltaRecord *packed, bool *joins);
extern VdbDeltaRecord vdb_delta_record_pack(const VdbDeltaRecord *drec, VdbLogicalBlock lb);
extern VdbDeltaRecord vdb_delta_record_unpack(const VdbDeltaRecord *stored, VdbLogicalBlock lb,
											  uint8 index);
extern void vdb_block_delta_view(const VdbBlockDelta *bdelta, VdbLogicalBlock lb,
								 VdbOverlayView *view);
extern void vdb_image_init(VdbBlockDeltaImage *image, const VdbTableRef *ref, VdbLogicalBlock lb,
						   const VdbRowSet deleted);
extern void vdb_image_add(VdbBlockDeltaImage *image, int *ndrecs, const VdbDeltaRecord *drec);

/* overlay_slab.c */
extern bool vdb_overlay_is_slab(const VdbTableRef *ref, VdbBlock block);
extern const VdbOverlaySlab *vdb_overlay_slab(const VdbTableRef *ref, VdbBlock block);
extern int	vdb_overlay_class_for(int ndrecs);
extern bool vdb_overlay_take(const VdbTableRef *ref, int size_class, VdbBlock avoid_block,
							 uint16 avoid_offset, VdbBlockDeltaAddress *address);

/* overlay.c */
extern const VdbBlockDelta *vdb_overlay_find(const VdbTableRef *ref, VdbLogicalBlock lb,
											 uint16 epoch,
											 VdbBlock block, uint16 offset);

#endif							/* VDB_OVERLAY_INTERNAL_H */
