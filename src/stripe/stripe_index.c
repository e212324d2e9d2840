/*-------------------------------------------------------------------------
 *
 * stripe_index.c
 *	  Indexes of stripes in the shared cache.
 *
 * An index was checked when it was read from flash.  Then it is put into the shared cache as it is
 * in memory, and other backends copy it from there, which needs neither pages nor checks.  Only
 * offsets are shared: each process finds the tables by the layout.
 *
 * The key has the time when the stripe was written, which is known without reading the stripe.  So
 * nothing has to be removed when a stripe is freed, its table dropped or its file number used
 * again: the entry can't be found any more.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/rel.h"

#include "stripe/stripe_private.h"

/* Make the key of an index in the shared cache. */
static void
index_key(Relation rel, VdbStripeAddress address, VdbSharedKey *key)
{
	key->rnode = rel->rd_locator;
	key->first_page = address.first_page;
	key->stripe_id = address.stripe_id;
	key->index_crc = (uint32) address.written_at;
	key->vector = VDB_SHARED_INDEX;
	key->vector_crc = (uint32) ((uint64) address.written_at >> 32);
	key->frame = 0;
}

/* Copy an index from the shared cache.  Returns false if it isn't there. */
static bool
index_get(const VdbSharedKey *key, MemoryContext context, VdbStripeIndex *index)
{
	const char *item = vdb_shared_begin(key);
	Size		size;

	if (item == NULL)
		return false;
	size = vdb_index_size((const VdbStripeHeader *) item);
	index->bytes = MemoryContextAllocExtended(context, size,
											  MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
	if (index->bytes != NULL)
		memcpy(index->bytes, item, size);
	vdb_shared_end(key);
	return index->bytes != NULL;
}

/* See stripe_private.h. */
void
vdb_index_load(Relation rel, VdbStripeAddress address, MemoryContext context,
			   VdbStripeIndex *index)
{
	VdbSharedKey key;

	if (!vdb_may_share(rel) || address.written_at == 0)
	{
		vdb_index_read(rel, address, context, index);
		return;
	}
	index_key(rel, address, &key);
	if (index_get(&key, context, index))
	{
		index->address = address;
		vdb_index_set_tables(index);
		return;
	}
	vdb_index_read(rel, address, context, index);
	vdb_shared_put(&key, index->bytes, vdb_index_size(index->header), NULL, 0);
}
