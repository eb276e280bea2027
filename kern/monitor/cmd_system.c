/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands: help, tests, benchmarks, and three ways to end.
 */
#include "editor.h"
#include "machine.h"
#include "monitor_impl.h"

#include "block_cache.h"
#include "lib/array.h"
#include "lib/bench.h"
#include "lib/panic.h"
#include "lib/string.h"
#include "lib/test.h"
#include "port.h"
#include "table.h"

/* help */

struct help_row {
	const char *family, *call, *name, *usage, *summary, *example;
	uint64_t panic_safe;
};

static const struct table_column help_columns[] = {
	TABLE_COLUMN(
		struct help_row, call, "command", "call", -24, TABLE_STRING, TABLE_PEOPLE_ONLY,
		"what to type; what stands in brackets may be left out"),
	TABLE_COLUMN(struct help_row, name, "name", "name", -12, TABLE_STRING, TABLE_KEY_ONLY),
	TABLE_COLUMN(struct help_row, usage, "usage", "usage", -12, TABLE_STRING, TABLE_KEY_ONLY),
	TABLE_COLUMN(struct help_row, family, "family", "family", -8, TABLE_STRING, TABLE_KEY_ONLY),
	TABLE_COLUMN(
		struct help_row, panic_safe, "safe", "panic_safe", 4, TABLE_COUNT, TABLE_KEY_ONLY),
	TABLE_COLUMN(
		struct help_row, example, "example", "example", -20, TABLE_STRING, TABLE_KEY_ONLY),
	TABLE_COLUMN(struct help_row, summary, "what it does", "summary", -55, TABLE_STRING, 0,
		"in a few words"),
};
static const struct table help_table = {"command", help_columns, ARRAY_SIZE(help_columns)};

#define HELP_CALL_MAX 64

/* The usage without the words that mean the same for every command. */
static const char *own_usage(const struct command *command)
{
	const char *usage = command->usage;

	while (str_starts(usage, "[-k]") || str_starts(usage, "[-a]"))
		usage += usage[4] ? 5 : 4;
	return usage;
}

static bool help_row_print(
	const struct command_table *table, const struct command *command, void *printer)
{
	char call[HELP_CALL_MAX];
	struct help_row row = {table->family, call, command->name, command->usage, command->summary,
		command->example, !!(command->flags & COMMAND_PANIC_SAFE)};

	if (panic_happened() && !row.panic_safe)
		return true;
	ksnprintf(call, sizeof(call), "%s %s", command->name, own_usage(command));
	table_row(printer, &row);
	return true;
}

struct help_search {
	const struct command_call *call;
	bool found;
	bool takes_k, takes_a, takes_s; /* one of those found does */
};

/* Whether the words behind `help` are all of the command's name, or its first word. */
static bool is_asked_for(const struct command_call *call, const char *name)
{
	size_t first = strlen(call->argv[1]);

	if (!str_starts(name, call->argv[1]) || (name[first] != '\0' && name[first] != ' '))
		return false;
	return call->argc == 2 ||
	       (name[first] == ' ' && strcmp(name + first + 1, call->argv[2]) == 0);
}

/* What has no title, since only -k shows it, is named by its key. */
static void explain_column(struct sink *sink, const struct table_column *c)
{
	char key[HELP_CALL_MAX];

	ksnprintf(key, sizeof(key), "-k: %s=", c->key);
	sink_printf(sink, "    %-14s %s\n", *c->title ? c->title : key, c->help);
}

static void explain_columns(struct sink *sink, const struct table *t)
{
	sink_printf(sink, "  columns of `%s`:\n", t->object);
	for (size_t i = 0; i < t->column_count; i++)
		if (*t->columns[i].help)
			explain_column(sink, &t->columns[i]);
}

static bool help_one(const struct command_table *table, const struct command *command, void *arg)
{
	struct help_search *search = arg;

	if (!is_asked_for(search->call, command->name))
		return true;
	search->found = true;
	search->takes_k |= strstr(command->usage, "[-k]") != NULL;
	search->takes_a |= strstr(command->usage, "[-a]") != NULL;
	search->takes_s |= command->tables != NULL;
	sink_printf(search->call->sink, "%s%s%s\n  %s\n  example: %s\n", command->name,
		*command->usage ? " " : "", command->usage, command->summary, command->example);
	for (const struct table *const *t = command->tables; t && *t; t++)
		explain_columns(search->call->sink, *t);
	return true;
}

static void explain_common(const struct help_search *search)
{
	struct sink *sink = search->call->sink;

	if (search->takes_k)
		sink_puts(sink, "  -k: for scripts, a line of key=value for each row, bytes as exact numbers\n");
	if (search->takes_a)
		sink_puts(sink, "  -a: leaves nothing out, neither what is empty nor rows beyond the first\n");
	if (search->takes_s)
		sink_puts(sink, "  -s COLUMN: sorts by it, numbers from the greatest\n");
}

static const char common_words[] =
	"\nWhat prints a table takes -s COLUMN, which sorts it, and -k, for scripts; some\n"
	"take -a, which shows what is empty, too.  `help COMMAND` explains the columns,\n"
	"`help keys` the keys.\n";

static const char *help_command(const struct command_call *call)
{
	struct help_search search = {.call = call};
	struct table_printer printer;

	if (call->argc == 1) {
		table_begin(&printer, &help_table, call->sink, call->keys);
		command_for_each(help_row_print, &printer);
		table_end(&printer);
		if (!call->keys)
			sink_puts(call->sink, common_words);
		return NULL;
	}
	if (call->argc == 2 && strcmp(call->argv[1], "keys") == 0) {
		editor_list_keys(call->sink);
		return NULL;
	}
	command_for_each(help_one, &search);
	explain_common(&search);
	return search.found ? NULL : command_error("no command %s", call->argv[1]);
}

struct completion {
	void (*offer)(void *arg, const char *word);
	void *arg;
};

static bool offer_name(const struct command_table *table, const struct command *command, void *arg)
{
	struct completion *c = arg;

	c->offer(c->arg, command->name);
	return true;
}

static void offer_names(void (*offer)(void *arg, const char *word), void *arg)
{
	struct completion c = {offer, arg};

	command_for_each(offer_name, &c);
}

/* test, bench */

static const char *no_test(const char *filter)
{
	return command_error("no test has \"%s\" in its name", filter ? filter : "");
}

static const char *test_command(const struct command_call *call)
{
	struct test_result result;
	const char *filter;
	bool lists = false, is_verbose = false;
	int word = 1;

	for (; word < call->argc && call->argv[word][0] == '-'; word++) {
		if (strcmp(call->argv[word], "-l") == 0)
			lists = true;
		else if (strcmp(call->argv[word], "-v") == 0)
			is_verbose = true;
		else
			return command_error("%s is neither -l nor -v", call->argv[word]);
	}
	if (word + 1 < call->argc)
		return "one filter at a time";
	filter = call->argv[word];
	if (lists)
		return test_list(filter, call->sink) ? NULL : no_test(filter);
	result = test_run(filter, is_verbose, monitor_live(call->sink));
	if (result.passed + result.failed == 0)
		return no_test(filter);
	if (result.is_interrupted)
		return "interrupted";
	return result.failed ? command_error("%zu failed", result.failed) : NULL;
}

static const char *bench_command(const struct command_call *call)
{
	bool by_clock = call->argc > 1 && strcmp(call->argv[1], "-c") == 0;
	const char *filter = call->argv[1 + by_clock];

	if (call->argc > 2 + by_clock)
		return "one filter at a time";
	if (!bench_run(filter, by_clock, call->sink))
		return command_error("no benchmark has \"%s\" in its name", filter ? filter : "");
	return NULL;
}

/* panic, reboot, poweroff */

#define UNMAPPED 0x10 /* an address that no port maps */

static void write_to_unmapped(void)
{
	uintptr_t address = UNMAPPED;

	/* Hides the constant from the compiler, which would warn about it. */
	__asm__ volatile("" : "+r"(address));
	*(volatile char *)address = 0;
}

/* Calls itself until the stack overflows.  It uses its frame after the call, so that the compiler
 * can't turn the call into a loop. */
static __attribute__((noinline)) unsigned overflow_stack(unsigned depth)
{
	volatile char frame[256];

	frame[depth % sizeof(frame)] = (char)depth;
	if (depth == UINT32_MAX)
		return 0;
	return overflow_stack(depth + 1) + (unsigned char)frame[depth % sizeof(frame)];
}

static const char *panic_command(const struct command_call *call)
{
	if (call->argc > 1 && strcmp(call->argv[1], "-f") == 0)
		write_to_unmapped();
	if (call->argc > 1 && strcmp(call->argv[1], "-o") == 0)
		overflow_stack(0);
	panic("%s", call->argc > 1 ? call->argv[1] : "asked for in the monitor");
}

/* After a panic what the kernel knows of its disks isn't to be written, nor does it run ktasks. */
static void sync_disks(void)
{
	if (!panic_happened())
		block_cache_sync_all();
}

static const char *reboot_command(const struct command_call *call)
{
	sync_disks();
	sink_puts(call->sink, "rebooting\n");
	machine_reboot();
}

static const char *poweroff_command(const struct command_call *call)
{
	uint64_t code = 0;

	if (call->argc > 1 && (!str_to_u64(call->argv[1], &code) || code > MACHINE_STOP_CODE_MAX))
		return command_error(
			"%s is not a number from 0 to %d", call->argv[1], MACHINE_STOP_CODE_MAX);
	sync_disks();
	machine_stop((int)code);
}

static const struct table *const help_tables[] = {&help_table, NULL};

static const struct command commands[] = {
	{"help", "[-k] [COMMAND [WORD]]", "lists the commands, or explains one and its columns",
		"help arena tree", help_command, COMMAND_PANIC_SAFE, offer_names, help_tables},
	{"?", "[-k] [COMMAND [WORD]]", "the same as `help`", "? slab", help_command,
		COMMAND_PANIC_SAFE, offer_names, help_tables},
	{"test", "[-l] [-v] [FILTER]", "runs tests; -l: lists; -v: more; Ctrl-C: ends after one",
		"test -l \"arena: \"", test_command, COMMAND_LIVE, NULL, NULL},
	{"bench", "[-c] [FILTER]", "runs benchmarks; -c: by the clock; Ctrl-C: after one", "bench kmem",
		bench_command, COMMAND_LIVE, NULL, NULL},
	{"panic", "[TEXT]", "panics; -f: by a page fault; -o: a stack overflow",
		"panic \"just trying\"", panic_command, 0, NULL, NULL},
	{"reboot", "", "syncs disks, starts again without keys typed ahead", "reboot", reboot_command, COMMAND_PANIC_SAFE,
		NULL, NULL},
	{"poweroff", "[CODE]", "syncs disks, stops; QEMU or process exits with CODE",
		"poweroff 3", poweroff_command, COMMAND_PANIC_SAFE, NULL, NULL},
};

struct command_table system_commands = COMMAND_TABLE("system", commands);
