/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The smallest port: memory alone, one core, and nothing ever interrupts it.
 */
#ifndef EMBED_PORT_ARCH_H
#define EMBED_PORT_ARCH_H

#define PORT_PAGE_SHIFT 12
#define PORT_LINE_SIZE 64

typedef int port_irq_t;

static inline port_irq_t port_irq_save(void)
{
	return 0;
}

static inline void port_irq_restore(port_irq_t saved)
{
	(void)saved;
}

static inline unsigned port_core_id(void)
{
	return 0;
}

#endif
