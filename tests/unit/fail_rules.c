/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Failure injection: the allocations that a rule says fail, and no others.
 */
#include "arenas.h"
#include "errors.h"
#include "fails.h"
#include "kmalloc.h"
#include "kthread.h"
#include "slab.h"
#include "lib/array.h"
#include "lib/string.h"
#include "lib/test.h"
#include "modes.h"
#include "threads.h"

#define PAGE PORT_PAGE_SIZE
#define CALLS 24

static const unsigned failing_flags[] = {MEM_ATOMIC, MEM_ERROR};

static int start(const char *name, uint64_t after, uint64_t times)
{
	struct kmem_fail_rule rule = {.name = name, .after = after, .times = times};
	int number = kmem_fail_start(&rule);

	CHECK_LT(0, number);
	return number;
}

static struct kmem_cache_stats stats_of(struct kmem_cache *c)
{
	struct kmem_cache_stats s;

	kmem_cache_get_stats(c, &s);
	return s;
}

static struct kmem_cache *cache_make(const char *name, struct arena *source)
{
	struct kmem_cache *c = kmem_cache_create(name, 64, 0, 0, source, NULL, NULL, NULL);

	CHECK(c);
	return c;
}

static void cache_end(struct kmem_cache *c)
{
	CHECK_EQ(kmem_cache_check(c, &console_sink), 0);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

/* The k-th */

/* What is asked for again and again. */
struct source {
	const char *name;
	void *(*take)(unsigned flags);
	void (*give)(void *at);
};

static struct kmem_cache *cache;
static struct arena *ids, *fronted;

static void *take_object(unsigned flags)
{
	return kmem_cache_alloc(cache, flags);
}

static void give_object(void *at)
{
	kmem_cache_free(cache, at);
}

static void *take_id(unsigned flags)
{
	return arena_alloc(ids, 3, flags);
}

static void *take_best(unsigned flags)
{
	return arena_alloc(ids, 3, flags | ARENA_BESTFIT);
}

static void *take_in_time(unsigned flags)
{
	return arena_alloc_timeout(ids, 3, MEM_ERROR, port_ns() + 1000000000);
}

static void give_id(void *at)
{
	arena_free(ids, at, 3);
}

static void *take_placed(unsigned flags)
{
	return arena_xalloc(ids, 3, 4, 0, 0, 0, 0, flags);
}

static void give_placed(void *at)
{
	arena_xfree(ids, at, 3);
}

static void *take_round(unsigned flags)
{
	return arena_alloc(fronted, 2, flags);
}

static void *take_aligned_round(unsigned flags)
{
	return arena_xalloc(fronted, 2, 2, 0, 0, 0, 0, flags);
}

static void give_round(void *at)
{
	arena_xfree(fronted, at, 2);
}

static void give_plain_round(void *at)
{
	arena_free(fronted, at, 2);
}

static void *take_small(unsigned flags)
{
	return kmalloc(60, flags);
}

static void *take_page(unsigned flags)
{
	return arena_alloc(kpages_arena, PAGE, flags);
}

static void give_page(void *at)
{
	arena_free(kpages_arena, at, PAGE);
}

static void *take_base(unsigned flags)
{
	return base_alloc(NULL, 3 * PAGE, flags);
}

static void give_base(void *at)
{
	base_free(NULL, at, 3 * PAGE);
}

static const struct source sources[] = {
	{"test-objects", take_object, give_object},
	{"test-ids", take_id, give_id},
	{"test-ids", take_best, give_id},
	{"test-ids", take_in_time, give_id},
	{"test-ids", take_placed, give_placed},
	{"test-fronted", take_round, give_plain_round},
	{"test-fronted", take_aligned_round, give_round},
	{"kmalloc-64", take_small, kfree},
	{"kpages", take_page, give_page},
	{"base", take_base, give_base},
};

/* The calls of this test alone: others may use the same arena meanwhile. */
static __attribute__((noinline)) void take_all(const struct source *s, void **at, unsigned flags)
{
	for (int i = 0; i < CALLS; i++)
		at[i] = s->take(flags);
	__asm__ volatile("");
}

static void check_kth(const struct source *s, uint64_t k, unsigned flags)
{
	struct kmem_fail_rule rule = fails_beneath(take_all);
	struct kmem_fail_stats done;
	void *at[CALLS];
	int number;

	rule.name = s->name;
	rule.after = k;
	rule.times = 1;
	number = kmem_fail_start(&rule);
	CHECK_LT(0, number);
	take_all(s, at, flags);
	done = fails_stats(number);
	kmem_fail_stop(number);
	for (uint64_t i = 0; i < CALLS; i++) {
		CHECK_EQ(at[i] == NULL, i == k);
		if (at[i])
			s->give(at[i]);
	}
	CHECK_EQ(done.failed, 1);
	/* What a request takes of its own arena beneath, such as tags of the base, counts, too. */
	CHECK_LE(CALLS, done.matched);
}

static void rig_make(void)
{
	cache = cache_make("test-objects", NULL);
	ids = arena_create("test-ids", (void *)4, 1000, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	fronted = arena_create("test-fronted", (void *)4, 1000, 1, NULL, NULL, NULL, 4, MEM_WAIT);
	CHECK(cache && ids && fronted);
}

static void rig_end(void)
{
	arenas_end(fronted);
	arenas_end(ids);
	cache_end(cache);
}

/* What the first call takes beneath is there before. */
TEST("fail: the k-th allocation of an arena or a cache fails, and no other")
{
	void *at[CALLS];

	rig_make();
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		take_all(&sources[i], at, MEM_WAIT);
		for (int j = 0; j < CALLS; j++)
			sources[i].give(at[j]);
		for (size_t f = 0; f < ARRAY_SIZE(failing_flags); f++)
			for (uint64_t k = 0; k < CALLS; k += k < 4 ? 1 : 6)
				check_kth(&sources[i], k, failing_flags[f]);
	}
	rig_end();
}

TEST("fail: a failure counts as one of the cache's and one of the arena's")
{
	uint64_t of_cache, of_arena, shortages;
	int a, b;

	rig_make();
	of_cache = stats_of(cache).failures;
	of_arena = arenas_stats(ids).failures;
	shortages = arenas_stats(ids).failures_by[ARENA_FAILURE_SHORTAGE];
	a = start("test-objects", 0, 2);
	b = start("test-ids", 0, 2);
	CHECK(!take_object(MEM_ATOMIC) && !take_object(MEM_ERROR));
	CHECK(!take_id(MEM_ATOMIC) && !take_placed(MEM_ERROR));
	kmem_fail_stop(b);
	kmem_fail_stop(a);
	CHECK_EQ(stats_of(cache).failures, of_cache + 2);
	CHECK_EQ(arenas_stats(ids).failures, of_arena + 2);
	CHECK_EQ(arenas_stats(ids).failures_by[ARENA_FAILURE_SHORTAGE], shortages + 2);
	rig_end();
}

TEST("fail: by MEM_WAIT nothing fails, nor counts")
{
	int rules[4];

	rig_make();
	for (size_t i = 0; i < 4; i++)
		rules[i] = start(sources[2 * i].name, 0, 0);
	for (size_t i = 0; i < 8; i++) {
		void *at = sources[i].take == take_in_time ? NULL : sources[i].take(MEM_WAIT);

		CHECK(at || sources[i].take == take_in_time);
		if (at)
			sources[i].give(at);
	}
	CHECK_EQ(fails_stats(rules[0]).matched, 0);
	CHECK_EQ(fails_stats(rules[1]).matched, 0);
	for (size_t i = 0; i < 4; i++)
		kmem_fail_stop(rules[i]);
	rig_end();
}

/* Which of many */

#define DRAWS 4096

/* Which of so many fail; returns how many. */
static size_t draw(uint64_t seed, uint64_t one_in, bool failed[DRAWS])
{
	struct kmem_fail_rule rule = {.name = "test-objects", .one_in = one_in, .seed = seed};
	int number = kmem_fail_start(&rule);
	size_t n = 0;

	CHECK_LT(0, number);
	for (int i = 0; i < DRAWS; i++) {
		void *object = take_object(MEM_ATOMIC);

		failed[i] = !object;
		n += failed[i];
		if (object)
			give_object(object);
	}
	CHECK_EQ(fails_stats(number).failed, n);
	kmem_fail_stop(number);
	return n;
}

/* Of DRAWS a share p fails, give or take four standard deviations, sqrt(DRAWS p (1 - p)). */
static void check_near(size_t n, size_t wanted, size_t deviation)
{
	CHECK_LE(wanted - 4 * deviation, n);
	CHECK_LE(n, wanted + 4 * deviation);
}

TEST("fail: one in n fails, the same ones for a seed, others for another")
{
	static bool a[DRAWS], b[DRAWS];
	size_t n = 0;

	rig_make();
	check_near(draw(1, 8, a), 512, 21);
	draw(1, 8, b);
	CHECK(memcmp(a, b, sizeof(a)) == 0);
	check_near(draw(2, 8, b), 512, 21);
	CHECK(memcmp(a, b, sizeof(a)) != 0);
	check_near(draw(3, 2, a), 2048, 32);
	/* Of those right behind a failure as many fail. */
	for (int i = 1; i < DRAWS; i++)
		n += a[i - 1] && a[i];
	check_near(n, 1024, 32);
	rig_end();
}

TEST("fail: each rule counts by itself, and any fails an allocation")
{
	int a, b, all;

	rig_make();
	a = start("test-objects", 1, 1);
	b = start("test-objects", 3, 1);
	all = start("nothing of that name", 0, 0);
	for (int i = 0; i < 6; i++) {
		void *object = take_object(MEM_ATOMIC);

		CHECK_EQ(object == NULL, i == 1 || i == 3);
		if (object)
			give_object(object);
	}
	CHECK_EQ(fails_stats(a).matched, 6);
	CHECK_EQ(fails_stats(b).matched, 6);
	CHECK_EQ(fails_stats(b).failed, 1);
	CHECK_EQ(fails_stats(all).matched, 0);
	CHECK_EQ(kmem_fail_next(0), a);
	CHECK_EQ(kmem_fail_next(a), b);
	kmem_fail_stop(b);
	CHECK_EQ(kmem_fail_next(a), all);
	CHECK_EQ(kmem_fail_next(all), 0);
	kmem_fail_stop(a);
	kmem_fail_stop(all);
	rig_end();
}

static __attribute__((noinline)) void *take_here(void)
{
	void *object = take_object(MEM_ATOMIC);

	__asm__ volatile("");
	return object;
}

static __attribute__((noinline)) void *take_there(void)
{
	void *at = take_here();

	__asm__ volatile("");
	return at;
}

TEST("fail: a site is a function that allocates, or calls what does")
{
	struct kmem_fail_rule here = fails_beneath(take_here), there = fails_beneath(take_there);
	void *object;
	int a;

	rig_make();
	there.name = "test-objects";
	a = kmem_fail_start(&there);
	object = take_here();
	CHECK(object && !take_there());
	give_object(object);
	CHECK_EQ(fails_stats(a).matched, 1);
	kmem_fail_stop(a);
	here.name = "test-objects";
	a = kmem_fail_start(&here);
	object = take_object(MEM_ATOMIC);
	CHECK(object && !take_here() && !take_there());
	give_object(object);
	CHECK_EQ(fails_stats(a).matched, 2);
	kmem_fail_stop(a);
	rig_end();
}

/* kmalloc, bulk, constructors */

static __attribute__((noinline)) void *take_bytes(size_t size, unsigned flags)
{
	void *p = kmalloc(size, flags);

	__asm__ volatile("");
	return p;
}

/* Of 5 pages, of a slab's class: pages are another way. */
TEST("fail: a large kmalloc fails with its pages, one of a class takes pages")
{
	struct kmem_fail_rule pages = fails_beneath(take_bytes), class = pages;
	size_t large = KMALLOC_CACHED_MAX + 3 * PAGE, even = 2 * KMALLOC_CACHED_MAX;
	int a, b;
	void *p;

	pages.name = "kpages";
	class.name = "kmalloc-20480";
	a = kmem_fail_start(&pages);
	for (size_t f = 0; f < ARRAY_SIZE(failing_flags); f++)
		CHECK(!take_bytes(large, failing_flags[f]) && !take_bytes(even, failing_flags[f]));
	p = take_bytes(large, MEM_WAIT);
	CHECK(p);
	kfree(p);
	kmem_fail_stop(a);
	b = kmem_fail_start(&class);
	p = take_bytes(5 * PAGE, MEM_ATOMIC);
	CHECK(p && fails_stats(b).failed == 1);
	kfree(p);
	a = kmem_fail_start(&pages);
	for (size_t f = 0; f < ARRAY_SIZE(failing_flags); f++)
		CHECK(!take_bytes(5 * PAGE, failing_flags[f]));
	kmem_fail_stop(b);
	kmem_fail_stop(a);
}

static void *grow_here(void *p, size_t size)
{
	return krealloc(p, size, MEM_ERROR);
}

TEST("fail: krealloc that fails leaves what there was, and never fails for less")
{
	char *p = kmalloc(2 * KMALLOC_CACHED_MAX, MEM_WAIT), *small = kmalloc(60, MEM_WAIT);
	int a, b;

	CHECK(p && small);
	memset(p, 7, 2 * KMALLOC_CACHED_MAX);
	memset(small, 7, 60);
	a = start("kpages", 0, 0);
	b = start("kmalloc-128", 0, 0);
	CHECK(!grow_here(p, 40 * KMALLOC_CACHED_MAX));
	CHECK(!grow_here(small, 120));
	CHECK(grow_here(small, 20) == small);
	p = grow_here(p, KMALLOC_CACHED_MAX + PAGE);
	kmem_fail_stop(b);
	kmem_fail_stop(a);
	CHECK(p && p[0] == 7 && p[KMALLOC_CACHED_MAX] == 7 && small[19] == 7);
	kfree(small);
	kfree(p);
}

TEST("fail: a bulk call has those before the one that fails")
{
	void *objects[40];
	int a;

	rig_make();
	for (size_t f = 0; f < ARRAY_SIZE(failing_flags); f++) {
		a = start("test-objects", 5, 1);
		CHECK_EQ(kmem_cache_alloc_bulk(cache, objects, 40, failing_flags[f]), 5);
		kmem_cache_free_bulk(cache, objects, 5);
		CHECK_EQ(fails_stats(a).matched, 6);
		CHECK_EQ(kmem_cache_alloc_bulk(cache, objects, 40, failing_flags[f]), 40);
		kmem_cache_free_bulk(cache, objects, 40);
		kmem_fail_stop(a);
	}
	a = start("test-objects", 0, 0);
	CHECK_EQ(kmem_cache_alloc_bulk(cache, objects, 40, MEM_ATOMIC), 0);
	CHECK_EQ(kmem_cache_alloc_bulk(cache, objects, 40, MEM_WAIT), 40);
	kmem_cache_free_bulk(cache, objects, 40);
	kmem_fail_stop(a);
	rig_end();
}

/* Each has another object, as its constructor gets it. */
static int has_other(void *object, void *priv, unsigned flags)
{
	*(void **)object = kmem_cache_alloc(priv, flags);
	return *(void **)object ? 0 : -ENOMEM;
}

static void frees_other(void *object, void *priv)
{
	kmem_cache_free(priv, *(void **)object);
}

static __attribute__((noinline)) void check_readied(struct kmem_cache *readied)
{
	uint64_t failures = stats_of(readied).ctor_failures;
	void *object;

	for (size_t f = 0; f < ARRAY_SIZE(failing_flags); f++)
		CHECK(!kmem_cache_alloc(readied, failing_flags[f]));
	CHECK_EQ(stats_of(readied).ctor_failures, failures + 2);
	object = kmem_cache_alloc(readied, MEM_WAIT);
	CHECK(object);
	kmem_cache_free(readied, object);
}

TEST("fail: an object whose constructor's allocation fails is lost to nobody")
{
	struct kmem_cache *other = cache_make("test-others", NULL), *readied;
	int a;

	readied = kmem_cache_create("test-readied", 64, 0, 0, NULL, has_other, frees_other, other);
	CHECK(readied);
	a = start("test-others", 0, 0);
	check_readied(readied);
	kmem_fail_stop(a);
	cache_end(readied);
	CHECK_EQ(stats_of(other).live, 0);
	cache_end(other);
}

/* Beneath */

TEST("fail: an import that fails is the importer's failure, and a slab's the cache's")
{
	struct arena *root = arenas_root(PAGE, 64), *middle, *top;
	uint64_t of_top, tags;
	int a;
	void *at;

	middle = arena_create("test-middle", NULL, 0, PAGE, arena_alloc, arena_free, root, 0, MEM_WAIT);
	top = arena_create("test-top", NULL, 0, 64, arena_alloc, arena_free, middle, 0, MEM_WAIT);
	CHECK(root && middle && top);
	of_top = arenas_stats(top).failures;
	a = start("test-middle", 0, 0);
	for (size_t f = 0; f < ARRAY_SIZE(failing_flags); f++) {
		CHECK(!arena_alloc(top, 64, failing_flags[f]));
		/* That is passed down. */
		CHECK(!arena_xalloc(top, 64, 2 * PAGE, 0, 0, 0, 0, failing_flags[f]));
	}
	CHECK_EQ(arenas_stats(top).failures, of_top + 4);
	CHECK_EQ(fails_stats(a).failed, 4);
	/* The tags that each set aside are there for the next. */
	tags = arenas_stats(top).tags_spare;
	for (int i = 0; i < 100; i++)
		CHECK(!arena_alloc(top, 64, MEM_ATOMIC));
	CHECK_LE(arenas_stats(top).tags_spare, tags + 16);
	CHECK_EQ(arenas_stats(root).used, 0);
	at = arena_alloc(top, 64, MEM_WAIT);
	CHECK(at);
	kmem_fail_stop(a);
	arena_free(top, at, 64);
	arenas_end(top);
	arenas_end(middle);
	arenas_end(root);
}

TEST("fail: where something fails beneath MEM_WAIT, it sleeps and is served")
{
	struct arena *source = arena_create(
		"test-source", NULL, 0, PAGE, arena_alloc, arena_free, base_arena, 0, MEM_WAIT);
	struct kmem_cache *c = cache_make("test-slabs", source);
	uint64_t sleeps = arenas_stats(source).sleeps;
	int a = start("test-source", 0, 0);
	void *object;

	CHECK(!kmem_cache_alloc(c, MEM_ATOMIC) && !kmem_cache_alloc(c, MEM_ERROR));
	CHECK_EQ(kmem_cache_reserve(c, 10, MEM_ERROR), -ENOMEM);
	CHECK_EQ(arenas_stats(source).sleeps, sleeps);
	object = kmem_cache_alloc(c, MEM_WAIT);
	CHECK(object);
	CHECK_EQ(arenas_stats(source).sleeps, sleeps + 1);
	kmem_fail_stop(a);
	kmem_cache_free(c, object);
	cache_end(c);
	arenas_end(source);
}

TEST("fail: boundary tags fail by the name of the base that they are of")
{
	struct arena *base = arenas_base(40), *a;
	struct arena_stats before;
	void *at[64];
	size_t n = 0;
	int rule;

	a = arenas_importer("test-tagged", base, 64);
	at[n++] = arena_alloc(a, PAGE, MEM_WAIT);
	arena_free(a, at[--n], PAGE);
	rule = start("little", 0, 0);
	before = arenas_stats(a);
	while (n < 64 && (at[n] = arena_alloc(a, 64, MEM_ATOMIC)))
		n++;
	CHECK_LT(n, 64);
	CHECK_LT(before.failures_by[ARENA_FAILURE_TAGS], arenas_stats(a).failures_by[ARENA_FAILURE_TAGS]);
	kmem_fail_stop(rule);
	while (n > 0)
		arena_free(a, at[--n], 64);
	arenas_end(a);
	arenas_base_end(base, 40);
}

TEST("fail: while there are rules, a request that none is about sleeps as ever")
{
	struct arena *a = arenas_ids(1, 16), *keeps = arenas_importer("keeps", a, 1);
	int rule = start("nothing of that name", 0, 0);
	void *p;

	arena_free(keeps, arena_alloc(keeps, 16, MEM_ATOMIC), 16);
	CHECK_EQ(arenas_stats(keeps).retained, 16);
	p = arena_alloc(a, 16, MEM_ERROR);
	kmem_fail_stop(rule);
	CHECK(p);
	CHECK_EQ(arenas_stats(a).sleeps, 1);
	arena_free(a, p, 16);
	arenas_end(keeps);
	arenas_end(a);
}

#define MANY 2000 /* more segments than nodes for an index are idle */

TEST("fail: an index for which there is no memory isn't there, and can be had later")
{
	struct arena *a = arenas_full(2 * MANY);
	bool stands;
	int rule;

	for (uintptr_t id = 1; id <= 2 * MANY; id += 2)
		arena_free(a, (void *)id, 1);
	rule = start("base", 0, 0);
	stands = arena_index(a);
	kmem_fail_stop(rule);
	CHECK(!stands);
	CHECK_EQ(arenas_stats(a).index_bytes, 0);
	CHECK(arena_index(a));
	CHECK_LT(0, arenas_stats(a).index_bytes);
	for (uintptr_t id = 2; id <= 2 * MANY; id += 2)
		arena_free(a, (void *)id, 1);
	arenas_end(a);
}

TEST("fail: a rule that another one denies its page is none, and that one stands")
{
	struct kmem_fail_rule second = {.name = "nothing of that name"};
	int first = start("base", 0, 0), refused = kmem_fail_start(&second), next = kmem_fail_next(first);
	struct kmem_fail_stats stats = {.failed = 0};

	kmem_fail_get_stats(first, &stats);
	kmem_fail_stop(first);
	CHECK_EQ(refused, -ENOMEM);
	CHECK_EQ(next, 0);
	CHECK_LE(1, stats.failed);
}

/* What is closed */

TEST("fail: what a rule names has no magazines, until the rule ends")
{
	struct kmem_cache *other, *late;
	uint64_t misses;
	int a;

	if (!modes_leave_fronts())
		return;
	rig_make();
	other = cache_make("test-others", NULL);
	give_object(take_object(MEM_WAIT));
	CHECK_LT(0, stats_of(cache).core_rounds);
	a = start("test-objects", UINT64_MAX, 0);
	late = cache_make("test-objects", NULL);
	CHECK(stats_of(cache).is_failing && stats_of(cache).is_closed && stats_of(late).is_closed);
	CHECK_EQ(stats_of(cache).core_rounds, 0);
	CHECK(!stats_of(other).is_failing && !stats_of(other).is_closed);
	kmem_fail_stop(a);
	CHECK(!stats_of(cache).is_failing && !stats_of(cache).is_closed && !stats_of(late).is_closed);
	give_object(take_object(MEM_WAIT));
	misses = stats_of(cache).alloc_misses;
	for (int i = 0; i < 10; i++)
		give_object(take_object(MEM_WAIT));
	/* Another core may have to begin, where the thread changes cores. */
	CHECK_LT(stats_of(cache).alloc_misses, misses + 10);
	cache_end(late);
	cache_end(other);
	rig_end();
}

/* All at once */

#define ROUNDS 80

static bool churning;

/* Takes and gives by the flags that may fail, and by the one that may not. */
static void churn_beside(unsigned i, void *arg)
{
	while (__atomic_load_n(&churning, __ATOMIC_RELAXED) && !test_has_failed()) {
		void *id = arena_alloc(fronted, 2, MEM_ERROR);

		if (id)
			arena_free(fronted, id, 2);
		kfree(kmalloc(1 + test_random_below(3 * KMALLOC_CACHED_MAX), MEM_ERROR));
		id = kmem_cache_alloc(cache, MEM_ATOMIC);
		if (id)
			kmem_cache_free(cache, id);
		id = kmem_cache_alloc(cache, MEM_WAIT);
		CHECK(id);
		kmem_cache_free(cache, id);
		kthread_yield();
	}
}

static void start_and_stop(size_t rounds)
{
	static const char *const names[] = {"test-objects", "test-fronted", "kpages", "kmalloc-64", "test-fronted-2"};

	for (size_t i = 0; i < rounds && !test_has_failed(); i++) {
		struct kmem_fail_rule rule = {
			.name = names[test_random_below(ARRAY_SIZE(names))],
			.one_in = 1 + test_random_below(4),
			.seed = test_random(),
		};
		struct kmem_fail_rule site = fails_beneath(churn_beside);
		int a, b;

		/* Once all are closed: that takes a call on each core for each cache. */
		site.name = i == 0 ? NULL : names[test_random_below(ARRAY_SIZE(names))];
		a = kmem_fail_start(&rule);
		b = kmem_fail_start(&site);
		CHECK(a > 0 && b > a);
		kthread_usleep(100);
		CHECK_LE(fails_stats(b).failed, fails_stats(b).matched);
		kmem_fail_stop(i % 2 ? a : b);
		kmem_fail_stop(i % 2 ? b : a);
	}
}

TEST("fail: rules come and go beside allocations on all cores, and nothing is lost")
{
	struct threads *threads;

	rig_make();
	__atomic_store_n(&churning, true, __ATOMIC_RELAXED);
	threads = threads_start(THREADS_PINNED, port_core_count(), churn_beside, NULL);
	start_and_stop(test_ops(ROUNDS));
	__atomic_store_n(&churning, false, __ATOMIC_RELAXED);
	threads_join(threads);
	rig_end();
}

/* Misuse */

static __attribute__((noinline)) void stop_none(void)
{
	kmem_fail_stop(0);
}

TEST("fail: a site without addresses, a name too long, a rule that isn't, are named")
{
	struct kmem_fail_rule site = {.from = 9, .to = 9};
	struct kmem_fail_stats stats;
	int a = start("nothing of that name", 0, 0);

	CHECK_PANICS(kmem_fail_start(&site), "kmem_fail_start: the site [0x9, 0x9) has no address");
	site.to = 8;
	CHECK_PANICS(kmem_fail_start(&site), "kmem_fail_start: the site [0x9, 0x8) has no address");
	CHECK_PANICS(start("a name that has more bytes than any", 0, 0), "is too long (called from");
	CHECK_PANICS(stop_none(), "kmem_fail_stop: no rule has number 0 (called from stop_none");
	kmem_fail_stop(a);
	CHECK(!kmem_fail_get_stats(a, &stats));
	CHECK_PANICS(kmem_fail_stop(a), "kmem_fail_stop: no rule has number");
}
