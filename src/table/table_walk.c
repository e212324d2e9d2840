/*-------------------------------------------------------------------------
 *
 * table_walk.c
 *	  Read a table's rows in row-number order, one logical block at a time.
 *
 * A walk goes upward over logical blocks and looks each of them up in the map.
 * All that is needed from the pool (rows, or the overlay of a striped block) is
 * copied under the block lock.  So a block is read either wholly from its
 * segment or wholly from its stripe, and a walk meets each row once, whatever
 * migrates meanwhile.  Stripes are read after the lock is released, since they
 * never change.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "storage/predicate.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "table/table.h"
#include "table/table_version.h"

/* Size of the arena: the rows of one block come from one 64 KiB segment at most. */
#define VDB_ARENA_BYTES		(VDB_SEGMENT_BYTES + VDB_LB_ROWS * MAXIMUM_ALIGNOF)

VdbBatch *
vdb_batch_create(Relation rel)
{
	VdbBatch   *batch = palloc0(sizeof(VdbBatch));

	batch->rel = rel;
	batch->ref.pool = NULL;
	batch->arena_size = VDB_ARENA_BYTES;
	batch->arena = palloc(batch->arena_size);
	batch->overlay = palloc(sizeof(VdbOverlayView));
	batch->versions = palloc(sizeof(VdbVersion) * VDB_LB_ROWS);
	batch->match_page = InvalidBlockNumber;
	return batch;
}

/* Release the batch's stripe, if it has one. */
static void
batch_drop_stripe(VdbBatch *batch)
{
	if (batch->stripe != NULL)
	{
		VdbStripe  *stripe = batch->stripe;

		batch->stripe = NULL;
		vdb_stripe_release(stripe);
	}
}

void
vdb_batch_free(VdbBatch *batch)
{
	batch_drop_stripe(batch);
	if (batch->ref.pool != NULL && batch->visibility_checks > 0)
		pg_atomic_fetch_add_u64(&vdb_pool_shared(batch->ref.pool)->counters.visibility_checks,
								batch->visibility_checks);
	if (batch->chunk_match != NULL)
	{
		pfree(batch->chunk_match);
		pfree(batch->chunk_read);
	}
	vdb_zone_set_free(&batch->zones);
	pfree(batch->versions);
	pfree(batch->overlay);
	pfree(batch->arena);
	pfree(batch);
}

void
vdb_batch_set_prune(VdbBatch *batch, VdbPruneCallback prune, void *arg, const int *columns,
					int ncolumns)
{
	MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(batch));

	vdb_zone_set_free(&batch->zones);
	vdb_zone_set_init(&batch->zones, columns, ncolumns);
	MemoryContextSwitchTo(old);
	batch->prune = prune;
	batch->prune_arg = arg;
	batch->match_page = InvalidBlockNumber;
}

void
vdb_batch_ask_again(VdbBatch *batch)
{
	batch->ask_again = true;
}

void
vdb_batch_set_check(VdbBatch *batch)
{
	batch->check = true;
}

/* Arguments of a call of vdb_batch_read or vdb_batch_read_rows. */
typedef struct ReadRequest
{
	Snapshot	snapshot;
	TransactionId oldest_xmin;
	bool		keep_dead;
	bool		serializable;
	const uint64 *only;				/* NULL, or a VdbRowSet: the rows asked for */
} ReadRequest;

/* Return the first requested row from i on, or VDB_LB_ROWS if there is none. */
static inline int
next_asked(const ReadRequest *req, int i)
{
	return likely(req->only == NULL) ? i : vdb_rowset_next(req->only, i);
}

/* Return true if the version is wanted.  *htsv is set if there is no snapshot. */
static bool
satisfies(VdbBatch *batch, const ReadRequest *req, VdbVersion *version, uint8 *htsv)
{
	ItemPointerData tid;
	bool		visible;

	batch->visibility_checks++;
	if (req->snapshot == NULL)
	{
		*htsv = (uint8) vdb_row_satisfies_vacuum(&version->hdr, req->oldest_xmin);
		return req->keep_dead || *htsv != VDB_DEAD;
	}
	vdb_row_to_tid(version->row, &tid);
	visible = vdb_row_visible(&version->hdr, &tid, RelationGetRelid(batch->rel),
							  req->snapshot);
	return visible;
}

/* Copy the wanted rows of a segment's block.  The block lock is held, shared. */
static void
read_segment(VdbBatch *batch, const ReadRequest *req, const VdbExtent *extent)
{
	Size		used = 0;

	batch->where = VDB_IN_POOL;
	vdb_rowset_fill(batch->unwanted, false);
	for (int i = next_asked(req, 0); i < VDB_LB_ROWS; i = next_asked(req, i + 1))
	{
		VdbVersion *version = &batch->versions[batch->nrows];
		bool		removed;
		bool		wanted;
		HeapTuple	tuple;
		uint8		htsv = 0;

		if (!vdb_rows_version(&batch->ref, extent, batch->lb, (uint8) i, version, &removed))
			continue;
		wanted = satisfies(batch, req, version, &htsv);
		if (version->hdr.t_infomask != version->seen_infomask)
			vdb_table_hint(&batch->ref, version);
		/* for the check after unlocking, unwanted ones are kept too */
		if (!wanted && req->serializable)
			vdb_rowset_add(batch->unwanted, batch->nrows);
		else if (!wanted)
			continue;

		tuple = &batch->tuples[batch->nrows];
		batch->index[batch->nrows] = (uint8) i;
		batch->htsv[batch->nrows] = htsv;
		tuple->t_len = VDB_ROW_LEN(version->len);
		tuple->t_tableOid = RelationGetRelid(batch->rel);
		vdb_row_to_tid(version->row, &tuple->t_self);
		tuple->t_data = (HeapTupleHeader) (batch->arena + used);
		if (wanted)
		{
			Assert(used + VDB_ROW_COPY_BYTES(version->len) <= batch->arena_size);
			vdb_rows_copy(&batch->ref, version, batch->arena + used);
			used += VDB_ROW_COPY_BYTES(version->len);
		}
		batch->nrows++;
	}
}

/* Move a row within the batch's arrays. */
static void
batch_move(VdbBatch *batch, int to, int from)
{
	Assert(to <= from && from < VDB_LB_ROWS);
	if (to == from)
		return;
	batch->index[to] = batch->index[from];
	batch->htsv[to] = batch->htsv[from];
	batch->pos[to] = batch->pos[from];
	if (!batch->plain)
		batch->versions[to] = batch->versions[from];
	if (batch->where == VDB_IN_POOL)
		batch->tuples[to] = batch->tuples[from];
}

/* Drop the rows marked as unwanted, keeping order. */
static void
compact_unwanted(VdbBatch *batch)
{
	int			kept = 0;

	for (int i = 0; i < batch->nrows; i++)
	{
		if (vdb_rowset_has(batch->unwanted, i))
			continue;
		batch_move(batch, kept, i);
		kept++;
	}
	batch->nrows = kept;
}

/*
 * Verify the checksums of the batch's pool rows.  Rows that are dead to everyone are left out:
 * their data is never read, and may have been lost in a crash.
 */
static void
check_rows(VdbBatch *batch, const ReadRequest *req)
{
	VdbRowDamage damage;

	for (int i = 0; i < batch->nrows; i++)
		if ((req->snapshot != NULL || batch->htsv[i] != VDB_DEAD) &&
			vdb_rows_damaged(&batch->versions[i], (char *) batch->tuples[i].t_data, &damage))
			vdb_rows_report_damage(batch->rel, ERROR, &damage);
}

/* Finish reading a segment's block after unlocking: make SSI checks, verify checksums. */
static void
finish_segment(VdbBatch *batch, const ReadRequest *req)
{
	if (req->serializable)
	{
		for (int i = 0; i < batch->nrows; i++)
			vdb_conflict_out(batch->rel, !vdb_rowset_has(batch->unwanted, i),
							 &batch->versions[i], req->snapshot);
		compact_unwanted(batch);
	}
	if (batch->check)
		check_rows(batch, req);
	batch->pool_rows += batch->nrows;
}

/* What was copied of a stripe's meta under the block lock. */
typedef struct StripeAddress
{
	VdbStripeAddress address;
	VdbSpillAddress spill;
	uint16		flags;
	int			nchunks;
	TransactionId max_xmin;
	VdbBlock	meta_block;
	bool		unseen;				/* the walk meets this stripe for the first time */
	bool		ask;				/* 'prune' must be called for it */
	int			damaged;			/* 0: no damage; WARNING: zone maps are damaged, and not used;
									 * ERROR: the meta is damaged */
	VdbMetaDamage damage;
} StripeAddress;

/*
 * Check the meta of a stripe not seen before, and copy its zone maps.  The block lock is held,
 * shared, so they can't be freed meanwhile.  Damage is only noted here, and reported after
 * unlocking.
 */
static void
note_zones(VdbBatch *batch, VdbBlock meta_block, const VdbStripeMeta *meta, StripeAddress *address)
{
	address->ask = batch->ask_again;
	if (batch->match_page == meta->first_page && batch->match_stripe == meta->stripe_id)
		return;
	if (vdb_map_meta_damaged(meta_block, meta, &address->damage))
	{
		address->damaged = ERROR;
		return;
	}
	batch->match_page = meta->first_page;
	batch->match_stripe = meta->stripe_id;
	batch->match_pruned = 0;
	batch->stripes_seen++;
	batch->chunks_seen += meta->nchunks;
	address->unseen = address->ask = true;
	if (batch->prune != NULL &&
		!vdb_zone_set_read(&batch->zones, batch->ref.pool, meta_block, meta, &address->damage))
		address->damaged = WARNING;
}

/* Copy what is needed from the pool for a striped block.  The block lock is held, shared. */
static void
note_stripe(VdbBatch *batch, const VdbExtent *extent, StripeAddress *address)
{
	const VdbStripeMeta *meta = vdb_map_meta(batch->ref.pool, extent->ref);

	batch->where = VDB_IN_STRIPE;
	address->meta_block = extent->ref;
	address->address = vdb_stripe_address(meta);
	address->spill = meta->spill;
	address->flags = meta->flags;
	address->nchunks = meta->nchunks;
	address->max_xmin = meta->max_xmin;
	note_zones(batch, extent->ref, meta, address);
	if (address->damaged < ERROR && (address->ask || batch->match_any))
		vdb_overlay_read(&batch->ref, extent, batch->overlay);
}

/* Make room for n chunks in chunk_match[] and chunk_read[]. */
static void
reserve_chunks(VdbBatch *batch, int n)
{
	MemoryContext context = GetMemoryChunkContext(batch);

	if (batch->match_chunks >= n)
		return;
	if (batch->chunk_match != NULL)
	{
		pfree(batch->chunk_match);
		pfree(batch->chunk_read);
		batch->chunk_match = NULL;
		batch->match_chunks = 0;
	}
	batch->chunk_read = MemoryContextAlloc(context, n);
	batch->chunk_match = MemoryContextAlloc(context, n);
	batch->match_chunks = n;
}

/* Find the chunks that may match.  Called after unlocking. */
static void
match_chunks(VdbBatch *batch, const StripeAddress *address)
{
	batch->ask_again = false;
	batch->match_any = true;
	if (batch->prune == NULL)
		return;
	reserve_chunks(batch, address->nchunks);
	if (address->unseen)
		memset(batch->chunk_read, 0, address->nchunks);
	memset(batch->chunk_match, 0, address->nchunks);
	batch->match_any = batch->prune(batch->prune_arg, &batch->zones, batch->chunk_match);
	batch->chunks_pruned -= batch->match_pruned;
	batch->match_pruned = 0;
	/* a chunk of which rows were read before doesn't count as pruned */
	for (int i = 0; i < address->nchunks; i++)
		batch->match_pruned += batch->chunk_match[i] || batch->chunk_read[i] ? 0 : 1;
	batch->chunks_pruned += batch->match_pruned;
}

/* Return true if the snapshot is known to see every xmin of the stripe. */
static bool
xmins_visible(const ReadRequest *req, const StripeAddress *address)
{
	return vdb_version_xmins_visible(address->flags, address->max_xmin,
									 req->serializable ? NULL : req->snapshot);
}

/* Return true if the scan takes every version of the stripe that was not removed. */
static bool
takes_any(const ReadRequest *req, const StripeAddress *address)
{
	return req->snapshot != NULL && req->snapshot->snapshot_type == SNAPSHOT_ANY &&
		!req->serializable && !(address->flags & VDB_STRIPE_IN_DOUBT);
}

/*
 * The chunk of the last position.  Positions come in rising order, so chunks are seldom looked up.
 */
typedef struct ChunkCursor
{
	uint32		end;				/* first position of the next chunk */
	bool		wanted;
} ChunkCursor;

/* Return true if the chunk of this position may match. */
static inline bool
chunk_wanted(VdbBatch *batch, ChunkCursor *cursor, uint32 pos)
{
	if (batch->prune == NULL)
		return true;
	if (unlikely(pos >= cursor->end))
	{
		int			chunk = vdb_stripe_chunk_of(batch->stripe, pos);

		cursor->wanted = batch->chunk_match[chunk] != 0;
		batch->chunk_read[chunk] |= cursor->wanted;
		cursor->end = vdb_stripe_chunk_start(batch->stripe, chunk + 1);
	}
	return cursor->wanted;
}

/* Take the rows of a striped block all of whose rows are plain and visible. */
static void
take_plain(VdbBatch *batch, const ReadRequest *req, uint32 first_pos, const VdbRowSet present)
{
	uint32		pos = first_pos;
	ChunkCursor cursor = {0, false};

	for (int word = 0; word < VDB_ROWSET_WORDS; word++)
	{
		uint64		bits = present[word] & (req->only != NULL ? req->only[word] : ~UINT64CONST(0));

		while (bits != 0)
		{
			int			bit = pg_rightmost_one_pos64(bits);

			bits &= bits - 1;
			if (req->only != NULL)
				pos = first_pos + vdb_rowset_rank(present, word * 64 + bit);
			if (chunk_wanted(batch, &cursor, pos))
			{
				batch->index[batch->nrows] = (uint8) (word * 64 + bit);
				batch->pos[batch->nrows] = pos;
				batch->htsv[batch->nrows] = VDB_LIVE;
				batch->nrows++;
			}
			pos++;
		}
	}
}

/* Take rows of a striped block in the general case: compose each row's header and check it. */
static void
take_checked(VdbBatch *batch, const ReadRequest *req, const VdbExtent *extent,
			 uint32 first_pos, const VdbRowSet present)
{
	const VdbOverlayView *overlay = batch->overlay;
	uint32		pos = first_pos;
	ChunkCursor cursor = {0, false};

	for (int i = next_asked(req, 0); i < VDB_LB_ROWS; i = next_asked(req, i + 1))
	{
		VdbVersion *version = &batch->versions[batch->nrows];
		bool		wanted;
		uint8		htsv = 0;
		uint32		this_pos;

		if (!vdb_rowset_has(present, i))
			continue;
		this_pos = req->only != NULL ? first_pos + vdb_rowset_rank(present, i) : pos++;
		if (overlay->any && vdb_rowset_has(overlay->deleted, i))
			continue;
		if (!chunk_wanted(batch, &cursor, this_pos))
			continue;
		vdb_version_from_stripe(version, batch->stripe, batch->meta_flags,
								vdb_row_make(batch->lb, (uint8) i), this_pos);
		version->extent = *extent;
		if (overlay->any && overlay->drec_at[i] >= 0)
			vdb_version_apply_delta(version, &overlay->drecs[overlay->drec_at[i]]);
		wanted = satisfies(batch, req, version, &htsv);
		if (req->serializable)
			vdb_conflict_out(batch->rel, wanted, version, req->snapshot);
		if (!wanted)
			continue;
		batch->index[batch->nrows] = (uint8) i;
		batch->pos[batch->nrows] = this_pos;
		batch->htsv[batch->nrows] = htsv;
		batch->nrows++;
	}
}

/* Add what the stripe's spill has of the block to the batch's overlay. */
static void
add_spilled(VdbBatch *batch, const StripeAddress *address)
{
	VdbBlockDeltaImage image;

	vdb_spill_read(batch->rel, &address->spill, batch->lb, &image);
	vdb_spill_view(&image, batch->lb, batch->overlay);
}

/* Finish reading a striped block after unlocking: open the stripe and choose rows. */
static void
finish_stripe(VdbBatch *batch, const ReadRequest *req, const StripeAddress *address,
			  const VdbExtent *extent)
{
	uint32		first_pos;
	VdbRowSet	present;

	if (address->damaged >= ERROR || (address->damaged != 0 && !batch->warned))
	{
		batch->warned = true;
		vdb_map_report_damage(batch->rel, address->damaged, &address->damage);
	}
	if (address->ask)
		match_chunks(batch, address);
	if (!batch->match_any)
		return;
	batch->meta_block = address->meta_block;
	/* headers made of this flag say that xmin is frozen, which is as good to this snapshot */
	batch->meta_flags = address->flags |
		(xmins_visible(req, address) ? VDB_STRIPE_FROZEN : 0);
	batch->stripe = vdb_stripe_open(batch->rel, address->address);
	if (!vdb_stripe_lb(batch->stripe, vdb_lb_index(batch->lb), &first_pos, present))
		return;
	if (extent->spilled)
		add_spilled(batch, address);
	if (!batch->overlay->any &&
		((batch->meta_flags & VDB_STRIPE_FROZEN) != 0 || takes_any(req, address)))
	{
		batch->plain = true;
		take_plain(batch, req, first_pos, present);
	}
	else
		take_checked(batch, req, extent, first_pos, present);
	batch->striped_rows += batch->nrows;
}

/* Read a block, for vdb_batch_read and vdb_batch_read_rows. */
static int
read_block(VdbBatch *batch, VdbLogicalBlock lb, ReadRequest *req)
{
	VdbExtent	extent;
	StripeAddress address = {0};

	CHECK_FOR_INTERRUPTS();
	if (req->snapshot != NULL && unlikely(vdb_snapshot_of_now(req->snapshot)))
		elog(ERROR, "a block of table \"%s\" cannot be read by a snapshot of type %d",
			 RelationGetRelationName(batch->rel), (int) req->snapshot->snapshot_type);
	batch_drop_stripe(batch);
	batch->nrows = 0;
	batch->lb = lb;
	batch->plain = false;
	if (!vdb_table_open(batch->rel, false, &batch->ref) || lb >= vdb_map_limit(&batch->ref))
		return 0;

	req->serializable = req->snapshot != NULL &&
		CheckForSerializableConflictOutNeeded(batch->rel, req->snapshot);

	vdb_lock_block(&batch->ref, lb, LW_SHARED);
	vdb_map_lookup(&batch->ref, lb, &extent);
	if (extent.kind == VDB_EXTENT_SEGMENT)
		read_segment(batch, req, &extent);
	else if (extent.kind == VDB_EXTENT_STRIPE)
		note_stripe(batch, &extent, &address);
	vdb_unlock_block(&batch->ref, lb);

	if (extent.kind == VDB_EXTENT_SEGMENT)
		finish_segment(batch, req);
	else if (extent.kind == VDB_EXTENT_STRIPE)
		finish_stripe(batch, req, &address, &extent);
	return batch->nrows;
}

int
vdb_batch_read(VdbBatch *batch, VdbLogicalBlock lb, Snapshot snapshot,
			   TransactionId oldest_xmin, bool keep_dead)
{
	ReadRequest req = {snapshot, oldest_xmin, keep_dead, false, NULL};

	return read_block(batch, lb, &req);
}

int
vdb_batch_read_rows(VdbBatch *batch, VdbLogicalBlock lb, Snapshot snapshot,
					TransactionId oldest_xmin, bool keep_dead, const VdbRowSet rows)
{
	ReadRequest req = {snapshot, oldest_xmin, keep_dead, false, rows};

	return read_block(batch, lb, &req);
}

void
vdb_batch_version(VdbBatch *batch, int i, VdbVersion *version)
{
	Assert(i >= 0 && i < batch->nrows);
	if (batch->plain)
		vdb_version_from_stripe(version, batch->stripe,
								batch->meta_flags,
								vdb_row_make(batch->lb, batch->index[i]), batch->pos[i]);
	else
		*version = batch->versions[i];
}

void
vdb_batch_slot(VdbBatch *batch, int i, TupleTableSlot *slot)
{
	Assert(i >= 0 && i < batch->nrows);
	if (batch->where == VDB_IN_POOL && unlikely(batch->versions[i].wide))
	{
		MemoryContext old = MemoryContextSwitchTo(slot->tts_mcxt);
		HeapTuple	whole;

		whole = vdb_rows_complete_wide(batch->rel, (char *) batch->tuples[i].t_data,
									   batch->versions[i].len);
		MemoryContextSwitchTo(old);
		whole->t_tableOid = RelationGetRelid(batch->rel);
		vdb_slot_store_tuple(slot, whole, vdb_row_make(batch->lb, batch->index[i]));
	}
	else if (batch->where == VDB_IN_POOL)
		vdb_slot_refer_to_tuple(slot, &batch->tuples[i],
								vdb_row_make(batch->lb, batch->index[i]));
	else
	{
		VdbVersion	version;

		vdb_batch_version(batch, i, &version);
		if (VDB_SLOT_IS(slot))
			vdb_slot_store_striped(slot, batch->rel, batch->stripe, batch->pos[i], &version);
		else
			vdb_slot_force_striped(slot, batch->rel, batch->stripe, batch->pos[i], &version);
	}
	slot->tts_tableOid = RelationGetRelid(batch->rel);
}
