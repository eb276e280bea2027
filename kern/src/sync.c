/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Locks and signals that sleep.
 *
 * CONCEPTS
 *
 * A sleeper is a thread that waits for something to be handed to it: a lock, part of a count, or
 * mere news.  A waker is whoever hands it over: another thread, or an interrupt.
 *
 * REPRESENTATION
 *
 * Everything here is a small state (held, count, readers) and a sync_queue, both under the queue's
 * spinlock.  A sleeper stands in the queue by a record on its own stack.  Handing over happens in
 * the waker's hold of the spinlock: state changes on behalf of the first sleeper, its record leaves
 * the queue, is marked `woken`, and its thread is unblocked.  Whether the sleeper has been handed
 * what it wants is exactly whether `woken` is set; port_thread_block() may return for any reason
 * and means nothing.
 *
 * INVARIANTS
 *
 *  1. A record is in the queue iff its sleeper isn't woken and hasn't given up.
 *  2. With the spinlock free, what the first sleeper wants can't be had now.
 *  3. A qlock is held iff it has a holder, or boot took it.
 *
 * LOCKING
 *
 * SPIN_SYNC is taken before the locks of threads, since a thread is unblocked under it.  A sleeper
 * looks at `woken` only under the spinlock, and its record goes out of being only afterward: so the
 * waker, who unblocks within its hold, never touches a record or a thread that has gone.  A
 * deadline is decided there too: the sleeper whose deadline has passed finds itself woken, and
 * takes it, or takes itself out of the queue; there is no third case.  One that leaves the queue
 * may have been what kept the next ones waiting (2), so it serves them.
 *
 * COST
 *
 * Constant, but for those that serve many at once: they do so in steps of SYNC_STEP sleepers and
 * let go of the spinlock between steps.  Invariant 2 is then in need of the rest of the steps;
 * whoever else serves meanwhile does part of them, which is as good.
 *
 * QUESTIONS
 *
 * Why hand over rather than let the woken one try again?  It needs no second try, so there is no
 * overtaking and no bound to prove on tries.  The price is that a lock handed over stays held until
 * the sleeper runs; our threads are cooperative and critical sections short.
 *
 * Why does a broadcast stop at a ticket?  Sleepers that come while it runs, perhaps those it just
 * woke, must not be woken by it, or it need not end.
 */
#include "sync.h"

#include "lib/panic.h"

struct sleeper {
	struct list link;
	port_thread_t *thread;
	uint64_t ticket;
	size_t wants; /* of a semaphore's count; of a rwlock: READ or WRITE */
	bool woken;
};

enum { READ, WRITE };

/* The queue */

static void queue_init(struct sync_queue *q)
{
	*q = (struct sync_queue)SYNC_QUEUE_INIT(*q);
}

static struct sleeper *queue_first(struct sync_queue *q)
{
	return list_empty(&q->sleepers) ? NULL :
					  list_first_entry(&q->sleepers, struct sleeper, link);
}

void sync_check_may_sleep(const char *what, void *caller)
{
	if (port_in_irq())
		panic("%s in an interrupt, which can't sleep (called from %pS)", what, caller);
	if (!port_irq_enabled()) {
		spin_assert_none_held();
		panic("%s with interrupts off or a spinlock held (called from %pS)", what, caller);
	}
}

/* Puts the caller behind the others.  Lock held. */
static void queue_enter(struct sync_queue *q, struct sleeper *s, size_t wants)
{
	s->thread = port_thread_self();
	s->ticket = q->tickets++;
	s->wants = wants;
	s->woken = false;
	list_add_tail(&q->sleepers, &s->link);
}

/* Lock held.  The sleeper's record must not be touched again.  Boot is no thread, and looks by
 * itself. */
static void queue_wake(struct sleeper *s)
{
	list_del(&s->link);
	s->woken = true;
	if (s->thread)
		port_thread_unblock(s->thread);
}

/* Sleeps until woken or the deadline; returns whether woken.  The lock is held on entry, and let go
 * of; `irq` is what taking it gave.  After a deadline the sleeper is out of the queue. */
static bool queue_sleep(struct sync_queue *q, struct sleeper *s, uint64_t deadline, port_irq_t irq)
{
	bool can_sleep = s->thread != NULL;

	while (!s->woken && can_sleep && port_ns() < deadline) {
		spin_unlock(&q->lock, irq);
		port_thread_block(deadline);
		irq = spin_lock(&q->lock);
	}
	if (!s->woken)
		list_del(&s->link);
	spin_unlock(&q->lock, irq);
	if (!s->woken && !can_sleep && deadline == PORT_FOREVER)
		panic("boot would sleep, and nothing runs that could wake it");
	return s->woken;
}

/* Wakes up to SYNC_STEP sleepers that came before `ticket`; returns how many. */
static size_t queue_wake_step(struct sync_queue *q, uint64_t ticket)
{
	port_irq_t irq = spin_lock(&q->lock);
	struct sleeper *s;
	size_t n = 0;

	for (; n < SYNC_STEP && (s = queue_first(q)) && s->ticket < ticket; n++)
		queue_wake(s);
	spin_unlock(&q->lock, irq);
	return n;
}

/* Wakes all that sleep now; returns whether there were any. */
static bool queue_wake_all(struct sync_queue *q)
{
	port_irq_t irq = spin_lock(&q->lock);
	uint64_t ticket = q->tickets;
	bool any = !list_empty(&q->sleepers);

	spin_unlock(&q->lock, irq);
	while (any && queue_wake_step(q, ticket) == SYNC_STEP)
		;
	return any;
}

/* qlock */

void qlock_init(struct qlock *q)
{
	*q = (struct qlock)QLOCK_INIT(*q);
}

static void qlock_take(struct qlock *q, port_thread_t *holder)
{
	q->held = true;
	q->holder = holder;
}

static bool is_mine(const struct qlock *q)
{
	return q->held && q->holder == port_thread_self();
}

static void lock_from(struct qlock *q, void *caller)
{
	port_irq_t irq = spin_lock(&q->queue.lock);
	bool again = is_mine(q);
	struct sleeper s;

	if (!q->held) {
		qlock_take(q, port_thread_self());
	} else if (!again) {
		queue_enter(&q->queue, &s, 0);
		queue_sleep(&q->queue, &s, PORT_FOREVER, irq);
		return;
	}
	spin_unlock(&q->queue.lock, irq);
	if (again)
		panic("qlock %p is locked again by its holder (called from %pS)", (void *)q, caller);
}

void qlock_lock(struct qlock *q)
{
	sync_check_may_sleep("qlock_lock", __builtin_return_address(0));
	lock_from(q, __builtin_return_address(0));
}

bool qlock_trylock(struct qlock *q)
{
	port_irq_t irq = spin_lock(&q->queue.lock);
	bool taken = !q->held;

	if (taken)
		qlock_take(q, port_thread_self());
	spin_unlock(&q->queue.lock, irq);
	return taken;
}

static bool unlock_if_mine(struct qlock *q)
{
	port_irq_t irq = spin_lock(&q->queue.lock);
	struct sleeper *next = queue_first(&q->queue);
	bool mine = is_mine(q);

	if (mine && next) {
		qlock_take(q, next->thread);
		queue_wake(next);
	} else if (mine) {
		q->held = false;
		q->holder = NULL;
	}
	spin_unlock(&q->queue.lock, irq);
	return mine;
}

void qlock_unlock(struct qlock *q)
{
	if (!unlock_if_mine(q))
		panic("qlock %p is unlocked by one who doesn't hold it (called from %pS)", (void *)q,
			__builtin_return_address(0));
}

bool qlock_is_held_by_me(struct qlock *q)
{
	port_irq_t irq = spin_lock(&q->queue.lock);
	bool mine = is_mine(q);

	spin_unlock(&q->queue.lock, irq);
	return mine;
}

/* Semaphores */

void sem_init(struct semaphore *s, size_t count)
{
	*s = (struct semaphore)SEMAPHORE_INIT(*s, count);
}

/* Serves sleepers in order while the count lasts, at most SYNC_STEP; returns whether there is more
 * to do.  Lock held. */
static bool sem_serve(struct semaphore *s)
{
	struct sleeper *first = queue_first(&s->queue);

	for (int i = 0; i < SYNC_STEP && first && first->wants <= s->count; i++) {
		s->count -= first->wants;
		queue_wake(first);
		first = queue_first(&s->queue);
	}
	return first && first->wants <= s->count;
}

static void sem_add(struct semaphore *s, size_t n)
{
	bool more;

	do {
		port_irq_t irq = spin_lock(&s->queue.lock);

		s->count += n;
		n = 0;
		more = sem_serve(s);
		spin_unlock(&s->queue.lock, irq);
	} while (more);
}

/* Takes n if no sleeper is in the queue and the count has n; returns whether it did.  Lock held. */
static bool sem_take_now(struct semaphore *s, size_t n)
{
	bool taken = list_empty(&s->queue.sleepers) && s->count >= n;

	if (taken)
		s->count -= n;
	return taken;
}

static bool down_until(struct semaphore *s, size_t n, uint64_t deadline)
{
	port_irq_t irq = spin_lock(&s->queue.lock);
	struct sleeper me;
	bool served;

	if (sem_take_now(s, n)) {
		spin_unlock(&s->queue.lock, irq);
		return true;
	}
	queue_enter(&s->queue, &me, n);
	served = queue_sleep(&s->queue, &me, deadline, irq);
	if (!served)
		sem_add(s, 0);
	return served;
}

void sem_down(struct semaphore *s, size_t n)
{
	sync_check_may_sleep("sem_down", __builtin_return_address(0));
	down_until(s, n, PORT_FOREVER);
}

bool sem_down_timeout(struct semaphore *s, size_t n, uint64_t deadline)
{
	sync_check_may_sleep("sem_down_timeout", __builtin_return_address(0));
	return down_until(s, n, deadline);
}

bool sem_trydown(struct semaphore *s, size_t n)
{
	port_irq_t irq = spin_lock(&s->queue.lock);
	bool taken = sem_take_now(s, n);

	spin_unlock(&s->queue.lock, irq);
	return taken;
}

void sem_up(struct semaphore *s, size_t n)
{
	sem_add(s, n);
}

size_t sem_count(struct semaphore *s)
{
	port_irq_t irq = spin_lock(&s->queue.lock);
	size_t count = s->count;

	spin_unlock(&s->queue.lock, irq);
	return count;
}

/* Condition variables */

void cv_init(struct condvar *cv)
{
	queue_init(&cv->queue);
}

/* The caller is in the queue before it lets go of the qlock. */
static bool cv_wait_from(struct condvar *cv, struct qlock *q, uint64_t deadline, void *caller)
{
	port_irq_t irq;
	struct sleeper me;
	bool woken;

	if (!qlock_is_held_by_me(q))
		panic("cv_wait without the qlock %p (called from %pS)", (void *)q, caller);
	irq = spin_lock(&cv->queue.lock);
	queue_enter(&cv->queue, &me, 0);
	spin_unlock(&cv->queue.lock, irq);
	qlock_unlock(q);
	irq = spin_lock(&cv->queue.lock);
	woken = queue_sleep(&cv->queue, &me, deadline, irq);
	lock_from(q, caller);
	return woken;
}

void cv_wait(struct condvar *cv, struct qlock *q)
{
	sync_check_may_sleep("cv_wait", __builtin_return_address(0));
	cv_wait_from(cv, q, PORT_FOREVER, __builtin_return_address(0));
}

bool cv_wait_timeout(struct condvar *cv, struct qlock *q, uint64_t deadline)
{
	sync_check_may_sleep("cv_wait_timeout", __builtin_return_address(0));
	return cv_wait_from(cv, q, deadline, __builtin_return_address(0));
}

void cv_signal(struct condvar *cv)
{
	port_irq_t irq = spin_lock(&cv->queue.lock);
	struct sleeper *first = queue_first(&cv->queue);

	if (first)
		queue_wake(first);
	spin_unlock(&cv->queue.lock, irq);
}

void cv_broadcast(struct condvar *cv)
{
	queue_wake_all(&cv->queue);
}

/* Rendez */

void rendez_init(struct rendez *r)
{
	queue_init(&r->queue);
}

/* The caller is in the queue before it looks: who makes the condition true afterward finds it there. */
static bool rendez_until(
	struct rendez *r, bool (*condition)(void *arg), void *arg, uint64_t deadline)
{
	bool holds, woken = true;

	do {
		port_irq_t irq = spin_lock(&r->queue.lock);
		struct sleeper me;

		queue_enter(&r->queue, &me, 0);
		spin_unlock(&r->queue.lock, irq);
		holds = condition(arg);
		irq = spin_lock(&r->queue.lock);
		woken = queue_sleep(&r->queue, &me, holds ? 0 : deadline, irq);
	} while (!holds && woken);
	return holds || condition(arg);
}

void rendez_sleep(struct rendez *r, bool (*condition)(void *arg), void *arg)
{
	sync_check_may_sleep("rendez_sleep", __builtin_return_address(0));
	rendez_until(r, condition, arg, PORT_FOREVER);
}

bool rendez_sleep_timeout(
	struct rendez *r, bool (*condition)(void *arg), void *arg, uint64_t deadline)
{
	sync_check_may_sleep("rendez_sleep_timeout", __builtin_return_address(0));
	return rendez_until(r, condition, arg, deadline);
}

bool rendez_wakeup(struct rendez *r)
{
	return queue_wake_all(&r->queue);
}

/* rwlock */

void rwlock_init(struct rwlock *l)
{
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

/* Lets in who is next, a writer or the readers before the next writer, at most SYNC_STEP; returns
 * whether there is more to do.  Lock held. */
static bool rwlock_serve(struct rwlock *l)
{
	struct sleeper *first = queue_first(&l->queue);

	for (int i = 0; i < SYNC_STEP && first && rwlock_admits(l, first->wants); i++) {
		rwlock_take(l, first->wants, first->thread);
		queue_wake(first);
		first = queue_first(&l->queue);
	}
	return first && rwlock_admits(l, first->wants);
}

/* Takes the lock if no sleeper is in the queue and it can be had; returns whether it did.  Lock
 * held. */
static bool rwlock_take_now(struct rwlock *l, size_t wants)
{
	bool taken = list_empty(&l->queue.sleepers) && rwlock_admits(l, wants);

	if (taken)
		rwlock_take(l, wants, port_thread_self());
	return taken;
}

static void rwlock_take_sleeping(struct rwlock *l, size_t wants)
{
	port_irq_t irq = spin_lock(&l->queue.lock);
	struct sleeper me;

	if (rwlock_take_now(l, wants)) {
		spin_unlock(&l->queue.lock, irq);
	} else {
		queue_enter(&l->queue, &me, wants);
		queue_sleep(&l->queue, &me, PORT_FOREVER, irq);
	}
}

static bool rwlock_try(struct rwlock *l, size_t wants)
{
	port_irq_t irq = spin_lock(&l->queue.lock);
	bool taken = rwlock_take_now(l, wants);

	spin_unlock(&l->queue.lock, irq);
	return taken;
}

/* Takes the caller's hold back; returns false if there is none. */
static bool rwlock_leave(struct rwlock *l, size_t held)
{
	bool mine = held == READ ? l->readers > 0 : l->written && l->writer == port_thread_self();

	if (mine && held == READ) {
		l->readers--;
	} else if (mine) {
		l->written = false;
		l->writer = NULL;
	}
	return mine;
}

static void rwlock_done(struct rwlock *l, size_t held, void *caller)
{
	port_irq_t irq = spin_lock(&l->queue.lock);
	bool mine = rwlock_leave(l, held), more = mine && rwlock_serve(l);

	spin_unlock(&l->queue.lock, irq);
	if (!mine)
		panic("rwlock %p is let go of by one who doesn't hold it (called from %pS)", (void *)l,
			caller);
	while (more) {
		irq = spin_lock(&l->queue.lock);
		more = rwlock_serve(l);
		spin_unlock(&l->queue.lock, irq);
	}
}

void rwlock_read(struct rwlock *l)
{
	sync_check_may_sleep("rwlock_read", __builtin_return_address(0));
	rwlock_take_sleeping(l, READ);
}

void rwlock_write(struct rwlock *l)
{
	sync_check_may_sleep("rwlock_write", __builtin_return_address(0));
	rwlock_take_sleeping(l, WRITE);
}

bool rwlock_tryread(struct rwlock *l)
{
	return rwlock_try(l, READ);
}

bool rwlock_trywrite(struct rwlock *l)
{
	return rwlock_try(l, WRITE);
}

void rwlock_read_done(struct rwlock *l)
{
	rwlock_done(l, READ, __builtin_return_address(0));
}

void rwlock_write_done(struct rwlock *l)
{
	rwlock_done(l, WRITE, __builtin_return_address(0));
}
