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
	struct kmem_fail_rule nth = {.after = op->fail - 1, .times = 1};

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
