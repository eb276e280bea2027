/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupt vectors from an arena, their handlers and counters.
 *
 * Locking.  irq_handle() reads a vector's handler without a lock.  Allocation therefore sets the
 * handler last, when the rest of the vector is set.  A free clears it first, and then waits until
 * every core has been outside of all handlers at least once.  A counter is written only by its
 * core, with interrupts off; counters of different cores share no cache line.
 *
 * The first vector of a block knows how many it has.  A free takes that number out, by compare and
 * exchange, before it changes anything else: so of two frees of a block one is a caller's bug.
 */
#include "irq.h"

#include <stdarg.h>
#include <stddef.h>

#include "arena.h"
#include "lib/check.h"
#include "lib/panic.h"
#include "owner.h"
#include "sink.h"
#include "machine.h"
#include "sync.h"

struct vector {
	void (*handler)(void *arg); /* NULL: the vector is free */
	void *arg;
	const char *name;
	char route[IRQ_ROUTE_MAX];
	size_t block; /* vectors of the block whose first this is; 0: it is another, or free; atomic */
	uint64_t count_at_alloc; /* interrupts counted before it was allocated */
};

/* Interrupts that one core has handled. */
struct counters {
	uint64_t count[MACHINE_VECTOR_COUNT];
	uint64_t all;
} __attribute__((aligned(PORT_LINE_SIZE)));

static struct arena *arena;
static struct vector vectors[MACHINE_VECTOR_COUNT];
static struct counters *counters; /* port_core_max() of them; NULL before irq_init() */

static size_t counters_size(void)
{
	size_t size = port_core_max() * sizeof(struct counters);

	return (size + PORT_PAGE_SIZE - 1) & ~(PORT_PAGE_SIZE - 1);
}

static struct arena_owner owner = ARENA_OWNER("interrupt counters", base_arena);

void irq_init(void)
{
	arena = arena_create("vectors", (void *)MACHINE_VECTOR_FIRST, MACHINE_VECTOR_COUNT, 1,
		NULL, NULL, NULL, 0, MEM_WAIT);
	counters = base_zalloc(NULL, counters_size(), MEM_WAIT);
	arena_owner_add_block(&owner, base_arena, counters, counters_size());
}

static void check_vector(const char *call, unsigned vector, void *caller)
{
	check_number(call, "vector", vector, MACHINE_VECTOR_FIRST, MACHINE_VECTOR_COUNT, caller);
}

static struct vector *vector_at(unsigned vector)
{
	return &vectors[vector - MACHINE_VECTOR_FIRST];
}

/* Interrupts of a vector on all cores, since boot. */
static uint64_t count_of(unsigned vector)
{
	uint64_t sum = 0;

	for (unsigned core = 0; core < port_core_count(); core++)
		sum += __atomic_load_n(
			&counters[core].count[vector - MACHINE_VECTOR_FIRST], __ATOMIC_RELAXED);
	return sum;
}

/* The least power of two that isn't below n. */
static size_t block_align(size_t n)
{
	size_t align = 1;

	while (align < n)
		align *= 2;
	return align;
}

static void vector_set(unsigned vector, const struct irq_request *r)
{
	struct vector *v = vector_at(vector);

	v->arg = r->arg;
	v->name = r->name;
	v->route[0] = '\0';
	v->count_at_alloc = count_of(vector);
	/* Release: pairs with the acquire in irq_handle() and irq_next(). */
	__atomic_store_n(&v->handler, r->handler, __ATOMIC_RELEASE);
}

static void check_requests(const struct irq_request *requests, size_t n, void *caller)
{
	if (n == 0)
		panic("irq: a block of 0 vectors is asked for (called from %pS)", caller);
	if (!requests)
		panic("irq: %zu vectors are asked for by a list at NULL (called from %pS)", n, caller);
	for (size_t i = 0; i < n; i++) {
		if (!requests[i].name || !requests[i].handler)
			panic("irq: request %zu of %zu lacks a %s (called from %pS)", i, n,
				requests[i].name ? "handler" : "name", caller);
	}
}

static unsigned alloc_block(
	const char *call, const struct irq_request *requests, size_t n, void *caller)
{
	unsigned first;

	sync_check_may_sleep(call, caller);
	if (n > MACHINE_VECTOR_COUNT)
		return 0;
	check_requests(requests, n, caller);
	first = (unsigned)(uintptr_t)arena_xalloc(
		arena, n, block_align(n), 0, 0, 0, 0, MEM_ERROR);
	for (size_t i = 0; first != 0 && i < n; i++)
		vector_set(first + (unsigned)i, &requests[i]);
	/* Release: pairs with the acquire in block_claim(). */
	if (first != 0)
		__atomic_store_n(&vector_at(first)->block, n, __ATOMIC_RELEASE);
	return first;
}

unsigned irq_alloc_block(const struct irq_request *requests, size_t n)
{
	return alloc_block("irq_alloc_block", requests, n, __builtin_return_address(0));
}

unsigned irq_alloc(const char *name, void (*handler)(void *arg), void *arg)
{
	struct irq_request request = {name, handler, arg};

	return alloc_block("irq_alloc", &request, 1, __builtin_return_address(0));
}

static void do_nothing(void *arg)
{
}

/* Panics: there is no block of n vectors at `first`. */
static __attribute__((noreturn, cold)) void refuse_free(unsigned first, size_t n, void *caller)
{
	size_t has = __atomic_load_n(&vector_at(first)->block, __ATOMIC_RELAXED);

	if (!__atomic_load_n(&vector_at(first)->handler, __ATOMIC_RELAXED))
		panic("irq: vector %u is freed, but isn't allocated (called from %pS)", first, caller);
	if (has == 0)
		panic("irq: vector %u is freed, which is inside a block (called from %pS)", first,
			caller);
	panic("irq: vectors %u and on are freed as a block of %zu, but it has %zu (called from %pS)",
		first, n, has, caller);
}

/* Has the block be the caller's to free; false: there is none of n vectors at `first`. */
static bool block_claim(unsigned first, size_t n)
{
	return n > 0 &&
	       __atomic_compare_exchange_n(&vector_at(first)->block, &n, 0, false, __ATOMIC_ACQUIRE,
		       __ATOMIC_RELAXED);
}

static void free_block(const char *call, unsigned first, size_t n, void *caller)
{
	check_vector(call, first, caller);
	sync_check_may_sleep(call, caller);
	if (!block_claim(first, n))
		refuse_free(first, n, caller);
	for (size_t i = 0; i < n; i++)
		__atomic_store_n(&vector_at(first + (unsigned)i)->handler, NULL, __ATOMIC_RELEASE);
	/* Handlers run with interrupts off, so a core that runs do_nothing() is in no handler. */
	for (unsigned core = 0; core < port_core_count(); core++)
		port_core_run(core, do_nothing, NULL);
	arena_xfree(arena, (void *)(uintptr_t)first, n);
}

void irq_free_block(unsigned first, size_t n)
{
	free_block("irq_free_block", first, n, __builtin_return_address(0));
}

void irq_free(unsigned vector)
{
	free_block("irq_free", vector, 1, __builtin_return_address(0));
}

void irq_set_route(unsigned vector, const char *fmt, ...)
{
	va_list ap;

	check_given("irq_set_route", "route", fmt, __builtin_return_address(0));
	check_vector("irq_set_route", vector, __builtin_return_address(0));
	va_start(ap, fmt);
	kvsnprintf(vector_at(vector)->route, IRQ_ROUTE_MAX, fmt, ap);
	va_end(ap);
}

/* Only this core writes the counter, so the addition need not be atomic as a whole. */
static void count_one(uint64_t *counter)
{
	__atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
}

bool irq_handle(unsigned vector)
{
	size_t i = vector - MACHINE_VECTOR_FIRST;
	struct counters *c;
	void (*handler)(void *arg);

	if (i >= MACHINE_VECTOR_COUNT || !counters)
		return false;
	handler = __atomic_load_n(&vectors[i].handler, __ATOMIC_ACQUIRE);
	if (!handler)
		return false;
	c = &counters[port_core_id()];
	count_one(&c->count[i]);
	count_one(&c->all);
	handler(vectors[i].arg);
	return true;
}

bool irq_next(unsigned from, struct irq_info *info)
{
	unsigned vector = from > MACHINE_VECTOR_FIRST ? from : MACHINE_VECTOR_FIRST;

	check_given("irq_next", "info", info, __builtin_return_address(0));
	for (; vector < MACHINE_VECTOR_FIRST + MACHINE_VECTOR_COUNT; vector++) {
		const struct vector *v = vector_at(vector);

		if (!__atomic_load_n(&v->handler, __ATOMIC_ACQUIRE))
			continue;
		*info = (struct irq_info){.vector = vector,
			.name = v->name,
			.count = count_of(vector) - v->count_at_alloc};
		ksnprintf(info->route, sizeof(info->route), "%s", v->route);
		return true;
	}
	return false;
}

uint64_t irq_core_count(unsigned core)
{
	check_number("irq_core_count", "core", core, 0, port_core_max(), __builtin_return_address(0));
	return counters ? __atomic_load_n(&counters[core].all, __ATOMIC_RELAXED) : 0;
}
