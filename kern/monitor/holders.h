/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who holds the machine's memory.
 */
#ifndef SPANDREL_HOLDERS_H
#define SPANDREL_HOLDERS_H

#include "monitor_impl.h"

#define HOLDER_NAME_MAX 32

struct holder {
	char name[HOLDER_NAME_MAX], in[ARENA_NAME_MAX];
	/* "kernel": counted by its owner under this name; "cache": in slabs; "callers": handed out by
	 * the arena of this name to any other caller; "idle": held by that arena, and not handed out;
	 * "free": in base; "boot": never in base */
	const char *kind;
	int64_t bytes;
};
_Static_assert(HOLDER_NAME_MAX >= ARENA_NAME_MAX && HOLDER_NAME_MAX >= KMEM_NAME_MAX, "names fit");

/* All holders, most first; the rows add up to `total`, which is all RAM. */
struct holders {
	struct holder *rows;
	size_t count;
	size_t bytes; /* of the memory they are in */
	uint64_t total;
	struct snapshot arenas, caches; /* while it is made */
};

/* Returns false if there is no memory for it. */
bool holders_take(struct holders *h);
void holders_free(struct holders *h);

/* After a panic: fn sees each holder, in the order of the arena tree.  Takes no lock, nor memory. */
void holders_peek(void (*fn)(const struct holder *row, uint64_t total, void *arg), void *arg);

#endif
