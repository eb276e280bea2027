/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tests and debug modes: the suite passes under each, so a test of what a mode closes has nothing to do there.
 */
#ifndef SPANDREL_TESTS_MODES_H
#define SPANDREL_TESTS_MODES_H

#include <stdbool.h>

#include "kmem_debug.h"
#include "lib/string.h"

/* Arenas have fronts, and caches keep what is freed in magazines. */
static inline bool modes_leave_fronts(void)
{
	return !kmem_debug_checks();
}

/* Objects lie next to one another, as large as they are, and come back as they are freed. */
static inline bool modes_leave_layout(void)
{
	return strncmp(kmem_debug_mode(), "full", 4) != 0;
}

#endif
