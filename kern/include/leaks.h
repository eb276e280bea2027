/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Leaks: objects of memory caches and large kmallocs to which nothing in the kernel points.
 *
 *	leaks_scan();
 *	kthread_usleep(100000);
 *	leaks_scan();
 *	leaks_report(print_leak, NULL);
 *	leaks_clear();
 *
 * A scan begins with the roots (the kernel's data, stacks and registers, memory that arenas handed out
 * directly) and follows every aligned word that can be an address inside a live object.  What it doesn't
 * come to is a suspect; a suspect of two scans, and the same allocation still, is a leak.  The kernel runs
 * on meanwhile: nothing is stopped for longer than a bounded step.  kern/src/slab/leaks.c opens with the
 * theory.  Any thread may call these functions at any time; one scan runs at a time, the others wait.
 */
#ifndef SPANDREL_LEAKS_H
#define SPANDREL_LEAKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Find */

/*
 * Scans once.  From then on, until leaks_clear(), caches that have suspects keep nothing in magazines, so
 * that each of their frees is seen; they are slower for that.  Their magazines and those of the other memory
 * caches are drained.
 *
 * Context: may sleep.  Cost: linear in memory that is used, in bounded steps, with other threads let run
 * between.  Takes memory of the base arena while it runs: 4 bytes for each page of RAM, and some 24 bytes and
 * 4 bits an object for each slab; what stays is 56 bytes for each suspect.  Returns 0; or -ENOMEM, if there is no memory
 * for it, and then what earlier scans found stands.
 */
int leaks_scan(void);

struct leak {
	const char *cache; /* its name; "kmalloc, large" */
	uintptr_t address;
	size_t size;    /* bytes, to the next object */
	uint64_t since; /* port_ns() at the end of the first scan that found it unreachable */
	unsigned scans; /* that have, 2 at least */
};

/* Calls fn for each leak, in the order of addresses, until it returns false; returns how many there are up to
 * there.  What was freed since the last scan isn't among them.  Context: may sleep, as fn, which may call
 * none of these functions.  Cost: linear in suspects. */
size_t leaks_report(bool (*fn)(const struct leak *leak, void *arg), void *arg);

/* What the last scan did, and what is known now. */
struct leaks_stats {
	uint64_t scans;	   /* since the last leaks_clear() */
	uint64_t live;	   /* objects that the last scan knew as live */
	uint64_t looked;   /* bytes that it looked at */
	uint64_t ns;	   /* it took */
	uint64_t held;	   /* bytes that it took meanwhile */
	uint64_t suspects; /* unreachable in it: leaks, and those that only the next scan can tell */
	uint64_t leaks;
	uint64_t watched;  /* caches that keep nothing in magazines because of suspects */
};
void leaks_get_stats(struct leaks_stats *stats);

/* Forgets what scans have found, gives its memory back, and lets caches have magazines again.  Context: may
 * sleep.  Cost: linear in caches. */
void leaks_clear(void);

/* Roots */

/*
 * A part of the kernel that knows where pointers lie which the finder doesn't find by itself.  Both functions
 * are called in a scan, by its thread, with no spinlock held; they may sleep.  Static, and for good.
 */
struct leaks_root {
	const char *name;
	/* Calls leaks_hide() for memory that an arena handed out, but that is to be looked at in parts, or
	 * not at all.  NULL: there is none. */
	void (*hide)(void);
	/* Calls leaks_look() for all there is; several times in a scan.  `stack`: from here up, the stack of the
	 * thread that scans holds pointers of others than the finder. */
	void (*look)(uintptr_t stack);
	struct leaks_root *next;
};

/* Adds a root.  Context: boot. */
void leaks_add_root(struct leaks_root *root);

/* Looks at the words in [from, from + size), which may change meanwhile but not go away.  For roots alone.
 * Cost: linear; lets others run now and then. */
void leaks_look(const void *from, size_t size);

/* Leaves whole pages in [from, from + size), addresses of the direct map, out of what is looked at because an arena
 * has handed it out.  For roots alone. */
void leaks_hide(const void *from, size_t size);

#endif
