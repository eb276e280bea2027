/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PCI configuration by I/O ports (PCI Local Bus specification 3.0, 3.2.2.3.2), device registers, and
 * messages that raise interrupts (Intel SDM volume 3, 11.11).
 */
#include "core.h"
#include "ipi.h"
#include "lib/check.h"
#include "machine.h"
#include "paging.h"
#include "spinlock.h"
#include "x86.h"

#define ADDRESS_PORT 0xcf8 /* a write selects what the data port shows */
#define DATA_PORT 0xcfc
#define ADDRESS_ENABLE 0x80000000u

#define MESSAGE_BASE 0xfee00000u
#define MESSAGE_APIC_SHIFT 12

static struct spinlock lock = SPINLOCK_INIT(SPIN_LEAF); /* guards the pair of ports */

static void select(unsigned function, unsigned offset)
{
	outl(ADDRESS_PORT, ADDRESS_ENABLE | function << 8 | offset);
}

uint32_t machine_pci_read(unsigned function, unsigned offset)
{
	port_irq_t irq;
	uint32_t value;

	check_pci("machine_pci_read", function, offset, 4, __builtin_return_address(0));
	irq = spin_lock(&lock);
	select(function, offset);
	value = inl(DATA_PORT);
	spin_unlock(&lock, irq);
	return value;
}

void machine_pci_write(unsigned function, unsigned offset, uint32_t value)
{
	port_irq_t irq;

	check_pci("machine_pci_write", function, offset, 4, __builtin_return_address(0));
	irq = spin_lock(&lock);
	select(function, offset);
	outl(DATA_PORT, value);
	spin_unlock(&lock, irq);
}

/* Firmware tables were mapped at these addresses before: no TLB may hold them. */
volatile void *machine_map_device(uint64_t phys, size_t size)
{
	volatile void *at = paging_map_device(phys, size);

	if (at)
		ipi_flush_until(ipi_next_flush());
	return at;
}

bool machine_message(unsigned vector, unsigned core, struct machine_message *message)
{
	check_number("machine_message", "vector", vector, MACHINE_VECTOR_FIRST, MACHINE_VECTOR_COUNT,
		__builtin_return_address(0));
	check_core("machine_message", core, __builtin_return_address(0));
	*message = (struct machine_message){
		MESSAGE_BASE | (uint32_t)cores[core]->apic << MESSAGE_APIC_SHIFT, vector};
	return true;
}
