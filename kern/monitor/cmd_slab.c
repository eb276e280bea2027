/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands: slab caches, all or one.
 */
#include "lib/string.h"
#include "table.h"
#include "monitor_impl.h"

struct slab_row {
	const char *name;
	struct kmem_cache_stats s;
};

#define COLUMN(member, title, key, width, kind, flags)                                             \
	TABLE_COLUMN(struct slab_row, s.member, title, key, width, kind, flags)

static const struct table_column columns[] = {
	TABLE_COLUMN(struct slab_row, name, "cache", "name", -18, TABLE_STRING, 0),
	COLUMN(obj_size, "size", "size", 7, TABLE_COUNT, 0),
	COLUMN(live, "live", "live", 9, TABLE_COUNT, 0),
	COLUMN(objects, "objects", "objects", 9, TABLE_COUNT, 0),
	COLUMN(slabs, "slabs", "slabs", 6, TABLE_COUNT, 0),
	COLUMN(slab_objects, "each", "slab_objects", 5, TABLE_COUNT, 0),
	COLUMN(total, "units", "total", 10, TABLE_COUNT, 0),
	COLUMN(allocs, "allocs", "allocs", 10, TABLE_COUNT, 0),
	COLUMN(alloc_misses, "misses", "alloc_misses", 8, TABLE_COUNT, 0),
	COLUMN(failures, "fails", "failures", 6, TABLE_COUNT, 0),
	COLUMN(slab_size, "", "slab_size", 0, TABLE_COUNT, TABLE_KEY_ONLY),
	COLUMN(stride, "", "stride", 0, TABLE_COUNT, TABLE_KEY_ONLY),
	COLUMN(out, "", "out", 0, TABLE_COUNT, TABLE_KEY_ONLY),
	COLUMN(used, "", "used", 0, TABLE_COUNT, TABLE_KEY_ONLY),
	COLUMN(slabs_empty, "", "slabs_empty", 0, TABLE_COUNT, TABLE_KEY_ONLY),
	COLUMN(frees, "", "frees", 0, TABLE_COUNT, TABLE_KEY_ONLY),
	COLUMN(free_misses, "", "free_misses", 0, TABLE_COUNT, TABLE_KEY_ONLY),
	COLUMN(depot_trips, "", "depot_trips", 0, TABLE_COUNT, TABLE_KEY_ONLY),
	COLUMN(depot_full, "", "depot_full", 0, TABLE_COUNT, TABLE_KEY_ONLY),
	COLUMN(depot_empty, "", "depot_empty", 0, TABLE_COUNT, TABLE_KEY_ONLY),
	COLUMN(magazine_size, "", "magazine_size", 0, TABLE_COUNT, TABLE_KEY_ONLY),
	COLUMN(grows, "", "grows", 0, TABLE_COUNT, TABLE_KEY_ONLY),
	COLUMN(shrinks, "", "shrinks", 0, TABLE_COUNT, TABLE_KEY_ONLY),
};
static const struct table table = {"cache", columns, ARRAY_SIZE(columns)};

/* One cache, a line for each. */
static const struct table_column details[] = {
	COLUMN(obj_size, "object", "", 0, TABLE_COUNT, 0),
	COLUMN(stride, "from one to the next", "", 0, TABLE_COUNT, 0),
	COLUMN(slab_size, "slab", "", 0, TABLE_COUNT, 0),
	COLUMN(slab_objects, "objects in one", "", 0, TABLE_COUNT, 0),
	COLUMN(slabs, "slabs", "", 0, TABLE_COUNT, 0),
	COLUMN(slabs_empty, "empty slabs", "", 0, TABLE_COUNT, 0),
	COLUMN(objects, "objects", "", 0, TABLE_COUNT, 0),
	COLUMN(out, "out of slabs", "", 0, TABLE_COUNT, 0),
	COLUMN(live, "live", "", 0, TABLE_COUNT, 0),
	COLUMN(allocs, "allocs", "", 0, TABLE_COUNT, 0),
	COLUMN(alloc_misses, "off the hot path", "", 0, TABLE_COUNT, 0),
	COLUMN(frees, "frees", "", 0, TABLE_COUNT, 0),
	COLUMN(free_misses, "off the hot path", "", 0, TABLE_COUNT, 0),
	COLUMN(failures, "fails", "", 0, TABLE_COUNT, 0),
	COLUMN(ctor_failures, "by constructors", "", 0, TABLE_COUNT, 0),
	COLUMN(magazine_size, "rounds a magazine", "", 0, TABLE_COUNT, 0),
	COLUMN(depot_trips, "depot trips", "", 0, TABLE_COUNT, 0),
	COLUMN(depot_full, "full magazines", "", 0, TABLE_COUNT, 0),
	COLUMN(depot_empty, "empty magazines", "", 0, TABLE_COUNT, 0),
	COLUMN(grows, "slabs taken", "", 0, TABLE_COUNT, 0),
	COLUMN(shrinks, "slabs given back", "", 0, TABLE_COUNT, 0),
	COLUMN(hash_buckets, "hash buckets", "", 0, TABLE_COUNT, 0),
};

static void show_one(struct sink *sink, const struct slab_row *row)
{
	sink_printf(sink, "%-20s %12s\n%-20s %12s\n", "cache", row->s.name, "source", row->s.source_name);
	for (size_t i = 0; i < ARRAY_SIZE(details); i++)
		sink_printf(sink, "%-20s %12llu\n", details[i].title,
			*(const unsigned long long *)((const char *)row + details[i].offset));
}

static bool is_named(const struct command_call *call, const struct kmem_cache_stats *s)
{
	return call->argc < 2 || strcmp(call->argv[1], s->name) == 0;
}

static const char *slab_command(const struct command_call *call)
{
	struct table_printer printer;
	struct snapshot caches;
	size_t shown = 0;

	if (!snapshot_caches(&caches))
		return "no memory for a list of caches";
	if (call->argc < 2 || call->keys)
		table_begin(&printer, &table, call->sink, call->keys);
	for (size_t i = 0; i < caches.count; i++) {
		struct slab_row row = {caches.cache[i].name, caches.cache[i]};

		if (!is_named(call, &row.s))
			continue;
		shown++;
		if (call->argc < 2 || call->keys)
			table_row(&printer, &row);
		else
			show_one(call->sink, &row);
	}
	if (call->argc < 2)
		table_end(&printer);
	snapshot_free(&caches);
	return shown ? NULL : command_error("no cache %s", call->argv[1]);
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
	{"slab", "[-k] [NAME]", "slab caches, or all about one", "slab kmalloc-64", slab_command, 0,
		offer_names},
};

struct command_table slab_commands = COMMAND_TABLE("slab", commands);
