/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Planted misuses: bugs of callers, each with the moment at which each debug mode reports it.
 *
 * The tests have them (tests/unit/misuse.c), the monitor's `misuse` makes one, and the table of
 * docs/debugging.md lists them.
 */
#ifndef SPANDREL_LIB_MISUSE_H
#define SPANDREL_LIB_MISUSE_H

enum misuse_mode { MISUSE_OFF, MISUSE_CHECK, MISUSE_FULL, MISUSE_MODES };

/* When it is reported, the earliest moment first. */
enum misuse_when {
	MISUSE_AT_ONCE,
	MISUSE_AT_FREE,	 /* of the object that it is about */
	MISUSE_AT_ALLOC, /* when that is handed out again */
	MISUSE_AT_DRAIN, /* when it comes out of a magazine */
	MISUSE_NEVER
};

struct misuse {
	const char *name;   /* a word */
	const char *what;   /* in a few words */
	const char *caller; /* the name of `plant`, which a report at once must hold */
	void (*plant)(void);
	const char *says; /* a part of the report's first line */
	enum misuse_when when[MISUSE_MODES];
};

/* Defined by the tests; weak, since there may be an image without them. */
struct misuse_set {
	/* The one behind m, in the table's order, and what it is a misuse of; NULL begins, and ends. */
	const struct misuse *(*next)(const struct misuse *m, const char **of);
	/* Makes one as a caller would that knows nothing of it, in the mode that the kernel is in, and goes on
	 * until it is reported; returns if it isn't.  Context: may sleep. */
	void (*make)(const struct misuse *m);
};
extern const struct misuse_set misuse_set __attribute__((weak));

#endif
