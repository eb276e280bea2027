/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Command: what the machine's memory is used for, and how much of it reclaim could take back.
 */
#include "holders.h"

#include "block_cache.h"
#include "boot.h"
#include "disk.h"
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
	uint64_t spans, objects, bytes; /* in bytes, all three */
};

static const struct table_column idle_columns[] = {
	TABLE_COLUMN(struct idle_row, indented, "reclaimable in", "arena", -24, TABLE_STRING,
		TABLE_PEOPLE_ONLY,
		"an arena, or a disk whose blocks are cached"),
	TABLE_COLUMN(struct idle_row, name, "arena", "arena", 0, TABLE_STRING, TABLE_KEY_ONLY),
	TABLE_COLUMN(struct idle_row, source, "source", "source", 0, TABLE_STRING, TABLE_KEY_ONLY),
	TABLE_COLUMN(struct idle_row, spans, "free spans", "spans", 12, TABLE_BYTES, TABLE_TOTAL,
		"spans that the arena imported, and that are wholly free"),
	TABLE_COLUMN(struct idle_row, objects, "in caches", "objects", 12, TABLE_BYTES, TABLE_TOTAL,
		"its caches' objects in magazines, and empty slabs"),
	TABLE_COLUMN(struct idle_row, bytes, "both", "bytes", 12, TABLE_BYTES, TABLE_TOTAL,
		"free spans and in caches"),
};
static const struct table idle_table = {"reclaimable", idle_columns, ARRAY_SIZE(idle_columns)};

/* A walk along the tree of base_arena.  In a panic there are no snapshots: nothing changes then, and
 * each arena and cache is read where it is. */
struct idle_walk {
	struct snapshot arenas, caches;
	struct table_printer *printer; /* NULL: only adds up */
	uint64_t sum;
	bool is_in_base; /* the root passed last is base_arena */
};

/* Objects in magazines, and empty slabs.  Free objects in slabs that aren't empty can't go back. */
static void add_cache(const struct kmem_cache_stats *c, void *row)
{
	uint64_t in_magazines = c->out > c->live ? c->out - c->live : 0;

	((struct idle_row *)row)->objects += in_magazines * c->stride + c->slabs_empty * c->slab_size;
}

static void add_caches(const struct idle_walk *w, const struct arena_stats *a, struct idle_row *row)
{
	if (panic_happened())
		kmem_cache_peek(a->arena, add_cache, row);
	for (size_t i = 0; i < w->caches.count; i++)
		if (w->caches.cache[i].source == a->arena)
			add_cache(&w->caches.cache[i], row);
}

static void visit_arena(const struct arena_stats *a, void *walk)
{
	char indented[ARENA_NAME_MAX + 8 * INDENT];
	struct idle_walk *w = walk;
	struct idle_row row = {a->name, a->source, indented, a->retained, 0, 0};

	if (a->depth == 0)
		w->is_in_base = a->arena == base_arena;
	if (!w->is_in_base)
		return;
	add_caches(w, a, &row);
	row.bytes = row.spans + row.objects;
	w->sum += row.bytes;
	ksnprintf(indented, sizeof(indented), "%*s%s", (int)a->depth * INDENT, "", a->name);
	if (w->printer && row.bytes > 0)
		table_row(w->printer, &row);
}

/* Blocks that no caller has and that the disk has, too: the cache's owner gives them up when asked. */
static void visit_blocks(struct block_cache *c, struct idle_walk *w)
{
	struct block_cache_stats s;
	struct idle_row row = {.source = "kpages"};

	block_cache_get_stats(c, &s);
	row.name = row.indented = s.disk;
	if (s.blocks > s.in_use + s.dirty)
		row.objects = row.bytes = (s.blocks - s.in_use - s.dirty) * DISK_BLOCK_SIZE;
	w->sum += row.bytes;
	if (w->printer && row.bytes > 0)
		table_row(w->printer, &row);
}

static void walk_idle(struct idle_walk *w)
{
	if (panic_happened())
		arena_tree_peek(visit_arena, w);
	for (size_t i = 0; i < w->arenas.count; i++)
		visit_arena(&w->arenas.arena[i], w);
	if (panic_happened())
		return;
	for (struct block_cache *c = block_cache_next(NULL); c; c = block_cache_next(c))
		visit_blocks(c, w);
}

/* Adds up what is reclaimable.  Returns false if there is no memory for the snapshots. */
static bool idle_begin(struct idle_walk *w)
{
	*w = (struct idle_walk){.sum = 0};
	if (panic_happened()) {
		walk_idle(w);
		return true;
	}
	if (!snapshot_arenas(&w->arenas))
		return false;
	if (!snapshot_caches(&w->caches)) {
		snapshot_free(&w->arenas);
		return false;
	}
	walk_idle(w);
	return true;
}

static void idle_end(struct idle_walk *w)
{
	if (w->arenas.rows)
		snapshot_free(&w->arenas);
	if (w->caches.rows)
		snapshot_free(&w->caches);
}

static void print_idle(const struct command_call *call, struct idle_walk *w)
{
	struct table_printer printer;

	if (w->sum == 0)
		return;
	if (!call->keys)
		sink_puts(call->sink, "\n");
	table_begin(&printer, &idle_table, call->sink, call->keys);
	w->printer = &printer;
	walk_idle(w);
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
static const struct table *const tables[] = {&mem_table, &idle_table, &nodes_table, NULL};

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
static uint64_t print_ram(const struct command_call *call, uint64_t reclaimable)
{
	struct arena_stats base = base_stats();
	uint64_t own = base.tag_pages * PORT_PAGE_SIZE, sum = base.total;
	const struct mem_row rows[] = {
		{"free", "base", base.free, 0},
		{"handed out", "base", base.used - own, reclaimable},
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

/* Without memory for snapshots all but what is reclaimable is shown. */
static const char *show(const struct command_call *call)
{
	struct idle_walk idle;
	bool is_counted = idle_begin(&idle);

	print_sum(call, print_ram(call, idle.sum));
	if (has_holes()) {
		if (!call->keys)
			sink_puts(call->sink, "\nnot RAM:\n");
		print_holes(call);
	}
	nodes_print(call);
	if (!is_counted)
		return "no memory to count what is reclaimable";
	print_idle(call, &idle);
	idle_end(&idle);
	return NULL;
}

/* And who holds most of it. */
static const char *show_all(const struct command_call *call)
{
	const char *wrong = show(call);
	struct holders h;

	if (wrong || panic_happened())
		return wrong;
	if (!holders_take(&h))
		return "no memory for a list of holders";
	if (!call->keys)
		sink_puts(call->sink, "\n");
	top_print(call, &h, call->keys ? SIZE_MAX : HOLDERS_SHOWN, false);
	holders_free(&h);
	return NULL;
}

static const char *mem_command(const struct command_call *call)
{
	bool is_watched = call->argc > 1;
	const char *wrong;

	if (is_watched && strcmp(call->argv[1], "-w") != 0)
		return command_error("%s is not -w", call->argv[1]);
	wrong = show_all(call);
	while (!wrong && is_watched && monitor_pause(call->sink, WATCH_NS)) {
		if (!call->keys)
			sink_puts(call->sink, "\n");
		wrong = show_all(call);
	}
	return wrong;
}

static const struct command commands[] = {
	{"mem", "[-k] [-w]", "what memory is used for; -w: every second until a key",
		"mem", mem_command, COMMAND_PANIC_SAFE, NULL, tables},
};

struct command_table memory_commands = COMMAND_TABLE("memory", commands);
