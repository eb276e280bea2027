/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finds functions and variables in the table that the link adds to the image.
 */
#include "lib/symbol.h"

#include "lib/string.h"

extern const uint64_t symbol_count;
extern const uint64_t symbol_starts[]; /* and one more: the end of the last */
extern const uint32_t symbol_name_offsets[];
extern const char symbol_names[];

/* The number of the one that has the address; symbol_count: none. */
static size_t seek(uintptr_t address)
{
	size_t low = 0, high = symbol_count;

	if (symbol_count == 0 || address < symbol_starts[0] || address >= symbol_starts[symbol_count])
		return symbol_count;
	/* symbol_starts[low] <= address < symbol_starts[high] */
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (symbol_starts[middle] <= address)
			low = middle;
		else
			high = middle;
	}
	return low;
}

const char *symbol_find(uintptr_t address, uintptr_t *offset)
{
	size_t i = seek(address);

	if (i == symbol_count)
		return NULL;
	*offset = address - symbol_starts[i];
	return symbol_names + symbol_name_offsets[i];
}

bool symbol_range(uintptr_t address, uintptr_t *from, uintptr_t *to)
{
	size_t i = seek(address);

	if (i == symbol_count)
		return false;
	*from = symbol_starts[i];
	*to = symbol_starts[i + 1];
	return true;
}

bool symbol_address(const char *name, uintptr_t *address)
{
	for (size_t i = 0; i < symbol_count; i++) {
		if (strcmp(symbol_names + symbol_name_offsets[i], name) == 0) {
			*address = symbol_starts[i];
			return true;
		}
	}
	return false;
}

const char *symbol_at(size_t i, uintptr_t *start, size_t *size)
{
	if (i >= symbol_count)
		return NULL;
	*start = symbol_starts[i];
	*size = symbol_starts[i + 1] - symbol_starts[i];
	return symbol_names + symbol_name_offsets[i];
}
