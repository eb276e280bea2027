/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands: who has allocated what an arena or a cache has handed out, and tracing, which notes it.
 */
#include "users.h"

#include "kmem_debug.h"
#include "lib/array.h"
#include "lib/string.h"
#include "table.h"

static const struct table *const user_tables[] = {&users_table, NULL};

static const char bad_rows[] = "is not a number of rows above 0";

static const char *show_arena(const struct command_call *call, struct arena *arena, size_t rows)
{
	struct arena_stats stats;
	struct users of;

	if (!kmem_debug_checks())
		return users_not_noted;
	arena_get_stats(arena, &stats);
	of = (struct users){.name = stats.name, .in_bytes = stats.in_bytes};
	stacks_tally_begin();
	users_add_arena(&of, arena);
	users_print(call, &of, rows);
	stacks_tally_end();
	return NULL;
}

/* Caches: from what tracing, or mode full, notes */

static const char *show_cache(const struct command_call *call, struct kmem_cache *cache, size_t rows)
{
	struct kmem_cache_stats stats;
	struct users of;

	kmem_cache_get_stats(cache, &stats);
	if (!stats.is_traced && !stats.is_full)
		return command_error("%s isn't traced: `trace start %s` notes users", stats.name, stats.name);
	stacks_tally_begin();
	of = (struct users){
		.name = stats.name, .in_bytes = stats.in_bytes, .unknown_count = kmem_trace_tally(cache)};
	of.unknown_units = of.unknown_count * stats.obj_size;
	users_print(call, &of, rows);
	stacks_tally_end();
	return NULL;
}

static const char *who_command(const struct command_call *call)
{
	size_t rows = users_rows(call, 2);
	const char *name = call->argv[1], *wrong;
	struct arena *arena = command_arena(name);
	struct kmem_cache *cache = arena ? NULL : command_cache(name);

	if (!arena && !cache)
		return command_error("no arena and no cache %s", name);
	if (rows == 0)
		wrong = command_error("%s %s", call->argv[2], bad_rows);
	else
		wrong = arena ? show_arena(call, arena, rows) : show_cache(call, cache, rows);
	if (arena)
		arena_unpin(arena);
	else
		kmem_cache_unpin(cache);
	return wrong;
}

/* trace */

struct trace_row {
	const char *name, *state;
	struct kmem_cache_stats s;
};

static const struct table_column columns[] = {
	TABLE_COLUMN(struct trace_row, name, "cache", "name", -31, TABLE_STRING, 0,
		"a cache of whose objects the users are noted"),
	TABLE_COLUMN(struct trace_row, state, "by", "by", -6, TABLE_STRING, 0,
		"`trace start`, or mode full, which notes users, too"),
	TABLE_COLUMN(struct trace_row, s.live, "live", "live", 8, TABLE_COUNT, 0, "objects that callers have"),
	TABLE_COLUMN(struct trace_row, s.tracked, "noted", "tracked", 8, TABLE_COUNT, 0,
		"objects that are known; in mode full free ones, too"),
	TABLE_COLUMN(struct trace_row, s.untracked, "missed", "untracked", 8, TABLE_COUNT, 0,
		"allocations that found no memory to note them"),
};
static const struct table table = {"trace", columns, ARRAY_SIZE(columns)};
static const struct table *const tables[] = {&users_table, &table, NULL};

/* Those that are traced, and with -a those in mode full. */
static bool is_listed(const struct command_call *call, const struct kmem_cache_stats *s)
{
	return s->is_traced || (s->is_full && (call->all || call->keys));
}

static const char *list_traced(const struct command_call *call)
{
	struct table_printer printer;
	size_t full = 0, found = 0;

	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
		struct trace_row row;

		kmem_cache_get_stats(c, &row.s);
		row.name = row.s.name;
		row.state = row.s.is_traced ? "trace" : "full";
		full += row.s.is_full;
		if (!is_listed(call, &row.s))
			continue;
		if (found++ == 0)
			table_begin(&printer, &table, call->sink, call->keys);
		table_row(&printer, &row);
	}
	if (found > 0)
		table_end(&printer);
	if (found == 0 && !call->keys)
		sink_puts(call->sink, "no cache is traced\n");
	if (full > 0 && !call->keys && !call->all)
		sink_printf(call->sink, "%zu in mode full, whose users are known, too: -a shows all\n", full);
	return NULL;
}

static const char *trace_command(const struct command_call *call)
{
	struct kmem_cache *cache;
	size_t rows = users_rows(call, 2);
	const char *wrong;

	if (call->argc == 1)
		return list_traced(call);
	cache = command_cache(call->argv[1]);
	if (!cache)
		return command_no_cache(call->argv[1]);
	wrong = rows ? show_cache(call, cache, rows) : command_error("%s %s", call->argv[2], bad_rows);
	kmem_cache_unpin(cache);
	return wrong;
}

/* trace start, stop, reset */

/* What a command does with a cache; NULL, or why it can't. */
typedef const char *(*trace_fn)(struct kmem_cache *cache, const struct kmem_cache_stats *s);

static const char *start(struct kmem_cache *cache, const struct kmem_cache_stats *s)
{
	if (s->is_own)
		return command_error("%s has what caches are made of, which isn't traced", s->name);
	if (s->is_full)
		return command_error("%s is in mode full, `who %s` shows its users", s->name, s->name);
	return kmem_trace_start(cache) == 0 ? NULL : "no memory";
}

static const char *not_traced(const struct kmem_cache_stats *s)
{
	return s->is_traced ? NULL : command_error("%s isn't traced", s->name);
}

static const char *stop(struct kmem_cache *cache, const struct kmem_cache_stats *s)
{
	const char *wrong = not_traced(s);

	if (!wrong)
		kmem_trace_stop(cache);
	return wrong;
}

static const char *reset(struct kmem_cache *cache, const struct kmem_cache_stats *s)
{
	const char *wrong = not_traced(s);

	if (!wrong)
		kmem_trace_reset(cache);
	return wrong;
}

static const char *change(const struct command_call *call, trace_fn fn)
{
	struct kmem_cache *cache = command_cache(call->argv[2]);
	static struct kmem_cache_stats s; /* one line runs at a time */
	const char *wrong;

	if (!cache)
		return command_no_cache(call->argv[2]);
	kmem_cache_get_stats(cache, &s);
	wrong = fn(cache, &s);
	kmem_cache_unpin(cache);
	return wrong;
}

static const char *start_command(const struct command_call *call)
{
	return change(call, start);
}

static const char *stop_command(const struct command_call *call)
{
	return change(call, stop);
}

static const char *reset_command(const struct command_call *call)
{
	return change(call, reset);
}

/* Completion */

static void offer_caches(void (*offer)(void *arg, const char *word), void *arg)
{
	struct kmem_cache_stats stats;

	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
		kmem_cache_get_stats(c, &stats);
		offer(arg, stats.name);
	}
}

void command_offer_names(void (*offer)(void *arg, const char *word), void *arg)
{
	struct arena_stats stats;

	for (struct arena *a = arena_next(NULL); a; a = arena_next(a)) {
		arena_get_stats(a, &stats);
		offer(arg, stats.name);
	}
	offer_caches(offer, arg);
}

static const struct command commands[] = {
	{"who", "[-k] [-a] NAME [N]", "users of an arena or cache by backtrace, most first", "who kpages",
		who_command, COMMAND_PANIC_SAFE, command_offer_names, user_tables},
	{"trace start", "CACHE", "notes who allocates its objects, until they are freed",
		"trace start kmalloc-64", start_command, 0, offer_caches, NULL},
	{"trace stop", "CACHE", "ends that", "trace stop kmalloc-64", stop_command, 0, offer_caches, NULL},
	{"trace reset", "CACHE", "forgets what was noted, and goes on", "trace reset kmalloc-64",
		reset_command, 0, offer_caches, NULL},
	{"trace", "[-k] [-a] [CACHE] [N]", "live objects of a cache by backtrace; the traced caches",
		"trace", trace_command, COMMAND_PANIC_SAFE, offer_caches, tables},
};

struct command_table who_commands = COMMAND_TABLE("debugging", commands);
