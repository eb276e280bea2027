/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Planted misuses: their families, and what a row does.
 *
 *	PLANT(free_twice) { kmem_cache_free(cache, misuse_about(victim)); kmem_cache_free(cache, victim); }
 *	static const struct misuse rows[] = {
 *		MISUSE(free_twice, "an object freed twice", "freed twice", AT_ONCE, AT_ONCE, AT_ONCE), ...
 *	};
 *
 * A row is planted between its family's begin() and end().  After a report what
 * was written is written back, so all ends as it began.
 */
#ifndef SPANDREL_TESTS_MISUSE_H
#define SPANDREL_TESTS_MISUSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/misuse.h"

struct misuse_family {
	const char *of;	    /* what is misused */
	const char *owner;  /* the arena's or cache's name, which each report must hold */
	const char *format; /* of the number that it must hold, too */
	bool has_modes;	    /* begin() readies one of its own for each mode; else it is the boot's */
	void (*begin)(unsigned flags); /* of a cache: KMC_CHECK, KMC_FULL */
	/* What goes on after a misuse that wasn't reported at once, in this order; NULL: nothing.  A report ends
	 * none for good: called again, it does the rest. */
	void (*release)(void);
	void (*reuse)(void);
	void (*drain)(void);
	bool (*is_broken)(void); /* whether a checker sees it, without a panic; NULL: there is none */
	void (*end)(void);
	const struct misuse *rows;
	size_t count;
};

extern const struct misuse_family misuse_objects, misuse_bytes, misuse_kmalloc, misuse_kmalloc_bytes,
	misuse_kmalloc_large, misuse_segments, misuse_fronts, misuse_mappings, misuse_vectors, misuse_samples,
	misuse_sample_bytes, misuse_kmalloc_samples;

/* Not the sanitizer's: in mode full it knows, too, where nobody may write. */
#define PLANT(name) static __attribute__((noinline, no_sanitize("address"))) void plant_##name(void)
#define MISUSE(name, what, says, off, check, full)                                                 \
	{                                                                                          \
		#name, what, "plant_" #name, plant_##name, says,                                   \
		{                                                                                  \
			MISUSE_##off, MISUSE_##check, MISUSE_##full                                \
		}                                                                                  \
	}

/* Notes which number the report must name, and returns it as a pointer; returns the one that was noted. */
void *misuse_about(const void *at);
void *misuse_about_number(uintptr_t number);
void *misuse_object(void);

/* Writes `byte` into [at, at + n), n at most MISUSE_BYTES_MAX, which misuse_mend() writes back. */
#define MISUSE_BYTES_MAX 64
void misuse_write(void *at, size_t n, uint8_t byte);
void misuse_mend(void);

#endif
