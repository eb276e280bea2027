/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Starting the other cores.
 */
#ifndef SPANDREL_X86_SMP_H
#define SPANDREL_X86_SMP_H

#include <stdbool.h>
#include <stdint.h>

/* Learns which cores there can be, from the firmware and what else they need: interrupts of their own
 * (`many`: there are such) and the page below 1 MiB at `start_page` (0: none) to begin in.  Call once,
 * before the kernel is entered. */
void smp_init(bool many, uint64_t start_page);

#endif
