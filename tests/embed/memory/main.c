/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A program with the memory-only port.  PAGES pages are all there is.
 */
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "port_arch.h"
#include "spandrel/arena.h"
#include "spandrel/kmalloc.h"

#ifndef PAGES
#define PAGES 1024
#endif
#define PAGE ((size_t)1 << PORT_PAGE_SHIFT)

void port_bug(const char *message);

void port_bug(const char *message)
{
	printf("bug: %s\n", message);
	exit(1);
}

static char ram[PAGES * PAGE] __attribute__((aligned(PAGE)));

int main(void)
{
	const char *wrong;

	base_arena = arena_create_base("base", ram, sizeof(ram));
	kpages_arena = arena_create("kpages", NULL, 0, PAGE, arena_alloc, arena_free, base_arena,
		PAGES >= 1024 ? 16 * PAGE : 0, MEM_ATOMIC);
	kmem_cache_init();
	wrong = embed_check();
	printf("%s\n", wrong ? wrong : "ok");
	return wrong != NULL;
}
