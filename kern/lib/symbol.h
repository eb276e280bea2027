/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The symbols embedded in the image at link time: functions by address.
 *
 * The link puts three things into the image (scripts/symbols makes them): symbol_count, the
 * ascending symbol_starts[] with one entry more that ends the last function, and symbol_names, each
 * name's offset being in symbol_name_offsets[].  An image without symbols has symbol_count 0.
 *
 * Any context; logarithmic in the symbols.
 */
#ifndef SPANDREL_LIB_SYMBOL_H
#define SPANDREL_LIB_SYMBOL_H

#include <stddef.h>
#include <stdint.h>

/* The name of the function `pc` lies in and, in *offset, how far into it; NULL if it lies in none. */
const char *symbol_find(uintptr_t pc, uintptr_t *offset);

#endif
