/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Command: what the machine's memory is used for, and how much of it reclaim could take back.
 */
#include "holders.h"
#include "monitor_impl.h"

#include "block_cache.h"
#include "boot.h"
#include "disk.h"
#include "kthread.h"
#include "lib/array.h"
#include "lib/panic.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "port.h"
#include "table.h"

#define INDENT 2
#define HOLDERS_SHOWN 10
#define WATCH_NS 1000000000ull /* from one time that -w shows it to the next */

/* What is reclaimable: an estimate */

struct idle_row {
	const char *name, *source, *indented;
	char name_text[ARENA_NAME_MAX], source_text[ARENA_NAME_MAX], indented_text[ARENA_NAME_MAX + 8 * INDENT];
	uint64_t spans, objects, bytes; /* in bytes, all three */
};

static const struct table_column idle_columns[] = {
	TABLE_COLUMN(struct idle_row, indented, "reclaimable in", "arena", -24, TABLE_STRING,
		TABLE_PEOPLE_ONLY,
		"an arena, or a disk whose blocks are cached"),
	TABLE_COLUMN(struct idle_row, name, "arena", "arena", 0, TABLE_STRING, TABLE_KEY_ONLY),
	TABLE_COLUMN(struct idle_row, source, "source", "source", 0, TABLE_STRING, TABLE_KEY_ONLY),
	TABLE_COLUMN(struct idle_row, spans, "free spans", "spans", 12, TABLE_BYTES, TABLE_TOTAL,
		"spans that the arena imported, and that can be free"),
	TABLE_COLUMN(struct idle_row, objects, "in caches", "objects", 12, TABLE_BYTES, TABLE_TOTAL,
		"its caches' slabs that can be free, objects in magazines"),
	TABLE_COLUMN(struct idle_row, bytes, "both", "bytes", 12, TABLE_BYTES, TABLE_TOTAL,
		"free spans and in caches"),
};
static const struct table idle_table = {"reclaimable", idle_columns, ARRAY_SIZE(idle_columns)};

/* Set aside, so that `mem` works when no memory is left; those beyond share the last row. */
#define IDLE_MAX 32
static struct idle {
	struct idle_row row[IDLE_MAX];
	size_t count;
	uint64_t sum;
	bool is_in_base; /* the root passed last is base_arena */
} idle;

static void add_idle(const char *name, const char *source, unsigned depth, uint64_t spans, uint64_t objects)
{
	struct idle_row *row = &idle.row[idle.count];

	if (spans + objects == 0)
		return;
	idle.sum += spans + objects;
	if (idle.count == IDLE_MAX) {
		row[-1].spans += spans;
		row[-1].objects += objects;
		row[-1].bytes += spans + objects;
		row[-1].name = row[-1].indented = "the rest";
		return;
	}
	*row = (struct idle_row){row->name_text, row->source_text, row->indented_text, .spans = spans,
		.objects = objects, .bytes = spans + objects};
	str_copy(row->name_text, name, sizeof(row->name_text));
	str_copy(row->source_text, source, sizeof(row->source_text));
	ksnprintf(row->indented_text, sizeof(row->indented_text), "%*s%s", (int)depth * INDENT, "", name);
	idle.count++;
}

/* Objects in magazines, and empty slabs; free objects in other slabs can't go back.  But a live object keeps one
 * slab at most, and as many of them as fill a slab keep one at least. */
static uint64_t idle_of(const struct kmem_cache_stats *c)
{
	uint64_t in_magazines = c->out > c->live ? c->out - c->live : 0;
	uint64_t idle_units = in_magazines * c->stride + c->slabs_empty * c->slab_size;
	uint64_t most = c->live < c->slabs ? c->live : c->slabs; /* slabs that are kept */
	uint64_t least = (c->live + c->slab_objects - 1) / c->slab_objects;
	uint64_t low = (c->slabs - most) * c->slab_size;
	uint64_t high = c->slabs > least ? (c->slabs - least) * c->slab_size : 0;

	/* Nothing used keeps anything of a quantum cache of memory. */
	if (c->is_front && c->is_memory)
		return c->total > c->used ? c->total - c->used : 0;
	if (idle_units < low)
		return low;
	return idle_units < high ? idle_units : high;
}

static void add_cache(const struct kmem_cache_stats *c, void *sum)
{
	*(uint64_t *)sum += idle_of(c);
}

/* An arena that imports can give back all that is free in it. */
static void visit_arena(const struct arena_stats *a, void *arg)
{
	uint64_t objects = 0, spans = a->depth > 0 ? a->total - a->used : 0;

	if (a->depth == 0)
		idle.is_in_base = a->arena == base_arena;
	if (!idle.is_in_base)
		return;
	kmem_cache_peek(a->arena, add_cache, &objects);
	add_idle(a->name, a->source, a->depth, spans, objects);
}

/* Blocks that no caller has and that the disk has, too: the cache's owner gives them up when asked. */
static void visit_blocks(struct block_cache *c)
{
	struct block_cache_stats s;
	uint64_t kept;

	block_cache_get_stats(c, &s);
	kept = s.in_use + s.dirty;
	add_idle(s.disk, "kpages", 0, 0, s.blocks > kept ? (s.blocks - kept) * DISK_BLOCK_SIZE : 0);
}

/* Fills in what is reclaimable. */
static void take_idle(void)
{
	idle.count = 0;
	idle.sum = 0;
	monitor_lock_tree();
	arena_tree_peek(visit_arena, NULL);
	monitor_unlock_tree();
	if (panic_happened())
		return;
	add_idle("idle stacks", "kpages", 0, 0, ktask_stacks_idle());
	for (struct block_cache *c = block_cache_next(NULL); c; c = block_cache_next(c))
		visit_blocks(c);
}

static void print_idle(const struct command_call *call)
{
	struct table_printer printer;

	if (idle.count == 0)
		return;
	if (!call->keys)
		sink_puts(call->sink, "\n");
	table_begin(&printer, &idle_table, call->sink, call->keys);
	for (size_t i = 0; i < idle.count; i++)
		table_row(&printer, &idle.row[i]);
	table_end(&printer);
}

/* What all is used for */

struct mem_row {
	const char *what;
	const char *where; /* "base", "ram", "hole" */
	uint64_t bytes, reclaimable;
};

static const struct table_column mem_columns[] = {
	TABLE_COLUMN(struct mem_row, what, "memory", "what", -32, TABLE_STRING, 0,
		"what memory is used for"),
	TABLE_COLUMN(struct mem_row, where, "in", "in", -8, TABLE_STRING, 0,
		"base: the arena base; ram: never in it; hole: no RAM"),
	TABLE_COLUMN(struct mem_row, bytes, "size", "bytes", 12, TABLE_BYTES, TABLE_TOTAL,
		"how much"),
	TABLE_COLUMN(struct mem_row, reclaimable, "reclaimable", "reclaimable", 12, TABLE_BYTES,
		TABLE_TOTAL,
		"an estimate of what reclaim could take back of it"),
};
static const struct table mem_table = {"memory", mem_columns, ARRAY_SIZE(mem_columns)};
static const struct table *const tables[] = {&mem_table, &idle_table, &nodes_table, &holder_table, NULL};

static void copy_base(const struct arena_stats *row, void *arg)
{
	if (row->arena == base_arena)
		*(struct arena_stats *)arg = *row;
}

/* After a panic a lock may be held for good, so nothing is locked then. */
static struct arena_stats base_stats(void)
{
	struct arena_stats base = {0};

	if (panic_happened())
		arena_tree_peek(copy_base, &base);
	else
		arena_get_stats(base_arena, &base);
	return base;
}

/* Prints the boot accounts that are RAM, or those that aren't, and returns their sum. */
static uint64_t print_accounts(struct table_printer *printer, bool is_ram)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < boot_info->account_count; i++) {
		const struct boot_account *account = &boot_info->account[i];
		struct mem_row row = {account->what, is_ram ? "ram" : "hole", account->bytes, 0};

		if (account->is_ram != is_ram)
			continue;
		table_row(printer, &row);
		sum += account->bytes;
	}
	return sum;
}

/* Prints what RAM is used for; returns the sum. */
static uint64_t print_ram(const struct command_call *call)
{
	struct arena_stats base = base_stats();
	uint64_t own = base.tag_pages * PORT_PAGE_SIZE, sum = base.total;
	const struct mem_row rows[] = {
		{"free", "base", base.free, 0},
		{"handed out", "base", base.used - own, idle.sum},
		{"arena tags and hashes", "base", own, 0},
	};
	struct table_printer printer;

	table_begin(&printer, &mem_table, call->sink, call->keys);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		table_row(&printer, &rows[i]);
	sum += print_accounts(&printer, true);
	table_end(&printer);
	return sum;
}

static void print_holes(const struct command_call *call)
{
	struct table_printer printer;

	table_begin(&printer, &mem_table, call->sink, call->keys);
	print_accounts(&printer, false);
	table_end(&printer);
}

static bool has_holes(void)
{
	for (size_t i = 0; i < boot_info->account_count; i++)
		if (!boot_info->account[i].is_ram)
			return true;
	return false;
}

static void print_sum(const struct command_call *call, uint64_t accounted)
{
	uint64_t total = boot_info->ram_total, added = accounted > total ? accounted - total : 0;

	accounted -= added;
	if (call->keys)
		sink_printf(call->sink, "ram total=%llu accounted=%llu added=%llu\n",
			(unsigned long long)total, (unsigned long long)accounted,
			(unsigned long long)added);
	else if (total > accounted)
		sink_printf(call->sink, "the memory map has %pB of RAM: %llu bytes more than above\n",
			(void *)&total, (unsigned long long)(total - accounted));
	else if (added)
		sink_printf(call->sink, "that is all RAM of the memory map, and %pB that came later\n",
			(void *)&added);
	else
		sink_printf(call->sink, "that is all RAM of the memory map, to the byte\n");
}

static void show(const struct command_call *call)
{
	take_idle();
	print_sum(call, print_ram(call));
	if (has_holes()) {
		if (!call->keys)
			sink_puts(call->sink, "\nnot RAM:\n");
		print_holes(call);
	}
	nodes_print(call);
	print_idle(call);
	if (!call->keys)
		sink_puts(call->sink, "\n");
	top_print(call, HOLDERS_SHOWN);
}

static const char *mem_command(const struct command_call *call)
{
	bool is_watched = call->argc > 1;

	if (is_watched && strcmp(call->argv[1], "-w") != 0)
		return command_error("%s is not -w", call->argv[1]);
	show(call);
	while (is_watched && monitor_pause(call->sink, WATCH_NS)) {
		if (!call->keys)
			sink_puts(call->sink, "\n");
		show(call);
	}
	return NULL;
}

static const struct command commands[] = {
	{"mem", "[-k] [-w]", "what memory is used for; -w: every second until a key",
		"mem", mem_command, COMMAND_PANIC_SAFE, NULL, tables},
};

struct command_table memory_commands = COMMAND_TABLE("memory", commands);
