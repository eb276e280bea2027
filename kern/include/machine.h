/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What this kernel asks of a machine beyond the port: cores to start, stacks to switch, a timer,
 * mappings.
 *
 * The subsystem alone (libspandrel.a) needs none of it.  init.c, kthread.c, kern/dev and the
 * monitor use it; arch/x86, arch/riscv64 and arch/host supply it.
 */
#ifndef SPANDREL_MACHINE_H
#define SPANDREL_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "port.h"

/*
 * machine_arch.h defines
 *   MACHINE_STACK_SIZE    bytes of a ktask's stack, whole pages, without its guard page
 *   MACHINE_MEMORY_MIN    bytes of RAM that boot and the monitor take on one core
 *   MACHINE_CORE_MEMORY   bytes that each more core takes; both by trying, and a fifth added
 *   MACHINE_VECTOR_FIRST, MACHINE_VECTOR_COUNT   the interrupt vectors that irq.h can hand out
 *   struct machine_fiber  what a switch saves of a thread of execution; of one that doesn't run, `sp` is
 *                         where its stack begins, with the registers that it goes on with
 * and port_arch.h, since they are about interrupts and what the port keeps of a core,
 *   machine_jump_t              storage for machine_setjmp()
 *   machine_setjmp(jump)        a macro or function: 0 at first, and again, with a value other
 *                               than 0, when machine_longjmp(jump, value) is called
 *   bool machine_irq_enabled(void)   whether interrupts are on here.  They are off in every interrupt
 *                               handler and under every spinlock
 *   bool machine_irq_were_enabled(port_irq_t saved)   whether they were on before the port_irq_save() that
 *                               returned this
 */
#include "machine_arch.h"

/* Switching */

/* Prepares `f` so that the first switch to it runs fn(arg) on the stack [stack, stack + size).  fn
 * must not return. */
void machine_fiber_init(
	struct machine_fiber *f, void *stack, size_t size, void (*fn)(void *arg), void *arg);

/* Makes `f` stand for what runs now: the thread of execution a core started with. */
void machine_fiber_adopt(struct machine_fiber *f);

/* Switches from `from`, which runs now, to `to`.  Returns when something switches back to `from`,
 * perhaps on another core.  `last`: nothing will switch to `from` again.  Context: interrupts off;
 * they are off on return. */
void machine_switch(struct machine_fiber *from, struct machine_fiber *to, bool last);

/* Frees what machine_fiber_init() took.  `f` doesn't run and won't be switched to again. */
void machine_fiber_end(struct machine_fiber *f);

/* Fills pcs[0 .. max) with the return addresses of a thread of execution that doesn't run, innermost
 * first; returns how many, 0 if the machine can't tell.  Context: any, `f` isn't switched to meanwhile. */
size_t machine_fiber_backtrace(const struct machine_fiber *f, uintptr_t *pcs, size_t max);

/* The running ktask: a word that each core keeps for the kernel. */
struct ktask *machine_current(void);
void machine_set_current(struct ktask *t);

/* Has a thread of this kernel started that runs fn(arg) and ends when that returns; kthread.c supplies it.
 * The name is copied.  It allocates.  Context: a thread, interrupts on, no spinlock held.  Returns false, with
 * nothing changed, if there is no memory for it. */
bool machine_thread_spawn(const char *name, void (*fn)(void *arg), void *arg);

/* Waits until the next interrupt or poke (port_core_poke).  It may return early, so it stands in a loop.  Where
 * interrupts are never enabled it is a port_pause().  Context: not in an interrupt, not under a
 * spinlock.  Cost: the wait. */
void machine_halt(void);

/* How often sequences of core `core` were restarted (port_stack); always 0 where the port restarts none. */
uint64_t machine_stack_restarts(unsigned core);

#define MACHINE_CONSOLE_NONE (-1)   /* no byte is waiting */
#define MACHINE_CONSOLE_CLOSED (-2) /* no byte will ever come again */

/* The next byte of input, 0 to 255, or one of the two values above.  With `wait`, waits for a byte,
 * so MACHINE_CONSOLE_NONE is not returned.  Context: as machine_halt(); without `wait`, any but an
 * NMI. */
int machine_console_getc(bool wait);

/* Fills pcs as port_backtrace() does, of a core that machine_freeze() has stopped, from the instruction on at
 * which it stopped: pcs[0] is that instruction's address.  Returns 0 if it hasn't stopped. */
size_t machine_core_backtrace(unsigned core, uintptr_t *pcs, size_t max);

/* Goes back to where machine_setjmp(jump) was called, in a frame that is still live, and has it return
 * `value`, which isn't 0. */
void machine_longjmp(machine_jump_t *jump, int value) __attribute__((noreturn));

/* The end */

#define MACHINE_STOP_CODE_MAX 99 /* of the codes that a user may ask for; above it the machine's own */
#define MACHINE_STOP_PANIC 126	 /* the kernel ended in a panic */
#define MACHINE_STOP_REFUSED 127 /* the kernel doesn't run on this machine, or with these options */

/* Stops all other cores for good, whatever they do: for a panic.  Returns when they have stopped,
 * or after a bounded time. */
void machine_freeze(void);

/* Ends the machine (or the process) with `code`, 0 to 99 or one of the two above. */
void machine_stop(int code) __attribute__((noreturn));

/* Starts the machine (or the process) again from its beginning. */
void machine_reboot(void) __attribute__((noreturn));

/* Cores */

/*
 * Starts the other cores one by one, in the order of the firmware's table.  Each gets a stack of
 * MACHINE_STACK_SIZE bytes from stack_alloc, unless the machine has its own stacks for cores, and
 * calls kernel_core_main() on it with interrupts on.  A core for which stack_alloc returns NULL, or
 * which doesn't start, is left out, with one line on the console.  Returns the number of cores that
 * run.  Context: boot, once.
 */
unsigned machine_cores_start(void *(*stack_alloc)(void));

/* What the machine knows of a core that runs. */
struct machine_core_info {
	unsigned hardware_id; /* the machine's own number for it: on x86 its local APIC's, on RISC-V its hart's */
	bool has_node;	      /* `node` is known */
	uint32_t node;	      /* the memory node it belongs to */
	uint64_t nmis;	      /* NMIs it has handled */
	uint64_t spurious;    /* interrupts that came without a handler for them */
};
/* Fills *info.  Context: any.  Cost: constant.  Panics if no such core runs. */
void machine_core_info(unsigned core, struct machine_core_info *info);

/* The number of memory nodes with known distances, 0 if the firmware tells none; and the distance between
 * two of them, below that number: else it panics.  A node's distance to itself is 10.  Context: any.
 * Cost: constant. */
size_t machine_node_count(void);
unsigned machine_node_distance(size_t from, size_t to);

/* The i-th range of physical memory of which the firmware tells the node, in no order; false: there are
 * fewer.  Context: any.  Cost: linear in i. */
struct machine_node_memory {
	uint32_t node;
	uint64_t start, size; /* start + size doesn't wrap */
};
bool machine_node_memory(size_t i, struct machine_node_memory *memory);

/* What the kernel supplies: the function a started core calls.  No spinlock has been taken on that
 * core yet.  port_core_id() is right, and port_core_count() includes this core. */
void kernel_core_main(void) __attribute__((noreturn));

/* Halts until an interrupt or a poke if *idle is true, else returns at once.  It misses neither of
 * the two if they come between the look at *idle and the halt.  Interrupts are off when it is
 * called and on when it returns. */
void machine_idle(const bool *idle);

/* What the kernel supplies, called in each interrupt that port_core_poke() raised. */
void kernel_poked(void);

/* The timer */

/* Has kernel_timer() called on this core, in an interrupt, at or soon after port_ns() == deadline;
 * replaces the deadline set before.  PORT_FOREVER: never.  Context: interrupts off. */
void machine_timer_set(uint64_t deadline);
void kernel_timer(void); /* what the kernel supplies */

/* The watch: one deadline for all cores, for what hangs.  machine_watch_set() has kernel_late() called
 * at or soon after port_ns() == deadline, on one core or several, and replaces the deadline set
 * before; PORT_FOREVER: never.  On x86 and RISC-V that takes one core whose interrupts are on; on a host,
 * nothing.  A call that comes before the deadline may be ignored.  Context: a thread, interrupts on,
 * no spinlock held. */
void machine_watch_set(uint64_t deadline);
/* What the kernel supplies, called in an interrupt, wherever the core was.  `pc` and `frame`:
 * where it was, if a backtrace of the handler doesn't lead there, else 0 (panic_site). */
void kernel_late(uintptr_t pc, uintptr_t frame);

/* The console */

/* What the kernel supplies, called in an interrupt: machine_console_getc(false) may have a byte to
 * return, or the input was closed.  Whenever machine_console_getc(false) has returned
 * MACHINE_CONSOLE_NONE, this is called at least once after the next byte has come. */
void kernel_input(void);

/* Physical memory */

/* The direct-map address of physical address 0, a multiple of 2 MiB.  Context: any. */
uintptr_t machine_direct_base(void);

/* The physical address of a byte of RAM, by its address in the direct map; or in memory outside of it
 * that may be added to the base arena: in a kernel its own image, on a host any memory of the
 * process.  machine_other_address(): the address outside the direct map that a byte has, too; NULL: it
 * has none.  Context: any. */
uint64_t machine_physical(const void *ram);
void *machine_other_address(const void *direct);

/* Mappings of the kernel's own virtual addresses */

/* The range that machine_map() may map: whole pages, none of them mapped at first. */
void machine_va_range(uintptr_t *start, size_t *size);

/* Maps `page`, a page of RAM given by its direct-map address, at `va`, readable and writable, for
 * all cores, with a mark of the caller's.  When it returns, no core's TLB holds an earlier mapping of
 * `va`: shootdowns wait until an address is mapped again, and one shootdown serves every unmap before
 * it.  Takes page tables from the base arena by MEM_ATOMIC.  Returns 0; or -ENOMEM with nothing
 * mapped, tables that it had taken by then standing empty; or -EINVAL, with nothing changed, if
 * `page` is no page of the direct map.  Context: interrupts on.  Panics, with nothing changed, if
 * something is mapped at `va`, if that is no page of the range, and on no such mark. */
int machine_map_marked(uintptr_t va, void *page, unsigned mark);
#define MACHINE_MARKS 16 /* a mark is below it */

/* Unmaps `va` and returns the page that was mapped there; NULL, with nothing changed, if that has
 * another mark, or if none was mapped, whatever `va` is.  Of two calls at once one gets the page.
 * Until the next machine_map() of `va` cores may still reach the page through their TLBs.  Context:
 * any but an NMI. */
void *machine_unmap_marked(uintptr_t va, unsigned mark);

/* The mark of what is mapped at `va`; -1 if nothing is, whatever `va` is.  Context: any but an NMI. */
int machine_mark(uintptr_t va);

/* Whether this can be the address of a page of RAM: in the direct map, whether RAM lies there isn't
 * looked up, or elsewhere, of memory that may be added to the base arena (machine_physical).  Context:
 * any.  Cost: constant. */
bool machine_is_direct_page(const void *page);

/* The same with mark 0; inlined, so that a panic names the caller. */
static inline __attribute__((always_inline)) int machine_map(uintptr_t va, void *page)
{
	return machine_map_marked(va, page, 0);
}

static inline __attribute__((always_inline)) void *machine_unmap(uintptr_t va)
{
	return machine_unmap_marked(va, 0);
}

/*
 * Gives back page tables that stand empty, of every level below the top one, until that comes to
 * `amount` bytes: whole pages, so it may be a part of a page more.  SIZE_MAX: all that stood empty
 * when the call began, and perhaps some that came to since.  machine_map() and machine_unmap() may
 * run on any core meanwhile.  They allocate a table anew where they miss one.
 * A table's page goes to phys_arena, which may retain it: arena_reap(phys_arena, ...) afterwards.
 *
 * Context: a thread or boot, interrupts on, no spinlock held; legal in a callback, and in a ktask
 * that may not sleep: it allocates nothing and never sleeps, but waits until every core has taken
 * an interrupt.
 * Cost: at most one look at each table, of which there is one for 2 MiB of addresses that were
 * mapped, and one at each GiB that has none; a search begins where the one before ended, and holds
 * its spinlock for 32 looks at a time.  One shootdown for all tables, none if no table is empty.
 * Returns the bytes given back, 0 on a machine without tables of its own.
 */
size_t machine_tables_trim(size_t amount);

/* Pages of the base arena that hold page tables.  They are allocated when a mapping needs them, and
 * freed by machine_tables_trim(). */
size_t machine_table_pages(void);

/* How many times a core has had the other cores flush their TLBs. */
uint64_t machine_shootdowns(void);

/* Devices on PCI */

/* The 32 bits at `offset`, a multiple of 4 below 256, of the configuration space of a function: bus
 * << 8 | device << 3 | its number in the device.  Where there is no function, and on a machine
 * without PCI, all bits read as one and writes do nothing.  Context: any but an NMI.  Cost: the
 * device's.  Panics on a function's number above 0xffff, and on another offset. */
uint32_t machine_pci_read(unsigned function, unsigned offset);
void machine_pci_write(unsigned function, unsigned offset, uint32_t value);

/* Maps the registers at [phys, phys + size) uncached, for good.  Returns where; or NULL if no room
 * is left or the processor has no such address.  Context: a thread, interrupts on; one call at a
 * time.  Cost: linear in pages, and one flush of every core's TLB. */
volatile void *machine_map_device(uint64_t phys, size_t size);

/* Fills in where a device must write, and what, to raise `vector` on core `core`.  Returns false if
 * devices can't do so.  Context: any.  Cost: constant.  Panics on an unknown vector, and if no such core runs. */
struct machine_message {
	uint64_t address; /* physical */
	uint32_t data;
};
bool machine_message(unsigned vector, unsigned core, struct machine_message *message);

/* Has this core take an interrupt of `vector`, once interrupts are on; several calls before that may
 * raise one.  Where devices can't raise vectors it does nothing.  Context: any.  Panics on an unknown vector. */
void machine_raise(unsigned vector);

/* Reports */

/* What lies at an address, as far as the machine knows. */
struct machine_place {
	char what[80];	  /* in words: "kernel text", "page table, made at boot", "not a canonical address" */
	bool is_mapped;	  /* the kernel can read it */
	bool has_phys;	  /* phys is its physical address */
	uint64_t phys;
	uintptr_t image;  /* where the kernel's image has the same memory; 0: it isn't of the image */
	uintptr_t direct; /* where the direct map has the same memory; 0: it isn't RAM */
	uintptr_t window; /* where memory of the direct map is mapped besides, page by page; 0: not known */
	bool is_plain;	  /* RAM that is for the kernel to use: `what` doesn't say for what */
};

/* Fills in *place; reads nothing at the address itself.  Context: any but an NMI; takes no lock.  Cost:
 * linear in page tables and their entries. */
void machine_place(uintptr_t address, struct machine_place *place);

/* The i-th part of the writable data of the kernel's image, stacks left out; false: there are fewer.  Context:
 * any.  Cost: constant. */
bool machine_data(size_t i, uintptr_t *start, size_t *size);

/* A part of the kernel's image. */
struct machine_section {
	const char *name; /* "text", "data", ... */
	uintptr_t start;
	size_t size; /* bytes, what fills its last page among them */
};

/* The i-th part of the kernel's image, in the order of addresses; false: there are fewer.  Context: any.  Cost:
 * constant. */
bool machine_section(size_t i, struct machine_section *section);

/* What the kernel supplies: panics if it knows more than the machine about a fault at `address`, which isn't
 * mapped, and returns else.  `access`: "read", "write", "execution", "access".  `site`: where.  Takes no lock. */
struct panic_site;
void kernel_fault(uintptr_t address, const char *access, const struct panic_site *site);

/* What the kernel supplies: returns whether `address` lies in the guard page of the running ktask's
 * stack; if so, writes the ktask's id and name to `owner`.  Takes no lock. */
bool kernel_stack_guard(uintptr_t address, char *owner, size_t size);

#endif
