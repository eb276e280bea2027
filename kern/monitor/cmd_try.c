/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands that allocate from an arena or a cache, to see what that does to it, and free again; and one that
 * misuses them, to see how that is reported.
 */
#include "monitor_impl.h"

#include "arena_print.h"
#include "kmalloc.h"
#include "lib/array.h"
#include "lib/list.h"
#include "lib/misuse.h"
#include "lib/string.h"
#include "table.h"

#define PIECES_MAX 1000000 /* of one call */

/* What one call has allocated. */
struct held {
	struct list link; /* in all_held */
	uint64_t id;
	struct arena *arena; /* or else */
	struct kmem_cache *cache;
	char name[KMEM_NAME_MAX]; /* its */
	bool in_bytes;
	size_t size; /* of a piece */
	size_t count;
	void *pieces[];
};

static struct list all_held = LIST_INIT(all_held); /* the oldest first */
static uint64_t last_id;

struct held_row {
	const char *name, *size_text, *sum_text;
	uint64_t id, size, count, sum, first;
};

static const struct table_column columns[] = {
	TABLE_COLUMN(struct held_row, id, "id", "id", 4, TABLE_NUMBER, 0, "for `free`"),
	TABLE_COLUMN(struct held_row, name, "from", "from", -20, TABLE_STRING, 0,
		"the arena or cache"),
	TABLE_COLUMN(struct held_row, size_text, "size", "size", 10, TABLE_STRING, TABLE_PEOPLE_ONLY,
		"of a piece"),
	TABLE_COLUMN(struct held_row, size, "size", "size", 0, TABLE_COUNT, TABLE_KEY_ONLY),
	TABLE_COLUMN(struct held_row, count, "pieces", "pieces", 8, TABLE_COUNT, 0, "that are held"),
	TABLE_COLUMN(struct held_row, sum_text, "in all", "sum", 10, TABLE_STRING, TABLE_PEOPLE_ONLY,
		"as asked for; an arena rounds sizes up to its quantum"),
	TABLE_COLUMN(struct held_row, sum, "in all", "sum", 0, TABLE_COUNT, TABLE_KEY_ONLY),
	TABLE_COLUMN(struct held_row, first, "first at", "first", 18, TABLE_HEX, 0,
		"where the first piece lies, for `whatis`"),
};
static const struct table table = {"held", columns, ARRAY_SIZE(columns)};
static const struct table *const tables[] = {&table, NULL};

static void print_held(struct table_printer *printer, const struct held *h)
{
	char size[TABLE_CELL_MAX], sum[TABLE_CELL_MAX];
	struct held_row row = {h->name, size, sum, h->id, h->size, h->count,
		(uint64_t)h->size * h->count, (uint64_t)(uintptr_t)h->pieces[0]};

	arena_format_amount(size, row.size, h->in_bytes);
	arena_format_amount(sum, row.sum, h->in_bytes);
	table_row(printer, &row);
}

/* Prints one of them, or all if it is NULL. */
static void print_all_held(const struct command_call *call, const struct held *one)
{
	struct table_printer printer;
	struct held *h;

	if (list_empty(&all_held) && !call->keys) {
		sink_puts(call->sink, "nothing is held\n");
		return;
	}
	table_begin(&printer, &table, call->sink, call->keys);
	list_for_each_entry (h, &all_held, link)
		if (!one || h == one)
			print_held(&printer, h);
	table_end(&printer);
}

/* Frees pieces, the last first; returns false on Ctrl-C: what is left is still held. */
static bool free_pieces(struct held *h, struct sink *sink)
{
	while (h->count > 0 && !monitor_interrupted(sink)) {
		void *piece = h->pieces[--h->count];

		if (h->arena)
			arena_free(h->arena, piece, h->size);
		else
			kmem_cache_free(h->cache, piece);
	}
	return h->count == 0;
}

/* alloc */

/* Allocates pieces until there are so many; returns false on shortage or Ctrl-C. */
static bool alloc_pieces(struct held *h, size_t count, struct sink *sink)
{
	while (h->count < count && !monitor_interrupted(sink)) {
		void *piece = h->arena ? arena_alloc(h->arena, h->size, MEM_ERROR) :
					 kmem_cache_alloc(h->cache, MEM_ERROR);

		if (!piece)
			return false;
		h->pieces[h->count++] = piece;
	}
	return h->count == count;
}

/* Fills in which arena or cache the call names, and the size: 0 stands for an arena's quantum, or that of a
 * cache's objects.  Returns NULL, or what is wrong. */
static const char *choose(struct held *h, const char *name, uint64_t size)
{
	struct kmem_cache_stats cache;
	struct arena_stats arena;

	str_copy(h->name, name, sizeof(h->name));
	h->arena = arena_find(name);
	if (h->arena) {
		arena_get_stats(h->arena, &arena);
		h->size = size ? size : arena.quantum;
		h->in_bytes = arena.in_bytes;
		return size <= SIZE_MAX - arena.quantum ? NULL : "no arena has pieces of that size";
	}
	h->cache = command_cache(name);
	if (!h->cache)
		return command_error("no arena and no cache %s", name);
	kmem_cache_get_stats(h->cache, &cache);
	kmem_cache_unpin(h->cache);
	if (cache.is_own)
		return command_error("%s has what caches are made of, which isn't for callers", name);
	h->size = size ? size : cache.obj_size;
	h->in_bytes = cache.in_bytes;
	if (size <= cache.obj_size)
		return NULL;
	return command_error(
		"objects of %s have a size of %llu", name, (unsigned long long)cache.obj_size);
}

/* Keeps what was allocated, and shows it. */
static void keep(struct held *h, const struct command_call *call)
{
	h->id = ++last_id;
	list_add_tail(&all_held, &h->link);
	print_all_held(call, h);
}

static const char *alloc_some(const struct command_call *call, uint64_t size, uint64_t count)
{
	struct held *h = kmalloc(sizeof(*h) + count * sizeof(h->pieces[0]), MEM_ERROR);
	const char *wrong;
	size_t got;

	if (!h)
		return "no memory to note the pieces in";
	memset(h, 0, sizeof(*h));
	wrong = choose(h, call->argv[1], size);
	if (!wrong && !alloc_pieces(h, count, call->sink))
		wrong = command_error("%zu of %llu pieces: %s", h->count, (unsigned long long)count,
			monitor_interrupted(call->sink) ? "interrupted" : "no more can be had");
	got = h->count;
	if (got > 0)
		keep(h, call);
	else
		kfree(h);
	return wrong;
}

static const char *alloc_command(const struct command_call *call)
{
	uint64_t size = 0, count = 1;

	if (call->argc == 1) {
		print_all_held(call, NULL);
		return NULL;
	}
	if (call->argc > 2 && (!str_to_u64(call->argv[2], &size) || size == 0))
		return command_error("%s is not a size above 0", call->argv[2]);
	if (call->argc > 3 && (!str_to_u64(call->argv[3], &count) || count == 0 || count > PIECES_MAX))
		return command_error("%s is not a number from 1 to %d", call->argv[3], PIECES_MAX);
	return alloc_some(call, size, count);
}

/* free */

static const char *free_command(const struct command_call *call)
{
	struct held *h, *next;
	size_t pieces = 0;
	uint64_t id = 0; /* all */
	bool has_all = true;

	if (call->argc > 1 && (!str_to_u64(call->argv[1], &id) || id == 0))
		return command_error("%s is not an id: `alloc` lists them", call->argv[1]);
	for (h = list_first_entry(&all_held, struct held, link); has_all && &h->link != &all_held; h = next) {
		next = list_entry(h->link.next, struct held, link);
		if (id != 0 && h->id != id)
			continue;
		pieces += h->count;
		has_all = free_pieces(h, call->sink);
		pieces -= h->count;
		if (has_all) {
			list_del(&h->link);
			kfree(h);
		}
	}
	if (!has_all)
		return command_error("%zu pieces freed: interrupted", pieces);
	if (id != 0 && pieces == 0)
		return command_error("nothing is held under the id %s", call->argv[1]);
	sink_printf(call->sink, call->keys ? "freed pieces=%zu\n" : "%zu pieces freed\n", pieces);
	return NULL;
}

/* Completion */

static void offer_names(void (*offer)(void *arg, const char *word), void *arg)
{
	struct arena_stats arena;
	struct kmem_cache_stats cache;

	for (struct arena *a = arena_next(NULL); a; a = arena_next(a)) {
		arena_get_stats(a, &arena);
		offer(arg, arena.name);
	}
	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
		kmem_cache_get_stats(c, &cache);
		offer(arg, cache.name);
	}
}

/* misuse */

struct misuse_row {
	const char *name, *of, *what, *when[MISUSE_MODES];
};

static const struct table_column misuse_columns[] = {
	TABLE_COLUMN(struct misuse_row, name, "misuse", "name", -35, TABLE_STRING, 0, "for `misuse NAME`"),
	TABLE_COLUMN(struct misuse_row, of, "of", "of", 0, TABLE_STRING, TABLE_KEY_ONLY),
	TABLE_COLUMN(struct misuse_row, what, "what", "what", 0, TABLE_STRING, TABLE_KEY_ONLY),
	TABLE_COLUMN(struct misuse_row, when[MISUSE_OFF], "off", "off", -8, TABLE_STRING, 0,
		"the moment of its report without a debug mode"),
	TABLE_COLUMN(struct misuse_row, when[MISUSE_CHECK], "check", "check", -8, TABLE_STRING, 0,
		"in mode check"),
	TABLE_COLUMN(struct misuse_row, when[MISUSE_FULL], "full", "full", -8, TABLE_STRING, 0,
		"in mode full"),
};
static const struct table misuse_table = {"misuse", misuse_columns, ARRAY_SIZE(misuse_columns)};
static const struct table *const misuse_tables[] = {&misuse_table, NULL};

static void print_misuses(const struct command_call *call)
{
	static const char *const when[] = {"at once", "at free", "at alloc", "at drain", "never"};
	struct table_printer printer;
	const char *of;

	table_begin(&printer, &misuse_table, call->sink, call->keys);
	for (const struct misuse *m = misuse_set.next(NULL, &of); m; m = misuse_set.next(m, &of)) {
		struct misuse_row row = {m->name, of, m->what,
			{when[m->when[MISUSE_OFF]], when[m->when[MISUSE_CHECK]], when[m->when[MISUSE_FULL]]}};

		table_row(&printer, &row);
	}
	table_end(&printer);
}

static const char *misuse_command(const struct command_call *call)
{
	const char *of;

	if (!&misuse_set)
		return "this image has no tests, which the misuses are a part of";
	if (call->argc == 1) {
		print_misuses(call);
		return NULL;
	}
	for (const struct misuse *m = misuse_set.next(NULL, &of); m; m = misuse_set.next(m, &of)) {
		if (strcmp(m->name, call->argv[1]) != 0)
			continue;
		misuse_set.make(m);
		sink_printf(call->sink, "%s was not reported\n", m->name);
		return NULL;
	}
	return command_error("no misuse %s: `misuse` lists them", call->argv[1]);
}

static void offer_misuses(void (*offer)(void *arg, const char *word), void *arg)
{
	const char *of;

	if (!&misuse_set)
		return;
	for (const struct misuse *m = misuse_set.next(NULL, &of); m; m = misuse_set.next(m, &of))
		offer(arg, m->name);
}

static const struct command commands[] = {
	{"alloc", "[-k] [NAME] [SIZE] [COUNT]", "allocates from an arena or cache; lists what is held",
		"alloc kpages 64K 10", alloc_command, 0, offer_names, tables},
	{"free", "[-k] [ID]", "frees what `alloc` holds, or one line of it", "free", free_command, 0,
		NULL, NULL},
	{"misuse", "[-k] [NAME]", "makes a caller's bug that tests make; lists them", "misuse",
		misuse_command, 0, offer_misuses, misuse_tables},
	{"demo", "", "a tour, a key for each step: an arena runs short", "demo", demo_command,
		COMMAND_LIVE, NULL, NULL},
};

struct command_table try_commands = COMMAND_TABLE("trying", commands);
