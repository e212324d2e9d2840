/*-------------------------------------------------------------------------
 *
 * map_format.h
 *	  The map's bytes in the pool: table directory, range nodes, stripe metas.
 *
 * All structures begin at byte 24 of their block (the first 24 stay zero).
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_MAP_FORMAT_H
#define VDB_MAP_FORMAT_H

#include "scm/scm.h"

#define VDB_MAP_VERSION			2
#define VDB_DIRECTORY_VERSION	4	/* 3: entries count the nodes freed; 4: hashed */
#define VDB_DIRECTORY_MAGIC		0x56444952	/* "VDIR" */
#define VDB_DIRECTORY_HEAD_MAGIC 0x56444948 /* "VDIH" */
#define VDB_RANGE_MAGIC			0x5652414E	/* "VRAN" */
#define VDB_INNER_MAGIC			0x56494E4E	/* "VINN" */
#define VDB_STRIPE_META_MAGIC	0x56534D54	/* "VSMT" */

/* ---- table directory ---- */

#define VDB_TABLE_USED			0x01
#define VDB_TABLE_UNLOGGED		0x02
#define VDB_TABLE_TEMP			0x04
#define VDB_TABLE_EMPTYING		0x08	/* reset or drop has begun: only freeing remains */
#define VDB_TABLE_ALIAS			0x10	/* second key of another entry: the one in slot 'height',
										 * with generation 'next_stripe' */
#define VDB_TABLE_HAD_ALIAS		0x20	/* other entries may be aliases of it */

/*
 * Overlay slabs of a table hang on lists in its entry, so that a drop finds them without knowing
 * what they contain.  There is one list for each size class, of slabs that may have room, and
 * VDB_TABLE_LIST_FULL.
 */
#define VDB_TABLE_LISTS			5
#define VDB_TABLE_LIST_FULL		4

/* Entry of a table in the directory. */
typedef struct VdbTableEntry
{
	uint32		flags;				/* VDB_TABLE_* */
	uint32		generation;			/* changes whenever the slot is reused */
	Oid			spc;				/* 0: the database's default tablespace */
	Oid			relnode;			/* relfilenumber of the storage */
	int32		backend;			/* temporary: owner's backend id; else -1 */
	uint32		valid_epoch;		/* unlogged: epoch in which its rows are valid */
	VdbLogicalBlock next_lb;		/* first logical block not handed out */
	VdbBlock	root;				/* root of the radix tree, or VDB_BLOCK_NONE */
	uint32		height;				/* 0: the root is a range node */
	uint32		next_stripe;		/* stripe ids are never reused */
	uint64		dead_rows;			/* removed since indexes were last cleaned */
	uint64		rows_migrated;		/* rows moved to stripes, ever */
	uint64		stripe_bytes;		/* bytes of stripes written, ever */
	uint64		row_bytes;			/* bytes of rows migrated, ever */
	int64		last_migration;		/* TimestampTz */
	uint64		striped_rows;		/* rows that stripes hold now */
	uint64		nstripes_in_use;	/* stripes in use now */
	VdbBlock	lists[VDB_TABLE_LISTS]; /* first blocks of the lists of slabs */
	VdbBlock	pending_meta;		/* first stripe meta that no map entry refers to */
	VdbBlock	free_pages;			/* block of the free page runs, or none */
	uint32		moved_at;			/* VDB_MAP_CLOCK when everything that could be moved was last
									 * moved, or when the entry was made */
	uint64		creator;			/* at 128: full id of the top transaction that made the
									 * storage, until it is known to have committed; then 0, as for
									 * storage older than its entry */
	uint32		nodes_freed;		/* changes that have freed nodes of the tree; stored last in
									 * each */
	uint32		next_entry;			/* slot, plus 1, of the next entry of its bucket, or of the
									 * next entry that was given back; 0: none.  The directory lock
									 * guards it. */
} VdbTableEntry;

/* Milliseconds modulo 2^32; only differences are meaningful. */
#define VDB_MAP_CLOCK(timestamp) ((uint32) ((timestamp) / 1000))

StaticAssertDecl(offsetof(VdbTableEntry, creator) == 128, "table entry's creator is at 128");
StaticAssertDecl(offsetof(VdbTableEntry, nodes_freed) == 136, "count of freed nodes is at 136");
StaticAssertDecl(offsetof(VdbTableEntry, next_entry) == 140, "next entry is at 140");
StaticAssertDecl(sizeof(VdbTableEntry) == 144, "table entry is 144 bytes on media");

#define VDB_DIRECTORY_ENTRIES	55
#define VDB_DIRECTORY_BUCKETS	58

/*
 * Block of the directory: entries, and buckets of the hash by which they are found.  Entries are
 * numbered over all blocks, and so are buckets: block n has those from n * VDB_DIRECTORY_ENTRIES
 * and from n * VDB_DIRECTORY_BUCKETS on.
 */
typedef struct VdbDirectoryBlock
{
	uint32		magic;				/* VDB_DIRECTORY_MAGIC */
	uint16		version;			/* VDB_DIRECTORY_VERSION */
	uint16		pad;				/* zero */
	uint32		number;				/* of the block, from 0 on */
	uint32		pad2;				/* zero */
	VdbTableEntry entries[VDB_DIRECTORY_ENTRIES];
	uint32		buckets[VDB_DIRECTORY_BUCKETS]; /* slot, plus 1, of the first entry; 0: none */
} VdbDirectoryBlock;

StaticAssertDecl(offsetof(VdbDirectoryBlock, entries) == 16,
				 "entries of a directory block are at 16");
StaticAssertDecl(offsetof(VdbDirectoryBlock, buckets) == 7936,
				 "buckets of a directory block are at 7936");
StaticAssertDecl(sizeof(VdbDirectoryBlock) == VDB_POOL_BLOCK_PAYLOAD, "directory block fits");
StaticAssertDecl(VDB_DIRECTORY_BUCKETS >= VDB_DIRECTORY_ENTRIES, "a bucket for each entry");

#define VDB_DIRECTORY_FANOUT	2034

/*
 * Head of the directory, to which the pool's header refers: where the blocks are.  Further heads
 * are chained to the first, each with the addresses of the next VDB_DIRECTORY_FANOUT blocks.  The
 * fields from nslots to changed count in the first head only, and are zero in the others.
 *
 * The bucket of a key, of 'nbuckets' that are in use: let h be the upper 32 bits of
 * mix(mix(relnode + 2^32 * spc) ^ backend), where mix(x) is x * 0x9E3779B97F4A7C15 modulo 2^64 with
 * its upper half xored into its lower one, and backend is extended to 64 bits as an unsigned 32-bit
 * number.  Let m be the smallest power of two that is not less than nbuckets.  The bucket is
 * h mod m, or, if there is no such bucket, h mod (m / 2).
 */
typedef struct VdbDirectoryHead
{
	uint32		magic;				/* VDB_DIRECTORY_HEAD_MAGIC */
	uint16		version;			/* VDB_DIRECTORY_VERSION */
	uint16		pad;				/* zero */
	VdbBlock	next;				/* next head, or VDB_BLOCK_NONE */
	uint32		nslots;				/* slots that were ever used */
	uint32		free_entry;			/* slot, plus 1, of the entry given back last; 0: none */
	uint32		nbuckets;			/* buckets in use, at least 1 */
	uint32		changing;			/* changes of the hash begun */
	uint32		changed;			/* changes of the hash ended */
	VdbBlock	blocks[VDB_DIRECTORY_FANOUT];	/* addresses by number, or VDB_BLOCK_NONE */
} VdbDirectoryHead;

StaticAssertDecl(offsetof(VdbDirectoryHead, blocks) == 32,
				 "addresses in the head of the directory are at 32");
StaticAssertDecl(sizeof(VdbDirectoryHead) == VDB_POOL_BLOCK_PAYLOAD, "head of the directory fits");

/* ---- heads ---- */

/*
 * Common beginning of tree nodes, lists of free pages and blocks on a table's lists.  It names the
 * table and generation that the structure belongs to.
 */
typedef struct VdbMapHead
{
	uint32		magic;
	uint16		version;
	uint16		own;				/* free for the structure's own use */
	uint32		table_slot;
	uint32		table_generation;
} VdbMapHead;

StaticAssertDecl(sizeof(VdbMapHead) == 16, "head is 16 bytes on media");

#define VDB_ASSERT_MAP_HEAD(type) \
	StaticAssertDecl(offsetof(type, magic) == offsetof(VdbMapHead, magic) && \
					 offsetof(type, version) == offsetof(VdbMapHead, version) && \
					 offsetof(type, table_slot) == offsetof(VdbMapHead, table_slot) && \
					 offsetof(type, table_generation) == offsetof(VdbMapHead, table_generation), \
					 #type " begins as VdbMapHead")

/* ---- blocks on a table's lists ---- */

/* Head of every block on a list of the table entry; the rest belongs to the owner of the list. */
typedef struct VdbListedBlock
{
	uint32		magic;				/* set by the owner */
	uint16		version;
	uint8		size_class;
	uint8		nunits;				/* number of block deltas that it holds */
	uint32		table_slot;
	uint32		table_generation;
	VdbBlock	next;
	VdbBlock	prev;
	uint32		list;				/* which of the table's lists it is on */
	uint32		pad[3];
} VdbListedBlock;

VDB_ASSERT_MAP_HEAD(VdbListedBlock);
StaticAssertDecl(sizeof(VdbListedBlock) == 40, "list head is 40 bytes on media");

/* ---- radix tree ---- */

#define VDB_INNER_FANOUT		1024

/* Inner node of the radix tree. */
typedef struct VdbInnerNode
{
	uint32		magic;
	uint16		version;
	uint16		height;				/* 1: its children are range nodes */
	uint32		table_slot;
	uint32		table_generation;
	VdbBlock	children[VDB_INNER_FANOUT];
} VdbInnerNode;

VDB_ASSERT_MAP_HEAD(VdbInnerNode);
StaticAssertDecl(sizeof(VdbInnerNode) == 16 + 4096, "inner node is 4112 bytes on media");

#define VDB_EXTENT_NONE			0	/* nothing stored; handed out or not */
#define VDB_EXTENT_SEGMENT		1
#define VDB_EXTENT_STRIPE		2
#define VDB_EXTENT_REMOVED			3	/* all of its rows are removed */

#define VDB_ENTRY_SPILLED		0x0001	/* stripe: its spill has delta records of this LB */

/* Where one logical block is. */
typedef struct VdbMapEntry
{
	uint8		kind;				/* VDB_EXTENT_* */
	uint8		first;				/* segment: index in the range of its first LB */
	uint16		flags;				/* VDB_ENTRY_*; from version 2 on */
	VdbBlock	ref;				/* first block of the segment, or stripe meta block */
	VdbBlock	overlay_block;		/* block delta of this LB, or none */
	uint16		overlay_offset;
	uint16		overlay_epoch;		/* low bits of the epoch that stored the address */
} VdbMapEntry;

StaticAssertDecl(sizeof(VdbMapEntry) == 16, "map entry is 16 bytes on media");

/* Leaf of the radix tree: the entries of one range. */
typedef struct VdbRangeNode
{
	uint32		magic;
	uint16		version;
	uint16		pad;
	uint32		table_slot;
	uint32		table_generation;
	uint32		range;				/* number of the range in its table */
	uint32		pad2[3];
	VdbMapEntry entries[VDB_RANGE_LBS];
} VdbRangeNode;

VDB_ASSERT_MAP_HEAD(VdbRangeNode);
StaticAssertDecl(sizeof(VdbRangeNode) == 32 + 4096, "range node is 4128 bytes on media");

/* ---- stripe meta ---- */

#define VDB_ZONE_BYTES			24
#define VDB_ZONE_HAS_MINMAX		0x01	/* min and max are there and cover all non-null rows */
#define VDB_ZONE_HAS_NULLS_ONLY 0x02	/* every row is null */
#define VDB_ZONE_BY_VALUE		0x04	/* min and max hold a Datum (8 bytes) */

/*
 * Zone map of one column in one chunk.  For by-value types min and max hold the Datum.  For others
 * they hold the bytes of the value as stored on disk: a varlena has its header, a short one where
 * possible.  They have room for 24 bytes; a longer minimum or maximum leaves HAS_MINMAX unset.  A
 * zone map covers every row of the chunk, visible or not.
 */
typedef struct VdbZone
{
	uint32		null_count;
	uint8		flags;				/* VDB_ZONE_* */
	uint8		min_len;
	uint8		max_len;
	uint8		pad;
	Oid			cmp_proc;			/* comparison function and collation that min and max were
									 * found with; */
	Oid			collation;			/* a reader that compares otherwise must not use them */
	char		min[VDB_ZONE_BYTES];
	char		max[VDB_ZONE_BYTES];
} VdbZone;

StaticAssertDecl(sizeof(VdbZone) == 64, "zone map is 64 bytes on media");

#define VDB_STRIPE_FROZEN		0x01	/* all xmins are committed and older than any snapshot */
#define VDB_STRIPE_IN_DOUBT	0x02	/* xmins may be in progress or aborted: check clog */
#define VDB_STRIPE_ZONES_INSIDE	0x04	/* the zone maps are few, and stand where 'continuations'
										 * would */
#define VDB_META_CONTINUATIONS	1900

/*
 * Version of a meta.  Version 3 has checksums; from version 4 on, written_at is the stripe's;
 * version 5 has the address of a spill.
 */
#define VDB_META_VERSION		5

/*
 * Where a stripe's spill is: a run of pages in the main fork, with delta records of the stripe's
 * rows (overlay/overlay_format.h).  All zero if there is none.
 */
typedef struct VdbSpillAddress
{
	BlockNumber first_page;
	uint32		npages;
	/* from the same sequence as stripe ids, and stands in the run */
	uint32		id;
	TransactionId newest_xmax;		/* of its delta records */
	uint32		nrows;				/* rows that it has delta records of */
	uint32		crc;				/* CRC-32C of the stripe's id and the fields above */
} VdbSpillAddress;

StaticAssertDecl(sizeof(VdbSpillAddress) == 24, "spill address is 24 bytes on media");

/*
 * Meta: what the pool knows of a stripe.
 *
 * Zone maps follow in chunk-major order: zone number = chunk * ncolumns + column.  Up to
 * VDB_ZONES_INSIDE stand in the meta block itself, from byte 192 of the meta on.  If there are
 * more, they stand in continuation blocks (VdbZoneBlock), VDB_ZONES_PER_BLOCK in each.
 *
 * The checksums are CRC-32Cs.  'crc' covers bytes 0 to 151, in which flags FROZEN and IN DOUBT,
 * ncontinuations, min_xmin, max_xmin, pending_next and pending_epoch count as zero, since they
 * change.  'xmins_crc' covers stripe_id, min_xmin and max_xmin as first stored; it is ignored once
 * either xmin is Frozen.  'zones_crc' covers stripe_id, VDB_ZONES_IN_META, then the zone maps
 * inside.
 */
typedef struct VdbStripeMeta
{
	uint32		magic;
	uint16		version;
	uint16		flags;				/* VDB_STRIPE_* */
	uint32		stripe_id;
	uint32		range;
	BlockNumber first_page;			/* in the main fork */
	uint32		npages;
	uint32		nrows;				/* rows stored, whatever the overlay says */
	uint16		nchunks;
	uint16		ncolumns;			/* natts when the stripe was written */
	uint16		nlbs;				/* logical blocks that it covers */
	uint16		ncontinuations;
	TransactionId min_xmin;			/* FrozenTransactionId if frozen */
	TransactionId max_xmin;
	uint32		epoch;				/* epoch that wrote it */
	uint64		row_bytes;			/* bytes of its rows before encoding */
	uint64		stripe_bytes;
	int64		written_at;			/* TimestampTz, as in the stripe's header: identifies it */
	uint32		table_slot;
	uint32		table_generation;
	VdbBlock	pending_next;		/* while no map entry refers to it: next meta of the pending
									 * list */
	uint32		pending_epoch;		/* epoch that put it on that list */
	/* rows of the first 16 chunks; the stripe's index has them all */
	uint32		chunk_rows[16];
	uint32		crc;				/* at 152 */
	uint32		xmins_crc;			/* at 156 */
	uint32		zones_crc;			/* at 160 */
	uint32		pad;				/* zero */
	VdbSpillAddress spill;			/* at 168; changes */
	VdbBlock	continuations[VDB_META_CONTINUATIONS];
} VdbStripeMeta;

StaticAssertDecl(offsetof(VdbStripeMeta, crc) == 152, "stripe meta checksums are at 152");
StaticAssertDecl(offsetof(VdbStripeMeta, spill) == 168, "the spill's address is at 168");
StaticAssertDecl(offsetof(VdbStripeMeta, continuations) == 192,
				 "stripe meta head is 192 bytes on media");
StaticAssertDecl(sizeof(VdbStripeMeta) <= VDB_POOL_BLOCK_PAYLOAD, "stripe meta fits a block");

/* ---- free pages of a table's main fork ---- */

#define VDB_FREE_PAGES_MAGIC	0x56465047	/* "VFPG" */
#define VDB_FREE_PAGES_VERSION	2
#define VDB_FREE_RUNS			500

/*
 * A run of pages that nothing refers to.  'freed' is the next full transaction id as of the moment
 * when that became so.  The run may be overwritten once no snapshot can be older.  A candidate was
 * found unreferenced by VACUUM, but may belong to a row that was just being stored: it counts when
 * the next VACUUM finds it again.
 */
typedef struct VdbFreeRun
{
	BlockNumber first;
	uint32		npages;
	uint64		freed;				/* full xid, perhaps with VDB_FREE_RUN_CANDIDATE */
} VdbFreeRun;

/* Return a run of pages that were freed at a full xid, or are not free yet (0). */
static inline VdbFreeRun
vdb_free_run(BlockNumber first, uint32 npages, uint64 freed)
{
	VdbFreeRun	run = {first, npages, freed};

	return run;
}

#define VDB_FREE_RUN_CANDIDATE	(UINT64CONST(1) << 63)
#define VDB_FREE_RUN_XID(run)	((run)->freed & ~VDB_FREE_RUN_CANDIDATE)

StaticAssertDecl(sizeof(VdbFreeRun) == 16, "free run is 16 bytes on media");

/* List of free runs, sorted by first page.  No two runs overlap.  A run of 0 pages is none. */
typedef struct VdbFreePages
{
	uint32		magic;
	uint16		version;
	uint16		nruns;
	uint32		table_slot;
	uint32		table_generation;
	uint32		pad[4];				/* zero */
	VdbFreeRun	runs[VDB_FREE_RUNS];
} VdbFreePages;

VDB_ASSERT_MAP_HEAD(VdbFreePages);
StaticAssertDecl(offsetof(VdbFreePages, runs) == 32, "head of the free runs is 32 bytes on media");
StaticAssertDecl(sizeof(VdbFreePages) <= VDB_POOL_BLOCK_PAYLOAD, "free runs fit a block");

/* ---- continuation blocks: further zone maps ---- */

#define VDB_ZONES_PER_BLOCK		127

/* Continuation block of a meta. */
typedef struct VdbZoneBlock
{
	VdbZone		zones[VDB_ZONES_PER_BLOCK];
	uint32		crc;				/* at 8128: CRC-32C of the stripe id, the number of the
									 * continuation and the zone maps that are there */
	uint32		pad;				/* zero */
} VdbZoneBlock;

StaticAssertDecl(offsetof(VdbZoneBlock, crc) == 8128 && sizeof(VdbZoneBlock) == 8136,
				 "zone block is 8136 bytes on media");
StaticAssertDecl(sizeof(VdbZoneBlock) <= VDB_POOL_BLOCK_PAYLOAD, "zone block fits a block");

/* Stands for a continuation's number in the checksum of zone maps inside the meta. */
#define VDB_ZONES_IN_META		PG_UINT32_MAX

#define VDB_ZONES_INSIDE \
	((VDB_POOL_BLOCK_PAYLOAD - offsetof(VdbStripeMeta, continuations)) / sizeof(VdbZone))

StaticAssertDecl(VDB_ZONES_INSIDE == 124, "zone maps in a meta block");

#endif							/* VDB_MAP_FORMAT_H */
