/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `arena map`: shows where an arena is used and free, a character for each slice of equal size.
 *
 * The map shows the spans one behind the other in address order; gaps between them take no room.
 * Slices are cut from this sequence, so one may hold the end of a span and the start of the next.
 * Gaps of more than a sixteenth of the arena, up to GAPS_MAX, end the row and get one of their own, the
 * legend counts the others.
 * Only the row being made is stored.  A row begins with the address of its first slice; the line
 * below it lists the spans that begin further on in the row, with their columns.
 *
 * Unless all is asked for, what holds nothing is left out: rows, and free segments of more than a
 * sixteenth of the arena, which take no part in the size of a slice either.  One line tells how much was
 * free there.  For scripts each slice that holds something is an object.
 */
#include "monitor_impl.h"

#include "arena_print.h"
#include "lib/array.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "sink.h"
#include "table.h"

#define ROW_SLICES 56
#define ROWS_MAX 16
#define STARTS_MAX 2 /* spans listed below a row; the others are counted */
#define GAPS_MAX 8   /* gaps with a row; the others are counted */

struct slice_row {
	uint64_t start, size, used;
};

static const struct table_column slice_columns[] = {
	TABLE_COLUMN(struct slice_row, start, "start", "start", 0, TABLE_HEX, TABLE_KEY_ONLY),
	TABLE_COLUMN(struct slice_row, size, "size", "size", 0, TABLE_COUNT, TABLE_KEY_ONLY),
	TABLE_COLUMN(struct slice_row, used, "used", "used", 0, TABLE_COUNT, TABLE_KEY_ONLY),
};
static const struct table slice_table = {"slice", slice_columns, ARRAY_SIZE(slice_columns)};

/* A slice's character by how much of it is used. */
static const struct {
	char character;
	const char *meaning;
} fills[] = {
	{'.', "free"},
	{':', "under 1/4 used"},
	{'-', "under 1/2"},
	{'=', "under 3/4"},
	{'+', "more"},
	{'#', "full"},
};
#define FILL_FULL (ARRAY_SIZE(fills) - 1)

struct map {
	struct sink *sink;
	bool in_bytes, all, keys;
	uint64_t slice_size; /* in units */
	uint64_t long_free;  /* a free segment of more units is left out */
	uint64_t long_gap;   /* a gap of more units has a row */
	struct table_printer slices; /* for scripts */

	/* Gaps between spans. */
	uintptr_t end;	       /* of the last span; 0: there was none */
	size_t gap_rows, gaps; /* with a row, and without */
	uint64_t gap_units;    /* of those without */

	/* What was left out since the last row. */
	uintptr_t free_start;
	uint64_t free_units; /* 0: nothing */

	/* The row being made. */
	bool row_begun;
	uintptr_t row_start;
	uint64_t row_units, row_used;
	char row[ROW_SLICES + 1];
	size_t column;	       /* of the slice being made */
	uintptr_t slice_start;
	uint64_t filled, used; /* units of that slice: so far, and of those in use */
	struct { /* spans that begin in it, but not where it begins */
		size_t column;
		uintptr_t address;
	} starts[STARTS_MAX];
	size_t start_count;
};

static char slice_character(const struct map *m)
{
	uint64_t quarter = m->filled / 4 + (m->filled % 4 != 0);

	if (m->used == 0)
		return fills[0].character;
	if (m->used == m->filled)
		return fills[FILL_FULL].character;
	return fills[1 + m->used / quarter].character;
}

static void leave_out(struct map *m, uintptr_t start, uint64_t units)
{
	if (m->free_units == 0)
		m->free_start = start;
	m->free_units += units;
}

static void print_left_out(struct map *m)
{
	char amount[TABLE_CELL_MAX];

	if (m->free_units == 0 || m->keys)
		return;
	arena_format_amount(amount, m->free_units, m->in_bytes);
	sink_printf(m->sink, "%#18zx  (%s free)\n", (size_t)m->free_start, amount);
	m->free_units = 0;
}

static void print_starts(const struct map *m)
{
	size_t shown = m->start_count < STARTS_MAX ? m->start_count : STARTS_MAX;

	for (size_t i = 0; i < shown; i++)
		sink_printf(m->sink, "%s%zu: %#zx", i ? ", " : "  spans begin at ",
			m->starts[i].column, (size_t)m->starts[i].address);
	if (m->start_count > shown)
		sink_printf(m->sink, " and %zu more", m->start_count - shown);
	sink_puts(m->sink, shown ? "\n" : "");
}

static void print_row(struct map *m)
{
	print_left_out(m);
	m->row[m->column] = '\0';
	sink_printf(m->sink, "%#18zx  %s\n", (size_t)m->row_start, m->row);
	print_starts(m);
}

static void end_row(struct map *m)
{
	if (m->row_used == 0 && !m->all)
		leave_out(m, m->row_start, m->row_units);
	else if (!m->keys)
		print_row(m);
	m->column = 0;
	m->row_begun = false;
	m->row_units = m->row_used = 0;
	m->start_count = 0;
}

static void end_slice(struct map *m)
{
	struct slice_row slice = {m->slice_start, m->filled, m->used};

	if (m->keys && (m->used > 0 || m->all))
		table_row(&m->slices, &slice);
	m->row[m->column++] = slice_character(m);
	m->row_units += m->filled;
	m->row_used += m->used;
	m->filled = m->used = 0;
	if (m->column == ROW_SLICES)
		end_row(m);
}

/* Ends the row where it is. */
static void end_early(struct map *m)
{
	if (m->filled)
		end_slice(m);
	if (m->column)
		end_row(m);
}

static void print_gap(struct map *m, uint64_t units)
{
	char amount[TABLE_CELL_MAX];

	end_early(m);
	print_left_out(m);
	m->gap_rows++;
	arena_format_amount(amount, units, m->in_bytes);
	if (!m->keys)
		sink_printf(m->sink, "%#18zx  (no span for %s)\n", (size_t)m->end, amount);
}

static void add_gap(struct map *m, uint64_t units)
{
	if (units > m->long_gap && m->gap_rows < GAPS_MAX) {
		print_gap(m, units);
		return;
	}
	m->gaps++;
	m->gap_units += units;
}

/* A span that begins the row is not listed, the row's own address shows it. */
static void begin_span(struct map *m, uintptr_t start, uint64_t size)
{
	if (m->end && start != m->end)
		add_gap(m, start - m->end);
	m->end = start + size;
	if (!m->row_begun)
		return;
	if (m->start_count < STARTS_MAX) {
		m->starts[m->start_count].column = m->column;
		m->starts[m->start_count].address = start;
	}
	m->start_count++;
}

/* Adds a segment to the map, slice by slice. */
static void add_segment(struct map *m, uintptr_t start, uint64_t size, bool is_used)
{
	while (size) {
		uint64_t room = m->slice_size - m->filled, part = size < room ? size : room;

		if (!m->row_begun) {
			m->row_begun = true;
			m->row_start = start;
		}
		if (m->filled == 0)
			m->slice_start = start;
		m->filled += part;
		m->used += is_used ? part : 0;
		start += part;
		size -= part;
		if (m->filled == m->slice_size)
			end_slice(m);
	}
}

static bool is_left_out(const struct map *m, const struct arena_segment *s)
{
	return s->kind == ARENA_SEGMENT_FREE && s->size > m->long_free;
}

static bool map_segment(const struct arena_segment *s, void *arg)
{
	struct map *m = arg;

	if (s->kind == ARENA_SEGMENT_SPAN) {
		begin_span(m, s->start, s->size);
	} else if (is_left_out(m, s)) {
		end_early(m);
		leave_out(m, s->start, s->size);
	} else {
		add_segment(m, s->start, s->size, s->kind == ARENA_SEGMENT_USED);
	}
	return !monitor_interrupted(m->sink);
}

/* Adds up what the map shows, in slice_size, for the time being. */
static bool measure_segment(const struct arena_segment *s, void *arg)
{
	struct map *m = arg;

	if (s->kind != ARENA_SEGMENT_SPAN && !is_left_out(m, s))
		m->slice_size += s->size;
	return !monitor_interrupted(m->sink);
}

/* The fewest quanta a slice can have for `units` to fit in ROWS_MAX rows; in units. */
static uint64_t choose_slice_size(uint64_t units, uint64_t quantum)
{
	uint64_t quanta = units / quantum, slices = ROWS_MAX * ROW_SLICES;

	quanta = quanta / slices + (quanta % slices != 0);
	return (quanta ? quanta : 1) * quantum;
}

static void print_legend(const struct map *m)
{
	char amount[TABLE_CELL_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(fills); i++)
		sink_printf(m->sink, "%s%c %s", i ? ", " : "  ", fills[i].character, fills[i].meaning);
	arena_format_amount(amount, m->slice_size, m->in_bytes);
	sink_printf(m->sink, "\n  a character is %s\n", amount);
	if (m->gaps == 0)
		return;
	arena_format_amount(amount, m->gap_units, m->in_bytes);
	sink_printf(m->sink, "  not shown: %zu gap%s between spans, %s in all\n", m->gaps, m->gaps > 1 ? "s" : "", amount);
}

static void print_map(struct map *m, struct arena *arena, const struct arena_stats *stats)
{
	m->in_bytes = stats->in_bytes;
	m->long_gap = stats->total / ROWS_MAX;
	m->long_free = m->all ? UINT64_MAX : m->long_gap;
	arena_walk(arena, measure_segment, m);
	m->slice_size = choose_slice_size(m->slice_size, stats->quantum);
	table_begin(&m->slices, &slice_table, m->sink, true);
	arena_walk(arena, map_segment, m);
	end_early(m);
	print_left_out(m);
	if (!m->keys)
		print_legend(m);
}

const char *arena_map_command(const struct command_call *call)
{
	struct arena *arena = command_arena(call->argv[2]);
	struct arena_stats stats;
	struct map map = {.sink = call->sink, .all = call->all, .keys = call->keys};

	if (!arena)
		return command_no_arena(call->argv[2]);
	arena_get_stats(arena, &stats);
	if (stats.total > 0)
		print_map(&map, arena, &stats);
	arena_unpin(arena);
	return stats.total > 0 ? NULL : command_error("%s has no spans", stats.name);
}
