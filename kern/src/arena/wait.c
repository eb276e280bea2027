/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shortage: the queue of requests that sleep.
 *
 * CONCEPTS
 *
 * Only the outermost call sleeps.  Beneath it, every layer is asked atomically: front, cache, source.
 * When all of that has failed, the outermost call leaves a record in the one queue of all sleepers
 * and sleeps until the record is answered.  Sleepers don't wake each other, and a free doesn't judge
 * which request it could serve, since it can't know.  A free pokes the server, a ktask, which tries
 * for the records, the oldest first, and hands each what it wanted (kern/src/reclaim/serve.c).
 *
 * A record's parts name what it depends on: arenas with all that they import from, to the root, and
 * caches.  A request that lacks boundary tags, too, depends on the base arena that tags are made of.
 *
 * An arena or cache is *short* while a record depends on it, and SHORTAGE_LINGER_NS longer.  While it
 * is, its fronts' and its own stacks are closed on all cores, so that what is freed reaches it, and
 * such a free pokes.  An arena is *pressed* if it, one of its sources or its base is short: then it
 * keeps no whole span and no idle tags, a cache that draws on it keeps no empty slab, and a free that
 * leaves the hot path of a memory cache empties that core's magazines.
 *
 * A request that may sleep and finds records of the same arena or cache leaves one itself, without a try
 * of its own: so none is overtaken by a later one that wants the same.  Where requests of other arenas
 * draw on the same root they take what they find, and records count that.  One that has been passed
 * PASSED_MAX times *holds up* later requests of its root for SHORTAGE_HOLD_NS.
 *
 * A record that a hardest pass of reclaim couldn't serve, and that is large, is *parked*: it makes
 * nothing short, it counts in no target, and the server tries for it on its timer.
 *
 * REPRESENTATION
 *
 * A record lies on its sleeper's stack (shortage.h).  It enters the queue at the end, and leaves it by
 * its sleeper alone, whatever ended the sleep.  The server's place in the queue is a node that is no
 * record, so records may leave around it.  Each short thing has a mark, which counts the records that
 * make it short.  A root has an account of what its records want.
 *
 * INVARIANTS
 *
 *  1. A mark counts, for each record that isn't parked, each part through which it depends on the
 *     marked thing; it is set if that isn't 0, or while it lingers.
 *  2. A record that could be served has a try to come: a free reads whether anything is short under
 *     the lock under which it freed; a mark is set under that lock too, before the record's first try;
 *     what cores held when it was set has gone back; and a poke that comes during a round leads to
 *     another one.
 *  3. A record changes from TRYING to another state, and its sleeper is unblocked, under the queue's
 *     lock.  An answer is the sleeper's from then on, whatever its deadline.
 *
 * LOCKING
 *
 *	shortage_marks_lock (sleeps) -> a mark's set(): depot, slab layer, arena
 *	shortage_marks_lock (sleeps) -> the queue's lock
 *
 * Records come and leave under both locks, so under either of them the queue stands still but for the
 * server's place.  The server takes the queue's lock alone.
 *
 * COST
 *
 * A free where nothing is short pays one load.  To sleep costs a step for each source and, where
 * nothing was short yet, a call on each core.
 */
#include "shortage.h"

#include "arena_impl.h"
#include "lib/string.h"

#define unlikely(x) __builtin_expect(!!(x), 0)

/* How often others may be served before a record holds them up; and, once that has ended, for how many
 * times as long nothing is held up: so that it is a tenth of the time. */
#define PASSED_MAX 64
#define HOLD_PAUSE 9

#define COUNTED_MAX ((size_t)1 << 47) /* units of one part that count in what its root wants */
#define SCAN_STEP 32 /* records that are passed under one hold of the queue's lock */

unsigned shortage_ktasks;
uint64_t shortage_hard_begun, shortage_hard_done;
unsigned shortage_marks_set;

static void poke_nobody(struct arena *a)
{
}

void (*arena_poke)(struct arena *a) = poke_nobody;

struct qlock shortage_marks_lock = QLOCK_INIT(shortage_marks_lock);
static struct list lingering = LIST_INIT(lingering); /* marks, the first to end first */

static struct {
	struct spinlock lock;
	struct shortage head;	/* no record: the first is behind it, the last before it */
	struct shortage cursor; /* no record: the server's place, in the queue during a round */
	size_t count;		/* of all; atomic */
	size_t unanswered;	/* of those: atomic */
	uint64_t round;
	unsigned holders;	/* roots with a record that holds up others; atomic */
	uint64_t changes;	/* of accounts */
	bool poked;
	struct rendez server;
	port_thread_t *server_thread;
	struct shortage_counts counts;
} q = {
	.lock = SPINLOCK_INIT(SPIN_SHORTAGE),
	.head = {.next = &q.head, .prev = &q.head},
	.server = RENDEZ_INIT(server),
};

/* Links; the queue's lock is held. */

static void link_before(struct shortage *at, struct shortage *s)
{
	s->next = at;
	s->prev = at->prev;
	at->prev->next = s;
	at->prev = s;
}

static void unlink_record(struct shortage *s)
{
	s->prev->next = s->next;
	s->next->prev = s->prev;
}

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
	port_irq_t irq = spin_lock(&q.lock);
	struct arena_account *a = &root->account;
	struct shortage_wants w = {a->wanted, a->short_records, a->errors, q.changes};

	spin_unlock(&q.lock, irq);
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

size_t shortage_chain_free(struct arena *a)
{
	size_t sum = 0;

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

/* Pokes */

void shortage_poke_always(void)
{
	if (!__atomic_exchange_n(&q.poked, true, __ATOMIC_SEQ_CST))
		rendez_wakeup(&q.server);
}

/* What the server gives back doesn't poke it: it was there when the round's tries began.  An interrupt
 * may come while it runs. */
void shortage_poke(void)
{
	if (__atomic_load_n(&q.unanswered, __ATOMIC_RELAXED) == 0)
		return;
	if (port_thread_self() == __atomic_load_n(&q.server_thread, __ATOMIC_RELAXED) && !port_in_irq())
		return;
	shortage_poke_always();
}

static bool is_poked(void *arg)
{
	return __atomic_load_n(&q.poked, __ATOMIC_ACQUIRE);
}

void shortage_await_poke(uint64_t deadline)
{
	__atomic_store_n(&q.server_thread, port_thread_self(), __ATOMIC_RELAXED);
	rendez_sleep_timeout(&q.server, is_poked, NULL, deadline);
	/* Acquire: what was freed before the poke is there for the round. */
	(void)__atomic_exchange_n(&q.poked, false, __ATOMIC_SEQ_CST);
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

static void mark_add(struct shortage_mark *m)
{
	if (m->count++ > 0)
		return;
	list_del(&m->lingers);
	if (!m->is_set)
		mark_set(m, true);
}

/* The reclaim ktask is poked by the first that lingers, and comes back for the others. */
static void mark_sub(struct shortage_mark *m)
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

		if (m->until > port_ns()) {
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

/* Parts of records */

static struct shortage_part *part_of(struct shortage *s, unsigned i)
{
	return i < s->part_count ? &s->parts[i] : s->has_tag_part && i == s->part_count ? &s->tag_part : NULL;
}

/* Each mark on the part's way. */
static void part_each(const struct shortage_part *p, void (*fn)(struct shortage_mark *m))
{
	for (struct arena *a = p->arena; a; a = arena_source(a))
		fn(&a->mark);
	if (p->cache)
		fn(p->cache);
}

static struct arena *first_arena(const struct shortage *s)
{
	return s->parts[0].arena;
}

/* The mark of what the record names first. */
static struct shortage_mark *named_by(const struct shortage *s)
{
	return s->parts[0].cache ? s->parts[0].cache : &first_arena(s)->mark;
}

static bool waits_for_pass(const struct shortage *s)
{
	return (s->flags & MEM_ERROR) && (s->deadline == 0 || s->deadline == PORT_FOREVER);
}

/* What a part adds to its root's account: less than all, so that no sum of records wraps. */
size_t shortage_counted(const struct shortage_part *p)
{
	return p->amount < COUNTED_MAX ? p->amount : COUNTED_MAX;
}

/* What each part adds to its root's account, `sign` times.  Queue's lock held. */
static void account_add(struct shortage *s, int sign)
{
	struct shortage_part *p;

	q.changes++;
	__atomic_fetch_add(&named_by(s)->ahead, (unsigned)sign, __ATOMIC_RELAXED);
	__atomic_store_n(&s->is_counted, sign > 0, __ATOMIC_RELAXED);
	for (unsigned i = 0; (p = part_of(s, i)); i++) {
		struct arena_account *account = &arena_root(p->arena)->account;

		account->wanted += (size_t)sign * shortage_counted(p);
		__atomic_fetch_add(&account->short_records, (unsigned)sign, __ATOMIC_RELAXED);
		account->errors += sign > 0 && waits_for_pass(s);
	}
}

static void account_end(struct shortage *s)
{
	if (s->is_counted)
		account_add(s, -1);
}

static void waiter_add(struct shortage_mark *m)
{
	m->waiters++;
}

static void waiter_sub(struct shortage_mark *m)
{
	m->waiters--;
}

static void parts_each(struct shortage *s, void (*fn)(struct shortage_mark *m))
{
	struct shortage_part *p;

	for (unsigned i = 0; (p = part_of(s, i)); i++)
		part_each(p, fn);
}

void shortage_adopt_tags(struct shortage *s)
{
	struct arena *a = __atomic_load_n(&s->lacks_tags, __ATOMIC_RELAXED);
	struct shortage_part tags;
	port_irq_t irq;
	bool is_counted;

	if (!a || s->has_tag_part || s->is_parked)
		return;
	tags = (struct shortage_part){a->base, PORT_PAGE_SIZE, PORT_PAGE_SIZE, NULL};
	part_each(&tags, waiter_add);
	part_each(&tags, mark_add);
	irq = spin_lock(&q.lock);
	is_counted = s->is_counted;
	account_end(s);
	s->tag_part = tags;
	s->has_tag_part = true;
	if (is_counted)
		account_add(s, 1);
	spin_unlock(&q.lock, irq);
}

static void count_parked(struct shortage *s, int sign)
{
	struct shortage_part *p;

	for (unsigned i = 0; (p = part_of(s, i)); i++)
		arena_root(p->arena)->account.parked += (unsigned)sign;
	__atomic_fetch_add(&q.counts.parked, (size_t)sign, __ATOMIC_RELAXED);
}

void shortage_park(struct shortage *s)
{
	port_irq_t irq = spin_lock(&q.lock);

	account_end(s);
	s->is_parked = true;
	spin_unlock(&q.lock, irq);
	parts_each(s, mark_sub);
	count_parked(s, 1);
}

void shortage_unpark(struct shortage *s)
{
	port_irq_t irq;

	count_parked(s, -1);
	parts_each(s, mark_add);
	irq = spin_lock(&q.lock);
	s->is_parked = false;
	if (s->state != SHORTAGE_ANSWERED)
		account_add(s, 1);
	spin_unlock(&q.lock, irq);
}

struct shortage *shortage_after(struct shortage *s)
{
	port_irq_t irq = spin_lock(&q.lock);

	s = s ? s->next : q.head.next;
	if (s == &q.cursor)
		s = s->next;
	spin_unlock(&q.lock, irq);
	return s == &q.head ? NULL : s;
}

/* Coming and leaving */

static void enter(struct shortage *s)
{
	struct arena *a = first_arena(s);
	port_irq_t irq;

	s->thread = port_thread_self();
	s->since = port_ns();
	qlock_lock(&shortage_marks_lock);
	s->hard_begun = shortage_hard_begun;
	__atomic_fetch_add(&q.count, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&q.unanswered, 1, __ATOMIC_SEQ_CST);
	parts_each(s, waiter_add);
	parts_each(s, mark_add);
	shortage_adopt_tags(s);
	irq = spin_lock(&q.lock);
	link_before(&q.head, s);
	account_add(s, 1);
	q.counts.sleeps++;
	s->passes_seen = __atomic_load_n(&arena_root(a)->account.serves, __ATOMIC_RELAXED);
	spin_unlock(&q.lock, irq);
	__atomic_fetch_add(&a->sleeps, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&a->waiting, 1, __ATOMIC_RELAXED);
	qlock_unlock(&shortage_marks_lock);
}

/* Queue's lock held. */
static void hold_end(struct arena_account *account)
{
	account->holder = NULL;
	account->hold_after = port_ns() + HOLD_PAUSE * SHORTAGE_HOLD_NS;
	__atomic_store_n(&account->is_held, false, __ATOMIC_RELAXED);
	__atomic_fetch_sub(&q.holders, 1, __ATOMIC_RELAXED);
}

static void leave(struct shortage *s)
{
	struct arena *a = first_arena(s);
	struct arena_account *account = &arena_root(a)->account;
	port_irq_t irq;

	qlock_lock(&shortage_marks_lock);
	irq = spin_lock(&q.lock);
	unlink_record(s);
	account_end(s);
	if (account->holder == s)
		hold_end(account);
	spin_unlock(&q.lock, irq);
	if (s->is_parked)
		count_parked(s, -1);
	else
		parts_each(s, mark_sub);
	parts_each(s, waiter_sub);
	__atomic_fetch_sub(&q.count, 1, __ATOMIC_RELAXED);
	__atomic_fetch_sub(&a->waiting, 1, __ATOMIC_RELAXED);
	qlock_unlock(&shortage_marks_lock);
}

/* Queue's lock held. */
static void set_answered(struct shortage *s)
{
	s->state = SHORTAGE_ANSWERED;
	__atomic_fetch_sub(&q.unanswered, 1, __ATOMIC_RELAXED);
	/* Its sleeper may take a while to leave, and wants nothing any more. */
	account_end(s);
}

/* Whether it is answered; at its deadline it is, unless the server is at it. */
static bool is_answered(struct shortage *s)
{
	bool late = s->deadline && s->deadline != PORT_FOREVER && port_ns() >= s->deadline, answered;
	port_irq_t irq = spin_lock(&q.lock);

	if (late && s->state == SHORTAGE_WAITING)
		set_answered(s);
	s->is_late = late;
	answered = s->state == SHORTAGE_ANSWERED;
	spin_unlock(&q.lock, irq);
	return answered;
}

/* While the server is at it, the deadline counts for nothing. */
static uint64_t wake_time(const struct shortage *s)
{
	return s->deadline && !s->is_late ? s->deadline : PORT_FOREVER;
}

/* Whether a caller with these flags may sleep here for a shortage. */
static bool may_sleep(unsigned flags)
{
	if ((flags & MEM_ATOMIC) || !shortage_is_served() ||
		!port_irq_enabled() || port_in_irq() || !port_thread_self())
		return false;
	return !port_thread_words()[PORT_THREAD_CALLBACK] && !port_thread_words()[PORT_THREAD_RECLAIM] &&
	       !qlock_is_held_by_me(&arenas_and_slabs_lock);
}

/* Whether something hangs on the arena, beside the importer `but`, that may give back.
 * arenas_and_slabs_lock is held. */
static bool may_gain(struct arena *a, const struct arena *but)
{
	port_irq_t irq = spin_lock(&a->lock);
	struct list *l;
	bool has = a->front || a->reclaim || a->retained > 0 || !list_empty(&a->slabs);

	spin_unlock(&a->lock, irq);
	if (has)
		return true;
	list_for_each(l, &a->importers)
		if (list_entry(l, struct arena, importer_link) != but)
			return true;
	return false;
}

/* Whether a request by MEM_ERROR is refused at once: more than the root has was asked for, or nothing hangs
 * on the arena and its sources that could give something back. */
static bool is_chain_hopeless(struct arena *a, size_t size)
{
	struct arena *root = arena_root(a), *but = NULL;
	bool hopeless = true;

	if (root->source == root)
		return false;
	if (size > arena_amt_total(root))
		return true;
	qlock_lock(&arenas_and_slabs_lock);
	for (; a && hopeless; but = a, a = arena_source(a))
		hopeless = !may_gain(a, but);
	qlock_unlock(&arenas_and_slabs_lock);
	return hopeless;
}

static __attribute__((noreturn, cold)) void wait_forever(struct shortage *s)
{
	struct arena_stats st;

	/* That says why, if it is the context that forbids to sleep. */
	arena_check_flags(first_arena(s), s->flags, s->caller);
	arena_get_stats(first_arena(s), &st);
	arena_bug(first_arena(s), s->caller,
		"%zu wanted with MEM_WAIT, %zu free, at most %zu in one piece, and nothing runs that "
		"could free any",
		s->parts[0].piece, (size_t)st.free, (size_t)st.largest_free);
}

/* No request can sleep yet, or none can here. */
static bool try_idle(struct shortage *s)
{
	bool served = false;

	if (!shortage_is_served() && port_irq_enabled() && !port_in_irq()) {
		for (unsigned i = 0; i < s->part_count; i++)
			for (struct arena *a = s->parts[i].arena; a; a = arena_source(a)) {
				if (a->front)
					a->front->drain(a->front, ARENA_DRAIN_ALL);
				if (a->afunc)
					arena_spans_reap(a, SIZE_MAX);
			}
		served = s->try(s);
	}
	if (!served && (s->flags & MEM_WAIT))
		wait_forever(s);
	return served;
}

static bool is_hopeless(struct shortage *s)
{
	bool hopeless = false;

	for (unsigned i = 0; i < s->part_count; i++)
		hopeless = hopeless || is_chain_hopeless(s->parts[i].arena, s->parts[i].amount);
	return hopeless && !s->lacks_tags;
}

bool shortage_wait(struct shortage *s)
{
	if (!may_sleep(s->flags))
		return try_idle(s);
	/* One that stood back for others hasn't tried yet. */
	if (waits_for_pass(s) && is_hopeless(s))
		return s->try(s);
	enter(s);
	shortage_poke();
	arena_poke(first_arena(s));
	while (!is_answered(s))
		port_thread_block(wake_time(s));
	leave(s);
	return s->served;
}

bool arena_shortage(struct arena *a, size_t size, struct shortage *s, enum arena_failure why)
{
	struct shortage_part part = {a, size, size, NULL};
	bool served = false;

	/* An NMI may have landed where this core holds the lock. */
	if (port_in_nmi())
		return false;
	if (!(s->flags & MEM_ATOMIC)) {
		s->parts = &part;
		s->part_count = 1;
		s->lacks_tags = why == ARENA_FAILURE_TAGS ? a : NULL;
		served = shortage_wait(s);
	}
	if (!served)
		arena_count_failure(
			a, s->deadline && s->deadline != PORT_FOREVER ? ARENA_FAILURE_DEADLINE : why);
	return served;
}

bool arena_sleep(struct arena_request *r, shortage_try_fn try, uint64_t deadline, void *caller)
{
	struct arena_sleep s = {
		.record = {.try = try,
			.flags = r->flags & MEM_FLAGS,
			.deadline = deadline,
			.caller = caller,
			.is_plain = r->rq.is_plain && r->rq.fit == BTAG_FIT_ANY},
		.request = r,
	};

	return arena_shortage(r->arena, r->rq.size, &s.record, r->why);
}

/* Order */

static bool is_held(struct arena *a)
{
	return __atomic_load_n(&q.holders, __ATOMIC_RELAXED) > 0 &&
	       __atomic_load_n(&arena_root(a)->account.is_held, __ATOMIC_RELAXED);
}

bool shortage_must_queue(struct arena *a, const struct shortage_mark *m, unsigned flags)
{
	if ((flags & MEM_ATOMIC) || (__atomic_load_n(&m->ahead, __ATOMIC_RELAXED) == 0 && !is_held(a)))
		return false;
	return may_sleep(flags);
}

void arena_passed(struct arena *a)
{
	__atomic_fetch_add(&arena_root(a)->account.serves, 1, __ATOMIC_RELAXED);
}

/* What was served since its last try has passed it.  Queue's lock held. */
static void count_passes(struct shortage *s, struct arena_account *account)
{
	size_t serves = __atomic_load_n(&account->serves, __ATOMIC_RELAXED);

	__atomic_store_n(&s->passed, s->passed + (serves - s->passes_seen), __ATOMIC_RELAXED);
	s->passes_seen = serves;
	if (account->holder || s->is_parked || s->passed < PASSED_MAX || port_ns() < account->hold_after)
		return;
	account->holder = s;
	account->held_since = port_ns();
	__atomic_store_n(&account->is_held, true, __ATOMIC_RELAXED);
	__atomic_fetch_add(&q.holders, 1, __ATOMIC_RELAXED);
}

/* Whether another record holds this one up, any part of it.  Queue's lock held. */
static bool is_held_up(struct shortage *s)
{
	struct shortage_part *p;

	for (unsigned i = 0; (p = part_of(s, i)); i++) {
		struct arena_account *account = &arena_root(p->arena)->account;

		if (account->holder && port_ns() - account->held_since >= SHORTAGE_HOLD_NS)
			hold_end(account);
		if (account->holder && account->holder != s && account->holder->since <= s->since)
			return true;
	}
	return false;
}

/* Rounds */

void shortage_round_begin(void)
{
	port_irq_t irq = spin_lock(&q.lock);

	q.round++;
	link_before(q.head.next, &q.cursor);
	spin_unlock(&q.lock, irq);
}

/* Moves the cursor behind the next record; NULL at the end, or if none is to be tried yet.  Queue's
 * lock held. */
static struct shortage *cursor_move(void)
{
	struct shortage *s = q.cursor.next;

	unlink_record(&q.cursor);
	if (s == &q.head)
		return NULL;
	link_before(s->next, &q.cursor);
	return s->state == SHORTAGE_WAITING && !is_held_up(s) ? s : NULL;
}

struct shortage *shortage_round_next(void)
{
	struct shortage *s = NULL;
	bool ended = false;

	while (!s && !ended) {
		port_irq_t irq = spin_lock(&q.lock);

		for (int i = 0; i < SCAN_STEP && !s && !ended; i++) {
			ended = q.cursor.next == &q.head;
			s = cursor_move();
		}
		if (s)
			s->state = SHORTAGE_TRYING;
		spin_unlock(&q.lock, irq);
	}
	return s;
}

void shortage_round_settle(struct shortage *s, bool served, uint64_t hard_done)
{
	struct arena *a = first_arena(s);
	struct arena_account *account = &arena_root(a)->account;
	bool refused = !served && waits_for_pass(s) && hard_done > s->hard_begun;
	port_irq_t irq = spin_lock(&q.lock);

	s->served = served;
	s->state = SHORTAGE_WAITING;
	if (served || refused)
		set_answered(s);
	q.counts.served += served;
	if (served && port_ns() - s->since > q.counts.longest_ns)
		q.counts.longest_ns = port_ns() - s->since;
	q.counts.refused += refused;
	if (served) {
		__atomic_fetch_add(&account->serves, 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&a->waits_served, 1, __ATOMIC_RELAXED);
	} else {
		count_passes(s, account);
	}
	/* It may be waiting for the end of the try, too. */
	if (s->state == SHORTAGE_ANSWERED) {
		q.counts.wakeups++;
		__atomic_fetch_add(&a->wakeups, 1, __ATOMIC_RELAXED);
		port_thread_unblock(s->thread);
	} else if (s->is_late) {
		port_thread_unblock(s->thread);
	}
	spin_unlock(&q.lock, irq);
}

static bool has_front(const struct arena *a)
{
	while (a && !a->front)
		a = arena_source(a);
	return a != NULL;
}

/* A front may hold a round of one size and none of a smaller one. */
bool shortage_failed_before(const struct shortage *s)
{
	struct shortage_mark *m = named_by(s);

	if (!s->is_plain || s->part_count != 1 || m->failed_round != q.round)
		return false;
	return s->parts[0].piece == m->failed_size ||
	       (s->parts[0].piece > m->failed_size && !s->parts[0].cache && !has_front(first_arena(s)));
}

void shortage_note_failure(const struct shortage *s)
{
	struct shortage_mark *m = named_by(s);

	if (!s->is_plain || s->part_count != 1)
		return;
	if (m->failed_round == q.round && m->failed_size <= s->parts[0].piece)
		return;
	m->failed_round = q.round;
	m->failed_size = s->parts[0].piece;
}

/* Inspection */

void shortage_get_counts(struct shortage_counts *c)
{
	port_irq_t irq = spin_lock(&q.lock);

	*c = q.counts;
	c->waiting = __atomic_load_n(&q.count, __ATOMIC_RELAXED);
	c->parked = __atomic_load_n(&q.counts.parked, __ATOMIC_RELAXED);
	c->holders = __atomic_load_n(&q.holders, __ATOMIC_RELAXED);
	spin_unlock(&q.lock, irq);
}

static void fill_row(const struct shortage *s, struct shortage_row *row)
{
	memset(row, 0, sizeof(*row));
	str_copy(row->arena, first_arena(s)->name, sizeof(row->arena));
	row->piece = s->parts[0].piece;
	row->amount = s->parts[0].amount;
	row->flags = s->flags;
	row->parts = s->part_count;
	row->is_parked = s->is_parked;
	row->since = s->since;
	row->deadline = s->deadline == PORT_FOREVER ? 0 : s->deadline;
	row->passed = __atomic_load_n(&s->passed, __ATOMIC_RELAXED);
	row->caller = s->caller;
}

size_t shortage_rows(struct shortage_row *rows, size_t max)
{
	size_t n = 0;

	qlock_lock(&shortage_marks_lock);
	for (struct shortage *s = shortage_after(NULL); s; s = shortage_after(s), n++)
		if (n < max)
			fill_row(s, &rows[n]);
	qlock_unlock(&shortage_marks_lock);
	return n;
}
