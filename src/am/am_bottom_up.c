/*-------------------------------------------------------------------------
 *
 * am_bottom_up.c
 *	  Which logical blocks an index looks at when it deletes entries bottom-up.
 *
 * An index page that is about to be split asks which of its entries lead to dead versions.  Each
 * logical block that is looked at costs a lock, and perhaps a read of flash, while the page is
 * locked.  So only the blocks are looked at in which most is to be found: those with the most
 * suspects (core: promising index entries), roughly counted, then those with the most entries.
 * heapam's rule is the same.
 *
 * Pure functions: test/unit/bottom_up_test.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "am/am_bottom_up.h"

/* A smaller number of suspects says nothing. */
#define FEW_SUSPECTS	4

/* Round up to a power of two, so that only great differences count. */
static int
roughly(int n)
{
	int			power = 1;

	while (power < n)
		power *= 2;
	return power;
}

static int
compare_promise(const void *a, const void *b)
{
	const VdbIndexBlock *one = a;
	const VdbIndexBlock *other = b;
	int			suspects = roughly(Max(one->suspects, FEW_SUSPECTS));
	int			other_suspects = roughly(Max(other->suspects, FEW_SUSPECTS));

	if (suspects != other_suspects)
		return suspects > other_suspects ? -1 : 1;
	if (roughly(one->n) != roughly(other->n))
		return one->n > other->n ? -1 : 1;
	return one->first < other->first ? -1 : 1;
}

int
vdb_bottom_up_choose(VdbIndexBlock *blocks, int nblocks)
{
	qsort(blocks, nblocks, sizeof(VdbIndexBlock), compare_promise);
	return Min(nblocks, VDB_BOTTOM_UP_BLOCKS);
}
