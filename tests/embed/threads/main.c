/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A program with threads: some that allocate by MEM_WAIT from memory that is too little for all of them, and
 * reclaim's two.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "spandrel/arena.h"
#include "spandrel/kmalloc.h"
#include "spandrel/port.h"
#include "spandrel/reclaim.h"
#include "spandrel/slab.h"

#ifndef CORES
#define CORES 3
#endif
#define THREADS 6
#ifndef PAGES
#define PAGES 1024
#endif
#define HELD 200 /* blocks of each thread at most, of two pages on average: together more than there is */
#ifndef ROUNDS
#define ROUNDS 100000
#endif
#ifndef CHECKS
#define CHECKS 1
#endif

/* The port */

struct port_thread {
	pthread_mutex_t lock;
	pthread_cond_t unblocked;
	bool is_unblocked;
	unsigned depth; /* port_irq_save() that are open */
	unsigned core;	/* whose mutex it holds, if any are */
	uintptr_t words[PORT_THREAD_WORDS];
};

static pthread_mutex_t cores[CORES] = {[0 ... CORES - 1] = PTHREAD_MUTEX_INITIALIZER};

static struct port_thread *self(void)
{
	static __thread struct port_thread t = {
		.lock = PTHREAD_MUTEX_INITIALIZER, .unblocked = PTHREAD_COND_INITIALIZER};

	return &t;
}

static void enter(unsigned core)
{
	pthread_mutex_lock(&cores[core]);
	self()->core = core;
	self()->depth = 1;
}

port_irq_t port_irq_save(void)
{
	struct port_thread *t = self();

	if (t->depth > 0)
		return t->depth++;
	enter((unsigned)sched_getcpu() % CORES);
	return 0;
}

void port_irq_restore(port_irq_t saved)
{
	struct port_thread *t = self();

	t->depth = saved;
	if (saved == 0)
		pthread_mutex_unlock(&cores[t->core]);
}

unsigned port_core_id(void)
{
	return self()->depth > 0 ? self()->core : (unsigned)sched_getcpu() % CORES;
}

void port_bug(const char *message)
{
	printf("bug: %s\n", message);
	fflush(stdout);
	_Exit(1);
}

unsigned port_core_count(void)
{
	return CORES;
}

unsigned port_core_max(void)
{
	return CORES;
}

void port_core_run(unsigned core, void (*fn)(void *arg), void *arg)
{
	enter(core);
	fn(arg);
	port_irq_restore(0);
}

void port_pause(void)
{
	sched_yield();
}

#if PORT_HAS_CLOCK
uint64_t port_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t port_ticks(void)
{
	return port_ns();
}

uint64_t port_ticks_ns(uint64_t ticks)
{
	return ticks;
}
#endif

port_thread_t *port_thread_self(void)
{
	return self();
}

uintptr_t *port_thread_words(void)
{
	return self()->words;
}

bool port_may_sleep(void)
{
	return self()->depth == 0;
}

/* The lock is held. */
static void await_unblock(struct port_thread *t, uint64_t deadline)
{
	struct timespec until = {(time_t)(deadline / 1000000000u), (long)(deadline % 1000000000u)};

	if (deadline == PORT_FOREVER)
		pthread_cond_wait(&t->unblocked, &t->lock);
	else if (PORT_HAS_CLOCK)
		pthread_cond_clockwait(&t->unblocked, &t->lock, CLOCK_MONOTONIC, &until);
}

void port_thread_block(uint64_t deadline)
{
	struct port_thread *t = self();

	if (!PORT_HAS_CLOCK && deadline != PORT_FOREVER)
		sched_yield();
	pthread_mutex_lock(&t->lock);
	if (!t->is_unblocked)
		await_unblock(t, deadline);
	t->is_unblocked = false;
	pthread_mutex_unlock(&t->lock);
}

void port_thread_unblock(port_thread_t *t)
{
	pthread_mutex_lock(&t->lock);
	t->is_unblocked = true;
	pthread_cond_signal(&t->unblocked);
	pthread_mutex_unlock(&t->lock);
}

/* The program */

static char ram[PAGES << PORT_PAGE_SHIFT] __attribute__((aligned(1 << PORT_PAGE_SHIFT)));

static void start(pthread_t *thread, void *(*fn)(void *), void *arg)
{
	if (pthread_create(thread, NULL, fn, arg) != 0) {
		printf("no thread\n");
		exit(1);
	}
}

static void *run_reclaim(void *arg)
{
	reclaim_main(arg);
	return NULL;
}

static void *run_serve(void *arg)
{
	serve_main(arg);
	return NULL;
}

struct worker {
	unsigned char *block[HELD], mark;
	size_t size[HELD];
	unsigned seed;
};

static void drop(struct worker *w, unsigned i)
{
	if (!w->block[i])
		return;
	if (w->block[i][0] != w->mark || w->block[i][w->size[i] - 1] != w->mark)
		port_bug("a block changed while it was held");
	kfree(w->block[i]);
	w->block[i] = NULL;
}

static void drop_all(struct worker *w)
{
	for (unsigned i = 0; i < HELD; i++)
		drop(w, i);
}

/* Who sleeps for memory holds none: else all might sleep, and none would free. */
static void take(struct worker *w, unsigned i)
{
	w->size[i] = 1 + (size_t)rand_r(&w->seed) % 16384;
	w->block[i] = kmalloc(w->size[i], MEM_ATOMIC);
	if (!w->block[i]) {
		drop_all(w);
		w->block[i] = kmalloc(w->size[i], MEM_WAIT);
	}
	memset(w->block[i], w->mark, w->size[i]);
}

static void *run_worker(void *arg)
{
	struct worker w = {.mark = (unsigned char)(uintptr_t)arg, .seed = (unsigned)(uintptr_t)arg};

	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned i = (unsigned)rand_r(&w.seed) % HELD;

		if (w.block[i])
			drop(&w, i);
		else
			take(&w, i);
	}
	drop_all(&w);
	return NULL;
}

/* Takes all pages, in a list. */
static void *take_all(void)
{
	void *pages = NULL;

	for (void **p; (p = arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_ATOMIC)); pages = p)
		*p = pages;
	return pages;
}

static void give_all(void *pages)
{
	while (pages) {
		void *next = *(void **)pages;

		arena_free(kpages_arena, pages, PORT_PAGE_SIZE);
		pages = next;
	}
}

/* The workers begin where there is nothing, and sleep. */
static void run_workers(void)
{
	pthread_t threads[THREADS];
	struct reclaim_stats stats;
	void *pages = take_all();

	for (uintptr_t i = 0; i < THREADS; i++)
		start(&threads[i], run_worker, (void *)(i + 1));
	do {
		sched_yield();
		reclaim_get_stats(&stats);
	} while (stats.waiting < THREADS);
	give_all(pages);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

#define LARGE (PAGES / 4 * PORT_PAGE_SIZE) /* enough that a pass that can't serve it parks it */
#define HALF (PORT_PAGE_SIZE / 2)
#define FEW 15 /* in a row, mostly: a whole slab of up to eight */

static bool is_served;

static void *run_waiter(void *size)
{
	void *p = arena_alloc(kpages_arena, (size_t)size, MEM_WAIT);

	__atomic_store_n(&is_served, true, __ATOMIC_RELEASE);
	arena_free(kpages_arena, p, (size_t)size);
	return NULL;
}

/* Begins to wait for `size` bytes; returns when reclaim has tried what it can. */
static void start_waiter(pthread_t *waiter, size_t size)
{
	struct reclaim_stats stats;

	__atomic_store_n(&is_served, false, __ATOMIC_RELAXED);
	start(waiter, run_waiter, (void *)size);
	do {
		sched_yield();
		reclaim_get_stats(&stats);
	} while (stats.waiting == 0);
	usleep(30000);
}

/* Frees `count` of the list, or all. */
static void free_some(struct kmem_cache *c, void ***all, unsigned count)
{
	for (void **next; *all && count > 0; *all = next, count--) {
		next = **all;
		kmem_cache_free(c, *all);
	}
}

/* What no free shows, and is found by looking again: memory for a request that is parked, and what is freed into
 * a magazine.  And a deadline.  What a slab leaves free isn't enough if the page has to be cut from it and there is
 * no tag: then more is freed, but less than all. */
static const char *check_time(void)
{
	struct kmem_cache *halves = kmem_cache_create("halves", HALF, 0, 0, NULL, NULL, NULL, NULL);
	void **all = NULL, *pages;
	pthread_t waiter;

	for (void **p; (p = kmem_cache_alloc(halves, MEM_ATOMIC)); all = p)
		*p = all;
	pages = take_all();
	/* Refused at its deadline, once reclaim has given back what was idle. */
	for (void **p; (p = arena_alloc_timeout(kpages_arena, PORT_PAGE_SIZE, MEM_ERROR, port_ns() + 1000000)); pages = p)
		*p = pages;
	start_waiter(&waiter, PORT_PAGE_SIZE);
	do {
		free_some(halves, &all, FEW);
		usleep(1000);
	} while (all && !__atomic_load_n(&is_served, __ATOMIC_ACQUIRE));
	if (!all)
		return "nearly all had to be freed for a page";
	pthread_join(waiter, NULL);
	start_waiter(&waiter, LARGE);
	free_some(halves, &all, UINT_MAX);
	give_all(pages);
	pthread_join(waiter, NULL);
	return kmem_cache_destroy(halves) == 0 ? NULL : "objects are left";
}

int main(void)
{
	pthread_t reclaim, serve;
	const char *wrong;

	base_arena = arena_create_base("base", ram, sizeof(ram));
	kpages_arena = arena_create("kpages", NULL, 0, PORT_PAGE_SIZE, arena_alloc, arena_free, base_arena,
		16 * PORT_PAGE_SIZE, MEM_ATOMIC);
	kmem_cache_init();
	wrong = embed_check();
	start(&serve, run_serve, NULL);
	start(&reclaim, run_reclaim, NULL);
	while (!reclaim_is_running())
		sched_yield();
	if (!wrong) {
		run_workers();
		for (unsigned i = 0; i < CHECKS && !wrong; i++)
			wrong = embed_check();
		if (!wrong)
			wrong = check_time();
	}
	printf("%s\n", wrong ? wrong : "ok");
	fflush(stdout);
	_Exit(wrong != NULL);
}
