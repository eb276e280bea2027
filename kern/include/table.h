/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tables for people and for scripts, from one description.
 *
 * A table is an array of columns.  A row is a struct of the caller's; each column says where in the
 * struct its value lies, so headings and data can't come apart.  For people a table has a heading,
 * aligned columns, sizes in IEC units with one decimal, zero as `-`, totals at the end, and no line
 * wider than TABLE_WIDTH.  For scripts (-k) a row is one line, `arena name=base source=- quantum=4096
 * ...`, with bytes as plain numbers.
 *
 *	static const struct table_column columns[] = {
 *		TABLE_COLUMN(struct row, name, "name", "name", -16, TABLE_STRING, 0),
 *		TABLE_COLUMN(struct row, used, "used", "used", 10, TABLE_BYTES, TABLE_TOTAL,
 *			"what callers have of it"),
 *	};
 *	static const struct table table = {"arena", columns, ARRAY_SIZE(columns)};
 *	table_begin(&t, &table, sink, keys);
 *	table_row(&t, &row);
 *	table_end(&t);
 *
 * Nothing is allocated: totals are kept in the printer, TABLE_COLUMNS_MAX of them.
 */
#ifndef SPANDREL_LIB_TABLE_H
#define SPANDREL_LIB_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sink.h"

#define TABLE_WIDTH SINK_COLUMNS /* characters of the longest line for people */
#define TABLE_COLUMNS_MAX 44
#define TABLE_CELL_MAX 32 /* bytes of a number as text, the terminating zero included */

enum table_kind {
	/* const char *.  For people NULL and "" are blank, and of one that leaves the others no room its
	 * end is cut off and shown as ~.  Under -k both are `-`, and a space is _. */
	TABLE_STRING,
	TABLE_COUNT,	/* uint64_t; for people one wider than its column is shown as 12.3M */
	TABLE_NUMBER,	/* uint64_t that names something: zero is shown as 0 */
	TABLE_BYTES,	/* uint64_t, IEC units for people */
	TABLE_HEX,	/* uint64_t, 0x... */
	TABLE_PERMILLE, /* uint64_t, 123 as 12.3% for people, plain under -k */
	TABLE_TIME	/* uint64_t, nanoseconds, 1234 as 1.2 us for people, plain under -k */
};

#define TABLE_TOTAL (1u << 0)	    /* the last line shows the column's sum */
#define TABLE_KEY_ONLY (1u << 1)    /* shown only under -k */
#define TABLE_PEOPLE_ONLY (1u << 2) /* not shown under -k */

struct table_column {
	const char *title; /* heading for people */
	const char *key;   /* stable name under -k */
	int width;	   /* in characters; negative aligns left, positive right */
	enum table_kind kind;
	unsigned flags;
	size_t offset;	  /* of the value in the row's struct */
	const char *help; /* what the column says, for `help`; "" if its title says it */
};

/* The last argument, `help`, may be left out. */
#define TABLE_COLUMN(type, member, title, key, width, kind, flags, ...)                            \
	{                                                                                          \
		title, key, width, kind, flags, offsetof(type, member), "" __VA_ARGS__             \
	}

struct table {
	const char *object; /* first word of a -k line */
	const struct table_column *columns;
	size_t column_count; /* at most TABLE_COLUMNS_MAX; those for people take TABLE_WIDTH at most */
};

/*
 * Another order of rows: a sink that puts the rows of tables in order has one of these.  Every table
 * that is printed to the sink, and has the column, tells it where a row begins and where the last one
 * ends; what is written to the sink between is the row.
 */
struct table_order {
	const char *column; /* the title or the key of the column to sort by */
	/* A row begins.  The column's value: a number, or, if text isn't NULL, a text. */
	void (*row)(struct table_order *order, uint64_t number, const char *text);
	void (*end)(struct table_order *order); /* after the last row, before the totals */
};

struct table_printer {
	const struct table *table;
	struct sink *sink;
	bool keys;
	const struct table_column *order; /* rows are sorted by it; NULL: they aren't */
	uint64_t rows;
	uint64_t totals[TABLE_COLUMNS_MAX];
};

/* Prints the heading, unless `keys`, which stands for -k.  Panics if the sink is NULL. */
void table_begin(struct table_printer *t, const struct table *table, struct sink *sink, bool keys);
/* Prints one row.  A value wider than its column moves what stands to its right, up to where there is
 * room. */
void table_row(struct table_printer *t, const void *row);
/* Whether a column has that title or that key: whether a table_order by it puts rows in order. */
bool table_has_column(const struct table *table, const char *name);
/* How much of `whole` is `part`, of 1000: 0 for nothing alone, and 1000 at most. */
uint64_t table_permille(uint64_t part, uint64_t whole);
/* Writes a number into `cell` as it is shown for people. */
void table_format(char cell[TABLE_CELL_MAX], enum table_kind kind, uint64_t value);
/* Prints the totals, if a column has TABLE_TOTAL and there were at least two rows; not under -k. */
void table_end(struct table_printer *t);

#endif
