/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ACPI tables, made byte by byte, whole and broken.
 */
#include "acpi.h"

#include "lib/string.h"
#include "lib/test.h"

#define TABLE_MAX 512

/* A table being made, with a margin of bytes around it that no reader may use. */
static uint8_t table[TABLE_MAX];
static size_t table_size;

static void put(uint64_t value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		table[table_size++] = (uint8_t)(value >> 8 * i);
}

static void set(size_t at, uint64_t value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		table[at + i] = (uint8_t)(value >> 8 * i);
}

static void begin(const char *signature)
{
	memset(table, 0xcc, sizeof(table));
	table_size = 0;
	for (size_t i = 0; i < 4; i++)
		put((uint8_t)signature[i], 1);
	while (table_size < ACPI_HEADER_SIZE)
		put(0, 1);
}

/* Makes table[from .. from + size) add up by the byte at `at`. */
static void add_up(size_t from, size_t size, size_t at)
{
	uint8_t sum = 0;

	table[at] = 0;
	for (size_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + table[from + i]);
	table[at] = (uint8_t)-sum;
}

static void end(void)
{
	set(4, table_size, 4);
	add_up(0, table_size, 9);
}

/* The root pointer */

static void make_rsdp(unsigned revision, uint32_t rsdt, uint64_t xsdt)
{
	memset(table, 0, sizeof(table));
	memcpy(table, ACPI_RSDP_SIGNATURE, 8);
	table[15] = (uint8_t)revision;
	set(16, rsdt, 4);
	set(20, ACPI_RSDP_SIZE, 4);
	set(24, xsdt, 8);
	add_up(0, ACPI_RSDP_SIZE_MIN, 8);
	add_up(0, ACPI_RSDP_SIZE, 32);
}

TEST("acpi: the root pointer gives the RSDT, or the XSDT if it is of that kind")
{
	struct acpi_root root;

	make_rsdp(0, 0x1000, 0x2000);
	CHECK(acpi_rsdp(table, ACPI_RSDP_SIZE_MIN, &root) == NULL);
	CHECK_EQ(root.address, 0x1000);
	CHECK_EQ(root.entry_size, 4);
	make_rsdp(2, 0x1000, 0x123456789000);
	CHECK(acpi_rsdp(table, ACPI_RSDP_SIZE, &root) == NULL);
	CHECK_EQ(root.address, 0x123456789000);
	CHECK_EQ(root.entry_size, 8);
	make_rsdp(2, 0x1000, 0);
	CHECK(acpi_rsdp(table, ACPI_RSDP_SIZE, &root) == NULL);
	CHECK_EQ(root.address, 0x1000);
}

TEST("acpi: a root pointer that is cut off, unsigned or doesn't add up is refused")
{
	struct acpi_root root;

	make_rsdp(2, 0x1000, 0x2000);
	CHECK_STR(acpi_rsdp(table, ACPI_RSDP_SIZE_MIN - 1, &root), "the root pointer is cut off");
	CHECK_STR(acpi_rsdp(table, ACPI_RSDP_SIZE - 1, &root), "the root pointer is cut off");
	table[30] ^= 1;
	CHECK_STR(acpi_rsdp(table, ACPI_RSDP_SIZE, &root),
		"the root pointer's extended checksum is wrong");
	table[17] ^= 1;
	CHECK_STR(acpi_rsdp(table, ACPI_RSDP_SIZE, &root), "the root pointer's checksum is wrong");
	table[0] = 'r';
	CHECK_STR(acpi_rsdp(table, ACPI_RSDP_SIZE, &root), "no root pointer there");
	make_rsdp(2, 0x1000, 0x2000);
	set(20, ACPI_RSDP_SIZE_MIN, 4);
	CHECK_STR(acpi_rsdp(table, ACPI_RSDP_SIZE, &root), "the root pointer is cut off");
}

/* Tables */

TEST("acpi: a table must have its bytes, and they must add up")
{
	begin("TEST");
	put(0x1234567812345678, 8);
	end();
	CHECK(acpi_is(table, "TEST"));
	CHECK(!acpi_is(table, "TESU"));
	CHECK(acpi_check(table, table_size) == NULL);
	CHECK(acpi_check(table, sizeof(table)) == NULL);
	CHECK_STR(acpi_check(table, table_size - 1), "it is longer than what can be read");
	CHECK_STR(acpi_check(table, ACPI_HEADER_SIZE - 1), "it is shorter than its header");
	for (size_t i = 8; i < table_size; i++) {
		table[i] ^= 0x10;
		CHECK_STR(acpi_check(table, table_size), "its checksum is wrong");
		table[i] ^= 0x10;
	}
	set(4, ACPI_HEADER_SIZE - 1, 4);
	CHECK_STR(acpi_check(table, table_size), "it is shorter than its header");
	set(4, UINT32_MAX, 4);
	CHECK_STR(acpi_check(table, table_size), "it is longer than what can be read");
}

TEST("acpi: the table of tables counts whole addresses only")
{
	begin("XSDT");
	put(0x1111, 8);
	put(0x222222222222, 8);
	put(0x33, 4);
	end();
	CHECK_EQ(acpi_root_count(table, 8), 2);
	CHECK_EQ(acpi_root_entry(table, 8, 0), 0x1111);
	CHECK_EQ(acpi_root_entry(table, 8, 1), 0x222222222222);
	CHECK_EQ(acpi_root_count(table, 4), 5);
	CHECK_EQ(acpi_root_entry(table, 4, 4), 0x33);
}

/* MADT */

static void begin_madt(void)
{
	begin("APIC");
	put(0xfee00000, 4);
	put(1, 4);
}

static void put_local_apic(unsigned processor, unsigned apic, unsigned flags)
{
	put(0, 1);
	put(8, 1);
	put(processor, 1);
	put(apic, 1);
	put(flags, 4);
}

static void put_rest(void)
{
	/* I/O APIC 2 at 0xfec00000, from input 24 on */
	put(0x0c01, 2);
	put(2, 2);
	put(0xfec00000, 4);
	put(24, 4);
	/* a kind that doesn't exist, 7 bytes */
	put(0x077f, 2);
	put(0, 5);
	/* ISA interrupt 9 to input 20, low, level */
	put(0x0a02, 2);
	put(0, 1);
	put(9, 1);
	put(20, 4);
	put(0xf, 2);
	/* NMIs on input 1 of all */
	put(0x0604, 2);
	put(0xff, 1);
	put(0x5, 2);
	put(1, 1);
	/* the local APICs, beyond 4 GiB */
	put(0x0c05, 2);
	put(0, 2);
	put(0x12fee00000, 8);
	/* x2APIC 300 of processor 7 */
	put(0x1009, 2);
	put(0, 2);
	put(300, 4);
	put(1, 4);
	put(7, 4);
}

TEST("acpi: a MADT's entries come in order, each with what it says")
{
	struct acpi_cursor c;
	struct acpi_madt_entry e;

	begin_madt();
	put_local_apic(1, 0, 1);
	put_local_apic(2, 4, 2);
	put_rest();
	end();
	CHECK_EQ(acpi_madt_begin(&c, table), 0xfee00000);
	CHECK(acpi_madt_next(&c, &e));
	CHECK_EQ(e.kind, ACPI_LOCAL_APIC);
	CHECK_EQ(e.processor, 1);
	CHECK_EQ(e.apic, 0);
	CHECK(e.enabled && !e.can_come);
	CHECK(acpi_madt_next(&c, &e));
	CHECK_EQ(e.apic, 4);
	CHECK(!e.enabled && e.can_come);
	CHECK(acpi_madt_next(&c, &e));
	CHECK_EQ(e.kind, ACPI_IO_APIC);
	CHECK_EQ(e.apic, 2);
	CHECK_EQ(e.address, 0xfec00000);
	CHECK_EQ(e.gsi, 24);
	CHECK(acpi_madt_next(&c, &e));
	CHECK_EQ(e.kind, ACPI_OVERRIDE);
	CHECK_EQ(e.source, 9);
	CHECK_EQ(e.gsi, 20);
	CHECK_EQ(e.flags, ACPI_ACTIVE_LOW | ACPI_LEVEL);
	CHECK(acpi_madt_next(&c, &e));
	CHECK_EQ(e.kind, ACPI_LOCAL_NMI);
	CHECK_EQ(e.processor, ACPI_ALL_PROCESSORS);
	CHECK_EQ(e.flags, 0x5);
	CHECK_EQ(e.lint, 1);
	CHECK(acpi_madt_next(&c, &e));
	CHECK_EQ(e.kind, ACPI_LOCAL_APIC_ADDRESS);
	CHECK_EQ(e.address, 0x12fee00000);
	CHECK(acpi_madt_next(&c, &e));
	CHECK_EQ(e.kind, ACPI_LOCAL_APIC);
	CHECK_EQ(e.apic, 300);
	CHECK_EQ(e.processor, 7);
	CHECK(!acpi_madt_next(&c, &e));
	CHECK(c.wrong == NULL);
}

/* How many entries the walk gives before it ends. */
static size_t walk_madt(const char **wrong)
{
	struct acpi_cursor c;
	struct acpi_madt_entry e;
	size_t n = 0;

	acpi_madt_begin(&c, table);
	while (acpi_madt_next(&c, &e))
		n++;
	CHECK(!acpi_madt_next(&c, &e));
	*wrong = c.wrong;
	return n;
}

TEST("acpi: an entry of length 0, 1 or beyond the table ends the walk, not the reader")
{
	static const uint8_t lengths[] = {0, 1, 9, 255};
	const char *wrong;

	for (size_t i = 0; i < sizeof(lengths); i++) {
		begin_madt();
		put_local_apic(1, 0, 1);
		put_local_apic(2, 1, 1);
		table[table_size - 7] = lengths[i];
		end();
		CHECK_EQ(walk_madt(&wrong), 1);
		CHECK_STR(wrong, "an entry's length is wrong");
	}
}

TEST("acpi: an entry shorter than its type ends the walk, and so does a single byte")
{
	const char *wrong;

	begin_madt();
	put_local_apic(1, 0, 1);
	put(0x0700, 2);
	put(0, 5);
	end();
	CHECK_EQ(walk_madt(&wrong), 1);
	CHECK_STR(wrong, "an entry is too short for its type");
	begin_madt();
	put_local_apic(1, 0, 1);
	put(0, 1);
	end();
	CHECK_EQ(walk_madt(&wrong), 1);
	CHECK_STR(wrong, "an entry's length is wrong");
}

TEST("acpi: a table that ends before its entries has none")
{
	const char *wrong;

	begin("APIC");
	put(0, 7);
	end();
	CHECK_EQ(walk_madt(&wrong), 0);
	CHECK_STR(wrong, "it ends before its entries");
	begin_madt();
	end();
	CHECK_EQ(walk_madt(&wrong), 0);
	CHECK(wrong == NULL);
}

TEST("acpi: a MADT cut off anywhere gives a beginning of what it gave whole")
{
	const char *wrong;
	size_t whole, size;

	begin_madt();
	put_local_apic(1, 0, 1);
	put_rest();
	end();
	whole = walk_madt(&wrong);
	for (size = table_size; size >= ACPI_HEADER_SIZE; size--) {
		set(4, size, 4);
		CHECK_LE(walk_madt(&wrong), whole);
	}
}

TEST("acpi: random bytes for entries lead nowhere outside of the table")
{
	for (size_t ops = test_ops(20000); ops > 0; ops--) {
		struct acpi_cursor c;
		struct acpi_srat_entry s;
		struct acpi_madt_entry m;
		size_t n = test_random_below(100);

		begin("APIC");
		for (size_t i = 0; i < n; i++)
			put(test_random_below(2) ? test_random() & 0xff : test_random_below(13), 1);
		end();
		acpi_madt_begin(&c, table);
		while (acpi_madt_next(&c, &m))
			CHECK(c.at <= table + table_size);
		CHECK(c.at == table + table_size);
		acpi_srat_begin(&c, table);
		while (acpi_srat_next(&c, &s))
			CHECK(c.at <= table + table_size);
		CHECK(c.at == table + table_size);
		CHECK(acpi_slit_nodes(table) <= n);
	}
}

/* SRAT, SLIT */

static void begin_srat(void)
{
	begin("SRAT");
	put(1, 4);
	put(0, 8);
}

TEST("acpi: a SRAT gives the nodes of processors and memory that are in use")
{
	struct acpi_cursor c;
	struct acpi_srat_entry e;

	begin_srat();
	/* processor with APIC 5: node 0x020101 */
	put(0x1000, 2);
	put(0x01, 1);
	put(5, 1);
	put(1, 4);
	put(0, 1);
	put(0x000201, 3);
	put(0, 4);
	/* memory that isn't in use, then memory of node 3, the second one hot-pluggable */
	for (unsigned flags = 0; flags < 4; flags++) {
		put(0x2801, 2);
		put(3, 4);
		put(0, 2);
		put(0x100000000, 8);
		put(0x40000000, 8);
		put(0, 4);
		put(flags, 4);
		put(0, 8);
	}
	/* x2APIC 9: node 1 */
	put(0x1802, 2);
	put(0, 2);
	put(1, 4);
	put(9, 4);
	put(1, 4);
	put(0, 8);
	end();
	acpi_srat_begin(&c, table);
	CHECK(acpi_srat_next(&c, &e));
	CHECK(!e.is_memory);
	CHECK_EQ(e.node, 0x020101);
	CHECK_EQ(e.apic, 5);
	CHECK(acpi_srat_next(&c, &e));
	CHECK(e.is_memory);
	CHECK_EQ(e.node, 3);
	CHECK_EQ(e.start, 0x100000000);
	CHECK_EQ(e.size, 0x40000000);
	CHECK(!e.can_come);
	CHECK(acpi_srat_next(&c, &e));
	CHECK(e.is_memory && e.can_come);
	CHECK(acpi_srat_next(&c, &e));
	CHECK_EQ(e.node, 1);
	CHECK_EQ(e.apic, 9);
	CHECK(!acpi_srat_next(&c, &e));
	CHECK(c.wrong == NULL);
}

static void make_slit(uint64_t nodes, size_t bytes)
{
	begin("SLIT");
	put(nodes, 8);
	for (size_t i = 0; i < bytes; i++)
		put(10 + i, 1);
	end();
}

TEST("acpi: a SLIT has the distances of as many nodes as it has bytes for")
{
	make_slit(3, 9);
	CHECK_EQ(acpi_slit_nodes(table), 3);
	CHECK_EQ(acpi_slit_distance(table, 0, 0), 10);
	CHECK_EQ(acpi_slit_distance(table, 2, 1), 17);
	make_slit(3, 8);
	CHECK_EQ(acpi_slit_nodes(table), 0);
	make_slit(UINT64_MAX, 9);
	CHECK_EQ(acpi_slit_nodes(table), 0);
	/* Squared, it has 64 bits that are 0. */
	make_slit(1ull << 32, 9);
	CHECK_EQ(acpi_slit_nodes(table), 0);
	make_slit(0, 0);
	CHECK_EQ(acpi_slit_nodes(table), 0);
	begin("SLIT");
	end();
	CHECK_EQ(acpi_slit_nodes(table), 0);
}

TEST("acpi: a table is read at any alignment")
{
	static uint8_t crooked[TABLE_MAX + 8];
	struct acpi_root root;

	for (size_t shift = 0; shift < 8; shift++) {
		begin("XSDT");
		put(0x123456789abcdef0, 8);
		end();
		memcpy(crooked + shift, table, table_size);
		CHECK(acpi_check(crooked + shift, table_size) == NULL);
		CHECK_EQ(acpi_length(crooked + shift), table_size);
		CHECK_EQ(acpi_root_entry(crooked + shift, 8, 0), 0x123456789abcdef0);
		make_rsdp(2, 0x1000, 0x123456789000);
		memcpy(crooked + shift, table, ACPI_RSDP_SIZE);
		CHECK(acpi_rsdp(crooked + shift, ACPI_RSDP_SIZE, &root) == NULL);
		CHECK_EQ(root.address, 0x123456789000);
	}
}
