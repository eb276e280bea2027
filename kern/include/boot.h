/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a port hands the kernel when it enters it, and the kernel's entry.
 */
#ifndef SPANDREL_BOOT_H
#define SPANDREL_BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A piece of memory the base arena may hand out: addresses as the kernel sees them (direct map),
 * both multiples of PORT_PAGE_SIZE, never empty, never containing 0. */
struct boot_ram {
	uintptr_t start;
	size_t size;
};

/* One line of the account `mem` gives: where the rest of the machine's memory went. */
struct boot_account {
	const char *what; /* "kernel image", "firmware holes", ... */
	uint64_t bytes;
	bool is_ram; /* counted in what the memory map calls RAM */
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
	const char *machine;  /* one word for the boot line: "x86-64", "host" */
};

/* The running kernel's own copy of the pointer it was entered with. */
extern const struct boot_info *boot_info;

/* Enters the kernel: console works, one core runs, interrupts are on.  Never returns: it ends in
 * the monitor, or through port_stop(). */
void kernel_main(const struct boot_info *info) __attribute__((noreturn));

#endif
