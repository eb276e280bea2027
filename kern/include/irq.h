/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupt vectors: which handler each has, and how many interrupts came to it on each core.
 *
 *	unsigned vector = irq_alloc("disk", disk_interrupt, disk);
 *	...
 *	irq_free(vector);
 *
 * Vectors come from an arena, "vectors".  Any core may call these functions at any time.  Counting
 * an interrupt and calling its handler take no lock and write nothing that another core writes.
 */
#ifndef SPANDREL_IRQ_H
#define SPANDREL_IRQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Makes the arena, and counters for every core there can be.  Context: boot, once, when base_arena
 * stands.  Cost: linear in cores.  Panics if there is no memory for them. */
void irq_init(void);

/* Hands out a vector and has handler(arg) called for each of its interrupts, on whichever core it
 * comes, in an interrupt: it may wake, free, and allocate by MEM_ATOMIC; what may sleep panics in it,
 * and so does irq_free().  The name isn't copied.  Context: a thread or boot, interrupts on.
 * Cost: constant, and linear in cores for the counters.  Returns the vector; or 0, with nothing
 * changed, if all are taken or there is no memory.  Panics if name or handler is NULL, and where it may
 * not sleep. */
unsigned irq_alloc(const char *name, void (*handler)(void *arg), void *arg);

/* Takes a vector back.  The caller has made sure that nothing raises it any more; when this
 * returns, no core is inside the handler.  Context: a thread or boot, interrupts on.  Cost: linear
 * in cores, each of which is stopped at a safe point.  Panics, with nothing changed, if the vector isn't
 * handed out or is one of a block, and where it may not sleep. */
void irq_free(unsigned vector);

/* One of a block's vectors. */
struct irq_request {
	const char *name;
	void (*handler)(void *arg);
	void *arg;
};

/* Hands out n > 0 vectors in a row, the first a multiple of the least power of two that isn't below
 * n, as devices with several messages want them (PCI, MSI); requests[i] is for the i-th.  Cost:
 * linear in n times the cores.  Returns the first vector, and 0 as well if n is more than there are; in
 * all else as irq_alloc().  Panics on n = 0. */
unsigned irq_alloc_block(const struct irq_request *requests, size_t n);

/* Takes back a block whole, by its first vector.  Cost: linear in n and in cores.  In all else as
 * irq_free(); panics, too, on a part of a block, and on more than it. */
void irq_free_block(unsigned first, size_t n);

/* Notes in words, for people to read, where a vector's interrupts come from; they are cut to
 * IRQ_ROUTE_MAX - 1 bytes.  Context: any; one call at a time for a vector.  Cost: linear in the
 * text.  Panics on a number that is no vector. */
#define IRQ_ROUTE_MAX 48 /* bytes, the end included */
void irq_set_route(unsigned vector, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Counts an interrupt and calls its handler: what the port calls.  Context: in an interrupt,
 * interrupts off.  Cost: constant, and the handler's.  Returns false if the vector isn't handed
 * out. */
bool irq_handle(unsigned vector);

/* Inspect */

struct irq_info {
	unsigned vector;
	const char *name;
	char route[IRQ_ROUTE_MAX];
	uint64_t count; /* on all cores, since the vector was handed out */
};

/* Fills *info for the lowest vector >= `from` that is handed out; it may change meanwhile.
 * Context: any; takes no lock.  Cost: linear in vectors and in cores.  Returns false if there is
 * none. */
bool irq_next(unsigned from, struct irq_info *info);

/* How many interrupts core `core`, less than port_core_max(), has handled, of all vectors.
 * Context: any.  Cost: constant.  Panics on another core's number. */
uint64_t irq_core_count(unsigned core);

#endif
