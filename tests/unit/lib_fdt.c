/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Flattened device trees, made token by token, whole and broken.
 */
#include "fdt.h"

#include "lib/array.h"
#include "lib/string.h"
#include "lib/test.h"

#define NODES_MAX 1024
#define NAMES_MAX 256
#define AREA_SIZE 2048
#define HEADER_WORDS (FDT_HEADER_SIZE / 4)
#define VISITS_MAX 200 /* more than the tree has nodes, and properties of each */

/* A tree being made: its nodes, and the names of its properties. */
static uint8_t nodes[NODES_MAX];
static char names[NAMES_MAX];
static size_t nodes_size, names_size;

/* The whole tree ends where the area does, so that a sanitizer sees a read beyond it. */
static uint8_t area[AREA_SIZE];
static uint8_t *tree;
static size_t tree_size;

static void write_word(uint8_t *at, uint32_t word)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(word >> (24 - 8 * i));
}

static void put(uint32_t word)
{
	write_word(nodes + nodes_size, word);
	nodes_size += 4;
}

static void put_bytes(const void *bytes, size_t n)
{
	memcpy(nodes + nodes_size, bytes, n);
	nodes_size += n;
	while (nodes_size % 4)
		nodes[nodes_size++] = 0;
}

static void begin(const char *name)
{
	put(1);
	put_bytes(name, strlen(name) + 1);
}

static void end(void)
{
	put(2);
}

static void property(const char *name, const void *value, size_t size)
{
	put(3);
	put((uint32_t)size);
	put((uint32_t)names_size);
	put_bytes(value, size);
	memcpy(names + names_size, name, strlen(name) + 1);
	names_size += strlen(name) + 1;
}

static void property_string(const char *name, const char *value)
{
	property(name, value, strlen(value) + 1);
}

static void property_words(const char *name, const uint32_t *words, size_t n)
{
	uint8_t bytes[64];

	for (size_t i = 0; i < n; i++)
		write_word(bytes + 4 * i, words[i]);
	property(name, bytes, 4 * n);
}

#define PROPERTY_WORDS(name, ...)                                                                  \
	do {                                                                                       \
		const uint32_t words_[] = {__VA_ARGS__};                                           \
		property_words(name, words_, ARRAY_SIZE(words_));                                  \
	} while (0)

static void start(void)
{
	nodes_size = names_size = 0;
}

static void set_word(unsigned i, uint32_t word)
{
	write_word(tree + 4 * i, word);
}

/* Puts the tree together: header, one reservation and the end of their list, nodes, names. */
static void finish(void)
{
	const uint32_t reservations[8] = {0x1, 0x80000000, 0, 0x1000};
	size_t nodes_at = FDT_HEADER_SIZE + sizeof(reservations), names_at = nodes_at + nodes_size;

	tree_size = names_at + names_size;
	tree = area + sizeof(area) - tree_size;
	const uint32_t header[HEADER_WORDS] = {0xd00dfeed, (uint32_t)tree_size, (uint32_t)nodes_at,
		(uint32_t)names_at, FDT_HEADER_SIZE, 17, 16, 0, (uint32_t)names_size, (uint32_t)nodes_size};

	for (unsigned i = 0; i < HEADER_WORDS; i++)
		set_word(i, header[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(reservations); i++)
		set_word(HEADER_WORDS + i, reservations[i]);
	memcpy(tree + nodes_at, nodes, nodes_size);
	memcpy(tree + names_at, names, names_size);
}

/* A machine of two processors. */
static void make_machine(void)
{
	start();
	put(4);
	begin("");
	PROPERTY_WORDS("#address-cells", 2);
	PROPERTY_WORDS("#size-cells", 2);
	put(4);
	begin("memory@80000000");
	property_string("device_type", "memory");
	PROPERTY_WORDS("reg", 0, 0x80000000, 0, 0x10000000, 2, 0, 0, 0x1000);
	end();
	put(4);
	begin("cpus");
	PROPERTY_WORDS("#address-cells", 1);
	PROPERTY_WORDS("#size-cells", 0);
	PROPERTY_WORDS("timebase-frequency", 10000000);
	begin("cpu@0");
	PROPERTY_WORDS("reg", 7);
	end();
	begin("cpu@1");
	PROPERTY_WORDS("reg", 9);
	property_string("status", "disabled");
	end();
	end();
	begin("soc");
	begin("serial@10");
	property("compatible", "of some kind\0ns16550a", 22);
	PROPERTY_WORDS("reg", 0x10, 0x100);
	PROPERTY_WORDS("time", 1, 2);
	property("odd", "abc", 3);
	end();
	end();
	end();
	put(9);
	finish();
}

static struct fdt t;

static void open(void)
{
	CHECK(fdt_open(&t, tree, tree_size) == NULL);
}

static uint32_t count_children(uint32_t node)
{
	uint32_t n = 0;

	for (node = fdt_child(&t, node); node != FDT_NONE; node = fdt_next(&t, node))
		n++;
	return n;
}

TEST("device tree: nodes are found by name, with and without an address")
{
	uint32_t cpus;

	make_machine();
	open();
	cpus = fdt_find(&t, FDT_ROOT, "cpus");
	CHECK_EQ(count_children(FDT_ROOT), 3);
	CHECK_EQ(count_children(cpus), 2);
	CHECK_STR(fdt_name(&t, fdt_find(&t, FDT_ROOT, "memory")), "memory@80000000");
	CHECK_STR(fdt_name(&t, fdt_find(&t, cpus, "cpu@1")), "cpu@1");
	CHECK_EQ(fdt_find(&t, FDT_ROOT, "mem"), FDT_NONE);
	CHECK_EQ(fdt_find(&t, FDT_ROOT, "cpu"), FDT_NONE);
	CHECK_EQ(count_children(fdt_find(&t, cpus, "cpu@0")), 0);
	CHECK_EQ(fdt_next(&t, FDT_ROOT), FDT_NONE);
	CHECK_EQ(fdt_child(&t, FDT_NONE), FDT_NONE);
	CHECK_EQ(fdt_next(&t, FDT_NONE), FDT_NONE);
	CHECK_STR(fdt_name(&t, FDT_NONE), "");
}

TEST("device tree: properties are numbers, strings, lists of strings, or not there")
{
	uint32_t cpus, serial, size;
	uint64_t number = 3;

	make_machine();
	open();
	cpus = fdt_find(&t, FDT_ROOT, "cpus");
	serial = fdt_child(&t, fdt_find(&t, FDT_ROOT, "soc"));
	CHECK(fdt_number(&t, cpus, "timebase-frequency", &number));
	CHECK_EQ(number, 10000000);
	CHECK(fdt_number(&t, serial, "time", &number));
	CHECK_EQ(number, 0x100000002);
	CHECK(!fdt_number(&t, serial, "odd", &number));
	CHECK(!fdt_number(&t, FDT_ROOT, "timebase-frequency", &number));
	CHECK_EQ(number, 0x100000002);
	CHECK_STR(fdt_string(&t, fdt_find(&t, FDT_ROOT, "memory"), "device_type"), "memory");
	CHECK(!fdt_string(&t, serial, "odd"));
	CHECK(fdt_property(&t, serial, "odd", &size) != NULL);
	CHECK_EQ(size, 3);
	CHECK(!fdt_property(&t, FDT_NONE, "odd", &size));
	CHECK(fdt_is_compatible(&t, serial, "ns16550a"));
	CHECK(fdt_is_compatible(&t, serial, "of some kind"));
	CHECK(!fdt_is_compatible(&t, serial, "ns16550"));
	CHECK(!fdt_is_compatible(&t, cpus, "ns16550"));
	CHECK(fdt_is_enabled(&t, serial));
	CHECK(!fdt_is_enabled(&t, fdt_find(&t, cpus, "cpu@1")));
}

TEST("device tree: ranges have their parent's cells, and none above 64 bits")
{
	uint32_t memory, cpus, soc;
	struct fdt_range r;

	make_machine();
	open();
	memory = fdt_find(&t, FDT_ROOT, "memory");
	cpus = fdt_find(&t, FDT_ROOT, "cpus");
	soc = fdt_find(&t, FDT_ROOT, "soc");
	CHECK(fdt_reg(&t, FDT_ROOT, memory, 0, &r));
	CHECK(r.start == 0x80000000 && r.size == 0x10000000);
	CHECK(fdt_reg(&t, FDT_ROOT, memory, 1, &r));
	CHECK(r.start == 0x200000000 && r.size == 0x1000);
	CHECK(!fdt_reg(&t, FDT_ROOT, memory, 2, &r));
	CHECK(!fdt_reg(&t, FDT_ROOT, memory, SIZE_MAX, &r));
	CHECK(fdt_reg(&t, cpus, fdt_child(&t, cpus), 0, &r));
	CHECK(r.start == 7 && r.size == 0);
	/* Without cells of its own a parent has two and one: of that the register's two words are too few. */
	CHECK(!fdt_reg(&t, soc, fdt_child(&t, soc), 0, &r));
	CHECK(!fdt_reg(&t, FDT_ROOT, cpus, 0, &r));
	CHECK(fdt_reservation(&t, 0, &r));
	CHECK(r.start == 0x180000000 && r.size == 0x1000);
	CHECK(!fdt_reservation(&t, 1, &r));
}

static const char *open_made(void)
{
	put(9);
	finish();
	return fdt_open(&t, tree, tree_size);
}

TEST("device tree: addresses and sizes of three words aren't read")
{
	for (unsigned words = 0; words < 2; words++) {
		struct fdt_range r;

		start();
		begin("");
		PROPERTY_WORDS("#address-cells", words ? 3 : 2);
		PROPERTY_WORDS("#size-cells", words ? 2 : 3);
		begin("n");
		PROPERTY_WORDS("reg", 1, 2, 3, 4, 5);
		end();
		end();
		CHECK(open_made() == NULL);
		CHECK(!fdt_reg(&t, FDT_ROOT, fdt_child(&t, FDT_ROOT), 0, &r));
	}
}

/* Broken trees */

static bool is_in_tree(const void *p)
{
	return (const uint8_t *)p >= tree && (const uint8_t *)p < tree + tree_size;
}

/* Calls each function for the node, whatever it holds. */
static void look_at(uint32_t parent, uint32_t node)
{
	static const char *const words[] = {"reg", "compatible", "status", "odd", "time", "#address-cells"};
	struct fdt_range r;
	uint64_t number;
	uint32_t size;

	CHECK(is_in_tree(fdt_name(&t, node)));
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		const uint8_t *value = fdt_property(&t, node, words[i], &size);

		if (value)
			CHECK(value >= tree && value + size <= tree + tree_size);
		fdt_string(&t, node, words[i]);
		fdt_number(&t, node, words[i], &number);
	}
	fdt_is_compatible(&t, node, "ns16550a");
	fdt_is_enabled(&t, node);
	for (size_t i = 0; fdt_reg(&t, parent, node, i, &r); i++)
		CHECK_LT(i, tree_size);
}

static void look_below(uint32_t node, size_t *visits)
{
	for (uint32_t child = fdt_child(&t, node); child != FDT_NONE; child = fdt_next(&t, child)) {
		CHECK_LT(++*visits, VISITS_MAX);
		look_at(node, child);
		look_below(child, visits);
	}
}

/* A tree that is refused is said why; one that isn't can be read. */
static void open_and_look(size_t size)
{
	const char *wrong = fdt_open(&t, tree, size);
	struct fdt_range r;
	size_t visits = 0;

	if (wrong) {
		CHECK(*wrong);
		return;
	}
	look_at(FDT_ROOT, FDT_ROOT);
	look_below(FDT_ROOT, &visits);
	for (size_t i = 0; fdt_reservation(&t, i, &r); i++)
		CHECK_LT(i, tree_size);
}

TEST("device tree: one that ends early is refused, whatever it says of its size")
{
	for (size_t size = 0;; size++) {
		make_machine();
		if (size == tree_size)
			break;
		CHECK(fdt_open(&t, tree, size) != NULL);
		/* The bytes end where the area does. */
		memmove(area + sizeof(area) - size, tree, size);
		tree = area + sizeof(area) - size;
		tree_size = size;
		if (size >= FDT_HEADER_SIZE)
			set_word(1, (uint32_t)size);
		CHECK(fdt_open(&t, tree, size) != NULL);
	}
}

TEST("device tree: no word that is wrong leads out of it")
{
	static const uint32_t wrong[] = {0, 1, 2, 3, 4, 9, 0x7fffffff, 0x80000000, 0xfffffff0, 0xfffffff4, 0xffffffff};

	make_machine();
	for (unsigned word = 0; word < tree_size / 4; word++) {
		for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
			make_machine();
			set_word(word, wrong[i]);
			open_and_look(tree_size);
		}
	}
}

TEST("device tree: nor do several bytes that are")
{
	for (size_t n = test_ops(20000); n > 0; n--) {
		make_machine();
		for (uint64_t bytes = 1 + test_random_below(4); bytes > 0; bytes--)
			tree[test_random_below(tree_size)] = (uint8_t)test_random();
		open_and_look(tree_size);
	}
}

TEST("device tree: nodes must nest, below one root, not too deep, properties first")
{
	start();
	CHECK(open_made() != NULL);
	start();
	begin("");
	CHECK(open_made() != NULL);
	start();
	begin("");
	end();
	end();
	CHECK(open_made() != NULL);
	start();
	begin("");
	end();
	begin("");
	end();
	CHECK_STR(open_made(), "the device tree has two roots");
	start();
	begin("");
	begin("child");
	end();
	property_string("late", "");
	end();
	CHECK_STR(open_made(), "the device tree has a property outside of nodes");
	for (unsigned depth = FDT_DEPTH_MAX; depth <= FDT_DEPTH_MAX + 1; depth++) {
		start();
		for (unsigned i = 0; i < depth; i++)
			begin("n");
		for (unsigned i = 0; i < depth; i++)
			end();
		CHECK_EQ(open_made() != NULL, depth > FDT_DEPTH_MAX);
	}
}

TEST("device tree: a header of another kind or version is none")
{
	make_machine();
	CHECK_EQ(fdt_size(tree), tree_size);
	set_word(5, 16);
	CHECK_STR(fdt_open(&t, tree, tree_size), "the device tree is of another version");
	make_machine();
	set_word(6, 18);
	CHECK_STR(fdt_open(&t, tree, tree_size), "the device tree is of another version");
	make_machine();
	set_word(0, 0xd00dfeee);
	CHECK_STR(fdt_open(&t, tree, tree_size), "there is no device tree");
	CHECK_EQ(fdt_size(tree), 0);
}
