/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel monitor: commands on the console.
 *
 * A command is a row of a table, one table for each family, kept beside what it shows:
 *
 *	static const struct command commands[] = {
 *		{"mem", "[-k]", "where the machine's memory went", "mem", mem_command, COMMAND_PANIC_SAFE, NULL,
 *			tables},
 *	};
 *	static struct command_table table = COMMAND_TABLE("memory", commands);
 *	monitor_add_commands(&table);
 *
 * One line runs at a time.  Context, where nothing else is said: a thread, interrupts on, no lock
 * held; after a panic, the core that panicked.
 */
#ifndef SPANDREL_MONITOR_H
#define SPANDREL_MONITOR_H

#include <stdbool.h>
#include <stddef.h>

#include "sink.h"
#include "table.h"

#define MONITOR_LINE_MAX 512 /* bytes of a line, its end included */
#define MONITOR_ARGS_MAX 16  /* words of a command */

/* A flag of a command: it takes no lock and allocates nothing, so it may run after a panic. */
#define COMMAND_PANIC_SAFE (1u << 0)
/* Another: it shows what happens as it happens, so a full page doesn't stop it, nor the commands that it
 * runs. */
#define COMMAND_LIVE (1u << 1)

/* How a command was called. */

struct command_call {
	int argc;	   /* words, those of the command's name included: `arena tree` is 2 */
	const char **argv; /* argv[argc] is NULL */
	/* Words for every command, which aren't in argv: -k, and -a (show what is empty, too). */
	bool keys, all;
	struct sink *sink; /* where its output goes */
};

struct command {
	const char *name;    /* "mem", or two words: "arena tree" */
	/* The words after the name, those in brackets optional, the last one with dots in it any number
	 * of words; "": none.  A command with tables may be called with -s COLUMN, too: those
	 * that have the column are sorted by it, numbers from the greatest on. */
	const char *usage;
	const char *summary; /* one line */
	const char *example; /* a whole line */
	/* Runs it.  Returns NULL, or one plain line that says what was wrong with the call. */
	const char *(*run)(const struct command_call *call);
	unsigned flags; /* COMMAND_ constants, or 0 */
	/* Calls offer() with each word that an argument may be, to complete one.  NULL: there are
	 * none. */
	void (*complete)(void (*offer)(void *arg, const char *word), void *arg);
	/* The tables that it prints, whose columns `help` explains, and -s may name; the last one NULL.
	 * NULL: there are none. */
	const struct table *const *tables;
};

/* The commands of a family. */
struct command_table {
	struct command_table *next; /* the one that was added after it */
	const char *family;
	const struct command *commands;
	size_t count;
};
#define COMMAND_TABLE(family, commands) {NULL, family, commands, sizeof(commands) / sizeof((commands)[0])}

/* Adds a table of commands behind those there are; it must stay as long as the kernel runs.
 * Context: any but an NMI, while no line runs.  Cost: linear in tables. */
void monitor_add_commands(struct command_table *table);

/* Boot */

/* Makes the monitor's arena, "monitor" over kpages_arena, for its history; adds the kernel's own
 * commands; and has a panic's report end with the table of arenas.  Context: boot, once, when
 * kpages_arena stands.  Cost: constant.  Panics if there is no memory for the arena. */
void monitor_init(void);

/* Has the monitor run after a panic's report, with the commands that are safe then.  Context: boot.
 * Cost: constant. */
void monitor_stay_after_panic(void);

/* Tells the monitor that a person reads the console on a terminal of COLUMNSxROWS, as "80x24", or that
 * none does, "none", which holds until this is called: then output of typed lines stops when a page
 * is full, and the line editor has that many columns.  Returns NULL, or what is wrong with `size`.  Context: boot,
 * or a command's.  Cost: constant. */
const char *monitor_set_terminal(const char *size);

/* Use */

/* Runs a line: commands with `;` between them.  Their output goes to the console, and one plain
 * line for each that can't be run; those after it still run, unless Ctrl-C comes.  Cost: the
 * commands'.  Returns whether every command that ran accepted its words. */
bool monitor_run_line(const char *line);

/* Reads lines from the console and runs them until input is closed; sleeps while there is no
 * input. */
void monitor_run(void);

/* Input may have come: wakes monitor_run(), or, while it reads no line, looks for Ctrl-C in what has
 * come and keeps the rest, 1024 keys at most.  Context: any but an NMI.  Cost: linear in the keys. */
void monitor_input(void);

#endif
