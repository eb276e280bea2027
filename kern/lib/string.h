/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory and strings, with the meanings of the C standard, and checked number parsing.
 *
 * Nothing here allocates or takes a lock; any context may call it.  Cost: linear in the bytes.
 * The compiler may call the first four by itself; on a host they are the host's.
 */
#ifndef SPANDREL_LIB_STRING_H
#define SPANDREL_LIB_STRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);
void *memchr(const void *from, int byte, size_t n);

size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
char *strstr(const char *s, const char *sub);

/* Copies `from` into to[0 .. size), cut if it is longer, always terminated; returns strlen(from).
 * size > 0. */
size_t str_copy(char *to, const char *from, size_t size);

/* Whether s begins with prefix. */
bool str_starts(const char *s, const char *prefix);

/* Parses the whole of s as an unsigned number: decimal, 0x hexadecimal, or either followed by one
 * of K M G T (binary, either case).  Returns false, leaving *value alone, on anything else: no
 * digits, trailing bytes, overflow. */
bool str_to_u64(const char *s, uint64_t *value);

#endif
