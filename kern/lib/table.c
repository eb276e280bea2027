/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table printer.
 */
#include "table.h"

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

	return s && *s ? s : "-";
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

/* Prints *gap spaces and a cell, then sets *gap to the spaces between this cell and the next: they
 * are printed only with the next cell, so no line ends in spaces. */
static void put_cell(struct sink *sink, size_t *gap, const char *text, int width)
{
	size_t field = (size_t)(width < 0 ? -width : width), length = strlen(text);
	size_t pad = length < field ? field - length : 0;

	if (length == 0) {
		*gap += field + 1;
		return;
	}
	sink_fill(sink, ' ', *gap + (width < 0 ? 0 : pad));
	sink_puts(sink, text);
	*gap = 1 + (width < 0 ? pad : 0);
}

void table_begin(struct table_printer *t, const struct table *table, struct sink *sink, bool keys)
{
	size_t gap = 0;

	ASSERT(table->column_count <= TABLE_COLUMNS_MAX);
	*t = (struct table_printer){.table = table, .sink = sink, .keys = keys};
	if (keys)
		return;
	for (size_t i = 0; i < table->column_count; i++) {
		if (is_shown(t, &table->columns[i]))
			put_cell(sink, &gap, table->columns[i].title, table->columns[i].width);
	}
	sink_puts(sink, "\n");
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
		put_key_string(sink, string_in(column, row));
	else
		sink_printf(sink, column->kind == TABLE_HEX ? "0x%llx" : "%llu",
			(unsigned long long)number_in(column, row));
}

static void put_people_cell(
	struct sink *sink, size_t *gap, const struct table_column *column, const void *row)
{
	char cell[TABLE_CELL_MAX];

	if (column->kind == TABLE_STRING) {
		put_cell(sink, gap, string_in(column, row), column->width);
	} else {
		table_format(cell, column->kind, number_in(column, row));
		put_cell(sink, gap, cell, column->width);
	}
}

void table_row(struct table_printer *t, const void *row)
{
	size_t gap = 0;

	if (t->keys)
		sink_puts(t->sink, t->table->object);
	for (size_t i = 0; i < t->table->column_count; i++) {
		const struct table_column *column = &t->table->columns[i];

		if (column->flags & TABLE_TOTAL)
			t->totals[i] += number_in(column, row);
		if (!is_shown(t, column))
			continue;
		if (t->keys)
			put_key_cell(t->sink, column, row);
		else
			put_people_cell(t->sink, &gap, column, row);
	}
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

void table_end(struct table_printer *t)
{
	const char *label = "total";
	char cell[TABLE_CELL_MAX];
	size_t gap = 0;

	if (t->keys || t->rows < 2 || !has_totals(t))
		return;
	for (size_t i = 0; i < t->table->column_count; i++) {
		const struct table_column *column = &t->table->columns[i];

		if (!is_shown(t, column))
			continue;
		if (column->flags & TABLE_TOTAL)
			table_format(cell, column->kind, t->totals[i]);
		put_cell(t->sink, &gap, column->flags & TABLE_TOTAL ? cell : label, column->width);
		label = "";
	}
	sink_puts(t->sink, "\n");
}
