/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Printing backtraces: a line for each frame, with the name of its function where symbols are linked in.
 */
#ifndef SPANDREL_LIB_FRAMES_H
#define SPANDREL_LIB_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sink.h"

/* Prints frame `number`, which stands at `pc`; `is_return`: that is a return address.  Context: any. */
void frame_print(struct sink *sink, unsigned number, uintptr_t pc, bool is_return);

/* Prints frames: pcs[0] is where the first stands, the others are return addresses.  Context: any. */
void frames_print(struct sink *sink, const uintptr_t *pcs, size_t n);

#endif
