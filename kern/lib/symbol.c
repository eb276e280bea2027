/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finds functions by address in the table that the link adds to the image.
 */
#include "lib/symbol.h"

extern const uint64_t symbol_count;
extern const uint64_t symbol_starts[]; /* and one more: the end of the last function */
extern const uint32_t symbol_name_offsets[];
extern const char symbol_names[];

const char *symbol_find(uintptr_t pc, uintptr_t *offset)
{
	size_t low = 0, high = symbol_count;

	if (symbol_count == 0 || pc < symbol_starts[0] || pc >= symbol_starts[symbol_count])
		return NULL;
	/* symbol_starts[low] <= pc < symbol_starts[high] */
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (symbol_starts[middle] <= pc)
			low = middle;
		else
			high = middle;
	}
	*offset = pc - symbol_starts[low];
	return symbol_names + symbol_name_offsets[low];
}
