/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory and string functions as in the C standard, and checked parsing of numbers.
 *
 * Nothing here allocates or takes a lock; any context may call it.  Cost: linear in the bytes.
 * Compilers add calls to the first four to the code they make.  On a host the C library supplies
 * the standard ones.
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

/* Copies `from`, or as much of it as fits, into to[0 .. size) and terminates it; size > 0.  Returns
 * strlen(from). */
size_t str_copy(char *to, const char *from, size_t size);

/* Whether `s` begins with `prefix`. */
bool str_starts(const char *s, const char *prefix);

/* Parses all of `s` as an unsigned number: decimal or, after 0x, hexadecimal; then at most one of K
 * M G T, in either case (powers of 1024).  Returns false, and leaves *value alone, if there are no
 * digits, if other bytes follow, or on overflow. */
bool str_to_u64(const char *s, uint64_t *value);

#endif
