// SPDX-License-Identifier: BSD-2-Clause
// A C++ program that has a kmalloc() and a panic() of its own; the library's names begin with sp_.
#include <cstdio>
#include <cstdlib>

extern "C" void *kmalloc(unsigned long size)
{
	return std::malloc(size);
}

extern "C" void panic(void)
{
}

extern "C" void port_bug(const char *message);

#include "port_arch.h"
#include "spandrel/arena.h"
#include "spandrel/arena_print.h"
#include "spandrel/errors.h"
#include "spandrel/kmalloc.h"
#include "spandrel/kmem_debug.h"
#include "spandrel/kmem_fail.h"
#include "spandrel/kmem_sample.h"
#include "spandrel/leaks.h"
#include "spandrel/owner.h"
#include "spandrel/reclaim.h"
#include "spandrel/sink.h"
#include "spandrel/slab.h"
#include "spandrel/stacks.h"
#include "spandrel/table.h"

static constexpr size_t page = size_t{1} << PORT_PAGE_SHIFT;
static char ram[256 * page] __attribute__((aligned(page)));

extern "C" void port_bug(const char *message)
{
	std::printf("bug: %s\n", message);
	std::exit(1);
}

int main()
{
	sp_base_arena = arena_create_base("base", ram, sizeof(ram));
	kpages_arena = arena_create("kpages", nullptr, 0, page, arena_alloc, arena_free, base_arena, 0, MEM_ATOMIC);
	kmem_cache_init();
	void *p = sp_kmalloc(100, MEM_ERROR);
	if (!p || sp_ksize(p) < 100)
		port_bug("no memory");
	kfree(p);
	std::printf("ok\n");
	return 0;
}
