/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupt vectors: who has which, what is called when one comes, and how often that was, on each
 * core.
 *
 *	unsigned vector = irq_alloc("disk", disk_interrupt, disk);
 *	...
 *	irq_free(vector);
 *
 * Vectors come from an arena, "vectors".  Counting and calling take no lock and write nothing that
 * another core writes.
 */
#ifndef SPANDREL_IRQ_H
#define SPANDREL_IRQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Makes the arena and the counters of every core there can be.  Context: boot, once, when
 * base_arena stands. */
void irq_init(void);

/*
 * Hands out a vector and has handler(arg) called for each of its interrupts, on whatever core they
 * come, with interrupts off.  The name must stay.  Context: interrupts on, no spinlock.
 * Returns the vector, or 0 if all are taken or there is no memory.
 */
unsigned irq_alloc(const char *name, void (*handler)(void *arg), void *arg);

/* Takes it back.  The caller has seen to it that nothing raises it any more; when this returns, no
 * core is inside the handler.  Context: interrupts on, no spinlock.  Panics if nobody has it. */
void irq_free(unsigned vector);

/* One of a block's vectors. */
struct irq_request {
	const char *name;
	void (*handler)(void *arg);
	void *arg;
};

/* Hands out n > 0 vectors in a row, the first a multiple of the least power of two that isn't below
 * n, as devices with several messages want them (PCI, MSI).  As irq_alloc() in all else; cost:
 * linear in n. */
unsigned irq_alloc_block(const struct irq_request *requests, size_t n);

/* Takes back a block, whole.  As irq_free(). */
void irq_free_block(unsigned first, size_t n);

/* Says, for people, where a vector's interrupts come from. */
void irq_set_route(unsigned vector, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What the port calls, with interrupts off, inside an interrupt; false if nobody has the vector. */
bool irq_handle(unsigned vector);

/* Inspect */

#define IRQ_ROUTE_MAX 48 /* bytes, the end included */

struct irq_info {
	unsigned vector;
	const char *name;
	char route[IRQ_ROUTE_MAX];
	uint64_t count; /* on all cores, since the vector was handed out */
};

/* Fills *info for the lowest vector >= `from` that somebody has; false if there is none.  Any
 * context; nothing is locked. */
bool irq_next(unsigned from, struct irq_info *info);

/* Interrupts a core has handled, of all vectors. */
uint64_t irq_core_count(unsigned core);

#endif
