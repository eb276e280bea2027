/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What this kernel asks of a machine beyond the port: cores to start, stacks to switch, a timer,
 * mappings.
 *
 * The subsystem alone (libspandrel.a) needs none of it: kthread.c, init.c and kern/dev are its only
 * users, and arch/x86 and arch/host supply it.
 */
#ifndef SPANDREL_MACHINE_H
#define SPANDREL_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "port.h"

/*
 * machine_arch.h defines
 *   MACHINE_STACK_SIZE   bytes of a ktask's stack, whole pages, its guard page not among them
 *   MACHINE_VECTOR_FIRST, MACHINE_VECTOR_COUNT   the interrupt vectors there are to hand out (irq.h)
 *   struct machine_fiber what a switch saves of a thread of execution
 */
#include "machine_arch.h"

/* Switching */

/* Readies `f` to run fn(arg) on the stack [stack, stack + size) when it is first switched to; fn
 * must not return. */
void machine_fiber_init(struct machine_fiber *f, void *stack, size_t size, void (*fn)(void *arg), void *arg);

/* Makes `f` stand for what runs now: a core's first thread of execution. */
void machine_fiber_adopt(struct machine_fiber *f);

/* Switches from `from`, which runs now, to `to`; returns when something switches to `from` again,
 * on whatever core.  `last`: `from` will never be switched to again.  Context: interrupts off, and
 * they are off on return. */
void machine_switch(struct machine_fiber *from, struct machine_fiber *to, bool last);

/* Lets go of what machine_fiber_init() took.  `f` doesn't run. */
void machine_fiber_end(struct machine_fiber *f);

/* The word each core keeps for the kernel: the running ktask. */
struct ktask *machine_current(void);
void machine_set_current(struct ktask *t);

/* Cores */

/*
 * Starts every other core, one after the other in the order of the firmware's table.  Each gets a
 * stack of MACHINE_STACK_SIZE bytes from stack_alloc (NULL: no memory, the core is left out),
 * unless the machine has stacks of its own for cores, and calls kernel_core_main() on it with
 * interrupts on.  A core that doesn't come up is left out with one plain line.  Returns how many
 * run.  Context: boot, once.
 */
unsigned machine_cores_start(void *(*stack_alloc)(void));

/* What is known of a core that runs. */
struct machine_core_info {
	unsigned hardware_id; /* the machine's own number: of its local APIC on x86 */
	bool has_node;	      /* the machine tells which node of memory it is next to */
	uint32_t node;
	uint64_t nmis;	   /* NMIs nobody asked for */
	uint64_t spurious; /* interrupts nobody asked for */
};
void machine_core_info(unsigned core, struct machine_core_info *info);

/* How many nodes the machine tells distances of, and the distance, 10 being that of a node to itself. */
size_t machine_node_count(void);
unsigned machine_node_distance(size_t from, size_t to);

/* What the kernel supplies: the entry of a core, which must not have taken a spinlock.
 * port_core_id() is right, port_core_count() has it. */
void kernel_core_main(void) __attribute__((noreturn));

/* Halts until an interrupt or a poke if *idle is still true, without a gap between looking and
 * halting in which one could be missed.  Interrupts are off when it is called and on when it
 * returns. */
void machine_idle(const bool *idle);

/* The timer */

/* Has kernel_timer() called on this core, as an interrupt, at or soon after port_ns() == deadline;
 * replaces the deadline set before.  PORT_FOREVER: not at all.  Context: interrupts off. */
void machine_timer_set(uint64_t deadline);
void kernel_timer(void); /* what the kernel supplies */

/* The console */

/* What the kernel supplies, called as an interrupt: there may be input that
 * port_console_getc(false) hasn't seen, or the input has closed.  It is called at least once after
 * each time that was answered with PORT_CONSOLE_NONE and input came. */
void kernel_input(void);

/* Physical memory */

/* The direct-map address of physical address 0, a multiple of 2 MiB.  Any context. */
uintptr_t machine_direct_base(void);

/* Mappings of the kernel's own virtual addresses */

/* The range machine_map() works on: whole pages, nothing mapped. */
void machine_va_range(uintptr_t *start, size_t *size);

/* Maps `page`, a page of RAM by its direct-map address, at `va`, readable and writable, for all
 * cores.  What an earlier mapping there may have left in any core's TLB is gone when it returns:
 * shootdowns are put off until then, and one clears all that are due.  Takes page tables from the
 * base arena.  Returns 0 or -ENOMEM, nothing mapped.  Context: interrupts on. */
int machine_map(uintptr_t va, void *page);

/* Ends the mapping at `va` and returns the page that was mapped there, NULL if none.  Cores may see
 * the page until the next machine_map() at the same place.  Context: any but an NMI. */
void *machine_unmap(uintptr_t va);

/* Pages of the base arena that hold page tables: they come as mappings need them, and stay. */
size_t machine_table_pages(void);

/* How often other cores were asked to forget mappings. */
uint64_t machine_shootdowns(void);

/* Reports */

/* What the kernel supplies: whether `address` lies in the guard page of a ktask's stack, and then
 * whose it is, in words.  Reads without a lock. */
bool kernel_stack_guard(uintptr_t address, char *owner, size_t size);

#endif
