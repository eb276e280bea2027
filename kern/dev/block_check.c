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

struct tally {
	size_t blocks, in_use, dirty, lists;
	int wrong;
};

static void tally_chain(struct block_cache *c, size_t bucket, struct tally *t)
{
	for (struct hash_link *l = linear_hash_bucket(&c->hash, bucket); l; l = l->next) {
		struct cached *b = container_of(l, struct cached, link);
		int wrong = block_check(b);

		t->wrong = t->wrong ? t->wrong : wrong;
		t->blocks++;
		t->in_use += b->users > 0;
		t->dirty += b->is_dirty || b->is_writing;
		t->lists += !list_empty(&b->place);
	}
}

/* Counts a list's blocks; `number` is the invariant that one that isn't as `is_dirty` or
 * `is_writing` say breaks. */
static void tally_list(struct list *list, bool is_dirty, bool is_writing, struct tally *t)
{
	uint64_t order = 0;
	struct cached *b;

	list_for_each_entry (b, list, place) {
		bool belongs = b->is_writing == is_writing && (is_writing || b->is_dirty == is_dirty);
		bool ascends = !(is_dirty || is_writing) || b->order > order;

		if (!t->wrong && !belongs)
			t->wrong = is_dirty || is_writing ? 3 : 2;
		if (!t->wrong && !ascends)
			t->wrong = 4;
		order = b->order;
		t->lists--;
	}
}

/* No other caller uses the cache; the lock keeps out the writer and the ends of its writes. */
int block_cache_check(struct block_cache *c)
{
	port_irq_t irq = spin_lock(&c->lock);
	struct tally t = {0};

	for (size_t i = 0; i < c->hash.buckets; i++)
		tally_chain(c, i, &t);
	tally_list(&c->idle, false, false, &t);
	tally_list(&c->dirty, true, false, &t);
	tally_list(&c->writing, false, true, &t);
	if (!t.wrong && (t.blocks != c->hash.entries || t.lists != 0))
		t.wrong = 1;
	if (!t.wrong && (t.in_use != c->in_use || t.dirty != c->dirty_count))
		t.wrong = 5;
	spin_unlock(&c->lock, irq);
	return t.wrong;
}
