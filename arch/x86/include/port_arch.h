/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The port's hot half on x86-64.  Included by port.h alone.
 */
#ifndef SPANDREL_PORT_ARCH_H
#define SPANDREL_PORT_ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PORT_PAGE_SHIFT 12
#define PORT_PAGE_SIZE ((size_t)1 << PORT_PAGE_SHIFT)
#define PORT_LINE_SIZE 64

typedef uint64_t port_irq_t; /* rflags */

/* How deep a core is in handlers; what a non-local return out of one has to put back. */
struct port_context {
	uint16_t irq;    /* interrupts being handled, NMIs among them */
	uint16_t nmi;    /* NMIs being handled */
	uint16_t report; /* exceptions being reported */
};

typedef struct port_jump {
	uint64_t regs[9]; /* rbx rbp r12 r13 r14 r15 rsp rip rflags: jump.S knows the order */
	struct port_context context;
} port_jump_t;

void port_jump_note(port_jump_t *jump);
int port_jump_save(port_jump_t *jump) __attribute__((returns_twice));

/* The argument is evaluated twice. */
#define port_setjmp(jump) (port_jump_note(jump), port_jump_save(jump))

static inline unsigned port_core_id(void)
{
	return 0;
}

static inline unsigned port_core_count(void)
{
	return 1;
}

static inline unsigned port_core_max(void)
{
	return 1;
}

static inline port_irq_t port_irq_save(void)
{
	port_irq_t flags;

	__asm__ volatile("pushfq\n\tpopq %0\n\tcli" : "=r"(flags) : : "memory");
	return flags;
}

static inline void port_irq_restore(port_irq_t saved)
{
	__asm__ volatile("pushq %0\n\tpopfq" : : "r"(saved) : "memory", "cc");
}

static inline bool port_irq_enabled(void)
{
	port_irq_t flags;

	__asm__ volatile("pushfq\n\tpopq %0" : "=r"(flags) : : "memory");
	return flags & 0x200;
}

static inline void port_pause(void)
{
	__asm__ volatile("pause" : : : "memory");
}

static inline uint64_t port_ticks(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

typedef struct ktask port_thread_t;

/* Stacks of pointers that belong to one core (port.h). */
struct port_stack {
	void **top, **bottom, **limit;
};

static inline void *port_stack_pop(struct port_stack *s)
{
	port_irq_t irq = port_irq_save();
	void *p = s->top <= s->bottom ? (void *)0 : *--s->top;

	port_irq_restore(irq);
	return p;
}

static inline bool port_stack_push(struct port_stack *s, void *p)
{
	port_irq_t irq = port_irq_save();
	bool room = s->top < s->limit;

	if (room)
		*s->top++ = p;
	port_irq_restore(irq);
	return room;
}

static inline size_t port_stack_pop_many(struct port_stack *s, void **to, size_t n)
{
	port_irq_t irq = port_irq_save();
	size_t there = s->top > s->bottom ? (size_t)(s->top - s->bottom) : 0;
	size_t moved = there < n ? there : n;

	s->top -= moved;
	for (size_t i = 0; i < moved; i++)
		to[i] = s->top[i];
	port_irq_restore(irq);
	return moved;
}

static inline size_t port_stack_push_many(struct port_stack *s, void *const *from, size_t n)
{
	port_irq_t irq = port_irq_save();
	size_t room = s->limit > s->top ? (size_t)(s->limit - s->top) : 0;
	size_t moved = room < n ? room : n;

	for (size_t i = 0; i < moved; i++)
		s->top[i] = from[i];
	s->top += moved;
	port_irq_restore(irq);
	return moved;
}

/* Empty and full at once. */
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
