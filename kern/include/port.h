/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The port: what the subsystem asks of the machine beneath it.
 *
 * Everything in kern/ reaches the machine through the functions below and through nothing else.
 * A port supplies two headers and some object files: `port_arch.h`, which defines the hot functions
 * as `static inline`, and the rest out of line.  This is the machine half; threads follow it when
 * the kernel has them.
 *
 * True for every function here: it may be called in any context (interrupts included) unless its
 * comment says otherwise, it never allocates, never takes a lock the subsystem knows of, and costs a
 * bounded number of instructions.
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
 *   port_jump_t                       storage for port_setjmp()
 *   port_setjmp(jump)                 a macro or function: 0 at first, and again, with a value other
 *                                     than 0, when port_longjmp(jump, value) is called
 */
#include "port_arch.h"

/* Cores */

/* The number of the core this runs on, 0 <= id < port_core_count().  It can be stale at once where
 * the caller can move between cores. */
unsigned port_core_id(void);

/* How many cores run the kernel, at least 1; it only grows. */
unsigned port_core_count(void);

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

/* Whether this core is handling an interrupt (true inside an NMI too), or an NMI. */
bool port_in_irq(void);
bool port_in_nmi(void);

/* Waiting and time */

/* One turn of a loop that waits for another core. */
void port_pause(void);

/* Waits until the next interrupt or poke.  Context: not in an interrupt, not under a spinlock.  It
 * may return early, so it stands in a loop.  Where no interrupt is ever enabled it is a port_pause(). */
void port_halt(void);

/* Nanoseconds since the kernel was entered; never runs backward on a core. */
uint64_t port_ns(void);

/* The finest counter the machine has, unit unspecified: time-stamp ticks on x86, which QEMU's
 * -icount turns into executed instructions. */
uint64_t port_ticks(void);

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

/* Ends the machine (or the process) with `code`, 0 to 99 or PORT_STOP_PANIC. */
void port_stop(int code) __attribute__((noreturn));

/* Starts the machine (or the process) anew. */
void port_reboot(void) __attribute__((noreturn));

#endif
