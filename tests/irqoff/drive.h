/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The drive: calls every public function, in states that are hard for it.  A part of it that is a
 * function of drive.c's table.
 */
#ifndef SPANDREL_TESTS_IRQOFF_DRIVE_H
#define SPANDREL_TESTS_IRQOFF_DRIVE_H

#include <stdint.h>

#include "sink.h"

/* Takes all text and shows none. */
extern struct sink null_sink;

/* Prints the rows of what was measured; returns the longest stretch, in instructions. */
#define DRIVE_BUDGET 5000
uint64_t drive_print(void);

/* An arena from empty to two million segments and back, with its hash and index; requests with more
 * triples than an index keeps. */
void drive_segments(void);
/* Constrained requests without an index, and without memory for one. */
void drive_unindexed(void);
/* Importers, many spans, inspection, the base arena's own functions. */
void drive_arenas(void);
/* Caches with many slabs, kmalloc. */
void drive_caches(void);
/* Backtraces, debug modes, failure injection, scans for leaks. */
void drive_debug(void);
/* ktasks, many sleepers on each sleeping lock, alarms. */
void drive_threads(void);
/* Many who sleep for memory and are served, or aren't in time. */
void drive_waiters(void);
/* Many records in the queue, some of several parts; memory run out. */
void drive_shortage(void);
/* Reclaim at each level, of what many arenas and caches hold. */
void drive_reclaim(void);
/* The machine's first disk, a disk in memory, and caches of their blocks. */
void drive_disks(void);
/* Workloads. */
void drive_works(void);
/* Vectors, mappings and their page tables, physical addresses. */
void drive_devices(void);

#endif
