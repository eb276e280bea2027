/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the fuzzers share.  A fuzzer is a file beside this one with the one function that libFuzzer knows: it
 * decodes the bytes of an input to operations, and holds every answer against a model.  What doesn't agree is a
 * panic, which ends the process by abort().
 *
 *	int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
 *	{
 *		struct fuzz_input in = {data, size};
 *
 *		while (in.left > 0)
 *			operate(fuzz_below(&in, OPERATIONS), &in);
 *		return 0;
 *	}
 *
 * It runs in a ktask of a kernel of one core, which kernel.c boots once for all inputs.  So an input must leave
 * nothing behind: those that allocate stand between fuzz_begin() and fuzz_end().
 */
#ifndef SPANDREL_TESTS_FUZZ_H
#define SPANDREL_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/catch.h"
#include "lib/panic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Runs the fuzzer's function on inputs, as its arguments say: libFuzzer's, or replay.c's. */
int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*fn)(const uint8_t *data, size_t size));

/* The bytes of an input that weren't used yet.  Behind the end they are 0. */
struct fuzz_input {
	const uint8_t *at;
	size_t left;
};

static inline uint8_t fuzz_byte(struct fuzz_input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->at++;
}

/* A number of `bytes` bytes, 8 at most. */
static inline uint64_t fuzz_number(struct fuzz_input *in, unsigned bytes)
{
	uint64_t value = 0;

	while (bytes-- > 0)
		value = value << 8 | fuzz_byte(in);
	return value;
}

/* 0 <= result < n, n > 0. */
static inline size_t fuzz_below(struct fuzz_input *in, size_t n)
{
	return fuzz_number(in, n <= 256 ? 1 : 2) % n;
}

/* A copy of data[0 .. size) with nothing behind it, so that a sanitizer sees a read beyond; to be freed. */
void *fuzz_copy(const void *data, size_t size);

/* Between these two everything in use is counted, as around a unit test; what isn't free again is a panic.  That
 * takes longer than an input does: so it is done for a process's first input, and then for one of fuzz_period. */
void fuzz_begin(void);
void fuzz_end(void);
extern unsigned fuzz_period;

/* One input of a fuzzer whose operations change objects that it makes: begin() makes them of its first bytes, then
 * operate() is called until no byte is left, check() after each FUZZ_CHECK_PERIOD of these, and end().  All of that
 * stands between fuzz_begin() and fuzz_end().  Returns 0. */
#define FUZZ_CHECK_PERIOD 16
struct fuzz_operations {
	void (*begin)(struct fuzz_input *in);
	void (*operate)(struct fuzz_input *in);
	void (*check)(void);
	void (*end)(void);
};
int fuzz_run(const struct fuzz_operations *o, const uint8_t *data, size_t size);

/* Whether `line` is a reason as functions return it: not empty, one line, printable. */
bool fuzz_is_plain(const char *line);

/* Evaluates the expression, which must panic; the panic's first line is left out. */
#define FUZZ_PANICS(expression)                                                                    \
	do {                                                                                       \
		struct panic_catch catch_;                                                         \
		panic_catch_push(&catch_);                                                         \
		if (machine_setjmp(&catch_.jump) == 0) {                                           \
			(void)(expression);                                                        \
			panic_catch_pop(&catch_);                                                  \
			panic("%s:%d: no panic: %s", __FILE__, __LINE__, #expression);             \
		}                                                                                  \
		panic_catch_pop(&catch_);                                                          \
	} while (0)

#endif
