/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Cores that run things on one another, and mappings changed by all at once.
 */
#include "arena.h"
#include "machine.h"
#include "port.h"
#include "lib/test.h"
#include "threads.h"

#define RUNS 200
#define REMAPS 50 /* each with a shootdown: emulated cores share few real ones */

struct visit {
	unsigned core;
	unsigned there;	  /* the core it ran on */
	bool irq_enabled; /* interrupts there meanwhile */
};

static void visit(void *arg)
{
	struct visit *v = arg;

	v->there = port_core_id();
	v->irq_enabled = machine_irq_enabled();
}

static void visit_all(unsigned i, void *arg)
{
	for (size_t n = test_ops(RUNS); n > 0; n--) {
		struct visit v = {.core = (unsigned)test_random_below(port_core_count())};

		port_core_run(v.core, visit, &v);
		CHECK_EQ(v.there, v.core);
		CHECK(!v.irq_enabled);
	}
}

TEST("cores: what is run on a core runs there, with interrupts off")
{
	visit_all(0, NULL);
}

TEST("cores: all run things on one another at once, and none waits for ever")
{
	threads_run(THREADS_PINNED, port_core_count(), visit_all, NULL);
}

/* One address and two pages of each thread's own, seen from whatever core. */

static void remap(uintptr_t va, uint64_t *page, uint64_t stamp)
{
	*page = stamp;
	CHECK_EQ(machine_map(va, page), 0);
	CHECK_EQ(threads_read_on((unsigned)test_random_below(port_core_count()), va), stamp);
	CHECK(machine_unmap(va) == page);
}

static void remap_often(unsigned i, void *arg)
{
	struct arena *vaddr = arena_find("vaddr");
	uintptr_t va = (uintptr_t)arena_alloc(vaddr, PORT_PAGE_SIZE, MEM_ATOMIC);
	uint64_t *pages[2];

	CHECK_NE(va, 0);
	for (int k = 0; k < 2; k++)
		CHECK((pages[k] = base_alloc(NULL, PORT_PAGE_SIZE, MEM_ATOMIC)) != NULL);
	for (uint64_t n = test_ops(REMAPS); n > 0; n--)
		remap(va, pages[n % 2], n << 16 | i);
	for (int k = 0; k < 2; k++)
		base_free(NULL, pages[k], PORT_PAGE_SIZE);
	arena_free(vaddr, (void *)va, PORT_PAGE_SIZE);
}

TEST("map: all cores change mappings at once, and each sees the newest")
{
	threads_run(THREADS_PINNED, port_core_count(), remap_often, NULL);
}
