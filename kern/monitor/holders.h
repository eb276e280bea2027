/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who holds the machine's memory.
 */
#ifndef SPANDREL_HOLDERS_H
#define SPANDREL_HOLDERS_H

#include "monitor_impl.h"

#define HOLDER_NAME_MAX 32
#define HOLDERS_MAX 128

struct holder {
	char name[HOLDER_NAME_MAX], in[ARENA_NAME_MAX];
	/* "kernel": counted by its owner under this name; "cache": in slabs; "callers": handed out by
	 * the arena of this name to any other caller; "idle": held by that arena, and not handed out;
	 * "free": in base; "boot": never in base; "rest": of holders that there was no row for */
	const char *kind;
	int64_t bytes, change;
	bool is_shown; /* while rows are chosen */
};
_Static_assert(HOLDER_NAME_MAX >= ARENA_NAME_MAX && HOLDER_NAME_MAX >= KMEM_NAME_MAX, "names fit");

/* All holders, most first, and what is free last; the rows add up to `total`, which is all RAM. */
struct holders {
	struct holder row[HOLDERS_MAX];
	size_t count;
	uint64_t total;
};

/* Takes no memory.  `last` (NULL: none) is what changes are counted from: what it has and that holds nothing
 * now gets a row, too.  Context: may sleep; or after a panic. */
void holders_take(struct holders *h, const struct holders *last);

/* The table of holders, of `top` and `mem` (cmd_top.c). */
extern const struct table holder_table;

#endif
