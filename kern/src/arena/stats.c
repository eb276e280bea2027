/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas looked at: statistics, walks, which segment an address lies in.
 */
#include "arena_impl.h"

#include "lib/check.h"
#include "lib/string.h"

/* Of numbers that a thousand would make wrap the last bits don't matter. */
static uint64_t permille(uint64_t part, uint64_t whole)
{
	if (whole > UINT64_MAX / 1000) {
		part >>= 10;
		whole >>= 10;
	}
	return whole ? 1000 * part / whole : 0;
}

static void read_reasons(const struct arena *a, struct arena_stats *stats)
{
	memcpy(stats->allocs_by, a->allocs_by, sizeof(stats->allocs_by));
	stats->allocs_by[ARENA_STYLE_INSTANT] = a->allocs;
	for (int i = ARENA_STYLE_INSTANT + 1; i < ARENA_STYLES; i++)
		stats->allocs_by[ARENA_STYLE_INSTANT] -= a->allocs_by[i];
	memcpy(stats->failures_by, a->failures_by, sizeof(stats->failures_by));
	for (int i = 0; i < ARENA_FAILURES; i++)
		stats->failures += a->failures_by[i];
}

void arena_read_stats(struct arena *a, struct arena_stats *stats)
{
	const struct btag_store *s = &a->store;

	memset(stats, 0, sizeof(*stats));
	stats->arena = a;
	str_copy(stats->name, a->name, sizeof(stats->name));
	str_copy(stats->source, a->source ? a->source->name : "-", sizeof(stats->source));
	stats->depth = arena_tree_depth(a);
	stats->is_memory = a->is_memory;
	stats->in_bytes = arena_in_bytes(a);
	stats->quantum = s->quantum;
	stats->qcache_max = a->qcache_max;
	stats->total = s->total;
	stats->used = s->used;
	stats->used_peak = s->used > s->used_peak ? s->used : s->used_peak;
	stats->free = s->total - s->used;
	stats->largest_free = btag_largest_free(s);
	stats->fragmentation_permille = permille(stats->free - stats->largest_free, stats->free);
	stats->spans = s->spans;
	stats->segments_used = s->hash.entries;
	stats->segments_free = s->segments_free;
	stats->allocs = a->allocs;
	stats->frees = a->allocs - s->hash.entries;
	read_reasons(a, stats);
	stats->imports = a->imports;
	stats->returns = a->returns;
	stats->waiting = __atomic_load_n(&a->waiting, __ATOMIC_RELAXED);
	stats->sleeps = __atomic_load_n(&a->sleeps, __ATOMIC_RELAXED);
	stats->wakeups = __atomic_load_n(&a->wakeups, __ATOMIC_RELAXED);
	stats->waits_served = __atomic_load_n(&a->waits_served, __ATOMIC_RELAXED);
	stats->retained = a->retained;
	stats->search_looks_max = a->search_looks_max;
	stats->tags_spare = s->spare.count;
	stats->hash_buckets = s->hash.buckets;
	stats->hash_pages = s->hash.pages_held;
	stats->index_bytes = s->index.nodes_held * BTAG_NODE_SIZE;
	stats->tag_pages = arena_is_base(a) ? arena_base_own_pages(a) : 0;
}

void arena_get_stats(struct arena *a, struct arena_stats *stats)
{
	port_irq_t irq;

	check_given("arena_get_stats", "arena", a, __builtin_return_address(0));
	check_given("arena_get_stats", "place for statistics", stats, __builtin_return_address(0));
	irq = spin_lock(&a->lock);
	arena_read_stats(a, stats);
	spin_unlock(&a->lock, irq);
}

/* Walks */

static struct arena_segment segment_of(const struct btag *t, uintptr_t start)
{
	static const enum arena_segment_kind kinds[] = {
		[BTAG_SPAN] = ARENA_SEGMENT_SPAN,
		[BTAG_FREE] = ARENA_SEGMENT_FREE,
		[BTAG_USED] = ARENA_SEGMENT_USED,
		[BTAG_XALLOCATED] = ARENA_SEGMENT_USED,
	};

	return (struct arena_segment){
		.start = start,
		.size = btag_last(t) - start + 1,
		.kind = kinds[t->kind],
		.user = btag_is_used(t) ? t->user : NULL,
		.since = btag_is_used(t) && t->user ? t->since : 0,
	};
}

/* *more: the list goes on. */
static size_t walk_step(struct arena *a, struct btag_cursor *c, struct arena_segment *step, bool *more)
{
	port_irq_t irq = spin_lock(&a->lock);
	size_t n = 0;
	uintptr_t start;
	struct btag *t = NULL;

	for (int i = 0; i < ARENA_WALK_STEP && (t = btag_cursor_next(&a->store, c, &start)); i++)
		if (start > 0)
			step[n++] = segment_of(t, start);
	spin_unlock(&a->lock, irq);
	*more = t != NULL;
	return n;
}

static void walk_open(struct arena *a, struct btag_cursor *c)
{
	port_irq_t irq = spin_lock(&a->lock);

	btag_cursor_open(&a->store, c);
	spin_unlock(&a->lock, irq);
}

static void walk_close(struct arena *a, struct btag_cursor *c)
{
	port_irq_t irq = spin_lock(&a->lock);

	btag_cursor_close(&a->store, c);
	spin_unlock(&a->lock, irq);
}

void arena_walk(struct arena *a, bool (*fn)(const struct arena_segment *s, void *arg), void *arg)
{
	struct arena_segment step[ARENA_WALK_STEP];
	struct btag_cursor c;
	bool more = true;

	check_given("arena_walk", "arena", a, __builtin_return_address(0));
	check_given("arena_walk", "function", fn, __builtin_return_address(0));
	walk_open(a, &c);
	while (more) {
		size_t n = walk_step(a, &c, step, &more);
		bool wants_more = true;

		for (size_t i = 0; wants_more && i < n; i++)
			wants_more = fn(&step[i], arg);
		more = more && wants_more;
	}
	walk_close(a, &c);
}

/* Histogram */

static bool count_free(const struct arena_segment *s, void *arg)
{
	struct arena_free_class *classes = arg, *c;

	if (s->kind == ARENA_SEGMENT_FREE) {
		c = &classes[63 - __builtin_clzl(s->size)];
		c->segments++;
		c->units += s->size;
	}
	return true;
}

void arena_free_histogram(struct arena *a, struct arena_free_class classes[ARENA_FREE_CLASSES])
{
	check_given("arena_free_histogram", "arena", a, __builtin_return_address(0));
	check_given("arena_free_histogram", "list of classes", classes, __builtin_return_address(0));
	memset(classes, 0, ARENA_FREE_CLASSES * sizeof(classes[0]));
	arena_walk(a, count_free, classes);
}

/* One segment */

/* Looks at a few segments; returns whether addr may still lie further on. */
static bool find_step(struct arena *a, struct btag_cursor *c, uintptr_t addr,
	struct arena_segment *segment, bool *found)
{
	port_irq_t irq = spin_lock(&a->lock);
	struct btag *t = NULL;
	uintptr_t start;

	for (int i = 0; i < ARENA_WALK_STEP && !*found; i++) {
		t = btag_cursor_next(&a->store, c, &start);
		if (!t || t->start > addr)
			break;
		*found = t->kind != BTAG_SPAN && addr <= btag_last(t);
	}
	if (*found)
		*segment = segment_of(t, t->start);
	spin_unlock(&a->lock, irq);
	return t && t->start <= addr && !*found;
}

/* From the span on that addr lies in; should that go meanwhile, from the one before. */
bool arena_find_segment(struct arena *a, uintptr_t addr, struct arena_segment *segment)
{
	port_irq_t irq;
	struct btag_cursor c;
	struct btag *span;
	bool found = false;

	check_given("arena_find_segment", "arena", a, __builtin_return_address(0));
	check_given("arena_find_segment", "place for a segment", segment, __builtin_return_address(0));
	irq = spin_lock(&a->lock);
	btag_cursor_open(&a->store, &c);
	span = btag_span_below(&a->store, addr);
	if (span)
		c.at = span;
	spin_unlock(&a->lock, irq);
	while (find_step(a, &c, addr, segment, &found))
		;
	walk_close(a, &c);
	return found;
}
