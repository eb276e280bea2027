/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What start functions and ktasks of workloads call.
 */
#include "work_impl.h"

#include "arena.h"
#include "kmalloc.h"
#include "kthread.h"
#include "lib/panic.h"
#include "lib/string.h"
#include "slab.h"

/* Between two yields, since no timer takes the core away: a few dozen microseconds. */
#define STEPS_A_TURN 32
#define END_TRIES 10
#define END_PAUSE_US 100000
#define REPORTS_MAX 4  /* lines about wrong contents, for each workload */
#define REPORT_MAX 120 /* bytes of one, its end included */

/* For start functions */

bool work_number(
	const struct work_args *args, size_t i, uint64_t min, uint64_t max, uint64_t *value)
{
	uint64_t number;

	if (i >= args->n)
		return true;
	if (str_to_u64(args->words[i], &number) && number >= min && number <= max) {
		*value = number;
		return true;
	}
	sink_printf(args->why, "%s: a number from %llu to %llu is wanted", args->words[i],
		(unsigned long long)min, (unsigned long long)max);
	return false;
}

bool work_no_memory(const struct work_args *args)
{
	sink_puts(args->why, "there is no memory for it");
	return false;
}

bool work_add_tasks(
	struct work *w, const struct work_args *args, size_t n, void (*run)(struct work_task *t))
{
	ASSERT(w->task_count + n <= WORK_TASKS_MAX);
	for (size_t i = 0; i < n; i++) {
		struct work_task *t = kzalloc(sizeof(*t), MEM_ERROR);

		if (!t)
			return work_no_memory(args);
		t->work = w;
		t->number = w->task_count++;
		t->run = run;
		list_add_tail(&w->tasks, &t->link);
	}
	return true;
}

/* For end functions */

void work_end_cache(struct kmem_cache *c)
{
	for (int i = 0; c && kmem_cache_destroy(c) != 0 && i < END_TRIES; i++)
		kthread_usleep(END_PAUSE_US);
}

void work_end_arena(struct arena *a)
{
	for (int i = 0; a && arena_destroy(a) != 0 && i < END_TRIES; i++)
		kthread_usleep(END_PAUSE_US);
}

/* For ktasks */

bool work_goes_on(const struct work_task *t)
{
	return !__atomic_load_n(&t->work->stops, __ATOMIC_RELAXED);
}

bool work_step(struct work_task *t)
{
	work_count(t, WORK_OPS);
	if (++t->steps % STEPS_A_TURN == 0)
		kthread_yield();
	return work_goes_on(t);
}

static bool is_to_stop(void *arg)
{
	return !work_goes_on(arg);
}

void work_sleep(struct work_task *t, uint64_t us)
{
	rendez_sleep_timeout(&t->work->wake, is_to_stop, t, port_ns() + us * 1000);
}

/* Each state is the one before plus a constant; the number is a mix of it (Steele, Lea and Flood,
 * "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014). */
uint64_t work_random(struct work_task *t)
{
	uint64_t x = t->random += 0x9e3779b97f4a7c15;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

uint64_t work_below(struct work_task *t, uint64_t n)
{
	return work_random(t) % n;
}

size_t work_random_size(struct work_task *t, size_t min, unsigned doublings)
{
	size_t size = min << work_below(t, doublings);

	return size + work_below(t, size + 1);
}

void work_count(struct work_task *t, enum work_count what)
{
	__atomic_fetch_add(&t->counts[what], 1, __ATOMIC_RELAXED);
}

void work_wrong(struct work_task *t, const char *fmt, ...)
{
	char text[REPORT_MAX];
	va_list ap;

	work_count(t, WORK_WRONG);
	if (__atomic_fetch_add(&t->work->reports, 1, __ATOMIC_RELAXED) >= REPORTS_MAX)
		return;
	va_start(ap, fmt);
	kvsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	kprintf("%s %llu.%u: %s\n", t->work->info.name, (unsigned long long)t->work->id, t->number,
		text);
}

void *work_got(struct work_task *t, void *p)
{
	if (!p)
		work_count(t, WORK_REFUSED);
	return p;
}
