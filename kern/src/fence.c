/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fence around every test.
 */
#include "fence.h"

#include "arena.h"
#include "kthread.h"
#include "lib/sink.h"
#include "machine.h"
#include "port.h"

/* Arenas that are watched one by one; of those beyond, only the number is. */
#define WATCHED_MAX 32
#define WRONG_MAX 160 /* bytes of a report, its end included */

static struct arena_stats rows[WATCHED_MAX];

static struct {
	size_t arenas, ktasks;
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

/* What users hold of it: pages that hold tags or translations come and stay as they are needed. */
static uint64_t in_use(const struct arena_stats *s)
{
	uint64_t own = s->tag_pages;

	if (s->arena == base_arena)
		own += machine_table_pages();
	return s->used - own * PORT_PAGE_SIZE;
}

static void begin(void)
{
	kthread_reap();
	before.ktasks = ktask_count();
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

static const char *end(void)
{
	const char *found = NULL;
	size_t arenas;

	if (ktask_count() != before.ktasks) {
		ksnprintf(wrong, sizeof(wrong), "%zu ktasks, %zu before", ktask_count(), before.ktasks);
		return wrong;
	}
	kthread_reap();
	arenas = arena_tree_stats(rows, WATCHED_MAX);
	for (size_t i = 0; i < count_watched(arenas) && !found; i++)
		found = check(&rows[i]);
	if (found)
		return found;
	if (!arena_base_balances(base_arena))
		return "boundary tags or hash pages of base are lost";
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

const struct test_fence arena_fence = {begin, end};
