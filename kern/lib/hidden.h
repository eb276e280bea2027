/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Put before each source of the library by the compiler's -include: what is declared from here on lies in the
 * same image, so that position-independent code reaches it without a table of addresses.
 */
#ifndef SPANDREL_LIB_HIDDEN_H
#define SPANDREL_LIB_HIDDEN_H
#pragma GCC visibility push(hidden)
#endif
