/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arrays.
 */
#ifndef SPANDREL_LIB_ARRAY_H
#define SPANDREL_LIB_ARRAY_H

/* The number of elements of an array.  Not for a pointer, for which it gives a wrong number. */
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
