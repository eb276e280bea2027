/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The interrupt descriptor table, and what each vector does.
 *
 * A page fault in a part of the direct map that isn't filled yet fills it; every other exception is
 * a panic.  An NMI that isn't a panic's prints one line.  An interrupt calls the handler that has
 * its vector (irq.h); without a handler it is counted as spurious.
 *
 * On every return, from whatever came, an interrupted sequence restarts (restart.h).  A fault runs
 * nothing that uses a per-core stack, but an NMI may land in its handler, and the NMI's own return
 * sees the handler, not the sequence.
 */
#include "trap.h"

#include <stddef.h>

#include "apic.h"
#include "core.h"
#include "ipi.h"
#include "irq.h"
#include "layout.h"
#include "lib/array.h"
#include "lib/panic.h"
#include "sink.h"
#include "table.h"
#include "machine.h"
#include "paging.h"
#include "pic.h"
#include "port.h"
#include "restart.h"
#include "x86.h"

#define VECTORS 256
#define EXCEPTIONS 32
#define STUB_SIZE 16
#define NMI_LINE_MAX 160
#define OWNER_MAX 64 /* bytes that name a stack's owner */

#define VECTOR_DEBUG 1
#define VECTOR_NMI 2
#define VECTOR_DOUBLE_FAULT 8
#define VECTOR_PAGE_FAULT 14
#define VECTOR_MACHINE_CHECK 18

#define ERROR_PRESENT 0x01u
#define ERROR_WRITE 0x02u
#define ERROR_RESERVED 0x08u
#define ERROR_FETCH 0x10u

struct gate {
	uint16_t offset0;
	uint16_t selector;
	uint8_t ist;
	uint8_t type;
	uint16_t offset16;
	uint32_t offset32;
	uint32_t reserved;
};

#define GATE_INTERRUPT 0x8e

extern char vector_stubs[VECTORS][STUB_SIZE];

static struct gate idt[VECTORS];

bool (*trap_step_hook)(struct trap_frame *frame);
bool (*trap_fault_hook)(uintptr_t address);
void (*trap_nmi_hook)(void);

void trap_enter(void)
{
	struct table_pointer pointer = {sizeof(idt) - 1, (uintptr_t)idt};

	load_idt(&pointer);
}

void trap_init(void)
{
	for (size_t i = 0; i < VECTORS; i++) {
		uintptr_t stub = (uintptr_t)vector_stubs[i];

		idt[i] = (struct gate){(uint16_t)stub, CODE_SELECTOR, 0, GATE_INTERRUPT,
			(uint16_t)(stub >> 16), (uint32_t)(stub >> 32), 0};
	}
	idt[VECTOR_NMI].ist = IST_NMI;
	idt[VECTOR_DOUBLE_FAULT].ist = IST_DOUBLE_FAULT;
	idt[VECTOR_MACHINE_CHECK].ist = IST_MACHINE_CHECK;
	restart_init();
	trap_enter();
	pic_init();
}

static const char *exception_name(uint64_t vector)
{
	static const char *const names[] = {
		"divide error",
		"debug exception",
		"NMI",
		"breakpoint",
		"overflow",
		"bound range exceeded",
		"invalid opcode",
		"device not available",
		"double fault",
		"coprocessor segment overrun",
		"invalid TSS",
		"segment not present",
		"stack fault",
		"general protection fault",
		"page fault",
		"exception 15",
		"floating-point error",
		"alignment check",
		"machine check",
		"SIMD floating-point error",
		"virtualization exception",
		"control protection exception",
	};

	return vector < ARRAY_SIZE(names) ? names[vector] : "reserved exception";
}

static void print_registers(struct sink *sink, const void *arg)
{
	const struct trap_frame *f = arg;
	const struct {
		const char *name;
		uint64_t value;
	} regs[] = {
		{"rax", f->rax},
		{"rbx", f->rbx},
		{"rcx", f->rcx},
		{"rdx", f->rdx},
		{"rsi", f->rsi},
		{"rdi", f->rdi},
		{"rbp", f->rbp},
		{"rsp", f->rsp},
		{"r8", f->r8},
		{"r9", f->r9},
		{"r10", f->r10},
		{"r11", f->r11},
		{"r12", f->r12},
		{"r13", f->r13},
		{"r14", f->r14},
		{"r15", f->r15},
		{"rip", f->rip},
		{"rflags", f->rflags},
		{"cs", f->cs},
		{"ss", f->ss},
	};

	for (size_t i = 0; i < ARRAY_SIZE(regs); i++)
		sink_printf(sink, "  %-6s %016llx%s", regs[i].name,
			(unsigned long long)regs[i].value, i % 3 == 2 ? "\n" : "");
	sink_puts(sink, "\n");
}

static const char *fault_kind(uint64_t error)
{
	if (error & ERROR_RESERVED)
		return "reserved bits set for";
	if (error & ERROR_FETCH)
		return "execution of";
	return error & ERROR_WRITE ? "write to" : "read of";
}

static const char *fault_access(uint64_t error)
{
	return error & ERROR_FETCH ? "execution" : error & ERROR_WRITE ? "write" : "read";
}

static __attribute__((noreturn)) void report_page_fault(
	const struct panic_site *site, const struct trap_frame *frame, uintptr_t address)
{
	if (!(frame->error & ERROR_PRESENT))
		kernel_fault(address, fault_access(frame->error), site);
	panic_at(site, "page fault: %s %#llx, %s, error %#llx, in %pS", fault_kind(frame->error),
		(unsigned long long)address, frame->error & ERROR_PRESENT ? "forbidden" : "not mapped",
		(unsigned long long)frame->error, (void *)frame->rip);
}

/* Whether a stack overflowed into the guard page at `address`; if so, writes the stack's owner to
 * `owner`.  A push onto a full stack faults, and then the processor's push of the page fault's
 * frame faults too: a double fault.  A store below the stack pointer, into the guard page, is a
 * page fault. */
static bool is_overflow(
	const struct trap_frame *frame, uintptr_t address, char *owner, size_t size)
{
	if (frame->vector != VECTOR_PAGE_FAULT && frame->vector != VECTOR_DOUBLE_FAULT)
		return false;
	if (kernel_stack_guard(address, owner, size))
		return true;
	ksnprintf(owner, size, "core %u", port_core_id());
	return paging_is_guard(address);
}

static __attribute__((noreturn)) void report(const struct trap_frame *frame, uintptr_t address)
{
	struct port_core *core = &core_self()->port;
	struct panic_site site = {
		.pc = frame->rip, .frame = frame->rbp, .print = print_registers, .arg = frame};
	char owner[OWNER_MAX];

	/* If the report of an exception faults, the report of that fault is one line.  If that one
	 * faults too, the machine stops without another. */
	if (core->context.report++ >= 2)
		machine_stop(MACHINE_STOP_PANIC);
	if (is_overflow(frame, address, owner, sizeof(owner)))
		panic_at(&site, "stack overflow of %s at %#llx, in %pS", owner,
			(unsigned long long)address, (void *)frame->rip);
	if (frame->vector == VECTOR_PAGE_FAULT)
		report_page_fault(&site, frame, address);
	panic_at(&site, "%s, error %#llx, in %pS", exception_name(frame->vector),
		(unsigned long long)frame->error, (void *)frame->rip);
}

/* In one write, since other cores may print their own at the same time. */
static void print_nmi(const struct core *core, const struct trap_frame *frame)
{
	char line[NMI_LINE_MAX];

	ksnprintf(line, sizeof(line),
		"NMI %llu on core %u, unexpected, in %pS: continuing\n",
		(unsigned long long)core->nmis, core->port.id, (void *)frame->rip);
	sink_puts(&console_sink, line);
}

/* Restores cr2, since the NMI may have come between a page fault and its handler's read of cr2. */
static void handle_nmi(struct core *core, const struct trap_frame *frame, uintptr_t address)
{
	if (ipi_is_frozen())
		ipi_freeze_own(frame->rip, frame->rbp);
	core->port.context.irq++;
	core->port.context.nmi++;
	core->nmis++;
	if (trap_nmi_hook)
		trap_nmi_hook();
	else
		print_nmi(core, frame);
	core->port.context.nmi--;
	core->port.context.irq--;
	write_cr2(address);
}

/* The APIC expects no end of interrupt for its own spurious vector. */
static void handle_irq(struct core *core, uint64_t vector)
{
	core->port.context.irq++;
	if (irq_handle((unsigned)vector)) {
		apic_end();
	} else if (!pic_handle(vector)) {
		core->spurious++;
		if (vector >= MACHINE_VECTOR_FIRST && vector != APIC_SPURIOUS_VECTOR)
			apic_end();
	}
	core->port.context.irq--;
}

static bool is_fill(const struct trap_frame *frame, uintptr_t address)
{
	if (frame->vector != VECTOR_PAGE_FAULT || (frame->error & ERROR_PRESENT))
		return false;
	return (trap_fault_hook && trap_fault_hook(address)) || paging_fill(address);
}

/* A single step is the one return that may leave a sequence as it is: it would never end else. */
static bool handle(struct trap_frame *frame)
{
	struct core *core = core_self();
	uintptr_t address = read_cr2();
	bool rewinds = true;

	if (frame->vector == VECTOR_NMI)
		handle_nmi(core, frame, address);
	else if (frame->vector >= EXCEPTIONS)
		handle_irq(core, frame->vector);
	else if (frame->vector == VECTOR_DEBUG && trap_step_hook)
		rewinds = trap_step_hook(frame);
	else if (!is_fill(frame, address))
		report(frame, address);
	if (rewinds)
		restart_rewind(frame);
	return core->port.context.nmi > 0;
}

/* The interrupt gate has turned interrupts off; iretq restores them. */
bool trap_handle(struct trap_frame *frame)
{
	bool was_on = frame->rflags & PORT_FLAGS_IRQ, in_nmi;

	if (was_on)
		irqoff_begin();
	in_nmi = handle(frame);
	if (was_on)
		irqoff_end();
	return in_nmi;
}
