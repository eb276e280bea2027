/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What many tests do with arenas: make one of the usual kinds, read its statistics, end it, and
 * take all that it has.
 *
 *	struct arena *a = arenas_ids(1, 100), *b = arenas_importer("b", a, 4);
 *	...
 *	arenas_end(b);
 *	arenas_end(a);
 */
#ifndef SPANDREL_TESTS_ARENAS_H
#define SPANDREL_TESTS_ARENAS_H

#include "arena.h"

/* The integers [first, first + count). */
struct arena *arenas_ids(uintptr_t first, size_t count);

/* The integers [1, 1 + count), each of them allocated by itself. */
struct arena *arenas_full(size_t count);

/* That many quanta, from one quantum on. */
struct arena *arenas_root(size_t quantum, size_t quanta);

/* Imports from `source` by arena_alloc(). */
struct arena *arenas_importer(const char *name, struct arena *source, size_t quantum);

struct arena_stats arenas_stats(struct arena *a);

/* Checks the arena and destroys it. */
void arenas_end(struct arena *a);

/* A base arena of its own, over `pages` pages of base_arena, and its end.  Its tests are about what
 * happens when its pages run out. */
struct arena *arenas_base(size_t pages);
void arenas_base_end(struct arena *base, size_t pages);

/* Pieces of memory, linked through their first bytes; the last taken is the first. */
struct piece {
	struct piece *next;
	size_t size;
};

/* Takes up to `most` pieces of `size` bytes (sizeof(struct piece) at least), atomically, and puts
 * them before `pieces`.  Returns the first. */
struct piece *pieces_take(struct arena *a, size_t size, size_t most, struct piece *pieces);

/* The same with all that is there: the largest pieces first, from `largest` down to `smallest` by
 * halves. */
struct piece *pieces_take_all(struct arena *a, size_t largest, size_t smallest, unsigned flags);

/* All pages of base_arena but `left` bytes. */
struct piece *pieces_take_memory(size_t left);

size_t pieces_count(const struct piece *pieces);

/* Gives up to `most` pieces back, the first ones.  Returns the others. */
struct piece *pieces_give(struct arena *a, struct piece *pieces, size_t most);

#endif
