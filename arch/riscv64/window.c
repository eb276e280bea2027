/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The window of kernel addresses that is mapped page by page.
 *
 * Representation.  Tables come from phys_arena when an address first needs them.  How many entries of a table
 * are in use is counted beside the tables, in pages_in[] and tables_in[].  An entry of any level that isn't
 * valid is 0 if no TLB can hold what it last led to.  Else it is the number of the first flush of all TLBs
 * that begins after it was cleared (ipi.h), shifted past the valid bit.
 *
 * Invariants.
 *  1. Once the flush with an entry's number has ended, no core's TLB holds what the entry led to.
 *  2. A table's count is at least the number of its valid entries, and more only by those that machine_map()
 *     is about to set.
 *  3. A table is taken out of its link only when its count is 0.  Its page goes back after a flush that began
 *     later.
 *  4. A new table's entries all hold the number that its link held.
 *
 * Locking.  All changes are made under `lock`.  A look without it (paging_find_link) has interrupts off; a
 * core takes part in a flush by an interrupt, so no flush ends meanwhile, and by (3) no table that the look
 * meets becomes other memory.
 *
 * Cost.  Unmapping flushes this core's TLB, mapping none, but for a mapping at an address that was unmapped after the
 * last flush of all TLBs began: so flushes are rare if addresses rest before they are used again.  A core may
 * keep that an address isn't mapped: then the first access faults, and is tried again after a flush (trap.c).
 * A stack must not fault where an interrupt stores registers, so a thread of execution begins with a flush
 * (switch.S).
 */
#include "window.h"

#include "arena.h"
#include "core.h"
#include "errors.h"
#include "ipi.h"
#include "layout.h"
#include "lib/panic.h"
#include "machine.h"
#include "owner.h"
#include "paging.h"
#include "physical.h"
#include "riscv.h"
#include "spinlock.h"

#define GIBS (WINDOW_SIZE >> TOP_SHIFT)
#define PAGE_FLAGS (PTE_VALID | PTE_READ | PTE_WRITE | PTE_USED)
#define STAMP_SHIFT 1

/* A mark's lower two bits are in PTE_USER and PTE_GLOBAL, the upper two in PTE_SOFT. */
#define MARK_LOW_SHIFT 4
#define MARK_HIGH_SHIFT 6
_Static_assert(MACHINE_MARKS == 16 && PTE_SOFT >> MARK_HIGH_SHIFT == 0xc, "a mark has four bits");

#define LOOKS_PER_HOLD 32 /* of the lock, each of some 30 instructions */

static struct spinlock lock = SPINLOCK_INIT(SPIN_LEAF);
static struct arena_owner tables = ARENA_OWNER("page tables", phys_arena);
static uintptr_t trim_next = WINDOW_BASE; /* where the next search for empty tables begins */

/* Entries in use: of each lowest table, and of each of the tables that lead to those.  Guarded by lock. */
static uint16_t pages_in[WINDOW_SIZE >> LINK_SHIFT];
static uint16_t tables_in[GIBS];

static bool is_direct(const void *p)
{
	return (uintptr_t)p - DIRECT_BASE < DIRECT_MAX;
}

/* RAM that came after boot may be part of the image, by its address there. */
static bool is_in_image(const void *p)
{
	return (uintptr_t)p - (uintptr_t)image_start < (uintptr_t)(image_end - image_start);
}

uint64_t machine_physical(const void *p)
{
	return !is_direct(p) && is_in_image(p) ? image_phys(p) : (uintptr_t)p - DIRECT_BASE;
}

void *machine_other_address(const void *direct)
{
	char *p = (char *)direct - DIRECT_BASE + IMAGE_OFFSET;

	return is_in_image(p) ? p : NULL;
}

uintptr_t machine_direct_base(void)
{
	return DIRECT_BASE;
}

void machine_va_range(uintptr_t *start, size_t *size)
{
	*start = WINDOW_BASE;
	*size = WINDOW_SIZE;
}

bool machine_is_direct_page(const void *page)
{
	return (uintptr_t)page % PORT_PAGE_SIZE == 0 && (is_direct(page) || is_in_image(page));
}

/* Entries */

static unsigned mark_of(uint64_t entry)
{
	return (entry >> MARK_LOW_SHIFT & 0x3) | (entry >> MARK_HIGH_SHIFT & 0xc);
}

static uint64_t entry_of(const void *page, unsigned mark)
{
	uint64_t bits = (uint64_t)(mark & 0x3) << MARK_LOW_SHIFT | (uint64_t)(mark & 0xc) << MARK_HIGH_SHIFT;

	return paging_entry(machine_physical(page), PAGE_FLAGS | bits);
}

/* The page, by the address by which the base arena can have it. */
static void *page_of(uint64_t entry)
{
	void *direct = direct_at(paging_phys_of(entry)), *other = machine_other_address(direct);

	return other ? other : direct;
}

static uint64_t read_entry(const uint64_t *entry)
{
	return __atomic_load_n(entry, __ATOMIC_RELAXED);
}

/* Release: what an entry leads to is written before it can be walked. */
static void set_entry(uint64_t *entry, uint64_t value)
{
	__atomic_store_n(entry, value, __ATOMIC_RELEASE);
}

/* The flush's number is read after the entry is cleared: a flush that began earlier won't do. */
static void clear_entry(uint64_t *entry)
{
	__atomic_store_n(entry, 0, __ATOMIC_SEQ_CST);
	set_entry(entry, ipi_next_flush() << STAMP_SHIFT);
}

static bool is_in_window(uintptr_t address)
{
	return address - WINDOW_BASE < WINDOW_SIZE && address % PORT_PAGE_SIZE == 0;
}

static uint16_t *count_pages(uintptr_t address)
{
	return &pages_in[(address - WINDOW_BASE) >> LINK_SHIFT];
}

static uint16_t *count_tables(uintptr_t address)
{
	return &tables_in[(address - WINDOW_BASE) >> TOP_SHIFT];
}

/* The page's entry; NULL: a table is missing.  Context: the lock is held. */
static uint64_t *find_entry(uintptr_t address)
{
	uint64_t *link = paging_find_link(address), value = link ? read_entry(link) : 0;

	return paging_is_link(value) ? paging_entry_in(paging_table_of(value), address, PORT_PAGE_SHIFT) : NULL;
}

/* Tables come and go */

/* Puts `page` in place as the first table that is missing on the way to `address`; false if none is. */
static bool table_link(uintptr_t address, uint64_t page)
{
	port_irq_t irq = spin_lock(&lock);
	uint64_t *top = paging_entry_in(paging_top, address, TOP_SHIFT), *inner = paging_find_link(address);
	uint64_t *link = inner ? inner : top, value = read_entry(link), *entries = direct_at(page);
	bool is_missing = !(value & PTE_VALID);

	if (is_missing) {
		for (size_t i = 0; i < TABLE_ENTRIES; i++)
			entries[i] = value;
		set_entry(link, paging_entry(page, PTE_VALID));
		*count_tables(address) += inner != NULL;
	}
	spin_unlock(&lock, irq);
	return is_missing;
}

/* Allocates the first table that is missing on the way to `address`; false: no memory. */
static bool table_add(uintptr_t address)
{
	void *page = arena_alloc(phys_arena, PORT_PAGE_SIZE, MEM_ATOMIC);

	if (!page)
		return false;
	/* Another core may have been faster. */
	if (table_link(address, (uintptr_t)page))
		arena_owner_add(&tables, phys_arena, PORT_PAGE_SIZE);
	else
		arena_free(phys_arena, page, PORT_PAGE_SIZE);
	return true;
}

/* A search for tables that stand empty, once round the window. */
struct trim {
	size_t wanted;	/* tables */
	size_t left;	/* bytes of addresses to look at */
	uintptr_t at;	/* the next look is on the way to this address */
	uint64_t taken; /* the last table taken out, whose first entry leads to the one before; or 0 */
};

/* Goes on behind the 1 << shift bytes around t->at. */
static void trim_skip(struct trim *t, unsigned shift)
{
	size_t passed = (1ull << shift) - (t->at & ((1ull << shift) - 1));

	t->left -= passed < t->left ? passed : t->left;
	t->at += passed;
	if (t->at - WINDOW_BASE >= WINDOW_SIZE)
		t->at = WINDOW_BASE;
}

/* The first entry of a table that was taken out is the address of a page, and so isn't valid for a core that
 * still walks it.  Context: the lock is held. */
static void table_take(struct trim *t, uint64_t *link)
{
	uint64_t page = paging_phys_of(read_entry(link));

	clear_entry(link);
	*(uint64_t *)direct_at(page) = t->taken;
	t->taken = page;
	t->wanted--;
}

/* Takes out the highest table on the way to t->at that stands empty, and stays there, since the table above
 * it may stand empty now; or goes on.  Context: the lock is held. */
static void trim_look(struct trim *t)
{
	uint64_t *top = paging_entry_in(paging_top, t->at, TOP_SHIFT), *link = paging_find_link(t->at);

	if (!link) {
		trim_skip(t, TOP_SHIFT);
	} else if (*count_tables(t->at) == 0) {
		table_take(t, top);
	} else if ((read_entry(link) & PTE_VALID) && *count_pages(t->at) == 0) {
		table_take(t, link);
		--*count_tables(t->at);
	} else {
		trim_skip(t, LINK_SHIFT);
	}
}

static void trim_step(struct trim *t)
{
	port_irq_t irq = spin_lock(&lock);

	for (unsigned i = 0; i < LOOKS_PER_HOLD && t->wanted > 0 && t->left > 0; i++)
		trim_look(t);
	spin_unlock(&lock, irq);
}

/* Gives back the tables that were taken out, and returns their number. */
static size_t trim_free(uint64_t page)
{
	size_t n = 0;

	for (uint64_t before; page; page = before) {
		before = *(const uint64_t *)direct_at(page);
		arena_owner_sub(&tables, phys_arena, PORT_PAGE_SIZE);
		arena_free(phys_arena, (void *)page, PORT_PAGE_SIZE);
		n++;
	}
	return n;
}

size_t machine_tables_trim(size_t amount)
{
	struct trim t = {
		.wanted = amount / PORT_PAGE_SIZE + (amount % PORT_PAGE_SIZE > 0),
		.left = WINDOW_SIZE,
		.at = __atomic_load_n(&trim_next, __ATOMIC_RELAXED),
	};

	ASSERT(machine_irq_enabled());
	while (t.wanted > 0 && t.left > 0)
		trim_step(&t);
	__atomic_store_n(&trim_next, t.at, __ATOMIC_RELAXED);
	if (t.taken)
		ipi_flush_until(ipi_next_flush());
	return trim_free(t.taken) * PORT_PAGE_SIZE;
}

size_t machine_table_pages(void)
{
	return __atomic_load_n(&tables.held, __ATOMIC_RELAXED) / PORT_PAGE_SIZE;
}

/* Mapping */

static __attribute__((noreturn, cold)) void refuse_map(uintptr_t va, unsigned mark, void *caller)
{
	panic("machine_map at %#lx with mark %u: %s (called from %pS)", (unsigned long)va, mark,
		!is_in_window(va)     ? "that is no page of the window" :
		mark >= MACHINE_MARKS ? "there is no such mark" :
					"a page is mapped there",
		caller);
}

/* Counts the page's entry in its table, which then stays, and returns the entry; NULL if a table is missing
 * or a page is mapped there: then *was is that entry, else what the entry holds. */
static uint64_t *entry_hold(uintptr_t va, uint64_t *was)
{
	port_irq_t irq = spin_lock(&lock);
	uint64_t *entry = find_entry(va);

	*was = entry ? read_entry(entry) : 0;
	if (*was & PTE_VALID)
		entry = NULL;
	if (entry)
		++*count_pages(va);
	spin_unlock(&lock, irq);
	return entry;
}

int machine_map_marked(uintptr_t va, void *page, unsigned mark)
{
	uint64_t *entry, was;

	if (!is_in_window(va) || mark >= MACHINE_MARKS)
		refuse_map(va, mark, __builtin_return_address(0));
	if (!machine_is_direct_page(page))
		return -EINVAL;
	while (!(entry = entry_hold(va, &was))) {
		if (was & PTE_VALID)
			refuse_map(va, mark, __builtin_return_address(0));
		if (!table_add(va))
			return -ENOMEM;
	}
	if (was)
		ipi_flush_until(was >> STAMP_SHIFT);
	set_entry(entry, entry_of(page, mark));
	return 0;
}

void *machine_unmap_marked(uintptr_t va, unsigned mark)
{
	uint64_t *entry, was = 0;
	port_irq_t irq;

	if (!is_in_window(va))
		return NULL;
	irq = spin_lock(&lock);
	entry = find_entry(va);
	if (entry)
		was = read_entry(entry);
	if (!(was & PTE_VALID) || mark_of(was) != mark)
		was = 0;
	if (was) {
		clear_entry(entry);
		--*count_pages(va);
	}
	spin_unlock(&lock, irq);
	if (was)
		flush_all();
	return was ? page_of(was) : NULL;
}

/* Interrupts are off, so that no table is given back meanwhile. */
int machine_mark(uintptr_t va)
{
	port_irq_t irq = port_irq_save();
	uint64_t *entry = is_in_window(va) ? find_entry(va) : NULL, value = entry ? read_entry(entry) : 0;

	port_irq_restore(irq);
	return value & PTE_VALID ? (int)mark_of(value) : -1;
}

/* Reports */

bool window_find_table(uint64_t phys, uintptr_t *first)
{
	uint64_t page = phys & ~(uint64_t)(PORT_PAGE_SIZE - 1);

	for (uintptr_t at = WINDOW_BASE; at < WINDOW_BASE + WINDOW_SIZE; at += 1ull << LINK_SHIFT) {
		port_irq_t irq = port_irq_save();
		uint64_t top = read_entry(paging_entry_in(paging_top, at, TOP_SHIFT));
		uint64_t *link = paging_find_link(at), value = link ? read_entry(link) : 0;
		bool is_outer = paging_is_link(top) && paging_phys_of(top) == page;
		bool is_inner = paging_is_link(value) && paging_phys_of(value) == page;

		port_irq_restore(irq);
		*first = at;
		if (is_outer || is_inner)
			return true;
	}
	return false;
}

/* Where one of the lowest tables, that of `address`, maps the page; 0: nowhere. */
static uintptr_t page_in_table(uintptr_t address, uint64_t page)
{
	port_irq_t irq = port_irq_save();
	uint64_t *entries = find_entry(address);
	uintptr_t found = 0;

	for (size_t i = 0; entries && !found && i < TABLE_ENTRIES; i++) {
		uint64_t entry = read_entry(&entries[i]);

		if ((entry & PTE_VALID) && paging_phys_of(entry) == page)
			found = address + i * PORT_PAGE_SIZE;
	}
	port_irq_restore(irq);
	return found;
}

uintptr_t window_find_page(uint64_t phys)
{
	uint64_t page = phys & ~(uint64_t)(PORT_PAGE_SIZE - 1);
	uintptr_t found = 0;

	for (uintptr_t at = WINDOW_BASE; !found && at < WINDOW_BASE + WINDOW_SIZE; at += 1ull << LINK_SHIFT)
		found = page_in_table(at, page);
	return found ? found + phys % PORT_PAGE_SIZE : 0;
}
