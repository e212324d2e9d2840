/*-------------------------------------------------------------------------
 *
 * decode_private.h
 *	  What the files of decode/ share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef DECODE_PRIVATE_H
#define DECODE_PRIVATE_H

#include "access/htup_details.h"
#include "replication/logical.h"
#include "replication/reorderbuffer.h"

#include "base/vdb_compat.h"
#include "decode/decode.h"
#include "decode/decode_format.h"

/* ---- decode_identity.c ---- */

/* What the stream says of an old row. */
typedef struct VdbOldRow
{
	bool		key;				/* only the key's columns count */
	HeapTuple	tuple;				/* NULL: nothing; palloc'd */
	Bitmapset  *columns;			/* key: those of it, by attribute number */
} VdbOldRow;

/* Return a value that a plugin takes for one out of line.  Static; not to be changed. */
extern Datum vdb_pointer_out_of_line(void);

extern void vdb_identity_of_deleted(Relation rel, TupleTableSlot *old, VdbOldRow *row);
extern Bitmapset *vdb_identity_of_updated(Relation rel, TupleTableSlot *old, HeapTuple tuple,
										  VdbOldRow *row);

/* ---- decode_assigned.c ---- */
extern bool vdb_column_is_assigned(Relation rel, AttrNumber attnum);
extern void vdb_assigned_init(void);

/* ---- decode_complete.c ---- */

/*
 * A change that is not yet what the plugin gets has one of these in its tuple's t_tableOid, where
 * there is nothing otherwise; no relation has such an OID.  The struct, then bytes, stand behind
 * the tuple's header (SizeofHeapTupleHeader), unaligned.
 */
#define VDB_PART_PAGE		((Oid) 1)	/* VdbPartPage: a page of a wide row */
#define VDB_PART_CHUNK		((Oid) 2)	/* VdbPartChunk: a chunk of an old row */
#define VDB_PART_ROW		((Oid) 3)	/* VdbPartRow: a row to be completed */
#define VDB_PART_OLD		((Oid) 4)	/* without bytes: the old row came in chunks */
#define VDB_PART_NOTHING	((Oid) 5)	/* without bytes: no change at all */

typedef struct VdbPartPage
{
	BlockNumber block;
	BlockNumber first_page;			/* of its run */
	uint32		total;				/* bytes of the run */
	bool		first;				/* of a batch: earlier runs have no row */
} VdbPartPage;

typedef struct VdbPartChunk
{
	uint32		total;
	bool		first;
} VdbPartChunk;

/*
 * Behind it: attribute numbers (uint16) of unchanged values; the tuple, with its header, or of a
 * wide one header and VdbWideRef.
 */
typedef struct VdbPartRow
{
	uint32		bytes;				/* of the tuple */
	uint16		nunchanged;
	bool		wide;
} VdbPartRow;

extern void vdb_complete_install(LogicalDecodingContext *ctx);

#endif							/* DECODE_PRIVATE_H */
