/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The C standard's memory and string functions, for images without a C library.
 *
 * Blocks are moved in words of eight bytes.  The processor's `rep` instructions would not be
 * better: they start slowly, and most blocks that a kernel moves are short.  Nor would they lower
 * instruction counts: QEMU counts every round of them.
 */
#include "lib/string.h"

/* Words at any alignment, over memory of any type. */
typedef uint64_t word_t __attribute__((may_alias, aligned(1)));
typedef uint32_t half_t __attribute__((may_alias, aligned(1)));
typedef uint16_t quarter_t __attribute__((may_alias, aligned(1)));

#define WORD sizeof(word_t)

/* A compiler recognises these loops and would replace each by a call to the function that it
 * implements.  An empty asm statement inside the loop prevents that and costs nothing. */
#define KEEP_LOOP() __asm__ volatile("")

static inline word_t *word_at(void *at, size_t offset)
{
	return (word_t *)((unsigned char *)at + offset);
}

static inline word_t load_word(const void *at, size_t offset)
{
	return *(const word_t *)((const unsigned char *)at + offset);
}

/* For n < WORD.  Two loads, which may overlap each other, cover the block.  Both come before the
 * first store, so the blocks may overlap, too. */
static inline void move_below_word(unsigned char *to, const unsigned char *from, size_t n)
{
	if (n >= 4) {
		half_t first = *(const half_t *)from, last = *(const half_t *)(from + n - 4);
		*(half_t *)to = first;
		*(half_t *)(to + n - 4) = last;
	} else if (n >= 2) {
		quarter_t first = *(const quarter_t *)from;
		quarter_t last = *(const quarter_t *)(from + n - 2);
		*(quarter_t *)to = first;
		*(quarter_t *)(to + n - 2) = last;
	} else if (n == 1) {
		*to = *from;
	}
}

/* For n >= WORD.  The blocks may overlap if `to` lies below `from`: a word is overwritten only
 * after it was read.  The last word may be an exception, so it is read first. */
static inline void move_up(unsigned char *to, const unsigned char *from, size_t n)
{
	word_t last = load_word(from, n - WORD);
	size_t i = 0;

	for (; i + 4 * WORD <= n; i += 4 * WORD) {
		word_t a = load_word(from, i), b = load_word(from, i + WORD);
		word_t c = load_word(from, i + 2 * WORD), d = load_word(from, i + 3 * WORD);

		KEEP_LOOP();
		*word_at(to, i) = a;
		*word_at(to, i + WORD) = b;
		*word_at(to, i + 2 * WORD) = c;
		*word_at(to, i + 3 * WORD) = d;
	}
	for (; i + WORD <= n; i += WORD) {
		KEEP_LOOP();
		*word_at(to, i) = load_word(from, i);
	}
	*word_at(to, n - WORD) = last;
}

/* The mirror image of move_up(): the blocks may overlap if `to` lies above `from`. */
static inline void move_down(unsigned char *to, const unsigned char *from, size_t n)
{
	word_t first = load_word(from, 0);
	size_t i = n;

	for (; i >= 4 * WORD; i -= 4 * WORD) {
		word_t a = load_word(from, i - WORD), b = load_word(from, i - 2 * WORD);
		word_t c = load_word(from, i - 3 * WORD), d = load_word(from, i - 4 * WORD);

		KEEP_LOOP();
		*word_at(to, i - WORD) = a;
		*word_at(to, i - 2 * WORD) = b;
		*word_at(to, i - 3 * WORD) = c;
		*word_at(to, i - 4 * WORD) = d;
	}
	for (; i >= WORD; i -= WORD) {
		KEEP_LOOP();
		*word_at(to, i - WORD) = load_word(from, i - WORD);
	}
	*word_at(to, 0) = first;
}

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	if (n < WORD)
		move_below_word(to, from, n);
	else
		move_up(to, from, n);
	return to;
}

void *memmove(void *to, const void *from, size_t n)
{
	if (n < WORD)
		move_below_word(to, from, n);
	else if ((uintptr_t)to - (uintptr_t)from >= n) /* below `from`, or clear of it */
		move_up(to, from, n);
	else
		move_down(to, from, n);
	return to;
}

void *memset(void *to, int byte, size_t n)
{
	word_t word = 0x0101010101010101u * (unsigned char)byte;
	unsigned char *bytes = to;
	size_t i = 0;

	if (n < WORD) {
		for (; i < n; i++) {
			KEEP_LOOP();
			bytes[i] = (unsigned char)byte;
		}
		return to;
	}
	for (; i + 4 * WORD <= n; i += 4 * WORD) {
		KEEP_LOOP();
		*word_at(to, i) = word;
		*word_at(to, i + WORD) = word;
		*word_at(to, i + 2 * WORD) = word;
		*word_at(to, i + 3 * WORD) = word;
	}
	for (; i + WORD <= n; i += WORD) {
		KEEP_LOOP();
		*word_at(to, i) = word;
	}
	*word_at(to, n - WORD) = word;
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *x = a, *y = b;
	size_t i = 0;

	while (i + WORD <= n && load_word(x, i) == load_word(y, i))
		i += WORD;
	for (; i < n; i++) {
		if (x[i] != y[i])
			return x[i] - y[i];
	}
	return 0;
}

void *memchr(const void *from, int byte, size_t n)
{
	const unsigned char *bytes = from;

	for (size_t i = 0; i < n; i++) {
		if (bytes[i] == (unsigned char)byte)
			return (void *)(uintptr_t)(bytes + i);
	}
	return NULL;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n]) {
		KEEP_LOOP();
		n++;
	}
	return n;
}

size_t strnlen(const char *s, size_t max)
{
	size_t n = 0;

	while (n < max && s[n])
		n++;
	return n;
}

int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return (unsigned char)*a - (unsigned char)*b;
}

int strncmp(const char *a, const char *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (a[i] != b[i] || !a[i])
			return (unsigned char)a[i] - (unsigned char)b[i];
	}
	return 0;
}

char *strchr(const char *s, int c)
{
	for (;; s++) {
		KEEP_LOOP();
		if (*s == (char)c)
			return (char *)(uintptr_t)s;
		if (!*s)
			return NULL;
	}
}

char *strstr(const char *s, const char *sub)
{
	size_t n = strlen(sub);

	for (;; s++) {
		if (strncmp(s, sub, n) == 0)
			return (char *)(uintptr_t)s;
		if (!*s)
			return NULL;
	}
}
