/*-------------------------------------------------------------------------
 *
 * decode_private.h
 *	  Declarations shared by the files of decode/.
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

/* The part of an old row that the stream shows.  The caller frees tuple and columns. */
typedef struct VdbOldRow
{
	bool		key;				/* only the key's columns count; the others are null */
	HeapTuple	tuple;				/* palloc'd; NULL if the stream shows no old row */
	Bitmapset  *columns;			/* the key's attribute numbers; NULL unless 'key' is set */
} VdbOldRow;

/*
 * Return a TOAST pointer, which a plugin takes for a value out of line.  It is static and must not
 * be changed or freed.  It refers to no value.
 */
extern Datum vdb_pointer_out_of_line(void);

/*
 * Set in *row, which comes zeroed, the part of a deleted row that the replica identity asks for.
 * What is allocated is in the current memory context.  No LWLock may be held.  Detoasting may
 * raise errors.
 */
extern void vdb_identity_of_deleted(Relation rel, TupleTableSlot *old, VdbOldRow *row);

/*
 * Do the same for a row that is updated to 'tuple'.  Returns the attribute numbers of unchanged
 * values that the stream leaves out, since heap would have them out of line.  NULL means that there
 * are none; the caller frees the set.
 */
extern Bitmapset *vdb_identity_of_updated(Relation rel, TupleTableSlot *old, HeapTuple tuple,
										  VdbOldRow *row);

/* ---- decode_assigned.c ---- */

/*
 * Return true if the innermost running statement changes the relation and assigns the column, a
 * user column.  Outside the executor, no column is assigned.  No LWLock may be held.
 */
extern bool vdb_column_is_assigned(Relation rel, AttrNumber attnum);

/* Install the executor's hook.  Called once, while the library is preloaded. */
extern void vdb_assigned_init(void);

/* ---- decode_complete.c ---- */

/*
 * A change that is to be completed before the plugin gets it has one of these marks in its tuple's
 * t_tableOid, which is InvalidOid otherwise.  No relation has such an OID.  The mark's struct and
 * the bytes that belong to it follow the tuple's header (SizeofHeapTupleHeader), unaligned.
 */
#define VDB_PART_PAGE		((Oid) 1)	/* VdbPartPage: a page of a wide row */
#define VDB_PART_CHUNK		((Oid) 2)	/* VdbPartChunk: a chunk of an old row */
#define VDB_PART_ROW		((Oid) 3)	/* VdbPartRow: a row to be completed */
#define VDB_PART_OLD		((Oid) 4)	/* no bytes follow: the old row came in chunks */
#define VDB_PART_NOTHING	((Oid) 5)	/* no bytes follow: the plugin gets no change */

/* The page's payload (VDB_PAGE_PAYLOAD bytes) follows this struct. */
typedef struct VdbPartPage
{
	BlockNumber block;
	BlockNumber first_page;			/* first block of the page's run */
	uint32		total;				/* bytes of the run */
	bool		first;				/* the run begins a batch: earlier runs of the table have no
									 * row */
} VdbPartPage;

/* The chunk's bytes follow this struct. */
typedef struct VdbPartChunk
{
	uint32		total;				/* bytes of all chunks of the row */
	bool		first;				/* the row's first chunk */
} VdbPartChunk;

/*
 * The attribute numbers (uint16) of unchanged values follow this struct; then comes the tuple with
 * its header.  Of a wide row, only the header and a VdbWideRef come.
 */
typedef struct VdbPartRow
{
	uint32		bytes;				/* of the tuple, or of a wide row's header and VdbWideRef */
	uint16		nunchanged;			/* unchanged values to be left out */
	bool		wide;				/* the row's data has come in pages */
} VdbPartRow;

/*
 * Complete the rows of this decoding context from now on, by putting this folder's functions before
 * the output plugin's.  Does nothing if that is so already.  All memory belongs to the decoding
 * context.  Raises an error if another decoding context of this process still exists.
 */
extern void vdb_complete_install(LogicalDecodingContext *ctx);

#endif							/* DECODE_PRIVATE_H */
