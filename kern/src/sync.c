/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Locks and signals that sleep.
 *
 * CONCEPTS
 *
 * A sleeper is a thread that waits to be given something: a lock, a part of a semaphore's count, or
 * just a signal.  A waker is the thread or interrupt that gives it.
 *
 * REPRESENTATION
 *
 * Each lock or signal is a small state (held, count, readers) and a sync_queue, both under the
 * queue's spinlock.  A sleeper has a record in the queue; the record lies on the sleeper's stack.
 * While the waker holds the spinlock it does four things: it changes the state for the first
 * sleeper, takes that sleeper's record out of the queue, sets the record's `woken`, and unblocks
 * the thread.  A sleeper has been given what it waits for iff `woken` is set.  That
 * port_thread_block() returns means nothing: it may return early.
 *
 * INVARIANTS
 *
 *  1. A record is in the queue iff its sleeper isn't woken and hasn't given up.
 *  2. While the spinlock is free, the state does not allow what the first sleeper wants.
 *  3. A qlock is held iff it has a holder, or boot took it.
 *
 * LOCKING
 *
 * SPIN_SYNC is taken before the locks of threads, since a waker unblocks a thread under it.
 *
 * A sleeper reads `woken` only under the spinlock, and its function returns, which ends the record,
 * only after that.  The waker sets `woken` and unblocks the thread in one hold of the spinlock, so
 * it never touches a record or a thread that is gone.
 *
 * When its deadline has passed, a sleeper takes the spinlock and looks at `woken` once more.  If it
 * is set, the sleeper has what it waited for.  If not, the sleeper takes its record out of the
 * queue.  That record may have been the one that kept the next sleepers waiting (invariant 2), so
 * the sleeper then serves them.
 *
 * COST
 *
 * Constant, except for calls that can wake many sleepers.  They wake at most SYNC_STEP, release the
 * spinlock, and go on.  Between two such steps invariant 2 doesn't hold; another waker that comes
 * then does a part of the remaining steps.
 *
 * QUESTIONS
 *
 * Why does a waker hand over, instead of letting the woken thread try again?  A woken thread that
 * tried again could be overtaken, any number of times.  The price: a lock that was handed over
 * stays held until the sleeper runs.  Threads are cooperative and critical sections short.
 *
 * Why does a broadcast stop at a ticket?  Threads that begin to sleep while it runs, perhaps ones
 * that it has just woken, must not be woken by it: it might never end.
 */
#include "sync.h"

#include "lib/callback.h"
#include "lib/check.h"
#include "lib/held.h"
#include "lib/panic.h"

struct sync_sleeper {
	struct sync_sleeper *next, *prev; /* in the queue; NULL at either end */
	port_thread_t *thread;
	uint64_t ticket;
	size_t wants; /* semaphore: how much of the count; rwlock: READ or WRITE */
	bool woken;
};

enum { READ, WRITE };

/* The queue */

static void queue_init(struct sync_queue *q)
{
	*q = (struct sync_queue)SYNC_QUEUE_INIT;
}

/* `cant`: what is illegal in an interrupt. */
static void check_irq_on(const char *what, const char *cant, void *caller)
{
	char held[HELD_TEXT_MAX];

	if (panic_is_mine())
		return;
	if (port_in_irq())
		panic("%s in an interrupt, which can't %s (called from %pS)", what, cant, caller);
	if (held_describe_spinlock(held, sizeof(held)))
		panic("%s with interrupts off by %s (called from %pS)", what, held, caller);
	if (!port_may_sleep())
		panic("%s with interrupts off or a spinlock held (called from %pS)", what, caller);
}

void sync_check_irq_on(const char *what, void *caller)
{
	check_irq_on(what, "wait for other cores", caller);
}

/* Interrupts are off in every interrupt, so one look at them tells most (vmap_pair); debug builds look for a spinlock,
 * too, which boot may hold with leave to sleep. */
void sync_check_may_sleep(const char *what, void *caller)
{
	if (__builtin_expect(!SPIN_CHECKS && port_may_sleep() && !port_word(PORT_THREAD_CALLBACK), 1))
		return;
	check_irq_on(what, "sleep", caller);
	if (port_word(PORT_THREAD_CALLBACK))
		panic("%s in a callback of %s, which can't sleep (called from %pS)", what,
			(const char *)port_word(PORT_THREAD_CALLBACK), caller);
}

/* Puts a record of the caller at the end of the queue.  Lock held. */
static void queue_enter(struct sync_queue *q, struct sync_sleeper *s, size_t wants) SPANDREL_REQUIRES(&q->lock)
{
	struct sync_sleeper **end = q->last ? &q->last->next : &q->first;

	s->thread = port_thread_self();
	s->ticket = q->tickets++;
	s->wants = wants;
	s->woken = false;
	s->next = NULL;
	s->prev = q->last;
	*end = s;
	q->last = s;
}

/* Takes the record, which is in the queue, out of it.  Lock held. */
static void queue_leave(struct sync_queue *q, struct sync_sleeper *s) SPANDREL_REQUIRES(&q->lock)
{
	struct sync_sleeper **to = s->prev ? &s->prev->next : &q->first;
	struct sync_sleeper **back = s->next ? &s->next->prev : &q->last;

	*to = s->next;
	*back = s->prev;
}

/* Takes the record out of the queue and wakes its thread.  Boot has no thread to unblock.  Lock
 * held; once it is released, the record may be gone. */
static void queue_wake(struct sync_queue *q, struct sync_sleeper *s) SPANDREL_REQUIRES(&q->lock)
{
	queue_leave(q, s);
	s->woken = true;
	if (s->thread)
		port_thread_unblock(s->thread);
}

/* Sleeps until woken or until the deadline, then takes the record out of the queue if no waker has;
 * returns whether it was woken.  The lock is held on entry and released; `irq` is what taking it
 * returned. */
static bool queue_sleep(struct sync_queue *q, struct sync_sleeper *s, uint64_t deadline, port_irq_t irq,
	const char *what, const void *of) SPANDREL_RELEASES(&q->lock)
{
	bool can_sleep = s->thread != NULL, has_passed = port_ns() >= deadline;

	sync_note_wait(what, of);
	while (!s->woken && can_sleep && !has_passed) {
		spin_unlock(&q->lock, irq);
		port_thread_block(deadline);
		irq = spin_lock(&q->lock);
		has_passed = deadline_has_passed(deadline);
	}
	sync_note_wait(NULL, NULL);
	if (!s->woken)
		queue_leave(q, s);
	spin_unlock(&q->lock, irq);
	if (!s->woken && !can_sleep && deadline == PORT_FOREVER)
		panic("boot would sleep, and no thread runs that could wake it");
	return s->woken;
}

/* Wakes at most SYNC_STEP sleepers whose tickets are below `ticket`; returns how many. */
static size_t queue_wake_step(struct sync_queue *q, uint64_t ticket)
{
	port_irq_t irq = spin_lock(&q->lock);
	struct sync_sleeper *s;
	size_t n = 0;

	for (; n < SYNC_STEP && (s = q->first) && s->ticket < ticket; n++)
		queue_wake(q, s);
	spin_unlock(&q->lock, irq);
	return n;
}

/* Wakes all that are in the queue at the call; returns whether there were any. */
static bool queue_wake_all(struct sync_queue *q)
{
	port_irq_t irq = spin_lock(&q->lock);
	uint64_t ticket = q->tickets;
	bool any = q->first != NULL;

	spin_unlock(&q->lock, irq);
	while (any && queue_wake_step(q, ticket) == SYNC_STEP)
		;
	return any;
}

/* What the running thread holds: its words say how many locks of a kind there are, and the sum of their
 * addresses; so which lock it is, if it is one. */

static void note_hold(unsigned count_word, unsigned sum_word, const void *lock, bool begins)
{
	port_set_word(count_word, port_word(count_word) + (begins ? 1 : (uintptr_t)-1));
	port_set_word(sum_word, port_word(sum_word) + (begins ? (uintptr_t)lock : -(uintptr_t)lock));
}

static void note_lock(const void *lock, bool begins)
{
	note_hold(PORT_THREAD_LOCKS, PORT_THREAD_LOCKED, lock, begins);
}

static void note_read(const struct rwlock *l, bool begins)
{
	note_hold(PORT_THREAD_READS, PORT_THREAD_READING, l, begins);
}

/* An interrupt is no thread: a hold would be booked on the one that it interrupted. */
static void check_thread(const char *what, void *caller)
{
	if (port_in_irq())
		panic("%s in an interrupt, which can't hold a lock (called from %pS)", what, caller);
}

/* qlock */

void qlock_init(struct qlock *q)
{
	check_given("qlock_init", "qlock", q, __builtin_return_address(0));
	*q = (struct qlock)QLOCK_INIT(*q);
}

static void qlock_take(struct qlock *q, port_thread_t *holder)
{
	q->held = true;
	q->holder = holder;
}

static bool is_held_by_caller(const struct qlock *q)
{
	return q->held && q->holder == port_thread_self();
}

static void qlock_lock_from(struct qlock *q, void *caller) SPANDREL_ACQUIRES(q) SPANDREL_UNANALYSED
{
	port_irq_t irq = spin_lock(&q->queue.lock);
	bool again = is_held_by_caller(q);
	struct sync_sleeper self;

	if (!q->held) {
		qlock_take(q, port_thread_self());
	} else if (!again) {
		queue_enter(&q->queue, &self, 0);
		queue_sleep(&q->queue, &self, PORT_FOREVER, irq, "qlock", q);
		note_lock(q, true);
		held_taken(q, caller);
		return;
	}
	spin_unlock(&q->queue.lock, irq);
	if (again)
		panic("qlock %p is locked again by its holder (called from %pS)", (void *)q,
			caller);
	note_lock(q, true);
	held_taken(q, caller);
}

void qlock_lock(struct qlock *q) SPANDREL_UNANALYSED
{
	check_given("qlock_lock", "qlock", q, __builtin_return_address(0));
	if (panic_is_mine())
		return;
	sync_check_may_sleep("qlock_lock", __builtin_return_address(0));
	qlock_lock_from(q, __builtin_return_address(0));
}

bool qlock_trylock(struct qlock *q) SPANDREL_UNANALYSED
{
	void *caller = __builtin_return_address(0), *slept_at;
	port_irq_t irq;
	bool taken;

	check_given("qlock_trylock", "qlock", q, caller);
	check_thread("qlock_trylock", caller);
	irq = spin_lock(&q->queue.lock);
	slept_at = held_try(q, caller);
	taken = !q->held;
	if (taken)
		qlock_take(q, port_thread_self());
	spin_unlock(&q->queue.lock, irq);
	if (slept_at)
		panic("qlock_trylock of qlock %p in a callback of reclaim, for which its holder sleeps by MEM_WAIT at "
		      "%pS (called from %pS)",
			(void *)q, slept_at, caller);
	if (taken) {
		note_lock(q, true);
		held_taken(q, caller);
	}
	return taken;
}

static bool qlock_unlock_if_held(struct qlock *q)
{
	port_irq_t irq = spin_lock(&q->queue.lock);
	struct sync_sleeper *next = q->queue.first;
	bool was_held = is_held_by_caller(q);

	if (was_held)
		held_released(q);
	if (was_held && next) {
		qlock_take(q, next->thread);
		queue_wake(&q->queue, next);
	} else if (was_held) {
		q->held = false;
		q->holder = NULL;
	}
	spin_unlock(&q->queue.lock, irq);
	return was_held;
}

void qlock_unlock(struct qlock *q) SPANDREL_UNANALYSED
{
	check_given("qlock_unlock", "qlock", q, __builtin_return_address(0));
	if (panic_is_mine())
		return;
	check_thread("qlock_unlock", __builtin_return_address(0));
	if (!qlock_unlock_if_held(q))
		panic("qlock %p is unlocked by a thread that doesn't hold it (called from %pS)",
			(void *)q, __builtin_return_address(0));
	note_lock(q, false);
}

bool qlock_is_held_by_me(struct qlock *q)
{
	port_irq_t irq;
	bool is_held;

	check_given("qlock_is_held_by_me", "qlock", q, __builtin_return_address(0));
	irq = spin_lock(&q->queue.lock);
	is_held = is_held_by_caller(q);
	spin_unlock(&q->queue.lock, irq);
	return is_held;
}

/* Semaphores */

void sem_init(struct semaphore *s, size_t count)
{
	check_given("sem_init", "semaphore", s, __builtin_return_address(0));
	*s = (struct semaphore)SEMAPHORE_INIT(*s, count);
}

/* Serves sleepers in order while the count is enough for the first, at most SYNC_STEP of them;
 * returns whether it is enough for another.  Lock held. */
static bool sem_serve(struct semaphore *s) SPANDREL_REQUIRES(&s->queue.lock)
{
	struct sync_sleeper *first = s->queue.first;

	for (int i = 0; i < SYNC_STEP && first && first->wants <= s->count; i++) {
		s->count -= first->wants;
		queue_wake(&s->queue, first);
		first = s->queue.first;
	}
	return first && first->wants <= s->count;
}

/* Returns false, with nothing changed, if the count would wrap. */
static bool sem_add(struct semaphore *s, size_t n)
{
	bool more, fits;

	do {
		port_irq_t irq = spin_lock(&s->queue.lock);

		fits = n <= SIZE_MAX - s->count;
		s->count += fits ? n : 0;
		n = 0;
		more = fits && sem_serve(s);
		spin_unlock(&s->queue.lock, irq);
	} while (more);
	return fits;
}

/* Takes n if no sleeper is in the queue and the count has n; returns whether it did.  Lock held. */
static bool sem_take_now(struct semaphore *s, size_t n) SPANDREL_REQUIRES(&s->queue.lock)
{
	bool taken = !s->queue.first && s->count >= n;

	if (taken)
		s->count -= n;
	return taken;
}

static bool sem_down_until(struct semaphore *s, size_t n, uint64_t deadline)
{
	port_irq_t irq = spin_lock(&s->queue.lock);
	struct sync_sleeper self;
	bool served;

	if (sem_take_now(s, n)) {
		spin_unlock(&s->queue.lock, irq);
		return true;
	}
	queue_enter(&s->queue, &self, n);
	served = queue_sleep(&s->queue, &self, deadline, irq, "semaphore", s);
	if (!served)
		sem_add(s, 0);
	return served;
}

void sem_down(struct semaphore *s, size_t n)
{
	check_given("sem_down", "semaphore", s, __builtin_return_address(0));
	sync_check_may_sleep("sem_down", __builtin_return_address(0));
	sem_down_until(s, n, PORT_FOREVER);
}

bool sem_down_timeout(struct semaphore *s, size_t n, uint64_t deadline)
{
	check_given("sem_down_timeout", "semaphore", s, __builtin_return_address(0));
	sync_check_may_sleep("sem_down_timeout", __builtin_return_address(0));
	return sem_down_until(s, n, deadline);
}

bool sem_trydown(struct semaphore *s, size_t n)
{
	port_irq_t irq;
	bool taken;

	check_given("sem_trydown", "semaphore", s, __builtin_return_address(0));
	irq = spin_lock(&s->queue.lock);
	taken = sem_take_now(s, n);
	spin_unlock(&s->queue.lock, irq);
	return taken;
}

void sem_up(struct semaphore *s, size_t n)
{
	check_given("sem_up", "semaphore", s, __builtin_return_address(0));
	if (!sem_add(s, n))
		panic("semaphore %p: its count would wrap by %zu more (called from %pS)", (void *)s, n,
			__builtin_return_address(0));
}

size_t sem_count(struct semaphore *s)
{
	port_irq_t irq;
	size_t count;

	check_given("sem_count", "semaphore", s, __builtin_return_address(0));
	irq = spin_lock(&s->queue.lock);
	count = s->count;
	spin_unlock(&s->queue.lock, irq);
	return count;
}

/* Condition variables */

void cv_init(struct condvar *cv)
{
	check_given("cv_init", "condvar", cv, __builtin_return_address(0));
	queue_init(&cv->queue);
}

/* The caller enters the queue first and releases the qlock then: no signal is missed between. */
static bool cv_wait_from(
	const char *what, struct condvar *cv, struct qlock *q, uint64_t deadline, void *caller)
	SPANDREL_REQUIRES(q)
{
	port_irq_t irq;
	struct sync_sleeper self;
	bool woken;

	if (!qlock_is_held_by_me(q))
		panic("%s without the qlock %p (called from %pS)", what, (void *)q, caller);
	irq = spin_lock(&cv->queue.lock);
	queue_enter(&cv->queue, &self, 0);
	spin_unlock(&cv->queue.lock, irq);
	qlock_unlock(q);
	irq = spin_lock(&cv->queue.lock);
	woken = queue_sleep(&cv->queue, &self, deadline, irq, "condvar", cv);
	qlock_lock_from(q, caller);
	return woken;
}

void cv_wait(struct condvar *cv, struct qlock *q)
{
	check_given("cv_wait", "condvar", cv, __builtin_return_address(0));
	check_given("cv_wait", "qlock", q, __builtin_return_address(0));
	sync_check_may_sleep("cv_wait", __builtin_return_address(0));
	cv_wait_from("cv_wait", cv, q, PORT_FOREVER, __builtin_return_address(0));
}

bool cv_wait_timeout(struct condvar *cv, struct qlock *q, uint64_t deadline)
{
	check_given("cv_wait_timeout", "condvar", cv, __builtin_return_address(0));
	check_given("cv_wait_timeout", "qlock", q, __builtin_return_address(0));
	sync_check_may_sleep("cv_wait_timeout", __builtin_return_address(0));
	return cv_wait_from("cv_wait_timeout", cv, q, deadline, __builtin_return_address(0));
}

void cv_signal(struct condvar *cv)
{
	port_irq_t irq;
	struct sync_sleeper *first;

	check_given("cv_signal", "condvar", cv, __builtin_return_address(0));
	irq = spin_lock(&cv->queue.lock);
	first = cv->queue.first;
	if (first)
		queue_wake(&cv->queue, first);
	spin_unlock(&cv->queue.lock, irq);
}

void cv_broadcast(struct condvar *cv)
{
	check_given("cv_broadcast", "condvar", cv, __builtin_return_address(0));
	queue_wake_all(&cv->queue);
}

/* Rendez */

void rendez_init(struct rendez *r)
{
	check_given("rendez_init", "rendez", r, __builtin_return_address(0));
	queue_init(&r->queue);
}

static bool call_condition(bool (*condition)(void *arg), void *arg)
{
	struct callback call = callback_enter("a rendez's condition");
	bool holds = condition(arg);

	callback_leave(call);
	return holds;
}

/* Enters the queue first and calls the condition then: a thread that makes it true later finds the
 * record in the queue. */
static bool rendez_until(
	struct rendez *r, bool (*condition)(void *arg), void *arg, uint64_t deadline)
{
	bool holds, woken;

	do {
		port_irq_t irq = spin_lock(&r->queue.lock);
		struct sync_sleeper self;

		queue_enter(&r->queue, &self, 0);
		spin_unlock(&r->queue.lock, irq);
		holds = call_condition(condition, arg);
		irq = spin_lock(&r->queue.lock);
		woken = queue_sleep(&r->queue, &self, holds ? 0 : deadline, irq, "rendez",
			(const void *)(uintptr_t)condition);
	} while (!holds && woken);
	return holds || call_condition(condition, arg);
}

void rendez_sleep(struct rendez *r, bool (*condition)(void *arg), void *arg)
{
	check_given("rendez_sleep", "rendez", r, __builtin_return_address(0));
	check_given("rendez_sleep", "condition", condition, __builtin_return_address(0));
	sync_check_may_sleep("rendez_sleep", __builtin_return_address(0));
	rendez_until(r, condition, arg, PORT_FOREVER);
}

bool rendez_sleep_timeout(
	struct rendez *r, bool (*condition)(void *arg), void *arg, uint64_t deadline)
{
	check_given("rendez_sleep_timeout", "rendez", r, __builtin_return_address(0));
	check_given("rendez_sleep_timeout", "condition", condition, __builtin_return_address(0));
	sync_check_may_sleep("rendez_sleep_timeout", __builtin_return_address(0));
	return rendez_until(r, condition, arg, deadline);
}

bool rendez_wakeup(struct rendez *r)
{
	check_given("rendez_wakeup", "rendez", r, __builtin_return_address(0));
	return queue_wake_all(&r->queue);
}

/* rwlock */

void rwlock_init(struct rwlock *l)
{
	check_given("rwlock_init", "rwlock", l, __builtin_return_address(0));
	*l = (struct rwlock)RWLOCK_INIT(*l);
}

static bool rwlock_admits(const struct rwlock *l, size_t wants)
{
	return !l->written && (wants == READ || l->readers == 0);
}

static void rwlock_take(struct rwlock *l, size_t wants, port_thread_t *thread)
{
	if (wants == READ) {
		l->readers++;
	} else {
		l->written = true;
		l->writer = thread;
	}
}

/* Hands the lock to the first sleepers, a writer or the readers before the next writer, at most
 * SYNC_STEP of them; returns whether it can be handed to another.  Lock held. */
static bool rwlock_serve(struct rwlock *l) SPANDREL_REQUIRES(&l->queue.lock)
{
	struct sync_sleeper *first = l->queue.first;

	for (int i = 0; i < SYNC_STEP && first && rwlock_admits(l, first->wants); i++) {
		rwlock_take(l, first->wants, first->thread);
		queue_wake(&l->queue, first);
		first = l->queue.first;
	}
	return first && rwlock_admits(l, first->wants);
}

/* Takes the lock if no sleeper is in the queue and it can be had; returns whether it did.  Lock
 * held. */
static bool rwlock_take_now(struct rwlock *l, size_t wants) SPANDREL_REQUIRES(&l->queue.lock)
{
	bool taken = !l->queue.first && rwlock_admits(l, wants);

	if (taken)
		rwlock_take(l, wants, port_thread_self());
	return taken;
}

static bool surely_reads(const struct rwlock *l)
{
	return port_word(PORT_THREAD_READS) == 1 && port_word(PORT_THREAD_READING) == (uintptr_t)l;
}

static bool may_read(const struct rwlock *l)
{
	return !PORT_HAS_WORDS || surely_reads(l) || port_word(PORT_THREAD_READS) > 1;
}

/* Called once the caller has it. */
static void note_taken(const struct rwlock *l, size_t wants)
{
	if (wants == READ)
		note_read(l, true);
	else
		note_lock(l, true);
}

static void rwlock_take_or_sleep(struct rwlock *l, size_t wants, void *caller)
{
	port_irq_t irq = spin_lock(&l->queue.lock);
	bool again = surely_reads(l) || (l->written && l->writer == port_thread_self());
	struct sync_sleeper self;

	if (again) {
		spin_unlock(&l->queue.lock, irq);
		panic("rwlock %p is locked again by its holder (called from %pS)", (void *)l, caller);
	}
	if (rwlock_take_now(l, wants)) {
		spin_unlock(&l->queue.lock, irq);
	} else {
		queue_enter(&l->queue, &self, wants);
		queue_sleep(&l->queue, &self, PORT_FOREVER, irq, "rwlock", l);
	}
	note_taken(l, wants);
}

static bool rwlock_try(const char *what, struct rwlock *l, size_t wants, void *caller)
{
	port_irq_t irq;
	bool taken;

	check_thread(what, caller);
	irq = spin_lock(&l->queue.lock);
	/* A reader's second hold would make the first one unknown. */
	taken = !surely_reads(l) && rwlock_take_now(l, wants);
	spin_unlock(&l->queue.lock, irq);
	if (taken)
		note_taken(l, wants);
	return taken;
}

/* Ends the caller's hold; returns false if it has none. */
static bool rwlock_end_hold(struct rwlock *l, size_t held) SPANDREL_REQUIRES(&l->queue.lock)
{
	bool is_held = held == READ ? l->readers > 0 && may_read(l)
				    : l->written && l->writer == port_thread_self();

	if (is_held && held == READ) {
		l->readers--;
		note_read(l, false);
	} else if (is_held) {
		l->written = false;
		l->writer = NULL;
		note_lock(l, false);
	}
	return is_held;
}

static void rwlock_release(const char *what, struct rwlock *l, size_t held, void *caller)
{
	port_irq_t irq;
	bool was_held, more;

	check_thread(what, caller);
	irq = spin_lock(&l->queue.lock);
	was_held = rwlock_end_hold(l, held);
	more = was_held && rwlock_serve(l);
	spin_unlock(&l->queue.lock, irq);
	if (!was_held)
		panic("rwlock %p is released by a thread that doesn't hold it (called from %pS)",
			(void *)l, caller);
	while (more) {
		irq = spin_lock(&l->queue.lock);
		more = rwlock_serve(l);
		spin_unlock(&l->queue.lock, irq);
	}
}

void rwlock_read(struct rwlock *l) SPANDREL_UNANALYSED
{
	check_given("rwlock_read", "rwlock", l, __builtin_return_address(0));
	sync_check_may_sleep("rwlock_read", __builtin_return_address(0));
	rwlock_take_or_sleep(l, READ, __builtin_return_address(0));
}

void rwlock_write(struct rwlock *l) SPANDREL_UNANALYSED
{
	check_given("rwlock_write", "rwlock", l, __builtin_return_address(0));
	sync_check_may_sleep("rwlock_write", __builtin_return_address(0));
	rwlock_take_or_sleep(l, WRITE, __builtin_return_address(0));
}

bool rwlock_tryread(struct rwlock *l) SPANDREL_UNANALYSED
{
	check_given("rwlock_tryread", "rwlock", l, __builtin_return_address(0));
	return rwlock_try("rwlock_tryread", l, READ, __builtin_return_address(0));
}

bool rwlock_trywrite(struct rwlock *l) SPANDREL_UNANALYSED
{
	check_given("rwlock_trywrite", "rwlock", l, __builtin_return_address(0));
	return rwlock_try("rwlock_trywrite", l, WRITE, __builtin_return_address(0));
}

void rwlock_read_done(struct rwlock *l) SPANDREL_UNANALYSED
{
	check_given("rwlock_read_done", "rwlock", l, __builtin_return_address(0));
	rwlock_release("rwlock_read_done", l, READ, __builtin_return_address(0));
}

void rwlock_write_done(struct rwlock *l) SPANDREL_UNANALYSED
{
	check_given("rwlock_write_done", "rwlock", l, __builtin_return_address(0));
	rwlock_release("rwlock_write_done", l, WRITE, __builtin_return_address(0));
}
