/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Command: who holds memory, most first.
 */
#include "holders.h"

#include "lib/array.h"
#include "lib/panic.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "table.h"

#define SCREEN_ROWS 18 /* of a screen of 24 lines: heading, others, total and prompts take the rest */

struct top_row {
	const char *name, *kind, *in, *share, *change;
	uint64_t bytes, permille;
};

static const struct table_column columns[] = {
	TABLE_COLUMN(struct top_row, name, "holder", "name", -27, TABLE_STRING, 0,
		"what holds memory: a use, a cache, or callers of an arena"),
	TABLE_COLUMN(struct top_row, kind, "kind", "kind", -7, TABLE_STRING, 0,
		"kernel, cache, callers, idle, free or boot (docs/monitor.md)"),
	TABLE_COLUMN(struct top_row, in, "in", "in", -12, TABLE_STRING, 0,
		"the arena that it has it from"),
	TABLE_COLUMN(struct top_row, bytes, "size", "bytes", 10, TABLE_BYTES, TABLE_TOTAL,
		"how much"),
	TABLE_COLUMN(struct top_row, permille, "", "permille", 0, TABLE_COUNT, TABLE_KEY_ONLY),
	TABLE_COLUMN(struct top_row, share, "of all", "", 6, TABLE_STRING, TABLE_PEOPLE_ONLY,
		"size, of all RAM"),
	TABLE_COLUMN(struct top_row, change, "change", "change", 11, TABLE_STRING, 0,
		"of size since `top` was asked last"),
};
static const struct table table = {"holder", columns, ARRAY_SIZE(columns)};
static const struct table *const tables[] = {&table, NULL};

/* What the last `top` showed; no rows: there was none. */
static struct holders last;

/* NULL: it wasn't there. */
static const struct holder *find_last(const struct holder *row)
{
	for (size_t i = 0; i < last.count; i++)
		if (last.rows[i].kind == row->kind && strcmp(last.rows[i].name, row->name) == 0 &&
			strcmp(last.rows[i].in, row->in) == 0)
			return &last.rows[i];
	return NULL;
}

static int64_t change_of(const struct holder *row)
{
	const struct holder *before = find_last(row);

	return last.count > 0 ? row->bytes - (before ? before->bytes : 0) : 0;
}

static void format_change(char *text, size_t size, int64_t change, bool keys)
{
	uint64_t amount = (uint64_t)(change < 0 ? -change : change);

	if (keys)
		ksnprintf(text, size, "%lld", (long long)change);
	else if (change == 0)
		ksnprintf(text, size, "-");
	else
		ksnprintf(text, size, "%c%pB", change < 0 ? '-' : '+', (void *)&amount);
}

static void print_row(
	struct table_printer *printer, const struct holder *row, uint64_t total, int64_t change)
{
	char share[TABLE_CELL_MAX], change_text[TABLE_CELL_MAX];
	uint64_t bytes = (uint64_t)row->bytes;
	struct top_row r = {row->name, row->kind, row->in, share, change_text, bytes,
		total ? bytes * 1000 / total : 0};

	table_format(share, TABLE_PERMILLE, r.permille);
	if (r.permille == 0 && bytes > 0)
		str_copy(share, "<0.1%", sizeof(share));
	format_change(change_text, sizeof(change_text), change, printer->keys);
	table_row(printer, &r);
}

/* After a panic: in the order of the arena tree. */
static void peek_row(const struct holder *row, uint64_t total, void *printer)
{
	if (row->bytes > 0)
		print_row(printer, row, total, 0);
}

/* The rows that a screen has no room for, in one. */
struct others {
	uint64_t rows;
	int64_t bytes, change;
};

static void print_others(
	struct table_printer *printer, const struct holders *h, const struct others *others)
{
	struct holder row = {.kind = "", .in = "", .bytes = others->bytes};

	if (others->rows == 0)
		return;
	ksnprintf(row.name, sizeof(row.name), "%llu others", (unsigned long long)others->rows);
	print_row(printer, &row, h->total, others->change);
}

void top_print(const struct command_call *call, const struct holders *h, size_t most, bool changes)
{
	struct table_printer printer;
	struct others others = {0, 0, 0};

	table_begin(&printer, &table, call->sink, call->keys);
	for (size_t i = 0; i < h->count; i++) {
		int64_t change = changes ? change_of(&h->rows[i]) : 0;

		if (h->rows[i].bytes == 0 && change == 0)
			continue;
		if (printer.rows < most) {
			print_row(&printer, &h->rows[i], h->total, change);
			continue;
		}
		others.rows++;
		others.bytes += h->rows[i].bytes;
		others.change += change;
	}
	print_others(&printer, h, &others);
	table_end(&printer);
}

void top_print_panic(const struct command_call *call)
{
	struct table_printer printer;

	table_begin(&printer, &table, call->sink, call->keys);
	holders_peek(peek_row, &printer);
	table_end(&printer);
}

/* The rows stay until the next call, which shows what has changed since. */
static const char *top_command(const struct command_call *call)
{
	struct holders now;

	if (panic_happened()) {
		top_print_panic(call);
		return NULL;
	}
	if (!holders_take(&now))
		return "no memory for a list of holders";
	top_print(call, &now, call->all || call->keys ? SIZE_MAX : SCREEN_ROWS, true);
	if (last.count > 0)
		holders_free(&last);
	last = now;
	return NULL;
}

static const struct command commands[] = {
	{"top", "[-k] [-a]", "who holds memory, most first",
		"top", top_command, COMMAND_PANIC_SAFE, NULL, tables},
};

struct command_table top_commands = COMMAND_TABLE("memory", commands);
