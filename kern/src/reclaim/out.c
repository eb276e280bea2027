/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Out of memory.
 *
 * Memory is out when two hardest passes over a base arena, OUT_NS apart at least, have served none of
 * its records, its free amount ended no higher, little is free at all, and no writer's I/O has ended
 * in between.  The kernel says so once, with tables of arenas, caches and the requests that wait, and again only
 * after one of the records has been served.  It goes on: the monitor works, and what it frees serves.
 */
#include "reclaim_impl.h"

#include "port.h"
#include "sink.h"
#include "lib/panic.h"

#define OUT_NS 1000000000ull
#define LITTLE_SHARE 64 /* of memory: more than that free, and a request waits for its shape, not for memory */

static uint64_t progress, reports;

void reclaim_progress(void)
{
	__atomic_fetch_add(&progress, 1, __ATOMIC_RELAXED);
}

uint64_t out_reports(void)
{
	return __atomic_load_n(&reports, __ATOMIC_RELAXED);
}

static void report_waiters(struct sink *sink)
{
	struct shortage *s;

	qlock_lock(&shortage_marks_lock);
	for (s = shortage_after(NULL); s; s = shortage_after(s))
		sink_printf(sink, "  waits %llu ms for %zu of %s, called from %pS%s\n",
			(unsigned long long)((port_ns() - s->since) / 1000000), s->parts[0].piece,
			arena_name(s->parts[0].arena), s->caller, s->is_parked ? ", parked" : "");
	qlock_unlock(&shortage_marks_lock);
}

/* Caches that hold a share of memory. */
static void report_caches(const struct arena *base, size_t least, struct sink *sink)
{
	struct kmem_cache_stats s;

	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
		kmem_cache_get_stats(c, &s);
		if (s.is_memory && s.total >= least && arena_base(s.source) == base)
			sink_printf(sink, "  cache %s holds %pB, %pB of them in use\n", s.name,
				(void *)&s.total, (void *)&s.used);
	}
}

static void report(struct arena *base)
{
	__atomic_fetch_add(&reports, 1, __ATOMIC_RELAXED);
	kprintf("out of memory: nothing of %s could be given back to the requests that wait\n",
		arena_name(base));
	print_arena_stats(NULL, &console_sink);
	report_caches(base, arena_amt_total(base) / LITTLE_SHARE, &console_sink);
	report_waiters(&console_sink);
}

void out_consider(struct arena *base)
{
	struct arena_account *a = arena_account(base);
	size_t free = arena_amt_free(base);
	uint64_t serves = __atomic_load_n(&a->serves, __ATOMIC_RELAXED);
	uint64_t io = __atomic_load_n(&progress, __ATOMIC_RELAXED), now = port_ns();
	bool stands = a->out.at && a->out.serves == serves && a->out.progress == io && free <= a->out.free;

	if (stands && now - a->out.at < OUT_NS)
		return;
	if (a->out.serves != serves)
		a->out.is_reported = false;
	if (stands && !a->out.is_reported && free < arena_amt_total(base) / LITTLE_SHARE) {
		a->out.is_reported = true;
		report(base);
	}
	a->out.at = now;
	a->out.serves = serves;
	a->out.progress = io;
	a->out.free = free;
}
