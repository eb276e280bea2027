/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Samples: which allocations are, that they are objects like others, and that nothing stays behind.  What is wrong
 * with their use is planted in misuse_samples.c.
 */
#include "kmem_sample.h"

#include "alarm.h"
#include "errors.h"
#include "kmalloc.h"
#include "lib/array.h"
#include "lib/string.h"
#include "lib/test.h"
#include "physical.h"
#include "port.h"
#include "slab.h"
#include "stacks.h"
#include "threads.h"

#define FEW 8
#define MANY 200

static uint64_t before; /* kmem_sample() */
static void *objects[MANY];

static void begin(uint64_t n)
{
	before = kmem_sample();
	CHECK_EQ(kmem_sample_set(n), 0);
	CHECK_EQ(kmem_sample(), n);
}

static void end(void)
{
	CHECK_EQ(kmem_sample_set(before), 0);
}

static struct kmem_cache *create(size_t size, unsigned flags)
{
	struct kmem_cache *c = kmem_cache_create("samples", size, 0, flags, NULL, NULL, NULL, NULL);

	CHECK(c);
	return c;
}

static bool is_live(const void *p)
{
	struct kmem_sample s;

	return kmem_sample_find((uintptr_t)p, &s) && s.is_live && s.history.object == (uintptr_t)p;
}

static uint64_t live_of(struct kmem_cache *c)
{
	struct kmem_cache_stats s;

	kmem_cache_get_stats(c, &s);
	return s.live;
}

static uint64_t samples_of(struct kmem_cache *c)
{
	struct kmem_cache_stats s;

	kmem_cache_get_stats(c, &s);
	return s.samples;
}

/* An object that is a sample, while each allocation is to be one. */
static void *sampled(struct kmem_cache *c)
{
	void *p = kmem_cache_alloc(c, MEM_ATOMIC);

	CHECK(p && is_live(p));
	return p;
}

/* Which */

/* Each allocation of a closed cache leaves the hot path.  By MEM_ATOMIC, so that the thread stays on its core. */
TEST("samples: of what a core allocates one in N is a sample, whatever its cache")
{
	struct kmem_cache *c[] = {create(64, KMC_CHECK), create(200, KMC_CHECK)};
	size_t n = 0;

	begin(10);
	for (size_t i = 0; i < 1000; i++) {
		void *p = kmem_cache_alloc(c[i % 7 == 0], MEM_ATOMIC);

		n += is_live(p);
		kmem_cache_free(c[i % 7 == 0], p);
	}
	end();
	CHECK_EQ(n, 100);
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		CHECK_EQ(kmem_cache_destroy(c[i]), 0);
}

TEST("samples: where magazines are refilled, no more than one in N")
{
	struct kmem_cache *c = create(64, 0);
	size_t n = 0;

	for (size_t i = 0; i < MANY; i++)
		objects[i] = kmem_cache_alloc(c, MEM_ATOMIC);
	for (size_t i = 0; i < MANY; i++)
		kmem_cache_free(c, objects[i]);
	begin(100);
	for (size_t round = 0; round < 20; round++) {
		for (size_t i = 0; i < MANY; i++)
			n += is_live(objects[i] = kmem_cache_alloc(c, MEM_ATOMIC));
		for (size_t i = 0; i < MANY; i++)
			kmem_cache_free(c, objects[i]);
	}
	end();
	CHECK_LE(1, n);
	CHECK_LE(n, 20 * MANY / 100);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("samples: none is larger than a page, not to be touched, or another arena's")
{
	struct kmem_cache *c[] = {
		create(PORT_PAGE_SIZE + 1, KMC_CHECK),
		create(64, KMC_CHECK | KMC_NOTOUCH),
		kmem_cache_create("samples", 64, 0, KMC_CHECK, large_arena, NULL, NULL, NULL),
	};

	begin(1);
	for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
		objects[0] = kmem_cache_alloc(c[i], MEM_WAIT);
		CHECK(!is_live(objects[0]));
		kmem_cache_free(c[i], objects[0]);
		CHECK_EQ(kmem_cache_destroy(c[i]), 0);
	}
	objects[0] = kmalloc(2 * PORT_PAGE_SIZE, MEM_WAIT);
	CHECK(!is_live(objects[0]));
	kfree(objects[0]);
	end();
}

TEST("samples: of an array one at most, and the array goes back as one")
{
	struct kmem_cache *c = create(64, 0);
	size_t n = 0;

	begin(1);
	CHECK_EQ(kmem_cache_alloc_bulk(c, objects, 64, MEM_WAIT), 64);
	end();
	for (size_t i = 0; i < 64; i++)
		n += is_live(objects[i]);
	CHECK_EQ(n, 1);
	CHECK_EQ(samples_of(c), 1);
	CHECK_EQ(live_of(c), 64);
	kmem_cache_free_bulk(c, objects, 64);
	CHECK_EQ(samples_of(c), 0);
	CHECK_EQ(live_of(c), 0);
	/* None of it is in a magazine. */
	CHECK_EQ(kmem_cache_alloc_bulk(c, objects, MANY, MEM_WAIT), MANY);
	for (size_t i = 0; i < MANY; i++)
		CHECK(kmem_sample_direct(objects[i]) == objects[i]);
	kmem_cache_free_bulk(c, objects, MANY);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

/* What they are */

static unsigned constructed, destructed, refusals;

static int construct(void *object, void *priv, unsigned flags)
{
	if (refusals > 0) {
		refusals--;
		return -ENOMEM;
	}
	constructed++;
	*(uint64_t *)object = 42;
	return 0;
}

static void destruct(void *object, void *priv)
{
	destructed += *(uint64_t *)object == 42;
}

TEST("samples: each is constructed and destructed once, aligned, and keeps its bytes")
{
	for (size_t align = 8; align <= PORT_PAGE_SIZE; align *= 2) {
		struct kmem_cache *c = kmem_cache_create(
			"samples", align / 2 + 8, align, 0, NULL, construct, destruct, NULL);

		constructed = destructed = 0;
		begin(1);
		for (size_t i = 0; i < FEW; i++)
			objects[i] = sampled(c);
		end();
		CHECK_EQ(constructed, FEW);
		for (size_t i = 0; i < FEW; i++) {
			CHECK_EQ((uintptr_t)objects[i] % align, 0);
			CHECK_EQ(*(uint64_t *)objects[i], 42);
			((char *)objects[i])[align / 2 + 7] = (char)i;
		}
		CHECK_EQ(kmem_cache_check(c, &console_sink), 0);
		for (size_t i = 0; i < FEW; i++) {
			CHECK_EQ(((char *)objects[i])[align / 2 + 7], i);
			*(uint64_t *)objects[i] = 42;
			kmem_cache_free(c, objects[i]);
		}
		CHECK_EQ(destructed, FEW);
		CHECK_EQ(kmem_cache_destroy(c), 0);
	}
}

TEST("samples: every other one lies at its page's end, the others at its start")
{
	struct kmem_cache *c = create(128, 0);
	size_t at_start = 0, at_end = 0;

	begin(1);
	for (size_t i = 0; i < 2 * FEW; i++) {
		uintptr_t p = (uintptr_t)sampled(c);

		at_start += p % PORT_PAGE_SIZE == 0;
		at_end += (p + 128) % PORT_PAGE_SIZE == 0;
		kmem_cache_free(c, (void *)p);
	}
	end();
	CHECK_EQ(at_start + at_end, 2 * FEW);
	CHECK_LE(1, at_start);
	CHECK_LE(1, at_end);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("samples: if the constructor of one fails, an ordinary object is served")
{
	struct kmem_cache *c = kmem_cache_create("samples", 64, 0, KMC_CHECK, NULL, construct, NULL, NULL);

	begin(1);
	refusals = 1;
	objects[0] = kmem_cache_alloc(c, MEM_ATOMIC);
	end();
	CHECK(objects[0] && !is_live(objects[0]));
	CHECK_EQ(samples_of(c), 0);
	kmem_cache_free(c, objects[0]);
	begin(1);
	refusals = 1;
	CHECK_PANICS((void)kmem_cache_alloc(c, MEM_WAIT), "its constructor failed");
	end();
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

static __attribute__((noinline)) void *alloc_here(struct kmem_cache *c)
{
	void *p = sampled(c);

	return p;
}

TEST("samples: they count as live, in statistics and at the end; history is known")
{
	struct kmem_cache *c = create(100, 0);
	struct kmem_history h;
	struct stacks_tally row;
	char *p;

	begin(1);
	p = alloc_here(c);
	end();
	CHECK_EQ(live_of(c), 1);
	CHECK_EQ(kmem_cache_destroy(c), -EBUSY);
	CHECK(kmem_cache_history(c, (uintptr_t)p + 50, &h));
	CHECK_EQ(h.object, (uintptr_t)p);
	CHECK_EQ(h.size, 100);
	CHECK(!h.is_free && h.alloc.stack && h.free.ns == 0);
	stacks_tally_begin();
	CHECK_EQ(kmem_trace_tally(c), 0);
	CHECK(stacks_tally_next(&row));
	CHECK_EQ(row.count, 1);
	CHECK_EQ(row.units, 100);
	stacks_tally_end();
	kmem_cache_free(c, p);
	CHECK_EQ(live_of(c), 0);
	CHECK(kmem_cache_history(c, (uintptr_t)p + 50, &h));
	CHECK(h.is_free && h.free.stack);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("samples: the checker sees a byte written beside one")
{
	struct kmem_cache *c = create(100, 0);
	volatile uint8_t *p;

	begin(1);
	p = sampled(c);
	end();
	CHECK_EQ(kmem_cache_check(c, NULL), 0);
	p[101] ^= 1;
	CHECK_EQ(kmem_cache_check(c, NULL), 8);
	p[101] ^= 1;
	CHECK_EQ(kmem_cache_check(c, NULL), 0);
	kmem_cache_free(c, (void *)p);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("samples: memory of kmalloc() has the size asked for, and takes another")
{
	char *p, *more;

	begin(1);
	for (size_t size = 1; size <= PORT_PAGE_SIZE; size += 1 + size / 4) {
		p = kmalloc(size, MEM_ATOMIC);
		if (!is_live(p)) { /* out of a magazine */
			kfree(p);
			continue;
		}
		CHECK_EQ(ksize(p), size);
		memset(p, (int)size, size);
		more = krealloc(p, 2 * size, MEM_WAIT);
		CHECK(more != p);
		CHECK_EQ(more[size - 1], (char)size);
		more = krealloc(more, size + 1, MEM_WAIT);
		CHECK_EQ(more[0], (char)size);
		more[size] = 'x';
		kfree(more);
	}
	end();
}

TEST("samples: the physical address of one is that of its memory in the direct map")
{
	struct kmem_cache *c = create(64, 0);
	char *p, *direct;

	begin(1);
	p = sampled(c);
	end();
	direct = physical_at(physical_of(p + 7));
	CHECK(direct != p + 7 && direct == kmem_sample_direct(p + 7));
	p[7] = 'x';
	CHECK_EQ(*direct, 'x');
	kmem_cache_free(c, p);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

/* Where */

struct ring {
	struct alarm alarm; /* first */
	struct kmem_cache *cache;
	void *given, *got;
	bool is_over;
};

static void ring(struct alarm *a)
{
	struct ring *r = (struct ring *)a;

	kmem_cache_free(r->cache, r->given);
	r->got = kmem_cache_alloc(r->cache, MEM_ATOMIC);
	__atomic_store_n(&r->is_over, true, __ATOMIC_RELEASE);
}

TEST("samples: an interrupt frees one, and what it allocates is none")
{
	struct ring r = {.cache = create(64, 0)};

	alarm_init(&r.alarm, ring);
	begin(1);
	r.given = sampled(r.cache);
	alarm_set(&r.alarm, 0);
	threads_await(&r.is_over);
	end();
	alarm_cancel(&r.alarm);
	CHECK_EQ(samples_of(r.cache), 0);
	CHECK(r.got && !is_live(r.got));
	kmem_cache_free(r.cache, r.got);
	CHECK_EQ(kmem_cache_destroy(r.cache), 0);
}

static struct kmem_cache *shared;

static void free_one(void *p)
{
	kmem_cache_free(shared, p);
}

TEST("samples: another core frees one, with interrupts off")
{
	unsigned last = port_core_count() - 1;

	shared = create(64, 0);
	begin(1);
	objects[0] = sampled(shared);
	*(char *)objects[0] = 'x';
	port_core_run(last, free_one, objects[0]);
	end();
	CHECK(!is_live(objects[0]));
	CHECK_EQ(live_of(shared), 0);
	CHECK_EQ(kmem_cache_destroy(shared), 0);
}

#define CROWD 4
#define PLACES 32
static void *places[PLACES]; /* what any thread has put there; atomic */

static void exchange(unsigned i, void *arg)
{
	for (size_t n = test_ops(20000); n > 0 && !test_has_failed(); n--) {
		uint64_t *p = test_random() % 2 ? kmem_cache_alloc(shared, MEM_WAIT) : NULL, *other;

		if (p)
			p[0] = p[7] = (uintptr_t)p;
		other = __atomic_exchange_n(&places[test_random() % PLACES], p, __ATOMIC_ACQ_REL);
		if (other) {
			CHECK_EQ(other[0], (uintptr_t)other);
			CHECK_EQ(other[7], (uintptr_t)other);
			kmem_cache_free(shared, other);
		}
		if (n % 64 == 0)
			kthread_yield();
	}
}

TEST("samples: threads allocate them and free those of others, among ordinary objects")
{
	struct kmem_sample_stats from, to;

	shared = create(64, KMC_CHECK);
	kmem_sample_get_stats(&from);
	begin(3);
	threads_run(THREADS_PINNED, CROWD, exchange, NULL);
	end();
	for (size_t i = 0; i < PLACES; i++) {
		if (places[i])
			kmem_cache_free(shared, places[i]);
		places[i] = NULL;
	}
	kmem_sample_get_stats(&to);
	CHECK_LT(from.taken, to.taken);
	CHECK_EQ(samples_of(shared), 0);
	CHECK_EQ(kmem_cache_check(shared, &console_sink), 0);
	CHECK_EQ(kmem_cache_destroy(shared), 0);
}

/* How many */

TEST("samples: when each place has a live one, an allocation is an ordinary one")
{
	struct kmem_cache *c = create(64, KMC_CHECK);
	struct kmem_sample_stats s;
	struct link {
		struct link *next;
	} *held = NULL, *p;
	size_t n = 0;

	begin(1);
	kmem_sample_get_stats(&s);
	for (size_t i = 0; i < s.slots + FEW; i++, n++) {
		p = kmem_cache_alloc(c, MEM_WAIT);
		p->next = held;
		held = p;
	}
	CHECK(!is_live(held));
	kmem_sample_get_stats(&s);
	CHECK_EQ(s.live, s.slots);
	CHECK_LE(1, s.missed);
	end();
	CHECK_EQ(live_of(c), n);
	for (; held; held = p) {
		p = held->next;
		kmem_cache_free(c, held);
	}
	CHECK_EQ(live_of(c), 0);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("samples: the place of a freed one is the last to be used again")
{
	struct kmem_cache *c = create(64, 0);
	struct kmem_sample_stats s;
	void *first, *p;

	begin(1);
	kmem_sample_get_stats(&s);
	first = sampled(c);
	kmem_cache_free(c, first);
	/* Others' allocations take some, too. */
	for (size_t i = 0; i < (s.slots - s.live) / 2; i++) {
		p = sampled(c);
		CHECK(((uintptr_t)p ^ (uintptr_t)first) >= PORT_PAGE_SIZE);
		kmem_cache_free(c, p);
	}
	end();
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("samples: turned off there are no new ones, and those that are live go back")
{
	struct kmem_cache *c = create(64, KMC_CHECK);
	struct kmem_sample_stats s, was;
	void *p;

	begin(1);
	p = sampled(c);
	CHECK_EQ(kmem_sample_set(0), 0);
	kmem_sample_get_stats(&was);
	for (size_t i = 0; i < MANY; i++) {
		objects[i] = kmem_cache_alloc(c, MEM_WAIT);
		CHECK(!is_live(objects[i]));
	}
	for (size_t i = 0; i < MANY; i++)
		kmem_cache_free(c, objects[i]);
	kmem_sample_get_stats(&s);
	CHECK_EQ(s.taken, was.taken);
	CHECK_EQ(s.every, 0);
	kmem_cache_free(c, p);
	kmem_sample_get_stats(&s);
	CHECK_EQ(s.live, was.live - 1);
	CHECK_EQ(s.bytes, was.bytes);
	end();
	CHECK_EQ(kmem_cache_destroy(c), 0);
}
