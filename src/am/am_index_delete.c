/*-------------------------------------------------------------------------
 *
 * am_index_delete.c
 *	  Tell an index which of its entries lead to versions that are dead to everyone.
 *
 * A simple deletion has entries that scans found dead, and others on the way; all their blocks are
 * looked at.  A bottom-up deletion has entries of a page that is about to be split, and looks at
 * few blocks, the best ones first, as long as each of them has something to delete.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"

#include "am/am.h"
#include "am/am_bottom_up.h"

static int
compare_tids(const void *a, const void *b)
{
	return ItemPointerCompare(&((TM_IndexDelete *) unconstify(void *, a))->tid,
							  &((TM_IndexDelete *) unconstify(void *, b))->tid);
}

/* Sort the entries by TID, and list their logical blocks.  Returns the number of blocks. */
static int
group_by_block(TM_IndexDeleteOp *op, VdbIndexBlock *blocks)
{
	int			nblocks = 0;

	qsort(op->deltids, op->ndeltids, sizeof(TM_IndexDelete), compare_tids);
	for (int i = 0; i < op->ndeltids; i++)
	{
		VdbLogicalBlock lb = vdb_row_lb(vdb_tid_to_row(&op->deltids[i].tid));
		VdbIndexBlock *block = &blocks[Max(nblocks - 1, 0)];

		if (nblocks == 0 || block->lb != lb)
		{
			block = &blocks[nblocks++];
			block->lb = lb;
			block->first = i;
			block->n = block->suspects = 0;
		}
		block->n++;
		block->suspects += op->status[op->deltids[i].id].promising;
	}
	return nblocks;
}

/* Bring the entries into the order of the blocks; drop those of other blocks. */
static void
reorder(TM_IndexDeleteOp *op, VdbIndexBlock *blocks, int nblocks)
{
	TM_IndexDelete *sorted = palloc(op->ndeltids * sizeof(TM_IndexDelete));
	int			n = 0;

	for (int b = 0; b < nblocks; b++)
	{
		memcpy(sorted + n, op->deltids + blocks[b].first, blocks[b].n * sizeof(TM_IndexDelete));
		blocks[b].first = n;
		n += blocks[b].n;
	}
	memcpy(op->deltids, sorted, n * sizeof(TM_IndexDelete));
	op->ndeltids = n;
	pfree(sorted);
}

/*
 * Look at the entries of one block, and mark those that can be deleted.  Returns the bytes of the
 * index page that this frees beyond what was known.
 */
static int
find_dead_entries(Relation rel, TM_IndexDeleteOp *op, const VdbIndexBlock *block,
				  VdbDeadCheck *checks, TransactionId *latest)
{
	int			freed = 0;

	for (int i = 0; i < block->n; i++)
	{
		TM_IndexDelete *entry = &op->deltids[block->first + i];

		checks[i].row = vdb_tid_to_row(&entry->tid);
		/* what another backend has found dead isn't asked again: its horizon may be newer */
		checks[i].known = op->status[entry->id].knowndeletable;
	}
	(void) vdb_table_check_dead(rel, checks, block->n, latest);
	for (int i = 0; i < block->n; i++)
	{
		TM_IndexStatus *status = &op->status[op->deltids[block->first + i].id];

		Assert(checks[i].dead || !status->knowndeletable);
		if (!checks[i].dead || status->knowndeletable)
			continue;
		status->knowndeletable = true;
		freed += status->freespace;
	}
	return freed;
}

/*
 * See TableAmRoutine.  The target of a bottom-up deletion is halved with each further block that
 * isn't next to the one before, so that a marginal case ends soon.
 */
TransactionId
vdb_index_delete_tuples(Relation rel, TM_IndexDeleteOp *op)
{
	TransactionId latest = InvalidTransactionId;
	VdbIndexBlock *blocks = palloc(op->ndeltids * sizeof(VdbIndexBlock));
	VdbDeadCheck *checks = palloc(op->ndeltids * sizeof(VdbDeadCheck));
	int			nblocks = group_by_block(op, blocks);
	int			target = op->bottomupfreespace;
	int			total = 0;
	int			looked_at = 0;

	Assert(op->ndeltids > 0);
	if (op->bottomup)
	{
		nblocks = vdb_bottom_up_choose(blocks, nblocks);
		reorder(op, blocks, nblocks);
	}
	for (int b = 0; b < nblocks; b++)
	{
		int			freed = find_dead_entries(rel, op, &blocks[b], checks, &latest);

		looked_at = blocks[b].first + blocks[b].n;
		total += freed;
		if (b > 0 && blocks[b].lb != blocks[b - 1].lb + 1)
			target /= 2;
		if (op->bottomup && (freed == 0 || total >= target))
			break;
	}
	op->ndeltids = op->bottomup && total == 0 ? 0 : looked_at;
	pfree(checks);
	pfree(blocks);
	return latest;
}
