/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * machine.h on one core without a timer interrupt: the idle loop looks at the clock and the console.
 */
#include "machine.h"

#include "arena.h"
#include "core.h"
#include "layout.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "x86.h"

#define VA_START 0xffffc00000000000
#define VA_SIZE ((size_t)1 << 34)
#define ENTRIES 512
#define ADDRESS_MASK 0x000ffffffffff000

static struct ktask *current;
static uint64_t timer = PORT_FOREVER;
static size_t table_pages;

void fiber_switch(void **save, void *sp);
void fiber_entry(void);

__asm__(".text\n"
	".type fiber_switch, @function\n"
	"fiber_switch:\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size fiber_switch, . - fiber_switch\n"
	".type fiber_entry, @function\n"
	"fiber_entry:\n"
	"	movq %r13, %rdi\n"
	"	call *%r12\n"
	"	ud2\n"
	".size fiber_entry, . - fiber_entry\n");

/* r15, r14, r13, r12, rbx, rbp, return address; above it 0, where a backtrace ends. */
void machine_fiber_init(
	struct machine_fiber *f, void *stack, size_t size, void (*fn)(void *arg), void *arg)
{
	uintptr_t *frame = (uintptr_t *)((char *)stack + size) - 9;

	memset(frame, 0, 9 * sizeof(*frame));
	frame[2] = (uintptr_t)arg;
	frame[3] = (uintptr_t)fn;
	frame[6] = (uintptr_t)fiber_entry;
	f->sp = frame;
}

void machine_fiber_adopt(struct machine_fiber *f)
{
}

void machine_switch(struct machine_fiber *from, struct machine_fiber *to, bool last)
{
	fiber_switch(&from->sp, to->sp);
}

void machine_fiber_end(struct machine_fiber *f)
{
}

struct ktask *machine_current(void)
{
	return current;
}

void machine_set_current(struct ktask *t)
{
	current = t;
}

unsigned machine_cores_start(void *(*stack_alloc)(void))
{
	return 1;
}

void machine_timer_set(uint64_t deadline)
{
	timer = deadline;
}

static void as_interrupt(void (*handler)(void))
{
	core_self()->context.irq++;
	handler();
	core_self()->context.irq--;
}

void machine_idle(const bool *idle)
{
	if (port_ns() >= timer)
		as_interrupt(kernel_timer);
	as_interrupt(kernel_input);
	port_pause();
	__asm__ volatile("sti" : : : "memory");
}

/* Mappings */

void machine_va_range(uintptr_t *start, size_t *size)
{
	*start = VA_START;
	*size = VA_SIZE;
}

static uint64_t *table_at(uint64_t entry)
{
	return direct_at(entry & ADDRESS_MASK);
}

static uint64_t *entry_of(uintptr_t va, bool make)
{
	uint64_t cr3, *table;

	__asm__ volatile("movq %%cr3, %0" : "=r"(cr3));
	table = table_at(cr3);
	for (unsigned shift = 39; shift > 12; shift -= 9) {
		uint64_t *entry = &table[va >> shift & (ENTRIES - 1)];

		if (!*entry && make) {
			void *page = base_zalloc(NULL, PORT_PAGE_SIZE, MEM_ERROR);

			table_pages += page != NULL;
			*entry = page ? ((uintptr_t)page - DIRECT_BASE) | PTE_PRESENT | PTE_WRITE : 0;
		}
		if (!*entry)
			return NULL;
		table = table_at(*entry);
	}
	return &table[va >> 12 & (ENTRIES - 1)];
}

static void flush(uintptr_t va)
{
	__asm__ volatile("invlpg (%0)" : : "r"(va) : "memory");
}

int machine_map(uintptr_t va, void *page)
{
	uint64_t *entry = entry_of(va, true);

	if (!entry)
		return -ENOMEM;
	*entry = ((uintptr_t)page - DIRECT_BASE) | PTE_PRESENT | PTE_WRITE | PTE_NX;
	flush(va);
	return 0;
}

void *machine_unmap(uintptr_t va)
{
	uint64_t *entry = entry_of(va, false), was = entry ? *entry : 0;

	if (!was)
		return NULL;
	*entry = 0;
	flush(va);
	return direct_at(was & ADDRESS_MASK);
}

size_t machine_table_pages(void)
{
	return table_pages;
}

uint64_t machine_shootdowns(void)
{
	return 0;
}
