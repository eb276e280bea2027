/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What machine.h leaves to a Linux process.
 */
#ifndef SPANDREL_HOST_MACHINE_ARCH_H
#define SPANDREL_HOST_MACHINE_ARCH_H

#include <stddef.h>

/* Larger than a kernel's: sanitizers enlarge frames, and Linux's signal frames lie on it too. */
#ifdef HOST_SIM
/* As the kernel has: without a sanitizer's frames, and each page of one is mapped and painted in each test. */
#define MACHINE_STACK_SIZE (32 * 1024)
#else
#define MACHINE_STACK_SIZE (256 * 1024)
#endif

#define MACHINE_MEMORY_MIN (2048 * 1024)
#define MACHINE_CORE_MEMORY (12 * 1024)

/* A process has no hardware interrupts: the vectors exist for tests, which call the handlers. */
#define MACHINE_VECTOR_FIRST 32
#define MACHINE_VECTOR_COUNT 224

struct machine_fiber {
	void *sp;
	void *stack;
	size_t size;
	void *sanitizer; /* ThreadSanitizer's fiber */
};

#endif
