/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rest of the port: waiting, backtraces, non-local return, fibers, stop and reboot.
 */
#include "port.h"

#include "core.h"
#include "layout.h"
#include "machine.h"
#include "paging.h"
#include "serial.h"
#include "x86.h"

#define EXIT_PORT 0xf4    /* QEMU's isa-debug-exit: ends it with status (byte << 1) | 1 */
#define ACPI_PORT 0x604   /* PM1a control, where QEMU has it */
#define BOCHS_PORT 0xb004 /* the same in Bochs and old QEMU */
#define ACPI_SLEEP 0x2000 /* state 5, soft off */

#define KEYBOARD_PORT 0x64
#define KEYBOARD_BUSY 0x02
#define KEYBOARD_RESET 0xfe
#define KEYBOARD_POLLS_MAX 10000 /* some 10 ms */
#define RESET_PORT 0xcf9
#define RESET_HARD 0x02
#define RESET_NOW 0x06

/* Waiting */

/* Halts unless the core was poked; interrupts are off before and on after. */
static void halt_once(void)
{
	if (__atomic_exchange_n(&core_self()->poked, false, __ATOMIC_ACQUIRE))
		enable_interrupts();
	else
		enable_and_halt();
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

static size_t walk(const struct frame *f, uintptr_t *pcs, size_t max)
{
	size_t n = 0;

	while (n < max && is_frame(f) && is_code(f->pc)) {
		pcs[n++] = f->pc;
		f = f->outer;
	}
	return n;
}

size_t port_backtrace(uintptr_t frame, uintptr_t *pcs, size_t max)
{
	const struct frame *f = (const struct frame *)frame;

	if (!f)
		f = ((const struct frame *)__builtin_frame_address(0))->outer;
	return walk(f, pcs, max);
}

size_t machine_core_backtrace(unsigned core, uintptr_t *pcs, size_t max)
{
	uintptr_t pc = __atomic_load_n(&cores[core]->frozen.pc, __ATOMIC_ACQUIRE);

	if (!pc || max == 0)
		return 0;
	pcs[0] = pc;
	return 1 + walk((const struct frame *)cores[core]->frozen.frame, pcs + 1, max - 1);
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

/* Lays the stack out as machine_switch() leaves it: the registers a call preserves, and the return
 * address.  Above them lies an empty frame, which ends backtraces. */
void machine_fiber_init(
	struct machine_fiber *f, void *stack, size_t size, void (*fn)(void *arg), void *arg)
{
	uint64_t *sp = (uint64_t *)((char *)stack + size);

	*--sp = 0;
	*--sp = 0;
	*--sp = (uintptr_t)fiber_start;
	*--sp = 0; /* rbp */
	*--sp = (uintptr_t)fn; /* rbx */
	*--sp = (uintptr_t)arg; /* r12 */
	*--sp = 0;
	*--sp = 0;
	*--sp = 0;
	f->sp = sp;
}

/* The first switch from it writes its stack pointer. */
void machine_fiber_adopt(struct machine_fiber *f)
{
	f->sp = NULL;
}

void machine_fiber_end(struct machine_fiber *f)
{
}

/* A switch has left a frame, above five registers, on the stack. */

#define SWITCH_REGISTERS 5

size_t machine_fiber_backtrace(const struct machine_fiber *f, uintptr_t *pcs, size_t max)
{
	return f->sp ? port_backtrace((uintptr_t)((uint64_t *)f->sp + SWITCH_REGISTERS), pcs, max) : 0;
}

/* Stop and reboot */

static __attribute__((noreturn)) void halt_forever(void)
{
	for (;;)
		__asm__ volatile("cli\n\thlt");
}

void machine_stop(int code)
{
	serial_flush();
	outb(EXIT_PORT, (uint8_t)code);
	outw(ACPI_PORT, ACPI_SLEEP);
	outw(BOCHS_PORT, ACPI_SLEEP);
	halt_forever();
}

/* Tries, in this order: the keyboard controller, the reset port, and an exception that can't be
 * delivered. */
void machine_reboot(void)
{
	struct table_pointer none = {0, 0};
	int polls = KEYBOARD_POLLS_MAX;

	serial_flush();
	while ((inb(KEYBOARD_PORT) & KEYBOARD_BUSY) && --polls > 0)
		port_pause();
	outb(KEYBOARD_PORT, KEYBOARD_RESET);
	outb(RESET_PORT, RESET_HARD);
	outb(RESET_PORT, RESET_NOW);
	load_idt(&none);
	__asm__ volatile("int3");
	halt_forever();
}
