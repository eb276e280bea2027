/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `arena map`: shows where an arena is used and free, a character for each slice of equal size.
 *
 * The map shows the spans one behind the other in address order; gaps between them take no room.
 * Slices are cut from this sequence, so one may hold the end of a span and the start of the next.
 * Only the row being made is stored.  A row begins with the address of its first slice; the line
 * below it lists the spans that begin further on in the row, with their columns.
 */
#include "monitor_impl.h"

#include "lib/array.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "sink.h"
#include "table.h"

#define ROW_SLICES 64
#define ROWS_MAX 16
#define STARTS_MAX 3 /* spans listed below a row; the others are counted */

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
	bool is_memory;
	uint64_t slice_size; /* in units */

	/* The row being made. */
	bool row_begun;
	uintptr_t row_start;
	char row[ROW_SLICES + 1];
	size_t column;	       /* of the slice being made */
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

static void print_starts(const struct map *m)
{
	size_t shown = m->start_count < STARTS_MAX ? m->start_count : STARTS_MAX;

	for (size_t i = 0; i < shown; i++) {
		sink_puts(m->sink, i ? ", " : "  spans begin at ");
		sink_printf(m->sink, "%zu: ", m->starts[i].column);
		sink_printf(m->sink, m->is_memory ? "%#zx" : "%zu", (size_t)m->starts[i].address);
	}
	if (m->start_count > shown)
		sink_printf(m->sink, " and %zu more", m->start_count - shown);
	sink_puts(m->sink, shown ? "\n" : "");
}

static void end_row(struct map *m)
{
	char label[24];

	m->row[m->column] = '\0';
	ksnprintf(label, sizeof(label), m->is_memory ? "%#zx" : "%zu", (size_t)m->row_start);
	sink_printf(m->sink, "%18s  %s\n", label, m->row);
	print_starts(m);
	m->column = 0;
	m->row_begun = false;
	m->start_count = 0;
}

static void end_slice(struct map *m)
{
	m->row[m->column++] = slice_character(m);
	m->filled = m->used = 0;
	if (m->column == ROW_SLICES)
		end_row(m);
}

/* A span that begins the row is not listed, the row's own address shows it. */
static void begin_span(struct map *m, uintptr_t start)
{
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
		m->filled += part;
		m->used += is_used ? part : 0;
		start += part;
		size -= part;
		if (m->filled == m->slice_size)
			end_slice(m);
	}
}

static bool map_segment(const struct arena_segment *s, void *arg)
{
	if (s->kind == ARENA_SEGMENT_SPAN)
		begin_span(arg, s->start);
	else
		add_segment(arg, s->start, s->size, s->kind == ARENA_SEGMENT_USED);
	return true;
}

/* The fewest quanta a slice can have for the whole arena to fit in ROWS_MAX rows; in units. */
static uint64_t choose_slice_size(const struct arena_stats *stats)
{
	uint64_t quanta = stats->total / stats->quantum, slices = ROWS_MAX * ROW_SLICES;

	return (quanta / slices + (quanta % slices != 0)) * stats->quantum;
}

static void print_legend(const struct map *m)
{
	sink_puts(m->sink, " ");
	for (size_t i = 0; i < ARRAY_SIZE(fills); i++)
		sink_printf(m->sink, " %c %s%s", fills[i].character, fills[i].meaning,
			i < FILL_FULL ? "," : "; a character is ");
	if (m->is_memory)
		sink_printf(m->sink, "%pB\n", (const void *)&m->slice_size);
	else
		sink_printf(m->sink, "%llu\n", (unsigned long long)m->slice_size);
}

const char *arena_map_command(const struct command_call *call)
{
	struct arena *arena = arena_find(call->argv[2]);
	struct arena_stats stats;
	struct map map = {.sink = call->sink};

	if (!arena)
		return command_error("no arena %s", call->argv[2]);
	arena_get_stats(arena, &stats);
	if (stats.total == 0)
		return command_error("%s has no spans", stats.name);
	map.is_memory = stats.is_memory;
	map.slice_size = choose_slice_size(&stats);
	arena_walk(arena, map_segment, &map);
	if (map.filled)
		end_slice(&map);
	if (map.column)
		end_row(&map);
	print_legend(&map);
	return NULL;
}
