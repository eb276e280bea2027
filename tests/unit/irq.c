/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupt vectors, handled by the test itself: it calls what a port would.
 */
#include "irq.h"

#include "lib/string.h"
#include "machine.h"
#include "port.h"
#include "lib/test.h"

static unsigned calls;

static void count(void *arg)
{
	calls += *(unsigned *)arg;
}

static bool raise(unsigned vector)
{
	port_irq_t irq = port_irq_save();
	bool handled = irq_handle(vector);

	port_irq_restore(irq);
	return handled;
}

static uint64_t count_of(unsigned vector)
{
	struct irq_info info;

	CHECK(irq_next(vector, &info));
	CHECK_EQ(info.vector, vector);
	return info.count;
}

TEST("irq: a vector's handler gets its argument, and each interrupt is counted")
{
	unsigned three = 3, vector = irq_alloc("test", count, &three);

	calls = 0;
	CHECK_LE(MACHINE_VECTOR_FIRST, vector);
	CHECK_LT(vector, MACHINE_VECTOR_FIRST + MACHINE_VECTOR_COUNT);
	CHECK_EQ(count_of(vector), 0);
	CHECK(raise(vector));
	CHECK(raise(vector));
	CHECK_EQ(calls, 6);
	CHECK_EQ(count_of(vector), 2);
	irq_free(vector);
	CHECK(!raise(vector));
	CHECK_EQ(calls, 6);
}

TEST("irq: a vector handed out again starts from nothing")
{
	unsigned one = 1, vector = irq_alloc("first", count, &one), again;

	irq_set_route(vector, "from %s", "nowhere");
	CHECK(raise(vector));
	irq_free(vector);
	again = irq_alloc("second", count, &one);
	CHECK_EQ(again, vector);
	CHECK_EQ(count_of(again), 0);
	irq_free(again);
}

TEST("irq: the list has each vector once, with its name and where it comes from")
{
	unsigned one = 1, a = irq_alloc("a", count, &one), b = irq_alloc("b", count, &one);
	struct irq_info info;
	unsigned found = 0, before = 0;

	irq_set_route(b, "pin %u", 7u);
	for (unsigned from = 0; irq_next(from, &info); from = info.vector + 1) {
		CHECK(before == 0 || before < info.vector);
		before = info.vector;
		if (info.vector == a)
			found += strcmp(info.name, "a") == 0 && strcmp(info.route, "") == 0;
		if (info.vector == b)
			found += strcmp(info.name, "b") == 0 && strcmp(info.route, "pin 7") == 0;
	}
	CHECK_EQ(found, 2);
	irq_free(a);
	irq_free(b);
}

TEST("irq: when all vectors are out there is none, and all can be given back")
{
	static unsigned vectors[MACHINE_VECTOR_COUNT];
	unsigned one = 1, n = 0;

	while (n < MACHINE_VECTOR_COUNT && (vectors[n] = irq_alloc("many", count, &one)))
		n++;
	CHECK_EQ(irq_alloc("one too many", count, &one), 0);
	while (n > 0)
		irq_free(vectors[--n]);
}

TEST("irq: freeing a vector that is free is reported")
{
	unsigned one = 1, vector = irq_alloc("once", count, &one);

	irq_free(vector);
	CHECK_PANICS(irq_free(vector), "isn't allocated");
}

TEST("irq: an interrupt of a free vector isn't handled, whatever its number")
{
	CHECK(!raise(0));
	CHECK(!raise(MACHINE_VECTOR_FIRST - 1));
	CHECK(!raise(MACHINE_VECTOR_FIRST + MACHINE_VECTOR_COUNT));
	CHECK(!raise(UINT32_MAX));
}

TEST("irq: a block of vectors starts on a multiple of its size, each with its handler")
{
	unsigned values[5] = {1, 10, 100, 1000, 10000}, first;
	struct irq_request requests[5];

	for (size_t i = 0; i < 5; i++)
		requests[i] = (struct irq_request){"block", count, &values[i]};
	first = irq_alloc_block(requests, 5);
	CHECK_NE(first, 0);
	CHECK_EQ(first % 8, 0);
	calls = 0;
	for (unsigned i = 0; i < 5; i++)
		CHECK(raise(first + i));
	CHECK_EQ(calls, 11111);
	irq_free_block(first, 5);
	CHECK(!raise(first + 4));
}

static void check_frees_of_block(unsigned first)
{
	CHECK_PANICS(irq_free_block(first, 4), "are freed as a block of 4, but it has 5");
	CHECK_PANICS(irq_free_block(first, 6), "but it has 5");
	CHECK_PANICS(irq_free_block(first, ((size_t)1 << 63) + 5), "but it has 5");
	CHECK_PANICS(irq_free_block(first, 0), "as a block of 0, but it has 5");
	CHECK_PANICS(irq_free(first), "as a block of 1, but it has 5");
	CHECK_PANICS(irq_free_block(first + 1, 4), "is freed, which is inside a block");
	CHECK_PANICS(irq_free(first + 4), "is freed, which is inside a block");
	CHECK_PANICS(irq_free_block(first + 4, 2), "is freed, which is inside a block");
}

TEST("irq: a block is freed whole or not at all, and no vector of it falls silent")
{
	unsigned one = 1, first;
	struct irq_request requests[5];

	for (size_t i = 0; i < 5; i++)
		requests[i] = (struct irq_request){"block", count, &one};
	first = irq_alloc_block(requests, 5);
	check_frees_of_block(first);
	calls = 0;
	for (unsigned i = 0; i < 5; i++)
		CHECK(raise(first + i));
	CHECK_EQ(calls, 5);
	irq_free_block(first, 5);
	CHECK_PANICS(irq_free_block(first, 5), "is freed, but isn't allocated");
}

TEST("irq: where a free may not wait for the other cores it changes nothing")
{
	unsigned one = 1, vector = irq_alloc("kept", count, &one);
	port_irq_t irq = port_irq_save();

	CHECK_PANICS(irq_free(vector), "irq_free with interrupts off");
	port_irq_restore(irq);
	CHECK(raise(vector));
	irq_free(vector);
}

TEST("irq: what is no vector is reported by its number")
{
	struct irq_info info;
	struct machine_message message;
	const unsigned end = MACHINE_VECTOR_FIRST + MACHINE_VECTOR_COUNT;

	CHECK_PANICS(irq_free(0), "irq_free of vector 0, which isn't from ");
	CHECK_PANICS(irq_free(UINT32_MAX), "irq_free of vector 4294967295, which isn't from ");
	CHECK_PANICS(irq_free_block(end, 2), "irq_free_block of vector ");
	CHECK_PANICS(irq_set_route(3, "nowhere"), "irq_set_route of vector 3, which isn't from ");
	CHECK_PANICS(irq_set_route(end, "nowhere"), "irq_set_route of vector ");
	CHECK_PANICS(machine_message(3, 0, &message), "machine_message of vector 3, which isn't from ");
	CHECK_PANICS(machine_message(end, 0, &message), "machine_message of vector ");
	CHECK_PANICS(machine_raise(MACHINE_VECTOR_FIRST - 1), "machine_raise of vector ");
	CHECK_PANICS(machine_raise(end), "machine_raise of vector ");
	CHECK(!irq_handle(0) && !irq_handle(MACHINE_VECTOR_FIRST - 1));
	CHECK(!irq_handle(end) && !irq_handle(UINT32_MAX));
	CHECK(!irq_next(end, &info) && !irq_next(UINT32_MAX, &info));
	CHECK_PANICS(irq_core_count(port_core_max()), "irq_core_count of core ");
	CHECK_PANICS(irq_core_count(UINT32_MAX), "irq_core_count of core 4294967295, which isn't from 0 to ");
}

static void check_impossible(size_t n)
{
	CHECK_EQ(irq_alloc_block((const struct irq_request *)8, n), 0); /* nothing lies there */
}

TEST("irq: a block of more vectors than there are is refused, of none reported")
{
	struct irq_request request = {"block", count, NULL}, bare = {"block", NULL, NULL},
			   nameless = {NULL, count, NULL};

	check_impossible(MACHINE_VECTOR_COUNT + 1);
	check_impossible((size_t)1 << 32);
	check_impossible((size_t)1 << 63);
	check_impossible(((size_t)1 << 63) + 1);
	check_impossible(SIZE_MAX);
	CHECK_PANICS(irq_alloc_block(&request, 0), "irq: a block of 0 vectors is asked for");
	CHECK_PANICS(irq_alloc_block(NULL, 1), "irq: 1 vectors are asked for by a list at NULL");
	CHECK_PANICS(irq_alloc_block(&bare, 1), "irq: request 0 of 1 lacks a handler");
	CHECK_PANICS(irq_alloc_block(&nameless, 1), "irq: request 0 of 1 lacks a name");
	CHECK_PANICS(irq_alloc("bare", NULL, NULL), "lacks a handler (called from test_");
}
