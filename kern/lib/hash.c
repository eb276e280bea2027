/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hashing of byte strings: FNV-1a with 64 bits and the constants of Fowler, Noll and Vo.
 */
#include "lib/hash.h"

#define FNV_BASIS 0xcbf29ce484222325u
#define FNV_PRIME 0x00000100000001b3u

uint64_t hash_bytes(const void *bytes, size_t n)
{
	const unsigned char *byte = bytes;
	uint64_t hash = FNV_BASIS;

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ byte[i]) * FNV_PRIME;
	return hash;
}
