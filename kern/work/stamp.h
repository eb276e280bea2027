/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stamps: what a workload writes into memory it has got, to see whether it is still there later.
 *
 * A stamp is a number; a word in each line of the memory, and its last word, get a mix of it and of
 * their offsets.  So memory that was handed out twice, or written by others, has another one's.
 * Context: any.  Cost: linear in the lines.
 */
#ifndef SPANDREL_WORK_STAMP_H
#define SPANDREL_WORK_STAMP_H

#include <stddef.h>
#include <stdint.h>

/* Both: of p[0 .. size), p a multiple of 8; whole words only. */
void stamp_put(void *p, size_t size, uint64_t stamp);

/* Returns the offset of the first word that isn't as stamp_put() left it, or `size`. */
size_t stamp_check(const void *p, size_t size, uint64_t stamp);

#endif
