/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The page frame table.
 */
#include "frames.h"

#include "arena.h"
#include "lib/bitmap.h"
#include "lib/panic.h"
#include "lib/string.h"
#include "owner.h"
#include "slab.h"
#include "spinlock.h"

/* The leaf of addresses that have none.  Never written. */
static uintptr_t empty[FRAMES_LEAF_SLOTS];

struct frames frames;

/* Guards which leaves there are and how many entries each has.  Held for a bounded number of steps,
 * a leaf's. */
static struct spinlock lock = SPINLOCK_INIT(SPIN_LEAF);
static uint16_t *live;	 /* entries set or claimed; of a leaf that is there, else unspecified */
static uint64_t *idle;	 /* bit: the leaf is there and may have no entry */
static size_t leaves, root_pages;
static struct arena_owner owner = ARENA_OWNER("page frame table", base_arena);

_Static_assert(FRAMES_LEAF_SLOTS <= UINT16_MAX, "live counts the entries of a leaf");

static size_t index_of(uintptr_t addr)
{
	return (addr - frames.first) / FRAMES_LEAF_BYTES;
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
	frames.first = first / FRAMES_LEAF_BYTES * FRAMES_LEAF_BYTES;
	frames.count = index_of(last) + 1;
	frames.root = take_pages(frames.count * sizeof(*frames.root));
	live = take_pages(frames.count * sizeof(*live));
	idle = take_pages(BITMAP_WORDS(frames.count) * sizeof(*idle));
	root_fill(frames.root, frames.count);
	memset(idle, 0, BITMAP_WORDS(frames.count) * sizeof(*idle));
}

bool frames_cover(uintptr_t start, size_t size)
{
	return start >= frames.first && index_of(start) < frames.count &&
	       index_of(start + (size - 1)) < frames.count;
}

/* Notes n more entries in the leaf, which comes from the base arena if it isn't there; false if
 * that has no memory. */
static bool leaf_claim(size_t i, size_t n, unsigned flags)
{
	uintptr_t *spare = NULL;

	for (;;) {
		port_irq_t irq = spin_lock(&lock);
		bool is_new = frames.root[i] == empty && spare, is_there;

		if (is_new) {
			live[i] = 0;
			__atomic_store_n(&frames.root[i], spare, __ATOMIC_RELEASE);
			leaves++;
			arena_owner_add(&owner, base_arena, PORT_PAGE_SIZE);
		}
		is_there = frames.root[i] != empty;
		if (is_there) {
			live[i] += (uint16_t)n;
			bitmap_clear(idle, i);
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

static void leaf_unclaim(size_t i, size_t n)
{
	port_irq_t irq = spin_lock(&lock);

	live[i] -= (uint16_t)n;
	if (live[i] == 0)
		bitmap_set(idle, i);
	spin_unlock(&lock, irq);
}

/* How many of `pages` pages from `start` on lie in the leaf of the first. */
static size_t pages_in_leaf(uintptr_t start, size_t pages)
{
	size_t n = FRAMES_LEAF_SLOTS - start / PORT_PAGE_SIZE % FRAMES_LEAF_SLOTS;

	return n < pages ? n : pages;
}

/* Of n pages in one leaf. */
static void store(uintptr_t start, size_t n, uintptr_t entry)
{
	uintptr_t *slot = frames.root[index_of(start)] + start / PORT_PAGE_SIZE % FRAMES_LEAF_SLOTS;

	for (size_t i = 0; i < n; i++)
		__atomic_store_n(&slot[i], entry, __ATOMIC_RELEASE);
}

bool frames_set(uintptr_t start, size_t pages, uintptr_t entry, unsigned flags)
{
	if (!frames_cover(start, pages * PORT_PAGE_SIZE))
		return false;
	for (size_t done = 0, n; done < pages; done += n) {
		uintptr_t at = start + done * PORT_PAGE_SIZE;

		n = pages_in_leaf(at, pages - done);
		if (!leaf_claim(index_of(at), n, flags)) {
			frames_clear(start, done);
			return false;
		}
		store(at, n, entry);
	}
	return true;
}

void frames_clear(uintptr_t start, size_t pages)
{
	for (size_t n; pages > 0; start += n * PORT_PAGE_SIZE, pages -= n) {
		n = pages_in_leaf(start, pages);
		store(start, n, 0);
		leaf_unclaim(index_of(start), n);
	}
}

/* Takes out the first leaf without an entry at or behind *i, looking at no more than TRIM_STEP; *i
 * is then behind what was looked at. */
#define TRIM_STEP (256 * 64)

static uintptr_t *leaf_take_idle(size_t *i)
{
	port_irq_t irq = spin_lock(&lock);
	size_t end = frames.count - *i < TRIM_STEP ? frames.count : *i + TRIM_STEP;
	size_t found = bitmap_find_from(idle, end, *i);
	uintptr_t *leaf = NULL;

	*i = end;
	if (found != BITMAP_NONE) {
		*i = found + 1;
		leaf = frames.root[found];
		__atomic_store_n(&frames.root[found], empty, __ATOMIC_RELEASE);
		bitmap_clear(idle, found);
		leaves--;
		arena_owner_sub(&owner, base_arena, PORT_PAGE_SIZE);
	}
	spin_unlock(&lock, irq);
	return leaf;
}

size_t frames_trim(void)
{
	size_t trimmed = 0;

	for (size_t i = 0; i < frames.count;) {
		uintptr_t *leaf = leaf_take_idle(&i);

		if (!leaf)
			continue;
		base_free(NULL, leaf, PORT_PAGE_SIZE);
		trimmed++;
	}
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
	return root_pages + frames.count;
}

/* Whether addr lies in what take_pages() returned for so many bytes. */
static bool is_in(uintptr_t addr, const void *pages, size_t bytes)
{
	return addr - (uintptr_t)pages < pages_for(bytes) * PORT_PAGE_SIZE;
}

bool kmem_table_find(uintptr_t addr, uintptr_t *first)
{
	*first = 0;
	if (is_in(addr, frames.root, frames.count * sizeof(*frames.root)) ||
		is_in(addr, live, frames.count * sizeof(*live)) ||
		is_in(addr, idle, BITMAP_WORDS(frames.count) * sizeof(*idle)))
		return true;
	for (size_t i = 0; i < frames.count; i++) {
		uintptr_t *leaf = __atomic_load_n(&frames.root[i], __ATOMIC_RELAXED);

		*first = frames.first + i * FRAMES_LEAF_BYTES;
		if (leaf != empty && addr - (uintptr_t)leaf < PORT_PAGE_SIZE)
			return true;
	}
	return false;
}
