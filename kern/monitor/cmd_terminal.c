/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands for the person at the terminal.
 */
#include "editor.h"
#include "monitor_impl.h"

#include "lib/array.h"
#include "lib/string.h"

#define WATCH_NS 1000000000ull /* from one time that a command is run to the next */

static const char clears[] = "\x1b[H\x1b[2J";

/* watch */

/* Puts the words together again, each in quotes. */
static const char *join_words(const struct command_call *call, char line[MONITOR_LINE_MAX])
{
	struct buffer_sink text;

	buffer_sink_init(&text, line, MONITOR_LINE_MAX);
	for (int i = 1; i < call->argc; i++)
		sink_printf(&text.sink, "\"%s\" ", call->argv[i]);
	sink_printf(&text.sink, "%s%s", call->keys ? "-k " : "", call->all ? "-a" : "");
	return text.length < MONITOR_LINE_MAX ? NULL : "the command is too long";
}

static const char *watch_command(const struct command_call *call)
{
	bool on_terminal = terminal_size()->rows > 0 && !call->keys;
	char line[MONITOR_LINE_MAX];
	const char *wrong = join_words(call, line);

	if (wrong)
		return wrong;
	if (command_find(1, call->argv + 1) && strcmp(call->argv[1], call->argv[0]) == 0)
		return "a watch isn't watched";
	do {
		sink_puts(call->sink, on_terminal ? clears : "");
		if (!command_run_line(line, call->sink))
			return NULL;
	} while (monitor_pause(call->sink, WATCH_NS));
	return NULL;
}

/* history */

struct history_row {
	uint64_t number;
	const char *line;
};

static const struct table_column history_columns[] = {
	TABLE_COLUMN(struct history_row, number, "line", "number", 4, TABLE_NUMBER, 0,
		"1 is the one entered last"),
	TABLE_COLUMN(struct history_row, line, "text", "text", -75, TABLE_STRING, 0, "what was typed"),
};
static const struct table history_table = {"line", history_columns, ARRAY_SIZE(history_columns)};
static const struct table *const history_tables[] = {&history_table, NULL};

static const char *history_command(const struct command_call *call)
{
	const struct history *history = monitor_history();
	struct table_printer printer;

	table_begin(&printer, &history_table, call->sink, call->keys);
	for (unsigned back = history->count; back > 0; back--) {
		struct history_row row = {back, history_get(history, back)};

		table_row(&printer, &row);
	}
	table_end(&printer);
	return NULL;
}

/* terminal, clear */

static const char *terminal_command(const struct command_call *call)
{
	const char *wrong = call->argc > 1 ? monitor_set_terminal(call->argv[1]) : NULL;

	if (wrong)
		return command_error("%s is %s", call->argv[1], wrong);
	if (terminal_size()->rows > 0)
		sink_printf(call->sink, "%u columns, %u rows: long output stops at each page\n",
			terminal_size()->columns, terminal_size()->rows);
	else
		sink_puts(call->sink, "no size is known: output never stops\n");
	return NULL;
}

static const char *clear_command(const struct command_call *call)
{
	sink_puts(call->sink, clears);
	return NULL;
}

static const struct command commands[] = {
	{"watch", "[-k] [-a] COMMAND [WORD...]", "repeats a command every second until a key",
		"watch arena tree", watch_command, COMMAND_LIVE | COMMAND_PANIC_SAFE, NULL, NULL},
	{"history", "[-k]", "the lines that were entered, the oldest first", "history",
		history_command, COMMAND_PANIC_SAFE, NULL, history_tables},
	{"clear", "", "clears the screen", "clear", clear_command, COMMAND_PANIC_SAFE, NULL, NULL},
	{"terminal", "[SIZE]", "shows or sets the terminal's size: 80x24, or none", "terminal",
		terminal_command, COMMAND_PANIC_SAFE, NULL, NULL},
};

struct command_table terminal_commands = COMMAND_TABLE("terminal", commands);
