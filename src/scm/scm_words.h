/*-------------------------------------------------------------------------
 *
 * scm_words.h
 *	  Arithmetic on the 8-byte words of allocation maps.
 *
 * This file includes nothing of the server, so that unit tests can include it.  See scm_format.h
 * for the meaning of a word's bytes.  No function here takes locks or writes WAL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_SCM_WORDS_H
#define VDB_SCM_WORDS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define VDB_WORD_BLOCKS		8

/* State bytes of a block. */
#define VDB_STATE_FREE		0
#define VDB_STATE_BLOCK		1		/* a single block in use */
#define VDB_STATE_FIRST		2		/* first block of a segment in use */
#define VDB_STATE_FURTHER	3		/* further block of a segment */
#define VDB_STATE_RELEASED	4		/* the file may have no space for the block */

/* Reserved bytes of a block. */
#define VDB_RESERVED_NOT	0
#define VDB_RESERVED_BLOCK	1
#define VDB_RESERVED_SEGMENT 2

/* Make a word of a byte for block 0 and one for all others. */
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

/* Make the state word of a segment in use. */
static inline uint64_t
vdb_word_segment(void)
{
	return vdb_word_make(VDB_STATE_FIRST, VDB_STATE_FURTHER);
}

/* Make the reserved word of a segment reserved as a whole. */
static inline uint64_t
vdb_word_reserved_segment(void)
{
	return vdb_word_make(VDB_RESERVED_SEGMENT, VDB_RESERVED_SEGMENT);
}

/* Make the state word of a released segment. */
static inline uint64_t
vdb_word_released(void)
{
	return vdb_word_make(VDB_STATE_RELEASED, VDB_STATE_RELEASED);
}

/* Return the byte of block 'index' of the segment. */
static inline uint8_t
vdb_word_byte(uint64_t word, int index)
{
	uint8_t		bytes[VDB_WORD_BLOCKS];

	memcpy(bytes, &word, sizeof(bytes));
	return bytes[index];
}

/* Check whether all blocks of a segment are free and not reserved. */
static inline bool
vdb_word_is_free(uint64_t state, uint64_t reserved)
{
	return (state | reserved) == 0;
}

/*
 * Return the index of a free block in a segment that holds single blocks, or -1 if there is none.
 * Returns -1 also if the segment is wholly free, or is used or reserved as a segment.
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

/* Return the first wholly free segment in [from, to) of the words, or 'to'. */
static inline uint32_t
vdb_words_find_segment(const uint64_t *state, const uint64_t *reserved,
					   uint32_t from, uint32_t to)
{
	uint32_t	i = from;

	while (i < to && !vdb_word_is_free(state[i], reserved[i]))
		i++;
	return i;
}

/* Return the first segment in [from, to) that holds single blocks and has a free one, or 'to'. */
static inline uint32_t
vdb_words_find_room(const uint64_t *state, const uint64_t *reserved,
					uint32_t from, uint32_t to)
{
	uint32_t	i = from;

	while (i < to && vdb_word_free_block(state[i], reserved[i]) < 0)
		i++;
	return i;
}

/* Count the segments in [0, n) that are neither wholly free nor released. */
static inline uint32_t
vdb_words_count_used(const uint64_t *state, const uint64_t *reserved, uint32_t n)
{
	uint32_t	used = 0;

	for (uint32_t i = 0; i < n; i++)
		used += vdb_word_is_free(state[i], reserved[i]) || state[i] == vdb_word_released() ? 0 : 1;
	return used;
}

/* Count the segments in [0, n) that are released. */
static inline uint32_t
vdb_words_count_released(const uint64_t *state, uint32_t n)
{
	uint32_t	released = 0;

	for (uint32_t i = 0; i < n; i++)
		released += state[i] == vdb_word_released() ? 1 : 0;
	return released;
}

/*
 * Return how many segments a pool keeps that used 'peak' of them lately, and at least 'floor'.  A
 * quarter more than the peak covers what is kept back for urgent callers, and what the worker holds
 * ready by growing ahead.
 */
static inline uint32_t
vdb_words_keep(uint32_t peak, uint32_t floor)
{
	uint32_t	keep = peak + peak / 4 + 16;

	return keep > floor ? keep : floor;
}

/* Count the segments in [0, n) that are in use as segments, not for single blocks. */
static inline uint32_t
vdb_words_count_segments(const uint64_t *state, uint32_t n)
{
	uint32_t	segments = 0;

	for (uint32_t i = 0; i < n; i++)
		segments += vdb_word_byte(state[i], 0) == VDB_STATE_FIRST ? 1 : 0;
	return segments;
}

/* Return how many segments are kept for migration, overlay and map: 1/16, at least one. */
static inline uint32_t
vdb_words_kept_back(uint32_t total)
{
	return total / 16 > 0 ? total / 16 : 1;
}

/*
 * Return the size to grow to, in segments: twice the present size, but at least 16 segments (1 MB)
 * and at most 512 segments (32 MB) more.  The result is at most 'max', or 'total' if that is
 * greater.
 */
static inline uint32_t
vdb_words_next_total(uint32_t total, uint32_t max)
{
	uint32_t	step = total < 16 ? 16 : (total > 512 ? 512 : total);

	if (total >= max)
		return total;
	return max - total < step ? max : total + step;
}

#endif							/* VDB_SCM_WORDS_H */
