/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The port on a Linux process, inline functions: a thread for each core.  Interrupts are handled
 * where a core turns them on, pauses, halts or has stepped a stack.
 */
#ifndef SPANDREL_HOST_PORT_ARCH_H
#define SPANDREL_HOST_PORT_ARCH_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Hidden memory is poisoned for AddressSanitizer. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
void __asan_poison_memory_region(const volatile void *at, size_t n);
void __asan_unpoison_memory_region(const volatile void *at, size_t n);
#define PORT_HAS_MEMORY_HIDE 1
#define port_memory_hide(at, n) __asan_poison_memory_region(at, n)
#define port_memory_show(at, n) __asan_unpoison_memory_region(at, n)
#endif

#define PORT_HAS_CORES 1
#define PORT_HAS_THREADS 1
#define PORT_HAS_STACKS 1
#define PORT_HAS_COUNT 1
#define PORT_HAS_IRQ_DEPTH 1
#define PORT_HAS_NMI 1
#define PORT_HAS_WORDS 1
#define PORT_HAS_CLOCK 1
#define PORT_HAS_BACKTRACE 1
#define PORT_HAS_CONSOLE 1
#define PORT_HAS_YIELD 1
#define PORT_PAGE_SHIFT 12
#define PORT_LINE_SIZE 64

typedef int port_irq_t;

/* A core, which is a thread. */
struct host_core {
	unsigned id;
	port_irq_t irq_off;
	unsigned irq_depth;    /* interrupts being handled */
	uint32_t pending;      /* interrupts raised (core.c); atomic */
	unsigned pauses;       /* calls of port_pause() */
	unsigned whole;	       /* simulated: it is in what is one step to all else that runs on it */
	unsigned nmi_depth;    /* simulated: NMIs being handled */
	struct ktask *current; /* machine_current() */
	uintptr_t stack_low, stack_high; /* the stack it runs on: [low, high) */
};

/*
 * The running core.  Each call reads the pointer again: after a switch a ktask may run on another
 * core, and the compiler must not reuse what it read before.
 */
#if defined(__x86_64__)
static inline struct host_core *host_self(void)
{
	struct host_core *c;

	__asm__ volatile("movq %%fs:host_core_self@tpoff, %0" : "=r"(c));
	return c;
}
#else
struct host_core *host_self(void);
#endif

/*
 * A simulated core (sim/sim.h) may be interrupted, and others go on, at each step of the port and at each access
 * to memory.  host_step() is such a place; between the other two there is none.
 */
#ifdef HOST_SIM
void host_step(void);

static inline void host_whole_begin(void)
{
	host_self()->whole++;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void host_whole_end(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	host_self()->whole--;
}
#else
static inline void host_step(void)
{
}

static inline void host_whole_begin(void)
{
}

static inline void host_whole_end(void)
{
}
#endif

/* Handles what is pending; interrupts are on. */
void host_interrupts(void);
/* The same if they are. */
void host_poll_pending(void);
void host_pause(void);

struct machine_jump {
	jmp_buf registers;
	port_irq_t irq_off;
	unsigned irq_depth;
};
typedef struct machine_jump machine_jump_t;

static inline void host_jump_note(machine_jump_t *jump)
{
	jump->irq_off = host_self()->irq_off;
	jump->irq_depth = host_self()->irq_depth;
}

/* The signal mask stays as it is: no handler of this port blocks signals while it runs.  The
 * argument is evaluated twice. */
#define machine_setjmp(jump) (host_jump_note(jump), _setjmp((jump)->registers))

static inline unsigned port_core_id(void)
{
	return host_self()->id;
}

static inline port_irq_t port_irq_save(void)
{
	struct host_core *c = host_self();
	port_irq_t was = c->irq_off;

	host_step();
	c->irq_off = 1;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return was;
}

/* Relaxed: host_interrupts() reads it again, and pairs with host_raise(). */
static inline void port_irq_restore(port_irq_t saved)
{
	struct host_core *c = host_self();

	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	c->irq_off = saved;
	if (__builtin_expect(!saved && __atomic_load_n(&c->pending, __ATOMIC_RELAXED), 0))
		host_interrupts();
	host_step();
}

static inline bool machine_irq_enabled(void)
{
	return !host_self()->irq_off;
}

/* Interrupts are off in handlers and under spinlocks, so that says it. */
static inline bool port_may_sleep(void)
{
	return machine_irq_enabled();
}

static inline bool machine_irq_were_enabled(port_irq_t saved)
{
	return !saved;
}

static inline bool port_in_irq(void)
{
	return host_self()->irq_depth > 0;
}

static inline bool port_in_nmi(void)
{
	return host_self()->nmi_depth > 0;
}

static inline void port_pause(void)
{
	host_pause();
}

#if defined(HOST_SIM)
uint64_t port_ticks(void);
#elif defined(__x86_64__)
static inline uint64_t port_ticks(void)
{
	return __builtin_ia32_rdtsc();
}
#else
static inline uint64_t port_ticks(void)
{
	uint64_t port_ns(void);

	return port_ns();
}
#endif

typedef struct ktask port_thread_t;

/* Nothing else runs on a core in the middle of it. */
static inline void port_count(uint64_t *counter, uint64_t n)
{
	host_whole_begin();
	*counter += n;
	host_whole_end();
}

/* Stacks of pointers, one for each core (port.h).  Nothing else runs on a core in the middle of a
 * step.  A core that does nothing but steps handles its interrupts after them. */
struct port_stack {
	void **top, **bottom, **limit;
};

static inline struct port_stack *host_stack(struct port_stack *first, size_t stride)
{
	return (struct port_stack *)((char *)first + host_self()->id * stride);
}

/* Relaxed: as in port_irq_restore(). */
static inline void host_poll(void)
{
	if (__builtin_expect(__atomic_load_n(&host_self()->pending, __ATOMIC_RELAXED), 0))
		host_poll_pending();
}

static inline void *port_stack_pop(struct port_stack *first, size_t stride, struct port_stack **used)
{
	struct port_stack *s;
	void *p;

	host_step();
	host_whole_begin();
	s = *used = host_stack(first, stride);
	p = s->top <= s->bottom ? (void *)0 : *--s->top;
	host_whole_end();
	host_poll();
	return p;
}

static inline bool port_stack_push(
	struct port_stack *first, size_t stride, void *p, struct port_stack **used)
{
	struct port_stack *s;
	bool goes;

	host_step();
	host_whole_begin();
	s = *used = host_stack(first, stride);
	goes = s->top < s->limit && s->top[-1] != p;
	if (goes)
		*s->top++ = p;
	host_whole_end();
	host_poll();
	return goes;
}

static inline size_t port_stack_pop_many(
	struct port_stack *first, size_t stride, void **to, size_t n)
{
	struct port_stack *s;
	size_t there, moved;

	host_step();
	host_whole_begin();
	s = host_stack(first, stride);
	there = s->top > s->bottom ? (size_t)(s->top - s->bottom) : 0;
	moved = there < n ? there : n;
	/* A stack that was never set has no place to subtract from. */
	if (moved > 0)
		s->top -= moved;
	for (size_t i = 0; i < moved; i++)
		to[i] = s->top[i];
	host_whole_end();
	host_poll();
	return moved;
}

static inline size_t port_stack_push_many(
	struct port_stack *first, size_t stride, void *const *from, size_t n)
{
	struct port_stack *s;
	size_t room, most, moved = 0;

	host_step();
	host_whole_begin();
	s = host_stack(first, stride);
	room = s->limit > s->top ? (size_t)(s->limit - s->top) : 0;
	most = room < n ? room : n;
	for (; moved < most && s->top[-1] != from[moved]; moved++)
		*s->top++ = from[moved];
	host_whole_end();
	host_poll();
	return moved;
}

/* A closed stack is empty and full at once. */
static inline void port_stack_close(struct port_stack *s)
{
	__atomic_store_n(&s->bottom, (void **)UINTPTR_MAX, __ATOMIC_RELAXED);
	__atomic_store_n(&s->limit, (void **)0, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void port_stack_set(struct port_stack *s, void **bottom, void **top, void **limit)
{
	port_stack_close(s);
	s->top = top;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&s->limit, limit, __ATOMIC_RELAXED);
	__atomic_store_n(&s->bottom, bottom, __ATOMIC_RELAXED);
}

#endif
