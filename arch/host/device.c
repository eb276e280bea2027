/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A process has no devices.
 */
#include "lib/check.h"
#include "machine.h"

uint32_t machine_pci_read(unsigned function, unsigned offset)
{
	return UINT32_MAX;
}

void machine_pci_write(unsigned function, unsigned offset, uint32_t value)
{
}

volatile void *machine_map_device(uint64_t phys, size_t size)
{
	return NULL;
}

bool machine_message(unsigned vector, unsigned core, struct machine_message *message)
{
	check_core("machine_message", core, __builtin_return_address(0));
	return false;
}

void machine_raise(unsigned vector)
{
}
