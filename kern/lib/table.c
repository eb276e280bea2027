/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table printer.
 */
#include "table.h"

#include "lib/check.h"
#include "lib/panic.h"
#include "lib/printf.h"
#include "lib/string.h"

static bool is_shown(const struct table_printer *t, const struct table_column *column)
{
	return !(column->flags & (t->keys ? TABLE_PEOPLE_ONLY : TABLE_KEY_ONLY));
}

static uint64_t number_in(const struct table_column *column, const void *row)
{
	return *(const uint64_t *)((const char *)row + column->offset);
}

static const char *string_in(const struct table_column *column, const void *row)
{
	const char *s = *(const char *const *)((const char *)row + column->offset);

	return s ? s : "";
}

uint64_t table_permille(uint64_t part, uint64_t whole)
{
	uint64_t share;

	if (part == 0 || whole == 0)
		return 0;
	if (part >= whole)
		return 1000;
	share = part <= UINT64_MAX / 1000 ? part * 1000 / whole : part / (whole / 1000);
	return share == 0 ? 1 : share;
}

static void format_time(char *cell, uint64_t ns)
{
	static const char *const units[] = {"ns", "us", "ms", "s"};
	uint64_t whole = ns, tenths = 0;
	unsigned i = 0;

	for (; whole >= 1000 && i < 3; i++) {
		tenths = whole % 1000 / 100;
		whole /= 1000;
	}
	if (i == 0)
		ksnprintf(cell, TABLE_CELL_MAX, "%llu ns", (unsigned long long)ns);
	else
		ksnprintf(cell, TABLE_CELL_MAX, "%llu.%llu %s", (unsigned long long)whole,
			(unsigned long long)tenths, units[i]);
}

void table_format(char cell[TABLE_CELL_MAX], enum table_kind kind, uint64_t value)
{
	if (value == 0 && kind != TABLE_NUMBER)
		str_copy(cell, "-", TABLE_CELL_MAX);
	else if (kind == TABLE_BYTES)
		ksnprintf(cell, TABLE_CELL_MAX, "%pB", (const void *)&value);
	else if (kind == TABLE_HEX)
		ksnprintf(cell, TABLE_CELL_MAX, "%#llx", (unsigned long long)value);
	else if (kind == TABLE_TIME)
		format_time(cell, value);
	else if (kind == TABLE_PERMILLE)
		ksnprintf(cell, TABLE_CELL_MAX, "%llu.%llu%%", (unsigned long long)(value / 10),
			(unsigned long long)(value % 10));
	else
		ksnprintf(cell, TABLE_CELL_MAX, "%llu", (unsigned long long)value);
}

/* For counts that are wider than their column: with a tenth, if it has room for that. */
static void format_thousands(char *cell, uint64_t count, size_t width)
{
	static const char letters[] = " KMGTPE";
	uint64_t tenths = 0;
	unsigned i = 0;

	for (; count >= 1000; i++) {
		tenths = count % 1000 / 100;
		count /= 1000;
	}
	ksnprintf(cell, TABLE_CELL_MAX, "%u.%u%c", (unsigned)count, (unsigned)tenths, letters[i]);
	if (strlen(cell) > width)
		ksnprintf(cell, TABLE_CELL_MAX, "%u%c", (unsigned)count, letters[i]);
}

static size_t field_of(const struct table_column *column)
{
	return (size_t)(column->width < 0 ? -column->width : column->width);
}

/* A number as a cell for people. */
static void format_cell(char *cell, const struct table_column *column, uint64_t number)
{
	table_format(cell, column->kind, number);
	if (column->kind == TABLE_COUNT && strlen(cell) > field_of(column))
		format_thousands(cell, number, field_of(column));
}

/* A line for people.  Each cell has its field; a text that is wider takes room from the gaps to its
 * right. */
struct line {
	struct sink *sink; /* NULL: the line is only measured */
	size_t end;	   /* of what was printed */
	size_t field;	   /* where the next cell's field begins */
};

/* Spaces are printed only with the cell behind them, so no line ends in spaces. */
static void put_cell(struct line *line, const char *text, size_t length, const struct table_column *column)
{
	size_t field = field_of(column), pad = length < field ? field - length : 0;
	size_t start = line->field + (column->width < 0 ? 0 : pad);

	line->field += field + 1;
	if (length == 0)
		return;
	if (line->end > 0 && start <= line->end)
		start = line->end + 1;
	if (line->sink) {
		bool is_cut = text[length] != '\0';

		sink_fill(line->sink, ' ', start - line->end);
		sink_write(line->sink, text, length - is_cut);
		sink_puts(line->sink, is_cut ? "~" : "");
	}
	line->end = start + length;
}

static const struct table_column *find_key(const struct table *table, const char *key)
{
	for (size_t i = 0; i < table->column_count; i++)
		if (strcmp(table->columns[i].key, key) == 0 &&
			!(table->columns[i].flags & TABLE_PEOPLE_ONLY))
			return &table->columns[i];
	return NULL;
}

/* The column that rows are to be sorted by, by its title, else by its key.  A text for people may have
 * a number for scripts under the same key: that is the one to sort by. */
static const struct table_column *find_order(const struct table *table, const char *name)
{
	for (size_t i = 0; i < table->column_count; i++) {
		const struct table_column *column = &table->columns[i], *number;

		if (column->flags & TABLE_KEY_ONLY || strcmp(column->title, name) != 0)
			continue;
		number = column->kind == TABLE_STRING ? find_key(table, column->key) : NULL;
		return number ? number : column;
	}
	return find_key(table, name);
}

bool table_has_column(const struct table *table, const char *name)
{
	return find_order(table, name) != NULL;
}

static void print_heading(const struct table_printer *t)
{
	struct line line = {.sink = t->sink};

	for (size_t i = 0; i < t->table->column_count; i++) {
		const struct table_column *column = &t->table->columns[i];

		if (is_shown(t, column))
			put_cell(&line, column->title, strlen(column->title), column);
	}
	ASSERT(line.end <= TABLE_WIDTH && line.field <= TABLE_WIDTH + 1);
	sink_puts(t->sink, "\n");
}

void table_begin(struct table_printer *t, const struct table *table, struct sink *sink, bool keys)
{
	check_given("table_begin", "sink", sink, __builtin_return_address(0));
	if (table->column_count > TABLE_COLUMNS_MAX)
		panic("table %s: column_count is %zu, at most %d (called from %pS)", table->object,
			table->column_count, TABLE_COLUMNS_MAX, __builtin_return_address(0));
	*t = (struct table_printer){.table = table, .sink = sink, .keys = keys};
	if (sink->order)
		t->order = find_order(table, sink->order->column);
	if (!keys)
		print_heading(t);
}

/* Scripts split the line at spaces, so a space within a value is printed as _. */
static void put_key_string(struct sink *sink, const char *s)
{
	for (; *s; s++)
		sink_write(sink, *s == ' ' ? "_" : s, 1);
}

static void put_key_cell(struct sink *sink, const struct table_column *column, const void *row)
{
	sink_printf(sink, " %s=", column->key);
	if (column->kind == TABLE_STRING)
		put_key_string(sink, *string_in(column, row) ? string_in(column, row) : "-");
	else
		sink_printf(sink, column->kind == TABLE_HEX ? "0x%llx" : "%llu",
			(unsigned long long)number_in(column, row));
}

/* How wide a row would be with its texts cut to lengths[], or prints it, if `sink` isn't NULL. */
static size_t lay_out(const struct table_printer *t, const void *row, const size_t *lengths, struct sink *sink)
{
	struct line line = {.sink = sink};
	char cell[TABLE_CELL_MAX];

	for (size_t i = 0; i < t->table->column_count; i++) {
		const struct table_column *column = &t->table->columns[i];

		if (!is_shown(t, column))
			continue;
		if (column->kind == TABLE_STRING) {
			put_cell(&line, string_in(column, row), lengths[i], column);
			continue;
		}
		format_cell(cell, column, number_in(column, row));
		put_cell(&line, cell, strlen(cell), column);
	}
	return line.end;
}

/* How far a text stands out of its field. */
static size_t overhang(const struct table_printer *t, size_t i, const size_t *lengths)
{
	const struct table_column *column = &t->table->columns[i];
	size_t field = field_of(column);

	if (!is_shown(t, column) || column->kind != TABLE_STRING || lengths[i] < field)
		return 0;
	return lengths[i] - field;
}

/* Cuts the text that stands out most by at most `excess`; returns false if none does. */
static bool cut_widest(const struct table_printer *t, size_t *lengths, size_t excess)
{
	size_t widest = 0, most;

	for (size_t i = 1; i < t->table->column_count; i++)
		if (overhang(t, i, lengths) > overhang(t, widest, lengths))
			widest = i;
	most = overhang(t, widest, lengths);
	lengths[widest] -= most < excess ? most : excess;
	return most > 0;
}

static void print_for_people(const struct table_printer *t, const void *row)
{
	size_t lengths[TABLE_COLUMNS_MAX], width;

	for (size_t i = 0; i < t->table->column_count; i++) {
		const struct table_column *column = &t->table->columns[i];

		lengths[i] = column->kind == TABLE_STRING ? strlen(string_in(column, row)) : 0;
	}
	do {
		width = lay_out(t, row, lengths, NULL);
	} while (width > TABLE_WIDTH && cut_widest(t, lengths, width - TABLE_WIDTH));
	lay_out(t, row, lengths, t->sink);
}

static void print_for_scripts(const struct table_printer *t, const void *row)
{
	sink_puts(t->sink, t->table->object);
	for (size_t i = 0; i < t->table->column_count; i++)
		if (is_shown(t, &t->table->columns[i]))
			put_key_cell(t->sink, &t->table->columns[i], row);
}

static void begin_row(const struct table_printer *t, const void *row)
{
	struct table_order *order = t->sink->order;

	if (t->order->kind == TABLE_STRING)
		order->row(order, 0, string_in(t->order, row));
	else
		order->row(order, number_in(t->order, row), NULL);
}

void table_row(struct table_printer *t, const void *row)
{
	if (t->order)
		begin_row(t, row);
	for (size_t i = 0; i < t->table->column_count; i++)
		if (t->table->columns[i].flags & TABLE_TOTAL)
			t->totals[i] += number_in(&t->table->columns[i], row);
	(t->keys ? print_for_scripts : print_for_people)(t, row);
	sink_puts(t->sink, "\n");
	t->rows++;
}

static bool has_totals(const struct table_printer *t)
{
	for (size_t i = 0; i < t->table->column_count; i++) {
		const struct table_column *column = &t->table->columns[i];

		if (column->flags & TABLE_TOTAL && is_shown(t, column))
			return true;
	}
	return false;
}

static void print_totals(const struct table_printer *t)
{
	struct line line = {.sink = t->sink};
	const char *label = "total";
	char cell[TABLE_CELL_MAX];

	for (size_t i = 0; i < t->table->column_count; i++) {
		const struct table_column *column = &t->table->columns[i];
		const char *text = label;

		if (!is_shown(t, column))
			continue;
		if (column->flags & TABLE_TOTAL) {
			format_cell(cell, column, t->totals[i]);
			text = cell;
		}
		put_cell(&line, text, strlen(text), column);
		label = "";
	}
	sink_puts(t->sink, "\n");
}

void table_end(struct table_printer *t)
{
	if (t->order)
		t->sink->order->end(t->sink->order);
	if (!t->keys && t->rows >= 2 && has_totals(t))
		print_totals(t);
}
