/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hashing of integers and byte strings.  Not for keys that an attacker can choose.
 */
#ifndef SPANDREL_LIB_HASH_H
#define SPANDREL_LIB_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Multiplicative hashing by 2^64 / golden ratio (Knuth, TAOCP vol. 3, 6.4).  A table of 2^k buckets
 * takes the low bits of the result, so the product is folded: every bit of x reaches them. */
static inline uint32_t hash_u64(uint64_t x)
{
	x *= 0x9e3779b97f4a7c15u;
	return (uint32_t)(x >> 32) ^ (uint32_t)(x >> 49);
}

/* The same, cheaper: instead of being folded, the product has its bytes reversed, so that its top
 * byte, which every bit of x reaches, becomes the low byte.  The constant is a quarter of the one
 * above: the low six bits of the result are then the top six of that product. */
static inline uint64_t hash_u64_wide(uint64_t x)
{
	return __builtin_bswap64(x * 0x278dde6e5fd29f05u);
}

/* FNV-1a over bytes[0 .. n). */
uint64_t hash_bytes(const void *bytes, size_t n);

#endif
