/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests that an index would serve, where there is none: what is looked at all the same, and the
 * walk in steps when no memory can be had for one.
 */
#include "arena.h"
#include "btag/btag.h"
#include "drive.h"
#include "port.h"
#include "lib/test.h"

#define FEW BTAG_LOOKS /* free segments */
#define PIECES 300
#define PAGES 64

/* Frees every other of 2 * n segments of `size`. */
static void holes_make(struct arena *a, uintptr_t start, size_t size, size_t n)
{
	for (size_t i = 0; i < 2 * n; i++)
		CHECK(arena_alloc(a, size, MEM_ATOMIC));
	for (size_t i = 0; i < 2 * n; i += 2)
		arena_free(a, (void *)(start + i * size), size);
}

static void holes_end(struct arena *a, uintptr_t start, size_t size, size_t n)
{
	for (size_t i = 1; i < 2 * n; i += 2)
		arena_free(a, (void *)(start + i * size), size);
	CHECK_EQ(arena_destroy(a), 0);
}

/* Quanta that wrap around slowly in blocks of nocross. */
static void odd(void)
{
	static const size_t quanta[] = {3, 12, 0xfffff1, 0x55555555, 0x9e3779b1, 0xc97ba3d5};

	for (size_t i = 0; i < sizeof(quanta) / sizeof(quanta[0]); i++) {
		size_t q = quanta[i];
		struct arena *a =
			arena_create("odd", (void *)q, 8 * FEW * q, q, NULL, NULL, NULL, 0, MEM_WAIT);

		holes_make(a, q, 4 * q, FEW - 1);
		for (size_t nocross = 4; nocross < (size_t)1 << 63; nocross *= 2)
			for (size_t size = q; size <= 4 * q && size <= nocross; size += q) {
				void *p = arena_xalloc(a, size, 0, 0, nocross, 0, 0, MEM_ATOMIC);

				if (p)
					arena_xfree(a, p, size);
			}
		holes_end(a, q, 4 * q, FEW - 1);
	}
}

/* Quanta above one another none of which divides another: each clips what the source has. */
static void clipped(void)
{
	static const size_t quanta[] = {3 << 10, 5 << 10, 7 << 10, 11 << 10};
	struct arena *a = arena_create("clipped", (void *)1024, 8 << 20, 512, NULL, NULL, NULL, 0, MEM_WAIT);
	struct arena *above[4], *below = a;
	void *p;

	holes_make(a, 1024, 96 << 10, FEW - 1);
	for (size_t i = 0; i < 4; i++, below = above[i - 1])
		above[i] = arena_create("clip", NULL, 0, quanta[i], arena_alloc, arena_free, below, 0, MEM_WAIT);
	for (size_t align = 0; align <= 4096; align += 2048) {
		p = arena_xalloc(below, 11 << 10, align, 0, 1 << 20, 0, 0, MEM_ATOMIC);
		if (p)
			arena_xfree(below, p, 11 << 10);
	}
	for (size_t i = 4; i-- > 0;) {
		arena_reap(above[i], SIZE_MAX);
		CHECK_EQ(arena_destroy(above[i]), 0);
	}
	holes_end(a, 1024, 96 << 10, FEW - 1);
}

/* Chained through themselves. */
static void **take_all(struct arena *a, size_t size, size_t most)
{
	void **head = NULL, **p;

	while (most-- > 0 && (p = arena_alloc(a, size, MEM_ATOMIC))) {
		*p = head;
		head = p;
	}
	return head;
}

static void give_all(struct arena *a, size_t size, void **head)
{
	while (head) {
		void **next = *head;

		arena_free(a, head, size);
		head = next;
	}
}

/* Every other one. */
static void thin(struct arena *a, size_t size, void **head)
{
	for (; head && *head; head = *head) {
		void **gone = *head;

		*head = *gone;
		arena_free(a, gone, size);
	}
}

/* A base arena without a page left. */
static void stepped(size_t quantum)
{
	void *memory = base_alloc(NULL, PAGES * PORT_PAGE_SIZE, MEM_WAIT);
	struct arena *base = arena_create_base("little", memory, PAGES * PORT_PAGE_SIZE);
	struct arena *a = arena_create("pieces", NULL, 0, quantum, arena_alloc, arena_free, base, 0, MEM_WAIT);
	void **pieces = take_all(a, quantum, PIECES), **pages = take_all(base, PORT_PAGE_SIZE, SIZE_MAX);

	thin(a, quantum, pieces);
	for (size_t nocross = 512; nocross <= 8192; nocross *= 4) {
		void *p = arena_xalloc(a, 2 * quantum, 0, 0, nocross, 1, 0, MEM_ERROR);
		void *q = arena_alloc(a, 2 * quantum, MEM_ERROR | ARENA_NEXTFIT);

		if (p)
			arena_xfree(a, p, 2 * quantum);
		if (q)
			arena_free(a, q, 2 * quantum);
	}
	give_all(base, PORT_PAGE_SIZE, pages);
	give_all(a, quantum, pieces);
	CHECK_EQ(arena_destroy(a), 0);
	CHECK_EQ(arena_destroy(base), 0);
	base_free(NULL, memory, PAGES * PORT_PAGE_SIZE);
}

void drive_unindexed(void)
{
	odd();
	clipped();
	stepped(64);
	stepped(48);
}
