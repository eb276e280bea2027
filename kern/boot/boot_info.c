/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The boot information of the running kernel.
 */
#include "boot.h"

const struct boot_info *boot_info;
