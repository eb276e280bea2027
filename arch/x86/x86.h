/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Instructions that C can't express.
 */
#ifndef SPANDREL_X86_X86_H
#define SPANDREL_X86_X86_H

#include <stdint.h>

#include "port.h"

static inline void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void outw(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void outl(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint32_t inl(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline uint64_t read_msr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
	return (uint64_t)high << 32 | low;
}

static inline void write_msr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr"
			 :
			 : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
			 : "memory");
}

struct cpuid {
	uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid(uint32_t leaf)
{
	struct cpuid r;

	__asm__ volatile("cpuid"
			 : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
			 : "a"(leaf), "c"(0));
	return r;
}

static inline uint64_t read_cr2(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr2, %0" : "=r"(value));
	return value;
}

static inline void write_cr2(uint64_t value)
{
	__asm__ volatile("movq %0, %%cr2" : : "r"(value));
}

static inline uint64_t read_cr3(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr3, %0" : "=r"(value));
	return value;
}

static inline void write_cr3(uint64_t value)
{
	__asm__ volatile("movq %0, %%cr3" : : "r"(value) : "memory");
}

static inline void flush_page(uintptr_t address)
{
	__asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
}

/* Turns interrupts on and halts until one comes; none comes between the two steps. */
static inline void enable_and_halt(void)
{
	irqoff_end();
	__asm__ volatile("sti\n\thlt" : : : "memory");
}

static inline void enable_interrupts(void)
{
	irqoff_end();
	__asm__ volatile("sti" : : : "memory");
}

/* The operand of lgdt and lidt. */
struct table_pointer {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

static inline void load_gdt(const struct table_pointer *table)
{
	__asm__ volatile("lgdt %0" : : "m"(*table));
}

static inline void load_idt(const struct table_pointer *table)
{
	__asm__ volatile("lidt %0" : : "m"(*table));
}

static inline void load_task(uint16_t selector)
{
	__asm__ volatile("ltr %0" : : "r"(selector));
}

#endif
