/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory nodes: what memory each has, and how far they are apart.
 */
#include "monitor_impl.h"

#include "lib/array.h"
#include "lib/printf.h"
#include "machine.h"
#include "physical.h"
#include "table.h"

#define DISTANCES_MAX 128

struct node_row {
	uint64_t id;
	uint64_t bytes, free; /* of base */
	const char *distances;
};

static const struct table_column columns[] = {
	TABLE_COLUMN(struct node_row, id, "node", "id", 4, TABLE_NUMBER, 0, "a memory node"),
	TABLE_COLUMN(struct node_row, bytes, "in base", "bytes", 12, TABLE_BYTES, TABLE_TOTAL,
		"its memory that came to base"),
	TABLE_COLUMN(struct node_row, free, "free", "free", 12, TABLE_BYTES, TABLE_TOTAL, "of that, what is free"),
	TABLE_COLUMN(struct node_row, distances, "distances", "distances", -40, TABLE_STRING, 0,
		"to each node, from 0 on; its own is 10"),
};
const struct table nodes_table = {"node", columns, ARRAY_SIZE(columns)};

/* How many bytes of physical memory [start, start + size) the firmware puts on the node. */
static uint64_t share(uint64_t node, uint64_t start, uint64_t size)
{
	struct machine_node_memory m;
	uint64_t bytes = 0, end = start + size;

	for (size_t i = 0; machine_node_memory(i, &m); i++) {
		uint64_t from = m.start > start ? m.start : start;
		uint64_t to = m.start + m.size < end ? m.start + m.size : end;

		if (m.node == node && from < to)
			bytes += to - from;
	}
	return bytes;
}

static bool add_segment(const struct arena_segment *s, void *arg)
{
	struct node_row *row = arg;
	uint64_t bytes = share(row->id, physical_of((const void *)s->start), s->size);

	if (s->kind != ARENA_SEGMENT_SPAN)
		row->bytes += bytes;
	if (s->kind == ARENA_SEGMENT_FREE)
		row->free += bytes;
	return true;
}

static void format_distances(char text[DISTANCES_MAX], size_t from)
{
	size_t nodes = machine_node_count(), at = 0;

	ksnprintf(text, DISTANCES_MAX, "-");
	for (size_t to = 0; from < nodes && to < nodes && at < DISTANCES_MAX; to++)
		at += ksnprintf(text + at, DISTANCES_MAX - at, "%s%u", to ? "," : "",
			machine_node_distance(from, to));
}

/* One more than the highest number of a node. */
static uint64_t node_end(void)
{
	struct machine_node_memory m;
	uint64_t end = machine_node_count();

	for (size_t i = 0; machine_node_memory(i, &m); i++)
		if (m.node >= end)
			end = m.node + 1ull;
	return end;
}

/* Nodes that the firmware numbers far apart cost a look each, so those without memory come from the
 * distances alone. */
void nodes_print(const struct command_call *call)
{
	struct table_printer printer;
	char distances[DISTANCES_MAX];
	uint64_t end = node_end();

	if (end == 0)
		return;
	if (!call->keys)
		sink_puts(call->sink, "\n");
	table_begin(&printer, &nodes_table, call->sink, call->keys);
	for (uint64_t id = 0; id < end; id++) {
		struct node_row row = {.id = id, .distances = distances};

		if (id >= machine_node_count() && share(id, 0, UINT64_MAX) == 0)
			continue;
		format_distances(distances, id);
		arena_walk(base_arena, add_segment, &row);
		table_row(&printer, &row);
	}
	table_end(&printer);
}
