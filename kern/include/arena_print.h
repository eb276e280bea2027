/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas as text: the tree as a table, and everything about one arena.  For the monitor, which adds
 * caches to the tree.
 *
 *	struct table_printer printer;
 *	arena_tree_begin(&printer, sink, false);
 *	for (...)
 *		arena_tree_row(&rows[i], &printer);
 *	table_end(&printer);
 *
 * `keys`: for scripts, one line of key=value for each object.  Nothing is allocated.  Context,
 * where nothing else is said: as the sink's, no lock held.
 */
#ifndef SPANDREL_ARENA_PRINT_H
#define SPANDREL_ARENA_PRINT_H

#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "table.h"

/* A line of the tree: an arena, or what draws on one and has the same columns.  Amounts in
 * units. */
struct arena_tree_line {
	const char *name, *source;
	unsigned depth;
	bool in_bytes;
	uint64_t quantum, total, used, free, largest_free;
	uint64_t fragmentation_permille; /* as in struct arena_stats */
	uint64_t spans, allocs, failures;
};

/* The columns of the tree, and of an arena's statistics and free pieces, for help. */
extern const struct table arena_tree_table, arena_show_table, arena_free_table;

/* Begins the table: its heading.  table_end() ends it.  Cost: constant.  Panics if
 * the sink is NULL. */
void arena_tree_begin(struct table_printer *printer, struct sink *sink, bool keys);

/* Adds a line to the table.  Cost: constant. */
void arena_tree_line(const struct arena_tree_line *line, struct table_printer *printer);

/* Adds the line of an arena: a function for arena_tree_peek(), `printer` being a struct
 * table_printer.  Cost: constant. */
void arena_tree_row(const struct arena_stats *row, void *printer);

/* Writes the statistics of one arena and the histogram of its free segments; with `full` its
 * boundary tags and hash, too.  Context: a thread, and as the sink's.  Cost: as
 * arena_free_histogram().  Panics if arena or sink is NULL. */
void arena_show(struct arena *arena, bool full, bool keys, struct sink *sink);

/* Writes an amount for people into `text`: bytes with a unit, else as a plain number.
 * Context: any.  Cost: constant. */
void arena_format_amount(char text[TABLE_CELL_MAX], uint64_t amount, bool in_bytes);

#endif
