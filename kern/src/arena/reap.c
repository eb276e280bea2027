/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Giving back: what an arena has and doesn't need.
 *
 * In this order, since each makes more of the next: what its front holds idle; the spans it retains;
 * its index; pages of its hash; spare tags.  Then pages of tags go back to the base arena, those of
 * which every tag is idle.  Tags are taken from the fullest pages first, so that there are some.
 */
#include "arena_impl.h"

#include "lib/callback.h"
#include "lib/check.h"
#include "sync.h"

/* Steps under one hold of a lock. */
#define REAP_TAGS 32  /* tags handed to the supply */
#define REAP_SHRINKS 8 /* buckets of the hash */

#define INDEX_IDLE 256 /* changes of the arena without a search that used its index */

/* A base arena's low watermark: this share of it, at most LOW_MAX; none if it is small. */
#define LOW_SHARE 64
#define LOW_MAX ((size_t)16 << 20)
#define WATCHED_PAGES_MIN 1024

/* Spans */

/* Looks at one span after the other, until one is found or none is left. */
bool arena_span_retire(struct arena *a, uintptr_t from, struct arena_span *left)
{
	struct btag *span;
	bool found;

	do {
		port_irq_t irq = spin_lock(&a->lock);

		span = a->retained ? btag_span_above(&a->store, from) : NULL;
		found = span && span->next->kind == BTAG_FREE && btag_span_whole(span->next);
		if (span)
			from = span->start + 1;
		if (found) {
			a->retained -= span->size;
			arena_span_out(a, span, left);
		}
		spin_unlock(&a->lock, irq);
	} while (span && !found && from != 0);
	return found;
}

size_t arena_spans_reap(struct arena *a, size_t wanted)
{
	struct arena_span span = {0};
	size_t given = 0;

	while (given < wanted && arena_span_retire(a, span.start, &span)) {
		arena_span_return(a, &span);
		given += span.size;
	}
	return given;
}

/* The hash */

/* Shrinks it a little; says whether there is more to do. */
static bool hash_step(struct arena *a, void **page)
{
	port_irq_t irq = spin_lock(&a->lock);
	bool more = true;

	for (int i = 0; i < REAP_SHRINKS && more; i++) {
		more = linear_hash_trim(&a->store.hash);
		a->store.changes += more; /* the checker counts by bucket */
	}
	*page = linear_hash_take_page(&a->store.hash, 0);
	spin_unlock(&a->lock, irq);
	return more || *page;
}

static size_t hash_reap(struct arena *a)
{
	size_t pages = 0;
	void *page;

	while (hash_step(a, &page)) {
		if (page) {
			arena_hash_page_return(a, page);
			pages++;
		}
	}
	return pages;
}

/* Tags */

static void tags_reap(struct arena *a)
{
	size_t taken;

	do {
		struct btag_chain chain = {NULL, 0};
		port_irq_t irq = spin_lock(&a->lock);
		size_t spare = arena_tags(a);

		btag_take(&a->store, &chain, spare < REAP_TAGS ? spare : REAP_TAGS);
		spin_unlock(&a->lock, irq);
		taken = chain.count;
		arena_tags_return(a, &chain);
	} while (taken == REAP_TAGS);
}

/* Gives every page of idle nodes back to the base arena; returns how many. */
static size_t node_pages_reap(struct arena *base)
{
	struct tag_supply *supply = base->node_supply;
	size_t pages = 0;
	void *page;

	do {
		port_irq_t irq = spin_lock(&supply->lock);

		page = tag_supply_take_page(supply);
		spin_unlock(&supply->lock, irq);
		if (page)
			arena_segment_free(base, page, PORT_PAGE_SIZE, __builtin_return_address(0));
		pages += page != NULL;
	} while (page);
	return pages;
}

/* An index that arena_index() asked for stays. */
static size_t index_reap(struct arena *a)
{
	if (!a->store.index.is_pinned)
		arena_index_drop(a);
	return node_pages_reap(a->base);
}

/* A page that goes leaves tags behind, those of neighbours it joins: so another may be idle then.  As
 * long as that gives something.  The base keeps a tag in hand, for a page's own to hand over to. */
static size_t tag_pages_reap(struct arena *a)
{
	size_t pages = 0, gained;

	do {
		tags_reap(a);
		tags_reap(a->base);
		arena_tags_fetch(a->base);
		gained = arena_tag_pages_return(a->base) + hash_reap(a->base);
		pages += gained;
	} while (gained > 0);
	return pages;
}

/*
 * Tags of what stays lie scattered, and each keeps a page; pages of tags keep each other, too: they are
 * segments of the base, and the free segments between them have tags in others of them.  So where most
 * tags are idle, what has a tag in an emptier page gets one of the fullest.  (home_permille: without it
 * a base that has run out once keeps twice as many pages.)
 */
#define GATHER_STEP 8  /* tags under one hold of the lock */
#define GATHER_PAGES 8 /* no fewer pages are worth it */

/* A page's own tag stays: it keeps no other page.  Lock held. */
static void tag_replace(struct arena *a, struct btag *t, struct btag_chain *replaced)
	SPANDREL_REQUIRES(&a->lock)
{
	if (arena_tags(a) == 0 || tag_page_of(t) == t->start ||
		tag_page_idle(a->store.spare.head) >= tag_page_idle(t))
		return;
	btag_retag(&a->store, t);
	btag_chain_push(replaced, t);
}

static bool gather_step(struct arena *a, struct btag_cursor *c)
{
	struct btag_chain replaced = {NULL, 0};
	port_irq_t irq = spin_lock(&a->lock);
	struct btag *t = NULL;
	uintptr_t start;

	for (int i = 0; i < GATHER_STEP && (t = btag_cursor_next(&a->store, c, &start)); i++)
		tag_replace(a, t, &replaced);
	spin_unlock(&a->lock, irq);
	arena_tags_return(a, &replaced);
	return t != NULL;
}

static bool tags_are_sparse(struct tag_supply *supply)
{
	port_irq_t irq = spin_lock(&supply->lock);
	bool sparse = supply->pages >= GATHER_PAGES &&
		supply->idle * 2 > supply->pages * TAG_PAGE_TAGS;

	spin_unlock(&supply->lock, irq);
	return sparse;
}

/* The hand holds tags of the fullest page, a few at a time. */
static size_t tags_gather(struct arena *a)
{
	struct btag_cursor c;
	bool more = tags_are_sparse(a->supply);
	port_irq_t irq;

	if (!more)
		return 0;
	irq = spin_lock(&a->lock);
	btag_cursor_open(&a->store, &c);
	spin_unlock(&a->lock, irq);
	while (more) {
		tags_reap(a);
		arena_tags_fetch(a);
		more = gather_step(a, &c);
	}
	irq = spin_lock(&a->lock);
	btag_cursor_close(&a->store, &c);
	spin_unlock(&a->lock, irq);
	return tag_pages_reap(a);
}

static uint64_t units_returned(struct arena *a)
{
	port_irq_t irq = spin_lock(&a->lock);
	uint64_t units = a->units_returned;

	spin_unlock(&a->lock, irq);
	return units;
}

/* Spans that come free while the front is drained may go back by themselves, and count. */
static size_t units_reap(struct arena *a, size_t amount)
{
	uint64_t before = units_returned(a);
	size_t given;

	if (a->front && amount > 0)
		a->front->drain(a->front, ARENA_DRAIN_ALL);
	given = units_returned(a) - before;
	if (given < amount)
		given += arena_spans_reap(a, amount - given);
	return given < amount ? given + arena_parts_reap(a, amount - given) : given;
}

size_t arena_reap(struct arena *a, size_t amount)
{
	size_t given;

	check_given("arena_reap", "arena", a, __builtin_return_address(0));
	sync_check_may_sleep("arena_reap", __builtin_return_address(0));
	given = units_reap(a, amount);
	if (given < amount)
		given += index_reap(a) * PORT_PAGE_SIZE;
	if (given < amount)
		given += hash_reap(a) * PORT_PAGE_SIZE;
	if (given < amount)
		given += tag_pages_reap(a) * PORT_PAGE_SIZE;
	return given;
}

/* For reclaim */

/* Whether searches have no use of the index lately, or, with `any`, no request that sleeps needs it. */
static bool index_may_go(struct arena *a, bool any)
{
	port_irq_t irq = spin_lock(&a->lock);
	const struct btag_index *x = &a->store.index;
	bool may = x->stands && !x->is_pinned && (any ? !a->is_short : x->idle >= INDEX_IDLE);

	spin_unlock(&a->lock, irq);
	return may;
}

/* The index that an atomic request missed comes; one that isn't used goes. */
size_t arena_reclaim(struct arena *a, unsigned level, size_t amount, size_t *pages)
{
	size_t given = 0;

	*pages = 0;
	if (__atomic_load_n(&a->store.index.wanted, __ATOMIC_RELAXED))
		arena_indexes_build(a);
	if (index_may_go(a, level > 1))
		*pages += index_reap(a);
	if (level == 1)
		return given;
	if (a->afunc)
		given += arena_spans_reap(a, amount);
	if (level == ARENA_DRAIN_ALL && given < amount)
		given += arena_parts_reap(a, amount - given);
	if (given < amount)
		*pages += hash_reap(a) + tag_pages_reap(a);
	if (given < amount && level == ARENA_DRAIN_ALL)
		*pages += tags_gather(a);
	return given;
}

void arena_set_reclaim(struct arena *a, size_t (*fn)(void *priv, size_t units), void *priv)
{
	port_irq_t irq;

	check_given("arena_set_reclaim", "arena", a, __builtin_return_address(0));
	irq = spin_lock(&a->lock);
	a->reclaim = fn;
	a->reclaim_priv = priv;
	spin_unlock(&a->lock, irq);
}

size_t (*arena_owner(struct arena *a, void **priv))(void *priv, size_t units)
{
	port_irq_t irq = spin_lock(&a->lock);
	size_t (*fn)(void *, size_t) = a->reclaim;

	*priv = a->reclaim_priv;
	spin_unlock(&a->lock, irq);
	return fn;
}

struct reclaim_account *arena_reclaim_account(struct arena *a)
{
	return &a->asked;
}

size_t arena_call_owner(
	const char *name, size_t (*fn)(void *priv, size_t units), void *priv, size_t units)
{
	struct callback call;
	size_t answer;

	spin_assert_none_held();
	call = callback_enter(name);
	callback_is_reclaim(true);
	answer = fn(priv, units);
	callback_is_reclaim(false);
	callback_leave(call);
	return answer;
}

/* Watermarks */

void arena_watermarks(const struct arena *a, size_t *low, size_t *high)
{
	size_t total = arena_is_base(a) ? arena_amt_total((struct arena *)a) : 0;

	*low = total >= WATCHED_PAGES_MIN * PORT_PAGE_SIZE ? total / LOW_SHARE : 0;
	*low = *low < LOW_MAX ? *low : LOW_MAX;
	*high = *low * 2;
}

void arena_watch_base(struct arena *a)
{
	size_t low, high;

	arena_watermarks(a->base, &low, &high);
	if (low > 0 && arena_amt_free(a->base) < low)
		arena_poke(a->base);
}
