/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sequences of operations: which file does which, failures, bytes, and the sequence that scripts/model gives in an
 * initrd.
 */
#include "operations.h"

#include "arena.h"
#include "boot.h"
#include "kmem_fail.h"
#include "lib/array.h"
#include "lib/string.h"
#include "lib/test.h"
#include "reclaim.h"
#include "slab.h"

#define CHECK_PERIOD 16
#define EDGE 2048 /* bytes at each end that are filled */

static const struct operation_family *const families[] = {
	&operations_on_blocks, &operations_on_caches, &operations_on_arenas};

/* Failures */

static int rule; /* 0: none */

static void begin_failing(const struct operation *op)
{
	struct kmem_fail_rule nth = {.after = op->fail - 1, .times = op->fails ? op->fails : 1};

	if (op->fail > 0)
		rule = kmem_fail_start(&nth);
}

bool operations_injected(void)
{
	struct kmem_fail_stats stats;

	return rule > 0 && kmem_fail_get_stats(rule, &stats) && stats.failed > 0;
}

static void end_failing(void)
{
	if (rule > 0)
		kmem_fail_stop(rule);
	rule = 0;
}

unsigned operations_flags(const struct operation *op, bool served)
{
	unsigned how = op->flags & MEM_WAIT ? MEM_WAIT : op->flags & MEM_ERROR ? MEM_ERROR : MEM_ATOMIC;
	unsigned fit = op->flags & ARENA_FITS;

	return (how == MEM_WAIT && !served ? MEM_ATOMIC : how) | ((fit & (fit - 1)) == 0 ? fit : 0);
}

/* Bytes */

static uint8_t byte_at(uint64_t stamp, size_t i)
{
	return (uint8_t)(stamp * 37 + i + i / 251);
}

static bool is_filled(size_t i, size_t size)
{
	return i < EDGE || size - i <= EDGE;
}

void operations_fill(void *p, size_t size, uint64_t stamp)
{
	uint8_t *bytes = p;

	for (size_t i = 0; i < size; i = i + 1 == EDGE && size > 2 * EDGE ? size - EDGE : i + 1)
		bytes[i] = byte_at(stamp, i);
}

void operations_verify(const void *p, size_t size, size_t filled, uint64_t stamp)
{
	const uint8_t *bytes = p;

	for (size_t i = 0; i < size && i < filled; i++) {
		if (!is_filled(i, filled))
			i = filled - EDGE;
		if (i < size && bytes[i] != byte_at(stamp, i))
			test_fail(__FILE__, __LINE__, "byte %zu of %zu at %p is %#x, not %#x", i, size, p, bytes[i],
				byte_at(stamp, i));
	}
}

/* The sequence */

static const struct operation_family *family_of(const struct operation *op)
{
	return op->kind >= OP_KMALLOC ? &operations_on_blocks :
	       op->kind >= OP_CACHE_CREATE ? &operations_on_caches : &operations_on_arenas;
}

static void check(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		families[i]->check();
}

static void operate(const struct operation *op)
{
	bool failed;

	CHECK_LT(op->kind, OPERATION_KINDS);
	begin_failing(op);
	if (op->kind == OP_RECLAIM)
		reclaim_run(1 + op->nth % RECLAIM_LEVELS);
	else
		family_of(op)->operate(op);
	failed = operations_injected();
	end_failing();
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		families[i]->settle();
	if (failed)
		check();
}

void operations_run(const struct operation *operations, size_t n)
{
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		families[i]->begin();
	for (size_t i = 0; i < n; i++) {
		operate(&operations[i]);
		if (i % CHECK_PERIOD == 0)
			check();
	}
	check();
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		families[i]->end();
}

/* What a sequence in an initrd begins with. */
#define MAGIC 0x736e6f697461706full

TEST("operations: a sequence in the machine's initrd agrees with the models")
{
	const uint64_t *words = boot_info->initrd;

	if (boot_info->initrd_size >= sizeof(*words) && words[0] == MAGIC)
		operations_run((const struct operation *)&words[1],
			(boot_info->initrd_size - sizeof(*words)) / sizeof(struct operation));
}

TEST("operations: a sequence of all kinds agrees with the models")
{
	static const struct operation operations[] = {
		{OP_ARENA_CREATE, .on = 0, .quantum = 16, .flags = MEM_WAIT},
		{OP_ARENA_ADD, .on = 0, .min = 1000, .size = 5000},
		{OP_ARENA_CREATE, .on = 1, .source = OPERATION_FROM + 0, .quantum = 7, .flags = MEM_ERROR},
		{OP_ARENA_CREATE, .on = 2, .source = OPERATION_SELF, .quantum = 64, .size = 4},
		{OP_ARENA_CREATE, .on = 3, .source = OPERATION_PAGES, .quantum = PORT_PAGE_SIZE, .fail = 1},
		{OP_ARENA_CREATE, .on = 3, .source = OPERATION_PAGES, .quantum = PORT_PAGE_SIZE},
		{OP_ARENA_ALLOC, .on = 0, .size = 100, .flags = MEM_WAIT | ARENA_BESTFIT},
		{OP_ARENA_XALLOC, .on = 0, .size = 40, .align = 256, .phase = 64, .nocross = 128, .fail = 1},
		{OP_ARENA_XALLOC, .on = 0, .size = 40, .align = 256, .phase = 64, .nocross = 128, .min = 2000},
		{OP_ARENA_ALLOC, .on = 1, .size = 30, .flags = MEM_ERROR, .fail = 2, .fails = 9},
		{OP_ARENA_ALLOC, .on = 1, .size = 30, .flags = ARENA_NEXTFIT},
		{OP_ARENA_ALLOC, .on = 2, .size = 100},
		{OP_ARENA_ALLOC, .on = 3, .size = 5 * PORT_PAGE_SIZE, .flags = ARENA_HIGHFIT},
		{OP_ARENA_INDEX, .on = 0},
		{OP_ARENA_DESTROY, .on = 0},
		{OP_CACHE_CREATE, .on = 0, .size = 100, .align = 32, .flags = OPERATION_CTOR},
		{OP_CACHE_CREATE, .on = 1, .source = OPERATION_FROM + 0, .size = 3},
		{OP_CACHE_ALLOC, .on = 0, .size = 20, .fail = 1},
		{OP_CACHE_ALLOC, .on = 0, .size = 20, .flags = MEM_WAIT},
		{OP_CACHE_ALLOC, .on = 1, .size = 1},
		{OP_CACHE_RESERVE, .on = 0, .size = 50, .flags = MEM_ERROR},
		{OP_CACHE_FREE, .on = 0, .nth = 3, .size = 10},
		{OP_CACHE_REAP, .on = 0, .nth = KMEM_REAP_ALL},
		{OP_CACHE_DESTROY, .on = 1},
		{OP_KMALLOC, .size = 100, .flags = MEM_WAIT},
		{OP_KMALLOC, .size = 3 * PORT_PAGE_SIZE, .align = PORT_PAGE_SIZE},
		{OP_KREALLOC, .nth = 0, .size = 40 * PORT_PAGE_SIZE, .fail = 1},
		{OP_KREALLOC, .nth = 0, .size = 40 * PORT_PAGE_SIZE},
		{OP_KREALLOC, .nth = 0, .size = 10},
		{OP_KFREE, .nth = 1},
		{OP_RECLAIM, .nth = 2},
		{OP_ARENA_FREE, .on = 0, .nth = 1},
		{OP_ARENA_FREE, .on = 1},
		{OP_ARENA_REAP, .on = 1, .size = SIZE_MAX},
	};

	operations_run(operations, ARRAY_SIZE(operations));
}
