/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Command: slab caches, all or one.
 */
#include "monitor_impl.h"

#include "arena_print.h"
#include "lib/array.h"
#include "lib/panic.h"
#include "lib/string.h"
#include "table.h"

struct slab_row {
	const char *name, *source, *size_text, *total_text;
	struct kmem_cache_stats s;
	uint64_t used_permille, wasted_permille;
};

#define COLUMN(member, title, key, width, flags, help)                                             \
	TABLE_COLUMN(struct slab_row, s.member, title, key, width, TABLE_COUNT, flags, help)
#define KEY(member, title, key, help) COLUMN(member, title, key, 0, TABLE_KEY_ONLY, help)
#define AMOUNT(member, title, key, help)                                                           \
	TABLE_COLUMN(struct slab_row, s.member, title, key, 0, TABLE_BYTES, TABLE_KEY_ONLY, help)
#define TEXT(member, title, key, width, help)                                                      \
	TABLE_COLUMN(struct slab_row, member, title, key, width, TABLE_STRING, TABLE_PEOPLE_ONLY, help)

/* TABLE_BYTES: in bytes only if the cache's units are.  The table shows what fits in a line; `slab -k` and `slab NAME` show all. */
static const struct table_column columns[] = {
	TABLE_COLUMN(struct slab_row, name, "cache", "name", -16, TABLE_STRING, 0, "its name"),
	TABLE_COLUMN(struct slab_row, source, "source", "source", 0, TABLE_STRING, TABLE_KEY_ONLY,
		"NAME: the arena that its slabs come from"),
	TEXT(size_text, "size", "size", 8, "of an object"),
	AMOUNT(obj_size, "size", "size", ""),
	COLUMN(live, "live", "live", 7, 0, "objects that callers have"),
	TABLE_COLUMN(struct slab_row, used_permille, "used", "used_permille", 6, TABLE_PERMILLE,
		TABLE_PEOPLE_ONLY, "live objects, of all objects in its slabs"),
	KEY(objects, "objects", "objects", "NAME: in all of its slabs"),
	COLUMN(slabs, "slabs", "slabs", 6, 0, "pieces of its source that it cuts into objects"),
	KEY(slab_objects, "in each", "slab_objects", "NAME: objects that a slab is cut into"),
	TEXT(total_text, "in slabs", "total", 10, "memory, or units, in all of its slabs"),
	AMOUNT(total, "in slabs", "total", ""),
	TABLE_COLUMN(struct slab_row, wasted_permille, "wasted", "wasted_permille", 6, TABLE_PERMILLE,
		TABLE_PEOPLE_ONLY, "of that, what can be no part of an object"),
	COLUMN(allocs, "allocs", "allocs", 7, 0, "allocations since the cache was made"),
	KEY(alloc_misses, "misses", "alloc_misses",
		"NAME: of them, those that took more than a magazine"),
	COLUMN(failures, "fails", "failures", 5, 0, "of them, those that were refused"),
	AMOUNT(slab_size, "slab size", "slab_size", "NAME: memory, or units, of one slab"),
	AMOUNT(stride, "stride", "stride", "NAME: from one object to the next"),
	KEY(out, "out of slabs", "out", "NAME: objects that are live or in a magazine"),
	AMOUNT(used, "in live", "used", "NAME: memory, or units, in live objects"),
	KEY(slabs_empty, "empty slabs", "slabs_empty", "NAME: slabs that no object is out of"),
	KEY(frees, "frees", "frees", "NAME: since the cache was made"),
	KEY(free_misses, "free misses", "free_misses",
		"NAME: of them, those that took more than a magazine"),
	KEY(depot_trips, "depot trips", "depot_trips",
		"NAME: magazines exchanged with the depot"),
	KEY(depot_full, "depot full", "depot_full", "NAME: full magazines in the depot"),
	KEY(depot_empty, "depot empty", "depot_empty", "NAME: empty magazines in the depot"),
	KEY(magazine_size, "magazine size", "magazine_size",
		"NAME: objects that a new magazine holds"),
	KEY(grows, "slabs taken", "grows", "NAME: from the source, since the cache was made"),
	KEY(shrinks, "slabs returned", "shrinks", "NAME: of them, those given back"),
	KEY(ctor_failures, "ctor fails", "ctor_failures",
		"NAME: calls of its constructor that failed"),
	KEY(hash_buckets, "hash buckets", "hash_buckets",
		"NAME: of the hash that finds an object's slab"),
};
static const struct table table = {"cache", columns, ARRAY_SIZE(columns)};
static const struct table *const tables[] = {&table, NULL};


/* A line for each column that `slab -k` has, by its title. */
static void show_one(struct sink *sink, const struct slab_row *row)
{
	char text[TABLE_CELL_MAX];

	sink_printf(sink, "%-14s %18s\n%-14s %18s\n", "cache", row->name, "source", row->source);
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
		uint64_t value = *(const uint64_t *)((const char *)row + columns[i].offset);

		if (columns[i].kind == TABLE_STRING)
			continue;
		if (columns[i].kind == TABLE_BYTES)
			arena_format_amount(text, value, row->s.in_bytes);
		else
			table_format(text, columns[i].kind, value);
		sink_printf(sink, "%-14s %18s\n", columns[i].title, text);
	}
}

static void show_row(const struct command_call *call, struct table_printer *printer,
	const struct kmem_cache_stats *s)
{
	char size[TABLE_CELL_MAX], total[TABLE_CELL_MAX];
	struct slab_row row = {
		.name = s->name,
		.source = s->source_name,
		.size_text = size,
		.total_text = total,
		.s = *s,
		.used_permille = table_permille(s->live, s->objects),
		.wasted_permille = s->objects * s->obj_size < s->total ?
			table_permille(s->total - s->objects * s->obj_size, s->total) : 0,
	};

	arena_format_amount(size, s->obj_size, s->in_bytes);
	arena_format_amount(total, s->total, s->in_bytes);
	if (printer)
		table_row(printer, &row);
	else
		show_one(call->sink, &row);
}

/* The caches called `name`, or all if it is NULL. */
struct caches_shown {
	const struct command_call *call;
	struct table_printer *printer;
	const char *name;
	size_t found, left_out;
};

/* Those that have no slab are left out, unless all were asked for. */
static void show_cache(const struct kmem_cache_stats *s, void *arg)
{
	struct caches_shown *c = arg;

	if (c->name && strcmp(c->name, s->name) != 0)
		return;
	c->found++;
	if (!c->name && !c->call->keys && !c->call->all && s->slabs == 0)
		c->left_out++;
	else
		show_row(c->call, c->printer, s);
}

static void peek_arena(const struct arena_stats *a, void *arg)
{
	kmem_cache_peek(a->arena, show_cache, arg);
}

/* Returns false if there is no memory for a snapshot; after a panic each is read where it is. */
static bool show_caches(struct caches_shown *c)
{
	struct snapshot caches;

	if (panic_happened()) {
		arena_tree_peek(peek_arena, c);
		return true;
	}
	if (!snapshot_caches(&caches))
		return false;
	for (size_t i = 0; i < caches.count; i++)
		show_cache(&caches.cache[i], c);
	snapshot_free(&caches);
	return true;
}

static const char *slab_command(const struct command_call *call)
{
	const char *name = call->argv[1]; /* NULL: all */
	bool as_table = !name || call->keys;
	struct table_printer printer;
	struct caches_shown c = {call, as_table ? &printer : NULL, name, 0, 0};

	if (as_table)
		table_begin(&printer, &table, call->sink, call->keys);
	if (!show_caches(&c))
		return "no memory for a list of caches";
	if (as_table)
		table_end(&printer);
	command_left_out(call, c.left_out);
	if (c.found > 0)
		return NULL;
	return command_no_cache(name);
}

static void offer_names(void (*offer)(void *arg, const char *word), void *arg)
{
	struct kmem_cache_stats stats;

	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
		kmem_cache_get_stats(c, &stats);
		offer(arg, stats.name);
	}
}

static const struct command commands[] = {
	{"slab", "[-k] [-a] [NAME]", "slab caches, or all about one", "slab kmalloc-64",
		slab_command, COMMAND_PANIC_SAFE, offer_names, tables},
};

struct command_table slab_commands = COMMAND_TABLE("slab", commands);
