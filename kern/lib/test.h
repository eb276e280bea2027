/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Unit tests that run the same as a Linux process and inside the booted kernel.
 *
 *	TEST("arena: a freed segment coalesces with both neighbours")
 *	{
 *		CHECK_EQ(arena_amt_free(a), 4096);
 *		CHECK_PANICS(arena_free(a, p, 1), "wrong size");
 *	}
 *
 * A test's name is a behaviour: `module: what holds`, in SINK_COLUMNS characters at most.  A test is a
 * function of its own; the macro links it into the set of tests in the image.  A check that fails prints
 * file, line, expression, both values and a command that replays the test, and ends the test.  The fence
 * stands around each test: it counts everything that is in use before and after, and runs the checkers at
 * the end.
 *
 * What is written to the console while a test runs belongs to that test's output: reports that it
 * provokes, refusals that it checks.  It is shown only if the test fails.
 */
#ifndef SPANDREL_TEST_H
#define SPANDREL_TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/catch.h"
#include "lib/panic.h"
#include "sink.h"

struct test {
	const char *name;
	const char *file;
	void (*run)(void);
};

#define TEST_JOIN_(a, b) a##b
#define TEST_JOIN(a, b) TEST_JOIN_(a, b)

#define TEST(text) TEST_NAMED(text, TEST_JOIN(test_, __LINE__))
#define TEST_NAMED(text, id)                                                                       \
	_Static_assert(sizeof(text) <= SINK_COLUMNS + 1, "a test's name fits in a row");           \
	static void TEST_JOIN(id, _run)(void);                                                     \
	static const struct test id = {text, __FILE__, TEST_JOIN(id, _run)};                       \
	static const struct test *const TEST_JOIN(id, _link)                                       \
		__attribute__((section("test_set"), used)) = &id;                                  \
	static void TEST_JOIN(id, _run)(void)

/* Marks the running test as failed and ends the caller's part of it.  For the CHECK macros. */
void test_fail(const char *file, int line, const char *fmt, ...)
	__attribute__((noreturn, cold, format(printf, 3, 4)));

/* Runs fn(arg) as a part of the running test.  The part ends when fn returns, at its first failed
 * check, or at a panic that isn't caught, which fails the test.  Checks are made only in parts
 * (threads: tests/unit/threads.h).  `number` gives each part random numbers of its own; 0 is the
 * test's body. */
void test_run_part(unsigned number, void (*fn)(void *arg), void *arg);

/* Whether a part of the running test has failed. */
bool test_has_failed(void);

/* Ends the caller's part, without a message, if a part of the running test has failed. */
void test_end_if_failed(void);

#define CHECK(x)                                                                                   \
	do {                                                                                       \
		if (!(x))                                                                          \
			test_fail(__FILE__, __LINE__, "%s", #x);                                   \
	} while (0)

#define CHECK_OP_(a, op, b)                                                                        \
	do {                                                                                       \
		uint64_t check_a_ = (uint64_t)(a), check_b_ = (uint64_t)(b);                       \
		if (!(check_a_ op check_b_))                                                       \
			test_fail(__FILE__, __LINE__, "%s %s %s: %#llx, %#llx", #a, #op, #b,       \
				(unsigned long long)check_a_, (unsigned long long)check_b_);       \
	} while (0)

/* For integers, and for pointers cast to uintptr_t. */
#define CHECK_EQ(a, b) CHECK_OP_(a, ==, b)
#define CHECK_NE(a, b) CHECK_OP_(a, !=, b)
#define CHECK_LE(a, b) CHECK_OP_(a, <=, b)
#define CHECK_LT(a, b) CHECK_OP_(a, <, b)

#define CHECK_STR(a, b) test_check_str(__FILE__, __LINE__, #a, a, b)
void test_check_str(
	const char *file, int line, const char *expression, const char *got, const char *wanted);

/* Evaluates the expression, which must panic with a first line that contains `part`. */
#define CHECK_PANICS(expression, part)                                                             \
	do {                                                                                       \
		struct panic_catch check_catch_;                                                   \
		panic_catch_push(&check_catch_);                                                   \
		if (machine_setjmp(&check_catch_.jump) == 0) {                                        \
			(void)(expression);                                                        \
			panic_catch_pop(&check_catch_);                                            \
			test_fail(__FILE__, __LINE__, "%s did not panic", #expression);            \
		}                                                                                  \
		panic_catch_pop(&check_catch_);                                                    \
		test_check_contains(                                                               \
			__FILE__, __LINE__, #expression, check_catch_.message, part);              \
	} while (0)
void test_check_contains(
	const char *file, int line, const char *expression, const char *got, const char *part);

/* Random numbers.  Each part of a test draws its own, from a state made of the run's seed, the
 * test's name and the part's number: so one seed replays a run. */
uint64_t test_random(void);
uint64_t test_random_below(uint64_t n); /* 0 <= result < n, n > 0 */

/* How many operations a randomised test does: full / ops_divisor, at least one. */
size_t test_ops(size_t full);

/* Set before tests run, from test_seed=, test_divisor=, test_limit= and `terminal` on the command line. */
struct test_config {
	uint64_t seed;
	unsigned ops_divisor; /* above 1 for slow runs */
	bool on_terminal; /* the run's progress is one line that is written again and again */
	unsigned limit; /* seconds that a test may take; one that takes longer is a panic; 0: no limit */
	void (*set_watch)(uint64_t deadline); /* has test_late() called then; NULL: there is no limit */
	bool (*is_interrupted)(void); /* asked after each test: whether to leave out the others */
};
extern struct test_config test_config;

/* The fence around each test.  `begin` counts what is in use; `end` counts again and returns NULL,
 * or says in one line what leaked or which invariant is broken.  tests/fence defines test_fence; in
 * an image without it, tests run without a fence. */
struct test_fence {
	void (*begin)(void);
	const char *(*end)(void);
};
extern const struct test_fence test_fence __attribute__((weak));

struct test_result {
	size_t passed, failed;
	bool is_interrupted; /* not all of the tests were run */
};

/* Runs the tests with `filter` in their name (NULL or "": all).  Prints the seed; for each test, as it
 * begins, its number, how many there are, the seconds since the run began, and its name; what fails,
 * as it fails; and last `N passed, N failed`.  With `is_verbose` tests write to the console as they
 * run.  Context: not in an interrupt; one run at a time. */
struct test_result test_run(const char *filter, bool is_verbose, struct sink *sink);

/* Panics, with a backtrace of each core, if the running test has come to its limit.  `pc` and `frame`
 * as in a panic_site.  Context: an interrupt. */
void test_late(uintptr_t pc, uintptr_t frame);

/* Prints the names of the tests with `filter` in them, a line each; returns how many. */
size_t test_list(const char *filter, struct sink *sink);

#endif
