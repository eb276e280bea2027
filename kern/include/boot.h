/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a port hands to the kernel when it enters the kernel, and the kernel's entry.
 */
#ifndef SPANDREL_BOOT_H
#define SPANDREL_BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A range of memory that the base arena may hand out, by direct-map addresses.  Start and size are
 * multiples of PORT_PAGE_SIZE; the range isn't empty and doesn't contain 0. */
struct boot_ram {
	uintptr_t start;
	size_t size;
};

/* Memory that isn't in `ram`, by use; a line of the monitor's `mem`. */
struct boot_account {
	const char *what; /* "kernel image", "firmware holes", ... */
	uint64_t bytes;
	bool is_ram; /* it is a part of ram_total */
};

/*
 * Everything here stays valid while the kernel runs.  `ram` ascends, without overlaps.
 * ram_total == the sum of ram[].size + the sum of the accounts with is_ram, in bytes.
 */
struct boot_info {
	const char *cmdline; /* "" if there is none */
	const struct boot_ram *ram;
	size_t ram_count;
	const struct boot_account *account;
	size_t account_count;
	uint64_t ram_total;   /* bytes of RAM in the memory map as the firmware gave it */
	uint64_t entry_ticks; /* port_ticks() when the kernel was entered */
	const char *machine;  /* a word for the boot line: "x86-64", "host" */
};

/* The pointer that the running kernel was entered with. */
extern const struct boot_info *boot_info;

/* Enters the kernel.  The console works, one core runs, interrupts are on.  Never returns: the
 * kernel runs the monitor, and ends by port_stop(). */
void kernel_main(const struct boot_info *info) __attribute__((noreturn));

#endif
