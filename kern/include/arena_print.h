/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas as text: the tree as a table, and all about one.  For the monitor, which adds caches to
 * the tree.
 *
 *	struct table_printer printer;
 *	arena_tree_begin(&printer, sink, false);
 *	for (...)
 *		arena_tree_row(&rows[i], &printer);
 *	table_end(&printer);
 *
 * Context: as the sink's; no lock held.  `keys`: for scripts, a line of key=value for each object.
 */
#ifndef SPANDREL_ARENA_PRINT_H
#define SPANDREL_ARENA_PRINT_H

#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "table.h"

/* A line of the tree: an arena, or something that hangs on one and has the same to tell. */
struct arena_tree_line {
	const char *name, *source;
	unsigned depth;
	bool is_memory;
	uint64_t quantum, total, used, free, largest_free;
	uint64_t spans, allocs, failures;
};

void arena_tree_begin(struct table_printer *printer, struct sink *sink, bool keys);
void arena_tree_line(const struct arena_tree_line *line, struct table_printer *printer);
/* The line of an arena; an arena_tree_peek() function, `printer` being a table_printer. */
void arena_tree_row(const struct arena_stats *row, void *printer);

/* All about one arena; its boundary tags and hash only if `full`.  Not in an interrupt.  Cost: that
 * of arena_free_histogram(). */
void arena_show(struct arena *arena, bool full, bool keys, struct sink *sink);

/* Amounts of memory read as bytes, those of anything else as plain numbers. */
void arena_format_amount(char text[TABLE_CELL_MAX], uint64_t amount, bool is_memory);

#endif
