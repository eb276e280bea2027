/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slab caches: allocations and reserves that sleep.  Theory: arena/wait.c.
 *
 * A record takes raw objects, all of them or none; the constructor runs when the sleeper has them, on
 * its stack, with its flag.  While a record waits for a cache, every core's stack of it is closed, so
 * that what is freed comes to the slab layer.
 */
#include "slab_impl.h"

#include "lib/string.h"

struct sleep {
	struct shortage record; /* first */
	struct kmem_cache *cache;
	void **objects; /* NULL: a reserve */
	size_t n;
};

static size_t step_of(size_t left)
{
	return left < SLAB_STEP ? left : SLAB_STEP;
}

/* Raw objects, in steps. */
static void give_raw(struct kmem_cache *c, void *const *objects, size_t n, void *caller)
{
	for (size_t step; n > 0; objects += step, n -= step) {
		step = step_of(n);
		slab_give(c, objects, step, false, caller);
	}
}

/* As far as can be told from amounts: objects that are free, and slabs that the source has room for. */
static bool may_have(struct kmem_cache *c, size_t n)
{
	/* Relaxed: what comes back just now pokes. */
	size_t free = __atomic_load_n(&c->objects_free, __ATOMIC_RELAXED);

	return free >= n || shortage_chain_free(c->source) / c->slab_size >= (n - free) / c->slab_objects;
}

/* At the end of a try that failed: headers and tables lie in base_arena. */
static bool note_lack(struct sleep *s)
{
	bool lacks = __atomic_load_n(&s->cache->lacks_memory, __ATOMIC_RELAXED);

	__atomic_store_n(&s->record.lacks_tags, lacks ? base_arena : NULL, __ATOMIC_RELAXED);
	return false;
}

static bool objects_try(struct shortage *record)
{
	struct sleep *s = (struct sleep *)record;
	size_t got = 0, step = 1;

	if (s->n > 1 && !may_have(s->cache, s->n))
		return false;
	for (; got < s->n && step > 0; got += step)
		step = slab_take(s->cache, s->objects + got, step_of(s->n - got), record->flags);
	if (got == s->n)
		return true;
	give_raw(s->cache, s->objects, got, record->caller);
	return note_lack(s);
}

static bool reserve_try(struct shortage *record)
{
	struct sleep *s = (struct sleep *)record;

	return slab_reserve(s->cache, s->n, record->flags) || note_lack(s);
}

static bool sleep_for(struct sleep *s, unsigned flags, void *caller)
{
	struct kmem_cache *c = s->cache;
	struct shortage_part part = {c->source, c->slab_size, slab_units(c, s->n), &c->mark};

	/* A single object wants no more than its own share of what is short. */
	if (s->n == 1 && s->objects)
		part.amount = c->stride;
	s->record.parts = &part;
	s->record.part_count = 1;
	s->record.flags = flags;
	s->record.caller = caller;
	note_lack(s);
	return shortage_wait(&s->record);
}

size_t slab_sleep(struct kmem_cache *c, void **objects, size_t got, size_t n, unsigned flags, void *caller)
{
	struct sleep s = {.record = {.try = objects_try, .is_plain = n == 1}, .cache = c, .objects = objects, .n = n};

	for (size_t step; got > 0; got -= step) {
		step = step_of(got);
		slab_give(c, objects + got - step, step, true, caller);
	}
	if (!sleep_for(&s, flags, caller))
		return 0;
	for (size_t step, done; got < n; got += step) {
		step = step_of(n - got);
		done = slab_construct(c, objects + got, step, step, flags, caller);
		if (done < step) {
			give_raw(c, objects + got + step, n - got - step, caller);
			return got + done;
		}
	}
	return n;
}

bool slab_sleep_for_reserve(struct kmem_cache *c, size_t n, unsigned flags, void *caller)
{
	struct sleep s = {.record = {.try = reserve_try}, .cache = c, .n = n};

	return sleep_for(&s, flags, caller);
}

/* Destructors run. */
static void mark_set(struct shortage_mark *m, bool is_short)
{
	struct kmem_cache *c = container_of(m, struct kmem_cache, mark);

	magazine_set_slow(c, is_short);
	if (is_short) {
		magazine_drain_cores(c);
		magazine_drain_depot(c, true);
	}
}

void slab_wait_init(struct kmem_cache *c)
{
	shortage_mark_init(&c->mark, mark_set);
}
