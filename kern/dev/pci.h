/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Functions on PCI: finding them, their registers, their interrupts (PCI Local Bus specification
 * 3.0, chapter 6).
 *
 *	for (unsigned f = pci_next(0); f != PCI_NONE; f = pci_next(f + 1))
 *		if (pci_read16(f, PCI_VENDOR) == 0x1af4)
 *			...
 *
 * A function is named as machine_pci_read() has it.  What a device says of itself is checked: a list
 * of capabilities ends, and registers lie inside of what the device decodes.
 *
 * Context: a thread, interrupts on; one caller at a time for a function.
 */
#ifndef SPANDREL_DEV_PCI_H
#define SPANDREL_DEV_PCI_H

#include <stdbool.h>
#include <stdint.h>

#define PCI_NONE UINT32_MAX

#define PCI_CONFIG_SIZE 256 /* bytes of the configuration space */

/* Offsets in it */
#define PCI_VENDOR 0x00
#define PCI_DEVICE 0x02
#define PCI_COMMAND 0x04

#define PCI_COMMAND_MEMORY 0x0002u /* answers to reads and writes of its registers */
#define PCI_COMMAND_MASTER 0x0004u /* reads and writes memory, messages included */

#define PCI_CAPABILITY_VENDOR 0x09
#define PCI_CAPABILITY_MSIX 0x11

/* The first function with a number >= `from` that is there, on any bus behind bridges that firmware
 * has set up; PCI_NONE: none.  Cost: linear in the functions of those buses. */
unsigned pci_next(unsigned from);

/* Reads the configuration space.  Panics if there is no such function's number, and unless the offset is a
 * multiple of the size below PCI_CONFIG_SIZE. */
uint8_t pci_read8(unsigned function, unsigned offset);
uint16_t pci_read16(unsigned function, unsigned offset);
uint32_t pci_read32(unsigned function, unsigned offset);

/* Sets and clears bits of the command register. */
void pci_command(unsigned function, uint16_t set, uint16_t clear);

/* The offset of the first capability of kind `id` behind the one at `after` (0: of all); 0: none.  The device
 * may have put it so near to the end that not all of it is there.  Panics as pci_read32() on `after`. */
unsigned pci_capability(unsigned function, uint8_t id, unsigned after);

/* Maps [offset, offset + size) of the registers that base address register `bar` places.  Returns
 * where; or NULL if it is no memory, was given no address, is smaller, or can't be mapped. */
volatile void *pci_map(unsigned function, unsigned bar, uint32_t offset, uint32_t size);

/* Messages that raise interrupts (MSI-X). */
struct pci_messages {
	unsigned function;
	unsigned capability;
	unsigned count; /* entries in the table */
	volatile uint32_t *table;
};

/* Finds the table of a function.  Returns false if it has none, or one that can't be mapped. */
bool pci_messages_init(struct pci_messages *m, unsigned function);

/* Has entry `entry` raise `vector` on core `core`.  Returns false, nothing changed, if the machine
 * can't have it so. */
bool pci_messages_route(struct pci_messages *m, unsigned entry, unsigned vector, unsigned core);

/* Lets the function send messages, or stops it. */
void pci_messages_enable(struct pci_messages *m, bool enable);

#endif
