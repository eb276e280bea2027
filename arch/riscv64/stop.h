/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end of the machine.
 */
#ifndef SPANDREL_RISCV64_STOP_H
#define SPANDREL_RISCV64_STOP_H

#include <stdint.h>

/* From now on machine_stop() writes to the device whose registers are mapped at `finisher`, which ends QEMU
 * with a code; NULL: there is none, and the firmware ends the machine without a code. */
void stop_by(volatile void *finisher);

#endif
