/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sleeping locks and signals: each alone, woken by threads and by interrupts, and against
 * deadlines.
 */
#include "sync.h"

#include "alarm.h"
#include "kthread.h"
#include "machine.h"
#include "port.h"
#include "lib/test.h"
#include "threads.h"

#define MS 1000000u

static uint64_t in_ms(uint64_t ms)
{
	return port_ns() + ms * MS;
}

/* Wakes from an interrupt, `left` times unless its alarm is cancelled. */
struct ringer {
	struct alarm alarm;
	uint64_t period; /* ns */
	void (*ring)(void *arg);
	void *arg;
	size_t left; /* rings to come */
};
#define ENDLESS SIZE_MAX

static void ringer_rings(struct alarm *a)
{
	struct ringer *r = container_of(a, struct ringer, alarm);

	CHECK(port_in_irq() && !machine_irq_enabled());
	r->ring(r->arg);
	if (--r->left > 0)
		alarm_set(a, port_ns() + r->period);
}

static void ringer_start(
	struct ringer *r, uint64_t period, size_t times, void (*ring)(void *arg), void *arg)
{
	*r = (struct ringer){.period = period, .ring = ring, .arg = arg, .left = times};
	alarm_init(&r->alarm, ringer_rings);
	alarm_set(&r->alarm, port_ns() + period);
}

/* Until so many have come to sleep on a lock that none of them has left yet. */
static void sleep_until_asleep(struct sync_queue *q, uint64_t sleepers)
{
	for (;;) {
		port_irq_t irq = spin_lock(&q->lock);
		uint64_t came = q->tickets;

		spin_unlock(&q->lock, irq);
		if (came >= sleepers || test_has_failed())
			return;
		kthread_yield();
	}
}

/* qlock */

struct counter {
	struct qlock lock;
	size_t value;
	bool inside;
};

static void count_locked(unsigned i, void *arg)
{
	struct counter *c = arg;
	size_t ops = test_ops(2000);

	for (size_t n = 0; n < ops; n++) {
		qlock_lock(&c->lock);
		CHECK(!c->inside && qlock_is_held_by_me(&c->lock));
		c->inside = true;
		if (test_random_below(4) == 0)
			kthread_yield();
		c->value++;
		c->inside = false;
		qlock_unlock(&c->lock);
	}
}

TEST("qlock: one holder at a time, which may yield")
{
	struct counter c = {.lock = QLOCK_INIT(c.lock)};

	threads_run(THREADS_FREE, 8, count_locked, &c);
	CHECK_EQ(c.value, 8 * test_ops(2000));
	CHECK(!qlock_is_held_by_me(&c.lock));
}

struct order {
	struct qlock lock;
	unsigned next;
	bool go[8];
};

static void enter_in_order(unsigned i, void *arg)
{
	struct order *o = arg;

	threads_await(&o->go[i]);
	qlock_lock(&o->lock);
	CHECK_EQ(o->next, i);
	o->next++;
	qlock_unlock(&o->lock);
}

TEST("qlock: is handed over in the order in which threads came")
{
	struct order o = {.lock = QLOCK_INIT(o.lock)};
	struct threads *threads;

	qlock_lock(&o.lock);
	threads = threads_start(THREADS_FREE, 8, enter_in_order, &o);
	for (unsigned i = 0; i < 8; i++) {
		__atomic_store_n(&o.go[i], true, __ATOMIC_RELEASE);
		sleep_until_asleep(&o.lock.queue, i + 1);
	}
	CHECK(!qlock_trylock(&o.lock));
	qlock_unlock(&o.lock);
	CHECK(!qlock_is_held_by_me(&o.lock));
	threads_join(threads);
	CHECK_EQ(o.next, 8);
	CHECK(qlock_trylock(&o.lock));
	qlock_unlock(&o.lock);
}

static void unlock_others(unsigned i, void *lock)
{
	CHECK(!qlock_is_held_by_me(lock));
	CHECK_PANICS(qlock_unlock(lock), "doesn't hold it");
}

TEST("qlock: locking again and unlocking another's are caller's bugs")
{
	struct qlock lock = QLOCK_INIT(lock);

	CHECK_PANICS(qlock_unlock(&lock), "doesn't hold it");
	qlock_lock(&lock);
	CHECK_PANICS(qlock_lock(&lock), "locked again by its holder");
	threads_run(THREADS_FREE, 1, unlock_others, &lock);
	qlock_unlock(&lock);
}

/* Semaphores */

struct pipe {
	struct semaphore room, filled;
	struct qlock lock;
	size_t sum;
};

static void produce_or_consume(unsigned i, void *arg)
{
	struct pipe *p = arg;
	size_t ops = test_ops(3000);

	for (size_t n = 0; n < ops; n++) {
		sem_down(i % 2 ? &p->filled : &p->room, 1);
		qlock_lock(&p->lock);
		p->sum += i % 2 ? (size_t)-1 : 1;
		CHECK_LE(p->sum, 4);
		qlock_unlock(&p->lock);
		sem_up(i % 2 ? &p->room : &p->filled, 1);
	}
}

TEST("semaphore: producers and consumers on all cores lose and gain nothing")
{
	struct pipe p = {SEMAPHORE_INIT(p.room, 4), SEMAPHORE_INIT(p.filled, 0), QLOCK_INIT(p.lock), 0};

	threads_run(THREADS_FREE, 8, produce_or_consume, &p);
	CHECK_EQ(sem_count(&p.room), 4);
	CHECK_EQ(sem_count(&p.filled), 0);
	CHECK_EQ(p.sum, 0);
}

struct bulk {
	struct semaphore s;
	bool served[3];
};

static void want(unsigned i, void *arg)
{
	static const size_t wants[] = {5, 1, 1};
	struct bulk *b = arg;

	if (i > 0)
		sleep_until_asleep(&b->s.queue, i);
	sem_down(&b->s, wants[i]);
	__atomic_store_n(&b->served[i], true, __ATOMIC_RELEASE);
}

TEST("semaphore: a request for much that came first is served first, none overtakes it")
{
	struct bulk b = {.s = SEMAPHORE_INIT(b.s, 0)};
	struct threads *threads = threads_start(THREADS_FREE, 3, want, &b);

	sleep_until_asleep(&b.s.queue, 3);
	sem_up(&b.s, 4);
	CHECK(!sem_trydown(&b.s, 1));
	CHECK(!sem_down_timeout(&b.s, 1, 0));
	CHECK(!sem_down_timeout(&b.s, 1, in_ms(1)));
	CHECK_EQ(sem_count(&b.s), 4);
	for (int i = 0; i < 3; i++)
		CHECK(!__atomic_load_n(&b.served[i], __ATOMIC_ACQUIRE));
	sem_up(&b.s, 3);
	threads_join(threads);
	CHECK_EQ(sem_count(&b.s), 0);
}

/* The one that wants much gives up again and again, until the other one has met it asleep. */
static void want_much_for_a_while(unsigned i, void *arg)
{
	struct bulk *b = arg;

	if (i == 0) {
		do
			CHECK(!sem_down_timeout(&b->s, 5, in_ms(20)));
		while (!__atomic_load_n(&b->served[1], __ATOMIC_ACQUIRE));
		return;
	}
	sleep_until_asleep(&b->s.queue, 1);
	CHECK(sem_down_timeout(&b->s, 1, port_ns() + THREADS_PATIENCE));
	__atomic_store_n(&b->served[1], true, __ATOMIC_RELEASE);
}

TEST("semaphore: one that gives up lets those behind it in")
{
	struct bulk b = {.s = SEMAPHORE_INIT(b.s, 1)};

	threads_run(THREADS_FREE, 2, want_much_for_a_while, &b);
	CHECK_EQ(sem_count(&b.s), 0);
}

TEST("semaphore: a deadline that has passed makes it a try")
{
	struct semaphore s = SEMAPHORE_INIT(s, 2);

	CHECK(sem_down_timeout(&s, 2, 0));
	CHECK(!sem_down_timeout(&s, 1, 0));
	sem_up(&s, 1);
	CHECK(sem_trydown(&s, 1));
	CHECK(!sem_trydown(&s, 1));
}

static void sleep_once(unsigned i, void *arg)
{
	sem_down(arg, 1);
}

TEST("semaphore: more sleepers than one step serves are all served")
{
	struct semaphore s = SEMAPHORE_INIT(s, 0);
	unsigned n = 2 * SYNC_STEP + 5;
	struct threads *threads = threads_start(THREADS_FREE, n, sleep_once, &s);

	sleep_until_asleep(&s.queue, n);
	sem_up(&s, n + 1);
	threads_join(threads);
	CHECK_EQ(sem_count(&s), 1);
}

/* Deadlines against wake-ups, which come from interrupts */

struct race {
	struct semaphore s;
	size_t rounds, given, taken, late; /* atomic */
};

static void count_up(size_t *count)
{
	__atomic_fetch_add(count, 1, __ATOMIC_RELAXED);
}

static void give_one(void *arg)
{
	struct race *r = arg;

	count_up(&r->given);
	sem_up(&r->s, 1);
}

static bool both_have_won(const struct race *r)
{
	return __atomic_load_n(&r->taken, __ATOMIC_RELAXED) > 0 &&
	       __atomic_load_n(&r->late, __ATOMIC_RELAXED) > 0;
}

/* The moment of the up is moved to where both outcomes are as likely: later than a deadline however
 * long this core takes to come from one to the other. */
static void race_deadline(unsigned i, void *arg)
{
	struct race *r = arg;
	struct ringer giver;
	uint64_t period = MS / 5;

	for (size_t n = 0; (n < test_ops(400) || !both_have_won(r)) && !test_has_failed(); n++) {
		uint64_t step = 1 + test_random_below(MS / 20);

		count_up(&r->rounds);
		ringer_start(&giver, period, 1, give_one, r);
		if (sem_down_timeout(&r->s, 1, port_ns() + MS / 5)) {
			count_up(&r->taken);
			period += step;
		} else {
			count_up(&r->late);
			period = period > step ? period - step : 0;
		}
		if (alarm_cancel(&giver.alarm))
			give_one(r);
	}
}

TEST("semaphore: of a deadline and an interrupt's up one wins, and no count is lost")
{
	struct race r = {.s = SEMAPHORE_INIT(r.s, 0)};

	threads_run(THREADS_PINNED, 2 * port_core_count(), race_deadline, &r);
	CHECK_EQ(r.given, r.rounds);
	CHECK_EQ(r.taken + r.late, r.rounds);
	CHECK_EQ(r.taken + sem_count(&r.s), r.given);
}

/* Condition variables */

struct box {
	struct qlock lock;
	struct condvar changed;
	size_t full, seen;
	bool open;
};

static void take_from_box(unsigned i, void *arg)
{
	struct box *b = arg;

	qlock_lock(&b->lock);
	while (b->full == 0)
		cv_wait(&b->changed, &b->lock);
	CHECK(qlock_is_held_by_me(&b->lock));
	b->full--;
	b->seen++;
	qlock_unlock(&b->lock);
}

TEST("condvar: a signal wakes one, and the lock is held again")
{
	struct box b = {.lock = QLOCK_INIT(b.lock), .changed = CONDVAR_INIT(b.changed)};
	struct threads *threads = threads_start(THREADS_FREE, 6, take_from_box, &b);

	for (size_t i = 0; i < 6; i++) {
		qlock_lock(&b.lock);
		b.full++;
		cv_signal(&b.changed);
		qlock_unlock(&b.lock);
	}
	threads_join(threads);
	CHECK_EQ(b.seen, 6);
	CHECK_EQ(b.full, 0);
}

static void wait_for_opening(unsigned i, void *arg)
{
	struct box *b = arg;

	qlock_lock(&b->lock);
	while (!b->open)
		cv_wait(&b->changed, &b->lock);
	b->seen++;
	qlock_unlock(&b->lock);
}

TEST("condvar: a broadcast wakes all that sleep, however many")
{
	struct box b = {.lock = QLOCK_INIT(b.lock), .changed = CONDVAR_INIT(b.changed)};
	unsigned n = SYNC_STEP + 8;
	struct threads *threads = threads_start(THREADS_FREE, n, wait_for_opening, &b);

	sleep_until_asleep(&b.changed.queue, n);
	qlock_lock(&b.lock);
	b.open = true;
	qlock_unlock(&b.lock);
	cv_broadcast(&b.changed);
	threads_join(threads);
	CHECK_EQ(b.seen, n);
}

TEST("condvar: a wait ends at its deadline, with the lock held")
{
	struct box b = {.lock = QLOCK_INIT(b.lock), .changed = CONDVAR_INIT(b.changed)};
	uint64_t deadline = in_ms(3);

	qlock_lock(&b.lock);
	CHECK(!cv_wait_timeout(&b.changed, &b.lock, deadline));
	CHECK_LE(deadline, port_ns());
	CHECK(qlock_is_held_by_me(&b.lock));
	qlock_unlock(&b.lock);
	CHECK_PANICS(cv_wait(&b.changed, &b.lock), "cv_wait without the qlock");
}

static void signal_changed(void *arg)
{
	struct box *b = arg;

	cv_signal(&b->changed);
}

TEST("condvar: a signal from an interrupt wakes")
{
	struct box b = {.lock = QLOCK_INIT(b.lock), .changed = CONDVAR_INIT(b.changed)};
	struct ringer ringer;
	bool woken;

	/* A signal before the wait wakes none, so there are more. */
	qlock_lock(&b.lock);
	ringer_start(&ringer, 2 * MS, ENDLESS, signal_changed, &b);
	woken = cv_wait_timeout(&b.changed, &b.lock, port_ns() + THREADS_PATIENCE);
	qlock_unlock(&b.lock);
	alarm_cancel(&ringer.alarm);
	CHECK(woken);
}

/* Rendez */

struct door {
	struct rendez rendez;
	size_t steps; /* atomic */
	size_t wanted;
	size_t looks; /* atomic */
};

static bool has_stepped(void *arg)
{
	struct door *d = arg;

	__atomic_fetch_add(&d->looks, 1, __ATOMIC_RELAXED);
	return __atomic_load_n(&d->steps, __ATOMIC_ACQUIRE) >= d->wanted;
}

static void step(void *arg)
{
	struct door *d = arg;

	__atomic_fetch_add(&d->steps, 1, __ATOMIC_RELEASE);
	rendez_wakeup(&d->rendez);
}

static void sleep_at_door(unsigned i, void *arg)
{
	struct door *d = arg;

	rendez_sleep(&d->rendez, has_stepped, d);
	CHECK_LE(d->wanted, __atomic_load_n(&d->steps, __ATOMIC_ACQUIRE));
}

TEST("rendez: sleeps until the condition holds, with wake-ups from an interrupt")
{
	struct door d = {.rendez = RENDEZ_INIT(d.rendez), .wanted = 5};
	struct ringer ringer;

	ringer_start(&ringer, MS / 2, 5, step, &d);
	threads_run(THREADS_FREE, 6, sleep_at_door, &d);
	CHECK(!alarm_cancel(&ringer.alarm));
	CHECK(!rendez_wakeup(&d.rendez));
}

TEST("rendez: a condition that holds needs no wake-up, another ends at the deadline")
{
	struct door d = {.rendez = RENDEZ_INIT(d.rendez), .wanted = 1};
	uint64_t deadline = in_ms(3);

	CHECK(!rendez_sleep_timeout(&d.rendez, has_stepped, &d, deadline));
	CHECK_LE(deadline, port_ns());
	CHECK(!rendez_sleep_timeout(&d.rendez, has_stepped, &d, 0));
	d.steps = 1;
	d.looks = 0;
	rendez_sleep(&d.rendez, has_stepped, &d);
	CHECK(rendez_sleep_timeout(&d.rendez, has_stepped, &d, 0));
	CHECK_EQ(d.looks, 2);
}

static bool wakes_itself(void *arg)
{
	rendez_wakeup(arg);
	return true;
}

/* As an interrupt of boot may in the middle of its look. */
TEST("rendez: a wake-up that meets boot, which need not sleep, is harmless")
{
	struct rendez r = RENDEZ_INIT(r);
	port_irq_t irq = port_irq_save();
	struct ktask *self = ktask_self();
	bool held;

	machine_set_current(NULL);
	port_irq_restore(irq);
	held = rendez_sleep_timeout(&r, wakes_itself, &r, 0);
	irq = port_irq_save();
	machine_set_current(self);
	port_irq_restore(irq);
	CHECK(held);
	CHECK(!rendez_wakeup(&r));
}

static bool has_looked(void *arg)
{
	return (*(size_t *)arg)++ > 0;
}

TEST("rendez: a condition that holds at the deadline is seen without a wake-up")
{
	struct rendez r = RENDEZ_INIT(r);
	size_t looks = 0;

	CHECK(rendez_sleep_timeout(&r, has_looked, &looks, in_ms(1)));
	looks = 0;
	CHECK(rendez_sleep_timeout(&r, has_looked, &looks, 0));
}

struct late {
	struct rendez rendez;
	bool holds;
};

/* False, and true as soon as it has been looked at; a wake-up follows. */
static bool holds_later(void *arg)
{
	struct late *l = arg;
	bool held = l->holds;

	l->holds = true;
	rendez_wakeup(&l->rendez);
	return held;
}

TEST("rendez: a wake-up right after the look is not missed")
{
	struct late l = {.rendez = RENDEZ_INIT(l.rendez)};
	uint64_t deadline = port_ns() + THREADS_PATIENCE;

	CHECK(rendez_sleep_timeout(&l.rendez, holds_later, &l, deadline));
	CHECK_LT(port_ns(), deadline);
}

struct ball {
	struct rendez rendez;
	size_t at; /* odd: it is one thread's turn; even: the other's; atomic */
};

static bool is_odd(void *arg)
{
	return __atomic_load_n(&((struct ball *)arg)->at, __ATOMIC_ACQUIRE) % 2 == 1;
}

static bool is_even(void *arg)
{
	return !is_odd(arg);
}

static void play(unsigned i, void *arg)
{
	struct ball *b = arg;

	for (size_t n = 0; n < test_ops(5000); n++) {
		rendez_sleep(&b->rendez, i ? is_odd : is_even, b);
		__atomic_fetch_add(&b->at, 1, __ATOMIC_RELEASE);
		rendez_wakeup(&b->rendez);
	}
}

TEST("rendez: no wake-up is lost between the look and the sleep")
{
	struct ball b = {RENDEZ_INIT(b.rendez), 0};

	threads_run(THREADS_FREE, 2, play, &b);
	CHECK_EQ(b.at, 2 * test_ops(5000));
}

/* rwlock */

struct page {
	struct rwlock lock;
	size_t readers; /* atomic */
	size_t most;	/* atomic */
	size_t words[2];
};

static void read_or_write(unsigned i, void *arg)
{
	struct page *p = arg;

	for (size_t n = 0; n < test_ops(2000); n++) {
		if (test_random_below(4) == 0) {
			rwlock_write(&p->lock);
			CHECK_EQ(__atomic_load_n(&p->readers, __ATOMIC_RELAXED), 0);
			p->words[0]++;
			kthread_yield();
			p->words[1]++;
			rwlock_write_done(&p->lock);
		} else {
			rwlock_read(&p->lock);
			__atomic_fetch_add(&p->readers, 1, __ATOMIC_RELAXED);
			CHECK_EQ(p->words[0], p->words[1]);
			if (n % 8 == 0)
				kthread_yield();
			__atomic_fetch_sub(&p->readers, 1, __ATOMIC_RELAXED);
			rwlock_read_done(&p->lock);
		}
	}
}

TEST("rwlock: writers are alone, readers never see half of a change")
{
	struct page p = {.lock = RWLOCK_INIT(p.lock)};

	threads_run(THREADS_FREE, 8, read_or_write, &p);
	CHECK_EQ(p.words[0], p.words[1]);
}

static void read_together(unsigned i, void *arg)
{
	struct page *p = arg;

	rwlock_read(&p->lock);
	__atomic_fetch_add(&p->readers, 1, __ATOMIC_RELAXED);
	while (__atomic_load_n(&p->readers, __ATOMIC_RELAXED) < 4 && !test_has_failed())
		kthread_yield();
	rwlock_read_done(&p->lock);
}

TEST("rwlock: readers hold it together")
{
	struct page p = {.lock = RWLOCK_INIT(p.lock)};

	threads_run(THREADS_FREE, 4, read_together, &p);
}

static void write_once(unsigned i, void *arg)
{
	struct page *p = arg;

	rwlock_write(&p->lock);
	p->words[0] = 1;
	rwlock_write_done(&p->lock);
}

static void read_once(unsigned i, void *arg)
{
	struct page *p = arg;

	rwlock_read(&p->lock);
	CHECK_EQ(p->words[0], 1);
	rwlock_read_done(&p->lock);
}

TEST("rwlock: readers that come behind a waiting writer don't overtake it")
{
	struct page p = {.lock = RWLOCK_INIT(p.lock)};
	struct threads *writer, *readers;

	rwlock_read(&p.lock);
	writer = threads_start(THREADS_FREE, 1, write_once, &p);
	sleep_until_asleep(&p.lock.queue, 1);
	CHECK(!rwlock_tryread(&p.lock));
	CHECK(!rwlock_trywrite(&p.lock));
	readers = threads_start(THREADS_FREE, SYNC_STEP + 3, read_once, &p);
	sleep_until_asleep(&p.lock.queue, 1 + SYNC_STEP + 3);
	rwlock_read_done(&p.lock);
	threads_join(writer);
	threads_join(readers);
	CHECK(rwlock_trywrite(&p.lock));
	rwlock_write_done(&p.lock);
}

TEST("rwlock: releasing a lock that the caller doesn't hold is a caller's bug")
{
	struct rwlock lock = RWLOCK_INIT(lock);

	CHECK_PANICS(rwlock_read_done(&lock), "doesn't hold it");
	CHECK_PANICS(rwlock_write_done(&lock), "doesn't hold it");
	rwlock_read(&lock);
	CHECK_PANICS(rwlock_write_done(&lock), "doesn't hold it");
	rwlock_read_done(&lock);
}

/* Sleeping where that is illegal */

static void sleep_in_every_way(void)
{
	struct qlock lock = QLOCK_INIT(lock);
	struct semaphore s = SEMAPHORE_INIT(s, 1);
	struct rwlock rw = RWLOCK_INIT(rw);
	struct door d = {.rendez = RENDEZ_INIT(d.rendez)};
	struct condvar cv = CONDVAR_INIT(cv);

	CHECK_PANICS(qlock_lock(&lock), "qlock_lock ");
	CHECK_PANICS(sem_down(&s, 1), "sem_down ");
	CHECK_PANICS(sem_down_timeout(&s, 1, 0), "sem_down_timeout ");
	CHECK_PANICS(cv_wait(&cv, &lock), "cv_wait ");
	CHECK_PANICS(cv_wait_timeout(&cv, &lock, 0), "cv_wait_timeout ");
	CHECK_PANICS(rendez_sleep(&d.rendez, has_stepped, &d), "rendez_sleep ");
	CHECK_PANICS(rendez_sleep_timeout(&d.rendez, has_stepped, &d, 0), "rendez_sleep_timeout ");
	CHECK_PANICS(rwlock_read(&rw), "rwlock_read ");
	CHECK_PANICS(rwlock_write(&rw), "rwlock_write ");
	CHECK_PANICS(kthread_yield(), "kthread_yield ");
	CHECK_PANICS(kthread_usleep(1), "kthread_usleep ");
}

static void sleep_in_interrupt(void *done)
{
	struct semaphore s = SEMAPHORE_INIT(s, 1);

	CHECK_PANICS(sem_down(&s, 1), "sem_down in an interrupt, which can't sleep (called from ");
	sleep_in_every_way();
	__atomic_store_n((bool *)done, true, __ATOMIC_RELEASE);
}

TEST("sync: sleeping in an interrupt panics even if there is no need to sleep")
{
	struct ringer ringer;
	bool done = false;

	ringer_start(&ringer, MS / 10, 1, sleep_in_interrupt, &done);
	while (!__atomic_load_n(&done, __ATOMIC_ACQUIRE) && !test_has_failed())
		kthread_usleep(100);
	alarm_cancel(&ringer.alarm);
}

TEST("sync: sleeping with interrupts off panics")
{
	port_irq_t irq = port_irq_save();
	struct semaphore s = SEMAPHORE_INIT(s, 1);

	CHECK_PANICS(sem_down(&s, 1), "interrupts off");
	sleep_in_every_way();
	port_irq_restore(irq);
}

TEST("sync: sleeping with a spinlock held panics, in debug builds says where taken")
{
	struct spinlock lock = SPINLOCK_INIT(SPIN_LEAF);
	port_irq_t irq = spin_lock(&lock);
	struct semaphore s = SEMAPHORE_INIT(s, 1);

	CHECK_PANICS(sem_down(&s, 1), SPANDREL_DEBUG ? "class leaf, taken at " : "a spinlock held");
	spin_unlock(&lock, irq);
}

/* Mistakes */

TEST("semaphore: a count that would wrap is reported, and stays")
{
	struct semaphore s = SEMAPHORE_INIT(s, 0);

	sem_up(&s, SIZE_MAX);
	CHECK_PANICS(sem_up(&s, 1), "its count would wrap by 1 more (called from test_");
	CHECK_PANICS(sem_up(&s, SIZE_MAX), "its count would wrap");
	CHECK_EQ(sem_count(&s), SIZE_MAX);
	sem_down(&s, ((size_t)1 << 63) + 1);
	CHECK_EQ(sem_count(&s), SIZE_MAX / 2 - 1);
	CHECK_PANICS(sem_up(&s, ((size_t)1 << 63) + 2), "its count would wrap");
	sem_up(&s, ((size_t)1 << 63) + 1);
	CHECK_EQ(sem_count(&s), SIZE_MAX);
	CHECK(sem_trydown(&s, SIZE_MAX));
	CHECK_EQ(sem_count(&s), 0);
}

TEST("rwlock: a thread that takes it again is reported, and the lock stays as it was")
{
	struct rwlock l = RWLOCK_INIT(l), other = RWLOCK_INIT(other);

	rwlock_write(&l);
	CHECK_PANICS(rwlock_write(&l), "is locked again by its holder (called from test_");
	CHECK_PANICS(rwlock_read(&l), "is locked again by its holder (called from test_");
	CHECK(!rwlock_tryread(&l));
	CHECK(!rwlock_trywrite(&l));
	rwlock_write_done(&l);
	rwlock_read(&l);
	CHECK_PANICS(rwlock_write(&l), "is locked again by its holder");
	CHECK_PANICS(rwlock_read(&l), "is locked again by its holder");
	CHECK(!rwlock_trywrite(&l));
	/* Two at once, in any order. */
	rwlock_read(&other);
	rwlock_read_done(&l);
	CHECK_PANICS(rwlock_write(&other), "is locked again by its holder");
	rwlock_write(&l);
	rwlock_write_done(&l);
	rwlock_read_done(&other);
	rwlock_write(&other);
	rwlock_write_done(&other);
}

/* Each thread holds one of them, and none what the main thread holds. */
static struct rwlock written_lock, read_lock, own_lock;

static void release_others(unsigned i, void *arg)
{
	CHECK_PANICS(rwlock_write_done(&written_lock), "is released by a thread that doesn't hold it");
	CHECK_PANICS(rwlock_read_done(&written_lock), "is released by a thread that doesn't hold it");
	CHECK_PANICS(rwlock_read_done(&read_lock), "is released by a thread that doesn't hold it");
	CHECK_PANICS(rwlock_write_done(&read_lock), "is released by a thread that doesn't hold it");
	rwlock_read(&own_lock);
	CHECK_PANICS(rwlock_read_done(&read_lock), "is released by a thread that doesn't hold it");
	rwlock_read_done(&own_lock);
	CHECK_PANICS(rwlock_read_done(&own_lock), "is released by a thread that doesn't hold it");
	rwlock_read(&read_lock);
	CHECK_PANICS(rwlock_write(&read_lock), "is locked again by its holder");
	rwlock_read_done(&read_lock);
}

TEST("rwlock: it is released by a thread that holds it, and no other")
{
	rwlock_init(&written_lock);
	rwlock_init(&read_lock);
	rwlock_init(&own_lock);
	rwlock_write(&written_lock);
	rwlock_read(&read_lock);
	threads_run(THREADS_PINNED, 4, release_others, NULL);
	rwlock_write_done(&written_lock);
	rwlock_read_done(&read_lock);
	CHECK(rwlock_trywrite(&read_lock) && rwlock_trywrite(&written_lock));
	rwlock_write_done(&read_lock);
	rwlock_write_done(&written_lock);
	CHECK_PANICS(rwlock_read_done(&read_lock), "is released by a thread that doesn't hold it");
}
