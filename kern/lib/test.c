/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The framework of the unit tests: runs them, keeps what they print, catches failures and panics, says
 * how to replay them.
 */
#include "lib/test.h"

#include "lib/catch.h"
#include "lib/check.h"
#include "lib/hash.h"
#include "lib/string.h"

/* The tests in the image: the linker defines these two from the section's name. */
extern const struct test *const __start_test_set[];
extern const struct test *const __stop_test_set[];

struct test_config test_config = {.seed = 1, .ops_divisor = 1, .limit = 300};

/* The running test. */
static const struct test *running;
static struct sink *running_sink;
static bool running_failed; /* set by the first part that fails */
static uint64_t running_late = PORT_FOREVER; /* port_ns() at its limit; atomic */

/* Clears the line that shows the progress, on a terminal. */
#define CLEAR_LINE "\r\x1b[K"
#define LINE_WIDTH 80 /* of a terminal */

#define NS_PER_S 1000000000ull

/* The console while tests run */

#define OUTPUT_MAX 16384 /* bytes of a test's output that are kept, the last ones */

static void (*console_write)(struct sink *sink, const char *text, size_t n);

static struct {
	size_t length; /* bytes ever written by the running test; atomic */
	char bytes[OUTPUT_MAX];
} output;

static void direct_write(struct sink *sink, const char *text, size_t n)
{
	console_write(&console_sink, text, n);
}

/* Past the output that is kept. */
static struct sink direct_sink = {.write = direct_write};

/* In any context: each call takes a part of the buffer of its own.  A panic's report is no test's. */
static void keep_output(struct sink *sink, const char *text, size_t n)
{
	size_t at;

	if (panic_happened()) {
		console_write(sink, text, n);
		return;
	}
	at = __atomic_fetch_add(&output.length, n, __ATOMIC_RELAXED);
	for (size_t i = 0; i < n; i++)
		__atomic_store_n(&output.bytes[(at + i) % OUTPUT_MAX], text[i], __ATOMIC_RELAXED);
}

static void print_output(struct sink *sink)
{
	size_t end = __atomic_load_n(&output.length, __ATOMIC_RELAXED);
	size_t begin = end > OUTPUT_MAX ? end - OUTPUT_MAX : 0;

	if (end == 0)
		return;
	sink_printf(sink, "  its output%s:\n", begin > 0 ? ", the end of it" : "");
	for (size_t i = begin; i < end; i++)
		sink_write(sink, &output.bytes[i % OUTPUT_MAX], 1);
	if (output.bytes[(end - 1) % OUTPUT_MAX] != '\n')
		sink_puts(sink, "\n");
}

static void console_keep(void)
{
	console_write = console_sink.write;
	__atomic_store_n(&console_sink.write, keep_output, __ATOMIC_RELEASE);
}

static void console_restore(void)
{
	__atomic_store_n(&console_sink.write, console_write, __ATOMIC_RELEASE);
}

/* Parts */

/* A part of the running test, run by one thread. */
struct part {
	machine_jump_t jump; /* where a failed check goes */
	uint64_t random_state;
	struct part *outer;
};

/* The part that the running thread is in, or NULL. */
static struct part *current_part(void)
{
	return (struct part *)port_word(PORT_THREAD_TEST);
}

static struct part *checked_part(void)
{
	if (!current_part())
		panic("a check outside of a test");
	return current_part();
}

static void set_part(struct part *part)
{
	port_set_word(PORT_THREAD_TEST, (uintptr_t)part);
}

/* Relaxed: the flag publishes nothing else; a join orders what the joined thread did. */
bool test_has_failed(void)
{
	return __atomic_load_n(&running_failed, __ATOMIC_RELAXED);
}

/* line 0: the failure belongs to no line of the file. */
static __attribute__((format(printf, 3, 0))) void print_failure(
	const char *file, int line, const char *fmt, va_list ap)
{
	sink_printf(running_sink, "%sFAIL %s\n  %s:", test_config.on_terminal ? CLEAR_LINE : "",
		running->name, file);
	if (line > 0)
		sink_printf(running_sink, "%d:", line);
	sink_puts(running_sink, " ");
	sink_vprintf(running_sink, fmt, ap);
	sink_printf(running_sink, "\n  replay: make replay TEST=\"%s\" SEED=%#llx\n", running->name,
		(unsigned long long)test_config.seed);
}

void test_fail(const char *file, int line, const char *fmt, ...)
{
	struct part *part = checked_part();
	va_list ap;

	if (!__atomic_exchange_n(&running_failed, true, __ATOMIC_RELAXED)) {
		va_start(ap, fmt);
		print_failure(file, line, fmt, ap);
		va_end(ap);
	}
	machine_longjmp(&part->jump, 1);
}

void test_end_if_failed(void)
{
	if (test_has_failed())
		machine_longjmp(&checked_part()->jump, 1);
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
	uint64_t z = checked_part()->random_state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

uint64_t test_random_below(uint64_t n)
{
	return (uint64_t)((unsigned __int128)test_random() * n >> 64);
}

size_t test_ops(size_t full)
{
	size_t ops = full / test_config.ops_divisor;

	return ops > 0 ? ops : 1;
}

/* The seed is mixed with the test's name, so that a test draws the same numbers whichever tests run
 * before it, and with the part's number, so that each part draws its own. */
static uint64_t seed_of(unsigned number)
{
	uint64_t mixed = test_config.seed ^ hash_bytes(running->name, strlen(running->name));

	return number ? mixed ^ hash_bytes(&number, sizeof(number)) : mixed;
}

void test_run_part(unsigned number, void (*fn)(void *arg), void *arg)
{
	struct part part = {.random_state = seed_of(number), .outer = current_part()};
	uintptr_t *words = port_thread_words();
	uintptr_t outer[PORT_THREAD_WORDS];
	struct panic_catch catch;

	memcpy(outer, words, sizeof(outer));
	set_part(&part);
	panic_catch_push(&catch);
	if (machine_setjmp(&part.jump) == 0) {
		if (machine_setjmp(&catch.jump) == 0)
			fn(arg);
		else
			test_fail(running->file, 0, "unexpected panic: %s", catch.message);
	}
	/* A lock that a failed part left locked stays locked, but this thread no longer counts as its
	 * holder; nor is it in a callback that the part was in. */
	memcpy(words, outer, sizeof(outer));
}

static void fence_begin(void *arg)
{
	if (&test_fence)
		test_fence.begin();
}

static void run_body(void *arg)
{
	running->run();
}

static void fence_end(void *arg)
{
	const char *wrong = &test_fence ? test_fence.end() : NULL;

	if (wrong)
		test_fail(running->file, 0, "after the test: %s", wrong);
}

static bool run_test(const struct test *test)
{
	running = test;
	running_failed = false;
	output.length = 0;
	test_run_part(0, fence_begin, NULL);
	if (!test_has_failed())
		test_run_part(0, run_body, NULL);
	test_run_part(0, fence_end, NULL);
	running = NULL;
	if (test_has_failed())
		print_output(running_sink);
	return !test_has_failed();
}

/* The limit, and what a panic shows of the running test */

static void print_running(struct sink *sink)
{
	const struct test *test = running;
	char line[2 * SINK_COLUMNS];

	if (!test)
		return;
	ksnprintf(line, sizeof(line), "in the test \"%s\", seed %#llx", test->name,
		(unsigned long long)test_config.seed);
	sink_put_line(sink, line);
	print_output(sink);
}

static struct panic_hook panic_hook = {.print = print_running};

static void set_limit(uint64_t deadline)
{
	if (!test_config.set_watch || test_config.limit == 0)
		return;
	__atomic_store_n(&running_late, deadline, __ATOMIC_RELAXED);
	test_config.set_watch(deadline);
}

/* Whatever panics the test catches, this one isn't among them. */
void test_late(uintptr_t pc, uintptr_t frame)
{
	struct panic_site site = {.pc = pc, .frame = frame, .shows_all = true};
	const struct test *test = running;

	if (!test || port_ns() < __atomic_load_n(&running_late, __ATOMIC_RELAXED))
		return;
	port_set_word(PORT_THREAD_CATCH, 0);
	panic_at(&site, "test \"%s\" takes longer than %u s (test_limit=)", test->name, test_config.limit);
}

/* Runs */

/* The first test from `test` on with `filter` in its name, or the end of the set. */
static const struct test *const *find_from(const struct test *const *test, const char *filter)
{
	while (test < __stop_test_set && filter && !strstr((*test)->name, filter))
		test++;
	return test;
}

static size_t count_tests(const char *filter)
{
	const struct test *const *test = __start_test_set;
	size_t n = 0;

	while ((test = find_from(test, filter)) < __stop_test_set) {
		test++;
		n++;
	}
	return n;
}

/* On a terminal the line stays within its width, so that it can be cleared. */
static void print_progress(const struct test *test, size_t number, size_t count, uint64_t began)
{
	uint64_t tenths = (port_ns() - began) / 100000000;
	char line[256];

	ksnprintf(line, test_config.on_terminal ? LINE_WIDTH : sizeof(line), "[%4zu/%zu] %4llu.%u s  %s",
		number, count, (unsigned long long)(tenths / 10), (unsigned)(tenths % 10), test->name);
	sink_printf(running_sink, test_config.on_terminal ? CLEAR_LINE "%s" : "%s\n", line);
}

static bool is_interrupted(void)
{
	return test_config.is_interrupted && test_config.is_interrupted();
}

/* Runs the tests, of which there are `count`. */
static struct test_result run_tests(const char *filter, size_t count)
{
	const struct test *const *test = find_from(__start_test_set, filter);
	struct test_result result = {0, 0, false};
	uint64_t began = port_ns();

	for (size_t i = 1; i <= count && !result.is_interrupted; i++) {
		print_progress(*test, i, count, began);
		set_limit(port_ns() + test_config.limit * NS_PER_S);
		if (run_test(*test))
			result.passed++;
		else
			result.failed++;
		test = find_from(test + 1, filter);
		result.is_interrupted = i < count && is_interrupted();
	}
	set_limit(PORT_FOREVER);
	return result;
}

struct test_result test_run(const char *filter, bool is_verbose, struct sink *sink)
{
	static bool has_hook;
	size_t count = count_tests(filter);
	struct test_result result;

	check_given("test_run", "sink", sink, __builtin_return_address(0));
	if (!has_hook)
		panic_add_hook(&panic_hook);
	has_hook = true;
	running_sink = sink;
	if (!is_verbose) {
		console_keep();
		running_sink = sink == &console_sink ? &direct_sink : sink;
	}
	sink_printf(running_sink, "tests: seed %#llx, randomised tests do 1/%u of their operations\n",
		(unsigned long long)test_config.seed, test_config.ops_divisor);
	result = run_tests(filter, count);
	if (!is_verbose)
		console_restore();
	if (test_config.on_terminal)
		sink_puts(sink, CLEAR_LINE);
	if (result.is_interrupted)
		sink_printf(sink, "interrupted: %zu of %zu tests were not run\n",
			count - result.passed - result.failed, count);
	sink_printf(sink, "%zu passed, %zu failed\n", result.passed, result.failed);
	return result;
}

size_t test_list(const char *filter, struct sink *sink)
{
	const struct test *const *test = __start_test_set;
	size_t n = 0;

	check_given("test_list", "sink", sink, __builtin_return_address(0));
	for (; (test = find_from(test, filter)) < __stop_test_set; test++, n++)
		sink_printf(sink, "%s\n", (*test)->name);
	return n;
}
