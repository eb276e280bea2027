/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The window of kernel addresses that is mapped page by page.
 *
 * Concepts.  A *link* is an entry that leads, or can lead, to a table of the next lower level.
 *
 * Representation.  Tables come from the base arena when an address first needs them.  A link counts
 * the entries in use of the table it leads to, in bits that the processor ignores, so a table and
 * its count come and go in one store, and a look at the link tells whether the table stands empty.
 * An entry of any level that isn't present is 0 if no TLB can hold what it last led to.  Else it is
 * the number of the first flush of all TLBs that begins after it was cleared (ipi.h), shifted past
 * the present bit.
 *
 * Invariants.
 *  1. Once the flush with an entry's number has ended, no core's TLB or paging-structure cache
 *     holds what the entry led to.
 *  2. Nothing here is global, so a flush is one write to CR3.
 *  3. A link's count is at least the number of present entries in its table, and more only by those
 *     that machine_map() and machine_unmap() are about to set or have just cleared.
 *  4. A table is taken out of its link only when the link counts 0.  Its page goes back after a
 *     flush that began later.
 *  5. A new table's entries all hold the number that its link held, so that what TLBs keep of the
 *     table before is waited for when an entry is set.
 *
 * Locking.  An address belongs to the caller that allocated it from the arena of addresses, and so
 * does its entry.  Tables are put in place and taken out under tables_lock.  The counts of the
 * lowest tables change without it, by compare and exchange, which fails once the table is out.
 * A walk without the lock has interrupts off from the first link it reads until it has counted its
 * entry, or is done.  A core takes part in a flush by an interrupt, so no flush ends during the
 * walk, and by (4) no table that the walk meets becomes other memory meanwhile.
 *
 * Cost.  Unmapping writes an entry and flushes its page from the own core's TLB.  Mapping writes an
 * entry; it flushes all TLBs first, but only if the address was unmapped after the last such flush
 * began.  One flush serves all addresses unmapped before it, so flushes are rare if addresses rest
 * before they are used again.  A count costs either of them one locked instruction.  Giving tables
 * back looks once at each table that stands empty or is of the lowest level, and once at each that
 * is missing, some 80 instructions a look; one flush serves all tables.  Interrupts are off for 32
 * looks at most, and while the entries of a new table are filled.
 *
 * Questions.
 *  Why is there no list of empty tables?  A table that is used by one address at a time would enter
 *  and leave the list with each mapping, and all cores would share the list.
 *  What if a table is taken out just after machine_map() made it?  Then it makes another one.
 */
#include "window.h"

#include "arena.h"
#include "ipi.h"
#include "layout.h"
#include "errors.h"
#include "lib/array.h"
#include "physical.h"
#include "lib/panic.h"
#include "machine.h"
#include "owner.h"
#include "paging.h"
#include "spinlock.h"
#include "x86.h"

#define PAGE_FLAGS (PTE_PRESENT | PTE_WRITE | PTE_NX)

#define STAMP_SHIFT 1

/* The mark of a page.  The processor ignores bits 52 to 58 of an entry that leads to a page. */
#define MARK_SHIFT 52
_Static_assert(MACHINE_MARKS <= 1 << 7, "a mark has its own bits");

/* Of a page's entry, ignored by the processor: the page was given by its address in the image. */
#define PTE_IMAGE 0x200

/* A link's count.  The processor ignores these bits in an entry that leads to a table. */
#define COUNT_SHIFT 52
#define COUNT_ONE (1ull << COUNT_SHIFT)
#define COUNT_MASK (0x3ffull << COUNT_SHIFT)
_Static_assert(TABLE_ENTRIES <= COUNT_MASK >> COUNT_SHIFT, "a count can be that of a full table");
_Static_assert(
	(COUNT_MASK & (PTE_ADDRESS | PTE_NX | TABLE_FLAGS)) == 0, "a count has its own bits");

#define LOOKS_PER_HOLD 32 /* of tables_lock, each of some 80 instructions */

static struct spinlock tables_lock = SPINLOCK_INIT(SPIN_LEAF);
static struct arena_owner tables = ARENA_OWNER("page tables", phys_arena);
static struct arena_owner interrupt_stacks = ARENA_OWNER("interrupt stacks", base_arena);
static uintptr_t trim_next = WINDOW_BASE; /* where the next search for empty tables begins */

static inline bool is_direct(const void *p)
{
	return __builtin_expect((uintptr_t)p - DIRECT_BASE < DIRECT_MAX, 1);
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
	char *p = (char *)direct - DIRECT_BASE + KERNEL_BASE;

	return is_in_image(p) ? p : NULL;
}

/* The entry of a page, given by either of its addresses. */
static inline uint64_t entry_of(const void *page)
{
	return is_direct(page) ? ((uintptr_t)page - DIRECT_BASE) | PAGE_FLAGS :
				 image_phys(page) | PAGE_FLAGS | PTE_IMAGE;
}

static void *page_of(uint64_t entry)
{
	void *direct = direct_at(entry & PTE_ADDRESS);

	return __builtin_expect(entry & PTE_IMAGE, 0) ? machine_other_address(direct) : direct;
}

static uint64_t read_link(const uint64_t *link)
{
	/* Acquire: pairs with the release in table_link(). */
	return __atomic_load_n(link, __ATOMIC_ACQUIRE);
}

/* Entries in use */

/* Counts the entry of the page at `address` in its table, which then stays, and returns the entry;
 * NULL if a table is missing. */
static inline uint64_t *entry_hold(uintptr_t address)
{
	port_irq_t irq = port_irq_save();
	uint64_t *link = paging_find_link(address), value = link ? read_link(link) : 0;

	/* Acquire: pairs with the release in table_link(). */
	while ((value & PTE_PRESENT) &&
		!__atomic_compare_exchange_n(
			link, &value, value + COUNT_ONE, false, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE))
		;
	port_irq_restore(irq);
	if (!(value & PTE_PRESENT))
		return NULL;
	return paging_entry_in(paging_table_of(value), address, PORT_PAGE_SHIFT);
}

/* Release: pairs with the compare and exchange in table_unlink(); nothing is written to the table
 * after it. */
static void entry_uncount(uint64_t *link)
{
	__atomic_fetch_sub(link, COUNT_ONE, __ATOMIC_RELEASE);
}

static unsigned mark_of(uint64_t entry)
{
	return entry >> MARK_SHIFT & (MACHINE_MARKS - 1);
}

/* Clears the entry of the page at `address` and returns what it was; 0 if it isn't present, or has
 * another mark.  The entry may change meanwhile: the processor notes that it used it, or another
 * core clears it.  The flush's number is read after the entry is cleared: a flush that began earlier
 * won't do.  Context: interrupts off. */
static uint64_t entry_clear(uintptr_t address, unsigned mark)
{
	uint64_t *link = paging_find_link(address), value = link ? read_link(link) : 0, *entry, was;

	if (!(value & PTE_PRESENT))
		return 0;
	entry = paging_entry_in(paging_table_of(value), address, PORT_PAGE_SHIFT);
	was = __atomic_load_n(entry, __ATOMIC_RELAXED);
	do {
		if (!(was & PTE_PRESENT) || mark_of(was) != mark)
			return 0;
	} while (!__atomic_compare_exchange_n(
		entry, &was, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
	flush_page(address);
	/* With one core, flush_page() has flushed the only TLB. */
	if (port_core_count() > 1)
		__atomic_store_n(entry, ipi_next_flush() << STAMP_SHIFT, __ATOMIC_RELAXED);
	entry_uncount(link);
	return was;
}

/* Tables come and go */

/* A link on the way to an address, and the link to the table that it is in; NULL: the top table. */
struct place {
	uint64_t *parent, *link;
	unsigned shift; /* the link is for 1 << shift bytes of addresses */
};

static struct place place_top(uintptr_t address)
{
	return (struct place){NULL, paging_entry_in(paging_top, address, TOP_SHIFT), TOP_SHIFT};
}

/* To the next link, in the table at `value`. */
static void place_descend(struct place *p, uint64_t value, uintptr_t address)
{
	p->parent = p->link;
	p->shift -= LEVEL_BITS;
	p->link = paging_entry_in(paging_table_of(value), address, p->shift);
}

/* Puts `page` in place as the first table that is missing on the way to `address`; false if none
 * is. */
static bool table_link(uintptr_t address, uint64_t page)
{
	port_irq_t irq = spin_lock(&tables_lock);
	struct place p = place_top(address);
	uint64_t value, *entries = direct_at(page);

	while (((value = read_link(p.link)) & PTE_PRESENT) && p.shift > LINK_SHIFT)
		place_descend(&p, value, address);
	if (!(value & PTE_PRESENT)) {
		for (size_t i = 0; i < TABLE_ENTRIES; i++)
			entries[i] = value;
		if (p.parent)
			__atomic_fetch_add(p.parent, COUNT_ONE, __ATOMIC_RELAXED);
		/* Release: the table is filled before it can be walked. */
		__atomic_store_n(p.link, page | TABLE_FLAGS, __ATOMIC_RELEASE);
	}
	spin_unlock(&tables_lock, irq);
	return !(value & PTE_PRESENT);
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

/* As entry_hold(), but makes the tables that are missing; NULL: no memory. */
static __attribute__((noinline)) uint64_t *entry_make(uintptr_t address)
{
	uint64_t *entry;

	while (!(entry = entry_hold(address))) {
		if (!table_add(address))
			return NULL;
	}
	return entry;
}

static bool is_empty(uint64_t link)
{
	return (link & (PTE_PRESENT | COUNT_MASK)) == PTE_PRESENT;
}

/* Takes the table out of its link and returns its address; 0 if it has entries.  The link may
 * change meanwhile: the table gets an entry, or the processor notes that it used the link.
 * Context: tables_lock is held. */
static uint64_t table_unlink(const struct place *p)
{
	uint64_t value = read_link(p->link);

	while (is_empty(value)) {
		/* Acquire: pairs with the release in entry_uncount(). */
		if (!__atomic_compare_exchange_n(
			    p->link, &value, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE))
			continue;
		__atomic_store_n(p->link, ipi_next_flush() << STAMP_SHIFT, __ATOMIC_RELAXED);
		if (p->parent)
			__atomic_fetch_sub(p->parent, COUNT_ONE, __ATOMIC_RELAXED);
		return value & PTE_ADDRESS;
	}
	return 0;
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

/* Takes out the highest table on the way to t->at that stands empty, and stays there, since the
 * table above it may stand empty now; or goes on.  The first entry of a table that was taken out
 * is the address of a page, and so isn't present for a core that still walks it.
 * Context: tables_lock is held. */
static void trim_look(struct trim *t)
{
	struct place p = place_top(t->at);
	uint64_t value, page;

	while (((value = read_link(p.link)) & PTE_PRESENT) && !is_empty(value) &&
		p.shift > LINK_SHIFT)
		place_descend(&p, value, t->at);
	page = table_unlink(&p);
	if (!page) {
		trim_skip(t, p.shift);
		return;
	}
	__atomic_store_n((uint64_t *)direct_at(page), t->taken, __ATOMIC_RELAXED);
	t->taken = page;
	t->wanted--;
}

static void trim_step(struct trim *t)
{
	port_irq_t irq = spin_lock(&tables_lock);

	for (unsigned i = 0; i < LOOKS_PER_HOLD && t->wanted > 0 && t->left > 0; i++)
		trim_look(t);
	spin_unlock(&tables_lock, irq);
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

static bool is_in_window(uintptr_t address)
{
	return address - WINDOW_BASE < WINDOW_SIZE && address % PORT_PAGE_SIZE == 0;
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

/* Undoes entry_hold(). */
static void entry_let_go(uintptr_t address)
{
	port_irq_t irq = port_irq_save();

	entry_uncount(paging_find_link(address));
	port_irq_restore(irq);
}

static __attribute__((noreturn, cold)) void refuse_map(uintptr_t va, unsigned mark, void *caller)
{
	panic("machine_map at %#lx with mark %u: %s (called from %pS)", (unsigned long)va, mark,
		!is_in_window(va)     ? "that is no page of the window" :
		mark >= MACHINE_MARKS ? "there is no such mark" :
					"a page is mapped there",
		caller);
}

int machine_map_marked(uintptr_t va, void *page, unsigned mark)
{
	uint64_t *entry, was;

	if (__builtin_expect(!is_in_window(va) || mark >= MACHINE_MARKS, 0))
		refuse_map(va, mark, __builtin_return_address(0));
	if (!machine_is_direct_page(page))
		return -EINVAL;
	entry = entry_hold(va);
	if (__builtin_expect(!entry, 0) && !(entry = entry_make(va)))
		return -ENOMEM;
	was = __atomic_load_n(entry, __ATOMIC_RELAXED);
	if (was) {
		if (was & PTE_PRESENT) {
			entry_let_go(va);
			refuse_map(va, mark, __builtin_return_address(0));
		}
		ipi_flush_until(was >> STAMP_SHIFT);
	}
	__atomic_store_n(entry, entry_of(page) | (uint64_t)mark << MARK_SHIFT, __ATOMIC_RELEASE);
	return 0;
}

void *machine_unmap_marked(uintptr_t va, unsigned mark)
{
	port_irq_t irq;
	uint64_t was;

	if (!is_in_window(va))
		return NULL;
	irq = port_irq_save();
	was = entry_clear(va, mark);
	port_irq_restore(irq);
	return was ? page_of(was) : NULL;
}

int machine_mark(uintptr_t va)
{
	port_irq_t irq = port_irq_save();
	uint64_t *link = is_in_window(va) ? paging_find_link(va) : NULL,
		 value = link ? read_link(link) : 0;

	/* Relaxed: whether an entry is its caller's to unmap, machine_unmap_marked() finds out. */
	if (value & PTE_PRESENT)
		value = __atomic_load_n(
			paging_entry_in(paging_table_of(value), va, PORT_PAGE_SHIFT), __ATOMIC_RELAXED);
	port_irq_restore(irq);
	return value & PTE_PRESENT ? (int)mark_of(value) : -1;
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

/* Outside the window nothing is unmapped, so it doesn't matter that an entry which was mapped earlier
 * counts twice. */
bool window_map_fresh(uintptr_t address, size_t size)
{
	for (uintptr_t at = address; at < address + size; at += PORT_PAGE_SIZE) {
		uint64_t *entry = entry_make(at);
		void *page;

		if (!entry)
			return false;
		if (*entry & PTE_PRESENT)
			continue;
		page = base_zalloc(NULL, PORT_PAGE_SIZE, MEM_ATOMIC);
		if (!page)
			return false;
		arena_owner_add(&interrupt_stacks, base_arena, PORT_PAGE_SIZE);
		*entry = entry_of(page);
	}
	return true;
}

/* The tables on the way to `address`; those of the top two levels belong to the whole part. */
static bool is_on_the_way(uintptr_t address, uint64_t page, uintptr_t *first)
{
	struct place p = place_top(address);
	port_irq_t irq = port_irq_save();
	uint64_t value;
	bool found = false;

	while (!found && ((value = read_link(p.link)) & (PTE_PRESENT | PTE_LARGE)) == PTE_PRESENT) {
		found = (value & PTE_ADDRESS) == page;
		*first = address & -(1ull << p.shift);
		if (p.shift == LINK_SHIFT)
			break;
		place_descend(&p, value, address);
	}
	port_irq_restore(irq);
	return found;
}

/* All that is mapped page by page. */
static const struct {
	uintptr_t start;
	size_t size;
} parts[] = {{WINDOW_BASE, WINDOW_SIZE}, {CORE_STACKS_BASE, CORE_STACKS_SIZE}};

bool window_find_table(uint64_t phys, uintptr_t *first)
{
	uint64_t page = phys & PTE_ADDRESS;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		for (size_t at = 0; at < parts[i].size; at += 1ull << LINK_SHIFT)
			if (is_on_the_way(parts[i].start + at, page, first))
				return true;
	return false;
}

/* Where one of the lowest tables, that of `address`, maps the page; 0: nowhere. */
static uintptr_t page_in_table(uintptr_t address, uint64_t page)
{
	port_irq_t irq = port_irq_save();
	uint64_t *link = paging_find_link(address), value = link ? read_link(link) : 0;
	uintptr_t found = 0;

	for (size_t i = 0; (value & PTE_PRESENT) && !found && i < TABLE_ENTRIES; i++) {
		uint64_t entry = __atomic_load_n(&paging_table_of(value)[i], __ATOMIC_RELAXED);

		if ((entry & PTE_PRESENT) && (entry & PTE_ADDRESS) == page)
			found = address + i * PORT_PAGE_SIZE;
	}
	port_irq_restore(irq);
	return found;
}

uintptr_t window_find_page(uint64_t phys)
{
	uintptr_t found = 0;

	for (size_t i = 0; !found && i < ARRAY_SIZE(parts); i++)
		for (size_t at = 0; !found && at < parts[i].size; at += 1ull << LINK_SHIFT)
			found = page_in_table(parts[i].start + at, phys & PTE_ADDRESS);
	return found ? found + phys % PORT_PAGE_SIZE : 0;
}
