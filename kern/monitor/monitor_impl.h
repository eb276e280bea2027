/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of kern/monitor share.
 */
#ifndef SPANDREL_MONITOR_IMPL_H
#define SPANDREL_MONITOR_IMPL_H

#include "arena.h"
#include "monitor.h"
#include "slab.h"

/* Commands (command.c) */

/* monitor_run_line() with the output to a sink. */
bool command_run_line(const char *line, struct sink *sink);

/* Calls fn for every command, table by table, until it returns false. */
void command_for_each(
	bool (*fn)(const struct command_table *table, const struct command *command, void *arg),
	void *arg);

/* The plain line a command returns, formatted; good until the next call. */
const char *command_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* One command of a line, as words. */
struct command_words {
	int argc;
	const char *argv[MONITOR_ARGS_MAX + 1];
	bool keys;
	char text[MONITOR_LINE_MAX];
};

/* Takes the next command off *line, up to a `;` outside of quotes, and splits it into words.
 * Returns NULL, or one plain line that says why it can't be split.  *line then stands behind it, on
 * the zero byte if it was the last. */
const char *command_split(const char **line, struct command_words *words);

/* The command that argv[0 .. argc) begins with, or NULL. */
const struct command *command_find(int argc, const char *const *argv);

/* An editor_complete_fn: command names, then what the command offers. */
void command_complete(
	const char *text, size_t length, void (*offer)(void *arg, const char *word), void *arg);

/* Families of commands */

extern struct command_table arena_commands, irq_commands, ktask_commands, slab_commands,
	system_commands, whatis_commands;

/* `arena map` (arena_map.c) */
const char *arena_map_command(const struct command_call *call);

/* The arena tree as a table; after a panic without a lock. */
void arena_tree_print(struct sink *sink, bool keys);

/* A snapshot of all arenas, each behind its source, in memory of the base arena's. */
struct arena_rows {
	struct arena_stats *rows;
	size_t count;
	size_t bytes;
};

/* Takes one; false if there is no memory for it. */
bool arena_rows_take(struct arena_rows *r);
void arena_rows_drop(struct arena_rows *r);

/* The same of all caches, in the order of the arena tree (cmd_slab.c). */
struct slab_rows {
	struct kmem_cache_stats *rows;
	size_t count;
	size_t bytes;
};
bool slab_rows_take(struct slab_rows *r);
void slab_rows_drop(struct slab_rows *r);

#endif
