/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Device trees: any bytes are refused by a plain line, or read, and none outside of them.
 */
#include "fdt.h"

#include <stdlib.h>

#include "fuzz.h"
#include "lib/array.h"
#include "lib/string.h"

#define NAMES "reg\0#address-cells\0#size-cells\0status\0compatible"
#define HEADER_WORDS (FDT_HEADER_SIZE / 4)

static volatile uint8_t touched;

static void touch(const void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		touched = ((const uint8_t *)bytes)[i];
}

static void write_word(uint8_t *at, uint32_t word)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(word >> (24 - 8 * i));
}

/* A tree around nodes[0 .. size), with a header that is right, one reservation, and names that are known. */
static uint8_t *build(const uint8_t *nodes, size_t size, size_t *tree_size)
{
	const uint32_t list[] = {0, 0x80000000, 0, 0x1000, 0, 0, 0, 0};
	const uint32_t nodes_at = FDT_HEADER_SIZE + sizeof(list), names_at = nodes_at + (uint32_t)size;
	const uint32_t header[HEADER_WORDS] = {0xd00dfeed, names_at + (uint32_t)sizeof(NAMES), nodes_at,
		names_at, FDT_HEADER_SIZE, 17, 16, 0, sizeof(NAMES), (uint32_t)size};
	uint8_t *tree = malloc(names_at + sizeof(NAMES));

	ASSERT(tree);
	for (unsigned i = 0; i < HEADER_WORDS; i++)
		write_word(tree + 4 * i, header[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(list); i++)
		write_word(tree + FDT_HEADER_SIZE + 4 * i, list[i]);
	memcpy(tree + nodes_at, nodes, size);
	memcpy(tree + names_at, NAMES, sizeof(NAMES));
	*tree_size = names_at + sizeof(NAMES);
	return tree;
}

static void read_properties(const struct fdt *t, uint32_t parent, uint32_t node)
{
	static const char *const names[] = {"reg", "#address-cells", "#size-cells", "status", "compatible", ""};
	struct fdt_range range;
	uint64_t number;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		uint32_t size = 0;
		const void *value = fdt_property(t, node, names[i], &size);
		const char *text = fdt_string(t, node, names[i]);

		if (value)
			touch(value, size);
		ASSERT(!text || (text == value && strlen(text) < size));
		ASSERT(fdt_number(t, node, names[i], &number) == (value && (size == 4 || size == 8)));
	}
	fdt_is_compatible(t, node, "ns16550a");
	fdt_is_enabled(t, node);
	for (size_t i = 0; fdt_reg(t, parent, node, i, &range); i++)
		ASSERT(i < t->nodes_size / 4);
}

/* Children lie in their parent, one behind the other, so the walk ends. */
static void read_node(const struct fdt *t, uint32_t parent, uint32_t node, unsigned depth)
{
	uint32_t before = node;

	ASSERT(depth <= FDT_DEPTH_MAX && node < t->nodes_size);
	touch(fdt_name(t, node), strlen(fdt_name(t, node)));
	read_properties(t, parent, node);
	for (uint32_t child = fdt_child(t, node); child != FDT_NONE; child = fdt_next(t, child)) {
		ASSERT(child > before);
		before = child;
		ASSERT(fdt_find(t, node, fdt_name(t, child)) <= child);
		read_node(t, node, child, depth + 1);
	}
}

static void read_tree(const uint8_t *bytes, size_t size)
{
	struct fdt_range range;
	struct fdt t;
	const char *wrong = fdt_open(&t, bytes, size);

	if (size >= FDT_HEADER_SIZE)
		ASSERT(wrong || fdt_size(bytes) <= size);
	if (wrong) {
		ASSERT(fuzz_is_plain(wrong));
		return;
	}
	for (size_t i = 0; i < t.reservation_count; i++)
		ASSERT(fdt_reservation(&t, i, &range));
	ASSERT(!fdt_reservation(&t, t.reservation_count, &range));
	read_node(&t, FDT_NONE, FDT_ROOT, 1);
	ASSERT(fdt_next(&t, FDT_ROOT) == FDT_NONE);
	read_properties(&t, FDT_NONE, FDT_NONE);
	ASSERT(fdt_child(&t, FDT_NONE) == FDT_NONE && fdt_next(&t, FDT_NONE) == FDT_NONE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	size_t tree_size = size ? size - 1 : 0;
	bool has_header = fuzz_byte(&in) & 1;
	uint8_t *tree = has_header ? build(in.at, in.left, &tree_size) : fuzz_copy(in.at, in.left);

	read_tree(tree, tree_size);
	free(tree);
	return 0;
}
