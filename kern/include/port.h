/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The port: what the subsystem asks of the machine beneath it.
 *
 * Everything in kern/ reaches the machine through the functions below and through nothing else.
 * A port supplies two headers and some object files: `port_arch.h`, which defines the hot functions
 * as `static inline`, and the rest out of line.  It has two halves: the machine, and threads.
 *
 * True for every function here: it may be called in any context (interrupts included) unless its
 * comment says otherwise, it never allocates, never takes a lock the subsystem knows of, and costs
 * a bounded number of instructions.
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

/* Cores */

/* The number of the core this runs on, 0 <= id < port_core_count().  It can be stale at once where
 * the caller can move between cores. */
unsigned port_core_id(void);

/* How many cores run the kernel, at least 1; it only grows.  Their ids are those below it. */
unsigned port_core_count(void);

/* How many cores there can ever be: every id is below it.  Fixed when the kernel is entered. */
unsigned port_core_max(void);

/* Makes core `core` leave port_halt() and look for work.  Returns without waiting for it; poking
 * oneself makes the next port_halt() return at once. */
void port_core_poke(unsigned core);

/* Runs fn(arg) on core `core` with interrupts off, between two instructions of what runs there, and
 * returns when it has ended.  fn may not sleep and may not call this.  Context: not under a
 * spinlock, interrupts on unless `core` is the caller's own. */
void port_core_run(unsigned core, void (*fn)(void *arg), void *arg);

/* Interrupts */

/* Turns interrupts off on this core and returns what port_irq_restore() needs to put them back the
 * way they were; pairs nest. */
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
 * Stacks of pointers that belong to one core: what the hot path of a cache is made of.
 *
 *	struct port_stack { void **top, **bottom, **limit; };
 *
 * The pointers are those in [bottom, top); there is room in [top, limit).  port_arch.h defines it
 * and four inlines.  Each is one step to whatever else runs on that core, interrupt handlers and
 * NMIs included: either all of it has happened or nothing has.  A port does it by restarting a
 * sequence that was interrupted (x86: the trap return path goes back to its first instruction), or
 * else by turning interrupts off and on.  Nobody but the stack's core may call them, or look
 * inside, unless that core is stopped at a safe point (port_core_run).
 *
 *	void *port_stack_pop(struct port_stack *s)          the top one; NULL if there is none
 *	bool port_stack_push(struct port_stack *s, void *p) false if there is no room
 *	size_t port_stack_pop_many(struct port_stack *s, void **to, size_t n)
 *	size_t port_stack_push_many(struct port_stack *s, void *const *from, size_t n)
 *	                     how many it moved: all that were there, or that there was room for, up to n
 *
 * A closed stack, bottom the highest address and limit 0, is empty and full at once: every step on
 * it fails.  With interrupts off, port_stack_close() makes it so, whatever lands in the middle (an
 * NMI), and port_stack_set() lets it stand for other memory, closing it on the way.
 *
 *	void port_stack_close(struct port_stack *s)
 *	void port_stack_set(struct port_stack *s, void **bottom, void **top, void **limit)
 */

/* How often this core's sequences were restarted; 0 for ever where the port doesn't restart any. */
uint64_t port_stack_restarts(unsigned core);

/* Waiting and time */

/* One turn of a loop that waits for another core.  Where a core is a thread that shares processors
 * with others, such a loop gives its processor away now and then. */
void port_pause(void);

/* Waits until the next interrupt or poke.  Context: not in an interrupt, not under a spinlock.  It
 * may return early, so it stands in a loop.  Where no interrupt is ever enabled it is a
 * port_pause(). */
void port_halt(void);

/* Nanoseconds since the kernel was entered; never runs backward on a core. */
uint64_t port_ns(void);

/* The finest counter the machine has, unit unspecified: time-stamp ticks on x86, which QEMU's
 * -icount turns into executed instructions. */
uint64_t port_ticks(void);

/* How many nanoseconds so many ticks take. */
uint64_t port_ticks_ns(uint64_t ticks);

/* The console: bytes in, bytes out */

/* Writes n bytes; a newline goes out as carriage return and newline where the line needs that.
 * Context: any, a panic included.  It may spin until the device takes the bytes. */
void port_console_write(const char *bytes, size_t n);

#define PORT_CONSOLE_NONE (-1)	 /* no byte is waiting */
#define PORT_CONSOLE_CLOSED (-2) /* no byte will ever come again */

/* The next byte of input, 0 to 255, or one of the two values above.  With `wait`, waits for a byte,
 * so PORT_CONSOLE_NONE is not returned.  Context: as port_halt(). */
int port_console_getc(bool wait);

/* Backtrace, non-local return */

/* Fills pcs[] with at most max return addresses, innermost first, starting from frame pointer
 * `frame`, or from the caller's own frame if that is 0; returns how many.  A broken chain of frames
 * ends the walk, it never faults. */
size_t port_backtrace(uintptr_t frame, uintptr_t *pcs, size_t max);

/* Goes back to where port_setjmp(jump) was called, in a frame that is still live. */
void port_longjmp(port_jump_t *jump, int value) __attribute__((noreturn));

/* The end */

#define PORT_STOP_CODE_MAX 99 /* codes a user may ask for; above it the port's own */
#define PORT_STOP_PANIC 126   /* the kernel ended in a panic */

/* Stops every other core for good, whatever it does, and returns when they have stopped or after a
 * bounded time.  For a panic. */
void port_freeze(void);

/* Ends the machine (or the process) with `code`, 0 to 99 or PORT_STOP_PANIC. */
void port_stop(int code) __attribute__((noreturn));

/* Starts the machine (or the process) anew. */
void port_reboot(void) __attribute__((noreturn));

/*
 * Threads.  sync.c makes every sleeping lock of these five; kthread.c supplies them for this
 * kernel, another kernel supplies its own.
 */

/* The running thread; in an interrupt, the interrupted one.  NULL while there are no threads yet. */
port_thread_t *port_thread_self(void);

/* Sleeps until another core, thread or interrupt has called port_thread_unblock() on this thread
 * since its last port_thread_block() returned, or until port_ns() reaches `deadline` (PORT_FOREVER:
 * never).  It may return early, so it stands in a loop that looks at what it waits for.  Context: a
 * thread, interrupts on, no spinlock held. */
#define PORT_FOREVER UINT64_MAX
void port_thread_block(uint64_t deadline);

/* Ends the next or the current port_thread_block() of `thread`, which must still exist.  Calls
 * don't add up.  Context: any but an NMI; spinlocks may be held. */
void port_thread_unblock(port_thread_t *thread);

/* Starts a thread that runs fn(arg) and ends when that returns.  The name is copied.  Returns false
 * if there is no memory for it.  Context: a thread, interrupts on. */
bool port_thread_spawn(const char *name, void (*fn)(void *arg), void *arg);

/* Words each thread keeps for the subsystem, 0 at first.  While there are no threads, the boot core's. */
enum {
	PORT_THREAD_CATCH, /* the innermost panic_catch */
	PORT_THREAD_TEST,  /* the part of a test it runs */
	PORT_THREAD_SPIN,  /* debug builds: the spinlock it took last */
	PORT_THREAD_WORDS
};
uintptr_t *port_thread_words(void);

#endif
