/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Starting the other cores.
 */
#ifndef SPANDREL_X86_SMP_H
#define SPANDREL_X86_SMP_H

#include <stdint.h>

/* Learns which cores there can be, from the firmware and from whether there is a page below 1 MiB
 * for them to begin in, at `page` (0: there is none).  Call once, before the kernel is entered. */
void smp_init(uint64_t page);

#endif
