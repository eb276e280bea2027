/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mistakes in the order of boot: each is told by name.  A mistake runs in a process of its own, which must end
 * in port_bug() with the words that stand beside it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "port_arch.h"
#include "spandrel/arena.h"
#include "spandrel/kmalloc.h"
#include "spandrel/kmem_debug.h"
#include "spandrel/reclaim.h"
#include "spandrel/slab.h"

#define PAGE ((size_t)1 << PORT_PAGE_SHIFT)
#define PAGES 256

void port_bug(const char *message);

static char ram[PAGES * PAGE] __attribute__((aligned(PAGE)));

void port_bug(const char *message)
{
	printf("%s\n", message);
	fflush(stdout);
	_Exit(3);
}

static void make_base(void)
{
	base_arena = arena_create_base("base", ram, sizeof(ram));
}

static void make_pages(void)
{
	make_base();
	kpages_arena = arena_create("kpages", NULL, 0, PAGE, arena_alloc, arena_free, base_arena, 0, MEM_ATOMIC);
}

static void arena_too_early(void)
{
	arena_create("ids", (void *)1, 10, 1, NULL, NULL, NULL, 0, MEM_ATOMIC);
}

static void importer_too_early(void)
{
	kpages_arena = arena_create("kpages", NULL, 0, PAGE, arena_alloc, arena_free, base_arena, 0, MEM_ATOMIC);
}

static void base_at_zero(void)
{
	base_arena = arena_create_base("base", NULL, sizeof(ram));
}

static void base_alloc_too_early(void)
{
	base_alloc(NULL, PAGE, MEM_ATOMIC);
}

static void cache_too_early(void)
{
	make_pages();
	kmem_cache_create("things", 64, 0, 0, NULL, NULL, NULL, NULL);
}

static void kmalloc_too_early(void)
{
	make_pages();
	kmalloc(10, MEM_ATOMIC);
}

static void large_kmalloc_too_early(void)
{
	make_pages();
	kmalloc(100 * PAGE, MEM_ATOMIC);
}

static void kfree_too_early(void)
{
	make_pages();
	kfree(ram + 100);
}

static void init_without_base(void)
{
	kmem_cache_init();
}

static void init_without_pages(void)
{
	make_base();
	kmem_cache_init();
}

/* A page so far away that the page frame table's root takes more than there is. */
static void init_without_memory(void)
{
	void *far = mmap((void *)((uintptr_t)1 << 45), PAGE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	make_pages();
	if (far == MAP_FAILED || arena_add(base_arena, far, PAGE, MEM_ATOMIC) != 0)
		port_bug("there is no page far away");
	kmem_cache_init();
}

static void init_twice(void)
{
	make_pages();
	kmem_cache_init();
	kmem_cache_init();
}

static void mode_too_late(void)
{
	const char *wrong;

	make_pages();
	kmem_cache_init();
	wrong = kmem_debug_set("check");
	if (wrong)
		port_bug(wrong);
}

static void reclaim_too_early(void)
{
	make_pages();
	reclaim_run(3);
}

static void reap_too_early(void)
{
	make_pages();
	kmem_reap_all(KMEM_REAP_ALL);
}

static void reclaim_without_threads(void)
{
	reclaim_main(NULL);
}

static void serve_without_threads(void)
{
	serve_main(NULL);
}

static const struct {
	void (*make)(void);
	const char *told; /* NULL: it is none, and ends well */
} mistakes[] = {
	{arena_too_early, "arena ids: can't be created with no source before there is a base_arena"},
	{importer_too_early, "arena kpages: can't be created with a source that is NULL: has it been made?"},
	{base_at_zero, "arena base: a base arena at address 0"},
	{base_alloc_too_early, "base_alloc before base_arena"},
	{cache_too_early, "kmem_cache_create of things before kmem_cache_init"},
	{kmalloc_too_early, "kmalloc before kmem_cache_init"},
	{large_kmalloc_too_early, "kmalloc before kmem_cache_init"},
	{kfree_too_early, "which is no memory of kmalloc's"},
	{init_without_base, "kmem_cache_init before base_arena"},
	{init_without_pages, "kmem_cache_init before kpages_arena"},
	{init_without_memory, "page frame table: no memory for its root"},
	{init_twice, "kmem_cache_init again"},
	{mode_too_late, "too late: there are caches"},
	{reclaim_too_early, NULL},
	{reap_too_early, NULL},
	{reclaim_without_threads, "reclaim_main in a port without PORT_HAS_THREADS"},
	{serve_without_threads, "serve_main in a port without PORT_HAS_THREADS"},
};

/* Whether the process ended as it should; prints it if not. */
static int is_told(void (*make)(void), const char *told)
{
	char line[512] = "";
	int ends[2], status, wanted = told ? 3 : 0;
	ssize_t n;
	pid_t child;

	if (pipe(ends) != 0)
		return 0;
	fflush(stdout);
	child = fork();
	if (child == 0) {
		dup2(ends[1], STDOUT_FILENO);
		make();
		_Exit(0);
	}
	close(ends[1]);
	n = read(ends[0], line, sizeof(line) - 1);
	line[n > 0 ? n : 0] = '\0';
	close(ends[0]);
	if (child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == wanted &&
		(!told || strstr(line, told)))
		return 1;
	printf("wanted \"%s\", status %#x: %s\n", told ? told : "no mistake", (unsigned)status, line);
	return 0;
}

int main(void)
{
	int wrong = 0;

	for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++)
		wrong += !is_told(mistakes[i].make, mistakes[i].told);
	printf("%s\n", wrong ? "mistakes weren't told" : "ok");
	return wrong != 0;
}
