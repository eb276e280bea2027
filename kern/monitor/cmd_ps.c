/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Command: the ktasks.
 */
#include "monitor_impl.h"

#include "kthread.h"
#include "lib/array.h"
#include "lib/panic.h"
#include "table.h"

#define FRAMES_MAX 32 /* of a backtrace */

struct ps_row {
	struct ktask_stats s;
	const char *name, *state;
	uint64_t pinned, us, guard; /* guard: the guard page of its stack, 0: it has the core's first */
};

static const struct table_column ps_columns[] = {
	TABLE_COLUMN(struct ps_row, s.id, "id", "id", 6, TABLE_NUMBER, 0),
	TABLE_COLUMN(struct ps_row, name, "name", "name", -16, TABLE_STRING, 0),
	TABLE_COLUMN(struct ps_row, state, "state", "state", -8, TABLE_STRING, 0),
	TABLE_COLUMN(struct ps_row, s.core, "core", "core", 5, TABLE_NUMBER, 0),
	TABLE_COLUMN(struct ps_row, pinned, "pinned", "pinned", 6, TABLE_COUNT, 0),
	TABLE_COLUMN(
		struct ps_row, s.switches, "switches", "switches", 10, TABLE_COUNT, TABLE_TOTAL),
	TABLE_COLUMN(struct ps_row, us, "ran, us", "us", 12, TABLE_COUNT, TABLE_TOTAL),
	TABLE_COLUMN(struct ps_row, guard, "", "guard", 0, TABLE_HEX, TABLE_KEY_ONLY),
	TABLE_COLUMN(struct ps_row, s.stack_size, "stack", "stack", 10, TABLE_BYTES, TABLE_TOTAL),
};
static const struct table ps_table = {"ktask", ps_columns, ARRAY_SIZE(ps_columns)};

/* Nothing runs any more, so stacks stay as they are. */
static void print_backtrace(const struct table_printer *printer, uint64_t id)
{
	uintptr_t pcs[FRAMES_MAX];
	size_t n = ktask_backtrace(id, pcs, FRAMES_MAX);

	for (size_t i = 0; i < n; i++)
		if (printer->keys)
			sink_printf(printer->sink, "frame ktask=%llu number=%zu pc=0x%zx symbol=%pS\n",
				(unsigned long long)id, i, (size_t)pcs[i], (void *)pcs[i]);
		else
			sink_printf(printer->sink, "       #%zu 0x%zx %pS\n", i, (size_t)pcs[i],
				(void *)pcs[i]);
}

static void ps_rows(struct table_printer *printer, const struct ktask_stats *stats, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct ps_row row = {
			.s = stats[i],
			.name = stats[i].name,
			.state = stats[i].state,
			.pinned = stats[i].pinned,
			.guard = stats[i].stack,
			.us = stats[i].ns / 1000,
		};

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
	{"ps", "[-k]", "the ktasks: state, core, switches, time, stack", "ps",
		ps_command, COMMAND_PANIC_SAFE, NULL, NULL},
};

struct command_table ktask_commands = COMMAND_TABLE("ktasks", commands);
