/*-------------------------------------------------------------------------
 *
 * vdb_rowset.h
 *	  Sets of the rows of one logical block, with one bit for each row.
 *
 * The bits are those that the pool and stripes store: row i is bit i % 64 of word i / 64.  A
 * VdbRowSet has the same form in memory and on media.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_ROWSET_H
#define VDB_ROWSET_H

#include "port/pg_bitutils.h"

#include "base/vdb_types.h"

#define VDB_ROWSET_WORDS		(VDB_LB_ROWS / 64)

/* An array: initialize one with {0}; a function that takes one takes a pointer to its words. */
typedef uint64 VdbRowSet[VDB_ROWSET_WORDS];

StaticAssertDecl(sizeof(VdbRowSet) == 32, "row set is 32 bytes on media");

/* Return the bit of a row in its word. */
static inline uint64
vdb_rowset_bit(int row)
{
	return UINT64CONST(1) << (row & 63);
}

/* Check whether the row (0 to 255) is in the set. */
static inline bool
vdb_rowset_has(const VdbRowSet set, int row)
{
	return (set[row >> 6] & vdb_rowset_bit(row)) != 0;
}

/* Add a row. */
static inline void
vdb_rowset_add(VdbRowSet set, int row)
{
	set[row >> 6] |= vdb_rowset_bit(row);
}

/* Make the set that of all rows, or the empty one. */
static inline void
vdb_rowset_fill(VdbRowSet set, bool all)
{
	memset(set, all ? 0xFF : 0, sizeof(VdbRowSet));
}

/* Check whether the set is empty. */
static inline bool
vdb_rowset_is_empty(const VdbRowSet set)
{
	return (set[0] | set[1] | set[2] | set[3]) == 0;
}

/* Add the rows of another set. */
static inline void
vdb_rowset_unite(VdbRowSet set, const VdbRowSet other)
{
	for (int w = 0; w < VDB_ROWSET_WORDS; w++)
		set[w] |= other[w];
}

/* Take the rows of another set away. */
static inline void
vdb_rowset_subtract(VdbRowSet set, const VdbRowSet other)
{
	for (int w = 0; w < VDB_ROWSET_WORDS; w++)
		set[w] &= ~other[w];
}

/* Check whether every row of the set is in the other one. */
static inline bool
vdb_rowset_within(const VdbRowSet set, const VdbRowSet other)
{
	for (int w = 0; w < VDB_ROWSET_WORDS; w++)
		if ((set[w] & ~other[w]) != 0)
			return false;
	return true;
}

/* Count the rows. */
static inline int
vdb_rowset_count(const VdbRowSet set)
{
	int			n = 0;

	for (int w = 0; w < VDB_ROWSET_WORDS; w++)
		n += pg_popcount64(set[w]);
	return n;
}

/* Count the rows of the set that come before this one. */
static inline int
vdb_rowset_rank(const VdbRowSet set, int row)
{
	int			n = pg_popcount64(set[row >> 6] & (vdb_rowset_bit(row) - 1));

	for (int w = 0; w < row >> 6; w++)
		n += pg_popcount64(set[w]);
	return n;
}

/*
 * Return the first row of the set at or after 'from' (0 to 256), or VDB_LB_ROWS if there is none.
 */
static inline int
vdb_rowset_next(const VdbRowSet set, int from)
{
	for (int w = from >> 6; w < VDB_ROWSET_WORDS; w++)
	{
		uint64		bits = set[w];

		if (w == from >> 6)
			bits &= ~(vdb_rowset_bit(from) - 1);
		if (bits != 0)
			return w * 64 + pg_rightmost_one_pos64(bits);
	}
	return VDB_LB_ROWS;
}

#endif							/* VDB_ROWSET_H */
