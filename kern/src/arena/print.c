/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas as text.
 */
#include "arena_print.h"

#include "arena_impl.h"
#include "lib/array.h"
#include "lib/check.h"
#include "lib/string.h"

void arena_format_amount(char text[TABLE_CELL_MAX], uint64_t amount, bool in_bytes)
{
	table_format(text, in_bytes ? TABLE_BYTES : TABLE_COUNT, amount);
}

/* The tree */

#define INDENT 2
#define NAME_MAX (ARENA_NAME_MAX + 8 * INDENT)

enum { QUANTUM, TOTAL, USED, FREE, LARGEST, AMOUNTS, FRAGMENTATION = AMOUNTS, TEXTS };

struct tree_row {
	struct arena_tree_line line;
	const char *indented;
	const char *text[TEXTS];
	uint64_t used_permille;
};

/* An amount is a cell of text for people and a number for scripts. */
#define TEXT(index, title, key, width, help)                                                       \
	TABLE_COLUMN(struct tree_row, text[index], title, key, width, TABLE_STRING,                \
		TABLE_PEOPLE_ONLY, help)
#define KEY(member, key)                                                                           \
	TABLE_COLUMN(struct tree_row, line.member, key, key, 0, TABLE_COUNT, TABLE_KEY_ONLY)

static const struct table_column tree_columns[] = {
	TABLE_COLUMN(struct tree_row, indented, "arena", "name", -16, TABLE_STRING,
		TABLE_PEOPLE_ONLY, "an arena under its source, or a cache under its arena"),
	TABLE_COLUMN(struct tree_row, line.name, "arena", "name", -16, TABLE_STRING, TABLE_KEY_ONLY),
	TABLE_COLUMN(
		struct tree_row, line.source, "source", "source", -16, TABLE_STRING, TABLE_KEY_ONLY),
	TEXT(QUANTUM, "quantum", "quantum", 8,
		"all sizes are multiples of it; of a cache: an object's size"),
	TEXT(TOTAL, "total", "total", 9, "what its spans hold, or a cache's slabs"),
	TEXT(USED, "used", "used", 9, "of that, what callers and importers have"),
	TABLE_COLUMN(struct tree_row, used_permille, "used%", "used_permille", 6, TABLE_PERMILLE,
		TABLE_PEOPLE_ONLY, "used, of total"),
	TEXT(LARGEST, "largest", "largest_free", 9, "the largest piece that is free"),
	TEXT(FRAGMENTATION, "frag", "fragmentation", 4,
		"of what is free, the share outside the largest piece"),
	KEY(quantum, "quantum"),
	KEY(total, "total"),
	KEY(used, "used"),
	KEY(free, "free"),
	KEY(largest_free, "largest_free"),
	KEY(fragmentation_permille, "fragmentation"),
	KEY(spans, "spans"),
	TABLE_COLUMN(struct tree_row, line.allocs, "allocs", "allocs", 6, TABLE_COUNT, 0,
		"allocations since it was made"),
	TABLE_COLUMN(struct tree_row, line.failures, "fails", "fails", 5, TABLE_COUNT, 0,
		"of them, those that were refused"),
};
const struct table arena_tree_table = {"arena", tree_columns, ARRAY_SIZE(tree_columns)};

void arena_tree_begin(struct table_printer *printer, struct sink *sink, bool keys)
{
	check_given("arena_tree_begin", "sink", sink, __builtin_return_address(0));
	table_begin(printer, &arena_tree_table, sink, keys);
}

/* Whole percents, for want of room. */
static void format_fragmentation(char text[TABLE_CELL_MAX], uint64_t permille)
{
	ksnprintf(text, TABLE_CELL_MAX, permille ? "%llu%%" : "-", (unsigned long long)(permille / 10));
}

void arena_tree_line(const struct arena_tree_line *line, struct table_printer *printer)
{
	const uint64_t amounts[AMOUNTS] = {
		line->quantum, line->total, line->used, line->free, line->largest_free};
	char text[TEXTS][TABLE_CELL_MAX], indented[NAME_MAX];
	/* Sorted rows are no tree. */
	int indent = printer->order ? 0 : (int)line->depth * INDENT;
	struct tree_row row = {
		.line = *line,
		.indented = indented,
		.used_permille = table_permille(line->used, line->total),
	};

	ksnprintf(indented, sizeof(indented), "%*s%s", indent, "", line->name);
	for (size_t i = 0; i < AMOUNTS; i++) {
		arena_format_amount(text[i], amounts[i], line->in_bytes);
		row.text[i] = text[i];
	}
	format_fragmentation(text[FRAGMENTATION], line->fragmentation_permille);
	row.text[FRAGMENTATION] = text[FRAGMENTATION];
	table_row(printer, &row);
}

void arena_tree_row(const struct arena_stats *s, void *printer)
{
	struct arena_tree_line line = {s->name, s->source, s->depth, s->in_bytes, s->quantum, s->total,
		s->used, s->free, s->largest_free, s->fragmentation_permille, s->spans, s->allocs, s->failures};

	arena_tree_line(&line, printer);
}

/* The rows are taken before they are printed, for the sink may do anything; memory for them before
 * that, which may bring an arena more into sight.  False: there was none. */
static bool tree_rows(struct table_printer *printer)
{
	size_t count = arena_tree_stats(NULL, 0), fit;
	struct arena_stats *rows;

	do {
		fit = count;
		rows = base_alloc(NULL, fit * sizeof(*rows), MEM_ERROR);
		if (!rows)
			return false;
		count = arena_tree_stats(rows, fit);
		for (size_t i = 0; count <= fit && i < count; i++)
			arena_tree_row(&rows[i], printer);
		base_free(NULL, rows, fit * sizeof(*rows));
	} while (count > fit);
	return true;
}

/* Without memory for rows each is printed as it is read. */
static void print_each(struct table_printer *printer)
{
	struct arena_stats row;

	for (struct arena *a = arena_next(NULL); a; a = arena_next(a)) {
		arena_get_stats(a, &row);
		arena_tree_row(&row, printer);
	}
}

static void print_tree(struct sink *sink)
{
	struct table_printer printer;

	arena_tree_begin(&printer, sink, false);
	if (!tree_rows(&printer))
		print_each(&printer);
	table_end(&printer);
}

/* One arena */

struct show_row {
	const char *name, *source;
	struct arena_stats stats;
};

enum {
	SHOW_NAME,
	SHOW_SOURCE,
	SHOW_QUANTUM,
	SHOW_TOTAL,
	SHOW_USED,
	SHOW_PEAK,
	SHOW_FREE,
	SHOW_LARGEST,
	SHOW_FRAGMENTATION,
	SHOW_SPANS,
	SHOW_IMPORTS,
	SHOW_RETURNS,
	SHOW_RETAINED,
	SHOW_SEGMENTS_USED,
	SHOW_SEGMENTS_FREE,
	SHOW_ALLOCS,
	SHOW_INSTANT,
	SHOW_BEST,
	SHOW_NEXT,
	SHOW_HIGH,
	SHOW_CONSTRAINED,
	SHOW_FREES,
	SHOW_FAILS,
	SHOW_SHORTAGE,
	SHOW_IMPOSSIBLE,
	SHOW_INDEX,
	SHOW_TAGS,
	SHOW_DEADLINE,
	SHOW_WAITING,
	SHOW_SLEEPS,
	SHOW_WAKEUPS,
	SHOW_SERVED,
	SHOW_IMPORTERS,
	SHOW_QCACHE,
	SHOW_LOOKS,
	SHOW_BRIEF, /* so many without an arena's machinery */
	SHOW_SPARE = SHOW_BRIEF,
	SHOW_BUCKETS,
	SHOW_HASH_PAGES,
	SHOW_TAG_PAGES,
	SHOW_INDEX_BYTES,
	SHOW_COLUMNS
};

#define SHOW(member, title, key, kind, help)                                                       \
	TABLE_COLUMN(struct show_row, stats.member, title, key, 0, kind, 0, help)

/* TABLE_BYTES: an amount, in bytes only if the arena's are, but for the index. */
static const struct table_column show_columns[] = {
	[SHOW_NAME] = TABLE_COLUMN(struct show_row, name, "arena", "name", 0, TABLE_STRING, 0,
		"its name"),
	[SHOW_SOURCE] = TABLE_COLUMN(struct show_row, source, "source", "source", 0, TABLE_STRING, 0,
		"the arena it imports from"),
	[SHOW_QUANTUM] = SHOW(quantum, "quantum", "quantum", TABLE_BYTES,
		"sizes are rounded up to multiples of it"),
	[SHOW_TOTAL] = SHOW(total, "total", "total", TABLE_BYTES,
		"what its spans hold"),
	[SHOW_USED] = SHOW(used, "used", "used", TABLE_BYTES,
		"what is handed out, or lies in its caches"),
	[SHOW_PEAK] = SHOW(used_peak, "  at its peak", "peak", TABLE_BYTES,
		"the most that `used` ever was"),
	[SHOW_FREE] = SHOW(free, "free", "free", TABLE_BYTES,
		"total less used"),
	[SHOW_LARGEST] = SHOW(largest_free, "  in one piece", "largest_free", TABLE_BYTES,
		"the largest piece that is free"),
	[SHOW_FRAGMENTATION] =
		SHOW(fragmentation_permille, "fragmentation", "fragmentation", TABLE_PERMILLE,
		"of what is free, the share outside the largest piece"),
	[SHOW_SPANS] = SHOW(spans, "spans", "spans", TABLE_COUNT,
		"ranges that it was given or has imported"),
	[SHOW_IMPORTS] = SHOW(imports, "  imported", "imports", TABLE_COUNT,
		"spans taken from the source, since it was made"),
	[SHOW_RETURNS] = SHOW(returns, "  returned", "returns", TABLE_COUNT,
		"spans given back"),
	[SHOW_RETAINED] = SHOW(retained, "  retained", "retained", TABLE_BYTES,
		"in imported spans that are wholly free, and kept"),
	[SHOW_SEGMENTS_USED] = SHOW(segments_used, "segments used", "segments_used", TABLE_COUNT,
		"pieces handed out"),
	[SHOW_SEGMENTS_FREE] = SHOW(segments_free, "segments free", "segments_free", TABLE_COUNT,
		"pieces that are free"),
	[SHOW_ALLOCS] = SHOW(allocs, "allocs", "allocs", TABLE_COUNT,
		"requests past its caches that were served"),
	[SHOW_INSTANT] = SHOW(allocs_by[ARENA_STYLE_INSTANT], "  instant fit", "instant", TABLE_COUNT,
		"by the first piece of a size that surely serves"),
	[SHOW_BEST] = SHOW(allocs_by[ARENA_STYLE_BEST], "  best fit", "best", TABLE_COUNT,
		"by the smallest piece that serves"),
	[SHOW_NEXT] = SHOW(allocs_by[ARENA_STYLE_NEXT], "  next fit", "next", TABLE_COUNT,
		"behind the one that was handed out last"),
	[SHOW_HIGH] = SHOW(allocs_by[ARENA_STYLE_HIGH], "  high fit", "high", TABLE_COUNT,
		"at the highest address"),
	[SHOW_CONSTRAINED] =
		SHOW(allocs_by[ARENA_STYLE_CONSTRAINED], "  constrained", "constrained", TABLE_COUNT,
		"with alignment, bounds or phase"),
	[SHOW_FREES] = SHOW(frees, "frees", "frees", TABLE_COUNT,
		"pieces that came back"),
	[SHOW_FAILS] = SHOW(failures, "fails", "fails", TABLE_COUNT,
		"requests that were refused"),
	[SHOW_SHORTAGE] =
		SHOW(failures_by[ARENA_FAILURE_SHORTAGE], "  shortage", "fails_shortage", TABLE_COUNT,
		"because nothing free was large enough"),
	[SHOW_IMPOSSIBLE] = SHOW(
		failures_by[ARENA_FAILURE_IMPOSSIBLE], "  impossible", "fails_impossible", TABLE_COUNT,
		"because no arena could ever serve them"),
	[SHOW_INDEX] = SHOW(failures_by[ARENA_FAILURE_INDEX], "  no index", "fails_index", TABLE_COUNT,
		"because looking would have taken too long"),
	[SHOW_TAGS] = SHOW(failures_by[ARENA_FAILURE_TAGS], "  no tags", "fails_tags", TABLE_COUNT,
		"because there was no memory for boundary tags"),
	[SHOW_DEADLINE] =
		SHOW(failures_by[ARENA_FAILURE_DEADLINE], "  deadline", "fails_deadline", TABLE_COUNT,
		"because their time was up"),
	[SHOW_WAITING] = SHOW(waiting, "waiting", "waiting", TABLE_COUNT,
		"requests that sleep for it now"),
	[SHOW_SLEEPS] = SHOW(sleeps, "  slept", "sleeps", TABLE_COUNT,
		"requests that ever slept"),
	[SHOW_WAKEUPS] = SHOW(wakeups, "  woken", "wakeups", TABLE_COUNT,
		"of them, those that were woken"),
	[SHOW_SERVED] = SHOW(waits_served, "  served", "served", TABLE_COUNT,
		"of them, those that were served"),
	[SHOW_IMPORTERS] = SHOW(importers, "importers", "importers", TABLE_COUNT,
		"arenas whose source it is"),
	[SHOW_QCACHE] = SHOW(qcache_max, "cached up to", "qcache_max", TABLE_BYTES,
		"sizes that its quantum caches serve"),
	[SHOW_LOOKS] = SHOW(search_looks_max, "longest search", "search_looks", TABLE_COUNT,
		"the most pieces that one search has looked at"),
	[SHOW_SPARE] = SHOW(tags_spare, "spare tags", "tags_spare", TABLE_COUNT,
		"boundary tags in hand"),
	[SHOW_BUCKETS] = SHOW(hash_buckets, "hash buckets", "hash_buckets", TABLE_COUNT,
		"of the hash of used pieces"),
	[SHOW_HASH_PAGES] = SHOW(hash_pages, "hash pages", "hash_pages", TABLE_COUNT,
		"that the hash takes"),
	[SHOW_TAG_PAGES] = SHOW(tag_pages, "pages of tags", "tag_pages", TABLE_COUNT,
		"that a base arena has made for tags and hashes"),
	[SHOW_INDEX_BYTES] = SHOW(index_bytes, "index", "index_bytes", TABLE_BYTES,
		"memory of its index of free pieces"),
};
_Static_assert(ARRAY_SIZE(show_columns) == SHOW_COLUMNS, "each is described");

static const struct table show_brief = {"arena", show_columns, SHOW_BRIEF};
const struct table arena_show_table = {"arena", show_columns, SHOW_COLUMNS};

/* For people: three fields a line; SHOW_NAME: none. */
#define FIELDS_A_LINE 3
static const uint8_t show_lines[][FIELDS_A_LINE] = {
	{SHOW_QUANTUM, SHOW_SPANS, SHOW_ALLOCS},
	{SHOW_TOTAL, SHOW_IMPORTS, SHOW_INSTANT},
	{SHOW_USED, SHOW_RETURNS, SHOW_BEST},
	{SHOW_PEAK, SHOW_RETAINED, SHOW_NEXT},
	{SHOW_FREE, SHOW_SEGMENTS_USED, SHOW_HIGH},
	{SHOW_LARGEST, SHOW_SEGMENTS_FREE, SHOW_CONSTRAINED},
	{SHOW_FRAGMENTATION, SHOW_WAITING, SHOW_FREES},
	{SHOW_QCACHE, SHOW_SLEEPS, SHOW_FAILS},
	{SHOW_IMPORTERS, SHOW_WAKEUPS, SHOW_SHORTAGE},
	{SHOW_LOOKS, SHOW_SERVED, SHOW_IMPOSSIBLE},
	{SHOW_NAME, SHOW_NAME, SHOW_INDEX},
	{SHOW_NAME, SHOW_NAME, SHOW_TAGS},
	{SHOW_NAME, SHOW_NAME, SHOW_DEADLINE},
	/* From here on only in full. */
	{SHOW_NAME, SHOW_NAME, SHOW_NAME},
	{SHOW_SPARE, SHOW_BUCKETS, SHOW_TAG_PAGES},
	{SHOW_INDEX_BYTES, SHOW_HASH_PAGES, SHOW_NAME},
};
#define LINES_FULL ARRAY_SIZE(show_lines)
#define LINES_BRIEF (LINES_FULL - 3)

/* Of a field; and between two. */
#define LABEL_WIDTH 14
#define VALUE_WIDTH 10
#define FIELD_GAP 2

static void show_field(struct sink *sink, const struct show_row *row, const struct table_column *c, int gap)
{
	uint64_t value = *(const uint64_t *)((const char *)row + c->offset);
	char text[TABLE_CELL_MAX];

	if (c->kind == TABLE_BYTES)
		arena_format_amount(text, value,
			row->stats.in_bytes || c == &show_columns[SHOW_INDEX_BYTES]);
	else
		table_format(text, c->kind, value);
	sink_fill(sink, ' ', (size_t)gap);
	sink_printf(sink, "%-*s %*s", LABEL_WIDTH, c->title, VALUE_WIDTH, text);
}

static void show_line(struct sink *sink, const struct show_row *row, const uint8_t *fields)
{
	int gap = 0;

	for (int i = 0; i < FIELDS_A_LINE; i++, gap += FIELD_GAP) {
		if (fields[i] == SHOW_NAME) {
			gap += LABEL_WIDTH + 1 + VALUE_WIDTH;
			continue;
		}
		show_field(sink, row, &show_columns[fields[i]], gap);
		gap = 0;
	}
	sink_puts(sink, "\n");
}

static void show_for_people(struct sink *sink, const struct show_row *row, bool full)
{
	if (strcmp(row->source, "-") == 0)
		sink_printf(sink, "arena %s, without a source\n", row->name);
	else
		sink_printf(sink, "arena %s, source %s\n", row->name, row->source);
	for (size_t i = 0; i < (full ? LINES_FULL : LINES_BRIEF); i++)
		show_line(sink, row, show_lines[i]);
}

static void show_for_scripts(struct sink *sink, const struct show_row *row, bool full)
{
	struct table_printer printer;

	table_begin(&printer, full ? &arena_show_table : &show_brief, sink, true);
	table_row(&printer, row);
	table_end(&printer);
}

/* The free segments of one arena by size */

struct class_row {
	const char *name, *from_text, *units_text, *bar;
	uint64_t from, segments, units;
};

static const struct table_column class_columns[] = {
	TABLE_COLUMN(struct class_row, name, "arena", "name", 0, TABLE_STRING, TABLE_KEY_ONLY),
	TABLE_COLUMN(struct class_row, from_text, "free pieces of", "from", 14, TABLE_STRING,
		TABLE_PEOPLE_ONLY, "this size and up to twice it"),
	TABLE_COLUMN(struct class_row, from, "from", "from", 0, TABLE_COUNT, TABLE_KEY_ONLY),
	TABLE_COLUMN(struct class_row, segments, "segments", "segments", 10, TABLE_COUNT, 0,
		"how many there are"),
	TABLE_COLUMN(
		struct class_row, units_text, "in all", "units", 10, TABLE_STRING, TABLE_PEOPLE_ONLY,
		"how much that is"),
	TABLE_COLUMN(struct class_row, units, "units", "units", 0, TABLE_COUNT, TABLE_KEY_ONLY),
	TABLE_COLUMN(struct class_row, bar, "", "bar", -40, TABLE_STRING, TABLE_PEOPLE_ONLY),
};
const struct table arena_free_table = {"free", class_columns, ARRAY_SIZE(class_columns)};

#define BAR_MAX 40
static const char bar[] = "########################################";
_Static_assert(sizeof(bar) == BAR_MAX + 1, "the longest bar");

static void class_print(struct table_printer *printer, const struct show_row *show, unsigned class,
	const struct arena_free_class *c, uint64_t most)
{
	char from[TABLE_CELL_MAX], units[TABLE_CELL_MAX];
	uint64_t length = 1 + c->segments * (BAR_MAX - 1) / most;
	struct class_row row = {show->name, from, units, bar + BAR_MAX - length,
		(uint64_t)1 << class, c->segments, c->units};

	arena_format_amount(from, row.from, show->stats.in_bytes);
	arena_format_amount(units, row.units, show->stats.in_bytes);
	table_row(printer, &row);
}

static void show_classes(
	struct arena *a, const struct show_row *row, bool keys, struct sink *sink)
{
	struct arena_free_class classes[ARENA_FREE_CLASSES];
	struct table_printer printer;
	uint64_t most = 0;

	arena_free_histogram(a, classes);
	for (unsigned i = 0; i < ARENA_FREE_CLASSES; i++)
		most = classes[i].segments > most ? classes[i].segments : most;
	if (most == 0)
		return;
	if (!keys)
		sink_puts(sink, "\n");
	table_begin(&printer, &arena_free_table, sink, keys);
	for (unsigned i = 0; i < ARENA_FREE_CLASSES; i++)
		if (classes[i].segments > 0)
			class_print(&printer, row, i, &classes[i], most);
	table_end(&printer);
}

void arena_show(struct arena *a, bool full, bool keys, struct sink *sink)
{
	struct show_row row;

	check_given("arena_show", "arena", a, __builtin_return_address(0));
	check_given("arena_show", "sink", sink, __builtin_return_address(0));
	sync_check_may_sleep("arena_show", __builtin_return_address(0));
	qlock_lock(&arenas_and_slabs_lock);
	arena_get_stats(a, &row.stats);
	arena_tree_place(a, &row.stats);
	qlock_unlock(&arenas_and_slabs_lock);
	row.name = row.stats.name;
	row.source = row.stats.source;
	(keys ? show_for_scripts : show_for_people)(sink, &row, full);
	show_classes(a, &row, keys, sink);
}

void print_arena_stats(struct arena *arena, struct sink *sink)
{
	check_given("print_arena_stats", "sink", sink, __builtin_return_address(0));
	sync_check_may_sleep("print_arena_stats", __builtin_return_address(0));
	if (arena)
		arena_show(arena, true, false, sink);
	else
		print_tree(sink);
}
