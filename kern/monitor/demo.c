/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `demo`: a tour in which an arena fills, fragments, runs short and recovers.
 *
 * Everything in it happens: the arena stands over memory of kpages, and a ktask sleeps for it.  All is
 * freed at the end, which may come early, by Ctrl-C.
 */
#include "monitor_impl.h"

#include "kthread.h"
#include "lib/array.h"
#include "lib/list.h"
#include "port.h"

#define PIECES 256 /* pages of the arena */
#define LARGE (16 * PORT_PAGE_SIZE) /* what the ktask asks for */

struct demo {
	struct sink *sink;
	void *memory; /* that the arena stands over */
	struct arena *arena;
	void *pieces[PIECES]; /* NULL: freed */
	struct ktask *sleeper;
	void *got; /* the sleeper's */
};

static void fill(struct demo *d)
{
	for (size_t i = 0; i < PIECES; i++)
		d->pieces[i] = arena_alloc(d->arena, PORT_PAGE_SIZE, MEM_ERROR | ARENA_NEXTFIT);
}

static void free_piece(struct demo *d, size_t i)
{
	if (d->pieces[i])
		arena_free(d->arena, d->pieces[i], PORT_PAGE_SIZE);
	d->pieces[i] = NULL;
}

static void free_every_other(struct demo *d)
{
	for (size_t i = 0; i < PIECES; i += 2)
		free_piece(d, i);
}

static void ask_atomic(struct demo *d)
{
	void *got = arena_alloc(d->arena, LARGE, MEM_ATOMIC);

	sink_printf(d->sink, "arena_alloc(demo, 64 KiB, MEM_ATOMIC) is %s\n", got ? "served" : "NULL");
	if (got)
		arena_free(d->arena, got, LARGE);
}

static void sleep_for_large(void *arg)
{
	struct demo *d = arg;
	void *got = arena_alloc(d->arena, LARGE, MEM_WAIT);

	/* Relaxed, here and where it is looked at: the join orders the rest. */
	__atomic_store_n(&d->got, got, __ATOMIC_RELAXED);
}

static void start_sleeper(struct demo *d)
{
	struct arena_stats s;

	d->sleeper = ktask("demo", sleep_for_large, d);
	while (d->sleeper && !__atomic_load_n(&d->got, __ATOMIC_RELAXED)) {
		arena_get_stats(d->arena, &s);
		if (s.waiting > 0)
			return;
		kthread_yield();
	}
}

static void join_sleeper(struct demo *d)
{
	if (d->sleeper)
		ktask_join(d->sleeper);
	d->sleeper = NULL;
	if (d->got)
		sink_printf(d->sink, "the ktask was served: %p\n", d->got);
}

/* A quarter of the arena becomes one piece. */
static void free_quarter(struct demo *d)
{
	for (size_t i = 0; i < PIECES / 4; i++)
		free_piece(d, i);
	join_sleeper(d);
}

static const struct {
	const char *text;
	void (*act)(struct demo *d);
	const char *line; /* the monitor's, which shows it */
} steps[] = {
	{"1. An arena `demo` of 1 MiB hands out all of its 256 pages, one by one.\n"
	 "   `arena map demo` shows each page as full, `top` who holds most:",
		fill, "arena map demo; top"},
	{"2. Every other page is freed.  Half of the arena is free now, but in pieces\n"
	 "   of one page: it is fragmented.",
		free_every_other, "arena map demo; arena show demo"},
	{"3. So a request for 64 KiB in one piece can't be served.  One that may not\n"
	 "   sleep is NULL:",
		ask_atomic, NULL},
	{"4. One that may sleep does: a ktask waits for its 64 KiB.  That is a shortage;\n"
	 "   `reclaim` lists the request below what has been tried for it:",
		start_sleeper, "reclaim"},
	{"5. The pages of the first quarter are freed.  They coalesce with their free\n"
	 "   neighbours, the request is served, and the shortage is over:",
		free_quarter, "arena map demo"},
};

static bool begin(struct demo *d)
{
	d->memory = arena_alloc(kpages_arena, PIECES * PORT_PAGE_SIZE, MEM_ERROR);
	if (!d->memory)
		return false;
	d->arena = arena_create("demo", d->memory, PIECES * PORT_PAGE_SIZE, PORT_PAGE_SIZE, NULL, NULL,
		NULL, 0, MEM_ERROR);
	if (!d->arena)
		arena_free(kpages_arena, d->memory, PIECES * PORT_PAGE_SIZE);
	return d->arena;
}

/* What the ktask sleeps for is freed before it is waited for. */
static void end(struct demo *d)
{
	for (size_t i = 0; i < PIECES; i++)
		free_piece(d, i);
	if (d->sleeper)
		ktask_join(d->sleeper);
	if (d->got)
		arena_free(d->arena, d->got, LARGE);
	arena_destroy(d->arena);
	arena_free(kpages_arena, d->memory, PIECES * PORT_PAGE_SIZE);
}

/* Its struct is too large for a stack, and one demo runs at a time, as one line does. */
const char *demo_command(const struct command_call *call)
{
	static struct demo demo;

	demo = (struct demo){.sink = call->sink};
	if (!begin(&demo))
		return "no memory for an arena of 1 MiB";
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		sink_printf(call->sink, "%s\n", steps[i].text);
		steps[i].act(&demo);
		if (steps[i].line)
			command_run_line(steps[i].line, call->sink);
		if (!monitor_ask(call->sink, "-- any key goes on, Ctrl-C ends the demo --"))
			break;
	}
	end(&demo);
	sink_puts(call->sink, "All was freed again, and the arena is gone: `arena tree` shows it no more.\n");
	return NULL;
}
