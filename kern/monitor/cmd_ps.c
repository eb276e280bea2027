/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Command: the ktasks.
 */
#include "monitor_impl.h"

#include "kthread.h"
#include "lib/array.h"
#include "lib/frames.h"
#include "lib/panic.h"
#include "lib/string.h"
#include "lib/symbol.h"
#include "table.h"

#define FRAMES_MAX 32 /* of a backtrace */

#define WAIT_MAX 64

struct ps_row {
	struct ktask_stats s;
	const char *name, *state, *wait;
	uint64_t pinned, us, guard; /* guard: the guard page of its stack, 0: it has the core's first */
	uint64_t peak;
};

#define KEY(member, key, kind) TABLE_COLUMN(struct ps_row, member, "", key, 0, kind, TABLE_KEY_ONLY)

static const struct table_column ps_columns[] = {
	TABLE_COLUMN(struct ps_row, s.id, "id", "id", 5, TABLE_NUMBER, 0, "its number"),
	TABLE_COLUMN(struct ps_row, name, "name", "name", -14, TABLE_STRING, 0, "its name"),
	TABLE_COLUMN(struct ps_row, state, "state", "state", -7, TABLE_STRING, 0, "what it does"),
	TABLE_COLUMN(struct ps_row, s.core, "core", "core", 4, TABLE_NUMBER, 0,
		"the core it runs on, or ran on last"),
	KEY(pinned, "pinned", TABLE_COUNT),
	KEY(s.switches, "switches", TABLE_COUNT),
	KEY(us, "us", TABLE_COUNT),
	TABLE_COLUMN(struct ps_row, s.ns, "ran", "ns", 8, TABLE_TIME, TABLE_PEOPLE_ONLY | TABLE_TOTAL,
		"the time it ran, without its present turn"),
	TABLE_COLUMN(struct ps_row, guard, "", "guard", 0, TABLE_HEX, TABLE_KEY_ONLY,
		"address of its stack's guard page; 0: the core's first stack"),
	TABLE_COLUMN(struct ps_row, s.stack_size, "", "stack", 0, TABLE_BYTES, TABLE_KEY_ONLY,
		"size of its stack"),
	TABLE_COLUMN(struct ps_row, peak, "stack", "peak", 8, TABLE_BYTES, 0,
		"the most of its stack that was ever in use"),
	TABLE_COLUMN(struct ps_row, wait, "waits for", "", -28, TABLE_STRING, TABLE_PEOPLE_ONLY,
		"what it sleeps for; a rendez: the function that tells"),
	KEY(wait, "wait", TABLE_STRING),
};
static const struct table ps_table = {"ktask", ps_columns, ARRAY_SIZE(ps_columns)};
static const struct table *const ps_tables[] = {&ps_table, NULL};

/* Nothing runs any more, so stacks stay as they are.  A symbol is that of the call, which may be the last
 * instruction of its function. */
static void print_backtrace(const struct table_printer *printer, uint64_t id)
{
	uintptr_t pcs[FRAMES_MAX];
	size_t n = ktask_backtrace(id, pcs, FRAMES_MAX);

	if (!printer->keys)
		frames_print(printer->sink, pcs, n);
	for (size_t i = 0; i < n && printer->keys; i++)
		sink_printf(printer->sink, "frame ktask=%llu number=%zu pc=0x%zx symbol=%pS\n",
			(unsigned long long)id, i, (size_t)pcs[i], (void *)(pcs[i] - (i > 0)));
}

/* What a ktask sleeps for, in words. */
static void format_wait(char text[WAIT_MAX], const struct ktask_stats *s)
{
	char arena[ARENA_NAME_MAX];
	uintptr_t offset;
	const char *symbol = symbol_find(s->wait_of, &offset);

	if (!s->wait)
		str_copy(text, "", WAIT_MAX);
	else if (strcmp(s->wait, "memory") == 0 && arena_name_at((const struct arena *)s->wait_of, arena))
		ksnprintf(text, WAIT_MAX, "memory of %s", arena);
	else if (symbol && offset == 0)
		ksnprintf(text, WAIT_MAX, "%s %s", s->wait, symbol);
	else if (s->wait_of)
		ksnprintf(text, WAIT_MAX, "%s %#zx", s->wait, (size_t)s->wait_of);
	else
		str_copy(text, s->wait, WAIT_MAX);
}

static void ps_rows(struct table_printer *printer, const struct ktask_stats *stats, size_t n)
{
	char wait[WAIT_MAX];

	for (size_t i = 0; i < n; i++) {
		struct ps_row row = {
			.s = stats[i],
			.name = stats[i].name,
			.state = stats[i].state,
			.pinned = stats[i].pinned,
			.guard = stats[i].stack,
			.us = stats[i].ns / 1000,
			.peak = ktask_stack_peak(stats[i].id),
			.wait = wait,
		};

		format_wait(wait, &stats[i]);
		table_row(printer, &row);
		if (panic_happened())
			print_backtrace(printer, stats[i].id);
	}
}

/* Reads a few at a time into rows on its stack, so it needs no other memory. */
static const char *ps_command(const struct command_call *call)
{
	struct ktask_stats stats[KTASK_STATS_STEP / 2];
	struct table_printer printer;
	uint64_t from = 0;
	size_t n;

	table_begin(&printer, &ps_table, call->sink, call->keys);
	while ((n = ktask_stats(from, stats, ARRAY_SIZE(stats)))) {
		ps_rows(&printer, stats, n);
		from = stats[n - 1].id + 1;
	}
	table_end(&printer);
	return NULL;
}

static const struct command commands[] = {
	{"ps", "[-k]", "the ktasks: state, time, stack, what they wait for", "ps",
		ps_command, COMMAND_PANIC_SAFE, NULL, ps_tables},
};

struct command_table ktask_commands = COMMAND_TABLE("ktasks", commands);
