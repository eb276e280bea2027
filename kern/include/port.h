/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The port: what the subsystem asks of the kernel and the machine beneath it.
 *
 * It comes in levels, each complete without the next.  A port is a header, `port_arch.h`, and whatever it
 * declares there and doesn't define inline.  It has
 *
 *	always		PORT_PAGE_SHIFT, PORT_LINE_SIZE, port_irq_t, port_irq_save(), port_irq_restore(),
 *			port_core_id(), port_bug()
 *	PORT_HAS_CORES	1: several cores.  port_core_count(), port_core_max(), port_core_run(), port_pause()
 *	PORT_HAS_THREADS 1: threads.  port_thread_t, port_thread_self(), port_thread_block(),
 *			port_thread_unblock(), port_may_sleep()
 *
 * and of the optional parts those that it announces in the same way, as
 *
 *	#define PORT_HAS_CLOCK 1
 *
 * What a port doesn't have is supplied below, by the simplest thing that is right: one core, no threads, a
 * clock that stands.  docs/porting.md says what each costs to leave out.
 *
 *	port_irq_t irq = port_irq_save();
 *	...
 *	port_irq_restore(irq);
 *
 * Where a function's comment says nothing else: it may be called in any context, interrupts and NMIs
 * included, by any core at any time; it never allocates, never takes a lock that the subsystem knows of,
 * never panics, and costs a bounded number of instructions.
 *
 * Addresses are `uintptr_t`, the port is 64 bits wide, and byte order is little endian.
 */
#ifndef SPANDREL_PORT_H
#define SPANDREL_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "port_arch.h"

/* A name that isn't defined is 0; what is announced is 1. */
#ifndef PORT_HAS_CORES
#define PORT_HAS_CORES 0
#endif
#ifndef PORT_HAS_THREADS
#define PORT_HAS_THREADS 0
#endif
#ifndef PORT_HAS_STACKS
#define PORT_HAS_STACKS 0
#endif
#ifndef PORT_HAS_COUNT
#define PORT_HAS_COUNT 0
#endif
#ifndef PORT_HAS_IRQ_DEPTH
#define PORT_HAS_IRQ_DEPTH 0
#endif
#ifndef PORT_HAS_NMI
#define PORT_HAS_NMI 0
#endif
#ifndef PORT_HAS_WORDS
#define PORT_HAS_WORDS 0
#endif
#ifndef PORT_HAS_CLOCK
#define PORT_HAS_CLOCK 0
#endif
#ifndef PORT_HAS_BACKTRACE
#define PORT_HAS_BACKTRACE 0
#endif
#ifndef PORT_HAS_CONSOLE
#define PORT_HAS_CONSOLE 0
#endif
#ifndef PORT_HAS_YIELD
#define PORT_HAS_YIELD 0
#endif
#ifndef PORT_HAS_MEMORY_HIDE
#define PORT_HAS_MEMORY_HIDE 0
#endif

/*
 * Memory
 *
 *   PORT_PAGE_SHIFT	12, 14 or 16: base arenas hand out pages of 1 << it bytes
 *   PORT_LINE_SIZE	32, 64 or 128: bytes of a cache line
 *   port_irq_t		what port_irq_save() returns
 */
#if PORT_PAGE_SHIFT != 12 && PORT_PAGE_SHIFT != 14 && PORT_PAGE_SHIFT != 16
#error "port_arch.h: PORT_PAGE_SHIFT must be 12, 14 or 16: pages of 4, 16 or 64 KiB"
#endif
#if PORT_LINE_SIZE != 32 && PORT_LINE_SIZE != 64 && PORT_LINE_SIZE != 128
#error "port_arch.h: PORT_LINE_SIZE must be 32, 64 or 128"
#endif
#if __SIZEOF_POINTER__ != 8 || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the subsystem needs pointers of 64 bits and little endian byte order"
#endif
#define PORT_PAGE_SIZE ((size_t)1 << PORT_PAGE_SHIFT)

/* Turns interrupts off on this core and returns what port_irq_restore() takes to put them back as
 * they were.  Pairs nest.  Between them the caller stays on its core, and nothing else runs there but
 * NMIs. */
port_irq_t port_irq_save(void);
void port_irq_restore(port_irq_t saved);

/* The number of the core that this runs on, less than port_core_count().  Where the caller can move
 * between cores, it may be another's by the time it is used.  With one core it is 0. */
unsigned port_core_id(void);

/* The subsystem has found a bug, a caller's or its own: `message` says all of it, one line without an end of
 * line.  It must not return, and must not call the subsystem again.  A kernel that links panic() of its own
 * sources (kern/lib/panic.c) needs none. */
void port_bug(const char *message) __attribute__((noreturn));

/* Cores */

#if PORT_HAS_CORES
/* How many cores run the kernel, at least 1; it only grows.  Their numbers are those below it. */
unsigned port_core_count(void);

/* How many cores there can ever be, 1 to 255: every core's number is below it.  It doesn't change. */
unsigned port_core_max(void);

/* Runs fn(arg) on core `core`, less than port_core_count(), with interrupts off, at a safe point:
 * between two instructions of what runs there, outside of every port_stack step.  Returns when fn
 * has returned.  fn may call what is legal in an interrupt.  Context: not in an interrupt,
 * not under a spinlock; interrupts on, unless `core` is the caller's own.  Cost: fn's, and until that
 * core takes an interrupt. */
void port_core_run(unsigned core, void (*fn)(void *arg), void *arg);

/* One turn of a loop that waits for another core.  Where a core is a thread that shares processors
 * with others, such a loop gives its processor away now and then. */
void port_pause(void);
#else
static inline unsigned port_core_count(void)
{
	return 1;
}

static inline unsigned port_core_max(void)
{
	return 1;
}

static inline void port_core_run(unsigned core, void (*fn)(void *arg), void *arg)
{
	port_irq_t irq = port_irq_save();

	(void)core;
	fn(arg);
	port_irq_restore(irq);
}

static inline void port_pause(void)
{
}
#endif

/*
 * Threads.  sync.c makes every sleeping lock of these functions.  kthread.c supplies them for this
 * kernel, another kernel supplies its own.  Without them each core counts as one thread, which never sleeps:
 * it waits for other cores, and a request by MEM_WAIT that memory can't serve is a bug.
 */
#if PORT_HAS_THREADS
/* The running thread; in an interrupt, the interrupted one.  NULL while there are no threads
 * yet. */
port_thread_t *port_thread_self(void);

/* Sleeps until another core, thread or interrupt has called port_thread_unblock() on this thread
 * since its last port_thread_block() returned, or until port_ns() reaches `deadline` (PORT_FOREVER:
 * never).  It may return early, so it stands in a loop that looks at what it waits for.  Without
 * PORT_HAS_CLOCK a deadline other than PORT_FOREVER is a pause: it must return by itself, when all other
 * threads that are ready have had a turn, or at a later timer tick; reclaim's threads look again then.
 * Context: a thread, interrupts on, no spinlock held.  Cost: a switch to another thread and back, and the
 * sleep. */
void port_thread_block(uint64_t deadline);

/* Ends the port_thread_block() that `thread`, which must still exist, is in, or else its next one;
 * several calls end one.  Context: any but an NMI; the subsystem holds spinlocks of its own, interrupts off, so
 * it must not call the subsystem. */
void port_thread_unblock(port_thread_t *thread);

/* Whether the caller may sleep, and wait for other cores: not in an interrupt, nor under a spinlock, nor
 * where this kernel forbids it.  Before threads run nothing sleeps, so there it is whether what may sleep
 * later may be called: true in boot, interrupts on or off. */
bool port_may_sleep(void);
#else
typedef struct port_core_thread port_thread_t;

static inline port_thread_t *port_thread_self(void)
{
	return (port_thread_t *)(uintptr_t)(port_core_id() + 1);
}

static inline void port_thread_block(uint64_t deadline)
{
	(void)deadline;
	port_pause();
}

static inline void port_thread_unblock(port_thread_t *thread)
{
	(void)thread;
}

/* port_arch.h may define a macro of this name, as
 *	#define port_may_sleep() (!my_kernel_is_in_a_handler())
 * so that MEM_WAIT in an interrupt handler is a panic. */
#ifndef port_may_sleep
static inline bool port_may_sleep(void)
{
	return true;
}
#endif
#endif
#define PORT_FOREVER UINT64_MAX

/* Optional parts */

/* PORT_HAS_YIELD: lets other threads that are ready run first.  Context: as port_thread_block().  Without it
 * long work of the subsystem's own threads is as long as it is. */
#if PORT_HAS_YIELD
void port_thread_yield(void);
#else
static inline void port_thread_yield(void)
{
	port_pause();
}
#endif

/* PORT_HAS_IRQ_DEPTH: whether this core is handling an interrupt (true inside an NMI too).  Without it
 * what is called in one by mistake is found later, or not. */
#if PORT_HAS_IRQ_DEPTH
bool port_in_irq(void);
#else
static inline bool port_in_irq(void)
{
	return false;
}
#endif

/* PORT_HAS_NMI: whether this core is handling an NMI, from which the subsystem may be called where a
 * function says so.  And port_core_poke(), which has this core take an interrupt soon, in which the port calls
 * reclaim_poked(); any other `core` leaves its idle wait and looks for work.  Without it nothing may be called
 * from an NMI. */
#if PORT_HAS_NMI
bool port_in_nmi(void);
void port_core_poke(unsigned core);
#else
static inline bool port_in_nmi(void)
{
	return false;
}

static inline void port_core_poke(unsigned core)
{
	(void)core;
}
#endif

/* PORT_HAS_CLOCK: nanoseconds since some moment before the first call, which never run backward on a core;
 * the finest counter the machine has, unit unspecified, as time-stamp ticks on x86; and how many nanoseconds
 * ticks of it take.  Without it time stands: magazines grow at each chance; reclaim's pauses last until
 * port_thread_block() returns; no request holds up others, and memory isn't reported to be out.
 * arena_alloc_timeout() with a deadline that is to come is arena_alloc() by MEM_ERROR. */
#if PORT_HAS_CLOCK
uint64_t port_ns(void);
uint64_t port_ticks(void);
uint64_t port_ticks_ns(uint64_t ticks);
#else
static inline uint64_t port_ns(void)
{
	return 1;
}

static inline uint64_t port_ticks(void)
{
	return 1;
}

static inline uint64_t port_ticks_ns(uint64_t ticks)
{
	return ticks;
}
#endif

/* PORT_HAS_WORDS: words that the running thread keeps for the subsystem, 0 at first, PORT_THREAD_WORDS of
 * them; while there are no threads, the boot core's.  Without them a callback that calls what may sleep, and
 * a thread that takes one lock twice, are found only where they hang. */
enum {
	PORT_THREAD_CATCH, /* the innermost panic_catch */
	PORT_THREAD_TEST,  /* the part of a test it runs */
	PORT_THREAD_SPIN,  /* debug builds: the spinlock it took last */
	PORT_THREAD_QLOCK, /* debug builds: the qlock it took last */
	PORT_THREAD_IN_RECLAIM, /* debug builds: it is in a callback of reclaim */
	PORT_THREAD_CALLBACK, /* the name of the arena or cache whose callback it is in, or 0 */
	PORT_THREAD_CONSTRUCT, /* the cache whose constructor it is in, or 0 */
	PORT_THREAD_RECLAIM,  /* it is one of reclaim's own */
	PORT_THREAD_FAILED,   /* its last allocation was made to fail (kmem_fail.h) */
	PORT_THREAD_LOCKS,    /* how many sleeping locks (qlocks) it holds, and rwlocks for writing */
	PORT_THREAD_LOCKED,   /* the sum of their addresses */
	PORT_THREAD_READS,    /* how many rwlocks it holds for reading */
	PORT_THREAD_READING,  /* the sum of their addresses */
	PORT_THREAD_WAIT,     /* what it sleeps for, in a word: a string; 0: it doesn't */
	PORT_THREAD_WAIT_OF,  /* the address of that, or of the function that tells whether it has come */
	PORT_THREAD_ID,	      /* its number, for reports; 0: none */
	PORT_THREAD_WORDS
};
#if PORT_HAS_WORDS
uintptr_t *port_thread_words(void);

/* Relaxed: other cores read them for reports. */
static inline uintptr_t port_word(unsigned word)
{
	return __atomic_load_n(&port_thread_words()[word], __ATOMIC_RELAXED);
}

static inline void port_set_word(unsigned word, uintptr_t value)
{
	__atomic_store_n(&port_thread_words()[word], value, __ATOMIC_RELAXED);
}
#else
static inline uintptr_t port_word(unsigned word)
{
	(void)word;
	return 0;
}

static inline void port_set_word(unsigned word, uintptr_t value)
{
	(void)word;
	(void)value;
}
#endif

/* PORT_HAS_BACKTRACE: fills pcs[0 .. max) with return addresses, innermost first, from frame pointer `frame`
 * on, or from the caller's own frame if that is 0.  A broken chain of frames ends the walk; it never faults.
 * Cost: linear in max.  Returns how many there are.  Without it reports have none. */
#if PORT_HAS_BACKTRACE
size_t port_backtrace(uintptr_t frame, uintptr_t *pcs, size_t max);
#else
static inline size_t port_backtrace(uintptr_t frame, uintptr_t *pcs, size_t max)
{
	(void)frame;
	(void)pcs;
	(void)max;
	return 0;
}
#endif

/* PORT_HAS_CONSOLE: writes n bytes; a newline goes out as carriage return and newline where the line needs
 * that.  It may spin until the device takes the bytes.  Context: any, a panic included.  Cost: linear in n,
 * and the device's time.  Without it console_sink drops what it is given. */
#if PORT_HAS_CONSOLE
void port_console_write(const char *bytes, size_t n);
#else
static inline void port_console_write(const char *bytes, size_t n)
{
	(void)bytes;
	(void)n;
}
#endif

/* PORT_HAS_MEMORY_HIDE: hides [at, at + n) from a checker of memory, as the host's sanitizer, which then
 * reports each read and write of it; or shows it again. */
#if !PORT_HAS_MEMORY_HIDE
static inline void port_memory_hide(const volatile void *at, size_t n)
{
	(void)at;
	(void)n;
}

static inline void port_memory_show(const volatile void *at, size_t n)
{
	(void)at;
	(void)n;
}
#endif

/* PORT_HAS_COUNT: adds n to a counter of the running core's, in one step to all else that runs on that core, as
 * the steps of its stacks below.  Without it the step is one to all cores, which costs an atomic addition. */
#if !PORT_HAS_COUNT
static inline void port_count(uint64_t *counter, uint64_t n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}
#endif

/*
 * PORT_HAS_STACKS: stacks of pointers, one for each core, which is what the hot path of a cache is made of.
 *
 *	struct port_stack { void **top, **bottom, **limit; };
 *
 * The pointers, none of which is NULL, are those in [bottom, top); there is room in [top, limit);
 * bottom[-1] is NULL.  Core i's stack lies i * stride bytes behind `first`.  port_arch.h defines four inlines
 * that step the running core's.  To everything else on that core, interrupt handlers, NMIs and switches of
 * threads included, choosing the stack and moving its pointers are one step: either all of it has happened
 * or nothing has.  A port does it by restarting a sequence that was interrupted (x86: every return
 * from a trap goes back to its first instruction, a page fault's on the caller's array included), or
 * needs nothing where interrupts are handled at calls alone; without PORT_HAS_STACKS, port_stack.h turns them
 * off and on.  No other core may look inside a stack, but for a function that runs on the stack's own at a
 * safe point (port_core_run).
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
#if !PORT_HAS_STACKS
#include "port_stack.h"
#endif

#endif
