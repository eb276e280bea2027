/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reclaim: the ktask that has arenas and caches give back what they don't need.
 *
 * CONCEPTS
 *
 * A request that can't be served leaves a record (arena/wait.c) and sleeps.  Two ktasks work for records.  The server
 * (reclaim/serve.c) tries for records whenever something was freed.  The reclaim ktask, here, makes
 * that more is freed: it walks the import tree and asks each arena and cache for what it holds idle.
 *
 *	   request             free
 *	      | record           | poke
 *	      v                  v
 *	reclaim ktask --------> server ----> sleeper
 *	      |  poke after a level
 *	      v
 *	caches' owners, depots, slabs, spans, tags, magazines
 *
 * A *root* is an arena without a source: a base arena, or one of IDs or addresses.  What a root wants is
 * the sum of what the parts of its records want, records that are parked left out; and, for a base
 * arena below its low watermark, what lacks to the high one.  A *pass* walks one root's tree, importers
 * before their source, caches of callers before those that front an arena, each node being asked by the
 * *level*, until as much has come free at the root as it wants.  A *cycle* is passes over all roots
 * that want something, by level 1, 2 and 3; between levels the server tries, and a cycle ends when no
 * record is left that makes its root short.  A cycle whose records are left is a *hardest pass* over all
 * that they depend on.  Watermarks lead to levels 1 and 2 alone.
 *
 *  level  is asked of                       what
 *  1      caches                            their owners; magazines that the depot didn't need lately
 *	   arenas                            an index that no search uses
 *  2      caches                            all of the depot; empty slabs
 *	   arenas                            their owners; retained spans; idle tags and pages of them; pages
 *					     of hashes; page tables (by phys_arena's owner)
 *  3      caches                            magazines of all cores; free parts of quantum caches' slabs
 *	   arenas                            free parts of imported spans (arena/part.c)
 *	   other roots' trees                what of theirs lies in this base's memory
 *
 * Owners' answers may lie in a front for a while.  So an owner is asked for what neither the root nor
 * earlier answers of the cycle account for.
 *
 * After a hardest pass a record by MEM_ERROR that is older, and can't be served then, is refused.  A
 * record by MEM_WAIT that is large stays, parked: it wants more than an eighth of its root and 64
 * quanta in all.  It makes nothing short, so that others pay nothing for it; the server tries for it
 * on its timer, and after as long as it has slept, 1 s at least and 10 s at most, it counts again for one
 * cycle; not if it wants more than its root has.  A small record isn't parked: the next free may serve it.
 *
 * A cycle that gave a root less than an eighth of what it wants sets a pause for that root: from 100 ms,
 * twice as long each time, up to 1 s, until something was freed there.  The arrival of a record that
 * waits for a pass to be refused ends it.
 *
 * INVARIANTS
 *
 *  1. Every record that makes its root short has a cycle to come: the arrival of a record pokes, and
 *     while there is one the ktask sleeps no longer than to the end of its root's pause.  So has a base
 *     arena below its low watermark.
 *  2. A hardest pass that a record waits for began after the record was entered: passes are counted as
 *     they begin and end, under the lock under which records enter.
 *  3. A node that a pass stands on has a reference, and stays linked: destroying it waits.
 *  4. What a pass gives is at most its target and one step: a magazine's slabs, a span, an arena's index,
 *     hash and tags, a core's magazines of one cache, an owner's answer.
 *
 * LOCKING
 *
 *	the pass lock (sleeps) -> arenas_and_slabs_lock (sleeps) -> spinlocks
 *
 * Links are followed under arenas_and_slabs_lock, a step at a time; a node is asked with no lock held
 * but the pass lock, which keeps passes of reclaim_run() and of the ktask apart.  The walk allocates
 * nothing: indexes that atomic requests missed are built of what can be had atomically.
 *
 * COST
 *
 * A poke is an exchange.  A pass is linear in nodes and in what goes back; level 3 stops each core for
 * each cache that it has magazines of.
 *
 * QUESTIONS
 *
 * Why a ktask, and not the request that is short?  The request may be deep in a lock; many would walk
 * at once, and together free many times what is wanted; and one slow callback would stall them all.
 *
 * Why two?  A callback may take long, and what is freed meanwhile serves at once.
 */
#include "reclaim/reclaim_impl.h"

#include "kmem_debug.h"
#include "lib/check.h"
#include "lib/panic.h"
#include "port.h"
#include "sync.h"

#define PAUSE_MIN 100000000ull
#define PAUSE_MAX 1000000000ull
#define POOR_SHARE 8	    /* a cycle that gave less than this share of what was wanted */
#define LARGE_SHARE 8	    /* of the root, */
#define LARGE_QUANTA 64	    /* and quanta: a record that wants more may be parked */
#define WALK_PAUSE 1000000000ull /* between walks over caches in debug mode full */
#define UNPARK_MIN 1000000000ull
#define UNPARK_MAX 10000000000ull
#define RUN_TURNS 8	    /* of reclaim_run(): what one turn frees may let another go, */
#define RUN_QUIET 2	    /* and what an owner frees may lie in a front until the next */

static struct {
	struct rendez work;
	bool poked, nmi_poked;
	struct qlock pass_lock;
	struct reclaim_stats stats; /* atomic; changed under the pass lock, but for pokes */
} r = {.work = RENDEZ_INIT(work), .pass_lock = QLOCK_INIT(pass_lock)};

/* Pokes */

static void wake(void)
{
	if (__atomic_load_n(&r.poked, __ATOMIC_RELAXED) ||
		__atomic_exchange_n(&r.poked, true, __ATOMIC_SEQ_CST))
		return;
	__atomic_fetch_add(&r.stats.pokes, 1, __ATOMIC_RELAXED);
	rendez_wakeup(&r.work);
}

/* An NMI may have landed in the wake-up's locks. */
void reclaim_poke(void)
{
	if (!port_in_nmi()) {
		wake();
	} else if (!__atomic_exchange_n(&r.nmi_poked, true, __ATOMIC_SEQ_CST)) {
		port_core_poke(port_core_id());
	}
}

void reclaim_poked(void)
{
	if (__atomic_load_n(&r.nmi_poked, __ATOMIC_RELAXED) &&
		__atomic_exchange_n(&r.nmi_poked, false, __ATOMIC_SEQ_CST))
		wake();
}

static void poke_for(struct arena *a)
{
	if (!port_in_nmi())
		wake();
}

static bool is_poked(void *arg)
{
	return __atomic_load_n(&r.poked, __ATOMIC_ACQUIRE);
}

/* What roots want */

/* Relaxed: one that arrives just now pokes. */
static bool has_short_records(struct arena *root)
{
	return __atomic_load_n(&arena_account(root)->short_records, __ATOMIC_RELAXED) > 0;
}

struct want {
	size_t target;	 /* units, 0: nothing */
	bool has_records; /* not only the watermark */
};

static struct want want_of(struct arena *root)
{
	struct arena_account *a = arena_account(root);
	size_t free, low, high;
	struct shortage_wants wants;
	struct want w = {0, false};

	arena_watermarks(root, &low, &high);
	if (low == 0 && !has_short_records(root))
		return w;
	free = arena_amt_free(root);
	qlock_lock(&shortage_marks_lock);
	wants = shortage_wants_of(root);
	/* A record that waits for a pass to be refused has its first one at once. */
	if (deadline_has_passed(a->next_pass) || wants.error_came >= a->hard_done)
		w = (struct want){wants.amount, wants.records > 0};
	qlock_unlock(&shortage_marks_lock);
	if (free < low && deadline_has_passed(a->next_pass) && high - free > w.target)
		w.target = high - free;
	return w;
}

/* Cycles */

static void run_pass(struct pass *p, unsigned level)
{
	size_t before = pass_gain(p), after;

	__atomic_store_n(&r.stats.level, level, __ATOMIC_RELAXED);
	pass_walk(p, level);
	__atomic_store_n(&r.stats.level, 0, __ATOMIC_RELAXED);
	after = pass_gain(p);
	__atomic_fetch_add(&r.stats.passes[level], 1, __ATOMIC_RELAXED);
	/* Others may have taken more than came free. */
	__atomic_fetch_add(&r.stats.given[level], after > before ? after - before : 0, __ATOMIC_RELAXED);
}

/* A cycle begins, or ends with a hardest pass over all roots that want something: it has the number `cycle`. */
static void set_cycle(uint64_t *count, uint64_t cycle)
{
	qlock_lock(&shortage_marks_lock);
	/* Release: pairs with the acquire of serve_round(). */
	__atomic_store_n(count, cycle, __ATOMIC_RELEASE);
	qlock_unlock(&shortage_marks_lock);
}

/* Sets or ends the pause before the root's next pass. */
static void set_pause(struct arena *root, size_t gain, size_t target)
{
	struct arena_account *a = arena_account(root);
	struct arena_stats s;

	arena_get_stats(root, &s);
	if (gain > 0 && gain >= target / POOR_SHARE)
		a->pause_ns = 0;
	else if (a->pause_ns == 0 || a->frees_seen != s.frees)
		a->pause_ns = PAUSE_MIN;
	else
		a->pause_ns = a->pause_ns * 2 < PAUSE_MAX ? a->pause_ns * 2 : PAUSE_MAX;
	a->frees_seen = s.frees;
	qlock_lock(&shortage_marks_lock);
	a->next_pass = port_ns() + a->pause_ns;
	qlock_unlock(&shortage_marks_lock);
}

/* Levels 1 to 3 over one root; whether it came to level 3. */
static bool cycle_root(struct arena *root, struct want w)
{
	struct pass p;
	bool more = true, hard = false;

	pass_begin(&p, root, w.target);
	for (unsigned level = 1; level <= RECLAIM_LEVELS && more; level++) {
		if (level == RECLAIM_LEVELS && !w.has_records)
			break;
		run_pass(&p, level);
		hard = level == RECLAIM_LEVELS;
		if (hard)
			arena_account(root)->hard_done = shortage_hard_begun;
		serve_flush();
		more = w.has_records ? has_short_records(root) : pass_gain(&p) < w.target;
	}
	/* What owners answered may have been taken by others. */
	set_pause(root, pass_gain(&p) > p.answered ? pass_gain(&p) : p.answered, w.target);
	if (more && w.has_records && arena_base(root) == root)
		out_consider(root);
	return hard;
}

/* Whether a hardest pass over each of its roots began after it was entered. */
static bool had_passes(const struct shortage *s)
{
	for (unsigned i = 0; i < s->part_count; i++)
		if (arena_account(arena_root(s->parts[i].arena))->hard_done <= s->hard_begun)
			return false;
	return true;
}

static bool is_large(const struct shortage *s)
{
	for (unsigned i = 0; i < s->part_count; i++) {
		struct arena *a = s->parts[i].arena;
		size_t share = arena_amt_total(arena_root(a)) / LARGE_SHARE;

		if (s->parts[i].amount > share && s->parts[i].amount > LARGE_QUANTA * arena_quantum(a))
			return true;
	}
	return false;
}

/* When a record that is parked counts again: after as long as it has slept, within bounds; one that
 * wants more than there is, never. */
static uint64_t retry_of(const struct shortage *s, uint64_t now)
{
	uint64_t slept = now - s->since;

	for (unsigned i = 0; i < s->part_count; i++)
		if (s->parts[i].amount > arena_amt_total(arena_root(s->parts[i].arena)))
			return PORT_FOREVER;
	return now + (slept < UNPARK_MIN ? UNPARK_MIN : slept < UNPARK_MAX ? slept : UNPARK_MAX);
}

/* Parks the records that a hardest pass hasn't served, and has others count again.  Returns when that is
 * due next. */
static uint64_t sort_records(void)
{
	uint64_t now = port_ns(), next = PORT_FOREVER;

	qlock_lock(&shortage_marks_lock);
	for (struct shortage *s = shortage_after(NULL); s; s = shortage_after(s)) {
		shortage_adopt_tags(s);
		if (s->is_parked && deadline_has_passed(s->retry)) {
			shortage_unpark(s);
			s->hard_begun = shortage_hard_begun;
			next = now;
		} else if (!s->is_parked && had_passes(s) && is_large(s)) {
			s->retry = retry_of(s, now);
			shortage_park(s);
		}
		if (s->is_parked && s->retry < next)
			next = s->retry;
	}
	qlock_unlock(&shortage_marks_lock);
	return next;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static bool is_low(struct arena *root)
{
	size_t low, high;

	arena_watermarks(root, &low, &high);
	return low > 0 && arena_amt_free(root) < low;
}

/* Returns when to look again. */
static uint64_t run_cycle(void)
{
	uint64_t next = PORT_FOREVER;
	bool hard = false;

	set_cycle(&shortage_hard_begun, shortage_hard_begun + 1);
	for (struct arena *root = pass_next_root(NULL); root; root = pass_next_root(root)) {
		struct want w = want_of(root);

		if (w.target > 0)
			hard |= cycle_root(root, w);
		if (has_short_records(root) || is_low(root))
			next = earlier(next, arena_account(root)->next_pass);
	}
	if (hard) {
		set_cycle(&shortage_hard_done, shortage_hard_begun);
		serve_flush();
	}
	return earlier(next, sort_records());
}

void reclaim_main(void *arg)
{
	uint64_t next = PORT_FOREVER;

	if (!PORT_HAS_THREADS)
		panic("reclaim_main in a port without PORT_HAS_THREADS (called from %pS)", __builtin_return_address(0));
	port_set_word(PORT_THREAD_RECLAIM, 1);
	arena_poke = poke_for;
	__atomic_fetch_add(&shortage_ktasks, 1, __ATOMIC_RELEASE);
	for (;;) {
		rendez_sleep_timeout(&r.work, is_poked, NULL, next);
		/* Before the work: a poke that comes during it leads to another turn. */
		(void)__atomic_exchange_n(&r.poked, false, __ATOMIC_SEQ_CST);
		qlock_lock(&r.pass_lock);
		next = run_cycle();
		qlock_unlock(&r.pass_lock);
		next = earlier(next, shortage_expire());
		if (kmem_debug_walk() && PORT_HAS_CLOCK)
			next = earlier(next, port_ns() + WALK_PAUSE);
	}
}

bool reclaim_is_running(void)
{
	return shortage_is_served();
}

/* By hand */

/* Of all roots.  Sums and differences may wrap. */
static size_t sum_free(void)
{
	size_t sum = 0;

	for (struct arena *root = pass_next_root(NULL); root; root = pass_next_root(root))
		sum += arena_amt_free(root);
	return sum;
}

/* What a walk over one root's tree frees may be another's. */
static size_t run_all(unsigned level)
{
	size_t before = sum_free(), gain;

	for (struct arena *root = pass_next_root(NULL); root; root = pass_next_root(root)) {
		struct pass p;

		pass_begin(&p, root, SIZE_MAX);
		p.by_hand = true;
		run_pass(&p, level);
	}
	gain = sum_free() - before;
	return gain < SIZE_MAX / 2 ? gain : 0;
}

size_t reclaim_run(unsigned level)
{
	void *caller = __builtin_return_address(0);
	size_t sum = 0, gain;
	unsigned quiet = 0;

	sync_check_may_sleep("reclaim_run", caller);
	if (level < 1 || level > RECLAIM_LEVELS)
		panic("reclaim_run at level %u: there are 1 to %d (called from %pS)", level, RECLAIM_LEVELS,
			caller);
	qlock_lock(&r.pass_lock);
	for (int turn = 0; turn < RUN_TURNS && quiet < RUN_QUIET; turn++) {
		gain = run_all(level);
		sum += gain;
		quiet = gain > 0 ? 0 : quiet + 1;
	}
	qlock_unlock(&r.pass_lock);
	if (shortage_is_served())
		serve_flush();
	return sum;
}

/* Inspection */

void reclaim_get_stats(struct reclaim_stats *s)
{
	struct shortage_counts c;

	check_given("reclaim_get_stats", "place for statistics", s, __builtin_return_address(0));
	s->pokes = __atomic_load_n(&r.stats.pokes, __ATOMIC_RELAXED);
	s->level = __atomic_load_n(&r.stats.level, __ATOMIC_RELAXED);
	for (unsigned level = 0; level <= RECLAIM_LEVELS; level++) {
		s->passes[level] = __atomic_load_n(&r.stats.passes[level], __ATOMIC_RELAXED);
		s->given[level] = __atomic_load_n(&r.stats.given[level], __ATOMIC_RELAXED);
	}
	shortage_get_counts(&c);
	serve_get_counts(&s->rounds, &s->tries);
	s->outs = out_reports();
	s->sleeps = c.sleeps;
	s->served = c.served;
	s->refused = c.refused;
	s->wakeups = c.wakeups;
	s->longest_ns = c.longest_ns;
	s->waiting = c.waiting;
	s->parked = c.parked;
}
