/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Command: objects that nothing points to; and IDs and addresses, which nothing can be seen to point to, by who
 * has had them longest.
 */
#include "monitor_impl.h"

#include "kmem_debug.h"
#include "kthread.h"
#include "leaks.h"
#include "lib/array.h"
#include "lib/string.h"
#include "port.h"
#include "table.h"
#include "users.h"

#define PAUSE_US 100000 /* between the first two scans */
#define GROUPS_MAX 64	/* caches that are told apart; those beyond are counted together */

struct leaks_row {
	const char *cache;
	uint64_t count, size, bytes, age, first;
};

static const struct table_column columns[] = {
	TABLE_COLUMN(struct leaks_row, cache, "cache", "cache", -20, TABLE_STRING, 0,
		"that the objects are of, or: kmalloc, large"),
	TABLE_COLUMN(struct leaks_row, count, "leaks", "count", 8, TABLE_COUNT, TABLE_TOTAL,
		"objects that nothing pointed to in two scans"),
	TABLE_COLUMN(struct leaks_row, bytes, "in all", "bytes", 10, TABLE_BYTES, TABLE_TOTAL,
		"memory in them"),
	TABLE_COLUMN(struct leaks_row, age, "for", "age_ns", 9, TABLE_TIME, 0,
		"how long ago the first scan was that found the oldest of them"),
	TABLE_COLUMN(struct leaks_row, first, "the first", "first", 18, TABLE_HEX, 0,
		"the lowest address of one: `whatis` tells more"),
};
static const struct table table = {"leaks", columns, ARRAY_SIZE(columns)};

static const struct table_column object_columns[] = {
	TABLE_COLUMN(struct leaks_row, first, "object", "address", 18, TABLE_HEX, 0, "CACHE: its address"),
	TABLE_COLUMN(struct leaks_row, bytes, "size", "size", 10, TABLE_BYTES, TABLE_TOTAL,
		"CACHE: its memory"),
	TABLE_COLUMN(struct leaks_row, age, "for", "age_ns", 9, TABLE_TIME, 0,
		"CACHE: how long ago the first scan was that found it"),
};
static const struct table object_table = {"leak", object_columns, ARRAY_SIZE(object_columns)};
static const struct table *const tables[] = {&table, &object_table, &users_table, NULL};

struct listing {
	const struct command_call *call;
	struct table_printer printer;
	const char *cache; /* the one whose objects are listed; NULL: caches are */
	uint64_t now;
	struct kmem_cache *of; /* that one; NULL: it is none */
	struct users users;    /* of its leaks, which have no backtrace */
	size_t count, found, known;
	struct leaks_row row[GROUPS_MAX];
	char name[GROUPS_MAX][KMEM_NAME_MAX];
};

/* The command's own, one line runs at a time. */
static struct listing listing;

static struct leaks_row *row_of(struct listing *l, const char *cache)
{
	size_t i = 0;

	while (i < l->count && strcmp(l->name[i], cache) != 0)
		i++;
	if (i == GROUPS_MAX)
		return &l->row[GROUPS_MAX - 1];
	if (i == l->count) {
		str_copy(l->name[i], ++l->count == GROUPS_MAX ? "others" : cache, KMEM_NAME_MAX);
		l->row[i] = (struct leaks_row){.cache = l->name[i]};
	}
	return &l->row[i];
}

static bool count_leak(const struct leak *leak, void *arg)
{
	struct listing *l = arg;
	struct leaks_row *row = row_of(l, leak->cache);
	uint64_t age = l->now - leak->since;

	if (row->count++ == 0)
		row->first = leak->address;
	row->bytes += leak->size;
	row->age = row->age > age ? row->age : age;
	return true;
}

static bool list_leak(const struct leak *leak, void *arg)
{
	struct listing *l = arg;
	struct leaks_row row = {.first = leak->address, .bytes = leak->size, .age = l->now - leak->since};

	if (strcmp(leak->cache, l->cache) != 0)
		return true;
	l->found++;
	table_row(&l->printer, &row);
	return !monitor_interrupted(l->call->sink);
}

/* Adds it to the tally of backtraces. */
static bool add_user(const struct leak *leak, void *arg)
{
	struct listing *l = arg;
	struct kmem_history h;

	if (strcmp(leak->cache, l->cache) != 0)
		return true;
	if (kmem_cache_history(l->of, leak->address, &h) && h.alloc.stack) {
		stacks_tally_add(h.alloc.stack, h.size, h.alloc.ns);
		l->known++;
	} else {
		l->users.unknown_count++;
		l->users.unknown_units += leak->size;
	}
	return true;
}

/* Where they were allocated, if it is known of any: in mode full, or while the cache was traced. */
static void show_users(struct listing *l)
{
	l->of = command_cache(l->cache);
	if (!l->of)
		return;
	l->known = 0;
	l->users = (struct users){.name = l->cache, .in_bytes = true};
	stacks_tally_begin();
	leaks_report(add_user, l);
	if (l->known > 0)
		users_print(l->call, &l->users, USERS_ROWS);
	stacks_tally_end();
	kmem_cache_unpin(l->of);
}

static void show_caches(struct listing *l)
{
	l->count = 0;
	leaks_report(count_leak, l);
	if (l->count == 0 && !l->call->keys) {
		sink_puts(l->call->sink, "no leaks\n");
		return;
	}
	table_begin(&l->printer, &table, l->call->sink, l->call->keys);
	for (size_t i = 0; i < l->count; i++)
		table_row(&l->printer, &l->row[i]);
	table_end(&l->printer);
}

static const char *show_objects(struct listing *l)
{
	l->found = 0;
	table_begin(&l->printer, &object_table, l->call->sink, l->call->keys);
	leaks_report(list_leak, l);
	table_end(&l->printer);
	if (l->found > 0)
		show_users(l);
	return l->found ? NULL : command_error("no leaks of %s are known: `leaks` looks for them", l->cache);
}

/* For people: what there is besides the table. */
static void show_stats(struct sink *sink)
{
	struct leaks_stats s;

	leaks_get_stats(&s);
	sink_printf(sink, "scan %llu: %llu objects, %pB looked at in %llu ms, %pB taken for it\n",
		(unsigned long long)s.scans, (unsigned long long)s.live, (const void *)&s.looked,
		(unsigned long long)(s.ns / 1000000), (const void *)&s.held);
	if (s.suspects > s.leaks)
		sink_printf(sink, "%llu objects more that only another scan can tell\n",
			(unsigned long long)(s.suspects - s.leaks));
	if (s.watched)
		sink_printf(sink, "%llu caches are watched, and slower: `leaks -c` ends that\n",
			(unsigned long long)s.watched);
	sink_puts(sink, "IDs and addresses, to which no pointer leads: `leaks -i`\n");
}

/* IDs and addresses */

static void show_users_of(const struct command_call *call, struct arena *arena, const struct arena_stats *stats)
{
	struct users of = {.name = stats->name, .in_bytes = stats->in_bytes, .is_oldest_first = true};

	if (!call->keys)
		sink_printf(call->sink, "users of %s, oldest first:\n", stats->name);
	stacks_tally_begin();
	users_add_arena(&of, arena);
	users_print(call, &of, USERS_ROWS);
	stacks_tally_end();
}

/* Of each arena that is no memory, and of which something is in use. */
static const char *show_ids(const struct command_call *call)
{
	struct arena_stats stats;
	struct arena *a;

	if (!kmem_debug_checks())
		return users_not_noted;
	for (a = arena_next(NULL); a && !monitor_interrupted(call->sink); a = arena_next(a)) {
		arena_get_stats(a, &stats);
		if (!stats.is_memory && stats.segments_used > 0)
			show_users_of(call, a, &stats);
	}
	if (a)
		arena_unpin(a);
	return NULL;
}

static const char *scan(void)
{
	struct leaks_stats s;
	int error;

	leaks_get_stats(&s);
	error = leaks_scan();
	if (!error && s.scans == 0) {
		kthread_usleep(PAUSE_US);
		error = leaks_scan();
	}
	return error ? "no memory for a scan" : NULL;
}

static const char *leaks_command(const struct command_call *call)
{
	bool clears = call->argc > 1 && strcmp(call->argv[1], "-c") == 0;
	bool of_ids = call->argc > 1 && strcmp(call->argv[1], "-i") == 0;
	const char *cache = call->argv[call->argc - 1], *wrong;

	if (call->argc > 2)
		return "-c and -i take no cache";
	if (of_ids)
		return show_ids(call);
	if (clears) {
		leaks_clear();
		return NULL;
	}
	listing.call = call;
	listing.now = port_ns();
	listing.cache = cache;
	if (call->argc > 1)
		return show_objects(&listing);
	wrong = scan();
	if (wrong)
		return wrong;
	listing.now = port_ns();
	show_caches(&listing);
	if (!call->keys)
		show_stats(call->sink);
	return NULL;
}

static void offer_caches(void (*offer)(void *arg, const char *word), void *arg)
{
	struct kmem_cache_stats stats;

	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
		kmem_cache_get_stats(c, &stats);
		offer(arg, stats.name);
	}
}

static const struct command commands[] = {
	{"leaks", "[-k] [-a] [-c] [-i] [CACHE]", "what nothing points to; -c: forget; -i: IDs by age", "leaks",
		leaks_command, 0, offer_caches, tables},
};

struct command_table leaks_commands = COMMAND_TABLE("leaks", commands);
