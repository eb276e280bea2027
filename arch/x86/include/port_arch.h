/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The port's hot half on x86-64.  Included by port.h alone.
 */
#ifndef SPANDREL_PORT_ARCH_H
#define SPANDREL_PORT_ARCH_H

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

#endif
