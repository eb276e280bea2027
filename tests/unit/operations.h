/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sequences of operations on arenas, caches and kmalloc, whose every answer is held against naive models.
 *
 *	TEST("slab: ...")
 *	{
 *		static const struct operation operations[] = {
 *			{OP_CACHE_CREATE, .on = 1, .size = 100},
 *			{OP_CACHE_ALLOC, .on = 1, .size = 3, .flags = MEM_ATOMIC, .fail = 2},
 *		};
 *
 *		operations_run(operations, ARRAY_SIZE(operations));
 *	}
 *
 * scripts/model makes sequences at random, reads the names of kinds and fields here, and prints a sequence that
 * fails, made short, as such a test.  Any sequence is sound: an operation on what isn't there, or one that would be
 * a caller's bug, does nothing; so operations can be left out, and numbers made smaller.
 */
#ifndef SPANDREL_TESTS_OPERATIONS_H
#define SPANDREL_TESTS_OPERATIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum operation_kind {
	OP_ARENA_CREATE,  /* source, quantum, size: how many quanta are cached */
	OP_ARENA_DESTROY, /* which has to be refused while anything is held */
	OP_ARENA_ADD,	  /* min, size */
	OP_ARENA_ALLOC,	  /* size */
	OP_ARENA_XALLOC,  /* size, align, phase, nocross, min, max */
	OP_ARENA_FREE,	  /* nth, by the call that it came by */
	OP_ARENA_REAP,	  /* size: the amount */
	OP_ARENA_INDEX,
	OP_CACHE_CREATE,  /* source, size, align, flags: of a cache, and OPERATION_CTOR */
	OP_CACHE_DESTROY,
	OP_CACHE_ALLOC,	  /* size: how many objects, in bulk if more than one */
	OP_CACHE_FREE,	  /* nth, size as above */
	OP_CACHE_REAP,	  /* nth: the pressure */
	OP_CACHE_RESERVE, /* size: how many objects */
	OP_KMALLOC,	  /* size, align: 0, or of kmalloc_align() */
	OP_KREALLOC,	  /* nth, size */
	OP_KFREE,	  /* nth */
	OP_RECLAIM,	  /* nth: the level, less 1 */
	OPERATION_KINDS
};

/* Numbers beyond what there is count around: `on` the arenas or caches that there can be, nth what is held. */
struct operation {
	uint64_t kind, on, nth, source;
	uint64_t size, quantum, align, phase, nocross, min, max;
	uint64_t flags;
	uint64_t fail, fails; /* which allocation from here on fails, 0: none; and how many in a row, 0: one */
};

/* Where arenas and caches take from.  OPERATION_FROM + i: arena i. */
#define OPERATION_ALONE 0 /* an arena has the spans that are added; for a cache as below */
#define OPERATION_PAGES 1 /* kpages_arena */
#define OPERATION_SELF 2  /* an arena makes its spans itself */
#define OPERATION_FROM 3

#define OPERATION_CTOR (1u << 16) /* objects are constructed */

#define OPERATION_ARENAS 6
#define OPERATION_CACHES 4

/* Does the operations, has the checkers look now and then, and frees and destroys what there is at the end.  A CHECK
 * fails where an answer is wrong. */
void operations_run(const struct operation *operations, size_t n);

/* For the files of operations_*.c: what each knows. */

/* Whether the operation at hand had an allocation fail so far. */
bool operations_injected(void);

/* One of ATOMIC, WAIT and ERROR as the operation has it, but ATOMIC for WAIT that may not be `served`; and its
 * fit. */
unsigned operations_flags(const struct operation *op, bool served);

/* Which operations a file does: its models follow, settle() after each operation of any file, check() now and then.
 * end() gives back all that is held, caches before arenas. */
struct operation_family {
	void (*begin)(void);
	void (*operate)(const struct operation *op);
	void (*settle)(void);
	void (*check)(void);
	void (*end)(void);
};
extern const struct operation_family operations_on_arenas, operations_on_caches, operations_on_blocks;

/* Arena i, or NULL; and that a cache comes to draw on it, or goes. */
struct arena *operations_arena(size_t i);
size_t operations_quantum(size_t i);
void operations_draw(size_t i, int caches);

/* Bytes that tell whose they are: the first and the last KiB or two of p[0 .. size). */
void operations_fill(void *p, size_t size, uint64_t stamp);
/* Checks that p[0 .. size) begins with what `filled` bytes were filled with. */
void operations_verify(const void *p, size_t size, size_t filled, uint64_t stamp);

#endif
