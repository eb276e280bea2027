/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Allocations that sleep, through fronts and caches.
 */
#include "arena.h"
#include "kthread.h"
#include "port.h"
#include "slab.h"
#include "lib/test.h"
#include "threads.h"

#define PAGE PORT_PAGE_SIZE
#define PATIENCE 2000000000ull /* nanoseconds until a wake-up counts as lost */

/* Integers, handed out through quantum caches of 1 and 2. */
static struct arena *fronted(const char *name, size_t n, struct arena *source)
{
	return source ? arena_create(name, NULL, 0, 1, arena_alloc, arena_free, source, 2, MEM_WAIT) :
			arena_create(name, (void *)1, n, 1, NULL, NULL, NULL, 2, MEM_WAIT);
}

#define ALL_MAX 512

struct all {
	struct kmem_cache *cache;
	void *each[ALL_MAX];
	size_t n;
};

static void take_all(struct all *all, struct arena *a)
{
	void *p;

	for (all->n = 0; (p = arena_alloc(a, 1, MEM_ATOMIC)); all->n++)
		all->each[all->n] = p;
}

static void give_all(struct all *all, struct arena *a)
{
	while (all->n > 0)
		arena_free(a, all->each[--all->n], 1);
}

struct sleeper {
	struct arena *arena;
	struct kmem_cache *cache;
	void *got;
	bool done;
};

static void sleeper_run(void *arg)
{
	struct sleeper *s = arg;

	s->got = s->cache ? kmem_cache_alloc(s->cache, MEM_WAIT) : arena_alloc(s->arena, 1, MEM_WAIT);
	__atomic_store_n(&s->done, true, __ATOMIC_RELEASE);
}

static bool is_served(struct sleeper *s)
{
	uint64_t end = port_ns() + PATIENCE;

	while (!__atomic_load_n(&s->done, __ATOMIC_ACQUIRE) && port_ns() < end)
		kthread_usleep(100);
	return __atomic_load_n(&s->done, __ATOMIC_ACQUIRE);
}

TEST("wait: what goes back to a front's slab serves who waits for as much")
{
	static struct all all;
	struct arena *a = fronted("fronted", 200, NULL);
	struct sleeper s = {.arena = a};
	struct ktask *t;
	bool served;

	take_all(&all, a);
	CHECK_EQ(all.n, 200);
	t = ktask("sleeper", sleeper_run, &s);
	threads_await_waiting(a, 1);
	arena_free(a, all.each[0], 1);
	all.each[0] = all.each[--all.n];
	served = is_served(&s);
	give_all(&all, a);
	ktask_join(t);
	arena_free(a, s.got, 1);
	CHECK_EQ(arena_destroy(a), 0);
	CHECK(served);
}

TEST("wait: what goes back to a front's slab serves who waits in an importer")
{
	static struct all all;
	struct arena *a = fronted("fronted", 200, NULL), *b = fronted("above", 0, a);
	struct sleeper s = {.arena = b};
	struct ktask *t;
	bool served;

	take_all(&all, a);
	t = ktask("sleeper", sleeper_run, &s);
	threads_await_waiting(b, 1);
	arena_free(a, all.each[0], 1);
	all.each[0] = all.each[--all.n];
	served = is_served(&s);
	give_all(&all, a);
	ktask_join(t);
	arena_free(b, s.got, 1);
	CHECK_EQ(arena_destroy(b), 0);
	CHECK_EQ(arena_destroy(a), 0);
	CHECK(served);
}

TEST("wait: a freed object serves who waits for one of its cache")
{
	struct arena *a = arena_create("ids", (void *)1, 64, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	struct kmem_cache *c = kmem_cache_create("ids", 1, 0, 0, a, NULL, NULL, NULL);
	struct sleeper s = {.cache = c};
	static struct all all;
	struct ktask *t;
	bool served;
	void *p;

	for (all.n = 0; (p = kmem_cache_alloc(c, MEM_ATOMIC)); all.n++)
		all.each[all.n] = p;
	CHECK_EQ(all.n, 64);
	t = ktask("sleeper", sleeper_run, &s);
	threads_await_waiting(a, 1);
	kmem_cache_free(c, all.each[--all.n]);
	served = is_served(&s);
	while (all.n > 0)
		kmem_cache_free(c, all.each[--all.n]);
	if (!served) {
		kmem_cache_reap(c, KMEM_REAP_ALL);
		kthread_usleep(100000);
	}
	ktask_join(t);
	kmem_cache_free(c, s.got);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	CHECK_EQ(arena_destroy(a), 0);
	CHECK(served);
}

TEST("wait: spans that the arena retains itself don't keep a larger request asleep")
{
	struct arena *a = arena_create("ids", (void *)16, 16, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	struct arena *b = arena_create("b", NULL, 0, 1, arena_alloc, arena_free, a, 0, MEM_WAIT);
	void *p = arena_alloc(b, 8, MEM_ATOMIC), *q = arena_alloc(b, 8, MEM_ATOMIC);

	arena_free(b, p, 8);
	arena_free(b, q, 8);
	p = arena_alloc_timeout(b, 16, MEM_ERROR, port_ns() + PATIENCE / 10);
	CHECK_NE((uintptr_t)p, 0);
	arena_free(b, p, 16);
	CHECK_EQ(arena_destroy(b), 0);
	CHECK_EQ(arena_destroy(a), 0);
}

#define LITTLE_PAGES 64
#define PIECE 64

/* All of an arena, piece by piece, in a chain through the pieces. */
static void **take_pieces(struct arena *a, size_t size)
{
	void **head = NULL, **p;

	while ((p = arena_alloc(a, size, MEM_ATOMIC))) {
		*p = head;
		head = p;
	}
	return head;
}

static void give_pieces(struct arena *a, void **head, size_t size)
{
	for (void **next; head; head = next) {
		next = *head;
		arena_free(a, head, size);
	}
}

static void piece_run(void *arg)
{
	struct sleeper *s = arg;

	s->got = arena_alloc(s->arena, PIECE, MEM_WAIT);
	__atomic_store_n(&s->done, true, __ATOMIC_RELEASE);
}

/* The importer has room, but every page of its base arena is taken, so there is no tag to cut with. */
TEST("wait: who is short of nothing but a boundary tag is served when a page of the base comes free")
{
	void *memory = base_alloc(NULL, LITTLE_PAGES * PAGE, MEM_WAIT);
	struct arena *base = arena_create_base("little", memory, LITTLE_PAGES * PAGE);
	struct arena *a = arena_create("pieces", NULL, 0, PIECE, arena_alloc, arena_free, base, 0, MEM_WAIT);
	void **pages, **pieces, *p = arena_alloc(a, 16 * PAGE, MEM_ATOMIC);
	struct sleeper s = {.arena = a};
	struct ktask *t;
	size_t before;
	bool served;

	/* The span stays. */
	arena_free(a, p, 16 * PAGE);
	pages = take_pieces(base, PAGE);
	pieces = take_pieces(a, PIECE);
	before = arena_amt_free(a);
	CHECK_LE(4 * PIECE, before);
	t = ktask("sleeper", piece_run, &s);
	threads_await_waiting(a, 1);
	p = pages;
	pages = *pages;
	arena_free(base, p, PAGE);
	served = is_served(&s);
	give_pieces(base, pages, PAGE);
	ktask_join(t);
	CHECK_EQ(arena_amt_free(a), before - PIECE);
	arena_free(a, s.got, PIECE);
	give_pieces(a, pieces, PIECE);
	CHECK_EQ(arena_destroy(a), 0);
	CHECK_EQ(arena_destroy(base), 0);
	base_free(NULL, memory, LITTLE_PAGES * PAGE);
	CHECK(served);
}

#define UNITS 4096

static size_t slab_size(struct kmem_cache *c)
{
	struct kmem_cache_stats s;

	kmem_cache_get_stats(c, &s);
	return s.slab_size;
}

struct elsewhere {
	struct arena *arena;
	void *got;
};

/* Wants unit 1 and no other. */
static void elsewhere_run(void *arg)
{
	struct elsewhere *e = arg;

	e->got = arena_xalloc(e->arena, 1, 0, 0, 0, 1, 2, MEM_WAIT);
}

/* What is freed meets a waiter who is up and wants something else; and then an atomic request makes
 * a slab of it. */
static void grow_for_another(unsigned core, void *arg)
{
	struct arena *a = arena_create("ids", (void *)1, UNITS, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	struct kmem_cache *c = kmem_cache_create("ids", 1, 0, 0, a, NULL, NULL, NULL);
	size_t slab = slab_size(c);
	void *first = arena_alloc(a, 1, MEM_ATOMIC), *second = arena_alloc(a, 1, MEM_ATOMIC);
	void *room = arena_alloc(a, slab, MEM_ATOMIC), *object;
	void *rest = arena_alloc(a, UNITS - 2 - slab, MEM_ATOMIC);
	struct elsewhere other = {.arena = a};
	struct sleeper s = {.cache = c};
	struct ktask *task[2];
	bool served;

	task[0] = ktask_pinned("elsewhere", elsewhere_run, &other, core);
	threads_await_waiting(a, 1);
	task[1] = ktask_pinned("sleeper", sleeper_run, &s, core);
	threads_await_waiting(a, 2);
	arena_free(a, second, 1);
	arena_free(a, room, slab);
	object = kmem_cache_alloc(c, MEM_ATOMIC);
	CHECK_NE((uintptr_t)object, 0);
	served = is_served(&s);
	kmem_cache_free(c, object);
	ktask_join(task[1]);
	kmem_cache_free(c, s.got);
	arena_free(a, first, 1);
	ktask_join(task[0]);
	arena_xfree(a, other.got, 1);
	arena_free(a, rest, UNITS - 2 - slab);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	CHECK_EQ(arena_destroy(a), 0);
	CHECK(served);
}

TEST("wait: objects that another's request for one has made serve who waits for them")
{
	threads_run(THREADS_PINNED, 1, grow_for_another, NULL);
}

/* A cache whose objects' end may take a while, and memory. */

static struct arena *used_up;

static int begin(void *object, void *priv, unsigned flags)
{
	return 0;
}

static void finish(void *object, void *priv)
{
	arena_alloc_timeout(used_up, 1, MEM_ERROR, port_ns() + 1000000);
}

static struct all all_ids;

/* The last core lays up a few, which the first one, who has none, waits for. */
static void lay_up(unsigned core, void *arg)
{
	struct all *all = &all_ids;

	if (core == port_core_count() - 1)
		for (int i = 0; i < 4; i++)
			kmem_cache_free(all->cache, all->each[--all->n]);
}

static void want(unsigned core, void *arg)
{
	kmem_cache_free(all_ids.cache, kmem_cache_alloc(all_ids.cache, MEM_WAIT));
}

TEST("wait: destructors of what other cores have laid up may wait for memory themselves")
{
	struct arena *a = arena_create("ids", (void *)1, 64, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	struct all *all = &all_ids;
	void *p;

	used_up = arena_create("used up", (void *)1, 1, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	arena_alloc(used_up, 1, MEM_ATOMIC);
	all->cache = kmem_cache_create("ids", 1, 0, KMC_NOTOUCH, a, begin, finish, NULL);
	for (all->n = 0; (p = kmem_cache_alloc(all->cache, MEM_ATOMIC)); all->n++)
		all->each[all->n] = p;
	threads_run(THREADS_PINNED, port_core_count(), lay_up, NULL);
	threads_run(THREADS_PINNED, 1, want, NULL);
	while (all->n > 0)
		kmem_cache_free(all->cache, all->each[--all->n]);
	CHECK_EQ(kmem_cache_destroy(all->cache), 0);
	CHECK_EQ(arena_destroy(a), 0);
	arena_free(used_up, (void *)1, 1);
	CHECK_EQ(arena_destroy(used_up), 0);
}
