/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hashing of integers and byte strings.  Not for keys an adversary picks.
 */
#ifndef SPANDREL_LIB_HASH_H
#define SPANDREL_LIB_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Multiplicative hashing by 2^64 / golden ratio (Knuth, TAOCP vol. 3, 6.4), folded so that the low
 * bits of the result, the ones a table of 2^k buckets takes, depend on every bit of x. */
static inline uint32_t hash_u64(uint64_t x)
{
	x *= 0x9e3779b97f4a7c15u;
	return (uint32_t)(x >> 32) ^ (uint32_t)(x >> 49);
}

/* The same with the bytes of the product turned around, which is cheaper: the best ones, those that
 * every bit of x reaches, come first.  A quarter of the golden ratio's constant, so that the low
 * six bits are the top ones of its product: few integers in a row never meet in 64 buckets. */
static inline uint64_t hash_u64_wide(uint64_t x)
{
	return __builtin_bswap64(x * 0x278dde6e5fd29f05u);
}

/* FNV-1a over n bytes. */
uint64_t hash_bytes(const void *bytes, size_t n);

#endif
