/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's entry, and what a port hands over there.
 *
 *	static const struct boot_info info = {.cmdline = "", .ram = ram, .ram_count = 1, ...};
 *	kernel_main(&info);
 *
 * All of it is read by boot alone, on one core, and never changes afterward.
 */
#ifndef SPANDREL_BOOT_H
#define SPANDREL_BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A piece of memory that the base arena may hand out: [start, start + size) of the direct map, both
 * multiples of PORT_PAGE_SIZE, not empty, without the address 0. */
struct boot_ram {
	uintptr_t start;
	size_t size; /* bytes */
};

/* A line of the monitor's `mem`: where a part of the machine's other memory went. */
struct boot_account {
	const char *what; /* "kernel image", "firmware holes", ... */
	uint64_t bytes;
	bool is_ram; /* the memory map calls it RAM */
};

/*
 * All of this stays valid while the kernel runs.  `ram` is in ascending order, without overlaps, and
 * holds no byte of the initrd.
 * ram_total is the sum of ram[].size and of the accounts with is_ram.
 */
struct boot_info {
	const char *cmdline; /* "" if there is none */
	const struct boot_ram *ram;
	size_t ram_count;
	const struct boot_account *account;
	size_t account_count;
	const void *initrd;   /* what the loader was given for the kernel to read, by --initrd; NULL: nothing */
	size_t initrd_size;   /* bytes; 0: nothing */
	uint64_t ram_total;   /* bytes of RAM in the memory map that the firmware gave */
	uint64_t entry_ticks; /* port_ticks() when the kernel was entered */
	const char *machine;  /* one word for the boot line: "x86-64", "riscv64", "host" */
};

/* The pointer that kernel_main() was given; NULL before. */
extern const struct boot_info *boot_info;

/* port_ticks() from the kernel's entry to the start of its first ktask. */
extern uint64_t boot_ticks;

/* How many of `cores` cores the memory is enough for, so that all of boot and the monitor's commands have
 * theirs; 0: not for one.  Context: any.  Cost: linear in ram_count. */
unsigned boot_cores_for(const struct boot_info *info, unsigned cores);

/* Runs the kernel.  It ends in the monitor, or by machine_stop(), and never returns.  Context: once,
 * on the boot core, interrupts on; the port's console works and no other core runs.  Panics if no
 * piece of RAM has ARENA_BASE_PAGES_MIN pages, or memory doesn't last for boot. */
void kernel_main(const struct boot_info *info) __attribute__((noreturn));

#endif
