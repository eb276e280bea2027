/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arrays.
 */
#ifndef SPANDREL_LIB_ARRAY_H
#define SPANDREL_LIB_ARRAY_H

/* How many elements an array has, which must be one: of a pointer it would be some other number. */
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
