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
 * Here are the records and those who sleep; marks.c has what is short, rounds.c what the server does.
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
#include "wait_impl.h"

#include "lib/check.h"
#include "lib/held.h"
#include "lib/string.h"

#define unlikely(x) __builtin_expect(!!(x), 0)

/* When a record has held up others, nothing is held up for so many times as long: so that it is a tenth
 * of the time. */
#define HOLD_PAUSE 9

#define COUNTED_MAX ((size_t)1 << 47) /* units of one part that count in what its root wants */

unsigned shortage_ktasks;
uint64_t shortage_hard_begun, shortage_hard_done;

static void poke_nobody(struct arena *a)
{
}

void (*arena_poke)(struct arena *a) = poke_nobody;

static void reap_nothing(void)
{
}

void (*arena_reap_caches)(void) = reap_nothing;

struct shortage_queue shortage_queue = {
	.lock = SPINLOCK_INIT(SPIN_SHORTAGE),
	.head = {.next = &shortage_queue.head, .prev = &shortage_queue.head},
	.server = RENDEZ_INIT(server),
};

/* Parts of records */

/* Each mark on the part's way. */
static void part_each(const struct shortage_part *p, void (*fn)(struct shortage_mark *m))
{
	for (struct arena *a = p->arena; a; a = arena_source(a))
		fn(&a->mark);
	if (p->cache)
		fn(p->cache);
}

/* What a part adds to its root's account: less than all, so that no sum of records wraps. */
size_t shortage_counted(const struct shortage_part *p)
{
	return p->amount < COUNTED_MAX ? p->amount : COUNTED_MAX;
}

/* What each part adds to its root's account, `sign` times.  Queue's lock held. */
static void account_add(struct shortage *s, int sign) SPANDREL_REQUIRES(&shortage_queue.lock)
{
	struct shortage_part *p;

	shortage_queue.changes++;
	__atomic_fetch_add(&shortage_mark_of(s)->ahead, (unsigned)sign, __ATOMIC_RELAXED);
	__atomic_store_n(&s->is_counted, sign > 0, __ATOMIC_RELAXED);
	for (unsigned i = 0; (p = shortage_part_of(s, i)); i++) {
		struct arena_account *account = &arena_root(p->arena)->account;

		account->wanted += (size_t)sign * shortage_counted(p);
		__atomic_fetch_add(&account->short_records, (unsigned)sign, __ATOMIC_RELAXED);
		if (sign > 0 && shortage_waits_for_pass(s))
			account->error_came = shortage_hard_begun;
	}
}

static void account_end(struct shortage *s) SPANDREL_REQUIRES(&shortage_queue.lock)
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

	for (unsigned i = 0; (p = shortage_part_of(s, i)); i++)
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
	part_each(&tags, shortage_mark_add);
	irq = spin_lock(&shortage_queue.lock);
	is_counted = s->is_counted;
	account_end(s);
	s->tag_part = tags;
	s->has_tag_part = true;
	if (is_counted)
		account_add(s, 1);
	spin_unlock(&shortage_queue.lock, irq);
}

static void count_parked(struct shortage *s, int sign)
{
	struct shortage_part *p;

	for (unsigned i = 0; (p = shortage_part_of(s, i)); i++)
		arena_root(p->arena)->account.parked += (unsigned)sign;
	__atomic_fetch_add(&shortage_queue.parked, (size_t)sign, __ATOMIC_RELAXED);
}

void shortage_park(struct shortage *s)
{
	port_irq_t irq = spin_lock(&shortage_queue.lock);

	account_end(s);
	s->is_parked = true;
	spin_unlock(&shortage_queue.lock, irq);
	parts_each(s, shortage_mark_sub);
	count_parked(s, 1);
}

void shortage_unpark(struct shortage *s)
{
	port_irq_t irq;

	count_parked(s, -1);
	parts_each(s, shortage_mark_add);
	irq = spin_lock(&shortage_queue.lock);
	s->is_parked = false;
	if (s->state != SHORTAGE_ANSWERED)
		account_add(s, 1);
	spin_unlock(&shortage_queue.lock, irq);
}

struct shortage *shortage_after(struct shortage *s)
{
	port_irq_t irq = spin_lock(&shortage_queue.lock);

	s = s ? s->next : shortage_queue.head.next;
	if (s == &shortage_queue.cursor)
		s = s->next;
	spin_unlock(&shortage_queue.lock, irq);
	return s == &shortage_queue.head ? NULL : s;
}

/* Coming and leaving */

static void enter(struct shortage *s)
{
	struct arena *a = shortage_arena(s);
	port_irq_t irq;

	s->thread = port_thread_self();
	s->since = port_ns();
	qlock_lock(&shortage_marks_lock);
	s->hard_begun = shortage_hard_begun;
	__atomic_fetch_add(&shortage_queue.count, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&shortage_queue.unanswered, 1, __ATOMIC_SEQ_CST);
	parts_each(s, waiter_add);
	parts_each(s, shortage_mark_add);
	shortage_adopt_tags(s);
	irq = spin_lock(&shortage_queue.lock);
	shortage_link(&shortage_queue.head, s);
	account_add(s, 1);
	shortage_queue.counts.sleeps++;
	s->passes_seen = __atomic_load_n(&arena_root(a)->account.serves, __ATOMIC_RELAXED);
	spin_unlock(&shortage_queue.lock, irq);
	__atomic_fetch_add(&a->sleeps, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&a->waiting, 1, __ATOMIC_RELAXED);
	qlock_unlock(&shortage_marks_lock);
}

void shortage_hold_end(struct arena_account *account)
{
	account->holder = NULL;
	account->hold_after = port_ns() + HOLD_PAUSE * SHORTAGE_HOLD_NS;
	__atomic_store_n(&account->is_held, false, __ATOMIC_RELAXED);
	__atomic_fetch_sub(&shortage_queue.holders, 1, __ATOMIC_RELAXED);
}

static void leave(struct shortage *s)
{
	struct arena *a = shortage_arena(s);
	struct arena_account *account = &arena_root(a)->account;
	port_irq_t irq;

	qlock_lock(&shortage_marks_lock);
	irq = spin_lock(&shortage_queue.lock);
	shortage_unlink(s);
	account_end(s);
	if (account->holder == s)
		shortage_hold_end(account);
	spin_unlock(&shortage_queue.lock, irq);
	if (s->is_parked)
		count_parked(s, -1);
	else
		parts_each(s, shortage_mark_sub);
	parts_each(s, waiter_sub);
	__atomic_fetch_sub(&shortage_queue.count, 1, __ATOMIC_RELAXED);
	__atomic_fetch_sub(&a->waiting, 1, __ATOMIC_RELAXED);
	qlock_unlock(&shortage_marks_lock);
}

void shortage_set_answered(struct shortage *s)
{
	s->state = SHORTAGE_ANSWERED;
	__atomic_fetch_sub(&shortage_queue.unanswered, 1, __ATOMIC_RELAXED);
	/* Its sleeper may take a while to leave, and wants nothing any more. */
	account_end(s);
}

/* Whether it is answered; at its deadline it is, unless the server is at it. */
static bool is_answered(struct shortage *s)
{
	bool late = s->deadline && s->deadline != PORT_FOREVER && port_ns() >= s->deadline, answered;
	port_irq_t irq = spin_lock(&shortage_queue.lock);

	if (late && s->state == SHORTAGE_WAITING)
		shortage_set_answered(s);
	s->is_late = late;
	answered = s->state == SHORTAGE_ANSWERED;
	spin_unlock(&shortage_queue.lock, irq);
	return answered;
}

/* While the server is at it, the deadline counts for nothing. */
static uint64_t wake_time(const struct shortage *s)
{
	return s->deadline && !s->is_late ? s->deadline : PORT_FOREVER;
}

/* Whether a caller may reap here. */
static bool may_reap(void)
{
	return port_may_sleep() && !port_in_irq() && !port_word(PORT_THREAD_CALLBACK) &&
	       !port_word(PORT_THREAD_RECLAIM) && !qlock_is_held_by_me(&arenas_and_slabs_lock);
}

/* Whether a caller with these flags may sleep here for a shortage. */
static bool may_sleep(unsigned flags)
{
	return !(flags & MEM_ATOMIC) && shortage_is_served() && port_thread_self() && may_reap();
}

/* Whether something hangs on the arena, beside the importer `but`, that may give back.
 * arenas_and_slabs_lock is held. */
static bool may_gain(struct arena *a, const struct arena *but) SPANDREL_REQUIRES(&arenas_and_slabs_lock)
{
	port_irq_t irq = spin_lock(&a->lock);
	struct list *l;
	bool has = a->front || a->reclaim || a->retained > 0 || !list_empty(&a->slabs);

	/* Free parts of its spans go to its source. */
	has = has || (a->passes_down && a->store.segments_free > 0);

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
	if (!arena_may_ever_have(a, size))
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
	arena_check_flags(shortage_arena(s), s->flags, s->caller);
	arena_get_stats(shortage_arena(s), &st);
	arena_bug(shortage_arena(s), s->caller,
		"%zu wanted with MEM_WAIT, %zu free, at most %zu in one piece, and nothing runs that "
		"could free any",
		s->parts[0].piece, (size_t)st.free, (size_t)st.largest_free);
}

/* No request can sleep yet, or none can here. */
static bool try_idle(struct shortage *s)
{
	bool served = false;

	if (!shortage_is_served() && may_reap()) {
		arena_reap_caches();
		for (unsigned i = 0; i < s->part_count; i++)
			for (struct arena *a = s->parts[i].arena; a; a = arena_source(a)) {
				if (a->afunc) {
					arena_spans_reap(a, SIZE_MAX);
					arena_parts_reap(a, SIZE_MAX);
				}
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
	check_given("shortage_wait", "record", s, __builtin_return_address(0));
	check_given("shortage_wait", "try", s->try, __builtin_return_address(0));
	check_given("shortage_wait", "list of parts", s->parts, __builtin_return_address(0));
	if (!s->caller)
		s->caller = __builtin_return_address(0);
	arena_check_flags(shortage_arena(s), s->flags, s->caller);
	if ((s->flags & MEM_ERROR) && arena_failed_last())
		return false;
	if (!may_sleep(s->flags))
		return try_idle(s);
	/* One that stood back for others hasn't tried yet. */
	if (shortage_waits_for_pass(s) && is_hopeless(s))
		return s->try(s);
	/* Where time stands, one that is to come never does. */
	if (!PORT_HAS_CLOCK && s->deadline > port_ns())
		s->deadline = PORT_FOREVER;
	/* Before a pass can come that is for it. */
	held_sleeps(s->flags & MEM_WAIT ? s->caller : NULL);
	enter(s);
	shortage_poke();
	arena_poke(shortage_arena(s));
	sync_note_wait("memory", shortage_arena(s));
	while (!is_answered(s))
		port_thread_block(wake_time(s));
	held_sleeps(NULL);
	sync_note_wait(NULL, NULL);
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
	return __atomic_load_n(&shortage_queue.holders, __ATOMIC_RELAXED) > 0 &&
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

/* Inspection */

void shortage_get_counts(struct shortage_counts *c)
{
	port_irq_t irq = spin_lock(&shortage_queue.lock);

	*c = shortage_queue.counts;
	c->waiting = __atomic_load_n(&shortage_queue.count, __ATOMIC_RELAXED);
	c->parked = __atomic_load_n(&shortage_queue.parked, __ATOMIC_RELAXED);
	c->holders = __atomic_load_n(&shortage_queue.holders, __ATOMIC_RELAXED);
	spin_unlock(&shortage_queue.lock, irq);
}

static void fill_row(const struct shortage *s, struct shortage_row *row)
{
	memset(row, 0, sizeof(*row));
	str_copy(row->arena, shortage_arena(s)->name, sizeof(row->arena));
	row->in_bytes = arena_in_bytes(shortage_arena(s));
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

	if (max > 0)
		check_given("shortage_rows", "list of rows", rows, __builtin_return_address(0));
	sync_check_may_sleep("shortage_rows", __builtin_return_address(0));
	qlock_lock(&shortage_marks_lock);
	for (struct shortage *s = shortage_after(NULL); s; s = shortage_after(s), n++)
		if (n < max)
			fill_row(s, &rows[n]);
	qlock_unlock(&shortage_marks_lock);
	return n;
}
