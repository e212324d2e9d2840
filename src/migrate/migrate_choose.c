/*-------------------------------------------------------------------------
 *
 * migrate_choose.c
 *	  Step 1 of a move: choosing logical blocks of the range.
 *
 * They are chosen in this order:
 *
 * 1. In-doubt stripes (written when the pool was full, with rows of transactions in progress) all
 *    of whose rows turned out to be committed only lose their mark.  Where some rows were aborted,
 *    the stripe must be rewritten.
 * 2. Stripes without any row left move alone, and are gone afterwards.  So do segments without
 *    rows, if segments with rows are to be left alone.
 * 3. Closed segments whose rows are resolved and intact (migrate_intact.c), and stripes that must
 *    or should be rewritten (many of their rows are dead to everyone).
 * 4. Stripes that are small beside what moves, or, with VDB_MIGRATE_MERGE, beside each other.
 * 5. If nothing moves, a stripe whose overlay takes much of the pool and can leave it: that stripe
 *    stays, and only its delta records move (migrate_spill.c).
 *
 * The caller holds the migration lock, so no stripe comes or goes meanwhile.  Block locks are taken
 * shared, one at a time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/procarray.h"

#include "base/vdb_stop_point.h"
#include "base/vdb_wal.h"
#include "migrate/migrate_private.h"

/* Facts about one logical block of the range. */
typedef struct BlockFacts
{
	VdbExtent	extent;
	bool		resolved;
	bool		removed;			/* a row of the block was removed in its segment */
	uint32		rows;
	int			stripe;				/* index into Survey.stripes, or -1 */
} BlockFacts;

/* Facts about one stripe of the range. */
typedef struct StripeFacts
{
	VdbMovingStripe address;
	uint16		nlbs;				/* logical blocks it was written with */
	uint16		flags;
	TransactionId min_xmin;
	TransactionId max_xmin;
	bool		overlay;			/* one of its blocks has an overlay, or spilled rows */
	bool		in_progress;		/* the inserter of some row is in progress */
	bool		aborted;			/* the inserter of some row has aborted */
	bool		chosen;
	uint32		left;				/* rows that are not dead to everyone */
} StripeFacts;

/* Facts about the whole range. */
typedef struct Survey
{
	int			end;				/* logical blocks of the range that were handed out */
	BlockFacts	blocks[VDB_RANGE_LBS];
	int			nstripes;
	StripeFacts stripes[VDB_RANGE_LBS];
} Survey;

/* ---- surveying ---- */

/*
 * Check whether the inserting transaction is still in progress.  A version that our own transaction
 * has both inserted and deleted counts as 'delete in progress' in htsv.
 */
bool
vdb_insert_in_progress(HeapTupleHeader hdr, VdbHtsvResult htsv)
{
	if (htsv == VDB_DELETE_IN_PROGRESS)
		return !HeapTupleHeaderXminCommitted(hdr) &&
			TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetRawXmin(hdr));
	return htsv == VDB_INSERT_IN_PROGRESS;
}

static bool
header_resolved(const VdbMover *mover, HeapTupleHeader hdr)
{
	/* the owner of a speculative row will change its header in place, unless it has failed */
	if (HeapTupleHeaderIsSpeculative(hdr) &&
		TransactionIdIsInProgress(HeapTupleHeaderGetRawXmin(hdr)))
		return false;
	if (mover->flags & VDB_MIGRATE_OWN)
		return true;
	return !vdb_insert_in_progress(hdr, vdb_row_satisfies_vacuum(hdr, mover->oldest_xmin));
}

/* Check whether all rows of a segment's block are resolved.  The block lock is held shared. */
static void
look_at_segment(VdbMover *mover, VdbLogicalBlock lb, BlockFacts *facts)
{
	VdbVersion	version;
	bool		removed;

	Assert(VDB_BLOCK_LOCKED(&mover->ref, lb));
	for (int i = 0; i < VDB_LB_ROWS; i++)
	{
		if (!vdb_rows_version(&mover->ref, &facts->extent, lb, (uint8) i, &version, &removed))
		{
			facts->removed = facts->removed || removed;
			continue;
		}
		facts->rows++;
		if (!header_resolved(mover, &version.hdr))
		{
			facts->resolved = false;
			return;
		}
	}
}

/*
 * Note what the stripe's meta says, once for each stripe.  *damaged is set if the meta differs from
 * what was stored.  The block lock is held shared.
 */
static int
note_mergeable_stripe(VdbMover *mover, Survey *survey, const VdbExtent *extent, bool *damaged,
					  VdbMetaDamage *damage)
{
	const VdbStripeMeta *meta;
	StripeFacts *stripe = NULL;
	int			i;

	Assert(VDB_BLOCK_LOCKED(&mover->ref, extent->lb));
	for (i = 0; i < survey->nstripes; i++)
		if (survey->stripes[i].address.meta == extent->ref)
			break;
	Assert(i < VDB_RANGE_LBS);
	stripe = &survey->stripes[i];
	if (i == survey->nstripes)
	{
		meta = vdb_map_meta(mover->ref.pool, extent->ref);
		*damaged = vdb_map_meta_damaged(extent->ref, meta, damage);
		memset(stripe, 0, sizeof(StripeFacts));
		stripe->address.meta = extent->ref;
		stripe->address.first_page = meta->first_page;
		stripe->address.npages = meta->npages;
		stripe->address.spill = meta->spill;
		stripe->address.nrows = meta->nrows;
		stripe->address.average_bytes = (uint32) (meta->row_bytes / Max(meta->nrows, 1));
		stripe->nlbs = meta->nlbs;
		stripe->flags = meta->flags;
		stripe->min_xmin = meta->min_xmin;
		stripe->max_xmin = meta->max_xmin;
		stripe->left = meta->nrows;
		survey->nstripes++;
	}
	stripe->address.blocks++;
	stripe->overlay = stripe->overlay || extent->overlay_block != VDB_BLOCK_NONE ||
		extent->spilled;
	return i;
}

/*
 * Collect the facts about one block, under its block lock.  Without a survey, stripes are not
 * looked at.
 */
static void
look_at_block(VdbMover *mover, Survey *survey, VdbLogicalBlock lb, BlockFacts *facts)
{
	VdbMetaDamage damage;
	bool		damaged = false;

	memset(facts, 0, sizeof(BlockFacts));
	facts->resolved = true;
	facts->stripe = -1;
	vdb_lock_block(&mover->ref, lb, LW_SHARED);
	vdb_map_lookup(&mover->ref, lb, &facts->extent);
	if (facts->extent.kind == VDB_EXTENT_SEGMENT)
		look_at_segment(mover, lb, facts);
	else if (facts->extent.kind == VDB_EXTENT_STRIPE && survey != NULL)
		facts->stripe = note_mergeable_stripe(mover, survey, &facts->extent, &damaged, &damage);
	vdb_unlock_block(&mover->ref, lb);
	if (damaged)
		vdb_map_report_damage(mover->rel, ERROR, &damage);
}

/* ---- rows of stripes ---- */

static bool
xid_running(TransactionId xid)
{
	return TransactionIdIsNormal(xid) && TransactionIdIsInProgress(xid);
}

/* Count the rows that are left of one block of a stripe. */
static void
survey_batch(VdbBatch *batch, StripeFacts *stripe)
{
	for (int i = 0; i < batch->nrows; i++)
	{
		VdbVersion	version;
		TransactionId xmin;

		vdb_batch_version(batch, i, &version);
		if (vdb_insert_in_progress(&version.hdr, (VdbHtsvResult) batch->htsv[i]))
			stripe->in_progress = true;
		if (batch->htsv[i] != VDB_DEAD)
		{
			stripe->left++;
			continue;
		}
		xmin = HeapTupleHeaderGetRawXmin(&version.hdr);
		if ((stripe->flags & VDB_STRIPE_IN_DOUBT) && TransactionIdIsNormal(xmin) &&
			!HeapTupleHeaderXminCommitted(&version.hdr) && !TransactionIdDidCommit(xmin))
			stripe->aborted = true;
	}
}

/*
 * Count the rows that are left of a stripe, and find out what became of their inserters.  The
 * stripe's rows are read only where that can give something new.
 */
static void
survey_stripe(VdbMover *mover, Survey *survey, int number, VdbBatch *batch)
{
	StripeFacts *stripe = &survey->stripes[number];
	bool		in_doubt = (stripe->flags & VDB_STRIPE_IN_DOUBT) != 0;
	bool		thinned = stripe->overlay || stripe->address.blocks < stripe->nlbs;

	Assert(number >= 0 && number < survey->nstripes);
	if (in_doubt && (xid_running(stripe->min_xmin) || xid_running(stripe->max_xmin)))
	{
		stripe->in_progress = true;
		return;
	}
	if (!in_doubt && !(thinned && (mover->flags & VDB_MIGRATE_COMPACT)))
		return;
	stripe->left = 0;
	for (int i = 0; i < survey->end; i++)
	{
		if (survey->blocks[i].stripe != number)
			continue;
		vdb_batch_read(batch, vdb_mover_lb(mover, (uint8) i), NULL, mover->oldest_xmin, true);
		survey_batch(batch, stripe);
	}
}

/* Remove the mark of a stripe whose remaining rows were all inserted by committed transactions. */
static void
resolve_stripe(VdbMover *mover, StripeFacts *stripe)
{
	Assert((stripe->flags & VDB_STRIPE_IN_DOUBT) && !stripe->in_progress && !stripe->aborted);
	/* no crash may take back a commit that we have relied upon */
	XLogFlush(vdb_wal_end());
	VDB_STOP_POINT("migrate-before-resolve");
	vdb_map_resolve_stripe(&mover->ref, stripe->address.meta);
	stripe->flags &= ~VDB_STRIPE_IN_DOUBT;
	mover->nresolved++;
}

/* Survey all stripes of the range, and resolve those that can be resolved. */
static void
survey_stripes(VdbMover *mover, Survey *survey)
{
	VdbBatch   *batch = vdb_batch_create(mover->rel);

	for (int s = 0; s < survey->nstripes; s++)
	{
		StripeFacts *stripe = &survey->stripes[s];

		survey_stripe(mover, survey, s, batch);
		if ((stripe->flags & VDB_STRIPE_IN_DOUBT) && !stripe->in_progress && !stripe->aborted)
			resolve_stripe(mover, stripe);
	}
	vdb_batch_free(batch);
}

/* ---- choosing ---- */

/* Add a block to those that move. */
static void
add_segment_block(VdbMover *mover, uint8 index, const BlockFacts *facts)
{
	VdbMovingBlock *block = &mover->blocks[mover->nblocks++];

	Assert(mover->nblocks <= VDB_RANGE_LBS);
	Assert(facts->extent.kind == VDB_EXTENT_SEGMENT || facts->extent.kind == VDB_EXTENT_STRIPE);
	memset(block, 0, sizeof(VdbMovingBlock));
	block->index = index;
	block->kind = facts->extent.kind;
	block->ref = facts->extent.ref;
	block->old_overlay_block = facts->extent.overlay_block;
	block->old_overlay_offset = facts->extent.overlay_offset;
	/* it isn't recorded which rows a stripe was written without */
	block->lacking = facts->removed || facts->extent.kind == VDB_EXTENT_STRIPE;
}

/* Check whether freeing this segment would touch too many allocation groups for one switch. */
static bool
too_many_groups(VdbMover *mover, VdbBlock segment)
{
	uint32		group = vdb_scm_group_of(segment);

	for (int i = 0; i < mover->ngroups; i++)
		if (mover->groups[i] == group)
			return false;
	if (mover->ngroups >= VDB_SWITCH_GROUPS)
		return true;
	mover->groups[mover->ngroups++] = group;
	return false;
}

/* Check whether any block of the segment has a row. */
static bool
segment_has_rows(const Survey *survey, int first, int nlbs)
{
	for (int i = first; i < first + nlbs; i++)
		if (survey->blocks[i].rows > 0)
			return true;
	return false;
}

/*
 * Choose all blocks of the segment that begins at 'first', if it may move, and add their rows to
 * *rows.  Returns the number of its blocks.
 */
static int
choose_segment(VdbMover *mover, Survey *survey, int first, uint32 *rows)
{
	BlockFacts *facts = survey->blocks;
	VdbLogicalBlock lb = vdb_mover_lb(mover, (uint8) first);
	const VdbSegmentHeader *header;
	int			nlbs;
	uint32		found = 0;
	bool		may_move = true;

	header = vdb_rows_segment(&mover->ref, facts[first].extent.ref, lb);
	nlbs = Min(header->nslots / VDB_LB_ROWS, survey->end - first);
	/* before asking whether it is open, which takes it from a session that might go on in it */
	if ((mover->flags & VDB_MIGRATE_STRIPES) && segment_has_rows(survey, first, nlbs))
		return nlbs;
	if (vdb_rows_segment_open(&mover->ref, facts[first].extent.ref,
							  vdb_migrate_idle_ms(mover->flags,
												  segment_has_rows(survey, first, nlbs))))
		return nlbs;
	/* it is closed now; rows that were appended before that count, too */
	for (int i = first; i < first + nlbs; i++)
	{
		look_at_block(mover, NULL, vdb_mover_lb(mover, (uint8) i), &facts[i]);
		may_move = may_move && facts[i].resolved &&
			!((mover->flags & VDB_MIGRATE_STRIPES) && facts[i].rows > 0);
		found += facts[i].rows;
	}
	if (!may_move || !vdb_mover_segment_intact(mover, lb, nlbs) ||
		too_many_groups(mover, facts[first].extent.ref))
		return nlbs;
	for (int i = first; i < first + nlbs; i++)
		add_segment_block(mover, (uint8) i, &facts[i]);
	mover->segments[mover->nsegments++] = facts[first].extent.ref;
	*rows += found;
	return nlbs;
}

/* Choose the segments that may move. */
static void
choose_segments(VdbMover *mover, Survey *survey, uint32 *rows)
{
	for (int i = 0; i < survey->end;)
	{
		CHECK_FOR_INTERRUPTS();
		if (survey->blocks[i].extent.kind == VDB_EXTENT_SEGMENT)
			i += choose_segment(mover, survey, i, rows);
		else
			i++;
	}
}

/*
 * Choose all blocks of a stripe.  Returns false if so many stripes move already that the switch
 * could not handle another.
 */
static bool
choose_stripe(VdbMover *mover, Survey *survey, int number)
{
	StripeFacts *stripe = &survey->stripes[number];

	if (mover->nstripes >= VDB_SWITCH_METAS)
		return false;
	Assert(!stripe->chosen);
	stripe->chosen = true;
	mover->stripes[mover->nstripes++] = stripe->address;
	for (int i = 0; i < survey->end; i++)
		if (survey->blocks[i].stripe == number)
			add_segment_block(mover, (uint8) i, &survey->blocks[i]);
	return true;
}

/* Check whether the stripe must or should be rewritten, even if nothing else moves. */
static bool
worth_rewriting(const VdbMover *mover, const StripeFacts *stripe)
{
	if (stripe->in_progress)
		return false;
	if (stripe->aborted)
		return true;
	return (mover->flags & VDB_MIGRATE_COMPACT) &&
		vdb_migrate_compact(stripe->address.nrows, stripe->left);
}

/*
 * Choose stripes without any row, and with VDB_MIGRATE_STRIPES segments, too.  Returns whether
 * there are some.
 */
static bool
choose_removed(VdbMover *mover, Survey *survey)
{
	uint32		rows = 0;

	if (mover->flags & VDB_MIGRATE_STRIPES)
		choose_segments(mover, survey, &rows);
	for (int s = 0; s < survey->nstripes; s++)
		if (survey->stripes[s].left == 0 && !survey->stripes[s].in_progress)
			if (!choose_stripe(mover, survey, s))
				break;
	return mover->nblocks > 0;
}

/* Choose the stripes that are worth rewriting. */
static void
choose_rewrites(VdbMover *mover, Survey *survey, uint32 *rows)
{
	for (int s = 0; s < survey->nstripes; s++)
		if (worth_rewriting(mover, &survey->stripes[s]) && choose_stripe(mover, survey, s))
			*rows += survey->stripes[s].left;
}

/* Check whether rows can be added to the range, or wait in it, that don't move now. */
static bool
more_to_come(const VdbMover *mover, const Survey *survey)
{
	int			waiting = 0;

	for (int i = 0; i < survey->end; i++)
		waiting += survey->blocks[i].extent.kind == VDB_EXTENT_SEGMENT ? 1 : 0;
	for (int b = 0; b < mover->nblocks; b++)
		waiting -= mover->blocks[b].kind == VDB_EXTENT_SEGMENT ? 1 : 0;
	Assert(waiting >= 0);
	return survey->end < VDB_RANGE_LBS || waiting > 0;
}

/*
 * Choose stripes that are small beside what moves anyway, or beside each other.  'rows' move.  A
 * process that makes room has no time for stripes that are not small.
 */
static void
choose_merges(VdbMover *mover, Survey *survey, uint32 rows)
{
	VdbMergeStripe candidates[VDB_RANGE_LBS];
	VdbMergeInto into = {.rows = rows,.range_stripes = survey->nstripes};
	int			n = 0;

	into.bytes = (uint64) mover->nsegments * VDB_SEGMENT_BYTES;
	into.last = !(mover->flags & VDB_MIGRATE_OWN) && !more_to_come(mover, survey);
	into.most = VDB_SWITCH_METAS - mover->nstripes;
	for (int s = 0; s < survey->nstripes; s++)
	{
		const StripeFacts *stripe = &survey->stripes[s];
		uint64		bytes = (uint64) stripe->address.nrows * stripe->address.average_bytes;

		if (stripe->chosen)
			into.bytes += bytes;
		else if ((stripe->flags & VDB_STRIPE_IN_DOUBT) == 0 ||
				 (!stripe->in_progress && mover->nblocks > 0) ||
				 (mover->flags & VDB_MIGRATE_OWN))
		{
			candidates[n].number = s;
			candidates[n].rows = stripe->address.nrows;
			candidates[n++].bytes = bytes;
		}
	}
	n = vdb_migrate_merge(candidates, n, &into);
	Assert(n <= into.most);
	for (int i = 0; i < n; i++)
		(void) choose_stripe(mover, survey, candidates[i].number);
}

/*
 * Choose a stripe that stays where it is, to move its final delta records.  At most one is chosen:
 * the next call finds the next.
 */
static void
choose_spill(VdbMover *mover, Survey *survey)
{
	Assert(mover->nblocks == 0 && mover->nstripes == 0);
	for (int s = 0; s < survey->nstripes; s++)
	{
		StripeFacts *stripe = &survey->stripes[s];

		if (!stripe->overlay || !choose_stripe(mover, survey, s))
			continue;
		mover->keeps_stripe = vdb_mover_gather_overlay(mover);
		if (mover->keeps_stripe)
			return;
		mover->nblocks = mover->nstripes = 0;
		stripe->chosen = false;
	}
}

static int
compare_blocks(const void *a, const void *b)
{
	return (int) ((const VdbMovingBlock *) a)->index - (int) ((const VdbMovingBlock *) b)->index;
}

/*
 * Assert that blocks are in rising order without repetition, and that something that moves is freed
 * with them.
 */
static void
assert_choice(const VdbMover *mover)
{
#ifdef USE_ASSERT_CHECKING
	Assert((mover->nblocks > 0) == (mover->nsegments + mover->nstripes > 0));
	for (int i = 1; i < mover->nblocks; i++)
		Assert(mover->blocks[i].index > mover->blocks[i - 1].index);
#endif
}

/*
 * Fill in the mover's blocks, segments and stripes, with blocks in rising order.  There are none if
 * nothing is to move.  Stripes are resolved on the way (mover->nresolved).
 */
void
vdb_mover_choose(VdbMover *mover)
{
	VdbLogicalBlock first = vdb_mover_lb(mover, 0);
	VdbLogicalBlock limit = vdb_map_limit(&mover->ref);
	Survey	   *survey;
	uint32		rows = 0;

	Assert(mover->nblocks == 0 && mover->nsegments == 0 && mover->nstripes == 0);
	if (first >= limit)
		return;
	survey = palloc(sizeof(Survey));
	survey->end = (int) Min(limit - first, VDB_RANGE_LBS);
	survey->nstripes = 0;
	for (int i = 0; i < survey->end; i++)
	{
		CHECK_FOR_INTERRUPTS();
		look_at_block(mover, survey, first + i, &survey->blocks[i]);
	}
	survey_stripes(mover, survey);
	if (!choose_removed(mover, survey))
	{
		if (vdb_migrate_segments_wanted(&mover->ref, mover->range, mover->flags))
			choose_segments(mover, survey, &rows);
		choose_rewrites(mover, survey, &rows);
		if (mover->nblocks > 0 || (mover->flags & VDB_MIGRATE_MERGE))
			choose_merges(mover, survey, rows);
	}
	if (mover->nblocks == 0 && (mover->flags & VDB_MIGRATE_SPILLS))
		choose_spill(mover, survey);
	qsort(mover->blocks, mover->nblocks, sizeof(VdbMovingBlock), compare_blocks);
	assert_choice(mover);
	pfree(survey);
}
