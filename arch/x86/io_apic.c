/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * I/O APICs: an index register selects what the window register shows; each input has two words.
 */
#include "io_apic.h"

#include <stddef.h>

#include "firmware.h"
#include "irq.h"
#include "acpi.h"
#include "lib/printf.h"
#include "sink.h"
#include "paging.h"

#define SELECT 0x00
#define WINDOW 0x10
#define REGISTERS_SIZE 0x20

#define REG_VERSION 0x01 /* bits 16 to 23: the number of the last input */
#define REG_INPUTS 0x10	 /* two words each: low, high */

#define INPUT_ACTIVE_LOW (1u << 13)
#define INPUT_LEVEL (1u << 15)
#define INPUT_MASKED (1u << 16)

struct io_apic {
	volatile uint8_t *registers;
	uint32_t gsi;	 /* of its first input */
	uint32_t inputs; /* how many it has */
};

static struct io_apic io_apics[IO_APICS_MAX];
static unsigned io_apic_count;

static uint32_t read_register(const struct io_apic *a, uint32_t reg)
{
	*(volatile uint32_t *)(a->registers + SELECT) = reg;
	return *(volatile uint32_t *)(a->registers + WINDOW);
}

static void write_register(const struct io_apic *a, uint32_t reg, uint32_t value)
{
	*(volatile uint32_t *)(a->registers + SELECT) = reg;
	*(volatile uint32_t *)(a->registers + WINDOW) = value;
}

/* Masks the input first, so that old and new words are never in force together. */
static void set_input(const struct io_apic *a, uint32_t input, unsigned apic, uint32_t low)
{
	write_register(a, REG_INPUTS + 2 * input, INPUT_MASKED);
	write_register(a, REG_INPUTS + 2 * input + 1, (uint32_t)apic << 24);
	write_register(a, REG_INPUTS + 2 * input, low);
}

void io_apic_init(void)
{
	for (unsigned i = 0; i < firmware.io_apic_count; i++) {
		struct io_apic *a = &io_apics[io_apic_count];

		a->registers = paging_map_device(firmware.io_apics[i].address, REGISTERS_SIZE);
		if (!a->registers) {
			kprintf("apic: an I/O APIC's registers are out of reach: left out\n");
			continue;
		}
		a->gsi = firmware.io_apics[i].gsi;
		a->inputs = (read_register(a, REG_VERSION) >> 16 & 0xff) + 1;
		for (uint32_t input = 0; input < a->inputs; input++)
			set_input(a, input, 0, INPUT_MASKED);
		io_apic_count++;
	}
}

static const struct io_apic *find(uint32_t gsi)
{
	for (unsigned i = 0; i < io_apic_count; i++) {
		if (gsi - io_apics[i].gsi < io_apics[i].inputs)
			return &io_apics[i];
	}
	return NULL;
}

bool io_apic_route_isa(unsigned irq, unsigned vector, unsigned apic)
{
	const struct firmware_isa *isa = &firmware.isa[irq];
	const struct io_apic *a = find(isa->gsi);
	uint32_t low = vector;

	if (!a)
		return false;
	if ((isa->flags & ACPI_POLARITY) == ACPI_ACTIVE_LOW)
		low |= INPUT_ACTIVE_LOW;
	if ((isa->flags & ACPI_TRIGGER) == ACPI_LEVEL)
		low |= INPUT_LEVEL;
	set_input(a, isa->gsi - a->gsi, apic, low);
	irq_set_route(vector, "I/O APIC %u, input %u, to APIC %u", (unsigned)(a - io_apics),
		isa->gsi - a->gsi, apic);
	return true;
}
