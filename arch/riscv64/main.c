/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The boot order of the machine.
 */
#include <stdarg.h>

#include "boot.h"
#include "clock.h"
#include "core.h"
#include "layout.h"
#include "lib/printf.h"
#include "machine.h"
#include "memory.h"
#include "paging.h"
#include "port.h"
#include "refuse.h"
#include "riscv.h"
#include "serial.h"
#include "sink.h"
#include "smp.h"
#include "stop.h"
#include "trap.h"
#include "tree.h"

static struct boot_info info = {.machine = "riscv64"};

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

/* Where the registers of a device are, by the early page tables and by the final ones; NULL: nowhere. */
static void *early_device(uint64_t phys)
{
	return phys && phys < EARLY_MAX - PORT_PAGE_SIZE ? direct_at(phys) : NULL;
}

static void *final_device(uint64_t phys)
{
	return phys ? paging_map_device(phys, PORT_PAGE_SIZE - phys % PORT_PAGE_SIZE) : NULL;
}

static void use_devices(void *(*map)(uint64_t phys))
{
	serial_use(map(machine_tree.uart), machine_tree.uart_shift);
	stop_by(map(machine_tree.finisher));
}

void boot_main(uint64_t hart, uint64_t tree, uint64_t entry_ticks) __attribute__((noreturn));

/* Called by boot.S with the hart's number, the device tree's physical address, and the time counter at
 * entry. */
void boot_main(uint64_t hart, uint64_t tree, uint64_t entry_ticks)
{
	core_init(hart);
	trap_init();
	tree_read(tree);
	clock_init(entry_ticks, machine_tree.timebase);
	info.entry_ticks = entry_ticks;
	use_devices(early_device);
	/* A page of its own: scripts/qemu leaves out what the firmware has printed. */
	kprintf("\f");
	memory_init(&info);
	use_devices(final_device);
	smp_init(&info);
	enable_interrupts();
	kernel_main(&info);
}
