/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A process has no devices.
 */
#include "lib/check.h"
#include "machine.h"

uint32_t machine_pci_read(unsigned function, unsigned offset)
{
	check_pci("machine_pci_read", function, offset, 4, __builtin_return_address(0));
	return UINT32_MAX;
}

void machine_pci_write(unsigned function, unsigned offset, uint32_t value)
{
	check_pci("machine_pci_write", function, offset, 4, __builtin_return_address(0));
}

volatile void *machine_map_device(uint64_t phys, size_t size)
{
	return NULL;
}

bool machine_message(unsigned vector, unsigned core, struct machine_message *message)
{
	check_number("machine_message", "vector", vector, MACHINE_VECTOR_FIRST, MACHINE_VECTOR_COUNT,
		__builtin_return_address(0));
	check_core("machine_message", core, __builtin_return_address(0));
	return false;
}

void machine_raise(unsigned vector)
{
	check_number("machine_raise", "vector", vector, MACHINE_VECTOR_FIRST, MACHINE_VECTOR_COUNT,
		__builtin_return_address(0));
}
