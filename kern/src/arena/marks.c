/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shortage: what is short.  Theory: wait.c.
 */
#include "wait_impl.h"

#include "lib/check.h"

unsigned shortage_marks_set;

struct qlock shortage_marks_lock = QLOCK_INIT(shortage_marks_lock);
static struct list lingering = LIST_INIT(lingering); /* marks, the first to end first */

/* Chains */

struct arena *arena_source(const struct arena *a)
{
	return a->source != a ? a->source : NULL;
}

struct arena *arena_root(struct arena *a)
{
	while (arena_source(a))
		a = arena_source(a);
	return a;
}

struct arena_account *arena_account(struct arena *a)
{
	return &a->account;
}

struct shortage_wants shortage_wants_of(struct arena *root)
{
	port_irq_t irq = spin_lock(&shortage_queue.lock);
	struct arena_account *a = &root->account;
	struct shortage_wants w = {a->wanted, a->short_records, a->error_came, shortage_queue.changes};

	spin_unlock(&shortage_queue.lock, irq);
	return w;
}

/* Relaxed: set under the arena's lock, before the first try of the record that needs it. */
bool shortage_is_short(const struct arena *a)
{
	return __atomic_load_n(&a->is_short, __ATOMIC_RELAXED);
}

bool arena_is_pressed(const struct arena *a)
{
	if (shortage_is_short(a->base))
		return true;
	for (; a; a = arena_source(a))
		if (shortage_is_short(a))
			return true;
	return false;
}

bool arena_may_ever_have(struct arena *a, size_t units)
{
	struct arena *root = arena_root(a);

	return root->source == root || units <= arena_amt_total(root);
}

/* The start and size of the last span that begins at `below` or before; false: there is none. */
static bool span_below(struct arena *a, uintptr_t below, uintptr_t *start, size_t *size)
{
	port_irq_t irq = spin_lock(&a->lock);
	const struct btag *span = btag_span_below(&a->store, below);

	if (span) {
		*start = span->start;
		*size = span->size;
	}
	spin_unlock(&a->lock, irq);
	return span;
}

bool arena_may_ever_place(struct arena *a, size_t size, size_t align)
{
	struct arena *root = arena_root(a);
	uintptr_t start = 0;
	size_t has, lead;

	if (root->source == root)
		return true;
	for (uintptr_t below = UINTPTR_MAX; span_below(root, below, &start, &has); below = start - 1) {
		lead = -start & (align - 1);
		if (lead <= has && size <= has - lead)
			return true;
	}
	return false;
}

size_t shortage_chain_free(struct arena *a)
{
	size_t sum = 0;

	check_given("shortage_chain_free", "arena", a, __builtin_return_address(0));
	for (; a; a = arena_source(a)) {
		size_t held = 0, live = 0;

		if (a->front)
			a->front->usage(a->front, &held, &live);
		sum += arena_amt_free(a) + held - live;
	}
	return sum;
}

bool arena_chain_lacks_tags(struct arena *a)
{
	bool lacks = false;

	for (; a && !lacks; a = arena_source(a)) {
		port_irq_t irq = spin_lock(&a->lock);

		lacks = arena_tags(a) < BTAG_CARVE_TAGS;
		spin_unlock(&a->lock, irq);
	}
	return lacks;
}

/* Marks.  shortage_marks_lock is held. */

void shortage_mark_init(struct shortage_mark *m, void (*set)(struct shortage_mark *m, bool is_short))
{
	*m = (struct shortage_mark){.set = set};
	list_init(&m->lingers);
}

/* The count comes first: a free that sees the mark sees it too. */
static void mark_set(struct shortage_mark *m, bool is_set)
{
	if (is_set)
		__atomic_fetch_add(&shortage_marks_set, 1, __ATOMIC_RELAXED);
	m->is_set = is_set;
	m->set(m, is_set);
	if (!is_set)
		__atomic_fetch_sub(&shortage_marks_set, 1, __ATOMIC_RELAXED);
}

void shortage_mark_add(struct shortage_mark *m)
{
	if (m->count++ > 0)
		return;
	list_del(&m->lingers);
	if (!m->is_set)
		mark_set(m, true);
}

/* The reclaim ktask is poked by the first that lingers, and comes back for the others. */
void shortage_mark_sub(struct shortage_mark *m)
{
	bool first = list_empty(&lingering);

	if (--m->count > 0)
		return;
	m->until = port_ns() + SHORTAGE_LINGER_NS;
	list_add_tail(&lingering, &m->lingers);
	if (first)
		arena_poke(NULL);
}

uint64_t shortage_expire(void)
{
	uint64_t next = PORT_FOREVER;

	qlock_lock(&shortage_marks_lock);
	while (!list_empty(&lingering)) {
		struct shortage_mark *m = list_first_entry(&lingering, struct shortage_mark, lingers);

		if (!deadline_has_passed(m->until)) {
			next = m->until;
			break;
		}
		list_del(&m->lingers);
		mark_set(m, false);
	}
	qlock_unlock(&shortage_marks_lock);
	return next;
}

unsigned shortage_mark_end(struct shortage_mark *m)
{
	unsigned waiters;

	qlock_lock(&shortage_marks_lock);
	waiters = m->waiters;
	if (waiters == 0 && m->is_set) {
		list_del(&m->lingers);
		mark_set(m, false);
	}
	qlock_unlock(&shortage_marks_lock);
	return waiters;
}

/* An arena's mark.  What its front and its spans held idle goes back: for that, cores must be free to
 * take an interrupt. */
void arena_mark_set(struct shortage_mark *m, bool is_set)
{
	struct arena *a = container_of(m, struct arena, mark);
	port_irq_t irq = spin_lock(&a->lock);

	__atomic_store_n(&a->is_short, is_set, __ATOMIC_RELAXED);
	spin_unlock(&a->lock, irq);
	if (a->front)
		a->front->set_slow(a->front, is_set);
	if (is_set && a->afunc)
		arena_spans_reap(a, SIZE_MAX);
}
