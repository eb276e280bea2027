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

/* FNV-1a over n bytes. */
uint64_t hash_bytes(const void *bytes, size_t n);

#endif
