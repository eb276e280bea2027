/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The page frame table.
 */
#include "frames.h"

#include "arena.h"
#include "lib/bitmap.h"
#include "lib/check.h"
#include "lib/panic.h"
#include "lib/string.h"
#include "owner.h"
#include "slab.h"
#include "spinlock.h"

/* The leaf of addresses that have none.  Never written. */
static uintptr_t empty[FRAMES_LEAF_SLOTS];

struct frames frames;

/* Regions of RAM that came after boot: a directory for each DIRECTORY_BYTES of addresses, a page of
 * pointers to regions of REGION_BYTES.  They are made when an entry is first set there, and stay. */
#define SLOTS FRAMES_LEAF_SLOTS
#define REGION_BYTES (FRAMES_LEAF_BYTES * SLOTS)
#define DIRECTORY_BYTES (REGION_BYTES * SLOTS)
#define ADDRESS_BITS 48 /* those above repeat the last one */
#define ADDRESSES ((size_t)1 << ADDRESS_BITS)
#define DIRECTORIES (ADDRESSES > DIRECTORY_BYTES ? ADDRESSES / DIRECTORY_BYTES : 1)

struct region {
	struct frames frames; /* first */
	uint16_t live[SLOTS];
	uint64_t idle[BITMAP_WORDS(SLOTS)];
	uintptr_t *root[SLOTS];
};

typedef struct region *directory[SLOTS];
static directory *directories[DIRECTORIES];

_Static_assert(sizeof(directory) == PORT_PAGE_SIZE, "a directory is a page");

/* Guards which leaves and regions there are and how many entries each leaf has.  Held for a bounded
 * number of steps, a leaf's. */
static struct spinlock lock = SPINLOCK_INIT(SPIN_LEAF);
static size_t leaves, root_pages;
static size_t leaves_max; /* that there can be in all regions */
static struct arena_owner owner = ARENA_OWNER("page frame table", base_arena);

_Static_assert(FRAMES_LEAF_SLOTS <= UINT16_MAX, "live counts the entries of a leaf");

static size_t index_of(const struct frames *f, uintptr_t addr)
{
	return (addr - f->first) / FRAMES_LEAF_BYTES;
}

static size_t pages_for(size_t bytes)
{
	return (bytes + PORT_PAGE_SIZE - 1) / PORT_PAGE_SIZE;
}

static void *take_pages(size_t bytes)
{
	void *pages = base_alloc(NULL, pages_for(bytes) * PORT_PAGE_SIZE, MEM_ATOMIC);

	if (!pages)
		panic("page frame table: no memory for its root, %zu bytes", bytes);
	arena_owner_add(&owner, base_arena, bytes);
	root_pages += pages_for(bytes);
	return pages;
}

/* Eight stores a turn, over whole pages: at boot this is what grows with RAM. */
static void root_fill(uintptr_t **root, size_t count)
{
	uintptr_t **end = root + pages_for(count * sizeof(*root)) * (PORT_PAGE_SIZE / sizeof(*root));

	for (; root < end; root += 8) {
		root[0] = root[1] = root[2] = root[3] = empty;
		root[4] = root[5] = root[6] = root[7] = empty;
	}
}

void frames_init(uintptr_t first, uintptr_t last)
{
	struct frames *f = &frames;

	f->first = first / FRAMES_LEAF_BYTES * FRAMES_LEAF_BYTES;
	f->count = leaves_max = index_of(f, last) + 1;
	f->root = take_pages(f->count * sizeof(*f->root));
	f->live = take_pages(f->count * sizeof(*f->live));
	f->idle = take_pages(BITMAP_WORDS(f->count) * sizeof(*f->idle));
	root_fill(f->root, f->count);
	memset(f->idle, 0, BITMAP_WORDS(f->count) * sizeof(*f->idle));
}

/* Regions */

static directory **directory_at(uintptr_t addr)
{
	return &directories[addr / DIRECTORY_BYTES % DIRECTORIES];
}

static bool is_canonical(uintptr_t addr)
{
	return (uintptr_t)((intptr_t)(addr << (64 - ADDRESS_BITS)) >> (64 - ADDRESS_BITS)) == addr;
}

/* The region that addr lies in, which isn't boot's; NULL if there is none. */
static struct region *region_at(uintptr_t addr)
{
	/* Acquire, both: pair with the releases in publish(). */
	directory *d = is_canonical(addr) ? __atomic_load_n(directory_at(addr), __ATOMIC_ACQUIRE) : NULL;

	return d ? __atomic_load_n(&(*d)[addr / REGION_BYTES % SLOTS], __ATOMIC_ACQUIRE) : NULL;
}

/* The first region at or behind the *i-th there can be; *i is then behind it.  NULL: there is none. */
static struct region *region_from(size_t *i)
{
	struct region *r = NULL;

	while (!r && *i < DIRECTORIES * SLOTS) {
		directory *d = __atomic_load_n(&directories[*i / SLOTS], __ATOMIC_ACQUIRE);

		if (d)
			r = __atomic_load_n(&(*d)[*i % SLOTS], __ATOMIC_ACQUIRE);
		*i = d ? *i + 1 : (*i / SLOTS + 1) * SLOTS;
	}
	return r;
}

uintptr_t frames_get_late(uintptr_t addr)
{
	struct region *r = region_at(addr);

	return r ? frames_get_in(&r->frames, addr) : 0;
}

static struct frames *frames_at(uintptr_t addr)
{
	return index_of(&frames, addr) < frames.count ? &frames : (struct frames *)region_at(addr);
}

/* Puts `pages` zeroed pages at *place if nothing is there, else gives them back. */
static void publish(void **place, void *at, size_t pages, size_t more_leaves)
{
	port_irq_t irq = spin_lock(&lock);
	bool is_new = !*place;

	if (is_new) {
		__atomic_store_n(place, at, __ATOMIC_RELEASE);
		root_pages += pages;
		leaves_max += more_leaves;
		arena_owner_add(&owner, base_arena, pages * PORT_PAGE_SIZE);
	}
	spin_unlock(&lock, irq);
	if (!is_new)
		base_free(NULL, at, pages * PORT_PAGE_SIZE);
}

static bool directory_make(uintptr_t addr, unsigned flags)
{
	directory *d = base_zalloc(NULL, sizeof(*d), flags);

	if (d)
		publish((void **)directory_at(addr), d, 1, 0);
	return d != NULL;
}

static bool region_make(uintptr_t addr, unsigned flags)
{
	size_t pages = pages_for(sizeof(struct region));
	struct region *r = base_zalloc(NULL, pages * PORT_PAGE_SIZE, flags);

	if (!r)
		return false;
	r->frames = (struct frames){addr / REGION_BYTES * REGION_BYTES, SLOTS, r->root, r->live, r->idle};
	root_fill(r->root, SLOTS);
	publish((void **)&(**directory_at(addr))[addr / REGION_BYTES % SLOTS], r, pages, SLOTS);
	return true;
}

/* The same as frames_at(), but makes it; NULL if the base arena has no memory. */
static struct frames *frames_make(uintptr_t addr, unsigned flags)
{
	struct frames *f = frames_at(addr);

	if (f)
		return f;
	if (!*directory_at(addr) && !directory_make(addr, flags))
		return NULL;
	return region_make(addr, flags) ? frames_at(addr) : NULL;
}

/* Entries */

/* Notes n more entries in the leaf, which comes from the base arena if it isn't there; false if
 * that has no memory. */
static bool leaf_claim(struct frames *f, size_t i, size_t n, unsigned flags)
{
	uintptr_t *spare = NULL;

	for (;;) {
		port_irq_t irq = spin_lock(&lock);
		bool is_new = f->root[i] == empty && spare, is_there;

		if (is_new) {
			f->live[i] = 0;
			__atomic_store_n(&f->root[i], spare, __ATOMIC_RELEASE);
			leaves++;
			arena_owner_add(&owner, base_arena, PORT_PAGE_SIZE);
		}
		is_there = f->root[i] != empty;
		if (is_there) {
			f->live[i] += (uint16_t)n;
			bitmap_clear(f->idle, i);
		}
		spin_unlock(&lock, irq);

		if (is_there && spare && !is_new)
			base_free(NULL, spare, PORT_PAGE_SIZE);
		if (is_there)
			return true;
		spare = base_zalloc(NULL, PORT_PAGE_SIZE, flags);
		if (!spare)
			return false;
	}
}

static void leaf_unclaim(struct frames *f, size_t i, size_t n)
{
	port_irq_t irq = spin_lock(&lock);

	f->live[i] -= (uint16_t)n;
	if (f->live[i] == 0)
		bitmap_set(f->idle, i);
	spin_unlock(&lock, irq);
}

/* How many of `pages` pages from `start` on lie in the leaf of the first. */
static size_t pages_in_leaf(uintptr_t start, size_t pages)
{
	size_t n = FRAMES_LEAF_SLOTS - start / PORT_PAGE_SIZE % FRAMES_LEAF_SLOTS;

	return n < pages ? n : pages;
}

/* Of n pages in one leaf. */
static void store(struct frames *f, uintptr_t start, size_t n, uintptr_t entry)
{
	uintptr_t *slot = f->root[index_of(f, start)] + start / PORT_PAGE_SIZE % FRAMES_LEAF_SLOTS;

	for (size_t i = 0; i < n; i++)
		__atomic_store_n(&slot[i], entry, __ATOMIC_RELEASE);
}

bool frames_set(uintptr_t start, size_t pages, uintptr_t entry, unsigned flags)
{
	for (size_t done = 0, n; done < pages; done += n) {
		uintptr_t at = start + done * PORT_PAGE_SIZE;
		struct frames *f = frames_make(at, flags);

		n = pages_in_leaf(at, pages - done);
		if (!f || !leaf_claim(f, index_of(f, at), n, flags)) {
			frames_clear(start, done);
			return false;
		}
		store(f, at, n, entry);
	}
	return true;
}

void frames_change(uintptr_t addr, uintptr_t entry)
{
	store(frames_at(addr), addr, 1, entry);
}

void frames_clear(uintptr_t start, size_t pages)
{
	for (size_t n; pages > 0; start += n * PORT_PAGE_SIZE, pages -= n) {
		struct frames *f = frames_at(start);

		n = pages_in_leaf(start, pages);
		store(f, start, n, 0);
		leaf_unclaim(f, index_of(f, start), n);
	}
}

/* Takes out the first leaf without an entry at or behind *i, looking at no more than TRIM_STEP; *i
 * is then behind what was looked at. */
#define TRIM_STEP (256 * 64)

static uintptr_t *leaf_take_idle(struct frames *f, size_t *i)
{
	port_irq_t irq = spin_lock(&lock);
	size_t end = f->count - *i < TRIM_STEP ? f->count : *i + TRIM_STEP;
	size_t found = bitmap_find_from(f->idle, end, *i);
	uintptr_t *leaf = NULL;

	*i = end;
	if (found != BITMAP_NONE) {
		*i = found + 1;
		leaf = f->root[found];
		__atomic_store_n(&f->root[found], empty, __ATOMIC_RELEASE);
		bitmap_clear(f->idle, found);
		leaves--;
		arena_owner_sub(&owner, base_arena, PORT_PAGE_SIZE);
	}
	spin_unlock(&lock, irq);
	return leaf;
}

static size_t trim(struct frames *f)
{
	size_t trimmed = 0;

	for (size_t i = 0; i < f->count;) {
		uintptr_t *leaf = leaf_take_idle(f, &i);

		if (!leaf)
			continue;
		base_free(NULL, leaf, PORT_PAGE_SIZE);
		trimmed++;
	}
	return trimmed;
}

size_t frames_trim(void)
{
	size_t trimmed = trim(&frames);
	struct region *r;

	for (size_t i = 0; (r = region_from(&i));)
		trimmed += trim(&r->frames);
	return trimmed;
}

size_t kmem_table_pages(void)
{
	port_irq_t irq = spin_lock(&lock);
	size_t pages = root_pages + leaves;

	spin_unlock(&lock, irq);
	return pages;
}

size_t kmem_table_pages_max(void)
{
	return root_pages + leaves_max;
}

/* Whether addr lies in what take_pages() returned for so many bytes. */
static bool is_in(uintptr_t addr, const void *pages, size_t bytes)
{
	return addr - (uintptr_t)pages < pages_for(bytes) * PORT_PAGE_SIZE;
}

/* Whether addr lies in a leaf of f; *first is then the first address that the leaf stands for. */
static bool is_in_leaf(const struct frames *f, uintptr_t addr, uintptr_t *first)
{
	for (size_t i = 0; i < f->count; i++) {
		uintptr_t *leaf = __atomic_load_n(&f->root[i], __ATOMIC_RELAXED);

		*first = f->first + i * FRAMES_LEAF_BYTES;
		if (leaf != empty && addr - (uintptr_t)leaf < PORT_PAGE_SIZE)
			return true;
	}
	return false;
}

static bool is_in_root(uintptr_t addr)
{
	const struct frames *f = &frames;
	bool is = is_in(addr, f->root, f->count * sizeof(*f->root)) ||
		  is_in(addr, f->live, f->count * sizeof(*f->live)) ||
		  is_in(addr, f->idle, BITMAP_WORDS(f->count) * sizeof(*f->idle));
	struct region *r;

	for (size_t i = 0; !is && i < DIRECTORIES; i++)
		is = directories[i] && is_in(addr, directories[i], sizeof(directory));
	for (size_t i = 0; !is && (r = region_from(&i));)
		is = is_in(addr, r, sizeof(*r));
	return is;
}

bool kmem_table_find(uintptr_t addr, uintptr_t *first)
{
	struct region *r;

	check_given("kmem_table_find", "place for an address", first, __builtin_return_address(0));
	*first = 0;
	if (is_in_root(addr) || is_in_leaf(&frames, addr, first))
		return true;
	for (size_t i = 0; (r = region_from(&i));)
		if (is_in_leaf(&r->frames, addr, first))
			return true;
	return false;
}
