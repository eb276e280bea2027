/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The leak check around every test.
 */
#include "fence.h"

#include "arena.h"
#include "kmem_fail.h"
#include "kthread.h"
#include "lib/string.h"
#include "machine.h"
#include "owner.h"
#include "physical.h"
#include "port.h"
#include "reclaim.h"
#include "sink.h"
#include "shortage.h"
#include "slab.h"

/* How many arenas and caches are compared one by one.  Of those beyond only the number is. */
#define WATCHED_ARENAS_MAX 32
#define WATCHED_CACHES_MAX 160

#define REPORT_MAX 160 /* bytes, the end included */

/* What `begin` counted. */
static struct {
	size_t arenas, caches, ktasks;
	struct {
		const struct arena *arena;
		uint64_t used;
	} arena[WATCHED_ARENAS_MAX];
	struct {
		const struct kmem_cache *cache;
		uint64_t out;
	} cache[WATCHED_CACHES_MAX];
} before;

static struct arena_stats rows[WATCHED_ARENAS_MAX];
static size_t page_tables, frame_table; /* pages */
static uint64_t noted;			/* bytes of base_arena for what debug modes know, and for samples */
static uint64_t slabs;			/* bytes of base_arena that caches hold */
static char report[REPORT_MAX];

static size_t watched(size_t arenas)
{
	return arenas < WATCHED_ARENAS_MAX ? arenas : WATCHED_ARENAS_MAX;
}

static uint64_t slabs_of_base(void)
{
	struct kmem_cache_stats stats;
	uint64_t sum = 0;

	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
		kmem_cache_get_stats(c, &stats);
		sum += stats.source == base_arena ? stats.total : 0;
	}
	return sum;
}

static uint64_t noted_of_base(void)
{
	uint64_t sum = 0;

	for (const struct arena_owner *o = arena_owner_next(NULL); o; o = arena_owner_next(o))
		if (strcmp(o->name, "backtraces") == 0 || strcmp(o->name, "debug hashes") == 0 ||
			strcmp(o->name, "samples") == 0)
			sum += __atomic_load_n(&o->held, __ATOMIC_RELAXED);
	return sum;
}

/* Reads the rows, and what of them is counted elsewhere at that moment; returns how many arenas there
 * are. */
static size_t read_rows(void)
{
	size_t arenas;

	do {
		page_tables = machine_table_pages();
		frame_table = kmem_table_pages();
		slabs = slabs_of_base();
		noted = noted_of_base();
		arenas = arena_tree_stats(rows, WATCHED_ARENAS_MAX);
	} while (page_tables != machine_table_pages() || frame_table != kmem_table_pages() ||
		 slabs != slabs_of_base() || noted != noted_of_base());
	return arenas;
}

/* The units in use of a row, without pages that hold tags, page tables or the frame table: those are
 * allocated as they are needed, and some are kept.  Caches are compared object by object: those that
 * live on may lie in one slab or in two. */
static uint64_t in_use(const struct arena_stats *s)
{
	uint64_t own = s->tag_pages;

	if (s->arena == base_arena || s->arena == phys_arena)
		own += page_tables;
	if (s->arena == base_arena)
		own += frame_table;
	return s->used - own * PORT_PAGE_SIZE - (s->arena == base_arena ? slabs + noted : 0);
}

static void count_caches(void)
{
	struct kmem_cache_stats stats;

	before.caches = 0;
	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
		kmem_cache_get_stats(c, &stats);
		if (before.caches < WATCHED_CACHES_MAX) {
			before.cache[before.caches].cache = c;
			before.cache[before.caches].out = stats.out + stats.samples;
		}
		before.caches++;
	}
}

static bool is_any_short(void)
{
	size_t arenas = arena_tree_stats(rows, WATCHED_ARENAS_MAX);

	for (size_t i = 0; i < watched(arenas); i++)
		if (shortage_is_short(rows[i].arena))
			return true;
	return false;
}

static size_t requests_asleep(void)
{
	struct reclaim_stats stats;

	reclaim_get_stats(&stats);
	return stats.waiting;
}

/* Arenas stay short for a moment after the last request of the test before, and for good if one that
 * failed has left some asleep. */
static void await_plenty(void)
{
	while (is_any_short() && requests_asleep() == 0)
		kthread_usleep(1000);
}

/* What a test that failed has left. */
static void stop_failures(void)
{
	for (int rule = kmem_fail_next(0); rule; rule = kmem_fail_next(0))
		kmem_fail_stop(rule);
}

static void begin(void)
{
	stop_failures();
	await_plenty();
	reclaim_run(RECLAIM_LEVELS);
	before.ktasks = ktask_count();
	count_caches();
	before.arenas = read_rows();
	for (size_t i = 0; i < watched(before.arenas); i++) {
		before.arena[i].arena = rows[i].arena;
		before.arena[i].used = in_use(&rows[i]);
	}
}

static bool was_there(const struct arena *arena)
{
	for (size_t i = 0; i < watched(before.arenas); i++)
		if (before.arena[i].arena == arena)
			return true;
	return false;
}

/* The name of the first arena that wasn't there before, "?" if none is watched. */
static const char *new_arena_name(size_t arenas)
{
	for (size_t i = 0; i < watched(arenas); i++)
		if (!was_there(rows[i].arena))
			return rows[i].name;
	return "?";
}

/* Compares an arena with the i-th of before.  Their number is the same, so the order is, too,
 * unless one arena took another's place. */
static const char *compare_arena(const struct arena_stats *s, size_t i)
{
	uint64_t used = in_use(s);

	if (before.arena[i].arena != s->arena)
		ksnprintf(report, sizeof(report), "arena %s was not there before", s->name);
	else if (before.arena[i].used != used)
		ksnprintf(report, sizeof(report), "arena %s: %llu units in use, %llu before",
			s->name, (unsigned long long)used,
			(unsigned long long)before.arena[i].used);
	else
		return NULL;
	return report;
}

static const char *check_arena(const struct arena_stats *s)
{
	int invariant = arena_check((struct arena *)s->arena, &console_sink);

	if (!invariant)
		return NULL;
	ksnprintf(report, sizeof(report), "arena %s: invariant %d is broken", s->name, invariant);
	return report;
}

static const char *check_caches(void)
{
	const char *found = NULL;
	struct kmem_cache_stats stats;

	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
		int invariant = kmem_cache_check(c, &console_sink);

		if (!invariant)
			continue;
		kmem_cache_get_stats(c, &stats);
		ksnprintf(report, sizeof(report), "cache %s: invariant %d is broken", stats.name,
			invariant);
		found = report;
	}
	return found;
}

/* Compares with the i-th cache of before, as compare_arena() does.  What an arena's own caches handed out
 * is the arena's: a slab of theirs may have been taken apart.  What is known of free objects stays while
 * their slab does. */
static const char *compare_cache(const struct kmem_cache_stats *s, size_t i)
{
	if (before.cache[i].cache == s->cache &&
		(s->is_front || strcmp(s->name, "tracks") == 0 || before.cache[i].out == s->out + s->samples))
		return NULL;
	ksnprintf(report, sizeof(report), "cache %s: %llu objects out of it, %llu before", s->name,
		(unsigned long long)(s->out + s->samples), (unsigned long long)before.cache[i].out);
	return report;
}

static const char *compare_caches(void)
{
	const char *found = NULL;
	struct kmem_cache_stats stats;
	size_t n = 0;

	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c), n++) {
		kmem_cache_get_stats(c, &stats);
		if (n < before.caches && n < WATCHED_CACHES_MAX && !found)
			found = compare_cache(&stats, n);
	}
	if (n == before.caches)
		return found;
	ksnprintf(report, sizeof(report), "%zu caches, %zu before", n, before.caches);
	return report;
}

static const char *check_arenas(size_t arenas)
{
	const char *found = NULL;

	for (size_t i = 0; i < watched(arenas) && !found; i++)
		found = check_arena(&rows[i]);
	if (!found && !arena_base_balances(base_arena))
		found = "boundary tags or hash pages of base are lost";
	return found;
}

static const char *compare_arenas(size_t arenas)
{
	const char *found = NULL;

	if (arenas != before.arenas) {
		ksnprintf(report, sizeof(report), "%zu arenas, %zu before (%s)", arenas,
			before.arenas, new_arena_name(arenas));
		return report;
	}
	/* In reverse order, so that the report names the arena that a leak came from, not a source
	 * that arena imported from. */
	for (size_t i = watched(arenas); i > 0 && !found; i--)
		found = compare_arena(&rows[i - 1], i - 1);
	return found;
}

/* What the test left over what was there before, when all that is idle has gone back. */
static const char *compare(void)
{
	const char *found;
	size_t arenas;

	await_plenty();
	reclaim_run(RECLAIM_LEVELS);
	found = check_caches();
	arenas = read_rows();
	if (!found)
		found = check_arenas(arenas);
	if (!found)
		found = compare_caches();
	return found ? found : compare_arenas(arenas);
}

/* For a test that fails. */
static void print_arenas(void)
{
	kprintf("pages of page tables %zu, frame table %zu, tags of base %llu\n", page_tables, frame_table,
		(unsigned long long)rows[0].tag_pages);
	for (size_t i = 0; i < watched(before.arenas); i++)
		kprintf("%s: %llu units in use before, now %llu of %llu\n", rows[i].name,
			(unsigned long long)before.arena[i].used, (unsigned long long)in_use(&rows[i]),
			(unsigned long long)rows[i].total);
}

#define COMPARES 10
#define COMPARE_US 20000

/* Checks caches as the test left them, and again when they have given back what is idle.  A pass of the
 * reclaim ktask, or what is short for a moment longer, may have something in hand: so it looks again. */
static const char *end(void)
{
	const char *found = check_caches();

	if (found)
		return found;
	if (ktask_count() != before.ktasks) {
		ksnprintf(report, sizeof(report), "%zu ktasks, %zu before", ktask_count(),
			before.ktasks);
		return report;
	}
	for (int i = 0; i < COMPARES && (found = compare()); i++)
		kthread_usleep(COMPARE_US);
	if (found)
		print_arenas();
	return found;
}

const struct test_fence test_fence = {begin, end};
