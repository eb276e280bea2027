/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fence around every test.
 */
#include "fence.h"

#include "arena.h"
#include "kthread.h"
#include "sink.h"
#include "machine.h"
#include "physical.h"
#include "port.h"
#include "slab.h"
#include "vmap.h"

/* Arenas that are watched one by one; of those beyond, only the number is. */
#define WATCHED_MAX 32
#define WRONG_MAX 160 /* bytes of a report, its end included */

static struct arena_stats rows[WATCHED_MAX];

/* Caches that are watched one by one; of those beyond, only the number is. */
#define WATCHED_CACHES_MAX 160

/* A cache and how many of its objects are out of it, once nothing is laid up. */
struct cache_census {
	const struct kmem_cache *cache;
	uint64_t out;
};

static struct {
	size_t arenas, ktasks;
	size_t caches;
	struct cache_census census[WATCHED_CACHES_MAX];
	struct {
		const struct arena *arena;
		uint64_t used;
	} watched[WATCHED_MAX];
} before;

static char wrong[WRONG_MAX];

static size_t count_watched(size_t arenas)
{
	return arenas < WATCHED_MAX ? arenas : WATCHED_MAX;
}

/* What users hold of it: pages that hold tags, translations or
 * frame-table entries come and stay as they are needed. */
static uint64_t in_use(const struct arena_stats *s)
{
	uint64_t own = s->tag_pages;

	if (s->arena == base_arena || s->arena == phys_arena)
		own += machine_table_pages() + kmem_table_pages();
	return s->used - own * PORT_PAGE_SIZE;
}

static void take_census(void)
{
	struct kmem_cache_stats stats;

	before.caches = 0;
	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
		kmem_cache_get_stats(c, &stats);
		if (before.caches < WATCHED_CACHES_MAX)
			before.census[before.caches] = (struct cache_census){c, stats.out};
		before.caches++;
	}
}

/* What caches and arenas keep is in no use.  Backward: importers give back before their sources do;
 * and twice, since what one gives back another may keep. */
static void reap(void)
{
	size_t arenas;

	for (int round = 0; round < 2; round++) {
		vmap_drain();
		kmem_reap_all(KMEM_REAP_ALL);
		arenas = arena_tree_stats(rows, WATCHED_MAX);
		for (size_t i = count_watched(arenas); i > 0; i--)
			arena_reap((struct arena *)rows[i - 1].arena, SIZE_MAX);
	}
}

static void begin(void)
{
	reap();
	before.ktasks = ktask_count();
	take_census();
	before.arenas = arena_tree_stats(rows, WATCHED_MAX);
	for (size_t i = 0; i < count_watched(before.arenas); i++) {
		before.watched[i].arena = rows[i].arena;
		before.watched[i].used = in_use(&rows[i]);
	}
}

static bool was_there(const struct arena *arena)
{
	for (size_t i = 0; i < count_watched(before.arenas); i++)
		if (before.watched[i].arena == arena)
			return true;
	return false;
}

/* The name of an arena that wasn't there before. */
static const char *newcomer(size_t arenas)
{
	for (size_t i = 0; i < count_watched(arenas); i++)
		if (!was_there(rows[i].arena))
			return rows[i].name;
	return "?";
}

/* With as many arenas as before, the order of the tree is that of before. */
static const char *compare_used(const struct arena_stats *s, size_t i)
{
	uint64_t used = in_use(s);

	if (before.watched[i].arena != s->arena)
		ksnprintf(wrong, sizeof(wrong), "arena %s was not there before", s->name);
	else if (before.watched[i].used != used)
		ksnprintf(wrong, sizeof(wrong), "arena %s: %llu units in use, %llu before", s->name,
			(unsigned long long)used, (unsigned long long)before.watched[i].used);
	else
		return NULL;
	return wrong;
}

static const char *check(const struct arena_stats *s)
{
	int invariant = arena_check((struct arena *)s->arena, &console_sink);

	if (!invariant)
		return NULL;
	ksnprintf(wrong, sizeof(wrong), "arena %s: invariant %d is broken", s->name, invariant);
	return wrong;
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
		ksnprintf(wrong, sizeof(wrong), "cache %s: invariant %d is broken", stats.name,
			invariant);
		found = wrong;
	}
	return found;
}

/* With as many caches as before, their order is that of before. */
static const char *compare_cache(const struct kmem_cache_stats *s, size_t i)
{
	if (before.census[i].cache == s->cache && before.census[i].out == s->out)
		return NULL;
	ksnprintf(wrong, sizeof(wrong), "cache %s: %llu objects out of it, %llu before", s->name,
		(unsigned long long)s->out, (unsigned long long)before.census[i].out);
	return wrong;
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
	ksnprintf(wrong, sizeof(wrong), "%zu caches, %zu before", n, before.caches);
	return wrong;
}

static const char *check_arenas(size_t arenas)
{
	const char *found = NULL;

	for (size_t i = 0; i < count_watched(arenas) && !found; i++)
		found = check(&rows[i]);
	if (!found && !arena_base_balances(base_arena))
		found = "boundary tags or hash pages of base are lost";
	return found;
}

static const char *compare_arenas(size_t arenas)
{
	const char *found = NULL;

	if (arenas != before.arenas) {
		ksnprintf(wrong, sizeof(wrong), "%zu arenas, %zu before (%s)", arenas,
			before.arenas, newcomer(arenas));
		return wrong;
	}
	/* Backward: the deepest importer holds what leaked, its sources only what it imported. */
	for (size_t i = count_watched(arenas); i > 0 && !found; i--)
		found = compare_used(&rows[i - 1], i - 1);
	return found;
}

/* What caches have laid up goes back before anything is counted; but first they are looked at as
 * they are. */
static const char *end(void)
{
	const char *found = check_caches();
	size_t arenas;

	if (ktask_count() != before.ktasks) {
		ksnprintf(wrong, sizeof(wrong), "%zu ktasks, %zu before", ktask_count(), before.ktasks);
		return wrong;
	}
	reap();
	if (!found)
		found = check_caches();
	arenas = arena_tree_stats(rows, WATCHED_MAX);
	if (!found)
		found = check_arenas(arenas);
	if (!found)
		found = compare_arenas(arenas);
	return found ? found : compare_caches();
}

const struct test_fence test_fence = {begin, end};
