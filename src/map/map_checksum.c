/*-------------------------------------------------------------------------
 *
 * map_checksum.c
 *	  Checksums of stripe metas and of their zone maps.
 *
 * A meta has four checksums: of its head, without what changes later; of its xmins, ignored once
 * one of them is Frozen; of the address of its spill; and of the zone maps inside.  A block of
 * further zone maps has its own.  Each is computed when the bytes are stored, and stored in the
 * same flushed change, so no crash leaves one without the other.
 *
 * A wrong zone map would lose rows silently, so a scan checks each block of them before its first
 * use.  Blocks are checked under the block lock, where nothing may be raised.  So the reader notes
 * the damage and returns no zone map, as if the stripe had none.  That costs time but leaves the
 * result correct, so its caller warns after unlocking.  A damaged head makes the stripe unusable,
 * so its caller raises an error after unlocking.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "utils/rel.h"

#include "base/vdb_crc.h"
#include "map/map_internal.h"

/* Flags that change after the meta is stored. */
#define CHANGING_FLAGS	(VDB_STRIPE_FROZEN | VDB_STRIPE_IN_DOUBT)

#define HEAD_BYTES		offsetof(VdbStripeMeta, crc)

StaticAssertDecl(offsetof(VdbStripeMeta, epoch) == offsetof(VdbStripeMeta, ncontinuations) + 10 &&
				 offsetof(VdbStripeMeta, chunk_rows) == offsetof(VdbStripeMeta, pending_next) + 8,
				 "what changes of a head is two pieces, and flags");

/* Return the checksum of a meta's head. */
static uint32
head_crc(const VdbStripeMeta *meta)
{
	char		head[HEAD_BYTES];
	uint16		flags = meta->flags & ~CHANGING_FLAGS;

	memcpy(head, meta, HEAD_BYTES);
	memcpy(head + offsetof(VdbStripeMeta, flags), &flags, sizeof(flags));
	memset(head + offsetof(VdbStripeMeta, ncontinuations), 0, 10);
	memset(head + offsetof(VdbStripeMeta, pending_next), 0, 8);
	return vdb_crc32c(head, HEAD_BYTES);
}

/* Return the checksum of a meta's xmins. */
static uint32
xmins_crc(const VdbStripeMeta *meta)
{
	uint32		words[3] = {meta->stripe_id, meta->min_xmin, meta->max_xmin};

	return vdb_crc32c(words, sizeof(words));
}

/* See map_internal.h. */
uint32
vdb_map_spill_crc(uint32 stripe_id, const VdbSpillAddress *spill)
{
	uint32		words[6] = {stripe_id, spill->first_page, spill->npages, spill->id,
	spill->newest_xmax, spill->nrows};

	return vdb_crc32c(words, sizeof(words));
}

/* See map_internal.h. */
uint32
vdb_map_zones_crc(uint32 stripe_id, uint32 number, const VdbZone *zones, int nzones)
{
	uint32		words[2] = {stripe_id, number};
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, words, sizeof(words));
	COMP_CRC32C(crc, zones, (size_t) nzones * sizeof(VdbZone));
	FIN_CRC32C(crc);
	return crc;
}

/* See map_internal.h. */
void
vdb_map_seal_meta(VdbStripeMeta *meta, const VdbZone *zones, int inside)
{
	meta->crc = head_crc(meta);
	meta->xmins_crc = xmins_crc(meta);
	meta->zones_crc = vdb_map_zones_crc(meta->stripe_id, VDB_ZONES_IN_META, zones, inside);
	meta->pad = 0;
	meta->spill.crc = vdb_map_spill_crc(meta->stripe_id, &meta->spill);
}

/* Compare two checksums.  If they differ, fill *damage and return true. */
static bool
differ(uint32 expected, uint32 found, VdbBlock block, const char *what, VdbMetaDamage *damage)
{
	if (likely(expected == found))
		return false;
	damage->what = what;
	damage->block = block;
	damage->expected = expected;
	damage->found = found;
	return true;
}

/* See map.h. */
bool
vdb_map_meta_damaged(VdbBlock meta_block, const VdbStripeMeta *meta, VdbMetaDamage *damage)
{
	uint32		found = xmins_crc(meta);

	damage->stripe_id = meta->stripe_id;
	if (differ(meta->crc, head_crc(meta), meta_block, gettext_noop("metadata"), damage))
		return true;
	if (differ(meta->spill.crc, vdb_map_spill_crc(meta->stripe_id, &meta->spill), meta_block,
			   gettext_noop("spill address"), damage))
		return true;
	/* Read after 'found' was computed from them: freezing may be storing them just now. */
	pg_read_barrier();
	if (meta->min_xmin == FrozenTransactionId || meta->max_xmin == FrozenTransactionId)
		return false;
	return differ(meta->xmins_crc, found, meta_block, gettext_noop("transaction ids"), damage);
}

/* See map.h. */
bool
vdb_map_zones_damaged(VdbPool *pool, VdbBlock meta_block, const VdbStripeMeta *meta, uint32 number,
					  VdbMetaDamage *damage)
{
	int64		nzones = (int64) meta->nchunks * meta->ncolumns;
	const VdbZoneBlock *block;

	damage->stripe_id = meta->stripe_id;
	if (number == VDB_ZONES_IN_META)
	{
		nzones = (meta->flags & VDB_STRIPE_ZONES_INSIDE) != 0 ? Min(nzones,
																	(int64) VDB_ZONES_INSIDE) : 0;
		return differ(meta->zones_crc,
					  vdb_map_zones_crc(meta->stripe_id, number,
										(const VdbZone *) meta->continuations, (int) nzones),
					  meta_block, gettext_noop("zone maps"), damage);
	}
	Assert(number < meta->ncontinuations);
	nzones = Min(nzones - (int64) number * VDB_ZONES_PER_BLOCK, VDB_ZONES_PER_BLOCK);
	block = vdb_map_body(pool, meta->continuations[number]);
	return differ(block->crc,
				  vdb_map_zones_crc(meta->stripe_id, number, block->zones, (int) Max(nzones, 0)),
				  meta->continuations[number], gettext_noop("zone maps"), damage);
}

/* See map.h. */
void
vdb_map_report_damage(Relation rel, int elevel, const VdbMetaDamage *damage)
{
	ereport(elevel,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("%s of stripe %u of table \"%s\", in pool block %u: wrong checksum",
					_(damage->what), damage->stripe_id, RelationGetRelationName(rel),
					damage->block),
			 errdetail("Expected %08X, found %08X.", damage->expected, damage->found),
			 elevel < ERROR ?
			 errhint("The stripe is read without them; VACUUM FULL makes new ones.") : 0));
}

/* ---- zone maps that are checked before use ---- */

/* See map.h. */
void
vdb_zone_reader_init(VdbZoneReader *reader, VdbPool *pool, VdbBlock meta_block,
					 const VdbStripeMeta *meta)
{
	reader->pool = pool;
	reader->meta_block = meta_block;
	reader->meta = meta;
	reader->damaged = false;
	memset(reader->checked, 0, sizeof(reader->checked));
}

/* See map.h. */
const VdbZone *
vdb_zone_read(VdbZoneReader *reader, int chunk, int column)
{
	const VdbStripeMeta *meta = reader->meta;
	const VdbZone *zone;
	uint32		number = 0;
	uint64		bit;

	if (reader->damaged)
		return NULL;
	zone = vdb_map_zone(reader->pool, meta, chunk, column);
	if (zone == NULL)
		return NULL;
	if ((meta->flags & VDB_STRIPE_ZONES_INSIDE) == 0)
		number = ((uint32) chunk * meta->ncolumns + column) / VDB_ZONES_PER_BLOCK;
	bit = UINT64CONST(1) << (number % 64);
	if (reader->checked[number / 64] & bit)
		return zone;
	reader->checked[number / 64] |= bit;
	if ((meta->flags & VDB_STRIPE_ZONES_INSIDE) != 0)
		number = VDB_ZONES_IN_META;
	reader->damaged = vdb_map_zones_damaged(reader->pool, reader->meta_block, meta, number,
											&reader->damage);
	return reader->damaged ? NULL : zone;
}
