/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of kern/monitor share, for those files, init.c and the monitor's tests.
 */
#ifndef SPANDREL_MONITOR_IMPL_H
#define SPANDREL_MONITOR_IMPL_H

#include "arena.h"
#include "monitor.h"
#include "slab.h"

/* Readies the monitor: its own commands, its history (in an arena "monitor" over kpages_arena) and
 * the panic report's table of memory.  Once, when kpages_arena stands. */
void monitor_init(void);

/* Has the monitor stay after a panic, with the commands that are safe then. */
void monitor_stay_after_panic(void);

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

/* The statistics of all arenas, each after its source, or of all caches in the same order. */
struct snapshot {
	union {
		void *rows;
		struct arena_stats *arena;
		struct kmem_cache_stats *cache;
	};
	size_t count;
	size_t bytes; /* of the memory they are in */
};

/* Take a snapshot; return false if there is no memory for it. */
bool snapshot_arenas(struct snapshot *s);
bool snapshot_caches(struct snapshot *s);
void snapshot_free(struct snapshot *s);

#endif
