/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Command: who holds memory, most first; what is free comes last.
 */
#include "holders.h"

#include "lib/array.h"
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
/* Of a command that shows no changes: the last column is left out. */
const struct table holder_table = {"holder", columns, ARRAY_SIZE(columns) - 1};

/* What the last `top` showed, and room for the next: memory for both is set aside, since `top` is asked when
 * there is none. */
static struct holders shown[2];
static struct holders *last; /* NULL: there was none */

/* Orders */

static int64_t amount_changed(const struct holder *row)
{
	return row->change < 0 ? -row->change : row->change;
}

static bool has_more(const struct holder *a, const struct holder *b)
{
	return a->bytes > b->bytes;
}

static bool has_changed_more(const struct holder *a, const struct holder *b)
{
	return amount_changed(a) > amount_changed(b);
}

static bool is_named_before(const struct holder *a, const struct holder *b)
{
	return strcmp(a->name, b->name) < 0;
}

static bool is_kind_before(const struct holder *a, const struct holder *b)
{
	return strcmp(a->kind, b->kind) < 0;
}

static bool is_in_before(const struct holder *a, const struct holder *b)
{
	return strcmp(a->in, b->in) < 0;
}

/* By a column's title, or its key. */
static const struct order {
	const char *title, *key;
	bool (*is_before)(const struct holder *a, const struct holder *b);
} orders[] = {
	{"holder", "name", is_named_before},
	{"kind", "kind", is_kind_before},
	{"in", "in", is_in_before},
	{"size", "bytes", has_more},
	{"of all", "permille", has_more},
	{"change", "change", has_changed_more},
};

static const struct order *find_order(const char *column)
{
	for (size_t i = 0; i < ARRAY_SIZE(orders); i++)
		if (strcmp(orders[i].title, column) == 0 || strcmp(orders[i].key, column) == 0)
			return &orders[i];
	return NULL;
}

static void sort(struct holders *h, const struct order *order)
{
	for (size_t i = 1; i < h->count; i++) {
		struct holder row = h->row[i];
		size_t at = i;

		for (; at > 0 && order->is_before(&row, &h->row[at - 1]); at--)
			h->row[at] = h->row[at - 1];
		h->row[at] = row;
	}
}

/* Which rows are shown */

static struct holder *most_changed(struct holders *h)
{
	struct holder *most = NULL;

	for (size_t i = 0; i < h->count; i++)
		if (!h->row[i].is_shown && (!most || has_changed_more(&h->row[i], most)))
			most = &h->row[i];
	return most;
}

/* Whether the last row is what is free, as it is unless base has none. */
static bool has_free(const struct holders *h)
{
	return h->count > 0 && strcmp(h->row[h->count - 1].kind, "free") == 0;
}

/* The first ones and the last `behind`, then those with the greatest changes, or else the next. */
static void choose(struct holders *h, size_t first, size_t behind, size_t most)
{
	struct holder *row;

	for (size_t i = 0; i < h->count; i++)
		h->row[i].is_shown = i < first || i + behind >= h->count || h->count <= most;
	for (size_t i = first + behind; i < most && (row = most_changed(h)); i++)
		row->is_shown = true;
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

static void print_row(struct table_printer *printer, const struct holder *row, uint64_t total)
{
	char share[TABLE_CELL_MAX], change_text[TABLE_CELL_MAX];
	uint64_t bytes = (uint64_t)row->bytes;
	struct top_row r = {row->name, row->kind, row->in, share, change_text, bytes,
		total ? bytes * 1000 / total : 0};

	table_format(share, TABLE_PERMILLE, r.permille);
	if (r.permille == 0 && bytes > 0)
		str_copy(share, "<0.1%", sizeof(share));
	format_change(change_text, sizeof(change_text), row->change, printer->keys);
	table_row(printer, &r);
}

/* The rows that aren't shown, in one. */
static void print_others(struct table_printer *printer, const struct holders *h)
{
	struct holder others = {.kind = "", .in = ""};
	size_t rows = 0;

	for (size_t i = 0; i < h->count; i++) {
		if (h->row[i].is_shown)
			continue;
		rows++;
		others.bytes += h->row[i].bytes;
		others.change += h->row[i].change;
	}
	ksnprintf(others.name, sizeof(others.name), "%zu others", rows);
	if (rows > 0)
		print_row(printer, &others, h->total);
}

static void print_shown(struct table_printer *printer, const struct holders *h, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		if (h->row[i].is_shown)
			print_row(printer, &h->row[i], h->total);
}

/* `most` rows, and what remains in one, before what is free unless rows are sorted.  Rows are sorted here,
 * before the others are cut off, so they pass by what sorts tables. */
static void print(const struct command_call *call, struct holders *h, size_t most, const struct table *t)
{
	struct table_order *by = call->sink->order;
	const struct order *order = by ? find_order(by->column) : NULL;
	struct table_printer printer;
	size_t behind = !order && has_free(h);

	if (order)
		sort(h, order);
	choose(h, order ? most : most - most / 3 - behind, behind, most);
	table_begin(&printer, t, sort_out(call->sink), call->keys);
	print_shown(&printer, h, 0, h->count - behind);
	print_others(&printer, h);
	print_shown(&printer, h, h->count - behind, h->count);
	table_end(&printer);
}

static struct holders *room(void)
{
	return last == &shown[0] ? &shown[1] : &shown[0];
}

void top_print(const struct command_call *call, size_t most)
{
	struct holders *now = room();

	holders_take(now, NULL);
	print(call, now, call->keys ? HOLDERS_MAX : most, &holder_table);
}

/* The rows stay until the next call, which shows what has changed since. */
static const char *top_command(const struct command_call *call)
{
	struct holders *now = room();

	holders_take(now, last);
	print(call, now, call->all || call->keys ? HOLDERS_MAX : SCREEN_ROWS, &table);
	last = now;
	return NULL;
}

static const struct command commands[] = {
	{"top", "[-k] [-a]", "who holds memory, most first; what is free last",
		"top", top_command, COMMAND_PANIC_SAFE, NULL, tables},
};

struct command_table top_commands = COMMAND_TABLE("memory", commands);
