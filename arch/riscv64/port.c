/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rest of the port: waiting, backtraces, non-local return, fibers.
 */
#include "port.h"

#include "core.h"
#include "layout.h"
#include "machine.h"
#include "paging.h"
#include "riscv.h"
#include "trap.h"

/* Waiting */

/* Halts unless the core was poked; interrupts are off before and on after.  One that is pending ends the
 * halt, though interrupts are off. */
static void halt_once(void)
{
	if (!__atomic_exchange_n(&core_self()->poked, false, __ATOMIC_SEQ_CST))
		wait_for_interrupt();
	enable_interrupts();
}

void machine_halt(void)
{
	if (!machine_irq_enabled()) {
		port_pause();
		return;
	}
	port_irq_save();
	halt_once();
}

void machine_idle(const bool *idle)
{
	if (__atomic_load_n(idle, __ATOMIC_ACQUIRE))
		halt_once();
	else
		enable_interrupts();
}

uint64_t machine_stack_restarts(unsigned core)
{
	return 0;
}

/* Backtrace.  A frame pointer is the end of a frame, whose last two words are the caller's frame pointer and
 * the return address. */

struct frame {
	uintptr_t outer, pc;
};

static bool is_code(uintptr_t pc)
{
	return pc >= (uintptr_t)image_start && pc < (uintptr_t)etext;
}

/* What ends at `end`; NULL: that can't be read, or is no frame of code. */
static const struct frame *frame_at(uintptr_t end)
{
	const struct frame *f = (const struct frame *)end - 1;
	uintptr_t at = (uintptr_t)f;

	if (end % 8 != 0 || end < sizeof(*f) || !paging_is_readable(at) || !paging_is_readable(at + 8))
		return NULL;
	return f;
}

/* What was interrupted, if the frame is a trap's; else NULL. */
static const struct trap_frame *trap_of(const struct frame *f)
{
	const struct trap_frame *trap = (const struct trap_frame *)(f + 1) - 1;

	return paging_is_readable((uintptr_t)&trap->mark) && trap->mark == FRAME_MARK ? trap : NULL;
}

/* A function that calls none may keep the caller's frame pointer alone, in the last word of its frame.  If it
 * was interrupted, its return address is in ra. */
static size_t walk(uintptr_t end, uintptr_t *pcs, size_t max)
{
	const struct frame *f = frame_at(end);
	size_t n = 0;

	while (n < max && f && is_code(f->pc)) {
		const struct trap_frame *trap = trap_of(f);
		const struct frame *outer = frame_at(f->outer);

		pcs[n++] = f->pc;
		if (trap && outer && !is_code(outer->pc)) {
			outer = frame_at(outer->pc);
			if (n < max && is_code(trap->ra))
				pcs[n++] = trap->ra;
		}
		f = outer;
	}
	return n;
}

size_t port_backtrace(uintptr_t frame, uintptr_t *pcs, size_t max)
{
	if (!frame)
		frame = ((const struct frame *)__builtin_frame_address(0))[-1].outer;
	return walk(frame, pcs, max);
}

size_t machine_core_backtrace(unsigned core, uintptr_t *pcs, size_t max)
{
	uintptr_t frame = __atomic_load_n(&cores[core]->frozen, __ATOMIC_ACQUIRE);

	return frame ? walk(frame, pcs, max) : 0;
}

/* Non-local return */

void machine_jump_restore(machine_jump_t *jump, int value) __attribute__((noreturn));

void machine_jump_note(machine_jump_t *jump)
{
	jump->context = core_self()->port.context;
}

void machine_longjmp(machine_jump_t *jump, int value)
{
	core_self()->port.context = jump->context;
	machine_jump_restore(jump, value ? value : 1);
}

/* Fibers */

void fiber_start(void); /* switch.S */

/* What machine_switch() leaves on a stack: the registers that a call preserves, s0 and ra as a frame. */
struct saved {
	uint64_t s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, unused;
	struct frame frame;
};
_Static_assert(sizeof(struct saved) == 112, "switch.S stores it");

/* Above it lies an empty frame, which ends backtraces. */
void machine_fiber_init(struct machine_fiber *f, void *stack, size_t size, void (*fn)(void *arg), void *arg)
{
	struct frame *last = (struct frame *)((char *)stack + size) - 1;
	struct saved *saved = (struct saved *)last - 1;

	*last = (struct frame){0, 0};
	*saved = (struct saved){.s1 = (uintptr_t)fn,
		.s2 = (uintptr_t)arg,
		.frame = {.outer = (uintptr_t)(last + 1), .pc = (uintptr_t)fiber_start}};
	f->sp = saved;
}

/* The first switch from it writes its stack pointer. */
void machine_fiber_adopt(struct machine_fiber *f)
{
	f->sp = NULL;
}

void machine_fiber_end(struct machine_fiber *f)
{
}

size_t machine_fiber_backtrace(const struct machine_fiber *f, uintptr_t *pcs, size_t max)
{
	return f->sp ? walk((uintptr_t)((const struct saved *)f->sp + 1), pcs, max) : 0;
}
