/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stamps in memory.
 */
#include "stamp.h"

#define LINE_WORDS 8 /* words from one stamped word to the next */

static uint64_t word_of(uint64_t stamp, size_t word)
{
	return stamp ^ word * 0x9e3779b97f4a7c15;
}

/* The stamped word after `word`: one a line, and the last of `words`. */
static size_t next_word(size_t word, size_t words)
{
	size_t next = word + LINE_WORDS;

	return word + 1 < words && next >= words ? words - 1 : next;
}

void stamp_put(void *p, size_t size, uint64_t stamp)
{
	size_t words = size / sizeof(uint64_t);
	uint64_t *at = p;

	for (size_t i = 0; i < words; i = next_word(i, words))
		at[i] = word_of(stamp, i);
}

size_t stamp_check(const void *p, size_t size, uint64_t stamp)
{
	size_t words = size / sizeof(uint64_t);
	const uint64_t *at = p;

	for (size_t i = 0; i < words; i = next_word(i, words))
		if (at[i] != word_of(stamp, i))
			return i * sizeof(uint64_t);
	return size;
}
