/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Blocks whose content says which block it is, for tests of disks and caches.
 *
 *	disk_pattern_fill(data, 7, 1);
 *	...
 *	if (!disk_pattern_check(data, 7, &generation))
 *		it isn't block 7, or it is torn
 *
 * A block is 64 lines of eight words, little endian: block, generation, line, PATTERN_WORD, and the
 * complements of these four.  The generation counts how often a block was filled; in a block that
 * was written in part, lines differ in it.
 *
 * Context, of both: any.  Cost: linear in a block.
 */
#ifndef SPANDREL_DISK_PATTERN_H
#define SPANDREL_DISK_PATTERN_H

#include <stdbool.h>
#include <stdint.h>

#define PATTERN_WORD 0x4c4552444e415053u /* SPANDREL */

/* Fills data[0 .. DISK_BLOCK_SIZE), aligned to 8, as generation `generation` of block `block`. */
void disk_pattern_fill(void *data, uint64_t block, uint64_t generation);

/* Whether data holds block `block` whole, as some one generation, which goes to *generation. */
bool disk_pattern_check(const void *data, uint64_t block, uint64_t *generation);

#endif
