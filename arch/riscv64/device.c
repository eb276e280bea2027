/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Devices: none but those that the machine itself uses.
 */
#include "lib/check.h"
#include "machine.h"
#include "paging.h"

uint32_t machine_pci_read(unsigned function, unsigned offset)
{
	check_pci("machine_pci_read", function, offset, 4, __builtin_return_address(0));
	return UINT32_MAX;
}

void machine_pci_write(unsigned function, unsigned offset, uint32_t value)
{
	check_pci("machine_pci_write", function, offset, 4, __builtin_return_address(0));
}

/* Another core may have kept that nothing is mapped there: its access is tried again (trap.c). */
volatile void *machine_map_device(uint64_t phys, size_t size)
{
	return paging_map_device(phys, size);
}

bool machine_message(unsigned vector, unsigned core, struct machine_message *message)
{
	check_number("machine_message", "vector", vector, MACHINE_VECTOR_FIRST, MACHINE_VECTOR_COUNT,
		__builtin_return_address(0));
	check_core("machine_message", core, __builtin_return_address(0));
	return false;
}
