/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of kern/monitor share.  init.c and the monitor's tests use it, too.
 */
#ifndef SPANDREL_MONITOR_IMPL_H
#define SPANDREL_MONITOR_IMPL_H

#include "arena.h"
#include "monitor.h"
#include "slab.h"

/* The terminal (terminal.c) */

struct terminal {
	unsigned columns, rows; /* both 0: none is known */
};
const struct terminal *terminal_size(void);

/* Between these two Ctrl-C is a key of the line that is read; afterward it interrupts what runs. */
void terminal_begin_reading(void);
void terminal_end_reading(void);

/* The next byte typed; waits for it. */
int terminal_read(void);

/* Begins to run a line that was typed; returns the sink for what it prints.  terminal_end() ends it. */
struct sink *terminal_begin(void);
void terminal_end(void);

/* Sets whether what is printed to `sink` waits at the end of each page, if that sink is the typed
 * line's; returns whether it did, as it does at first if the terminal's size is known. */
bool terminal_page(struct sink *sink, bool on);

/* For a command that shows something again and again: sleeps for `ns`, or until a key is pressed,
 * which it takes from the input.  Returns true if the time has passed without a key.  Returns false at
 * once if no one is there to press a key: if the line wasn't typed (autorun) or doesn't print to the
 * console, after the end of input, after a panic, and once monitor_interrupted().  Context: a
 * command's. */
bool monitor_pause(struct sink *sink, uint64_t ns);

/* For a command that goes on at a key: shows `prompt` and waits for one, if there is someone to press it as
 * monitor_pause() has it.  Returns whether to go on: not after Ctrl-C.  Context: a command's. */
bool monitor_ask(struct sink *sink, const char *prompt);

/* Whether Ctrl-C was pressed since the line that runs began, or, before the first prompt, since boot.
 * Keys are read as they come: those before Ctrl-C are dropped, others wait for the prompt.  Context:
 * any but an NMI.  Cost: constant. */
bool monitor_is_interrupted(void);

/* Whether what is printed to `sink` is wanted no more, because of Ctrl-C or at the end of a page: then
 * nothing of it is shown any more, and a command that takes long is to end.  False if it doesn't go to
 * the console.  Context: a command's.  Cost: constant. */
bool monitor_interrupted(struct sink *sink);

/* For a command that shows what goes on and says how it ended, Ctrl-C or not: the console, if what is
 * printed to `sink` goes there, else `sink`.  Context: a command's.  Cost: constant. */
struct sink *monitor_live(struct sink *sink);

struct history;

/* Commands (command.c) */

/* monitor_run_line() with the output to a sink. */
bool command_run_line(const char *line, struct sink *sink);

/* Calls fn for every command, table by table, until it returns false. */
void command_for_each(
	bool (*fn)(const struct command_table *table, const struct command *command, void *arg),
	void *arg);

/* Formats the line that a command returns for an error; it is overwritten by the next call. */
const char *command_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Runs run(arg) to its end, with what `arg` points to, `size` bytes, as it left it: true.  Or false after
 * Ctrl-C, and run() goes on by itself, with a copy of them.  Context: the monitor's ktask. */
#define COMMAND_JOB_WORDS 4 /* that `size` may be */
bool command_job(const struct command_call *call, void (*run)(void *arg), void *arg, size_t size);
/* Readies a ktask for such a command, if none is.  Without one, as in a script or when there is no memory
 * for it, Ctrl-C ends none. */
void command_job_ready(void);

/* The words of one command. */
struct command_words {
	int argc;
	const char *argv[MONITOR_ARGS_MAX + 1]; /* argv[argc] is NULL */
	bool keys, all;				/* -k, -a were among them; they aren't in argv */
	const char *sort;			/* what followed -s, or NULL; both aren't in argv */
	bool awaits_column;			/* -s was the last word */
	char text[MONITOR_LINE_MAX];		/* that argv points to */
};

/* Splits the first command of *line, which ends at a `;` outside of quotes, into words, and moves
 * *line to the next one, or to the zero byte.  Returns NULL, or one line that says why the command
 * can't be split. */
const char *command_split(const char **line, struct command_words *words);

/* The arena of that name, or NULL; it can't be destroyed until arena_unpin(). */
struct arena *command_arena(const char *name);

/* The cache of that name, or NULL; it can't be destroyed until kmem_cache_unpin(). */
struct kmem_cache *command_cache(const char *name);

/* Why a command that takes an arena's name can't be run: there is none called `name`, or that is a cache. */
const char *command_no_arena(const char *name);
/* The same for a cache's. */
const char *command_no_cache(const char *name);

/* A cache's debug mode in a word or two (cmd_slab.c). */
const char *command_cache_mode(const struct kmem_cache_stats *s);

/* For people: says how many objects a command has left out because they are empty, if any. */
void command_left_out(const struct command_call *call, size_t count);

/* The command that argv[0 .. argc) begins with, or NULL. */
const struct command *command_find(int argc, const char *const *argv);

/* An editor_complete_fn: offers command names, and after a name what that command offers. */
void command_complete(
	const char *text, size_t length, void (*offer)(void *arg, const char *word), void *arg);

/* Offers the name of each arena and each cache (cmd_who.c). */
void command_offer_names(void (*offer)(void *arg, const char *word), void *arg);

/* Sorted tables (sort.c) */

struct sort_row;

/* What a command prints, while it is put in order.  Memory for it grows as rows come. */
struct sort {
	struct sink sink; /* the command's */
	struct table_order order;
	struct sink *out;    /* where all of it goes in the end */
	bool failed;	     /* there was no memory */
	bool is_row;	     /* what is written belongs to a row */
	char *text;	     /* of the rows of a table, and of the texts they are sorted by */
	size_t length, size; /* bytes in use, and there */
	struct sort_row *rows;
	size_t count, rows_size; /* rows, and bytes for them */
};

/* Begins to sort by `column` the tables of a command that prints to `out`; returns the sink to print
 * to. */
struct sink *sort_begin(struct sort *s, const char *column, struct sink *out);

/* Where what is printed to `sink` goes, if it is one of these; else `sink`. */
struct sink *sort_out(struct sink *sink);

/* Ends it.  Without memory, tables came out unsorted, and a line says so. */
void sort_end(struct sort *s);

/* Families of commands (cmd_*.c) */

extern struct command_table arena_commands, cache_commands, debug_commands, disk_commands,
	fail_commands, initrd_commands, irq_commands, ktask_commands, leaks_commands, memory_commands,
	reclaim_commands, slab_commands, symbols_commands, system_commands, terminal_commands, top_commands,
	try_commands, whatis_commands,
	who_commands, work_commands;

/* The lines that were entered (monitor.c) */
const struct history *monitor_history(void);

/* Offers the names of all symbols, to complete one (cmd_symbols.c). */
void symbols_offer(void (*offer)(void *arg, const char *word), void *arg);

/* `demo` (demo.c) */
const char *demo_command(const struct command_call *call);

/* `arena map` (arena_map.c) */
const char *arena_map_command(const struct command_call *call);

/* Prints the arena tree as a table; after a panic it takes no lock. */
void arena_tree_print(struct sink *sink, bool keys);

/* Snapshots (snapshot.c) */

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

/* Memory nodes (nodes.c) */

struct table;
extern const struct table nodes_table;

/* Prints a row for each node that the firmware tells of, behind an empty line; nothing if it tells of none. */
void nodes_print(const struct command_call *call);

/* Who holds memory (cmd_top.c) */

/* Prints `most` rows, or under -k all, and what remains in one. */
void top_print(const struct command_call *call, size_t most);

/* Between these two arena_tree_peek() and kmem_cache_peek() may be called, and nothing that sleeps.  After a
 * panic nothing is locked. */
void monitor_lock_tree(void);
void monitor_unlock_tree(void);

#endif
