/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Instructions that C can't express.
 */
#ifndef SPANDREL_RISCV64_RISCV_H
#define SPANDREL_RISCV64_RISCV_H

#include <stdint.h>

#include "port.h"

/* In sie, sip and scause: interrupts by software, the timer. */
#define IRQ_SOFTWARE 1
#define IRQ_TIMER 5

#define STATUS_SUM 0x40000u /* of sstatus: pages marked for user mode are the kernel's to use */

#define csr_read(name)                                                                             \
	({                                                                                         \
		uint64_t value_;                                                                   \
		__asm__ volatile("csrr %0, " #name : "=r"(value_) : : "memory");                   \
		value_;                                                                            \
	})
#define csr_write(name, value)                                                                     \
	__asm__ volatile("csrw " #name ", %0" : : "r"((uint64_t)(value)) : "memory")
#define csr_set(name, bits) __asm__ volatile("csrs " #name ", %0" : : "r"((uint64_t)(bits)) : "memory")
#define csr_clear(name, bits) __asm__ volatile("csrc " #name ", %0" : : "r"((uint64_t)(bits)) : "memory")

/* Forgets all that this core's TLB holds. */
static inline void flush_all(void)
{
	__asm__ volatile("sfence.vma" : : : "memory");
}

static inline void enable_interrupts(void)
{
	csr_set(sstatus, PORT_STATUS_IRQ);
}

/* Waits until an interrupt is pending, on or off; it may return early. */
static inline void wait_for_interrupt(void)
{
	__asm__ volatile("wfi" : : : "memory");
}

/* Devices see what was written before this in order, and after it what they wrote. */
static inline void device_fence(void)
{
	__asm__ volatile("fence iorw, iorw" : : : "memory");
}

static inline uint8_t device_read8(const volatile uint8_t *at)
{
	uint8_t value = *at;

	device_fence();
	return value;
}

static inline void device_write8(volatile uint8_t *at, uint8_t value)
{
	device_fence();
	*at = value;
}

#endif
