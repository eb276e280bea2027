/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The leak finder.  What a test has lost it notes as ~address, which is no pointer; and it allocates in a
 * ktask that has ended by the time of a scan, so that nothing is left over on a stack.  But other tests leave
 * addresses in their static data and in pages, and these keep what lies there now: so tests lose several objects,
 * choose such that no data keeps, and expect some of them.  And a test that fails leaves objects that are lost:
 * each test here first notes the leaks that are there, and doesn't count them.
 */
#include "leaks.h"

#include "arenas.h"
#include "kmalloc.h"
#include "kmem_debug.h"
#include "lib/array.h"
#include "lib/bitmap.h"
#include "lib/string.h"
#include "lib/test.h"
#include "machine.h"
#include "port.h"
#include "slab.h"
#include "sync.h"
#include "threads.h"
#include "vmap.h"

/* Runs fn(0, arg) in a ktask of its own, which has ended then. */
static void elsewhere(void (*fn)(unsigned i, void *arg), void *arg)
{
	threads_run(THREADS_FREE, 1, fn, arg);
}

static void scan_twice(void)
{
	CHECK_EQ(leaks_scan(), 0);
	CHECK_EQ(leaks_scan(), 0);
}

/* Leaks that other tests have left: ~addresses. */
#define KNOWN_MAX 4096
static uintptr_t known[KNOWN_MAX];
static size_t known_count;

static bool note_known(const struct leak *leak, void *arg)
{
	known[known_count++] = ~leak->address;
	return known_count < KNOWN_MAX;
}

static bool is_known(const struct leak *leak)
{
	size_t i = 0;

	while (i < known_count && ~known[i] != leak->address)
		i++;
	return i < known_count;
}

/* For each test, before it allocates. */
static void note_what_others_left(void)
{
	scan_twice();
	known_count = 0;
	leaks_report(note_known, NULL);
	CHECK(known_count < KNOWN_MAX);
	leaks_clear();
}

static bool count_one(const struct leak *leak, void *arg)
{
	*(size_t *)arg += !is_known(leak);
	return true;
}

static size_t count_leaks(void)
{
	struct leaks_stats s;
	size_t n = 0;

	leaks_get_stats(&s);
	CHECK_EQ(leaks_report(count_one, &n), s.leaks);
	return n;
}

static __attribute__((noinline)) void *take_and_turn(struct kmem_cache *c)
{
	return (void *)~(uintptr_t)kmem_cache_alloc(c, MEM_WAIT);
}

TEST("leaks: what lies over another base isn't looked for")
{
	struct arena *base, *pages;
	struct kmem_cache *c;
	volatile uintptr_t turned;

	note_what_others_left();
	base = arenas_base(64);
	pages = arenas_importer("apart", base, PORT_PAGE_SIZE);
	c = kmem_cache_create("apart", 64, 0, 0, pages, NULL, NULL, NULL);
	turned = (uintptr_t)take_and_turn(c);
	scan_twice();
	CHECK_EQ(count_leaks(), 0);
	leaks_clear();
	kmem_cache_free(c, (void *)~turned);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	arenas_end(pages);
	arenas_base_end(base, 64);
}

/* 1,000 lost among 100,000: lists, trees, arrays of pointers, pointers into the middle */

#define KEPT 100000
#define LOST 1000
#define LOST_MAX 1024 /* in whole pages: LOST, and two arrays that come with the last */

struct node {
	struct node *left, *right; /* of a list, the next one alone */
	uint64_t number;
	char middle[24];
};

/* What has so many objects of each shape; those of the last two are in arrays of pointers. */
struct shapes {
	struct node *list, *tree, **array;
	char **insides;
	size_t listed, inside, others;
};

static struct kmem_cache *nodes;
static struct shapes kept;
static uintptr_t *lost; /* of ~addresses, in vmalloc'd memory */
static size_t lost_count, kept_count;

static void tree_add(struct node **at, struct node *n)
{
	while (*at)
		at = n->number < (*at)->number ? &(*at)->left : &(*at)->right;
	*at = n;
}

static struct node *node_new(size_t i)
{
	struct node *n = i % 8 < 4 ? kmem_cache_alloc(nodes, MEM_WAIT) : kmalloc(sizeof(*n), MEM_WAIT);

	memset(n, 0, sizeof(*n));
	n->number = test_random();
	return n;
}

static struct node *shapes_add(struct shapes *s, struct node *n, size_t i)
{
	if (i % 4 == 0) {
		n->left = s->list;
		s->list = n;
	} else if (i % 4 == 1) {
		tree_add(&s->tree, n);
	} else if (i % 4 == 2) {
		s->array[s->listed++] = n;
	} else {
		s->insides[s->inside++] = &n->middle[8];
	}
	return n;
}

/* Cleared to its end, where words are left over that may point to what is lost. */
static void *array_of(size_t n)
{
	void *array = kmalloc_array(n / 4 + 1, sizeof(void *), MEM_WAIT);

	return memset(array, 0, ksize(array));
}

static void note_lost(void *p)
{
	lost[lost_count++] = ~(uintptr_t)p;
}

/* What words of static data point to, GRAIN bytes of it each: a bit by a hash of the address. */
#define GRAIN 16
#define KEEPS_BITS ((size_t)1 << 22)
static uint64_t *keeps;

static size_t keeps_bit(uintptr_t address)
{
	return (address / GRAIN * 0x9e3779b97f4a7c15ull) >> 42;
}

static __attribute__((no_sanitize("address", "thread"))) void keeps_fill(void)
{
	uintptr_t start;
	size_t bytes;

	keeps = vmalloc(KEEPS_BITS / 8, MEM_WAIT);
	memset(keeps, 0, KEEPS_BITS / 8);
	for (size_t i = 0; machine_data(i, &start, &bytes); i++)
		for (size_t at = 0; at + sizeof(uintptr_t) <= bytes; at += sizeof(uintptr_t))
			bitmap_set(keeps, keeps_bit(*(const volatile uintptr_t *)(start + at)));
}

/* To the finder an object reaches to the next one: in mode full the zone behind it is of it, too. */
#define REACH (2 * sizeof(struct node))

static bool is_kept(uintptr_t p)
{
	bool is = false;

	for (uintptr_t at = p; at < p + REACH; at += GRAIN)
		is = is || bitmap_test(keeps, keeps_bit(at));
	return is || bitmap_test(keeps, keeps_bit(p + REACH - 1));
}

/* A node that may be lost; others are for the list that is kept. */
static struct node *node_clean(size_t i)
{
	struct node *n;

	while (is_kept((uintptr_t)(n = node_new(i))))
		shapes_add(&kept, n, 0);
	return n;
}

#define GROUP 5 /* objects of each shape that are lost together */

static void plant_one(struct shapes *s)
{
	size_t n = s->listed + s->inside + s->others;

	if (n % (4 * GROUP) == 0) {
		*s = (struct shapes){.array = (void *)node_clean(4), .insides = (void *)node_clean(4)};
		note_lost(s->array);
		note_lost(s->insides);
		n = 0;
	}
	s->others += n % 4 < 2;
	note_lost(shapes_add(s, node_clean(n), n));
}

static void plant(unsigned i, void *arg)
{
	struct shapes s = {.list = NULL};
	size_t each = kept_count / LOST + 1;

	keeps_fill();
	kept = (struct shapes){.array = array_of(kept_count), .insides = array_of(kept_count)};
	for (size_t n = 0; n < kept_count; n++) {
		shapes_add(&kept, node_new(n), n);
		if (n % each == 0 && lost_count < LOST)
			plant_one(&s);
	}
	while (lost_count < LOST)
		plant_one(&s);
	vfree(keeps, KEEPS_BITS / 8);
}

_Static_assert(sizeof(struct node) >= GROUP * sizeof(void *), "a node's memory does for an array, too");

static void node_free(struct node *n, bool is_of_cache)
{
	if (is_of_cache)
		kmem_cache_free(nodes, n);
	else
		kfree(n);
}

static bool is_of_cache(const void *p)
{
	struct kmem_object where;

	return kmem_cache_find(nodes, (uintptr_t)p, &where);
}

static void tree_free(void)
{
	while (kept.tree) {
		struct node **at = &kept.tree, *n;

		while ((*at)->left || (*at)->right)
			at = (*at)->left ? &(*at)->left : &(*at)->right;
		n = *at;
		*at = NULL;
		node_free(n, is_of_cache(n));
	}
}

static void kept_free(void)
{
	for (struct node *n = kept.list, *next; n; n = next) {
		next = n->left;
		node_free(n, is_of_cache(n));
	}
	tree_free();
	for (size_t i = 0; i < kept.listed; i++)
		node_free(kept.array[i], is_of_cache(kept.array[i]));
	for (size_t i = 0; i < kept.inside; i++)
		node_free((void *)(kept.insides[i] - offsetof(struct node, middle) - 8),
			is_of_cache(kept.insides[i]));
	kfree(kept.array);
	kfree(kept.insides);
	memset(&kept, 0, sizeof(kept));
}

static void lost_free(unsigned i, void *arg)
{
	while (lost_count > 0) {
		struct node *n = (struct node *)~lost[--lost_count];

		node_free(n, is_of_cache(n));
	}
}

struct tally {
	size_t right, wrong;
};

static bool compare(const struct leak *leak, void *arg)
{
	struct tally *t = arg;
	size_t i = 0;

	while (i < lost_count && ~lost[i] != leak->address)
		i++;
	if (i < lost_count)
		CHECK_LE(leak->size, REACH);
	t->right += i < lost_count;
	t->wrong += i == lost_count && !is_known(leak);
	return true;
}

static struct tally tally(void)
{
	struct tally t = {0, 0};

	leaks_report(compare, &t);
	return t;
}

TEST("leaks: two scans find 990 of 1,000 lost among 100,000, and nothing else")
{
	struct tally t;

	note_what_others_left();
	nodes = kmem_cache_create("nodes", sizeof(struct node), 0, 0, NULL, NULL, NULL, NULL);
	lost = vmalloc(LOST_MAX * sizeof(*lost), MEM_WAIT);
	memset(lost, 0, LOST_MAX * sizeof(*lost));
	/* Not fewer by test_divisor=: words that are left over would keep too large a share. */
	kept_count = KEPT;
	elsewhere(plant, NULL);
	CHECK_LE(LOST, lost_count);
	CHECK_EQ(leaks_scan(), 0);
	CHECK_EQ(tally().right, 0);
	CHECK_EQ(leaks_scan(), 0);
	t = tally();
	CHECK_LE(lost_count - lost_count / 100, t.right);
	CHECK_EQ(t.wrong, 0);
	/* What is freed is a leak no more, at once. */
	elsewhere(lost_free, NULL);
	CHECK_EQ(count_leaks(), 0);
	scan_twice();
	CHECK_EQ(count_leaks(), 0);
	kept_free();
	leaks_clear();
	vfree(lost, LOST_MAX * sizeof(*lost));
	CHECK_EQ(kmem_cache_destroy(nodes), 0);
}

/* Where the only pointer to an object may be */

#define SIZE 200 /* bytes of an object */

/* Whether a word of static data would keep it. */
static __attribute__((no_sanitize("address", "thread"))) bool is_kept_by_data(const void *p, size_t size)
{
	uintptr_t start;
	size_t bytes;

	for (size_t i = 0; machine_data(i, &start, &bytes); i++)
		for (size_t at = 0; at + sizeof(uintptr_t) <= bytes; at += sizeof(uintptr_t))
			if (*(const volatile uintptr_t *)(start + at) - (uintptr_t)p < size)
				return true;
	return false;
}

#define TRIES 50
#define ZONE_MAX 64 /* bytes that mode full has behind an object, and the finder takes for a part of it */

static void *take_clean(size_t size)
{
	void *tried[TRIES], *p = kzalloc(size, MEM_WAIT);
	size_t n = 0;

	while (is_kept_by_data(p, size + ZONE_MAX) && n < TRIES) {
		tried[n++] = p;
		p = kzalloc(size, MEM_WAIT);
	}
	while (n > 0)
		kfree(tried[--n]);
	return p;
}

/* A ktask that has an object, and how it has it. */
struct holder {
	void (*hold)(struct holder *h);
	uintptr_t lost; /* ~ the object's address; 0: not yet */
	bool lets_go;	/* atomic */
	struct semaphore done;
	void *area; /* in which the pointer is */
};

static bool lets_go(struct holder *h)
{
	return __atomic_load_n(&h->lets_go, __ATOMIC_ACQUIRE);
}

static void *take(struct holder *h)
{
	void *p = kmalloc(SIZE, MEM_WAIT);

	__atomic_store_n(&h->lost, ~(uintptr_t)p, __ATOMIC_RELEASE);
	return p;
}

/* Several, of which other words may keep some. */
static void on_stack(struct holder *h)
{
	void *volatile kept_there[32];

	for (size_t i = 1; i < ARRAY_SIZE(kept_there); i++)
		kept_there[i] = take_clean(SIZE);
	kept_there[0] = take(h);
	sem_down(&h->done, 1);
	for (size_t i = 0; i < ARRAY_SIZE(kept_there); i++)
		kfree(kept_there[i]);
}

/* The compiler can't tell where it comes from, and has it in a register that calls preserve, or spills it. */
static void in_register_of_one_that_yields(struct holder *h)
{
	void *p = take(h);

	while (!lets_go(h)) {
		__asm__ volatile("" : "+r"(p));
		kthread_yield();
	}
	kfree(p);
}

static void in_register_of_one_that_runs(struct holder *h)
{
	void *p = take(h);

	while (!lets_go(h)) {
		__asm__ volatile("" : "+r"(p));
		port_pause();
	}
	kfree(p);
}

static void in_vmalloc(struct holder *h)
{
	void **area = h->area = vmalloc(3 * PORT_PAGE_SIZE, MEM_WAIT);
	size_t at = 2 * PORT_PAGE_SIZE / sizeof(*area) + 5;

	memset(area, 0, 3 * PORT_PAGE_SIZE);
	area[at] = take(h);
	sem_down(&h->done, 1);
	kfree(area[at]);
	vfree(area, 3 * PORT_PAGE_SIZE);
}

#define LARGE (KMALLOC_CACHED_MAX + 1)

static void in_large_kmalloc(struct holder *h)
{
	void **area = h->area = kzalloc(LARGE, MEM_WAIT);
	size_t last = LARGE / sizeof(*area) - 1;

	area[last] = take(h);
	sem_down(&h->done, 1);
	kfree(area[last]);
	kfree(area);
}

static void in_pages(struct holder *h)
{
	void **area = h->area = arena_alloc(kpages_arena, 2 * PORT_PAGE_SIZE, MEM_WAIT);

	memset(area, 0, 2 * PORT_PAGE_SIZE);
	area[600] = take(h);
	sem_down(&h->done, 1);
	kfree(area[600]);
	arena_free(kpages_arena, area, 2 * PORT_PAGE_SIZE);
}

static void in_reclaim_argument(struct holder *h)
{
	struct kmem_cache *c = kmem_cache_create("argument", 64, 0, 0, NULL, NULL, NULL, take(h));

	h->area = c;
	sem_down(&h->done, 1);
	CHECK_EQ(kmem_cache_destroy(c), 0);
	kfree((void *)~h->lost);
}

static void hold(unsigned i, void *arg)
{
	struct holder *h = arg;

	h->hold(h);
}

static void (*const ways[])(struct holder *h) = {on_stack, in_register_of_one_that_yields,
	in_register_of_one_that_runs, in_vmalloc, in_large_kmalloc, in_pages, in_reclaim_argument};

/* Not on a stack. */
static struct holder holders[ARRAY_SIZE(ways)];

static void start_and_end(struct holder *h)
{
	struct threads *t = threads_start(THREADS_FREE, 1, hold, h);

	while (!__atomic_load_n(&h->lost, __ATOMIC_ACQUIRE))
		kthread_yield();
	/* It sleeps, if it does. */
	kthread_usleep(1000);
	scan_twice();
	CHECK_EQ(count_leaks(), 0);
	__atomic_store_n(&h->lets_go, true, __ATOMIC_RELEASE);
	sem_up(&h->done, 1);
	threads_join(t);
	leaks_clear();
}

TEST("leaks: stacks, registers, pages, caches and large kmallocs keep objects")
{
	note_what_others_left();
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		/* One that runs needs a core. */
		if (ways[i] == in_register_of_one_that_runs && port_core_count() == 1)
			continue;
		holders[i] = (struct holder){.hold = ways[i]};
		sem_init(&holders[i].done, 0);
		start_and_end(&holders[i]);
	}
}

/* Objects by themselves */

#define FEW 128 /* a magazine has some dozens, and its memory may be a root when it is used again */
#define FEW_FOUND 4 /* of them at least: a word that is left over keeps an object, and a large one easily */

static uintptr_t few[FEW];
static size_t few_replaced;

static void lose_few(unsigned i, void *size)
{
	for (size_t n = 0; n < FEW; n++)
		few[n] = ~(uintptr_t)take_clean((size_t)size);
}

static void free_few(unsigned i, void *arg)
{
	for (size_t n = 0; n < FEW; n++)
		kfree((void *)~few[n]);
}

static bool compare_few(const struct leak *leak, void *arg)
{
	struct tally *t = arg;
	size_t n = 0;

	while (n < FEW && ~few[n] != leak->address)
		n++;
	t->right += n < FEW;
	t->wrong += n == FEW && !is_known(leak);
	return true;
}

/* Whether some of them are leaks, and nothing else is. */
static bool are_few_leaks(void)
{
	struct tally t = {0, 0};

	leaks_report(compare_few, &t);
	CHECK_EQ(t.wrong, 0);
	return t.right >= FEW_FOUND;
}

/* Frees each and allocates again, as it was before, which mostly is at the same address. */
static void replace_few(unsigned i, void *size)
{
	for (size_t n = 0; n < FEW; n++) {
		uintptr_t before = few[n];

		kfree((void *)~before);
		few[n] = ~(uintptr_t)take_clean((size_t)size);
		few_replaced += few[n] == before;
	}
}

#define REPLACE_TURNS 20

static void check_replaced(size_t size)
{
	/* Whether what is freed is the next that is allocated: not in mode full, which has it in quarantine first,
	 * nor for a while when memory was short. */
	bool is_last_first = size != LARGE && !kmem_debug_checks();
	int turn = 0;

	note_what_others_left();
	elsewhere(lose_few, (void *)size);
	CHECK_EQ(leaks_scan(), 0);
	do {
		few_replaced = 0;
		elsewhere(replace_few, (void *)size);
	} while (is_last_first && few_replaced <= FEW / 2 && turn++ < REPLACE_TURNS);
	CHECK(!is_last_first || few_replaced > FEW / 2);
	CHECK_EQ(leaks_scan(), 0);
	CHECK_EQ(count_leaks(), 0);
	CHECK_EQ(leaks_scan(), 0);
	CHECK(are_few_leaks());
	elsewhere(free_few, NULL);
	CHECK_EQ(count_leaks(), 0);
	leaks_clear();
}

TEST("leaks: an object freed and allocated again between two scans is another")
{
	check_replaced(SIZE);
	check_replaced(LARGE);
}

static void free_many(unsigned i, void *arg)
{
	void *p[300];

	for (size_t n = 0; n < ARRAY_SIZE(p); n++)
		p[n] = kmalloc(SIZE, MEM_WAIT);
	for (size_t n = 0; n < ARRAY_SIZE(p); n++)
		kfree(p[n]);
}

TEST("leaks: what lies in a magazine is none")
{
	note_what_others_left();
	elsewhere(free_many, NULL);
	CHECK_EQ(leaks_scan(), 0);
	elsewhere(free_many, NULL);
	CHECK_EQ(leaks_scan(), 0);
	CHECK_EQ(count_leaks(), 0);
	leaks_clear();
}

/* Circles of a small and a large one. */
static void lose_circles(unsigned i, void *arg)
{
	for (size_t n = 0; n < FEW; n += 2) {
		void **a = take_clean(SIZE), **b = take_clean(LARGE);

		a[3] = &b[LARGE / sizeof(*b) - 3];
		b[4000] = (char *)&a[7] + 1;
		few[n] = ~(uintptr_t)a;
		few[n + 1] = ~(uintptr_t)b;
	}
}

TEST("leaks: objects that only point to each other are some")
{
	note_what_others_left();
	elsewhere(lose_circles, NULL);
	scan_twice();
	CHECK(are_few_leaks());
	elsewhere(free_few, NULL);
	leaks_clear();
}

TEST("leaks: cleared, they are forgotten, and found again by two scans more")
{
	struct leaks_stats s;

	note_what_others_left();
	elsewhere(lose_few, (void *)SIZE);
	scan_twice();
	CHECK(are_few_leaks());
	leaks_get_stats(&s);
	CHECK_LE(1, s.watched);
	leaks_clear();
	leaks_get_stats(&s);
	CHECK_EQ(s.scans + s.suspects + s.leaks + s.watched, 0);
	CHECK_EQ(leaks_scan(), 0);
	CHECK_EQ(count_leaks(), 0);
	CHECK_EQ(leaks_scan(), 0);
	CHECK(are_few_leaks());
	elsewhere(free_few, NULL);
	leaks_clear();
}

TEST("leaks: without memory a scan is refused, and what is known stays")
{
	struct piece *pieces;

	note_what_others_left();
	elsewhere(lose_few, (void *)SIZE);
	scan_twice();
	pieces = pieces_take_all(kpages_arena, (size_t)1 << 26, PORT_PAGE_SIZE, MEM_ATOMIC);
	CHECK_EQ(leaks_scan(), -ENOMEM);
	pieces_give(kpages_arena, pieces, SIZE_MAX);
	CHECK(are_few_leaks());
	elsewhere(free_few, NULL);
	leaks_clear();
}

#define IDS 64 /* segments, of which an arena's hash has more than it holds without a page */

TEST("leaks: a scan ends at any size of an arena's hash")
{
	struct arena *a = arenas_ids(1, IDS);

	for (size_t i = 0; i < IDS; i++) {
		CHECK(arena_alloc(a, 1, MEM_WAIT) != NULL);
		CHECK_EQ(leaks_scan(), 0);
	}
	CHECK_LT(0, arenas_stats(a).hash_pages);
	for (uintptr_t id = 1; id <= IDS; id++)
		arena_free(a, (void *)id, 1);
	leaks_clear();
	arenas_end(a);
}

/* While others run */

#define MOVERS 3
#define OWN 64

/* Each has a list; it takes from its head and puts what it took, or another, at its end. */
struct mover {
	struct node *head, *tail;
};

static struct mover movers[MOVERS];
static bool movers_end; /* atomic */

static void append(struct mover *m, struct node *n)
{
	n->left = NULL;
	if (m->tail)
		m->tail->left = n;
	else
		m->head = n;
	m->tail = n;
}

static struct node *take_first(struct mover *m)
{
	struct node *n = m->head;

	m->head = n->left;
	if (!m->head)
		m->tail = NULL;
	return n;
}

static void move(unsigned i, void *arg)
{
	struct mover *m = &movers[i];

	for (size_t n = 0; n < OWN; n++)
		append(m, kmalloc(sizeof(struct node), MEM_WAIT));
	for (size_t n = 0; !__atomic_load_n(&movers_end, __ATOMIC_RELAXED); n++) {
		struct node *first = take_first(m);

		if (test_random_below(4) == 0) {
			kfree(first);
			first = kmalloc(sizeof(*first), MEM_WAIT);
		}
		append(m, first);
		if (n % 16 == 0)
			kthread_yield();
	}
	while (m->head)
		kfree(take_first(m));
}

TEST("leaks: none while threads move objects about, allocate and free")
{
	struct threads *t;

	note_what_others_left();
	movers_end = false;
	t = threads_start(THREADS_FREE, MOVERS, move, NULL);
	for (size_t i = 0; i < test_ops(50); i++) {
		CHECK_EQ(leaks_scan(), 0);
		CHECK_EQ(count_leaks(), 0);
	}
	__atomic_store_n(&movers_end, true, __ATOMIC_RELAXED);
	threads_join(t);
	leaks_clear();
}

/* Caches, slabs and large blocks that come while a scan counts them, and go while it looks: all are kept here. */
#define CROWD_CACHES 40
#define CROWD_OBJECTS 400
#define CROWD_LARGE 24

struct crowd {
	struct kmem_cache *caches[CROWD_CACHES];
	void *first[CROWD_CACHES]; /* an object of each */
	void *objects[CROWD_OBJECTS];
	void *large[CROWD_LARGE];
};

static struct crowd crowd;
static bool crowd_ends; /* atomic */

static void crowd_caches(void)
{
	for (size_t i = 0; i < CROWD_CACHES; i++) {
		crowd.caches[i] = kmem_cache_create("crowd", 64 + 8 * i, 0, 0, NULL, NULL, NULL, NULL);
		crowd.first[i] = kmem_cache_alloc(crowd.caches[i], MEM_WAIT);
	}
	kthread_yield();
	for (size_t i = 0; i < CROWD_CACHES; i++) {
		kmem_cache_free(crowd.caches[i], crowd.first[i]);
		/* A scan may stand on it. */
		while (kmem_cache_destroy(crowd.caches[i]) != 0)
			kthread_yield();
	}
}

static void crowd_slabs(void)
{
	struct kmem_cache *c = kmem_cache_create("crowd", 2048, 0, 0, NULL, NULL, NULL, NULL);

	for (size_t i = 0; i < CROWD_OBJECTS; i++)
		crowd.objects[i] = kmem_cache_alloc(c, MEM_WAIT);
	kthread_yield();
	for (size_t i = 0; i < CROWD_OBJECTS; i++)
		kmem_cache_free(c, crowd.objects[i]);
	while (kmem_cache_destroy(c) != 0)
		kthread_yield();
}

static void crowd_large(void)
{
	for (size_t i = 0; i < CROWD_LARGE; i++)
		crowd.large[i] = kmalloc(KMALLOC_CACHED_MAX + PORT_PAGE_SIZE * (1 + test_random_below(8)), MEM_WAIT);
	kthread_yield();
	for (size_t i = 0; i < CROWD_LARGE; i++)
		kfree(crowd.large[i]);
}

/* Each stands in a list of slabs, where a scan passes it, and it the scan. */
static void crowd_walks(void)
{
	uint64_t slabs[KMEM_FULLNESS];

	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
		CHECK_EQ(kmem_cache_check(c, &console_sink), 0);
		kmem_cache_get_fullness(c, slabs);
	}
	kthread_yield();
}

static void come_and_go(unsigned i, void *arg)
{
	static void (*const all[])(void) = {crowd_caches, crowd_slabs, crowd_large, crowd_walks};

	while (!__atomic_load_n(&crowd_ends, __ATOMIC_RELAXED) && !test_has_failed())
		all[i % ARRAY_SIZE(all)]();
}

/* What has come since it was counted may have no place, and what has gone may be taken for what came in its place. */
TEST("leaks: none after caches, slabs and large blocks came and went in every scan")
{
	struct threads *t;
	size_t failed = 0, count = 0;

	note_what_others_left();
	crowd_ends = false;
	t = threads_start(THREADS_FREE, 4, come_and_go, NULL);
	for (size_t i = 0; i < 10 + test_ops(100); i++) {
		failed += leaks_scan() != 0;
		leaks_report(count_one, &count);
	}
	__atomic_store_n(&crowd_ends, true, __ATOMIC_RELAXED);
	threads_join(t);
	CHECK_EQ(failed, 0);
	scan_twice();
	CHECK_EQ(count_leaks(), 0);
	leaks_clear();
}

static void *pages_make(struct arena *self, size_t size, unsigned flags)
{
	return (void *)(uintptr_t)PORT_PAGE_SIZE;
}

static void pages_unmake(struct arena *self, void *pages, size_t size)
{
}

TEST("leaks: pages that an arena makes itself are no memory, and a scan passes by")
{
	struct arena *self = arena_create("makes pages", NULL, 0, PORT_PAGE_SIZE, pages_make, pages_unmake,
		ARENA_SELF_SOURCE, 0, MEM_WAIT);
	void *page = arena_alloc(self, PORT_PAGE_SIZE, MEM_WAIT);

	note_what_others_left();
	scan_twice();
	CHECK_EQ(count_leaks(), 0);
	leaks_clear();
	arena_free(self, page, PORT_PAGE_SIZE);
	arenas_end(self);
}
