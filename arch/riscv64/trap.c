/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What each exception and interrupt does.
 *
 * An access that the page tables allow by now is tried again (window.c); every other exception is a panic.
 * Interrupts are those that cores raise (ipi.h) and the timer.
 */
#include "trap.h"

#include <stddef.h>

#include "core.h"
#include "ipi.h"
#include "layout.h"
#include "lib/array.h"
#include "lib/panic.h"
#include "machine.h"
#include "paging.h"
#include "port.h"
#include "riscv.h"
#include "sbi.h"
#include "sink.h"
#include "timer.h"

#define OWNER_MAX 64 /* bytes that name a stack's owner */

#define CAUSE_INTERRUPT (1ull << 63)
#define CAUSE_FETCH_FAULT 12
#define CAUSE_READ_FAULT 13
#define CAUSE_WRITE_FAULT 15

void trap_entry(void); /* vectors.S */

_Static_assert(sizeof(struct trap_frame) == FRAME_SIZE, "vectors.S makes the frame");
_Static_assert(offsetof(struct trap_frame, pc) == FRAME_SIZE - 8, "vectors.S makes the frame");

void trap_init(void)
{
	csr_write(stvec, (uintptr_t)trap_entry);
	sbi_timer_set(UINT64_MAX);
	csr_write(sie, 1u << IRQ_SOFTWARE | 1u << IRQ_TIMER);
}

static const char *exception_name(uint64_t cause)
{
	static const char *const names[] = {
		"misaligned instruction",
		"instruction access fault",
		"illegal instruction",
		"breakpoint",
		"misaligned load",
		"load access fault",
		"misaligned store",
		"store access fault",
	};

	return cause < ARRAY_SIZE(names) ? names[cause] : "unknown exception";
}

static void print_registers(struct sink *sink, const void *arg)
{
	const struct trap_frame *f = arg;
	const struct {
		const char *name;
		uint64_t value;
	} regs[] = {
		{"ra", f->ra},
		{"sp", f->sp},
		{"gp", f->gp},
		{"tp", f->tp},
		{"t0", f->t0},
		{"t1", f->t1},
		{"t2", f->t2},
		{"s0", f->s0},
		{"s1", f->s1},
		{"a0", f->a0},
		{"a1", f->a1},
		{"a2", f->a2},
		{"a3", f->a3},
		{"a4", f->a4},
		{"a5", f->a5},
		{"a6", f->a6},
		{"a7", f->a7},
		{"s2", f->s2},
		{"s3", f->s3},
		{"s4", f->s4},
		{"s5", f->s5},
		{"s6", f->s6},
		{"s7", f->s7},
		{"s8", f->s8},
		{"s9", f->s9},
		{"s10", f->s10},
		{"s11", f->s11},
		{"t3", f->t3},
		{"t4", f->t4},
		{"t5", f->t5},
		{"t6", f->t6},
		{"pc", f->pc},
		{"status", f->status},
	};

	for (size_t i = 0; i < ARRAY_SIZE(regs); i++)
		sink_printf(sink, "  %-6s %016llx%s", regs[i].name, (unsigned long long)regs[i].value,
			i % 3 == 2 ? "\n" : "");
}

static bool is_page_fault(uint64_t cause)
{
	return cause == CAUSE_FETCH_FAULT || cause == CAUSE_READ_FAULT || cause == CAUSE_WRITE_FAULT;
}

static uint64_t flags_needed(uint64_t cause)
{
	return PTE_VALID | (cause == CAUSE_FETCH_FAULT ? PTE_EXEC : cause == CAUSE_READ_FAULT ? PTE_READ : PTE_WRITE);
}

static __attribute__((noreturn)) void report_page_fault(const struct panic_site *site, const struct trap_frame *f)
{
	const char *kind = f->cause == CAUSE_FETCH_FAULT ? "execution of" :
			   f->cause == CAUSE_READ_FAULT	 ? "read of" :
							   "write to";

	struct panic_site told = *site;

	/* Its frames begin with the one at that address. */
	told.pc = f->pc;
	told.frame = f->s0;
	if (!paging_allows(f->value, PTE_VALID))
		kernel_fault(f->value,
			f->cause == CAUSE_FETCH_FAULT ? "execution" : f->cause == CAUSE_READ_FAULT ? "read" : "write",
			&told);
	panic_at(site, "page fault: %s %#llx, %s, in %pS", kind, (unsigned long long)f->value,
		paging_allows(f->value, PTE_VALID) ? "forbidden" : "not mapped", (void *)f->pc);
}

/* Whether a stack overflowed into the guard page at `address`; if so, writes the stack's owner to `owner`. */
static bool is_overflow(const struct trap_frame *f, char *owner, size_t size)
{
	if (!is_page_fault(f->cause))
		return false;
	if (kernel_stack_guard(f->value, owner, size))
		return true;
	ksnprintf(owner, size, "core %u", port_core_id());
	return paging_is_guard(f->value);
}

static __attribute__((noreturn)) void report(const struct trap_frame *f)
{
	struct port_core *core = &core_self()->port;
	struct panic_site site = {.frame = (uintptr_t)(f + 1), .print = print_registers, .arg = f};
	char owner[OWNER_MAX];

	/* If the report of an exception faults, the report of that fault is one line.  If that one faults
	 * too, the machine stops without another. */
	if (core->context.report++ >= 2)
		machine_stop(MACHINE_STOP_PANIC);
	if (is_overflow(f, owner, sizeof(owner)))
		panic_at(&site, "stack overflow of %s at %#llx, in %pS", owner, (unsigned long long)f->value,
			(void *)f->pc);
	if (is_page_fault(f->cause))
		report_page_fault(&site, f);
	panic_at(&site, "%s, cause %llu, value %#llx, in %pS", exception_name(f->cause), (unsigned long long)f->cause,
		(unsigned long long)f->value, (void *)f->pc);
}

static void handle_irq(struct core *core, const struct trap_frame *f)
{
	core->port.context.irq++;
	if (f->cause == (CAUSE_INTERRUPT | IRQ_SOFTWARE))
		ipi_handle((uintptr_t)(f + 1));
	else if (f->cause != (CAUSE_INTERRUPT | IRQ_TIMER) || !timer_handle())
		core->spurious++;
	core->port.context.irq--;
}

void trap_handle(struct trap_frame *f)
{
	if (f->cause & CAUSE_INTERRUPT)
		handle_irq(core_self(), f);
	else if (is_page_fault(f->cause) && paging_allows(f->value, flags_needed(f->cause)))
		flush_all();
	else
		report(f);
}
