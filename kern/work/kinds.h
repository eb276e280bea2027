/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kinds of workloads.
 */
#ifndef SPANDREL_WORK_KINDS_H
#define SPANDREL_WORK_KINDS_H

#include "work_impl.h"

/* The kind of that name, or NULL. */
const struct work_kind *work_kind_find(const char *name);

#endif
