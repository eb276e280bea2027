/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The port on a Linux process, hot half: one core, the main thread, and no interrupts.
 */
#ifndef SPANDREL_HOST_PORT_ARCH_H
#define SPANDREL_HOST_PORT_ARCH_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#define PORT_PAGE_SHIFT 12
#define PORT_PAGE_SIZE (1ul << PORT_PAGE_SHIFT)
#define PORT_LINE_SIZE 64

typedef int port_irq_t;

struct port_jump {
	jmp_buf registers;
};
typedef struct port_jump port_jump_t;

/* The signal mask stays as it is: no handler of this port blocks signals while it runs. */
#define port_setjmp(jump) _setjmp((jump)->registers)

static inline unsigned port_core_id(void)
{
	return 0;
}

static inline port_irq_t port_irq_save(void)
{
	return 0;
}

static inline void port_irq_restore(port_irq_t saved)
{
}

static inline bool port_in_irq(void)
{
	return false;
}

static inline bool port_in_nmi(void)
{
	return false;
}

static inline void port_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#if defined(__x86_64__)
static inline uint64_t port_ticks(void)
{
	return __builtin_ia32_rdtsc();
}
#else
static inline uint64_t port_ticks(void)
{
	uint64_t port_ns(void);

	return port_ns();
}
#endif

#endif
