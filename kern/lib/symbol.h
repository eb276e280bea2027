/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Functions by address, from the symbols that the link adds to the image.
 *
 * scripts/symbols makes four objects: symbol_count; symbol_starts[], ascending, with one more entry
 * for the end of the last function; symbol_names, all names one after the other; and
 * symbol_name_offsets[], where each function's name begins in it.  An image without symbols has
 * symbol_count 0.
 *
 * Any context; logarithmic in the symbols.
 */
#ifndef SPANDREL_LIB_SYMBOL_H
#define SPANDREL_LIB_SYMBOL_H

#include <stddef.h>
#include <stdint.h>

/* Returns the name of the function that `pc` lies in and sets *offset to the distance from its
 * start.  Returns NULL if `pc` lies in no function. */
const char *symbol_find(uintptr_t pc, uintptr_t *offset);

#endif
