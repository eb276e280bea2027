/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The boot order of the machine.
 */
#include <stdarg.h>

#include "apic.h"
#include "boot.h"
#include "clock.h"
#include "core.h"
#include "firmware.h"
#include "io_apic.h"
#include "lib/printf.h"
#include "machine.h"
#include "sink.h"
#include "memory.h"
#include "port.h"
#include "refuse.h"
#include "serial.h"
#include "smp.h"
#include "trap.h"
#include "x86.h"

static struct boot_info info = {.machine = "x86-64"};

void refuse(const char *fmt, ...)
{
	va_list ap;

	kprintf("spandrel: refused: ");
	va_start(ap, fmt);
	sink_vprintf(&console_sink, fmt, ap);
	va_end(ap);
	kprintf("\n");
	machine_stop(MACHINE_STOP_REFUSED);
}

void boot_main(uint32_t protocol, uint32_t handed, uint64_t entry_ticks) __attribute__((noreturn));

/* Called by boot.S with what handover_read() takes, and the time-stamp counter at entry. */
void boot_main(uint32_t protocol, uint32_t handed, uint64_t entry_ticks)
{
	struct memory_found found;

	core_init();
	serial_init();
	trap_init();
	clock_init(entry_ticks);
	info.entry_ticks = entry_ticks;
	found = memory_init(protocol, handed, &info);
	firmware_init(found.rsdp, found.rsdp_size);
	apic_init();
	io_apic_init();
	smp_init(found.start_page, &info);
	enable_interrupts();
	kernel_main(&info);
}
