/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Panics: the report, and the catches that tests set.
 */
#include "lib/catch.h"
#include "lib/panic.h"

#include "lib/frames.h"

#define BACKTRACE_MAX 32 /* frames */

#define NO_CORE UINT32_MAX

static unsigned reporter = NO_CORE; /* the core that reports a panic */
static struct list hooks = LIST_INIT(hooks);
static void (*panic_monitor)(void);

static void (*print_thread)(struct sink *sink);
static void (*print_threads)(struct sink *sink);

static void print_backtrace(struct sink *sink, const struct panic_site *site)
{
	uintptr_t pcs[BACKTRACE_MAX];
	size_t n = port_backtrace(site->frame, pcs, BACKTRACE_MAX);
	unsigned number = 0;

	if (site->pc)
		frame_print(sink, number++, site->pc, false);
	for (size_t i = 0; i < n; i++)
		frame_print(sink, number++, pcs[i], true);
}

static void print_other_cores(struct sink *sink)
{
	uintptr_t pcs[BACKTRACE_MAX];

	for (unsigned core = 0; core < port_core_count(); core++) {
		size_t n = core == port_core_id() ? 0 : machine_core_backtrace(core, pcs, BACKTRACE_MAX);

		if (core == port_core_id())
			continue;
		sink_printf(sink, "  core %u%s\n", core, n ? "" : " did not stop");
		frames_print(sink, pcs, n);
	}
}

static __attribute__((format(printf, 3, 0))) void print_line(
	struct sink *sink, const char *heading, const char *fmt, va_list ap)
{
	char line[PANIC_LINE_MAX];
	size_t n = ksnprintf(line, sizeof(line), "%s: ", heading);

	kvsnprintf(line + n, sizeof(line) - n, fmt, ap);
	sink_put_line(sink, line);
}

static __attribute__((format(printf, 3, 0))) void print_report(
	struct sink *sink, const struct panic_site *site, const char *fmt, va_list ap)
{
	struct panic_hook *hook;

	print_line(sink, "panic", fmt, ap);
	sink_printf(sink, "  core %u", port_core_id());
	if (print_thread)
		print_thread(sink);
	sink_puts(sink, "\n");
	if (site->print)
		site->print(sink, site->arg);
	print_backtrace(sink, site);
	if (site->shows_all)
		print_other_cores(sink);
	if (site->shows_all && print_threads)
		print_threads(sink);
	list_for_each_entry (hook, &hooks, link)
		hook->print(sink);
}

static struct panic_catch *current_catch(void)
{
	return (struct panic_catch *)port_word(PORT_THREAD_CATCH);
}

static void set_current_catch(struct panic_catch *c)
{
	port_set_word(PORT_THREAD_CATCH, (uintptr_t)c);
}

static __attribute__((noreturn, format(printf, 2, 0))) void jump_to_catch(
	struct panic_catch *c, const char *fmt, va_list ap)
{
	kvsnprintf(c->message, sizeof(c->message), fmt, ap);
	machine_longjmp(&c->jump, 1);
}

/* A second report could panic as the first one did, so this prints one line and stops. */
static __attribute__((noreturn, format(printf, 1, 0))) void stop_in_panic(
	const char *fmt, va_list ap)
{
	print_line(&console_sink, "panic inside a panic", fmt, ap);
	machine_stop(MACHINE_STOP_PANIC);
}

/* Makes this core the reporter; returns true.  Returns false if it is the reporter already: it
 * panicked during its report.  If another core is the reporter, waits to be frozen by it. */
static bool claim_report(void)
{
	unsigned current = NO_CORE, core = port_core_id();

	/* Relaxed: the word decides which core reports, and publishes nothing else. */
	if (__atomic_compare_exchange_n(
		    &reporter, &current, core, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		return true;
	while (current != core)
		port_pause();
	return false;
}

static __attribute__((noreturn, format(printf, 2, 0))) void catch_or_report(
	const struct panic_site *site, const char *fmt, va_list ap)
{
	if (current_catch())
		jump_to_catch(current_catch(), fmt, ap);
	port_irq_save();
	if (!claim_report())
		stop_in_panic(fmt, ap);
	machine_freeze();
	print_report(&console_sink, site, fmt, ap);
	if (panic_monitor)
		panic_monitor();
	machine_stop(MACHINE_STOP_PANIC);
}

void panic(const char *fmt, ...)
{
	struct panic_site site = {.frame = (uintptr_t)__builtin_frame_address(0)};
	va_list ap;

	va_start(ap, fmt);
	catch_or_report(&site, fmt, ap);
}

void panic_at(const struct panic_site *site, const char *fmt, ...)
{
	struct panic_site known = *site;
	va_list ap;

	if (!known.frame)
		known.frame = (uintptr_t)__builtin_frame_address(0);
	va_start(ap, fmt);
	catch_or_report(&known, fmt, ap);
}

bool panic_happened(void)
{
	return __atomic_load_n(&reporter, __ATOMIC_RELAXED) != NO_CORE;
}

bool panic_is_mine(void)
{
	return __atomic_load_n(&reporter, __ATOMIC_RELAXED) == port_core_id();
}

void panic_add_hook(struct panic_hook *hook)
{
	list_add_tail(&hooks, &hook->link);
}

void panic_set_who(void (*print)(struct sink *sink))
{
	print_thread = print;
}

void panic_set_threads(void (*print)(struct sink *sink))
{
	print_threads = print;
}

void panic_set_monitor(void (*monitor)(void))
{
	panic_monitor = monitor;
}

void panic_catch_push(struct panic_catch *c)
{
	c->message[0] = '\0';
	c->outer = current_catch();
	set_current_catch(c);
}

/* A jump may have left catches that were pushed after c; they are removed with it. */
void panic_catch_pop(struct panic_catch *c)
{
	set_current_catch(c->outer);
}
