/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the port keeps for each core.
 */
#ifndef SPANDREL_X86_CORE_H
#define SPANDREL_X86_CORE_H

#include <stdint.h>

#include "port.h"

struct core {
	struct port_context context;
	uint64_t nmis;     /* NMIs nobody asked for */
	uint64_t spurious; /* interrupts nobody asked for */
};

extern struct core boot_core;

static inline struct core *core_self(void)
{
	return &boot_core;
}

#endif
