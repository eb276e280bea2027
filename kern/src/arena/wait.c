/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Waiting in an arena's queue for what it is short of.
 *
 * CONCEPTS
 *
 * Only the outermost call sleeps.  Whatever lies beneath it, front, cache or source, is asked
 * atomically; when all of that fails, the caller takes a place in the queue of the arena it called
 * and sleeps there.  The chain of an arena is the arena, its source, the source's source and so on,
 * and at last the base arena that its boundary tags come from.  A free anywhere in the chain may be
 * what a waiter needs, and counts as that: tags that another arena of the base gives up, and those
 * that an import had set aside if somebody lacked them meanwhile.
 *
 * At most one waiter of a queue is awake at a time: it has the baton.  It tries again, with its
 * place kept; served, it leaves and passes the baton on; not served, it puts the baton down and
 * sleeps.  Nobody is woken who can't be served as far as can be told, so wake-ups in vain come only
 * from atomic requests that were quicker, from requests whose constraints the amount free says
 * nothing about, and from an afunc of which nothing is known, as that of an arena which makes its
 * own spans.
 *
 * A request may ask for more than an amount, and what was freed be enough and yet not serve it.  So
 * who tried in vain isn't woken again before something else is freed, and whoever comes next in the
 * queue, or waits beside it in another importer, has his turn.
 *
 * Who waits for an object of a cache waits in the queue of the cache's source, and as one of the
 * cache's clients: a free of an object, or a new slab of them, wakes one of those who are asleep,
 * whoever has the baton.  A client who leaves wakes the next, and who tried in vain tries again, if
 * more objects are free than clients are up who have yet to look: whoever has begun to try may have
 * looked before an object came, or have one already, and be long about what is left to do.
 *
 * REPRESENTATION
 *
 * A waiter lies on its thread's stack and is linked twice: in a tree by size, then arrival, and in
 * a list by arrival.  The first of the tree is next, unless the oldest has seen 64 others served
 * since it came.  An arena with waiters, in its own queue or above it, is linked in the list
 * `short_above` of the arena next in its chain, and `slow`.  So a free sees in one flag that
 * somebody waits, and finds him by going up such lists.  Everything is there before anyone sleeps:
 * sleeping and waking allocate nothing.
 *
 * INVARIANTS
 *
 *  1. An arena is in its downstream arena's short_above iff it has waiters or a short_above of its
 *     own, and then, and only then, it is slow.
 *  2. A waiter without the baton that could be served has a free, an addition or a waiter that has
 *     the baton still to come, which will consider it: a free reads `slow` under the lock under
 *     which it frees, and a waiter tries once after it has entered.
 *  3. A waiter's `tried` is below `freed` iff something was freed since it began its last try in
 *     vain.
 *
 * LOCKING
 *
 *	shortage_lock (sleeps) -> an arena's lock -> the lock of an arena above it
 *
 * Links change under shortage_lock and the lock of the arena whose list it is.  A free goes up with
 * the locks of the arenas it passes held, so that none of them can leave; it lets go of all between
 * one importer and the next, wherever in the tree they are, so where it has come to is kept in the
 * arenas (is_passing).  No other path holds two arenas' locks.
 *
 * COST
 *
 * Logarithmic in the waiters; a free without waiters pays one flag.  A free with waiters looks at
 * one request of each arena that is short and hangs on it, until one can be served.  Each waiter
 * tries in vain once for each free at most.
 */
#include "arena_impl.h"

#include "sync.h"

/* As often another may be served first. */
#define PASSED_MAX 64

static struct qlock shortage_lock = QLOCK_INIT(shortage_lock);

/* How often something was freed that somebody may have waited for, in any arena. */
static uint64_t freed = 1;

/* Acquire: what was freed is there for whoever tries then. */
static uint64_t freed_now(void)
{
	return __atomic_load_n(&freed, __ATOMIC_ACQUIRE);
}

/* The queue.  The arena's lock is held. */

static inline struct arena_waiter *waiter_of(const struct tree_node *n)
{
	return n ? container_of(n, struct arena_waiter, by_size) : NULL;
}

static bool waiter_before(const struct tree_node *a, const struct tree_node *b)
{
	return waiter_of(a)->size < waiter_of(b)->size;
}

static inline uint64_t least_of(const struct tree_node *n)
{
	return n ? waiter_of(n)->tried_least : UINT64_MAX;
}

static bool waiter_update(const struct tree_ops *ops, struct tree_node *n)
{
	struct arena_waiter *w = waiter_of(n);
	uint64_t least = w->tried, was = w->tried_least;

	least = least_of(n->left) < least ? least_of(n->left) : least;
	least = least_of(n->right) < least ? least_of(n->right) : least;
	w->tried_least = least;
	return least != was;
}

static const struct tree_ops waiter_order = {
	.before = waiter_before, .update = waiter_update, .shapeless = true};

void arena_queue_init(struct arena_queue *q)
{
	*q = (struct arena_queue){.waiters = TREE_INIT};
	list_init(&q->by_age);
	list_init(&q->short_above);
	list_init(&q->short_link);
}

/* The first that hasn't tried in vain since something was freed, or NULL. */
static struct arena_waiter *first_untried(const struct arena_queue *q, uint64_t now)
{
	struct tree_node *n = q->waiters.root;

	if (least_of(n) >= now)
		return NULL;
	for (;;) {
		if (least_of(n->left) < now)
			n = n->left;
		else if (waiter_of(n)->tried < now)
			return waiter_of(n);
		else
			n = n->right;
	}
}

static struct arena_waiter *next_waiter(const struct arena_queue *q)
{
	uint64_t now = freed_now();
	struct arena_waiter *oldest;

	if (list_empty(&q->by_age))
		return NULL;
	oldest = list_first_entry(&q->by_age, struct arena_waiter, by_age);
	if (q->served - oldest->served_before >= PASSED_MAX && oldest->tried < now)
		return oldest;
	return first_untried(q, now);
}

/* shortage_lock is held, so neither changes; the list of those above does, while a free moves one to its end. */
static bool is_short(const struct arena_queue *q)
{
	return !list_empty(&q->by_age) || q->short_count > 0;
}

/* A cache counts those of its clients who will see what is free now. */
static void set_looks(struct arena_waiter *w, bool looks)
{
	if (w->clients)
		w->clients->looking += (size_t)looks - w->looks;
	w->looks = looks;
}

/* Who lies down again is the first of those asleep, as he was before. */
static void set_up(struct arena_waiter *w, bool up)
{
	if (up)
		list_del(&w->client_link);
	else if (w->clients && w->is_up)
		list_add(&w->clients->asleep, &w->client_link);
	w->is_up = up;
	set_looks(w, up);
}

/* Whether a cache has objects for more of its clients than look for one. */
static bool has_more(const struct arena_clients *clients)
{
	return clients && clients->objects(clients) > clients->looking;
}

static void wake(struct arena_queue *q, struct arena_waiter *w)
{
	w->missed = w->is_up;
	if (w->is_up)
		return;
	q->wakeups++;
	set_up(w, true);
	port_thread_unblock(w->thread);
}

static void baton_give(struct arena_queue *q, struct arena_waiter *w)
{
	q->baton = w;
	wake(q, w);
}

/* Who can be served */

/* What serves a waiter in one arena of a chain: a segment of `segment` units at least, or an object
 * of the front for `object` units.  They differ beneath an importer whose quantum isn't its
 * source's: it asks for more than it needs, so that there are whole quanta in it, unless it asks
 * for those as they are, as it does for constraints, or for a larger power of two. */
struct need {
	size_t segment, object;
};

static struct need need_of(size_t size)
{
	return (struct need){size, size};
}

/* The same in the source, or for what the arena makes itself; none if it does neither, or that is
 * more than there is. */
static struct need need_below(struct arena *a, struct need n)
{
	if (!a->afunc || n.segment == 0)
		return need_of(0);
	return (struct need){btag_round_up(&a->source->store, n.segment), arena_import_size(a, n.object)};
}

/* Whether what it or its front holds may serve.  Lock held. */
static bool holds_for(struct arena *a, struct need n)
{
	return btag_may_serve(&a->store, n.segment) ||
	       (n.object - 1 < a->front_max && a->front->may_serve(a->front, n.object));
}

/* Whether its sources may give `size` more, as far as can be told from their free segments. */
static bool sources_may_serve(struct arena *a, size_t size)
{
	struct need n = need_below(a, need_of(size));
	bool may = false;

	for (; n.segment && !may; n = need_below(a, n)) {
		port_irq_t irq;

		if (a->afunc != arena_alloc)
			return true;
		a = a->source;
		irq = spin_lock(&a->lock);
		may = holds_for(a, n);
		spin_unlock(&a->lock, irq);
	}
	return may;
}

/* Wakes the arena's next waiter if it may be served and nobody has the baton. */
static void consider(struct arena *a)
{
	struct arena_queue *q = &a->queue;
	port_irq_t irq = spin_lock(&a->lock);
	struct arena_waiter *w = q->baton ? NULL : next_waiter(q);
	size_t size = w ? w->size : 0;

	if (w && holds_for(a, need_of(size))) {
		baton_give(q, w);
		w = NULL;
	}
	spin_unlock(&a->lock, irq);

	if (!w || !sources_may_serve(a, size))
		return;
	irq = spin_lock(&a->lock);
	if (!q->baton && (w = next_waiter(q)))
		baton_give(q, w);
	spin_unlock(&a->lock, irq);
}

/* Frees */

/* The arenas from the one that was freed in up to one that is short; all their locks are held. */
struct reach {
	struct arena *arena;
	const struct reach *below;
};

static bool reach_may_serve(const struct reach *r, struct need n)
{
	while (n.segment && !holds_for(r->arena, n)) {
		/* A span that was unmade may be made again.  Else, below the first arena nothing
		 * was freed; and what only tags come from gives no segments. */
		if (r->arena->source == r->arena)
			return true;
		if (!r->below || r->arena->source != r->below->arena)
			return false;
		if (r->arena->afunc != arena_alloc)
			return true;
		n = need_below(r->arena, n);
		r = r->below;
	}
	return n.segment != 0;
}

/* Wakes the arena's own next waiter, if the free may serve it. */
static bool own_wake(const struct reach *r)
{
	struct arena_queue *q = &r->arena->queue;
	struct arena_waiter *w = q->baton ? NULL : next_waiter(q);
	bool wakes = w && reach_may_serve(r, need_of(w->size));

	if (wakes)
		baton_give(q, w);
	return wakes;
}

/* Has one arena above the last of r take its turn: the first that is short there, and then, call by
 * call, those above that one.  After them it goes to the end of the list, and has been passed.
 * Says whether one was woken. */
static bool above_wake(const struct reach *r)
{
	struct arena_queue *q = &r->arena->queue, *up_q;
	struct reach up = {list_first_entry(&q->short_above, struct arena, queue.short_link), r};
	port_irq_t irq = spin_lock_nested(&up.arena->lock);
	bool woke = false;

	up_q = &up.arena->queue;
	if (!up_q->is_passing) {
		woke = own_wake(&up);
		up_q->pass_end = up_q->passed + up_q->short_count;
	} else if (up_q->short_count > 0) {
		woke = above_wake(&up);
	}
	up_q->is_passing = up_q->short_count > 0 && up_q->passed < up_q->pass_end;
	spin_unlock(&up.arena->lock, irq);
	if (!up_q->is_passing) {
		list_del(&up_q->short_link);
		list_add_tail(&q->short_above, &up_q->short_link);
		q->passed++;
	}
	return woke;
}

/* All that are short when it begins have their turn, whoever else frees meanwhile and moves the
 * list on: one of them may already be at it, so it takes its turn twice. */
static void wake_one(struct arena *a)
{
	struct arena_queue *q = &a->queue;
	struct reach r = {a, NULL};
	port_irq_t irq = spin_lock(&a->lock);
	bool woke = own_wake(&r);
	uint64_t end = q->passed + q->short_count;

	if (q->short_count > 0)
		end += list_first_entry(&q->short_above, struct arena, queue.short_link)->queue.is_passing;
	while (!woke && q->short_count > 0 && q->passed < end) {
		woke = above_wake(&r);
		spin_unlock(&a->lock, irq);
		irq = spin_lock(&a->lock);
	}
	spin_unlock(&a->lock, irq);
}

void arena_freed(struct arena *a)
{
	/* Release: pairs with freed_now(). */
	__atomic_fetch_add(&freed, 1, __ATOMIC_RELEASE);
	wake_one(a);
}

void arena_clients_wake(struct arena *a, struct arena_clients *clients)
{
	port_irq_t irq = spin_lock(&a->lock);

	/* Who is up looks yet, or does when he has tried in vain. */
	if (!list_empty(&clients->asleep))
		wake(&a->queue, list_first_entry(&clients->asleep, struct arena_waiter, client_link));
	spin_unlock(&a->lock, irq);
}

/* The chain */

/* The arena next in a chain, NULL behind the last. */
static struct arena *downstream(const struct arena *a)
{
	if (a->source && a->source != a)
		return a->source;
	return a->base == a ? NULL : a->base;
}

static void chain_wake(struct arena *a)
{
	for (; a; a = downstream(a))
		if (__atomic_load_n(&a->queue.slow, __ATOMIC_RELAXED))
			wake_one(a);
}

void arena_chain_freed(struct arena *a)
{
	arena_freed(a);
	chain_wake(downstream(a));
}

static void set_slow(struct arena *a, bool slow)
{
	port_irq_t irq = spin_lock(&a->lock);

	__atomic_store_n(&a->queue.slow, slow, __ATOMIC_RELAXED);
	spin_unlock(&a->lock, irq);
	if (a->front)
		a->front->set_slow(a->front, slow);
}

/* shortage_lock is held. */
static void chain_mark(struct arena *a)
{
	struct arena *down;

	for (; a && !a->queue.slow; a = down) {
		set_slow(a, true);
		down = downstream(a);
		if (down) {
			port_irq_t irq = spin_lock(&down->lock);

			a->queue.is_passing = false;
			list_add_tail(&down->queue.short_above, &a->queue.short_link);
			down->queue.short_count++;
			spin_unlock(&down->lock, irq);
		}
	}
}

/* shortage_lock is held. */
static void chain_unmark(struct arena *a)
{
	struct arena *down;

	for (; a && !is_short(&a->queue); a = down) {
		set_slow(a, false);
		down = downstream(a);
		if (down) {
			port_irq_t irq = spin_lock(&down->lock);

			list_del(&a->queue.short_link);
			down->queue.short_count--;
			spin_unlock(&down->lock, irq);
		}
	}
}

/* What fronts hold idle, or spans that were retained before the chain was slow, may be all that is missing. */
static void chain_drain(struct arena *a)
{
	for (; a; a = downstream(a)) {
		if (a->front)
			a->front->drain(a->front, true);
		if (a->afunc)
			arena_spans_reap(a, SIZE_MAX);
	}
}

/* Coming and going */

/* A client comes.  Returns whether it is up at once: the first, and all where one's luck is another's.
 * Lock held. */
static bool client_enter(struct arena_clients *c, struct arena_waiter *w)
{
	bool up = c->count == 0 || c->is_shared;

	__atomic_store_n(&c->count, c->count + 1, __ATOMIC_RELAXED);
	list_add_tail(&c->asleep, &w->client_link);
	if (up)
		set_up(w, true);
	return up;
}

/* Returns whether it was the last.  Lock held. */
static bool client_leave(struct arena_clients *c, struct arena_waiter *w)
{
	list_del(&w->client_link);
	__atomic_store_n(&c->count, c->count - 1, __ATOMIC_RELAXED);
	return c->count == 0;
}

/* Returns whether it is a client, and up at once. */
static bool enter(struct arena *a, struct arena_waiter *w, struct arena_clients *clients)
{
	struct arena_queue *q = &a->queue;
	port_irq_t irq;
	bool up;

	qlock_lock(&shortage_lock);
	irq = spin_lock(&a->lock);
	w->served_before = q->served;
	tree_insert(&q->waiters, &w->by_size, &waiter_order);
	list_add_tail(&q->by_age, &w->by_age);
	up = clients && client_enter(clients, w);
	__atomic_store_n(&q->count, q->count + 1, __ATOMIC_RELAXED);
	q->sleeps++;
	spin_unlock(&a->lock, irq);
	if (up)
		clients->set_slow(clients, true);
	chain_mark(a);
	qlock_unlock(&shortage_lock);
	return up;
}

static void leave(
	struct arena *a, struct arena_waiter *w, bool served, struct arena_clients *clients)
{
	struct arena_queue *q = &a->queue;
	port_irq_t irq;
	bool last, more;

	qlock_lock(&shortage_lock);
	irq = spin_lock(&a->lock);
	tree_remove(&q->waiters, &w->by_size, &waiter_order);
	list_del(&w->by_age);
	if (q->baton == w)
		q->baton = NULL;
	__atomic_store_n(&q->count, q->count - 1, __ATOMIC_RELAXED);
	q->served += served;
	set_up(w, false);
	last = clients && client_leave(clients, w);
	more = has_more(clients);
	spin_unlock(&a->lock, irq);
	if (last)
		clients->set_slow(clients, false);
	chain_unmark(a);
	qlock_unlock(&shortage_lock);
	/* The place behind is free, and what this one left may serve another: a client, if there are
	 * more objects than clients look for, one here, or one above wherever in the chain it was
	 * left, for a free wakes one alone. */
	if (more)
		arena_clients_wake(a, clients);
	if (__atomic_load_n(&q->slow, __ATOMIC_RELAXED))
		consider(a);
	for (; a; a = downstream(a))
		if (__atomic_load_n(&a->queue.slow, __ATOMIC_RELAXED))
			arena_freed(a);
}

/* It tried in vain what there was when `tried` had been freed.  Stays up if something has come
 * meanwhile.  What woke it may serve another: the next here, or one beside it. */
static void lie_down(struct arena *a, struct arena_waiter *w, uint64_t tried)
{
	struct arena_queue *q = &a->queue;
	port_irq_t irq = spin_lock(&a->lock);

	if (q->baton == w)
		q->baton = NULL;
	set_up(w, w->missed || has_more(w->clients));
	w->missed = false;
	w->tried = tried;
	tree_update(&w->by_size, &waiter_order);
	spin_unlock(&a->lock, irq);
	consider(a);
	chain_wake(a);
}

static bool is_up(struct arena *a, struct arena_waiter *w)
{
	port_irq_t irq = spin_lock(&a->lock);
	bool up = w->is_up;

	spin_unlock(&a->lock, irq);
	return up;
}

/* Tries once; whether it was served. */
static bool attempt(struct arena *a, struct arena_waiter *w, bool (*try)(void *arg), void *arg)
{
	port_irq_t irq = spin_lock(&a->lock);
	uint64_t tried;

	set_looks(w, false);
	spin_unlock(&a->lock, irq);
	tried = freed_now();
	if (try(arg))
		return true;
	lie_down(a, w, tried);
	return false;
}

/* Sleeps until it may try; false at the deadline. */
static bool sleep_until_turn(struct arena *a, struct arena_waiter *w, uint64_t deadline)
{
	while (!is_up(a, w)) {
		if (deadline != PORT_FOREVER && port_ns() >= deadline)
			return is_up(a, w);
		port_thread_block(deadline);
	}
	return true;
}

bool arena_wait(struct arena *a, size_t size, bool (*try)(void *arg), void *arg, uint64_t deadline,
	struct arena_clients *clients)
{
	struct arena_waiter w = {.size = size, .clients = clients, .thread = port_thread_self()};
	bool up, served;

	list_init(&w.client_link);
	up = enter(a, &w, clients);
	if (up)
		clients->drain(clients);
	chain_drain(a);
	consider(a);
	/* An object that was freed before the cache was slow has woken nobody.  Later ones have: who
	 * isn't the first lets them be. */
	served = up && attempt(a, &w, try, arg);
	if (!served && arena_poke && !is_up(a, &w))
		arena_poke(a);
	while (!served && sleep_until_turn(a, &w, deadline))
		served = attempt(a, &w, try, arg);
	leave(a, &w, served, clients);
	return served;
}

static __attribute__((noreturn, cold)) void wait_forever(struct arena *a, size_t size, void *caller)
{
	struct arena_stats s;

	arena_get_stats(a, &s);
	arena_bug(a, caller,
		"%zu wanted with MEM_WAIT, %zu free, at most %zu in one piece, and nothing runs that "
		"could free any",
		size, (size_t)s.free, (size_t)s.largest_free);
}

bool arena_shortage(struct arena *a, size_t size, bool (*try)(void *arg), void *arg, uint64_t deadline,
	enum arena_failure why, void *caller)
{
	bool served = false;

	/* An NMI may have landed where this core holds the lock. */
	if (port_in_nmi())
		return false;
	if (deadline > 0 && !port_thread_self())
		wait_forever(a, size, caller);
	if (deadline > 0)
		served = arena_wait(a, size, try, arg, deadline, NULL);
	if (!served)
		arena_count_failure(a, deadline > 0 ? ARENA_FAILURE_DEADLINE : why);
	return served;
}
