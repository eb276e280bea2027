/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fence around every test.
 */
#include "fence.h"

#include "arena.h"
#include "frames.h"
#include "kthread.h"
#include "lib/sink.h"
#include "machine.h"
#include "port.h"
#include "slab.h"

/* Arenas that are watched one by one; of those beyond, only the number is. */
#define WATCHED_MAX 32
#define WRONG_MAX 160 /* bytes of a report, its end included */

static struct arena_stats rows[WATCHED_MAX];

/* Caches and what is out of them, once nothing is laid up; of those beyond the watched ones, only the sum
 * is. */
#define WATCHED_CACHES_MAX 128

struct census {
	size_t caches;
	uint64_t out;
	struct {
		const struct kmem_cache *cache;
		uint64_t out;
	} watched[WATCHED_CACHES_MAX];
};

static struct {
	size_t arenas, ktasks;
	struct census census;
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

	if (s->arena == base_arena)
		own += machine_table_pages() + frames_pages();
	return s->used - own * PORT_PAGE_SIZE;
}

static void take_census(struct census *n)
{
	struct kmem_cache_stats stats;

	n->caches = n->out = 0;
	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
		kmem_cache_get_stats(c, &stats);
		if (n->caches < WATCHED_CACHES_MAX) {
			n->watched[n->caches].cache = c;
			n->watched[n->caches].out = stats.out;
		}
		n->caches++;
		n->out += stats.out;
	}
}

static void begin(void)
{
	kthread_reap();
	before.ktasks = ktask_count();
	kmem_reap_all(KMEM_REAP_ALL);
	take_census(&before.census);
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

/* Backward: the last has leaked, those before it may hold what it is made of. */
static const char *compare_watched(const struct census *now)
{
	struct kmem_cache_stats stats;

	for (size_t i = now->caches < WATCHED_CACHES_MAX ? now->caches : WATCHED_CACHES_MAX; i-- > 0;) {
		if (now->watched[i].cache != before.census.watched[i].cache ||
			now->watched[i].out == before.census.watched[i].out)
			continue;
		kmem_cache_get_stats((struct kmem_cache *)now->watched[i].cache, &stats);
		ksnprintf(wrong, sizeof(wrong), "cache %s: %llu objects out of it, %llu before", stats.name,
			(unsigned long long)now->watched[i].out,
			(unsigned long long)before.census.watched[i].out);
		return wrong;
	}
	return NULL;
}

static const char *compare_census(void)
{
	static struct census now;
	const char *found;

	take_census(&now);
	if (now.caches != before.census.caches) {
		ksnprintf(wrong, sizeof(wrong), "%zu caches, %zu before", now.caches,
			before.census.caches);
		return wrong;
	}
	found = compare_watched(&now);
	if (found || now.out == before.census.out)
		return found;
	ksnprintf(wrong, sizeof(wrong), "%llu objects out of all caches, %llu before",
		(unsigned long long)now.out, (unsigned long long)before.census.out);
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

/* What caches have laid up goes back before anything is counted; but first they are looked at as they
 * are. */
static const char *end(void)
{
	const char *found = check_caches();
	size_t arenas;

	if (ktask_count() != before.ktasks) {
		ksnprintf(wrong, sizeof(wrong), "%zu ktasks, %zu before", ktask_count(), before.ktasks);
		return wrong;
	}
	kthread_reap();
	kmem_reap_all(KMEM_REAP_ALL);
	if (!found)
		found = check_caches();
	arenas = arena_tree_stats(rows, WATCHED_MAX);
	if (!found)
		found = check_arenas(arenas);
	if (!found && arenas == before.arenas)
		found = compare_census();
	return found ? found : compare_arenas(arenas);
}

const struct test_fence arena_fence = {begin, end};
