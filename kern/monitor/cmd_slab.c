/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Command: slab caches, all or one in depth.
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

enum {
	NAME,
	SOURCE,
	SIZE_TEXT,
	SIZE,
	LIVE,
	USED_PERMILLE,
	OBJECTS,
	SLABS,
	SLAB_OBJECTS,
	TOTAL_TEXT,
	TOTAL,
	WASTED,
	ALLOCS,
	ALLOC_MISSES,
	FAILURES,
	SLAB_SIZE,
	STRIDE,
	OUT,
	USED,
	SLABS_EMPTY,
	FREES,
	FREE_MISSES,
	DEPOT_TRIPS,
	DEPOT_FULL,
	DEPOT_EMPTY,
	MAGAZINE,
	GROWS,
	SHRINKS,
	CTOR_FAILURES,
	BUCKETS,
	ALIGN,
	LEAD,
	ZONES,
	RESERVE,
	DEPOT_ROUNDS,
	CORE_ROUNDS,
	SLAB_TRIPS,
	TRACKED,
	UNTRACKED,
	QUARANTINED,
	SAMPLES,
	COLUMNS
};

/* TABLE_BYTES: in bytes only if the cache's units are.  The table shows what fits in a line; `slab -k` and `slab NAME` show all. */
static const struct table_column columns[] = {
	[NAME] = TABLE_COLUMN(struct slab_row, name, "cache", "name", -16, TABLE_STRING, 0, "its name"),
	[SOURCE] = TABLE_COLUMN(struct slab_row, source, "source", "source", 0, TABLE_STRING, TABLE_KEY_ONLY,
		"NAME: the arena that its slabs come from"),
	[SIZE_TEXT] = TEXT(size_text, "size", "size", 8, "of an object"),
	[SIZE] = AMOUNT(obj_size, "size", "size", ""),
	[LIVE] = COLUMN(live, "live", "live", 7, 0, "objects that callers have"),
	[USED_PERMILLE] = TABLE_COLUMN(struct slab_row, used_permille, "used", "used_permille", 6, TABLE_PERMILLE,
		TABLE_PEOPLE_ONLY, "live objects, of all objects in its slabs"),
	[OBJECTS] = KEY(objects, "objects", "objects", "NAME: in all of its slabs"),
	[SLABS] = COLUMN(slabs, "slabs", "slabs", 6, 0, "pieces of its source that it cuts into objects"),
	[SLAB_OBJECTS] = KEY(slab_objects, "in each", "slab_objects", "NAME: objects that a slab is cut into"),
	[TOTAL_TEXT] = TEXT(total_text, "in slabs", "total", 10, "memory, or units, in all of its slabs"),
	[TOTAL] = AMOUNT(total, "in slabs", "total", ""),
	[WASTED] = TABLE_COLUMN(struct slab_row, wasted_permille, "wasted", "wasted_permille", 6, TABLE_PERMILLE,
		TABLE_PEOPLE_ONLY, "of that, what can be no part of an object"),
	[ALLOCS] = COLUMN(allocs, "allocs", "allocs", 7, 0, "allocations since the cache was made"),
	[ALLOC_MISSES] = KEY(alloc_misses, "  misses", "alloc_misses",
		"NAME: of them, those that took more than a magazine"),
	[FAILURES] = COLUMN(failures, "fails", "failures", 5, 0, "of them, those that were refused"),
	[SLAB_SIZE] = AMOUNT(slab_size, "slab size", "slab_size", "NAME: memory, or units, of one slab"),
	[STRIDE] = AMOUNT(stride, "stride", "stride", "NAME: from one object to the next"),
	[OUT] = KEY(out, "out of slabs", "out", "NAME: objects that are live or in a magazine"),
	[USED] = AMOUNT(used, "in live", "used", "NAME: memory, or units, in live objects"),
	[SLABS_EMPTY] = KEY(slabs_empty, "empty slabs", "slabs_empty", "NAME: slabs that no object is out of"),
	[FREES] = KEY(frees, "frees", "frees", "NAME: since the cache was made"),
	[FREE_MISSES] = KEY(free_misses, "  misses", "free_misses",
		"NAME: of them, those that took more than a magazine"),
	[DEPOT_TRIPS] = KEY(depot_trips, "depot trips", "depot_trips",
		"NAME: magazines exchanged with the depot"),
	[DEPOT_FULL] = KEY(depot_full, "full in depot", "depot_full", "NAME: full magazines in the depot"),
	[DEPOT_EMPTY] = KEY(depot_empty, "empty in depot", "depot_empty", "NAME: empty magazines in the depot"),
	[MAGAZINE] = KEY(magazine_size, "magazine size", "magazine_size",
		"NAME: objects that a new magazine holds"),
	[GROWS] = KEY(grows, "slabs taken", "grows", "NAME: from the source, since the cache was made"),
	[SHRINKS] = KEY(shrinks, "slabs returned", "shrinks", "NAME: of them, those given back"),
	[CTOR_FAILURES] = KEY(ctor_failures, "ctor fails", "ctor_failures",
		"NAME: calls of its constructor that failed"),
	[BUCKETS] = KEY(hash_buckets, "hash buckets", "hash_buckets",
		"NAME: of the hash that finds an object's slab"),
	[ALIGN] = AMOUNT(align, "alignment", "align", "NAME: objects start at multiples of it"),
	[LEAD] = AMOUNT(lead, "lead", "lead", "NAME: in a slab before its first object"),
	[ZONES] = AMOUNT(zones, "zones", "zones", "NAME: in slabs between objects, to find overflows"),
	[RESERVE] = KEY(reserve, "reserve", "reserve", "NAME: objects that slabs are kept for"),
	[DEPOT_ROUNDS] = KEY(depot_rounds, "idle in depot", "depot_rounds",
		"NAME: objects in magazines of the depot"),
	[CORE_ROUNDS] = KEY(core_rounds, "idle in cores", "core_rounds",
		"NAME: objects in magazines of cores"),
	[SLAB_TRIPS] = KEY(slab_trips, "slab trips", "slab_trips",
		"NAME: for up to 32 objects to or from slabs"),
	[TRACKED] = KEY(tracked, "known objects", "tracked",
		"NAME: of which a debug mode knows something"),
	[UNTRACKED] = KEY(untracked, "  missed", "untracked",
		"NAME: allocations that it had no memory to note"),
	[QUARANTINED] = KEY(quarantined, "in quarantine", "quarantined",
		"NAME: freed objects that rest, in mode full"),
	[SAMPLES] = KEY(samples, "samples", "samples", "NAME: live objects that are samples, in no slab"),
};
_Static_assert(ARRAY_SIZE(columns) == COLUMNS && COLUMNS <= TABLE_COLUMNS_MAX, "each is described");

static const struct table table = {"cache", columns, COLUMNS};

/* One cache: its slabs */

struct slabs_row {
	const char *name, *mode;
	uint64_t by_fullness[KMEM_FULLNESS];
};

#define FULLNESS(i, title, key, help)                                                              \
	TABLE_COLUMN(struct slabs_row, by_fullness[i], title, key, 10, TABLE_COUNT, 0, help)

static const struct table_column slabs_columns[] = {
	TABLE_COLUMN(struct slabs_row, name, "cache", "name", 0, TABLE_STRING, TABLE_KEY_ONLY),
	TABLE_COLUMN(struct slabs_row, mode, "mode", "mode", 0, TABLE_STRING, TABLE_KEY_ONLY,
		"NAME: its debug mode: off, check, full, trace, fail"),
	FULLNESS(0, "full slabs", "full", "NAME: slabs that no object is free in"),
	FULLNESS(1, "1/4 free", "quarter", "NAME: slabs with up to a quarter free"),
	FULLNESS(2, "1/2 free", "half", "NAME: up to a half"),
	FULLNESS(3, "3/4 free", "three_quarters", "NAME: up to three quarters"),
	FULLNESS(4, "more free", "more", "NAME: all but one object at most"),
	FULLNESS(5, "all free", "all", "NAME: empty slabs"),
};
static const struct table slabs_table = {"slabs", slabs_columns, ARRAY_SIZE(slabs_columns)};
static const struct table *const tables[] = {&table, &slabs_table, NULL};

const char *command_cache_mode(const struct kmem_cache_stats *s)
{
	static const char *const words[][4] = {
		{"off", "trace", "fail", "trace, fail"},
		{"check", "check, trace", "check, fail", "check, trace, fail"},
		{"full", "full", "full, fail", "full, fail"},
	};

	return words[s->is_full ? 2 : s->is_checked][s->is_traced + 2 * s->is_failing];
}

/* For people: three fields a line; NAME: none. */
#define FIELDS_A_LINE 3
static const uint8_t lines[][FIELDS_A_LINE] = {
	{SIZE, LIVE, ALLOCS},
	{STRIDE, OUT, ALLOC_MISSES},
	{ALIGN, OBJECTS, FAILURES},
	{LEAD, SLABS, FREES},
	{ZONES, SLABS_EMPTY, FREE_MISSES},
	{SLAB_SIZE, USED, DEPOT_TRIPS},
	{SLAB_OBJECTS, TOTAL, SLAB_TRIPS},
	{WASTED, RESERVE, GROWS},
	{MAGAZINE, TRACKED, SHRINKS},
	{DEPOT_FULL, UNTRACKED, CTOR_FAILURES},
	{DEPOT_EMPTY, QUARANTINED, BUCKETS},
	{DEPOT_ROUNDS, SAMPLES, NAME},
	{CORE_ROUNDS, NAME, NAME},
};
_Static_assert(NAME == 0, "a line's fields that aren't named are none");

/* Of a field, and between two. */
#define LABEL_WIDTH 14
#define VALUE_WIDTH 10
#define FIELD_GAP 2

static void show_field(struct sink *sink, const struct slab_row *row, const struct table_column *c)
{
	uint64_t value = *(const uint64_t *)((const char *)row + c->offset);
	char text[TABLE_CELL_MAX];

	if (c->kind == TABLE_BYTES)
		arena_format_amount(text, value, row->s.in_bytes);
	else
		table_format(text, c->kind, value);
	sink_printf(sink, "%-*s %*s", LABEL_WIDTH, c->title, VALUE_WIDTH, text);
}

/* What it is made of, in a few words. */
static void show_kind(struct sink *sink, const struct kmem_cache_stats *s)
{
	sink_printf(sink, "cache %s, source %s%s\n", s->name, s->source_name,
		s->is_own ? ", what caches are made of" : s->is_front ? ", a quantum cache" : "");
	sink_printf(sink, "%s; slabs found by %s, headers %s them%s\n",
		!s->is_memory	? "no memory" :
		s->is_notouch	? "memory that isn't touched" : "memory",
		s->is_frames ? "the page frame table" : "a hash", s->is_inside ? "in" : "outside",
		s->has_ctor ? "; constructor" : "");
	sink_printf(sink, "debug mode %s, magazines %s\n", command_cache_mode(s),
		s->is_own ? "none" : s->is_closed ? "closed" : "open");
}

static void show_one(struct sink *sink, const struct slab_row *row)
{
	show_kind(sink, &row->s);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		for (int j = 0; j < FIELDS_A_LINE && lines[i][j] != NAME; j++) {
			sink_fill(sink, ' ', j > 0 ? FIELD_GAP : 0);
			show_field(sink, row, &columns[lines[i][j]]);
		}
		sink_puts(sink, "\n");
	}
	sink_puts(sink, "\n");
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
		.used_permille = table_permille(s->live - s->samples, s->objects),
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

static void show_slabs(const struct command_call *call, struct kmem_cache *cache, const struct kmem_cache_stats *s)
{
	struct slabs_row row = {s->name, command_cache_mode(s), {0}};
	struct table_printer printer;

	kmem_cache_get_fullness(cache, row.by_fullness);
	table_begin(&printer, &slabs_table, call->sink, call->keys);
	table_row(&printer, &row);
	table_end(&printer);
}

/* Each of that name, read where it is: that takes no memory.  Returns how many there are. */
static size_t show_named(const struct command_call *call, const char *name)
{
	struct table_printer printer;
	struct kmem_cache_stats s;
	size_t found = 0;

	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
		kmem_cache_get_stats(c, &s);
		if (strcmp(s.name, name) != 0)
			continue;
		found++;
		if (call->keys)
			table_begin(&printer, &table, call->sink, true);
		show_row(call, call->keys ? &printer : NULL, &s);
		if (call->keys)
			table_end(&printer);
		show_slabs(call, c, &s);
	}
	return found;
}

/* All caches. */
struct caches_shown {
	const struct command_call *call;
	struct table_printer *printer;
	size_t left_out;
};

/* Those that have no slab are left out, unless all were asked for. */
static void show_cache(const struct kmem_cache_stats *s, void *arg)
{
	struct caches_shown *c = arg;

	if (!c->call->keys && !c->call->all && s->slabs == 0)
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
	struct table_printer printer;
	struct caches_shown c = {call, &printer, 0};

	if (name)
		return show_named(call, name) > 0 ? NULL : command_no_cache(name);
	table_begin(&printer, &table, call->sink, call->keys);
	if (!show_caches(&c))
		return "no memory for a list of caches";
	table_end(&printer);
	command_left_out(call, c.left_out);
	return NULL;
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
	{"slab", "[-k] [-a] [NAME]", "slab caches, or one in depth", "slab kmalloc-64",
		slab_command, COMMAND_PANIC_SAFE, offer_names, tables},
};

struct command_table slab_commands = COMMAND_TABLE("slab", commands);
