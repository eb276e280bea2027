/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stacks and registers, for the leak finder.
 *
 * The stack of a ktask that doesn't run has its registers, too.  One that runs on another core is
 * interrupted there for a moment, in which its registers and the words next to them are copied; the
 * words above are copied later, in steps, as they are by then.  A core's idle ktask has no object: an interrupt
 * on its stack has ended when the core takes the next one.
 *
 * A stack's pages are hidden: below the place where a ktask has left off, and in stacks that are kept for the
 * next ktask, there is only what is left over.
 */
#include "kthread_impl.h"

#include "leaks.h"
#include "vmap.h"

#define COPY_STEP 128  /* words, for each lock hold, and of a ktask that runs */

/* Pages in the window that neither vmap() nor vmalloc() has mapped. */
static bool hide_stacks(const struct arena_segment *s, void *arg)
{
	struct machine_place place;

	for (size_t at = 0; s->kind == ARENA_SEGMENT_USED && at < s->size; at += PORT_PAGE_SIZE) {
		if (machine_mark(s->start + at) < 0 || vmap_kind(s->start + at))
			continue;
		machine_place(s->start + at, &place);
		if (place.direct)
			leaks_hide((const void *)place.direct, PORT_PAGE_SIZE);
	}
	kthread_yield();
	return true;
}

static void hide(void)
{
	arena_walk(vaddr_arena, hide_stacks, NULL);
}

/* What a core runs. */
struct running {
	const struct ktask *scanner;
	uint64_t id; /* 0: nothing that has a stack of its own, or the thread that scans */
	uintptr_t sp;
	size_t count;
	uintptr_t words[COPY_STEP];
};

/* Out of line: the frame above this one has the registers. */
static __attribute__((noinline, no_sanitize("address", "thread"))) void copy_from_here(
	struct running *r, const struct ktask *t)
{
	uintptr_t high = (uintptr_t)stack_low(t->stack) + t->stack_size;

	r->sp = (uintptr_t)__builtin_frame_address(0);
	for (r->count = 0; r->count < COPY_STEP && r->sp + r->count * sizeof(uintptr_t) < high; r->count++)
		r->words[r->count] = ((const volatile uintptr_t *)r->sp)[r->count];
}

/* On the core itself. */
static void copy_running(void *arg)
{
	struct running *r = arg;
	const struct ktask *t = machine_current();

	r->id = 0;
	if (!t || !t->stack || t == r->scanner)
		return;
	r->id = t->id;
	__builtin_unwind_init();
	copy_from_here(r, t);
}

/* The stack of ktask `id` from `at` up; 0: from where it left off. */
static void look_at_stack(uint64_t id, uintptr_t at)
{
	uintptr_t words[COPY_STEP];
	uint64_t is = id;
	size_t n;

	while ((n = ktask_stack_copy(&is, &at, words, COPY_STEP)) && is == id) {
		leaks_look(words, n * sizeof(words[0]));
		at += n * sizeof(words[0]);
	}
}

static void look_at_cores(void)
{
	struct running r = {.scanner = ktask_self()};

	for (unsigned core = 0; core < port_core_count(); core++) {
		port_core_run(core, copy_running, &r);
		if (r.id == 0)
			continue;
		leaks_look(r.words, r.count * sizeof(r.words[0]));
		look_at_stack(r.id, r.sp + r.count * sizeof(r.words[0]));
	}
}

static void look_at_ktasks(uintptr_t stack)
{
	uint64_t self = ktask_id(ktask_self());
	uintptr_t word;

	for (uint64_t id = 1;; id++) {
		uintptr_t at = 0;

		ktask_stack_copy(&id, &at, &word, 1);
		if (id == 0)
			break;
		look_at_stack(id, id == self ? stack : 0);
	}
}

/* Twice: what ran when stacks were looked at, and slept when cores were, is met the second time. */
static void look(uintptr_t stack)
{
	look_at_cores();
	look_at_ktasks(stack);
	look_at_cores();
}

struct leaks_root ktask_leaks_root = {.name = "stacks", .hide = hide, .look = look};
