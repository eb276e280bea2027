/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The unit tests' framework: runs them, catches what goes wrong, says how to replay it.
 */
#include "test.h"

#include "lib/hash.h"
#include "lib/string.h"

/* The image's set of tests; the linker brings these from the name of the section. */
extern const struct test *const __start_test_set[];
extern const struct test *const __stop_test_set[];

struct test_config test_config = {.seed = 1, .ops_divisor = 1};

static const struct test_fence *fence;

/* The running test. */
static const struct test *running;
static struct sink *running_sink;
static port_jump_t running_jump;
static bool running_failed;
static uint64_t random_state;

/* line 0: no line of the file is to blame. */
static __attribute__((format(printf, 3, 0))) void print_failure(
	const char *file, int line, const char *fmt, va_list ap)
{
	sink_printf(running_sink, "FAIL %s\n  %s:", running->name, file);
	if (line > 0)
		sink_printf(running_sink, "%d:", line);
	sink_puts(running_sink, " ");
	sink_vprintf(running_sink, fmt, ap);
	sink_printf(running_sink, "\n  replay: make replay TEST=\"%s\" SEED=%#llx\n", running->name,
		(unsigned long long)test_config.seed);
}

void test_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	if (!running)
		panic("%s:%d: a check outside of a test failed", file, line);
	if (!running_failed) {
		va_start(ap, fmt);
		print_failure(file, line, fmt, ap);
		va_end(ap);
	}
	running_failed = true;
	port_longjmp(&running_jump, 1);
}

void test_check_str(
	const char *file, int line, const char *expression, const char *got, const char *wanted)
{
	if (!got || !wanted ? got != wanted : strcmp(got, wanted) != 0)
		test_fail(file, line, "%s: \"%s\", wanted \"%s\"", expression, got, wanted);
}

void test_check_contains(
	const char *file, int line, const char *expression, const char *got, const char *part)
{
	if (!got || !strstr(got, part))
		test_fail(file, line, "%s: \"%s\" lacks \"%s\"", expression, got, part);
}

/* SplitMix64: G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators",
 * OOPSLA 2014. */
uint64_t test_random(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

uint64_t test_random_below(uint64_t n)
{
	return (uint64_t)((unsigned __int128)test_random() * n >> 64);
}

size_t test_ops(size_t host)
{
	size_t ops = host / test_config.ops_divisor;

	return ops > 0 ? ops : 1;
}

void test_set_fence(const struct test_fence *new_fence)
{
	fence = new_fence;
}

static void begin_fence(void)
{
	if (fence)
		fence->begin();
}

static void end_fence(void)
{
	const char *wrong = fence ? fence->end() : NULL;

	if (wrong)
		test_fail(running->file, 0, "afterward: %s", wrong);
}

/* Runs a part of the test to its end, to its first failed check or to a panic, which fails it. */
static void run_part(void (*part)(void))
{
	struct panic_catch catch;

	panic_catch_push(&catch);
	if (port_setjmp(&running_jump) == 0) {
		if (port_setjmp(&catch.jump) == 0)
			part();
		else
			test_fail(running->file, 0, "unexpected panic: %s", catch.message);
	}
	panic_catch_pop(&catch);
}

/* The seed is mixed with the name, so that a test meets the same chances whichever others run. */
static bool run_test(const struct test *test)
{
	running = test;
	running_failed = false;
	random_state = test_config.seed ^ hash_bytes(test->name, strlen(test->name));
	run_part(begin_fence);
	if (!running_failed)
		run_part(test->run);
	run_part(end_fence);
	running = NULL;
	return !running_failed;
}

struct test_result test_run(const char *filter, struct sink *sink)
{
	struct test_result result = {0, 0};

	running_sink = sink;
	for (const struct test *const *test = __start_test_set; test < __stop_test_set; test++) {
		if (filter && !strstr((*test)->name, filter))
			continue;
		if (run_test(*test))
			result.passed++;
		else
			result.failed++;
	}
	sink_printf(sink, "%zu passed, %zu failed\n", result.passed, result.failed);
	return result;
}
