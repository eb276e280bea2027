/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stop and reboot.
 */
#include "stop.h"

#include "machine.h"
#include "riscv.h"
#include "sbi.h"
#include "serial.h"

#define FINISHER_FAIL 0x3333u /* ends QEMU with the status in the upper half */

static volatile uint32_t *finisher;

void stop_by(volatile void *device)
{
	finisher = device;
}

static __attribute__((noreturn)) void halt_forever(void)
{
	port_irq_save();
	for (;;)
		wait_for_interrupt();
}

/* The status is as isa-debug-exit has it on x86: (code << 1) | 1, which QEMU itself doesn't end with. */
void machine_stop(int code)
{
	serial_flush();
	device_fence();
	if (finisher)
		*finisher = (((uint32_t)code << 1) | 1) << 16 | FINISHER_FAIL;
	sbi_shutdown();
	halt_forever();
}

void machine_reboot(void)
{
	serial_flush();
	sbi_reboot();
	halt_forever();
}
