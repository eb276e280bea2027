/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RAM and mappings.  RAM is a file in memory, mapped once as a whole.  machine_map() maps a page of
 * the file a second time, in a range of addresses reserved for that.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host.h"
#include "errors.h"
#include "lib/array.h"
#include "lib/panic.h"
#include "lib/string.h"
#include "table.h"
#include "machine.h"
#include "port.h"

/* RAM is placed at the first of these that is free, so that runs with one seed have the same
 * addresses and repeat exactly; the kernel's virtual addresses lie behind it.  AddressSanitizer's shadow covers the second, ThreadSanitizer
 * forbids the first. */
static const uintptr_t places[] = {0x200000000000, 0x4000000000};
#define VA_SIZE ((size_t)16 << 30)
#define RAM_PHYSICAL ((uintptr_t)1 << 20)

static int file = -1;
static uintptr_t ram_start, va_start;
static size_t ram_size;
/* The page mapped at each page of the range | its mark; 0: none.  Atomic. */
static uintptr_t *mapped;
_Static_assert(MACHINE_MARKS <= PORT_PAGE_SIZE, "a mark fits below a page's address");

/* [place, place + size), inaccessible, or NULL. */
static void *reserve(uintptr_t place, size_t size)
{
	void *hint = (void *)place;
	int fixed = place ? MAP_FIXED_NOREPLACE : 0;
	void *got = mmap(hint, size, PROT_NONE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1, 0);

	if (got == MAP_FAILED)
		return NULL;
	if (place && got != hint) {
		munmap(got, size);
		return NULL;
	}
	return got;
}

static void *reserve_somewhere(size_t size)
{
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		void *got = reserve(places[i], size);

		if (got)
			return got;
	}
	return reserve(0, size);
}

static bool map_file(uintptr_t at, size_t offset, size_t size)
{
	return mmap((void *)at, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_FIXED | MAP_NORESERVE, file, (off_t)offset) != MAP_FAILED;
}

void *host_ram_map(size_t size)
{
	void *start = reserve_somewhere(RAM_PHYSICAL + size + VA_SIZE);

	file = memfd_create("spandrel-ram", MFD_CLOEXEC);
	mapped = mmap(NULL, VA_SIZE / PORT_PAGE_SIZE * sizeof(*mapped), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!start || mapped == MAP_FAILED || file < 0 || ftruncate(file, (off_t)size) != 0)
		return NULL;
	ram_start = (uintptr_t)start + RAM_PHYSICAL;
	ram_size = size;
	va_start = ram_start + size;
	return map_file(ram_start, 0, size) ? (void *)ram_start : NULL;
}

/* RAM begins at physical address 1 MiB. */
uintptr_t machine_direct_base(void)
{
	return ram_start - RAM_PHYSICAL;
}

void machine_va_range(uintptr_t *start, size_t *size)
{
	*start = va_start;
	*size = VA_SIZE;
}

static uintptr_t *slot_of(uintptr_t va)
{
	return va % PORT_PAGE_SIZE == 0 && va - va_start < VA_SIZE
		       ? &mapped[(va - va_start) / PORT_PAGE_SIZE]
		       : NULL;
}

uint64_t machine_physical(const void *p)
{
	return (uintptr_t)p - machine_direct_base();
}

void *machine_other_address(const void *direct)
{
	return NULL;
}

static bool is_boot_ram(const void *page)
{
	return (uintptr_t)page - ram_start < ram_size;
}

/* RAM that came later is memory of the process, of any kind. */
static bool is_late_ram(void *page)
{
	unsigned char in_core;

	return (uintptr_t)page - machine_direct_base() >= RAM_PHYSICAL + ram_size + VA_SIZE &&
	       mincore(page, PORT_PAGE_SIZE, &in_core) == 0;
}

bool machine_is_direct_page(const void *page)
{
	return (uintptr_t)page % PORT_PAGE_SIZE == 0 &&
	       (is_boot_ram(page) || is_late_ram((void *)page));
}

/* Puts memory that can be mapped twice in the page's place, with what the page holds. */
static bool share(void *page)
{
	void *shared = mmap(NULL, PORT_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (shared == MAP_FAILED)
		return false;
	memcpy(shared, page, PORT_PAGE_SIZE);
	return mremap(shared, PORT_PAGE_SIZE, PORT_PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, page) == page;
}

/* Of shared memory, an old size of 0 makes a second mapping; of other memory it fails. */
static bool map_late(uintptr_t va, void *page)
{
	void *second = mremap(page, 0, PORT_PAGE_SIZE, MREMAP_MAYMOVE);

	if (second == MAP_FAILED && share(page))
		second = mremap(page, 0, PORT_PAGE_SIZE, MREMAP_MAYMOVE);
	return second != MAP_FAILED && mremap(second, PORT_PAGE_SIZE, PORT_PAGE_SIZE,
					       MREMAP_MAYMOVE | MREMAP_FIXED, (void *)va) == (void *)va;
}

static bool map_page(uintptr_t va, void *page)
{
	return is_boot_ram(page) ? map_file(va, (uintptr_t)page - ram_start, PORT_PAGE_SIZE)
				 : map_late(va, page);
}

int machine_map_marked(uintptr_t va, void *page, unsigned mark)
{
	uintptr_t *slot = slot_of(va);

	if (!slot || mark >= MACHINE_MARKS || __atomic_load_n(slot, __ATOMIC_RELAXED))
		panic("machine_map at %#lx with mark %u: %s (called from %pS)", (unsigned long)va, mark,
			!slot		      ? "that is no page of the window" :
			mark >= MACHINE_MARKS ? "there is no such mark" :
						"a page is mapped there",
			__builtin_return_address(0));
	if (!machine_is_direct_page(page))
		return -EINVAL;
	if (!map_page(va, page))
		return -ENOMEM;
	__atomic_store_n(slot, (uintptr_t)page | mark, __ATOMIC_RELEASE);
	return 0;
}

int machine_mark(uintptr_t va)
{
	uintptr_t *slot = slot_of(va), is = slot ? __atomic_load_n(slot, __ATOMIC_ACQUIRE) : 0;

	return is ? (int)(is % PORT_PAGE_SIZE) : -1;
}

void *machine_unmap_marked(uintptr_t va, unsigned mark)
{
	uintptr_t *slot = slot_of(va), is = slot ? __atomic_load_n(slot, __ATOMIC_ACQUIRE) : 0;

	if (!is || is % PORT_PAGE_SIZE != mark ||
		!__atomic_compare_exchange_n(slot, &is, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return NULL;
	if (mmap((void *)va, PORT_PAGE_SIZE, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		panic("Linux won't unmap %#lx", (unsigned long)va);
	return (void *)(is - mark);
}

/* The page tables are Linux's own. */
size_t machine_tables_trim(size_t amount)
{
	return 0;
}

size_t machine_table_pages(void)
{
	return 0;
}

uint64_t machine_shootdowns(void)
{
	return 0;
}

/* Defined by the link. */
extern char __executable_start[], etext[], __data_start[], edata[], end[];

static bool is_in(uintptr_t address, const char *from, const char *to)
{
	return address >= (uintptr_t)from && address < (uintptr_t)to;
}

/* The image has its constants between its functions and its data, too: they have no borders of their
 * own. */
void machine_place(uintptr_t address, struct machine_place *p)
{
	uintptr_t *slot = slot_of(address & -PORT_PAGE_SIZE);
	uintptr_t page = slot ? __atomic_load_n(slot, __ATOMIC_RELAXED) & -PORT_PAGE_SIZE : 0;

	*p = (struct machine_place){.what = "not of the kernel"};
	if (address - ram_start < ram_size)
		page = address & -PORT_PAGE_SIZE;
	if (is_in(address, __executable_start, end)) {
		str_copy(p->what, is_in(address, __executable_start, etext) ? "kernel text" : "kernel data",
			sizeof(p->what));
		p->image = address;
	} else if (page) {
		str_copy(p->what, slot ? "page of the kernel's window" : "RAM in the direct map", sizeof(p->what));
		p->direct = page + address % PORT_PAGE_SIZE;
		p->has_phys = true;
		p->phys = p->direct - machine_direct_base();
		p->is_plain = true;
	} else if (slot) {
		str_copy(p->what, "unmapped part of the kernel's window", sizeof(p->what));
	}
	p->is_mapped = p->image || p->direct;
}

bool machine_section(size_t i, struct machine_section *section)
{
	const char *const borders[] = {__executable_start, etext, __data_start, edata, end};
	static const char *const names[] = {"text", "read-only data", "data", "bss"};

	if (i >= ARRAY_SIZE(names))
		return false;
	*section = (struct machine_section){names[i], (uintptr_t)borders[i], (size_t)(borders[i + 1] - borders[i])};
	return true;
}

bool machine_data(size_t i, uintptr_t *start, size_t *size)
{
	*start = (uintptr_t)__data_start;
	*size = (uintptr_t)end - *start;
	return i == 0;
}
