/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Each part writes into what it was given and looks afterwards whether that still stands, so that whatever was
 * handed out twice shows.  Needs no library but the allocator's.
 */
#include "check.h"

#include "spandrel/arena.h"
#include "spandrel/kmalloc.h"
#include "spandrel/reclaim.h"
#include "spandrel/slab.h"

#define TEXT_OF(x) #x
#define LINE_OF(x) TEXT_OF(x)
#define MUST(condition)                                                                       \
	do {                                                                                  \
		if (!(condition))                                                             \
			return "check.c:" LINE_OF(__LINE__) ": " #condition;                  \
	} while (0)

/* Words */

/* Fills with words that tell where they lie. */
static void mark(void *p, size_t bytes)
{
	for (size_t i = 0; i < bytes / sizeof(uintptr_t); i++)
		((uintptr_t *)p)[i] = (uintptr_t)p + i;
}

static int is_marked(const void *p, size_t bytes)
{
	for (size_t i = 0; i < bytes / sizeof(uintptr_t); i++)
		if (((const uintptr_t *)p)[i] != (uintptr_t)p + i)
			return 0;
	return 1;
}

/* Arenas */

#define IDS 300

static const char *check_ids(void)
{
	static unsigned char taken[IDS + 1];
	struct arena *ids = arena_create("check ids", (void *)1, IDS, 1, NULL, NULL, NULL, 0, MEM_ATOMIC);
	uintptr_t id;

	MUST(ids);
	for (unsigned i = 0; i < IDS; i++) {
		id = (uintptr_t)arena_alloc(ids, 1, MEM_ATOMIC);
		MUST(id >= 1 && id <= IDS && !taken[id]);
		taken[id] = 1;
	}
	MUST(!arena_alloc(ids, 1, MEM_ATOMIC));
	MUST(arena_destroy(ids) != 0);
	for (id = 1; id <= IDS; id += 2)
		arena_free(ids, (void *)id, 1);
	MUST(!arena_alloc(ids, 2, MEM_ATOMIC));
	for (id = 2; id <= IDS; id += 2)
		arena_free(ids, (void *)id, 1);
	for (id = 1; id <= IDS; id++)
		taken[id] = 0;
	id = (uintptr_t)arena_xalloc(ids, 8, 32, 4, 0, 100, 200, MEM_ATOMIC);
	MUST(id % 32 == 4 && id >= 100 && id + 8 <= 200);
	arena_xfree(ids, (void *)id, 8);
	id = (uintptr_t)arena_xalloc(ids, 16, 0, 0, 16, 0, 0, MEM_ATOMIC);
	MUST(id && id / 16 == (id + 15) / 16);
	arena_xfree(ids, (void *)id, 16);
	MUST(arena_amt_free(ids) == IDS);
	MUST(arena_check(ids, NULL) == 0);
	MUST(arena_destroy(ids) == 0);
	return NULL;
}

/* An arena over the pages, with caches of its own. */
static const char *check_importer(size_t page, unsigned most)
{
	struct arena *over = arena_create("check importer", NULL, 0, page, arena_alloc, arena_free, kpages_arena,
		4 * page, MEM_ATOMIC);
	void *p[4];

	MUST(over);
	for (unsigned i = 0; i < most; i++) {
		p[i] = arena_alloc(over, (i + 1) * page, MEM_ATOMIC);
		MUST(p[i] && (uintptr_t)p[i] % page == 0);
		mark(p[i], (i + 1) * page);
	}
	for (unsigned i = 0; i < most; i++)
		MUST(is_marked(p[i], (i + 1) * page));
	for (unsigned i = 0; i < most; i++)
		arena_free(over, p[i], (i + 1) * page);
	arena_reap(over, SIZE_MAX);
	MUST(arena_check(over, NULL) == 0);
	MUST(arena_destroy(over) == 0);
	return NULL;
}

/* Caches */

#define OBJECTS 200

struct thing {
	uintptr_t constructed;
	uintptr_t words[11];
};

static size_t things; /* that are constructed */

static int thing_make(void *object, void *priv, unsigned flags)
{
	(void)priv;
	(void)flags;
	((struct thing *)object)->constructed = (uintptr_t)object;
	things++;
	return 0;
}

static void thing_end(void *object, void *priv)
{
	(void)priv;
	((struct thing *)object)->constructed = 0;
	things--;
}

static const char *check_cache(void)
{
	static struct thing *t[OBJECTS];
	struct kmem_cache *cache =
		kmem_cache_create("check things", sizeof(struct thing), 16, 0, NULL, thing_make, thing_end, NULL);

	MUST(cache);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < OBJECTS / 2; i++)
			MUST((t[i] = (struct thing *)kmem_cache_alloc(cache, MEM_ATOMIC)));
		MUST(kmem_cache_alloc_bulk(cache, (void **)&t[OBJECTS / 2], OBJECTS / 2, MEM_ATOMIC) ==
		     OBJECTS / 2);
		for (unsigned i = 0; i < OBJECTS; i++) {
			MUST((uintptr_t)t[i] % 16 == 0 && t[i]->constructed == (uintptr_t)t[i]);
			mark(t[i]->words, sizeof(t[i]->words));
		}
		for (unsigned i = 0; i < OBJECTS; i++)
			MUST(is_marked(t[i]->words, sizeof(t[i]->words)));
		MUST(kmem_cache_destroy(cache) != 0);
		for (unsigned i = 0; i < OBJECTS / 2; i++)
			kmem_cache_free(cache, t[i]);
		kmem_cache_free_bulk(cache, (void **)&t[OBJECTS / 2], OBJECTS / 2);
		MUST(kmem_cache_check(cache, NULL) == 0);
	}
	kmem_cache_reap(cache, KMEM_REAP_ALL);
	MUST(kmem_cache_destroy(cache) == 0);
	MUST(things == 0);
	return NULL;
}

/* kmalloc */

/* A few at a time, so that it fits into little memory. */
static const char *check_kmalloc(size_t page, size_t size_max)
{
	void *p[3];

	for (size_t size = 1; size <= size_max; size += size / 3 + 1) {
		for (unsigned i = 0; i < 3; i++) {
			MUST((p[i] = kmalloc(size, MEM_ERROR)));
			MUST(ksize(p[i]) >= size);
			MUST((size & (size - 1)) != 0 || (uintptr_t)p[i] % (size < page ? size : page) == 0);
			mark(p[i], size);
		}
		for (unsigned i = 0; i < 3; i++)
			MUST(is_marked(p[i], size));
		MUST((p[0] = krealloc(p[0], size / 2 + 1, MEM_ERROR)));
		for (unsigned i = 0; i < 3; i++)
			kfree(p[i]);
	}
	return NULL;
}

/* Shortage: all of it is taken, and comes back. */
static const char *check_shortage(size_t page)
{
	void *pages = NULL;
	size_t n = 0;

	for (void **p; (p = (void **)arena_alloc(kpages_arena, page, MEM_ERROR)); n++) {
		*p = pages;
		pages = p;
	}
	MUST(n > 0);
	MUST(!arena_alloc(kpages_arena, page, MEM_ATOMIC));
	for (; pages; n--) {
		void *next = *(void **)pages;

		arena_free(kpages_arena, pages, page);
		pages = next;
	}
	MUST(n == 0);
	return NULL;
}

static const char *check_all(size_t page)
{
	int is_small = arena_amt_total(base_arena) < 128 * page;
	const char *wrong = check_ids();

	if (!wrong)
		wrong = check_importer(page, is_small ? 1 : 4);
	if (!wrong)
		wrong = check_cache();
	if (!wrong)
		wrong = check_kmalloc(page, is_small ? page / 4 : 3 * page);
	return wrong ? wrong : check_shortage(page);
}

#define TABLES 4 /* pages that tables may have grown by */

/* That `pages` are missing, as a line. */
static const char *tell_missing(size_t pages)
{
	static char line[] = "check.c:      pages less are free after each run: does something else allocate meanwhile?";

	for (char *digit = line + 12; pages > 0 && digit > line + 8; pages /= 10)
		*digit-- = (char)('0' + pages % 10);
	return line;
}

/* A run leaves what is made once, and what is idle is given back in a few turns; what leaks is missing after
 * every run. */
static const char *check_free(size_t page)
{
	const char *wrong = NULL;
	size_t before, after = 0, missing = TABLES + 1;

	reclaim_run(3); /* requests by MEM_ATOMIC don't take what caches hold idle */
	for (unsigned run = 0; run < 4 && missing > TABLES && !wrong; run++) {
		before = after;
		wrong = check_all(page);
		reclaim_run(3);
		after = arena_amt_free(base_arena);
		if (run > 0)
			missing = before > after ? (before - after) / page : 0;
	}
	return wrong || missing <= TABLES ? wrong : tell_missing(missing);
}

const char *embed_check(void)
{
	struct arena_stats stats;
	const char *wrong;

	arena_get_stats(base_arena, &stats);
	wrong = check_free(stats.quantum);
	if (wrong)
		return wrong;
	for (struct arena *a = arena_next(NULL); a; a = arena_next(a))
		MUST(arena_check(a, NULL) == 0);
	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c))
		MUST(kmem_cache_check(c, NULL) == 0);
	return NULL;
}
