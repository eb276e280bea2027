/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Block caches: the checker of the invariants in block_cache.c.
 */
#include "block_cache_impl.h"

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

#define CHECK_STEP 32 /* blocks, or buckets, under one hold of the lock */

enum phase { HASH, IDLE, DIRTY, WRITING, DONE };

/* How far a check is, and what it has counted.  It is good while the cache's changes are as many. */
struct walk {
	struct block_cache *cache;
	uint64_t changes;
	enum phase phase;
	size_t bucket;		/* HASH: the next one, */
	struct hash_link *link; /* and the next of the one before it */
	struct list *place;	/* else: the next of the list; NULL: the list begins */
	uint64_t order;		/* the last one's */
	size_t blocks, in_use, dirty, lists;
	int wrong;
};

static void note_wrong(struct walk *w, int wrong)
{
	w->wrong = w->wrong ? w->wrong : wrong;
}

static void look_at_hash(struct walk *w)
{
	struct block_cache *c = w->cache;
	struct cached *b;

	if (!w->link && w->bucket == c->hash.buckets)
		w->phase = IDLE;
	else if (!w->link)
		w->link = linear_hash_bucket(&c->hash, w->bucket++);
	if (!w->link)
		return;
	b = container_of(w->link, struct cached, link);
	note_wrong(w, block_check(b));
	w->blocks++;
	w->in_use += b->users > 0;
	w->dirty += b->is_dirty || b->is_writing;
	w->lists += !list_empty(&b->place);
	w->link = w->link->next;
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
		look_at_hash(w);
	else
		look_at_list(w, lists[w->phase]);
	if (w->phase == DONE)
		look_at_counts(w);
}

/* One hold of the lock.  What the walk has seen is void if the cache has changed since. */
static void walk_step(struct walk *w)
{
	struct block_cache *c = w->cache;
	port_irq_t irq = spin_lock(&c->lock);

	if (w->changes != c->changes)
		*w = (struct walk){.cache = c, .changes = c->changes};
	for (int i = 0; i < CHECK_STEP && w->phase != DONE; i++)
		look_at_one(w);
	spin_unlock(&c->lock, irq);
}

/* No other caller uses the cache; the writer and reclaim may. */
int block_cache_check(struct block_cache *c)
{
	struct walk w = {.cache = c};

	sync_check_may_sleep("block_cache_check", __builtin_return_address(0));
	walk_step(&w);
	while (w.phase != DONE && !w.wrong) {
		port_thread_yield();
		walk_step(&w);
	}
	return w.wrong;
}
