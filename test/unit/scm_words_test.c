/*
 * scm_words_test.c
 *	  Unit tests of the pool's allocation map against a simple model.
 */
#include <stdlib.h>

#include "scm_words.h"
#include "unit_shim.h"

#define SEGMENTS	480
#define BLOCKS		(SEGMENTS * VDB_WORD_BLOCKS)
#define STEPS		20000

/* What the model knows of a block. */
enum
{
	MODEL_FREE, MODEL_BLOCK, MODEL_SEGMENT
};

static uint64_t state[SEGMENTS];
static uint64_t reserved[SEGMENTS];
static uint8_t model[BLOCKS];

static void
reset(void)
{
	memset(state, 0, sizeof(state));
	memset(reserved, 0, sizeof(reserved));
	memset(model, MODEL_FREE, sizeof(model));
}

static void
set_byte(uint64_t *word, int index, uint8_t value)
{
	((uint8_t *) word)[index] = value;
}

static bool
model_segment_free(uint32_t no)
{
	for (int i = 0; i < VDB_WORD_BLOCKS; i++)
	{
		if (model[no * VDB_WORD_BLOCKS + i] != MODEL_FREE)
			return false;
	}
	return true;
}

/* Does the segment hold single blocks, and is one more free? */
static bool
model_segment_has_room(uint32_t no)
{
	bool		any_block = false;
	bool		any_free = false;

	for (int i = 0; i < VDB_WORD_BLOCKS; i++)
	{
		any_block |= model[no * VDB_WORD_BLOCKS + i] == MODEL_BLOCK;
		any_free |= model[no * VDB_WORD_BLOCKS + i] == MODEL_FREE;
	}
	return any_block && any_free;
}

/* Half of what is taken is in use, half only reserved, some both (in transit). */
static void
mark_block(uint32_t block)
{
	uint32_t	no = block / VDB_WORD_BLOCKS;
	int			index = block % VDB_WORD_BLOCKS;
	uint64_t	kind = unit_random_below(3);

	if (kind != 0)
		set_byte(&state[no], index, VDB_STATE_BLOCK);
	if (kind != 1)
		set_byte(&reserved[no], index, VDB_RESERVED_BLOCK);
	model[block] = MODEL_BLOCK;
}

static void
mark_segment(uint32_t no)
{
	uint64_t	kind = unit_random_below(3);

	if (kind != 0)
		state[no] = vdb_word_segment();
	if (kind != 1)
		reserved[no] = vdb_word_reserved_segment();
	memset(&model[no * VDB_WORD_BLOCKS], MODEL_SEGMENT, VDB_WORD_BLOCKS);
}

static void
take_segment_step(void)
{
	uint32_t	from = (uint32_t) unit_random_below(SEGMENTS);
	uint32_t	found = vdb_words_find_segment(state, reserved, from, SEGMENTS);
	uint32_t	expected = from;

	while (expected < SEGMENTS && !model_segment_free(expected))
		expected++;
	UNIT_CHECK(found == expected, "found %u, expected %u", found, expected);
	if (found < SEGMENTS)
		mark_segment(found);
}

static void
take_block_step(void)
{
	uint32_t	found = vdb_words_find_room(state, reserved, 0, SEGMENTS);
	uint32_t	expected = 0;
	int			index = 0;

	while (expected < SEGMENTS && !model_segment_has_room(expected))
		expected++;
	UNIT_CHECK(found == expected, "found %u, expected %u", found, expected);
	if (found == SEGMENTS)
		found = vdb_words_find_segment(state, reserved, 0, SEGMENTS);
	else
		index = vdb_word_free_block(state[found], reserved[found]);
	if (found == SEGMENTS)
		return;
	UNIT_CHECK(model[found * VDB_WORD_BLOCKS + index] == MODEL_FREE, "block %d is taken", index);
	mark_block(found * VDB_WORD_BLOCKS + index);
}

static void
free_step(void)
{
	uint32_t	block = (uint32_t) unit_random_below(BLOCKS);
	uint32_t	no = block / VDB_WORD_BLOCKS;

	if (model[block] == MODEL_BLOCK)
	{
		set_byte(&state[no], block % VDB_WORD_BLOCKS, 0);
		set_byte(&reserved[no], block % VDB_WORD_BLOCKS, 0);
		model[block] = MODEL_FREE;
	}
	else if (model[block] == MODEL_SEGMENT)
	{
		state[no] = reserved[no] = 0;
		memset(&model[no * VDB_WORD_BLOCKS], MODEL_FREE, VDB_WORD_BLOCKS);
	}
}

/* Count the model's segments whose state is in use: those that are only reserved don't count. */
static uint32_t
model_count_segments(void)
{
	uint32_t	segments = 0;

	for (uint32_t no = 0; no < SEGMENTS; no++)
		segments += model[no * VDB_WORD_BLOCKS] == MODEL_SEGMENT && state[no] != 0 ? 1 : 0;
	return segments;
}

static uint32_t
model_count_used(void)
{
	uint32_t	used = 0;

	for (uint32_t no = 0; no < SEGMENTS; no++)
		used += model_segment_free(no) ? 0 : 1;
	return used;
}

static void
against_model(void)
{
	reset();
	unit_seed(17);
	for (int step = 0; step < STEPS; step++)
	{
		uint64_t	what = unit_random_below(10);
		uint32_t	used;

		/* Fill for a while, then empty, and so on. */
		if (step / 2000 % 2 == 1)
			what = what < 2 ? what : 9;
		if (what < 3)
			take_segment_step();
		else if (what < 7)
			take_block_step();
		else
			free_step();
		used = vdb_words_count_used(state, reserved, SEGMENTS);
		UNIT_CHECK(used == model_count_used(), "step %d: %u used", step, used);
		used = vdb_words_count_segments(state, SEGMENTS);
		UNIT_CHECK(used == model_count_segments(), "step %d: %u segments", step, used);
	}
}

/* A unit that is marked is not free, whichever of state and mark has it. */
static void
in_transit(void)
{
	uint64_t	segment = vdb_word_segment();
	uint64_t	mark = vdb_word_reserved_segment();
	uint64_t	block = vdb_word_make(VDB_STATE_BLOCK, 0);

	UNIT_CHECK(vdb_word_is_free(0, 0), "nothing");
	UNIT_CHECK(!vdb_word_is_free(segment, 0), "used");
	UNIT_CHECK(!vdb_word_is_free(0, mark), "reserved");
	UNIT_CHECK(!vdb_word_is_free(segment, mark), "both");
	UNIT_CHECK(vdb_word_free_block(segment, 0) < 0, "used");
	UNIT_CHECK(vdb_word_free_block(0, mark) < 0, "reserved");
	UNIT_CHECK(vdb_word_free_block(segment, mark) < 0, "both");
	UNIT_CHECK(vdb_word_free_block(0, 0) < 0, "wholly free");
	UNIT_CHECK(vdb_word_free_block(block, 0) == 1, "used block");
	UNIT_CHECK(vdb_word_free_block(0, block) == 1, "reserved block");
	UNIT_CHECK(vdb_word_byte(segment, 0) == VDB_STATE_FIRST, "first");
	UNIT_CHECK(vdb_word_byte(segment, 7) == VDB_STATE_FURTHER, "last");
}

/* A released segment is neither free, nor used, nor has room for blocks. */
static void
release(void)
{
	uint64_t	states[4] = {0, vdb_word_released(), vdb_word_segment(), vdb_word_released()};
	uint64_t	marks[4] = {0, 0, 0, vdb_word_reserved_segment()};

	UNIT_CHECK(!vdb_word_is_free(states[1], 0), "released");
	UNIT_CHECK(vdb_word_free_block(states[1], 0) < 0, "released");
	UNIT_CHECK(vdb_words_find_segment(states, marks, 1, 4) == 4, "no free segment");
	UNIT_CHECK(vdb_words_find_room(states, marks, 0, 4) == 4, "no room");
	UNIT_CHECK(vdb_words_count_used(states, marks, 4) == 1, "used");
	UNIT_CHECK(vdb_words_count_released(states, 4) == 2, "released");
	UNIT_CHECK(vdb_words_keep(0, 100) == 100, "floor");
	for (uint32_t peak = 0; peak < 100000; peak += 99)
	{
		uint32_t	keep = vdb_words_keep(peak, 0);
		uint32_t	low = vdb_words_kept_back(keep) + (keep / 8 < 128 ? keep / 8 : 128);

		UNIT_CHECK(keep > peak + low, "would grow again at %u", peak);
	}
}

static void
growth(void)
{
	uint32_t	total = 16;
	uint32_t	steps = 0;

	while (vdb_words_next_total(total, 16384) > total)
	{
		uint32_t	next = vdb_words_next_total(total, 16384);

		UNIT_CHECK(next - total <= 512, "step of %u", next - total);
		UNIT_CHECK(next <= 16384, "beyond the most: %u", next);
		total = next;
		steps++;
	}
	UNIT_CHECK(total == 16384, "ends at %u", total);
	UNIT_CHECK(steps < 50, "%u steps", steps);
	UNIT_CHECK(vdb_words_next_total(128, 100) == 128, "never shrinks");
	UNIT_CHECK(vdb_words_kept_back(16) == 1, "small pool");
	UNIT_CHECK(vdb_words_kept_back(15) == 1, "smaller pool");
	UNIT_CHECK(vdb_words_kept_back(16384) == 1024, "1 GB");
}

int
main(void)
{
	unit_run("find and count against a model", against_model);
	unit_run("units in transit are not free", in_transit);
	unit_run("released units are not free", release);
	unit_run("growth and what is kept back", growth);
	return unit_finish();
}
