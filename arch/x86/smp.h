/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The start of the other cores.
 */
#ifndef SPANDREL_X86_SMP_H
#define SPANDREL_X86_SMP_H

#include <stdint.h>

#include "boot.h"

/* Sets port_core_max() to the number of cores the firmware lists, or fewer if the memory in *info is enough
 * for fewer, with one line; refuses if it isn't for one.  They begin in the page at
 * physical address `page`, below 1 MiB; 0: there is no such page, and only core 0 runs.  Call once,
 * after firmware_init() and before kernel_main(). */
void smp_init(uint64_t page, const struct boot_info *info);

#endif
