/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The console's serial line: a 16550, which is polled.
 */
#ifndef SPANDREL_RISCV64_SERIAL_H
#define SPANDREL_RISCV64_SERIAL_H

#include <stdint.h>

/* From now on the device is that whose registers are mapped at `base`, 1 << shift bytes apart, as the firmware
 * has set it.  NULL: there is none; output goes to the firmware's console, and input is closed. */
void serial_use(volatile void *base, unsigned shift);

/* Looks for input that somebody waits for.  Context: interrupts off, in an interrupt. */
void serial_look(void);

/* Waits until the device has sent what it holds.  Context: any.  Cost: bounded in time. */
void serial_flush(void);

#endif
