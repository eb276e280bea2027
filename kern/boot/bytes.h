/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Little-endian numbers among bytes, at any alignment.
 */
#ifndef SPANDREL_BOOT_BYTES_H
#define SPANDREL_BOOT_BYTES_H

#include <stddef.h>
#include <stdint.h>

/* The number in bytes[offset .. offset + size). */
static inline uint64_t get(const void *bytes, size_t offset, size_t size)
{
	const uint8_t *from = (const uint8_t *)bytes + offset;
	uint64_t value = 0;

	for (size_t i = size; i-- > 0;)
		value = value << 8 | from[i];
	return value;
}

static inline uint16_t get16(const void *bytes, size_t offset)
{
	return (uint16_t)get(bytes, offset, 2);
}

static inline uint32_t get32(const void *bytes, size_t offset)
{
	return (uint32_t)get(bytes, offset, 4);
}

static inline uint64_t get64(const void *bytes, size_t offset)
{
	return get(bytes, offset, 8);
}

#endif
