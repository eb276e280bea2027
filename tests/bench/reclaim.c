/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The cost of pokes, of giving back, and of serving a request that sleeps; and how much of memory comes
 * home when everything was freed.
 */
#include "reclaim.h"

#include "kthread.h"
#include "lib/bench.h"
#include "lib/panic.h"
#include "slab.h"
#include "sync.h"
#include "vmap.h"

#define POKES 10000
#define WAKES 100
#define SERVES 1000
#define PAGES 2048
#define CACHES 64 /* of which one core has objects in its magazines */

static void *objects[PAGES];

static struct kmem_cache *make(const char *name)
{
	struct kmem_cache *c =
		kmem_cache_create(name, PORT_PAGE_SIZE / 2, 0, 0, NULL, NULL, NULL, NULL);

	if (!c)
		panic("bench: no memory for a cache");
	return c;
}

/* Pokes */

static uint64_t poke_many(unsigned n)
{
	uint64_t start = port_ticks();

	for (unsigned i = 0; i < n; i++)
		reclaim_poke();
	return port_ticks() - start;
}

/* The reclaim ktask runs when this one yields, and sleeps again. */
static void let_it_run(void)
{
	for (int i = 0; i < 8; i++)
		kthread_yield();
}

BENCH("reclaim_poke")
{
	uint64_t first = 0;

	let_it_run();
	for (unsigned i = 0; i < WAKES; i++) {
		first += poke_many(1);
		let_it_run();
	}
	reclaim_poke();
	bench_row("reclaim_poke", 1, bench_per(poke_many(POKES), POKES), "instr");
	bench_row("reclaim_poke_first", 1, bench_per(first, WAKES), "instr");
	let_it_run();
}

/* Giving back: pages that a level finds */

static void take_objects(struct kmem_cache *c)
{
	for (unsigned i = 0; i < PAGES; i++)
		objects[i] = kmem_cache_alloc(c, MEM_ATOMIC);
}

static void give_objects(struct kmem_cache *c)
{
	for (unsigned i = 0; i < PAGES; i++)
		kmem_cache_free(c, objects[i]);
}

/* An owner that keeps objects it can do without. */
static size_t give_all(void *cache, size_t bytes)
{
	static bool has_given;

	if (has_given)
		return 0;
	has_given = true;
	give_objects(cache);
	return PAGES * PORT_PAGE_SIZE / 2;
}

static size_t run_and_count(unsigned level, uint64_t *ticks)
{
	size_t before = arena_amt_free(base_arena), after;
	uint64_t start = port_ticks();

	reclaim_run(level);
	*ticks = port_ticks() - start;
	after = arena_amt_free(base_arena);
	return after > before ? (after - before) / PORT_PAGE_SIZE : 0;
}

static void row(unsigned level, uint64_t ticks, size_t pages)
{
	bench_row("reclaim_page", level, bench_per(ticks, pages ? pages : 1), "instr");
}

static void level_one(void)
{
	struct kmem_cache *c = make("owned");
	uint64_t ticks;

	take_objects(c);
	kmem_cache_set_reclaim(c, give_all, c);
	run_and_count(1, &ticks);
	row(1, ticks, PAGES / 2);
	kmem_cache_destroy(c);
}

static void level_two(void)
{
	struct kmem_cache *c = make("idle");
	uint64_t ticks;
	size_t pages;

	take_objects(c);
	give_objects(c);
	pages = run_and_count(2, &ticks);
	row(2, ticks, pages);
	kmem_cache_destroy(c);
}

/* The most that asking one arena or cache has taken in the last pass. */
static uint64_t step_max(void)
{
	static struct reclaim_node rows[512];
	size_t n = reclaim_nodes(rows, 512);
	uint64_t most = 0;

	for (size_t i = 0; i < n && i < 512; i++)
		if (rows[i].last_instr > most)
			most = rows[i].last_instr;
	return most;
}

static void level_three(void)
{
	struct kmem_cache *caches[CACHES];
	uint64_t ticks;
	size_t pages;

	for (unsigned i = 0; i < CACHES; i++) {
		caches[i] = make("loaded");
		kmem_cache_free(caches[i], kmem_cache_alloc(caches[i], MEM_ATOMIC));
	}
	reclaim_run(2);
	pages = run_and_count(3, &ticks);
	row(3, ticks, pages);
	for (unsigned i = 0; i < CACHES; i++)
		kmem_cache_destroy(caches[i]);
}

BENCH("reclaim_page")
{
	reclaim_run(3);
	level_one();
	level_two();
	level_three();
	reclaim_run(3);
	bench_row("reclaim_step_max", 1, step_max(), "instr");
}

/* Serving */

struct served {
	struct arena *arena;
	void *id;
	uint64_t at; /* port_ticks() when it runs with its ID */
	bool ended;
};

static void sleep_for_id(void *arg)
{
	struct served *s = arg;

	for (unsigned i = 0; i <= SERVES; i++) {
		s->id = arena_alloc(s->arena, 1, MEM_WAIT);
		s->at = port_ticks();
		while (s->id)
			kthread_yield();
	}
	s->ended = true;
}

static void await_sleeper(const struct served *s)
{
	struct arena_stats stats;

	do {
		kthread_yield();
		arena_get_stats(s->arena, &stats);
	} while (stats.waiting == 0);
	/* The reclaim ktask has looked, too, and sleeps. */
	for (int i = 0; i < 4; i++)
		let_it_run();
}

/* From the free to the sleeper, that runs with what it wanted. */
BENCH("wait_served")
{
	struct arena *a = arena_create("served", (void *)1, 1, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	void *id = arena_alloc(a, 1, MEM_WAIT);
	struct served s = {.arena = a};
	struct ktask *t = ktask("sleeper", sleep_for_id, &s);
	uint64_t sum = 0;

	for (unsigned i = 0; i <= SERVES; i++) {
		uint64_t start;

		await_sleeper(&s);
		start = port_ticks();
		arena_free(a, id, 1);
		while (!s.id)
			kthread_yield();
		if (i > 0) /* the first makes the arena short */
			sum += s.at - start;
		id = s.id;
		s.id = NULL;
	}
	bench_row("wait_served", 1, bench_per(sum, SERVES), "instr");
	ktask_join(t);
	arena_free(a, id, 1);
	arena_destroy(a);
}

/* A request for more than there is, asleep: what others pay */

static uint64_t batches(void)
{
	uint64_t start = port_ticks();

	for (int round = 0; round < 16; round++) {
		for (unsigned i = 0; i < PAGES; i++)
			objects[i] = arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_WAIT);
		for (unsigned i = 0; i < PAGES; i++)
			arena_free(kpages_arena, objects[i], PORT_PAGE_SIZE);
	}
	return port_ticks() - start;
}

static void want_too_much(void *deadline)
{
	arena_alloc_timeout(
		kpages_arena, 2 * arena_amt_total(base_arena), MEM_ERROR, *(uint64_t *)deadline);
}

BENCH("parked_permille")
{
	uint64_t deadline, without, with;
	struct reclaim_stats s;
	struct ktask *t;

	reclaim_run(3);
	batches();
	without = batches();
	deadline = port_ns() + 2000000000;
	t = ktask("too much", want_too_much, &deadline);
	do {
		kthread_yield();
		reclaim_get_stats(&s);
	} while (s.parked == 0);
	/* What it made short is so for a moment longer. */
	kthread_usleep(100000);
	batches();
	with = batches();
	bench_row("parked_permille", 1, with * 1000 / without, "permille");
	ktask_join(t);
}

/* Home */

#define MANY 1000000
#define MANY_CACHES 1000
#define MAPPED 4096

static void **table_make(void)
{
	void **table = vmalloc(MANY * sizeof(*table), MEM_WAIT);

	return table;
}

static void many_segments(void **table)
{
	struct arena *a = arena_create(
		"many", (void *)PORT_PAGE_SIZE, (size_t)MANY * 2, 1, NULL, NULL, NULL, 0, MEM_WAIT);

	for (unsigned i = 0; i < MANY; i++)
		table[i] = arena_alloc(a, 1, MEM_WAIT);
	for (unsigned i = 0; i < MANY; i++)
		arena_free(a, table[i], 1);
	arena_destroy(a);
}

static void many_objects(void **table)
{
	struct kmem_cache *c = kmem_cache_create("many", 64, 0, 0, NULL, NULL, NULL, NULL);

	for (unsigned i = 0; i < MANY; i++)
		table[i] = kmem_cache_alloc(c, MEM_WAIT);
	for (unsigned i = 0; i < MANY; i++)
		kmem_cache_free(c, table[i]);
	kmem_cache_destroy(c);
}

static void many_caches(void **table)
{
	for (unsigned i = 0; i < MANY_CACHES; i++) {
		table[i] = kmem_cache_create("many", 64 + i, 0, 0, NULL, NULL, NULL, NULL);
		kmem_cache_free(table[i], kmem_cache_alloc(table[i], MEM_WAIT));
	}
	for (unsigned i = 0; i < MANY_CACHES; i++)
		kmem_cache_destroy(table[i]);
}

static void many_mappings(void **table)
{
	static void *pages[8];

	for (unsigned i = 0; i < 8; i++)
		pages[i] = arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_WAIT);
	for (unsigned i = 0; i < MAPPED; i++)
		table[i] = vmap(pages, 8, MEM_WAIT);
	for (unsigned i = 0; i < MAPPED; i++)
		vunmap(table[i], 8);
	for (unsigned i = 0; i < 8; i++)
		arena_free(kpages_arena, pages[i], PORT_PAGE_SIZE);
}

BENCH("home_permille")
{
	size_t before, after;
	void **table;

	reclaim_run(3);
	before = arena_amt_free(base_arena);
	table = table_make();
	many_segments(table);
	many_objects(table);
	many_caches(table);
	many_mappings(table);
	vfree(table, MANY * sizeof(*table));
	reclaim_run(3);
	after = arena_amt_free(base_arena);
	bench_row("home_permille", 1, after * 1000 / before, "permille");
	bench_row("home_short", 1, before > after ? (before - after) / PORT_PAGE_SIZE : 0, "count");
}
