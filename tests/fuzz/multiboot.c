/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A multiboot loader's information: any bytes are refused by a plain line, or read, and none outside of them.
 */
#include "multiboot.h"

#include <stdlib.h>

#include "acpi.h"
#include "fuzz.h"
#include "lib/string.h"

static bool is_inside(const void *part, size_t part_size, const uint8_t *bytes, size_t size)
{
	uintptr_t from = (uintptr_t)part, begin = (uintptr_t)bytes;

	return from >= begin && from - begin <= size && part_size <= size - (from - begin);
}

static void check_read(const struct multiboot *m, const uint8_t *bytes, size_t size)
{
	ASSERT(m->cmdline_size == 0 || is_inside(m->cmdline, m->cmdline_size + 1, bytes, size));
	ASSERT(strlen(m->cmdline) == m->cmdline_size);
	ASSERT(m->map_count > 0 && is_inside(m->map, m->map_count * m->map_entry_size, bytes, size));
	for (size_t i = 0; i < m->map_count; i++) {
		struct memmap_entry e = multiboot_map_entry(m, i);

		ASSERT(memcmp(&e.start, m->map + i * m->map_entry_size, sizeof(e.start)) == 0);
	}
	FUZZ_PANICS(multiboot_map_entry(m, m->map_count));
	ASSERT(m->module_count <= MULTIBOOT_MODULES_MAX);
	for (size_t i = 0; i < m->module_count; i++)
		ASSERT(m->modules[i].start + m->modules[i].size <= UINT32_MAX);
	ASSERT(m->rsdp_size == 0 || m->rsdp_size == ACPI_RSDP_SIZE_MIN || m->rsdp_size == ACPI_RSDP_SIZE);
	ASSERT(m->rsdp_size == 0 || is_inside(bytes + m->rsdp, m->rsdp_size, bytes, size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	bool has_size = fuzz_byte(&in) & 1;
	uint8_t *bytes = fuzz_copy(in.at, in.left);
	struct multiboot m;
	const char *wrong;

	for (unsigned i = 0; has_size && i < 4 && i < in.left; i++)
		bytes[i] = (uint8_t)(in.left >> 8 * i);
	wrong = multiboot_read(bytes, in.left, &m);
	if (wrong)
		ASSERT(fuzz_is_plain(wrong));
	else
		check_read(&m, bytes, multiboot_size(bytes));
	free(bytes);
	return 0;
}
