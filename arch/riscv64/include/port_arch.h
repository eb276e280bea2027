/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The port's hot half on 64-bit RISC-V.  Included by port.h alone.
 */
#ifndef SPANDREL_RISCV64_PORT_ARCH_H
#define SPANDREL_RISCV64_PORT_ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* PORT_HAS_NMI for port_core_poke(): there are no NMIs. */
#define PORT_HAS_CORES 1
#define PORT_HAS_THREADS 1
#define PORT_HAS_IRQ_DEPTH 1
#define PORT_HAS_NMI 1
#define PORT_HAS_WORDS 1
#define PORT_HAS_CLOCK 1
#define PORT_HAS_BACKTRACE 1
#define PORT_HAS_CONSOLE 1
#define PORT_HAS_YIELD 1
#define PORT_PAGE_SHIFT 12
#define PORT_LINE_SIZE 64

typedef uint64_t port_irq_t; /* sstatus */

/* How deep a core is in handlers.  A non-local return out of a handler restores it. */
struct port_context {
	uint32_t irq;    /* interrupts being handled */
	uint32_t report; /* exceptions being reported */
};

/* Register tp points to it: the head of the port's struct core. */
struct port_core {
	struct ktask *current; /* machine_current() */
	uint32_t id;
	struct port_context context;
};

extern unsigned port_cores;	/* port_core_count() */
extern unsigned port_cores_max; /* port_core_max() */

typedef struct machine_jump {
	uint64_t regs[15]; /* ra sp s0 to s11 sstatus, in jump.S's order */
	struct port_context context;
} machine_jump_t;

void machine_jump_note(machine_jump_t *jump);
int machine_jump_save(machine_jump_t *jump) __attribute__((returns_twice));

/* The argument is evaluated twice. */
#define machine_setjmp(jump) (machine_jump_note(jump), machine_jump_save(jump))

/* Volatile: a thread that has slept may run on another core. */
static inline unsigned port_core_id(void)
{
	unsigned id;

	__asm__ volatile("lw %0, %1(tp)" : "=r"(id) : "i"(offsetof(struct port_core, id)));
	return id;
}

static inline unsigned port_core_count(void)
{
	return __atomic_load_n(&port_cores, __ATOMIC_ACQUIRE);
}

static inline unsigned port_core_max(void)
{
	return port_cores_max;
}

static inline bool port_in_irq(void)
{
	uint32_t depth;

	__asm__ volatile("lw %0, %1(tp)" : "=r"(depth) : "i"(offsetof(struct port_core, context.irq)));
	return depth > 0;
}

static inline bool port_in_nmi(void)
{
	return false;
}

#define PORT_STATUS_IRQ 0x2u /* of sstatus: interrupts are on */

static inline port_irq_t port_irq_save(void)
{
	port_irq_t status;

	__asm__ volatile("csrrci %0, sstatus, %1" : "=r"(status) : "i"(PORT_STATUS_IRQ) : "memory");
	return status;
}

/* They are off, so there is nothing to do but turn them on. */
static inline void port_irq_restore(port_irq_t saved)
{
	__asm__ volatile("csrs sstatus, %0" : : "r"(saved & PORT_STATUS_IRQ) : "memory");
}

static inline bool machine_irq_enabled(void)
{
	port_irq_t status;

	__asm__ volatile("csrr %0, sstatus" : "=r"(status) : : "memory");
	return status & PORT_STATUS_IRQ;
}

/* Interrupts are off in handlers and under spinlocks, so that says it. */
static inline bool port_may_sleep(void)
{
	return machine_irq_enabled();
}

static inline bool machine_irq_were_enabled(port_irq_t saved)
{
	return saved & PORT_STATUS_IRQ;
}

static inline uint64_t port_ticks(void)
{
	uint64_t ticks;

	__asm__ volatile("rdtime %0" : "=r"(ticks));
	return ticks;
}

typedef struct ktask port_thread_t;

#endif
