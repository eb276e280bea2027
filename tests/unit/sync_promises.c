/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sentences of sync.h that no other test is about: the order in which sleepers are woken, who is
 * woken by a broadcast, and that neither sleeping nor waking takes memory.
 */
#include "sync.h"

#include "arenas.h"
#include "threads.h"
#include "lib/test.h"

#define SLEEPERS (SYNC_STEP + 5)

struct order {
	struct qlock lock;
	struct condvar cv;
	struct semaphore sem;
	struct rwlock rw;
	unsigned woken[SLEEPERS]; /* who, in what order */
	unsigned count;		  /* of them; atomic */
	struct threads *threads[SLEEPERS];
	unsigned number; /* of the one that is started */
};

static void await_tickets(struct sync_queue *q, uint64_t n)
{
	port_irq_t irq;
	uint64_t came;

	do {
		kthread_yield();
		irq = spin_lock(&q->lock);
		came = q->tickets;
		spin_unlock(&q->lock, irq);
	} while (came < n && !test_has_failed());
}

static void await_woken(struct order *o, unsigned n)
{
	while (__atomic_load_n(&o->count, __ATOMIC_ACQUIRE) < n && !test_has_failed())
		kthread_yield();
}

static void note(struct order *o, unsigned number)
{
	unsigned at = __atomic_fetch_add(&o->count, 1, __ATOMIC_ACQ_REL);

	o->woken[at] = number;
}

/* Starts sleepers one after the other, each when the one before it sleeps. */
static void start_all(struct order *o, struct sync_queue *q, void (*fn)(unsigned i, void *arg))
{
	for (o->number = 0; o->number < SLEEPERS; o->number++) {
		o->threads[o->number] = threads_start(THREADS_FREE, 1, fn, o);
		await_tickets(q, o->number + 1);
	}
}

static void join_all(struct order *o)
{
	for (unsigned i = 0; i < SLEEPERS; i++)
		threads_join(o->threads[i]);
	for (unsigned i = 0; i < SLEEPERS; i++)
		CHECK_EQ(o->woken[i], i);
}

static void wait_for_signal(unsigned i, void *arg)
{
	struct order *o = arg;
	unsigned number = o->number;

	qlock_lock(&o->lock);
	cv_wait(&o->cv, &o->lock);
	note(o, number);
	qlock_unlock(&o->lock);
}

TEST("condvar: signals wake in the order in which threads came to sleep")
{
	struct order o = {.lock = QLOCK_INIT(o.lock), .cv = CONDVAR_INIT(o.cv)};

	start_all(&o, &o.cv.queue, wait_for_signal);
	for (unsigned n = 1; n <= SLEEPERS; n++) {
		cv_signal(&o.cv);
		await_woken(&o, n);
		CHECK_EQ(o.count, n);
	}
	join_all(&o);
}

static void wait_for_count(unsigned i, void *arg)
{
	struct order *o = arg;
	unsigned number = o->number;

	sem_down(&o->sem, 1 + number % 3);
	note(o, number);
}

TEST("semaphore: sleepers are served in the order of arrival, whatever they want")
{
	struct order o = {.sem = SEMAPHORE_INIT(o.sem, 0)};

	start_all(&o, &o.sem.queue, wait_for_count);
	for (unsigned n = 0; n < SLEEPERS; n++) {
		sem_up(&o.sem, 1 + n % 3);
		await_woken(&o, n + 1);
		CHECK_EQ(sem_count(&o.sem), 0);
	}
	join_all(&o);
}

static void read_or_write(unsigned i, void *arg)
{
	struct order *o = arg;
	unsigned number = o->number;

	/* Each is alone, so that the order shows. */
	rwlock_write(&o->rw);
	note(o, number);
	rwlock_write_done(&o->rw);
}

TEST("rwlock: writers have it in the order in which they came")
{
	struct order o = {.rw = RWLOCK_INIT(o.rw)};

	rwlock_read(&o.rw);
	start_all(&o, &o.rw.queue, read_or_write);
	CHECK(!rwlock_tryread(&o.rw));
	rwlock_read_done(&o.rw);
	join_all(&o);
}

/* Those that a broadcast woke and that sleep again while it goes on. */

struct again {
	struct qlock lock;
	struct condvar cv;
	unsigned woken; /* under the lock */
	bool ends;	/* the same */
};

static void sleep_again(unsigned i, void *arg)
{
	struct again *a = arg;

	qlock_lock(&a->lock);
	while (!a->ends) {
		cv_wait(&a->cv, &a->lock);
		a->woken++;
	}
	qlock_unlock(&a->lock);
}

TEST("condvar: a broadcast wakes each thread asleep at the call once, and no later one")
{
	struct again a = {.lock = QLOCK_INIT(a.lock), .cv = CONDVAR_INIT(a.cv)};
	struct threads *t = threads_start(THREADS_FREE, SLEEPERS, sleep_again, &a);

	for (unsigned turn = 1; turn <= 10; turn++) {
		await_tickets(&a.cv.queue, turn * SLEEPERS);
		cv_broadcast(&a.cv);
		/* Each has been woken, and sleeps again: so it wasn't woken twice. */
		await_tickets(&a.cv.queue, (turn + 1) * SLEEPERS);
		qlock_lock(&a.lock);
		CHECK_EQ(a.woken, turn * SLEEPERS);
		a.ends = turn == 10;
		qlock_unlock(&a.lock);
	}
	cv_broadcast(&a.cv);
	threads_join(t);
}

/* Without memory */

struct pair {
	struct semaphore ping, pong;
	struct qlock lock;
	struct condvar cv;
	struct rendez rendez;
	bool is_there; /* atomic */
};

#define ROUNDS 100

static bool is_there(void *arg)
{
	return __atomic_load_n(&((struct pair *)arg)->is_there, __ATOMIC_ACQUIRE);
}

static void answer(unsigned i, void *arg)
{
	struct pair *p = arg;

	for (int n = 0; n < ROUNDS; n++) {
		sem_down(&p->ping, 1);
		sem_up(&p->pong, 1);
	}
	qlock_lock(&p->lock);
	__atomic_store_n(&p->is_there, true, __ATOMIC_RELEASE);
	cv_signal(&p->cv);
	qlock_unlock(&p->lock);
	rendez_wakeup(&p->rendez);
}

TEST("sync: sleeping and waking take no memory")
{
	struct pair p = {.ping = SEMAPHORE_INIT(p.ping, 0), .pong = SEMAPHORE_INIT(p.pong, 0),
		.lock = QLOCK_INIT(p.lock), .cv = CONDVAR_INIT(p.cv), .rendez = RENDEZ_INIT(p.rendez)};
	struct threads *t = threads_start(THREADS_FREE, 1, answer, &p);
	struct piece *taken = pieces_take_all(
		base_arena, arena_amt_total(base_arena), PORT_PAGE_SIZE, MEM_ATOMIC);

	for (int n = 0; n < ROUNDS; n++) {
		sem_up(&p.ping, 1);
		sem_down(&p.pong, 1);
	}
	rendez_sleep(&p.rendez, is_there, &p);
	qlock_lock(&p.lock);
	while (!p.is_there)
		cv_wait(&p.cv, &p.lock);
	qlock_unlock(&p.lock);
	pieces_give(base_arena, taken, SIZE_MAX);
	threads_join(t);
}

static struct rwlock twice = RWLOCK_INIT(twice);

TEST("rwlock: a reader that tries again doesn't get it, and is reported when it asks")
{
	CHECK(rwlock_tryread(&twice));
	CHECK(!rwlock_tryread(&twice));
	CHECK_PANICS(rwlock_write(&twice), "is locked again by its holder (called from test_");
	rwlock_read_done(&twice);
	CHECK(rwlock_trywrite(&twice));
	rwlock_write_done(&twice);
}

/* A ktask that ends while it holds something */

static struct qlock kept[2] = {QLOCK_INIT(kept), QLOCK_INIT(kept)};
static int reported; /* unless it has ended */

static void keep_qlock(void)
{
	qlock_lock(&kept[0]);
}

static void keep_tried(void)
{
	CHECK(qlock_trylock(&kept[0]));
}

static void keep_read(void)
{
	rwlock_read(&twice);
}

static void keep_written(void)
{
	rwlock_write(&twice);
}

static void keep_two(void)
{
	qlock_lock(&kept[0]);
	qlock_lock(&kept[1]);
}

static void let_go(void)
{
	for (int i = 0; i < 2; i++)
		if (qlock_is_held_by_me(&kept[i]))
			qlock_unlock(&kept[i]);
	if (twice.readers > 0)
		rwlock_read_done(&twice);
	if (twice.written)
		rwlock_write_done(&twice);
}

static void end_with(void (*keep)(void), const void *lock)
{
	char wanted[64];

	ksnprintf(wanted, sizeof(wanted), lock ? ": ends and holds lock %#lx (" : ": ends and holds 2 locks (",
		(unsigned long)(uintptr_t)lock);
	keep();
	CHECK_PANICS(ktask_exit(), wanted);
	reported++;
	let_go();
}

static void end_with_each(unsigned i, void *arg)
{
	end_with(keep_qlock, &kept[0]);
	end_with(keep_tried, &kept[0]);
	end_with(keep_read, &twice);
	end_with(keep_written, &twice);
	end_with(keep_two, NULL);
}

TEST("ktask: one that ends while it holds a lock is reported with the lock")
{
	reported = 0;
	threads_run(THREADS_FREE, 1, end_with_each, NULL);
	CHECK_EQ(reported, 5);
}
