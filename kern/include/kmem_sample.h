/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Samples: one allocation in N lies on a page of its own between two pages that nobody may touch, so that what a
 * caller does wrong with it is a fault, and the fault a report, while nothing else is any slower.
 *
 *	kmem_sample=1000		from boot on
 *	kmem_sample_set(1000);		from now on; 0: no more
 *
 * A sample is an object like another: kmem_cache_free() and kfree() take it back, constructors and destructors
 * run, caches count it among their live objects.  What differs:
 *
 * - It lies at an address of the kernel's own range, at the end of its page or, every other one, at its start.  A
 *   read or a write behind it, or before it, is reported by the instruction that makes it; where alignment, or a size that
 *   is less than its class, leaves bytes of the page beside it, a write to those when it is freed.
 * - After its free the page is unmapped, and rests until all others that rest have been used again.  A read or a
 *   write of it then is reported by the instruction that makes it.  Only the core that freed it forgets the
 *   translation at once: another core that has used the object lately may go on reading and writing the page, and
 *   isn't reported, until it forgets by itself, or the page is mapped again.  What it writes reaches no other
 *   object.
 * - A wrong free of it is reported at once: freed twice, inside, with another cache.
 *
 * Each report has the object, its size, its cache, and the backtraces of its allocation and its free.
 *
 * Samples are objects of up to a page of kmalloc's and of caches over kpages_arena, but for KMC_NOTOUCH. They are
 * chosen where a magazine is refilled, when the core has served N allocations since its last one, with
 * interrupts on, since mapping a page may wait for other cores: so an object that one caller allocates and frees
 * time after time out of a magazine is none, nor is one that an interrupt or the holder of a spinlock allocates.
 * In every debug mode a sample is a sample and no more: it has no zones and no quarantine, and tracing
 * notes nothing of it that isn't known anyway.
 *
 * A 512th of memory, and 16 MiB at most, is taken when sampling is first turned on, and kept for good; without a
 * page that rests there an allocation is an ordinary one.  While sampling has never been on nothing is taken.
 */
#ifndef SPANDREL_KMEM_SAMPLE_H
#define SPANDREL_KMEM_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kmem_debug.h"
#include "slab.h"

struct panic_site;

/*
 * Says how a page is mapped: at an address of the arena `addresses`, in whole pages, by map(), which returns 0
 * if it could, and no more by unmap(), as machine_map_marked() and machine_unmap_marked() have it (machine.h).
 * Takes the addresses at once.  Without this call there are no samples.  Context: boot, once, when
 * base_arena stands.  Cost: constant.
 */
void kmem_sample_init(struct arena *addresses, int (*map)(uintptr_t va, void *page, unsigned mark),
	void *(*unmap)(uintptr_t va, unsigned mark));

/* From now on one allocation in n is a sample, 0: none; those that are live stay what they are.  Returns 0; or
 * -ENOMEM, with nothing changed, if there is no memory for them or none can be mapped.  Context: may sleep.
 * Cost: linear in caches and cores; the first time also in the pages that are taken. */
int kmem_sample_set(uint64_t n);

/* That n.  Context: any. */
uint64_t kmem_sample(void);

struct kmem_sample_stats {
	uint64_t every;	  /* kmem_sample() */
	uint64_t slots;	  /* samples there can be at once */
	uint64_t live;	  /* that callers have */
	uint64_t resting; /* freed and unmapped */
	uint64_t taken;	  /* since boot */
	uint64_t missed;  /* allocations that found no slot, or no memory for page tables */
	uint64_t bytes;	  /* of base_arena */
};

/* Fills *stats.  Context: any but an NMI. Cost: constant. */
void kmem_sample_get_stats(struct kmem_sample_stats *stats);

/* What is known of an address among samples. */
struct kmem_sample {
	bool is_guard; /* it lies between two, and the rest is of the one it is nearest to */
	bool is_live;
	char cache[KMEM_NAME_MAX];
	struct kmem_history history;
};

/* Fills *sample; false: addr doesn't lie there, or nothing was there yet.  Context: any but an NMI. Cost: constant. */
bool kmem_sample_find(uintptr_t addr, struct kmem_sample *sample);

/* The address in the direct map of a byte of a sample, or of what was one; of any other, the address itself.  Context:
 * any.  Cost: constant. */
const void *kmem_sample_direct(const void *at);

/* For who handles faults: panics, with what is known, if `address`, which isn't mapped, lies there, and returns
 * else.  `access` is in a word, "read", "write"; `site`: where it happened.  Context: any; takes no lock. */
void kmem_sample_fault(uintptr_t address, const char *access, const struct panic_site *site);

#endif
