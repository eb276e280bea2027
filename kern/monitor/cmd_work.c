/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands: workloads.
 */
#include "monitor_impl.h"

#include "lib/array.h"
#include "lib/string.h"
#include "table.h"
#include "work.h"

#define ROWS_AT_ONCE 8
#define WHY_MAX 100 /* bytes of what is wrong with a call, its end included */

/* work kinds */

static const struct table_column kind_columns[] = {
	TABLE_COLUMN(struct work_info, name, "name", "name", -6, TABLE_STRING, 0,
		"for `work start`"),
	TABLE_COLUMN(struct work_info, args, "arguments", "args", -26, TABLE_STRING, 0,
		"and what may follow it"),
	TABLE_COLUMN(struct work_info, help, "what it does", "help", -46, TABLE_STRING, 0,
		"in a few words"),
};
static const struct table kind_table = {"work_kind", kind_columns, ARRAY_SIZE(kind_columns)};
static const struct table *const kind_tables[] = {&kind_table, NULL};

static const char *kinds_command(const struct command_call *call)
{
	struct table_printer printer;
	struct work_info info;

	table_begin(&printer, &kind_table, call->sink, call->keys);
	for (size_t i = 0; work_kinds(i, &info); i++)
		table_row(&printer, &info);
	table_end(&printer);
	return NULL;
}

/* work list */

struct work_row {
	struct work_stats s;
	const char *name, *args;
};

#define COUNT(member, title, width, help)                                                          \
	TABLE_COLUMN(                                                                              \
		struct work_row, s.member, title, #member, width, TABLE_COUNT, TABLE_TOTAL, help)

static const struct table_column columns[] = {
	TABLE_COLUMN(struct work_row, s.id, "id", "id", 4, TABLE_NUMBER, 0,
		"for `work stop`"),
	TABLE_COLUMN(struct work_row, name, "name", "name", -7, TABLE_STRING, 0,
		"which workload it is"),
	TABLE_COLUMN(struct work_row, args, "arguments", "args", -14, TABLE_STRING, 0,
		"that it was started with"),
	TABLE_COLUMN(struct work_row, s.state, "state", "state", -8, TABLE_STRING, 0,
		"running, or stopping"),
	COUNT(ktasks, "ktasks", 6, "that it runs on"),
	COUNT(ops, "operations", 10, "done (docs/monitor.md says what one is)"),
	COUNT(wrong, "wrong", 5, "contents or units that weren't its own"),
	COUNT(refused, "refused", 7, "MEM_WAIT requests that returned NULL"),
	COUNT(failed, "failed", 6, "blocks that a disk couldn't read"),
};
static const struct table table = {"work", columns, ARRAY_SIZE(columns)};
static const struct table *const tables[] = {&table, NULL};

static void print_row(struct table_printer *printer, const struct work_stats *s)
{
	struct work_row row = {*s, s->name, *s->args ? s->args : NULL};

	table_row(printer, &row);
}

static const char *list_command(const struct command_call *call)
{
	struct work_stats stats[ROWS_AT_ONCE];
	struct table_printer printer;
	uint64_t from = 0;
	size_t n;

	if (!call->keys && work_list(0, stats, 1) == 0) {
		sink_puts(call->sink, "no workload runs\n");
		return NULL;
	}
	table_begin(&printer, &table, call->sink, call->keys);
	while ((n = work_list(from, stats, ARRAY_SIZE(stats)))) {
		for (size_t i = 0; i < n; i++)
			print_row(&printer, &stats[i]);
		from = stats[n - 1].id + 1;
	}
	table_end(&printer);
	return NULL;
}

/* work start, work stop */

static const char *start_command(const struct command_call *call)
{
	const char **args = call->argv + 3;
	struct buffer_sink why;
	char text[WHY_MAX];
	uint64_t id;

	buffer_sink_init(&why, text, sizeof(text));
	id = work_start(call->argv[2], (size_t)call->argc - 3, args, &why.sink);
	if (!id)
		return command_error("%s", text);
	sink_printf(call->sink, call->keys ? "started id=%llu\n" : "workload %llu runs\n",
		(unsigned long long)id);
	return NULL;
}

struct stop {
	uint64_t id; /* 0: all */
	size_t stopped;
};

static void stop(void *arg)
{
	struct stop *s = arg;

	s->stopped = s->id ? work_stop(s->id) : work_stop_all();
}

static const char *stop_command(const struct command_call *call)
{
	struct stop s = {0, 0};
	const char *id = call->argv[2];

	if (id && !str_to_u64(id, &s.id))
		return command_error("no number: %s", id);
	if (id && s.id == 0)
		return command_error("no workload has the id %s", id);
	if (!command_job(call, stop, &s, sizeof(s)))
		return "interrupted: what was told to stop ends by itself";
	if (id && s.stopped == 0)
		return command_error("no workload has the id %s", id);
	sink_printf(call->sink, call->keys ? "stopped count=%zu\n" : "%zu stopped\n", s.stopped);
	return NULL;
}

static void offer_kinds(void (*offer)(void *arg, const char *word), void *arg)
{
	struct work_info info;

	for (size_t i = 0; work_kinds(i, &info); i++)
		offer(arg, info.name);
}

static const struct command commands[] = {
	{"work kinds", "[-k]", "the workloads there are: their arguments, what they do",
		"work kinds", kinds_command, 0, NULL, kind_tables},
	{"work start", "[-k] NAME [ARG...]", "starts a workload, which runs until stopped",
		"work start alloc 10", start_command, 0, offer_kinds, NULL},
	{"work list", "[-k]", "those that run: ktasks, operations, errors found", "work list",
		list_command, 0, NULL, tables},
	{"work stop", "[-k] [ID]", "stops one, or all, and frees all, Ctrl-C or not",
		"work stop", stop_command, 0, NULL, NULL},
};

struct command_table work_commands = COMMAND_TABLE("workloads", commands);
