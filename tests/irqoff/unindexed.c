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
#define MANY 20000 /* segments */
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

/* Places at the end of a step and of a block, from below and from above; size is 4 * q at most. */
static void triples_try(struct arena *a, size_t q, size_t size)
{
	for (size_t align = q; align <= 256 * q; align *= 4) {
		for (size_t nocross = 4 * q; nocross <= 1024 * q; nocross *= 4) {
			void *p = arena_xalloc(a, size, align, align - q, nocross, 0, 0, MEM_ATOMIC);

			if (p)
				arena_xfree(a, p, size);
			p = arena_xalloc(a, size, align, 0, nocross, q, UINTPTR_MAX / 2,
				MEM_ATOMIC | ARENA_HIGHFIT);
			if (p)
				arena_xfree(a, p, size);
		}
	}
}

static void constrained(void)
{
	static const size_t quanta[] = {1, 16, 4096};

	for (size_t i = 0; i < sizeof(quanta) / sizeof(quanta[0]); i++) {
		size_t q = quanta[i];
		struct arena *a =
			arena_create("constrained", (void *)q, 8 * FEW * q, q, NULL, NULL, NULL, 0, MEM_WAIT);

		holes_make(a, q, 4 * q, FEW - 1);
		for (size_t size = q; size <= 4 * q; size += q)
			triples_try(a, q, size);
		holes_end(a, q, 4 * q, FEW - 1);
	}
}

/* Quanta that are no powers of two have windows only. */
static void odd(void)
{
	static const size_t quanta[] = {3, 12, 0xfffff1, 0xc97ba3d5};

	for (size_t i = 0; i < sizeof(quanta) / sizeof(quanta[0]); i++) {
		size_t q = quanta[i];
		struct arena *a =
			arena_create("odd", (void *)q, 8 * FEW * q, q, NULL, NULL, NULL, 0, MEM_WAIT);

		holes_make(a, q, 4 * q, FEW - 1);
		for (size_t size = q; size <= 5 * q; size += q) {
			for (unsigned fit = 0; fit <= ARENA_HIGHFIT; fit = fit ? 2 * fit : ARENA_BESTFIT) {
				void *p = arena_xalloc(a, size, 0, 0, 0, 2 * q + 1, 7 * FEW * q, MEM_ATOMIC | fit);

				if (p)
					arena_xfree(a, p, size);
			}
		}
		holes_end(a, q, 4 * q, FEW - 1);
	}
}

/* Quanta above one another: each clips what the source has. */
static void clipped(size_t least, size_t factor)
{
	struct arena *a = arena_create("clipped", (void *)1024, 8 << 20, 512, NULL, NULL, NULL, 0, MEM_WAIT);
	struct arena *above[4], *below = a;
	size_t quantum = least;
	void *p;

	holes_make(a, 1024, 96 << 10, FEW / 2);
	for (size_t i = 0; i < 4; i++, below = above[i - 1]) {
		above[i] = arena_create("clip", NULL, 0, quantum, arena_alloc, arena_free, below, 0, MEM_WAIT);
		quantum *= i < 3 ? factor : 1;
	}
	for (size_t i = 0; i <= 4; i++) {
		size_t align = (quantum & (quantum - 1)) || i == 0 ? 0 : quantum << i;

		p = arena_xalloc(below, quantum, align, 0, align, 0, 0, MEM_ATOMIC);
		if (p)
			arena_xfree(below, p, quantum);
		p = arena_alloc(below, quantum * (i + 1), MEM_ATOMIC | ARENA_HIGHFIT);
		if (p)
			arena_free(below, p, quantum * (i + 1));
	}
	for (size_t i = 4; i-- > 0;) {
		arena_reap(above[i], SIZE_MAX);
		CHECK_EQ(arena_destroy(above[i]), 0);
	}
	holes_end(a, 1024, 96 << 10, FEW / 2);
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
		size_t blocks = quantum & (quantum - 1) ? 0 : nocross;
		void *p = arena_xalloc(a, 2 * quantum, 0, 0, blocks, 1, 0, MEM_ERROR);
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

/* Next fit's place lies high, in what was freed and coalesced, and is handed out again from below. */
static void next_fit_again(void)
{
	struct arena *a = arena_create("again", (void *)1, MANY, 1, NULL, NULL, NULL, 0, MEM_WAIT);

	for (uintptr_t i = 1; i <= MANY; i++)
		CHECK(arena_alloc(a, 1, MEM_ATOMIC | ARENA_NEXTFIT));
	for (uintptr_t i = 1; i <= MANY; i++)
		arena_free(a, (void *)i, 1);
	for (uintptr_t i = 1; i <= MANY; i++)
		CHECK(arena_alloc(a, 1, MEM_ATOMIC));
	for (uintptr_t i = 1; i <= 4 * FEW; i += 2)
		arena_free(a, (void *)i, 1);
	CHECK(arena_alloc(a, 1, MEM_ERROR | ARENA_NEXTFIT) == (void *)1);
	for (uintptr_t i = 3; i <= 4 * FEW; i += 2)
		CHECK(arena_alloc(a, 1, MEM_ATOMIC));
	for (uintptr_t i = 1; i <= MANY; i++)
		arena_free(a, (void *)i, 1);
	CHECK_EQ(arena_destroy(a), 0);
}

void drive_unindexed(void)
{
	next_fit_again();
	constrained();
	odd();
	clipped(1024, 2);
	clipped(3 << 9, 5);
	stepped(64);
	stepped(48);
}
