/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel monitor: commands on the console.
 *
 * A command is a row of a table, one table for each family, kept beside what it shows:
 *
 *	static const struct command commands[] = {
 *		{"mem", "[-k]", "where the machine's memory went", "mem", mem_command, COMMAND_PANIC_SAFE, NULL},
 *	};
 *	static struct command_table table = COMMAND_TABLE("memory", commands);
 *	monitor_add_commands(&table);
 *
 * Context: not in an interrupt; one monitor runs at a time.
 */
#ifndef SPANDREL_MONITOR_H
#define SPANDREL_MONITOR_H

#include <stdbool.h>
#include <stddef.h>

#include "sink.h"
#include "table.h"

#define MONITOR_LINE_MAX 512 /* bytes in a typed line, its end included */
#define MONITOR_ARGS_MAX 16  /* words in one command */

/* May be used in the panic monitor: takes no lock, allocates nothing. */
#define COMMAND_PANIC_SAFE (1u << 0)

struct command_call {
	int argc;	   /* words, the command's name included (a family's: `arena tree` is 2) */
	const char **argv; /* argv[argc] is NULL */
	bool keys;	   /* -k was given; it isn't in argv */
	struct sink *sink;
};

struct command {
	const char *name;    /* "mem", or two words: "arena tree" */
	const char *usage;   /* what follows the name, "" if nothing */
	const char *summary; /* one line */
	const char *example; /* a whole command line */
	/* Returns NULL, or one plain line that says what was wrong with the call. */
	const char *(*run)(const struct command_call *call);
	unsigned flags;
	/* Offers words for completion of an argument: calls offer() for each that could stand
	 * there.  NULL: none. */
	void (*complete)(void (*offer)(void *arg, const char *word), void *arg);
};

struct command_table {
	struct command_table *next; /* of those added */
	const char *family;
	const struct command *commands;
	size_t count;
};
#define COMMAND_TABLE(family, commands) {NULL, family, commands, sizeof(commands) / sizeof((commands)[0])}

/* Adds a table; it stays the caller's and must outlive the monitor. */
void monitor_add_commands(struct command_table *table);

/* Boot */

/* Makes the monitor's arena, "monitor" over kpages_arena, for its history; adds the kernel's own
 * commands, and to a panic's report the table of arenas.  Context: boot, once, when kpages_arena
 * stands. */
void monitor_init(void);

/* Has the monitor run after a panic's report, with the commands that are safe then.  Context: boot. */
void monitor_stay_after_panic(void);

/* Use */

/* Runs a line: commands separated by `;`.  Prints what they print to the console, and one plain
 * line for what can't be run.  Returns whether every command was run and found its arguments
 * right. */
bool monitor_run_line(const char *line);

/* Reads and runs lines until input is closed.  It sleeps while there is none. */
void monitor_run(void);

/* Input may have come: wakes monitor_run().  Context: any but an NMI. */
void monitor_input(void);

#endif
