/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the machine says of its cores, nodes, memory and devices.  On a host, which knows little of them, it
 * says so.
 */
#include "machine.h"

#include "arena.h"
#include "irq.h"
#include "lib/string.h"
#include "lib/test.h"
#include "physical.h"
#include "threads.h"

#define NO_FUNCTION 0xffff /* bus 255, device 31, function 7 */
#define RAISES 3

TEST("machine: cores have numbers of their own, nodes are at distance 10 of themselves")
{
	struct machine_core_info info, other;
	size_t nodes = machine_node_count();

	for (unsigned i = 0; i < port_core_count(); i++) {
		machine_core_info(i, &info);
		for (unsigned j = 0; j < i; j++) {
			machine_core_info(j, &other);
			CHECK_NE(info.hardware_id, other.hardware_id);
		}
	}
	for (size_t i = 0; i < nodes; i++)
		CHECK_EQ(machine_node_distance(i, i), 10);
}

TEST("machine: nodes' ranges of memory are counted from 0 on, and don't wrap")
{
	struct machine_node_memory m;
	size_t n = 0;

	for (; machine_node_memory(n, &m); n++)
		CHECK_LE(m.start, m.start + m.size);
	CHECK(!machine_node_memory(n, &m));
	CHECK(!machine_node_memory(SIZE_MAX, &m));
}

TEST("machine: where PCI has no function all bits read as one, and writes do nothing")
{
	CHECK_EQ(machine_pci_read(NO_FUNCTION, 0), UINT32_MAX);
	machine_pci_write(NO_FUNCTION, 4, 0);
	CHECK_EQ(machine_pci_read(NO_FUNCTION, 4), UINT32_MAX);
}

TEST("machine: registers at an address that the processor doesn't have aren't mapped")
{
	CHECK(!machine_map_device((uint64_t)1 << 60, PORT_PAGE_SIZE));
}

static unsigned raised; /* atomic */

static void note_raised(void *arg)
{
	__atomic_fetch_add(&raised, 1, __ATOMIC_RELAXED);
}

/* A vector that is raised several times with interrupts off comes once at least, once they are on. */
TEST("machine: a vector that this core raises comes when interrupts are on")
{
	unsigned vector = irq_alloc("raised", note_raised, NULL);
	struct machine_message message;
	port_irq_t irq;

	raised = 0;
	irq = port_irq_save();
	for (int i = 0; i < RAISES; i++)
		machine_raise(vector);
	CHECK_EQ(raised, 0);
	port_irq_restore(irq);
	if (machine_message(vector, 0, &message)) {
		while (__atomic_load_n(&raised, __ATOMIC_RELAXED) == 0)
			port_pause();
		CHECK_LE(raised, RAISES);
	}
	irq_free(vector);
}

TEST("machine: an address of RAM leads to the physical one and back, the image's too")
{
	static char of_image;
	char *page = arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_WAIT);
	char *direct = (char *)machine_direct_base() + machine_physical(&of_image);
	struct machine_place place;

	CHECK_EQ(machine_direct_base() % ((uintptr_t)2 << 20), 0);
	CHECK_EQ(machine_physical(page + 5), (uintptr_t)page + 5 - machine_direct_base());
	CHECK(machine_is_direct_page(page) && !machine_is_direct_page(page + 1));
	machine_place((uintptr_t)page + 5, &place);
	CHECK(place.is_mapped && place.has_phys);
	CHECK_EQ(place.phys, physical_of(page + 5));
	CHECK_EQ(place.direct, (uintptr_t)page + 5);
	CHECK_EQ(place.image, 0);
	machine_place((uintptr_t)&of_image, &place);
	CHECK(place.is_mapped && *place.what);
	CHECK_EQ(place.image, (uintptr_t)&of_image);
	if (machine_other_address(direct))
		CHECK_EQ((uintptr_t)machine_other_address(direct), (uintptr_t)&of_image);
	CHECK_EQ((uintptr_t)machine_other_address(page), 0);
	machine_place(0, &place);
	CHECK(!place.is_mapped && *place.what);
	arena_free(kpages_arena, page, PORT_PAGE_SIZE);
}
