/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The port: what the subsystem asks of the machine beneath it.
 *
 * The subsystem reaches the machine by the functions below alone.  A port supplies `port_arch.h`,
 * which defines the hot ones as `static inline`, and object files with the rest.  It has two
 * halves: the machine, and threads.
 *
 *	port_irq_t irq = port_irq_save();
 *	...
 *	port_irq_restore(irq);
 *
 * Where a function's comment says nothing else: it may be called in any context, interrupts and
 * NMIs included, by any core at any time; it never allocates, never takes a lock that the subsystem
 * knows of, never panics, and costs a bounded number of instructions.
 *
 * Addresses are `uintptr_t`, the port is 64 bits wide, and byte order is little endian.
 */
#ifndef SPANDREL_PORT_H
#define SPANDREL_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * port_arch.h defines
 *   PORT_PAGE_SHIFT, PORT_PAGE_SIZE   the page base arenas hand out, in bytes
 *   PORT_LINE_SIZE                    the cache line, in bytes
 *   port_irq_t                        what port_irq_save() returns
 *   port_thread_t                     a thread, an incomplete or opaque type used by pointer only
 *   struct port_stack and its four functions, below
 *   port_jump_t                       storage for port_setjmp()
 *   port_setjmp(jump)                 a macro or function: 0 at first, and again, with a value other
 *                                     than 0, when port_longjmp(jump, value) is called
 */
#include "port_arch.h"

/* Optional: hides [at, at + n) from a checker of memory, as the host's sanitizer, which then reports each read and
 * write of it; or shows it again. */
#ifndef port_memory_hide
#define port_memory_hide(at, n) ((void)(at), (void)(n))
#define port_memory_show(at, n) ((void)(at), (void)(n))
#endif

/* Cores */

/* The number of the core that this runs on, less than port_core_count().  Where the caller can move
 * between cores, it may be another's by the time it is used. */
unsigned port_core_id(void);

/* How many cores run the kernel, at least 1; it only grows.  Their numbers are those below it. */
unsigned port_core_count(void);

/* How many cores there can ever be: every core's number is below it.  Fixed when the kernel is
 * entered. */
unsigned port_core_max(void);

/* Has core `core` leave port_halt() and look for work; if it isn't in one, its next port_halt()
 * returns at once.  Doesn't wait for it.  `core` may be the caller's own; in an NMI it then takes an
 * interrupt, in which the port calls reclaim_poked().  Unlike the rest, it panics if there is no such
 * core. */
void port_core_poke(unsigned core);

/* Runs fn(arg) on core `core`, less than port_core_count(), with interrupts off, at a safe point:
 * between two instructions of what runs there, outside of every port_stack step.  Returns when fn
 * has returned.  fn may call what is legal in an interrupt.  Context: not in an interrupt,
 * not under a spinlock; interrupts on, unless `core` is the caller's own.  Cost: fn's, and until that
 * core takes an interrupt.  Unlike the rest, it panics where it would wait for itself, and if there
 * is no such core. */
void port_core_run(unsigned core, void (*fn)(void *arg), void *arg);

/* Interrupts */

/* Turns interrupts off on this core and returns what port_irq_restore() takes to put them back as
 * they were.  Pairs nest. */
port_irq_t port_irq_save(void);
void port_irq_restore(port_irq_t saved);

/* Whether they were on before the port_irq_save() that returned this. */
bool port_irq_were_enabled(port_irq_t saved);

/* Whether interrupts are on here.  They are off in every interrupt handler and under every
 * spinlock, so this is also whether the caller may sleep. */
bool port_irq_enabled(void);

/* Whether this core is handling an interrupt (true inside an NMI too), or an NMI. */
bool port_in_irq(void);
bool port_in_nmi(void);

/*
 * Stacks of pointers, one for each core: what the hot path of a cache is made of.
 *
 *	struct port_stack { void **top, **bottom, **limit; };
 *
 * The pointers, none of which is NULL, are those in [bottom, top); there is room in [top, limit);
 * bottom[-1] is NULL.  Core i's
 * stack lies i * stride bytes behind `first`.  port_arch.h defines four inlines that step the
 * running core's.  To everything else on that core, interrupt handlers, NMIs and switches of threads
 * included, choosing the stack and moving its pointers are one step: either all of it has happened
 * or nothing has.  A port does it by restarting a sequence that was interrupted (x86: every return
 * from a trap goes back to its first instruction, a page fault's on the caller's array included), or
 * by turning interrupts off and on, or needs nothing where they are handled at calls alone.  No other
 * core may look inside a stack, but for a function that runs on the stack's own at a safe point
 * (port_core_run).
 *
 *	void *port_stack_pop(struct port_stack *first, size_t stride, struct port_stack **used)
 *	                     the top one; NULL if there is none
 *	bool port_stack_push(struct port_stack *first, size_t stride, void *p, struct port_stack **used)
 *	                     false, nothing changed, if there is no room, or p is the top one
 *	size_t port_stack_pop_many(struct port_stack *first, size_t stride, void **to, size_t n)
 *	                     how many were moved: n, or as many as there were
 *	size_t port_stack_push_many(struct port_stack *first, size_t stride, void *const *from, size_t n)
 *	                     how many were moved: n, or as many as had room, or were none that was the
 *	                     top one then
 *
 * *used is the stack that was stepped; a thread that can change cores may be on another by then.
 *
 * A closed stack, bottom the highest address and limit 0, is empty and full at once: every step on
 * it fails.  Two more inlines are called with interrupts off, and are safe against an NMI in their
 * middle: port_stack_close() closes a stack, and port_stack_set() has it stand for other memory,
 * closing it on the way.
 *
 *	void port_stack_close(struct port_stack *s)
 *	void port_stack_set(struct port_stack *s, void **bottom, void **top, void **limit)
 */

/* How often sequences of core `core` were restarted; always 0 where the port restarts none. */
uint64_t port_stack_restarts(unsigned core);

/* Waiting and time */

/* One turn of a loop that waits for another core.  Where a core is a thread that shares processors
 * with others, such a loop gives its processor away now and then. */
void port_pause(void);

/* Waits until the next interrupt or poke.  It may return early, so it stands in a loop.  Where
 * interrupts are never enabled it is a port_pause().  Context: not in an interrupt, not under a
 * spinlock.  Cost: the wait. */
void port_halt(void);

/* Nanoseconds since the kernel was entered; never runs backward on a core. */
uint64_t port_ns(void);

/* The finest counter the machine has, unit unspecified: time-stamp ticks on x86, which QEMU's
 * -icount turns into executed instructions. */
uint64_t port_ticks(void);

/* How many nanoseconds `ticks` of port_ticks() take. */
uint64_t port_ticks_ns(uint64_t ticks);

/* The console: bytes in, bytes out */

/* Writes n bytes; a newline goes out as carriage return and newline where the line needs that.  It
 * may spin until the device takes the bytes.  Context: any, a panic included.  Cost: linear in n,
 * and the device's time. */
void port_console_write(const char *bytes, size_t n);

#define PORT_CONSOLE_NONE (-1)	 /* no byte is waiting */
#define PORT_CONSOLE_CLOSED (-2) /* no byte will ever come again */

/* The next byte of input, 0 to 255, or one of the two values above.  With `wait`, waits for a byte,
 * so PORT_CONSOLE_NONE is not returned.  Context: as port_halt(); without `wait`, any but an
 * NMI. */
int port_console_getc(bool wait);

/* Backtrace, non-local return */

/* Fills pcs[0 .. max) with return addresses, innermost first, from frame pointer `frame` on, or
 * from the caller's own frame if that is 0.  A broken chain of frames ends the walk; it never
 * faults.  Cost: linear in max.  Returns how many there are. */
size_t port_backtrace(uintptr_t frame, uintptr_t *pcs, size_t max);

/* The same of a core that port_freeze() has stopped, from the instruction on at which it stopped:
 * pcs[0] is that instruction's address.  Returns 0 if it hasn't stopped. */
size_t port_core_backtrace(unsigned core, uintptr_t *pcs, size_t max);

/* Goes back to where port_setjmp(jump) was called, in a frame that is still live, and has it return
 * `value`, which isn't 0. */
void port_longjmp(port_jump_t *jump, int value) __attribute__((noreturn));

/* The end */

#define PORT_STOP_CODE_MAX 99 /* of the codes that a user may ask for; above it the port's own */
#define PORT_STOP_PANIC 126   /* the kernel ended in a panic */
#define PORT_STOP_REFUSED 127 /* the kernel doesn't run on this machine, or with these options */

/* Stops all other cores for good, whatever they do: for a panic.  Returns when they have stopped,
 * or after a bounded time. */
void port_freeze(void);

/* Ends the machine (or the process) with `code`, 0 to 99 or one of the two above. */
void port_stop(int code) __attribute__((noreturn));

/* Starts the machine (or the process) again from its beginning. */
void port_reboot(void) __attribute__((noreturn));

/*
 * Threads.  sync.c makes every sleeping lock of these functions; kthread.c supplies them for this
 * kernel, another kernel supplies its own.
 */

/* The running thread; in an interrupt, the interrupted one.  NULL while there are no threads
 * yet. */
port_thread_t *port_thread_self(void);

/* Sleeps until another core, thread or interrupt has called port_thread_unblock() on this thread
 * since its last port_thread_block() returned, or until port_ns() reaches `deadline` (PORT_FOREVER:
 * never).  It may return early, so it stands in a loop that looks at what it waits for.  Context: a
 * thread, interrupts on, no spinlock held.  Cost: a switch to another thread and back, and the
 * sleep. */
#define PORT_FOREVER UINT64_MAX
void port_thread_block(uint64_t deadline);

/* Ends the port_thread_block() that `thread`, which must still exist, is in, or else its next one;
 * several calls end one.  Context: any but an NMI; spinlocks of a class before SPIN_KTASK may be
 * held. */
void port_thread_unblock(port_thread_t *thread);

/* Lets other threads that are ready run first.  Context: as port_thread_block(). */
void port_thread_yield(void);

/* Starts a thread that runs fn(arg) and ends when that returns.  The name is copied.  It allocates,
 * as the one exception here.  Context: a thread, interrupts on, no spinlock held.  Returns false,
 * with nothing changed, if there is no memory for it. */
bool port_thread_spawn(const char *name, void (*fn)(void *arg), void *arg);

/* The words that the running thread keeps for the subsystem, 0 at first; while there are no
 * threads, the boot core's. */
enum {
	PORT_THREAD_CATCH, /* the innermost panic_catch */
	PORT_THREAD_TEST,  /* the part of a test it runs */
	PORT_THREAD_SPIN,  /* debug builds: the spinlock it took last */
	PORT_THREAD_CALLBACK, /* the name of the arena or cache whose callback it is in, or 0 */
	PORT_THREAD_CONSTRUCT, /* the cache whose constructor it is in, or 0 */
	PORT_THREAD_RECLAIM,  /* it is one of reclaim's own */
	PORT_THREAD_LOCKS,    /* how many qlocks it holds, and rwlocks for writing */
	PORT_THREAD_LOCKED,   /* the sum of their addresses */
	PORT_THREAD_READS,    /* how many rwlocks it holds for reading */
	PORT_THREAD_READING,  /* the sum of their addresses */
	PORT_THREAD_WAIT,     /* what it sleeps for, in a word: a string; 0: it doesn't */
	PORT_THREAD_WAIT_OF,  /* the address of that, or of the function that tells whether it has come */
	PORT_THREAD_ID,	      /* its number, for reports; 0: none */
	PORT_THREAD_WORDS
};
uintptr_t *port_thread_words(void);

#endif
