/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Caches under chance and on several cores: each object carries its owner's stamp over its whole
 * length, looked at while it is held and when it is freed.
 */
#include "kmalloc.h"
#include "lib/array.h"
#include "table.h"
#include "port.h"
#include "slab.h"
#include "lib/test.h"
#include "threads.h"

#define OPS 1000000
#define HELD 512 /* by one owner at most */
#define CACHES 4
#define THREADS 4

struct held {
	uint64_t *object;
	size_t words;
	uint64_t stamp;
	unsigned cache; /* CACHES: kmalloc's */
};

static struct kmem_cache *caches[CACHES];
static const size_t sizes[CACHES] = {8, 64, 200, 5000};
static uint64_t made, unmade; /* objects of cache 2, which are constructed; atomic */

static int note_made(void *object, void *priv, unsigned flags)
{
	__atomic_fetch_add(&made, 1, __ATOMIC_RELAXED);
	return 0;
}

static void note_unmade(void *object, void *priv)
{
	__atomic_fetch_add(&unmade, 1, __ATOMIC_RELAXED);
}

static void caches_begin(void)
{
	made = unmade = 0;
	for (unsigned i = 0; i < CACHES; i++) {
		caches[i] = kmem_cache_create("stamped", sizes[i], 0, 0, NULL,
			i == 2 ? note_made : NULL, i == 2 ? note_unmade : NULL, NULL);
		CHECK(caches[i]);
	}
}

static void caches_end(void)
{
	for (unsigned i = 0; i < CACHES; i++) {
		struct kmem_cache_stats s;

		kmem_cache_get_stats(caches[i], &s);
		CHECK_EQ(s.live, 0);
		CHECK_EQ(kmem_cache_check(caches[i], &console_sink), 0);
		CHECK_EQ(kmem_cache_destroy(caches[i]), 0);
	}
	CHECK_EQ(made, unmade);
}

static void stamp(struct held *h)
{
	for (size_t w = 0; w < h->words; w++)
		h->object[w] = h->stamp + w;
}

static void check_stamp(const struct held *h)
{
	for (size_t w = 0; w < h->words; w++)
		if (h->object[w] != h->stamp + w)
			CHECK_EQ(h->object[w], h->stamp + w);
}

/* An owner's own chance: test_random() is the test's. */
static uint64_t chance(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void take(struct held *h, uint64_t stamp_value, uint64_t random)
{
	size_t size;

	h->cache = (unsigned)(random % (CACHES + 1));
	size = h->cache < CACHES ? sizes[h->cache] : (size_t)1 << (3 + (random >> 8) % 12);
	h->object = h->cache < CACHES ? kmem_cache_alloc(caches[h->cache], MEM_ATOMIC) :
					kmalloc(size, MEM_ATOMIC);
	CHECK(h->object);
	h->words = size / sizeof(uint64_t);
	h->stamp = stamp_value;
	stamp(h);
}

static void give(struct held *h)
{
	check_stamp(h);
	for (size_t w = 0; w < h->words; w++)
		h->object[w] = 0;
	if (h->cache < CACHES)
		kmem_cache_free(caches[h->cache], h->object);
	else
		kfree(h->object);
	h->object = NULL;
}

static void own(struct held *held, size_t ops, unsigned owner, uint64_t seed)
{
	uint64_t state = seed | 1;

	for (size_t i = 0; i < ops; i++) {
		uint64_t r = chance(&state);
		/* Drifts between few and many, so that slabs come and go. */
		size_t among = i / 2048 % 2 ? HELD : HELD / 16;
		struct held *h = &held[(r >> 32) % among];

		if (h->object)
			give(h);
		else
			take(h, (uint64_t)owner << 56 | (uint64_t)i << 16, r);
		if (i % 4096 == 0)
			kmem_cache_reap(caches[r % CACHES], (r >> 8) % 3);
		if (i % 1024 == 0)
			kthread_yield();
	}
	for (size_t i = 0; i < HELD; i++)
		if (held[i].object)
			give(&held[i]);
}

static struct held owned[THREADS][HELD];

TEST("slab: random allocations and frees over several caches keep every stamp")
{
	caches_begin();
	own(owned[0], test_ops(OPS), 1, test_random());
	caches_end();
}

static void own_thread(unsigned i, void *arg)
{
	own(owned[i], test_ops(OPS) / THREADS, i + 1, *(uint64_t *)arg * (i + 1));
}

TEST("slab: owners on all cores keep their stamps while caches are drained")
{
	uint64_t seed = test_random();

	caches_begin();
	threads_run(THREADS_PINNED, THREADS, own_thread, &seed);
	caches_end();
}

/* A ring between a producer and a consumer: filled by one, emptied by the other. */
#define RING 256

static struct ring {
	struct held at[RING];
	size_t put, got; /* atomic */
} rings[THREADS / 2];

static void produce(struct ring *r, size_t count, unsigned owner)
{
	uint64_t state = owner * 77 + 1;

	for (size_t i = 0; i < count; i++) {
		while (i - __atomic_load_n(&r->got, __ATOMIC_ACQUIRE) == RING)
			kthread_yield();
		take(&r->at[i % RING], (uint64_t)owner << 56 | (uint64_t)i << 16, chance(&state));
		__atomic_store_n(&r->put, i + 1, __ATOMIC_RELEASE);
	}
}

static void consume(struct ring *r, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		while (__atomic_load_n(&r->put, __ATOMIC_ACQUIRE) == i)
			kthread_yield();
		give(&r->at[i % RING]);
		__atomic_store_n(&r->got, i + 1, __ATOMIC_RELEASE);
	}
}

static void remote(unsigned i, void *arg)
{
	size_t count = test_ops(OPS) / THREADS;

	if (i % 2 == 0)
		produce(&rings[i / 2], count, i + 1);
	else
		consume(&rings[i / 2], count);
}

TEST("slab: objects allocated on one core are freed on another")
{
	caches_begin();
	for (size_t i = 0; i < ARRAY_SIZE(rings); i++)
		rings[i].put = rings[i].got = 0;
	threads_run(THREADS_PINNED, THREADS, remote, NULL);
	caches_end();
}

#define CHECKED 2048
#define TURNED 30

/* One turns objects over in the slab layer, the others look. */
struct turning {
	struct kmem_cache *cache;
	void *held[CHECKED];
	size_t checks; /* done by the others; atomic */
	bool over;
};

static void turn_over(struct turning *t)
{
	void *out[TURNED];
	uint64_t state = 1;

	while (__atomic_load_n(&t->checks, __ATOMIC_RELAXED) < test_ops(500)) {
		for (size_t i = 0; i < TURNED; i++) {
			void **slot = &t->held[chance(&state) % (CHECKED - i)];

			out[i] = *slot;
			*slot = t->held[CHECKED - 1 - i];
		}
		kmem_cache_free_bulk(t->cache, out, TURNED);
		kmem_cache_reap(t->cache, KMEM_REAP_ALL);
		CHECK_EQ(kmem_cache_alloc_bulk(t->cache, t->held + CHECKED - TURNED, TURNED, MEM_ATOMIC), TURNED);
		kthread_yield();
		test_end_if_failed();
	}
	__atomic_store_n(&t->over, true, __ATOMIC_RELAXED);
}

static void turn_or_check(unsigned i, void *arg)
{
	struct turning *t = arg;

	if (i == 0)
		turn_over(t);
	while (!__atomic_load_n(&t->over, __ATOMIC_RELAXED)) {
		CHECK_EQ(kmem_cache_check(t->cache, &console_sink), 0);
		__atomic_fetch_add(&t->checks, 1, __ATOMIC_RELAXED);
		kthread_yield();
		test_end_if_failed();
	}
}

TEST("slab: a check finds nothing wrong while objects come and go, many or few out")
{
	static struct turning t;

	t = (struct turning){.cache = kmem_cache_create("turned", 256, 0, 0, NULL, NULL, NULL, NULL)};
	CHECK_EQ(kmem_cache_alloc_bulk(t.cache, t.held, CHECKED, MEM_WAIT), CHECKED);
	CHECK_EQ(kmem_cache_reserve(t.cache, CHECKED * 2, MEM_WAIT), 0);
	threads_run(THREADS_FREE, 2, turn_or_check, &t);
	kmem_cache_free_bulk(t.cache, t.held, CHECKED);
	CHECK_EQ(kmem_cache_destroy(t.cache), 0);
}

/* Asks for a reserve and lifts it, again and again; the other looks. */
static void reserve_or_check(unsigned i, void *arg)
{
	struct kmem_cache *c = arg;

	for (size_t n = 0; n < test_ops(10000); n++) {
		if (i == 0) {
			CHECK_EQ(kmem_cache_reserve(c, n % 4 * 500, MEM_ATOMIC), 0);
			kmem_cache_reap(c, KMEM_REAP_IDLE);
		} else {
			CHECK_EQ(kmem_cache_check(c, &console_sink), 0);
		}
		if (n % 64 == 0)
			kthread_yield();
	}
}

TEST("slab: a check finds no slab missing while a reserve is being made")
{
	struct kmem_cache *c = kmem_cache_create("reserving", 256, 0, 0, NULL, NULL, NULL, NULL);

	threads_run(THREADS_FREE, 2, reserve_or_check, c);
	CHECK_EQ(kmem_cache_reserve(c, 0, MEM_ATOMIC), 0);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

/* Owners come and go while others reap: an owner is always called with its own argument. */
struct owner {
	struct kmem_cache *cache;
	bool over, is_wrong;
};

static size_t first_gives(void *priv, size_t bytes)
{
	if (priv != (void *)first_gives)
		__atomic_store_n((bool *)priv, true, __ATOMIC_RELAXED);
	return 0;
}

static size_t second_gives(void *is_wrong, size_t bytes)
{
	return 0;
}

static void reap_or_own(unsigned i, void *arg)
{
	struct owner *o = arg;

	for (size_t n = 0; i == 0 && n < test_ops(200000); n++) {
		kmem_cache_set_reclaim(o->cache, first_gives, (void *)first_gives);
		kmem_cache_set_reclaim(o->cache, second_gives, &o->is_wrong);
		if (n % 3 == 0)
			kmem_cache_set_reclaim(o->cache, NULL, NULL);
	}
	if (i == 0)
		__atomic_store_n(&o->over, true, __ATOMIC_RELAXED);
	while (!__atomic_load_n(&o->over, __ATOMIC_RELAXED))
		kmem_cache_reap(o->cache, KMEM_REAP_IDLE);
}

TEST("slab: an owner is called with its own argument, or not, while owners change")
{
	struct owner o = {.cache = kmem_cache_create("owned", 64, 0, 0, NULL, NULL, NULL, NULL)};

	threads_run(THREADS_PINNED, 2, reap_or_own, &o);
	CHECK(!o.is_wrong);
	CHECK_EQ(kmem_cache_destroy(o.cache), 0);
}

#define SCARCE 128 /* objects there are in all */
#define WAITED 50

struct scarce {
	struct arena *ids;
	struct kmem_cache *cache;
	void *held[SCARCE], *waited[WAITED];
	bool has_all;
};

static void wait_or_free(unsigned i, void *arg)
{
	struct scarce *s = arg;

	if (i == 1) {
		CHECK_EQ(kmem_cache_alloc_bulk(s->cache, s->waited, WAITED, MEM_WAIT), WAITED);
		__atomic_store_n(&s->has_all, true, __ATOMIC_RELEASE);
		return;
	}
	for (size_t n = 0; n < WAITED; n++) {
		threads_await_waiting(s->ids, 1);
		CHECK(!__atomic_load_n(&s->has_all, __ATOMIC_ACQUIRE));
		kmem_cache_free(s->cache, s->held[n]);
	}
	threads_await(&s->has_all);
}

TEST("slab: a request for many gets all of them, as they come back one by one")
{
	struct arena *ids = arena_create("scarce", (void *)64, SCARCE, 1, NULL, NULL, NULL, 0, MEM_WAIT);
	struct kmem_cache_stats stats;
	static struct scarce s;

	s = (struct scarce){.ids = ids, .cache = kmem_cache_create("scarce", 1, 0, 0, ids, NULL, NULL, NULL)};
	CHECK_EQ(kmem_cache_alloc_bulk(s.cache, s.held, SCARCE - 1, MEM_ATOMIC), SCARCE - 1);
	CHECK_EQ(kmem_cache_alloc_bulk(s.cache, s.held + SCARCE - 1, 5, MEM_ATOMIC), 1);
	kmem_cache_get_stats(s.cache, &stats);
	CHECK_EQ(stats.live, SCARCE);
	CHECK_EQ(stats.failures, 4);
	threads_run(THREADS_FREE, 2, wait_or_free, &s);
	kmem_cache_free_bulk(s.cache, s.waited, WAITED);
	kmem_cache_free_bulk(s.cache, s.held + WAITED, SCARCE - WAITED);
	CHECK_EQ(kmem_cache_destroy(s.cache), 0);
	CHECK_EQ(arena_destroy(ids), 0);
}

static size_t sleepy_made, sleepy_unmade;

static int sleepy_ctor(void *object, void *priv, unsigned flags)
{
	if (flags == MEM_ATOMIC)
		return -ENOMEM;
	kthread_usleep(20);
	__atomic_fetch_add(&sleepy_made, 1, __ATOMIC_RELAXED);
	*(uint64_t *)object = 77;
	return 0;
}

static void sleepy_dtor(void *object, void *priv)
{
	CHECK_EQ(*(uint64_t *)object, 77);
	*(uint64_t *)object = 0;
	__atomic_fetch_add(&sleepy_unmade, 1, __ATOMIC_RELAXED);
}

static void use_sleepy(unsigned i, void *arg)
{
	struct kmem_cache *c = arg;
	void *p[40];
	uint64_t state = i + 1;

	for (size_t n = 0; n < test_ops(1000); n++) {
		size_t k = chance(&state) % 40, got;

		if (n % 2) {
			got = kmem_cache_alloc_bulk(c, p, k, n % 4 == 1 ? MEM_WAIT : MEM_ERROR);
			CHECK(n % 4 == 3 || got == k);
			for (size_t j = 0; j < got; j++)
				CHECK_EQ(*(uint64_t *)p[j], 77);
			kmem_cache_free_bulk(c, p, got);
		} else {
			p[0] = kmem_cache_alloc(c, MEM_WAIT);
			CHECK_EQ(*(uint64_t *)p[0], 77);
			kmem_cache_free(c, p[0]);
		}
		if (n % 16 == 0)
			kmem_cache_reap(c, chance(&state) % 3);
	}
}

TEST("slab: constructors that sleep let others go on, and all they made is unmade")
{
	struct kmem_cache *c = kmem_cache_create("sleepy", 300, 0, 0, NULL, sleepy_ctor, sleepy_dtor, NULL);

	sleepy_made = sleepy_unmade = 0;
	threads_run(THREADS_FREE, 6, use_sleepy, c);
	CHECK_EQ(kmem_cache_check(c, &console_sink), 0);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	CHECK_EQ(sleepy_made, sleepy_unmade);
}
