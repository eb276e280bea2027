/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas without caches: libspandrel-arena.a alone.
 */
#include <stdio.h>
#include <stdlib.h>

#include "port_arch.h"
#include "spandrel/arena.h"

#define PAGE ((size_t)1 << PORT_PAGE_SHIFT)

void port_bug(const char *message);

static char ram[16 * PAGE] __attribute__((aligned(PAGE)));

void port_bug(const char *message)
{
	printf("bug: %s\n", message);
	exit(1);
}

int main(void)
{
	struct arena *ids;
	uintptr_t sum = 0;

	base_arena = arena_create_base("base", ram, sizeof(ram));
	ids = arena_create("ids", (void *)1, 100, 1, NULL, NULL, NULL, 0, MEM_ATOMIC);
	for (int i = 0; i < 100; i++)
		sum += (uintptr_t)arena_alloc(ids, 1, MEM_ERROR);
	if (sum != 100 * 101 / 2 || arena_alloc(ids, 1, MEM_ERROR))
		port_bug("IDs are wrong");
	for (uintptr_t id = 1; id <= 100; id++)
		arena_free(ids, (void *)id, 1);
	if (arena_check(ids, NULL) != 0 || arena_destroy(ids) != 0)
		port_bug("an arena is left");
	printf("ok\n");
	return 0;
}
