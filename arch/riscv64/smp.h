/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The start of the other cores.
 */
#ifndef SPANDREL_RISCV64_SMP_H
#define SPANDREL_RISCV64_SMP_H

#include "boot.h"

/* Sets port_core_max() to the number of harts in the device tree, or fewer if the memory in *info is enough
 * for fewer, with one line; refuses if it isn't for one.  Call once, before kernel_main(). */
void smp_init(const struct boot_info *info);

#endif
