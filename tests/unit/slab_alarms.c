/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Allocating in timer interrupts, on every core, in the middle of the same by ktasks.
 *
 * Each object carries its owner's number over its whole length, checked while it is held and when
 * it is freed, so that an object that was handed out twice is found.
 */
#include "alarm.h"
#include "kmalloc.h"
#include "lib/string.h"
#include "port.h"
#include "slab.h"
#include "lib/test.h"
#include "threads.h"

#define WORDS 12
#define HELD 24
#define PERIOD_NS 30000
#define CORES_MAX 8

struct stamped {
	uint64_t owner[WORDS];
};

static struct kmem_cache *cache;
static uint64_t next_owner = 1;
static uint64_t asked; /* calls for an object of the cache; atomic */

struct holder {
	struct alarm alarm; /* of the interrupt's half */
	struct stamped *held[HELD];
	uint64_t owner[HELD];
	size_t count;
	uint64_t rings;
	bool over, is_wrong;
};

/* A holder for each core's ktask and one for its interrupts. */
static struct holder holders[2][CORES_MAX];

static bool is_stamped(const struct stamped *s, uint64_t owner)
{
	for (size_t i = 0; i < WORDS; i++)
		if (s->owner[i] != owner)
			return false;
	return true;
}

static void hold(struct holder *h)
{
	uint64_t owner = __atomic_fetch_add(&next_owner, 1, __ATOMIC_RELAXED);
	struct stamped *s = owner % 2 ? kmem_cache_alloc(cache, MEM_ATOMIC) :
					kmalloc(sizeof(*s), MEM_ATOMIC);

	__atomic_fetch_add(&asked, owner % 2, __ATOMIC_RELAXED);
	if (!s)
		return;
	for (size_t i = 0; i < WORDS; i++)
		s->owner[i] = owner;
	h->held[h->count] = s;
	h->owner[h->count++] = owner;
}

/* The oldest goes first, so that an interrupt ends with other objects than it began with: what the
 * interrupted saw on top of its magazine is held by another then. */
static void let_go(struct holder *h)
{
	struct stamped *s = h->held[0];
	uint64_t owner = h->owner[0];

	h->count--;
	memmove(h->held, h->held + 1, h->count * sizeof(h->held[0]));
	memmove(h->owner, h->owner + 1, h->count * sizeof(h->owner[0]));
	h->is_wrong |= !is_stamped(s, owner);
	memset(s, 0xff, sizeof(*s));
	if (owner % 2)
		kmem_cache_free(cache, s);
	else
		kfree(s);
}

/* Fills itself and empties itself again. */
static void breathe(struct holder *h)
{
	while (h->count < HELD)
		hold(h);
	while (h->count > HELD / 3)
		let_go(h);
}

static void ring(struct alarm *a)
{
	struct holder *h = container_of(a, struct holder, alarm);

	breathe(h);
	h->rings++;
	if (!__atomic_load_n(&h->over, __ATOMIC_RELAXED))
		alarm_set(a, port_ns() + PERIOD_NS);
}

static void run_core(unsigned i, void *arg)
{
	struct holder *own = &holders[0][i], *other = &holders[1][i];
	size_t rounds = test_ops(20000) / CORES_MAX;

	memset(own, 0, sizeof(*own));
	memset(other, 0, sizeof(*other));
	alarm_init(&other->alarm, ring);
	alarm_set(&other->alarm, port_ns() + PERIOD_NS);
	for (size_t n = 0; n < rounds || __atomic_load_n(&other->rings, __ATOMIC_RELAXED) == 0; n++) {
		breathe(own);
		port_pause();
	}
	__atomic_store_n(&other->over, true, __ATOMIC_RELAXED);
	alarm_cancel(&other->alarm);
	while (own->count > 0)
		let_go(own);
	while (other->count > 0)
		let_go(other);
	CHECK(!own->is_wrong && !other->is_wrong);
	CHECK_LT(0, other->rings);
}

TEST("slab: timer interrupts get no object twice, and lose none, nor a count of one")
{
	unsigned cores = port_core_count() < CORES_MAX ? port_core_count() : CORES_MAX;
	struct kmem_cache_stats stats;

	cache = kmem_cache_create("alarmed", sizeof(struct stamped), 0, 0, NULL, NULL, NULL, NULL);
	asked = 0;
	threads_run(THREADS_PINNED, cores, run_core, NULL);
	kmem_cache_get_stats(cache, &stats);
	CHECK_EQ(stats.allocs, asked);
	CHECK_EQ(stats.frees, asked - stats.failures);
	CHECK_EQ(kmem_cache_check(cache, &console_sink), 0);
	CHECK_EQ(kmem_cache_destroy(cache), 0);
}
