/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Functions on PCI.
 */
#include "pci.h"

#include <stddef.h>

#include "irq.h"
#include "lib/check.h"
#include "machine.h"

#define FUNCTIONS_PER_BUS 256
#define BUSES 256

/* Offsets in the configuration space */
#define STATUS 0x06
#define HEADER_TYPE 0x0e
#define BARS 0x10
#define BAR_COUNT 6
#define SECONDARY_BUS 0x19 /* of a bridge */
#define CAPABILITIES 0x34

#define STATUS_CAPABILITIES 0x0010u
#define HEADER_BRIDGE 0x01
#define HEADER_MANY 0x80 /* the device has functions besides 0 */
#define VENDOR_NONE 0xffff

/* Capabilities start at 0x40 and take 4 bytes at least, so a list that is longer has a loop. */
#define CAPABILITIES_MAX ((PCI_CONFIG_SIZE - 0x40) / 4)

#define BAR_IO 0x1u
#define BAR_TYPE 0x6u
#define BAR_64 0x4u
#define BAR_FLAGS 0xfu

/* The capability of MSI-X, and an entry of its table */
#define MSIX_CONTROL 2
#define MSIX_TABLE 4
#define MSIX_SIZE 12
#define MSIX_COUNT 0x07ffu /* the number of the last entry */
#define MSIX_ENABLE 0x80000000u
#define MSIX_MASK_ALL 0x40000000u
#define MSIX_BAR 0x7u
#define ENTRY_WORDS 4 /* address low and high, data, control */
#define ENTRY_MASKED 1u

uint32_t pci_read32(unsigned function, unsigned offset)
{
	check_pci("pci_read32", function, offset, 4, __builtin_return_address(0));
	return machine_pci_read(function, offset);
}

uint16_t pci_read16(unsigned function, unsigned offset)
{
	check_pci("pci_read16", function, offset, 2, __builtin_return_address(0));
	return (uint16_t)(machine_pci_read(function, offset & ~3u) >> 8 * (offset & 2));
}

uint8_t pci_read8(unsigned function, unsigned offset)
{
	check_pci("pci_read8", function, offset, 1, __builtin_return_address(0));
	return (uint8_t)(machine_pci_read(function, offset & ~3u) >> 8 * (offset & 3));
}

/* The upper half of the register is the status, whose bits are cleared by writing ones. */
void pci_command(unsigned function, uint16_t set, uint16_t clear)
{
	uint16_t command = pci_read16(function, PCI_COMMAND);

	machine_pci_write(function, PCI_COMMAND, (uint16_t)((command | set) & ~clear));
}

/* Finding functions */

static bool is_there(unsigned function)
{
	return pci_read16(function, PCI_VENDOR) != VENDOR_NONE;
}

/* Functions 1 to 7 may only be asked for where function 0 says that there are some. */
static bool is_worth_a_look(unsigned function)
{
	unsigned first = function & ~7u;

	return function == first ||
	       (is_there(first) && (pci_read8(first, HEADER_TYPE) & HEADER_MANY));
}

/* Notes the bus behind a function that is a bridge.  Firmware gives it a higher number than the bus
 * the bridge is on, so one walk upward meets all. */
static void note_bus(unsigned function, bool has_bus[BUSES])
{
	if ((pci_read8(function, HEADER_TYPE) & ~HEADER_MANY) == HEADER_BRIDGE)
		has_bus[pci_read8(function, SECONDARY_BUS)] = true;
}

unsigned pci_next(unsigned from)
{
	bool has_bus[BUSES] = {[0] = true};

	for (unsigned f = 0; f < BUSES * FUNCTIONS_PER_BUS; f++) {
		if (!has_bus[f / FUNCTIONS_PER_BUS] || !is_worth_a_look(f) || !is_there(f))
			continue;
		if (f >= from)
			return f;
		note_bus(f, has_bus);
	}
	return PCI_NONE;
}

/* Capabilities: a byte of kind, the offset of the next, the rest */

unsigned pci_capability(unsigned function, uint8_t id, unsigned after)
{
	unsigned at;

	check_pci("pci_capability", function, after, 4, __builtin_return_address(0));
	at = pci_read8(function, after ? after + 1 : CAPABILITIES);
	if (!(pci_read16(function, STATUS) & STATUS_CAPABILITIES))
		return 0;
	for (int i = 0; i < CAPABILITIES_MAX && (at &= ~3u) != 0; i++) {
		if (pci_read8(function, at) == id)
			return at;
		at = pci_read8(function, at + 1);
	}
	return 0;
}

/* Registers */

/* The bits of a base address register that the device decodes, found by writing ones: they say how
 * large its registers are.  The function doesn't answer meanwhile. */
static uint32_t probe(unsigned function, unsigned offset)
{
	uint32_t was = pci_read32(function, offset), bits;

	machine_pci_write(function, offset, UINT32_MAX);
	bits = pci_read32(function, offset);
	machine_pci_write(function, offset, was);
	return bits;
}

/* What base address register `bar` places: its physical address, 0 if there is none, and size. */
static uint64_t bar_find(unsigned function, unsigned bar, uint64_t *size)
{
	unsigned offset = BARS + 4 * bar;
	uint32_t low = pci_read32(function, offset);
	bool is_64 = (low & BAR_TYPE) == BAR_64 && bar + 1 < BAR_COUNT;
	uint64_t mask = UINT64_MAX << 32, address = low & ~BAR_FLAGS;

	if (low & BAR_IO)
		return 0;
	pci_command(function, 0, PCI_COMMAND_MEMORY);
	mask |= probe(function, offset) & ~BAR_FLAGS;
	if (is_64) {
		address |= (uint64_t)pci_read32(function, offset + 4) << 32;
		mask = (uint64_t)probe(function, offset + 4) << 32 | (uint32_t)mask;
	}
	pci_command(function, PCI_COMMAND_MEMORY, 0);
	*size = ~mask + 1;
	return address;
}

volatile void *pci_map(unsigned function, unsigned bar, uint32_t offset, uint32_t size)
{
	uint64_t room = 0, address = bar < BAR_COUNT ? bar_find(function, bar, &room) : 0;

	if (address == 0 || offset > room || size > room - offset)
		return NULL;
	return machine_map_device(address + offset, size);
}

/* Messages */

bool pci_messages_init(struct pci_messages *m, unsigned function)
{
	unsigned at = pci_capability(function, PCI_CAPABILITY_MSIX, 0);
	uint32_t where;

	if (at == 0 || at + MSIX_SIZE > PCI_CONFIG_SIZE)
		return false;
	where = pci_read32(function, at + MSIX_TABLE);
	m->function = function;
	m->capability = at;
	m->count = (pci_read16(function, at + MSIX_CONTROL) & MSIX_COUNT) + 1;
	m->table = pci_map(function, where & MSIX_BAR, where & ~MSIX_BAR,
		m->count * ENTRY_WORDS * (uint32_t)sizeof(uint32_t));
	return m->table != NULL;
}

bool pci_messages_route(struct pci_messages *m, unsigned entry, unsigned vector, unsigned core)
{
	volatile uint32_t *words = m->table + entry * ENTRY_WORDS;
	struct machine_message message;

	if (entry >= m->count || !machine_message(vector, core, &message))
		return false;
	words[3] = ENTRY_MASKED;
	words[0] = (uint32_t)message.address;
	words[1] = (uint32_t)(message.address >> 32);
	words[2] = message.data;
	words[3] = 0;
	irq_set_route(vector, "PCI %02x:%02x.%x, message %u, to core %u", m->function >> 8,
		m->function >> 3 & 31, m->function & 7, entry, core);
	return true;
}

void pci_messages_enable(struct pci_messages *m, bool enable)
{
	uint32_t word = pci_read32(m->function, m->capability) & ~(MSIX_ENABLE | MSIX_MASK_ALL);

	machine_pci_write(m->function, m->capability, word | (enable ? MSIX_ENABLE : 0));
}
