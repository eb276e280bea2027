/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rest of the port: one core, the walk up the stack, non-local return, and the end.
 */
#include "port.h"

#include "core.h"
#include "layout.h"
#include "lib/panic.h"
#include "paging.h"
#include "x86.h"

#define EXIT_PORT 0xf4    /* QEMU's isa-debug-exit: ends it with status (byte << 1) | 1 */
#define ACPI_PORT 0x604   /* PM1a control where QEMU puts it */
#define BOCHS_PORT 0xb004 /* the same in Bochs and old QEMU */
#define ACPI_SLEEP 0x2000 /* state 5, soft off */

#define KEYBOARD_PORT 0x64
#define KEYBOARD_BUSY 0x02
#define KEYBOARD_RESET 0xfe
#define KEYBOARD_POLLS_MAX 10000 /* some 10 ms */
#define RESET_PORT 0xcf9
#define RESET_HARD 0x02
#define RESET_NOW 0x06

/* Cores */

/* The only core doesn't sleep in port_halt(), so there is nothing to end. */
void port_core_poke(unsigned core)
{
	ASSERT(core < port_core_count());
}

void port_core_run(unsigned core, void (*fn)(void *arg), void *arg)
{
	port_irq_t irq;

	ASSERT(core == port_core_id());
	irq = port_irq_save();
	fn(arg);
	port_irq_restore(irq);
}

bool port_in_irq(void)
{
	return core_self()->context.irq > 0;
}

bool port_in_nmi(void)
{
	return core_self()->context.nmi > 0;
}

/* No interrupt is ever raised. */
void port_halt(void)
{
	port_pause();
}

uint64_t port_stack_restarts(unsigned core)
{
	return 0;
}

void port_freeze(void)
{
}

/* Backtrace */

struct frame {
	const struct frame *outer;
	uintptr_t pc;
};

static bool is_frame(const struct frame *f)
{
	uintptr_t at = (uintptr_t)f;

	return at % 8 == 0 && paging_is_readable(at) && paging_is_readable(at + 8);
}

static bool is_code(uintptr_t pc)
{
	return pc >= (uintptr_t)image_start && pc < (uintptr_t)etext;
}

size_t port_backtrace(uintptr_t frame, uintptr_t *pcs, size_t max)
{
	const struct frame *f = (const struct frame *)frame;
	size_t n = 0;

	if (!f)
		f = ((const struct frame *)__builtin_frame_address(0))->outer;
	while (n < max && is_frame(f) && is_code(f->pc)) {
		pcs[n++] = f->pc;
		f = f->outer;
	}
	return n;
}

/* Non-local return */

void port_jump_restore(port_jump_t *jump, int value) __attribute__((noreturn));

void port_jump_note(port_jump_t *jump)
{
	jump->context = core_self()->context;
}

void port_longjmp(port_jump_t *jump, int value)
{
	core_self()->context = jump->context;
	port_jump_restore(jump, value ? value : 1);
}

/* The end */

static __attribute__((noreturn)) void halt_forever(void)
{
	for (;;)
		__asm__ volatile("cli\n\thlt");
}

void port_stop(int code)
{
	outb(EXIT_PORT, (uint8_t)code);
	outw(ACPI_PORT, ACPI_SLEEP);
	outw(BOCHS_PORT, ACPI_SLEEP);
	halt_forever();
}

/* Three ways, each for machines without the one before; the last is an exception that can't be
 * delivered. */
void port_reboot(void)
{
	struct table_pointer none = {0, 0};
	int polls = KEYBOARD_POLLS_MAX;

	while ((inb(KEYBOARD_PORT) & KEYBOARD_BUSY) && --polls > 0)
		port_pause();
	outb(KEYBOARD_PORT, KEYBOARD_RESET);
	outb(RESET_PORT, RESET_HARD);
	outb(RESET_PORT, RESET_NOW);
	load_idt(&none);
	__asm__ volatile("int3");
	halt_forever();
}
