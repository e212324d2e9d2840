/*
 * codec_bitpack_impl.h
 *	  Unpack and pack one full block of a packed section: a template.
 *
 * The including file defines
 *		VDB_PACK_WORD	type of a lane's word, any alignment
 *		VDB_PACK_LANES	lanes, so that a row of words is VDB_PACK_ROW_BYTES
 *		VDB_PACK_FN(name)	name of the function to be made
 *		VDB_PACK_INLINE	attribute that has a function inlined always
 * and gets VDB_PACK_FN(unpack) and VDB_PACK_FN(pack), to be inlined.  All loops over lanes have a
 * constant count, no branch and no aliasing, so that the compiler makes each of them a few vector
 * instructions.
 */

#define VDB_PACK_WORD_BITS	(sizeof(VDB_PACK_WORD) * 8)
#define VDB_PACK_ROWS		(VDB_PACK_BLOCK / VDB_PACK_LANES)

/*
 * Unpack a block: read bits * VDB_PACK_ROW_BYTES bytes, and write VDB_PACK_BLOCK values, each with
 * base added.  bits is from 1 to the bits of a word.
 */
static inline VDB_PACK_INLINE void
VDB_PACK_FN(unpack) (const VDB_PACK_WORD *pg_restrict words,
					 const uint32 bits, const uint64 base,
					 int64 *pg_restrict out)
{
	const VDB_PACK_WORD mask =
		(VDB_PACK_WORD) ~(VDB_PACK_WORD) 0 >> (VDB_PACK_WORD_BITS - bits);
	uint32		bit = 0;

	for (uint32 row = 0; row < VDB_PACK_ROWS; row++, bit += bits)
	{
		const uint32 shift = bit % VDB_PACK_WORD_BITS;
		const VDB_PACK_WORD *low =
			words + bit / VDB_PACK_WORD_BITS * VDB_PACK_LANES;
		int64	   *to = out + row * VDB_PACK_LANES;

		if (shift + bits <= VDB_PACK_WORD_BITS)
		{
			for (uint32 lane = 0; lane < VDB_PACK_LANES; lane++)
				to[lane] = (int64) (base + ((low[lane] >> shift) & mask));
		}
		else
		{
			/* the field continues in the next word of its lane */
			const VDB_PACK_WORD *high = low + VDB_PACK_LANES;
			const uint32 up = VDB_PACK_WORD_BITS - shift;

			for (uint32 lane = 0; lane < VDB_PACK_LANES; lane++)
				to[lane] = (int64) (base + (((low[lane] >> shift) |
											 (high[lane] << up)) & mask));
		}
	}
}

/* Pack 'rows' rows of values; write each word that holds a bit of them. */
static inline VDB_PACK_INLINE void
VDB_PACK_FN(pack) (const int64 *pg_restrict values, const uint32 rows,
				   const uint32 bits, const uint64 base,
				   VDB_PACK_WORD *pg_restrict words)
{
	VDB_PACK_WORD gather[VDB_PACK_LANES] = {0};
	uint32		shift = 0;

	for (uint32 row = 0; row < rows; row++)
	{
		const int64 *from = values + row * VDB_PACK_LANES;

		for (uint32 lane = 0; lane < VDB_PACK_LANES; lane++)
			gather[lane] |= (VDB_PACK_WORD) ((uint64) from[lane] - base) << shift;

		shift += bits;
		if (shift < VDB_PACK_WORD_BITS)
			continue;

		shift -= VDB_PACK_WORD_BITS;
		for (uint32 lane = 0; lane < VDB_PACK_LANES; lane++)
		{
			words[lane] = gather[lane];
			gather[lane] = shift == 0 ? 0 :
				(VDB_PACK_WORD) ((uint64) from[lane] - base) >> (bits - shift);
		}
		words += VDB_PACK_LANES;
	}

	if (shift > 0)
	{
		for (uint32 lane = 0; lane < VDB_PACK_LANES; lane++)
			words[lane] = gather[lane];
	}
}

#undef VDB_PACK_WORD_BITS
#undef VDB_PACK_ROWS
#undef VDB_PACK_WORD
#undef VDB_PACK_LANES
#undef VDB_PACK_FN
