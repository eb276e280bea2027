/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A port to a model of a preemptible kernel (main.c), with several cores and without threads for the
 * subsystem to sleep in.
 */
#ifndef EMBED_PORT_ARCH_H
#define EMBED_PORT_ARCH_H

#define PORT_PAGE_SHIFT 12
#define PORT_LINE_SIZE 64
#define PORT_HAS_CORES 1

typedef int port_irq_t; /* whether interrupts were off */

unsigned port_core_id(void);

#endif
