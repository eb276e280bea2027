/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What many tests do with arenas.
 */
#include "arenas.h"

#include "port.h"
#include "lib/test.h"

struct arena *arenas_ids(uintptr_t first, size_t count)
{
	return arena_create("ids", (void *)first, count, 1, NULL, NULL, NULL, 0, MEM_WAIT);
}

struct arena *arenas_full(size_t count)
{
	struct arena *a = arenas_ids(1, count);

	for (size_t i = 1; i <= count; i++)
		CHECK_EQ((uintptr_t)arena_alloc(a, 1, MEM_ATOMIC | ARENA_BESTFIT), i);
	return a;
}

struct arena *arenas_root(size_t quantum, size_t quanta)
{
	return arena_create("root", (void *)quantum, quanta * quantum, quantum, NULL, NULL, NULL, 0,
		MEM_WAIT);
}

struct arena *arenas_importer(const char *name, struct arena *source, size_t quantum)
{
	return arena_create(name, NULL, 0, quantum, arena_alloc, arena_free, source, 0, MEM_WAIT);
}

struct arena_stats arenas_stats(struct arena *a)
{
	struct arena_stats s;

	arena_get_stats(a, &s);
	return s;
}

void arenas_end(struct arena *a)
{
	CHECK_EQ(arena_check(a, &console_sink), 0);
	CHECK_EQ(arena_destroy(a), 0);
}

struct arena *arenas_base(size_t pages)
{
	void *memory = base_alloc(NULL, pages * PORT_PAGE_SIZE, MEM_WAIT);

	return arena_create_base("little", memory, pages * PORT_PAGE_SIZE);
}

/* The arena itself lies in the first of its pages, which outlive it. */
void arenas_base_end(struct arena *base, size_t pages)
{
	CHECK_EQ(arena_check(base, &console_sink), 0);
	CHECK(arena_base_balances(base));
	CHECK_EQ(arena_destroy(base), 0);
	base_free(NULL, (void *)((uintptr_t)base & -(uintptr_t)PORT_PAGE_SIZE), pages * PORT_PAGE_SIZE);
}

static struct piece *piece_put(void *addr, size_t size, struct piece *pieces)
{
	struct piece *p = addr;

	*p = (struct piece){pieces, size};
	return p;
}

struct piece *pieces_take(struct arena *a, size_t size, size_t most, struct piece *pieces)
{
	void *p;

	while (most-- > 0 && (p = arena_alloc(a, size, MEM_ATOMIC)))
		pieces = piece_put(p, size, pieces);
	return pieces;
}

struct piece *pieces_take_all(struct arena *a, size_t largest, size_t smallest, unsigned flags)
{
	struct piece *pieces = NULL;
	void *p;

	for (size_t size = largest; size >= smallest; size /= 2)
		while ((p = arena_alloc(a, size, flags)))
			pieces = piece_put(p, size, pieces);
	return pieces;
}

struct piece *pieces_take_memory(size_t left)
{
	void *spare = left ? base_alloc(NULL, left, MEM_WAIT) : NULL;
	struct piece *taken = pieces_take_all(base_arena, (size_t)1 << 40, PORT_PAGE_SIZE, MEM_ATOMIC);

	if (spare)
		base_free(NULL, spare, left);
	return taken;
}

size_t pieces_count(const struct piece *pieces)
{
	size_t n = 0;

	for (; pieces; pieces = pieces->next)
		n++;
	return n;
}

struct piece *pieces_give(struct arena *a, struct piece *pieces, size_t most)
{
	for (struct piece *next; pieces && most-- > 0; pieces = next) {
		next = pieces->next;
		arena_free(a, pieces, pieces->size);
	}
	return pieces;
}
