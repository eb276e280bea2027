/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the firmware does for the kernel (RISC-V Supervisor Binary Interface specification 1.0).
 *
 * Context: any.  Cost: the firmware's.
 */
#ifndef SPANDREL_RISCV64_SBI_H
#define SPANDREL_RISCV64_SBI_H

#include <stdbool.h>
#include <stdint.h>

/* Has this hart's timer interrupt when the time counter reaches `ticks`; UINT64_MAX: never. */
void sbi_timer_set(uint64_t ticks);

/* Raises the software interrupt of another hart. */
void sbi_send(uint64_t hart);

/* Starts a hart at a physical address, with its number in a0 and `arg` in a1; false: it can't. */
bool sbi_hart_start(uint64_t hart, uint64_t address, uint64_t arg);

/* Writes a byte to the firmware's console, if it has one. */
void sbi_put(char byte);

/* End the machine or start it again; they return if the firmware can't. */
void sbi_shutdown(void);
void sbi_reboot(void);

#endif
