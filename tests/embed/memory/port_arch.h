/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The smallest port: memory alone, one core, and nothing ever interrupts it.
 */
#ifndef EMBED_PORT_ARCH_H
#define EMBED_PORT_ARCH_H

#ifndef EMBED_PAGE_SHIFT
#define EMBED_PAGE_SHIFT 12
#endif
#ifndef EMBED_LINE_SIZE
#define EMBED_LINE_SIZE 64
#endif
#define PORT_PAGE_SHIFT EMBED_PAGE_SHIFT
#define PORT_LINE_SIZE EMBED_LINE_SIZE

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
