/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Workload: bursts of ktasks that come, allocate and end.
 */
#include "work_impl.h"

#include "kmalloc.h"
#include "kthread.h"
#include "stamp.h"

#define BURST_MAX 8       /* ktasks at once, of one that starts them */
#define PIECES_MAX 16     /* of memory, of a ktask */
#define PIECE_SIZE 16     /* bytes: from this */
#define PIECE_DOUBLINGS 8 /* to 4 KiB */
#define SHORTAGE_US 1000  /* until another burst, if memory for a ktask is short */

/* A ktask of a burst.  It counts for the ktask that starts it. */
struct guest {
	struct work_task self; /* with a generator of its own */
	struct work_task *host;
};

struct piece {
	void *at;
	size_t size;
};

static void piece_take(struct work_task *t, struct piece *p, uint64_t stamp)
{
	p->size = work_random_size(t, PIECE_SIZE, PIECE_DOUBLINGS);
	p->at = kmalloc(p->size, MEM_WAIT);
	if (p->at)
		stamp_put(p->at, p->size, stamp);
}

static void piece_give(struct work_task *host, const struct piece *p, uint64_t stamp)
{
	size_t good;

	if (!work_got(host, p->at))
		return;
	good = stamp_check(p->at, p->size, stamp);
	if (good != p->size)
		work_wrong(host, "%p, %zu bytes, is wrong at %zu", p->at, p->size, good);
	kfree(p->at);
}

static void guest_main(void *arg)
{
	struct guest *g = arg;
	uint64_t stamp = work_random(&g->self);
	size_t n = 1 + work_below(&g->self, PIECES_MAX);
	struct piece pieces[PIECES_MAX];

	for (size_t i = 0; i < n; i++)
		piece_take(&g->self, &pieces[i], stamp + i);
	kthread_yield();
	for (size_t i = 0; i < n; i++)
		piece_give(g->host, &pieces[i], stamp + i);
	work_count(g->host, WORK_OPS);
}

/* Starts n guests and waits until they have ended.  Returns how many could be started. */
static size_t burst(struct work_task *t, struct guest *guests, size_t n)
{
	size_t started = 0;

	while (started < n) {
		struct guest *g = &guests[started];

		g->host = t;
		g->self = (struct work_task){.work = t->work, .random = work_random(t)};
		g->self.ktask = ktask("guest", guest_main, g);
		if (!g->self.ktask)
			break;
		started++;
	}
	for (size_t i = 0; i < started; i++)
		ktask_join(guests[i].self.ktask);
	return started;
}

static void start_bursts(struct work_task *t)
{
	struct guest guests[BURST_MAX];

	while (work_goes_on(t)) {
		size_t n = 1 + work_below(t, BURST_MAX);

		if (burst(t, guests, n) < n)
			work_sleep(t, SHORTAGE_US);
	}
}

bool work_start_bursts(struct work *w, const struct work_args *args)
{
	uint64_t ktasks = 2;

	return work_number(args, 0, 1, WORK_TASKS_MAX, &ktasks) &&
	       work_add_tasks(w, args, ktasks, start_bursts);
}
