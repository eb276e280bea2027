/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Numbers and pointers that no caller can mean: each call names what is wrong with them, before it
 * has done anything.  Those of one module alone are beside its other tests.
 */
#include "acpi.h"
#include "alarm.h"
#include "arena.h"
#include "machine.h"
#include "memmap.h"
#include "port.h"
#include "slab.h"
#include "table.h"
#include "dev/pci.h"
#include "lib/string.h"
#include "lib/test.h"

static void do_nothing(void *arg)
{
}

TEST("mistakes: a core that isn't there runs nothing")
{
	CHECK_PANICS(port_core_run(port_core_count(), do_nothing, NULL), "port_core_run of core");
	CHECK_PANICS(port_core_poke(port_core_count()), "port_core_poke of core");
	CHECK_PANICS(port_core_run(UINT32_MAX, do_nothing, NULL), "port_core_run of core 4294967295 of");
}

TEST("mistakes: a reap knows its pressures")
{
	struct kmem_cache *c = kmem_cache_create("pressed", 64, 0, 0, NULL, NULL, NULL, NULL);

	CHECK_PANICS(kmem_cache_reap(c, (enum kmem_pressure)3), "kmem_cache_reap: no such pressure: 3 (called from test_");
	CHECK_PANICS(kmem_cache_reap(c, (enum kmem_pressure)-1), "no such pressure");
	CHECK_PANICS(kmem_reap_all((enum kmem_pressure)3), "kmem_reap_all: no such pressure: 3 (called from test_");
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("mistakes: a walk over caches goes on from where it stands")
{
	struct kmem_cache *c = kmem_cache_create("alone", 64, 0, 0, NULL, NULL, NULL, NULL);

	CHECK_PANICS(kmem_cache_unpin(c), "cache alone: a walk goes on from it that doesn't stand on it");
	CHECK_PANICS(kmem_cache_next(c), "cache alone: a walk goes on from it that doesn't stand on it, 0 do (called from test_");
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("mistakes: a free of NULL is reported when the slab layer sees it, no harm done")
{
	struct kmem_cache *c = kmem_cache_create("null", 64, 0, 0, NULL, NULL, NULL, NULL);
	void *p = kmem_cache_alloc(c, MEM_WAIT);

	CHECK_PANICS((kmem_cache_free(c, NULL), kmem_cache_reap(c, KMEM_REAP_ALL)), "cache null: free of 0");
	kmem_cache_free(c, p);
	CHECK_EQ(kmem_cache_check(c, &console_sink), 0);
	CHECK_EQ(kmem_cache_destroy(c), 0);
}

TEST("mistakes: an alarm has a handler")
{
	struct alarm a;

	CHECK_PANICS(alarm_init(&a, NULL), "is readied without a handler (called from test_");
}

TEST("mistakes: a table has no more columns than it can add up")
{
	static const struct table table = {"wide", NULL, TABLE_COLUMNS_MAX + 1};
	struct table_printer t;

	CHECK_PANICS(table_begin(&t, &table, &console_sink, false), "table wide: column_count is 45, at most 44 (called from test_");
}

static const char *normalize(uint64_t page)
{
	static const struct memmap_entry entry = {0x1000, 0x10000, MEMMAP_RAM};
	struct memmap_edge work[2];
	struct memmap_range ranges[2];
	struct memmap_result result;

	return memmap_normalize(&entry, 1, NULL, 0, page, work, ranges, 2, &result);
}

TEST("mistakes: a memory map is in pages of a power of two")
{
	CHECK(!normalize(4096));
	CHECK_STR(normalize(0), "the page isn't a power of two");
	CHECK_STR(normalize(4095), "the page isn't a power of two");
	CHECK_STR(normalize(UINT64_MAX), "the page isn't a power of two");
	CHECK_STR(normalize((uint64_t)1 << 63), "the memory map has no usable page");
}

/* A header that says `length` bytes. */
static uint8_t acpi_table[64];

static const void *table_of(uint32_t length)
{
	memset(acpi_table, 0, sizeof(acpi_table));
	memcpy(acpi_table + 4, &length, sizeof(length));
	return acpi_table;
}

TEST("mistakes: what lies behind a firmware's table isn't read")
{
	CHECK_EQ(acpi_root_count(table_of(ACPI_HEADER_SIZE + 16), 8), 2);
	CHECK_EQ(acpi_root_entry(acpi_table, 8, 1), 0);
	CHECK_PANICS(acpi_root_entry(acpi_table, 8, 2), "acpi: entry 2 of 2 is asked for (called from test_");
	CHECK_PANICS(acpi_root_entry(acpi_table, 4, SIZE_MAX), "of 4 is asked for");
	CHECK_PANICS(acpi_root_count(acpi_table, 0), "acpi: addresses of 0 bytes are counted (called from test_");
	CHECK_EQ(acpi_slit_nodes(acpi_table), 0);
	CHECK_PANICS(acpi_slit_distance(acpi_table, 0, 0), "from node 0 to 0 of 0 is asked for");
}

TEST("mistakes: PCI's configuration space ends, and each read of it is aligned")
{
	CHECK_PANICS(machine_pci_read(0, 256), "machine_pci_read of offset 0x100, which isn't a multiple of 4 below 0x100");
	CHECK_PANICS(machine_pci_read(0, 2), "machine_pci_read of offset 0x2,");
	CHECK_PANICS(machine_pci_read(0, UINT32_MAX), "machine_pci_read of offset 0xffffffff,");
	CHECK_PANICS(machine_pci_read(1u << 16, 0), "machine_pci_read of function 65536, which isn't from 0 to 65535");
	CHECK_PANICS(machine_pci_write(0, 256, 0), "machine_pci_write of offset 0x100,");
	CHECK_PANICS(machine_pci_write(0, 1, 0), "machine_pci_write of offset 0x1,");
	CHECK_PANICS(machine_pci_write(PCI_NONE, 0, 0), "machine_pci_write of function 4294967295,");
	CHECK_PANICS(pci_read32(0, 6), "pci_read32 of offset 0x6, which isn't a multiple of 4");
	CHECK_PANICS(pci_read16(0, 7), "pci_read16 of offset 0x7, which isn't a multiple of 2");
	CHECK_PANICS(pci_read8(0, 256), "pci_read8 of offset 0x100, which isn't a multiple of 1");
	CHECK_PANICS(pci_capability(0, 0, 0x42), "pci_capability of offset 0x42,");
	CHECK_PANICS(pci_command(PCI_NONE, 0, 0), "of function 4294967295,");
	CHECK_EQ(pci_read8(0, 255) | pci_read16(0, 254) | pci_read32(0, 252) | machine_pci_read(0xffff, 0), UINT32_MAX);
}
