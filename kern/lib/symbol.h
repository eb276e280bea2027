/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Functions and variables by address, and back, from the symbols that the link adds to the image.
 *
 * scripts/symbols makes four objects: symbol_count; symbol_starts[], ascending, with one more entry
 * for the end of the last one; symbol_names, all names one after the other; and
 * symbol_name_offsets[], where each name begins in it.  An image without symbols has symbol_count 0.
 *
 * Any context.
 */
#ifndef SPANDREL_LIB_SYMBOL_H
#define SPANDREL_LIB_SYMBOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Returns the name of the function or variable that `address` lies in, or that it lies behind with no
 * other between, and sets *offset to the distance from its start.  Returns NULL if `address` lies
 * outside of the image.  Cost: logarithmic in the symbols. */
const char *symbol_find(uintptr_t address, uintptr_t *offset);

/* Sets *from to the start of the same, and *to to that of the next one behind it; false outside of the
 * image.  Cost: as above. */
bool symbol_range(uintptr_t address, uintptr_t *from, uintptr_t *to);

/* Sets *address to the start of the first symbol of that name; false if there is none.  Cost: linear. */
bool symbol_address(const char *name, uintptr_t *address);

/* The i-th symbol in the order of addresses: its name, or NULL if there are no more; its start, and the bytes up
 * to the next one, 0 where the image ends.  Cost: constant. */
const char *symbol_at(size_t i, uintptr_t *start, size_t *size);

#endif
