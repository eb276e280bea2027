/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands: the debug mode, what it has done and costs, samples, and the caches that are closed for the mode;
 * how many allocations are samples.
 */
#include "monitor_impl.h"

#include "kmem_debug.h"
#include "kmem_sample.h"
#include "lib/array.h"
#include "lib/string.h"
#include "table.h"

struct debug_row {
	const char *mode;
	struct kmem_debug_stats s;
	uint64_t zones;
	struct kmem_sample_stats samples;
};

#define COLUMN(member, title, key, kind, help)                                                     \
	TABLE_COLUMN(struct debug_row, member, title, key, 0, kind, 0, help)

static const struct table_column columns[] = {
	COLUMN(mode, "mode", "mode", TABLE_STRING, "kmem_debug= on the command line"),
	COLUMN(s.closed, "closed caches", "closed", TABLE_COUNT, "without magazines: a mode, tracing, failures"),
	COLUMN(s.full, "  in mode full", "full", TABLE_COUNT, "of them, those in mode full"),
	COLUMN(s.looked_up, "frees checked", "looked_up", TABLE_COUNT, "of caches in mode full"),
	COLUMN(s.verified, "found whole", "verified", TABLE_COUNT, "freed objects that nobody had written to"),
	COLUMN(s.tracked, "known objects", "tracked", TABLE_COUNT, "of which it knows who allocated them"),
	COLUMN(s.untracked, "  missed", "untracked", TABLE_COUNT, "allocations that it had no memory to note"),
	COLUMN(s.quarantined, "in quarantine", "quarantined", TABLE_COUNT, "freed objects that rest"),
	COLUMN(s.stacks, "backtraces", "stacks", TABLE_COUNT, "that are kept, for good"),
	COLUMN(s.bytes, "memory", "bytes", TABLE_BYTES, "of base, for what is known"),
	COLUMN(zones, "zones", "zones", TABLE_BYTES, "memory between objects, to find overflows"),
	COLUMN(samples.every, "a sample in", "sample", TABLE_COUNT, "allocations; `debug sample N`"),
	COLUMN(samples.live, "  live", "sample_live", TABLE_COUNT, "samples that callers have"),
	COLUMN(samples.resting, "  resting", "sample_resting", TABLE_COUNT, "freed samples, which are unmapped"),
	COLUMN(samples.slots, "  at most", "sample_slots", TABLE_COUNT, "samples there can be, live and resting"),
	COLUMN(samples.taken, "  taken", "sample_taken", TABLE_COUNT, "allocations that were samples, since boot"),
	COLUMN(samples.missed, "  missed", "sample_missed", TABLE_COUNT, "those that found no place to be one"),
	COLUMN(samples.bytes, "  memory", "sample_bytes", TABLE_BYTES, "of base, for samples"),
};
static const struct table table = {"debug", columns, ARRAY_SIZE(columns)};

struct closed_row {
	const char *name, *mode;
	struct kmem_cache_stats s;
};

static const struct table_column closed_columns[] = {
	TABLE_COLUMN(struct closed_row, name, "closed cache", "name", -29, TABLE_STRING, 0,
		"it has no magazines: each call comes to its slabs"),
	TABLE_COLUMN(struct closed_row, mode, "for", "mode", -12, TABLE_STRING, 0,
		"its debug mode, tracing, or failures (`fail`)"),
	TABLE_COLUMN(struct closed_row, s.live, "live", "live", 8, TABLE_COUNT, 0, "objects that callers have"),
	TABLE_COLUMN(struct closed_row, s.tracked, "known", "tracked", 8, TABLE_COUNT, 0,
		"objects of which something is known"),
	TABLE_COLUMN(struct closed_row, s.quarantined, "resting", "quarantined", 8, TABLE_COUNT, 0,
		"freed objects in quarantine"),
	TABLE_COLUMN(struct closed_row, s.zones, "zones", "zones", 10, TABLE_BYTES, 0,
		"memory between its objects"),
};
static const struct table closed_table = {"closed", closed_columns, ARRAY_SIZE(closed_columns)};
static const struct table *const tables[] = {&table, &closed_table, NULL};

static bool is_closed(const struct kmem_cache_stats *s)
{
	return s->is_checked || s->is_full || s->is_traced || s->is_failing;
}

static uint64_t sum_zones(void)
{
	struct kmem_cache_stats s;
	uint64_t zones = 0;

	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
		kmem_cache_get_stats(c, &s);
		zones += s.zones;
	}
	return zones;
}

/* For people a line for each column. */
static void show_row(const struct command_call *call, const struct debug_row *row)
{
	struct table_printer printer;
	char text[TABLE_CELL_MAX];

	if (call->keys) {
		table_begin(&printer, &table, call->sink, true);
		table_row(&printer, row);
		table_end(&printer);
		return;
	}
	sink_printf(call->sink, "%-16s %s\n", columns[0].title, row->mode);
	for (size_t i = 1; i < ARRAY_SIZE(columns); i++) {
		table_format(text, columns[i].kind, *(const uint64_t *)((const char *)row + columns[i].offset));
		sink_printf(call->sink, "%-16s %10s\n", columns[i].title, text);
	}
}

/* Those without a slab are left out, unless all are asked for. */
static void show_closed(const struct command_call *call)
{
	struct table_printer printer;
	struct closed_row row;
	size_t found = 0, left_out = 0;

	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
		kmem_cache_get_stats(c, &row.s);
		row.name = row.s.name;
		row.mode = command_cache_mode(&row.s);
		if (!is_closed(&row.s))
			continue;
		if (row.s.slabs == 0 && !call->all && !call->keys) {
			left_out++;
			continue;
		}
		if (found++ == 0) {
			sink_puts(call->sink, call->keys ? "" : "\n");
			table_begin(&printer, &closed_table, call->sink, call->keys);
		}
		table_row(&printer, &row);
	}
	if (found > 0)
		table_end(&printer);
	command_left_out(call, left_out);
}

static const char *debug_command(const struct command_call *call)
{
	struct debug_row row = {.mode = kmem_debug_mode()};

	kmem_debug_get_stats(&row.s);
	kmem_sample_get_stats(&row.samples);
	row.zones = sum_zones();
	show_row(call, &row);
	show_closed(call);
	return NULL;
}

static const char *sample_command(const struct command_call *call)
{
	uint64_t n;

	if (!str_to_u64(call->argv[2], &n))
		return command_error("%s is not a number of allocations", call->argv[2]);
	return kmem_sample_set(n) == 0 ? NULL : "no memory for samples";
}

static const struct command commands[] = {
	{"debug sample", "N", "has one allocation in N guarded, 0: none", "debug sample 1000", sample_command, 0,
		NULL, NULL},
	{"debug", "[-k] [-a]", "the debug mode: what it did and costs; closed caches", "debug", debug_command,
		COMMAND_PANIC_SAFE, NULL, tables},
};

struct command_table debug_commands = COMMAND_TABLE("debugging", commands);
