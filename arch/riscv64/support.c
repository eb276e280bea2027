/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the compiler calls where the processor has no instruction: bits of a word are counted, its bytes
 * reversed, and bytes are changed atomically, as parts of a word.
 */
#include <stdbool.h>
#include <stdint.h>

/* The compiler knows these names as its own, with types that C can't name: so they are declared as others. */
int support_ctz(uint64_t value) __asm__("__ctzdi2");
int support_clz(uint64_t value) __asm__("__clzdi2");
int support_popcount(uint64_t value) __asm__("__popcountdi2");
uint64_t support_bswap(uint64_t value) __asm__("__bswapdi2");
uint8_t support_exchange(volatile void *at, uint8_t value, int order) __asm__("__atomic_exchange_1");
bool support_compare_exchange(volatile void *at, void *expected, uint8_t value, bool weak, int order,
	int failed_order) __asm__("__atomic_compare_exchange_1");

/* Sums of bits: of each 2, 4 and 8 of them; the product adds the bytes up in the highest one. */
int support_popcount(uint64_t value)
{
	value -= value >> 1 & 0x5555555555555555;
	value = (value & 0x3333333333333333) + (value >> 2 & 0x3333333333333333);
	value = (value + (value >> 4)) & 0x0f0f0f0f0f0f0f0f;
	return (int)(value * 0x0101010101010101 >> 56);
}

/* The bits below the lowest one that is set. */
int support_ctz(uint64_t value)
{
	return support_popcount((value & -value) - 1);
}

/* Sets all bits below the highest one that is set, and counts those that aren't. */
int support_clz(uint64_t value)
{
	for (unsigned shift = 1; shift < 64; shift *= 2)
		value |= value >> shift;
	return 64 - support_popcount(value);
}

uint64_t support_bswap(uint64_t value)
{
	value = (value >> 8 & 0x00ff00ff00ff00ff) | (value & 0x00ff00ff00ff00ff) << 8;
	value = (value >> 16 & 0x0000ffff0000ffff) | (value & 0x0000ffff0000ffff) << 16;
	return value >> 32 | value << 32;
}

static uint32_t *word_of(volatile void *at)
{
	return (uint32_t *)((uintptr_t)at & ~(uintptr_t)3);
}

static unsigned shift_of(volatile void *at)
{
	return (uintptr_t)at % 4 * 8;
}

uint8_t support_exchange(volatile void *at, uint8_t value, int order)
{
	unsigned shift = shift_of(at);
	uint32_t was = __atomic_load_n(word_of(at), __ATOMIC_RELAXED);

	while (!__atomic_compare_exchange_n(word_of(at), &was,
		(was & ~(0xffu << shift)) | (uint32_t)value << shift, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		;
	return (uint8_t)(was >> shift);
}

bool support_compare_exchange(
	volatile void *at, void *expected, uint8_t value, bool weak, int order, int failed_order)
{
	unsigned shift = shift_of(at);
	uint32_t was = __atomic_load_n(word_of(at), __ATOMIC_RELAXED);
	uint8_t *wanted = expected;

	while ((uint8_t)(was >> shift) == *wanted) {
		if (__atomic_compare_exchange_n(word_of(at), &was,
			    (was & ~(0xffu << shift)) | (uint32_t)value << shift, true, __ATOMIC_SEQ_CST,
			    __ATOMIC_RELAXED))
			return true;
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	*wanted = (uint8_t)(was >> shift);
	return false;
}
