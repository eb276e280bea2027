/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Planted misuses: each is reported once, at the moment that its mode promises, and nothing is lost by it.
 *
 * A report names what was misused, its owner and the caller.  Families that have modes are run in each that
 * the boot's allows, the others in the boot's; `make test-long` boots with each.
 */
#include "misuse.h"

#include "kmem_debug.h"
#include "lib/catch.h"
#include "port.h"
#include "slab.h"
#include "lib/array.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "lib/test.h"
#include "slab/debug.h"
#include "sync.h"

static const struct misuse_family *const families[] = {&misuse_objects, &misuse_bytes, &misuse_segments,
	&misuse_fronts, &misuse_kmalloc, &misuse_kmalloc_bytes, &misuse_kmalloc_large, &misuse_mappings, &misuse_vectors,
	&misuse_samples, &misuse_sample_bytes, &misuse_kmalloc_samples};

static const unsigned flags_of[MISUSE_MODES] = {0, KMC_CHECK, KMC_FULL};
static const char *const mode_names[] = {"off", "check", "full"};
static const char *const when_names[] = {"at once", "when it was freed", "when it was allocated again",
	"when a magazine was drained", "never"};

/* What rows say */

static uintptr_t about;

void *misuse_about_number(uintptr_t number)
{
	about = number;
	return (void *)number;
}

void *misuse_about(const void *at)
{
	return misuse_about_number((uintptr_t)at);
}

void *misuse_object(void)
{
	return (void *)about;
}

static struct {
	volatile uint8_t *at;
	size_t n;
	uint8_t was[MISUSE_BYTES_MAX];
} written;

__attribute__((noinline, no_sanitize("address"))) void misuse_write(void *at, size_t n, uint8_t byte)
{
	ASSERT(n <= MISUSE_BYTES_MAX && written.n == 0);
	written.at = at;
	written.n = n;
	for (size_t i = 0; i < n; i++) {
		written.was[i] = written.at[i];
		written.at[i] = byte;
	}
}

__attribute__((noinline, no_sanitize("address"))) void misuse_mend(void)
{
	for (size_t i = 0; i < written.n; i++)
		written.at[i] = written.was[i];
	written.n = 0;
}

/* The boot's mode; that of some caches alone isn't one for these. */
static enum misuse_mode boot_mode(void)
{
	return !kmem_debug_checks() ? MISUSE_OFF : strcmp(kmem_debug_mode(), "full") == 0 ? MISUSE_FULL : MISUSE_CHECK;
}

/* A run */

struct run {
	const struct misuse_family *family;
	const struct misuse *misuse;
	enum misuse_mode mode;
	enum misuse_when reported; /* so far */
	char message[PANIC_LINE_MAX];
};

static __attribute__((noreturn)) void fail(const struct run *r, const char *what)
{
	misuse_mend();
	qlock_unlock(&slab_debug_walk_lock);
	test_fail(__FILE__, __LINE__, "%s, mode %s: %s, \"%s\"; it should be reported %s", r->misuse->name,
		mode_names[r->mode], what, r->message, when_names[r->misuse->when[r->mode]]);
}

static void must_hold(const struct run *r, const char *part)
{
	if (!strstr(r->message, part))
		fail(r, part);
}

static void check_report(const struct run *r)
{
	char number[32];

	/* The family's format, which has one number. */
	ksnprintf(number, sizeof(number), strcmp(r->family->format, "%lu") == 0 ? "%lu" : "%#lx", (unsigned long)about);
	must_hold(r, r->misuse->says);
	must_hold(r, r->family->owner);
	must_hold(r, number);
	/* Of a fault it is the function that made it. */
	if (!strstr(r->message, ", in "))
		must_hold(r, "(called from ");
	if (r->reported == MISUSE_AT_ONCE)
		must_hold(r, r->misuse->caller);
}

/* Makes a step, whose panic is the report, if there was none before; then it is made again, to its end. */
static void step(struct run *r, enum misuse_when when, void (*fn)(void))
{
	struct panic_catch catch;

	if (!fn)
		return;
	panic_catch_push(&catch);
	if (machine_setjmp(&catch.jump) == 0) {
		fn();
		panic_catch_pop(&catch);
		return;
	}
	panic_catch_pop(&catch);
	str_copy(r->message, catch.message, sizeof(r->message));
	misuse_mend();
	if (r->reported != MISUSE_NEVER)
		fail(r, "reported again");
	r->reported = when;
	if (r->misuse->when[r->mode] != when)
		fail(r, when_names[when]);
	check_report(r);
	if (when != MISUSE_AT_ONCE)
		step(r, when, fn);
}

/* What is beside objects or in free ones, kmem_cache_check() sees at any time. */
static void check_checker(struct run *r)
{
	enum misuse_when when = r->misuse->when[r->mode];
	bool sees = r->mode == MISUSE_FULL && (when == MISUSE_AT_FREE || when == MISUSE_AT_ALLOC);

	if (r->family->is_broken && r->family->is_broken() != sees)
		fail(r, sees ? "not seen by the checker" : "the checker sees something");
}

static void run(const struct misuse_family *f, const struct misuse *m, enum misuse_mode mode)
{
	struct run r = {.family = f, .misuse = m, .mode = mode, .reported = MISUSE_NEVER};

	/* What isn't reported would stay with others. */
	if (!f->has_modes && m->when[mode] == MISUSE_NEVER)
		return;
	f->begin(flags_of[mode]);
	step(&r, MISUSE_AT_ONCE, m->plant);
	check_checker(&r);
	step(&r, MISUSE_AT_FREE, f->release);
	step(&r, MISUSE_AT_ALLOC, f->reuse);
	step(&r, MISUSE_AT_DRAIN, f->drain);
	misuse_mend();
	if (r.reported != m->when[mode])
		fail(&r, when_names[r.reported]);
	if (f->is_broken && f->is_broken())
		fail(&r, "the checker sees something when all is over");
	f->end();
}

/* Meanwhile no idle walk may see what is planted. */
static void run_family(const struct misuse_family *f)
{
	enum misuse_mode from = boot_mode(), to = f->has_modes ? MISUSE_FULL : from;

	for (enum misuse_mode mode = from; mode <= to; mode++) {
		for (size_t i = 0; i < f->count; i++) {
			qlock_lock(&slab_debug_walk_lock);
			run(f, &f->rows[i], mode);
			qlock_unlock(&slab_debug_walk_lock);
		}
	}
}

TEST("misuse: frees of what isn't an object, or isn't allocated")
{
	run_family(&misuse_objects);
}

TEST("misuse: writes beside objects, and in free ones")
{
	run_family(&misuse_bytes);
}

TEST("misuse: frees of segments")
{
	run_family(&misuse_segments);
}

TEST("misuse: frees of pages that a front hands out")
{
	run_family(&misuse_fronts);
}

TEST("misuse: frees of kmalloc's memory")
{
	run_family(&misuse_kmalloc);
}

TEST("misuse: writes beside kmalloc's memory, and in what was freed")
{
	run_family(&misuse_kmalloc_bytes);
}

TEST("misuse: writes behind large memory of kmalloc's")
{
	run_family(&misuse_kmalloc_large);
}

TEST("misuse: mappings that end wrongly")
{
	run_family(&misuse_mappings);
}

TEST("misuse: frees of interrupt vectors")
{
	run_family(&misuse_vectors);
}

TEST("misuse: frees of samples")
{
	run_family(&misuse_samples);
}

TEST("misuse: reads and writes beside samples, and of freed ones")
{
	run_family(&misuse_sample_bytes);
}

TEST("misuse: kmalloc's samples")
{
	run_family(&misuse_kmalloc_samples);
}

TEST("misuse: there are more than sixty, and each has a name of its own")
{
	const char *of;
	size_t n = 0;

	for (const struct misuse *m = misuse_set.next(NULL, &of); m; m = misuse_set.next(m, &of), n++)
		for (const struct misuse *l = misuse_set.next(m, &of); l; l = misuse_set.next(l, &of))
			CHECK(strcmp(l->name, m->name) != 0);
	CHECK_LT(60, n);
	kprintf("%zu misuses\n", n);
}

/* For the monitor */

static const struct misuse *next(const struct misuse *m, const char **of)
{
	bool found = !m;

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		const struct misuse_family *f = families[i];

		if (found) {
			*of = f->of;
			return f->rows;
		}
		found = m == &f->rows[f->count - 1];
		if (!found && m >= f->rows && m < f->rows + f->count) {
			*of = f->of;
			return m + 1;
		}
	}
	return NULL;
}

static const struct misuse_family *family_of(const struct misuse *m)
{
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		if (m >= families[i]->rows && m < families[i]->rows + families[i]->count)
			return families[i];
	return NULL;
}

static void make(const struct misuse *m)
{
	const struct misuse_family *f = family_of(m);
	void (*const steps[])(void) = {m->plant, f->release, f->reuse, f->drain, misuse_mend, f->end};

	f->begin(0);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		if (steps[i])
			steps[i]();
}

const struct misuse_set misuse_set = {next, make};
