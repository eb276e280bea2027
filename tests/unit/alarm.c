/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Alarms.
 */
#include "alarm.h"

#include "kthread.h"
#include "lib/list.h"
#include "port.h"
#include "sync.h"
#include "lib/test.h"
#include "threads.h"

#define MS 1000000u
#define ALARMS 16

struct bell {
	struct alarm alarm;
	struct bells *all;
	unsigned core, number;
};

struct bells {
	struct bell each[ALARMS];
	unsigned rung[ALARMS]; /* the numbers in the order they rang */
	unsigned count;
	struct semaphore done;
};

static void ring(struct alarm *a)
{
	struct bell *b = container_of(a, struct bell, alarm);

	CHECK(port_in_irq());
	CHECK_EQ(b->core, port_core_id());
	CHECK_LE(a->deadline, port_ns());
	b->all->rung[b->all->count++] = b->number;
	sem_up(&b->all->done, 1);
}

static void bells_init(struct bells *bells)
{
	bells->count = 0;
	sem_init(&bells->done, 0);
	for (unsigned i = 0; i < ALARMS; i++) {
		bells->each[i].all = bells;
		bells->each[i].number = i;
		alarm_init(&bells->each[i].alarm, ring);
	}
}

static void bell_set(struct bell *b, uint64_t deadline)
{
	b->core = port_core_id();
	alarm_set(&b->alarm, deadline);
}

/* Interrupts are off until all are set, so that none rings before. */
static void set_and_wait(unsigned i, void *arg)
{
	port_irq_t irq = port_irq_save();
	uint64_t now = port_ns();
	struct bells bells;

	bells_init(&bells);
	/* 0 5 10 15 4 9 ...: neither as they were set nor as they lie in memory. */
	for (unsigned n = 0; n < ALARMS; n++) {
		bells.each[n].number = n * 5 % ALARMS;
		bell_set(&bells.each[n], now + 2 * MS + bells.each[n].number * MS / 10);
	}
	port_irq_restore(irq);
	sem_down(&bells.done, ALARMS);
	for (unsigned n = 0; n < ALARMS; n++)
		CHECK_EQ(bells.rung[n], n);
}

TEST("alarm: they ring in the order of their deadlines, on the core that set them")
{
	threads_run(THREADS_PINNED, port_core_count(), set_and_wait, NULL);
}

static void set_equal(unsigned i, void *arg)
{
	port_irq_t irq = port_irq_save();
	uint64_t deadline = port_ns() + MS;
	struct bells bells;

	bells_init(&bells);
	for (unsigned n = 0; n < ALARMS; n++)
		bell_set(&bells.each[n], deadline);
	port_irq_restore(irq);
	sem_down(&bells.done, ALARMS);
	for (unsigned n = 0; n < ALARMS; n++)
		CHECK_EQ(bells.rung[n], n);
}

TEST("alarm: those of one moment ring in the order they were set")
{
	threads_run(THREADS_PINNED, 1, set_equal, NULL);
}

static void cancel_some(unsigned i, void *arg)
{
	bool cancelled = true, again;
	struct bells bells;
	port_irq_t irq;

	bells_init(&bells);
	CHECK(!alarm_cancel(&bells.each[0].alarm));
	irq = port_irq_save();
	for (unsigned n = 0; n < ALARMS; n++)
		bell_set(&bells.each[n], port_ns() + MS);
	for (unsigned n = 0; n < ALARMS; n += 2)
		cancelled &= alarm_cancel(&bells.each[n].alarm);
	again = alarm_cancel(&bells.each[0].alarm);
	port_irq_restore(irq);
	CHECK(cancelled && !again);
	sem_down(&bells.done, ALARMS / 2);
	for (unsigned n = 0; n < ALARMS / 2; n++)
		CHECK_EQ(bells.rung[n], 2 * n + 1);
	CHECK(!alarm_cancel(&bells.each[1].alarm));
}

TEST("alarm: what is cancelled doesn't ring")
{
	threads_run(THREADS_PINNED, 1, cancel_some, NULL);
}

TEST("alarm: a deadline that has passed rings at once")
{
	struct bells bells;

	bells_init(&bells);
	bell_set(&bells.each[0], 0);
	CHECK(sem_down_timeout(&bells.done, 1, port_ns() + THREADS_PATIENCE));
	/* The handler may still be running, on another core. */
	CHECK(!alarm_cancel(&bells.each[0].alarm));
}

/* If the first one came with the second one, the second would have rung when the first one did. */
static void set_later(unsigned i, void *arg)
{
	uint64_t now = port_ns();
	struct bells bells;

	bells_init(&bells);
	bell_set(&bells.each[0], now + 2 * MS);
	bell_set(&bells.each[1], now + THREADS_PATIENCE);
	bell_set(&bells.each[2], UINT64_MAX);
	sem_down(&bells.done, 1);
	CHECK(alarm_cancel(&bells.each[1].alarm));
	CHECK(alarm_cancel(&bells.each[2].alarm));
}

TEST("alarm: one that is set for later doesn't keep an earlier one waiting")
{
	threads_run(THREADS_PINNED, 1, set_later, NULL);
}

struct fickle {
	struct alarm alarm;
	struct semaphore done;
	bool was_set, was_set_twice;
};

static void change_its_mind(struct alarm *a)
{
	struct fickle *f = container_of(a, struct fickle, alarm);

	alarm_set(a, port_ns());
	f->was_set = alarm_cancel(a);
	f->was_set_twice = alarm_cancel(a);
	sem_up(&f->done, 1);
}

TEST("alarm: in its own handler it may be set anew and cancelled")
{
	struct fickle f = {.done = SEMAPHORE_INIT(f.done, 0)};

	alarm_init(&f.alarm, change_its_mind);
	alarm_set(&f.alarm, port_ns() + MS);
	sem_down(&f.done, 1);
	CHECK(!alarm_cancel(&f.alarm));
	CHECK(f.was_set && !f.was_set_twice);
	CHECK(!sem_trydown(&f.done, 1));
}

/* Cancelled from another core, while it rings. */
struct shared {
	struct alarm alarm;
	bool set;     /* atomic */
	bool inside;  /* the handler runs; atomic */
	size_t rang, cancelled;
};

static void ring_shared(struct alarm *a)
{
	struct shared *s = container_of(a, struct shared, alarm);

	__atomic_store_n(&s->inside, true, __ATOMIC_RELAXED);
	for (int i = 0; i < 50; i++)
		port_pause();
	s->rang++;
	__atomic_store_n(&s->inside, false, __ATOMIC_RELAXED);
}

static void set_or_cancel(unsigned i, void *arg)
{
	struct shared *s = arg;
	size_t ops = test_ops(500);

	for (size_t n = 0; n < ops && !test_has_failed(); n++) {
		while (__atomic_load_n(&s->set, __ATOMIC_ACQUIRE) == (i == 0) && !test_has_failed())
			kthread_yield();
		if (i == 0) {
			alarm_set(&s->alarm, port_ns() + test_random_below(MS / 10));
		} else {
			uint64_t until = port_ns() + test_random_below(MS / 10);

			while (port_ns() < until)
				port_pause();
			s->cancelled += alarm_cancel(&s->alarm);
			CHECK(!__atomic_load_n(&s->inside, __ATOMIC_RELAXED));
		}
		__atomic_store_n(&s->set, i == 0, __ATOMIC_RELEASE);
	}
}

TEST("alarm: after another core's cancel no handler runs, each rang or was cancelled")
{
	struct shared s = {.set = false};

	alarm_init(&s.alarm, ring_shared);
	threads_run(THREADS_PINNED, 2, set_or_cancel, &s);
	CHECK_EQ(s.rang + s.cancelled, test_ops(500));
}

struct moved {
	struct alarm alarm;
	bool inside, cancels; /* atomic */
	bool was_seen;	      /* by the handler, at its end: the cancel had not returned */
	bool has_returned;    /* the cancel; atomic */
};

static void ring_moved(struct alarm *a)
{
	struct moved *m = container_of(a, struct moved, alarm);

	__atomic_store_n(&m->inside, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&m->cancels, __ATOMIC_ACQUIRE))
		port_pause();
	/* Long enough for a cancel that doesn't wait. */
	for (int i = 0; i < 100000; i++)
		port_pause();
	m->was_seen = !__atomic_load_n(&m->has_returned, __ATOMIC_ACQUIRE);
}

static void ring_there(void *arg)
{
	struct moved *m = arg;

	alarm_set(&m->alarm, 0);
	while (!__atomic_load_n(&m->inside, __ATOMIC_ACQUIRE))
		kthread_yield();
}

TEST("alarm: a cancel waits for the handler on the core that it was set on before")
{
	struct moved m = {.inside = false};
	struct ktask *there;

	if (port_core_count() < 2)
		return;
	alarm_init(&m.alarm, ring_moved);
	there = ktask_pinned("there", ring_there, &m, (port_core_id() + 1) % port_core_count());
	while (!__atomic_load_n(&m.inside, __ATOMIC_ACQUIRE))
		port_pause();
	alarm_set(&m.alarm, PORT_FOREVER);
	__atomic_store_n(&m.cancels, true, __ATOMIC_RELEASE);
	CHECK(alarm_cancel(&m.alarm));
	__atomic_store_n(&m.has_returned, true, __ATOMIC_RELEASE);
	ktask_join(there);
	CHECK(m.was_seen);
}
