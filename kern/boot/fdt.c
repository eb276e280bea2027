/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Flattened device trees.
 *
 * The nodes are a row of tokens, each a multiple of 4 bytes: a node begins, with its name; a property, with
 * its value; a node ends; nothing; the row ends.  A node's number is where its first token begins, less where
 * the root's does.
 *
 * fdt_open() reads the row to its end.  What it lets pass: each token lies within the row, each name within
 * its part and ends there, nodes nest, a node's properties come before its children, one root.  So the other
 * functions read tokens without a check of their own.
 */
#include "fdt.h"

#include "lib/string.h"

#define MAGIC 0xd00dfeedu
#define VERSION_MIN 17 /* the first that gives the size of its nodes */
#define COMPATIBLE 17  /* a tree of a later kind that says it can be read so */

/* The header's words. */
enum {
	WORD_MAGIC,
	WORD_SIZE,
	WORD_NODES,
	WORD_STRINGS,
	WORD_RESERVATIONS,
	WORD_VERSION,
	WORD_COMPATIBLE,
	WORD_BOOT_CPU,
	WORD_STRINGS_SIZE,
	WORD_NODES_SIZE,
};

#define TOKEN_BEGIN 1u
#define TOKEN_END 2u
#define TOKEN_PROPERTY 3u
#define TOKEN_NOTHING 4u
#define TOKEN_LAST 9u

#define RESERVATION_SIZE 16

struct token {
	uint32_t kind, next; /* next: where the next one begins */
	const char *name;    /* of a node or a property */
	const uint8_t *value;
	uint32_t size; /* of the value */
};

static uint32_t read_u32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint64_t read_u64(const uint8_t *at)
{
	return (uint64_t)read_u32(at) << 32 | read_u32(at + 4);
}

uint32_t fdt_size(const void *header)
{
	const uint8_t *words = header;

	return read_u32(words) == MAGIC ? read_u32(words + 4 * WORD_SIZE) : 0;
}

/* Tokens */

/* The bytes of a string in from[0 .. room), its end included, as a multiple of 4; 0: it doesn't end there. */
static uint32_t padded(const char *from, uint32_t room)
{
	size_t length = strnlen(from, room);

	return length < room ? (uint32_t)(length / 4 + 1) * 4 : 0;
}

/* Reads the value and the name of a property at `at`, its first word behind the token. */
static bool read_property(const struct fdt *t, uint32_t at, struct token *k)
{
	uint32_t name;

	if (t->nodes_size - at < 8)
		return false;
	k->size = read_u32(t->nodes + at);
	name = read_u32(t->nodes + at + 4);
	k->value = t->nodes + at + 8;
	if (k->size > t->nodes_size - at - 8 || name >= t->strings_size)
		return false;
	k->name = (const char *)t->strings + name;
	k->next = at + 8 + (k->size + 3) / 4 * 4;
	return strnlen(k->name, t->strings_size - name) < t->strings_size - name && k->next <= t->nodes_size;
}

static bool read_name(const struct fdt *t, uint32_t at, struct token *k)
{
	uint32_t size;

	k->name = (const char *)t->nodes + at;
	size = padded(k->name, t->nodes_size - at);
	k->next = at + size;
	return size > 0 && k->next <= t->nodes_size;
}

/* Reads the token at `at`; false: there is none that is whole. */
static bool read_token(const struct fdt *t, uint32_t at, struct token *k)
{
	if (t->nodes_size - at < 4)
		return false;
	*k = (struct token){.kind = read_u32(t->nodes + at), .next = at + 4};
	switch (k->kind) {
	case TOKEN_BEGIN:
		return read_name(t, at + 4, k);
	case TOKEN_PROPERTY:
		return read_property(t, at + 4, k);
	default:
		return k->kind == TOKEN_END || k->kind == TOKEN_NOTHING || k->kind == TOKEN_LAST;
	}
}

/* Opening */

struct check {
	unsigned depth;
	bool may_have_property; /* no child of the innermost node has come */
	bool has_root;
	bool has_ended;
};

/* What is wrong with a token at its place, or NULL. */
static const char *check_token(struct check *c, uint32_t kind)
{
	switch (kind) {
	case TOKEN_BEGIN:
		if (c->depth == 0 && c->has_root)
			return "the device tree has two roots";
		c->has_root = true;
		c->may_have_property = true;
		return ++c->depth > FDT_DEPTH_MAX ? "the device tree is too deep" : NULL;
	case TOKEN_END:
		if (c->depth == 0)
			return "the device tree ends a node that hasn't begun";
		c->depth--;
		c->may_have_property = false;
		return NULL;
	case TOKEN_PROPERTY:
		return c->may_have_property ? NULL : "the device tree has a property outside of nodes";
	case TOKEN_LAST:
		c->has_ended = true;
		return c->depth == 0 && c->has_root ? NULL : "the device tree ends within a node";
	default:
		return NULL;
	}
}

/* What is wrong with the nodes, or NULL. */
static const char *check_nodes(const struct fdt *t)
{
	struct check c = {.depth = 0};
	struct token k = {.next = 0};

	while (!c.has_ended) {
		const char *wrong = read_token(t, k.next, &k) ? check_token(&c, k.kind) :
								"a token of the device tree can't be read";

		if (wrong)
			return wrong;
	}
	return NULL;
}

/* Has the nodes begin with the root's token: a tree may begin with tokens that are nothing. */
static void skip_to_root(struct fdt *t)
{
	struct token k;

	while (read_token(t, 0, &k) && k.kind != TOKEN_BEGIN) {
		t->nodes += k.next;
		t->nodes_size -= k.next;
	}
}

/* Counts the reservations in from[0 .. room); false: their list has no end. */
static bool count_reservations(struct fdt *t, uint32_t room)
{
	for (t->reservation_count = 0; room >= RESERVATION_SIZE; room -= RESERVATION_SIZE) {
		const uint8_t *at = t->reservations + t->reservation_count * RESERVATION_SIZE;

		if (read_u64(at) == 0 && read_u64(at + 8) == 0)
			return true;
		t->reservation_count++;
	}
	return false;
}

static bool is_within(uint32_t start, uint32_t size, uint32_t total)
{
	return start <= total && size <= total - start;
}

const char *fdt_open(struct fdt *t, const void *bytes, size_t size)
{
	const uint8_t *from = bytes;
	uint32_t words[FDT_HEADER_SIZE / 4];
	const char *wrong;

	if (size < FDT_HEADER_SIZE)
		return "the device tree ends within its header";
	for (size_t i = 0; i < FDT_HEADER_SIZE / 4; i++)
		words[i] = read_u32(from + 4 * i);
	if (words[WORD_MAGIC] != MAGIC)
		return "there is no device tree";
	if (words[WORD_SIZE] > size)
		return "the device tree is longer than its memory";
	if (words[WORD_VERSION] < VERSION_MIN || words[WORD_COMPATIBLE] > COMPATIBLE)
		return "the device tree is of another version";
	if (!is_within(words[WORD_NODES], words[WORD_NODES_SIZE], words[WORD_SIZE]) ||
		!is_within(words[WORD_STRINGS], words[WORD_STRINGS_SIZE], words[WORD_SIZE]) ||
		words[WORD_RESERVATIONS] > words[WORD_SIZE])
		return "a part of the device tree lies outside of it";
	*t = (struct fdt){.nodes = from + words[WORD_NODES],
		.strings = from + words[WORD_STRINGS],
		.reservations = from + words[WORD_RESERVATIONS],
		.nodes_size = words[WORD_NODES_SIZE],
		.strings_size = words[WORD_STRINGS_SIZE]};
	if (!count_reservations(t, words[WORD_SIZE] - words[WORD_RESERVATIONS]))
		return "the device tree's list of reservations has no end";
	wrong = check_nodes(t);
	if (!wrong)
		skip_to_root(t);
	return wrong;
}

bool fdt_reservation(const struct fdt *t, size_t i, struct fdt_range *range)
{
	const uint8_t *at = t->reservations + i * RESERVATION_SIZE;

	if (i >= t->reservation_count)
		return false;
	*range = (struct fdt_range){read_u64(at), read_u64(at + 8)};
	return true;
}

/* Nodes */

/* The node that begins at `at`, or behind what is nothing there; FDT_NONE: something else comes. */
static uint32_t node_from(const struct fdt *t, uint32_t at)
{
	struct token k = {.kind = TOKEN_LAST};

	while (read_token(t, at, &k) && k.kind == TOKEN_NOTHING)
		at = k.next;
	return k.kind == TOKEN_BEGIN ? at : FDT_NONE;
}

uint32_t fdt_child(const struct fdt *t, uint32_t node)
{
	struct token k;
	uint32_t at;

	if (node == FDT_NONE)
		return FDT_NONE;
	read_token(t, node, &k);
	do {
		at = k.next;
		read_token(t, at, &k);
	} while (k.kind == TOKEN_PROPERTY || k.kind == TOKEN_NOTHING);
	return node_from(t, at);
}

uint32_t fdt_next(const struct fdt *t, uint32_t node)
{
	struct token k = {.next = node};
	unsigned depth = 0;

	if (node == FDT_NONE)
		return FDT_NONE;
	do {
		read_token(t, k.next, &k);
		depth += k.kind == TOKEN_BEGIN;
		depth -= k.kind == TOKEN_END;
	} while (depth > 0);
	return node_from(t, k.next);
}

const char *fdt_name(const struct fdt *t, uint32_t node)
{
	struct token k = {.name = ""};

	if (node != FDT_NONE)
		read_token(t, node, &k);
	return k.name;
}

uint32_t fdt_find(const struct fdt *t, uint32_t node, const char *name)
{
	size_t length = strlen(name);

	for (node = fdt_child(t, node); node != FDT_NONE; node = fdt_next(t, node)) {
		const char *has = fdt_name(t, node);

		if (strncmp(has, name, length) == 0 && (has[length] == '\0' || has[length] == '@'))
			return node;
	}
	return FDT_NONE;
}

/* Properties */

const void *fdt_property(const struct fdt *t, uint32_t node, const char *name, uint32_t *size)
{
	struct token k;

	if (node == FDT_NONE)
		return NULL;
	read_token(t, node, &k);
	for (;;) {
		read_token(t, k.next, &k);
		if (k.kind == TOKEN_PROPERTY && strcmp(k.name, name) == 0) {
			*size = k.size;
			return k.value;
		}
		if (k.kind != TOKEN_PROPERTY && k.kind != TOKEN_NOTHING)
			return NULL;
	}
}

const char *fdt_string(const struct fdt *t, uint32_t node, const char *name)
{
	uint32_t size;
	const char *value = fdt_property(t, node, name, &size);

	return value && strnlen(value, size) < size ? value : NULL;
}

bool fdt_number(const struct fdt *t, uint32_t node, const char *name, uint64_t *number)
{
	uint32_t size;
	const uint8_t *value = fdt_property(t, node, name, &size);

	if (!value || (size != 4 && size != 8))
		return false;
	*number = size == 4 ? read_u32(value) : read_u64(value);
	return true;
}

bool fdt_is_compatible(const struct fdt *t, uint32_t node, const char *name)
{
	uint32_t size, length;
	const char *value = fdt_property(t, node, "compatible", &size);

	for (; value && (length = (uint32_t)strnlen(value, size)) < size; value += length + 1, size -= length + 1) {
		if (strcmp(value, name) == 0)
			return true;
	}
	return false;
}

bool fdt_is_enabled(const struct fdt *t, uint32_t node)
{
	uint32_t size;
	const char *status = fdt_string(t, node, "status");

	if (!status)
		return !fdt_property(t, node, "status", &size);
	return strcmp(status, "okay") == 0 || strcmp(status, "ok") == 0;
}

/* A number of `cells` words, 2 at most. */
static uint64_t read_cells(const uint8_t *at, uint64_t cells)
{
	return cells == 2 ? read_u64(at) : cells == 1 ? read_u32(at) : 0;
}

bool fdt_reg(const struct fdt *t, uint32_t parent, uint32_t node, size_t i, struct fdt_range *range)
{
	uint64_t address_cells = 2, size_cells = 1, bytes; /* what the specification has for none */
	uint32_t size;
	const uint8_t *value = fdt_property(t, node, "reg", &size);

	fdt_number(t, parent, "#address-cells", &address_cells);
	fdt_number(t, parent, "#size-cells", &size_cells);
	if (!value || address_cells == 0 || address_cells > 2 || size_cells > 2)
		return false;
	bytes = 4 * (address_cells + size_cells);
	if (i >= size / bytes)
		return false;
	value += i * bytes;
	*range = (struct fdt_range){
		read_cells(value, address_cells), read_cells(value + 4 * address_cells, size_cells)};
	return true;
}
