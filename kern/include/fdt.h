/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A flattened device tree as bytes: what a firmware says of its machine (Devicetree specification 0.4,
 * chapters 2, 3 and 5).
 *
 *	const char *wrong = fdt_open(&tree, bytes, size);
 *	uint32_t cpus = fdt_find(&tree, FDT_ROOT, "cpus");
 *	for (uint32_t cpu = fdt_child(&tree, cpus); cpu != FDT_NONE; cpu = fdt_next(&tree, cpu))
 *		...
 *
 * A node is known by a number: FDT_ROOT, or what a function returned.  Every function takes FDT_NONE for a
 * node, which has no children and no properties.
 *
 * The bytes come from firmware, and nothing in them is trusted: fdt_open() reads all of the tree once, and
 * refuses one that isn't well formed, so that no function reads a byte outside of it.  None panics.  Nothing
 * is allocated, kept or locked; the tree's bytes must stay as they are while it is used.
 *
 * Context, of all functions: any.  Cost: linear in the bytes of the tree.
 */
#ifndef SPANDREL_FDT_H
#define SPANDREL_FDT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FDT_HEADER_SIZE 40
#define FDT_DEPTH_MAX 32 /* nodes within nodes */

#define FDT_ROOT 0u
#define FDT_NONE UINT32_MAX

struct fdt {
	const uint8_t *nodes, *strings, *reservations;
	uint32_t nodes_size, strings_size;
	size_t reservation_count;
};

/* A range of physical memory, or of a device's registers. */
struct fdt_range {
	uint64_t start, size;
};

/* The size in bytes that a tree claims, by the FDT_HEADER_SIZE bytes at its beginning; 0: it is no tree. */
uint32_t fdt_size(const void *header);

/* Reads the tree in bytes[0 .. size), at any address.  Returns NULL with *t filled in, or one plain line that
 * says why it is refused. */
const char *fdt_open(struct fdt *t, const void *bytes, size_t size);

/* The i-th range that must not be overwritten, by the list beside the nodes; false: there are fewer. */
bool fdt_reservation(const struct fdt *t, size_t i, struct fdt_range *range);

/* Nodes */

/* The first child of a node, and the next one of the same parent; FDT_NONE: there is none. */
uint32_t fdt_child(const struct fdt *t, uint32_t node);
uint32_t fdt_next(const struct fdt *t, uint32_t node);

/* The child that is called `name`, or `name` and an address: "memory" is memory@80000000.  FDT_NONE: there is
 * none. */
uint32_t fdt_find(const struct fdt *t, uint32_t node, const char *name);

/* A node's name, with its address; "" for the root and for FDT_NONE. */
const char *fdt_name(const struct fdt *t, uint32_t node);

/* Properties */

/* The value of a node's property, of *size bytes; NULL: there is none. */
const void *fdt_property(const struct fdt *t, uint32_t node, const char *name, uint32_t *size);

/* The same of a property that is a string, which ends within it; NULL: there is none. */
const char *fdt_string(const struct fdt *t, uint32_t node, const char *name);

/* Fills in the number that a property of 4 or of 8 bytes is; false: there is none. */
bool fdt_number(const struct fdt *t, uint32_t node, const char *name, uint64_t *number);

/* Whether `name` is one of the strings of the node's `compatible`. */
bool fdt_is_compatible(const struct fdt *t, uint32_t node, const char *name);

/* Whether the node is in use: it has no `status`, or that says so. */
bool fdt_is_enabled(const struct fdt *t, uint32_t node);

/* Fills in the i-th range of a node's `reg`, as its parent has addresses and sizes; a size of no cells is 0.
 * False: there are fewer, or either has more than 64 bits. */
bool fdt_reg(const struct fdt *t, uint32_t parent, uint32_t node, size_t i, struct fdt_range *range);

#endif
