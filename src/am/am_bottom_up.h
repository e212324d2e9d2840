/*-------------------------------------------------------------------------
 *
 * am_bottom_up.h
 *	  Which logical blocks an index looks at when it deletes entries bottom-up.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_AM_BOTTOM_UP_H
#define VDB_AM_BOTTOM_UP_H

#include "base/vdb_types.h"

/* The most logical blocks that one bottom-up deletion looks at: as many as heap's blocks. */
#define VDB_BOTTOM_UP_BLOCKS	6

/* The candidates of one logical block. */
typedef struct VdbIndexBlock
{
	VdbLogicalBlock lb;
	int			first;				/* the first of them, in the order of TIDs */
	int			n;
	int			suspects;			/* how many of them the index suspects to be old versions */
} VdbIndexBlock;

/*
 * Sort the blocks by what they promise, best first, and return how many to look at.  Their order
 * before the call, by number, decides between blocks that promise the same.
 */
extern int	vdb_bottom_up_choose(VdbIndexBlock *blocks, int nblocks);

#endif							/* VDB_AM_BOTTOM_UP_H */
