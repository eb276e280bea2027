/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The port of a kernel with one core that takes interrupts.
 */
#ifndef EMBED_PORT_ARCH_H
#define EMBED_PORT_ARCH_H

#include <stdint.h>

#define PORT_PAGE_SHIFT 12
#define PORT_LINE_SIZE 64

typedef uint64_t port_irq_t; /* rflags */

static inline port_irq_t port_irq_save(void)
{
	port_irq_t was;

	__asm__ volatile("pushfq\n\tpopq %0\n\tcli" : "=r"(was) : : "memory");
	return was;
}

static inline void port_irq_restore(port_irq_t saved)
{
	if (saved & 0x200)
		__asm__ volatile("sti" : : : "memory");
}

static inline unsigned port_core_id(void)
{
	return 0;
}

#endif
