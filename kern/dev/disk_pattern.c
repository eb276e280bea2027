/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Blocks whose content says which block it is.
 */
#include "disk_pattern.h"

#include "disk.h"
#include "lib/string.h"

struct line {
	uint64_t words[4], complements[4];
};
#define LINES (DISK_BLOCK_SIZE / sizeof(struct line))

static struct line line_of(uint64_t block, uint64_t generation, uint64_t line)
{
	return (struct line){{block, generation, line, PATTERN_WORD},
		{~block, ~generation, ~line, ~(uint64_t)PATTERN_WORD}};
}

void disk_pattern_fill(void *data, uint64_t block, uint64_t generation)
{
	struct line *lines = data;

	for (size_t i = 0; i < LINES; i++)
		lines[i] = line_of(block, generation, i);
}

bool disk_pattern_check(const void *data, uint64_t block, uint64_t *generation)
{
	const struct line *lines = data;

	*generation = lines[0].words[1];
	for (size_t i = 0; i < LINES; i++) {
		struct line wanted = line_of(block, *generation, i);

		if (memcmp(&lines[i], &wanted, sizeof(wanted)) != 0)
			return false;
	}
	return true;
}
