/*-------------------------------------------------------------------------
 *
 * scm_words.h
 *	  The allocation map's arithmetic: plain C over 8-byte words.
 *
 * Includes nothing of the server, so that unit tests can; see scm_format.h
 * for what the bytes of a word mean.  Nothing here locks or logs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_SCM_WORDS_H
#define VDB_SCM_WORDS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define VDB_WORD_BLOCKS		8

#define VDB_STATE_FREE		0
#define VDB_STATE_BLOCK		1		/* a single block in use */
#define VDB_STATE_FIRST		2		/* first block of a segment in use */
#define VDB_STATE_FURTHER	3		/* further block of a segment */

#define VDB_RESERVED_NOT	0
#define VDB_RESERVED_BLOCK	1
#define VDB_RESERVED_SEGMENT 2

static inline uint64_t
vdb_word_make(uint8_t first, uint8_t others)
{
	uint8_t		bytes[VDB_WORD_BLOCKS];
	uint64_t	word;

	memset(bytes, others, sizeof(bytes));
	bytes[0] = first;
	memcpy(&word, bytes, sizeof(word));
	return word;
}

/* State of a segment in use. */
static inline uint64_t
vdb_word_segment(void)
{
	return vdb_word_make(VDB_STATE_FIRST, VDB_STATE_FURTHER);
}

/* Reservation of a whole segment. */
static inline uint64_t
vdb_word_reserved_segment(void)
{
	return vdb_word_make(VDB_RESERVED_SEGMENT, VDB_RESERVED_SEGMENT);
}

static inline uint8_t
vdb_word_byte(uint64_t word, int index)
{
	uint8_t		bytes[VDB_WORD_BLOCKS];

	memcpy(bytes, &word, sizeof(bytes));
	return bytes[index];
}

static inline bool
vdb_word_is_free(uint64_t state, uint64_t reserved)
{
	return (state | reserved) == 0;
}

/*
 * Index of a free block in a segment that holds single blocks, or -1: also
 * when the segment is wholly free, or is taken as a segment.
 */
static inline int
vdb_word_free_block(uint64_t state, uint64_t reserved)
{
	uint64_t	taken = state | reserved;

	if (taken == 0 || vdb_word_byte(state, 0) == VDB_STATE_FIRST ||
		vdb_word_byte(reserved, 0) == VDB_RESERVED_SEGMENT)
		return -1;
	for (int i = 0; i < VDB_WORD_BLOCKS; i++)
	{
		if (vdb_word_byte(taken, i) == 0)
			return i;
	}
	return -1;
}

/* First wholly free segment in [from, to) of the words, or 'to'. */
static inline uint32_t
vdb_words_find_segment(const uint64_t *state, const uint64_t *reserved,
					   uint32_t from, uint32_t to)
{
	uint32_t	i = from;

	while (i < to && !vdb_word_is_free(state[i], reserved[i]))
		i++;
	return i;
}

/* First segment of single blocks with room in [from, to), or 'to'. */
static inline uint32_t
vdb_words_find_room(const uint64_t *state, const uint64_t *reserved,
					uint32_t from, uint32_t to)
{
	uint32_t	i = from;

	while (i < to && vdb_word_free_block(state[i], reserved[i]) < 0)
		i++;
	return i;
}

/* How many segments in [0, n) are not wholly free. */
static inline uint32_t
vdb_words_count_used(const uint64_t *state, const uint64_t *reserved, uint32_t n)
{
	uint32_t	used = 0;

	for (uint32_t i = 0; i < n; i++)
		used += vdb_word_is_free(state[i], reserved[i]) ? 0 : 1;
	return used;
}

/* Segments kept for migration, overlay and map: 1/16, at least one. */
static inline uint32_t
vdb_words_kept_back(uint32_t total)
{
	return total / 16 > 0 ? total / 16 : 1;
}

/* Size to grow to: double, but by 1 to 32 MB (16 to 512 segments); at most max. */
static inline uint32_t
vdb_words_next_total(uint32_t total, uint32_t max)
{
	uint32_t	step = total < 16 ? 16 : (total > 512 ? 512 : total);

	if (total >= max)
		return total;
	return max - total < step ? max : total + step;
}

#endif							/* VDB_SCM_WORDS_H */
