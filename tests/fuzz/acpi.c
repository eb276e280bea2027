/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ACPI tables: any bytes are refused by a plain line, or read, and none outside of them.
 */
#include "acpi.h"

#include <stdlib.h>

#include "fuzz.h"
#include "lib/string.h"

/* Has bytes[0 .. size) add up to 0 by the byte at `at`. */
static void add_up(uint8_t *bytes, size_t size, size_t at)
{
	uint8_t sum = 0;

	bytes[at] = 0;
	for (size_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + bytes[i]);
	bytes[at] = (uint8_t)-sum;
}

/* The input has the choice of sums and signatures that are right: few random bytes have them. */
static void repair_root(uint8_t *bytes, size_t size)
{
	if (size < ACPI_RSDP_SIZE_MIN)
		return;
	memcpy(bytes, ACPI_RSDP_SIGNATURE, 8);
	add_up(bytes, ACPI_RSDP_SIZE_MIN, 8);
	if (size >= ACPI_RSDP_SIZE)
		add_up(bytes, ACPI_RSDP_SIZE, 32);
}

static void read_root(const uint8_t *bytes, size_t size)
{
	struct acpi_root root = {0, 0};
	const char *wrong = acpi_rsdp(bytes, size, &root);

	if (wrong)
		ASSERT(fuzz_is_plain(wrong));
	else
		ASSERT(root.entry_size == 4 || root.entry_size == 8);
}

static void read_roots(const void *table, unsigned entry_size)
{
	size_t count = acpi_root_count(table, entry_size);

	ASSERT(count * entry_size <= acpi_length(table) - ACPI_HEADER_SIZE);
	for (size_t i = 0; i < count; i++)
		ASSERT(entry_size == 8 || acpi_root_entry(table, 4, i) <= UINT32_MAX);
	FUZZ_PANICS(acpi_root_entry(table, entry_size, count));
}

/* Whether the walk has ended as it must. */
static void check_end(const struct acpi_cursor *c, const uint8_t *table)
{
	ASSERT(c->at == table + acpi_length(table));
	ASSERT(!c->wrong || fuzz_is_plain(c->wrong));
}

static void read_madt(const uint8_t *table)
{
	struct acpi_madt_entry e;
	struct acpi_cursor c;
	uint32_t address = acpi_madt_begin(&c, table);

	ASSERT(!c.wrong || address == 0);
	while (acpi_madt_next(&c, &e)) {
		ASSERT(e.kind <= ACPI_LOCAL_APIC_ADDRESS);
		ASSERT(!(e.kind == ACPI_IO_APIC && e.address > UINT32_MAX));
	}
	check_end(&c, table);
	ASSERT(!acpi_madt_next(&c, &e));
}

static void read_srat(const uint8_t *table)
{
	struct acpi_srat_entry e;
	struct acpi_cursor c;

	acpi_srat_begin(&c, table);
	while (acpi_srat_next(&c, &e))
		ASSERT(e.is_memory || (e.start == 0 && e.size == 0));
	check_end(&c, table);
	ASSERT(!acpi_srat_next(&c, &e));
}

static void read_slit(const uint8_t *table)
{
	size_t nodes = acpi_slit_nodes(table);

	ASSERT(nodes * nodes <= acpi_length(table));
	for (size_t i = 0; i < nodes; i++)
		for (size_t j = 0; j < nodes; j++)
			ASSERT(acpi_slit_distance(table, i, j) <= UINT8_MAX);
	FUZZ_PANICS(acpi_slit_distance(table, nodes, 0));
}

static void read_table(const uint8_t *table, size_t size)
{
	const char *wrong = acpi_check(table, size);

	if (wrong) {
		ASSERT(fuzz_is_plain(wrong));
		return;
	}
	ASSERT(acpi_length(table) >= ACPI_HEADER_SIZE && acpi_length(table) <= size);
	read_roots(table, 4);
	read_roots(table, 8);
	read_madt(table);
	read_srat(table);
	read_slit(table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	unsigned how = fuzz_byte(&in);
	uint8_t *bytes = fuzz_copy(in.at, in.left);

	if (how & 1) {
		if (how & 2)
			repair_root(bytes, in.left);
		read_root(bytes, in.left);
	} else {
		if (how & 2 && in.left >= ACPI_HEADER_SIZE) {
			for (unsigned i = 0; i < 4; i++)
				bytes[4 + i] = (uint8_t)(in.left >> 8 * i);
			add_up(bytes, in.left, 9);
		}
		read_table(bytes, in.left);
	}
	free(bytes);
	return 0;
}
