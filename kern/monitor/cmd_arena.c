/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands: arenas as a tree, one at a time, and segment by segment.
 */
#include "monitor_impl.h"

#include "arena_print.h"
#include "errors.h"
#include "lib/array.h"
#include "lib/panic.h"
#include "lib/string.h"
#include "table.h"

static const char *no_such_arena(const struct command_call *call)
{
	return command_no_arena(call->argv[2]);
}

/* arena tree */

/* Prints a cache in an arena's columns: its object size as quantum, its slabs as spans, its live
 * objects as what is used. */
static void tree_cache(
	struct table_printer *printer, const struct kmem_cache_stats *s, unsigned depth)
{
	uint64_t live = s->used < s->total ? s->used : s->total;
	struct arena_tree_line line = {
		.name = s->name,
		.source = s->source_name,
		.depth = depth,
		.in_bytes = s->in_bytes,
		.quantum = s->obj_size,
		.total = s->total,
		.used = live,
		.free = s->total - live,
		.spans = s->slabs,
		.allocs = s->allocs,
		.failures = s->failures,
	};

	arena_tree_line(&line, printer);
}

/* What is printed of the tree, and what isn't. */
struct tree_walk {
	struct table_printer *printer;
	bool all; /* what is empty, too */
	size_t left_out;
};

/* Whether a row is printed; for scripts all are. */
static bool tree_shows(struct tree_walk *w, uint64_t total)
{
	bool shows = total > 0 || w->all || w->printer->keys;

	w->left_out += !shows;
	return shows;
}

/* Prints an arena and then the caches that draw slabs from it; under -k the arena alone, since
 * `slab -k` has the caches. */
static void tree_with_caches(
	struct tree_walk *w, const struct arena_stats *a, const struct snapshot *caches)
{
	if (tree_shows(w, a->total))
		arena_tree_row(a, w->printer);
	for (size_t i = 0; i < caches->count && !w->printer->keys; i++)
		if (caches->cache[i].source == a->arena && tree_shows(w, caches->cache[i].total))
			tree_cache(w->printer, &caches->cache[i], a->depth + 1);
}

/* Returns false, with nothing printed, if there is no memory for the snapshots. */
static bool tree_rows(struct tree_walk *w)
{
	struct snapshot arenas, caches;
	bool has_both;

	if (!snapshot_arenas(&arenas))
		return false;
	has_both = snapshot_caches(&caches);
	if (has_both) {
		for (size_t i = 0; i < arenas.count; i++)
			tree_with_caches(w, &arenas.arena[i], &caches);
		snapshot_free(&caches);
	}
	snapshot_free(&arenas);
	return has_both;
}

/* Without memory for snapshots. */
static void tree_each(struct table_printer *printer)
{
	struct arena_stats row;

	for (struct arena *a = arena_next(NULL); a; a = arena_next(a)) {
		arena_get_stats(a, &row);
		arena_tree_row(&row, printer);
	}
}

/* After a panic, or without memory for snapshots, each arena is printed as it is read, without
 * caches.  Returns how many rows were left out. */
static size_t tree_print(struct sink *sink, bool keys, bool all)
{
	struct table_printer printer;
	struct tree_walk walk = {&printer, all, 0};

	arena_tree_begin(&printer, sink, keys);
	if (panic_happened())
		arena_tree_peek(arena_tree_row, &printer);
	else if (!tree_rows(&walk))
		tree_each(&printer);
	table_end(&printer);
	return walk.left_out;
}

void arena_tree_print(struct sink *sink, bool keys)
{
	tree_print(sink, keys, false);
}

static const char *tree_command(const struct command_call *call)
{
	command_left_out(call, tree_print(call->sink, call->keys, call->all));
	return NULL;
}

/* arena show */

static const char *show_command(const struct command_call *call)
{
	struct arena *arena;

	if (call->argc > 3 && strcmp(call->argv[3], "-v") != 0)
		return command_error("%s is not -v", call->argv[3]);
	arena = command_arena(call->argv[2]);
	if (!arena)
		return no_such_arena(call);
	arena_show(arena, call->argc > 3, call->keys, call->sink);
	arena_unpin(arena);
	return NULL;
}

/* arena segs */

struct segs_row {
	const char *kind, *size_text;
	uint64_t start, end, size;
};

static const struct table_column segs_columns[] = {
	TABLE_COLUMN(struct segs_row, kind, "segment", "kind", -8, TABLE_STRING, 0,
		"a span, or what a part of the span above it is"),
	TABLE_COLUMN(struct segs_row, start, "start", "start", 18, TABLE_HEX, 0, "its first address"),
	TABLE_COLUMN(
		struct segs_row, end, "end", "end", 18, TABLE_HEX, 0, "the address behind its last"),
	TABLE_COLUMN(struct segs_row, size_text, "size", "size", 12, TABLE_STRING,
		TABLE_PEOPLE_ONLY, "its length"),
	TABLE_COLUMN(struct segs_row, size, "size", "size", 12, TABLE_COUNT, TABLE_KEY_ONLY),
};
static const struct table segs_table = {"segment", segs_columns, ARRAY_SIZE(segs_columns)};
static const struct table *const segs_tables[] = {&segs_table, NULL};

struct segs_walk {
	struct table_printer printer;
	bool in_bytes;
};

static bool segs_segment(const struct arena_segment *s, void *arg)
{
	static const char *const kinds[] = {
		[ARENA_SEGMENT_SPAN] = "span",
		[ARENA_SEGMENT_FREE] = "  free",
		[ARENA_SEGMENT_USED] = "  used",
	};
	struct segs_walk *walk = arg;
	char text[TABLE_CELL_MAX];
	struct segs_row row = {kinds[s->kind], text, s->start, s->start + s->size, s->size};

	while (walk->printer.keys && *row.kind == ' ')
		row.kind++;
	arena_format_amount(text, s->size, walk->in_bytes);
	table_row(&walk->printer, &row);
	return !monitor_interrupted(walk->printer.sink);
}

static const char *segs_command(const struct command_call *call)
{
	struct arena *arena = command_arena(call->argv[2]);
	struct arena_stats stats;
	struct segs_walk walk;

	if (!arena)
		return no_such_arena(call);
	arena_get_stats(arena, &stats);
	walk.in_bytes = stats.in_bytes;
	table_begin(&walk.printer, &segs_table, call->sink, call->keys);
	arena_walk(arena, segs_segment, &walk);
	arena_unpin(arena);
	table_end(&walk.printer);
	return NULL;
}

/* arena check */

struct check_row {
	const char *name, *result;
	uint64_t invariant;
};

static const struct table_column check_columns[] = {
	TABLE_COLUMN(struct check_row, name, "arena", "name", -24, TABLE_STRING, 0,
		"the arena that was checked"),
	TABLE_COLUMN(struct check_row, result, "invariants", "result", -12, TABLE_STRING,
		TABLE_PEOPLE_ONLY, "whether all hold, or the number of the first that is broken"),
	TABLE_COLUMN(
		struct check_row, invariant, "broken", "broken", 6, TABLE_COUNT, TABLE_KEY_ONLY),
};
static const struct table check_table = {"check", check_columns, ARRAY_SIZE(check_columns)};
static const struct table *const check_tables[] = {&check_table, NULL};

static bool is_unwanted(void *sink)
{
	return monitor_interrupted(sink);
}

/* Prints the arena's row, unless Ctrl-C came; returns whether no invariant is broken. */
static bool check_one(struct table_printer *printer, const char *name, struct arena *arena)
{
	char result[TABLE_CELL_MAX] = "all hold";
	int invariant = arena_check_until(arena, printer->sink, is_unwanted, printer->sink);
	struct check_row row = {name, result, (uint64_t)invariant};

	if (invariant == -EINTR)
		return true;
	if (invariant)
		ksnprintf(result, sizeof(result), "%d broken", invariant);
	table_row(printer, &row);
	return invariant == 0;
}

/* Checks the arenas called `name`, or all if it is NULL.  Returns how many are broken; -1 if there is
 * none of the name. */
static int check_named(struct table_printer *printer, const char *name)
{
	int broken = 0, checked = 0;
	struct arena_stats row;
	struct arena *a;

	for (a = arena_next(NULL); a && !monitor_interrupted(printer->sink); a = arena_next(a)) {
		arena_get_stats(a, &row);
		if (name && strcmp(name, row.name) != 0)
			continue;
		checked++;
		broken += !check_one(printer, row.name, a);
	}
	if (a)
		arena_unpin(a);
	return checked ? broken : -1;
}

static const char *check_command(const struct command_call *call)
{
	struct table_printer printer;
	int broken;

	if (call->argc > 2 && !arena_find(call->argv[2]))
		return no_such_arena(call);
	table_begin(&printer, &check_table, call->sink, call->keys);
	broken = check_named(&printer, call->argv[2]);
	table_end(&printer);
	if (broken < 0 && !monitor_interrupted(call->sink))
		return no_such_arena(call);
	return broken > 0 ? command_error("%d broken", broken) : NULL;
}

/* Completion */

static void offer_names(void (*offer)(void *arg, const char *word), void *arg)
{
	struct arena_stats row;

	for (struct arena *a = arena_next(NULL); a; a = arena_next(a)) {
		arena_get_stats(a, &row);
		offer(arg, row.name);
	}
}

static const struct table *const tree_tables[] = {&arena_tree_table, NULL};
static const struct table *const show_tables[] = {&arena_show_table, &arena_free_table, NULL};

static const struct command commands[] = {
	{"arena tree", "[-k] [-a]", "every arena under its source", "arena tree", tree_command,
		COMMAND_PANIC_SAFE, NULL, tree_tables},
	{"arena show", "[-k] NAME [-v]", "one arena; -v: its boundary tags and hash, too",
		"arena show base -v", show_command, COMMAND_PANIC_SAFE, offer_names, show_tables},
	{"arena segs", "[-k] NAME", "every span and segment of an arena", "arena segs kpages",
		segs_command, COMMAND_PANIC_SAFE, offer_names, segs_tables},
	{"arena map", "[-k] [-a] NAME", "where an arena is used and free", "arena map base",
		arena_map_command, COMMAND_PANIC_SAFE, offer_names, NULL},
	{"arena check", "[-k] [NAME]", "checks the invariants of one arena, or of all",
		"arena check", check_command, 0, offer_names, check_tables},
};

struct command_table arena_commands = COMMAND_TABLE("arena", commands);
