/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reclaim: pokes, watermarks, the last page, and arenas and caches that come and go meanwhile.
 */
#include "alarm.h"
#include "arenas.h"
#include "kthread.h"
#include "port.h"
#include "reclaim.h"
#include "shortage.h"
#include "slab.h"
#include "sleepers.h"
#include "sync.h"
#include "lib/list.h"
#include "lib/string.h"
#include "lib/test.h"
#include "modes.h"
#include "threads.h"

#define PAGE PORT_PAGE_SIZE
#define LARGEST ((size_t)1 << 40)

static struct reclaim_stats stats(void)
{
	struct reclaim_stats s;

	reclaim_get_stats(&s);
	return s;
}

static struct reclaim_root base_root(void)
{
	struct reclaim_root rows[64];
	size_t n = reclaim_roots(rows, 64);

	for (size_t i = 0; i < n && i < 64; i++)
		if (strcmp(rows[i].name, "base") == 0)
			return rows[i];
	CHECK(false);
	return rows[0];
}

/* Pokes */

struct bell {
	struct alarm alarm;
	struct semaphore done;
};

static void poke(struct alarm *a)
{
	reclaim_poke();
	sem_up(&container_of(a, struct bell, alarm)->done, 1);
}

TEST("reclaim: a poke from a timer's interrupt wakes the ktask")
{
	struct bell b = {.done = SEMAPHORE_INIT(b.done, 0)};

	alarm_init(&b.alarm, poke);
	/* Each one counts only if the ktask has taken the poke before it. */
	for (int i = 0; i < 20; i++) {
		uint64_t before = stats().pokes, end = port_ns() + THREADS_PATIENCE;

		do {
			alarm_set(&b.alarm, port_ns() + 100000);
			sem_down(&b.done, 1);
			/* The handler has returned then. */
			alarm_cancel(&b.alarm);
		} while (stats().pokes == before && port_ns() < end);
		CHECK_LT(before, stats().pokes);
	}
}

/* Watermarks */

#define IDLE_SIZE 4096

static void fill_idle(struct kmem_cache *c, struct piece **taken, size_t bytes)
{
	struct piece *objects = NULL;

	for (; bytes >= IDLE_SIZE; bytes -= IDLE_SIZE) {
		struct piece *p = kmem_cache_alloc(c, MEM_WAIT);

		p->next = objects;
		objects = p;
	}
	*taken = pieces_take_all(base_arena, LARGEST, PAGE, MEM_ATOMIC);
	for (struct piece *next; objects; objects = next) {
		next = objects->next;
		kmem_cache_free(c, objects);
	}
}

TEST("reclaim: low memory comes back from what is idle, without a hardest pass")
{
	struct reclaim_root root = base_root();
	struct kmem_cache *c = kmem_cache_create("idle", IDLE_SIZE, 0, 0, NULL, NULL, NULL, NULL);
	uint64_t sleeps = stats().sleeps, hardest = stats().passes[3], end;
	struct piece *taken;

	CHECK_LT(0, root.low);
	CHECK_EQ(root.high, 2 * root.low);
	fill_idle(c, &taken, 3 * root.high);
	reclaim_poke();
	for (end = port_ns() + THREADS_PATIENCE; base_root().free < root.low && port_ns() < end;)
		kthread_usleep(100);
	root = base_root();
	pieces_give(base_arena, taken, SIZE_MAX);
	CHECK_LE(root.low, root.free);
	CHECK_EQ(stats().sleeps, sleeps);
	CHECK_EQ(stats().passes[3], hardest);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

/* The last page */

TEST("reclaim: with the last page handed out everything is freed again, and passes run")
{
	struct arena *ids = arenas_ids(1, 1000);
	struct piece *taken = pieces_take_all(base_arena, LARGEST, PAGE, MEM_ATOMIC);
	size_t got = 0;

	reclaim_run(RECLAIM_LEVELS);
	while (got < 1000 && arena_alloc(ids, 1, MEM_ATOMIC))
		got++;
	CHECK(!arena_alloc(base_arena, 64 * PAGE, MEM_ERROR));
	reclaim_run(RECLAIM_LEVELS);
	for (size_t i = 1; i <= 1000 && got > 0; i++) {
		struct arena_segment s;

		if (arena_find_segment(ids, i, &s) && s.kind == ARENA_SEGMENT_USED) {
			arena_free(ids, (void *)i, 1);
			got--;
		}
	}
	pieces_give(base_arena, taken, SIZE_MAX);
	CHECK_EQ(got, 0);
	arenas_end(ids);
}

/* Meanwhile an atomic request is served again and again: that is none of those that wait. */
static void await_outs(struct kmem_cache *c, uint64_t n)
{
	uint64_t end = port_ns() + THREADS_PATIENCE;

	while (stats().outs < n && port_ns() < end) {
		kmem_cache_free(c, kmem_cache_alloc(c, MEM_ATOMIC));
		kthread_usleep(1000);
	}
}

/* For a pass or two more: if there were another report, it would come with one of them. */
static void await_hardest(unsigned more)
{
	uint64_t end = port_ns() + THREADS_PATIENCE, n = stats().passes[3] + more;

	while (stats().passes[3] < n && port_ns() < end)
		kthread_usleep(1000);
}

#define WANTED (1024 * PAGE)

/* At a gate: its ktask is made while there is memory for one. */
static void ask_later(struct sleeper *s)
{
	sem_down(s->arg, 1);
	s->got = base_alloc(NULL, WANTED, MEM_WAIT);
}

/* Memory is out for a request, `until` so many reports were made and some passes more, and then isn't.  Returns the
 * reports. */
static uint64_t run_out(uint64_t until)
{
	struct semaphore gate;
	struct sleeper s = {.arena = base_arena, .ask = ask_later, .arg = &gate};
	void *reserve = base_alloc(NULL, 2 * WANTED, MEM_WAIT);
	/* Without magazines, so that each allocation is looked at. */
	struct kmem_cache *c = kmem_cache_create("at hand", 64, 0, KMC_CHECK, NULL, NULL, NULL, NULL);
	void *keeps_slab = kmem_cache_alloc(c, MEM_WAIT);
	uint64_t outs = stats().outs;
	struct piece *taken;
	bool served;

	sem_init(&gate, 0);
	sleeper_begin(&s);
	taken = pieces_take_all(base_arena, LARGEST, PAGE, MEM_ATOMIC);
	sem_up(&gate, 1);
	threads_await_waiting(base_arena, 1);
	await_outs(c, outs + until);
	if (until > 0)
		await_hardest(3);
	outs = stats().outs - outs;
	base_free(NULL, reserve, 2 * WANTED);
	served = sleeper_is_served(&s);
	pieces_give(base_arena, taken, SIZE_MAX);
	sleeper_end(&s);
	CHECK(served);
	base_free(NULL, s.got, WANTED);
	kmem_cache_free(c, keeps_slab);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	return outs;
}

/* A cache that holds a share of memory which a report names. */
#define HELD 4096 /* bytes of an object */
static struct kmem_cache *holder;
static struct held {
	struct held *next;
} *held;

static void holder_fill(void)
{
	holder = kmem_cache_create("holder", HELD, 0, 0, NULL, NULL, NULL, NULL);
	for (size_t n = arena_amt_total(base_arena) / 48 / HELD; n > 0; n--) {
		struct held *h = kmem_cache_alloc(holder, MEM_WAIT);

		h->next = held;
		held = h;
	}
}

static void holder_end(void)
{
	for (struct held *h; (h = held);) {
		held = h->next;
		kmem_cache_free(holder, h);
	}
	CHECK_EQ(kmem_cache_destroy(holder), 0);
}

TEST("reclaim: memory that is out is reported once, again after a request was served")
{
	if (!modes_leave_fronts())
		return;
	/* A report of an earlier test's stands until a request is served. */
	run_out(0);
	CHECK_EQ(run_out(1), 1);
	holder_fill();
	CHECK_EQ(run_out(1), 1);
	holder_end();
}

/* Parked */

static void await_parked(void)
{
	uint64_t end = port_ns() + THREADS_PATIENCE;

	while (stats().parked == 0 && port_ns() < end)
		kthread_usleep(100);
}

TEST("reclaim: a large request that no pass serves is parked until enough is free")
{
	struct arena *a = arenas_full(1000);
	struct sleeper s = {.arena = a, .size = 500};
	struct shortage_row row;

	sleeper_start(&s, 1);
	await_parked();
	CHECK_EQ(stats().parked, 1);
	CHECK_EQ(shortage_rows(&row, 1), 1);
	CHECK_EQ(row.amount, 500);
	for (uintptr_t i = 1; i <= 1000; i++)
		arena_free(a, (void *)i, 1);
	CHECK(sleeper_is_served(&s));
	sleeper_end(&s);
	CHECK_EQ(stats().parked, 0);
	arenas_end(a);
}

/* After a second. */
TEST("reclaim: a parked request has a pass again, and is parked again")
{
	struct arena *a = arenas_full(1000);
	struct sleeper s = {.arena = a, .size = 500};
	uint64_t passes;

	sleeper_start(&s, 1);
	await_parked();
	CHECK_EQ(stats().parked, 1);
	passes = stats().passes[3];
	await_hardest(1);
	CHECK_LT(passes, stats().passes[3]);
	await_parked();
	CHECK_EQ(stats().parked, 1);
	for (uintptr_t i = 1; i <= 1000; i++)
		arena_free(a, (void *)i, 1);
	CHECK(sleeper_is_served(&s));
	sleeper_end(&s);
	arenas_end(a);
}

TEST("reclaim: MEM_ERROR is refused after a hardest pass that began after it")
{
	struct arena *a = arenas_full(10);
	struct kmem_cache *c = kmem_cache_create("none", 1, 0, KMC_NOTOUCH, a, NULL, NULL, NULL);

	for (int i = 0; i < 20; i++) {
		uint64_t passes = stats().passes[3], refused = stats().refused;

		CHECK(!arena_alloc(a, 1, MEM_ERROR));
		CHECK_LT(passes, stats().passes[3]);
		CHECK_LT(refused, stats().refused);
	}
	CHECK_EQ(kmem_cache_destroy(c), 0);
	for (uintptr_t i = 1; i <= 10; i++)
		arena_free(a, (void *)i, 1);
	arenas_end(a);
}

/* A record that comes while a cycle runs may need a second one. */
TEST("reclaim: cycles without a hardest pass don't delay a refusal by MEM_ERROR")
{
	struct arena *a = arenas_full(10);
	struct kmem_cache *c = kmem_cache_create("none", 1, 0, KMC_NOTOUCH, a, NULL, NULL, NULL);
	uint64_t passes = stats().passes[3];

	for (int i = 0; i < 20; i++) {
		reclaim_poke();
		kthread_usleep(2000);
		CHECK(!arena_alloc(a, 1, MEM_ERROR));
	}
	CHECK_LT(stats().passes[3] - passes, 30);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	for (uintptr_t i = 1; i <= 10; i++)
		arena_free(a, (void *)i, 1);
	arenas_end(a);
}

/* Trees */

#define DEEP 12

TEST("reclaim: what the top of a deep tree holds idle serves a request at its root")
{
	struct arena *a[DEEP];
	struct kmem_cache *c;
	void *p;

	a[0] = arenas_ids(1, 64);
	for (size_t i = 1; i < DEEP; i++)
		a[i] = arenas_importer("deep", a[i - 1], 1);
	c = kmem_cache_create("top", 1, 0, KMC_NOTOUCH, a[DEEP - 1], NULL, NULL, NULL);
	kmem_cache_free(c, kmem_cache_alloc(c, MEM_ATOMIC));
	CHECK_EQ(arena_amt_free(a[0]), 0);
	p = arena_alloc(a[0], 64, MEM_WAIT);
	arena_free(a[0], p, 64);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	for (size_t i = DEEP; i-- > 0;)
		arenas_end(a[i]);
}

TEST("reclaim: a second base arena gets back what lies above it, the first isn't asked")
{
	struct arena *base = arenas_base(64);
	struct kmem_cache *c = kmem_cache_create("little", 64, 0, 0, base, NULL, NULL, NULL);
	size_t free = arena_amt_free(base), n;
	struct piece *taken;
	void *p;

	CHECK(c != NULL);
	kmem_cache_free(c, kmem_cache_alloc(c, MEM_ATOMIC));
	n = (free - arena_amt_free(base)) / PAGE;
	CHECK_LT(0, n);
	taken = pieces_take_all(base, 64 * PAGE, PAGE, MEM_ATOMIC);
	p = arena_alloc(base, PAGE, MEM_WAIT);
	arena_free(base, p, PAGE);
	pieces_give(base, taken, SIZE_MAX);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	reclaim_run(RECLAIM_LEVELS);
	arenas_base_end(base, 64);
}

/* A self-sourced arena of one span, and one that imports its source's span moved by OFFSET. */
#define OFFSET 1000
static bool is_out;

static void *self_make(struct arena *self, size_t size, unsigned flags)
{
	return size > 64 || __atomic_exchange_n(&is_out, true, __ATOMIC_ACQ_REL) ? NULL : (void *)64;
}

static void self_unmake(struct arena *self, void *addr, size_t size)
{
	__atomic_store_n(&is_out, false, __ATOMIC_RELEASE);
}

static void *moved_alloc(struct arena *source, size_t size, unsigned flags)
{
	char *p = arena_alloc(source, size, flags);

	return p ? p + OFFSET : NULL;
}

static void moved_free(struct arena *source, void *addr, size_t size)
{
	arena_free(source, (char *)addr - OFFSET, size);
}

TEST("reclaim: self-sourced and translating arenas give back spans, caches included")
{
	struct arena *self = arena_create(
		"self", NULL, 0, 1, self_make, self_unmake, ARENA_SELF_SOURCE, 0, MEM_WAIT);
	struct arena *moved = arena_create("moved", NULL, 0, 1, moved_alloc, moved_free, self, 0, MEM_WAIT);
	struct kmem_cache *c = kmem_cache_create("moved", 1, 0, KMC_NOTOUCH, moved, NULL, NULL, NULL);

	kmem_cache_free(c, kmem_cache_alloc(c, MEM_ATOMIC));
	CHECK_LT(0, arenas_stats(moved).used);
	reclaim_run(RECLAIM_LEVELS);
	CHECK_EQ(arenas_stats(moved).total, 0);
	CHECK_EQ(arenas_stats(self).total, 0);
	CHECK(!is_out);
	kmem_cache_free(c, kmem_cache_alloc(c, MEM_WAIT));
	CHECK_EQ(kmem_cache_destroy(c), 0);
	arenas_end(moved);
	arenas_end(self);
}

/* Coming and going */

#define ROUNDS 200

static unsigned busy;

static size_t gives_nothing(void *priv, size_t units)
{
	return 0;
}

static void come_and_go(void)
{
	for (size_t n = test_ops(ROUNDS); n > 0 && !test_has_failed(); n--) {
		struct arena *a = arenas_ids(1, 256), *b = arenas_importer("b", a, 1);
		struct kmem_cache *c = kmem_cache_create("c", 1, 0, KMC_NOTOUCH, b, NULL, NULL, NULL);

		kmem_cache_set_reclaim(c, gives_nothing, NULL);
		arena_set_reclaim(b, gives_nothing, NULL);
		kmem_cache_free(c, kmem_cache_alloc(c, MEM_WAIT));
		arena_free(b, arena_alloc(b, 8, MEM_WAIT), 8);
		/* More than there is: short for a moment. */
		CHECK(!arena_alloc_timeout(b, 257, MEM_ERROR, port_ns() + 10000));
		CHECK_EQ(kmem_cache_destroy(c), 0);
		CHECK_EQ(arena_destroy(b), 0);
		CHECK_EQ(arena_destroy(a), 0);
	}
	__atomic_fetch_sub(&busy, 1, __ATOMIC_RELEASE);
}

static void reclaim_storm(unsigned i, void *arg)
{
	if (i > 1) {
		come_and_go();
		return;
	}
	while (__atomic_load_n(&busy, __ATOMIC_ACQUIRE) > 0 && !test_has_failed()) {
		if (i == 0)
			reclaim_run(1 + (unsigned)test_random_below(RECLAIM_LEVELS));
		else
			reclaim_poke();
		kthread_yield();
	}
}

TEST("reclaim: arenas and caches come and go while passes run and pokes come")
{
	unsigned threads = port_core_count() + 2;

	busy = threads - 2;
	threads_run(THREADS_PINNED, threads, reclaim_storm, NULL);
}
