/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A kernel of its own: boots with interrupts off, has names that the library has inside, and allocates in a
 * timer interrupt while it allocates outside.  Ends QEMU by its debug exit.
 */
#include <stdarg.h>
#include <stdint.h>

#include "check.h"
#include "spandrel/arena.h"
#include "spandrel/kmalloc.h"
#include "spandrel/slab.h"

#define RAM_START ((char *)(16 << 20))
#define RAM_SIZE ((size_t)24 << 20)
#define PAGE ((size_t)4096)
#define TICKS 300
#define HELD 20

void kprintf(const char *fmt, ...);
void panic(const char *why) __attribute__((noreturn));
void port_bug(const char *message) __attribute__((noreturn));
void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
void on_timer(void);
void kernel_main(void);
void timer_entry(void);

static inline void out(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

/* Its own library */

struct list {
	struct list *next;
	int held; /* in the interrupt handler's list */
};

/* A line of each %s. */
void kprintf(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	for (; *fmt; fmt++) {
		const char *text = va_arg(ap, const char *);

		while (text && *text)
			out(0x3f8, (uint8_t)*text++);
		out(0x3f8, '\n');
		fmt++;
	}
	va_end(ap);
}

static void end(uint8_t code)
{
	for (;;)
		out(0xf4, code);
}

void panic(const char *why)
{
	kprintf("%s", why);
	end(1);
	__builtin_unreachable();
}

void port_bug(const char *message)
{
	panic(message);
}

void *memcpy(void *to, const void *from, size_t n)
{
	void *at = to;

	__asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(n) : : "memory");
	return to;
}

void *memset(void *to, int byte, size_t n)
{
	void *at = to;

	__asm__ volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(byte) : "memory");
	return to;
}

/* The timer */

static struct {
	uint64_t low, high;
} idt[256];

static void set_gate(unsigned vector, void (*entry)(void))
{
	uintptr_t at = (uintptr_t)entry;

	idt[vector].low = (at & 0xffff) | 8 << 16 | (uint64_t)0x8e00 << 32 | (at >> 16 & 0xffff) << 48;
	idt[vector].high = at >> 32;
}

static void start_timer(void)
{
	struct __attribute__((packed)) {
		uint16_t limit;
		void *base;
	} pointer = {sizeof(idt) - 1, idt};
	static const uint8_t pic[][2] = {{0x20, 0x11}, {0xa0, 0x11}, {0x21, 32}, {0xa1, 40}, {0x21, 4}, {0xa1, 2},
		{0x21, 1}, {0xa1, 1}, {0x21, 0xfe}, {0xa1, 0xff}};

	set_gate(32, timer_entry);
	__asm__ volatile("lidt %0" : : "m"(pointer));
	for (unsigned i = 0; i < sizeof(pic) / sizeof(pic[0]); i++)
		out(pic[i][0], pic[i][1]);
	out(0x43, 0x34);
	out(0x40, 1193 & 0xff); /* a thousand a second */
	out(0x40, 1193 >> 8);
	__asm__ volatile("sti");
}

static struct kmem_cache *things;
static struct list *held[HELD];
static volatile unsigned ticks;

static struct list *swap(struct list *old, int in_handler)
{
	struct list *thing = kmem_cache_alloc(things, MEM_ATOMIC);

	if (old) {
		if (old->next != old || old->held != in_handler)
			panic("an object is another one's");
		old->next = NULL;
		kmem_cache_free(things, old);
	}
	if (thing) {
		thing->next = thing;
		thing->held = in_handler;
	}
	return thing;
}

void on_timer(void)
{
	void *block = kmalloc(100 + ticks, MEM_ATOMIC);

	held[ticks % HELD] = swap(held[ticks % HELD], 1);
	kfree(block);
	ticks++;
	out(0x20, 0x20);
}

static void allocate_beside_interrupts(void)
{
	struct list *mine[HELD] = {0};

	start_timer();
	for (unsigned i = 0; ticks < TICKS; i++)
		mine[i % HELD] = swap(mine[i % HELD], 0);
	__asm__ volatile("cli");
	for (unsigned i = 0; i < HELD; i++) {
		kmem_cache_free(things, mine[i]);
		kmem_cache_free(things, held[i]);
	}
}

void kernel_main(void)
{
	const char *wrong;

	base_arena = arena_create_base("base", RAM_START, RAM_SIZE);
	kpages_arena = arena_create("kpages", NULL, 0, PAGE, arena_alloc, arena_free, base_arena, 16 * PAGE,
		MEM_ATOMIC);
	kmem_cache_init();
	things = kmem_cache_create("things", sizeof(struct list), 0, 0, NULL, NULL, NULL, NULL);
	wrong = embed_check();
	if (!wrong)
		allocate_beside_interrupts();
	if (!wrong && kmem_cache_destroy(things) != 0)
		wrong = "objects are left";
	if (!wrong)
		wrong = embed_check();
	kprintf("%s", wrong ? wrong : "ok");
	end(wrong ? 1 : 0);
}
