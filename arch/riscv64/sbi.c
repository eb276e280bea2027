/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Calls of the firmware.
 */
#include "sbi.h"

/* Extensions, and the one function of each that is used */
#define SBI_PUT 0x01 /* of the first version: without a function's number, without a result */
#define SBI_TIME 0x54494d45
#define SBI_IPI 0x735049
#define SBI_HSM 0x48534d
#define SBI_RESET 0x53525354

#define RESET_SHUTDOWN 0
#define RESET_COLD_REBOOT 1

/* 0: done. */
static int64_t call(uint64_t extension, uint64_t first, uint64_t second, uint64_t third)
{
	register uint64_t a0 __asm__("a0") = first;
	register uint64_t a1 __asm__("a1") = second;
	register uint64_t a2 __asm__("a2") = third;
	register uint64_t a6 __asm__("a6") = 0;
	register uint64_t a7 __asm__("a7") = extension;

	__asm__ volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a6), "r"(a7) : "memory");
	return (int64_t)a0;
}

void sbi_timer_set(uint64_t ticks)
{
	call(SBI_TIME, ticks, 0, 0);
}

void sbi_send(uint64_t hart)
{
	call(SBI_IPI, 1, hart, 0);
}

bool sbi_hart_start(uint64_t hart, uint64_t address, uint64_t arg)
{
	return call(SBI_HSM, hart, address, arg) == 0;
}

void sbi_put(char byte)
{
	call(SBI_PUT, (uint8_t)byte, 0, 0);
}

void sbi_shutdown(void)
{
	call(SBI_RESET, RESET_SHUTDOWN, 0, 0);
}

void sbi_reboot(void)
{
	call(SBI_RESET, RESET_COLD_REBOOT, 0, 0);
}
