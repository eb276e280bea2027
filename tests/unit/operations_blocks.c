/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Operations on kmalloc.  The model is a list of the blocks, each filled with bytes of its own.
 */
#include "operations.h"

#include "kmalloc.h"
#include "lib/test.h"

#define BLOCKS_MAX 100
#define LIVE_MAX ((size_t)8 << 20) /* bytes in all, of which the memory has room for a multiple */
#define NO_PLACE ((size_t)1 << 40) /* at this size, no memory has a place for it */

static struct block {
	uint8_t *at;
	size_t size;
	uint64_t stamp;
} blocks[BLOCKS_MAX];
static size_t count, live;
static uint64_t next_stamp;

static bool has_room(size_t size)
{
	return live + size <= LIVE_MAX;
}

/* Whether the answer NULL is right. */
static bool may_refuse(size_t size, unsigned flags)
{
	return !(flags & MEM_WAIT) && (size >= NO_PLACE || operations_injected());
}

static void keep(struct block *b, void *p, size_t size, size_t align)
{
	uintptr_t at = (uintptr_t)p;

	CHECK_EQ(at % 8, 0);
	CHECK_EQ(at % align, 0);
	CHECK_LE(size, ksize(p));
	for (size_t i = 0; i < count; i++)
		CHECK(&blocks[i] == b || blocks[i].at + blocks[i].size <= (uint8_t *)p ||
			(uint8_t *)p + size <= blocks[i].at);
	*b = (struct block){p, size, next_stamp++};
	operations_fill(p, size, b->stamp);
	live += size;
}

static void verify(const struct block *b)
{
	operations_verify(b->at, b->size, b->size, b->stamp);
}

static void drop(struct block *b)
{
	live -= b->size;
	*b = blocks[--count];
}

static void alloc(const struct operation *op)
{
	unsigned flags = operations_flags(op, op->size < NO_PLACE) & MEM_FLAGS;
	size_t align = op->align ? op->align : op->size && !(op->size & (op->size - 1)) ? op->size : 1;
	void *p;

	if (count == BLOCKS_MAX || (op->size < NO_PLACE && !has_room(op->size + op->align)) || (align & (align - 1)))
		return;
	p = op->align ? kmalloc_align(op->size, align, flags) : kmalloc(op->size, flags);
	CHECK(p ? op->size < NO_PLACE : may_refuse(op->size, flags));
	if (p) {
		count++;
		blocks[count - 1] = (struct block){0};
		keep(&blocks[count - 1], p, op->size, align);
	}
}

static void resize(const struct operation *op, struct block *b)
{
	unsigned flags = operations_flags(op, op->size < NO_PLACE) & MEM_FLAGS;
	struct block old = *b;
	void *p;

	if (op->size < NO_PLACE && !has_room(op->size))
		return;
	verify(b);
	p = krealloc(b->at, op->size, flags);
	if (op->size == 0) {
		CHECK(!p);
		drop(b);
		return;
	}
	CHECK(p || (may_refuse(op->size, flags) && op->size > old.size));
	if (!p) {
		verify(b);
		return;
	}
	operations_verify(p, op->size, old.size, old.stamp);
	live -= old.size;
	keep(b, p, op->size, 1);
}

static void give(struct block *b)
{
	verify(b);
	kfree(b->at);
	drop(b);
}

static void operate(const struct operation *op)
{
	if (op->kind == OP_KMALLOC)
		alloc(op);
	else if (count == 0)
		return;
	else if (op->kind == OP_KREALLOC)
		resize(op, &blocks[op->nth % count]);
	else
		give(&blocks[op->nth % count]);
}

static void settle(void)
{
}

static void check(void)
{
	for (size_t i = 0; i < count; i++)
		verify(&blocks[i]);
}

static void begin(void)
{
	count = live = 0;
	next_stamp = 1;
}

static void end(void)
{
	while (count > 0)
		give(&blocks[count - 1]);
}

const struct operation_family operations_on_blocks = {begin, operate, settle, check, end};
