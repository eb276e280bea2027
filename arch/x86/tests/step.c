/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Single steps, and what is done between two of them.
 */
#include "step.h"

#include "../restart.h"
#include "../trap.h"
#include "lib/symbol.h"
#include "lib/test.h"

#define TRAP_FLAG 0x100
#define MET_MAX 1024 /* different boundaries interfered at between two calls of step_forget() */

static uintptr_t met[MET_MAX];
static size_t met_count;

static size_t passed;	    /* boundaries within sequences since fn() began */
static size_t interfere_at; /* which of them; SIZE_MAX: none */
static void (*interference)(void);

static bool is_inside(const struct port_sequence *s, uintptr_t rip)
{
	return rip > s->start && rip < s->end;
}

static bool is_boundary(uintptr_t rip)
{
	size_t count;
	const struct port_sequence *s = restart_sequences(&count);

	for (size_t i = 0; i < count; i++) {
		if (is_inside(&s[i], rip))
			return true;
	}
	return false;
}

static void note(uintptr_t rip)
{
	for (size_t i = 0; i < met_count; i++) {
		if (met[i] == rip)
			return;
	}
	ASSERT(met_count < MET_MAX);
	met[met_count++] = rip;
}

static bool on_step(struct trap_frame *frame)
{
	if (!is_boundary(frame->rip) || passed++ != interfere_at)
		return false;
	note(frame->rip);
	interference();
	return true;
}

static void set_trap_flag(void)
{
	__asm__ volatile("pushfq\n\torq %0, (%%rsp)\n\tpopfq" : : "i"(TRAP_FLAG) : "memory", "cc");
}

static void clear_trap_flag(void)
{
	__asm__ volatile("pushfq\n\tandq %0, (%%rsp)\n\tpopfq" : : "i"(~TRAP_FLAG) : "memory", "cc");
}

static void run(void (*fn)(void))
{
	passed = 0;
	trap_step_hook = on_step;
	set_trap_flag();
	fn();
	clear_trap_flag();
	trap_step_hook = NULL;
}

size_t step_through(void (*fn)(void))
{
	interfere_at = SIZE_MAX;
	run(fn);
	return passed;
}

bool step_interfere(void (*fn)(void), size_t at, void (*what)(void))
{
	interfere_at = at;
	interference = what;
	run(fn);
	return passed > at;
}

void step_forget(void)
{
	met_count = 0;
}

static size_t met_inside(const struct port_sequence *s)
{
	size_t n = 0;

	for (size_t i = 0; i < met_count; i++)
		n += is_inside(s, met[i]);
	return n;
}

static bool is_in_function(const struct port_sequence *s, uintptr_t function)
{
	uintptr_t offset = 0;

	return symbol_find(s->start, &offset) && s->start - offset == function;
}

size_t step_missed(uintptr_t function)
{
	size_t count, sequences = 0, missed = 0;
	const struct port_sequence *s = restart_sequences(&count);

	for (size_t i = 0; i < count; i++) {
		if (!is_in_function(&s[i], function))
			continue;
		sequences++;
		missed += s[i].instructions - 1 - met_inside(&s[i]);
	}
	/* A function without one has nothing to miss, and asking is a mistake. */
	CHECK_LT(0, sequences);
	return missed;
}
