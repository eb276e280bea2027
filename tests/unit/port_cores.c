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
	v->irq_enabled = port_irq_enabled();
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

struct place {
	uintptr_t va;
	uint64_t seen;
};

static void look(void *arg)
{
	struct place *p = arg;

	p->seen = *(volatile uint64_t *)p->va;
}

static void remap(struct place *p, uint64_t *page, uint64_t stamp)
{
	*page = stamp;
	CHECK_EQ(machine_map(p->va, page), 0);
	port_core_run((unsigned)test_random_below(port_core_count()), look, p);
	CHECK_EQ(p->seen, stamp);
	CHECK(machine_unmap(p->va) == page);
}

static void remap_often(unsigned i, void *arg)
{
	struct arena *vaddr = arena_find("vaddr");
	struct place p = {(uintptr_t)arena_alloc(vaddr, PORT_PAGE_SIZE, MEM_ATOMIC), 0};
	uint64_t *pages[2];

	CHECK_NE(p.va, 0);
	for (int k = 0; k < 2; k++)
		CHECK((pages[k] = base_alloc(NULL, PORT_PAGE_SIZE, MEM_ATOMIC)) != NULL);
	for (uint64_t n = test_ops(REMAPS); n > 0; n--)
		remap(&p, pages[n % 2], n << 16 | i);
	for (int k = 0; k < 2; k++)
		base_free(NULL, pages[k], PORT_PAGE_SIZE);
	arena_free(vaddr, (void *)p.va, PORT_PAGE_SIZE);
}

TEST("map: all cores change mappings at once, and each sees the newest")
{
	threads_run(THREADS_PINNED, port_core_count(), remap_often, NULL);
}
