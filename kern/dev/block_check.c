/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Block caches: the checker of the invariants in block_cache.c.
 */
#include "block_cache_impl.h"

#include "lib/check.h"

/* The number of the first invariant that a hashed block breaks, or 0. */
static int block_check(struct cached *b)
{
	struct block_cache *c = b->cache;
	bool is_idle = b->users == 0 && !b->is_dirty && !b->is_writing && !b->is_reading;
	bool has_place = !list_empty(&b->place);

	if (!b->is_hashed || *linear_hash_seek(&c->hash, b->link.key) != &b->link)
		return 1;
	if (has_place != (is_idle || b->is_dirty || b->is_writing))
		return is_idle ? 2 : 3;
	return 0;
}

#define CHECK_TRIES 8 /* walks, before sums and lists are left unchecked */
#define CHECK_STEP 16 /* buckets of the hash, or blocks of a list, under one hold of the lock */

enum phase { HASH, IDLE, DIRTY, WRITING, DONE };

/* How far a check is, and what it has counted.  Each block of the hash is checked whatever changes;
 * lists and sums are good while the cache's changes are as many as when the walk began. */
struct walk {
	struct block_cache *cache;
	uint64_t changes;
	bool has_changed;
	enum phase phase;
	size_t bucket;	    /* HASH: the next one */
	struct list *place; /* else: the next of the list; NULL: the list begins */
	uint64_t order;	    /* the last one's */
	size_t blocks, in_use, dirty, lists;
	int wrong;
};

static void note_wrong(struct walk *w, int wrong)
{
	w->wrong = w->wrong ? w->wrong : wrong;
}

static void look_at_bucket(struct walk *w)
{
	struct block_cache *c = w->cache;

	if (w->bucket >= c->hash.buckets) {
		w->phase = w->has_changed ? DONE : IDLE;
		return;
	}
	for (struct hash_link *l = linear_hash_bucket(&c->hash, w->bucket); l; l = l->next) {
		struct cached *b = container_of(l, struct cached, link);

		note_wrong(w, block_check(b));
		w->blocks++;
		w->in_use += b->users > 0;
		w->dirty += b->is_dirty || b->is_writing;
		w->lists += !list_empty(&b->place);
	}
	w->bucket++;
}

static void look_at_list(struct walk *w, struct list *list)
{
	bool dirties = w->phase == DIRTY, writes = w->phase == WRITING;
	struct cached *b;

	w->place = w->place ? w->place : list->next;
	if (w->place == list) {
		w->phase++;
		w->place = NULL;
		w->order = 0;
		return;
	}
	b = list_entry(w->place, struct cached, place);
	if (b->is_writing != writes || (!writes && b->is_dirty != dirties))
		note_wrong(w, w->phase == IDLE ? 2 : 3);
	if (w->phase != IDLE && b->order <= w->order)
		note_wrong(w, 4);
	w->order = b->order;
	w->lists--;
	w->place = w->place->next;
}

static void look_at_counts(struct walk *w)
{
	struct block_cache *c = w->cache;

	if (w->blocks != c->hash.entries || w->lists != 0)
		note_wrong(w, 1);
	if (w->in_use != c->in_use || w->dirty != c->dirty_count)
		note_wrong(w, 5);
}

static void look_at_one(struct walk *w)
{
	struct list *const lists[] = {
		[IDLE] = &w->cache->idle, [DIRTY] = &w->cache->dirty, [WRITING] = &w->cache->writing};

	if (w->phase == HASH)
		look_at_bucket(w);
	else
		look_at_list(w, lists[w->phase]);
	if (w->phase == DONE && !w->has_changed)
		look_at_counts(w);
}

/* One hold of the lock.  A list that has changed can't be gone on with. */
static void walk_step(struct walk *w)
{
	struct block_cache *c = w->cache;
	port_irq_t irq = spin_lock(&c->lock);

	w->has_changed = w->has_changed || w->changes != c->changes;
	if (w->has_changed && w->phase != HASH)
		w->phase = DONE;
	for (int i = 0; i < CHECK_STEP && w->phase != DONE; i++)
		look_at_one(w);
	spin_unlock(&c->lock, irq);
}

static uint64_t changes_of(struct block_cache *c)
{
	port_irq_t irq = spin_lock(&c->lock);
	uint64_t changes = c->changes;

	spin_unlock(&c->lock, irq);
	return changes;
}

int block_cache_check(struct block_cache *c)
{
	struct walk w;
	int tries = 0;

	sync_check_may_sleep("block_cache_check", __builtin_return_address(0));
	check_given("block_cache_check", "cache", c, __builtin_return_address(0));
	do {
		w = (struct walk){.cache = c, .changes = changes_of(c)};
		while (w.phase != DONE && !w.wrong) {
			walk_step(&w);
			port_thread_yield();
		}
	} while (w.has_changed && !w.wrong && ++tries < CHECK_TRIES);
	return w.wrong;
}
