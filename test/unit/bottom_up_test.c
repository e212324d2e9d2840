/*
 * bottom_up_test.c
 *	  At which logical blocks a bottom-up deletion of index entries looks.
 */
#include "pg_shim.h"
#include "unit_shim.h"

#include "am/am_bottom_up.h"

/* Choose among blocks of (entries, promising ones); their numbers count from 100. */
static int
choose(VdbIndexBlock *blocks, const int (*counts)[2], int nblocks)
{
	int			first = 0;

	for (int i = 0; i < nblocks; i++)
	{
		blocks[i].lb = 100 + i;
		blocks[i].first = first;
		blocks[i].n = counts[i][0];
		blocks[i].suspects = counts[i][1];
		first += counts[i][0];
	}
	return vdb_bottom_up_choose(blocks, nblocks);
}

static void
test_limit(void)
{
	VdbIndexBlock blocks[100];
	int			counts[100][2];

	for (int i = 0; i < 100; i++)
	{
		counts[i][0] = 3;
		counts[i][1] = 1;
	}
	UNIT_CHECK(choose(blocks, counts, 100) == VDB_BOTTOM_UP_BLOCKS, "a limit");
	/* all promise the same, so their order is kept */
	for (int i = 0; i < 100; i++)
		UNIT_CHECK(blocks[i].lb == (VdbLogicalBlock) (100 + i), "their order");
	UNIT_CHECK(choose(blocks, counts, 2) == 2, "two");
	UNIT_CHECK(choose(blocks, counts, 1) == 1, "one");
}

static void
test_order(void)
{
	VdbIndexBlock blocks[5];
	const int	counts[5][2] = {{4, 0}, {30, 3}, {40, 17}, {9, 9}, {200, 20}};

	/* 17 and 20 are roughly the same, and 200 entries are more than 40; 9 promise less; then the
	 * number of entries decides */
	UNIT_CHECK(choose(blocks, counts, 5) == 5, "all five");
	UNIT_CHECK(blocks[0].lb == 104, "most promising, many entries");
	UNIT_CHECK(blocks[1].lb == 102, "most promising");
	UNIT_CHECK(blocks[2].lb == 103, "promising");
	UNIT_CHECK(blocks[3].lb == 101, "entries");
	UNIT_CHECK(blocks[4].lb == 100, "nothing");
}

int
main(void)
{
	unit_run("few blocks", test_limit);
	unit_run("the best first", test_order);
	return unit_finish();
}
