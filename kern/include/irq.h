/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupt vectors: their allocation, their handlers, and how often each came, on each core.
 *
 *	unsigned vector = irq_alloc("disk", disk_interrupt, disk);
 *	...
 *	irq_free(vector);
 *
 * Vectors come from an arena, "vectors".  Counting an interrupt and calling its handler take no
 * lock and write nothing that another core writes.
 */
#ifndef SPANDREL_IRQ_H
#define SPANDREL_IRQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Makes the arena, and counters for port_core_max() cores.  Context: boot, once, after
 * base_arena. */
void irq_init(void);

/*
 * Allocates a vector.  For each of its interrupts handler(arg) is called, with interrupts off, on
 * the core that takes the interrupt.  The name isn't copied.  Context: interrupts on, no spinlock.
 * Returns the vector, or 0 if all are allocated or there is no memory.
 */
unsigned irq_alloc(const char *name, void (*handler)(void *arg), void *arg);

/* Frees a vector, which nothing may raise any more.  When this returns, no core is inside the
 * handler.  Context: interrupts on, no spinlock.  Panics if the vector isn't allocated. */
void irq_free(unsigned vector);

/* A vector of a block. */
struct irq_request {
	const char *name;
	void (*handler)(void *arg);
	void *arg;
};

/* Allocates n > 0 vectors in a row and returns the first, which is a multiple of the least power of
 * two that isn't below n: PCI devices with several messages (MSI) need that.  In all else as
 * irq_alloc().  Cost: linear in n. */
unsigned irq_alloc_block(const struct irq_request *requests, size_t n);

/* Frees a whole block, as irq_free() does a vector. */
void irq_free_block(unsigned first, size_t n);

/* Sets the text that shows people where a vector's interrupts come from. */
void irq_set_route(unsigned vector, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Counts an interrupt and calls its handler; false if the vector isn't allocated.  The port calls
 * this inside the interrupt, with interrupts off. */
bool irq_handle(unsigned vector);

/* Inspect */

#define IRQ_ROUTE_MAX 48 /* bytes, the terminating zero included */

struct irq_info {
	unsigned vector;
	const char *name;
	char route[IRQ_ROUTE_MAX];
	uint64_t count; /* on all cores, since the vector was allocated */
};

/* Fills *info for the lowest allocated vector >= `from`; false if there is none.  Any context; no
 * lock is taken. */
bool irq_next(unsigned from, struct irq_info *info);

/* How many interrupts a core has handled, of all vectors. */
uint64_t irq_core_count(unsigned core);

#endif
