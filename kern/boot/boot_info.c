/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The boot information of the running kernel.
 */
#include "boot.h"

#include "machine.h"

const struct boot_info *boot_info;
uint64_t boot_ticks;

unsigned boot_cores_for(const struct boot_info *info, unsigned cores)
{
	uint64_t bytes = 0, others;

	for (size_t i = 0; i < info->ram_count; i++)
		bytes += info->ram[i].size;
	if (bytes < MACHINE_MEMORY_MIN)
		return 0;
	others = (bytes - MACHINE_MEMORY_MIN) / MACHINE_CORE_MEMORY;
	return others + 1 < cores ? (unsigned)others + 1 : cores;
}
