/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a multiboot 2 loader hands over, as bytes: the boot information (Multiboot2 specification 2.0,
 * chapter 3.6).
 *
 *	uint32_t size = multiboot_size(bytes);
 *	const char *wrong = multiboot_read(bytes, size, &m);
 *	for (size_t i = 0; !wrong && i < m.map_count; i++)
 *		entry = multiboot_map_entry(&m, i);
 *
 * The bytes come from a loader, and nothing in them is trusted: no byte is read outside of what the
 * caller says is there, and none makes a function panic.  Nothing is allocated, kept or locked.  The
 * bytes may have any alignment.
 *
 * Context, of all functions: any.  Cost: linear in the bytes for multiboot_read(), else constant.
 */
#ifndef SPANDREL_MULTIBOOT_H
#define SPANDREL_MULTIBOOT_H

#include <stddef.h>
#include <stdint.h>

#include "memmap.h"

#define MULTIBOOT_MAGIC 0x36d76289u /* what the loader calls the kernel with */
#define MULTIBOOT_HEAD_SIZE 8
#define MULTIBOOT_MODULES_MAX 8

/* What the kernel uses of it.  The pointers point into the bytes. */
struct multiboot {
	const char *cmdline; /* without a final zero; "" if there is none */
	size_t cmdline_size;
	const uint8_t *map; /* multiboot_map_entry() reads it */
	size_t map_count, map_entry_size;
	struct memmap_range modules[MULTIBOOT_MODULES_MAX]; /* physical addresses */
	size_t module_count;
	size_t rsdp;	  /* where a copy of ACPI's root pointer begins among the bytes; 0: there is none */
	size_t rsdp_size; /* as much as its kind has: ACPI_RSDP_SIZE_MIN or ACPI_RSDP_SIZE */
};

/* The size that the boot information claims, in bytes.  MULTIBOOT_HEAD_SIZE bytes of it must be there. */
uint32_t multiboot_size(const void *bytes);

/* Reads the boot information in bytes[0 .. size).  Of two command lines or memory maps the later counts, of
 * root pointers the longer.  Returns NULL with *m filled in, or one plain line that says why it is refused. */
const char *multiboot_read(const void *bytes, size_t size, struct multiboot *m);

/* The i-th entry of the memory map, i being below map_count: else it panics. */
struct memmap_entry multiboot_map_entry(const struct multiboot *m, size_t i);

#endif
