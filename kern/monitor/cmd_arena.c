/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands: arenas as a tree, one at a time, and segment by segment.
 */
#include "lib/panic.h"
#include "lib/string.h"
#include "lib/table.h"
#include "monitor_impl.h"

#define AMOUNT_MAX 24 /* bytes of an amount as text, its end included */

/* Amounts of memory read as bytes, those of anything else as plain numbers. */
static void format_amount(char *text, uint64_t amount, bool is_memory)
{
	if (amount == 0)
		str_copy(text, "-", AMOUNT_MAX);
	else if (is_memory)
		ksnprintf(text, AMOUNT_MAX, "%pB", (const void *)&amount);
	else
		ksnprintf(text, AMOUNT_MAX, "%llu", (unsigned long long)amount);
}

static struct arena *find(const struct command_call *call)
{
	return arena_find(call->argv[2]);
}

static const char *unknown(const struct command_call *call)
{
	return command_error("no arena %s", call->argv[2]);
}

/* arena tree */

#define INDENT 2

enum { QUANTUM, TOTAL, USED, FREE, LARGEST, AMOUNTS };

struct tree_row {
	const char *name, *indented, *source;
	const char *text[AMOUNTS];
	uint64_t amount[AMOUNTS];
	uint64_t spans, allocs, failures;
};

/* An amount is a cell of text for people and a number for scripts. */
#define AMOUNT(index, title, key, width)                                                           \
	TABLE_COLUMN(                                                                              \
		struct tree_row, text[index], title, key, width, TABLE_STRING, TABLE_PEOPLE_ONLY), \
		TABLE_COLUMN(struct tree_row, amount[index], title, key, width, TABLE_COUNT,       \
			TABLE_KEY_ONLY)

static const struct table_column tree_columns[] = {
	TABLE_COLUMN(
		struct tree_row, indented, "arena", "name", -16, TABLE_STRING, TABLE_PEOPLE_ONLY),
	TABLE_COLUMN(struct tree_row, name, "arena", "name", -16, TABLE_STRING, TABLE_KEY_ONLY),
	TABLE_COLUMN(
		struct tree_row, source, "source", "source", -16, TABLE_STRING, TABLE_KEY_ONLY),
	AMOUNT(QUANTUM, "quantum", "quantum", 8),
	AMOUNT(TOTAL, "total", "total", 10),
	AMOUNT(USED, "used", "used", 10),
	AMOUNT(FREE, "free", "free", 10),
	AMOUNT(LARGEST, "largest free", "largest_free", 12),
	TABLE_COLUMN(struct tree_row, spans, "spans", "spans", 6, TABLE_COUNT, 0),
	TABLE_COLUMN(struct tree_row, allocs, "allocs", "allocs", 10, TABLE_COUNT, 0),
	TABLE_COLUMN(struct tree_row, failures, "fails", "fails", 6, TABLE_COUNT, 0),
};
static const struct table tree_table = {"arena", tree_columns, ARRAY_SIZE(tree_columns)};

static void tree_row(const struct arena_stats *s, void *printer)
{
	char text[AMOUNTS][AMOUNT_MAX], indented[ARENA_NAME_MAX + 8 * INDENT];
	struct tree_row row = {
		.name = s->name,
		.indented = indented,
		.source = s->source,
		.amount = {s->quantum, s->total, s->used, s->free, s->largest_free},
		.spans = s->spans,
		.allocs = s->allocs,
		.failures = s->failures,
	};

	ksnprintf(indented, sizeof(indented), "%*s%s", (int)s->depth * INDENT, "", s->name);
	for (size_t i = 0; i < AMOUNTS; i++) {
		format_amount(text[i], row.amount[i], s->is_memory);
		row.text[i] = text[i];
	}
	table_row(printer, &row);
}

/* A cache under its arena, in the same columns: its objects' size, its slabs, its live objects. */
static void tree_cache(
	struct table_printer *printer, const struct kmem_cache_stats *s, unsigned depth)
{
	char text[AMOUNTS][AMOUNT_MAX], indented[KMEM_NAME_MAX + 8 * INDENT];
	uint64_t live = s->used < s->total ? s->used : s->total;
	struct tree_row row = {
		.name = s->name,
		.indented = indented,
		.source = s->source_name,
		.amount = {s->obj_size, s->total, live, s->total - live, 0},
		.spans = s->slabs,
		.allocs = s->allocs,
		.failures = s->failures,
	};

	ksnprintf(indented, sizeof(indented), "%*s%s", (int)depth * INDENT, "", s->name);
	for (size_t i = 0; i < AMOUNTS; i++) {
		format_amount(text[i], row.amount[i], s->is_memory);
		row.text[i] = text[i];
	}
	table_row(printer, &row);
}

/* An arena and then the caches that draw slabs from it.  Scripts ask `slab -k` about those. */
static void tree_with_caches(
	struct table_printer *printer, const struct arena_stats *a, const struct slab_rows *caches)
{
	tree_row(a, printer);
	for (size_t i = 0; i < caches->count && !printer->keys; i++)
		if (caches->rows[i].source == a->arena)
			tree_cache(printer, &caches->rows[i], a->depth + 1);
}

/* Whether there was memory for the snapshots. */
static bool tree_rows(struct table_printer *printer)
{
	struct arena_rows r;
	struct slab_rows caches;
	bool taken;

	if (!arena_rows_take(&r))
		return false;
	taken = slab_rows_take(&caches);
	if (taken) {
		for (size_t i = 0; i < r.count; i++)
			tree_with_caches(printer, &r.rows[i], &caches);
		slab_rows_drop(&caches);
	}
	arena_rows_drop(&r);
	return taken;
}

/* After a panic, and when there is no memory for a snapshot, arenas are shown as they are read. */
void arena_tree_print(struct sink *sink, bool keys)
{
	struct table_printer printer;

	table_begin(&printer, &tree_table, sink, keys);
	if (panic_happened() || !tree_rows(&printer))
		arena_tree_peek(tree_row, &printer);
	table_end(&printer);
}

static const char *tree_command(const struct command_call *call)
{
	arena_tree_print(call->sink, call->keys);
	return NULL;
}

/* arena show */

struct show_row {
	const char *name, *source;
	struct arena_stats stats;
};

#define SHOW(member, title, key, kind)                                                             \
	TABLE_COLUMN(struct show_row, stats.member, title, key, 12, kind, 0)

/* What is shown of one arena, a line for each; TABLE_BYTES: an amount, bytes only for memory. */
static const struct table_column show_columns[] = {
	TABLE_COLUMN(struct show_row, name, "arena", "name", 12, TABLE_STRING, 0),
	TABLE_COLUMN(struct show_row, source, "source", "source", 12, TABLE_STRING, 0),
	SHOW(quantum, "quantum", "quantum", TABLE_BYTES),
	SHOW(total, "total", "total", TABLE_BYTES),
	SHOW(used, "used", "used", TABLE_BYTES),
	SHOW(free, "free", "free", TABLE_BYTES),
	SHOW(largest_free, "largest free", "largest_free", TABLE_BYTES),
	SHOW(spans, "spans", "spans", TABLE_COUNT),
	SHOW(importers, "importers", "importers", TABLE_COUNT),
	SHOW(allocs, "allocs", "allocs", TABLE_COUNT),
	SHOW(frees, "frees", "frees", TABLE_COUNT),
	SHOW(failures, "fails", "fails", TABLE_COUNT),
	/* Its machinery, with -v alone. */
	SHOW(imports, "spans imported", "imports", TABLE_COUNT),
	SHOW(returns, "spans returned", "returns", TABLE_COUNT),
	SHOW(segments_used, "used segments", "segments_used", TABLE_COUNT),
	SHOW(segments_free, "free segments", "segments_free", TABLE_COUNT),
	SHOW(qcache_max, "cached up to", "qcache_max", TABLE_BYTES),
	SHOW(tags_spare, "spare tags", "tags_spare", TABLE_COUNT),
	SHOW(hash_buckets, "hash buckets", "hash_buckets", TABLE_COUNT),
	SHOW(hash_pages, "hash pages", "hash_pages", TABLE_COUNT),
	SHOW(tag_pages, "pages of tags", "tag_pages", TABLE_COUNT),
};
#define SHOW_DETAILS 9 /* of them at the end */

static const struct table show_brief = {
	"arena", show_columns, ARRAY_SIZE(show_columns) - SHOW_DETAILS};
static const struct table show_full = {"arena", show_columns, ARRAY_SIZE(show_columns)};

static void show_for_scripts(
	struct sink *sink, const struct table *table, const struct show_row *row)
{
	struct table_printer printer;

	table_begin(&printer, table, sink, true);
	table_row(&printer, row);
	table_end(&printer);
}

static void show_for_people(
	struct sink *sink, const struct table *table, const struct show_row *row)
{
	char text[AMOUNT_MAX];

	for (size_t i = 0; i < table->column_count; i++) {
		const struct table_column *c = &table->columns[i];
		const char *at = (const char *)row + c->offset;

		if (c->kind == TABLE_STRING)
			str_copy(text, *(const char *const *)at, sizeof(text));
		else
			format_amount(text, *(const uint64_t *)at,
				c->kind == TABLE_BYTES && row->stats.is_memory);
		sink_printf(sink, "%-16s %12s\n", c->title, text);
	}
}

/* The statistics of the arena of that name, the tree's included; false if there is no memory to
 * list arenas, or the arena has gone. */
static bool show_find(const char *name, struct arena_stats *stats)
{
	struct arena_rows r;
	bool found = false;

	if (!arena_rows_take(&r))
		return false;
	for (size_t i = 0; i < r.count && !found; i++) {
		found = strcmp(r.rows[i].name, name) == 0;
		if (found)
			*stats = r.rows[i];
	}
	arena_rows_drop(&r);
	return found;
}

void print_arena_stats(struct arena *arena, struct sink *sink)
{
	struct show_row row;

	if (!arena) {
		arena_tree_print(sink, false);
		return;
	}
	arena_get_stats(arena, &row.stats);
	row.name = row.stats.name;
	row.source = row.stats.source;
	show_for_people(sink, &show_full, &row);
}

static const char *show_command(const struct command_call *call)
{
	const struct table *table = call->argc > 3 ? &show_full : &show_brief;
	struct show_row row;

	if (call->argc > 3 && strcmp(call->argv[3], "-v") != 0)
		return command_error("%s is not -v", call->argv[3]);
	if (!find(call))
		return unknown(call);
	if (!show_find(call->argv[2], &row.stats))
		return "no memory for a list of arenas";
	row.name = row.stats.name;
	row.source = row.stats.source;
	(call->keys ? show_for_scripts : show_for_people)(call->sink, table, &row);
	return NULL;
}

/* arena segs */

struct segs_row {
	const char *kind, *size_text;
	uint64_t start, end, size;
};

static const struct table_column segs_columns[] = {
	TABLE_COLUMN(struct segs_row, kind, "segment", "kind", -8, TABLE_STRING, 0),
	TABLE_COLUMN(struct segs_row, start, "start", "start", 18, TABLE_HEX, 0),
	TABLE_COLUMN(struct segs_row, end, "end", "end", 18, TABLE_HEX, 0),
	TABLE_COLUMN(
		struct segs_row, size_text, "size", "size", 12, TABLE_STRING, TABLE_PEOPLE_ONLY),
	TABLE_COLUMN(struct segs_row, size, "size", "size", 12, TABLE_COUNT, TABLE_KEY_ONLY),
};
static const struct table segs_table = {"segment", segs_columns, ARRAY_SIZE(segs_columns)};

struct segs_walk {
	struct table_printer printer;
	bool is_memory;
};

static bool segs_segment(const struct arena_segment *s, void *arg)
{
	static const char *const kinds[] = {
		[ARENA_SEGMENT_SPAN] = "span",
		[ARENA_SEGMENT_FREE] = "  free",
		[ARENA_SEGMENT_USED] = "  used",
	};
	struct segs_walk *walk = arg;
	char text[AMOUNT_MAX];
	struct segs_row row = {kinds[s->kind], text, s->start, s->start + s->size, s->size};

	if (walk->printer.keys)
		while (*row.kind == ' ')
			row.kind++;
	format_amount(text, s->size, walk->is_memory);
	table_row(&walk->printer, &row);
	return true;
}

static const char *segs_command(const struct command_call *call)
{
	struct arena *arena = find(call);
	struct arena_stats stats;
	struct segs_walk walk;

	if (!arena)
		return unknown(call);
	arena_get_stats(arena, &stats);
	walk.is_memory = stats.is_memory;
	table_begin(&walk.printer, &segs_table, call->sink, call->keys);
	arena_walk(arena, segs_segment, &walk);
	table_end(&walk.printer);
	return NULL;
}

/* arena check */

struct check_row {
	const char *name, *result;
	uint64_t invariant;
};

static const struct table_column check_columns[] = {
	TABLE_COLUMN(struct check_row, name, "arena", "name", -24, TABLE_STRING, 0),
	TABLE_COLUMN(struct check_row, result, "invariants", "result", -12, TABLE_STRING,
		TABLE_PEOPLE_ONLY),
	TABLE_COLUMN(
		struct check_row, invariant, "broken", "broken", 6, TABLE_COUNT, TABLE_KEY_ONLY),
};
static const struct table check_table = {"check", check_columns, ARRAY_SIZE(check_columns)};

/* Whether every invariant of the arena holds. */
static bool check_one(struct table_printer *printer, const char *name, struct arena *arena)
{
	char broken[AMOUNT_MAX] = "all hold";
	int invariant = arena_check(arena, printer->sink);
	struct check_row row = {name, broken, (uint64_t)invariant};

	if (invariant)
		ksnprintf(broken, sizeof(broken), "%d broken", invariant);
	table_row(printer, &row);
	return invariant == 0;
}

/* Returns how many of the arenas of that name, or of all if it is NULL, are broken; -1 if there is
 * none, or no memory to list them. */
static int check_named(struct table_printer *printer, const char *name)
{
	int broken = 0, checked = 0;
	struct arena_rows r;

	if (!arena_rows_take(&r))
		return -1;
	for (size_t i = 0; i < r.count; i++) {
		if (name && strcmp(name, r.rows[i].name) != 0)
			continue;
		checked++;
		broken += !check_one(printer, r.rows[i].name, (struct arena *)r.rows[i].arena);
	}
	arena_rows_drop(&r);
	return checked ? broken : -1;
}

static const char *check_command(const struct command_call *call)
{
	struct table_printer printer;
	int broken;

	if (call->argc > 2 && !find(call))
		return unknown(call);
	table_begin(&printer, &check_table, call->sink, call->keys);
	broken = check_named(&printer, call->argv[2]);
	table_end(&printer);
	if (broken < 0)
		return "no memory for a list of arenas";
	return broken ? command_error("%d broken", broken) : NULL;
}

/* Completion */

static void offer_names(void (*offer)(void *arg, const char *word), void *arg)
{
	struct arena_rows r;

	if (!arena_rows_take(&r))
		return;
	for (size_t i = 0; i < r.count; i++)
		offer(arg, r.rows[i].name);
	arena_rows_drop(&r);
}

static const struct command commands[] = {
	{"arena tree", "[-k]", "every arena under its source", "arena tree -k", tree_command,
		COMMAND_PANIC_SAFE, NULL},
	{"arena show", "[-k] NAME [-v]", "one arena; -v shows its machinery too",
		"arena show base -v", show_command, 0, offer_names},
	{"arena segs", "[-k] NAME", "every span and segment of an arena", "arena segs kpages",
		segs_command, 0, offer_names},
	{"arena map", "NAME", "where an arena is used and free, a character per slice",
		"arena map base", arena_map_command, 0, offer_names},
	{"arena check", "[-k] [NAME]", "checks the invariants of one arena, or of all",
		"arena check", check_command, 0, offer_names},
};

struct command_table arena_commands = COMMAND_TABLE("arena", commands);
