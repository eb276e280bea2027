/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A port to POSIX threads that the system schedules as it likes.
 *
 * A core is a mutex: "interrupts off" is holding the one of some core, so that what is done with them off
 * is done by one thread of that core.  A thread is on the core that it holds, and else on any.
 */
#ifndef EMBED_PORT_ARCH_H
#define EMBED_PORT_ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PORT_PAGE_SHIFT 12
#define PORT_LINE_SIZE 64

#define PORT_HAS_CORES 1
#define PORT_HAS_THREADS 1
#ifndef EMBED_NO_CLOCK
#define PORT_HAS_CLOCK 1
#endif
#define PORT_HAS_WORDS 1

typedef unsigned port_irq_t; /* how many port_irq_save() are open */
typedef struct port_thread port_thread_t;

unsigned port_core_id(void);

#endif
