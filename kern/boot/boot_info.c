/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where everyone finds what the port handed the kernel.
 */
#include "boot.h"

const struct boot_info *boot_info;
