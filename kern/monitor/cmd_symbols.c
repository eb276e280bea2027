/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Command: the kernel's image, its parts and its symbols.
 */
#include "monitor_impl.h"

#include "lib/array.h"
#include "lib/string.h"
#include "lib/symbol.h"
#include "machine.h"
#include "table.h"

struct symbols_row {
	const char *name;
	uint64_t start, end, size;
};

#define COLUMN(member, title, key, width, kind, flags, help)                                                  \
	TABLE_COLUMN(struct symbols_row, member, title, key, width, kind, flags, help)

static const struct table_column section_columns[] = {
	COLUMN(name, "part", "name", -14, TABLE_STRING, 0, "functions, constants, variables, names"),
	COLUMN(start, "start", "start", 18, TABLE_HEX, 0, "its first address"),
	COLUMN(end, "end", "end", 18, TABLE_HEX, 0, "the address behind its last"),
	COLUMN(size, "size", "size", 10, TABLE_BYTES, TABLE_TOTAL, "what it takes"),
};
static const struct table section_table = {"section", section_columns, ARRAY_SIZE(section_columns)};

static const struct table_column symbol_columns[] = {
	COLUMN(start, "symbol at", "start", 18, TABLE_HEX, 0, "where it begins"),
	COLUMN(size, "bytes", "size", 9, TABLE_COUNT, 0, "up to the next one"),
	COLUMN(name, "name", "name", -48, TABLE_STRING, 0, "a function, constant or variable"),
};
static const struct table symbol_table = {"symbol", symbol_columns, ARRAY_SIZE(symbol_columns)};
static const struct table *const tables[] = {&section_table, &symbol_table, NULL};

static void print_sections(const struct command_call *call)
{
	struct table_printer printer;
	struct machine_section s;

	table_begin(&printer, &section_table, call->sink, call->keys);
	for (size_t i = 0; machine_section(i, &s); i++) {
		struct symbols_row row = {s.name, s.start, s.start + s.size, s.size};

		table_row(&printer, &row);
	}
	table_end(&printer);
}

/* Returns how many there are. */
static size_t print_symbols(const struct command_call *call, const char *part)
{
	struct symbols_row row = {.name = ""};
	struct table_printer printer;
	uintptr_t start;
	size_t size, found = 0;

	for (size_t i = 0; (row.name = symbol_at(i, &start, &size)) && !monitor_interrupted(call->sink); i++) {
		if (!strstr(row.name, part))
			continue;
		row.start = start;
		row.size = size;
		if (found++ == 0)
			table_begin(&printer, &symbol_table, call->sink, call->keys);
		table_row(&printer, &row);
	}
	if (found > 0)
		table_end(&printer);
	return found;
}

static const char *symbols_command(const struct command_call *call)
{
	if (call->argc == 1)
		print_sections(call);
	else if (print_symbols(call, call->argv[1]) == 0)
		return command_error("no symbol has \"%s\" in its name", call->argv[1]);
	return NULL;
}

void symbols_offer(void (*offer)(void *arg, const char *word), void *arg)
{
	const char *name;
	uintptr_t start;
	size_t size;

	for (size_t i = 0; (name = symbol_at(i, &start, &size)); i++)
		offer(arg, name);
}

static const struct command commands[] = {
	{"symbols", "[-k] [PART]", "the image's extent; symbols with PART in their names", "symbols arena_alloc",
		symbols_command, COMMAND_PANIC_SAFE, symbols_offer, tables},
};

struct command_table symbols_commands = COMMAND_TABLE("debugging", commands);
