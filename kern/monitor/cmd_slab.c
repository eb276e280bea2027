/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Command: slab caches, all or one.
 */
#include "monitor_impl.h"

#include "lib/array.h"
#include "lib/string.h"
#include "table.h"

struct slab_row {
	const char *name;
	struct kmem_cache_stats s;
};

#define COLUMN(member, title, key, width, flags)                                                   \
	TABLE_COLUMN(struct slab_row, s.member, title, key, width, TABLE_COUNT, flags)

/* The table shows what fits in 100 columns; `slab -k` and `slab NAME` show all. */
static const struct table_column columns[] = {
	TABLE_COLUMN(struct slab_row, name, "cache", "name", -18, TABLE_STRING, 0),
	COLUMN(obj_size, "size", "size", 7, 0),
	COLUMN(live, "live", "live", 9, 0),
	COLUMN(objects, "objects", "objects", 9, 0),
	COLUMN(slabs, "slabs", "slabs", 6, 0),
	COLUMN(slab_objects, "in each", "slab_objects", 7, 0),
	COLUMN(total, "units", "total", 10, 0),
	COLUMN(allocs, "allocs", "allocs", 10, 0),
	COLUMN(alloc_misses, "misses", "alloc_misses", 8, 0),
	COLUMN(failures, "fails", "failures", 6, 0),
	COLUMN(slab_size, "slab size", "slab_size", 0, TABLE_KEY_ONLY),
	COLUMN(stride, "stride", "stride", 0, TABLE_KEY_ONLY),
	COLUMN(out, "out of slabs", "out", 0, TABLE_KEY_ONLY),
	COLUMN(used, "units live", "used", 0, TABLE_KEY_ONLY),
	COLUMN(slabs_empty, "empty slabs", "slabs_empty", 0, TABLE_KEY_ONLY),
	COLUMN(frees, "frees", "frees", 0, TABLE_KEY_ONLY),
	COLUMN(free_misses, "free misses", "free_misses", 0, TABLE_KEY_ONLY),
	COLUMN(depot_trips, "depot trips", "depot_trips", 0, TABLE_KEY_ONLY),
	COLUMN(depot_full, "full magazines", "depot_full", 0, TABLE_KEY_ONLY),
	COLUMN(depot_empty, "empty magazines", "depot_empty", 0, TABLE_KEY_ONLY),
	COLUMN(magazine_size, "magazine size", "magazine_size", 0, TABLE_KEY_ONLY),
	COLUMN(grows, "slabs taken", "grows", 0, TABLE_KEY_ONLY),
	COLUMN(shrinks, "slabs given back", "shrinks", 0, TABLE_KEY_ONLY),
	COLUMN(ctor_failures, "ctor fails", "ctor_failures", 0, TABLE_KEY_ONLY),
	COLUMN(hash_buckets, "hash buckets", "hash_buckets", 0, TABLE_KEY_ONLY),
};
static const struct table table = {"cache", columns, ARRAY_SIZE(columns)};

/* A line for each column, by its title. */
static void show_one(struct sink *sink, const struct slab_row *row)
{
	sink_printf(sink, "%-20s %12s\n%-20s %12s\n", "cache", row->name, "source",
		row->s.source_name);
	for (size_t i = 1; i < ARRAY_SIZE(columns); i++)
		sink_printf(sink, "%-20s %12llu\n", columns[i].title,
			*(const unsigned long long *)((const char *)row + columns[i].offset));
}

static const char *slab_command(const struct command_call *call)
{
	const char *name = call->argv[1]; /* NULL: all */
	bool as_table = !name || call->keys;
	struct table_printer printer;
	struct snapshot caches;
	size_t shown = 0;

	if (!snapshot_caches(&caches))
		return "no memory for a list of caches";
	if (as_table)
		table_begin(&printer, &table, call->sink, call->keys);
	for (size_t i = 0; i < caches.count; i++) {
		struct slab_row row = {caches.cache[i].name, caches.cache[i]};

		if (name && strcmp(name, row.name) != 0)
			continue;
		shown++;
		if (as_table)
			table_row(&printer, &row);
		else
			show_one(call->sink, &row);
	}
	if (as_table)
		table_end(&printer);
	snapshot_free(&caches);
	return shown ? NULL : command_error("no cache %s", name);
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
