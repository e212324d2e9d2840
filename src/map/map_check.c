/*-------------------------------------------------------------------------
 *
 * map_check.c
 *	  Verification of a table's map.  Reports damage instead of raising an error.
 *
 * The tree is walked without the map lock.  At each range node all block locks of its logical
 * blocks are held shared, taken in ascending order, so that nothing its entries refer to can be
 * freed meanwhile.  Nodes may be given back during the walk (map_range.c), so what is wrong with
 * one is reported only if the tree still leads to it afterwards.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "map/map_internal.h"

typedef struct MapCheck
{
	const VdbTableRef *ref;
	VdbMapReport report;
	void	   *arg;
	int64		nfindings;
	VdbBlock   *blocks;				/* single blocks, and blocks of segments, met in the range */
	int			nblocks;
	int			capacity;
} MapCheck;

static void finding(MapCheck *check, VdbLogicalBlock lb,
					const char *format,...) pg_attribute_printf(3, 4);

/* Report and count one finding. */
static void
finding(MapCheck *check, VdbLogicalBlock lb, const char *format,...)
{
	char		message[256];
	va_list		args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	check->nfindings++;
	check->report(lb, message, check->arg);
}

/* Check that a number is that of a block in the pool.  Reports if not. */
static bool
check_block_number(MapCheck *check, VdbLogicalBlock lb, VdbBlock block, const char *what)
{
	if (block != VDB_BLOCK_NONE && block < vdb_pool_total_blocks(check->ref->pool))
		return true;
	finding(check, lb, _("%s is in pool block %u, which does not exist"), what, block);
	return false;
}

/* Note that the range uses these blocks; check_doubles compares them later. */
static void
note_blocks(MapCheck *check, VdbBlock first, int n)
{
	if (check->nblocks + n > check->capacity)
	{
		check->capacity = Max(1024, check->capacity * 2);
		check->blocks = check->blocks == NULL ?
			palloc(check->capacity * sizeof(VdbBlock)) :
			repalloc(check->blocks, check->capacity * sizeof(VdbBlock));
	}
	for (int i = 0; i < n; i++)
		check->blocks[check->nblocks++] = first + i;
}

static int
compare_block_numbers(const void *a, const void *b)
{
	VdbBlock	x = *(const VdbBlock *) a;
	VdbBlock	y = *(const VdbBlock *) b;

	return x < y ? -1 : x > y ? 1 : 0;
}

/* Report blocks that were noted twice, and forget all. */
static void
check_doubles(MapCheck *check, VdbLogicalBlock lb)
{
	if (check->nblocks > 1)
		qsort(check->blocks, check->nblocks, sizeof(VdbBlock), compare_block_numbers);
	for (int i = 1; i < check->nblocks; i++)
		if (check->blocks[i] == check->blocks[i - 1])
			finding(check, lb, _("pool block %u is used twice"), check->blocks[i]);
	check->nblocks = 0;
}

/* Report a failed checksum. */
static void
failed(MapCheck *check, VdbLogicalBlock lb, const VdbMetaDamage *damage)
{
	finding(check, lb,
			_("%s of stripe %u, in pool block %u: wrong checksum, expected %08X, found %08X"),
			_(damage->what), damage->stripe_id, damage->block, damage->expected, damage->found);
}

/*
 * Check the checksums of a meta and its zone maps.  A damaged head can't say how many zone maps
 * follow.
 */
static void
check_checksums(MapCheck *check, VdbLogicalBlock lb, VdbBlock block, const VdbStripeMeta *meta)
{
	VdbPool    *pool = check->ref->pool;
	VdbMetaDamage damage;

	if (vdb_map_meta_damaged(block, meta, &damage))
	{
		failed(check, lb, &damage);
		return;
	}
	if (vdb_map_zones_damaged(pool, block, meta, VDB_ZONES_IN_META, &damage))
		failed(check, lb, &damage);
	for (uint32 i = 0; i < meta->ncontinuations; i++)
		if (meta->continuations[i] < vdb_pool_total_blocks(pool) &&
			vdb_map_zones_damaged(pool, block, meta, i, &damage))
			failed(check, lb, &damage);
}

/* Check a stripe meta and its continuations. */
static void
check_meta(MapCheck *check, VdbLogicalBlock lb, VdbBlock block, bool pending)
{
	const VdbStripeMeta *meta;
	int			zones;

	if (!check_block_number(check, lb, block, _("stripe metadata")))
		return;
	meta = vdb_map_body(check->ref->pool, block);
	if (meta->magic != VDB_STRIPE_META_MAGIC || meta->version != VDB_META_VERSION ||
		meta->ncontinuations > VDB_META_CONTINUATIONS)
	{
		finding(check, lb, _("pool block %u is not stripe metadata"), block);
		return;
	}
	if (meta->table_slot != check->ref->slot || meta->table_generation != check->ref->generation)
		finding(check, lb, _("stripe metadata in pool block %u is of table slot %u, generation %u"),
				block, meta->table_slot, meta->table_generation);
	if (!pending && meta->range != vdb_lb_range(lb))
		finding(check, lb, _("stripe metadata in pool block %u is of range %u"), block,
				meta->range);
	zones = (int) meta->nchunks * meta->ncolumns;
	if (!pending && meta->ncontinuations != 0 &&
		meta->ncontinuations != (zones + VDB_ZONES_PER_BLOCK - 1) / VDB_ZONES_PER_BLOCK)
		finding(check, lb, _("stripe metadata in pool block %u has %u blocks for %d zone maps"),
				block, meta->ncontinuations, zones);
	if ((meta->flags & VDB_STRIPE_ZONES_INSIDE) != 0 &&
		(meta->ncontinuations != 0 || zones > (int) VDB_ZONES_INSIDE))
		finding(check, lb,
				_("stripe metadata in pool block %u has %u blocks and claims to have %d zone maps inside"),
				block, meta->ncontinuations, zones);
	note_blocks(check, block, 1);
	for (int i = 0; i < meta->ncontinuations; i++)
		if (check_block_number(check, lb, meta->continuations[i], _("zone map")))
			note_blocks(check, meta->continuations[i], 1);
	check_checksums(check, lb, block, meta);
}

/* Return whether an earlier entry has the same address, and report it if the two don't agree. */
static bool
check_shared_address(MapCheck *check, VdbLogicalBlock lb, const VdbMapEntry *entries, int i)
{
	for (int j = 0; j < i; j++)
	{
		if (entries[j].ref != entries[i].ref)
			continue;
		if (entries[j].kind != entries[i].kind || entries[j].first != entries[i].first)
			finding(check, lb, _("pool block %u is used twice"), entries[i].ref);
		return true;
	}
	return false;
}

/* Check one map entry of a range. */
static void
check_entry(MapCheck *check, VdbLogicalBlock lb, const VdbMapEntry *entries, int i)
{
	const VdbMapEntry *entry = &entries[i];

	switch (entry->kind)
	{
		case VDB_EXTENT_NONE:
		case VDB_EXTENT_REMOVED:
			if (entry->ref != VDB_BLOCK_NONE)
				finding(check, lb, _("map entry without rows refers to pool block %u"), entry->ref);
			break;
		case VDB_EXTENT_SEGMENT:
			if (entry->first > i || i - entry->first >= VDB_SEGMENT_BLOCKS)
				finding(check, lb,
						_("map entry says that its segment begins at logical block %u of the range"),
						entry->first);
			if (entry->ref % VDB_SEGMENT_BLOCKS != 0)
				finding(check, lb, _("no segment can be in pool block %u"), entry->ref);
			else if (!check_shared_address(check, lb, entries, i) &&
					 check_block_number(check, lb, entry->ref, _("segment")))
				note_blocks(check, entry->ref, VDB_SEGMENT_BLOCKS);
			break;
		case VDB_EXTENT_STRIPE:
			if (!check_shared_address(check, lb, entries, i))
				check_meta(check, lb, entry->ref, false);
			break;
		default:
			finding(check, lb, _("map entry has the unknown kind %u"), entry->kind);
			break;
	}
	if (entry->kind != VDB_EXTENT_NONE && lb >= vdb_map_limit(check->ref))
		finding(check, lb, _("logical block has rows but was never handed out"));
	if (entry->overlay_block != VDB_BLOCK_NONE)
	{
		if (entry->kind != VDB_EXTENT_STRIPE)
			finding(check, lb, _("logical block has a block delta but no stripe"));
		(void) check_block_number(check, lb, entry->overlay_block, _("block delta"));
	}
	if ((entry->flags & VDB_ENTRY_SPILLED) && entry->kind != VDB_EXTENT_STRIPE)
		finding(check, lb, _("logical block has spilled delta records but no stripe"));
}

/*
 * Return whether the tree leads to this block as its node of this height.  A height of -1 means the
 * root.
 */
static bool
still_linked(const MapCheck *check, VdbBlock block, int height, uint64 first_range)
{
	if (height < 0)
		return vdb_map_read_pointer(&vdb_map_table_entry(check->ref)->root) == block;
	return vdb_map_node_block(check->ref, (uint32) first_range, (uint32) height) == block;
}

/* Check the entries of a range's node, under the block locks of its logical blocks. */
static void
check_entries(MapCheck *check, VdbBlock block, uint32 range)
{
	VdbMapEntry *entries = palloc(VDB_RANGE_LBS * sizeof(VdbMapEntry));
	VdbLogicalBlock first = range * VDB_RANGE_LBS;
	VdbBlock	node;

	for (uint32 no = 0; no < VDB_BLOCK_LOCKS; no++)
		LWLockAcquire(vdb_block_lock(no), LW_SHARED);
	if (vdb_map_read_entries(check->ref, range, 0, VDB_RANGE_LBS, entries, &node))
	{
		note_blocks(check, block, 1);
		for (int i = 0; i < VDB_RANGE_LBS; i++)
			check_entry(check, first + i, entries, i);
		check_doubles(check, first);
	}
	for (uint32 no = VDB_BLOCK_LOCKS; no-- > 0;)
		LWLockRelease(vdb_block_lock(no));
	pfree(entries);
}

/* Check the range node in a block. */
static void
check_range(MapCheck *check, VdbBlock block, int height, uint32 range)
{
	const VdbRangeNode *node = vdb_map_body(check->ref->pool, block);

	if (vdb_map_head_fits(check->ref, node, VDB_RANGE_MAGIC, VDB_MAP_VERSION) &&
		node->range == range)
		check_entries(check, block, range);
	else if (still_linked(check, block, height, range))
		finding(check, range * VDB_RANGE_LBS, _("pool block %u is not the map node of range %u"),
				block, range);
}

/* Check a node and everything below it.  A height of -1 means the root, of any height. */
static void
check_node(MapCheck *check, VdbBlock block, int height, uint64 first_range)
{
	VdbLogicalBlock lb = (VdbLogicalBlock) Min(first_range * VDB_RANGE_LBS,
											   (uint64) VDB_MAX_LOGICAL_BLOCK);
	const VdbInnerNode *node;

	CHECK_FOR_INTERRUPTS();
	if (block == VDB_BLOCK_NONE || block >= vdb_pool_total_blocks(check->ref->pool))
	{
		if (still_linked(check, block, height, first_range))
			(void) check_block_number(check, lb, block, _("map node"));
		return;
	}
	if (height == 0 || (height < 0 && vdb_map_is_range(check->ref->pool, block)))
	{
		check_range(check, block, height, (uint32) first_range);
		return;
	}
	node = vdb_map_body(check->ref->pool, block);
	if (!vdb_map_head_fits(check->ref, node, VDB_INNER_MAGIC, VDB_MAP_VERSION) ||
		node->height < 1 || node->height > VDB_MAP_MAX_HEIGHT ||
		(height > 0 && node->height != height))
	{
		if (still_linked(check, block, height, first_range))
			finding(check, lb, _("pool block %u is not an inner map node of the table"), block);
		return;
	}
	height = node->height;
	for (int i = 0; i < VDB_INNER_FANOUT; i++)
	{
		VdbBlock	child = vdb_map_read_pointer(&node->children[i]);

		if (child != VDB_BLOCK_NONE)
			check_node(check, child, height - 1, first_range + i * vdb_map_capacity(height - 1));
	}
}

/* Check the metas that no map entry refers to.  The map lock is held shared. */
static void
check_pending(MapCheck *check)
{
	VdbBlock	block = vdb_map_table_entry(check->ref)->pending_meta;

	for (uint32 n = 0; block != VDB_BLOCK_NONE; n++)
	{
		const VdbStripeMeta *meta;

		if (!check_block_number(check, VDB_MAX_LOGICAL_BLOCK, block, _("pending stripe metadata")))
			break;
		meta = vdb_map_body(check->ref->pool, block);
		if (meta->magic != VDB_STRIPE_META_MAGIC || n > vdb_pool_total_blocks(check->ref->pool))
		{
			finding(check, VDB_MAX_LOGICAL_BLOCK,
					_("the list of pending stripe metadata is damaged at pool block %u"), block);
			break;
		}
		check_meta(check, VDB_MAX_LOGICAL_BLOCK, block, true);
		block = meta->pending_next;
	}
	check_doubles(check, VDB_MAX_LOGICAL_BLOCK);
}

/* Check the list of free page runs.  The map lock is held shared. */
static void
check_free_pages(MapCheck *check)
{
	VdbBlock	block = vdb_map_table_entry(check->ref)->free_pages;
	const VdbFreePages *pages;

	if (block == VDB_BLOCK_NONE ||
		!check_block_number(check, VDB_MAX_LOGICAL_BLOCK, block, _("list of free pages")))
		return;
	note_blocks(check, block, 1);
	pages = vdb_map_body(check->ref->pool, block);
	if (!vdb_map_head_fits(check->ref, pages, VDB_FREE_PAGES_MAGIC, VDB_FREE_PAGES_VERSION) ||
		pages->nruns > VDB_FREE_RUNS)
	{
		finding(check, VDB_MAX_LOGICAL_BLOCK, _("pool block %u is not a list of free pages"),
				block);
		return;
	}
	for (int i = 0; i < pages->nruns; i++)
		if (pages->runs[i].first == 0 ||
			(i > 0 && pages->runs[i].first < pages->runs[i - 1].first + pages->runs[i - 1].npages))
			finding(check, VDB_MAX_LOGICAL_BLOCK,
					_("the list of free pages is damaged at page %u"), pages->runs[i].first);
}

/* See map.h. */
int64
vdb_map_check(const VdbTableRef *ref, VdbMapReport report, void *arg)
{
	MapCheck	check = {ref, report, arg, 0, NULL, 0, 0};
	VdbBlock	root;

	vdb_map_check_ref(ref);
	if (vdb_map_table_entry(ref)->flags & VDB_TABLE_EMPTYING)
		return 0;
	root = vdb_map_read_pointer(&vdb_map_table_entry(ref)->root);
	if (root != VDB_BLOCK_NONE)
		check_node(&check, root, -1, 0);
	LWLockAcquire(vdb_map_lock(ref->slot), LW_SHARED);
	check_free_pages(&check);
	check_pending(&check);
	LWLockRelease(vdb_map_lock(ref->slot));
	if (check.blocks != NULL)
		pfree(check.blocks);
	return check.nfindings;
}
