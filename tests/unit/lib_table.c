/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tables, shown both ways, against literal texts.
 */
#include "table.h"

#include "lib/array.h"
#include "lib/string.h"
#include "lib/test.h"

struct row {
	const char *name;
	uint64_t count, used, flags, share;
	const char *note;
};

static const struct table_column columns[] = {
	TABLE_COLUMN(struct row, name, "name", "name", -8, TABLE_STRING, 0),
	TABLE_COLUMN(struct row, count, "count", "n", 6, TABLE_COUNT, TABLE_TOTAL),
	TABLE_COLUMN(struct row, used, "used", "used", 9, TABLE_BYTES, TABLE_TOTAL),
	TABLE_COLUMN(struct row, flags, "flags", "flags", 6, TABLE_HEX, TABLE_KEY_ONLY),
	TABLE_COLUMN(struct row, share, "share", "share_permille", 6, TABLE_PERMILLE, 0),
	TABLE_COLUMN(struct row, note, "note", "note", -8, TABLE_STRING, TABLE_PEOPLE_ONLY),
};
static const struct table table = {"arena", columns, ARRAY_SIZE(columns)};

static const struct row base = {"base", 12, 4096, 0x1f, 123, "pages"};
static const struct row none = {NULL, 0, 0, 0, 0, NULL};
static const struct row wide = {"a long name", 1234567, 1536, 1, 1000, "x"};

static char text[512];
static struct buffer_sink out;

static void begin(struct table_printer *t, const struct table *which, bool keys)
{
	buffer_sink_init(&out, text, sizeof(text));
	table_begin(t, which, &out.sink, keys);
}

TEST("table: people see aligned columns, units, dashes for zero, totals")
{
	struct table_printer t;

	begin(&t, &table, false);
	table_row(&t, &base);
	table_row(&t, &none);
	table_end(&t);
	CHECK_STR(text, "name      count      used  share note\n"
			"base         12   4.0 KiB  12.3% pages\n"
			"              -         -      -\n"
			"total        12   4.0 KiB\n");
}

TEST("table: a wide value takes room beside it, a wide count is cut to tenths")
{
	struct table_printer t;

	begin(&t, &table, false);
	table_row(&t, &wide);
	table_end(&t);
	CHECK_STR(text, "name      count      used  share note\n"
			"a long name 1.2M  1.5 KiB 100.0% x\n");
}

/* 8 + 1 + 6 + 1 + 60: of the 80 characters of a line 4 are left. */
static const struct table_column broad_columns[] = {
	TABLE_COLUMN(struct row, name, "name", "name", -8, TABLE_STRING, 0),
	TABLE_COLUMN(struct row, count, "count", "n", 6, TABLE_COUNT, 0),
	TABLE_COLUMN(struct row, note, "note", "note", -60, TABLE_STRING, 0),
};
static const struct table broad = {"x", broad_columns, ARRAY_SIZE(broad_columns)};

#define TEN "0123456789"
#define SIXTY TEN TEN TEN TEN TEN TEN

TEST("table: no line is wider than 80, and ~ ends a text that was cut for it")
{
	static const struct row rows[] = {
		{"short", 1, 0, 0, 0, SIXTY},
		{"four more xx", 1, 0, 0, 0, SIXTY},
		{"ten more xxxxxxxxx", 1, 0, 0, 0, SIXTY},
		{TEN TEN TEN, UINT64_MAX, 0, 0, 0, SIXTY TEN},
	};
	struct table_printer t;

	begin(&t, &broad, false);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		table_row(&t, &rows[i]);
	table_end(&t);
	CHECK_STR(text, "name      count note\n"
			"short         1 " SIXTY "\n"
			"four more xx  1 " SIXTY "\n"
			"ten more xxxxxxx~ 1 " SIXTY "\n"
			"0123456~  18.4E " SIXTY "012~\n");
	begin(&t, &broad, true);
	table_row(&t, &rows[3]);
	CHECK(strstr(text, SIXTY TEN));
}

TEST("table: scripts see plain numbers under stable keys, and no heading or total")
{
	struct table_printer t;

	begin(&t, &table, true);
	table_row(&t, &base);
	table_row(&t, &none);
	table_row(&t, &wide);
	table_end(&t);
	CHECK_STR(text,
		"arena name=base n=12 used=4096 flags=0x1f share_permille=123\n"
		"arena name=- n=0 used=0 flags=0x0 share_permille=0\n"
		"arena name=a_long_name n=1234567 used=1536 flags=0x1 share_permille=1000\n");
}

TEST("table: totals need a column that asks and two rows")
{
	static const struct table names = {"x", columns, 1};
	struct table_printer t;

	begin(&t, &table, false);
	table_row(&t, &base);
	table_end(&t);
	CHECK(!strstr(text, "total"));
	begin(&t, &names, false);
	table_row(&t, &base);
	table_row(&t, &base);
	table_end(&t);
	CHECK_STR(text, "name\nbase\nbase\n");
}

TEST("table: a column without a total leaves its place free in the last line")
{
	static const struct table_column with_gap[] = {
		TABLE_COLUMN(struct row, name, "name", "name", -6, TABLE_STRING, 0),
		TABLE_COLUMN(struct row, count, "count", "n", 6, TABLE_COUNT, TABLE_TOTAL),
		TABLE_COLUMN(struct row, share, "share", "share_permille", 6, TABLE_PERMILLE, 0),
		TABLE_COLUMN(struct row, used, "used", "used", 9, TABLE_BYTES, TABLE_TOTAL),
	};
	static const struct table gap_table = {"x", with_gap, ARRAY_SIZE(with_gap)};
	struct table_printer t;

	begin(&t, &gap_table, false);
	table_row(&t, &base);
	table_row(&t, &base);
	table_end(&t);
	CHECK_STR(text, "name    count  share      used\n"
			"base       12  12.3%   4.0 KiB\n"
			"base       12  12.3%   4.0 KiB\n"
			"total      24          8.0 KiB\n");
}

TEST("table: in a narrow column a wide count has no tenths")
{
	static const struct table_column narrow[] = {
		TABLE_COLUMN(struct row, count, "n", "n", 5, TABLE_COUNT, 0),
	};
	static const struct table narrow_table = {"x", narrow, 1};
	static const uint64_t counts[] = {99999, 100000, 154567, 1545678, 154567890};
	struct table_printer t;

	begin(&t, &narrow_table, false);
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		struct row row = {.count = counts[i]};

		table_row(&t, &row);
	}
	table_end(&t);
	CHECK_STR(text, "    n\n99999\n 100K\n 154K\n 1.5M\n 154M\n");
}

TEST("table: one with too many columns is refused")
{
	static const struct table huge = {"x", columns, TABLE_COLUMNS_MAX + 1};
	struct table_printer t;

	CHECK_PANICS(begin(&t, &huge, false), "column_count is 45");
}

TEST("table: a share of a thousand is 0 for nothing alone, and rounds down from there")
{
	CHECK_EQ(table_permille(0, 7), 0);
	CHECK_EQ(table_permille(7, 0), 0);
	CHECK_EQ(table_permille(1, UINT64_MAX), 1);
	CHECK_EQ(table_permille(2, 3), 666);
	CHECK_EQ(table_permille(3, 3), 1000);
	CHECK_EQ(table_permille(4, 3), 1000);
	CHECK_EQ(table_permille(UINT64_MAX / 2, UINT64_MAX), 500);
	CHECK_EQ(table_permille(UINT64_MAX - 1, UINT64_MAX), 1000);
}

TEST("table: a time has the unit that leaves it below a thousand, cut to a tenth")
{
	static const struct {
		uint64_t ns;
		const char *text;
	} times[] = {{0, "-"}, {1, "1 ns"}, {999, "999 ns"}, {1000, "1.0 us"}, {1999, "1.9 us"},
		{999999, "999.9 us"}, {1000000, "1.0 ms"}, {12345678, "12.3 ms"}, {1000000000, "1.0 s"},
		{3600000000000, "3600.0 s"}, {UINT64_MAX, "18446744073.7 s"}};
	char cell[TABLE_CELL_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		table_format(cell, TABLE_TIME, times[i].ns);
		CHECK_STR(cell, times[i].text);
	}
}

static const struct table_column mixed_columns[] = {
	TABLE_COLUMN(struct row, name, "name", "name", -6, TABLE_STRING, 0),
	TABLE_COLUMN(struct row, count, "id", "id", 4, TABLE_NUMBER, 0),
	TABLE_COLUMN(struct row, flags, "flags", "flags", 6, TABLE_HEX, 0),
	TABLE_COLUMN(struct row, used, "time", "time_ns", 8, TABLE_TIME, 0),
};
static const struct table mixed = {"x", mixed_columns, ARRAY_SIZE(mixed_columns)};

TEST("table: a number that names shows 0; for scripts time is plain, no text a dash")
{
	static const struct row empty = {"", 0, 1234, 0, 0, NULL};
	struct table_printer t;

	begin(&t, &mixed, false);
	table_row(&t, &empty);
	table_row(&t, &base);
	table_end(&t);
	CHECK_STR(text, "name     id  flags     time\n"
			"          0      -   1.2 us\n"
			"base     12   0x1f   4.0 us\n");
	begin(&t, &mixed, true);
	table_row(&t, &empty);
	CHECK_STR(text, "x name=- id=0 flags=0x0 time_ns=1234\n");
}

/* An order that notes what it is told. */
static struct {
	size_t rows, ends;
	uint64_t number;
	const char *text;
} told;

static void note_row(struct table_order *order, uint64_t number, const char *of)
{
	told.rows++;
	told.number = number;
	told.text = of;
}

static void note_end(struct table_order *order)
{
	told.ends++;
}

static void print_in_order(struct table_order *order)
{
	struct table_printer t;

	told.rows = told.ends = told.number = 0;
	told.text = NULL;
	buffer_sink_init(&out, text, sizeof(text));
	out.sink.order = order;
	table_begin(&t, &table, &out.sink, false);
	table_row(&t, &none);
	table_row(&t, &base);
	table_end(&t);
}

TEST("table: an order is told of each row's value, by title or key, and of the end")
{
	struct table_order order = {"n", note_row, note_end};

	print_in_order(&order);
	CHECK_EQ(told.rows, 2);
	CHECK_EQ(told.ends, 1);
	CHECK_EQ(told.number, 12);
	CHECK(!told.text);
	order.column = "name";
	print_in_order(&order);
	CHECK_STR(told.text, "base");
	order.column = "no such column";
	print_in_order(&order);
	CHECK_EQ(told.rows + told.ends, 0);
}
